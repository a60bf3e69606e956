"""log, log2, log10, log1p and softplus; branch-free.

x = 2^k m with m between √½ and √2, by integer arithmetic on the pattern of x, and
log x = k ln 2 + log(1 + f), f = m - 1 exact.  With s = f / (2 + f) and z = s²,
log(1 + f) = f - (f²/2 - s (f²/2 + R(z))): fdlibm's form (e_log.c, and s_log1p.c,
e_log2.c, e_log10.c for the others) in float64.  In float32 a polynomial in f is as
accurate and needs no division (Cephes, logf.c).  Fits of our own.
"""

from __future__ import annotations

import math

from ...graphlib.records import record
from .exponentials import exp_below
from .scalar import Scalar, fma, horner, select

__all__ = ["log", "log1p", "log2", "log10", "softplus"]


@record(frozen=True)
class _Format:
    """What a float type needs: its layout, logarithms of 2 in parts, polynomials."""

    mantissa: int  # bits of it that are stored
    bias: int
    sqrt_half: int  # the pattern of √½, rounded down in its last bits
    integers: float  # the power of two from which on floats are the integers
    smallest: float  # the smallest normal number
    head: int  # a mask for half a mantissa
    ln2: tuple[float, float]  # ln 2 and log10 2, high and low part: k high is exact
    log10_2: tuple[float, float]
    log2_e: tuple[float, float]  # the high parts have half a mantissa
    log10_e: tuple[float, float]
    series: tuple[float, ...]  # (log(1 + f) - f + f²/2) / f³, or R(z) / z


_SINGLE = _Format(
    mantissa=23,
    bias=127,
    sqrt_half=0x3F3504F3,
    integers=2.0**23,
    smallest=2.0**-126,
    head=-0x1000,
    ln2=(0.693359375, -2.12194440e-4),
    log10_2=(3.0102920532e-01, 7.9034151668e-07),
    log2_e=(1.4428710938e00, -1.7605285393e-04),
    log10_e=(4.3432617188e-01, -3.1689971365e-05),
    series=(
        0.3333333134651184,
        -0.2500081956386566,
        0.20001226663589478,
        -0.16623356938362122,
        0.14201757311820984,
        -0.13160179555416107,
        0.1276157945394516,
        -0.0763450413942337,
    ),
)
_DOUBLE = _Format(
    mantissa=52,
    bias=1023,
    sqrt_half=0x3FE6A09E00000000,
    integers=2.0**52,
    smallest=2.0**-1022,
    head=-0x100000000,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    log10_2=(3.01029995663611771306e-01, 3.69423907715893078616e-13),
    log2_e=(1.44269504072144627571e00, 1.67517131648865118353e-10),
    log10_e=(4.34294481878168880939e-01, 2.50829467116452752298e-11),
    series=(
        0.6666666666666735,
        0.3999999999940935,
        0.28571428743685645,
        0.22222198429084564,
        0.18183572348617782,
        0.15313832340763664,
        0.1479825692267782,
    ),
)


def _format_of(x: Scalar) -> _Format:
    return _SINGLE if x.single else _DOUBLE


def _split(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """The biased k of a normal x > 0 (an integer), k as a float, and m - 1."""
    form = _format_of(x)
    one = form.bias << form.mantissa
    moved = x.bits() + (one - form.sqrt_half)
    biased = moved >> form.mantissa
    m = (moved & ((1 << form.mantissa) - 1)) + form.sqrt_half
    offset = form.integers + form.bias
    k = (biased | x.constant(form.integers).bits()).as_float() - offset
    return biased, k, m.as_float() - 1.0


def _normal(x: Scalar) -> tuple[Scalar, Scalar]:
    """k and m - 1 of any x > 0: subnormal numbers are made normal first."""
    form = _format_of(x)
    small = x < form.smallest
    _, k, f = _split(select(small, x * form.integers, x))
    return select(small, k - float(form.mantissa), k), f


def _half_square(f: Scalar) -> tuple[Scalar, Scalar]:
    """f²/2, and s (f²/2 + R) = log(1 + f) - f + f²/2."""
    form = _format_of(f)
    half = f * 0.5 * f
    if f.single:
        return half, f * f * f * horner(f, form.series)
    s = f / (f + 2.0)
    z = s * s
    return half, s * fma(z, horner(z, form.series), half)


def _finish(x: Scalar, y: Scalar, pole: float = 0.0) -> Scalar:
    """The answers off the open line from the pole to infinity."""
    y = select(x < math.inf, y, x)
    return select(x > pole, y, select(x.equals(pole), x.constant(-math.inf), math.nan))


def log(x: Scalar) -> Scalar:
    """The natural logarithm."""
    high, low = _format_of(x).ln2
    k, f = _normal(x)
    half, rest = _half_square(f)
    return _finish(x, fma(k, high, f - (half - fma(k, low, rest))))


def log1p(x: Scalar) -> Scalar:
    """log(1 + x).  1 + x, rounded, gives k alone; f = x 2^-k + (2^-k - 1) afterwards.

    The rounding error of f joins the small terms.  (N. Juffa's form of log1pf.)
    """
    form = _format_of(x)
    high, low = form.ln2
    biased, k, _ = _split(x + 1.0)
    exponent = biased << form.mantissa
    one = form.bias << form.mantissa
    # 2^-k; from 2^bias on, 0.
    inverse = -exponent + 2 * one
    shrink = select(inverse < 0, 0, inverse).as_float() - 1.0
    scaled = (x.bits() - (exponent - one)).as_float()
    f = scaled + shrink
    lost = scaled - (f - shrink)
    half, rest = _half_square(f)
    y = fma(k, high, f - (half - (fma(k, low, rest) + lost)))
    return select(x.equals(0.0), x, _finish(x, y, -1.0))


def _to_base(
    x: Scalar, whole: tuple[float, float], factor: tuple[float, float]
) -> Scalar:
    """k log 2 + log(1 + f) factor, where ``whole`` holds log 2 in the base.

    The head of log(1 + f) has half a mantissa, so its product with the head of the
    factor is exact.
    """
    k, f = _normal(x)
    half, rest = _half_square(f)
    head = ((f - half).bits() & _format_of(x).head).as_float()
    tail = (f - head) - half + rest
    small = fma(head + tail, factor[1], fma(k, whole[1], tail * factor[0]))
    large = k * whole[0]
    product = head * factor[0]
    # The larger of the two first, and what that sum loses comes back.
    y = large + product
    lost = select(k.equals(0.0), 0.0, product - (y - large))
    return _finish(x, y + (lost + small))


def log2(x: Scalar) -> Scalar:
    """The logarithm to base 2; exact at powers of 2."""
    return _to_base(x, (1.0, 0.0), _format_of(x).log2_e)


def log10(x: Scalar) -> Scalar:
    """The logarithm to base 10."""
    form = _format_of(x)
    return _to_base(x, form.log10_2, form.log10_e)


def softplus(x: Scalar) -> Scalar:
    """log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x|.

    t is between 0 and 1, so that log(1 + t) is ln 2 + log(1 + (t - 1) / 2) above
    √2 - 1 and nothing else is to choose.
    """
    t = exp_below(-abs(x))
    upper = t > 0.41421356
    f = select(upper, fma(t, 0.5, -0.5), t)
    high, low = _format_of(x).ln2
    half, rest = _half_square(f)
    y = f - (half - (select(upper, x.constant(low), 0.0) + rest))
    y = y + select(upper, x.constant(high), 0.0)
    return y + select(x < 0.0, 0.0, x)
