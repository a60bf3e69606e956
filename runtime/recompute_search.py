"""The search for what to compute again so that a program fits into a budget.

Several ways propose what to drop, each is followed exactly, and the cheapest within
the budget wins:

- greedily, the least cost of computing a value again for its bytes times the steps
  for which it lies idle; with the cost of what was dropped around it (Kirisame et al.,
  Dynamic tensor rematerialization, 2021, before the run instead of in it) or without;
- segments: all that is made between two cuts is dropped but what crosses a cut; cuts
  are where little crosses (Chen, Xu, Zhang, Guestrin, Training deep nets with
  sublinear memory cost, 2016), and a segment may be as long as the room beside the
  values kept so far (Griewank and Walther 2000, with one more sweep);
- the least cut between what is computed forward and what is needed later, through
  what is nearly free to compute again.

What is dropped without need is then kept after all; small programs are searched
further by changing one or two choices at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

import numpy as np

from .recompute import Choice, Outcome, Steps
from .recompute_climb import climb
from .recompute_cut import least_cut
from .recompute_trials import LEAST_TRIALS, Found, Trials

__all__ = ["fewest", "search"]

#: Steps up to which single choices are tried one by one.
_SMALL = 48
_ROUNDS = 12


def search(steps: Steps, budget: int) -> Found:
    """The cheapest choice found that needs at most ``budget`` bytes; where none does,
    the one that needs least.

    Near linear in the number of steps.
    """
    state = Trials(steps, budget)
    if state.best.fits:
        return state.best
    starts: list[Choice] = []
    for ways in _WAYS:
        found = sorted(ways(state), key=lambda f: (f[1].peak > budget, f[1].peak))
        for k, (choice, outcome) in enumerate(found):
            fits = outcome.peak <= budget
            if not fits and k == 0 and state.left > 0:
                # What is far from the budget gets there at a price, if at all.
                choice, outcome = _fit(state, choice, outcome)
                fits = outcome.peak <= budget
            if fits and state.left > 0:
                choice = _trim(state, choice, outcome)
            starts.append(choice)
    if not state.best.fits:
        best = state.best
        state.left = max(state.left, LEAST_TRIALS * steps.size)
        choice, outcome = _fit(state, best.choice.copy(), best.outcome, 4 * _ROUNDS)
        if outcome.peak <= budget:
            _trim(state, choice, outcome)
    if steps.size <= _SMALL:
        climb(state, starts)
    return state.best


def fewest(steps: Steps) -> Outcome:
    """The fewest bytes by one level of segments: about the root of what all takes, for
    at most one more run of what is dropped."""
    state = Trials(steps, 0)
    base = state.base
    turn = int(base.live.argmax())
    idle = sum(steps.nbytes[b] for b, a, t in base.gaps if a < turn < t)
    best = base
    for k in (2, 3, 4, 5, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 180, 256):
        for shrink in (True, False):
            choice = Choice()
            _segments(state, choice, base, idle // k, float("inf"), shrink)
            outcome = state.follow(choice)
            if (outcome.peak, outcome.extra) < (best.peak, best.extra):
                best = outcome
        if state.left <= 0:
            break
    return best


_Ways = Iterator[tuple[Choice, Outcome]]


def _ways_greedy(state: Trials) -> _Ways:
    for merged in (True, False):
        choice = Choice()
        _drop(state, choice, state.base, state.budget, merged, True)
        yield choice, state.follow(choice)


def _ways_segments(state: Trials) -> _Ways:
    """One level of segments, the longest that fit; of cheap values alone, then all."""
    for density in reversed(_densities(state)):
        for shrink in (True, False):
            for share in (0.95, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05):
                choice = Choice()
                room = int(state.budget * share)
                _segments(state, choice, state.base, room, density, shrink)
                outcome = state.follow(choice)
                yield choice, outcome
                if outcome.peak <= state.budget or state.left <= 0:
                    break


def _ways_cut(state: Trials) -> _Ways:
    """The least cut through what is cheap; then greedily, as far as that is needed."""
    for density in _densities(state)[:-1]:
        choice = least_cut(state, density)
        if choice is not None:
            yield choice, state.follow(choice)


def _ways_nested(state: Trials) -> _Ways:
    """Segments in segments, where one level does not fit."""
    budget = state.budget
    if state.cheap():
        return
    density = _densities(state)[-1]
    for share in (1.5, 2.5, 4.0, 6.0, 10.0, 16.0):
        for inner in (0.9, 0.6, 0.3):
            choice = Choice()
            _segments(state, choice, state.base, int(budget * share), density, False)
            outcome = state.follow(choice)
            for _ in range(4):
                if outcome.peak <= budget or state.left <= 0:
                    break
                if not _split(state, choice, outcome, inner):
                    break
                outcome = state.follow(choice)
            yield choice, outcome
            if state.left <= 0:
                return


def _ways_tighter(state: Trials) -> _Ways:
    """Greedily, with room left for what is computed again."""
    if state.steps.size > _SMALL and state.cheap():
        return
    for share in (0.9, 0.75, 0.6, 0.45):
        for merged in (True, False):
            choice = Choice()
            target = int(state.budget * share)
            _drop(state, choice, state.base, target, merged, True)
            yield choice, state.follow(choice)
    for merged in (True, False):
        choice = Choice()
        _drop(state, choice, state.base, state.budget, merged, False)
        yield choice, state.follow(choice)


_WAYS: tuple[Callable[[Trials], _Ways], ...] = (
    _ways_greedy,
    _ways_segments,
    _ways_cut,
    _ways_nested,
    _ways_tighter,
)


def _densities(state: Trials) -> list[float]:
    """Bounds of cost for each byte, from cheap values only to all."""
    found = sorted(
        state.closure(b, t)[0] / state.steps.nbytes[b] for b, _, t in state.base.gaps
    )
    if not found:
        return [0.0]
    chosen = [found[int(k * (len(found) - 1))] for k in (0.25, 0.5, 0.75)]
    return [*dict.fromkeys(d for d in chosen if d < found[-1]), found[-1]]


# -- greedy --------------------------------------------------------------------


class _Groups:
    """Dropped buffers that hang together, with the cost of each group."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}
        self.cost: dict[int, int] = {}

    def find(self, b: int) -> int:
        parent = self.parent
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        return b

    def add(self, b: int, cost: int, near: list[int]) -> None:
        if b in self.parent:
            return
        self.parent[b] = b
        self.cost[b] = cost
        for c in near:
            if c in self.parent:
                one, two = self.find(b), self.find(c)
                if one != two:
                    self.parent[two] = one
                    self.cost[one] += self.cost[two]

    def around(self, near: list[int]) -> int:
        """The cost of all groups that touch one of ``near``."""
        roots = {self.find(c) for c in near if c in self.parent}
        return sum(self.cost[r] for r in roots)


