"""Records of shapes, joins, borders and blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import array as a
from dagrad.ops.core import shape

X = Arg((2, 3, 4))
M = Arg((3, 4))
FLOATS = ("float32", "float64", "complex128")
EVERY = ("int32", "bool", *FLOATS)


def tensor(value: Any) -> Arg:
    """An integer input with this value."""
    array = np.array(value)
    return Arg(
        array.shape,
        dtype="int32",
        sample=lambda rng, s, d: array.astype(d),
        differentiable=False,
    )


def mirror(mode: str) -> Any:
    return lambda x, p: np.pad(x, p, mode)


def to_depth(x: Any, b: int) -> Any:
    n, h, w, c = x.shape
    y = x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h // b, w // b, b * b * c)


def to_space(x: Any, b: int) -> Any:
    n, h, w, c = x.shape
    y = x.reshape(n, h, w, b, b, c // b**2).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h * b, w * b, c // b**2)


def channels_first(f: Any) -> Any:
    return lambda x, b: f(x.transpose(0, 2, 3, 1), b).transpose(0, 3, 1, 2)


def to_batch(x: Any, blocks: Any, pads: Any) -> Any:
    """By the definition: entry (i, j) of each block makes one batch."""
    m = len(blocks)
    x = np.pad(x, [(0, 0), *pads, *[(0, 0)] * (x.ndim - m - 1)])
    parts = [
        x[(slice(None), *(slice(o, None, b) for o, b in zip(at, blocks)))]
        for at in np.ndindex(*blocks)
    ]
    return np.concatenate(parts, 0)


def from_batch(y: Any, blocks: Any, crops: Any) -> Any:
    m, count = len(blocks), int(np.prod(blocks))
    wide = [s * b for s, b in zip(y.shape[1:], blocks)]
    x = np.zeros((y.shape[0] // count, *wide, *y.shape[m + 1 :]), y.dtype)
    for part, at in zip(np.split(y, count), np.ndindex(*blocks)):
        x[(slice(None), *(slice(o, None, b) for o, b in zip(at, blocks)))] = part
    keep = tuple(slice(c, n - d) for n, (c, d) in zip(wide, crops))
    return x[(slice(None), *keep)]


RECORDS = [
    # Views.
    Record(
        ("Reshape",),
        lambda x: a.reshape(x, [4, 6]),
        (X,),
        lambda x: x.reshape(4, 6),
        dtypes=EVERY,
    ),
    Record(
        ("Reshape",),
        lambda x: a.reshape(x, [-1, 4]),
        (X,),
        lambda x: x.reshape(-1, 4),
        name="open",
    ),
    Record(
        ("Reshape",),
        a.reshape,
        (X, tensor([3, -1])),
        lambda x, s: x.reshape(s),
        name="tensor",
        exact=False,
    ),
    Record(
        ("Reshape",),
        lambda x: a.reshape(x, [shape(x)[0], 12]),
        (X,),
        lambda x: x.reshape(2, 12),
        name="sizes",
    ),
    Record(
        ("Reshape",),
        lambda x: a.reshape(a.transpose(x), [-1]),
        (M,),
        lambda x: x.T.reshape(-1),
        name="turned",
    ),
    Record(
        ("ExpandDims",),
        lambda x: a.expand_dims(x, -2),
        (M,),
        lambda x: x[:, None],
        dtypes=EVERY,
    ),
    Record(
        ("Squeeze",),
        lambda x: a.squeeze(x, [1, -1]),
        (Arg((3, 1, 2, 1)),),
        lambda x: x[:, 0, :, 0],
        dtypes=EVERY,
    ),
    Record(("Squeeze",), a.squeeze, (Arg((3, 1, 2, 1)),), np.squeeze, name="all"),
    Record(("Transpose",), a.transpose, (X,), np.transpose, dtypes=EVERY),
    Record(
        ("Transpose",),
        lambda x: a.transpose(x, [2, 0, 1]),
        (X,),
        lambda x: x.transpose(2, 0, 1),
        name="perm",
    ),
    Record(
        ("Transpose", "Conj"),
        lambda x: a.transpose(x, conjugate=True),
        (M,),
        lambda x: x.conj().T,
        name="conjugate",
        dtypes=("complex128",),
    ),
    Record(
        ("TransposeBy", "InvertPermutation"),
        a.transpose,
        (X, tensor([1, 2, 0])),
        lambda x, p: x.transpose(p),
        exact=False,
    ),
    # Joins.
    Record(
        ("ConcatV2",),
        lambda x, y: a.concat([x, y, x], 1),
        (M, Arg((3, 2))),
        lambda x, y: np.concatenate([x, y, x], 1),
        dtypes=EVERY,
    ),
    Record(
        ("ConcatV2",),
        lambda x, y: a.concat([x, y], -2),
        (M, Arg((1, 4))),
        lambda x, y: np.concatenate([x, y]),
        name="negative",
    ),
    Record(
        ("Pack",),
        lambda x, y: a.stack([x, y, x]),
        (M, M),
        lambda x, y: np.stack([x, y, x]),
        dtypes=EVERY,
    ),
    Record(
        ("Pack",),
        lambda x, y: a.stack([x, y], -1),
        (M, M),
        lambda x, y: np.stack([x, y], -1),
        name="last",
    ),
    Record(
        ("Pack",),
        lambda x, y: a.stack([x, y, 2.0]),
        (Arg(()), Arg(())),
        lambda x, y: np.stack([x, y, x.dtype.type(2)]),
        name="scalars",
    ),
    Record(
        ("Unpack",),
        lambda x: a.unstack(x, 2),
        (X,),
        lambda x: [x[0], x[1]],
        dtypes=EVERY,
    ),
    Record(
        ("Unpack",),
        lambda x: a.unstack(x, 4, -1)[1:3],
        (M,),
        lambda x: [x[:, 1], x[:, 2]],
        name="some",
    ),
    Record(
        ("Split",),
        lambda x: a.split(x, 2, 1),
        (M,),
        lambda x: np.split(x, 2, 1),
        dtypes=EVERY,
    ),
    Record(
        ("Split",),
        lambda x: a.split(x, [1, -1], -1)[1],
        (M,),
        lambda x: x[:, 1:],
        name="sizes",
    ),
    Record(
        ("SplitV",),
        lambda x, n: a.split(x, n, 1, num=2),
        (M, tensor([3, 1])),
        lambda x, n: [x[:, :3], x[:, 3:]],
        exact=False,
    ),
    # Repeats and borders.
    Record(
        ("Tile", "TileGrad"),
        lambda x: a.tile(x, [2, 3]),
        (M,),
        lambda x: np.tile(x, (2, 3)),
        dtypes=EVERY,
    ),
    Record(("Tile",), a.tile, (M, tensor([1, 2])), np.tile, name="tensor", exact=False),
    Record(
        ("Pad",),
        lambda x: a.pad(x, [[1, 2], [0, 3]]),
        (M,),
        lambda x: np.pad(x, [[1, 2], [0, 3]]),
        dtypes=EVERY,
    ),
    Record(
        ("Pad",),
        lambda x: a.pad(x, [[1, 0], [2, 1]], constant_values=3),
        (M,),
        lambda x: np.pad(x, [[1, 0], [2, 1]], constant_values=3),
        name="constant",
    ),
    Record(
        ("Pad",),
        lambda x, p, c: a.pad(x, p, constant_values=c),
        (M, tensor([[1, 0], [2, 1]]), Arg(())),
        lambda x, p, c: np.pad(x, p, constant_values=c),
        name="tensors",
        exact=False,
    ),
    Record(
        ("MirrorPad", "MirrorPadGrad"),
        lambda x: a.pad(x, [[2, 1], [3, 2]], "reflect"),
        (M,),
        lambda x: np.pad(x, [[2, 1], [3, 2]], "reflect"),
        dtypes=EVERY,
    ),
    Record(
        ("MirrorPad", "MirrorPadGrad"),
        lambda x, p: a.pad(x, p, "SYMMETRIC"),
        (M, tensor([[3, 1], [4, 2]])),
        mirror("symmetric"),
        name="symmetric",
        exact=False,
    ),
    Record(
        ("MirrorPad",),
        lambda x, p: a.pad(x, p, "REFLECT"),
        (M, tensor([[0, 2], [1, 0]])),
        mirror("reflect"),
        name="one side",
        exact=False,
    ),
    Record(
        ("ReverseV2",),
        lambda x: a.reverse(x, [0, -1]),
        (X,),
        lambda x: np.flip(x, (0, 2)),
        dtypes=EVERY,
    ),
    Record(
        ("Roll",),
        lambda x: a.roll(x, [1, -2], [0, 1]),
        (M,),
        lambda x: np.roll(x, (1, -2), (0, 1)),
        dtypes=EVERY,
    ),
    Record(
        ("Roll",),
        lambda x, s: a.roll(x, s, -1),
        (X, tensor(9)),
        lambda x, s: np.roll(x, 9, -1),
        name="tensor",
    ),
    Record(
        ("RepeatIndices",),
        lambda x: a.repeat(x, 3, 1),
        (M,),
        lambda x: np.repeat(x, 3, 1),
        dtypes=EVERY,
    ),
    Record(
        ("RepeatIndices",),
        a.repeat,
        (Arg((3,)), tensor([2, 0, 1])),
        np.repeat,
        name="each",
        exact=False,
    ),
    # Blocks.
    Record(
        ("Reshape",),
        lambda x: a.space_to_depth(x, 2),
        (Arg((2, 4, 6, 3)),),
        lambda x: to_depth(x, 2),
        name="space_to_depth",
    ),
    Record(
        ("Reshape",),
        lambda x: a.space_to_depth(x, 2, data_format="NCHW"),
        (Arg((2, 3, 4, 6)),),
        lambda x: channels_first(to_depth)(x, 2),
        name="space_to_depth NCHW",
    ),
    Record(
        ("Reshape",),
        lambda x: a.depth_to_space(x, 2),
        (Arg((2, 2, 3, 8)),),
        lambda x: to_space(x, 2),
        name="depth_to_space",
    ),
    Record(
        ("Reshape",),
        lambda x: a.depth_to_space(x, 2, data_format="NCHW"),
        (Arg((2, 8, 2, 3)),),
        lambda x: channels_first(to_space)(x, 2),
        name="depth_to_space NCHW",
    ),
    Record(
        ("Reshape",),
        lambda x: a.space_to_batch_nd(x, [2, 3], [[1, 1], [0, 2]]),
        (Arg((2, 2, 4, 2)),),
        lambda x: to_batch(x, [2, 3], [[1, 1], [0, 2]]),
        name="space_to_batch_nd",
    ),
    Record(
        ("Reshape",),
        lambda x: a.space_to_batch(x, [[0, 0], [1, 1]], 2),
        (Arg((1, 4, 2, 3)),),
        lambda x: to_batch(x, [2, 2], [[0, 0], [1, 1]]),
        name="space_to_batch",
    ),
    Record(
        ("Reshape",),
        lambda x: a.batch_to_space_nd(x, [2, 3], [[1, 0], [0, 2]]),
        (Arg((12, 2, 2, 2)),),
        lambda x: from_batch(x, [2, 3], [[1, 0], [0, 2]]),
        name="batch_to_space_nd",
    ),
    Record(
        ("Reshape",),
        lambda x: a.batch_to_space(x, [[0, 0], [1, 1]], 2),
        (Arg((4, 2, 2, 3)),),
        lambda x: from_batch(x, [2, 2], [[0, 0], [1, 1]]),
        name="batch_to_space",
    ),
]
