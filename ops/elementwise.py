"""Sums, products and quotients, element by element.

Operands broadcast by NumPy's rules and promote by NumPy's dtypes; a Python scalar
takes the tensor's dtype.  Bools do no arithmetic, as in TF1: cast them first.
Gradients are summed back over broadcast axes.  Special values (NaN, infinities,
signed zeros) are IEEE 754's, as NumPy gives them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, float32, float64
from ..graphlib.errors import DTypeError, InvalidArgumentError
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.tensor import Tensor
from ._build import inexact, pair, scope
from ._jets import bilinear, quotient, squares
from ._kinds import elementwise, unbroadcast
from ._pointwise import add_up, binary, conj, pointwise, scratch, unary

__all__ = [
    "add",
    "div",
    "div_no_nan",
    "divide",
    "floor_div",
    "floordiv",
    "floormod",
    "mod",
    "multiply",
    "negative",
    "realdiv",
    "reciprocal_no_nan",
    "square",
    "squared_difference",
    "subtract",
    "truediv",
    "truncatediv",
    "truncatemod",
]

_XY = ("x", "y")


def _named(opdef: Any, label: str) -> Any:
    """The builder behind an operator: ``x + y`` is called "add" (TF1)."""

    def operator(x: Any, y: Any, name: str | None = label) -> Tensor:
        return binary(opdef, x, y, name, label)

    return operator


# -- sums -----------------------------------------------------------------------------


ADD = elementwise(
    "Add",
    "add",
    2,
    kinds="ifc",
    linear=True,
    vjp=(lambda op, g: unbroadcast(op, 0, g), lambda op, g: unbroadcast(op, 1, g)),
    jvp=lambda op, *ts: add_up(op, ts),
    commutative=True,
    shape_math=True,
    doc="z = x + y",
)


def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x + y, with broadcasting; integer, floating or complex.

    Gradient: g to each operand.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: bools or strings, or no common dtype.
    """
    return binary(ADD, x, y, name)


SUB = elementwise(
    "Sub",
    "subtract",
    2,
    kinds="ifc",
    linear=True,
    vjp=(
        lambda op, g: unbroadcast(op, 0, g),
        lambda op, g: negative(unbroadcast(op, 1, g)),
    ),
    jvp=lambda op, a, b: (
        add_up(op, (a, None if b is None else negative(b)))
        if a is None or b is None
        else add_up(op, (subtract(a, b),))
    ),
    shape_math=True,
    doc="z = x - y",
)


