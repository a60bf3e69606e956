"""Bodies: the graphs inside loops, branches and functions.

A :class:`Subgraph` is a graph of its own.  An operation in it that reads a tensor
of a graph around it *captures* that tensor: an input of the subgraph takes its
place, and whoever makes the loop or branch operation passes the tensor in.  So a
control operation is functional: all that its bodies read are inputs of it.

Constants that have no derivative (sizes, say) are not captured but stand in the
body again, so that they stay known there; their array is shared.
Variables are captured by reference: the body reads and writes the session's
memory, and the control operation names the variable among its inputs, so that
plans order it like any other reader or writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .errors import DagradError, GraphError
from .graph import Graph
from .known import MAX_KNOWN, known_value
from .opdef import OpDef, Spec
from .operation import Operation
from .records import record
from .shapes import Dims, is_static
from .source import Mark, entry
from .stacks import graph_stack, home
from .tensor import Tensor
from .traversal import ancestors

__all__ = [
    "BODY_INPUT",
    "BODY_VARIABLE",
    "Body",
    "Subgraph",
    "bodies_of",
    "empty_stacks",
    "graphs_in",
    "rules_of",
    "saving",
    "variable_of",
]


def _infer_input(inputs: Sequence[Any], attrs: Any) -> Any:
    return ((attrs["dtype"], attrs["shape"]),)


# The attribute "sizes" says that a run is planned for the very values, which are the
# sizes of something.
BODY_INPUT = OpDef(
    "BodyInput",
    infer=_infer_input,
    kernel=None,
    effect="input",
    flops=lambda i, o, a: 0,
    doc="a value that a loop, branch or function passes to its body",
)

BODY_VARIABLE = OpDef(
    "BodyVariable",
    infer=_infer_input,
    kernel=None,
    effect="variable",
    flops=lambda i, o, a: 0,
    doc="a variable of the graph around the body, by reference",
)


class Subgraph(Graph):
    """The graph of one body.

    Attributes:
        outer: the graph around it.
        top_scope: what the names of its operations begin with.
        what: what it is the body of, for messages (``while_loop "while"``).
        outer_controls: operations around it that something in it waits for.
    """

    outer: Graph

    def __init__(self, outer: Graph, scope: str, what: str = "") -> None:
        self.top_scope = scope if scope.endswith("/") or not scope else scope + "/"
        self.outer = outer
        self.what = what or f'"{scope}"'
        self.outer_controls: dict[Operation, None] = {}
        self._captures: dict[Tensor, Tensor] = {}
        self._sources: dict[Tensor, Tensor] = {}
        #: How many operations were made that run it: calls of one function.
        self.sites = 0
        super().__init__()
        # What surrounds the place where the body is built holds inside as well.
        self._local.context.overrides = home(outer)._local.context.overrides
        root = outer.root
        self._collections = root._collections
        self._variables = root._variables

    def describe(self) -> str:
        """How messages name this graph."""
        return f"the body of {self.what}"

    def create_op(
        self,
        opdef: OpDef,
        inputs: Sequence[Tensor] = (),
        attrs: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> Operation:
        """Append an operation; see :meth:`Graph.create_op`.

        Raises:
            GraphError: the body is not being built any more.
        """
        if home(self) is self and self not in graph_stack():
            names = [t.op.describe() for t in inputs if t.op.graph is self]
            what = " and ".join(names) or "a tensor"
            raise GraphError(
                f"{entry()}{what} of {self.describe()} is used outside of it: return "
                "it from there"
            )
        return super().create_op(opdef, inputs, attrs, name)

    # -- inputs --------------------------------------------------------------

    def add_input(self, dtype: Any, dims: Dims, name: str) -> Tensor:
        """A new input of the body."""
        return self._bare(BODY_INPUT, {"dtype": dtype, "shape": dims}, name)

    def capture(self, t: Tensor) -> Tensor:
        """The tensor of this body that stands for ``t`` of a graph around it."""
        if t.op.graph is self:
            return t
        found = self._captures.get(t)
        if found is not None:
            return found
        nesting: list[Subgraph] = []
        graph: Graph = self
        while graph is not t.op.graph:
            if not isinstance(graph, Subgraph):
                raise GraphError(
                    f"{t.op.describe()} ({t.op.defined_at()}) belongs to another "
                    f"graph than {self.describe()}",
                    t.op,
                )
            nesting.append(graph)
            graph = graph.outer
        inner = t
        for body in reversed(nesting):
            known = body._captures.get(inner)
            inner = body._take(inner) if known is None else known
        self._captures[t] = inner
        return inner

    def stand_in(self, t: Tensor) -> Tensor:
        """A new input that stands for ``t``: its value, or the variable it is."""
        inner = self._bare(
            BODY_VARIABLE if t.op.opdef.effect == "variable" else BODY_INPUT,
            {"dtype": t.dtype, "shape": t.dims},
            t.op.name.rpartition("/")[2] or "input",
        )
        self._sources[inner] = t
        self._captures.setdefault(t, inner)
        return inner

    def captured(self, t: Tensor) -> Tensor | None:
        """What stands for ``t`` here, None where nothing has captured it."""
        return self._captures.get(t)

    def source_of(self, inner: Tensor) -> Tensor | None:
        """The tensor of the graph around that ``inner`` stands for, if any."""
        return self._sources.get(inner)

    def _take(self, t: Tensor) -> Tensor:
        """Capture a tensor of the graph right around this one."""
        effect = t.op.opdef.effect
        if effect == "constant" and not t.dtype.is_inexact:
            inner = self._bare(t.op.opdef, dict(t.op.attrs), "Const")
            self.outer.prevent_feeding(t)
            self._captures[t] = inner
            return inner
        opdef = BODY_VARIABLE if effect == "variable" else BODY_INPUT
        attrs: dict[str, Any] = {"dtype": t.dtype, "shape": t.dims}
        if t.op.opdef.shape_only and t.dtype.is_integer:
            attrs["sizes"] = True
        inner = self._bare(opdef, attrs, t.op.name.rpartition("/")[2] or "capture")
        self._captures[t] = inner
        self._sources[inner] = t
        return inner

    def _bare(self, opdef: OpDef, attrs: dict[str, Any], name: str) -> Tensor:
        """An operation that no enclosing ``with`` block has a say in."""
        context = self._local.context
        saved = context.scope, context.controls, context.forward_op
        context.scope, context.controls = self.top_scope, ()
        context.forward_op = None
        try:
            with self.as_innermost():
                return self.create_op(opdef, (), attrs, name).outputs[0]
        finally:
            context.scope, context.controls, context.forward_op = saved

    def _adopt(
        self, opdef: OpDef, name: str | None, inputs: tuple[Tensor, ...], mark: Mark
    ) -> tuple[Tensor, ...]:
        adopted = []
        for t in inputs:
            if t.op.graph is not self and not self.is_inside(t.op.graph):
                return super()._adopt(opdef, name, (t,), mark)
            adopted.append(self.capture(t))
        return tuple(adopted)

    def _wait_outside(self, op: Operation) -> None:
        self.outer_controls[op] = None


@record(frozen=True)
class Body:
    """What runs in a body: the outputs of a subgraph as a function of its inputs.

    Several bodies may share one subgraph: a loop that keeps more values for its
    gradient is the same graph with more outputs.

    Attributes:
        graph: the subgraph.
        inputs: its inputs, in the order in which they are passed; variables
            (``BodyVariable``) are among them, though a run passes no array.
        outputs: what to compute; a branch has None where only others make a value.
        given: those of the variables for which a run passes an array after all, as it
            was fed in their place.
    """

    graph: Subgraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Any, ...]
    given: frozenset[Tensor] = frozenset()

    def __repr__(self) -> str:
        return (
            f"<Body of {self.graph.what}: {len(self.inputs)} inputs, "
            f"{len(self.outputs)} outputs, {len(self.graph)} operations>"
        )

    def operations(self) -> list[Operation]:
        """The operations that the outputs need, in order of creation."""
        return self._operations

    @cached_property
    def _operations(self) -> list[Operation]:
        # Graphs are only appended to: what outputs need does not change.
        return ancestors(t.op for t in self.outputs if t is not None)

    @cached_property
    def fed(self) -> tuple[bool, ...]:
        """For each input, whether a run passes an array for it."""
        return tuple(
            t.op.opdef is not BODY_VARIABLE or t in self.given for t in self.inputs
        )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Which of the inputs that a run feeds (all but variables) are sizes."""
        fed = [t for t, fed in zip(self.inputs, self.fed) if fed]
        return tuple(i for i, t in enumerate(fed) if t.op._attrs.get("sizes"))

    def written(self) -> list[Tensor]:
        """The variables among the inputs that a run of the body writes."""
        found: dict[Tensor, None] = {}
        for op in self.operations():
            for i in updated_inputs(op):
                found[variable_root(op.inputs[i])] = None
        return [t for t in self.inputs if t in found]

    @property
    def stateful(self) -> bool:
        """Whether a run has an effect beside its outputs, or draws at random."""
        return any(is_stateful(op) for op in self.operations())


