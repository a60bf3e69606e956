"""Bodies that read and write variables, draw at random, wait, or fail."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


def started():
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def traced(session, fetches, feeds=None):
    """A run of the reference interpreter."""
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    return session.run(fetches, feeds, options=options, run_metadata=tf.RunMetadata())


RUNS = [tf.Session.run, traced]
both = pytest.mark.parametrize("run", RUNS, ids=["fast", "reference"])


# -- variables: reads and writes ------------------------------------------


@both
def test_an_assignment_runs_in_each_iteration(run):
    v = tf.Variable(1.0)

    def body(i, s):
        new = v.assign(v * 2.0)
        return i + 1, s + new

    _, s = tf.while_loop(lambda i, s: i < 4, body, [0, 0.0])
    session = started()
    assert run(session, s) == 2 + 4 + 8 + 16
    assert session.run(v) == 16.0
    assert run(session, s) == 32 + 64 + 128 + 256


@both
def test_a_read_in_an_iteration_sees_the_iterations_before(run):
    """Within one iteration a read sees the value before its writes."""
    v = tf.Variable(0)

    def body(i, s):
        new = v.assign_add(1)
        return i + 1 + 0 * new, s * 10 + v

    _, s = tf.while_loop(lambda i, s: i < 3, body, [0, 0])
    session = started()
    assert run(session, s) == 12  # 0, then 1, then 2
    assert session.run(v) == 3


@both
def test_a_read_that_waits_for_a_write_sees_it(run):
    v = tf.Variable(0)

    def body(i, s):
        with tf.control_dependencies([v.assign_add(1)]):
            return i + 1, s * 10 + v.read_value()

    _, s = tf.while_loop(lambda i, s: i < 3, body, [0, 0])
    session = started()
    assert run(session, s) == 123


@both
def test_two_variables_that_take_turns(run):
    a, b = tf.Variable(1.0), tf.Variable(1.0)

    def body(i):
        new_a = a.assign(a.read_value() + b.read_value())
        with tf.control_dependencies([new_a]):
            new_b = b.assign(a.read_value() * 2.0)
        with tf.control_dependencies([new_b]):
            return i + 1

    i = tf.while_loop(lambda i: i < 3, body, [0])
    session = started()
    x, y = 1.0, 1.0
    for _ in range(3):
        x = x + y
        y = x * 2.0
    run(session, i)
    assert session.run([a, b]) == [x, y]


@both
def test_a_write_that_nothing_returned_depends_on_does_not_run(run):
    v = tf.Variable(0)

    def body(i):
        v.assign_add(1)
        return i + 1

    i = tf.while_loop(lambda i: i < 3, body, [0])
    session = started()
    assert run(session, i) == 3
    assert session.run(v) == 0


@both
def test_the_condition_sees_what_the_body_wrote(run):
    v = tf.Variable(0)

    def body(i):
        with tf.control_dependencies([v.assign_add(2)]):
            return i + 1

    i = tf.while_loop(lambda i: v.read_value() < 7, body, [0])
    session = started()
    assert run(session, i) == 4
    assert session.run(v) == 8
    assert run(session, i) == 0


@both
def test_a_read_around_a_loop_sees_the_value_before_it(run):
    v = tf.Variable(1.0)
    before = v + 0.0
    _, s = tf.while_loop(
        lambda i, s: i < 3, lambda i, s: (i + 1, v.assign_add(1.0)), [0, 0.0]
    )
    with tf.control_dependencies([s]):
        after = v.read_value()
    session = started()
    assert run(session, [before, s, after]) == [1.0, 4.0, 4.0]


@both
def test_writes_around_a_loop_are_ordered_by_creation(run):
    v = tf.Variable(1.0)
    first = v.assign_add(1.0)
    _, s = tf.while_loop(
        lambda i, s: i < 3,
        lambda i, s: (i + 1, v.assign(v.read_value() * 2.0)),
        [0, 0.0],
    )
    last = v.assign_add(0.5)
    session = started()
    run(session, [first, s, last])
    assert session.run(v) == 16.5


@both
def test_a_loop_waits_for_control_dependencies(run):
    v = tf.Variable(1.0)
    with tf.control_dependencies([v.assign(5.0)]):
        _, s = tf.while_loop(
            lambda i, s: i < 2, lambda i, s: (i + 1, s + v.read_value()), [0, 0.0]
        )
    session = started()
    assert run(session, s) == 10.0


@both
def test_a_body_that_waits_for_what_is_outside(run):
    v = tf.Variable(1.0)
    write = v.assign(5.0)

    def body(i, s):
        with tf.control_dependencies([write]):
            return i + 1, s + v.read_value()

    _, s = tf.while_loop(lambda i, s: i < 2, body, [0, 0.0])
    session = started()
    assert run(session, s) == 10.0


@both
@pytest.mark.parametrize("flag", [True, False])
def test_only_the_branch_that_is_taken_writes(run, flag):
    v = tf.Variable(0)
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: v.assign_add(1), lambda: v.assign_sub(10))
    session = started()
    assert run(session, y, {p: flag}) == (1 if flag else -10)
    assert session.run(v) == (1 if flag else -10)


@both
def test_a_part_of_a_variable_is_written(run):
    v = tf.Variable(np.zeros(4, np.float32))

    def body(i):
        with tf.control_dependencies(
            [tf.scatter_update(v, [i], [10.0 + tf.cast(i, tf.float32)])]
        ):
            return i + 1

    i = tf.while_loop(lambda i: i < 3, body, [0])
    session = started()
    run(session, i)
    np.testing.assert_array_equal(session.run(v), [10.0, 11.0, 12.0, 0.0])


@both
def test_a_variable_written_in_nested_bodies(run):
    v = tf.Variable(0)
    f = tf.function(lambda k: v.assign_add(k))

    def inner(i):
        return tf.cond(tf.equal(i % 2, 0), lambda: f(i), lambda: v.read_value() * 1)

    def body(i, s):
        _, t = tf.while_loop(
            lambda j, t: j < i, lambda j, t: (j + 1, t + inner(j)), [0, 0]
        )
        return i + 1, s + t

    _, s = tf.while_loop(lambda i, s: i < 5, body, [0, 0])
    session = started()
    x = total = 0
    for i in range(5):
        for j in range(i):
            if j % 2 == 0:
                x += j
            total += x
    assert run(session, s) == total
    assert session.run(v) == x


@both
def test_a_variable_made_in_a_body(run):
    """It belongs to the graph around: its initialiser runs outside."""

    def body(i, s):
        w = tf.get_variable("w", [], initializer=tf.constant_initializer(3.0))
        return i + 1, s * w

    with tf.variable_scope("net"):
        _, s = tf.while_loop(lambda i, s: i < 2, body, [0, 1.0])
    assert [v.name for v in tf.trainable_variables()] == ["net/w:0"]
    session = started()
    assert run(session, s) == 9.0


@both
def test_uninitialised_variables_of_the_other_branch_do_not_matter(run):
    v = tf.Variable(1.0)
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: v * 2.0, lambda: tf.constant(7.0))
    session = tf.Session()
    assert run(session, y, {p: False}) == 7.0
    with pytest.raises(tf.errors.FailedPreconditionError, match="initiali"):
        run(session, y, {p: True})
    session.run(v.initializer)
    assert run(session, y, {p: True}) == 2.0


@both
def test_a_branch_may_initialise_a_variable(run):
    v = tf.Variable(5.0)
    y = tf.cond(
        tf.is_variable_initialized(v),
        lambda: v.read_value(),
        lambda: tf.identity(v.assign(7.0)),
    )
    session = tf.Session()
    assert run(session, y) == 7.0
    assert run(session, y) == 7.0


def test_a_variable_that_changes_its_shape_in_a_loop():
    v = tf.Variable(np.zeros(1, np.float32), validate_shape=False)

    def body(i):
        grown = tf.assign(
            v, tf.concat([v.read_value(), [1.0]], 0), validate_shape=False
        )
        with tf.control_dependencies([grown]):
            return i + 1

    i = tf.while_loop(lambda i: i < 3, body, [0])
    session = started()
    session.run(i)
    np.testing.assert_array_equal(session.run(v), [0.0, 1.0, 1.0, 1.0])


# -- random draws ------------------------------------------------------------


def draws(n=4, seed=None):
    _, y = tf.while_loop(
        lambda i, y: i < n,
        lambda i, y: (i + 1, tf.concat([y, [tf.random_uniform([], seed=seed)]], 0)),
        [0, tf.zeros([0])],
    )
    return y


@both
def test_each_iteration_draws_anew(run):
    y = run(tf.Session(), draws(50))
    assert len(set(y.tolist())) == 50


@both
def test_two_loops_draw_differently(run):
    a, b = run(tf.Session(), [draws(), draws()])
    assert not np.intersect1d(a, b).size


@both
def test_runs_draw_anew_and_sessions_repeat_by_seed(run):
    tf.set_random_seed(5)
    y = draws()
    first, second = tf.Session(), tf.Session()
    a = [run(first, y) for _ in range(2)]
    b = [run(second, y) for _ in range(2)]
    np.testing.assert_array_equal(a, b)
    assert not np.intersect1d(a[0], a[1]).size


def test_fast_and_reference_runs_draw_the_same():
    tf.set_random_seed(5)
    y = draws()
    np.testing.assert_array_equal(*[run(tf.Session(), y) for run in RUNS])


@both
def test_a_function_draws_anew_in_each_call(run):
    f = tf.function(lambda: tf.random_uniform([3]))
    a, b = run(tf.Session(), [f(), f()])
    assert not np.intersect1d(a, b).size


@both
def test_each_call_of_a_function_writes(run):
    v = tf.Variable(0)
    f = tf.function(lambda: v.assign_add(1))
    calls = [f() for _ in range(3)]
    session = started()
    run(session, calls)
    assert session.run(v) == 3


@both
def test_the_gradients_of_two_calls_use_the_draws_of_each(run):
    x = tf.constant(3.0)
    f = tf.function(lambda x: tf.random_normal([]) * x * x)
    a, b = f(x), f(x)
    (da,), (db,) = tf.gradients(a, [x]), tf.gradients(b, [x])
    (dda,) = tf.gradients(da, [x])
    a, b, da, db, dda = run(tf.Session(), [a, b, da, db, dda])
    assert a != b
    np.testing.assert_allclose([da, db, dda], [2 * a / 3, 2 * b / 3, 2 * a / 9], 1e-6)


@both
def test_the_gradient_uses_the_draws_of_the_forward_pass(run):
    x = tf.constant([1.0, 2.0, 3.0])

    def both_values(row):
        noise = tf.random_normal([])
        return noise * row * row, noise

    y, noise = tf.map_fn(both_values, x, dtype=(tf.float32, tf.float32))
    (g,) = tf.gradients(y, [x])
    (h,) = tf.gradients(g, [x])
    got_y, got_n, got_g, got_h = run(tf.Session(), [y, noise, g, h])
    at = np.array([1.0, 2.0, 3.0], np.float32)
    np.testing.assert_allclose(got_y, got_n * at * at, rtol=1e-6)
    np.testing.assert_allclose(got_g, 2 * got_n * at, rtol=1e-6)
    np.testing.assert_allclose(got_h, 2 * got_n, rtol=1e-6)


@both
def test_the_gradient_alone_uses_one_draw(run):
    """Without the loop's result among the fetches it is still one loop."""
    x = tf.constant([1.0, 2.0])
    y = tf.map_fn(lambda row: tf.random_normal([]) * row, x)
    (g,) = tf.gradients(y, [x])
    with tf.control_dependencies([y]):
        ratio = y / x / g
    np.testing.assert_allclose(run(tf.Session(), ratio), [1.0, 1.0], rtol=1e-6)