def _drop(
    state: Trials,
    choice: Choice,
    outcome: Outcome,
    target: int,
    merged: bool,
    idle: bool,
) -> int:
    """Drop the best idle values until ``target`` should hold; returns how many."""
    steps = state.steps
    live = outcome.live.copy()
    near: dict[int, list[int]] = {}
    groups = _Groups()
    if merged:
        for b, _, t in outcome.gaps:
            for c in state.closure(b, t)[1]:
                near.setdefault(b, []).append(c)
                near.setdefault(c, []).append(b)
        for b, _, t in outcome.returned:
            groups.add(b, state.closure(b, t)[0], near.get(b, []))

    def score(k: int) -> tuple[float, bool]:
        """The least cost for each byte and step, and whether sources are kept."""
        b, a, t = outcome.gaps[k]
        around = groups.around(near.get(b, [])) if merged else 0
        best = float("inf"), False
        for held, (cost, saved) in enumerate(state.ways(b, t)):
            if saved > 0:
                shared = 0 if held else around
                value = (cost + shared) / (saved * ((t - a - 1) if idle else 1))
                best = min(best, (value, bool(held)))
        return best

    over = np.concatenate(([0], np.cumsum(live > target)))
    heap = [
        (score(k)[0], k)
        for k, (_, a, t) in enumerate(outcome.gaps)
        if t > a + 1 and over[t] > over[a + 1]
    ]
    heapify(heap)
    count = 0
    while heap:
        known, k = heappop(heap)
        b, a, t = outcome.gaps[k]
        if (a, b) in choice.drops or live[a + 1 : t].max() <= target:
            continue
        now, held = score(k)
        if now == float("inf"):
            continue
        if now > known * 1.001:
            heappush(heap, (now, k))
            continue
        choice.drops.add((a, b))
        count += 1
        live[a + 1 : t] -= steps.nbytes[b]
        if held:
            for c in state.beside(b, t):
                if (steps.last[c], c) not in choice.held:
                    choice.held.add((steps.last[c], c))
                    live[steps.last[c] + 1 : t] += steps.nbytes[c]
        elif merged:
            groups.add(b, state.closure(b, t)[0], near.get(b, []))
        if count % 16 == 0 and live.max() <= target:
            break
    return count


def _fit(
    state: Trials, choice: Choice, outcome: Outcome, rounds: int = _ROUNDS
) -> tuple[Choice, Outcome]:
    """Drop more, round by round, as long as the peak falls."""
    best, lowest, stuck = (choice.copy(), outcome), outcome.peak, 0
    for k in range(rounds):
        if outcome.peak <= state.budget or state.left <= 0 or stuck > 2:
            break
        if not _drop(state, choice, outcome, state.budget, k % 2 == 0, True):
            break
        outcome = state.follow(choice)
        if outcome.peak < lowest:
            best, lowest, stuck = (choice.copy(), outcome), outcome.peak, 0
        else:
            stuck += 1
    return best


