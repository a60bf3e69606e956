"""Pooling ops over windows along any axes but the first, and their gradients.

Windows have a size along every axis of the array (1 along those that are not
pooled), so one kernel serves every rank and data format, and pools over
channels too.  Padding is never copied: ``tap_views`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import merge, text
from ..graphlib.tensor import Tensor, known_dims
from ._build import create, shape_tensor
from ._kinds import iterator_buffers, require
from ._windows import Axis, make_axes, output_size, tap_counts, tap_views

__all__ = ["AVG_POOL", "AVG_POOL_GRAD", "MAX_POOL", "MAX_POOL_GRAD"]
__all__ += ["MAX_POOL_GRAD_GRAD", "MAX_POOL_WITH_ARGMAX"]

Attrs = Mapping[str, Any]

# The outputs that are worked on at a time take about this many bytes.
_CHUNK_BYTES = 64 * 1024


def _infer(inputs: Sequence[Any], attrs: Attrs) -> Any:
    x = inputs[0]
    return ((x.dtype, _pooled(x.dims, attrs)),)


def _pooled(dims: Any, attrs: Attrs) -> tuple[int | None, ...]:
    ksize, padding = attrs["ksize"], attrs["padding"]
    if dims is None:
        dims = (None,) * len(ksize)
    if len(dims) != len(ksize):
        raise ShapeError(
            f"windows of sizes {text(ksize)} need a tensor of rank {len(ksize)}, not "
            f"of shape {text(dims)}"
        )
    return tuple(
        d
        if (k, s) == (1, 1)
        else output_size(
            d, k, s, e, padding if isinstance(padding, str) else padding[i]
        )
        for i, (d, k, s, e) in enumerate(
            zip(dims, ksize, attrs["strides"], attrs["dilations"])
        )
    )


def _axes(shape: Sequence[int], attrs: Attrs) -> tuple[Axis, ...]:
    """The window along every axis but the first."""
    padding = attrs["padding"]
    return make_axes(
        tuple(shape[1:]),
        attrs["ksize"][1:],
        attrs["strides"][1:],
        attrs["dilations"][1:],
        padding if isinstance(padding, str) else padding[1:],
    )


def _chunk(images: int, axes: Sequence[Axis], itemsize: int) -> int:
    row = max(1, prod(a.outputs for a in axes) * itemsize)
    return min(max(1, _CHUNK_BYTES // row), max(1, images))


def _pairs(part: slice, axes: Sequence[Axis]) -> Iterator[tuple[Any, Any]]:
    for _, outs, ins in tap_views(axes):
        yield (part, *outs), (part, *ins)


def _parts(images: int, axes: Sequence[Axis], itemsize: int) -> Iterator[slice]:
    chunk = _chunk(images, axes, itemsize)
    for i in range(0, images, chunk):
        yield slice(i, min(i + chunk, images))


def _new(x: Any, axes: Sequence[Axis], out: Any) -> Any:
    if out is not None:
        return out
    return np.empty((x.shape[0], *(a.outputs for a in axes)), x.dtype)


def _check_pooled(x: Any, axes: Sequence[Axis], y: Any) -> None:
    shape = (x[0], *(a.outputs for a in axes))
    if shape != tuple(y):
        raise ShapeError(f"pooling {tuple(x)} gives {shape}, not {tuple(y)}")


# -- the largest ----------------------------------------------------------------------


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _max_kernel(xp: Any, x: Any, out: Any = None, **attrs: Any) -> Any:
    axes = _axes(x.shape, attrs)
    out = _new(x, axes, out)
    lowest = _lowest(out.dtype)
    for part in _parts(x.shape[0], axes, x.itemsize):
        started = False
        for outs, ins in _pairs(part, axes):
            target = out[outs]
            if started:
                np.maximum(target, x[ins], out=target)
                continue
            started = True
            if target.shape[1:] == out.shape[1:]:
                np.copyto(target, x[ins])
            else:
                out[part].fill(lowest)
                np.copyto(target, x[ins])
        if not started:
            out[part].fill(lowest)
    return out


def _bits(array: Any) -> Any:
    """A float array's bits, so that masks act on infinities and NaN alike."""
    return array.view(f"i{array.itemsize}")


