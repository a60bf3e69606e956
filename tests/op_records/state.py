"""Records of variables and of what writes them.

Each record writes its first input into a variable of unknown shape, and then
works on that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import scatter_state as sc
from dagrad.ops import state
from dagrad.ops.core import cast, identity
from dagrad.ops.creation import zeros
from dagrad.ops.initialization import (
    report_uninitialized_variables,
    variables_initializer,
)

X = Arg((4, 3))
INDICES = Arg((3,), 0, 3, dtype="int32")
NUMBERS = ("int32", "float32", "float64")


def fresh(dtype: Any) -> state.Variable:
    """A variable of any shape, without a value."""
    return state.Variable(zeros((), dtype), validate_shape=False, dtype=dtype)


def stored(x: Any) -> Any:
    """A variable that holds ``x``, after the write."""
    return state.assign(fresh(x.dtype), x, validate_shape=False)


def update(type: str, build: Any, reference: Any) -> Record:
    return Record(
        (type, "Assign", "VariableV2"),
        lambda x, d: build(stored(x), d),
        (X, Arg((4, 3))),
        reference,
        dtypes=NUMBERS,
        order=0,
    )


def looped(
    function: Callable[[Any, Any], Any], first: int
) -> Callable[[Any, Any, Any], Any]:
    """The definition of a scatter: one index after the other."""

    def reference(x: Any, indices: Any, updates: Any) -> Any:
        x = x.copy()
        for where in np.ndindex(indices.shape[:first]):
            key = tuple(np.atleast_1d(indices[where]))
            x[key] = function(x[key], updates[where])
        return x

    return reference


def toward_zero(a: Any, b: Any) -> Any:
    q = np.true_divide(a, b)
    return np.trunc(q) if a.dtype.kind == "i" else q


ROWS = (
    ("ScatterUpdate", sc.scatter_update, lambda a, b: b),
    ("ScatterAdd", sc.scatter_add, np.add),
    ("ScatterSub", sc.scatter_sub, np.subtract),
    ("ScatterMul", sc.scatter_mul, np.multiply),
    ("ScatterDiv", sc.scatter_div, toward_zero),
    ("ScatterMin", sc.scatter_min, np.minimum),
    ("ScatterMax", sc.scatter_max, np.maximum),
)
ELEMENTS = (
    ("ScatterNdUpdate", sc.scatter_nd_update, lambda a, b: b),
    ("ScatterNdAdd", sc.scatter_nd_add, np.add),
    ("ScatterNdSub", sc.scatter_nd_sub, np.subtract),
)


def rows(width: tuple[int, ...], shape: tuple[int, ...], name: str) -> list[Record]:
    return [
        Record(
            (type,),
            lambda x, i, u, build=build: build(stored(x), i, u),
            (
                Arg((4, *width), -9, 9),
                Arg(shape, 0, 3, dtype="int32"),
                Arg((*shape, *width), 1, 4),
            ),
            looped(function, len(shape)),
            name=name,
            dtypes=NUMBERS,
            order=0,
        )
        for type, build, function in ROWS
    ]


def elements(depth: int, name: str) -> list[Record]:
    return [
        Record(
            (type,),
            lambda x, i, u, build=build: build(stored(x), i, u),
            (
                Arg((3, 3, 2)),
                Arg((5, depth), 0, 1, dtype="int32"),
                Arg((5, *(3, 3, 2)[depth:])),
            ),
            looped(function, 1),
            name=name,
            dtypes=NUMBERS,
            order=0,
        )
        for type, build, function in ELEMENTS
    ]


def is_set(x: Any) -> Any:
    """Of two variables, only the first one gets a value."""
    a, b = fresh(x.dtype), fresh(x.dtype)
    with a.graph.control_dependencies([state.assign(a, x, validate_shape=False)]):
        return [state.is_variable_initialized(v) for v in (a, b)]


def values_or_initial(x: Any) -> Any:
    """A variable without a value, and one that got one before."""
    a = state.Variable(x, validate_shape=False)
    b = state.Variable(x * x, validate_shape=False)
    b.set_shape(x.shape)
    a.set_shape(x.shape)
    other = state.assign(b, x + x)
    with a.graph.control_dependencies([other]):
        after = state.create(state.INITIALIZED_VALUE, (b._variable, x))
    return [a.initialized_value(), after]


def missing(x: Any) -> Any:
    a = state.Variable(zeros((2,), x.dtype), name="a")
    b = state.Variable(zeros((2,), x.dtype), name="b")
    return report_uninitialized_variables([a, b])


def in_order(x: Any) -> Any:
    """Initial values that read other variables."""
    a = state.Variable(x, validate_shape=False)
    b = state.Variable(a + a, validate_shape=False)
    c = state.Variable(b.initialized_value() * a, validate_shape=False)
    init = variables_initializer([c, b, a])
    with a.graph.control_dependencies([init]):
        return cast(identity(c._variable), x.dtype)


RECORDS = [
    Record(
        ("Assign", "VariableV2"),
        stored,
        (X,),
        lambda x: x,
        dtypes=("bool", "complex64", *NUMBERS),
        order=0,
    ),
    update("AssignAdd", state.assign_add, np.add),
    update("AssignSub", state.assign_sub, np.subtract),
    Record(
        ("IsVariableInitialized",),
        is_set,
        (X,),
        lambda x: [np.array(True), np.array(False)],
        order=0,
    ),
    Record(
        ("InitializedValue",),
        values_or_initial,
        (X,),
        lambda x: [x, x + x],
        order=0,
    ),
    Record(
        ("ReportUninitialized",),
        missing,
        (X,),
        lambda x: np.array([b"a", b"b"], object),
        order=0,
        exact=False,
    ),
    Record(
        ("Assign",),
        in_order,
        (X,),
        lambda x: (x + x) * x,
        name="initial-values-in-order",
        order=0,
        exact=False,
    ),
    *rows((), (6,), "elements"),
    *rows((3,), (2, 3), "rows"),
    *rows((64,), (5,), "wide"),
    *elements(1, "slices"),
    *elements(3, "elements"),
]
