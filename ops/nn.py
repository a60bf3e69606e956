"""Biases, dense layers, dropout, and what is counted of predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import bool_, float32
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import compatible, merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, inexact, scope, shape_tensor
from ._kinds import require
from ._later import batch_index, batch_window

__all__ = [
    "bias_add",
    "bias_add_grad",
    "dropout",
    "in_top_k",
    "relu_layer",
    "xw_plus_b",
    "zero_fraction",
]

Attrs = Mapping[str, Any]


def _count(dims: Any) -> int:
    return math.prod(d or 0 for d in dims or ())


# -- biases ---------------------------------------------------------------------------


def _channel(data_format: str, rank: int) -> int:
    return 1 if data_format == "NCHW" else rank - 1


def _infer_bias(inputs: Sequence[Any], attrs: Attrs) -> Any:
    x, b = inputs
    require(inputs, "ifc")
    size = merge(b.dims, (None,))
    if x.dims is None:
        return ((x.dtype, None),)
    if len(x.dims) < 2:
        raise ShapeError(f"a bias is added to tensors of rank >= 2, not {text(x.dims)}")
    channel = _channel(attrs["data_format"], len(x.dims))
    assert size is not None
    if not compatible((x.dims[channel],), size):
        raise ShapeError(
            f"the bias has {size[0]} elements, axis {channel} of {text(x.dims)} "
            f"({attrs['data_format']}) has {x.dims[channel]}"
        )
    dims = list(x.dims)
    dims[channel] = size[0] if dims[channel] is None else dims[channel]
    return ((x.dtype, tuple(dims)),)


def _bias_kernel(xp: Any, x: Any, b: Any, *, data_format: str, out: Any = None) -> Any:
    if data_format == "NCHW":
        b = b.reshape(-1, *(1,) * (x.ndim - 2))
    return np.add(x, b, out=out)


def _infer_bias_grad(inputs: Sequence[Any], attrs: Attrs) -> Any:
    g = inputs[0]
    require(inputs, "ifc")
    if g.dims is None:
        return ((g.dtype, (None,)),)
    if len(g.dims) < 2:
        raise ShapeError(f"takes tensors of rank >= 2, not {text(g.dims)}")
    return ((g.dtype, (g.dims[_channel(attrs["data_format"], len(g.dims))],)),)


def fold(dims: Sequence[int]) -> int:
    """How many of the rows to lay side by side: long rows add fast, and sums of
    sums lose less precision."""
    rows = _count(dims[:-1])
    side = 1
    if rows <= 256:
        return side
    while rows % (2 * side) == 0 and 2 * side * dims[-1] <= 2048 and rows > 4 * side:
        side *= 2
    return side


def sum_rows(x: Any, out: Any, part: Any = None) -> Any:
    """The sum over every axis but the last, in memory that is contiguous."""
    side = fold(x.shape)
    wide = x.reshape(-1, side * x.shape[-1])
    if side == 1:
        return np.add.reduce(wide, 0, out=out)
    if part is None:
        part = np.empty(wide.shape[1], x.dtype)
    np.add.reduce(wide, 0, out=part)
    return np.add.reduce(part.reshape(side, -1), 0, out=out)


def _bias_grad_kernel(
    xp: Any, g: Any, *, data_format: str, out: Any = None, work: Any = None
) -> Any:
    channel = _channel(data_format, g.ndim)
    if out is None:
        out = np.empty(g.shape[channel], g.dtype)
    if channel == g.ndim - 1 and g.flags.c_contiguous and g.size:
        return sum_rows(g, out, work[0] if work else None)
    axes = tuple(i for i in range(g.ndim) if i != channel)
    return np.add.reduce(g, axis=axes, out=out)


def _bias_grad_work(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    dims = ins[0].dims
    if _channel(attrs["data_format"], len(dims)) != len(dims) - 1:
        return []
    side = fold(dims)
    return [] if side == 1 else [(ins[0].dtype.dtype, (side * dims[-1],))]


def _bias_jvp(op: Operation, tx: Tensor | None, tb: Tensor | None) -> Tensor | None:
    if tb is None:
        return tx
    tx = TABLE["zeros_like"](op.inputs[0]) if tx is None else tx
    return create(BIAS_ADD, (tx, tb), dict(op.attrs))


def _bias_grad_rule(op: Operation, h: Tensor) -> Tensor:
    zeros = TABLE["zeros_like"](op.inputs[0])
    return create(BIAS_ADD, (zeros, h), dict(op.attrs))


BIAS_ADD: OpDef = OpDef(
    "BiasAdd",
    infer=_infer_bias,
    kernel=_bias_kernel,
    inputs=("value", "bias"),
    linear=True,
    vjp=(
        lambda op, g: g,
        lambda op, g: create(BIAS_ADD_GRAD, (g,), dict(op.attrs)),
    ),
    jvp=_bias_jvp,
    inplace=(0,),
    writes_out=True,
    batch=batch_window.bias_add,
    doc="x + b along the channels",
)

BIAS_ADD_GRAD: OpDef = OpDef(
    "BiasAddGrad",
    infer=_infer_bias_grad,
    kernel=_bias_grad_kernel,
    inputs=("out_backprop",),
    linear=True,
    vjp=(_bias_grad_rule,),
    jvp=lambda op, t: create(BIAS_ADD_GRAD, (t,), dict(op.attrs)),
    writes_out=True,
    workspace=_bias_grad_work,
    flops=lambda ins, outs, attrs: _count(ins[0].dims),
    batch=batch_window.bias_add_grad,
    doc="the sum over every axis but the channels",
)


def _bias_format(data_format: Any) -> str:
    if data_format is None:
        return "NHWC"
    if isinstance(data_format, str) and data_format[:1] == "N":
        if data_format[1:2] == "C" and len(data_format) > 2:
            return "NCHW"
        if data_format[-1] == "C":
            return "NHWC"
    raise ShapeError(f"data_format {data_format!r} must be 'N...C' or 'NC...'")


def bias_add(
    value: Any, bias: Any, data_format: Any = None, name: str | None = None
) -> Tensor:
    """y = value + bias along the channels.

    Args:
        value: (n, ..., c), or (n, c, ...) with data_format "NCHW"; rank >= 2.
        bias: (c,).

    Raises:
        ShapeError: the sizes or the rank do not fit.

    Gradient: g, and g summed over every axis but the channels.
    """
    attrs = {"data_format": _bias_format(data_format)}
    x, b = as_tensor(value), bias
    if not (isinstance(b, Tensor) and b.dtype is x.dtype):
        b = as_tensor(b) if hasattr(b, "_as_tensor") else as_tensor(b, x.dtype)
        if b.dtype is not x.dtype:
            from .conv import operands

            x, b = operands(x, b)
    return create(BIAS_ADD, (x, b), attrs, name)


def bias_add_grad(
    out_backprop: Any, data_format: Any = None, name: str | None = None
) -> Tensor:
    """The sum of a cotangent over every axis but the channels."""
    attrs = {"data_format": _bias_format(data_format)}
    return create(BIAS_ADD_GRAD, (as_tensor(out_backprop),), attrs, name)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """x @ weights + biases: (n, i), (i, o), (o,) -> (n, o)."""
    from .linalg import matmul

    with scope(name, "xw_plus_b", x, weights, biases) as whole:
        return bias_add(matmul(x, weights), biases, name=whole)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x @ weights + biases): (n, i), (i, o), (o,) -> (n, o)."""
    from .activations import relu

    with scope(name, "relu_layer", x, weights, biases) as whole:
        return relu(xw_plus_b(x, weights, biases), name=whole)