def _scratch(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    """Two flags, a mask and a term for each output of a chunk."""
    x = ins[0]
    item = x.dtype.dtype
    axes = _axes(x.dims, attrs)
    n = _chunk(x.dims[0], axes, item.itemsize) * prod(a.outputs for a in axes)
    bits = np.dtype(f"i{item.itemsize}")
    return [(np.dtype(bool), (n,)), (np.dtype(bool), (n,)), (bits, (n,)), (bits, (n,))]


def _winners(
    x: Any, y: Any, axes: Sequence[Axis], attrs: Attrs, work: Any
) -> Iterator[tuple[Any, Any, Any, Any]]:
    """(outputs, inputs, mask, scratch) for each tap: the mask has all bits set
    where the tap holds the first largest input of its window."""
    chunk = _chunk(x.shape[0], axes, x.itemsize)
    if work is None:
        n = chunk * prod(a.outputs for a in axes)
        bits = f"i{x.itemsize}"
        work = (*np.empty((2, n), bool), *np.empty((2, n), bits))
    for part in _parts(x.shape[0], axes, x.itemsize):
        shape = y[part].shape
        size = prod(shape)
        done = work[0][:size].reshape(shape)
        done.fill(False)
        for outs, ins in _pairs(part, axes):
            seen = done[(slice(None), *outs[1:])]
            hit, mask, term = (
                w[: seen.size].reshape(seen.shape) for w in (work[1], *work[2:])
            )
            np.equal(x[ins], y[outs], out=hit)
            np.greater(hit, seen, out=hit)  # and not seen
            np.logical_or(seen, hit, out=seen)
            np.copyto(mask, hit)
            np.negative(mask, out=mask)
            yield outs, ins, mask, term


def _disjoint(axes: Sequence[Axis]) -> bool:
    return all(a.stride >= (a.taps - 1) * a.step + 1 for a in axes)


def _max_grad_kernel(
    xp: Any, x: Any, y: Any, g: Any, out: Any = None, work: Any = None, **attrs: Any
) -> Any:
    axes = _axes(x.shape, attrs)
    _check_pooled(x.shape, axes, g.shape)
    if out is None:
        out = np.empty(x.shape, x.dtype)
    out.fill(0)
    alone = _disjoint(axes)
    given, into = _bits(g), _bits(out)
    for outs, ins, mask, term in _winners(x, y, axes, attrs, work):
        if alone:
            np.bitwise_and(given[outs], mask, out=into[ins])
        else:
            np.bitwise_and(given[outs], mask, out=term)
            target = out[ins]
            np.add(target, term.view(out.dtype), out=target)
    return out


def _max_grad_grad_kernel(
    xp: Any, x: Any, y: Any, h: Any, out: Any = None, work: Any = None, **attrs: Any
) -> Any:
    axes = _axes(x.shape, attrs)
    _check_pooled(x.shape, axes, y.shape)
    if out is None:
        out = np.empty(y.shape, x.dtype)
    out.fill(0)
    given, into = _bits(h), _bits(out)
    for outs, ins, mask, term in _winners(x, y, axes, attrs, work):
        np.bitwise_and(given[ins], mask, out=term)
        target = into[outs]
        np.bitwise_or(target, term, out=target)
    return out


def _infer_max(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "fi")
    return _infer(inputs, attrs)


def _infer_max_grad(inputs: Sequence[Any], attrs: Attrs) -> Any:
    x, y, g = inputs
    require(inputs, "f")
    merge(merge(_pooled(x.dims, attrs), y.dims), g.dims)
    return ((x.dtype, x.dims or (None,) * len(attrs["ksize"])),)


def _infer_max_grad_grad(inputs: Sequence[Any], attrs: Attrs) -> Any:
    x, y, h = inputs
    require(inputs, "f")
    dims = merge(x.dims, h.dims)
    return ((x.dtype, merge(_pooled(dims, attrs), y.dims)),)


def _like(opdef: OpDef, inputs: Sequence[Tensor], op: Operation) -> Tensor:
    attrs = {k: op.attrs[k] for k in ("ksize", "strides", "padding", "dilations")}
    return create(opdef, inputs, attrs)


def _work_flops(ins: Any, outs: Any, attrs: Attrs) -> int:
    smaller = min((t.dims for t in (*ins, *outs) if t.dims), key=lambda d: _size(d))
    return prod(attrs["ksize"]) * _size(smaller)


def _size(dims: Any) -> int:
    return prod(d or 0 for d in dims)


MAX_POOL: OpDef = OpDef(
    "MaxPool",
    infer=_infer_max,
    kernel=_max_kernel,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: _like(MAX_POOL_GRAD, (op.inputs[0], op.outputs[0], g), op),),
    jvp=lambda op, t: _like(MAX_POOL_GRAD_GRAD, (op.inputs[0], op.outputs[0], t), op),
    writes_out=True,
    flops=_work_flops,
    doc="y[p] = max_k x[p*stride + k - lo]",
)

