"""Loops that keep the carries of every k-th iteration only.

The iterations run in blocks; a block is a function whose gradient computes it
again from the carries at its start. So the backward pass holds one state per block
and, one block at a time, the states inside it: n/k + k states for n iterations
(about 2 sqrt(n) at best) for one more forward pass. Blocks of blocks hold fewer, for
one more forward pass per level.

Reference: Chen, Xu, Zhang, Guestrin, Training deep nets with sublinear memory cost
(2016); Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 12, on what is
optimal (blocks of equal size come close).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import int32
from ..graphlib.errors import ResourceExhaustedError, ShapeError
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.shapes import is_static, size
from ..graphlib.source import entry
from ..graphlib.subgraph import Body, Subgraph, captures_of, source_in
from ..graphlib.tensor import Tensor, as_tensor
from ._build import constant, shape_tensor
from ._loop import Parts
from .branches import RECOMPUTED_CALL, branch
from .joining import concat
from .logical import greater, logical_and
from .loops import loop
from .rounding import minimum
from .views import reshape

__all__ = ["block_sizes", "blocked_scan", "blocked_while", "recomputed"]


def block_sizes(
    every: Any, carries: Sequence[Tensor] = (), length: int | None = None
) -> list[int]:
    """``checkpoint_every`` as a list of sizes, the outermost first.

    Args:
        every: a size, sizes, or bytes as text ("200MB").
        carries: what an iteration carries; its bytes are those of a state.
        length: the number of iterations, where it is known.

    Raises:
        ShapeError: a size is no integer above 0, sizes do not decrease, or bytes are
            given where the number of iterations or a shape is not known.
        ResourceExhaustedError: no blocks need so few bytes.
    """
    if isinstance(every, str):
        return _sizes_within(every, carries, length)
    sizes = list(every) if isinstance(every, (list, tuple)) else [every]
    if not sizes or any(
        isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1
        for k in sizes
    ):
        raise ShapeError(
            f"{entry()}checkpoint_every must be an integer above 0, or a list of "
            f"such, not {every!r}"
        )
    if any(a <= b for a, b in itertools.pairwise(sizes)):
        raise ShapeError(f"{entry()}checkpoint_every must decrease: {sizes}")
    return [int(k) for k in sizes]


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30}
_MOST_LEVELS = 8


def _sizes_within(
    text: str, carries: Sequence[Tensor], length: int | None
) -> list[int]:
    """The fewest levels of blocks whose states take no more than so many bytes."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([kmg]?i?)b\s*", text.lower())
    if found is None or found[2] not in _UNITS:
        raise ShapeError(
            f"{entry()}checkpoint_every takes a number of iterations, a list of such, "
            f"or bytes such as '200MB' or '64MiB', not {text!r}"
        )
    budget = float(found[1]) * _UNITS[found[2]]
    kept = [t for t in carries if t.dtype.is_inexact]
    if length is None or not all(is_static(t.dims) for t in kept):
        raise ShapeError(
            f"{entry()}checkpoint_every={text!r}: the number of iterations and the "
            "shapes of what is carried must be known: give a number of iterations"
        )
    state = sum((size(t.dims) or 0) * t.dtype.size for t in kept)
    least = length * state
    for levels in range(_MOST_LEVELS):
        root = max(2, math.ceil(length ** (1 / (levels + 1))))
        states = (levels + 1) * root if levels else length
        least = min(least, states * state)
        if states * state <= budget:
            return [root**k for k in range(levels, 0, -1)]
    raise ResourceExhaustedError(
        f"{entry()}checkpoint_every={text!r}: {length} iterations of {state:,} bytes "
        f"need at least {least:,} bytes, however they are cut into blocks"
    )


def recomputed(
    outer: Graph,
    scope: str,
    inputs: Sequence[Tensor],
    build: Callable[[list[Tensor]], list[Tensor]],
) -> Sequence[Tensor]:
    """``build(inputs)`` as one operation that is computed again for its gradient."""
    graph = Subgraph(outer, scope, f'checkpointed block "{scope}"')
    with graph.as_innermost():
        ins = [graph.add_input(t.dtype, t.dims, "input") for t in inputs]
        outputs = [graph.capture(t) for t in build(ins)]
    rest = captures_of(outputs, ins)
    body = Body(graph, (*ins, *rest), tuple(outputs))
    passed = [*inputs, *[source_in(graph, t) for t in rest]]
    op = branch(RECOMPUTED_CALL, None, [body], [passed], "block")
    return op.outputs


def _slice(t: Tensor, start: Any, stop: Any) -> Tensor:
    return t[slice(start, stop)]


def _reshape(t: Tensor, lead: Sequence[Any], row: Tensor, skip: int) -> Tensor:
    """``t`` with its first axes replaced by ``lead``; the rest are those of ``row``
    after ``skip`` axes."""
    if is_static(row.dims) and all(isinstance(n, int) for n in lead):
        return reshape(t, [*lead, *(row.dims or ())[skip:]])
    sizes = shape_tensor(row)
    return reshape(t, concat([as_tensor(list(lead), int32), sizes[skip:]], 0))


