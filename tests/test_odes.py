"""odeint: values against closed forms and SciPy, derivatives of both kinds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from fresh_session import value
from scipy.integrate._ivp.rk import RK45

import dagrad as dg
from dagrad.graphlib.errors import (
    DTypeError,
    GraphError,
    InvalidArgumentError,
    ShapeError,
)
from dagrad.ops._runge_kutta import EMBEDDED, FIXED
from dagrad.ops.odes import odeint

F64 = dg.float64
KINDS = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
PAIRS = pytest.mark.parametrize("method", ["dopri5", "tsit5"])


pytestmark = pytest.mark.usefixtures("graph")


def c(x):
    return dg.constant(x, F64)


def tight(*args, **kwargs):
    return odeint(*args, rtol=1e-10, atol=1e-12, **kwargs)


# -- coefficients ---------------------------------------------------------------------


def test_the_coefficients_of_dormand_and_prince_are_scipys():
    ours = EMBEDDED["dopri5"].tableau
    np.testing.assert_allclose(ours.b[:6], RK45.B, rtol=1e-15)
    np.testing.assert_allclose(ours.e, -RK45.E, rtol=1e-13)
    np.testing.assert_allclose(ours.p, RK45.P, rtol=1e-13, atol=1e-14)


def trees(method):
    """Sums that a method of order 5 makes 1 / density, for all trees up to order 4."""
    n = len(method.b)
    a = np.zeros((n, n))
    for i, row in enumerate(method.a, 1):
        a[i, : len(row)] = row
    b, c = np.array(method.b), a.sum(1)
    yield b.sum(), 1
    yield b @ c, 2
    yield b @ c**2, 3
    yield b @ a @ c, 6
    yield b @ c**3, 4
    yield (b * c) @ (a @ c), 8
    yield b @ a @ c**2, 12
    yield b @ a @ a @ c, 24
    yield b @ c**4, 5
    yield b @ a @ c**3, 20
    yield b @ a @ a @ a @ c, 120


@pytest.mark.parametrize("name", ["dopri5", "tsit5", "rk4"])
def test_the_order_conditions_hold(name):
    method = FIXED[name] if name in FIXED else EMBEDDED[name].tableau
    count = 11 if method.order == 5 else 8
    for total, density in list(trees(method))[:count]:
        np.testing.assert_allclose(total, 1.0 / density, rtol=1e-12)


@PAIRS
def test_a_dense_output_joins_the_steps(method):
    # At θ = 1 the weights are b, and the slopes at both ends are k_1 and k_7.
    p = np.asarray(EMBEDDED[method].tableau.p)
    np.testing.assert_allclose(p.sum(1), EMBEDDED[method].tableau.b, atol=1e-13)
    np.testing.assert_allclose(p[:, 0], np.eye(7)[0], atol=1e-13)
    np.testing.assert_allclose(p @ [1, 2, 3, 4], np.eye(7)[6], atol=1e-12)


# -- values ---------------------------------------------------------------------------


@PAIRS
def test_a_linear_system_is_the_matrix_exponential(method):
    a = np.array([[-0.5, 2.0, 0.0], [-2.0, -0.5, 0.3], [0.1, 0.0, -1.0]])
    t, y0 = np.linspace(0.0, 3.0, 7), np.array([1.0, 0.0, 2.0])
    mat = dg.constant(a)
    y = tight(lambda y, t: dg.linalg.matvec(mat, y), c(y0), t, method=method)
    want = [scipy.linalg.expm(a * s) @ y0 for s in t]
    np.testing.assert_allclose(value(y), want, atol=1e-8)


@PAIRS
def test_the_logistic_curve(method):
    t = np.linspace(0.0, 8.0, 33)
    y = tight(lambda y, t: y * (1.0 - y), c(0.01), t, method=method)
    np.testing.assert_allclose(value(y), 1 / (1 + 99 * np.exp(-t)), rtol=1e-8)


def test_time_dependence_and_time_running_backward():
    # y' = 2 t y: y = exp(t² - t_0²) y_0.
    t = np.array([1.0, 0.5, -0.5, -1.0])
    y = tight(lambda y, t: 2.0 * t * y, c(3.0), t)
    np.testing.assert_allclose(value(y), 3.0 * np.exp(t**2 - 1.0), rtol=1e-8)


def test_scipy_takes_as_many_steps():
    def f(t, y):
        return [y[0] - y[0] * y[1], y[0] * y[1] - y[1]]

    t = np.linspace(0.0, 10.0, 41)
    y, info = odeint(
        lambda y, t: dg.stack([y[0] - y[0] * y[1], y[0] * y[1] - y[1]]),
        c([2.0, 1.0]),
        t,
        rtol=1e-8,
        atol=1e-10,
        full_output=True,
    )
    got, info = value([y, info])
    exact = scipy.integrate.solve_ivp(
        f, (0, 10), [2, 1], t_eval=t, rtol=1e-12, atol=1e-13, method="DOP853"
    )
    same = scipy.integrate.solve_ivp(f, (0, 10), [2, 1], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(got, exact.y.T, atol=1e-6)
    assert info["num_func_evals"] == 6 * (info["num_steps"] + info["num_rejected"]) + 2
    assert 0.7 * same.nfev < info["num_func_evals"] < 1.3 * same.nfev


@pytest.mark.parametrize(
    ("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)]
)
def test_the_order_of_convergence_of_fixed_steps(method, order):
    def error(n):
        t = np.linspace(0.0, 2.0, n + 1)
        y = odeint(lambda y, t: y * dg.cos(t), c(1.0), t, method=method)
        return abs(value(y[-1]) - np.exp(np.sin(2.0)))

    slope = np.log2(error(40) / error(80))
    np.testing.assert_allclose(slope, order, atol=0.15)


@PAIRS
def test_a_tighter_tolerance_costs_what_order_5_says(method):
    def run(rtol):
        y, info = odeint(
            lambda y, t: dg.stack([y[1], -y[0]]),
            c([1.0, 0.0]),
            [0.0, 20.0],
            rtol=rtol,
            atol=rtol,
            method=method,
            full_output=True,
        )
        y, info = value([y, info])
        exact = [np.cos(20.0), -np.sin(20.0)]
        return np.abs(y[1] - exact).max(), info["num_steps"]

    (loose, few), (fine, many) = run(1e-5), run(1e-10)
    assert fine < 1e-7 < loose < 1e-2
    # h goes as the fifth root of the tolerance: 10 times as many for 1e-5 of it.
    assert 7 < many / few < 13


def forced_decay(k, rtol, **more):
    """y' = -1000 (y - cos(k t)), y(0) = 0, which soon follows cos(k t)."""
    return odeint(
        lambda y, t: -1000.0 * (y - dg.cos(k * t)),
        c(0.0),
        [0.0, 0.5, 1.0],
        rtol=rtol,
        atol=rtol,
        method="rodas",
        **more,
    )


