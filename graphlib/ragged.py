"""Rows of different shapes: what loops keep for their gradients, not what users see.

A loop inside a loop runs a different number of times in each iteration of the
outer one, and keeps as many rows; a branch that did not run keeps nothing.  Such
rows are not stacked into one array but stand in an array of arrays.  Slices and
sums of those work row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import InvalidArgumentError

__all__ = ["Ragged", "iterations", "map_rows", "row_of", "stack_made", "stack_rows"]


class Ragged(np.ndarray[Any, Any]):
    """A vector of arrays of one dtype and rank, but of different shapes."""


def stack_rows(rows: Sequence[Any]) -> Any:
    """The rows as one array where their shapes agree, else as a Ragged."""
    first = rows[0]
    if type(first) is not Ragged and all(
        type(r) is not Ragged and r.shape == first.shape for r in rows
    ):
        return np.stack(rows)
    made = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        made[i] = row
    return made.view(Ragged)


def stack_made(rows: Sequence[Any], strict: bool) -> Any:
    """:func:`stack_rows` of what the iterations of a loop made.

    Raises:
        InvalidArgumentError: ``strict``, and the rows are of different shapes.
    """
    made = stack_rows(rows)
    if strict and type(made) is Ragged:
        shapes = sorted({r.shape for r in rows})
        raise InvalidArgumentError(
            f"the iterations make rows of different shapes, {shapes}, which cannot "
            "be stacked"
        )
    return made


def row_of(array: Any, t: int) -> Any:
    """Row ``t``, as an array."""
    return array[t] if type(array) is Ragged else array[t, ...]


def iterations(scans: Sequence[Any], bound: int | None) -> int | None:
    """How many iterations the scanned arrays and the bound allow (None: any)."""
    lengths = {len(a) for a in scans}
    if len(lengths) > 1:
        raise InvalidArgumentError(
            f"the scanned arrays differ in their first axis: {sorted(lengths)}"
        )
    found = min(lengths) if lengths else None
    if bound is not None:
        found = max(bound, 0) if found is None else min(found, max(bound, 0))
    return found


def map_rows(f: Callable[[Any], Any], rows: Ragged) -> Any:
    """``f`` of each row."""
    made = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        made[i] = f(row)
    return made.view(Ragged)
