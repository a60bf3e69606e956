"""What derivatives of loops and branches are with respect to: every kind of x."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g
        g.validate()


def value(fetches, feeds=None):
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    fast = session.run(fetches, feeds)
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    slow = session.run(fetches, feeds, options=options, run_metadata=tf.RunMetadata())
    np.testing.assert_equal(slow, fast)
    return fast


def repeat(n, f, *start):
    """f applied n times."""
    return tf.while_loop(
        lambda i, *v: i < n, lambda i, *v: (i + 1, *f(*v)), [0, *start]
    )[1:]


# -- what is differentiated ----------------------------------------------------


def test_initial_values_and_captures():
    x, w = tf.constant(2.0), tf.constant(3.0)
    (y,) = repeat(3, lambda y: (y * w,), x)
    # y = x w^3
    assert value(tf.gradients(y, [x, w])) == [27.0, 54.0]


def test_one_tensor_as_start_and_as_capture():
    x = tf.constant(2.0)
    (y,) = repeat(3, lambda y: (y * x,), x)
    assert value(tf.gradients(y, [x])) == [32.0]


def test_scanned_arrays():
    x = tf.constant([1.0, 2.0, 3.0])
    y = tf.foldl(lambda a, r: a * r, x)
    assert value(tf.gradients(y, [x]))[0].tolist() == [6.0, 3.0, 2.0]
    z = tf.scan(lambda a, r: a * r, x)
    assert value(tf.gradients(z[1], [x]))[0].tolist() == [2.0, 1.0, 0.0]


def test_one_array_scanned_and_captured():
    x = tf.constant([1.0, 2.0, 3.0])
    y = tf.map_fn(lambda r: r * tf.reduce_sum(x), x)
    # sum_ij x_i x_j
    np.testing.assert_array_equal(value(tf.gradients(y, [x]))[0], [12.0] * 3)


def test_variables():
    w = tf.Variable([1.0, 2.0])
    (y,) = repeat(2, lambda y: (y * w,), tf.constant([3.0, 5.0]))
    assert value(tf.gradients(y, [w]))[0].tolist() == [6.0, 20.0]


def test_a_variable_made_in_the_body():
    with tf.variable_scope("s"):
        (y,) = repeat(
            2,
            lambda y: (
                y * tf.get_variable("w", [], initializer=tf.ones_initializer()),
            ),
            tf.constant(3.0),
        )
    (w,) = tf.trainable_variables()
    assert value(tf.gradients(y, [w])) == [6.0]


def test_a_variable_that_one_branch_reads():
    w = tf.Variable(2.0)
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: w * w, lambda: tf.constant(1.0))
    (g,) = tf.gradients(y, [w])
    assert value(g, {p: True}) == 4.0
    assert value(g, {p: False}) == 0.0


def test_a_variable_that_the_body_writes_after_reading_it():
    """The derivative is with respect to the value before the loop: none flows
    through the memory of a variable, as in TensorFlow."""
    v = tf.Variable(2.0)
    x = tf.constant(3.0)

    def body(i, y):
        read = v.read_value()
        with tf.control_dependencies([read]):
            write = v.assign_add(1.0)
        with tf.control_dependencies([write]):
            return i + 1, y * tf.identity(read)

    _, y = tf.while_loop(lambda i, y: i < 2, body, [0, x])
    (g,) = tf.gradients(y, [x])
    session = tf.Session()
    session.run(v.initializer)
    assert session.run([y, g]) == [18.0, 6.0]  # v was 2, then 3
    assert session.run(v) == 4.0


def test_the_gradient_of_a_read_needs_the_value_that_was_read():
    v = tf.Variable(2.0)
    x = tf.constant(3.0)

    def body(i, y):
        z = y * v
        with tf.control_dependencies([v.assign_add(1.0)]):
            return i + 1, tf.identity(z)

    _, y = tf.while_loop(lambda i, y: i < 2, body, [0, x])
    (g,) = tf.gradients(y, [x])
    session = tf.Session()
    session.run(v.initializer)
    assert session.run([y, g]) == [18.0, 6.0]


def test_a_variable_of_which_rows_are_written():
    """The gradient is by the value before the loop, and by what was written."""
    v = tf.Variable([1.0, 2.0, 3.0])
    x = tf.constant(5.0)

    def body(i, y):
        with tf.control_dependencies([y]):
            write = tf.scatter_update(v, [i], [x * x])
        with tf.control_dependencies([write]):
            return i + 1, y * tf.reduce_sum(v.read_value())

    _, y = tf.while_loop(lambda i, y: i < 2, body, [0, x])
    (g,) = tf.gradients(y, [x])
    session = tf.Session()
    session.run(v.initializer)
    # v is [25, 2, 3], then [25, 25, 3]
    assert session.run([y, g]) == [5.0 * 30.0 * 53.0, 30.0 * 53.0]


def test_an_embedding_read_in_a_loop():
    table = tf.Variable(np.arange(8.0).reshape(4, 2))
    y = tf.foldl(
        lambda a, i: a + tf.reduce_sum(tf.square(tf.gather(table, [i, i]))),
        tf.constant([1, 3, 1]),
        initializer=tf.constant(0.0, tf.float64),
    )
    (g,) = tf.gradients(y, [table])
    want = np.arange(8.0).reshape(4, 2) * [[0], [8], [0], [4]]
    np.testing.assert_array_equal(value(tf.convert_to_tensor(g)), want)


def test_parts_of_a_nest():
    start = {"a": tf.constant(2.0), "b": (tf.constant(3.0),)}
    (r,) = repeat(2, lambda d: ({"a": d["a"] * d["b"][0], "b": d["b"]},), start)
    # a b^2
    got = value(tf.gradients(r["a"], [start["a"], start["b"][0]]))
    assert got == [9.0, 12.0]


def test_grad_ys_and_several_results():
    x, w = tf.constant(2.0), tf.constant(3.0)
    a, b = repeat(2, lambda a, b: (a * w, b + a), x, w)
    # a = x w^2, b = w + x + x w
    got = value(tf.gradients([a, b], [x, w], grad_ys=[10.0, 1.0]))
    assert got == [10 * 9.0 + 1 + 3, 10 * 12.0 + 1 + 2]


def test_gradients_between_two_loops():
    x = tf.constant(2.0)
    (y,) = repeat(2, lambda y: (y * y,), x)  # x^4
    (z,) = repeat(2, lambda z: (z * y,), y)  # y^3
    got = value(tf.gradients(z, [x, y]))
    assert got == [12.0 * 2.0**11, 3.0 * 16.0**2]


# -- where there is none -------------------------------------------------------


def test_what_a_loop_does_not_depend_on():
    x, w, u = tf.constant(2.0), tf.constant(3.0), tf.constant(4.0)
    a, b = repeat(2, lambda a, b: (a * 2.0, b * w), x, u)
    assert tf.gradients(a, [w, u]) == [None, None]
    assert tf.gradients(b, [x]) == [None]
    assert tf.jvp([a], [w]) == [None]
    (z,) = tf.gradients(a, [w], unconnected_gradients="zero")
    assert value(z) == 0.0


def test_integer_carries_cut_the_path():
    x = tf.constant(2.0)
    a, k = repeat(2, lambda a, k: (a * 1.5, tf.cast(a, tf.int32)), x, 1)
    assert tf.gradients(tf.cast(k, tf.float32), [x]) == [None]
    assert value(tf.gradients(a, [x])) == [2.25]


def test_the_condition_carries_no_derivative():
    x = tf.constant(2.0)
    i = tf.while_loop(lambda i: i < x, lambda i: i + 1.0, [0.0])
    assert tf.gradients(i, [x]) == [None]


def test_a_predicate_carries_no_derivative():
    x = tf.constant(2.0)
    y = tf.cond(x > 1.0, lambda: 1.0, lambda: 2.0)
    assert tf.gradients(y, [x]) == [None]


@pytest.mark.parametrize(
    "build",
    [
        lambda x: tf.while_loop(
            lambda i, y: i < 2, lambda i, y: (i + 1, y * x), [0, x], back_prop=False
        )[1],
        lambda x: tf.scan(lambda a, r: a * r * x, tf.stack([x, x]), back_prop=False),
        lambda x: tf.foldl(lambda a, r: a * r, tf.stack([x, x]), back_prop=False),
        lambda x: tf.map_fn(lambda r: r * x, tf.stack([x, x]), back_prop=False),
    ],
)
def test_back_prop_false_makes_the_result_a_constant(build):
    x = tf.constant(2.0)
    y = build(x)
    assert tf.gradients(y, [x]) == [None]
    assert value(tf.gradients(tf.reduce_sum(y) * x, [x])) == [value(tf.reduce_sum(y))]


def test_stop_gradient_in_a_body():
    x = tf.constant(2.0)
    (y,) = repeat(3, lambda y: (y * tf.stop_gradient(y),), x)
    # dy_n = y_{n-1} dy_{n-1}: 2 * 4 * 16
    assert value([y, *tf.gradients(y, [x])]) == [256.0, 128.0]


def test_stop_gradients_around_a_loop():
    x = tf.constant(2.0)
    h = x * x
    (y,) = repeat(2, lambda y: (y * h,), x)
    # y = x h^2, h held still
    assert value(tf.gradients(y, [x], stop_gradients=[h])) == [16.0]


# -- no rows, no iterations ------------------------------------------------------


def test_the_gradient_of_a_scan_of_no_rows():
    x = tf.placeholder(tf.float64, [None, 2])
    w = tf.placeholder(tf.float64, [2])
    y = tf.scan(lambda a, r: a * w + r, x, initializer=w)
    gx, gw = tf.gradients(y, [x, w])
    (hw,) = tf.gradients(gw, [w])
    a, b, c = value([gx, gw, hw], {x: np.zeros((0, 2)), w: [1.0, 2.0]})
    assert a.shape == (0, 2)
    assert b.tolist() == c.tolist() == [0.0, 0.0]


def test_the_gradient_of_a_fold_of_no_rows():
    x = tf.placeholder(tf.float64, [None])
    w = tf.placeholder(tf.float64, [])
    y = tf.foldl(lambda a, r: a * r, x, initializer=w * w)
    gx, gw = tf.gradients(y, [x, w])
    a, b = value([gx, gw], {x: [], w: 3.0})
    assert a.shape == (0,)
    assert b == 6.0


def test_the_gradient_of_a_loop_that_does_not_run():
    n = tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float64, [None])
    (y,) = repeat(n, lambda y: (tf.sin(y) * x,), x * x)
    (g,) = tf.gradients(y, [x])
    (h,) = tf.gradients(g, [x])
    feeds = {x: [1.0, 2.0], n: 0}
    np.testing.assert_array_equal(value([g, h], feeds), [[2.0, 4.0], [2.0, 2.0]])
    assert value(g, {x: [], n: 3}).shape == (0,)


def test_maximum_iterations_bounds_the_gradient_too():
    x, most = tf.constant(2.0), tf.placeholder(tf.int32, [])
    y = tf.while_loop(lambda y: y < 1e9, lambda y: y * x, [x], maximum_iterations=most)
    (g,) = tf.gradients(y, [x])
    assert [float(value(g, {most: k})) for k in (0, 1, 2)] == [1.0, 4.0, 12.0]


# -- gradients inside bodies ------------------------------------------------------


def test_gradient_descent_in_a_loop():
    """The gradient of the result of an optimisation (as in MAML)."""
    a = tf.placeholder(tf.float64, [])

    def step(w):
        loss = tf.square(w - a)
        (g,) = tf.gradients(loss, [w])
        return (w - 0.1 * g,)

    (w,) = repeat(5, step, tf.constant(0.0, tf.float64))
    da = tf.gradients(w, [a])[0]
    # w_n = a (1 - 0.8^n)
    got = value([w, da], {a: 3.0})
    np.testing.assert_allclose(got, [3 * (1 - 0.8**5), 1 - 0.8**5], rtol=1e-14)


def test_the_derivative_of_the_result_with_respect_to_the_learning_rate():
    rate = tf.placeholder(tf.float64, [])

    def step(w):
        (g,) = tf.gradients(tf.reduce_sum(tf.sin(w) * w), [w])
        return (w - rate * g,)

    (w,) = repeat(4, step, tf.constant([1.0, 2.0], tf.float64))
    y = tf.reduce_sum(w * w)
    (d,) = tf.gradients(y, [rate])
    (dd,) = tf.gradients(d, [rate])

    def plain(r):
        w = np.array([1.0, 2.0])
        for _ in range(4):
            w = w - r * (np.cos(w) * w + np.sin(w))
        return (w * w).sum()

    p = np.polynomial.Chebyshev.interpolate(np.vectorize(plain), 14, [0.05, 0.15])
    got = value([y, d, dd], {rate: 0.1})
    want = [plain(0.1), p.deriv(1)(0.1), p.deriv(2)(0.1)]
    np.testing.assert_allclose(got, want, rtol=1e-7)


def test_a_body_may_differentiate_what_is_captured_by_what_is_captured():
    """Both y and x lie around the loop: the gradient is made in the body."""
    x = tf.constant(3.0)
    y = x * x
    (z,) = repeat(2, lambda z: (z + tf.gradients(y, [x])[0],), tf.constant(0.0))
    assert value(z) == 12.0


def test_a_body_may_differentiate_its_own_value_by_what_is_around():
    x = tf.constant(3.0)
    (z,) = repeat(2, lambda z: (z + tf.gradients(x * x * x, [x])[0],), tf.constant(0.0))
    assert value(z) == 54.0
    assert value(tf.gradients(z, [x])) == [36.0]


def test_a_body_may_differentiate_through_what_lies_between():
    """From the body through an operation around it to an x further out."""
    x = tf.constant(3.0)
    h = x * x
    (z,) = repeat(1, lambda z: (z + tf.gradients(h * h, [x])[0],), tf.constant(0.0))
    assert value(z) == 4.0 * 27.0


def test_a_branch_may_hold_a_gradient():
    p = tf.placeholder(tf.bool, [])
    x = tf.constant(3.0)
    y = tf.cond(p, lambda: tf.gradients(x * x, [x])[0], lambda: x)
    (g,) = tf.gradients(y, [x])
    assert value([y, g], {p: True}) == [6.0, 2.0]
    assert value([y, g], {p: False}) == [3.0, 1.0]


def test_forward_mode_in_a_body():
    x = tf.constant(3.0)

    def step(z):
        (t,) = tf.jvp([tf.sin(z) * x], [z], [tf.ones_like(z)])
        return (t,)

    (z,) = repeat(2, step, x)
    (g,) = tf.gradients(z, [x])
    # z = x cos(x cos x)
    c, s = np.cos(3.0), np.sin(3.0)
    u = 3.0 * c
    want = [3 * np.cos(u), np.cos(u) - 3 * np.sin(u) * (c - 3 * s)]
    np.testing.assert_allclose(value([z, g]), want, rtol=1e-5)


# -- kinds of numbers ---------------------------------------------------------------


def test_complex_carries():
    """d|z^8|^2 of z by its conjugate, as for the same chain without a loop."""
    z = tf.constant(0.8 + 0.3j, tf.complex128)
    (y,) = repeat(3, lambda y: (y * y,), z)
    plain = z
    for _ in range(3):
        plain = plain * plain
    a = tf.gradients(tf.square(tf.abs(y)), [z])[0]
    b = tf.gradients(tf.square(tf.abs(plain)), [z])[0]
    got, want = tf.Session().run([a, b])
    np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_of_any_size(dtype):
    x = tf.constant(1.5, dtype)
    (y,) = repeat(2, lambda y: (y * x,), x)
    (g,) = tf.gradients(y, [x])
    assert g.dtype.name == dtype
    assert value(g) == 3 * 1.5**2


def test_nan_stays_where_it_belongs():
    """A branch that is not taken adds nothing, not even 0 * inf."""
    x = tf.placeholder(tf.float64, [3])
    y = tf.map_fn(
        lambda r: tf.cond(r > 0.0, lambda: tf.sqrt(r), lambda: tf.zeros_like(r)), x
    )
    (g,) = tf.gradients(y, [x])
    np.testing.assert_array_equal(value(g, {x: [4.0, 0.0, -1.0]}), [0.25, 0.0, 0.0])


def test_deep_recurrences_do_not_recurse():
    x = tf.constant(0.001)
    (y,) = repeat(3000, lambda y: (y + x * tf.sin(y),), tf.constant(0.5))
    (g,) = tf.gradients(y, [x])
    got = tf.Session().run([y, g])
    assert np.isfinite(got).all()


# -- what runs -----------------------------------------------------------------------


def types_of(fetches, feeds=None):
    """The op types of the steps of a plan."""
    session = tf.Session()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    metadata = tf.RunMetadata()
    session.run(fetches, feeds, options=options, run_metadata=metadata)
    return [s.type for s in metadata.report.steps]


def test_a_loop_and_its_gradient_run_the_loop_once():
    x = tf.constant(2.0)
    (y,) = repeat(3, lambda y: (tf.sin(y) * x,), x)
    (g,) = tf.gradients(y, [x])
    assert types_of([y, g]).count("Loop") == 2  # forward, backward
    (h,) = tf.gradients(g, [x])
    assert types_of([y, g, h]).count("Loop") <= 4
