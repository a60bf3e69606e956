"""Records of loops, branches and functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.graphlib.gradients import gradients
from dagrad.ops import branching, looping
from dagrad.ops._build import create
from dagrad.ops.assignment import assign_add
from dagrad.ops.core import identity, shape
from dagrad.ops.creation import of_shape, zeros
from dagrad.ops.elementwise import multiply
from dagrad.ops.gather import add_to_rows
from dagrad.ops.history_rows import EVEN, SWAP, row, rows
from dagrad.ops.random import random_uniform
from dagrad.ops.reduction import reduce_sum
from dagrad.ops.state import Variable
from dagrad.ops.transcendental import sin, tanh

FLOATS = ("float32", "float64")


def powers(x: Any) -> Any:
    """x * sin(...x * sin(x)), three times."""
    return looping.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, x * sin(y)), [0, x]
    )[1]


def powers_np(x: Any) -> Any:
    y = x
    for _ in range(3):
        y = x * np.sin(y)
    return y


def recurrence(h: Any, xs: Any, w: Any) -> Any:
    return looping.scan(lambda h, x: tanh(h * w + x), xs, h)


def recurrence_np(h: Any, xs: Any, w: Any) -> Any:
    out = []
    for x in xs:
        h = np.tanh(h * w + x)
        out.append(h)
    return np.stack(out)


def chosen(flag: Any, x: Any, y: Any) -> Any:
    return branching.cond(flag, lambda: sin(x) * y, lambda: x * x)


def called(x: Any, y: Any) -> Any:
    f = branching.function(lambda a, b: sin(a) * b)
    return f(x, f(y, x))


def recomputed(x: Any) -> Any:
    f = branching.recompute_grad(lambda a: tanh(sin(a) * a))
    return f(f(x))


def unit_np(a: Any) -> Any:
    return np.tanh(np.sin(a) * a)


def slope_in_segments(xs: Any, w: Any) -> Any:
    """d/dw of h_n, where h_t = sin(h_(t-1) w + x_t) and h_0 = w."""
    step = lambda h, x: sin(h * w + x)  # noqa: E731
    return gradients(looping.foldl(step, xs, w, checkpoint_every=2), w)[0]


def slope_np(xs: Any, w: Any) -> Any:
    h, d = w, np.ones_like(w)
    for x in xs:
        h, d = np.sin(h * w + x), np.cos(h * w + x) * (d * w + h)
    return d


def with_effects(x: Any) -> Any:
    """A loop that draws, a branch that writes a variable, a function that does both."""
    v = Variable(zeros((), "float64"), trainable=False)

    def body(i: Any, y: Any) -> Any:
        return i + 1, y + random_uniform([], dtype="float64")

    looping.while_loop(lambda i, y: i < 3, body, [0, zeros((), "float64")])
    flag = reduce_sum(x) < 1e9
    branching.cond(flag, lambda: assign_add(v, 1.0), lambda: v.read_value())
    branching.function(lambda: assign_add(v, random_uniform([], dtype="float64")))()
    return identity(x)


RECORDS = [
    Record(
        ("StatefulLoop", "StatefulCase", "StatefulCall", "BodyInput", "BodyVariable"),
        with_effects,
        (Arg((3,)),),
        lambda x: x,
        dtypes=FLOATS,
        order=0,
    ),
    Record(
        ("Loop",),
        powers,
        (Arg((3,)),),
        powers_np,
        dtypes=FLOATS,
        exact=False,
        name="while",
    ),
    Record(
        ("Loop",),
        recurrence,
        (Arg((3,)), Arg((4, 3)), Arg((3,))),
        recurrence_np,
        dtypes=FLOATS,
        exact=False,
        name="scan",
    ),
    Record(
        ("Loop",),
        lambda xs, w: looping.map_fn(lambda x: multiply(sin(x), w), xs),
        (Arg((4, 3)), Arg((3,))),
        lambda xs, w: np.sin(xs) * w,
        dtypes=FLOATS,
        exact=False,
        name="map",
    ),
    Record(
        ("Loop",),
        lambda xs: looping.foldr(lambda a, x: sin(a) + x, xs),
        (Arg((4, 3)),),
        lambda xs: np.sin(np.sin(np.sin(xs[3]) + xs[2]) + xs[1]) + xs[0],
        dtypes=FLOATS,
        exact=False,
        name="foldr",
    ),
    Record(
        ("Case",),
        chosen,
        (Arg((), 1, 2, dtype="bool"), Arg((3,)), Arg((3,))),
        lambda f, x, y: np.sin(x) * y if f else x * x,
        dtypes=FLOATS,
        exact=False,
    ),
    Record(
        ("Call",),
        called,
        (Arg((3,)), Arg((3,))),
        lambda x, y: np.sin(x) * (np.sin(y) * x),
        dtypes=FLOATS,
        exact=False,
    ),
    Record(
        ("RecomputedCall",),
        recomputed,
        (Arg((3,)),),
        lambda x: unit_np(unit_np(x)),
        dtypes=FLOATS,
        exact=False,
    ),
    Record(
        ("CheckpointedGradient",),
        slope_in_segments,
        (Arg((5, 3)), Arg((3,))),
        slope_np,
        dtypes=FLOATS,
        exact=False,
    ),
    Record(
        ("FirstTrue",),
        lambda a, b: branching.case(
            [(a > 10, lambda: a), (b > -10, lambda: b)], default=lambda: a
        ),
        (Arg(()), Arg(())),
        lambda a, b: b,
        dtypes=FLOATS,
        exact=False,
    ),
    Record(
        ("AddRows",),
        add_to_rows,
        (Arg((4, 3)), Arg((5,), 0, 3, dtype="int32"), Arg((5, 3))),
        lambda t, i, v: t + np.eye(4)[i].T @ v,
        dtypes=FLOATS,
        exact=False,
    ),
    Record(
        ("Rows", "RowsGrad"),
        lambda x: rows(rows(x, 1, None), None, None, -1),
        (Arg((4, 3)),),
        lambda x: x[:0:-1],
        dtypes=FLOATS,
    ),
    Record(
        ("Rows",),
        lambda x: row(x, -1),
        (Arg((4, 3)),),
        lambda x: x[-1],
        dtypes=FLOATS,
        name="one",
    ),
    Record(
        ("SwapRows",),
        lambda x: create(SWAP, (x,), {"axis": 1}),
        (Arg((2, 3, 4)),),
        lambda x: x.swapaxes(1, 2),
        dtypes=FLOATS,
    ),
    Record(
        ("Even",),
        lambda x: create(EVEN, (x,)),
        (Arg((4, 3)),),
        lambda x: x,
        dtypes=FLOATS,
    ),
    Record(
        ("OfShape",),
        lambda x: reduce_sum(of_shape(shape(x), x)),
        (Arg((2, 3)),),
        lambda x: np.zeros((), x.dtype),
        dtypes=FLOATS,
        exact=False,
        order=0,
    ),
]
