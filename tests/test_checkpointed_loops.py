"""Loops that keep the carries of every k-th iteration: the same derivatives, less
memory."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import dagrad as tf

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(11, 3))
START = np.array([0.3, 0.5, 0.7])
SIZES = [1, 3, 11, 100, [4, 2]]


def programs(every):
    """The rows, the start, the number of steps, and loops over them."""
    x = tf.placeholder(tf.float64, [None, 3])
    w = tf.placeholder(tf.float64, [3])
    n = tf.placeholder(tf.int32, [])

    def step(h, r):
        return tf.tanh(h * w + r)

    ends = {
        "scan": tf.scan(step, x, w, checkpoint_every=every),
        "reversed": tf.scan(step, x, w, reverse=True, checkpoint_every=every),
        "from the first": tf.scan(step, x, checkpoint_every=every),
        "foldl": tf.foldl(step, x, w, checkpoint_every=every),
        "foldr": tf.foldr(step, x, w, checkpoint_every=every),
        "while": tf.while_loop(
            lambda i, h: i < n,
            lambda i, h: (i + 1, step(h, x[i])),
            [0, w],
            checkpoint_every=every,
        )[1],
    }
    return {x: ROWS, w: START, n: 9}, ends


def derivatives(every, name):
    feeds, ends = programs(every)
    x, w, _ = feeds
    y = tf.reduce_sum(ends[name] ** 3)
    slopes = tf.gradients(y, [x, w])
    curved = tf.gradients(tf.reduce_sum(slopes[1] ** 2), [x, w])
    (pushed,) = tf.jvp([slopes[1]], [w])
    with tf.Session() as session:
        return session.run([y, *slopes, *curved, pushed], feeds)


@pytest.mark.parametrize("name", list(programs(None)[1]))
@pytest.mark.parametrize("every", SIZES, ids=str)
def test_blocks_change_no_derivative(name, every):
    for got, want in zip(derivatives(every, name), derivatives(None, name)):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def peak_states(every, n=400):
    """The predicted peak of a gradient, in states."""
    w = tf.placeholder(tf.float32, [16, 16])
    start = tf.placeholder(tf.float32, [1024, 16])
    h = tf.foldl(
        lambda h, _: tf.tanh(tf.matmul(h, w)),
        tf.zeros([n]),
        start,
        checkpoint_every=every,
    )
    slopes = tf.gradients(tf.reduce_sum(h), [w])
    feeds = {w: np.eye(16), start: np.zeros([1024, 16])}
    with tf.Session() as session:
        return session.plan(slopes, feeds).peak_bytes / (4 * 1024 * 16)


def test_square_root_blocks_keep_two_roots_of_states():
    assert peak_states(None) > 400
    assert peak_states(20) < 2 * 20 + 10
    assert peak_states([49, 7]) < 3 * 7.4 + 12


def test_bytes_choose_the_blocks():
    state = 4 * 1024 * 16
    assert peak_states(f"{500 * state}B") > 400
    assert peak_states(f"{60 * state}B") < 60
    with pytest.raises(tf.errors.ResourceExhaustedError, match="at least"):
        peak_states(f"{5 * state}B")


def test_bytes_need_a_known_number_of_iterations():
    x = tf.placeholder(tf.float32, [None, 3])
    with pytest.raises(ValueError, match="must be known"):
        tf.foldl(lambda h, r: h * r, x, checkpoint_every="1MB")


@pytest.mark.parametrize("every", [0, -1, 2.5, True, [], [2, 4], "much"], ids=str)
def test_what_is_no_size_is_refused(every):
    with pytest.raises(ValueError, match="checkpoint_every"):
        tf.foldl(lambda h, r: h * r, tf.ones([4]), checkpoint_every=every)


def test_a_block_that_draws_is_refused():
    with pytest.raises(tf.DagradError, match="computed again"):
        tf.foldl(
            lambda h, r: h * tf.random_uniform([]), tf.ones([4]), checkpoint_every=2
        )


def test_a_short_last_block_makes_no_room_for_the_others_to_outgrow():
    """Going backward it is the first; the whole blocks make more rows than it."""
    steps, every, state = 94, 12, 4 * 1024 * 16
    start = tf.placeholder(tf.float32, [1024, 16])
    h = tf.while_loop(
        lambda i, h: i < steps,
        lambda i, h: (i + 1, tf.tanh(h)),
        [0, start],
        checkpoint_every=every,
    )[1]
    slope = tf.gradients(h, start)
    value = np.ones([1024, 16], np.float32)
    with tf.Session() as session:
        gc.collect()
        tracemalloc.start()
        session.run(slope, {start: value})
        peak = tracemalloc.get_traced_memory()[1] / state
        tracemalloc.stop()
    assert peak < 51  # 57 where the block of 10 leaves rows that are too few
