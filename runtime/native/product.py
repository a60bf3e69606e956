"""Matrix products as loops whose sums stay in registers.

A tile is some rows of the result times some vectors of its columns.  Its sums stay in
registers while numbers of a, each spread over a vector, meet vectors of b.  A *panel*
is the part of b for the columns of a tile: it is read where it is, or a copy of it from
front to back, if its rows are far apart, b is given transposed, or the columns end
within a vector.  Sizes are arguments: one code serves them all.

The order of additions: blocks of at most 512 terms, in each one sum; these are added
one after the other.  It depends on the number of terms alone.

Reference: Goto and van de Geijn, Anatomy of high-performance matrix multiplication,
ACM TOMS 34 (2008), 12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ...graphlib.records import record
from .nest import Machine, Nest, generate
from .worker import Unsuited

__all__ = ["COPIED", "DIRECT", "TILE", "TURNED", "ProductKernel", "panel_elements"]

#: How b is read: where it is, from copies, or from copies of what is transposed.
DIRECT, COPIED, TURNED = range(3)
#: Rows at multiples of which a product may be cut: tiles of every machine end there.
TILE = 24
#: Terms of a sum, at most, before it is written.
_TERMS = 512
#: Steps of a sum that are written out in a loop.
_WRITTEN = 4
#: Bytes of a cache line, and how many of each row of the next tile are asked for.
_LINE, _LINES = 64, 4
#: Bytes of the widest panel's row: three vectors of 64 bytes.
_WIDEST = 192


def panel_elements(terms: int, itemsize: int) -> int:
    """Elements of the copy of a panel, on any machine."""
    return min(terms, _TERMS) * _WIDEST // itemsize


def _tile(machine: Machine) -> tuple[int, int]:
    """(rows, vectors) of a tile: enough sums for the additions that are under way at
    one time, with registers left for a row of the panel and a number of a."""
    return (8, 3) if machine.registers >= 32 else (6, 2)


@record(frozen=True)
class ProductKernel:
    """What is compiled.  Its arguments, 20 words:

    the addresses of a, b, the result and room for a panel; rows, terms, columns;
    elements from one row of the arrays a, b, result to the next; how b is read; the
    rows that meet all panels before others do (:data:`TILE` times a number); how many
    matrices there are; how many of these are a group; elements from one group
    to the next of a, b, result, and from one matrix of a group to the next.

    ``start`` and ``stop`` are a range of matrices, or where there is one, of its rows.

    Attributes:
        dtype: of all arrays.
        turned: whether a is given transposed.
    """

    dtype: str
    turned: bool

    @property
    def text(self) -> str:
        """The canonical form."""
        return f"product {self.dtype} {self.turned}"

    def generate(self, name: str, triple: str) -> str:
        """The module's text."""
        return generate(self, name, triple)

    def write(self, nest: Nest) -> None:
        """Write the function.

        Raises:
            Unsuited: vectors are short: there nobody has measured it, and there are
                libraries that use other units of the processor.
        """
        if nest.machine.vector < 32:
            raise Unsuited
        _Writer(nest, self).write()


class _Block(NamedTuple):
    """What meets a panel.

    Attributes:
        a, b, y: where the matrices begin.
        row, end: the rows.
        new: whether they are the first that meet this b, which is in no cache yet.
        term, terms: the first term, and how many.
    """

    a: Any
    b: Any
    y: Any
    row: Any
    end: Any
    new: Any
    term: Any
    terms: Any


class _Panel(NamedTuple):
    """The columns of a tile.

    Attributes:
        at: where the panel begins.
        move: from one of its rows to the next.
        column: its first column.
        vectors: of a row.
        mask: the lanes of the last vector that are columns.
    """

    at: Any
    move: Any
    column: Any
    vectors: int
    mask: Any


