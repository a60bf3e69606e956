"""Bodies: nested, run in many ways, and kept apart from the graph around them."""

from __future__ import annotations

import numpy as np
import pytest
from both_executors import value

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


# -- nests -------------------------------------------------------------------


def test_a_loop_in_a_loop():
    def outer(i, s):
        _, s = tf.while_loop(
            lambda j, s: j < i, lambda j, s: (j + 1, s + i * j), [0, s]
        )
        return i + 1, s

    _, s = tf.while_loop(lambda i, s: i < 6, outer, [0, 0])
    assert value(s) == sum(i * j for i in range(6) for j in range(i))


def test_a_body_five_deep():
    x = tf.placeholder(tf.float64, [])

    @tf.function
    def innermost(a):
        return a * 1.5 + x

    def loop(a):
        return tf.while_loop(
            lambda i, a: i < 2, lambda i, a: (i + 1, innermost(a)), [0, a]
        )[1]

    def branch(a):
        return tf.cond(a < 3.0, lambda: loop(a), lambda: a - x)

    mapped = tf.map_fn(
        lambda r: tf.scan(lambda s, q: branch(s) + q, r)[-1],
        tf.ones([2, 3], tf.float64) * x,
    )

    def want(x):
        s = x
        for _ in range(2):
            if s < 3.0:
                for _ in range(2):
                    s = s * 1.5 + x
            else:
                s = s - x
            s = s + x
        return [s, s]

    for v in (0.1, 0.7, 2.0):
        np.testing.assert_allclose(value(mapped, {x: v}), want(v), rtol=1e-14)


def test_what_lies_several_bodies_out_is_captured():
    x = tf.placeholder(tf.float32, [])

    def nest(depth):
        if depth == 0:
            return x * 2.0
        return tf.cond(x > 0.0, lambda: nest(depth - 1), lambda: x)

    y = nest(8)
    assert value(y, {x: 3.0}) == 6.0
    assert value(y, {x: -3.0}) == -3.0


def test_a_loop_of_many_iterations():
    _, s = tf.while_loop(
        lambda i, s: i < 20000,
        lambda i, s: (i + 1, s + tf.cast(i, tf.float64)),
        [0, tf.constant(0.0, tf.float64)],
    )
    assert tf.Session().run(s) == 20000 * 19999 / 2


# -- runs --------------------------------------------------------------------


def test_a_captured_tensor_may_be_fed():
    x = tf.constant(2.0) * 3.0
    y, _ = tf.while_loop(lambda y, n: n < 2, lambda y, n: (y + x, n + 1), [x, 0])
    assert value(y) == 18.0
    assert value(y, {x: 1.0}) == 3.0


def test_a_captured_constant_may_be_fed():
    x = tf.constant(2.0)
    y = tf.while_loop(lambda y: y < 10.0, lambda y: y + x, [0.0])
    assert value(y) == 10.0
    assert value(y, {x: 3.0}) == 12.0


def test_an_integer_constant_that_a_body_holds_cannot_be_fed():
    x = tf.constant(2)
    y = tf.while_loop(lambda y: y < 10, lambda y: y + x, [0])
    assert value(y) == 10
    with pytest.raises(ValueError, match="use a placeholder"):
        value(y, {x: 3})


def test_the_result_may_be_fed():
    y = tf.while_loop(lambda y: y < 10, lambda y: y + 1, [0])
    assert value(y * 2, {y: 21}) == 42


def test_a_result_fetched_twice_is_two_arrays():
    y, _ = tf.while_loop(
        lambda y, n: n < 2, lambda y, n: (y * 2.0, n + 1), [tf.ones([2]), 0]
    )
    a, b = tf.Session().run([y, y])
    np.testing.assert_array_equal(a, b)


def test_make_callable():
    x = tf.placeholder(tf.float32, [])
    y, _ = tf.while_loop(lambda y, n: n < 3, lambda y, n: (y * x, n + 1), [x, 0])
    f = tf.Session().make_callable(y, [x])
    assert [float(f(v)) for v in (1.0, 2.0, 3.0)] == [1.0, 16.0, 81.0]


def test_runs_of_many_shapes_share_a_session():
    x = tf.placeholder(tf.float32, [None])
    y, _ = tf.while_loop(lambda y, n: n < 2, lambda y, n: (y + y, n + 1), [x, 0])
    session = tf.Session()
    for n in [*range(40), *range(40)]:
        np.testing.assert_array_equal(session.run(y, {x: np.ones(n)}), np.full(n, 4))


def test_a_closed_session_refuses():
    y = tf.while_loop(lambda y: y < 10, lambda y: y + 1, [0])
    session = tf.Session()
    assert session.run(y) == 10
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.run(y)


