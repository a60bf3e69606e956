"""No garbage collection while many objects are made that live on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile.

    Planning, differentiating and folding for a picture make many objects that live on
    and no garbage: collecting while they pile up goes over all of them again and again,
    which is a third to a half of the time of a large graph.  Threads that pause at once
    may end each other's pause early, which costs that time and nothing else.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
