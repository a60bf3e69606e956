"""Run a loop once that is there twice: bare, and with what a derivative needs.

A derivative rule builds the loop or branch that it differentiates again, over the
same subgraph and inputs, with more outputs (what the backward pass reads) or more
inputs (the tangents).  The wider one makes all that the bare one makes, so it takes
its place; two that both are wider become one with the outputs of both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, TypeVar

from ...graphlib.errors import InvalidArgumentError
from ...graphlib.subgraph import Body
from ..program import NODE, Node, Program, Value

_Item = TypeVar("_Item")


class _Merged(NamedTuple):
    """A node that takes the place of two, and what stands for their outputs."""

    node: Node
    subst: dict[Value, Value]


def merge_bodies(program: Program, effects_only: bool = False) -> int:
    """Merge control nodes over the same subgraphs; returns how many were dropped.

    Two nodes with an effect that stand for one must be one, or the effect would
    happen twice; with ``effects_only`` no others are merged.
    """
    groups: dict[Any, list[Node]] = {}
    for node in program.nodes:
        control = node.opdef.control
        if control == "loop":
            groups.setdefault(node.attrs["body"].graph, []).append(node)
        elif control == "branch":
            graphs = tuple(b.graph for b in node.attrs["branches"])
            groups.setdefault(graphs, []).append(node)
    several = [
        nodes
        for nodes in groups.values()
        if len(nodes) > 1
        and not (effects_only and all(n.opdef.effect is None for n in nodes))
    ]
    if not several:
        return 0
    merging = _Merging(program)
    dropped = sum(_merge_group(merging, nodes) for nodes in several)
    merging.finish()
    return dropped


def _merge_group(merging: _Merging, nodes: list[Node]) -> int:
    """Merge what can be of nodes over the same subgraphs.

    Calls of one function are many, and only those that are passed the same can be
    one: so each node is compared to those with its key only.
    """
    passed = [{role for role, _ in _passed(node)} for node in nodes]
    common = set.intersection(*passed)

    def key_of(node: Node) -> Any:
        return frozenset((role, v) for role, v in _passed(node) if role in common)

    dropped = 0
    keys: dict[Node, Any] = {}
    kept: dict[Any, list[Node]] = {}

    def keep(node: Node) -> None:
        keys[node] = key_of(node)
        kept.setdefault(keys[node], []).append(node)

    def forget(node: Node) -> None:
        kept[keys.pop(node)].remove(node)

    for node in sorted(nodes, key=lambda n: (-len(n.inputs), n.op.id)):
        for wide in kept.get(key_of(node), ()):
            merged = _union(wide, node)
            changed = None
            if merged is not None:
                changed = merging.replace([wide, node], merged)
            if merged is not None and changed is not None:
                forget(wide)
                keep(merged.node)
                for reader in changed:
                    if reader in keys:
                        forget(reader)
                        keep(reader)
                dropped += 1
                break
        else:
            keep(node)
    return dropped


def _passed(node: Node) -> Iterator[tuple[Any, Value]]:
    """What a control node is passed, and as what."""
    attrs = node.attrs
    if node.opdef.control == "loop":
        first = attrs["bounded"] + attrs["tested"]
        yield from enumerate(node.inputs[:first])
        yield from zip(attrs["body"].inputs, node.inputs[first:])
        return
    if node.opdef.inputs[0] == "index":
        yield "index", node.inputs[0]
    for k, (body, wires) in enumerate(zip(attrs["branches"], attrs["wires"])):
        for t, i in zip(body.inputs, wires):
            yield (k, t), node.inputs[i]


# -- what two nodes have in common ---------------------------------------------------


def _union(a: Node, b: Node) -> _Merged | None:
    """One node that does what both do; None where they differ in an input."""
    if a.after != b.after:
        return None
    if a.opdef.control == "loop":
        return _union_of_loops(a, b)
    return _union_of_branches(a, b)


class _Loop:
    """A loop node by the roles of its inputs and outputs."""

    def __init__(self, node: Node) -> None:
        attrs = node.attrs
        body: Body = attrs["body"]
        self.node = node
        self.head = node.inputs[: attrs["bounded"] + attrs["tested"]]
        inputs = dict(zip(body.inputs, node.inputs[len(self.head) :]))
        k, n = attrs["carries"], attrs["scanned"]
        names = body.inputs
        #: (input of the body, what becomes of it) -> initial value
        self.carries = {(t, out): inputs[t] for t, out in zip(names[:k], body.outputs)}
        self.rows = {t: inputs[t] for t in names[k : k + n]}
        self.rest = {t: inputs[t] for t in names[k + n :]}
        self.again = body.outputs[k] if attrs["tested"] else None
        self.made = body.outputs[k + attrs["tested"] :]
        order = list(self.carries)
        self.history = [order[i] for i in attrs["history"]]
        self.loose = {order[i] for i in attrs["loose"]}
        self.strict: int = attrs["strict"]
        self.unshaped = {order[i] for i in attrs["unshaped"]}
        self.fixed = (self.head, self.again, attrs["reverse"], node.opdef)
        self.marks = attrs["marks"]


def _joined(a: Mapping[Any, Value], b: Mapping[Any, Value]) -> dict[Any, Value] | None:
    joined = dict(a)
    for key, value in b.items():
        if joined.setdefault(key, value) is not value:
            return None
    return joined


def _union_of_loops(a: Node, b: Node) -> _Merged | None:
    x, y = _Loop(a), _Loop(b)
    if x.fixed != y.fixed:
        return None
    # Histories have all states in both, or the same few.
    marks = {z.marks for z in (x, y) if z.history}
    if len(marks) > 1:
        return None
    carries = _joined(x.carries, y.carries)
    rows = _joined(x.rows, y.rows)
    rest = _joined(x.rest, y.rest)
    if carries is None or rows is None or rest is None:
        return None
    inputs = [t for t, _ in carries] + [*rows, *rest]
    if len(set(inputs)) < len(inputs):
        return None  # a carry of one is something else in the other
    history = list(dict.fromkeys([*x.history, *y.history]))
    strict = list(dict.fromkeys([*x.made[: x.strict], *y.made[: y.strict]]))
    made = list(dict.fromkeys([*strict, *x.made, *y.made]))
    place_of = {c: i for i, c in enumerate(carries)}
    again = () if x.again is None else (x.again,)
    body = Body(
        a.attrs["body"].graph,
        tuple(inputs),
        (*[out for _, out in carries], *again, *made),
        a.attrs["body"].given | b.attrs["body"].given,
    )
    shown = {h for z in (x, y) for h in z.history if h not in z.loose}
    attrs = {
        **a.attrs,
        "body": body,
        "carries": len(carries),
        "scanned": len(rows),
        "history": tuple(place_of[h] for h in history),
        "loose": tuple(place_of[h] for h in history if h not in shown),
        "strict": len(strict),
        "marks": next(iter(marks), None),
        "unshaped": tuple(
            i for i, c in enumerate(carries) if c in x.unshaped | y.unshaped
        ),
    }
    if "updates" in attrs:
        attrs["updates"] = _updates(body, len(x.head))
    values = [*x.head, *carries.values(), *rows.values(), *rest.values()]
    merged = Node(a.op, a.opdef, attrs, values, list(a.after))
    place: dict[Any, int] = {"count": 0}
    for c in carries:
        place["final", c] = len(place)
    for h in history:
        place["history", h] = len(place)
    for t in made:
        place["stack", t] = len(place)
    return _with_outputs(merged, [(a, _roles(x)), (b, _roles(y))], place)


def _roles(x: _Loop) -> list[Any]:
    return [
        "count",
        *[("final", c) for c in x.carries],
        *[("history", h) for h in x.history],
        *[("stack", t) for t in x.made],
    ]


def _updates(body: Body, first: int) -> tuple[int, ...]:
    written = body.written()
    return tuple(first + i for i, t in enumerate(body.inputs) if t in written)


def _union_of_branches(a: Node, b: Node) -> _Merged | None:
    case = a.opdef.inputs[0] == "index"
    if a.attrs.get("site") != b.attrs.get("site"):
        return None  # two calls, each with its own draws and writes
    if a.opdef is not b.opdef or (case and a.inputs[0] is not b.inputs[0]):
        return None
    values: list[Value] = list(a.inputs[:1]) if case else []
    place: dict[Value, int] = {}
    bodies, wires = [], []
    columns = list(
        dict.fromkeys(
            [
                *zip(*[body.outputs for body in a.attrs["branches"]]),
                *zip(*[body.outputs for body in b.attrs["branches"]]),
            ]
        )
    )
    for k, mine in enumerate(a.attrs["branches"]):
        theirs = b.attrs["branches"][k]
        joined = _joined(
            dict(zip(mine.inputs, [a.inputs[i] for i in a.attrs["wires"][k]])),
            dict(zip(theirs.inputs, [b.inputs[i] for i in b.attrs["wires"][k]])),
        )
        if joined is None:
            return None
        wire = []
        for v in joined.values():
            if v not in place:
                place[v] = len(values)
                values.append(v)
            wire.append(place[v])
        wires.append(tuple(wire))
        outputs = tuple(column[k] for column in columns)
        given = mine.given | theirs.given
        bodies.append(Body(mine.graph, tuple(joined), outputs, given))
    attrs = {**a.attrs, "branches": tuple(bodies), "wires": tuple(wires)}
    if "updates" in attrs:
        written: dict[int, None] = {}
        for body, passed in zip(bodies, wires):
            for i in _updates(body, 0):
                written[passed[i]] = None
        attrs["updates"] = tuple(written)
    merged = Node(a.op, a.opdef, attrs, values, list(a.after))
    where = {column: k for k, column in enumerate(columns)}
    sides = [
        (node, list(zip(*[body.outputs for body in node.attrs["branches"]])))
        for node in (a, b)
    ]
    return _with_outputs(merged, sides, where)


def _with_outputs(
    merged: Node, sides: list[tuple[Node, list[Any]]], place: Mapping[Any, int]
) -> _Merged:
    """Give the merged node outputs like those of the nodes that it stands for."""
    made: list[Value | None] = [None] * len(place)
    subst: dict[Value, Value] = {}
    for node, roles in sides:
        for role, v in zip(roles, node.outputs):
            k = place[role]
            found = made[k]
            if found is None:
                found = Value(NODE, v.dtype, v.dims, v.tensor, merged, k, v.value)
                made[k] = found
            subst[v] = found
    merged.outputs = tuple(v for v in made if v is not None)
    return _Merged(merged, subst)


# -- putting it in their place ---------------------------------------------------------


class _Merging:
    """The nodes of a program while some take the place of others."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._nodes: list[Node | None] = list(program.nodes)
        self._position = {n: i for i, n in enumerate(program.nodes)}
        self._readers: dict[Value, list[Node]] = defaultdict(list)
        self._waiting: dict[Node, list[Node]] = defaultdict(list)
        #: What stands for values and nodes that are gone.
        self._subst: dict[Value, Value] = {}
        self._instead: dict[Node, Node] = {}
        for node in program.nodes:
            self._note(node)

    def _note(self, node: Node) -> None:
        for v in node.inputs:
            self._readers[v].append(node)
        for other in node.after:
            self._waiting[other].append(node)

    def replace(self, old: list[Node], new: _Merged) -> list[Node] | None:
        """Put ``new`` in the place of ``old``; returns who reads it, and None where
        that would be a cycle."""
        merged, subst = new
        position = self._position
        first = min(position[n] for n in old)
        needs = [v.node for v in merged.inputs if v.node is not None]
        if all(position[n] < first for n in (*needs, *merged.after)):
            for n in old:
                self._nodes[position.pop(n)] = None
            self._nodes[first], position[merged] = merged, first
        elif not self._sort(old, new):
            return None
        self._note(merged)
        readers = {n for v in subst for n in self._readers.pop(v, ()) if n in position}
        for node in readers:
            node.redirect(subst)
            for v in node.inputs:
                if v.node is merged:
                    self._readers[v].append(node)
        for n in old:
            self._instead[n] = merged
            for node in self._waiting.pop(n, ()):
                node.after = [merged if n is m else m for m in node.after]
                self._waiting[merged].append(node)
        self._subst.update(subst)
        return list(readers)

    def _sort(self, old: list[Node], new: _Merged) -> bool:
        """Put ``new`` where it can be; whether it can."""
        merged, subst = new
        gone = set(old)
        nodes = [n for n in self._nodes if n is not None and n not in gone]
        order = _sorted([*nodes, merged], subst, gone, merged)
        if order is None:
            if merged.opdef.effect is not None:
                raise InvalidArgumentError(
                    merged.op.explain(
                        "its derivative depends on its own result, so it would have "
                        "to run twice, but it draws random numbers or writes variables"
                    ),
                    merged.op,
                )
            return False
        self._nodes = list(order)
        self._position = {n: i for i, n in enumerate(order)}
        return True

    def finish(self) -> None:
        """Give the program its nodes."""
        program = self.program
        program.nodes = [n for n in self._nodes if n is not None]
        program.fetches = [_last(v, self._subst) for v in program.fetches]
        program.targets = [_last(n, self._instead) for n in program.targets]


def _last(item: _Item, instead: Mapping[_Item, _Item]) -> _Item:
    while item in instead:
        item = instead[item]
    return item


def _sorted(
    nodes: list[Node], subst: Mapping[Value, Value], gone: set[Node], merged: Node
) -> list[Node] | None:
    """The nodes in topological order, near to the order that they have."""
    position = {n: i for i, n in enumerate(nodes)}
    waits: list[int] = []
    readers: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        needs = set()
        for v in node.inputs:
            source = subst.get(v, v).node
            if source is not None:
                needs.add(position[source])
        for n in node.after:
            needs.add(position[merged if n in gone else n])
        for j in needs:
            readers[j].append(i)
        waits.append(len(needs))
    ready = [i for i, n in enumerate(waits) if not n]
    heapify(ready)
    order = []
    while ready:
        i = heappop(ready)
        order.append(nodes[i])
        for j in readers[i]:
            waits[j] -= 1
            if not waits[j]:
                heappush(ready, j)
    return order if len(order) == len(nodes) else None
