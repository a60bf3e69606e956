"""From a tape with reductions to loops over columns: what leading axes are reduced to.

The code of a kernel is ``void f(int64 *args, int64 start, int64 stop)``, for a range of
columns. ``args`` are the addresses of the arrays, inputs first, the number of columns,
that of rows, and the address of scratch memory: ``slots`` numbers of eight bytes for
each column. Arrays are contiguous and have an element for each row and column, one
number for each column, or, if they are read only, one for each row or for all.

Every pass goes over all rows, in their order, and over the columns of one row inside:
a column's sum is in scratch memory meanwhile, and is added in the order of the rows.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...graphlib.records import record
from .codegen import finish
from .emit import constant, emit, llvm_type
from .rows import REDUCTIONS, RowKernel, RowWriter

__all__ = ["ColumnKernel"]


@record(frozen=True)
class ColumnKernel(RowKernel):
    """What is compiled; ``moves`` says of each array whether it has an element for each
    row and column ("1"), one for each column ("0"), or, if it is read only, one for
    each row ("c") or one for all ("s")."""

    @property
    def text(self) -> str:
        """The canonical form."""
        return f"columns {super().text}"

    @cached_property
    def slots(self) -> dict[int, int]:
        """Where the numbers of columns are kept: instruction -> place in scratch."""
        kept = [
            r
            for r, (name, *_) in enumerate(self.code)
            if name not in ("input", "const") and not self.schedule.wide[r]
        ]
        return {r: k for k, r in enumerate(kept)}

    def generate(self, name: str, triple: str) -> str:
        """The module's text."""
        return finish(self, name, triple, _ColumnWriter)