MAX_POOL_GRAD: OpDef = OpDef(
    "MaxPoolGrad",
    infer=_infer_max_grad,
    kernel=_max_grad_kernel,
    inputs=("x", "y", "g"),
    # Piecewise constant in x and y.
    linear=True,
    vjp=(None, None, lambda op, h: _like(MAX_POOL_GRAD_GRAD, (*op.inputs[:2], h), op)),
    jvp=lambda op, tx, ty, tg: (
        None if tg is None else _like(MAX_POOL_GRAD, (*op.inputs[:2], tg), op)
    ),
    writes_out=True,
    workspace=_scratch,
    flops=_work_flops,
    doc="g[p] added to the first x of window p that equals y[p]",
)

MAX_POOL_GRAD_GRAD: OpDef = OpDef(
    "MaxPoolGradGrad",
    infer=_infer_max_grad_grad,
    kernel=_max_grad_grad_kernel,
    inputs=("x", "y", "h"),
    linear=True,
    vjp=(None, None, lambda op, g: _like(MAX_POOL_GRAD, (*op.inputs[:2], g), op)),
    jvp=lambda op, tx, ty, th: (
        None if th is None else _like(MAX_POOL_GRAD_GRAD, (*op.inputs[:2], th), op)
    ),
    writes_out=True,
    workspace=_scratch,
    flops=_work_flops,
    doc="h where x is the first of window p that equals y[p]",
)


def _argmax_kernel(
    xp: Any, x: Any, *, output: Any, batch: bool, out: Any = None, **attrs: Any
) -> Any:
    axes = _axes(x.shape, attrs)
    y, where = out or (None, None)
    y = _new(x, axes, y)
    if where is None:
        where = np.empty(y.shape, output.dtype)
    y.fill(_lowest(y.dtype))
    where.fill(0)
    image = prod(x.shape[1:])
    flat = np.arange(image, dtype=output.dtype).reshape(x.shape[1:])
    for i in range(x.shape[0]):
        outs: Any
        ins: Any
        for _, outs, ins in tap_views(axes):
            target = y[(i, *outs)]
            # A NaN wins over numbers, the first largest over later ones.
            better = x[(i, *ins)] > target
            np.logical_or(better, np.isnan(x[(i, *ins)]), out=better)
            np.copyto(target, x[(i, *ins)], where=better)
            np.copyto(where[(i, *outs)], flat[ins], where=better)
        if batch:
            where[i] += i * image
    return y, where


