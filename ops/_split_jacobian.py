"""Sparse Jacobians of programs that first copy elements of x, split at the copies.

Where y is computed from tensors g that are copies of elements of x (gathered with
known indices, sliced, transposed, joined), g = S x with a matrix S of zeros and ones
that has at most one entry in a row, and

    dy/dx = (dy/dg) S.

An element of x that many elements of y see, such as a camera of many observations,
has a full column in dy/dx and forbids to share passes; each of its copies has a
column of its own in dy/dg.  Multiplication by S costs no arithmetic: an entry of
dy/dg is the entry of dy/dx in the column that its copy came from, and only where a
row has several copies of one element their entries are summed.

Likewise for rows: where y = A h is joined from tensors h that were computed, or sums
their elements by known indices, dh/dg is computed for one h after the other where
that is less work, as where the errors of all observations along two axes are stacked.

*Tables* t(x), computed once and copied often, such as the rotations of cameras, count
among the inputs: then dy/dx = dy/dx with t held + (dy/dt) (dt/dx), a product of two
sparse matrices whose terms are known when the graph is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.dtypes import DType
from ..graphlib.errors import InvalidArgumentError
from ..graphlib.tensor import Tensor
from ._compressed import count, entries, taken, way_of
from ._known import Known, size_of
from ._pattern import Pattern, from_pairs
from ._selections import Results, frontier, results_of, tables, work
from .coloring import TwoWay, passes
from .gather import gather
from .reduction import reduce_sum
from .segments import segment_sum
from .sparsity import jacobian_pattern

__all__ = ["Assembly", "jacobian_of"]

#: What a pass costs, in elements for each element that the function computes.
_FORWARD, _REVERSE = 1.0, 1.0

#: What a term of a product costs: two factors to find, a product, a sum.
_PRODUCT = 4.0

#: From how many passes on a split is looked for, and how many times less than these
#: it must promise to cost: its passes are estimated, its entries placed one by one.
_MANY, _PAYS = 5, 2.0

#: How many times as many nodes several passes may take as one.
_MORE = 4


class Block(NamedTuple):
    """A part of dh/dg by passes of its own.

    Attributes:
        ys, xs: tensors of h and of g.
        pattern: of their Jacobian; without what is not wanted.
        rows, elements: row ``rows[i]`` of dy/dx is row ``elements[i]`` of this one.
        sources: for each column the column of dy/dx.
    """

    ys: list[Tensor]
    xs: list[Tensor]
    pattern: Pattern
    rows: Any
    elements: Any
    sources: Any

    def terms(self) -> tuple[Any, Any, Any]:
        """Rows and columns in dy/dx of all that is added up, and which entry it is."""
        found = _expanded(self.elements, self.pattern)
        return self.rows[found.term], self.sources[found.cols], found.entry

    def cost(self, way: TwoWay) -> float:
        """The elements that the passes of ``way`` compute, about."""
        passes = _FORWARD * count(way.columns) + _REVERSE * count(way.rows)
        return passes * work(self.ys, self.xs)[0]

    def least_cost(self) -> float:
        """Less than the passes of one kind can take."""
        rows = np.diff(self.pattern.indptr).max(initial=0)
        columns = np.bincount(self.pattern.indices).max(initial=0)
        passes = min(_FORWARD * float(rows), _REVERSE * float(columns))
        return passes * work(self.ys, self.xs)[0]


class Terms(NamedTuple):
    """What is added up to a matrix: where, and the places of its values in a vector."""

    rows: Any
    cols: Any
    where: Any


class Assembly(NamedTuple):
    """How dy/dx is put together.

    Attributes:
        blocks: the parts of dh/dg, with their passes; columns from ``shape[1]`` on
            are those of the tables.
        shape: that of dy/dx.
        split: whether not all is one block.
        inner: the Jacobian of the tables by x; None where there are no tables.
    """

    blocks: list[tuple[Block, TwoWay]]
    shape: tuple[int, int]
    split: bool
    inner: Assembly | None = None

    @property
    def forward(self) -> int:
        """How many forward passes."""
        own = sum(count(way.columns) for _, way in self.blocks)
        return own + (self.inner.forward if self.inner else 0)

    @property
    def reverse(self) -> int:
        """How many reverse passes."""
        own = sum(count(way.rows) for _, way in self.blocks)
        return own + (self.inner.reverse if self.inner else 0)

    def cost(self) -> float:
        """The elements that all of it computes and moves, about."""
        total = 0.0
        for b, way in self.blocks:
            cols = b.terms()[1]
            total += b.cost(way) + len(cols)
            if self.inner:
                lengths = np.diff(self.inner.pattern().indptr)
                of_tables = cols[cols >= self.shape[1]] - self.shape[1]
                total += _PRODUCT * float(lengths[of_tables].sum())
        return total + (self.inner.cost() if self.inner else 0.0)

    def pattern(self) -> Pattern:
        """The pattern of dy/dx."""
        terms = [b.terms()[:2] for b, _ in self.blocks]
        rows, cols = (np.concatenate(parts) for parts in zip(*terms))
        if self.inner:
            n = self.shape[1]
            direct = cols < n
            more = _expanded(cols[~direct] - n, self.inner.pattern())
            rows = np.concatenate([rows[direct], rows[~direct][more.term]])
            cols = np.concatenate([cols[direct], more.cols])
        return from_pairs(rows, cols, self.shape)

    def assembled(self, dtype: DType) -> tuple[Pattern, Tensor]:
        """The pattern of dy/dx, and the values of its entries."""
        parts: list[Tensor] = []
        terms = []
        start = 0
        for b, way in self.blocks:
            made, at = entries(b.ys, b.xs, b.pattern, way, dtype)
            rows, cols, entry = b.terms()
            terms.append(Terms(rows, cols, start + at[entry]))
            parts += made
            start += sum(size_of(t) for t in made)
        found = Terms(*(np.concatenate(t) for t in zip(*terms)))
        if self.inner:
            found, parts = self._times_inner(found, parts, dtype)
        n = self.shape[1]
        key = found.rows * n + found.cols
        order = np.argsort(key, kind="stable")
        key = key[order]
        rows, cols = found.rows[order], found.cols[order]
        pattern = from_pairs(rows, cols, self.shape)
        values = taken(parts, found.where[order], dtype, "values")
        if pattern.size < len(key):
            values = segment_sum(values, _numbered(key), name="values")
        return pattern, values

    def _times_inner(
        self, terms: Terms, parts: list[Tensor], dtype: DType
    ) -> tuple[Terms, list[Tensor]]:
        """The terms in columns of tables times the tables' Jacobian."""
        assert self.inner is not None
        n = self.shape[1]
        pattern, slopes = self.inner.assembled(dtype)
        direct = terms.cols < n
        rows, cols, where = (t[~direct] for t in terms)
        terms = Terms(*(t[direct] for t in terms))
        more = _expanded(cols - n, pattern)
        if not len(more.term):
            return terms, parts
        key = rows[more.term] * n + more.cols
        order = np.argsort(key, kind="stable")
        key = key[order]
        entry = _numbered(key)
        factors, left = _packed(parts, where)
        left, right = left[more.term][order], more.entry[order]
        first = np.flatnonzero(np.diff(entry, prepend=-1))
        height = len(first)
        lengths = np.bincount(entry)
        if (lengths == lengths[0]).all():
            # One below the other: the sum adds long rows.
            left, right = (a.reshape(height, -1).T for a in (left, right))
        products = taken(factors, left, dtype, "outer") * gather(slopes, right)
        if left.ndim == 2:
            sums = reduce_sum(products, 0)
        else:
            sums = segment_sum(products, entry)
        parts, direct_where = _packed(parts, terms.where)
        start = sum(size_of(t) for t in parts)
        new = (*np.divmod(key[first], n), start + np.arange(height))
        old = (terms.rows, terms.cols, direct_where)
        joined = Terms(*(np.concatenate(pair) for pair in zip(old, new)))
        return joined, [*parts, sums]


