"""Choices of small programs made better by changing one or two things at a time.

A value is dropped or not, kept for others or not, or computed again early; whatever
costs less within the budget, or comes nearer to it, is the next to start from.
"""

from __future__ import annotations

from collections.abc import Iterator

from .recompute import Choice
from .recompute_trials import Found, Trials, better

__all__ = ["climb"]

#: Nodes followed by that.
_CLIMB = 120_000
#: How many of the best are changed by two choices at a time.
_CLIMBED = 8


def climb(state: Trials, starts: list[Choice]) -> None:
    """Change one choice at a time while that is better, then two of the best."""
    effort = _CLIMB // max(state.steps.size, 1)
    seen: set[object] = set()
    found: list[Found] = []
    for start in [state.best.choice, *starts]:
        key = frozenset(start.drops), frozenset(start.held), frozenset(start.wants)
        if key not in seen and effort > 0:
            seen.add(key)
            outcome = state.follow(start)
            now = Found(start, outcome, outcome.peak <= state.budget)
            now, effort = _climb_from(state, now, effort, pairs=False)
            found.append(now)
    found.sort(
        key=lambda f: (not f.fits, f.outcome.extra if f.fits else f.outcome.peak)
    )
    for now in found[:_CLIMBED]:
        _, effort = _climb_from(state, now, effort, pairs=True)


def _climb_from(
    state: Trials, now: Found, effort: int, pairs: bool
) -> tuple[Found, int]:
    """The top that is reached, and the effort that is left."""
    while effort > 0:
        moved = False
        for trial in _neighbours(state, now, pairs):
            effort -= 1
            outcome = state.follow(trial)
            new = Found(trial, outcome, outcome.peak <= state.budget)
            if better(new, now):
                now, moved = new, True
                break
            if effort <= 0:
                break
        if not moved:
            break
    return now, effort


def _neighbours(state: Trials, now: Found, pairs: bool) -> Iterator[Choice]:
    """Choices that differ in one drop or hold, then (``pairs``) in two."""
    choice, outcome = now.choice, now.outcome
    undo = sorted(choice.drops)
    add = sorted({(a, b) for b, a, _ in outcome.gaps} - choice.drops)
    hold = sorted({(a, b) for b, a, _ in outcome.revived})
    free = sorted(choice.held)
    steps = state.steps
    early = sorted(
        {
            (steps.last[c], b)
            for b, a, t in outcome.returned
            for c in steps.reads[steps.producer[b]]
            if a < steps.last[c] < t
        }
        - choice.wants
    )

    def changed(*moves: tuple[str, tuple[int, int]]) -> Choice:
        new = choice.copy()
        for kind, what in moves:
            target = {"d": new.drops, "h": new.held, "w": new.wants}.get(kind)
            if target is not None:
                target.symmetric_difference_update([what])
                continue
            new.drops.add(what)
            new.held.update((steps.last[c], c) for c in sources[what])
        return new

    sources = {
        (a, b): found
        for b, a, t in outcome.gaps
        if (a, b) not in choice.drops and (found := state.beside(b, t))
    }
    cheaper = [*(("d", p) for p in undo), *(("h", p) for p in hold)]
    smaller = [
        *(("d", p) for p in add),
        *(("s", p) for p in sorted(sources)),
        *(("h", p) for p in free),
        *(("w", p) for p in early),
        *(("w", p) for p in sorted(choice.wants)),
    ]
    if not pairs:
        for m in (*cheaper, *smaller):
            yield changed(m)
        return
    for m in cheaper if now.fits else smaller:
        for other in smaller:
            if m != other:
                yield changed(m, other)
    for i, m in enumerate(cheaper):
        for other in cheaper[i + 1 :]:
            yield changed(m, other)
