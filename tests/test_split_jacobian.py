"""Sparse Jacobians split at copies of x: the same values, in fewer passes."""

from __future__ import annotations

import time
import unittest.mock

import numpy as np
import pytest
from dense import dense_jacobian, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.ops import _selections

F64 = dg.float64


@pytest.fixture(autouse=True)
def graph():
    with dg.Graph().as_default() as g:
        yield g


def dense(ys, xs, feeds):
    return np.block([[dense_jacobian(y, x, feeds) for x in xs] for y in ys])


def check(ys, xs, feeds, passes=None):
    """Split and as it comes, against the dense Jacobian and its pattern."""
    want = dense(ys, xs, feeds)
    split = dg.sparse_jacobian(ys, xs, "split")
    plain = dg.sparse_jacobian(ys, xs, "forward")
    np.testing.assert_array_equal(split.rows, plain.rows)
    np.testing.assert_array_equal(split.cols, plain.cols)
    for j in (split, dg.sparse_jacobian(ys, xs)):
        got = run(j, feeds).toarray()
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    if passes is not None:
        assert split.split
        assert split.colors == passes
    return split


def edges(n, m, seed=0):
    """Two ends of each of ``m`` edges among ``n`` nodes; node 0 is in all of them."""
    rng = np.random.default_rng(seed)
    return np.zeros(m, np.int64), rng.integers(0, n, m)


# -- what is split, and what it takes --------------------------------------------------


def test_one_pass_by_rows_where_a_full_column_takes_many():
    x = dg.placeholder(F64, [5])
    hub, other = edges(5, 12)
    y = dg.sin(dg.gather(x, hub)) * dg.square(dg.gather(x, other))
    feeds = {x: np.random.default_rng(1).normal(size=5)}
    assert check([y], [x], feeds, 1).mode == "reverse"


def test_blocks_of_many_observations_are_chosen_unasked():
    """Cameras (3 numbers) see points (2): five columns a row, one reverse pass."""
    rng = np.random.default_rng(0)
    cameras, points = dg.placeholder(F64, [4, 3]), dg.placeholder(F64, [50, 2])
    a = dg.gather(cameras, rng.integers(0, 4, 200))
    b = dg.gather(points, rng.integers(0, 50, 200))
    bent = a[:, 0] * b[:, 0] + dg.sin(a[:, 1] * b[:, 1]) * dg.exp(a[:, 2])
    for _ in range(5):
        bent = dg.sin(bent) + bent
    j = dg.sparse_jacobian(bent, [cameras, points])
    assert (j.split, j.colors, j.mode) == (True, 1, "reverse")
    assert "1 passes (reverse, split)" in repr(j)
    feeds = {cameras: rng.normal(size=(4, 3)), points: rng.normal(size=(50, 2))}
    check([bent], [cameras, points], feeds)


def test_stacked_results_take_a_pass_each():
    x = dg.placeholder(F64, [3, 2])
    a, b = (dg.gather(x[:, k], np.arange(12) % 3) for k in range(2))
    y = dg.stack([a * b, dg.sin(a) - b, dg.exp(b)], 1)
    feeds = {x: np.random.default_rng(2).normal(size=(3, 2))}
    assert check([y], [x], feeds, 3).mode in ("reverse", "both")


@pytest.mark.parametrize("repeated", [[0, 0, 0, 0], [3, 1, 3, 0]])
def test_copies_of_one_element_in_one_row_are_summed(repeated):
    x = dg.placeholder(F64, [4])
    pairs = dg.gather(x, [repeated, [3, 2, 1, 0], [3, 1, 1, 2]])
    y = dg.reduce_prod(pairs, 0)
    feeds = {x: [1.5, -0.5, 2.0, 0.25]}
    check([y], [x], feeds, 1)


