"""Records of the ops that graphs, derivatives and plans stand on."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import core as c
from dagrad.ops._build import constant, create
from dagrad.ops.grouping import no_op

MATRIX = Arg((2, 3))
ALL = ("float32", "float64", "int32", "bool", "complex64")


def pulled(x: Any, like: Any) -> Any:
    """SumTo, the transpose of broadcasting, through the builder that rules use."""
    return c.sum_to(x, like)


def pulled_reference(x: Any, like: Any) -> Any:
    lead = x.ndim - like.ndim
    x = x.sum(axis=tuple(range(lead)), dtype=x.dtype)
    kept = tuple(i for i, n in enumerate(like.shape) if n == 1 and x.shape[i] != 1)
    return x.sum(axis=kept, keepdims=True, dtype=x.dtype)


def after_nothing(x: Any) -> Any:
    """A value that waits for an operation which does nothing."""
    gate = no_op()
    with x.graph.control_dependencies([gate]):
        return c.identity(x)


def half(x: Any) -> Any:
    """x + stop_gradient(x): the derivative sees one of the two."""
    return c.add_n([x, c.stop_gradient(x)])


RECORDS = [
    Record(("Const",), lambda x: c.add_n([x, constant(np.full((2, 3), 1.5), x.dtype)]),
           (MATRIX,), lambda x: x + x.dtype.type(1.5)),
    Record(("Placeholder", "Identity"), c.identity, (MATRIX,), lambda x: x,
           dtypes=ALL[:2]),
    Record(("Identity",), c.identity, (MATRIX,), lambda x: x, name="plain",
           dtypes=ALL[2:4], order=0),
    Record(("PlaceholderWithDefault",),
           lambda x: c.placeholder_with_default(x, x.shape.as_list()),
           # A feed may have any shape that fits, so the input's says nothing.
           (MATRIX,), lambda x: x, exact=False),
    Record(("StopGradient",), c.stop_gradient, (MATRIX,), lambda x: x, order=0),
    Record(("NoOp",), after_nothing, (MATRIX,), lambda x: x),
    *(
        Record(("Cast",), lambda x, to=to: c.cast(x, to), (MATRIX,),
               lambda x, to=to: x.astype(to), name=to, dtypes=dtypes, order=order)
        for to, dtypes, order in [
            ("float64", ("float32",), 2),
            ("int32", ("float32", "float64"), 0),
            ("bool", ("float32", "int32"), 0),
            ("float32", ("int32", "bool"), 0),
            ("complex128", ("float64",), 0),
        ]
    ),
    Record(("Cast",), lambda x: c.cast(c.cast(x, "complex128"), x.dtype), (MATRIX,),
           lambda x: x, name="there and back", dtypes=("float64",)),
    *(
        Record(("Shape",), lambda x, t=t: c.shape(x, out_type=t), (Arg(s),),
               lambda x, t=t: np.array(x.shape, t), name=f"{t} {len(s)}", order=0)
        for t, s in [("int32", (2, 3)), ("int64", (0, 4)), ("int32", ())]
    ),
    Record(("Size",), c.size, (MATRIX,), lambda x: np.array(x.size, np.int32), order=0),
    Record(("Rank",), c.rank, (MATRIX,), lambda x: np.array(x.ndim, np.int32), order=0),
    *(
        Record(("SumTo",), pulled, (Arg(a), Arg(b, differentiable=False)),
               pulled_reference, name=f"{a} to {b}")
        for a, b in [
            ((4, 2, 3), (2, 3)),
            ((4, 2, 3), (1, 3)),
            ((2, 3), ()),
            ((2, 3), (2, 3)),
            ((0, 3), (3,)),
            ((2, 1, 3), (1, 1, 1)),
        ]
    ),
    *(
        Record(("BroadcastTo", "SumTo"),
               lambda x, to=to: c.broadcast_to(x, to), (Arg(a),),
               lambda x, to=to: np.broadcast_to(x, to), name=f"{a} to {to}")
        for a, to in [
            ((3,), (2, 3)),
            ((2, 1), (4, 2, 3)),
            ((), (2, 2)),
            ((2, 3), (2, 3)),
            ((1,), (0,)),
        ]
    ),
    Record(("ZerosLike",), lambda x: c.zeros_like(x, optimize=False), (MATRIX,),
           np.zeros_like, order=0, dtypes=ALL),
    Record(("OnesLike",), lambda x: c.ones_like(x, dtype="float64", optimize=False),
           (MATRIX,), lambda x: np.ones(x.shape), order=0, dtypes=ALL),
    *(
        Record(("AddN",), lambda *xs: c.add_n(list(xs)), (MATRIX,) * n,
               lambda *xs: sum(xs[1:], xs[0]), name=str(n))
        for n in (2, 3, 5)
    ),
    Record(("AddN",), half, (MATRIX,), lambda x: x + x, name="stopped", order=0),
    Record(("AddN",), lambda x: create(c.ADD_N, (x,)), (MATRIX,), lambda x: x,
           name="one"),
    Record(("AddN",), lambda x, y: c.add_n([x, y, x, x]), (MATRIX, MATRIX),
           lambda x, y: x + y + x + x, name="repeated"),
]  # fmt: skip
