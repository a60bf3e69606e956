"""Reading a ``GraphDef``: into the default graph, or to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..graphlib.errors import DTypeError, GraphError
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor, as_tensor
from .importer import Importer
from .messages import is_graph_def, parse
from .nodes import Input, input_of

__all__ = ["import_graph_def", "read_graph"]


def import_graph_def(
    graph_def: Any,
    input_map: Mapping[str, Any] | None,
    return_elements: Sequence[str] | None,
    name: str | None,
) -> list[Tensor | Operation] | None:
    """See :func:`dagrad.graph_util.import_graph_def`."""
    if not is_graph_def(graph_def):
        raise DTypeError(f"import_graph_def: needs a GraphDef, not {graph_def!r}")
    if isinstance(return_elements, str):
        raise DTypeError("import_graph_def: return_elements is a list of names")
    wanted = [(text, _wanted(text)) for text in return_elements or ()]
    graph = get_default_graph()
    with graph.name_scope("import" if name is None else name) as prefix:
        mapped = {
            input_of(key): _target(key, value, graph)
            for key, value in (input_map or {}).items()
        }
    importer = Importer(graph_def, graph, prefix, mapped, [i for _, i in wanted])
    read = {i for reads in importer.inputs.values() for i in reads}
    for i in mapped:
        if i not in read and i.node not in importer.nodes:
            raise GraphError(f"input_map: the graph_def has no {str(i)!r}")
    for text, i in wanted:
        if i.node not in importer.nodes:
            raise GraphError(f"return_elements: the graph_def has no {text!r}")
    importer.run()
    _check_dtypes(importer)
    if return_elements is None:
        return None
    return [
        importer.made[i.node] if i.output < 0 else importer.tensor(i) for _, i in wanted
    ]


def _wanted(text: str) -> Input:
    """A return element: a tensor's name, or an operation's (no output)."""
    if not isinstance(text, str):
        raise DTypeError(f"import_graph_def: return_elements are names, not {text!r}")
    return input_of(text) if ":" in text else Input(text, -1)


def _target(key: str, value: Any, graph: Graph) -> Tensor | Operation:
    """What stands for an input: a tensor, or an operation for a control input."""
    if input_of(key).output >= 0:
        if isinstance(value, Tensor):
            return value
        with graph.name_scope("_inputs"):
            return as_tensor(value)
    found = graph.as_graph_element(value)
    return found.op if isinstance(found, Tensor) else found


def _check_dtypes(importer: Importer) -> None:
    """Refuse what is mapped to an input of another dtype."""
    for i, given in importer.mapped.items():
        if not isinstance(given, Tensor) or i.node not in importer.made:
            continue
        outputs = importer.made[i.node].outputs
        own = outputs[i.output] if i.output < len(outputs) else given
        if own.dtype is not given.dtype:
            raise DTypeError(
                f"input_map: {str(i)!r} is {own.dtype.name}, and {given!r} is "
                f"{given.dtype.name}"
            )


def read_graph(path: Path) -> Graph:
    """The graph of a file, to be looked at: what dagrad does not have stands in it
    as operations that can only be drawn.

    Raises:
        GraphError: the file holds no GraphDef, or one that is not well formed.
        OSError: it cannot be read.
    """
    graph_def = parse(path)
    graph = Graph()
    try:
        Importer(graph_def, graph, "", {}, draw_only=True).run()
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from None
    for op in graph.operations:
        op._mark = None  # no line of a program made it
    return graph