def bodies_of(op: Operation) -> tuple[Body, ...]:
    """The bodies that a control operation runs (none for other operations)."""
    if op.opdef.control is None:
        return ()
    return op._attrs["branches"] if "branches" in op._attrs else (op._attrs["body"],)


def rules_of(op: Operation) -> tuple[Body, ...]:
    """The bodies that an operation holds for its derivatives and never runs."""
    if op.opdef.control is not None:
        return ()
    return tuple([v for v in op._attrs.values() if type(v) is Body])


def saving(graph: Any) -> set[Operation]:
    """The loops and branches of ``graph`` that have, beside the results of another,
    what the gradient of that one reads; their rules note them."""
    return {
        op
        for noted in ("_saving_loops", "_saving_branches")
        for made in vars(graph).get(noted, {}).values()
        for op in made.values()
    }


def graphs_in(graph: Graph) -> list[Graph]:
    """``graph`` and the bodies in it, in the order in which operations name them."""
    found: dict[Graph, None] = {}
    queue = [graph]
    while queue:
        named = []
        for g in queue:
            if g not in found:
                found[g] = None
                for op in g._operations:
                    held = (*bodies_of(op), *rules_of(op))
                    named += [body.graph for body in held]
        # A body may lie in one that is named elsewhere.
        queue = []
        for g in named:
            chain: list[Graph] = []
            around: Graph | None = g
            while around is not None and around not in found:
                chain.append(around)
                around = around.outer
            queue += reversed(chain)
    return list(found)


