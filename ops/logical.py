"""Comparisons, logic, bits and selection, element by element.

Comparisons and logic give bools, through which no gradient goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import bool_, int64
from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import broadcast, broadcast_all, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, pair
from ._choose import choose, choose_workspace
from ._kinds import comparison, elementwise, require, unbroadcast
from ._later import batch
from ._pointwise import add_up, binary, pointwise, unary

__all__ = [
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "invert",
    "is_finite",
    "is_inf",
    "is_nan",
    "left_shift",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "right_shift",
    "where",
    "where_v2",
]


# -- comparisons --------------------------------------------------------------------


EQUAL = comparison("Equal", "equal", 2, "bifcs", "x = y", commutative=True)
NOT_EQUAL = comparison("NotEqual", "not_equal", 2, "bifcs", "x ≠ y", commutative=True)
LESS = comparison("Less", "less", 2, "if", "x < y")
LESS_EQUAL = comparison("LessEqual", "less_equal", 2, "if", "x ≤ y")
GREATER = comparison("Greater", "greater", 2, "if", "x > y")
GREATER_EQUAL = comparison("GreaterEqual", "greater_equal", 2, "if", "x ≥ y")


def equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x = y as bools, with broadcasting; any dtype.  NaN equals nothing.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: no common dtype.
    """
    return binary(EQUAL, x, y, name)


def not_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x ≠ y as bools, with broadcasting; any dtype.  NaN differs from itself.

    Raises:
        ShapeError, DTypeError: as :func:`equal`.
    """
    return binary(NOT_EQUAL, x, y, name)


def less(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x < y as bools, with broadcasting; integer or floating, False at NaN.

    Raises:
        ShapeError, DTypeError: as :func:`equal`; bools and complex too.
    """
    return binary(LESS, x, y, name)


def less_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x ≤ y as bools, with broadcasting; integer or floating, False at NaN.

    Raises:
        ShapeError, DTypeError: as :func:`less`.
    """
    return binary(LESS_EQUAL, x, y, name)


def greater(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x > y as bools, with broadcasting; integer or floating, False at NaN.

    Raises:
        ShapeError, DTypeError: as :func:`less`.
    """
    return binary(GREATER, x, y, name)


def greater_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x ≥ y as bools, with broadcasting; integer or floating, False at NaN.

    Raises:
        ShapeError, DTypeError: as :func:`less`.
    """
    return binary(GREATER_EQUAL, x, y, name)


IS_NAN = comparison("IsNan", "isnan", 1, "fc", "x is NaN")
IS_INF = comparison("IsInf", "isinf", 1, "fc", "x is infinite")
IS_FINITE = comparison("IsFinite", "isfinite", 1, "fc", "x is a number")


def is_nan(x: Any, name: str | None = None) -> Tensor:
    """Where x is NaN (complex: either part); floating or complex."""
    return unary(IS_NAN, x, name)


def is_inf(x: Any, name: str | None = None) -> Tensor:
    """Where x is infinite (complex: either part); floating or complex."""
    return unary(IS_INF, x, name)


def is_finite(x: Any, name: str | None = None) -> Tensor:
    """Where x is neither infinite nor NaN; floating or complex."""
    return unary(IS_FINITE, x, name)


# -- logic and bits --------------------------------------------------------------------


def _bits(type: str, ufunc: str, kinds: str, arity: int, doc: str) -> Any:
    return elementwise(
        type,
        ufunc,
        arity,
        kinds=kinds,
        commutative=arity == 2 and "shift" not in ufunc,
        shape_math=True,
        doc=doc,
    )


LOGICAL_AND = _bits("LogicalAnd", "logical_and", "b", 2, "x and y")
LOGICAL_OR = _bits("LogicalOr", "logical_or", "b", 2, "x or y")
LOGICAL_XOR = _bits("LogicalXor", "logical_xor", "b", 2, "x or y, not both")
LOGICAL_NOT = _bits("LogicalNot", "logical_not", "b", 1, "not x")
BITWISE_AND = _bits("BitwiseAnd", "bitwise_and", "i", 2, "x & y, bit by bit")
BITWISE_OR = _bits("BitwiseOr", "bitwise_or", "i", 2, "x | y, bit by bit")
BITWISE_XOR = _bits("BitwiseXor", "bitwise_xor", "i", 2, "x ^ y, bit by bit")
INVERT = _bits("Invert", "invert", "i", 1, "~x, bit by bit")
LEFT_SHIFT = _bits("LeftShift", "left_shift", "i", 2, "x 2^y")
RIGHT_SHIFT = _bits("RightShift", "right_shift", "i", 2, "⌊x / 2^y⌋")


def logical_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x and y; bools, with broadcasting.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: operands that are no bools.
    """
    return binary(LOGICAL_AND, x, y, name)


