"""Rows of an array put in place: the ops that a TensorArray is made of.

``SetRows`` and ``gather`` are each other's transpose up to the rows that were
there before: the cotangent of a row that is written is that row of the array's
cotangent, and the row of the array that it replaced gets none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, compatible, is_static, merge, text
from ..graphlib.tensor import Tensor
from ._batch import moved, repeated, rows_of
from ._build import create
from ._static import count
from .core import shape
from .gather import GATHER, check_range
from .views import no_flops

__all__ = [
    "INDEX_BELOW",
    "JOIN_ROWS",
    "SET_ROWS",
    "SIZED_ROWS",
    "SPLIT_ROWS",
    "UNSHAPED",
    "set_rows",
]


def _blank(xp: Any, dims: Sequence[int], dtype: Any) -> Any:
    """Zeros, False or empty strings."""
    return (
        xp.full(dims, b"", object)
        if np.dtype(dtype).hasobject
        else xp.zeros(dims, dtype)
    )


# -- an array whose rows are not known yet ---------------------------------------


def _infer_unshaped(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    element = attrs["element"]
    if element is None:
        return ((attrs["dtype"], None),)
    size = inputs[0].value
    n = int(size.reshape(())) if isinstance(size, np.ndarray) else None
    return ((attrs["dtype"], (n, *element)),)


def _unshaped_kernel(
    xp: Any, size: Any, *, dtype: Any, element: Dims, out: Any = None
) -> Any:
    row = (0,) if element is None else tuple(d or 0 for d in element)
    return _blank(xp, (max(int(size), 0), *row), dtype.dtype)


UNSHAPED = OpDef(
    "Unshaped",
    infer=_infer_unshaped,
    kernel=_unshaped_kernel,
    inputs=("size",),
    flops=no_flops,
    doc="size empty rows: SetRows gives them the shape of the first that is put there",
)


# -- rows put in place -----------------------------------------------------------


def _infer_set_rows(inputs: Sequence[Any], attrs: Any) -> Any:
    array, index, rows = inputs
    if not index.dtype.is_integer:
        raise DTypeError(f"the index must be an integer, not {index.dtype.name}")
    if rows.dtype is not array.dtype:
        raise DTypeError(
            f"the array holds {array.dtype.name}, the rows are {rows.dtype.name}"
        )
    if array.dims == ():
        raise ShapeError("the array is a scalar: it has no rows")
    dims = _with_rows(array.dims, index.dims, rows.dims)
    if attrs["grow"] and dims is not None:
        dims = (None, *dims[1:])
    return ((array.dtype, dims),)


def _with_rows(array: Dims, index: Dims, rows: Dims) -> Dims:
    """The shape of ``array`` after rows were put there."""
    if index is None or rows is None:
        # Empty rows may get any shape.
        return None if array is not None and 0 in array[1:] else array
    element = rows[len(index) :]
    merge(rows[: len(index)], index)
    if array is None:
        return (None, *element)
    if 0 in array[1:]:
        return (array[0], *element)
    if not compatible(array[1:], element):
        raise ShapeError(
            f"a row of shape {text(element)} does not fit an array of rows of shape "
            f"{text(array[1:])}"
        )
    return (array[0], *[e if a is None else a for a, e in zip(array[1:], element)])


def _set_rows_kernel(
    xp: Any, array: Any, index: Any, rows: Any, *, grow: bool, out: Any = None
) -> Any:
    n, k = len(array), index.ndim
    room = n
    if grow and index.size and index.max() >= n:
        room = max(2 * n, int(index.max()) + 1)
    if k == 0:
        if not 0 <= index < room:
            raise InvalidArgumentError(f"index {index} is not in [0, {n})")
    else:
        check_range(index, room, "the array")
        if len(np.unique(index)) < index.size:
            raise InvalidArgumentError(f"an index is there twice: {index}")
    element = rows.shape[k:]
    if rows.shape[:k] != index.shape:
        raise InvalidArgumentError(
            f"rows of shape {rows.shape} for indices of shape {index.shape}"
        )
    same = array.shape[1:] == element
    if not same and count(array.shape[1:]):
        raise InvalidArgumentError(
            f"a row of shape {element} does not fit an array of rows of shape "
            f"{array.shape[1:]}"
        )
    if room > n or not same:
        made = _blank(xp, (room, *element), array.dtype)
        if same:
            made[:n] = array
        array = made
        out = made if out is None else out
    if out is None:
        out = xp.array(array)
    elif out is not array:
        xp.copyto(out, array)
    out[index if k else int(index), ...] = rows
    return out


def _bind_set_rows(attrs: Any, inputs: Sequence[Any], outputs: Any) -> Any:
    """One row of the shape that the array's rows have."""
    array, index, row = inputs
    if attrs["grow"] or index.dims != ():
        return None
    if array.dims[1:] != row.dims or not is_static(row.dims):
        return None

    def put(array: Any, index: Any, row: Any, out: Any) -> Any:
        i = int(index)
        if not 0 <= i < len(array):
            raise InvalidArgumentError(f"index {i} is not in [0, {len(array)})")
        if out is not array:
            np.copyto(out, array)
        out[i, ...] = row
        return out

    return put


