"""Parts of a join that are made where they end up, so that nothing is copied.

``concat`` and ``stack`` copy arrays that were just made. Where a part is made by an op
that writes into planned memory, it is given its place in the join's result instead: the
part becomes a view of the result, and the join copies only what could not be placed (as
nGraph's CPU backend and ExecuTorch's planner for Cadence do along the leading axis).

This happens once the order of the nodes is known, on integers: buffers of parts are
merged into that of the result, which then is alive from the first part on. It never
raises the peak: where all parts would, other orders are tried, then parts that are made
early are copied after all. Precondition: a part is an array of its own, written by one
op, not fetched, and contiguous in the result (or copied anyway, or in long runs).
Postcondition: the same values, to the bit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..graphlib.records import record, replace
from .plan import ARENA, FETCH, FUSED_TYPE, VIEW
from .schedule import Problem, simulate
from .schedule import order as ordered

if TYPE_CHECKING:
    from .layout import Layout

__all__ = ["Placed", "copies_of_the_rest", "place_parts"]

#: Bytes that a copy moves in a microsecond, and microseconds of a call and of a view
#: of an array that each run allocates.
_COPIED, _CALL, _VIEW = 10_000.0, 0.5, 1.0
#: Contiguous bytes from which a ufunc that writes with gaps is as fast as without.
_RUN = 512
#: Nodes times joins that are looked at one by one where all together need more memory.
_EFFORT = 300_000

_Index = tuple[Any, ...]


class Placed(NamedTuple):
    """Where values live once parts are placed: as on a Layout, whose own stays.

    Attributes:
        problem: the scheduler's, with parts as views; in the given order only.
        kind, owner, place: per slot.
        parts: per node that joins, the inputs that are in place.
        nodes: the order, which may be another one.
    """

    problem: Problem
    kind: Sequence[str]
    owner: Sequence[int]
    place: dict[int, tuple[int, tuple[int, ...]]]
    parts: dict[int, tuple[int, ...]]
    nodes: Sequence[int]


@record
class _Join:
    """A join, with the slots of its parts: slot -> (input, bytes into it, strides)."""

    node: int
    out: int
    parts: dict[int, tuple[int, int, tuple[int, ...]]]

    def only(self, parts: Sequence[int]) -> _Join:
        """The join with some of its parts."""
        return _Join(self.node, self.out, {own: self.parts[own] for own in parts})


def place_parts(
    layout: Layout, problem: Problem, nodes: Sequence[int], peak: int
) -> Placed:
    """The layout with parts of joins in place, for an order of its nodes, whose peak
    stays at most what it is."""
    plain = Placed(problem, layout.kind, layout.owner, layout.place, {}, nodes)
    if not layout.settings.place:
        return plain
    joins = _Joins(layout, problem).found()
    if not joins:
        return plain
    order = _Order(layout, problem, nodes)

    def fits(tried: Sequence[_Join]) -> bool:
        return simulate(order.placed(tried).problem, nodes).peak <= peak

    if fits(joins):
        return order.placed(joins)
    # The order was chosen for results that are there from their joins on.
    placed = order.placed(joins)
    again = ordered(placed.problem)
    if again.peak <= peak:
        return placed._replace(nodes=again.nodes)
    joins = _within(joins, layout, order, len(nodes), fits)
    return order.placed(joins) if joins else plain


def _within(
    joins: Sequence[_Join],
    layout: Layout,
    order: _Order,
    size: int,
    fits: Callable[[Sequence[_Join]], bool],
) -> list[_Join]:
    """As many joins and parts as need no more memory than none: a result is there from
    its first part on, so parts that are made early are copied."""
    # Fetched results are there for the whole run anyway.
    kept = [j for j in joins if layout.kind[j.out] == FETCH]
    rest = [j for j in joins if layout.kind[j.out] != FETCH]
    tries = sum(1 + len(j.parts).bit_length() for j in rest)
    if tries * size > _EFFORT:
        return kept
    for join in sorted(rest, key=lambda j: -layout.values[j.out].nbytes):
        late = sorted(join.parts, key=lambda own: order.step[order.maker[own]])
        # So many of the first parts must be left out, and so many are enough.
        least, enough = 0, len(late)
        while least < enough:
            tried = (least + enough) // 2
            if fits([*kept, join.only(late[tried:])]):
                enough = tried
            else:
                least = tried + 1
        found = join.only(late[enough:])
        if pays(layout.program.nodes[join.node].inputs, found.parts, False):
            kept.append(found)
    return kept


class _Joins:
    """Finds the joins of a layout, and which of their parts may be placed."""

    def __init__(self, layout: Layout, problem: Problem) -> None:
        self.layout = layout
        self.kept = problem.kept
        self.maker = {i: n for n, made in enumerate(layout.outs) for i in made}
        self.taken: set[int] = set()

    def found(self) -> list[_Join]:
        """All joins that pay, in the order of the program."""
        nodes = self.layout.program.nodes
        joining = [n for n, node in enumerate(nodes) if node.opdef.places is not None]
        if not joining:
            return []
        self.views = Counter(self.layout.owner)
        # What a checkpointed gradient uses up must be memory of its own.
        self.spent = {
            self.layout.owner[i]
            for node, mine in zip(nodes, self.layout.ins)
            if "schedule" in node.attrs
            for i in mine
        }
        found = [self._join(n) for n in joining]
        return [join for join in found if join is not None]

    def _join(self, n: int) -> _Join | None:
        layout = self.layout
        node, mine, (out,) = layout.program.nodes[n], layout.ins[n], layout.outs[n]
        given = layout.kind[out] == FETCH and not layout.whole
        # In the arena, branches that run side by side would share the memory.
        planned = layout.kind[out] == ARENA and layout.settings.inter < 2
        result = layout.values[out]
        if layout.mode[n] != "out" or out in self.spent or not (given or planned):
            return None
        if not result.nbytes or not all(v.static for v in node.inputs):
            return None
        strides = c_strides(result.dims, result.dtype.size)
        parts: dict[int, tuple[int, int, tuple[int, ...]]] = {}
        for k, index in enumerate(node.opdef.places(node.inputs, node.attrs)):  # type: ignore[misc]
            own = layout.owner[mine[k]]
            offset, moves = _placed(index, strides)
            if own not in parts and self._may_be_placed(mine[k], own, moves):
                if own != mine[k]:  # a view of all of it
                    v = layout.values[own]
                    moves = c_strides(v.dims, v.dtype.size)
                parts[own] = k, offset, moves
        if not pays(node.inputs, parts, given):
            return None
        self.taken.update(parts)
        return _Join(n, out, parts)

    def _may_be_placed(self, i: int, own: int, moves: tuple[int, ...]) -> bool:
        """Whether the array of slot ``i`` may be made with these strides."""
        layout = self.layout
        if layout.kind[own] != ARENA or own in self.kept or own in self.spent:
            return False
        if own in self.taken or not layout.values[own].nbytes:
            return False
        n = self.maker.get(own)
        if n is None or layout.mode[n] != "out" or not layout.covers(i, own):
            return False
        node = layout.program.nodes[n]
        if node.opdef.control is not None or node.attrs.get("overwritten"):
            return False
        v = layout.values[i]
        dims: tuple[int, ...] = v.dims or ()  # type: ignore[assignment]
        run = v.dtype.size
        for d, step in zip(reversed(dims), reversed(moves)):
            if d != 1 and step != run:
                break
            run *= d
        if run == v.nbytes:
            return True
        # With gaps: no views of it, and an op that does not mind.
        if i != own or self.views[own] > 1 or layout.settings.intra:
            return False
        ufunc = isinstance(node.opdef.kernel, str) and node.opdef.type != FUSED_TYPE
        return node in layout.copies or (ufunc and run >= _RUN)


def pays(inputs: Sequence[Any], parts: dict[int, Any], given: bool) -> bool:
    """Whether the copies of some inputs cost more than what takes their place; in an
    array that is ``given`` to the caller each part is a new view in every run."""
    if not parts:
        return False
    saved = sum(inputs[k].nbytes for k, _, _ in parts.values()) / _COPIED
    left = len(inputs) - len(parts)
    views = _VIEW * len(parts) if given else 0.0
    return bool(saved + _CALL > _CALL * left + views)


class _Order:
    """A layout and the order in which its nodes run."""

    def __init__(self, layout: Layout, problem: Problem, nodes: Sequence[int]) -> None:
        self.layout = layout
        self.problem = problem
        self.nodes = nodes
        self.step = {n: i for i, n in enumerate(nodes)}
        self.maker = {b: n for n, made in enumerate(problem.writes) for b in made}

    def placed(self, joins: Sequence[_Join]) -> Placed:
        """The layout with these joins' parts in place."""
        target = {own: (j.out, *j.parts[own][1:]) for j in joins for own in j.parts}
        root: dict[int, int] = {}
        kind, owner = list(self.layout.kind), list(self.layout.owner)
        place = dict(self.layout.place)
        for own, (out, offset, moves) in target.items():
            while out in target:  # a part of a part: contiguous, so it is shifted
                out, more, _ = target[out]
                offset += more
            root[own] = out
            place[own] = offset, moves
            kind[own] = VIEW
        for i, own in enumerate(self.layout.owner):
            if own not in root:
                continue
            owner[i] = root[own]
            if i != own and kind[i] == VIEW:
                begin, moves = place[i]
                place[i] = place[own][0] + begin, moves
        parts = {j.node: tuple([k for k, _, _ in j.parts.values()]) for j in joins}
        return Placed(self._merged(root), kind, owner, place, parts, self.nodes)

    def _merged(self, root: dict[int, int]) -> Problem:
        """The problem with the buffers of parts merged into those of the results.

        Who makes the first part defines the buffer; who makes another one reads it.
        Who reads a part or a result waits for its maker, and none overwrites a result
        while it reads a part of it.
        """
        problem, maker, step = self.problem, self.maker, self.step
        makers: dict[int, set[int]] = defaultdict(set)
        for own, out in root.items():
            makers[out].add(maker[own])
        first = {out: min(ms, key=step.__getitem__) for out, ms in makers.items()}
        reads = [list(row) for row in problem.reads]
        writes = [[b for b in row if b not in makers] for row in problem.writes]
        writes = [[b for b in row if b not in root] for row in writes]
        after, inplace = list(problem.after), list(problem.inplace)
        for n, row in enumerate(reads):
            seen = [b for b in row if b in root]
            if seen or not makers.keys().isdisjoint(row):
                merged = [b for b in row if b in root or b in makers]
                after[n] = [*after[n], *(maker[b] for b in merged)]
            if not seen:
                continue
            reads[n] = [root.get(b, b) for b in row]
            roots = {root[b] for b in seen}
            inplace[n] = [p for p in inplace[n] if p[1] not in roots]
        for out, ms in makers.items():
            writes[first[out]].append(out)
            for n in ms - {first[out]}:
                reads[n].append(out)
        for n, pairs in enumerate(inplace):
            if any(a in root or b in root for a, b in pairs):
                inplace[n] = [
                    (a, b) for a, b in pairs if a not in root and b not in root
                ]
        return replace(
            problem, reads=reads, writes=writes, after=after, inplace=inplace
        )


def c_strides(dims: Any, size: int) -> tuple[int, ...]:
    """Strides, in bytes, of a contiguous array."""
    strides = []
    for d in reversed(dims or ()):
        strides.append(size)
        size *= max(d, 1)
    return tuple(reversed(strides))


def _placed(index: _Index, strides: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Bytes to the first element, and the strides, of a part at an index."""
    offset = 0
    moves = []
    for k, step in enumerate(strides):
        at = index[k] if k < len(index) else slice(None)
        if isinstance(at, slice):
            offset += (at.start or 0) * step
            moves.append(step)
        else:
            offset += at * step
    return offset, tuple(moves)


def copies_of_the_rest(step: Any, slots: Sequence[Any]) -> tuple[list[int], Any]:
    """What a join has left to do: the inputs that are not in place, and a call that
    copies them (they come first, then the result)."""
    rest = [k for k in range(len(step.inputs)) if k not in step.placed]
    places = step.opdef.places([slots[i] for i in step.inputs], step.attrs)
    where = [places[k] for k in rest]

    def copy_rest(*arrays: Any) -> None:
        out = arrays[-1]
        for index, part in zip(where, arrays):
            out[index] = part

    return rest, copy_rest