class _Writer:
    """Writes one function."""

    def __init__(self, nest: Nest, kernel: ProductKernel) -> None:
        self.nest = nest
        self.turned = kernel.turned
        self.lanes = nest.machine.vector // np.dtype(kernel.dtype).itemsize
        self.line = _LINE // np.dtype(kernel.dtype).itemsize
        self.rows, self.vectors = _tile(nest.machine)
        b, args = nest.b, nest.function.args[0]
        self.a, self.b, self.y, self.copy = (
            nest.array(k, kernel.dtype) for k in range(4)
        )
        words = [b.load(b.gep(args, [nest.number(k)])) for k in range(4, 20)]
        self.m, self.k, self.n = words[:3]
        self.row_a, self.row_b, self.row_y = words[3:6]
        self.how, self.block, self.matrices, self.group = words[6:10]
        self.outer, self.inner = words[10:13], words[13:16]
        self.sums = nest.registers(self.a.type.pointee, self.lanes)

    # -- loops -------------------------------------------------------------------

    def write(self) -> None:
        """Write the loops over matrices, blocks of rows and terms, and panels."""
        nest, b = self.nest, self.nest.b
        _, start, stop = nest.function.args
        single = b.icmp_signed("==", self.matrices, nest.number(1))
        zero, one = nest.number(0), nest.number(1)
        first, end = b.select(single, zero, start), b.select(single, one, stop)
        top, bottom = b.select(single, start, zero), b.select(single, stop, self.m)
        blocks = nest.quotient(nest.add(self.k, _TERMS - 1), _TERMS)
        terms = b.sdiv(nest.add(nest.add(self.k, blocks), -1), blocks)
        with nest.loop(first, end) as i:
            places = b.sdiv(i, self.group), b.srem(i, self.group)
            starts = zip((self.a, self.b, self.y), self.outer, self.inner)
            left, right, y = (
                nest.at(p, nest.add(b.mul(places[0], out), b.mul(places[1], inner)))
                for p, out, inner in starts
            )
            with nest.loop(top, bottom, self.block) as row:
                last = nest.least(nest.add(row, self.block), bottom)
                new = b.icmp_signed("==", row, top)
                with nest.loop(0, self.k, terms) as k:
                    size = nest.least(terms, b.sub(self.k, k))
                    self._panels(_Block(left, right, y, row, last, new, k, size))

    def _panels(self, block: _Block) -> None:
        """All panels of columns."""
        nest = self.nest
        at: Any = 0
        for vectors, count in self._widths():
            width = vectors * self.lanes
            with nest.loop(0, count) as i:
                column = nest.add(at, nest.times(i, width))
                self._tiles(block, self._panel(block, column, vectors))
            at = nest.add(at, nest.times(count, width))

    def _widths(self) -> list[tuple[int, Any]]:
        """(vectors, how many panels of them), none of one vector where two can be."""
        nest, b = self.nest, self.nest.b
        number = nest.number
        whole = nest.quotient(nest.add(self.n, self.lanes - 1), self.lanes)
        full = nest.quotient(whole, self.vectors)
        rest = b.sub(whole, nest.times(full, self.vectors))
        if self.vectors == 2:
            return [(2, full), (1, rest)]
        alone = b.icmp_signed("==", rest, number(1))
        single = b.icmp_signed("==", whole, number(1))
        # One vector left over: with the three of a full panel, two panels of two.
        full = b.select(alone, b.sub(full, number(1)), full)
        twos = b.select(alone, number(2), b.lshr(rest, number(1)))
        return [
            (3, b.select(single, number(0), full)),
            (2, b.select(single, number(0), twos)),
            (1, b.select(single, number(1), number(0))),
        ]

    def _panel(self, block: _Block, column: Any, vectors: int) -> _Panel:
        """A panel, copied where it has to be."""
        nest, b = self.nest, self.nest.b
        left = b.sub(self.n, nest.number(nest.add(column, (vectors - 1) * self.lanes)))
        lanes = nest.least(left, self.lanes)
        mask = nest.mask(lanes, self.lanes)
        width = vectors * self.lanes
        here = nest.at(block.b, nest.add(nest.times(block.term, self.row_b), column))
        direct = b.and_(
            b.icmp_signed("==", self.how, nest.number(DIRECT)),
            b.icmp_signed("==", lanes, nest.number(self.lanes)),
        )
        with b.if_then(b.not_(direct)):
            turned = b.icmp_signed("==", self.how, nest.number(TURNED))
            with b.if_else(turned) as (across, along):
                with across:
                    self._copy_turned(block, column, vectors)
                with along:
                    self._copy_rows(block, here, vectors, mask)
        return _Panel(
            b.select(direct, here, self.copy),
            b.select(direct, self.row_b, nest.number(width)),
            column,
            vectors,
            mask,
        )

    # -- copies ------------------------------------------------------------------

    def _copy_rows(self, block: _Block, here: Any, vectors: int, mask: Any) -> None:
        nest = self.nest
        with nest.loop(0, block.terms) as k:
            row = nest.at(here, nest.times(k, self.row_b))
            to = nest.at(self.copy, nest.times(k, vectors * self.lanes))
            for v in range(vectors):
                from_, last = nest.at(row, v * self.lanes), v == vectors - 1
                if last:
                    value = nest.load_some(from_, mask)
                else:
                    value = nest.load(from_, self.lanes)
                nest.store(value, nest.at(to, v * self.lanes), 0, self.lanes)

    def _copy_turned(self, block: _Block, column: Any, vectors: int) -> None:
        """Squares of lanes x lanes elements, turned in registers.

        In the place of columns that there are not, the last one is read again.
        """
        nest, b, lanes = self.nest, self.nest.b, self.lanes
        width = vectors * lanes
        whole = b.sub(block.terms, b.srem(block.terms, nest.number(lanes)))
        with nest.loop(0, vectors) as v:
            first = nest.add(column, nest.times(v, lanes))
            to = nest.at(self.copy, nest.times(v, lanes))
            rows = []
            for i in range(lanes):
                row = nest.least(nest.add(first, i), nest.add(self.n, -1))
                place = nest.add(nest.times(row, self.row_b), block.term)
                rows.append(nest.at(block.b, place))
            with nest.loop(0, whole, lanes) as k:
                square = [nest.load(nest.at(p, k), lanes) for p in rows]
                into = nest.at(to, nest.times(k, width))
                for i, vector in enumerate(_turned(nest, square)):
                    nest.store(vector, nest.at(into, i * width), 0, lanes)
            with nest.loop(whole, block.terms) as k:
                into = nest.at(to, nest.times(k, width))
                for i, p in enumerate(rows):
                    b.store(b.load(nest.at(p, k)), nest.at(into, i))

    # -- tiles -------------------------------------------------------------------

    def _tiles(self, block: _Block, panel: _Panel) -> None:
        """All rows of a block: whole tiles, then one of what is left, in which the
        last row may be there several times."""
        nest, b = self.nest, self.nest.b
        rest = b.srem(b.sub(block.end, block.row), nest.number(self.rows))
        whole = b.sub(block.end, rest)
        rows = list(range(self.rows))
        new = b.and_(block.new, b.icmp_signed(">", whole, block.row))
        with b.if_then(new):
            self._tile(block, panel, block.row, rows, _WRITTEN, ahead=True)
        begin = b.select(new, b.add(block.row, nest.number(self.rows)), block.row)
        with nest.loop(begin, whole, self.rows) as row:
            self._tile(block, panel, row, rows, _WRITTEN, ahead=False)
        half = self.rows // 2
        for low, high in ((0, half), (half, self.rows)):
            some = b.and_(
                b.icmp_signed(">", rest, nest.number(low)),
                b.icmp_signed("<=", rest, nest.number(high)),
            )
            with b.if_then(some):
                last = nest.add(rest, -1)
                rows = [nest.least(r, last) for r in range(high)]
                self._tile(block, panel, whole, rows, 1, ahead=True)

    def _tile(
        self,
        block: _Block,
        panel: _Panel,
        row: Any,
        rows: list[Any],
        written: int,
        ahead: bool,
    ) -> None:
        """Some rows, from ``row`` on: the sums, and how they are written.

        Args:
            block: what the rows are of.
            panel: the columns.
            row: the first row.
            rows: which ones, counted from there.
            written: steps that are written out in a loop.
            ahead: whether the next panel's columns are asked for meanwhile.
        """
        nest, b = self.nest, self.nest.b
        row_a = nest.number(1) if self.turned else self.row_a
        term_a = self.row_a if self.turned else 1
        a = nest.at(
            block.a, nest.add(b.mul(row, row_a), nest.times(block.term, term_a))
        )
        y = nest.at(block.y, nest.add(b.mul(row, self.row_y), panel.column))
        if written > 1:
            self._prefetch(a, y, rows, panel.vectors)
        self.sums.clear(len(rows) * panel.vectors)
        whole = b.sub(block.terms, b.srem(block.terms, nest.number(written)))
        parts: list[tuple[Any, Any, int]] = [(0, whole, written)]
        if written > 1:
            parts.append((whole, block.terms, 1))
        for start, stop, count in parts:
            begin = [
                nest.at(a, nest.times(start, term_a)),
                nest.at(panel.at, nest.times(start, panel.move)),
            ]
            moves = [nest.times(term_a, count), nest.times(panel.move, count)]
            with _along(nest, start, stop, count, begin, moves) as (x, p):
                for u in range(count):
                    number = nest.at(x, nest.times(term_a, u))
                    line = nest.at(p, nest.times(panel.move, u))
                    self._step(number, line, rows, panel.vectors)
                    for v in range(panel.vectors if ahead else 0):
                        place = (panel.vectors + v) * self.lanes
                        nest.prefetch(nest.at(line, place))
                    if self.turned and written > 1:  # rows of the next tiles
                        nest.prefetch(nest.at(number, self.line), near=False)
        self._write(block, panel, y, rows)

    def _prefetch(self, a: Any, y: Any, rows: list[Any], vectors: int) -> None:
        """Where the sums will be written, and where the next tile's rows of a begin:
        what follows the processor finds out for itself, but not the first lines."""
        nest = self.nest
        for r in rows:
            row = nest.at(y, nest.times(r, self.row_y))
            for v in range(vectors):
                nest.prefetch(nest.at(row, v * self.lanes), write=True)
        if self.turned:
            return
        below = nest.at(a, nest.times(self.row_a, self.rows))
        for r in rows:
            row = nest.at(below, nest.times(r, self.row_a))
            for i in range(_LINES):
                nest.prefetch(nest.at(row, i * self.line))

    def _step(self, a: Any, line: Any, rows: list[Any], vectors: int) -> None:
        """Add one term to all sums."""
        nest = self.nest
        columns = [
            nest.load(nest.at(line, v * self.lanes), self.lanes) for v in range(vectors)
        ]
        for i, r in enumerate(rows):
            place = r if self.turned else nest.times(r, self.row_a)
            one = nest.spread(nest.b.load(nest.at(a, place)), self.lanes)
            for v, column in enumerate(columns):
                self.sums.add(i * vectors + v, one, column)

    def _write(self, block: _Block, panel: _Panel, y: Any, rows: list[Any]) -> None:
        """Write the sums, or add them to those of the terms before."""
        nest, b = self.nest, self.nest.b

        def places() -> Iterator[tuple[int, Any, bool]]:
            for i, r in enumerate(rows):
                row = nest.at(y, nest.times(r, self.row_y))
                for v in range(panel.vectors):
                    at = nest.at(row, v * self.lanes)
                    yield i * panel.vectors + v, at, v == panel.vectors - 1

        # All is read before anything is written: a row may be there several times.
        with b.if_then(b.icmp_signed(">", nest.number(block.term), nest.number(0))):
            for k, at, last in places():
                if last:
                    old = nest.load_some(at, panel.mask)
                else:
                    old = nest.load(at, self.lanes)
                self.sums.put(k, b.fadd(old, self.sums.value(k)))
        for k, at, last in places():
            if last:
                nest.store_some(self.sums.value(k), at, panel.mask)
            else:
                nest.store(self.sums.value(k), at, 0, self.lanes)


