"""Edges of shape and indexing ops: 0-d, empty, unknown shapes, errors, values known
before a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from allocated import traced_peak
from evaluate import evaluate
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as extra

import dagrad.ops  # noqa: F401  (declares the ops)
from dagrad.graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.graphlib.operators import TABLE
from dagrad.ops import array as a
from dagrad.ops import gather as g
from dagrad.ops import indexing as ix
from dagrad.ops import partition as p
from dagrad.ops import scatter as s
from dagrad.ops import sorting as o
from dagrad.ops._build import constant
from dagrad.ops.core import placeholder, shape

pytestmark = pytest.mark.usefixtures("graph")


def unknown(*dims: int | None, dtype: str = "float32") -> Any:
    return placeholder(dtype, dims)


# -- sizes that stay known -----------------------------------------------------


def test_reshape_by_a_size_of_a_tensor_keeps_the_other_sizes() -> None:
    x = unknown(None, 2, 5)
    assert a.reshape(x, [shape(x)[0], 10]).dims == (None, 10)


def test_reshape_fills_in_the_one_open_size() -> None:
    x = unknown(4, 6)
    assert a.reshape(x, [-1, 8]).dims == (3, 8)
    n = placeholder("int32", ())
    assert a.reshape(x, [n, 8]).dims == (3, 8)
    assert a.reshape(x, a.stack([n, 8])).dims == (3, 8)


def test_reshape_works_out_the_open_size_where_unknown_sizes_cancel() -> None:
    x = unknown(None, 3, 5)
    y = a.reshape(x, [shape(x)[0], -1])
    assert y.dims == (None, 15)
    for batch in (0, 2):
        assert evaluate(y, {x: np.ones((batch, 3, 5))}).shape == (batch, 15)
    z = unknown(None, None, 4)
    n = shape(z)
    assert a.reshape(z, [n[0], n[1], -1, 2]).dims == (None, None, 2, 2)
    assert a.reshape(z, [-1, n[1], 4]).dims == (None, None, 4)
    assert a.reshape(z, [n[0], -1]).dims == (None, None)


def test_reshape_of_an_unknown_batch_by_minus_one_keeps_the_rest() -> None:
    assert a.reshape(unknown(None, 4), [-1, 2, 2]).dims == (None, 2, 2)


def test_reshape_by_a_fed_vector_knows_its_rank() -> None:
    assert a.reshape(unknown(None), placeholder("int32", (3,))).dims == (None,) * 3
    assert a.reshape(unknown(None), placeholder("int32", (None,))).dims is None


@pytest.mark.parametrize(
    "sizes",
    [
        lambda v: a.concat([v[:1], [7], v[2:]], 0),
        lambda v: a.stack([v[0], 7, v[2]]),
        lambda v: a.stack([a.unstack(v)[0], 7, v[-1]]),
        lambda v: a.concat([a.expand_dims(v[0], 0), [7, 4]], 0),
        lambda v: a.concat([ix.slice_(v, [0], [1]), [7], v[-1:]], 0),
        lambda v: a.stack([v[0], 7, 4])[::1],
        lambda v: TABLE["cast"](a.stack([v[0], 7, 4]), "int64"),
    ],
)
def test_size_arithmetic_keeps_known_entries(sizes: Any) -> None:
    x = unknown(None, 3, 4)
    assert TABLE["fill"](sizes(shape(x)), 0.0).dims == (None, 7, 4)


def test_gather_of_known_sizes_is_known() -> None:
    x = unknown(2, 3, 4)
    assert np.array_equal(g.gather(shape(x), [2, 0]).value, [4, 2])


def test_partly_known_begin_of_strided_slice() -> None:
    x, n = unknown(5, 6), placeholder("int32", ())
    y = ix.strided_slice(x, a.stack([1, n]), a.stack([4, n + 2]))
    assert y.dims == (3, None)
    assert evaluate(y, {x: np.ones((5, 6)), n: 3}).shape == (3, 2)


@pytest.mark.parametrize(
    ("key", "dims"),
    [
        (np.s_[0], (3, None)),
        (np.s_[..., 0], (None, 3)),
        (np.s_[:, 1:], (None, 2, None)),
        (np.s_[5:2], (0, 3, None)),
        (np.s_[::-1, None], (None, 1, 3, None)),
        (np.s_[-3:], (None, 3, None)),
    ],
)
def test_slices_of_unknown_sizes(key: Any, dims: Any) -> None:
    assert unknown(None, 3, None)[key].dims == dims


def test_slice_size_minus_one_is_known_where_begin_is() -> None:
    n = placeholder("int32", ())
    assert ix.slice_(unknown(5, 6), [1, n], [-1, 2]).dims == (4, 2)


def test_concat_and_stack_merge_what_is_known() -> None:
    assert a.concat([unknown(None, 3), unknown(2, None)], 0).dims == (None, 3)
    assert a.concat([unknown(1, None), unknown(2, 4)], 0).dims == (3, 4)
    assert a.stack([unknown(None, 3), unknown(2, None)], 1).dims == (2, 2, 3)


def test_split_of_unknown_sizes() -> None:
    x = unknown(None, 6)
    assert [t.dims for t in a.split(x, [1, -1], 1)] == [(None, 1), (None, 5)]
    assert a.split(x, 2)[0].dims == (None, 6)


def test_squeeze_of_unknown_sizes_needs_axes_for_a_rank() -> None:
    assert a.squeeze(unknown(None, 1)).dims is None
    assert a.squeeze(unknown(None, 1), [1]).dims == (None,)
    assert a.squeeze(unknown(None, 1), [0]).dims == (1,)


def test_sizes_that_depend_on_values_are_unknown() -> None:
    x = constant([1.0, 2.0, 1.0])
    assert p.boolean_mask(x, [True, False, True]).dims == (None,)
    assert o.unique(x).y.dims == (None,)
    assert o.unique(x).idx.dims == (3,)
    assert [t.dims for t in p.dynamic_partition(x, [0, 1, 0], 2)] == [(None,)] * 2


def test_dynamic_stitch_of_constant_indices_has_a_known_size() -> None:
    y = p.dynamic_stitch([[0, 3], [1, 2]], [unknown(2, 5), unknown(2, 5)])
    assert y.dims == (4, 5)


# -- unknown rank --------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "want"),
    [
        (lambda x: a.transpose(x), lambda v: v.T),
        (lambda x: a.reshape(x, [-1]), lambda v: v.reshape(-1)),
        (lambda x: a.expand_dims(x, -1), lambda v: v[..., None]),
        (lambda x: a.squeeze(x), lambda v: np.squeeze(v)),
        (lambda x: a.squeeze(x, [-2]), lambda v: v[:, 0]),
        (lambda x: a.concat([x, x], -1), lambda v: np.concatenate([v, v], -1)),
        (lambda x: a.stack([x, x], -1), lambda v: np.stack([v, v], -1)),
        (lambda x: a.unstack(x, 3, axis=-1)[1], lambda v: v[..., 1]),
        (lambda x: a.split(x, [1, 2], -1)[1], lambda v: v[..., 1:]),
        (lambda x: a.tile(x, [2, 1, 1]), lambda v: np.tile(v, [2, 1, 1])),
        (lambda x: a.pad(x, [[0, 1]] * 3), lambda v: np.pad(v, [[0, 1]] * 3)),
        (lambda x: a.reverse(x, -1), lambda v: v[..., ::-1]),
        (lambda x: a.roll(x, 1, -1), lambda v: np.roll(v, 1, -1)),
        (lambda x: x[1:, ..., 0], lambda v: v[1:, ..., 0]),
        (lambda x: g.gather(x, [1, 1]), lambda v: v[[1, 1]]),
        (lambda x: g.gather(x, [[2], [0]], axis=-1), lambda v: v[..., [[2], [0]]]),
        (lambda x: s.gather_nd(x, [[1, 0], [0, 0]]), lambda v: v[[1, 0], [0, 0]]),
        (lambda x: o.sort(x), lambda v: np.sort(v)),
        (lambda x: o.top_k(x, 2).values, lambda v: -np.sort(-v)[..., :2]),
    ],
)
def test_ops_and_gradients_without_a_known_rank(build: Any, want: Any) -> None:
    v = np.random.default_rng(0).permutation(6).reshape(2, 1, 3).astype(np.float64)
    loose, tight = placeholder("float64"), placeholder("float64", v.shape)
    np.testing.assert_array_equal(evaluate(build(loose), {loose: v}), want(v))
    (dx,) = gradients(TABLE["mul"](build(loose), build(loose)), loose)
    (known,) = gradients(TABLE["mul"](build(tight), build(tight)), tight)
    np.testing.assert_array_equal(evaluate(dx, {loose: v}), evaluate(known, {tight: v}))


# -- scalars and empty tensors -------------------------------------------------


def test_scalars() -> None:
    x = placeholder("float32", ())
    feeds = {x: np.float32(3)}
    assert evaluate(a.transpose(x), feeds).shape == ()
    assert evaluate(a.reshape(x, [1, 1]), feeds).shape == (1, 1)
    assert evaluate(a.reshape(a.reshape(x, [1]), []), feeds).shape == ()
    assert evaluate(a.tile(x, np.zeros(0, int)), feeds) == 3
    assert evaluate(a.pad(x, np.zeros((0, 2), int)), feeds) == 3
    assert evaluate(x[...], feeds) == 3
    assert evaluate(x[None], feeds).shape == (1,)
    assert evaluate(p.one_hot(2, 3)).tolist() == [0, 0, 1]


def test_one_element_is_an_array_view_not_a_scalar() -> None:
    x = unknown(2, 3)
    y = x[1, 2]
    assert y.dims == ()
    assert isinstance(evaluate(y, {x: np.ones((2, 3))}), np.ndarray)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: a.reshape(x, [3, 0, 2]),
        lambda x: a.concat([x, x], 1),
        lambda x: a.stack([x, x]),
        lambda x: a.unstack(x, axis=1)[0],
        lambda x: a.split(x, 3, 1)[2],
        lambda x: a.tile(x, [2, 2]),
        lambda x: a.pad(x, [[1, 0], [0, 2]]),
        lambda x: a.reverse(x, [0, 1]),
        lambda x: a.roll(x, 1, 0),
        lambda x: x[:, ::2],
        lambda x: g.gather(x, np.zeros(0, np.int32)),
        lambda x: g.gather(x, [0, 2], axis=1),
        lambda x: s.gather_nd(x, np.zeros((0, 2), np.int32)),
        lambda x: s.tensor_scatter_update(
            x, np.zeros((0, 1), np.int32), np.zeros((0, 3))
        ),
        lambda x: p.boolean_mask(x, np.zeros(0, bool)),
        lambda x: o.sort(x, 0),
        lambda x: o.top_k(x, 2).values,
    ],
)
def test_empty_tensors(build: Any) -> None:
    x = placeholder("float64", (0, 3))
    y = build(x)
    feeds = {x: np.zeros((0, 3))}
    value = evaluate(y, feeds)
    assert all(d in (None, n) for d, n in zip(y.dims, value.shape))
    (dx,) = gradients(y, x)
    assert evaluate(dx, feeds).shape == (0, 3)


def test_tile_by_zero() -> None:
    x = unknown(2, 3)
    y = a.tile(x, [0, 2])
    assert y.dims == (0, 6)
    (dx,) = gradients(y, x)
    assert np.array_equal(evaluate(dx, {x: np.ones((2, 3))}), np.zeros((2, 3)))


def test_unstack_of_nothing_is_an_empty_list() -> None:
    assert a.unstack(unknown(0, 3)) == []


# -- any key ---------------------------------------------------------------------

SHAPE = (3, 1, 4)
BASIC = extra.basic_indices(SHAPE, allow_newaxis=True, allow_ellipsis=True)
ARRAYS = st.tuples(
    st.sampled_from([slice(None), slice(None, None, -1), slice(1, None)]),
    st.lists(st.integers(-1, 0), min_size=1, max_size=3),
    st.one_of(st.integers(-4, 3), st.sampled_from([None, slice(1, 3), Ellipsis])),
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(BASIC, ARRAYS))
def test_any_key_selects_what_numpy_selects(key: Any) -> None:
    v = np.arange(12.0).reshape(SHAPE)
    for dims in (SHAPE, (None,) * 3):
        with Graph().as_default():
            x = placeholder("float64", dims)
            y = x[key]
            (dx,) = gradients(TABLE["mul"](y, y), x)
            got, grad = evaluate([y, dx], {x: v})
        assert np.array_equal(got, v[key])
        assert all(d in (None, n) for d, n in zip(y.dims, got.shape, strict=True))
        if dims == SHAPE:
            assert y.dims == got.shape
        want = np.zeros(SHAPE)
        np.add.at(want, key, 2 * v[key])
        assert np.array_equal(grad, want)


# -- rows add up ---------------------------------------------------------------


def test_gradient_of_many_rows_is_one_scatter(graph: Graph) -> None:
    x = unknown(4, 3)
    total = TABLE["add_n"]([x[i] * float(i + 1) for i in (0, 1, 3, 1)])
    (dx,) = gradients(total, x)
    assert [op.type for op in graph.operations].count("ScatterRows") == 1
    want = np.array([1, 4, 0, 4.0])[:, None] * np.ones((4, 3))
    assert np.array_equal(evaluate(dx, {x: np.ones((4, 3))}), want)


def test_repeated_indices_add_up_exactly_in_wide_and_narrow_rows() -> None:
    rng = np.random.default_rng(3)
    for width in (1, 7, 255, 256, 300):
        index = rng.integers(0, 50, 2000)
        rows = rng.integers(-9, 9, (2000, width)).astype(np.float64)
        want = np.zeros((50, width))
        np.add.at(want, index, rows)
        like = placeholder("float64", (50, width))
        got = g.scatter_rows(like, constant(index), constant(rows))
        assert np.array_equal(evaluate(got), want)


def test_last_update_wins_and_alone_gets_the_gradient() -> None:
    x, u = unknown(3), unknown(3)
    y = s.tensor_scatter_update(x, [[1], [0], [1]], u)
    feeds = {x: np.zeros(3), u: np.array([5, 6, 7])}
    assert evaluate(y, feeds).tolist() == [6, 7, 0]
    dx, du = gradients(y, [x, u])
    assert evaluate(dx, feeds).tolist() == [0, 0, 1]
    assert evaluate(du, feeds).tolist() == [0, 1, 1]


# -- order ---------------------------------------------------------------------


def test_nan_counts_as_the_greatest() -> None:
    x = constant([2.0, np.nan, 1.0, 3.0])
    assert evaluate(o.argsort(x)).tolist() == [2, 0, 3, 1]
    assert evaluate(o.argsort(x, direction="DESCENDING")).tolist() == [1, 3, 0, 2]
    assert evaluate(o.top_k(x, 1).indices).tolist() == [1]
    assert evaluate(o.top_k(x, 2).indices).tolist() == [1, 3]
    assert np.isnan(evaluate(o.sort(x))[-1])


def test_top_k_of_extreme_integers() -> None:
    x = constant(np.array([-(2**31), 5, 2**31 - 1], np.int32))
    assert evaluate(o.top_k(x, 3).indices).tolist() == [2, 1, 0]
    u = constant(np.array([0, 255, 3], np.uint8))
    assert evaluate(o.sort(u, direction="DESCENDING")).tolist() == [255, 3, 0]


@pytest.mark.parametrize("odd", [None, np.nan, np.inf])
def test_few_of_many_agree_with_a_full_sort(odd: Any) -> None:
    x = np.random.default_rng(5).integers(0, 40, (3, 500)).astype(np.float64)
    if odd is not None:
        x[1, ::7] = odd
    t = constant(x)
    few, all_ = evaluate([o.top_k(t, 9).indices, o.argsort(t, -1, "DESCENDING")])
    assert np.array_equal(few, all_[:, :9])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_gather_looks_at_constant_and_at_fed_indices(dtype: str) -> None:
    """200 rows: read as unsigned, -100 of int8 would be inside."""
    x = placeholder("float64", [200])
    for bad in ([199, 0], [200]) if dtype != "int8" else ([100, 127], [-100]):
        index = np.array(bad, dtype)
        fed = placeholder(dtype, index.shape)
        for at in (constant(index), fed):
            y = g.gather(x, at) + 0.0
            feeds = {x: np.arange(200.0), fed: index}
            if len(bad) == 2:
                assert evaluate(y, feeds).tolist() == bad
            else:
                with pytest.raises(InvalidArgumentError, match="is not in"):
                    evaluate(y, feeds)


def test_constant_indices_are_read_only_and_are_not_copied() -> None:
    index = constant(np.array([2, 0, 1])).value
    assert not index.flags.writeable
    lent = g.lent(index)
    assert lent.flags.writeable
    assert np.shares_memory(lent, index)
    kept = np.array([2, 0])
    kept.setflags(write=False)
    assert g.lent(kept) is kept


def test_strings_gather_and_join() -> None:
    x = constant(["a", "b", "c"])
    assert evaluate(g.gather(x, [2, 0])).tolist() == [b"c", b"a"]
    assert evaluate(a.concat([x, ["d"]], 0)).tolist() == [b"a", b"b", b"c", b"d"]
    assert evaluate(o.unique(constant(["b", "a", "b"])).y).tolist() == [b"b", b"a"]


# -- errors while the graph is built -------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda x: a.reshape(x, [5]), ShapeError, r"\(2, 3\).*\[5\].*6 elements"),
        (lambda x: a.reshape(x, [-1, -1]), ShapeError, "one -1"),
        (lambda x: a.reshape(x, [-1, 4]), ShapeError, "no multiple of 4"),
        (lambda x: a.reshape(x, [2.5, 3]), DTypeError, "2.5"),
        (lambda x: a.expand_dims(x), ShapeError, "axis is missing"),
        (lambda x: a.expand_dims(x, 4), ShapeError, "out of range"),
        (lambda x: a.squeeze(x, [0]), ShapeError, "not of size 1"),
        (lambda x: a.transpose(x, [0, 0]), ShapeError, "no permutation"),
        (lambda x: a.concat([x, x[0]], 0), ShapeError, "different ranks"),
        (lambda x: a.concat([x, x[:, :2]], 0), ShapeError, "beside axis 0"),
        (lambda x: a.concat([x[0, 0], x[0, 0]], 0), ShapeError, "use stack"),
        (lambda x: a.concat([], 0), ShapeError, "at least one"),
        (lambda x: a.stack([x, x[0]]), ShapeError, "not compatible"),
        (lambda x: a.unstack(unknown(None)), ShapeError, "give num"),
        (lambda x: a.unstack(x, 3), ShapeError, "does not hold 3"),
        (lambda x: a.split(x, 2, 1), ShapeError, "not divisible into 2"),
        (lambda x: a.split(x, [1, 1], 1), ShapeError, "do not add up to 3"),
        (lambda x: a.split(x, [-1, 4], 1), ShapeError, "do not split"),
        (lambda x: a.tile(x, [2]), ShapeError, "one entry for each axis"),
        (lambda x: a.pad(x, [[0, -1], [0, 0]]), ShapeError, ">= 0"),
        (lambda x: a.pad(x, [[0, 0], [3, 0]], "REFLECT"), ShapeError, "at most 2"),
        (lambda x: a.pad(x, [[0, 0]]), ShapeError, "1 pairs"),
        (lambda x: a.pad(x, [[0, 0]] * 2, "EDGE"), ShapeError, "EDGE"),
        (lambda x: a.reverse(x, [0, -2]), ShapeError, "twice"),
        (lambda x: a.space_to_depth(x, 2), ShapeError, "4 axes"),
        (lambda x: x[2], ShapeError, r"index 2 is out of range for axis 0"),
        (lambda x: x[0, 0, 0], ShapeError, "too many"),
        (lambda x: x[..., ...], ShapeError, "one Ellipsis"),
        (lambda x: x[::0], ShapeError, "step"),
        (lambda x: x[1.5], DTypeError, "no index"),
        (lambda x: x["a"], DTypeError, "no index"),
        (lambda x: x[True], DTypeError, "boolean_mask"),
        (lambda x: x[x], DTypeError, "integers or bool"),
        (lambda x: x[[True, False], [0, 1]], DTypeError, "one boolean mask"),
        (lambda x: x[[True, False, True]], ShapeError, "mask of shape"),
        (lambda x: ix.slice_(x, [0, 2], [1, 2]), ShapeError, "leave axis 1"),
        (lambda x: ix.slice_(x, [0], [1]), ShapeError, "entries"),
        (lambda x: g.gather(x, [0.5]), DTypeError, "integers"),
        (lambda x: g.gather(x, [0], axis=2), ShapeError, "axis 2"),
        (lambda x: s.gather_nd(x, [[0, 0, 0]]), ShapeError, "too deep"),
        (lambda x: s.scatter_nd([[0]], x, [4, 3]), ShapeError, "updates"),
        (lambda x: s.tensor_scatter_update(x, [[0]], x), ShapeError, "updates"),
        (lambda x: p.boolean_mask(x, [True]), ShapeError, "does not fit"),
        (lambda x: p.reverse_sequence(x, [1, 2]), ShapeError, "seq_axis"),
        (lambda x: o.top_k(x, 4), ShapeError, "more than the 3"),
        (lambda x: o.sort(x, direction="UP"), ShapeError, "UP"),
        (lambda x: o.unique(x), ShapeError, "vectors"),
    ],
)
def test_errors_while_building(build: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        build(unknown(2, 3))


# -- errors of a run -----------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "index", "message"),
    [
        (lambda x, i: g.gather(x, i), [0, 3], r"indices\[1\] = 3 is not in \[0, 3\)"),
        (lambda x, i: g.gather(x, i), [-1, 0], r"indices\[0\] = -1"),
        (lambda x, i: g.gather(x, i, axis=1), [0, 2], r"\[0, 2\)"),
        (lambda x, i: g.gather(x, i, axis=0)[i[0]], [1, 9], "9"),
        (lambda x, i: s.gather_nd(x, i[None]), [1, 2], r"\[1, 2\] is not inside"),
        (lambda x, i: s.gather_nd(x, i[None]), [-1, 0], r"\[-1, 0\]"),
        (lambda x, i: s.scatter_nd(i[:, None], x[:2], [3, 2]), [0, 3], "3"),
        (lambda x, i: s.tensor_scatter_add(x, i[:, None], x[:2]), [0, -1], "-1"),
        (lambda x, i: x[i], [0, 5], "out of bounds"),
        (lambda x, i: x[i[0]], [5, 0], "out of bounds"),
        (lambda x, i: a.reshape(x, i), [2, 4], r"\(3, 2\) cannot be reshaped"),
        (lambda x, i: ix.slice_(x, i, [1, 1]), [0, 2], "leave axis 1"),
        (lambda x, i: a.split(x, i), [1, 1], "do not add up"),
        (lambda x, i: a.tile(x, i), [1, -1], "multiples"),
        (lambda x, i: o.top_k(x, i[0]).values, [4, 0], r"\[0, 2\]"),
        (lambda x, i: o.invert_permutation(i), [1, 1], "repeats"),
        (lambda x, i: p.dynamic_partition(x, a.concat([i, [0]], 0), 2), [0, 2], "2"),
        (lambda x, i: p.boolean_mask(unknown(None), i > 0), [1, 1], "mask of shape"),
    ],
)
def test_errors_of_a_run(build: Any, index: Any, message: str) -> None:
    x, i = unknown(3, 2), placeholder("int32", (2,))
    y = build(x, i)
    y = y if isinstance(y, list) else [y]
    feeds = {x: np.zeros((3, 2)), i: np.array(index)}
    others = [op.outputs[0] for op in x.graph.operations if op.type == "Placeholder"]
    feeds.update({t: np.zeros(7) for t in others if t not in feeds})
    with pytest.raises(InvalidArgumentError, match=message):
        evaluate(y, feeds)


# -- NumPy's functions ---------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.reshape(x, (3, -1)),
        lambda x: np.ravel(x),
        lambda x: np.transpose(x, axes=(1, 0, 2)),
        lambda x: np.swapaxes(x, 0, -1),
        lambda x: np.moveaxis(x, 0, -1),
        lambda x: np.moveaxis(x, (0, 1), (1, 2)),
        lambda x: np.concatenate([x, x], axis=1),
        lambda x: np.concatenate([x, x], axis=None),
        lambda x: np.stack([x, x], axis=-1),
        lambda x: np.expand_dims(x, (0, -1)),
        lambda x: np.squeeze(x, axis=1),
        lambda x: np.tile(x, 2),
        lambda x: np.tile(x, (2, 1, 1, 3)),
        lambda x: np.repeat(x, 2),
        lambda x: np.repeat(x, [2, 0, 1], axis=2),
        lambda x: np.roll(x, 2),
        lambda x: np.roll(x, 1, axis=2),
        lambda x: np.flip(x),
        lambda x: np.flip(x, axis=0),
        lambda x: np.sort(x, axis=None),
        lambda x: np.argsort(x),
        lambda x: np.take(x, [0, 5]),
        lambda x: np.take(x, [0, 1], axis=2),
        lambda x: np.split(x, [1, 2], axis=2)[1],
        lambda x: np.pad(x, 1),
        lambda x: np.pad(x, [(0, 0), (0, 0), (1, 2)], mode="reflect"),
    ],
)
def test_numpy_functions_build_nodes(f: Any) -> None:
    v = np.random.default_rng(1).permutation(6).reshape(2, 1, 3).astype(float)
    x = placeholder("float64", v.shape)
    got, want = evaluate(f(x), {x: v}), f(v)
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)


def test_what_is_known_of_a_large_result_is_not_worked_out() -> None:
    """Sizes are known values of a few elements: a long tile is no such."""
    with Graph().as_default():
        peak = traced_peak(lambda: a.tile([1, 2], [2**22]))
    assert peak < 2**20
