"""Batch rules of gathers, scatters, slices, segments, searches and draws."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.batched import RowOp, Shared
from ..graphlib.operators import TABLE
from ..graphlib.tensor import Tensor, known_dims
from ._batch import (
    _flat,
    again,
    make,
    make_shape,
    moved,
    prefixed,
    repeated,
    reshaped,
    row_rank,
    rows_of,
    shifted,
    whole,
)
from ._build import constant
from ._static import as_vector, sizes

__all__ = ["gather", "gather_grad", "scatter_rows"]


def _numbers(n: Any, like: Tensor) -> Tensor:
    """0, 1, ... n - 1 of the dtype of ``like``."""
    if isinstance(n, int):
        return constant(np.arange(n), like.dtype, graph=like.graph)
    count = TABLE["cast"](n, like.dtype)
    zero, one = (constant(v, like.dtype, graph=like.graph) for v in (0, 1))
    return make("Range", zero, count, one)


def _row_numbers(b: Tensor) -> Tensor:
    """The number of each row, shaped to broadcast against a batch ``b``."""
    assert b.dims is not None
    n = rows_of(b)
    return reshaped(_numbers(n, b), [n, *[1] * (len(b.dims) - 1)])


# -- slices --------------------------------------------------------------------

_ALL = (None, None, None)


def strided(op: RowOp, x: Tensor | None, *bounds: Tensor | None) -> Any:
    """StridedSlice: all rows, the key for each; a row's own index is a gather."""
    spec = op.attrs["spec"]
    if x is not None and all(b is None for b in bounds):
        return again(op, (x, *op.inputs[1:]), spec=(_ALL, *spec))
    rank = row_rank(op.inputs[0], x)
    plan = _without(spec, bounds)
    if plan is None or rank is None:
        return NotImplemented
    rest, shared = plan
    source = repeated(op.inputs[0], rows_of(*bounds)) if x is None else x
    read = [op.inputs[1 + i] for i in shared]
    y = again(op, (source, *read), spec=(_ALL, *rest))[0]
    for axis, at in reversed(_own_axes(spec, bounds, rank)):
        index = _counted(bounds[at], sizes(y)[axis])
        y = make("GatherV2", y, index, axis=axis, batch_dims=1)
    return y


def _without(spec: Any, bounds: Sequence[Tensor | None]) -> Any:
    """The key with all elements where it has a row's own index, and what it reads.

    None where a bound of a slice differs from row to row.
    """
    shared = [i for i, b in enumerate(bounds) if b is None]
    number = {f"@{i}": f"@{k}" for k, i in enumerate(shared)}
    rest: list[Any] = []
    for e in spec:
        if isinstance(e, tuple):
            parts = tuple(number.get(p) if isinstance(p, str) else p for p in e)
            if any(p is None and q is not None for p, q in zip(parts, e)):
                return None
            rest.append(parts)
        elif isinstance(e, str) and e[0] == "@":
            rest.append(number.get(e, _ALL))
        else:
            rest.append(e)
    return tuple(rest), shared


def _own_axes(
    spec: Any, bounds: Sequence[Tensor | None], rank: int
) -> list[tuple[int, int]]:
    """(axis of the batch that is left by :func:`_without`, bound) for each index."""
    used = sum(e not in ("new", "...") for e in spec)
    found = []
    axis = 1
    for e in spec:
        if e == "...":
            axis += rank - used
        elif e == "new" or isinstance(e, tuple):
            axis += 1
        elif isinstance(e, str) and bounds[int(e[1:])] is not None:
            found.append((axis, int(e[1:])))
            axis += 1
    return found


def _counted(index: Tensor | None, n: Any) -> Tensor:
    """Indices counted from the front."""
    assert index is not None
    count = TABLE["cast"](n, index.dtype) if isinstance(n, Tensor) else n
    behind = TABLE["add"](index, count)
    return make("SelectV2", TABLE["less"](index, 0), behind, index)


