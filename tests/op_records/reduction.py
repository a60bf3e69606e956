"""Reductions, scans and what their gradients are made of."""

from __future__ import annotations

import numpy as np
from oprecord import Arg, Record
from scipy.special import logsumexp

from dagrad.ops import extremes, reduction, scan, statistics

ALL_FLOATS = ("float16", "float32", "float64")
NUMBERS = ("int32", "float32", "float64", "complex64", "complex128")


def _distinct(rng, shape, dtype):
    """Numbers that differ by more than a difference's step."""
    n = int(np.prod(shape))
    return (rng.permutation(n) / n * 4 - 2).reshape(shape)


def _distinct_sizes(rng, shape, dtype):
    """Numbers of both signs whose sizes differ, none near zero."""
    n = int(np.prod(shape))
    sign = rng.integers(0, 2, n) * 2 - 1
    return ((rng.permutation(n) + 1) / n * 2 * sign).reshape(shape)


def _axes(builder, reference, types, args, **more):
    """One record for each kind of axis argument."""
    cases = {
        "all": {"axis": None},
        "one": {"axis": 1},
        "last": {"axis": -1},
        "two": {"axis": (0, 2)},
        "kept": {"axis": (0, -1), "keepdims": True},
        "all kept": {"axis": None, "keepdims": True},
        "none": {"axis": ()},
    }
    return [
        Record(
            types,
            lambda x, kw=kw: builder(x, **kw),
            args,
            lambda x, kw=kw: reference(x, **kw),
            name=name,
            **more,
        )
        for name, kw in cases.items()
    ]


X = (Arg((2, 3, 4)),)
SPREAD_OUT = (Arg((2, 3, 4), sample=_distinct),)


def _np_sum(x, **kw):
    return np.sum(x, dtype=x.dtype, **kw)


def _np_prod(x, **kw):
    return np.prod(x, dtype=x.dtype, **kw)


def _mean(x, **kw):
    if x.dtype.kind == "i":
        return np.trunc(np.mean(x, **kw)).astype(x.dtype)
    return np.mean(x, **kw)


def _with_zeros(rng, shape, dtype):
    x = rng.uniform(0.5, 2, shape)
    x.flat[0] = 0
    x.flat[-2:] = 0
    return x


def _norm(x, **kw):
    return np.sqrt(np.sum(np.abs(x) ** 2, **kw))


def _weighted(x, w):
    w = np.broadcast_to(w, x.shape)
    mean = np.average(x, 0, w)
    return mean, np.average((x - mean) ** 2, 0, w)


