"""Derivatives of programs with loops, branches and functions: every order and mode.

Each program is run by dagrad and by Python; see support/control_programs.
"""

from __future__ import annotations

import numpy as np
import pytest
from control_programs import Plain, derivatives

import dagrad as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


X = np.array([0.7, -0.4, 1.1])
V = np.array([0.5, 1.0, -0.8])


# -- programs: scalar functions of a vector of three ---------------------------


def powers(m, x):
    """A carry, what is captured, and a counter."""
    return m.reduce_sum(
        m.while_loop(
            lambda i, y: i < 4,
            lambda i, y: (i + 1, x * m.sin(y) + m.cast(i, m.float64)),
            [m.constant(0), x],
        )[1]
    )


def until(m, x):
    """The number of iterations depends on x."""
    _, y = m.while_loop(
        lambda i, y: m.reduce_sum(y * y) < 12.0,
        lambda i, y: (i + 1, y * 1.3 + m.sin(x)),
        [m.constant(0), x],
    )
    return m.reduce_sum(m.sin(y))


def bounded(m, x):
    return m.reduce_sum(
        m.while_loop(
            lambda y: m.reduce_sum(y) < 1e9,
            lambda y: [y * x + 1.0],
            [x],
            maximum_iterations=3,
            return_same_structure=True,
        )[0]
    )


def swapped(m, x):
    """Carries that change places."""
    _, a, b = m.while_loop(
        lambda i, a, b: i < 3,
        lambda i, a, b: (i + 1, b * x, m.sin(a)),
        [m.constant(0), x, x * x],
    )
    return m.reduce_sum(a * a + b)


def growing(m, x):
    """A carry whose shape changes: what is kept is ragged."""
    _, y = m.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, m.concat([m.sin(y), y[:2] * x[:2]], 0)),
        [m.constant(0), x],
    )
    return m.reduce_sum(y * y)


def recurrence(m, x):
    y = m.scan(lambda h, r: m.tanh(h * x + r), m.stack([x, x * x, x + 1.0]), x)
    return m.reduce_sum(y * y)


def backward_recurrence(m, x):
    y = m.scan(
        lambda h, r: m.tanh(h * x + r), m.stack([x, x * x]), x * 2.0, reverse=True
    )
    return m.reduce_sum(y[0] * y[1])


def folds(m, x):
    a = m.foldl(lambda a, r: m.sin(a) + r * a, x, m.constant(0.3, m.float64))
    return a * m.foldr(lambda a, r: m.sin(a * r) + r, x, a)


def mapped(m, x):
    return m.reduce_sum(m.map_fn(lambda r: m.exp(m.sin(r) * x[0]), x))


def branches(m, x):
    y = m.cond(x[0] > 0.0, lambda: m.sin(x) * x, lambda: x + 1.0)
    z = m.cond(x[1] > 0.0, lambda: y * 2.0, lambda: m.exp(y) * y)
    return m.reduce_sum(z)


def one_sided(m, x):
    """A branch that does not read x at all."""
    y = m.cond(x[0] < 0.0, lambda: x * x, lambda: m.ones([3], m.float64) * 2.0)
    return m.reduce_sum(y * x)


def switched(m, x):
    fns = [lambda: x, lambda: m.sin(x) * x, lambda: m.exp(x)]
    return m.reduce_sum(m.switch_case(m.constant(1), fns) * x)


def cond_in_while(m, x):
    """Branches that keep different things in different iterations."""

    def body(i, y):
        z = m.cond(
            m.equal(i % 2, 0),
            lambda: m.sin(y) * m.exp(-y * y) * x,
            lambda: m.tanh(y) * y + x,
        )
        return i + 1, z

    return m.reduce_sum(m.while_loop(lambda i, y: i < 5, body, [m.constant(0), x])[1])


def while_in_while(m, x):
    """An inner loop of another length in each iteration."""

    def body(i, y):
        _, z = m.while_loop(
            lambda j, z: j < i,
            lambda j, z: (j + 1, m.sin(z) * x + 0.1 * y),
            [m.constant(0), y],
        )
        return i + 1, z

    return m.reduce_sum(m.while_loop(lambda i, y: i < 4, body, [m.constant(0), x])[1])


def while_in_cond_in_scan(m, x):
    def step(h, r):
        return m.cond(
            r > 0.0,
            lambda: m.while_loop(
                lambda i, y: i < 2,
                lambda i, y: (i + 1, m.sin(y) * r),
                [m.constant(0), h],
            )[1],
            lambda: h * r + x,
        )

    return m.reduce_sum(m.scan(step, x, x))


def functions(m, x):
    f = m.function(lambda a, b: m.sin(a) * b + a)
    return m.reduce_sum(f(f(x, x), f(x * x, x)))


def recomputed(m, x):
    f = m.recompute_grad(lambda a: m.tanh(m.sin(a) * x) + a)
    return m.reduce_sum(f(f(x)))


