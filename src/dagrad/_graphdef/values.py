"""What nodes of a GraphDef say, as dagrad has it: dtypes, shapes, arrays, numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graphlib.dtypes import DTYPES, DType, string
from ..graphlib.errors import DTypeError, GraphError, ShapeError
from ..graphlib.shapes import Dims

__all__ = ["Budget", "array_of", "dims_of", "dtype_of", "plain"]

#: TensorFlow's DataType numbers (types.proto); a reference to one is 100 more.
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_OTHERS = {
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    20: "resource",
    21: "variant",
}

#: The field of a TensorProto that holds the values of a dtype, unless they are packed.
_FIELDS = {
    "bool": "bool_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "float16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "string": "string_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}

#: One stored value may fill a whole array: a few bytes of a file, any amount of memory.
_MOST_FILLED = 2**31
_MOST_AXES = 64


def dtype_of(number: int) -> DType:
    """The dtype of a DataType number.

    Raises:
        DTypeError: dagrad has none for it.
    """
    name = _DTYPES.get(number - 100 if number > 100 else number)
    if name is None:
        shown = _OTHERS.get(number, f"number {number}")
        raise DTypeError(f"TensorFlow's dtype {shown} is none that dagrad has")
    return DTYPES[name]


def dims_of(shape: Any) -> Dims:
    """A TensorShapeProto; None where the rank is not known.

    Raises:
        ShapeError: it has negative sizes, or too many axes.
    """
    if shape.unknown_rank:
        return None
    dims = tuple(None if d.size == -1 else int(d.size) for d in shape.dim)
    if any(d is not None and d < 0 for d in dims):
        raise ShapeError(f"a shape has negative sizes: {dims}")
    if len(dims) > _MOST_AXES:
        raise ShapeError(f"a shape has {len(dims)} axes, more than {_MOST_AXES}")
    return dims


class Budget:
    """How many bytes a file may still have made up from fewer of its own."""

    def __init__(self, left: int = _MOST_FILLED) -> None:
        self.left = left

    def take(self, nbytes: int) -> None:
        """Count ``nbytes`` more.

        Raises:
            ShapeError: that is more than any file may.
        """
        if nbytes > self.left:
            raise ShapeError(
                f"constants of one repeated value would take {nbytes:,} bytes, where "
                f"{self.left:,} of {_MOST_FILLED:,} are left"
            )
        self.left -= nbytes


def array_of(tensor: Any, budget: Budget) -> Any:
    """A TensorProto as an array.

    Raises:
        DTypeError: dagrad does not have its dtype.
        ShapeError: its shape is not known, or does not hold its values.
    """
    dtype = dtype_of(tensor.dtype)
    dims = dims_of(tensor.tensor_shape)
    if dims is None or None in dims:
        raise ShapeError("a constant has unknown dimensions")
    count = math.prod(d or 0 for d in dims)
    if tensor.tensor_content:
        return _packed(tensor.tensor_content, dtype, count).reshape(dims)
    values = _listed(tensor, dtype)
    if len(values) == count:
        return values.reshape(dims)
    if len(values) > count:
        raise ShapeError(f"a constant of shape {dims} has {len(values)} values")
    # Fewer: the last one fills the rest, and none stands for zeros.
    budget.take(count * dtype.dtype.itemsize)
    rest: Any = values[-1] if len(values) else (b"" if dtype is string else 0)
    filled = np.full(count, rest, dtype.dtype)
    filled[: len(values)] = values
    return filled.reshape(dims)


def _packed(content: bytes, dtype: DType, count: int) -> Any:
    """Values as they lie in memory, little-endian."""
    if dtype is string:
        raise DTypeError("a constant of strings is packed as if of numbers")
    if len(content) != count * dtype.dtype.itemsize:
        raise ShapeError(
            f"a constant of {count} values of {dtype.name} has {len(content)} bytes"
        )
    if dtype.is_bool:
        return np.frombuffer(content, np.uint8) != 0
    stored = np.frombuffer(content, dtype.dtype.newbyteorder("<"))
    return stored.astype(dtype.dtype)


def _listed(tensor: Any, dtype: DType) -> Any:
    """Values that stand one by one in the field of their dtype."""
    stored = getattr(tensor, _FIELDS.get(dtype.name, "int_val"))
    if dtype is string:
        strings = np.empty(len(stored), object)
        strings[:] = list(stored)
        return strings
    if dtype.name == "float16":  # as the bits of integers
        bits = np.array(stored, np.int64).astype(np.uint16)
        return bits.view(np.float16)
    if dtype.is_complex:
        pairs = np.array(stored, dtype.real_dtype.dtype)
        if len(pairs) % 2:
            raise ShapeError("a constant has half of a complex number")
        return pairs.view(dtype.dtype)
    return np.array(stored).astype(dtype.dtype)


def plain(value: Any) -> Any:
    """An AttrValue as Python has it: a number, text, DType, dims, array or list.

    A shape is a tuple, or None for an unknown rank; a tensor stays a message, since
    its array may be large, and so does a function.

    Raises:
        GraphError: it holds nothing.
        DTypeError: a dtype that dagrad does not have.
    """
    kind = value.WhichOneof("value")
    if kind is None:
        raise GraphError("an attribute has no value")
    found = getattr(value, kind)
    if kind == "list":
        return _list(found)
    return _one(kind, found)


def _one(kind: str, found: Any) -> Any:
    if kind == "s":
        return found.decode("utf-8", "replace")
    if kind == "type":
        return dtype_of(found)
    if kind == "shape":
        return dims_of(found)
    return found


def _list(found: Any) -> list[Any]:
    for kind in ("s", "i", "f", "b", "type", "shape", "tensor", "func"):
        values = getattr(found, kind)
        if len(values):
            return [_one(kind, v) for v in values]
    return []
