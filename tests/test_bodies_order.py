"""Bodies that read variables which other bodies write, in one run."""

from __future__ import annotations

import pytest

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


def traced(session, fetches):
    """A run of the reference interpreter."""
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    return session.run(fetches, options=options, run_metadata=tf.RunMetadata())


both = pytest.mark.parametrize(
    "run", [tf.Session.run, traced], ids=["fast", "reference"]
)


def by_cond(x, value):
    """``x.assign(value() + 1)`` in a branch."""
    yes = tf.placeholder_with_default(True, [])
    return tf.cond(yes, lambda: x.assign(value() + 1.0), x.read_value)


def by_loop(x, value):
    """``x.assign(value() + 1)`` in a loop."""
    step = lambda i, _: (i + 1, x.assign(value() + 1.0))  # noqa: E731
    return tf.while_loop(lambda i, _: i < 1, step, [0, 0.0])[1]


def plainly(x, value):
    return x.assign(value() + 1.0)


def started():
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


@both
@pytest.mark.parametrize("first", [by_cond, by_loop, plainly])
@pytest.mark.parametrize("second", [by_cond, by_loop, plainly])
def test_each_reads_what_the_other_writes(run, first, second):
    """Where one is a plain assignment, both read the values before the run."""
    a, b = tf.Variable(1.0), tf.Variable(10.0)
    made = [first(a, b.read_value), second(b, a.read_value)]
    session = started()
    if plainly in (first, second):
        assert run(session, made) == [11.0, 2.0]
        assert session.run([a, b]) == [11.0, 2.0]
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match="which comes first"):
            run(session, made)


@both
@pytest.mark.parametrize("how", [by_cond, by_loop])
def test_values_read_outside_are_those_before_the_run(run, how):
    a, b = tf.Variable(1.0), tf.Variable(10.0)
    before = a.read_value(), b.read_value()
    made = [how(a, lambda: before[1]), how(b, lambda: before[0])]
    assert run(started(), made) == [11.0, 2.0]


@both
@pytest.mark.parametrize("how", [by_cond, by_loop])
def test_control_dependencies_order_two_bodies(run, how):
    a, b = tf.Variable(1.0), tf.Variable(10.0)
    first = how(a, b.read_value)
    with tf.control_dependencies([first]):
        second = how(b, a.read_value)
    assert run(started(), [first, second]) == [11.0, 12.0]


@both
def test_a_body_beside_assignments_that_take_turns(run):
    """Snapshots for the assignments leave the body what it reads: the variable."""
    a, b, c = tf.Variable(1.0), tf.Variable(10.0), tf.Variable(100.0)
    swap = [a.assign(b.read_value()), b.assign(a.read_value())]
    add = by_loop(c, lambda: a.read_value() + c.read_value())
    session = started()
    assert run(session, [*swap, add]) == [10.0, 1.0, 102.0]
    assert session.run([a, b, c]) == [10.0, 1.0, 102.0]
