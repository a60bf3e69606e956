"""Threads that help a run: they wait without spinning and are never waited for.

A call is put into a queue where an idle worker finds it (about 10 us later).  The
caller does its own share, then takes back whatever no worker has begun.  So a pool
that is busy, closed, or left behind by a fork costs a little time and never a result:
the calls then run where they would have run without it.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["Pool", "Share"]

Call = Callable[[], Any]


class _Task:
    """Calls that one thread makes, one after the other.

    ``claim`` is taken by whoever makes them, for good.  It belongs to a thread (an
    RLock), so that a caller who was interrupted on the way can ask again.
    """

    __slots__ = ("calls", "claim", "done", "error", "finished")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.claim = threading.RLock()
        self.done = threading.Lock()
        self.done.acquire()
        self.error: BaseException | None = None
        self.finished = False

    def make(self) -> None:
        """Make the calls; the first error ends them and is kept."""
        try:
            for call in self.calls:
                call()
        except BaseException as error:
            self.error = error

    def work(self) -> None:
        """In a worker: make the calls unless somebody has begun them.

        A worker may meet a task that it took back itself while it was a caller.
        """
        if not self.finished and self.claim.acquire(False):
            self.make()
            self.finished = True
            self.done.release()

    def end(self, wanted: bool) -> None:
        """In the caller: see the calls made, or, unless they are wanted, make sure
        that no worker makes them; may be asked again after an interrupt."""
        if self.finished:
            return
        if not self.claim.acquire(False):
            self.done.acquire()
        elif wanted:
            self.make()
        self.finished = True


def _serve(tasks: queue.SimpleQueue[_Task | None]) -> None:
    """The life of a worker, which refers to nothing but the queue while it waits."""
    with np.errstate(all="ignore"):  # as in the thread that runs the plan
        while True:
            task = tasks.get()
            if task is None:
                return
            task.work()
            del task


def _stop(tasks: queue.SimpleQueue[_Task | None], count: int) -> None:
    for _ in range(count):
        tasks.put(None)


class Pool:
    """``threads`` threads, of which the caller's is one.

    Workers start when they are first needed, and end when the pool is closed or
    nothing refers to it any more.
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._process = 0  # where the workers are; none have started yet
        self._closed = self.threads == 1
        self._end: Any = None

    def run(self, calls: Sequence[Call], most: int) -> None:
        """Make all calls, at most ``most`` at a time; returns when none is running.

        Raises the error of the first call, in their order, that had one; others may
        have been made.
        """
        count = min(self.threads, most, len(calls))
        if count <= 1 or self._closed:
            for call in calls:
                call()
            return
        if self._process != os.getpid():
            self._start()
        bounds = [len(calls) * i // count for i in range(count + 1)]
        tasks = [_Task(calls[a:b]) for a, b in pairwise(bounds)]
        interrupt: BaseException | None = None
        try:
            for task in tasks[1:]:
                self._tasks.put(task)
            tasks[0].end(True)
        except BaseException as error:
            interrupt = error
        # Workers write into the caller's arrays: whatever happens, wait for them.
        while True:
            try:
                if interrupt is None:
                    interrupt = _interrupted(tasks)
                for task in tasks:
                    task.end(interrupt is None)
                break
            except BaseException as error:
                interrupt = error
        interrupt = interrupt or _interrupted(tasks)
        if interrupt is not None:
            raise interrupt
        for task in tasks:
            if task.error is not None:
                raise task.error

    def close(self) -> None:
        """End the workers; later calls are made by the caller."""
        with self._lock:
            self._closed = True
            if self._end is not None:
                self._end()

    def _start(self) -> None:
        """Start workers in this process; those of a parent process are not here."""
        with self._lock:
            process = os.getpid()
            if self._process == process or self._closed:
                return
            if self._end is not None:
                self._end.detach()
                self._tasks = queue.SimpleQueue()
            # Before the workers: an interrupt that comes while they start leaves
            # fewer of them, none that nobody ends.
            self._end = weakref.finalize(self, _stop, self._tasks, self.threads - 1)
            self._process = process
            for i in range(1, self.threads):
                threading.Thread(
                    target=_serve, args=(self._tasks,), name=f"dagrad-{i}", daemon=True
                ).start()


def _interrupted(tasks: Sequence[_Task]) -> BaseException | None:
    """What is no error of a call but asks the whole program to stop."""
    for task in tasks:
        if task.error is not None and not isinstance(task.error, Exception):
            return task.error
    return None


class Share:
    """Threads that may take a part of a step: a pool, and how many at most."""

    __slots__ = ("most", "pool")

    def __init__(self, pool: Pool, most: int) -> None:
        self.pool = pool
        self.most = most
