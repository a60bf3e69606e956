"""Single elements by coordinates: gather_nd, scatter_nd, tensor_scatter_update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, compatible, merge, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import (
    create,
    pair,
    scope,
    shape_tensor,
    shape_vector,
)
from ._later import batch_index
from ._static import (
    count,
    integers,
    known_int,
)
from .gather import add_rows, zeroed
from .views import no_flops

__all__ = [
    "gather_nd",
    "scatter_nd",
    "tensor_scatter_add",
    "tensor_scatter_sub",
    "tensor_scatter_update",
]


# -- gather_nd and scatter_nd --------------------------------------------------


def _infer_gather_nd(inputs: Sequence[Any], attrs: Any) -> Any:
    p, i = inputs
    if not i.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {i.dtype.name}")
    batch = attrs["batch_dims"]
    if i.dims is not None and len(i.dims) <= batch:
        raise ShapeError(f"indices {text(i.dims)} need more than {batch} axes")
    if p.dims is None or i.dims is None or i.dims[-1] is None:
        return ((p.dtype, None),)
    depth = i.dims[-1]
    if batch + depth > len(p.dims):
        raise ShapeError(
            f"indices of depth {depth} are too deep for params {text(p.dims)}"
        )
    lead = merge(p.dims[:batch], i.dims[:batch])
    assert lead is not None
    return ((p.dtype, lead + i.dims[batch:-1] + p.dims[batch + depth :]),)


def _flat_rows(xp: Any, indices: Any, dims: Any, batch: int, who: str) -> Any:
    """Row numbers of ``indices`` in an array of ``dims`` and the width of a row."""
    depth = indices.shape[-1]
    if batch + depth > len(dims):
        raise InvalidArgumentError(
            f"{who}: indices of depth {depth} are too deep for shape {tuple(dims)}"
        )
    inner = dims[batch : batch + depth]
    flat = xp.zeros(indices.shape[:-1], np.int64)
    for k, n in enumerate(inner):
        column = indices[..., k]
        if column.size and not (column.min() >= 0 and column.max() < n):
            bad = np.argwhere((column < 0) | (column >= n))[0]
            at = tuple(int(v) for v in bad)
            raise InvalidArgumentError(
                f"{who}: indices{list(at)} = {indices[at].tolist()} is not inside "
                f"shape {tuple(dims)}"
            )
        flat *= n
        flat += column
    if batch:
        lead = dims[:batch]
        if indices.shape[:batch] != tuple(lead):
            raise InvalidArgumentError(
                f"{who}: batch dimensions of {tuple(dims)} and indices "
                f"{indices.shape} differ"
            )
        base = xp.arange(count(lead), dtype=np.int64).reshape(
            tuple(lead) + (1,) * (flat.ndim - batch)
        )
        flat += base * count(inner)
    return flat.reshape(-1), count(dims[batch + depth :])


def _gather_nd_kernel(
    xp: Any, params: Any, indices: Any, *, batch_dims: int, out: Any = None
) -> Any:
    dims = params.shape
    at, q = _flat_rows(xp, indices, dims, batch_dims, "gather_nd")
    result = indices.shape[:-1] + dims[batch_dims + indices.shape[-1] :]
    if out is None:
        out = xp.empty(result, params.dtype)
    if out.size:
        xp.take(params.reshape(-1, q), at, 0, out.reshape(-1, q), "clip")
    return out


def _scatter_nd(
    updates: Tensor, indices: Tensor, shape: Tensor, batch: int = 0, last: bool = False
) -> Tensor:
    attrs = {"batch_dims": batch, "last": last}
    return create(SCATTER_ND, (indices, updates, shape), attrs)


GATHER_ND: OpDef = OpDef(
    "GatherNd",
    infer=_infer_gather_nd,
    kernel=_gather_nd_kernel,
    inputs=("params", "indices"),
    linear=True,
    vjp=(
        lambda op, g: _scatter_nd(
            g,
            op.inputs[1],
            shape_tensor(op.inputs[0]),
            op.attrs["batch_dims"],
            last=False,
        ),
        None,
    ),
    jvp=lambda op, t, _: create(GATHER_ND, (t, op.inputs[1]), dict(op.attrs)),
    writes_out=True,
    flops=no_flops,
    batch=batch_index.leading_batch(None),
    doc="params[indices[..., 0], ..., indices[..., k]]",
)


def gather_nd(
    params: Any, indices: Any, name: str | None = None, batch_dims: int = 0
) -> Tensor:
    """y[i] = params[indices[i, 0], ..., indices[i, k - 1]] for each i.

    Args:
        params: shape P, any dtype.
        indices: integers (..., k), k <= rank of P; each row an element (or
            slice) of ``params``.
        name: the name of the operation.
        batch_dims: the first axes, which both have in common.

    Returns:
        Shape indices.shape[:-1] + P[batch_dims + k:].

    Raises:
        InvalidArgumentError: an index is out of range (negative ones too).

    Gradient: the cotangent, scattered (repeats add up).
    """
    batch = known_int(batch_dims, "gather_nd: batch_dims")
    p, i = as_tensor(params), integers(indices, "gather_nd: indices")
    if batch < 0 and i.dims is not None:
        batch += len(i.dims)
    return create(GATHER_ND, (p, i), {"batch_dims": batch}, name)


def _infer_scatter_nd(inputs: Sequence[Any], attrs: Any) -> Any:
    i, u, shape = inputs
    if not i.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {i.dtype.name}")
    if u.dtype.kind < 0 and not attrs["last"]:
        raise DTypeError("updates to add must be numbers or bool, not strings")
    dims = known_dims(shape)
    _check_updates(i.dims, u.dims, dims, attrs["batch_dims"])
    return ((u.dtype, dims),)


def _check_updates(indices: Dims, updates: Dims, dims: Dims, batch: int = 0) -> None:
    """Raises ShapeError where updates are not indices[:-1] + dims[depth:]."""
    if indices is None or not indices:
        if indices is not None:
            raise ShapeError("indices must have at least one axis")
        return
    if dims is None or indices[-1] is None:
        return
    depth = batch + indices[-1]
    if depth > len(dims):
        raise ShapeError(f"indices {text(indices)} are too deep for {text(dims)}")
    wanted = indices[:-1] + dims[depth:]
    if not compatible(updates, wanted):
        raise ShapeError(
            f"updates of shape {text(updates)} where indices {text(indices)} into "
            f"{text(dims)} need {text(wanted)}"
        )


def _scatter_nd_kernel(
    xp: Any,
    indices: Any,
    updates: Any,
    shape: Any,
    *,
    batch_dims: int,
    last: bool,
    out: Any = None,
) -> Any:
    dims = tuple(shape.tolist())
    try:
        _check_updates(indices.shape, updates.shape, dims, batch_dims)
    except ShapeError as error:
        raise InvalidArgumentError(error.message) from None
    at, q = _flat_rows(xp, indices, dims, batch_dims, "scatter_nd")
    out = zeroed(xp, dims, updates.dtype, out)
    if updates.size:
        if last:
            _put_rows(out.reshape(-1, q), at, updates.reshape(-1, q))
        else:
            add_rows(xp, out.reshape(-1, q), at, updates.reshape(-1, q))
    return out


def _put_rows(out: Any, at: Any, rows: Any) -> None:
    """out[at[i]] = rows[i]; of repeats the last wins."""
    # NumPy assigns in order (documented for repeated indices).
    out[at] = rows


def _scatter_nd_rule(op: Operation, g: Tensor) -> Tensor:
    back = GATHER_LAST if op.attrs["last"] else GATHER_ND
    attrs = {"batch_dims": op.attrs["batch_dims"]}
    return create(back, (g, op.inputs[0]), attrs)


SCATTER_ND: OpDef = OpDef(
    "ScatterNd",
    infer=_infer_scatter_nd,
    kernel=_scatter_nd_kernel,
    inputs=("indices", "updates", "shape"),
    linear=True,
    vjp=(None, _scatter_nd_rule, None),
    jvp=lambda op, _, t, __: create(
        SCATTER_ND, (op.inputs[0], t, op.inputs[2]), dict(op.attrs)
    ),
    writes_out=True,
    batch=batch_index.leading_batch(2),
    doc="zeros with updates added (or put) at indices",
)


def scatter_nd(
    indices: Any, updates: Any, shape: Any, name: str | None = None
) -> Tensor:
    """Zeros of ``shape`` with ``updates[i]`` added at ``indices[i]``.

    Args:
        indices: integers (..., k).
        updates: shape indices.shape[:-1] + shape[k:].
        shape: a vector of sizes.
        name: the name of the operation.

    Raises:
        InvalidArgumentError: an index is out of range (negative ones too).
        ShapeError: ``updates`` does not fit.

    Gradient: the cotangent, gathered.
    """
    inputs = (
        integers(indices, "scatter_nd: indices"),
        as_tensor(updates),
        shape_vector(shape),
    )
    return create(SCATTER_ND, inputs, {"batch_dims": 0, "last": False}, name)


def _gather_last_kernel(
    xp: Any, params: Any, indices: Any, *, batch_dims: int, out: Any = None
) -> Any:
    out = _gather_nd_kernel(xp, params, indices, batch_dims=batch_dims, out=out)
    at, q = _flat_rows(xp, indices, params.shape, batch_dims, "gather_nd")
    if out.size:
        order = xp.arange(at.size)
        winner = xp.empty(params.size // q, np.int64)
        winner[at] = order
        out.reshape(-1, q)[winner[at] != order] = 0
    return out


GATHER_LAST: OpDef = OpDef(
    "GatherNdLast",
    infer=_infer_gather_nd,
    kernel=_gather_last_kernel,
    inputs=("params", "indices"),
    linear=True,
    vjp=(
        lambda op, g: _scatter_nd(
            g,
            op.inputs[1],
            shape_tensor(op.inputs[0]),
            op.attrs["batch_dims"],
            last=True,
        ),
        None,
    ),
    jvp=lambda op, t, _: create(GATHER_LAST, (t, op.inputs[1]), dict(op.attrs)),
    writes_out=True,
    flops=no_flops,
    batch=batch_index.leading_batch(None),
    doc="as GatherNd, but zeros for all but the last of repeated indices",
)


# -- tensors with some rows replaced -------------------------------------------


def _infer_update(inputs: Sequence[Any], attrs: Any) -> Any:
    x, i, u = inputs
    if not i.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {i.dtype.name}")
    if u.dtype is not x.dtype:
        raise DTypeError(f"updates are {u.dtype.name}, the tensor is {x.dtype.name}")
    _check_updates(i.dims, u.dims, x.dims)
    return ((x.dtype, x.dims),)


def _update_kernel(xp: Any, x: Any, indices: Any, updates: Any, out: Any = None) -> Any:
    try:
        _check_updates(indices.shape, updates.shape, x.shape)
    except ShapeError as error:
        raise InvalidArgumentError(error.message) from None
    at, q = _flat_rows(xp, indices, x.shape, 0, "tensor_scatter_update")
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    if out is not x:
        xp.copyto(out, x)
    if updates.size:
        _put_rows(out.reshape(-1, q), at, updates.reshape(-1, q))
    return out


def _update_rest(op: Operation, g: Tensor) -> Tensor:
    zeros = TABLE["zeros_like"](op.inputs[2])
    return create(TENSOR_SCATTER_UPDATE, (g, op.inputs[1], zeros))


def _update_jvp(op: Operation, t: Tensor | None, _: Any, u: Tensor | None) -> Tensor:
    x, i, updates = op.inputs
    t = TABLE["zeros_like"](x) if t is None else t
    u = TABLE["zeros_like"](updates) if u is None else u
    return create(TENSOR_SCATTER_UPDATE, (t, i, u))


TENSOR_SCATTER_UPDATE: OpDef = OpDef(
    "TensorScatterUpdate",
    infer=_infer_update,
    kernel=_update_kernel,
    inputs=("tensor", "indices", "updates"),
    linear=True,
    vjp=(
        _update_rest,
        None,
        lambda op, g: create(GATHER_LAST, (g, op.inputs[1]), {"batch_dims": 0}),
    ),
    jvp=_update_jvp,
    inplace=(0,),
    writes_out=True,
    flops=no_flops,
    batch=batch_index.tensor_scatter_update,
    doc="the tensor with updates put at indices",
)


def _scatter_operands(tensor: Any, indices: Any, updates: Any) -> Any:
    x, u = pair(tensor, updates)
    return x, integers(indices, "indices"), u


def tensor_scatter_update(
    tensor: Any, indices: Any, updates: Any, name: str | None = None
) -> Tensor:
    """``tensor`` with ``updates[i]`` in place of what is at ``indices[i]``.

    Args:
        tensor: shape S.
        indices: integers (..., k).
        updates: shape indices.shape[:-1] + S[k:].
        name: the name of the operation.

    Where an index repeats, the last update wins, and only it gets a gradient.

    Raises:
        InvalidArgumentError: an index is out of range (negative ones too).
        ShapeError: ``updates`` does not fit.
    """
    operands = _scatter_operands(tensor, indices, updates)
    return create(TENSOR_SCATTER_UPDATE, operands, None, name)


def tensor_scatter_add(
    tensor: Any, indices: Any, updates: Any, name: str | None = None
) -> Tensor:
    """``tensor`` with ``updates[i]`` added at ``indices[i]``; repeats add up.

    Raises and shapes: as :func:`tensor_scatter_update`.
    """
    x, i, u = _scatter_operands(tensor, indices, updates)
    with scope(name, "TensorScatterAdd", x):
        y: Tensor = TABLE["add"](x, _scatter_nd(u, i, shape_tensor(x)))
        return y


def tensor_scatter_sub(
    tensor: Any, indices: Any, updates: Any, name: str | None = None
) -> Tensor:
    """``tensor`` with ``updates[i]`` subtracted at ``indices[i]``; repeats add up.

    Raises and shapes: as :func:`tensor_scatter_update`.
    """
    x, i, u = _scatter_operands(tensor, indices, updates)
    with scope(name, "TensorScatterSub", x):
        y: Tensor = TABLE["sub"](x, _scatter_nd(u, i, shape_tensor(x)))
        return y
