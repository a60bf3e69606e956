"""Walks over a graph.  Every walk uses an explicit stack: depth is no limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .operation import Operation
from .tensor import Tensor

__all__ = ["ancestors", "between"]


def ancestors(
    ops: Iterable[Operation],
    control: bool = True,
    stop: Callable[[Operation], bool] | None = None,
) -> list[Operation]:
    """``ops`` and everything they need, in order of creation.

    Args:
        ops: where to start.
        control: whether to follow control dependencies too.
        stop: operations whose inputs are not followed.
    """
    seen: set[Operation] = set()
    stack = list(ops)
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        seen.add(op)
        if stop is not None and stop(op):
            continue
        for t in op.inputs:
            if t.op not in seen:
                stack.append(t.op)
        if control:
            stack.extend(op.control_inputs)
    return sorted(seen, key=_id)


def between(
    ys: Iterable[Tensor], xs: Iterable[Tensor], stops: frozenset[Tensor] | set[Tensor]
) -> list[Operation]:
    """The operations on a differentiable path from ``xs`` to ``ys``, in order.

    Touches only ancestors of ``ys`` that are no older than the oldest of
    ``xs``: an older operation cannot depend on them.  ``stops`` are tensors
    behind which no path is followed.
    """
    targets = set(xs)
    if not targets:
        return []
    oldest = min(x.op.id for x in targets)
    seen: set[Operation] = set()
    stack = [y.op for y in ys if y.dtype.is_inexact and y not in stops]
    while stack:
        op = stack.pop()
        if op in seen or op.id < oldest:
            continue
        opdef = op.opdef
        if opdef.vjp is None and opdef.no_gradient is None:
            continue
        seen.add(op)
        for t in op.inputs:
            if t.dtype.is_inexact and t not in stops and t.op not in seen:
                stack.append(t.op)
    found = []
    reached: set[Operation] = set()
    for op in sorted(seen, key=_id):
        for t in op.inputs:
            if t.dtype.is_inexact and (
                t in targets or (t.op in reached and t not in stops)
            ):
                reached.add(op)
                found.append(op)
                break
    return found


def _id(op: Operation) -> int:
    return op.id
