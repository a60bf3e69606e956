"""What goes wrong in a run, in words that lead to the user's line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import (
    DagradError,
    ExecutionError,
    FailedPreconditionError,
    ResourceExhaustedError,
)
from ..graphlib.shapes import compatible, text
from .plan import Plan, Step
from .variables import State

__all__ = ["require_variables", "run_error"]


def require_variables(plan: Plan, state: State) -> None:
    """Check that every variable that is read before it is written has a value.

    Raises:
        FailedPreconditionError: it names each that has none, and its reader.
    """
    missing = []
    for i, reader in plan.required.items():
        op = plan.variable_ops[i]
        array = state.cell(op).array
        if array is not None and not compatible(plan.slots[i].dims, array.shape):
            raise FailedPreconditionError(
                f'variable "{op.name}" ({op.defined_at()}) was given the shape '
                f"{text(array.shape)}, but the graph says {text(plan.slots[i].dims)}: "
                "create it with validate_shape=False to let its shape change",
                op,
            )
        if array is None:
            where = "fetched"
            if reader is not None:
                where = f"read by {reader.describe()}, {reader.defined_at()}"
            missing.append(f'variable "{op.name}" ({op.defined_at()}), {where}')
    for i in plan.updated - plan.assigned - set(plan.required):
        op = plan.variable_ops[i]
        if state.cell(op).array is None:
            missing.append(f'variable "{op.name}" ({op.defined_at()}), updated')
    if missing:
        raise FailedPreconditionError(
            "used before it was initialised: "
            + "; ".join(missing)
            + ". Run global_variables_initializer() first, or restore the variables."
        )


def run_error(step: Step, arrays: Sequence[Any], error: Exception) -> Exception:
    """The error of a step, with its operation, shapes and the user's lines."""
    if isinstance(error, DagradError) and "group" in step.attrs and error.op:
        return error  # a member of a fused group has explained itself
    if isinstance(error, DagradError) and step.opdef.control is not None and error.op:
        # An operation of a body has explained itself.
        where = f"  in {step.op.describe()}, {step.op.defined_at()}"
        return type(error)(f"{error}\n{where}", error.op)
    shapes = ", ".join(
        f"{a.dtype}{a.shape}" for a in arrays if isinstance(a, np.ndarray)
    )
    message = step.op.explain(f"{error} (arrays in this run: {shapes})")
    if isinstance(error, DagradError):
        return type(error)(message, step.op)
    if isinstance(error, MemoryError):
        return ResourceExhaustedError(message, step.op)
    return ExecutionError(message, step.op)
