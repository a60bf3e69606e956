"""The special functions' own implementations, against SciPy over their domains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special as sp

from dagrad.ops import _special

INF, NAN = np.inf, np.nan
RNG = np.random.default_rng(3)


def powers_of_ten(low: float, high: float) -> Any:
    return 10.0 ** RNG.uniform(low, high, 2000)


def between(low: float, high: float) -> Any:
    return RNG.uniform(low, high, 20000)


def check(
    f: Callable[..., Any],
    reference: Any,
    x: Any,
    rtol: float = 4e-15,
    atol: float = 0.0,
) -> None:
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(f(x), reference(x), rtol, atol)


@pytest.mark.parametrize("x", [between(-7, 7), powers_of_ten(-300, -1)])
def test_erf(x: Any) -> None:
    check(_special.erf, sp.erf, x)


def test_erfc() -> None:
    check(_special.erfc, sp.erfc, between(-7, 5), 2e-14)
    # SciPy itself loses digits of e^(-x²) here.
    check(_special.erfc, sp.erfc, between(5, 26), 2e-13)


def test_erfc_in_its_far_tail() -> None:
    # erfc(10), erfc(20), erfc(26), from a computation with 40 digits.
    want = [2.088487583762545e-45, 5.395865611607901e-176, 5.663192408856143e-296]
    np.testing.assert_allclose(_special.erfc(np.array([10.0, 20, 26])), want, 1e-14)


@pytest.mark.parametrize("x", [between(0, 40), powers_of_ten(-300, 300)])
def test_lgamma(x: Any) -> None:
    # SciPy keeps absolute precision only near the zeros at 1 and 2.
    check(_special.lgamma, sp.gammaln, x, 2e-14, 1e-15)


def test_lgamma_next_to_its_zeros() -> None:
    d = powers_of_ten(-15, -6)
    d = (1 + d) - 1  # what a double next to 1 can hold
    euler = 0.5772156649015329
    series = -euler * d + np.pi**2 / 12 * d * d
    np.testing.assert_allclose(_special.lgamma(1 + d), series, rtol=1e-12)
    d = (2 - d) - 2
    series = (1 - euler) * d + (np.pi**2 / 12 - 0.5) * d * d
    np.testing.assert_allclose(_special.lgamma(2 + d), series, rtol=1e-12)


def test_lgamma_of_negative_numbers() -> None:
    x = between(-30, 0)
    error = np.abs(_special.lgamma(x) - sp.gammaln(x))
    assert error.max() < 1e-13


def test_lgamma_at_poles_and_infinity() -> None:
    with np.errstate(all="ignore"):
        got = _special.lgamma(np.array([0.0, -1.0, -2.0, INF, NAN]))
    np.testing.assert_array_equal(got, [INF, INF, INF, INF, NAN])


@pytest.mark.parametrize("x", [between(0, 40), powers_of_ten(-300, 300)])
def test_digamma(x: Any) -> None:
    check(_special.digamma, sp.digamma, x, 2e-14)


def test_digamma_of_negative_numbers() -> None:
    x = between(-30, 0)
    x = x[np.abs(x - np.rint(x)) > 0.01]
    np.testing.assert_allclose(_special.digamma(x), sp.digamma(x), 1e-11, 1e-13)


def test_digamma_reflects() -> None:
    x = between(0.01, 0.49)
    gap = _special.digamma(1 - x) - _special.digamma(x)
    np.testing.assert_allclose(gap, np.pi / np.tan(np.pi * x), rtol=1e-13)


def test_digamma_at_its_poles() -> None:
    with np.errstate(all="ignore"):
        got = _special.digamma(np.array([0.0, -0.0, -1.0, NAN]))
    np.testing.assert_array_equal(got, [-INF, INF, NAN, NAN])


@pytest.mark.parametrize("s", [1.01, 1.5, 2, 3, 5, 17, 60])
def test_zeta(s: float) -> None:
    def own(q: Any) -> Any:
        return _special.zeta(np.full_like(q, s), q)

    check(own, lambda q: sp.zeta(s, q), between(0.01, 50))


@pytest.mark.parametrize("s", [2, 3, 4])
def test_zeta_of_negative_numbers(s: int) -> None:
    q = between(-20, 0)
    got = _special.zeta(np.full_like(q, s), q)
    np.testing.assert_allclose(got, sp.zeta(s, q), rtol=1e-11, atol=1e-11)


def test_zeta_outside_its_domain() -> None:
    s, q = np.array([[1.0, 0.5, 2.0, 2.0, 2.5], [3.0, 3.0, 0.0, -3.0, -0.5]])
    with np.errstate(all="ignore"):
        got = _special.zeta(s, q)
    np.testing.assert_array_equal(got, [INF, NAN, INF, INF, NAN])


@pytest.mark.parametrize("n", [0, 1, 2, 5, 20])
def test_polygamma(n: int) -> None:
    def own(x: Any) -> Any:
        return _special.polygamma(np.full_like(x, n), x)

    check(own, lambda x: np.asarray(sp.polygamma(n, x), float), between(0.1, 30), 1e-14)


def test_polygamma_of_no_whole_order_is_nan() -> None:
    got = _special.polygamma(np.array([0.5, -1.0]), np.array([1.0, 1.0]))
    assert np.isnan(got).all()


def test_ndtri() -> None:
    check(_special.ndtri, sp.ndtri, between(0, 1))
    check(_special.ndtri, sp.ndtri, powers_of_ten(-300, -1))
    check(_special.ndtri, sp.ndtri, np.array([0.0, 0.5, 1.0, -0.1, 1.1, NAN]))


def test_erfinv() -> None:
    check(_special.erfinv, sp.erfinv, between(-1, 1))
    check(_special.erfinv, sp.erfinv, powers_of_ten(-300, -1))
    check(_special.erfinv, sp.erfinv, 1 - powers_of_ten(-15, -1))
    check(_special.erfinv, sp.erfinv, np.array([-1.0, 1.0, 1.1, NAN]))


def test_functions_of_nothing_and_infinity() -> None:
    with np.errstate(all="ignore"):
        for f in (_special.erf, _special.erfc, _special.lgamma, _special.digamma):
            assert f(np.empty(0)).shape == (0,)
        ends = np.array([-INF, INF])
        np.testing.assert_array_equal(_special.erf(ends), [-1, 1])
        np.testing.assert_array_equal(_special.erfc(ends), [2, 0])
