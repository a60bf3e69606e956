"""Whether one step in the place of several holds no more memory than they do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .convex import Units
from .program import NODE, Node, Value

__all__ = ["element", "holds_no_more", "saves_earlier"]


def holds_no_more(
    nodes: Sequence[Node],
    reads: Sequence[Collection[Value]],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    fetched: Collection[Value],
    stays: Callable[[Value], bool],
    may_overwrite: Callable[[int, int], bool],
) -> bool:
    """Whether one step, with all its arrays alive, keeps no more memory alive than its
    nodes one after the other; each may write where an operand dies.

    Args:
        nodes: in order.
        reads: per node, what it reads as it lies in memory.
        inputs, outputs: of the step.
        fetched: what is alive for the whole run.
        stays: whether others read an input.
        may_overwrite: whether an output may be where an input is, by their places.
    """
    until = {v: k for k, given in enumerate(reads) for v in given}
    given = [v for v in inputs if v.kind == NODE and v not in fetched]
    until.update({v: len(nodes) for v in given if stays(v)})
    made = [v for v in outputs if v not in fetched]
    together: int = sum(v.nbytes for v in (*given, *made))
    dying = [v for v in given if until[v] < len(nodes)]
    for out in made:
        k = outputs.index(out)
        for v in dying:
            same = v.dims == out.dims and v.dtype is out.dtype
            if same and may_overwrite(k, inputs.index(v)):
                together -= out.nbytes
                dying.remove(v)
                break
    return together <= _most(nodes, until, given, set(outputs), fetched)


def _most(
    nodes: Sequence[Node],
    until: dict[Value, int],
    given: Sequence[Value],
    leaving: Collection[Value],
    fetched: Collection[Value],
) -> int:
    """The most bytes that are alive while the nodes run one after the other."""
    alive = set(given)
    most = 0
    for k, node in enumerate(nodes):
        alive.update(v for v in node.outputs if v not in fetched)
        spent = [v for v in alive if v not in leaving and until.get(v, -1) <= k]
        saved = 0
        if node.opdef.elementwise:
            own = [v.nbytes for v in node.outputs if v in alive]
            ends = [v.nbytes for v in spent if v not in node.outputs]
            if own and ends and max(ends) >= max(own):
                saved = min(len(own), len(ends)) * max(own)
        most = max(most, sum(v.nbytes for v in alive) - saved)
        alive.difference_update(spent)
    return most


def saves_earlier(
    nodes: Sequence[Node],
    units: Units,
    made: Sequence[int],
    fetched: Collection[Value],
) -> bool:
    """Whether some of these nodes could run before something large that is made ahead
    of them, and what they make would be less than what that frees: masks, say, which
    are all that is needed of what they compare.

    Args:
        nodes: in order.
        made: how many large arrays are made before each place.
    """
    position, readers = units.position, units.readers
    place: dict[Node, int] = {}
    for n in nodes:
        sources = [v.node for v in n.inputs if v.node is not None]
        place[n] = max((place.get(m, position[m]) for m in sources), default=-1)
    last = made[max(place.values()) + 1]
    for p in sorted(set(place.values())):
        if made[p + 1] == last:
            return False
        early = {n for n in nodes if place[n] <= p}
        freed = {
            v
            for n in early
            for v in n.inputs
            if v.kind == NODE
            and v.node not in early
            and v not in fetched
            and element(v) is v
            and all(r in early or position[r] <= p for r in readers[v])
        }
        kept = {
            v
            for n in early
            for v in n.outputs
            if any(r not in early for r in readers[v])
        }
        if sum(v.nbytes for v in kept) < sum(v.nbytes for v in freed):
            return True
    return False


def element(v: Value) -> Value:
    """The scalar that all elements of a filled array are; else the array."""
    filled = v.node is not None and v.node.opdef.type == "Fill"
    return v.node.inputs[1] if filled and not v.node.after else v  # type: ignore[union-attr]
