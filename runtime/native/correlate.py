"""Convolutions as loops whose sums stay in registers.

A tile is some output positions of one row times some vectors of output channels. Its
sums stay in registers while all taps and all input channels are added: a number of
the source, spread over a vector, times the filter's vectors. The filter is packed
before, so that a tile reads it from front to back. Taps that fall outside are left
out: of the outer axes by the bounds of loops, of the last one because each tile has
code of its own for each tap, with the positions that it reaches.

The order of additions: the taps in row-major order, in each the channels, in one sum.

Reference: Georganas and others, Anatomy of high-performance deep learning convolutions
on SIMD architectures, 2018 (arXiv:1808.05567).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ...graphlib.records import record
from ...graphlib.windows import Axis, Correlation
from .nest import (
    Machine,
    Nest,
    element_moves,
    equal_parts,
    generate,
    last_apart,
    step_cycles,
)

__all__ = ["CorrelateKernel", "panel_elements"]

#: Bytes of the widest vector that there may be: packed filters have room for it.
_WIDEST = 64
#: A packed filter of so many bytes stays in cache while images are gone through.
_CACHED = 1 << 19
#: Vectors of a tile at most.
_VECTORS = 4
#: Sums of fewer terms are made in tiles of few positions: what a tile costs beside its
#: additions counts there.
_SHALLOW = 64
_FEW = 10
#: Additions that are written out in a loop, about: one step of a full tile, or several
#: of a small one. More take LLVM long and run no faster.
_WRITTEN = 40


def panel_elements(parts: Sequence[Correlation], itemsize: int) -> int:
    """Elements of the packed filters of all parts, for vectors of any machine."""
    return sum(_panel(part, _WIDEST // itemsize) for part in parts)


def _taps(part: Correlation) -> int:
    return prod(a.taps for a in part.axes)


def _panel(part: Correlation, lanes: int) -> int:
    return _taps(part) * part.channels * -(-part.outputs // lanes) * lanes


class _Tiles(NamedTuple):
    """Tiles of one row that are the same but for their place.

    Attributes:
        first: the first output position.
        tiles: how many.
        positions: of each tile.
        reached: per tap, the (first, end) positions of a tile at which it is inside.
    """

    first: int
    tiles: int
    positions: int
    reached: tuple[tuple[int, int], ...]


def _row_tiles(axis: Axis, most: int) -> list[_Tiles]:
    """The tiles of a row, none of more than ``most`` positions."""
    pieces = -(-axis.outputs // most)
    ends = [axis.outputs * i // pieces for i in range(pieces + 1)]
    found: list[_Tiles] = []
    for first, end in pairwise(ends):
        inside = []
        for k in range(axis.taps):
            low, high = axis.reached(k)
            low, high = max(low, first), min(high, end)
            inside.append((low - first, high - first) if low < high else (0, 0))
        tile = _Tiles(first, 1, end - first, tuple(inside))
        if found and found[-1][2:] == tile[2:]:
            found[-1] = found[-1]._replace(tiles=found[-1].tiles + 1)
        else:
            found.append(tile)
    return found


def _shape(part: Correlation, lanes: int, machine: Machine) -> tuple[int, int]:
    """(most positions, most vectors) of tiles that take the least time for a row."""
    columns = -(-part.outputs // lanes)
    row = part.axes[-1].outputs
    best = (0.0, 1, 1)
    for vectors in range(1, min(columns, _VECTORS) + 1):
        # One register holds the number that is spread.
        most = min((machine.registers - vectors - 1) // vectors, row)
        if _taps(part) * part.channels < _SHALLOW:
            most = min(most, _FEW)
        for positions in range(1, most + 1):
            pieces = -(-row // positions)
            cost = pieces * sum(
                count * step_cycles(-(-row // pieces), size)
                for _, count, size in equal_parts(columns, vectors)
            )
            if best[0] == 0.0 or cost < best[0]:
                best = (cost, positions, vectors)
    return best[1], best[2]


@record(frozen=True)
class CorrelateKernel:
    """What is compiled: arguments are source, filter, result and packed filter.

    ``start`` and ``stop`` are a range of images; a negative ``start`` packs the filter.

    Attributes:
        parts: what is computed, each with its own part of the result.
        dtype: of all arrays.
    """

    parts: tuple[Correlation, ...]
    dtype: str

    @property
    def text(self) -> str:
        """The canonical form."""
        return f"correlate {self.dtype} {self.parts!r}"

    def generate(self, name: str, triple: str) -> str:
        """The module's text."""
        return generate(self, name, triple)

    def write(self, nest: Nest) -> None:
        """Write the function."""
        b = nest.b
        lanes = nest.machine.vector // np.dtype(self.dtype).itemsize
        source, filter_, result, panel = (nest.array(k, self.dtype) for k in range(4))
        _, start, stop = nest.function.args
        packs = nest.function.append_basic_block("pack")
        runs = nest.function.append_basic_block("run")
        b.cbranch(b.icmp_signed("<", start, nest.number(0)), packs, runs)
        b.position_at_end(packs)
        at = 0
        for part in self.parts:
            _Packer(nest, part, lanes, filter_, nest.at(panel, at)).write()
            at += _panel(part, lanes)
        b.ret_void()
        b.position_at_end(runs)
        at = 0
        for part in self.parts:
            writer = _Writer(nest, part, lanes, source, result, nest.at(panel, at))
            writer.write(start, stop)
            at += _panel(part, lanes)


