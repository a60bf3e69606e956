"""Convolutions, pools and their gradients against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import windows_oracle as oracle
from oprecord import Arg, Record

from dagrad.ops import conv, pool
from dagrad.ops._conv import FAMILIES, FORMATS


def wide(reference: Any) -> Any:
    """The reference in double precision, rounded once at the end."""

    def call(*arrays: Any) -> Any:
        y = reference(*[np.asarray(a, np.float64) for a in arrays])
        return np.asarray(y, arrays[0].dtype)

    return call


def forward(rank: int, spatial: Any, taps: Any, name: str, **how: Any) -> list[Record]:
    strides = how.get("strides", (1,) * rank)
    dilations = how.get("dilations", (1,) * rank)
    padding = how.get("padding", "SAME")
    builder = {1: conv1, 2: conv.conv2d, 3: conv.conv3d}[rank]
    records = []
    for first in (False, True):
        form = FORMATS[rank][first]
        shape = (2, 2, *spatial) if first else (2, *spatial, 2)
        attrs = conv.conv_attrs(rank, strides, padding, form, dilations)
        family = FAMILIES[rank]
        to_input, to_filter = family.to_input.type, family.to_filter.type

        def build(x: Any, w: Any, form: str = form) -> Any:
            return builder(
                x,
                w,
                strides=strides,
                padding=padding,
                data_format=form,
                dilations=dilations,
            )

        def backward(w: Any, g: Any, shape: Any = shape, attrs: Any = attrs) -> Any:
            return conv._to_input(rank, shape, w, g, attrs, None)

        def weights(x: Any, g: Any, attrs: Any = attrs) -> Any:
            return conv._to_filter(rank, x, (*taps, 2, 3), g, attrs, None)

        def y(x: Any, w: Any, first: bool = first) -> Any:
            return oracle.conv(x, w, strides, dilations, padding, first)

        def dx(w: Any, g: Any, shape: Any = shape, first: bool = first) -> Any:
            return oracle.conv_to_input(shape, w, g, strides, dilations, padding, first)

        def dw(x: Any, g: Any, first: bool = first) -> Any:
            shape = (*taps, 2, 3)
            return oracle.conv_to_filter(
                x, shape, g, strides, dilations, padding, first
            )

        counts = oracle.counts(spatial, taps, strides, dilations, padding)
        cotangent = (2, 3, *counts) if first else (2, *counts, 3)
        filters = Arg((*taps, 2, 3))
        label = f"{name}-{form}"
        records += [
            Record(
                (family.forward.type, to_input, to_filter),
                build,
                (Arg(shape), filters),
                wide(y),
                label,
            ),
            Record(
                (to_input, family.forward.type, to_filter),
                backward,
                (filters, Arg(cotangent)),
                wide(dx),
                label,
            ),
            Record(
                (to_filter, family.forward.type, to_input),
                weights,
                (Arg(shape), Arg(cotangent)),
                wide(dw),
                label,
            ),
        ]
    return records


def conv1(x: Any, w: Any, strides: Any, **how: Any) -> Any:
    return conv.conv1d(x, w, strides, **how)


def depthwise(name: str, form: str, **how: Any) -> list[Record]:
    first = form == "NCHW"
    strides = how.get("strides", (1, 1))
    dilations = how.get("dilations", (1, 1))
    padding = how.get("padding", "SAME")
    m = how.get("multiplier", 2)
    shape = (2, 2, 4, 5) if first else (2, 4, 5, 2)
    tail = (strides, padding, form, dilations)
    taps = (2, 3, 2, m)
    counts = oracle.counts((4, 5), taps[:2], strides, dilations, padding)
    cotangent = (2, 2 * m, *counts) if first else (2, *counts, 2 * m)
    loops = (strides, dilations, padding, first)
    native = "DepthwiseConv2dNative"
    types = (native, f"{native}BackpropInput", f"{native}BackpropFilter")
    x, w, g = Arg(shape), Arg(taps), Arg(cotangent)
    return [
        Record(
            types,
            lambda x, w: conv.depthwise_conv2d_native(x, w, *tail),
            (x, w),
            wide(lambda x, w: oracle.depthwise(x, w, *loops)),
            name,
        ),
        Record(
            types[1:] + types[:1],
            lambda w, g: conv.depthwise_conv2d_native_backprop_input(
                shape, w, g, *tail
            ),
            (w, g),
            wide(lambda w, g: oracle.depthwise_to_input(shape, w, g, *loops)),
            name,
        ),
        Record(
            types[2:] + types[:2],
            lambda x, g: conv.depthwise_conv2d_native_backprop_filter(
                x, taps, g, *tail
            ),
            (x, g),
            wide(lambda x, g: oracle.depthwise_to_filter(x, taps, g, *loops)),
            name,
        ),
    ]


def distinct(rng: np.random.Generator, shape: Any, dtype: Any) -> Any:
    """Numbers far enough apart that differences do not change the largest."""
    n = int(np.prod(shape))
    return (rng.permutation(n).reshape(shape) / n * 4 - 2).astype(dtype)


def pools(
    name: str, shape: Any, ksize: Any, strides: Any, padding: Any, form: str
) -> list[Record]:
    rank = len(shape) - 2
    first = form.startswith("NC")
    window, moves = (
        (1, *v) if len(v) > rank else (1, 1, *v) if first else (1, *v, 1)
        for v in (ksize, strides)
    )
    given = padding
    if not isinstance(padding, str):
        given = ((0, 0), *padding, (0, 0))
        given = ((0, 0), (0, 0), *padding) if first else given
    how = (window, moves, given)
    maxes = {1: pool.max_pool1d, 2: pool.max_pool, 3: pool.max_pool3d}[rank]
    means = {1: pool.avg_pool1d, 2: pool.avg_pool, 3: pool.avg_pool3d}[rank]
    ones = [1] * len(shape)
    y = Arg(oracle.counts(shape, window, moves, ones, given))
    x = Arg(shape, sample=distinct)
    still = Arg(shape, sample=distinct, differentiable=False)
    size = [1, *ksize] if len(ksize) > rank else list(ksize)
    move = [1, *strides] if len(strides) > rank else list(strides)
    tail = (size, move, padding, form)

    def grad(t: Any, g: Any) -> Any:
        return maxes(t, *tail).op.opdef.vjp[0](maxes(t, *tail).op, g)

    def mean_grad(g: Any) -> Any:
        zeros = np.zeros(shape, g.dtype.dtype)
        return means(zeros, *tail).op.opdef.vjp[0](means(zeros, *tail).op, g)

    def mean_grad_loops(g: Any) -> Any:
        # The transpose of a linear map, column by column.
        eye = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        columns = [np.sum(oracle.avg_pool(e, *how) * g) for e in eye]
        return np.reshape(columns, shape)

    return [
        Record(
            ("MaxPool", "MaxPoolGrad", "MaxPoolGradGrad"),
            lambda x: maxes(x, *tail),
            (x,),
            lambda x: oracle.max_pool(x, *how),
            name,
        ),
        Record(
            ("MaxPoolGrad", "MaxPoolGradGrad"),
            grad,
            (still, y),
            wide(lambda x, g: oracle.max_pool_grad(x, g, *how)),
            name,
        ),
        Record(
            ("AvgPool", "AvgPoolGrad"),
            lambda x: means(x, *tail),
            (Arg(shape),),
            wide(lambda x: oracle.avg_pool(x, *how)),
            name,
        ),
        Record(
            ("AvgPoolGrad", "AvgPool"), mean_grad, (y,), wide(mean_grad_loops), name
        ),
    ]


def argmax(batch: bool) -> Record:
    def reference(x: Any) -> Any:
        y = oracle.max_pool(x, (1, 2, 2, 1), (1, 2, 1, 1), "SAME")
        flat = x.ravel().tolist()
        image = 0 if batch else x[0].size
        where = [flat.index(v) % image if image else flat.index(v) for v in y.flat]
        return y, np.reshape(where, y.shape)

    return Record(
        ("MaxPoolWithArgmax", "MaxPoolGrad", "MaxPoolGradGrad"),
        lambda x: pool.max_pool_with_argmax(
            x, (2, 2), (2, 1), "SAME", include_batch_in_index=batch
        ),
        (Arg((2, 3, 3, 2), sample=distinct),),
        reference,
        "batch" if batch else "image",
    )


RECORDS = [
    *forward(1, (5,), (3,), "same"),
    *forward(1, (6,), (2,), "stride-valid", strides=(2,), padding="VALID"),
    *forward(2, (3, 4), (2, 3), "same"),
    *forward(2, (5, 4), (3, 2), "stride", strides=(2, 3)),
    *forward(2, (5, 4), (2, 2), "dilation", dilations=(2, 1), padding="VALID"),
    *forward(2, (3, 3), (2, 2), "pairs", strides=(2, 1), padding=((1, 0), (0, 2))),
    *forward(2, (2, 3), (1, 1), "pointwise"),
    *forward(3, (2, 3, 2), (2, 2, 1), "stride", strides=(1, 2, 1)),
    *depthwise("same", "NHWC"),
    *depthwise("stride-first", "NCHW", strides=(2, 2)),
    *depthwise("one-valid", "NHWC", multiplier=1, padding="VALID"),
    *depthwise("dilation", "NCHW", multiplier=1, dilations=(2, 1)),
    Record(
        ("DepthwiseConv2dNative", "Conv2D"),
        lambda x, d, p: conv.separable_conv2d(x, d, p, [1, 1, 1, 1], "SAME"),
        (Arg((1, 3, 3, 2)), Arg((2, 2, 2, 2)), Arg((1, 1, 4, 3))),
        wide(
            lambda x, d, p: oracle.conv(
                oracle.depthwise(x, d, (1, 1), (1, 1), "SAME"),
                p,
                (1, 1),
                (1, 1),
                "VALID",
            )
        ),
        "separable",
    ),
    *pools("1d", (2, 5, 2), (2,), (2,), "SAME", "NWC"),
    *pools("same", (2, 3, 5, 2), (2, 3), (2, 2), "SAME", "NHWC"),
    *pools("valid", (2, 2, 5, 4), (3, 2), (1, 2), "VALID", "NCHW"),
    *pools("pairs", (1, 3, 4, 2), (2, 3), (2, 1), ((1, 0), (1, 2)), "NHWC"),
    *pools("channels", (2, 3, 2, 4), (1, 2, 2), (1, 1, 2), "VALID", "NHWC"),
    *pools("3d", (1, 2, 3, 2, 2), (2, 2, 1), (1, 2, 1), "SAME", "NDHWC"),
    argmax(True),
    argmax(False),
]
