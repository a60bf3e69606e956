"""Which states of an iteration are kept so that it can be run backward.

To run n iterations backward, each needs the state before it.  A schedule keeps a few
of them and computes the others again, block by block: the last block first, from the
state at its start, with all states inside it kept for as long as it is gone through.
Rows of memory that held the states of a block serve the next one, so blocks may grow
towards the start.

A schedule is a tuple, so that it can be an attribute of an operation:

- ``("blocks", k_1, k_2, ...)``: blocks of k_1 iterations, themselves in blocks of k_2,
  and so on: one more forward pass for each size.
- ``("tree", r, most)``: the longest iteration that s rows allow when each of its steps
  is run at most r more times, with no more than ``most`` states in a block.  With
  N(s, r) for its length,

      N(s, 0) = min(s, most),   N(s, r) = N(s, r-1) + N(s-1, r),   N(0, r) = 0,

  so r = 1 needs about sqrt(2 n) rows, and r more passes about (r! n)^(1/(r+1)).  Of
  fewer iterations as few as can be are run as often.  In a segment a number of rows
  follows, which its own segments may take.

Source: Griewank and Walther, Algorithm 799: revolve, ACM TOMS 26 (2000), whose binomial
schedules these are, but for blocks that keep all their states; Chen, Xu, Zhang,
Guestrin, Training deep nets with sublinear memory cost (2016), for equal blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, count, islice
from typing import Any, NamedTuple

__all__ = ["Schedule", "Segment", "at_marks", "longest", "rows", "runs", "segments"]

Schedule = tuple[Any, ...]


class Segment(NamedTuple):
    """Iterations from one kept state to the next.

    Attributes:
        start, length: which iterations.
        inner: how they in turn are run backward; None: all their states are kept.
    """

    start: int
    length: int
    inner: Schedule | None


@lru_cache(maxsize=1024)
def segments(schedule: Schedule, n: int) -> tuple[Segment, ...]:
    """The segments of ``n`` iterations (n > 0), in their order."""
    kind, *numbers = schedule
    if kind == "blocks":
        every, *sizes = numbers
        found = []
        for start in range(0, n, every):
            length = min(every, n - start)
            split = bool(sizes) and length > sizes[0]
            inner = ("blocks", *sizes) if split else None
            found.append(Segment(start, length, inner))
        return tuple(found)
    return tuple(_cut(n, *numbers))


def _cut(n: int, repeats: int, most: int, free: int | None = None) -> list[Segment]:
    """The segments of a tree, in ``free`` rows after that of the state before them
    (None: as few as ``repeats`` allow)."""
    s = _least_rows(n, repeats, most) if free is None else free
    reach = _reach(s, repeats, most)
    found: list[Segment] = []
    at = 0
    while n - at > reach[0][s]:
        left = n - at
        # What goes on with one row less is to be run ``r`` times, what is before it
        # once less often, and neither less often than that: so few are run often.
        r = next(r for r, lengths in enumerate(reach) if lengths[s] >= left)
        least = reach[r - 2][s] if r > 1 else 1
        length = max(least, min(reach[r - 1][s], left - reach[r - 1][s - 1]))
        whole = length <= reach[0][s]
        found.append(Segment(at, length, None if whole else ("tree", r - 1, most, s)))
        at += length
        s -= 1
    return [*found, Segment(at, n - at, None)]


def _least_rows(n: int, repeats: int, most: int) -> int:
    """The least s for which N(s, repeats) is at least ``n``."""
    return next(s for s, whole in enumerate(_lengths(repeats, most)) if whole >= n)


def _lengths(repeats: int, most: int) -> Iterable[int]:
    """N(s, repeats) for s = 0, 1, ..."""
    if repeats <= 0:
        return (min(s, most) for s in count())
    return accumulate(_lengths(repeats - 1, most))


@lru_cache(maxsize=1024)
def _reach(rows: int, repeats: int, most: int) -> list[list[int]]:
    """N(s, r) as [r][s], for all r up to ``repeats`` and s up to ``rows``."""
    return [
        list(islice(_lengths(r, most), rows + 1)) for r in range(max(repeats, 0) + 1)
    ]


@lru_cache(maxsize=1024)
def rows(schedule: Schedule, n: int) -> int:
    """How many states are in memory at most, that before iteration 0 among them."""
    if n <= 0:
        return 1
    return max(
        kept + (length + 1 if inner is None else rows(inner, length))
        for kept, (_, length, inner) in enumerate(segments(schedule, n))
    )


@lru_cache(maxsize=1024)
def longest(schedule: Schedule, n: int) -> int:
    """The most iterations of which all states are kept at once."""
    if n <= 0:
        return 0
    return max(
        length if inner is None else longest(inner, length)
        for _, length, inner in segments(schedule, n)
    )


@lru_cache(maxsize=1024)
def runs(schedule: Schedule, n: int) -> int:
    """How many iterations are run again, after a first pass that kept the starts of
    all segments."""
    if n <= 0:
        return 0
    return sum(
        length
        if inner is None
        # Within a segment the starts of its own segments must be found first.
        else segments(inner, length)[-1].start + runs(inner, length)
        for _, length, inner in segments(schedule, n)
    )


def at_marks(states: list[Any], schedule: Schedule) -> list[Any]:
    """Of all states, those at the start of the segments, and rows that are free after
    them."""
    n = len(states) - 1
    found = [states[s.start] for s in segments(schedule, n)] if n else states
    return found + [found[-1]] * (rows(schedule, n) - len(found))
