"""Loops that keep the carries of every k-th iteration: the same derivatives, less
memory."""

from __future__ import annotations

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dagrad as tf

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(11, 3))
START = np.array([0.3, 0.5, 0.7])
SIZES = [1, 3, 11, 100, [4, 2], "least"]


def programs(every):
    """The rows, the start, the number of steps, and loops over them."""
    x = tf.placeholder(tf.float64, [None, 3])
    w = tf.placeholder(tf.float64, [3])
    n = tf.placeholder(tf.int32, [])

    def step(h, r):
        return tf.tanh(h * w + r)

    ends = {
        "scan": tf.scan(step, x, w, checkpoint_every=every),
        "reversed": tf.scan(step, x, w, reverse=True, checkpoint_every=every),
        "from the first": tf.scan(step, x, checkpoint_every=every),
        "foldl": tf.foldl(step, x, w, checkpoint_every=every),
        "foldr": tf.foldr(step, x, w, checkpoint_every=every),
        "while": tf.while_loop(
            lambda i, h: i < n,
            lambda i, h: (i + 1, step(h, x[i])),
            [0, w],
            checkpoint_every=every,
        )[1],
    }
    return {x: ROWS, w: START, n: 9}, ends


def derivatives(every, name):
    feeds, ends = programs(every)
    x, w, _ = feeds
    y = tf.reduce_sum(ends[name] ** 3)
    slopes = tf.gradients(y, [x, w])
    curved = tf.gradients(tf.reduce_sum(slopes[1] ** 2), [x, w])
    (pushed,) = tf.jvp([slopes[1]], [w])
    with tf.Session() as session:
        return session.run([y, *slopes, *curved, pushed], feeds)


@pytest.mark.parametrize("name", list(programs(None)[1]))
@pytest.mark.parametrize("every", SIZES, ids=str)
def test_blocks_change_no_derivative(name, every):
    for got, want in zip(derivatives(every, name), derivatives(None, name)):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def states_of(build, n=400, measured=False):
    """The predicted peak, in states, of what ``build`` makes of a loop's end and its
    weights; or that which a run takes."""

    def peak(every):
        w = tf.placeholder(tf.float32, [16, 16])
        start = tf.placeholder(tf.float32, [1024, 16])
        h = tf.foldl(
            lambda h, _: tf.tanh(tf.matmul(h, w)),
            tf.zeros([n]),
            start,
            checkpoint_every=every,
        )
        feeds = {w: np.eye(16), start: np.zeros([1024, 16])}
        fetches, state = build(h, w), 4 * 1024 * 16
        # Machine code would count in what is measured.
        with tf.Session(config=tf.ConfigProto(native="off")) as session:
            plan = session.plan(fetches, feeds)
            assert plan.exact
            taken = taken_by(session, fetches, feeds) if measured else plan.peak_bytes
            return taken / state

    return peak


def taken_by(session, fetches, feeds):
    """The bytes that a run takes, once its plan is made and its loops are text."""
    gc.collect()
    tracemalloc.start()
    for _ in range(3):
        session.run(fetches, feeds)
    gc.collect()
    tracemalloc.reset_peak()
    session.run(fetches, feeds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


peak_states = states_of(lambda h, w: tf.gradients(tf.reduce_sum(h), [w]))


def test_square_root_blocks_keep_two_roots_of_states():
    assert peak_states(None) > 400
    assert peak_states(20) < 2 * 20 + 4
    assert peak_states([49, 7]) < 3 * 7.4 + 4


def test_the_least_for_one_more_pass_is_the_root_of_twice_the_number():
    assert peak_states("least") < 800**0.5 + 5


@pytest.mark.parametrize("nesting", ["forward over reverse", "reverse over forward"])
def test_hessian_vector_products_keep_as_little(nesting):
    def product(h, w):
        loss, v = tf.reduce_sum(h * h), tf.ones([16, 16])
        if nesting == "forward over reverse":
            return tf.jvp(tf.gradients(loss, [w]), [w], [v])
        return tf.gradients(tf.jvp([loss], [w], [v]), [w])

    peak, taken = states_of(product), states_of(product, measured=True)
    # Rows of h and its tangent, and in one segment what tanh had for a tangent.
    assert peak("least") < 3 * (800**0.5 + 3)
    assert peak(None) > 800
    for every in ("least", 20):
        assert taken(every) == pytest.approx(peak(every), rel=0.05)


def test_memory_for_a_number_of_iterations_that_only_the_run_tells_is_not_predicted():
    start, steps = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.int32, [])

    def slopes(stop):
        end = tf.while_loop(
            lambda i, h: i < stop,
            lambda i, h: (i + 1, tf.tanh(h)),
            [0, start],
            checkpoint_every="least",
        )[1]
        return tf.gradients(end, start)

    around = tf.cond(start[0] > 0, lambda: slopes(steps), lambda: [start])
    with tf.Session() as session:
        for fetches in (slopes(steps), around):
            assert not session.plan(fetches, {start: np.zeros(4), steps: 5}).exact


