"""Memory for results whose size only the run tells: lent out, and taken again.

The stacks of a ``while_loop`` cannot be planned.  Taking them anew in every run
costs page faults, often more than the work itself.  So a session lends memory and
gets it back when the last array in it is gone.  The same holds for large arrays that
are fetched again and again.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left, insort
from collections import deque
from typing import Any

import numpy as np

from .arenas import aligned

__all__ = ["Lender"]

# Smaller memory comes quickly from the allocator.
_LEAST = 1 << 16


class _Lease:
    """Stands between memory that is lent and the arrays in it.

    NumPy lets a view of a view refer to the array that owns the memory, past all
    arrays between, but never past an object that is no array: so this lives as long
    as any array in the memory.
    """

    __slots__ = ("__array_interface__", "__weakref__", "memory")

    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__


def _bytes(memory: Any) -> int:
    return memory.nbytes  # type: ignore[no-any-return]


class Lender:
    """The memory that one session lends.

    Args:
        least: bytes from which an array is lent.
        limit: bytes that may be idle, if that is fewer than were ever out.
        mixed: whether arrays of many sizes are lent: idle memory that is too small for
            one may fit the next.
    """

    def __init__(
        self, least: int = _LEAST, limit: int | None = None, mixed: bool = False
    ) -> None:
        self._least = least
        self._limit = limit
        self._mixed = mixed
        self._lock = threading.Lock()
        #: What can be lent, by size.
        self._idle: list[Any] = []
        #: What came back since. The last array may go in any thread, in the middle of
        #: anything, so that is a plain append, and who holds the lock takes it in.
        self._returned: deque[Any] = deque()
        #: Bytes that are out, the most that ever were, and idle bytes.
        self._out = self._most = self._waiting = 0

    def lend(self, dims: tuple[int, ...], dtype: Any) -> Any:
        """An array of that shape, with any content."""
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(dims, dtype=np.int64)) * dtype.itemsize
        if nbytes < self._least or dtype.hasobject:
            return np.empty(dims, dtype)
        with self._lock:
            self._take_back()
            memory = self._fitting(nbytes)
            self._out += memory.nbytes
            self._most = max(self._most, self._out)
        lease = _Lease(memory)
        weakref.finalize(lease, self._returned.append, memory).atexit = False
        return np.ndarray(dims, dtype, buffer=np.asarray(lease))

    def _fitting(self, nbytes: int) -> Any:
        """Idle memory of that size, up to twice as much, or new memory."""
        at = bisect_left(self._idle, nbytes, key=_bytes)
        if at < len(self._idle) and self._idle[at].nbytes <= 2 * nbytes:
            memory = self._idle.pop(at)
            self._waiting -= memory.nbytes
            return memory
        if not self._mixed:
            # What is idle and too small was for fewer rows than there are now.
            self._waiting -= sum(map(_bytes, self._idle[:at]))
            del self._idle[:at]
        return aligned(nbytes)

    def _take_back(self) -> None:
        """What has come back is idle, as long as that is no more than was ever out."""
        most = self._most if self._limit is None else min(self._most, self._limit)
        while self._returned:
            memory = self._returned.popleft()
            self._out -= memory.nbytes
            if self._mixed and self._waiting + memory.nbytes > most:
                self._drop()  # nobody has asked for such sizes for a while
            if self._waiting + memory.nbytes <= most:
                insort(self._idle, memory, key=_bytes)
                self._waiting += memory.nbytes

    def _drop(self) -> None:
        self._idle.clear()
        self._waiting = 0

    def drop(self) -> None:
        """Keep nothing idle."""
        with self._lock:
            self._take_back()
            self._drop()

    @property
    def idle_bytes(self) -> int:
        """Bytes that wait to be lent again."""
        with self._lock:
            self._take_back()
            return self._waiting
