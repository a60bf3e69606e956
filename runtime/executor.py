"""The fast executor: the frames that run a plan, one run at a time each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .arenas import Arena
from .failures import require_variables
from .frame import Frame
from .plan import Plan
from .quiet import hush, unhush
from .variables import State
from .warming import warm

__all__ = ["MISS", "Executable", "miss"]

#: What a direct run (see ``direct``) returns where it has not run.
MISS = object()


def miss(values: Any) -> Any:
    """A direct run that never answers."""
    return MISS


#: After how many runs a plan gets a function of its own, which costs about as much as a
#: hundred runs of a small one.
_PATIENCE = 40


class Executable:
    """A plan and the frames that run it, for one session.

    Attributes:
        lock: what takes and gives back the session's variables, None where the plan
            touches none.
        hot: the run as a function of the fed values, with the results in the caller's
            structure; it returns ``MISS`` where the executable has to be called
            instead, which is always so at first.
    """

    __slots__ = (
        "__weakref__",
        "_frames",
        "_hot_frame",
        "_patience",
        "_rebuild",
        "hot",
        "lock",
        "plan",
        "state",
    )

    def __init__(
        self,
        plan: Plan,
        state: State,
        rebuild: Callable[[Sequence[Any]], Any] | None = None,
    ) -> None:
        self.plan = plan
        self.state = state
        self._frames: list[Frame] = []
        # What ``hot`` gives its results to; without it there is no such function.
        self._rebuild = rebuild
        self.hot: Callable[[Any], Any]
        self._hot_frame: Frame | None
        self._patience: int  # runs until there is one
        self._forget_hot()
        self.lock: tuple[Callable[[], int], Callable[[int], None]] | None = None
        if plan.writes:
            self.lock = state.lock.acquire_write, state.lock.release_write
        elif plan.variables:
            self.lock = state.lock.acquire_read, state.lock.release_read

    def __call__(self, feeds: Sequence[Any]) -> list[Any]:
        """Run with arrays of the dtypes and shapes that the plan is for."""
        if self.lock is None:
            return self._run(feeds)
        acquire, release = self.lock
        held = acquire()
        try:
            return self._run(feeds)
        finally:
            try:
                release(held)
            except BaseException:  # an interrupt, perhaps before it was given back
                release(held)
                raise

    def check_variables(self) -> None:
        """Raise FailedPreconditionError for a variable that has no value yet."""
        require_variables(self.plan, self.state)

    def drop(self, arena: Arena) -> None:
        """Forget what is bound to ``arena``, so that its memory can go."""
        self._frames[:] = [f for f in self._frames if f.arena is not arena]
        if self._hot_frame is not None and self._hot_frame.arena is arena:
            self._forget_hot()

    def run_inside(self, feeds: Sequence[Any]) -> list[Any]:
        """Run as a part of a run that holds the session's lock."""
        return self._run(feeds)

    def _run(self, feeds: Sequence[Any]) -> list[Any]:
        frame = self.take()
        try:
            token = hush()
            try:
                results = frame.run(feeds)
            finally:
                unhush(token)
            # A frame that failed is not used again.
            if frame.epoch == self.state.epoch:
                self._frames.append(frame)
                self._count(frame)
        except BaseException:
            if frame is self._hot_frame:
                self._forget_hot()
            raise
        finally:
            frame.arena.lock.release()
        return results

    def _count(self, frame: Frame) -> None:
        """Count a run; after enough of them the frame, which is locked, is hot."""
        if not self._patience:
            if self._hot_frame is not None and self._hot_frame.epoch != frame.epoch:
                self._forget_hot()
        elif not frame.waiting and self._rebuild is not None:
            self._patience -= 1
            if not self._patience:
                self._hot_frame = frame
                from .direct import direct_run

                self.hot = direct_run(self, frame, self._rebuild)

    def _forget_hot(self) -> None:
        self.hot = miss
        self._hot_frame = None
        self._patience = 0 if self._rebuild is None else _PATIENCE

    def failed(
        self, frame: Frame, at: int, error: BaseException, feeds: Sequence[Any]
    ) -> None:
        """Say what went wrong in a direct run of a frame, which is not used again.

        Args:
            at: the instruction, -1 for none.
        """
        self._forget_hot()
        self._frames[:] = [f for f in self._frames if f is not frame]
        if at >= 0 and isinstance(error, Exception):
            frame.place(feeds)  # the message tells their shapes
            frame.explain(at, error)

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
        try:
            if frame.waiting:
                warm(frame)
        except BaseException:  # an interrupt: the frame is not used again
            frame.arena.lock.release()
            raise
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
