"""Variables in saved graphs: what a file keeps of them, and making them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..graphlib.errors import GraphError
from ..graphlib.operation import Operation
from .state import Variable
from .variable_scope import _store

__all__ = ["OPERATORS", "variable_from_op", "variable_record"]


def variable_record(variable: Variable) -> dict[str, Any]:
    """What makes ``variable`` again, beside its operation.

    A constraint is a Python function, which a file cannot hold.

    Raises:
        GraphError: the variable has a constraint.
    """
    if variable.constraint is not None:
        raise GraphError(
            f"{variable!r} has a constraint, a Python function that a file cannot hold"
        )
    shared = [
        name
        for name, found in _store(variable.graph).variables.items()
        if found is variable
    ]
    return {
        "trainable": variable.trainable,
        "initial_value": variable._initial_value,
        "guarded_initial": variable._guarded_initial,
        "initializer": variable._initializer,
        "snapshot": variable._snapshot,
        "shared_as": tuple(shared),
    }


def variable_from_op(op: Operation, record: Mapping[str, Any]) -> Variable:
    """The variable of operation ``op``; adds nothing to the graph."""
    variable = Variable.__new__(Variable)
    variable.constraint = None
    variable.trainable = record["trainable"]
    variable._controlled = None
    variable._save_slice_info = None
    variable._op = op
    variable._variable = op.outputs[0]
    variable._initial_value = record["initial_value"]
    variable._guarded_initial = record["guarded_initial"]
    variable._initializer = record["initializer"]
    variable._snapshot = record["snapshot"]
    for name in record["shared_as"]:
        _store(op.graph).variables[name] = variable
    return variable


OPERATORS: dict[str, Callable[..., Any]] = {
    "variable_from_op": variable_from_op,
    "variable_record": variable_record,
}
