"""Reductions of rows and the elementwise operations around them, as one step.

A group sees its arrays as rows: those along which it reduces, or all elements as one
row (a *flat* group). Its native form (:mod:`.row_steps`) works on a row while that is
cached; NumPy does so in tiles of whole rows, with the bits of single operations. A flat
group is reduced tile by tile, then the tiles' results are: sums are rounded otherwise
than those of whole arrays, within the same bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.opdef import OpDef, Spec
from ..graphlib.operation import Operation
from ..graphlib.records import record
from .fused import TILE_BYTES, member_call, member_error
from .native.columns import ColumnKernel
from .native.emit import functions, known
from .native.rows import RowKernel
from .native.trace import Tape, Untraceable, trace
from .program import IN_PLANS_ONLY
from .rewrites.common import attrs_key

__all__ = [
    "ROWS",
    "UFUNCS",
    "Members",
    "RowGroup",
    "RowMember",
    "RowMemory",
    "RowTiles",
    "partials",
]

#: Elements of a block that each lane of its vectors adds.
_EACH = 16
#: Bytes of a vector, on every processor: what has narrower ones uses several.
_VECTOR = 64
#: Rows up to here are worked on in masked vectors.
_SHORT = 256
#: Columns that fill vectors of every size.
_WHOLE = 16

#: What reduces: by a member's ``reduce``.
UFUNCS: dict[str, Any] = {
    "sum": np.add,
    "mean": np.add,
    "max": np.maximum,
    "min": np.minimum,
}


#: Kernels of groups, or why there is none; and how many are kept.
_KERNELS: dict[Any, RowKernel | str] = {}
_KEPT = 1024


class RowMember(NamedTuple):
    """One operation of a group.

    Attributes:
        op, opdef, attrs, reads, dtype: as of a member of an elementwise group.
        wide: whether the result has a number for each element, not for each row.
        reduce: "sum", "mean", "max" or "min" of rows; "": elementwise.
        spread: which operands are rows' numbers where the operation was given them
            repeated for each element.
    """

    op: Operation
    opdef: OpDef
    attrs: Mapping[str, Any]
    reads: tuple[int, ...]
    dtype: Any
    wide: bool
    reduce: str = ""
    spread: tuple[int, ...] = ()


@record(eq=False)
class RowGroup:
    """What a step computes.

    Attributes:
        members: in order.
        inputs: (dtype, move) of each input; the moves are those of a RowKernel.
        results: per output, the register that it is (inputs first, then members).
        shapes: per output.
        rows, length: the number of rows and of their elements; one row: flat.
        native: "auto" or "wait".
        columns: whether leading axes are reduced: then ``rows`` is the number of
            columns, and ``length`` that of the elements of each.
        calls: how often it was run, by all frames together.
    """

    members: tuple[RowMember, ...]
    inputs: tuple[tuple[Any, str], ...]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    rows: int
    length: int
    native: str
    columns: bool = False
    calls: int = 0

    @property
    def flat(self) -> bool:
        """Whether all elements are one row."""
        return self.rows == 1

    @cached_property
    def moves(self) -> str:
        """How each array moves, as of a kernel."""
        given = "".join(move for _, move in self.inputs)
        return given + "".join("1" if self.wide(r) else "0" for r in self.results)

    def wide(self, register: int) -> bool:
        """Whether a register has a number for each element."""
        n = len(self.inputs)
        if register < n:
            return self.inputs[register][1] == "1"
        return self.members[register - n].wide

    def dtype(self, register: int) -> Any:
        """The DType of a register."""
        n = len(self.inputs)
        if register < n:
            return self.inputs[register][0]
        return self.members[register - n].op.outputs[0].dtype

    @cached_property
    def last_reads(self) -> dict[int, int]:
        """Per register, the last member that reads it."""
        return {r: k for k, m in enumerate(self.members) for r in m.reads}

    def may_overwrite(self, output: int, given: int) -> bool:
        """Whether an output may take over the memory of an input of its shape."""
        made = self.results[output] - len(self.inputs)
        if self.flat or (given, output) in self.kernel.schedule.unsafe():
            return False
        if self.wide(given) != self.wide(self.results[output]):
            return False
        if self.inputs[given][1] in "cs":
            return False  # every row reads it
        if self.columns and not self.wide(given):
            return False  # every pass may read it
        member = self.members[made]
        last = self.last_reads.get(given, -1)
        return last < made or (last == made and isinstance(member.opdef.kernel, str))

    @property
    def block(self) -> int:
        """The elements of a flat group that are reduced by lanes; NumPy reduces the
        results of such blocks."""
        return _EACH * math.prod(self.kernel.lanes)

    @cached_property
    def kernel(self) -> RowKernel:
        """What is compiled; of a flat group a row is a block.

        Raises:
            Untraceable: there is no native form, or a poor one.
        """
        # The layers of a network are groups of one kind.
        key = (
            tuple([(m.opdef, attrs_key(m.attrs), m.reads, m.op.outputs[0].dtype,
                    m.dtype, m.wide, m.reduce) for m in self.members]),
            self.inputs, self.results, self.length, self.flat, self.columns, self.short,
        )  # fmt: skip
        found = _KERNELS.get(key)
        if found is None:
            if len(_KERNELS) >= _KEPT:
                _KERNELS.clear()
            try:
                found = self._traced()
            except Untraceable as error:
                found = str(error)
            _KERNELS[key] = found
        if isinstance(found, str):
            raise Untraceable(found)
        return found

    def _traced(self) -> RowKernel:
        tape = Tape(known)
        refs = [tape.input(k, d.dtype) for k, (d, _) in enumerate(self.inputs)]
        for m in self.members:
            given = [refs[r] for r in m.reads]
            refs.append(self._reduced(tape, m, given[0]) if m.reduce else
                        trace(tape, m.opdef, m.attrs, given))  # fmt: skip
        results = tuple([refs[r] for r in self.results])
        registers = (*range(len(self.inputs)), *self.results)
        dtypes = tuple(self.dtype(r).dtype.str for r in registers)
        lanes = _lanes(tape, dtypes) if self.flat else (0, 0)
        kind = ColumnKernel if self.columns else RowKernel
        kernel = kind(
            tuple(tape.code), results, dtypes, 1, self.moves, self.short, lanes
        )
        _require(kernel)
        return kernel

    @property
    def short(self) -> bool:
        """Whether the innermost loop fills few vectors, and not all of the last."""
        if self.columns:
            return self.rows <= _SHORT and self.rows % _WHOLE > 0
        return not self.flat and self.length <= _SHORT

    def _reduced(self, tape: Tape, m: RowMember, ref: int) -> int:
        if m.reduce in ("max", "min"):
            return tape.reduce(m.reduce, ref)
        total = tape.reduce("sum", ref)
        if m.reduce == "sum" or self.flat:
            return total
        return tape.ufunc(np.true_divide, (total, (self.length,)))


def _lanes(tape: Tape, dtypes: Sequence[str]) -> tuple[int, int]:
    """Elements of a vector, and vectors side by side: one where functions need the
    registers."""
    size = max(np.dtype(d).itemsize for d in dtypes)
    dear = any(name in functions(dtype) for name, dtype, *_ in tape.code)
    return _VECTOR // size, 1 if dear else 4


def _require(kernel: RowKernel) -> None:
    """Refuse what the code of rows cannot do, or would compute more than once."""
    schedule, code = kernel.schedule, kernel.code
    if kernel.limited:
        raise Untraceable("a function that is right within a reach only")
    for r, i in zip(kernel.results, range(kernel.inputs, len(kernel.dtypes))):
        if code[r][1] != kernel.dtypes[i]:
            raise Untraceable("a result of another dtype")
        if schedule.wide[r] != (kernel.moves[i] == "1"):
            raise Untraceable("a result that is the same along a row")
    for i, (name, dtype, *operands) in enumerate(code):
        if name.startswith("reduce_") and not schedule.wide[operands[0]]:
            raise Untraceable("a reduction of what is the same along a row")
        if schedule.wide[i] and name in functions(dtype):
            again = [p for p in schedule.passes if i in p]
            if len(again) > 1 and i not in schedule.kept:
                raise Untraceable("a function that two passes would compute")


def partials(group: RowGroup) -> int:
    """How many parts of a flat group are reduced before their results are."""
    step = _tile_step(group)
    return -(-group.length // min(group.block, step))


def _tile_step(group: RowGroup) -> int:
    """Elements (of a flat group) or rows of a tile."""
    size: int = max(np.dtype(m.dtype).itemsize for m in group.members)
    count = TILE_BYTES // size
    if group.flat:
        return max(1, min(group.length, count))
    return max(1, min(group.rows, count // group.length))


class RowMemory:
    """Scratch memory: (dtype, elements) of each array, and which register is where.

    Attributes:
        arrays: the scratch.
        place: member -> the scratch of its result, which is no output.
        own: member -> the first scratch that its kernel asks for.
        parts: output -> the scratch of its parts' results (of flat groups).
    """

    def __init__(self, group: RowGroup) -> None:
        self.group = group
        self.step = self.tile()
        self.arrays: list[tuple[Any, tuple[int, ...]]] = []
        self.place: dict[int, int] = {}
        self.own: dict[int, int] = {}
        self.parts: dict[int, int] = {}
        last = group.last_reads
        n = len(group.inputs)
        free: list[tuple[Any, bool, int]] = []
        for k, m in enumerate(group.members):
            dying = [
                (np.dtype(group.members[r - n].dtype), group.wide(r), self.place[r - n])
                for r in dict.fromkeys(m.reads)
                if last[r] == k and r - n in self.place
            ]
            if isinstance(m.opdef.kernel, str) or m.reduce:
                free += dying  # a ufunc may write where it reads
            if n + k not in group.results:
                self._take(k, free)
            if not (isinstance(m.opdef.kernel, str) or m.reduce):
                free += dying
        for k, m in enumerate(group.members):
            self.own[k] = len(self.arrays)
            asked = self.scratch(m, self.step)
            self.arrays += [(d, (math.prod(s),)) for d, s in asked]
        if group.flat:
            for j, r in enumerate(group.results):
                if not group.wide(r):
                    self.parts[j] = len(self.arrays)
                    dtype = np.dtype(group.members[r - n].dtype)
                    self.arrays.append((dtype, (partials(group),)))

    def _take(self, k: int, free: list[tuple[Any, bool, int]]) -> None:
        m = self.group.members[k]
        dtype = np.dtype(m.dtype)
        for entry in reversed(free):
            if entry[:2] == (dtype, m.wide) and self.reuses(m):
                free.remove(entry)
                self.place[k] = entry[2]
                return
        self.place[k] = len(self.arrays)
        self.arrays.append((dtype, (math.prod(self.shape(m.wide, self.step)),)))

    def tile(self) -> int:
        """Elements (of a flat group) or rows of a tile."""
        return _tile_step(self.group)

    def reuses(self, m: RowMember) -> bool:
        """Whether a result may be where another one was."""
        return True

    def line(self, step: int) -> tuple[int, int]:
        """The shape of a tile's numbers that are read along the other axis."""
        return (1, self.group.length)

    def shape(self, wide: bool, step: int) -> tuple[int, int]:
        """The shape of a register in a tile."""
        if self.group.flat:
            return (1, step if wide else 1)
        return (step, self.group.length if wide else 1)

    def _piece(self, r: int, step: int) -> tuple[int, ...]:
        """The shape of what a tile reads of a register."""
        move = self.group.inputs[r][1] if r < len(self.group.inputs) else ""
        if move == "c":
            return self.line(step)
        return () if move == "s" else self.shape(self.group.wide(r), step)

    def scratch(self, m: RowMember, step: int) -> list[tuple[Any, Any]]:
        """The scratch that a member's kernel asks for, for one tile."""
        if m.opdef.workspace is None or m.reduce:
            return []
        asked = m.opdef.workspace(*self._specs(m, step))
        return [(np.dtype(d), tuple(dims)) for d, dims in asked]

    def transient(self) -> int:
        """The most that one member's kernel allocates for itself, for one tile."""
        return max(
            m.opdef.transient(*self._specs(m, self.step))
            if m.opdef.transient and not m.reduce
            else 0
            for m in self.group.members
        )

    def _specs(self, m: RowMember, step: int) -> tuple[Any, Any, Any]:
        group = self.group
        whole = self.shape(m.wide, step)
        inputs = [
            Spec(
                group.dtype(r),
                whole if k in m.spread else self._piece(r, step),
            )
            for k, r in enumerate(m.reads)
        ]
        return inputs, [Spec(m.op.outputs[0].dtype, whole)], m.attrs