def test_bytes_choose_the_segments():
    state = 4 * 1024 * 16
    assert peak_states(f"{500 * state}B") > 400
    assert peak_states(f"{60 * state}B") < 60
    assert peak_states(f"{12 * state}B") < 12 + 4
    with pytest.raises(tf.errors.ResourceExhaustedError, match="at least"):
        peak_states(f"{2 * state}B")


@pytest.mark.parametrize("every", [7, "least", [20, 5]], ids=str)
def test_bytes_count_what_else_an_iteration_keeps(every):
    """The gradient of h * sin(h) reads more than h: of one segment at a time."""
    n, state = 100, 8 * 5000
    x = tf.placeholder(tf.float64, [5000])

    def peak(every):
        end = tf.foldl(
            lambda h, _: tf.sin(h) * tf.exp(-h),
            tf.zeros([n]),
            x,
            checkpoint_every=every,
        )
        with tf.Session() as session:
            plan = session.plan(tf.gradients(end, x), {x: np.zeros(5000)})
        assert plan.exact
        return plan.peak_bytes / state

    assert peak("least") < peak(10) < peak(None) / 3
    assert peak(every) < peak(None) / 2
    assert peak(f"{12 * state}B") < 20


@given(
    n=st.integers(0, 25),
    every=st.one_of(
        st.integers(1, 30),
        st.just("least"),
        st.sampled_from([[9, 3], [12, 6, 2]]),
        st.integers(6, 60).map(lambda some: f"{some * 100}B"),
    ),
    reverse=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
@settings(max_examples=40, deadline=None)
def test_any_schedule_gives_the_same_gradient_to_the_bit(n, every, reverse, dtype):
    """Of two carries, one of which counts, with rows, and in both executors."""
    rows = np.random.default_rng(n).normal(size=(n, 4)).astype(dtype)
    start = np.array([0.3, -0.2, 0.5, 1.0], dtype)

    def gradients(every):
        tf.reset_default_graph()
        x, w = (tf.placeholder(dtype, a.shape) for a in (rows, start))
        fold = tf.foldr if reverse else tf.foldl

        def step(state, r):
            h, k = state
            return tf.sin(h * w + r) * tf.exp(-h) + tf.cast(k, dtype), k + 1

        end, _ = fold(step, x, (w, tf.constant(0)), checkpoint_every=every)
        found = tf.gradients(tf.reduce_sum(end**2), [x, w])
        feeds = {x: rows, w: start}
        with tf.Session() as session:
            first = session.run(found, feeds)
            again = session.run(found, feeds)
            options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
            plain = session.run(found, feeds, options, tf.RunMetadata())
        return first, again, plain

    want, _, _ = gradients(None)
    for found in gradients(every):
        for a, b in zip(found, want):
            np.testing.assert_array_equal(a, b)


def test_two_gradients_of_one_loop_share_its_marks():
    """The first to run must leave the kept states as they are."""
    x = tf.placeholder(tf.float64, [20])
    h, k = tf.foldl(
        lambda s, r: (tf.sin(s[0] * r), s[1] * tf.cos(s[0])),
        x,
        (tf.constant(0.5, tf.float64), tf.constant(1.0, tf.float64)),
        checkpoint_every="least",
    )
    plain, other = tf.foldl(
        lambda s, r: (tf.sin(s[0] * r), s[1] * tf.cos(s[0])),
        x,
        (tf.constant(0.5, tf.float64), tf.constant(1.0, tf.float64)),
    )
    found = [tf.gradients(y, x)[0] for y in (h, k, plain, other)]
    with tf.Session() as session:
        values = session.run(found, {x: np.linspace(0.5, 2, 20)})
    np.testing.assert_array_equal(values[0], values[2])
    np.testing.assert_array_equal(values[1], values[3])


@pytest.mark.parametrize("every", [2, 3, "least", [4, 2]], ids=str)
def test_one_tensor_may_be_the_cotangent_of_two_carries(every):
    """Its memory cannot be a second buffer for both.

    In runs of their own: in one, the plain loop would read it too.
    """
    w, v = (tf.placeholder(tf.float64, [64]) for _ in range(2))

    def slopes(every):
        h, k = tf.foldl(
            lambda s, r: (tf.sin(s[0] * w + r), tf.tanh(s[1] * s[0] + v)),
            np.linspace(0.1, 1.0, 7),
            (w, v),
            checkpoint_every=every,
        )
        return tf.gradients(tf.reduce_sum(tf.exp(h + k)), [w, v])

    feeds = dict(zip((w, v), np.random.default_rng(0).normal(size=(2, 64))))
    with tf.Session() as session:
        want = session.run(slopes(None), feeds)
        got = session.run(slopes(every), feeds)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("every", [2, "least", [4, 2]], ids=str)
def test_what_is_made_of_a_row_alone_is_kept_in_memory_of_its_shape(every):
    x, w = tf.constant(ROWS), tf.constant(START)
    slopes = [
        tf.gradients(
            tf.foldl(lambda h, r: h * tf.sin(r), x, w, checkpoint_every=e), [x, w]
        )
        for e in (None, every)
    ]
    with tf.Session() as session:
        want, got = (session.run(s) for s in slopes)
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_a_loop_that_tests_may_end_at_once(n):
    x = tf.placeholder(tf.float64, [3])
    steps = tf.placeholder(tf.int32, [])
    slopes = [
        tf.gradients(
            tf.while_loop(
                lambda i, h: i < steps,
                lambda i, h: (i + 1, tf.sin(h) * x),
                [0, x],
                checkpoint_every=every,
            )[1],
            x,
        )[0]
        for every in (None, 4, "least", [4, 2])
    ]
    with tf.Session() as session:
        want, *rest = session.run(slopes, {x: START, steps: n})
    for got in rest:
        np.testing.assert_array_equal(got, want)


def test_a_state_that_grows_is_differentiated_without_segments():
    x = tf.placeholder(tf.float64, [3])

    def slopes(every):
        grown = tf.while_loop(
            lambda i, h: i < 6,
            lambda i, h: (i + 1, tf.concat([tf.sin(h), x], 0)),
            [0, x],
            shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
            checkpoint_every=every,
        )[1]
        return tf.gradients(grown, x)[0]

    with tf.Session() as session:
        want, *rest = session.run([slopes(e) for e in (None, 2, "least")], {x: START})
    for got in rest:
        np.testing.assert_allclose(got, want, rtol=1e-14)


def test_segments_within_segments():
    """A checkpointed loop in the body of another, and captured weights in both."""
    w = tf.placeholder(tf.float64, [3])

    def ends(outer, inner):
        def step(h, r):
            return tf.foldl(
                lambda g, _: tf.tanh(g * w + r),
                tf.zeros([5]),
                h,
                checkpoint_every=inner,
            )

        x = tf.constant(ROWS)
        return tf.foldl(step, x, w, checkpoint_every=outer)

    slopes = [
        tf.gradients(ends(*pair), w)[0]
        for pair in ((None, None), (3, 2), ("least", "least"), (None, 2), (4, None))
    ]
    with tf.Session() as session:
        want, *rest = session.run(slopes, {w: START})
    for got in rest:
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_a_backward_loop_whose_shapes_only_its_run_tells():
    x, w = tf.placeholder(tf.float64, [11, None]), tf.placeholder(tf.float64, [None])

    @tf.custom_gradient
    def sine(r):
        return tf.sin(r), lambda d: tf.boolean_mask(d * tf.cos(r), tf.abs(d) >= 0)

    def slopes(every):
        end = tf.foldl(lambda h, r: sine(r) * h, x, w, checkpoint_every=every)
        return tf.gradients(end, [x, w])

    with tf.Session() as session:
        want, *rest = session.run(
            [slopes(e) for e in (None, 2, "least")], {x: ROWS, w: START}
        )
    for got in rest:
        for a, b in zip(got, want):
            np.testing.assert_array_equal(a, b)


def test_a_jacobian_of_a_checkpointed_loop_is_that_of_the_loop():
    x = tf.placeholder(tf.float64, [3])

    def matrices(every):
        y = tf.foldl(lambda h, r: tf.tanh(h * x + r), ROWS, x, checkpoint_every=every)
        mixed = tf.gradients(y * tf.constant([1.0, 2.0, 3.0], tf.float64), x)[0]
        return [tf.jacobian(y, x), tf.hessian(tf.reduce_sum(y**2), x), mixed]

    with tf.Session() as session:
        want, got = session.run([matrices(None), matrices("least")], {x: START})
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_variable_that_is_fed_is_what_segments_read():
    v = tf.Variable(START)
    end = tf.foldl(lambda h, r: tf.tanh(h * v + r), ROWS, START, checkpoint_every=3)
    (slope,) = tf.gradients(end, [v])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        stored = session.run(slope)
        session.run(v.assign(2 * START))
        moved = session.run(slope)
        fed = session.run(slope, {v: START})
    np.testing.assert_array_equal(fed, stored)
    assert not np.allclose(moved, stored)


def test_segments_in_several_threads():
    x = tf.placeholder(tf.float64, [3])
    end = tf.foldl(lambda h, r: tf.tanh(h * x + r), ROWS, x, checkpoint_every="least")
    (slope,) = tf.gradients(end, [x])
    points = np.random.default_rng(1).normal(size=(24, 3))
    with tf.Session() as session, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: session.run(slope, {x: p}), points))
        alone = [session.run(slope, {x: p}) for p in points]
    np.testing.assert_array_equal(together, alone)


