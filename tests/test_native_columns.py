"""Reductions of leading axes with elementwise operations: against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_programs import fresh_kernels, reference
from row_checks import check, close, row_steps, rows_run_natively, session, values

import dagrad as dg
from dagrad.runtime import column_groups, fusion

pytest.importorskip("llvmlite")


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch, tmp_path):
    monkeypatch.setattr(fusion, "NATIVE_SIZE", 1)
    with fresh_kernels(monkeypatch, tmp_path):
        yield


SHAPES = [
    ((9, 8), 1),
    ((50, 17), 1),
    ((4, 5, 6, 16), 3),
    ((8, 2, 30), 1),
    ((300, 33), 1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
@pytest.mark.parametrize(
    "reduce", [dg.reduce_sum, dg.reduce_mean, dg.reduce_max, dg.reduce_min]
)
def test_a_reduction_of_first_axes(reduce, shape, axes, dtype):
    x, y = (dg.placeholder(dtype, shape) for _ in range(2))
    check(
        [reduce(dg.square(x * 2.0 - y), list(range(axes)))],
        {x: values(shape, dtype), y: values(shape, dtype, 1)},
    )


@pytest.mark.parametrize("tile", [256, 4096, 128 * 1024])
@pytest.mark.parametrize("keepdims", [True, False])
def test_statistics_of_a_batch(tile, keepdims, monkeypatch):
    monkeypatch.setattr(column_groups, "TILE_BYTES", tile)
    x = dg.placeholder(np.float32, (7, 5, 6, 16))
    mean, variance = dg.nn.moments(x, [0, 1, 2], keepdims=keepdims)
    y = dg.nn.relu((x - mean) * dg.rsqrt(variance + 1e-3))
    feeds = {x: values((7, 5, 6, 16), np.float32)}
    assert len(session("wait").plan([y], feeds).steps) == 1
    check([y, mean, variance], feeds)


def test_numbers_of_rows_and_of_columns():
    x = dg.placeholder(np.float32, (20, 16))
    row, column, one = (dg.placeholder(np.float32, s) for s in ((16,), (20, 1), ()))
    y = dg.reduce_sum((x - row) * column + one, 0) * row
    z = x * dg.reduce_max(x * column, 0) + y
    feeds = {t: values(t.shape.as_list(), np.float32, k)
             for k, t in enumerate((x, row, column, one))}  # fmt: skip
    check([y, z], feeds)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 4, 4, 16), (5, 3, 7, 9), (2, 3, 2, 5, 8)])
def test_batch_norm_in_training(shape, dtype):
    c = shape[-1]
    x, g = (dg.placeholder(dtype, shape) for _ in range(2))
    scale, offset = (dg.placeholder(dtype, (c,)) for _ in range(2))
    form = "NHWC" if len(shape) == 4 else "NDHWC"
    y, mean, variance = dg.nn.fused_batch_norm(x, scale, offset, data_format=form)
    out = dg.nn.relu(y)
    gradients = dg.gradients(out, [x, scale, offset], grad_ys=[g])
    feeds = {t: values(t.shape.as_list(), dtype, k)
             for k, t in enumerate((x, g, scale, offset))}  # fmt: skip
    check([out, mean, variance, *gradients], feeds)
    plan = session("wait").plan([out, *gradients], feeds)
    assert [s.opdef.type for s in plan.steps] == ["_Rows"]


def test_batch_norm_with_channels_first_stays():
    x = dg.placeholder(np.float32, (4, 16, 5, 5))
    scale, offset = (dg.placeholder(np.float32, (16,)) for _ in range(2))
    y, _, _ = dg.nn.fused_batch_norm(x, scale, offset, data_format="NCHW")
    feeds = {x: None, scale: None, offset: None}
    assert not row_steps(session("wait").plan(dg.nn.relu(y), feeds))


def test_a_bias_gradient_is_summed_where_it_is_made():
    x, w = dg.placeholder(np.float32, (40, 8)), dg.placeholder(np.float32, (8, 16))
    b = dg.placeholder(np.float32, (16,))
    y = dg.tanh(dg.matmul(x, w) + b)
    feeds = {t: values(t.shape.as_list(), np.float32, k)
             for k, t in enumerate((x, w, b))}  # fmt: skip
    fetches = dg.gradients(dg.reduce_sum(dg.square(y)), [w, b])
    assert len(row_steps(session("wait").plan(fetches, feeds))) == 1
    check(fetches, feeds)


@pytest.mark.parametrize("center", [True, False])
def test_a_result_in_the_memory_of_an_operand(center):
    x, w = (dg.placeholder(np.float32, (24, 24)) for _ in range(2))
    inner = dg.matmul(x, w)
    mean, variance = dg.nn.moments(inner, [0])
    y = (inner - mean) if center else inner * variance
    out = dg.matmul(y * dg.rsqrt(variance + 1e-3), w)
    feeds = {t: values((24, 24), np.float32, k) for k, t in enumerate((x, w))}
    fetches = [out, *dg.gradients(out, [x, w])]
    plan = session("wait").plan(fetches, feeds)
    assert any(s.takes_over for s in row_steps(plan))
    check(fetches, feeds)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities(bad):
    x = dg.placeholder(np.float32, (12, 16))
    a = values((12, 16), np.float32)
    a[5, 3] = bad
    a[7, 4] = -bad
    sums = [
        dg.reduce_sum(x * 2.0, 0),
        dg.reduce_max(-x, 0),
        dg.reduce_min(x, 0),
        dg.reduce_mean(x + 1.0, 0),
    ]
    mean, variance = dg.nn.moments(x, [0])
    check([*sums, (x - mean) / dg.sqrt(variance)], {x: a})


def test_sums_have_the_bits_of_rows_added_in_order():
    x = dg.placeholder(np.float32, (1000, 16))
    a = values((1000, 16), np.float32)
    total = session("wait").run(dg.reduce_sum(x * 1.0 + 0.5, 0), {x: a})
    assert rows_run_natively()
    expected = np.zeros(16, np.float32)
    for row in a + np.float32(0.5):
        expected += row
    np.testing.assert_array_equal(total, expected)


def test_long_columns_wait_for_no_more_memory():
    """What every pass would read again is read once where that costs less."""
    xs = [dg.placeholder(np.float32, (64, 16)) for _ in range(6)]
    total = dg.add_n(xs) * 0.5
    mean, variance = dg.nn.moments(total, [0])
    y = (total - mean) * dg.rsqrt(variance + 1e-3)
    feeds = {x: values((64, 16), np.float32, k) for k, x in enumerate(xs)}
    plan = session("wait").plan([y], feeds)
    assert len(plan.steps) > 1
    check([y], feeds)


_MAPS = [dg.negative, dg.square, dg.abs, dg.nn.relu, dg.tanh, lambda x: x * 0.5 + 1.0]
_PAIRS = [dg.add, dg.subtract, dg.multiply, dg.maximum]


@st.composite
def programs(draw):
    """Elementwise operations between reductions of first axes."""
    shape = draw(st.sampled_from([(9, 8), (3, 4, 8), (40, 17), (5, 2, 2, 16)]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count = draw(st.integers(1, len(shape) - 1))
    axes = list(range(count))
    row = (*(1,) * count, *shape[count:])
    graph = dg.Graph()
    with graph.as_default():
        feeds = {
            dg.placeholder(dtype, s): rng.uniform(-1, 1, s).astype(dtype)
            for s in (shape, shape, shape[count:], ())
        }
        tensors = list(feeds)
        for _ in range(draw(st.integers(3, 10))):
            x, y = (draw(st.sampled_from(tensors)) for _ in range(2))
            what = draw(st.integers(0, 3))
            if what == 0:
                tensors.append(draw(st.sampled_from(_MAPS))(x))
            elif what == 1:
                tensors.append(draw(st.sampled_from(_PAIRS))(x, y))
            elif x.shape.as_list() == list(shape):
                how = draw(
                    st.sampled_from([dg.reduce_mean, dg.reduce_max, dg.reduce_sum])
                )
                tensors.append(how(x, axes, keepdims=draw(st.booleans())) * 0.5)
        fetches = [tensors[-1], draw(st.sampled_from(tensors))]
        last = tensors[-1]
        if last.shape.as_list() == list(shape):
            fetches.append(dg.reduce_sum(last, axes))
            fetches.append(last * dg.reshape(fetches[-1], row))
        fetches += [
            g
            for g in dg.gradients(dg.reduce_sum(last * last), list(feeds)[:3])
            if g is not None
        ]
    return graph, fetches, feeds


@settings(max_examples=60)
@given(programs())
def test_random_programs(program):
    graph, fetches, feeds = program
    expected = reference(graph, fetches, feeds)
    for native in ("wait", "auto"):
        s = dg.Session(graph=graph, config=dg.ConfigProto(native=native))
        close(s.run(fetches, feeds), expected, feeds)
