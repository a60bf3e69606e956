"""Records of the ops that TensorArrays are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import rows
from dagrad.ops._build import create
from dagrad.ops.gather import gather

FLOATS = ("float32", "float64", "complex128")
ALL = (*FLOATS, "int32", "bool")


def replaced(array: Any, index: Any, put: Any) -> Any:
    array[index] = put
    return array


def distinct(rng: Any, shape: Any, dtype: Any) -> Any:
    return rng.permutation(4)[: shape[0]].astype(dtype)


def empty_rows(size: Any, index: Any, put: Any) -> Any:
    attrs = {"dtype": put.dtype, "element": None}
    return rows.set_rows(create(rows.UNSHAPED, (size,), attrs), index, put)


def split(value: Any, lengths: Any, width: Any) -> Any:
    return create(rows.SPLIT_ROWS, (value, lengths, width))


def split_np(value: Any, lengths: Any, width: Any) -> Any:
    made = np.zeros((len(lengths), width, *value.shape[1:]), value.dtype)
    start = 0
    for i, n in enumerate(lengths):
        made[i, :n] = value[start : start + n]
        start += n
    return made


def given(*values: int) -> Any:
    return lambda rng, shape, dtype: np.array(values, dtype).reshape(shape)


INDEX = Arg((), 0, 3, dtype="int32")
LENGTHS = Arg((3,), dtype="int32", sample=given(2, 0, 3))

RECORDS = [
    Record(
        ("SetRows",),
        rows.set_rows,
        (Arg((4, 2)), INDEX, Arg((2,))),
        replaced,
        dtypes=ALL,
        name="one",
    ),
    Record(
        ("SetRows",),
        rows.set_rows,
        (Arg((4,)), INDEX, Arg(())),
        replaced,
        dtypes=ALL,
        name="scalar",
    ),
    Record(
        ("SetRows",),
        rows.set_rows,
        (Arg((4, 2)), Arg((3,), dtype="int32", sample=distinct), Arg((3, 2))),
        replaced,
        dtypes=ALL,
        name="several",
    ),
    Record(
        ("Unshaped", "SetRows"),
        empty_rows,
        (Arg((), dtype="int32", sample=given(4)), INDEX, Arg((2,))),
        lambda n, i, row: replaced(np.zeros((n, *row.shape), row.dtype), i, row),
        dtypes=FLOATS,
        exact=False,
        name="first",
    ),
    Record(
        ("SetRows",),
        lambda a, i, r: rows.set_rows(a, i, r, grow=True),
        (Arg((3, 2)), Arg((), dtype="int32", sample=given(3)), Arg((2,))),
        lambda a, i, r: replaced(np.concatenate([a, np.zeros_like(a)]), i, r),
        dtypes=FLOATS,
        exact=False,
        name="more",
    ),
    Record(
        ("SetRows",),
        lambda a, i, r: rows.set_rows(a, i, r, grow=True),
        (Arg((1, 2)), Arg((2,), dtype="int32", sample=given(4, 0)), Arg((2, 2))),
        lambda a, i, r: replaced(np.zeros((5, 2), a.dtype), i, r),
        dtypes=FLOATS,
        exact=False,
        name="many_more",
    ),
    Record(
        ("SetRows",),
        lambda a, i, r: rows.set_rows(a, i, r, grow=True),
        (Arg((4, 2)), INDEX, Arg((2,))),
        replaced,
        dtypes=FLOATS,
        exact=False,
        name="enough",
    ),
    Record(
        ("IndexBelow",),
        lambda a, i, n: gather(a, create(rows.INDEX_BELOW, (i, n))),
        (Arg((4, 2)), INDEX, Arg((), dtype="int32", sample=given(4))),
        lambda a, i, n: a[i],
        dtypes=FLOATS,
    ),
    Record(
        ("SizedRows",),
        lambda a, n: create(rows.SIZED_ROWS, (a, n)) * 2,
        (Arg((4, 2)), Arg((), dtype="int32", sample=given(4))),
        lambda a, n: a * 2,
        dtypes=FLOATS,
    ),
    Record(
        ("SplitRows", "JoinRows"),
        split,
        (Arg((5, 2)), LENGTHS, Arg((), dtype="int32", sample=given(4))),
        split_np,
        dtypes=FLOATS,
        exact=False,
    ),
    Record(
        ("JoinRows", "SplitRows"),
        lambda a, n: create(rows.JOIN_ROWS, (a, n)),
        (Arg((3, 4, 2)), LENGTHS),
        lambda a, n: np.concatenate([row[:k] for row, k in zip(a, n)]),
        dtypes=FLOATS,
        exact=False,
    ),
]
