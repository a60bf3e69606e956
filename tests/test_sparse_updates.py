"""Rows that a step did not read stay as they are, as in TensorFlow 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dagrad as tf
from dagrad.ops import sparse_training

FIXTURES = Path(__file__).parent / "fixtures"
FROZEN = json.loads((FIXTURES / "sparse_updates.json").read_text(encoding="utf-8"))
CASES: dict[str, Any] = FROZEN["cases"]
TABLE = np.array(FROZEN["table"], np.float32)
WEIGHTS = np.array(FROZEN["x"], np.float32)
IDS: list[list[int]] = FROZEN["ids"]


pytestmark = pytest.mark.usefixtures("graph")


def initialized() -> tf.Session:
    """A session with all variables initialised."""
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def looked_up(v: Any) -> tuple[Any, Any, Any]:
    """The loss of the fixture's programs, and what it is fed."""
    ids, weights = tf.placeholder(tf.int32, [3]), tf.placeholder(tf.float32, [3, 2])
    return tf.reduce_sum(tf.gather(v, ids) ** 2 * weights) / 2, ids, weights


def momentum() -> Any:
    return tf.train.MomentumOptimizer(0.5, 0.9)


# -- against TensorFlow --------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_tensorflow(case: str) -> None:
    method, arguments = CASES[case]
    v = tf.Variable(TABLE, name="table")
    loss, ids, weights = looked_up(v)
    optimizer = getattr(tf.train, method)(**arguments)
    step = optimizer.minimize(loss)
    session = initialized()
    for i, w, wanted in zip(IDS, WEIGHTS, FROZEN["results"][case]):
        session.run(step, {ids: i, weights: w})
        state = {u.op.name: u for u in (v, *optimizer.variables())}
        found = session.run(state)
        assert sorted(found) == sorted(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(
                found[name], value, rtol=2e-5, atol=2e-6, err_msg=name
            )


@pytest.mark.parametrize("case", [c for c in CASES if c != "adam"])
def test_other_rows_keep_every_bit(case: str) -> None:
    method, arguments = CASES[case]
    v = tf.Variable(TABLE, name="table")
    loss, ids, weights = looked_up(v)
    optimizer = getattr(tf.train, method)(**arguments)
    step = optimizer.minimize(loss)
    session = initialized()
    state = [v, *optimizer.variables()]
    for i, w in zip(IDS, WEIGHTS):
        before = [a.copy() for a in session.run(state)]
        session.run(step, {ids: i, weights: w})
        others = [r for r in range(6) if r not in i]
        for old, new in zip(before, session.run(state)):
            assert new[others].tobytes() == old[others].tobytes()
        assert not np.array_equal(before[0], session.run(v))


# -- what compute_gradients gives ----------------------------------------------


def test_a_variable_that_is_only_gathered_gets_rows() -> None:
    v = tf.Variable(TABLE)
    loss, ids, weights = looked_up(v)
    ((g, var),) = momentum().compute_gradients(loss)
    assert isinstance(g, tf.IndexedSlices) and var is v
    assert g.dtype is tf.float32 and g.graph is v.graph
    assert g.name == g.values.name and g.op is g.values.op
    assert g.shape.as_list() == g.get_shape().as_list() == [6, 2]
    assert g.indices is ids
    found = initialized().run(g.values, {ids: IDS[0], weights: WEIGHTS[0]})
    np.testing.assert_allclose(found, TABLE[IDS[0]] * WEIGHTS[0], rtol=1e-6)


def test_public_gradients_stay_dense() -> None:
    v = tf.Variable(TABLE)
    loss = tf.reduce_sum(tf.gather(v, [1, 1])) + tf.reduce_sum(tf.gather(v, [2]))
    (g,) = tf.gradients(loss, [v])
    assert isinstance(g, tf.Tensor)
    wanted = np.zeros((6, 2))
    wanted[1], wanted[2] = 2, 1
    np.testing.assert_array_equal(initialized().run(g), wanted)


def test_reads_of_one_variable_end_in_one_scatter() -> None:
    v = tf.Variable(TABLE)
    parts = [tf.gather(v, [i]) for i in range(3)]
    with tf.control_dependencies([parts[0]]):
        parts.append(tf.gather(v, [4]))
    tf.gradients(tf.add_n(parts), [v])
    types = [op.type for op in tf.get_default_graph().get_operations()]
    assert types.count("ScatterRows") == 1


def test_several_gathers_give_all_rows() -> None:
    v = tf.Variable(np.zeros((5, 2), np.float32))
    first = tf.gather(v, tf.constant([1, 1], tf.int32))
    second = tf.gather(v, tf.constant([[4], [1]], tf.int64))
    optimizer = momentum()
    pairs = optimizer.compute_gradients(tf.reduce_sum(first) + tf.reduce_sum(second))
    assert isinstance(pairs[0][0], tf.IndexedSlices)
    step = optimizer.apply_gradients(pairs)
    session = initialized()
    session.run(step)
    assert session.run(v)[:, 0].tolist() == [0, -1.5, 0, 0, -0.5]


def test_a_dense_use_makes_it_dense() -> None:
    v = tf.Variable(TABLE)
    loss = tf.reduce_sum(tf.gather(v, [1])) + tf.reduce_sum(v * v) / 2
    optimizer = momentum()
    ((g, _),) = pairs = optimizer.compute_gradients(loss)
    assert isinstance(g, tf.Tensor)
    step = optimizer.apply_gradients(pairs)
    session = initialized()
    session.run(step)
    wanted = TABLE / 2
    wanted[1] -= 0.5
    np.testing.assert_allclose(session.run(v), wanted, rtol=1e-6)


def test_a_slice_is_a_dense_use() -> None:
    """TF1's gradient of v[i] is dense, so Momentum goes on in all rows."""
    v = tf.Variable(TABLE)
    ((g, _),) = momentum().compute_gradients(tf.reduce_sum(v[1]))
    assert isinstance(g, tf.Tensor)


def test_var_list_chooses() -> None:
    v, w = tf.Variable(TABLE), tf.Variable(TABLE)
    loss = tf.reduce_sum(tf.gather(v, [1]) * tf.gather(w, [2]))
    step = momentum().minimize(loss, var_list=[w])
    session = initialized()
    session.run(step)
    np.testing.assert_array_equal(session.run(v), TABLE)
    changed = TABLE.copy()
    changed[2] -= 0.5 * TABLE[1]
    np.testing.assert_allclose(session.run(w), changed, rtol=1e-6)


# -- rows where a tensor is asked for ------------------------------------------


def test_rows_are_a_tensor_to_builders_and_fetches() -> None:
    v = tf.Variable(TABLE)
    ((g, _),) = momentum().compute_gradients(tf.reduce_sum(tf.gather(v, [1, 1, 3])))
    dense = np.zeros((6, 2), np.float32)
    dense[1], dense[3] = 2, 1
    session = initialized()
    np.testing.assert_array_equal(session.run(g), dense)
    np.testing.assert_array_equal(session.run(tf.convert_to_tensor(g) * 2), dense * 2)
    clipped = session.run(tf.clip_by_norm(g, 1.0))
    np.testing.assert_allclose(clipped, dense / np.sqrt(10), rtol=1e-6)
    count = len(tf.get_default_graph().get_operations())
    session.run(g)
    assert len(tf.get_default_graph().get_operations()) == count


def test_clip_by_global_norm_takes_rows_and_tensors() -> None:
    v, w = tf.Variable(TABLE), tf.Variable(np.ones(2, np.float32))
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    loss = tf.reduce_sum(tf.gather(v, [1, 1]) * w)
    grads, variables = zip(*optimizer.compute_gradients(loss))
    assert [type(g) for g in grads] == [tf.IndexedSlices, tf.Tensor]
    clipped, norm = tf.clip_by_global_norm(grads, 0.5)
    step = optimizer.apply_gradients(zip(clipped, variables))
    session = initialized()
    to_v, to_w = np.zeros((6, 2)), 2 * TABLE[1].astype(float)
    to_v[1] = 2
    size = np.sqrt((to_v**2).sum() + (to_w**2).sum())
    _, found = session.run([step, norm])
    np.testing.assert_allclose(found, size, rtol=1e-6)
    np.testing.assert_allclose(session.run(v), TABLE - to_v / 2 / size, rtol=1e-5)
    np.testing.assert_allclose(session.run(w), 1 - to_w / 2 / size, rtol=1e-5)


def test_rows_can_be_scaled_and_stay_rows() -> None:
    v = tf.Variable(TABLE)
    optimizer = tf.train.MomentumOptimizer(1.0, 0.9)
    ((g, _),) = optimizer.compute_gradients(tf.reduce_sum(tf.gather(v, [1])))
    step = optimizer.apply_gradients([(tf.scalar_mul(0.25, g), v)])
    session = initialized()
    session.run(step)
    wanted = TABLE.copy()
    wanted[1] -= 0.25
    np.testing.assert_allclose(session.run(v), wanted, rtol=1e-6)


# -- methods of one's own ------------------------------------------------------


def test_a_method_without_sparse_rule_gets_a_tensor() -> None:
    class Sign(tf.train.Optimizer):
        def _apply_dense(self, grad: Any, var: Any) -> Any:
            return tf.assign_sub(var, tf.sign(grad))

    v = tf.Variable(np.zeros((3, 1), np.float32))
    step = Sign(False, "Sign").minimize(tf.reduce_sum(tf.gather(v, [2, 2])))
    session = initialized()
    session.run(step)
    assert session.run(v).ravel().tolist() == [0, 0, -1]


def test_a_method_with_sparse_rule_sees_each_row_once() -> None:
    class Squares(tf.train.Optimizer):
        def _apply_sparse(self, grad: Any, var: Any) -> Any:
            return tf.scatter_sub(var, grad.indices, grad.values**2)

    v = tf.Variable(np.zeros((3, 1), np.float32))
    step = Squares(False, "Squares").minimize(tf.reduce_sum(tf.gather(v, [2, 0, 2])))
    session = initialized()
    session.run(step)
    assert session.run(v).ravel().tolist() == [-1, 0, -4]


def test_constraint_follows_a_step_of_rows() -> None:
    v = tf.Variable(
        np.zeros((3, 1), np.float32), constraint=lambda x: tf.maximum(x, -0.25)
    )
    step = momentum().minimize(tf.reduce_sum(tf.gather(v, [2])))
    session = initialized()
    session.run(step)
    assert session.run(v).ravel().tolist() == [0, 0, -0.25]


# -- the update operations -----------------------------------------------------


def variables(*shape: int) -> list[Any]:
    return [tf.Variable(np.ones(shape, np.float32)) for _ in range(2)]


@pytest.mark.parametrize("index", [3, -1])
def test_index_out_of_range_raises(index: int) -> None:
    v, a = variables(3, 2)
    rows = tf.placeholder(tf.int32, [1])
    done = sparse_training.sparse_apply_adagrad(v, a, 0.1, tf.ones([1, 2]), rows)
    session = initialized()
    with pytest.raises(tf.errors.InvalidArgumentError, match="not in"):
        session.run(done, {rows: [index]})
    np.testing.assert_array_equal(session.run(v), np.ones((3, 2)))


def test_no_rows_change_nothing() -> None:
    v, a = variables(3, 2)
    rows = tf.zeros([0], tf.int32)
    done = sparse_training.sparse_apply_adagrad(v, a, 0.1, tf.ones([0, 2]), rows)
    np.testing.assert_array_equal(initialized().run(done), np.ones((3, 2)))


@pytest.mark.parametrize(
    ("grad", "indices", "error"),
    [
        (np.ones((2, 3), np.float32), [0, 1], tf.errors.ShapeError),
        (np.ones((3, 2), np.float32), [0, 1], tf.errors.ShapeError),
        (np.ones((1, 2), np.float32), [[0]], tf.errors.ShapeError),
        (np.ones((1, 2), np.float32), [0.0], tf.errors.DTypeError),
        (np.ones((1, 2), np.float64), [0], tf.errors.DTypeError),
    ],
)
def test_rows_must_fit_the_variable(grad: Any, indices: Any, error: Any) -> None:
    v, a = variables(3, 2)
    with pytest.raises(error):
        sparse_training.sparse_apply_momentum(v, a, 0.1, grad, indices, 0.9)


def test_a_scalar_has_no_rows() -> None:
    v, a = variables()
    with pytest.raises(tf.errors.ShapeError, match="no rows"):
        sparse_training.sparse_apply_momentum(v, a, 0.1, tf.ones([1]), [0], 0.9)


def test_many_wide_rows_make_the_same_step_as_the_whole_variable() -> None:
    """More than one tile of rows, each read twice."""
    rng = np.random.default_rng(5)
    start = rng.normal(size=(300, 400)).astype(np.float32)
    order = np.concatenate([rng.permutation(300), rng.permutation(300)])
    v, w = tf.Variable(start), tf.Variable(start)
    make = tf.train.RMSPropOptimizer
    steps = [
        make(0.1, momentum=0.5).minimize(tf.reduce_sum(tf.gather(v, order) ** 3)),
        make(0.1, momentum=0.5).minimize(2 * tf.reduce_sum(w**3)),
    ]
    session = initialized()
    for _ in range(2):
        session.run(steps)
    np.testing.assert_allclose(*session.run([v, w]), rtol=1e-4, atol=1e-5)
