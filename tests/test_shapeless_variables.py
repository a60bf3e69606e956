"""Variables whose shape is not known before the run (validate_shape=False)."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


def test_updates_give_the_whole_value() -> None:
    v = tf.Variable(np.zeros(2, np.float32), validate_shape=False)
    step = tf.assign_add(v, [1.0, 2.0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first, second = session.run(step), session.run(step * 10.0)
        assert first.tolist() == [1.0, 2.0]
        assert second.tolist() == [20.0, 40.0]
        assert session.run(v).tolist() == [2.0, 4.0]
        assert first.tolist() == [1.0, 2.0]


def test_a_variable_may_take_another_shape() -> None:
    v = tf.Variable(np.zeros(2, np.float32), validate_shape=False)
    x = tf.placeholder(tf.float32)
    whole = tf.assign(v, x, validate_shape=False)
    step = tf.assign_sub(v, x)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step, {x: np.ones(2)})
        session.run(whole, {x: np.ones((3, 1))})
        assert session.run(step, {x: np.ones((3, 1))}).tolist() == [[0.0]] * 3
        assert session.run(v).shape == (3, 1)


def test_optimizers_train_such_variables() -> None:
    w = tf.Variable(np.ones(3, np.float32), validate_shape=False)
    optimizer = tf.train.MomentumOptimizer(0.5, 0.0)
    step = optimizer.minimize(tf.reduce_sum(w * w))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        assert session.run(w).tolist() == [0.0, 0.0, 0.0]
        slot = optimizer.get_slot(w, "momentum")
        assert session.run(slot).tolist() == [2.0, 2.0, 2.0]