class _ColumnWriter(RowWriter):
    """Writes one function."""

    kernel: ColumnKernel

    def write(self) -> None:
        kernel, b = self.kernel, self.b
        self.plan = kernel.schedule
        args, self.start, self.stop = self.function.args
        count = len(kernel.dtypes)
        self.bases = [self.argument(args, i) for i in range(count)]
        self.columns, self.rows, scratch = (
            self.argument(args, count + k) for k in range(3)
        )
        size = self.ir.Constant(self.i64, 8)
        self.places = {
            r: b.add(scratch, b.mul(b.mul(self.columns, size), self.number(k)))
            for r, k in kernel.slots.items()
        }
        #: What is the same for all elements.
        self.known: dict[int, Any] = {}
        for r, (name, dtype, *operands) in enumerate(kernel.code):
            if name == "const":
                self.known[r] = constant(self.ir, dtype, operands[0])
            elif name == "input" and kernel.moves[operands[0]] == "s":
                i = operands[0]
                self.known[r] = self.load(i, self.bases[i], plain=True)
        done: set[int] = set()
        for p in range(self.plan.last + 1):
            self._numbers(p, done)
            if self.plan.roots(p):
                self._pass(p)
        self._numbers(self.plan.last + 1, done)
        b.ret_void()

    def number(self, k: int) -> Any:
        return self.ir.Constant(self.i64, k)

    def _loop(self, start: Any, stop: Any, mark: bool, inside: Any) -> None:  # type: ignore[override]
        """A loop; ``inside(k)`` writes what is done for each number."""
        b = self.b
        before = b.block
        body = self.function.append_basic_block("loop")
        after = self.function.append_basic_block("end")
        b.cbranch(b.icmp_signed("<", start, stop), body, after)
        b.position_at_end(body)
        k = b.phi(self.i64)
        k.add_incoming(start, before)
        inside(k)
        following = b.add(k, self.number(1), flags=("nsw", "nuw"))
        k.add_incoming(following, b.block)
        branch = b.cbranch(b.icmp_signed("<", following, stop), body, after)
        if mark:
            self.mark(branch)
        b.position_at_end(after)

    def _numbers(self, p: int, done: set[int]) -> None:
        """What is known of columns before pass ``p``; its sums start here."""
        code, plan, kernel = self.kernel.code, self.plan, self.kernel
        new = [
            r
            for r in kernel.slots
            if r not in done and plan.level[r] <= p and code[r][0] not in REDUCTIONS
        ]
        starting = [
            r
            for r in kernel.slots
            if code[r][0] in REDUCTIONS and plan.level[code[r][2]] == p
        ]
        ready = [
            (r, j)
            for j, r in enumerate(kernel.results)
            if not plan.wide[r] and (plan.level[r] == p or r in new)
        ]
        done.update(new)
        if not new and not starting and not ready:
            return

        def inside(k: Any) -> None:
            local: dict[int, Any] = {}
            for r in new:
                name, dtype, *operands = code[r]
                at = [self._operand(o, k, local) for o in operands]
                read = code[operands[0]][1]
                local[r] = emit(self.b, self.ir, name, dtype, read, at)
                self._put(self._slot(r, k), dtype, local[r])
            for r in starting:
                t = llvm_type(self.ir, code[r][1])
                start = self.ir.Constant(t, REDUCTIONS[code[r][0]])
                self._put(self._slot(r, k), code[r][1], start)
            for r, j in ready:
                i = kernel.inputs + j
                self.store(i, self._at(i, k), self._operand(r, k, local))

        self._loop(self.start, self.stop, True, inside)

    def _pass(self, p: int) -> None:
        """All rows, and the columns of each."""
        code, plan, kernel = self.kernel.code, self.plan, self.kernel
        reductions = [
            r
            for r in kernel.slots
            if code[r][0] in REDUCTIONS and plan.level[code[r][2]] == p
        ]
        lines = [
            r
            for r in plan.passes[p]
            if code[r][0] == "input" and kernel.moves[code[r][2]] == "c"
        ]

        def row(i: Any) -> None:
            b = self.b
            first = b.mul(i, self.columns)
            of_row = {r: self._number_of_row(code[r][2], i) for r in lines}

            def element(k: Any) -> None:
                at = b.add(first, k)
                local = self._values(p, at, k, dict(of_row))
                for r in reductions:
                    place = self._slot(r, k)
                    new = self._combine(
                        code[r][0], self._get(place, code[r][1]), local[code[r][2]]
                    )
                    self._put(place, code[r][1], new)
                written = [(r, j) for j, r in enumerate(kernel.results) if plan.wide[r]]
                for r, j in (*written, *plan.kept.items()):
                    if plan.level[r] == p:
                        out = kernel.inputs + j
                        self.store(out, self._at(out, at), local[r])

            self._loop(self.start, self.stop, True, element)

        self._loop(self.number(0), self.rows, False, row)

    def _number_of_row(self, i: int, row: Any) -> Any:
        size = self.number(np.dtype(self.kernel.dtypes[i]).itemsize)
        address = self.b.add(self.bases[i], self.b.mul(row, size))
        return self.load(i, address, plain=True)

    def _values(self, p: int, at: Any, k: Any, local: dict[int, Any]) -> Any:
        """The values of one element that a pass needs."""
        plan, code = self.plan, self.kernel.code
        for r in plan.passes[p]:
            name, dtype, *operands = code[r]
            if r in local:
                continue
            if r in plan.kept and plan.level[r] < p:
                i = self.kernel.inputs + plan.kept[r]
                local[r] = self.load(i, self._at(i, at))
            elif name == "input":
                local[r] = self.load(operands[0], self._at(operands[0], at))
            else:
                given = [self._operand(o, k, local) for o in operands]
                read = code[operands[0]][1]
                local[r] = emit(self.b, self.ir, name, dtype, read, given)
        return local

    # -- memory --------------------------------------------------------------------

    def _operand(self, r: int, k: Any, local: dict[int, Any]) -> Any:
        """What an instruction gave; of column ``k`` where it is not in ``local``."""
        if r in local:
            return local[r]
        if r in self.known:
            return self.known[r]
        name, dtype, *operands = self.kernel.code[r]
        if name == "input":
            found = self.load(operands[0], self._at(operands[0], k))
        else:
            found = self._get(self._slot(r, k), dtype)
        local[r] = found
        return found

    def _at(self, i: int, k: Any) -> Any:
        """The address of an array's element."""
        pointer = self.b.inttoptr(self.bases[i], self.memory(i).as_pointer())
        return self.b.gep(pointer, [k])

    def _slot(self, r: int, k: Any) -> Any:
        """The address of a column's number."""
        dtype = self.kernel.code[r][1]
        bits = self.ir.IntType(8) if dtype == "|b1" else llvm_type(self.ir, dtype)
        pointer = self.b.inttoptr(self.places[r], bits.as_pointer())
        return self.b.gep(pointer, [k])

    def _get(self, address: Any, dtype: str) -> Any:
        b = self.b
        value = b.load(address, align=np.dtype(dtype).itemsize)
        self.shared(value)
        if dtype == "|b1":
            return b.icmp_unsigned("!=", value, self.ir.Constant(value.type, 0))
        return value

    def _put(self, address: Any, dtype: str, value: Any) -> None:
        if dtype == "|b1":
            value = self.b.zext(value, self.ir.IntType(8))
        self.shared(self.b.store(value, address, align=np.dtype(dtype).itemsize))

    def _combine(self, name: str, total: Any, value: Any) -> Any:
        if name == "reduce_sum":
            return self.b.fadd(total, value)
        return self.extreme(name, total, value)
