"""Losses of logits and rates, element by element, and the L2 loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import compatible, merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, inexact, scope
from ._kinds import require
from ._later import batch
from .conv import operands
from .softmax import no_positional

__all__ = [
    "l2_loss",
    "log_poisson_loss",
    "sigmoid_cross_entropy_with_logits",
    "weighted_cross_entropy_with_logits",
]

Attrs = Mapping[str, Any]


def _count(dims: Any) -> int:
    return math.prod(d or 0 for d in dims or ())


def _l2_kernel(xp: Any, t: Any, out: Any = None) -> Any:
    flat = t.reshape(-1)
    half = np.multiply(np.dot(flat, flat), t.dtype.type(0.5))
    if out is None:
        return np.asarray(half)
    out[...] = half
    return out


def _infer_l2(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    return ((inputs[0].dtype, ()),)


def _l2_jvp(op: Operation, t: Tensor) -> Tensor:
    from .reduction import reduce_sum

    return reduce_sum(TABLE["mul"](op.inputs[0], t))


L2_LOSS = OpDef(
    "L2Loss",
    infer=_infer_l2,
    kernel=_l2_kernel,
    inputs=("t",),
    vjp=(lambda op, g: TABLE["mul"](op.inputs[0], g),),
    jvp=_l2_jvp,
    writes_out=True,
    flops=lambda ins, outs, attrs: 2 * _count(ins[0].dims),
    batch=batch.squared_half,
    doc="sum(t * t) / 2",
)


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """sum(t**2) / 2, a scalar.  Gradient: t.

    Raises:
        DTypeError: complex or string.
    """
    return create(L2_LOSS, (inexact(t),), None, name)


def _sigmoid_kernel(xp: Any, x: Any, z: Any, out: Any = None, work: Any = None) -> Any:
    if out is None:
        out = np.empty(np.broadcast_shapes(x.shape, z.shape), x.dtype)
    part = np.empty(out.shape, out.dtype) if work is None else work[0]
    # max(x, 0) - x z + log(1 + exp(-|x|)): nothing overflows or cancels.
    np.multiply(x, z, out=part)
    np.maximum(x, 0, out=out)
    np.subtract(out, part, out=part)
    np.abs(x, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    return np.add(out, part, out=out)


def _infer_pair(inputs: Sequence[Any], attrs: Attrs) -> Any:
    require(inputs, "f")
    x, z = inputs
    if not compatible(x.dims, z.dims):
        raise ShapeError(
            f"logits have shape {text(x.dims)}, labels {text(z.dims)}: they must be "
            "the same"
        )
    return ((x.dtype, merge(x.dims, z.dims)),)


def _sigmoid_slope(op: Operation) -> Tensor:
    from .activations import sigmoid

    x, z = op.inputs
    return TABLE["sub"](sigmoid(x), z)  # type: ignore[no-any-return]


def _sigmoid_jvp(op: Operation, tx: Tensor | None, tz: Tensor | None) -> Tensor:
    mul = TABLE["mul"]
    terms = [] if tx is None else [mul(tx, _sigmoid_slope(op))]
    if tz is not None:
        terms.append(mul(tz, TABLE["neg"](op.inputs[0])))
    return TABLE["add_n"](terms)  # type: ignore[no-any-return]


SIGMOID_ENTROPY = OpDef(
    "SigmoidCrossEntropyWithLogits",
    infer=_infer_pair,
    kernel=_sigmoid_kernel,
    inputs=("logits", "labels"),
    vjp=(
        lambda op, g: TABLE["mul"](g, _sigmoid_slope(op)),
        lambda op, g: TABLE["mul"](g, TABLE["neg"](op.inputs[0])),
    ),
    jvp=_sigmoid_jvp,
    writes_out=True,
    elementwise=True,
    workspace=lambda ins, outs, attrs: [(ins[0].dtype.dtype, outs[0].dims)],
    flops=lambda ins, outs, attrs: 30 * _count(outs[0].dims),
    batch=batch.leading,
    doc="max(x, 0) - x z + log(1 + exp(-|x|))",
)


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    name: str | None = None,
) -> Tensor:
    """loss = -z log(sigmoid(x)) - (1 - z) log(1 - sigmoid(x)), elementwise.

    Args:
        labels: z, of the shape and dtype of ``logits``.
        logits: x; floating.

    Raises:
        ShapeError: the shapes differ.
        InvalidArgumentError: positional arguments, which TF1 forbids.

    Gradient: sigmoid(x) - z, and -x.
    """
    no_positional(_sentinel, labels, logits, "sigmoid_cross_entropy_with_logits")
    x = inexact(logits)
    pair = (x, TABLE["cast"](as_tensor(labels), x.dtype))
    return create(SIGMOID_ENTROPY, pair, None, name or "logistic_loss")


def weighted_cross_entropy_with_logits(
    labels: Any = None,
    logits: Any = None,
    pos_weight: Any = None,
    name: str | None = None,
    targets: Any = None,
) -> Tensor:
    """loss = -q z log(sigmoid(x)) - (1 - z) log(1 - sigmoid(x)), elementwise.

    Args:
        labels: z, of the shape of ``logits``, also ``targets``.
        logits: x; floating.
        pos_weight: q, broadcast: above 1 it favours recall.

    Raises:
        ShapeError: the shapes of z and x differ.
    """
    from .activations import softplus

    z = targets if labels is None else labels
    mul, sub = TABLE["mul"], TABLE["sub"]
    with scope(name, "logistic_loss", z, logits) as whole:
        x, t = operands(logits, z)
        if not compatible(x.dims, t.dims):
            raise ShapeError(
                f"logits have shape {text(x.dims)}, labels {text(t.dims)}: they must "
                "be the same"
            )
        hit = mul(mul(t, pos_weight), softplus(TABLE["neg"](x)))
        miss = mul(sub(1.0, t), softplus(x))
        return TABLE["add"](hit, miss, whole)  # type: ignore[no-any-return]


def log_poisson_loss(
    targets: Any,
    log_input: Any,
    compute_full_loss: bool = False,
    name: str | None = None,
) -> Tensor:
    """loss = exp(c) - z c for targets z and log-rates c: -log p(z) without log(z!).

    Args:
        compute_full_loss: add Stirling's z log z - z + log(2 pi z) / 2 where z > 1.

    Raises:
        ShapeError: the shapes differ.
    """
    from .logical import logical_and, where_v2
    from .transcendental import exp, log

    mul, sub, add = TABLE["mul"], TABLE["sub"], TABLE["add"]
    with scope(name, "log_poisson_loss", targets, log_input):
        c, z = operands(log_input, targets)
        if not compatible(c.dims, z.dims):
            raise ShapeError(
                f"log_input has shape {text(c.dims)}, targets {text(z.dims)}: they "
                "must be the same"
            )
        loss = sub(exp(c), mul(c, z))
        if compute_full_loss:
            small = logical_and(
                TABLE["greater_equal"](z, 0.0), TABLE["less_equal"](z, 1.0)
            )
            # log(1) where the term is not used keeps its gradient finite.
            safe = where_v2(small, TABLE["ones_like"](z), z)
            root = mul(log(mul(safe, 2 * math.pi)), 0.5)
            stirling = add(sub(mul(safe, log(safe)), safe), root)
            loss = add(loss, where_v2(small, TABLE["zeros_like"](z), stirling))
        return loss  # type: ignore[no-any-return]
