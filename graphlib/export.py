"""A graph outside this process: checks, networkx, and files that hold no code.

A saved graph is two files: JSON with one operation a line, and beside it an
``.npz`` with the arrays, pooled by dtype.  Both are data only: loading looks op
types up among those declared, runs their inference again and compares, and
never unpickles, imports or evaluates anything that a file names.  The same graph
gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .dtypes import DTYPES, DType, as_dtype
from .encoding import Reader, Writer, read_pools
from .errors import DagradError, GraphError, MissingNameError
from .graph import Graph
from .opdef import lookup, registered
from .operation import Operation
from .operators import TABLE
from .overrides import overridden
from .shapes import compatible, text
from .tensor import Tensor

__all__ = ["load", "save", "to_networkx", "validate"]

FORMAT = "dagrad graph"
VERSION = 1


# -- checks --------------------------------------------------------------------


def validate(graph: Graph) -> None:
    """Check every invariant of ``graph``; return nothing where all hold.

    Ids are positions; inputs, control inputs and forward ops are older; names are
    unique and found by name; each tensor lists its readers; inference run again
    gives the same dtypes and shapes that fit.

    Raises:
        GraphError: naming the operation and what does not hold.
    """
    ops = list(graph.operations)
    known = registered()
    readers: dict[Tensor, list[Operation]] = {}
    for position, op in enumerate(ops):
        if op.id != position:
            _broken(op, f"has id {op.id} at position {position}")
        if op.graph is not graph:
            _broken(op, "belongs to another graph")
        if graph._by_name.get(op.name) is not op:
            _broken(op, "is not what its name stands for")
        if op.name.lower() not in graph._names:
            _broken(op, "has a name that the graph could give again")
        if op.opdef.override is None and known.get(op.type) is not op.opdef:
            _broken(op, "has an op definition that is not the declared one")
        for t in op.inputs:
            _check_older(op, t.op, ops, f"input {t.name}")
            if t.index >= len(t.op.outputs) or t.op.outputs[t.index] is not t:
                _broken(op, f"reads {t.name}, which is no output of its op")
            readers.setdefault(t, []).append(op)
        for c in op.control_inputs:
            _check_older(op, c, ops, f"control input {c.name}")
        if len(set(op.control_inputs)) != len(op.control_inputs):
            _broken(op, "names a control input twice")
        if op.forward_op is not None:
            _check_older(op, op.forward_op, ops, f"forward op {op.forward_op.name}")
        for index, t in enumerate(op.outputs):
            if t.op is not op or t.index != index:
                _broken(op, f"output {index} does not know its place")
        _check_inference(op)
    if len(graph._by_name) != len(ops):
        raise GraphError(f"{len(graph._by_name)} names stand for {len(ops)} operations")
    for op in ops:
        for t in op.outputs:
            if (t._consumers or []) != readers.get(t, []):
                _broken(
                    op,
                    f"output {t.index} lists {len(t._consumers or ())} readers, "
                    f"but {len(readers.get(t, ()))} operations read it",
                )
    for variable_op in graph._variables:
        if variable_op.graph is not graph:
            _broken(variable_op, "is the variable of another graph")
    for key, items in graph._collections.items():
        for item in items:
            if isinstance(item, (Tensor, Operation)) and item.graph is not graph:
                raise GraphError(
                    f"collection {key!r} holds {item!r}, which belongs to another graph"
                )


def _check_older(
    op: Operation, other: Operation, ops: list[Operation], what: str
) -> None:
    if other.graph is not op.graph:
        _broken(op, f"{what} belongs to another graph")
    if not 0 <= other.id < op.id or ops[other.id] is not other:
        _broken(op, f"{what} is not an older operation of the graph")


def _check_inference(op: Operation) -> None:
    try:
        specs = list(op.opdef.infer(op.inputs, op.attrs))
    except DagradError as error:
        raise GraphError(op.explain(f"inference fails now: {error}"), op) from None
    if len(specs) != len(op.outputs):
        _broken(op, f"has {len(op.outputs)} outputs, inference gives {len(specs)}")
    for t, (dtype, dims) in zip(op.outputs, specs):
        if dtype is not t.dtype or not compatible(dims, t.dims):
            _broken(
                op,
                f"output {t.index} is {t.dtype.name}{text(t.dims)}, inference gives "
                f"{dtype.name}{text(dims)}",
            )


def _broken(op: Operation, what: str) -> None:
    raise GraphError(f"{op.describe()} ({op.defined_at()}) {what}", op)


# -- networkx ------------------------------------------------------------------


def to_networkx(graph: Graph) -> Any:
    """The graph as a ``networkx.MultiDiGraph``.

    Nodes are operation names, in order of creation, with ``id``, ``type``,
    ``attrs`` (name -> short text), ``source`` (``file:line``), ``device``,
    ``dtypes`` and ``shapes`` of the outputs, and ``forward_op`` (a name or None).
    Edges carry ``control``; data edges also ``dtype``, ``shape`` (a tuple, or
    None), ``output`` (of the tail) and ``index`` (among the head's inputs).
    """
    import networkx as nx

    drawn = nx.MultiDiGraph(name=repr(graph))
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
    return drawn


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
    ops and the lines that made them, static shapes, variables, collections, the
    names that are taken, the seed, and whether the graph is finalized.  Values of
    variables belong to a session and are saved by a ``Saver``.

    Raises:
        GraphError: an attribute is something that a file cannot hold, such as a
            Python function.
    """
    target = Path(path)
    beside = _arrays_path(target)
    writer = Writer()
    sources: dict[Any, int] = {}
    operations = [_operation(op, writer, sources) for op in graph.operations]
    variables = [_variable(op, v, writer) for op, v in graph._variables.items()]
    names = {op.name.lower() for op in graph.operations}
    taken = {k: n for k, n in graph._names.items() if n != 1 or k not in names}
    rest = {
        "seed": writer.encode(graph.seed),
        "finalized": graph.finalized,
        "unfeedable": sorted(t.name for t in graph._unfeedable),
        "names": dict(sorted(taken.items())),
        "variables": variables,
        "collections": _collections(graph, writer),
        "sources": [list(s) for s in sources],
    }
    arrays = writer.archive()
    head = {
        "format": FORMAT,
        "version": VERSION,
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
    }
    lines = ["{"]
    lines += [f"{_json(k)}: {_json(v)}," for k, v in (*head.items(), *rest.items())]
    lines.append('"operations": [')
    lines.append(",\n".join(map(_json, operations)))
    lines.append("]\n}\n")
    _replace(beside, arrays)
    _replace(target, "\n".join(lines).encode("ascii"))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(", ", ": "), allow_nan=False)