def test_a_stiff_equation_takes_few_steps():
    k, fast = 2.0, 1000.0
    t = np.array([0.5, 1.0])
    y, info = forced_decay(c(k), 1e-9, full_output=True)
    got, info = value([y, info])
    want = fast * (fast * np.cos(k * t) + k * np.sin(k * t)) / (fast**2 + k**2)
    np.testing.assert_allclose(got[1:], want, atol=1e-8)
    _, explicit = odeint(
        lambda y, t: -1e6 * (y - dg.cos(t)), c(0.0), [0.0, 1e-3], full_output=True
    )
    _, implicit = odeint(
        lambda y, t: -1e6 * (y - dg.cos(t)),
        c(0.0),
        [0.0, 1e-3],
        method="rodas",
        full_output=True,
    )
    explicit, implicit = value([explicit["num_steps"], implicit["num_steps"]])
    assert 5 * implicit < explicit


def test_the_order_of_the_stiff_method():
    def run(rtol):
        y, info = odeint(
            lambda y, t: {"u": y["v"], "v": -y["u"] * dg.cos(t)},
            {"u": c(1.0), "v": c(0.0)},
            [0.0, 5.0],
            rtol=rtol,
            atol=rtol,
            method="rodas",
            full_output=True,
        )
        return value([y["u"][1], info["num_steps"]])

    exact = scipy.integrate.solve_ivp(
        lambda t, y: [y[1], -y[0] * np.cos(t)],
        (0, 5),
        [1, 0],
        rtol=1e-12,
        atol=1e-13,
        method="DOP853",
    ).y[0, -1]
    (loose, few), (fine, many) = run(1e-5), run(1e-9)
    assert abs(fine - exact) < 1e-7 < abs(loose - exact) < 1e-3
    # h goes as the fourth root of the tolerance: 10 times as many for 1e-4 of it.
    assert 7 < many / few < 13