def test_an_element_that_is_also_used_directly():
    x = dg.placeholder(F64, [4])
    c = dg.placeholder(F64, [])
    y = x * dg.gather(x, [2, 2, 0, 1]) * c + dg.reduce_sum(x[1:3])
    feeds = {x: [1.5, -0.5, 2.0, 0.25], c: 3.0}
    check([y], [x, c], feeds)


def test_all_that_copies_is_followed():
    x = dg.placeholder(F64, [3, 4])
    v = dg.placeholder(F64, [2])
    copies = [
        dg.transpose(x),
        x[::-1, 1:3],
        dg.concat([x[0], dg.constant([1.0, 2.0], F64), v], 0),
        dg.stack([x[:, 0], x[:, 2]]),
        dg.pad(x[:2, :2], [[1, 0], [0, 1]]),
        dg.tile(v, [3]),
        dg.reshape(x, [2, 6]),
        dg.gather_nd(x, [[0, 1], [2, 3], [0, 1]]),
        dg.reverse(x, [0]),
        dg.roll(v, 1, 0),
        dg.unstack(x)[1],
        dg.split(x, 2, 1)[0],
        dg.expand_dims(dg.squeeze(x[:1], 0), 1),
        dg.identity(v),
    ]
    ys = [dg.square(c) * dg.sin(c) for c in copies]
    rng = np.random.default_rng(3)
    feeds = {x: rng.normal(size=(3, 4)), v: rng.normal(size=2)}
    split = check(ys, [x, v], feeds)
    assert split.colors == len({c.name for c in copies})


def test_results_are_followed_back():
    """Rows that are dropped, repeated, moved, constant or themselves copies of x."""
    x = dg.placeholder(F64, [4])
    h = dg.sin(dg.gather(x, [0, 1, 0, 2, 0, 3]))
    y = dg.concat([h[::-1][:3], dg.zeros([2], F64), dg.gather(h, [1, 1]), x[2:]], 0)
    feeds = {x: [1.5, -0.5, 2.0, 0.25]}
    check([y, dg.gather(x, [3, 3])], [x], feeds)


def test_sums_by_indices_are_followed_back():
    """Assembly: a row sums what each of its elements gives, element by element."""
    x = dg.placeholder(F64, [5])
    ends = np.array([[0, 1], [0, 2], [0, 3], [4, 0], [2, 3]])
    start = dg.constant([0.1, 0.2, 0.3, 0.4, 0.5], F64)
    a, b = (dg.gather(x + start, ends[:, k]) for k in range(2))
    flow = dg.sin(a - b) * a
    feeds = {x: [1.5, -0.5, 2.0, 0.25, 1.0]}
    load = dg.constant([1.0, 2.0, 3.0, 4.0, 5.0], F64)
    out, back = (
        dg.unsorted_segment_sum(t, ends[:, k], 5) for k, t in enumerate([flow, -flow])
    )
    both = dg.unsorted_segment_sum(dg.concat([flow, -flow], 0), ends.T.reshape(-1), 5)
    scattered = dg.scatter_nd(ends[:, :1], flow, [5])
    (pulled,) = dg.gradients(dg.reduce_sum(flow), x)
    for y in (out, out + back - load, load + both, scattered, pulled):
        check([y], [x], feeds)
    assert check([out], [x], feeds).colors == 1
    assert check([out + back - load], [x], feeds).colors == 2


def test_terms_of_other_sums_stay_together():
    x = dg.placeholder(F64, [3])
    a, b = dg.gather(x, [0, 0, 1]), dg.gather(x, [2, 1, 1])
    feeds = {x: [1.5, -0.5, 2.0]}
    check([dg.sin(a * b) + a * b + dg.exp(a)], [x], feeds, 1)
    ids = dg.placeholder(dg.int64, [3])
    y = dg.unsorted_segment_sum(a * b, ids, 2)
    for given_ids in ([0, 1, 0], [-1, 1, 1]):
        check_feeds = {**feeds, ids: given_ids}
        got = run(dg.sparse_jacobian(y, x, "split"), check_feeds).toarray()
        np.testing.assert_allclose(got, dense([y], [x], check_feeds))


