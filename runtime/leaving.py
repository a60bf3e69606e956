"""How fetched values leave a run, and how they come into the run around it."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["COPY", "FOUND", "GIVE", "SCALAR", "arrived", "found", "leave"]

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


def arrived(value: Any) -> Any:
    """What left a run as an array again: a scalar string is one, of objects (NumPy
    would make it an array of a fixed length, and drop zeros at its end)."""
    if type(value) is bytes:
        made = np.empty((), object)
        made[()] = value
        return made
    return np.asanyarray(value)