def strided_grad(
    op: RowOp, g: Tensor | None, shape: Tensor | None, *bounds: Tensor | None
) -> Any:
    """StridedSliceGrad: its transpose."""
    if shape is not None:
        return NotImplemented
    spec = op.attrs["spec"]
    n = rows_of(g, *bounds)
    full = prefixed(n, op.inputs[1])
    if g is not None and all(b is None for b in bounds):
        operands = (g, full, *op.inputs[2:])
        return again(op, operands, spec=(_ALL, *spec))
    from .slicing import sliced_dims

    dims = known_dims(op.inputs[1])
    plan = _without(spec, bounds)
    if plan is None or dims is None:
        return NotImplemented
    rest, shared = plan
    read = [op.inputs[2 + i] for i in shared]
    inner = sliced_dims(dims, rest, read)
    if inner is None or None in inner:
        return NotImplemented
    y = repeated(op.inputs[0], n) if g is None else g
    own = _own_axes(spec, bounds, len(dims))
    wide = [n, *inner]
    for k, (axis, at) in enumerate(own):
        later = {a for a, _ in own[k + 1 :]}
        target = as_vector([d for i, d in enumerate(wide) if i not in later], y.graph)
        index = _counted(bounds[at], wide[axis])
        y = make("GatherGrad", y, index, target, axis=axis, batch_dims=1)
    return again(op, (y, full, *read), spec=(_ALL, *rest))


def sliced(op: RowOp, x: Tensor | None, *shared: Tensor | None) -> Any:
    """Slice: begin at row 0, all rows."""
    if x is None or any(s is not None for s in shared):
        return NotImplemented
    lengths = prefixed(rows_of(x), op.inputs[2])
    return again(op, (x, prefixed(0, op.inputs[1]), lengths))


def slice_grad(op: RowOp, g: Tensor | None, *shared: Tensor | None) -> Any:
    """SliceGrad: its transpose."""
    if g is None or any(s is not None for s in shared):
        return NotImplemented
    begin, shape = prefixed(0, op.inputs[1]), prefixed(rows_of(g), op.inputs[2])
    return again(op, (g, begin, shape))


# -- gather and its transpose ----------------------------------------------------


def gather(op: RowOp, params: Tensor | None, indices: Tensor | None) -> Any:
    """GatherV2: by shared indices along the axis; else the rows are a batch axis."""
    axis, batch = op.attrs["axis"], op.attrs["batch_dims"]
    if params is not None and indices is None and batch == 0:
        return again(op, (params, op.inputs[1]), axis=shifted(axis))
    if params is None and batch == 0:
        y = again(op, (op.inputs[0], indices))[0]
        dims = op.inputs[0].dims
        if axis < 0 and dims is not None:
            axis += len(dims)
        if axis == 0:
            return y
        if axis < 0 or y.dims is None:
            return NotImplemented
        return moved(y, axis, 0)
    operands = whole(op, (params, indices))
    return again(op, operands, axis=shifted(axis), batch_dims=shifted(batch))


def gather_grad(
    op: RowOp, g: Tensor | None, indices: Tensor | None, shape: Tensor | None
) -> Any:
    """GatherGrad: as its transpose."""
    if shape is not None:
        return NotImplemented
    n = rows_of(g, indices)
    axis, batch = op.attrs["axis"], op.attrs["batch_dims"]
    full = prefixed(n, op.inputs[2])
    if indices is None and batch == 0:
        return again(op, (g, op.inputs[1], full), axis=shifted(axis))
    operands = [
        repeated(t, n) if b is None else b for t, b in zip(op.inputs[:2], (g, indices))
    ]
    return again(op, (*operands, full), axis=shifted(axis), batch_dims=shifted(batch))


def scatter_rows(
    op: RowOp, values: Tensor | None, indices: Tensor | None, shape: Tensor | None
) -> Any:
    """ScatterRows: the transpose of a gather along the first axis of each row."""
    if shape is not None:
        return NotImplemented
    n = rows_of(values, indices)
    full = prefixed(n, op.inputs[2])
    v = repeated(op.inputs[0], n) if values is None else values
    if indices is None:
        return make("GatherGrad", v, op.inputs[1], full, axis=1, batch_dims=0)
    return make("GatherGrad", v, indices, full, axis=1, batch_dims=1)


def add_rows(
    op: RowOp, total: Tensor | None, indices: Tensor | None, values: Tensor | None
) -> Any:
    """AddRows: the rows of each batch entry are added to its own total."""
    n = rows_of(*[b for b in (total, indices, values) if b is not None])
    wide = repeated(op.inputs[0], n) if total is None else total
    v = repeated(op.inputs[2], n) if values is None else values
    full = make_shape(wide)
    axes = {"axis": 1, "batch_dims": 0 if indices is None else 1}
    at = op.inputs[1] if indices is None else indices
    return TABLE["add"](wide, make("GatherGrad", v, at, full, **axes))


