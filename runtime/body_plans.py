"""Plans of the bodies of control operations, as far as shapes are known.

A body is planned like a run of its own: its inputs are fed, its outputs fetched.
Where the shapes are known when the run around it is planned, so is the body: its
memory counts in the predicted peak, and nothing is planned during the run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.records import replace
from ..graphlib.shapes import Dims, is_static
from ..graphlib.subgraph import Body
from .plan import SAME, Plan
from .program import Node, needed_operations
from .segment_plans import Loops, Scratch, row_spec, scratch_of
from .settings import Settings

__all__ = [
    "BodyKey",
    "body_bytes",
    "donated_carries",
    "keys_of",
    "moving_carries",
    "numbers",
    "plan_body",
    "spare_buffers",
    "tells_all",
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
    no history is kept, and all where states are only copied when a segment starts."""
    whole = attrs["history"] if attrs["marks"] is None else ()
    return tuple(i for i in range(attrs["carries"]) if i not in whole)


def plan_body(key: BodyKey, settings: Settings) -> Plan:
    """The plan of one run of a body."""
    from .compiler import compile_plan, passes_of

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
        # The limit is that of the run around the body, which counts it.
        settings=replace(settings, memory_limit=None, rewrites=passes_of(settings)),
    )


def _known(dims: Dims) -> tuple[int, ...]:
    assert is_static(dims)
    return dims


def keys_of(node: Node) -> Iterator[BodyKey]:
    """The bodies of a control node whose shapes are known."""
    attrs = node.attrs
    pairs: list[Any]
    if node.opdef.control == "loop":
        pairs = [_of_loop(attrs, _of_iteration(attrs, node.inputs))]
    elif "schedule" in attrs:
        loops = Loops(attrs)
        forward, backward = loops.known(node.inputs)
        pairs = [
            _of_loop(loops.sweep, forward),
            _of_loop(loops.tape, forward),
            _of_loop(loops.backward, backward),
        ]
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


def _of_iteration(attrs: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """What is known of the inputs of a loop's body, from that of the loop's."""
    first = attrs["bounded"] + attrs["tested"]
    k, n = attrs["carries"], attrs["scanned"]
    values = inputs[first:]
    rows = [row_spec(a) for a in values[k : k + n]]
    return [*values[:k], *rows, *values[k + n :]]


def _of_loop(attrs: Mapping[str, Any], values: Sequence[Any]) -> Any:
    """The body of a loop, the carries that it may overwrite, and what is known of what
    an iteration is passed."""
    changing = attrs["carries"] + attrs["scanned"]
    given = [(v.dims, None) for v in values[:changing]]
    given += [(v.dims, v.value) for v in values[changing:]]
    return attrs["body"], donated_carries(attrs), given


def numbers(sizes: Any) -> tuple[int, ...]:
    """The values of an input that is sizes, as a part of a key."""
    return tuple(np.asarray(sizes).reshape(-1).tolist())


def spare_buffers(
    node: Node, plans: Sequence[tuple[BodyKey, Plan]], spent: Collection[int] = ()
) -> Scratch:
    """(dtype, shape) of a loop's second buffers: one for each carry that is no row of
    a history, goes around changed, and is not changed in place.

    ``spent`` are the cotangents of a checkpointed gradient that need none.
    """
    if "schedule" in node.attrs:
        return _of_segments(node, plans, spent)
    if node.opdef.control != "loop":
        return ()
    return tuple(
        (slot.dtype.dtype, slot.dims)
        for key, plan in plans
        for i in moving_carries(plan, key.donated)
        for slot in [plan.slots[plan.fetches[i]]]
        if is_static(slot.dims)
    )


def _of_segments(
    node: Node, plans: Sequence[tuple[BodyKey, Plan]], spent: Collection[int]
) -> Scratch:
    """The memory of a checkpointed gradient, where all shapes are known."""
    loops = Loops(node.attrs)
    planned = {key.body: plan for key, plan in plans}
    tape = planned.get(loops.tape["body"])
    backward = planned.get(loops.backward["body"])
    if tape is None or backward is None:
        return ()
    made = [tape.slots[s] for s in tape.fetches[loops.carries :]]
    scratch = scratch_of(loops, node.inputs, made)
    if not scratch and (made or not loops.marked):
        return ()
    donated = donated_carries(loops.backward)
    moving = [
        backward.slots[backward.fetches[i]]
        for i in moving_carries(backward, donated)
        if i not in spent
    ]
    if not all(is_static(s.dims) for s in moving):
        return ()
    return scratch + tuple((s.dtype.dtype, _known(s.dims)) for s in moving)


def moving_carries(plan: Plan, donated: Sequence[int]) -> list[int]:
    """The carries of a loop's body that alternate between two buffers."""
    return [
        i
        for i in donated
        if plan.slots[plan.fetches[i]].kind != SAME and plan.fetches[i] != plan.feeds[i]
    ]


def tells_all(node: Node, plans: Sequence[tuple[BodyKey, Plan]]) -> bool:
    """Whether the plans of a control node's bodies tell all memory that they take: the
    segments of a gradient take some for as many iterations as there are."""
    if "schedule" in node.attrs and Loops(node.attrs).iterations(node.inputs) is None:
        return False
    return all(plan.exact for _, plan in plans)


def body_bytes(plans: Sequence[tuple[BodyKey, Plan]]) -> int:
    """Bytes that a control node's bodies take: the arena of the one that takes most."""
    return max((p.arena_bytes + p.transient_bytes for _, p in plans), default=0)
