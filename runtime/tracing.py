"""A run of the fast executor under a clock: which thread did what, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .frame import Frame
from .plan import CALL, Plan
from .pool import Pool
from .report import Event, RunReport, StepReport
from .together import Free

if TYPE_CHECKING:
    from .executor import Executable

__all__ = ["run_traced"]


def run_traced(
    executable: Executable, feeds: Sequence[Any], report: RunReport
) -> list[Any]:
    """Run once as without a trace, and fill ``report``.

    The run has a frame of its own, so that others never carry a clock.  It has no
    native stretches, which would be one bar of many steps.  A step whose work
    several threads share has an event for each part; a loop is one event.
    """
    plan, state = executable.plan, executable.state
    arena = state.arenas.take(plan.arena_bytes, executable)
    try:
        clock = _Clock(plan, state.pool)
        frame = Frame(plan, state, arena, clock)
        clock.start = time.perf_counter()
        with np.errstate(all="ignore"):
            results = frame.run(feeds)
        report.seconds = time.perf_counter() - clock.start
    finally:
        arena.lock.release()
    _fill(report, plan, clock)
    return results


class _Clock:
    """Notes every call that the instructions of a frame make.

    Attributes:
        start: when the run began.
        events: (step, thread, begin, end).
        sizes: bytes of the slots whose size only the run tells.
    """

    def __init__(self, plan: Plan, pool: Pool) -> None:
        self.plan = plan
        self.pool = _WatchedPool(pool, self)
        self.start = 0.0
        self.events: list[tuple[int, str, float, float]] = []
        self.sizes: dict[int, int] = {}
        # The step that a thread is in: helpers of the pool ask on its behalf.
        self.here = threading.local()

    def watch(self, frame: Frame) -> None:
        """Put a clock around every instruction of ``frame``."""
        frame.instructions = [
            instruction
            if isinstance(instruction[0], Free)
            else (_Watched(instruction[0], step, frame, self), instruction[1])
            for step, instruction in zip(frame.steps, frame.instructions)
        ]

    def note(self, step: int, begin: float, end: float) -> None:
        """One call in this thread."""
        self.events.append((step, threading.current_thread().name, begin, end))


class _Watched:
    """An instruction under the clock."""

    __slots__ = ("_clock", "_function", "_open", "_step", "explains")

    def __init__(
        self, function: Callable[..., Any], step: int, frame: Frame, clock: _Clock
    ) -> None:
        self._function = function
        self._step = step
        self._clock = clock
        self.explains = getattr(function, "explains", False)
        slots = clock.plan.slots
        # The lists are filled while later steps are bound.
        self._open = [
            (s, frame.sites_at(s))
            for s in clock.plan.steps[step].outputs
            if slots[s].kind == CALL and slots[s].owner == s and not slots[s].nbytes
        ]

    def __call__(self, *arrays: Any) -> None:
        clock = self._clock
        here = clock.here
        here.step, here.shared = self._step, False
        begin = time.perf_counter()
        self._function(*arrays)
        end = time.perf_counter()
        if not here.shared:
            clock.note(self._step, begin, end)
        here.step = None
        for slot, sites in self._open:
            if sites:
                target, k = sites[0]
                clock.sizes[slot] = target[k].nbytes


class _WatchedPool(Pool):
    """A session's pool that tells the clock what each thread did for a step."""

    def __init__(self, pool: Pool, clock: _Clock) -> None:
        super().__init__(1)
        self._pool = pool
        self._clock = clock

    def run(self, calls: Sequence[Callable[[], Any]], most: int) -> None:
        """As the session's pool; calls of no single step pass unnoted."""
        here = self._clock.here
        step = getattr(here, "step", None)
        if step is None:
            self._pool.run(calls, most)
            return
        here.shared = True

        def timed(call: Callable[[], Any]) -> Callable[[], Any]:
            def run() -> None:
                begin = time.perf_counter()
                call()
                self._clock.note(step, begin, time.perf_counter())

            return run

        self._pool.run([timed(call) for call in calls], most)


def _fill(report: RunReport, plan: Plan, clock: _Clock) -> None:
    """The report of what the clock noted."""
    live = list(plan.live_bytes)
    for slot, nbytes in clock.sizes.items():
        s = plan.slots[slot]
        for i in range(s.first, s.last + 1):
            live[i] += nbytes
    spans: dict[int, tuple[float, float]] = {}
    for number, thread, begin, end in sorted(clock.events, key=lambda e: e[2]):
        step = plan.steps[number]
        report.events.append(
            Event(
                number, step.name, step.what, thread, begin - clock.start, end - begin
            )
        )
        first, last = spans.get(number, (begin, end))
        spans[number] = min(first, begin), max(last, end)
    at = clock.start
    for number, step in enumerate(plan.steps):
        begin, end = spans.get(number, (at, at))  # views take no time
        at = end
        sizes = [
            (s, clock.sizes.get(s, plan.slots[s].nbytes))
            for s in step.outputs
            if plan.slots[s].owner == s
        ]
        report.steps.append(
            StepReport(
                name=step.name,
                type=step.what,
                source=str(step.source or ""),
                start=begin - clock.start,
                seconds=end - begin,
                output_bytes=sum(n for _, n in sizes),
                live_bytes=live[number],
                shapes=tuple(plan.slots[s].spec for s in step.outputs),
                outputs=tuple(sizes),
            )
        )
    report.peak_bytes = max(live, default=0)
    if live:
        at_peak = live.index(report.peak_bytes)
        report.peak_set = {
            s.name or "scratch": (
                s.spec,
                clock.sizes.get(plan.slots.index(s), s.nbytes),
            )
            for s in plan.live_at(at_peak)
        }
