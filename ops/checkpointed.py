"""The gradient of a loop that keeps a few states and computes the others again.

One operation: a call of a body that runs the loop forward with all that the backward
loop reads, and then that loop.  This is what it means, how its shapes, its sparsity
and its batches are found, and how the reference interpreter runs it.  A plan runs it
segment by segment instead (see runtime.checkpointed), with the states at the start of
each as the forward loop marked them.

Its derivatives need no rules of the bodies.  With f the loop, G(x, u) = J(x)^T u the
operation, and J(x) w the forward-mode derivative of f,

    dG(x, u; w, v) = J(x)^T v + d/dx (u^T J(x) w),
    G's cotangents of a result w:  of u: J(x) w,  of x: d/dx (u^T J(x) w),

so both are gradients of loops of the same kind, and keep as little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..graphlib.checkpointing import Schedule
from ..graphlib.forward import push_forward
from ..graphlib.gradients import as_dense, cotangents_of, pull_back
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.stacks import home
from ..graphlib.subgraph import Body, Subgraph
from ..graphlib.tensor import Tensor
from . import _control_batch
from ._bodies import appended, forward_rules, zeros_for
from ._build import create_op
from ._loop import Parts
from .branches import alongside, call_kernel, infer_branches, most_flops
from .checkpoints import bytes_of, schedule_for
from .history_rows import rows
from .loops import Backward, Saved, loop, made_backward, what_to_keep

__all__ = ["CHECKPOINTED_GRADIENT", "backward_in_segments"]


def backward_in_segments(
    op: Operation, p: Parts, backward: Backward, reads: Mapping[Tensor, Tensor]
) -> Sequence[Tensor]:
    """The results of the backward loop of ``op``, segment by segment.

    ``reads`` are passed in the place of variables (see ``_bodies.late_reads``).
    """
    history, stacked = what_to_keep(p, backward.kept)
    schedule = schedule_for(
        p.keep, _length(p), bytes_of([x for _, x in p.carries]), bytes_of(stacked)
    )
    count, states, marks = _states(op, p, schedule, bool(backward.remembered))
    given: dict[Tensor, int] = {}

    def places(tensors: Sequence[Tensor]) -> tuple[int, ...]:
        return tuple(given.setdefault(t, len(given)) for t in tensors)

    roles = {
        "count": places([count]),
        "carries": places([x for _, x in p.carries]),
        "rows": places([x for _, x in p.rows]),
        "rest": places([reads.get(x, x) for _, x in p.rest]),
        "scanned": places(backward.scanned),
        "inits": places(backward.inits),
        "same": places(backward.same),
        "states": places(states),
    }
    outer = home(op.graph)
    scope = f"{outer._local.context.scope}body"
    graph = Subgraph(outer, scope, f"the gradient of {op.describe()}")
    with graph.as_innermost():
        ins = [_input(graph, t) for t in given]
        has = {role: [ins[i] for i in at] for role, at in roles.items()}
        forward = loop(
            Body(p.body.graph, p.body.inputs, (*p.carried, *stacked)),
            has["carries"],
            has["rows"],
            has["rest"],
            None if p.rows else has["count"][0],
            reverse=p.reverse,
            history=sorted(history),
            loose=sorted(history),
            strict=0,
            unshaped=p.unshaped,
        )
        source = Saved(forward)
        results = made_backward(
            backward, source, has["inits"], has["scanned"], has["same"]
        )
    # The rows of marked states are overwritten: they are outputs too.
    over = has["states"] if marks else []
    wires = tuple(range(len(given)))
    attrs: dict[str, Any] = {
        "branches": (Body(graph, tuple(ins), (*results, *over)),),
        "wires": (wires,),
        "roles": roles,
        "schedule": schedule,
        "sources": tuple(source.place_of(t) for t in backward.kept),
        "overwritten": len(over),
        # For the rules: the loop itself, and what its cotangents are of.
        "primal": Body(p.body.graph, p.body.inputs, (*p.carried, *p.made)),
        "keep": p.keep,
        "active": backward.active,
        "seeded": backward.seeded,
        "remembered": backward.remembered,
        "targets": tuple(map(p.body.inputs.index, backward.targets)),
    }
    made = create_op(CHECKPOINTED_GRADIENT, list(given), attrs)
    return made.outputs[: len(results)]


def _input(graph: Subgraph, t: Tensor) -> Tensor:
    """What stands for ``t`` in the body: whatever is passed in its place, but for a
    variable."""
    if t.op.opdef.effect == "variable":
        return graph.stand_in(t)
    return graph.add_input(t.dtype, t.dims, "input")


def _length(p: Parts) -> int | None:
    """The number of iterations; of a loop that tests, the most that there can be."""
    if p.test is not None:
        value = None if p.bound is None else p.bound.value
    else:
        value = p.count.value
    return None if value is None else int(value)


def _states(
    op: Operation, p: Parts, schedule: Schedule, stacked: bool
) -> tuple[Tensor, list[Tensor], bool]:
    """The number of iterations; the states that the forward loop keeps; and whether
    they are those that the schedule marks (else all of them, or none)."""
    if stacked and len(p.histories) == len(p.carries):
        return p.count, [p.histories[i] for i in range(len(p.carries))], False
    if p.test is not None and schedule[0] != "blocks":
        # Only its end tells which states to keep: they are computed again.
        return p.count, [], False
    carries = range(len(p.carries))
    again = [] if p.again is None else [p.again]
    known: dict[Any, Operation] = vars(op.graph).setdefault("_marking_loops", {})
    key = op, schedule
    if key not in known:
        with appended(op.graph, op), op.graph.control_dependencies(op.control_inputs):
            known[key] = loop(
                Body(p.body.graph, p.body.inputs, (*p.carried, *again)),
                [x for _, x in p.carries],
                [x for _, x in p.rows],
                [x for _, x in p.rest],
                p.bound,
                p.test,
                p.reverse,
                carries,
                carries,
                0,
                name=op.name.rpartition("/")[2] + "_marking",
                unshaped=p.unshaped,
                marks=schedule,
            )
    q = Parts(known[key])
    return q.count, [q.histories[i] for i in carries], True


# -- derivatives -------------------------------------------------------------------


class _Primal:
    """The loop whose gradient an operation is, built again.

    Attributes:
        op: the loop.
        at: for each input of its body, the position among the operation's inputs.
        targets: which inputs of its body the operation gives cotangents of.
        results: the loop's outputs whose cotangents the operation is given; of a
            history without its last row.
        given: the positions of these cotangents among the operation's inputs.
    """

    def __init__(self, op: Operation) -> None:
        attrs = op._attrs
        roles: Mapping[str, Sequence[int]] = attrs["roles"]
        like = next(
            o for o in attrs["branches"][0].operations() if o.opdef.control == "loop"
        )
        k, n = len(roles["carries"]), len(roles["rows"])
        self.at = [i for role in ("carries", "rows", "rest") for i in roles[role]]
        inputs = [op.inputs[i] for i in self.at]
        self.reverse: bool = like._attrs["reverse"]
        self.op = loop(
            attrs["primal"],
            inputs[:k],
            inputs[k : k + n],
            inputs[k + n :],
            None if n else op.inputs[roles["count"][0]],
            reverse=self.reverse,
            history=attrs["remembered"],
            loose=attrs["remembered"],
            strict=0,
            unshaped=like._attrs["unshaped"],
            keep=attrs["keep"],
        )
        p = Parts(self.op)
        self.targets: Sequence[int] = attrs["targets"]
        self.results = [p.finals[i] for i in attrs["active"]]
        self.results += [p.stacks[j] for j in attrs["seeded"]]
        self.cut = [False] * len(self.results) + [True] * len(p.histories)
        self.results += [p.histories[i] for i in attrs["remembered"]]
        self.given = [*roles["inits"][: len(attrs["active"])], *roles["scanned"]]

    def tangents(self, along: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Those of the results, from those of the body's inputs."""
        head = len(self.op.inputs) - len(along)
        nothing: list[Tensor | None] = [None] * head
        moved = push_forward(self.op, [*nothing, *along])
        by_output = dict(zip(self.op.outputs, moved))
        return [by_output[y] for y in self.results]

    def without_last(self, t: Tensor) -> Tensor:
        """A history before each iteration, in the order of the scan."""
        before = rows(t, None, -1)
        return rows(before, None, None, -1) if self.reverse else before

    def pulled(
        self,
        outs: Sequence[Tensor | None],
        seeds: Sequence[Tensor | None],
        found: dict[int, Tensor | None],
    ) -> None:
        """Add to ``found`` the cotangents of the body's inputs from those of ``outs``,
        which are the results or their tangents (all outputs of one loop)."""
        cotangents: dict[Tensor, Tensor] = {}
        for y, g, cut in zip(outs, seeds, self.cut):
            if y is None or g is None:
                continue
            if cut:
                (whole,) = pull_back([self.without_last(y)], [g], [y])
                g = zeros_for(whole, y)
            cotangents[y] = g
        if not cotangents:
            return
        (op,) = {y.op for y in cotangents}
        inner = op._attrs["body"].inputs
        head = len(op.inputs) - len(inner)
        needed = [t.dtype.is_inexact for t in op.inputs]
        made = cotangents_of(op, [cotangents.get(y) for y in op.outputs], needed)
        by_input = dict(zip(inner, made[head:]))
        for k, t in enumerate(self.op._attrs["body"].inputs):
            g = by_input[t]
            if g is not None:
                found[k] = _added(found.get(k), as_dense(g))


