"""Joining and cutting: concat, stack, unstack, split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.gradients import IndexedSlices
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, merge, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import constant, create, create_many, scope
from ._later import batch
from ._static import (
    alike,
    integers,
    is_symbolic,
    known_int,
    normal_axis,
    try_ints,
)
from .views import expand_dims, no_flops

__all__ = ["concat", "split", "stack", "unstack"]


# -- concat --------------------------------------------------------------------


def _infer_concat(inputs: Sequence[Any], attrs: Any) -> Any:
    dtype = inputs[0].dtype
    rank = None
    for t in inputs:
        if t.dtype is not dtype:
            raise DTypeError(f"inputs have dtypes {dtype.name} and {t.dtype.name}")
        if t.dims is not None:
            if not t.dims:
                raise ShapeError("scalars cannot be concatenated: use stack")
            if rank is not None and rank != len(t.dims):
                raise ShapeError(
                    "inputs have different ranks: "
                    + ", ".join(text(t.dims) for t in inputs)
                )
            rank = len(t.dims)
    if rank is None:
        return ((dtype, None),)
    axis = normal_axis(attrs["axis"], (None,) * rank)
    total: int | None = 0
    rest: Dims = None
    for t in inputs:
        if t.dims is None:
            total = None
            continue
        d = t.dims[axis]
        total = None if d is None or total is None else total + d
        other = t.dims[:axis] + t.dims[axis + 1 :]
        try:
            rest = merge(rest, other)
        except ShapeError:
            raise ShapeError(
                f"shapes differ beside axis {axis}: "
                + ", ".join(text(t.dims) for t in inputs)
            ) from None
    assert rest is not None
    return ((dtype, (*rest[:axis], total, *rest[axis:])),)


def _concat_kernel(xp: Any, *arrays: Any, axis: int, out: Any = None) -> Any:
    try:
        return xp.concatenate(arrays, axis, out)
    except ValueError as error:
        raise InvalidArgumentError(
            f"shapes {', '.join(str(a.shape) for a in arrays)} cannot be joined "
            f"along axis {axis}: {error}"
        ) from None


def _concat_places(inputs: Sequence[Any], attrs: Any) -> list[tuple[Any, ...]]:
    axis = normal_axis(attrs["axis"], inputs[0].dims)
    ends = list(accumulate(t.dims[axis] for t in inputs))
    lead = (slice(None),) * axis
    return [(*lead, slice(a, b)) for a, b in zip([0, *ends], ends)]


def _concat_value(inputs: Sequence[Any], attrs: Any) -> Any:
    if not inputs[0].dtype.is_integer:
        return None
    parts = [known_dims(t) if t.dims and len(t.dims) == 1 else None for t in inputs]
    if any(p is None for p in parts):
        return None
    joined = [d for p in parts if p is not None for d in p]
    if len(joined) > 64 or all(d is None for d in joined):
        return None
    if None in joined:
        return tuple(joined)
    return np.array(joined, dtype=inputs[0].dtype.dtype)


def _concat_rule(op: Operation, g: Tensor) -> Any:
    axis = op.attrs["axis"]
    sizes = [None if t.dims is None else t.dims[axis] for t in op.inputs]
    if None not in sizes:
        attrs = {"axis": axis, "num": len(sizes), "fixed": tuple(sizes)}
        return create_many(SPLIT, (g,), attrs)
    from .core import shape
    from .indexing import getitem

    lengths = [getitem(shape(t), axis) for t in op.inputs]
    attrs = {"axis": axis, "num": len(lengths), "fixed": None}
    parts = create_many(SPLIT_V, (g, stack(lengths)), attrs)
    return [_known_shape(p, t) for p, t in zip(parts, op.inputs)]


def _known_shape(part: Tensor, like: Tensor) -> Tensor:
    part.set_shape(like.dims)
    return part


def _present(tangents: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Any]:
    """Tangents, zeros where there is none."""
    return [TABLE["zeros_like"](x) if t is None else t for t, x in zip(tangents, like)]


CONCAT: OpDef = OpDef(
    "ConcatV2",
    infer=_infer_concat,
    kernel=_concat_kernel,
    inputs=("*values",),
    linear=True,
    vjp=_concat_rule,
    jvp=lambda op, *ts: create(CONCAT, _present(ts, op.inputs), dict(op.attrs)),
    writes_out=True,
    places=_concat_places,
    shape_math=True,
    value=_concat_value,
    flops=no_flops,
    batch=batch.along_axis,
    doc="tensors joined along an axis",
)


def concat(values: Any, axis: Any, name: str | None = "concat") -> Tensor:
    """Tensors joined along ``axis``; their other sizes agree.

    Args:
        values: a list of tensors of one rank >= 1; dtypes are promoted.
        axis: an int, known while the graph is built.
        name: the name of the operation.

    Raises:
        ShapeError: scalars, ranks or other sizes that differ.

    Gradient: each value gets its part of the cotangent.
    """
    if is_symbolic(values):
        values = [values]
    tensors = alike(values, "concat")
    dims = next((t.dims for t in tensors if t.dims is not None), None)
    at = known_int(axis, "concat: axis")
    if dims:
        at = normal_axis(at, dims, "concat: axis")
    if len(tensors) == 1:
        from .core import identity

        return identity(tensors[0], name)
    return create(CONCAT, tensors, {"axis": at}, name)


# -- stack and unstack ---------------------------------------------------------


def _infer_stack(inputs: Sequence[Any], attrs: Any) -> Any:
    first = inputs[0]
    dims = first.dims
    for t in inputs[1:]:
        if t.dtype is not first.dtype:
            raise DTypeError(f"inputs have dtypes {first.dtype.name}, {t.dtype.name}")
        dims = dims if dims == t.dims else merge(dims, t.dims)
    if dims is None:
        return ((first.dtype, None),)
    at = normal_axis(attrs["axis"], dims, extra=1)
    return ((first.dtype, (*dims[:at], len(inputs), *dims[at:])),)


#: Parts and elements of a part from which parts become columns tile by tile, and the
#: bytes of a tile: a column alone goes over all lines of memory of the result.
_COLUMNS, _LONG, _TILE = 8, 1024, 256 * 1024


def _stack_kernel(
    xp: Any, *arrays: Any, axis: int, out: Any = None, work: Any = None
) -> Any:
    first = arrays[0]
    if any(a.shape != first.shape for a in arrays):
        raise InvalidArgumentError(
            "stack needs one shape, not " + ", ".join(str(a.shape) for a in arrays)
        )
    rank = first.ndim + 1
    at = axis + rank if axis < 0 else axis
    if out is None:
        dims = (*first.shape[:at], len(arrays), *first.shape[at:])
        out = xp.empty(dims, first.dtype)
    if at == 0:
        for i, a in enumerate(arrays):
            out[i] = a
    elif at == 1 == first.ndim and _in_tiles(len(arrays), first.size):
        _columns(xp, arrays, out, work)
    else:
        lead = (slice(None),) * at
        for i, a in enumerate(arrays):
            out[(*lead, i)] = a
    return out


def _in_tiles(count: int, size: int) -> bool:
    """Whether vectors become columns tile by tile."""
    return count >= _COLUMNS and size >= _LONG


def _tile(count: int, size: int, itemsize: int) -> tuple[int, int]:
    return count, max(1, min(size, _TILE // (count * itemsize)))


def _columns(xp: Any, arrays: Any, out: Any, work: Any) -> None:
    """Vectors as columns, by way of a tile in the cache."""
    size = len(arrays[0])
    shape = _tile(len(arrays), size, out.itemsize)
    tile = work[0] if work else xp.empty(shape, out.dtype)
    rows = shape[1]
    for begin in range(0, size, rows):
        end = min(begin + rows, size)
        part = tile[:, : end - begin]
        for i, a in enumerate(arrays):
            part[i] = a[begin:end]
        out[begin:end] = part.T


def _stack_workspace(inputs: Any, outputs: Any, attrs: Any) -> Any:
    out, count = outputs[0], len(inputs)
    last = attrs["axis"] in (-1, 1) and len(out.dims) == 2
    if not last or not _in_tiles(count, out.dims[0]):
        return []
    return [(out.dtype.dtype, _tile(count, out.dims[0], out.dtype.size))]


def _stack_places(inputs: Sequence[Any], attrs: Any) -> list[tuple[Any, ...]]:
    lead = (slice(None),) * normal_axis(attrs["axis"], inputs[0].dims, extra=1)
    return [(*lead, i) for i in range(len(inputs))]


def _stack_value(inputs: Sequence[Any], attrs: Any) -> Any:
    if len(inputs) > 64 or not inputs[0].dtype.is_integer:
        return None
    if any(t.dims != () for t in inputs):
        return None
    parts = tuple(
        int(t.value) if isinstance(t.value, np.ndarray) else None for t in inputs
    )
    if all(p is None for p in parts):
        return None
    return np.array(parts, inputs[0].dtype.dtype) if None not in parts else parts


def _stack_rule(op: Operation, g: Tensor) -> Any:
    return create_many(UNSTACK, (g,), {"axis": op.attrs["axis"], "num": len(op.inputs)})


STACK: OpDef = OpDef(
    "Pack",
    infer=_infer_stack,
    kernel=_stack_kernel,
    inputs=("*values",),
    linear=True,
    vjp=_stack_rule,
    jvp=lambda op, *ts: create(STACK, _present(ts, op.inputs), dict(op.attrs)),
    writes_out=True,
    places=_stack_places,
    workspace=_stack_workspace,
    shape_math=True,
    value=_stack_value,
    flops=no_flops,
    batch=batch.along_axis,
    doc="tensors of one shape joined along a new axis",
)


def stack(values: Any, axis: int = 0, name: str | None = "stack") -> Tensor:
    """Tensors of one shape joined along a new axis.

    Args:
        values: a list of tensors (rank n); dtypes are promoted.
        axis: where the new axis stands, in [-n - 1, n].
        name: the name of the operation.

    Raises:
        ShapeError: no values, shapes that differ, an axis out of range.

    Gradient: each value gets its slice of the cotangent.
    """
    if is_symbolic(values):
        values = unstack(values)
    tensors = alike(values, "stack")
    at = known_int(axis, "stack: axis")
    dims = next((t.dims for t in tensors if t.dims is not None), None)
    at = normal_axis(at, dims, "stack: axis", extra=1)
    return create(STACK, tensors, {"axis": at}, name)


def _infer_unstack(inputs: Sequence[Any], attrs: Any) -> Any:
    x, num = inputs[0], attrs["num"]
    if x.dims is None:
        return ((x.dtype, None),) * num
    at = normal_axis(attrs["axis"], x.dims)
    if x.dims[at] not in (num, None):
        raise ShapeError(f"axis {at} of {text(x.dims)} does not hold {num} slices")
    return ((x.dtype, x.dims[:at] + x.dims[at + 1 :]),) * num


def _pieces_kernel(keys: Any, x: Any, out: Any) -> Any:
    """Copies of parts of ``x``, in ``out`` where it is given."""
    if out is None:
        return tuple(x[k].copy() for k in keys)
    for o, k in zip(out if isinstance(out, tuple) else (out,), keys):
        o[...] = x[k]
    return out


def _unstack_kernel(xp: Any, x: Any, *, axis: int, num: int, out: Any = None) -> Any:
    if x.shape[axis] != num:
        raise InvalidArgumentError(
            f"axis {axis} of an array of shape {x.shape} does not hold {num} slices"
        )
    lead = (slice(None),) * (axis + x.ndim if axis < 0 else axis)
    return _pieces_kernel([(*lead, i, ...) for i in range(num)], x, out)


def _unstack_rule(op: Operation, *gs: Tensor | None) -> list[Any]:
    """The cotangents, stacked; of one row alone that row, as for ``x[i]``."""
    axis, read = op.attrs["axis"], [i for i, g in enumerate(gs) if g is not None]
    if axis == 0 and len(read) == 1:
        row = expand_dims(gs[read[0]], 0)
        return [IndexedSlices(row, constant(np.array(read, np.int32)), op.inputs[0])]
    return [create(STACK, _present(gs, op.outputs), {"axis": axis})]


UNSTACK: OpDef = OpDef(
    "Unpack",
    infer=_infer_unstack,
    kernel=_unstack_kernel,
    inputs=("value",),
    linear=True,
    vjp=_unstack_rule,
    jvp=lambda op, t: create_many(UNSTACK, (t,), dict(op.attrs)),
    writes_out=True,
    flops=no_flops,
    batch=batch.split,
    doc="the slices of x along an axis",
)


def unstack(
    value: Any, num: int | None = None, axis: int = 0, name: str | None = "unstack"
) -> list[Tensor]:
    """The slices of ``value`` along ``axis``, as a list (the inverse of stack).

    Args:
        value: any shape and dtype.
        num: the size of that axis (default: from the static shape).
        axis: an int.
        name: the name of the operation.

    Raises:
        ShapeError: the size is not known and not given, or is not ``num``.

    Gradient: the cotangents, stacked.
    """
    x = as_tensor(value)
    at = normal_axis(known_int(axis, "unstack: axis"), x.dims, "unstack: axis")
    if num is None:
        num = None if x.dims is None else x.dims[at]
        if num is None:
            raise ShapeError(
                f"unstack: the size of axis {at} of {x!r} is not known: give num"
            )
    num = known_int(num, "unstack: num")
    if x.value is not None and x.dims is not None and len(x.dims) == 1:
        return _scalars(x, num, name)
    if num == 0:
        _infer_unstack((x,), {"num": num, "axis": at})
        return []
    return list(create_many(UNSTACK, (x,), {"axis": at, "num": num}, name))


def _scalars(x: Tensor, num: int, name: str | None) -> list[Tensor]:
    """The elements of a vector of sizes: slices, so that each stays known."""
    from .indexing import getitem

    _infer_unstack((x,), {"num": num, "axis": 0})
    with scope(name, "unstack", x):
        return [getitem(x, i) for i in range(num)]


# -- split ---------------------------------------------------------------------


def _split_sizes(attrs: Any, given: Dims, total: int | None) -> Dims:
    """The size of each part, as far as it is known."""
    num: int = attrs["num"]
    parts: Dims = attrs["fixed"] if attrs["fixed"] is not None else given
    if parts is None:
        return (None,) * num
    if len(parts) != num:
        raise ShapeError(f"{len(parts)} sizes for {num} parts")
    if -1 in parts:
        if total is None or any(p is None for p in parts):
            return tuple(None if p == -1 else p for p in parts)
        rest = total - sum(p for p in parts if p is not None and p != -1)
        parts = tuple(rest if p == -1 else p for p in parts)
    if any(p is not None and p < 0 for p in parts):
        raise ShapeError(f"sizes {list(parts)} do not split an axis of {total}")
    known = [p for p in parts if p is not None]
    if total is not None and len(known) == len(parts) and sum(known) != total:
        raise ShapeError(f"sizes {list(parts)} do not add up to {total}")
    return tuple(parts)


def _infer_split(inputs: Sequence[Any], attrs: Any) -> Any:
    x, num = inputs[0], attrs["num"]
    if x.dims is None:
        return ((x.dtype, None),) * num
    at = normal_axis(attrs["axis"], x.dims)
    total = x.dims[at]
    parts: Dims
    if len(inputs) == 1 and attrs["fixed"] is None:
        if total is not None and total % num:
            raise ShapeError(
                f"axis {at} of {text(x.dims)} is not divisible into {num} parts"
            )
        parts = (None if total is None else total // num,) * num
    else:
        parts = _split_sizes(
            attrs, known_dims(inputs[1]) if len(inputs) > 1 else None, total
        )
    assert parts is not None
    return tuple((x.dtype, (*x.dims[:at], p, *x.dims[at + 1 :])) for p in parts)


def _split_keys(x: Any, axis: int, parts: Any) -> Any:
    lead = (slice(None),) * (axis + x.ndim if axis < 0 else axis)
    keys = []
    begin = 0
    for p in parts:
        keys.append((*lead, slice(begin, begin + p)))
        begin += p
    return keys


def _split_kernel(
    xp: Any,
    x: Any,
    lengths: Any = None,
    *,
    axis: int,
    num: int,
    fixed: Any,
    out: Any = None,
) -> Any:
    total = x.shape[axis]
    try:
        if lengths is None and fixed is None:
            if total % num:
                raise ShapeError(f"an axis of {total} has no {num} equal parts")
            parts: Any = (total // num,) * num
        else:
            given = None if lengths is None else tuple(lengths.tolist())
            parts = _split_sizes({"num": num, "fixed": fixed}, given, total)
    except ShapeError as error:
        raise InvalidArgumentError(error.message) from None
    return _pieces_kernel(_split_keys(x, axis, parts), x, out)


def _split_rule(op: Operation, *gs: Tensor | None) -> Any:
    joined = create(CONCAT, _present(gs, op.outputs), {"axis": op.attrs["axis"]})
    joined.set_shape(op.inputs[0].dims)
    return [joined] + [None] * (len(op.inputs) - 1)


def _split_op(type: str, inputs: tuple[str, ...]) -> OpDef:
    return OpDef(
        type,
        infer=_infer_split,
        kernel=_split_kernel,
        inputs=inputs,
        linear=True,
        vjp=_split_rule,
        jvp=lambda op, t, *_: create_many(
            op.opdef, (t, *op.inputs[1:]), dict(op.attrs)
        ),
        writes_out=True,
        flops=no_flops,
        batch=batch.split,
        doc="x cut into parts along an axis",
    )


SPLIT = _split_op("Split", ("value",))
SPLIT_V = _split_op("SplitV", ("value", "size_splits"))


def split(
    value: Any,
    num_or_size_splits: Any,
    axis: Any = 0,
    num: int | None = None,
    name: str | None = "split",
) -> list[Tensor]:
    """``value`` cut into parts along ``axis``.

    Args:
        value: any shape and dtype.
        num_or_size_splits: an int (that many equal parts) or a vector of sizes,
            one of which may be -1 for what is left; a tensor of sizes works
            where its length or ``num`` is known.
        axis: an int, known while the graph is built.
        num: the number of parts, where sizes of unknown length are given.
        name: the name of the operation.

    Raises:
        ShapeError: the parts do not make up the axis (InvalidArgumentError
            where only the run can tell).

    Gradient: the cotangents, concatenated; zeros for unused parts.
    """
    x = as_tensor(value)
    at = normal_axis(known_int(axis, "split: axis"), x.dims, "split: axis")
    known = try_ints(num_or_size_splits, "split: sizes")
    attrs: dict[str, Any]
    if known is None:
        lengths = integers(num_or_size_splits, "split: sizes")
        if num is None and lengths.dims:
            num = lengths.dims[0]
        if num is None:
            raise ShapeError("split: the number of parts is not known: give num")
        attrs = {"axis": at, "num": num, "fixed": None}
        parts = create_many(SPLIT_V, (x, lengths), attrs, name)
    elif known.ndim == 0:
        if known < 1:
            raise ShapeError(f"split: {int(known)} parts")
        attrs = {"axis": at, "num": int(known), "fixed": None}
        parts = create_many(SPLIT, (x,), attrs, name)
    else:
        fixed = tuple(int(n) for n in known)
        if sum(n == -1 for n in fixed) > 1 or min(fixed, default=0) < -1:
            raise ShapeError(f"split: sizes {list(fixed)} may hold one -1 only")
        attrs = {"axis": at, "num": len(fixed), "fixed": fixed}
        parts = create_many(SPLIT, (x,), attrs, name)
    return list(parts)


# What graphlib calls by name.
OPERATORS = {"concat": concat, "stack": stack, "unstack": unstack}
