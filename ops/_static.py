"""Arguments that shape a node: integers known while the graph is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.graph import Graph
from ..graphlib.shapes import Dimension, Dims, is_static, normalize_axis
from ..graphlib.tensor import Tensor, as_tensor
from ._build import _operand, common_dtype, constant, graph_of

__all__ = [
    "alike",
    "count",
    "integers",
    "known_int",
    "known_ints",
    "merged",
    "normal_axes",
    "normal_axis",
    "same_dims",
    "sizes",
]


def is_symbolic(value: Any) -> bool:
    """Whether ``value`` is a tensor or a variable."""
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def try_ints(value: Any, what: str) -> Any:
    """``value`` as an integer ndarray, or None where it is not known yet.

    Raises:
        DTypeError: it holds no integers.
    """
    if isinstance(value, Dimension):
        return None if value.value is None else np.array(value.value)
    if isinstance(value, (list, tuple)) and any(is_symbolic(v) for v in value):
        parts = [try_ints(v, what) for v in value]
        return None if any(p is None for p in parts) else np.array(parts)
    if is_symbolic(value):
        t = as_tensor(value)
        if not t.dtype.is_integer:
            raise DTypeError(f"{what} must be integers, not {t.dtype.name}: {t!r}")
        return t.value if isinstance(t.value, np.ndarray) else None
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DTypeError(f"{what}: {error}") from None
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype == object:
        try:
            array = np.array([v.__index__() for v in array.reshape(-1)]).reshape(
                array.shape
            )
        except (AttributeError, TypeError):
            raise DTypeError(f"{what} must be integers, not {value!r}") from None
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{what} must be integers, not {value!r}")
    return array


def known_int(value: Any, what: str) -> int:
    """One integer that must be known while the graph is built.

    Raises:
        ShapeError: it is a tensor whose value is known only in a run, or it is
            no scalar.
        DTypeError: it is no integer.
    """
    if type(value) is int:
        return value
    array = try_ints(value, what)
    if array is None:
        raise ShapeError(
            f"{what} must be known while the graph is built, but {value!r} is "
            "known only in a run"
        )
    if array.size != 1:
        raise ShapeError(f"{what} must be one integer, not {value!r}")
    return int(array.reshape(()))


def known_ints(value: Any, what: str) -> tuple[int, ...]:
    """Integers that must be known while the graph is built, as a tuple.

    Raises:
        ShapeError, DTypeError: as :func:`known_int`.
    """
    array = try_ints(value, what)
    if array is None:
        raise ShapeError(
            f"{what} must be known while the graph is built, but {value!r} is "
            "known only in a run"
        )
    return tuple(int(v) for v in array.reshape(-1))


def integers(value: Any, what: str, name: str | None = None) -> Tensor:
    """``value`` as an integer tensor.

    Raises:
        DTypeError: it holds no integers.
    """
    if isinstance(value, (list, tuple)) and not value:
        value = np.zeros(0, np.int32)
    t = as_tensor(value, name=name)
    if not t.dtype.is_integer:
        raise DTypeError(f"{what} must be integers, not {t.dtype.name}: {value!r}")
    return t


def normal_axis(axis: int, dims: Dims, what: str = "axis", extra: int = 0) -> int:
    """``axis`` from the front where the rank is known (else as it is)."""
    if dims is None:
        return axis
    return normalize_axis(axis, len(dims) + extra, what)


def normal_axes(axes: Sequence[int], dims: Dims, what: str = "axis") -> tuple[int, ...]:
    """Several axes from the front, all different.

    Raises:
        ShapeError: one is out of range or given twice.
    """
    out = tuple(normal_axis(a, dims, what) for a in axes)
    if len(set(out)) != len(out):
        raise ShapeError(f"{what} {tuple(axes)} names an axis twice")
    return out


def alike(values: Sequence[Any], who: str) -> list[Tensor]:
    """Values as tensors of their common dtype.

    Raises:
        ShapeError: there are none.
        DTypeError: strings beside numbers.
    """
    if not isinstance(values, (list, tuple)):
        values = list(values)
    if not values:
        raise ShapeError(f"{who}: needs at least one tensor")
    first = values[0]
    if type(first) is Tensor and all(
        type(v) is Tensor and v.dtype is first.dtype for v in values
    ):
        return list(values)
    tensors = [
        as_tensor(v) if isinstance(v, (list, tuple)) and _nested(v) else v
        for v in values
    ]
    dtype = common_dtype(tensors)
    graph = graph_of(*tensors)
    return [_operand(v, dtype, None, graph) for v in tensors]


def _nested(value: Any) -> bool:
    from ..graphlib.tensor import _holds_tensor

    return _holds_tensor(value)


def same_dims(a: Tensor, b: Tensor) -> bool:
    """Whether both are known to have one shape."""
    return a.dims == b.dims and is_static(a.dims)


def count(dims: Sequence[int]) -> int:
    """The number of elements of a known shape."""
    n = 1
    for d in dims:
        n *= d
    return n


def sizes(x: Tensor, who: str = "") -> list[Any]:
    """Each size of ``x``: an int where it is known, else a scalar tensor.

    Raises:
        ShapeError: the rank is not known.
    """
    from .core import shape
    from .indexing import getitem

    if x.dims is None:
        prefix = f"{who}: " if who else ""
        raise ShapeError(f"{prefix}the rank of {x!r} must be known: use set_shape")
    if is_static(x.dims):
        return list(x.dims)
    vector = shape(x)
    return [getitem(vector, i) if d is None else d for i, d in enumerate(x.dims)]


def merged(axes: Sequence[Any], rest: Sequence[Any]) -> Any:
    """The size of one axis in place of ``axes``, beside ``rest``, in a reshape.

    It is -1 where none of ``rest`` can be 0: then the reshape finds it.
    """
    if all(isinstance(d, int) and d > 0 for d in rest):
        return -1
    n: Any = 1
    for d in axes:
        n = d * n
    return n


def as_vector(values: Sequence[Any], graph: Graph) -> Tensor:
    """Sizes (ints and scalar tensors) as an int32 vector."""
    if all(isinstance(v, int) for v in values):
        return constant(np.array(values, np.int32).reshape(-1), graph=graph)
    return as_tensor(list(values))
