"""Reading saved graphs: data only, checked as it is read.

The operations of a graph and of its bodies are restored in an order in which they
could have been made: each graph from its first operation on, and of a body as much
as an operation needs that runs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .checks import validate_bodies
from .dtypes import DTYPES
from .encoding import Reader, read_pools
from .errors import DagradError, GraphError, MissingNameError
from .graph import Graph
from .opdef import lookup
from .operation import Operation
from .operators import TABLE
from .overrides import overridden
from .shapes import compatible, text
from .subgraph import Subgraph

__all__ = ["FORMAT", "VERSION", "arrays_path", "load"]

FORMAT = "dagrad graph"
VERSION = 2


def arrays_path(path: Path) -> Path:
    """Where the arrays of the graph at ``path`` are."""
    if path.suffix == ".npz":
        raise GraphError(
            f"{str(path)!r} is the name of the arrays' file: give that of the "
            "graph's, such as 'model.json'"
        )
    if path.suffix == ".json":
        return path.with_suffix(".npz")
    return path.with_name(path.name + ".npz")


def load(path: Any) -> Graph:
    """The graph that :func:`save` wrote at ``path``.

    Raises:
        GraphError: the files are no saved graph, do not belong together, are of a
            later version, hold an op type that is not declared, or describe
            operations that do not fit together.
        OSError: a file cannot be read.
    """
    import hashlib  # slow to load, and most programs load nothing

    target = Path(path)
    head = _read_json(target)
    arrays = arrays_path(target).read_bytes()
    if hashlib.sha256(arrays).hexdigest() != head.get("arrays_sha256"):
        raise GraphError(
            f"{arrays_path(target)} does not belong to {target}: its checksum differs"
        )
    try:
        loader = _Loader(head, read_pools(arrays))
        loader.run()
    except GraphError as error:
        raise GraphError(f"{target}: {error}") from None
    except _MALFORMED as error:
        raise GraphError(
            f"{target} is not a well-formed graph file: {error!r}"
        ) from None
    return loader.graphs[0]


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
    if head.get("version") not in range(1, VERSION + 1):
        raise GraphError(
            f"{path} has version {head.get('version')!r} of the format; this dagrad "
            f"reads versions up to {VERSION}"
        )
    return head


class _Loader:
    """The graph and the bodies of a file, while they are made again."""

    def __init__(self, head: dict[str, Any], pools: dict[str, Any]) -> None:
        self.head = head
        self.about = head.get("bodies", ())
        self.graphs: list[Graph] = [Graph()]
        for about in self.about:
            if not 0 <= about["outer"] < len(self.graphs):
                raise GraphError(f"graph {about['outer']!r} stands behind its body")
            outer = self.graphs[about["outer"]]
            self.graphs.append(Subgraph(outer, about["scope"], about["what"]))
        #: Per graph: its records, where each name stands, how many are restored.
        self.records = [head["operations"], *[b["operations"] for b in self.about]]
        self.positions = [
            {r["name"]: i for i, r in enumerate(records)} for records in self.records
        ]
        self.busy = [False] * len(self.graphs)
        self.sources = [(str(f), int(n), str(who)) for f, n, who in head["sources"]]
        self.reader = Reader(pools, self.find)
        self.forwards: list[tuple[Operation, Any]] = []

    def run(self) -> None:
        """Restore everything."""
        for number, records in enumerate(self.records):
            self._advance(number, len(records))
        for op, place in self.forwards:
            op.forward_op = self.reader.operation(place)
        for graph, about in zip(self.graphs[1:], self.about):
            assert isinstance(graph, Subgraph)
            _restore_body(graph, about, self.reader)
        _restore_rest(self.graphs[0], self.head, self.reader)
        if self.about:
            validate_bodies(self.graphs[0])

    def find(self, number: int, name: str) -> Graph:
        """Graph ``number``, in which the operation or tensor ``name`` stands now."""
        graph = self.graphs[number]
        position = self.positions[number].get(name.rpartition(":")[0] or name)
        if position is not None and position >= len(graph):
            self._advance(number, position + 1)
        return graph

    def _advance(self, number: int, count: int) -> None:
        """Restore the first ``count`` operations of a graph."""
        graph, records = self.graphs[number], self.records[number]
        if len(graph) >= count:
            return
        if self.busy[number]:
            raise GraphError("an operation needs what stands behind it")
        self.busy[number] = True
        with graph.as_innermost():
            while len(graph) < count:
                self._restore(graph, records[len(graph)])
        self.busy[number] = False

    def _restore(self, graph: Graph, record: dict[str, Any]) -> None:
        """Append the operation that ``record`` describes, checking what it says."""
        name = record["name"]
        if not isinstance(name, str) or not name or name in graph._by_name:
            raise GraphError(f"{name!r} is no name, or stands there twice")
        context = graph._local.context
        find = graph.get_operation_by_name
        try:
            opdef = lookup(record["type"])
            inputs = [graph.get_tensor_by_name(t) for t in record.get("inputs", ())]
            controls = [find(c) for c in record.get("control", ())]
            decode = self.reader.decode
            attrs = {k: decode(v) for k, v in record.get("attrs", {}).items()}
            override = attrs.pop("_gradient_op_type", None)
            if override is not None:
                opdef = overridden(opdef, override)
            forward = record.get("forward")
            context.controls = tuple(controls)
            context.device = str(record.get("device", ""))
            context.forward_op = None if not isinstance(forward, str) else find(forward)
            source = record.get("source")
            context.mark = ("", 0, "") if source is None else self.sources[source]
            # A name with a slash at its end is taken whole.
            op = graph.create_op(opdef, inputs, attrs, name + "/")
        except MissingNameError as error:
            raise GraphError(f'operation "{name}": {error}') from None
        except _MALFORMED as error:
            raise GraphError(
                f'operation "{name}" cannot be restored: {error}'
            ) from None
        finally:
            context.controls, context.device = (), ""
            context.forward_op, context.mark = None, None
        op.control_inputs = tuple(controls)
        if source is None:
            op._mark = None
        if isinstance(forward, list):
            # In another body, of which perhaps less is restored so far.
            (place,) = forward
            self.forwards.append((op, place))
        _restore_shapes(op, record.get("outputs", ()))


def _restore_body(graph: Subgraph, about: dict[str, Any], reader: Reader) -> None:
    """What a body is beside its operations."""
    for name, count in about["names"].items():
        graph._names[str(name)] = int(count)
    find = graph.get_tensor_by_name
    graph._captures = {reader.tensor(t): find(inner) for t, inner in about["captures"]}
    graph._sources = {find(i): reader.tensor(t) for i, t in about["stands_for"]}
    graph.outer_controls = {reader.operation(op): None for op in about["waits_for"]}
    graph.sites = int(about["sites"])
    for name in about["unfeedable"]:
        graph.prevent_feeding(find(name))


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


def _broken(op: Operation, what: str) -> None:
    raise GraphError(f"{op.describe()} ({op.defined_at()}) {what}", op)
