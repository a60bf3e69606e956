"""A small graph with its numbers: values, tangents and adjoints, step by step.

What a lecture writes on the whiteboard: each operation gets a number, going forward
its value and its tangent (the derivative along a direction of the inputs), going
back its adjoint (the derivative of the result with respect to it), and on each edge
what flows there: the partial derivative times the tangent of the parent, or times the
adjoint of the child.  All numbers are the engine's own, each from a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graphlib.errors import GraphError
from ..graphlib.forward import jvp
from ..graphlib.gradients import gradients
from ..graphlib.graph import Graph
from ..graphlib.opdef import lookup
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.stacks import session_stack
from ..graphlib.subgraph import bodies_of
from ..graphlib.tensor import Tensor
from .targets import flatten
from .unroll import Unrolled

__all__ = ["Line", "Term", "Trace", "trace"]

_MOST = 60


@dataclass
class Term:
    """What flows along an edge from a parent to a child.

    Attributes:
        parent: the number of the line where it begins.
        input: which input of the child it is.
        partial: the derivative of the child by the parent, where both are single
            numbers; else None.
        tangent: partial times the parent's tangent; adjoint: partial times the
            child's adjoint; None where nothing flows.
    """

    parent: int
    input: int
    partial: Any = None
    tangent: Any = None
    adjoint: Any = None


@dataclass
class Line:
    """One line of the whiteboard: an operation's result and its derivatives.

    Attributes:
        tensor: what is computed.
        parents: per input of the operation the number of a line, or the text of a
            constant.
        terms: one for each input through which a derivative may flow.
        value, tangent, adjoint: None for a tangent or adjoint that is none.
        where: what runs it, such as ``("while, round 2",)``, outer ones first.
    """

    tensor: Tensor
    parents: tuple[int | str, ...] = ()
    terms: list[Term] = field(default_factory=list)
    value: Any = None
    tangent: Any = None
    adjoint: Any = None
    where: tuple[str, ...] = ()


@dataclass
class Trace:
    """Every step of a computation in both modes; ``str`` is the table of them.

    Attributes:
        lines: in the order of the computation.
        results: the numbers of the lines that were asked for.
        inputs: the numbers of the lines that derivatives are with respect to.
        direction: per input, the tangent that was given.
    """

    lines: list[Line]
    results: tuple[int, ...]
    inputs: tuple[int, ...]
    direction: tuple[Any, ...] = ()

    def backwards(self) -> list[int]:
        """The lines in the order of the reverse mode: children before parents."""
        return list(reversed(range(len(self.lines))))

    def to_svg(self, path: Any = None, **options: Any) -> str:
        """Both modes as a picture (options: ``theme``, ``title``, ``modes``)."""
        from . import render

        return render(self, path, **options)

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def __str__(self) -> str:
        from .board import told

        return "\n".join(told(self))


def trace(
    fetches: Any,
    feeds: Mapping[Any, Any] | None = None,
    *,
    wrt: Any = None,
    direction: Any = None,
    session: Any = None,
    max_steps: int = _MOST,
) -> Trace:
    """Values, tangents and adjoints of a small graph, step by step.

    Args:
        fetches: a tensor, or several: adjoints are of the sum of their elements.
        feeds: as in ``Session.run``.
        wrt: what derivatives are with respect to (default: what is fed, and
            variables, where it has a floating dtype).
        direction: a tangent for each of ``wrt`` (default: ones for the first, zeros
            for the others: the derivative with respect to the first).
        session: where variables have their values (default: the default session).
        max_steps: the most lines that are written.

    Raises:
        GraphError: nothing or too much to trace, or a body that draws random numbers
            or writes variables.

    Loops are written round by round, of a branch what runs, and of a call what it
    calls.  The graph is not changed: derivatives are built in a copy.

    >>> import dagrad as tf
    >>> x = tf.placeholder(tf.float64, [], name="x")
    >>> print(tf.viz.trace(tf.sin(x) * x, {x: 2.0}))
    forward, along (1)
      v₁ = x       = 2       v̇₁ = 1
      v₂ = sin v₁  = 0.9093  v̇₂ = −0.4161·1 = −0.4161
      v₃ = v₂ · v₁ = 1.819   v̇₃ = 2·(−0.4161) + 0.9093·1 = 0.077
    reverse
      v̄₃ = 1
      v̄₂ = 2·1 = 2
      v̄₁ = −0.4161·2 + 0.9093·1 = 0.077
    """
    ys = list(flatten(fetches))
    if not ys:
        raise GraphError("viz.trace: nothing to trace: give a tensor")
    graph = ys[0].graph
    ys = [graph.as_graph_element(y, True, False) for y in ys]
    given = {
        graph.as_graph_element(t, True, False): v for t, v in (feeds or {}).items()
    }
    if session is None:
        stack = session_stack()
        open_one = stack[-1] if stack and stack[-1].graph is graph else None
        session = open_one or TABLE["session"](graph=graph)
    needed = _needed(ys, given)
    chosen = None if wrt is None else [_tensor(graph, t) for t in flatten(wrt)]
    where: Mapping[Operation, tuple[str, ...]] = {}
    if any(bodies_of(t.op) and t not in given for t in needed):
        flat = Unrolled(
            needed,
            lambda leaves: session.run(leaves, given),
            lambda t: _is_leaf(t, given),
            max_steps,
        )
        ys = [flat.made[y] for y in ys]
        chosen = chosen and [_kept(t, flat.made) for t in chosen]
        graph, given, where = flat.graph, flat.feeds, flat.where
        session = TABLE["session"](graph=graph)
        needed = _needed(ys, given)
    _check_size(needed, max_steps)
    return _Tracer(needed, ys, given, session, where).run(chosen, direction)


def _tensor(graph: Graph, element: Any) -> Tensor:
    found = graph.as_graph_element(element, True, False)
    assert isinstance(found, Tensor)
    return found


def _needed(ys: Sequence[Tensor], fed: Mapping[Tensor, Any]) -> list[Tensor]:
    """What is computed, oldest first; what is fed ends the way."""
    found: set[Tensor] = set()
    stack = list(ys)
    while stack:
        t = stack.pop()
        if t not in found:
            found.add(t)
            if t not in fed:
                stack += t.op.inputs
    return sorted(found, key=lambda t: (t.op.id, t.index))


def _check_size(needed: Sequence[Tensor], most: int) -> None:
    steps = len({t.op for t in needed if t.op.opdef.effect != "constant"})
    if steps > most:
        raise GraphError(
            f"viz.trace writes at most {most} steps, and here are {steps:,}: give a "
            "tensor nearer to what is fed, feed one on the way, run fewer rounds of a "
            "loop, or give max_steps; viz.render draws graphs of any size"
        )


def _is_leaf(t: Tensor, fed: Mapping[Tensor, Any]) -> bool:
    """Whether its value is taken as it is: fed, stored, drawn at random."""
    effect = t.op.opdef.effect
    if t in fed or effect == "constant":
        return t in fed
    return not t.op.inputs or effect not in (None, "body")


def _kept(t: Tensor, made: Mapping[Tensor, Tensor]) -> Tensor:
    if t not in made:
        raise GraphError(f"viz.trace: {t.op.describe()} is not part of what is traced")
    return made[t]


def _plain_read(t: Tensor, fed: Mapping[Tensor, Any]) -> bool:
    """Whether it is a variable, handed on as it is."""
    return (
        t not in fed
        and t.op.type == "Identity"
        and t.op.inputs[0].op.opdef.effect == "variable"
    )


class _Tracer:
    """Numbers the lines, copies the graph, and runs it."""

    def __init__(
        self,
        needed: Sequence[Tensor],
        ys: Sequence[Tensor],
        fed: Mapping[Tensor, Any],
        session: Any,
        where: Mapping[Operation, tuple[str, ...]],
    ) -> None:
        self.ys, self.fed = ys, fed
        self.session = session
        self.where = where
        self.lines: list[Line] = []
        self.number: dict[Tensor, int] = {}
        known: dict[Tensor, str] = {}
        for t in needed:
            if t.op.opdef.effect == "constant" and t not in fed:
                known[t] = ""
            elif _plain_read(t, fed):
                self.number[t] = self.number[t.op.inputs[0]]
            else:
                self._line(t, known)

    def _line(self, t: Tensor, known: Mapping[Tensor, str]) -> None:
        from .board import constant

        parents: tuple[int | str, ...] = ()
        if not self._leaf(t):
            parents = tuple(
                constant(i) if i in known else self.number[i] for i in t.op.inputs
            )
        self.number[t] = len(self.lines)
        self.lines.append(Line(t, parents, where=self.where.get(t.op, ())))

    def _leaf(self, t: Tensor) -> bool:
        return _is_leaf(t, self.fed)

    def run(self, wrt: Sequence[Tensor] | None, direction: Any) -> Trace:
        """Values from the session; then derivatives in a copy, twice over."""
        values = self.session.run([line.tensor for line in self.lines], self.fed)
        for line, value in zip(self.lines, values):
            line.value = np.asarray(value)
        inputs = self._inputs(wrt)
        along = self._direction(inputs, direction)
        self._derivatives(inputs, along)
        self._terms()
        results = tuple(self.number[y] for y in self.ys)
        return Trace(self.lines, results, tuple(inputs), tuple(along))

    def _inputs(self, wrt: Sequence[Tensor] | None) -> list[int]:
        if wrt is not None:
            missing = [t for t in wrt if t not in self.number]
            if missing:
                raise GraphError(
                    f"viz.trace: {missing[0].op.describe()} is not part of what is "
                    "traced"
                )
            return [self.number[t] for t in wrt]
        return [
            n
            for n, line in enumerate(self.lines)
            if self._leaf(line.tensor) and line.tensor.dtype.is_inexact
        ]

    def _direction(self, inputs: Sequence[int], direction: Any) -> list[Any]:
        shapes = [self.lines[n].value for n in inputs]
        if direction is None:
            return [np.full_like(v, 1 if k == 0 else 0) for k, v in enumerate(shapes)]
        given = direction if isinstance(direction, (list, tuple)) else [direction]
        if len(given) != len(inputs):
            raise GraphError(
                f"viz.trace: {len(given)} tangents for {len(inputs)} inputs, which are "
                + ", ".join(self.lines[n].tensor.name for n in inputs)
            )
        return [
            np.broadcast_to(np.asarray(d, v.dtype), v.shape)
            for d, v in zip(given, shapes)
        ]

    # -- all tangents and adjoints -----------------------------------------------

    def _derivatives(self, inputs: Sequence[int], along: Sequence[Any]) -> None:
        copy = _Copy()
        made: dict[Tensor, Tensor] = {}
        for line in self.lines:
            t = line.tensor
            if self._leaf(t):  # in place of what its operation would make
                made[t] = copy.hole(line.value, t)
            elif t not in made:
                given = [self._copied(i, made, copy) for i in t.op.inputs]
                made.update(zip(t.op.outputs, copy.again(t.op, given)))
        lines = [made[line.tensor] for line in self.lines]
        with copy.graph.as_default():
            seeds = [copy.hole(d, self.lines[n].tensor) for n, d in zip(inputs, along)]
            places = [n for n, t in enumerate(lines) if t.dtype.is_inexact]
            floating = [lines[n] for n in places]
            ys = [made[y] for y in self.ys if y.dtype.is_inexact]
            tangents: Any = [None] * len(floating)
            adjoints: Any = tangents
            if inputs:
                tangents = jvp(floating, [lines[n] for n in inputs], seeds)
            if ys:
                adjoints = gradients(ys, floating)
        got = copy.run([*tangents, *adjoints])
        for n, tangent, adjoint in zip(places, got, got[len(places) :]):
            self.lines[n].tangent, self.lines[n].adjoint = tangent, adjoint
        for n, d in zip(inputs, along):
            self.lines[n].tangent = np.asarray(d)

    def _copied(self, t: Tensor, made: dict[Tensor, Tensor], copy: _Copy) -> Tensor:
        if t not in made:
            if t in self.number:  # a plain read
                return made[self.lines[self.number[t]].tensor]
            made[t] = copy.again(t.op, [])[0]
        return made[t]

    # -- what flows along the edges ----------------------------------------------

    def _terms(self) -> None:
        """Each operation by itself: its partial derivatives, input by input."""
        copy = _Copy()
        wanted: list[Any] = []
        terms: list[tuple[Term, int]] = []
        with copy.graph.as_default():
            for line in self.lines:
                t = line.tensor
                if not line.parents or not t.dtype.is_inexact:
                    continue
                holes = [
                    copy.again(i.op, [])[0]
                    if isinstance(p, str)
                    else copy.hole(self.lines[p].value, i)
                    for i, p in zip(t.op.inputs, line.parents)
                ]
                out = copy.again(t.op, holes)[t.index]
                for k, (hole, p) in enumerate(zip(holes, line.parents)):
                    if isinstance(p, str) or not hole.dtype.is_inexact:
                        continue
                    term = Term(p, k)
                    wanted += self._flows(copy, line, self.lines[p], hole, out)
                    terms.append((term, len(wanted) - 3))
                    line.terms.append(term)
        got = copy.run(wanted)
        for term, at in terms:
            term.partial, term.tangent, term.adjoint = got[at : at + 3]

    def _flows(
        self, copy: _Copy, line: Line, parent: Line, hole: Tensor, out: Tensor
    ) -> list[Tensor | None]:
        """Of one edge: the partial derivative, and what flows in both modes."""
        partial = tangent = adjoint = None
        if line.value.size == 1 and parent.value.size == 1:
            partial = gradients(out, [hole])[0]
        if parent.tangent is not None:
            seed = copy.hole(parent.tangent, parent.tensor)
            tangent = jvp([out], [hole], [seed])[0]
        if line.adjoint is not None:
            back = copy.hole(line.adjoint, line.tensor)
            adjoint = gradients(out, [hole], grad_ys=[back])[0]
        return [partial, tangent, adjoint]


class _Copy:
    """A graph of copied operations between placeholders, and what to feed them."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.feeds: dict[Tensor, Any] = {}

    def hole(self, value: Any, like: Tensor) -> Tensor:
        """A placeholder that will be fed ``value``."""
        value = np.asarray(value)
        attrs = {"dtype": like.dtype, "shape": value.shape}
        with self.graph.as_default():
            made: Tensor = self.graph.create_op(
                lookup("Placeholder"), (), attrs
            ).outputs[0]
        self.feeds[made] = value
        return made

    def again(self, op: Operation, inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """The same operation on other inputs."""
        with self.graph.as_default():
            attrs = {k: v for k, v in op.attrs.items() if k != "_gradient_op_type"}
            return self.graph.create_op(op.opdef, tuple(inputs), attrs).outputs

    def run(self, wanted: Sequence[Tensor | None]) -> list[Any]:
        """The values of those that are not None."""
        real = [t for t in wanted if t is not None]
        with TABLE["session"](graph=self.graph) as session:
            got = iter(session.run(real, self.feeds))
        return [None if t is None else np.asarray(next(got)) for t in wanted]
