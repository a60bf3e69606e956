"""Memory that a session lends to loops is nobody else's while an array is in it."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import numpy as np
import pytest

import dagrad as tf
from dagrad.runtime.lending import Lender

SHAPE = (1000, 100)
BYTES = 800_000


pytestmark = pytest.mark.usefixtures("graph")


@pytest.mark.parametrize(
    "keep",
    [
        lambda a: a,
        lambda a: a[3:7],
        lambda a: a.reshape(-1)[5:].view(np.uint8)[::-1],
        lambda a: a.T[2],
        lambda a: np.asarray(a.view(np.matrix)[1:]),
        lambda a: np.broadcast_to(a, (2, *SHAPE))[1],
        lambda a: np.lib.stride_tricks.as_strided(a, (3,), (8,)),
        lambda a: np.frombuffer(memoryview(a), np.float64),
        lambda a: np.nditer(a),
        memoryview,
    ],
)
def test_memory_comes_back_when_the_last_array_in_it_is_gone(keep):
    lender = Lender()
    kept = keep(lender.lend(SHAPE, np.float64))
    gc.collect()
    assert lender.idle_bytes == 0
    other = lender.lend(SHAPE, np.float64)
    if isinstance(kept, (np.ndarray, memoryview)):
        assert not np.shares_memory(np.asarray(kept), other)
    del kept, other
    assert lender.idle_bytes == 2 * BYTES


def test_memory_is_lent_again():
    lender = Lender()
    first = lender.lend(SHAPE, np.float64)
    where = first.__array_interface__["data"][0]
    del first
    again = lender.lend((99, 10, 10), np.complex64)
    assert again.__array_interface__["data"][0] != where  # less than half as much
    again = lender.lend((900, 10, 10), np.float64)
    assert again.__array_interface__["data"][0] == where
    assert again.flags.writeable
    assert not again.flags.owndata


def test_idle_memory_is_no_more_than_was_ever_out():
    lender = Lender()
    for k in range(1, 30):
        arrays = [lender.lend((k * (1 << 14),), np.float64) for _ in range(3)]
        most = sum(a.nbytes for a in arrays)
        del arrays
        assert lender.idle_bytes <= most


def test_a_lender_may_go_before_what_it_lent():
    lender = Lender()
    a = lender.lend(SHAPE, np.float64)
    a[...] = 3.0
    del lender
    gc.collect()
    assert (a == 3.0).all()


def test_threads_never_hold_the_same_memory():
    lender = Lender()
    wrong = []

    def work(number):
        rng = np.random.default_rng(number)
        held = []
        for k in range(300):
            a = lender.lend((int(rng.integers(1 << 13, 1 << 15)),), np.float64)
            a[...] = number * 1000 + k
            held.append((a[::7], number * 1000 + k))
            if len(held) > 4:
                view, value = held.pop(int(rng.integers(len(held))))
                if not (view == value).all():
                    wrong.append((number, k))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_two_stacks_of_one_loop_are_two_arrays():
    """The lengths of these are known in the second run, from the first."""
    x = tf.placeholder(tf.float64, [100])
    n = tf.placeholder(tf.int32, [])
    _, a, b = tf.while_loop(
        lambda i, a, b: i < n,
        lambda i, a, b: (
            i + 1,
            tf.sin(a) * tf.cos(b) * x,
            tf.cos(a) * tf.sin(b) + x,
        ),
        [0, x, x * 0.5],
    )
    (g,) = tf.gradients(tf.reduce_sum(a * b), [x])
    feeds = {x: np.linspace(0.1, 0.4, 100), n: 300}
    session = tf.Session()
    first = session.run(g, feeds)
    for _ in range(3):
        np.testing.assert_array_equal(session.run(g, feeds), first)
    assert session._state.lender.idle_bytes > 0


def test_blocks_of_different_lengths_do_not_grow_their_memory():
    """The last block is shorter, and is the first that the gradient runs."""
    x = tf.placeholder(tf.float64, [10_000])
    n = tf.placeholder(tf.int32, [])
    _, y = tf.while_loop(
        lambda i, h: i < n,
        lambda i, h: (i + 1, tf.sin(h)),
        [0, x],
        checkpoint_every=10,
    )
    (g,) = tf.gradients(tf.reduce_sum(y), [x])
    feeds = {x: np.linspace(0.1, 1.0, 10_000), n: 94}
    session = tf.Session()
    for _ in range(2):
        session.run(g, feeds)
    tracemalloc.start()
    session.run(g, feeds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 80_000


# -- results ---------------------------------------------------------


def _fetch(**config):
    """A session and a call that fetches 2 MiB, which are computed in place."""
    x = tf.placeholder(tf.float32, [1 << 19])
    session = tf.Session(config=tf.ConfigProto(**config))
    return session, session.make_callable(x * 2.0 + 1.0, [x])


def _where(a):
    return a.__array_interface__["data"][0]


def test_results_get_the_memory_of_those_that_are_gone():
    session, call = _fetch()
    a = np.arange(1 << 19, dtype=np.float32)
    places = set()
    result = None
    for k in range(6):
        result = call(a + k)
        places.add(_where(result))
        np.testing.assert_array_equal(result, (a + k) * 2 + 1)
    assert len(places) == 2  # the one before is alive while the next is made
    assert session._state.results.idle_bytes == 1 << 21


@pytest.mark.parametrize("keep", [lambda a: a, lambda a: a[5:9], memoryview])
def test_results_that_somebody_has_stay_as_they_are(keep):
    _, call = _fetch()
    a = np.arange(1 << 19, dtype=np.float32)
    kept = [keep(call(a + k)) for k in range(5)]
    expected = [np.asarray(keep((a + k) * 2 + 1)) for k in range(5)]
    for one, wanted in zip(kept, expected):
        np.testing.assert_array_equal(np.asarray(one), wanted)


def test_idle_memory_of_results_has_a_bound():
    lender = Lender(least=1, limit=10 * BYTES, mixed=True)
    arrays = [lender.lend(SHAPE, np.float64) for _ in range(30)]
    del arrays
    assert lender.idle_bytes <= 10 * BYTES
    lender.drop()
    assert lender.idle_bytes == 0


def test_results_of_several_sizes_are_all_lent_again():
    lender = Lender(least=1, limit=10 * BYTES, mixed=True)
    places = set()
    for _ in range(4):
        pair = lender.lend(SHAPE, np.float64), lender.lend((30, 7), np.float32)
        places.update(map(_where, pair))
        assert all(_where(a) % 64 == 0 for a in pair)
        del pair
    assert len(places) == 2


def test_a_memory_limit_or_a_closed_session_keeps_nothing():
    a = np.zeros(1 << 19, np.float32)
    session, call = _fetch(memory_limit="100MB")
    call(a)
    assert session._state.results.idle_bytes == 0
    session, call = _fetch()
    call(a)
    state = session._state
    assert state.results.idle_bytes == 1 << 21
    session.close()
    assert session._state.results.idle_bytes == 0


def test_a_plan_that_needs_more_memory_takes_what_is_idle():
    session, call = _fetch()
    call(np.zeros(1 << 19, np.float32))
    assert session._state.results.idle_bytes == 1 << 21
    x = tf.placeholder(tf.float32, [300, 300])
    session.run(tf.matmul(tf.matmul(x, x), x), {x: np.ones((300, 300), np.float32)})
    assert session._state.results.idle_bytes == 0
