"""Convolutions and the like as native loop nests: NumPy's kernel until code is there.

An op says what it computes (``OpDef.nest``); a layout gives the packed filter its
memory; a frame calls the code. Sums are added in another order than NumPy's, so results
change in the last digits when the code arrives, as they do for all native code.  What
writes the code of each kind loads where a step needs it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..graphlib.opdef import OpDef
from ..graphlib.products import Product
from ..graphlib.shapes import is_static
from ..graphlib.windows import Correlation, FilterGradient, Nest, Pool
from . import native_flops
from .native.engine import available
from .native.worker import native
from .native_flops import is_long, pieces
from .pool import Share

__all__ = ["bind_nest", "nest_between", "with_panel"]

#: A scratch array: dtype and shape.
Scratch = tuple[Any, tuple[int, ...]]


def nest_between(
    opdef: OpDef,
    attrs: Mapping[str, Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    native: str,
) -> Nest | None:
    """What native code is to compute in the place of an op's kernel, between values or
    slots of a plan; None: nothing."""
    if opdef.nest is None or native == "off" or not available():
        return None
    if not all(is_static(v.dims) for v in (*inputs, *outputs)):
        return None
    return opdef.nest(inputs, outputs, attrs)  # type: ignore[no-any-return]


def with_panel(
    scratch: tuple[Scratch, ...], nest: Nest | None, shared: bool
) -> tuple[Scratch, ...]:
    """A step's scratch arrays, of which one has room for the packed filter, or for the
    panels of a product (``shared``: of threads): either NumPy's kernel or the native
    one is at work."""
    need = 0 if nest is None else _panel_bytes(nest, shared)
    if _roomy(scratch, need) is not None:
        return scratch
    return (*scratch, (np.dtype(np.uint8), (need,)))


def _panel_bytes(nest: Nest, shared: bool) -> int:
    if isinstance(nest.parts[0], Product):
        from .native_products import panels_bytes

        return panels_bytes(nest, shared)
    from .native.correlate import panel_elements

    parts = [p for p in nest.parts if isinstance(p, Correlation)]
    size = np.dtype(nest.dtype).itemsize
    return panel_elements(parts, size) * size


def _roomy(scratch: Sequence[Scratch], need: int) -> int | None:
    """The place of an array of so many bytes; -1 where none is needed."""
    if not need:
        return -1
    for i, (dtype, dims) in enumerate(scratch):
        if prod(dims) * np.dtype(dtype).itemsize >= need:
            return i
    return None


def bind_nest(
    nest: Nest,
    numpy: Callable[..., Any],
    args: Sequence[Any],
    work: Sequence[Any],
    mode: str,
    share: Share | None,
) -> Any:
    """A function of a step's inputs and output: ``numpy``, or what runs natively as
    soon as it can.

    Args:
        numpy: the step's kernel, of the same arguments.
        args: the arrays whose memory is the same in every run, None for others.
        work: the step's scratch arrays.
        mode: "auto" or "wait".
        share: threads that may take a part.
    """
    if isinstance(nest.parts[0], Product):
        from .native_products import ProductStep

        at = _roomy([(a.dtype, a.shape) for a in work], _panel_bytes(nest, bool(share)))
        room = None if at is None or at < 0 else work[at]
        return ProductStep(nest, numpy, args, room, mode == "wait", share)
    places = (*nest.reads, len(args) - 1)
    if not all(args[i] is None or _plain(args[i]) for i in places):
        return numpy
    return _NestStep(nest, numpy, args, work, mode == "wait", share)


def _plain(array: Any) -> bool:
    return bool(array.flags.c_contiguous and array.flags.aligned)


class _NestStep:
    """A step of one frame."""

    __slots__ = (
        "_address",
        "_args",
        "_calls",
        "_changing",
        "_flops",
        "_native",
        "_numpy",
        "_packs",
        "_pieces",
        "_share",
        "_size",
        "_wait",
    )

    def __init__(
        self,
        nest: Nest,
        numpy: Callable[..., Any],
        args: Sequence[Any],
        work: Sequence[Any],
        wait: bool,
        share: Share | None,
    ) -> None:
        self._numpy = numpy
        self._wait = wait
        self._share = share
        self._calls = 0
        self._flops = nest.flops
        part = nest.parts[0]
        self._packs = isinstance(part, Correlation)
        self._args = (ctypes.c_int64 * 4)()
        self._address = ctypes.addressof(self._args)
        if isinstance(part, Pool):
            from .native.pooling import PoolKernel

            self._native = native(PoolKernel(part, nest.dtype))
            self._size = nest.images
        elif isinstance(part, FilterGradient):
            from .native.correlate_filter import FilterKernel

            filters = FilterKernel(part, nest.dtype)
            self._native = native(filters)
            self._args[3] = nest.images
            self._size = filters.units
        else:
            from .native.correlate import CorrelateKernel

            self._native = native(CorrelateKernel(nest.parts, nest.dtype))  # type: ignore[arg-type]
            at = _roomy([(a.dtype, a.shape) for a in work], _panel_bytes(nest, False))
            if at is not None and at >= 0:
                self._args[3] = work[at].ctypes.data
            self._size = nest.images
        # (argument of the code, argument of the step) of what a run brings.
        self._changing = []
        for k, i in enumerate((*nest.reads, len(args) - 1)):
            if args[i] is None:
                self._changing.append((k, i))
            else:
                self._args[k] = args[i].ctypes.data
        self._pieces = max(1, min(pieces(nest.flops, share is not None), self._size))

    def __call__(self, *arrays: Any) -> None:
        found = self._native
        code = found.code
        if code is None:
            self._calls += 1
            code = found.asked(self._wait, self._calls, self._flops, native_flops.HOT)
        args = self._args
        for k, i in self._changing:
            array = arrays[i]
            if code is None or not _plain(array):
                code = None
                break
            args[k] = array.ctypes.data
        if code is None:
            self._numpy(*arrays)
            return
        call = code.call if is_long(self._flops) else code.call_short
        if self._packs:
            call(self._address, -1, 0)
        if self._pieces == 1:
            call(self._address, 0, self._size)
            return
        assert self._share is not None
        ends = [self._size * i // self._pieces for i in range(self._pieces + 1)]
        calls = [partial(call, self._address, a, b) for a, b in pairwise(ends)]
        self._share.pool.run(calls, self._share.most)
