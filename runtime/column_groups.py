"""Groups that reduce leading axes, by NumPy: tiles of whole rows, pass by pass.

The statistics of a batch are an example. An array is seen as rows and columns, and what
it is reduced to has a number for each column. Whoever needs such a number waits for a
pass over all rows, in which everything else is computed again, tile by tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .fused import TILE_BYTES
from .row_groups import UFUNCS, Members, RowGroup, RowMember, RowMemory

__all__ = ["ColumnMemory", "ColumnTiles"]


class ColumnMemory(RowMemory):
    """Scratch memory: of tiles, of columns' numbers, and that of native code.

    Attributes:
        sums: member -> the scratch for what one tile adds to it.
        slots: the scratch of native code.
    """

    def __init__(self, group: RowGroup) -> None:
        super().__init__(group)
        self.sums: dict[int, int] = {}
        for k, m in enumerate(group.members):
            if m.reduce:
                self.sums[k] = len(self.arrays)
                self.arrays.append((np.dtype(m.dtype), (group.rows,)))
        self.slots = len(self.arrays)
        count = len(group.kernel.slots) * group.rows  # type: ignore[attr-defined]
        self.arrays.append((np.dtype(np.int64), (count,)))

    def tile(self) -> int:
        """The rows of a tile."""
        group = self.group
        size: int = max(np.dtype(m.dtype).itemsize for m in group.members)
        return max(1, min(group.length, TILE_BYTES // size // group.rows))

    def reuses(self, m: RowMember) -> bool:
        """Columns' numbers are there from one pass to the next."""
        return m.wide

    def shape(self, wide: bool, step: int) -> tuple[int, int]:
        """The shape of a register in a tile."""
        return (step if wide else 1, self.group.rows)

    def line(self, step: int) -> tuple[int, int]:
        """The shape of a tile's numbers of rows."""
        return (step, 1)


class ColumnTiles:
    """A group bound to scratch memory: a call runs it by NumPy."""

    def __init__(self, group: RowGroup, work: Sequence[Any]) -> None:
        self.group = group
        self.memory = ColumnMemory(group)
        self.work = work
        self._members = Members(self.memory, work)
        n = len(group.inputs)
        levels = [0] * n
        for m in group.members:
            levels.append(max(levels[r] for r in m.reads) + bool(m.reduce))
        self._levels = levels[n:]
        last = max(levels)
        self._numbers = [
            [
                k
                for k, m in enumerate(group.members)
                if not m.wide and not m.reduce and levels[n + k] == p
            ]
            for p in range(last + 1)
        ]
        self._reduced = [
            [
                k
                for k, m in enumerate(group.members)
                if m.reduce and levels[n + k] == p + 1
            ]
            for p in range(last + 1)
        ]
        self._passes = [
            sorted([*self._needed(p), *self._reduced[p]]) for p in range(last + 1)
        ]

    def _needed(self, p: int) -> list[int]:
        """The members with an element for each row and column that pass ``p`` needs."""
        group, n = self.group, len(self.group.inputs)
        stack = [group.members[k].reads[0] - n for k in self._reduced[p]]
        stack += [r - n for r in group.results if self._levels[r - n] == p]
        found: set[int] = set()
        while stack:
            k = stack.pop()
            if k >= 0 and group.members[k].wide and k not in found:
                found.add(k)
                stack += [r - n for r in group.members[k].reads]
        return sorted(found)

    def __call__(self, *arrays: Any) -> None:
        """Run on the inputs, into the outputs (which come after them)."""
        group, n = self.group, len(self.group.inputs)
        views = [self._view(a, move) for a, move in zip(arrays, group.moves)]
        registers: dict[int, Any] = dict(enumerate(views[:n]))
        outputs = dict(zip(group.results, views[n:]))
        for k, m in enumerate(group.members):
            if not m.wide:
                found = outputs.get(n + k)
                registers[n + k] = (
                    self._members.scratch(k, 1) if found is None else found
                )
        step = self.memory.tile()
        for p, members in enumerate(self._passes):
            for k in self._numbers[p]:
                self._members.run(k, registers, registers[n + k], 1)
            if not members:
                continue
            for start in range(0, group.length, step):
                stop = min(start + step, group.length)
                tile = dict(registers)
                for r, v in enumerate(views[:n]):
                    if group.moves[r] in "1c":
                        tile[r] = v[start:stop]
                for k in members:
                    if group.members[k].reduce:
                        self._add(k, tile, registers[n + k], start == 0)
                        continue
                    out = outputs.get(n + k)
                    tile[n + k] = (
                        self._members.scratch(k, stop - start)
                        if out is None
                        else out[start:stop]
                    )
                    self._members.run(k, tile, tile[n + k], stop - start)
            for k in self._reduced[p]:
                if group.members[k].reduce == "mean":
                    total = registers[n + k]
                    np.true_divide(total, group.length, total)

    def _add(self, k: int, tile: Any, total: Any, first: bool) -> None:
        """Reduce a tile's rows, together with those before them."""
        m = self.group.members[k]
        f = UFUNCS[m.reduce]
        if first:
            f.reduce(tile[m.reads[0]], 0, None, total[0])
            return
        more = self.work[self.memory.sums[k]]
        f.reduce(tile[m.reads[0]], 0, None, more)
        f(total[0], more, out=total[0])

    def _view(self, a: Any, move: str) -> Any:
        group = self.group
        if move == "s":
            return a[(0,) * a.ndim + (...,)]  # it may be one number, repeated
        rows = group.length if move in "1c" else 1
        return a.reshape(rows, 1 if move == "c" else group.rows)
