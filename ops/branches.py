"""Case and Call: operations that run one of several bodies, or one body.

``cond``, ``case`` and ``switch_case`` are a Case, ``function`` and
``recompute_grad`` a Call.  Only the body that is chosen runs, in either
direction: its derivative is a Case with the same index, whose bodies read what
the forward bodies kept.  What a body that did not run would have kept is an
empty array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import GraphError, InvalidArgumentError
from ..graphlib.gradients import as_dense, pull_back
from ..graphlib.masks import guarded
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, is_static
from ..graphlib.source import entry
from ..graphlib.stacks import home
from ..graphlib.subgraph import Body, Subgraph, infer_through
from ..graphlib.tensor import Tensor
from . import _control_batch
from ._bodies import (
    BackwardGraph,
    Expand,
    Moving,
    appended,
    copy_into,
    forward_rules,
    late_reads,
    positions,
    zeros_for,
)
from ._build import create_op
from ._loop import body_flops, join

__all__ = ["CALL", "CASE", "RECOMPUTED_CALL", "alongside", "branch", "call"]
__all__ += ["call_kernel", "infer_branches", "most_flops", "plain"]

# An output of a Case that this body does not make.
Absent = None


def _first(op: Operation) -> int:
    """How many inputs come before those of the bodies."""
    return 1 if op.opdef in (CASE, STATEFUL_CASE) else 0


# -- inference -----------------------------------------------------------------


def infer_branches(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    found: list[list[Any]] = []
    for body, wires in zip(attrs["branches"], attrs["wires"]):
        given = [inputs[i] for i in wires]
        found.append(infer_through(body, given))
    result: list[tuple[Any, Dims]] = []
    for made in zip(*found):
        present = [t for t in made if t is not None]
        dims: Dims = present[0].dims
        for t in present[1:]:
            dims = join(dims, t.dims)
        if len(present) < len(made):
            dims = _absent_dims(attrs["branches"], len(result))
        result.append((present[0].dtype, dims))
    return result


def _absent_dims(branches: Sequence[Body], k: int) -> Dims:
    """The shape of an output that a branch lacks, as far as the graph knows it."""
    like = _made_somewhere(branches, k)
    if like.dims is None or is_static(like.dims):
        return like.dims
    return (None,) * len(like.dims)


def _made_somewhere(branches: Sequence[Body], k: int) -> Tensor:
    found: Tensor = next(b.outputs[k] for b in branches if b.outputs[k] is not None)
    return found


# -- kernels ---------------------------------------------------------------------


def _case_kernel(
    xp: Any,
    run: Callable[..., Any],
    index: Any,
    *arrays: Any,
    branches: Sequence[Body],
    wires: Sequence[Sequence[int]],
    updates: Sequence[int] = (),
    site: int = 0,
    out: Any = None,
) -> Any:
    if np.ndim(index):
        raise InvalidArgumentError(
            f"what chooses a branch must be a scalar, not an array {np.shape(index)}"
        )
    chosen = int(index)
    if not 0 <= chosen < len(branches):
        chosen = len(branches) - 1
    given = [arrays[i - 1] for i in wires[chosen]]
    return _run(xp, run, branches, chosen, given, out)


def call_kernel(
    xp: Any,
    run: Callable[..., Any],
    *arrays: Any,
    branches: Sequence[Body],
    wires: Sequence[Sequence[int]],
    out: Any = None,
    **rest: Any,
) -> Any:
    return _run(xp, run, branches, 0, [arrays[i] for i in wires[0]], out)


def _run(
    xp: Any,
    run: Any,
    branches: Sequence[Body],
    chosen: int,
    arrays: list[Any],
    out: Any,
) -> Any:
    body = branches[chosen]
    results = iter(run(body, arrays))
    made = []
    for k, t in enumerate(body.outputs):
        if t is not None:
            made.append(next(results))
            continue
        # Where the shape is known it is kept, so that a loop around this stacks
        # rows of one shape: one zero, seen everywhere, takes no memory.
        like = _made_somewhere(branches, k)
        dims = like.dims if is_static(like.dims) else (0,) * len(like.dims or ())
        made.append(xp.broadcast_to(xp.zeros((), like.dtype.dtype), dims))
    if out is not None:
        for target, result in zip(out if isinstance(out, tuple) else (out,), made):
            xp.copyto(target, result)
        return out
    return made[0] if len(made) == 1 else tuple(made)


# -- making one ------------------------------------------------------------------


def branch(
    opdef: OpDef,
    index: Tensor | None,
    bodies: Sequence[Body],
    passed: Sequence[Sequence[Tensor]],
    name: str | None = None,
    site: int | None = None,
) -> Operation:
    """A Case or Call operation: ``passed[i]`` are the inputs of ``bodies[i]``.

    Two operations that have an effect are run as one where they share the bodies,
    the inputs and the ``site`` (None: one that no other has).
    """
    inputs: list[Tensor] = [] if index is None else [index]
    place: dict[Tensor, int] = {}
    wires = []
    for given in passed:
        mine = []
        for t in given:
            if t not in place:
                place[t] = len(inputs)
                inputs.append(t)
            mine.append(place[t])
        wires.append(tuple(mine))
    attrs: dict[str, Any] = {"branches": tuple(bodies), "wires": tuple(wires)}
    if any(body.stateful for body in bodies):
        if opdef is RECOMPUTED_CALL:
            raise GraphError(
                f"{entry()}{bodies[0].graph.what} draws random numbers or writes "
                "variables, so it cannot be computed again for its gradient: do that "
                "outside of it and pass the result in"
            )
        opdef = _STATEFUL[opdef]
        written: dict[int, None] = {}
        for body, wire in zip(bodies, wires):
            for i in positions(body.written(), body.inputs):
                written[wire[i]] = None
        attrs["updates"] = tuple(written)
        graph = bodies[0].graph
        attrs["site"] = graph.sites if site is None else site
        graph.sites = max(graph.sites, attrs["site"] + 1)
    return create_op(opdef, inputs, attrs, name)


def call(body: Body, passed: Sequence[Tensor], name: str | None = None) -> Operation:
    """A Call of ``body``."""
    return branch(CALL, None, [body], [passed], name)


# -- forward mode ------------------------------------------------------------------


def plain(opdef: OpDef) -> OpDef:
    """A Case or Call for other bodies: no effects are known of those yet, and a call
    that is run in a way of its own is a call."""
    if opdef in (CASE, CALL, RECOMPUTED_CALL):
        return opdef
    return CASE if opdef is STATEFUL_CASE else CALL


def alongside(op: Operation, along: Sequence[Moving], expand: Expand) -> list[Moving]:
    """What moves along with the outputs, from what moves along with the inputs."""
    bodies: Sequence[Body] = op._attrs["branches"]
    wires: Sequence[Sequence[int]] = op._attrs["wires"]
    order = len(along[0])
    reads = late_reads(op, [d for moving in along for d in moving])
    nothing: Moving = [None] * order
    pushed: list[list[Moving]] = []
    inputs: list[list[Tensor]] = []
    given: list[list[Tensor]] = []
    for body, mine in zip(bodies, wires):
        pairs = [(t, along[i]) for t, i in zip(body.inputs, mine)]
        moving = [(t, ds) for t, ds in pairs if any(d is not None for d in ds)]
        graph = body.graph
        with appended(graph, op):
            new: list[Moving] = [
                [
                    None if d is None else graph.add_input(t.dtype, t.dims, "tangent")
                    for d in ds
                ]
                for t, ds in moving
            ]
            wanted = [t for t in body.outputs if t is not None]
            found = [nothing] * len(wanted)
            if moving and wanted:
                found = expand(wanted, [t for t, _ in moving], new)
            by_output = dict(zip(wanted, found))
            pushed.append(
                [nothing if t is None else by_output[t] for t in body.outputs]
            )
        inputs.append([*body.inputs, *[t for ts in new for t in ts if t is not None]])
        passed = [reads.get(op.inputs[i], op.inputs[i]) for i in mine]
        given.append([*passed, *[d for _, ds in moving for d in ds if d is not None]])
    active = [
        (k, o)
        for k in range(len(op.outputs))
        for o in range(order)
        if any(made[k][o] is not None for made in pushed)
    ]
    if not active:
        return [nothing] * len(op.outputs)
    twins = []
    for body, made, ins in zip(bodies, pushed, inputs):
        with appended(body.graph, op):
            extra = [_or_zeros(made[k][o], body.outputs[k]) for k, o in active]
        twins.append(Body(body.graph, tuple(ins), (*body.outputs, *extra)))
    index = op.inputs[0] if _first(op) else None
    site = op._attrs.get("site")
    both = branch(plain(op.opdef), index, twins, given, site=site)
    results = dict(zip(active, both.outputs[len(op.outputs) :]))
    return [[results.get((k, o)) for o in range(order)] for k in range(len(op.outputs))]


def _or_zeros(moving: Tensor | None, value: Tensor | None) -> Any:
    return Absent if value is None else zeros_for(moving, value)


# -- reverse mode ------------------------------------------------------------------


def _vjp(
    op: Operation, *cotangents: Tensor | None, needed: Sequence[bool]
) -> list[Tensor | None]:
    """A Case of the backward bodies, which read what the forward bodies kept."""
    bodies: Sequence[Body] = op._attrs["branches"]
    wires: Sequence[Sequence[int]] = op._attrs["wires"]
    seeded = [k for k, g in enumerate(cotangents) if g is not None]
    wanted = [
        i for i, need in enumerate(needed) if need and op.inputs[i].dtype.is_inexact
    ]
    reads = late_reads(op, cotangents)
    sides = [_Side(op, b, w, seeded, wanted, reads) for b, w in zip(bodies, wires)]
    active = [i for i in wanted if any(i in side.found for side in sides)]
    if not active:
        return [None] * len(op.inputs)
    for side in sides:
        side.finish(op, active)
    saved, columns = _saving(op, bodies, wires, sides)
    backward_bodies = []
    given = []
    for side, where in zip(sides, columns):
        graph = side.graph
        kept = [inner for _, inner in graph.kept]
        same = [inner for _, inner in graph.same]
        backward_bodies.append(
            Body(graph, (*side.into, *kept, *same), tuple(side.results))
        )
        given.append(
            [
                *[cotangents[k] for k in side.seeded],
                *[saved.outputs[where[t]] for t, _ in graph.kept],
                *[outside for outside, _ in graph.same],
            ]
        )
    index = op.inputs[0] if _first(op) else None
    with home(op.graph).control_dependencies(op.control_inputs):
        backward = branch(plain(op.opdef), index, backward_bodies, given)  # type: ignore[arg-type]
    by_input = dict(zip(active, backward.outputs))
    return [by_input.get(i) for i in range(len(op.inputs))]


class _Side:
    """The backward body of one branch, while it is built."""

    def __init__(
        self,
        op: Operation,
        body: Body,
        wires: Sequence[int],
        seeded: Sequence[int],
        wanted: Sequence[int],
        reads: Mapping[Tensor, Tensor],
    ) -> None:
        given = [reads.get(t, t) for t in op.inputs]
        passed = {t: given[i] for t, i in zip(body.inputs, wires)}
        what = f"the gradient of {op.describe()}"
        guard = guarded(op)
        self.graph = BackwardGraph(op, body, passed, what, False)
        self.seeded = [k for k in seeded if body.outputs[k] is not None]
        with self.graph.as_innermost():
            outs = [body.outputs[k] for k in self.seeded]
            self.into = [
                self.graph.add_input(t.dtype, t.dims, "cotangent") for t in outs
            ]
            targets = [t for t, i in zip(body.inputs, wires) if i in wanted]
            pulled: list[Any] = []
            if outs and targets:
                pulled = pull_back(outs, self.into, targets, guard)
            by_tensor = dict(zip(targets, pulled))
            #: input of the operation -> cotangent
            self.found: dict[int, Tensor] = {}
            for t, i in zip(body.inputs, wires):
                if by_tensor.get(t) is not None:
                    g = zeros_for(by_tensor[t], t)
                    have = self.found.get(i)
                    self.found[i] = g if have is None else TABLE["add"](have, g)
        self.results: list[Tensor] = []

    def finish(self, op: Operation, active: Sequence[int]) -> None:
        """Zeros for inputs that matter in another branch only."""
        with self.graph.as_innermost():
            for i in active:
                g = self.found.get(i)
                if g is None:
                    x = op.inputs[i]
                    inner = self.graph.stand_in(x)
                    self.graph.same.append((x, inner))
                    g = TABLE["zeros_like"](inner)
                self.results.append(g)


def _saving(
    op: Operation,
    bodies: Sequence[Body],
    wires: Sequence[Sequence[int]],
    sides: Sequence[_Side],
) -> tuple[Operation, list[dict[Tensor, int]]]:
    """The operation with what the backward bodies read among its outputs.

    Returns it, and per branch where each tensor stands among the outputs.
    """
    count = len(op.outputs)
    columns: list[dict[Tensor, int]] = []
    for body, side in zip(bodies, sides):
        at: dict[Tensor, int] = {}
        place = {t: k for k, t in reversed([*enumerate(body.outputs)])}
        for t, _ in side.graph.kept:
            if t in place:
                at[t] = place[t]
            elif t not in at:
                at[t] = count
                count += 1
        columns.append(at)
    if count == len(op.outputs):
        return op, columns
    wider = []
    for body, at in zip(bodies, columns):
        outputs: list[Any] = [*body.outputs, *[Absent] * (count - len(op.outputs))]
        for t, k in at.items():
            outputs[k] = t
        wider.append(Body(body.graph, body.inputs, tuple(outputs)))
    kept_ops = vars(op.graph).setdefault("_saving_branches", {})
    known: dict[Any, Operation] = kept_ops.setdefault(op, {})
    key = tuple(wider)
    if key not in known:
        with (
            appended(op.graph, op),
            op.graph.control_dependencies(op.control_inputs),
        ):
            known[key] = branch(
                plain(op.opdef),
                op.inputs[0] if _first(op) else None,
                wider,
                [[op.inputs[i] for i in mine] for mine in wires],
                name=op.name.rpartition("/")[2] + "_saving",
                site=op._attrs.get("site"),
            )
    return known[key], columns


def _recompute_vjp(
    op: Operation, *cotangents: Tensor | None, needed: Sequence[bool]
) -> list[Tensor | None]:
    """A call of a body that runs the forward body again, and then backward."""
    (body,) = op._attrs["branches"]
    seeded = [k for k, g in enumerate(cotangents) if g is not None]
    wanted = [
        i for i, need in enumerate(needed) if need and op.inputs[i].dtype.is_inexact
    ]
    outer = home(op.graph)
    scope = f"{outer._local.context.scope}body"
    guard = guarded(op)
    graph = Subgraph(outer, scope, f"the gradient of {op.describe()}")
    with graph.as_innermost():
        inputs = [graph.stand_in(t) for t in op.inputs]
        # One input may be several of the body's.
        (wires,) = op._attrs["wires"]
        into = [
            graph.add_input(op.outputs[k].dtype, op.outputs[k].dims, "cotangent")
            for k in seeded
        ]
        outputs = copy_into(graph, body, [inputs[i] for i in wires])
        xs = [inputs[i] for i in wanted]
        pulled = pull_back([outputs[k] for k in seeded], into, xs, guard)
        found = [None if g is None else as_dense(g) for g in pulled]
    active = [(i, g) for i, g in zip(wanted, found) if g is not None]
    if not active:
        return [None] * len(op.inputs)
    backward_body = Body(graph, (*inputs, *into), tuple(g for _, g in active))
    reads = late_reads(op, cotangents)
    given = [*[reads.get(t, t) for t in op.inputs], *[cotangents[k] for k in seeded]]
    with outer.control_dependencies(op.control_inputs):
        backward = branch(CALL, None, [backward_body], [given])  # type: ignore[list-item]
    by_input = dict(zip([i for i, _ in active], backward.outputs))
    return [by_input.get(i) for i in range(len(op.inputs))]


def most_flops(inputs: Sequence[Any], outputs: Sequence[Any], attrs: Any) -> int:
    """The flops of the body that has most."""
    return max(body_flops(body) for body in attrs["branches"])


def _declare(type: str, effect: str | None, **more: Any) -> OpDef:
    case = "Case" in type
    fields: dict[str, Any] = {"vjp": _vjp, **forward_rules(alongside), **more}
    return OpDef(
        type,
        infer=infer_branches,
        kernel=_case_kernel if case else call_kernel,
        inputs=("index", "*inputs") if case else ("*inputs",),
        writes_out=True,
        control="branch",
        batch=None if effect else _control_batch.branches,
        effect=effect,
        flops=most_flops,
        doc="the body that the index chooses" if case else "the body, run once",
        **fields,
    )


CASE = _declare("Case", None)
STATEFUL_CASE = _declare("StatefulCase", "body")
CALL = _declare("Call", None)
STATEFUL_CALL = _declare("StatefulCall", "body")
RECOMPUTED_CALL = _declare("RecomputedCall", None, vjp=_recompute_vjp)

_STATEFUL = {CASE: STATEFUL_CASE, CALL: STATEFUL_CALL}
