"""Small functions of TF1 that need no operation of their own."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from .graphlib.dtypes import as_dtype, int64
from .graphlib.gradients import IndexedSlices
from .graphlib.operation import Operation
from .graphlib.shapes import TensorShape, as_dims, broadcast
from .graphlib.tensor import Tensor, as_tensor
from .ops._build import scope
from .ops.core import cast, identity
from .ops.elementwise import multiply
from .ops.extremes import argmax, argmin
from .ops.grouping import no_op
from .ops.rounding import maximum, minimum
from .ops.state import Variable

__all__ = [
    "AggregationMethod",
    "VariableAggregation",
    "VariableSynchronization",
    "arg_max",
    "arg_min",
    "broadcast_static_shape",
    "get_static_value",
    "identity_n",
    "initialize_all_tables",
    "is_tensor",
    "saturate_cast",
    "scalar_mul",
    "tables_initializer",
]


class AggregationMethod:
    """How :func:`gradients` adds up; accepted for TF1 programs."""

    ADD_N = 0
    DEFAULT = 0
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


class VariableSynchronization(Enum):
    """When copies of a variable agree; accepted for TF1 programs."""

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3


class VariableAggregation(Enum):
    """How updates of copies are joined; accepted for TF1 programs."""

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3


def arg_max(
    input: Any, dimension: Any, output_type: Any = int64, name: str | None = None
) -> Tensor:
    """:func:`argmax` with the arguments in TF1's older order."""
    return argmax(input, axis=dimension, output_type=output_type, name=name)


def arg_min(
    input: Any, dimension: Any, output_type: Any = int64, name: str | None = None
) -> Tensor:
    """:func:`argmin` with the arguments in TF1's older order."""
    return argmin(input, axis=dimension, output_type=output_type, name=name)


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Any:
    """scalar * x, where x may be an :class:`IndexedSlices`.

    Args:
        scalar: a number or a scalar tensor.
        x: (...), numbers; the result has its dtype.
        name: the name of the operation.
    """
    s = cast(scalar, x.dtype)
    if isinstance(x, IndexedSlices):
        return IndexedSlices(multiply(s, x.values, name=name), x.indices, x.like)
    return multiply(s, x, name=name)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """``value`` as ``dtype``; what it cannot hold becomes its least or greatest.

    Args:
        value: (...), real numbers.
        dtype: a real dtype.
        name: the scope of the operations.
    """
    wanted = as_dtype(dtype)
    with scope(name, "saturate_cast", value):
        t = as_tensor(value)
        limits = wanted.limits if wanted.is_integer or wanted.is_floating else None
        if limits is None or t.dtype.is_bool:
            return cast(t, wanted)
        # Limits that the old dtype rounds outwards are moved one step inwards.
        least, greatest = (t.dtype.dtype.type(limit) for limit in _inside(t, limits))
        return cast(minimum(maximum(t, least), greatest), wanted)


def _inside(t: Tensor, limits: Any) -> list[Any]:
    """The limits of a dtype as the dtype of ``t`` holds them, none outside."""
    own = t.dtype.limits
    inside = []
    for limit, towards in zip(limits, (np.inf, -np.inf)):
        value = min(max(limit, own[0]), own[1])
        if t.dtype.is_floating:
            rounded = t.dtype.dtype.type(value)
            if abs(int(rounded)) > abs(int(value)):
                rounded = np.nextafter(rounded, t.dtype.dtype.type(towards))
                rounded = t.dtype.dtype.type(0) if limit == 0 else rounded
            value = rounded
        inside.append(value)
    return inside


def identity_n(input: Any, name: str | None = None) -> list[Tensor]:
    """The same tensors, each by a new operation."""
    with scope(name, "IdentityN", *input):
        return [identity(t) for t in input]


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a tensor or a variable."""
    return isinstance(x, (Tensor, Variable))


def get_static_value(tensor: Any, partial: bool = False) -> Any:
    """The value of a tensor as far as it is known before a run, else None.

    Args:
        tensor: a tensor; small integers and constants are followed.
        partial: also give vectors of sizes of which only some are known, with
            None for the others.
    """
    value = as_tensor(tensor).value
    if isinstance(value, np.ndarray):
        return value.copy()
    return None if value is None or not partial else list(value)


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape of the broadcast of two static shapes; raises ShapeError."""
    return TensorShape(broadcast(as_dims(shape_x), as_dims(shape_y)))


def tables_initializer(name: str | None = "init_all_tables") -> Operation:
    """An operation that does nothing: dagrad has no tables."""
    return no_op(name)


def initialize_all_tables(name: str | None = "init_all_tables") -> Operation:
    """:func:`tables_initializer` (TF1's older name)."""
    return tables_initializer(name)
