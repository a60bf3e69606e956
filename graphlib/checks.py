"""The invariants of a graph and of the bodies in it."""

from __future__ import annotations

from .errors import DagradError, GraphError
from .graph import Graph
from .opdef import find
from .operation import Operation
from .shapes import compatible, text
from .subgraph import (
    BODY_INPUT,
    BODY_VARIABLE,
    Body,
    Subgraph,
    bodies_of,
    captures_of,
    graphs_in,
    rules_of,
)
from .tensor import Tensor

__all__ = ["validate", "validate_bodies"]


def validate(graph: Graph) -> None:
    """Check every invariant of ``graph`` and its bodies; return nothing where all hold.

    Ids are positions; inputs, control inputs and forward ops are older; names are
    unique and found by name; each tensor lists its readers; inference run again
    gives the same dtypes and shapes that fit.  A body reads nothing but what it is
    passed, which is what it captured, and writes what its operation says.

    Raises:
        GraphError: naming the operation and what does not hold.
    """
    for g in graphs_in(graph):
        _check_operations(g)
    validate_bodies(graph)
    for variable_op in graph._variables:
        if variable_op.graph is not graph:
            _broken(variable_op, "is the variable of another graph")
    for key, items in graph._collections.items():
        for item in items:
            if isinstance(item, (Tensor, Operation)) and item.graph.root is not graph:
                raise GraphError(
                    f"collection {key!r} holds {item!r}, which belongs to another graph"
                )


def _check_operations(graph: Graph) -> None:
    ops = list(graph.operations)
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
        if op.opdef.override is None and find(op.type) is not op.opdef:
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
        forward = op.forward_op
        if forward is not None and forward.graph is graph:
            _check_older(op, forward, ops, f"forward op {forward.name}")
        elif forward is not None and forward.graph.root is not graph.root:
            _broken(op, f"forward op {forward.name} belongs to another graph")
        for index, t in enumerate(op.outputs):
            if t.op is not op or t.index != index:
                _broken(op, f"output {index} does not know its place")
        _check_inference(op)
    if len(graph._by_name) != len(ops):
        raise GraphError(f"{len(graph._by_name)} names stand for {len(ops)} operations")
    for op in ops:
        for t in op.outputs:
            if t.consumers() != readers.get(t, []):
                _broken(
                    op,
                    f"output {t.index} lists {len(t.consumers())} readers, "
                    f"but {len(readers.get(t, ()))} operations read it",
                )


# -- bodies ----------------------------------------------------------------------


def validate_bodies(graph: Graph) -> None:
    """The part of :func:`validate` that is about bodies."""
    graphs = graphs_in(graph)
    for g in graphs:
        if isinstance(g, Subgraph):
            _check_sources(g, graphs)
        for op in g.operations:
            if op.opdef.control is not None:
                _check_control(op)
            for body in rules_of(op):
                _check_body(op, body)


def _check_sources(graph: Subgraph, graphs: list[Graph]) -> None:
    """What the inputs of a body stand for lies outside of it, in the same graph.

    It need not lie in the graphs right around: a backward body lies in the forward
    body, and may be passed what lies next to its operation.
    """
    if graph.outer not in graphs:
        raise GraphError(f"{graph.describe()} lies in another graph")
    for inner, source in graph._sources.items():
        op = inner.op
        if op.graph is not graph or op.opdef not in (BODY_INPUT, BODY_VARIABLE):
            _broken(op, f"is no input of {graph.describe()}")
        if source.op.graph is graph or source.op.graph.root is not graph.root:
            _broken(op, f"stands for {source.name}, which does not lie around it")
        if inner.dtype is not source.dtype:
            _broken(op, f"stands for {source.name}, which has another dtype")
        variable = source.op.opdef.effect == "variable"
        if variable is not (op.opdef is BODY_VARIABLE):
            _broken(op, f"and what it stands for, {source.name}, differ in kind")


def _check_control(op: Operation) -> None:
    """The bodies of an operation, and what it passes to them."""
    attrs = op._attrs
    bodies = bodies_of(op)
    if op.opdef.control == "loop":
        first = attrs["bounded"] + attrs["tested"]
        wires = [range(first, len(op.inputs))]
        looped = attrs["carries"] + attrs["scanned"]
        if looped > len(bodies[0].inputs) or attrs["carries"] > len(bodies[0].outputs):
            _broken(op, "has more carries and rows than its body has inputs")
    else:
        wires = list(attrs["wires"])
        looped = 0
    written: set[int] = set()
    if len(wires) != len(bodies):
        _broken(op, f"has {len(bodies)} bodies, but inputs of {len(wires)}")
    for body, at in zip(bodies, wires):
        _check_body(op, body)
        if len(at) != len(body.inputs):
            _broken(op, f"passes {len(at)} values for {len(body.inputs)} inputs")
        for k, (inner, i) in enumerate(zip(body.inputs, at)):
            if not 0 <= i < len(op.inputs):
                _broken(op, f"passes input {i}, which it does not have")
            passed = op.inputs[i]
            if passed.dtype is not inner.dtype:
                _broken(op, f"passes {passed.name} for a {inner.dtype.name}")
            source = body.graph.source_of(inner)
            if source is None or source.op.graph is not op.graph or k < looped:
                continue
            if source is not passed:
                _broken(op, f"passes {passed.name} for {source.name}")
        now = set(body.written())
        written.update(i for inner, i in zip(body.inputs, at) if inner in now)
    if written != set(attrs.get("updates", ())):
        _broken(
            op,
            f"says that it writes inputs {sorted(attrs.get('updates', ()))}, but its "
            f"bodies write {sorted(written)}",
        )
    if any(b.stateful for b in bodies) is not (op.opdef.effect == "body"):
        _broken(op, "and its bodies differ in whether they have an effect")


def _check_body(op: Operation, body: Body) -> None:
    graph = body.graph
    if graph.root is not op.graph.root:
        _broken(op, "has a body of another graph")
    for t in body.inputs:
        if t.op.graph is not graph or t.op.opdef not in (BODY_INPUT, BODY_VARIABLE):
            _broken(op, f"passes something for {t.name}, which is no input of its body")
    if len(set(body.inputs)) != len(body.inputs):
        _broken(op, "passes an input of its body twice")
    outputs = [t for t in body.outputs if t is not None]
    for t in outputs:
        if t.op.graph is not graph:
            _broken(op, f"takes {t.name} from its body, where it does not lie")
    missing = captures_of(outputs, body.inputs)
    if missing:
        names = ", ".join(t.name for t in missing)
        _broken(op, f"does not pass what its body reads: {names}")


# -- one operation -----------------------------------------------------------------


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
