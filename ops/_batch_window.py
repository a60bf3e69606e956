"""Batch rules of convolutions, pools, biases and batch normalisation.

These ops have a batch axis of their own: rows of data become more images of one
batch.  Rows of filters (and of statistics) become more channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphlib.batched import RowOp
from ..graphlib.operators import TABLE
from ..graphlib.tensor import Tensor
from ._batch import again, make, moved, reshaped, rows_of, whole
from ._static import as_vector, sizes

__all__ = ["convolution", "convolution_to_filter", "convolution_to_input", "images"]


def folded(b: Tensor) -> Tensor:
    """The rows' images as one batch of images."""
    n, m, *rest = sizes(b)
    return reshaped(b, [n * m, *rest])


def unfolded(y: Tensor, like: Tensor) -> Tensor:
    """The images of each row; ``like`` is a batch of as many rows and images."""
    n, m = sizes(like)[:2]
    return reshaped(y, [n, m, *sizes(y)[1:]])


def scaled(vector: Tensor, n: Any, at: int, rank: int) -> Tensor:
    """A vector of sizes with the one ``at`` times ``n``."""
    ones: list[Any] = [1] * rank
    ones[at] = n
    times: Tensor = TABLE["cast"](as_vector(ones, vector.graph), vector.dtype)
    return TABLE["mul"](vector, times)  # type: ignore[no-any-return]


def into(b: Tensor, axis: int) -> Tensor:
    """The batch axis merged into axis ``axis`` of a row, in front."""
    y = moved(b, 0, axis)
    s = sizes(y)
    return reshaped(y, [*s[:axis], s[axis] * s[axis + 1], *s[axis + 2 :]])


def out_of(y: Tensor, axis: int, n: Any, own: Any) -> Tensor:
    """The reverse of :func:`into`: ``own`` is the size of the axis in each row."""
    s = sizes(y)
    return moved(reshaped(y, [*s[:axis], n, own, *s[axis + 1 :]]), axis, 0)


def _channel(op: RowOp, rank: int) -> int:
    return 1 if op.attrs["data_format"][1] == "C" else rank - 1


# -- convolutions --------------------------------------------------------------


def convolution(op: RowOp, x: Tensor | None, w: Tensor | None) -> Any:
    """More images for rows of data; more output channels for rows of filters."""
    if x is not None and w is None and x.dims is not None:
        return unfolded(again(op, (folded(x), op.inputs[1]))[0], x)
    if w is not None and x is None and w.dims is not None:
        rank = len(w.dims) - 1
        y = again(op, (op.inputs[0], into(w, rank - 1)))[0]
        return out_of(y, _channel(op, rank), rows_of(w), sizes(w)[-1])
    return _apart(op, x, w, None)


def convolution_to_input(
    op: RowOp, shape: Tensor | None, w: Tensor | None, g: Tensor | None
) -> Any:
    """The transpose in the data: more images, or more input channels."""
    if shape is not None:
        return NotImplemented
    if g is not None and w is None and g.dims is not None:
        rank = len(g.dims) - 1
        many = scaled(op.inputs[0], rows_of(g), 0, rank)
        return unfolded(again(op, (many, op.inputs[1], folded(g)))[0], g)
    if w is not None and g is None and w.dims is not None:
        rank = len(w.dims) - 1
        c, n = _channel(op, rank), rows_of(w)
        many = scaled(op.inputs[0], n, c, rank)
        y = again(op, (many, into(w, rank - 2), op.inputs[2]))[0]
        return out_of(y, c, n, sizes(w)[-2])
    return _apart(op, None, w, g)


def convolution_to_filter(
    op: RowOp, x: Tensor | None, shape: Tensor | None, g: Tensor | None
) -> Any:
    """The transpose in the filter: more channels of the data or the cotangent."""
    if shape is not None:
        return NotImplemented
    if x is not None and g is not None:
        return _apart(op, x, None, g)
    given = x if g is None else g
    if given is None or given.dims is None:
        return NotImplemented
    rank = len(given.dims) - 1
    c, n = _channel(op, rank), rows_of(given)
    at = rank - 1 if x is None else rank - 2
    many = scaled(op.inputs[1], n, at, rank)
    wide = into(given, c)
    data, cotangent = (op.inputs[0], wide) if x is None else (wide, op.inputs[2])
    y = again(op, (data, many, cotangent))[0]
    return out_of(y, at, n, sizes(given)[1 + c])


def _apart(op: RowOp, x: Tensor | None, w: Tensor | None, g: Tensor | None) -> Any:
    """A convolution whose two operands both differ from row to row.

    As a depthwise one: (row, channel) are the channels, and the channels of the
    result are kept apart until they are summed.  The result (or its cotangent) takes
    as many times its memory as there are input channels.
    """
    given = [t for t in (x, w, g) if t is not None]
    if len(given) < 2 or any(t.dims is None or len(t.dims) != 5 for t in given):
        return NotImplemented
    n, c, attrs = rows_of(*given), _channel(op, 4), dict(op.attrs)
    if w is not None:
        inner, outer = sizes(w)[3:]
    else:
        assert x is not None and g is not None
        inner, outer = sizes(x)[1 + c], sizes(g)[1 + c]
    if g is not None:
        g = moved(g, 0, c)
        s = sizes(g)
        wide = reshaped(g, [*s[: c + 1], 1, *s[c + 1 :]])
        full = as_vector([*s[: c + 1], inner, *s[c + 1 :]], g.graph)
        wide = make("BroadcastTo", wide, full)
        g = reshaped(wide, [*s[:c], n * inner * outer, *s[c + 2 :]])
    data = None if x is None else into(x, c)
    filters = None if w is None else into(w, 2)
    native = "DepthwiseConv2dNative"
    if g is None:
        y = make(native, data, filters, **attrs)  # type: ignore[arg-type]
        s = sizes(y)
        parts = reshaped(y, [*s[:c], n, inner, outer, *s[c + 1 :]])
        return moved(make("Sum", parts, axis=(c + 1,), keepdims=False), c, 0)
    if data is None:
        many = scaled(op.inputs[0], n, c, 4)
        dx = make(f"{native}BackpropInput", many, filters, g, **attrs)  # type: ignore[arg-type]
        return out_of(dx, c, n, inner)
    many = scaled(op.inputs[1], n, 2, 4)
    dw = make(f"{native}BackpropFilter", data, many, g, **attrs)
    return out_of(dw, 2, n, inner)


