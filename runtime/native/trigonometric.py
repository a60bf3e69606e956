"""sin, cos, tan and arctan; branch-free.

x = k π/2 + r, |r| ≤ π/4, with π/2 in parts so short that k times a part is exact
(Cody and Waite; Muller, Handbook of Floating-Point Arithmetic, 2nd ed., section 11.2).
Both polynomials are computed, and the quadrant chooses one of them and its sign.

float32 is reduced and computed in float64 (FreeBSD, k_sinf.c and k_cosf.c; fits of our
own): a part of 25 bits and the rest.  float64 takes three parts of 23 bits and the
rest, which leaves r and what r lost; the polynomials are fdlibm's (k_sin.c, k_cos.c).

``REACH`` is the largest |x| for which the parts are enough.  Beyond it a reduction
needs the digits of 2/π from that exponent on (M. Payne and R. Hanek, SIGNUM 18,
1983).  In float32 that can be had in straight code, for half as much again: one of
five stretches of 2/π is chosen.  In float64 every element of a loop would pay several
times the rest for what hardly any asks; ``within`` makes NaN of what is out of reach,
so that nothing wrong can pass, and whoever runs such a loop asks ``beyond``, and
computes it another way where that is set.
"""

from __future__ import annotations

import math

from .scalar import Scalar, fma, horner, select

__all__ = ["REACH", "arctan", "beyond", "cos", "sin", "tan", "within"]

#: The largest |x| for the short reduction, by LLVM's name of the type.
REACH = {"float": 2.0**28, "double": 2.0**30}

_TWO_OVER_PI = 0.6366197723675814
_MAGIC = 1.5 * 2.0**52
_PARTS_SINGLE = (1.5707963109016418, 1.5893254773528196e-08)
_PARTS = (
    1.570796251296997,
    7.549789415861596e-08,
    5.390302529957765e-15,
    3.2820035428735005e-22,
)
# For |x| from 0, 2^28, 2^56, 2^84, 2^112 on: 2/π without the bits that give multiples
# of 4 there, in two pieces of 29 bits, whose products with x are exact, and the rest.
_STRETCHES = (
    (0.636619770899415, 1.4681663246252086e-09, 2.276010073078396e-18),
    (0.011619772296398878, 7.118246487039515e-11, 1.0760572810738749e-19),
    (7.118246443671428e-11, 5.412865960671359e-19, 1.0344533474420156e-27),
    (5.412865944515488e-19, 2.65004047700631e-27, 4.328337628409359e-36),
    (5.8812147387730434e-27, 1.0346868700836215e-35, 3.7832563882960676e-45),
)
_FOURS = 1.5 * 2.0**54  # floats there are the multiples of 4
# (sin r - r) / r³ and (cos r - 1) / r² in r², to 2^-37 and 2^-34.
_SIN_SINGLE = (
    -0.16666666639739974,
    0.008333329182283312,
    -0.0001983927285316532,
    2.7177459980045588e-06,
)
_COS_SINGLE = (
    -0.49999999681770685,
    0.041666618926584804,
    -0.0013886636614168105,
    2.437934509738418e-05,
)
# The same without the first term, for float64: fdlibm's S2..S6 and C1..C6.
_SIN_FIRST = -1.66666666666666324348e-01
_SIN = (
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COS = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)
# (arctan z - z) / z³ in z², |z| ≤ tan π/8.
_ARCTAN_SINGLE = (
    -0.33333316445350647,
    0.19998526573181152,
    -0.14244341850280762,
    0.10598700493574142,
    -0.06088665872812271,
)
_ARCTAN = (
    -0.33333333333333326,
    0.19999999999997098,
    -0.14285714285317314,
    0.11111111083823409,
    -0.09090907989255737,
    0.07692279288107463,
    -0.06666176083338424,
    0.0587653099989366,
    -0.052152784645433915,
    0.0449096895723228,
    -0.033184474118065035,
    0.014903468952104277,
)


#: The quadrant in the last bits of an integer, and sin and cos of r, in float64.
_Parts = tuple[Scalar, Scalar, Scalar]


def beyond(x: Scalar) -> Scalar:
    """Whether x is finite and out of reach (an i1)."""
    a = abs(x)
    return (a > REACH[x.kind]) & (a < math.inf)


def within(x: Scalar) -> Scalar:
    """x, or NaN where it is out of reach."""
    return select(abs(x) <= REACH[x.kind], x, math.nan)


def _short_single(x: Scalar) -> _Parts:
    """For float32 within reach."""
    wide = x.widen()
    shifted = fma(wide, _TWO_OVER_PI, _MAGIC)
    k = shifted - _MAGIC
    r = fma(k, -_PARTS_SINGLE[1], fma(k, -_PARTS_SINGLE[0], wide))
    return shifted.bits(), *_kernels_single(r)


