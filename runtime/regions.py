"""Which steps of a plan run side by side, and where their memory is.

A region is a stretch of the order whose steps fall into branches that do not wait for
each other.  To all the rest of the plan it is one step: what it reads lives until its
end, what it makes lives from its start, and what a branch makes and uses up itself is
placed in a block of the branch's own.  So whatever two threads do at the same time,
they never share memory that one of them reuses.  Everything here is integers and
predicted microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graphlib.records import replace
from .memory import Placement, place
from .plan import Region
from .schedule import Problem

__all__ = ["find_regions", "live_apart", "no_takeovers_across", "place_apart"]

#: The least predicted time of a branch, in microseconds: a thread starts on it 10 us
#: after it is called, and predictions are rough.
_LEAST = 200.0
#: What a region costs beside its steps.
_OVERHEAD = 30.0
#: What it must save more for each step that it is wider: wide regions need memory.
_WIDTH = 1.0
#: Regions begin and end with steps of this time, and have at most so many steps.
_HEAVY = 20.0
_WIDEST = 64

Interval = tuple[int, int, int]  # first step, last step, bytes


def find_regions(
    problem: Problem,
    nodes: Sequence[int],
    costs: Sequence[float],
    allowed: Sequence[bool],
    threads: int,
) -> tuple[Region, ...]:
    """The disjoint regions of an order that save the most predicted time.

    Args:
        problem: what waits for what.
        nodes: the order.
        costs: per node, its predicted microseconds.
        allowed: per node, whether another thread may run it.
        threads: how many branches run at once.
    """
    waits = _waits(problem, nodes)
    cost = [costs[n] for n in nodes]
    free = [allowed[n] for n in nodes]
    count = len(nodes)
    # Most time saved by regions within the first i steps, and by which region last.
    saved = [0.0] * (count + 1)
    last: list[Region | None] = [None] * (count + 1)
    for start in range(count):
        if start and saved[start] < saved[start - 1]:
            saved[start], last[start] = saved[start - 1], None
        if not free[start] or cost[start] < _HEAVY:
            continue
        window = _Window(start)
        for step in range(start, min(start + _WIDEST, count)):
            if not free[step]:
                break
            window.add(step, waits[step], cost[step])
            if cost[step] < _HEAVY or len(window.long()) < 2:
                continue
            gain, branches = window.branches(threads)
            if saved[start] + gain > saved[step + 1]:
                saved[step + 1] = saved[start] + gain
                last[step + 1] = Region(start, step, branches)
    found: list[Region] = []
    at = count
    while at > 0:
        region = last[at]
        if region is None or saved[at] <= saved[at - 1]:
            at -= 1
        else:
            found.append(region)
            at = region.first
    return tuple(reversed(found))


def _waits(problem: Problem, nodes: Sequence[int]) -> list[list[int]]:
    """Per step, the earlier steps that it waits for."""
    step = {n: i for i, n in enumerate(nodes)}
    maker = {b: step[n] for n, made in enumerate(problem.writes) for b in made}
    return [
        [
            *[maker[b] for b in problem.reads[n] if b in maker],
            *[step[a] for a in problem.after[n]],
        ]
        for n in nodes
    ]


class _Window:
    """Consecutive steps, in sets that do not wait for each other."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.steps: dict[int, list[int]] = {}  # by the first step of the set
        self.load: dict[int, float] = {}
        self._set: dict[int, int] = {}

    def add(self, step: int, waits: Sequence[int], cost: float) -> None:
        """One more step: it joins the sets that it waits for."""
        joined = sorted({self._set[w] for w in waits if w >= self.start})
        home = joined[0] if joined else step
        members = self.steps.setdefault(home, [])
        for other in joined[1:]:
            for s in self.steps[other]:
                self._set[s] = home
            members += self.steps.pop(other)
            cost += self.load.pop(other)
        members.append(step)
        self._set[step] = home
        self.load[home] = self.load.get(home, 0.0) + cost

    def long(self) -> list[int]:
        """The sets that may pay; short ones may add up, two must be there."""
        return [k for k, load in self.load.items() if load >= _HEAVY]

    def branches(self, threads: int) -> tuple[float, tuple[tuple[int, ...], ...]]:
        """The sets dealt out to threads, the longest first, and the time it saves
        (negative where a branch is too short)."""
        hands: list[list[int]] = [[] for _ in range(min(threads, len(self.steps)))]
        loads = [0.0] * len(hands)
        for home in sorted(self.load, key=lambda k: (-self.load[k], k)):
            least = loads.index(min(loads))
            hands[least] += self.steps[home]
            loads[least] += self.load[home]
        # Where the third branch is too short, the second takes it over.
        kept = max(2, sum(load >= _LEAST for load in loads))
        for hand, load in zip(hands[kept:], loads[kept:]):
            least = loads.index(min(loads[:kept]))
            hands[least] += hand
            loads[least] += load
        hands, loads = hands[:kept], loads[:kept]
        if min(loads) < _LEAST:
            return -1.0, ()
        width = sum(map(len, hands))
        gain = sum(loads) - max(loads) - _OVERHEAD - _WIDTH * width
        return gain, tuple(tuple(sorted(hand)) for hand in hands)