@both
def test_dropout_in_a_branch(run):
    train = tf.placeholder(tf.bool, [])
    x = tf.ones([1000])
    y = tf.cond(train, lambda: tf.nn.dropout(x, keep_prob=0.5), lambda: x)
    (g,) = tf.gradients(y, [x])
    session = tf.Session()
    a, da = run(session, [y, g], {train: True})
    np.testing.assert_array_equal(a, da)
    assert 300 < np.count_nonzero(a) < 700
    b, db = run(session, [y, g], {train: False})
    assert b.min() == db.min() == 1.0


# -- errors -------------------------------------------------------------------


@both
def test_an_error_in_a_body_names_the_inner_operation_and_the_line(run):
    d = tf.placeholder(tf.int32, [])

    def body(i):
        q = tf.floordiv(10, d - i, name="quotient")  # the line that is named
        return i + 1 + 0 * q

    i = tf.while_loop(lambda i: i < 4, body, [0])
    session = tf.Session()
    with pytest.raises(tf.errors.InvalidArgumentError) as info:
        run(session, i, {d: 2})
    text = str(info.value)
    assert "division by zero" in text
    assert "quotient" in text
    line = body.__code__.co_firstlineno + 1
    assert f"{__file__.rpartition('/')[2]}:{line}" in text
    assert info.value.op.name.endswith("quotient")
    assert run(session, i, {d: 100}) == 4


