"""Loop: one operation that runs a body again and again.

``while_loop``, ``scan``, ``map_fn`` and the folds are all this operation.  An
iteration t computes, from the *carries*, the t-th *rows* of the scanned arrays
and the *rest* (which is the same in each iteration), new carries, outputs that
are stacked, and whether to go on.

The derivative of a loop is a loop again, so every order and both modes work:
forward mode carries the tangents beside the values; reverse mode runs backward
over what the forward loop kept, which is exactly what the backward body reads:
the history of a carry serves as its value before and after each iteration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..graphlib.errors import GraphError
from ..graphlib.gradients import IndexedSlices, pull_back
from ..graphlib.masks import guarded, selects
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.passages import passages
from ..graphlib.source import entry
from ..graphlib.stacks import home
from ..graphlib.subgraph import Body
from ..graphlib.tensor import Tensor
from . import _control_batch
from ._bodies import (
    BackwardGraph,
    Expand,
    Moving,
    appended,
    forward_rules,
    late_reads,
    positions,
    zeros_for,
)
from ._build import create_op
from ._loop import Parts, flops, infer, known_count
from ._loop_kernel import kernel
from .history_rows import only_last, row, rows
from .rows import UNSHAPED

__all__ = ["LOOP", "STATEFUL_LOOP", "loop"]


# -- making one --------------------------------------------------------------------


def loop(
    body: Body,
    carries: Sequence[Tensor],
    arrays: Sequence[Tensor],
    rest: Sequence[Tensor],
    bound: Tensor | None = None,
    test: Tensor | None = None,
    reverse: bool = False,
    history: Sequence[int] = (),
    loose: Sequence[int] | None = None,
    strict: int | None = None,
    name: str | None = None,
    unshaped: Sequence[int] | None = None,
    keep: Any = None,
    marks: Any = None,
) -> Operation:
    """A loop operation (see :class:`Parts` for what its inputs mean).

    Rows of different shapes are an error in what users see: in the history of
    carries that are not ``loose``, and in the first ``strict`` stacks (None: all).
    ``unshaped`` are carries that start with empty rows, to which the first iteration
    gives their shape (None: those that an ``Unshaped`` makes).  ``keep`` and ``marks``:
    see :class:`Parts`.
    """
    head = [t for t in (bound, test) if t is not None]
    if test is not None and arrays:
        raise GraphError("a loop that tests whether to go on scans no arrays")
    inputs = [*head, *carries, *arrays, *rest]
    attrs: dict[str, Any] = {
        "body": body,
        "carries": len(carries),
        "scanned": len(arrays),
        "bounded": bound is not None,
        "tested": test is not None,
        "reverse": reverse,
        "history": tuple(history),
        "loose": () if loose is None else tuple(loose),
        "strict": len(body.outputs) if strict is None else strict,
        "unshaped": tuple(_unshaped(carries) if unshaped is None else unshaped),
        "keep": keep,
        "marks": marks,
    }
    opdef = LOOP
    if body.stateful:
        if keep is not None:
            raise GraphError(
                f"{entry()}{body.graph.what} draws random numbers or writes variables, "
                "so it cannot be computed again for its gradient: do that outside of "
                "it and pass the result in, or leave checkpoint_every out"
            )
        opdef = STATEFUL_LOOP
        written = positions(body.written(), body.inputs)
        attrs["updates"] = tuple(len(head) + i for i in written)
    return create_op(opdef, inputs, attrs, name)


def _unshaped(carries: Sequence[Tensor]) -> list[int]:
    return [i for i, t in enumerate(carries) if t.op.opdef is UNSHAPED]


# -- forward mode ------------------------------------------------------------------


def _alongside(op: Operation, along: Sequence[Moving], expand: Expand) -> list[Moving]:
    """What moves along with the outputs, from what moves along with the inputs.

    That is one tangent, or the K coefficients of a path; ``expand`` takes it through
    the body.  A carry takes all K along, a row and the rest those that there are.
    """
    p = Parts(op)
    graph = p.body.graph
    head = len(op.inputs) - len(p.body.inputs)
    order = len(along[0])
    reads = late_reads(op, [d for moving in along for d in moving])
    k, n = len(p.carries), len(p.rows)
    inner = p.body.inputs
    passed = dict(zip(inner, along[head:]))
    moves = [any(d is not None for d in moving) for moving in along]
    active = {t for t, m in zip(inner, moves[head:]) if m}
    slots = sorted(_varied(op, moves))
    active |= {p.carries[i][0] for i in slots}
    carried_along = {p.carries[i][0] for i in slots}
    moved = [t for t in inner if t in active]
    with appended(graph, op):
        new: dict[Tensor, Moving] = {
            t: [
                graph.add_input(t.dtype, t.dims, "tangent")
                if t in carried_along or d is not None
                else None
                for d in passed[t]
            ]
            for t in moved
        }
        wanted = [*p.carried, *p.made]
        pushed = expand(wanted, moved, [new[t] for t in moved])
        d_carried = [zeros_for(d, p.carried[i]) for i in slots for d in pushed[i]]
    d_made = pushed[k:]
    inits = [
        zeros_for(d, p.carries[i][1]) for i in slots for d in passed[p.carries[i][0]]
    ]

    def split(part: slice) -> tuple[list[Tensor], list[Tensor]]:
        pairs = [
            pair for t in inner[part] if t in active for pair in zip(new[t], passed[t])
        ]
        there = [(i, d) for i, d in pairs if i is not None and d is not None]
        return [i for i, _ in there], [d for _, d in there]

    row_ins, row_ts = split(slice(k, k + n))
    rest_ins, rest_ts = split(slice(k + n, None))
    again = [] if p.again is None else [p.again]
    body = Body(
        graph,
        (
            *inner[:k],
            *[t for i in slots for t in _present(new[p.carries[i][0]])],
            *inner[k : k + n],
            *row_ins,
            *inner[k + n :],
            *rest_ins,
        ),
        (
            *p.carried,
            *d_carried,
            *again,
            *p.made,
            *[t for moving in d_made for t in _present(moving)],
        ),
    )

    def twins(carries: Iterable[int]) -> list[int]:
        """The carries that move along with these."""
        firsts = [k + slots.index(i) * order for i in carries if i in slots]
        return [first + o for first in firsts for o in range(order)]

    histories = list(p.histories)
    both = loop(
        body,
        [*[x for _, x in p.carries], *inits],
        [*[x for _, x in p.rows], *row_ts],
        [*[reads.get(x, x) for _, x in p.rest], *rest_ts],
        p.bound,
        p.test,
        p.reverse,
        [*histories, *twins(histories)],
        [*p.loose, *twins(i for i in histories if i in p.loose)],
        p.strict if p.strict < len(p.made) else None,
        unshaped=[*p.unshaped, *twins(p.unshaped)],
        keep=p.keep,
        marks=p.marks,
    )
    q = Parts(both)
    nothing: Moving = [None] * order
    results: list[Moving] = [nothing]
    results += [[q.finals[j] for j in twins([i])] or nothing for i in range(k)]
    results += [[q.histories[j] for j in twins([i])] or nothing for i in histories]
    stacks = iter(q.stacks[len(p.made) :])
    results += [
        [None if d is None else next(stacks) for d in moving] for moving in d_made
    ]
    return results


def _present(moving: Moving) -> list[Tensor]:
    return [t for t in moving if t is not None]


# -- reverse mode ------------------------------------------------------------------


def _vjp(
    op: Operation, *cotangents: Tensor | None, needed: Sequence[bool]
) -> list[Tensor | None]:
    """The loop that runs backward over what the forward loop kept."""
    p = Parts(op)
    k = len(p.carries)
    cotangents = _ends_to_finals(p, cotangents)
    head = len(op.inputs) - len(p.body.inputs)
    wanted = {
        t
        for t, need in zip(p.body.inputs, needed[head:])
        if need and t.dtype.is_inexact
    }
    finals = list(cotangents[1 : k + 1])
    d_histories = dict(zip(p.histories, cotangents[k + 1 : k + 1 + len(p.histories)]))
    d_stacks = cotangents[k + 1 + len(p.histories) :]
    asked = [passages(op)[j] for j, g in enumerate(cotangents) if g is not None]
    useful = [i for i in range(k) if any(flow.leads >> head + i & 1 for flow in asked)]
    among = [need and t.dtype.is_inexact for need, t in zip(needed, op.inputs)]
    varied = _varied(op, among)
    active = [i for i in useful if i in varied]
    seeded = [j for j, g in enumerate(d_stacks) if g is not None]
    if not active and not seeded:
        return [None] * len(op.inputs)
    remembered = [i for i in active if d_histories.get(i) is not None]

    reads = late_reads(op, cotangents)
    passed = {t: reads.get(x, x) for t, x in p.rest}
    # What one iteration excludes, another has computed.
    guard = guarded(op) or selects(op)
    graph = BackwardGraph(op, p.body, passed, f"the gradient of {op.describe()}", True)
    with graph.as_innermost():
        into = [_cotangent_of(graph, p.carried[i], "cotangent") for i in active]
        d_rows = [_cotangent_of(graph, p.made[j], "row") for j in seeded]
        d_befores = [_cotangent_of(graph, p.carried[i], "before") for i in remembered]
        carry_ins = [p.carries[i][0] for i in active]
        row_ins = [t for t, _ in p.rows if t in wanted]
        rest_ins = [t for t, _ in p.rest if t in wanted]
        outs = [p.carried[i] for i in active] + [p.made[j] for j in seeded]
        targets = [*carry_ins, *row_ins, *rest_ins]
        cotangents_in = [*into, *d_rows]
        pulled = pull_back(outs, cotangents_in, targets, guard) if outs else []
        by_input = dict(zip(targets, pulled))
        out_of = []
        for i, c in zip(active, into):
            g = zeros_for(by_input.get(p.carries[i][0]), c)
            if i in remembered:
                g = TABLE["add"](g, d_befores[remembered.index(i)])
            out_of.append(g)
        row_ins = [t for t in row_ins if by_input.get(t) is not None]
        rest_ins = [t for t in rest_ins if by_input.get(t) is not None]
        made = [zeros_for(by_input[t], t) for t in row_ins]
        sums = [graph.add_input(t.dtype, t.dims, "sum") for t in rest_ins]
        totals = [_accumulated(s, by_input[t]) for s, t in zip(sums, rest_ins)]

    outer = dict(p.rest)
    inits = [_last_cotangent(p, i, finals[i], d_histories.get(i)) for i in active]
    inits += [zeros_for(None, outer[t]) for t in rest_ins]
    scanned = [g for g in d_stacks if g is not None]
    for d_history in (d_histories[i] for i in remembered):
        assert d_history is not None
        before = rows(d_history, None, -1)
        scanned.append(rows(before, None, None, -1) if p.reverse else before)
    body = Body(
        graph,
        (
            *into,
            *sums,
            *d_rows,
            *d_befores,
            *[inner for _, inner in graph.kept],
            *[inner for _, inner in graph.same],
        ),
        (*out_of, *totals, *made),
    )
    backward = Backward(
        body,
        inits,
        scanned,
        [t for t, _ in graph.kept],
        [outside for outside, _ in graph.same],
        tuple(active),
        tuple(seeded),
        tuple(remembered),
        [*carry_ins, *rest_ins, *row_ins],
    )
    made_by = backward_loop
    if p.keep is not None:
        from .checkpointed import backward_in_segments as made_by
    with home(op.graph).control_dependencies(op.control_inputs):
        results = made_by(op, p, backward, reads)
    found = dict(zip(backward.targets, results))
    return [None] * head + [found.get(t) for t in p.body.inputs]


class Backward(NamedTuple):
    """The parts of a loop that runs backward.

    Attributes:
        body: makes cotangents of carries and sums from what is carried, the rows
            that are scanned, those that are kept, and what is the same each time.
        inits: the cotangents and sums that it starts from.
        scanned: cotangents of stacks, and of histories before each iteration.
        kept: what it reads of the forward body.
        same: what it reads around the loop.
        active, seeded, remembered: the carries, stacks and histories whose
            cotangents come in; the last of a history is among the ``inits``.
        targets: the inputs of the forward body that the results are cotangents of.
    """

    body: Body
    inits: list[Tensor]
    scanned: list[Tensor]
    kept: list[Tensor]
    same: list[Tensor]
    active: tuple[int, ...]
    seeded: tuple[int, ...]
    remembered: tuple[int, ...]
    targets: list[Tensor]


def backward_loop(
    op: Operation, p: Parts, backward: Backward, reads: Mapping[Tensor, Tensor]
) -> Sequence[Tensor]:
    """Run backward over what the forward loop kept of every iteration."""
    source = Saved(_saving(op, p, backward.kept))
    return made_backward(
        backward, source, backward.inits, backward.scanned, backward.same
    )


def made_backward(
    backward: Backward,
    source: Saved,
    inits: Sequence[Tensor],
    scanned: Sequence[Tensor],
    same: Sequence[Tensor],
) -> Sequence[Tensor]:
    """The backward loop over what ``source`` has kept."""
    q = Parts(
        loop(
            backward.body,
            inits,
            [*scanned, *[source.rows_of(t) for t in backward.kept]],
            same,
            bound=source.p.count,
            reverse=not source.p.reverse,
            strict=0,
        )
    )
    return [*q.finals, *q.stacks]


def _ends_to_finals(
    p: Parts, cotangents: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """The cotangents with those of a history that end in its last row alone given to
    the final carry, which that row is."""
    moved = list(cotangents)
    for j, i in enumerate(p.histories, 1 + len(p.carries)):
        g = moved[j]
        last = None if g is None else only_last(g)
        if last is not None:
            final = moved[1 + i]
            moved[1 + i] = last if final is None else TABLE["add"](final, last)
            moved[j] = None
    return tuple(moved)


def _varied(op: Operation, moving: Sequence[bool]) -> set[int]:
    """The carries to which a derivative leads from the inputs that ``moving`` marks."""
    mask = sum(1 << i for i, moves in enumerate(moving) if moves)
    finals = passages(op)[1 : 1 + op._attrs["carries"]]
    return {i for i, flow in enumerate(finals) if flow.leads & mask}


def _cotangent_of(graph: BackwardGraph, t: Tensor, name: str) -> Tensor:
    return graph.add_input(t.dtype, t.dims, name)


def _accumulated(total: Tensor, part: Tensor | IndexedSlices | None) -> Tensor:
    """``total`` + ``part``; rows are added in place."""
    if isinstance(part, IndexedSlices):
        result: Tensor = TABLE["add_rows"](total, part.indices, part.values)
        return result
    return TABLE["add"](total, part)  # type: ignore[no-any-return]


def _last_cotangent(
    p: Parts, i: int, final: Tensor | None, history: Tensor | None
) -> Tensor:
    """The cotangent that the backward loop starts from."""
    if history is None:
        return zeros_for(final, p.finals[i])
    last = row(history, -1)
    return last if final is None else TABLE["add"](final, last)


def _saving(op: Operation, p: Parts, kept: Sequence[Tensor]) -> Operation:
    """The loop ``op`` with what its backward body reads among its outputs.

    It reads the same inputs, so that a plan runs both as one.
    """
    needed, stacked = what_to_keep(p, kept)
    history = needed | set(p.histories)
    made = list(dict.fromkeys([*p.made, *stacked]))
    if len(history) == len(p.histories) and len(made) == len(p.made):
        return op
    again = [] if p.again is None else [p.again]
    body = Body(p.body.graph, p.body.inputs, (*p.carried, *again, *made))
    key = (body.outputs, tuple(sorted(history)))
    kept_ops = vars(op.graph).setdefault("_saving_loops", {})
    known: dict[Any, Operation] = kept_ops.setdefault(op, {})
    if key not in known:
        with (
            appended(op.graph, op),
            op.graph.control_dependencies(op.control_inputs),
        ):
            known[key] = loop(
                body,
                [x for _, x in p.carries],
                [x for _, x in p.rows],
                [x for _, x in p.rest],
                p.bound,
                p.test,
                p.reverse,
                sorted(history),
                [*p.loose, *(history - set(p.histories))],
                min(p.strict, len(p.made)),
                name=op.name.rpartition("/")[2] + "_saving",
            )
    return known[key]


def what_to_keep(p: Parts, kept: Sequence[Tensor]) -> tuple[set[int], list[Tensor]]:
    """The carries whose history has tensors of the body that are to be kept, and those
    that must be stacked."""
    before = _places([c for c, _ in p.carries])
    after = _places(p.carried)
    rows = {t for t, _ in p.rows}
    history: set[int] = set()
    stacked: dict[Tensor, None] = {}
    for t in kept:
        if t in before:
            history.add(before[t])
        elif t in after:
            history.add(after[t])
        elif t not in rows:
            stacked[t] = None
    return history, list(stacked)


def _places(tensors: Sequence[Tensor]) -> dict[Tensor, int]:
    """Where each tensor stands first."""
    return {t: i for i, t in reversed([*enumerate(tensors)])}


class Saved:
    """Where the rows of the forward body's tensors are."""

    def __init__(self, op: Operation) -> None:
        self.p = Parts(op)
        self._before = _places([c for c, _ in self.p.carries])
        self._after = _places(self.p.carried)
        self._made = _places(self.p.made)
        self._rows = _places([t for t, _ in self.p.rows])

    def place_of(self, t: Tensor) -> tuple[str, int]:
        """Where ``t`` is: before or after each iteration in the history of a carry,
        in a scanned array, or in a stack."""
        if t in self._before:
            return "before", self._before[t]
        if t in self._rows:
            return "row", self._rows[t]
        if t in self._made:
            return "made", self._made[t]
        return "after", self._after[t]

    def rows_of(self, t: Tensor) -> Tensor:
        """The values of ``t`` in all iterations, stacked in the order of the scan."""
        kind, i = self.place_of(t)
        if kind == "row":
            return self.p.rows[i][1]
        if kind == "made":
            return self.p.stacks[i]
        part = (None, -1) if kind == "before" else (1, None)
        return self._in_order(rows(self.p.histories[i], *part))

    def _in_order(self, history: Tensor) -> Tensor:
        """A history runs with the iterations, a stack with the scanned arrays."""
        return rows(history, None, None, -1) if self.p.reverse else history


def _declare(type: str, effect: str | None) -> OpDef:
    return OpDef(
        type,
        infer=infer,
        kernel=kernel,
        inputs=("*inputs",),
        vjp=_vjp,
        **forward_rules(_alongside),
        writes_out=True,
        control="loop",
        effect=effect,
        value=known_count,
        batch=None if effect else _control_batch.loop,
        flops=flops,
        doc="carries, stacks = the body, iteration after iteration",
    )


LOOP = _declare("Loop", None)
STATEFUL_LOOP = _declare("StatefulLoop", "body")
