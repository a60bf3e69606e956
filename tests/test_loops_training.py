"""Training inside of loops and branches."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g
        g.validate()


def started():
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def test_training_in_a_loop():
    """A whole optimisation as one operation."""
    w = tf.Variable(0.0)
    x, y = np.array([1.0, 2.0], np.float32), np.array([2.0, 4.0], np.float32)

    def body(i):
        value = w.read_value()
        (g,) = tf.gradients(tf.reduce_sum(tf.square(value * x - y)), [value])
        with tf.control_dependencies([w.assign_sub(0.05 * g)]):
            return i + 1

    session = started()
    session.run(w.initializer)
    session.run(tf.while_loop(lambda i: i < 50, body, [0]))
    assert session.run(w) == pytest.approx(2.0, abs=1e-5)


OPTIMIZERS = {
    "sgd": lambda: tf.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.5),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.5),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.05),
    "adam": lambda: tf.train.AdamOptimizer(0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_in_a_loop_does_what_it_does_in_as_many_runs(kind):
    """Slots, shared state and the step counter lie around the loop."""

    def build(inside):
        w = tf.Variable([0.0, 1.0])
        count = tf.train.create_global_step()
        optimizer = OPTIMIZERS[kind]()

        def step():
            loss = tf.reduce_sum(tf.square(w - [3.0, -1.0]))
            return optimizer.minimize(loss, global_step=count, var_list=[w])

        def body(i):
            with tf.control_dependencies([step()]):
                return i + 1

        return w, count, tf.while_loop(lambda i: i < 7, body, [0]) if inside else step()

    w, count, loop = build(True)
    session = started()
    session.run(loop)
    got = session.run([w, count])
    with tf.Graph().as_default():
        w, count, step = build(False)
        session = started()
        for _ in range(7):
            session.run(step)
        want = session.run([w, count])
    assert got[1] == want[1] == 7
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)


def test_a_step_in_a_branch():
    w = tf.Variable(0.0)
    p = tf.placeholder(tf.bool, [])
    optimizer = tf.train.AdamOptimizer(0.1)
    loss = tf.square(w - 3.0)
    step = tf.cond(p, lambda: optimizer.minimize(loss), lambda: tf.no_op())
    session = started()
    session.run(step, {p: False})
    assert session.run(w) == 0.0
    session.run(step, {p: True})
    assert session.run(w) == pytest.approx(0.1, rel=1e-4)


def test_batch_normalisation_in_branches():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32) * 3.0 + 1.0
    training = tf.placeholder(tf.bool, [])

    def layer(flag):
        return tf.layers.batch_normalization(
            tf.constant(x), training=flag, name="bn", reuse=tf.AUTO_REUSE
        )

    y = tf.cond(training, lambda: layer(True), lambda: layer(False))
    session = started()
    scaled = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
    np.testing.assert_allclose(session.run(y, {training: True}), scaled, atol=1e-5)
    plain = x / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(session.run(y, {training: False}), plain, rtol=1e-5)


def test_a_recurrent_network_of_unknown_sizes_trains():
    x = tf.placeholder(tf.float32, [None, None, 4])
    w = tf.get_variable("w", [12, 8])
    h = tf.scan(
        lambda h, row: tf.tanh(tf.matmul(tf.concat([h, row], 1), w)),
        x,
        initializer=tf.zeros([tf.shape(x)[1], 8]),
    )
    assert h.shape.as_list() == [None, None, 8]
    loss = tf.reduce_mean(tf.square(h[-1]))
    step = tf.train.AdamOptimizer(0.02).minimize(loss)
    session = started()
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(3 + k, 2 + k % 2, 4)) for k in range(3)]
    losses = [session.run([loss, step], {x: data[k % 3]})[0] for k in range(60)]
    assert losses[-1] < 0.3 * losses[0]
