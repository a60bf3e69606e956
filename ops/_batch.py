"""Batch rules by kind of op: how an op that is built for one row runs for many.

A rule takes the op (a ``RowOp``) and, for each input, its batched version (axis 0
counts the rows) or None where all rows share ``op.inputs[i]``.  Most ops are the
same op with an axis shifted, a size put in front, or the ranks of its operands
aligned.  NotImplemented sends the op to a loop over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.batched import RowOp, Shared
from ..graphlib.dtypes import int32
from ..graphlib.opdef import lookup
from ..graphlib.operators import TABLE
from ..graphlib.shapes import is_static
from ..graphlib.tensor import Tensor, known_dims
from ._build import constant, create, create_op, shape_tensor
from ._static import as_vector, sizes

__all__ = [
    "aligned",
    "along_axis",
    "elementwise",
    "leading",
    "like_first",
    "reduction",
    "repeat_rows",
    "row_shape",
    "scan",
    "whole",
]

# -- parts ---------------------------------------------------------------------


def make(type: str, *inputs: Tensor, **attrs: Any) -> Tensor:
    """One node of the op of that type."""
    return create(lookup(type), inputs, attrs)


def again(op: RowOp, inputs: Sequence[Any], **changed: Any) -> list[Tensor]:
    """The same op on other inputs, with some attributes changed."""
    return list(create_op(op.opdef, inputs, {**op.attrs, **changed}).outputs)


def rows_of(*batched: Tensor | None) -> Any:
    """The number of rows: an int where it is known, else a scalar tensor."""
    given = [b for b in batched if b is not None]
    for b in given:
        if b.dims and b.dims[0] is not None:
            return b.dims[0]
    return TABLE["getitem"](make_shape(given[0]), 0)


def make_shape(t: Tensor) -> Tensor:
    """The sizes of ``t`` as an int32 vector."""
    return shape_tensor(t)


def row_rank(t: Tensor, b: Tensor | None) -> int | None:
    """The rank of one row of an input, where it is known."""
    if t.dims is not None:
        return len(t.dims)
    return None if b is None or b.dims is None else len(b.dims) - 1


def tail(b: Tensor) -> Tensor:
    """The shape of one row of a batched tensor, as a vector."""
    if b.dims is not None and is_static(b.dims[1:]):
        return constant(np.array(b.dims[1:], np.int32), graph=b.graph)
    shape: Tensor = TABLE["getitem"](make_shape(b), slice(1, None))
    return shape


def prefixed(n: Any, vector: Tensor) -> Tensor:
    """``vector`` with ``n`` in front."""
    if isinstance(n, int):
        first = constant(np.array([n]), vector.dtype, graph=vector.graph)
    else:
        first = TABLE["cast"](TABLE["stack"]([n]), vector.dtype)
    if isinstance(vector.value, np.ndarray) and isinstance(n, int):
        joined = np.concatenate([[n], vector.value]).astype(vector.value.dtype)
        return constant(joined, graph=vector.graph)
    both: Tensor = TABLE["concat"]([first, vector], 0)
    return both


def reshaped(x: Tensor, parts: Sequence[Any]) -> Tensor:
    """``x`` with these sizes (ints, or scalar tensors, or one -1)."""
    return make("Reshape", x, as_vector(parts, x.graph))


def moved(x: Tensor, source: int, target: int) -> Tensor:
    """``x`` with one axis moved; its rank must be known."""
    assert x.dims is not None
    perm = list(range(len(x.dims)))
    perm.insert(target, perm.pop(source))
    if perm == sorted(perm):
        return x
    return make("Transpose", x, perm=tuple(perm))


def repeated(t: Tensor, n: Any) -> Tensor:
    """What all rows share, as a batch of ``n`` rows (a view)."""
    return make("BroadcastTo", t, prefixed(n, make_shape(t)))


def repeat_rows(t: Tensor, like: Tensor) -> Tensor:
    """``t`` as often as ``like`` has rows (a view)."""
    return repeated(t, rows_of(like))


def whole(op: RowOp, batched: Sequence[Tensor | None]) -> list[Tensor]:
    """All inputs as batches."""
    n = rows_of(*batched)
    return [repeated(t, n) if b is None else b for t, b in zip(op.inputs, batched)]


def widened(b: Tensor, rank: int, top: int) -> Tensor:
    """A batch of rows of ``rank`` with axes of size 1 before each, up to ``top``."""
    if rank == top:
        return b
    if b.dims is None:
        b.set_shape((None,) * (rank + 1))
    n, *rest = sizes(b)
    return reshaped(b, [n, *[1] * (top - rank), *rest])


def _widened_by(b: Tensor, pad: Tensor) -> Tensor:
    """The same where only the run knows the ranks."""
    shape = make("Shape", b, out_type=pad.dtype)
    parts = [
        TABLE["getitem"](shape, slice(0, 1)),
        TABLE["fill"](TABLE["stack"]([pad]), 1),
        TABLE["getitem"](shape, slice(1, None)),
    ]
    return make("Reshape", b, TABLE["concat"](parts, 0))


def lined_up(op: RowOp, batched: Sequence[Tensor | None]) -> list[Tensor]:
    """Inputs that broadcast against each other as those of one row do."""
    ranks = [row_rank(t, b) for t, b in zip(op.inputs, batched)]
    known = [r for r in ranks if r is not None]
    others = [r for r, b in zip(ranks, batched) if b is None]
    if len(ranks) == 1 or (
        sum(b is not None for b in batched) == 1
        and not any(others)
        and None not in others
    ):
        # Nothing, or scalars only, to line up with.
        return [t if b is None else b for t, b in zip(op.inputs, batched)]
    if len(known) == len(ranks):
        top = max(known)
        return [
            t if b is None else widened(b, r or 0, top)
            for t, b, r in zip(op.inputs, batched, ranks)
        ]
    dynamic = [
        make("Rank", t) if b is None else TABLE["sub"](make("Rank", b), 1)
        for t, b in zip(op.inputs, batched)
    ]
    most = dynamic[0]
    for r in dynamic[1:]:
        most = make("Maximum", most, r)
    return [
        t if b is None else _widened_by(b, TABLE["sub"](most, r))
        for t, b, r in zip(op.inputs, batched, dynamic)
    ]


# -- kinds ---------------------------------------------------------------------


def elementwise(op: RowOp, *batched: Tensor | None) -> Any:
    """Element by element, with broadcasting: line up the ranks."""
    return again(op, lined_up(op, batched))


#: Ops on the last axes that broadcast over the others.
aligned = elementwise


def leading(op: RowOp, *batched: Tensor | None) -> Any:
    """An op that takes any leading axes, the same of all inputs."""
    return again(op, whole(op, batched))


def like_first(op: RowOp, *batched: Tensor | None) -> Any:
    """An op on any leading axes of input 0; what all rows share follows."""
    if batched[0] is None or any(b is not None for b in batched[1:]):
        return NotImplemented
    return again(op, (batched[0], *op.inputs[1:]))


def same(op: RowOp, x: Tensor) -> Any:
    """Identity."""
    return x


def added(op: RowOp, *batched: Tensor | None) -> Any:
    """AddN: the sum of what rows share, added to the sum of what they do not."""
    mine = [b for b in batched if b is not None]
    shared = [t for t, b in zip(op.inputs, batched) if b is None]
    total = again(op, mine)[0] if len(mine) > 1 else mine[0]
    if shared:
        rest = again(op, shared)[0] if len(shared) > 1 else shared[0]
        total = TABLE["add"](total, rest)
    return total


def chosen(op: RowOp, c: Any, x: Any, y: Any) -> Any:
    """Select: a vector condition chooses rows, so it becomes a column."""
    ranks = [row_rank(t, b) for t, b in zip(op.inputs, (c, x, y))]
    if None in ranks:
        return NotImplemented
    top = max(r or 0 for r in ranks[1:])
    condition = op.inputs[0] if c is None else c
    if ranks[0] == 1 and top > 1:
        ones = [1] * (top - 1)
        condition = reshaped(condition, [*sizes(condition), *ones])
        ranks[0] = top
    most = max(r or 0 for r in ranks)
    given = (condition, *(t if b is None else b for t, b in zip(op.inputs[1:], (x, y))))
    operands = [
        t if b is None else widened(t, r or 0, most)
        for t, b, r in zip(given, (c, x, y), ranks)
    ]
    return make("SelectV2", *operands)


# -- axes ----------------------------------------------------------------------


def shifted(axis: Any) -> Any:
    """An axis (or several) of a row, as an axis of the batch."""
    if isinstance(axis, int):
        return axis + 1 if axis >= 0 else axis
    return tuple(a + 1 if a >= 0 else a for a in axis)


def along_axis(op: RowOp, *batched: Tensor | None) -> Any:
    """An op with an attribute ``axis``, all inputs being alike in rank."""
    return again(op, whole(op, batched), axis=shifted(op.attrs["axis"]))


def along_axis_of_first(op: RowOp, *batched: Tensor | None) -> Any:
    """The same where the other inputs are parameters that all rows share."""
    if batched[0] is None or any(b is not None for b in batched[1:]):
        return NotImplemented
    operands = (batched[0], *op.inputs[1:])
    return again(op, operands, axis=shifted(op.attrs["axis"]))


def _row_axes(op: RowOp, batched: Sequence[Tensor | None]) -> Any:
    """The axes that a reduction takes of a batch; None where that is not known."""
    axis = op.attrs["axis"]
    if axis is not None:
        return shifted(axis)
    rank = row_rank(op.inputs[0], batched[0])
    return None if rank is None else tuple(range(1, rank + 1))


def reduction(op: RowOp, *batched: Tensor | None) -> Any:
    """A reduction: over the same axes of each row, or over all but the first."""
    axes = _row_axes(op, batched)
    operands = whole(op, batched)
    if axes is None:
        if op.attrs["keepdims"] or len(operands) > 1:
            return NotImplemented
        operands, axes = [_flat(operands[0])], (1,)
    return again(op, operands, axis=axes)


def _flat(b: Tensor) -> Tensor:
    """Each row as a vector."""
    if b.dims is not None and is_static(b.dims[1:]):
        n: Any = int(np.prod([d or 0 for d in b.dims[1:]], dtype=np.int64))
    else:
        n = make("Prod", tail(b), axis=None, keepdims=False)
    return reshaped(b, [rows_of(b), n])


def scan(op: RowOp, *batched: Tensor | None) -> Any:
    """A scan: along the same axis of each row, or over all elements of each."""
    operands = whole(op, batched)
    if op.attrs["axis"] is not None:
        return again(op, operands, axis=shifted(op.attrs["axis"]))
    (flat,) = again(op, [_flat(b) for b in operands], axis=1)
    return make("Reshape", flat, make_shape(operands[0]))


def spread(op: RowOp, y: Tensor | None, shape: Tensor | None) -> Any:
    """The transpose of a sum: the axes of each row, a batch of that shape."""
    if y is None or shape is not None:
        return NotImplemented
    dims = op.outputs[0].dims if op.outputs[0].dims else known_dims(op.inputs[1])
    axis = op.attrs["axis"]
    if axis is None:
        if dims is None:
            return NotImplemented
        axis = tuple(range(len(dims)))
    elif dims is not None:
        axis = tuple(a % len(dims) for a in axis)
    sizes_ = prefixed(rows_of(y), op.inputs[1])
    return again(op, (y, sizes_), axis=shifted(axis))


def squared_half(op: RowOp, x: Tensor) -> Any:
    """L2Loss."""
    flat = make("Square", _flat(x))
    return TABLE["mul"](make("Sum", flat, axis=(1,), keepdims=False), 0.5)


# -- what only the shape tells -----------------------------------------------------


def row_shape(op: RowOp, x: Tensor) -> Any:
    """Shape: that of one row, for all rows."""
    return Shared(TABLE["cast"](tail(x), op.attrs["out_type"]))


def row_size(op: RowOp, x: Tensor) -> Any:
    """Size: the product of a row's sizes."""
    n = make("Prod", tail(x), axis=None, keepdims=False)
    return Shared(TABLE["cast"](n, op.attrs["out_type"]))


