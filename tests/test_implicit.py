"""Implicit functions: custom_root, custom_linear_solve, and the solvers."""

from __future__ import annotations

import numpy as np
import pytest
from fresh_session import value

import dagrad as dg
from dagrad.graphlib.errors import (
    DTypeError,
    GradientError,
    GraphError,
    InvalidArgumentError,
    ShapeError,
)
from dagrad.ops.implicit import custom_linear_solve, custom_root
from dagrad.ops.roots import fixed_point, newton
from dagrad.ops.solvers import bicgstab, conjugate_gradient, dense_solve
from dagrad.testing import check_grads

F64 = dg.float64


pytestmark = pytest.mark.usefixtures("graph")


def scalar(x):
    return dg.constant(x, F64)


def matrix(n, symmetric, seed=0):
    """A well-conditioned matrix."""
    a = np.random.default_rng(seed).uniform(-0.5, 0.5, (n, n))
    return n * np.eye(n) + (a + a.T if symmetric else a)


def root_of(a, guess=1.0):
    """√a as the solution of x² = a."""
    return newton(lambda x: x**2 - a, dg.ones_like(a) * guess)


# √a and its derivatives at a = 2: aᵖ with p = 1/2, -1/2, ...
ORDERS = [
    2.0**0.5,
    0.5 * 2**-0.5,
    -0.25 * 2**-1.5,
    0.375 * 2**-2.5,
    -0.9375 * 2**-3.5,
]


# -- roots ----------------------------------------------------------------------------


def test_reverse_mode_to_the_fourth_order():
    a = scalar(2.0)
    orders = [root_of(a)]
    for _ in range(4):
        orders += dg.gradients(orders[-1], a)
    np.testing.assert_allclose(value(orders), ORDERS, rtol=1e-12)


def test_forward_mode_to_the_fourth_order():
    a = scalar(2.0)
    orders = [root_of(a)]
    for _ in range(4):
        orders += dg.jvp([orders[-1]], [a])
    np.testing.assert_allclose(value(orders), ORDERS, rtol=1e-12)


def test_taylor_mode_to_the_third_order():
    a = scalar(2.0)
    orders = dg.derivatives(root_of(a), a, 3)
    np.testing.assert_allclose(value(orders), ORDERS[1:4], rtol=1e-12)


def test_modes_mix():
    a = scalar(2.0)
    (slope,) = dg.gradients(root_of(a), a)
    (second,) = dg.jvp([slope], [a])
    (third,) = dg.gradients(second, a)
    np.testing.assert_allclose(value([second, third]), ORDERS[2:4], rtol=1e-12)


def test_the_solver_is_not_differentiated():
    # A bisection has no useful derivative, and this one passes through integers.
    a = scalar(2.0)

    def search(f, guess):
        grid = dg.constant(np.linspace(0.0, 2.0, 20001))
        closest = dg.argmin(dg.abs(grid**2 - a), 0)
        return dg.gather(grid, closest) + 0.0 * guess

    x = custom_root(lambda x: x**2 - a, scalar(1.0), search)
    np.testing.assert_allclose(value(dg.gradients(x, a)), [ORDERS[1]], rtol=1e-4)


def test_nothing_of_the_iteration_is_kept():
    a = scalar(2.0)
    x = root_of(a)
    loops = [op for op in dg.get_default_graph().get_operations() if op.type == "Loop"]
    assert loops
    dg.gradients(dg.gradients(x, a), a)
    ops = dg.get_default_graph().get_operations()
    assert not [op.name for op in ops if op.name.endswith("_saving")]
    # No derivative depends on anything of the loop but the root.
    histories = [op for op in ops if op.type == "Loop" and op.attrs["history"]]
    assert histories == []


def test_no_derivative_reaches_the_initial_guess():
    a, guess = scalar(2.0), scalar(1.0)
    x = newton(lambda x: x**2 - a, guess)
    assert dg.gradients(x, guess) == [None]
    assert dg.jvp([x], [guess]) == [None]
    why = dg.explain_gradient(x, guess)
    assert any("a solver computed it" in cut.why for cut in why.cuts)


