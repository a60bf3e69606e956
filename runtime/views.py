"""Arrays in memory that is there: how a plan's view becomes an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from .plan import Slot

__all__ = ["RESHAPES", "known_dims", "view_in"]

#: Views that have all elements of their input, in its order.
RESHAPES = ("ExpandDims", "Reshape", "Squeeze")


def known_dims(slot: Slot) -> tuple[int, ...]:
    """The shape of a slot that was planned, so that every dimension is known."""
    return slot.dims or ()  # type: ignore[return-value]


def view_in(memory: Any, slot: Slot, offset: int) -> Any:
    """The array of a view whose place in ``memory`` is known before the run."""
    dims, dtype = known_dims(slot), slot.dtype.dtype
    if not slot.nbytes:
        return np.empty(dims, dtype)
    view: Any = np.ndarray(dims, dtype, memory, offset, slot.strides)
    if 0 in slot.strides:  # type: ignore[operator]
        view.setflags(write=False)  # a broadcast: one element, many places
    return view
