"""Operations that only wait for others."""

from __future__ import annotations

from typing import Any

from ..graphlib.graph import get_default_graph
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ._build import create_op, graph_of, scope
from .core import identity

__all__ = ["group", "no_op", "tuple_"]

# -- operations without a value ----------------------------------------------


NO_OP = OpDef(
    "NoOp",
    infer=lambda inputs, attrs: (),
    kernel=lambda xp, out=None: None,
    flops=lambda i, o, a: 0,
    doc="nothing; waits for its control inputs",
)


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing but wait for its control dependencies."""
    return create_op(NO_OP, (), None, name or "NoOp")


def group(*inputs: Any, **kwargs: Any) -> Operation:
    """An operation that is done when all ``inputs`` are.

    Args:
        inputs: operations, tensors, variables, or lists of them; None is left
            out.
        name: the name of the operation.
    """
    name = kwargs.pop("name", None)
    if kwargs:
        raise TypeError(f"group() got unexpected arguments {sorted(kwargs)}")
    flat: list[Any] = []
    stack = list(reversed(inputs))
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple)):
            stack.extend(reversed(item))
        elif item is not None:
            flat.append(item)
    elements = [getattr(i, "graph", None) for i in flat]
    graph = next((g for g in elements if g is not None), get_default_graph())
    with graph.as_default(), graph.control_dependencies(flat):
        return create_op(NO_OP, (), None, name or "group_deps")


def tuple_(
    tensors: Any, name: str | None = None, control_inputs: Any = None
) -> list[Any]:
    """The tensors, each available only after all of them (and ``control_inputs``)."""
    present = [t for t in tensors if t is not None]
    with scope(name, "tuple", *present):
        gate = group(*present, *(control_inputs or ()))
        with graph_of(*present).control_dependencies([gate]):
            return [None if t is None else identity(t) for t in tensors]


# What graphlib calls by name; the other families add theirs in ops/__init__.py.
