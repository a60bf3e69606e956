"""Repeating, reversing, rolling: tile, repeat, reverse, roll."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import constant, create, scope, shape_tensor
from ._later import batch
from ._static import (
    integers,
    known_int,
    known_ints,
    normal_axes,
    normal_axis,
)
from .core import shape
from .gather import gather
from .indexing import getitem
from .views import no_flops, reshape

__all__ = ["repeat", "reverse", "roll", "tile"]


# -- tile ----------------------------------------------------------------------


def _infer_tile(inputs: Sequence[Any], attrs: Any) -> Any:
    x, multiples = inputs
    times = known_dims(multiples)
    if x.dims is None:
        return ((x.dtype, None if times is None else (None,) * len(times)),)
    if times is None:
        return ((x.dtype, (None,) * len(x.dims)),)
    if len(times) != len(x.dims):
        raise ShapeError(
            f"multiples {list(times)} need one entry for each axis of {text(x.dims)}"
        )
    if any(m is not None and m < 0 for m in times):
        raise ShapeError(f"multiples {list(times)} must be >= 0")
    dims = [
        0 if 0 in (d, m) else None if d is None or m is None else d * m
        for d, m in zip(x.dims, times)
    ]
    return ((x.dtype, tuple(dims)),)


def _interleaved(outer: Sequence[int], inner: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for pair in zip(outer, inner) for n in pair)


def _tile_kernel(xp: Any, x: Any, multiples: Any, out: Any = None) -> Any:
    times = multiples.tolist()
    if len(times) != x.ndim or min(times, default=0) < 0:
        raise InvalidArgumentError(
            f"multiples {times} do not fit an array of shape {x.shape}"
        )
    if out is None:
        out = xp.empty(tuple(d * m for d, m in zip(x.shape, times)), x.dtype)
    if out.size:
        blocks = out.reshape(_interleaved(times, x.shape))
        xp.copyto(blocks, x.reshape(_interleaved((1,) * x.ndim, x.shape)))
    return out


def _tile_sum_kernel(
    xp: Any, g: Any, multiples: Any, shape: Any, out: Any = None
) -> Any:
    dims = tuple(shape.tolist())
    if out is None:
        out = xp.empty(dims, g.dtype)
    blocks = g.reshape(_interleaved(multiples.tolist(), dims))
    xp.add.reduce(blocks, axis=tuple(range(0, 2 * len(dims), 2)), out=out)
    return out


TILE: OpDef = OpDef(
    "Tile",
    infer=_infer_tile,
    kernel=_tile_kernel,
    inputs=("input", "multiples"),
    linear=True,
    vjp=(
        lambda op, g: create(TILE_SUM, (g, op.inputs[1], shape_tensor(op.inputs[0]))),
        None,
    ),
    jvp=lambda op, t, _: create(TILE, (t, op.inputs[1])),
    writes_out=True,
    shape_math=True,
    flops=no_flops,
    batch=batch.with_size(1, 1),
    doc="x repeated multiples[k] times along axis k",
)
TILE_SUM: OpDef = OpDef(
    "TileGrad",
    infer=lambda inputs, attrs: ((inputs[0].dtype, known_dims(inputs[2])),),
    kernel=_tile_sum_kernel,
    inputs=("g", "multiples", "shape"),
    linear=True,
    vjp=(lambda op, gg: create(TILE, (gg, op.inputs[1])), None, None),
    jvp=lambda op, t, *_: create(TILE_SUM, (t, *op.inputs[1:])),
    writes_out=True,
    batch=batch.tile_sum,
    doc="the repetitions added up: the transpose of Tile",
)


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """``input`` repeated ``multiples[k]`` times along axis k.

    Args:
        input: any shape (rank n) and dtype.
        multiples: (n,) integers >= 0.
        name: the name of the operation.

    Raises:
        ShapeError: ``multiples`` has another length, or a negative entry.

    Gradient: the cotangent, summed over the repetitions.
    """
    x = as_tensor(input)
    return create(TILE, (x, integers(multiples, "tile: multiples")), None, name)


# -- repeat ---------------------------------------------------------------------


def _infer_repeat(inputs: Sequence[Any], attrs: Any) -> Any:
    repeats, n = inputs
    counts = repeats.value
    total = None
    if isinstance(counts, np.ndarray):
        if counts.ndim:
            total = int(counts.sum())
        elif isinstance(n.value, np.ndarray):
            total = int(counts) * int(n.value)
    return ((n.dtype, (total,)),)


def _repeat_kernel(xp: Any, repeats: Any, n: Any, out: Any = None) -> Any:
    if repeats.size not in (1, int(n)) or (repeats.size and repeats.min() < 0):
        raise InvalidArgumentError(
            f"repeat: {repeats.tolist()} for an axis of {int(n)}: one count >= 0 for "
            "each element, or one for all"
        )
    return xp.repeat(xp.arange(int(n), dtype=n.dtype), repeats)


REPEAT_INDICES: OpDef = OpDef(
    "RepeatIndices",
    infer=_infer_repeat,
    kernel=_repeat_kernel,
    inputs=("repeats", "n"),
    doc="0 .. n - 1, each as often as repeats says",
)


def repeat(
    input: Any, repeats: Any, axis: Any = None, name: str | None = None
) -> Tensor:
    """Each slice of ``input`` along ``axis``, ``repeats`` times over.

    Args:
        input: any shape and dtype.
        repeats: an integer >= 0, or one for each slice (may be a tensor).
        axis: an int; default: of the flattened input.
        name: the name of the operation.

    Raises:
        ShapeError: ``axis`` is out of range.
        InvalidArgumentError: another number of repeats, or a negative one.

    Gradient: the cotangents of the repetitions, added up.
    """
    x = as_tensor(input)
    with scope(name, "repeat", x):
        if axis is None:
            x, axis = reshape(x, [-1]), 0
        at = normal_axis(known_int(axis, "repeat: axis"), x.dims, "repeat: axis")
        n = None if x.dims is None else x.dims[at]
        size = getitem(shape(x), at) if n is None else constant(np.int32(n))
        counts = integers(repeats, "repeat: repeats")
        return gather(x, create(REPEAT_INDICES, (counts, size)), axis=at)


# -- reverse and roll ----------------------------------------------------------


def _infer_reverse(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    normal_axes(attrs["axis"], x.dims)
    return ((x.dtype, x.dims),)


def _same_op(op: Operation, t: Tensor) -> Tensor:
    return create(op.opdef, (t,), dict(op.attrs))


def _reverse_kernel(xp: Any, x: Any, *, axis: tuple[int, ...], out: Any = None) -> Any:
    return xp.flip(x, axis) if axis else x


def _bind_reverse(attrs: Any, inputs: Any, outputs: Any) -> Any:
    dims = inputs[0].dims
    axes = normal_axes(attrs["axis"], dims)
    back = slice(None, None, -1)
    key = (*(back if i in axes else slice(None) for i in range(len(dims))), ...)
    return lambda x, out=None: x[key]


REVERSE: OpDef = OpDef(
    "ReverseV2",
    infer=_infer_reverse,
    kernel=_reverse_kernel,
    inputs=("tensor",),
    linear=True,
    vjp=(_same_op,),
    jvp=_same_op,
    alias=0,
    bind=_bind_reverse,
    shape_math=True,
    flops=no_flops,
    batch=batch.along_axis,
    doc="x with some axes in reverse",
)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """``tensor`` with the given axes (an int or a list) in reverse order (a view).

    Raises:
        ShapeError: an axis is out of range or given twice.

    Gradient: the cotangent, reversed.
    """
    x = as_tensor(tensor)
    axes = normal_axes(known_ints(axis, "reverse: axis"), x.dims, "reverse: axis")
    return create(REVERSE, (x,), {"axis": axes}, name)


def _infer_roll(inputs: Sequence[Any], attrs: Any) -> Any:
    x, shift = inputs
    for a in attrs["axis"]:
        normal_axis(a, x.dims)
    if shift.dims not in (None, (), (None,), (len(attrs["axis"]),)):
        raise ShapeError(
            f"shift of shape {text(shift.dims)} for {len(attrs['axis'])} axes"
        )
    return ((x.dtype, x.dims),)


def _roll_kernel(
    xp: Any, x: Any, shift: Any, *, axis: tuple[int, ...], out: Any = None
) -> Any:
    by = shift.reshape(-1).tolist()
    if len(by) == 1:
        by = by * len(axis)
    if len(by) != len(axis):
        raise InvalidArgumentError(f"roll: {len(by)} shifts for axes {axis}")
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    if not x.size:
        return out
    total = dict.fromkeys(range(x.ndim), 0)
    for a, s in zip(axis, by):
        total[a % x.ndim] += s
    pairs = []
    for a, n in enumerate(x.shape):
        s = total[a] % n
        whole = [(slice(None), slice(None))]
        cut = [(slice(s, None), slice(n - s)), (slice(s), slice(n - s, None))]
        pairs.append(cut if s else whole)
    for parts in product(*pairs):
        out[(*(to for to, _ in parts), ...)] = x[(*(of for _, of in parts), ...)]
    return out


ROLL: OpDef = OpDef(
    "Roll",
    infer=_infer_roll,
    kernel=_roll_kernel,
    inputs=("input", "shift"),
    linear=True,
    vjp=(
        lambda op, g: create(ROLL, (g, TABLE["neg"](op.inputs[1])), dict(op.attrs)),
        None,
    ),
    jvp=lambda op, t, _: create(ROLL, (t, op.inputs[1]), dict(op.attrs)),
    writes_out=True,
    flops=no_flops,
    batch=batch.along_axis_of_first,
    doc="x shifted along axes, what leaves at one end comes in at the other",
)


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """y[i] = input[(i - shift) mod n] along each of the axes.

    Args:
        input: any shape and dtype.
        shift: an integer, or one for each axis (may be a tensor).
        axis: an int or a list; shifts of an axis given twice add up.
        name: the name of the operation.

    Raises:
        ShapeError: an axis out of range, or another number of shifts.

    Gradient: the cotangent, rolled back.
    """
    x = as_tensor(input)
    axes = known_ints(axis, "roll: axis")
    axes = tuple(normal_axis(a, x.dims, "roll: axis") for a in axes)
    return create(ROLL, (x, integers(shift, "roll: shift")), {"axis": axes}, name)
