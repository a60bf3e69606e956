"""TensorFlow's graphs (``tf.graph_util``): importing and cutting a ``GraphDef``.

The messages are those of the package tensorboard: ``pip install
"dagrad[tensorboard]"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .graphlib.errors import DTypeError, MissingNameError
from .graphlib.operation import Operation
from .graphlib.tensor import Tensor

__all__ = ["extract_sub_graph", "import_graph_def"]


def import_graph_def(
    graph_def: Any,
    input_map: Mapping[str, Any] | None = None,
    return_elements: Sequence[str] | None = None,
    name: str | None = None,
    op_dict: Any = None,
    producer_op_list: Any = None,
) -> list[Tensor | Operation] | None:
    """Add the nodes of a TensorFlow graph, such as a frozen network, to the graph.

    Args:
        graph_def: a ``GraphDef``, dagrad's or TensorFlow's own.
        input_map: input names of the file ("x:0", or "^x" for a control input) and
            the tensors to read instead.
        return_elements: names in the file of operations ("x") and tensors ("x:0").
        name: the scope for the operations (default "import"; "" for none).
        op_dict, producer_op_list: accepted for TF1 programs.

    Returns:
        The operations and tensors of ``return_elements``, or None.

    Every node becomes the operation of its name; where dagrad needs several, the
    others are in a scope of that name.  Numbers are TensorFlow's but for random draws.

    Raises:
        GraphError: the file is not well formed (names, inputs, cycles), holds op types
            that dagrad does not have, or nodes that it cannot build: nothing is added
            where that shows before the first operation is made.
        DTypeError: ``graph_def`` is none, or a tensor is mapped to another dtype.

    Example:
        >>> import dagrad as tf
        >>> graph_def = tf.GraphDef()
        >>> _ = graph_def.node.add(name="x", op="Placeholder", attr=dict(
        ...     dtype=tf.AttrValue(type=1)))
        >>> _ = graph_def.node.add(name="y", op="Square", input=["x"])
        >>> with tf.Graph().as_default(), tf.Session() as session:
        ...     x, y = tf.import_graph_def(graph_def, return_elements=["x:0", "y:0"])
        ...     print(y.name, session.run(y, {x: 3.0}))
        import/y:0 9.0
    """
    from ._graphdef.reading import import_graph_def as imported

    return imported(graph_def, input_map, return_elements, name)


def extract_sub_graph(graph_def: Any, dest_nodes: Sequence[str]) -> Any:
    """A GraphDef with the nodes that ``dest_nodes`` need, and those themselves.

    Raises:
        DTypeError: ``graph_def`` is none, or ``dest_nodes`` is one name.
        MissingNameError: a node that is not there.
    """
    from ._graphdef.messages import is_graph_def
    from ._graphdef.nodes import input_of

    if not is_graph_def(graph_def):
        raise DTypeError(f"extract_sub_graph: needs a GraphDef, not {graph_def!r}")
    if isinstance(dest_nodes, str):
        raise DTypeError("extract_sub_graph: dest_nodes is a list of names")
    reads = {n.name: [input_of(text).node for text in n.input] for n in graph_def.node}
    kept: set[str] = set()
    pending = list(dest_nodes)
    while pending:
        name = pending.pop()
        if name in kept:
            continue
        if name not in reads:
            raise MissingNameError(f"the graph_def has no node {name!r}")
        kept.add(name)
        pending += reads[name]
    made = type(graph_def)()
    made.versions.CopyFrom(graph_def.versions)
    made.library.CopyFrom(graph_def.library)
    made.node.extend(n for n in graph_def.node if n.name in kept)
    return made
