"""Copies between layouts as native loops: short parts of joins, and turned views.

NumPy copies what is not contiguous on both sides row by row, at some nanoseconds for
each short row; columns one after the other go over all of the result's memory again and
again. A loop nest that moves several columns at once writes each line of memory once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .fused import Group
from .fused_steps import bind_native
from .native.engine import available
from .placing import c_strides
from .plan import Slot, Step
from .views import RESHAPES

__all__ = ["bind_parts", "bind_turned"]

#: Elements of the result from which a native loop pays, the most columns that one loop
#: moves (each is a pointer of its own), and the elements in a row that NumPy likes.
_LEAST, _COLUMNS, _ROW = 4096, 24, 64
_DTYPES = ("<f4", "<f8", "<i4", "<i8")


def bind_parts(
    step: Step,
    slots: Sequence[Slot],
    parts: Sequence[int],
    args: Sequence[Any],
    numpy: Any,
    native: str,
) -> Any:
    """Copies of a join's parts as a function of them and the result: ``numpy``, or what
    runs natively as soon as it can.

    Args:
        parts: the inputs to copy.
        args: these and the result, where their memory is the same in every run.
    """
    ins, out = [slots[i] for i in step.inputs], slots[step.outputs[0]]
    if not _fits(out, native) or any(None in (s.dims or (None,)) for s in ins):
        return numpy
    assert step.opdef.places is not None
    places = step.opdef.places(ins, step.attrs)
    where = [places[k] for k in parts]
    rows = [_row(_known(ins[k]), places[k]) for k in parts]
    if max(rows) >= _ROW:
        return numpy
    if rows[0] == 1 < len(where) <= _COLUMNS and isinstance(where[0][-1], int):
        return _Columns(numpy, where, out, native)
    copies = []
    for index, k, given in zip(where, parts, args):
        group = _group(out, _known(ins[k]), 1, native)
        views: list[Any] = [None, None]
        if given is not None and args[-1] is not None:
            views = [given, args[-1][index]]
        copies.append((bind_native(group, _copy, views), views, index))

    def copy_parts(*arrays: Any) -> None:
        for (copy, views, index), part in zip(copies, arrays):
            if views[0] is None:
                copy(part, arrays[-1][index])
            else:
                copy(*views)

    return copy_parts


def _row(dims: tuple[int, ...], index: tuple[Any, ...]) -> int:
    """Elements of a part that are side by side in the result."""
    return math.prod(dims[len(index) - 1 :])


def _group(out: Slot, dims: tuple[int, ...], count: int, native: str) -> Group:
    """Copies of arrays of one shape, as a group without operations."""
    return Group((), ((out.dtype, dims),) * count, tuple(range(count)), dims, native)


class _Columns:
    """Columns of one frame's step, all in one loop."""

    def __init__(
        self, numpy: Any, where: Sequence[Any], out: Slot, native: str
    ) -> None:
        self._numpy = numpy
        self._given: Sequence[Any] = ()
        self._where = where
        count = len(where)
        group = _group(out, _known(out)[:-1], count, native)
        self._step = bind_native(group, self._in_numpy, [None] * (2 * count))

    def _in_numpy(self, *columns: Any) -> None:
        self._numpy(*self._given)

    def __call__(self, *arrays: Any) -> None:
        *parts, out = self._given = arrays
        self._step(*parts, *[out[index] for index in self._where])
        self._given = ()


def bind_turned(
    step: Step, slots: Sequence[Slot], args: Sequence[Any], numpy: Any, native: str
) -> Any:
    """A view op that copies, as a function of its inputs and the result: the elements
    of its first input in their order.

    ``args`` holds the arrays whose memory is the same in every run.
    """
    source, out = slots[step.inputs[0]], slots[step.outputs[0]]
    if step.opdef.type not in RESHAPES or not _fits(out, native):
        return numpy
    if None in (source.dims or (None,)) or source.dtype is not out.dtype:
        return numpy
    dims = _known(source)
    group = _group(out, dims, 1, native)
    given, target = args[0], args[-1]
    if given is not None and target is not None:
        view = target.reshape(dims)
        if not np.may_share_memory(view, target):
            return numpy  # with gaps where the input has none
        ready = bind_native(group, _copy, [given, view])
        return lambda *arrays: ready(given, view)
    if target is None and out.strides not in (
        None,
        c_strides(out.dims, out.dtype.size),
    ):
        return numpy
    moving = bind_native(group, _copy, [None, None])
    return lambda *arrays: moving(arrays[0], arrays[-1].reshape(dims))


def _copy(source: Any, target: Any) -> None:
    np.copyto(target, source)


def _known(slot: Slot) -> tuple[int, ...]:
    return slot.dims or ()  # type: ignore[return-value]


def _fits(out: Slot, native: str) -> bool:
    """Whether there may be native code for a result, and it is large enough to pay."""
    dims = out.dims
    if native == "off" or not dims or None in dims or not available():
        return False
    return math.prod(dims) >= _LEAST and out.dtype.dtype.str in _DTYPES  # type: ignore[arg-type]
