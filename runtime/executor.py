"""The fast executor: the frames that run a plan, one run at a time each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arenas import Arena
from .failures import require_variables
from .frame import Frame
from .plan import Plan
from .variables import State
from .warming import warm

__all__ = ["Executable"]


class Executable:
    """A plan and the frames that run it, for one session."""

    __slots__ = ("__weakref__", "_frames", "_lock", "plan", "state")

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan = plan
        self.state = state
        self._frames: list[Frame] = []
        self._lock: tuple[Callable[[], None], Callable[[], None]] | None = None
        if plan.writes:
            self._lock = state.lock.acquire_write, state.lock.release_write
        elif plan.variables:
            self._lock = state.lock.acquire_read, state.lock.release_read

    def __call__(self, feeds: Sequence[Any]) -> list[Any]:
        """Run with arrays of the dtypes and shapes that the plan is for."""
        if self._lock is None:
            return self._run(feeds)
        acquire, release = self._lock
        acquire()
        try:
            return self._run(feeds)
        finally:
            release()

    def check_variables(self) -> None:
        """Raise FailedPreconditionError for a variable that has no value yet."""
        require_variables(self.plan, self.state)

    def drop(self, arena: Arena) -> None:
        """Forget what is bound to ``arena``, so that its memory can go."""
        self._frames[:] = [f for f in self._frames if f.arena is not arena]

    def run_inside(self, feeds: Sequence[Any]) -> list[Any]:
        """Run as a part of a run that holds the session's lock."""
        return self._run(feeds)

    def _run(self, feeds: Sequence[Any]) -> list[Any]:
        frame = self.take()
        try:
            with np.errstate(all="ignore"):
                results = frame.run(feeds)
            # A frame that failed is not used again.
            if frame.epoch == self.state.epoch:
                self._frames.append(frame)
        finally:
            frame.arena.lock.release()
        return results

    def give_back(self, frame: Frame) -> None:
        """End the use of a frame that :meth:`take` gave."""
        if frame.epoch == self.state.epoch:
            self._frames.append(frame)
        frame.arena.lock.release()

    def take(self) -> Frame:
        """A frame, with its arena locked for the caller."""
        try:
            frame: Frame | None = self._frames.pop()
        except IndexError:
            frame = None
        # The usual case is one idle frame in an arena that nobody is using.
        if (
            frame is None
            or frame.epoch != self.state.epoch
            or not frame.arena.lock.acquire(False)
        ):
            frame = self._take(frame)
        elif frame.arena.retired:
            frame.arena.lock.release()
            frame = self._take(None)
        if frame.waiting:
            warm(frame)
        return frame

    def _take(self, passed: Frame | None) -> Frame:
        """A frame whose arena is locked for this run; not ``passed``, which is
        stale or whose arena is busy."""
        frames = self._frames
        epoch = self.state.epoch
        busy = [] if passed is None or passed.epoch != epoch else [passed]
        found = None
        while frames and found is None:
            try:
                frame = frames.pop()
            except IndexError:  # another thread was faster
                break
            if frame.epoch != epoch:
                continue
            if not frame.arena.lock.acquire(False):
                busy.append(frame)
            elif frame.arena.retired:
                frame.arena.lock.release()
            else:
                found = frame
        frames.extend(busy)
        if found is not None:
            return found
        if self.plan.arena_bytes > self.state.arenas.nbytes:
            self.state.results.drop()
        arena = self.state.arenas.take(self.plan.arena_bytes, self)
        try:
            return Frame(self.plan, self.state, arena)
        except BaseException:
            arena.lock.release()
            raise
