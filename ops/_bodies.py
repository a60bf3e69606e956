"""What the rules of control operations share: gradients of bodies.

The backward body of a body is a subgraph *inside* it: the vjp rules of the body's
operations build nodes there, and whatever these read of the forward body is
captured.  So exactly what the backward body reads is known, and only that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..graphlib.errors import GradientError
from ..graphlib.forward import push_through
from ..graphlib.gradients import IndexedSlices
from ..graphlib.graph import Graph
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series
from ..graphlib.source import Mark
from ..graphlib.stacks import home
from ..graphlib.subgraph import (
    BODY_VARIABLE,
    Body,
    Subgraph,
    updated_inputs,
    variable_root,
)
from ..graphlib.taylor import series_through
from ..graphlib.tensor import Tensor
from ..graphlib.traversal import ancestors
from .core import shape
from .creation import of_shape

__all__ = [
    "BackwardGraph",
    "Expand",
    "Moving",
    "appended",
    "copy_into",
    "forward_rules",
    "late_reads",
    "positions",
    "writes_before",
    "zeros_for",
]

#: What moves along with a tensor: one tangent, or the coefficients 1, ..., K of a
#: path; None where zero.
Moving = list["Tensor | None"]
#: Takes that through a body: ``f(ys, xs, along) -> [Moving, ...]``.
Expand = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Moving]], list[Moving]]
#: What moves along with an operation's outputs, from what does with its inputs.
Alongside = Callable[[Operation, Sequence[Moving], Expand], list[Moving]]


class BackwardGraph(Subgraph):
    """The backward body of a body.

    Args:
        op: the control operation that is differentiated.
        forward: its body.
        passed: what ``op`` passes for the body's inputs that are the same in every
            run of the body.
        what: what it is the body of, for messages.
        repeated: whether the body runs again and again: what is the same each
            time is then made once around the operation.

    Attributes:
        kept: (tensor of the forward body, input here) of what a run of the
            forward body must keep for it.
        same: (tensor around ``op``, input here) of what is the same in every run.
    """

    def __init__(
        self,
        op: Operation,
        forward: Body,
        passed: dict[Tensor, Tensor],
        what: str,
        repeated: bool,
    ) -> None:
        scope = home(op.graph)._local.context.scope
        super().__init__(forward.graph, f"{scope}body/", what)
        self.op = op
        self.forward = forward.graph
        self.kept: list[tuple[Tensor, Tensor]] = []
        self.same: list[tuple[Tensor, Tensor]] = []
        self._shapes: dict[Tensor, Tensor] = {}
        self._written = set(forward.written())
        self._passed = {b: t for b, t in passed.items() if b not in self._written}
        self._same_each_time = set(self._passed)
        for inner in forward.operations() if repeated else ():
            if inner.opdef.effect == "constant" or _is_pure_of(
                inner, self._same_each_time
            ):
                self._same_each_time.update(inner.outputs)

    def _take(self, t: Tensor) -> Tensor:
        op = t.op
        if op.opdef.effect == "constant":
            inner = self._again(op, ())[0]
            self._captures[t] = inner
            return inner
        if op.opdef is BODY_VARIABLE and t in self._written:
            raise GradientError(
                op.explain(
                    "the gradient needs the value of a variable that the body "
                    "writes: read it by variable.read_value() first"
                ),
                op,
            )
        if t in self._same_each_time:
            outside = self._hoisted(t)
            inner = super()._take(t)
            self._sources[inner] = outside
            self.same.append((outside, inner))
            return inner
        if self._is_view(op):
            # A view costs nothing to make again: keep what it is a view of.
            inner = self._again(op, [self.capture(x) for x in op.inputs])[t.index]
            self._captures[t] = inner
            return inner
        inner = super()._take(t)
        self.kept.append((t, inner))
        return inner

    def _hoisted(self, t: Tensor) -> Tensor:
        """``t`` of the forward body, made once around the operation."""
        passed = self._passed
        if t not in passed:
            needed = ancestors(
                [t.op], stop=lambda o: bool(o.outputs) and o.outputs[0] in passed
            )
            for op in needed:
                if op.outputs[0] in passed:
                    continue
                inputs = [passed[x] for x in op.inputs]
                graph = self.op.graph
                reads = [x for x in inputs if x.op.opdef.effect == "variable"]
                waits = graph.control_dependencies(writes_before([self.op], reads))
                with appended(graph, self.op), waits:
                    made = graph.create_op(op.opdef, inputs, dict(op.attrs))
                passed.update(zip(op.outputs, made.outputs))
        return passed[t]

    def _is_view(self, op: Operation) -> bool:
        opdef = op.opdef
        if opdef.alias is None or opdef.effect is not None:
            return False
        return variable_root(op.inputs[opdef.alias]) not in self._written

    def _again(self, op: Operation, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        context = self._local.context
        saved = context.scope, context.controls
        context.scope, context.controls = self.top_scope, ()
        try:
            with self.as_innermost():
                made = self.create_op(op.opdef, inputs, dict(op.attrs))
        finally:
            context.scope, context.controls = saved
        for mine, theirs in zip(made.outputs, op.outputs):
            mine.set_shape(theirs.dims)
        return made.outputs

    def _adopt(
        self, opdef: OpDef, name: str | None, inputs: tuple[Tensor, ...], mark: Mark
    ) -> tuple[Tensor, ...]:
        if opdef.shape_only:
            inputs = tuple(
                self._by_shape(t) if i in opdef.shape_only else t
                for i, t in enumerate(inputs)
            )
        return super()._adopt(opdef, name, inputs, mark)

    def _by_shape(self, t: Tensor) -> Tensor:
        """Something of the shape of ``t``: of a forward tensor only its sizes are
        kept."""
        if t.op.graph is not self.forward or t in self._captures:
            return t
        if t in self._shapes:
            return self._shapes[t]
        with appended(self.forward, t.op):
            sizes = shape(t)
        inner = self._shapes[t] = of_shape(self.capture(sizes), t)
        return inner


def copy_into(
    graph: Graph, body: Body, inputs: Sequence[Tensor], scope: str | None = None
) -> list[Tensor]:
    """The outputs of ``body``, made again in another graph from ``inputs``.

    Names begin with ``scope`` (default: the graph's own).
    """
    copied = dict(zip(body.inputs, inputs))
    made: dict[Operation, Operation] = {}
    context = graph._local.context
    saved = context.scope, context.controls, context.mark
    try:
        for op in body.operations():
            if all(t in copied for t in op.outputs) and op.outputs:
                continue
            context.scope = graph.top_scope if scope is None else scope
            context.controls = tuple(made[c] for c in op.control_inputs)
            context.mark = op._mark
            name = op.name.removeprefix(body.graph.top_scope).rpartition("/")[2]
            with graph.as_innermost():
                new = graph.create_op(
                    op.opdef, [copied[t] for t in op.inputs], dict(op.attrs), name
                )
            made[op] = new
            for t, mine in zip(op.outputs, new.outputs):
                mine.set_shape(t.dims)
                copied[t] = mine
    finally:
        context.scope, context.controls, context.mark = saved
    return [copied[t] for t in body.outputs]


def writes_before(
    ops: Iterable[Operation], variables: Sequence[Tensor]
) -> list[Operation]:
    """The writes of ``variables`` that one of ``ops`` waits for, or is: who reads one
    of them after these, and not after others, reads what ``ops`` do."""
    if not variables:
        return []
    graph = variables[0].op.graph
    writes, before = _writes_of(graph)
    mask = 0
    for op in ops:
        if op.graph is graph:
            mask |= before[op]
    return [
        op
        for k, op in enumerate(writes if mask else ())
        if mask >> k & 1
        and any(variable_root(op.inputs[i]) in variables for i in updated_inputs(op))
    ]


def _writes_of(graph: Graph) -> tuple[list[Operation], dict[Operation, int]]:
    """All writes of a graph, and which of them each operation waits for, or is, as a
    bit mask: found once for each operation, as graphs are only appended to."""
    known: tuple[list[Operation], dict[Operation, int]]
    known = vars(graph).setdefault("_writes_before", ([], {}))
    writes, before = known
    for op in graph._operations[len(before) :]:
        mask = 0
        for t in op.inputs:
            mask |= before[t.op]
        for other in op.control_inputs:
            mask |= before[other]
        if updated_inputs(op):
            mask |= 1 << len(writes)
            writes.append(op)
        before[op] = mask
    return known


def late_reads(op: Operation, waiting: Iterable[Tensor | None]) -> dict[Tensor, Tensor]:
    """Variables that ``op`` reads, but by another value than what is made now of the
    ``waiting`` would: some of these wait for a write that ``op`` does not.

    Returns what reads them as ``op`` does.
    """
    graph = op.graph
    variables = [t for t in op.inputs if t.op.opdef.effect == "variable"]
    before = writes_before([op], variables)
    controls = home(graph)._local.context.controls
    after = [*[t.op for t in waiting if t is not None], *controls]
    late = [w for w in writes_before(after, variables) if w not in before]
    written = {variable_root(w.inputs[i]) for w in late for i in updated_inputs(w)}
    with appended(graph, op), graph.control_dependencies(before):
        return {t: TABLE["identity"](t) for t in variables if t in written}


def _is_pure_of(op: Operation, known: set[Tensor]) -> bool:
    """Whether an operation is a pure function of ``known`` tensors."""
    return (
        bool(op.inputs)
        and op.opdef.effect is None
        and not op.control_inputs
        and all(t in known for t in op.inputs)
    )


@contextmanager
def appended(graph: Graph, near: Operation | None = None) -> Iterator[None]:
    """Add to a graph that is not the default one now, under the names of ``near``."""
    context = graph._local.context
    saved = context.scope, context.controls, context.forward_op, context.mark
    context.scope = graph.top_scope
    context.controls, context.forward_op = (), None
    if near is not None:
        context.scope = f"{near.scope}/" if near.scope else graph.top_scope
        context.mark = near._mark
    try:
        with graph.as_innermost():
            yield
    finally:
        context.scope, context.controls, context.forward_op, context.mark = saved


def zeros_for(t: Tensor | IndexedSlices | None, like: Tensor) -> Tensor:
    """A cotangent or tangent, with zeros for None and dense for rows."""
    if t is None:
        return TABLE["zeros_like"](like)  # type: ignore[no-any-return]
    return t._as_tensor() if isinstance(t, IndexedSlices) else t


def forward_rules(alongside: Alongside) -> dict[str, Any]:
    """The fields ``jvp`` and ``jet`` of a control operation: the same bodies, with one
    tangent, or the coefficients of all orders, beside the values."""

    def jvp(op: Operation, *tangents: Tensor | None) -> list[Tensor | None]:
        found = alongside(op, [[t] for t in tangents], _tangents_through)
        return [d for (d,) in found]

    def jet(op: Operation, series: list[Series]) -> list[Series]:
        found = alongside(op, [s[1:] for s in series], series_through)
        return [[y, *rest] for y, rest in zip(op.outputs, found)]

    return {"jvp": jvp, "jet": jet}


def _tangents_through(
    ys: Sequence[Tensor], xs: Sequence[Tensor], along: Sequence[Moving]
) -> list[Moving]:
    """One tangent of each of ``ys``, from those of ``xs``."""
    tangents = [t for (t,) in along if t is not None]
    moving = [x for x, (t,) in zip(xs, along) if t is not None]
    return [[d] for d in push_through(ys, moving, tangents)]


def positions(found: Sequence[Tensor], among: Sequence[Tensor]) -> tuple[int, ...]:
    """Where tensors stand in a sequence."""
    index = {t: i for i, t in enumerate(among)}
    return tuple(index[t] for t in found)
