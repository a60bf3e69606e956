"""Signs, moduli, extrema and rounding: the elementwise functions with kinks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.tensor import Tensor, as_tensor
from ._kinds import elementwise, unbroadcast
from ._pointwise import add_up, binary, conj, unary
from .elementwise import div_no_nan, multiply, subtract

__all__ = [
    "abs_",
    "ceil",
    "floor",
    "maximum",
    "minimum",
    "rint",
    "round_",
    "sign",
]


# -- size and sign --------------------------------------------------------------------


def _sign_rule(op: Operation, g: Tensor) -> Tensor:
    """J of z/|z| is its own adjoint: (g - y Re(conj(y) g)) / |z|; 0 for reals."""
    x, y = op.inputs[0], op.outputs[0]
    if not x.dtype.is_complex:
        return TABLE["zeros_like"](g)  # type: ignore[no-any-return]
    from .complexes import complex_, real

    along = real(multiply(conj(y), g))
    rest = subtract(g, multiply(y, complex_(along, TABLE["zeros_like"](along))))
    size = abs_(x)
    return div_no_nan(rest, complex_(size, TABLE["zeros_like"](size)))


SIGN = elementwise(
    "Sign",
    "sign",
    kinds="ifc",
    vjp=(_sign_rule,),
    jvp=_sign_rule,
    doc="y = x / |x|, 0 at 0",
)


def sign(x: Any, name: str | None = None) -> Tensor:
    """-1, 0 or 1; x / |x| for complex x, 0 at 0.  Gradient: 0 for reals."""
    return unary(SIGN, x, name)


ABS = elementwise(
    "Abs",
    "absolute",
    1,
    (lambda op: sign(op.inputs[0]),),
    kinds="if",
    linear=True,
    shape_math=True,
    doc="y = |x|",
)


def abs_(x: Any, name: str | None = None) -> Tensor:
    """|x|; of a complex tensor the modulus, real.

    The least integer of a dtype has no positive and stays.
    Gradient: g sign(x), 0 at 0.
    """
    t = x if type(x) is Tensor else as_tensor(x)
    if t.dtype.is_complex:
        from .complexes import complex_abs

        return complex_abs(t, name)
    return t.op.graph.create_op(ABS, (t,), None, name).outputs[0]


# -- the greater and the lesser -------------------------------------------------------


def _choose(op: Operation, g: Tensor, first: bool) -> Tensor:
    from .logical import greater_equal, less_equal, where_v2

    x, y = op.inputs
    mask = (greater_equal if op.opdef is MAXIMUM else less_equal)(x, y)
    return where_v2(mask, g, 0) if first else where_v2(mask, 0, g)


def _choose_jvp(op: Operation, a: Tensor | None, b: Tensor | None) -> Tensor:
    from .logical import greater_equal, less_equal, where_v2

    x, y = op.inputs
    mask = (greater_equal if op.opdef is MAXIMUM else less_equal)(x, y)
    return add_up(op, (where_v2(mask, 0 if a is None else a, 0 if b is None else b),))


def _extremum(type: str, ufunc: str, doc: str) -> Any:
    return elementwise(
        type,
        ufunc,
        2,
        kinds="if",
        vjp=(
            lambda op, g: unbroadcast(op, 0, _choose(op, g, True)),
            lambda op, g: unbroadcast(op, 1, _choose(op, g, False)),
        ),
        linear=True,
        jvp=_choose_jvp,
        commutative=True,
        shape_math=True,
        doc=doc,
    )


# Commutative although ties send the gradient to the first operand: the values are
# the same, and a plan is rewritten only after its gradients are built.
MAXIMUM = _extremum("Maximum", "maximum", "z = max(x, y)")
MINIMUM = _extremum("Minimum", "minimum", "z = min(x, y)")


def maximum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """max(x, y), with broadcasting; integer or floating.  NaN wins.

    Gradient: g to the greater operand; at ties all of it to x, as in TF1; to y
    where either is NaN.

    Raises:
        ShapeError, DTypeError: as :func:`add`; complex operands too.
    """
    return binary(MAXIMUM, x, y, name)


def minimum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """min(x, y), with broadcasting; integer or floating.  NaN wins.

    Gradient: g to the lesser operand; at ties all of it to x, as in TF1; to y
    where either is NaN.

    Raises:
        ShapeError, DTypeError: as :func:`add`; complex operands too.
    """
    return binary(MINIMUM, x, y, name)


# -- rounding -------------------------------------------------------------------------


FLOOR = elementwise("Floor", "floor", kinds="f", doc="y = ⌊x⌋")
CEIL = elementwise("Ceil", "ceil", kinds="f", doc="y = ⌈x⌉")
RINT = elementwise("Rint", "rint", kinds="f", doc="the nearest integer, ties to even")
ROUND = elementwise("Round", "rint", kinds="f", doc="the nearest integer, ties to even")


def floor(x: Any, name: str | None = None) -> Tensor:
    """⌊x⌋; floating.  Gradient: none (TF1): it is constant by pieces."""
    return unary(FLOOR, x, name)


def ceil(x: Any, name: str | None = None) -> Tensor:
    """⌈x⌉; floating.  Gradient: none (TF1): it is constant by pieces."""
    return unary(CEIL, x, name)


def rint(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, ties to even; floating.  Gradient: none."""
    return unary(RINT, x, name)


def round_(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, ties to even (2.5 -> 2); integers stay as they are.

    Gradient: none (TF1): it is constant by pieces.
    """
    t = as_tensor(x)
    if t.dtype.is_integer:
        from .core import identity

        return identity(t, name or "Round")
    return unary(ROUND, t, name)


def _numpy_round(a: Any, decimals: int = 0) -> Tensor:
    """``np.round`` on a tensor."""
    if decimals == 0:
        return round_(a)
    scale = float(10**decimals)
    return TABLE["truediv"](  # type: ignore[no-any-return]
        rint(multiply(a, scale)), scale
    )


OPERATORS = {"abs": abs_}

NUMPY = {
    np.absolute: abs_,
    np.around: _numpy_round,
    np.ceil: ceil,
    np.floor: floor,
    np.maximum: maximum,
    np.minimum: minimum,
    np.rint: rint,
    np.round: _numpy_round,
    np.sign: sign,
}
