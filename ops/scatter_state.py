"""Writes to some rows or elements of a variable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.shapes import Dims, compatible, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create
from .assignment import require_numeric, same_dtype, variable_tensor

__all__ = [
    "scatter_add",
    "scatter_div",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "scatter_nd_add",
    "scatter_nd_sub",
    "scatter_nd_update",
    "scatter_sub",
    "scatter_update",
]

_NO_GRADIENT = (
    "it writes a variable; dagrad.tensor_scatter_add and its relatives are "
    "differentiable"
)
# From this many elements a row on, a loop over rows is faster than ufunc.at.
_WIDE_ROW = 56

Apply = Callable[[Any, Any, Any], None]


def _check_indices(indices: Any, limit: int) -> None:
    """Raises InvalidArgumentError for an index outside [0, limit)."""
    if not indices.size:
        return
    if indices.min() < 0 or indices.max() >= limit:
        bad = np.argwhere((indices < 0) | (indices >= limit))[0]
        raise InvalidArgumentError(
            f"indices{[int(i) for i in bad]} = {indices[tuple(bad)]} is not in "
            f"[0, {limit})"
        )


def _rows_apply(ufunc: str) -> Apply:
    """Repeated indices accumulate, in order."""
    function = getattr(np, ufunc)

    def apply(array: Any, indices: Any, updates: Any) -> None:
        width = math.prod(array.shape[1:])
        if width < _WIDE_ROW:
            function.at(array, indices, updates)
            return
        for i, row in zip(indices.reshape(-1).tolist(), updates):
            target = array[i]
            function(target, row, out=target)

    return apply


def _rows_set(array: Any, indices: Any, updates: Any) -> None:
    array[indices] = updates


def _rows_divide(array: Any, indices: Any, updates: Any) -> None:
    if array.dtype.kind not in "iu":
        _DIVIDE(array, indices, updates)
        return
    if not np.all(updates):
        raise InvalidArgumentError("an integer variable cannot be divided by zero")
    for i, row in zip(indices.reshape(-1).tolist(), updates):
        # Integers divide toward zero, as in TF1.
        quotient = np.floor_divide(array[i], row)
        inexact = quotient * row != array[i]
        array[i] = quotient + (inexact & ((array[i] < 0) != (row < 0)))


_DIVIDE = _rows_apply("true_divide")


def _infer_rows(arithmetic: bool) -> Any:
    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        ref, indices, updates = inputs
        _check_dtypes(inputs, arithmetic)
        if ref.dims is not None and not ref.dims:
            raise ShapeError("a scalar variable has no rows to scatter to")
        if ref.dims is not None and indices.dims is not None and updates.dims != ():
            _check_updates(updates.dims, indices.dims + ref.dims[1:])
        return ((ref.dtype, ref.dims),)

    return infer


def _check_dtypes(inputs: Sequence[Any], arithmetic: bool) -> None:
    ref, indices, updates = inputs
    if not indices.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {indices.dtype.name}")
    same_dtype((ref, updates))
    if arithmetic:
        require_numeric(inputs)


def _check_updates(actual: Dims, wanted: Dims) -> None:
    if not compatible(actual, wanted):
        raise ShapeError(
            f"updates must have shape {text(wanted)} (that of indices, then that of "
            f"what one index selects), not {text(actual)}"
        )


def _scatter(type: str, apply: Apply, doc: str, arithmetic: bool = True) -> OpDef:
    def kernel(xp: Any, array: Any, indices: Any, updates: Any, out: Any = None) -> Any:
        _check_indices(indices, array.shape[0])
        if updates.ndim:
            _check_updates(updates.shape, indices.shape + array.shape[1:])
        flat = indices.reshape(-1)
        # The updates may be a view of the variable itself.
        if np.may_share_memory(array, updates):
            updates = updates.copy()
        rows = np.broadcast_to(updates, indices.shape + array.shape[1:])
        apply(array, flat, rows.reshape(flat.shape + array.shape[1:]))
        return array

    return OpDef(
        type,
        infer=_infer_rows(arithmetic),
        kernel=kernel,
        inputs=("ref", "indices", "updates"),
        no_gradient=_NO_GRADIENT,
        alias=0,
        effect="update",
        updates=(0,),
        flops=lambda ins, outs, attrs: math.prod(d or 0 for d in ins[2].dims or ()),
        doc=doc,
    )


SCATTER_UPDATE = _scatter("ScatterUpdate", _rows_set, "ref[i] = u", False)
SCATTER_ADD = _scatter("ScatterAdd", _rows_apply("add"), "ref[i] += u")
SCATTER_SUB = _scatter("ScatterSub", _rows_apply("subtract"), "ref[i] -= u")
SCATTER_MUL = _scatter("ScatterMul", _rows_apply("multiply"), "ref[i] *= u")
SCATTER_DIV = _scatter("ScatterDiv", _rows_divide, "ref[i] /= u")
SCATTER_MIN = _scatter("ScatterMin", _rows_apply("minimum"), "ref[i] = min(ref[i], u)")
SCATTER_MAX = _scatter("ScatterMax", _rows_apply("maximum"), "ref[i] = max(ref[i], u)")


def _build(
    opdef: OpDef, ref: Any, indices: Any, updates: Any, name: str | None
) -> Tensor:
    t = variable_tensor(ref, opdef.type)
    with t.op.graph.as_default():
        i = as_tensor(indices)
        if isinstance(updates, Tensor) or hasattr(updates, "_as_tensor"):
            u = as_tensor(updates)
        else:
            u = as_tensor(updates, t.dtype)
    return create(opdef, (t, i, u), None, name)


def scatter_update(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = True,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] = updates[i]; of repeated indices the last one stays.

    Args:
        ref: a variable (n, ...).
        indices: integers in [0, n), of any shape s.
        updates: (s..., ...) of the variable's dtype, or a scalar for all rows.
        use_locking: accepted for TF1 programs.
        name: the name of the operation.

    Returns:
        The whole variable after the write.

    Raises:
        ShapeError, DTypeError: the arguments do not fit the variable.
        InvalidArgumentError: at run time, an index outside [0, n).
    """
    return _build(SCATTER_UPDATE, ref, indices, updates, name)


