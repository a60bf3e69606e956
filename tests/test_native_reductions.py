"""Reductions fused with elementwise operations: against the reference."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_programs import fresh_kernels, reference
from row_checks import check, close, row_steps, rows_run_natively, session, values

import dagrad as dg
from dagrad.runtime import fused, fusion, row_fusion, row_groups

pytest.importorskip("llvmlite")


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch, tmp_path):
    monkeypatch.setattr(fusion, "NATIVE_SIZE", 1)
    with fresh_kernels(monkeypatch, tmp_path):
        yield


# -- all elements ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(8,), (9,), (1023,), (1024,), (1025,), (5000,), (3, 7, 11), (1, 2048)]
)
@pytest.mark.parametrize(
    "reduce", [dg.reduce_sum, dg.reduce_mean, dg.reduce_max, dg.reduce_min]
)
def test_a_reduction_of_all_elements(reduce, shape, dtype):
    x, y = (dg.placeholder(dtype, shape) for _ in range(2))
    check(
        [reduce(dg.square(x * 2.0 - y))],
        {x: values(shape, dtype), y: values(shape, dtype, 1)},
    )


@pytest.mark.parametrize("tile", [256, 4096, 128 * 1024])
def test_a_loss_with_its_gradient_is_one_step(tile, monkeypatch):
    monkeypatch.setattr(fused, "TILE_BYTES", tile)
    monkeypatch.setattr(row_groups, "TILE_BYTES", tile)
    x, y = (dg.placeholder(np.float32, (37, 41)) for _ in range(2))
    loss = dg.reduce_mean(dg.square(x - y))
    feeds = {t: values((37, 41), np.float32, k) for k, t in enumerate((x, y))}
    fetches = [loss, *dg.gradients(loss, [x, y])]
    assert len(session("wait").plan(fetches, feeds).steps) == 1
    check(fetches, feeds)


def test_a_long_sum_is_as_good_as_numpys():
    x = dg.placeholder(np.float32, (1 << 20,))
    a = np.random.default_rng(0).random(1 << 20, np.float32)
    y = dg.reduce_sum(dg.square(x))
    exact = np.sum(np.square(a).astype(np.float64))
    for s in (session("wait"), session("auto")):
        assert abs(s.run(y, {x: a}) - exact) <= 80 * 2.0**-24 * exact


@pytest.mark.parametrize(
    ("dtype", "big", "block"), [(np.float32, 2.0**24, 1024), (np.float64, 2.0**53, 512)]
)
def test_each_lane_adds_sixteen_elements_of_a_block(dtype, big, block):
    # What is added to the big number one by one is lost: the 15 others of its lane.
    n = 2 * block
    x, y = (dg.placeholder(dtype, (n,)) for _ in range(2))
    a = np.ones(n, dtype)
    a[block] = big
    a[:block] = 0
    total = session("wait").run(dg.reduce_sum(x * y), {x: a, y: np.ones(n, dtype)})
    assert rows_run_natively()
    assert float(total) - big == block - 16


def test_bits_depend_on_the_size_alone():
    n = 100_003
    x = dg.placeholder(np.float32, (n,))
    y = dg.reduce_sum(x * 3.0)
    memory = np.empty(n + 16, np.float32)
    one = session("wait")
    two = dg.Session(
        config=dg.ConfigProto(native="wait", intra_op_parallelism_threads=2)
    )
    a = values(n, np.float32)
    found = set()
    for start in range(16):
        memory[start : start + n] = a
        for s in (one, two):
            found.add(float(s.run(y, {x: memory[start : start + n]})))
    assert len(found) == 1


# -- rows ----------------------------------------------------------------------


def norm(x, g, b):
    centred = x - dg.reduce_mean(x, -1, keepdims=True)
    variance = dg.reduce_mean(dg.square(centred), -1, keepdims=True)
    return centred * dg.rsqrt(variance + 1e-3) * g + b


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 8), (3, 17), (2, 5, 33), (7, 300), (2, 4096)])
def test_layer_norm_with_its_gradient(shape, dtype):
    x, w = (dg.placeholder(dtype, shape) for _ in range(2))
    g, b = (dg.placeholder(dtype, shape[-1:]) for _ in range(2))
    y = norm(x, g, b)
    feeds = {t: values(t.shape.as_list(), dtype, k) for k, t in enumerate((x, w, g, b))}
    fetches = [y, *dg.gradients(y, [x, g, b], grad_ys=[w])]
    check(fetches, feeds)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("keep", [True, False])
def test_moments_with_their_gradient(keep, dtype):
    shape = (12, 3, 14)
    x, w = (dg.placeholder(dtype, shape) for _ in range(2))
    mean, variance = dg.nn.moments(x, [1, 2], keep_dims=keep)
    m, v = (dg.reshape(t, (12, 1, 1)) for t in (mean, variance))
    y = dg.nn.batch_normalization(x, m, v, 0.5, 1.5, 1e-3)
    feeds = {x: values(shape, dtype), w: values(shape, dtype, 1)}
    assert len(row_steps(session("wait").plan([y, variance], feeds))) == 1
    check([y, mean, variance, *dg.gradients(y, [x], grad_ys=[w])], feeds)


def test_moments_of_all_elements():
    x = dg.placeholder(np.float32, (40, 50))
    mean, variance = dg.nn.moments(x * 2.0, [0, 1])
    feeds = {x: values((40, 50), np.float32)}
    expected = reference(x.graph, [mean, variance], feeds)
    close(session("wait").run([mean, variance], feeds), expected, feeds)


def test_rows_without_their_axis_and_of_two_axes():
    x = dg.placeholder(np.float32, (6, 4, 5))
    total = dg.reduce_sum(dg.square(x), [1, 2])
    y = x / dg.reshape(dg.sqrt(total), (6, 1, 1))
    check([y, total], {x: values((6, 4, 5), np.float32)})


def test_numbers_of_rows_are_not_taken_for_a_row():
    # As many rows as elements: the sums run along the other axis where they are read.
    x = dg.placeholder(np.float32, (12, 12))
    total = dg.reduce_sum(dg.abs(x), 1)
    y = x / total
    feeds = {x: values((12, 12), np.float32)}
    expected = reference(x.graph, [y], feeds)
    close(session("wait").run([y], feeds), expected, feeds)


def test_reductions_along_other_axes_stay():
    x = dg.placeholder(np.float32, (8, 16, 8))
    y = dg.reduce_sum(dg.square(x), 1)
    assert not row_steps(session("wait").plan(y, {x: None}))


@pytest.mark.parametrize("shape", [(0,), (0, 9), (9, 0), (), (1,), (4, 1)])
def test_nothing_and_single_numbers(shape):
    x = dg.placeholder(np.float32, shape)
    axis = -1 if shape else None
    y = dg.reduce_sum(dg.square(x) + 1.0, axis)
    feeds = {x: np.ones(shape, np.float32)}
    np.testing.assert_array_equal(
        session("wait").run(y, feeds), reference(x.graph, y, feeds)
    )


# -- special values -------------------------------------------------------------------


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize(
    "reduce", [dg.reduce_sum, dg.reduce_mean, dg.reduce_max, dg.reduce_min]
)
@pytest.mark.parametrize("axis", [None, -1])
def test_special_values(special, reduce, axis):
    x = dg.placeholder(np.float32, (5, 700))
    a = values((5, 700), np.float32)
    a[2, 333] = special
    a[4] = special
    check([reduce(x * 2.0, axis)], {x: a})


# -- random programs --------------------------------------------------------------


@st.composite
def programs(draw):
    """Rows that are reduced and worked on, in random order."""
    graph = dg.Graph()
    shape = draw(st.sampled_from([(2, 8), (3, 19), (2, 3, 10), (5, 260), (33,)]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    feeds = {}
    with graph.as_default():
        wide = []
        for k, dims in enumerate((shape, shape, shape[-1:], (*shape[:-1], 1))):
            x = dg.placeholder(dtype, dims)
            feeds[x] = values(dims, dtype, draw(st.integers(0, 9)) + k)
            wide.append(x)
        unary = [dg.square, dg.abs, dg.negative, dg.nn.relu]
        binary = [dg.add, dg.subtract, dg.multiply, dg.maximum]
        reductions = [dg.reduce_sum, dg.reduce_mean, dg.reduce_max]
        for _ in range(draw(st.integers(3, 12))):
            kind = draw(st.sampled_from("urbbb"))
            a, b = (draw(st.sampled_from(wide)) for _ in range(2))
            if kind == "u":
                made = draw(st.sampled_from(unary))(a)
            elif kind == "b":
                made = draw(st.sampled_from(binary))(a, b) * dtype(0.25)
            else:
                made = draw(st.sampled_from(reductions))(a, -1, keepdims=True)
            wide.append(made)
        fetches = [wide[-1], *draw(st.lists(st.sampled_from(wide[4:]), max_size=2))]
        if draw(st.booleans()):
            over = [x for x in feeds if draw(st.booleans())]
            grads = dg.gradients(wide[-1], over) if over else []
            fetches += [g for g in grads if g is not None]
    return graph, fetches, feeds


@settings(max_examples=60, deadline=None)
@given(programs())
def test_random_programs(program):
    graph, fetches, feeds = program
    expected = reference(graph, fetches, feeds)
    for native in ("auto", "wait"):
        s = dg.Session(graph=graph, config=dg.ConfigProto(native=native))
        for _ in range(2):
            results = s.run(fetches, feeds)
            for a, b in zip(results, expected):
                scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
                # Operands may have been rounded otherwise where they cancel.
                bound = 5000 * np.finfo(a.dtype).eps
                np.testing.assert_allclose(a, b, rtol=bound, atol=bound * scale * 100)


# -- plans ------------------------------------------------------------------------


def test_layouts_that_rows_do_not_have():
    x = dg.placeholder(np.float32, (32, 24))
    y = norm(x, 1.0, 0.0)
    a = np.asfortranarray(values((32, 24), np.float32))
    close([session("wait").run(y, {x: a})], [reference(x.graph, y, {x: a})], {x: a})


def test_a_result_in_the_memory_of_an_operand():
    x = dg.placeholder(np.float32, (24, 24))
    y = dg.matmul(norm(dg.matmul(x, x), 2.0, 1.0), x)
    (step,) = row_steps(session("wait").plan(y, {x: None}))
    assert step.takes_over
    feeds = {x: values((24, 24), np.float32)}
    for native in ("auto", "wait"):
        close([session(native).run(y, feeds)], [reference(x.graph, y, feeds)], feeds)


def test_no_more_memory_than_elementwise_fusion(monkeypatch):
    monkeypatch.setattr(fused, "TILE_BYTES", 1024)
    monkeypatch.setattr(row_groups, "TILE_BYTES", 1024)
    x = dg.placeholder(np.float32, (64, 64))
    h = x
    for _ in range(4):
        h = norm(dg.matmul(h, x), 1.0, 0.0)
    loss = dg.reduce_mean(dg.square(h))
    fetches = [loss, *dg.gradients(loss, [x])]
    with_rows = session("wait").plan(fetches, {x: None})
    assert row_steps(with_rows)
    with monkeypatch.context() as m:
        m.setattr(row_fusion, "join_rows", lambda program, around: {})
        without = session("wait").plan(fetches, {x: None})
    assert not row_steps(without)
    assert with_rows.peak_bytes <= 1.02 * without.peak_bytes
    feeds = {x: values((64, 64), np.float32) / 8}
    expected = reference(x.graph, fetches, feeds)
    for a, b in zip(session("wait").run(fetches, feeds), expected):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_views_that_only_members_read_go_with_them():
    x = dg.placeholder(np.float32, (6, 10))
    total = dg.identity(dg.reduce_sum(dg.square(x), 1))
    y = x / dg.identity(dg.expand_dims(total, 1)) + dg.broadcast_to(
        dg.reshape(dg.sqrt(total), (6, 1)), (6, 10)
    )
    feeds = {x: values((6, 10), np.float32)}
    expected = reference(x.graph, [y], feeds)
    for rewrites in (None, ("fuse",)):
        s = dg.Session(config=dg.ConfigProto(native="wait"), rewrites=rewrites)
        assert len(s.plan(y, feeds).steps) == 1
        close(s.run([y], feeds), expected, feeds)


def test_control_edges_are_not_crossed():
    v = dg.Variable(np.ones((6, 10), np.float32))
    total = dg.reduce_sum(dg.square(v), 1, keepdims=True)
    with dg.control_dependencies([total]):
        write = dg.assign_add(v, np.ones((6, 10), np.float32))
    with dg.control_dependencies([write]):
        y = dg.identity(v) * 2.0 / dg.identity(total)
    s = session("wait")
    s.run(dg.global_variables_initializer())
    np.testing.assert_allclose(s.run(y), np.full((6, 10), 0.4), rtol=1e-6)
    np.testing.assert_allclose(s.run(y), np.full((6, 10), 6 / 40), rtol=1e-6)


def test_in_bodies_of_loops_and_in_the_interpreter():
    x = dg.placeholder(np.float32, (6, 10))

    def step(i, h):
        return i + 1, h / dg.sqrt(dg.reduce_mean(dg.square(h), -1, keepdims=True))

    _, h = dg.while_loop(lambda i, h: i < 3, step, [0, x])
    loss = dg.reduce_sum(dg.square(h - 1.0))
    fetches = [h, loss, *dg.gradients(loss, [x])]
    feeds = {x: values((6, 10), np.float32)}
    expected = session("off").run(fetches, feeds)
    for results in (
        reference(x.graph, fetches, feeds),
        session("auto").run(fetches, feeds),
        session("wait").run(fetches, feeds),
    ):
        close(results, expected, feeds)


def test_a_kernel_without_memory_for_its_results():
    x = dg.placeholder(np.float32, (6, 10))
    y = norm(x, 2.0, 1.0)
    (step,) = row_steps(session("auto").plan([y, dg.reduce_mean(x, -1)], {x: None}))
    group = step.attrs["group"]
    slots = session("auto").plan([y, dg.reduce_mean(x, -1)], {x: None}).slots
    a = values((6, 10), np.float32)
    given = [a if slots[s].value is None else slots[s].value for s in step.inputs]
    found = step.opdef.kernel(np, *given, group=group)
    shapes = {r.shape for r in (found if isinstance(found, tuple) else (found,))}
    assert shapes == {slots[s].dims for s in step.outputs}


def test_scratch_of_a_kernel_that_reads_one_row():
    x = dg.placeholder(np.float32, (40, 30))
    row = dg.placeholder(np.float32, (30,))
    y = dg.reduce_sum(dg.math.divide_no_nan(x * 2.0, row) + 1.0, -1)
    check([y], {x: values((40, 30), np.float32), row: np.arange(30, dtype=np.float32)})


def test_a_repeated_constant_is_one_number(monkeypatch):
    x, y = (dg.placeholder(np.float32, (30, 40)) for _ in range(2))
    loss = dg.reduce_mean(dg.square(x - y))
    fetches = [loss, *dg.gradients(loss, [x])]
    feeds = {t: values((30, 40), np.float32, k) for k, t in enumerate((x, y))}
    check(fetches, feeds)

    def tiles(self, *arrays):
        raise AssertionError("NumPy, though there is native code")

    monkeypatch.setattr(row_groups.RowTiles, "__call__", tiles)
    close(
        session("wait").run(fetches, feeds),
        reference(x.graph, fetches, feeds),
        feeds,
    )


def test_without_fusion_nothing_changes():
    x = dg.placeholder(np.float32, (16, 16))
    y = dg.reduce_sum(dg.square(x))
    plan = dg.Session(rewrites=("fold",)).plan(y, {x: None})
    assert not row_steps(plan)
    assert "rows: Square, Sum" in str(session("auto").plan(y, {x: None}))


def test_an_error_inside_names_the_operation():
    x = dg.placeholder(np.float32, (16, 16))
    culprit = dg.square(x, name="culprit")
    y = dg.reduce_sum(culprit * 2.0)
    s = session("auto")
    (step,) = row_steps(s.plan(y, {x: None}))
    group = step.attrs["group"]

    def broken(*args, **kwargs):
        raise ValueError("no such thing")

    k = next(i for i, m in enumerate(group.members) if m.op is culprit.op)
    bad = copy.copy(group.members[k].opdef)
    object.__setattr__(bad, "kernel", broken)
    members = list(group.members)
    members[k] = members[k]._replace(opdef=bad)
    group.members = tuple(members)
    with pytest.raises(dg.errors.ExecutionError, match=culprit.op.name):
        s.run(y, {x: np.zeros((16, 16), np.float32)})


@pytest.mark.parametrize("axis", [0, 1])
def test_what_a_row_or_a_column_is_may_be_a_truth(axis):
    x = dg.placeholder(np.float32, (16, 24))
    mean = dg.reduce_mean(dg.square(x), axis, keepdims=True)
    large = mean > 1.0
    fetches = [x - mean, large, dg.logical_not(large)]
    feeds = {x: values((16, 24), np.float32)}
    s = session("wait")
    assert len(s.plan(fetches, feeds).steps) == 1
    expected = reference(x.graph, fetches, feeds)
    for got, want in zip(s.run(fetches, feeds), expected):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert rows_run_natively()


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_kept_for_a_last_pass_outlives_the_passes_before(axis):
    x = dg.placeholder(np.float64, (16, 24))
    mean = lambda t: dg.reduce_mean(t, axis, keepdims=True)  # noqa: E731
    kept = dg.tanh(x)
    scaled = x - mean(kept)
    # Written when two passes have been made, and what is kept is read by a third.
    early = scaled * dg.rsqrt(mean(dg.square(scaled)) + 1.0)
    late = kept * (early - mean(early * x))
    check([early, late], {x: values((16, 24), np.float64)})


@pytest.mark.parametrize("reduce", [dg.reduce_sum, dg.reduce_max])
def test_a_row_alone_with_a_vector(reduce):
    x = dg.placeholder(np.float32, (1, 5000))
    v = dg.placeholder(np.float32, (5000,))
    feeds = {x: values((1, 5000), np.float32), v: values(5000, np.float32, 1)}
    check([reduce(x * 2.0 + v, 1)], feeds)


def test_rows_numbers_are_not_written_over_a_vector_that_every_row_reads():
    x = dg.placeholder(np.float64, (24, 24))
    w = dg.placeholder(np.float64, (24,))
    v = dg.cumsum(w)
    # As many rows as elements of a row: both have one shape, and the vector ends here.
    y = dg.cumsum(dg.reduce_sum(dg.square(x) * v, 1))
    check([y], {x: values((24, 24), np.float64), w: values(24, np.float64, 1)})
