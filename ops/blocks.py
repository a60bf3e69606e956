"""Blocks of space as channels or batches: space_to_depth and kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.operators import TABLE
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import scope
from ._static import (
    as_vector,
    known_int,
    known_ints,
    sizes,
    try_ints,
)
from .padding import pad
from .slicing import slice_
from .views import reshape, transpose

__all__ = [
    "batch_to_space",
    "batch_to_space_nd",
    "depth_to_space",
    "space_to_batch",
    "space_to_batch_nd",
    "space_to_depth",
]


def _image_sizes(x: Tensor, data_format: str, who: str) -> tuple[list[Any], bool]:
    if data_format not in ("NHWC", "NCHW"):
        raise ShapeError(f"{who}: data_format {data_format!r} is not NHWC or NCHW")
    if x.dims is None or len(x.dims) != 4:
        raise ShapeError(f"{who}: takes 4 axes, not {text(x.dims)}")
    return sizes(x), data_format == "NHWC"


def _over(n: Any, b: int, who: str) -> Any:
    """n / b, which must leave no rest."""
    if not isinstance(n, int):
        return TABLE["floordiv"](n, b)
    if n % b:
        raise ShapeError(f"{who}: {n} is not divisible by {b}")
    return n // b


def _times(n: Any, b: int) -> Any:
    return n * b if isinstance(n, int) else TABLE["mul"](n, b)


def _regroup(x: Tensor, parts: Any, perm: Any, result: Any) -> Tensor:
    graph = x.op.graph
    cut = reshape(x, as_vector(parts, graph))
    return reshape(transpose(cut, perm), as_vector(result, graph))


def space_to_depth(
    input: Any, block_size: Any, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Blocks of b x b pixels become channels: (n, h, w, c) -> (n, h/b, w/b, b b c).

    Args:
        input: (n, h, w, c), or (n, c, h, w) for ``"NCHW"``.
        block_size: b, an int.
        name: the name of the operation.
        data_format: ``"NHWC"`` or ``"NCHW"``.

    Raises:
        ShapeError: b does not divide h and w.
    """
    x, b = as_tensor(input), known_int(block_size, "space_to_depth: block_size")
    who = "space_to_depth"
    with scope(name, "SpaceToDepth", x):
        shape, last = _image_sizes(x, data_format, who)
        n, h, w, c = shape if last else (shape[0], shape[2], shape[3], shape[1])
        h, w = _over(h, b, who), _over(w, b, who)
        deep = _times(c, b * b)
        if last:
            parts = [n, h, b, w, b, c]
            return _regroup(x, parts, (0, 1, 3, 2, 4, 5), [n, h, w, deep])
        parts = [n, c, h, b, w, b]
        return _regroup(x, parts, (0, 3, 5, 1, 2, 4), [n, deep, h, w])


