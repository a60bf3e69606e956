"""Convolutions against loops, against TensorFlow's numbers, and their refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import windows_oracle as oracle
from evaluate import evaluate

from dagrad.graphlib.errors import ShapeError
from dagrad.graphlib.graph import Graph
from dagrad.ops import conv
from dagrad.ops._conv import FAMILIES, FORMATS
from dagrad.ops.core import placeholder

# Along one axis: (input, taps, stride, dilation, padding).
AXES = [
    (6, 3, 1, 1, "SAME"),
    (6, 4, 1, 1, "SAME"),
    (5, 1, 1, 1, "SAME"),
    (5, 1, 2, 1, "VALID"),
    (7, 3, 2, 1, "SAME"),
    (6, 3, 2, 1, "SAME"),
    (8, 3, 3, 1, "VALID"),
    (8, 2, 3, 1, "SAME"),
    (9, 3, 1, 2, "SAME"),
    (9, 2, 2, 3, "VALID"),
    (9, 3, 2, 2, "SAME"),
    (10, 3, 4, 2, "SAME"),
    (11, 4, 6, 4, "SAME"),
    (7, 3, 2, 1, (2, 0)),
    (5, 2, 1, 1, (3, 4)),
    (6, 3, 3, 2, (0, 5)),
    (2, 5, 1, 1, "SAME"),
    (3, 5, 2, 1, (1, 1)),
    (4, 4, 1, 1, "VALID"),
]


def three(
    shape: Any, taps: Any, channels: int, strides: Any, dilations: Any, padding: Any
) -> None:
    """Compare a convolution and both its gradients with the loops."""
    rank = len(taps)
    for first in (False, True):
        form = FORMATS[rank][first]
        rng = np.random.default_rng(3)
        x = oracle.back(rng.normal(size=shape), first)
        w = rng.normal(size=(*taps, shape[-1], channels))
        how = (strides, dilations, padding)
        want = oracle.conv(x, w, *how, first)
        g = rng.normal(size=want.shape)
        attrs = conv.conv_attrs(rank, strides, padding, form, dilations)
        family = FAMILIES[rank]
        with Graph().as_default():
            ins = [placeholder("float64", a.shape) for a in (x, w, g)]
            y = conv.create(family.forward, ins[:2], attrs)
            dx = conv._to_input(rank, x.shape, ins[1], ins[2], attrs, None)
            dw = conv._to_filter(rank, ins[0], w.shape, ins[2], attrs, None)
        got = evaluate([y, dx, dw], dict(zip(ins, (x, w, g))))
        assert [t.dims for t in (y, dx, dw)] == [a.shape for a in got]
        np.testing.assert_allclose(got[0], want, 1e-12, 1e-12)
        want = oracle.conv_to_input(x.shape, w, g, *how, first)
        np.testing.assert_allclose(got[1], want, 1e-12, 1e-12)
        want = oracle.conv_to_filter(x, w.shape, g, *how, first)
        np.testing.assert_allclose(got[2], want, 1e-12, 1e-12)


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_one_axis(axis: Any) -> None:
    size, taps, stride, dilation, padding = axis
    pads = padding if isinstance(padding, str) else (padding,)
    three((3, size, 2), (taps,), 3, (stride,), (dilation,), pads)


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_two_unlike_axes(axis: Any) -> None:
    size, taps, stride, dilation, padding = axis
    pads = padding if isinstance(padding, str) else (padding, (1, 0))
    other = (5, 2, 1, 1)
    sizes, ks, strides, dilations = zip((size, taps, stride, dilation), other)
    three((2, *sizes, 3), ks, 2, strides, dilations, pads)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (0, 2), (1, 1))])
def test_three_axes(padding: Any) -> None:
    three((2, 4, 5, 3, 2), (2, 3, 2), 3, (1, 2, 1), (2, 1, 1), padding)
    three((1, 4, 3, 3, 2), (1, 1, 1), 3, (1, 1, 1), (1, 1, 1), padding)


@pytest.mark.parametrize("channels", [1, 3, 8, 20])
def test_layouts_and_chunks(channels: int) -> None:
    """Few channels and many, several images a chunk and a remainder."""
    for shape, taps in itertools.product([(7, 9, 9), (5, 3, 4)], [(3, 3), (1, 1)]):
        three((*shape, channels), taps, 4, (1, 1), (1, 1), "SAME")


@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (2, 4, 4, 0), (2, 0, 4, 2)])
def test_nothing_to_convolve(shape: Any) -> None:
    three(shape, (3, 3), 2, (1, 1), (1, 1), "SAME")


def test_no_window_fits_once() -> None:
    three((2, 2, 4, 2), (3, 3), 2, (1, 1), (1, 1), "VALID")


def build(x: Any, w: Any, **how: Any) -> Any:
    how = {"strides": 1, "padding": "SAME", **how}
    with Graph().as_default():
        return conv.conv2d(placeholder("float32", x), placeholder("float32", w), **how)


def test_shapes_are_known_as_far_as_they_can_be() -> None:
    assert build((None, 28, None, 1), (5, 5, 1, 32)).dims == (None, 28, None, 32)
    assert build(None, (5, 5, 1, 32)).dims == (None, None, None, 32)
    assert build((8, 28, 28, 1), (5, 3, 1, None), padding="VALID").dims == (
        8,
        24,
        26,
        None,
    )
    assert build((8, 28, 28, 1), None, strides=2).dims == (8, 14, 14, None)
    assert build((8, 28, 28, 1), None, padding="VALID").dims == (8, None, None, None)


@pytest.mark.parametrize(
    ("x", "w", "how", "message"),
    [
        ((1, 4, 4, 3), (3, 3, 2, 5), {}, "3 channels"),
        ((1, 4, 4), (3, 3, 2, 5), {}, "rank 4"),
        ((1, 4, 4, 2), (3, 3, 5), {}, "filter of rank 4"),
        ((1, 2, 4, 2), (4, 3, 2, 5), {"padding": "VALID"}, "does not fit"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"padding": "FULL"}, "padding"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"strides": [2, 1, 1, 1]}, "batch"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"strides": 0}, "positive"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"data_format": "HWCN"}, "data_format"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"padding": [[1, 1]] * 4}, "batch"),
    ],
)
def test_refusals(x: Any, w: Any, how: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        build(x, w, **how)


def test_transpose_refuses_a_shape_that_conv_does_not_give() -> None:
    with Graph().as_default(), pytest.raises(ShapeError, match="gives"):
        conv.conv2d_transpose(
            placeholder("float32", (2, 3, 3, 4)),
            placeholder("float32", (3, 3, 2, 4)),
            (2, 9, 6, 2),
            2,
        )


def test_a_window_too_large_is_refused_at_run_time() -> None:
    y = build((None,) * 4, (5, 5, 1, 1), padding="VALID")
    x, w = y.op.inputs
    with pytest.raises(ShapeError, match="does not fit"):
        evaluate(y, {x: np.ones((1, 3, 8, 1)), w: np.ones((5, 5, 1, 1))})