def test_robertsons_reaction():
    def rates(y, t):
        a, b, d = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return dg.stack([b - a, a - b - d, d])

    t = [0.0, 0.4, 40.0, 4e4]
    y = odeint(rates, c([1.0, 0.0, 0.0]), t, 1e-7, 1e-11, "rodas")
    # SciPy 1.17.1: Radau with rtol 1e-12, atol 1e-16.
    want = [
        [0.9851721138610, 3.386395378975e-05, 0.01479402218522],
        [0.7158270687194, 9.185534764559e-06, 0.2841637457458],
        [0.03898337708565, 1.621768315917e-07, 0.9610164607375],
    ]
    np.testing.assert_allclose(value(y)[1:], want, rtol=1e-5)
    np.testing.assert_allclose(value(dg.reduce_sum(y, 1)), np.ones(4), rtol=1e-12)


def test_fixed_steps_inside_of_intervals():
    # Equal steps of 1 and 1/2, that are no longer than what is asked for.
    t, y0 = [0.0, 1.0, 1.5], c(1.0)
    y = odeint(lambda y, t: y, y0, t, method="euler", options={"step_size": 0.3})
    np.testing.assert_allclose(value(y), [1.0, 1.25**4, 1.25**4 * 1.25**2], rtol=1e-12)
    sizes = {"step_size": [0.5, 0.1]}
    y = odeint(lambda y, t: y, y0, t, method="euler", options=sizes)
    np.testing.assert_allclose(value(y), [1.0, 1.5**2, 1.5**2 * 1.1**5], rtol=1e-12)


@KINDS
def test_structures_and_the_sizes_of_their_parts(gradient):
    t = np.linspace(0.0, 1.0, 3)
    w = c(2.0)
    state = {"x": dg.ones([2, 1], F64), "v": [c(0.0)]}

    def field(s, t):
        return {"x": dg.zeros([2, 1], F64) + s["v"][0], "v": [-(w**2) * s["x"][1, 0]]}

    y = tight(field, state, t, gradient=gradient)
    (slope,) = dg.gradients(y["x"][2], w)
    x, v, slope = value([y["x"], y["v"][0], slope])
    assert x.shape == (3, 2, 1)
    np.testing.assert_allclose(x[:, 1, 0], np.cos(2.0 * t), atol=1e-8)
    np.testing.assert_allclose(v, -2.0 * np.sin(2.0 * t), atol=1e-8)
    np.testing.assert_allclose(slope, -2.0 * np.sin(2.0), atol=1e-7)


@KINDS
def test_complex_equations(gradient):
    w = c(2.0)
    y = tight(
        lambda y, t: dg.complex(dg.zeros_like(w), w) * y,
        dg.constant(1.0 + 0.0j, dg.complex128),
        [0.0, 1.0],
        gradient=gradient,
    )
    x = dg.real(y[1])
    got = value([y[1], *dg.gradients(x, w), *dg.jvp([x], [w])])
    np.testing.assert_allclose(got[0], np.exp(2.0j), rtol=1e-8)
    np.testing.assert_allclose(got[1:], [-np.sin(2.0)] * 2, rtol=1e-7)


def test_single_precision_with_its_own_tolerance():
    y = odeint(lambda y, t: -y, dg.constant(1.0), [0.0, 1.0], rtol=1e-4, atol=1e-6)
    got = value(y)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[1], np.exp(-1.0), rtol=1e-4)


@KINDS
@pytest.mark.parametrize(
    ("t", "want"),
    [
        ([1.0], [1.0]),
        ([1.0, 1.0], [1.0, 1.0]),
        ([0.0, 0.0, 1.0, 1.0], [1.0, 1.0, np.exp(-1), np.exp(-1)]),
    ],
    ids=["one", "none", "twice"],
)
def test_times_that_repeat(t, want, gradient):
    y0 = c(1.0)
    y = tight(lambda y, t: -y, y0, t, gradient=gradient)
    got = value([y, *dg.gradients(y, y0)])
    np.testing.assert_allclose(got[0], want, rtol=1e-8)
    np.testing.assert_allclose(got[1], np.sum(want), rtol=1e-7)


@KINDS
def test_unknown_shapes_and_empty_ones(gradient):
    t, y0 = dg.placeholder(F64, [None]), dg.placeholder(F64)
    y = tight(lambda y, t: -y, y0, t, gradient=gradient)
    slopes = dg.gradients(y, [y0, t])
    for shape in ((), (2,), (0,), (2, 3)):
        got, by_y, by_t = value([y, *slopes], {t: [0.0, 1.0], y0: np.ones(shape)})
        assert got.shape == (2, *shape)
        np.testing.assert_allclose(got[1], np.full(shape, np.exp(-1.0)), rtol=1e-8)
        np.testing.assert_allclose(by_y, np.full(shape, 1 + np.exp(-1)), rtol=1e-7)
        size = int(np.prod(shape))
        np.testing.assert_allclose(by_t, [size / np.e, -size / np.e], atol=1e-7)


