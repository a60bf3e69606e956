"""odeint: values against closed forms and SciPy, derivatives of both kinds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize
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
from dagrad.testing import check_grads

F64 = dg.float64
KINDS = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
PAIRS = pytest.mark.parametrize("method", ["dopri5", "tsit5"])


@pytest.fixture(autouse=True)
def graph():
    with dg.Graph().as_default() as g:
        yield g


def value(fetches, feeds=None):
    with dg.Session() as session:
        session.run(dg.global_variables_initializer())
        return session.run(fetches, feeds)


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


def test_derivatives_of_the_stiff_method():
    k, fast = 2.0, 1000.0
    held = c(k)
    y = forced_decay(held, 1e-6)
    (slope,) = dg.gradients(y[2], held)

    def exact(k):
        top = fast * (fast * np.cos(k) + k * np.sin(k))
        return top / (fast**2 + k**2)

    got = value([slope, *dg.jvp([y[2]], [held]), *dg.gradients(slope, held)])
    h = 1e-4
    first = (exact(k + h) - exact(k - h)) / (2 * h)
    second = (exact(k + h) - 2 * exact(k) + exact(k - h)) / h**2
    np.testing.assert_allclose(got, [first, first, second], rtol=1e-4)


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


# -- derivatives ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "gradient"),
    [
        ("dopri5", "discrete"),
        ("dopri5", "adjoint"),
        ("tsit5", "discrete"),
        ("rk4", "discrete"),
    ],
)
def test_derivatives_by_y0_t_and_parameters(method, gradient):
    # A forced pendulum with friction.
    def solved(y0, t, p):
        def field(y, t):
            return dg.stack([y[1], -p[0] * dg.sin(y[0]) - p[1] * y[1] + dg.cos(t)])

        # The two modes of the adjoint agree up to the tolerance only.
        tol = 1e-12 if gradient == "adjoint" else 1e-9
        return odeint(field, y0, t, tol, tol, method, gradient=gradient)

    at = [np.array([0.5, -0.2]), np.array([0.1, 0.6, 1.0]), np.array([2.0, 0.3])]
    check_grads(solved, at, order=1, rtol=1e-6, atol=1e-6)


def test_second_derivatives_of_the_discrete_solution():
    # Steps as constants: exact for what is computed with these steps, so differences
    # (in which steps change) agree up to the tolerance.
    def solved(y0, k):
        return tight(lambda y, t: -k * y * y * dg.cos(t), y0, [0.0, 0.5])[1]

    at = [np.array(0.5), np.array(0.8)]
    check_grads(solved, at, order=2, rtol=1e-5, atol=1e-5)


LOTKA = np.array([1.5, 1.0, 3.0, 1.0])
# The derivatives of y_0(10) + y_1(10), y(0) = (1, 1): see the test on SciPy.
LOTKA_SLOPES = [-4.0962130, -0.5094088, -1.1458349, -1.8043279]


def lotka(p, y0, gradient, **options):
    def field(y, t):
        x, z = y[0], y[1]
        return dg.stack([p[0] * x - p[1] * x * z, p[3] * x * z - p[2] * z])

    return tight(field, y0, [0.0, 10.0], gradient=gradient, options=options)


@KINDS
def test_sensitivities_of_lotka_and_volterra(gradient):
    p, y0 = dg.constant(LOTKA), c([1.0, 1.0])
    y = lotka(p, y0, gradient)
    total = dg.reduce_sum(y[1])
    by_p, moved = value([dg.gradients(total, p)[0], dg.jvp([total], [p], [p])[0]])
    np.testing.assert_allclose(by_p, LOTKA_SLOPES, atol=2e-6)
    np.testing.assert_allclose(moved, np.dot(LOTKA_SLOPES, LOTKA), atol=1e-5)


def test_sensitivities_are_those_that_differences_of_scipy_say():
    def last(p):
        def field(t, y):
            x, z = y
            return [p[0] * x - p[1] * x * z, p[3] * x * z - p[2] * z]

        made = scipy.integrate.solve_ivp(
            field, (0, 10), [1, 1], rtol=1e-12, atol=1e-13, method="DOP853"
        )
        return made.y[:, -1].sum()

    h = 1e-5
    slopes = [(last(LOTKA + h * e) - last(LOTKA - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(slopes, LOTKA_SLOPES, atol=1e-6)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_checkpoints_change_nothing_but_memory(method):
    k = c(0.7)
    slopes = []
    for every in (None, 1, 3):
        options = {"checkpoint_every": every}
        if method == "rk4":
            options["step_size"] = 0.1
        y = odeint(
            lambda y, t: -k * y * dg.cos(t),
            c(1.0),
            [0.0, 0.5, 2.0],
            method=method,
            options=options,
        )
        slopes += dg.gradients(y[2], k)
    plain, *others = value(slopes)
    for other in others:
        np.testing.assert_allclose(other, plain, rtol=1e-12)


def test_the_adjoint_keeps_nothing_of_the_steps():
    p = dg.constant(LOTKA)
    y = lotka(p, c([1.0, 1.0]), "adjoint")
    dg.gradients(y, p)
    ops = dg.get_default_graph().get_operations()
    assert not [op.name for op in ops if op.name.endswith("_saving")]
    assert not [op.name for op in ops if op.type == "Loop" and op.attrs["history"]]


@KINDS
def test_the_third_derivative_by_a_parameter(gradient):
    # exp(-k): the third derivative is -exp(-k).
    k = c(0.7)
    orders = [tight(lambda y, t: -k * y, c(1.0), [0.0, 1.0], gradient=gradient)[1]]
    for _ in range(3 if gradient == "discrete" else 2):
        orders += dg.gradients(orders[-1], k)
    want = np.exp(-0.7) * np.array([1.0, -1.0, 1.0, -1.0])
    np.testing.assert_allclose(value(orders), want[: len(orders)], atol=1e-6)


@KINDS
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_the_jacobian_of_a_rotation(mode, gradient):
    y0 = c([1.0, 2.0])
    y = tight(lambda y, t: dg.stack([y[1], -y[0]]), y0, [0.0, 1.0], gradient=gradient)
    (cos, sin) = np.cos(1.0), np.sin(1.0)
    got = value(dg.jacobian(y[1], y0, mode=mode))
    np.testing.assert_allclose(got, [[cos, sin], [-sin, cos]], atol=1e-8)


@KINDS
def test_variables_that_func_reads(gradient):
    v = dg.Variable(np.array(0.5))
    y = tight(lambda y, t: -v * y, c(1.0), [0.0, 2.0], gradient=gradient)
    np.testing.assert_allclose(
        value(dg.gradients(y[1], v)), [-2.0 * np.exp(-1.0)], rtol=1e-7
    )


@KINDS
@pytest.mark.parametrize("over", [dg.map_fn, dg.vectorized_map])
def test_for_each_row(over, gradient):
    k = c([1.0, 2.0])

    def last(k):
        return tight(lambda y, t: -k * y, c(1.0), [0.0, 1.0], gradient=gradient)[1]

    y = over(last, k)
    got = value([y, *dg.gradients(y, k)])
    want = np.exp([-1.0, -2.0])
    np.testing.assert_allclose(got, [want, -want], rtol=1e-7)


@KINDS
def test_in_a_function_that_is_computed_again(gradient):
    k = c(1.0)

    def last(k):
        return tight(lambda y, t: -k * y, c(1.0), [0.0, 1.0], gradient=gradient)[1]

    (slope,) = dg.gradients(dg.recompute_grad(last)(k), k)
    np.testing.assert_allclose(value(slope), -np.exp(-1.0), rtol=1e-7)


def test_rejected_steps_that_are_no_numbers_leave_no_trace():
    # (√y0 - t k / 2)²: a first step of 5 leads to the root of a negative number.
    y0, k = c(1.0), c(1.0)
    y, info = tight(
        lambda y, t: -k * dg.sqrt(y),
        y0,
        [0.0, 1.0],
        options={"first_step": 5.0},
        full_output=True,
    )
    got = value([y[1], *dg.gradients(y[1], [y0, k]), *dg.jvp([y[1]], [y0])])
    np.testing.assert_allclose(got, [0.25, 0.5, -0.5, 0.5], rtol=1e-7)
    assert value(info["num_rejected"]) > 0


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
    integrate = dg.contrib.integrate
    t = np.linspace(0.0, 1.0, 3)
    y = integrate.odeint(lambda y, t: -y, c(1.0), t, 1e-8, 1e-10, "dopri5", None, False)
    np.testing.assert_allclose(value(y), np.exp(-t), rtol=1e-7)
    y = integrate.odeint_fixed(lambda y, t: -y, c(1.0), t, dt=0.05)
    np.testing.assert_allclose(value(y), np.exp(-t), rtol=1e-6)


# -- together with other solvers ------------------------------------------------------


@KINDS
def test_shooting(gradient):
    # y'' = -p y, y(0) = 0, y(1) = 1/2: y'(0) = √p / (2 sin √p).
    p = c(2.0)

    def miss(v):
        def field(s, t):
            return s[1], -p * s[0]

        return tight(field, (c(0.0), v), [0.0, 1.0], gradient=gradient)[0][1] - 0.5

    v = dg.newton(miss, c(1.0))
    w = np.sqrt(2.0)
    want = w / (2.0 * np.sin(w))
    slope = (1.0 / w - 1.0 / np.tan(w)) * want / (2.0 * w)
    got = value([v, *dg.gradients(v, p), *dg.jvp([v], [p])])
    np.testing.assert_allclose(got, [want, slope, slope], rtol=1e-7)


@KINDS
def test_an_equation_that_is_solved_in_each_step(gradient):
    # y' = -k z with z + z³ = y: dz/dt = -k z / (1 + 3 z²).
    k, z0 = c(1.5), 1.0

    def field(y, t):
        return -k * dg.newton(lambda z: z + z**3 - y, dg.zeros_like(y))

    y = tight(field, c(z0 + z0**3), [0.0, 1.0], gradient=gradient)
    (slope,) = dg.gradients(y[1], k)
    # log z + 3 z² / 2 falls from 3/2 by k.
    z = scipy.optimize.brentq(lambda z: np.log(z) + 1.5 * z**2, 1e-3, 1.0)
    dz = -z / (1.0 + 3.0 * z**2)
    want = [z + z**3, (1.0 + 3.0 * z**2) * dz]
    np.testing.assert_allclose(value([y[1], slope]), want, rtol=1e-7)


@KINDS
def test_taylor_mode_and_hessians_through_an_integration(gradient):
    # exp(-k) and its derivatives.
    k = c(0.7)
    y = tight(lambda y, t: -k * y, c(1.0), [0.0, 1.0], gradient=gradient)[1]
    want = np.exp(-0.7) * np.array([-1.0, 1.0, 1.0])
    got = value([*dg.derivatives(y, k, 2), dg.hessian(y, k)])
    np.testing.assert_allclose(got, want, rtol=1e-6)
