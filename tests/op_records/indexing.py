"""Records of indexing, gathers, scatters, masks and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import gather as g
from dagrad.ops import indexing as ix
from dagrad.ops import partition as p
from dagrad.ops import scatter as s
from dagrad.ops.array import stack

X = Arg((3, 4, 5))
M = Arg((4, 3))
EVERY = ("int32", "bool", "float32", "float64", "complex128")


def value(of: Any, dtype: str = "int32") -> Arg:
    """An integer (or bool) input with this value."""
    array = np.array(of)
    return Arg(
        array.shape,
        dtype=dtype,
        sample=lambda rng, shape, d: array.astype(d),
        differentiable=False,
    )


class Key:
    """``KEY[1:, None]`` is that key."""

    def __getitem__(self, key: Any) -> Any:
        return key


KEY = Key()
VIEWS = {
    "row": KEY[1],
    "last row": KEY[-1],
    "element": KEY[1, 2, -1],
    "slices": KEY[1:, :3, ::2],
    "backwards": KEY[::-1, 3:0:-2, -1::-1],
    "negative bounds": KEY[-2:, :-1, -4:-1],
    "beyond": KEY[1:99, -99:2],
    "empty": KEY[2:1],
    "new axes": KEY[None, 1, ..., None, 2],
    "ellipsis": KEY[..., 1:3],
    "numpy integers": KEY[np.int64(1), np.int32(0) :],
}
ARRAYS = {
    "rows": KEY[[2, 0, 2]],
    "negative": KEY[[-1, 0]],
    "second axis": KEY[:, [[1, 3], [3, 0]]],
    "pairs": KEY[[0, 2, 2], [1, 1, 1]],
    "pairs apart": KEY[[0, 2], :, [1, -1]],
    "with an int": KEY[1, :, [0, 4]],
    "after new axis": KEY[None, :, [0, 1, -1]],
    "with slices": KEY[::-1, [0, 3], 1:],
    "broadcast": KEY[np.array([[0], [2]]), [1, 3, 3]],
    "last": KEY[..., np.array([4, 4, 0])],
}
# One array with known, non-negative values (after counting from the front).
GATHERED = dict.fromkeys(
    ("rows", "negative", "second axis", "last", "after new axis", "with slices"),
    "GatherV2",
)
MASK = np.array([[True, False, True], [False, False, True]])
ROW_MASK = np.array([True, False, True])


def read(key: Any) -> Any:
    return lambda x: x[key]


def gathered(params: Any, indices: Any, axis: int, batch: int) -> Any:
    """By the definition, one batch entry at a time."""
    lead = params.shape[:batch]
    parts = [np.take(params[b], indices[b], axis - batch) for b in np.ndindex(lead)]
    return np.array(parts).reshape(*lead, *parts[0].shape)


def scattered(indices: Any, updates: Any, shape: Sequence[int]) -> Any:
    out = np.zeros(shape, updates.dtype)
    np.add.at(out, tuple(np.moveaxis(indices, -1, 0)), updates)
    return out


def updated(x: Any, indices: Any, updates: Any) -> Any:
    out = x.copy()
    for i, u in zip(indices, updates):
        out[tuple(i)] = u
    return out


def added(x: Any, indices: Any, updates: Any) -> Any:
    return x + scattered(indices, updates, x.shape)


def reversed_steps(x: Any, lengths: Any) -> Any:
    out = x.copy()
    for b, n in enumerate(lengths):
        out[:n, b] = x[:n, b][::-1]
    return out


def hot(indices: Any, depth: int, on: Any = 1.0, off: Any = 0.0) -> Any:
    return np.where(np.arange(depth) == indices[..., None], on, off)


def stitched(x: Any, y: Any) -> Any:
    out = np.zeros((6, 2), x.dtype)
    out[[0, 2, 5]] = x
    out[[[1, 2], [4, 4]]] = y
    return out


POINTS = value([[0, 1], [3, 2], [0, 1]])
ROWS = value([[3], [1], [3]])
CLASSES = value([0, 2, 0, 1])


def embedding(table: Any, ids: Any) -> Any:
    """Two gathers from one table: their cotangents are added as rows."""
    rows = g.gather(table, ids)
    return stack([rows, g.gather(table, ids + 1) * rows])


def rows_record(table: Any, ids: Any) -> Any:
    return np.stack([table[ids], table[ids + 1] * table[ids]])


RECORDS = [
    *(
        Record(("StridedSlice",), read(key), (X,), read(key), name=name, dtypes=EVERY)
        for name, key in VIEWS.items()
    ),
    *(
        Record(
            (GATHERED.get(name, "AdvancedIndex"),),
            read(key),
            (X,),
            read(key),
            name="key " + name,
            dtypes=EVERY,
            dynamic=False,
        )
        for name, key in ARRAYS.items()
    ),
    Record(
        ("AdvancedIndex", "AdvancedIndexGrad"),
        lambda x, i, j: x[i, :, j],
        (X, value([[0], [-1]]), value([1, 1, 2])),
        lambda x, i, j: x[i, :, j],
        name="tensors",
    ),
    Record(
        ("StridedSlice", "StridedSliceGrad"),
        lambda x, i, n: x[i, n:0:-1, ..., :n],
        (X, value(2), value(-1)),
        lambda x, i, n: x[2, -1:0:-1, :-1],
        name="tensors",
        exact=False,
    ),
    Record(
        ("StridedSlice",),
        lambda x: ix.strided_slice(
            x, [0, 1, 2], [2, 9, -1], [1, 2, 2], begin_mask=1, shrink_axis_mask=2
        ),
        (X,),
        lambda x: x[:2, 1, 2:-1:2],
        name="masks",
    ),
    Record(
        ("StridedSlice",),
        lambda x, b, e: ix.strided_slice(x, b, e),
        (X, value([0, 1]), value([2, 3])),
        lambda x, b, e: x[0:2, 1:3],
        name="vectors",
        exact=False,
        dynamic=False,  # the lengths of the vectors must be known
    ),
    Record(
        ("Slice", "SliceGrad"),
        lambda x: ix.slice_(x, [1, 0, 2], [2, -1, 1]),
        (X,),
        lambda x: x[1:3, :, 2:3],
        dtypes=EVERY,
    ),
    Record(
        ("Slice", "SliceGrad"),
        ix.slice_,
        (X, value([1, 0, 2]), value([2, -1, 1])),
        lambda x, b, n: x[1:3, :, 2:3],
        name="tensors",
        exact=False,
    ),
    Record(
        ("MaskIndices", "GatherV2"),
        lambda x: x[MASK],
        (Arg((2, 3, 2)),),
        lambda x: x[MASK],
        name="key",
        exact=False,
        dtypes=EVERY,
        dynamic=False,
    ),
    Record(
        ("MaskIndices",),
        lambda x: x[:, ROW_MASK, ::2],
        (Arg((2, 3, 4)),),
        lambda x: x[:, ROW_MASK, ::2],
        name="key inside",
        exact=False,
        dynamic=False,
    ),
    # Gathers.
    Record(
        ("GatherV2", "ScatterRows"),
        g.gather,
        (M, value([1, 3, 1])),
        lambda x, i: x[i],
        dtypes=EVERY,
    ),
    Record(
        ("GatherV2", "ScatterRows"),
        embedding,
        (M, value([[1, 2], [0, 1]])),
        rows_record,
        name="twice",
    ),
    Record(("GatherV2",), g.gather, (M, value(2)), lambda x, i: x[i], name="scalar"),
    Record(
        ("GatherV2", "GatherGrad"),
        lambda x, i: g.gather(x, i, axis=1),
        (X, value([[1, 3], [1, 0]])),
        lambda x, i: np.take(x, i, 1),
        name="axis",
    ),
    Record(
        ("GatherV2", "GatherGrad"),
        lambda x, i: g.gather(x, i, axis=-1),
        (X, value([0, 0, 4])),
        lambda x, i: np.take(x, i, -1),
        name="last axis",
    ),
    Record(
        ("GatherV2", "GatherGrad"),
        lambda x, i: g.gather(x, i, batch_dims=1),
        (X, value([[1, 3], [1, 0], [2, 2]])),
        lambda x, i: gathered(x, i, 1, 1),
        name="batch",
    ),
    Record(
        ("GatherV2", "GatherGrad"),
        lambda x, i: g.gather(x, i, axis=2, batch_dims=1),
        (X, value([[1, 3], [1, 0], [2, 2]])),
        lambda x, i: gathered(x, i, 2, 1),
        name="batch and axis",
    ),
    Record(
        ("GatherV2", "GatherGrad"),
        g.batch_gather,
        (X, value([[1, 3], [1, 0], [2, 2]])),
        lambda x, i: gathered(x, i, 1, 1),
        name="batch_gather",
    ),
    Record(
        ("GatherV2", "ScatterRows"),
        g.gather,
        (Arg((4, 300)), value([1, 3, 1])),
        lambda x, i: x[i],
        name="wide rows",
    ),
    Record(
        ("GatherNd", "ScatterNd"),
        s.gather_nd,
        (Arg((4, 3, 2)), POINTS),
        lambda x, i: x[i[:, 0], i[:, 1]],
        dtypes=EVERY,
    ),
    Record(
        ("GatherNd",),
        s.gather_nd,
        (M, value([[[3], [1]], [[1], [1]]])),
        lambda x, i: x[i[..., 0]],
        name="rows",
    ),
    Record(
        ("GatherNd", "ScatterNd"),
        lambda x, i: s.gather_nd(x, i, batch_dims=1),
        (X, value([[[1, 2]], [[3, 4]], [[0, 0]]])),
        lambda x, i: np.stack([x[0, 1, 2], x[1, 3, 4], x[2, 0, 0]])[:, None],
        name="batch",
    ),
    # Scatters.
    Record(
        ("ScatterNd",),
        lambda i, u: s.scatter_nd(i, u, [4, 3, 2]),
        (POINTS, Arg((3, 2))),
        lambda i, u: scattered(i, u, (4, 3, 2)),
        dtypes=("int32", "float32", "float64", "complex128"),
    ),
    Record(
        ("ScatterNd",),
        s.scatter_nd,
        (ROWS, Arg((3, 2)), value([5, 2])),
        scattered,
        name="tensor",
        exact=False,
    ),
    Record(
        ("TensorScatterUpdate", "GatherNdLast", "ScatterNd"),
        s.tensor_scatter_update,
        (M, ROWS, Arg((3, 3))),
        updated,
        dtypes=("int32", "float32", "float64", "complex128"),
    ),
    Record(
        ("TensorScatterUpdate",),
        s.tensor_scatter_update,
        (M, POINTS, Arg((3,))),
        updated,
        name="elements",
    ),
    Record(
        ("ScatterNd",),
        s.tensor_scatter_add,
        (M, ROWS, Arg((3, 3))),
        added,
        name="tensor_scatter_add",
    ),
    Record(
        ("ScatterNd",),
        s.tensor_scatter_sub,
        (M, ROWS, Arg((3, 3))),
        lambda x, i, u: added(x, i, -u),
        name="tensor_scatter_sub",
    ),
    Record(
        ("ScatterRows",),
        g.scatter_rows,
        (M, value([3, 1, 3]), Arg((3, 3))),
        lambda x, i, u: scattered(i[:, None], u, x.shape),
    ),
    # Masks, classes, sequences.
    Record(
        ("MaskIndices",),
        p.boolean_mask,
        (Arg((2, 3, 2)), value(MASK, "bool")),
        lambda x, m: x[m],
        exact=False,
        dtypes=EVERY,
    ),
    Record(
        ("MaskIndices",),
        lambda x, m: p.boolean_mask(x, m, axis=1),
        (Arg((2, 3, 2)), value(ROW_MASK, "bool")),
        lambda x, m: x[:, m],
        name="axis",
        exact=False,
    ),
    Record(
        ("PartitionIndices",),
        lambda x, c: p.dynamic_partition(x, c, 4),
        (M, CLASSES),
        lambda x, c: [x[c == i] for i in range(4)],
        exact=False,
    ),
    Record(
        ("PartitionIndices",),
        lambda x, c: p.dynamic_partition(x, c, 2),
        (Arg((2, 2, 3)), value([[1, 0], [1, 1]])),
        lambda x, c: [x[c == i] for i in range(2)],
        name="two axes",
        exact=False,
    ),
    Record(
        ("StitchSize", "ScatterNd"),
        lambda x, y: p.dynamic_stitch([[0, 2, 5], [[1, 2], [4, 4]]], [x, y]),
        (Arg((3, 2)), Arg((2, 2, 2))),
        stitched,
    ),
    Record(
        ("OneHot",),
        lambda i: p.one_hot(i, 4),
        (value([[1, 0], [3, -1]]),),
        lambda i: hot(i, 4).astype("f4"),
        dtypes=("float32",),
    ),
    Record(
        ("OneHot",),
        lambda i: p.one_hot(i, 3, 5, -1, axis=0),
        (value([[1, 0], [3, -1]]),),
        lambda i: np.moveaxis(hot(i, 3, 5, -1), -1, 0).astype("i4"),
        name="axis",
        dtypes=("int32",),
    ),
    Record(
        ("OneHot",),
        lambda i, n, a, b: p.one_hot(i, n, a, b),
        (value([1, 0]), value(3), Arg(()), Arg(())),
        lambda i, n, a, b: hot(i, 3, a, b),
        name="tensors",
        exact=False,
    ),
    Record(
        ("SequenceMask",),
        lambda n: p.sequence_mask(n, 4),
        (value([[1, 0], [4, 9]]),),
        lambda n: np.arange(4) < n[..., None],
        dtypes=("int32",),
    ),
    Record(
        ("SequenceMask",),
        lambda n: p.sequence_mask(n, dtype="float32"),
        (value([2, 0, 3]),),
        lambda n: (np.arange(3) < n[..., None]).astype("f4"),
        name="open",
        dtypes=("float32",),
        exact=False,
    ),
    Record(
        ("ReverseSequence",),
        lambda x, n: p.reverse_sequence(x, n, seq_axis=0, batch_axis=1),
        (X, value([0, 1, 2, 3])),
        reversed_steps,
        dtypes=EVERY,
    ),
]
