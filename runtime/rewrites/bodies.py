"""Run a loop once that is there twice: bare, and with what a derivative needs.

A derivative rule builds the loop or branch that it differentiates again, over the
same subgraph and inputs, with more outputs (what the backward pass reads) or more
inputs (the tangents).  The wider one makes all that the bare one makes, so it takes
its place; two that both are wider become one with the outputs of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

from ...graphlib.errors import InvalidArgumentError
from ...graphlib.subgraph import Body
from ..program import NODE, Node, Program, Value


class _Merged(NamedTuple):
    """A node that takes the place of two, and what stands for their outputs."""

    node: Node
    subst: dict[Value, Value]


def merge_bodies(program: Program) -> int:
    """Merge control nodes over the same subgraphs; returns how many were dropped."""
    groups: dict[Any, list[Node]] = {}
    for node in program.nodes:
        control = node.opdef.control
        if control == "loop":
            groups.setdefault(node.attrs["body"].graph, []).append(node)
        elif control == "branch":
            graphs = tuple(b.graph for b in node.attrs["branches"])
            groups.setdefault(graphs, []).append(node)
    dropped = 0
    for nodes in groups.values():
        if len(nodes) > 1:
            dropped += _merge_group(program, nodes)
    return dropped


def _merge_group(program: Program, nodes: list[Node]) -> int:
    dropped = 0
    kept: list[Node] = []
    for node in sorted(nodes, key=lambda n: (-len(n.inputs), n.op.id)):
        for wide in kept:
            merged = _union(wide, node)
            if merged is not None and _replace(program, [wide, node], merged):
                kept[kept.index(wide)] = merged.node
                dropped += 1
                break
        else:
            kept.append(node)
    return dropped


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
        bodies.append(Body(mine.graph, tuple(joined), outputs))
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


def _replace(program: Program, old: list[Node], new: _Merged) -> bool:
    """Put ``new`` in the place of ``old``; False where that would be a cycle."""
    merged, subst = new
    gone = set(old)
    nodes = [n for n in program.nodes if n not in gone] + [merged]
    order = _sorted(nodes, subst, gone, merged)
    if order is None:
        if merged.opdef.effect is not None:
            raise InvalidArgumentError(
                merged.op.explain(
                    "its derivative depends on its own result, so it would have to "
                    "run twice, but it draws random numbers or writes variables"
                ),
                merged.op,
            )
        return False
    for node in order:
        node.redirect(subst)
        node.after = [merged if n in gone else n for n in node.after]
    program.nodes = order
    program.fetches = [subst.get(v, v) for v in program.fetches]
    program.targets = [merged if n in gone else n for n in program.targets]
    return True


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
