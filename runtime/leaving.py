"""How fetched values leave a run."""

from __future__ import annotations

from typing import Any

__all__ = ["COPY", "FOUND", "GIVE", "SCALAR", "found", "leave"]

#: As they are, as a scalar, as a copy, or as :func:`found`.
GIVE, SCALAR, COPY, FOUND = range(4)


def leave(array: Any) -> Any:
    """A copy that the caller may keep; 0-d becomes a scalar."""
    if array.ndim == 0:
        return array[()]
    return array.copy()


def found(array: Any) -> Any:
    """What a kernel allocated: given as it is unless it is a view."""
    if array.ndim == 0:
        return array[()]
    return array if array.flags.owndata else array.copy()
