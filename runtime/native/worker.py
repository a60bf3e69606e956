"""Kernels that are asked for, and the thread that compiles them in the background.

A kernel is asked for once in a process, whoever needs it; until it is ready, and
for good where LLVM fails, its users go on with NumPy.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
import weakref
from collections import OrderedDict, deque
from typing import Protocol

from . import cache
from .engine import SYMBOL, Code, engine

__all__ = ["Native", "Unsuited", "native", "warn"]

# Kernels that nobody uses but that may be asked for again.
_KEPT = 256
# Seconds that the thread waits for more before it ends.
_PATIENCE = 5.0


class Compilable(Protocol):
    """What can be compiled: a canonical form, and the text of a module."""

    @property
    def text(self) -> str: ...

    def generate(self, name: str, triple: str) -> str: ...


class Unsuited(Exception):
    """A kernel for which this machine has not what makes it faster than NumPy."""


#: Elements over which a step has run before it is compiled.
HOT = 1 << 16


class Native:
    """A kernel and, as soon as it is there, its code.

    Attributes:
        kernel: what is computed.
        code: None until it is compiled.
        failed: it never will be.
    """

    __slots__ = ("__weakref__", "_lock", "code", "failed", "kernel", "queued")

    def __init__(self, kernel: Compilable) -> None:
        self.kernel = kernel
        self.code: Code | None = None
        self.failed = False
        self.queued = False
        self._lock = threading.Lock()

    def request(self) -> None:
        """Have it compiled in the background."""
        if not self.queued:
            self.queued = True
            _WORKER.put(self)

    def asked(self, wait: bool, calls: int, work: int, hot: int = HOT) -> Code | None:
        """The code, if it is there for the ``calls``-th call of a step.

        Args:
            wait: whether the call waits for it; otherwise it is made in the background
                once there were two calls, and ``hot`` of ``work`` in all.
        """
        if wait and not self.failed:
            self.wait()
        elif calls > 1 and calls * work >= hot:
            self.request()
        return self.code

    def wait(self) -> None:
        """Compile it here, or wait for the thread that does."""
        self.queued = True
        with self._lock:
            if self.code is None and not self.failed:
                try:
                    self.code = _build(self.kernel)
                except Unsuited:
                    self.failed = True
                except Exception as error:
                    self.failed = True
                    warn(error)


def _build(kernel: Compilable) -> Code:
    found = engine()
    key = f"{found.identity}\n{kernel.text}"
    data = cache.read(key)
    if data is not None:
        return found.load(data)
    data = found.compile(kernel.generate(SYMBOL, found.triple))
    cache.write(key, data)
    return found.load(data)


_warned = False


def warn(error: Exception) -> None:
    """Say that there is no native code, once in a process, whoever finds out first."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"native code cannot be compiled here, NumPy goes on: {error}",
            RuntimeWarning,
            stacklevel=2,
        )


class _Worker:
    """A thread that lives while there is something to compile."""

    def __init__(self) -> None:
        self._queue: deque[Native] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def put(self, item: Native) -> None:
        with self._wake:
            if self._stopped:
                return
            self._queue.append(item)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="dagrad-native", daemon=True
                )
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._queue and not self._stopped:
                    self._wake.wait(_PATIENCE)
                if not self._queue or self._stopped:
                    self._thread = None
                    return
                item = self._queue.popleft()
            item.wait()
            del item  # the thread keeps nobody's kernel alive while it waits

    def stop(self) -> None:
        """Compile nothing more; returns when the kernel at work is done."""
        with self._wake:
            self._stopped = True
            self._queue.clear()
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join()


_WORKER = _Worker()
_KNOWN: weakref.WeakValueDictionary[str, Native] = weakref.WeakValueDictionary()
_RECENT: OrderedDict[str, Native] = OrderedDict()
_LOCK = threading.Lock()


def native(kernel: Compilable) -> Native:
    """The one record of a kernel in this process."""
    text = kernel.text
    with _LOCK:
        found = _KNOWN.get(text)
        if found is None:
            found = _KNOWN[text] = Native(kernel)
        _RECENT[text] = found
        _RECENT.move_to_end(text)
        while len(_RECENT) > _KEPT:
            _RECENT.popitem(last=False)
        return found


def _after_fork() -> None:
    """A child has no thread of its parent's: it starts its own when it needs one."""
    global _WORKER, _LOCK
    _WORKER = _Worker()
    _LOCK = threading.Lock()
    for item in list(_KNOWN.values()):
        item._lock = threading.Lock()
        item.queued = item.code is not None or item.failed


atexit.register(lambda: _WORKER.stop())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
