"""Special functions on float64 vectors, for the kernels of ``special``.

Everything is vectorised NumPy on small vectors (see ``_pointwise.chunked``) and good
to a few units in the last place, except near zeros that lie at no round number,
where the absolute error stays at that level.

References:
    W. J. Cody, Rational Chebyshev approximations for the error function,
        Math. Comp. 23 (1969) 631-637 (coefficients of erf and erfc).
    S. L. Moshier, Methods and Programs for Mathematical Functions, 1989
        (coefficients of the rational approximation of ln gamma on [2, 3]).
    M. J. Wichura, Algorithm AS 241, Appl. Statist. 37 (1988) 477-484.
    NIST Digital Library of Mathematical Functions, 5.5, 5.11, 5.15, 25.11.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

__all__ = [
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "gamma_of_integer",
    "lgamma",
    "ndtri",
    "polygamma",
    "zeta",
]

_SQRT_PI = math.sqrt(math.pi)


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """By Horner's rule, the highest power first."""
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total *= x
        total += c
    return total


def _ratio(top: Sequence[float], bottom: Sequence[float], x: Any) -> Any:
    return _polynomial(top, x) / _polynomial(bottom, x)


def _by_region(x: Any, regions: Sequence[tuple[Any, Callable[..., Any]]]) -> Any:
    """Each function on the elements its mask chooses; NaN where none does."""
    out = np.full_like(x, np.nan)
    for mask, f in regions:
        if mask.all():
            return f(x)
        if mask.any():
            out[mask] = f(x[mask])
    return out


# -- the error function ----------------------------------------------------------------

_ERF_A = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_ERF_B = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
_ERF_C = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_ERF_D = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_ERF_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_ERF_Q = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)


def _erf_small(x: Any) -> Any:
    """erf for |x| <= 0.46875."""
    return x * _ratio(_ERF_A, _ERF_B, x * x)


def _erfc_tail(y: Any) -> Any:
    """erfc for y > 0.46875, with e^(-y²) from an exact part of y²."""
    coarse = np.trunc(y * 16.0) / 16.0
    decay = np.exp(-coarse * coarse) * np.exp(-(y - coarse) * (y + coarse))
    scaled = _by_region(
        y,
        ((y <= 4.0, lambda v: _ratio(_ERF_C, _ERF_D, v)), (y > 4.0, _erfc_far)),
    )
    return np.where(y < 27.3, decay * scaled, np.where(np.isnan(y), y, 0.0))


def _erfc_far(y: Any) -> Any:
    """e^(y²) erfc(y) for y > 4."""
    z = 1.0 / (y * y)
    return (1.0 / _SQRT_PI - z * _ratio(_ERF_P, _ERF_Q, z)) / y


def erf(x: Any) -> Any:
    """2/√π times the integral of e^(-t²) from 0 to x."""
    a = np.abs(x)
    return _by_region(
        x,
        (
            (a <= 0.46875, _erf_small),
            (a > 0.46875, lambda v: np.copysign(1.0 - _erfc_tail(np.abs(v)), v)),
        ),
    )


def erfc(x: Any) -> Any:
    """1 - erf(x), to full relative precision in the right tail."""

    def tails(v: Any) -> Any:
        tail = _erfc_tail(np.abs(v))
        return np.where(v < 0, 2.0 - tail, tail)

    a = np.abs(x)
    return _by_region(
        x, ((a <= 0.46875, lambda v: 1.0 - _erf_small(v)), (a > 0.46875, tails))
    )


# -- the normal quantile ---------------------------------------------------------------

