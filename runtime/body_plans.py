"""Plans of the bodies of control operations, as far as shapes are known.

A body is planned like a run of its own: its inputs are fed, its outputs fetched.
Where the shapes are known when the run around it is planned, so is the body: its
memory counts in the predicted peak, and nothing is planned during the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.shapes import Dims, is_static
from ..graphlib.subgraph import Body
from .plan import SAME, Plan
from .program import Node, needed_operations

__all__ = [
    "BodyKey",
    "body_bytes",
    "donated_carries",
    "keys_of",
    "moving_carries",
    "numbers",
    "plan_body",
    "spare_buffers",
]


class BodyKey(NamedTuple):
    """What one plan of a body is for (fed inputs only; None: unknown shape).

    ``values`` are (input, numbers) of the inputs that are sizes.
    """

    body: Body
    donated: tuple[int, ...]
    shapes: tuple[Dims, ...]
    values: tuple[tuple[int, tuple[int, ...]], ...] = ()


def fed_inputs(body: Body) -> list[Any]:
    """The inputs that a run feeds: all but variables."""
    return [t for t, fed in zip(body.inputs, body.fed) if fed]


def donated_carries(attrs: Mapping[str, Any]) -> tuple[int, ...]:
    """The carries of a loop whose memory an iteration may overwrite: those of which
    no history is kept."""
    return tuple(i for i in range(attrs["carries"]) if i not in attrs["history"])


def plan_body(key: BodyKey) -> Plan:
    """The plan of one run of a body."""
    from .compiler import compile_plan

    body = key.body
    feeds = fed_inputs(body)
    values = {
        i: np.array(v, feeds[i].dtype.dtype).reshape(_known(key.shapes[i]))
        for i, v in key.values
    }
    outputs = [t for t in body.outputs if t is not None]
    return compile_plan(
        needed_operations(outputs, (), feeds),
        outputs,
        (),
        feeds,
        key.shapes,
        whole=True,
        donated=[(i, i) for i in key.donated],
        feed_values=values,
    )


def _known(dims: Dims) -> tuple[int, ...]:
    assert is_static(dims)
    return dims


def keys_of(node: Node) -> Iterator[BodyKey]:
    """The bodies of a control node whose shapes are known."""
    attrs = node.attrs
    if node.opdef.control == "loop":
        body: Body = attrs["body"]
        first = attrs["bounded"] + attrs["tested"]
        values = node.inputs[first:]
        k, n = attrs["carries"], attrs["scanned"]
        given = [(v.dims, None) for v in values[:k]]
        rows = [None if v.dims is None else v.dims[1:] for v in values[k : k + n]]
        given += [(dims, None) for dims in rows]
        given += [(v.dims, v.value) for v in values[k + n :]]
        pairs = [(body, donated_carries(attrs), given)]
    else:
        pairs = [
            (body, (), [(node.inputs[i].dims, node.inputs[i].value) for i in wires])
            for body, wires in zip(attrs["branches"], attrs["wires"])
        ]
    for body, donated, given in pairs:
        fed = [g for g, is_fed in zip(given, body.fed) if is_fed]
        sizes = [(i, fed[i][1]) for i in body.sizes]
        known = all(isinstance(v, np.ndarray) for _, v in sizes)
        if known and all(is_static(dims) for dims, _ in fed):
            told = tuple((i, numbers(v)) for i, v in sizes)
            yield BodyKey(body, donated, tuple(dims for dims, _ in fed), told)


def numbers(sizes: Any) -> tuple[int, ...]:
    """The values of an input that is sizes, as a part of a key."""
    return tuple(np.asarray(sizes).reshape(-1).tolist())


def spare_buffers(
    node: Node, plans: Sequence[tuple[BodyKey, Plan]]
) -> tuple[tuple[Any, tuple[int, ...]], ...]:
    """(dtype, shape) of a loop's second buffers: one for each carry that is no row of
    a history, goes around changed, and is not changed in place."""
    if node.opdef.control != "loop":
        return ()
    return tuple(
        (slot.dtype.dtype, slot.dims)
        for key, plan in plans
        for i in moving_carries(plan, key.donated)
        for slot in [plan.slots[plan.fetches[i]]]
        if is_static(slot.dims)
    )


def moving_carries(plan: Plan, donated: Sequence[int]) -> list[int]:
    """The carries of a loop's body that alternate between two buffers."""
    return [
        i
        for i in donated
        if plan.slots[plan.fetches[i]].kind != SAME and plan.fetches[i] != plan.feeds[i]
    ]


def body_bytes(plans: Sequence[tuple[BodyKey, Plan]]) -> int:
    """Bytes that a control node's bodies take: the arena of the one that takes most."""
    return max((p.arena_bytes + p.transient_bytes for _, p in plans), default=0)