def leading_batch(shape_at: int | None) -> Any:
    """The rule of an op with ``batch_dims``; input ``shape_at`` is a shape."""

    def rule(op: RowOp, *batched: Tensor | None) -> Any:
        n = rows_of(*batched)
        operands = []
        for i, (t, b) in enumerate(zip(op.inputs, batched)):
            if i == shape_at:
                if b is not None:
                    return NotImplemented
                operands.append(prefixed(n, t))
            else:
                operands.append(repeated(t, n) if b is None else b)
        return again(op, operands, batch_dims=op.attrs["batch_dims"] + 1)

    return rule


def tensor_scatter_update(
    op: RowOp, x: Tensor | None, indices: Tensor | None, updates: Tensor | None
) -> Any:
    """TensorScatterUpdate: the row number becomes the first coordinate."""
    if row_rank(op.inputs[1], indices) is None:
        return NotImplemented
    tensor, idx, rows = whole(op, (x, indices, updates))
    lead = sizes(idx)[:-1]
    numbers = _numbers(lead[0], idx)
    column = reshaped(numbers, [lead[0], *[1] * len(lead)])
    spread = make("BroadcastTo", column, as_vector([*lead, 1], idx.graph))
    return again(op, (tensor, TABLE["concat"]([spread, idx], -1), rows))


# -- indexing by arrays ------------------------------------------------------------


def _advanced(
    op: RowOp, at: int, batched: Sequence[Tensor | None], rank: int
) -> tuple[list[Tensor], tuple[int, ...], Any] | None:
    """Indices and axes for a batch, and how its result's axes are to be moved.

    The last of the three is a permutation from the result of the batch to
    (n, row...), or None where they agree.
    """
    axes = op.attrs["axes"]
    indices, given = op.inputs[at:], batched[at:]
    ranks = [row_rank(t, b) for t, b in zip(indices, given)]
    if None in ranks:
        return None
    q = max(r or 0 for r in ranks)
    adjacent = all(b == a + 1 for a, b in itertools.pairwise(axes))
    rest = rank - len(axes)
    if all(b is None for b in given):
        moved_axes = tuple(a + 1 for a in axes)
        if adjacent:
            return list(indices), moved_axes, None
        # NumPy puts the indices' axes first: (q..., n, rest...).
        perm = (q, *range(q), *range(q + 1, q + 1 + rest))
        return list(indices), moved_axes, perm
    n = rows_of(*batched)
    wide = []
    for t, b, r in zip(indices, given, ranks):
        if b is None:
            wide.append(t)
        else:
            wide.append(reshaped(b, [n, *[1] * (q - (r or 0)), *sizes(b)[1:]]))
    like = next(b for b in given if b is not None)
    numbers = reshaped(_numbers(n, like), [n, *[1] * q])
    # With the rows' numbers the result is (n, q..., rest...).
    perm_back: Any = None
    if adjacent and axes[0] > 0:
        before = range(1 + q, 1 + q + axes[0])
        after = range(1 + q + axes[0], 1 + q + rest)
        perm_back = (0, *before, *range(1, 1 + q), *after)
    return [numbers, *wide], (0, *(a + 1 for a in axes)), perm_back


def advanced_index(op: RowOp, x: Tensor | None, *indices: Tensor | None) -> Any:
    """AdvancedIndex: the row's number is one more index where indices differ."""
    rank = row_rank(op.inputs[0], x)
    plan = None if rank is None else _advanced(op, 1, (x, *indices), rank)
    if plan is None:
        return NotImplemented
    arrays, axes, perm = plan
    source = repeated(op.inputs[0], rows_of(*indices)) if x is None else x
    y = again(op, (source, *arrays), axes=axes)[0]
    return y if perm is None else make("Transpose", y, perm=perm)


def advanced_index_grad(
    op: RowOp, g: Tensor | None, shape: Tensor | None, *indices: Tensor | None
) -> Any:
    """AdvancedIndexGrad: the cotangent's axes in the order of the batched read."""
    dims = op.outputs[0].dims
    dims = known_dims(op.inputs[1]) if dims is None else dims
    if shape is not None or dims is None:
        return NotImplemented
    plan = _advanced(op, 2, (g, None, *indices), len(dims))
    if plan is None:
        return NotImplemented
    arrays, axes, perm = plan
    n = rows_of(g, *indices)
    source = repeated(op.inputs[0], n) if g is None else g
    if perm is not None:
        source = make("Transpose", source, perm=tuple(np.argsort(perm).tolist()))
    return again(op, (source, prefixed(n, op.inputs[1]), *arrays), axes=axes)