def subtract(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x - y, with broadcasting; integer, floating or complex.

    Gradient: g to x, -g to y.

    Raises:
        ShapeError, DTypeError: as :func:`add`.
    """
    return binary(SUB, x, y, name)


NEG = elementwise(
    "Neg",
    "negative",
    kinds="ifc",
    linear=True,
    vjp=(lambda op, g: negative(g),),
    jvp=lambda op, t: negative(t),
    shape_math=True,
    doc="y = -x",
)


def negative(x: Any, name: str | None = None) -> Tensor:
    """-x; integer, floating or complex.  Gradient: -g."""
    return unary(NEG, x, name)


# -- products -------------------------------------------------------------------------


MUL = elementwise(
    "Mul",
    "multiply",
    2,
    (lambda op: op.inputs[1], lambda op: op.inputs[0]),
    kinds="ifc",
    jet=bilinear(0, 1),
    commutative=True,
    shape_math=True,
    doc="z = x y",
)


def multiply(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x * y, with broadcasting; integer, floating or complex.

    Gradient: g conj(y) to x, g conj(x) to y.

    Raises:
        ShapeError, DTypeError: as :func:`add`.
    """
    return binary(MUL, x, y, name)


SQUARE = elementwise(
    "Square",
    "square",
    1,
    (lambda op: multiply(op.inputs[0], 2.0),),
    kinds="ifc",
    jet=lambda op, series: [[op.outputs[0], *squares(series[0], 1)]],
    shape_math=True,
    doc="y = x²",
)


def square(x: Any, name: str | None = None) -> Tensor:
    """x²; integer, floating or complex.  Gradient: 2 g conj(x)."""
    return unary(SQUARE, x, name)


def _squared_difference_kernel(xp: Any, x: Any, y: Any, out: Any = None) -> Any:
    d = xp.subtract(x, y, out)
    return xp.square(d, out)


SQUARED_DIFFERENCE = elementwise(
    "SquaredDifference",
    _squared_difference_kernel,
    2,
    (lambda op: _twice_difference(op, 0), lambda op: _twice_difference(op, 1)),
    kinds="if",
    commutative=True,
    flops=2,
    doc="z = (x - y)²",
)


def _twice_difference(op: Operation, index: int) -> Tensor:
    x, y = op.inputs
    return multiply(subtract(x, y) if index == 0 else subtract(y, x), 2.0)


def squared_difference(x: Any, y: Any, name: str | None = None) -> Tensor:
    """(x - y)², with broadcasting; integer or floating.

    Gradient: 2 g (x - y) to x, the opposite to y.

    Raises:
        ShapeError, DTypeError: as :func:`add`; complex operands too.
    """
    return binary(SQUARED_DIFFERENCE, x, y, name)


# -- quotients ------------------------------------------------------------------------


def _divide_by_y(op: Operation, g: Tensor) -> Tensor:
    """The cotangent of y for z = x / y: -g z / y (the output frees x)."""
    return negative(multiply(g, conj(realdiv(op.outputs[0], op.inputs[1]))))


def _divide_jvp(op: Operation, a: Tensor | None, b: Tensor | None) -> Tensor:
    z, y = op.outputs[0], op.inputs[1]
    if b is None:
        return add_up(op, (realdiv(a, y),))
    change = multiply(z, b)
    top = negative(change) if a is None else subtract(a, change)
    return add_up(op, (realdiv(top, y),))


REALDIV = elementwise(
    "RealDiv",
    "true_divide",
    2,
    kinds="fc",
    vjp=(
        lambda op, g: unbroadcast(op, 0, realdiv(g, conj(op.inputs[1]))),
        lambda op, g: unbroadcast(op, 1, _divide_by_y(op, g)),
    ),
    jvp=_divide_jvp,
    jet=lambda op, series: [quotient(op.outputs[0], series[0], series[1], realdiv)],
    doc="z = x / y",
)


def realdiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, with broadcasting; floating or complex.  x / 0 is an infinity or NaN.

    Gradient: g / conj(y) to x, -g conj(x / y²) to y.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: integers (use :func:`truediv` or :func:`floordiv`), bools.
    """
    return binary(REALDIV, x, y, name)


def _true_dtype(dtype: DType) -> DType:
    """TF1's dtype of the true quotient of integers."""
    if dtype.is_inexact:
        return dtype
    if dtype.kind != 1:
        raise DTypeError(f"true division takes numbers, not {dtype.name}")
    return float32 if dtype.size <= 2 else float64


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 3 divides: 8 and 16-bit integers give float32, wider float64.

    Gradient: as :func:`realdiv`; none reaches integers.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: bools or strings.
    """
    return _truediv(x, y, name or "truediv")


def _truediv(x: Any, y: Any, name: str | None = "truediv") -> Tensor:
    if type(x) is Tensor and x.dtype.kind < 2 and type(y) is not float:
        x, y = pair(x, y, None, name)
        dtype = _true_dtype(x.dtype)
        x, y = TABLE["cast"](x, dtype), TABLE["cast"](y, dtype)
    elif not (type(x) is Tensor and x.dtype.kind >= 2):
        x, y = pair(x, y, None, name)
        dtype = _true_dtype(x.dtype)
        if x.dtype is not dtype:
            x, y = TABLE["cast"](x, dtype), TABLE["cast"](y, dtype)
    return binary(REALDIV, x, y, name, name or "truediv")


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 3 divides; the same as :func:`truediv`."""
    return _truediv(x, y, name or "truediv")


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 2 divides: integers give the floor, floats the quotient.

    Raises:
        ShapeError, DTypeError: as :func:`add`.
    """
    x, y = pair(x, y)
    return binary(REALDIV if x.dtype.is_inexact else FLOORDIV, x, y, name or "div")


def _nonzero(y: Any) -> None:
    # NumPy gives 0 and a warning; C programs stop.
    if y.dtype.kind in "iu" and not y.all():
        raise InvalidArgumentError("integer division by zero")


def _floordiv_kernel(xp: Any, x: Any, y: Any, out: Any = None) -> Any:
    _nonzero(y)
    return xp.floor_divide(x, y, out)


FLOORDIV = elementwise(
    "FloorDiv",
    _floordiv_kernel,
    2,
    kinds="if",
    shape_math=True,
    doc="z = ⌊x / y⌋",
)


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """⌊x / y⌋, as Python's ``//``, with broadcasting; integer or floating.

    Gradient: none (TF1): the function is constant by pieces.

    Raises:
        ShapeError, DTypeError: as :func:`add`; complex operands too.
        InvalidArgumentError: an integer divided by zero, when run.
    """
    return binary(FLOORDIV, x, y, name or "floordiv", "floordiv")


def floor_div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """⌊x / y⌋; the same as :func:`floordiv`, named "FloorDiv"."""
    return binary(FLOORDIV, x, y, name)


def _floormod_kernel(xp: Any, x: Any, y: Any, out: Any = None) -> Any:
    _nonzero(y)
    return xp.remainder(x, y, out)


FLOORMOD = elementwise(
    "FloorMod",
    _floormod_kernel,
    2,
    kinds="if",
    linear=True,
    vjp=(
        lambda op, g: unbroadcast(op, 0, g),
        lambda op, g: unbroadcast(
            op, 1, negative(multiply(g, floordiv(op.inputs[0], op.inputs[1])))
        ),
    ),
    jvp=lambda op, a, b: add_up(
        op,
        (
            a,
            None
            if b is None
            else negative(multiply(b, floordiv(op.inputs[0], op.inputs[1]))),
        ),
    ),
    shape_math=True,
    doc="z = x - y ⌊x / y⌋",
)


def floormod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x - y ⌊x / y⌋, as Python's ``%`` (the sign of y); integer or floating.

    Gradient: g to x, -g ⌊x / y⌋ to y; at jumps that of the right-hand side.

    Raises:
        ShapeError, DTypeError: as :func:`add`; complex operands too.
        InvalidArgumentError: an integer divided by zero, when run.
    """
    return binary(FLOORMOD, x, y, name)


mod = floormod


def _truncatediv_kernel(xp: Any, x: Any, y: Any, out: Any = None) -> Any:
    _nonzero(y)
    rest = xp.fmod(x, y, out)
    exact = xp.subtract(x, rest, out)
    return xp.floor_divide(exact, y, out)


TRUNCATEDIV = pointwise(
    "TruncateDiv", _truncatediv_kernel, _XY, "i", flops=3, doc="z = trunc(x / y)"
)


def truncatediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y rounded toward zero, as C divides; integers.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: operands that are no integers.
        InvalidArgumentError: a division by zero, when run.
    """
    return binary(TRUNCATEDIV, x, y, name)


def _truncatemod_kernel(xp: Any, x: Any, y: Any, out: Any = None) -> Any:
    _nonzero(y)
    return xp.fmod(x, y, out)


TRUNCATEMOD = elementwise(
    "TruncateMod",
    _truncatemod_kernel,
    2,
    kinds="if",
    linear=True,
    vjp=(
        lambda op, g: unbroadcast(op, 0, g),
        lambda op, g: unbroadcast(op, 1, negative(multiply(g, _truncated(op)))),
    ),
    jvp=lambda op, a, b: add_up(
        op, (a, None if b is None else negative(multiply(b, _truncated(op))))
    ),
    doc="z = x - y trunc(x / y)",
)


def _truncated(op: Operation) -> Tensor:
    """trunc(x / y), from the remainder (exact where the quotient is not)."""
    x, y = op.inputs
    from .rounding import rint

    return rint(realdiv(subtract(x, op.outputs[0]), y))


def truncatemod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x - y trunc(x / y), as C's ``%`` (the sign of x); integer or floating.

    Gradient: g to x, -g trunc(x / y) to y.

    Raises:
        ShapeError, DTypeError: as :func:`add`; complex operands too.
        InvalidArgumentError: an integer divided by zero, when run.
    """
    return binary(TRUNCATEMOD, x, y, name)


def _div_no_nan_kernel(
    xp: Any, x: Any, y: Any, out: Any = None, work: Any = None
) -> Any:
    mask = xp.not_equal(y, 0, *(work or ()))
    if out is None:
        out = xp.empty(xp.broadcast_shapes(x.shape, y.shape), x.dtype)
    xp.true_divide(x, y, out=out, where=mask)
    mask = xp.logical_not(mask, *(work or ()))
    xp.copyto(out, 0, where=mask)
    return out


DIV_NO_NAN = pointwise(
    "DivNoNan",
    _div_no_nan_kernel,
    _XY,
    "fc",
    inplace=(0, 1),
    vjp=(
        lambda op, g: unbroadcast(op, 0, div_no_nan(g, conj(op.inputs[1]))),
        lambda op, g: unbroadcast(
            op,
            1,
            negative(multiply(g, conj(div_no_nan(op.outputs[0], op.inputs[1])))),
        ),
    ),
    jet=lambda op, series: [quotient(op.outputs[0], series[0], series[1], div_no_nan)],
    workspace=scratch(1),
    doc="z = x / y, 0 where y = 0",
)


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, and 0 where y = 0; floating or complex.

    Gradient: g / y to x, -g x / y² to y, both 0 where y = 0.

    Raises:
        ShapeError, DTypeError: as :func:`realdiv`.
    """
    return binary(DIV_NO_NAN, x, y, name or "div_no_nan")


def reciprocal_no_nan(x: Any, name: str | None = None) -> Tensor:
    """1 / x, and 0 where x = 0; floating or complex.  Gradient: -g / x², 0 there."""
    with scope(name, "reciprocal_no_nan", x) as full:
        t = inexact(x)
        return div_no_nan(TABLE["constant"](1, t.dtype, graph=t.op.graph), t, full)


OPERATORS = {
    "add": _named(ADD, "add"),
    "floordiv": _named(FLOORDIV, "floordiv"),
    "mod": _named(FLOORMOD, "mod"),
    "mul": _named(MUL, "mul"),
    "neg": negative,
    "sub": _named(SUB, "sub"),
    "truediv": _truediv,
}

NUMPY = {
    np.add: add,
    np.divide: truediv,
    np.floor_divide: floordiv,
    np.fmod: truncatemod,
    np.multiply: multiply,
    np.negative: negative,
    np.remainder: floormod,
    np.square: square,
    np.subtract: subtract,
}
