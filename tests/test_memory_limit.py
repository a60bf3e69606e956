"""Sessions with a memory limit: the same results, within it."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from allocated import traced_peak

import dagrad as tf


def mlp(layers=12, width=48, batch=96, dropout=False, train=True):
    """A net whose activations are most of its memory; (fetches, feeds)."""
    rng = np.random.default_rng(3)
    x = tf.placeholder(tf.float32, [None, width])
    h = x
    for _ in range(layers):
        start = rng.normal(size=(width, width)) / np.sqrt(width)
        w = tf.Variable(start.astype(np.float32))
        h = tf.tanh(tf.matmul(h, w) + 0.1)
        if dropout:
            h = tf.nn.dropout(h, rate=0.25, seed=7)
    loss = tf.reduce_mean(tf.square(h))
    feeds = {x: rng.normal(size=(batch, width)).astype(np.float32)}
    if not train:
        return [loss, *tf.gradients(loss, [x])], feeds
    step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
    return [loss, step], feeds


def convolutions():
    rng = np.random.default_rng(4)
    x = tf.placeholder(tf.float32, [8, 16, 16, 3])
    h, depth = x, 3
    for _ in range(5):
        w = tf.Variable(rng.normal(size=(3, 3, depth, 8)).astype(np.float32) / 5)
        h, depth = tf.nn.relu(tf.nn.conv2d(h, w, [1, 1, 1, 1], "SAME")) + 0.01, 8
    loss = tf.reduce_sum(tf.reshape(tf.transpose(h, [0, 3, 1, 2]), [8, -1]) ** 2)
    step = tf.train.GradientDescentOptimizer(1e-4).minimize(loss)
    return [loss, step], {x: rng.normal(size=(8, 16, 16, 3)).astype(np.float32)}


def second_order():
    x = tf.placeholder(tf.float64, [64, 64])
    h = x
    for _ in range(8):
        h = tf.sin(tf.matmul(h, x)) * tf.exp(-h * h)
    (g,) = tf.gradients(tf.reduce_sum(h), [x])
    (gg,) = tf.gradients(tf.reduce_sum(g * g), [x])
    return [gg], {x: np.random.default_rng(0).normal(size=(64, 64)) / 8}


def views():
    x = tf.placeholder(tf.float64, [64, 32])
    h = x
    for _ in range(10):
        t = tf.transpose(tf.reshape(tf.tanh(h), [32, 64]))
        h = tf.matmul(t, t[:32, :]) * 0.1 + t
    return tf.gradients(tf.reduce_sum(h * h), [x]), {
        x: np.random.default_rng(1).normal(size=(64, 32))
    }


PROGRAMS = [
    pytest.param(lambda: mlp(), id="mlp"),
    pytest.param(lambda: mlp(dropout=True), id="dropout"),
    pytest.param(lambda: mlp(train=False), id="gradient"),
    pytest.param(convolutions, id="convolutions"),
    pytest.param(second_order, id="second order"),
    pytest.param(views, id="views"),
]


def limited(limit):
    return tf.Session(config=tf.ConfigProto(memory_limit=limit))


def taken(plan):
    return plan.arena_bytes + plan.fetch_bytes + plan.transient_bytes


#: Of the rest, no plan of two fifths is found yet, and to find none takes longest.
DEEP = {"mlp", "dropout", "gradient"}


@pytest.mark.parametrize(
    ("program", "share"),
    [
        pytest.param(
            *p.values,
            share,
            id=f"{p.id}-{share}",
            marks=[pytest.mark.slow] if share == 0.4 and p.id not in DEEP else [],
        )
        for p in PROGRAMS
        for share in (0.85, 0.6, 0.4)
    ],
)
def test_results_are_the_same_within_the_limit(program, share):
    tf.set_random_seed(5)
    fetches, feeds = program()
    free = tf.Session()
    free.run(tf.global_variables_initializer())
    whole = free.plan(fetches, feeds)
    held = limited(int(share * taken(whole)))
    try:
        plan = held.plan(fetches, feeds)
    except tf.errors.ResourceExhaustedError as error:
        if share > 0.5:
            raise
        pytest.skip(str(error).splitlines()[0])  # it cannot be met, and says so
    assert len(plan.steps) > len(whole.steps)
    assert taken(plan) <= share * taken(whole)
    trace = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    wanted = [free.run(fetches, feeds) for _ in range(3)]
    for options in (None, trace):
        held.run(tf.global_variables_initializer())
        held.reset_random()
        for want in wanted:
            got = held.run(fetches, feeds, options=options)
            for a, b in zip(want, got, strict=True):
                if a is not None:
                    np.testing.assert_array_equal(a, b)
        for v in tf.global_variables():
            np.testing.assert_array_equal(free.run(v), held.run(v))


def test_random_and_effects_never_run_again():
    tf.set_random_seed(5)
    fetches, feeds = mlp(dropout=True)
    whole = tf.Session().plan(fetches, feeds)
    plan = limited(int(0.6 * taken(whole))).plan(fetches, feeds)
    seen, again = set(), set()
    for step in plan.steps:
        (again if step.op in seen else seen).add(step.op)
    assert again
    assert all(op.opdef.effect is None for op in again)


def test_a_value_is_computed_again_from_the_variable_before_its_write():
    v = tf.Variable(np.full((64, 64), 0.5))
    x = tf.placeholder(tf.float64, [64, 64])
    a = tf.matmul(x, v)
    parts = [tf.exp(a * k) for k in range(1, 9)]
    middle = tf.reduce_sum(tf.add_n(parts))
    with tf.control_dependencies([middle]):
        write = v.assign(v * 2.0)
    with tf.control_dependencies([write]):
        late = tf.add_n([tf.matmul(p, x) for p in parts])
    fetches = [tf.reduce_sum(late), write]
    feeds = {x: np.random.default_rng(0).normal(size=(64, 64)) / 64}
    free = tf.Session()
    free.run(v.initializer)
    peak = taken(free.plan(fetches, feeds))
    held = limited(int(0.9 * peak))
    held.run(v.initializer)
    plan = held.plan(fetches, feeds)
    names = [step.op.type for step in plan.steps]
    # `a` reads v, so it cannot run after the write: what is dropped is made of it.
    write_at = next(i for i, s in enumerate(plan.steps) if s.mode == "write")
    assert "Exp" in names[write_at:]
    assert sum(step.op is a.op for step in plan.steps) == 1
    for _ in range(3):
        for p, q in zip(free.run(fetches, feeds), held.run(fetches, feeds)):
            np.testing.assert_array_equal(p, q)


def test_an_error_in_what_runs_again_names_the_users_line():
    fetches, feeds = mlp()
    plan = limited(int(0.6 * taken(tf.Session().plan(fetches, feeds)))).plan(
        fetches, feeds
    )
    ops = [step.op for step in plan.steps]
    repeated = [op for op in set(ops) if ops.count(op) > 1]
    assert repeated
    assert all("test_memory_limit.py" in str(op.source) for op in repeated)


def test_what_cannot_be_met_says_what_is_needed_and_what_holds_it():
    fetches, feeds = mlp()
    session = limited("64kB")
    with pytest.raises(tf.errors.ResourceExhaustedError) as caught:
        session.run(fetches, feeds)
    text = str(caught.value)
    assert "memory_limit is 62.5 KiB (64,000)" in text
    assert "the least that this run was found to need" in text
    assert "It holds:" in text
    assert "float32(96, 48), defined at" in text
    assert "test_memory_limit.py" in text
    # What it says is enough is enough.
    needed = int(text.split(", is ")[1].split("(")[1].split(")")[0].replace(",", ""))
    plan = limited(needed).plan(fetches, feeds)
    assert taken(plan) <= needed


def test_a_limit_that_holds_changes_nothing():
    fetches, feeds = mlp()
    whole = tf.Session().plan(fetches, feeds)
    plan = limited(taken(whole)).plan(fetches, feeds)
    assert [s.op for s in plan.steps] == [s.op for s in whole.steps]


def test_bodies_count_but_are_not_held_to_the_limit():
    x = tf.placeholder(tf.float64, [64, 64])
    y = tf.while_loop(
        lambda i, h: i < 5, lambda i, h: (i + 1, tf.tanh(tf.matmul(h, x))), [0, x]
    )[1]
    chain = y
    for _ in range(10):
        chain = tf.tanh(tf.matmul(chain, x))
    (g,) = tf.gradients(tf.reduce_sum(chain), [x])
    feeds = {x: np.random.default_rng(0).normal(size=(64, 64)) / 8}
    free = tf.Session()
    peak = taken(free.plan(g, feeds))
    held = limited(int(0.8 * peak))
    assert taken(held.plan(g, feeds)) <= 0.8 * peak
    np.testing.assert_array_equal(free.run(g, feeds), held.run(g, feeds))


@pytest.mark.parametrize("limit", ["much", "12 apples", 0, -5, 1.5, True, "1.2.3MB"])
def test_a_limit_is_a_number_of_bytes(limit):
    with pytest.raises(tf.errors.InvalidArgumentError, match="memory_limit must be"):
        limited(limit)


@pytest.mark.parametrize(
    ("text", "count"),
    [("200MB", 200_000_000), ("64MiB", 64 << 20), (" 1.5 gib ", 3 << 29), ("9b", 9)],
)
def test_limits_as_text(text, count):
    assert limited(text)._state.settings.memory_limit == count


# -- memory, measured ----------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_predicted_peak_is_what_a_run_takes(program):
    fetches, feeds = program()
    whole = taken(tf.Session().plan(fetches, feeds))
    session = limited(int(0.8 * whole))
    session.run(tf.global_variables_initializer())
    plan = session.plan(fetches, feeds)
    assert plan.exact
    peak = traced_peak(lambda: session.run(fetches, feeds))
    # Ready calls with their argument lists are there too, and the views of windows.
    lists = 4096 * len(plan.steps)
    assert plan.peak_bytes <= peak + 1024
    assert peak <= max(plan.arena_bytes, plan.peak_bytes) + 64 * 1024 + lists
    # Later runs allocate what they hand out, and no arrays.
    free = tf.Session()
    free.run(tf.global_variables_initializer())
    free.run(fetches, feeds)
    again, usual = (
        traced_peak(lambda s=s: s.run(fetches, feeds)) for s in (session, free)
    )
    assert again <= usual + 4096


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.slow
def test_memory_is_flat_over_many_runs():
    fetches, feeds = mlp(layers=4, width=8, batch=16)
    whole = taken(tf.Session().plan(fetches, feeds))
    session = limited(int(0.95 * whole))
    session.run(tf.global_variables_initializer())
    for _ in range(1000):
        session.run(fetches, feeds)
    gc.collect()
    before = resident()
    for _ in range(10_000):
        session.run(fetches, feeds)
    gc.collect()
    assert resident() - before < 512 * 1024
