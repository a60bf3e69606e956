"""Reductions by label, and counts."""

from __future__ import annotations

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import counting, segments
from dagrad.ops._build import create
from dagrad.ops.segment_products import SEGMENT_CUMPROD

NUMBERS = ("int32", "float32", "float64", "complex128")
FLOATS = ("float16", "float32", "float64")


def _fixed(values):
    """Always the same integers."""
    array = np.asarray(values)
    return Arg(array.shape, dtype="int32", sample=lambda rng, shape, dtype: array)


SORTED = _fixed([0, 0, 1, 1, 1, 3])
MIXED = _fixed([3, 0, -1, 1, 0, 3])
NESTED = _fixed([[1, 0], [2, 1], [-1, 1]])


def _distinct(rng, shape, dtype):
    n = int(np.prod(shape))
    return ((rng.permutation(n) + 0.5) / n * 4 - 2).reshape(shape)


def _with_zeros(rng, shape, dtype):
    x = rng.uniform(0.5, 2, shape)
    x[0], x[1, 0], x[2, 1] = 0, 0, 0
    return x


def _by_label(f, empty, count):
    """The definition: f over the rows of each label."""

    def reference(x, ids):
        rows = x.reshape(ids.size, *x.shape[ids.ndim :])
        flat = ids.reshape(-1)
        out = []
        for s in range(count):
            mine = rows[flat == s]
            full = np.full(rows.shape[1:], empty(x.dtype), x.dtype)
            out.append(f(mine, 0).astype(x.dtype) if len(mine) else full)
        return np.stack(out)

    return reference


def _zero(dtype):
    return 0


def _one(dtype):
    return 1


def _lowest(dtype):
    return np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min


def _highest(dtype):
    return np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max


def _root(x, axis):
    return np.sum(x, axis) / np.sqrt(len(x))


def _near_one(rng, shape, dtype):
    return rng.choice([-1, 1], shape) * rng.uniform(0.8, 1.2, shape)


def _edges(n, starts):
    """Which of n rows begin a segment."""
    edge = np.isin(np.arange(n), starts)
    return Arg((n,), dtype="bool", sample=lambda rng, shape, dtype: edge)


def _running(x, edge, reverse):
    """The definition: each row is the product of those before it."""
    if reverse:
        return _running(x[::-1], edge[::-1], False)[::-1]
    out = np.ones_like(x)
    for i in range(1, len(x)):
        if not edge[i]:
            out[i] = out[i - 1] * x[i - 1]
    return out


X = Arg((6, 2))
DISTINCT = Arg((6, 2), sample=_distinct)

RECORDS = [
    Record(
        ("SegmentSum", "SegmentGather", "UnsortedSegmentSum"),
        segments.segment_sum,
        (X, SORTED),
        _by_label(np.sum, _zero, 4),
        dtypes=NUMBERS,
        exact=False,
    ),
    Record(
        ("SegmentSum", "SegmentCounts"),
        segments.segment_mean,
        (X, SORTED),
        _by_label(np.mean, _zero, 4),
        name="mean",
        exact=False,
    ),
    Record(
        ("SegmentProd", "SegmentOrder", "SegmentCumprod"),
        segments.segment_prod,
        (X, SORTED),
        _by_label(np.prod, _one, 4),
        dtypes=NUMBERS,
        exact=False,
    ),
    Record(
        ("SegmentProd",),
        segments.segment_prod,
        (Arg((6, 2), sample=_with_zeros), SORTED),
        _by_label(np.prod, _one, 4),
        name="zeros",
        order=3,
        exact=False,
    ),
    *[
        Record(
            ("SegmentCumprod",),
            lambda x, edge, r=reverse: create(
                SEGMENT_CUMPROD, (x, edge), {"reverse": r}
            ),
            (Arg((n, *rest), sample=sample), _edges(n, starts)),
            lambda x, edge, r=reverse: _running(x, edge, r),
            name=f"{n} {rest} from {starts}, reverse {reverse}",
            dtypes=("float16", "float32", "float64", "complex128"),
            order=2 if n < 10 else 1,
        )
        for n, rest, starts, sample in (
            (6, (), (0, 1, 3), None),
            (6, (2,), (), None),
            (7, (2,), (0, 4), _with_zeros),
            (50, (), (0, 2, 5), _near_one),
        )
        for reverse in (False, True)
    ],
    Record(
        ("SegmentMax",),
        segments.segment_max,
        (DISTINCT, SORTED),
        _by_label(np.max, _zero, 4),
        exact=False,
    ),
    Record(
        ("SegmentMin",),
        segments.segment_min,
        (DISTINCT, SORTED),
        _by_label(np.min, _zero, 4),
        exact=False,
    ),
    *[
        Record(
            (type,),
            lambda x, ids, f=f, n=n: f(x, ids, n),
            ((DISTINCT if distinct else X) if n == 4 else Arg((3, 2, 2)), ids),
            _by_label(reference, empty, n),
            name=f"{name} {n}",
            dtypes=dtypes,
        )
        for type, name, f, reference, empty, distinct, dtypes in (
            (
                "UnsortedSegmentSum",
                "sum",
                segments.unsorted_segment_sum,
                np.sum,
                _zero,
                False,
                NUMBERS,
            ),
            (
                "UnsortedSegmentProd",
                "prod",
                segments.unsorted_segment_prod,
                np.prod,
                _one,
                False,
                NUMBERS,
            ),
            (
                "UnsortedSegmentMax",
                "max",
                segments.unsorted_segment_max,
                np.max,
                _lowest,
                True,
                FLOATS,
            ),
            (
                "UnsortedSegmentMin",
                "min",
                segments.unsorted_segment_min,
                np.min,
                _highest,
                True,
                FLOATS,
            ),
            (
                "UnsortedSegmentSum",
                "mean",
                segments.unsorted_segment_mean,
                np.mean,
                _zero,
                False,
                ("float32", "float64"),
            ),
            (
                "UnsortedSegmentSum",
                "sqrt_n",
                segments.unsorted_segment_sqrt_n,
                _root,
                _zero,
                False,
                ("float32", "float64"),
            ),
        )
        for n, ids in ((4, MIXED), (3, NESTED))
    ],
    Record(
        ("UnsortedSegmentProd",),
        lambda x, ids: segments.unsorted_segment_prod(x, ids, 4),
        (Arg((6, 2), sample=_with_zeros), MIXED),
        _by_label(np.prod, _one, 4),
        name="zeros",
        order=3,
    ),
    Record(
        ("UnsortedSegmentSum",),
        lambda x, ids: segments.unsorted_segment_sum(x, ids, 4),
        (Arg((6,)), MIXED),
        _by_label(np.sum, _zero, 4),
        name="numbers",
        dtypes=NUMBERS,
    ),
    Record(
        ("Bincount",),
        counting.bincount,
        (_fixed([[1, 4], [1, 0]]),),
        lambda x: np.bincount(x.reshape(-1)).astype(np.int32),
        dtypes=("int32",),
        order=0,
        exact=False,
    ),
    Record(
        ("Bincount",),
        lambda x, w: counting.bincount(x, w, 3, 3),
        (_fixed([1, 4, 1, 0]), Arg((4,))),
        lambda x, w: np.bincount(x, w)[:3],
        name="weights",
    ),
    Record(
        ("HistogramFixedWidth",),
        lambda x: counting.histogram_fixed_width(x, [-1.0, 1.0], 5),
        (Arg((20,)),),
        lambda x: np.histogram(np.clip(x, -1, 1), 5, (-1, 1))[0].astype(np.int32),
        order=0,
    ),
]
