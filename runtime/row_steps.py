"""Steps over rows bound to memory: native code as soon as it is there, else tiles.

A flat group runs as a kernel of rows too: its blocks are the rows, and the last,
shorter one is a call of its own. So the order of additions depends on sizes alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from .column_groups import ColumnTiles
from .native.worker import native
from .plan import Step
from .row_groups import RowGroup, RowTiles

__all__ = ["bind_row_group"]

#: Elements times members from which a call lets other threads run meanwhile.
_LONG = 1 << 18


def bind_row_group(step: Step, work: Sequence[Any]) -> Any:
    """A step over rows as a function of its inputs and outputs."""
    group = step.attrs["group"]
    if group.columns:
        return _ColumnStep(group, work, ColumnTiles(group, work))
    return _RowStep(group, work, RowTiles(group, work))


class _RowStep:
    """A step of one frame."""

    __slots__ = ("_args", "_long", "_native", "_sizes", "_tail", "_tiles", "group")

    def __init__(self, group: RowGroup, work: Sequence[Any], tiles: Any) -> None:
        self.group = group
        self._tiles = tiles
        self._native = native(group.kernel)
        kernel = group.kernel
        count = len(kernel.dtypes)
        self._sizes = [np.dtype(d).itemsize for d in kernel.dtypes]
        self._long = group.rows * group.length * len(group.members) >= _LONG
        self._args = (ctypes.c_int64 * (count + 3))()
        self._args[count] = group.block if group.flat else group.length
        self._tail = (ctypes.c_int64 * (count + 1))()
        self._tail[count] = group.length % group.block if group.flat else 0

    def __call__(self, *arrays: Any) -> None:
        found = self._native
        code = found.code
        if code is None:
            group = self.group
            group.calls += 1
            size = group.rows * group.length
            code = found.asked(group.native == "wait", group.calls, size)
        if code is None or not all(
            (a.flags.c_contiguous or move == "s") and a.flags.aligned
            for a, move in zip(arrays, self.group.kernel.moves)
        ):
            self._tiles(*arrays)
            return
        call = code.call if self._long else code.call_short
        args = self._args
        for k, a in enumerate(arrays):
            args[k] = a.ctypes.data
        self._run(call, arrays)

    def _run(self, call: Any, arrays: Sequence[Any]) -> None:
        if self.group.flat:
            self._run_flat(call, arrays)
        else:
            call(ctypes.addressof(self._args), 0, self.group.rows)

    def _run_flat(self, call: Any, arrays: Sequence[Any]) -> None:
        group, args, tail = self.group, self._args, self._tail
        n = len(group.inputs)
        blocks, rest = divmod(group.length, group.block)
        for j in self._tiles.memory.parts:
            args[n + j] = self._tiles.parts(j).ctypes.data
        if blocks:
            call(ctypes.addressof(args), 0, blocks)
        if rest:
            for k, move in enumerate(group.kernel.moves):
                passed = {"1": blocks * group.block, "0": blocks, "s": 0}[move]
                tail[k] = args[k] + passed * self._sizes[k]
            call(ctypes.addressof(tail), 0, 1)
        self._tiles.finish(arrays[n:], blocks + (rest > 0))


class _ColumnStep(_RowStep):
    """The same of a group that reduces leading axes: a range of columns at a time."""

    __slots__ = ()

    def __init__(self, group: RowGroup, work: Sequence[Any], tiles: Any) -> None:
        super().__init__(group, work, tiles)
        count = len(group.kernel.dtypes)
        scratch = work[tiles.memory.slots].ctypes.data
        self._args[count : count + 3] = [group.rows, group.length, scratch]

    def _run(self, call: Any, arrays: Sequence[Any]) -> None:
        call(ctypes.addressof(self._args), 0, self.group.rows)
