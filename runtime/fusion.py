"""Elementwise operations that become one step: which ones, and where that pays.

Groups grow along the program, from producers to consumers. A group is convex: no
path leads out of it and back. It never crosses effects and control edges, all its
results have one shape, and what others read of it is an output. Where something
large is made between two members, they are joined only if that holds no more memory
meanwhile.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from typing import Any

from .fused import FUSED, TILE_BYTES, Group, Member
from .native.emit import known
from .native.engine import available
from .native.trace import Tape, Untraceable, trace
from .program import NODE, Node, Program, Value
from .rewrites.common import attrs_key
from .row_fusion import Around, join_rows

__all__ = ["fuse"]

#: Elements from which a native loop pays, and bytes from which tiles do.
NATIVE_SIZE = 4096
TILED_BYTES = 1024 * 1024
#: A tile cannot be smaller than one row of arrays that are broadcast.
_LONGEST_ROW = 8 * TILE_BYTES
#: Bounds of a group: members, arrays, and nodes looked at to see that it is convex.
_MEMBERS, _ARRAYS, _LOOKED = 64, 24, 128
#: Nodes from one to the next between which nothing is thought to be alive for long:
#: so many, but not more than hold so many bytes.
_NEAR, _SLACK = 24, 4 * 1024 * 1024
_WRITES = ("assign", "update", "body")
#: What a group may make superfluous.
_IDLE = {"BroadcastTo", "ExpandDims", "Fill", "Identity", "Reshape", "Spread"}
_IDLE |= {"Squeeze"}
#: Effects that happen in the order of the program.
_ORDERED = (*_WRITES, "io", "probe")


def fuse(program: Program, native: str) -> int:
    """Join elementwise nodes; returns how many nodes fewer there are.

    Args:
        program: changed in place.
        native: "off", "auto" or "wait": whether groups may run as native code.
    """
    fusion = _Fusion(program, native)
    before = len(program.nodes)
    groups = [g for g in fusion.groups() if fusion.pays(g)]
    fused = {node: made for g in groups for made in (fusion.join(g),) for node in g}
    _replace(program, fused, fusion)
    if fusion.native != "off":
        around = Around(
            NATIVE_SIZE,
            fusion.native,
            fusion.pinned,
            fusion.previous,
            _traceable,
            _written,
        )
        _replace(program, join_rows(program, around), fusion)
    return before - len(program.nodes)


def _replace(program: Program, fused: dict[Node, Node], fusion: _Fusion) -> None:
    """Put groups in the place of their members."""
    if not fused:
        return
    # Backwards: what only a view read is read by nobody when the view is gone.
    read = set(program.fetches)
    kept = []
    for node in reversed(program.nodes):
        idle = node.opdef.type in _IDLE and node not in fusion.pinned
        if idle and node not in fused and read.isdisjoint(node.outputs):
            continue
        read.update(fused.get(node, node).inputs)
        kept.append(node)
    program.nodes = _sorted(kept[::-1], fused, fusion.previous)


class _Fusion:
    """Finds groups of one program."""

    def __init__(self, program: Program, native: str) -> None:
        self.program = program
        self.native = native if native != "off" and available() else "off"
        self.position = {node: i for i, node in enumerate(program.nodes)}
        self.readers: dict[Value, list[Node]] = defaultdict(list)
        self.fetched = set(program.fetches)
        for node in program.nodes:
            for v in node.inputs:
                self.readers[v].append(node)
        # What only an order or an effect asks for stays as it is.
        self.pinned = set(program.targets)
        #: Per node with an effect, the one whose effect comes before.
        self.previous: dict[Node, Node] = {}
        effect: Node | None = None
        for node in program.nodes:
            self.pinned.update(node.after)
            if node.opdef.effect in _ORDERED:
                if effect is not None:
                    self.previous[node] = effect
                effect = node
        self.kind: dict[Node, str] = {}
        self.group_of: dict[Node, list[Node]] = {}
        #: Per group of several, the place of its last node.
        self.last: dict[int, int] = {}
        #: What must run between a node and a reader (see _between).
        self.ways: dict[tuple[Node, Node], frozenset[Node] | None] = {}
        #: How many arrays are made before each place that are no elementwise results.
        self.made: list[int] = []

    # -- which nodes ---------------------------------------------------------

    def candidate(self, node: Node) -> str:
        """How a node may be fused: "native", "tiles", or "" for not at all."""
        opdef = node.opdef
        bias = opdef.type == "BiasAdd" and node.attrs["data_format"] == "NHWC"
        if not (opdef.elementwise or bias) or opdef.effect is not None or node.after:
            return ""
        if opdef.alias is not None or opdef.control is not None or node in self.pinned:
            return ""
        out = node.outputs[0]
        if len(node.outputs) != 1 or not out.static or out.value is not None:
            return ""
        size = math.prod(_dims(out))
        if size < NATIVE_SIZE or not self._fits(node, out):
            return ""
        if self.native != "off" and _traceable(node):
            return "native"
        if out.nbytes < TILED_BYTES or bias:
            return ""
        floats = all(v.dtype.kind in (0, 2) for v in (*node.inputs, out))
        writes = isinstance(opdef.kernel, str) or opdef.writes_out
        return "tiles" if floats and writes else ""

    def _fits(self, node: Node, out: Value) -> bool:
        """Whether each input is broadcast to the output, and is not a variable that
        this run has written."""
        whole = _dims(out)
        flat = True
        for v in node.inputs:
            if not v.static or v.dtype.kind < 0:
                return False
            dims = _dims(v)
            if node.opdef.type == "Select" and dims != whole:
                return False
            tail = whole[len(whole) - len(dims) :]
            if any(d != w and d != 1 for d, w in zip(dims, tail)):
                return False
            flat = flat and (dims == whole or math.prod(dims) == 1)
            if _written(v):
                return False
        if flat:
            return True
        axis = next(i for i, d in enumerate(whole) if d != 1)
        return math.prod(whole[axis + 1 :]) * out.dtype.size <= _LONGEST_ROW

    # -- groups --------------------------------------------------------------

    def groups(self) -> list[list[Node]]:
        """Groups of one node or more, which are disjoint."""
        group_of = self.group_of
        kinds = self.kind
        made = [0]
        for node in self.program.nodes:
            kind = self.candidate(node)
            if kind:
                kinds[node] = kind
            made.append(made[-1] + (not kind and _makes(node, NATIVE_SIZE)))
        self.made = made
        for node in kinds:
            mine = group_of[node] = [node]
            for v in node.inputs:
                theirs = None if v.node is None else group_of.get(v.node)
                if theirs is None or theirs is mine:
                    continue
                if self._joinable(theirs, mine):
                    if len(theirs) < len(mine):
                        theirs, mine = mine, theirs
                    theirs += mine
                    self.last[id(theirs)] = self.position[node]
                    for n in mine:
                        group_of[n] = theirs
                    mine = theirs
        found = {id(g): g for g in group_of.values()}
        for g in found.values():
            g.sort(key=self.position.__getitem__)
        return list(found.values())

    def _joinable(self, theirs: list[Node], mine: list[Node]) -> bool:
        a, b = theirs[0], mine[0]
        if self.kind[a] != self.kind[b] or a.outputs[0].dims != b.outputs[0].dims:
            return False
        members = {*theirs, *mine}
        if len(members) > _MEMBERS:
            return False
        given = {v for n in members for v in n.inputs if v.node not in members}
        room = _ARRAYS - len(given)
        if (
            len(members) > room
            and sum(self._leaves(n, members) for n in members) > room
        ):
            return False
        return (
            self._is_convex(members, given)
            and self._holds_no_more(theirs, mine)
            and self._keeps_few(members, a.outputs[0].nbytes)
        )

    def _leaves(self, node: Node, members: set[Node]) -> bool:
        """Whether others read what a member of a group makes."""
        v = node.outputs[0]
        return v in self.fetched or any(r not in members for r in self.readers[v])

    def _keeps_few(self, members: set[Node], size: int) -> bool:
        """Whether few results would wait for the group to end: those whose readers
        outside of it could run before later members do."""
        allowed = max(2, min(_NEAR, _SLACK // max(size, 1)))
        leaving = [n for n in members if self._leaves(n, members)]
        if len(leaving) <= allowed:
            return True
        waiting = 0
        for n in leaving:
            outside = (r for r in self.readers[n.outputs[0]] if r not in members)
            waiting += any(
                (between := self._between(n, r)) is not None
                and between.isdisjoint(members)
                for r in outside
            )
            if waiting > allowed:
                return False
        return True

    def _between(self, node: Node, reader: Node) -> frozenset[Node] | None:
        """What must run between a node and a reader of it; None where that is much."""
        key = node, reader
        if key not in self.ways:
            first = self.position[node]
            found: set[Node] = set()
            stack = [reader]
            while stack and len(found) <= _LOOKED:
                for v in stack.pop().inputs:
                    n = v.node
                    if n is not None and n not in found and self.position[n] > first:
                        found.add(n)
                        stack.append(n)
            self.ways[key] = None if stack else frozenset(found)
        return self.ways[key]

    def _is_convex(self, members: set[Node], given: set[Value]) -> bool:
        """Whether no path leads from a member to what the members read; another
        group is passed as a whole, as it will be one node."""
        position = self.position
        first = min(position[n] for n in members)
        stack = [v.node for v in given if v.node is not None]
        seen: set[Node] = set()
        while stack:
            node = stack.pop()
            if node in members:
                return False
            if node in seen:
                continue
            whole = self.group_of.get(node)
            if whole is None:
                whole = [node]
            if position[node] < first and self.last.get(id(whole), -1) < first:
                continue
            seen.update(whole)
            if len(seen) > _LOOKED:
                return False
            for n in whole:
                stack.extend(n.after)
                stack.extend(v.node for v in n.inputs if v.node is not None)
                if n in self.previous:
                    stack.append(self.previous[n])
        return True

    def _holds_no_more(self, theirs: list[Node], mine: list[Node]) -> bool:
        """Whether one step in the place of two keeps no more memory alive while what
        lies between them runs.

        Run late, it keeps what ``theirs`` reads; run early, what ``mine`` makes; and
        it saves what only passes from one to the other.
        """
        members = {*theirs, *mine}
        position = self.position
        size = theirs[0].outputs[0].nbytes
        second = set(mine)
        then = min(position[n] for n in mine)
        late = 0
        for v in {v for n in theirs for v in n.inputs}:
            if v.kind != NODE or v.node in members or v in self.fetched:
                continue
            if _element(v) is not v:
                continue
            others = [position[r] for r in self.readers[v] if r not in members]
            born = max(position[v.node], *others, -1)  # type: ignore[index]
            if born < then and self._is_long(born, then, members, size):
                late += v.nbytes
        early = 0
        places = [position[n] for n in members]
        if self._is_long(min(places), max(places), members, size):
            early = sum(
                n.outputs[0].nbytes
                for n in mine
                if n.outputs[0] not in self.fetched and self._leaves(n, members)
            )
        if not late and not early:
            return True
        saved = sum(
            v.nbytes
            for n in theirs
            for v in n.outputs
            if v not in self.fetched
            and members.issuperset(self.readers[v])
            and not second.isdisjoint(self.readers[v])
        )
        return max(late, early) <= saved

    def _is_long(self, begin: int, end: int, members: set[Node], size: int) -> bool:
        """Whether much happens between two places of the program: something else is
        made that is no elementwise result, or there are many nodes."""
        if end - begin > len(members) + min(_NEAR, _SLACK // max(size, 1)):
            return True
        return self.made[end] > self.made[begin + 1] and any(
            n not in self.kind and _makes(n, size)
            for n in self.program.nodes[begin + 1 : end]
        )

    def pays(self, group: list[Node]) -> bool:
        """One pass of one ufunc is what NumPy does best."""
        if len(group) > 1:
            return True
        (node,) = group
        if self.kind[node] == "native":
            return _passes(node) > 1
        return not isinstance(node.opdef.kernel, str) and not node.opdef.settle

    # -- the new node ----------------------------------------------------------

    def ordered(self, group: list[Node]) -> list[Node]:
        """The members in an order that needs few tiles for what is between them: first
        what frees more than it makes, else the first of the program."""
        members = set(group)
        left: dict[Node, int] = {}
        readers: dict[Value, set[Node]] = {}
        for n in group:
            inside = {v for v in n.inputs if v.node in members}
            left[n] = len(inside)
            for v in inside:
                readers.setdefault(v, set()).add(n)
        kept = {n.outputs[0] for n in group if self._leaves(n, members)}

        def gain(n: Node) -> int:
            freed = sum(
                v not in kept and readers[v] == {n} for v in {*n.inputs} & {*readers}
            )
            return freed - (n.outputs[0] not in kept)

        ready = [n for n in group if not left[n]]
        found: list[Node] = []
        while ready:
            best = max(ready, key=lambda n: (gain(n), -self.position[n]))
            ready.remove(best)
            found.append(best)
            for v in {*best.inputs} & {*readers}:
                readers[v].discard(best)
            for n in readers.get(best.outputs[0], ()):
                left[n] -= 1
                if not left[n]:
                    ready.append(n)
        return found

    def join(self, group: list[Node]) -> Node:
        """The node that does the work of a group."""
        members = set(group)
        last = group[-1]
        group = self.ordered(group)
        inputs: list[Value] = []
        register: dict[Value, int] = {}
        for n in group:
            for given in n.inputs:
                if given.node in members or given in register:
                    continue
                v = _element(given)
                if v not in register:
                    register[v] = len(inputs)
                    inputs.append(v)
                register[given] = register[v]
        outputs: list[Value] = []
        results = []
        made = []
        for k, n in enumerate(group):
            v = n.outputs[0]
            reads = tuple([register[r] for r in n.inputs])
            register[v] = len(inputs) + k
            made.append(Member(n.op, n.opdef, n.attrs, reads, v.dtype.dtype))
            if self._leaves(n, members):
                outputs.append(v)
                results.append(len(inputs) + k)
        native = self.native if self.kind[last] == "native" else "off"
        fused = Group(
            tuple(made),
            tuple((v.dtype, _dims(v)) for v in inputs),
            tuple(results),
            _dims(last.outputs[0]),
            native,
        )
        node = Node(last.op, FUSED, {"group": fused}, inputs, [])
        for k, v in enumerate(outputs):
            v.node = node
            v.index = k
        node.outputs = tuple(outputs)
        return node


def _written(v: Value) -> bool:
    """Whether a value is a variable's memory that this run writes."""
    while v.node is not None and v.node.opdef.alias is not None:
        if v.node.opdef.effect is not None:
            return True
        v = v.node.inputs[v.node.opdef.alias]
    return v.node is not None and v.node.opdef.effect in _WRITES