def _trim(state: Trials, choice: Choice, outcome: Outcome) -> Choice:
    """Keep after all what there is room for, the dearest first."""
    steps, budget = state.steps, state.budget
    for _ in range(4):
        live = outcome.live.copy()
        order = sorted(
            [*outcome.returned, *outcome.revived],
            key=lambda r: (
                -state.closure(r[0], r[2])[0]
                / (steps.nbytes[r[0]] * (r[2] - r[1]) or 1)
            ),
        )
        back: list[tuple[int, int]] = []
        for b, a, t in order:
            size = steps.nbytes[b]
            if t <= a + 1 or live[a + 1 : t].max() + size <= budget:
                live[a + 1 : t] += size
                back.append((a, b))
        while back and state.left > 0:
            trial = choice.copy()
            trial.held.update(set(back) - trial.drops)
            trial.drops.difference_update(back)
            tried = state.follow(trial)
            if tried.peak <= budget and tried.extra < outcome.extra:
                choice, outcome = trial, tried
                break
            back = back[: len(back) // 2]
        else:
            break
    return choice


# -- segments ------------------------------------------------------------------


def _segments(
    state: Trials,
    choice: Choice,
    outcome: Outcome,
    room: int,
    density: float,
    shrink: bool,
) -> None:
    """Drop what is made in segments of up to ``room`` bytes before the peak.

    With ``shrink`` the room of a segment is less what was kept of those before.
    Only values that cost at most ``density`` for each byte are dropped.
    """
    turn = int(outcome.live.argmax())
    idle = [
        (b, a)
        for b, a, t in outcome.gaps
        if a < turn < t and state.closure(b, t)[0] <= density * state.steps.nbytes[b]
    ]
    _cut(state, choice, idle, outcome.peak - state.budget, room, shrink, hold=True)


def _split(state: Trials, choice: Choice, outcome: Outcome, share: float) -> bool:
    """Drop again, in segments, what was computed again and lies idle where that is
    over the budget; whether there is such."""
    live, budget = outcome.live, state.budget
    fresh = {(b, s) for b, _, s in outcome.returned}
    idle = [(b, a, t) for b, a, t in outcome.gaps if (b, a) in fresh]
    by_start: dict[int, list[tuple[int, int, int]]] = {}
    for b, a, t in idle:
        by_start.setdefault(a, []).append((b, a, t))
    changed = False
    done = -1
    for a in sorted(by_start):
        group = by_start[a]
        stretch = live[a + 1 : max(t for _, _, t in group)]
        if a <= done or not stretch.size or int(stretch.max()) <= budget:
            continue
        turn = a + 1 + int(stretch.argmax())
        crossing = [(b, s) for b, s, t in idle if s < turn < t]
        most = sum(state.steps.nbytes[b] for b, _ in crossing)
        room = max(budget - (int(live[turn]) - most), budget // 8)
        excess = int(live[turn]) - budget
        before = len(choice.drops)
        _cut(state, choice, crossing, excess, int(room * share), True, hold=False)
        changed |= len(choice.drops) > before
        done = turn
    return changed


def _cut(
    state: Trials,
    choice: Choice,
    crossing: list[tuple[int, int]],
    excess: int,
    room: int,
    shrink: bool,
    hold: bool,
) -> None:
    """Drop ``crossing``, (buffer, last step before the turn), in segments by the order
    in which they are made, until ``excess`` bytes are gone.

    With ``hold`` what crosses a cut and would die is kept for what follows.
    """
    steps = state.steps
    nbytes = steps.nbytes
    idle: dict[int, list[tuple[int, int]]] = {}
    for b, a in crossing:
        idle.setdefault(steps.producer[b], []).append((b, a))
    until, frontier = state.forward()
    mine = {b for b, _ in crossing}
    first, made, kept, dropped, count = 0, 0, 0, 0, 0
    at, end = 0, min(max(idle, default=-1), frontier.size - 1)
    if idle:
        first = at = min(idle)
    while at <= end and dropped < excess:
        made += sum(nbytes[b] for b, _ in idle.get(at, ()))
        count += len(idle.get(at, ()))
        limit = max(room - kept, room // 8) if shrink else room
        if made <= limit or count < 3:
            at += 1
            if at <= end:
                continue
        # The cut: where least crosses, in the second half of the segment.
        low = first + (at - first) // 2
        cut = low
        for c in range(low, at):
            if frontier[c] <= frontier[cut]:
                cut = c
        last = at > end
        if last:
            cut = end
        for s in range(first, cut + 1):
            for b, a in idle.get(s, ()):
                if until[b] <= cut or last:
                    choice.drops.add((a, b))
                    dropped += nbytes[b]
                else:
                    kept += nbytes[b]
            if hold and not last:
                for b in steps.writes[s]:
                    if until[b] > cut and b not in mine and not steps.kept[b]:
                        choice.held.add((steps.last[b], b))
                        kept += nbytes[b]
        first, made, count, at = cut + 1, 0, 0, cut + 1