def _long_single(x: Scalar) -> _Parts:
    """For every float32: x 2/π mod 4 from a stretch of 2/π, its fraction times π/2.

    Both exact products lose their multiples of 4; what is left of them adds up with an
    error below 2^-53 of the fraction.
    """
    wide = x.widen()
    pieces = [wide.constant(piece) for piece in _STRETCHES[0]]
    for number, stretch in enumerate(_STRETCHES[1:], 1):
        farther = abs(wide) >= 2.0 ** (28 * number)
        pieces = [select(farther, new, old) for new, old in zip(stretch, pieces)]
    first, second, third = pieces
    first, second = wide * first, wide * second
    first = first - ((first + _FOURS) - _FOURS)
    second = second - ((second + _FOURS) - _FOURS)
    shifted = (first + second) + _MAGIC
    fraction = (first - (shifted - _MAGIC)) + second
    r = fma(wide, third, fraction) * 1.5707963267948966
    return shifted.bits(), *_kernels_single(r)


def _kernels_single(r: Scalar) -> tuple[Scalar, Scalar]:
    """sin r and cos r in float64, to what float32 needs."""
    z = r * r
    sine = r * fma(z, horner(z, _SIN_SINGLE), 1.0)
    return sine, fma(z, horner(z, _COS_SINGLE), 1.0)


def _double(x: Scalar) -> _Parts:
    """For float64 within reach: r and what it lost."""
    shifted = fma(x, _TWO_OVER_PI, _MAGIC)
    k = shifted - _MAGIC
    head = fma(k, -_PARTS[1], fma(k, -_PARTS[0], x))
    high = fma(k, -_PARTS[2], head)
    low = fma(k, -_PARTS[3], fma(k, -_PARTS[2], head - high))
    r = high + low
    low = (high - r) + low
    z = r * r
    cube = z * r
    tail = fma(low, 0.5, -(cube * horner(z, _SIN)))
    sine = r - (fma(z, tail, -low) - cube * _SIN_FIRST)
    half = z * 0.5
    head = -half + 1.0
    cosine = head + (((-head + 1.0) - half) + fma(z * z, horner(z, _COS), -(r * low)))
    return shifted.bits(), sine, cosine


def _parts(x: Scalar, short: bool) -> _Parts:
    if not x.single:
        if not short:
            raise NotImplementedError("no straight code for every float64")
        return _double(x)
    return _short_single(x) if short else _long_single(x)


def _turned(quadrant: Scalar, first: Scalar, second: Scalar) -> Scalar:
    """sin of r + quadrant π/2 from sin and cos of r."""
    y = select((quadrant & 1).equals(0), first, second)
    return y.with_sign((quadrant & 2) << 62)


def sin(x: Scalar, short: bool = False) -> Scalar:
    """The sine; ``short`` for arguments within reach."""
    quadrant, sine, cosine = _parts(x, short)
    y = _turned(quadrant, sine, cosine)
    return y.narrow() if x.single else select(abs(x) < 2.0**-27, x, y)


def cos(x: Scalar, short: bool = False) -> Scalar:
    """The cosine; ``short`` for arguments within reach."""
    quadrant, sine, cosine = _parts(x, short)
    y = _turned(quadrant + 1, sine, cosine)
    return y.narrow() if x.single else y


def tan(x: Scalar, short: bool = False) -> Scalar:
    """sin r / cos r or -cos r / sin r by the parity of the quadrant."""
    quadrant, sine, cosine = _parts(x, short)
    even = (quadrant & 1).equals(0)
    y = select(even, sine, -cosine) / select(even, cosine, sine)
    return y.narrow() if x.single else select(abs(x) < 2.0**-27, x, y)


def arctan(x: Scalar) -> Scalar:
    """The arc tangent: π/2 - arctan 1/a, π/4 + arctan (a-1)/(a+1), or as it is.

    Bounds tan 3π/8 and tan π/8 (Cephes, atan.c); a = |x|, odd.
    """
    a = abs(x)
    far, middle = a > 2.414213562373095, a > 0.41421356237309503
    top = select(far, a.constant(-1.0), select(middle, a - 1.0, a))
    t = top / select(far, a, select(middle, a + 1.0, 1.0))
    z = t * t
    series = horner(z, _ARCTAN_SINGLE if x.single else _ARCTAN)
    if x.single:
        high, low = 1.5707963705062866, -4.371139000186241e-08
    else:
        high, low = 1.5707963267948966, 6.123233995736766e-17
    base = select(far, x.constant(high), select(middle, x.constant(high / 2.0), 0.0))
    rest = select(far, x.constant(low), select(middle, x.constant(low / 2.0), 0.0))
    y = base + (t + fma(t * z, series, rest))
    return y.with_sign(x.sign_bit())
