"""Placement of buffers in one arena: byte offsets that never collide."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Placement:
    """Offsets (bytes, one per interval), arena bytes, and peak live bytes.

    peak is what no placement can go below: the most (aligned) bytes alive at once.
    """

    offsets: list[int]
    total: int
    peak: int


def _sweep(order: list[int], ends: list[int], start: list[int], stop: list[int], size: list[int]) -> tuple[list[int], int]:
    n = len(start)
    offsets = [0] * n
    # free blocks: sorted list of size<<SHIFT | offset keys ; maps by start and by end
    free: list[tuple[int, int]] = []
    at: dict[int, int] = {}   # block start -> end
    till: dict[int, int] = {}  # block end -> start
    top = 0
    e = 0
    for i in order:
        s = start[i]
        while stop[ends[e]] < s:
            j = ends[e]
            e += 1
            a = offsets[j]
            b = a + size[j]
            if b in at:
                c = at.pop(b)
                del free[bisect_left(free, (c - b, b))]
                b = c
            if a in till:
                c = till.pop(a)
                del free[bisect_left(free, (a - c, c))]
                a = c
            at[a] = b
            till[b] = a
            insort(free, (b - a, a))
        w = size[i]
        k = bisect_left(free, (w, 0))
        if k < len(free):
            z, a = free.pop(k)
            b = a + z
            if z > w:
                at[a + w] = b
                till[b] = a + w
                insort(free, (z - w, a + w))
            else:
                del till[b]
            del at[a]
            offsets[i] = a
        else:
            a = top
            if top in till:
                a = till.pop(top)
                del at[a]
                del free[bisect_left(free, (top - a, a))]
            offsets[i] = a
            top = a + w
    return offsets, top


def place(intervals: Sequence[tuple[int, int, int]], alignment: int = 64) -> Placement:
    n = len(intervals)
    table = np.array(intervals, dtype=np.int64).reshape(n, 3)
    size = -(-table[:, 2] // alignment) * alignment
    start, stop = table[:, 0], table[:, 1]
    idx = np.flatnonzero(size > 0)
    change = np.zeros(int(stop.max(initial=0)) + 2, dtype=np.int64)
    np.add.at(change, start, size)
    np.subtract.at(change, stop + 1, size)
    peak = int(np.cumsum(change).max(initial=0))
    order = idx[np.lexsort((-size[idx], start[idx]))]
    ends = idx[np.argsort(stop[idx], kind="stable")]
    off, top = _sweep(order.tolist(), ends.tolist(), start.tolist(), stop.tolist(), size.tolist())
    return Placement(off, top, peak)
