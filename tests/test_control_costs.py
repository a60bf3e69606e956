"""Building and planning loops takes time in proportion to their size."""

from __future__ import annotations

import numpy as np
import pytest
from work import growth

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


def test_the_gradient_of_a_long_body():
    """Each value that is kept was searched for in a list."""

    def loop(n):
        x = tf.placeholder(tf.float64, [4])

        def step(i, h):
            for _ in range(n):
                h = tf.sin(h)
            return i + 1, h

        return x, tf.while_loop(lambda i, h: i < 2, step, [0, x])[1]

    def gradient(n):
        x, y = loop(n)
        return lambda: tf.gradients(tf.reduce_sum(y), [x])

    def first_run(n):
        x, y = loop(n)
        g = tf.gradients(tf.reduce_sum(y), [x])
        return lambda: tf.Session().run(g, {x: np.ones(4)})

    assert growth(gradient, 400) < 2.2
    assert growth(first_run, 400) < 2.2


def test_a_chain_of_calls_and_its_gradient():
    """Each call was compared to each, and each merge sorted the whole program."""

    def first_run(n):
        x = tf.placeholder(tf.float64, [3])
        f = tf.function(lambda a: tf.sin(a) * a)
        y = x
        for _ in range(n):
            y = f(y)
        (g,) = tf.gradients(tf.reduce_sum(y), [x])
        return lambda: tf.Session().run(g, {x: np.ones(3)})

    assert growth(first_run, 60) < 2.2


def test_equal_chains_of_calls_are_one():
    x = tf.placeholder(tf.float64, [3])
    f = tf.function(lambda a: tf.sin(a) * a)
    g = tf.function(lambda a: tf.foldl(lambda h, r: h * r + a, x, a))
    made = [f(g(f(g(x)))) for _ in range(3)]
    fetches = [*made, *tf.gradients(made[0] * made[2], [x]), *tf.jvp(made, [x], [x])]
    plan = tf.Session().plan(fetches, {x: np.ones(3)})
    # The chain, with its tangents, and backward from either factor.
    assert sum(step.opdef.control is not None for step in plan.steps) == 12


def test_a_program_of_many_loops_is_planned_once():
    """More loops than a session keeps plans of bodies for shapes that vary."""
    x = tf.placeholder(tf.float64, [2])
    y = x
    for _ in range(600):
        y = tf.foldl(lambda h, r: tf.sin(h) + r, x, y)
    session = tf.Session()
    session.run(y, {x: np.ones(2)})
    bodies = session._state.bodies
    before = dict(bodies._found)
    session.run(y, {x: np.ones(2)})
    assert len(before) == 600
    assert dict(bodies._found) == before


def test_many_carries_that_are_changed_in_place():
    """For each of them all that depends on what was searched through the body."""

    def loop(n):
        x = tf.placeholder(tf.float64, [4])

        def step(i, cs):
            total = tf.add_n([tf.reduce_sum(c) for c in cs])
            return i + 1, [*[tf.sin(tf.cos(c * 2.0)) for c in cs[:-1]], cs[-1] + total]

        cs = [x + float(k) for k in range(n)]
        return x, tf.while_loop(lambda i, cs: i < 3, step, [0, cs])[1]

    def first_run(n):
        x, ys = loop(n)
        return lambda: tf.Session().run(ys, {x: np.ones(4)})

    def want(cs):
        total = sum(c.sum() for c in cs)
        return [*[np.sin(np.cos(c * 2.0)) for c in cs[:-1]], cs[-1] + total]

    assert growth(first_run, 100) < 2.2
    expected = [np.ones(4) + k for k in range(300)]
    for _ in range(3):
        expected = want(expected)
    x, ys = loop(300)
    got = tf.Session().run(ys, {x: np.ones(4)})
    np.testing.assert_allclose(got, expected, rtol=1e-12)
