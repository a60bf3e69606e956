"""Trials of what to compute again: the best so far, and what is left to spend."""

from __future__ import annotations

import numpy as np

from ..graphlib.records import record
from .liveness import Ints
from .recompute import Choice, Outcome, Steps

__all__ = ["LEAST_TRIALS", "Found", "Trials", "better"]

#: Nodes that may be followed in one search, in all trials: about 4 us each.
_EFFORT = 600_000
#: At least so many trials, whatever the size.
LEAST_TRIALS = 12


@record(frozen=True, slots=True)
class Found:
    """A choice and what it comes to; ``fits`` says whether within the budget."""

    choice: Choice
    outcome: Outcome
    fits: bool


class Trials:
    """The best choice so far, and how much more may be tried."""

    def __init__(self, steps: Steps, budget: int) -> None:
        self.steps = steps
        self.budget = budget
        self.left = max(_EFFORT, LEAST_TRIALS * steps.size)
        self.base = steps.follow(Choice())
        self.best = Found(Choice(), self.base, self.base.peak <= budget)
        self._forward: tuple[list[int], Ints] | None = None
        self.closures: dict[tuple[int, int], tuple[int, list[int]]] = {}

    def beside(self, b: int, t: int) -> list[int]:
        """The values that ``b`` is made of and that are dead by step ``t``."""
        steps = self.steps
        sources = steps.reads[steps.producer[b]]
        return [c for c in sources if steps.last[c] < t and not steps.kept[c]]

    def ways(self, b: int, t: int) -> tuple[tuple[float, int], tuple[float, int]]:
        """(Cost, bytes saved) of computing ``b`` again before step ``t``: with what is
        dead by then, or from what is kept for it."""
        steps = self.steps
        cost, sources = self.closure(b, t)
        stays = sum(
            steps.nbytes[c] for c in sources if steps.last[c] < t and not steps.kept[c]
        )
        held = sum(steps.nbytes[c] for c in self.beside(b, t))
        own = steps.cost[steps.producer[b]]
        return (cost, steps.nbytes[b] - stays), (own, steps.nbytes[b] - held)

    def follow(self, choice: Choice) -> Outcome:
        """Follow a choice, and remember it if it is the best so far."""
        outcome = self.steps.follow(choice)
        self.left -= len(outcome.nodes)
        new = Found(choice.copy(), outcome, outcome.peak <= self.budget)
        if better(new, self.best):
            self.best = new
        return outcome

    def forward(self) -> tuple[list[int], Ints]:
        """Per buffer its last use before the peak, per step up to the peak the weight
        of what is used after it and before the peak: what a cut there keeps."""
        if self._forward is None:
            steps, base = self.steps, self.base
            turn = int(base.live.argmax())
            until = list(steps.last)
            idle = set()
            for b, a, t in base.gaps:
                if a < turn < t:
                    until[b] = a
                    idle.add(b)
            change = np.zeros(turn + 2, dtype=np.int64)
            for b, s in enumerate(steps.producer):
                if 0 <= s < until[b] and s <= turn:
                    # What would die before the peak is kept for the cut alone.
                    size = steps.nbytes[b] * (4 if b in idle else 5)
                    change[s] += size
                    change[min(until[b], turn + 1)] -= size
            self._forward = until, np.cumsum(change)[: turn + 1]
        return self._forward

    def cheap(self) -> bool:
        """Whether a choice was found that runs nothing more than once again."""
        return self.best.fits and self.best.outcome.extra <= self.once()

    def once(self) -> int:
        """The cost of computing everything again once that lies idle at the peak."""
        steps, base = self.steps, self.base
        turn = int(base.live.argmax())
        seen: set[int] = set()
        stack = [steps.producer[b] for b, a, t in base.gaps if a < turn < t]
        while stack:
            s = stack.pop()
            if s not in seen and all(steps.limit[b] >= 0 for b in steps.writes[s]):
                seen.add(s)
                stack.extend(steps.producer[b] for b in steps.reads[s])
        return sum(steps.cost[s] for s in seen)

    def closure(self, b: int, at: int) -> tuple[int, list[int]]:
        """As :meth:`Steps.closure`, remembered."""
        found = self.closures.get((b, at))
        if found is None:
            found = self.closures[b, at] = self.steps.closure(b, at)
        return found


def better(a: Found, b: Found) -> bool:
    """Cheaper within the budget; else smaller."""
    if a.fits and b.fits:
        return (a.outcome.extra, a.outcome.peak) < (b.outcome.extra, b.outcome.peak)
    if a.fits or b.fits:
        return a.fits
    return (a.outcome.peak, a.outcome.extra) < (b.outcome.peak, b.outcome.extra)