def depthwise(kind: str) -> Any:
    """The rules of depthwise convolutions: rows are channels of one image.

    Args:
        kind: "forward", "input" or "filter".
    """

    def rule(op: RowOp, *batched: Tensor | None) -> Any:
        shape_at = {"forward": None, "input": 0, "filter": 1}[kind]
        if shape_at is not None and batched[shape_at] is not None:
            return NotImplemented
        n = rows_of(*batched)
        rank = 4
        c = _channel(op, rank)
        operands = []
        own: Any = 1
        for i, t in enumerate(whole(op, batched)):
            if i == shape_at:
                at = c if kind == "input" else rank - 2
                operands.append(scaled(op.inputs[i], n, at, rank))
                continue
            if t.dims is None:
                return NotImplemented
            is_filter = (kind, i) in (("forward", 1), ("input", 1))
            if is_filter:
                inner, outer = sizes(t)[3:]
                own = inner * outer if kind == "forward" else inner
            elif kind == "filter" and i == 0:
                own = sizes(t)[1 + c]
            operands.append(into(t, rank - 2 if is_filter else c))
        y = again(op, operands)[0]
        return out_of(y, rank - 2 if kind == "filter" else c, n, own)

    return rule


# -- pools ---------------------------------------------------------------------


def images(op: RowOp, *batched: Tensor | None) -> Any:
    """An op on batches of images: those of all rows together."""
    operands = whole(op, batched)
    if any(t.dims is None for t in operands):
        return NotImplemented
    results = again(op, [folded(t) for t in operands])
    return [unfolded(y, operands[0]) for y in results]


def pool_with_argmax(op: RowOp, x: Tensor) -> Any:
    """MaxPoolWithArgmax: indices count within a row's images."""
    if x.dims is None:
        return NotImplemented
    largest, where = again(op, (folded(x),), batch=False)
    where = unfolded(where, x)
    if op.attrs["batch"]:
        _, m, *image = sizes(x)
        first = make("Cumsum", _ones(m, where), axis=0, exclusive=True, reverse=False)
        for d in image:
            d = TABLE["cast"](d, where.dtype) if isinstance(d, Tensor) else d
            first = TABLE["mul"](first, d)
        where = TABLE["add"](where, reshaped(first, [m, *[1] * len(image)]))
    return [unfolded(largest, x), where]


def _ones(n: Any, like: Tensor) -> Tensor:
    one = TABLE["constant"](1, like.dtype, graph=like.graph)
    return make("Fill", as_vector([n], like.graph), one)


def average_grad(op: RowOp, shape: Tensor | None, g: Tensor | None) -> Any:
    """AvgPoolGrad: the images of all rows together."""
    if g is None or shape is not None or g.dims is None:
        return NotImplemented
    many = scaled(op.inputs[0], rows_of(g), 0, len(g.dims) - 1)
    return unfolded(again(op, (many, folded(g)))[0], g)


# -- biases --------------------------------------------------------------------


def bias_add(op: RowOp, x: Tensor | None, b: Tensor | None) -> Any:
    """BiasAdd: the bias stands against the channels of each row."""
    value = op.inputs[0] if x is None else x
    if value.dims is None:
        return NotImplemented
    rank = len(value.dims) - (x is not None)
    after = rank - 1 - _bias_channel(op, rank)
    bias = op.inputs[1] if b is None else b
    n = [] if b is None else [rows_of(b)]
    before = [] if b is None else [1] * (rank - 1 - after)
    width = sizes(bias)[-1]
    return TABLE["add"](value, reshaped(bias, [*n, *before, width, *[1] * after]))


def _bias_channel(op: RowOp, rank: int) -> int:
    return 1 if op.attrs["data_format"] == "NCHW" else rank - 1


def bias_add_grad(op: RowOp, g: Tensor) -> Any:
    """BiasAddGrad: the sum over every axis but the rows and the channels."""
    if g.dims is None:
        return NotImplemented
    rank = len(g.dims) - 1
    c = _bias_channel(op, rank)
    axes = tuple(i + 1 for i in range(rank) if i != c)
    return make("Sum", g, axis=axes, keepdims=False)


# -- batch normalisation ---------------------------------------------------------


def batch_norm(data: Sequence[int]) -> Any:
    """The rule of an op on images and vectors of channels: rows are channels.

    Args:
        data: the inputs that are images; output 0 is one, the others are vectors.
    """

    def rule(op: RowOp, *batched: Tensor | None) -> Any:
        n = rows_of(*batched)
        rank = len(op.attrs["data_format"])
        c = _channel(op, rank)
        operands = whole(op, batched)
        if any(t.dims is None for t in operands):
            return NotImplemented
        flat = [into(t, c if i in data else 0) for i, t in enumerate(operands)]
        first, *rest = again(op, flat)
        own = sizes(operands[0])[1 + c]
        return [out_of(first, c, n, own), *(out_of(r, 0, n, own) for r in rest)]

    return rule
