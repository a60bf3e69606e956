"""What a program asks to be drawn, as operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..graphlib.errors import GraphError
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor
from ..graphlib.traversal import ancestors
from ..runtime.report import RunMetadata

__all__ = ["elements", "flatten", "operation", "report_of", "select"]


def select(target: Any) -> tuple[Graph, list[Operation], set[Operation]]:
    """The graph, the operations to draw in order, and those asked for by name.

    Raises:
        GraphError: no tensors, or tensors of several graphs.
    """
    if isinstance(target, Graph):
        return target, list(target.operations), set()
    flat = list(flatten(target))
    if not flat:
        raise GraphError("nothing to draw: give a graph, tensors or operations")
    graph = flat[0].graph
    asked = {operation(graph, e) for e in flat}
    return graph, ancestors(asked), asked


def flatten(target: Any) -> Iterable[Any]:
    stack = [target]
    while stack:
        value = stack.pop()
        if isinstance(value, (list, tuple)):
            stack.extend(reversed(value))
        elif value is not None:
            if not hasattr(value, "graph"):
                raise GraphError(
                    f"{value!r} cannot be drawn: give a graph, tensors, operations "
                    "or variables"
                )
            yield value


def operation(graph: Graph, element: Any) -> Operation:
    # An element of a body is none of the graph around it.
    around = getattr(element, "graph", graph)
    if isinstance(around, Graph) and around.is_inside(graph):
        graph = around
    found = graph.as_graph_element(element)
    return found.op if isinstance(found, Tensor) else found


def elements(graph: Graph, given: Any) -> list[Operation]:
    """One element or its name, or several, as operations (None: none)."""
    if given is None:
        return []
    many = given if isinstance(given, (list, tuple)) else [given]
    return [operation(graph, one) for one in many]


def report_of(given: Any) -> Any:
    """The report of a ``RunMetadata``; what else is given, as it is.

    Raises:
        GraphError: nothing was measured.
    """
    if not isinstance(given, RunMetadata):
        return given
    if given.report is None:
        raise GraphError(
            "nothing was measured: pass this to session.run with "
            "options=RunOptions(trace_level=RunOptions.FULL_TRACE)"
        )
    return given.report