def test_a_long_sum_of_sums_is_quick():
    x = dg.placeholder(F64, [4])
    total = dg.unsorted_segment_sum(x**2, [0, 0, 1, 1], 2)
    for _ in range(3000):
        total = total + dg.unsorted_segment_sum(dg.sin(x), [0, 1, 1, 0], 2)
    start = time.perf_counter()
    j = dg.sparse_jacobian(total, x, "split")
    assert time.perf_counter() - start < 10.0  # measured: 0.4 s
    assert j.nnz == 6


def spread(n, m=None, seed=0):
    """Indices of ``m`` copies of ``n`` rows, enough to call these a table."""
    return np.random.default_rng(seed).integers(0, n, 5 * n if m is None else m)


def test_a_table_is_computed_once():
    """Nodes' pressures, seen by edges: the nodes' own Jacobian is a diagonal."""
    x = dg.placeholder(F64, [6])
    pressure = dg.exp(x) * x
    a, b = (dg.gather(pressure, spread(6, seed=k)) for k in range(2))
    hub = dg.gather(x, np.zeros(30, np.int64))
    feeds = {x: np.random.default_rng(5).normal(size=6)}
    j = check([dg.sin(a - b) * hub], [x], feeds, 2)
    assert j.mode == "both"  # the edges in reverse, the nodes forward


def test_tables_with_wide_rows():
    """Each copy sees several elements of x, as many as others, or not as many."""
    x = dg.placeholder(F64, [3, 2])
    turned = dg.stack([x[:, 0] * x[:, 1], dg.sin(x[:, 0]) * x[:, 1]], 1)
    running = dg.cumsum(dg.exp(0.1 * x), 0)
    feeds = {x: np.random.default_rng(6).normal(size=(3, 2))}
    for table in (turned, running):
        rows = dg.gather(table, spread(3, 20))
        y = rows[:, 0] * dg.square(rows[:, 1])
        check([y], [x], feeds)
        ids = spread(4, 20, 1)
        check([dg.unsorted_segment_sum(y, ids, 4), table], [x], feeds)


def test_tables_of_tables_and_of_several_xs():
    x, c = dg.placeholder(F64, [2]), dg.placeholder(F64, [])
    first = dg.sin(x) * c
    second = dg.gather(first, spread(2, 10)) ** 2
    third = dg.concat([dg.gather(second, spread(10)), dg.gather(x, [1])], 0)
    y = third * dg.concat([third[1:], [c]], 0) + dg.reduce_sum(first)
    feeds = {x: [1.5, -0.5], c: 0.7}
    check([y, second], [x, c], feeds)
    held = [c, x, first]  # an x of other ones is held, as ever
    split, plain = (dg.sparse_jacobian(y, held, m) for m in ("split", "forward"))
    a, b = run([split.dense(), plain.dense()], feeds)
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_an_x_that_a_table_does_not_depend_on():
    """The product has rows without a term."""
    x, b = dg.placeholder(F64, [2]), dg.placeholder(F64, [3])
    table = dg.concat([dg.zeros([1], F64), dg.stop_gradient(x[:1]), x[1:] ** 2], 0)
    y = dg.gather(dg.sin(table), spread(3)) * dg.gather(b, spread(3, seed=1))
    check([y], [b, x], {x: [1.5, -0.5], b: [1.0, 2.0, 3.0]})


def test_an_empty_gather_and_an_integer_y():
    x = dg.placeholder(F64, [3])
    none = dg.gather(x, np.zeros(0, np.int64))
    ys = [dg.sin(none), dg.cast(x, dg.int32), dg.square(dg.gather(x, [1, 1]))]
    j = dg.sparse_jacobian(ys, x, "split")
    assert j.shape == (5, 3)
    want = np.zeros((5, 3))
    want[3:, 1] = 4.0
    np.testing.assert_array_equal(run(j, {x: [1.0, 2.0, 3.0]}).toarray(), want)
    assert dg.sparse_jacobian(dg.sin(none), x, "split").nnz == 0