def _makes(node: Node, size: int) -> bool:
    """Whether a node makes something that is not much smaller than ``size`` bytes."""
    if node.opdef.alias is not None or node.opdef.type == "Fill":
        return False
    return any(v.nbytes * 2 >= size for v in node.outputs)


def _dims(v: Value) -> tuple[int, ...]:
    """The shape of a value whose every dimension is known."""
    return v.dims or ()  # type: ignore[return-value]


def _element(v: Value) -> Value:
    """The scalar that all elements of a filled array are; else the array."""
    filled = v.node is not None and v.node.opdef.type == "Fill"
    return v.node.inputs[1] if filled and not v.node.after else v  # type: ignore[union-attr]


_TRACED: dict[Any, tuple[bool, int]] = {}


def _traced(node: Node) -> tuple[bool, int]:
    """Whether there is native code for a node, and how much it is."""
    dtypes = tuple(v.dtype.dtype.str for v in node.inputs)
    key = node.opdef, dtypes, attrs_key(node.attrs)
    found = _TRACED.get(key)
    if found is None:
        tape = Tape(known)
        try:
            refs = [tape.input(i, d) for i, d in enumerate(dtypes)]
            result = trace(tape, node.opdef, node.attrs, refs)
            right = tape.code[result][1] == node.outputs[0].dtype.dtype.str
            found = right, _weight(tape)
        except (Untraceable, TypeError):
            found = False, 0
        if len(_TRACED) >= 4096:
            _TRACED.clear()
        _TRACED[key] = found
    return found


