"""Groups of elementwise operations that run as one step.

A group goes over its arrays once: as one native loop, where llvmlite is there and has
compiled it, else through NumPy's own loops in tiles that stay in the cache. Its
intermediate results never leave a tile, so they need no memory in the plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.errors import DagradError
from ..graphlib.opdef import OpDef, Spec
from ..graphlib.operation import Operation
from ..graphlib.records import record
from .failures import run_error
from .plan import Step
from .program import IN_PLANS_ONLY

__all__ = ["FUSED", "Group", "Member", "Tiles", "member_call", "member_error"]

#: Bytes of a tile: those of some arrays stay in a second-level cache together.
TILE_BYTES = 128 * 1024


class Member(NamedTuple):
    """One operation of a group.

    Attributes:
        op, opdef, attrs: as of a node.
        reads: registers: the group's inputs come first, then its members' results.
        dtype: of the result.
    """

    op: Operation
    opdef: OpDef
    attrs: Mapping[str, Any]
    reads: tuple[int, ...]
    dtype: Any


@record(eq=False)
class Group:
    """What a fused step computes.

    Attributes:
        members: in order.
        inputs: (dtype, shape) of each input.
        results: per output, the register that it is.
        dims: the shape of every member's result.
        native: whether it may run as native code ("off", "auto", "wait").
        limited: whether native code may find an argument out of its reach: NumPy then
            computes all anew, so that no output may be where an input is.
        calls: how often it was run, by all frames together.
    """

    members: tuple[Member, ...]
    inputs: tuple[tuple[Any, tuple[int, ...]], ...]
    results: tuple[int, ...]
    dims: tuple[int, ...]
    native: str
    limited: bool = False
    calls: int = 0

    @property
    def flat(self) -> bool:
        """Whether every input is a scalar or as large as the outputs."""
        return all(d == self.dims or math.prod(d) == 1 for _, d in self.inputs)

    @property
    def axis(self) -> int:
        """The axis that tiles cut, where they are not cut from flat arrays."""
        return next((i for i, d in enumerate(self.dims) if d != 1), 0)

    def tile(self) -> tuple[int, ...]:
        """The shape of a full tile."""
        size = max(np.dtype(m.dtype).itemsize for m in self.members)
        count = TILE_BYTES // size
        if self.flat:
            return (min(math.prod(self.dims), count),)
        rest = math.prod(self.dims[self.axis + 1 :])
        rows = max(1, min(self.dims[self.axis], count // max(rest, 1)))
        return (*self.dims[: self.axis], rows, *self.dims[self.axis + 1 :])

    @cached_property
    def last_reads(self) -> dict[int, int]:
        """Per register, the last member that reads it."""
        return {r: k for k, m in enumerate(self.members) for r in m.reads}

    def may_overwrite(self, output: int, given: int) -> bool:
        """Whether an output may take over the memory of an input.

        In tiles an output is written when its member runs: no later one may read
        the input, and that member itself only where its kernel allows it.
        """
        made = self.results[output] - len(self.inputs)
        if self.limited or self.last_reads.get(given, -1) > made:
            return False
        member = self.members[made]
        at = [k for k, r in enumerate(member.reads) if r == given]
        if isinstance(member.opdef.kernel, str) or not at:
            return True
        return len(at) == 1 and at[0] in member.opdef.inplace


def _reference(
    xp: Any, *arrays: Any, group: Group, out: Any = None, work: Any = None
) -> Any:
    """One operation after the other, on whole arrays."""
    registers = list(arrays)
    for m in group.members:
        given = [registers[r] for r in m.reads]
        kernel = m.opdef.kernel
        try:
            if isinstance(kernel, str):
                registers.append(getattr(xp, kernel)(*given))
            else:
                registers.append(kernel(xp, *given, **m.attrs))  # type: ignore[misc]
        except Exception as error:
            raise member_error(m, given, error) from error
    found = tuple([registers[r] for r in group.results])
    if out is not None:
        for target, array in zip(out if isinstance(out, tuple) else (out,), found):
            np.copyto(target, array)
    return found if len(found) > 1 else found[0]


def member_error(m: Member, arrays: Sequence[Any], error: Exception) -> Exception:
    """The error of an operation of a group: it names the user's line of that one."""
    if isinstance(error, DagradError) and error.op is not None:
        return error
    return run_error(Step(m.op, m.opdef, m.attrs, (), (), "out"), arrays, error)


