"""Parts of what a loop keeps: rows of an array, or rows of different shapes.

The rows of a history or stack may differ in shape (see graphlib/ragged), so its
gradient cannot be zeros of one shape: it takes each row's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.ragged import Ragged, map_rows, stack_made, stack_rows
from ..graphlib.shapes import is_static
from ..graphlib.tensor import Tensor
from ._batch import moved, repeated, rows_of
from ._build import create

__all__ = ["only_last", "row", "rows", "swapped"]

# A row's number, or (start, stop, step) of a slice.
Key = Any


def _index(key: Key) -> Any:
    return slice(*key) if isinstance(key, tuple) else key


def _infer(inputs: Sequence[Any], attrs: Any) -> Any:
    x, key = inputs[0], attrs["key"]
    if x.dims is None:
        return ((x.dtype, None),)
    if not x.dims:
        raise ShapeError("a scalar has no rows")
    if not isinstance(key, tuple):
        return ((x.dtype, x.dims[1:]),)
    n = x.dims[0]
    return ((x.dtype, (n if n is None else len(range(n)[_index(key)]), *x.dims[1:])),)


def _kernel(xp: Any, x: Any, *, key: Key, out: Any = None) -> Any:
    if type(x) is Ragged:
        return x[_index(key)]
    return x[_index(key), ...]


def _zeros_like(xp: Any, x: Any) -> Any:
    if type(x) is Ragged:
        return map_rows(lambda r: _zeros_like(xp, r), x)
    return xp.zeros_like(x)


def _grad_kernel(xp: Any, g: Any, x: Any, *, key: Key, out: Any = None) -> Any:
    if type(x) is Ragged:
        made = _zeros_like(xp, x)
        if isinstance(key, tuple):
            for i, part in zip(range(len(x))[_index(key)], g):
                made[i] = part
        else:
            made[key] = g
        return stack_rows(made)
    if out is None:
        out = xp.empty(x.shape, g.dtype)
    out.fill(0)
    part = out[_index(key), ...]
    if part.size:  # rows of no iterations need not know their shape
        part[...] = g
    return out


def _bind(attrs: Any, inputs: Any, outputs: Any) -> Any:
    key = _index(attrs["key"])
    at = (key, ...)
    return lambda x, out=None: x[key] if type(x) is Ragged else x[at]


def _rule(op: Operation, g: Tensor) -> Any:
    return [create(ROWS_GRAD, (g, op.inputs[0]), dict(op.attrs))]


def _batch_rows(op: Any, x: Tensor) -> Any:
    """``x[:, key]``."""
    if x.dims is None:
        return NotImplemented
    y = create(ROWS, (swapped(x),), dict(op.attrs))
    return [y if _drops(op) else swapped(y)]


def _drops(op: Any) -> bool:
    return not isinstance(op.attrs["key"], tuple)


def _batch_grad(op: Any, g: Tensor | None, x: Tensor | None) -> Any:
    if g is None:
        return NotImplemented
    like = repeated(op.inputs[1], rows_of(g)) if x is None else x
    if g.dims is None or like.dims is None:
        return NotImplemented
    along = g if _drops(op) else swapped(g)
    return [swapped(create(ROWS_GRAD, (along, swapped(like)), dict(op.attrs)))]


ROWS: OpDef = OpDef(
    "Rows",
    infer=_infer,
    kernel=_kernel,
    inputs=("x",),
    linear=True,
    vjp=_rule,
    jvp=lambda op, t: create(ROWS, (t,), dict(op.attrs)),
    alias=0,
    bind=_bind,
    flops=lambda i, o, a: 0,
    batch=_batch_rows,
    doc="x[key]: a row or a slice of what a loop keeps",
)

ROWS_GRAD: OpDef = OpDef(
    "RowsGrad",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[1].dims),),
    kernel=_grad_kernel,
    inputs=("g", "x"),
    linear=True,
    vjp=lambda op, gg: [create(ROWS, (gg,), dict(op.attrs)), None],
    jvp=lambda op, t, _: create(ROWS_GRAD, (t, op.inputs[1]), dict(op.attrs)),
    writes_out=True,
    flops=lambda i, o, a: 0,
    batch=_batch_grad,
    doc="zeros like x with g at [key]: the transpose of Rows",
)


# -- rows of rows ----------------------------------------------------------------------


def _swap_kernel(xp: Any, x: Any, *, axis: int, out: Any = None) -> Any:
    if type(x) is not Ragged:
        return x.swapaxes(axis, axis + 1)
    if axis:
        return stack_rows([_swap_kernel(xp, row, axis=axis - 1) for row in x])
    n = max(map(len, x))
    if n == 0:
        return np.empty((0, len(x), *x[0].shape[1:]), x[0].dtype)
    return stack_rows([stack_rows([_part(row, i) for row in x]) for i in range(n)])


def _part(row: Any, i: int) -> Any:
    """``row[i]``, nothing of a row that a branch did not make."""
    return row[i] if len(row) else np.empty((0,) * (row.ndim - 1), row.dtype)


def _swap_infer(inputs: Sequence[Any], attrs: Any) -> Any:
    x, i = inputs[0], attrs["axis"]
    if x.dims is None:
        return ((x.dtype, None),)
    if len(x.dims) < i + 2:
        raise ShapeError(f"there are no axes {i} and {i + 1} to exchange")
    dims = (*x.dims[:i], x.dims[i + 1], x.dims[i], *x.dims[i + 2 :])
    return ((x.dtype, dims),)


def _swap(x: Tensor, axis: int) -> Tensor:
    if is_static(x.dims):
        return moved(x, axis, axis + 1)
    return create(SWAP, (x,), {"axis": axis})


SWAP: OpDef = OpDef(
    "SwapRows",
    infer=_swap_infer,
    kernel=_swap_kernel,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: _swap(g, op.attrs["axis"]),),
    jvp=lambda op, t: _swap(t, op.attrs["axis"]),
    alias=0,
    flops=lambda i, o, a: 0,
    batch=lambda op, x: [_swap(x, op.attrs["axis"] + 1)],
    doc="x with two axes exchanged, where what they count may differ in shape",
)


def swapped(x: Tensor) -> Tensor:
    """``x`` with its first two axes exchanged."""
    return _swap(x, 0)


def _even_kernel(xp: Any, x: Any, *, out: Any = None) -> Any:
    if type(x) is Ragged:
        stack_made(list(x), strict=True)
    return x


EVEN: OpDef = OpDef(
    "Even",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[0].dims),),
    kernel=_even_kernel,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: g,),
    jvp=lambda op, t: t,
    alias=0,
    flops=lambda i, o, a: 0,
    batch=lambda op, x: [create(EVEN, (x,))],
    doc="x, and an error where its rows differ in shape",
)

OPERATORS = {"even": lambda x: create(EVEN, (x,))}


# -- the last row alone ----------------------------------------------------------------

_TO_THE_END = (((0, None, None),), ((1, None, None),))


def only_last(g: Tensor) -> Tensor | None:
    """The last row of ``g``, the cotangent of a history, where by the way it was made
    all others are zero: the program reads nothing but ``scan(...)[-1]``.

    ``scan`` returns its history from row 1 on, without an initializer from row 0 on.
    Without this the backward loop would read as many rows of zeros as the history has.
    """
    cut = g.op
    if cut.type != "StridedSliceGrad" or cut.attrs["spec"] not in _TO_THE_END:
        return None
    scatter = cut.inputs[0].op
    if scatter.type != "ScatterRows":
        return None
    values, indices = scatter.inputs[:2]
    dims, i = scatter.outputs[0].dims, indices.value
    if not dims or dims[0] is None or values.dims is None or i is None:
        return None
    return row(values, 0) if list(i) == [dims[0] - 1] else None


def rows(x: Tensor, start: int | None, stop: int | None, step: int = 1) -> Tensor:
    """``x[start:stop:step]``."""
    return create(ROWS, (x,), {"key": (start, stop, step)})


def row(x: Tensor, i: int) -> Tensor:
    """``x[i]``."""
    return create(ROWS, (x,), {"key": i})
