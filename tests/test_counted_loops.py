"""Loops that only count: how many iterations they make is known before the run."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import dagrad as tf
from dagrad.graphlib.dtypes import as_dtype

pytestmark = pytest.mark.usefixtures("graph")

TESTS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "!=": lambda a, b: (
        tf.not_equal(a, b) if hasattr(a, "op") or hasattr(b, "op") else a != b
    ),
}


def loop(test, start, step, end, swapped=False, dtype=tf.int32, most=None):
    """(The loop's counter and state, whether its plan tests), by dagrad."""

    def again(i, h):
        return test(end, i) if swapped else test(i, end)

    start = tf.constant(start, dtype) if not hasattr(start, "op") else start
    return tf.while_loop(
        again,
        lambda i, h: (i + step, h * 0.5 + 1.0),
        [start, 0.0],
        maximum_iterations=most,
    )


def by_hand(test, start, step, end, swapped=False, most=None):
    i, h, count = start, np.float32(0.0), 0
    while (test(end, i) if swapped else test(i, end)) and count != most:
        i, h, count = i + step, h * np.float32(0.5) + np.float32(1.0), count + 1
    return i, h


def is_tested(fetches, feeds=None):
    """Whether the loop of a plan tests."""
    with tf.Session() as session:
        plan = session.plan(fetches, feeds or {})
    (step,) = [s for s in plan.steps if s.opdef.control == "loop"]
    return step.attrs["tested"]


CASES = [
    ("<", 0, 1, 7), ("<", 0, 3, 7), ("<", -4, 2, 6), ("<", 5, 1, 5), ("<", 9, 1, 5),
    ("<=", 0, 1, 7), ("<=", 0, 7, 7), (">", 7, -1, 0), (">", 7, -2, -4),
    (">=", 7, -1, 0), (">=", 3, -5, 3), ("!=", 0, 1, 6), ("!=", 9, -3, 0),
    ("!=", 4, 1, 4), ("<", 0, 100, 1), (">", 5, -1, 9),
]  # fmt: skip


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("most", [None, 3, 50])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_runs_as_often_as_by_hand(case, most, swapped):
    name, start, step, end = case
    if swapped:  # end ~ i is i ~ end with the sides exchanged
        other = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!="}[name]
        test = TESTS[other]
    else:
        test = TESTS[name]
    fetches = loop(test, start, step, end, swapped, most=most)
    want = by_hand(test, start, step, end, swapped, most)
    with tf.Session() as session:
        got = session.run(fetches)
        plan = session.plan(fetches, {})
    assert got[0] == want[0]
    assert got[1] == want[1]
    assert not any(s.attrs.get("tested") for s in plan.steps)


def test_what_is_stacked_has_a_known_shape_and_is_planned():
    x = tf.placeholder(tf.float32, [None, 8])
    _, y = tf.while_loop(
        lambda i, h: i < tf.shape(x)[0], lambda i, h: (i + 1, tf.sin(h) * h), [0, x]
    )
    (g,) = tf.gradients(tf.reduce_sum(y), [x])
    feeds = {x: np.ones((12, 8), np.float32)}
    with tf.Session() as session:
        plan = session.plan(g, feeds)
    assert plan.exact
    assert plan.peak_bytes >= 12 * 12 * 8 * 4


def test_the_results_are_those_of_a_loop_that_tests():
    """The same loop with a bound that only the run knows, to the bit."""
    x = tf.placeholder(tf.float64, [5])
    bound = tf.placeholder(tf.int32, [])
    many = []
    for n in (bound, 6):
        _, y, s = tf.while_loop(
            lambda i, h, s, n=n: i < n,
            lambda i, h, s: (i + 1, tf.sin(h) + h, s + tf.cast(i, tf.float64) * h),
            [0, x, x * 0.0],
        )
        loss = tf.reduce_sum(y * s)
        (g,) = tf.gradients(loss, [x])
        many.append([loss, g, tf.gradients(tf.reduce_sum(g * g), [x])[0]])
    feeds = {x: np.linspace(-1, 2, 5), bound: 6}
    with tf.Session() as session:
        dynamic, counted = session.run(many, feeds)
    for a, b in zip(dynamic, counted):
        np.testing.assert_array_equal(a, b)
    assert is_tested(many[0][0], feeds)
    assert not is_tested(many[1][0], feeds)


def test_a_fed_start_or_test_is_what_counts():
    start = tf.constant(0)
    outs = loop(operator.lt, start, 1, 5)
    with tf.Session() as session:
        assert session.run(outs[0]) == 5
        for i in (3, 8, -2):
            assert session.run(outs[0], {start: i}) == max(i, 5)


def test_what_does_more_than_count_is_tested():
    x = tf.placeholder(tf.float32, [])
    body = lambda i, h: (i + 1, h * 0.5)  # noqa: E731
    both = tf.while_loop(lambda i, h: tf.logical_and(i < 9, h > 0.1), body, [0, x])
    doubled = tf.while_loop(lambda i, h: i < 9, lambda i, h: (i * 2, h), [1, x])
    varying = tf.while_loop(lambda i, j: i < 9, lambda i, j: (i + j, j + 1), [0, 1])
    with tf.Session() as session:
        assert session.run(both, {x: 1.0})[0] == 4
        assert session.run(doubled[0], {x: 1.0}) == 16
        assert session.run(varying) == [10, 5]
    assert is_tested(both, {x: 1.0})
    assert is_tested(doubled[0], {x: 1.0})
    assert is_tested(varying)


@pytest.mark.parametrize("dtype", [tf.int8, tf.uint8, tf.int64])
def test_counters_of_other_types(dtype):
    outs = loop(
        operator.lt, 1, tf.constant(2, dtype), tf.constant(20, dtype), dtype=dtype
    )
    assert tf.Session().run(outs[0]) == 21
    assert not is_tested(outs)


def test_a_counter_that_overflows_goes_on_as_it_does():
    # 120 + 10 is -126 in an int8: below 125 still, and so once more around.
    info = np.iinfo(as_dtype(tf.int8).as_numpy_dtype)
    outs = loop(
        operator.lt,
        100,
        tf.constant(10, tf.int8),
        tf.constant(125, tf.int8),
        dtype=tf.int8,
    )
    i, count = np.int8(100), 0
    with np.errstate(over="ignore"):
        while i < 125 and count < 1000:
            i, count = np.int8((int(i) + 10 - info.min) % 256 + info.min), count + 1
    assert is_tested(outs)
    if count < 1000:
        assert tf.Session().run(outs[0]) == i
