"""The kernels of convolutions and pools, by themselves: every way of cutting the work
into blocks, scratch memory as planned and full of rubbish, calls made once."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
import windows_oracle as oracle

from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.ops import _im2col, _pool_kernels, _row_columns
from dagrad.ops.core import placeholder
from dagrad.ops.pool import avg_pool, max_pool

# (sizes, taps, strides, dilations, padding): all but the last axis have stride 1.
CASES = [
    ((7, 6), (3, 3), (1, 1), (1, 1), "SAME"),
    ((7, 9), (3, 4), (1, 2), (2, 1), "SAME"),
    ((6, 8), (5, 2), (1, 3), (1, 2), "VALID"),
    ((5, 5), (4, 1), (1, 1), (1, 1), ((3, 1), (0, 2))),
    ((3, 4), (5, 5), (1, 1), (1, 1), "SAME"),
    ((4, 5, 6), (2, 3, 3), (1, 1, 1), (1, 1, 1), "SAME"),
    ((4, 5, 6), (3, 1, 2), (1, 1, 2), (1, 2, 1), "VALID"),
]
# Bytes of a block: all images, some images, a few rows of one image.
BLOCKS = (1 << 20, 20000, 900)


def scratch(sizes: Any, dtype: str) -> tuple[Any, ...]:
    return tuple(np.full(n, np.nan, dtype) for n in sizes)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch memory that is too small is an error, not a new array."""

    def carve(buffer: Any, shape: Any, dtype: Any) -> Any:
        assert buffer is not None and buffer.dtype == dtype
        assert buffer.size >= prod(shape)
        return buffer[: prod(shape)].reshape(shape)

    monkeypatch.setattr(_row_columns, "carve", carve)
    monkeypatch.setattr(_im2col, "carve", carve)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("planned")
