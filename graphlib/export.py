"""A graph outside this process: networkx, and files that hold no code.

A saved graph is two files: JSON with one operation a line, and beside it an
``.npz`` with the arrays, pooled by dtype.  Both are data only: loading looks op
types up among those declared, runs their inference again and compares, and
never unpickles, imports or evaluates anything that a file names.  The same graph
gives the same bytes.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .checks import validate
from .dtypes import DType, as_dtype
from .encoding import Writer
from .errors import DagradError, GraphError
from .graph import Graph
from .loading import FORMAT, VERSION, arrays_path, load
from .operation import Operation
from .operators import TABLE
from .subgraph import bodies_of, graphs_in

__all__ = ["load", "save", "to_networkx", "validate"]

# -- networkx ------------------------------------------------------------------


def to_networkx(graph: Graph) -> Any:
    """The graph as a ``networkx.MultiDiGraph``.

    Nodes are operation names, in order of creation, with ``id``, ``type``,
    ``attrs`` (name -> short text), ``source`` (``file:line``), ``device``,
    ``dtypes`` and ``shapes`` of the outputs, and ``forward_op`` (a name or None).
    A loop, branch or call also has ``bodies``, a graph like this one for each body
    (the same one where operations share it); an input of a body has ``stands_for``,
    the name of the tensor outside that it was captured from.
    Edges carry ``control``; data edges also ``dtype``, ``shape`` (a tuple, or
    None), ``output`` (of the tail) and ``index`` (among the head's inputs).
    """
    import networkx as nx

    made = {g: nx.MultiDiGraph(name=repr(g)) for g in graphs_in(graph)}
    for g, drawn in made.items():
        _add_operations(g, drawn)
        for op in g.operations:
            bodies = bodies_of(op)
            if bodies:
                drawn.nodes[op.name]["bodies"] = tuple(made[b.graph] for b in bodies)
            elif op.outputs:
                source = g.source_of(op.outputs[0])
                if source is not None:
                    drawn.nodes[op.name]["stands_for"] = source.name
    return made[graph]


def _add_operations(graph: Graph, drawn: Any) -> None:
    for op in graph.operations:
        drawn.add_node(
            op.name,
            id=op.id,
            type=op.type,
            attrs={k: summary(v) for k, v in sorted(op.attrs.items())},
            source=str(op.source or ""),
            device=op.device,
            dtypes=tuple(t.dtype.name for t in op.outputs),
            shapes=tuple(t.dims for t in op.outputs),
            forward_op=None if op.forward_op is None else op.forward_op.name,
        )
        for index, t in enumerate(op.inputs):
            drawn.add_edge(
                t.op.name,
                op.name,
                control=False,
                dtype=t.dtype.name,
                shape=t.dims,
                output=t.index,
                index=index,
            )
        for c in op.control_inputs:
            drawn.add_edge(c.name, op.name, control=True)


def summary(value: Any, limit: int = 60) -> str:
    """An attribute as short text: big arrays by dtype and shape."""
    if isinstance(value, np.ndarray):
        if value.size > 8:
            shape = ",".join(map(str, value.shape))
            return f"{as_dtype(value.dtype).name}[{shape}]"
        shown = str(value.tolist())
    elif isinstance(value, DType):
        shown = value.name
    else:
        shown = str(value)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


# -- saving --------------------------------------------------------------------


def save(graph: Graph, path: Any) -> None:
    """Write ``graph`` as JSON at ``path`` and its arrays as ``.npz`` beside it.

    ``model.json`` goes with ``model.npz``, any other ``name`` with ``name.npz``.
    Kept are operations with names, attributes, devices, control inputs, forward
    ops and the lines that made them, static shapes, bodies of loops, branches and
    functions, variables, collections, the
    names that are taken, the seed, and whether the graph is finalized.  Values of
    variables belong to a session and are saved by a ``Saver``.

    Raises:
        GraphError: an attribute is something that a file cannot hold, such as a
            Python function.
    """
    target = Path(path)
    beside = arrays_path(target)
    graphs = graphs_in(graph)
    writer = Writer(graphs)
    sources: dict[Any, int] = {}
    operations = [_operation(op, writer, sources) for op in graph.operations]
    try:
        bodies = [_body(body, writer, sources) for body in graphs[1:]]
    except TypeError as error:
        raise GraphError(f"a body cannot be saved: it names {error}") from None
    variables = [_variable(op, v, writer) for op, v in graph._variables.items()]
    rest = {
        "seed": writer.encode(graph.seed),
        "finalized": graph.finalized,
        "unfeedable": sorted(t.name for t in graph._unfeedable),
        "names": _names(graph),
        "variables": variables,
        "collections": _collections(graph, writer),
        "sources": [list(s) for s in sources],
    }
    arrays = writer.archive()
    import hashlib  # slow to load, and most programs save nothing

    head = {
        "format": FORMAT,
        # Who knows no bodies can read a graph without any.
        "version": VERSION if bodies else 1,
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
    }
    lines = ["{"]
    lines += [f"{_json(k)}: {_json(v)}," for k, v in (*head.items(), *rest.items())]
    if bodies:
        shown = []
        for about, inside in bodies:
            first = _json(about)[:-1] + ', "operations": ['
            shown.append(first + "\n" + ",\n".join(map(_json, inside)) + "\n]}")
        lines.append('"bodies": [\n' + ",\n".join(shown) + "\n],")
    lines.append('"operations": [')
    lines.append(",\n".join(map(_json, operations)))
    lines.append("]\n}\n")
    _replace(beside, arrays)
    _replace(target, "\n".join(lines).encode("ascii"))


def _names(graph: Graph) -> dict[str, int]:
    """The names that are taken, but for those that operations say."""
    names = {op.name.lower() for op in graph.operations}
    taken = {k: n for k, n in graph._names.items() if n != 1 or k not in names}
    return dict(sorted(taken.items()))


def _body(
    graph: Any, writer: Writer, sources: dict[Any, int]
) -> tuple[dict[str, Any], list[Any]]:
    """What a file says of a body beside its operations, and these.

    Written in the order of creation, so that a loaded graph gives the same bytes.
    """
    place, known = writer.place, writer.numbers
    captures = [
        [place(t), inner.name]
        for t, inner in graph._captures.items()
        if t.graph in known
    ]
    about = {
        "outer": known[graph.outer],
        "scope": graph.top_scope,
        "what": graph.what,
        "sites": graph.sites,
        "names": _names(graph),
        "unfeedable": sorted(t.name for t in graph._unfeedable),
        "captures": captures,
        "stands_for": [[i.name, place(t)] for i, t in graph._sources.items()],
        "waits_for": [place(op) for op in graph.outer_controls],
    }
    return about, [_operation(op, writer, sources) for op in graph.operations]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(", ", ": "), allow_nan=False)


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _operation(
    op: Operation, writer: Writer, sources: dict[Any, int]
) -> dict[str, Any]:
    record: dict[str, Any] = {"name": op.name, "type": op.type}
    if op.inputs:
        record["inputs"] = [t.name for t in op.inputs]
    if op.control_inputs:
        record["control"] = [c.name for c in op.control_inputs]
    if op.attrs:
        record["attrs"] = {
            key: _attr(op, key, value, writer) for key, value in op.attrs.items()
        }
    if op.outputs:
        record["outputs"] = [
            [t.dtype.name, None if t.dims is None else list(t.dims)] for t in op.outputs
        ]
    if op.device:
        record["device"] = op.device
    if op.forward_op is not None:
        forward = op.forward_op
        inside = forward.graph is op.graph
        record["forward"] = forward.name if inside else [writer.place(forward)]
    source = op.source
    if source is not None:
        record["source"] = sources.setdefault(tuple(source), len(sources))
    return record


def _attr(op: Operation, key: str, value: Any, writer: Writer) -> Any:
    try:
        return writer.encode(value)
    except (TypeError, DagradError) as error:
        raise GraphError(
            f"{op.describe()} ({op.defined_at()}) cannot be saved: attribute "
            f"{key!r} is {error}, which a file cannot hold",
            op,
        ) from None


def _variable(op: Operation, variable: Any, writer: Writer) -> dict[str, Any]:
    described = TABLE["variable_record"](variable)
    return {
        "operation": op.name,
        "record": {k: _attr(op, k, v, writer) for k, v in described.items()},
    }


def _collections(graph: Graph, writer: Writer) -> list[Any]:
    """Collections as pairs; what a file cannot hold is left out with a warning."""
    objects = {id(v): op.name for op, v in graph._variables.items()}
    pairs = []
    for key, items in graph._collections.items():
        try:
            written = [
                {"variable": objects[id(item)]}
                if id(item) in objects
                else writer.encode(item)
                for item in items
            ]
            pairs.append([writer.encode(key), written])
        except (TypeError, DagradError) as error:
            warnings.warn(
                f"collection {key!r} is not saved: it holds {error}", stacklevel=3
            )
    return pairs
