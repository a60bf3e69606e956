"""Fused steps bound to memory: native code as soon as it is there, tiles until then.

Native code depends on how arrays lie in memory, which for feeds only a run tells: a
layout that was not seen before asks for code of its own.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from .fused import Group, Tiles
from .native.codegen import DENSE, STILL, STRIDED, Kernel
from .native.emit import known
from .native.trace import Tape, trace
from .native.worker import native
from .plan import Step
from .pool import Share

__all__ = ["bind_fused", "bind_native"]

#: Elements times members from which a call lets other threads run meanwhile: below,
#: to take the interpreter's lock back may cost more than the call.
_LONG = 1 << 18
#: Elements of a piece at least, and the most pieces, where threads share a step.
_PIECE = 1 << 17
_MOST = 8
#: Layouts of one step that are kept ready.
_LAYOUTS = 16


def bind_fused(
    step: Step, work: Sequence[Any], args: Sequence[Any], share: Share | None = None
) -> Any:
    """A fused step as a function of its inputs and outputs.

    ``args`` holds the arrays whose memory is the same in every run.  With ``share``
    native code runs in pieces that threads may share.
    """
    group: Group = step.attrs["group"]
    tiles = Tiles(group, work)
    if group.native == "off":
        return tiles
    return _Step(group, tiles, args, share)


def bind_native(group: Group, numpy: Callable[..., None], args: Sequence[Any]) -> Any:
    """A group's native code as a function of its inputs and outputs; ``numpy`` is the
    same, until the code is there."""
    return _Step(group, numpy, args, None)


class _Loops(NamedTuple):
    """The loop nest for a layout of the arrays."""

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]  # per loop, those of all arrays
    moves: str


def loops(
    dims: Sequence[int], layout: Sequence[Sequence[int]], sizes: Sequence[int]
) -> _Loops:
    """As few loops as there can be.

    Args:
        dims: of the outputs.
        layout: per array, byte strides (an axis that is broadcast: 0).
        sizes: per array, the bytes of an element.
    """
    found: list[tuple[int, tuple[int, ...]]] = []
    for d, strides in zip(dims, zip(*layout)):
        if d == 1:
            continue
        if found:
            outer, steps = found[-1]
            if all(s == d * t for s, t in zip(steps, strides)):
                found[-1] = outer * d, strides
                continue
        found.append((d, strides))
    if not found:
        found.append((1, (0,) * len(sizes)))
    moves = "".join(
        STILL if s == 0 else DENSE if s == n else STRIDED
        for s, n in zip(found[-1][1], sizes)
    )
    return _Loops(tuple(d for d, _ in found), tuple(s for _, s in found), moves)


def _layout(array: Any, dims: Sequence[int]) -> tuple[int, ...]:
    """Byte strides of an array that is broadcast to ``dims``."""
    missing = len(dims) - array.ndim
    moves = [0 if n == 1 else s for n, s in zip(array.shape, array.strides)]
    return (*(0,) * missing, *moves)


def kernel_of(group: Group, nest: _Loops, dtypes: tuple[str, ...]) -> Kernel:
    """What is to be compiled for a group and a loop nest."""
    tape = Tape(known)
    refs = [tape.input(i, d.dtype) for i, (d, _) in enumerate(group.inputs)]
    for m in group.members:
        refs.append(trace(tape, m.opdef, m.attrs, [refs[r] for r in m.reads]))
    results = tuple([refs[r] for r in group.results])
    return Kernel(tuple(tape.code), results, dtypes, len(nest.sizes), nest.moves)


class _Bound(NamedTuple):
    """A layout's kernel and its arguments, which only addresses are missing in."""

    native: Any
    args: Any
    address: int
    size: int


class _Step:
    """A fused step of one frame."""

    __slots__ = (
        "_dynamic",
        "_fixed",
        "_layouts",
        "_long",
        "_pieces",
        "_share",
        "group",
        "tiles",
    )

    def __init__(
        self,
        group: Group,
        tiles: Callable[..., None],
        args: Sequence[Any],
        share: Share | None,
    ) -> None:
        self.group = group
        self.tiles = tiles
        self._dynamic = [k for k, a in enumerate(args) if a is None]
        self._fixed = {
            k: a.__array_interface__["data"][0]
            for k, a in enumerate(args)
            if a is not None
        }
        self._layouts: dict[Any, _Bound] = {}
        elements = math.prod(group.dims)
        self._long = elements * max(len(group.members), 1) >= _LONG
        # Pieces depend on the size alone: the bits do not depend on the threads.
        self._share = share
        self._pieces = 1 if share is None else min(_MOST, elements // _PIECE)

    def __call__(self, *arrays: Any) -> None:
        key = tuple([arrays[k].strides for k in self._dynamic])
        bound = self._layouts.get(key)
        if bound is None:
            bound = self._bind(key, arrays)
        code = bound.native.code
        if code is None:
            if self._numpy(bound, arrays):
                return
            code = bound.native.code
        args = bound.args
        for k in self._dynamic:
            array = arrays[k]
            if not array.flags.aligned:
                self.tiles(*arrays)
                return
            args[k] = array.ctypes.data
        if self._pieces > 1 and bound.size >= self._pieces:
            self._run_in_pieces(code, bound)
        else:
            (code.call if self._long else code.call_short)(bound.address, 0, bound.size)
        if self.group.limited and args[-1]:
            args[-1] = 0
            self.tiles(*arrays)  # arguments out of reach

    def _run_in_pieces(self, code: Any, bound: _Bound) -> None:
        assert self._share is not None
        ends = [bound.size * i // self._pieces for i in range(self._pieces + 1)]
        calls = [partial(code.call, bound.address, a, b) for a, b in pairwise(ends)]
        self._share.pool.run(calls, self._share.most)

    def _numpy(self, bound: _Bound, arrays: Sequence[Any]) -> bool:
        """Run by NumPy while there is no code; returns whether it did."""
        group = self.group
        group.calls += 1
        wait, size = group.native == "wait", math.prod(group.dims)
        if bound.native.asked(wait, group.calls, size) is not None:
            return False
        self.tiles(*arrays)
        return True

    def _bind(self, key: Any, arrays: Sequence[Any]) -> _Bound:
        group = self.group
        sizes = [a.itemsize for a in arrays]
        nest = loops(group.dims, [_layout(a, group.dims) for a in arrays], sizes)
        found = native(kernel_of(group, nest, tuple(a.dtype.str for a in arrays)))
        n = len(arrays)
        rank = len(nest.sizes)
        args = (ctypes.c_int64 * (n + rank - 1 + n * rank + 1))()
        for k, address in self._fixed.items():
            args[k] = address
        rest = [*nest.sizes[1:], *(s for row in nest.strides for s in row)]
        for k, number in enumerate(rest, n):
            args[k] = number
        bound = _Bound(found, args, ctypes.addressof(args), nest.sizes[0])
        if len(self._layouts) >= _LAYOUTS:
            self._layouts.clear()
        self._layouts[key] = bound
        return bound
