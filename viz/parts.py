"""Which part of the graph an operation belongs to: forward, backward, update, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graphlib.graph import Graph
from ..graphlib.operation import Operation
from ..graphlib.subgraph import Subgraph

__all__ = ["classify", "dependents_of", "gradient_scopes", "home_scope", "scope_in"]
__all__ += ["is_frozen_read", "top_of", "unread_constants"]


def dependents_of(ops: Sequence[Operation]) -> dict[Operation, list[Operation]]:
    found: dict[Operation, list[Operation]] = {op: [] for op in ops}
    for op in ops:
        for t in op.inputs:
            if t.op in found:
                found[t.op].append(op)
        for c in op.control_inputs:
            if c in found:
                found[c].append(op)
    return found


def classify(graph: Graph, ops: Sequence[Operation]) -> dict[Operation, str]:
    """The part of the graph that each operation belongs to.

    ``input``, ``variable``, ``constant`` and ``opaque`` follow from the op.
    ``backward`` is what ``gradients`` made; ``initializer`` is what only initialisers
    need, with them; ``update`` changes variables, or lies between the gradients and
    such changes; the rest is ``forward``.
    """
    dependents = dependents_of(ops)
    starts = {v.initializer for v in graph._variables.values()}
    scopes = gradient_scopes(ops)
    part: dict[Operation, str] = {}
    after_gradients: set[Operation] = set()
    for op in ops:
        effect = op.opdef.effect
        needs = [t.op for t in op.inputs] + list(op.control_inputs)
        if effect in ("input", "variable", "constant", "opaque"):
            part[op] = effect
        elif op in starts or (
            not op.outputs
            and op.control_inputs
            and all(part.get(c) == "initializer" for c in op.control_inputs)
        ):
            part[op] = "initializer"
        elif op.forward_op is not None or scope_in(op.name, scopes):
            part[op] = "backward"
            after_gradients.add(op)
        elif effect in ("assign", "update"):
            part[op] = "update"
            after_gradients.add(op)
        elif not op.outputs and any(part.get(n) == "update" for n in needs):
            part[op] = "update"
        else:
            part[op] = "forward"
            if any(n in after_gradients for n in needs):
                after_gradients.add(op)
    for op in reversed(ops):
        if part[op] not in ("forward", "constant"):
            continue
        readers = dependents[op]
        if readers and all(part[r] == "initializer" for r in readers):
            part[op] = "initializer"
        elif (
            part[op] == "forward"
            and op in after_gradients
            and readers
            and all(part[r] == "update" for r in readers)
        ):
            part[op] = "update"
    return part


def unread_constants(
    ops: Sequence[Operation], part: Mapping[Operation, str]
) -> set[Operation]:
    """Constants that nothing reads or waits for, beside operations that do something.

    Graphs of TensorFlow hold axes and depths as such, which dagrad has as attributes.
    """
    idle = {op for op in ops if part[op] == "constant"}
    if len(idle) == len(ops):
        return set()
    for op in ops:
        idle.difference_update(op.control_inputs)
        for t in op.inputs:
            idle.discard(t.op)
    return idle


def is_frozen_read(op: Operation) -> bool:
    """Whether ``op`` is the plain read of what was a variable and is frozen now.

    By the names that TensorFlow gives them: the variable's and ``/read``, or, of a
    resource variable, the read's and ``/resource``.
    """
    if op.type != "Identity" or op.control_inputs:
        return False
    source = op.inputs[0].op
    names = (f"{source.name}/read" == op.name, f"{op.name}/resource" == source.name)
    return source.opdef.effect == "constant" and any(names)


def gradient_scopes(ops: Sequence[Operation]) -> set[str]:
    """The scopes of calls of ``gradients``, read off the nodes that they made."""
    found: set[str] = set()
    for op in ops:
        if op.forward_op is not None:
            scope, match, _ = op.name.partition(f"{op.forward_op.name}_grad/")
            if match and scope.endswith("/"):
                found.add(scope)
    return found


def scope_in(name: str, scopes: set[str]) -> str:
    """The shortest of ``scopes`` that ``name`` lies in, or "" for none."""
    if not scopes:
        return ""
    end = name.find("/")
    while end >= 0:
        if name[: end + 1] in scopes:
            return name[: end + 1]
        end = name.find("/", end + 1)
    return ""


def home_scope(op: Operation, scopes: set[str]) -> str:
    """The scope where ``op`` stands: a backward node goes with its forward op's.

    ``scopes`` are those of calls of ``gradients`` (:func:`gradient_scopes`).
    """
    forward = op.forward_op
    if forward is not None:
        top = top_of(forward.graph)
        name = forward.name
        inner = name[len(top) :] if name.startswith(top) else name
        for prefix in (scope_in(op.name, scopes), top_of(op.graph)):
            for known in (name, inner):
                if op.name.startswith(f"{prefix}{known}_grad/"):
                    return f"{prefix}{known.rpartition('/')[0]}".rstrip("/")
    return op.scope


def top_of(graph: Graph) -> str:
    """What all names of the operations of a body begin with."""
    return graph.top_scope if isinstance(graph, Subgraph) else ""
