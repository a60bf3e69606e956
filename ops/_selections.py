"""Where a program only copies elements of x, and where it begins to compute.

Gathers with known indices, slices, transposes, joins and the like make copies of
elements of x.  The *frontier* are the copies that something is computed from: what y
depends on, it depends on through them.  Likewise what y itself only copies is
followed back to the tensors that were computed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.operation import Operation
from ..graphlib.shapes import is_static
from ..graphlib.tensor import Tensor
from ..graphlib.traversal import between
from ._known import Known, size_of
from ._sparsity_rules import SUMS, copied_from, summed_from

__all__ = ["Results", "frontier", "results_of", "tables", "work"]


def frontier(
    ys: Sequence[Tensor], xs: Sequence[Tensor], known: Known
) -> dict[Tensor, Any]:
    """The copies of elements of ``xs`` that ``ys`` are computed from.

    Returns:
        For each tensor of the frontier the numbers of the elements, counted through
        all xs, that its elements are copies of (-1: of none).  Any path from an x to
        a y goes through the frontier.  Empty where an x is given twice, or a path
        leads into a body.
    """
    sources: dict[Tensor, Any] = {}
    offset = 0
    for x in xs:
        sources[x] = np.arange(offset, offset + size_of(x))
        offset += size_of(x)
    if len(sources) < len(xs):
        return {}
    computed: set[Tensor] = set()
    found: dict[Tensor, Any] = {}
    path = between(ys, xs, set())
    last = {t: op for op in path for t in op.inputs}
    keep = {*xs, *ys}
    for op in path:
        if not op.inputs:
            return {}
        live = [t in sources or t in computed for t in op.inputs]
        places = None
        if not any(t in computed for t in op.inputs):
            places = copied_from(op, live, known)
        if places is not None:
            joined = np.concatenate([sources[t] for t in op.inputs if t in sources])
            for t, at in zip(op.outputs, places):
                if t.dtype.is_inexact:
                    sources.setdefault(t, _chosen(joined, at))
        else:
            found.update((t, sources[t]) for t in op.inputs if t in sources)
            computed.update(t for t in op.outputs if t not in sources)
        for t in op.inputs:
            # Numbers of many elements: forget them after the last use.
            if last[t] is op and t not in keep:
                sources.pop(t, None)
    found.update((y, sources[y]) for y in ys if y in sources)
    return found


#: More computed tensors than this are not told apart.
_MOST = 16

#: How many times as many elements a copy has as what it copies, to make that a table.
_GROWTH = 4


def tables(ys: Sequence[Tensor], xs: Sequence[Tensor], known: Known) -> list[Tensor]:
    """Tensors that are computed from ``xs`` once and of which ``ys`` see many copies.

    Such are the rotations of cameras, computed for each camera and gathered for each
    of its observations.
    """
    # What each tensor that depends on xs is copies of, itself where it is computed.
    bases: dict[Tensor, frozenset[Tensor]] = {x: frozenset() for x in xs}
    found: dict[Tensor, None] = {}
    for op in between(ys, xs, set()):
        live = [t in bases for t in op.inputs]
        if copied_from(op, live, known) is None:
            bases.update((t, frozenset((t,))) for t in op.outputs if t not in bases)
            continue
        inputs = [t for t in op.inputs if t in bases]
        below = frozenset().union(*(bases[t] for t in inputs))
        if len(below) > _MOST:  # joined of many: itself a table, if it is one
            below = frozenset(op.outputs[:1])
        bases.update((t, below) for t in op.outputs if t not in bases)
        grown = sum(size_of(t) for t in op.outputs)
        if below and grown >= _GROWTH * sum(size_of(t) for t in inputs):
            found.update(dict.fromkeys(below))
    return list(found)


def _chosen(numbers: Any, at: Any) -> Any:
    """``numbers[at]``, and -1 where ``at`` is."""
    if not len(numbers):
        return at
    return np.where(at < 0, -1, numbers[at])


class Results(NamedTuple):
    """A tensor that was computed, and the rows of y that are sums of its elements."""

    tensor: Tensor
    rows: Any  #: elements of y, counted through all ys
    elements: Any  #: for each an element of ``tensor`` that is a term of it


def results_of(
    ys: Sequence[Tensor], held: Iterable[Tensor], known: Known, sums: bool
) -> list[Results]:
    """What ``ys`` are copies of, or (with ``sums``) sums by known indices.

    Elements of ys that do not depend on the ``held`` tensors are left out.
    """
    stops = set(held)
    path = between(ys, stops, stops)
    reached = {t for op in path for t in op.outputs if t.dtype.is_inexact} | stops
    pending: dict[Tensor, list[tuple[Any, Any]]] = {}
    offset = 0
    for y in ys:
        own = np.arange(size_of(y))
        if y in reached:
            pending.setdefault(y, []).append((offset + own, own))
        offset += len(own)
    plain = {t: list(pieces) for t, pieces in pending.items()}
    assembled: set[Operation] = set()
    for op in reversed(path):
        wanted = [t for t in op.outputs if t in pending and t not in stops]
        if not wanted:
            continue
        live = [t in reached for t in op.inputs]
        if copied_from(op, live, known) is None and not (
            sums and (op.type in SUMS or _of_sums(op, reached, assembled))
        ):
            continue
        terms = summed_from(op, live, known)
        if terms is None:
            continue
        inputs = [t for t in op.inputs if t in reached]
        starts = np.cumsum([0, *(size_of(t) for t in inputs)])
        for t, summed in zip(op.outputs, terms):
            if t not in wanted:
                continue
            rows, elements = _joined(pending.pop(t))
            picked = summed.take(elements)
            rows = np.repeat(rows, np.diff(picked.indptr))
            for x, first, last in zip(inputs, starts, starts[1:]):
                mine = (first <= picked.indices) & (picked.indices < last)
                if mine.any():
                    piece = rows[mine], picked.indices[mine] - first
                    pending.setdefault(x, []).append(piece)
    if len(pending) > _MOST:
        pending = plain
    return [Results(t, *_joined(pieces)) for t, pieces in pending.items()]


#: Sums that are followed back only where all their terms are sums by indices: else a
#: pass for each term would take the place of one.
_ADDS = ("Add", "AddN")


def _of_sums(
    op: Operation, reached: Container[Tensor], assembled: set[Operation]
) -> bool:
    """Whether ``op`` adds sums by indices, and what does not depend on x.

    If so, so do the additions below it: they are noted in ``assembled``.
    """
    if op.type not in _ADDS or op in assembled:
        return op in assembled
    adds = [op]
    for add in adds:
        for t in add.inputs:
            if t in reached and t.op.type not in SUMS:
                if t.op.type not in _ADDS:
                    return False
                adds.append(t.op)
    assembled.update(adds)
    return True


def _joined(pieces: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    rows, elements = zip(*pieces)
    return np.concatenate(rows), np.concatenate(elements)


def work(ys: Iterable[Tensor], xs: Iterable[Tensor]) -> tuple[int, int]:
    """How many elements are computed between the xs, held, and the ys; how many ops."""
    stops = set(xs)
    path = between(ys, stops, stops)
    tensors = [t for op in path for t in op.outputs if is_static(t.dims)]
    return sum(size_of(t) for t in tensors), len(path)