def row_rank_rule(op: RowOp, x: Tensor) -> Any:
    """Rank: one less than that of the batch."""
    return Shared(TABLE["sub"](make("Rank", x), 1))


def reduced_size(op: RowOp, x: Tensor) -> Any:
    """ReducedSize: over the same axes of one row."""
    axes = _row_axes(op, [x])
    if axes is None:
        n = make("Prod", tail(x), axis=None, keepdims=False)
        return Shared(TABLE["cast"](n, op.attrs["dtype"]))
    return Shared(again(op, (x,), axis=axes)[0])


# -- shapes --------------------------------------------------------------------


def _target(op: RowOp, at: int, like: Tensor) -> Tensor:
    """The shape of the batched result, where input ``at`` is that of a row."""
    dims = op.outputs[0].dims
    n = rows_of(like)
    if is_static(dims) and isinstance(n, int):
        return constant(np.array((n, *(dims or ())), np.int32), graph=like.graph)
    return prefixed(n, op.inputs[at])


def reshape(op: RowOp, x: Tensor | None, shape: Tensor | None) -> Any:
    """Reshape: the rows stay apart."""
    if x is None or shape is not None:
        return NotImplemented
    return make("Reshape", x, _closed(_target(op, 1, x), x))


def _closed(target: Tensor, x: Tensor) -> Tensor:
    """A shape without its -1: what it stands for cannot be told beside no rows."""
    value, n = target.value, rows_of(x)
    if isinstance(n, int) and n:
        return target
    known = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(known, (list, tuple)) or -1 not in known[1:]:
        return target
    others = [d for d in known[1:] if d != -1]
    if None in others or 0 in others:
        return target
    total = make("Prod", tail(x), axis=None, keepdims=False)
    rest = TABLE["floordiv"](total, int(np.prod(others)))
    return as_vector([n, *(rest if d == -1 else d for d in known[1:])], x.graph)


