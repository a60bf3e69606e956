"""Derivatives of odeint, of both kinds, and together with other solvers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from fresh_session import value

import dagrad as dg
from dagrad.ops.odes import odeint
from dagrad.testing import check_grads

F64 = dg.float64
KINDS = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])


pytestmark = pytest.mark.usefixtures("graph")


def c(x):
    return dg.constant(x, F64)


def tight(*args, **kwargs):
    return odeint(*args, rtol=1e-10, atol=1e-12, **kwargs)


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


def test_derivatives_of_the_stiff_method():
    # y soon follows cos(k t).
    k, fast = 2.0, 1000.0
    held = c(k)
    y = odeint(
        lambda y, t: -fast * (y - dg.cos(held * t)),
        c(0.0),
        [0.0, 0.5, 1.0],
        rtol=1e-6,
        atol=1e-6,
        method="rodas",
    )
    (slope,) = dg.gradients(y[2], held)

    def exact(k):
        top = fast * (fast * np.cos(k) + k * np.sin(k))
        return top / (fast**2 + k**2)

    got = value([slope, *dg.jvp([y[2]], [held]), *dg.gradients(slope, held)])
    h = 1e-4
    first = (exact(k + h) - exact(k - h)) / (2 * h)
    second = (exact(k + h) - 2 * exact(k) + exact(k - h)) / h**2
    np.testing.assert_allclose(got, [first, first, second], rtol=1e-4)


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
