"""What a session keeps between runs: variables and random streams."""

from __future__ import annotations

import os
import threading
from threading import get_ident
from typing import Any

import numpy as np

from ..graphlib.errors import FailedPreconditionError
from ..graphlib.operation import Operation
from .arenas import ArenaPool
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

    __slots__ = ("array", "state")

    def __init__(self, state: State) -> None:
        self.array: np.ndarray[Any, Any] | None = None
        self.state = state

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
        self.array = np.array(value, order="C")
        self.state.epoch += 1
        return self.array


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

    def reset_random(self) -> None:
        """Start every random stream anew."""
        with self._streams_lock:
            self._streams.clear()
            self.epoch += 1  # plans keep pointers to streams too


class ReadWriteLock:
    """Many readers or one writer; a writer may re-enter.

    Runs that change variables exclude all other runs that touch variables, so
    every run is atomic; runs that only read go side by side.
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

    def acquire_read(self) -> None:
        """Wait until nobody writes."""
        me = get_ident()
        with self._mutex:
            if self._writer == me:
                self._depth += 1
                return
            while self._writer is not None:
                self._wait()
            readers = self._readers
            readers[me] = readers[me] + 1 if me in readers else 1

    def release_read(self) -> None:
        """Undo :meth:`acquire_read`."""
        me = get_ident()
        with self._mutex:
            if self._writer == me:
                self._depth -= 1
                return
            readers = self._readers
            if readers[me] > 1:
                readers[me] -= 1
                return
            del readers[me]
            if self._waiting and not readers:
                self._turn.notify_all()

    def acquire_write(self) -> None:
        """Wait until nobody reads or writes.

        Raises:
            FailedPreconditionError: this thread is reading: it would wait for
                itself.
        """
        me = get_ident()
        with self._mutex:
            if self._writer == me:
                self._depth += 1
                return
            if me in self._readers:
                raise FailedPreconditionError(
                    "a run that changes variables was started inside a run of the "
                    "same session that reads them: fetch the change in the outer run"
                )
            while self._writer is not None or self._readers:
                self._wait()
            self._writer = me
            self._depth = 1

    def release_write(self) -> None:
        """Undo :meth:`acquire_write`."""
        with self._mutex:
            self._depth -= 1
            if not self._depth:
                self._writer = None
                if self._waiting:
                    self._turn.notify_all()
