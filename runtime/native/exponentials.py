"""exp and what is made of it: exp2, expm1, sinh, cosh, tanh, sigmoid; branch-free.

All begin with x = k ln 2 + r, |r| ≤ ln 2 / 2, where k is found by the sum with 3/2 of
the power of two at which floats are the integers: its last bits are k (Muller,
Handbook of Floating-Point Arithmetic, 2nd ed., section 10.2; ln 2 in two parts after
Cody and Waite, the parts from fdlibm and Cephes, so that k times the first is exact
with and without fused products).  Polynomials are minimax fits of our own.

Arguments are held to where the answer still moves, by comparisons that let NaN pass;
overflow and subnormal results come from the last product by a power of two.
"""

from __future__ import annotations

import math

from ...graphlib.records import record
from .scalar import Scalar, fma, horner, select

__all__ = ["cosh", "exp", "exp2", "expm1", "sigmoid", "sinh", "tanh"]


@record(frozen=True)
class _Format:
    """What a float type needs: its layout, ln 2 in two parts, polynomials."""

    mantissa: int  # bits of it that are stored
    bias: int
    magic: float  # 3/2 of the power of two at which floats are the integers
    ln2_high: float
    ln2_low: float
    lowest: float  # below this e^x rounds to 0
    highest: float  # above this e^x overflows
    lowest2: float  # the same for 2^x
    highest2: float
    flat: float  # below this e^x - 1 rounds to -1, and above minus this tanh to 1
    linear: float  # below this sinh x rounds to x
    wide: float  # above this sinh and cosh overflow
    small: float  # a power of two: (e^-lowest) times it is finite
    exp: tuple[float, ...]  # (e^r - 1 - r) / r²
    expm1: tuple[float, ...]  # the same, to more bits
    exp2: tuple[float, ...]  # (2^r - 1) / r, |r| ≤ 1/2


_SINGLE = _Format(
    mantissa=23,
    bias=127,
    magic=1.5 * 2.0**23,
    ln2_high=0.693359375,
    ln2_low=-2.12194440e-4,
    lowest=-104.5,
    highest=89.0,
    lowest2=-151.0,
    highest2=128.0,
    flat=-18.5,
    linear=2.0**-12,
    wide=89.6,
    small=2.0**-32,
    exp=(
        0.4999999403953552,
        0.1666651964187622,
        0.04166839271783829,
        0.008368780836462975,
        0.0013814519625157118,
    ),
    expm1=(
        0.5,
        0.1666666567325592,
        0.04166646674275398,
        0.008333643898367882,
        0.0013935035094618797,
        0.00019663279817905277,
    ),
    exp2=(
        0.6931471824645996,
        0.24022650718688965,
        0.055504050105810165,
        0.009618069976568222,
        0.0013337780255824327,
        0.00015456815890502185,
        1.4369299606187269e-05,
    ),
)
_DOUBLE = _Format(
    mantissa=52,
    bias=1023,
    magic=1.5 * 2.0**52,
    ln2_high=6.93147180369123816490e-01,
    ln2_low=1.90821492927058770002e-10,
    lowest=-746.0,
    highest=710.0,
    lowest2=-1076.0,
    highest2=1024.0,
    flat=-40.0,
    linear=2.0**-26,
    wide=710.6,
    small=2.0**-64,
    exp=(
        0.5,
        0.1666666666666192,
        0.0416666666666196,
        0.008333333336547191,
        0.0013888888920702046,
        0.00019841262644372556,
        2.4801516062755424e-05,
        2.7563870289770715e-06,
        2.7622355999068906e-07,
        2.297652467110303e-08,
    ),
    expm1=(
        0.5,
        0.16666666666666677,
        0.04166666666666665,
        0.008333333333320795,
        0.0013888888888903923,
        0.00019841269889327607,
        2.4801587255737584e-05,
        2.755724019930875e-06,
        2.7557360370000774e-07,
        2.5110635412313442e-08,
        2.087985604746272e-09,
    ),
    exp2=(
        0.6931471805599453,
        0.2402265069591007,
        0.0555041086648235,
        0.00961812910762975,
        0.0013333558145982075,
        0.00015403530390521814,
        1.5252734232872348e-05,
        1.3215489415529441e-06,
        1.017789956309864e-07,
        7.05385424894439e-09,
        4.4788426459931695e-10,
        2.7246464022001467e-11,
    ),
)


def format_of(x: Scalar) -> _Format:
    """The constants of a float's type."""
    return _SINGLE if x.single else _DOUBLE


def clamp(x: Scalar, lowest: float | None, highest: float | None) -> Scalar:
    """x within bounds; NaN stays."""
    if lowest is not None:
        x = select(x < lowest, lowest, x)
    if highest is not None:
        x = select(x > highest, highest, x)
    return x


