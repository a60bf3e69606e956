"""Building and planning loops takes time in proportion to their size."""

from __future__ import annotations

import time

import numpy as np
import pytest

import dagrad as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


def seconds(f, *args):
    """The result, and the processor time that it took."""
    start = time.process_time()
    result = f(*args)
    return result, time.process_time() - start


def test_the_gradient_of_a_body_of_4000_operations():
    """A search of lists for each value that is kept took eight seconds."""
    x = tf.placeholder(tf.float64, [4])

    def step(i, h):
        for _ in range(4000):
            h = tf.sin(h)
        return i + 1, h

    _, y = tf.while_loop(lambda i, h: i < 2, step, [0, x])
    g, taken = seconds(tf.gradients, tf.reduce_sum(y), [x])
    assert taken < 4.0
    _, taken = seconds(tf.Session().run, g, {x: np.ones(4)})
    assert taken < 6.0
