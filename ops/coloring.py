"""Colourings: which columns (rows) of a sparse matrix share one derivative pass.

Columns without a common row can be summed and told apart again, so a Jacobian
needs as many forward passes as its columns need colours.  The greedy rules here
keep, for every row, the set of colours in use as the bits of one integer, so a
colouring costs a few operations per entry and no intersection graph is made.

Reference:
    Gebremedhin, Manne & Pothen, What color is your Jacobian? Graph coloring for
    computing derivatives, SIAM Review 47 (2005).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.errors import InvalidArgumentError, ShapeError
from ._pattern import Pattern, from_pairs

__all__ = [
    "TwoWay",
    "as_pattern",
    "check_columns",
    "check_star",
    "column_coloring",
    "row_coloring",
    "star_coloring",
    "star_places",
    "two_way_coloring",
    "widest",
]


def as_pattern(sparsity: Any) -> Pattern:
    """A pattern from a SciPy sparse matrix or a dense array (nonzero: an entry).

    Raises:
        ShapeError: it is no matrix.
    """
    if isinstance(sparsity, Pattern):
        return sparsity
    if hasattr(sparsity, "tocoo"):
        entries = sparsity.tocoo()
        keep = entries.data != 0
        rows, cols = entries.row[keep], entries.col[keep]
        shape = entries.shape
    else:
        array = np.asarray(sparsity)
        if array.ndim != 2:
            raise ShapeError(f"a sparsity pattern is a matrix, not {array.shape}")
        rows, cols = np.nonzero(array)
        shape = array.shape
    return from_pairs(
        rows.astype(np.int64), cols.astype(np.int64), (int(shape[0]), int(shape[1]))
    )


def _lists(p: Pattern) -> list[list[int]]:
    """The columns of every row."""
    flat = p.indices.tolist()
    ends = p.indptr.tolist()
    return [flat[a:b] for a, b in pairwise(ends)]


def _lowest_free(used: int) -> int:
    """The lowest bit that is not set."""
    return (~used & (used + 1)).bit_length() - 1


# -- columns and rows ------------------------------------------------------------------


def _greedy(columns: Sequence[Sequence[int]], m: int, order: Iterable[int]) -> Any:
    """The first colour that no column with a common row has, in this order."""
    in_use = [0] * m
    colors = [0] * len(columns)
    for j in order:
        forbidden = 0
        for i in columns[j]:
            forbidden |= in_use[i]
        bit = ~forbidden & (forbidden + 1)
        for i in columns[j]:
            in_use[i] |= bit
        colors[j] = bit.bit_length() - 1
    return np.array(colors, np.int64)


def _orders(p: Pattern, columns: Pattern) -> Iterable[Any]:
    """Orders in which greedy colourings tend to need few colours."""
    n = p.shape[1]
    yield np.arange(n)
    # Largest first, by the entries of the rows that a column meets.
    lengths = np.diff(p.indptr)
    reach = np.bincount(columns.rows(), lengths[columns.indices], n)
    yield np.argsort(-reach, kind="stable")
    # Widest row first: its columns need different colours in any case.
    widest = np.zeros(n, np.int64)
    np.maximum.at(widest, columns.rows(), lengths[columns.indices])
    yield np.lexsort((-reach, -widest))
    yield np.arange(n)[::-1]


def column_coloring(sparsity: Any) -> Any:
    """Colours of columns, such that no row has two entries of one colour.

    Args:
        sparsity: an (m, n) pattern: a SciPy sparse matrix, or a dense array.

    Returns:
        (n,) int64, 0, 1, ...: columns of one colour are computed in one forward
        pass.  At least as many colours as the widest row has entries are needed;
        columns without entries have colour 0.

    Example:
        >>> from dagrad.ops.coloring import column_coloring
        >>> column_coloring([[1, 1, 0], [0, 1, 1]]).tolist()
        [0, 1, 0]
    """
    p = as_pattern(sparsity)
    least = widest(p)
    if least <= 1:
        return np.zeros(p.shape[1], np.int64)
    columns = p.transposed()
    lists = _lists(columns)
    best = None
    tries = _tries(p)
    for order in _orders(p, columns):
        colors = _greedy(lists, p.shape[0], order.tolist())
        tries -= 1
        for _ in range(min(tries, _RECOLORINGS)):
            if _count(colors) <= least:
                return colors
            # The classes one after the other, the last first: never more colours.
            again = _greedy(lists, p.shape[0], np.argsort(-colors).tolist())
            tries -= 1
            fewer, colors = _count(again) < _count(colors), again
            if not fewer:
                break
        if best is None or _count(colors) < _count(best):
            best = colors
        if tries <= 0:
            break
    return best


#: How often one colouring is tried to be improved (Culberson's iterated greedy).
_RECOLORINGS = 8


def _tries(p: Pattern) -> int:
    """How many greedy colourings of a pattern are worth their time (0.2 us a bit)."""
    return max(2, (1 << 21) // max(p.size, 1))


def row_coloring(sparsity: Any) -> Any:
    """Colours of rows, such that no column has two entries of one colour.

    The column colouring of the transpose: rows of one colour are computed in one
    reverse pass.
    """
    return column_coloring(as_pattern(sparsity).transposed())


def _count(colors: Any) -> int:
    return int(colors.max(initial=-1)) + 1


def check_columns(p: Pattern, colors: Any, what: str = "column") -> Any:
    """``colors`` as an array, checked: no row has two entries of one colour.

    Raises:
        InvalidArgumentError: one has, or there is not one colour per column.
    """
    colors = _as_colors(colors, p.shape[1], what)
    keys = p.rows() * (int(colors.max(initial=0)) + 1) + colors[p.indices]
    if len(np.unique(keys)) < p.size:
        raise InvalidArgumentError(
            f"this is no {what} colouring of the pattern: two entries that meet have "
            "one colour"
        )
    return colors


def _as_colors(colors: Any, n: int, what: str) -> Any:
    colors = np.asarray(colors)
    if colors.shape != (n,) or colors.dtype.kind not in "iu" or (colors < 0).any():
        raise InvalidArgumentError(
            f"a {what} colouring of this pattern is {n} integers, 0 or more, not an "
            f"array of shape {colors.shape} and dtype {colors.dtype}"
        )
    return colors.astype(np.int64)


# -- some rows in reverse, the others forward ------------------------------------------


class TwoWay(NamedTuple):
    """A Jacobian in two parts: some rows by reverse passes, the rest forward.

    Attributes:
        rows: (m,) the colour of each row that is computed in reverse, else -1.
        columns: (n,) the colour of each column that is computed forward, else -1.
        by_row: for each entry (in row order) whether a reverse pass gives it.
    """

    rows: Any
    columns: Any
    by_row: Any


def two_way_coloring(sparsity: Any, below: int | None = None) -> TwoWay | None:
    """A few dense rows (or columns) apart from the rest, where that needs less.

    An arrow, with one dense row and one dense column, needs n colours in either
    mode alone, but 3 in both together.  Tried are cuts at a number of entries:
    denser rows go in reverse and the others forward; or denser columns forward
    and the others in reverse.

    Args:
        sparsity: an (m, n) pattern, as for :func:`column_coloring`.
        below: how many passes are too many (default: any number will do).

    Returns:
        The cheapest :class:`TwoWay`; None where no cut needs fewer than ``below``.
    """
    if below is not None and below <= 2:  # one in each direction is the least
        return None
    p = as_pattern(sparsity)
    best: TwoWay | None = None
    limit = sum(p.shape) + 1 if below is None else below
    for flipped, q in ((False, p), (True, p.transposed())):
        lengths = np.diff(q.indptr)
        # The last cut leaves no dense row: one direction alone.
        cuts = np.unique(lengths)[-_MOST_CUTS:]
        for cut in cuts if below is None else cuts[:-1]:
            dense = lengths > cut
            by_dense = np.repeat(dense, lengths)
            few, many = _part(q, by_dense), _part(q, ~by_dense)
            if widest(few.transposed()) + widest(many) >= limit:
                continue
            seen = np.bincount(many.indices, minlength=q.shape[1]) > 0
            alone = np.where(dense, row_coloring(few), -1)
            rest = np.where(seen, column_coloring(many), -1)
            if _count(alone) + _count(rest) >= limit:
                continue
            limit = _count(alone) + _count(rest)
            if flipped:
                # Entries in the order of p, not of its transpose.
                order = np.lexsort((q.rows(), q.indices))
                best = TwoWay(rest, alone, ~by_dense[order])
            else:
                best = TwoWay(alone, rest, by_dense)
    if best is None and below is None:  # no rows or no columns
        none = [np.full(k, -1) for k in p.shape]
        best = TwoWay(none[0], none[1], np.zeros(0, np.bool_))
    return best


def widest(p: Pattern) -> int:
    """The most entries in a row."""
    return int(np.diff(p.indptr).max(initial=0))


#: Dense rows are few, so only the greatest numbers of entries are tried.
_MOST_CUTS = 8


def _part(p: Pattern, keep: Any) -> Pattern:
    return from_pairs(p.rows()[keep], p.indices[keep], p.shape)


def passes(coloring: TwoWay) -> int:
    """How many passes, in both directions together."""
    return _count(coloring.rows) + _count(coloring.columns)


# -- symmetric matrices ----------------------------------------------------------------


def star_coloring(sparsity: Any) -> Any:
    """A star colouring of a symmetric pattern: for Hessians.

    Neighbours differ, and no path of four vertices has two colours only, so each
    entry (i, j) stands alone, either in row i under the colour of j, or in row j
    under the colour of i.

    Args:
        sparsity: an (n, n) symmetric pattern; the diagonal counts as present.

    Returns:
        (n,) int64.  Vertices of one colour share one Hessian-vector product: an
        arrow needs 2, where a column colouring needs n.

    Raises:
        InvalidArgumentError: the pattern is not symmetric.

    Reference:
        Gebremedhin, Tarafdar, Manne & Pothen, New acyclic and star coloring
        algorithms with application to computing Hessians, SIAM J. Sci. Comput.
        29 (2007).
    """
    p = as_pattern(sparsity)
    flipped = p.transposed()
    if p.shape[0] != p.shape[1] or not (
        np.array_equal(p.indices, flipped.indices)
        and np.array_equal(p.indptr, flipped.indptr)
    ):
        raise InvalidArgumentError(
            f"a star colouring needs a symmetric pattern; this one, of shape "
            f"{p.shape}, is not"
        )
    neighbors = [[j for j in row if j != i] for i, row in enumerate(_lists(p))]
    degrees = np.diff(p.indptr)
    best = None
    tries = _tries(p)
    for order in (
        np.argsort(-degrees, kind="stable"),
        np.arange(p.shape[0]),
        _smallest_last(neighbors),
    ):
        for eager in (False, True):
            if best is not None and (tries <= 0 or _count(best) <= 2):
                return best
            colors = _star_greedy(neighbors, order.tolist(), eager)
            tries -= 4  # it takes about four times as long as a column colouring
            if best is None or _count(colors) < _count(best):
                best = colors
    return best


def star_places(p: Pattern, colors: Any) -> tuple[Any, Any]:
    """Where entry (i, j) stands alone: under (colour of j, i) or (colour of i, j).

    Returns:
        A colour and a place for each entry.

    Raises:
        InvalidArgumentError: some entry stands alone nowhere.
    """
    rows, cols = p.rows(), p.indices
    count = _count(colors)
    met = np.bincount(rows * count + colors[cols], minlength=p.shape[0] * count)
    here = met[rows * count + colors[cols]] == 1
    there = met[cols * count + colors[rows]] == 1
    if not (here | there).all():
        raise InvalidArgumentError(
            "this is no star colouring of the pattern: some entry meets another one "
            "under either of its colours"
        )
    return np.where(here, colors[cols], colors[rows]), np.where(here, rows, cols)


def check_star(p: Pattern, colors: Any) -> Any:
    """``colors`` as an array, checked by :func:`star_places`."""
    colors = _as_colors(colors, p.shape[0], "star")
    star_places(p, colors)
    return colors


def _smallest_last(neighbors: Sequence[Sequence[int]]) -> Any:
    """Vertices such that each has few neighbours among those before it."""
    degrees = [len(near) for near in neighbors]
    buckets: list[set[int]] = [set() for _ in range(max(degrees, default=0) + 1)]
    for v, d in enumerate(degrees):
        buckets[d].add(v)
    gone = [False] * len(neighbors)
    order: list[int] = []
    low = 0
    while len(order) < len(neighbors):
        while not buckets[low]:
            low += 1
        v = buckets[low].pop()
        gone[v] = True
        order.append(v)
        for w in neighbors[v]:
            if not gone[w]:
                buckets[degrees[w]].discard(w)
                degrees[w] -= 1
                buckets[degrees[w]].add(w)
        low = max(0, low - 1)
    return np.array(order[::-1], np.int64)


def _star_greedy(
    neighbors: Sequence[Sequence[int]], order: Sequence[int], eager: bool
) -> Any:
    """Greedy star colouring in this order.

    Colour c is forbidden for v where it would close a path of four vertices in
    two colours, v being an inner vertex (two neighbours of v have one colour and
    one of them has another neighbour of colour c) or an end (a neighbour w has a
    neighbour x of colour c, which has a second neighbour of w's colour).

    Args:
        eager: also avoid colours at distance two over a vertex without a colour,
            which restricts less what that vertex can become.
    """
    n = len(neighbors)
    colors = [-1] * n
    used = [0] * n  # colours among the neighbours, as bits
    twice = [0] * n  # those that two or more neighbours have
    first: list[dict[int, int]] = [{} for _ in range(n)]  # the first with a colour
    # Colours of those neighbours that have a second neighbour of my own colour.
    hubs = [0] * n
    for v in order:
        forbidden = used[v]
        for w in neighbors[v]:
            c = colors[w]
            if c < 0:
                if eager:
                    forbidden |= used[w]
            else:
                forbidden |= hubs[w]
                if twice[v] >> c & 1:
                    forbidden |= used[w]
        c = colors[v] = _lowest_free(forbidden)
        bit = 1 << c
        for w in neighbors[v]:
            if not used[w] & bit:
                used[w] |= bit
                first[w][c] = v
                continue
            twice[w] |= bit
            if colors[w] >= 0:
                hubs[v] |= 1 << colors[w]
                hubs[first[w][c]] |= 1 << colors[w]
        if twice[v]:
            for w in neighbors[v]:
                if colors[w] >= 0 and twice[v] >> colors[w] & 1:
                    hubs[w] |= bit
    return np.array(colors, np.int64)
