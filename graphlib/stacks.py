"""What is the default in this thread: the graph that builders add to, the session.

While the body of a loop or of a branch is built, it is the default graph: an
operation on tensors of a graph around it belongs to the body (see :func:`home`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .errors import GraphError
from .source import entry

if TYPE_CHECKING:
    from .graph import Graph
    from .tensor import Tensor

__all__ = ["default_session", "graph_stack", "home", "open_home", "session_stack"]


class _Stacks(threading.local):
    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.sessions: list[Any] = []


_stacks = _Stacks()


def graph_stack() -> list[Graph]:
    """The default graphs of this thread, innermost last."""
    return _stacks.graphs


def session_stack() -> list[Any]:
    """The default sessions of this thread, innermost last."""
    return _stacks.sessions


def home(graph: Graph) -> Graph:
    """Where an operation on tensors of ``graph`` belongs now.

    The body that is being built, where it lies in ``graph``; else ``graph``.
    """
    graphs = _stacks.graphs
    if graphs:
        top = graphs[-1]
        if top is not graph and top.outer is not None and top.is_inside(graph):
            return top
    return graph


def open_home(t: Tensor) -> Graph:
    """:func:`home` of a tensor's graph; raises GraphError for a complete body."""
    graph = home(t.graph)
    if graph.outer is not None and graph not in _stacks.graphs:
        raise GraphError(
            f"{entry()}{t.op.describe()} ({t.op.defined_at()}) is part of "
            f"{graph.describe()}: return it from there to differentiate it outside, or "
            "differentiate it inside"
        )
    return graph


def default_session(session: Any, who: str) -> Any:
    """``session``, or the default one; raises GraphError where there is none."""
    if session is not None:
        return session
    if not _stacks.sessions:
        raise GraphError(
            f"{who} needs a session: pass session=, or call it inside "
            "`with session.as_default():`"
        )
    return _stacks.sessions[-1]
