"""Taylor mode through loops, branches and functions: one loop for all orders."""

from __future__ import annotations

import math

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.forward import jvp
from dagrad.graphlib.subgraph import graphs_in
from dagrad.graphlib.taylor import derivatives, jet, taylor_coefficients

f64 = dg.float64


pytestmark = pytest.mark.usefixtures("graph")


def value(fetches, feeds=None):
    return dg.Session().run(fetches, feeds)


def power(x, n):
    """x**n by a while loop."""
    return dg.while_loop(
        lambda i, p: i < n, lambda i, p: (i + 1, p * x), [0, dg.ones_like(x)]
    )[1]


def exp_series(x, terms=40):
    """Σ x^k / k!, term by term."""

    def body(k, term, total):
        return k + 1.0, term * x / k, total + term

    one = dg.ones_like(x)
    return dg.while_loop(
        lambda k, term, total: k < terms + 1.0,
        body,
        [dg.constant(1.0, f64), one, dg.zeros_like(x)],
    )[2]


def size(graph):
    """All operations, those of bodies too."""
    return sum(len(g) for g in graphs_in(graph))


def nested(y, x, order):
    found = []
    for _ in range(order):
        (y,) = jvp([y], [x])
        found.append(y)
    return found


# -- closed forms ---------------------------------------------------------------


def test_a_power_has_binomials():
    x = dg.constant(1.5, f64)
    got = value(taylor_coefficients(power(x, 10), x, 8))
    want = [math.comb(10, k) * 1.5 ** (10 - k) for k in range(9)]
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_the_number_of_factors_may_be_known_to_the_run_only():
    x, n = dg.constant(0.5, f64), dg.placeholder(dg.int32, [])
    d = derivatives(power(x, n), x, 3)
    np.testing.assert_allclose(value(d, {n: 3}), [0.75, 3.0, 6.0])
    # No iteration: the first value, a constant.
    np.testing.assert_allclose(value(d, {n: 0}), [0.0, 0.0, 0.0])


def test_the_series_of_exp_to_order_eight():
    x = dg.constant([0.0, 0.7], f64)
    got = value(taylor_coefficients(exp_series(x), x, 8))
    want = [np.exp([0.0, 0.7]) / math.factorial(k) for k in range(9)]
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_newtons_iteration_has_the_derivatives_of_the_root():
    a = dg.constant(2.0, f64)
    (y,) = dg.while_loop(
        lambda y, i: i < 12, lambda y, i: ((y + a / y) / 2.0, i + 1), [a, 0]
    )[:1]
    got = value(derivatives(y, a, 4))
    want, factor = [], 1.0
    for k in range(1, 5):
        factor *= 1.5 - k
        want.append(factor * 2.0 ** (0.5 - k))
    np.testing.assert_allclose(got, want, rtol=1e-11)


def test_a_scan_stacks_the_coefficients():
    x = dg.constant(0.4, f64)
    rows = dg.stack([x, x, x])
    products = dg.scan(lambda p, r: p * r, rows, dg.constant(1.0, f64))
    got = value(taylor_coefficients(products, x, 3))
    np.testing.assert_allclose(got[1], [1.0, 0.8, 3 * 0.16])
    np.testing.assert_allclose(got[2], [0.0, 1.0, 1.2])
    np.testing.assert_allclose(got[3], [0.0, 0.0, 1.0])


def test_a_scan_in_reverse_and_a_map():
    x = dg.constant([0.1, 0.2, 0.3], f64)
    y = dg.foldr(lambda a, r: dg.sin(a) * r + a, x)
    z = dg.map_fn(lambda r: dg.exp(r) * y, x)
    want = nested(z, x, 3)
    got = derivatives(z, x, 3)
    np.testing.assert_allclose(value(got), value(want), rtol=1e-12)


def test_the_branch_that_is_taken():
    x, flag = dg.constant(0.3, f64), dg.placeholder(dg.bool, [])
    y = dg.cond(flag, lambda: dg.exp(x), lambda: x * x)
    d = derivatives(y, x, 4)
    np.testing.assert_allclose(value(d, {flag: True}), [math.exp(0.3)] * 4)
    np.testing.assert_allclose(value(d, {flag: False}), [0.6, 2.0, 0.0, 0.0])


def test_a_branch_that_is_constant():
    x, flag = dg.constant(0.3, f64), dg.placeholder(dg.bool, [])
    y = dg.cond(flag, lambda: dg.exp(x), lambda: dg.constant(1.0, f64))
    d = derivatives(y, x, 2)
    np.testing.assert_allclose(value(d, {flag: False}), [0.0, 0.0])


