"""Dependence through matrices: products, solves, factorizations per batch entry."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..graphlib.operation import Operation
from ._known import Known, dims_of
from ._pattern import Pattern, unite
from ._sparsity_rules import (
    MOST_ENTRIES,
    Deps,
    Rule,
    labelled,
    lanes,
    running,
    whole,
)

__all__ = ["RULES"]

# -- matrices, one per batch entry -----------------------------------------------------


def _batched(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Outputs depend on the whole matrix of their batch entry."""
    batch = dims_of(op.inputs[0])[:-2]
    tensors = [*op.inputs, *op.outputs]
    if any(dims_of(t)[: len(batch)] != batch for t in tensors):
        return whole(op, deps, known)
    count = prod(batch)
    labels = [
        np.repeat(np.arange(count), prod(dims_of(t)[len(batch) :])) for t in tensors
    ]
    k = len(op.inputs)
    return labelled(deps, labels[:k], labels[k:], count)


def _solve(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """x of A x = b: all of A, and the column of b; in a triangle what is before."""
    a, b = (dims_of(t) for t in op.inputs)
    out = dims_of(op.outputs[0])
    if a[:-2] != b[:-2] or b != out:
        return whole(op, deps, known)
    adjoint = op.attrs["adjoint"]
    read: Any = True
    equation, places = np.zeros(a[-2:], np.int64), None
    if op.type == "MatrixTriangularSolve":
        n = a[-1]
        rows, columns = np.indices((n, n))
        read = columns <= rows if op.attrs["lower"] else columns >= rows
        equation = columns if adjoint else rows
        places = np.moveaxis(np.arange(prod(out)).reshape(out), -2, 0)
        if op.attrs["lower"] == adjoint:
            places = places[::-1]
    parts = []
    if deps[0] is not None:
        # The matrix's elements belong to an equation; x[i, :] needs all of it.
        entry = np.arange(prod(a[:-2])).reshape(*a[:-2], 1, 1)
        labels = np.where(read, entry * a[-1] + equation, -1)
        where = entry * a[-1] + (np.arange(a[-1])[:, None] if places is not None else 0)
        own = deps[0].grouped(labels.reshape(-1), prod(a[:-1]))
        parts.append(own.take(np.broadcast_to(where, out).reshape(-1)))
    if deps[1] is not None:
        if places is None:
            column = lanes(b, (-2,))
            parts.append(deps[1].grouped(column, len(column)).take(column))
        else:
            parts.append(deps[1])
    total = unite(parts)
    return [total if places is None else running(total, places)]


# -- products --------------------------------------------------------------------------


def contraction(
    deps: Deps,
    there: Sequence[Any],
    dims: Sequence[tuple[int, ...]],
    labels: Sequence[Sequence[Any]],
    out: tuple[int, ...],
    result: Any,
) -> list[Pattern | None]:
    """A product of two operands with labelled axes, summed over some labels.

    Args:
        deps: of the two operands.
        there: where they can be nonzero (the rest cuts dependence), or None.
        dims: their shapes; an axis of size 1 may stand for a longer one.
        labels: a label for each axis of each operand.
        out: the shape of the result.
        result: its labels.
    """
    sizes: dict[Any, int] = {}
    for names, own in zip(labels, dims):
        for c, d in zip(names, own):
            sizes[c] = d if sizes.get(c, 1) == 1 else sizes[c]
    parts = []
    for mine, other in ((0, 1), (1, 0)):
        p = deps[mine]
        if p is None:
            continue
        own, names = dims[mine], labels[mine]
        entries = None
        if there[other] is not None:
            entries = _entries(
                own, names, there[other], labels[other], result, out, sizes
            )
        if entries is not None:
            parts.append(p.after(*entries, prod(out)))
            continue
        gone = [i for i, c in enumerate(names) if c not in result]
        kept = [c for c in names if c in result]
        shape = [own[names.index(c)] for c in kept]
        numbers = np.arange(prod(shape)).reshape(shape)
        numbers = numbers.transpose([kept.index(c) for c in result if c in kept])
        line = [None if c not in kept else slice(None) for c in result]
        where = np.broadcast_to(numbers[tuple(line)], out).reshape(-1)
        parts.append(p.grouped(lanes(own, gone), prod(shape)).take(where))
    return [unite(parts)]


def _entries(
    own: Sequence[int],
    names: Any,
    there: Any,
    others: Any,
    result: Any,
    out: Sequence[int],
    sizes: dict[Any, int],
) -> tuple[Any, Any] | None:
    """(result element, my element) for each place of the other operand.

    None where it has no zeros, or where there are too many entries.
    """
    if there.all():
        return None
    there = np.broadcast_to(there, [sizes[c] for c in others])
    free = [c for c in names if c not in others]
    if np.count_nonzero(there) * prod(sizes[c] for c in free) > MOST_ENTRIES:
        return None
    strides = dict(zip(names, _strides(own)))
    steps = dict(zip(result, _strides(out)))
    row: Any = np.zeros((1, 1), np.int64)
    col: Any = np.zeros((1, 1), np.int64)
    for c, at in zip(others, np.nonzero(there)):
        row = row + at[:, None] * steps.get(c, 0)
        col = col + at[:, None] * strides.get(c, 0)
    grid = np.indices([sizes[c] for c in free]).reshape(len(free), -1)
    for c, at in zip(free, grid):
        row = row + at * steps.get(c, 0)
        col = col + at * strides[c]
    row, col = np.broadcast_arrays(row, col)
    return row.reshape(-1), col.reshape(-1)


def _strides(dims: Sequence[int]) -> list[int]:
    """Row-major strides in elements; 0 along an axis of size 1, which broadcasts."""
    steps = [prod(dims[i + 1 :]) for i in range(len(dims))]
    return [0 if d == 1 else s for d, s in zip(dims, steps)]


def _matmul(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    dims = [dims_of(t) for t in op.inputs]
    out = dims_of(op.outputs[0])
    batch = len(out) - 2
    # Labels 0, 1, ... are the batch axes; the product is (i, k) times (k, j).
    i, j, k = batch, batch + 1, batch + 2
    labels = []
    for own, pair, side in zip(dims, ((i, k), (k, j)), "ab"):
        if op.attrs[f"transpose_{side}"] or op.attrs[f"adjoint_{side}"]:
            pair = pair[::-1]
        labels.append([*range(batch - len(own) + 2, batch), *pair])
    there = [
        None if p is None else known.nonzero(t) for t, p in zip(op.inputs, deps[::-1])
    ]
    return contraction(deps, there, dims, labels, out, [*range(batch), i, j])


def _einsum(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    left, _, result = op.attrs["equation"].partition("->")
    there = [
        None if p is None else known.nonzero(t) for t, p in zip(op.inputs, deps[::-1])
    ]
    dims = [dims_of(t) for t in op.inputs]
    return contraction(
        deps, there, dims, left.split(","), dims_of(op.outputs[0]), result
    )


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Cholesky", "MatrixInverse", "MatrixDeterminant", "LogMatrixDeterminant",
         "MatrixExponential", "PseudoInverse", "Qr", "SelfAdjointEigV2", "Svd"),
        _batched,
    ),
    **dict.fromkeys(("MatrixSolve", "MatrixTriangularSolve"), _solve),
    "MatMul": _matmul,
    "Einsum": _einsum,
}  # fmt: skip