def _set_rows_vjp(op: Operation, g: Tensor) -> list[Tensor | None]:
    # The reader comes first: then the other may overwrite g.
    index = op.inputs[1]
    rows = create(GATHER, (g, index), {"axis": 0, "batch_dims": 0})
    rest = set_rows(g, index, TABLE["zeros_like"](rows))
    if op.attrs["grow"]:
        getitem, array = TABLE["getitem"], op.inputs[0]
        rest = getitem(rest, slice(0, getitem(shape(array), 0)))
        rest.set_shape(array.dims)
    return [rest, None, rows]


def _set_rows_jvp(op: Operation, t: Tensor | None, _: Any, r: Tensor | None) -> Tensor:
    array, index, rows = op.inputs
    t = TABLE["zeros_like"](array) if t is None else t
    r = TABLE["zeros_like"](rows) if r is None else r
    return set_rows(t, index, r, op.attrs["grow"])


def _batch_set_rows(
    op: Any, array: Tensor | None, index: Tensor | None, rows: Tensor | None
) -> Any:
    """The batch becomes a part of each row."""
    at = op.inputs[1]
    if index is not None or at.dims is None or op.attrs["grow"]:
        return NotImplemented
    n = rows_of(*[b for b in (array, rows) if b is not None])
    a = repeated(op.inputs[0], n) if array is None else array
    r = repeated(op.inputs[2], n) if rows is None else rows
    if a.dims is None or r.dims is None or 0 in a.dims[2:]:
        return NotImplemented
    return moved(set_rows(moved(a, 0, 1), at, moved(r, 0, len(at.dims))), 1, 0)


SET_ROWS = OpDef(
    "SetRows",
    infer=_infer_set_rows,
    kernel=_set_rows_kernel,
    inputs=("array", "index", "rows"),
    linear=True,
    vjp=_set_rows_vjp,
    jvp=_set_rows_jvp,
    inplace=(0,),
    writes_out=True,
    bind=_bind_set_rows,
    flops=no_flops,
    batch=_batch_set_rows,
    doc="array with array[index] = rows, longer where it is to grow",
)


def set_rows(
    array: Tensor,
    index: Tensor,
    rows: Tensor,
    grow: bool = False,
    name: str | None = None,
) -> Tensor:
    """``array`` (n, *E) with ``array[index] = rows``, shape I + E, for an index of
    shape I without repeats.

    With ``grow`` an array that is too short gets twice as many rows, at least as many
    as are needed; new ones are zero.

    Cost: that of the rows, where the array's memory can be taken over; it never is with
    ``grow``.
    """
    return create(SET_ROWS, (array, index, rows), {"grow": grow}, name)


# -- checks ------------------------------------------------------------------------


def _infer_index(inputs: Sequence[Any], attrs: Any) -> Any:
    index = inputs[0]
    if not index.dtype.is_integer:
        raise DTypeError(f"the index must be an integer, not {index.dtype.name}")
    return ((index.dtype, index.dims),)


def _index_kernel(xp: Any, index: Any, size: Any, out: Any = None) -> Any:
    check_range(index, int(size), "the array")
    return index


INDEX_BELOW: OpDef = OpDef(
    "IndexBelow",
    infer=_infer_index,
    kernel=_index_kernel,
    inputs=("index", "size"),
    alias=0,
    flops=no_flops,
    batch=lambda op, index, size: (
        [create(INDEX_BELOW, (index, op.inputs[1]))]
        if size is None and index is not None
        else NotImplemented
    ),
    doc="index, after a check that all of it is in [0, size)",
)


def _infer_sized(inputs: Sequence[Any], attrs: Any) -> Any:
    array, size = inputs
    n = int(size.value) if isinstance(size.value, np.ndarray) else None
    if array.dims is None or n is None:
        return ((array.dtype, array.dims),)
    if not array.dims:
        raise ShapeError("a scalar has no rows")
    if array.dims[0] not in (None, n):
        raise ShapeError(f"{array.dims[0]} rows for an array of size {n}")
    return ((array.dtype, (n, *array.dims[1:])),)


