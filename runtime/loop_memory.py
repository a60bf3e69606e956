"""Where a loop's carries, histories and stacks live while it runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from ..graphlib.checkpointing import Schedule, rows, segments
from ..graphlib.shapes import is_static
from .frame import Frame
from .plan import FETCH, SAME, Plan

__all__ = ["Made", "Marks", "Places", "Stack", "Track"]

_PAGE = 4096


class Places:
    """How one plan of a loop's body is fed and read (the same for each iteration)."""

    def __init__(self, plan: Plan, attrs: Mapping[str, Any]) -> None:
        k, n = attrs["carries"], attrs["scanned"]
        feeds = list(plan.feeds)
        self.plan = plan
        self.carries = feeds[:k]
        self.rows = feeds[k : k + n]
        self.rest = feeds[k + n :]
        slots = plan.slots
        outs = plan.fetches
        # Carries that go around as they are need no memory of their own.
        self.still = [outs[i] == self.carries[i] for i in range(k)]
        #: Carries that an iteration changes in place.
        self.in_place = [slots[outs[i]].kind == SAME for i in range(k)]
        seen: set[int] = set()
        self.direct = []
        for s in outs:
            self.direct.append(slots[s].kind == FETCH and s not in seen)
            seen.add(s)
        self.steady = not plan.writes and all(
            slots[outs[i]].dims == slots[self.carries[i]].dims for i in range(k)
        )
        self.steady = self.steady and all(is_static(slots[s].dims) for s in outs)
        #: Shapes; of steady plans they are known.
        self.out_dims: list[Any] = [slots[s].dims for s in outs]
        self.out_dtypes = [slots[s].dtype.dtype for s in outs]


class Stack:
    """Rows that a loop makes: in memory that is given, lent, or that grows.

    Args:
        dims, dtype: of a row.
        length: how many rows there will be, None where only the run tells.
        most: more than so many there will not be (None: any number).
        memory: where the rows go, if that is known: planned memory, or lent memory
            for as many rows as the last runs made.
    """

    __slots__ = ("array", "fixed", "least", "most", "owned")

    def __init__(
        self,
        dims: tuple[int, ...],
        dtype: Any,
        length: int | None,
        most: int | None,
        memory: Any,
    ) -> None:
        self.fixed = length is not None
        self.most = most
        self.owned = memory is None
        # Small rows come by the page, large ones one by one.
        self.least = max(1, _PAGE // max(1, math.prod(dims) * dtype.itemsize))
        if memory is None:
            rows = self._at_most(self.least) if length is None else length
            memory = np.empty((rows, *dims), dtype)
        self.array = memory

    def _at_most(self, rows: int) -> int:
        return rows if self.most is None else min(rows, self.most)

    def row(self, t: int) -> Any:
        """Row ``t`` as an array to write into; earlier rows may move."""
        array = self.array
        if t >= len(array):
            # Memory of its own grows in place where it is large: by a part of its
            # size, so that little is taken in advance.
            rows = self._at_most(len(array) + max(self.least, len(array) // 32))
            rows = max(rows, t + 1)
            if self.owned:
                array.resize((rows, *array.shape[1:]), refcheck=False)
            else:
                grown = np.empty((rows, *array.shape[1:]), array.dtype)
                grown[: len(array)] = array
                self.array = array = grown
                self.owned = True
        return array[t, ...]

    def done(self, count: int) -> Any:
        """The rows that were made."""
        array = self.array
        if len(array) == count:
            return array
        if self.fixed or not self.owned:
            return array[:count]
        array.resize((count, *array.shape[1:]), refcheck=False)
        return array


class Track:
    """A carry that moves: where an iteration reads it and where it writes.

    Attributes:
        position: among the carries.
        past: its history, whose rows it lives in; or None, and it alternates
            between two buffers.
        direct: whether the body writes straight into what is given to it.
    """

    __slots__ = (
        "buffers",
        "copied",
        "dims",
        "direct",
        "dtype",
        "past",
        "position",
        "reads",
        "writes",
    )

    def __init__(
        self, position: int, frame: Frame, places: Places, past: Stack | None
    ) -> None:
        self.position = position
        self.past = past
        self.direct: bool = places.direct[position]
        self.reads = frame.sites_of(places.carries[position])
        self.writes: Sequence[Any] = ()
        if self.direct:
            self.writes = frame.sites_of(frame.plan.fetches[position])
        self.dims = places.out_dims[position]
        self.dtype = places.out_dtypes[position]
        self.buffers: list[Any] = []
        self.copied: Any = None

    def take_buffers(self, given: Any, spare: Any, length: int | None) -> None:
        """Two arrays: what the caller gave and a spare one, or new ones.

        Where the number of iterations is known, the last one writes into the
        first of the two.
        """
        pair = [
            np.empty(self.dims, self.dtype) if a is None else a for a in (given, spare)
        ]
        self.buffers = pair if length is None or length % 2 else pair[::-1]

    def result(self, last: Any, out: Any) -> Any:
        """The last value, as the caller may keep it."""
        if out is None and self.past is not None:
            return last.copy()
        return last


class Marks:
    """The states at the start of segments, kept as the loop comes by.

    Attributes:
        next: the iteration before which the next one is to be kept (-1: none).
    """

    def __init__(
        self, schedule: Schedule, length: int | None, kept: list[tuple[int, Stack]]
    ) -> None:
        self._schedule = schedule
        self._kept = kept
        self._row = 0
        if length is None:
            # Only blocks of one size are marked before the length is known.
            self._starts: Iterator[int] = count(0, schedule[1])
        else:
            self._starts = iter([s.start for s in segments(schedule, length)])
        self.next = next(self._starts)

    def take(self, now: Sequence[Any]) -> None:
        """Keep the state ``now``."""
        for i, stack in self._kept:
            stack.row(self._row)[...] = now[i]
        self._row += 1
        self.next = next(self._starts, -1)

    def done(self, iterations: int) -> list[Any]:
        """What is kept, with as many rows as going backward needs."""
        wanted = rows(self._schedule, iterations)
        for _, stack in self._kept:
            stack.row(wanted - 1)
        return [stack.done(wanted) for _, stack in self._kept]


class Made:
    """An output of the body that is stacked."""

    __slots__ = ("direct", "position", "row", "stack", "writes")

    def __init__(self, position: int, stack: Stack, writes: Any) -> None:
        self.position = position
        self.stack = stack
        self.direct = writes is not None
        self.writes = writes or ()
        self.row: Any = None