@both
def test_shapes_that_do_not_fit_in_a_body(run):
    x = tf.placeholder(tf.float32, [None])
    y = tf.placeholder(tf.float32, [None])
    z = tf.map_fn(lambda row: row + x * y, tf.zeros([2]))
    session = tf.Session()
    with pytest.raises(tf.errors.InvalidArgumentError, match="mul"):
        run(session, z, {x: [1.0, 2.0], y: [1.0, 2.0, 3.0]})
    assert run(session, z, {x: [1.0], y: [2.0]}).tolist() == [[2.0], [2.0]]


@both
def test_what_was_written_before_an_error_stays_whole(run):
    v = tf.Variable(0)
    d = tf.placeholder(tf.int32, [])

    def body(i):
        with tf.control_dependencies([v.assign_add(1)]):
            return i + 1 + 0 * (10 // (d - i))

    i = tf.while_loop(lambda i: i < 4, body, [0])
    session = started()
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(session, i, {d: 2})
    assert session.run(v) in (2, 3)
    assert run(session, i, {d: 9}) == 4


def test_a_missing_feed_of_what_a_body_captures():
    x = tf.placeholder(tf.float32, [], name="needed")
    y = tf.while_loop(lambda y: y < 3.0, lambda y: y + x, [0.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="needed"):
        tf.Session().run(y)


# -- threads ---------------------------------------------------------------


def test_several_threads_run_one_loop():
    x = tf.placeholder(tf.float64, [None])
    n = tf.placeholder(tf.int32, [])
    _, y = tf.while_loop(
        lambda i, y: i < n, lambda i, y: (i + 1, tf.sin(y) + x), [0, x]
    )
    (g,) = tf.gradients(y, [x])
    session = tf.Session()
    rng = np.random.default_rng(0)
    work = [(rng.normal(size=int(k)), int(m)) for k, m in rng.integers(1, 9, (40, 2))]
    want = []
    for a, m in work:
        v, d = a, np.ones_like(a)
        for _ in range(m):
            v, d = np.sin(v) + a, np.cos(v) * d + 1
        want.append((v, d))
    failures = []

    def go(k):
        for j in range(k, len(work), 4):
            a, m = work[j]
            try:
                got = session.run([y, g], {x: a, n: m})
                np.testing.assert_allclose(got[0], want[j][0], rtol=1e-12)
                np.testing.assert_allclose(got[1], want[j][1], rtol=1e-12)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=go, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_threads_that_build_in_one_graph(graph):
    """The body of one thread is not the default graph of another."""
    made, failures = [], []

    def build(k):
        try:
            with graph.as_default():
                x = tf.constant(float(k))
                y = tf.while_loop(
                    lambda i, y: i < 3, lambda i, y: (i + 1, y + x), [0, x]
                )[1]
                made.append((k, y))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=build, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    graph.validate()
    with tf.Session(graph=graph) as session:
        for k, y in made:
            assert session.run(y) == 4.0 * k


def test_threads_add_to_one_counter():
    v = tf.Variable(0)

    def body(i):
        with tf.control_dependencies([v.assign_add(1)]):
            return i + 1

    i = tf.while_loop(lambda i: i < 25, body, [0])
    session = started()
    threads = [
        threading.Thread(target=lambda: [session.run(i) for _ in range(5)])
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert session.run(v) == 500


@both
def test_what_goes_through_a_loop_is_no_variables_memory(run):
    """Not without iterations either: it stays when the variable is written later."""
    v = tf.Variable(np.zeros(3))
    n = tf.placeholder(tf.int32, [])
    _, kept = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a + 1.0), [0, v])
    with tf.control_dependencies([kept]):
        write = v.assign_add([1.0, 2.0, 3.0])
    with tf.control_dependencies([write]):
        after = kept * 1.0
    session = tf.Session(rewrites=[])
    for iterations in (0, 1):
        session.run(v.initializer)
        got = run(session, [after, write], {n: iterations})
        np.testing.assert_array_equal(got[0], np.full(3, float(iterations)))
