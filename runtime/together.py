"""Regions of a plan, bound: branches that the threads of a session's pool share."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any

from .failures import run_error
from .plan import Plan
from .pool import Pool

if TYPE_CHECKING:
    from .frame import Frame, Site

__all__ = ["Free", "StepFailed", "gather"]


class StepFailed(Exception):
    """A step within a region failed: ``told`` is the error that the user gets."""

    def __init__(self, step: int, told: Exception, cause: Exception) -> None:
        super().__init__(step)
        self.step = step
        self.told = told
        self.cause = cause


class Free:
    """An instruction that drops what kernels allocated."""

    __slots__ = ("_lists",)

    def __init__(self, lists: Sequence[list[Site]]) -> None:
        self._lists = lists

    def __call__(self) -> None:
        for where in self._lists:
            for target, k in where:
                target[k] = None


class _Branch:
    """Instructions that one thread runs."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._steps: list[int] = []
        self._instructions: list[tuple[Callable[..., Any], Sequence[Any]]] = []

    def add(self, step: int, instruction: Any) -> None:
        """One more instruction, of that step of the plan."""
        self._steps.append(step)
        self._instructions.append(instruction)

    def run(self, failures: list[StepFailed]) -> None:
        """Run; the first error ends it and is noted."""
        ready = iter(self._instructions)
        try:
            for function, args in ready:
                function(*args)
        except Exception as error:
            number = len(self._instructions) - length_hint(ready) - 1
            step = self._steps[number]
            arrays = self._instructions[number][1]
            told = run_error(self._plan.steps[step], arrays, error)
            failures.append(StepFailed(step, told, error))


class _Together:
    """The instruction that a region is."""

    def __init__(self, pool: Pool, most: int, branches: Sequence[_Branch]) -> None:
        self._pool = pool
        self._most = most
        self._branches = branches

    def __call__(self) -> None:
        failures: list[StepFailed] = []
        self._pool.run([partial(b.run, failures) for b in self._branches], self._most)
        if failures:
            # The step that would have failed first.
            raise min(failures, key=lambda f: f.step)


def gather(frame: Frame) -> None:
    """Make one instruction of each region; what is freed in it is freed after it."""
    instructions, steps = frame.instructions, frame.steps
    pool, most = frame.pool, frame.state.settings.inter
    for region in reversed(frame.plan.regions):
        a = bisect_left(steps, region.first)
        b = bisect_left(steps, region.last + 1)
        branches = {
            step: k for k, branch in enumerate(region.branches) for step in branch
        }
        made = [_Branch(frame.plan) for _ in region.branches]
        frees = []
        for step, instruction in zip(steps[a:b], instructions[a:b]):
            if isinstance(instruction[0], Free):
                frees.append(instruction)
            else:
                made[branches[step]].add(step, instruction)
        instructions[a:b] = [(_Together(pool, most, made), []), *frees]
        steps[a:b] = [region.first] * (1 + len(frees))
