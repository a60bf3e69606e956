"""Where each value of a program lives: from nodes to slots, steps and bytes.

Everything about memory is decided here, in integers; the executors only follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.shapes import is_static
from ..graphlib.subgraph import variable_of
from .hazards import Accesses
from .liveness import lifetimes
from .memory import place
from .natively import with_panel
from .placing import c_strides, place_parts
from .plan import (
    ARENA,
    CALL,
    CONST,
    FEED,
    FETCH,
    GROUP_TYPES,
    SAME,
    VARIABLE,
    VIEW,
    Plan,
    Region,
    Slot,
    Step,
)
from .program import Node, Program, Value, wrong_shapes
from .schedule import Order, Problem, simulate
from .settings import Settings
from .views import RESHAPES

if TYPE_CHECKING:
    from .body_plans import BodyKey
    from .fused import Group
    from .row_groups import RowGroup

__all__ = ["Layout"]

_WRITES = ("assign", "update")
_UNPLACED: tuple[int, None] = (0, None)
#: Bytes from which a copy costs more than a view in each run.
_LARGE = 64 * 1024


class Layout:
    """Where each value of a program lives; builds the scheduler's problem."""

    def __init__(
        self,
        program: Program,
        accesses: Accesses,
        whole: bool,
        same: dict[Value, Value],
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.program = program
        self.whole = whole
        self.same = same
        self.accesses = accesses
        self.values: list[Value] = []
        self.index: dict[Value, int] = {}
        self.kind: list[str] = []
        self.owner: list[int] = []
        # (offset, strides) in the owner's memory of views whose place is known.
        self.place: dict[int, tuple[int, tuple[int, ...]]] = {}
        self.mode: list[str] = []
        # Per node, the slots that it reads and makes.
        self.ins: list[tuple[int, ...]] = []
        self.outs: list[tuple[int, ...]] = []
        self.copies: set[Node] = set()
        self.bodies = self._plan_bodies()
        self.handed_out = self._handed_out()
        for v in program.feeds:
            self._add(v, FEED)
        for node in program.nodes:
            for v in node.inputs:
                if v not in self.index:
                    self._add_source(v)
            self.mode.append(self._outputs(node))
            self.ins.append(tuple([self.index[v] for v in node.inputs]))
            self.outs.append(tuple([self.index[v] for v in node.outputs]))
        for v in program.fetches:
            if v not in self.index:
                self._add_source(v)

    # -- where values live ---------------------------------------------------

    def _add(self, v: Value, kind: str, owner: int | None = None) -> int:
        i = len(self.values)
        self.index[v] = i
        self.values.append(v)
        self.kind.append(kind)
        self.owner.append(i if owner is None else owner)
        return i

    def _add_source(self, v: Value) -> int:
        if v.kind == "const":
            return self._add(v, CONST)
        if v.kind == "variable":
            return self._add(v, VARIABLE)
        return self._add(v, FEED)

    def _outputs(self, node: Node) -> str:
        """Place the outputs of a node; returns the mode of its step."""
        opdef = node.opdef
        if opdef.effect in _WRITES or (
            opdef.alias is not None and node.outputs[0] in self.accesses.root
        ):
            return self._variable_outputs(node)
        if opdef.alias is not None:
            return self._view(node)
        if not node.outputs:
            return "none" if opdef.effect is None else "call"
        can_write = isinstance(opdef.kernel, str) or opdef.writes_out
        if not (can_write or opdef.bind) or not all(v.static for v in node.outputs):
            for v in node.outputs:
                self._add(v, CALL)
            return "call"
        for v in node.outputs:
            old = self.same.get(v)
            if old is None:
                self._add(v, self._planned(v))
            else:
                self._add(v, SAME, self.index[old])
        return "out"

    def _planned(self, v: Value) -> str:
        """The kind of a value whose memory is planned."""
        return FETCH if v in self.handed_out and (v.dims or self.whole) else ARENA

    def _handed_out(self) -> set[Value]:
        """Values whose memory the caller gets: fetched, or fetched in another shape.

        A large array that is reshaped and fetched need not be copied from the arena.
        """
        found = set(self.program.fetches)
        for v in () if self.whole else self.program.fetches:
            root = v
            while root.node is not None and root.node.opdef.type in RESHAPES:
                root = root.node.inputs[0]
            if root.static and root.nbytes >= _LARGE:
                found.add(root)
        return found

    def _variable_outputs(self, node: Node) -> str:
        """Writes of a variable, and views of one: the memory is the session's."""
        opdef = node.opdef
        out = node.outputs[0]
        variable = self.accesses.root[out]
        owner = self.index[variable]
        write = opdef.effect in _WRITES
        for v in node.outputs[1:]:
            self._add(v, CALL)
        known = variable.static and out.static
        if variable in self.accesses.assigned or not known:
            self._add(out, CALL, owner)
            return "write" if write else "call"
        if write:
            i = self._add(out, VIEW, owner)
            self.place[i] = 0, c_strides(variable.dims, variable.dtype.size)
            return "write"
        return self._view(node)

    def _shadows(self, i: int) -> tuple[Any, Any]:
        """Arrays laid out as slot ``i`` and its owner will be.

        Nothing is read or written in them, so they take no physical memory.
        """
        owner = self.owner[i]
        v = self.values[owner]
        whole = v.value if v.kind == "const" else np.empty(_dims(v), v.dtype.dtype)
        if i == owner:
            return whole, whole
        offset, strides = self.place[i]
        mine = self.values[i]
        if not mine.nbytes:
            return np.empty(_dims(mine), mine.dtype.dtype), whole
        view = np.ndarray(
            _dims(mine), mine.dtype.dtype, buffer=whole, offset=offset, strides=strides
        )
        return view, whole

    def _view(self, node: Node) -> str:
        """An output that is a view of an input, found out before the run if it
        can be."""
        opdef = node.opdef
        assert opdef.alias is not None
        source = node.inputs[opdef.alias]
        out = node.outputs[0]
        i = self.index[source]
        owner = self.owner[i]
        rest_known = all(
            v.kind == "const" for k, v in enumerate(node.inputs) if k != opdef.alias
        )
        known = (
            source.static
            and out.static
            and rest_known
            and self.kind[owner] in (ARENA, CONST, VARIABLE)
            and (self.kind[i] != CALL)
            # A folded broadcast repeats its memory: no buffer to view.
            and (
                self.kind[owner] != CONST or self.values[owner].value.flags.c_contiguous
            )
            and not (
                self.kind[owner] == VARIABLE
                and self.values[owner] in self.accesses.assigned
            )
        )
        if not known:
            self._add(out, CALL, owner)
            return "call"
        base, whole = self._shadows(i)
        arrays = [base if v is source else v.value for v in node.inputs]
        try:
            view = opdef.kernel(  # type: ignore[operator,misc]
                np, *arrays, **node.attrs
            )
        except Exception as error:
            raise wrong_shapes(node, error) from error
        if view.size and not np.may_share_memory(view, whole):
            # No such view of this layout (a reshape after a transpose): copy.
            self.copies.add(node)
            self._add(out, self._planned(out))
            return "out"
        k = self._add(out, VIEW, owner)
        start = view.__array_interface__["data"][0]
        offset = start - whole.__array_interface__["data"][0] if view.size else 0
        self.place[k] = offset, view.strides
        return "view"

    # -- the scheduler's problem ---------------------------------------------

    def problem(self) -> Problem:
        """What the scheduler sees: owners as buffers, nodes in creation order."""
        nodes = self.program.nodes
        position = {n: i for i, n in enumerate(nodes)}
        owner, index, kind = self.owner, self.index, self.kind
        reads, writes, after, work, inplace = [], [], [], [], []
        nbytes = [0] * len(self.values)
        self.work: list[Any] = []
        for node, mode, mine, made in zip(nodes, self.mode, self.ins, self.outs):
            reads.append([owner[i] for i in mine])
            own = [i for i in made if owner[i] == i]
            writes.append(own)
            for i in own:
                # Fetched arrays are there for the whole run, whatever the order.
                nbytes[i] = 0 if kind[i] == FETCH else self.values[i].nbytes
            waits = [position[n] for n in node.after] if node.after else []
            for v, i in zip(node.inputs, mine):
                if owner[i] != i and v.node is not None:
                    waits.append(position[v.node])
            after.append(waits)
            scratch: Any = ()
            if node.opdef.workspace is not None and mode in ("out", "write"):
                asked = node.opdef.workspace(node.inputs, node.outputs, node.attrs)
                if all(is_static(dims) for _, dims in asked):  # else it allocates
                    scratch = tuple((np.dtype(d), tuple(dims)) for d, dims in asked)
                    if mode == "out":
                        native, shared = self.settings.native, bool(self.settings.intra)
                        scratch = with_panel(node, scratch, native, shared)
            if node in self.bodies and mode == "out":
                from .body_plans import spare_buffers

                spent: tuple[int, ...] = ()
                if "schedule" in node.attrs:
                    from .segment_plans import arena_readers, spendable

                    fetched = tuple(index[v] for v in self.program.fetches)
                    times = arena_readers(kind, owner, [*self.ins, fetched])
                    spent = spendable(node.attrs, mine, times)
                scratch = spare_buffers(node, self.bodies[node], spent)
            self.work.append(scratch)
            work.append(_scratch_bytes(scratch) if scratch else 0)
            pairs: Sequence[tuple[int, int]] = ()
            if mode == "out" and node.opdef.inplace and len(made) == 1:
                pairs = self._takeovers(node, mine, made[0])
            elif mode == "out" and node.opdef.type in GROUP_TYPES:
                pairs = self._fused(node.attrs["group"], mine, made)
            elif mode == "out" and node.attrs.get("overwritten"):
                pairs = self._overwritten(node, mine, made)
            inplace.append(pairs)
        kept = frozenset(
            owner[index[v]]
            for v in self.program.fetches
            if kind[owner[index[v]]] in (ARENA, FETCH, CALL)
        )
        return Problem(reads, writes, after, nbytes, kept, work, inplace)

    def _takeovers(
        self, node: Node, mine: tuple[int, ...], out: int
    ) -> list[tuple[int, int]]:
        """(output, input) buffers that may share memory."""
        pairs: list[tuple[int, int]] = []
        if self.kind[out] != ARENA or node in self.copies:
            return pairs
        v_out = self.values[out]
        for k in node.opdef.inplace:
            if k >= len(mine):
                break
            i = mine[k]
            v = self.values[i]
            if v.dims != v_out.dims or v.dtype is not v_out.dtype:
                continue
            own = self.owner[i]
            if self.kind[own] != ARENA or not self.covers(i, own):
                continue
            # Where the same memory is read twice, a kernel of several passes
            # would read what it wrote; one ufunc reads the same places first.
            one_pass = isinstance(node.opdef.kernel, str)
            for at, j in enumerate(mine):
                if at == k or self.owner[j] != own:
                    continue
                if not one_pass or (j != i and not self._same_layout(i, j)):
                    break
            else:
                pairs.append((out, own))
        return pairs

    def _fused(
        self, group: Group | RowGroup, mine: tuple[int, ...], made: tuple[int, ...]
    ) -> list[tuple[int, int]]:
        """The same of a fused operation: each output may take over an input."""
        owners = [self.owner[i] for i in mine]
        pairs = []
        for k, out in enumerate(made):
            v = self.values[out]
            for given, i in enumerate(mine):
                own = owners[given]
                if (
                    self.kind[out] == self.kind[own] == ARENA
                    and self.values[i].dims == v.dims
                    and self.values[i].dtype is v.dtype
                    and owners.count(own) == 1
                    and self.covers(i, own)
                    and group.may_overwrite(k, given)
                ):
                    pairs.append((out, own))
        return pairs

    def _overwritten(
        self, node: Node, mine: tuple[int, ...], made: tuple[int, ...]
    ) -> list[tuple[int, int]]:
        """The same of an operation whose last outputs are the inputs with the role
        "states", which it overwrites."""
        given = [mine[i] for i in node.attrs["roles"]["states"]]
        return [
            (out, i)
            for out, i in zip(made[-len(given) :], given)
            if self.kind[out] == self.kind[i] == ARENA and self.owner[i] == i
        ]

    def covers(self, i: int, own: int) -> bool:
        """Whether slot ``i`` is all of its owner's memory, in C order."""
        if i == own:
            return True
        known = self.place.get(i)
        if known is None or known[0] != 0:
            return False
        v = self.values[i]
        return (
            known[1] == c_strides(v.dims, v.dtype.size)
            and v.nbytes == self.values[own].nbytes
        )

    def _same_layout(self, i: int, j: int) -> bool:
        a, b = self.values[i], self.values[j]
        return a.dims == b.dims and self.covers(j, self.owner[j])

    # -- the plan ------------------------------------------------------------

    def plan(self, problem: Problem, best: Order, seconds: float) -> Plan:
        """Follow the order: parts of joins, lifetimes, placement, steps."""
        joined = place_parts(self, problem, best.nodes, best.peak)
        problem, kind, owner = joined.problem, joined.kind, joined.owner
        nodes = joined.nodes
        regions = self._regions(problem, nodes)
        if regions:
            from .regions import live_apart, no_takeovers_across, place_apart

            problem = no_takeovers_across(problem, nodes, regions)
        spans = lifetimes(problem, nodes)
        values = self.values
        # Storage groups that live in the arena, then scratch.
        intervals: list[tuple[int, int, int]] = []
        at: dict[int, int] = {}
        for i in range(len(values)):
            g = spans.group[i]
            if kind[i] == ARENA and g >= 0 and g not in at:
                at[g] = len(intervals)
                intervals.append(spans.groups[g])
        scratch_at: dict[int, int] = {}
        for step, n in enumerate(nodes):
            if self.work[n]:
                scratch_at[n] = len(intervals)
                intervals.extend((step, step, _size(d, s)) for d, s in self.work[n])
        placed = place_apart(intervals, regions) if regions else place(intervals)
        slots = []
        for i, v in enumerate(values):
            offset, strides = joined.place.get(i, _UNPLACED)
            g = spans.group[i]
            if g >= 0 and kind[i] == ARENA:
                offset = placed.offsets[at[g]]
            slots.append(
                Slot(
                    kind[i],
                    v.tensor,
                    v.dtype,
                    v.dims,
                    v.nbytes,
                    owner[i],
                    offset,
                    strides,
                    v.value if kind[i] == CONST else None,
                    spans.first[i],
                    spans.last[i],
                    g,
                )
            )
        steps: list[Step] = []
        index = self.index
        ends = self._ends(nodes)
        shares = spans.shares
        for step, n in enumerate(nodes):
            node = self.program.nodes[n]
            made = self.outs[n]
            work: tuple[tuple[int, Any, tuple[int, ...]], ...] = ()
            if self.work[n]:
                first = scratch_at[n]
                offsets = placed.offsets[first : first + len(self.work[n])]
                work = tuple((o, d, s) for o, (d, s) in zip(offsets, self.work[n]))
            over: tuple[tuple[int, int], ...] = ()
            for o in made:
                if o in shares:
                    over += ((o, shares[o]),)
            steps.append(
                Step(
                    node.op,
                    node.opdef,
                    node.attrs,
                    self.ins[n],
                    made,
                    self.mode[n],
                    work,
                    ends.get(step, ()),
                    over,
                    node in self.copies,
                    joined.parts.get(n, ()),
                )
            )
        live = simulate(problem, nodes).bytes
        if regions:
            work_of = [(i, i, problem.work[n]) for i, n in enumerate(nodes)]
            live = live_apart([*spans.groups, *work_of], regions, len(nodes))
        fetched = self._fetch_bytes()
        bodies = [pair for pairs in self.bodies.values() for pair in pairs]
        transient, told = self._transient_bytes(), True
        if self.bodies:
            from .body_plans import body_bytes, tells_all

            transient = max(transient, *map(body_bytes, self.bodies.values()))
            told = all(tells_all(node, plans) for node, plans in self.bodies.items())
        transient *= max((len(r.branches) for r in regions), default=1)
        accesses = self.accesses
        variables = tuple(i for i, k in enumerate(kind) if k == VARIABLE)
        return Plan(
            steps=tuple(steps),
            slots=tuple(slots),
            feeds=tuple(index[v] for v in self.program.feeds),
            fetches=tuple(index[v] for v in self.program.fetches),
            live_bytes=tuple([n + fetched for n in live]),
            peak_bytes=max(live, default=0) + fetched + transient,
            transient_bytes=transient,
            arena_bytes=placed.total,
            fetch_bytes=fetched,
            exact=told and all(k != CALL or owner[i] != i for i, k in enumerate(kind)),
            order=next(k for k, p in best.tried.items() if p == best.peak),
            tried={k: n + fetched for k, n in best.tried.items()},
            rewrites=tuple(self.program.log),
            variables=variables,
            assigned=frozenset(index[v] for v in accesses.assigned),
            required={
                index[v]: None if n is None else n.op
                for v, n in accesses.required.items()
                if v in index
            },
            updated=frozenset(index[v] for v in accesses.writes),
            variable_ops={i: variable_of(values[i].tensor.op) for i in variables},  # type: ignore[union-attr]
            writes=bool(accesses.writes),
            bodies=dict(bodies),
            seconds=seconds,
            changes=self.program.notes.all(),
            regions=regions,
        )

    def _regions(self, problem: Problem, nodes: Sequence[int]) -> tuple[Region, ...]:
        """The stretches of the order that threads share, if there may be several."""
        threads = self.settings.inter
        if threads < 2:
            return ()
        from .costs import microseconds
        from .regions import find_regions

        own = self.program.nodes
        allowed = [
            n.opdef.effect is None
            and n.opdef.control is None
            # What declares no flops and allocates may be a user's Python.
            and (mode != "call" or n.opdef.flops is not None)
            for n, mode in zip(own, self.mode)
        ]
        costs = [
            microseconds(n.opdef, n.inputs, n.outputs, n.attrs) if may else 0.0
            for n, may in zip(own, allowed)
        ]
        return find_regions(problem, nodes, costs, allowed, threads)

    def _plan_bodies(self) -> dict[Node, list[tuple[BodyKey, Plan]]]:
        """The plans of the bodies of control nodes, where their shapes are known."""
        known: dict[BodyKey, Plan] = {}
        found: dict[Node, list[tuple[BodyKey, Plan]]] = {}
        for node in self.program.nodes:
            if node.opdef.control is None:
                continue
            from .body_plans import keys_of, plan_body

            found[node] = []
            for key in keys_of(node):
                if key not in known:
                    try:
                        known[key] = plan_body(key, self.settings)
                    except InvalidArgumentError:
                        # An error where the body runs, which it may never: what a
                        # branch that is not taken would read need not fit.
                        continue
                found[node].append((key, known[key]))
        return found

    def _transient_bytes(self) -> int:
        """The most that one kernel allocates for itself, beside the arena."""
        most = 0
        for node in self.program.nodes:
            own = node.opdef.transient
            if own is not None and all(v.static for v in node.inputs):
                most = max(most, own(node.inputs, node.outputs, node.attrs))
        return most

    def _fetch_bytes(self) -> int:
        """Bytes of the arrays that a run hands out, made at its start or its end."""
        total = 0
        for v in self.program.fetches:
            i = self.index[v]
            if v.dims and not (self.kind[i] == CALL and self.owner[i] == i):
                total += v.nbytes  # what a kernel allocates is counted already
        return total

    def _ends(self, nodes: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """Per step, the kernel-allocated values and views that die after it."""
        kind = self.kind
        if CALL not in kind:
            return {}
        last: dict[int, int] = {}
        for step, n in enumerate(nodes):
            for i in (*self.ins[n], *self.outs[n]):
                if kind[i] == CALL:
                    last[i] = step
        for v in self.program.fetches:
            last.pop(self.index[v], None)
        ends: dict[int, tuple[int, ...]] = {}
        for i, step in last.items():
            ends[step] = (*ends.get(step, ()), i)
        return ends


def _dims(v: Value) -> tuple[int, ...]:
    """The shape of a value whose every dimension is known."""
    return v.dims or ()  # type: ignore[return-value]


def _size(dtype: Any, dims: tuple[int, ...]) -> int:
    n: int = np.dtype(dtype).itemsize
    for d in dims:
        n *= d
    return n


def _scratch_bytes(scratch: Any) -> int:
    """Bytes of a step's scratch arrays, each at its own multiple of 64."""
    return sum(-(-_size(d, dims) // 64) * 64 for d, dims in scratch)
