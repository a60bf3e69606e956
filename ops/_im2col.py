"""Convolution kernels for any number of spatial axes: im2col and one GEMM.

Windows are copied, a few images at a time so that they stay in cache, into a
column matrix (positions, taps * channels); a GEMM with the filter gives the
output.  The gradient to the filter copies the same columns again (cheaper than
keeping them) and multiplies by their transpose.  The gradient to the input is
itself a stride-1 convolution of the cotangent with the flipped filter, one for
each residue of the input position modulo the stride, so no zeros are
multiplied and nothing is scattered.  Only where the input has very few channels,
so that this GEMM would be too narrow, the product of cotangent and filter is
made first and added tap by tap.  Where it is less work, columns hold the taps of
the last axis only (``_row_columns``).

Inside, arrays are views with channels last; sources and results may have any
strides.  Workspaces are flat and carved here.

References: Chellapilla, Puri, Simard, High performance convolutional neural
networks for document processing, 2006; Dumoulin, Visin, A guide to convolution
arithmetic for deep learning, 2016 (arXiv:1603.07285).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..graphlib.errors import ShapeError
from . import _row_columns
from ._calls import Calls, Now
from ._row_columns import carve
from ._windows import Axis, Padding, make_axes, tap_views

__all__ = [
    "Geometry",
    "convolve",
    "convolve_calls",
    "convolve_workspace",
    "filter_calls",
    "filter_gradient",
    "filter_workspace",
    "input_calls",
    "input_gradient",
    "input_workspace",
    "phases",
    "spatial",
]

# A chunk of columns holds about this many bytes (half a typical L2 cache), but
# at least so many rows that the GEMM runs near its peak.
_CHUNK_BYTES = 96 * 1024
_CHUNK_ROWS = 192
# Below this run of contiguous elements the columns are laid out taps first, so
# that the copy's inner loop runs along the positions instead.
_SHORT_RUN = 16
# A GEMM of fewer columns wastes most of its work; of this depth it is worth it.
_NARROW = 12
_WIDE = 8
_ZERO = np.zeros((), np.int8)


class _Columns(NamedTuple):
    """How the columns of one correlation are made."""

    chunk: int  # images at a time
    direct: bool  # the source itself is the matrix
    padded: tuple[int, ...] | None  # extent of the padded copy, if one is needed
    into: tuple[slice, ...]  # where the source goes in it
    from_: tuple[slice, ...]  # the part of the source that windows reach
    positions: int
    width: int  # taps * channels
    taps_first: bool

    @property
    def turned(self) -> bool:
        """Whether the columns' positions, not their taps, are contiguous (of a
        source with channels first)."""
        return self.direct or self.taps_first

    @property
    def pad_size(self) -> int:
        return self.chunk * prod(self.padded) if self.padded else 0

    @property
    def col_size(self) -> int:
        return 0 if self.direct else self.chunk * self.positions * self.width


@lru_cache(maxsize=1024)
def _columns_plan(
    axes: tuple[Axis, ...], images: int, channels: int, itemsize: int
) -> _Columns:
    positions = prod(a.outputs for a in axes)
    width = prod(a.taps for a in axes) * channels
    direct = all(
        a.taps == 1 and a.stride == 1 and a.lo == 0 and a.outputs == a.size
        for a in axes
    )
    row = max(1, positions * width * itemsize)
    chunk = max(_CHUNK_BYTES // row, -(-_CHUNK_ROWS // max(1, positions)), 1)
    chunk = min(chunk, max(1, images))
    padded = None
    into: list[slice] = []
    from_: list[slice] = []
    if any(a.lo > 0 or a.span - a.lo > a.size for a in axes):
        padded = (*(a.span for a in axes), channels)
    for a in axes:
        start = max(0, -a.lo)
        stop = max(start, min(a.size, a.span - a.lo))
        from_.append(slice(start, stop))
        into.append(slice(start + a.lo, stop + a.lo))
    inner = axes[-1]
    run = channels * (inner.taps if inner.step == 1 else 1)
    return _Columns(
        chunk,
        direct,
        padded,
        tuple(into),
        tuple(from_),
        positions,
        width,
        run < _SHORT_RUN,
    )


def _columns(
    src: Any,
    axes: tuple[Axis, ...],
    plan: _Columns,
    pad: Any,
    col: Any,
    calls: Calls,
) -> Iterator[tuple[int, int, Any]]:
    """Yields (first image, last image, columns): columns is (rows, width).

    What makes the columns is appended to ``calls``.

    ``src`` is (images, *spatial, channels); ``pad`` and ``col`` are flat
    workspaces.  The columns are only valid until the next are asked for.
    """
    n = src.shape[0]
    channels = src.shape[-1]
    if plan.direct:
        if src.flags.c_contiguous:
            yield 0, n, src.reshape(-1, channels)
        else:
            # Channels first: each image is a transposed matrix, which GEMM takes.
            for i in range(n):
                yield i, i + 1, src[i].reshape(-1, channels)
        return
    taps = tuple(a.taps for a in axes)
    counts = tuple(a.outputs for a in axes)
    src = base = src[(slice(None), *plan.from_)]
    if plan.padded is not None:
        base = carve(pad, (plan.chunk, *plan.padded), src.dtype)
        calls.append((np.copyto, (base, _ZERO)))
        inside = base[(slice(None), *plan.into)]
    first, *along, deep = base.strides
    # A view of all windows at once: of the source, or of the padded chunk.
    windows = as_strided(
        base,
        (base.shape[0], *counts, *taps, channels),
        (
            first,
            *(b * a.stride for a, b in zip(axes, along)),
            *(b * a.step for a, b in zip(axes, along)),
            deep,
        ),
    )
    flat = carve(col, (plan.chunk * plan.positions * plan.width,), src.dtype)
    for i in range(0, n, plan.chunk):
        j = min(i + plan.chunk, n)
        rows = (j - i) * plan.positions
        if plan.padded is None:
            view = windows[i:j]
        else:
            calls.append((np.copyto, (inside[: j - i], src[i:j])))
            view = windows[: j - i]
        columns = flat[: rows * plan.width]
        if plan.taps_first:
            columns = columns.reshape(plan.width, rows).T
        else:
            columns = columns.reshape(rows, plan.width)
        calls.append((np.copyto, (columns.reshape(view.shape), view)))
        yield i, j, columns


def _correlate(
    src: Any,
    matrix: Any,
    axes: tuple[Axis, ...],
    dst: Any,
    result: str,
    work: Sequence[Any],
    calls: Calls,
) -> None:
    """The calls of dst[n, o, :] = sum_k src[n, o*stride + k*step - lo, :] @ matrix[k].

    Args:
        src: (images, *spatial, channels), any strides.
        matrix: (taps * channels, outputs).
        dst: (images, *counts, outputs) view of the result.
        result: how the result lies: "last" (dst is contiguous), "first"
            (contiguous with channels first), "any" (strided).
        work: flat workspaces for padding, columns and, unless the result is
            "last", the product (a GEMM into transposed memory is much slower
            than a product that is copied there).
    """
    if dst.size == 0:
        return
    if matrix.size == 0 or src.size == 0:
        calls.append((np.copyto, (dst, _ZERO)))
        return
    plan = _columns_plan(axes, src.shape[0], src.shape[-1], src.itemsize)
    outputs = matrix.shape[1]
    p = plan.positions
    if result == "first" and plan.turned:
        # Columns and result both have positions last: nothing is transposed.
        order = (0, dst.ndim - 1, *range(1, dst.ndim - 1))
        whole = dst.transpose(order).reshape(dst.shape[0], outputs, p)
        for i, j, columns in _columns(src, axes, plan, work[0], work[1], calls):
            for k in range(i, j):
                rows = columns[(k - i) * p : (k - i + 1) * p]
                calls.append((np.matmul, (matrix.T, rows.T, whole[k])))
        return
    for i, j, columns in _columns(src, axes, plan, work[0], work[1], calls):
        if result == "last":
            target = dst[i:j].reshape(-1, outputs)
            calls.append((np.matmul, (columns, matrix, target)))
        else:
            product = carve(work[2], ((j - i) * p, outputs), src.dtype)
            calls.append((np.matmul, (columns, matrix, product)))
            calls.append((np.copyto, (dst[i:j], product.reshape(dst[i:j].shape))))


def last(x: Any, first: bool) -> Any:
    """``x`` seen with channels last."""
    return x.transpose(0, *range(2, x.ndim), 1) if first else x


def spatial(shape: Sequence[int], first: bool) -> tuple[int, ...]:
    return tuple(shape[2:] if first else shape[1:-1])


class Geometry(NamedTuple):
    """What a convolution's attrs say: strides, dilations, padding, format."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: Padding
    first: bool

    def axes(self, sizes: Sequence[int], taps: Sequence[int]) -> tuple[Axis, ...]:
        """The window axes over an input of spatial ``sizes``."""
        return make_axes(
            tuple(sizes), tuple(taps), self.strides, self.dilations, self.padding
        )