class Expanded(NamedTuple):
    """Entries of chosen rows of a matrix: of which of these, the column, the entry."""

    term: Any
    cols: Any
    entry: Any


def _expanded(rows: Any, p: Pattern) -> Expanded:
    """All entries of the rows ``rows`` of a pattern, one row after the other."""
    picked = p.take(rows)
    numbered = Pattern(p.shape, p.indptr, np.arange(p.size)).take(rows)
    return Expanded(picked.rows(), picked.indices, numbered.indices)


def _numbered(keys: Any) -> Any:
    """Which of the distinct keys each one is; the keys are sorted."""
    return np.cumsum(np.concatenate(([0], keys[1:] != keys[:-1])))


def _packed(parts: Sequence[Tensor], where: Any) -> tuple[list[Tensor], Any]:
    """The vectors that ``where`` points into, and where it points in these."""
    sizes = np.array([size_of(t) for t in parts])
    which = np.searchsorted(np.cumsum(sizes), where, "right")
    used = np.bincount(which, minlength=len(parts)) > 0
    gone = np.cumsum(np.where(used, 0, sizes))
    return [t for t, there in zip(parts, used) if there], where - gone[which]


def whole_jacobian(
    ys: Sequence[Tensor], xs: Sequence[Tensor], pattern: Pattern, way: TwoWay
) -> Assembly:
    """dy/dx in one block."""
    rows, columns = (np.arange(k) for k in pattern.shape)
    block = Block(list(ys), list(xs), pattern, rows, rows, columns)
    return Assembly([(block, way)], pattern.shape, False)


