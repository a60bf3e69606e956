"""power; branch-free.

|x|^y = 2^(y log2 |x|).  float32 takes log2 and 2^z in float64 and rounds once.
float64 takes log2 |x| in two parts, the first of 21 bits, so that products of such
heads are exact without fused products: fdlibm's e_pow.c in selects.

The special cases are C's (C11, F.10.4.4), as NumPy's are.
"""

from __future__ import annotations

import math

from .exponentials import format_of, scale
from .scalar import Scalar, fma, horner, select

__all__ = ["power"]

# For float32: log2 of (1 + s) / (1 - s), over s, in s², to 2^-45; 2^r to 2^-34,
# |r| ≤ 1/2.
_LOG2_WIDE = (
    2.8853900817778495,
    0.9617966941142592,
    0.5770779420754457,
    0.4122092837776859,
    0.31990432660943424,
    0.2829208411904649,
)
_EXP2_WIDE = (
    0.9999999999615037,
    0.6931471807292454,
    0.2402265119993504,
    0.0555041035166015,
    0.00961802701224328,
    0.0013333923399452053,
    0.00015469369283375084,
    1.5201867170287515e-05,
)
# For float64: e_pow.c's L1..L6, 2 / (3 ln 2), log2 1.5 and ln 2, whole, head, tail.
_SERIES = (
    5.99999999999994648725e-01,
    4.28571428578550184252e-01,
    3.33333329818377432918e-01,
    2.72728123808534006489e-01,
    2.30660745775561754067e-01,
    2.06975017800338417784e-01,
)
_FACTOR = (
    9.61796693925975554329e-01,
    9.61796700954437255859e-01,
    -7.02846165095275826516e-09,
)
_LOG2_OF_1_5 = (5.84962487220764160156e-01, 1.35003920212974897128e-08)
_LN2 = (
    6.93147180559945286227e-01,
    6.93147182464599609375e-01,
    -1.90465429995776804525e-09,
)

_MAGIC = 1.5 * 2.0**52
_MANTISSA = (1 << 52) - 1
_ONE = 1023 << 52
_SQRT_HALF = 0x3FE6A09E00000000


def power(x: Scalar, y: Scalar) -> Scalar:
    """x^y."""
    if x.single:
        base, exponent = x.widen(), y.widen()
        return _cases(base, exponent, _single(abs(base), exponent)).narrow()
    return _cases(x, y, _double(abs(x), y))


def _cases(x: Scalar, y: Scalar, answer: Scalar) -> Scalar:
    """The sign of the power of a negative number, and the special cases."""
    a, b = abs(x), abs(y)
    # From 2^52 on all floats are integers, from 2^53 on even ones.
    large = b >= 2.0**52
    integer = select(large, b, b + 2.0**52)
    whole = large | (integer - 2.0**52).equals(b)
    odd = whole & (b < 2.0**53) & (integer.bits() & 1).differs(0)

    infinite = a.equals(math.inf)
    small = (y < 0.0) ^ a.equals(0.0)  # a power of 0 or of infinity that is 0
    answer = select(
        infinite | a.equals(0.0),
        select(small, x.constant(0.0), math.inf),
        answer,
    )
    answer = answer.with_sign(select(odd, x.sign_bit(), 0))
    nowhere = (x < 0.0) & (x > -math.inf) & whole.equals(0)
    nowhere = nowhere | x.differs(x) | y.differs(y)
    answer = select(nowhere, math.nan, answer)
    one = y.equals(0.0) | x.equals(1.0) | (a.equals(1.0) & b.equals(math.inf))
    return select(one, 1.0, answer)


def _held(z: Scalar, bound: float) -> Scalar:
    z = select(z > bound, bound, z)
    return select(z < -bound, -bound, z)


def _single(a: Scalar, y: Scalar) -> Scalar:
    """a^y for floats that come from float32; a is neither 0 nor infinite."""
    moved = a.bits() + (_ONE - _SQRT_HALF)
    k = ((moved >> 52) | 0x4330000000000000).as_float() - (2.0**52 + 1023.0)
    m = ((moved & _MANTISSA) + _SQRT_HALF).as_float()
    s = (m - 1.0) / (m + 1.0)
    z = _held(fma(s, horner(s * s, _LOG2_WIDE), k) * y, 160.0)
    shifted = z + _MAGIC
    r = z - (shifted - _MAGIC)
    return horner(r, _EXP2_WIDE) * ((shifted.bits() << 52) + _ONE).as_float()


def _head(x: Scalar) -> Scalar:
    """The first 21 bits of the mantissa."""
    return (x.bits() & -0x100000000).as_float()


def _log2(a: Scalar) -> tuple[Scalar, Scalar]:
    """log2 a in a head and a tail; a is positive and finite.

    a = 2^k m with m near 1 or near 3/2, and s = (m - c) / (m + c), c = 1 or 3/2.
    """
    tiny = a < 2.0**-1022
    a = select(tiny, a * 2.0**54, a)
    moved = a.bits() + (_ONE - 0x3FEBB67A00000000)  # m from √3/2 on
    k = ((moved >> 52) | 0x4330000000000000).as_float() - (2.0**52 + 1023.0)
    k = select(tiny, k - 54.0, k)
    m = ((moved & _MANTISSA) + 0x3FEBB67A00000000).as_float()
    upper = m > 1.224744871391589
    center = select(upper, m.constant(1.5), 1.0)
    base = select(upper, m.constant(_LOG2_OF_1_5[0]), 0.0)
    rest = select(upper, m.constant(_LOG2_OF_1_5[1]), 0.0)

    top, bottom = m - center, m + center
    inverse = 1.0 / bottom
    s = top * inverse
    s_head, bottom_head = _head(s), _head(bottom)
    bottom_tail = m - (bottom_head - center)
    s_tail = inverse * ((top - s_head * bottom_head) - s_head * bottom_tail)
    # 3 + s² + r in a head and a tail: s times it is 3/2 log((1 + s) / (1 - s)).
    square = s * s
    r = fma(s_tail, s_head + s, square * square * horner(square, _SERIES))
    square = s_head * s_head
    head = _head(square + 3.0 + r)
    tail = r - ((head - 3.0) - square)
    large, small = s_head * head, fma(s_tail, head, tail * s)
    head = _head(large + small)
    tail = small - (head - large)
    # Times 2 / (3 ln 2), and log2 c and k on top.
    large = head * _FACTOR[1]
    small = fma(head, _FACTOR[2], fma(tail, _FACTOR[0], rest))
    head = _head(large + small + base + k)
    return head, small - (((head - k) - base) - large)


def _double(a: Scalar, y: Scalar) -> Scalar:
    """a^y for float64; a is neither 0 nor infinite."""
    y = _held(y, 2.0**65)  # as good as infinite, and products stay finite
    log_head, log_tail = _log2(a)
    y_head = _head(y)
    large = y_head * log_head
    small = fma(y - y_head, log_head, y * log_tail)
    # Far out only the side counts.
    small = select(abs(large) > 1100.0, 0.0, small)
    large = _held(large, 1100.0)
    magic = _MAGIC + 2 * 1023
    shifted = (large + small) + magic
    large = large - (shifted - magic)
    head = _head(large + small)
    tail = small - (head - large)
    # 2^(head + tail) = e^(z + w).
    first = head * _LN2[1]
    second = fma(tail, _LN2[0], head * _LN2[2])
    z = first + second
    w = second - (z - first)
    e = fma(z * z, horner(z, format_of(z).expm1), fma(w, z, w)) + z
    return scale(e + 1.0, shifted.bits())