def mask_indices(op: RowOp, mask: Tensor | None, *like: Tensor | None) -> Any:
    """MaskIndices: of a mask that all rows share, whatever it is compared with."""
    if mask is not None:
        return NotImplemented
    x = like[0]
    assert x is not None
    return Shared(again(op, (op.inputs[0], x), axis=op.attrs["axis"] + 1)[0])


# -- classes, sequences, order -----------------------------------------------------


def sequence_mask(op: RowOp, lengths: Tensor | None, *most: Tensor | None) -> Any:
    """SequenceMask: of a length that all rows share."""
    if lengths is None or any(m is not None for m in most):
        return NotImplemented
    if op.attrs["maxlen"] is None and not most:
        return NotImplemented
    return again(op, (lengths, *op.inputs[1:]))


def reverse_sequence(op: RowOp, x: Tensor | None, lengths: Tensor | None) -> Any:
    """ReverseSequence: the rows' sequences as one batch of them."""
    if row_rank(op.inputs[0], x) is None:
        return NotImplemented
    n = rows_of(x, lengths)
    data, counts = whole(op, (x, lengths))
    b, s = op.attrs["batch_axis"], op.attrs["seq_axis"]
    assert data.dims is not None
    rank = len(data.dims) - 1
    b, s = b % rank, s % rank
    data = moved(data, 0, b)
    apart = sizes(data)
    joined = [*apart[:b], apart[b] * apart[b + 1], *apart[b + 2 :]]
    y = again(op, (reshaped(data, joined), reshaped(counts, [n * apart[b + 1]])))[0]
    return moved(reshaped(y, apart), b, 0)


def search_sorted(op: RowOp, a: Tensor | None, v: Tensor | None) -> Any:
    """SearchSorted: a sequence for each row, the values of a row in one line."""
    ranks = [row_rank(t, b) for t, b in zip(op.inputs, (a, v))]
    if a is None and ranks[0] == 1:
        return again(op, (op.inputs[0], v))
    if None in ranks:
        return NotImplemented
    line, values = whole(op, (a, v))
    if ranks[0] != 1:
        return again(op, (line, values))
    y = again(op, (line, _flat(values)))[0]
    return make("Reshape", y, make_shape(values))


def inverted(op: RowOp, x: Tensor) -> Any:
    """InvertPermutation: the order that sorts a permutation is its inverse."""
    order = make("ArgSort", x, axis=-1, descending=False)
    return TABLE["cast"](order, op.outputs[0].dtype)


def in_top_k(op: RowOp, p: Tensor | None, t: Tensor | None, k: Tensor | None) -> Any:
    """InTopKV2: the examples of all rows together."""
    if k is not None:
        return NotImplemented
    amount = rows_of(p, t)
    scores, targets = (
        repeated(x, amount) if b is None else b for x, b in zip(op.inputs, (p, t))
    )
    if scores.dims is None:
        return NotImplemented
    n, m, classes = sizes(scores)
    flat = (reshaped(scores, [n * m, classes]), reshaped(targets, [n * m]))
    return reshaped(again(op, (*flat, op.inputs[2]))[0], [n, m])


def multinomial(op: RowOp, logits: Tensor | None, num: Tensor | None) -> Any:
    """Multinomial: the distributions of all rows together."""
    if logits is None or num is not None or logits.dims is None:
        return NotImplemented
    n, m, classes = sizes(logits)
    y = again(op, (reshaped(logits, [n * m, classes]), op.inputs[1]))[0]
    return reshaped(y, [n, m, sizes(y)[1]])


def appended_draws(op: RowOp, shape: Tensor | None, parameter: Tensor | None) -> Any:
    """RandomGamma and RandomPoisson: shape + (n, ...), then the rows first."""
    lead = known_dims(op.inputs[0])
    if parameter is None or shape is not None or lead is None:
        return NotImplemented
    y = again(op, (op.inputs[0], parameter))[0]
    return NotImplemented if y.dims is None else moved(y, len(lead), 0)


# -- segments ----------------------------------------------------------------------


def segment_gather(op: RowOp, rows: Tensor | None, ids: Tensor | None) -> Any:
    """SegmentGather: the labels' axes, then the batch's, where labels are shared."""
    if rows is None:
        return again(op, (op.inputs[0], ids))
    if rows.dims is None:
        return NotImplemented
    if ids is None:
        rank = row_rank(op.inputs[1], None)
        if rank is None:
            return NotImplemented
        y = again(op, (moved(rows, 0, 1), op.inputs[1]))[0]
        return moved(y, rank, 0)
    if ids.dims is None:
        return NotImplemented
    n, m, *rest = sizes(rows)
    flat = reshaped(rows, [n * m, *rest])
    return again(op, (flat, _numbered(ids, m)))[0]


