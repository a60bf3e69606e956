"""From a tape with reductions to loops over rows: each row is read while it is cached.

The code of a kernel is ``void f(int64 *args, int64 start, int64 stop)``, for a range of
rows. ``args`` are the addresses of the arrays, inputs first, and the length of a row.
Arrays are contiguous and have a row of elements for each row or for all of them, or one
number for each row or for all.

A tape has the instructions "reduce_sum", "reduce_max" and "reduce_min" besides those
of elements.
What depends on one of them is computed in another pass over the row; a function that an
earlier pass computed is not computed again but kept in the memory of an output.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...graphlib.records import record
from .codegen import Kernel, Writer, finish
from .emit import constant, emit, functions, llvm_type

__all__ = ["REDUCTIONS", "RowKernel", "RowWriter"]

#: Reductions, and what each starts with.
REDUCTIONS = {
    "reduce_max": float("-inf"),
    "reduce_min": float("inf"),
    "reduce_sum": 0.0,
}


@record(frozen=True)
class RowKernel(Kernel):
    """What is compiled; ``moves`` says of each array whether it has a row of elements
    for each row ("1"), one number for each row ("0"), or, if it is read only, one row
    ("c") or one number ("s") for all; ``rank`` is 1, ``short`` says that a row
    has few vectors, and ``lanes`` how many elements a vector has and how many vectors
    add side by side (0: as LLVM likes), which is the order of additions."""

    short: bool = False
    lanes: tuple[int, int] = (0, 0)

    @property
    def text(self) -> str:
        """The canonical form."""
        return f"rows {self.short} {self.lanes} {super().text}"

    @property
    def hints(self) -> str:
        """Of a short row, what fills no vector is masked, not done one by one."""
        if self.lanes[0]:
            return (
                f', !{{!"llvm.loop.vectorize.width", i32 {self.lanes[0]}}}'
                f', !{{!"llvm.loop.interleave.count", i32 {self.lanes[1]}}}'
            )
        if not self.short:
            return ""
        return (
            ', !{!"llvm.loop.vectorize.predicate.enable", i1 true}'
            ', !{!"llvm.loop.interleave.count", i32 1}'
        )

    @cached_property
    def schedule(self) -> Schedule:
        """Which pass computes what."""
        return Schedule(self)

    def generate(self, name: str, triple: str) -> str:
        """The module's text."""
        return finish(self, name, triple, RowWriter)


class Schedule:
    """Which pass over a row computes what.

    Attributes:
        wide: per instruction, whether it has a value for each element.
        level: per instruction, the pass that has an element's value, or the first
            pass that can read a row's.
        passes: per pass, the instructions of elements that it needs, in order.
        kept: instruction -> the output in whose memory its values are kept.
    """

    def __init__(self, kernel: RowKernel) -> None:
        self.kernel = kernel
        self.wide: list[bool] = []
        self.level: list[int] = []
        for name, _, *operands in kernel.code:
            if name == "input":
                self.wide.append(kernel.moves[operands[0]] in "1c")
                self.level.append(0)
            elif name == "index":
                self.wide.append(True)
                self.level.append(0)
            elif name == "const":
                self.wide.append(False)
                self.level.append(0)
            else:
                level = max(self.level[r] for r in operands)
                reduces = name in REDUCTIONS
                self.wide.append(not reduces and any(self.wide[r] for r in operands))
                self.level.append(level + reduces)
        self.last = max(self.level)
        self.kept: dict[int, int] = {}
        self._keep()
        self.passes = [self._needed(p) for p in range(self.last + 1)]

    def roots(self, p: int) -> list[int]:
        """What pass ``p`` is for: operands of reductions, results and kept values."""
        code = self.kernel.code
        found = [
            i[2]
            for i in code
            if i[0] in REDUCTIONS and self.level[i[2]] == p and self.wide[i[2]]
        ]
        found += [r for r in self.kernel.results if self.wide[r] and self.level[r] == p]
        return found + [r for r in self.kept if self.level[r] == p]

    def _needed(self, p: int) -> list[int]:
        stack = self.roots(p)
        needed: set[int] = set()
        while stack:
            r = stack.pop()
            if r in needed or not self.wide[r]:
                continue
            needed.add(r)
            if r in self.kept and self.level[r] < p:
                continue  # it is read from where it is kept
            if self.kernel.code[r][0] != "input":
                stack += self.kernel.code[r][2:]
        return sorted(needed)

    def _keep(self) -> None:
        """Keep functions that later passes read, in outputs that are written when
        these have read them."""
        code, results = self.kernel.code, self.kernel.results
        for i, (name, dtype, *_) in enumerate(code):
            if not self.wide[i] or name not in functions(dtype) or i in results:
                continue
            later = range(self.level[i] + 1, self.last + 1)
            last = max((p for p in later if i in self._needed(p)), default=None)
            if last is None:
                continue
            for k, r in enumerate(results):
                free = k not in self.kept.values() and self.wide[r]
                if free and code[r][1] == dtype and self.level[r] >= last:
                    self.kept[i] = k
                    break

    def unsafe(self) -> list[tuple[int, int]]:
        """(input, output) positions that must not share memory: the input is read
        in a pass after the output was written."""
        kernel = self.kernel
        written = [self.level[r] if self.wide[r] else 0 for r in kernel.results]
        for i, k in self.kept.items():
            written[k] = self.level[i]
        pairs = []
        for p, needed in enumerate(self.passes):
            for r in needed:
                if kernel.code[r][0] == "input":
                    pairs += [
                        (kernel.code[r][2], k) for k, w in enumerate(written) if w < p
                    ]
        return pairs