def _sized_kernel(xp: Any, array: Any, size: Any, out: Any = None) -> Any:
    if len(array) != size:
        raise InvalidArgumentError(f"{len(array)} rows for an array of size {size}")
    return array


SIZED_ROWS: OpDef = OpDef(
    "SizedRows",
    infer=_infer_sized,
    kernel=_sized_kernel,
    inputs=("array", "size"),
    linear=True,
    vjp=(lambda op, g: g, None),
    jvp=lambda op, t, _: t,
    alias=0,
    value=lambda inputs, attrs: inputs[0].value,
    flops=no_flops,
    batch=lambda op, x, size: NotImplemented if x is None or size is not None else [x],
    doc="array, after a check that it has size rows",
)


# -- pieces of different lengths -------------------------------------------------


def _infer_split_rows(inputs: Sequence[Any], attrs: Any) -> Any:
    value, lengths, width = inputs
    if value.dims is None:
        return ((value.dtype, None),)
    if not value.dims:
        raise ShapeError("a scalar cannot be split")
    n = None if lengths.dims is None else lengths.dims[0]
    m = int(width.value) if isinstance(width.value, np.ndarray) else None
    known = lengths.value
    if isinstance(known, np.ndarray) and value.dims[0] not in (None, known.sum()):
        raise ShapeError(_wrong_sum(known, value.dims[0]))
    return ((value.dtype, (n, m, *value.dims[1:])),)


def _wrong_sum(lengths: Any, n: Any) -> str:
    return f"the lengths {lengths.tolist()} add up to {lengths.sum()}, not to {n}"


def _which(xp: Any, lengths: Any, width: int) -> Any:
    if lengths.size and not (lengths.min() >= 0 and lengths.max() <= width):
        raise InvalidArgumentError(
            f"the lengths {lengths.tolist()} are not in [0, {width}]"
        )
    return xp.arange(width) < lengths[:, None]


def _split_rows_kernel(
    xp: Any, value: Any, lengths: Any, width: Any, out: Any = None
) -> Any:
    if lengths.sum() != len(value):
        raise InvalidArgumentError(_wrong_sum(lengths, len(value)))
    where = _which(xp, lengths, int(width))
    made = _blank(xp, where.shape + value.shape[1:], value.dtype)
    made[where] = value
    return made


def _like(op: Operation, opdef: OpDef, inputs: Sequence[Tensor]) -> Tensor:
    """The cotangent of input 0, which has its shape."""
    made = create(opdef, inputs)
    made.set_shape(op.inputs[0].dims)
    return made


def _width(array: Tensor) -> Tensor:
    return TABLE["getitem"](shape(array), 1)  # type: ignore[no-any-return]


SPLIT_ROWS: OpDef = OpDef(
    "SplitRows",
    infer=_infer_split_rows,
    kernel=_split_rows_kernel,
    inputs=("value", "lengths", "width"),
    linear=True,
    vjp=(lambda op, g: _like(op, JOIN_ROWS, (g, op.inputs[1])), None, None),
    jvp=lambda op, t, *_: create(SPLIT_ROWS, (t, *op.inputs[1:])),
    flops=no_flops,
    doc="consecutive pieces of value of these lengths, each with zeros up to width",
)


def _infer_join_rows(inputs: Sequence[Any], attrs: Any) -> Any:
    array, lengths = inputs
    if array.dims is None:
        return ((array.dtype, None),)
    if len(array.dims) < 2:
        raise ShapeError(f"pieces must have a first axis, not {text(array.dims[1:])}")
    known = lengths.value
    total = int(known.sum()) if isinstance(known, np.ndarray) else None
    return ((array.dtype, (total, *array.dims[2:])),)


JOIN_ROWS: OpDef = OpDef(
    "JoinRows",
    infer=_infer_join_rows,
    kernel=lambda xp, array, lengths, out=None: array[
        _which(xp, lengths, array.shape[1])
    ],
    inputs=("array", "lengths"),
    linear=True,
    vjp=(
        lambda op, g: _like(op, SPLIT_ROWS, (g, op.inputs[1], _width(op.inputs[0]))),
        None,
    ),
    jvp=lambda op, t, _: create(JOIN_ROWS, (t, op.inputs[1])),
    flops=no_flops,
    doc="the first lengths[i] rows of each array[i], one after another",
)

OPERATORS = {"set_rows": set_rows}
