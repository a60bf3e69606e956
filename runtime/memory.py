"""Placement of buffers in one arena: byte offsets that never collide.

The least arena is NP-hard to find. Here a best-fit sweep over time comes first:
it is near linear and good for layered programs. Only where it wastes more than
`_SLACK` are intervals placed anew, greedily by size, within a bounded effort.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..graphlib.records import record
from .liveness import Ints

if TYPE_CHECKING:
    import numpy.typing as npt

Floats: TypeAlias = "npt.NDArray[np.float64]"

_SLACK = 1.02  # arena / peak that is good enough
_WHOLE = 6_000  # intervals up to which all are placed anew
_PASSES = 12  # greedy passes at most
_LEAST_PASSES = 4
_PASS_EFFORT = 24_000  # placements by the greedy passes, 12-30 us each
_REPAIR_EFFORT = 60_000  # placements by repairs, about 12 us each
_REPAIR_KEYS = 3  # orders tried for each stretch
_MARGINS = (0, 1)  # widths tried around a crowded stretch, in its lengths


@record(frozen=True, slots=True)
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
    best = _repair(start, stop, size, best, live, enough)
    total = int((best + size).max())
    if total > enough and size.size <= _WHOLE:
        best = _passes(start, stop, size, best, live, enough)
        total = int((best + size).max())
    return best, total


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
    """Places the intervals `order`, in that order, each in the lowest gap among
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
                k = int(fits[0])
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
    """Orders for `_greedy`, the best first, as keys: the largest key is placed first.

    Size classes (powers of two) with, inside a class, those that live long and
    through crowded steps first; plain size; and mixtures, whose weights were
    found by trial on random graphs.
    """
    life = (stop - start + 1).astype(np.float64)
    most = [
        live[a : b + 1].max()
        for a, b in zip(start.tolist(), stop.tolist(), strict=True)
    ]
    crowd = np.array(most, dtype=np.float64) / max(most)
    weight = life * crowd**8
    weight /= 2 * weight.max()
    bits = np.log2(size)
    yield np.floor(bits) + weight
    yield size.astype(np.float64)
    yield np.floor(bits / 1.5 + 0.5) + weight
    yield np.floor(bits / 0.7) + weight
    yield size * life**0.25
    yield size * crowd**2 * np.sqrt(life)


def _passes(
    start: Ints, stop: Ints, size: Ints, offset: Ints, live: Ints, enough: int
) -> Ints:
    """Best of `offset` and of greedy passes over all intervals.

    After the fixed keys the best one is revised again and again: whatever came to
    lie above the peak moves up to half its rank in the next pass.
    """
    best, total = offset, int((offset + size).max())
    none = np.empty(0, dtype=np.int64)
    peak = int(live.max())
    keys = _keys(start, stop, size, live)
    rank = np.arange(size.size, dtype=np.float64)
    spot, least = offset, int(size.sum()) + 1
    for _ in range(max(_LEAST_PASSES, min(_PASSES, _PASS_EFFORT // size.size))):
        key = next(keys, None)
        if key is None:
            trial = np.where(spot + size > peak, rank / 2, rank)
            order = np.argsort(trial, kind="stable")
        else:
            order = np.lexsort((start, -key))
            trial = np.empty(size.size, dtype=np.float64)
            trial[order] = np.arange(size.size)
        tried = _greedy(start, stop, size, order, offset, none)
        top = int((tried + size).max())
        if key is None or top < least:
            rank, spot, least = trial, tried, top
        if top < total:
            best, total = tried, top
            if total <= enough:
                break
    return best


def _repair(
    start: Ints, stop: Ints, size: Ints, offset: Ints, live: Ints, enough: int
) -> Ints:
    """`offset` with the crowded stretches placed anew, around what outlasts them.

    Only the intervals alive in a stretch where the arena is too high are moved,
    then also those alive just around it; a bounded number in all.
    """
    best, effort = offset, _REPAIR_EFFORT
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
            keys = _keys(start[moved], stop[moved], size[moved], live)
            for key in islice(keys, _REPAIR_KEYS):
                effort -= moved.size
                order = moved[np.lexsort((start[moved], -key))]
                tried = _greedy(start, stop, size, order, best, fixed)
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