def broadcast_to(op: RowOp, x: Tensor | None, shape: Tensor | None) -> Any:
    """BroadcastTo: new axes go between the batch axis and the row's."""
    if x is None or shape is not None:
        return NotImplemented
    rank, dims = row_rank(op.inputs[0], x), known_dims(op.inputs[1])
    if dims is None and op.outputs[0].dims is not None:
        dims = op.outputs[0].dims
    if rank is not None and dims is not None:
        x = widened(x, rank, len(dims))
    elif rank != 0 or dims is None:
        top = make("Size", op.inputs[1], out_type=int32)
        mine = TABLE["sub"](make("Rank", x), 1)
        x = _widened_by(x, TABLE["sub"](top, mine))
    return again(op, (x, _target(op, 1, x)))


def sum_to(op: RowOp, x: Tensor | None, shape: Tensor | None) -> Any:
    """SumTo: sum to (n, 1, ..., 1) + shape, then drop the ones."""
    if x is None or shape is not None:
        return NotImplemented
    rank, dims = row_rank(op.inputs[0], x), known_dims(op.inputs[1])
    target = _target(op, 1, x)
    if rank is not None and dims is not None:
        extra = rank - len(dims)
        if not extra:
            return again(op, (x, target))
        ones = constant(np.ones(extra, np.int32), graph=x.graph)
    else:
        have = make("Size", op.inputs[1], out_type=int32)
        mine = TABLE["sub"](make("Rank", x), 1)
        ones = TABLE["fill"](TABLE["stack"]([TABLE["sub"](mine, have)]), 1)
    ones = TABLE["cast"](ones, op.inputs[1].dtype)
    inner = TABLE["concat"]([ones, op.inputs[1]], 0)
    summed = again(op, (x, prefixed(rows_of(x), inner)))[0]
    return make("Reshape", summed, target)