@contextmanager
def _along(
    nest: Nest, start: Any, stop: Any, step: int, begin: Sequence[Any], moves: Any
) -> Iterator[list[Any]]:
    """A loop with pointers that move by so many elements each time."""
    b = nest.b
    at = [nest.variable(p.type) for p in begin]
    for variable, pointer in zip(at, begin):
        b.store(pointer, variable)
    with nest.loop(start, stop, step):
        pointers = [b.load(variable) for variable in at]
        yield pointers
        for variable, pointer, move in zip(at, pointers, moves):
            b.store(nest.at(pointer, move), variable)


def _turned(nest: Nest, square: list[Any]) -> list[Any]:
    """The transpose of a square of vectors: halves change places, then quarters."""
    ir, b, n = nest.ir, nest.b, len(square)
    kind = ir.VectorType(ir.IntType(32), n)
    vectors = list(square)
    step = n // 2
    while step:
        low = [i + n - step if i & step else i for i in range(n)]
        high = [i + n if i & step else i + step for i in range(n)]
        for i in range(n):
            if not i & step:
                pair = vectors[i], vectors[i + step]
                vectors[i] = b.shuffle_vector(*pair, ir.Constant(kind, low))
                vectors[i + step] = b.shuffle_vector(*pair, ir.Constant(kind, high))
        step //= 2
    return vectors