def depth_to_space(
    input: Any, block_size: Any, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Channels become blocks of b x b pixels: the inverse of space_to_depth.

    Raises:
        ShapeError: b² does not divide the number of channels.
    """
    x, b = as_tensor(input), known_int(block_size, "depth_to_space: block_size")
    who = "depth_to_space"
    with scope(name, "DepthToSpace", x):
        shape, last = _image_sizes(x, data_format, who)
        n, h, w, c = shape if last else (shape[0], shape[2], shape[3], shape[1])
        c = _over(c, b * b, who)
        high, wide = _times(h, b), _times(w, b)
        if last:
            parts = [n, h, w, b, b, c]
            return _regroup(x, parts, (0, 1, 3, 2, 4, 5), [n, high, wide, c])
        parts = [n, b, b, c, h, w]
        return _regroup(x, parts, (0, 3, 4, 1, 5, 2), [n, c, high, wide])


def _pairs(value: Any, who: str) -> list[tuple[int, int]]:
    array = try_ints(value, who)
    if array is None:
        raise ShapeError(f"{who} must be known while the graph is built")
    if array.ndim != 2 or array.shape[1] != 2:
        raise ShapeError(f"{who} must have shape (m, 2), not {array.shape}")
    return [(int(a), int(b)) for a, b in array]


def space_to_batch_nd(
    input: Any, block_shape: Any, paddings: Any, name: str | None = None
) -> Tensor:
    """Blocks of space, after zero padding, move into the batch axis.

    Args:
        input: (n, s_1, ..., s_m, ...).
        block_shape: (m,) ints b, known while the graph is built.
        paddings: (m, 2) ints; each padded s_i is divisible by b_i.
        name: the name of the operation.

    Returns:
        (n b_1 ... b_m, s_1' / b_1, ..., s_m' / b_m, ...).

    Raises:
        ShapeError: sizes that are not divisible.
    """
    x = as_tensor(input)
    who = "space_to_batch_nd"
    blocks = known_ints(block_shape, f"{who}: block_shape")
    pads = _pairs(paddings, f"{who}: paddings")
    m = len(blocks)
    if len(pads) != m:
        raise ShapeError(f"{who}: {len(pads)} paddings for {m} blocks")
    with scope(name, "SpaceToBatchND", x):
        if x.dims is None or len(x.dims) <= m:
            raise ShapeError(f"{who}: {m} blocks do not fit shape {text(x.dims)}")
        rank = len(x.dims)
        if any(a or b for a, b in pads):
            x = pad(x, [(0, 0), *pads, *[(0, 0)] * (rank - m - 1)])
        n, *shape = sizes(x)
        small = [_over(s, b, who) for s, b in zip(shape, blocks)]
        rest = shape[m:]
        parts = [n, *[v for pair in zip(small, blocks) for v in pair], *rest]
        perm = [
            *range(2, 2 * m + 1, 2),
            0,
            *range(1, 2 * m, 2),
            *range(2 * m + 1, rank + m),
        ]
        batch = _times(n, int(np.prod(blocks)))
        return _regroup(x, parts, perm, [batch, *small, *rest])


def batch_to_space_nd(
    input: Any, block_shape: Any, crops: Any, name: str | None = None
) -> Tensor:
    """The inverse of :func:`space_to_batch_nd`; ``crops`` (m, 2) cut the borders.

    Raises:
        ShapeError: the blocks do not divide the batch, or crops are too large.
    """
    x = as_tensor(input)
    who = "batch_to_space_nd"
    blocks = known_ints(block_shape, f"{who}: block_shape")
    cuts = _pairs(crops, f"{who}: crops")
    m = len(blocks)
    if len(cuts) != m:
        raise ShapeError(f"{who}: {len(cuts)} crops for {m} blocks")
    with scope(name, "BatchToSpaceND", x):
        if x.dims is None or len(x.dims) <= m:
            raise ShapeError(f"{who}: {m} blocks do not fit shape {text(x.dims)}")
        rank = len(x.dims)
        n, *shape = sizes(x)
        batch = _over(n, int(np.prod(blocks)), who)
        perm = [m]
        for i in range(m):
            perm += [m + 1 + i, i]
        perm += range(2 * m + 1, rank + m)
        wide = [_times(s, b) for s, b in zip(shape, blocks)]
        y = _regroup(x, [*blocks, batch, *shape], perm, [batch, *wide, *shape[m:]])
        if not any(a or b for a, b in cuts):
            return y
        begin = [0, *[a for a, _ in cuts], *[0] * (rank - m - 1)]
        lengths = []
        for size, (a, b) in zip(wide, cuts):
            if isinstance(size, int):
                if a + b > size:
                    raise ShapeError(f"{who}: crops {[a, b]} of an axis of {size}")
                lengths.append(size - a - b)
            else:
                lengths.append(TABLE["sub"](size, a + b))
        keep = [-1, *lengths, *[-1] * (rank - m - 1)]
        return slice_(y, begin, as_vector(keep, x.op.graph))


def space_to_batch(
    input: Any,
    paddings: Any,
    block_size: Any = None,
    name: str | None = None,
    block_shape: Any = None,
) -> Tensor:
    """:func:`space_to_batch_nd` with one block size for all axes of ``paddings``."""
    if block_shape is None:
        size = known_int(block_size, "space_to_batch: block_size")
        block_shape = [size] * len(_pairs(paddings, "space_to_batch: paddings"))
    return space_to_batch_nd(input, block_shape, paddings, name)


def batch_to_space(
    input: Any,
    crops: Any,
    block_size: Any = None,
    name: str | None = None,
    block_shape: Any = None,
) -> Tensor:
    """:func:`batch_to_space_nd` with one block size for all axes of ``crops``."""
    if block_shape is None:
        size = known_int(block_size, "batch_to_space: block_size")
        block_shape = [size] * len(_pairs(crops, "batch_to_space: crops"))
    return batch_to_space_nd(input, block_shape, crops, name)
