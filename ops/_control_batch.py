"""Batch rules of control operations: one loop or branch for all rows at once.

The body is vectorised as the graph around it is: its operations are built again, in
the same subgraph, for inputs with a batch axis. Where rows could go different ways
(another number of iterations, another branch) the rule gives up, and each row runs
for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..graphlib.batched import RowOp, Shared, Uneven
from ..graphlib.batching import vectorize_some
from ..graphlib.subgraph import Body, captures_of, source_in
from ..graphlib.tensor import Tensor
from ..graphlib.traversal import ancestors
from ._batch import repeated, rows_of
from ._bodies import appended
from ._loop import Parts

__all__ = ["branches", "loop"]


def depending(outputs: Iterable[Tensor], inputs: Iterable[Tensor]) -> set[Tensor]:
    """Those of ``outputs`` that depend on ``inputs``, differentiably or not."""
    outputs, found = list(outputs), set(inputs)
    for op in ancestors([t.op for t in outputs]):
        if any(t in found for t in op.inputs):
            found.update(op.outputs)
    return {t for t in outputs if t in found}


def _batch_dims(n: Any, t: Tensor) -> Any:
    lead = n if isinstance(n, int) else None
    return None if t.dims is None else (lead, *t.dims)


def _bare(t: Tensor | Shared | Uneven) -> Tensor:
    return t if isinstance(t, Tensor) else t.tensor


def _whole(t: Tensor | Shared | Uneven, n: Any) -> Tensor:
    """A batch, where ``t`` is the same for all ``n`` rows too."""
    return repeated(t.tensor, n) if isinstance(t, Shared) else _bare(t)


def loop(op: RowOp, *batched: Tensor | None) -> Any:
    """The loop whose carries, rows and results have a batch axis."""
    from .history_rows import swapped
    from .loops import loop as make_loop

    p = Parts(op.op)
    head = len(op.inputs) - len(p.body.inputs)
    if any(b is not None for b in batched[:head]):
        return NotImplemented
    graph, inner = p.body.graph, p.body.inputs
    given = dict(zip(inner, batched[head:]))
    current = dict(zip(inner, op.inputs[head:]))
    moving = {t for t, b in given.items() if b is not None}
    while True:
        found = depending(p.carried, moving)
        more = {c for (c, _), out in zip(p.carries, p.carried) if out in found}
        if more <= moving:
            break
        moving |= more
    if p.again is not None and depending([p.again], moving):
        return NotImplemented
    n = rows_of(*[b for b in batched if b is not None])
    scanned = [t for t, _ in p.rows]
    ranks_known = all(t.dims is not None for t in (*scanned, *p.carried, *p.made))
    if not ranks_known:
        return NotImplemented
    order = [t for t in inner if t in moving]
    with appended(graph, op.op):
        new = {t: graph.add_input(t.dtype, _batch_dims(n, t), "rows") for t in order}
        outputs = [*p.carried, *p.made]
        wide = dict(zip(outputs, vectorize_some(outputs, new)))
        if any(isinstance(y, Uneven) for y in wide.values()):
            return NotImplemented
        many = rows_of(*new.values())
        carried = [
            _whole(wide[out], many) if c in moving else out
            for (c, _), out in zip(p.carries, p.carried)
        ]
    again = [] if p.again is None else [p.again]
    outputs = [*carried, *again, *[_bare(wide[t]) for t in p.made]]
    inputs = [new.get(t, t) for t in inner]
    more_rest = captures_of(outputs, inputs)
    body = Body(graph, (*inputs, *more_rest), tuple(outputs))

    def passed(t: Tensor, is_row: bool) -> Tensor:
        b = given[t]
        if b is None:
            return repeated(current[t], n) if t in moving else current[t]
        return swapped(b) if is_row else b

    made = make_loop(
        body,
        [passed(c, False) for c, _ in p.carries],
        [passed(t, True) for t in scanned],
        [
            *[passed(t, False) for t, _ in p.rest],
            *[source_in(graph, t) for t in more_rest],
        ],
        op.inputs[0] if p.bound is not None else None,
        op.inputs[head - 1] if p.test is not None else None,
        p.reverse,
        tuple(p.histories),
        p.loose,
        p.strict,
        unshaped=p.unshaped,
        keep=p.keep,
        marks=p.marks,
    )
    q = Parts(made)

    def result(t: Tensor, batch: bool, stacked: bool) -> Tensor | Shared:
        if not batch:
            return Shared(t)
        return swapped(t) if stacked else t

    is_moving = [c in moving for c, _ in p.carries]
    return [
        Shared(q.count),
        *[result(t, m, False) for t, m in zip(q.finals, is_moving)],
        *[result(t, is_moving[i], True) for i, t in q.histories.items()],
        *[
            result(t, isinstance(wide[y], Tensor), True)
            for t, y in zip(q.stacks, p.made)
        ],
    ]


def branches(op: RowOp, *batched: Tensor | None) -> Any:
    """The branch operation whose bodies work on all rows."""
    from .branches import branch, plain

    case = op.opdef.inputs[0] == "index"
    if case and batched[0] is not None:
        return NotImplemented
    n = rows_of(*[b for b in batched if b is not None])
    sides = []
    for body, wires in zip(op.attrs["branches"], op.attrs["wires"]):
        moving = [t for t, i in zip(body.inputs, wires) if batched[i] is not None]
        graph = body.graph
        outputs = [t for t in body.outputs if t is not None]
        with appended(graph, op.op):
            new = {
                t: graph.add_input(t.dtype, _batch_dims(n, t), "rows") for t in moving
            }
            wide: dict[Tensor, Any] = {t: Shared(t) for t in outputs}
            if new:
                wide = dict(zip(outputs, vectorize_some(outputs, new)))
        sides.append((new, wide))
    columns = list(zip(*[body.outputs for body in op.attrs["branches"]]))
    shared = [
        all(t is None or isinstance(wide[t], Shared) for t, (_, wide) in zip(c, sides))
        for c in columns
    ]
    bodies, given = [], []
    pairs = zip(op.attrs["branches"], op.attrs["wires"])
    for (body, wires), (new, wide) in zip(pairs, sides):
        graph = body.graph
        inputs = [new.get(t, t) for t in body.inputs]
        mine: list[Any] = [
            op.inputs[i] if batched[i] is None else batched[i] for i in wires
        ]
        with appended(graph, op.op):
            # A body stands where it was built, which may be outside of ``n``'s: it
            # counts rows of its own, or is told.
            many = n
            if new:
                many = rows_of(*new.values())
            elif isinstance(n, Tensor) and not all(shared):
                many = graph.add_input(n.dtype, n.dims, "count")
                inputs.append(many)
                mine.append(n)
            made = tuple(
                None if t is None else _bare(wide[t]) if s else _whole(wide[t], many)
                for t, s in zip(body.outputs, shared)
            )
        for t in captures_of([t for t in made if t is not None], inputs):
            inputs.append(t)
            mine.append(source_in(graph, t))
        bodies.append(Body(graph, tuple(inputs), made))
        given.append(mine)
    index = op.inputs[0] if case else None
    results = branch(plain(op.opdef), index, bodies, given).outputs
    uneven = [
        any(t is not None and isinstance(wide[t], Uneven) for t, (_, wide) in pairs_of)
        for pairs_of in (list(zip(c, sides)) for c in columns)
    ]
    return [
        Shared(t) if s else Uneven(t) if u else t
        for t, s, u in zip(results, shared, uneven)
    ]