_NDTRI_A = (
    2.5090809287301226727e3,
    3.3430575583588128105e4,
    6.7265770927008700853e4,
    4.5921953931549871457e4,
    1.3731693765509461125e4,
    1.9715909503065514427e3,
    1.3314166789178437745e2,
    3.3871328727963666080e0,
)
_NDTRI_B = (
    5.2264952788528545610e3,
    2.8729085735721942674e4,
    3.9307895800092710610e4,
    2.1213794301586595867e4,
    5.3941960214247511077e3,
    6.8718700749205790830e2,
    4.2313330701600911252e1,
    1.0,
)
_NDTRI_C = (
    7.74545014278341407640e-4,
    2.27238449892691845833e-2,
    2.41780725177450611770e-1,
    1.27045825245236838258e0,
    3.64784832476320460504e0,
    5.76949722146069140550e0,
    4.63033784615654529590e0,
    1.42343711074968357734e0,
)
_NDTRI_D = (
    1.05075007164441684324e-9,
    5.47593808499534494600e-4,
    1.51986665636164571966e-2,
    1.48103976427480074590e-1,
    6.89767334985100004550e-1,
    1.67638483018380384940e0,
    2.05319162663775882187e0,
    1.0,
)
_NDTRI_E = (
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    1.24266094738807843860e-3,
    2.65321895265761230930e-2,
    2.96560571828504891230e-1,
    1.78482653991729133580e0,
    5.46378491116411436990e0,
    6.65790464350110377720e0,
)
_NDTRI_F = (
    2.04426310338993978564e-15,
    1.42151175831644588870e-7,
    1.84631831751005468180e-5,
    7.86869131145613259100e-4,
    1.48753612908506148525e-2,
    1.36929880922735805310e-1,
    5.99832206555887937690e-1,
    1.0,
)


def _quantile(q: Any, tail: Any) -> Any:
    """The normal quantile of 1/2 + q, with ``tail`` = 1/2 - |q| to full precision."""
    central = np.abs(q) <= 0.425
    inner = np.where(central, q, 0.0)
    middle = inner * _ratio(_NDTRI_A, _NDTRI_B, 0.180625 - inner * inner)
    r = np.sqrt(-np.log(np.where(central, 0.25, tail)))
    near = _ratio(_NDTRI_C, _NDTRI_D, np.minimum(r, 5.0) - 1.6)
    far = _ratio(_NDTRI_E, _NDTRI_F, np.clip(r, 5.0, 40.0) - 5.0)
    outer = np.where(tail == 0, np.inf, np.where(r <= 5.0, near, far))
    result = np.where(central, middle, np.copysign(outer, q))
    return np.where(tail >= 0, result, np.nan)


def ndtri(p: Any) -> Any:
    """x such that a standard normal variable is below x with probability p."""
    return _quantile(p - 0.5, np.where(p < 0.5, p, 1.0 - p))


def erfinv(x: Any) -> Any:
    """y such that erf(y) = x."""
    return _quantile(0.5 * x, 0.5 * (1.0 - np.abs(x))) / math.sqrt(2.0)


# -- the logarithm of the gamma function -----------------------------------------------

_LGAMMA_B = (
    -1.37825152569120859100e3,
    -3.88016315134637840924e4,
    -3.31612992738871184744e5,
    -1.16237097492762307383e6,
    -1.72173700820839662146e6,
    -8.53555664245765465627e5,
)
_LGAMMA_C = (
    1.0,
    -3.51815701436523470549e2,
    -1.70642106651881159223e4,
    -2.20528590553854454839e5,
    -1.13933444367982507207e6,
    -2.53252307177582951285e6,
    -2.01889141433532773231e6,
)
# B_2k / (2k (2k - 1)), highest first: Stirling's series in 1/x².
_STIRLING = (
    -691.0 / 360360.0,
    1.0 / 1188.0,
    -1.0 / 1680.0,
    1.0 / 1260.0,
    -1.0 / 360.0,
    1.0 / 12.0,
)
_HALF_LOG_2PI = 0.91893853320467274178


