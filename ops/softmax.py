"""Softmax, its logarithm, and the cross entropies that are fused with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import float16, float32
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, compatible, merge, normalize_axis, text
from ..graphlib.source import entry
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, create_many, inexact
from ._kinds import require
from ._later import batch
from ._series_nn import (
    entropy_jet,
    log_softmax_jet,
    softmax_grad_jet,
    softmax_jet,
    sparse_entropy_jet,
)

__all__ = [
    "log_softmax",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "sparse_softmax_cross_entropy_with_logits",
]

Attrs = Mapping[str, Any]


def _infer_axis(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    dims = inputs[0].dims
    for t in inputs[1:]:
        dims = merge(dims, t.dims)
    if dims is not None:
        normalize_axis(attrs["axis"], len(dims))
    return ((inputs[0].dtype, dims),)


def _kept(dims: Any, axis: int) -> tuple[int, ...]:
    """``dims`` with 1 along ``axis``."""
    out = list(dims)
    out[axis] = 1
    return tuple(out)


def _row_work(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    """One number for each row that is normalised."""
    dims = ins[0].dims
    return [(ins[0].dtype.dtype, _kept(dims, attrs["axis"]))]


def _full_work(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    return [*_row_work(ins, outs, attrs), (ins[0].dtype.dtype, ins[0].dims)]


def _flops(per: int) -> Any:
    def count(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> int:
        n = per
        for d in ins[0].dims or ():
            n *= d or 0
        return n

    return count


def _last(x: Any, axis: int) -> Any:
    return x if axis in (-1, x.ndim - 1) else np.moveaxis(x, axis, -1)


def _softmax_kernel(
    xp: Any, x: Any, *, axis: int, out: Any = None, work: Any = None
) -> Any:
    if out is None:
        out = np.empty(x.shape, x.dtype)
    if out.size == 0:
        return out
    row = np.empty(_kept(x.shape, axis), x.dtype) if work is None else work[0]
    np.maximum.reduce(x, axis, out=row, keepdims=True)
    np.subtract(x, row, out=out)
    np.exp(out, out=out)
    np.add.reduce(out, axis, out=row, keepdims=True)
    np.divide(out, row, out=out)
    return out


def _softmax_grad_kernel(
    xp: Any, y: Any, g: Any, *, axis: int, out: Any = None, work: Any = None
) -> Any:
    if out is None:
        out = np.empty(y.shape, y.dtype)
    row = np.empty(_kept(y.shape, axis), y.dtype) if work is None else work[0]
    # einsum multiplies and sums without an array of the products.
    sums = _last(row, axis)[..., 0]
    np.einsum("...i,...i->...", _last(y, axis), _last(g, axis), out=sums)
    np.subtract(g, row, out=out)
    np.multiply(out, y, out=out)
    return out


def _log_softmax_kernel(
    xp: Any, x: Any, *, axis: int, out: Any = None, work: Any = None
) -> Any:
    if out is None:
        out = np.empty(x.shape, x.dtype)
    if out.size == 0:
        return out
    row = np.empty(_kept(x.shape, axis), x.dtype) if work is None else work[0]
    powers = np.empty(x.shape, x.dtype) if work is None else work[1]
    np.maximum.reduce(x, axis, out=row, keepdims=True)
    np.subtract(x, row, out=out)
    np.exp(out, out=powers)
    np.add.reduce(powers, axis, out=row, keepdims=True)
    np.log(row, out=row)
    np.subtract(out, row, out=out)
    return out


def _total(x: Tensor, axis: int) -> Tensor:
    """The sum along ``axis``, which is kept."""
    from .reduction import reduce_sum

    return reduce_sum(x, axis, True)


def _soft_grad(y: Tensor, g: Tensor, axis: int) -> Tensor:
    return create(SOFTMAX_GRAD, (y, g), {"axis": axis})


def _soft_grad_to_y(op: Operation, h: Tensor) -> Tensor:
    """d<h, y*(g - sum(g*y))>/dy = h*(g - sum(g*y)) - g*sum(h*y)."""
    y, g = op.inputs
    axis = op.attrs["axis"]
    mul, sub = TABLE["mul"], TABLE["sub"]
    inner = sub(g, _total(mul(g, y), axis))
    return sub(mul(h, inner), mul(g, _total(mul(h, y), axis)))  # type: ignore[no-any-return]


def _soft_grad_jvp(op: Operation, ty: Tensor | None, tg: Tensor | None) -> Tensor:
    y, g = op.inputs
    axis = op.attrs["axis"]
    mul, sub = TABLE["mul"], TABLE["sub"]
    terms = [] if tg is None else [_soft_grad(y, tg, axis)]
    if ty is not None:
        inner = sub(g, _total(mul(g, y), axis))
        terms.append(sub(mul(ty, inner), mul(y, _total(mul(g, ty), axis))))
    return TABLE["add_n"](terms)  # type: ignore[no-any-return]


SOFTMAX_GRAD = OpDef(
    "SoftmaxGrad",
    infer=_infer_axis,
    kernel=_softmax_grad_kernel,
    inputs=("y", "g"),
    vjp=(
        _soft_grad_to_y,
        lambda op, h: _soft_grad(op.inputs[0], h, op.attrs["axis"]),
    ),
    jvp=_soft_grad_jvp,
    jet=softmax_grad_jet,
    inplace=(1,),
    writes_out=True,
    workspace=_row_work,
    flops=_flops(4),
    batch=batch.along_axis,
    doc="y * (g - sum(g * y))",
)

SOFTMAX = OpDef(
    "Softmax",
    infer=_infer_axis,
    kernel=_softmax_kernel,
    inputs=("logits",),
    vjp=(lambda op, g: _soft_grad(op.outputs[0], g, op.attrs["axis"]),),
    jvp=lambda op, t: _soft_grad(op.outputs[0], t, op.attrs["axis"]),
    jet=softmax_jet,
    inplace=(0,),
    writes_out=True,
    workspace=_row_work,
    flops=_flops(14),
    batch=batch.along_axis,
    doc="exp(x - max) / sum(exp(x - max))",
)


def _log_softmax_rule(op: Operation, g: Tensor) -> Tensor:
    from .transcendental import exp

    p = exp(op.outputs[0])
    total = _total(g, op.attrs["axis"])
    return TABLE["sub"](g, TABLE["mul"](p, total))  # type: ignore[no-any-return]


def _log_softmax_jvp(op: Operation, t: Tensor) -> Tensor:
    from .transcendental import exp

    p = exp(op.outputs[0])
    return TABLE["sub"](t, _total(TABLE["mul"](p, t), op.attrs["axis"]))  # type: ignore[no-any-return]


LOG_SOFTMAX = OpDef(
    "LogSoftmax",
    infer=_infer_axis,
    kernel=_log_softmax_kernel,
    inputs=("logits",),
    vjp=(_log_softmax_rule,),
    jvp=_log_softmax_jvp,
    jet=log_softmax_jet,
    inplace=(0,),
    writes_out=True,
    workspace=_full_work,
    flops=_flops(14),
    batch=batch.along_axis,
    doc="x - max - log(sum(exp(x - max)))",
)


def _axis(axis: Any, dim: Any, who: str) -> int:
    """One axis from TF1's two names.

    Raises:
        InvalidArgumentError: both are given, or a tensor.
    """
    if axis is not None and dim is not None:
        raise InvalidArgumentError(f"{who}: give axis or dim, not both")
    axis = dim if axis is None else axis
    if axis is None:
        return -1
    if isinstance(axis, Tensor):
        if not isinstance(axis.value, np.ndarray):
            raise InvalidArgumentError(f"{who}: the axis must be known: {axis!r}")
        axis = axis.value.item()
    return int(axis)


def softmax(
    logits: Any, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """y_i = exp(x_i) / sum_j exp(x_j) along ``axis``, without overflow.

    Args:
        logits: floating, any rank >= 1.
        axis: the axis of the classes (default: the last), also ``dim``.

    Raises:
        ShapeError: ``axis`` is out of range.
        DTypeError: complex or string logits.

    NaN, or +inf, in a row makes the whole row NaN.
    """
    attrs = {"axis": _axis(axis, dim, "softmax")}
    return create(SOFTMAX, (inexact(logits),), attrs, name)


def log_softmax(
    logits: Any, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """y_i = x_i - log(sum_j exp(x_j)) along ``axis``: log(softmax(x)) without
    underflow.  Arguments and errors are those of :func:`softmax`."""
    attrs = {"axis": _axis(axis, dim, "log_softmax")}
    return create(LOG_SOFTMAX, (inexact(logits),), attrs, name)


# -- cross entropy --------------------------------------------------------------------


def _infer_entropy(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    x, labels = inputs
    if not compatible(x.dims, labels.dims):
        raise ShapeError(
            f"logits have shape {text(x.dims)}, labels {text(labels.dims)}: they must "
            "be the same"
        )
    return _loss_and_backprop(x.dtype, merge(x.dims, labels.dims))


def _loss_and_backprop(dtype: Any, dims: Dims) -> Any:
    if dims is not None and not dims:
        raise ShapeError("logits must have an axis of classes, not shape ()")
    return ((dtype, None if dims is None else dims[:-1]), (dtype, dims))


def _prepare(x: Any, out: Any) -> tuple[Any, Any]:
    if out is not None:
        return out  # type: ignore[no-any-return]
    return np.empty(x.shape[:-1], x.dtype), np.empty(x.shape, x.dtype)


def _entropy_kernel(
    xp: Any, x: Any, labels: Any, out: Any = None, work: Any = None
) -> Any:
    loss, back = _prepare(x, out)
    if back.size == 0:
        loss.fill(0)
        return loss, back
    if work is None:
        work = np.empty((3, *x.shape[:-1], 1), x.dtype)
    row, mass, scale = work
    rows, masses, scales = row[..., 0], mass[..., 0], scale[..., 0]
    np.maximum.reduce(x, -1, out=rows)
    np.subtract(x, row, back)
    np.einsum("...i,...i->...", labels, back, out=loss)
    np.add.reduce(labels, -1, out=masses)
    np.exp(back, back)
    np.add.reduce(back, -1, out=rows)
    # loss = mass * log(sum) - <labels, x - max>; backprop = mass * softmax - labels
    np.log(rows, scales)
    np.multiply(scales, masses, scales)
    np.subtract(scales, loss, loss)
    np.divide(mass, row, scale)
    np.multiply(back, scale, back)
    np.subtract(back, labels, back)
    return loss, back


def _entropy_work(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    rows = (*ins[0].dims[:-1], 1)
    return [(ins[0].dtype.dtype, rows)] * 3


def _weigh(row: Tensor, table: Tensor) -> Tensor:
    """row[..., None] * table."""
    from .views import expand_dims

    return TABLE["mul"](expand_dims(row, -1), table)  # type: ignore[no-any-return]


def _squeezed_total(x: Tensor) -> Tensor:
    from .reduction import reduce_sum

    return reduce_sum(x, -1)


def _to_logits(op: Operation, g: Tensor | None, h: Tensor | None) -> Tensor:
    """g is the cotangent of the loss, h that of backprop (second derivatives)."""
    terms = [] if g is None else [_weigh(g, op.outputs[1])]
    if h is not None:
        p = softmax(op.inputs[0])
        through = _soft_grad(p, h, -1)
        if len(op.inputs) == 2 and op.inputs[1].dtype.is_floating:
            through = TABLE["mul"](through, _total(op.inputs[1], -1))
        terms.append(through)
    return TABLE["add_n"](terms)  # type: ignore[no-any-return]


def _to_labels(op: Operation, g: Tensor | None, h: Tensor | None) -> Tensor:
    x = op.inputs[0]
    terms = [] if g is None else [_weigh(TABLE["neg"](g), log_softmax(x))]
    if h is not None:
        p = softmax(x)
        terms.append(TABLE["sub"](_total(TABLE["mul"](h, p), -1), h))
    return TABLE["add_n"](terms)  # type: ignore[no-any-return]


def _entropy_jvp(op: Operation, t: Tensor | None, u: Tensor | None) -> Any:
    mul, sub = TABLE["mul"], TABLE["sub"]
    x, labels = op.inputs
    p = softmax(x)
    losses, backs = [], []
    if t is not None:
        losses.append(_squeezed_total(mul(t, op.outputs[1])))
        backs.append(mul(_soft_grad(p, t, -1), _total(labels, -1)))
    if u is not None:
        losses.append(_squeezed_total(mul(TABLE["neg"](u), log_softmax(x))))
        backs.append(sub(mul(_total(u, -1), p), u))
    return TABLE["add_n"](losses), TABLE["add_n"](backs)


SOFTMAX_ENTROPY = OpDef(
    "SoftmaxCrossEntropyWithLogits",
    infer=_infer_entropy,
    kernel=_entropy_kernel,
    inputs=("features", "labels"),
    vjp=(_to_logits, _to_labels),
    jvp=_entropy_jvp,
    jet=entropy_jet,
    writes_out=True,
    workspace=_entropy_work,
    flops=_flops(18),
    batch=batch.leading,
    doc="-sum(labels * log_softmax(x)), and its gradient to x",
)


def _infer_sparse(inputs: Sequence[Any], attrs: Attrs) -> Any:
    x, labels = inputs
    require((x,), "f")
    if not labels.dtype.is_integer:
        raise DTypeError(f"labels must be integers, not {labels.dtype.name}")
    dims = x.dims
    if labels.dims is not None:
        rows = None if dims is None else dims[:-1]
        if rows is not None and not compatible(rows, labels.dims):
            raise ShapeError(
                f"logits of shape {text(dims)} need labels of shape {text(rows)}, "
                f"not {text(labels.dims)}"
            )
        merged = merge(rows, labels.dims)
        assert merged is not None
        dims = (*merged, None if dims is None else dims[-1])
    return _loss_and_backprop(x.dtype, dims)


def _sparse_kernel(
    xp: Any, x: Any, labels: Any, out: Any = None, work: Any = None
) -> Any:
    classes = x.shape[-1]
    # Seen as unsigned, a negative label is beyond every class.
    codes = labels.reshape(-1)
    if codes.size and np.maximum.reduce(codes.view(f"u{codes.itemsize}")) >= classes:
        wrong = codes[(codes < 0) | (codes >= classes)][0]
        raise InvalidArgumentError(
            f"label {wrong} is outside [0, {classes}), the range of the classes"
        )
    loss, back = _prepare(x, out)
    if back.size == 0:
        return loss, back
    row = np.empty((*x.shape[:-1], 1), x.dtype) if work is None else work[0]
    rows = row[..., 0]
    np.maximum.reduce(x, -1, out=rows)
    np.subtract(x, row, back)
    # Where each row's label is in the flat array (`back` is contiguous).
    chosen = np.arange(0, back.size, classes, dtype=np.intp)
    np.add(chosen, codes, out=chosen, casting="unsafe")  # of any integer dtype
    flat = back.reshape(-1)
    flat.take(chosen, None, loss.reshape(-1), "clip")
    np.exp(back, back)
    np.add.reduce(back, -1, out=rows)
    np.divide(back, row, back)
    flat[chosen] -= 1
    np.log(rows, rows)
    np.subtract(rows, loss, loss)
    return loss, back


def _sparse_work(ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> Any:
    return [(ins[0].dtype.dtype, (*ins[0].dims[:-1], 1))]


def _sparse_jvp(op: Operation, t: Tensor, u: Any) -> Any:
    loss = _squeezed_total(TABLE["mul"](t, op.outputs[1]))
    return loss, _soft_grad(softmax(op.inputs[0]), t, -1)


SPARSE_SOFTMAX_ENTROPY = OpDef(
    "SparseSoftmaxCrossEntropyWithLogits",
    infer=_infer_sparse,
    kernel=_sparse_kernel,
    inputs=("features", "labels"),
    vjp=(_to_logits, None),
    jvp=_sparse_jvp,
    jet=sparse_entropy_jet,
    writes_out=True,
    workspace=_sparse_work,
    flops=_flops(16),
    batch=batch.leading,
    doc="-log_softmax(x)[label], and its gradient to x",
)


def _classes_last(t: Tensor, axis: int) -> Tensor:
    """``t`` with ``axis`` moved to the end.

    Raises:
        ShapeError: the rank is not known, or ``axis`` out of range.
    """
    if axis == -1:
        return t
    if t.dims is None:
        raise ShapeError(f"the rank of {t!r} must be known to move axis {axis}")
    rank = len(t.dims)
    axis = normalize_axis(axis, rank)
    if axis == rank - 1:
        return t
    order = [i for i in range(rank) if i != axis] + [axis]
    return TABLE["transpose"](t, order)  # type: ignore[no-any-return]


def _widened(x: Tensor) -> Tensor:
    """Half precision sums too coarsely: work in float32, as TF does."""
    return TABLE["cast"](x, float32) if x.dtype is float16 else x


def _as_logits(loss: Tensor, x: Tensor) -> Tensor:
    return TABLE["cast"](loss, x.dtype) if loss.dtype is not x.dtype else loss


def softmax_cross_entropy_with_logits_v2(
    labels: Any,
    logits: Any,
    axis: Any = None,
    name: str | None = None,
    dim: Any = None,
) -> Tensor:
    """loss = -sum_i labels_i log_softmax(logits)_i along ``axis``.

    Args:
        labels: (..., classes), of the shape of ``logits``; each row is meant to be
            a distribution, but any weights are summed.
        logits: (..., classes); floating.
        axis: the axis of the classes (default: the last), also ``dim``.

    Returns:
        (...): the classes' axis is gone.

    Raises:
        ShapeError: the shapes differ, or ``axis`` is out of range.

    Gradient: to logits g * (sum(labels) * softmax - labels), made in the same pass
        as the loss (TF leaves out sum(labels), which is 1 for a distribution);
        to labels -g * log_softmax.  A logit of -inf with label 0 gives NaN.
    """
    where = _axis(axis, dim, "softmax_cross_entropy_with_logits")
    x = inexact(logits)
    t = TABLE["cast"](as_tensor(labels), x.dtype)
    pair = (_widened(_classes_last(x, where)), _widened(_classes_last(t, where)))
    loss, _ = create_many(
        SOFTMAX_ENTROPY, pair, None, name or "softmax_cross_entropy_with_logits"
    )
    return _as_logits(loss, x)


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: Any = -1,
    name: str | None = None,
    axis: Any = None,
) -> Tensor:
    """:func:`softmax_cross_entropy_with_logits_v2` with labels held constant: no
    gradient reaches them.

    Raises:
        InvalidArgumentError: positional arguments, which TF1 forbids because
            programs mixed labels and logits up.
    """
    no_positional(_sentinel, labels, logits, "softmax_cross_entropy_with_logits")
    from .core import stop_gradient

    return softmax_cross_entropy_with_logits_v2(
        stop_gradient(labels), logits, dim if axis is None else axis, name
    )


def no_positional(sentinel: Any, labels: Any, logits: Any, who: str) -> None:
    if sentinel is not None or labels is None or logits is None:
        raise InvalidArgumentError(
            f"{entry() or who + ': '}name the arguments, labels=..., logits=...: both "
            "orders of them were in use, so neither is taken, as in TF1"
        )


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    name: str | None = None,
) -> Tensor:
    """loss = -log_softmax(logits)[label] for each row.

    Args:
        labels: (...): integers in [0, classes).
        logits: (..., classes); floating.

    Returns:
        (...), of the dtype of ``logits``.

    Raises:
        ShapeError: ``labels`` has not the rows of ``logits``.
        DTypeError: labels that are no integers.
        InvalidArgumentError: positional arguments; at run time, a label out of
            range.

    Gradient: to logits g * (softmax - one_hot(label)), made in the same pass.
    """
    who = "sparse_softmax_cross_entropy_with_logits"
    no_positional(_sentinel, labels, logits, who)
    x = inexact(logits)
    loss, _ = create_many(
        SPARSE_SOFTMAX_ENTROPY,
        (_widened(x), as_tensor(labels)),
        None,
        name or "SparseSoftmaxCrossEntropyWithLogits",
    )
    return _as_logits(loss, x)


OPERATORS = {"log_softmax": log_softmax, "softmax": softmax}
