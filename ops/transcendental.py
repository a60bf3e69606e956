"""Exponentials, logarithms, trigonometric and hyperbolic functions, by element.

Every function takes floating and complex tensors; integers and bools become
float32.  Real arguments outside the domain give NaN, poles give infinities, as
NumPy has it; gradients are infinite or NaN there.  Complex functions have NumPy's
branch cuts, and their gradient is g times the conjugate derivative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.operation import Operation
from ..graphlib.series import Series, scale
from ..graphlib.tensor import Tensor
from ._jets import (
    by_output,
    conjugates,
    multiplied,
    quadratic,
    quotient,
    squares,
    step,
    velocities,
)
from ._kinds import elementwise, unbroadcast
from ._pointwise import (
    add_up,
    backward,
    binary,
    conj,
    floating,
    fused,
    pointwise,
    scratch,
)
from .elementwise import add, multiply, negative, realdiv, square, subtract
from .powers import power_series, reciprocal, rsqrt

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "sinh",
    "tan",
    "tanh",
    "xdivy",
    "xlogy",
]


# -- exponentials and logarithms ----------------------------------------------------


EXP = elementwise(
    "Exp",
    "exp",
    1,
    (lambda op: op.outputs[0],),
    jet=by_output(quadratic(0, 1, 0)),
    flops=10,
    doc="e^x",
)


def exp(x: Any, name: str | None = None) -> Tensor:
    """e^x.  Gradient: g conj(y), y the result."""
    return floating(EXP, x, name)


EXPM1 = elementwise(
    "Expm1",
    "expm1",
    1,
    (lambda op: add(op.outputs[0], 1.0),),
    jet=by_output(quadratic(1, 1, 0)),
    flops=10,
    doc="y = e^x - 1",
)


def expm1(x: Any, name: str | None = None) -> Tensor:
    """e^x - 1, exact to the last digits near 0.  Gradient: g (conj(y) + 1)."""
    return floating(EXPM1, x, name)


def _divided_by_x(op: Operation, g: Tensor) -> Tensor:
    return realdiv(g, conj(op.inputs[0]))


LOG = elementwise(
    "Log",
    "log",
    vjp=(_divided_by_x,),
    jvp=lambda op, t: realdiv(t, op.inputs[0]),
    flops=10,
    singular=(0,),
    doc="y = ln x",
)


def log(x: Any, name: str | None = None) -> Tensor:
    """The natural logarithm; -inf at 0, NaN where x < 0.  Gradient: g / conj(x)."""
    return floating(LOG, x, name)


LOG1P = elementwise(
    "Log1p",
    "log1p",
    1,
    (lambda op: reciprocal(add(op.inputs[0], 1.0)),),
    flops=10,
    singular=(0,),
    doc="y = ln(1 + x)",
)


def log1p(x: Any, name: str | None = None) -> Tensor:
    """ln(1 + x), exact to the last digits near 0.  Gradient: g / (1 + conj(x))."""
    return floating(LOG1P, x, name)


def _zero_where(xp: Any, x: Any, out: Any, work: Any) -> None:
    """Put 0 into ``out`` wherever x is 0."""
    mask = xp.equal(x, 0, *(work or ()))
    xp.copyto(out, 0, where=mask)


def _xlogy_kernel(xp: Any, x: Any, y: Any, out: Any = None, work: Any = None) -> Any:
    if out is None:
        out = xp.empty(xp.broadcast_shapes(x.shape, y.shape), x.dtype)
    xp.log(y, out)
    xp.multiply(out, x, out)
    _zero_where(xp, x, out, work)
    return out


def _xdivy_kernel(xp: Any, x: Any, y: Any, out: Any = None, work: Any = None) -> Any:
    if out is None:
        out = xp.empty(xp.broadcast_shapes(x.shape, y.shape), x.dtype)
    xp.true_divide(x, y, out)
    _zero_where(xp, x, out, work)
    return out


def _is_nonzero(x: Tensor) -> Tensor:
    """1 where x is not 0, else 0, in x's dtype."""
    from .core import cast
    from .logical import not_equal

    return cast(not_equal(x, 0), x.dtype)


def _xlogy_by_x(op: Operation) -> Tensor:
    return xlogy(_is_nonzero(op.inputs[0]), op.inputs[1])


def _xdivy_by_x(op: Operation) -> Tensor:
    return xdivy(_is_nonzero(op.inputs[0]), op.inputs[1])


def _xdivy_by_y(op: Operation) -> Tensor:
    return xdivy(negative(op.inputs[0]), square(op.inputs[1]))


def _divide_where_nonzero(op: Operation) -> Any:
    """Division by y, with result 0 where x is 0."""
    keep = _is_nonzero(op.inputs[0])
    return lambda top, y: xdivy(multiply(top, keep), y)


def _xdivy_jet(op: Operation, series: list[Series]) -> list[Series]:
    x, y = series
    return [quotient(op.outputs[0], x, y, _divide_where_nonzero(op))]


