"""Arenas: the memory that plans of one session share, one run at a time.

A plan's temporaries are dead between runs, so plans need no memory of their
own: a session that never runs two plans at once has one arena, as large as the
largest plan needs.  Runs side by side get an arena each.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Protocol

import numpy as np

__all__ = ["ALIGNMENT", "Arena", "ArenaPool", "aligned"]

#: Memory starts where cache lines and vectors of every size do.
ALIGNMENT = 64


def aligned(nbytes: int) -> Any:
    """New memory as an array of bytes, which starts at a multiple of 64."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start : start + nbytes]


class _User(Protocol):
    def drop(self, arena: Arena) -> None: ...


class Arena:
    """Aligned memory; whoever runs in it holds ``lock``.

    Attributes:
        memory: uint8 array, starting at a multiple of 64 bytes.
        retired: a larger arena has taken its place: bind anew.
        users: who keeps bindings to it.
    """

    __slots__ = ("__weakref__", "lock", "memory", "retired", "users")

    def __init__(self, nbytes: int) -> None:
        self.memory: Any = aligned(nbytes)
        self.lock = threading.Lock()
        self.retired = False
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()


class ArenaPool:
    """The arenas of one session."""

    def __init__(self) -> None:
        self._arenas: list[Arena] = []
        self._lock = threading.Lock()

    def take(self, nbytes: int, user: _User) -> Arena:
        """An arena of at least ``nbytes``, locked for the caller.

        Where every idle arena is too small, a new one takes their place, and
        their users drop what they bound to them.
        """
        with self._lock:
            for arena in self._arenas:
                # A user before it has the lock: an interrupt may come between.
                if arena.memory.nbytes >= nbytes:
                    arena.users.add(user)
                    if arena.lock.acquire(False):
                        return arena
            for arena in list(self._arenas):
                if arena.memory.nbytes < nbytes and arena.lock.acquire(False):
                    self._retire(arena)
                    arena.lock.release()
            arena = Arena(nbytes)
            arena.users.add(user)
            arena.lock.acquire()
            self._arenas.append(arena)
            self._arenas.sort(key=lambda a: a.memory.nbytes)
            return arena

    def forget(self) -> None:
        """Retire all arenas; memory in which somebody runs stays until the end."""
        with self._lock:
            for arena in list(self._arenas):
                self._retire(arena)

    def _retire(self, arena: Arena) -> None:
        self._arenas.remove(arena)
        arena.retired = True
        for user in list(arena.users):
            user.drop(arena)

    @property
    def nbytes(self) -> int:
        """Bytes of all arenas."""
        return sum(a.memory.nbytes for a in list(self._arenas))
