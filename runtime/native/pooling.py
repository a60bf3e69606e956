"""Pools and their gradients as loops over windows, in vectors of channels.

The positions of each axis are split where other taps are inside, so that the code of
a window has no condition: padding is left out. Windows are gone through backwards: an
input that is in several gets their cotangents in the order of its taps, as NumPy's
kernel adds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ...graphlib.records import record
from ...graphlib.windows import Pool
from .nest import Nest, element_moves, generate

__all__ = ["PoolKernel"]

#: Arrays of each kind: what is read, and the result.
_ARRAYS = {"max": 2, "mean": 2, "max gradient": 4, "mean gradient": 2}
_GRADIENTS = ("max gradient", "mean gradient")


@record(frozen=True)
class PoolKernel:
    """What is compiled: arguments are the arrays that are read, then the result.

    ``start`` and ``stop`` are a range of images.
    """

    part: Pool
    dtype: str

    @property
    def text(self) -> str:
        """The canonical form."""
        return f"pool {self.dtype} {self.part!r}"

    def generate(self, name: str, triple: str) -> str:
        """The module's text."""
        return generate(self, name, triple)

    def write(self, nest: Nest) -> None:
        """Write the function."""
        _Writer(nest, self).write()


class _Writer:
    """Writes one function."""

    def __init__(self, nest: Nest, kernel: PoolKernel) -> None:
        self.nest = nest
        self.part = part = kernel.part
        self.lanes = nest.machine.vector // np.dtype(kernel.dtype).itemsize
        self.moves, self.image = element_moves(
            [a.size for a in part.axes], part.channels
        )
        self.steps, self.share = element_moves(
            [a.outputs for a in part.axes], part.channels
        )
        count = _ARRAYS[part.kind]
        self.arrays = [nest.array(k, kernel.dtype) for k in range(count)]
        # Whether each input is in one window and no more: then it is only written.
        self.alone = all(a.stride > (a.taps - 1) * a.step for a in part.axes)
        covered = [
            sum((end - first) * len(inside) for first, end, inside in a.stretches())
            for a in part.axes
        ]
        self.full = self.alone and covered == [a.size for a in part.axes]

    def write(self) -> None:
        """Write the loop over images."""
        nest, part = self.nest, self.part
        gradient = part.kind in _GRADIENTS
        with nest.loop(*nest.function.args[1:]) as n:
            whole, share = nest.times(n, self.image), nest.times(n, self.share)
            # An input of the pool's, or a result: (source, y, g, dx), (g, dx), (x, y).
            at = (
                [whole, share, share, whole]
                if len(self.arrays) == 4
                else [whole, share]
            )
            if part.kind == "mean gradient":
                at.reverse()
            arrays = [nest.at(a, o) for a, o in zip(self.arrays, at)]
            if gradient and not self.full:
                self._clear(arrays[-1])
            self._windows([], [], arrays)

    def _clear(self, image: Any) -> None:
        nest = self.nest
        for c, width in self._vectors(self.image):
            zero = nest.filled(image.type.pointee, width, 0.0)
            nest.store(zero, nest.at(image, c), 0, width)

    def _vectors(self, count: int) -> Iterator[tuple[Any, int]]:
        """(first element, how many) for all of ``count`` elements side by side."""
        nest = self.nest
        whole = count - count % self.lanes
        if whole:
            with nest.loop(0, whole, self.lanes) as c:
                yield c, self.lanes
        while whole < count:
            width = 1 << ((count - whole).bit_length() - 1)
            yield whole, width
            whole += width

    def _windows(self, places: list[Any], taps: list[Any], arrays: Any) -> None:
        """Loops over the positions of all axes, of which ``places`` are given with the
        taps inside; the last come first."""
        nest, part = self.nest, self.part
        if len(places) == len(part.axes):
            self._window(places, taps, arrays)
            return
        for first, end, inside in reversed(part.axes[len(places)].stretches()):
            with nest.loop(0, end - first) as i:
                o = nest.add(nest.times(i, -1), end - 1)
                self._windows([*places, o], [*taps, inside], arrays)

    def _window(self, places: list[Any], inside: list[Any], arrays: Any) -> None:
        """The vectors of one window."""
        nest, part = self.nest, self.part
        input_at: Any = 0
        output_at: Any = 0
        for o, a, move, step in zip(places, part.axes, self.moves, self.steps):
            where = nest.add(nest.times(o, a.stride), -a.lo)
            input_at = nest.add(input_at, nest.times(where, move))
            output_at = nest.add(output_at, nest.times(o, step))
        taps = [
            sum(k * a.step * m for k, a, m in zip(ks, part.axes, self.moves))
            for ks in product(*inside)
        ]
        counted = prod(a.taps for a in part.axes) if part.padded else max(1, len(taps))
        write = {
            "max": self._largest,
            "mean": self._mean,
            "max gradient": self._claim,
            "mean gradient": self._spread,
        }[part.kind]
        for c, width in self._vectors(part.channels):
            window = nest.add(input_at, c)
            write(arrays, window, nest.add(output_at, c), taps, width, counted)

    def _largest(
        self, arrays: Any, window: Any, at: Any, taps: Any, width: int, _: int
    ) -> None:
        nest = self.nest
        x, y = arrays
        value = nest.filled(x.type.pointee, width, float("-inf"))
        for i, tap in enumerate(taps):
            one = nest.load(nest.at(nest.at(x, window), tap), width)
            value = nest.maximum(value, one) if i else one
        nest.store(value, nest.at(y, at), 0, width)

    def _mean(
        self, arrays: Any, window: Any, at: Any, taps: Any, width: int, counted: int
    ) -> None:
        nest, b = self.nest, self.nest.b
        x, y = arrays
        total = nest.filled(x.type.pointee, width, 0.0)
        for i, tap in enumerate(taps):
            one = nest.load(nest.at(nest.at(x, window), tap), width)
            total = b.fadd(total, one) if i else one
        total = b.fdiv(total, nest.filled(x.type.pointee, width, float(counted)))
        nest.store(total, nest.at(y, at), 0, width)

    def _claim(
        self, arrays: Any, window: Any, at: Any, taps: Any, width: int, _: int
    ) -> None:
        nest, b = self.nest, self.nest.b
        x, y, g, into = arrays
        largest = nest.load(nest.at(y, at), width)
        left = nest.load(nest.at(g, at), width)
        none = nest.filled(x.type.pointee, width, 0.0)
        for tap in taps:
            one = nest.load(nest.at(nest.at(x, window), tap), width)
            hit = b.fcmp_ordered("==", one, largest)
            self._give(b.select(hit, left, none), into, window, tap)
            left = b.select(hit, none, left)

    def _spread(
        self, arrays: Any, window: Any, at: Any, taps: Any, width: int, counted: int
    ) -> None:
        nest = self.nest
        g, into = arrays
        one = nest.load(nest.at(g, at), width)
        number = nest.filled(g.type.pointee, width, float(counted))
        share = nest.b.fdiv(one, number)
        for tap in taps:
            self._give(share, into, window, tap)

    def _give(self, value: Any, into: Any, window: Any, tap: int) -> None:
        """What a window has for one of its taps."""
        nest = self.nest
        pointer = nest.at(nest.at(into, window), tap)
        if not self.alone:
            value = nest.b.fadd(nest.load(pointer, value.type.count), value)
        nest.store(value, pointer, 0, value.type.count)