def _xlogy_jet(op: Operation, series: list[Series]) -> list[Series]:
    """x times the series of ln y, whose derivative is y' / y."""
    x, y = series
    slopes = quotient(None, velocities(y), y, _divide_where_nonzero(op))
    rest = [scale(c, 1.0 / k) for k, c in enumerate(slopes[1:], 1)]
    return [[op.outputs[0], *multiplied(x, [_xlogy_by_x(op), *rest])[1:]]]


def _zero_safe(type: str, kernel: Any, by_x: Any, by_y: Any, jet: Any, doc: str) -> Any:
    """x f(y) with 0 f(y) = 0, also where f(y) is infinite or NaN."""

    def pull(index: int, partial: Any) -> Any:
        def rule(op: Operation, g: Tensor) -> Tensor:
            return unbroadcast(op, index, multiply(g, conj(partial(op))))

        return rule

    def jvp(op: Operation, a: Tensor | None, b: Tensor | None) -> Tensor:
        first = None if a is None else multiply(a, by_x(op))
        second = None if b is None else multiply(b, by_y(op))
        return add_up(op, (first, second))

    return pointwise(
        type,
        kernel,
        ("x", "y"),
        "fc",
        inplace=(1,),
        vjp=(pull(0, by_x), pull(1, by_y)),
        jvp=jvp,
        jet=jet,
        flops=12,
        workspace=scratch(0),
        singular=(1,),
        doc=doc,
    )


XLOGY = _zero_safe(
    "Xlogy",
    _xlogy_kernel,
    _xlogy_by_x,
    lambda op: xdivy(op.inputs[0], op.inputs[1]),
    _xlogy_jet,
    "z = x ln y, 0 where x = 0",
)
XDIVY = _zero_safe(
    "Xdivy",
    _xdivy_kernel,
    _xdivy_by_x,
    _xdivy_by_y,
    _xdivy_jet,
    "z = x / y, 0 where x = 0",
)


def xlogy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x ln y, and 0 where x = 0 (for any y); floating or complex.

    Gradient: g ln y to x, g x / y to y, both 0 where x = 0.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: integers, bools, or no common dtype.
    """
    return binary(XLOGY, x, y, name or "xlogy")


def xdivy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, and 0 where x = 0 (for any y); floating or complex.

    Gradient: g / y to x, -g x / y² to y, both 0 where x = 0.

    Raises:
        ShapeError, DTypeError: as :func:`xlogy`.
    """
    return binary(XDIVY, x, y, name or "xdivy")


# -- trigonometric functions ----------------------------------------------------------


SIN = elementwise(
    "Sin",
    "sin",
    1,
    (lambda op: cos(op.inputs[0]),),
    jet=conjugates(lambda x: cos(x), 1, -1),
    flops=10,
    doc="y = sin x",
)
COS = elementwise(
    "Cos",
    "cos",
    1,
    (lambda op: negative(sin(op.inputs[0])),),
    jet=conjugates(lambda x: sin(x), -1, 1),
    flops=10,
    doc="y = cos x",
)
TAN = elementwise(
    "Tan",
    "tan",
    1,
    (lambda op: add(square(op.outputs[0]), 1.0),),
    jet=by_output(quadratic(1, 0, 1)),
    flops=15,
    singular=(0,),
    doc="y = tan x",
)


def _one_less_square(op: Operation) -> Tensor:
    """1 - x², as (1 - x)(1 + x): exact near x = 1."""
    x = op.inputs[0]
    return multiply(subtract(1.0, x), add(x, 1.0))


ASIN = elementwise(
    "Asin",
    "arcsin",
    1,
    (lambda op: rsqrt(_one_less_square(op)),),
    flops=15,
    singular=(0,),
    doc="y = arcsin x",
)
ACOS = elementwise(
    "Acos",
    "arccos",
    1,
    (lambda op: negative(rsqrt(_one_less_square(op))),),
    flops=15,
    singular=(0,),
    doc="y = arccos x",
)
ATAN = elementwise(
    "Atan",
    "arctan",
    1,
    (lambda op: reciprocal(add(square(op.inputs[0]), 1.0)),),
    flops=15,
    doc="y = arctan x",
)


def sin(x: Any, name: str | None = None) -> Tensor:
    """The sine of x radians.  Gradient: g conj(cos x)."""
    return floating(SIN, x, name)


def cos(x: Any, name: str | None = None) -> Tensor:
    """The cosine of x radians.  Gradient: -g conj(sin x)."""
    return floating(COS, x, name)


def tan(x: Any, name: str | None = None) -> Tensor:
    """The tangent of x radians.  Gradient: g conj(1 + y²)."""
    return floating(TAN, x, name)


def asin(x: Any, name: str | None = None) -> Tensor:
    """The arcsine in [-π/2, π/2] of x in [-1, 1].  Gradient: g / √(1 - x²)."""
    return floating(ASIN, x, name)


def acos(x: Any, name: str | None = None) -> Tensor:
    """The arccosine in [0, π] of x in [-1, 1].  Gradient: -g / √(1 - x²)."""
    return floating(ACOS, x, name)


