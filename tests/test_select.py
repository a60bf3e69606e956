"""Choosing by bits gives what np.where gives, to the last bit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from dagrad.ops._choose import choose, keep_positive, settle_positive

SIZES = [0, 1, 7, 2047, 2048, 16384, 16385, 50_001]


def operand(kind: str, n: int, dtype: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "scalar":
        return np.array(-0.0 if "f" in dtype else 3, dtype)
    values = rng.standard_normal(n) * 100
    if "f" in dtype:
        values[::5], values[1::7], values[2::11] = np.nan, -0.0, np.inf
    return values.astype(dtype)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "i2", "c8"])
@pytest.mark.parametrize("kinds", ["array array", "array scalar", "scalar array"])
@pytest.mark.parametrize("n", SIZES)
def test_the_choice_is_exact(n: int, kinds: str, dtype: str) -> None:
    rng = np.random.default_rng(n)
    c = rng.random(n) < 0.5
    x, y = (operand(k, n, dtype, rng) for k in kinds.split())
    expected = np.where(c, x, y)
    out = np.empty(n, dtype)
    assert choose(np, c, x, y, out) is out
    assert out.tobytes() == expected.tobytes()
    for taken in (x, y):
        if taken.ndim:  # the output may take over either operand
            mine = taken.copy()
            a, b = (mine, y) if taken is x else (x, mine)
            assert choose(np, c, a, b, mine).tobytes() == expected.tobytes()


def test_broadcasting_and_strides() -> None:
    rng = np.random.default_rng(0)
    c = rng.random((60, 1)) < 0.5
    x, y = rng.random((60, 80)), rng.random((80, 60)).T
    out = np.empty((60, 80))
    np.testing.assert_array_equal(choose(np, c, x, y, out), np.where(c, x, y))
    np.testing.assert_array_equal(choose(np, c, x, y, x), out)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("n", SIZES)
def test_only_what_belongs_to_positive_numbers_is_kept(n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    y, g = (operand("array", n, dtype, rng) for _ in range(2))
    expected = np.where(y > 0, g, np.zeros((), dtype))
    assert keep_positive(np, y, g).tobytes() == expected.tobytes()
    assert keep_positive(np, y, g[::-1].copy()[::-1]).tobytes() == expected.tobytes()
    for taken in (y, g):
        mine = taken.copy()
        a, b = (mine, g) if taken is y else (y, mine)
        assert keep_positive(np, a, b, mine).tobytes() == expected.tobytes()


def test_a_repeated_cotangent_is_not_copied() -> None:
    y = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    g = np.broadcast_to(np.float32(3), y.shape)
    expected = np.where(y > 0, g, np.float32(0))
    out = np.empty_like(y)
    tracemalloc.start()
    keep_positive(np, y, g, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out.tobytes() == expected.tobytes()
    assert peak < 2**16
    assert keep_positive(np, y, g, y).tobytes() == expected.tobytes()


@pytest.mark.parametrize("n", SIZES)
def test_the_settled_form_reads_its_arrays_anew_in_every_run(n: int) -> None:
    rng = np.random.default_rng(n)
    y, g, out = (np.empty(n, np.float32) for _ in range(3))
    tile = min(n, 16384)
    run = settle_positive([y, g], out, (np.empty(tile, bool), np.empty(tile, "i4")), {})
    for _ in range(2):
        y[:] = rng.standard_normal(n)
        g[:] = rng.standard_normal(n)
        run()
        assert out.tobytes() == np.where(y > 0, g, np.float32(0)).tobytes()