def no_takeovers_across(
    problem: Problem, nodes: Sequence[int], regions: Sequence[Region]
) -> Problem:
    """The problem without takeovers of memory that another branch may be reading."""
    home = {nodes[s]: key for s, key in _homes(regions).items()}
    readers: dict[int, set[tuple[int, int]]] = {}
    for n, key in home.items():
        for b in problem.reads[n]:
            readers.setdefault(b, set()).add(key)
    inplace = list(problem.inplace)
    for n, (region, branch) in home.items():
        inplace[n] = [
            (out, taken)
            for out, taken in inplace[n]
            if all(r != region or b == branch for r, b in readers.get(taken, ()))
        ]
    return replace(problem, inplace=inplace)


def _homes(regions: Sequence[Region]) -> dict[int, tuple[int, int]]:
    """Step -> its region and branch."""
    return {
        step: (r, b)
        for r, region in enumerate(regions)
        for b, branch in enumerate(region.branches)
        for step in branch
    }


def _apart(
    intervals: Sequence[Interval], regions: Sequence[Region]
) -> tuple[list[tuple[int, Interval]], dict[tuple[int, int], list[int]]]:
    """Intervals (by number) that reach beyond a branch, widened to whole regions;
    and those within a branch, which read and write nowhere else."""
    homes = _homes(regions)
    outer: list[tuple[int, Interval]] = []
    inner: dict[tuple[int, int], list[int]] = {}
    for i, (first, last, nbytes) in enumerate(intervals):
        a, b = homes.get(first), homes.get(last)
        if a is not None and b is not None and a[0] == b[0]:
            inner.setdefault(a, []).append(i)
            continue
        if a is not None:
            first = regions[a[0]].first
        if b is not None:
            last = regions[b[0]].last
        outer.append((i, (first, last, nbytes)))
    return outer, inner


def place_apart(intervals: Sequence[Interval], regions: Sequence[Region]) -> Placement:
    """Offsets of intervals where regions run side by side (see :func:`place`)."""
    if not regions:
        return place(intervals)
    outer, inner = _apart(intervals, regions)
    blocks = {
        key: place([intervals[i] for i in members]) for key, members in inner.items()
    }
    spans = [
        (regions[r].first, regions[r].last, block.total)
        for (r, _), block in blocks.items()
    ]
    placed = place([*[interval for _, interval in outer], *spans])
    offsets = [0] * len(intervals)
    for (i, _), offset in zip(outer, placed.offsets):
        offsets[i] = offset
    for (key, block), start in zip(blocks.items(), placed.offsets[len(outer) :]):
        for i, offset in zip(inner[key], block.offsets):
            offsets[i] = start + offset
    return Placement(offsets, placed.total, placed.peak)


def live_apart(
    intervals: Sequence[Interval], regions: Sequence[Region], steps: int
) -> list[int]:
    """The most bytes alive at each step; in a region, at any moment of it."""
    outer, inner = _apart(intervals, regions)
    spans = [interval for _, interval in outer]
    for (r, _), members in inner.items():
        most = max(_live([intervals[i] for i in members], steps))
        spans.append((regions[r].first, regions[r].last, most))
    return _live(spans, steps)


def _live(intervals: Sequence[Interval], steps: int) -> list[int]:
    change = [0] * (steps + 1)
    for first, last, nbytes in intervals:
        change[first] += nbytes
        change[last + 1] -= nbytes
    live = []
    now = 0
    for c in change[:steps]:
        now += c
        live.append(now)
    return live
