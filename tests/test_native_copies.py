"""Short parts of joins and turned views, copied by native loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.runtime import native_copies
from dagrad.runtime.native.engine import available

pytestmark = [
    pytest.mark.usefixtures("graph"),
    pytest.mark.skipif(not available(), reason="llvmlite is not installed"),
]

DTYPES = [dg.float32, dg.float64, dg.int32, dg.int64]
NATIVE = dg.ConfigProto(native="wait")


@pytest.fixture
def only_native(monkeypatch):
    """NumPy's copies fail."""

    def fail(*arrays):
        raise AssertionError("a copy by NumPy")

    monkeypatch.setattr(native_copies, "_copy", fail)
    monkeypatch.setattr(native_copies._Columns, "_in_numpy", fail)


def run(fetches, feeds):
    session = dg.Session(config=NATIVE)
    first = session.run(fetches, feeds)
    for a, b in zip(first, session.run(fetches, feeds), strict=True):
        np.testing.assert_array_equal(a, b)
    return first


def numbers(shape, dtype):
    rng = np.random.default_rng(0)
    found = rng.integers(-1000, 1000, shape).astype(dtype.as_numpy_dtype)
    if dtype.is_floating:
        found.flat[:3] = np.nan, -0.0, np.inf
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("count", [2, 7, 24])
def test_columns(dtype, count, only_native):
    given = [numbers(1500 + 100 * 30, dtype)[k : k + 3000] for k in range(count)]
    xs = [dg.placeholder(dtype, [3000]) for _ in given]
    feeds = dict(zip(xs, given, strict=True))
    whole = dg.stack(xs, 1)
    inside = dg.reduce_max(dg.stack([x + x for x in xs], -1), 1)
    found = run([whole, inside], feeds)
    np.testing.assert_array_equal(found[0], np.stack(given, 1))
    with np.errstate(all="ignore"):
        doubled = np.stack([g + g for g in given], 1)
    np.testing.assert_array_equal(found[1], doubled.max(1))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_parts_with_short_rows(dtype, only_native):
    given = [numbers((40, 30, n), dtype) for n in (3, 1, 20)]
    xs = [dg.placeholder(dtype, g.shape) for g in given]
    feeds = dict(zip(xs, given, strict=True))
    whole = dg.concat(xs, 2)
    inside = dg.reduce_max(dg.concat([xs[0], xs[1] + xs[1], xs[2]], 2), 1)
    found = run([whole, inside], feeds)
    np.testing.assert_array_equal(found[0], np.concatenate(given, 2))
    with np.errstate(all="ignore"):
        joined = np.concatenate([given[0], given[1] * 2, given[2]], 2)
    np.testing.assert_array_equal(found[1], joined.max(1))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_turned_views(dtype, only_native):
    given = numbers((8, 50, 6, 4), dtype)
    x = dg.placeholder(dtype, given.shape)
    turned = dg.reshape(dg.transpose(x + x, [1, 2, 0, 3]), [50, 6, 32])
    wide = dg.concat([x[0] + x[0], turned], 2)
    flat = dg.reshape(dg.transpose(x, [3, 1, 0, 2]), [-1])
    with np.errstate(all="ignore"):
        double = given + given
    want = double.transpose(1, 2, 0, 3).reshape(50, 6, 32)
    found = run([turned, dg.reduce_max(wide, 1), flat], {x: given})
    np.testing.assert_array_equal(found[0], want)
    joined = np.concatenate([double[0], want], 2)
    np.testing.assert_array_equal(found[1], joined.max(1))
    np.testing.assert_array_equal(found[2], given.transpose(3, 1, 0, 2).reshape(-1))


def test_what_is_no_number_of_a_plain_type_or_is_small_is_left_to_numpy():
    flags = np.arange(3000) % 3 == 0
    waves = np.exp(1j * np.arange(3000.0))
    x, z = dg.placeholder(dg.bool, [3000]), dg.placeholder(dg.complex128, [3000])
    few = dg.placeholder(dg.float32, [3])
    wide = [dg.stack([t, t, t], 1) for t in (x, z, few)]
    found = run(wide, {x: flags, z: waves, few: np.ones(3, np.float32)})
    for got, want in zip(found, (flags, waves, np.ones(3)), strict=True):
        np.testing.assert_array_equal(got, np.stack([want] * 3, 1))


def test_feeds_of_any_layout(only_native):
    x, y = (dg.placeholder(dg.float64, [4000]) for _ in range(2))
    session = dg.Session(config=NATIVE)
    together = dg.stack([x, y], 1)
    dense = np.arange(4000.0)
    gaps = np.arange(12_000.0)[::3]
    back = np.arange(4000.0)[::-1]
    for a in (dense, gaps, back):
        for b in (dense, gaps, back):
            got = session.run(together, {x: a, y: b})
            np.testing.assert_array_equal(got, np.stack([a, b], 1))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_random_joins_and_turns_are_numpys_to_the_bit(data):
    dims = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    dims[data.draw(st.integers(0, len(dims) - 1))] = 600
    given = numbers(tuple(dims), data.draw(st.sampled_from(DTYPES)))
    axes = data.draw(st.permutations(range(len(dims))))
    axis = data.draw(st.integers(0, len(dims) - 1))
    with dg.Graph().as_default():
        x = dg.placeholder(dg.as_dtype(given.dtype), dims)
        y = x + x
        turned = dg.reshape(dg.transpose(y, axes), dims)
        parts = [turned, y, turned * turned]
        fetches = [turned, dg.concat(parts, axis), dg.stack(parts, axis + 1)]
        fetches.append(dg.concat([dg.stack(parts, 0), dg.stack(parts, 0)], axis))
        fetches = [*fetches, *[dg.negative(f) for f in fetches]]
        found = [
            dg.Session(config=dg.ConfigProto(native=n)).run(fetches, {x: given})
            for n in ("wait", "off")
        ]
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b)
