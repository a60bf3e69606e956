"""NumPy's array functions on tensors: ``np.concatenate([t, u])`` builds a node.

Only what NumPy's signature has in another order or under another name than TF1's
needs a function here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.tensor import Tensor, as_tensor
from ._static import known_int, known_ints, normal_axes, normal_axis, try_ints
from .gather import gather
from .indexing import getitem
from .joining import concat, split, stack
from .padding import pad
from .rearrange import repeat, reverse, roll, tile
from .sorting import argsort, searchsorted, sort
from .views import expand_dims, reshape, squeeze, transpose

__all__ = ["NUMPY"]


def _reshape(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None
) -> Tensor:
    if order != "C":
        raise DTypeError(f"np.reshape of a tensor: order {order!r} is not offered")
    return reshape(a, newshape if shape is None else shape)


def _ravel(a: Any, order: str = "C") -> Tensor:
    return _reshape(a, [-1], order)


def _transpose(a: Any, axes: Any = None) -> Tensor:
    return transpose(a, axes)


def _known_rank(t: Tensor, who: str) -> int:
    if t.dims is None:
        raise ShapeError(f"{who}: the rank of {t!r} must be known")
    return len(t.dims)


def swapaxes(a: Any, axis1: int, axis2: int) -> Tensor:
    """``a`` with two axes exchanged (a view)."""
    t = as_tensor(a)
    perm = list(range(_known_rank(t, "swapaxes")))
    i, j = normal_axis(axis1, t.dims), normal_axis(axis2, t.dims)
    perm[i], perm[j] = perm[j], perm[i]
    return transpose(t, perm)


def moveaxis(a: Any, source: Any, destination: Any) -> Tensor:
    """``a`` with axes moved to other places, the rest in order (a view)."""
    t = as_tensor(a)
    rank = _known_rank(t, "moveaxis")
    old = normal_axes(known_ints(source, "source"), t.dims, "source")
    new = normal_axes(known_ints(destination, "destination"), t.dims, "destination")
    if len(old) != len(new):
        raise ShapeError("moveaxis: source and destination have different lengths")
    perm = [i for i in range(rank) if i not in old]
    for at, axis in sorted(zip(new, old)):
        perm.insert(at, axis)
    return transpose(t, perm)


def _concatenate(arrays: Any, /, axis: Any = 0) -> Tensor:
    if axis is None:
        return concat([reshape(a, [-1]) for a in arrays], 0)
    return concat(arrays, axis)


def _stack(arrays: Any, axis: int = 0) -> Tensor:
    return stack(arrays, axis)


def _expand_dims(a: Any, axis: Any) -> Tensor:
    t = as_tensor(a)
    axes = known_ints(axis, "axis")
    full = (None,) * (_known_rank(t, "expand_dims") + len(axes))
    for i in sorted(normal_axes(axes, full)):
        t = expand_dims(t, i)
    return t


def _tile(a: Any, reps: Any) -> Tensor:
    t = as_tensor(a)
    times = try_ints(reps, "reps")
    if times is None:
        return tile(t, reps)
    counts = [int(n) for n in times.reshape(-1)]
    rank = _known_rank(t, "tile")
    for _ in range(len(counts) - rank):
        t = expand_dims(t, 0)
    return tile(t, [1] * (rank - len(counts)) + counts)


def _roll(a: Any, shift: Any, axis: Any = None) -> Tensor:
    t = as_tensor(a)
    if axis is None:
        from .views import like_shape

        return like_shape(roll(reshape(t, [-1]), shift, 0), t)
    return roll(t, shift, axis)


def _flip(m: Any, axis: Any = None) -> Tensor:
    t = as_tensor(m)
    return reverse(t, range(_known_rank(t, "flip")) if axis is None else axis)


def _sort(a: Any, axis: Any = -1, kind: Any = None, **more: Any) -> Tensor:
    _only_stable(more)
    return sort(reshape(a, [-1]), 0) if axis is None else sort(a, axis)


def _argsort(a: Any, axis: Any = -1, kind: Any = None, **more: Any) -> Tensor:
    _only_stable(more)
    return argsort(reshape(a, [-1]), 0) if axis is None else argsort(a, axis)


def _only_stable(more: dict[str, Any]) -> None:
    if set(more) - {"stable"} and any(v is not None for v in more.values()):
        raise DTypeError(f"sorting a tensor takes no {sorted(more)}")


def _take(a: Any, indices: Any, axis: Any = None) -> Tensor:
    t = as_tensor(a)
    if axis is None:
        return gather(reshape(t, [-1]), indices)
    return gather(t, indices, axis=axis)


def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    points = try_ints(indices_or_sections, "indices_or_sections")
    if points is not None and points.ndim == 0:
        return split(ary, int(points), axis)
    t = as_tensor(ary)
    at = normal_axis(known_int(axis, "axis"), t.dims)
    ends: list[int | None] = [*known_ints(indices_or_sections, "indices"), None]
    begins: Sequence[int | None] = [0, *ends[:-1]]
    lead = (slice(None),) * at
    return [getitem(t, (*lead, slice(b, e))) for b, e in zip(begins, ends)]


_PAD_MODES = {"constant": "CONSTANT", "reflect": "REFLECT", "symmetric": "SYMMETRIC"}


def _pad(
    array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0
) -> Tensor:
    if mode not in _PAD_MODES:
        raise DTypeError(f"np.pad of a tensor: mode {mode!r} is not offered")
    t = as_tensor(array)
    rank = _known_rank(t, "pad")
    widths = np.broadcast_to(np.asarray(pad_width), (rank, 2))
    return pad(t, widths, _PAD_MODES[mode], constant_values=constant_values)


def _searchsorted(a: Any, v: Any, side: str = "left") -> Tensor:
    return searchsorted(a, v, side)


NUMPY = {
    np.argsort: _argsort,
    np.concatenate: _concatenate,
    np.expand_dims: _expand_dims,
    np.flip: _flip,
    np.moveaxis: moveaxis,
    np.pad: _pad,
    np.ravel: _ravel,
    np.repeat: repeat,
    np.reshape: _reshape,
    np.roll: _roll,
    np.searchsorted: _searchsorted,
    np.sort: _sort,
    np.split: _split,
    np.squeeze: squeeze,
    np.stack: _stack,
    np.swapaxes: swapaxes,
    np.take: _take,
    np.tile: _tile,
    np.transpose: _transpose,
}
