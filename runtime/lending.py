"""Memory for results whose size only the run tells: lent out, and taken again.

The stacks of a ``while_loop`` cannot be planned.  Taking them anew in every run
costs page faults, often more than the work itself.  So a session lends memory and
gets it back when the last array in it is gone.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

__all__ = ["Lender"]

# Smaller memory comes quickly from the allocator.
_LEAST = 1 << 16


class _Lease(np.ndarray[Any, Any]):
    """Stands between memory that is lent and the arrays in it.

    NumPy lets views of views refer to the array that owns the memory, but not past
    an array of another type: so this lives as long as any array in it.
    """


class Lender:
    """The memory that one session lends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._leases: dict[int, Any] = {}
        self._out = 0
        self._most = 0

    def lend(self, dims: tuple[int, ...], dtype: Any) -> Any:
        """An array of that shape, with any content."""
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(dims, dtype=np.int64)) * dtype.itemsize
        if nbytes < _LEAST or dtype.hasobject:
            return np.empty(dims, dtype)
        with self._lock:
            fitting = [m for m in self._idle if nbytes <= m.nbytes <= 2 * nbytes]
            memory = min(fitting, key=lambda m: m.nbytes, default=None)
            if memory is None:
                # What is idle and too small was for fewer rows than there are now.
                self._idle = [m for m in self._idle if m.nbytes > nbytes]
                memory = np.empty(nbytes, np.uint8)
            else:
                self._idle = [m for m in self._idle if m is not memory]
            self._out += memory.nbytes
            self._most = max(self._most, self._out)
        lease = np.ndarray(dims, dtype, buffer=memory).view(_Lease)
        key = id(memory)
        self._leases[key] = weakref.ref(lease, lambda _: self._take_back(key, memory))
        return lease.view(np.ndarray)

    def _take_back(self, key: int, memory: Any) -> None:
        self._leases.pop(key, None)
        # A plain append: this may run in the middle of anything.
        self._out -= memory.nbytes
        if sum(m.nbytes for m in self._idle) + memory.nbytes <= self._most:
            self._idle.append(memory)

    @property
    def idle_bytes(self) -> int:
        """Bytes that wait to be lent again."""
        return sum(m.nbytes for m in list(self._idle))
