"""TensorFlow's op types that resize images, built of gathers along rows and columns.

Where a pixel of the result lies in the image is worked out here, in single precision as
TensorFlow does it (``image_resizer_state.h``), so the sizes must be known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dagrad as tf

from ..graphlib.errors import GraphError
from ..graphlib.tensor import Tensor
from .nodes import Build, Node

__all__ = ["BUILDERS"]


#: Coordinates are made while the graph is built: a file may not ask for any number.
_MOST_PIXELS = 2**20


class _Axis:
    """Where the pixels of a result lie along an axis: ``at``, in those of the image."""

    def __init__(self, node: Node, before: int, after: int, middle: float) -> None:
        corners = node.attr("align_corners", False)
        half = node.attr("half_pixel_centers", False)
        if corners and half:
            raise GraphError("align_corners and half_pixel_centers exclude each other")
        if before < 1 or not 1 <= after <= _MOST_PIXELS:
            raise GraphError(f"it makes {after} pixels of {before}")
        inner = corners and after > 1
        scale = np.float32(before - inner) / np.float32(after - inner)
        at = np.arange(after, dtype=np.float32)
        if half:
            at = (at + np.float32(0.5)) * scale - np.float32(middle)
        else:
            at = at * scale
        self.last, self.corners = before - 1, corners
        self.at = at

    def pixels(self, at: Any) -> Any:
        """Coordinates as the indices of pixels that there are."""
        return np.clip(at.astype(np.int32), 0, self.last)


def _axes(node: Node, middle: float) -> tuple[Tensor, _Axis, _Axis]:
    """The images, and their rows and columns."""
    x, size = node.take(2)
    if x.dims is None or len(x.dims) != 4 or None in x.dims[1:3] or size.value is None:
        raise GraphError("the sizes of the images are known only in a run")
    (_, high, wide, _), (rows, columns) = x.dims, size.value.tolist()
    return (
        x,
        _Axis(node, high or 0, rows, middle),
        _Axis(node, wide or 0, columns, middle),
    )


def _nearest(node: Node) -> Any:
    x, rows, columns = _axes(node, 0.0)
    with tf.name_scope(node.name):
        for number, axis in ((1, rows), (2, columns)):
            # Halves go away from zero, and no coordinate is negative.
            at = np.floor(axis.at + np.float32(0.5 if axis.corners else 0))
            x = tf.gather(x, axis.pixels(at), axis=number)
    return tf.identity(x, name=node.name)


def _bilinear(node: Node) -> Any:
    x, rows, columns = _axes(node, 0.5)
    with tf.name_scope(node.name):
        x = tf.cast(x, tf.float32)
        x = _between(x, columns, 2, None)
        return _between(x, rows, 1, node.name)


def _between(x: Tensor, axis: _Axis, number: int, name: str | None) -> Tensor:
    """Between the pixels on both sides, along one axis."""
    below = np.floor(axis.at)
    first = tf.gather(x, axis.pixels(below), axis=number)
    second = tf.gather(x, axis.pixels(np.ceil(axis.at)), axis=number)
    part = (axis.at - below).reshape((-1,) + (1,) * (3 - number))
    return tf.add(first, (second - first) * part, name=name)


BUILDERS: dict[str, Build] = {
    "ResizeBilinear": _bilinear,
    "ResizeNearestNeighbor": _nearest,
}
