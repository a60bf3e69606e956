"""A memory limit reaches into loops: their gradients keep a few states."""

from __future__ import annotations

import numpy as np
import pytest
from allocated import traced_peak

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")

WIDTH, BATCH = 24, 32


def weights(*dims, seed=0):
    start = np.random.default_rng(seed).normal(size=dims) / np.sqrt(dims[0])
    return tf.Variable(start.astype(np.float32))


def data(*dims, seed=1):
    return np.random.default_rng(seed).normal(size=dims).astype(np.float32)


def counting():
    """A state that goes around, by a loop that tests its counter."""
    x = tf.placeholder(tf.float32, [None, WIDTH])
    w = weights(WIDTH, WIDTH)
    body = lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w)))  # noqa: E731
    _, y = tf.while_loop(lambda i, h: i < 60, body, [0, x])
    loss = tf.reduce_sum(y * y)
    return [loss, *tf.gradients(loss, [x, w])], {x: data(BATCH, WIDTH)}


def lstm(reverse=False):
    """Gates that are stacked, rows that are read, a training step."""
    xs = tf.placeholder(tf.float32, [40, BATCH, WIDTH])
    w, b = weights(2 * WIDTH, 4 * WIDTH), tf.Variable(np.zeros(4 * WIDTH, np.float32))

    def cell(state, x):
        c, h = state
        z = tf.matmul(tf.concat([x, h], 1), w) + b
        i, f, g, o = tf.split(z, 4, 1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return c, tf.sigmoid(o) * tf.tanh(c)

    zeros = tf.zeros([BATCH, WIDTH])
    fold = tf.foldr if reverse else tf.foldl
    _, h = fold(cell, xs, (zeros, zeros))
    loss = tf.reduce_mean(tf.square(h - 0.5))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    return [loss, step], {xs: data(40, BATCH, WIDTH)}


def seen():
    """All states are read by others: only the gates between them can go."""
    xs = tf.placeholder(tf.float32, [40, BATCH, WIDTH])
    w = weights(WIDTH, WIDTH)

    def step(h, x):
        a = tf.tanh(tf.matmul(h, w) + x)
        return tf.sin(tf.exp(a) * tf.cos(a) + a)

    ys = tf.scan(step, xs, tf.zeros([BATCH, WIDTH]))
    loss = tf.reduce_sum(ys * ys)
    return [loss, *tf.gradients(loss, [w])], {xs: data(40, BATCH, WIDTH)}


def two():
    """One loop after another, and layers between."""
    x = tf.placeholder(tf.float32, [BATCH, WIDTH])
    w = weights(WIDTH, WIDTH)
    h = x
    for n in (30, 50):
        body = lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w)))  # noqa: E731
        _, h = tf.while_loop(lambda i, h, n=n: i < n, body, [0, h])
        for _ in range(6):
            h = tf.sin(tf.matmul(h, w)) + h
    loss = tf.reduce_sum(h)
    return [loss, *tf.gradients(loss, [w, x])], {x: data(BATCH, WIDTH)}


def second_order():
    x = tf.placeholder(tf.float32, [8, WIDTH])
    w = weights(WIDTH, WIDTH)
    body = lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w)))  # noqa: E731
    _, y = tf.while_loop(lambda i, h: i < 40, body, [0, x])
    (g,) = tf.gradients(tf.reduce_sum(y * y), [x])
    (h,) = tf.gradients(tf.reduce_sum(g * g), [w])
    return [g, h], {x: data(8, WIDTH)}


def nested():
    """A loop whose body has a loop: the outer one takes segments."""
    x = tf.placeholder(tf.float32, [BATCH, WIDTH])
    w = weights(WIDTH, WIDTH)

    def inner(h):
        body = lambda j, h: (j + 1, tf.tanh(tf.matmul(h, w)))  # noqa: E731
        return tf.while_loop(lambda j, h: j < 3, body, [0, h])[1]

    _, y = tf.while_loop(lambda i, h: i < 30, lambda i, h: (i + 1, inner(h)), [0, x])
    loss = tf.reduce_sum(y)
    return [loss, *tf.gradients(loss, [w, x])], {x: data(BATCH, WIDTH)}


PROGRAMS = {
    "counting": counting,
    "lstm": lstm,
    "lstm reversed": lambda: lstm(reverse=True),
    "seen": seen,
    "two": two,
    "second order": second_order,
    "nested": nested,
}


def limited(limit, init=None):
    config = tf.ConfigProto(memory_limit=limit)
    session = tf.Session(config=config)
    if init is not None:
        session.run(init)
    return session


def taken(plan):
    return max(
        plan.peak_bytes, plan.arena_bytes + plan.fetch_bytes + plan.transient_bytes
    )


def chosen(plan):
    return [s.attrs["schedule"] for s in plan.steps if "schedule" in s.attrs]


def equal(a, b):
    for p, q in zip(a, b, strict=True):
        if p is not None:
            np.testing.assert_array_equal(p, q)


def least_of(fetches, feeds):
    """What the error of a limit that cannot be met calls enough."""
    with pytest.raises(tf.errors.ResourceExhaustedError) as caught:
        limited(64).plan(fetches, feeds)
    text = str(caught.value)
    assert "the least that this run was found to need" in text
    return int(text.split(", is ")[1].split("(")[1].split(")")[0].replace(",", ""))