@cache
def _lgamma_taylor() -> tuple[float, ...]:
    """Coefficients of ln gamma(2 + d) / d in d, highest power first."""
    order = np.arange(2.0, 28.0)
    values = zeta(order, np.full_like(order, 2.0)) * (-1.0) ** order / order
    return (*values[::-1].tolist(), 0.42278433509846713939)


def _lgamma_near_2(d: Any) -> Any:
    """ln gamma(2 + d) for d in [-1/2, 1/2]."""
    return d * _polynomial(_lgamma_taylor(), d)


def _lgamma_below_2(x: Any) -> Any:
    """0 < x < 2, by ln gamma(x) = ln gamma(x + n) - ln x - ..., exact at 1 and 2."""
    d = np.where(x < 0.5, x, np.where(x < 1.5, x - 1.0, x - 2.0))
    value = _lgamma_near_2(d)
    value = np.where(x < 1.5, value - np.log(x), value)
    return np.where(x < 0.5, value - np.log1p(x), value)


def _lgamma_middle(x: Any) -> Any:
    """2 <= x < 13: down to [2, 3) by the recurrence."""
    product = np.ones_like(x)
    u = x.copy()
    for _ in range(11):
        high = u >= 3.0
        if not high.any():
            break
        u = np.where(high, u - 1.0, u)
        product = np.where(high, product * u, product)
    d = u - 2.0
    return np.log(product) + d * _ratio(_LGAMMA_B, _LGAMMA_C, d)


def _lgamma_far(x: Any) -> Any:
    """x >= 13, by Stirling's series."""
    series = _polynomial(_STIRLING, 1.0 / (x * x)) / x
    return np.where(
        np.isinf(x), x, x * (np.log(x) - 1.0) - 0.5 * np.log(x) + _HALF_LOG_2PI + series
    )


def _lgamma_negative(x: Any) -> Any:
    """x <= 0, by the reflection formula; infinite at the poles."""
    a = -x
    wave = np.abs(np.sin(np.pi * (a - np.rint(a))))
    value = -np.log(a) - np.log(wave / np.pi) - lgamma(np.where(a > 0, a, 1.0))
    return np.where(a == np.rint(a), np.inf, value)


def lgamma(x: Any) -> Any:
    """ln |gamma(x)|."""
    return _by_region(
        x,
        (
            ((x > 0) & (x < 2), _lgamma_below_2),
            ((x >= 2) & (x < 13), _lgamma_middle),
            (x >= 13, _lgamma_far),
            (x <= 0, _lgamma_negative),
        ),
    )


# -- its derivatives -------------------------------------------------------------------

# The zero of psi, as a double and what psi is there.
_PSI_ZERO = 1.4616321449683623
_PSI_AT_ZERO = -9.2412655217294275e-17
# B_2k / 2k, highest first: the asymptotic series of psi in 1/x².
_PSI_SERIES = (
    1.0 / 12.0,
    -691.0 / 32760.0,
    1.0 / 132.0,
    -1.0 / 240.0,
    1.0 / 252.0,
    -1.0 / 120.0,
    1.0 / 12.0,
)


@cache
def _psi_taylor() -> tuple[float, ...]:
    """Coefficients of psi about its zero, highest power first, constant last."""
    zero = np.full(28, _PSI_ZERO)
    order = np.arange(1.0, 29.0)
    values = zeta(order + 1.0, zero) * (-1.0) ** (order + 1.0)
    return (*values[::-1].tolist(), _PSI_AT_ZERO)


def _psi_near_zero(x: Any) -> Any:
    return _polynomial(_psi_taylor(), x - _PSI_ZERO)


def _psi_positive(x: Any) -> Any:
    """psi for x > 0: up by the recurrence, then the asymptotic series."""
    total = np.zeros_like(x)
    u = x.copy()
    for _ in range(10):
        low = u < 10.0
        if not low.any():
            break
        total = np.where(low, total - 1.0 / u, total)
        u = np.where(low, u + 1.0, u)
    z = 1.0 / (u * u)
    return total + (np.log(u) - 0.5 / u - z * _polynomial(_PSI_SERIES, z))


