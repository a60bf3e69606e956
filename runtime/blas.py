"""BLAS on one thread while a session asks for a number of threads.

A session that asks splits its large products itself (see pieces.py).  BLAS's own
threads stay out of it: they round differently for different counts (13 of 240
products of random shapes, OpenBLAS 0.3.31), they spin, so that on cores that are shared
a product can take a hundred times as long, and their number belongs to the process,
not to a session.  So every session that asks wants the same of BLAS, whatever its
number, and when the last one is closed or gone BLAS is as it was before the first.
"""

from __future__ import annotations

import importlib
import os
import threading
import warnings
import weakref
from typing import Any

__all__ = ["hold"]

#: Variables of the environment by which a user gives BLAS one thread.
_ENVIRONMENT = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# A finalizer may run in the middle of anything, also of what holds the lock.
_lock = threading.RLock()
_holders = 0
_limits: Any = None
_warned = False


def hold(holder: Any) -> Any:
    """Give BLAS one thread until the returned function is called or ``holder`` is gone.

    Without threadpoolctl it warns, once, unless BLAS has one thread anyway.
    """
    global _holders, _limits
    with _lock:
        _holders += 1
        if _holders == 1:
            _limits = _one_thread()
        return weakref.finalize(holder, _release)


def _release() -> None:
    global _holders, _limits
    with _lock:
        _holders -= 1
        if _holders == 0 and _limits is not None:
            _limits.restore_original_limits()
            _limits = None


def _one_thread() -> Any:
    """Limits that can be undone, or None where nothing can be set."""
    global _warned
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        known = any(os.environ.get(name) == "1" for name in _ENVIRONMENT)
        if not (_warned or known or os.cpu_count() == 1):
            _warned = True
            warnings.warn(
                "the session asks for a number of threads, but without threadpoolctl "
                "BLAS keeps its own number, and results can differ between numbers in "
                'their last digits: pip install "dagrad[threads]", or set '
                "OPENBLAS_NUM_THREADS=1 (or the variable of your BLAS) before Python "
                "starts",
                stacklevel=4,
            )
        return None
    return threadpoolctl.threadpool_limits(limits=1, user_api="blas")