def logical_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x or y; bools, with broadcasting.

    Raises:
        ShapeError, DTypeError: as :func:`logical_and`.
    """
    return binary(LOGICAL_OR, x, y, name)


def logical_xor(x: Any, y: Any, name: str | None = "LogicalXor") -> Tensor:
    """x or y but not both; bools, with broadcasting.

    Raises:
        ShapeError, DTypeError: as :func:`logical_and`.
    """
    return binary(LOGICAL_XOR, x, y, name)


def logical_not(x: Any, name: str | None = None) -> Tensor:
    """not x; bools.

    Raises:
        DTypeError: x holds no bools.
    """
    return unary(LOGICAL_NOT, x, name)


def bitwise_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x & y, bit by bit; integers, with broadcasting.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: operands that are no integers.
    """
    return binary(BITWISE_AND, x, y, name)


def bitwise_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x | y, bit by bit; integers, with broadcasting.

    Raises:
        ShapeError, DTypeError: as :func:`bitwise_and`.
    """
    return binary(BITWISE_OR, x, y, name)


def bitwise_xor(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x ^ y, bit by bit; integers, with broadcasting.

    Raises:
        ShapeError, DTypeError: as :func:`bitwise_and`.
    """
    return binary(BITWISE_XOR, x, y, name)


def invert(x: Any, name: str | None = None) -> Tensor:
    """~x, bit by bit; integers.

    Raises:
        DTypeError: x holds no integers.
    """
    return unary(INVERT, x, name)