def _workspace(inputs: Any, outputs: Any, attrs: Mapping[str, Any]) -> Any:
    return _tiles_of(attrs["group"])[0](attrs["group"]).arrays


def _transient(inputs: Any, outputs: Any, attrs: Mapping[str, Any]) -> int:
    return int(_tiles_of(attrs["group"])[0](attrs["group"]).transient())


def _tiles_of(group: RowGroup) -> tuple[Any, Any]:
    """The scratch memory and the tiles of a group."""
    if not group.columns:
        return RowMemory, RowTiles
    from .column_groups import ColumnMemory, ColumnTiles

    return ColumnMemory, ColumnTiles


class Members:
    """The members of a group, ready to run on tiles: each with its scratch memory."""

    def __init__(self, memory: RowMemory, work: Sequence[Any]) -> None:
        self._members = memory.group.members
        self._memory = memory
        self._work = work
        self._calls: dict[tuple[int, int], Any] = {}
        self._scratch: dict[tuple[int, int], Any] = {}

    def scratch(self, k: int, step: int) -> Any:
        """Where the result of member ``k`` is, for tiles of a size; None: an output."""
        found = self._scratch.get((k, step))
        if found is None and k in self._memory.place:
            shape = self._memory.shape(self._members[k].wide, step)
            whole = self._work[self._memory.place[k]]
            found = whole[: math.prod(shape)].reshape(shape)
            self._scratch[k, step] = found
        return found

    def run(self, k: int, registers: Any, target: Any, step: int) -> None:
        """Run member ``k`` on a tile's registers."""
        m = self._members[k]
        call = self._calls.get((k, step))
        if call is None:
            call = self._calls[k, step] = self._bound(k, step)
        given = [registers[r] for r in m.reads]
        for i in m.spread:
            given[i] = np.broadcast_to(given[i], target.shape)
        try:
            call(*given, target)
        except Exception as error:
            raise member_error(m, given, error) from error  # type: ignore[arg-type]

    def _bound(self, k: int, step: int) -> Any:
        memory, m = self._memory, self._members[k]
        if m.reduce:
            return _reduction(m.reduce, memory.group)
        own = tuple(
            w[: math.prod(s)].reshape(s)
            for w, (_, s) in zip(self._work[memory.own[k] :], memory.scratch(m, step))
        )
        return member_call(m, own)  # type: ignore[arg-type]