# -- refusals -------------------------------------------------------------------------


def test_a_solution_that_ends_is_an_error():
    y = odeint(lambda y, t: y**2, c(1.0), [0.0, 2.0])
    with pytest.raises(InvalidArgumentError, match="became too small"):
        value(y)


@pytest.mark.parametrize("t", [[0.0, 1.0], [1.0, 2.0]])
def test_a_slope_that_is_no_number_is_an_error(t):
    y = odeint(lambda y, t: y * np.nan, c(1.0), t)
    with pytest.raises(InvalidArgumentError, match="became too small"):
        value(y)


def test_too_many_steps_are_an_error():
    y = odeint(
        lambda y, t: -1000.0 * y, c(1.0), [0.0, 2.0], options={"max_num_steps": 20}
    )
    with pytest.raises(InvalidArgumentError, match="20 steps are not enough"):
        value(y)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_times_that_turn_around_are_an_error(method):
    t = dg.placeholder(F64, [3])
    y = odeint(lambda y, t: -y, c(1.0), t, method=method)
    with pytest.raises(InvalidArgumentError, match="increasing or decreasing"):
        value(y, {t: [0.0, 2.0, 1.0]})


def test_what_func_returns_is_checked():
    y0 = c([1.0, 2.0])
    with pytest.raises(ShapeError, match=r"func\(y, t\) has shape \(\)"):
        odeint(lambda y, t: y[0], y0, [0.0, 1.0])
    with pytest.raises(DTypeError, match="float32"):
        odeint(lambda y, t: dg.cast(y, dg.float32), y0, [0.0, 1.0])
    with pytest.raises(ValueError, match="differ"):
        odeint(lambda y, t: [y], y0, [0.0, 1.0])
    with pytest.raises(TypeError, match="func must be a function"):
        odeint(None, y0, [0.0, 1.0])


def test_arguments_are_checked():
    y0 = c(1.0)

    def f(y, t):
        return -y

    with pytest.raises(DTypeError, match="floating or complex"):
        odeint(f, dg.constant(1), [0.0, 1.0])
    with pytest.raises(ShapeError, match="a vector of one time or more"):
        odeint(f, y0, 1.0)
    with pytest.raises(InvalidArgumentError, match="'rk5' is none of dopri5"):
        odeint(f, y0, [0.0, 1.0], method="rk5")
    with pytest.raises(InvalidArgumentError, match="no option 'step'"):
        odeint(f, y0, [0.0, 1.0], options={"step": 1.0})
    with pytest.raises(InvalidArgumentError, match="gradient must be"):
        odeint(f, y0, [0.0, 1.0], gradient="exact")
    with pytest.raises(InvalidArgumentError, match="adaptive methods"):
        odeint(f, y0, [0.0, 1.0], method="rk4", full_output=True)
    with pytest.raises(GraphError, match="draws random numbers"):
        odeint(
            lambda y, t: dg.random_normal([], dtype=F64),
            y0,
            [0.0, 1.0],
            gradient="adjoint",
        )


def test_tf1s_names():
    # The example of tf.contrib.integrate.odeint's documentation: Lorenz' equations.
    rho, sigma, beta = 28.0, 10.0, 8.0 / 3.0

    def lorenz(state, t):
        x, y, z = dg.unstack(state)
        return dg.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])

    t = np.linspace(0.0, 1.0, 5)
    integrate = dg.contrib.integrate
    start = [np.float64(v) for v in (0.0, 2.0, 20.0)]
    states, info = integrate.odeint(lorenz, start, t, 1e-8, full_output=True)
    fixed = integrate.odeint_fixed(lorenz, start, t, dt=0.001, method="rk4")

    def same(t, s):
        x, y, z = s
        return [sigma * (y - x), x * (rho - z) - y, x * y - beta * z]

    want = scipy.integrate.solve_ivp(
        same, (0, 1), start, t_eval=t, rtol=1e-11, atol=1e-12, method="DOP853"
    ).y.T
    states, fixed, info = value([states, fixed, info])
    np.testing.assert_allclose(states, want, rtol=1e-5)
    np.testing.assert_allclose(fixed, want, rtol=1e-5)
    assert info["num_func_evals"] > 100
