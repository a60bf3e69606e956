"""Walks over a graph.  Every walk uses an explicit stack: depth is no limit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from .operation import Operation, is_control
from .tensor import Tensor

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["ancestors", "between", "captured_from", "depth_and_id"]


def ancestors(
    ops: Iterable[Operation],
    control: bool = True,
    stop: Callable[[Operation], bool] | None = None,
) -> list[Operation]:
    """``ops`` and everything they need, in order of creation.

    Args:
        ops: where to start.
        control: whether to follow control dependencies too.
        stop: operations whose inputs are not followed.
    """
    seen: set[Operation] = set()
    stack = list(ops)
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        seen.add(op)
        if stop is not None and stop(op):
            continue
        for t in op.inputs:
            if t.op not in seen:
                stack.append(t.op)
        if control:
            stack.extend(op.control_inputs)
    return sorted(seen, key=_id)


def between(
    ys: Iterable[Tensor], xs: Iterable[Tensor], stops: frozenset[Tensor] | set[Tensor]
) -> list[Operation]:
    """The operations on a differentiable path from ``xs`` to ``ys``, in order.

    Touches only ancestors of ``ys`` that are no older than the oldest of
    ``xs``: an older operation cannot depend on them.  ``stops`` are tensors
    behind which no path is followed.  From a body the path goes on in the
    graphs around it: what a body captures depends on what it stands for.
    Through a loop, branch or function it goes where its bodies let it.
    """
    targets = set(xs)
    if not targets:
        return []
    oldest: dict[Any, int] = {}
    for x in targets:
        graph = x.op.graph
        oldest[graph] = min(x.op.id, oldest.get(graph, x.op.id))
    seen: set[Operation] = set()
    stack = [y.op for y in ys if y.dtype.is_inexact and y not in stops]
    nested = False
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        graph = op.graph
        first = oldest.get(graph)
        if first is None:
            # Outside of all xs nothing depends on them; in a body it may.
            first = oldest[graph] = 0 if _inside_any(graph, oldest) else _NEVER
        if op.id < first:
            continue
        opdef = op.opdef
        inputs = op.inputs
        if opdef.vjp is None and opdef.no_gradient is None:
            inputs = captured_from(op)
            if not inputs:
                continue
        nested = nested or graph.outer is not None
        seen.add(op)
        for t in inputs:
            if t.op not in seen and t.dtype.is_inexact and t not in stops:
                stack.append(t.op)
    found = []
    reached: set[Operation] = set()
    inside: set[Tensor] = set()  # reached outputs of operations with bodies
    for op in sorted(seen, key=depth_and_id if nested else _id):
        here = 0  # the inputs that are reached, as bits
        bodies = op.opdef.control is not None and is_control(op)
        for i, t in enumerate(op.inputs or captured_from(op)):
            if t.dtype.is_inexact and (
                t in targets or ((t.op in reached or t in inside) and t not in stops)
            ):
                here |= 1 << i
                if not bodies:
                    break
        if bodies and here:
            from .passages import passages

            flows = zip(op.outputs, passages(op))
            outs = [t for t, flow in flows if flow.leads & here]
            inside.update(outs)
            if outs:
                found.append(op)
        elif here:
            reached.add(op)
            found.append(op)
    return found


_NEVER = sys.maxsize


def captured_from(op: Operation) -> tuple[Tensor, ...]:
    """The tensor outside of a body that an input of the body stands for, if any."""
    graph = op.graph
    if graph.outer is None or not op.outputs:
        return ()
    source = graph.source_of(op.outputs[0])
    return () if source is None else (source,)


def _inside_any(graph: Graph, others: Iterable[Graph]) -> bool:
    return any(graph.is_inside(other) for other in others)


_id: Callable[[Operation], int] = attrgetter("id")


def depth_and_id(op: Operation) -> tuple[int, int]:
    """Sorts what is captured before the body that captures it."""
    depth = 0
    graph = op.graph.outer
    while graph is not None:
        depth += 1
        graph = graph.outer
    return depth, op.id
