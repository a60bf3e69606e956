"""Bytes that a call allocates, as Python's own accounts have them."""

from __future__ import annotations

import gc
import tracemalloc


def traced_peak(run):
    """Bytes that ``run`` allocates at most beyond what was there before."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        result = run()
        peak = tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()
        gc.enable()
    del result
    return peak
