"""Placement of buffers in one arena: byte offsets that never collide.

The least arena is NP-hard to find. Here a best-fit sweep over time comes first:
it is near linear and good for layered programs. Only where it wastes more than
`_SLACK` are intervals placed anew, greedily by size, within a bounded effort.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .liveness import Ints

Floats = npt.NDArray[np.float64]

_SLACK = 1.02  # arena / peak that is good enough
_WHOLE = 6_000  # intervals up to which all are placed anew
_PASSES = 12  # greedy passes at most
_EFFORT = 30_000  # placements by the greedy passes, about 12-30 us each
_MARGINS = (0, 1, 4)  # widths tried around a crowded stretch, in its lengths


@dataclass(frozen=True, slots=True)
class Placement:
    """Offsets (bytes, one per interval), arena bytes, and peak live bytes.

    peak is what no placement can go below: the most (aligned) bytes alive at once.
    """

    offsets: list[int]
    total: int
    peak: int


def place(intervals: Sequence[tuple[int, int, int]], alignment: int = 64) -> Placement:
    """Byte offsets such that intervals alive at one step never overlap.

    An interval is (first step, last step inclusive, bytes). Sizes are rounded up
    to `alignment` bytes, so every offset is a multiple of it; zero-byte intervals
    get offset 0. Greedy by size as in Pisarchyk and Lee, "Efficient memory
    management for deep neural net inference" (2020).

    Raises:
        ValueError: an interval that ends before it starts or starts before step 0,
            negative bytes, or an alignment below 1.
    """
    count = len(intervals)
    if alignment < 1:
        raise ValueError(f"alignment must be at least 1, not {alignment}")
    table = np.array(intervals, dtype=np.int64).reshape(count, 3)
    start, stop = table[:, 0], table[:, 1]
    bad = (start < 0) | (stop < start) | (table[:, 2] < 0)
    if bad.any():
        at = int(bad.argmax())
        raise ValueError(f"interval {at} is malformed: {tuple(intervals[at])}")
    size = -(-table[:, 2] // alignment) * alignment
    real = np.flatnonzero(size)
    if not real.size:
        return Placement([0] * count, 0, 0)
    start, stop, size = start[real], stop[real], size[real]
    live = _live(start, stop, size)
    peak = int(live.max())
    offset, total = _place(start, stop, size, live, peak)
    offsets = np.zeros(count, dtype=np.int64)
    offsets[real] = offset
    return Placement(offsets.tolist(), total, peak)


def _live(start: Ints, stop: Ints, size: Ints) -> Ints:
    """Live bytes at each step."""
    change = np.zeros(int(stop.max()) + 2, dtype=np.int64)
    np.add.at(change, start, size)
    np.subtract.at(change, stop + 1, size)
    return np.cumsum(change)


def _place(
    start: Ints, stop: Ints, size: Ints, live: Ints, peak: int
) -> tuple[Ints, int]:
    """Offsets and arena bytes: sweeps first, then what greedy passes improve."""
    enough = int(peak * _SLACK)
    best = _sweep(start, stop, size)
    total = int((best + size).max())
    if total <= enough:
        return best, total
    end = int(stop.max())
    other = _sweep(end - stop, end - start, size)  # the same problem backwards
    if int((other + size).max()) < total:
        best, total = other, int((other + size).max())
    if total <= enough:
        return best, total
    if size.size > _WHOLE:
        best = _repair(start, stop, size, best, live, enough)
    else:
        best = _passes(start, stop, size, best, live, enough)
    return best, int((best + size).max())


def _sweep(start: Ints, stop: Ints, size: Ints) -> Ints:
    """Offsets by best fit over time: O(log f) an interval for f free blocks."""
    births = np.lexsort((-size, start)).tolist()
    deaths = np.argsort(stop, kind="stable").tolist()
    begins, ends, sizes = start.tolist(), stop.tolist(), size.tolist()
    offsets = [0] * len(sizes)
    free: list[tuple[int, int]] = []  # (bytes, address) of free blocks, ascending
    block_end: dict[int, int] = {}  # of the free block that begins at an address
    block_start: dict[int, int] = {}  # of the free block that ends at an address
    top = dead = 0
    for i in births:
        now = begins[i]
        while ends[deaths[dead]] < now:
            j = deaths[dead]
            dead += 1
            a = offsets[j]
            b = a + sizes[j]
            if b in block_end:
                c = block_end.pop(b)
                del free[bisect_left(free, (c - b, b))]
                b = c
            if a in block_start:
                c = block_start.pop(a)
                del free[bisect_left(free, (a - c, c))]
                a = c
            block_end[a] = b
            block_start[b] = a
            insort(free, (b - a, a))
        need = sizes[i]
        k = bisect_left(free, (need, 0))
        if k < len(free):
            room, a = free.pop(k)
            del block_end[a]
            if room > need:
                block_end[a + need] = a + room
                block_start[a + room] = a + need
                insort(free, (room - need, a + need))
            else:
                del block_start[a + room]
        else:  # grow the arena, out of its last block if that is free
            a = top
            if top in block_start:
                a = block_start.pop(top)
                del block_end[a]
                del free[bisect_left(free, (top - a, a))]
            top = a + need
        offsets[i] = a
    return np.array(offsets, dtype=np.int64)


def _greedy(
    start: Ints, stop: Ints, size: Ints, order: Ints, offset: Ints, fixed: Ints
) -> Ints:
    """Places the intervals `order`, in that order, each in the tightest gap among
    those alive with it; the intervals `fixed` stay where `offset` has them.

    O(n) array work an interval. Returns all offsets; others than `order` keep theirs.
    """
    used, total = fixed.size, fixed.size + order.size
    rank = fixed[np.argsort(offset[fixed], kind="stable")]
    # What is placed, by offset: first and last step, first byte and end.
    first = np.empty(total, dtype=np.int64)
    last, low, high = first.copy(), first.copy(), first.copy()
    first[:used], last[:used] = start[rank], stop[rank]
    low[:used], high[:used] = offset[rank], offset[rank] + size[rank]
    result = offset.copy()
    for i, s, e, need in zip(
        order.tolist(),
        start[order].tolist(),
        stop[order].tolist(),
        size[order].tolist(),
        strict=True,
    ):
        near = (first[:used] <= e) & (last[:used] >= s)
        lows = low[:used][near]
        at = 0
        if lows.size:
            tops = np.maximum.accumulate(high[:used][near])
            gaps = lows.copy()
            gaps[1:] -= tops[:-1]
            fits = np.flatnonzero(gaps >= need)
            if fits.size:
                k = int(fits[gaps[fits].argmin()])
                at = int(tops[k - 1]) if k else 0
            else:
                at = int(tops[-1])
        k = int(low[:used].searchsorted(at))
        for column, value in ((first, s), (last, e), (low, at), (high, at + need)):
            column[k + 1 : used + 1] = column[k:used]
            column[k] = value
        used += 1
        result[i] = at
    return result


def _keys(start: Ints, stop: Ints, size: Ints, live: Ints) -> Iterator[Floats]:
    """Orders for `_greedy`, as keys of which the largest goes first (all weights
    found by trial): size; size with some weight for life and for crowded steps.
    """
    bytes_ = size.astype(np.float64)
    yield bytes_
    life = (stop - start + 1).astype(np.float64)
    crowd = np.array(
        [
            live[a : b + 1].max()
            for a, b in zip(start.tolist(), stop.tolist(), strict=True)
        ]
    )
    yield bytes_ * crowd.astype(np.float64) ** 2 * np.sqrt(life)
    yield bytes_ * life**0.25


def _passes(
    start: Ints, stop: Ints, size: Ints, offset: Ints, live: Ints, enough: int
) -> Ints:
    """Best of `offset` and of greedy passes over all intervals.

    After the fixed keys the best one is revised: what came to lie above the peak
    counts double in the next pass.
    """
    best, total = offset, int((offset + size).max())
    none = np.empty(0, dtype=np.int64)
    peak = int(live.max())
    keys = _keys(start, stop, size, live)
    key, spot, least = size.astype(np.float64), offset, int(size.sum()) + 1
    for _ in range(max(3, min(_PASSES, _EFFORT // size.size))):
        fresh = next(keys, None)
        revising = fresh is None
        if fresh is None:
            fresh = np.where(spot + size > peak, key * 2, key)
        tried = _greedy(start, stop, size, np.lexsort((start, -fresh)), offset, none)
        top = int((tried + size).max())
        if revising or top < least:
            key, spot, least = fresh, tried, top
        if top < total:
            best, total = tried, top
            if total <= enough:
                break
    return best


def _repair(
    start: Ints, stop: Ints, size: Ints, offset: Ints, live: Ints, enough: int
) -> Ints:
    """`offset` with the crowded stretches placed anew, around what outlasts them.

    For programs too large to place as a whole: only the intervals alive in the
    stretches where the arena is too high are moved, a bounded number of them.
    """
    best, effort = offset, _EFFORT
    for margin in _MARGINS:
        high = np.flatnonzero(best + size > enough)
        for a, b in _stretches(start[high], stop[high]):
            wide = margin * (b - a + 1)
            moved = np.flatnonzero((start <= b + wide) & (stop >= a - wide))
            # An earlier stretch may have settled this one.
            top = int((best[moved] + size[moved]).max())
            if top <= enough or moved.size > effort:
                continue
            around = (start <= int(stop[moved].max())) & (
                stop >= int(start[moved].min())
            )
            around[moved] = False
            fixed = np.flatnonzero(around)
            if fixed.size + moved.size > 2 * _WHOLE:
                continue
            for key in _keys(start[moved], stop[moved], size[moved], live):
                effort -= moved.size
                ranked = moved[np.lexsort((start[moved], -key))]
                tried = _greedy(start, stop, size, ranked, best, fixed)
                height = int((tried[moved] + size[moved]).max())
                if height < top:
                    best, top = tried, height
                if top <= enough or effort <= 0:
                    break
    return best


def _stretches(start: Ints, stop: Ints) -> list[tuple[int, int]]:
    """The union of step ranges, as disjoint (first, last), ascending."""
    order = np.argsort(start, kind="stable")
    merged: list[tuple[int, int]] = []
    for a, b in zip(start[order].tolist(), stop[order].tolist(), strict=True):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged
