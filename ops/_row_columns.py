"""Convolutions whose columns hold the taps of the last axis only.

Where the other axes have stride 1, the products of a row with the taps of *all*
rows of the filter need the row's own columns and nothing else:

    p[n, h, w, k, :] = sum_j x[n, h, w*stride + j*step - lo, :] @ f[k, j]
    y[n, h, w, :] = sum_k p[n, h + k*step - lo, w, k, :]

That copies fewer columns by the number of rows, and the matrix product is wider by
as much, which BLAS does faster than a narrow one; the sums are additions of runs in
cache.  The gradient to the filter is the transpose: the cotangent is laid out
once for every row of taps, shifted, and multiplied by the same columns.

Rows at the border are never multiplied by padding.  ``pays`` says from measured
costs when all of this is less work than columns of whole windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ._calls import Calls
from ._windows import Axis, tap_views

__all__ = [
    "carve",
    "correlate",
    "correlate_workspace",
    "filter_gradient",
    "filter_workspace",
    "pays",
]

# Columns and products of one block stay in a typical L2 cache.
_BLOCK_BYTES = 1024 * 1024
# ... but have so many rows that the product runs near its peak.
_BLOCK_ROWS = 192
# An element of the columns, and one of the products that is added, take as long as
# so many multiply-adds, and a product of n columns as long as one of n + 10 would
# at its peak (one thread, AVX-512; ratios differ little between machines).
_COPY = 9
_ADD = 28
_EDGE = 10
_ZERO = np.zeros((), np.int8)
# Shorter runs are copied and added at the cost of the loop around them.
_RUN = 16


def carve(buffer: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A view of the flat workspace ``buffer`` of ``shape`` (or a new array)."""
    n = prod(shape)
    if buffer is None or buffer.size < n:
        return np.empty(shape, dtype)
    return buffer[:n].reshape(shape)


def pays(axes: Sequence[Axis], channels: int, outputs: int) -> bool:
    """Whether products by rows are less work than columns of whole windows."""
    *outer, inner = axes
    taps = prod(a.taps for a in outer)
    if taps < 2 or any(a.stride != 1 for a in outer) or not inner.taps:
        return False
    reached = prod(a.outputs for a in outer)
    if not reached:
        return False
    rows = prod(a.size for a in outer) / reached
    width = inner.taps * channels
    if min(width, outputs) < _RUN:
        return False
    whole = taps * width * (outputs + _EDGE + _COPY)
    ours = _COPY * width + _ADD * taps * outputs + width * (taps * outputs + _EDGE)
    return rows * ours < whole


class _Plan(NamedTuple):
    """How the rows are cut into blocks."""

    images: int  # at a time
    rows: int  # of the first axis at a time
    lines: int  # output lines in one row of one image
    width: int  # taps of the last axis * channels
    columns: int  # of the product: taps of the other axes * outputs
    padded: bool  # whether the last axis needs a padded copy
    line: int  # its positions, padding included

    @property
    def pad_size(self) -> int:
        return self.images * self.rows * self.line if self.padded else 0

    @property
    def block(self) -> int:
        return self.images * self.rows * self.lines


