"""The least to keep at the peak when what is nearly free is computed again.

Values that lie idle at the peak are each kept, or computed again from others by cheap
steps.  The cheapest set to keep is a least cut: each value is an edge with its bytes
as capacity, what dear steps make comes from the source, and what is needed later goes
to the sink.  It may keep a value that would be dead, in the place of several that are
made of it.

Source: the partition of forward and backward graphs by PyTorch's AOTAutograd (2022).
"""

from __future__ import annotations

from collections.abc import Hashable

from ..graphlib.flows import near_side
from .recompute import Choice
from .recompute_trials import Trials

__all__ = ["least_cut"]

#: Edges of the largest network that is solved: it takes well under a second.
_LARGEST = 6_000


def least_cut(state: Trials, density: float) -> Choice | None:
    """What to drop and hold where steps that cost at most ``density`` for each byte may
    run again; None where there is nothing to drop, or the program is too large."""
    steps, base = state.steps, state.base
    turn = int(base.live.argmax())
    needed = {b: (a, t) for b, a, t in base.gaps if a < turn < t}
    net: dict[tuple[Hashable, Hashable], int | None] = {}
    stack = list(needed)
    seen = set(stack)
    while stack:
        b = stack.pop()
        net[(b, 0), (b, 1)] = steps.nbytes[b]
        if b in needed:
            net[(b, 1), "end"] = None
        s = steps.producer[b]
        # Computed again wherever it is needed, from what is there or kept.
        if steps.limit[b] < turn or steps.cost[s] > density * steps.nbytes[b]:
            net["start", (b, 0)] = None
            continue
        for c in steps.reads[s]:
            if steps.kept[c]:
                continue
            net[(c, 1), (b, 0)] = None
            if c not in seen:
                seen.add(c)
                stack.append(c)
        if len(net) > _LARGEST:
            return None
    if not any(a == "start" for a, _ in net):
        return None
    near = near_side(net, "start", "end")
    saved = {b for b in seen if (b, 0) in near and (b, 1) not in near}
    choice = Choice()
    for b, (a, _) in needed.items():
        if b not in saved and steps.limit[b] >= turn:
            choice.drops.add((a, b))
    for b in saved - needed.keys():
        choice.held.add((steps.last[b], b))
    return choice if choice.drops else None