NO_WORK = (None, None, None, None, None)


# -- forward ----------------------------------------------------------------------


def _shaped(geometry: Geometry, n: int, counts: Sequence[int], channels: int) -> Any:
    return (n, channels, *counts) if geometry.first else (n, *counts, channels)


def convolve(x: Any, w: Any, geometry: Geometry, out: Any, work: Any) -> Any:
    """y[n, p, o] = sum_{k, c} x[n, p*stride + k*dilation - lo, c] w[k, c, o]."""
    axes = geometry.axes(spatial(x.shape, geometry.first), w.shape[:-2])
    src = last(x, geometry.first)
    if src.shape[-1] != w.shape[-2]:
        raise ShapeError(
            f"the input has {src.shape[-1]} channels, the filter takes {w.shape[-2]}"
        )
    if out is None:
        counts = [a.outputs for a in axes]
        out = np.empty(_shaped(geometry, x.shape[0], counts, w.shape[-1]), x.dtype)
    convolve_calls(x, w, geometry, out, work, Now())
    return out


def convolve_calls(
    x: Any, w: Any, geometry: Geometry, out: Any, work: Any, calls: Calls
) -> None:
    """The calls of :func:`convolve`."""
    if not out.size:
        return
    axes = geometry.axes(spatial(x.shape, geometry.first), w.shape[:-2])
    src, dst = (last(a, geometry.first) for a in (x, out))
    work = work or NO_WORK
    if src.size and w.size and _row_columns.pays(axes, *w.shape[-2:]):
        _row_columns.correlate(src, w, axes, dst, not geometry.first, work, calls)
        return
    matrix = w.reshape(-1, w.shape[-1])
    result = "first" if geometry.first else "last"
    _correlate(src, matrix, axes, dst, result, work, calls)


