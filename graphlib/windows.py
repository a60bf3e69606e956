"""Windows along the axes of an array, and what is done in them, as plain data.

An op says by a :class:`Nest` what its kernel computes where native code can do that:
sums of products or extremes over windows. Arrays are contiguous, with the images along
the first axis and the channels along the last; what moves is counted in elements.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from .products import Product

__all__ = ["Axis", "Correlation", "FilterGradient", "Nest", "Pool"]


class Axis(NamedTuple):
    """One axis of a sliding window: output position ``o`` and tap ``k`` meet input
    position ``o * stride + k * step - lo``; outside the input is padding.

    Attributes:
        size: input positions.
        taps: window positions.
        stride: input positions from one window to the next.
        step: input positions from one tap to the next (the dilation).
        lo: padding before the first input position (negative: cropped).
        outputs: output positions.
    """

    size: int
    taps: int
    stride: int
    step: int
    lo: int
    outputs: int

    @property
    def span(self) -> int:
        """Input positions, padding included, that the windows reach over."""
        return max(
            0, (self.outputs - 1) * self.stride + (self.taps - 1) * self.step + 1
        )

    def reached(self, k: int) -> tuple[int, int]:
        """The (first, end) output positions whose tap ``k`` is inside the input."""
        shift = k * self.step - self.lo
        first = max(0, -(shift // self.stride))
        end = min(self.outputs, (self.size - 1 - shift) // self.stride + 1)
        return first, max(first, end)

    def stretches(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """(first, end, taps inside) of stretches of all output positions."""
        ends = [self.reached(k) for k in range(self.taps)]
        bounds = {0, self.outputs, *(e for a, b in ends if a < b for e in (a, b))}
        found = []
        for first, end in pairwise(sorted(bounds)):
            inside = [k for k, (a, b) in enumerate(ends) if a <= first < b]
            found.append((first, end, tuple(inside)))
        return found


class Correlation(NamedTuple):
    """result[n, o, f] = sum over the taps k that are no padding, and the channels c, of
    source[n, o * stride + k * step - lo, c] * filter[k, c, f].

    Attributes:
        axes: all between images and channels.
        channels: of the source.
        outputs: channels of the result.
        filter_at: where the filter's first tap is.
        tap_moves: from one tap to the next, along each axis.
        channel_move, output_move: from one channel c, or f, of the filter to the next.
        result_at: where the first element is written.
        image_move: from one image of the result to the next.
        moves: from one position of the result to the next, along each axis.
    """

    axes: tuple[Axis, ...]
    channels: int
    outputs: int
    filter_at: int
    tap_moves: tuple[int, ...]
    channel_move: int
    output_move: int
    result_at: int
    image_move: int
    moves: tuple[int, ...]


class FilterGradient(NamedTuple):
    """result[k, c, f] = sum over the images n and the positions o of
    source[n, o * stride + k * step - lo, c] * cotangent[n, o, f]."""

    axes: tuple[Axis, ...]
    channels: int
    outputs: int


class Pool(NamedTuple):
    """What is done in windows along the axes between images and channels.

    Attributes:
        kind: "max": result[n, o, c] is the largest of source[n, o * stride + k * step -
            lo, c] over the taps k that are no padding, NaN where one is. "mean": their
            sum divided by their number. "max gradient", of (source, result, cotangent):
            each window's cotangent is added to the first tap, in row-major order, that
            equals its result. "mean gradient", of (cotangent): its share is added to
            every tap.
        padded: whether padding counts in a mean.
    """

    kind: str
    axes: tuple[Axis, ...]
    channels: int
    padded: bool


class Nest(NamedTuple):
    """What a kernel computes.

    Attributes:
        reads: the inputs that hold elements, in the order of what ``parts`` names.
        parts: each writes a part of the result.
        images: how many there are (of products: rows, or matrices).
        dtype: of all arrays, as NumPy's string.
        flops: additions, multiplications and comparisons in all.
    """

    reads: tuple[int, ...]
    parts: (
        tuple[Correlation, ...] | tuple[FilterGradient] | tuple[Pool] | tuple[Product]
    )
    images: int
    dtype: str
    flops: int