def test_columns_of_one_axis(
    case: Any, first: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, taps, strides, dilations, padding = case
    used = []

    def pays(axes: Any, channels: int, outputs: int) -> bool:
        outer = axes[:-1]
        used.append(all(a.stride == 1 and a.taps for a in outer) and axes[-1].taps > 0)
        return used[-1]

    monkeypatch.setattr(_row_columns, "pays", pays)
    monkeypatch.setattr(_row_columns, "_BLOCK_BYTES", block)
    monkeypatch.setattr(_row_columns, "_BLOCK_ROWS", 1)
    monkeypatch.setattr(_im2col, "_NARROW", 0)
    _row_columns._plan.cache_clear()
    how = _im2col.Geometry(strides, dilations, padding, first)
    rng = np.random.default_rng(5)
    x = oracle.back(rng.normal(size=(5, *sizes, 3)), first)
    w = rng.normal(size=(*taps, 3, 2))
    y = oracle.conv(x, w, strides, dilations, padding, first)
    g = rng.normal(size=y.shape)

    need = _im2col.convolve_workspace(x.shape, w.shape, how, 8)
    got = _im2col.convolve(x, w, how, np.full(y.shape, np.nan), scratch(need, "f8"))
    np.testing.assert_allclose(got, y, atol=1e-12)

    need = _im2col.input_workspace(x.shape, w.shape, how, 8)
    out, work = np.full(x.shape, np.nan), scratch(need, "f8")
    dx = _im2col.input_gradient(x.shape, w, g, how, out, work)
    want = oracle.conv_to_input(x.shape, w, g, strides, dilations, padding, first)
    np.testing.assert_allclose(dx, want, atol=1e-12)

    need = _im2col.filter_workspace(x.shape, w.shape, how, 8)
    out, work = np.full(w.shape, np.nan), scratch(need, "f8")
    dw = _im2col.filter_gradient(x, w.shape, g, how, out, work)
    want = oracle.conv_to_filter(x, w.shape, g, strides, dilations, padding, first)
    np.testing.assert_allclose(dw, want, atol=1e-12)
    assert any(used)
    _row_columns._plan.cache_clear()


def test_columns_of_one_axis_are_taken_where_they_pay() -> None:
    def chosen(size: int, taps: int, channels: int, outputs: int, **how: Any) -> bool:
        stride, padding = how.get("stride", 1), how.get("padding", "SAME")
        geometry = _im2col.Geometry((stride,) * 2, (1, 1), padding, False)
        axes = geometry.axes((size, size), (taps, taps))
        return _row_columns.pays(axes, channels, outputs)

    assert chosen(14, 5, 32, 64)
    assert chosen(14, 5, 64, 32)
    assert chosen(28, 3, 64, 64)
    assert not chosen(28, 5, 1, 32)  # short runs
    assert not chosen(28, 3, 64, 64, stride=2)  # products that nobody reads
    assert not chosen(7, 5, 32, 64, padding="VALID")  # more rows in than out
    assert not chosen(28, 1, 64, 64)


POOLS = [
    ((5, 6, 8, 3), 2, 2, "VALID"),
    ((5, 7, 9, 2), 3, 2, "SAME"),
    ((4, 5, 6, 3), (3, 2), (1, 3), "SAME"),
    ((3, 4, 5, 2), (1, 2), (3, 2), "VALID"),
    ((3, 4, 5, 2), 1, 1, "VALID"),
    ((2, 3, 4, 1), 2, 2, ((2, 0), (1, 3))),
]


@pytest.mark.parametrize("chunk", [1 << 18, 100])
@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("build", [max_pool, avg_pool])
def test_ready_calls_of_pools_read_their_arrays_anew(
    build: Any, case: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A settled pool, its gradient and the transpose of that are the kernels'."""
    shape, ksize, strides, padding = case
    monkeypatch.setattr(_pool_kernels, "_CHUNK_BYTES", chunk)
    with Graph().as_default():
        x = placeholder("float32", shape)
        y = build(x, ksize, strides, padding)
        g = placeholder("float32", y.dims)
        (dx,) = gradients(y, x, g)
        h = placeholder("float32", shape)
        (back,) = gradients(dx, g, h)
    rng = np.random.default_rng(1)
    values = {t: np.empty(t.dims, np.float32) for t in (x, y, g, h, dx, back)}
    ready = []
    for t in (y, dx, back):
        op = t.op
        specs = op.opdef.workspace(op.inputs, op.outputs, op.attrs)
        work = tuple(np.full(dims, 7, dtype) for dtype, dims in specs)
        ins = [values.get(i, i.value) for i in op.inputs]
        values[t].fill(np.nan)
        ready.append((op, ins, op.opdef.settle(ins, values[t], work, op.attrs)))
    for _ in range(2):
        for t in (x, g, h):
            values[t][...] = rng.integers(-2, 3, size=t.dims)  # with ties
        for op, ins, run in ready:
            run()
            expected = op.opdef.kernel(np, *ins, **op.attrs)
            assert values[op.outputs[0]].tobytes() == expected.tobytes()
        # The gradient and its transpose, through the same windows.
        left = np.sum(values[dx].astype(float) * values[h])
        assert np.isclose(left, np.sum(values[g].astype(float) * values[back]))


def test_claims_pass_infinite_gradients_and_leave_nan_windows() -> None:
    x = np.array([[1, 3, np.nan, 2, 5, 5]], np.float32).reshape(1, 1, 6, 1)
    with Graph().as_default():
        t = placeholder("float32", x.shape)
        y = max_pool(t, (1, 2), (1, 2), "VALID")
        g = placeholder("float32", y.dims)
        (dx,) = gradients(y, t, g)
    peak = y.op.opdef.kernel(np, x, **y.op.attrs)
    given = np.array([np.inf, 4, -np.inf], np.float32).reshape(1, 1, 3, 1)
    got = dx.op.opdef.kernel(np, x, peak, given, **dx.op.attrs)
    assert got.ravel().tolist() == [0, np.inf, 0, 0, -np.inf, 0]
