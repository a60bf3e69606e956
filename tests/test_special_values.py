"""NaN and infinities through a session, as the functions document them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dagrad as dg

NAN, INF = np.nan, np.inf
FLOATS = ("float16", "float32", "float64")
# A NaN first, in the middle and last, alone and beside infinities; lengths on both
# sides of what kernels treat in blocks.
_SHORT = (
    [NAN, 1.0, 2.0],
    [1.0, NAN, 2.0],
    [1.0, 2.0, NAN],
    [NAN, NAN, NAN],
    [INF, 1.0, -INF],
    [-INF, NAN, INF],
    [-INF, -INF, -INF],
    [INF, INF, 1.0],
    [-0.0, 0.0, -0.0],
)


def _rows() -> list[Any]:
    rng = np.random.default_rng(2)
    rows = [np.array(r) for r in _SHORT]
    for n in (33, 700):
        for where, what in ((0, NAN), (n // 2, NAN), (n - 1, NAN), (5, INF), (6, -INF)):
            row = rng.normal(size=n)
            row[where] = what
            rows.append(row)
    return rows


_ROWS = _rows()


def run(build: Any, *arrays: Any) -> Any:
    """What a session makes of ``build`` on placeholders of these arrays."""
    with dg.Graph().as_default():
        xs = [dg.placeholder(a.dtype, a.shape) for a in arrays]
        with dg.Session() as session, np.errstate(all="ignore"):
            return session.run(build(*xs), dict(zip(xs, arrays)))


def _softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


def _logsumexp(x: Any) -> Any:
    top = np.max(x)
    if not np.isfinite(top):
        return top
    return top + np.log(np.sum(np.exp(x - top)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("flip", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize(
    ("build", "reference"),
    [
        (dg.reduce_sum, np.sum),
        (dg.reduce_mean, np.mean),
        (dg.reduce_prod, np.prod),
        (dg.reduce_max, np.max),
        (dg.reduce_min, np.min),
        (dg.reduce_logsumexp, _logsumexp),
        (dg.argmax, np.argmax),
        (dg.argmin, np.argmin),
        (dg.cumsum, np.cumsum),
        (dg.cumprod, np.cumprod),
        (dg.nn.softmax, _softmax),
        (dg.nn.log_softmax, lambda x: x - _logsumexp(x)),
        (dg.sort, np.sort),
        (dg.argsort, lambda x, a=None: np.argsort(x, kind="stable")),
        (dg.count_nonzero, np.count_nonzero),
    ],
)
def test_along_an_axis(build: Any, reference: Any, flip: bool, dtype: str) -> None:
    """Each row by itself and as one row, or column, among finite ones."""
    tolerance = {"float16": 4e-2, "float32": 2e-4, "float64": 1e-9}[dtype]
    for row in _ROWS:
        x = row.astype(dtype)
        wide = np.stack([np.ones_like(x), x, -np.ones_like(x)])
        given, axis = (wide.T, 0) if flip else (wide, -1)
        if build in (dg.nn.softmax, dg.nn.log_softmax) and not np.isfinite(x.max()):
            continue  # below
        got = run(lambda t, a=axis: build(t, a), np.ascontiguousarray(given))
        mine = got.T[1] if got.ndim == 2 and flip else got[1]
        with np.errstate(all="ignore"):
            want = np.asarray(reference(x.astype(np.float64)))
            if want.dtype.kind == "f":
                want = want.astype(dtype)  # inf where the dtype overflows
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(mine, want, f"{x}")
            continue
        if build in (dg.cumprod, dg.reduce_prod) and x.size > 3:
            np.testing.assert_array_equal(np.isnan(mine), np.isnan(want), f"{x}")
            continue
        np.testing.assert_allclose(
            mine, want, tolerance, tolerance * np.sqrt(x.size), err_msg=f"{x}"
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("build", [dg.nn.softmax, dg.nn.log_softmax])
def test_a_row_with_nan_or_inf_has_no_softmax(build: Any, dtype: str) -> None:
    for row in _ROWS:
        if np.isfinite(row.max()):
            continue
        x = np.stack([np.zeros_like(row), row, np.zeros_like(row)]).astype(dtype)
        for axis in (-1, 0):
            given = np.ascontiguousarray(x if axis else x.T)
            got = run(lambda t, a=axis: build(t, a), given)
            got = got if axis else got.T
            if build is dg.nn.softmax or row.max() != INF:
                assert np.isnan(got[1]).all(), f"{row}"
            assert np.isfinite(got[[0, 2]]).all(), "other rows stay as they are"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_takes_nan_for_the_greatest(k: int, dtype: str) -> None:
    for row in _ROWS:
        x = row.astype(dtype)
        values, indices = run(lambda t: tuple(dg.nn.top_k(t, k)), np.stack([x, x]))
        # Stable, greatest first: sort what is negated, NaN before all numbers.
        order = np.lexsort((-np.where(np.isnan(x), 0, x), ~np.isnan(x)))[:k]
        np.testing.assert_array_equal(indices[1], order, f"{x}")
        np.testing.assert_array_equal(values[1], x[order], f"{x}")


@pytest.mark.parametrize("dtype", FLOATS)
def test_extremes_and_bounds_keep_nan(dtype: str) -> None:
    specials = np.array([NAN, INF, -INF, 0.0, -1.0, 2.0], dtype)
    x, y = (a.copy() for a in np.meshgrid(specials, specials))
    for build, reference in ((dg.maximum, np.maximum), (dg.minimum, np.minimum)):
        np.testing.assert_array_equal(run(build, x, y), reference(x, y))
    low, high = np.array(-0.5, dtype), np.array(1.5, dtype)
    got = run(dg.clip_by_value, x, low, high)
    np.testing.assert_array_equal(got, np.clip(x, low, high))
    got = run(dg.clip_by_value, x, np.array(NAN, dtype), high)
    assert np.isnan(got).all()


def test_unique_counts_nan_as_one_value() -> None:
    x = np.array([NAN, INF, NAN, -INF, INF, 0.0, -0.0])
    y, idx, count = run(lambda t: tuple(dg.unique_with_counts(t)), x)
    np.testing.assert_array_equal(y, [NAN, INF, -INF, 0.0])
    np.testing.assert_array_equal(idx, [0, 1, 0, 2, 1, 3, 3])
    np.testing.assert_array_equal(count, [2, 2, 1, 2])


def test_the_gradient_of_a_maximum_is_shared_among_infinities() -> None:
    x = np.array([[INF, INF, 1.0], [-INF, -INF, -INF]])
    got = run(lambda t: dg.gradients(dg.reduce_max(t, 1), t)[0], x)
    np.testing.assert_allclose(got, [[0.5, 0.5, 0], [1 / 3] * 3])


def test_logsumexp_of_nothing_likely_has_no_gradient() -> None:
    x = np.array([[-INF, -INF], [0.0, -INF]])
    got = run(lambda t: dg.gradients(dg.reduce_logsumexp(t, 1), t)[0], x)
    np.testing.assert_array_equal(got, [[0, 0], [1, 0]])


def test_a_clipped_infinity_gets_no_gradient() -> None:
    x = np.array([-INF, -0.5, 0.5, INF])
    got = run(lambda t: dg.gradients(dg.clip_by_value(t, -1.0, 1.0), t)[0], x)
    np.testing.assert_array_equal(got, [0, 1, 1, 0])