def test_indices_that_only_a_run_knows_are_no_copies():
    x, at = dg.placeholder(F64, [4]), dg.placeholder(dg.int64, [6])
    y = dg.square(dg.gather(x, at))
    j = dg.sparse_jacobian(y, x, "split")
    assert not j.split
    feeds = {x: [1.0, 2.0, 3.0, 4.0], at: [3, 3, 0, 1, 2, 0]}
    np.testing.assert_allclose(run(j, feeds).toarray(), dense([y], [x], feeds))


def test_sizes_that_are_not_known_between_them():
    x = dg.placeholder(F64, [3])
    kept = dg.boolean_mask(x[:2], dg.placeholder(dg.bool, [2], name="mask"))
    y = dg.stack([dg.reduce_sum(kept**2), x[2] * x[0]])
    mask = y.graph.get_tensor_by_name("mask:0")
    feeds = {x: [1.0, 2.0, 3.0], mask: [True, False]}
    got = run(dg.sparse_jacobian(y, x, "split"), feeds).toarray()
    np.testing.assert_allclose(got, [[2.0, 0.0, 0.0], [3.0, 0.0, 1.0]])


def test_an_x_of_another_one_is_held():
    x = dg.placeholder(F64, [3])
    b = dg.square(x)
    y = dg.gather(b, [0, 0, 1, 2]) * dg.sin(dg.gather(x, [1, 0, 1, 2]))
    j = dg.sparse_jacobian(y, [x, b], "split")
    assert j.split
    at = np.array([1.0, 2.0, 3.0])
    got = run(j, {x: at}).toarray()
    want = np.zeros((4, 6))
    for row, (i, k) in enumerate([(0, 1), (0, 0), (1, 1), (2, 2)]):
        want[row, k] = at[i] ** 2 * np.cos(at[k])
        want[row, 3 + i] = np.sin(at[k])
    np.testing.assert_allclose(got, want)


def test_an_x_given_twice_is_not_split():
    x = dg.placeholder(F64, [2])
    y = dg.sin(dg.gather(x, [0, 0, 1]))
    j = dg.sparse_jacobian(y, [x, x], "split")
    assert not j.split
    np.testing.assert_allclose(
        run(j, {x: [0.0, 0.0]}).toarray(), [[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1]]
    )


def test_a_gradient_of_the_programs_own_is_not_passed_over():
    @dg.RegisterGradient("SplitTimesThree")
    def _three(op, g):
        return [3.0 * g]

    x = dg.placeholder(F64, [3])
    with x.graph.gradient_override_map({"Identity": "SplitTimesThree"}):
        tripled = dg.identity(x)
    y = dg.gather(tripled, [0, 0, 2]) ** 2
    j = dg.sparse_jacobian(y, x, "split")
    got = run(j, {x: [1.0, 2.0, 3.0]}).toarray()
    np.testing.assert_allclose(got, [[6.0, 0, 0], [6.0, 0, 0], [0, 0, 18.0]])


def test_copies_go_through_loops_and_branches():
    x = dg.placeholder(F64, [3])
    ends = dg.reshape(dg.gather(x, [0, 1, 0, 2]), [2, 2])
    looped = dg.map_fn(lambda r: r[0] * dg.sin(r[1]), ends)
    chosen = dg.cond(x[0] > 0.0, lambda: looped * x[1], lambda: looped)
    feeds = {x: [0.5, 1.5, -2.0]}
    check([looped, chosen], [x], feeds)


