"""Derivatives of programs with loops, branches and functions: every order and mode.

Each program is run by dagrad and by Python; see support/control_programs.
"""

from __future__ import annotations

import numpy as np
import pytest
from control_programs import PROGRAMS, Plain, derivatives

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


X = np.array([0.7, -0.4, 1.1])
V = np.array([0.5, 1.0, -0.8])


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


@pytest.mark.parametrize("first", ["given", "row 0"])
@pytest.mark.parametrize(
    ("last", "states"),
    [
        (lambda y: y[-1], 1.1),
        (lambda y: y[99], 1.1),
        (lambda y: tf.unstack(y)[-1], 2.1),  # which copies all rows
    ],
    ids=["y[-1]", "y[99]", "unstack"],
)
def test_reading_the_end_of_a_scan_keeps_each_state_once(first, last, states):
    """The cotangent of a whole history for one row of it would double the memory."""
    x, w = tf.placeholder(tf.float64, [100, 50]), tf.placeholder(tf.float64, [50])
    start = w if first == "given" else None

    def step(h, row):
        return tf.tanh(h * w + row)

    y, same = last(tf.scan(step, x, start)), tf.foldl(step, x, start)
    slopes = tf.gradients([y * y], [w])
    want = tf.gradients([same * same], [w])
    feeds = {x: np.ones((100, 50)), w: np.full(50, 0.3)}
    with tf.Session() as session:
        np.testing.assert_array_equal(*session.run([slopes, want], feeds))
        assert session.plan(slopes, feeds).peak_bytes < states * 100 * 50 * 8


def test_the_end_of_a_scan_beside_its_other_rows():
    x = tf.constant(np.arange(1.0, 5.0))
    y = tf.scan(lambda h, row: h * row, x, tf.constant(1.0, tf.float64))
    (slope,) = tf.gradients([y[-1], y[2]], [x])
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(slope), [30, 15, 10, 6])


def test_the_last_row_of_one_part_of_a_scan():
    """The other carries keep their histories' cotangents."""
    x = tf.constant(np.arange(1.0, 5.0))
    one = tf.constant(1.0, tf.float64)
    y, z = tf.scan(lambda h, row: (h[0] * row, h[1] + h[0]), x, (one, one))
    (slope,) = tf.gradients([y[-1], tf.reduce_sum(z)], [x])

    def plain(x):
        y, z, total = 1.0, 1.0, 0.0
        for row in x:
            y, z = y * row, z + y
            total = total + z
        return y + total

    step = 1e-20j * np.eye(4)
    want = [plain(np.arange(1.0, 5.0) + e).imag / 1e-20 for e in step]
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(slope), want)


def test_the_second_derivative_of_a_loop_that_never_runs():
    """Rows of no iterations do not know their shape where the body may not."""
    x = tf.placeholder(tf.float64, [None])
    steps = tf.placeholder(tf.int32, [])

    def step(i, h):
        return i + 1, tf.cond(h[0] > 0.1, lambda: tf.sin(h) + x, lambda: x * h)

    _, end = tf.while_loop(lambda i, h: i < steps, step, [0, x])
    (first,) = tf.gradients(end**3, [x])
    (second,) = tf.gradients(first, [x])
    with tf.Session() as session:
        got = session.run([first, second], {x: X, steps: 0})
    np.testing.assert_allclose(got, [3 * X**2, 6 * X], rtol=1e-14)
