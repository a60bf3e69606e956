"""Dense Jacobians through loops and branches, of shapes that a run tells."""

from __future__ import annotations

import numpy as np
import pytest
from dense import run

import dagrad as dg
from dagrad.ops.derivatives import jacobian, vectorized_map

pytestmark = pytest.mark.usefixtures("graph")

MODES = ("forward", "reverse")


@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_rows_that_branch_apart(mode: str, known: bool) -> None:
    """The bodies of the branches count rows that the loop around them made."""
    a = np.array([0.3, 0.9, 0.6])
    x = dg.placeholder(dg.float64, [3 if known else None])
    y = vectorized_map(
        lambda e: dg.cond(e > 0.5, lambda: dg.sin(e), lambda: e * x[1]), x
    )
    want = [[a[1], a[0], 0], [0, np.cos(a[1]), 0], [0, 0, np.cos(a[2])]]
    np.testing.assert_allclose(run(jacobian(y, x, mode), {x: a}), want, rtol=1e-12)


@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("mode", MODES)
def test_jacobian_through_a_branch_without_rows(mode: str, known: bool) -> None:
    """Where one branch gives rows, the other repeats its result as often."""
    x = dg.placeholder(dg.float64, [2 if known else None])
    c = dg.placeholder(dg.float64, [])
    y = vectorized_map(lambda e: dg.cond(c > 0.0, lambda: e * e, lambda: c), x)
    j = jacobian(y, x, mode)
    feeds = {x: [1.0, 2.0]}
    np.testing.assert_array_equal(run(j, {**feeds, c: 1.0}), [[2, 0], [0, 4]])
    np.testing.assert_array_equal(run(y, {**feeds, c: -1.0}), [-1, -1])
    np.testing.assert_array_equal(run(j, {**feeds, c: -1.0}), np.zeros((2, 2)))


@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_a_scan_of_unknown_rank(mode: str) -> None:
    x = dg.placeholder(dg.float64, None)
    y = dg.scan(lambda s, row: s * row, x, x[0])
    want = [[2 * 2, 0], [2 * 2 * 3, 2**2]]
    np.testing.assert_allclose(run(jacobian(y, x, mode), {x: [2.0, 3.0]}), want)


@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_a_loop_in_a_branch_of_unknown_rank(mode: str) -> None:
    """Where the other branch is taken, what the loop would keep is a scalar."""

    def step(i, s):
        return i + 1, s * s

    def fourth(e):
        return dg.while_loop(lambda i, s: i < 2, step, [0, e])[1]

    x = dg.placeholder(dg.float64, None)
    y = dg.map_fn(lambda e: dg.cond(e > 2.0, lambda: fourth(e), lambda: e), x)
    got = run(jacobian(y, x, mode), {x: [1.0, 3.0]})
    np.testing.assert_allclose(got, np.diag([1.0, 4 * 3.0**3]))


def until_ten(x):
    """x² applied until it passes 10: another number of times for each x > 1."""
    return dg.while_loop(lambda s: s < 10.0, lambda s: s * s, [x])


@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
def test_gradients_of_rows_that_iterate_differently(known: bool) -> None:
    """What a row's loop keeps has a length of its own: it is read row by row."""
    a = np.array([1.5, 2.0, 4.0])
    powers = np.array([8.0, 4.0, 2.0])
    x = dg.placeholder(dg.float64, [3 if known else None])
    slopes = vectorized_map(lambda e: dg.gradients(until_ten(e), e)[0], x)
    np.testing.assert_allclose(run(slopes, {x: a}), powers * a ** (powers - 1))
    bends = np.diag(powers * (powers - 1) * a ** (powers - 2))
    for mode in MODES:
        np.testing.assert_allclose(run(jacobian(slopes, x, mode), {x: a}), bends)
    total = dg.reduce_sum(vectorized_map(until_ten, x))
    np.testing.assert_allclose(run(dg.hessian(total, x), {x: a}), bends)


def test_gradients_of_calls_that_iterate_differently() -> None:
    x = dg.placeholder(dg.float64, [2])
    called = dg.function(until_ten)
    y = vectorized_map(lambda e: dg.gradients(called(e), e)[0], x)
    np.testing.assert_allclose(run(y, {x: [2.0, 4.0]}), [4 * 2.0**3, 2 * 4.0])


@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_gradients_of_rows_that_branch_apart(mode: str) -> None:
    """Where a branch was not taken it kept nothing, for each unit vector alike."""
    a = np.array([0.3, 0.9])
    x = dg.placeholder(dg.float64, [None])

    def slope(e):
        y = dg.cond(e > 0.5, lambda: dg.sin(e) * x[0], lambda: e * e)
        return dg.gradients(y, e)[0]

    want = [[2.0, 0.0], [np.cos(a[1]), -np.sin(a[1]) * a[0]]]
    got = run(jacobian(vectorized_map(slope, x), x, mode), {x: a})
    np.testing.assert_allclose(got, want)


def test_rows_that_end_in_different_shapes_are_an_error() -> None:
    x = dg.placeholder(dg.float64, [2])

    def grown(e):
        return dg.while_loop(
            lambda s: dg.reduce_sum(s) < 3.0,
            lambda s: dg.concat([s, s], 0),
            [e[None]],
            shape_invariants=[dg.TensorShape([None])],
        )

    y = vectorized_map(grown, x)
    with pytest.raises(ValueError, match="rows of different shapes"):
        run(y, {x: [1.0, 2.0]})
    np.testing.assert_array_equal(run(y, {x: [2.0, 2.0]}), np.full((2, 2), 2.0))
    total = vectorized_map(lambda e: dg.reduce_sum(grown(e)), x)
    np.testing.assert_array_equal(run(total, {x: [1.0, 2.0]}), [4.0, 4.0])


def test_custom_gradients_of_rows_of_unknown_shapes() -> None:
    """Values, gradients inside, and gradients around."""

    @dg.custom_gradient
    def tripled(e):
        y = dg.cond(e > 0.5, lambda: dg.sin(e), lambda: e * e)
        return y, lambda dy: 3.0 * dy * e

    x = dg.placeholder(dg.float64, None)
    a = np.array([0.3, 0.9])
    y = vectorized_map(tripled, x)
    np.testing.assert_allclose(run(y, {x: a}), [a[0] ** 2, np.sin(a[1])])
    slopes = vectorized_map(lambda e: dg.gradients(tripled(e), e)[0], x)
    np.testing.assert_allclose(run(slopes, {x: a}), 3.0 * a)
    (around,) = dg.gradients(y, x)
    np.testing.assert_allclose(run(around, {x: a}), 3.0 * a)
    (second,) = dg.jvp(around, x)
    np.testing.assert_allclose(run(second, {x: a}), [3.0, 3.0])
