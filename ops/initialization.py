"""Initialising variables in the order in which their initial values need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..graphlib.dtypes import string
from ..graphlib.graph import get_default_graph
from ..graphlib.keys import GraphKeys
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor
from ._build import create
from .assignment import INITIALIZED_VALUE, assign, is_variable_initialized
from .grouping import group, no_op
from .state import Variable

__all__ = [
    "all_variables",
    "global_variables",
    "global_variables_initializer",
    "initialize_all_variables",
    "initialize_local_variables",
    "initialize_variables",
    "local_variables",
    "local_variables_initializer",
    "model_variables",
    "moving_average_variables",
    "report_uninitialized_variables",
    "trainable_variables",
    "variables_initializer",
]

# Copying these would write, print or look twice.
_NOT_COPIED = ("assign", "update", "io", "probe", "variable")


def _needed(t: Tensor, replaced: Mapping[Tensor, Tensor]) -> list[Operation]:
    """What ``t`` is computed from, in order, up to what is replaced anyway."""
    if not t.op.inputs:
        return [t.op]
    seen: set[Operation] = set()
    stack = [t.op]
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        seen.add(op)
        if op.opdef is INITIALIZED_VALUE and op.inputs[0] in replaced:
            continue
        stack.extend(i.op for i in op.inputs if i.op not in seen)
    return sorted(seen, key=lambda op: op.id)


def _substitute(t: Tensor, replaced: Mapping[Tensor, Tensor]) -> Tensor:
    """``t`` computed with other tensors in place of variables.

    Args:
        t: the tensor; what depends on no replaced variable is shared.
        replaced: what to read in place of each ``v:0``.
    """
    graph = t.graph
    new = dict(replaced)
    for op in _needed(t, replaced):
        if op.opdef is INITIALIZED_VALUE and op.inputs[0] in replaced:
            new[op.outputs[0]] = replaced[op.inputs[0]]
            continue
        if op.opdef.effect in _NOT_COPIED or not any(i in new for i in op.inputs):
            continue
        inputs = [new.get(i, i) for i in op.inputs]
        with graph.control_dependencies(op.control_inputs):
            copy = graph.create_op(op.opdef, inputs, op._attrs, f"{op.name}_init")
        new.update(zip(op.outputs, copy.outputs))
    return new.get(t, t)


def guarded(initial: Tensor) -> Tensor:
    """``initial`` with initialised values in place of reads of other variables.

    So one variable can be initialised from another that has no value yet.
    """
    if not initial.op.inputs:
        return initial
    graph = initial.graph
    safe: dict[Tensor, Tensor] = {}
    seen: set[Operation] = set()
    stack = [initial.op]
    while stack:
        op = stack.pop()
        if op in seen or op.opdef.effect == "probe":
            continue
        seen.add(op)
        if op.opdef.effect == "variable" and op in graph._variables:
            safe[op.outputs[0]] = graph._variables[op].initialized_value()
        stack.extend(i.op for i in op.inputs if i.op not in seen)
    return _substitute(initial, safe) if safe else initial


def variables_initializer(var_list: Any, name: str | None = "init") -> Operation:
    """An operation that gives the variables their initial values.

    A variable whose initial value depends on another one of ``var_list`` gets
    it from the value written in the same run, whatever the order of the list.
    """
    variables = list(dict.fromkeys(var_list or ()))
    if not variables:
        return no_op(name or "init")
    graph = variables[0].graph
    written: dict[Tensor, Tensor] = {}
    writes: list[Any] = []
    # An initial value can only read variables that are older, so the order of
    # creation is an order of initialisation.
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None):
        for v in sorted(variables, key=_age):
            if not isinstance(v, Variable):
                writes.append(v.initializer)
                continue
            value = _substitute(v._guarded_initial, written)
            if value is v._guarded_initial:
                write = v.initializer.outputs[0]
            else:
                validate = v.initializer.attrs["validate_shape"]
                write = assign(v, value, validate, name=f"{v.op.name}/Assign")
            written[v._variable] = write
            writes.append(write)
    with graph.as_default():
        return group(*writes, name=name or "init")


def _age(v: Any) -> int:
    return v.op.id if isinstance(v, Variable) else -1


def global_variables(scope: str | None = None) -> list[Any]:
    """The variables of the default graph (whose name matches ``scope``)."""
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def all_variables() -> list[Any]:
    """:func:`global_variables` (TF1's older name)."""
    return global_variables()


def local_variables(scope: str | None = None) -> list[Any]:
    """The variables in the collection LOCAL_VARIABLES."""
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """The variables in the collection MODEL_VARIABLES."""
    return get_default_graph().get_collection(GraphKeys.MODEL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """The variables that optimizers change by default."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Any]:
    """The variables that have a moving average."""
    return get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def global_variables_initializer() -> Operation:
    """An operation that initialises all global variables."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """An operation that initialises all local variables."""
    return variables_initializer(local_variables())


def initialize_all_variables() -> Operation:
    """:func:`global_variables_initializer` (TF1's older name)."""
    return global_variables_initializer()


def initialize_local_variables() -> Operation:
    """:func:`local_variables_initializer` (TF1's older name)."""
    return local_variables_initializer()


def initialize_variables(var_list: Any, name: str | None = "init") -> Operation:
    """:func:`variables_initializer` (TF1's older name)."""
    return variables_initializer(var_list, name)


def _report_kernel(
    xp: Any, *flags: Any, names: tuple[str, ...], out: Any = None
) -> Any:
    missing = [n.encode() for n, flag in zip(names, flags) if not flag]
    result = np.empty(len(missing), dtype=object)
    result[:] = missing
    return result


REPORT = OpDef(
    "ReportUninitialized",
    infer=lambda inputs, attrs: ((string, (None,)),),
    kernel=_report_kernel,
    inputs=("*initialized",),
    doc="the names whose flag is false",
)


def report_uninitialized_variables(
    var_list: Iterable[Any] | None = None,
    name: str | None = "report_uninitialized_variables",
) -> Tensor:
    """The names of the variables without a value: a string vector.

    Args:
        var_list: variables (default: all global and local ones).
        name: the name of the operation.
    """
    if var_list is None:
        var_list = global_variables() + local_variables()
    variables = list(var_list)
    graph = variables[0].graph if variables else get_default_graph()
    with graph.as_default(), graph.control_dependencies(None):
        flags = [is_variable_initialized(v) for v in variables]
        names = tuple(v.op.name for v in variables)
        return create(REPORT, flags, {"names": names}, name)
