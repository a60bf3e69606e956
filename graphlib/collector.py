"""The garbage collector, out of the way where much is made that lives on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile.

    Planning a large graph, or folding it for a picture, makes many objects that live on
    and no garbage: to collect while they pile up, walking the whole graph each time,
    would take half of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
