"""Optimizers, decays, moving averages and the global step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dagrad as tf

FROZEN = np.load(Path(__file__).parent / "fixtures" / "optimizers.npz")
CASES: dict[str, Any] = json.loads(str(FROZEN["cases"]))
DECAYS: dict[str, Any] = json.loads(str(FROZEN["decays"]))


pytestmark = pytest.mark.usefixtures("graph")


def initialized() -> tf.Session:
    """A session with all variables initialised."""
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


# -- against TensorFlow --------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_tensorflow(case: str) -> None:
    method, arguments = CASES[case]
    x = tf.placeholder(tf.float32, [3, 2])
    w, b = tf.Variable(FROZEN["w"], name="w"), tf.Variable(FROZEN["b"], name="b")
    loss = tf.reduce_sum((w * x) ** 2) / 2 + tf.reduce_sum(b * x)
    optimizer = getattr(tf.train, method)(**arguments)
    step = optimizer.minimize(loss)

    session = initialized()
    for i, value in enumerate(FROZEN["x"]):
        session.run(step, {x: value})
        for name, v in (("w", w), ("b", b)):
            np.testing.assert_allclose(
                session.run(v),
                FROZEN[f"{case}:{name}"][i],
                rtol=2e-5,
                atol=2e-6,
                err_msg=f"{name} after step {i}",
            )


@pytest.mark.parametrize("case", CASES)
def test_state_has_tensorflows_names_and_values(case: str) -> None:
    method, arguments = CASES[case]
    x = tf.placeholder(tf.float32, [3, 2])
    w, b = tf.Variable(FROZEN["w"], name="w"), tf.Variable(FROZEN["b"], name="b")
    optimizer = getattr(tf.train, method)(**arguments)
    step = optimizer.minimize(tf.reduce_sum((w * x) ** 2) / 2 + tf.reduce_sum(b * x))
    session = initialized()
    for value in FROZEN["x"]:
        session.run(step, {x: value})
    prefix = f"{case}:state:"
    wanted = {
        name.removeprefix(prefix).replace("|", "/"): FROZEN[name]
        for name in FROZEN.files
        if name.startswith(prefix)
    }
    found = {v.op.name: session.run(v) for v in optimizer.variables()}
    assert sorted(found) == sorted(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(
            found[name], value, rtol=2e-5, atol=2e-6, err_msg=name
        )


@pytest.mark.parametrize("case", DECAYS)
def test_decays_equal_tensorflow(case: str) -> None:
    function, arguments = DECAYS[case]
    step = tf.placeholder(tf.int64, [])
    rate = getattr(tf.train, function)(0.3, step, **arguments)
    with tf.Session() as session:
        found = [session.run(rate, {step: n}) for n in FROZEN["points"]]
    np.testing.assert_allclose(found, FROZEN[f"decay:{case}"], rtol=2e-5, atol=1e-7)


# -- against the formulas ------------------------------------------------------


def test_adam_in_float64_is_the_papers() -> None:
    target, rate, beta1, beta2, epsilon = 3.0, 0.1, 0.9, 0.999, 1e-8
    w = tf.Variable(1.0, dtype=tf.float64)
    step = tf.train.AdamOptimizer(rate).minimize((w - target) ** 2)
    value, m, v = 1.0, 0.0, 0.0
    session = initialized()
    for t in range(1, 21):
        session.run(step)
        g = 2.0 * (value - target)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        rate_t = rate * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        value -= rate_t * m / (math.sqrt(v) + epsilon)
        assert session.run(w) == pytest.approx(value, rel=1e-12)


def test_a_step_uses_the_value_before_it() -> None:
    """Every gradient is taken at the old point, however many variables change."""
    a, b = tf.Variable(2.0), tf.Variable(5.0)
    step = tf.train.GradientDescentOptimizer(0.1).minimize(a * b)
    session = initialized()
    session.run(step)
    np.testing.assert_allclose(session.run([a, b]), [2.0 - 0.5, 5.0 - 0.2], rtol=1e-6)


def test_loss_in_the_run_of_a_step_is_the_old_one() -> None:
    a = tf.Variable(2.0)
    loss = a * a
    step = tf.train.GradientDescentOptimizer(0.25).minimize(loss)
    session = initialized()
    assert [float(session.run([step, loss])[1]) for _ in range(2)] == [4.0, 1.0]


def test_rows_of_an_embedding() -> None:
    table = tf.Variable(np.ones((4, 2), np.float32))
    rows = tf.nn.embedding_lookup(table, [1, 3, 1])
    step = tf.train.GradientDescentOptimizer(0.5).minimize(tf.reduce_sum(rows))
    session = initialized()
    session.run(step)
    assert session.run(table).tolist() == [[1, 1], [0, 0], [1, 1], [0.5, 0.5]]


def test_gradients_as_indexed_slices() -> None:
    table = tf.Variable(np.zeros((3, 1), np.float32))
    rows = tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([0, 0]), table + 0)
    step = tf.train.GradientDescentOptimizer(1.0).apply_gradients([(rows, table)])
    session = initialized()
    session.run(step)
    assert session.run(table).tolist() == [[-3.0], [0.0], [0.0]]


# -- hyperparameters -----------------------------------------------------------


def test_learning_rate_may_be_fed() -> None:
    w, rate = tf.Variable(0.0), tf.placeholder(tf.float32, [])
    step = tf.train.GradientDescentOptimizer(rate).minimize(w)
    session = initialized()
    session.run(step, {rate: 0.5})
    session.run(step, {rate: 2.0})
    assert session.run(w) == -2.5


def test_learning_rate_may_be_a_function() -> None:
    w = tf.Variable(0.0)
    step = tf.train.MomentumOptimizer(lambda: 0.5, lambda: 0.0).minimize(w)
    session = initialized()
    session.run(step)
    assert session.run(w) == -0.5


def test_learning_rate_may_decay_with_the_global_step() -> None:
    w = tf.Variable(0.0)
    count = tf.train.get_or_create_global_step()
    rate = tf.train.piecewise_constant(count, [1], [1.0, 0.25])
    step = tf.train.GradientDescentOptimizer(rate).minimize(w, global_step=count)
    session = initialized()
    seen = []
    for _ in range(4):
        session.run(step)
        seen.append(float(session.run(w)))
    assert seen == [-1.0, -2.0, -2.25, -2.5]
    assert tf.train.global_step(session, count) == 4


def test_one_learning_rate_node_serves_all_variables(graph: tf.Graph) -> None:
    variables = [tf.Variable(1.0) for _ in range(5)]
    tf.train.GradientDescentOptimizer(0.1).minimize(tf.add_n(variables))
    names = [op.name for op in graph.get_operations() if "learning_rate" in op.name]
    assert names == ["GradientDescent/learning_rate"]


def test_variables_of_two_dtypes() -> None:
    a = tf.Variable(1.0, dtype=tf.float32)
    b = tf.Variable(1.0, dtype=tf.float64)
    step = tf.train.AdamOptimizer(0.5).minimize(tf.cast(a, tf.float64) + b)
    session = initialized()
    session.run(step)
    np.testing.assert_allclose(session.run([a, b]), [0.5, 0.5], rtol=1e-6)


# -- what surrounds an update --------------------------------------------------


def test_global_step_is_counted_after_the_updates(graph: tf.Graph) -> None:
    w, count = tf.Variable(1.0), tf.train.create_global_step()
    step = tf.train.AdamOptimizer().minimize(w, global_step=count)
    assert step.name == "Adam"
    assert tf.get_collection(tf.GraphKeys.TRAIN_OP) == [step]
    session = initialized()
    assert session.run(step) is None
    assert session.run(count) == 1


def test_names_of_operations() -> None:
    w = tf.Variable(1.0, name="w")
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    assert optimizer.minimize(w * w).name == "Momentum"
    assert optimizer.minimize(w * w, name="again").name == "again"
    assert optimizer.get_slot_names() == ["momentum"]
    assert optimizer.get_slot(w, "momentum").name == "w/Momentum:0"
    assert optimizer.get_slot(w, "other") is None
    assert optimizer.get_name() == "Momentum"


def test_slots_are_no_training_variables() -> None:
    w = tf.Variable(1.0, name="w")
    optimizer = tf.train.AdamOptimizer()
    optimizer.minimize(w * w)
    assert tf.trainable_variables() == [w]
    assert set(optimizer.variables()) == set(tf.global_variables()) - {w}


def test_constraint_holds_after_each_step() -> None:
    w = tf.Variable(1.0, constraint=lambda v: tf.maximum(v, 0.75))
    step = tf.train.GradientDescentOptimizer(0.2).minimize(w)
    session = initialized()
    seen = []
    for _ in range(3):
        session.run(step)
        seen.append(float(session.run(w)))
    np.testing.assert_allclose(seen, [0.8, 0.75, 0.75], rtol=1e-6)


def test_gradients_can_be_changed_between() -> None:
    a, b = tf.Variable(1.0), tf.Variable(1.0)
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(3.0 * a + tf.stop_gradient(b), [a, b])
    assert pairs[1][0] is None
    clipped = [(None if g is None else tf.minimum(g, 0.5), v) for g, v in pairs]
    step = optimizer.apply_gradients(clipped)
    session = initialized()
    session.run(step)
    assert session.run([a, b]) == [0.5, 1.0]


def test_grad_loss_scales_the_step() -> None:
    w = tf.Variable(1.0)
    step = tf.train.GradientDescentOptimizer(1.0).minimize(w, grad_loss=0.25)
    session = initialized()
    session.run(step)
    assert session.run(w) == 0.75


def test_a_method_of_ones_own() -> None:
    class Signs(tf.train.Optimizer):
        """w -= sign(grad)."""

        def __init__(self) -> None:
            super().__init__(False, "Signs")

        def _apply_dense(self, grad: tf.Tensor, var: Any) -> Any:
            return tf.assign_sub(var, tf.sign(grad))

    w = tf.Variable([3.0, -4.0])
    step = Signs().minimize(tf.reduce_sum(w * w))
    session = initialized()
    session.run(step)
    assert session.run(w).tolist() == [2.0, -3.0]


# -- refusals ------------------------------------------------------------------


def test_a_loss_without_variables_is_refused() -> None:
    with pytest.raises(ValueError, match="no variables to optimize"):
        tf.train.AdamOptimizer().minimize(tf.constant(1.0))


def test_a_loss_that_depends_on_no_variable_is_named() -> None:
    tf.Variable(1.0, name="unused")
    loss = tf.constant(1.0, name="the_loss")
    with pytest.raises(ValueError, match=r"the_loss(.|\n)*unused:0"):
        tf.train.AdamOptimizer().minimize(loss)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda o, w: o.minimize(tf.constant(3) * 2, var_list=[w]), TypeError),
        (lambda o, w: o.minimize(w * w, var_list=[w * 1.0]), TypeError),
        (lambda o, w: o.minimize(w * w, gate_gradients=7), ValueError),
        (lambda o, w: o.apply_gradients([]), ValueError),
        (lambda o, w: o.apply_gradients([(None, w)]), ValueError),
        (lambda o, w: o.apply_gradients([(tf.constant(1.0), w + 1.0)]), TypeError),
        (lambda o, w: tf.train.Optimizer(False, ""), ValueError),
        (lambda o, w: tf.train.AdagradOptimizer(1.0, 0.0), ValueError),
        (lambda o, w: tf.train.FtrlOptimizer(1.0, 0.5), ValueError),
        (lambda o, w: tf.train.FtrlOptimizer(1.0, -0.5, -1.0), ValueError),
        (lambda o, w: tf.train.exponential_decay(0.1, None, 2, 0.5), ValueError),
        (lambda o, w: tf.train.piecewise_constant(1, [2], [3.0]), ValueError),
    ],
)
def test_misuse_is_refused(
    call: Callable[[Any, Any], Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        call(tf.train.GradientDescentOptimizer(0.1), tf.Variable(1.0))


# -- moving averages -----------------------------------------------------------


def test_average_of_a_variable_starts_as_the_variable() -> None:
    w = tf.Variable(2.0, name="w")
    average = tf.train.ExponentialMovingAverage(0.75)
    update = average.apply([w])
    session = initialized()
    w.load(4.0, session)
    seen = []
    for _ in range(2):
        session.run(update)
        seen.append(float(session.run(average.average(w))))
    assert seen == [2.5, 2.875]
    assert average.average_name(w) == "w/ExponentialMovingAverage"
    assert average.average(w).op.name == "w/ExponentialMovingAverage"
    assert tf.moving_average_variables() == [w]


def test_average_follows_the_step_that_it_waits_for() -> None:
    w = tf.Variable(1.0)
    step = tf.train.GradientDescentOptimizer(1.0).minimize(w)
    average = tf.train.ExponentialMovingAverage(0.5)
    with tf.control_dependencies([step]):
        both = average.apply([w])
    session = initialized()
    session.run(both)
    assert session.run(average.average(w)) == 0.5


def test_average_moves_fast_at_first_with_num_updates() -> None:
    w, count = tf.Variable(0.0), tf.Variable(0, trainable=False)
    average = tf.train.ExponentialMovingAverage(0.99, num_updates=count)
    update = average.apply([w])
    session = initialized()
    w.load(1.0, session)
    session.run(update)
    assert session.run(average.average(w)) == pytest.approx(0.9)


def test_average_of_a_tensor_without_bias() -> None:
    x = tf.placeholder(tf.float32, [2])
    average = tf.train.ExponentialMovingAverage(0.9, zero_debias=True)
    update = average.apply([x])
    session = initialized()
    session.run(update, {x: [1.0, 2.0]})
    np.testing.assert_allclose(session.run(average.average(x)), [1.0, 2.0], rtol=1e-5)
    session.run(update, {x: [2.0, 2.0]})
    wanted = [(0.09 * 1.0 + 0.1 * 2.0) / 0.19, 2.0]
    np.testing.assert_allclose(session.run(average.average(x)), wanted, rtol=1e-5)


def test_averages_to_restore() -> None:
    w = tf.Variable(0.0, name="w")
    other = tf.Variable(0.0, name="other", trainable=False)
    average = tf.train.ExponentialMovingAverage(0.9)
    average.apply([w])
    assert average.variables_to_restore() == {
        "w/ExponentialMovingAverage": w,
        "other": other,
    }


def test_average_of_integers_is_refused() -> None:
    with pytest.raises(TypeError):
        tf.train.ExponentialMovingAverage(0.9).apply([tf.Variable(1)])


# -- the global step -----------------------------------------------------------


def test_global_step_is_found_again() -> None:
    assert tf.train.get_global_step() is None
    step = tf.train.get_or_create_global_step()
    assert step.dtype == tf.int64
    assert tf.train.get_global_step() is step
    assert tf.train.get_or_create_global_step() is step
    with pytest.raises(ValueError, match="already"):
        tf.train.create_global_step()


def test_global_step_is_found_by_name() -> None:
    step = tf.Variable(0, name="global_step", trainable=False)
    assert tf.train.get_global_step() is step


def test_global_step_must_be_an_integer_scalar() -> None:
    with pytest.raises(TypeError):
        tf.train.assert_global_step(tf.Variable(0.0))
    with pytest.raises(TypeError):
        tf.train.assert_global_step(tf.Variable([0, 1]))


def test_noise_on_a_decay_has_its_mean() -> None:
    tf.set_random_seed(1)
    step = tf.placeholder(tf.int64, [])
    noisy = tf.train.noisy_linear_cosine_decay(1.0, step, 10, initial_variance=1e-4)
    plain = tf.train.linear_cosine_decay(1.0, step, 10)
    with tf.Session() as session:
        draws = [session.run(noisy, {step: 3}) for _ in range(200)]
        assert np.mean(draws) == pytest.approx(session.run(plain, {step: 3}), abs=3e-3)
        assert np.std(draws) > 1e-4


@pytest.mark.parametrize("shape", [(100_001,), (300, 250), (), (0, 3)])
def test_large_and_odd_variables_are_updated_whole(shape):
    rng = np.random.default_rng(0)
    start = rng.standard_normal(shape)
    target = rng.standard_normal(shape)
    with tf.Graph().as_default(), tf.Session() as session:
        v = tf.Variable(start)
        loss = tf.reduce_sum(tf.square(v - target)) / 2
        steps = [
            tf.train.GradientDescentOptimizer(0.1).minimize(loss),
            tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss),
        ]
        session.run(tf.global_variables_initializer())
        for _ in range(2):
            session.run(steps[0])
        expected = target + (start - target) * 0.9**2
        np.testing.assert_allclose(session.run(v), expected, rtol=1e-12, atol=1e-12)
        accum = 0.0
        for _ in range(2):
            session.run(steps[1])
            accum = 0.9 * accum + (expected - target)
            expected = expected - 0.1 * accum
        np.testing.assert_allclose(session.run(v), expected, rtol=1e-12, atol=1e-12)