def _arrays_path(path: Path) -> Path:
    if path.suffix == ".npz":
        raise GraphError(
            f"{str(path)!r} is the name of the arrays' file: give that of the "
            "graph's, such as 'model.json'"
        )
    if path.suffix == ".json":
        return path.with_suffix(".npz")
    return path.with_name(path.name + ".npz")


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
        record["forward"] = op.forward_op.name
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


# -- loading -------------------------------------------------------------------


def load(path: Any) -> Graph:
    """The graph that :func:`save` wrote at ``path``.

    Raises:
        GraphError: the files are no saved graph, do not belong together, are of a
            later version, hold an op type that is not declared, or describe
            operations that do not fit together.
        OSError: a file cannot be read.
    """
    target = Path(path)
    head = _read_json(target)
    arrays = _arrays_path(target).read_bytes()
    if hashlib.sha256(arrays).hexdigest() != head.get("arrays_sha256"):
        raise GraphError(
            f"{_arrays_path(target)} does not belong to {target}: its checksum differs"
        )
    graph = Graph()
    try:
        reader = Reader(graph, read_pools(arrays))
        sources = [(str(f), int(n), str(who)) for f, n, who in head["sources"]]
        for record in head["operations"]:
            _restore(graph, record, reader, sources)
        _restore_rest(graph, head, reader)
    except GraphError as error:
        raise GraphError(f"{target}: {error}") from None
    except _MALFORMED as error:
        raise GraphError(
            f"{target} is not a well-formed graph file: {error!r}"
        ) from None
    return graph


