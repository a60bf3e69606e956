"""Random programs of nested control flow against Python, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from control_programs import Plain, derivatives
from hypothesis import given, settings
from hypothesis import strategies as st

import dagrad as tf

X = np.array([0.7, -0.4, 1.1])
V = np.array([0.5, 1.0, -0.8])


# A program is a nested tuple: an expression of vectors of three, in which the
# vectors and the integers that are at hand are named by number.

numbers = st.integers(0, 9)
leaves = st.tuples(st.just("vector"), numbers)


def nodes(inner):
    return st.one_of(
        st.tuples(st.sampled_from(["sin", "tanh", "half"]), inner),
        st.tuples(st.sampled_from(["add", "times"]), inner, inner),
        st.tuples(st.just("cond"), numbers, inner, inner),
        st.tuples(st.just("while"), numbers, inner, inner),
        st.tuples(st.just("two"), numbers, inner, inner),
        st.tuples(st.sampled_from(["scan", "nacs"]), inner, inner, inner),
        st.tuples(st.sampled_from(["foldl", "foldr"]), inner, inner),
        st.tuples(st.just("map"), inner, inner),
        st.tuples(st.sampled_from(["function", "recompute"]), inner, inner),
        st.tuples(st.just("switch"), numbers, inner, inner, inner),
    )


programs = st.recursive(leaves, nodes, max_leaves=9)


def run(node, m, xs, ints):
    """The value of an expression; ``m`` is dagrad or Plain()."""
    kind, *parts = node

    def at(part, *more, counters=()):
        return run(part, m, [*xs, *more], [*ints, *counters])

    def integer(number):
        return ints[number % len(ints)]

    if kind == "vector":
        return xs[parts[0] % len(xs)]
    if kind == "sin":
        return m.sin(at(parts[0]))
    if kind == "tanh":
        return m.tanh(at(parts[0]))
    if kind == "half":
        return at(parts[0]) * 0.5
    if kind == "add":
        return (at(parts[0]) + at(parts[1])) * 0.5
    if kind == "times":
        return m.tanh(at(parts[0]) * at(parts[1]))
    if kind == "cond":
        even = m.equal(integer(parts[0]) % 2, 0)
        return m.cond(even, lambda: at(parts[1]), lambda: at(parts[2]))
    if kind == "switch":
        fns = [lambda k=k: at(parts[k]) for k in (1, 2, 3)]
        return m.switch_case(integer(parts[0]) % 3, fns)
    if kind == "while":
        n = integer(parts[0]) % 4
        return m.while_loop(
            lambda i, y: i < n,
            lambda i, y: (i + 1, at(parts[2], y, counters=[i])),
            [m.constant(0), at(parts[1])],
        )[1]
    if kind == "two":
        n = integer(parts[0]) % 3
        return m.while_loop(
            lambda i, y, z: i < n,
            lambda i, y, z: (i + 1, z, at(parts[2], y, z, counters=[i])),
            [m.constant(0), at(parts[1]), xs[0]],
        )[2]
    if kind in ("scan", "nacs"):
        rows = m.stack([at(parts[0]), xs[-1], xs[0] * 0.5])
        y = m.scan(
            lambda a, r: at(parts[2], a, r), rows, at(parts[1]), reverse=kind == "nacs"
        )
        return m.tanh(y[0] + y[1] * y[2])
    if kind in ("foldl", "foldr"):
        rows = m.stack([xs[-1], at(parts[0])])
        fold = m.foldl if kind == "foldl" else m.foldr
        return fold(lambda a, r: at(parts[1], a, r), rows, xs[0] * 1.0)
    if kind == "map":
        rows = m.stack([at(parts[0]), xs[-1]])
        y = m.map_fn(lambda r: at(parts[1], r), rows)
        return y[0] - 0.5 * y[1]
    f = lambda v: m.tanh(at(parts[1], v))  # noqa: E731
    f = m.function(f) if kind == "function" else m.recompute_grad(f)
    return f(f(at(parts[0])))


def scalar(node, m, x, k):
    return m.reduce_sum(m.sin(run(node, m, [x, x * x * 0.5], [k])))


def check(node, k, known):
    def plain(t):
        return scalar(node, Plain(), X + t * V, k)

    value, dy, ddy = derivatives(plain, 2)
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [3] if known else [None])
        n = tf.placeholder(tf.int32, [])
        v = tf.constant(V)
        y = scalar(node, tf, x, n)
        (g,) = tf.gradients(y, [x])
        (t,) = tf.jvp([y], [x], [v])
        (gg,) = tf.gradients(tf.reduce_sum(g * v), [x])
        (tg,) = tf.gradients(t, [x])
        (gt,) = tf.jvp([g], [x], [v])
        (tt,) = tf.jvp([t], [x], [v])
        firsts = [tf.reduce_sum(g * v), t]
        seconds = [
            tf.reduce_sum(gg * v),
            tf.reduce_sum(tg * v),
            tf.reduce_sum(gt * v),
            tt,
        ]
        fetches = [y, *firsts, *seconds]
        feeds = {x: X, n: k}
        session = tf.Session()
        got = session.run(fetches, feeds)
        alone = [session.run(f, feeds) for f in fetches[1:4]]
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        slow = session.run(
            fetches, feeds, options=options, run_metadata=tf.RunMetadata()
        )
        graph.validate()
    assert got[0] == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert got[1:3] == pytest.approx([dy] * 2, rel=1e-6, abs=1e-7)
    assert got[3:] == pytest.approx([ddy] * 4, rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(alone, got[1:4], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(slow, got, rtol=1e-9, atol=1e-10)


@settings(max_examples=30)
@given(programs, st.integers(0, 11), st.booleans())
def test_random_programs(node, k, known):
    check(node, k, known)


@pytest.mark.slow
@settings(max_examples=150)
@given(programs, st.integers(0, 11), st.booleans())
def test_many_random_programs(node, k, known):
    check(node, k, known)
