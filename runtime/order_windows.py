"""An order made better where it needs most: the nodes around its peak in the best order
of their own.

What runs before a stretch of an order and what runs after it stay what they are; so
does what is alive at its ends.  In between, the nodes are a small program, whose best
order is found by search.  That is repeated at the peak that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .exact_order import exact_order
from .liveness import Flat, Spans, live_bytes, spans

if TYPE_CHECKING:
    from .schedule import Problem

__all__ = ["lower_peak"]

#: Nodes in a stretch, and where in it the peak is.
_STRETCHES = ((12, 0.5), (24, 0.5), (24, 0.25), (24, 0.75), (40, 0.5))
#: Nodes of a program whose steps are counted anew in the time of one state.
_NODES_A_STATE = 50


def lower_peak(
    problem: Problem, flat: Flat, nodes: Sequence[int], least: int, effort: int
) -> list[int]:
    """``nodes`` in an order with a peak that is lower, or as it was.

    Args:
        flat: the problem as arrays.
        least: bytes that no order can go below.
        effort: states that may be looked at, in all stretches; one takes about 10 us.
    """
    best = list(nodes)
    while effort > 0:
        effort -= len(best) // _NODES_A_STATE
        span = spans(flat, best)
        live = live_bytes(flat, span)
        peak, at = int(live.max()), int(live.argmax())
        if peak <= least:
            break
        for length, share in _STRETCHES:
            start = max(0, at - int(length * share))
            stop = min(len(best), start + length)
            most = min(effort, 16 * length)
            effort -= most
            inner = best[start:stop]
            small = _stretch(problem, flat, span, inner, start, stop)
            found = exact_order(small, peak, most)
            if found is not None:
                best[start:stop] = [inner[n - 1] for n in found if n]
                break
            if effort <= 0:
                break
        else:
            break
    return best


def _stretch(
    problem: Problem, flat: Flat, span: Spans, nodes: list[int], start: int, stop: int
) -> Problem:
    """The nodes of steps ``start`` to before ``stop`` as a program: its node 0 makes
    all that is alive before them."""
    first, last = span.first, span.last
    enters = (first >= 0) & (first < start) & (last >= start)
    later = (last >= stop) | flat.kept
    known = np.flatnonzero(enters & ~later).tolist()
    within = {n: k for k, n in enumerate(nodes, 1)}
    index = {b: k for k, b in enumerate(known, 1)}
    # What nobody in the stretch may free is one buffer.
    nbytes = [int(flat.nbytes[enters & later].sum()), *flat.nbytes[known].tolist()]
    kept = {0}
    reads: list[list[int]] = [[]]
    writes = [list(range(len(nbytes)))]
    after: list[list[int]] = [[]]
    inplace: list[list[tuple[int, int]]] = [[]]
    for n in nodes:
        made = []
        for b in problem.writes[n]:
            index[b] = len(nbytes)
            made.append(len(nbytes))
            nbytes.append(problem.nbytes[b])
            if later[b]:
                kept.add(index[b])
        writes.append(made)
    for n in nodes:
        reads.append([index[b] for b in problem.reads[n] if b in index])
        after.append([0, *(within[m] for m in problem.after[n] if m in within)])
        pairs = [p for p in problem.inplace[n] if p[0] in index and p[1] in index]
        inplace.append([(index[out], index[into]) for out, into in pairs])
    work = [0, *(problem.work[n] for n in nodes)]
    return type(problem)(reads, writes, after, nbytes, frozenset(kept), work, inplace)
