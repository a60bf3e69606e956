"""The reference executor: a plan step by step, every kernel allocating.

It shares no memory decisions with the fast executor (no arena, no ``out=``, no
in-place), so tests hold the two equal; it also measures: time and bytes per
step, and what is alive at the peak.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .failures import require_variables, run_error
from .leaving import arrived, leave
from .pieces import product_pieces
from .plan import CONST, VARIABLE, VIEW, Plan, Step
from .report import Event, RunReport, StepReport
from .variables import State

__all__ = ["interpret"]


def interpret(
    plan: Plan, state: State, feeds: Sequence[Any], report: RunReport | None = None
) -> list[Any]:
    """Run ``plan`` once; returns copies of the fetched values.

    Args:
        plan: what to run.
        state: the session's variables and random streams.
        feeds: arrays, in the order of ``plan.feeds``.
        report: filled with measurements where given.
    """
    values: list[Any] = [None] * len(plan.slots)
    for i, array in zip(plan.feeds, feeds):
        values[i] = array
    for i, slot in enumerate(plan.slots):
        if slot.kind == CONST:
            values[i] = slot.value
    for i, op in plan.variable_ops.items():
        values[i] = state.cell(op).array
    if report is not None:
        _note_nonfinite(plan, report, range(len(values)), values)
    dying = _last_uses(plan)
    alive: dict[int, int] = {}
    births: list[list[tuple[int, int]]] = []  # (slot, bytes) made at each step
    live = 0
    thread = threading.current_thread().name
    started = time.perf_counter()
    for number, step in enumerate(plan.steps):
        begin = time.perf_counter()
        _run_step(plan, state, step, values)
        end = time.perf_counter()
        if report is not None:
            born = [
                (s, values[s].nbytes)
                for s in step.outputs
                if _is_made(plan, step, s) and isinstance(values[s], np.ndarray)
            ]
            births.append(born)
            alive.update(born)
            made = sum(n for _, n in born)
            live += made
            _note_nonfinite(plan, report, step.outputs, values)
            report.steps.append(
                StepReport(
                    name=step.name,
                    type=step.what,
                    source=str(step.source or ""),
                    start=begin - started,
                    seconds=end - begin,
                    output_bytes=made,
                    live_bytes=live,
                    shapes=tuple(
                        str(getattr(values[s], "shape", "")) for s in step.outputs
                    ),
                    outputs=tuple(born),
                )
            )
            report.events.append(
                Event(
                    number, step.name, step.what, thread, begin - started, end - begin
                )
            )
        for s in dying[number]:
            values[s] = None
            live -= alive.pop(s, 0)
    if report is not None:
        report.seconds = time.perf_counter() - started
        _note_peak(plan, report, births, dying)
    return [leave(values[s]) for s in plan.fetches]


def _is_made(plan: Plan, step: Step, slot: int) -> bool:
    """Whether a step makes new memory for a slot here: also for a part of a join, which
    is a view in the plan only."""
    slots = plan.slots
    return slots[slot].owner == slot or (
        step.mode == "out" and slots[slot].kind == VIEW
    )


def _note_nonfinite(
    plan: Plan, report: RunReport, slots: Iterable[int], values: Sequence[Any]
) -> None:
    """Count the numbers that are none, tensor by tensor."""
    if report.nonfinite is None:
        report.nonfinite = {}
    for s in slots:
        value = values[s]
        if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
            count = value.size - int(np.count_nonzero(np.isfinite(value)))
            if count:
                report.nonfinite[plan.slots[s].name] = count


def _note_peak(
    plan: Plan,
    report: RunReport,
    births: list[list[tuple[int, int]]],
    dying: list[list[int]],
) -> None:
    """The most bytes alive at once, and what was alive then."""
    if not report.steps:
        return
    report.peak_bytes = max(s.live_bytes for s in report.steps)
    at = next(
        i for i, s in enumerate(report.steps) if s.live_bytes == report.peak_bytes
    )
    alive: dict[int, int] = {}
    for step in range(at + 1):
        alive.update(births[step])
        if step < at:
            for s in dying[step]:
                alive.pop(s, None)
    report.peak_set = {
        plan.slots[s].name: (plan.slots[s].spec, n) for s, n in alive.items()
    }


def _run_step(plan: Plan, state: State, step: Step, values: list[Any]) -> None:
    opdef = step.opdef
    kernel = opdef.kernel
    if kernel is None or step.mode == "none":
        return
    arrays = [values[s] for s in step.inputs]
    if opdef.effect in ("assign", "probe"):
        root = plan.slots[step.inputs[0]].owner
        arrays[0] = state.cell(plan.variable_ops[root])
    with np.errstate(all="ignore"):
        try:
            if isinstance(kernel, str):
                result = getattr(np, kernel)(*arrays)
            elif opdef.control is not None:
                result = kernel(np, _body_runner(state), *arrays, **step.attrs)
            elif opdef.effect == "random":
                result = kernel(np, state.stream(step.op), *arrays, **step.attrs)
            elif pieces := state.settings.intra and product_pieces(step, plan.slots):
                slot = plan.slots[step.outputs[0]]
                result = np.empty(slot.dims, slot.dtype.dtype)
                for piece in pieces:
                    piece(*arrays, result)
            else:
                result = kernel(np, *arrays, **step.attrs)
        except Exception as error:
            raise run_error(step, arrays, error) from error
    for i in step.attrs.get("updates", ()) if opdef.control is not None else ():
        owner = plan.slots[step.inputs[i]].owner
        values[owner] = state.cell(plan.variable_ops[owner]).array
    if not step.outputs:
        return
    results = result if isinstance(result, tuple) else (result,)
    for s, r in zip(step.outputs, results):
        values[s] = arrived(r)
        if opdef.effect == "assign":
            values[plan.slots[s].owner] = values[s]


def _body_runner(state: State) -> Any:
    """Runs a body by this interpreter."""
    from .control import bodies_of

    bodies = bodies_of(state)

    def run(body: Any, arrays: Sequence[Any]) -> list[Any]:
        plan, feeds = bodies.plan_for(body, arrays)
        require_variables(plan, state)
        return [arrived(r) for r in interpret(plan, state, feeds)]

    return run


def _last_uses(plan: Plan) -> list[list[int]]:
    """Per step, the slots whose value nothing reads any more."""
    last: dict[int, int] = {}
    for number, step in enumerate(plan.steps):
        for s in (*step.inputs, *step.outputs):
            last[s] = number
            last[plan.slots[s].owner] = number
    keep = set(plan.fetches) | {plan.slots[s].owner for s in plan.fetches}
    dying: list[list[int]] = [[] for _ in plan.steps]
    for s, number in last.items():
        if s not in keep and plan.slots[s].kind not in (CONST, VARIABLE):
            dying[number].append(s)
    return dying
