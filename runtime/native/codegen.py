"""From a tape to one loop nest in LLVM's language.

The code of a kernel is ``void f(int64 *args, int64 start, int64 stop)``. ``args`` are
addresses of the arrays, inputs first, then the sizes of all loops but the outermost,
then, loop by loop (outermost first), the byte strides of the arrays that move in it.
Of a kernel with functions of limited reach a last number follows, which the code sets
to one where an argument was out of reach. ``start`` and ``stop`` are a range of the
outermost loop.

How an array moves in the innermost loop is part of the code: by one element, not at
all, or by a stride that is an argument. That decides how fast it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graphlib.records import record
from .emit import beyond, constant, emit, limited, llvm_type

__all__ = ["Kernel", "Writer", "finish", "is_limited"]

#: How an array moves in the innermost loop.
STILL, DENSE, STRIDED = "0", "1", "s"


@record(frozen=True)
class Kernel:
    """What is compiled.

    Attributes:
        code: the tape's instructions.
        results: per output array, the instruction whose result it gets.
        dtypes: of the arrays, inputs first.
        rank: the number of loops.
        moves: per array, how it moves in the innermost loop.
    """

    code: tuple[tuple[Any, ...], ...]
    results: tuple[int, ...]
    dtypes: tuple[str, ...]
    rank: int
    moves: str

    @property
    def hints(self) -> str:
        """More for LLVM about the innermost loops."""
        return ""

    @property
    def limited(self) -> bool:
        """Whether it has functions that are right within a reach only."""
        return is_limited(self.code)

    @property
    def text(self) -> str:
        """The canonical form: the same for the same machine code."""
        return repr((self.code, self.results, self.dtypes, self.rank, self.moves))

    def generate(self, name: str, triple: str) -> str:
        """The text of a module with the kernel as its function."""
        return finish(self, name, triple, Writer)

    @property
    def inputs(self) -> int:
        """The number of arrays that are read."""
        return len(self.dtypes) - len(self.results)


def is_limited(code: Sequence[tuple[Any, ...]]) -> bool:
    """Whether a tape has functions of limited reach."""
    return any(limited(name, dtype) for name, dtype, *_ in code)


class _Named:
    """A reference to a node of metadata that is written by hand."""

    def __init__(self, number: int) -> None:
        self._number = number

    def get_reference(self) -> str:
        return f"!{self._number}"


# llvmlite cannot write distinct nodes; these numbers are beyond its own.
_GROUP, _FIRST_LOOP = 90001, 90003


def finish(kernel: Kernel, name: str, triple: str, writer: type[Writer]) -> str:
    """The text of the module of a kernel."""
    from llvmlite import ir

    module = ir.Module(name)
    module.triple = triple
    i64 = ir.IntType(64)
    signature = ir.FunctionType(ir.VoidType(), [i64.as_pointer(), i64, i64])
    function = ir.Function(module, signature, name)
    function.attributes.add("nounwind")
    written = writer(ir, function, kernel)
    written.write()
    # The widest vectors: loops of one kernel are long.
    text = re.sub(r"(define [^\n]*) nounwind", r"\1 #0", str(module))
    lines = [
        text,
        'attributes #0 = { nounwind "prefer-vector-width"="512" }',
        f"!{_GROUP} = distinct !{{}}",
        f'!{_GROUP + 1} = !{{!"llvm.loop.parallel_accesses", !{_GROUP}}}',
    ]
    for i in range(_FIRST_LOOP, _FIRST_LOOP + written.loops):
        lines.append(f"!{i} = distinct !{{!{i}, !{_GROUP + 1}{kernel.hints}}}")
    return "\n".join(lines) + "\n"


class Writer:
    """Writes one function.

    Attributes:
        loops: how many innermost loops were marked.
    """

    def __init__(self, ir: Any, function: Any, kernel: Any) -> None:
        self.ir = ir
        self.kernel = kernel
        self.function = function
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self.i64 = ir.IntType(64)
        self.scalars: dict[int, Any] = {}
        self.loops = 0

    def argument(self, args: Any, i: int) -> Any:
        """One of the numbers that the function is given."""
        return self.b.load(self.b.gep(args, [self.ir.Constant(self.i64, i)]))

    def mark(self, branch: Any) -> None:
        """Say that no element of a loop waits for another: outputs are inputs, or
        they do not overlap."""
        branch.set_metadata("llvm.loop", _Named(_FIRST_LOOP + self.loops))
        self.loops += 1

    def write(self) -> None:
        """Write all of it."""
        b, kernel = self.b, self.kernel
        args, start, stop = self.function.args
        count = len(kernel.dtypes)
        bases = [self.argument(args, i) for i in range(count)]
        sizes = [self.argument(args, count + k) for k in range(kernel.rank - 1)]
        at = count + kernel.rank - 1
        strides: list[list[Any]] = []
        for loop in range(kernel.rank):
            row: list[Any] = []
            for i in range(count):
                inner = loop == kernel.rank - 1
                if inner and kernel.moves[i] != STRIDED:
                    row.append(None)
                else:
                    row.append(self.argument(args, at + loop * count + i))
            strides.append(row)
        #: Where an argument out of reach is told of, and whether there was one.
        self.told = b.gep(args, [self.ir.Constant(self.i64, at + kernel.rank * count)])
        self.flag: Any = None
        self._loop(0, bases, start, stop, sizes, strides)
        b.ret_void()

    def _loop(
        self,
        depth: int,
        bases: Sequence[Any],
        start: Any,
        stop: Any,
        sizes: Sequence[Any],
        strides: Sequence[Sequence[Any]],
    ) -> None:
        """Loop ``depth`` and those inside it."""
        b, i64 = self.b, self.i64
        inner = depth == self.kernel.rank - 1
        if inner:
            # What does not move is read before the loop.
            for i in range(self.kernel.inputs):
                if self.kernel.moves[i] == STILL:
                    self.scalars[i] = self.load(i, bases[i], plain=True)
        before = b.block
        body = self.function.append_basic_block(f"loop{depth}")
        after = self.function.append_basic_block(f"end{depth}")
        b.cbranch(b.icmp_signed("<", start, stop), body, after)
        b.position_at_end(body)
        k = b.phi(i64)
        k.add_incoming(start, before)
        flag = None
        if inner and self.kernel.limited:
            flag = self.flag = b.phi(i64)
            flag.add_incoming(self.ir.Constant(i64, 0), before)
        if inner:
            self._element(
                [
                    self._address(i, bases[i], k, strides[depth][i])
                    for i in range(len(bases))
                ]
            )
        else:
            moved = [b.add(base, b.mul(k, s)) for base, s in zip(bases, strides[depth])]
            zero = self.ir.Constant(i64, 0)
            self._loop(depth + 1, moved, zero, sizes[depth], sizes, strides)
        following = b.add(k, self.ir.Constant(i64, 1), flags=("nsw", "nuw"))
        k.add_incoming(following, b.block)
        branch = b.cbranch(b.icmp_signed("<", following, stop), body, after)
        last = b.block
        if inner:
            self.mark(branch)
        b.position_at_end(after)
        if flag is not None:
            flag.add_incoming(self.flag, last)
            told = b.phi(i64)
            told.add_incoming(self.ir.Constant(i64, 0), before)
            told.add_incoming(self.flag, last)
            # Threads that share the loop may all say so.
            with b.if_then(b.icmp_signed("!=", told, self.ir.Constant(i64, 0))):
                b.store(self.ir.Constant(i64, 1), self.told)

    def _address(self, i: int, base: Any, k: Any, stride: Any) -> Any:
        """The address of an array's element in the innermost loop."""
        b = self.b
        memory = self.memory(i)
        move = self.kernel.moves[i]
        if move == STRIDED:
            return b.inttoptr(b.add(base, b.mul(k, stride)), memory.as_pointer())
        pointer = b.inttoptr(base, memory.as_pointer())
        return b.gep(pointer, [k]) if move == DENSE else pointer

    def memory(self, i: int) -> Any:
        """The type of an array's element in memory."""
        dtype = self.kernel.dtypes[i]
        if np.dtype(dtype).kind == "b":
            return self.ir.IntType(8)
        return llvm_type(self.ir, dtype)

    def load(self, i: int, address: Any, plain: bool = False) -> Any:
        """An array's element; ``plain``: at an address that is a number, outside of
        the innermost loop."""
        b = self.b
        dtype = self.kernel.dtypes[i]
        if plain:
            address = b.inttoptr(address, self.memory(i).as_pointer())
        value = b.load(address, align=np.dtype(dtype).itemsize)
        if not plain:
            self.shared(value)
        if np.dtype(dtype).kind == "b":
            return b.icmp_unsigned("!=", value, self.ir.Constant(value.type, 0))
        return value

    def _element(self, addresses: Sequence[Any]) -> None:
        """The code of one element."""
        b, ir, kernel = self.b, self.ir, self.kernel
        values: list[Any] = []
        for name, dtype, *operands in kernel.code:
            if name == "input":
                i = operands[0]
                value = self.scalars.get(i)
                values.append(self.load(i, addresses[i]) if value is None else value)
            elif name == "const":
                values.append(constant(ir, dtype, operands[0]))
            else:
                at = [values[r] for r in operands]
                read = kernel.code[operands[0]][1]
                values.append(emit(b, ir, name, dtype, read, at))
                if limited(name, read):
                    far = b.zext(beyond(b, name, at), self.i64)
                    self.flag = b.or_(self.flag, far)
        for k, ref in enumerate(kernel.results):
            self.store(kernel.inputs + k, addresses[kernel.inputs + k], values[ref])

    def store(self, i: int, address: Any, value: Any) -> None:
        """Write an array's element."""
        self.shared(self.written(i, address, value))

    def written(self, i: int, address: Any, value: Any) -> Any:
        """The same outside of loops that wait for no other element."""
        b = self.b
        dtype = np.dtype(self.kernel.dtypes[i])
        if dtype.kind == "b":
            value = b.zext(value, self.ir.IntType(8))
        return b.store(value, address, align=dtype.itemsize)

    def shared(self, access: Any) -> None:
        """Say that a load or store is one of those that wait for no other element."""
        access.set_metadata("llvm.access.group", _Named(_GROUP))