def reduce(x: Scalar, offset: int, low: Scalar | None = None) -> tuple[Scalar, Scalar]:
    """An integer whose last bits are k + offset, and r = x (+ low) - k ln 2."""
    form = format_of(x)
    magic = form.magic + offset
    shifted = fma(x, 1.4426950408889634, magic)
    k = shifted - magic
    r = fma(k, -form.ln2_high, x)
    r = fma(k, -form.ln2_low, r if low is None else r + low)
    return shifted.bits(), r


def power_of_two(moved: Scalar) -> Scalar:
    """2^k as a normal float, from an integer whose last bits are k + bias."""
    return (moved << (23 if moved.single else 52)).as_float()


def scale(y: Scalar, moved: Scalar) -> Scalar:
    """y 2^k from an integer whose last bits are k + 2 bias; in two steps.

    So k may lead to subnormals and to infinity.
    """
    half = moved >> 1
    return y * power_of_two(half) * power_of_two(moved - half)


def exp_of(r: Scalar) -> Scalar:
    """e^r, |r| ≤ ln 2 / 2."""
    return fma(r * r, horner(r, format_of(r).exp), r) + 1.0


def _expm1_of(r: Scalar) -> Scalar:
    """e^r - 1, |r| ≤ ln 2 / 2."""
    return fma(r * r, horner(r, format_of(r).expm1), r)


def exp(x: Scalar) -> Scalar:
    """e^x."""
    form = format_of(x)
    moved, r = reduce(clamp(x, form.lowest, form.highest), 2 * form.bias)
    return scale(exp_of(r), moved)


def exp_below(x: Scalar) -> Scalar:
    """e^x for x ≤ 0."""
    form = format_of(x)
    moved, r = reduce(clamp(x, form.lowest, None), 2 * form.bias)
    return scale(exp_of(r), moved)


def exp2(x: Scalar) -> Scalar:
    """2^x, the fraction of x taken exactly."""
    form = format_of(x)
    magic = form.magic + 2 * form.bias
    x = clamp(x, form.lowest2, form.highest2)
    shifted = x + magic
    r = x - (shifted - magic)
    return scale(fma(r, horner(r, form.exp2), 1.0), shifted.bits())


def expm1(x: Scalar) -> Scalar:
    """e^x - 1 = 2 (2^(k-1) (e^r - 1) + (2^(k-1) - 1/2)); -0 stays."""
    form = format_of(x)
    moved, r = reduce(clamp(x, form.flat, form.highest), form.bias - 1)
    half = power_of_two(moved)
    y = fma(half, _expm1_of(r), half - 0.5)
    return select(x.equals(0.0), x, y + y)


def sinh(x: Scalar) -> Scalar:
    """(t + t / (t + 1)) / 2, t = e^|x| - 1; a quarter of t is kept from overflow.

    Where x³ is beyond the last place, x itself: halves of subnormals lose bits.
    """
    form = format_of(x)
    moved, r = reduce(clamp(abs(x), None, form.wide), form.bias - 2)
    quarter = power_of_two(moved)
    t = fma(quarter, _expm1_of(r), quarter - 0.25)
    y = t + t / fma(t, 4.0, 1.0)
    return select(abs(x) < form.linear, x, (y + y).with_sign(x.sign_bit()))


def cosh(x: Scalar) -> Scalar:
    """(e^|x| + e^-|x|) / 2; a quarter of e^|x| is kept from overflow."""
    form = format_of(x)
    moved, r = reduce(clamp(abs(x), None, form.wide), form.bias - 2)
    e = power_of_two(moved) * exp_of(r)
    return fma(e, 2.0, 0.125 / e)


def tanh(x: Scalar) -> Scalar:
    """(e - 1) / (e + 1), e = e^(2|x|); odd.

    From 1/2 on e - 1 is found as (e + 1) - 2, which is exact: the rounding of the sum
    nearly cancels in the ratio.
    """
    form = format_of(x)
    a = abs(x)
    moved, r = reduce(clamp(a + a, None, -form.flat), form.bias)
    power, t = power_of_two(moved), _expm1_of(r)
    above = fma(power, t, power + 1.0)
    below = select(a < 0.5, fma(power, t, power - 1.0), above - 2.0)
    return (below / above).with_sign(x.sign_bit())


def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + e^-x) = s / (s + s e^-x); s keeps e^-x finite where it is needed.

    So the quotient runs into subnormals on its own.
    """
    form = format_of(x)
    held = clamp(x, form.lowest, -2.0 * form.flat)
    moved, r = reduce(-held, form.bias + int(math.log2(form.small)))
    return form.small / fma(power_of_two(moved), exp_of(r), form.small)
