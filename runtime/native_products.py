"""Matrix products as native loops: NumPy's call until the code is there.

An op says what it computes (``OpDef.nest``); here is how the arrays of a step lie in
memory.  Operands may be views with rows that are apart, or transposed; what the loops
cannot read is left to NumPy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.products import Product
from ..graphlib.windows import Nest
from . import native_flops
from .native.product import (
    COPIED,
    DIRECT,
    TILE,
    TURNED,
    ProductKernel,
    panel_elements,
)
from .native.worker import native
from .native_flops import is_long, pieces
from .pool import Share

__all__ = ["Given", "ProductStep", "given", "panels_bytes"]

#: Bytes of b from which it is copied for so many rows: it does not stay in cache.
_SCATTERED, _ROWS = 3 << 19, 64
#: Bytes of a b of which every panel is at hand for a few rows.
_NEAR = 1 << 20
#: Rows that meet all panels before others do: few, so that results are written row
#: after row; more where each panel is copied for them again, and that costs much.
_FEW, _MORE, _MANY = TILE, 2 * TILE, 10 * TILE
#: Terms of which there are so few that copies matter less than results.
_SHALLOW = 64
#: The widest vector: columns that fill no whole number of them need a copy.
_VECTOR = 64


class Given(NamedTuple):
    """How arrays are given to the loops.

    Attributes:
        turned: whether a is transposed, in memory.
        copies: whether the loops need room for a panel.
        words: the arguments of the code after the addresses.
        units: what may be shared out: matrices, or the rows of one.
    """

    turned: bool
    copies: bool
    words: tuple[int, ...]
    units: int


def given(product: Product, arrays: Sequence[Any], itemsize: int) -> Given | None:
    """How a, b and the result are given; None where the loops cannot read them.

    Args:
        product: what is computed.
        arrays: a, b and the result, or what has their shapes and strides.
        itemsize: bytes of an element.
    """
    found = [_matrix(x.shape[-2:], x.strides[-2:], itemsize) for x in arrays]
    axes = _axes([x.shape[:-2] for x in arrays], [x.strides[:-2] for x in arrays])
    if None in found or axes is None:
        return None
    (flip_a, row_a), (flip_b, row_b), (flip_y, row_y) = found  # type: ignore[misc]
    if flip_y:
        return None
    turned_a, turned_b = product.turned_a != flip_a, product.turned_b != flip_b
    if any(s % itemsize for _, moves in axes for s in moves):
        return None
    (count, outer), (group, inner) = [
        (n, [s // itemsize for s in moves]) for n, moves in axes
    ]
    rows, terms, columns = product.rows, product.terms, product.columns
    if count == 1 and not turned_a and inner == [rows * row_a, 0, rows * row_y]:
        # Many matrices times one are one tall matrix.
        rows, group = rows * group, 1
    matrices = count * group
    how = DIRECT
    if turned_b:
        how = TURNED
    elif rows >= _ROWS and terms * row_b * itemsize >= _SCATTERED:
        how = COPIED
    copies = how != DIRECT or columns * itemsize % _VECTOR != 0
    block = _MANY
    if how == DIRECT and terms * row_b * itemsize <= _NEAR:
        block = _FEW
    elif terms <= _SHALLOW:
        block = _MORE
    sizes = rows, terms, columns, row_a, row_b, row_y, how, block, matrices, group
    units = rows if matrices == 1 else matrices
    return Given(turned_a, copies, (*sizes, *outer, *inner), units)


def _matrix(
    shape: Sequence[int], strides: Sequence[int], itemsize: int
) -> tuple[bool, int] | None:
    """(whether a matrix is transposed in memory, elements from one row to the next)."""
    for turned in (False, True):
        (rows, columns), (far, near) = shape, strides
        if turned:
            rows, columns, far, near = columns, rows, near, far
        side_by_side = near == itemsize or columns == 1
        apart = rows == 1 or (far >= columns * itemsize and far % itemsize == 0)
        if side_by_side and apart:
            return turned, columns if rows == 1 else far // itemsize
    return None


def _axes(
    shapes: Sequence[Sequence[int]], strides: Sequence[Sequence[int]]
) -> list[tuple[int, list[int]]] | None:
    """Two axes (size, bytes of a move in each array) that go through all matrices."""
    axes: list[tuple[int, list[int]]] = []
    for i, size in enumerate(shapes[-1]):
        moves = []
        for own, steps in zip(shapes, strides):
            k = i - (len(shapes[-1]) - len(own))
            moves.append(steps[k] if k >= 0 and own[k] != 1 else 0)
        if size == 1:
            continue
        if axes and all(m == size * n for m, n in zip(axes[-1][1], moves)):
            axes[-1] = axes[-1][0] * size, moves
        else:
            axes.append((size, moves))
    if len(axes) > 2:
        return None
    return [(1, [0, 0, 0])] * (2 - len(axes)) + axes


def panels_bytes(nest: Nest, shared: bool) -> int:
    """Room for the panels of a step, one for each piece, where its arrays are
    contiguous."""
    product: Product = nest.parts[0]  # type: ignore[assignment]
    item = np.dtype(nest.dtype).itemsize
    scattered = product.terms * product.columns * item >= _SCATTERED
    copied = product.turned_b or product.columns * item % _VECTOR
    if not copied and not scattered:
        return 0
    return pieces(nest.flops, shared) * panel_elements(product.terms, item) * item


class ProductStep:
    """A step of one frame, as a function of a, b and the result."""

    __slots__ = (
        "_calls",
        "_changing",
        "_flops",
        "_given",
        "_item",
        "_native",
        "_nest",
        "_numpy",
        "_parts",
        "_room",
        "_share",
        "_strides",
        "_wait",
    )

    def __init__(
        self,
        nest: Nest,
        numpy: Callable[..., Any],
        args: Sequence[Any],
        room: Any,
        wait: bool,
        share: Share | None,
    ) -> None:
        """Take what stays the same.

        Args:
            nest: what is computed.
            numpy: NumPy's kernel, of the same arguments.
            args: the arrays whose memory is the same in every run, None for others.
            room: the scratch array of the panels, None for none.
            wait: whether the first run waits for the code.
            share: threads that may take a part.
        """
        self._nest = nest
        self._numpy = numpy
        self._room = room
        self._wait = wait
        self._share = share
        self._calls = 0
        self._flops = nest.flops
        self._item = np.dtype(nest.dtype).itemsize
        self._changing = [k for k, a in enumerate(args) if a is None]
        self._strides: list[Any] = [None] * len(args)
        self._given: Given | None = None
        self._native: Any = None
        self._parts: list[tuple[Any, int, int, int]] = []
        if not self._changing:
            self._lay_out(args)

    def _lay_out(self, arrays: Sequence[Any]) -> None:
        """Make arguments for arrays that lie like these."""
        self._strides = [a.strides for a in arrays]
        product: Product = self._nest.parts[0]  # type: ignore[assignment]
        found = given(product, arrays, self._item)
        if found is not None and found.copies and self._room is None:
            found = None  # a transposed feed, for which there is no room
        self._given = found
        self._parts = []
        if found is None:
            return
        self._native = native(ProductKernel(self._nest.dtype, found.turned))
        most = pieces(self._flops, self._share is not None)
        # Tiles end where pieces do; a matrix is not cut.
        unit = TILE if found.words[8] == 1 else 1
        tiles = -(-found.units // unit)
        count = min(most, tiles)
        ends = [min(tiles * i // count * unit, found.units) for i in range(count + 1)]
        panel = panel_elements(product.terms, self._item) * self._item
        for i, (start, stop) in enumerate(pairwise(ends)):
            room = 0 if self._room is None else self._room.ctypes.data + i * panel
            addresses = [a.ctypes.data for a in arrays]
            words = (ctypes.c_int64 * (4 + len(found.words)))(
                *addresses, room, *found.words
            )
            self._parts.append((words, ctypes.addressof(words), start, stop))

    def __call__(self, *arrays: Any) -> None:
        for k in self._changing:
            if not arrays[k].flags.aligned:
                self._numpy(*arrays)
                return
            if arrays[k].strides != self._strides[k]:
                self._lay_out(arrays)
        if self._given is None:
            self._numpy(*arrays)
            return
        code = self._native.code
        if code is None:
            self._calls += 1
            code = self._native.asked(
                self._wait, self._calls, self._flops, native_flops.HOT
            )
            if code is None:
                self._numpy(*arrays)
                return
        for k in self._changing:
            address = arrays[k].ctypes.data
            for words, *_ in self._parts:
                words[k] = address
        call = code.call if is_long(self._flops) else code.call_short
        if len(self._parts) == 1:
            _, address, start, stop = self._parts[0]
            call(address, start, stop)
            return
        assert self._share is not None
        calls = [partial(call, *rest) for _, *rest in self._parts]
        self._share.pool.run(calls, self._share.most)