def convolve_workspace(
    x: Sequence[int], w: Sequence[int], geometry: Geometry, itemsize: int
) -> list[int]:
    """Elements of the scratch memory that :func:`convolve` takes."""
    axes = geometry.axes(spatial(x, geometry.first), w[:-2])
    if _row_columns.pays(axes, w[-2], w[-1]):
        return _row_columns.correlate_workspace(
            axes, x[0], w[-2], w[-1], itemsize, not geometry.first
        )
    plan = _columns_plan(axes, x[0], w[-2], itemsize)
    copied = geometry.first and not plan.turned
    product = plan.chunk * plan.positions * w[-1] if copied else 0
    return [plan.pad_size, plan.col_size, product]


# -- gradient to the filter ---------------------------------------------------------


def filter_gradient(
    x: Any, shape: Sequence[int], g: Any, geometry: Geometry, out: Any, work: Any
) -> Any:
    """dw[k, c, o] = sum_{n, p} x[n, p*stride + k*dilation - lo, c] g[n, p, o]."""
    axes = geometry.axes(spatial(x.shape, geometry.first), shape[:-2])
    src = last(x, geometry.first)
    cot = last(g, geometry.first)
    check_cotangent(axes, cot.shape[1:-1])
    channels, outputs = src.shape[-1], cot.shape[-1]
    if (channels, outputs) != tuple(shape[-2:]):
        raise ShapeError(
            f"a filter of shape {tuple(shape)} does not fit an input of {channels} "
            f"channels and a cotangent of {outputs}"
        )
    if out is None:
        out = np.empty(shape, x.dtype)
    filter_calls(x, g, geometry, out, work, Now())
    return out


def filter_calls(
    x: Any, g: Any, geometry: Geometry, out: Any, work: Any, calls: Calls
) -> None:
    """The calls of :func:`filter_gradient`."""
    axes = geometry.axes(spatial(x.shape, geometry.first), out.shape[:-2])
    src, cot = (last(a, geometry.first) for a in (x, g))
    channels, outputs = src.shape[-1], cot.shape[-1]
    if src.size == 0 or cot.size == 0 or out.size == 0:
        calls.append((np.copyto, (out, _ZERO)))
        return
    if _row_columns.pays(axes, channels, outputs):
        _row_columns.filter_gradient(src, cot, axes, out, work or NO_WORK, calls)
        return
    pad, col, rows, part, _ = work or NO_WORK
    plan = _columns_plan(axes, x.shape[0], channels, x.itemsize)
    total = out.reshape(-1, outputs)
    for i, j, columns in _columns(src, axes, plan, pad, col, calls):
        piece = cot[i:j]
        if piece.flags.c_contiguous:
            matrix = piece.reshape(-1, outputs)
        else:
            matrix = carve(rows, (columns.shape[0], outputs), x.dtype)
            calls.append((np.copyto, (matrix.reshape(piece.shape), piece)))
        if i == 0:
            calls.append((np.matmul, (columns.T, matrix, total)))
        else:
            product = carve(part, total.shape, x.dtype)
            calls.append((np.matmul, (columns.T, matrix, product)))
            calls.append((np.add, (total, product, total)))


