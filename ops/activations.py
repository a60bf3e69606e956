"""Activation functions of neural networks, element by element; floating tensors.

Integers become float32 (relu and relu6 keep them).  Forms are stable in both tails;
where it can, the gradient is one fused op that reads the output, so that the input
need not be kept.
"""

from __future__ import annotations

import math
from typing import Any

from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series
from ..graphlib.tensor import Tensor
from ._build import create, inexact, scope
from ._choose import keep_positive, positive_workspace, settle_positive
from ._jets import by_output, difference, quadratic, squares, step, total, velocities
from ._kinds import elementwise
from ._pointwise import backward, floating, fused, pointwise, scratch, unary
from .elementwise import add, multiply, negative, square, subtract

__all__ = [
    "crelu",
    "elu",
    "gelu",
    "leaky_relu",
    "log_sigmoid",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "softplus",
    "softsign",
    "swish",
]


def _fresh(xp: Any, x: Any, out: Any) -> Any:
    return xp.empty_like(x) if out is None else out


# -- sigmoid and its integrals -------------------------------------------------------


def _sigmoid_kernel(xp: Any, x: Any, out: Any = None) -> Any:
    # e^-x overflows to infinity far left, and 1 / infinity is the right limit.
    out = xp.negative(x, _fresh(xp, x, out))
    xp.exp(out, out)
    xp.add(out, 1.0, out)
    return xp.reciprocal(out, out)


def _sigmoid_grad_kernel(xp: Any, y: Any, g: Any, out: Any = None) -> Any:
    out = xp.subtract(1.0, y, _fresh(xp, y, out))
    xp.multiply(out, y, out)
    return xp.multiply(out, g, out)


SIGMOID_GRAD = backward(
    "SigmoidGrad",
    _sigmoid_grad_kernel,
    lambda op: subtract(1.0, multiply(op.inputs[0], 2.0)),
    factor=lambda op, y: list(map(difference, y, squares(y))),
    inplace=(),
    doc="g y (1 - y)",
)
SIGMOID = elementwise(
    "Sigmoid",
    _sigmoid_kernel,
    **fused(
        SIGMOID_GRAD,
        lambda op: multiply(op.outputs[0], subtract(1.0, op.outputs[0])),
    ),
    jet=by_output(quadratic(0, 1, -1)),
    flops=15,
    doc="y = 1 / (1 + e^-x)",
)


def sigmoid(x: Any, name: str | None = None) -> Tensor:
    """1 / (1 + e^-x), stable in both tails; floating or complex.

    Gradient: g conj(y (1 - y)), from the output y.
    """
    return floating(SIGMOID, x, name)


def _softplus_grad_kernel(xp: Any, x: Any, g: Any, out: Any = None) -> Any:
    out = xp.negative(x, _fresh(xp, x, out))
    xp.exp(out, out)
    xp.add(out, 1.0, out)
    return xp.true_divide(g, out, out)


def _sigmoid_slope(op: Operation) -> Tensor:
    s = sigmoid(op.inputs[0])
    return multiply(s, subtract(1.0, s))


def _sigmoid_series(op: Operation, x: Series) -> Series:
    y = sigmoid(op.inputs[0])
    found: Series = SIGMOID.jet(y.op, [x])[0]  # type: ignore[misc]
    return found


SOFTPLUS_GRAD = backward(
    "SoftplusGrad",
    _softplus_grad_kernel,
    _sigmoid_slope,
    factor=_sigmoid_series,
    flops=15,
    doc="g / (1 + e^-x)",
)


def _by_input(opdef: Any) -> dict[str, Any]:
    """Both rules of a real function whose backward op reads the input."""

    def rule(op: Operation, g: Tensor) -> Tensor:
        return create(opdef, (op.inputs[0], g), op._attrs)

    return {"vjp": (rule,), "jvp": rule}


def _softplus_kernel(xp: Any, x: Any, out: Any = None, work: Any = None) -> Any:
    # max(x, 0) + ln(1 + e^-|x|): ten times as fast as one logaddexp.
    (high,) = work or (None,)
    high = xp.maximum(x, 0, out=high)
    out = _log_of_tail(xp, x, out)
    return xp.add(out, high, out)


