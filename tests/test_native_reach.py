"""Sines of doubles as native code: within their reach, and by NumPy beyond it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_programs import fresh_kernels, reference

import dagrad as dg
from dagrad.runtime import fused, fusion
from dagrad.runtime.native import worker

pytest.importorskip("llvmlite")

WAIT = dg.ConfigProto(native="wait")
FUNCTIONS = [dg.sin, dg.cos, dg.tan]
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, -5e-324, 1e-310, 2.0**-28]
REACH = 2.0**30
FAR = [np.nextafter(REACH, 2e9), -1.1e9, 1e15, 6381956970095103 * 2.0**797, 1.7e308]


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch, tmp_path):
    monkeypatch.setattr(fusion, "NATIVE_SIZE", 1)
    with fresh_kernels(monkeypatch, tmp_path):
        yield


@pytest.fixture
def by_numpy(monkeypatch):
    """How often a fused step was computed by NumPy."""
    calls = []
    tiles = fused.Tiles.__call__

    def count(self, *arrays):
        calls.append(arrays)
        tiles(self, *arrays)

    monkeypatch.setattr(fused.Tiles, "__call__", count)
    return calls


def close(found, expected):
    """Within 4 units in the last place, and the same NaN and signs of zeros."""
    np.testing.assert_array_max_ulp(found, expected, 4)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("f", FUNCTIONS)
def test_within_reach_all_is_native(f, by_numpy):
    x = dg.placeholder(dg.float64, [None])
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, 4000) * 10.0 ** rng.uniform(-12, 9, 4000)
    a = np.concatenate([a, SPECIAL, [REACH, -REACH], np.arange(-50, 50) * np.pi / 2])
    with np.errstate(invalid="ignore"):
        close(dg.Session(config=WAIT).run(f(x), {x: a}), getattr(np, f.__name__)(a))
    assert not by_numpy
    assert any(k.code is not None for k in worker._KNOWN.values())


@pytest.mark.parametrize("place", [0, 17, 4998])
@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("f", FUNCTIONS)
def test_beyond_reach_numpy_computes_all(f, far, place, by_numpy):
    x = dg.placeholder(dg.float64, [4999])
    y = f(x) * 2.0 + 1.0
    session = dg.Session(config=WAIT)
    a = np.linspace(-9.0, 9.0, 4999)
    near = session.run(y, {x: a})
    assert not by_numpy
    a[place] = far
    np.testing.assert_array_equal(
        session.run(y, {x: a}), getattr(np, f.__name__)(a) * 2.0 + 1.0
    )
    assert len(by_numpy) == 1
    a[place] = 0.5
    session.run(y, {x: a})
    assert len(by_numpy) == 1, "the next run is native again"
    assert np.isfinite(near).all()


def test_an_input_that_is_needed_again_is_not_overwritten(by_numpy):
    x = dg.placeholder(dg.float64, [64, 64])
    inner = dg.matmul(x, x)
    y = dg.matmul(dg.sin(inner * 2.0) + inner, x)
    feeds = {x: np.random.default_rng(0).standard_normal((64, 64)) * 1e6}
    found = dg.Session(config=WAIT).run(y, feeds)
    assert by_numpy
    np.testing.assert_allclose(found, reference(x.graph, y, feeds), rtol=1e-9)


def test_rows_leave_them_to_numpy():
    x = dg.placeholder(dg.float64, [8, 16])
    y = dg.reduce_sum(dg.sin(x), -1)
    a = np.full((8, 16), 1e20)
    found = dg.Session(config=WAIT).run(y, {x: a})
    np.testing.assert_allclose(found, np.sin(a).sum(-1), rtol=1e-14)


def test_several_threads_and_one_far_number(by_numpy):
    x = dg.placeholder(dg.float64, [1 << 19])
    config = dg.ConfigProto(native="wait", intra_op_parallelism_threads=2)
    y = dg.cos(x) - x
    a = np.linspace(-9.0, 9.0, 1 << 19)
    a[400_000] = 1e200
    with dg.Session(config=config) as session:
        np.testing.assert_array_equal(session.run(y, {x: a}), np.cos(a) - a)
    assert len(by_numpy) == 1


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([*FAR, *SPECIAL, 1.0, 1e5]), min_size=1, max_size=40),
    st.sampled_from(FUNCTIONS),
    st.sampled_from(FUNCTIONS),
    st.sampled_from([(), (1,), (3, 1)]),
)
def test_any_arguments_and_shapes(values, f, g, shape):
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [len(values)])
        z = dg.placeholder(dg.float64, shape)
        y = f(x) + g(z * x)
        loss = dg.reduce_sum(y)
        fetches = [y, *dg.gradients(loss, [x])]
        feeds = {x: np.array(values), z: np.full(shape, 1.5)}
        expected = reference(x.graph, fetches, feeds)
        for a, b in zip(dg.Session(config=WAIT).run(fetches, feeds), expected):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
