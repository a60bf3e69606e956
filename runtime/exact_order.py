"""The best order of a small program, by search over what has run.

A state is the set of nodes that have run; what is alive then depends on nothing else.
The way to the last state with the least peak is found as in Dijkstra's algorithm, with
the larger of two peaks in the place of a sum.  A ready node that neither adds to what
is alive nor needs more than the peak so far may run at once: in the best order that
follows, moving it to the front raises nothing.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

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
    came: dict[int, tuple[int, list[int]]] = {0: (0, [])}
    closed: set[int] = set()
    heap = [(0, 0, 0)]  # (peak, nodes left, state)
    size = len(problem.reads)
    while heap and most > 0:
        peak, _, state = heappop(heap)
        if state in closed:
            continue
        closed.add(state)
        most -= 1
        at, ran = small.run_free(state, peak)
        if at == small.all:
            return small.way(came, state, ran)
        live = small.live(at)
        for v in small.ready(at):
            top = max(peak, small.need(at, v, live))
            new = at | 1 << v
            if top >= limit or new in closed:
                continue
            known = came.get(new)
            if known is None or top < known[0]:
                came[new] = top, [state, *ran, v]
                heappush(heap, (top, size - new.bit_count(), new))
    return None


class _Small:
    """A problem as bit masks over its nodes."""

    def __init__(self, problem: Problem) -> None:
        size = len(problem.reads)
        self.all = (1 << size) - 1
        self.nbytes = list(problem.nbytes)
        self.work = list(problem.work)
        producer = {b: n for n, made in enumerate(problem.writes) for b in made}
        self.writes = [list(made) for made in problem.writes]
        self.reads = [
            [b for b in dict.fromkeys(read) if b in producer] for read in problem.reads
        ]
        self.waits = [0] * size
        self.readers = dict.fromkeys(producer, 0)
        for n in range(size):
            for b in self.reads[n]:
                self.readers[b] |= 1 << n
                self.waits[n] |= 1 << producer[b]
            for m in problem.after[n]:
                self.waits[n] |= 1 << m
        self.kept = {b for b in problem.kept if b in producer}
        self.pairs = [
            [
                (out, into)
                for out, into in problem.inplace[n]
                if into in producer
                and into not in self.kept
                and into not in self.writes[n]
                and out in self.writes[n]
                and self.nbytes[out] == self.nbytes[into]
                and into in self.reads[n]
            ]
            for n in range(size)
        ]
        self.producer = producer

    def ready(self, state: int) -> list[int]:
        """The nodes that may run next."""
        return [
            n
            for n, waits in enumerate(self.waits)
            if not state >> n & 1 and not waits & ~state
        ]

    def live(self, state: int) -> int:
        """Bytes alive when these nodes have run."""
        return sum(
            self.nbytes[b]
            for b, n in self.producer.items()
            if state >> n & 1 and (b in self.kept or self.readers[b] & ~state)
        )

    def need(self, state: int, v: int, live: int) -> int:
        """Bytes alive while ``v`` runs."""
        need = live + self.work[v] + sum(self.nbytes[b] for b in self.writes[v])
        outs, taken = set(), set()
        for out, into in self.pairs[v]:
            last = not self.readers[into] & ~state & ~(1 << v)
            if last and out not in outs and into not in taken:
                outs.add(out)
                taken.add(into)
                need -= self.nbytes[out]
        return need

    def run_free(self, state: int, peak: int) -> tuple[int, list[int]]:
        """Run what costs nothing; the state then, and what ran."""
        ran: list[int] = []
        live = self.live(state)
        moved = True
        while moved:
            moved = False
            for v in self.ready(state):
                after = self.live(state | 1 << v)
                if after <= live and self.need(state, v, live) <= peak:
                    state, live, moved = state | 1 << v, after, True
                    ran.append(v)
        return state, ran

    @staticmethod
    def way(
        came: dict[int, tuple[int, list[int]]], state: int, ran: list[int]
    ) -> list[int]:
        """The nodes on the way to a state, and those that ran then."""
        nodes = ran[::-1]
        while state:
            _, (state, *ran) = came[state]
            nodes += ran[::-1]
        return nodes[::-1]