def test_float32_and_variables():
    v = dg.Variable(np.array([1.0, 2.0, 3.0], np.float32))
    y = dg.square(dg.gather(v, [0, 0, 0, 2])) * dg.gather(v, [1, 2, 0, 2])
    j = dg.sparse_jacobian(y, v, "split")
    assert (j.dtype, j.split) == (dg.float32, True)
    with dg.Session() as session:
        session.run(dg.global_variables_initializer())
        got = session.run(j).toarray()
    want = [[4.0, 1.0, 0.0], [6.0, 0.0, 1.0], [3.0, 0.0, 0.0], [0.0, 0.0, 27.0]]
    np.testing.assert_allclose(got, want)


def test_it_takes_no_pattern_and_no_colouring():
    x = dg.placeholder(F64, [3])
    for given_ in ({"sparsity": np.eye(3)}, {"coloring": [0, 0, 0]}):
        with pytest.raises(ValueError, match="mode='split' takes no"):
            dg.sparse_jacobian(dg.gather(x, [0, 1, 2]) ** 2, x, "split", **given_)


# -- derivatives of the values ---------------------------------------------------------


def test_values_are_differentiable_both_ways_and_again():
    x = dg.placeholder(F64, [4])
    y = dg.gather(x, [0, 0, 0, 1]) ** 2 * dg.gather(x, [1, 2, 0, 3])
    j = dg.sparse_jacobian(y, x, "split")
    plain = dg.sparse_jacobian(y, x, "forward")
    t = dg.constant([0.3, -1.0, 2.0, 0.7], F64)
    for values in zip(
        *(
            [
                dg.gradients(dg.reduce_sum(v**2), x)[0],
                dg.jvp(v, x, t)[0],
                dg.gradients(dg.reduce_sum(dg.jvp(v, x, t)[0] ** 2), x)[0],
                dg.sparse_jacobian(v, x, mode).dense(),
            ]
            for v, mode in ((j.values, "split"), (plain.values, "forward"))
        )
    ):
        got, want = run(list(values), {x: [1.0, 2.0, -0.5, 3.0]})
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_batches_of_values():
    x = dg.placeholder(F64, [3])
    j = dg.sparse_jacobian(dg.gather(x, [0, 0, 2]) ** 3, x, "split")
    many = dg.vectorized_map(lambda s: j.values * s, dg.constant([1.0, 2.0], F64))
    got = run(many, {x: [1.0, 2.0, 3.0]})
    np.testing.assert_allclose(got, np.outer([1.0, 2.0], [3.0, 3.0, 27.0]))


# -- random programs -------------------------------------------------------------------


class Gathers:
    """A program of copies, something computed from them, and copies of that.

    The same calls build it on real and on complex tensors.
    """

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, xs):
        self.rng = np.random.default_rng(self.seed)
        if self.rng.random() < 0.5:
            xs = [*xs, self.table(xs)]
        copies = [self.copies(xs) for _ in range(self.rng.integers(1, 4))]
        m = int(self.rng.integers(0, 7))
        if any(c.shape.as_list() == [0] for c in copies):
            m = 0
        parts = [self.lengthened(c, m) for c in copies]
        if self.rng.random() < 0.5:
            parts.append(self.lengthened(xs[0], m))
        y = parts[0] + 0.5
        for p in parts[1:] + parts[:1]:
            y = [y * p, dg.sin(y) + p, y - p * p][self.rng.integers(3)]
        return self.results(y, parts, m)

    def table(self, xs):
        """Something computed from an x."""
        x = dg.reshape(xs[self.rng.integers(len(xs))], [-1])
        return dg.sin([x * x, dg.cumsum(x), x[::-1] * x][self.rng.integers(3)])

    def index(self, n, m):
        return self.rng.integers(0, n, m) if n else np.zeros(0, np.int64)

    def copies(self, xs):
        """A vector of copies of elements, in some way."""
        x = dg.reshape(xs[self.rng.integers(len(xs))], [-1])
        for _ in range(self.rng.integers(1, 4)):
            n = x.shape.as_list()[0]
            ways = [
                lambda x=x, n=n: dg.gather(x, self.index(n, n + 1)),
                lambda x=x: x[::-1],
                lambda x=x: x[1:],
                lambda x=x: dg.concat([x, dg.reshape(xs[-1], [-1])], 0),
                lambda x=x: dg.reshape(dg.transpose(dg.stack([x, x])), [-1]),
            ]
            x = ways[self.rng.integers(len(ways) if n else 2)]()
        return x

    def lengthened(self, x, m):
        """A gather of ``m`` elements."""
        flat = dg.reshape(x, [-1])
        return dg.gather(flat, self.index(flat.shape.as_list()[0], m))

    def results(self, y, parts, m):
        ways = [
            lambda: [y],
            lambda: [dg.stack([y, dg.exp(0.1 * parts[-1])], 1)],
            lambda: [dg.gather(y, self.index(m, 3 if m else 0)), parts[0]],
            lambda: [dg.reduce_sum(y), dg.concat([y[::-1], parts[0]], 0)],
            lambda: [
                dg.unsorted_segment_sum(y, self.index(4, m), 4)
                + dg.unsorted_segment_sum(parts[0], self.index(4, m), 4)
            ],
        ]
        return ways[self.rng.integers(len(ways))]()


