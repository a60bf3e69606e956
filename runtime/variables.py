"""What a session keeps between runs: variables and random streams."""

from __future__ import annotations

import os
import threading
import weakref
from threading import get_ident
from typing import Any

import numpy as np

from ..graphlib.errors import FailedPreconditionError
from ..graphlib.operation import Operation
from .arenas import ArenaPool, aligned
from .lending import Lender
from .pool import Pool
from .settings import Settings

__all__ = ["LENT", "Cell", "ReadWriteLock", "State"]

#: Bytes from which fetched arrays get memory of earlier ones, and how much of that may
#: be idle: to fill new memory takes several times as long.
LENT = 1 << 20
_RESULT_BYTES = 1 << 28


class Cell:
    """One variable's memory in one session.

    ``array`` is None until the variable is initialised.  Writes of the same
    shape and dtype go into the same array, so plans can keep pointers to it.
    """

    __slots__ = ("_state", "array")

    def __init__(self, state: State) -> None:
        self.array: np.ndarray[Any, Any] | None = None
        # The state has its cells: they go with it, not with a collector.
        self._state = weakref.ref(state)

    def assign(self, value: Any) -> np.ndarray[Any, Any]:
        """Copy ``value`` in; new memory only where shape or dtype change."""
        array = self.array
        if (
            array is not None
            and array.shape == value.shape
            and array.dtype == value.dtype
        ):
            np.copyto(array, value)
            return array
        if value.dtype.hasobject:
            array = np.array(value, order="C")
        else:
            array = np.ndarray(value.shape, value.dtype, aligned(value.nbytes))
            np.copyto(array, value)
        self.array = array
        state = self._state()
        if state is not None:
            state.epoch += 1
        return array


class State:
    """Variables, random streams and memory of one session.

    ``epoch`` changes whenever a variable gets new memory: whoever keeps
    pointers to variables' arrays must then fetch them anew.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cells: dict[Operation, Cell] = {}
        self.epoch = 0
        self.lock = ReadWriteLock()
        self.arenas = ArenaPool()
        self.pool = Pool(max(settings.intra, settings.inter))
        self.lender = Lender()
        # Within a limit of memory nothing is kept that no run needs.
        limit = 0 if settings.memory_limit is not None else _RESULT_BYTES
        #: Large fetched arrays are in memory of earlier ones that are gone.
        self.results = Lender(LENT, limit, mixed=True)
        #: The plans of loops' and branches' bodies (see control.Bodies).
        self.bodies: Any = None
        self._streams: dict[tuple[Operation, int | None], np.random.Generator] = {}
        self._streams_lock = threading.Lock()
        self._entropy = int.from_bytes(os.urandom(16), "little")

    def cell(self, op: Operation) -> Cell:
        """The cell of the variable that ``op`` makes."""
        cell = self.cells.get(op)
        if cell is None:
            cell = self.cells.setdefault(op, Cell(self))
        return cell

    def stream(self, op: Operation) -> np.random.Generator:
        """The random stream of an operation.

        It depends on (graph seed, op seed or op name) only, never on how many
        ops the graph has; without any seed it differs between sessions.
        """
        graph_seed = op.graph.root.seed
        key = (op, graph_seed)
        stream = self._streams.get(key)
        if stream is None:
            with self._streams_lock:
                stream = self._streams.get(key)
                if stream is None:
                    stream = self._make_stream(op, graph_seed)
                    self._streams[key] = stream
        return stream

    def _make_stream(self, op: Operation, graph_seed: int | None) -> Any:
        seed = op._attrs.get("seed")
        if graph_seed is None and seed is None:
            text = f"{self._entropy}|{op.name}"
        elif seed is None:
            text = f"graph {graph_seed}|name {op.name}"
        else:
            text = f"graph {graph_seed}|seed {seed}"
        import hashlib  # slow to load, as is numpy.random

        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        key = np.frombuffer(digest, dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def forget(self) -> None:
        """Let go of what plans are bound to: it refers to this state, and this to it,
        so that both would wait for the collector."""
        self.arenas.forget()
        self.bodies = None

    def reset_random(self) -> None:
        """Start every random stream anew."""
        with self._streams_lock:
            self._streams.clear()
            self.epoch += 1  # plans keep pointers to streams too


class ReadWriteLock:
    """Many readers or one writer; a writer may re-enter.

    Runs that change variables exclude all other runs that touch variables, so
    every run is atomic; runs that only read go side by side.

    An interrupt may come at any place. So what takes the lock gives it back itself
    where it does not get to its end, and says otherwise how often its thread has the
    lock now; to give it back twice to that number is to give it back once::

        held = lock.acquire_read()
        try:
            ...
        finally:
            try:
                lock.release_read(held)
            except BaseException:
                lock.release_read(held)
                raise
    """

    __slots__ = ("_depth", "_mutex", "_readers", "_turn", "_waiting", "_writer")

    def __init__(self) -> None:
        # Held for a moment only; taking it is much cheaper than the condition.
        self._mutex = threading.Lock()
        self._turn = threading.Condition(self._mutex)
        self._waiting = 0
        self._readers: dict[int, int] = {}  # thread -> depth
        self._writer: int | None = None
        self._depth = 0

    def _wait(self) -> None:
        self._waiting += 1
        try:
            self._turn.wait()
        finally:
            self._waiting -= 1

    def acquire_read(self) -> int:
        """Wait until nobody writes."""
        me = get_ident()
        held = 0
        try:
            with self._mutex:
                if self._writer == me:
                    self._depth = held = self._depth + 1
                else:
                    while self._writer is not None:
                        self._wait()
                    self._readers[me] = held = self._readers.get(me, 0) + 1
        except BaseException:
            if held:
                self.release_read(held)
            raise
        return held

    def release_read(self, held: int) -> None:
        """Undo the :meth:`acquire_read` that gave ``held``."""
        me = get_ident()
        with self._mutex:
            if self._writer == me:
                self._depth = held - 1
                return
            readers = self._readers
            if held > 1:
                readers[me] = held - 1
                return
            readers.pop(me, None)
            if self._waiting and not readers:
                self._turn.notify_all()

    def acquire_write(self) -> int:
        """Wait until nobody reads or writes.

        Raises:
            FailedPreconditionError: this thread is reading: it would wait for
                itself.
        """
        me = get_ident()
        held = 0
        try:
            with self._mutex:
                if me in self._readers:
                    raise FailedPreconditionError(
                        "a run that changes variables was started inside a run of the "
                        "same session that reads them: fetch the change in the outer "
                        "run"
                    )
                if self._writer != me:
                    while self._writer is not None or self._readers:
                        self._wait()
                    self._writer = me
                self._depth = held = self._depth + 1
        except BaseException:
            if held:
                self.release_write(held)
            raise
        return held

    def release_write(self, held: int) -> None:
        """Undo the :meth:`acquire_write` that gave ``held``."""
        with self._mutex:
            if self._writer != get_ident():
                return  # it was given back before
            self._depth = held - 1
            if not self._depth:
                self._writer = None
                if self._waiting:
                    self._turn.notify_all()