def squeeze(op: RowOp, x: Tensor) -> Any:
    """Squeeze: never the batch axis."""
    axis = op.attrs["axis"]
    if axis is None:
        dims = op.inputs[0].dims
        if not is_static(dims):
            wide = make("NotEqual", tail(x), constant(np.int32(1), graph=x.graph))
            kept = make("MaskIndices", wide, axis=0)
            row = make("GatherV2", tail(x), kept, axis=0, batch_dims=0)
            return make("Reshape", x, prefixed(rows_of(x), row))
        axis = tuple(i for i, d in enumerate(dims or ()) if d == 1)
    return again(op, (x,), axis=shifted(axis)) if axis else x


def transpose(op: RowOp, x: Tensor) -> Any:
    """Transpose: the batch axis stays first."""
    perm = op.attrs["perm"]
    if perm is None:
        rank = row_rank(op.inputs[0], x)
        if rank is None:
            return NotImplemented
        perm = tuple(reversed(range(rank)))
    return again(op, (x,), perm=(0, *(p + 1 for p in perm)))


def transpose_by(op: RowOp, x: Tensor | None, perm: Tensor | None) -> Any:
    """TransposeBy: the batch axis stays first."""
    if x is None or perm is not None:
        return NotImplemented
    return again(op, (x, prefixed(0, TABLE["add"](op.inputs[1], 1))))


