"""Loops whose body is one stretch: the machine makes the iterations too.

Each iteration reads and writes other rows than the one before.  Once for all is said
of every word of the table that holds the address of such an array how it goes on:
along the rows of a stack, between two buffers, or not at all.  Before the turns of a
run the machine looks at the arrays that they begin with.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .vm import HEAD, machine
from .vm_frames import LONG

if TYPE_CHECKING:
    from ..frame import Frame, Site
    from ..loop_memory import Made, Places, Track

__all__ = ["Turns", "turns_of"]

#: Elements that turns go through before Python looks whether it is interrupted.
_AT_ONCE = 1 << 24
_PATCH, _MOVE, _RECORD = 5, 4, 6  # words
_ALONG, _BACK, _SIDES = 0, 1, 2  # kinds of records

#: (address of a word, bytes from the start of the array) for each place of an array.
Words = list[tuple[int, int]]


class Turns:
    """The iterations of one frame.

    Args:
        stretch: the frame's only instruction.
        fixed: the words of what stays: the carries in order (None: it moves), then
            what the body captures, then the flag.
        rows, made: (words, bytes of a row) of what is scanned and of what is made.
        pasts: (read, written, bytes of a row) of carries that have a history;
            ``pairs``: (read, written) of those that go between two buffers.
    """

    def __init__(
        self,
        stretch: Any,
        fixed: Sequence[Words | None],
        rows: Sequence[tuple[Words, int]],
        made: Sequence[tuple[Words, int]],
        pasts: Sequence[tuple[Words, Words, int]],
        pairs: Sequence[tuple[Words, Words]],
        reverse: bool,
    ) -> None:
        self.stretch = stretch
        found = machine()
        assert found is not None, "there is a stretch"
        self.machine = found
        table = stretch.table
        records: list[int] = []
        cells = 0

        def along(words: Words, step: int, back: bool = False, more: int = 0) -> None:
            for place, offset in words:
                kind = _BACK if back else _ALONG
                records.extend((place, kind, cells, offset + more, 0, step))

        for mine in fixed:
            along(mine or [], 0)
            cells += 1
        for words, step in (*rows, *made):
            along(words, step, reverse)
            cells += 1
        for read, written, step in pasts:
            along(read, step)
            along(written, step, more=step)
            cells += 1
        for read, written in pairs:
            for words, one in ((written, cells), (read, cells + 2)):
                for place, offset in words:
                    records.extend((place, _SIDES, one, offset, one + 1, 0))
            cells += 4
        count = len(records) // _RECORD
        #: The arrays of a run, while it is prepared.
        self.cells: list[Any] = [None] * cells
        head = [table.ctypes.data + 8 * (2 + _PATCH * int(table[0])), int(table[1])]
        moves = [count, 0, 0, 0, *[0] * (_MOVE * count)]
        self.words = np.array([*head, *moves], np.int64)
        at = self.words.ctypes.data + 8 * 6
        self.records = np.array([count, 0, 0, at, *records], np.int64)
        self.addresses = self.words.ctypes.data, self.records.ctypes.data

    def prepare(
        self,
        limit: int | None,
        fixed: Sequence[Any],
        scans: Sequence[Any],
        made: Sequence[Any],
        pasts: Sequence[Any],
        pairs: Sequence[Sequence[Any]],
        firsts: Sequence[Any],
        flag: Any,
    ) -> bool:
        """Get ready for turns with these arrays; False where one of them is not laid
        out as the table has it.

        Args:
            firsts: of the carries that go between two buffers those that the first
                turn reads, where that is the next (else none).
        """
        cells = self.cells
        sides: list[Any] = []
        for k, (one, two) in enumerate(pairs):
            sides += one, two
            sides += (firsts[k], firsts[k]) if firsts else (two, one)
        cells[:] = [*fixed, *scans, *made, *pasts, *sides]
        self.records[1] = ctypes.c_int64.from_address(id(cells) + HEAD + 8).value
        self.records[2] = 0 if limit is None else limit - 1
        unfit = self.machine.ready(self.addresses[1])
        if flag is not None:
            self.words[5] = flag.ctypes.data
        cells[:] = [None] * len(cells)
        return not unfit

    def __call__(self, t: int, stop: int) -> int:
        """Make turns from ``t`` on, at most to ``stop``, as many as Python may wait
        for; returns the number of the next."""
        work = max(1, self.stretch.work)
        stop = min(stop, t + max(1, _AT_ONCE // work))
        words = self.words
        words[3], words[4] = t, stop
        long = (stop - t) * work > LONG
        run = self.machine.turns if long else self.machine.turns_briefly
        return run(self.addresses[0])


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
    slots = frame.plan.slots
    rows = [
        (finder.words(frame.sites_of(slot)), slots[slot].nbytes) for slot in places.rows
    ]
    fetches = frame.plan.fetches
    stacks = [(finder.words(m.writes), slots[fetches[m.position]].nbytes) for m in made]
    pasts: list[tuple[Words, Words, int]] = []
    pairs: list[tuple[Words, Words]] = []
    for track in tracks:
        both = finder.words(track.reads), finder.words(track.writes)
        if track.past is None:
            pairs.append(both)
        else:
            pasts.append((*both, slots[fetches[track.position]].nbytes))
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
