"""Pools and their gradients as lists of ufunc calls on views, made once.

A plan makes the views when it is bound, so that a run is nothing but the calls.
A pool goes along one axis after the other, the outermost first: k + k passes
instead of k * k for a square window, and all but the last over long runs.  Images
are taken so many at a time that what is between two passes stays in cache.

Padding is never copied: ``tap_views`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from ._calls import Call
from ._windows import Axis, tap_views

__all__ = [
    "claim_calls",
    "claim_scratch",
    "fold_calls",
    "fold_scratch",
    "spread_calls",
    "spread_scratch",
]

# What lies between two passes takes about this many bytes.
_CHUNK_BYTES = 256 * 1024


def _chunk(images: int, elements: int, itemsize: int) -> int:
    """Images at a time, in equal shares, for so many elements of one image."""
    most = max(1, _CHUNK_BYTES // max(1, elements * itemsize))
    return -(-images // -(-images // most)) if images else 1


def _parts(images: int, chunk: int) -> Iterator[slice]:
    for i in range(0, images, chunk):
        yield slice(i, min(i + chunk, images))


def _stages(axes: Sequence[Axis]) -> list[tuple[int, Axis, tuple[int, ...]]]:
    """(axis of the array, window, sizes of an image after it) of each pass."""
    sizes = [a.size for a in axes]
    stages = []
    for i, a in enumerate(axes):
        if (a.taps, a.stride, a.lo, a.outputs) != (1, 1, 0, a.size):
            sizes[i] = a.outputs
            stages.append((i + 1, a, tuple(sizes)))
    return stages


def _between(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """The sizes of an image between the passes."""
    return [sizes for _, _, sizes in _stages(axes)[:-1]]


def _scratch(work: Any, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[Any]:
    """Arrays of these shapes, in the flat ``work`` where there is some."""
    if work is None:
        return [np.empty(s, dtype) for s in shapes]
    return [w[: prod(s)].reshape(s) for w, s in zip(work, shapes)]


# -- largest and sum ------------------------------------------------------------------


def _fold_chunk(axes: Sequence[Axis], images: int, itemsize: int) -> int:
    between = [*map(prod, _between(axes)), prod(a.outputs for a in axes)]
    return _chunk(images, max(between), itemsize)


def fold_scratch(axes: Sequence[Axis], images: int, itemsize: int) -> list[int]:
    """Elements of each scratch array of :func:`fold_calls`."""
    chunk = _fold_chunk(axes, images, itemsize)
    return [chunk * prod(s) for s in _between(axes)]


def fold_calls(
    fold: Any, x: Any, axes: Sequence[Axis], empty: Any, out: Any, work: Any
) -> list[Call]:
    """out[n, p] = fold over the taps k of x[n, p*stride + k*step - lo].

    Args:
        fold: f(a, b, out), associative and commutative.
        axes: the window along every axis of x but the first.
        empty: the result where a window holds nothing but padding.
    """
    chunk = _fold_chunk(axes, x.shape[0], x.itemsize)
    stages = _stages(axes)
    shapes = [(chunk, *s) for s in _between(axes)]
    buffers = _scratch(work, shapes, x.dtype)
    if not stages:
        return [(np.copyto, (out, x))]
    calls: list[Call] = []
    empty = np.asarray(empty, x.dtype)
    for part in _parts(x.shape[0], chunk):
        m = part.stop - part.start
        source = x[part]
        results = [*(b[:m] for b in buffers), out[part]]
        for (dim, axis, _), result in zip(stages, results):
            calls += _fold_axis(fold, source, dim, axis, empty, result)
            source = result
    return calls


def _paired(axis: Axis, dim: int) -> list[tuple[Any, Any]]:
    """(output index, input index) of each tap along one axis of an array, those
    that every output has first."""
    lead = (slice(None),) * dim
    pairs = [((*lead, *outs), (*lead, *ins)) for _, outs, ins in tap_views((axis,))]
    return sorted(pairs, key=lambda p: p[0][-1] != slice(0, axis.outputs))


def _fold_axis(
    fold: Any, source: Any, dim: int, axis: Axis, empty: Any, result: Any
) -> Iterator[Call]:
    pairs = _paired(axis, dim)
    if pairs and pairs[0][0][-1] == slice(0, axis.outputs):
        yield np.copyto, (result, source[pairs.pop(0)[1]])
    else:
        yield np.copyto, (result, empty)
    # The result is an operand each time: of two strided ones NumPy's iterator would
    # make two buffers.
    for outs, ins in pairs:
        target = result[outs]
        yield fold, (target, source[ins], target)


# -- the transpose of the sum -------------------------------------------------------


def spread_scratch(axes: Sequence[Axis], images: int, itemsize: int) -> list[int]:
    """Elements of each scratch array of :func:`spread_calls`."""
    sizes = [prod(a.outputs for a in axes), *map(prod, _between(axes))]
    chunk = _fold_chunk(axes, images, itemsize)
    return [chunk * n for n in sizes]


def spread_calls(
    g: Any, divisor: Any, axes: Sequence[Axis], out: Any, work: Any
) -> list[Call]:
    """out[n, p*stride + k*step - lo] += g[n, p] / divisor for every tap k."""
    chunk = _fold_chunk(axes, g.shape[0], g.itemsize)
    stages = _stages(axes)
    shapes = [(chunk, *g.shape[1:]), *((chunk, *s) for s in _between(axes))]
    shares, *buffers = _scratch(work, shapes, g.dtype)
    calls: list[Call] = []
    for part in _parts(g.shape[0], chunk):
        m = part.stop - part.start
        source = shares[:m] if stages else out[part]
        calls.append((np.divide, (g[part], divisor, source)))
        results = [out[part], *(b[:m] for b in buffers)]
        for (dim, axis, _), result in zip(reversed(stages), reversed(results)):
            calls += _spread_axis(source, dim, axis, result)
            source = result
    return calls


def _disjoint(axis: Axis) -> bool:
    """Whether no input is in two windows."""
    return axis.stride >= (axis.taps - 1) * axis.step + 1


def _reaches(axis: Axis) -> bool:
    """Whether every input is in some window, of windows that are disjoint."""
    ranges = [range(axis.size)[ins] for _, _, (ins,) in tap_views((axis,))]
    return sum(map(len, ranges)) == axis.size


def _spread_axis(source: Any, dim: int, axis: Axis, result: Any) -> Iterator[Call]:
    alone = _disjoint(axis)
    if not (alone and _reaches(axis)):
        yield np.copyto, (result, np.zeros((), result.dtype))
    for outs, ins in _paired(axis, dim):
        target = result[ins]
        if alone:
            yield np.copyto, (target, source[outs])
        else:
            yield np.add, (target, source[outs], target)


# -- which input was the largest ------------------------------------------------------


def _bits(array: Any) -> Any:
    """A float array's bits, so that masks act on infinities and NaN alike."""
    return array.view(f"i{array.itemsize}")


