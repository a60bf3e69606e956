"""What ``gradients(..., checkpoints=)`` asks for, carried out in a plan.

The forward values that are not to be kept are dropped after their last use before the
first backward operation that needs them, and computed again there by clones (see
``recomputed``); then they stay until their last use.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graphlib.operation import Operation
from ..graphlib.recomputation import Wish
from ..graphlib.tensor import Tensor
from .layout import Layout
from .program import Node
from .recompute import Choice, Outcome, Steps
from .recompute_search import fewest
from .recomputed import DENSE, arithmetic, run_again, steps_of
from .schedule import Order, Problem, leanest

__all__ = ["follow_wishes", "wishes_for"]


def wishes_for(operations: Sequence[Operation]) -> list[Wish]:
    """The wishes of gradients among these operations."""
    if not operations:
        return []
    graph = operations[-1].graph
    return [
        w
        for w in graph.wishes
        if any(w.first <= op.id < w.last for op in reversed(operations))
    ]


def follow_wishes(
    layout: Layout, problem: Problem, order: Order, wishes: Sequence[Wish]
) -> tuple[Layout, Problem, Order]:
    """The run with clones for what is not to be kept."""
    for w in wishes:
        nodes = leanest(problem)
        steps = steps_of(layout, problem, nodes)
        ordered = [layout.program.nodes[n] for n in nodes]
        for b, s in enumerate(steps.producer):
            if s >= 0 and ordered[s].op not in w.forward:
                steps.limit[b] = -1
        outcome = _outcome(layout, steps, ordered, w)
        if outcome.extra:
            layout, problem, order = run_again(layout, problem, nodes, outcome)
    return layout, problem, order


def _outcome(layout: Layout, steps: Steps, ordered: Sequence[Node], w: Wish) -> Outcome:
    """What runs, by the steps' numbers, for a wish."""
    if w.keep == "memory":
        return fewest(steps)
    choice = Choice()
    kept = _kept(layout, steps, ordered, w)
    backward = [w.first <= n.op.id < w.last for n in ordered]
    for b in kept:
        if not steps.kept[b]:
            choice.held.add((steps.last[b], b))
    for b, a, t in steps.follow(Choice()).gaps:
        if b not in kept and backward[t] and not backward[a]:
            choice.drops.add((a, b))
    return steps.follow(choice)


def _kept(layout: Layout, steps: Steps, ordered: Sequence[Node], w: Wish) -> set[int]:
    """The buffers that a wish keeps."""
    if w.keep == "speed":
        dense = []
        for node in ordered:
            elements, flops = arithmetic(node)
            dense.append(flops >= DENSE * elements)
        return {b for b, s in enumerate(steps.producer) if s >= 0 and dense[s]}
    assert not isinstance(w.keep, str)
    tensors = {_source(t) for t in w.keep}
    return {
        layout.owner[i]
        for i, v in enumerate(layout.values)
        if v.tensor in tensors and steps.producer[layout.owner[i]] >= 0
    }


def _source(t: Tensor) -> Tensor:
    """What a plan has in the place of an identity."""
    while t.op.type == "Identity" and t.op.opdef.override is None:
        t = t.op.inputs[0]
    return t