RECORDS = [
    *_axes(reduction.reduce_sum, _np_sum, ("Sum",), X, dtypes=NUMBERS),
    *_axes(reduction.reduce_mean, _mean, ("Mean",), X, dtypes=NUMBERS),
    *_axes(reduction.reduce_prod, _np_prod, ("Prod",), X, dtypes=NUMBERS, rtol=1e-5),
    *_axes(extremes.reduce_max, np.max, ("Max",), SPREAD_OUT, order=3),
    *_axes(extremes.reduce_min, np.min, ("Min",), SPREAD_OUT, order=3),
    *_axes(
        extremes.reduce_logsumexp,
        logsumexp,
        ("LogSumExp",),
        X,
        dtypes=ALL_FLOATS,
        order=3,
    ),
    *_axes(extremes.reduce_all, np.all, ("All",), X, dtypes=("bool",), order=0),
    *_axes(extremes.reduce_any, np.any, ("Any",), X, dtypes=("bool",), order=0),
    *_axes(
        extremes.count_nonzero,
        lambda x, **kw: np.asarray(np.count_nonzero(x, **kw), np.int64),
        ("CountNonzero",),
        (Arg((2, 3, 4), low=0, high=1, dtype="int32"),),
        dtypes=("int32",),
        order=0,
    ),
    Record(("Sum",), reduction.reduce_sum, (Arg((3,)),), np.sum, "half", ALL_FLOATS),
    Record(("Mean",), reduction.reduce_mean, (Arg((3,)),), np.mean, "half", ALL_FLOATS),
    Record(
        ("Sum", "Spread"),
        lambda x: reduction.reduce_sum(x, 1),
        (Arg((2, 3, 4)),),
        lambda x: np.sum(x, 1),
        name="spread",
    ),
    Record(
        ("Mean", "ReducedSize"),
        lambda x: reduction.reduce_mean(x, [0, 1]),
        (Arg((2, 3)),),
        np.mean,
        name="size",
    ),
    Record(
        ("Prod", "Cumprod", "LinearRecurrence", "Delay"),
        reduction.reduce_prod,
        (Arg((2, 3), sample=_with_zeros),),
        np.prod,
        name="zeros",
        order=3,
    ),
    Record(
        ("Prod",),
        lambda x: reduction.reduce_prod(x, 1),
        (Arg((3, 4), sample=_with_zeros),),
        lambda x: np.prod(x, 1),
        name="zeros in rows",
        order=3,
    ),
    Record(
        ("Max", "TieShare"),
        lambda x: extremes.reduce_max(x * x, 1),
        (Arg((2, 3), sample=_distinct),),
        lambda x: np.max(x * x, 1),
        name="of squares",
        order=3,
    ),
    Record(
        ("LogSumExp", "LogSumExpWeights"),
        lambda x: extremes.reduce_logsumexp(x, 1, keepdims=True),
        (Arg((2, 3)),),
        lambda x: logsumexp(x, 1, keepdims=True),
        name="weights",
        order=3,
    ),
    *[
        Record(
            (type,),
            lambda x, f=f, axis=axis, kind=kind: f(x, axis, output_type=kind),
            (Arg((3, 4)),),
            lambda x, g=g, axis=axis, kind=kind: g(x, axis).astype(kind),
            name=f"axis {axis} {kind}",
            dtypes=("float32", "int32"),
            order=0,
        )
        for type, f, g in (
            ("ArgMax", extremes.argmax, np.argmax),
            ("ArgMin", extremes.argmin, np.argmin),
        )
        for axis in (0, 1, -1)
        for kind in ("int32", "int64")
    ],
    *[
        Record(
            (type,),
            lambda x, f=f, a=axis, e=exclusive, r=reverse: f(x, a, e, r),
            (Arg((3, 4)),),
            lambda x, f=reference, a=axis, e=exclusive, r=reverse: f(x, a, e, r),
            name=f"axis {axis}, exclusive {exclusive}, reverse {reverse}",
            dtypes=NUMBERS,
        )
        for type, f, reference in (
            ("Cumsum", scan.cumsum, lambda *a: _scanned(np.cumsum, 0, *a)),
            ("Cumprod", scan.cumprod, lambda *a: _scanned(np.cumprod, 1, *a)),
        )
        for axis, exclusive, reverse in (
            (0, False, False),
            (1, True, False),
            (-1, False, True),
            (0, True, True),
        )
    ],
    Record(
        ("Cumprod", "LinearRecurrence", "Delay"),
        lambda x: scan.cumprod(x, 1),
        (Arg((3, 4), sample=_with_zeros),),
        lambda x: np.cumprod(x, 1),
        name="zeros",
        order=3,
    ),
    *[
        Record(
            ("LinearRecurrence", "Delay"),
            lambda a, b, r=reverse: scan.linear_recurrence(a, b, 0, r),
            (Arg((n, 2)), Arg((n, 2))),
            lambda a, b, r=reverse: _recurrence(a, b, r),
            name=f"{n} steps, reverse {reverse}",
            dtypes=("float64", "complex128"),
            order=2,
        )
        for n in (1, 5, 40)
        for reverse in (False, True)
    ],
    *_axes(
        statistics.reduce_euclidean_norm,
        _norm,
        ("EuclideanNorm",),
        (Arg((2, 3, 4), 0.5, 2),),
        dtypes=("float16", "float32", "float64", "complex64", "complex128"),
    ),
    *_axes(
        lambda x, axis, keepdims=False: list(
            statistics.moments(x, axis, keepdims=keepdims)
        ),
        lambda x, **kw: [np.mean(x, **kw), np.var(x, **kw)],
        ("Moments",),
        X,
        dtypes=ALL_FLOATS,
        order=3,
    ),
    *[
        Record(
            (type,),
            lambda x, kw=kw: statistics.norm(x, **kw),
            (Arg((3, 4), sample=_distinct_sizes),),
            lambda x, kw=kw: np.linalg.norm(x, **kw),
            name=f"norm {kw}",
            rtol=1e-5,
        )
        for type, kw in (
            ("Max", {"ord": np.inf, "axis": 1}),
            ("Sum", {"ord": 1, "axis": 0, "keepdims": True}),
            ("Sum", {"ord": 3, "axis": -1}),
            ("EuclideanNorm", {"ord": "fro", "axis": (0, 1)}),
            ("EuclideanNorm", {"ord": 2, "axis": 0}),
            ("Max", {"ord": 1, "axis": (0, 1)}),
            ("Max", {"ord": np.inf, "axis": (-2, -1), "keepdims": True}),
            ("Svd", {"ord": 2, "axis": (1, 0), "keepdims": True}),
        )
    ],
    Record(
        ("EuclideanNorm",),
        lambda x: statistics.reduce_std(x, 1),
        (Arg((2, 3)),),
        lambda x: np.std(x, 1),
        name="std",
    ),
    Record(
        ("Moments",),
        lambda x: statistics.reduce_variance(x, 1, True),
        (Arg((2, 3)),),
        lambda x: np.var(x, 1, keepdims=True),
        name="variance",
    ),
    Record(
        ("Sum",),
        lambda x, w: list(statistics.weighted_moments(x, [0], w)),
        (Arg((4, 2)), Arg((4, 1), 0.5, 2)),
        _weighted,
        name="weighted moments",
    ),
    Record(
        ("AddN",),
        lambda x, y: statistics.accumulate_n([x, y, x], [2, 3]),
        (Arg((2, 3)), Arg((2, 3))),
        lambda x, y: x + y + x,
        name="accumulate_n",
    ),
]


def _scanned(f, identity, x, axis, exclusive, reverse):
    x = np.flip(x, axis) if reverse else x
    y = f(x, axis, dtype=x.dtype)
    if exclusive:
        y = np.roll(y, 1, axis)
        y[tuple(0 if i == axis % x.ndim else slice(None) for i in range(x.ndim))] = (
            identity
        )
    return np.flip(y, axis) if reverse else y


def _recurrence(a, b, reverse):
    order = range(len(b))[::-1] if reverse else range(len(b))
    s, before = np.zeros_like(b), 0
    for i in order:
        s[i] = a[i] * before + b[i]
        before = s[i]
    return s
