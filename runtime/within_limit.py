"""A run within a memory limit, by the cheapest way that is found.

Two things take less memory for more time: values are computed again where they are used
(see ``recomputed``), and the gradient of a loop keeps a few states instead of its tape
(see ``loop_segments``).  Either may do, or both may be needed; each is tried, and what
costs the least time within the limit is the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..graphlib.checkpointing import Schedule
from .loop_segments import Tape, put_segments, schedules, tapes
from .plan import Plan
from .program import Program
from .recomputed import Run, cost_of, exhausted, fit, taken
from .schedule import CycleError, least_need

__all__ = ["Segments", "within"]

#: How often more is spared where a run came out larger than expected, and how often the
#: least that was found is tried to be met again.
_TRIES = 4
#: Loops of which one alone is tried.
_ALONE = 3


class Segments:
    """Which tapes of a program run by which schedules.

    Attributes:
        found: the tapes; a choice names them by their position.
    """

    def __init__(self, chosen: Mapping[int, Schedule]) -> None:
        self.chosen = chosen
        self.found: list[Tape] = []

    def put(self, program: Program) -> None:
        """Put segments in the place of the tapes that are chosen."""
        self.found = tapes(program)
        for k, schedule in self.chosen.items():
            put_segments(program, self.found[k], schedule)


def within(
    run_for: Callable[[Segments], Run],
    run: Run,
    plan: Plan,
    found: Sequence[Tape],
    limit: int,
) -> Run:
    """The same run within ``limit`` bytes.

    Args:
        run_for: the run with segments.
        run, plan: without any; they take more.
        found: the tapes of that run.

    Raises:
        ResourceExhaustedError: no way was found; with the least that was, and what is
            alive there.
    """
    search = _Search(run_for, run, plan, found)
    done = search.within(limit)
    if done is not None:
        return done
    # What the error calls enough must be found when it is asked for.
    for _ in range(_TRIES):
        again = search.within(taken(search.least))
        if again is not None:
            layout, problem, order = again
            raise exhausted(layout.plan(problem, order, 0.0), limit)
    raise exhausted(search.least, limit)


class _Way(NamedTuple):
    """A schedule of one tape: bytes that it spares, and nanoseconds that it costs."""

    spares: int
    costs: int
    schedule: Schedule


class _Search:
    """What was tried: the least plan of all, and what was the cheapest."""

    def __init__(
        self,
        run_for: Callable[[Segments], Run],
        run: Run,
        plan: Plan,
        found: Sequence[Tape],
    ) -> None:
        self.run_for = run_for
        self.run, self.plan = run, plan
        self.least = plan
        self.best: Run | None = None
        self.extra = 0
        #: Per tape, from the cheapest way on.
        self.ways: list[list[_Way]] = []
        for tape in found:
            price = cost_of(run[0], tape.forward) // tape.length
            ways = schedules(tape)
            self.ways.append([_Way(tape.nbytes - b, n * price, s) for b, n, s in ways])

    def within(self, limit: int) -> Run | None:
        """The cheapest run that is found within the limit."""
        self.best = None
        # Nothing else helps where one step reads a tape that is too large.
        _, problem, _ = self.run
        hopeless = least_need(problem) + self.plan.fetch_bytes > limit
        self._take(self.run, self.plan, limit, 0, not (hopeless and any(self.ways)))
        for k in range(min(len(self.ways), _ALONE)):
            self._alone(k, limit)
        there = {k: ways for k, ways in enumerate(self.ways) if ways}
        if not there:
            return self.best
        once = {
            k: max(w for w in ways if w.costs == ways[0].costs)
            for k, ways in there.items()
        }
        least = {k: ways[-1] for k, ways in there.items()}
        if len(there) > 1:
            self._try(once, limit, last=True)
        if least != once or len(there) == 1:
            self._try(least, limit, last=True)
        return self.best

    def _alone(self, k: int, limit: int) -> None:
        """The cheapest way of one tape that spares enough."""
        goal = taken(self.plan) - limit
        for _ in range(_TRIES):
            way = next((w for w in self.ways[k] if w.spares >= goal), None)
            if way is None:
                return
            over = self._try({k: way}, limit, last=False)
            if over <= 0:
                return
            goal = way.spares + over

    def _try(self, ways: Mapping[int, _Way], limit: int, last: bool) -> int:
        """Try segments; returns the bytes that are missing."""
        costs = sum(w.costs for w in ways.values())
        if self.best is not None and costs >= self.extra:
            return 0
        try:
            run = self.run_for(Segments({k: w.schedule for k, w in ways.items()}))
        except CycleError:
            return 0
        layout, problem, order = run
        return self._take(run, layout.plan(problem, order, 0.0), limit, costs, last)

    def _take(self, run: Run, plan: Plan, limit: int, costs: int, last: bool) -> int:
        """Note a run, within the limit or (``last``) brought there."""
        over = taken(plan) - limit
        if over > 0 and last:
            done = fit(run, plan, limit)
            if done.run is not None:
                run, over, costs = done.run, 0, costs + done.extra
            plan = done.plan
        if taken(plan) < taken(self.least):
            self.least = plan
        if over <= 0 and (self.best is None or costs < self.extra):
            self.best, self.extra = run, costs
        return over