def with_size(at: int, first: int) -> Any:
    """The rule of an op whose input ``at`` tells one number per axis.

    Args:
        at: the input.
        first: the number for the batch axis; -1: the number of rows.
    """

    def rule(op: RowOp, *batched: Tensor | None) -> Any:
        if any(b is not None for b in batched[1:]) or batched[0] is None:
            return NotImplemented
        x, operands = batched[0], [batched[0], *op.inputs[1:]]
        n = rows_of(x) if first == -1 else first
        operands[at] = prefixed(n, op.inputs[at])
        return again(op, operands)

    return rule


def tile_sum(op: RowOp, g: Tensor | None, *shared: Tensor | None) -> Any:
    """TileGrad: one repetition of the batch axis."""
    if g is None or any(s is not None for s in shared):
        return NotImplemented
    times, shape = prefixed(1, op.inputs[1]), prefixed(rows_of(g), op.inputs[2])
    return again(op, (g, times, shape))


def padded(op: RowOp, x: Tensor | None, *shared: Tensor | None) -> Any:
    """Pad and kin: no padding of the batch axis."""
    if shared[0] is not None:
        return NotImplemented
    if any(s is not None for s in shared):
        return _padded_apart(op, x, shared[1])
    assert x is not None
    none = constant(np.zeros((1, 2)), op.inputs[1].dtype, graph=x.graph)
    paddings = TABLE["concat"]([none, op.inputs[1]], 0)
    return again(op, (x, paddings, *op.inputs[2:]))


def _padded_apart(op: RowOp, x: Tensor | None, value: Any) -> Any:
    """Pad, each row with a value of its own: put it wherever the padding is."""
    row = op.inputs[0]
    one, none = (constant(b, graph=row.graph) for b in (True, False))
    inside = make("Fill", tail(x) if x is not None else make_shape(row), none)
    border = create(lookup("Pad"), (inside, op.inputs[1], one), dict(op.attrs))
    zero = constant(0, row.dtype, graph=row.graph)
    if x is None:
        y = again(op, (row, op.inputs[1], zero))[0]
    else:
        y = padded(RowOp(op.op, (row, op.inputs[1], zero)), x, None, None)[0]
    rank = row_rank(row, x)
    if rank is None:
        return NotImplemented
    return make("SelectV2", border, widened(value, 0, rank), y)


def filled(op: RowOp, dims: Tensor | None, value: Tensor | None) -> Any:
    """Fill: each row with its own value."""
    if value is None or dims is not None:
        return NotImplemented
    known = known_dims(op.inputs[0])
    if known is None:
        count = make("Size", op.inputs[0], out_type=int32)
        column = _widened_by(value, count)
    else:
        column = widened(value, 0, len(known))
    return make("BroadcastTo", column, prefixed(rows_of(value), op.inputs[0]))


def lin_space(op: RowOp, start: Any, stop: Any, num: Any) -> Any:
    """LinSpace: start (1 - t) + stop t, with t from 0 to 1."""
    if num is not None:
        return NotImplemented
    dtype = op.outputs[0].dtype
    ends = [constant(v, dtype, graph=op.graph) for v in (0.0, 1.0)]
    t = again(op, (*ends, op.inputs[2]))[0]
    a, b = (x if x is None else TABLE["cast"](x, dtype)[:, None] for x in (start, stop))
    a = op.inputs[0] if a is None else a
    b = op.inputs[1] if b is None else b
    mul, sub, add = TABLE["mul"], TABLE["sub"], TABLE["add"]
    return add(mul(a, sub(1.0, t)), mul(b, t))


# -- joining, cutting, repeating -------------------------------------------------


def split(op: RowOp, x: Tensor | None, lengths: Tensor | None = None) -> Any:
    """Split, SplitV, Unpack: along an axis one further."""
    if x is None or lengths is not None:
        return NotImplemented
    return again(op, (x, *op.inputs[1:]), axis=shifted(op.attrs["axis"]))


OPERATORS = {"repeat_rows": repeat_rows}
