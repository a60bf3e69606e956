"""Kernels of depthwise convolution: each channel has filters of its own.

There is no sum over channels, hence no GEMM: the taps are added one by one, a
few images at a time so that the sums stay in cache.  Padding is never copied:
``tap_views`` pairs the outputs and inputs that each tap joins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ._im2col import Geometry, check_cotangent, last, spatial
from ._row_columns import carve
from ._windows import Axis, tap_views

__all__ = ["convolve", "filter_gradient", "input_gradient"]

_CHUNK_BYTES = 256 * 1024


def _chunk(images: int, row: int, itemsize: int) -> int:
    """How many images at a time, each with ``row`` elements of output."""
    return min(max(1, _CHUNK_BYTES // max(1, row * itemsize)), max(1, images))


def _by_filter(y: Any, multiplier: int, first: bool) -> Any:
    """(images, *sizes, channels * m) seen as (images, *sizes, channels, m)."""
    n = y.shape[0]
    if first:
        split = y.reshape(n, -1 if y.size else 0, multiplier, *y.shape[2:])
        return split.transpose(0, *range(3, split.ndim), 1, 2)
    return y.reshape(*y.shape[:-1], -1 if y.size else 0, multiplier)


def _terms(
    x: Any, y: Any, axes: Sequence[Axis], multiplier: int, work: Any
) -> Iterator[tuple[tuple[int, ...], int, Any, Any, Any]]:
    """(tap, filter, inputs, outputs, scratch) for each sum over positions.

    Inputs, outputs and scratch have one shape: (images, *positions, channels).
    """
    images, channels = x.shape[0], x.shape[-1]
    row = prod(a.outputs for a in axes) * channels
    chunk = _chunk(images, row, x.itemsize)
    for i in range(0, images, chunk):
        part = slice(i, i + chunk)
        for taps, outs, ins in tap_views(axes):
            inputs = x[(part, *ins)]
            scratch = carve(work[0] if work else None, inputs.shape, x.dtype)
            for j in range(multiplier):
                yield taps, j, inputs, y[(part, *outs, slice(None), j)], scratch


def _workspace(
    x: Sequence[int], w: Sequence[int], geometry: Geometry, itemsize: int
) -> list[int]:
    axes = geometry.axes(spatial(x, geometry.first), w[:-2])
    row = prod(a.outputs for a in axes) * w[-2]
    return [_chunk(x[0], row, itemsize) * row]


convolve_workspace = input_workspace = filter_workspace = _workspace


def convolve(x: Any, w: Any, geometry: Geometry, out: Any, work: Any) -> Any:
    """y[n, p, c*m + j] = sum_k x[n, p*stride + k*dilation - lo, c] w[k, c, j]."""
    first = geometry.first
    axes = geometry.axes(spatial(x.shape, first), w.shape[:-2])
    src = last(x, first)
    channels, multiplier = w.shape[-2:]
    if src.shape[-1] != channels:
        raise ShapeError(
            f"the input has {src.shape[-1]} channels, the filter takes {channels}"
        )
    if out is None:
        counts = [a.outputs for a in axes]
        outputs = channels * multiplier
        shape = [x.shape[0], *((outputs, *counts) if first else (*counts, outputs))]
        out = np.empty(shape, x.dtype)
    out.fill(0)
    if out.size:
        y = _by_filter(out, multiplier, first)
        for taps, j, inputs, outputs, scratch in _terms(src, y, axes, multiplier, work):
            np.multiply(inputs, w[taps][:, j], out=scratch)
            np.add(outputs, scratch, out=outputs)
    return out


def input_gradient(
    sizes: Sequence[int], w: Any, g: Any, geometry: Geometry, out: Any, work: Any
) -> Any:
    """dx[n, p*stride + k*dilation - lo, c] += sum_j g[n, p, c*m + j] w[k, c, j]."""
    first = geometry.first
    axes = geometry.axes(spatial(sizes, first), w.shape[:-2])
    _check(axes, sizes, w.shape, g.shape, first)
    if out is None:
        out = np.empty(tuple(sizes), g.dtype)
    out.fill(0)
    if out.size and g.size:
        y = _by_filter(g, w.shape[-1], first)
        dx = last(out, first)
        for taps, j, inputs, outputs, scratch in _terms(dx, y, axes, w.shape[-1], work):
            np.multiply(outputs, w[taps][:, j], out=scratch)
            np.add(inputs, scratch, out=inputs)
    return out


def filter_gradient(
    x: Any, shape: Sequence[int], g: Any, geometry: Geometry, out: Any, work: Any
) -> Any:
    """dw[k, c, j] = sum_{n, p} x[n, p*stride + k*dilation - lo, c] g[n, p, c*m + j]."""
    first = geometry.first
    axes = geometry.axes(spatial(x.shape, first), shape[:-2])
    _check(axes, x.shape, shape, g.shape, first)
    if out is None:
        out = np.empty(tuple(shape), g.dtype)
    out.fill(0)
    if x.size and g.size:
        y = _by_filter(g, shape[-1], first)
        src = last(x, first)
        every = tuple(range(len(axes) + 1))
        for taps, j, inputs, outputs, scratch in _terms(src, y, axes, shape[-1], work):
            np.multiply(inputs, outputs, out=scratch)
            target = out[taps][:, j]
            np.add(target, np.add.reduce(scratch, every), out=target)
    return out


def _check(
    axes: Sequence[Axis],
    x: Sequence[int],
    w: Sequence[int],
    g: Sequence[int],
    first: bool,
) -> None:
    check_cotangent(axes, spatial(g, first))
    channel = 1 if first else -1
    if x[0] != g[0] or x[channel] != w[-2] or g[channel] != w[-2] * w[-1]:
        raise ShapeError(
            f"an input of shape {tuple(x)}, a filter of shape {tuple(w)} and a "
            f"cotangent of shape {tuple(g)} do not fit"
        )