def _workspace(inputs: Any, outputs: Any, attrs: Mapping[str, Any]) -> Any:
    group = attrs["group"]
    return Registers(group).memory(group.tile())


def _transient(inputs: Any, outputs: Any, attrs: Mapping[str, Any]) -> int:
    group = attrs["group"]
    return Registers(group).transient(group.tile())


FUSED = OpDef(
    "_Fused",
    kernel=_reference,
    inputs=("*inputs",),
    workspace=_workspace,
    transient=_transient,
    elementwise=True,
    flops=lambda ins, outs, attrs: sum(
        1 if m.opdef.flops is None else m.opdef.flops(ins, outs, m.attrs)
        for m in attrs["group"].members
    ),
    doc="elementwise operations in one pass over memory",
    **IN_PLANS_ONLY,
)


class Registers:
    """Which tile of scratch memory each intermediate result is in.

    Attributes:
        buffers: the dtype of each tile.
        place: per register, its tile (results and inputs have none).
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.buffers: list[Any] = []
        self.place: dict[int, int] = {}
        last = group.last_reads
        free: list[int] = []
        for k, m in enumerate(group.members):
            register = len(group.inputs) + k
            dying = [
                self.place[r]
                for r in dict.fromkeys(m.reads)
                if last[r] == k and r in self.place
            ]
            if isinstance(m.opdef.kernel, str):
                free += dying  # a ufunc may write where it reads
            if register not in group.results:
                self._take(register, np.dtype(m.dtype), free)
            if not isinstance(m.opdef.kernel, str):
                free += dying

    def _take(self, register: int, dtype: Any, free: list[int]) -> None:
        for i in reversed(free):
            if self.buffers[i] == dtype:
                free.remove(i)
                self.place[register] = i
                return
        self.place[register] = len(self.buffers)
        self.buffers.append(dtype)

    def memory(self, tile: tuple[int, ...]) -> list[tuple[Any, tuple[int, ...]]]:
        """(dtype, shape) of all scratch: the tiles, then what kernels ask for."""
        count = math.prod(tile)
        asked: list[tuple[Any, tuple[int, ...]]]
        asked = [(d, (count,)) for d in self.buffers]
        for m in self.group.members:
            asked += [(d, (math.prod(s),)) for d, s in self.scratch(m, tile)]
        return asked

    def scratch(self, m: Member, tile: tuple[int, ...]) -> list[tuple[Any, Any]]:
        """The scratch that a member's kernel asks for, for one tile."""
        if m.opdef.workspace is None:
            return []
        asked = m.opdef.workspace(*self._specs(m, tile))
        return [(np.dtype(d), tuple(dims)) for d, dims in asked]

    def transient(self, tile: tuple[int, ...]) -> int:
        """The most that one member's kernel allocates for itself, for one tile."""
        return max(
            m.opdef.transient(*self._specs(m, tile)) if m.opdef.transient else 0
            for m in self.group.members
        )

    def _specs(self, m: Member, tile: tuple[int, ...]) -> tuple[Any, Any, Any]:
        inputs = [Spec(self._dtype(r), self._piece(r, tile)) for r in m.reads]
        return inputs, [Spec(m.op.outputs[0].dtype, tile)], m.attrs

    def _dtype(self, r: int) -> Any:
        n = len(self.group.inputs)
        if r < n:
            return self.group.inputs[r][0]
        return self.group.members[r - n].op.outputs[0].dtype

    def _piece(self, r: int, tile: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what a tile reads of a register."""
        group = self.group
        if r >= len(group.inputs) or group.inputs[r][1] == group.dims:
            return tile
        if group.flat:
            return (1,) * len(tile)
        dims = group.inputs[r][1]
        return tuple(min(d, t) for d, t in zip(dims, tile[len(tile) - len(dims) :]))


class Tiles:
    """A group bound to scratch memory: a call runs it tile by tile.

    A tile's calls are ready but for the pieces of arrays, which are written into
    their argument lists; the last tile, smaller, has calls of its own.
    """

    def __init__(self, group: Group, work: Sequence[Any]) -> None:
        self.group = group
        self._work = work
        self._registers = Registers(group)
        self._shape = group.tile()
        self._axis = 0 if group.flat else group.axis
        self._step = self._shape[self._axis]
        total = math.prod(group.dims) if group.flat else group.dims[self._axis]
        self._starts = range(0, total, self._step) if total else range(0)
        rest = total % self._step if total else 0
        self._full = self._calls(self._shape)
        shape = list(self._shape)
        shape[self._axis] = rest
        self._tail = self._calls(tuple(shape)) if rest else self._full

    def _calls(
        self, shape: tuple[int, ...]
    ) -> tuple[list[tuple[Any, list[Any], Member]], list[list[tuple[list[Any], int]]]]:
        """Calls for tiles of a shape, and where they take each array's piece."""
        group, registers = self.group, self._registers
        n = len(group.inputs)
        count = math.prod(shape)
        fixed = {
            r: self._work[i][:count].reshape(shape) for r, i in registers.place.items()
        }
        sites: list[list[tuple[list[Any], int]]] = [
            [] for _ in range(n + len(group.results))
        ]
        calls = []
        at = len(registers.buffers)
        for k, m in enumerate(group.members):
            asked = registers.scratch(m, shape)
            own = tuple(
                w[: math.prod(s)].reshape(s)
                for w, (_, s) in zip(self._work[at:], asked)
            )
            at += len(registers.scratch(m, self._shape))
            args: list[Any] = []
            for r in (*m.reads, n + k):
                array = fixed.get(r)
                if array is None:
                    where = r if r < n else n + group.results.index(r)
                    sites[where].append((args, len(args)))
                args.append(array)
            calls.append((member_call(m, own), args, m))
        return calls, sites

    def __call__(self, *arrays: Any) -> None:
        """Run on the inputs, into the outputs (which come after them)."""
        pieces = [self._pieces(a) for a in arrays]
        last = len(self._starts) - 1
        try:
            for number, start in enumerate(self._starts):
                calls, sites = self._full if number < last else self._tail
                for piece, where in zip(pieces, sites):
                    if where:
                        part = piece(start)
                        for target, k in where:
                            target[k] = part
                for call in calls:
                    f, args, _ = call
                    f(*args)
        except Exception as error:
            _, args, member = call
            raise member_error(member, args, error) from error
        finally:
            for _, sites in (self._full, self._tail):
                for where in sites:
                    for target, k in where:
                        target[k] = None

    def _pieces(self, a: Any) -> Callable[[int], Any]:
        """How the piece of an array for the tile that starts there is found."""
        step = self._step
        if self.group.flat:
            if a.size == 1 and math.prod(self.group.dims) != 1:
                whole = a.reshape(())
                return lambda start: whole
            line = _line(a)
            return lambda start: line[start : start + step]
        axis = self._axis - (len(self.group.dims) - a.ndim)
        if axis < 0 or a.shape[axis] == 1:
            return lambda start: a
        lead = (slice(None),) * axis
        return lambda start: a[(*lead, slice(start, start + step))]


def _line(a: Any) -> Any:
    """The elements in order, to take pieces of: views, or copies piece by piece."""
    if a.flags.c_contiguous:
        return a.reshape(-1)
    if a.size and not any(n > 1 and s for n, s in zip(a.shape, a.strides)):
        # One element, repeated: what gradients of sums and means begin with.
        return np.broadcast_to(a[(*(0,) * a.ndim, ...)], a.size)
    return a.flat


def member_call(m: Member, work: tuple[Any, ...]) -> Callable[..., Any]:
    """A member's kernel as a function of its arrays and its output."""
    kernel = m.opdef.kernel
    if isinstance(kernel, str):
        f = getattr(np, kernel)
        if kernel in ("maximum", "minimum"):  # NumPy 2.4 takes the output by keyword
            return lambda x, y, out: f(x, y, out=out)
        return f  # type: ignore[no-any-return]
    keywords = {**m.attrs, "work": work} if work else dict(m.attrs)

    def call(*arrays: Any) -> None:
        kernel(np, *arrays[:-1], out=arrays[-1], **keywords)  # type: ignore[misc]

    return call
