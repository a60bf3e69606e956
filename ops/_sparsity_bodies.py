"""Dependence through loops, branches and functions: their bodies are followed.

A loop with a known number of iterations is followed iteration by iteration, so a
scan keeps its rows apart and its counter is known in each; any other loop is
followed until nothing is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..graphlib.operation import Operation
from ..graphlib.shapes import is_static
from ..graphlib.subgraph import Body
from ..graphlib.tensor import Tensor
from ._known import Known, size_of
from ._loop import Parts
from ._pattern import Pattern, empty, identity, stacked, unite
from ._sparsity_rules import Deps, Rule, propagate, whole

__all__ = ["RULES"]

# Iterations beyond which a loop is followed as if their number were not known.
_MOST_ITERATIONS = 5000


def _inside(inputs: Sequence[Tensor], values: Sequence[Any]) -> Known:
    """What is known in a body whose inputs have these values (None: any)."""
    known = Known(inputs)
    for t, v in zip(inputs, values):
        if v is not None:
            known.learn(t, v)
    return known


def _through(
    outputs: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    deps: Deps,
    known: Known,
) -> list[Pattern | None]:
    given = {t: p for t, p in zip(inputs, deps) if p is not None}
    made = iter(propagate([t for t in outputs if t is not None], given, known))
    return [None if t is None else next(made) for t in outputs]


# -- branches and functions ------------------------------------------------------------


def _branch(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """The union over the bodies that can be chosen."""
    bodies: Sequence[Body] = op.attrs["branches"]
    chosen = range(len(bodies))
    if len(bodies) > 1:
        index = known.value(op.inputs[0])
        if index is not None and 0 <= int(index) < len(bodies):
            chosen = range(int(index), int(index) + 1)
    found: list[list[Pattern]] = [[] for _ in op.outputs]
    for i in chosen:
        body, wires = bodies[i], op.attrs["wires"][i]
        inside = _inside(body.inputs, [known.value(op.inputs[w]) for w in wires])
        own = [deps[w] for w in wires]
        for parts, p in zip(found, _through(body.outputs, body.inputs, own, inside)):
            if p is not None:
                parts.append(p)
    if any(not is_static(t.dims) for b in bodies for t in b.outputs if t is not None):
        return whole(op, deps, known)
    return [unite(parts) if parts else None for parts in found]


# -- loops -----------------------------------------------------------------------------


def _loop(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    parts = Parts(op)
    by_input = dict(zip(op.inputs, deps))
    width = next(p.shape[1] for p in deps if p is not None)
    inner = (*parts.body.inputs, *parts.carried, *parts.made)
    if any(not is_static(t.dims) for t in inner if t.dtype.is_inexact):
        return whole(op, deps, known)
    count = known.value(parts.count) if parts.test is None else None
    if count is None or int(count) > _MOST_ITERATIONS:
        return _any_number(parts, by_input, known, width)
    return _iterated(parts, by_input, known, width, int(count))


def _iterated(
    parts: Parts,
    by_input: dict[Tensor, Pattern | None],
    known: Known,
    width: int,
    count: int,
) -> list[Pattern | None]:
    """Iteration after iteration, each with its own rows and counters."""
    carries = [by_input[x] for _, x in parts.carries]
    counters = [_counter(known, x) for _, x in parts.carries]
    rest = [by_input[x] for _, x in parts.rest]
    constants = [known.value(x) for _, x in parts.rest]
    scans = [(by_input[x], known.value(x)) for _, x in parts.rows]
    histories = {i: [carries[i]] for i in parts.histories}
    stacks: list[list[Pattern | None]] = [[None] * count for _ in parts.made]
    varying = {t for t, _ in (*parts.carries, *parts.rows)}
    step = None
    for done in range(count):
        at = count - 1 - done if parts.reverse else done
        values = [None if v is None else v[at] for _, v in scans]
        inside = _inside(parts.body.inputs, [*counters, *values, *constants])
        if step is None or not step.read.isdisjoint(varying):
            # Another step only where the last one read what differs now.
            step = _Step(parts, inside, rest, width)
        rows = [_row(p, size_of(t), at) for (p, _), (t, _) in zip(scans, parts.rows)]
        made = step([*carries, *rows])
        carries = made[: len(carries)]
        if any(c is not None for c in counters):
            counters = [_counter(inside, t) for t in parts.carried]
        for i, kept in histories.items():
            kept.append(carries[i])
        for stack, p in zip(stacks, made[len(carries) :]):
            stack[at] = p
    results = [None, *carries]
    for i, kept in histories.items():
        results.append(_stacked(kept, size_of(parts.carried[i]), width))
    for stack, t in zip(stacks, parts.made):
        results.append(_stacked(stack, size_of(t), width))
    return results


class _Step:
    """One iteration as a boolean matrix, by which many are followed quickly.

    Attributes:
        read: the tensors whose known values were read while it was made.
    """

    def __init__(
        self, parts: Parts, known: Known, rest: Sequence[Pattern | None], width: int
    ) -> None:
        self.width = width
        self.outputs = [*parts.carried, *parts.made]
        inputs = [t for t in parts.body.inputs if t.dtype.is_inexact]
        ends = np.cumsum([0, *map(size_of, inputs)]).tolist()
        deps = [identity(b - a, ends[-1], a) for a, b in pairwise(ends)]
        made = _through(self.outputs, inputs, deps, known)
        self.read = frozenset(known.read)
        self.sizes = [size_of(t) for t in self.outputs]
        total = stacked(
            [empty(m, ends[-1]) if p is None else p for m, p in zip(self.sizes, made)]
        )
        rows, cols = total.rows(), total.indices
        blocks: dict[Tensor, tuple[Any, Any]] = {}
        for t, (a, b) in zip(inputs, pairwise(ends)):
            own = (cols >= a) & (cols < b)
            blocks[t] = rows[own], cols[own] - a
        none = np.zeros(0, np.int64), np.zeros(0, np.int64)
        moving = len(parts.carries) + len(parts.rows)
        self.blocks = [blocks.get(t, none) for t in parts.body.inputs[:moving]]
        # The rest is the same in each iteration.
        self.rest = [
            p.after(*blocks.get(t, none), sum(self.sizes))
            for t, p in zip(parts.body.inputs[moving:], rest)
            if p is not None
        ]

    def __call__(self, deps: Deps) -> list[Pattern | None]:
        total = unite(
            [empty(sum(self.sizes), self.width), *self.rest]
            + [
                p.after(*block, sum(self.sizes))
                for p, block in zip(deps, self.blocks)
                if p is not None and len(block[0])
            ]
        )
        ends = np.cumsum([0, *self.sizes]).tolist()
        return [
            total.part(a, b) if t.dtype.is_inexact else None
            for t, (a, b) in zip(self.outputs, pairwise(ends))
        ]


def _counter(known: Known, t: Tensor) -> Any:
    """The value of an integer or bool that decides what an iteration reads."""
    return None if t.dtype.is_inexact else known.value(t)


def _row(p: Pattern | None, size: int, at: int) -> Pattern | None:
    return None if p is None else p.part(at * size, (at + 1) * size)


def _stacked(parts: Sequence[Pattern | None], size: int, width: int) -> Pattern | None:
    if all(p is None for p in parts):
        return None
    return stacked([empty(size, width) if p is None else p for p in parts])


def _any_number(
    parts: Parts, by_input: dict[Tensor, Pattern | None], known: Known, width: int
) -> list[Pattern | None]:
    """What the carries can depend on after any number of iterations."""
    carries = [by_input[x] for _, x in parts.carries]
    rows: list[Pattern | None] = []
    for t, x in parts.rows:
        p, size = by_input[x], size_of(t)
        if p is not None:
            p = p.grouped(np.arange(p.shape[0]) % max(size, 1), size)
        rows.append(p)
    rest = [by_input[x] for _, x in parts.rest]
    unknown = [None] * (len(carries) + len(rows))
    constants = [known.value(x) for _, x in parts.rest]
    inside = _inside(parts.body.inputs, [*unknown, *constants])
    while True:
        made = _through(
            [*parts.carried, *parts.made],
            parts.body.inputs,
            [*carries, *rows, *rest],
            inside,
        )
        wider = [_either(a, b) for a, b in zip(carries, made)]
        if [_size(p) for p in wider] == [_size(p) for p in carries]:
            break
        carries = wider
    results = [None, *carries]
    pairs = [(carries[i], t) for i, t in parts.histories.items()]
    pairs += list(zip(made[len(carries) :], parts.stacks))
    for p, t in pairs:
        if p is None:
            results.append(None)
        elif is_static(t.dims):
            repeats = size_of(t) // max(p.shape[0], 1)
            results.append(p.take(np.tile(np.arange(p.shape[0]), repeats)))
        else:  # one row for all elements
            results.append(p.grouped(np.zeros(p.shape[0], np.int64), 1))
    return results


def _either(a: Pattern | None, b: Pattern | None) -> Pattern | None:
    some = [p for p in (a, b) if p is not None]
    return unite(some) if some else None


def _size(p: Pattern | None) -> int:
    return -1 if p is None else p.size


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Case", "StatefulCase", "Call", "StatefulCall", "RecomputedCall"), _branch
    ),
    **dict.fromkeys(("Loop", "StatefulLoop"), _loop),
}
