"""Plans of the bodies of control operations, as far as shapes are known.

A body is planned like a run of its own: its inputs are fed, its outputs fetched.
Where the shapes are known when the run around it is planned, so is the body: its
memory counts in the predicted peak, and nothing is planned during the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..graphlib.shapes import Dims, is_static
from ..graphlib.subgraph import BODY_VARIABLE, Body
from .plan import FETCH, SAME, Plan
from .program import Node, needed_operations

__all__ = ["BodyKey", "body_bytes", "donated_carries", "keys_of", "plan_body"]


class BodyKey(NamedTuple):
    """What one plan of a body is for (fed inputs only; None: unknown shape)."""

    body: Body
    donated: tuple[int, ...]
    shapes: tuple[Dims, ...]


def fed_inputs(body: Body) -> list[Any]:
    """The inputs that a run feeds: all but variables."""
    return [t for t in body.inputs if t.op.opdef is not BODY_VARIABLE]


def donated_carries(attrs: Mapping[str, Any]) -> tuple[int, ...]:
    """The carries of a loop whose memory an iteration may overwrite: those of which
    no history is kept."""
    return tuple(i for i in range(attrs["carries"]) if i not in attrs["history"])


def plan_body(key: BodyKey) -> Plan:
    """The plan of one run of a body."""
    from .compiler import compile_plan

    body = key.body
    feeds = fed_inputs(body)
    outputs = [t for t in body.outputs if t is not None]
    return compile_plan(
        needed_operations(outputs, (), feeds),
        outputs,
        (),
        feeds,
        key.shapes,
        whole=True,
        donated=[(i, i) for i in key.donated],
    )


def keys_of(node: Node) -> Iterator[BodyKey]:
    """The bodies of a control node whose shapes are known."""
    attrs = node.attrs
    if node.opdef.control == "loop":
        body: Body = attrs["body"]
        first = attrs["bounded"] + attrs["tested"]
        values = node.inputs[first:]
        k, n = attrs["carries"], attrs["scanned"]
        dims = [v.dims for v in values[:k]]
        dims += [None if v.dims is None else v.dims[1:] for v in values[k : k + n]]
        dims += [v.dims for v in values[k + n :]]
        pairs = [(body, donated_carries(attrs), dims)]
    else:
        pairs = [
            (body, (), [node.inputs[i].dims for i in wires])
            for body, wires in zip(attrs["branches"], attrs["wires"])
        ]
    for body, donated, dims in pairs:
        fed = [d for d, t in zip(dims, body.inputs) if t.op.opdef is not BODY_VARIABLE]
        if all(is_static(d) for d in fed):
            yield BodyKey(body, donated, tuple(fed))


def body_bytes(node: Node, plans: Sequence[tuple[BodyKey, Plan]]) -> int:
    """Bytes that a control node takes beside its outputs: the most of one body, its
    arena and, in a loop, a second buffer for each carry that is no row of a history."""
    most = 0
    for key, plan in plans:
        if node.opdef.control == "loop":
            slots = plan.slots
            extra = sum(
                slots[plan.fetches[i]].nbytes
                for i in key.donated
                if slots[plan.fetches[i]].kind != SAME
                and plan.fetches[i] != plan.feeds[i]
            )
        else:
            extra = sum(s.nbytes for s in plan.slots if s.kind == FETCH)
        most = max(most, plan.arena_bytes + plan.transient_bytes + extra)
    return most