def _psi_negative(x: Any) -> Any:
    """psi for x < 0, by reflection; NaN at the poles."""
    r = x - np.rint(x)
    value = _psi_positive(1.0 - x) - np.pi / np.tan(np.pi * r)
    return np.where(r == 0, np.nan, value)


def digamma(x: Any) -> Any:
    """The derivative of ln gamma; NaN at negative integers, infinite at 0."""
    near = np.abs(x - _PSI_ZERO) < 0.2
    return _by_region(
        x,
        (
            (near, _psi_near_zero),
            ((x > 0) & ~near, _psi_positive),
            (x < 0, _psi_negative),
            (x == 0, lambda v: np.copysign(np.inf, -v)),
        ),
    )


# B_2k / (2k)!, k = 1 to 12: the correction terms of Euler and Maclaurin.
_BERNOULLI = (
    (1, 6),
    (-1, 30),
    (1, 42),
    (-1, 30),
    (5, 66),
    (-691, 2730),
    (7, 6),
    (-3617, 510),
    (43867, 798),
    (-174611, 330),
    (854513, 138),
    (-236364091, 2730),
)
_MACLAURIN = tuple(
    a / b / math.factorial(2 * k) for k, (a, b) in enumerate(_BERNOULLI, start=1)
)


def _zeta_positive(s: Any, q: Any) -> Any:
    """zeta(s, q) for s > 1, q > 0: a few terms and the Euler-Maclaurin remainder."""
    total = np.zeros_like(q)
    terms = 12
    for k in reversed(range(1, terms)):  # the small ones first
        total += (q + k) ** -s
    w = q + terms
    power = w**-s
    rest = power * w / (s - 1.0) + 0.5 * power
    term = s * power / w
    for k, c in enumerate(_MACLAURIN, start=1):
        rest += c * term
        term = term * (s + (2 * k - 1)) * (s + 2 * k) / (w * w)
    return q**-s + (total + rest)


def _zeta_negative(s: Any, q: Any) -> Any:
    """q < 0 and whole s: the sum over all integers less what lies below q."""
    f = q - np.floor(q)
    sign = np.where(s % 2 == 0, 1.0, -1.0)
    both = _zeta_positive(s, 1.0 - f) - _zeta_positive(s, 1.0 - q)
    return _zeta_positive(s, f) + sign * both


def zeta(s: Any, q: Any) -> Any:
    """Hurwitz's zeta: the sum of (q + k)^-s over k = 0, 1, ..."""
    whole = s == np.floor(s)
    positive = _zeta_positive(s, np.where(q > 0, q, 1.0))
    out = np.where((s > 1) & (q > 0), positive, np.nan)
    below = (q < 0) & whole & (s > 1)
    if below.any():
        fraction = np.where(below & (q != np.floor(q)), q, -0.5)
        out = np.where(below, _zeta_negative(np.where(below, s, 2.0), fraction), out)
    out = np.where((s == 1) | ((s > 1) & (q <= 0) & (q == np.floor(q))), np.inf, out)
    return np.where(np.isnan(s) | np.isnan(q), np.nan, out)


def gamma_of_integer(n: Any) -> Any:
    """(n - 1)! for whole n >= 1, infinite where it overflows."""
    table = np.array([*(float(math.factorial(k)) for k in range(171)), math.inf])
    return table[np.clip(n - 1.0, 0, 171).astype(np.int64)]


def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of digamma, n a whole number >= 0."""
    positive = np.where(n >= 1, n, 1.0)
    sign = np.where(positive % 2 == 1, 1.0, -1.0)
    higher = sign * gamma_of_integer(positive + 1.0) * zeta(positive + 1.0, x)
    value = np.where(n == 0, digamma(x), higher) if (n == 0).any() else higher
    return np.where((n >= 0) & (n == np.floor(n)), value, np.nan)
