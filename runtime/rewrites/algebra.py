"""Algebra that is exact: x * 1, --x, x / 8, a cast of a cast, and their kin.

Precondition: none; unknown shapes are left alone where they matter.
Postcondition: every value is the same to the bit, signed zeros and infinities
included (the sign and payload of a NaN are not told apart).  So x + 0.0 stays unless x
is never -0.0, x * 0 and x - x stay (x may be NaN, or fail), and complex products stay.
What a constant condition does not choose is not computed, and so does not fail.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...graphlib.dtypes import DType
from ..program import CONST, Node, Program, Value
from ._walk import Walk, constant, is_real, rewrite_with

__all__ = ["positive", "simplify"]


def simplify(program: Program) -> int:
    """Simplify; returns how many nodes changed or went."""
    return rewrite_with(program, _RULES)


# -- what is known of values ---------------------------------------------------------

# Never negative and never -0.0, for real inputs.
_POSITIVE = frozenset(("Abs", "Cosh", "Exp", "Sigmoid", "Softplus", "Square"))


def positive(v: Value) -> bool:
    """Whether a real value is known to have its sign bit off (or to be NaN)."""
    return (
        v.node is not None
        and v.node.opdef.type in _POSITIVE
        and v.dtype.kind == 2  # integers wrap around
    )


def _never_minus_zero(v: Value) -> bool:
    if v.dtype.is_integer or positive(v):
        return True
    node = v.node
    # A sum starts from +0.0.
    return (
        node is not None
        and node.opdef.type == "Sum"
        and node.attrs["axis"] != ()
        and bool(node.inputs[0].dims)
    )


def _is_zero(n: Any, negative: bool = False) -> bool:
    """Whether ``n`` is what leaves x + n (x - n if not ``negative``) the same."""
    if n is None or n != 0:
        return False
    return isinstance(n, int) or (math.copysign(1.0, n) < 0) == negative


# -- sums ----------------------------------------------------------------------------


# What a rule for a sum or a product looks for among the makers of its operands.
_TELLING = frozenset(("Fill", "Neg", "OnesLike", "Sqrt", "ZerosLike"))


def _plain(v: Value) -> bool:
    """Whether there is nothing to see in an operand: most operands, so ask first."""
    if v.node is None:
        return v.kind != CONST
    return v.node.opdef.type not in _TELLING


def _add(w: Walk, node: Node) -> str | None:
    a, b = node.inputs
    for x, y in ((a, b), (b, a)):
        if _plain(y):
            continue
        if w.number(y, x) == 0:
            same = _is_zero(w.number(y, x), negative=True) or _never_minus_zero(x)
            if same and w.bypass(node, x):
                return "x + 0 -> x"
        if y.node is None:
            continue
        minus = w.made_by(y, "Neg")
        if minus is not None and w.turn(node, "Sub", [x, minus.inputs[0]]):
            return "x + -y -> x - y"
    return None


def _sub(w: Walk, node: Node) -> str | None:
    x, y = node.inputs
    if _plain(x) and _plain(y):
        return None
    if _is_zero(w.number(y, x)) and w.bypass(node, x):
        return "x - 0 -> x"
    if _is_zero(w.number(x, y), negative=True) and w.turn(node, "Neg", [y]):
        return "0 - x -> -x"
    minus = w.made_by(y, "Neg")
    if minus is not None and w.turn(node, "Add", [x, minus.inputs[0]]):
        return "x - -y -> x + y"
    return None


def _neg(w: Walk, node: Node) -> str | None:
    return _twice(w, node, "Neg", "--x -> x")


def _twice(w: Walk, node: Node, type: str, what: str) -> str | None:
    inner = w.made_by(node.inputs[0], type)
    if inner is not None and w.bypass(node, inner.inputs[0]):
        return what
    return None


# -- products ------------------------------------------------------------------------


def _mul(w: Walk, node: Node) -> str | None:
    a, b = node.inputs
    if not is_real(a):
        return None
    if a is b:
        return "x x -> x²" if w.turn(node, "Square", [a]) else None
    for x, y in ((a, b), (b, a)):
        if _plain(y):
            continue
        n = w.number(y, x)
        if n is None or not -1 <= n <= 1:
            continue
        if n == 1 and w.bypass(node, x):
            return "x * 1 -> x"
        if n == -1 and w.turn(node, "Neg", [x]):
            return "x * -1 -> -x"
    return _without_signs(w, node, "-x * -y -> x y")


def _without_signs(w: Walk, node: Node, what: str) -> str | None:
    a, b = node.inputs
    if a.node is None or b.node is None or a.node.opdef.type != "Neg":
        return None
    x, y = w.made_by(a, "Neg"), w.made_by(b, "Neg")
    if x is None or y is None:
        return None
    inputs = [x.inputs[0], y.inputs[0]]
    return what if w.turn(node, node.opdef.type, inputs, node.attrs) else None


def _div(w: Walk, node: Node) -> str | None:
    x, y = node.inputs
    if _plain(y) or not is_real(x):
        return None
    n = w.number(y, x)
    if n == 1 and w.bypass(node, x):
        return "x / 1 -> x"
    if n == -1 and w.turn(node, "Neg", [x]):
        return "x / -1 -> -x"
    if n is not None and y.kind == CONST and abs(n) != 1:
        inverse = _inverse(n, x.dtype)
        if inverse is not None and w.turn(node, "Mul", [x, constant(inverse, y)]):
            return "x / 2^n -> x 2^-n"
    root = w.made_by(y, "Sqrt")
    one = root is not None and w.number(x, y) == 1
    if root is not None and one and w.turn(node, "Rsqrt", root.inputs):
        return "1 / √x"
    return _without_signs(w, node, "-x / -y -> x / y")


def _inverse(n: float, dtype: DType) -> Any:
    """1 / n, for a power of two of which that is exact."""
    if n == 0 or not math.isfinite(n) or abs(math.frexp(n)[0]) != 0.5:
        return None
    with np.errstate(all="ignore"):
        inverse = np.divide(1, n, dtype=np.float64).astype(dtype.dtype)
    return inverse if np.isfinite(inverse) and float(inverse) * n == 1 else None


def _reciprocal(w: Walk, node: Node) -> str | None:
    root = w.made_by(node.inputs[0], "Sqrt")
    if root is None or not is_real(root.inputs[0]):
        return None
    return "1 / √x" if w.turn(node, "Rsqrt", root.inputs) else None


# -- powers and signs ----------------------------------------------------------------


def _even(w: Walk, node: Node) -> str | None:
    """|x| and x² do not see the sign of x."""
    x = node.inputs[0]
    if not is_real(x):
        return None
    if node.opdef.type == "Abs" and positive(x) and w.bypass(node, x):
        return "|x| -> x"
    inner = w.made_by(x, "Neg", "Abs")
    if inner is None or (inner.opdef.type == "Neg" and x.dtype.dtype.kind == "u"):
        return None  # -1 is 255 without a sign
    return "|-x| -> |x|" if w.turn(node, node.opdef.type, inner.inputs) else None


_POWERS = {2: "Square", 0.5: "Sqrt", -1: "Reciprocal"}


def _pow_scalar(w: Walk, node: Node) -> str | None:
    x, e = node.inputs[0], node.attrs["exponent"]
    if e == 1 and w.bypass(node, x):
        return "x^1 -> x"
    # The kernel calls the very ufunc.
    if e in _POWERS and (e == 2 or x.dtype.kind == 2):
        return "x^2, x^0.5, x^-1" if w.turn(node, _POWERS[e], [x]) else None
    return None


def _pow(w: Walk, node: Node) -> str | None:
    x, y = node.inputs
    e = w.number(y, x) if is_real(x) else None
    if e == 1 and w.bypass(node, x):
        return "x^1 -> x"
    if e == 0 and w.turn(node, "OnesLike", [x], {"dtype": x.dtype}):
        return "x^0 -> 1"
    if e == 2 and x.dtype.is_integer and w.turn(node, "Square", [x]):
        return "x^2 -> x²"
    return None


# -- the same twice, choices ---------------------------------------------------------


def _idempotent(w: Walk, node: Node) -> str | None:
    x, y = node.inputs
    return "f(x, x) -> x" if x is y and w.bypass(node, x) else None


def _not(w: Walk, node: Node) -> str | None:
    return _twice(w, node, node.opdef.type, "not not x -> x")


def _select(w: Walk, node: Node) -> str | None:
    c, x, y = node.inputs
    if x is y and w.bypass(node, x):
        return "where(c, x, x) -> x"
    if c.kind == CONST and c.value.size:
        first = bool(c.value.flat[0])
        if (c.value == first).all() and w.bypass(node, x if first else y):
            return "where with a constant condition"
    return None


# -- casts ---------------------------------------------------------------------------

_DIGITS = {2: 11, 4: 24, 8: 53}  # of floating numbers, by their bytes


def _lossless(a: DType, b: DType) -> bool:
    """Whether every number of ``a`` is one of ``b``."""
    if a.kind == 0:
        return b.kind in (1, 2)
    if a.kind == 1 and b.kind == 1:
        return bool(np.can_cast(a.dtype, b.dtype, "safe"))
    if a.kind == 1 and b.kind == 2:
        return 8 * a.size <= _DIGITS.get(b.size, 0)
    return a.kind == b.kind == 2 and a.size <= b.size and b.size in _DIGITS


def _cast(w: Walk, node: Node) -> str | None:
    (x,) = node.inputs
    target: DType = node.attrs["dtype"]
    if target is x.dtype and w.bypass(node, x):
        return "a cast to its own type"
    inner = w.made_by(x, "Cast")
    if inner is None:
        return None
    (source,) = inner.inputs
    if not _lossless(source.dtype, x.dtype):
        return None
    if target is source.dtype and w.bypass(node, source):
        return "a cast back"
    # Floating numbers out of the range of integers are nobody's promise.
    if target.kind > 2 or (target.kind == 1 and x.dtype.kind == 2):
        return None
    return "a cast of a cast" if w.turn(node, "Cast", [source], node.attrs) else None


# -- reductions of nothing -----------------------------------------------------------


def _reduction(w: Walk, node: Node) -> str | None:
    (x,) = node.inputs
    out, axis = node.outputs[0], node.attrs["axis"]
    if x.dims is None or not out.static or out.dtype is not x.dtype:
        return None
    axes = range(len(x.dims)) if axis is None else axis
    if any(x.dims[i] != 1 for i in axes):
        return None
    if node.opdef.type in ("Sum", "Mean") and axes and not _never_minus_zero(x):
        return None  # a sum of -0.0 is 0.0
    if w.bypass(node, x):
        return "a reduction of axes of size 1"
    shape = constant(np.array(out.dims, np.int32), out)
    if x.kind != "variable" and w.turn(node, "Reshape", [x, shape]):
        return "a reduction of axes of size 1"
    return None


_RULES = {
    "Abs": _even,
    "Add": _add,
    "BitwiseAnd": _idempotent,
    "BitwiseOr": _idempotent,
    "Cast": _cast,
    "Invert": _not,
    "LogicalAnd": _idempotent,
    "LogicalNot": _not,
    "LogicalOr": _idempotent,
    "Max": _reduction,
    "Maximum": _idempotent,
    "Mean": _reduction,
    "Min": _reduction,
    "Minimum": _idempotent,
    "Mul": _mul,
    "Neg": _neg,
    "Pow": _pow,
    "PowScalar": _pow_scalar,
    "Prod": _reduction,
    "RealDiv": _div,
    "Reciprocal": _reciprocal,
    "Select": _select,
    "SelectV2": _select,
    "Square": _even,
    "Sub": _sub,
    "Sum": _reduction,
}
