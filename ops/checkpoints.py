"""What the gradient of a loop keeps: the argument ``checkpoint_every``.

The states at the start of segments are kept, and the others computed again when the
backward loop gets there: see graphlib.checkpointing for the segments, and
ops.checkpointed for the gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.checkpointing import Schedule, longest, rows
from ..graphlib.errors import ResourceExhaustedError, ShapeError
from ..graphlib.shapes import is_static, size
from ..graphlib.sizes import parse_bytes
from ..graphlib.source import entry
from ..graphlib.tensor import Tensor

__all__ = ["bytes_of", "policy", "schedule_for"]

#: More passes than this are no help: of n iterations, 2 + n / 33 states are enough.
_MOST_REPEATS = 32
#: A segment of any length.
_ANY = 2**31 - 1


def policy(
    every: Any, carries: Sequence[Tensor] = (), length: int | None = None
) -> tuple[Any, ...]:
    """``checkpoint_every`` as an attribute of a loop, to be settled by
    :func:`schedule_for` once the gradient is known.

    Args:
        every: a number of iterations, decreasing numbers, "least", or bytes ("200MB").
        carries: what an iteration carries; its bytes are those of a state.
        length: the number of iterations, or a bound of it, where it is known.

    Raises:
        ShapeError: a size is no integer above 0, sizes do not decrease, or bytes are
            given where the number of iterations or a shape is not known.
        ResourceExhaustedError: no segments need so few bytes.
    """
    if isinstance(every, str):
        if every.strip().lower() == "least":
            return ("least",)
        keep = ("bytes", _parsed(every))
        schedule_for(keep, length, bytes_of(carries), 0)
        return keep
    sizes = list(every) if isinstance(every, (list, tuple)) else [every]
    if not sizes or any(
        isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1
        for k in sizes
    ):
        raise ShapeError(
            f"{entry()}checkpoint_every must be an integer above 0, a list of such, "
            f'"least", or bytes such as "64MiB", not {every!r}'
        )
    if any(a <= b for a, b in itertools.pairwise(sizes)):
        raise ShapeError(f"{entry()}checkpoint_every must decrease: {sizes}")
    return ("blocks", *[int(k) for k in sizes])


def _parsed(text: str) -> int:
    found = parse_bytes(text)
    if found is None:
        raise ShapeError(
            f"{entry()}checkpoint_every takes a number of iterations, a list of such, "
            f'"least", or bytes such as "200MB" or "64MiB", not {text!r}'
        )
    return found


def bytes_of(tensors: Sequence[Tensor]) -> int | None:
    """The bytes of all of them, None where a shape is not known."""
    if not all(is_static(t.dims) for t in tensors):
        return None
    return sum((size(t.dims) or 0) * t.dtype.size for t in tensors)


def schedule_for(
    keep: tuple[Any, ...], length: int | None, state: int | None, more: int | None
) -> Schedule:
    """The schedule of a loop's gradient.

    Args:
        keep: what :func:`policy` made.
        length: the number of iterations, or a bound of it.
        state: bytes of a state.
        more: bytes of what else is kept of each iteration of a segment.

    Raises:
        ShapeError, ResourceExhaustedError: as :func:`policy`.
    """
    if keep[0] == "blocks":
        return keep
    if length is None or state is None or more is None:
        if keep[0] == "least":
            return ("tree", 1, _ANY)
        raise ShapeError(
            f"{entry()}checkpoint_every={keep[1]:,} bytes: the number of iterations "
            "and the shapes of what is carried must be known: give a number of "
            "iterations"
        )

    def cost(tree: Schedule) -> int:
        """Bytes of what is kept at most."""
        return rows(tree, length) * state + longest(tree, length) * more

    if keep[0] == "least":
        return min(_trees(length, 1), key=cost)
    budget = keep[1]
    least = cost(("tree", 0, _ANY))
    for repeats in range(_MOST_REPEATS + 1):
        for tree in _trees(length, repeats):
            if cost(tree) <= budget:
                return tree
            least = min(least, cost(tree))
    raise ResourceExhaustedError(
        f"{entry()}checkpoint_every={budget:,} bytes: the states of {length} "
        f"iterations need at least {least:,} bytes, even if each is computed "
        f"{_MOST_REPEATS} more times"
    )


def _trees(length: int, repeats: int) -> list[Schedule]:
    """Trees with segments of any length, then of less and less."""
    found: list[Schedule] = [("tree", repeats, _ANY)]
    most = length if repeats else 0
    while most > 1:
        most = most * 7 // 8
        found.append(("tree", repeats, most))
    return found
