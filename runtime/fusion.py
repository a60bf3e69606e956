"""Elementwise operations that become one step: which ones, and where that pays.

Groups grow along the program, from producers to consumers. A group is convex: no
path leads out of it and back. It never crosses effects and control edges, all its
results have one shape, and what others read of it is an output. Where something
large is made between two members, they are joined only if that holds no more memory
meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .convex import Unit, Units, sort
from .native import available
from .one_step import element, holds_no_more, saves_earlier
from .program import NODE, Node, Program, Value
from .rewrites.common import attrs_key

if TYPE_CHECKING:
    from .fused import Group
    from .native.trace import Tape

__all__ = ["fuse"]

#: Elements from which a native loop pays, and bytes from which tiles do.
NATIVE_SIZE = 4096
TILED_BYTES = 1024 * 1024
#: A tile (see ``fused``) cannot be smaller than one row of arrays that are broadcast.
_LONGEST_ROW = 8 * 128 * 1024
#: Bounds of a group: members and arrays; and of nodes looked at to see what may wait.
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
        from .row_fusion import Around, join_rows

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
    program.nodes = sort(kept[::-1], fused, fusion.previous)


class _Group(Unit):
    """Nodes that will be one step.

    Attributes:
        needs: what they read that none of them makes, and how often.
        left: what others read of them.
        first, last: the places of the first and the last of them.
    """

    __slots__ = ("first", "last", "left")

    needs: dict[Value, int]

    def __init__(self, node: Node, unit: Unit, place: int, left: bool) -> None:
        super().__init__([node], {}, unit.rank)
        for v in node.inputs:
            self.needs[v] = self.needs.get(v, 0) + 1
        self.left = {node.outputs[0]} if left else set()
        self.first = self.last = place


class _Fusion:
    """Finds groups of one program."""

    def __init__(self, program: Program, native: str) -> None:
        self.program = program
        self.native = native if native != "off" and available() else "off"
        self.fetched = set(program.fetches)
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
        if len(node.outputs) != 1 or out.size < NATIVE_SIZE or out.value is not None:
            return ""
        if math.prod(_dims(out)) < NATIVE_SIZE or not self._fits(node, out):
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
            if v.size < 0 or v.dtype.kind < 0 or _written(v):
                return False
            dims = _dims(v)
            if dims == whole:
                continue
            if node.opdef.type == "Select":
                return False
            tail = whole[len(whole) - len(dims) :]
            if any(d != w and d != 1 for d, w in zip(dims, tail)):
                return False
            flat = flat and math.prod(dims) == 1
        if flat:
            return True
        axis = next(i for i, d in enumerate(whole) if d != 1)
        return math.prod(whole[axis + 1 :]) * out.dtype.size <= _LONGEST_ROW

    # -- groups --------------------------------------------------------------

    def groups(self) -> list[list[Node]]:
        """Groups of one node or more, which are disjoint."""
        kinds = self.kind
        made = [0]
        for node in self.program.nodes:
            kind = self.candidate(node)
            if kind:
                kinds[node] = kind
            made.append(made[-1] + (not kind and _makes(node, NATIVE_SIZE)))
        self.made = made
        if not kinds:
            return []
        units = self.units = Units(self.program, self.previous)
        #: How often a result is read by others than members of its group.
        self.outside = {n.outputs[0]: len(units.readers[n.outputs[0]]) for n in kinds}
        #: What must run between a node and a reader (see _between).
        self.ways: dict[tuple[Node, Node], frozenset[Node] | None] = {}
        of = units.of
        for node in kinds:
            out = node.outputs[0]
            left = bool(self.outside[out]) or out in self.fetched
            of[node] = _Group(node, of[node], units.position[node], left)
        for node in kinds:
            for v in node.inputs:
                theirs = None if v.node is None else of[v.node]
                if theirs is not of[node] and isinstance(theirs, _Group):
                    self._join(theirs, of[node])  # type: ignore[arg-type]
        self._join_wholes()
        groups = {of[node]: None for node in kinds}
        for g in groups:
            g.nodes.sort(key=units.position.__getitem__)
        return [g.nodes for g in groups]

    def _join_wholes(self) -> None:
        """Make groups of all that is connected and has nothing large made between,
        where that holds no more memory.

        Two by two, the first of them would have waited for others to be read; small
        arrays may wait.
        """
        found: dict[Node, list[Node]] = {}
        for node in self.kind:
            mine = found[node] = [node]
            for v in node.inputs:
                theirs = None if v.node is None else found.get(v.node)
                if theirs is None or theirs is mine or not self._alike(v.node, node):  # type: ignore[arg-type]
                    continue
                if len(theirs) < len(mine):
                    theirs, mine = mine, theirs
                theirs += mine
                found.update(dict.fromkeys(mine, theirs))
                mine = theirs
        of = self.units.of
        for nodes in {id(g): g for g in found.values()}.values():
            large = nodes[0].outputs[0].nbytes * _NEAR > _SLACK
            if not large or not 2 < len(nodes) <= _MEMBERS:
                continue
            groups = {of[n] for n in nodes}
            if len(groups) > 1 and sum(len(g.nodes) for g in groups) == len(nodes):
                self._join_whole(nodes)

    def _alike(self, a: Node, b: Node) -> bool:
        """Whether two nodes may be of one group, with nothing large made between."""
        made, position = self.made, self.units.position
        return (
            self.kind[a] == self.kind[b]
            and a.outputs[0].dims == b.outputs[0].dims
            and made[position[a]] == made[position[b]]
        )

    def _join_whole(self, nodes: list[Node]) -> None:
        of, position = self.units.of, self.units.position
        nodes.sort(key=position.__getitem__)
        group = _Group(nodes[0], of[nodes[0]], position[nodes[0]], False)
        group.nodes, group.last = nodes, position[nodes[-1]]
        members = set(nodes)
        own: dict[Value, int] = {}
        for n in nodes[1:]:
            for v in n.inputs:
                group.needs[v] = group.needs.get(v, 0) + 1
        for v in [v for v in group.needs if v.node in members]:
            own[v] = group.needs.pop(v)
        for n in nodes:
            v = n.outputs[0]
            others = len(self.units.readers[v]) > own.get(v, 0)
            if others or v in self.fetched:
                group.left.add(v)
        if len(group.needs) + len(group.left) > _ARRAYS:
            return
        joint = self.units.joint({of[n] for n in nodes}, group.needs, group.left)
        if joint is None or saves_earlier(nodes, self.units, self.made, self.fetched):
            return
        if not self._keeps_few(nodes, group.left):
            return
        order = self.ordered(nodes, group.left)
        made, inputs, outputs = self._made(order, group.left)
        right = holds_no_more(
            nodes,
            [[element(v) for v in n.inputs] for n in nodes],
            inputs,
            outputs,
            self.fetched,
            lambda v: any(r not in members for r in self.units.readers[v]),
            made.may_overwrite,
        )
        if right:
            self.units.join(group, nodes, joint)

    def _join(self, theirs: _Group, mine: _Group) -> _Group:
        """Make one group of two, where that may be; returns that of ``mine``, which
        reads of ``theirs``."""
        a, b = theirs.nodes[0], mine.nodes[0]
        if self.kind[a] != self.kind[b] or a.outputs[0].dims != b.outputs[0].dims:
            return mine
        count = len(theirs.nodes) + len(mine.nodes)
        if count > _MEMBERS:
            return mine
        of, outside = self.units.of, self.outside
        passed = [v for v in mine.needs if v.node is not None and of[v.node] is theirs]
        given = theirs.needs.keys() | mine.needs.keys()
        given.difference_update(passed)
        inner = {
            v for v in passed if outside[v] == mine.needs[v] and v not in self.fetched
        }
        left = (theirs.left | mine.left) - inner
        room = _ARRAYS - len(given)
        if count > room and len(left) > room:
            return mine
        if not self._holds_no_more(theirs, mine, inner):
            return mine
        joint = self.units.joint((theirs, mine), given, left)
        if joint is None or not self._keeps_few([*theirs.nodes, *mine.nodes], left):
            return mine
        for v in passed:
            outside[v] -= mine.needs[v]
        large, small = theirs, mine
        if len(theirs.nodes) < len(mine.nodes):
            large, small = mine, theirs
        for v in given & small.needs.keys():
            large.needs[v] = large.needs.get(v, 0) + small.needs[v]
        for v in passed:
            large.needs.pop(v, None)
        large.left = left
        large.first = min(theirs.first, mine.first)
        large.last = max(theirs.last, mine.last)
        large.nodes += small.nodes
        self.units.join(large, small.nodes, joint)
        return large

    def _keeps_few(self, nodes: list[Node], left: set[Value]) -> bool:
        """Whether few results would wait for the group to end: those whose readers
        outside of it could run before later members do."""
        if len(left) <= 2:
            return True
        allowed = max(2, min(_NEAR, _SLACK // max(nodes[0].outputs[0].nbytes, 1)))
        if len(left) <= allowed:
            return True
        members = set(nodes)
        waiting = 0
        for v in left:
            assert v.node is not None
            waiting += any(
                (between := self._between(v.node, r)) is not None
                and between.isdisjoint(members)
                for r in self.units.readers[v]
                if r not in members
            )
            if waiting > allowed:
                return False
        return True

    def _between(self, node: Node, reader: Node) -> frozenset[Node] | None:
        """What must run between a node and a reader of it; None where that is much."""
        key = node, reader
        if key not in self.ways:
            position = self.units.position
            first = position[node]
            found: set[Node] = set()
            stack = [reader]
            while stack and len(found) <= _LOOKED:
                for v in stack.pop().inputs:
                    n = v.node
                    if n is not None and n not in found and position[n] > first:
                        found.add(n)
                        stack.append(n)
            self.ways[key] = None if stack else frozenset(found)
        return self.ways[key]

    def _holds_no_more(
        self, theirs: _Group, mine: _Group, inner: Collection[Value]
    ) -> bool:
        """Whether one step in the place of two keeps no more memory alive while what
        lies between them runs.

        Run late, it keeps what ``theirs`` reads; run early, what ``mine`` makes; and
        it saves what only passes from one to the other (``inner``).
        """
        of, position = self.units.of, self.units.position
        count = len(theirs.nodes) + len(mine.nodes)
        size = mine.nodes[0].outputs[0].nbytes
        then = mine.first
        late = 0
        for v in theirs.needs:
            if v.kind != NODE or v in self.fetched or element(v) is not v:
                continue
            others = (
                position[r]
                for r in reversed(self.units.readers[v])
                if of[r] is not theirs and of[r] is not mine
            )
            born = max(position[v.node], next(others, -1))  # type: ignore[index]
            if born < then and self._is_long(born, then, count, size):
                late += v.nbytes
        early = 0
        begin, end = min(theirs.first, then), max(theirs.last, mine.last)
        if self._is_long(begin, end, count, size):
            early = sum(v.nbytes for v in mine.left if v not in self.fetched)
        if not late and not early:
            return True
        return max(late, early) <= sum(v.nbytes for v in inner)

    def _is_long(self, begin: int, end: int, members: int, size: int) -> bool:
        """Whether much happens between two places of the program: something else is
        made that is no elementwise result, or there are many nodes."""
        if end - begin > members + min(_NEAR, _SLACK // max(size, 1)):
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

    def ordered(self, group: list[Node], kept: set[Value]) -> list[Node]:
        """The members in an order that needs few tiles for what is between them: first
        what frees more than it makes (``kept`` is not freed), else the first of the
        program."""
        own = {n.outputs[0] for n in group}
        position = self.units.position
        left: dict[Node, int] = {}
        readers: dict[Value, set[Node]] = {}
        for n in group:
            inside = own.intersection(n.inputs)
            left[n] = len(inside)
            for v in inside:
                readers.setdefault(v, set()).add(n)

        def gain(n: Node) -> int:
            freed = sum(
                v not in kept and readers[v] == {n} for v in own.intersection(n.inputs)
            )
            return freed - (n.outputs[0] not in kept)

        ready = [n for n in group if not left[n]]
        found: list[Node] = []
        while ready:
            best = ready[0]
            if len(ready) > 1:
                best = max(ready, key=lambda n: (gain(n), -position[n]))
            ready.remove(best)
            found.append(best)
            for v in own.intersection(best.inputs):
                readers[v].discard(best)
            for n in readers.get(best.outputs[0], ()):
                left[n] -= 1
                if not left[n]:
                    ready.append(n)
        return found

    def join(self, group: list[Node]) -> Node:
        """The node that does the work of a group."""
        from .fused import FUSED

        last = group[-1]
        left = self.units.of[last].left  # type: ignore[attr-defined]
        made, inputs, outputs = self._made(self.ordered(group, left), left)
        node = Node(last.op, FUSED, {"group": made}, inputs, [])
        for k, v in enumerate(outputs):
            v.node = node
            v.index = k
        node.outputs = tuple(outputs)
        return node

    def _made(
        self, group: list[Node], left: set[Value]
    ) -> tuple[Group, list[Value], list[Value]]:
        """What a step of these members in this order computes, reads and makes."""
        from .fused import Group, Member

        members = set(group)
        inputs: list[Value] = []
        register: dict[Value, int] = {}
        for n in group:
            for given in n.inputs:
                if given.node in members or given in register:
                    continue
                v = element(given)
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
            if v in left:
                outputs.append(v)
                results.append(len(inputs) + k)
        native = self.native if self.kind[group[0]] == "native" else "off"
        fused = Group(
            tuple(made),
            tuple((v.dtype, _dims(v)) for v in inputs),
            tuple(results),
            _dims(group[0].outputs[0]),
            native,
            native != "off" and any(_traced(n)[2] for n in group),
        )
        return fused, inputs, outputs


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


_TRACED: dict[Any, tuple[bool, int, bool]] = {}


def _traced(node: Node) -> tuple[bool, int, bool]:
    """Whether there is native code for a node, how much it is, and whether it has
    functions that are right within a reach only."""
    key = node.opdef, tuple([v.dtype for v in node.inputs]), attrs_key(node.attrs)
    found = _TRACED.get(key)
    if found is None:
        from .native.codegen import is_limited
        from .native.emit import known
        from .native.trace import Tape, Untraceable, trace

        tape = Tape(known)
        try:
            refs = [tape.input(i, v.dtype.dtype) for i, v in enumerate(node.inputs)]
            result = trace(tape, node.opdef, node.attrs, refs)
            right = tape.code[result][1] == node.outputs[0].dtype.dtype.str
            found = right, _weight(tape), is_limited(tape.code)
        except (Untraceable, TypeError):
            found = False, 0, False
        if len(_TRACED) >= 4096:
            _TRACED.clear()
        _TRACED[key] = found
    return found


def _weight(tape: Tape) -> int:
    """The number of passes that NumPy would make; a function counts for two."""
    from .native.emit import known

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