def claim_scratch(axes: Sequence[Axis], images: int, itemsize: int) -> list[Any]:
    """(dtype, elements) of each scratch array of :func:`claim_calls`."""
    n = prod(a.outputs for a in axes)
    size = _chunk(images, n, itemsize) * n
    bits = np.dtype(f"i{itemsize}")
    return [(np.dtype(bool), size), (bits, size), (bits, size)]


def claim_calls(
    x: Any, y: Any, axes: Sequence[Axis], g: Any, h: Any, out: Any, work: Any
) -> list[Call]:
    """The gradient of the largest, or its transpose.

    Each window's prize is claimed by the first tap, in row-major order, at which x
    equals y: a claim takes its bits away, so later taps find none.  The prizes are
    the bits of ``g`` (then ``out``, like x, collects the claims), or where ``g`` is
    None masks of ones (then ``out``, like y, takes ``h`` at the claims).
    """
    n = prod(a.outputs for a in axes)
    chunk = _chunk(x.shape[0], n, x.itemsize)
    if work is None:
        dtypes = [d for d, _ in claim_scratch(axes, x.shape[0], x.itemsize)]
        work = [np.empty(chunk * n, d) for d in dtypes]
    into = _bits(out)
    none = np.zeros((), into.dtype)
    alone = all(map(_disjoint, axes))
    full = alone and all(map(_reaches, axes))
    taps = list(tap_views(axes))
    calls: list[Call] = []
    for part in _parts(x.shape[0], chunk):
        m = part.stop - part.start
        prize = work[1][: m * n].reshape(m, *y.shape[1:])
        if g is not None:
            calls.append((np.copyto, (prize, _bits(g)[part])))
        else:
            calls.append((np.copyto, (prize, none - 1)))
        if g is None or not full:
            calls.append((np.copyto, (into[part], none)))
        for i, (_, outs, ins) in enumerate(taps):
            here, there = (part, *outs), (part, *ins)
            left = prize[(slice(None), *outs)]
            hit, claim = (w[: left.size].reshape(left.shape) for w in work[::2])
            calls += [
                (np.equal, (x[there], y[here], hit)),
                # True, as a byte, is 1; minus 1 has all bits set.
                (np.negative, (hit.view(np.int8), claim)),
                (np.bitwise_and, (left, claim, claim)),
            ]
            if i + 1 < len(taps):
                calls.append((np.bitwise_xor, (left, claim, left)))
            if g is None:
                target = into[here]
                calls.append((np.bitwise_and, (claim, _bits(h)[there], claim)))
                calls.append((np.bitwise_or, (target, claim, target)))
            elif alone:
                calls.append((np.copyto, (into[there], claim)))
            else:
                target = out[there]
                calls.append((np.add, (target, claim.view(out.dtype), target)))
    return calls