def _log_of_tail(xp: Any, x: Any, out: Any) -> Any:
    """ln(1 + e^-|x|)."""
    out = xp.absolute(x, _fresh(xp, x, out))
    xp.negative(out, out)
    xp.exp(out, out)
    return xp.log1p(out, out)


SOFTPLUS = elementwise(
    "Softplus",
    _softplus_kernel,
    kinds="f",
    **_by_input(SOFTPLUS_GRAD),
    flops=25,
    workspace=scratch(-1, None),
    doc="y = ln(1 + e^x)",
)


def softplus(features: Any, name: str | None = None) -> Tensor:
    """ln(1 + e^x), stable in both tails.  Gradient: g sigmoid(x)."""
    return floating(SOFTPLUS, features, name)


def _log_sigmoid_kernel(xp: Any, x: Any, out: Any = None, work: Any = None) -> Any:
    (low,) = work or (None,)
    low = xp.minimum(x, 0, out=low)
    out = _log_of_tail(xp, x, out)
    return xp.subtract(low, out, out)


LOG_SIGMOID = elementwise(
    "LogSigmoid",
    _log_sigmoid_kernel,
    1,
    (lambda op: sigmoid(negative(op.inputs[0])),),
    kinds="f",
    flops=25,
    workspace=scratch(-1, None),
    doc="y = -ln(1 + e^-x)",
)


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """ln sigmoid(x) = -ln(1 + e^-x), stable in both tails.

    Gradient: g sigmoid(-x).
    """
    return floating(LOG_SIGMOID, x, name)


def swish(features: Any, name: str | None = None) -> Tensor:
    """x sigmoid(x), also called SiLU.  Gradient: g (s + x s (1 - s)).

    Reference: Ramachandran, Zoph & Le, arXiv:1710.05941.
    """
    x = inexact(features)
    with scope(name, "swish", x):
        return multiply(x, sigmoid(x))


# -- rectifiers ----------------------------------------------------------------------


RELU_GRAD = backward(
    "ReluGrad",
    keep_positive,
    None,
    inplace=(0, 1),
    workspace=positive_workspace,
    settle=settle_positive,
    flops=1,
    doc="g where y > 0, else 0",
)
RELU = elementwise(
    "Relu",
    lambda xp, x, out=None: xp.maximum(x, 0, out=out),
    kinds="if",
    **fused(RELU_GRAD, None),
    linear=True,
    doc="y = max(x, 0)",
)


def relu(features: Any, name: str | None = None) -> Tensor:
    """max(x, 0); NaN stays NaN.  Gradient: g where x > 0, else 0 (also at 0)."""
    return unary(RELU, features, name)


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """max(x, 0) and max(-x, 0), joined along ``axis``, which doubles.

    Gradient: g of the first half where x > 0, less that of the second where x < 0.
    Reference: Shang et al., arXiv:1603.05201.
    """
    x = inexact(features)
    with scope(name, "CRelu", x) as full:
        both = TABLE["concat"]([x, negative(x)], axis)
        return relu(both, name=full)


def _relu6_kernel(xp: Any, x: Any, out: Any = None) -> Any:
    out = xp.maximum(x, 0, out=_fresh(xp, x, out))
    return xp.minimum(out, 6, out=out)


def _relu6_grad_kernel(
    xp: Any, y: Any, g: Any, out: Any = None, work: Any = None
) -> Any:
    out = keep_positive(xp, y, g, out)
    xp.copyto(out, 0, where=xp.greater_equal(y, 6, *(work or ())))
    return out


RELU6_GRAD = backward(
    "Relu6Grad",
    _relu6_grad_kernel,
    None,
    inplace=(),
    flops=2,
    workspace=scratch(0),
    doc="g where 0 < y < 6, else 0",
)
RELU6 = elementwise(
    "Relu6",
    _relu6_kernel,
    kinds="if",
    **fused(RELU6_GRAD, None),
    linear=True,
    flops=2,
    doc="y = min(max(x, 0), 6)",
)