@lru_cache(maxsize=1024)
def _plan(
    axes: tuple[Axis, ...], images: int, channels: int, outputs: int, itemsize: int
) -> _Plan:
    *outer, inner = axes
    width = inner.taps * channels
    columns = prod(a.taps for a in outer) * outputs
    between = prod(a.size for a in outer[1:])
    lines = between * inner.outputs
    row = max(1, lines * (width + columns) * itemsize)
    fit = max(1, _BLOCK_BYTES // row, -(-_BLOCK_ROWS // max(1, lines)))
    size = max(1, outer[0].size)
    if fit >= size:
        # Images, in chunks of equal size.
        chunk = min(max(1, fit // size), max(1, images))
        chunk = -(-images // -(-images // chunk)) if images else 1
        rows = size
    else:
        chunk, rows = 1, -(-size // -(-size // fit))
    padded = inner.lo > 0 or inner.span - inner.lo > inner.size
    line = between * inner.span * channels
    return _Plan(chunk, rows, lines, width, columns, padded, line)


@lru_cache(maxsize=4096)
def _pairs(outer: tuple[Axis, ...], first: int, end: int) -> tuple[Any, ...]:
    """(tap number, output slices, slices of the rows from ``first`` to ``end``) of
    each tap of the other axes that meets these rows; one that meets all outputs
    comes first."""
    found = []
    counts = tuple(a.taps for a in outer)
    for taps, (o, *outs), (i, *ins) in tap_views(outer):
        start, stop = max(i.start, first), min(i.stop, end)
        if start < stop:
            shift = o.start - i.start
            number = int(np.ravel_multi_index(taps, counts))
            here = slice(start + shift, stop + shift)
            there = slice(start - first, stop - first)
            found.append((number, (here, *outs), (there, *ins)))
    every = [slice(0, a.outputs) for a in outer]
    return tuple(sorted(found, key=lambda f: list(f[1]) != every))


def _blocks(
    src: Any,
    axes: tuple[Axis, ...],
    plan: _Plan,
    pad: Any,
    col: Any,
    calls: Calls,
) -> Iterator[tuple[slice, int, int, Any]]:
    """Yields (images, first row, end row, columns), images slowest.

    What makes the columns is appended to ``calls``.
    """
    inner = axes[-1]
    n, size, *between, _, channels = src.shape
    start = max(0, -inner.lo)
    stop = max(start, min(inner.size, inner.span - inner.lo))
    src = base = src[..., start:stop, :]
    if plan.padded:
        shape = (plan.images, plan.rows, *between, inner.span, channels)
        base = carve(pad, shape, src.dtype)
        calls.append((np.copyto, (base, _ZERO)))
        inside = base[..., start + inner.lo : stop + inner.lo, :]
    *others, move, deep = base.strides
    windows = as_strided(
        base,
        (*base.shape[:-2], inner.outputs, inner.taps, channels),
        (*others, move * inner.stride, move * inner.step, deep),
    )
    flat = carve(col, (plan.block * plan.width,), src.dtype)
    for i in range(0, n, plan.images):
        part = slice(i, min(i + plan.images, n))
        for first in range(0, size, plan.rows):
            end = min(first + plan.rows, size)
            if plan.padded:
                target = inside[: part.stop - i, : end - first]
                calls.append((np.copyto, (target, src[part, first:end])))
                view = windows[: part.stop - i, : end - first]
            else:
                view = windows[part, first:end]
            here = flat[: view.size]
            calls.append((np.copyto, (here.reshape(view.shape), view)))
            yield part, first, end, here.reshape(-1, plan.width)


class _Pieces:
    """For each part of the rows, the views that its taps pair: of an array by
    outputs, and of one by rows in scratch memory, where the taps lie apart."""

    def __init__(
        self, array: Any, flat: Any, axes: tuple[Axis, ...], plan: _Plan
    ) -> None:
        self.array = array
        self.flat = flat
        self.axes = axes
        self.plan = plan
        self.found: dict[int, Any] = {}

    def of(self, first: int, end: int) -> tuple[Any, list[tuple[Any, Any]]]:
        """(the rows of a whole block, [(by outputs, by rows) for each tap])."""
        if first not in self.found:
            *outer, inner = self.axes
            taps = prod(a.taps for a in outer)
            sizes = (end - first, *(a.size for a in outer[1:]), inner.outputs)
            shape = (self.plan.images, *sizes, taps, self.plan.columns // taps)
            rows = self.flat[: prod(shape)].reshape(shape)
            self.found[first] = (
                rows,
                [
                    (
                        self.array[(slice(None), *outs)],
                        rows[(slice(None), *ins)][..., k, :],
                    )
                    for k, outs, ins in _pairs(tuple(outer), first, end)
                ],
            )
        return self.found[first]  # type: ignore[no-any-return]


def correlate(
    src: Any,
    w: Any,
    axes: tuple[Axis, ...],
    dst: Any,
    last: bool,
    work: Sequence[Any],
    calls: Calls,
) -> None:
    """The calls of dst[n, o, :] = sum_k src[n, o*stride + k*step - lo, :] @ w[k].

    Args:
        src: (images, *spatial, channels), any strides.
        w: (*taps, channels, outputs), any strides.
        dst: (images, *counts, outputs) view of the result.
        last: whether dst is contiguous; else sums are made in scratch memory.
        work: flat workspaces, see :func:`correlate_workspace`.
    """
    pad, col, product, matrix, total = work[:5]
    channels, outputs = w.shape[-2:]
    plan = _plan(axes, src.shape[0], channels, outputs, src.itemsize)
    # The last axis' taps and the channels are rows, the other taps columns.
    rank = len(axes)
    turned = w.transpose(rank - 1, rank, *range(rank - 1), rank + 1)
    factor = carve(matrix, turned.shape, w.dtype)
    calls.append((np.copyto, (factor, turned)))
    factor = factor.reshape(plan.width, plan.columns)
    sums = dst if last else carve(total, (plan.images, *dst.shape[1:]), src.dtype)
    flat = carve(product, (plan.block * plan.columns,), src.dtype)
    pieces = _Pieces(sums, flat, axes, plan)
    for part, first, end, columns in _blocks(src, axes, plan, pad, col, calls):
        m = part.stop - part.start
        where = part if last else slice(0, m)
        rows, pairs = pieces.of(first, end)
        products = rows[:m].reshape(-1, plan.columns)
        calls.append((np.matmul, (columns, factor, products)))
        started = first > 0
        if not started and not (pairs and pairs[0][0].shape == sums.shape):
            calls.append((np.copyto, (sums[where], _ZERO)))
            started = True
        for by_outputs, by_rows in pairs:
            target = by_outputs[where]
            if started:
                calls.append((np.add, (target, by_rows[:m], target)))
            else:
                calls.append((np.copyto, (target, by_rows[:m])))
            started = True
        if not last and end == src.shape[1]:
            calls.append((np.copyto, (dst[part], sums[where])))


def correlate_workspace(
    axes: tuple[Axis, ...],
    images: int,
    channels: int,
    outputs: int,
    itemsize: int,
    last: bool,
) -> list[int]:
    """Elements of padding, columns, products, filter and sums."""
    plan = _plan(axes, images, channels, outputs, itemsize)
    total = 0 if last else plan.images * prod(a.outputs for a in axes) * outputs
    return [
        plan.pad_size,
        plan.block * plan.width,
        plan.block * plan.columns,
        plan.width * plan.columns,
        total,
    ]


def filter_gradient(
    src: Any,
    cot: Any,
    axes: tuple[Axis, ...],
    out: Any,
    work: Sequence[Any],
    calls: Calls,
) -> None:
    """The calls of out[k, c, o] = sum src[n, p*stride + k*step - lo, c] cot[n, p, o],
    over n and p.

    Args:
        src: (images, *spatial, channels), any strides.
        cot: (images, *counts, outputs), any strides.
        out: (*taps, channels, outputs), contiguous.
        work: flat workspaces, see :func:`filter_workspace`.
    """
    pad, col, spread, product, total = work
    channels, outputs = out.shape[-2:]
    plan = _plan(axes, src.shape[0], channels, outputs, src.itemsize)
    sums = carve(total, (plan.width, plan.columns), src.dtype)
    flat = carve(spread, (plan.block * plan.columns,), src.dtype)
    pieces = _Pieces(cot, flat, axes, plan)
    laid = -1
    for part, first, end, columns in _blocks(src, axes, plan, pad, col, calls):
        m = part.stop - part.start
        rows, pairs = pieces.of(first, end)
        if laid != first:
            # What no tap writes stays zero as long as the rows are the same.
            calls.append((np.copyto, (rows, _ZERO)))
            laid = first
        for by_outputs, by_rows in pairs:
            calls.append((np.copyto, (by_rows[:m], by_outputs[part])))
        wide = rows[:m].reshape(-1, plan.columns)
        if part.start == first == 0:
            calls.append((np.matmul, (columns.T, wide, sums)))
        else:
            terms = carve(product, sums.shape, src.dtype)
            calls.append((np.matmul, (columns.T, wide, terms)))
            calls.append((np.add, (sums, terms, sums)))
    rank = len(axes)
    turned = sums.reshape(axes[-1].taps, channels, *out.shape[: rank - 1], outputs)
    turned = turned.transpose(*range(2, rank + 1), 0, 1, rank + 1)
    calls.append((np.copyto, (out, turned)))


def filter_workspace(
    axes: tuple[Axis, ...], images: int, channels: int, outputs: int, itemsize: int
) -> list[int]:
    """Elements of padding, columns, shifted cotangents, products and sums."""
    plan = _plan(axes, images, channels, outputs, itemsize)
    filters = plan.width * plan.columns
    several = plan.images < images or plan.rows < axes[0].size
    return [
        plan.pad_size,
        plan.block * plan.width,
        plan.block * plan.columns,
        filters if several else 0,
        filters,
    ]
