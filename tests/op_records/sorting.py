"""Records of sorts, top_k, unique and searches."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import sorting as o

NUMBERS = ("int32", "uint8", "float32", "float64")


def apart(rng: Any, shape: Any, dtype: Any) -> Any:
    """Numbers that differ by more than a difference quotient's step."""
    return rng.permutation(int(np.prod(shape))).reshape(shape) / 4


def ties(rng: Any, shape: Any, dtype: Any) -> Any:
    return rng.integers(0, 3, shape)


X = Arg((2, 3, 5), sample=apart)
TIES = Arg((4, 6), sample=ties)
SOME = Arg((7,), sample=ties)


def value(of: Any) -> Arg:
    array = np.array(of)
    return Arg(
        array.shape,
        dtype="int32",
        sample=lambda rng, shape, d: array.astype(d),
        differentiable=False,
    )


def backwards(x: Any, axis: int) -> Any:
    return np.flip(np.sort(x, axis), axis)


def descending(x: Any) -> Any:
    """Stable descending order by sorting (-value, position) pairs."""
    rows = [sorted(range(len(r)), key=lambda i: (-int(r[i]), i)) for r in x]
    return np.array(rows, np.int32)


def greatest(k: int) -> Any:
    def reference(x: Any, *_: Any) -> Any:
        order = descending(x.reshape(-1, x.shape[-1]) * 4)[:, :k]
        order = order.reshape(*x.shape[:-1], k)
        return [np.take_along_axis(x, order, -1), order]

    return reference


def distinct(x: Any) -> Any:
    values = list(dict.fromkeys(x.tolist()))
    index = [values.index(v) for v in x.tolist()]
    counts = [x.tolist().count(v) for v in values]
    return [
        np.array(values, x.dtype),
        np.array(index, np.int32),
        np.array(counts, np.int32),
    ]


def without(x: Any, y: Any) -> Any:
    keep = [i for i, v in enumerate(x.tolist()) if v not in y.tolist()]
    return [x[keep], np.array(keep, np.int32)]


def rowwise(a: Any, v: Any) -> Any:
    rows = [np.searchsorted(r, s, "right") for r, s in zip(a, v)]
    return np.array(rows, np.int32)


RECORDS = [
    Record(("Sort", "ArgSort"), o.sort, (X,), np.sort),
    Record(
        ("Sort",), lambda x: o.sort(x, 1), (X,), lambda x: np.sort(x, 1), name="axis"
    ),
    Record(
        ("Sort",),
        lambda x: o.sort(x, 0, "DESCENDING"),
        (X,),
        lambda x: backwards(x, 0),
        name="descending",
    ),
    Record(("Sort",), o.sort, (TIES,), np.sort, name="ties", order=0, dtypes=NUMBERS),
    Record(
        ("ArgSort",),
        o.argsort,
        (TIES,),
        lambda x: np.argsort(x, kind="stable").astype(np.int32),
        order=0,
        dtypes=NUMBERS,
    ),
    Record(
        ("ArgSort",),
        lambda x: o.argsort(x, direction="DESCENDING"),
        (TIES,),
        descending,
        name="descending",
        order=0,
        dtypes=NUMBERS,
    ),
    Record(("TopKV2",), lambda x: o.top_k(x, 3), (X,), greatest(3)),
    Record(("TopKV2",), o.top_k, (X,), greatest(1), name="one"),
    Record(
        ("TopKV2",), o.top_k, (X, value(2)), greatest(2), name="tensor", exact=False
    ),
    Record(
        ("TopKV2",),
        lambda x: o.top_k(x, 4),
        (TIES,),
        greatest(4),
        name="ties",
        order=0,
        dtypes=NUMBERS,
    ),
    Record(
        ("UniquePositions",),
        o.unique_with_counts,
        (SOME,),
        distinct,
        exact=False,
        dtypes=NUMBERS,
        order=0,
    ),
    Record(
        ("UniquePositions",),
        lambda x: o.unique(x),
        (Arg((7,), sample=apart),),
        lambda x: distinct(x)[:2],
        name="all different",
        exact=False,
    ),
    Record(
        ("ListDiffPositions",),
        lambda x, y: o.setdiff1d(x, y),
        (SOME, Arg((2,), 1, 1)),
        without,
        exact=False,
        dtypes=NUMBERS,
        order=0,
    ),
    Record(
        ("SearchSorted",),
        o.searchsorted,
        (Arg((9,), sample=lambda *a: np.sort(ties(*a))), TIES),
        lambda a, v: np.searchsorted(a, v).astype(np.int32),
        dtypes=NUMBERS,
        order=0,
    ),
    Record(
        ("SearchSorted",),
        lambda a, v: o.searchsorted(a, v, "right"),
        (Arg((4, 9), sample=lambda *a: np.sort(ties(*a))), TIES),
        rowwise,
        name="rows",
        dtypes=NUMBERS,
        order=0,
    ),
    Record(
        ("InvertPermutation",),
        o.invert_permutation,
        (value([2, 0, 3, 1]),),
        lambda p: np.argsort(p).astype(np.int32),
        dtypes=("int32",),
    ),
]