def test_a_checkpointed_gradient_comes_back_from_a_file(tmp_path):
    x = tf.placeholder(tf.float64, [3], name="x")
    end = tf.foldl(lambda h, r: tf.tanh(h * x + r), ROWS, x, checkpoint_every="least")
    (slope,) = tf.gradients(end, [x], name="slope")
    with tf.Session() as session:
        want = session.run(slope, {x: START})
    slope.graph.save(tmp_path / "graph.json")
    loaded = tf.Graph.load(tmp_path / "graph.json")
    with tf.Session(graph=loaded) as session:
        got = session.run(slope.name, {"x:0": START})
    np.testing.assert_array_equal(got, want)


def test_bytes_need_a_known_number_of_iterations():
    x = tf.placeholder(tf.float32, [None, 3])
    with pytest.raises(ValueError, match="must be known"):
        tf.foldl(lambda h, r: h * r, x, checkpoint_every="1MB")


@pytest.mark.parametrize("every", [0, -1, 2.5, True, [], [2, 4], "much"], ids=str)
def test_what_is_no_size_is_refused(every):
    with pytest.raises(ValueError, match="checkpoint_every"):
        tf.foldl(lambda h, r: h * r, tf.ones([4]), checkpoint_every=every)


def test_a_block_that_draws_is_refused():
    with pytest.raises(tf.DagradError, match="computed again"):
        tf.foldl(
            lambda h, r: h * tf.random_uniform([]), tf.ones([4]), checkpoint_every=2
        )