def atan(x: Any, name: str | None = None) -> Tensor:
    """The arctangent in [-π/2, π/2].  Gradient: g / (1 + x²)."""
    return floating(ATAN, x, name)


def _atan2_partial(op: Operation, index: int) -> Tensor:
    y, x = op.inputs
    other = x if index == 0 else negative(y)
    return realdiv(other, add(square(x), square(y)))


ATAN2 = elementwise(
    "Atan2",
    "arctan2",
    2,
    (lambda op: _atan2_partial(op, 0), lambda op: _atan2_partial(op, 1)),
    kinds="f",
    inputs=("y", "x"),
    flops=20,
    singular=(0, 1),
    doc="the angle of the point (x, y)",
)


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle in [-π, π] of the point (x, y), with broadcasting; floating.

    Gradient: g x / (x² + y²) to y, -g y / (x² + y²) to x; NaN at the origin.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: operands that are not floating, or no common dtype.
    """
    return binary(ATAN2, y, x, name)


# -- hyperbolic functions -------------------------------------------------------------


SINH = elementwise(
    "Sinh",
    "sinh",
    1,
    (lambda op: cosh(op.inputs[0]),),
    jet=conjugates(lambda x: cosh(x), 1, 1),
    flops=15,
    doc="y = sinh x",
)
COSH = elementwise(
    "Cosh",
    "cosh",
    1,
    (lambda op: sinh(op.inputs[0]),),
    jet=conjugates(lambda x: sinh(x), 1, 1),
    flops=15,
    doc="y = cosh x",
)


def _tanh_grad_kernel(xp: Any, y: Any, g: Any, out: Any = None) -> Any:
    out = xp.square(y, out if out is not None else xp.empty_like(y))
    xp.subtract(1.0, out, out)
    return xp.multiply(out, g, out)


TANH_GRAD = backward(
    "TanhGrad",
    _tanh_grad_kernel,
    lambda op: multiply(op.inputs[0], -2.0),
    factor=lambda op, y: [scale(c, -1) for c in squares(y)],
    doc="g (1 - y²)",
)

TANH = elementwise(
    "Tanh",
    "tanh",
    **fused(TANH_GRAD, lambda op: subtract(1.0, square(op.outputs[0]))),
    jet=by_output(quadratic(1, 0, -1)),
    flops=15,
    doc="y = tanh x",
)
ASINH = elementwise(
    "Asinh",
    "arcsinh",
    1,
    (lambda op: rsqrt(add(square(op.inputs[0]), 1.0)),),
    flops=15,
    doc="y = arsinh x",
)


def _acosh_jet(op: Operation, series: list[Series]) -> list[Series]:
    """y' = x' / √(x² - 1), the root's value from the output as below."""
    x = series[0]
    w_0 = reciprocal(sinh(op.outputs[0]))
    w = power_series(w_0, [None, *squares(x, 1)], -0.5, square(w_0))
    moved = velocities(x)
    return [[op.outputs[0], *[step(moved, w[:k], k) for k in range(1, len(x))]]]


# From the output: x² - 1 would lose digits near 1.
ACOSH = elementwise(
    "Acosh",
    "arccosh",
    1,
    (lambda op: reciprocal(sinh(op.outputs[0])),),
    jet=_acosh_jet,
    flops=15,
    singular=(0,),
    doc="y = arcosh x",
)
ATANH = elementwise(
    "Atanh",
    "arctanh",
    1,
    (lambda op: reciprocal(_one_less_square(op)),),
    flops=15,
    singular=(0,),
    doc="y = artanh x",
)


def sinh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic sine.  Gradient: g conj(cosh x)."""
    return floating(SINH, x, name)


def cosh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic cosine.  Gradient: g conj(sinh x)."""
    return floating(COSH, x, name)


def tanh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic tangent.  Gradient: g conj(1 - y²), from the output y."""
    return floating(TANH, x, name)


def asinh(x: Any, name: str | None = None) -> Tensor:
    """The inverse hyperbolic sine.  Gradient: g / √(x² + 1)."""
    return floating(ASINH, x, name)


def acosh(x: Any, name: str | None = None) -> Tensor:
    """The inverse hyperbolic cosine of x ≥ 1.  Gradient: g / sinh y."""
    return floating(ACOSH, x, name)


def atanh(x: Any, name: str | None = None) -> Tensor:
    """The inverse hyperbolic tangent of x in [-1, 1].  Gradient: g / (1 - x²)."""
    return floating(ATANH, x, name)


NUMPY = {
    np.arccos: acos,
    np.arccosh: acosh,
    np.arcsin: asin,
    np.arcsinh: asinh,
    np.arctan: atan,
    np.arctan2: atan2,
    np.arctanh: atanh,
    np.cos: cos,
    np.cosh: cosh,
    np.exp: exp,
    np.expm1: expm1,
    np.log: log,
    np.log1p: log1p,
    np.sin: sin,
    np.sinh: sinh,
    np.tan: tan,
    np.tanh: tanh,
}
