"""Formulas that write LLVM code: operators on one scalar value of a loop's body.

A ``Scalar`` is a value of type float, double, i32, i64 or i1 with the builder that
stands where the next instruction goes.  ``x * y + 1.0`` emits a product and a sum;
nothing is contracted behind the formula's back, so a trick that needs its rounding
keeps it.  ``fma`` alone may fuse: it is one instruction where the target has it and
a product and a sum where not, never a call.  So every formula must hold both ways.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["Scalar", "fma", "horner", "select"]


class Scalar:
    """A value in the loop's body; arithmetic on it emits instructions."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    # -- what it is --------------------------------------------------------------

    @property
    def is_float(self) -> bool:
        return self.kind in ("float", "double")

    @property
    def kind(self) -> str:
        return str(self.value.type)

    @property
    def single(self) -> bool:
        """Whether this is float32 (or the integer as wide)."""
        return self.kind in ("float", "i32")

    def constant(self, number: Any) -> Scalar:
        """``number`` in this value's type; floats are rounded to it here."""
        if isinstance(number, Scalar):
            return number
        if self.kind == "float":
            number = to_single(number)
        return Scalar(self.builder, self.value.type(number))

    # -- arithmetic --------------------------------------------------------------

    def _emit(self, real: str, whole: str, other: Any, swap: bool = False) -> Scalar:
        pair = [self.value, self.constant(other).value]
        if swap:
            pair.reverse()
        name = real if self.is_float else whole
        return Scalar(self.builder, getattr(self.builder, name)(*pair))

    def __add__(self, other: Any) -> Scalar:
        return self._emit("fadd", "add", other)

    def __radd__(self, other: Any) -> Scalar:
        return self._emit("fadd", "add", other, swap=True)

    def __sub__(self, other: Any) -> Scalar:
        return self._emit("fsub", "sub", other)

    def __rsub__(self, other: Any) -> Scalar:
        return self._emit("fsub", "sub", other, swap=True)

    def __mul__(self, other: Any) -> Scalar:
        return self._emit("fmul", "mul", other)

    def __rmul__(self, other: Any) -> Scalar:
        return self._emit("fmul", "mul", other, swap=True)

    def __truediv__(self, other: Any) -> Scalar:
        return self._emit("fdiv", "", other)

    def __rtruediv__(self, other: Any) -> Scalar:
        return self._emit("fdiv", "", other, swap=True)

    def __neg__(self) -> Scalar:
        emit = self.builder.fneg if self.is_float else self.builder.neg
        return Scalar(self.builder, emit(self.value))

    # -- bits (integers and conditions) --------------------------------------------

    def __and__(self, other: Any) -> Scalar:
        return self._emit("", "and_", other)

    def __or__(self, other: Any) -> Scalar:
        return self._emit("", "or_", other)

    def __xor__(self, other: Any) -> Scalar:
        return self._emit("", "xor", other)

    def __lshift__(self, places: int) -> Scalar:
        return self._emit("", "shl", places)

    def __rshift__(self, places: int) -> Scalar:
        """Zeros come in from the left: AVX2 has no other shift of 64 bits."""
        return self._emit("", "lshr", places)

    def bits(self) -> Scalar:
        """The pattern of a float as an integer."""
        from llvmlite import ir

        whole = ir.IntType(32 if self.single else 64)
        return Scalar(self.builder, self.builder.bitcast(self.value, whole))

    def as_float(self) -> Scalar:
        """The float with an integer's pattern."""
        from llvmlite import ir

        real = ir.FloatType() if self.single else ir.DoubleType()
        return Scalar(self.builder, self.builder.bitcast(self.value, real))

    def widen(self) -> Scalar:
        """A float32 as float64."""
        from llvmlite import ir

        return Scalar(self.builder, self.builder.fpext(self.value, ir.DoubleType()))

    def narrow(self) -> Scalar:
        """A float64 rounded to float32."""
        from llvmlite import ir

        return Scalar(self.builder, self.builder.fptrunc(self.value, ir.FloatType()))

    # -- comparisons; all but ``!=`` are false where a side is NaN -------------------

    def _compare(self, sign: str, other: Any) -> Scalar:
        pair = self.value, self.constant(other).value
        if not self.is_float:
            return Scalar(self.builder, self.builder.icmp_signed(sign, *pair))
        if sign == "!=":
            return Scalar(self.builder, self.builder.fcmp_unordered(sign, *pair))
        return Scalar(self.builder, self.builder.fcmp_ordered(sign, *pair))

    def __lt__(self, other: Any) -> Scalar:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Scalar:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Scalar:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Scalar:
        return self._compare(">=", other)

    def equals(self, other: Any) -> Scalar:
        return self._compare("==", other)

    def differs(self, other: Any) -> Scalar:
        return self._compare("!=", other)

    # -- signs -------------------------------------------------------------------

    def _intrinsic(self, name: str, *more: Scalar) -> Scalar:
        function = self.builder.module.declare_intrinsic(name, [self.value.type])
        arguments = [self.value, *(v.value for v in more)]
        return Scalar(self.builder, self.builder.call(function, arguments))

    def __abs__(self) -> Scalar:
        return self._intrinsic("llvm.fabs")

    def sqrt(self) -> Scalar:
        """The root, correctly rounded: an instruction everywhere."""
        return self._intrinsic("llvm.sqrt")

    def sign_bit(self) -> Scalar:
        """The integer with this float's sign bit alone."""
        return self.bits() & self.sign_mask

    @property
    def sign_mask(self) -> int:
        return -(2**31) if self.single else -(2**63)

    def with_sign(self, sign: Scalar) -> Scalar:
        """This float, its sign flipped where ``sign`` (of ``sign_bit``) is set."""
        return (self.bits() ^ sign).as_float()


def fma(a: Scalar, b: Any, c: Any) -> Scalar:
    """a b + c, fused where the target can."""
    from llvmlite import ir

    builder, real = a.builder, a.value.type
    kind = ir.FunctionType(real, [real] * 3)
    function = builder.module.declare_intrinsic("llvm.fmuladd", [real], kind)
    arguments = [a.value, a.constant(b).value, a.constant(c).value]
    return Scalar(builder, builder.call(function, arguments))


def select(condition: Scalar, yes: Any, no: Any) -> Scalar:
    """``yes`` where the condition holds, else ``no``; one of them is a Scalar."""
    like = yes if isinstance(yes, Scalar) else no
    yes, no = like.constant(yes), like.constant(no)
    builder = condition.builder
    return Scalar(builder, builder.select(condition.value, yes.value, no.value))


def horner(x: Scalar, coefficients: Sequence[float]) -> Scalar:
    """The polynomial with ``coefficients`` from the constant term upward."""
    *rest, last = coefficients
    found: Any = last
    if not rest:
        return x.constant(last)
    found = fma(x, last, rest.pop())
    for c in reversed(rest):
        found = fma(found, x, c)
    return found  # type: ignore[no-any-return]


def to_single(number: float) -> float:
    """A Python float rounded to float32."""
    if math.isfinite(number):
        return float(struct.unpack("f", struct.pack("f", number))[0])
    return number