def test_nan_and_inf_go_through():
    x = tf.constant([np.nan, np.inf, -np.inf, 1.0])
    y, _ = tf.while_loop(lambda y, n: n < 2, lambda y, n: (-y, n + 1), [x, 0])
    np.testing.assert_array_equal(value(y), [np.nan, np.inf, -np.inf, 1.0])


# -- what belongs to a body ---------------------------------------------------


def test_a_tensor_of_a_body_cannot_be_used_outside():
    leaked = []
    tf.while_loop(lambda i: i < 3, lambda i: leaked.append(i + 1) or leaked[-1], [0])
    with pytest.raises(ValueError, match="return it from there"):
        leaked[0] + 1
    with pytest.raises(ValueError, match="return it from there"):
        tf.Session().run(leaked[0])


def test_a_tensor_of_one_branch_cannot_be_used_in_the_other():
    leaked = []

    def one():
        leaked.append(tf.constant(1.0) * 2.0)
        return leaked[0]

    with pytest.raises(ValueError, match=r'the body of cond "cond.*", true'):
        tf.cond(tf.constant(True), one, lambda: leaked[0] + 1.0)
    with pytest.raises(ValueError, match=r'the body of cond "cond.*", true'):
        tf.cond(tf.constant(True), one, lambda: leaked[0])


def test_a_tensor_of_another_graph_cannot_be_captured():
    with tf.Graph().as_default():
        other = tf.constant(1.0)
    with pytest.raises(ValueError, match="another graph"):
        tf.while_loop(lambda x: x < 3.0, lambda x: x + other, [0.0])


def test_a_failing_body_leaves_the_graph_usable():
    def body(i):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tf.while_loop(lambda i: i < 3, body, [0])
    assert tf.get_default_graph().outer is None
    assert value(tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0])) == 3
    tf.get_default_graph().validate()


# -- variables that are fed ---------------------------------------------------------


def _nested(v, x):
    def outer(i, s):
        _, s = tf.while_loop(
            lambda j, s: j < 2,
            lambda j, s: (j + 1, tf.cond(s > 0.0, lambda: s * v, lambda: v)),
            [0, s],
        )
        return i + 1, s

    return tf.while_loop(lambda i, s: i < 2, outer, [0, x])[1]


READERS = {
    "cond": (lambda v, x: tf.cond(x > 0.0, lambda: v * x, lambda: x), 1),
    "loop": (
        lambda v, x: tf.while_loop(
            lambda i, s: i < 3, lambda i, s: (i + 1, s * v), [0, x]
        )[1],
        3,
    ),
    "scan": (lambda v, x: tf.scan(lambda a, r: a * r * v, x[None], x * v)[0] / x, 2),
    "function": (lambda v, x: tf.function(lambda a: a * v)(x), 1),
    "recomputed": (lambda v, x: tf.recompute_grad(lambda a: a * v * v)(x), 2),
    "checkpointed": (
        lambda v, x: tf.foldl(lambda a, r: a * v, tf.zeros([4]), x, checkpoint_every=2),
        4,
    ),
    "nested": (_nested, 4),
}


@pytest.mark.parametrize("name", READERS)
def test_bodies_read_what_is_fed_in_place_of_a_variable(name):
    """y = x v^n, and its derivatives, with v fed and as it is."""
    build, n = READERS[name]
    v = tf.Variable(2.0, dtype=tf.float64)
    x = tf.constant(3.0, tf.float64)
    y = build(v, x)
    (dy,) = tf.gradients(y, [v])
    (ddy,) = tf.jvp([dy], [v])
    with tf.Session() as session:
        session.run(v.initializer)
        for feeds, at in (({}, 2.0), ({v: 5.0}, 5.0), ({}, 2.0), ({v: 1.5}, 1.5)):
            want = [3 * at**n, 3 * n * at ** (n - 1), 3 * n * (n - 1) * at ** (n - 2)]
            fetches = [y, dy] if n == 1 else [y, dy, ddy]
            got = session.run(fetches, feeds)
            np.testing.assert_allclose(got, want[: len(got)], rtol=1e-12)
            options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
            slow = session.run(fetches, feeds, options, tf.RunMetadata())
            np.testing.assert_array_equal(slow, got)


def test_a_variable_that_a_body_writes_cannot_be_fed_to_it():
    v = tf.Variable(1.0)

    def body(i):
        with tf.control_dependencies([v.assign_add(1.0)]):
            return i + 1

    count = tf.while_loop(lambda i: i < 3, body, [0])
    with tf.Session() as session:
        session.run(v.initializer)
        with pytest.raises(tf.errors.InvalidArgumentError, match="a body writes it"):
            session.run(count, {v: 5.0})
        session.run(count)
        assert session.run(v) == 4.0
