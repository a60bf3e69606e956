"""The geometry of sliding windows along any number of axes, written once.

Convolutions, pools and their gradients all pair output position ``o`` and tap
``k`` of an axis with input position ``o * stride + k * step - lo``; what falls
outside the input is padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from ..graphlib.errors import ShapeError
from ..graphlib.source import entry
from ..graphlib.windows import Axis

__all__ = [
    "Axis",
    "Padding",
    "make_axes",
    "normal_padding",
    "output_size",
    "per_axis",
    "tap_counts",
    "tap_views",
]

#: "SAME", "VALID", or (before, after) for every axis of the windows.
Padding = str | tuple[tuple[int, int], ...]


def output_size(
    size: int | None,
    taps: int | None,
    stride: int,
    step: int,
    padding: str | tuple[int, int],
) -> int | None:
    """How many windows fit along an axis; None where that is not known.

    SAME: ceil(size / stride).  VALID and explicit padding:
    floor((size + padding - reach) / stride) + 1 with
    reach = (taps - 1) * step + 1.

    Raises:
        ShapeError: the window is larger than the padded input.
    """
    if padding == "SAME":
        return None if size is None else -(-size // stride)
    if size is None or taps is None:
        return None
    around = 0 if padding == "VALID" else sum(padding)  # type: ignore[arg-type]
    reach = (taps - 1) * step + 1
    count = (size + around - reach + stride) // stride
    if count < 0:
        raise ShapeError(
            f"a window that reaches over {reach} positions does not fit an axis of "
            f"{size} positions with {around} of padding"
        )
    return count


@lru_cache(maxsize=4096)
def make_axes(
    sizes: tuple[int, ...],
    taps: tuple[int, ...],
    strides: tuple[int, ...],
    steps: tuple[int, ...],
    padding: Padding,
) -> tuple[Axis, ...]:
    """The axes of a window over an input of known ``sizes``.

    SAME puts the odd position of padding after the input, as TF does.

    Raises:
        ShapeError: a window is larger than the padded input.
    """
    axes = []
    for i, (size, k, stride, step) in enumerate(zip(sizes, taps, strides, steps)):
        own = padding if isinstance(padding, str) else padding[i]
        count = output_size(size, k, stride, step, own)
        assert count is not None
        if own == "SAME":
            lo = max(0, (count - 1) * stride + (k - 1) * step + 1 - size) // 2
        else:
            lo = 0 if own == "VALID" else own[0]  # type: ignore[assignment]
        axes.append(Axis(size, k, stride, step, lo, count))
    return tuple(axes)


def per_axis(
    value: Any, rank: int, data_format: str, what: str, default: int = 1
) -> tuple[int, ...]:
    """Strides, dilations or window sizes as TF1 takes them, for the spatial axes.

    Args:
        value: an int, one per spatial axis, or one per axis of ``data_format``
            (with 1 for batch and channels); None means ``default``.

    Raises:
        ShapeError: another length, not positive, or not 1 off the spatial axes.
    """
    if value is None:
        return (default,) * rank
    values = [int(v) for v in value] if hasattr(value, "__iter__") else [int(value)]
    if len(values) == 1:
        values = values * rank
    if len(values) == rank + 2:
        channel = data_format.index("C")
        if values[0] != 1 or values[channel] != 1:
            raise ShapeError(
                f"{what} {values} must be 1 along batch and channels ({data_format})"
            )
        values = [v for i, v in enumerate(values) if i not in (0, channel)]
    if len(values) != rank or min(values) < 1:
        raise ShapeError(
            f"{what} {value} must be an int, {rank} or {rank + 2} positive ints"
        )
    return tuple(values)


def normal_padding(padding: Any, rank: int, data_format: str) -> Padding:
    """Padding as TF1 takes it: a name, or (before, after) pairs.

    Raises:
        ShapeError: another name, pairs of another number, negative padding, or
            padding along batch or channels.
    """
    if isinstance(padding, bytes):
        padding = padding.decode()
    if isinstance(padding, str):
        name = padding.upper()
        if name not in ("SAME", "VALID"):
            raise ShapeError(
                f"{entry()}padding must be 'SAME', 'VALID' or pairs, not {padding!r}"
            )
        return name
    if padding is None:
        raise ShapeError(f"{entry()}padding must be 'SAME', 'VALID' or pairs")
    pairs = [(int(a), int(b)) for a, b in padding]
    if len(pairs) == rank + 2:
        channel = data_format.index("C")
        if pairs[0] != (0, 0) or pairs[channel] != (0, 0):
            raise ShapeError(f"padding {pairs} must be zero along batch and channels")
        pairs = [p for i, p in enumerate(pairs) if i not in (0, channel)]
    if len(pairs) != rank or any(min(p) < 0 for p in pairs):
        raise ShapeError(
            f"padding {padding} must hold {rank} or {rank + 2} pairs of ints >= 0"
        )
    return tuple(pairs)


# -- pairing outputs and inputs tap by tap -------------------------------------------


@lru_cache(maxsize=16384)
def _tap(axis: Axis, k: int) -> tuple[slice, slice] | None:
    """Outputs whose tap ``k`` is inside the input, and the inputs it falls on."""
    shift = k * axis.step - axis.lo
    first = max(0, -(shift // axis.stride))
    last = min(axis.outputs - 1, (axis.size - 1 - shift) // axis.stride)
    if last < first:
        return None
    start = first * axis.stride + shift
    stop = last * axis.stride + shift + 1
    return slice(first, last + 1), slice(start, stop, axis.stride)


def tap_views(
    axes: Sequence[Axis],
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """(tap, output slices, input slices) for every tap that meets the input.

    The two slices pair positions one to one; no padded copy is ever made.
    """
    for taps in itertools.product(*(range(a.taps) for a in axes)):
        outputs = []
        inputs = []
        for a, k in zip(axes, taps):
            pair = _tap(a, k)
            if pair is None:
                break
            outputs.append(pair[0])
            inputs.append(pair[1])
        else:
            yield taps, tuple(outputs), tuple(inputs)


def tap_counts(axis: Axis) -> list[int]:
    """For each output position, how many taps are inside the input."""
    counts = [0] * axis.outputs
    for k in range(axis.taps):
        pair = _tap(axis, k)
        if pair is not None:
            for o in range(pair[0].start, pair[0].stop):
                counts[o] += 1
    return counts
