"""Taking and placing rows: gather, its transpose, and sparse cotangents.

Indices outside an axis raise; they never wrap or clip.  Sums over repeated
indices use ``np.add.at`` on flat arrays, whose fast path (NumPy >= 1.25) beat
sorting and bincount in all sizes measured, save for rows of 256 and more, which
are added one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.gradients import IndexedSlices
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import is_static, merge, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import (
    create,
    shape_tensor,
)
from ._later import batch_index
from ._static import (
    as_vector,
    count,
    integers,
    known_int,
    merged,
    normal_axis,
    sizes,
)
from .views import expand_dims, no_flops, reshape

__all__ = [
    "batch_gather",
    "gather",
    "lent",
    "scatter_rows",
]

# Rows at least this wide are added one by one; blocks of narrower ones at once.
_WIDE = 256
_BLOCK = 1 << 13


def check_range(index: Any, n: int, what: str) -> None:
    """Raises InvalidArgumentError where an index is outside ``[0, n)``."""
    if not _inside(index, n):
        bad = np.argwhere((index < 0) | (index >= n))[0]
        at = tuple(int(i) for i in bad)
        where = f"indices{list(at)} = {index[at]}" if at else f"index {index}"
        raise InvalidArgumentError(f"{what}: {where} is not in [0, {n})")


def _inside(index: Any, n: int) -> bool:
    """Whether all indices are in ``[0, n)``."""
    if not index.size:
        return True
    if index.dtype.kind == "i" and n <= 1 << (8 * index.itemsize - 1):
        # Read as unsigned a negative index is larger than any n: one look at each.
        return bool(index.view(f"u{index.itemsize}").max() < n)
    return bool(index.min() >= 0 and index.max() < n)


def lent(index: Any) -> Any:
    """An index for ``take``, which copies what it may not write, as constants are."""
    if index.flags.writeable:
        return index
    view = index.view()
    try:
        view.flags.writeable = True
    except ValueError:  # the array belongs to somebody who keeps it so
        return index
    return view


def added_bytes(m: int, q: int) -> int:
    """What :func:`add_rows` allocates for m rows of q elements, as measured."""
    if q == 1 or q >= _WIDE:
        return 0
    block = min(m * q, max(1, _BLOCK // max(q, 1)) * q)
    return (32 if m * q > block else 24) * block


def add_rows(xp: Any, out: Any, index: Any, rows: Any) -> None:
    """out[index[i]] += rows[i] for arrays (n, q), (m,), (m, q); repeats add up."""
    m, q = rows.shape
    if q == 1:
        xp.add.at(out.reshape(-1), index, rows.reshape(-1))
    elif q >= _WIDE:
        for i, row in zip(index.tolist(), rows):
            target = out[i]
            xp.add(target, row, target)
    elif m and q:
        flat = out.reshape(-1)
        columns = xp.arange(q)
        step = max(1, _BLOCK // q)
        for k in range(0, m, step):
            at = index[k : k + step, None].astype(np.int64) * q + columns
            xp.add.at(flat, at.reshape(-1), rows[k : k + step].reshape(-1))


def zeroed(xp: Any, dims: Any, dtype: Any, out: Any) -> Any:
    if out is None:
        return xp.zeros(dims, dtype)
    out.fill(0)
    return out


# -- gather --------------------------------------------------------------------


def _gather_axes(params: Any, indices: Any, axis: int, batch: int) -> tuple[int, int]:
    """Axis and number of batch axes, both counted from the front."""
    if batch < 0:
        batch += len(indices)
    if axis < 0:
        axis += len(params)
    if not 0 <= batch <= min(len(indices), axis) or axis >= len(params):
        raise ShapeError(
            f"axis {axis} and batch_dims {batch} do not fit params {text(params)} "
            f"and indices {text(indices)}"
        )
    return axis, batch


def _infer_gather(inputs: Sequence[Any], attrs: Any) -> Any:
    p, i = inputs
    if not i.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {i.dtype.name}")
    if p.dims is None or i.dims is None:
        return ((p.dtype, None),)
    axis, batch = _gather_axes(p.dims, i.dims, attrs["axis"], attrs["batch_dims"])
    lead = merge(p.dims[:batch], i.dims[:batch])
    assert lead is not None
    dims = lead + p.dims[batch:axis] + i.dims[batch:] + p.dims[axis + 1 :]
    return ((p.dtype, dims),)


def _row_index(xp: Any, idx: Any, b: int, p: int, n: int) -> Any:
    """Flat rows of (b, p, n) for indices (b, m): (b, p, m)."""
    base = xp.arange(b * p, dtype=np.int64).reshape(b, p, 1) * n
    return base + idx[:, None, :]


def _gather_kernel(
    xp: Any, params: Any, indices: Any, *, axis: int, batch_dims: int, out: Any = None
) -> Any:
    axis, batch = _gather_axes(params.shape, indices.shape, axis, batch_dims)
    n = params.shape[axis]
    check_range(indices, n, "gather")
    if not batch:
        # Checked above: "clip" only spares NumPy its buffered second check.
        if n == 0:
            dims = params.shape[:axis] + indices.shape + params.shape[axis + 1 :]
            return zeroed(xp, dims, params.dtype, out)
        return xp.take(params, lent(indices), axis, out, "clip")
    lead, middle = params.shape[:batch], params.shape[batch:axis]
    rest = params.shape[axis + 1 :]
    if indices.shape[:batch] != lead:
        raise InvalidArgumentError(
            f"batch dimensions of params {params.shape} and indices "
            f"{indices.shape} differ"
        )
    b, p, q = count(lead), count(middle), count(rest)
    dims = lead + middle + indices.shape[batch:] + rest
    if out is None:
        out = xp.empty(dims, params.dtype)
    if out.size:
        at = _row_index(xp, indices.reshape(b, -1), b, p, n).reshape(-1)
        rows = params.reshape(b * p * n, q)
        xp.take(rows, at, 0, out.reshape(-1, q), "clip")
    return out


def _bind_gather(attrs: Any, inputs: Sequence[Any], outputs: Any) -> Any:
    """Constant indices, which are looked at once, or one row, as a loop reads."""
    params, indices = inputs
    if indices.dims == () and not attrs["axis"] and params.dtype.kind >= 0:
        return _read_row
    if not isinstance(indices.value, np.ndarray) or attrs["batch_dims"]:
        return None
    axis, _ = _gather_axes(params.dims, indices.dims, attrs["axis"], 0)
    index = lent(indices.value)
    if not params.dims[axis] or not _inside(index, params.dims[axis]):
        return None  # the kernel says what is wrong

    def take(params: Any, _: Any, out: Any) -> Any:
        return np.take(params, index, axis, out, "clip")

    return take


def _read_row(params: Any, index: Any, out: Any) -> Any:
    i = int(index)
    if not 0 <= i < len(params):
        check_range(index, len(params), "gather")
    out[...] = params[i]
    return out


def _count(t: Tensor) -> Any:
    """The number of elements: an int where it is known."""
    from .core import size

    return count(t.dims) if is_static(t.dims) else size(t)


def _gather_rule(op: Operation, g: Tensor) -> Any:
    params, indices = op.inputs
    axis, batch = op.attrs["axis"], op.attrs["batch_dims"]
    if axis == 0 and batch == 0:
        if indices.dims is not None and len(indices.dims) == 1:
            return IndexedSlices(g, indices, params)
        if indices.dims == ():
            row = expand_dims(g, 0)
            return IndexedSlices(row, reshape(indices, [1]), params)
        if params.dims is not None:
            rest = sizes(params)[1:]
            height = merged([_count(indices)], rest)
            values = reshape(g, as_vector([height, *rest], g.op.graph))
            if values.dims is not None:
                values.set_shape((None, *params.dims[1:]))
            return IndexedSlices(values, reshape(indices, [-1]), params)
    return gather_back(g, indices, params, axis, batch)


def gather_back(
    g: Tensor, indices: Tensor, like: Tensor, axis: int, batch: int
) -> Tensor:
    attrs = {"axis": axis, "batch_dims": batch}
    return create(GATHER_GRAD, (g, indices, shape_tensor(like)), attrs)


GATHER: OpDef = OpDef(
    "GatherV2",
    infer=_infer_gather,
    kernel=_gather_kernel,
    inputs=("params", "indices"),
    linear=True,
    vjp=(_gather_rule, None),
    jvp=lambda op, t, _: create(GATHER, (t, op.inputs[1]), dict(op.attrs)),
    writes_out=True,
    bind=_bind_gather,
    shape_math=True,
    flops=no_flops,
    batch=batch_index.gather,
    doc="the slices of params along an axis that indices name",
)


def _gather_grad_kernel(
    xp: Any,
    g: Any,
    indices: Any,
    shape: Any,
    *,
    axis: int,
    batch_dims: int,
    out: Any = None,
) -> Any:
    dims = tuple(shape.tolist())
    axis, batch = _gather_axes(dims, indices.shape, axis, batch_dims)
    out = zeroed(xp, dims, g.dtype, out)
    n = dims[axis]
    check_range(indices, n, "gather")
    if not g.size:
        return out
    b, p, q = count(dims[:batch]), count(dims[batch:axis]), count(dims[axis + 1 :])
    at = _row_index(xp, indices.reshape(b, -1), b, p, n).reshape(-1)
    add_rows(xp, out.reshape(b * p * n, q), at, g.reshape(-1, q))
    return out


GATHER_GRAD: OpDef = OpDef(
    "GatherGrad",
    infer=lambda inputs, attrs: ((inputs[0].dtype, known_dims(inputs[2])),),
    kernel=_gather_grad_kernel,
    inputs=("g", "indices", "shape"),
    linear=True,
    vjp=(
        lambda op, gg: create(GATHER, (gg, op.inputs[1]), dict(op.attrs)),
        None,
        None,
    ),
    jvp=lambda op, t, *_: create(GATHER_GRAD, (t, *op.inputs[1:]), dict(op.attrs)),
    writes_out=True,
    batch=batch_index.gather_grad,
    doc="zeros with slices of g added where indices name: the transpose of GatherV2",
)


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """The slices of ``params`` along ``axis`` that ``indices`` name.

    Args:
        params: shape P = (..., n, ...), any dtype.
        indices: integers in [0, n), any shape I.
        validate_indices: accepted for TF1 programs; indices are always checked.
        name: the name of the operation.
        axis: an int (default: ``batch_dims``).
        batch_dims: the first axes, which both have in common.

    Returns:
        Shape P[:axis] + I[batch_dims:] + P[axis + 1:].

    Raises:
        InvalidArgumentError: an index is out of range (negative ones too).

    Gradient: slices of the cotangent added up by index; on axis 0 it stays
    sparse until something needs it dense.
    """
    p = as_tensor(params)
    i = integers(indices, "gather: indices")
    batch = known_int(batch_dims, "gather: batch_dims")
    at = batch if axis is None else known_int(axis, "gather: axis")
    if i.dims is not None and batch < 0:
        batch += len(i.dims)
        at = batch if axis is None else at
    at = normal_axis(at, p.dims, "gather: axis") if at < 0 else at
    return create(GATHER, (p, i), {"axis": at, "batch_dims": batch}, name)


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """y[..., j] = params[..., indices[..., j]]: gather with all but the last axis
    of ``indices`` in common.

    Raises:
        ShapeError: the rank of ``indices`` is not known.
    """
    i = integers(indices, "batch_gather: indices")
    if i.dims is None:
        raise ShapeError("batch_gather: the rank of indices must be known")
    return gather(params, i, name=name, batch_dims=len(i.dims) - 1)


# -- rows of a sparse cotangent ------------------------------------------------


def _infer_scatter_rows(inputs: Sequence[Any], attrs: Any) -> Any:
    values, _, shape = inputs
    if values.dtype.kind < 0:
        raise DTypeError("rows of numbers or bool can be added, not of strings")
    return ((values.dtype, known_dims(shape)),)


def _scatter_rows_kernel(
    xp: Any, values: Any, indices: Any, shape: Any, out: Any = None
) -> Any:
    dims = tuple(shape.tolist())
    out = zeroed(xp, dims, values.dtype, out)
    check_range(indices, dims[0], "scatter")
    if values.size:
        q = count(dims[1:])
        add_rows(xp, out.reshape(dims[0], q), indices, values.reshape(-1, q))
    return out


SCATTER_ROWS: OpDef = OpDef(
    "ScatterRows",
    infer=_infer_scatter_rows,
    kernel=_scatter_rows_kernel,
    inputs=("values", "indices", "shape"),
    linear=True,
    vjp=(lambda op, g: gather(g, op.inputs[1], axis=0), None, None),
    jvp=lambda op, t, *_: create(SCATTER_ROWS, (t, *op.inputs[1:])),
    writes_out=True,
    transient=lambda ins, outs, attrs: added_bytes(
        ins[1].dims[0], count(ins[0].dims[1:])
    ),
    batch=batch_index.scatter_rows,
    doc="zeros with values[i] added to row indices[i]",
)


def scatter_rows(like: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    """Zeros of the shape of ``like`` with ``values[i]`` added to row ``indices[i]``."""
    y = create(SCATTER_ROWS, (values, indices, shape_tensor(like)))
    y.set_shape(like.dims)
    return y


def _add_rows_kernel(
    xp: Any, total: Any, indices: Any, values: Any, out: Any = None
) -> Any:
    check_range(indices, len(total), "scatter")
    if out is None:
        out = xp.array(total, order="C")  # it is written to in another shape
    elif out is not total:
        xp.copyto(out, total)
    if values.size:
        q = count(total.shape[1:])
        add_rows(xp, out.reshape(len(total), q), indices, values.reshape(-1, q))
    return out


ADD_ROWS: OpDef = OpDef(
    "AddRows",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[0].dims),),
    kernel=_add_rows_kernel,
    inputs=("total", "indices", "values"),
    vjp=(lambda op, g: g, None, lambda op, g: gather(g, op.inputs[1], axis=0)),
    jvp=lambda op, t, _, rows: _add_rows_jvp(op, t, rows),
    inplace=(0,),
    writes_out=True,
    transient=lambda ins, outs, attrs: added_bytes(
        ins[1].dims[0], count(ins[2].dims[1:])
    ),
    batch=batch_index.add_rows,
    doc="total with values[i] added to row indices[i]",
)


def _add_rows_jvp(op: Operation, t: Tensor | None, rows: Tensor | None) -> Tensor:
    if rows is None:
        assert t is not None
        return t
    if t is None:
        return scatter_rows(op.inputs[0], op.inputs[1], rows)
    return add_to_rows(t, op.inputs[1], rows)


def add_to_rows(total: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    """``total`` (n, ...) with ``values[i]`` added to row ``indices[i]``."""
    return create(ADD_ROWS, (total, indices, values))


OPERATORS = {"add_rows": add_to_rows, "scatter_rows": scatter_rows}
