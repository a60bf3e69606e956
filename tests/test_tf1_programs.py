"""Small programs as TensorFlow 1's users wrote them; each checks its numbers.

The expected values are worked out by hand or by NumPy beside the program.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import dagrad as tf


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()
    yield
    tf.reset_default_graph()


def test_line_fitted_by_gradient_descent():
    xs = np.linspace(-1, 1, 50).astype("float32")
    ys = 3 * xs + 0.5
    X = tf.placeholder(tf.float32, name="X")
    Y = tf.placeholder(tf.float32, name="Y")
    W = tf.Variable(0.0, name="weight")
    b = tf.Variable(0.0, name="bias")
    cost = tf.reduce_mean(tf.square(X * W + b - Y))
    train = tf.train.GradientDescentOptimizer(0.3).minimize(cost)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(100):
            sess.run(train, feed_dict={X: xs, Y: ys})
        np.testing.assert_allclose(sess.run([W, b]), [3.0, 0.5], atol=1e-5)
        assert sess.run(cost, {X: xs, Y: ys}) < 1e-9


def test_one_step_of_softmax_regression_is_numpys():
    rng = np.random.RandomState(0)
    x, labels = rng.rand(8, 5).astype("float32"), rng.randint(0, 3, 8)
    onehot = np.eye(3)[labels]
    X = tf.placeholder("float", [None, 5])
    Y = tf.placeholder("float", [None, 3])
    W = tf.Variable(tf.zeros([5, 3]))
    b = tf.Variable(tf.zeros([3]))
    logits = tf.matmul(X, W) + b
    loss = tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(logits=logits, labels=Y)
    )
    hits = tf.equal(tf.argmax(logits, 1), tf.argmax(Y, 1))
    accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        before, score = sess.run([loss, accuracy], {X: x, Y: onehot})
        sess.run(step, {X: x, Y: onehot})
        w, bias = sess.run((W, b))
    assert before == pytest.approx(np.log(3), rel=1e-6)
    assert score == pytest.approx(np.mean(labels == 0))
    g = (np.full((8, 3), 1 / 3) - onehot) / 8
    np.testing.assert_allclose(w, -0.1 * x.T @ g, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(bias, -0.1 * g.sum(0), rtol=1e-5, atol=1e-7)


def test_feeding_an_intermediate_tensor_replaces_it():
    a = tf.constant(2.0)
    b = tf.add(a, 3.0)
    c = b * 10.0
    with tf.Session() as sess:
        assert sess.run(c) == 50.0
        assert sess.run(c, {b: 1.0}) == 10.0
        assert sess.run(c, {"Const:0": 4.0}) == 70.0
        assert sess.graph.is_feedable(b)


def test_fetches_keep_their_structure():
    x = tf.constant([1.0, 2.0])
    v = tf.Variable(3)
    with tf.Session() as sess:
        sess.run(v.initializer)
        got = sess.run({"x": x, "pair": (v, [x[0], "Const:0"]), "op": v.initializer})
    assert got["op"] is None
    np.testing.assert_array_equal(got["x"], [1, 2])
    assert got["pair"][0] == 3 and type(got["pair"][0]) is np.int32
    assert got["pair"][1][0] == 1.0 and type(got["pair"][1][0]) is np.float32
    assert isinstance(got["pair"][1][1], np.ndarray)


def test_a_counter_with_assign_in_a_python_loop():
    state = tf.Variable(0, name="counter")
    update = tf.assign(state, tf.add(state, tf.constant(1)))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        assert [int(sess.run(update)) for _ in range(3)] == [1, 2, 3]
        assert state.eval() == 3
        state.load(10, sess)
        assert sess.run(tf.assign_add(state, 5)) == 15
        assert sess.run(state.assign_sub(1)) == 14


def test_control_dependencies_run_the_update_first():
    v = tf.Variable(1.0)
    with tf.control_dependencies([tf.assign(v, v * 2)]):
        after = v.read_value()
    both = tf.group(after.op, name="both")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        assert sess.run(after) == 2.0
        assert sess.run(both) is None
        assert sess.run(v) == 4.0


def test_moving_average_follows_its_formula():
    v = tf.Variable(0.0)
    ema = tf.train.ExponentialMovingAverage(0.9)
    maintain = ema.apply([v])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        expected = 0.0
        for value in (10.0, 20.0, -5.0):
            sess.run(v.assign(value))
            sess.run(maintain)
            expected = 0.9 * expected + 0.1 * value
        assert sess.run(ema.average(v)) == pytest.approx(expected, rel=1e-6)
    assert ema.average_name(v) == "Variable/ExponentialMovingAverage"


def test_learning_rate_decays_with_the_global_step():
    step = tf.Variable(0, trainable=False, name="global_step")
    rate = tf.train.exponential_decay(0.1, step, 2, 0.5, staircase=True)
    w = tf.Variable(1.0)
    train = tf.train.GradientDescentOptimizer(rate).minimize(w, global_step=step)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        rates = []
        for _ in range(4):
            rates.append(sess.run(rate))
            sess.run(train)
        np.testing.assert_allclose(rates, [0.1, 0.1, 0.05, 0.05], rtol=1e-6)
        assert sess.run(step) == 4
        assert sess.run(w) == pytest.approx(1 - 0.3, rel=1e-6)


def test_variable_scope_shares_weights():
    def layer(x, units):
        w = tf.get_variable("w", [x.shape[1], units], initializer=tf.ones_initializer())
        b = tf.get_variable("b", [units], initializer=tf.zeros_initializer())
        return tf.matmul(x, w) + b

    x = tf.constant(np.arange(6, dtype="float32").reshape(2, 3))
    with tf.variable_scope("net") as scope:
        first = layer(x, 4)
        scope.reuse_variables()
        second = layer(2 * x, 4)
    names = [v.name for v in tf.trainable_variables()]
    assert names == ["net/w:0", "net/b:0"]
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        a, b = sess.run([first, second])
    np.testing.assert_array_equal(a, np.array([[3] * 4, [12] * 4]))
    np.testing.assert_array_equal(b, 2 * a)


def test_name_scopes_name_operations():
    with tf.name_scope("outer"):
        a = tf.constant(1.0, name="a")
        with tf.name_scope("inner"):
            b = tf.add(a, a, name="sum")
    with tf.name_scope("outer"):
        c = tf.constant(2.0, name="a")
    assert [t.name for t in (a, b, c)] == [
        "outer/a:0",
        "outer/inner/sum:0",
        "outer_1/a:0",
    ]
    assert tf.get_default_graph().get_tensor_by_name("outer/inner/sum:0") is b


def test_interactive_session_is_the_default():
    sess = tf.InteractiveSession()
    try:
        m = tf.constant([[1.0, 2.0], [3.0, 4.0]])
        np.testing.assert_allclose(
            tf.matrix_inverse(m).eval(), [[-2.0, 1.0], [1.5, -0.5]], rtol=1e-5
        )
        v = tf.Variable(tf.reduce_sum(m))
        v.initializer.run()
        assert v.eval() == 10.0
    finally:
        sess.close()


def test_k_means_finds_two_clusters():
    points = np.array([[0, 0], [0, 2], [10, 0], [10, 2]], np.float32)
    X = tf.constant(points)
    centres = tf.Variable(tf.add(X[:1], [[0.0, 0.0], [5.0, 0.0]]))
    distance = tf.reduce_sum(
        tf.square(tf.expand_dims(X, 1) - tf.expand_dims(centres, 0)), 2
    )
    nearest = tf.argmin(distance, 1)
    sums = tf.unsorted_segment_sum(X, nearest, 2)
    counts = tf.unsorted_segment_sum(tf.ones_like(X), nearest, 2)
    update = tf.assign(centres, sums / counts)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(3):
            sess.run(update)
        np.testing.assert_array_equal(sess.run(centres), [[0, 1], [10, 1]])
        assert sess.run(nearest).tolist() == [0, 0, 1, 1]


def test_embedding_rows_used_twice_move_twice():
    table = tf.Variable(tf.zeros([5, 2]))
    ids = tf.placeholder(tf.int32, [None])
    loss = tf.reduce_sum(tf.nn.embedding_lookup(table, ids))
    step = tf.train.GradientDescentOptimizer(1.0).minimize(loss)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(step, {ids: [1, 3, 3]})
        got = sess.run(table)
    np.testing.assert_array_equal(got[:, 0], [0, -1, 0, -2, 0])
    np.testing.assert_array_equal(got[:, 1], got[:, 0])


def test_convolution_pooling_and_flatten_on_digits():
    rng = np.random.RandomState(0)
    x = rng.rand(2, 4, 4, 1).astype("float32")
    X = tf.placeholder(tf.float32, [None, 4, 4, 1])
    kernel = tf.constant(np.ones((3, 3, 1, 1), np.float32))
    h = tf.nn.relu(tf.nn.conv2d(X, kernel, strides=[1, 1, 1, 1], padding="SAME"))
    p = tf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    flat = tf.reshape(p, [-1, int(np.prod(p.get_shape().as_list()[1:]))])
    assert flat.get_shape().as_list() == [None, 4]
    padded = np.pad(x[..., 0], ((0, 0), (1, 1), (1, 1)))
    sums = sum(padded[:, i : i + 4, j : j + 4] for i in range(3) for j in range(3))
    expected = sums.reshape(2, 2, 2, 2, 2).max((2, 4)).reshape(2, 4)
    with tf.Session() as sess:
        np.testing.assert_allclose(sess.run(flat, {X: x}), expected, rtol=1e-5)


def test_gradients_clipped_by_hand():
    w = tf.Variable([3.0, 4.0])
    opt = tf.train.GradientDescentOptimizer(1.0)
    pairs = opt.compute_gradients(tf.reduce_sum(w * w) / 2)
    clipped = [(tf.clip_by_norm(g, 1.0), v) for g, v in pairs]
    train = opt.apply_gradients(clipped)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        np.testing.assert_allclose(sess.run(w), [2.4, 3.2], rtol=1e-6)


def test_var_list_takes_the_values_of_a_dict():
    weights = {"a": tf.Variable(1.0), "b": tf.Variable(2.0)}
    other = tf.Variable(3.0)
    loss = weights["a"] * weights["b"] * other
    train = tf.train.GradientDescentOptimizer(0.1).minimize(
        loss, var_list=weights.values()
    )
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        got = sess.run([weights["a"], weights["b"], other])
    np.testing.assert_allclose(got, [1 - 0.6, 2 - 0.3, 3.0], rtol=1e-6)


def test_penalty_on_a_gradient_trains():
    # As a Wasserstein GAN does: the loss holds the norm of another gradient.
    x = tf.constant([[1.0, 2.0]])
    w = tf.Variable([[2.0], [1.0]])
    score = tf.matmul(tf.square(x), w)
    slope = tf.gradients(score, [x])[0]
    penalty = tf.reduce_mean((tf.norm(slope, axis=1) - 1.0) ** 2)
    (g,) = tf.gradients(penalty, [w])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        got = sess.run(g)
    s = np.array([4.0, 4.0])  # slope = 2 x w
    n = np.sqrt(32.0)
    expected = 2 * (n - 1) / n * s * np.array([2.0, 4.0])
    np.testing.assert_allclose(got[:, 0], expected, rtol=1e-5)


def test_the_mean_of_integers_is_an_integer():
    x = tf.constant([1, 2, 4, -1, -2])
    whole = tf.segment_mean(x, [0, 0, 0, 1, 1])
    assert whole.dtype == tf.int32
    with tf.Session() as sess:
        assert sess.run(tf.reduce_mean(x[:3])) == 2
        assert sess.run(whole).tolist() == [2, -1]
        half = tf.segment_mean(tf.to_float(x), [0, 0, 0, 1, 1])
        np.testing.assert_allclose(sess.run(half), [7 / 3, -1.5], rtol=1e-6)


def test_modules_that_programs_import_from_inside():
    from dagrad.python.framework import ops
    from dagrad.python.platform import gfile, tf_logging
    from dagrad.python.util import compat

    assert ops.get_default_graph() is tf.get_default_graph()
    assert gfile.Exists(__file__)
    assert tf_logging.INFO == 20
    assert compat.as_bytes("a") == b"a"


# -- what newcomers trip over -------------------------------------------------


def test_none_is_no_value():
    with pytest.raises(
        ValueError, match=r"constant at .*test_tf1_programs.py:\d+: None"
    ):
        tf.constant(None)
    with pytest.raises(ValueError, match=r"add at .*None is no value"):
        tf.add(None, 3)


def test_an_axis_out_of_range_names_the_builder_and_the_line():
    x = tf.ones([2, 3])
    for build, name in [
        (lambda: tf.reduce_sum(x, 2), "reduce_sum"),
        (lambda: tf.argmax(x, 2), "argmax"),
        (lambda: tf.expand_dims(x, 5), "expand_dims"),
    ]:
        with pytest.raises(tf.errors.ShapeError) as caught:
            build()
        text = str(caught.value)
        assert text.startswith(f"{name} at {__file__}:")
        assert "out of range for rank" in text


def test_an_unknown_padding_names_the_builder():
    with pytest.raises(ValueError, match=r"conv2d at .*'SAME', 'VALID'.* not 'FULL'"):
        tf.nn.conv2d(tf.ones([1, 4, 4, 1]), tf.ones([2, 2, 1, 1]), 1, "FULL")


def test_cross_entropies_want_named_arguments():
    with pytest.raises(ValueError, match=r"labels=\.\.\., logits=\.\.\."):
        tf.nn.sigmoid_cross_entropy_with_logits(tf.ones([2]), tf.ones([2]))


def test_a_tensor_of_a_reset_graph_is_explained():
    x = tf.placeholder(tf.float32, name="x")
    tf.reset_default_graph()
    y = tf.constant(1.0)
    with tf.Session() as sess:
        with pytest.raises(ValueError, match="reset_default_graph"):
            sess.run(y, {x: 1.0})
        with pytest.raises(ValueError, match="reset_default_graph"):
            sess.run(x)
        assert sess.run(y) == 1.0


def test_copies_of_tensors_are_the_tensors():
    x = tf.constant(1.0)
    assert copy.copy(x) is x
    assert copy.deepcopy({"x": [x], "op": x.op})["x"][0] is x
    assert copy.copy(x.op) is x.op


def test_what_cannot_be_pickled_says_so():
    x = tf.constant(1.0)
    v = tf.Variable(1.0)
    with tf.Session() as sess:
        for thing in (x, x.op, v, tf.get_default_graph(), sess):
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(thing)
        for thing in (v, tf.get_default_graph(), sess):
            with pytest.raises(TypeError, match=r"cannot be (copied|pickled)"):
                copy.deepcopy(thing)
