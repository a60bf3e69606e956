"""Rows looked up in one table or in several."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.operators import TABLE
from ..graphlib.tensor import Tensor, as_tensor
from ._build import scope
from .gather import gather
from .logical import where_v2
from .rounding import maximum, minimum
from .views import expand_dims

__all__ = ["embedding_lookup"]


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: Any = True,
    max_norm: float | None = None,
) -> Tensor:
    """The rows of ``params`` that ``ids`` name: ids.shape + params.shape[1:].

    Args:
        params: a table (rows, ...), or a list of tables among which the rows are
            dealt out.
        ids: integers.
        partition_strategy: "mod": row i is row i // n of table i % n; "div": the
            tables hold consecutive rows, the first ones one more if the rows do
            not divide evenly.
        validate_indices: accepted for TF1 programs; ids are always checked.
        max_norm: rows whose norm is larger are scaled down to it.

    Raises:
        InvalidArgumentError: no table, another strategy; at run time, an id out
            of range.
        ShapeError: with "div", a table of which the number of rows is unknown.

    Gradient: rows, which stay sparse until something needs them dense.
    """
    tables = list(params) if isinstance(params, (list, tuple)) else [params]
    if not tables:
        raise InvalidArgumentError("embedding_lookup: needs at least one table")
    with scope(name, "embedding_lookup", *tables):
        i = as_tensor(ids)
        if len(tables) == 1:
            return _clipped(gather(tables[0], i), i, max_norm)
        if partition_strategy not in ("mod", "div"):
            raise InvalidArgumentError(
                f"embedding_lookup: partition_strategy {partition_strategy!r} must be "
                "'mod' or 'div'"
            )
        tables = [as_tensor(t) for t in tables]
        owner, row = _owners(tables, i, partition_strategy)
        return _clipped(_from_owners(tables, owner, row), i, max_norm)


def _owners(tables: list[Tensor], ids: Tensor, strategy: str) -> tuple[Tensor, Tensor]:
    """Which table holds each id, and in which row."""
    n = len(tables)
    div, mod = TABLE["floordiv"], TABLE["mod"]
    if strategy == "mod":
        return mod(ids, n), div(ids, n)
    rows = [t.dims[0] if t.dims else None for t in tables]
    if any(r is None for r in rows):
        raise ShapeError('embedding_lookup: "div" needs tables of known sizes')
    starts = np.cumsum([0, *rows[:-1]]).tolist()
    owner = TABLE["zeros_like"](ids)
    start = TABLE["zeros_like"](ids)
    for before, s in zip(rows, starts[1:]):
        past = TABLE["cast"](TABLE["greater_equal"](ids, s), ids.dtype)
        owner = TABLE["add"](owner, past)
        start = TABLE["add"](start, TABLE["mul"](past, before))
    return owner, TABLE["sub"](ids, start)


def _from_owners(tables: list[Tensor], owner: Tensor, row: Tensor) -> Tensor:
    """Rows gathered from every table, of which each id keeps its owner's.

    The tables are never joined: they may be far larger than what is looked up.
    """
    result: Any = None
    for k, table in enumerate(tables):
        mine = TABLE["and"](
            TABLE["greater_equal"](owner, k), TABLE["less_equal"](owner, k)
        )
        nothing = TABLE["zeros_like"](row)
        if k == len(tables) - 1:
            # What no table owns is refused by the last gather.
            mine = TABLE["greater_equal"](owner, k)
        found = gather(table, where_v2(mine, row, minimum(nothing, row)))
        rank = None if found.dims is None else len(found.dims)
        if rank is None or owner.dims is None:
            raise ShapeError("embedding_lookup: the ranks of tables and ids are needed")
        for _ in range(rank - len(owner.dims)):
            mine = expand_dims(mine, -1)
        result = found if result is None else where_v2(mine, found, result)
    return result  # type: ignore[no-any-return]


def _clipped(rows: Tensor, ids: Tensor, max_norm: float | None) -> Tensor:
    """Rows scaled so that no norm exceeds ``max_norm``."""
    if max_norm is None:
        return rows
    from .elementwise import square
    from .powers import sqrt
    from .reduction import reduce_sum

    if ids.dims is None or rows.dims is None:
        raise ShapeError(
            "embedding_lookup: max_norm needs tables and ids of known rank"
        )
    axes = list(range(len(ids.dims), len(rows.dims)))
    limit = float(max_norm)
    # The root is taken of at least limit**2, so its slope is finite.
    norms = sqrt(maximum(reduce_sum(square(rows), axes, True), limit * limit))
    return TABLE["truediv"](TABLE["mul"](rows, limit), norms)  # type: ignore[no-any-return]
