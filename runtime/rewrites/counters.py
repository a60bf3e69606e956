"""Loops that count and read ``x[i]`` scan ``x``; rows that they set are stacked.

A counter starts at a known integer and every iteration adds the same one to it, so
that all its values are known.  Where the body reads ``x[i]`` of an array that is the
same in every iteration (i the counter, or a known multiple of it plus a known number),
the loop scans those rows of ``x``.  A carry of which an iteration sets row i, or adds
to row i, and reads that row at most, is what comes in with the stack of those rows put
there after the loop: a carried array is touched in one row, where the sum of a gradient
was made of all of them.

Precondition: a loop without effects that keeps no checkpoints and waits for nothing,
of a known number of iterations, at least one; indices in range, each once.
Postcondition: the same to the bit.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from ...graphlib.operation import Operation
from ...graphlib.shapes import is_static
from ...graphlib.tensor import Tensor
from ..program import CONST, VARIABLE, Node, Program, Value, constant_value
from ._loop_parts import LoopParts, integer, is_zero, itself, may_change
from ._walk import Budget, constant
from .fold import computed

__all__ = ["count_loops"]

#: Iterations of loops whose counters become constants.
_MOST = 1 << 14
#: Numbers of a row, and bytes of all, that are looked at to find that rows are alike.
_FEW, _SMALL = 32, 64 * 1024
_WHOLE = (None, None, None)
_VIEWS = ("ExpandDims", "Identity", "Reshape", "Squeeze", "StopGradient")


def count_loops(program: Program) -> int:
    """Scan what is read by a counter, stack what is set by one; returns how many
    changes that took."""
    if "Loop" not in program.types:
        return 0
    budget = Budget(len(program.nodes))
    subst: dict[Value, Value] = {}
    kept: list[Node] = []
    changed = 0
    spent = False
    for node in program.nodes:
        node.redirect(subst)
        if changed and node.opdef.type == "Rows":  # of what is known now
            arrays = computed(node)
            if arrays is not None:
                (out,) = node.outputs
                subst[out] = constant_value(arrays[0], out)
                continue
        if spent or not may_change(node) or node.attrs["tested"]:
            kept.append(node)
            continue
        spent = not budget.spend(len(node.attrs["body"].operations()))
        if spent:
            program.notes.add("stopped: its budget is spent", node.op)
            kept.append(node)
            continue
        loop = _Counting(node)
        done = loop.change(subst)
        for what in done:
            program.notes.add(what, node.op)
        if done:
            loop.rebuild()
            program.types.update(n.opdef.type for n in (*loop.before, *loop.after))
        changed += len(done)
        kept += [*loop.before, node, *loop.after]
    if changed:
        program.keep(kept, subst)
    return changed


class _Along(NamedTuple):
    """``step * row + first``, of the row that an iteration scans."""

    step: int
    first: int


class _Counting(LoopParts):
    """A loop whose iterations are known."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.before: list[Node] = []
        self.after: list[Node] = []
        self.known: dict[Tensor, _Along | None] = {}

    def change(self, subst: dict[Value, Value]) -> list[str]:
        """What was done, once for each time."""
        if not self.length:
            return []
        done = [*self._fold_sizes(subst), *self._settle_rows()]
        self._know()
        if not self.known:
            return done
        done += self._fold_counters(subst)
        done += self._scan()
        done += self._stack(subst)
        done += self._share_rows(subst)
        return done

    # -- what is known of every iteration ----------------------------------------------

    def _know(self) -> None:
        """Find the counters."""
        reverse = self.node.attrs["reverse"]
        for t, v in self.rest:
            number = None if v.kind != CONST else integer(v.value)
            if number is not None:
                self.known[t] = _Along(0, number)
        for t, v in self.rows:
            if v.kind == CONST and t.dims == () and t.dtype.is_integer:
                self.known[t] = _progression(v.value[: self.length])
        moving = any(a is not None and a.step for a in self.known.values())
        for i, (t, v) in enumerate(self.carries):
            start = integer(v.value) if v.kind == CONST else None
            step = None if start is None else self._step(t, itself(self.carried[i]))
            if start is None or step is None:
                continue
            limits = np.iinfo(t.dtype.as_numpy_dtype)
            if not limits.min <= start + step * self.length <= limits.max:
                continue
            moving = True
            self.known[t] = _Along(step, start)
            if reverse:
                self.known[t] = _Along(-step, start + step * (self.length - 1))
        if not moving:
            self.known.clear()

    def _step(self, counter: Tensor, new: Tensor) -> int | None:
        """What an iteration adds to a carry, if it is a counter."""
        op = new.op
        if op.type not in ("Add", "Sub") or op.control_inputs or counter.dims != ():
            return None
        a, b = map(itself, op.inputs)
        if b is counter and op.type == "Add":
            a, b = b, a
        found = self.along(b) if a is counter else None
        if found is None or found.step or b.dtype is not counter.dtype:
            return None
        return found.first if op.type == "Add" else -found.first

    def along(self, t: Tensor) -> _Along | None:
        """How an integer goes on from row to row; None where that is not known."""
        t = itself(t)
        if t not in self.known:
            self.known[t] = None
            self.known[t] = self._along(t)
        return self.known[t]

    def _along(self, t: Tensor) -> _Along | None:
        op = t.op
        if not t.dtype.is_integer or t.dims != () or op.control_inputs:
            return None
        if op.opdef.effect == "constant":
            number = integer(t.value)
            return None if number is None else _Along(0, number)
        if op.type == "Neg":
            a = self.along(op.inputs[0])
            return None if a is None else _Along(-a.step, -a.first)
        if op.type not in ("Add", "Sub", "Mul"):
            return None
        if any(i.dtype is not t.dtype for i in op.inputs):
            return None
        a, b = map(self.along, op.inputs)
        if a is None or b is None:
            return None
        if op.type == "Add":
            return _Along(a.step + b.step, a.first + b.first)
        if op.type == "Sub":
            return _Along(a.step - b.step, a.first - b.first)
        if a.step and b.step:
            return None
        return _Along(a.step * b.first + b.step * a.first, a.first * b.first)

    def _index(self, t: Tensor, size: int) -> _Along | None:
        """Where an index goes, if it is in range of ``size`` and never stays."""
        while t.op.type in _VIEWS and not t.op.control_inputs and _count(t) == 1:
            t = t.op.inputs[0]
        found = self.along(t)
        if found is None or (not found.step and self.length > 1):
            return None
        last = found.first + found.step * (self.length - 1)
        return (
            found
            if 0 <= min(found.first, last) <= max(found.first, last) < size
            else None
        )

    # -- numbers that are the same in all iterations ---------------------------------

    def _fold_sizes(self, subst: dict[Value, Value]) -> list[str]:
        """Stacks of sizes that no iteration changes are known."""
        sizes = [t for t, _, _ in self.stacks if t.dtype.is_integer]
        if not sizes or self.length > _MOST:
            return []
        for t, spec in zip(sizes, self.specs(sizes)):
            row = spec.value
            if not isinstance(row, np.ndarray) or row.size > _FEW:
                continue
            array = np.broadcast_to(row, (self.length, *row.shape))
            for _, v, _ in (s for s in self.stacks if s[0] is t):
                subst[v] = constant_value(array, v)
        before = len(self.stacks)
        self.stacks = [s for s in self.stacks if s[1] not in subst]
        return ["a stack of known sizes"] * (before - len(self.stacks))

    def _settle_rows(self) -> list[str]:
        """Sizes that are the same in each row are no rows."""
        if not self.node.attrs["bounded"]:
            return []
        same = [
            (t, v)
            for t, v in self.rows
            if v.kind == CONST and t.dtype.is_integer and v.nbytes <= _SMALL
            if math.prod(v.value.shape[1:]) <= _FEW and (v.value == v.value[0]).all()
        ]
        for t, v in same:
            row = constant(np.array(v.value[0, ...]), v)
            row.tensor = v.tensor
            self.rest.append((t, row))
        self.rows = [pair for pair in self.rows if pair not in same]
        return ["rows that are all the same"] * len(same)

    # -- counters ----------------------------------------------------------------------

    def _fold_counters(self, subst: dict[Value, Value]) -> list[str]:
        """What is read of counters after the loop is known."""
        if self.length > _MOST:
            return []
        done = []
        for i, (t, first) in enumerate(self.carries):
            if self.known.get(t) is None:
                continue
            start, step = integer(first.value), self._step(t, itself(self.carried[i]))
            assert start is not None
            assert step is not None
            states = _integers(_Along(step, start), self.length + 1, t)
            final = self.finals[i]
            if i not in self.unshaped:
                subst[final] = constant_value(states[-1, ...], final)
            if i in self.histories:
                subst[self.histories[i]] = constant_value(states, self.histories[i])
                done.append("the history of a counter")
        for t, v, _ in self.stacks:
            along = self.along(t)
            if along is not None:
                subst[v] = constant_value(_integers(along, self.length, t), v)
                done.append("a stack of known numbers")
        self.stacks = [s for s in self.stacks if s[1] not in subst]
        return done

    # -- rows that are read ------------------------------------------------------------

    def _scan(self) -> list[str]:
        """Scan what is read row by row."""
        given = {t: v for t, v in self.rest if v.kind != VARIABLE and v.static}
        done = []
        for op in self.body_operations():
            read = _row_read(op)
            if read is None:
                continue
            array = given.get(itself(read[0]))
            if array is not None and self._scans(op, array, read[1]):
                done.append("an array that is read row by row")
        return done

    def _scans(self, op: Operation, array: Value, index: Tensor) -> bool:
        """Scan ``array`` in the place of what ``op`` reads of it."""
        out, size = op.outputs[0], array.dims[0]  # type: ignore[index]
        along = self._index(index, size)  # type: ignore[arg-type]
        if along is None:
            return False
        rows = array
        if along != (1, 0) or self.length != size:
            step = along.step if self.length > 1 else 1
            stop = along.first + step * self.length
            key = (along.first, stop if stop >= 0 else None, step)
            rows = self.made(self.before, "Rows", [array], {"key": key}, array)
        self.rows.append((out, rows))
        return True

    def _share_rows(self, subst: dict[Value, Value]) -> list[str]:
        """A stack of rows that are scanned is the scanned array."""
        scanned = dict(self.rows)
        same = [
            s
            for s in self.stacks
            if s[0] in scanned
            and scanned[s[0]].dims == s[1].dims
            and scanned[s[0]].kind != VARIABLE
        ]
        shared = {v: scanned[t] for t, v, _ in same}
        for v, now in subst.items():
            subst[v] = shared.get(now, now)
        subst.update(shared)
        for node in self.after:
            node.redirect(shared)
        self.stacks = [s for s in self.stacks if s not in same]
        return ["a stack of rows that are scanned"] * len(same)

    # -- rows that are set -------------------------------------------------------------

    def _stack(self, subst: dict[Value, Value]) -> list[str]:
        """Stack what is put into carries row by row."""
        readers = self.body_readers()
        ends = Counter([*self.carried, *[t for t, _, _ in self.stacks]])
        gone = set()
        for i, (c, first) in enumerate(self.carries):
            new = self.carried[i]
            if i in self.unshaped or i in self.histories or first.kind == VARIABLE:
                continue
            if not first.dims or not first.static or c in ends or ends[new] > 1:
                continue
            if self.finals[i].dims != first.dims:
                continue
            put = self._put(c, new.op, first, readers)
            if put is None or readers[new]:
                continue
            others = [op for op in readers[c] if op is not new.op]
            reads = [_row_read(op) for op in others]
            # A row is read before it is set, and never again.
            if any(
                read is None
                or read[0] is not c
                or self._index(read[1], first.dims[0]) != put.along  # type: ignore[arg-type]
                for read in reads
            ):
                continue
            for op, read in zip(others, reads):
                assert read is not None
                self._scans(op, first, read[1])
            self._put_after(i, put, subst)
            gone.add(i)
        self.keep_carries([i for i in range(len(self.carries)) if i not in gone])
        return ["rows that are set one by one"] * len(gone)

    def _put(
        self,
        c: Tensor,
        op: Operation,
        first: Value,
        readers: dict[Tensor, list[Operation]],
    ) -> _Put | None:
        """What ``op`` makes of a carry, if it changes one row of it."""
        if op.control_inputs:
            return None
        added = True
        if op.type == "SetRows" and op.inputs[0] is c and not op._attrs["grow"]:
            (_, index, row), added = op.inputs, False
            if index.dims != ():
                return None
        elif op.type == "AddRows" and op.inputs[0] is c:
            _, index, row = op.inputs
            if row.op.type in ("ExpandDims", "Reshape") and not row.op.control_inputs:
                row = row.op.inputs[0]
        elif op.type in ("Add", "AddN") and len(op.inputs) == 2 and is_zero(first):
            a, b = op.inputs
            part = b if a is c else a
            if c not in (a, b) or readers[part] != [op]:
                return None
            if part.op.type != "StridedSliceGrad" or part.op.control_inputs:
                return None
            if not _is_row(part.op) or self.dims_of([part])[0] != first.dims:
                return None
            row, index = part.op.inputs[0], part.op.inputs[2]
        else:
            return None
        along = self._index(index, first.dims[0])  # type: ignore[index, arg-type]
        if along is None or row.dtype is not c.dtype:
            return None
        if self.dims_of([row])[0] != first.dims[1:]:  # type: ignore[index]
            return None
        return _Put(row, along, added)

    def _put_after(self, i: int, put: _Put, subst: dict[Value, Value]) -> None:
        """What a carry comes to, by what its rows were stacked to."""
        first, final = self.carries[i][1], self.finals[i]
        length, along = self.length, put.along
        dims: Any = first.dims
        rows = self.stacked(put.row, dims[1:], final)
        found: Value | None = rows
        if length < dims[0] or (put.added and not is_zero(first)):
            at = [along.first + along.step * row for row in range(length)]
            where = constant(np.array(at, np.int32), final)
            where.tensor = None
            kind, attrs = ("AddRows", {}) if put.added else ("SetRows", {"grow": False})
            found = self.made(self.after, kind, [first, where, rows], attrs, final)
        else:
            if along.step < 0:
                key = (None, None, -1)
                found = self.made(self.after, "Rows", [rows], {"key": key}, final)
            if put.added:  # 0 + -0 is 0
                zero = constant(np.zeros((), final.dtype.dtype), final)
                zero.tensor = None
                found = self.made(self.after, "Add", [found, zero], {}, final)  # type: ignore[list-item]
        assert found is not None
        subst[final] = found


