"""Gradients of convolutions to their filters, with sums in registers.

A tile is some (tap of the last axis, input channel) pairs times some vectors of
output channels, for one tap of the outer axes. Its sums stay in registers while all
positions of some images are added: a number of the source, spread over a vector,
times the cotangent's vectors. Positions at which a tap is outside are left out.

The order of additions: the positions of an image, or of a few small ones, in row-major
order in one sum, then these sums one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ...graphlib.records import record
from ...graphlib.windows import FilterGradient
from .nest import (
    Machine,
    Nest,
    Parts,
    element_moves,
    equal_parts,
    generate,
    last_apart,
    step_cycles,
)

__all__ = ["FilterKernel"]

#: So many positions are added in one sum, at least.
_POSITIONS = 256
#: Fewer channels are joined with the taps of the last axis.
_FEW = 8
#: Vectors of a tile at most.
_VECTORS = 4


def _shape(part: FilterGradient, columns: int, machine: Machine) -> tuple[int, int]:
    """(most pairs, most vectors) of tiles that take the least time."""
    joined = part.channels < _FEW
    pairs = part.channels * (part.axes[-1].taps if joined else 1)
    least = part.channels if joined else 1
    best = (0.0, least, 1)
    for vectors in range(1, min(columns, _VECTORS) + 1):
        # One register holds the number that is spread.
        for most in range(least, (machine.registers - 1 - vectors) // vectors + 1):
            cost = sum(
                n * m * step_cycles(rows, width)
                for _, n, rows in equal_parts(pairs, most)
                for _, m, width in equal_parts(columns, vectors)
            )
            if best[0] == 0.0 or cost < best[0]:
                best = (cost, most, vectors)
    return best[1], best[2]


@record(frozen=True)
class FilterKernel:
    """What is compiled: arguments are source, cotangent, result, number of images.

    ``start`` and ``stop`` are a range of :attr:`units`.
    """

    part: FilterGradient
    dtype: str

    @property
    def text(self) -> str:
        """The canonical form."""
        return f"filter gradient {self.dtype} {self.part!r}"

    @property
    def units(self) -> int:
        """Parts of the result that can be shared out: the taps of the outer axes."""
        return prod(a.taps for a in self.part.axes[:-1])

    def generate(self, name: str, triple: str) -> str:
        """The module's text."""
        return generate(self, name, triple)

    def write(self, nest: Nest) -> None:
        """Write the function."""
        _Writer(nest, self).write()


class _Tile(NamedTuple):
    """What one tile adds.

    Attributes:
        taps: of the last axis; one, that a loop goes through, or some that are known.
        channel: the first channel of each tap.
        channels: how many.
        places: where each of the vectors is among the output channels.
        skipped: first lanes of the last vector, which another vector has too.
    """

    taps: Sequence[Any]
    channel: Any
    channels: int
    places: list[Any]
    skipped: int


