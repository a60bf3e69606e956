"""Reverse mode: ``gradients`` appends backward nodes to the graph.

The operations between xs and ys are walked once, from the youngest to the
oldest.  Each op's vjp rule builds nodes from the cotangents of its outputs; a
tensor that several operations read gets the sum of their contributions, as one
node.  Because rules build ordinary nodes, the result can be differentiated
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from .dtypes import int64
from .errors import DTypeError, GradientError, ShapeError
from .graph import Graph
from .operation import SELECTS, Operation
from .operators import TABLE
from .pauses import collector_paused
from .shapes import TensorShape, compatible, text
from .source import caller
from .stacks import home, open_home
from .tensor import Tensor, as_tensor
from .traversal import between, captured_from

if TYPE_CHECKING:
    from .masks import Masks

__all__ = ["IndexedSlices", "UnconnectedGradients", "gradients"]


class UnconnectedGradients(Enum):
    """What ``gradients`` gives for an x that no y depends on."""

    NONE = "none"
    ZERO = "zero"
    RAISE = "raise"


class IndexedSlices:
    """Rows of a cotangent: ``values[i]`` belongs to row ``indices[i]``.

    A gather's vjp returns this instead of a dense array of the parameter's
    size; all contributions to one parameter become one scatter-add, and an
    optimizer changes no other rows of a variable.  Where a tensor is asked for,
    it becomes the dense one.

    Attributes:
        values: (n, ...) rows.
        indices: (n,) integers, repeats add up.
        like: the tensor whose shape the dense cotangent has.
    """

    __slots__ = ("_dense", "_sliced", "indices", "like", "values")

    def __init__(self, values: Tensor, indices: Tensor, like: Tensor) -> None:
        self.values = values
        self.indices = indices
        self.like = like
        self._dense: Tensor | None = None
        self._sliced = False

    def __repr__(self) -> str:
        return f"IndexedSlices(values={self.values!r}, indices={self.indices!r})"

    @property
    def dtype(self) -> Any:
        """The dtype of the rows."""
        return self.values.dtype

    @property
    def name(self) -> str:
        """The name of the rows."""
        return self.values.name

    @property
    def op(self) -> Operation:
        """The operation that makes the rows."""
        return self.values.op

    @property
    def graph(self) -> Graph:
        """The graph of the rows."""
        return self.values.graph

    @property
    def device(self) -> str:
        """The device recorded for the rows."""
        return self.values.op.device

    @property
    def shape(self) -> TensorShape:
        """The static shape of the dense cotangent."""
        return self.like.shape

    def get_shape(self) -> TensorShape:
        """The static shape of the dense cotangent (TF1's spelling)."""
        return self.like.shape

    def _as_tensor(self) -> Tensor:
        """The dense tensor: one node, however often it is asked for."""
        if self._dense is None:
            with self.graph.as_default():
                self._dense = densify([self])
        return self._dense

    def _as_graph_element(self) -> Tensor:
        return self._as_tensor()


class Gradients(list["Tensor | None"]):
    """What :func:`gradients` gives: a list, which a notebook draws.

    Attributes:
        ys, xs: what was differentiated, and with respect to what; nothing where
            somebody makes another list of this type.
    """

    __slots__ = ("xs", "ys")

    def __init__(
        self,
        found: Iterable[Any] = (),
        ys: Sequence[Tensor] = (),
        xs: Sequence[Tensor] = (),
    ) -> None:
        super().__init__(found)
        self.ys = ys
        self.xs = xs

    def _repr_svg_(self) -> str | None:
        """Each gradient beside what it is one of; where all are None, why."""
        found = [t for t in self if t is not None]
        if found:
            return TABLE["draw"](  # type: ignore[no-any-return]
                [*self.ys, *found], layout="mirror"
            )
        if not self.xs or not self.ys:
            return None
        from .explain import explained

        return explained(self.ys, self.xs[0])._repr_svg_()


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
    checkpoints: Any = None,
) -> Gradients:
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
        checkpoints: which forward values are kept for the backward operations; the
            others are computed again in each run, to the same bit.  A collection of
            tensors: these.  ``"speed"``: results of matrix products, convolutions and
            other dense arithmetic, so that only what is cheap runs again.
            ``"memory"``: about sqrt(n) places where little crosses, for O(sqrt n)
            memory and at most one more forward pass.  What draws at random or has an
            effect is kept.  A wish for the plan: it is not saved with the graph.
            None: all is kept, unless ``ConfigProto(memory_limit=)`` is exceeded.

    Returns:
        A list with one tensor per x, of its shape and dtype; None (or zeros) where no
        y depends on x.  A notebook shows it as a graph.  Complex cotangents follow
        TF1: conj(df/dz) times the incoming one.

    Raises:
        GradientError: an op on the path has no rule, or (with ``"raise"``) an
            x is not connected.
        ShapeError, DTypeError: a grad_y does not fit its y.

    Cost: with ys together a small multiple of the work of ys, however many xs there
    are; what the backward nodes read is kept until they have run.

    Reference:
        Chen, Xu, Zhang, Guestrin, Training deep nets with sublinear memory cost (2016),
        for checkpoints;
        Griewank & Walther, Evaluating Derivatives, 2nd ed., section 3.2.
    """
    policy = UnconnectedGradients(unconnected_gradients)
    keep = None
    if checkpoints is not None:
        from .recomputation import check_checkpoints

        keep = check_checkpoints(checkpoints)
    y_list, x_list = _tensors(ys), _tensors(xs)
    stops = None if stop_gradients is None else _tensors(stop_gradients)
    with collector_paused():
        found = _gradients(y_list, x_list, grad_ys, name, stops, policy, False, keep)
    return Gradients(found, y_list, x_list)


def gradients_or_rows(
    ys: Any, xs: Any, grad_ys: Any = None
) -> list[Tensor | IndexedSlices | None]:
    """:func:`gradients`, with the rows of an x that is read by gathers only."""
    none = UnconnectedGradients.NONE
    y_list, x_list = _tensors(ys), _tensors(xs)
    with collector_paused():
        return _gradients(y_list, x_list, grad_ys, "gradients", None, none, rows=True)


def _gradients(
    y_list: list[Tensor],
    x_list: list[Tensor],
    grad_ys: Any,
    name: str | None,
    stop_list: list[Tensor] | None,
    policy: UnconnectedGradients,
    rows: bool,
    keep: str | frozenset[Tensor] | None = None,
) -> list[Any]:
    stops = set(stop_list or ())
    if not y_list or not x_list:
        return [None] * len(x_list)
    graph = y_list[0].graph
    for t in (*y_list, *x_list):
        if t.graph is not graph and t.graph.root is not graph.root:
            raise GradientError(f"{t!r} belongs to another graph than {y_list[0]!r}")
    graph = open_home(y_list[0])
    mark = graph._local.context.mark or caller()
    with graph.as_default(), graph.name_scope(name or "gradients") as scope:
        context = graph._local.context
        saved = context.forward_op, context.mark, context.masked
        context.mark, context.masked = mark, None
        forward = [] if keep is None else between(y_list, x_list, stops)
        first = len(graph._operations)
        try:
            grads = _seed(y_list, grad_ys)
            _walk(graph, y_list, x_list, stops, grads, scope)
            results = []
            context.scope = scope
            for x in x_list:
                g = (_rows(grads, x) if rows else None) or _total(grads, x)
                if g is None and policy is UnconnectedGradients.ZERO:
                    g = TABLE["zeros_like"](x)
                elif g is None and policy is UnconnectedGradients.RAISE:
                    from .explain import explained

                    raise GradientError(str(explained(y_list, x, stops)))
                results.append(g)
        finally:
            context.forward_op, context.mark, context.masked = saved
    if keep is not None:
        from .recomputation import wish

        wish(graph, keep, forward, first)
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
    guarded: bool = False,
) -> None:
    """Pull the cotangents in ``grads`` back through the operations between."""
    path = between(ys, xs, stops)
    on_path = set(path)
    targets = set(xs)
    masks: Masks | None = None  # from the first Select on
    if guarded:
        masks = _masks()
        masks.seed(grads, _total)
    context = graph._local.context
    while path:
        op = path.pop()
        opdef = op.opdef
        context.scope = scope
        kind, inputs, outputs = opdef.type, op.inputs, op.outputs
        if kind == "Identity" and _pass_rows(op, grads, targets):
            continue
        if not inputs:
            _pass_out(op, grads, masks)
            continue
        masked: Masks | None = None
        if (masks is not None and masks.live) or kind in SELECTS or _selects(op):
            masks = masked = masks or _masks()
        state: Any = masked.enter(op, grads, _total, targets) if masked else None
        cotangents: list[Tensor | None] = []
        arrived = False
        for t in outputs:
            g = _total(grads, t) if t in grads else None
            cotangents.append(g)
            arrived = arrived or g is not None
        if not arrived:
            continue
        if opdef.vjp is None:
            raise GradientError(
                op.explain(f"no gradient goes through this op: {opdef.no_gradient}"),
                op,
            )
        for t in outputs:
            if t not in targets:
                grads.pop(t, None)
        needed = []
        for t in inputs:
            reached = t in targets or (t.op in on_path and t not in stops)
            needed.append(reached and t.dtype.is_inexact)
        context.scope = f"{scope}{op.name}_grad/"
        context.forward_op = op
        results = opdef.pull_back(op, cotangents, needed)
        if len(results) != len(inputs):
            raise GradientError(
                op.explain(
                    f"its vjp gave {len(results)} cotangents for {len(inputs)} inputs"
                ),
                op,
            )
        for index, (t, g) in enumerate(zip(inputs, results)):
            if g is None:
                continue
            if type(g) is IndexedSlices:
                g._sliced = kind == "StridedSlice"
            elif type(g) is Tensor and (
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
            if masked:
                g = masked.arrive(op, index, g, state, grads, cotangents)
            have = grads.get(t)
            if have is None:
                grads[t] = [g]
            else:
                have.append(g)
        context.forward_op = None
        if masked:
            masked.leave(op)
    if masks is not None:
        for x in xs:
            masks.finish(x, grads, _total)


def _masks() -> Masks:
    from .masks import Masks

    return Masks()


def _selects(op: Operation) -> bool:
    """Whether masks begin in the bodies of an operation."""
    if op.opdef.control is None:
        return False
    from .masks import selects

    return selects(op)


def _pass_rows(op: Operation, grads: Contributions, targets: set[Tensor]) -> bool:
    """Hand rows from the output of an Identity (a variable's ``read``) to its input.

    So they stay rows, and all reads of one variable end in one scatter-add.
    """
    if op.opdef.override is not None:
        return False
    y, x = op.outputs[0], op.inputs[0]
    parts = grads.get(y)
    if y in targets or not parts or not all(type(p) is IndexedSlices for p in parts):
        return False
    del grads[y]
    moved = grads.setdefault(x, [])
    for p in parts:
        rows = IndexedSlices(p.values, p.indices, x)
        rows._sliced = p._sliced
        moved.append(rows)
    return True


def _pass_out(op: Operation, grads: Contributions, masks: Masks | None) -> None:
    """Hand the cotangent of what a body captured to what it stands for."""
    (source,) = captured_from(op)
    inner = op.outputs[0]
    if masks is not None:
        masks.pass_out(inner, source, grads, _total)
    grads.setdefault(source, []).extend(grads.get(inner, ()))


def _rows(grads: Contributions, t: Tensor) -> IndexedSlices | None:
    """All contributions to ``t`` as rows; None where one of them is dense.

    The row of a slice ``t[i]`` counts as dense, as in TF1: it travels as a row
    only so that many slices end in one scatter-add.
    """
    parts = grads.get(t)
    if not parts or any(type(p) is not IndexedSlices or p._sliced for p in parts):
        return None
    return IndexedSlices(*_joined(parts), t)


def _total(grads: Contributions, t: Tensor) -> Tensor | None:
    """The sum of the contributions to ``t``, as at most one new node."""
    parts = grads.get(t)
    if parts is None:
        return None
    if len(parts) == 1 and type(parts[0]) is Tensor:
        return parts[0]
    context = home(t.graph)._local.context
    saved, context.forward_op = context.forward_op, t.op
    dense = [p for p in parts if not isinstance(p, IndexedSlices)]
    rows = [p for p in parts if isinstance(p, IndexedSlices)]
    total: Tensor
    if not dense:
        total = densify(rows)
    else:
        total = dense[0] if len(dense) == 1 else TABLE["add_n"](dense)
        if rows:
            # In place where the sum is read by nothing else.
            values, indices = _joined(rows)
            total = TABLE["add_rows"](total, indices, values)
    context.forward_op = saved
    grads[t] = [total]
    return total


def densify(rows: Sequence[IndexedSlices]) -> Tensor:
    """Several row contributions to one tensor as one scatter-add."""
    values, indices = _joined(rows)
    return TABLE["scatter_rows"](rows[0].like, indices, values)  # type: ignore[no-any-return]


def _joined(rows: Sequence[IndexedSlices]) -> tuple[Tensor, Tensor]:
    """The values and the indices of several row contributions, one after another."""
    if len(rows) == 1:
        return rows[0].values, rows[0].indices
    indices = [r.indices for r in rows]
    if len({i.dtype for i in indices}) > 1:
        indices = [TABLE["cast"](i, int64) for i in indices]
    values = TABLE["concat"]([r.values for r in rows], 0)
    return values, TABLE["concat"](indices, 0)


def pull_back(
    ys: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    xs: Sequence[Tensor],
    guarded: bool = False,
) -> list[Tensor | IndexedSlices | None]:
    """Cotangents of ``xs`` from those of ``ys``: for rules that walk a body.

    Nodes go where the default graph says; an x that is read by gathers only gets
    rows.  With ``guarded``, an infinite derivative of what has a cotangent of 0 does
    not count (see ``masks``).
    """
    grads: Contributions = {}
    for y, g in zip(ys, cotangents):
        grads.setdefault(y, []).append(g)
    graph = home(ys[0].graph)
    context = graph._local.context
    saved = context.scope, context.forward_op, context.masked
    context.masked = None
    try:
        _walk(graph, ys, xs, set(), grads, context.scope, guarded)
        context.scope = saved[0]
        return [_rows(grads, x) or _total(grads, x) for x in xs]
    finally:
        context.scope, context.forward_op, context.masked = saved


def as_dense(value: Tensor | IndexedSlices) -> Tensor:
    """A cotangent as a tensor."""
    return value._as_tensor() if isinstance(value, IndexedSlices) else value


def cotangents_of(
    op: Operation, cotangents: Sequence[Tensor | None], needed: Sequence[bool]
) -> list[Tensor | None]:
    """One op's vjp, with dense results."""
    results = op.opdef.pull_back(op, cotangents, needed)
    return [None if r is None else as_dense(r) for r in results]
