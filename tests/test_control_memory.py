"""Whose memory the results of loops are, what a run takes, and that it comes back."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from control_programs import PROGRAMS

import dagrad as tf

X = np.array([0.7, -0.4, 1.1])


pytestmark = pytest.mark.usefixtures("graph")


def traced(session, fetches, feeds):
    """A run of the reference interpreter."""
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    return session.run(fetches, feeds, options=options, run_metadata=tf.RunMetadata())


def arrays(results):
    return [r for r in results if isinstance(r, np.ndarray)]


# -- results are the caller's ------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("dims", [[3], [None]], ids=["known", "unknown"])
def test_every_run_and_the_reference_agree_to_the_bit(program, dims):
    """Together and alone, again and again: memory is used over, never too early."""
    x = tf.placeholder(tf.float64, dims)
    y = program(tf, x)
    fetches = [y, *tf.gradients(y, [x]), *tf.jvp([y], [x], [tf.sin(x)])]
    session = tf.Session()
    want = traced(session, fetches, {x: X})
    for _ in range(3):
        for a, b in zip(session.run(fetches, {x: X}), want):
            np.testing.assert_array_equal(a, b)
        for f, b in zip(fetches, want):
            np.testing.assert_array_equal(session.run(f, {x: X}), b)


def many(x):
    """Results that live in a history, a stack, a buffer, or where a carry was."""
    rows = tf.stack([x, x * 2.0, x + 1.0])
    _, h, kept, view = tf.while_loop(
        lambda i, h, k, v: i < 5,
        lambda i, h, k, v: (i + 1, h + tf.sin(k), k, h[::-1]),
        [0, x, x * 3.0, x],
    )
    forward = tf.scan(lambda a, r: tf.tanh(a + r), rows, x)
    backward = tf.scan(lambda a, r: (a[1] * 0.5, a[0] + r), rows, (x, x), reverse=True)
    mapped = tf.map_fn(lambda r: r * x, rows)
    chosen = tf.cond(x[0] > 0.0, lambda: (x, h), lambda: (h, x))
    loss = tf.reduce_sum(forward * backward[1]) + tf.reduce_sum(h * view)
    return [
        *(h, kept, view, forward, forward[-1], *backward, mapped, *chosen),
        *tf.gradients(loss, [x]),
    ]


def test_what_a_caller_keeps_stays_as_it_is():
    x = tf.placeholder(tf.float64, [3])
    fetches = many(x)
    session = tf.Session()
    feed = X.copy()
    first = arrays(session.run(fetches, {x: feed}))
    copies = [a.copy() for a in first]
    for i, a in enumerate(first):
        assert a.flags.writeable
        assert not np.shares_memory(a, feed)
        assert not any(np.shares_memory(a, b) for b in first[:i])
    second = arrays(session.run(fetches, {x: X * 0.5}))
    for a, b in zip(first, copies):
        np.testing.assert_array_equal(a, b)
    for a in (*first, *second):
        a[...] = np.nan
    for a, b in zip(arrays(session.run(fetches, {x: feed})), copies):
        np.testing.assert_array_equal(a, b)


# -- what a run takes ------------------------------------------------------------


N = 40_000
ROWS = np.zeros([12, 1])


def cell(h, r):
    return tf.tanh(tf.sin(h) * tf.cos(h) + r)


def nested(x):
    inner = lambda h, r: tf.foldl(lambda a, q: tf.sin(a) * h, ROWS[:4], h + r)  # noqa: E731
    return tf.foldl(inner, ROWS, x)


SIZED = {
    "scan": lambda x: tf.scan(cell, ROWS, x),
    "foldl": lambda x: tf.foldl(cell, ROWS, x),
    "map": lambda x: tf.map_fn(lambda r: tf.reduce_sum(tf.sin(x * r)), ROWS),
    "two": lambda x: tf.foldl(lambda a, r: (a[1], tf.sin(a[0])), ROWS, (x, x * 2.0))[0],
    "nested": nested,
    "cond": lambda x: tf.cond(x[0] > 0.0, lambda: tf.foldl(cell, ROWS, x), lambda: x),
    "blocks": lambda x: tf.foldl(cell, ROWS, x, checkpoint_every=4),
}


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_plan_tells_what_a_run_takes(name, order):
    x = tf.placeholder(tf.float64, [N])
    y = SIZED[name](x)
    for _ in range(order):
        (y,) = tf.gradients(tf.reduce_sum(y * y), [x])
    session = tf.Session()
    feeds = {x: np.full(N, 0.5)}
    plan = session.plan(y, feeds)
    assert plan.exact
    tracemalloc.start()
    session.run(y, feeds)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Python's own objects are there too: of the plan, and of the frames.
    assert taken < 1.03 * plan.peak_bytes + 300_000
    assert taken > 0.9 * plan.peak_bytes


# -- and what it leaves ------------------------------------------------------------


def growth(run, times):
    """Bytes that ``run`` leaves in ``times`` calls, after some that fill caches."""
    for _ in range(100):
        run()
    gc.collect()
    tracemalloc.start()
    for _ in range(50):
        run()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(times):
        run()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def loops(x, n):
    _, a, b = tf.while_loop(
        lambda i, a, b: i < n,
        lambda i, a, b: (
            i + 1,
            tf.sin(a) * tf.cos(b),
            tf.cond(tf.equal(i % 2, 0), lambda: a * 0.1, lambda: b * 0.2),
        ),
        [0, x, x * 0.5],
    )
    return [a, *tf.gradients(tf.reduce_sum(a * b), [x])]


def test_runs_leave_nothing():
    x, n = tf.placeholder(tf.float64, [None]), tf.placeholder(tf.int32, [])
    fetches = loops(x, n)
    session = tf.Session()
    count = iter(range(10**6))

    def run():
        k = next(count)
        session.run(fetches, {x: np.ones(3 + k % 3), n: k % 7})

    assert growth(run, 150) < 30_000


def test_errors_leave_nothing():
    x, n = tf.placeholder(tf.float64, [None]), tf.placeholder(tf.int32, [])
    step = lambda i, a: (i + 1, a + tf.gather(a, [i]))  # noqa: E731
    y = tf.while_loop(lambda i, a: i < n, step, [0, x])[1]
    session = tf.Session()

    def run():
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(y, {x: np.ones(3), n: 9})

    assert growth(run, 150) < 60_000


def test_sessions_and_graphs_go_with_all_that_they_hold():
    def made():
        with tf.Graph().as_default() as graph:
            x, n = tf.placeholder(tf.float64, [None]), tf.placeholder(tf.int32, [])
            fetches = loops(x, n)
            session = tf.Session()
            for _ in range(2):
                results = session.run(fetches, {x: np.ones(20_000), n: 5})
        return [weakref.ref(graph), weakref.ref(session)], results

    made()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    gone, results = made()
    gc.collect()
    assert [r() for r in gone] == [None, None]
    assert all((np.asarray(r) == np.asarray(r)).all() for r in results)
    del results
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert left < 50_000


@pytest.mark.parametrize("turned", [np.ascontiguousarray, np.asfortranarray])
def test_a_carry_that_is_written_in_place_starts_from_any_layout(turned):
    """A kernel looks at what it writes into in another shape."""
    x = tf.placeholder(tf.float64, [2, 2, 3])
    c = tf.placeholder(tf.float64, [])

    def body(i, a, c):
        row = tf.ones([1, 2, 3], tf.float64) * tf.cast(i + 1, tf.float64)
        return i + 1, tf.tensor_scatter_update(a, [[i]], row), tf.sin(c)

    # A history whose length only the run tells: no output's memory is planned.
    going = lambda i, a, c: tf.logical_and(i < 2, c < 1e6)  # noqa: E731
    _, a, last = tf.while_loop(going, body, [0, x, c])
    fetches = [a, *tf.gradients(last, c)]
    given = np.zeros((2, 2, 3))
    got, _ = tf.Session().run(fetches, {x: turned(given), c: 0.1})
    np.testing.assert_array_equal(got, np.repeat([1.0, 2.0], 6).reshape(2, 2, 3))
    np.testing.assert_array_equal(given, 0.0)