def test_systems_in_a_structure():
    # p² = a, q p = b: p = √a, q = b / √a.
    def solved(a, b):
        def f(x):
            return {"p": x["p"] ** 2 - a, "q": [x["q"][0] * x["p"] - b]}

        x = newton(f, {"p": dg.ones_like(a), "q": [dg.ones_like(b)]})
        return [x["p"], x["q"][0]]

    a, b = np.array(3.0), np.array([2.0, -1.0])
    p, q = value(solved(dg.constant(a), dg.constant(b)))
    np.testing.assert_allclose(p, np.sqrt(3.0), rtol=1e-12)
    np.testing.assert_allclose(q, b / np.sqrt(3.0), rtol=1e-12)
    check_grads(solved, [a, b], order=2)


def test_variables_that_f_reads():
    v = dg.Variable(np.array(2.0))
    x = newton(lambda x: x**2 - v, scalar(1.0))
    (slope,) = dg.gradients(x, v)
    (second,) = dg.gradients(slope, v)
    got = value([x, slope, second, *dg.jvp([x], [v])])
    np.testing.assert_allclose(got, [*ORDERS[:3], ORDERS[1]], rtol=1e-12)


def test_a_given_tangent_solve_serves_both_modes():
    a = scalar(2.0)
    x = custom_root(
        lambda x: x**2 - a,
        scalar(1.0),
        lambda f, guess: dg.sqrt(a),
        tangent_solve=lambda matvec, b: b / matvec(dg.ones_like(b)),
    )
    (slope,) = dg.gradients(x, a)
    got = value([slope, *dg.jvp([x], [a]), *dg.gradients(slope, a)])
    np.testing.assert_allclose(got, [ORDERS[1], ORDERS[1], ORDERS[2]], rtol=1e-12)


def test_roots_of_roots():
    # y² = √a: y = a^¼.
    check_grads(
        lambda a: root_of(root_of(a)), [np.array(2.0)], order=3, rtol=1e-5, atol=1e-5
    )


def test_complex_roots():
    z = dg.constant(2.0 + 1.0j, dg.complex128)
    w = newton(lambda w: w**2 - z, dg.constant(1.0 + 0.0j, dg.complex128))
    slope = 0.5 * (2.0 + 1.0j) ** -0.5
    got = value([w, *dg.jvp([w], [z]), *dg.gradients(w, z)])
    # TF1's gradient is the conjugate of the derivative.
    want = [(2.0 + 1.0j) ** 0.5, slope, np.conj(slope)]
    np.testing.assert_allclose(got, want, rtol=1e-12)


# -- where a root may stand -----------------------------------------------------------


def test_in_the_body_of_a_loop():
    # Three steps of backward Euler for x' = -x³.
    def last(c):
        def step(i, x):
            return i + 1, newton(lambda y: y + c * y**3 - x, x)

        return dg.while_loop(lambda i, x: i < 3, step, (0, dg.ones_like(c)))[1]

    check_grads(last, [np.array(0.3)], order=2)


@pytest.mark.parametrize("over", [dg.map_fn, dg.vectorized_map])
def test_for_each_row(over):
    a = dg.constant(np.linspace(1.0, 4.0, 5))
    x = over(root_of, a)
    got = value([x, *dg.gradients(x, a)])
    root = np.sqrt(np.linspace(1.0, 4.0, 5))
    np.testing.assert_allclose(got, [root, 0.5 / root], rtol=1e-12)


@pytest.mark.parametrize("over", [dg.map_fn, dg.vectorized_map])
def test_rows_that_share_a_parameter(over):
    # Each row solves A x = b_i by itself; A gets what all rows give it.
    def solved(a, b):
        return over(lambda row: solved_by(bicgstab, False, a, row), b)

    a, b = matrix(3, False), np.arange(6.0).reshape(2, 3)
    want = np.linalg.solve(a, b.T).T
    got = value(solved(dg.constant(a), dg.constant(b)))
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)
    check_grads(solved, [a, b], order=2)


