"""The reference kernel of loops: the body, iteration after iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.checkpointing import at_marks
from ..graphlib.ragged import iterations, row_of, stack_made
from ..graphlib.subgraph import Body, empty_stacks

__all__ = ["kernel"]


def kernel(
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
    unshaped: Sequence[int] = (),
    keep: Any = None,
    marks: Any = None,
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
        for past, i in zip(kept, history):
            past.append(state[i])
        for stack, row in zip(stacks, results[carries + tested :]):
            stack.append(row)
        done += 1
    if reverse:
        stacks = [stack[::-1] for stack in stacks]
    # What goes through is memory of its own, as what a body makes is.
    results = [xp.asarray(done, np.int32), *(state if done else map(xp.array, state))]
    if marks is not None:
        kept = [at_marks(past, marks) for past in kept]
    results += [stack_made(past, i not in loose) for past, i in zip(kept, history)]
    if done:
        results += [stack_made(stack, k < strict) for k, stack in enumerate(stacks)]
    else:
        first = carries + tested
        results += empty_stacks(body, carries, scanned, first, given)
    if out is None:
        return tuple(results)
    for target, result in zip(out, results):
        xp.copyto(target, result)
    return out