class _Put(NamedTuple):
    """The row that an iteration sets, or adds to what is there, and where."""

    row: Tensor
    along: _Along
    added: bool


def _integers(along: _Along, count: int, like: Tensor) -> Any:
    """The first values, in the dtype of ``like``, where they wrap around."""
    values = np.arange(count, dtype=np.int64) * along.step + along.first
    array = values.astype(like.dtype.as_numpy_dtype)
    array.flags.writeable = False
    return array


def _progression(array: Any) -> _Along | None:
    """The integers of an array, if they go on by one step."""
    if array.ndim != 1 or not array.size:
        return None
    first = int(array[0])
    step = int(array[1]) - first if array.size > 1 else 0
    if any(int(n) != first + step * i for i, n in enumerate(array)):
        return None
    return _Along(step, first)


def _count(t: Tensor) -> int:
    return math.prod(t.dims) if is_static(t.dims) else -1


def _row_read(op: Operation) -> tuple[Tensor, Tensor] | None:
    """(array, index) of what reads ``array[index]``, a row, and nothing else."""
    if op.control_inputs:
        return None
    if op.type == "StridedSlice" and len(op.inputs) == 2 and _is_row(op):
        return op.inputs[0], op.inputs[1]
    if op.type != "GatherV2" or op.inputs[1].dims != ():
        return None
    if op._attrs["axis"] != 0 or op._attrs["batch_dims"]:
        return None
    return op.inputs[0], op.inputs[1]


def _is_row(op: Operation) -> bool:
    """Whether the key is one index of the first axis."""
    first, *rest = op._attrs["spec"]
    return first == "@0" and all(e in (_WHOLE, "...") for e in rest)
