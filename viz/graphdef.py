"""A graph, and what a run measured, as protocol buffers for TensorBoard's graph tab.

The classes are those of the package tensorboard, an extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graphlib.export import summary
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation
from ..graphlib.subgraph import graphs_in
from .theme import clean, short

if TYPE_CHECKING:
    from ..runtime.report import RunReport

__all__ = ["graph_def", "run_metadata_def"]

_DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"
# TensorBoard shows attributes in a panel: a page of text is enough of each.
_LONGEST = 1000


def graph_def(graph: Graph) -> Any:
    """``graph`` as TF1's ``GraphDef``: a node for each operation, with its inputs,
    control inputs, device, shapes, attributes and the line that made it.

    Operations in the bodies of loops, branches and functions are nodes too, within the
    scope of the operation that runs them; what they read from outside is an edge.
    """
    from tensorboard.compat.proto import graph_pb2, versions_pb2

    made = graph_pb2.GraphDef(versions=versions_pb2.VersionDef(producer=22))
    taken: set[str] = set()
    for g in graphs_in(graph):
        names = {op: _unused(op.name, taken) for op in g.operations}
        for op in g.operations:
            _add_node(made.node.add(), op, names, g)
    return made


def _unused(name: str, taken: set[str]) -> str:
    """``name``, or where a body has the same, with a number."""
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_body{number}", number + 1
    taken.add(found)
    return found


def _add_node(node: Any, op: Operation, names: dict[Operation, str], g: Graph) -> None:
    node.name, node.op, node.device = clean(names[op]), op.type, op.device or ""
    for t in op.inputs:
        node.input.append(_edge(names[t.op], t.index))
    if op.outputs and not op.inputs:
        outside = g.source_of(op.outputs[0])
        if outside is not None:
            node.input.append(_edge(outside.op.name, outside.index))
    for c in op.control_inputs:
        node.input.append(f"^{clean(names[c])}")
    shapes = node.attr["_output_shapes"].list
    for t in op.outputs:
        shape = shapes.shape.add()
        if t.dims is None:
            shape.unknown_rank = True
        else:
            for d in t.dims:
                shape.dim.add(size=-1 if d is None else d)
    if op.outputs:
        node.attr["dtype"].type = _data_type(op.outputs[0].dtype.name)
    for key, value in sorted(op.attrs.items()):
        node.attr[key].s = short(summary(value, _LONGEST), _LONGEST).encode()
    if op.source is not None:
        node.attr["source"].s = clean(str(op.source)).encode()


def _edge(name: str, index: int) -> str:
    return f"{clean(name)}:{index}" if index else clean(name)


def _data_type(name: str) -> Any:
    from tensorboard.compat.proto import types_pb2

    alias = {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}
    known = f"DT_{alias.get(name, name.upper())}"
    return types_pb2.DataType.Value(known)


def run_metadata_def(report: RunReport) -> Any:
    """What a run measured as TF1's ``RunMetadata``: time and bytes of each operation,
    with which TensorBoard colours the graph."""
    from tensorboard.compat.proto import config_pb2

    made = config_pb2.RunMetadata()
    stats = made.step_stats.dev_stats.add(device=_DEVICE)
    threads: dict[str, int] = {}
    for event in report.events:
        step = report.steps[event.step]
        node = stats.node_stats.add(
            node_name=clean(event.name),
            timeline_label=clean(event.type),
            all_start_micros=int(event.start * 1e6),
            op_start_rel_micros=0,
            op_end_rel_micros=int(event.seconds * 1e6),
            all_end_rel_micros=int(event.seconds * 1e6),
            thread_id=threads.setdefault(event.thread, len(threads)),
        )
        node.memory.add(allocator_name="cpu", total_bytes=step.output_bytes)
    return made