def _sums(op: Operation) -> list[int]:
    """The inputs that the sums over all iterations start from."""
    roles = op._attrs["roles"]
    return list(roles["inits"][len(op._attrs["active"]) :])


def _added(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return TABLE["add"](a, b)  # type: ignore[no-any-return]


def _jvp(op: Operation, *tangents: Tensor | None) -> list[Tensor | None]:
    active = len(op._attrs["active"])
    with home(op.graph).control_dependencies(op.control_inputs):
        p = _Primal(op)
        by_input: dict[int, Tensor | None] = {}
        p.pulled(p.results, [tangents[i] for i in p.given], by_input)
        along = [tangents[i] if op.inputs[i].dtype.is_inexact else None for i in p.at]
        if any(t is not None for t in along):
            p.pulled(p.tangents(along), [op.inputs[i] for i in p.given], by_input)
        found = [by_input.get(k) for k in p.targets]
        for k, i in enumerate(_sums(op), active):
            found[k] = _added(found[k], tangents[i])
    return found + [None] * op._attrs["overwritten"]


def _vjp(
    op: Operation, *cotangents: Tensor | None, needed: Sequence[bool]
) -> list[Tensor | None]:
    active = len(op._attrs["active"])
    found: list[Tensor | None] = [None] * len(op.inputs)
    with home(op.graph).control_dependencies(op.control_inputs):
        p = _Primal(op)
        along: list[Tensor | None] = [None] * len(p.at)
        for k, w in zip(p.targets, cotangents):
            along[k] = w
        if all(w is None for w in along):
            return found
        pushed = p.tangents(along)
        for i, d, cut in zip(p.given, pushed, p.cut):
            if d is not None:
                found[i] = _added(found[i], p.without_last(d) if cut else d)
        by_input: dict[int, Tensor | None] = {}
        if any(needed[i] and op.inputs[i].dtype.is_inexact for i in p.at):
            p.pulled(pushed, [op.inputs[i] for i in p.given], by_input)
        for k, i in enumerate(p.at):
            found[i] = _added(found[i], by_input.get(k))
        for w, i in zip(cotangents[active:], _sums(op)):
            found[i] = _added(found[i], w)
    return found


CHECKPOINTED_GRADIENT = OpDef(
    "CheckpointedGradient",
    infer=infer_branches,
    kernel=call_kernel,
    inputs=("*inputs",),
    writes_out=True,
    control="branch",
    batch=_control_batch.branches,
    flops=most_flops,
    doc="a loop forward again, segment by segment, and its gradient",
    **{**forward_rules(alongside), "vjp": _vjp, "jvp": _jvp},
)