def test_a_function_and_one_that_is_computed_again():
    x = dg.constant(0.3, f64)
    for made in (dg.function, dg.recompute_grad):
        y = made(lambda a: dg.exp(a * 2.0))(x)
        want = [2.0**k * math.exp(0.6) for k in range(1, 5)]
        np.testing.assert_allclose(value(derivatives(y, x, 4)), want)


def test_loops_in_branches_in_loops():
    x = dg.constant(0.6, f64)

    def body(i, y):
        y = dg.cond(y < 2.0, lambda: power(y, 2) + x, lambda: dg.sin(y * x))
        return i + 1, y

    y = dg.while_loop(lambda i, y: i < 4, body, [0, x])[1]
    got = value(derivatives(y, x, 3))
    np.testing.assert_allclose(got, value(nested(y, x, 3)), rtol=1e-12)


# -- paths, compositions ---------------------------------------------------------------


def test_a_curved_path():
    x = dg.constant(0.0, f64)
    ((a, b, c),) = jet([exp_series(x)], [x], [[2.0, 1.0, None]])
    # exp(2 t + t²/2): derivatives 2, 5, 14 at 0.
    np.testing.assert_allclose(value([a, b, c]), [2.0, 5.0, 14.0])


def test_a_carry_that_does_not_move_carries_nothing():
    x = dg.constant(1.5, f64)
    _, p, q = dg.while_loop(
        lambda i, p, q: i < 5,
        lambda i, p, q: (i + 1, p * x, q * 0.5),
        [0, dg.ones_like(x), dg.constant(1.0, f64)],
    )
    got = jet([p, q], [x], [[1.0, 0.0]])
    assert got[1] == [None, None]
    loops = [op for op in dg.get_default_graph().operations if op.type == "Loop"]
    # i, p, q and the two coefficients of p.
    assert loops[-1].attrs["carries"] == 5


def test_what_the_body_cuts_has_no_series():
    x = dg.constant(1.5, f64)
    y = dg.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, y + dg.stop_gradient(x)),
        [0, dg.constant(0.0, f64)],
    )[1]
    assert derivatives(y, x, 3) == [None, None, None]


def test_the_gradient_of_a_jet_and_the_jet_of_a_gradient():
    x = dg.constant(1.5, f64)
    y = power(x, 6)
    (g,) = dg.gradients(derivatives(y, x, 2)[1], x)
    np.testing.assert_allclose(value(g), 120.0 * 1.5**3)
    (g,) = dg.gradients(y, x)
    np.testing.assert_allclose(value(derivatives(g, x, 2)[1]), 120.0 * 1.5**3)


def test_an_outer_tensor_in_a_body():
    x = dg.constant(0.5, f64)
    h = dg.exp(x)

    def body(i, s):
        return i + 1, s + derivatives(h * x, x, 2)[1]

    s = dg.while_loop(lambda i, s: i < 3, body, [0, dg.constant(0.0, f64)])[1]
    np.testing.assert_allclose(value(s), 3.0 * 2.5 * math.exp(0.5))


def test_arrays_of_unknown_shape():
    x = dg.placeholder(f64, None)
    y = dg.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, dg.exp(y) * x), [0, x])
    got = derivatives(y[1], x, 3)
    want = nested(y[1], x, 3)
    fed = {x: np.array([0.1, -0.4])}
    np.testing.assert_allclose(value(got, fed), value(want, fed), rtol=1e-12)


# -- cost ---------------------------------------------------------------


def nodes(build, order):
    with dg.Graph().as_default() as g:
        x = dg.constant(0.5, f64)
        y = build(x)
        before = size(g)
        derivatives(y, x, order)
        return size(g) - before


@pytest.mark.parametrize("build", [lambda x: power(x, 10), exp_series])
def test_twice_the_order_takes_at_most_four_times_the_nodes(build):
    counts = [nodes(build, order) for order in (4, 8, 16)]
    assert counts[1] < 4 * counts[0]
    assert counts[2] < 4 * counts[1]


def test_one_loop_for_all_orders():
    with dg.Graph().as_default() as g:
        x = dg.constant(0.5, f64)
        y = power(x, 10)
        derivatives(y, x, 6)
        assert [op.type for op in g.operations].count("Loop") == 2


def test_nested_jvp_explodes_where_the_jet_does_not():
    with dg.Graph().as_default() as g:
        x = dg.constant(0.5, f64)
        y = power(x, 10)
        before = size(g)
        nested(y, x, 6)
        assert size(g) - before > 3 * nodes(lambda x: power(x, 10), 6)
