"""gradients(..., checkpoints=): the same gradients from fewer bytes."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as tf


def net(layers=16, width=32, batch=256):
    """(x, all hidden values, loss, feeds): values between 32 KiB each."""
    rng = np.random.default_rng(2)
    x = tf.placeholder(tf.float32, [batch, width])
    h, hidden = x, []
    for _ in range(layers):
        w = tf.constant(rng.normal(size=(width, width)).astype(np.float32) / 6)
        h = tf.tanh(tf.matmul(h, w))
        hidden.append(h)
    loss = tf.reduce_sum(h * h)
    return x, hidden, loss, {x: rng.normal(size=(batch, width)).astype(np.float32)}


def repeats(plan):
    """Operation -> how often it runs again."""
    ops = [step.op for step in plan.steps if step.mode != "view"]
    return {op: ops.count(op) - 1 for op in set(ops) if ops.count(op) > 1}


def check_same(session, fetches, like, feeds):
    trace = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    want = session.run(like, feeds)
    np.testing.assert_array_equal(session.run(fetches, feeds), want)
    np.testing.assert_array_equal(session.run(fetches, feeds), want)
    np.testing.assert_array_equal(session.run(fetches, feeds, options=trace), want)


def test_a_collection_is_kept_and_the_rest_runs_once_more():
    x, hidden, loss, feeds = net()
    (plain,) = tf.gradients(loss, x)
    (thrifty,) = tf.gradients(loss, x, checkpoints=hidden[3::4])
    session = tf.Session()
    before, after = session.plan(plain, feeds), session.plan(thrifty, feeds)
    assert after.peak_bytes < 0.7 * before.peak_bytes
    again = repeats(after)
    assert set(again.values()) == {1}
    kept = {h.op for h in hidden[3::4]}
    assert not kept & set(again)
    assert {h.op for h in hidden[:3]} <= set(again)
    check_same(session, thrifty, plain, feeds)


def test_memory_takes_the_root_and_at_most_one_more_forward_pass():
    x, _, loss, feeds = net(layers=64)
    (plain,) = tf.gradients(loss, x)
    (thrifty,) = tf.gradients(loss, x, checkpoints="memory")
    session = tf.Session()
    before, after = session.plan(plain, feeds), session.plan(thrifty, feeds)
    assert after.peak_bytes < 0.3 * before.peak_bytes
    assert max(repeats(after).values()) == 1
    check_same(session, thrifty, plain, feeds)


def test_speed_repeats_what_is_cheap():
    rng = np.random.default_rng(2)
    x = tf.placeholder(tf.float32, [256, 64])
    h = x
    for _ in range(8):
        w = tf.constant(rng.normal(size=(64, 64)).astype(np.float32) / 8)
        z = tf.matmul(h, w)
        h = z * tf.sigmoid(z) + tf.sin(z)
    loss = tf.reduce_sum(h)
    feeds = {x: rng.normal(size=(256, 64)).astype(np.float32)}
    (plain,) = tf.gradients(loss, x)
    (thrifty,) = tf.gradients(loss, x, checkpoints="speed")
    session = tf.Session()
    before, after = session.plan(plain, feeds), session.plan(thrifty, feeds)
    assert after.peak_bytes < 0.8 * before.peak_bytes
    types = {op.type for op in repeats(after)}
    assert types and "MatMul" not in types
    check_same(session, thrifty, plain, feeds)


@pytest.mark.parametrize("keep", ["memory", "speed", ()])
def test_second_derivatives(keep):
    x = tf.placeholder(tf.float64, [32, 32])
    h = x
    for _ in range(6):
        h = tf.sin(tf.matmul(h, x)) * tf.exp(-h)
    loss = tf.reduce_sum(h)
    (plain,) = tf.gradients(loss, x)
    (thrifty,) = tf.gradients(loss, x, checkpoints=keep)
    (second,) = tf.gradients(tf.reduce_sum(plain * plain), x)
    (other,) = tf.gradients(tf.reduce_sum(thrifty * thrifty), x, checkpoints=keep)
    feeds = {x: np.random.default_rng(0).normal(size=(32, 32)) / 6}
    session = tf.Session()
    assert repeats(session.plan(other, feeds))
    check_same(session, other, second, feeds)


@pytest.mark.parametrize("keep", ["memory", "speed", ()])
def test_random_values_are_drawn_once(keep):
    tf.set_random_seed(1)
    x, _, _, feeds = net(layers=1)
    h = x
    for _ in range(6):
        h = tf.nn.dropout(tf.tanh(h * 1.5), rate=0.5)
    loss = tf.reduce_sum(h * h)
    (plain,) = tf.gradients(loss, x)
    (thrifty,) = tf.gradients(loss, x, checkpoints=keep)
    one, two = tf.Session(), tf.Session()
    plan = two.plan(thrifty, feeds)
    assert repeats(plan)
    assert all(op.opdef.effect is None for op in repeats(plan))
    for _ in range(2):
        np.testing.assert_array_equal(one.run(plain, feeds), two.run(thrifty, feeds))


def test_gradients_taken_in_a_body():
    x = tf.placeholder(tf.float64, [16, 16])

    def slope(h):
        y = h
        for _ in range(8):
            y = tf.tanh(tf.matmul(y, h))
        return tf.gradients(tf.reduce_sum(y), h, checkpoints="memory")[0] * 0.1

    def plain(h):
        y = h
        for _ in range(8):
            y = tf.tanh(tf.matmul(y, h))
        return tf.gradients(tf.reduce_sum(y), h)[0] * 0.1

    ends = [
        tf.while_loop(lambda i, h: i < 3, lambda i, h, f=f: (i + 1, f(h)), [0, x])[1]
        for f in (slope, plain)
    ]
    slopes = [tf.gradients(tf.reduce_sum(y), x)[0] for y in ends]
    feeds = {x: np.random.default_rng(0).normal(size=(16, 16)) / 4}
    session = tf.Session()
    check_same(session, ends[0], ends[1], feeds)
    check_same(session, slopes[0], slopes[1], feeds)


def test_a_limit_comes_on_top():
    x, hidden, loss, feeds = net(layers=24)
    (plain,) = tf.gradients(loss, x)
    (thrifty,) = tf.gradients(loss, x, checkpoints=hidden[1::2])
    free = tf.Session()
    peak = free.plan(plain, feeds).peak_bytes
    tight = tf.Session(config=tf.ConfigProto(memory_limit=int(0.45 * peak)))
    assert free.plan(thrifty, feeds).peak_bytes > 0.5 * peak
    assert tight.plan(thrifty, feeds).peak_bytes <= 0.45 * peak
    np.testing.assert_array_equal(tight.run(thrifty, feeds), free.run(plain, feeds))


@pytest.mark.parametrize("wrong", ["fast", [1.0], ["a"]])
def test_what_is_no_choice(wrong):
    x = tf.placeholder(tf.float32, [2])
    with pytest.raises(tf.errors.GradientError, match="checkpoints must be"):
        tf.gradients(tf.reduce_sum(x * x), x, checkpoints=wrong)
