"""Large steps in pieces that threads can share.

Where a step is cut depends on its shapes alone, never on the number of threads: with
one thread the pieces run one after the other, and the results are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..graphlib.shapes import is_static
from .plan import FUSED_TYPE, Slot, Step
from .pool import Pool

__all__ = ["Pieces", "cut", "product_pieces"]

#: Elements from which an elementwise step is cut, the least of a piece, most pieces.
_LARGE = 1 << 18
_PIECE = 1 << 17
_MOST = 8
#: Where the pieces begin along the axis that is cut: whole cache lines.
_ALIGN = 64

#: Given the inputs and the output, whole: a call that writes its part of the output.
Piece = Callable[..., Callable[[], Any]]


class Pieces:
    """A step's kernel, in pieces: called with the inputs and the output.

    Where all of them are in their places for good, the calls are ready beforehand.
    """

    __slots__ = ("_calls", "_most", "_pieces", "_pool")

    def __init__(
        self, pool: Pool, most: int, pieces: Sequence[Piece], arrays: Sequence[Any]
    ) -> None:
        self._pool = pool
        self._most = most
        self._pieces = pieces
        fixed = all(a is not None for a in arrays)
        self._calls = [p(*arrays) for p in pieces] if fixed else None

    def __call__(self, *arrays: Any) -> None:
        calls = self._calls or [p(*arrays) for p in self._pieces]
        self._pool.run(calls, self._most)


def cut(step: Step, slots: Sequence[Slot], work: Sequence[Any]) -> Sequence[Piece]:
    """The pieces of a step that writes into planned memory; none where it stays whole.

    Args:
        step: of a plan.
        slots: of the plan.
        work: the step's scratch arrays.
    """
    if step.mode != "out" or step.copy_view or len(step.outputs) != 1:
        return ()
    if step.opdef.pieces is not None:
        return [partial(partial, p) for p in product_pieces(step, slots)]
    if not step.opdef.elementwise or step.opdef.type == FUSED_TYPE:
        return ()  # a fused step has pieces of its own
    out = slots[step.outputs[0]]
    ins = [slots[s] for s in step.inputs]
    if out.dims is None or out.dtype.dtype.hasobject:
        return ()
    if not all(is_static(s.dims) for s in (out, *ins)):
        return ()
    size = prod(out.dims)  # type: ignore[arg-type]
    if size < _LARGE:
        return ()
    return _elementwise(step, ins, out, work, min(_MOST, size // _PIECE))


def product_pieces(step: Step, slots: Sequence[Slot]) -> Sequence[Callable[..., Any]]:
    """The pieces into which an op itself says that it can be cut: each takes the
    inputs and the output, and writes its part."""
    ins, outs = ([slots[s] for s in ss] for ss in (step.inputs, step.outputs))
    if step.opdef.pieces is None or not all(is_static(s.dims) for s in (*ins, *outs)):
        return ()
    return step.opdef.pieces(step.attrs, ins, outs) or ()


def _elementwise(
    step: Step, ins: Sequence[Slot], out: Slot, work: Sequence[Any], count: int
) -> Sequence[Piece]:
    """Pieces along the first axis that is long enough to be cut."""
    dims: tuple[int, ...] = out.dims  # type: ignore[assignment]
    if any(w.shape != dims for w in work):
        return ()
    axis = next((i for i, d in enumerate(dims) if d >= 2 * count), None)
    if axis is None:
        return ()
    align = _ALIGN if axis == len(dims) - 1 else 1
    bounds = [dims[axis] * i // count // align * align for i in range(count)]
    bounds.append(dims[axis])
    kernel = step.opdef.kernel
    call: Callable[..., Any]
    if isinstance(kernel, str):
        call = getattr(np, kernel)
    else:
        assert kernel is not None
        call = partial(kernel, np, **step.attrs)
    pieces = []
    for a, b in pairwise(bounds):
        where = [_within(s.dims, dims, axis, slice(a, b)) for s in (*ins, out)]
        index = where[-1]
        kernel_of_piece = call
        if work:
            kernel_of_piece = partial(call, work=tuple(w[index] for w in work))
        pieces.append(partial(_piece, kernel_of_piece, where))
    return pieces


def _within(dims: Any, out: tuple[int, ...], axis: int, part: slice) -> Any:
    """The index of an operand that goes with a part of the output, None for all."""
    own = axis - (len(out) - len(dims))
    if own < 0 or dims[own] == 1:
        return None
    return (*[slice(None)] * own, part)


def _piece(kernel: Callable[..., Any], where: Sequence[Any], *arrays: Any) -> Any:
    *parts, out = [a if w is None else a[w] for a, w in zip(arrays, where)]
    return partial(kernel, *parts, out=out)