def _weight(tape: Tape) -> int:
    """The number of passes that NumPy would make; a function counts for two."""
    plain = ("input", "const")
    cheap = {"add", "subtract", "multiply", "cast", "select"}
    return sum(
        1 if name in cheap or known(name, "<i4") or known(name, "|b1") else 2
        for name, *_ in tape.code
        if name not in plain
    )


def _traceable(node: Node) -> bool:
    return _traced(node)[0]


def _passes(node: Node) -> int:
    return _traced(node)[1]


def _sorted(
    nodes: list[Node], fused: dict[Node, Node], previous: dict[Node, Node]
) -> list[Node]:
    """Topological order, each node at its old place or as soon after as can be.

    ``previous`` says which effect comes before that of a node.
    """
    place: dict[Node, int] = {}
    for i, node in enumerate(nodes):
        place.setdefault(fused.get(node, node), i)
    left: dict[Node, int] = {}
    then: dict[Node, list[Node]] = defaultdict(list)
    for node in place:
        needed = {v.node for v in node.inputs if v.node is not None}
        needed.update(node.after)
        if node in previous:
            needed.add(previous[node])
        left[node] = len(needed)
        for n in needed:
            then[n].append(node)
    nodes_at = {at: node for node, at in place.items()}
    ready = [place[n] for n, count in left.items() if not count]
    heapq.heapify(ready)
    result = []
    while ready:
        node = nodes_at[heapq.heappop(ready)]
        result.append(node)
        for n in then[node]:
            left[n] -= 1
            if not left[n]:
                heapq.heappush(ready, place[n])
    assert len(result) == len(place), "groups are convex: there is no cycle"
    return result