def infer_through(body: Body, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a body, as Specs, for inputs of which more is known."""
    known: dict[Tensor, Any] = dict(zip(body.inputs, inputs))
    for op in body.operations():
        if all(t in known for t in op.outputs):
            continue
        given = [known.get(t, t) for t in op.inputs]
        if all(s is t for s, t in zip(given, op.inputs)):
            continue
        try:
            specs = op.opdef.infer(given, op._attrs)
        except DagradError:
            # An error where the body runs, which it may never: a branch that is
            # not taken, a loop of no iterations.
            continue
        for t, (dtype, dims) in zip(op.outputs, specs):
            if is_static(t.dims):
                continue
            known[t] = Spec(dtype, dims)
        if op.outputs and (op.opdef.value is not None or op.opdef.shape_math):
            first = op.outputs[0]
            value = known_value(op.opdef, given, op._attrs, specs)
            if value is not None:
                dims = known.get(first, first).dims
                known[first] = Spec(first.dtype, dims, value)
    return [None if t is None else known.get(t, t) for t in body.outputs]


def empty_stacks(
    body: Body, carries: int, scanned: int, first: int, given: Sequence[Any]
) -> list[Any]:
    """The stacks of no rows, of the shape that rows would have had.

    Args:
        body: the body, of which outputs ``first`` and on are stacked.
        carries, scanned: how many of ``given`` are such.
        given: the arrays that the loop was given.
    """
    made: Sequence[Any] = body.outputs[first:]
    if not all(is_static(t.dims) for t in made):
        specs: list[Any] = []
        for k, (t, a) in enumerate(zip(body.inputs, given, strict=True)):
            if type(a) is not np.ndarray:
                specs.append(t)
            elif carries <= k < carries + scanned:
                specs.append(Spec(t.dtype, a.shape[1:]))
            else:
                known = a if t.dtype.is_integer and a.size <= MAX_KNOWN else None
                specs.append(Spec(t.dtype, a.shape, known))
        made = infer_through(body, specs)[first:]
    # Dimensions that nobody knows are 0.
    return [np.empty((0, *[d or 0 for d in t.dims or ()]), t.dtype.dtype) for t in made]


def captures_of(outputs: Iterable[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """The inputs (captures) that ``outputs`` of a subgraph need beside ``given``."""
    known = set(given)
    return [
        op.outputs[0]
        for op in ancestors([t.op for t in outputs])
        if op.opdef in (BODY_INPUT, BODY_VARIABLE) and op.outputs[0] not in known
    ]


def source_in(graph: Subgraph, t: Tensor) -> Tensor:
    """The tensor around ``graph`` that its input ``t`` stands for."""
    source = graph.source_of(t)
    assert source is not None
    return source


def is_stateful(op: Operation) -> bool:
    """Whether an operation must run exactly once for each time that it is asked."""
    return op.opdef.effect in ("assign", "update", "random", "io", "body")


def updated_inputs(op: Operation) -> tuple[int, ...]:
    """The inputs (variables) that an operation writes."""
    return op.opdef.updates or op._attrs.get("updates", ())


def variable_root(t: Tensor) -> Tensor:
    """The variable whose memory ``t`` is, through writes of it."""
    while t.op.opdef.effect in ("assign", "update"):
        t = t.op.inputs[0]
    return t


def variable_of(op: Operation) -> Operation:
    """The variable that a ``BodyVariable`` stands for (any other op: itself)."""
    while op.opdef is BODY_VARIABLE:
        graph = op.graph
        assert isinstance(graph, Subgraph)
        source = graph.source_of(op.outputs[0])
        assert source is not None
        op = source.op
    return op