def test_a_short_last_block_makes_no_room_for_the_others_to_outgrow():
    """Going backward it is the first; the whole blocks make more rows than it."""
    steps, every, state = 94, 12, 4 * 1024 * 16
    start = tf.placeholder(tf.float32, [1024, 16])
    h = tf.while_loop(
        lambda i, h: i < steps,
        lambda i, h: (i + 1, tf.tanh(h)),
        [0, start],
        checkpoint_every=every,
    )[1]
    slope = tf.gradients(h, start)
    value = np.ones([1024, 16], np.float32)
    with tf.Session() as session:
        gc.collect()
        tracemalloc.start()
        session.run(slope, {start: value})
        peak = tracemalloc.get_traced_memory()[1] / state
        tracemalloc.stop()
    assert peak < 51  # 57 where the block of 10 leaves rows that are too few


@pytest.mark.parametrize("n", [2, 3, 5])
def test_cotangents_may_come_in_any_layout(n):
    """A kernel looks at what it writes into in another shape."""
    x = tf.placeholder(tf.float64, [2, 2, 3])
    g = tf.placeholder(tf.float64, [2, 2, 3])
    count = tf.placeholder(tf.int32, [])
    swapped = lambda i, h: (i + 1, tf.gather(h, [1, 0], axis=0))  # noqa: E731
    _, y = tf.while_loop(lambda i, h: i < count, swapped, [0, x], checkpoint_every=2)
    fetches = tf.gradients(y, x, [g])
    given = np.arange(12.0).reshape(2, 2, 3)
    for turned in (np.ascontiguousarray, np.asfortranarray):
        feeds = {x: np.ones((2, 2, 3)), g: turned(given), count: n}
        (got,) = tf.Session().run(fetches, feeds)
        np.testing.assert_array_equal(got, given[::-1] if n % 2 else given)
