"""The best order of a small program, by search over what has run; and of the crowded
stretch of a large one.

A state is the set of nodes that have run; what is alive then depends on nothing else.
The way to the last state with the least peak is found as in Dijkstra's algorithm, with
the larger of two peaks in the place of a sum.  A ready node that neither adds to what
is alive nor needs more than the peak so far may run at once: in the best order that
follows, moving it to the front raises nothing.

Source: Ahn, Lee, Hsu, Kim, Serenity, Ordering chaos: memory-aware scheduling of
irregularly wired neural networks (MLSys 2020), for the search over sets of nodes with a
known peak as its bound; large programs are searched in windows of their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .schedule import Problem

__all__ = ["exact_order"]


def exact_order(
    problem: Problem, below: int | None = None, most: int = 100_000
) -> list[int] | None:
    """A topological order with the least peak of all.

    Args:
        problem: of a few dozen nodes: there may be exponentially many states.
        below: a peak in bytes that is known already.
        most: how many states may be looked at.

    Returns:
        The order; None where none is below ``below``, or none was found among
        ``most`` states.
    """
    small = _Small(problem)
    limit = below if below is not None else 1 + sum(small.nbytes) + sum(problem.work)
    size = len(problem.reads)
    # Per state, the best way to it: its peak, the bytes alive then, what may run next,
    # the state before, and what ran.
    # What no order can go below counts from the start: up to there all is free.
    came = {0: _Way(small.bound(problem), 0, small.first, 0, ())}
    closed: set[int] = set()
    heap = [(came[0].peak, 0, 0)]  # (peak, nodes left, state)
    if came[0].peak >= limit:
        return None
    while heap and most > 0:
        peak, _, state = heappop(heap)
        if state in closed:
            continue
        closed.add(state)
        most -= 1
        at, live, ready, ran = small.run_free(state, came[state])
        if at == small.all:
            return _nodes(came, state, ran)
        for v in ready:
            top = max(peak, small.need(at, v, live))
            new = at | 1 << v
            if top >= limit or new in closed:
                continue
            known = came.get(new)
            if known is None or top < known.peak:
                came[new] = _Way(
                    top,
                    small.after(new, v, live),
                    small.next(new, v, ready),
                    state,
                    (*ran, v),
                )
                heappush(heap, (top, size - new.bit_count(), new))
    return None


class _Way(NamedTuple):
    peak: int
    live: int
    ready: Sequence[int]
    before: int
    ran: tuple[int, ...]


def _nodes(came: dict[int, _Way], state: int, ran: Sequence[int]) -> list[int]:
    """The nodes on the way to a state, and those that ran then."""
    nodes = list(ran[::-1])
    while state:
        way = came[state]
        nodes += way.ran[::-1]
        state = way.before
    return nodes[::-1]


class _Small:
    """A problem as bit masks over its nodes.

    Attributes:
        waits, followers: per node, the nodes before it as a mask, those after it.
        makes, leaves: per node, bytes while it runs beyond what was alive, and those
            of its outputs that somebody reads later.
        frees: per node, (readers, bytes) of what it reads and what may die then.
        pairs: per node, (readers, output, input, bytes) of what it may overwrite.
    """

    def __init__(self, problem: Problem) -> None:
        size = len(problem.reads)
        self.all = (1 << size) - 1
        self.nbytes = nbytes = list(problem.nbytes)
        producer = {b: n for n, made in enumerate(problem.writes) for b in made}
        kept = {b for b in problem.kept if b in producer}
        readers = dict.fromkeys(producer, 0)
        self.waits = [0] * size
        reads = []
        for n, read in enumerate(problem.reads):
            reads.append([b for b in dict.fromkeys(read) if b in producer])
            for b in reads[n]:
                readers[b] |= 1 << n
                self.waits[n] |= 1 << producer[b]
            for m in problem.after[n]:
                self.waits[n] |= 1 << m
        self.producer, self.kept = producer, kept
        self.followers = [
            [m for m in range(size) if self.waits[m] >> n & 1] for n in range(size)
        ]
        self.first = [n for n in range(size) if not self.waits[n]]
        self.makes = [
            problem.work[n] + sum(nbytes[b] for b in problem.writes[n])
            for n in range(size)
        ]
        self.leaves = [
            sum(nbytes[b] for b in made if b in kept or readers[b])
            for made in problem.writes
        ]
        self.frees = [
            [(readers[b], nbytes[b]) for b in reads[n] if b not in kept and nbytes[b]]
            for n in range(size)
        ]
        self.pairs = [
            [
                (readers[into], out, into, nbytes[out])
                for out, into in problem.inplace[n]
                if into in producer
                and into not in kept
                and into not in problem.writes[n]
                and out in problem.writes[n]
                and nbytes[out] == nbytes[into]
                and into in reads[n]
            ]
            for n in range(size)
        ]

    def bound(self, problem: Problem) -> int:
        """Bytes that no order can go below: those of the hungriest node, or of all
        that is kept."""
        hungriest = 0
        for v, makes in enumerate(self.makes):
            held = {b for b in problem.reads[v] if b in self.producer}
            spared = {out: size for _, out, _, size in self.pairs[v]}
            need = makes + sum(self.nbytes[b] for b in held) - sum(spared.values())
            hungriest = max(hungriest, need)
        return max(hungriest, sum(self.nbytes[b] for b in self.kept))

    def need(self, state: int, v: int, live: int) -> int:
        """Bytes alive while ``v`` runs after ``state``, in which ``live`` are."""
        need = live + self.makes[v]
        pairs = self.pairs[v]
        if not pairs:
            return need
        left = ~(state | 1 << v)
        if len(pairs) == 1:
            ((readers, _, _, size),) = pairs
            return need if readers & left else need - size
        taken: set[int] = set()
        for readers, out, into, size in pairs:
            if not readers & left and out not in taken and into not in taken:
                taken.update((out, into))
                need -= size
        return need

    def after(self, new: int, v: int, live: int) -> int:
        """Bytes alive in ``new``, which ``v`` has led to."""
        live += self.leaves[v]
        for readers, size in self.frees[v]:
            if not readers & ~new:
                live -= size
        return live

    def next(self, new: int, v: int, ready: Sequence[int]) -> list[int]:
        """What may run in ``new``, which ``v`` has led to."""
        found = [n for n in ready if n != v]
        for n in self.followers[v]:
            if not self.waits[n] & ~new:
                found.append(n)
        return found

    def run_free(
        self, state: int, way: _Way
    ) -> tuple[int, int, Sequence[int], tuple[int, ...]]:
        """Run what costs nothing: the state then, the bytes alive in it, what may run
        next, and what ran."""
        peak, live, ready = way.peak, way.live, way.ready
        ran: list[int] = []
        moved = True
        while moved:
            moved = False
            for v in ready:
                new = state | 1 << v
                after = self.after(new, v, live)
                if after <= live and self.need(state, v, live) <= peak:
                    ready = self.next(new, v, ready)
                    state, live, moved = new, after, True
                    ran.append(v)
                    break
        return state, live, ready, tuple(ran)