def filter_workspace(
    x: Sequence[int],
    w: Sequence[int],
    geometry: Geometry,
    itemsize: int,
) -> list[int]:
    """Elements of padding, columns, cotangent rows, partial sums and sums."""
    axes = geometry.axes(spatial(x, geometry.first), w[:-2])
    if _row_columns.pays(axes, w[-2], w[-1]):
        return _row_columns.filter_workspace(axes, x[0], w[-2], w[-1], itemsize)
    plan = _columns_plan(axes, x[0], w[-2], itemsize)
    images = x[0] if plan.direct else plan.chunk
    rows = images * plan.positions * w[-1] if geometry.first else 0
    several = x[0] > plan.chunk and (not plan.direct or geometry.first)
    return [plan.pad_size, plan.col_size, rows, prod(w) if several else 0, 0]


def check_cotangent(axes: Sequence[Axis], sizes: Sequence[int]) -> None:
    counts = tuple(a.outputs for a in axes)
    if counts != tuple(sizes):
        raise ShapeError(
            f"the cotangent has spatial shape {tuple(sizes)}, but the convolution "
            f"of an input of {tuple(a.size for a in axes)} gives {counts}"
        )


# -- gradient to the input ------------------------------------------------------------


@lru_cache(maxsize=4096)
def phases(axis: Axis) -> tuple[tuple[int, slice | None, Axis], ...]:
    """The stride-1 correlations that give the gradient along one axis.

    For each residue r of the input position modulo the stride: r, the taps that
    meet it (in reverse; None where there are none), and the axis that
    correlates the cotangent with these taps.
    """
    found: list[tuple[int, slice | None, Axis]] = []
    hop = axis.stride // gcd(axis.stride, axis.step)
    for r in range(min(axis.stride, axis.size)):
        quota = -(-(axis.size - r) // axis.stride)
        taps = [
            k
            for k in range(min(hop, axis.taps))
            if (r + axis.lo - k * axis.step) % axis.stride == 0
        ]
        if not taps:
            found.append((r, None, Axis(axis.outputs, 0, 1, 1, 0, quota)))
            continue
        chosen = range(taps[0], axis.taps, hop)
        final = chosen[-1]
        # The output that tap `final` pairs with the first input of this residue.
        offset = (r + axis.lo - final * axis.step) // axis.stride
        step = hop * axis.step // axis.stride
        backwards = slice(final, taps[0] - 1 if taps[0] else None, -hop)
        own = Axis(axis.outputs, len(chosen), 1, max(step, 1), -offset, quota)
        found.append((r, backwards, own))
    return tuple(found)


def input_gradient(
    sizes: Sequence[int], w: Any, g: Any, geometry: Geometry, out: Any, work: Any
) -> Any:
    """dx[n, p*stride + k*dilation - lo, c] += sum_o g[n, p, o] w[k, c, o]."""
    axes = geometry.axes(spatial(sizes, geometry.first), w.shape[:-2])
    cot = last(g, geometry.first)
    check_cotangent(axes, cot.shape[1:-1])
    if cot.shape[-1] != w.shape[-1]:
        raise ShapeError(
            f"the cotangent has {cot.shape[-1]} channels, the filter {w.shape[-1]}"
        )
    channels = sizes[1] if geometry.first else sizes[-1]
    if channels != w.shape[-2] or sizes[0] != g.shape[0]:
        raise ShapeError(
            f"an input of shape {tuple(sizes)} does not fit a cotangent of shape "
            f"{g.shape} and a filter of shape {w.shape}"
        )
    if out is None:
        out = np.empty(tuple(sizes), g.dtype)
    input_calls(w, g, geometry, out, work, Now())
    return out


def input_calls(
    w: Any, g: Any, geometry: Geometry, out: Any, work: Any, calls: Calls
) -> None:
    """The calls of :func:`input_gradient`."""
    axes = geometry.axes(spatial(out.shape, geometry.first), w.shape[:-2])
    cot, dst = (last(a, geometry.first) for a in (g, out))
    work = work or NO_WORK
    channels = w.shape[-2]
    if channels < _NARROW and w.shape[-1] >= _WIDE:
        _scatter(cot, w, axes, dst, work[2], calls)
        return
    residues = list(itertools.product(*(phases(a) for a in axes)))
    whole = all(a.stride == 1 for a in axes)
    for parts in residues:
        where = tuple(slice(r, None, a.stride) for (r, _, _), a in zip(parts, axes))
        target = dst[(slice(None), *where)]
        if any(taps is None for _, taps, _ in parts):
            calls.append((np.copyto, (target, _ZERO)))
            continue
        flipped = w[tuple(taps for _, taps, _ in parts)].swapaxes(-1, -2)
        own = tuple(p[2] for p in parts)
        if target.size and cot.size and _row_columns.pays(own, *flipped.shape[-2:]):
            straight = whole and not geometry.first
            _row_columns.correlate(cot, flipped, own, target, straight, work, calls)
            continue
        if flipped.size == w.size == prod(w.shape[-2:]):
            matrix = flipped.reshape(flipped.shape[-2:])  # one tap: a view
        else:
            matrix = carve(work[3], flipped.shape, w.dtype)
            calls.append((np.copyto, (matrix, flipped)))
            matrix = matrix.reshape(-1, channels)
        result = "any" if not whole else "first" if geometry.first else "last"
        _correlate(cot, matrix, own, target, result, work, calls)


def _scatter_chunk(
    axes: Sequence[Axis], images: int, channels: int, itemsize: int
) -> int:
    row = prod(a.outputs * a.taps for a in axes) * channels * itemsize
    return min(max(1, 4 * _CHUNK_BYTES // max(1, row)), max(1, images))


def _scatter(
    cot: Any,
    w: Any,
    axes: tuple[Axis, ...],
    dst: Any,
    product: Any,
    calls: Calls,
) -> None:
    """The gradient to the input, added tap by tap (col2im), for few channels."""
    channels, outputs = w.shape[-2:]
    matrix = w.reshape(-1, outputs)
    positions = prod(a.outputs for a in axes)
    counts = tuple(a.outputs for a in axes)
    chunk = _scatter_chunk(axes, cot.shape[0], channels, cot.itemsize)
    if not cot.flags.c_contiguous:
        chunk = 1  # so that an image's cotangent is a (transposed) matrix
    calls.append((np.copyto, (dst, _ZERO)))
    if cot.size == 0:
        return
    for i in range(0, cot.shape[0], chunk):
        piece = cot[i : i + chunk]
        m = piece.shape[0]
        # Taps and channels first: the additions run along the positions.
        terms = carve(product, (matrix.shape[0], m * positions), cot.dtype)
        calls.append((np.matmul, (matrix, piece.reshape(-1, outputs).T, terms)))
        terms = terms.reshape(*w.shape[:-1], m, *counts)
        into = dst[i : i + m].transpose(dst.ndim - 1, *range(dst.ndim - 1))
        for taps, outs, ins in tap_views(axes):
            target = into[(slice(None), slice(None), *ins)]
            term = terms[taps][(slice(None), slice(None), *outs)]
            calls.append((np.add, (target, term, target)))


def input_workspace(
    sizes: Sequence[int], w: Sequence[int], geometry: Geometry, itemsize: int
) -> list[int]:
    """Elements of padding, columns, product, flipped filter and sums."""
    axes = geometry.axes(spatial(sizes, geometry.first), w[:-2])
    if w[-2] < _NARROW and w[-1] >= _WIDE:
        chunk = _scatter_chunk(axes, sizes[0], w[-2], itemsize)
        return [0, 0, chunk * prod(a.outputs * a.taps for a in axes) * w[-2], 0, 0]
    need = [0, 0, 0, 0, 0]
    whole = all(a.stride == 1 for a in axes)
    for parts in itertools.product(*(phases(a) for a in axes)):
        if any(taps is None for _, taps, _ in parts):
            continue
        own = tuple(p[2] for p in parts)
        if _row_columns.pays(own, w[-1], w[-2]):
            straight = whole and not geometry.first
            here = _row_columns.correlate_workspace(
                own, sizes[0], w[-1], w[-2], itemsize, straight
            )
            need = [max(a, b) for a, b in zip(need, here)]
            continue
        plan = _columns_plan(own, sizes[0], w[-1], itemsize)
        images = sizes[0] if plan.direct else plan.chunk
        matrix = prod(a.taps for a in own) * w[-1] * w[-2]
        into = whole and (plan.turned or not geometry.first)
        product = 0 if into else images * plan.positions * w[-2]
        sizes_here = (plan.pad_size, plan.col_size, product, matrix, 0)
        need = [max(a, b) for a, b in zip(need, sizes_here)]
    return need
