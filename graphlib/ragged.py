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

__all__ = ["Ragged", "map_rows", "stack_rows"]


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


def map_rows(f: Callable[[Any], Any], rows: Ragged) -> Any:
    """``f`` of each row."""
    made = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        made[i] = f(row)
    return made.view(Ragged)
