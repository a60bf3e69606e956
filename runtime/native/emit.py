"""What each instruction of a tape is in LLVM's language, for one element.

Arithmetic rounds as NumPy's does: no flag lets LLVM reorder or contract anything.
Bools are bytes in memory and single bits here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .functions import BEYOND, EMIT, WITHIN

__all__ = ["beyond", "emit", "known", "limited", "llvm_type"]

Emit = Callable[[Any, list[Any]], Any]

_FLOATS = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_INTEGERS = {"add": "add", "subtract": "sub", "multiply": "mul"}
_BITS = {"bitwise_and": "and_", "bitwise_or": "or_", "bitwise_xor": "xor"}
_LOGIC = {"logical_and": "and_", "logical_or": "or_", "logical_xor": "xor"}
_COMPARE = {
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
#: Functions that LLVM knows, and that are one machine instruction.
_INTRINSICS = {
    "absolute": "fabs",
    "fabs": "fabs",
    "ceil": "ceil",
    "copysign": "copysign",
    "floor": "floor",
    "rint": "rint",
    "sqrt": "sqrt",
    "trunc": "trunc",
}
_FLOAT_ONLY = {"negative", "positive", "square", "reciprocal", "sign", "maximum"}
_FLOAT_ONLY |= {"minimum", "isnan", "isinf", "isfinite"}
#: Of some of these float64 has code within a reach only.
_DOUBLE = {**EMIT, **WITHIN}
_INTEGER_ONLY = {"negative", "positive", "square", "absolute", "maximum", "minimum"}


def functions(dtype: str) -> Mapping[str, Emit]:
    """Transcendental functions of a dtype, by the names of ufuncs."""
    return _DOUBLE if np.dtype(dtype).itemsize == 8 else EMIT


def limited(name: str, dtype: str) -> bool:
    """Whether the code of a function is for arguments within a reach only: elsewhere
    it gives NaN, and ``beyond`` says so."""
    return name in WITHIN and dtype == "<f8"


def beyond(b: Any, name: str, values: list[Any]) -> Any:
    """Whether the arguments are finite and out of reach (an i1)."""
    return BEYOND[name](b, values)


def known(name: str, dtype: str) -> bool:
    """Whether there is code for a ufunc of operands of a dtype."""
    kind = np.dtype(dtype).kind
    if name in _COMPARE:
        return True
    if kind == "f":
        if name in _FLOATS or name in _INTRINSICS or name in _FLOAT_ONLY:
            return True
        return name in functions(dtype)
    if kind == "b":
        return name in _LOGIC or name in _BITS or name in ("logical_not", "invert")
    return name in _INTEGERS or name in _BITS or name in _INTEGER_ONLY


def llvm_type(ir: Any, dtype: str) -> Any:
    """The type of a value in a register."""
    d = np.dtype(dtype)
    if d.kind == "f":
        return ir.FloatType() if d.itemsize == 4 else ir.DoubleType()
    return ir.IntType(1 if d.kind == "b" else 8 * d.itemsize)


def constant(ir: Any, dtype: str, bits: str) -> Any:
    """A constant, from the bytes that a tape keeps of it."""
    d = np.dtype(dtype)
    value = np.frombuffer(bytes.fromhex(bits), d)[0]
    if d.kind != "f":
        return ir.Constant(llvm_type(ir, dtype), int(value))
    # Through an integer: text would lose the payload of a NaN.
    word = ir.IntType(8 * d.itemsize)
    integer = int.from_bytes(bytes.fromhex(bits), "little")
    if value != value:
        return ir.Constant(word, integer).bitcast(llvm_type(ir, dtype))
    return ir.Constant(llvm_type(ir, dtype), float(value))


def emit(b: Any, ir: Any, name: str, dtype: str, read: str, values: list[Any]) -> Any:
    """Add an instruction's code; returns its value.

    Args:
        b: the builder.
        ir: the module ``llvmlite.ir``.
        name, dtype: of the instruction.
        read: the dtype of its (first) operand.
        values: the operands.
    """
    kind = np.dtype(read).kind
    if name == "cast":
        return _cast(b, ir, read, dtype, values[0])
    if name == "select":
        return b.select(*values)
    if name in _COMPARE:
        return _compare(b, name, kind, values)
    if kind == "f":
        return _float(b, ir, name, values)
    if kind == "b":
        if name in ("logical_not", "invert"):
            return b.not_(values[0])
        return getattr(b, _LOGIC.get(name) or _BITS[name])(*values)
    return _integer(b, ir, name, kind, values)


def _intrinsic(b: Any, ir: Any, name: str, t: Any, arity: int = 1) -> Any:
    signature = ir.FunctionType(t, [t] * arity)
    return b.module.declare_intrinsic(f"llvm.{name}", [t], signature)


def _compare(b: Any, name: str, kind: str, values: list[Any]) -> Any:
    if kind == "f":
        ordered = b.fcmp_unordered if name == "not_equal" else b.fcmp_ordered
        return ordered(_COMPARE[name], *values)
    signed = b.icmp_signed if kind == "i" else b.icmp_unsigned
    return signed(_COMPARE[name], *values)


def _float(b: Any, ir: Any, name: str, values: list[Any]) -> Any:
    x = values[0]
    t = x.type
    if name in _FLOATS:
        return getattr(b, _FLOATS[name])(*values)
    if name in _INTRINSICS:
        return b.call(_intrinsic(b, ir, _INTRINSICS[name], t, len(values)), values)
    if name == "negative":
        return b.fneg(x)
    if name == "positive":
        return x
    if name == "square":
        return b.fmul(x, x)
    if name == "reciprocal":
        return b.fdiv(ir.Constant(t, 1.0), x)
    if name in ("maximum", "minimum"):
        y = values[1]
        first = b.fcmp_ordered(">" if name == "maximum" else "<", x, y)
        chosen = b.select(first, x, y)  # y where one of them is NaN
        return b.select(b.fcmp_unordered("uno", x, x), x, chosen)
    if name == "isnan":
        return b.fcmp_unordered("uno", x, x)
    if name in ("isinf", "isfinite"):
        size = b.call(_intrinsic(b, ir, "fabs", t), [x])
        test = "==" if name == "isinf" else "<"
        return b.fcmp_ordered(test, size, ir.Constant(t, float("inf")))
    if name == "sign":
        one = ir.Constant(t, 1.0)
        zero = ir.Constant(t, 0.0)
        sign = b.call(_intrinsic(b, ir, "copysign", t, 2), [one, x])
        moved = b.select(b.fcmp_ordered("==", x, zero), zero, sign)
        return b.select(b.fcmp_unordered("uno", x, x), x, moved)
    return functions("<f4" if t == ir.FloatType() else "<f8")[name](b, values)


def _integer(b: Any, ir: Any, name: str, kind: str, values: list[Any]) -> Any:
    x = values[0]
    if name in _INTEGERS:
        return getattr(b, _INTEGERS[name])(*values)
    if name in _BITS:
        return getattr(b, _BITS[name])(*values)
    if name == "negative":
        return b.neg(x)
    if name == "positive":
        return x
    if name == "square":
        return b.mul(x, x)
    compare = b.icmp_signed if kind == "i" else b.icmp_unsigned
    if name == "absolute":
        if kind == "u":
            return x
        return b.select(compare("<", x, ir.Constant(x.type, 0)), b.neg(x), x)
    test = ">" if name == "maximum" else "<"
    return b.select(compare(test, *values), *values)


def _cast(b: Any, ir: Any, old: str, new: str, x: Any) -> Any:
    source, target = np.dtype(old), np.dtype(new)
    t = llvm_type(ir, new)
    if target.kind == "b":
        zero = ir.Constant(x.type, 0 if source.kind in "iu" else 0.0)
        if source.kind == "f":
            return b.fcmp_unordered("!=", x, zero)
        return b.icmp_unsigned("!=", x, zero)
    if target.kind == "f":
        if source.kind == "f":
            return (b.fpext if target.itemsize == 8 else b.fptrunc)(x, t)
        return (b.sitofp if source.kind == "i" else b.uitofp)(x, t)
    if source.kind == "f":
        return _to_integer(b, ir, target, x, t)
    if target.itemsize < source.itemsize:
        return b.trunc(x, t)
    if target.itemsize == source.itemsize and source.kind != "b":
        return x
    return (b.sext if source.kind == "i" else b.zext)(x, t)


def _to_integer(b: Any, ir: Any, target: np.dtype[Any], x: Any, t: Any) -> Any:
    """Truncation; what fits no integer becomes the least one, as processors have it.

    Narrow integers are cut from 32 bits, as C compilers do.
    """
    width = 64 if target.itemsize == 8 or target.str[1:] == "u4" else 32
    wide = ir.IntType(width)
    limit = float(2 ** (width - 1))
    above = b.fcmp_ordered(">=", x, ir.Constant(x.type, -limit))
    fits = b.and_(above, b.fcmp_ordered("<", x, ir.Constant(x.type, limit)))
    safe = b.select(fits, x, ir.Constant(x.type, 0.0))
    least = ir.Constant(wide, -(2 ** (width - 1)))
    result = b.select(fits, b.fptosi(safe, wide), least)
    return b.trunc(result, t) if wide.width != t.width else result