def relu6(features: Any, name: str | None = None) -> Tensor:
    """min(max(x, 0), 6).  Gradient: g where 0 < x < 6, else 0."""
    return unary(RELU6, features, name)


def _leaky_relu_kernel(xp: Any, x: Any, *, alpha: float, out: Any = None) -> Any:
    out = xp.multiply(x, alpha, _fresh(xp, x, out))
    return (xp.maximum if alpha <= 1 else xp.minimum)(x, out, out=out)


def _leaky_relu_grad_kernel(
    xp: Any, x: Any, g: Any, *, alpha: float, out: Any = None
) -> Any:
    # The factor is exactly 1 or alpha: from 1 and 0, or from 0 and alpha - 1.
    out = _fresh(xp, x, out)
    if 0 <= alpha <= 1:
        xp.greater(x, 0, out)
        xp.maximum(out, alpha, out=out)
    else:
        xp.less_equal(x, 0, out)
        xp.multiply(out, alpha - 1.0, out)
        xp.add(out, 1.0, out)
    return xp.multiply(out, g, out)


LEAKY_RELU_GRAD = backward(
    "LeakyReluGrad",
    _leaky_relu_grad_kernel,
    None,
    flops=2,
    doc="g where x > 0, else alpha g",
)
LEAKY_RELU = pointwise(
    "LeakyRelu",
    _leaky_relu_kernel,
    ("x",),
    "f",
    **_by_input(LEAKY_RELU_GRAD),
    linear=True,
    flops=2,
    doc="y = x where x > 0, else alpha x",
)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """x where x > 0, else alpha x.  Gradient: g where x > 0, else alpha g (also at 0).

    Args:
        features: the tensor.
        alpha: the slope left of 0, a Python number.
        name: the name of the operation.

    Reference: Maas, Hannun & Ng, ICML workshop 2013.
    """
    x = inexact(features)
    return create(LEAKY_RELU, (x,), {"alpha": float(alpha)}, name or "LeakyRelu")


def _elu_kernel(xp: Any, x: Any, out: Any = None) -> Any:
    # e^x - 1 >= x everywhere, and it is 0 where x was cut off at 0.
    out = xp.minimum(x, 0, out=_fresh(xp, x, out))
    xp.expm1(out, out)
    return xp.maximum(x, out, out=out)


def _elu_grad_kernel(xp: Any, y: Any, g: Any, out: Any = None) -> Any:
    out = xp.minimum(y, 0, out=_fresh(xp, y, out))
    xp.add(out, 1.0, out)
    return xp.multiply(out, g, out)


def _is_negative(op: Operation) -> Tensor:
    """1 where the first input is negative, else 0."""
    from .logical import less

    y = op.inputs[0]
    return TABLE["cast"](less(y, 0), y.dtype)  # type: ignore[no-any-return]


def _where_negative(y_0: Tensor, y: Series) -> Series:
    """The coefficients where y_0 < 0, else 0; entry 0 is left as it is."""
    from .logical import less, where_v2

    low = less(y_0, 0)
    return [y_0, *[None if c is None else where_v2(low, c, 0) for c in y[1:]]]


def _unit_jet(grad: Any) -> Any:
    """The rule of elu and selu: y' = w x', w = y + constant where y < 0."""

    def rule(op: Operation, series: list[Series]) -> list[Series]:
        y, x = op.outputs[0], series[0]
        moved = velocities(x)
        found: Series = [y]
        w: Series = [None]
        for k in range(1, len(x)):
            t = x[k]
            first = None if t is None else create(grad, (y, t))
            found.append(total([first, step(moved, w, k)]))
            w.append(_where_negative(y, [None, found[k]])[1])
        return [found]

    return rule


ELU_GRAD = backward(
    "EluGrad",
    _elu_grad_kernel,
    _is_negative,
    factor=lambda op, y: _where_negative(op.inputs[0], y),
    doc="g where y > 0, else g (y + 1)",
)
ELU = pointwise(
    "Elu",
    _elu_kernel,
    ("x",),
    "f",
    **fused(ELU_GRAD, None),
    jet=_unit_jet(ELU_GRAD),
    flops=15,
    doc="y = x where x > 0, else e^x - 1",
)


