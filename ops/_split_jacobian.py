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

Likewise for rows: where y is joined from tensors h that were computed, dh/dg is
computed for one h after the other where that is less work, as where the errors of
all observations along two axes are stacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.dtypes import DType
from ..graphlib.tensor import Tensor
from ._compressed import count, entries, taken, way_of
from ._known import Known, size_of
from ._pattern import Pattern, from_pairs
from ._selections import Results, frontier, results_of, work
from .coloring import TwoWay
from .segments import segment_sum
from .sparsity import jacobian_pattern

__all__ = ["Assembly", "split_jacobian", "whole_jacobian"]

#: What a pass costs, in elements for each element that the function computes.
_FORWARD, _REVERSE = 1.0, 1.0

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
        p = self.pattern
        picked = p.take(self.elements)
        numbered = Pattern(p.shape, p.indptr, np.arange(p.size)).take(self.elements)
        rows = np.repeat(self.rows, np.diff(picked.indptr))
        return rows, self.sources[picked.indices], numbered.indices

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


class Assembly(NamedTuple):
    """How dy/dx is put together.

    Attributes:
        blocks: the parts of dh/dg, with their passes.
        shape: that of dy/dx.
        split: whether not all is one block.
    """

    blocks: list[tuple[Block, TwoWay]]
    shape: tuple[int, int]
    split: bool

    @property
    def forward(self) -> int:
        """How many forward passes."""
        return sum(count(way.columns) for _, way in self.blocks)

    @property
    def reverse(self) -> int:
        """How many reverse passes."""
        return sum(count(way.rows) for _, way in self.blocks)

    def cost(self) -> float:
        """The elements that all of it computes and moves, about."""
        return sum(b.cost(way) + len(b.terms()[0]) for b, way in self.blocks)

    def assembled(self, dtype: DType) -> tuple[Pattern, Tensor]:
        """The pattern of dy/dx, and the values of its entries."""
        parts: list[Tensor] = []
        keys, where = [], []
        start = 0
        n = self.shape[1]
        for b, way in self.blocks:
            made, at = entries(b.ys, b.xs, b.pattern, way, dtype)
            rows, cols, entry = b.terms()
            keys.append(rows * n + cols)
            where.append(start + at[entry])
            parts += made
            start += sum(size_of(t) for t in made)
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        key = key[order]
        pattern = from_pairs(*np.divmod(key, max(n, 1)), self.shape)
        values = taken(parts, np.concatenate(where)[order], dtype, "values")
        if pattern.size < len(key):
            entry = np.cumsum(key[1:] != key[:-1])
            values = segment_sum(values, np.concatenate(([0], entry)), name="values")
        return pattern, values


def whole_jacobian(
    ys: Sequence[Tensor], xs: Sequence[Tensor], pattern: Pattern, way: TwoWay
) -> Assembly:
    """dy/dx in one block."""
    rows, columns = (np.arange(k) for k in pattern.shape)
    block = Block(list(ys), list(xs), pattern, rows, rows, columns)
    return Assembly([(block, way)], pattern.shape, False)


def split_jacobian(
    ys: Sequence[Tensor], xs: Sequence[Tensor], limit: float = np.inf
) -> Assembly | None:
    """dy/dx split at what copies elements; None where nothing does.

    Args:
        limit: a cost from which on the split is not wanted: None is returned, without
            the time for colouring where that is plain before.
    """
    known = Known(xs)
    cut = frontier(ys, xs, known)
    copied = results_of(ys, cut, known, sums=False)
    if not copied or set(cut) == set(xs):
        return None
    tries = [copied]
    summed = results_of(ys, cut, known, sums=True)
    if summed and {r.tensor for r in summed} != {r.tensor for r in copied}:
        tries.append(summed)
    shape = sum(size_of(y) for y in ys), sum(size_of(x) for x in xs)
    best = None
    for results in tries:
        blocks = _blocks(results, cut, limit)
        if blocks is not None:
            split = Assembly(blocks, shape, True)
            if split.cost() <= limit:
                best, limit = split, split.cost()
    return best


def _blocks(
    results: Sequence[Results], cut: Mapping[Tensor, Any], limit: float
) -> list[tuple[Block, TwoWay]] | None:
    """Results one after the other, or all together where that is less work.

    None where it is plain without colouring that the passes cost more than ``limit``.
    """
    apart = [_block([r], cut) for r in results]
    if sum(b.least_cost() for b in apart) > limit:
        return None
    blocks = [(b, way_of(b.pattern)) for b in apart]
    if len(results) == 1:
        return blocks
    joint = _block(results, cut)
    cost = sum(b.cost(way) for b, way in blocks)
    nodes = sum(work(b.ys, b.xs)[1] for b in apart)
    too_many = nodes > _MORE * work(joint.ys, joint.xs)[1]
    if too_many or joint.least_cost() < cost:
        way = way_of(joint.pattern)
        if too_many or joint.cost(way) <= cost:
            return [(joint, way)]
    return blocks


def _block(results: Sequence[Results], cut: Mapping[Tensor, Any]) -> Block:
    """The Jacobian of some results by the tensors of a frontier that they depend on."""
    ys, xs = [r.tensor for r in results], list(cut)
    starts = np.cumsum([0, *(size_of(y) for y in ys)])
    elements = np.concatenate([r.elements + s for r, s in zip(results, starts)])
    found = jacobian_pattern(ys, xs)
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