class RowTiles:
    """A group bound to scratch memory: a call runs it by NumPy, tile by tile."""

    def __init__(self, group: RowGroup, work: Sequence[Any]) -> None:
        self.group = group
        self.memory = RowMemory(group)
        self.work = work
        self._axis = 1 if group.flat else 0
        self._total = group.length if group.flat else group.rows
        self._members = Members(self.memory, work)

    def parts(self, output: int) -> Any:
        """The results of an output's parts."""
        return self.work[self.memory.parts[output]]

    def __call__(self, *arrays: Any) -> None:
        """Run on the inputs, into the outputs (which come after them)."""
        group, step = self.group, self.memory.step
        n = len(group.inputs)
        views = [self._view(a, move) for a, move in zip(arrays, group.moves)]
        for number, start in enumerate(range(0, self._total, step)):
            stop = min(start + step, self._total)
            pieces = [self._piece(v, start, stop) for v in views]
            for j in self.memory.parts:
                part = self.parts(j)[number : number + 1]
                pieces[n + j] = part.reshape(1, 1)
            self._tile(pieces, stop - start)
        count = -(-self._total // step)
        self.finish(arrays[n:], count)

    def finish(self, outputs: Sequence[Any], count: int) -> None:
        """Reduce the results of ``count`` parts of a flat group."""
        group = self.group
        for j in self.memory.parts:
            m = group.members[group.results[j] - len(group.inputs)]
            out = outputs[j].reshape(())
            # Doubles, as it costs nothing here; of doubles NumPy adds pairs.
            wide = np.float64 if m.reduce in ("sum", "mean") else None
            out[...] = UFUNCS[m.reduce].reduce(self.parts(j)[:count], dtype=wide)
            if m.reduce == "mean":
                np.true_divide(out, group.length, out)

    def _view(self, a: Any, move: str) -> Any:
        group = self.group
        if move == "s":
            return a[(0,) * a.ndim + (...,)]  # it may be one number, repeated
        rows = group.rows if move in "01" else 1
        return a.reshape(rows, group.length if move in "1c" else 1)

    def _piece(self, v: Any, start: int, stop: int) -> Any:
        if v.ndim == 0 or v.shape[self._axis] == 1:
            return v
        return v[:, start:stop] if self._axis else v[start:stop]

    def _tile(self, pieces: Sequence[Any], step: int) -> None:
        group, members = self.group, self._members
        n = len(group.inputs)
        registers = list(pieces[:n])
        for k in range(len(group.members)):
            target = members.scratch(k, step)
            if target is None:
                target = pieces[n + group.results.index(n + k)]
            members.run(k, registers, target, step)
            registers.append(target)


def _reduction(how: str, group: RowGroup) -> Any:
    """A reduction of a tile's rows; of a flat group, of its one part."""
    reduce: Any = UFUNCS[how].reduce
    length = group.length if how == "mean" and not group.flat else 0

    def call(x: Any, out: Any) -> None:
        reduce(x, 1, None, out, True)
        if length:
            np.true_divide(out, length, out)

    return call


def _kernel(
    xp: Any, *arrays: Any, group: RowGroup, out: Any = None, work: Any = None
) -> Any:
    """By NumPy, as a plan's step does until there is native code."""
    memory, tiles = _tiles_of(group)
    if work is None:
        work = [np.empty(dims, dtype) for dtype, dims in memory(group).arrays]
    if out is None:
        made = [
            np.empty(dims, group.dtype(r).dtype)
            for r, dims in zip(group.results, group.shapes)
        ]
        out = tuple(made) if len(made) > 1 else made[0]
    outputs = out if isinstance(out, tuple) else (out,)
    tiles(group, work)(*arrays, *outputs)
    return out


ROWS = OpDef(
    "_Rows",
    kernel=_kernel,
    inputs=("*inputs",),
    workspace=_workspace,
    transient=_transient,
    flops=lambda ins, outs, attrs: (
        attrs["group"].rows * attrs["group"].length * len(attrs["group"].members)
    ),
    doc="reductions of rows with the elementwise operations around them",
    **IN_PLANS_ONLY,
)