def left_shift(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x 2^y without what overflows; integers, with broadcasting.

    y beyond the width of the dtype gives 0.

    Raises:
        ShapeError, DTypeError: as :func:`bitwise_and`.
    """
    return binary(LEFT_SHIFT, x, y, name)


def right_shift(x: Any, y: Any, name: str | None = None) -> Tensor:
    """⌊x / 2^y⌋, keeping the sign; integers, with broadcasting.

    Raises:
        ShapeError, DTypeError: as :func:`bitwise_and`.
    """
    return binary(RIGHT_SHIFT, x, y, name)


def _logical(on_bools: Any, on_integers: Any, label: str) -> Any:
    """The builder behind ``&``, ``|`` and ``^``: logic on bools, bits on integers."""

    def operator(x: Any, y: Any, name: str | None = label) -> Tensor:
        x, y = pair(x, y, None, label)
        return binary(on_bools if x.dtype is bool_ else on_integers, x, y, name)

    return operator


def _invert_operator(x: Any, name: str | None = None) -> Tensor:
    t = as_tensor(x)
    return unary(LOGICAL_NOT if t.dtype is bool_ else INVERT, t, name)


# -- selection -------------------------------------------------------------------------


def _infer_select(inputs: Sequence[Any], attrs: Any) -> Any:
    c, x, y = inputs
    if c.dtype is not bool_:
        raise DTypeError(f"the condition must be bool, not {c.dtype.name}")
    if x.dtype is not y.dtype:
        require((x, y), "bifcs")
    return ((x.dtype, broadcast_all((c.dims, x.dims, y.dims))),)


def _select_jvp(op: Operation, _: Any, a: Tensor | None, b: Tensor | None) -> Tensor:
    zero = TABLE["constant"](0, op.outputs[0].dtype, graph=op.graph)
    pick = (op.inputs[0], zero if a is None else a, zero if b is None else b)
    return add_up(op, (create(SELECT_V2, pick),))


SELECT_V2 = pointwise(
    "SelectV2",
    choose,
    ("condition", "x", "y"),
    "bifcs",
    inplace=(1, 2),
    workspace=choose_workspace,
    linear=True,
    vjp=(
        None,
        lambda op, g: unbroadcast(op, 1, where_v2(op.inputs[0], g, 0)),
        lambda op, g: unbroadcast(op, 2, where_v2(op.inputs[0], 0, g)),
    ),
    jvp=_select_jvp,
    shape_math=True,
    infer=_infer_select,
    doc="z = x where the condition holds, else y",
)


def where_v2(
    condition: Any, x: Any = None, y: Any = None, name: str | None = None
) -> Tensor:
    """x where the condition holds, else y; all three broadcast.

    Without x and y: the indices of True elements, as in :func:`where`.
    What is not chosen gets a zero gradient, whatever its value or slope: see
    :func:`where`.

    Raises:
        ShapeError: the shapes do not broadcast, or only one of x, y is given.
        DTypeError: a condition that is no bool, or no common dtype.
    """
    if x is None or y is None:
        return _one_argument(condition, x, y, name)
    c = as_tensor(condition)
    x, y = pair(x, y, c.op.graph)
    return create(SELECT_V2, (c, x, y), None, name or "SelectV2")


def _as_rows(c: Any, rank: int) -> Any:
    """A vector condition, to stand against the first of ``rank`` axes."""
    if c.ndim == 1 and rank > 1:
        return c.reshape((-1,) + (1,) * (rank - 1))
    return c


def _select_rows_kernel(
    xp: Any, c: Any, x: Any, y: Any, out: Any = None, work: Any = None
) -> Any:
    return choose(xp, _as_rows(c, max(x.ndim, y.ndim)), x, y, out, work)


def _infer_select_rows(inputs: Sequence[Any], attrs: Any) -> Any:
    c, x, y = inputs
    if c.dtype is not bool_:
        raise DTypeError(f"the condition must be bool, not {c.dtype.name}")
    if x.dtype is not y.dtype:
        require((x, y), "bifcs")
    dims = broadcast(x.dims, y.dims)
    if c.dims is None or dims is None:
        return ((x.dtype, dims if c.dims == () else None),)
    rows = c.dims
    if len(rows) == 1 and len(dims) > 1:
        if None not in (rows[0], dims[0]) and rows[0] != dims[0]:
            raise ShapeError(
                f"a vector condition chooses rows: its size {rows[0]} must be the "
                f"first dimension of {text(dims)}"
            )
        rows += (1,) * (len(dims) - 1)
    return ((x.dtype, broadcast(rows, dims)),)


def _rows_rule(op: Operation, g: Tensor, first: bool) -> Tensor:
    zero = TABLE["zeros_like"](g)
    picked = (op.inputs[0], g, zero) if first else (op.inputs[0], zero, g)
    return create(SELECT, picked)


def _rows_jvp(op: Operation, _: Any, a: Tensor | None, b: Tensor | None) -> Tensor:
    zero = TABLE["zeros_like"](op.outputs[0])
    picked = (op.inputs[0], zero if a is None else a, zero if b is None else b)
    return create(SELECT, picked)


SELECT = pointwise(
    "Select",
    _select_rows_kernel,
    ("condition", "x", "y"),
    "bifcs",
    inplace=(1, 2),
    workspace=choose_workspace,
    linear=True,
    vjp=(
        None,
        lambda op, g: unbroadcast(op, 1, _rows_rule(op, g, True)),
        lambda op, g: unbroadcast(op, 2, _rows_rule(op, g, False)),
    ),
    jvp=_rows_jvp,
    infer=_infer_select_rows,
    batch=batch.chosen,
    doc="z = x where the condition holds, else y; a vector condition chooses rows",
)


def _infer_where(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = inputs[0].dims
    return ((int64, (None, None if dims is None else len(dims))),)


def _where_kernel(xp: Any, c: Any, out: Any = None) -> Any:
    return xp.argwhere(c).astype(xp.int64, copy=False)


WHERE = OpDef(
    "Where",
    infer=_infer_where,
    kernel=_where_kernel,
    inputs=("condition",),
    doc="the indices of the elements that are not 0",
)


def _one_argument(condition: Any, x: Any, y: Any, name: str | None) -> Tensor:
    if x is not None or y is not None:
        raise ShapeError("where: give both x and y, or neither")
    return create(WHERE, (as_tensor(condition),), None, name or "Where")


def where(
    condition: Any, x: Any = None, y: Any = None, name: str | None = None
) -> Tensor:
    """x where the condition holds, else y (TF1); or the indices of True elements.

    Args:
        condition: bools (any number where x and y are not given).
        x, y: of one shape (or broadcasting).  A vector condition (n,) beside x of
            rank 2 or more, (n, ...), chooses rows; :func:`where_v2` always
            broadcasts as NumPy does.
        name: the name of the operation.

    Returns:
        The choice, of x's and y's common dtype; with one argument, int64
        (number of True elements, rank), in row-major order.

    Raises:
        ShapeError: the shapes do not fit, or only one of x, y is given.
        DTypeError: a condition that is no bool, or no common dtype.

    Gradient: g where chosen, else 0, to each of x and y; none to the condition.
    An infinite slope or a NaN on the side that is not chosen makes no gradient NaN
    (``where(x > 0, sqrt(x), 0)`` has slope 0 at 0), to any order.  Where elements
    are mixed in between (by a matrix product, say), so that this cannot be known,
    a GradientWarning shows the safe form.
    """
    if x is None or y is None:
        return _one_argument(condition, x, y, name)
    c = as_tensor(condition)
    x, y = pair(x, y, c.op.graph)
    opdef = SELECT_V2
    if c.dims is None or len(c.dims) == 1:
        ranks = [None if t.dims is None else len(t.dims) for t in (x, y)]
        if None in ranks or max(r or 0 for r in ranks) > 1:
            opdef = SELECT
    return create(opdef, (c, x, y), None, name or "Select")


OPERATORS = {
    "and": _logical(LOGICAL_AND, BITWISE_AND, "and"),
    "greater": greater,
    "greater_equal": greater_equal,
    "invert": _invert_operator,
    "less": less,
    "less_equal": less_equal,
    "not_equal": not_equal,
    "or": _logical(LOGICAL_OR, BITWISE_OR, "or"),
    "where": where_v2,
    "xor": _logical(LOGICAL_XOR, BITWISE_XOR, "xor"),
}

NUMPY = {
    np.bitwise_and: OPERATORS["and"],
    np.bitwise_or: OPERATORS["or"],
    np.bitwise_xor: OPERATORS["xor"],
    np.equal: equal,
    np.greater: greater,
    np.greater_equal: greater_equal,
    np.invert: _invert_operator,
    np.isfinite: is_finite,
    np.isinf: is_inf,
    np.isnan: is_nan,
    np.left_shift: left_shift,
    np.less: less,
    np.less_equal: less_equal,
    np.logical_and: logical_and,
    np.logical_not: logical_not,
    np.logical_or: logical_or,
    np.logical_xor: logical_xor,
    np.not_equal: not_equal,
    np.right_shift: right_shift,
    np.where: where_v2,
}
