"""Forward mode: ``jvp`` appends tangent nodes to the graph, oldest op first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import DTypeError, GradientError, ShapeError
from .gradients import _has_dtype, _tensors, cotangents_of, gradients
from .graph import Graph
from .operation import Operation
from .operators import TABLE
from .shapes import compatible, text
from .source import caller
from .stacks import home, open_home
from .tensor import Tensor, as_tensor
from .traversal import between, captured_from

__all__ = ["jvp"]


def jvp(
    ys: Any, xs: Any, tangents: Any = None, name: str | None = "jvp"
) -> list[Tensor | None]:
    """The directional derivatives dy = sum_j (dy/dx_j) t_j, in one forward pass.

    Args:
        ys: a tensor or a list of tensors.
        xs: a tensor, a variable or a list of them.
        tangents: one per x, of its shape and dtype (None: ones).
        name: the scope of the tangent nodes.

    Returns:
        One tensor per y; None where y does not depend on xs.

    Raises:
        GradientError: an op on the path has no rule.
        ShapeError, DTypeError: a tangent does not fit its x.

    Cost: with ys together a small multiple of the work of ys, for each direction; a
    tangent's memory is free once those that read it are computed.

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., section 3.1.
    """
    y_list = _tensors(ys)
    x_list = _tensors(xs)
    if tangents is None:
        tangents = [None] * len(x_list)
    elif not isinstance(tangents, (list, tuple)):
        tangents = [tangents]
    if len(tangents) != len(x_list):
        raise ShapeError(f"{len(tangents)} tangents were given for {len(x_list)} xs")
    if not y_list or not x_list:
        return [None] * len(y_list)
    graph = open_home(y_list[0])
    mark = graph._local.context.mark or caller()
    known: dict[Tensor, Tensor] = {}
    with graph.as_default(), graph.name_scope(name or "jvp") as scope:
        context = graph._local.context
        saved = context.forward_op, context.mark
        context.mark = mark
        try:
            for x, t in zip(x_list, tangents):
                known[x] = _tangent(x, t)
            _push(y_list, x_list, known, graph, scope)
        finally:
            context.forward_op, context.mark = saved
    return [known.get(y) for y in y_list]


def _push(
    ys: Sequence[Tensor],
    xs: Sequence[Tensor],
    known: dict[Tensor, Tensor],
    graph: Graph,
    scope: str,
) -> None:
    """Push the tangents in ``known`` forward through the operations between."""
    context = graph._local.context
    for op in between(ys, xs, set()):
        incoming = [known.get(t) for t in op.inputs or captured_from(op)]
        if not any(t is not None for t in incoming):
            continue
        context.scope = f"{scope}{op.name}_jvp/"
        context.forward_op = op
        outgoing = push_forward(op, incoming) if op.inputs else incoming
        for out, t in zip(op.outputs, outgoing):
            if t is not None and out not in known:
                known[out] = t


def push_through(
    ys: Sequence[Tensor], xs: Sequence[Tensor], tangents: Sequence[Tensor]
) -> list[Tensor | None]:
    """Tangents of ``ys`` from those of ``xs``: for rules that walk a body.

    Nodes go where the default graph says.
    """
    known = dict(zip(xs, tangents))
    graph = home(ys[0].graph)
    context = graph._local.context
    saved = context.scope, context.forward_op
    try:
        _push(ys, xs, known, graph, context.scope)
    finally:
        context.scope, context.forward_op = saved
    return [known.get(y) for y in ys]


def _tangent(x: Tensor, t: Any) -> Tensor:
    if t is None:
        return TABLE["ones_like"](x)  # type: ignore[no-any-return]
    tangent = as_tensor(t, dtype=None if _has_dtype(t) else x.dtype)
    if tangent.dtype is not x.dtype:
        raise DTypeError(
            f"the tangent of {x.op.describe()} has dtype {tangent.dtype.name}, "
            f"not {x.dtype.name}"
        )
    if not compatible(tangent.dims, x.dims):
        raise ShapeError(
            f"the tangent of {x.op.describe()} has shape {text(tangent.dims)}, "
            f"not {text(x.dims)}"
        )
    return tangent


def push_forward(op: Operation, tangents: list[Tensor | None]) -> list[Tensor | None]:
    """Tangents of the outputs of one op, from those of its inputs."""
    opdef = op.opdef
    if opdef.jvp is not None:
        result = opdef.jvp(op, *tangents)
        return [result] if result is None or isinstance(result, Tensor) else [*result]
    if opdef.vjp is None:
        raise GradientError(
            op.explain(f"no derivative goes through this op: {opdef.no_gradient}"), op
        )
    return _transpose_of_transpose(op, tangents)


def _transpose_of_transpose(
    op: Operation, tangents: list[Tensor | None]
) -> list[Tensor | None]:
    """J t from the vjp alone: u -> J^T u is linear in u, and its vjp at t is J t.

    The u that the vjp is built on is never computed: only the shape matters.
    """
    needed = [t is not None for t in tangents]
    inexact = [t for t in op.outputs if t.dtype.is_inexact]
    seeds: dict[Tensor, Tensor] = {y: TABLE["zeros_like"](y) for y in inexact}
    pulled = cotangents_of(op, [seeds.get(y) for y in op.outputs], needed)
    pairs = [(g, t) for g, t in zip(pulled, tangents) if g is not None]
    if not pairs:
        return [None] * len(op.outputs)
    results = gradients(
        [g for g, _ in pairs], list(seeds.values()), [t for _, t in pairs]
    )
    by_output = dict(zip(inexact, results))
    return [by_output.get(y) for y in op.outputs]