def blocked_scan(
    outer: Graph,
    scope: str,
    body: Body,
    rest: Sequence[Tensor],
    carries: Sequence[Tensor],
    arrays: Sequence[Tensor],
    sizes: Sequence[int],
    stacked: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    """The last carries of a scan in blocks of ``sizes[0]`` iterations (themselves in
    blocks of ``sizes[1]``, ...), and with ``stacked`` all of them."""
    k = len(carries)
    if not sizes:
        history = tuple(range(k)) if stacked else ()
        parts = Parts(loop(body, carries, arrays, rest, history=history))
        stacks = [_slice(parts.histories[i], 1, None) for i in history]
        return list(parts.finals), stacks
    every = sizes[0]
    length = arrays[0].dims[0] if arrays[0].dims else None
    count: Any = shape_tensor(arrays[0])[0] if length is None else length
    blocks = count // every
    whole = blocks * every

    graph = Subgraph(outer, f"{scope}blocks", f'blocks of "{scope[:-1]}"')
    cut = [_reshape(_slice(t, 0, whole), [blocks, every], t, 1) for t in arrays]
    with graph.as_innermost():
        ins = [
            graph.add_input(c.dtype, t.dims, "carry")
            for c, t in zip(carries, body.inputs)
        ]
        rows = [
            graph.add_input(t.dtype, None if t.dims is None else t.dims[1:], "rows")
            for t in cut
        ]

        def block(given: list[Tensor]) -> list[Tensor]:
            finals, stacks = blocked_scan(
                get_default_graph(),
                f"{scope}blocks/block/",
                body,
                rest,
                given[:k],
                given[k:],
                sizes[1:],
                stacked,
            )
            return [*finals, *stacks]

        made = recomputed(graph, f"{scope}blocks/block", [*ins, *rows], block)
    captured = captures_of(made, [*ins, *rows])
    outer_body = Body(graph, (*ins, *rows, *captured), tuple(made))
    passed = [source_in(graph, t) for t in captured]
    main = Parts(loop(outer_body, carries, cut, passed))
    finals = list(main.finals)
    stacks = [_reshape(s, [whole], s, 2) for s in main.stacks]
    if length is not None and length % every == 0:
        return finals, stacks
    # The rest is less than a block; it too is computed again.
    tails = [_slice(t, whole, None) for t in arrays]

    def tail(given: list[Tensor]) -> list[Tensor]:
        last, ends = blocked_scan(
            get_default_graph(),
            f"{scope}blocks/tail/",
            body,
            rest,
            given[:k],
            given[k:],
            (),
            stacked,
        )
        return [*last, *ends]

    ended = recomputed(outer, f"{scope}blocks/tail", [*finals, *tails], tail)
    ends = ended[k:]
    return list(ended[:k]), [concat([s, e], 0) for s, e in zip(stacks, ends)]


def blocked_while(
    outer: Graph,
    scope: str,
    body: Body,
    rest: Sequence[Tensor],
    carries: Sequence[Tensor],
    first: Tensor,
    bound: Tensor | None,
    sizes: Sequence[int],
    go_on: Callable[[Sequence[Tensor]], Tensor],
) -> list[Tensor]:
    """The last carries of a loop that tests, in blocks of ``sizes[0]`` iterations.

    ``go_on`` builds the condition of the carries.
    """
    if not sizes:
        parts = Parts(loop(body, carries, (), rest, bound=bound, test=first))
        return list(parts.finals)
    most = np.iinfo(np.int32).max
    left: Tensor = constant(most, int32) if bound is None else bound
    graph = Subgraph(outer, f"{scope}blocks", f'blocks of "{scope[:-1]}"')
    with graph.as_innermost():
        ins = [
            graph.add_input(c.dtype, t.dims, "carry")
            for c, t in zip(carries, body.inputs)
        ]
        remaining = graph.add_input(int32, (), "remaining")

        def block(given: list[Tensor]) -> list[Tensor]:
            return blocked_while(
                get_default_graph(),
                f"{scope}blocks/block/",
                body,
                rest,
                given[:-1],
                constant(True),
                minimum(given[-1], sizes[0]),
                sizes[1:],
                go_on,
            )

        made = recomputed(graph, f"{scope}blocks/block", [*ins, remaining], block)
        after = remaining - sizes[0]
        again = logical_and(go_on(made), greater(after, 0))
        outputs = [*made, after, again]
    inputs = [*ins, remaining]
    captured = captures_of(outputs, inputs)
    outer_body = Body(graph, (*inputs, *captured), tuple(outputs))
    parts = Parts(
        loop(
            outer_body,
            [*carries, left],
            (),
            [source_in(graph, t) for t in captured],
            test=logical_and(first, greater(left, 0)),
        )
    )
    return list(parts.finals[:-1])
