"""Masks, classes and sequences: one_hot, boolean_mask, dynamic_partition and kin.

What a mask keeps is counted only in a run, so those sizes are unknown (None)
while the graph is built, even where all inputs are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, as_dtype, bool_, float32, int64
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operators import TABLE
from ..graphlib.shapes import is_static, merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import (
    common_dtype,
    create,
    create_many,
    numeric_array,
    scope,
)
from ._later import batch, batch_index
from ._static import (
    alike,
    as_vector,
    integers,
    is_symbolic,
    known_int,
    merged,
    normal_axis,
    try_ints,
)
from ._static import sizes as sizes_of
from .gather import check_range, gather
from .joining import concat
from .scatter import SCATTER_ND
from .views import expand_dims, no_flops, reshape

__all__ = [
    "boolean_mask",
    "dynamic_partition",
    "dynamic_stitch",
    "one_hot",
    "reverse_sequence",
    "sequence_mask",
]


# -- one_hot -------------------------------------------------------------------


def _infer_one_hot(inputs: Sequence[Any], attrs: Any) -> Any:
    i, depth = inputs[0], attrs["depth"]
    if not i.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {i.dtype.name}")
    if depth is None and isinstance(inputs[1].value, np.ndarray):
        depth = int(inputs[1].value)
    dtype = as_dtype(attrs["on"].dtype)
    if i.dims is None:
        return ((dtype, None),)
    at = normal_axis(attrs["axis"], i.dims, extra=1)
    return ((dtype, (*i.dims[:at], depth, *i.dims[at:])),)


def _one_hot_kernel(
    xp: Any,
    indices: Any,
    size: Any = None,
    *,
    depth: int | None,
    axis: int,
    on: Any,
    off: Any,
    out: Any = None,
) -> Any:
    n = int(size) if depth is None else depth
    if n < 0:
        raise InvalidArgumentError(f"one_hot: depth {n} must be >= 0")
    at = axis + indices.ndim + 1 if axis < 0 else axis
    dims = (*indices.shape[:at], n, *indices.shape[at:])
    if out is None:
        out = xp.empty(dims, on.dtype)
    out[...] = off
    if out.size:
        rest = int(np.prod(indices.shape[at:], dtype=np.int64))
        idx = indices.reshape(-1, rest)
        lead = xp.arange(idx.shape[0], dtype=np.int64)[:, None] * n
        flat = (lead + idx) * rest + xp.arange(rest)
        inside = (idx >= 0) & (idx < n)
        out.reshape(-1)[flat if inside.all() else flat[inside]] = on
    return out


ONE_HOT: OpDef = OpDef(
    "OneHot",
    infer=_infer_one_hot,
    kernel=_one_hot_kernel,
    inputs=("indices", "*depth"),
    writes_out=True,
    flops=no_flops,
    batch=batch.along_axis_of_first,
    doc="on where a new axis counts to the index, off elsewhere",
)


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """y[..., j] = on_value where j == indices[...], else off_value.

    Args:
        indices: integers of any shape I; one outside [0, depth) gives a row of
            ``off_value``.
        depth: the size of the new axis (an int or a scalar tensor).
        on_value, off_value: scalars (default 1 and 0); tensors get gradients.
        axis: where the new axis stands (default: last).
        dtype: of the result (default: of the values, else float32).
        name: the name of the operation.

    Raises:
        ShapeError: ``axis`` is out of range.
        DTypeError: the values are not of ``dtype``.
    """
    i = integers(indices, "one_hot: indices")
    at = known_int(-1 if axis is None else axis, "one_hot: axis")
    at = normal_axis(at, i.dims, "one_hot: axis", extra=1)
    values = [v for v in (on_value, off_value) if v is not None]
    if any(is_symbolic(v) for v in values):
        return _one_hot_of(i, depth, on_value, off_value, at, dtype, name)
    kind: DType | None = None if dtype is None else as_dtype(dtype)
    if kind is None:
        kind = common_dtype(values) if values else float32
    on = numeric_array(1 if on_value is None else on_value, None)
    off = numeric_array(0 if off_value is None else off_value, None)
    on = on.astype(kind.dtype) if on_value is None else _scalar_of(on, kind)
    off = off.astype(kind.dtype) if off_value is None else _scalar_of(off, kind)
    size = try_ints(depth, "one_hot: depth")
    known = None if size is None else known_int(depth, "one_hot: depth")
    if known is not None and known < 0:
        raise ShapeError(f"one_hot: depth {known} must be >= 0")
    inputs = (i,) if known is not None else (i, integers(depth, "one_hot: depth"))
    attrs = {"depth": known, "axis": at, "on": on, "off": off}
    return create(ONE_HOT, inputs, attrs, name or "one_hot")


def _scalar_of(array: Any, dtype: DType) -> Any:
    from ._build import cast_checked

    if array.ndim:
        raise ShapeError(f"one_hot: values must be scalars, not {text(array.shape)}")
    return np.asarray(cast_checked(array, dtype, "one_hot"))


def _one_hot_of(
    i: Tensor, depth: Any, on: Any, off: Any, axis: int, dtype: Any, name: Any
) -> Tensor:
    """one_hot between values that the graph computes."""
    from .logical import where_v2

    with scope(name, "one_hot", i):
        hot = one_hot(i, depth, True, False, axis, bool_)
        values = [1 if on is None else on, 0 if off is None else off]
        a, b = (as_tensor(v) if is_symbolic(v) else v for v in values)
        kind = common_dtype([a, b]) if dtype is None else as_dtype(dtype)
        a, b = (v if isinstance(v, Tensor) else as_tensor(v, kind) for v in (a, b))
        y: Tensor = where_v2(hot, a, b)
        return y


# -- masks ---------------------------------------------------------------------


def _infer_mask_indices(inputs: Sequence[Any], attrs: Any) -> Any:
    if inputs[0].dtype is not bool_:
        raise DTypeError(f"a mask must be bool, not {inputs[0].dtype.name}")
    return ((int64, (None,)),)


def _mask_indices_kernel(
    xp: Any, mask: Any, x: Any = None, *, axis: int, out: Any = None
) -> Any:
    if x is not None and x.shape[axis : axis + mask.ndim] != mask.shape:
        raise InvalidArgumentError(
            f"a mask of shape {mask.shape} does not fit axes {axis} to "
            f"{axis + mask.ndim - 1} of an array of shape {x.shape}"
        )
    return xp.flatnonzero(mask)


MASK_INDICES: OpDef = OpDef(
    "MaskIndices",
    infer=_infer_mask_indices,
    kernel=_mask_indices_kernel,
    inputs=("mask", "*like"),
    flops=no_flops,
    batch=batch_index.mask_indices,
    doc="the row-major positions at which a mask is true",
)


def boolean_mask(
    tensor: Any, mask: Any, name: str | None = "boolean_mask", axis: Any = None
) -> Tensor:
    """The elements (or slices) of ``tensor`` where ``mask`` is true, in order.

    Args:
        tensor: shape S, any dtype.
        mask: bool of known rank k >= 1, its shape equal to S[axis:axis + k].
        name: the name of the operation.
        axis: an int (default 0).

    Returns:
        Shape S[:axis] + (number of true,) + S[axis + k:]; that number is
        known only in a run.

    Raises:
        ShapeError: the mask does not fit (InvalidArgumentError where only the
            run can tell).

    Gradient: the cotangent where the mask is true, 0 elsewhere.
    """
    x = as_tensor(tensor)
    m = as_tensor(mask)
    at = known_int(0 if axis is None else axis, "boolean_mask: axis")
    at = normal_axis(at, x.dims, "boolean_mask: axis")
    if m.dims is None or not m.dims:
        raise ShapeError(f"boolean_mask: the rank of {m!r} must be known and >= 1")
    k = len(m.dims)
    part = None if x.dims is None else x.dims[at : at + k]
    try:
        merge(part, m.dims)
    except ShapeError:
        raise ShapeError(
            f"boolean_mask: a mask of shape {text(m.dims)} does not fit axes {at} to "
            f"{at + k - 1} of {text(x.dims)}"
        ) from None
    with scope(name, "boolean_mask", x, m):
        checked = part == m.dims and is_static(part)
        inputs = (m,) if checked else (m, x)
        where = create(MASK_INDICES, inputs, {"axis": at})
        if k > 1:
            shape = sizes_of(x, "boolean_mask")
            lead, tail = shape[:at], shape[at + k :]
            target = [*lead, merged(shape[at : at + k], [*lead, *tail]), *tail]
            x = reshape(x, as_vector(target, x.op.graph))
        return gather(x, where, axis=at)


# -- dynamic_partition and dynamic_stitch --------------------------------------


def _infer_partition(inputs: Sequence[Any], attrs: Any) -> Any:
    if not inputs[0].dtype.is_integer:
        raise DTypeError(f"partitions must be integers, not {inputs[0].dtype.name}")
    return ((int64, (None,)),) * attrs["num"]


def _partition_kernel(xp: Any, parts: Any, *, num: int, out: Any = None) -> Any:
    check_range(parts, num, "dynamic_partition")
    flat = parts.reshape(-1)
    order = xp.argsort(flat, kind="stable")
    ends = xp.cumsum(xp.bincount(flat, minlength=num))
    return tuple(xp.split(order, ends[:-1]))


PARTITION_INDICES: OpDef = OpDef(
    "PartitionIndices",
    infer=_infer_partition,
    kernel=_partition_kernel,
    inputs=("partitions",),
    flops=no_flops,
    doc="for each class, the row-major positions of its members",
)


def dynamic_partition(
    data: Any, partitions: Any, num_partitions: Any, name: str | None = None
) -> list[Tensor]:
    """``data`` dealt out: part i holds the slices whose ``partitions`` entry is i.

    Args:
        data: shape P + S, any dtype.
        partitions: integers in [0, num_partitions) of known shape rank P.
        num_partitions: an int.
        name: the name of the operation.

    Returns:
        ``num_partitions`` tensors (?,) + S, in the order of ``data``.

    Raises:
        ShapeError: ``partitions`` is no prefix of the shape of ``data``.
        InvalidArgumentError: an entry is out of range.

    Gradient: each slice gets the cotangent of the part that took it.
    """
    x = as_tensor(data)
    p = integers(partitions, "dynamic_partition: partitions")
    num = known_int(num_partitions, "dynamic_partition: num_partitions")
    if num < 1:
        raise ShapeError(f"dynamic_partition: {num} partitions")
    if p.dims is None:
        raise ShapeError("dynamic_partition: the rank of partitions must be known")
    k = len(p.dims)
    merge(None if x.dims is None else x.dims[:k], p.dims)
    with scope(name, "DynamicPartition", x, p):
        indices = create_many(PARTITION_INDICES, (p,), {"num": num})
        if k != 1:
            shape = sizes_of(x, "dynamic_partition")
            target = [merged(shape[:k], shape[k:]), *shape[k:]]
            x = reshape(x, as_vector(target, x.op.graph))
        return [gather(x, i) for i in indices]


STITCH_SIZE: OpDef = OpDef(
    "StitchSize",
    infer=lambda inputs, attrs: ((inputs[0].dtype, (1,)),),
    kernel=lambda xp, i, out=None: xp.full(1, i.max() + 1 if i.size else 0, i.dtype),
    inputs=("indices",),
    shape_math=True,
    doc="1 + the greatest index, 0 where there is none",
)


def dynamic_stitch(indices: Any, data: Any, name: str | None = None) -> Tensor:
    """y[indices[m][i]] = data[m][i]: the inverse of dynamic_partition.

    Args:
        indices: a list of integer tensors, >= 0.
        data: as many tensors, each of shape indices[m].shape + S.
        name: the name of the operation.

    Returns:
        Shape (1 + the greatest index,) + S.  Where an index repeats, the last
        wins (and only it gets a gradient); where one is missing there are zeros.

    Raises:
        ShapeError: lists of different lengths, or shapes that do not fit.
    """
    if len(indices) != len(data):
        raise ShapeError(
            f"dynamic_stitch: {len(indices)} indices for {len(data)} tensors"
        )
    where = [integers(i, "dynamic_stitch: indices") for i in alike(indices, "indices")]
    values = alike(data, "dynamic_stitch")
    with scope(name, "DynamicStitch", *values) as whole:
        rows = []
        rest: list[Any] = []
        for i, d in zip(where, values):
            if i.dims is None or d.dims is None:
                raise ShapeError("dynamic_stitch: all ranks must be known")
            merge(d.dims[: len(i.dims)], i.dims)
            sizes = sizes_of(d, "dynamic_stitch")
            rest = sizes[len(i.dims) :]
            if len(i.dims) != 1:
                height = merged(sizes[: len(i.dims)], rest)
                d = reshape(d, as_vector([height, *rest], d.op.graph))
            rows.append(d)
        flat = [i if i.dims and len(i.dims) == 1 else reshape(i, [-1]) for i in where]
        at = flat[0] if len(flat) == 1 else concat(flat, 0)
        updates = rows[0] if len(rows) == 1 else concat(rows, 0)
        tail = as_vector(rest, at.op.graph)
        shape = concat([create(STITCH_SIZE, (at,)), tail], 0)
        inputs = (expand_dims(at, 1), updates, shape)
        return create(SCATTER_ND, inputs, {"batch_dims": 0, "last": True}, whole)


# -- sequences -----------------------------------------------------------------


def _infer_sequence_mask(inputs: Sequence[Any], attrs: Any) -> Any:
    lengths, n = inputs[0], attrs["maxlen"]
    if not lengths.dtype.is_integer:
        raise DTypeError(f"lengths must be integers, not {lengths.dtype.name}")
    if len(inputs) > 1 and isinstance(inputs[1].value, np.ndarray):
        n = int(inputs[1].value)
    if lengths.dims is None:
        return ((bool_, None),)
    return ((bool_, (*lengths.dims, n)),)


def _sequence_mask_kernel(
    xp: Any, lengths: Any, size: Any = None, *, maxlen: Any, out: Any = None
) -> Any:
    if maxlen is None and size is None:
        maxlen = max(int(lengths.max()), 0) if lengths.size else 0
    n = int(size) if maxlen is None else maxlen
    return xp.less(xp.arange(n), lengths[..., None], out)


SEQUENCE_MASK: OpDef = OpDef(
    "SequenceMask",
    infer=_infer_sequence_mask,
    kernel=_sequence_mask_kernel,
    inputs=("lengths", "*maxlen"),
    writes_out=True,
    batch=batch_index.sequence_mask,
    doc="y[..., j] = j < lengths[...]",
)


def sequence_mask(
    lengths: Any, maxlen: Any = None, dtype: Any = bool_, name: str | None = None
) -> Tensor:
    """y[..., j] = j < lengths[...].

    Args:
        lengths: integers of any shape L.
        maxlen: the size of the new last axis (default: the greatest length,
            known only in a run).
        dtype: of the result.
        name: the name of the operation.

    Returns:
        Shape L + (maxlen,).
    """
    t = integers(lengths, "sequence_mask: lengths")
    n = None if maxlen is None else try_ints(maxlen, "sequence_mask: maxlen")
    inputs: tuple[Tensor, ...] = (t,)
    if maxlen is not None and n is None:
        inputs = (t, integers(maxlen, "sequence_mask: maxlen"))
    attrs = {"maxlen": None if n is None else known_int(maxlen, "maxlen")}
    y = create(SEQUENCE_MASK, inputs, attrs, name)
    wanted = as_dtype(dtype)
    return y if wanted is bool_ else TABLE["cast"](y, wanted)


def _infer_reverse_sequence(inputs: Sequence[Any], attrs: Any) -> Any:
    x, lengths = inputs
    if not lengths.dtype.is_integer:
        raise DTypeError(f"lengths must be integers, not {lengths.dtype.name}")
    if x.dims is None:
        return ((x.dtype, None),)
    s = normal_axis(attrs["seq_axis"], x.dims, "seq_axis")
    b = normal_axis(attrs["batch_axis"], x.dims, "batch_axis")
    if s == b:
        raise ShapeError(f"seq_axis and batch_axis are both {s}")
    merge((x.dims[b],), lengths.dims)
    return ((x.dtype, x.dims),)


def _reverse_sequence_kernel(
    xp: Any, x: Any, lengths: Any, *, seq_axis: int, batch_axis: int, out: Any = None
) -> Any:
    n, batch = x.shape[seq_axis], x.shape[batch_axis]
    if lengths.shape != (batch,):
        raise InvalidArgumentError(
            f"reverse_sequence: lengths of shape {lengths.shape} for a batch of {batch}"
        )
    check_range(lengths, n + 1, "reverse_sequence")
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    source = xp.moveaxis(x, (batch_axis, seq_axis), (0, 1))
    target = xp.moveaxis(out, (batch_axis, seq_axis), (0, 1))
    for i, k in enumerate(lengths.tolist()):
        target[i, :k] = source[i, :k][::-1]
        target[i, k:] = source[i, k:]
    return out


def _same_op(op: Any, t: Tensor, *_: Any) -> Tensor:
    return create(op.opdef, (t, *op.inputs[1:]), dict(op.attrs))


REVERSE_SEQUENCE: OpDef = OpDef(
    "ReverseSequence",
    infer=_infer_reverse_sequence,
    kernel=_reverse_sequence_kernel,
    inputs=("input", "seq_lengths"),
    linear=True,
    vjp=(_same_op, None),
    jvp=_same_op,
    writes_out=True,
    flops=no_flops,
    batch=batch_index.reverse_sequence,
    doc="the first seq_lengths[b] steps of each sequence b in reverse",
)


def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: Any = None,
    batch_axis: Any = None,
    name: str | None = None,
    seq_dim: Any = None,
    batch_dim: Any = None,
) -> Tensor:
    """The first ``seq_lengths[b]`` steps of each sequence b reversed, the rest kept.

    Args:
        input: any shape of rank >= 2.
        seq_lengths: (batch,) integers in [0, steps].
        seq_axis: the axis of the steps.
        batch_axis: the axis of the sequences (default 0).
        name: the name of the operation.
        seq_dim, batch_dim: TF1's old names of the axes.

    Raises:
        ShapeError: no ``seq_axis``, or sizes that do not fit.
        InvalidArgumentError: a length is out of range.

    Gradient: the cotangent, reversed the same way.
    """
    seq_axis = seq_dim if seq_axis is None else seq_axis
    batch_axis = batch_dim if batch_axis is None else batch_axis
    if seq_axis is None:
        raise ShapeError("reverse_sequence: seq_axis is missing")
    x = as_tensor(input)
    s = normal_axis(known_int(seq_axis, "seq_axis"), x.dims, "seq_axis")
    b = known_int(0 if batch_axis is None else batch_axis, "batch_axis")
    attrs = {"seq_axis": s, "batch_axis": normal_axis(b, x.dims, "batch_axis")}
    lengths = integers(seq_lengths, "reverse_sequence: seq_lengths")
    return create(REVERSE_SEQUENCE, (x, lengths), attrs, name)
