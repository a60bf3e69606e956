"""The reference kernel of loops: the body, iteration after iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.ragged import Ragged, stack_rows
from ..graphlib.subgraph import Body, empty_stacks

__all__ = ["loop_kernel"]


def loop_kernel(
    xp: Any,
    run: Callable[..., Any],
    *arrays: Any,
    body: Body,
    carries: int,
    scanned: int,
    bounded: bool,
    tested: bool,
    reverse: bool,
    history: Sequence[int],
    loose: Sequence[int],
    strict: int,
    updates: Sequence[int] = (),
    out: Any = None,
) -> Any:
    given = list(arrays)
    bound = int(given.pop(0)) if bounded else None
    go_on = bool(given.pop(0)) if tested else True
    state, rest = given[:carries], given[carries + scanned :]
    scans = given[carries : carries + scanned]
    limit = iterations(scans, bound)
    kept: list[list[Any]] = [[state[i]] for i in history]
    stacks: list[list[Any]] = [[] for _ in body.outputs[carries + tested :]]
    done = 0
    while go_on and (limit is None or done < limit):
        at = limit - 1 - done if reverse and limit is not None else done
        results = run(body, [*state, *[row_of(a, at) for a in scans], *rest])
        state = results[:carries]
        if tested:
            go_on = bool(results[carries])
        for column, i in zip(kept, history):
            column.append(state[i])
        for column, made in zip(stacks, results[carries + tested :]):
            column.append(made)
        done += 1
    if reverse:
        stacks = [column[::-1] for column in stacks]
    results = [xp.asarray(done, np.int32), *state]
    results += [stacked(column, i not in loose) for column, i in zip(kept, history)]
    if done:
        results += [stacked(column, k < strict) for k, column in enumerate(stacks)]
    else:
        first = carries + tested
        results += empty_stacks(body, carries, scanned, first, given)
    if out is None:
        return tuple(results)
    for target, result in zip(out, results):
        xp.copyto(target, result)
    return out


def iterations(scans: Sequence[Any], bound: int | None) -> int | None:
    """How many iterations the scanned arrays and the bound allow (None: any)."""
    lengths = {len(a) for a in scans}
    if len(lengths) > 1:
        raise InvalidArgumentError(
            f"the scanned arrays differ in their first axis: {sorted(lengths)}"
        )
    found = min(lengths) if lengths else None
    if bound is not None:
        found = max(bound, 0) if found is None else min(found, max(bound, 0))
    return found


def row_of(array: Any, t: int) -> Any:
    """Row ``t``, as an array."""
    return array[t] if type(array) is Ragged else array[t, ...]


def stacked(column: Sequence[Any], strict: bool) -> Any:
    """The rows as one array; raises InvalidArgumentError where they cannot be."""
    made = stack_rows(column)
    if strict and type(made) is Ragged:
        shapes = sorted({r.shape for r in column})
        raise InvalidArgumentError(
            f"the iterations make rows of different shapes, {shapes}, which cannot "
            "be stacked"
        )
    return made