# -- dropout -----------------------------------------------------------------


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """x / (1 - rate) where a uniform draw is at least ``rate``, else 0.

    Args:
        x: floating.
        keep_prob: 1 - rate, TF1's older argument.
        noise_shape: the shape of the draws, which broadcasts to x (None inside:
            the size of x); (n, 1, 1, c) drops whole channels.
        seed: of the draws.
        rate: a number in [0, 1) or a scalar tensor.

    Raises:
        InvalidArgumentError: not exactly one of rate and keep_prob, or a number
            out of range.
        DTypeError: x is not floating.

    Gradient: g through what was kept, with the same draws.

    Reference:
        Srivastava et al., JMLR 15, 2014.
    """
    from .random import random_uniform

    if (keep_prob is None) == (rate is None):
        raise InvalidArgumentError("dropout: give rate or keep_prob, one of them")
    t = as_tensor(x)
    if not t.dtype.is_floating:
        raise DTypeError(f"dropout: x must be floating, not {t.dtype.name}")
    if rate is None:
        rate = TABLE["sub"](1.0, keep_prob) if _symbolic(keep_prob) else 1 - keep_prob
    with scope(name, "dropout", t):
        if not _symbolic(rate):
            rate = float(rate)
            if not 0 <= rate < 1:
                raise InvalidArgumentError(f"dropout: rate {rate} is not in [0, 1)")
            if rate == 0:
                return t
            scale: Any = 1 / (1 - rate)
        else:
            rate = TABLE["cast"](as_tensor(rate), t.dtype)
            scale = TABLE["truediv"](1.0, TABLE["sub"](1.0, rate))
        draws = random_uniform(_noise(t, noise_shape), 0, 1, t.dtype, seed)
        kept = TABLE["cast"](TABLE["greater_equal"](draws, rate), t.dtype)
        result: Tensor = TABLE["mul"](t, TABLE["mul"](kept, scale))
        # A rate that is fed may have been declared without a shape.
        result.set_shape(t.shape)
        return result


