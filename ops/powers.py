"""Reciprocals, roots and powers, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series, is_constant, scale
from ..graphlib.tensor import Tensor
from ._build import create
from ._jets import (
    Coefficient,
    difference,
    multiplied,
    quotient,
    squared,
    squares,
    step,
    total,
    velocities,
)
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
    factor=lambda op, y: [scale(c, -1) for c in squares(y)],
    doc="-g y²",
)


def _reciprocal_jet(op: Operation, series: list[Series]) -> list[Series]:
    x, y = series[0], op.outputs[0]
    return [quotient(y, [None] * len(x), x, lambda top, _: multiply(top, y))]


RECIPROCAL = elementwise(
    "Reciprocal",
    "reciprocal",
    kinds="fc",
    jet=_reciprocal_jet,
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


def _sqrt_grad_jet(op: Operation, series: list[Series]) -> list[Series]:
    y, g = series
    return [quotient(op.outputs[0], [scale(c, 0.5) for c in g], y, realdiv)]


SQRT_GRAD = backward(
    "SqrtGrad",
    _sqrt_grad_kernel,
    lambda op: realdiv(-0.5, square(op.inputs[0])),
    jet=_sqrt_grad_jet,
    inplace=(0, 1),
    flops=2,
    doc="g / (2 y)",
)


def _sqrt_jet(op: Operation, series: list[Series]) -> list[Series]:
    """y² = x: the coefficients of a square, solved for the newest."""
    x, y = series[0], op.outputs[0]
    found: Series = [y]
    for k in range(1, len(x)):
        top = difference(x[k], squared([*found, None], k, 1))
        if top is not None:
            top = scale(realdiv(top, y), 0.5)
        found.append(top)
    return [found]


SQRT = elementwise(
    "Sqrt",
    "sqrt",
    kinds="fc",
    jet=_sqrt_jet,
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
    factor=lambda op, y: multiplied(squares(y), [scale(c, -0.5) for c in y]),
    inplace=(1,),
    flops=4,
    doc="-g y³ / 2",
)


def power_series(y: Tensor, x: Series, exponent: float, inverse: Tensor) -> Series:
    """The series of y = x^a, from x y' = a y x'; ``inverse`` is 1 / x_0.

    y_k = Σ (a j - (k - j)) x_j y_(k-j) / (k x_0) over j >= 1.
    """
    found: Series = [y]
    for k in range(1, len(x)):
        terms = []
        for j in range(1, k + 1):
            s, t = x[j], found[k - j]
            if s is not None and t is not None:
                terms.append(scale(multiply(s, t), ((exponent + 1) * j - k) / k))
        top = total(terms)
        found.append(None if top is None else multiply(top, inverse))
    return found


def _rsqrt_jet(op: Operation, series: list[Series]) -> list[Series]:
    y = op.outputs[0]
    return [power_series(y, series[0], -0.5, square(y))]


RSQRT = elementwise(
    "Rsqrt",
    _rsqrt_kernel,
    kinds="fc",
    flops=2,
    jet=_rsqrt_jet,
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


def _power_scalar_jet(op: Operation, series: list[Series]) -> list[Series]:
    """Products for whole exponents, which have all derivatives at 0 too."""
    exponent, x = op._attrs["exponent"], series[0]
    if exponent < 0:
        return [power_series(op.outputs[0], x, exponent, reciprocal(op.inputs[0]))]
    if exponent != int(exponent):
        from ..graphlib.taylor import by_derivative

        return by_derivative(op, series)
    if exponent == 0:
        return [[op.outputs[0], *[None] * (len(x) - 1)]]
    found: Series | None = None
    n = int(exponent)
    while True:
        if n % 2:
            found = x if found is None else multiplied(found, x)
        n //= 2
        if not n:
            break
        x = squares(x)
    assert found is not None
    return [[op.outputs[0], *found[1:]]]


POWER_SCALAR = pointwise(
    "PowScalar",
    _power_scalar_kernel,
    ("x",),
    "ifc",
    vjp=(_power_scalar_rule,),
    jvp=lambda op, t: multiply(t, _power_scalar_partial(op)),
    jet=_power_scalar_jet,
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


def _pow_jet(op: Operation, series: list[Series]) -> list[Series]:
    """z' = z (y ln x)' where x > 0; elsewhere y counts as constant, as for jvp."""
    x, y = series
    fixed: Series = [y[0], *[None] * (len(y) - 1)]
    from ..graphlib.taylor import by_derivative

    whole = by_derivative(op, [x, fixed])[0]
    if is_constant(y):
        return [whole]
    from .logical import greater, not_equal, where_v2
    from .transcendental import log

    base = op.inputs[0]
    ok = not_equal(base, 0) if base.dtype.is_complex else greater(base, 0)

    def pick(t: Coefficient, other: Any) -> Coefficient:
        return None if t is None else where_v2(ok, t, other)

    safe = [pick(c, 0 if k else 1) for k, c in enumerate(x)]
    slopes = quotient(None, velocities(safe), safe, realdiv)
    logs = [scale(c, 1.0 / k) for k, c in enumerate(slopes[1:], 1)]
    moved = velocities(multiplied(y, [log(safe[0]), *logs]))
    found: Series = [op.outputs[0]]
    for k in range(1, len(x)):
        found.append(step(moved, found, k))
    zero = TABLE["zeros_like"](op.outputs[0])
    return [
        [
            op.outputs[0],
            *[
                where_v2(ok, zero if c is None else c, zero if w is None else w)
                for c, w in zip(found[1:], whole[1:])
            ],
        ]
    ]


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
    jet=_pow_jet,
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
