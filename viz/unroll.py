"""Loops, branches and calls written out: a copy of a graph in which nothing has a body.

The rounds of a loop stand one after the other, of a branch there is the one that runs,
and a call is what it calls: for one run, whose values say how often and which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import GraphError, ShapeError
from ..graphlib.graph import Graph
from ..graphlib.opdef import lookup
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.ragged import iterations
from ..graphlib.subgraph import Body, bodies_of
from ..graphlib.tensor import Tensor

__all__ = ["Unrolled"]

# Bodies in bodies in bodies.
_DEEPEST = 12


class Unrolled:
    """A copy without bodies of what makes some tensors, oldest first.

    Attributes:
        graph: the copy.
        feeds: values for its placeholders, which stand for what the run is given.
        made: a tensor of the program -> the one of the copy.
        where: operations of the copy -> what of the program runs them, such as
            ``("while, round 2",)``, outer ones first; others are in no body.

    ``read`` gives values of tensors of the program, from one run; ``leaf`` says whether
    a tensor is taken as it is.

    Raises:
        GraphError: more than ``most`` operations, a body that has an effect, or the
            gradient of a loop that keeps only the starts of segments.
    """

    def __init__(
        self,
        needed: Sequence[Tensor],
        read: Callable[[Sequence[Tensor]], Sequence[Any]],
        leaf: Callable[[Tensor], bool],
        most: int,
    ) -> None:
        self.graph = Graph()
        self.feeds: dict[Tensor, Any] = {}
        self.made: dict[Tensor, Tensor] = {}
        self.where: dict[Operation, tuple[str, ...]] = {}
        # Tests of loops and sizes are among what is copied, and then left out.
        self.room = 4 * most
        self.most = most
        leaves = [t for t in needed if leaf(t)]
        given = dict(zip(leaves, read(leaves)))
        with self.graph.as_default():
            for t in needed:
                if t in given:
                    self.made[t] = self._hole(t, given[t])
                elif t not in self.made:
                    self._copy(t.op, self.made, [])

    def value(self, t: Tensor) -> Any:
        """The value of a tensor of the copy."""
        with TABLE["session"](graph=self.graph) as session:
            return session.run(t, self.feeds)

    def _hole(self, like: Tensor, value: Any) -> Tensor:
        value = np.asarray(value)
        attrs = {"dtype": like.dtype, "shape": value.shape}
        kind = lookup("Placeholder")
        made: Tensor = self.graph.create_op(kind, (), attrs, like.op.name).outputs[0]
        self.feeds[made] = value
        return made

    # -- copying -------------------------------------------------------------------

    def _copy(
        self, op: Operation, made: dict[Tensor, Tensor], around: list[str]
    ) -> None:
        """Make ``op`` again, or what it runs; ``made`` gains its outputs."""
        given = [made[t] for t in op.inputs]
        if not bodies_of(op):
            attrs = {k: v for k, v in op.attrs.items() if k != "_gradient_op_type"}
            copy = self.graph.create_op(op.opdef, given, attrs, op.name)
            self._count(op, copy, around)
            _add(made, op, copy.outputs)
            return
        if op.opdef.effect is not None:
            raise GraphError(
                f"viz.trace: the body of {op.describe()} draws random numbers or "
                "writes variables: trace what is in it by itself",
                op,
            )
        if len(around) >= _DEEPEST:
            raise GraphError(f"viz.trace: {op.describe()} is too deep inside bodies")
        if op.opdef.control == "loop":
            self._loop(op, given, made, around)
        else:
            self._branch(op, given, made, around)

    def _count(self, op: Operation, copy: Operation, around: list[str]) -> None:
        if around:
            self.where[copy] = tuple(around)
        self.room -= copy.opdef.effect != "constant"
        if self.room < 0:
            what = f"in {around[0]}" if around else f"at {op.describe()}"
            raise GraphError(
                f"viz.trace writes at most {self.most} steps, and there are more, "
                f"{what}: run fewer rounds, trace what is in the loop by itself, or "
                "give max_steps"
            )

    def _inline(
        self, body: Body, given: Sequence[Tensor], around: list[str]
    ) -> list[Tensor | None]:
        """A body on these inputs; its outputs, None where it lacks one."""
        made = dict(zip(body.inputs, given))
        for op in body.operations():
            if not any(t in made for t in op.outputs):
                self._copy(op, made, around)
        return [None if t is None else made[t] for t in body.outputs]

    def _branch(
        self,
        op: Operation,
        given: list[Tensor],
        made: dict[Tensor, Tensor],
        around: list[str],
    ) -> None:
        """The body that runs: of a call the only one, else as the index says."""
        if "wires" not in op.attrs:
            raise _segments(op)
        bodies, chosen = bodies_of(op), 0
        said = _called(op)
        if "Case" in op.type:
            chosen = int(self.value(given[0]))
            if not 0 <= chosen < len(bodies):
                chosen = len(bodies) - 1
            said += f", {bodies[chosen].graph.what.rpartition(', ')[2]}"
        body = bodies[chosen]
        wires = op.attrs["wires"][chosen]
        results = self._inline(body, [given[i] for i in wires], [*around, said])
        # What only another branch would keep for a gradient is nothing here.
        there = [
            self._nothing(t.dtype, t.dims) if result is None else result
            for t, result in zip(op.outputs, results)
        ]
        _add(made, op, there)

    def _loop(
        self,
        op: Operation,
        given: list[Tensor],
        made: dict[Tensor, Tensor],
        around: list[str],
    ) -> None:
        """Round after round, until the test or the number of rounds ends it."""
        attrs = op.attrs
        if attrs["marks"] is not None:
            raise _segments(op)
        (body,) = bodies_of(op)
        bound = int(self.value(given.pop(0))) if attrs["bounded"] else None
        going = bool(self.value(given.pop(0))) if attrs["tested"] else True
        k, n = attrs["carries"], attrs["scanned"]
        state, scans, rest = given[:k], given[k : k + n], given[k + n :]
        limit = iterations([self.value(t) for t in scans], bound)
        past = [[state[i]] for i in attrs["history"]]
        rounds: list[list[Tensor]] = []
        done = 0
        while going and (limit is None or done < limit):
            at = limit - 1 - done if attrs["reverse"] and limit is not None else done
            inside = [*around, f"{_called(op)}, round {done + 1}"]
            rows = [self._row(t, at, op, inside) for t in scans]
            results = self._inline(body, [*state, *rows, *rest], inside)
            there = [t for t in results if t is not None]
            state = there[:k]
            if attrs["tested"]:
                going = bool(self.value(there[k]))
            for kept, i in zip(past, attrs["history"]):
                kept.append(state[i])
            rounds.append(there[k + attrs["tested"] :])
            done += 1
        count = TABLE["constant"](done, op.outputs[0].dtype)
        stacks = [list(stack) for stack in zip(*rounds)]
        if attrs["reverse"]:
            stacks = [stack[::-1] for stack in stacks]
        outputs: list[Tensor] = [count, *state]
        outputs += [self._stack(values, op, around) for values in (*past, *stacks)]
        for t in op.outputs[len(outputs) :]:  # of a loop without a round
            dims = None if t.dims is None else (0, *t.dims[1:])
            outputs.append(self._nothing(t.dtype, dims))
        _add(made, op, outputs)

    def _stack(
        self, values: Sequence[Tensor], op: Operation, around: list[str]
    ) -> Tensor:
        try:
            made: Tensor = TABLE["stack"](values)
        except ShapeError:
            raise GraphError(
                f"viz.trace: {op.describe()} keeps rows of different shapes, of which "
                "there is no array to write",
                op,
            ) from None
        self._count(op, made.op, around)
        return made

    def _nothing(self, dtype: Any, dims: Any) -> Tensor:
        """Zeros; none at all along what is not known."""
        shape = [0 if d is None else d for d in dims or ()]
        made: Tensor = TABLE["constant"](np.zeros(shape, dtype.dtype), dtype)
        return made

    def _row(self, t: Tensor, at: int, op: Operation, around: list[str]) -> Tensor:
        row: Tensor = TABLE["getitem"](t, at)
        self._count(op, row.op, around)
        return row


def _add(made: dict[Tensor, Tensor], op: Operation, outputs: Sequence[Tensor]) -> None:
    """Note what stands for the outputs of ``op``, but for those that are fed."""
    for t, copy in zip(op.outputs, outputs):
        made.setdefault(t, copy)


def _segments(op: Operation) -> GraphError:
    return GraphError(
        f"viz.trace: {op.describe()} goes back segment by segment, which is not "
        "written out: trace what it is the gradient of, or leave checkpoint_every out",
        op,
    )


def _called(op: Operation) -> str:
    """``while`` of ``while/Loop``: what the program calls it."""
    name = op.name.removeprefix(getattr(op.graph, "top_scope", ""))
    scope, _, last = name.rpartition("/")
    return scope if scope and last.rstrip("_0123456789") == op.type else name