class _Writer:
    """Writes one function."""

    def __init__(self, nest: Nest, kernel: FilterKernel) -> None:
        self.nest = nest
        self.part = part = kernel.part
        lanes = nest.machine.vector // np.dtype(kernel.dtype).itemsize
        while lanes > part.outputs:
            lanes //= 2
        self.lanes = lanes
        self.source, self.cotangent, self.result = (
            nest.array(k, kernel.dtype) for k in range(3)
        )
        self.images = nest.b.load(nest.b.gep(nest.function.args[0], [nest.number(3)]))
        self.columns = -(-part.outputs // lanes)
        self.pairs, self.vectors = _shape(part, self.columns, nest.machine)
        self.moves, self.image = element_moves(
            [a.size for a in part.axes], part.channels
        )
        self.steps, self.share = element_moves(
            [a.outputs for a in part.axes], part.outputs
        )
        self.sums = nest.registers(self.source.type.pointee, lanes)

    def write(self) -> None:
        """Write the loops over blocks of images and the range of units."""
        nest = self.nest
        positions = prod(a.outputs for a in self.part.axes)
        block = -(-_POSITIONS // max(1, positions))
        with nest.loop(0, self.images, block) as first:
            end = nest.least(nest.add(first, block), self.images)
            with nest.loop(*nest.function.args[1:]) as unit:
                self._unit(unit, (first, end))

    def _unit(self, unit: Any, images: tuple[Any, Any]) -> None:
        """The part of the result of one tap of the outer axes."""
        nest, part = self.nest, self.part
        taps: list[Any] = []
        rest = unit
        for a in reversed(part.axes[:-1]):
            taps.insert(0, nest.b.srem(nest.number(rest), nest.number(a.taps)))
            rest = nest.quotient(rest, a.taps)
        whole = part.axes[-1].taps * part.channels * part.outputs
        result = nest.at(self.result, nest.times(unit, whole))
        for tile in self._tiles():
            self._tile(tile, taps, images, result)

    def _tiles(self) -> Iterator[_Tile]:
        """Each tile, inside the loops over those that are like it."""
        nest, part = self.nest, self.part
        over = self.columns * self.lanes - part.outputs
        columns = equal_parts(self.columns, self.vectors)
        if over:
            columns = last_apart(columns)
        for ks, channels in self._pairs():
            for at, count, size in channels:
                with nest.loop(0, count) as i:
                    channel = nest.add(nest.times(i, size), at)
                    for first, m, vectors in columns:
                        last = first + vectors == self.columns
                        with nest.loop(0, m) as j:
                            vector = nest.add(nest.times(j, vectors), first)
                            places = [
                                nest.times(nest.add(vector, v), self.lanes)
                                for v in range(vectors)
                            ]
                            if last and over:  # it ends where the channels end
                                places[-1] = part.outputs - self.lanes
                            skipped = over if last else 0
                            yield _Tile(ks, channel, size, places, skipped)

    def _pairs(self) -> Iterator[tuple[Sequence[Any], list[Parts]]]:
        """(taps of the last axis, the parts of their channels)."""
        nest, part = self.nest, self.part
        taps = part.axes[-1].taps
        if part.channels >= _FEW:
            with nest.loop(0, taps) as k:
                yield (k,), equal_parts(part.channels, self.pairs)
            return
        for first, count, size in equal_parts(taps, self.pairs // part.channels):
            for i in range(first, first + count * size, size):
                yield range(i, i + size), [(0, 1, part.channels)]

    def _tile(
        self, tile: _Tile, taps: list[Any], images: tuple[Any, Any], result: Any
    ) -> None:
        nest, part = self.nest, self.part
        vectors = len(tile.places)
        self.sums.clear(len(tile.taps) * tile.channels * vectors)
        with nest.loop(*images) as n:
            x = nest.at(self.source, nest.add(nest.times(n, self.image), tile.channel))
            g = nest.at(self.cotangent, nest.times(n, self.share))
            self._positions(0, x, g, tile, taps)
        begun = nest.b.icmp_signed(">", nest.number(images[0]), nest.number(0))
        for q, k in enumerate(tile.taps):
            for c in range(tile.channels):
                pair = nest.add(nest.add(tile.channel, nest.times(k, part.channels)), c)
                row = nest.at(result, nest.times(pair, part.outputs))
                for v, place in enumerate(tile.places):
                    value = self.sums.value((q * tile.channels + c) * vectors + v)
                    skipped = tile.skipped if v == vectors - 1 else 0
                    self._add(value, nest.at(row, place), begun, skipped)

    def _add(self, value: Any, pointer: Any, begun: Any, skipped: int) -> None:
        """Write a sum, or add it to what earlier images gave."""
        nest, b = self.nest, self.nest.b
        old = nest.load(pointer, self.lanes)
        value = b.select(begun, b.fadd(value, old), value)
        nest.store(value, pointer, skipped, self.lanes)

    def _positions(self, axis: int, x: Any, g: Any, tile: _Tile, taps: Any) -> None:
        """Loops over the positions at which the taps of the outer axes are inside."""
        nest, part = self.nest, self.part
        a = part.axes[axis]
        if axis < len(part.axes) - 1:
            shift = nest.add(nest.times(taps[axis], a.step), -a.lo)
            with nest.loop(*nest.inside(shift, a.stride, a.size, a.outputs)) as o:
                where = nest.add(nest.times(o, a.stride), shift)
                self._positions(
                    axis + 1,
                    nest.at(x, nest.times(where, self.moves[axis])),
                    nest.at(g, nest.times(o, self.steps[axis])),
                    tile,
                    taps,
                )
            return
        for low, high, inside in self._stretches(tile.taps):
            with nest.loop(low, high) as o:
                self._position(
                    nest.at(x, nest.times(o, a.stride * self.moves[-1])),
                    nest.at(g, nest.times(o, self.steps[-1])),
                    tile,
                    inside,
                )

    def _position(self, x: Any, g: Any, tile: _Tile, inside: Sequence[Any]) -> None:
        nest, a = self.nest, self.part.axes[-1]
        columns = [nest.load(nest.at(g, place), self.lanes) for place in tile.places]
        for q, k in enumerate(tile.taps):
            if k not in inside:
                continue
            for c in range(tile.channels):
                where = nest.add(nest.times(k, a.step), -a.lo)
                at = nest.at(x, nest.times(where, self.moves[-1]))
                one = nest.spread(nest.b.load(nest.at(at, c)), self.lanes)
                for v, column in enumerate(columns):
                    pair = q * tile.channels + c
                    self.sums.add(pair * len(columns) + v, one, column)

    def _stretches(self, taps: Sequence[Any]) -> list[tuple[Any, Any, Sequence[Any]]]:
        """(first, end, which of the taps are inside) of positions where some are."""
        nest, a = self.nest, self.part.axes[-1]
        if not isinstance(taps[0], int):  # a loop goes through them
            shift = nest.add(nest.times(taps[0], a.step), -a.lo)
            low, high = nest.inside(shift, a.stride, a.size, a.outputs)
            return [(low, high, taps)]
        found: list[tuple[Any, Any, Sequence[Any]]] = []
        for first, end, inside in a.stretches():
            own = [k for k in inside if k in taps]
            if found and found[-1][1:] == (first, own):
                found[-1] = (found[-1][0], end, own)
            elif own:
                found.append((first, end, own))
        return found
