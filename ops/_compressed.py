"""The passes that compute a sparse matrix, and where its entries stand in them.

A forward pass gives J s for a seed s, a reverse pass J^T s.  The seed of a colour is
one at the columns (rows) of that colour, so that each entry of theirs stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.batching import vectorize
from ..graphlib.dtypes import DType
from ..graphlib.errors import InvalidArgumentError
from ..graphlib.forward import jvp
from ..graphlib.gradients import as_dense, gradients
from ..graphlib.tensor import Tensor
from ._build import constant
from ._jacobian import seed_of
from ._known import dims_of, size_of
from ._pattern import Pattern
from .coloring import (
    TwoWay,
    check_columns,
    column_coloring,
    passes,
    two_way_coloring,
    widest,
)
from .core import add_n, cast
from .creation import zeros
from .gather import gather
from .joining import concat, stack
from .views import reshape

__all__ = [
    "compressed_pass",
    "count",
    "entries",
    "places",
    "taken",
    "way_of",
]


def way_of(p: Pattern, mode: str = "auto", coloring: Any = None) -> TwoWay:
    """The passes for a pattern: the fewest that ``mode`` allows.

    Raises:
        InvalidArgumentError: an unknown mode, or a colouring that is none.
    """
    if mode not in ("auto", "forward", "reverse", "both"):
        raise InvalidArgumentError(
            f"mode must be 'auto', 'forward', 'reverse', 'both' or 'split', not "
            f"{mode!r}"
        )
    if coloring is not None and mode not in ("forward", "reverse"):
        raise InvalidArgumentError(
            "a colouring is one of columns or of rows: give mode='forward' or "
            "mode='reverse' with it"
        )
    flipped = p.transposed()
    # The most entries of a row (column) are the fewest colours of columns (rows).
    least = {True: widest(p), False: widest(flipped)}
    best: TwoWay | None = None
    for forward in sorted((True, False), key=lambda f: least[f]):
        if mode not in ("auto", "forward" if forward else "reverse"):
            continue
        if best is not None and least[forward] >= passes(best) + forward:
            continue  # fewer are wanted in reverse, as many will do forward
        matrix, what = (p, "column") if forward else (flipped, "row")
        if coloring is None:
            colors = column_coloring(matrix)
        else:
            colors = check_columns(matrix, coloring, what)
        way = _one_way(p, colors, forward)
        if best is None or passes(way) < passes(best) + forward:
            best = way
    if mode in ("auto", "both"):
        two = two_way_coloring(p, None if best is None else passes(best))
        best = best if two is None else two
    assert best is not None
    return best


def _one_way(p: Pattern, colors: Any, forward: bool) -> TwoWay:
    """All entries by passes of one kind; empty columns (rows) need none."""
    m, n = p.shape
    seen = np.zeros(n if forward else m, np.bool_)
    seen[p.indices if forward else p.rows()] = True
    colors = np.where(seen, colors, -1)
    if forward:
        return TwoWay(np.full(m, -1), colors, np.zeros(p.size, np.bool_))
    return TwoWay(colors, np.full(n, -1), np.ones(p.size, np.bool_))


def count(colors: Any) -> int:
    """How many colours there are; -1 is none."""
    return int(colors.max(initial=-1)) + 1


def entries(
    ys: Sequence[Tensor], xs: Sequence[Tensor], p: Pattern, way: TwoWay, dtype: DType
) -> tuple[list[Tensor], Any]:
    """The passes of ``way``, and where in them the entries of dy/dx are.

    Returns:
        Vectors, and for each entry of the pattern ``p`` its place in their
        concatenation.
    """
    parts: list[Tensor] = []
    where = np.zeros(p.size, np.int64)
    start = 0
    rows, cols = p.rows(), p.indices
    for forward, colors, mine in (
        (True, way.columns, ~way.by_row),
        (False, way.rows, way.by_row),
    ):
        if not count(colors):
            continue
        parts += compressed_pass(ys, xs, colors, forward, dtype)
        line, at, results = (cols, rows, ys) if forward else (rows, cols, xs)
        sizes = [size_of(t) for t in results]
        found = places(colors, colors[line[mine]], at[mine], sizes)
        where[mine] = start + found
        start += count(colors) * sum(sizes)
    return parts, where


def places(colors: Any, color: Any, index: Any, sizes: Sequence[int]) -> Any:
    """Where element ``index`` of the results under ``color`` is in all passes' results.

    Those are one vector for each result, colour after colour.
    """
    ends = np.cumsum(sizes)
    which = np.searchsorted(ends, index, "right")
    size = np.asarray(sizes, np.int64)
    first = (ends - size)[which]
    return count(colors) * first + color * size[which] + (index - first)


def compressed_pass(
    ys: Sequence[Tensor], xs: Sequence[Tensor], colors: Any, forward: bool, dtype: DType
) -> list[Tensor]:
    """J s (forward) or J^T s for the seed s of each colour: ones where it is.

    Returns:
        For each y (forward) or x a vector: its elements for the first colour, then
        those for the second, and so on.

    All colours go in one batched pass.
    """
    sources, results = (xs, ys) if forward else (ys, xs)
    number = count(colors)
    ends = np.cumsum([size_of(t) for t in sources])
    marks = np.split(colors == np.arange(number)[:, None], ends[:-1], axis=1)
    seeds: list[Tensor | None] = []
    for m, t in zip(marks, sources):
        dims = dims_of(t) if number == 1 else (number, *dims_of(t))
        # None are ones, of which no array is made.
        plain = number == 1 and m.size and m.all()
        mark = m.reshape(dims).astype(t.dtype.dtype)
        seeds.append(None if plain else constant(mark))
    one = [seed_of(t) for t in sources] if number > 1 else seeds
    derived = _push(ys, xs, one) if forward else _pull(ys, xs, one)
    found = [d for d in derived if d is not None]
    if number > 1:
        found = vectorize(found, dict(zip(one, seeds)), "colors")  # type: ignore[arg-type]
    rows = iter(found)
    return [
        zeros([number * size_of(t)], dtype)
        if d is None
        else cast(reshape(next(rows), [-1]), dtype)
        for d, t in zip(derived, results)
    ]


def _push(
    ys: Sequence[Tensor], xs: Sequence[Tensor], seeds: Sequence[Tensor | None]
) -> list[Tensor | None]:
    together: dict[Tensor, list[Any]] = {}
    for x, s in zip(xs, seeds):
        together.setdefault(x, []).append(s)
    tangents = [s[0] if len(s) == 1 else add_n(s) for s in together.values()]
    return jvp(list(ys), list(together), tangents)


def _pull(
    ys: Sequence[Tensor], xs: Sequence[Tensor], seeds: Sequence[Tensor | None]
) -> list[Tensor | None]:
    pulled = gradients(list(ys), list(xs), list(seeds), stop_gradients=list(xs))
    return [None if g is None else as_dense(g) for g in pulled]


#: Elements from which copies of rows are looked for, the most columns of a block of
#: rows, the least rows, and the most pieces in all.
_MANY, _WIDEST, _SHORTEST, _PIECES = 4096, 64, 64, 128


def taken(parts: Sequence[Tensor], where: Any, dtype: DType, name: str) -> Tensor:
    """The elements at ``where`` of vectors, one after the other."""
    if not parts or not len(where):
        return zeros([0], dtype)
    if where.ndim == 1 and len(where) >= _MANY:
        made = _side_by_side(parts, where, name)
        if made is not None:
            return made
    flat = parts[0] if len(parts) == 1 else concat(parts, 0)
    return gather(flat, where, name=name)


class _Rows(NamedTuple):
    """Positions that move on by one from row to row: ``first + i`` in row i."""

    first: Any  #: of each column
    length: int


def _side_by_side(parts: Sequence[Tensor], where: Any, name: str) -> Tensor | None:
    """The same where rows of a matrix are alike: its columns, which are stretches of
    the vectors, are put side by side, so that memory is read and written in order.
    """
    blocks = _alike(where)
    if blocks is None:
        return None
    starts = np.cumsum([0, *(size_of(t) for t in parts)])
    made = []
    for rows in blocks:
        columns = []
        for first in rows.first.tolist():
            k = int(np.searchsorted(starts, first, "right")) - 1
            begin = first - int(starts[k])
            if begin + rows.length > size_of(parts[k]):
                return None  # a column that goes on in another vector
            whole = rows.length == size_of(parts[k])
            columns.append(parts[k] if whole else parts[k][begin : begin + rows.length])
        if len(columns) == 1:
            made += columns
        else:
            made.append(reshape(stack(columns, 1), [-1]))
    return made[0] if len(made) == 1 else concat(made, 0, name=name)


def _alike(where: Any) -> list[_Rows] | None:
    """Blocks of rows that ``where`` is made of; None where they are many or short."""
    found: list[_Rows] = []
    at = pieces = 0
    while at < len(where):
        ahead = where[at + 1 : at + 1 + _WIDEST]
        next_row = np.flatnonzero(ahead == where[at] + 1)
        if not len(next_row):
            return None
        width = int(next_row[0]) + 1
        steps = where[at + width :] - where[at:-width] == 1
        same = len(steps) if steps.all() else int(np.argmin(steps))
        count = same // width + 1
        pieces += width
        if count < _SHORTEST or pieces > _PIECES:
            return None
        found.append(_Rows(where[at : at + width], count))
        at += width * count
    return found
