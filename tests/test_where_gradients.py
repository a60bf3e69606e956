"""What a where does not choose never makes a gradient NaN."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.errors import GradientWarning

POINTS = np.array([-1.0, 0.0, 0.25, 2.0])
ROWS = np.array([[3.0, 4.0], [0.0, 0.0]])


pytestmark = pytest.mark.usefixtures("graph")


def run(fetches, feeds=None):
    return dg.Session().run(fetches, feeds)


def total(t):
    return 0.0 if t is None else dg.reduce_sum(t)


def derivatives(build, at, dims=None):
    """First and second derivatives of the sum, and forward over reverse."""
    x = dg.placeholder(dg.float64, at.shape if dims is None else dims)
    y = build(x)
    (g,) = dg.gradients(y, x)
    (h,) = dg.gradients(g, x)
    (t,) = dg.jvp([total(y)], x, [dg.ones_like(x)])
    (c,) = dg.jvp(g, x, [dg.ones_like(x)])
    h, c = (dg.zeros_like(x) if v is None else v for v in (h, c))
    return run([g, h, t, c], {x: at})


def zeros(x):
    return dg.zeros_like(x)


# Each with its derivative where it is chosen (else 0), and its second one.
GUARDED = {
    "log": (
        lambda x: dg.where(x > 0.0, dg.log(x), zeros(x)),
        lambda x: 1 / x,
        lambda x: -1 / x**2,
    ),
    "sqrt": (
        lambda x: dg.where(x > 0.0, dg.sqrt(x), zeros(x)),
        lambda x: 0.5 / np.sqrt(x),
        lambda x: -0.25 * x**-1.5,
    ),
    "rsqrt": (
        lambda x: dg.where(x > 0.0, dg.rsqrt(x), zeros(x)),
        lambda x: -0.5 * x**-1.5,
        lambda x: 0.75 * x**-2.5,
    ),
    "x log x": (
        lambda x: dg.where(x > 0.0, x * dg.log(x), zeros(x)),
        lambda x: np.log(x) + 1,
        lambda x: 1 / x,
    ),
    "1 / x": (
        lambda x: dg.where(x > 0.0, 1.0 / x, zeros(x)),
        lambda x: -1 / x**2,
        lambda x: 2 / x**3,
    ),
    "a fixed power": (
        lambda x: dg.where(x > 0.0, x**0.3, zeros(x)),
        lambda x: 0.3 * x**-0.7,
        lambda x: -0.21 * x**-1.7,
    ),
    "a power of tensors": (
        lambda x: dg.where(x > 0.0, dg.pow(x, x), zeros(x)),
        lambda x: x**x * (np.log(x) + 1),
        lambda x: x**x * ((np.log(x) + 1) ** 2 + 1 / x),
    ),
    "lgamma": (
        lambda x: dg.where(x > 1.0, dg.lgamma(x), zeros(x)),
        # psi(2) = 1 - gamma and psi_1(2) = pi^2 / 6 - 1 (DLMF 5.4.14, 5.15.2).
        lambda x: np.where(x == 2.0, 1 - np.euler_gamma, 0.0),
        lambda x: np.where(x == 2.0, np.pi**2 / 6 - 1, 0.0),
    ),
    "the other branch": (
        lambda x: dg.where(x <= 0.0, zeros(x), dg.log(x)),
        lambda x: 1 / x,
        lambda x: -1 / x**2,
    ),
    "a chain": (
        lambda x: dg.where(x > 0.0, dg.exp(0.5 * dg.log(x)) * 2.0 + 1.0, zeros(x)),
        lambda x: 1 / np.sqrt(x),
        lambda x: -0.5 * x**-1.5,
    ),
}


@pytest.mark.parametrize("case", GUARDED)
def test_guarded_functions_have_their_derivatives(case):
    build, first, second = GUARDED[case]
    chosen = POINTS > 0
    safe = np.where(chosen, POINTS, 1.0)
    want = [np.where(chosen, d(safe), 0.0) for d in (first, second)]
    if case == "lgamma":
        want = [d(POINTS) for d in (first, second)]
    for dims in (None, [None]):
        g, h, t, c = derivatives(build, POINTS, dims)
        np.testing.assert_allclose(g, want[0], rtol=1e-12)
        np.testing.assert_allclose(h, want[1], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(t, want[0].sum(), rtol=1e-12)
        np.testing.assert_allclose(c, want[1], rtol=1e-12, atol=1e-14)


def test_inverse_functions_at_the_edge_of_their_domain():
    # acos, asin and atanh have infinite slopes at 1, acosh too.
    x = dg.placeholder(dg.float64, [3])
    inside = dg.abs(x) < 1.0
    ys = [dg.where(inside, f(x), zeros(x)) for f in (dg.acos, dg.asin, dg.atanh)]
    ys.append(dg.where(inside, zeros(x), dg.acosh(x)))
    got = run([dg.gradients(y, x)[0] for y in ys], {x: [0.6, 1.0, 2.0]})
    np.testing.assert_allclose(got[0], [-1.25, 0.0, 0.0])
    np.testing.assert_allclose(got[1], [1.25, 0.0, 0.0])
    np.testing.assert_allclose(got[2], [1 / 0.64, 0.0, 0.0])
    assert got[3][0] == 0.0
    np.testing.assert_allclose(got[3][2], 1 / np.sqrt(3.0))
    # What is chosen keeps its infinite slope: that is the truth.
    assert got[3][1] == np.inf


def test_a_removable_singularity():
    def sinc(x):
        return dg.where(dg.not_equal(x, 0.0), dg.sin(x) / x, dg.ones_like(x))

    g, h, *_ = derivatives(sinc, np.array([0.0, np.pi]))
    # The limit of the slope at 0 is 0.
    np.testing.assert_allclose(g, [0.0, -1 / np.pi])
    np.testing.assert_allclose(h[1], 2 / np.pi**2)
    assert np.isfinite(h).all()


def test_an_exponential_that_overflows():
    def elu(x):
        return dg.where(x > 0.0, x, dg.exp(x) - 1.0)

    at = np.array([-1.0, 1000.0])
    np.testing.assert_allclose(derivatives(elu, at)[0], [np.exp(-1.0), 1.0])
    np.testing.assert_allclose(derivatives(elu, at)[1], [np.exp(-1.0), 0.0])


def test_missing_data_do_not_reach_the_weights():
    w = dg.constant(2.0, dg.float64)
    x = dg.constant([np.nan, 3.0])
    y = dg.where(dg.is_nan(x), zeros(x), w * x)
    assert run(dg.gradients(y, w)) == [3.0]
    assert run(dg.gradients(dg.gradients(y * y, w), w)) == [18.0]


def test_nested_wheres():
    def f(x):
        inner = dg.where(x < 1.0, dg.sqrt(1.0 - x) * dg.log(x), dg.log(x))
        return dg.where(x > 0.0, inner, -x)

    g, h, *_ = derivatives(f, POINTS)
    a = 0.25
    slope = np.sqrt(1 - a) / a - np.log(a) / (2 * np.sqrt(1 - a))
    np.testing.assert_allclose(g, [-1.0, -1.0, slope, 0.5])
    assert np.isfinite(h).all()


def test_a_branch_that_two_wheres_share():
    def f(x):
        log = dg.log(x)
        return dg.where(x > 0.0, log, zeros(x)) + dg.where(x > 1.0, log * log, zeros(x))

    want = [0.0, 0.0, 4.0, 0.5 + np.log(2.0)]
    np.testing.assert_allclose(derivatives(f, POINTS)[0], want)


def test_a_value_that_is_used_outside_too_stays_what_it_is():
    x = dg.constant([0.0, 4.0], dg.float64)
    root = dg.sqrt(x)
    y = dg.where(x > 0.0, root, zeros(x)) + root
    # The slope of the second term is infinite at 0, and that is the truth.
    np.testing.assert_array_equal(run(dg.gradients(y, x)[0]), [np.inf, 0.5])


# -- shapes ---------------------------------------------------------------------------


def norm(x):
    return dg.sqrt(dg.reduce_sum(x * x, 1, keepdims=True))


UNIT_ROWS = {
    "broadcast": lambda x: dg.where_v2(norm(x) > 0.0, x / norm(x), 0.0),
    "choosing rows": lambda x: dg.where(
        dg.reduce_sum(x * x, 1) > 0.0, x / norm(x), zeros(x)
    ),
    "transposed": lambda x: dg.where_v2(
        dg.transpose(norm(x)) > 0.0, dg.transpose(x / norm(x)), 0.0
    ),
    "reshaped": lambda x: dg.where_v2(
        dg.reshape(norm(x), [2, 1, 1]) > 0.0, dg.reshape(x / norm(x), [2, 1, 2]), 0.0
    ),
    "sliced": lambda x: dg.where_v2(norm(x)[:2] > 0.0, (x / norm(x))[:2, :], 0.0),
    "concatenated": lambda x: (
        0.5
        * dg.where_v2(
            dg.concat([norm(x)] * 2, 0) > 0.0, dg.concat([x / norm(x)] * 2, 0), 0.0
        )
    ),
    "gathered": lambda x: dg.where_v2(
        dg.gather(norm(x), [1, 0]) > 0.0, dg.gather(x / norm(x), [1, 0]), 0.0
    ),
    "packed": lambda x: dg.where_v2(
        dg.stack(dg.unstack(norm(x))) > 0.0, dg.stack(dg.unstack(x / norm(x))), 0.0
    ),
}


@pytest.mark.parametrize("case", UNIT_ROWS)
def test_unit_rows_of_a_matrix_with_a_row_of_zeros(case):
    g, h, *_ = derivatives(UNIT_ROWS[case], ROWS)
    # d(sum of x / |x|) = (1 - u (u . 1)) / |x| with u = (0.6, 0.8).
    u = np.array([0.6, 0.8])
    np.testing.assert_allclose(g, [(1 - u * u.sum()) / 5, [0.0, 0.0]], atol=1e-15)
    assert np.isfinite(h).all()


def test_sums_of_whole_rows():
    x = dg.placeholder(dg.float64, [2, 2])
    least = dg.reduce_min(x, 1)
    y = dg.where(least > 0.0, dg.reduce_sum(dg.log(x), 1), least)
    got = run(dg.gradients(y, x)[0], {x: [[2.0, 4.0], [0.0, -1.0]]})
    np.testing.assert_allclose(got, [[0.5, 0.25], [0.0, 1.0]])


@pytest.mark.parametrize("reduce", [dg.reduce_max, dg.reduce_prod, dg.reduce_logsumexp])
def test_other_reductions(reduce):
    x = dg.placeholder(dg.float64, [2, 2])
    ok = dg.reduce_min(x, 1) > 0.0
    y = dg.where(ok, reduce(dg.log(x), 1), dg.zeros([2], dg.float64))
    got = run(dg.gradients(y, x)[0], {x: [[2.0, 4.0], [0.0, -1.0]]})
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got[1], [0.0, 0.0])
    assert got[0].any()


def test_a_scalar_condition_goes_through_everything():
    x = dg.placeholder(dg.float64, [2])
    n = dg.sqrt(dg.reduce_sum(x * x))
    weights = dg.constant([[1.0, 2.0], [3.0, 5.0]], dg.float64)
    rows = dg.nn.softmax(dg.matmul(dg.expand_dims(x / n, 0), weights))
    y = dg.where_v2(n > 0.0, rows * rows, 0.0)
    (g,) = dg.gradients(y, x)
    np.testing.assert_array_equal(run(g, {x: [0.0, 0.0]}), [0.0, 0.0])
    assert run(g, {x: [3.0, 4.0]}).all()


# -- what it costs --------------------------------------------------------------------


def added(graph, build):
    before = len(graph)
    build()
    return [op.type for op in graph.get_operations()[before:]]


def test_nothing_is_built_where_no_where_is(graph):
    x = dg.placeholder(dg.float32, [3])
    y = dg.sqrt(dg.log(x) / x)
    made = added(graph, lambda: dg.gradients(y, x))
    assert not {"Select", "SelectV2", "LogicalAnd", "LogicalNot"} & set(made)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: dg.where(x > 0.0, x, zeros(x)),
        lambda x: dg.where(x > 0.0, x, 0.01 * x),
        lambda x: dg.where(x > 0.0, 3.0 * x - 1.0, dg.cast(-x, x.dtype) / 2.0),
    ],
)
def test_branches_of_fixed_slope_get_no_second_select(graph, build):
    x = dg.placeholder(dg.float32, [3])
    y = build(x)
    made = added(graph, lambda: dg.gradients(y, x))
    ways = sum(t in ("Select", "SelectV2") for t in made)
    assert ways == len([t for t in y.op.inputs[1:] if t.op.type != "Fill"])


def test_a_branch_gets_one_select_however_long_it_is(graph):
    x = dg.placeholder(dg.float32, [3])
    h = x
    for _ in range(20):
        h = dg.tanh(h)
    y = dg.where(x > 0.0, h, zeros(x))
    made = added(graph, lambda: dg.gradients(y, x))
    assert made.count("SelectV2") == 2


# -- warnings -------------------------------------------------------------------------


def mixed(x, n):
    """The rows x / n behind a matrix product, chosen where n > 0."""
    weights = dg.constant(np.ones((2, 2)))
    return dg.tanh(dg.cumsum(dg.matmul(x / n, weights), 0))


def test_a_mask_that_is_lost_before_a_singular_op_warns():
    x = dg.placeholder(dg.float64, [2, 2])
    n = norm(x)
    y = dg.where_v2(n > 0.0, mixed(x, n), 0.0)
    with pytest.warns(GradientWarning, match=r"x_safe = where\(ok, x, 1.0\)") as caught:
        dg.gradients(y, x)
    assert {w.filename for w in caught} == {__file__}
    assert any("RealDiv" in str(w.message) for w in caught)


def test_a_value_that_spoils_another_operand_warns():
    # The gradient of w is (x / n)^T g, with 0 / 0 in the row that g excludes.
    x = dg.placeholder(dg.float64, [2, 2])
    w = dg.constant(np.ones((2, 2)))
    n = norm(x)
    y = dg.where_v2(n > 0.0, dg.matmul(x / n, w), 0.0)
    with pytest.warns(GradientWarning, match="can be infinite"):
        dg.gradients(y, w)


def test_the_safe_form_does_not_warn():
    x = dg.placeholder(dg.float64, [2, 2])
    n = norm(x)
    ok = n > 0.0
    y = dg.where_v2(ok, mixed(x, dg.where(ok, n, dg.ones_like(n))), 0.0)
    w = y.op.inputs[1].op.inputs[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (g,) = dg.gradients(y, x)
        (h,) = dg.gradients(g, x)
        dg.gradients(y, w)
    assert np.isfinite(run([g, h], {x: ROWS})).all()


def test_common_programs_do_not_warn():
    x = dg.placeholder(dg.float64, [4, 3])
    labels = dg.placeholder(dg.float64, [4, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, variance = dg.nn.moments(x, [1], keep_dims=True)
        h = (x - mean) / dg.sqrt(variance + 1e-6)
        for width in (8, 8, 2):
            w = dg.get_variable(
                f"w{width}{len(dg.global_variables())}", [h.shape[1], width], dg.float64
            )
            h = dg.matmul(h, w)
            h = dg.where(h > 0.0, h, 0.1 * h)  # a rectifier by hand
        p = dg.nn.softmax(h)
        error = labels - p
        huber = dg.where(dg.abs(error) < 1.0, 0.5 * error * error, dg.abs(error) - 0.5)
        loss = dg.reduce_sum(huber) - dg.reduce_mean(labels * dg.log(p))
        variables = dg.trainable_variables()
        grads = dg.gradients(loss, variables)
        dg.gradients([dg.reduce_sum(g * g) for g in grads], variables)


# -- deep graphs ----------------------------------------------------------------------


def test_both_branches_together_need_no_mask(graph):
    x = dg.placeholder(dg.float32, [3])
    h = dg.sqrt(x)
    y = dg.where(x > 0.0, h, dg.sin(h))
    made = added(graph, lambda: dg.gradients(y, x))
    # Two by the where itself, one more for the branch whose slope is not fixed.
    assert made.count("SelectV2") == 3


def test_wheres_nested_as_deep_as_the_graph():
    x = dg.constant([-1.0, 4.0], dg.float64)
    y = x
    for _ in range(3000):
        y = dg.where(x > 0.0, dg.sqrt(y), zeros(x))
    (g,) = dg.gradients(y, x)
    got = run(g)
    assert got[0] == 0.0
    assert np.isfinite(got[1])


def test_a_row_of_many_wheres():
    x = dg.constant([-1.0, 1.0], dg.float64)
    y = x
    for _ in range(3000):
        y = dg.where(y > 0.0, dg.log(y) + 1.0, y)
    np.testing.assert_allclose(run(dg.gradients(y, x)[0]), [1.0, 1.0])