def scatter_add(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] += updates[i], repeats add up; see :func:`scatter_update`."""
    return _build(SCATTER_ADD, ref, indices, updates, name)


def scatter_sub(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] -= updates[i], repeats add up; see :func:`scatter_update`."""
    return _build(SCATTER_SUB, ref, indices, updates, name)


def scatter_mul(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] *= updates[i], for repeats too; see :func:`scatter_update`."""
    return _build(SCATTER_MUL, ref, indices, updates, name)


def scatter_div(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] /= updates[i] (integers: toward zero).

    See :func:`scatter_update`; an integer divided by zero raises
    InvalidArgumentError at run time.
    """
    return _build(SCATTER_DIV, ref, indices, updates, name)


def scatter_min(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] = min(ref[indices[i]], updates[i]); NaN stays NaN.

    See :func:`scatter_update`.
    """
    return _build(SCATTER_MIN, ref, indices, updates, name)


def scatter_max(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] = max(ref[indices[i]], updates[i]); NaN stays NaN.

    See :func:`scatter_update`.
    """
    return _build(SCATTER_MAX, ref, indices, updates, name)


# -- elements and slices ------------------------------------------------------------


def _infer_nd(arithmetic: bool) -> Any:
    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        ref, indices, updates = inputs
        _check_dtypes(inputs, arithmetic)
        if ref.dims is None or not indices.dims or indices.dims[-1] is None:
            if indices.dims == ():
                raise ShapeError("indices must have shape (..., k), not ()")
            return ((ref.dtype, ref.dims),)
        depth = indices.dims[-1]
        if depth > len(ref.dims):
            raise ShapeError(
                f"indices of length {depth} select nothing in a variable of shape "
                f"{text(ref.dims)}"
            )
        _check_updates(updates.dims, indices.dims[:-1] + ref.dims[depth:])
        return ((ref.dtype, ref.dims),)

    return infer


def _nd_set(array: Any, key: Any, updates: Any) -> None:
    array[key] = updates


def _nd_apply(ufunc: str) -> Apply:
    function = getattr(np, ufunc)

    def apply(array: Any, key: Any, updates: Any) -> None:
        function.at(array, key, updates)

    return apply


def _scatter_nd(type: str, apply: Apply, doc: str, arithmetic: bool = True) -> OpDef:
    def kernel(xp: Any, array: Any, indices: Any, updates: Any, out: Any = None) -> Any:
        depth = indices.shape[-1]
        if depth > array.ndim:
            raise ShapeError(
                f"indices of length {depth} select nothing in a variable of shape "
                f"{text(array.shape)}"
            )
        _check_updates(updates.shape, indices.shape[:-1] + array.shape[depth:])
        key = tuple(indices[..., i] for i in range(depth))
        for axis, part in enumerate(key):
            _check_indices(part, array.shape[axis])
        if np.may_share_memory(array, updates):
            updates = updates.copy()
        if depth:
            apply(array, key, updates)
        else:  # every (empty) index selects the whole variable
            for whole in updates.reshape((-1, *array.shape)):
                apply(array, (), whole)
        return array

    return OpDef(
        type,
        infer=_infer_nd(arithmetic),
        kernel=kernel,
        inputs=("ref", "indices", "updates"),
        no_gradient=_NO_GRADIENT,
        alias=0,
        effect="update",
        updates=(0,),
        flops=lambda ins, outs, attrs: math.prod(d or 0 for d in ins[2].dims or ()),
        doc=doc,
    )


SCATTER_ND_UPDATE = _scatter_nd("ScatterNdUpdate", _nd_set, "ref[i] = u", False)
SCATTER_ND_ADD = _scatter_nd("ScatterNdAdd", _nd_apply("add"), "ref[i] += u")
SCATTER_ND_SUB = _scatter_nd("ScatterNdSub", _nd_apply("subtract"), "ref[i] -= u")


def scatter_nd_update(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = True,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i, 0], ..., indices[i, k-1]] = updates[i].

    Args:
        ref: a variable of rank r >= k.
        indices: (..., k) integers; of repeated ones the last one stays.
        updates: the shape of ``indices`` without its last dimension, then the
            last r - k dimensions of the variable.
        use_locking: accepted for TF1 programs.
        name: the name of the operation.

    Returns:
        The whole variable after the write.

    Raises:
        ShapeError, DTypeError: the arguments do not fit the variable.
        InvalidArgumentError: at run time, an index out of range.
    """
    return _build(SCATTER_ND_UPDATE, ref, indices, updates, name)


def scatter_nd_add(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] += updates[i], repeats add up; see :func:`scatter_nd_update`."""
    return _build(SCATTER_ND_ADD, ref, indices, updates, name)


def scatter_nd_sub(
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ref[indices[i]] -= updates[i], repeats add up; see :func:`scatter_nd_update`."""
    return _build(SCATTER_ND_SUB, ref, indices, updates, name)
