"""Batch normalisation, fused, and normalisation by norms and by neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.gradients import gradients
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import merge, text
from ..graphlib.tensor import Tensor
from ._build import create, create_many, inexact, scope
from ._kinds import require
from ._later import batch_window
from ._pool import AVG_POOL
from .conv import operands
from .core import identity
from .nn import fold, sum_rows

__all__ = [
    "batch_norm_with_global_normalization",
    "batch_normalization",
    "fused_batch_norm",
    "l2_normalize",
    "local_response_normalization",
    "lrn",
]

Attrs = Mapping[str, Any]

_CHUNK_BYTES = 128 * 1024


def l2_normalize(
    x: Any,
    axis: Any = None,
    epsilon: float = 1e-12,
    name: str | None = None,
    dim: Any = None,
) -> Tensor:
    """x / sqrt(max(sum(x**2), epsilon)), the sum along ``axis`` (default: all).

    Gradient: that of the formula; x / sqrt(epsilon) has slope 1 / sqrt(epsilon)
        where the norm is below.
    """
    from .elementwise import square
    from .powers import rsqrt
    from .reduction import reduce_sum
    from .rounding import maximum

    with scope(name, "l2_normalize", x) as whole:
        t = inexact(x)
        total = reduce_sum(square(t), dim if axis is None else axis, True)
        scale = rsqrt(maximum(total, epsilon))
        return TABLE["mul"](t, scale, whole)  # type: ignore[no-any-return]


def local_response_normalization(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    name: str | None = None,
) -> Tensor:
    """y_c = x_c / (bias + alpha * sum_{|d - c| <= radius} x_d**2)**beta, c the channel.

    Args:
        input: (n, h, w, c); floating.

    Raises:
        ShapeError: another rank.

    Reference:
        Krizhevsky, Sutskever, Hinton, NIPS 2012, section 3.3.
    """
    from .elementwise import square

    radius = int(depth_radius)
    taps = 2 * radius + 1
    mul = TABLE["mul"]
    with scope(name, "LRN", input) as whole:
        x = inexact(input)
        # The sum of a window is its mean, padding counted, times its size.
        attrs = {
            "ksize": (1, 1, 1, taps),
            "strides": (1, 1, 1, 1),
            "dilations": (1, 1, 1, 1),
            "padding": ((0, 0), (0, 0), (0, 0), (radius, radius)),
            "include_padding": True,
        }
        mean = create(AVG_POOL, (square(x),), attrs)
        total = TABLE["add"](mul(mean, float(alpha) * taps), float(bias))
        return mul(x, TABLE["pow"](total, -float(beta)), whole)  # type: ignore[no-any-return]


lrn = local_response_normalization


# -- batch normalisation, from statistics that are given -----------------------------


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: Any,
    name: str | None = None,
) -> Tensor:
    """y = scale * (x - mean) / sqrt(variance + epsilon) + offset.

    Args:
        x: floating.
        mean, variance, offset, scale: broadcast to x; offset and scale may be None.

    Reference:
        Ioffe & Szegedy, arXiv:1502.03167.
    """
    from .powers import rsqrt

    add, mul, sub = TABLE["add"], TABLE["mul"], TABLE["sub"]
    with scope(name, "batchnorm", x, mean, variance, scale, offset):
        factor = rsqrt(add(variance, variance_epsilon))
        if scale is not None:
            factor = mul(factor, scale)
        # What does not depend on x is worked out on the small shapes.
        shift = mul(mean, factor)
        shift = TABLE["neg"](shift) if offset is None else sub(offset, shift)
        return add(mul(x, factor), shift)  # type: ignore[no-any-return]


def batch_norm_with_global_normalization(
    t: Any = None,
    m: Any = None,
    v: Any = None,
    beta: Any = None,
    gamma: Any = None,
    variance_epsilon: Any = None,
    scale_after_normalization: Any = None,
    name: str | None = None,
    input: Any = None,
    mean: Any = None,
    variance: Any = None,
) -> Tensor:
    """:func:`batch_normalization` with TF1's older names; gamma only counts with
    ``scale_after_normalization``."""
    return batch_normalization(
        input if t is None else t,
        mean if m is None else m,
        variance if v is None else v,
        beta,
        gamma if scale_after_normalization else None,
        variance_epsilon,
        name,
    )


# -- batch normalisation, from the batch's own statistics ------------------------------


def _planes(x: Any) -> Any:
    """(n, c, s) of an array with channels first."""
    return x.reshape(x.shape[0], x.shape[1], -1)


def _inner(x: Any, y: Any, first: bool, out: Any) -> None:
    """out[c] = sum of x * y over everything else, without the products."""
    if first:
        np.einsum("ncs,ncs->c", _planes(x), _planes(y), out=out)
        return
    width = fold(x.shape) * x.shape[-1]
    part = np.einsum("pc,pc->c", x.reshape(-1, width), y.reshape(-1, width))
    np.add.reduce(part.reshape(-1, x.shape[-1]), axis=0, out=out)


def _sum(x: Any, first: bool, out: Any) -> None:
    """out[c] = sum of x over everything else."""
    if first:
        np.add.reduce(_planes(x), axis=(0, 2), out=out)
    else:
        sum_rows(x, out)


def _parts(x: Any) -> Iterator[slice]:
    """Images, as many as stay in cache while several passes go over them."""
    step = max(1, _CHUNK_BYTES // max(1, x[:1].nbytes))
    for i in range(0, x.shape[0], step):
        yield slice(i, i + step)


def _wide(p: Any, first: bool, ndim: int) -> Any:
    """A vector of channels that broadcasts to the array."""
    return p.reshape(-1, *(1,) * (ndim - 2)) if first else p


def _is_first(attrs: Attrs) -> bool:
    return bool(attrs["data_format"][1] == "C")


def _norm_kernel(
    xp: Any,
    x: Any,
    scale: Any,
    offset: Any,
    *,
    epsilon: float,
    data_format: str,
    out: Any = None,
) -> Any:
    first = data_format[1] == "C"
    channels = scale.shape[0]
    if out is None:
        out = (np.empty(x.shape, x.dtype), *np.empty((3, channels), x.dtype))
    y, mean, variance, rstd = out
    count = x.size // max(channels, 1)
    if count == 0:
        for a in out:
            a.fill(np.nan)
        return out
    _sum(x, first, mean)
    np.divide(mean, count, out=mean)
    np.subtract(x, _wide(mean, first, x.ndim), out=y)
    _inner(y, y, first, variance)
    np.divide(variance, count, out=rstd)
    np.add(rstd, x.dtype.type(epsilon), out=rstd)
    np.sqrt(rstd, out=rstd)
    np.reciprocal(rstd, out=rstd)
    # One element has no spread: 0 / max(0, 1), as TF has it.
    np.divide(variance, max(count - 1, 1), out=variance)
    factor, shift = (_wide(p, first, x.ndim) for p in (scale * rstd, offset))
    for part in _parts(y):
        piece = y[part]
        np.multiply(piece, factor, out=piece)
        np.add(piece, shift, out=piece)
    return out


def _channels(inputs: Sequence[Any], x: Any, attrs: Attrs) -> tuple[Any, Any]:
    """The shapes of x and of a vector of channels, from all that is known."""
    dims = merge(x.dims, (None,) * len(attrs["data_format"]))
    assert dims is not None
    at = 1 if _is_first(attrs) else len(dims) - 1
    vector: tuple[int | None, ...] = (dims[at],)
    for t in inputs:
        known = merge(t.dims, (None,))
        assert known is not None
        if None not in (vector[0], known[0]) and vector != known:
            raise ShapeError(
                f"x of shape {text(dims)} ({attrs['data_format']}) has {vector[0]} "
                f"channels, a parameter has {known[0]}"
            )
        vector = merge(vector, known) or vector
    return (*dims[:at], vector[0], *dims[at + 1 :]), vector


def _infer_norm(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    dims, vector = _channels(inputs[1:], inputs[0], attrs)
    dtype = inputs[0].dtype
    return ((dtype, dims), (dtype, vector), (dtype, vector), (dtype, vector))


def _spread(p: Tensor, attrs: Attrs) -> Tensor:
    """A vector of channels as a tensor that broadcasts to x."""
    from .views import expand_dims

    if _is_first(attrs):
        for _ in attrs["data_format"][2:]:
            p = expand_dims(p, -1)
    return p


def _per_channel(x: Tensor, vector: Tensor) -> Tensor:
    """The number of elements of x in each channel, as a scalar tensor."""
    from .core import size
    from .rounding import maximum

    channels = size(vector)
    if vector.dims is None or vector.dims[0] in (None, 0):
        channels = maximum(channels, 1)
    count = TABLE["floordiv"](size(x), channels)
    return TABLE["cast"](count, x.dtype)  # type: ignore[no-any-return]


def _norm_rule(
    op: Operation,
    g: Tensor | None,
    g_mean: Tensor | None,
    g_variance: Tensor | None,
    g_rstd: Tensor | None,
) -> list[Tensor | None]:
    x, scale, _ = op.inputs
    _, mean, _, rstd = op.outputs
    add, mul, div = TABLE["add"], TABLE["mul"], TABLE["truediv"]
    results: list[Tensor | None] = [None, None, None]
    if g is not None:
        results = list(
            create_many(NORM_GRAD, (g, x, scale, mean, rstd), dict(op.attrs))
        )
    if g_mean is None and g_variance is None and g_rstd is None:
        return results
    # The statistics were used for themselves: a mean pulls every x alike, a
    # variance or deviation pulls x by its distance from the mean.
    count = _per_channel(x, scale)
    terms = [] if results[0] is None else [results[0]]
    if g_mean is not None:
        flat = _spread(div(g_mean, count), op.attrs)
        terms.append(add(TABLE["zeros_like"](x), flat))
    pulls = []
    if g_variance is not None:
        from .rounding import maximum

        less = maximum(TABLE["sub"](count, 1.0), 1.0)
        pulls.append(div(mul(g_variance, 2.0), less))
    if g_rstd is not None:
        cube = mul(rstd, mul(rstd, rstd))
        pulls.append(div(TABLE["neg"](mul(g_rstd, cube)), count))
    if pulls:
        pull = _spread(TABLE["add_n"](pulls), op.attrs)
        terms.append(mul(TABLE["sub"](x, _spread(mean, op.attrs)), pull))
    results[0] = TABLE["add_n"](terms)
    return results


def _norm_grad_kernel(
    xp: Any,
    g: Any,
    x: Any,
    scale: Any,
    mean: Any,
    rstd: Any,
    *,
    epsilon: float,
    data_format: str,
    out: Any = None,
) -> Any:
    first = data_format[1] == "C"
    if out is None:
        out = (np.empty(x.shape, x.dtype), *np.empty((2, scale.shape[0]), x.dtype))
    dx, dscale, doffset = out
    if x.size == 0:
        for a in out:
            a.fill(0)
        return out
    count = x.size // scale.shape[0]
    np.subtract(x, _wide(mean, first, x.ndim), out=dx)
    _inner(g, dx, first, dscale)
    np.multiply(dscale, rstd, out=dscale)
    _sum(g, first, doffset)
    # dx = scale rstd (g - doffset / n - (x - mean) rstd dscale / n)
    rows = (rstd * dscale / -count, doffset / count, scale * rstd)
    pull, flat, factor = (_wide(p, first, x.ndim) for p in rows)
    for part in _parts(dx):
        piece = dx[part]
        np.multiply(piece, pull, out=piece)
        np.add(piece, g[part], out=piece)
        np.subtract(piece, flat, out=piece)
        np.multiply(piece, factor, out=piece)
    return out


def _infer_norm_grad(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    g, x, *vectors = inputs
    dims, vector = _channels(vectors, x, attrs)
    dims = merge(dims, g.dims)
    return ((x.dtype, dims), (x.dtype, vector), (x.dtype, vector))


def _norm_grad_rule(op: Operation, *cotangents: Tensor | None) -> list[Any]:
    """The same formula from elementary ops, differentiated.

    Identities stand for the inputs, so that the derivatives are partial: mean
    and rstd are held while x moves.
    """
    from .reduction import reduce_sum

    mul, sub, div = TABLE["mul"], TABLE["sub"], TABLE["truediv"]
    held = [identity(t) for t in op.inputs]
    g, x, scale, mean, rstd = held
    rank = len(op.attrs["data_format"])
    channel = 1 if _is_first(op.attrs) else rank - 1
    axes = [i for i in range(rank) if i != channel]
    count = _per_channel(x, scale)
    away = sub(x, _spread(mean, op.attrs))
    dscale = mul(reduce_sum(mul(g, away), axes), rstd)
    doffset = reduce_sum(g, axes)
    pull = _spread(div(mul(rstd, dscale), count), op.attrs)
    flat = _spread(div(doffset, count), op.attrs)
    inner = sub(sub(g, flat), mul(away, pull))
    dx = mul(inner, _spread(mul(scale, rstd), op.attrs))
    given = [(y, c) for y, c in zip((dx, dscale, doffset), cotangents) if c is not None]
    return gradients([y for y, _ in given], held, [c for _, c in given])


def _norm_flops(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> int:
    return 6 * math.prod([int(d or 0) for d in outs[0].dims or ()])


NORM = OpDef(
    "FusedBatchNorm",
    infer=_infer_norm,
    kernel=_norm_kernel,
    inputs=("x", "scale", "offset"),
    vjp=_norm_rule,
    writes_out=True,
    flops=_norm_flops,
    batch=batch_window.batch_norm((0,)),
    doc="scale (x - mean) / sqrt(variance + epsilon) + offset, per channel",
)

NORM_GRAD = OpDef(
    "FusedBatchNormGrad",
    infer=_infer_norm_grad,
    kernel=_norm_grad_kernel,
    inputs=("y_backprop", "x", "scale", "mean", "rstd"),
    vjp=_norm_grad_rule,
    writes_out=True,
    flops=_norm_flops,
    batch=batch_window.batch_norm((0, 1)),
    doc="the gradients of FusedBatchNorm's y to x, scale and offset",
)


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: Any = "NHWC",
    is_training: bool = True,
    name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """y = scale * (x - m) / sqrt(v + epsilon) + offset for each channel.

    Args:
        x: (n, h, w, c), or (n, c, h, w) with data_format "NCHW" (or the 5-D
            formats); floating.
        scale, offset: (c,).
        mean, variance: (c,): m and v where ``is_training`` is false.
        is_training: take m and v from the batch.

    Returns:
        y, and (c,) each: the batch's mean and its variance with n - 1 in the
        divisor (y uses n), or ``mean`` and ``variance`` as given.

    Raises:
        ShapeError: sizes do not fit, no statistics are given for inference, or
            another data format.

    Gradient: through the batch's statistics in training; all orders exist.

    Reference:
        Ioffe & Szegedy, arXiv:1502.03167, section 3.
    """
    if data_format not in ("NHWC", "NCHW", "NDHWC", "NCDHW"):
        raise ShapeError(f"fused_batch_norm: data_format {data_format!r} is not known")
    attrs = {"epsilon": float(epsilon), "data_format": data_format}
    t = inexact(x)
    cast = TABLE["cast"]
    if is_training:
        ins = operands(t, scale, offset)
        y, m, v, _ = create_many(NORM, ins, attrs, name or "FusedBatchNorm")
        return cast(y, t.dtype), m, v
    if mean is None or variance is None:
        raise ShapeError("fused_batch_norm: inference needs mean and variance")
    wide, s, b, m, v = operands(t, scale, offset, mean, variance)
    _channels((s, b, m, v), wide, attrs)
    with scope(name, "FusedBatchNorm", wide):
        rows = [_spread(p, attrs) for p in (m, v, b, s)]
        y = batch_normalization(wide, rows[0], rows[1], rows[2], rows[3], epsilon)
        return cast(y, t.dtype), m, v