@pytest.mark.parametrize("share", [0.6, 0.2, 0.0])
@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_the_same_within_the_limit(name, share):
    fetches, feeds = PROGRAMS[name]()
    init = tf.global_variables_initializer()
    graph = tf.get_default_graph()
    graph.finalize()
    count = len(graph.get_operations())
    free = tf.Session()
    free.run(init)
    whole = taken(free.plan(fetches, feeds))
    least = least_of(fetches, feeds)
    limit = int(least + share * (whole - least))
    held, traced = limited(limit, init), limited(limit, init)
    plan = held.plan(fetches, feeds)
    assert taken(plan) <= limit
    assert chosen(plan) or name == "two"
    trace = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    for _ in range(3):
        want = free.run(fetches, feeds)
        equal(want, held.run(fetches, feeds))
        equal(want, traced.run(fetches, feeds, options=trace))
    for v in tf.global_variables():
        np.testing.assert_array_equal(free.run(v), held.run(v))
        np.testing.assert_array_equal(free.run(v), traced.run(v))
    assert len(graph.get_operations()) == count


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_takes_no_memory_that_is_not_planned(name):
    fetches, feeds = PROGRAMS[name]()
    init = tf.global_variables_initializer()
    whole = taken(tf.Session().plan(fetches, feeds))
    least = least_of(fetches, feeds)
    held = limited((whole + least) // 2, init)
    plan = held.plan(fetches, feeds)
    assert plan.exact
    arrays = list(feeds.values())
    call = held.make_callable(fetches, list(feeds))
    call(*arrays)  # frames of bodies and their ready calls are made
    peak = traced_peak(lambda: call(*arrays))
    assert peak <= plan.fetch_bytes + 64 * 1024


def test_a_smaller_limit_takes_more_passes():
    fetches, feeds = counting()
    whole = taken(tf.Session().plan(fetches, feeds))
    least = least_of(fetches, feeds)
    passes = []
    for limit in (0.8 * whole, least):
        ((kind, repeats, _),) = chosen(limited(int(limit)).plan(fetches, feeds))
        assert kind == "tree"
        passes.append(repeats)
    assert passes[0] == 1 < passes[1]
    # Of 60 states and what is beside them.
    assert least < 0.2 * whole


def test_a_limit_that_holds_changes_no_loop():
    fetches, feeds = counting()
    whole = taken(tf.Session().plan(fetches, feeds))
    assert chosen(limited(whole).plan(fetches, feeds)) == []


def test_random_bodies_are_never_computed_again():
    x = tf.placeholder(tf.float32, [BATCH, WIDTH])
    w = weights(WIDTH, WIDTH)

    def step(i, h):
        return i + 1, tf.nn.dropout(tf.tanh(tf.matmul(h, w)), rate=0.2)

    _, y = tf.while_loop(lambda i, h: i < 30, step, [0, x])
    fetches = tf.gradients(tf.reduce_sum(y), [x])
    feeds = {x: data(BATCH, WIDTH)}
    whole = taken(tf.Session().plan(fetches, feeds))
    with pytest.raises(tf.errors.ResourceExhaustedError, match="least that this run"):
        limited(whole // 2).plan(fetches, feeds)


def test_a_loop_reads_a_variable_before_its_write_however_often():
    """The segments run after the step, and still see what the loop saw."""
    fetches, feeds = lstm()
    init = tf.global_variables_initializer()
    whole = taken(tf.Session().plan(fetches, feeds))
    held, free = limited(whole // 3, init), tf.Session()
    free.run(init)
    for _ in range(4):
        equal(free.run(fetches, feeds), held.run(fetches, feeds))


def test_a_loop_that_waits_for_a_write_sees_it_every_time():
    x = tf.placeholder(tf.float32, [BATCH, WIDTH])
    w = weights(WIDTH, WIDTH)
    with tf.control_dependencies([w.assign(w * 0.9)]):
        body = lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w)))  # noqa: E731
        _, y = tf.while_loop(lambda i, h: i < 40, body, [0, x])
        loss = tf.reduce_sum(y)
        fetches = [loss, *tf.gradients(loss, [x])]
    feeds = {x: data(BATCH, WIDTH)}
    init = tf.global_variables_initializer()
    whole = taken(tf.Session().plan(fetches, feeds))
    held, free = limited(whole // 3, init), tf.Session()
    free.run(init)
    assert chosen(held.plan(fetches, feeds))
    for _ in range(3):
        equal(free.run(fetches, feeds), held.run(fetches, feeds))


def test_another_number_of_iterations_is_another_plan():
    """The bound is the size of what is fed: each length has its own schedule."""
    xs = tf.placeholder(tf.float32, [None, BATCH, WIDTH])
    w = weights(WIDTH, WIDTH)
    y = tf.foldl(lambda h, x: tf.tanh(tf.matmul(h, w) + x), xs, xs[0] * 0.0)
    fetches = [y, *tf.gradients(tf.reduce_sum(y), [w])]
    init = tf.global_variables_initializer()
    held, free = limited("100kB", init), tf.Session()
    free.run(init)
    lengths = {}
    for n in (10, 90, 40, 10, 90):
        feeds = {xs: data(n, BATCH, WIDTH)}
        plan = held.plan(fetches, feeds)
        assert taken(plan) <= 100_000
        lengths[n] = len(chosen(plan))
        equal(free.run(fetches, feeds), held.run(fetches, feeds))
    assert lengths == {10: 0, 90: 1, 40: 1}
