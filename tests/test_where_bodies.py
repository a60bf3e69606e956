"""What a where does not choose never makes a gradient NaN: with loops and branches."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.errors import GradientWarning

POINTS = np.array([0.0, 0.25, 4.0])


pytestmark = pytest.mark.usefixtures("graph")


def derivatives(build, dims):
    """First and second derivatives of the sum at POINTS, reverse over reverse."""
    x = dg.placeholder(dg.float64, dims)
    (g,) = dg.gradients(build(x), x)
    (h,) = dg.gradients(g, x)
    return dg.Session().run([g, h], {x: POINTS})


def guarded(x):
    return dg.where(x > 0.0, dg.sqrt(x), dg.zeros_like(x))


def once(step, x):
    """One iteration of a loop."""
    return dg.while_loop(lambda i, y: i < 1, lambda i, y: (i + 1, step(y)), [0, x])[1]


def chosen(x, y):
    return dg.where(x > 0.0, y, dg.zeros_like(x))


def outside_of_a_branch(x):
    root = dg.sqrt(x)
    return dg.cond(
        dg.reduce_sum(x) > 0.0, lambda: chosen(x, root), lambda: dg.zeros_like(x)
    )


def outside_of_a_loop(x):
    root = dg.sqrt(x)
    return once(lambda y: chosen(x, root) + 0.0 * y, x)


def in_another_iteration(x):
    """The first iteration takes the root, the second chooses of it."""
    zero = dg.zeros_like(x)
    return dg.while_loop(
        lambda i, y, z: i < 2,
        lambda i, y, z: (i + 1, dg.sqrt(x), chosen(x, y) + 0.0 * z),
        [0, zero, zero],
    )[2]


# All of them are sqrt(x) where x > 0, else 0.
PROGRAMS = {
    "inside a loop": lambda x: once(guarded, x),
    "inside a map": lambda x: dg.map_fn(guarded, x),
    "inside a scan": lambda x: dg.scan(
        lambda h, r: guarded(r) + 0.0 * h, x, dg.constant(0.0, dg.float64)
    ),
    "inside a branch": lambda x: dg.cond(
        dg.reduce_sum(x) > 0.0, lambda: guarded(x), lambda: x
    ),
    "inside a function": lambda x: dg.function(guarded)(x),
    "inside what is recomputed": lambda x: dg.recompute_grad(guarded)(x),
    "inside a loop in a map": lambda x: dg.map_fn(lambda r: once(guarded, r), x),
    "around a loop": lambda x: chosen(x, once(dg.sqrt, x)),
    "around a map": lambda x: chosen(x, dg.map_fn(dg.sqrt, x)),
    "around a branch": lambda x: chosen(
        x, dg.cond(dg.reduce_sum(x) > 0.0, lambda: dg.sqrt(x), lambda: x)
    ),
    "around a function": lambda x: chosen(x, dg.function(dg.sqrt)(x)),
    "around what is recomputed": lambda x: chosen(x, dg.recompute_grad(dg.sqrt)(x)),
    "around a loop of the root": lambda x: chosen(
        x, once(lambda y: 1.0 * y, dg.sqrt(x))
    ),
    "in a branch, the root outside": outside_of_a_branch,
    "in a loop, the root outside": outside_of_a_loop,
    "in a loop, the root in another iteration": in_another_iteration,
}


@pytest.mark.parametrize("dims", [(3,), (None,)], ids=["static", "unknown"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_not_chosen_does_not_count(program, dims):
    with np.errstate(all="ignore"):
        g, h = derivatives(PROGRAMS[program], dims)
    np.testing.assert_allclose(g, [0.0, 1.0, 0.25], rtol=1e-12)
    np.testing.assert_allclose(h, [0.0, -2.0, -1.0 / 32.0], rtol=1e-12)


def test_gradients_taken_in_a_body_of_what_is_outside():
    x = dg.constant(POINTS)
    root = dg.sqrt(x)

    def body(i, total):
        y = guarded(x) + chosen(x, root) + x
        return i + 1, total + dg.gradients(y, x)[0]

    total = dg.while_loop(lambda i, t: i < 2, body, [0, dg.zeros_like(x)])[1]
    with np.errstate(all="ignore"):
        got = dg.Session().run(total)
    np.testing.assert_allclose(got, [2.0, 6.0, 3.0])


def mixed(x):
    matrix = dg.constant(np.eye(3) + 0.5)
    column = dg.reshape(dg.sqrt(x), [3, 1])
    made = once(lambda y: dg.matmul(matrix, y), column)
    return chosen(x, dg.reshape(made, [3]))


def test_a_body_that_mixes_elements_warns():
    x = dg.constant(POINTS)
    with pytest.warns(GradientWarning, match="mixes elements"):
        dg.gradients(mixed(x), x)


def test_a_body_that_keeps_them_in_place_does_not():
    x = dg.constant(POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dg.gradients(PROGRAMS["around a loop of the root"](x), x)


def comparisons(graph):
    from dagrad.graphlib.subgraph import graphs_in

    return [op for g in graphs_in(graph) for op in g.operations if "Equal" in op.type]


def test_without_a_where_there_are_no_masks(graph):
    x = dg.constant(POINTS)
    y = dg.map_fn(lambda r: once(dg.sqrt, r), x)
    dg.gradients(dg.gradients(y, x), x)
    assert not comparisons(graph)