class RowWriter(Writer):
    """Writes one function."""

    kernel: RowKernel

    def write(self) -> None:
        b, kernel, i64 = self.b, self.kernel, self.i64
        self.plan = kernel.schedule
        args, start, stop = self.function.args
        count = len(kernel.dtypes)
        self.bases = [self.argument(args, i) for i in range(count)]
        self.length = self.argument(args, count)
        before = b.block
        body = self.function.append_basic_block("row")
        after = self.function.append_basic_block("end")
        b.cbranch(b.icmp_signed("<", start, stop), body, after)
        b.position_at_end(body)
        row = b.phi(i64)
        row.add_incoming(start, before)
        self._row(row)
        following = b.add(row, self.ir.Constant(i64, 1))
        row.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, stop), body, after)
        b.position_at_end(after)
        b.ret_void()

    def _row(self, row: Any) -> None:
        b, kernel = self.b, self.kernel
        offset = b.mul(row, self.length)
        self.at = []
        for i, dtype in enumerate(kernel.dtypes):
            if kernel.moves[i] in "cs":
                self.at.append(self.bases[i])
                continue
            moved = offset if kernel.moves[i] == "1" else row
            size = self.ir.Constant(self.i64, np.dtype(dtype).itemsize)
            self.at.append(b.add(self.bases[i], b.mul(moved, size)))
        self.values: dict[int, Any] = {}
        for p in range(self.plan.last + 1):
            self._scalars(p)
            if self.plan.roots(p):
                self._pass(p)
        self._scalars(self.plan.last)
        for k, r in enumerate(kernel.results):
            if not self.plan.wide[r]:
                i = kernel.inputs + k
                pointer = b.inttoptr(self.at[i], self.memory(i).as_pointer())
                self.written(i, pointer, self.values[r])

    def _scalars(self, p: int) -> None:
        """The numbers of a row that pass ``p`` can read."""
        plan = self.plan
        for r, (name, dtype, *operands) in enumerate(self.kernel.code):
            if plan.wide[r] or plan.level[r] > p or r in self.values:
                continue
            if name in REDUCTIONS:
                continue  # its pass has left it there
            if name == "input":
                self.values[r] = self.load(
                    operands[0], self.at[operands[0]], plain=True
                )
            elif name == "const":
                self.values[r] = constant(self.ir, dtype, operands[0])
            else:
                at = [self.values[o] for o in operands]
                read = self.kernel.code[operands[0]][1]
                self.values[r] = emit(self.b, self.ir, name, dtype, read, at)

    def _pass(self, p: int) -> None:
        """One loop over the elements of a row."""
        b, ir, code, plan = self.b, self.ir, self.kernel.code, self.plan
        reductions = [
            r
            for r, i in enumerate(code)
            if i[0] in REDUCTIONS and plan.wide[i[2]] and plan.level[i[2]] == p
        ]
        zero = ir.Constant(self.i64, 0)
        before = b.block
        body = self.function.append_basic_block(f"pass{p}")
        after = self.function.append_basic_block(f"done{p}")
        b.branch(body)  # no row is empty
        b.position_at_end(body)
        k = b.phi(self.i64)
        k.add_incoming(zero, before)
        totals = {}
        for r in reductions:
            t = llvm_type(ir, code[r][1])
            start = REDUCTIONS[code[r][0]]
            totals[r] = b.phi(t)
            totals[r].add_incoming(ir.Constant(t, start), before)
        local = self._elements(p, k)
        for r in reductions:
            new = self._combine(code[r][0], totals[r], local[code[r][2]])
            totals[r].add_incoming(new, b.block)
            self.values[r] = new
        self._store(p, k, local)
        following = b.add(k, ir.Constant(self.i64, 1), flags=("nsw", "nuw"))
        k.add_incoming(following, b.block)
        branch = b.cbranch(b.icmp_signed("<", following, self.length), body, after)
        self.mark(branch)
        b.position_at_end(after)

    def _elements(self, p: int, k: Any) -> dict[int, Any]:
        """The values of one element that a pass needs."""
        plan, code = self.plan, self.kernel.code
        local: dict[int, Any] = {}
        for r in plan.passes[p]:
            name, dtype, *operands = code[r]
            if r in plan.kept and plan.level[r] < p:
                i = self.kernel.inputs + plan.kept[r]
                local[r] = self.load(i, self._place(i, k))
            elif name == "input":
                local[r] = self.load(operands[0], self._place(operands[0], k))
            elif name == "index":
                local[r] = k
            else:
                at = [local[o] if o in local else self.values[o] for o in operands]
                read = code[operands[0]][1]
                local[r] = emit(self.b, self.ir, name, dtype, read, at)
        return local

    def _store(self, p: int, k: Any, local: dict[int, Any]) -> None:
        plan, kernel = self.plan, self.kernel
        written = [(r, j) for j, r in enumerate(kernel.results) if plan.wide[r]]
        written += list(plan.kept.items())
        for r, j in written:
            if plan.level[r] == p:
                i = kernel.inputs + j
                self.store(i, self._place(i, k), local[r])

    def _place(self, i: int, k: Any) -> Any:
        pointer = self.b.inttoptr(self.at[i], self.memory(i).as_pointer())
        return self.b.gep(pointer, [k])

    def _combine(self, name: str, total: Any, value: Any) -> Any:
        """Add an element, in any order, or take the greater or less one (or NaN)."""
        if name == "reduce_sum":
            return self.b.fadd(total, value, flags=("reassoc",))
        return self.extreme(name, total, value)

    def extreme(self, name: str, total: Any, value: Any) -> Any:
        """The greater or less number; NaN if one is."""
        b = self.b
        f = "llvm.maximum" if name == "reduce_max" else "llvm.minimum"
        signature = self.ir.FunctionType(value.type, [value.type] * 2)
        found = b.module.declare_intrinsic(f, [value.type], signature)
        return b.call(found, [total, value])
