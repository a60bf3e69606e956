"""The plan's own copy of the part of a graph that a run needs.

A :class:`Program` is built for (fetches, feeds, shapes of the feeds): the needed
operations only, with every shape worked out again from the concrete shapes.
Rewrites change the program, never the graph, so a plan stays valid while the
graph grows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, int32
from ..graphlib.errors import DagradError, FeedError, InvalidArgumentError
from ..graphlib.known import known_value
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.records import replace
from ..graphlib.shapes import Dims, is_static, text
from ..graphlib.subgraph import BODY_VARIABLE, Body
from ..graphlib.tensor import Tensor
from .changes import Notes

__all__ = ["Node", "Program", "Value", "build", "needed_operations"]


def _no_inference(inputs: Any, attrs: Mapping[str, Any]) -> Any:
    raise AssertionError("an operation of plans is made of nodes that have shapes")


#: What operations that plans make of others have in common.
IN_PLANS_ONLY: dict[str, Any] = {
    "infer": _no_inference,
    "no_gradient": "it exists in plans only",
    "writes_out": True,
}


def _copy(xp: Any, x: Any, out: Any = None) -> Any:
    if out is None:
        return xp.array(x)
    xp.copyto(out, x)
    return out


COPY = OpDef(
    "_Copy",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[0].dims),),
    kernel=_copy,
    inputs=("x",),
    no_gradient="it exists in plans only",
    writes_out=True,
    doc="a copy, where a plan needs the value in memory of its own",
)


NODE, CONST, FEED, VARIABLE = "node", "const", "feed", "variable"


class Value:
    """A value of a program: an output of a node, a constant, a feed, a variable.

    Attributes:
        kind: "node", "const", "feed" or "variable".
        node: the node that makes it (kind "node").
        index: which output of the node it is.
        dtype, dims, value: as on a Tensor, for the concrete shapes of the feeds.
        tensor: the graph's tensor that it stands for (names, messages).
    """

    __slots__ = ("dims", "dtype", "index", "kind", "node", "size", "tensor", "value")

    def __init__(
        self,
        kind: str,
        dtype: DType,
        dims: Dims,
        tensor: Tensor | None,
        node: Node | None = None,
        index: int = 0,
        value: Any = None,
    ) -> None:
        self.kind = kind
        self.dtype = dtype
        self.dims = dims
        self.tensor = tensor
        self.node = node
        self.index = index
        self.value = value
        #: Bytes, -1 where the shape is not known before the run.
        self.size = _bytes(dims, dtype)

    def learn(self, dims: Dims) -> None:
        """Take the shape that a rewrite has found out."""
        self.dims, self.size = dims, _bytes(dims, self.dtype)

    @property
    def static(self) -> bool:
        """Whether the shape is fully known before the run."""
        return self.size >= 0

    @property
    def nbytes(self) -> int:
        """Bytes, 0 where the shape is not known before the run."""
        return self.size if self.size > 0 else 0

    def __repr__(self) -> str:
        name = self.tensor.name if self.tensor is not None else "?"
        return f"<Value {self.kind} {name} {self.dtype.name}{text(self.dims)}>"


@lru_cache(maxsize=4096)
def _bytes(dims: Dims, dtype: DType) -> int:
    if dims is None or dtype.kind < 0:
        return -1
    n = dtype.size
    for d in dims:
        if d is None:
            return -1
        n *= d
    return n


class Node:
    """One operation of a program."""

    __slots__ = ("after", "attrs", "inputs", "op", "opdef", "outputs")

    def __init__(
        self,
        op: Operation,
        opdef: OpDef,
        attrs: Mapping[str, Any],
        inputs: list[Value],
        after: list[Node],
    ) -> None:
        self.op = op
        self.opdef = opdef
        self.attrs = attrs
        self.inputs = inputs
        self.after = after
        self.outputs: tuple[Value, ...] = ()

    @property
    def updates(self) -> tuple[int, ...]:
        """The inputs (variables) that it writes."""
        return self.opdef.updates or self.attrs.get("updates", ())

    def redirect(self, subst: Mapping[Value, Value]) -> None:
        """Read what has taken the place of an input."""
        if not subst:
            return
        for i, v in enumerate(self.inputs):
            new = subst.get(v)
            if new is not None:
                self.inputs[i] = new

    def __repr__(self) -> str:
        return f"<Node {self.op.describe()}>"


class Program:
    """Nodes in topological order, and what a run wants of them.

    Attributes:
        nodes: in topological order (by data and ``after``).
        fetches: the values to return.
        targets: nodes to run for their effect.
        feeds: the fed values, in the order of the feed keys.
        log: one line per rewrite pass: (pass, nodes removed or changed).
        notes: what each pass did, and to which operations.
        types: the op types that it has, or had before a pass changed it.
    """

    def __init__(
        self,
        nodes: list[Node],
        fetches: list[Value],
        targets: list[Node],
        feeds: list[Value],
    ) -> None:
        self.nodes = nodes
        self.fetches = fetches
        self.targets = targets
        self.feeds = feeds
        self.log: list[tuple[str, int]] = []
        self.notes = Notes()
        self.types = {node.opdef.type for node in nodes}

    def keep(self, kept: list[Node], subst: Mapping[Value, Value]) -> int:
        """Drop all nodes but ``kept``; returns how many.

        ``subst`` says what is fetched in the place of dropped values.  Targets
        and control edges may name a dropped node: it has no effect, but what it
        reads must still run.
        """
        dropped = len(self.nodes) - len(kept)
        if dropped or subst:
            alive = set(kept)
            for node in kept:
                if node.after:
                    node.after = _resolve(node.after, alive)
            self.targets = _resolve(self.targets, alive)
        self.nodes = kept
        self.fetches = [subst.get(v, v) for v in self.fetches]
        return dropped

    def insert(self, inserted: Mapping[int, Sequence[Node]]) -> None:
        """Put nodes right behind the nodes at those positions (-1: first)."""
        if not inserted:
            return
        nodes = list(inserted.get(-1, ()))
        for i, node in enumerate(self.nodes):
            nodes.append(node)
            nodes.extend(inserted.get(i, ()))
        self.nodes = nodes


def _resolve(nodes: list[Node], alive: set[Node]) -> list[Node]:
    found: dict[Node, None] = {}
    stack = list(reversed(nodes))
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in alive:
            found[node] = None
        elif node not in seen:
            seen.add(node)
            stack.extend(node.after)
            stack.extend(v.node for v in node.inputs if v.node is not None)
    return list(found)


def needed_operations(
    fetches: Iterable[Tensor], targets: Iterable[Operation], feeds: Iterable[Tensor]
) -> list[Operation]:
    """The operations that a run needs, in order: ancestors up to the feeds."""
    fed = set(feeds)
    seen: set[Operation] = set(targets)
    seen.update(t.op for t in fetches if t not in fed)
    stack = list(seen)
    while stack:
        op = stack.pop()
        for t in op.inputs:
            producer = t.op
            if producer not in seen and t not in fed:
                seen.add(producer)
                stack.append(producer)
        for control in op.control_inputs:
            if control not in seen:
                seen.add(control)
                stack.append(control)
    return sorted(seen, key=lambda op: op.id)


def build(
    operations: Sequence[Operation],
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Sequence[Tensor],
    feed_dims: Sequence[Dims],
    known: Mapping[int, Any] | None = None,
) -> Program:
    """The program of ``operations`` for feeds of concrete shapes, some with values
    that are known: the sizes of something.

    Raises:
        InvalidArgumentError: the concrete shapes do not fit an operation.
    """
    values: dict[Tensor, Value] = {}
    feed_values = []
    for i, (t, dims) in enumerate(zip(feeds, feed_dims)):
        fed = Value(FEED, t.dtype, dims, t, value=(known or {}).get(i))
        values[t] = fed
        feed_values.append(fed)
    nodes: list[Node] = []
    by_op: dict[Operation, Node] = {}
    numbers: dict[int, Value] = {}
    for op in operations:
        opdef = op.opdef
        effect = opdef.effect
        if effect == "constant":
            t = op.outputs[0]
            if t not in values:
                values[t] = Value(CONST, t.dtype, t.dims, t, value=t.value)
            continue
        if effect == "input":
            # Fed, or reported missing before we came here, but for bodies.
            if op.outputs[0] not in values:
                raise FeedError(
                    op.explain(
                        "nobody can feed a placeholder in a body: make it around the "
                        "loop, branch or function, which may read it"
                    ),
                    op,
                )
            continue
        if effect == "variable":
            t = op.outputs[0]
            if t not in values:
                values[t] = Value(VARIABLE, t.dtype, t.dims, t)
            continue
        if effect == "default" and not op.control_inputs:
            values.setdefault(op.outputs[0], values[op.inputs[0]])  # it is not fed
            continue
        inputs = [values[t] for t in op.inputs]
        after = [by_op[c] for c in op.control_inputs if c in by_op]
        attrs: Mapping[str, Any] = op._attrs
        if opdef.control is not None:
            attrs = _with_fed_variables(op, inputs)
        if opdef.control == "loop" and attrs["tested"]:
            attrs, inputs = _without_test(attrs, inputs, numbers)
        node = Node(op, opdef, attrs, inputs, after)
        node.outputs = outputs_of(node, op)
        for t, v in zip(op.outputs, node.outputs):
            if t not in values:
                values[t] = v
        by_op[op] = node
        nodes.append(node)
    return Program(
        nodes,
        [values[t] for t in fetches],
        [by_op[op] for op in targets if op in by_op],
        feed_values,
    )


def _without_test(
    attrs: Mapping[str, Any], inputs: list[Value], numbers: dict[int, Value]
) -> tuple[Mapping[str, Any], list[Value]]:
    """A loop that only counts as one of a number of iterations, if that is known.

    ``numbers`` has one value for each: loops that become one must have the same.
    """
    from ..graphlib.counted import counted, untested

    count = counted(attrs, inputs)
    if count is None:
        return attrs, inputs
    if count not in numbers:
        array = np.array(count, np.int32)
        numbers[count] = Value(CONST, int32, (), None, value=array)
    return untested(attrs), [numbers[count], *inputs[attrs["bounded"] + 1 :]]


def _with_fed_variables(op: Operation, inputs: Sequence[Value]) -> dict[str, Any]:
    """The attributes of a control operation: its bodies get an array, not the session's
    memory, for a variable in whose place something is fed, or a value was read.

    Raises:
        FeedError: a body writes that variable.
    """
    attrs = op._attrs
    fed = {
        i
        for body, wires in _wired(op)
        for t, i in zip(body.inputs, wires)
        if t.op.opdef is BODY_VARIABLE and inputs[i].kind != VARIABLE
    }
    for i in sorted(fed.intersection(attrs.get("updates", ()))):
        raise FeedError(
            op.explain(
                f"{op.inputs[i].op.describe()} is fed in this run, but a body writes it"
            ),
            op,
        )
    return with_arrays(op, fed)


def with_arrays(op: Operation, arrays: Collection[int]) -> dict[str, Any]:
    """The attributes of a control operation whose bodies get an array for variables at
    these of its inputs."""
    attrs = op._attrs

    def given(body: Body, wires: Sequence[int]) -> Body:
        found = zip(body.inputs, wires)
        known = {t for t, i in found if i in arrays and t.op.opdef is BODY_VARIABLE}
        return replace(body, given=body.given | known) if known else body

    if not arrays:
        return attrs
    bodies = tuple(given(body, wires) for body, wires in _wired(op))
    if "branches" in attrs:
        return {**attrs, "branches": bodies}
    return {**attrs, "body": bodies[0]}


def _wired(op: Operation) -> Iterable[tuple[Body, Sequence[int]]]:
    """The bodies of a control operation, and which of its inputs each is passed."""
    attrs = op._attrs
    if "branches" in attrs:
        return zip(attrs["branches"], attrs["wires"])
    first = attrs["bounded"] + attrs["tested"]
    return [(attrs["body"], range(first, len(op.inputs)))]


def outputs_of(node: Node, op: Operation) -> tuple[Value, ...]:
    """Output values with shapes inferred from the concrete input shapes.

    Inference runs again only where it can learn something: an input is better
    known here than in the graph, and an output is not fully known there.
    """
    news = False
    for v, t in zip(node.inputs, op.inputs):
        if v.dims != t.dims or v.value is not t.value:
            news = True
            break
    outputs = []
    if not news:
        for i, t in enumerate(op.outputs):
            outputs.append(Value(NODE, t.dtype, t.dims, t, node, i, t.value))
        return tuple(outputs)
    try:
        specs = node.opdef.infer(node.inputs, node.attrs)
    except DagradError as error:
        raise wrong_shapes(node, error) from None
    told: Any = None
    for i, (t, (dtype, dims)) in enumerate(zip(op.outputs, specs)):
        if not is_static(dims) and t.dims is not None and t.dims != dims:
            if told is None:
                told = op.opdef.infer(op.inputs, op._attrs)
            dims = _refine(dims, t.dims, told[i][1])
        outputs.append(Value(NODE, dtype, dims, t, node, i))
    opdef = node.opdef
    if outputs and (opdef.value is not None or opdef.shape_math):
        outputs[0].value = known_value(opdef, node.inputs, dict(node.attrs), specs)
    return tuple(outputs)


def _refine(dims: Dims, known: Dims, inferred: Dims) -> Dims:
    """What ``set_shape`` told the graph still holds in the program.

    What the graph inferred does not: it may rest on a value that is fed now.
    """
    if known is None or known == inferred:
        return dims
    if inferred is None:
        inferred = (None,) * len(known)
        if dims is None:
            return known
    if dims is None or len(dims) != len(known):
        return dims
    return tuple(
        k if d is None and i is None else d for d, k, i in zip(dims, known, inferred)
    )


def wrong_shapes(node: Node, error: Exception) -> InvalidArgumentError:
    """The error of an operation that the concrete shapes do not fit."""
    if isinstance(error, DagradError) and error.op is not None:
        where = f"  in {node.op.describe()}, {node.op.defined_at()}"
        return InvalidArgumentError(f"{error}\n{where}", error.op)
    shown = ", ".join(text(v.dims) for v in node.inputs)
    message = node.op.explain(f"{error} (shapes in this run: {shown})")
    return InvalidArgumentError(message, node.op)


def constant_value(array: np.ndarray[Any, Any], like: Value) -> Value:
    """A constant in the place of ``like``."""
    return Value(CONST, like.dtype, array.shape, like.tensor, value=array)
