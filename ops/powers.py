"""Reciprocals, roots and powers, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.tensor import Tensor
from ._build import create
from ._kinds import elementwise, unbroadcast
from ._pointwise import backward, binary, conj, floating, fused, pointwise
from .elementwise import multiply, negative, realdiv, square, subtract

__all__ = ["pow_", "reciprocal", "rsqrt", "sqrt"]


# -- reciprocals ----------------------------------------------------------------------


def _reciprocal_grad_kernel(xp: Any, y: Any, g: Any, out: Any = None) -> Any:
    out = xp.square(y, out if out is not None else xp.empty_like(y))
    xp.multiply(out, g, out)
    return xp.negative(out, out)


RECIPROCAL_GRAD = backward(
    "ReciprocalGrad",
    _reciprocal_grad_kernel,
    lambda op: multiply(op.inputs[0], -2.0),
    doc="-g y²",
)


RECIPROCAL = elementwise(
    "Reciprocal",
    "reciprocal",
    kinds="fc",
    **fused(RECIPROCAL_GRAD, lambda op: negative(square(op.outputs[0]))),
    singular=(0,),
    doc="y = 1 / x",
)


def reciprocal(x: Any, name: str | None = None) -> Tensor:
    """1 / x; floating or complex (integers become float32).

    Gradient: -g conj(y)², y the result; at 0 it is NaN or infinite, as y is.
    """
    return floating(RECIPROCAL, x, name)


# -- roots ----------------------------------------------------------------------------


def _sqrt_grad_kernel(xp: Any, y: Any, g: Any, out: Any = None) -> Any:
    out = xp.true_divide(g, y, out if out is not None else xp.empty_like(y))
    return xp.multiply(out, 0.5, out)


SQRT_GRAD = backward(
    "SqrtGrad",
    _sqrt_grad_kernel,
    lambda op: realdiv(-0.5, square(op.inputs[0])),
    inplace=(0, 1),
    flops=2,
    doc="g / (2 y)",
)

SQRT = elementwise(
    "Sqrt",
    "sqrt",
    kinds="fc",
    **fused(SQRT_GRAD, lambda op: realdiv(0.5, op.outputs[0])),
    singular=(0,),
    doc="y = √x",
)


def sqrt(x: Any, name: str | None = None) -> Tensor:
    """√x; floating or complex (integers become float32).  NaN where x < 0.

    Gradient: g / (2 conj(y)); infinite at 0.
    """
    return floating(SQRT, x, name)


def _rsqrt_kernel(xp: Any, x: Any, out: Any = None) -> Any:
    out = xp.sqrt(x, out if out is not None else xp.empty_like(x))
    return xp.reciprocal(out, out)


def _rsqrt_grad_kernel(xp: Any, y: Any, g: Any, out: Any = None) -> Any:
    # y³ g / -2 with one buffer: g may not be the output, y is read twice.
    out = xp.multiply(y, g, out if out is not None else xp.empty_like(y))
    xp.multiply(out, y, out)
    xp.multiply(out, y, out)
    return xp.multiply(out, -0.5, out)


RSQRT_GRAD = backward(
    "RsqrtGrad",
    _rsqrt_grad_kernel,
    lambda op: multiply(square(op.inputs[0]), -1.5),
    inplace=(1,),
    flops=4,
    doc="-g y³ / 2",
)

RSQRT = elementwise(
    "Rsqrt",
    _rsqrt_kernel,
    kinds="fc",
    flops=2,
    **fused(
        RSQRT_GRAD,
        lambda op: multiply(multiply(square(op.outputs[0]), op.outputs[0]), -0.5),
    ),
    singular=(0,),
    doc="y = 1 / √x",
)


def rsqrt(x: Any, name: str | None = None) -> Tensor:
    """1 / √x; floating or complex (integers become float32).

    Infinite at 0, NaN where x < 0.  Gradient: -g conj(y)³ / 2.
    """
    return floating(RSQRT, x, name)


# -- powers ---------------------------------------------------------------------------


def _power_scalar_kernel(xp: Any, x: Any, *, exponent: Any, out: Any = None) -> Any:
    """x^a; the common exponents without ``power``, which is twenty times as slow."""
    if exponent == 2:
        return xp.square(x, out)
    if exponent == 1:
        return xp.positive(x, out)
    if exponent == 3:
        squared = xp.square(x, out)
        return xp.multiply(squared, x, out)
    if exponent == 4:
        squared = xp.square(x, out)
        return xp.square(squared, out)
    if exponent == 0.5:
        return xp.sqrt(x, out)
    if exponent == 1.5:
        root = xp.sqrt(x, out)
        return xp.multiply(root, x, out)
    if exponent == -0.5:
        root = xp.sqrt(x, out)
        return xp.reciprocal(root, out)
    if exponent == -1:
        return xp.reciprocal(x, out)
    if exponent == -2:
        squared = xp.square(x, out)
        return xp.reciprocal(squared, out)
    return xp.power(x, xp.asarray(exponent, x.dtype), out)


def _power_scalar_partial(op: Operation) -> Tensor:
    e = op._attrs["exponent"]
    if e == 0:
        return TABLE["zeros_like"](op.inputs[0])  # type: ignore[no-any-return]
    return multiply(_power_scalar(op.inputs[0], e - 1, None), float(e))


def _power_scalar_rule(op: Operation, g: Tensor) -> Tensor:
    return multiply(g, conj(_power_scalar_partial(op)))


POWER_SCALAR = pointwise(
    "PowScalar",
    _power_scalar_kernel,
    ("x",),
    "ifc",
    vjp=(_power_scalar_rule,),
    jvp=lambda op, t: multiply(t, _power_scalar_partial(op)),
    flops=10,
    singular=lambda attrs: () if attrs["exponent"] in (0, 1, 2, 3, 4) else (0,),
    doc="y = x^a for a fixed number a",
)


def _power_scalar(x: Tensor, exponent: Any, name: str | None) -> Tensor:
    """x^a for a Python number: no logarithm is ever needed for a derivative."""
    if name is None and exponent == 0:
        return TABLE["ones_like"](x)  # type: ignore[no-any-return]
    if name is None and exponent == 1:
        return x
    return create(POWER_SCALAR, (x,), {"exponent": exponent}, name)


def _pow_by_x(op: Operation, g: Tensor) -> Tensor:
    from .logical import equal, where_v2

    x, y = op.inputs
    fixed = y.value
    if isinstance(fixed, np.ndarray) and fixed.ndim == 0 and fixed.dtype.kind == "f":
        e = float(fixed)
        return multiply(g, conj(multiply(_power_scalar(x, e - 1, None), e)))
    # y x^(y-1) would be 0 times infinity at x = y = 0, where z = 1 is constant.
    lower = where_v2(equal(y, 0), TABLE["ones_like"](y), subtract(y, 1))
    return multiply(g, conj(multiply(y, pow_(x, lower))))


def _pow_by_y(op: Operation, g: Tensor) -> Tensor:
    from .logical import greater, not_equal, where_v2
    from .transcendental import log

    x, z = op.inputs[0], op.outputs[0]
    # TF1: no gradient reaches the exponent where the base has no real logarithm.
    ok = not_equal(x, 0) if x.dtype.is_complex else greater(x, 0)
    safe = where_v2(ok, x, TABLE["ones_like"](x))
    return multiply(g, conj(where_v2(ok, multiply(z, log(safe)), 0)))


def _pow_kernel(xp: Any, x: Any, y: Any, out: Any = None) -> Any:
    if x.dtype.kind in "iu" and y.dtype.kind == "i" and (y < 0).any():
        raise InvalidArgumentError("negative integer powers of integers")
    return xp.power(x, y, out)


POW = elementwise(
    "Pow",
    _pow_kernel,
    2,
    kinds="ifc",
    vjp=(
        lambda op, g: unbroadcast(op, 0, _pow_by_x(op, g)),
        lambda op, g: unbroadcast(op, 1, _pow_by_y(op, g)),
    ),
    flops=20,
    singular=(0,),
    doc="z = x^y",
)


def pow_(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x^y, with broadcasting; integer, floating or complex.

    0^0 = 1; a negative real base with a fractional exponent gives NaN.
    Gradient: g y x^(y-1) to x (0 where y = 0), g log(x) x^y to y, and 0 there
    where x <= 0, as in TF1.  For a Python number y no logarithm is taken:
    x**2 has gradient 2 g x also at 0.

    Raises:
        ShapeError, DTypeError: as :func:`add`.
        InvalidArgumentError: an integer to a negative integer power, when run.
    """
    if isinstance(y, (int, float, np.integer, np.floating)) and isinstance(x, Tensor):
        kind = x.dtype.kind
        if kind >= 2 and type(y) is not bool:
            return _power_scalar(x, float(y), name or "Pow")
        if kind == 1 and type(y) is int and y >= 0:
            return _power_scalar(x, y, name or "Pow")
    return binary(POW, x, y, name)


def _pow_operator(x: Any, y: Any, name: str | None = "pow") -> Tensor:
    return pow_(x, y, name)


OPERATORS = {"pow": _pow_operator}

NUMPY = {
    np.power: pow_,
    np.reciprocal: reciprocal,
    np.sqrt: sqrt,
}
