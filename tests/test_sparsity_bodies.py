"""Sparsity through loops, branches and functions."""

from __future__ import annotations

import numpy as np
import pytest
from work import work

import dagrad as dg

F64 = dg.float64


pytestmark = pytest.mark.usefixtures("graph")


def pattern(y, x):
    return dg.jacobian_sparsity(y, x).toarray().astype(int)


def dense_jacobian(y, x, feeds):
    g = dg.placeholder(y.dtype, y.shape)
    (pulled,) = dg.gradients(y, x, g, unconnected_gradients="zero")
    n = y.shape.num_elements()
    session = dg.Session()
    units = np.eye(n).reshape(n, *y.shape.as_list())
    rows = [session.run(pulled, {**feeds, g: u}).reshape(-1) for u in units]
    return np.array(rows).reshape(n, -1)


def test_a_map_keeps_its_rows_apart():
    x = dg.placeholder(F64, [4, 2])
    y = dg.map_fn(lambda row: row[0] * row[1], x)
    np.testing.assert_array_equal(pattern(y, x), np.kron(np.eye(4), np.ones((1, 2))))


def test_a_scan_is_lower_triangular():
    x = dg.placeholder(F64, [5])
    y = dg.scan(lambda state, row: dg.sin(state) + row, x)
    np.testing.assert_array_equal(pattern(y, x), np.tril(np.ones((5, 5))))
    back = dg.scan(lambda state, row: dg.sin(state) + row, x, reverse=True)
    np.testing.assert_array_equal(pattern(back, x), np.triu(np.ones((5, 5))))


def test_a_counter_tells_what_an_iteration_reads():
    """x[i + 1] - x[i]: bidiagonal, by a loop over i."""
    x = dg.placeholder(F64, [5])
    y = dg.map_fn(lambda i: dg.gather(x, i + 1) ** 2 - dg.gather(x, i),
                  np.arange(4), dtype=F64)  # fmt: skip
    np.testing.assert_array_equal(pattern(y, x), np.eye(4, 5) + np.eye(4, 5, 1))


def test_zeros_of_constant_rows_cut_in_their_own_iteration():
    x = dg.placeholder(F64, [4])
    gates = np.array([1.0, 0.0, 0.0, 1.0])
    y = dg.map_fn(lambda row: row[0] * row[1], (gates, x), dtype=F64)
    np.testing.assert_array_equal(pattern(y, x), np.diag(gates))
    kept = dg.scan(lambda s, row: s * row[0] + row[1], (gates, x), x[0])
    want = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    np.testing.assert_array_equal(pattern(kept, x), want)


def test_a_loop_with_a_counter_that_nothing_reads_is_followed_once():
    """The body is, not once for each iteration: a long one takes no more work."""
    x = dg.placeholder(F64, [3])

    def prepared(operations):
        def step(carried, row):
            i, s = carried
            for _ in range(operations):
                s = dg.sin(s)
            return i + 1, s

        y = dg.foldl(step, dg.zeros([500]), (0, x))[1]
        return lambda: pattern(y, x)

    np.testing.assert_array_equal(prepared(1)(), np.eye(3))
    assert work(prepared(50)) < 1.5 * work(prepared(1))


def test_a_while_loop_is_followed_until_nothing_is_added():
    x = dg.placeholder(F64, [4])
    limit = dg.placeholder(dg.int32, [])
    _, y = dg.while_loop(
        lambda i, s: i < limit,
        lambda i, s: (i + 1, dg.concat([s[:1], s[1:] * s[:-1]], 0)),
        [0, x],
    )
    np.testing.assert_array_equal(pattern(y, x), np.tril(np.ones((4, 4))))


def test_a_branch_is_the_union_and_a_function_is_itself():
    x = dg.placeholder(F64, [3])
    y = dg.cond(dg.placeholder(dg.bool, []), lambda: dg.sin(x), lambda: x[::-1])
    np.testing.assert_array_equal(pattern(y, x), np.eye(3) + np.eye(3)[::-1] > 0)
    f = dg.function(lambda t: t[::-1] * 2.0)
    np.testing.assert_array_equal(pattern(f(x), x), np.eye(3)[::-1])


def test_zeros_of_constants_cut_inside_a_body():
    x = dg.placeholder(F64, [3, 1])
    a = np.tril(np.ones((3, 3)))
    f = dg.function(lambda t: dg.matmul(a, t))
    np.testing.assert_array_equal(pattern(f(x), x), a)


def test_a_trajectory_by_multiple_shooting():
    """Defects of T short integrations: block bidiagonal, for four passes."""
    steps = 12
    x = dg.placeholder(F64, [steps + 1, 2])

    def flow(start):
        def step(_, s):
            return dg.stack([s[0] + 0.1 * s[1], s[1] - 0.1 * dg.sin(s[0])])

        return dg.foldl(lambda s, k: step(k, s), np.arange(3), start)

    defects = dg.map_fn(flow, x[:-1]) - x[1:]
    j = dg.sparse_jacobian(defects, x)
    # Row (t, i) sees its own state of t + 1 and both states of t.
    assert (j.shape, j.nnz) == ((24, 26), 24 * 3)
    # The states of t and t + 1 all meet in some row.
    assert j.colors == 4
    feeds = {x: np.random.default_rng(0).normal(size=(steps + 1, 2))}
    got = dg.Session().run(j, feeds).toarray()
    np.testing.assert_allclose(got, dense_jacobian(defects, x, feeds))


def test_the_hessian_of_a_sum_over_a_scan():
    x = dg.placeholder(F64, [6])
    pairs = dg.stack([x[:-1], x[1:]], 1)
    y = dg.reduce_sum(dg.map_fn(lambda p: (p[1] - p[0] ** 2) ** 2, pairs))
    h = dg.sparse_hessian(y, x)
    assert h.colors == 3
    feeds = {x: np.random.default_rng(1).normal(size=6)}
    (g,) = dg.gradients(y, x)
    got = dg.Session().run(h, feeds).toarray()
    np.testing.assert_allclose(got, dense_jacobian(g, x, feeds))