def complex_step(program, xs, feeds, rows):
    """Columns of the Jacobian from imaginary parts, with no derivative taken."""
    zs = [dg.placeholder(dg.complex128, x.shape) for x in xs]
    zy = dg.concat([dg.reshape(y, [-1]) for y in program(zs)], 0)
    columns = [np.zeros((rows, 0))]
    with dg.Session() as session:
        for k, x in enumerate(xs):
            for i in range(feeds[x].size):
                step = np.zeros(feeds[x].size)
                step[i] = 1e-30
                at = {z: feeds[t].astype(complex) for z, t in zip(zs, xs)}
                at[zs[k]] = feeds[x] + 1j * step.reshape(feeds[x].shape)
                columns.append(session.run(zy, at).imag[:, None] / 1e-30)
    return np.hstack(columns)


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 10**6),
    st.sampled_from([[(4,)], [(3, 2), (2,)], [(1,), ()]]),
    st.sampled_from([4, 1, 0]),
)
def test_random_programs(seed, shapes, growth):
    """``growth``: where copies of what is computed count as copies of a table."""
    with (
        dg.Graph().as_default(),
        unittest.mock.patch.object(_selections, "_GROWTH", growth),
    ):
        xs = [dg.placeholder(F64, s) for s in shapes]
        rng = np.random.default_rng(seed)
        feeds = {x: np.asarray(rng.uniform(0.5, 1.5, x.shape.as_list())) for x in xs}
        program = Gathers(seed)
        ys = program(xs)
        split = check(ys, xs, feeds)
        got = run(split, feeds).toarray()
        want = complex_step(program, xs, feeds, len(got))
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


# -- size ------------------------------------------------------------------------------


def test_time_to_build():
    """Forty thousand edges of two hundred nodes; and a tridiagonal stays whole."""
    x = dg.placeholder(F64, [200, 3])
    rng = np.random.default_rng(0)
    a, b = (dg.gather(x, rng.integers(0, 200, 40_000)) for _ in range(2))
    start = time.perf_counter()
    j = dg.sparse_jacobian(dg.norm(a - b, axis=1), x, "split")
    assert time.perf_counter() - start < 10.0  # measured: 0.3 s
    assert j.colors == 1
    x = dg.placeholder(F64, [10_000])
    start = time.perf_counter()
    j = dg.sparse_jacobian(x[:-2] * x[1:-1] - dg.sin(x[2:]), x)
    assert time.perf_counter() - start < 5.0  # measured: 0.05 s
    assert (j.colors, j.split) == (3, False)
