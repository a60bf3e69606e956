"""Reverse mode: ``gradients`` appends backward nodes to the graph.

The operations between xs and ys are walked once, from the youngest to the
oldest.  Each op's vjp rule builds nodes from the cotangents of its outputs; a
tensor that several operations read gets the sum of their contributions, as one
node.  Because rules build ordinary nodes, the result can be differentiated
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from .errors import DTypeError, GradientError, ShapeError
from .graph import Graph
from .operation import Operation
from .operators import TABLE
from .shapes import compatible, text
from .source import caller
from .tensor import Tensor, as_tensor
from .traversal import between

__all__ = ["IndexedSlices", "UnconnectedGradients", "gradients"]


class UnconnectedGradients(Enum):
    """What ``gradients`` gives for an x that no y depends on."""

    NONE = "none"
    ZERO = "zero"
    RAISE = "raise"


class IndexedSlices:
    """Rows of a cotangent: ``values[i]`` belongs to row ``indices[i]``.

    A gather's vjp returns this instead of a dense array of the parameter's
    size; all contributions to one parameter become one scatter-add.

    Attributes:
        values: (n, ...) rows.
        indices: (n,) integers, repeats add up.
        like: the tensor whose shape the dense cotangent has.
    """

    __slots__ = ("indices", "like", "values")

    def __init__(self, values: Tensor, indices: Tensor, like: Tensor) -> None:
        self.values = values
        self.indices = indices
        self.like = like

    @property
    def dtype(self) -> Any:
        """The dtype of the rows."""
        return self.values.dtype


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str | None = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: Any = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: Any = UnconnectedGradients.NONE,
) -> list[Tensor | None]:
    """d(sum of ys)/dx for each x in ``xs``: sum_i <grad_ys_i, dy_i/dx>.

    Args:
        ys: a tensor or a list of tensors; a y that is no scalar is summed.
        xs: a tensor, a variable or a list of them, anywhere in the graph.
        grad_ys: cotangents of ys, each of its y's shape (None: ones).
        name: the scope of the backward nodes.
        colocate_gradients_with_ops: recorded devices follow the forward ops.
        gate_gradients: accepted for TF1 programs; a run is deterministic anyway.
        aggregation_method: accepted for TF1 programs; one sum is built per
            fan-in.
        stop_gradients: tensors to hold constant.
        unconnected_gradients: ``"none"``, ``"zero"`` or ``"raise"``.

    Returns:
        One tensor per x, of its shape and dtype; None (or zeros) where no y
        depends on x.  Complex cotangents follow TF1: conj(df/dz) times the
        incoming one.

    Raises:
        GradientError: an op on the path has no rule, or (with ``"raise"``) an
            x is not connected.
        ShapeError, DTypeError: a grad_y does not fit its y.

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., section 3.2.
    """
    policy = UnconnectedGradients(unconnected_gradients)
    y_list = _tensors(ys)
    x_list = _tensors(xs)
    stops = set(_tensors(stop_gradients)) if stop_gradients is not None else set()
    if not y_list or not x_list:
        return [None] * len(x_list)
    graph = y_list[0].graph
    for t in (*y_list, *x_list):
        if t.graph is not graph:
            raise GradientError(f"{t!r} belongs to another graph than {y_list[0]!r}")
    mark = graph._local.context.mark or caller()
    with graph.as_default(), graph.name_scope(name or "gradients") as scope:
        context = graph._local.context
        saved = context.forward_op, context.mark
        context.mark = mark
        try:
            grads = _seed(y_list, grad_ys)
            _walk(graph, y_list, x_list, stops, grads, scope)
            results = []
            context.scope = scope
            for x in x_list:
                g = _total(grads, x)
                if g is None and policy is UnconnectedGradients.ZERO:
                    g = TABLE["zeros_like"](x)
                elif g is None and policy is UnconnectedGradients.RAISE:
                    raise GradientError(
                        f"no differentiable path leads from {x.op.describe()} "
                        f"({x.op.defined_at()}) to "
                        + ", ".join(y.op.describe() for y in y_list)
                    )
                results.append(g)
        finally:
            context.forward_op, context.mark = saved
    return results


def _tensors(values: Any) -> list[Tensor]:
    """A list of tensors from one or several tensors, variables or slices."""
    if not isinstance(values, (list, tuple)):
        values = [values]
    out = []
    for v in values:
        if hasattr(v, "_as_graph_element"):
            v = v._as_graph_element()
        out.append(v if isinstance(v, Tensor) else as_tensor(v))
    return out


Contributions = dict[Tensor, list[Any]]


def _seed(ys: Sequence[Tensor], grad_ys: Any) -> Contributions:
    """The cotangents that the walk starts from."""
    if grad_ys is None:
        grad_ys = [None] * len(ys)
    elif not isinstance(grad_ys, (list, tuple)):
        grad_ys = [grad_ys]
    if len(grad_ys) != len(ys):
        raise ShapeError(f"{len(grad_ys)} grad_ys were given for {len(ys)} ys")
    grads: Contributions = {}
    for i, (y, g) in enumerate(zip(ys, grad_ys)):
        if not y.dtype.is_inexact:
            continue
        if g is None:
            g = TABLE["ones_like"](y, name=f"grad_ys_{i}")
        else:
            g = as_tensor(g, dtype=None if _has_dtype(g) else y.dtype)
            if g.dtype is not y.dtype:
                raise DTypeError(
                    f"grad_ys[{i}] has dtype {g.dtype.name}, but {y.op.describe()} "
                    f"has {y.dtype.name}",
                    y.op,
                )
            if not compatible(g.dims, y.dims):
                raise ShapeError(
                    f"grad_ys[{i}] has shape {text(g.dims)}, but {y.op.describe()} "
                    f"has {text(y.dims)}",
                    y.op,
                )
        grads.setdefault(y, []).append(g)
    return grads


def _has_dtype(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def _walk(
    graph: Graph,
    ys: Sequence[Tensor],
    xs: Sequence[Tensor],
    stops: set[Tensor],
    grads: Contributions,
    scope: str,
) -> None:
    """Pull the cotangents in ``grads`` back through the operations between."""
    path = between(ys, xs, stops)
    on_path = set(path)
    targets = set(xs)
    context = graph._local.context
    while path:
        op = path.pop()
        opdef = op.opdef
        context.scope = scope
        cotangents = [_total(grads, t) for t in op.outputs]
        if not any(c is not None for c in cotangents):
            continue
        if opdef.vjp is None:
            raise GradientError(
                op.explain(f"no gradient goes through this op: {opdef.no_gradient}"),
                op,
            )
        for t in op.outputs:
            if t not in targets:
                grads.pop(t, None)
        needed = [
            t.dtype.is_inexact
            and (t in targets or (t.op in on_path and t not in stops))
            for t in op.inputs
        ]
        context.scope = f"{scope}{op.name}_grad/"
        context.forward_op = op
        results = opdef.pull_back(op, cotangents, needed)
        context.forward_op = None
        if len(results) != len(op.inputs):
            raise GradientError(
                op.explain(
                    f"its vjp gave {len(results)} cotangents for "
                    f"{len(op.inputs)} inputs"
                ),
                op,
            )
        for t, g in zip(op.inputs, results):
            if g is None:
                continue
            if type(g) is Tensor and (
                g.dtype is not t.dtype
                or (g.dims != t.dims and not compatible(g.dims, t.dims))
            ):
                raise GradientError(
                    op.explain(
                        f"its vjp gave {g.dtype.name}{text(g.dims)} for an input of "
                        f"{t.dtype.name}{text(t.dims)}"
                    ),
                    op,
                )
            have = grads.get(t)
            if have is None:
                grads[t] = [g]
            else:
                have.append(g)


def _total(grads: Contributions, t: Tensor) -> Tensor | None:
    """The sum of the contributions to ``t``, as at most one new node."""
    parts = grads.get(t)
    if parts is None:
        return None
    if len(parts) == 1 and type(parts[0]) is Tensor:
        return parts[0]
    dense = [p for p in parts if not isinstance(p, IndexedSlices)]
    rows = [p for p in parts if isinstance(p, IndexedSlices)]
    if rows:
        dense.append(densify(rows))
    total: Tensor = dense[0] if len(dense) == 1 else TABLE["add_n"](dense)
    grads[t] = [total]
    return total


def densify(rows: Sequence[IndexedSlices]) -> Tensor:
    """Several row contributions to one tensor as one scatter-add."""
    if len(rows) == 1:
        values, indices = rows[0].values, rows[0].indices
    else:
        values = TABLE["concat"]([r.values for r in rows], 0)
        indices = TABLE["concat"]([r.indices for r in rows], 0)
    return TABLE["scatter_rows"](rows[0].like, indices, values)  # type: ignore[no-any-return]


def as_dense(value: Tensor | IndexedSlices) -> Tensor:
    """A cotangent as a tensor."""
    return densify([value]) if isinstance(value, IndexedSlices) else value


def cotangents_of(
    op: Operation, cotangents: Sequence[Tensor | None], needed: Sequence[bool]
) -> list[Tensor | None]:
    """One op's vjp, with dense results."""
    results = op.opdef.pull_back(op, cotangents, needed)
    return [None if r is None else as_dense(r) for r in results]
