"""Control steps of a frame, ready to run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .branch import Branch
from .checkpointed import CheckpointedGradient
from .control import Loop, bodies_of
from .frame import Frame
from .plan import Plan, Step
from .segment_plans import arena_readers, spendable

__all__ = ["bind_control"]


def bind_control(frame: Frame, step: Step) -> Callable[..., Any]:
    """What runs the bodies of a loop or branch step of ``frame``."""
    bodies = bodies_of(frame.state)
    run: Callable[..., Any]
    if step.opdef.control == "loop":
        run = Loop(bodies, step.attrs, frame.scratch(step).get("work", ()))
    elif "schedule" in step.attrs:
        states = [step.inputs[i] for i in step.attrs["roles"]["states"]]
        exclusive = set(states) <= set(step.frees)
        scratch = frame.scratch(step).get("work", ())
        spent = spendable(step.attrs, step.inputs, _readers(frame.plan))
        run = CheckpointedGradient(bodies, step.attrs, scratch, exclusive, spent)
    else:
        run = Branch(bodies, step.attrs, step.opdef.inputs[0] == "index")
    slots = frame.plan.slots
    owners = [slots[step.inputs[i]].owner for i in step.attrs.get("updates", ())]
    if not owners:
        return run
    # The bodies may give a variable new memory: later reads must see it.
    fresh = [
        (frame.state.cell(frame.plan.variable_ops[i]), frame.sites_at(i))
        for i in owners
    ]

    def run_and_look(*arrays: Any, **keywords: Any) -> Any:
        results = run(*arrays, **keywords)
        for cell, sites in fresh:
            for target, k in sites:
                target[k] = cell.array
        return results

    return run_and_look


def _readers(plan: Plan) -> Callable[[int], int]:
    kind, owner = [s.kind for s in plan.slots], [s.owner for s in plan.slots]
    return arena_readers(kind, owner, [*[s.inputs for s in plan.steps], plan.fetches])
