"""Loops in several threads of one session, and runs that end in the middle."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


def locked(session):
    """Whether a run of the session still holds something."""
    state = session._state
    busy = any(arena.lock.locked() for arena in state.arenas._arenas)
    return busy or bool(state.lock._readers) or state.lock._writer is not None


def test_threads_run_loops_of_other_lengths_and_shapes(graph):
    """Their stacks are in memory that the session lends to one after the other."""
    x, n = tf.placeholder(tf.float64, [None, 50]), tf.placeholder(tf.int32, [])

    def body(i, a, b):
        inner = tf.while_loop(
            lambda j, z: j < i % 3, lambda j, z: (j + 1, tf.cos(z) * a), [0, b]
        )[1]
        even = tf.equal(i % 2, 0)
        other = tf.cond(even, lambda: tf.sin(a * b), lambda: inner)
        return i + 1, (tf.sin(a) + other) * 0.5, inner

    _, a, b = tf.while_loop(lambda i, a, b: i < n, body, [0, x, x * 0.5])
    fetches = [a, *tf.gradients(tf.reduce_sum(a * b), [x])]

    def feeds(rows, count):
        return {x: np.linspace(0.1, 1.0, rows * 50).reshape(rows, 50), n: count}

    kinds = [(rows, count) for rows in (3, 7) for count in (5, 30, 60)]
    want = {k: tf.Session(graph=graph).run(fetches, feeds(*k)) for k in kinds}
    assert all(np.isfinite(a).all() for results in want.values() for a in results)
    session = tf.Session()
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(15):
            k = kinds[rng.integers(len(kinds))]
            got = session.run(fetches, feeds(*k))
            if not all(np.array_equal(p, q) for p, q in zip(got, want[k])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert not locked(session)


@pytest.mark.parametrize(
    "error", [ValueError("x"), MemoryError(), KeyboardInterrupt(), SystemExit()]
)
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_run_that_ends_in_the_middle_leaves_the_session_whole(error, at):
    x = tf.placeholder(tf.float64, [10_000])
    v = tf.Variable(np.zeros(3))
    fails = []

    def call(a, i):
        if fails and i == fails[0]:
            raise error
        return a * 1.5

    def called(h, i):
        z = tf.py_func(call, [h, i], tf.float64)
        z.set_shape(h.shape)
        return z

    def body(i, h):
        z = called(h, i)
        inner = tf.while_loop(
            lambda j, q: j < 2, lambda j, q: (j + 1, tf.sin(q)), [0, z]
        )
        return i + 1, tf.cond(i > 1, lambda: inner[1] + h, lambda: inner[1])

    def writing(i, h):
        z = called(h, i)
        return i + 1, z + tf.reduce_sum(v.assign_add(z[:3]))

    reads = tf.while_loop(lambda i, h: i < 7, body, [0, x])[1]
    writes = tf.while_loop(lambda i, h: i < 7, writing, [0, x])[1]
    session = tf.Session()
    feeds = {x: np.linspace(0.1, 1.0, 10_000)}

    def results():
        session.run(v.initializer)
        return session.run(reads, feeds), session.run(writes, feeds)

    want = results()
    for t in (reads, writes):
        fails[:] = [at]
        with pytest.raises(BaseException):  # noqa: B017
            session.run(t, feeds)
        fails.clear()
        assert not locked(session)
        for a, b in zip(results(), want):
            np.testing.assert_array_equal(a, b)


def test_errors_in_some_threads_do_not_touch_the_others():
    x, n = tf.placeholder(tf.float64, [None]), tf.placeholder(tf.int32, [])
    step = lambda i, a: (i + 1, a + tf.gather(a, [i]))  # noqa: E731
    y = tf.while_loop(lambda i, a: i < n, step, [0, x])[1]
    session = tf.Session()
    want = session.run(y, {x: np.ones(9000), n: 5})
    wrong = []

    def work(good):
        for _ in range(40):
            feeds = {x: np.ones(9000 if good else 3), n: 5}
            try:
                got = session.run(y, feeds)
            except tf.errors.InvalidArgumentError:
                if good:
                    wrong.append("an error")
            else:
                if not good or not np.array_equal(got, want):
                    wrong.append("a result")

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert not locked(session)