def test_rows_of_rows():
    a = dg.constant(np.arange(1.0, 7.0).reshape(2, 3))
    x = dg.vectorized_map(lambda row: dg.vectorized_map(root_of, row), a)
    (slope,) = dg.gradients(x, a)
    got = value([x, slope, *dg.gradients(slope, a), *dg.jvp([slope], [a])])
    at = np.arange(1.0, 7.0).reshape(2, 3)
    second = -0.25 * at**-1.5
    np.testing.assert_allclose(got, [at**0.5, 0.5 * at**-0.5, second, second])


@pytest.mark.parametrize("wrap", [dg.function, dg.recompute_grad])
def test_in_a_function_that_is_copied(wrap):
    a = scalar(2.0)
    (slope,) = dg.gradients(wrap(root_of)(a), a)
    got = value([slope, *dg.gradients(slope, a)])
    np.testing.assert_allclose(got, ORDERS[1:3], rtol=1e-12)


def test_in_a_branch():
    a = scalar(2.0)
    x = dg.cond(a > 1.0, lambda: root_of(a), lambda: a)
    (slope,) = dg.gradients(x, a)
    assert value(slope, {a: 0.5}) == 1.0
    np.testing.assert_allclose(value(slope), ORDERS[1], rtol=1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobians_and_hessians(mode):
    a = dg.constant([1.0, 2.0, 3.0], F64)
    x = root_of(a)
    J = dg.jacobian(x, a, mode=mode)
    H = dg.hessian(dg.reduce_sum(x), a)
    at = np.array([1.0, 2.0, 3.0])
    got_j, got_h = value([J, H])
    np.testing.assert_allclose(got_j, np.diag(0.5 * at**-0.5), atol=1e-12)
    np.testing.assert_allclose(got_h, np.diag(-0.25 * at**-1.5), atol=1e-12)


def test_unknown_shapes_and_empty_ones():
    a = dg.placeholder(F64, [None])
    x = root_of(a)
    (slope,) = dg.gradients(x, a)
    for n in (0, 1, 3):
        at = np.arange(1.0, n + 1.0)
        got = value([x, slope], {a: at})
        np.testing.assert_allclose(got, [at**0.5, 0.5 * at**-0.5], rtol=1e-12)


def test_single_precision():
    a = dg.constant(2.0)
    x = root_of(a)
    got = value([x, *dg.gradients(x, a)])
    assert got[0].dtype == np.float32
    np.testing.assert_allclose(got, ORDERS[:2], rtol=1e-6)


# -- refusals -------------------------------------------------------------------------


def test_a_function_that_draws_is_refused():
    with pytest.raises(GraphError, match="draws random numbers"):
        newton(lambda x: x - dg.random_uniform([], dtype=F64), scalar(1.0))


def test_shapes_dtypes_and_structures_are_checked():
    with pytest.raises(ShapeError, match=r"f\(x\) has shape \(2,\)"):
        newton(lambda x: dg.stack([x, x]), scalar(1.0))
    with pytest.raises(DTypeError, match="floating"):
        newton(lambda x: x - 1, dg.constant(1))
    with pytest.raises(ValueError, match="differ"):
        custom_root(lambda x: [x], scalar(1.0), lambda f, guess: guess)
    with pytest.raises(TypeError, match="solve must be a function"):
        custom_root(lambda x: x, scalar(1.0), None)


@pytest.mark.parametrize("solver", [newton, fixed_point])
def test_no_convergence_is_an_error(solver):
    x = solver(lambda x: x**2 + 1.0, scalar(1.0), max_iterations=5)
    with pytest.raises(InvalidArgumentError, match="not converged after 5 iterations"):
        value(x)


# -- fixed points ---------------------------------------------------------------------


def test_the_cosine_fixed_point():
    # x = cos(a x): x' = -x s / (1 + a s), s = sin(a x).
    a = scalar(1.0)
    x = fixed_point(lambda x: dg.cos(a * x), scalar(0.0))
    got = value([x, *dg.gradients(x, a), *dg.jvp([x], [a])])
    root = 0.739085133215160641655
    s = np.sin(root)
    slope = -root * s / (1.0 + s)
    np.testing.assert_allclose(got, [root, slope, slope], rtol=1e-11)


def test_fixed_points_to_the_second_order():
    def solved(a, w):
        return fixed_point(
            lambda x: dg.tanh(dg.linalg.matvec(w, x) + a), dg.zeros_like(a)
        )

    rng = np.random.default_rng(1)
    check_grads(solved, [rng.normal(size=3), rng.uniform(-0.3, 0.3, (3, 3))], order=2)


def test_damping_tames_a_divergent_iteration():
    # x = 1 - 1.5 x diverges; damped by a half it contracts by -1/4.
    x = fixed_point(lambda x: 1.0 - 1.5 * x, scalar(0.0), damping=0.5)
    np.testing.assert_allclose(value(x), 0.4, rtol=1e-11)


def test_anderson_acceleration():
    # The slowest part shrinks by 0.98 a step: 1,400 steps to 3e-13, or some 130.
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    a = q @ np.diag(np.linspace(-0.5, 0.98, 20)) @ q.T
    mat, b = dg.constant(a), dg.constant(np.ones(20))

    def f(x):
        return {"u": dg.linalg.matvec(mat, x["u"]) + b}

    start = {"u": dg.zeros_like(b)}
    plain = fixed_point(f, start, max_iterations=200)
    with pytest.raises(InvalidArgumentError, match="not converged"):
        value(plain)
    x = fixed_point(f, start, max_iterations=200, anderson=8)["u"]
    got = value([x, *dg.gradients(x, b)])
    inverse = np.linalg.inv(np.eye(20) - a)
    np.testing.assert_allclose(got[0], inverse @ np.ones(20), rtol=1e-9)
    np.testing.assert_allclose(got[1], inverse.T @ np.ones(20), rtol=1e-9)


# -- linear systems -------------------------------------------------------------------

SOLVERS = [
    (conjugate_gradient, True),
    (bicgstab, True),
    (bicgstab, False),
    (dense_solve, False),
]


def solved_by(solver, symmetric, a, b):
    # CG is right for a symmetric A only: hold it symmetric under differences.
    if symmetric:
        a = (a + dg.matrix_transpose(a)) / 2.0
    return custom_linear_solve(
        lambda x: dg.linalg.matvec(a, x),
        b,
        solver,
        transpose_solve=None if symmetric else solver,
        symmetric=symmetric,
    )


@pytest.mark.parametrize(("solver", "symmetric"), SOLVERS)
def test_linear_solves_and_their_derivatives(solver, symmetric):
    a, b = matrix(4, symmetric), np.arange(1.0, 5.0)
    x = value(solved_by(solver, symmetric, dg.constant(a), dg.constant(b)))
    np.testing.assert_allclose(x, np.linalg.solve(a, b), rtol=1e-10)
    check_grads(lambda a, b: solved_by(solver, symmetric, a, b), [a, b], order=2)


def test_a_linear_solve_to_the_third_order():
    a, b = matrix(3, False), np.arange(1.0, 4.0)
    check_grads(
        lambda a, b: solved_by(dense_solve, False, a, b), [a, b], order=3, rtol=1e-5
    )


def test_a_derivative_is_one_solve():
    calls = []

    def counted(matvec, b):
        calls.append(b)
        return dense_solve(matvec, b)

    a, b = dg.constant(matrix(3, False)), dg.constant(np.ones(3))
    x = solved_by(counted, False, a, b)
    assert len(calls) == 1
    dg.gradients(x, [a, b])
    assert len(calls) == 2
    dg.jvp([x], [a])
    assert len(calls) == 3


def test_reverse_mode_asks_for_a_transposed_solve():
    a = dg.constant(matrix(3, False))
    b = dg.constant(np.ones(3))
    x = custom_linear_solve(lambda v: dg.linalg.matvec(a, v), b, bicgstab)
    (moved,) = dg.jvp([x], [b], [b])
    np.testing.assert_allclose(*value([moved, x]), rtol=1e-12)
    with pytest.raises(GradientError, match="transpose_solve="):
        dg.gradients(x, b)


def test_solvers_on_structures():
    # Two unknown vectors that are coupled: one symmetric system of five.
    a = matrix(5, True)
    whole = np.linalg.solve(a, np.arange(1.0, 6.0))
    mat = dg.constant(a)

    def matvec(x):
        y = dg.linalg.matvec(mat, dg.concat([x["u"], dg.reshape(x["v"], [3])], 0))
        return {"u": y[:2], "v": dg.reshape(y[2:], [3, 1])}

    b = {
        "u": dg.constant([1.0, 2.0], F64),
        "v": dg.constant([[3.0], [4.0], [5.0]], F64),
    }
    for solver in (conjugate_gradient, bicgstab, dense_solve):
        x = value(custom_linear_solve(matvec, b, solver, symmetric=True))
        np.testing.assert_allclose(x["u"], whole[:2], rtol=1e-10)
        np.testing.assert_allclose(x["v"][:, 0], whole[2:], rtol=1e-10)


@pytest.mark.parametrize("solver", [conjugate_gradient, bicgstab])
def test_iterative_solvers_stop_at_zero_and_at_the_solution(solver):
    a = dg.constant(matrix(3, True))

    def matvec(x):
        return dg.linalg.matvec(a, x)

    b = dg.constant(np.ones(3))
    np.testing.assert_array_equal(value(solver(matvec, dg.zeros_like(b))), np.zeros(3))
    exact = np.linalg.solve(matrix(3, True), np.ones(3))
    x = value(solver(matvec, b, x0=dg.constant(exact), max_iterations=2))
    np.testing.assert_allclose(x, exact, rtol=1e-12)


def test_a_preconditioner_saves_iterations():
    d = np.logspace(0, 4, 30)
    scale = dg.constant(d)

    def matvec(x):
        return scale * x + 0.1 * dg.reduce_sum(x)

    b = dg.constant(np.ones(30))
    plain = conjugate_gradient(matvec, b, max_iterations=6)
    helped = conjugate_gradient(
        matvec, b, max_iterations=6, preconditioner=lambda r: r / scale
    )
    exact = np.linalg.solve(np.diag(d) + 0.1, np.ones(30))
    errors = [np.abs(x - exact).max() for x in value([plain, helped])]
    assert errors[1] < 1e-8 < 1e-4 < errors[0]


def test_complex_hermitian_systems():
    rng = np.random.default_rng(0)
    m = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    a = m @ m.conj().T + 4 * np.eye(4)
    b = rng.normal(size=4) + 1j * rng.normal(size=4)
    mat = dg.constant(a)
    for solver in (conjugate_gradient, bicgstab, dense_solve):
        x = value(solver(lambda v: dg.linalg.matvec(mat, v), dg.constant(b)))
        np.testing.assert_allclose(x, np.linalg.solve(a, b), rtol=1e-9)


def test_a_singular_matrix_is_an_error_or_no_number():
    b = dg.constant(np.ones(2))
    with pytest.raises(InvalidArgumentError, match="singular"):
        value(dense_solve(lambda x: dg.stack([x[0] + x[1], x[0] + x[1]]), b))
    # A that reads nothing of x, and 1 x 1 matrices: by division.
    assert not np.isfinite(value(dense_solve(dg.zeros_like, b))).any()
    assert np.isinf(value(dense_solve(lambda x: 0.0 * x, b[:1])))