_MALFORMED = (
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    DagradError,
)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        head = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{path} is no JSON: {error}") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise GraphError(f"{path} is no saved graph")
    if head.get("version") != VERSION:
        raise GraphError(
            f"{path} has version {head.get('version')!r} of the format; this dagrad "
            f"reads version {VERSION}"
        )
    return head


def _restore(
    graph: Graph, record: dict[str, Any], reader: Reader, sources: list[Any]
) -> None:
    """Append the operation that ``record`` describes, checking what it says."""
    name = record["name"]
    if not isinstance(name, str) or not name or name in graph._by_name:
        raise GraphError(f"{name!r} is no name, or stands there twice")
    try:
        opdef = lookup(record["type"])
        attrs = {k: reader.decode(v) for k, v in record.get("attrs", {}).items()}
        override = attrs.pop("_gradient_op_type", None)
        if override is not None:
            opdef = overridden(opdef, override)
        inputs = [graph.get_tensor_by_name(t) for t in record.get("inputs", ())]
        controls = [graph.get_operation_by_name(c) for c in record.get("control", ())]
        forward = record.get("forward")
        context = graph._local.context
        context.controls = tuple(controls)
        context.device = str(record.get("device", ""))
        context.forward_op = None
        if forward is not None:
            context.forward_op = graph.get_operation_by_name(forward)
        source = record.get("source")
        context.mark = ("", 0, "") if source is None else sources[source]
        # A name with a slash at its end is taken whole.
        op = graph.create_op(opdef, inputs, attrs, name + "/")
    except MissingNameError as error:
        raise GraphError(f'operation "{name}": {error}') from None
    except _MALFORMED as error:
        raise GraphError(f'operation "{name}" cannot be restored: {error}') from None
    finally:
        context = graph._local.context
        context.controls, context.device = (), ""
        context.forward_op, context.mark = None, None
    op.control_inputs = tuple(controls)
    if source is None:
        op._mark = None
    _restore_shapes(op, record.get("outputs", ()))


def _restore_shapes(op: Operation, outputs: Iterable[Any]) -> None:
    """Give outputs the static shapes of the file, which inference must allow."""
    specs = [(DTYPES[d], None if s is None else tuple(s)) for d, s in outputs]
    if len(specs) != len(op.outputs):
        _broken(op, f"has {len(op.outputs)} outputs, the file says {len(specs)}")
    for t, (dtype, dims) in zip(op.outputs, specs):
        if dtype is not t.dtype or not compatible(dims, t.dims):
            _broken(
                op,
                f"output {t.index} is {t.dtype.name}{text(t.dims)}, the file says "
                f"{dtype.name}{text(dims)}",
            )
        t.dims = dims


def _restore_rest(graph: Graph, head: dict[str, Any], reader: Reader) -> None:
    for name, count in head["names"].items():
        graph._names[str(name)] = int(count)
    for entry in head["variables"]:
        op = graph.get_operation_by_name(entry["operation"])
        record = {k: reader.decode(v) for k, v in entry["record"].items()}
        graph._variables[op] = TABLE["variable_from_op"](op, record)
    for key, items in head["collections"]:
        kept = [reader.decode(item) for item in items]
        graph._collections[reader.decode(key)] = kept
    for name in head["unfeedable"]:
        graph.prevent_feeding(graph.get_tensor_by_name(name))
    graph.seed = reader.decode(head["seed"])
    if head["finalized"]:
        graph.finalize()