def recomputed_in_scan(m, x):
    f = m.recompute_grad(lambda h, r: m.tanh(h * r + m.sin(x)))
    return m.reduce_sum(m.scan(f, m.stack([x, x * x]), x))


def five_deep(m, x):
    f = m.function(lambda a, b: m.sin(a) * b)

    def inner(i, y):
        return i + 1, m.cond(m.equal(i, 0), lambda: f(y, x) + y, lambda: f(y, y) - x)

    def step(h, r):
        return m.while_loop(lambda i, y: i < 2, inner, [m.constant(0), 0.3 * (h + r)])[
            1
        ]

    outer = m.map_fn(lambda r: m.foldl(step, x, x * r), x)
    return m.reduce_sum(outer * outer)


def constants(m, x):
    """A loop whose result does not depend on x, beside one that does."""
    _, a, b = m.while_loop(
        lambda i, a, b: i < 3,
        lambda i, a, b: (i + 1, a * 2.0, m.sin(b)),
        [m.constant(0), m.constant(1.0, m.float64), x],
    )
    return a * m.reduce_sum(b)


def no_iteration(m, x):
    _, y = m.while_loop(
        lambda i, y: i < 0, lambda i, y: (i + 1, y * x), [m.constant(0), m.sin(x)]
    )
    return m.reduce_sum(y * x)


def integer_carry_scales(m, x):
    """An integer carry between iterations carries no derivative."""
    _, _, y = m.while_loop(
        lambda i, k, y: i < 3,
        lambda i, k, y: (i + 1, k * 2, y * m.cast(k, m.float64) * m.sin(x)),
        [m.constant(0), m.constant(1), x],
    )
    return m.reduce_sum(y)


PROGRAMS = [
    powers,
    until,
    bounded,
    swapped,
    growing,
    recurrence,
    backward_recurrence,
    folds,
    mapped,
    branches,
    one_sided,
    switched,
    cond_in_while,
    while_in_while,
    while_in_cond_in_scan,
    functions,
    recomputed,
    recomputed_in_scan,
    five_deep,
    constants,
    no_iteration,
    integer_carry_scales,
]
programs = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)


def along(program):
    return derivatives(lambda t: program(Plain(), X + t * V), 3)


def dot(a, v):
    return tf.reduce_sum(tf.zeros_like(v) if a is None else a * v)


@programs
@pytest.mark.parametrize("known", [True, False], ids=["static", "unknown"])
def test_every_nesting_of_modes_agrees_with_the_oracle(program, known):
    x = tf.placeholder(tf.float64, [3] if known else [None])
    v = tf.placeholder(tf.float64, [3] if known else [None])
    y = program(tf, x)
    (reverse,) = tf.gradients(y, [x])
    (forward,) = tf.jvp([y], [x], [v])
    first = {"R": dot(reverse, v), "F": forward}
    second = {}
    for name, d in first.items():
        (g,) = tf.gradients(d, [x])
        (t,) = tf.jvp([d], [x], [v])
        second[name + "R"] = dot(g, v)
        second[name + "F"] = tf.zeros([], tf.float64) if t is None else t
    session = tf.Session()
    feeds = {x: X, v: V}
    value, dy, ddy, _ = along(program)
    got = session.run({"y": y, "1": first, "2": second}, feeds)
    assert got["y"] == pytest.approx(value, rel=1e-12)
    for name, d in got["1"].items():
        assert d == pytest.approx(dy, rel=1e-8, abs=1e-9), name
    for name, d in got["2"].items():
        assert d == pytest.approx(ddy, rel=1e-6, abs=1e-7), name
    alone = session.run(second["RR"], feeds)
    assert alone == pytest.approx(ddy, rel=1e-6, abs=1e-7)
    tf.get_default_graph().validate()


@programs
def test_third_derivatives(program):
    x = tf.placeholder(tf.float64, [3])
    v = tf.constant(V)
    y = program(tf, x)
    reverse, forward = y, y
    for _ in range(3):
        (g,) = tf.gradients(reverse, [x])
        reverse = dot(g, v)
        (t,) = tf.jvp([forward], [x], [v])
        forward = tf.zeros([], tf.float64) if t is None else t
    got = tf.Session().run([reverse, forward], {x: X})
    want = along(program)[3]
    assert got == pytest.approx([want, want], rel=1e-4, abs=1e-4)


@programs
def test_the_reference_interpreter_agrees(program):
    x = tf.placeholder(tf.float64, [3])
    y = program(tf, x)
    (g,) = tf.gradients(y, [x])
    (h,) = tf.gradients(dot(g, tf.constant(V)), [x])
    fetches = [t for t in (y, g, h) if t is not None]
    session = tf.Session()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    fast = session.run(fetches, {x: X})
    slow = session.run(fetches, {x: X}, options=options, run_metadata=tf.RunMetadata())
    for a, b in zip(fast, slow):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
