"""Loops whose body is one stretch: the machine makes the iterations too.

Each iteration reads and writes other rows than the one before.  Python looks at the
arrays once, before the first turn, and says of every word of the table that holds the
address of such an array how it goes on: along the rows of a stack, between two buffers,
or not at all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .vm import DATA, DIRECT, FLAGS, HEAD, machine
from .vm_frames import LONG

if TYPE_CHECKING:
    from ..frame import Frame, Site
    from ..loop_memory import Made, Places, Track

__all__ = ["Turns", "turns_of"]

#: Elements that turns go through before Python looks whether it is interrupted.
_AT_ONCE = 1 << 24
_PATCH, _MOVE = 5, 4  # words
_ALONG, _SIDES = 0, 1  # kinds of moves

#: (address of a word, bytes from the start of the array) for each place of an array.
Words = list[tuple[int, int]]


class Unfit(Exception):
    """An array of this run is not laid out as tables have it."""


def _address(array: Any) -> int:
    at = id(array)
    flags = ctypes.c_int32.from_address(at + FLAGS).value
    if type(array) is not np.ndarray or flags & DIRECT != DIRECT:
        raise Unfit
    return ctypes.c_int64.from_address(at + DATA).value


class Turns:
    """The iterations of one frame, after the first of a run.

    Args:
        stretch: the frame's only instruction.
        fixed: the words of what stays: the carries in order (None: it moves), then
            what the body captures, then the flag.
        rows, made: the words of scanned rows and of rows that are made.
        pasts: (read, written) of carries that have a history; ``pairs``: of those that
            go between two buffers.
    """

    def __init__(
        self,
        stretch: Any,
        fixed: Sequence[Words | None],
        rows: Sequence[Words],
        made: Sequence[Words],
        pasts: Sequence[tuple[Words, Words]],
        pairs: Sequence[tuple[Words, Words]],
        reverse: bool,
    ) -> None:
        self.stretch = stretch
        self.fixed, self.rows, self.made = fixed, rows, made
        self.pasts, self.pairs = pasts, pairs
        self.reverse = reverse
        found = machine()
        assert found is not None, "there is a stretch"
        self.machine = found
        table = stretch.table
        self.calls = table.ctypes.data + 8 * (2 + _PATCH * int(table[0]))
        self.count = int(table[1])

    def prepare(
        self,
        limit: int | None,
        fixed: Sequence[Any],
        scans: Sequence[Any],
        made: Sequence[Any],
        pasts: Sequence[Any],
        pairs: Sequence[Sequence[Any]],
        flag: Any,
    ) -> Any:
        """The words for turns with these arrays; None where one of them is not laid
        out as the table has it."""
        try:
            return self._words(limit, fixed, scans, made, pasts, pairs, flag)
        except Unfit:
            return None

    def _words(
        self,
        limit: int | None,
        fixed: Sequence[Any],
        scans: Sequence[Any],
        made: Sequence[Any],
        pasts: Sequence[Any],
        pairs: Sequence[Sequence[Any]],
        flag: Any,
    ) -> Any:
        moves: list[int] = []

        def move(words: Words, kind: int, a: int, b: int) -> None:
            for place, offset in words:
                end = b if kind == _ALONG else b + offset
                moves.extend((place, kind, a + offset, end))

        def along(words: Words, array: Any) -> None:
            start, step = _address(array), array.strides[0]
            if limit is not None and self.reverse:
                start, step = start + (limit - 1) * step, -step
            move(words, _ALONG, start, step)

        for words, array in zip(self.fixed, fixed):
            if words:
                move(words, _ALONG, _address(array), 0)
        for words, array in zip((*self.rows, *self.made), (*scans, *made)):
            along(words, array)
        for (read, written), array in zip(self.pasts, pasts):
            start, step = _address(array), array.strides[0]
            move(read, _ALONG, start, step)
            move(written, _ALONG, start + step, step)
        for (read, written), (one, two) in zip(self.pairs, pairs):
            a, b = _address(one), _address(two)
            move(written, _SIDES, a, b)
            move(read, _SIDES, b, a)
        ends = 0 if flag is None else _address(flag)
        head = [self.calls, self.count, len(moves) // _MOVE, 0, 0, ends]
        return np.array(head + moves, np.int64)

    def __call__(self, words: Any, t: int, stop: int) -> int:
        """Make turns from ``t`` on, at most to ``stop``, as many as Python may wait
        for; returns the number of the next."""
        work = max(1, self.stretch.work)
        stop = min(stop, t + max(1, _AT_ONCE // work))
        words[3], words[4] = t, stop
        long = (stop - t) * work > LONG
        run = self.machine.turns if long else self.machine.turns_briefly
        return run(words.ctypes.data)


def turns_of(
    frame: Frame,
    places: Places,
    tracks: Sequence[Track],
    made: Sequence[Made],
    reverse: bool,
    tested: bool,
) -> Turns | None:
    """The iterations of a frame in the machine; None where Python has to take part."""
    if len(frame.instructions) != 1 or not all(
        places.direct[i] for i in _moving(places)
    ):
        return None
    stretch: Any = frame.instructions[0][0]
    if not hasattr(stretch, "table"):
        return None
    finder = _Finder(stretch, frame)
    moving = {track.position: track for track in tracks}
    carries = [
        None if i in moving else finder.words(frame.sites_of(slot))
        for i, slot in enumerate(places.carries)
    ]
    fixed = [*carries, *[finder.words(frame.sites_of(s)) for s in places.rest]]
    if tested:
        k = len(places.carries)
        fixed.append(finder.words(frame.sites_of(frame.plan.fetches[k])))
    rows = [finder.words(frame.sites_of(slot)) for slot in places.rows]
    stacks = [finder.words(m.writes) for m in made]
    pasts: list[tuple[Words, Words]] = []
    pairs: list[tuple[Words, Words]] = []
    for track in tracks:
        both = finder.words(track.reads), finder.words(track.writes)
        (pairs if track.past is None else pasts).append(both)
    if not finder.found_all():
        return None
    return Turns(stretch, fixed, rows, stacks, pasts, pairs, reverse)


def _moving(places: Places) -> list[int]:
    """The outputs that each iteration writes somewhere else, or says to go on."""
    k = len(places.carries)
    stays = [a or b for a, b in zip(places.still, places.in_place)]
    return [i for i in range(len(places.direct)) if i >= k or not stays[i]]


class _Finder:
    """Finds the words of a stretch's table that hold the addresses of arrays."""

    def __init__(self, stretch: Any, frame: Frame) -> None:
        table = stretch.table
        pointers = ctypes.c_int64.from_address(id(stretch.cells) + HEAD + 8).value
        self.cells, self.outs = stretch.cells, frame.outs
        self.left: dict[int, Words] = {}
        self.odd = False
        for p in range(2, 2 + _PATCH * int(table[0]), _PATCH):
            pointer, offset, place = (int(w) for w in table[p : p + 3])
            self.left.setdefault((pointer - pointers) // 8, []).append((place, offset))

    def words(self, sites: Sequence[Site]) -> Words:
        """The words of the array that a run writes at these places."""
        found: Words = []
        for target, k in sites:
            if target is self.cells:
                found += self.left.pop(k, [])
            elif target is not self.outs:
                self.odd = True
        return found

    def found_all(self) -> bool:
        """Whether every word was asked for, and nobody but the table reads arrays."""
        return not self.left and not self.odd