def elu(features: Any, name: str | None = None) -> Tensor:
    """x where x > 0, else e^x - 1.  Gradient: g where x > 0, else g e^x.

    Reference: Clevert, Unterthiner & Hochreiter, arXiv:1511.07289.
    """
    return floating(ELU, features, name)


_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717


def _selu_kernel(xp: Any, x: Any, out: Any = None, work: Any = None) -> Any:
    mask = xp.greater(x, 0, *(work or ()))
    out = xp.minimum(x, 0, out=_fresh(xp, x, out))
    xp.expm1(out, out)
    xp.multiply(out, _SELU_ALPHA, out)
    xp.copyto(out, x, where=mask)
    return xp.multiply(out, _SELU_SCALE, out)


def _selu_grad_kernel(
    xp: Any, y: Any, g: Any, out: Any = None, work: Any = None
) -> Any:
    mask = xp.greater_equal(y, 0, *(work or ()))
    out = xp.add(y, _SELU_SCALE * _SELU_ALPHA, _fresh(xp, y, out))
    xp.copyto(out, _SELU_SCALE, where=mask)
    return xp.multiply(out, g, out)


SELU_GRAD = backward(
    "SeluGrad",
    _selu_grad_kernel,
    _is_negative,
    factor=lambda op, y: _where_negative(op.inputs[0], y),
    workspace=scratch(0),
    doc="s g where y ≥ 0, else g (y + s a)",
)
SELU = pointwise(
    "Selu",
    _selu_kernel,
    ("x",),
    "f",
    **fused(SELU_GRAD, None),
    jet=_unit_jet(SELU_GRAD),
    flops=15,
    workspace=scratch(0),
    doc="y = s x where x > 0, else s a (e^x - 1)",
)


def selu(features: Any, name: str | None = None) -> Tensor:
    """s x where x > 0, else s a (e^x - 1), with s = 1.0507..., a = 1.6733...

    Gradient: s g where x ≥ 0, else s a e^x g.
    Reference: Klambauer et al., arXiv:1706.02515.
    """
    return floating(SELU, features, name)


# -- other shapes --------------------------------------------------------------------


def _softsign_kernel(xp: Any, x: Any, out: Any = None) -> Any:
    out = xp.absolute(x, _fresh(xp, x, out))
    xp.add(out, 1.0, out)
    return xp.true_divide(x, out, out)


def _softsign_partial(op: Operation) -> Tensor:
    from .powers import reciprocal

    return square(reciprocal(add(TABLE["abs"](op.inputs[0]), 1.0)))


def _softsign_rule(op: Operation, g: Tensor) -> Tensor:
    return multiply(g, _softsign_partial(op))


SOFTSIGN = pointwise(
    "Softsign",
    _softsign_kernel,
    ("x",),
    "f",
    vjp=(_softsign_rule,),
    jvp=_softsign_rule,
    flops=3,
    doc="y = x / (1 + |x|)",
)


def softsign(features: Any, name: str | None = None) -> Tensor:
    """x / (1 + |x|).  Gradient: g / (1 + |x|)²."""
    return floating(SOFTSIGN, features, name)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Tensor:
    """x Φ(x), Φ the standard normal distribution function.

    Args:
        features: the tensor.
        approximate: use x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))).
        name: the name of the operation (or scope).

    Gradient: g (Φ(x) + x φ(x)), or that of the approximation.
    Reference: Hendrycks & Gimpel, arXiv:1606.08415.
    """
    x = inexact(features)
    if not approximate:
        from .special import GELU

        return create(GELU, (x,), None, name or "Gelu")
    with scope(name, "Gelu", x):
        cube = multiply(multiply(square(x), x), 0.044715)
        inner = multiply(add(x, cube), math.sqrt(2.0 / math.pi))
        from .transcendental import tanh

        return multiply(multiply(x, 0.5), add(tanh(inner), 1.0))