def _symbolic(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def _noise(x: Tensor, shape: Any) -> Any:
    """The shape of the draws: where it says None, the size of ``x``."""
    if shape is None:
        return shape_tensor(x)
    if _symbolic(shape):
        return shape
    sizes = list(shape)
    if None in sizes or any(getattr(d, "value", d) is None for d in sizes):
        if x.dims is not None and len(x.dims) != len(sizes):
            raise ShapeError(f"noise_shape {sizes} does not fit {text(x.dims)}")
        whole = shape_tensor(x)
        known = x.dims or (None,) * len(sizes)
        for i, d in enumerate(sizes):
            if getattr(d, "value", d) is None:
                sizes[i] = whole[i] if known[i] is None else known[i]
    return sizes


# -- counting -----------------------------------------------------------------


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The fraction of elements that are zero, a float32 scalar (NaN if none)."""
    from .logical import equal
    from .reduction import reduce_mean

    with scope(name, "zero_fraction", value):
        t = as_tensor(value)
        zero = TABLE["cast"](0, t.dtype)
        return reduce_mean(TABLE["cast"](equal(t, zero), float32))


def _top_kernel(
    xp: Any, predictions: Any, targets: Any, k: Any, out: Any = None
) -> Any:
    rows, classes = predictions.shape
    if not classes:
        return np.logical_and(np.zeros(rows, bool), False, out=out)
    inside = (targets >= 0) & (targets < classes)
    at = np.where(inside, targets, 0)
    chosen = predictions[np.arange(rows), at]
    above = np.count_nonzero(predictions > chosen[:, None], axis=1)
    result = inside & np.isfinite(chosen) & (above < k)
    # A row with a NaN has no order.
    return np.logical_and(result, ~np.isnan(predictions).any(axis=1), out=out)


def _infer_top(inputs: Sequence[Any], attrs: Attrs) -> Any:
    predictions, targets, k = inputs
    require((predictions,), "f")
    if not targets.dtype.is_integer or not k.dtype.is_integer:
        raise DTypeError("targets and k must be integers")
    dims = merge(predictions.dims, (None, None))
    rows = merge(targets.dims, dims[:1] if dims else None)
    merge(k.dims, ())
    return ((bool_, rows),)


IN_TOP_K = OpDef(
    "InTopKV2",
    infer=_infer_top,
    kernel=_top_kernel,
    inputs=("predictions", "targets", "k"),
    writes_out=True,
    flops=lambda ins, outs, attrs: 2 * _count(ins[0].dims),
    batch=batch_index.in_top_k,
    doc="whether fewer than k predictions exceed the target's",
)


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """For each row, whether the target is among the k largest predictions.

    Args:
        predictions: (n, classes); floating.
        targets: (n,), integers.
        k: an integer or a scalar tensor.

    Returns:
        (n,) bool: fewer than k predictions exceed the target's (ties count for
        it); false for a target out of range or a prediction that is not finite.
    """
    inputs = (inexact(predictions), as_tensor(targets), as_tensor(k))
    return create(IN_TOP_K, inputs, None, name or "in_top_k")