def jacobian_of(
    ys: Sequence[Tensor],
    xs: Sequence[Tensor],
    mode: str = "auto",
    given: Pattern | None = None,
    coloring: Any = None,
) -> Assembly:
    """The passes that compute dy/dx: see ``sparse_jacobian``.

    Raises:
        InvalidArgumentError: an unknown mode, or a colouring that is none.
    """
    if mode == "split":
        if given is not None or coloring is not None:
            raise InvalidArgumentError(
                "mode='split' takes no pattern and no colouring: they are those of "
                "the whole Jacobian"
            )
        split = split_jacobian(ys, xs)
        if split is not None:
            return split
        mode = "auto"
    pattern = jacobian_pattern(ys, xs) if given is None else given
    way = way_of(pattern, mode, coloring)
    whole = whole_jacobian(ys, xs, pattern, way)
    if mode != "auto" or given is not None or passes(way) < _MANY:
        return whole
    return split_jacobian(ys, xs, whole.cost() / _PAYS) or whole


def split_jacobian(
    ys: Sequence[Tensor], xs: Sequence[Tensor], limit: float = np.inf
) -> Assembly | None:
    """dy/dx split at what copies elements; None where nothing does.

    Args:
        limit: a cost from which on the split is not wanted: None is returned, without
            the time for colouring where that is plain before.
    """
    known = Known(xs)
    shape = sum(size_of(y) for y in ys), sum(size_of(x) for x in xs)
    made = tables(ys, xs, known)
    best = None
    for more in (made, []) if made else ([],):
        inner = jacobian_of(more, xs) if more else None
        for results, cut in _cuts(ys, [*xs, *more], known):
            blocks = _blocks(results, cut, known, limit)
            if blocks is not None:
                split = Assembly(blocks, shape, True, inner)
                cost = split.cost()
                if cost <= limit:
                    best, limit = split, cost
    return best


def _cuts(
    ys: Sequence[Tensor], xs: Sequence[Tensor], known: Known
) -> Iterator[tuple[list[Results], Mapping[Tensor, Any]]]:
    """What ys are copies of, or sums by indices, and the copies of xs below them."""
    cut = frontier(ys, xs, known)
    copied = results_of(ys, cut, known, sums=False)
    if not copied or set(cut) == set(xs):
        return
    yield copied, cut
    summed = results_of(ys, cut, known, sums=True)
    if summed and {r.tensor for r in summed} != {r.tensor for r in copied}:
        yield summed, cut


def _blocks(
    results: Sequence[Results], cut: Mapping[Tensor, Any], known: Known, limit: float
) -> list[tuple[Block, TwoWay]] | None:
    """Results one after the other, or all together where that is less work.

    None where it is plain without colouring that the passes cost more than ``limit``.
    """
    tensors = [r.tensor for r in results]
    found = jacobian_pattern(tensors, list(cut), known)
    ends = np.cumsum([size_of(t) for t in tensors])
    apart = [
        _block([r], cut, found.part(end - size_of(r.tensor), end))
        for r, end in zip(results, ends)
    ]
    if sum(b.least_cost() for b in apart) > limit:
        return None
    blocks = [(b, way_of(b.pattern)) for b in apart]
    if len(results) == 1:
        return blocks
    joint = _block(results, cut, found)
    cost = sum(b.cost(way) for b, way in blocks)
    nodes = sum(work(b.ys, b.xs)[1] for b in apart)
    too_many = nodes > _MORE * work(joint.ys, joint.xs)[1]
    if too_many or joint.least_cost() < cost:
        way = way_of(joint.pattern)
        if too_many or joint.cost(way) <= cost:
            return [(joint, way)]
    return blocks


def _block(
    results: Sequence[Results], cut: Mapping[Tensor, Any], found: Pattern
) -> Block:
    """The Jacobian of some results by the tensors of a frontier that they depend on.

    Its pattern is ``found``, by all of the frontier.
    """
    ys, xs = [r.tensor for r in results], list(cut)
    starts = np.cumsum([0, *(size_of(y) for y in ys)])
    elements = np.concatenate([r.elements + s for r, s in zip(results, starts)])
    wanted = np.zeros(found.shape[0], np.bool_)
    wanted[elements] = True
    sources = np.concatenate(list(cut.values()))
    rows, cols = found.rows(), found.indices
    keep = wanted[rows] & (sources[cols] >= 0)
    rows, cols = rows[keep], cols[keep]
    ends = np.cumsum([size_of(x) for x in xs])
    met = np.bincount(np.searchsorted(ends, cols, "right"), minlength=len(xs)) > 0
    left = np.repeat(met, [size_of(x) for x in xs])
    pattern = from_pairs(
        rows, (np.cumsum(left) - 1)[cols], (found.shape[0], int(left.sum()))
    )
    return Block(
        ys,
        [x for x, there in zip(xs, met) if there],
        pattern,
        np.concatenate([r.rows for r in results]),
        elements,
        sources[left],
    )
