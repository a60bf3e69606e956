"""Pooling ops over windows along any axes but the first, and their gradients.

Windows have a size along every axis of the array (1 along those that are not
pooled), so one kernel serves every rank and data format, and pools over
channels too.  What the kernels do is in ``_pool_kernels``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from ._calls import Call, ready, run
from ._kinds import iterator_buffers, require
from ._later import batch_window
from ._nests import pool_nest
from ._pool_kernels import (
    claim_calls,
    claim_scratch,
    fold_calls,
    fold_scratch,
    spread_calls,
    spread_scratch,
)
from ._windows import Axis, make_axes, output_size, tap_counts, tap_views

__all__ = ["AVG_POOL", "AVG_POOL_GRAD", "MAX_POOL", "MAX_POOL_GRAD"]
__all__ += ["MAX_POOL_GRAD_GRAD", "MAX_POOL_WITH_ARGMAX"]

Attrs = Mapping[str, Any]


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


def _nest(kind: str, reads: tuple[int, ...], windows: str = "ins") -> Any:
    """The ``nest`` of a pool, or of a gradient to an array like input 0 or output 0."""

    def nest(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
        x = ins[0] if windows == "ins" else outs[0]
        axes = _axes(x.dims, attrs)
        padded = attrs.get("include_padding", False)
        return pool_nest(kind, reads, x.dims[0], axes, outs[0].dtype.dtype, padded)

    return nest


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


def _flat(specs: Sequence[Any], dtype: Any = None) -> Any:
    """Scratch arrays as a plan takes them."""
    if dtype is not None:
        specs = [(dtype, n) for n in specs]
    return [(kind, (n,)) for kind, n in specs]


def _fold_scratch(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    item = ins[0].dtype.dtype
    axes = _axes(ins[0].dims, attrs)
    return _flat(fold_scratch(axes, ins[0].dims[0], item.itemsize), item)


def _larger(a: Any, b: Any, out: Any) -> None:
    np.maximum(a, b, out=out)  # which takes ``out`` by name only


def _max_calls(x: Any, out: Any, work: Any, attrs: Attrs) -> list[Call]:
    axes = _axes(x.shape, attrs)
    return fold_calls(_larger, x, axes, _lowest(x.dtype), out, work)


def _max_kernel(
    xp: Any, x: Any, out: Any = None, work: Any = None, **attrs: Any
) -> Any:
    out = _new(x, _axes(x.shape, attrs), out)
    run(_max_calls(x, out, work, attrs))
    return out


def _claim_scratch(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    x = ins[0]
    axes = _axes(x.dims, attrs)
    return _flat(claim_scratch(axes, x.dims[0], x.dtype.dtype.itemsize))


def _max_grad_calls(
    x: Any, y: Any, g: Any, out: Any, work: Any, attrs: Attrs
) -> list[Call]:
    axes = _axes(x.shape, attrs)
    _check_pooled(x.shape, axes, g.shape)
    return claim_calls(x, y, axes, g, None, out, work)


def _max_grad_kernel(
    xp: Any, x: Any, y: Any, g: Any, out: Any = None, work: Any = None, **attrs: Any
) -> Any:
    if out is None:
        out = np.empty(x.shape, x.dtype)
    run(_max_grad_calls(x, y, g, out, work, attrs))
    return out


def _max_grad_grad_calls(
    x: Any, y: Any, h: Any, out: Any, work: Any, attrs: Attrs
) -> list[Call]:
    axes = _axes(x.shape, attrs)
    _check_pooled(x.shape, axes, y.shape)
    return claim_calls(x, y, axes, None, h, out, work)


def _max_grad_grad_kernel(
    xp: Any, x: Any, y: Any, h: Any, out: Any = None, work: Any = None, **attrs: Any
) -> Any:
    if out is None:
        out = np.empty(y.shape, x.dtype)
    run(_max_grad_grad_calls(x, y, h, out, work, attrs))
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
    transient=iterator_buffers(1),
    workspace=_fold_scratch,
    settle=ready(_max_calls),
    nest=_nest("max", (0,)),
    flops=_work_flops,
    batch=batch_window.images,
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
    transient=iterator_buffers(2),
    workspace=_claim_scratch,
    settle=ready(_max_grad_calls),
    nest=_nest("max gradient", (0, 1, 2)),
    flops=_work_flops,
    batch=batch_window.images,
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
    transient=iterator_buffers(2),
    workspace=_claim_scratch,
    settle=ready(_max_grad_grad_calls),
    flops=_work_flops,
    batch=batch_window.images,
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
    batch=batch_window.pool_with_argmax,
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


def _avg_calls(x: Any, out: Any, work: Any, attrs: Attrs) -> list[Call]:
    axes = _axes(x.shape, attrs)
    calls = fold_calls(np.add, x, axes, 0, out, work)
    divisor = _divisor(axes, attrs["include_padding"], out.dtype)
    return [*calls, (np.divide, (out, divisor, out))]


def _avg_kernel(
    xp: Any, x: Any, out: Any = None, work: Any = None, **attrs: Any
) -> Any:
    out = _new(x, _axes(x.shape, attrs), out)
    run(_avg_calls(x, out, work, attrs))
    return out


def _avg_grad_calls(
    sizes: Any, g: Any, out: Any, work: Any, attrs: Attrs
) -> list[Call]:
    axes = _axes(out.shape, attrs)
    _check_pooled(out.shape, axes, g.shape)
    divisor = _divisor(axes, attrs["include_padding"], out.dtype)
    return spread_calls(g, divisor, axes, out, work)


def _avg_grad_kernel(
    xp: Any, sizes: Any, g: Any, out: Any = None, work: Any = None, **attrs: Any
) -> Any:
    if out is None:
        out = np.empty(tuple(map(int, sizes)), g.dtype)
    run(_avg_grad_calls(sizes, g, out, work, attrs))
    return out


def _avg_scratch(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    item = ins[1].dtype.dtype
    dims = outs[0].dims
    return _flat(spread_scratch(_axes(dims, attrs), dims[0], item.itemsize), item)


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
    workspace=_fold_scratch,
    settle=ready(_avg_calls),
    nest=_nest("mean", (0,)),
    flops=_work_flops,
    batch=batch_window.images,
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
    settle=ready(_avg_grad_calls),
    nest=_nest("mean gradient", (1,), "outs"),
    flops=_work_flops,
    batch=batch_window.average_grad,
    doc="the transpose of AvgPool",
)
