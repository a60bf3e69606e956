"""A plan or a run as columns for the explorer: steps, live bytes, lifetimes, times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...graphlib.operation import Operation
from ...graphlib.tensor import Tensor
from ..theme import clean, spec_text

if TYPE_CHECKING:
    from ...runtime.plan import Plan, Step
    from ...runtime.report import RunReport

__all__ = ["known_shapes", "plan_of", "run_columns", "step_times"]


def plan_of(report: Any) -> tuple[Plan | None, RunReport | None]:
    """The plan and the report in what a program has at hand.

    ``report`` may be a plan, a run report, a ``RunMetadata``, or None.
    """
    from ...graphlib.errors import GraphError
    from ...runtime.plan import Plan
    from ...runtime.report import RunMetadata, RunReport

    if isinstance(report, RunMetadata):
        report = report.report
    if report is None:
        return None, None
    if isinstance(report, Plan):
        return report, None
    if isinstance(report, RunReport):
        return report.plan, report
    raise GraphError(
        f"report must be a plan, a run report or run metadata, not {report!r}"
    )


def known_shapes(plan: Plan | None) -> dict[Tensor, Any]:
    """The slots of the tensors of a plan: their shapes are those of the run."""
    if plan is None:
        return {}
    return {s.tensor: s for s in plan.slots if s.tensor is not None}


def members(step: Step) -> Iterator[Operation]:
    """The operations that a step computes: several for a fused one."""
    group = step.attrs.get("group")
    if group is None:
        yield step.op
    else:
        for member in group.members:
            yield member.op


def step_times(
    plan: Plan | None, report: RunReport | None
) -> tuple[dict[Operation, int], dict[Operation, float]]:
    """For each operation its step, and its share of the step's measured seconds."""
    order: dict[Operation, int] = {}
    seconds: dict[Operation, float] = {}
    if plan is None:
        return order, seconds
    measured = report.steps if report is not None else []
    fits = len(measured) == len(plan.steps)
    for i, step in enumerate(plan.steps):
        ops = list(members(step))
        for op in ops:
            order[op] = i
            if fits:
                share = measured[i].seconds / len(ops)
                seconds[op] = seconds.get(op, 0.0) + share
    return order, seconds


def run_columns(
    plan: Plan | None, report: RunReport | None, box: Mapping[Operation, int]
) -> dict[str, Any] | None:
    """What the strip under the graph shows, None without a plan.

    ``bodies`` are the same for each body of which there is a plan before the run: what
    it is called, and ``within``, the box of what runs it.

    Args:
        plan, report: see :func:`plan_of`.
        box: the number of the box that shows an operation.
    """
    if plan is None or not plan.steps:
        return None
    measured = report.steps if report is not None else []
    fits = len(measured) == len(plan.steps)
    return {
        **_columns(plan, box),
        "measured": [s.live_bytes for s in measured] if fits else None,
        "seconds": [s.seconds for s in measured] if fits else None,
        "bodies": _bodies(plan, box),
    }


def _bodies(plan: Plan, box: Mapping[Operation, int]) -> list[dict[str, Any]]:
    """Columns of the plans of bodies, and of bodies in them."""
    found: list[dict[str, Any]] = []
    plans = [plan]
    seen = {id(plan)}
    for around in plans:
        for step in around.steps if around.bodies else ():
            for title, body in around.bodies_of(step):
                if id(body) in seen or not body.steps:
                    continue
                seen.add(id(body))
                plans.append(body)
                about = {
                    "title": f"{clean(step.name[:200])}: {clean(title[:200])}",
                    "within": box.get(step.op, -1),
                }
                found.append(about | _columns(body, box))
    return found


def _columns(plan: Plan, box: Mapping[Operation, int]) -> dict[str, Any]:
    """The steps of a plan, and when its tensors live."""
    from ...runtime.plan import ARENA, CALL, FETCH

    tensors = []
    for slot in plan.slots:
        if slot.kind not in (ARENA, CALL, FETCH) or not slot.nbytes:
            continue
        made = plan.steps[slot.first].op if slot.first >= 0 else None
        op = slot.tensor.op if slot.tensor is not None else made
        tensors.append(
            [
                -1 if op is None else box.get(op, -1),
                clean(slot.name[:400]) or "scratch memory",
                spec_text(slot.dtype.name, slot.dims),
                slot.nbytes,
                slot.first,
                slot.last,
            ]
        )
    return {
        "steps": [box.get(step.op, -1) for step in plan.steps],
        "names": [clean(step.name[:400]) for step in plan.steps],
        "live": list(plan.live_bytes),
        "tensors": tensors,
        "peak": plan.peak_step,
        "peakBytes": plan.peak_bytes,
        "order": plan.order,
    }
