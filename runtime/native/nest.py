"""What writers of loop nests over whole arrays share: loops, vectors, machine facts.

Here LLVM's vectoriser has nothing to do: vectors, registers and the order of
additions are chosen by the code that writes the loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = [
    "WRITTEN_OUT",
    "Machine",
    "Nest",
    "NestKernel",
    "Parts",
    "element_moves",
    "equal_parts",
    "generate",
    "last_apart",
    "machine",
    "step_cycles",
]


#: How a module begins in whose loops there is nothing to vectorise or to unroll:
#: looking for it would take LLVM most of its time.
WRITTEN_OUT = "; vectors are written out\n"

#: A run of equal parts: (first, count, size of each).
Parts = tuple[int, int, int]


def equal_parts(whole: int, most: int) -> list[Parts]:
    """Parts of ``whole``, none above ``most``, all equal but for the last."""
    size = -(-whole // -(-whole // most))
    count, rest = divmod(whole, size)
    return [(0, count, size), *([(count * size, 1, rest)] if rest else [])]


def last_apart(parts: list[Parts]) -> list[Parts]:
    """The same parts, with the last one for itself."""
    first, count, size = parts[-1]
    if count == 1:
        return parts
    before = count - 1
    return [*parts[:-1], (first, before, size), (first + before * size, 1, size)]


def element_moves(sizes: Sequence[int], channels: int) -> tuple[list[int], int]:
    """(elements from one position to the next along each axis, elements in all)."""
    moves: list[int] = []
    for size in reversed(sizes):
        moves.insert(0, channels)
        channels *= size
    return moves, channels


class Machine(NamedTuple):
    """What of a processor decides how loops are written.

    Attributes:
        vector: bytes of a vector register.
        registers: how many there are.
    """

    vector: int
    registers: int


def machine(triple: str, features: dict[str, bool]) -> Machine:
    """The machine of a target triple with these features."""
    if features.get("avx512f"):
        return Machine(64, 32)
    if features.get("avx"):
        return Machine(32, 16)
    x86 = triple.startswith(("x86_64", "i"))
    return Machine(16, 16 if x86 else 32)


def step_cycles(numbers: int, vectors: int) -> float:
    """Of one step of a tile, about: so many numbers times so many vectors.

    Two additions or two loads at a time, of which eight must be under way; the rest is
    fitted to times measured on a processor with AVX-512.
    """
    additions = numbers * vectors / 2
    loads = (numbers + vectors) / 2
    return max(additions, loads, 4.0) + 1.0 + 0.1 * loads + 0.25 * vectors


class NestKernel(Protocol):
    """What is compiled: a record of plain data."""

    @property
    def text(self) -> str: ...

    def write(self, nest: Nest) -> None: ...


def generate(kernel: NestKernel, name: str, triple: str) -> str:
    """The text of a module with ``void f(int64 *args, int64 start, int64 stop)``."""
    from llvmlite import ir

    from .engine import engine

    module = ir.Module(name)
    module.triple = triple
    i64 = ir.IntType(64)
    signature = ir.FunctionType(ir.VoidType(), [i64.as_pointer(), i64, i64])
    function = ir.Function(module, signature, name)
    function.attributes.add("nounwind")
    nest = Nest(ir, function, engine().vectors)
    kernel.write(nest)
    nest.b.ret_void()
    widths = '"prefer-vector-width"="512" "min-legal-vector-width"="512"'
    text = str(module).replace(" nounwind", " #0", 1)
    return f"{WRITTEN_OUT}{text}\nattributes #0 = {{ nounwind {widths} }}\n"


class Nest:
    """Writes one function.

    Addresses are pairs (pointer, a number of elements); numbers may be Python's.
    """

    def __init__(self, ir: Any, function: Any, vectors: Machine) -> None:
        self.ir = ir
        self.function = function
        self.machine = vectors
        self.i64 = ir.IntType(64)
        self.entry = function.append_basic_block("entry")
        self.b = ir.IRBuilder(self.entry)

    # -- numbers -----------------------------------------------------------------

    def number(self, n: Any) -> Any:
        """A number as a value."""
        return self.ir.Constant(self.i64, n) if isinstance(n, int) else n

    def add(self, x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if isinstance(x, int) and x == 0:
            return y
        if isinstance(y, int) and y == 0:
            return x
        return self.b.add(self.number(x), self.number(y), flags=("nsw",))

    def times(self, x: Any, n: Any) -> Any:
        if isinstance(x, int):  # a known number comes last
            x, n = n, x
        if isinstance(n, int):
            if isinstance(x, int):
                return x * n
            if n in (0, 1):
                return x if n else 0
        return self.b.mul(x, self.number(n), flags=("nsw",))

    def least(self, x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        x, y = self.number(x), self.number(y)
        return self.b.select(self.b.icmp_signed("<", x, y), x, y)

    def most(self, x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return max(x, y)
        x, y = self.number(x), self.number(y)
        return self.b.select(self.b.icmp_signed(">", x, y), x, y)

    def quotient(self, x: Any, n: int) -> Any:
        """x / n, towards zero."""
        return x if n == 1 else self.b.sdiv(self.number(x), self.number(n))

    # -- loops -------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1) -> Iterator[Any]:
        """``for i in range(start, stop, step)``."""
        b = self.b
        known = isinstance(start, int) and isinstance(stop, int)
        if known and isinstance(step, int) and start + step >= stop > start:
            yield start  # runs once
            return
        start, stop = self.number(start), self.number(stop)
        body = self.function.append_basic_block("body")
        after = self.function.append_basic_block("after")
        if known and start.constant < stop.constant:
            b.branch(body)
        else:
            b.cbranch(b.icmp_signed("<", start, stop), body, after)
        before = b.block
        b.position_at_end(body)
        i = b.phi(self.i64)
        i.add_incoming(start, before)
        yield i
        following = b.add(i, self.number(step), flags=("nsw",))
        i.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, stop), body, after)
        b.position_at_end(after)

    def inside(self, first: Any, step: int, size: int, count: int) -> tuple[Any, Any]:
        """The range of k below ``count`` for which first + k * step is in
        range(size)."""
        below = self.b.sub(self.number(0), self.number(first))
        low = self.quotient(self.add(below, step - 1), step)
        # A quotient is rounded towards zero: below zero it must not be above -1.
        high = self.quotient(self.add(below, size - 1 + step), step)
        return self.most(low, 0), self.least(high, count)

    # -- memory ------------------------------------------------------------------

    def array(self, k: int, dtype: str) -> Any:
        """The pointer that is argument ``k``."""
        b = self.b
        args = self.function.args[0]
        address = b.load(b.gep(args, [self.number(k)]))
        return b.inttoptr(address, self.element(dtype).as_pointer())

    def element(self, dtype: str) -> Any:
        """The type of an element of a dtype."""
        d = np.dtype(dtype)
        if d.kind == "f":
            return self.ir.FloatType() if d.itemsize == 4 else self.ir.DoubleType()
        return self.ir.IntType(8 * d.itemsize)

    def at(self, pointer: Any, offset: Any) -> Any:
        if isinstance(offset, int) and offset == 0:
            return pointer
        return self.b.gep(pointer, [self.number(offset)])

    def registers(self, element: Any, lanes: int) -> Registers:
        """Sums, each a vector."""
        return Registers(self, self.ir.VectorType(element, lanes))

    def variable(self, kind: Any) -> Any:
        """Memory for a value, of which LLVM makes a register."""
        with self.b.goto_block(self.entry):
            self.b.position_at_start(self.entry)
            return self.b.alloca(kind)

    def size(self, pointer: Any) -> int:
        """Bytes of an element."""
        pointee = pointer.type.pointee
        if isinstance(pointee, self.ir.IntType):
            return int(pointee.width) // 8
        return 4 if isinstance(pointee, self.ir.FloatType) else 8

    def load(self, pointer: Any, lanes: int) -> Any:
        """Elements side by side, as a vector (of one lane too)."""
        kind = self.ir.VectorType(pointer.type.pointee, lanes)
        cast = self.b.bitcast(pointer, kind.as_pointer())
        return self.b.load(cast, align=self.size(pointer))

    def store(self, value: Any, pointer: Any, first: int, end: int) -> None:
        """Write some lanes of a vector, in as few parts as powers of two allow."""
        b = self.b
        while first < end:
            count = 1 << ((end - first).bit_length() - 1)
            whole = count == value.type.count
            part = value if whole else self.lanes(value, first, count)
            cast = b.bitcast(self.at(pointer, first), part.type.as_pointer())
            b.store(part, cast, align=self.size(pointer))
            first += count

    def mask(self, count: Any, lanes: int) -> Any:
        """What has the first ``count`` of some lanes."""
        i32 = self.ir.IntType(32)
        numbers = self.ir.Constant(self.ir.VectorType(i32, lanes), list(range(lanes)))
        most = self.spread(self.b.trunc(self.number(count), i32), lanes)
        return self.b.icmp_signed("<", numbers, most)

    def load_some(self, pointer: Any, mask: Any) -> Any:
        """The lanes that a mask has, zero in the others."""
        kind = self.ir.VectorType(pointer.type.pointee, mask.type.count)
        zero = self.filled(kind.element, kind.count, 0.0)
        return self._masked("load", kind, kind, [pointer, mask, zero])

    def store_some(self, value: Any, pointer: Any, mask: Any) -> None:
        """Write the lanes that a mask has."""
        self._masked("store", self.ir.VoidType(), value.type, [value, pointer, mask])

    def _masked(self, what: str, result: Any, kind: Any, args: list[Any]) -> Any:
        """A load or store with a mask; its pointer is told what it is aligned to."""
        ir = self.ir
        at = 0 if what == "load" else 1
        align = ir.Constant(ir.IntType(32), self.size(args[at]))
        args[at : at + 1] = [self.b.bitcast(args[at], kind.as_pointer()), align]
        bits = 32 if isinstance(kind.element, ir.FloatType) else 64
        name = f"llvm.masked.{what}.v{kind.count}f{bits}.p0"
        return self.b.call(self._function(name, result, args), args)

    def prefetch(self, pointer: Any, write: bool = False, near: bool = True) -> None:
        """Have a cache line brought, into the first cache if ``near``: it may be
        outside of all arrays."""
        ir = self.ir
        i32 = ir.IntType(32)
        place = self.b.bitcast(pointer, ir.IntType(8).as_pointer())
        hints = [ir.Constant(i32, n) for n in (int(write), 3 if near else 2, 1)]
        args = [place, *hints]
        self.b.call(self._function("llvm.prefetch.p0", ir.VoidType(), args), args)

    def lanes(self, value: Any, first: int, count: int) -> Any:
        """Some lanes of a vector."""
        ir = self.ir
        mask = ir.Constant(
            ir.VectorType(ir.IntType(32), count), list(range(first, first + count))
        )
        return self.b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)

    def spread(self, value: Any, lanes: int) -> Any:
        """A number in every lane."""
        ir = self.ir
        kind = ir.VectorType(value.type, lanes)
        one = self.b.insert_element(
            ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)

    def filled(self, element: Any, lanes: int, value: float) -> Any:
        """A vector of one known number."""
        return self.ir.Constant(self.ir.VectorType(element, lanes), [value] * lanes)

    def maximum(self, x: Any, y: Any) -> Any:
        """The larger of each two; NaN where one is."""
        return self._intrinsic("maximum", x, y)

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """x y + z, in one rounding where the machine has the instruction."""
        return self._intrinsic("fmuladd", x, y, z)

    def _intrinsic(self, what: str, *vectors: Any) -> Any:
        kind = vectors[0].type
        bits = 32 if isinstance(kind.element, self.ir.FloatType) else 64
        name = f"llvm.{what}.v{kind.count}f{bits}"
        return self.b.call(self._function(name, kind, vectors), vectors)

    def _function(self, name: str, result: Any, args: Sequence[Any]) -> Any:
        """A function of LLVM's that takes such arguments."""
        module = self.function.module
        found = module.globals.get(name)
        if found is None:
            signature = self.ir.FunctionType(result, [a.type for a in args])
            found = self.ir.Function(module, signature, name)
        return found


class Registers:
    """Sums that stay in registers: vectors of one kind."""

    def __init__(self, nest: Nest, kind: Any) -> None:
        self._nest = nest
        self._kind = kind
        self._zero = nest.ir.Constant(kind, [0.0] * kind.count)
        self._variables: list[Any] = []

    def clear(self, count: int) -> None:
        """Set the first ``count`` to zero."""
        while len(self._variables) < count:
            self._variables.append(self._nest.variable(self._kind))
        for variable in self._variables[:count]:
            self._nest.b.store(self._zero, variable)

    def add(self, k: int, x: Any, y: Any) -> None:
        """Add x y to one."""
        b, variable = self._nest.b, self._variables[k]
        b.store(self._nest.multiply_add(x, y, b.load(variable)), variable)

    def put(self, k: int, value: Any) -> None:
        """Set one of the sums."""
        self._nest.b.store(value, self._variables[k])

    def value(self, k: int) -> Any:
        """One of the sums."""
        return self._nest.b.load(self._variables[k])