def _numbered(ids: Tensor, m: Any) -> Tensor:
    """Labels of all rows as different ones: i m + label, -1 for none."""
    count = _scalar(m, ids)
    inside = make(
        "LogicalAnd", TABLE["greater_equal"](ids, 0), TABLE["less"](ids, count)
    )
    apart = TABLE["add"](ids, TABLE["mul"](_row_numbers(ids), count))
    return make("SelectV2", inside, apart, _scalar(-1, ids))


def _scalar(n: Any, like: Tensor) -> Tensor:
    """A number of the dtype of ``like``."""
    if isinstance(n, Tensor):
        return TABLE["cast"](n, like.dtype)  # type: ignore[no-any-return]
    return constant(n, like.dtype, graph=like.graph)


def segment_sorted(op: RowOp, x: Tensor | None, ids: Tensor | None) -> Any:
    """Sorted segments: labels that all rows share; the batch axis goes second."""
    if x is None or ids is not None or x.dims is None:
        return NotImplemented
    y = again(op, (moved(x, 0, 1), op.inputs[1]))[0]
    return moved(y, 1, 0)


def segment_scan(op: RowOp, x: Tensor | None, edge: Tensor | None) -> Any:
    """A scan of segments: shared edges, or all rows' segments as those of one."""
    if row_rank(op.inputs[0], x) is None:
        return NotImplemented
    if edge is None:
        assert x is not None
        return moved(again(op, (moved(x, 0, 1), op.inputs[1]))[0], 1, 0)
    data = repeated(op.inputs[0], rows_of(edge)) if x is None else x
    n, m, *rest = sizes(data)
    # Each row begins a segment, whether its edges say so or not.
    columns = TABLE["getitem"]
    inner = slice(None, -1) if op.attrs["reverse"] else slice(1, None)
    outer = slice(-1, None) if op.attrs["reverse"] else slice(None, 1)
    begins = TABLE["ones_like"](columns(edge, (slice(None), outer)))
    parts = [begins, columns(edge, (slice(None), inner))]
    edge = TABLE["concat"](parts[:: -1 if op.attrs["reverse"] else 1], 1)
    flat = again(op, (reshaped(data, [n * m, *rest]), reshaped(edge, [n * m])))[0]
    return reshaped(flat, [n, m, *rest])


def segment_unsorted(
    op: RowOp, x: Tensor | None, ids: Tensor | None, num: Tensor | None
) -> Any:
    """Unsorted segments: shared labels, or each row's labels made different."""
    nested = row_rank(op.inputs[1], ids)
    if num is not None or nested is None or row_rank(op.inputs[0], x) is None:
        return NotImplemented
    if ids is None:
        assert x is not None
        y = again(op, (moved(x, 0, nested), *op.inputs[1:]))[0]
        return moved(y, 1, 0)
    data = repeated(op.inputs[0], rows_of(ids)) if x is None else x
    n, count = rows_of(data), op.inputs[2]
    total = TABLE["mul"](count, _scalar(n, count))
    labels = _numbered(ids, count)
    if op.attrs["strict"]:
        # A label that is too large stays so, and is reported.
        large = TABLE["greater_equal"](ids, _scalar(count, ids))
        labels = make("SelectV2", large, _scalar(total, ids), labels)
    y = again(op, (data, labels, total))[0]
    known = count.value
    m = int(known) if isinstance(known, np.ndarray) else count
    return reshaped(y, [n, m, *sizes(data)[1 + nested :]])


def bincount(op: RowOp, values: Tensor | None, *weights: Tensor | None) -> Any:
    """Bincount: values that all rows share, weights of each row."""
    if values is not None or not weights or weights[0] is None:
        return NotImplemented
    ids, w = op.inputs[0], weights[0]
    if ids.dims is None or w.dims is None:
        return NotImplemented
    counts = again(op, (ids,), dtype=op.outputs[0].dtype)[0]
    length = TABLE["getitem"](make_shape(counts), 0)
    y = make(
        "UnsortedSegmentSum", moved(w, 0, len(ids.dims)), ids, length, strict=False
    )
    return moved(y, 1, 0)