def _infer_argmax(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    dims = _pooled(inputs[0].dims, attrs)
    return ((inputs[0].dtype, dims), (attrs["output"], dims))


MAX_POOL_WITH_ARGMAX: OpDef = OpDef(
    "MaxPoolWithArgmax",
    infer=_infer_argmax,
    kernel=_argmax_kernel,
    inputs=("x",),
    linear=True,
    vjp=(
        lambda op, g, _: (
            None
            if g is None
            else _like(MAX_POOL_GRAD, (op.inputs[0], op.outputs[0], g), op)
        ),
    ),
    jvp=lambda op, t: (
        _like(MAX_POOL_GRAD_GRAD, (op.inputs[0], op.outputs[0], t), op),
        None,
    ),
    writes_out=True,
    flops=_work_flops,
    doc="the largest of each window and its index in the flattened image",
)


# -- the mean -------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _divisor(axes: tuple[Axis, ...], include_padding: bool, dtype: Any) -> Any:
    """How many inputs each window holds: an array that broadcasts to the output."""
    if include_padding:
        return np.array(prod(a.taps for a in axes), dtype)
    total = np.ones((1,) * len(axes), dtype)
    for i, a in enumerate(axes):
        counts = tap_counts(a)
        if len(set(counts)) == 1:
            counts = counts[:1]
        shape = [1] * len(axes)
        shape[i] = len(counts)
        # A window of padding alone has the mean 0, not 0/0.
        total = total * np.maximum(counts, 1).astype(dtype).reshape(shape)
    total = total.reshape(()) if total.size == 1 else total
    total.setflags(write=False)
    return total


def _avg_kernel(
    xp: Any, x: Any, *, include_padding: bool, out: Any = None, **attrs: Any
) -> Any:
    axes = _axes(x.shape, attrs)
    out = _new(x, axes, out)
    divisor = _divisor(axes, include_padding, out.dtype)
    for part in _parts(x.shape[0], axes, x.itemsize):
        whole = out[part]
        started = False
        for outs, ins in _pairs(part, axes):
            target = out[outs]
            if not started:
                started = True
                if target.shape != whole.shape:
                    whole.fill(0)
                np.copyto(target, x[ins])
            else:
                np.add(target, x[ins], out=target)
        if not started:
            whole.fill(0)
        np.divide(whole, divisor, out=whole)
    return out


def _avg_grad_kernel(
    xp: Any,
    sizes: Any,
    g: Any,
    *,
    include_padding: bool,
    out: Any = None,
    work: Any = None,
    **attrs: Any,
) -> Any:
    shape = tuple(map(int, sizes))
    axes = _axes(shape, attrs)
    _check_pooled(shape, axes, g.shape)
    if out is None:
        out = np.empty(shape, g.dtype)
    divisor = _divisor(axes, include_padding, out.dtype)
    chunk = _chunk(shape[0], axes, g.itemsize)
    buffer = np.empty(chunk * prod(g.shape[1:]), g.dtype) if work is None else work[0]
    out.fill(0)
    for part in _parts(shape[0], axes, g.itemsize):
        piece = g[part]
        share = buffer[: piece.size].reshape(piece.shape)
        np.divide(piece, divisor, out=share)
        for outs, ins in _pairs(part, axes):
            target = out[ins]
            np.add(target, share[(slice(None), *outs[1:])], out=target)
    return out


def _avg_scratch(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    item = ins[1].dtype.dtype
    axes = _axes(outs[0].dims, attrs)
    chunk = _chunk(outs[0].dims[0], axes, item.itemsize)
    return [(item, (chunk * prod(a.outputs for a in axes),))]


def _infer_avg(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    return _infer(inputs, attrs)


def _infer_avg_grad(inputs: Sequence[Any], attrs: Attrs) -> Any:
    sizes, g = inputs
    require((g,), "f")
    dims = merge(known_dims(sizes), (None,) * len(attrs["ksize"]))
    if g.dims is not None and dims is not None:
        dims = merge(dims, (g.dims[0],) + (None,) * (len(dims) - 1))
        merge(_pooled(dims, attrs), g.dims)
    return ((g.dtype, dims),)


AVG_POOL: OpDef = OpDef(
    "AvgPool",
    infer=_infer_avg,
    kernel=_avg_kernel,
    inputs=("x",),
    linear=True,
    vjp=(
        lambda op, g: create(
            AVG_POOL_GRAD, (shape_tensor(op.inputs[0]), g), dict(op.attrs)
        ),
    ),
    jvp=lambda op, t: create(AVG_POOL, (t,), dict(op.attrs)),
    writes_out=True,
    transient=iterator_buffers(3),
    flops=_work_flops,
    doc="y[p] = mean_k x[p*stride + k - lo], padding left out",
)

AVG_POOL_GRAD: OpDef = OpDef(
    "AvgPoolGrad",
    infer=_infer_avg_grad,
    kernel=_avg_grad_kernel,
    inputs=("input_sizes", "g"),
    linear=True,
    vjp=(None, lambda op, h: create(AVG_POOL, (h,), dict(op.attrs))),
    jvp=lambda op, _, t: create(AVG_POOL_GRAD, (op.inputs[0], t), dict(op.attrs)),
    writes_out=True,
    transient=iterator_buffers(3),
    workspace=_avg_scratch,
    flops=_work_flops,
    doc="the transpose of AvgPool",
)