class _Blocks:
    """The output channels of one part, in blocks of vectors."""

    def __init__(self, nest: Nest, part: Correlation, lanes: int) -> None:
        self.nest = nest
        self.part = part
        self.lanes = lanes
        self.positions, self.vectors = _shape(part, lanes, nest.machine)
        columns = -(-part.outputs // lanes)
        #: Lanes of the last vector that are no channel.
        self.empty = columns * lanes - part.outputs
        #: Steps of a sum: a packed block has one vector, or several, for each.
        self.depth = _taps(part) * part.channels
        self.parts = equal_parts(columns, self.vectors)
        if self.empty:
            self.parts = last_apart(self.parts)

    def blocks(self) -> Iterator[tuple[int, int, int, int]]:
        """(first vector, number of blocks, vectors of each, lanes left empty)."""
        for first, count, vectors in self.parts:
            last = (first, count, vectors) == self.parts[-1]
            yield first, count, vectors, self.empty if last else 0

    def place(self, first: int, block: Any, vectors: int) -> tuple[Any, Any]:
        """(the first channel of a block, where it is in the packed filter)."""
        nest = self.nest
        vector = nest.add(nest.times(block, vectors), first)
        column = nest.times(vector, self.lanes)
        return column, nest.times(column, self.depth)


class _Packer(_Blocks):
    """Writes the code that packs a filter: blocks, in each taps, channels, lanes."""

    def __init__(
        self, nest: Nest, part: Correlation, lanes: int, filter_: Any, panel: Any
    ) -> None:
        super().__init__(nest, part, lanes)
        self.filter = nest.at(filter_, part.filter_at)
        self.panel = panel

    def write(self) -> None:
        """Write it."""
        nest, part = self.nest, self.part
        for first, count, vectors, empty in self.blocks():
            with nest.loop(0, count) as block:
                column, place = self.place(first, block, vectors)
                from_ = nest.at(self.filter, nest.times(column, part.output_move))
                to = nest.at(self.panel, place)
                self._taps(0, to, from_, vectors * self.lanes, empty)

    def _taps(self, axis: int, to: Any, from_: Any, width: int, empty: int) -> None:
        """The taps of the axes from ``axis`` on."""
        nest, part = self.nest, self.part
        if axis == len(part.axes):
            self._channels(to, from_, width, empty)
            return
        inner = prod(a.taps for a in part.axes[axis + 1 :]) * part.channels * width
        with nest.loop(0, part.axes[axis].taps) as k:
            self._taps(
                axis + 1,
                nest.at(to, nest.times(k, inner)),
                nest.at(from_, nest.times(k, part.tap_moves[axis])),
                width,
                empty,
            )

    def _channels(self, to: Any, from_: Any, width: int, empty: int) -> None:
        nest, part, b = self.nest, self.part, self.nest.b
        with nest.loop(0, part.channels) as c:
            row = nest.at(to, nest.times(c, width))
            start = nest.at(from_, nest.times(c, part.channel_move))
            with nest.loop(0, width - empty) as j:
                value = b.load(nest.at(start, nest.times(j, part.output_move)))
                b.store(value, nest.at(row, j))
            if empty:
                nothing = nest.ir.Constant(row.type.pointee, 0.0)
                with nest.loop(width - empty, width) as j:
                    b.store(nothing, nest.at(row, j))


class _Writer(_Blocks):
    """Writes the code of the sums of one part."""

    def __init__(
        self,
        nest: Nest,
        part: Correlation,
        lanes: int,
        source: Any,
        result: Any,
        panel: Any,
    ) -> None:
        super().__init__(nest, part, lanes)
        self.source = source
        self.result = nest.at(result, part.result_at)
        self.panel = panel
        self.moves, self.image = element_moves(
            [a.size for a in part.axes], part.channels
        )
        self.sums = nest.registers(source.type.pointee, lanes)

    def write(self, start: Any, stop: Any) -> None:
        """Write the loops over a range of images."""
        nest = self.nest
        width = sum(count * size for _, count, size in self.parts) * self.lanes
        cached = self.depth * width * nest.size(self.source) <= _CACHED
        if cached:
            with nest.loop(start, stop) as n:
                for first, count, vectors, empty in self.blocks():
                    with nest.loop(0, count) as block:
                        self._image(n, first, block, vectors, empty)
            return
        for first, count, vectors, empty in self.blocks():
            with nest.loop(0, count) as block, nest.loop(start, stop) as n:
                self._image(n, first, block, vectors, empty)

    def _image(self, n: Any, first: int, block: Any, vectors: int, empty: int) -> None:
        """One block of channels of one image."""
        nest = self.nest
        column, place = self.place(first, block, vectors)
        whole = nest.times(n, self.part.image_move)
        self._rows(
            nest.at(self.source, nest.times(n, self.image)),
            nest.at(self.result, nest.add(whole, column)),
            nest.at(self.panel, place),
            [],
            vectors,
            empty,
        )

    def _rows(
        self,
        source: Any,
        result: Any,
        panel: Any,
        places: list[Any],
        vectors: int,
        empty: int,
    ) -> None:
        """Loops over the positions of all axes, of which ``places`` are given."""
        nest, part = self.nest, self.part
        axis = len(places)
        if axis < len(part.axes) - 1:
            with nest.loop(0, part.axes[axis].outputs) as o:
                into = nest.at(result, nest.times(o, part.moves[axis]))
                self._rows(source, into, panel, [*places, o], vectors, empty)
            return
        inner, move = part.axes[-1], self.moves[-1]
        for tiles in _row_tiles(inner, self.positions):
            with nest.loop(0, tiles.tiles) as t:
                o = nest.add(nest.times(t, tiles.positions), tiles.first)
                at = nest.add(nest.times(o, inner.stride), -inner.lo)
                start = nest.at(source, nest.times(at, move))
                into = nest.at(result, nest.times(o, part.moves[-1]))
                self._tile(tiles, start, into, panel, places, vectors, empty)

    def _tile(
        self,
        tiles: _Tiles,
        source: Any,
        result: Any,
        panel: Any,
        places: list[Any],
        vectors: int,
        empty: int,
    ) -> None:
        nest = self.nest
        self.sums.clear(tiles.positions * vectors)
        self._outer_taps(0, tiles, source, panel, places, vectors)
        for p in range(tiles.positions):
            for v in range(vectors):
                into = nest.at(result, p * self.part.moves[-1] + v * self.lanes)
                full = self.lanes - (empty if v == vectors - 1 else 0)
                nest.store(self.sums.value(p * vectors + v), into, 0, full)

    def _outer_taps(
        self,
        axis: int,
        tiles: _Tiles,
        source: Any,
        panel: Any,
        places: list[Any],
        vectors: int,
    ) -> None:
        """Loops over the taps inside the source of all axes but the last."""
        nest, part = self.nest, self.part
        if axis == len(part.axes) - 1:
            self._inner_taps(tiles, source, panel, vectors)
            return
        a = part.axes[axis]
        first = nest.add(nest.times(places[axis], a.stride), -a.lo)
        rest = prod(x.taps for x in part.axes[axis + 1 :])
        step = rest * part.channels * vectors * self.lanes
        with nest.loop(*nest.inside(first, a.step, a.size, a.taps)) as k:
            where = nest.add(first, nest.times(k, a.step))
            self._outer_taps(
                axis + 1,
                tiles,
                nest.at(source, nest.times(where, self.moves[axis])),
                nest.at(panel, nest.times(k, step)),
                places,
                vectors,
            )

    def _inner_taps(self, tiles: _Tiles, source: Any, panel: Any, vectors: int) -> None:
        nest, part = self.nest, self.part
        a, move = part.axes[-1], self.moves[-1]
        width = vectors * self.lanes
        k = 0
        while k < a.taps:
            positions = tiles.reached[k]
            end = k + 1
            # The channels of taps side by side are one run.
            while a.step == 1 and end < a.taps and tiles.reached[end] == positions:
                end += 1
            self._run(
                range(*positions),
                (end - k) * part.channels,
                nest.at(source, k * a.step * move),
                nest.at(panel, k * part.channels * width),
                vectors,
            )
            k = end

    def _run(
        self, positions: range, length: int, source: Any, panel: Any, vectors: int
    ) -> None:
        """Add ``length`` elements that lie side by side, at some positions."""
        nest, b = self.nest, self.nest.b
        if not positions:
            return
        step = self.part.axes[-1].stride * self.moves[-1]
        width = vectors * self.lanes
        most = max(1, _WRITTEN // (vectors * len(positions)))
        unrolled = max(u for u in range(1, most + 1) if length % u == 0)
        with nest.loop(0, length, unrolled) as i:
            x = nest.at(source, i)
            f = nest.at(panel, nest.times(i, width))
            for u in range(unrolled):
                columns = [
                    nest.load(nest.at(f, u * width + v * self.lanes), self.lanes)
                    for v in range(vectors)
                ]
                for p in positions:
                    one = nest.spread(b.load(nest.at(x, p * step + u)), self.lanes)
                    for v, column in enumerate(columns):
                        self.sums.add(p * vectors + v, one, column)
