"""Variables that are written between a body and what is derived from it."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


def started():
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def traced(session, fetches, feeds=None):
    """A run of the reference interpreter."""
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    return session.run(fetches, feeds, options=options, run_metadata=tf.RunMetadata())


both = pytest.mark.parametrize(
    "run", [tf.Session.run, traced], ids=["fast", "reference"]
)


W, STEPS = np.array([0.4, -0.7, 1.1]), np.array([0.1, 0.2, 0.3])

#: What reads a variable in a body: as a function of the variable and of a tensor.
READERS = {
    "loop": lambda v, x: tf.foldl(lambda h, r: tf.sin(h * v + r), STEPS, x),
    "checkpointed": lambda v, x: tf.foldl(
        lambda h, r: tf.sin(h * v + r), STEPS, x, checkpoint_every=2
    ),
    "nested": lambda v, x: tf.foldl(
        lambda h, r: tf.cond(r > 0.15, lambda: tf.sin(h * v), lambda: h * v),
        STEPS,
        x,
        checkpoint_every=1,
    ),
    "branch": lambda v, x: tf.cond(x[0] > 0, lambda: tf.sin(x * v), lambda: x),
    "recomputed": lambda v, x: tf.recompute_grad(lambda a: tf.sin(a * v))(x),
}


def slopes_beside_writes(read, order):
    """First and second derivatives, backward and forward, of what reads a variable,
    times its value after a write; the read may wait for a write itself."""
    v = tf.Variable(W)
    x = tf.placeholder(tf.float64, [3])
    before = []
    if order == "after one":
        before = [v.assign(v + 0.5)]
    with tf.control_dependencies(before):
        y = read(v, x)
    with tf.control_dependencies([y]):
        new = v.assign(v * 2.0)
    (first,) = tf.gradients(y * new, [x])
    (second,) = tf.gradients(tf.sin(first), [x])
    (pushed,) = tf.jvp([y], [x], [new])
    (third,) = tf.jvp([first], [x], [new])
    return x, [y, first, second, pushed, third]


@both
@pytest.mark.parametrize("order", ["before one", "after one"])
@pytest.mark.parametrize("name", list(READERS))
def test_derivatives_read_what_the_body_read(run, order, name):
    """Though they wait for a write that it does not wait for, or run before one that
    it does."""
    x, fetches = slopes_beside_writes(READERS[name], order)
    old = W + 0.5 if order == "after one" else W
    v = tf.constant(old)
    y = READERS[name](v, x)
    (first,) = tf.gradients(y * v * 2.0, [x])
    # What it is multiplied by depends on nothing.
    want = [y, first, tf.gradients(tf.sin(first), [x])[0]]
    want += tf.jvp([y], [x], [v * 2.0]) + tf.jvp([first], [x], [v * 2.0])
    feeds = {x: np.array([0.3, -0.2, 0.9])}
    for got, expected in zip(fetches, want):
        with started() as session:
            np.testing.assert_allclose(
                run(session, got, feeds), session.run(expected, feeds), rtol=1e-12
            )
