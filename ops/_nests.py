"""Convolutions and their gradients as data from which native code is made.

Here is what each computes (``graphlib/windows.py``) and where native code pays; the
runtime makes loops of it if it can. Channels are last: other formats stay with NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..graphlib.windows import Axis, Correlation, FilterGradient, Nest, Pool
from ._im2col import Geometry, phases, spatial

__all__ = ["correlation_nest", "filter_nest", "input_nest", "pool_nest"]

#: Multiplications below which the calls' own cost matters most.
_LEAST = 1 << 16
#: Bytes of the widest vectors. Measured, a result of 4 float32 channels, a quarter of
#: one, still takes 0.4 to 0.8 of the time of im2col and GEMM; of 3 up to 1.3.
_VECTOR = 64
_EMPTY = 4
#: Bytes of the channels of one position from which pools are vectors of them.
_LEAST_RUN = 32
#: Taps of pools that are written out, at most.
_MOST_CODE = 600
#: The same of convolutions, along the last axis (7 taps and padding: 37).
_MOST_TAPS = 160


def _moves(sizes: Sequence[int], channels: int) -> tuple[int, ...]:
    """Elements from one position to the next along each axis, then of an image."""
    moves = [channels]
    for size in reversed(sizes):
        moves.insert(0, moves[0] * size)
    return (*moves[1:], moves[0])


def _pays(geometry: Geometry, dtype: np.dtype[Any], outputs: int) -> bool:
    """Whether vectors of output channels are full enough."""
    if geometry.first or dtype.str[1:] not in ("f4", "f8"):
        return False
    return outputs * dtype.itemsize * _EMPTY >= _VECTOR


def _short(*axes: Axis) -> bool:
    """Whether the code for the taps of these last axes is not too long: each stretch of
    positions has code for each tap inside."""
    taps = sum(len(inside) for a in axes for _, _, inside in a.stretches())
    return taps <= _MOST_TAPS


def _filtered(
    x: Sequence[int], w: Sequence[int], geometry: Geometry, dtype: Any
) -> tuple[tuple[Axis, ...], int] | None:
    """The axes along which the filter ``w`` meets ``x``, and the multiplications; None
    where NumPy's kernel is to do it."""
    axes = geometry.axes(spatial(x, geometry.first), w[:-2])
    work = x[0] * prod(a.outputs for a in axes) * prod(w)
    if work < _LEAST or not _pays(geometry, dtype, w[-1]) or not _short(axes[-1]):
        return None
    return axes, work


def correlation_nest(
    x: Sequence[int], w: Sequence[int], geometry: Geometry, dtype: Any
) -> Nest | None:
    """The convolution of ``x`` and the filter ``w``."""
    found = _filtered(x, w, geometry, dtype)
    if found is None:
        return None
    axes, work = found
    channels, outputs = w[-2:]
    *moves, image = _moves([a.outputs for a in axes], outputs)
    *taps, _ = _moves(w[:-2], channels * outputs)
    part = Correlation(
        axes, channels, outputs, 0, tuple(taps), outputs, 1, 0, image, tuple(moves)
    )
    return Nest((0, 1), (part,), x[0], dtype.str, 2 * work)


def input_nest(
    sizes: Sequence[int], w: Sequence[int], geometry: Geometry, dtype: Any
) -> Nest | None:
    """The gradient to an input of these sizes; inputs are sizes, filter, cotangent."""
    axes = geometry.axes(spatial(sizes, geometry.first), w[:-2])
    channels, outputs = w[-2:]
    work = sizes[0] * prod(a.outputs for a in axes) * prod(w)
    if work < _LEAST or not _pays(geometry, dtype, channels):
        return None
    *moves, image = _moves([a.size for a in axes], channels)
    *taps, _ = _moves(w[:-2], channels * outputs)
    residues = list(itertools.product(*(phases(a) for a in axes)))
    if not _short(*(own[-1][2] for own in residues)):
        return None
    parts = []
    for residue in residues:
        first = 0
        backwards = []
        for (_, chosen, _), tap in zip(residue, taps):
            first += 0 if chosen is None else chosen.start * tap
            backwards.append(0 if chosen is None else chosen.step * tap)
        parts.append(
            Correlation(
                tuple(own for _, _, own in residue),
                outputs,
                channels,
                first,
                tuple(backwards),
                1,
                outputs,
                sum(r * m for (r, _, _), m in zip(residue, moves)),
                image,
                tuple(a.stride * m for a, m in zip(axes, moves)),
            )
        )
    return Nest((2, 1), tuple(parts), sizes[0], dtype.str, 2 * work)


def filter_nest(
    x: Sequence[int], w: Sequence[int], geometry: Geometry, dtype: Any
) -> Nest | None:
    """The gradient to a filter ``w``; inputs are source, sizes, cotangent."""
    found = _filtered(x, w, geometry, dtype)
    if found is None:
        return None
    axes, work = found
    part = FilterGradient(axes, *w[-2:])
    return Nest((0, 2), (part,), x[0], dtype.str, 2 * work)


def pool_nest(
    kind: str,
    reads: tuple[int, ...],
    images: int,
    axes: Sequence[Axis],
    dtype: Any,
    padded: bool = False,
) -> Nest | None:
    """A pool along ``axes`` (all of the array but the first), or its gradient."""
    *windows, deep = axes
    channels = deep.size
    plain = deep == Axis(channels, 1, 1, 1, 0, channels)
    if not plain or not windows or channels * dtype.itemsize < _LEAST_RUN:
        return None
    if dtype.str[1:] not in ("f4", "f8") or not all(a.outputs for a in windows):
        return None
    # Each stretch of positions with the same taps inside has code of its own.
    code = prod(sum(len(taps) for _, _, taps in a.stretches()) for a in windows)
    work = images * prod(a.outputs * a.taps for a in windows) * channels
    if work < _LEAST or code > _MOST_CODE:
        return None
    part = Pool(kind, tuple(windows), channels, padded)
    return Nest(reads, (part,), images, dtype.str, work)
