"""The global step: a variable that counts training steps."""

from __future__ import annotations

from typing import Any

from ..graphlib.dtypes import int64
from ..graphlib.errors import DTypeError, GraphError
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.keys import GraphKeys
from ..ops.state import Variable

__all__ = [
    "assert_global_step",
    "create_global_step",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
]


def create_global_step(graph: Graph | None = None) -> Variable:
    """A new int64 variable ``global_step``, in the collection GLOBAL_STEP.

    Args:
        graph: where (default: the default graph).

    Raises:
        GraphError: the graph has one already.
    """
    graph = graph or get_default_graph()
    if get_global_step(graph) is not None:
        raise GraphError("the graph has a global step already: use get_global_step()")
    with (
        graph.as_default(),
        graph.name_scope(None),
        graph.control_dependencies(None),
    ):
        return Variable(
            0,
            trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
            name="global_step",
            dtype=int64,
        )


def get_global_step(graph: Graph | None = None) -> Any:
    """The global step, or None where the graph has none.

    It is what the collection GLOBAL_STEP holds, else the variable that is called
    ``global_step``.

    Raises:
        GraphError: the collection holds several.
        DTypeError: it is no integer scalar.
    """
    graph = graph or get_default_graph()
    found = list(dict.fromkeys(graph.get_collection(GraphKeys.GLOBAL_STEP)))
    if len(found) > 1:
        raise GraphError(f"the graph has {len(found)} global steps: {found!r}")
    if found:
        step = found[0]
    else:
        named = graph._by_name.get("global_step")
        if named is None or not named.outputs:
            return None
        step = graph._variables.get(named, named.outputs[0])
    assert_global_step(step)
    return step


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """The global step, made where the graph has none."""
    graph = graph or get_default_graph()
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the global step in a session, as a Python int.

    Args:
        sess: a session.
        global_step_tensor: the global step of its graph.
    """
    return int(sess.run(global_step_tensor))


def assert_global_step(global_step_tensor: Any) -> None:
    """Check that ``global_step_tensor`` can count steps.

    Raises:
        DTypeError: it is neither a variable nor a tensor, or no integer scalar.
    """
    t = global_step_tensor
    dtype = getattr(t, "dtype", None)
    if not getattr(dtype, "is_integer", False):
        raise DTypeError(f"a global step is an integer variable, not {t!r}")
    dims = t._as_graph_element().dims if isinstance(t, Variable) else t.dims
    if dims:
        raise DTypeError(f"a global step is a scalar, not {t!r}")
