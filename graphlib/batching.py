"""Vectorisation: one pass over a batch of rows in place of one pass for each row.

``vectorize`` takes a graph that was built for one row and builds it again for all
rows at once: each operation's ``batch`` rule makes, from inputs with a leading
batch axis, outputs with one.  It works on backward graphs as on any other, so a
whole Jacobian is one batched reverse (or forward) pass over the unit vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .batched import RowOp, Shared, Uneven
from .errors import GradientError, ShapeError
from .graph import Graph, get_default_graph
from .operation import Operation
from .operators import TABLE
from .shapes import Dims, compatible, is_static, text
from .source import caller
from .stacks import home
from .tensor import Tensor

__all__ = ["vectorize"]


def vectorize(
    ys: Sequence[Tensor],
    substitution: Mapping[Tensor, Tensor],
    name: str | None = "vectorize",
) -> list[Tensor]:
    """``ys`` for every row of batched tensors: shape (n,) + y.shape each.

    Builds again, oldest first, exactly the operations between the substituted
    tensors and ``ys``; what does not depend on them is shared.

    Args:
        ys: tensors of one graph, computed for one row.
        substitution: from the tensors of a row, of shape s, to batched ones, of
            shape (n,) + s and the same dtype.
        name: the scope of the new operations.

    Returns:
        One tensor per y.  A y that does not depend on a substituted tensor is
        broadcast (a view).  Random operations that depend on a batched input draw
        independently for each row; others are drawn once, for all rows.

    Raises:
        GradientError: between them is an operation with an effect (an assignment,
            a print), or one without a batch rule while no loop can stand in.
        ShapeError: a batched tensor does not fit its row.

    An operation without a rule for the inputs that are batched runs in a loop over
    the rows.
    """
    return [
        _whole(y, next(iter(substitution.values())))
        for y in vectorize_some(ys, substitution, name)
    ]


def _whole(y: Tensor | Shared | Uneven, like: Tensor) -> Tensor:
    if isinstance(y, Tensor):
        return y
    if isinstance(y, Uneven):
        return TABLE["even"](y.tensor)  # type: ignore[no-any-return]
    return TABLE["repeat_rows"](y.tensor, like)  # type: ignore[no-any-return]


def vectorize_some(
    ys: Sequence[Tensor],
    substitution: Mapping[Tensor, Tensor],
    name: str | None = "vectorize",
    uneven: Iterable[Tensor] = (),
) -> list[Tensor | Shared | Uneven]:
    """:func:`vectorize`, with a Shared for what is the same in every row and an Uneven
    for rows that may differ in shape, as those of the substituted tensors ``uneven``.
    """
    if not substitution:
        raise ShapeError("vectorize: there is no batched tensor")
    graph = home(next(iter(substitution)).graph)
    for row, batched in substitution.items():
        _check(row, batched)
    counts = {b.dims[0] for b in substitution.values() if b.dims} - {None}
    if len(counts) > 1:
        raise ShapeError(
            "vectorize: batches have different numbers of rows: "
            + ", ".join(f"{b!r}" for b in substitution.values())
        )
    mark = graph._local.context.mark or caller()
    context = graph._local.context
    outer = context.scope
    with graph.as_default(), graph.name_scope(name or "vectorize") as scope:
        saved = context.forward_op, context.mark
        try:
            walk = _Walk(graph, substitution, uneven)
            for op in _dependents(ys, substitution):
                inner = f"{op.scope}/" if op.scope else ""
                context.scope = scope + inner.removeprefix(outer)
                context.forward_op = op.forward_op
                context.mark = op._mark
                walk.build(op)
            context.scope, context.forward_op, context.mark = scope, saved[0], mark
            return [walk.result(y) for y in ys]
        finally:
            context.forward_op, context.mark = saved


def _check(row: Tensor, batched: Tensor) -> None:
    dims = batched.dims
    fits = dims is None or (len(dims) > 0 and compatible(dims[1:], row.dims))
    if batched.dtype is not row.dtype or not fits:
        raise ShapeError(
            f"vectorize: {batched.dtype.name}{text(dims)} is no batch of rows of "
            f"{row.dtype.name}{text(row.dims)} ({row.op.describe()})"
        )
    if row.dims is not None:
        batched.set_shape((None, *row.dims))


def _dependents(
    ys: Sequence[Tensor], substitution: Mapping[Tensor, Tensor]
) -> list[Operation]:
    """The operations between the substituted tensors and ``ys``, oldest first."""
    oldest = min(t.op.id for t in substitution)
    seen: set[Operation] = set()
    stack = [y.op for y in ys if y not in substitution]
    while stack:
        op = stack.pop()
        if op in seen or op.id < oldest:
            continue
        seen.add(op)
        stack.extend(t.op for t in op.inputs if t not in substitution)
    found = []
    reached: set[Operation] = set()
    for op in sorted(seen, key=lambda op: op.id):
        if any(t in substitution or t.op in reached for t in op.inputs):
            reached.add(op)
            found.append(op)
    return found


class _Walk:
    """The state of one vectorisation: what each old tensor became."""

    def __init__(
        self,
        graph: Graph,
        substitution: Mapping[Tensor, Tensor],
        uneven: Iterable[Tensor] = (),
    ) -> None:
        self.graph = graph
        self.batched: dict[Tensor, Tensor] = dict(substitution)
        self.shared: dict[Tensor, Tensor] = {}
        self.uneven: set[Tensor] = set(uneven)
        self.again: dict[Operation, Operation] = {}
        self.first = next(iter(substitution.values()))

    def build(self, op: Operation) -> None:
        """Build one operation again, and note what its outputs became."""
        if op.opdef.effect not in (None, "random"):
            raise GradientError(
                op.explain(
                    "an operation with an effect cannot be run for all rows at once: "
                    "take it out of what is vectorised"
                ),
                op,
            )
        inputs = [self.shared.get(t, t) for t in op.inputs]
        batched = [self.batched.get(t) for t in op.inputs]
        controls = [self.again.get(c, c) for c in op.control_inputs]
        with self.graph.control_dependencies(controls):
            if any(t in self.uneven for t in op.inputs):
                uneven = [t in self.uneven for t in op.inputs]
                results = _read_uneven(RowOp(op, inputs, uneven), batched)
            elif any(b is not None for b in batched):
                results = _apply(RowOp(op, inputs), batched)
            else:
                made = self.graph.create_op(op.opdef, inputs, dict(op.attrs))
                results = [Shared(t) for t in made.outputs]
        for old, new in zip(op.outputs, results, strict=True):
            if isinstance(new, Shared):
                self.shared[old] = new.tensor
                self.again[op] = new.tensor.op
            elif new is not None and old not in self.batched:
                if isinstance(new, Uneven):
                    self.uneven.add(old)
                    new = new.tensor
                self._note(op, old, new)

    def _note(self, op: Operation, old: Tensor, new: Tensor) -> None:
        """Record a batched result, with what is known of its shape."""
        lead = None if self.first.dims is None else self.first.dims[0]
        dims: Dims = None if old.dims is None else (lead, *old.dims)
        if new.dtype is not old.dtype or not compatible(new.dims, dims):
            raise GradientError(
                op.explain(
                    f"its batch rule gave {new.dtype.name}{text(new.dims)} for rows of "
                    f"{old.dtype.name}{text(old.dims)}"
                ),
                op,
            )
        if dims is not None:
            new.set_shape(dims)
        self.batched[old] = new
        self.again[op] = new.op

    def result(self, y: Tensor) -> Tensor | Shared | Uneven:
        """What a y became."""
        batched = self.batched.get(y)
        if batched is None:
            return Shared(self.shared.get(y, y))
        return Uneven(batched) if y in self.uneven else batched


def _apply(op: RowOp, batched: Sequence[Tensor | None]) -> Sequence[Any]:
    """The batch rule of one operation, or a loop over the rows."""
    rule = op.opdef.batch
    result = NotImplemented if rule is None else rule(op, *batched)
    if result is NotImplemented:
        result = _loop(op, batched, uneven=op.opdef.control is not None)
    if isinstance(result, (Tensor, Shared)):
        return [result]
    return list(result)


def _read_uneven(op: RowOp, batched: Sequence[Tensor | None]) -> Sequence[Any]:
    """An operation whose inputs may be uneven: row by row, unless it passes them on."""
    identity = op.opdef.identity
    if identity is None or not identity(op.op.inputs, op.outputs, op.attrs):
        return _loop(op, batched)
    # Each output is the input in its place.
    return [
        Uneven(r) if isinstance(r, Tensor) and u else r
        for r, u in zip(_apply(op, batched), op.uneven)
    ]


def _loop(
    op: RowOp, batched: Sequence[Tensor | None], uneven: bool = True
) -> Sequence[Any]:
    """One operation, run once for each row, with ``uneven`` results where their shape
    is not known."""

    def build(*rows: Tensor) -> list[Tensor]:
        given = iter(rows)
        inputs = [t if b is None else next(given) for t, b in zip(op.inputs, batched)]
        made = get_default_graph().create_op(op.opdef, inputs, dict(op.attrs))
        return list(made.outputs)

    made = TABLE["map_rows"](build, [b for b in batched if b is not None], uneven)
    if not uneven:
        return list(made)
    return [t if is_static(y.dims) else Uneven(t) for t, y in zip(made, op.outputs)]
