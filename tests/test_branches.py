"""cond, case, switch_case, function and recompute_grad: what they compute and when."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from both_executors import value

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


Pair = collections.namedtuple("Pair", "left right")


# -- cond ------------------------------------------------------------------


@pytest.mark.parametrize("flag", [True, False])
def test_cond_takes_one_branch(flag):
    p = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float32, [2])
    y = tf.cond(p, lambda: x * 2.0, lambda: x + 1.0)
    want = [2.0, 4.0] if flag else [2.0, 3.0]
    np.testing.assert_array_equal(value(y, {p: flag, x: [1.0, 2.0]}), want)


def test_a_tensor_beside_an_operation_is_an_error_with_a_remedy():
    v = tf.Variable(1.0)
    p = tf.placeholder(tf.bool, [])
    with pytest.raises(TypeError, match=r"let all return one \(group\)"):
        tf.cond(p, lambda: v.assign_add(1.0), tf.no_op)
    tf.cond(p, lambda: tf.group(v.assign_add(1.0)), tf.no_op)


def test_the_true_function_is_called_first_and_each_once():
    called = []
    tf.cond(
        tf.constant(True),
        lambda: called.append("true") or tf.constant(1),
        lambda: called.append("false") or tf.constant(2),
    )
    assert called == ["true", "false"]


@pytest.mark.parametrize("flag", [True, False])
def test_cond_of_structures(flag):
    p = tf.placeholder(tf.bool, [])
    r = tf.cond(
        p,
        lambda: {"a": Pair(tf.constant(1.0), (tf.constant(2),)), "b": [3.0]},
        lambda: {"a": Pair(tf.constant(4.0), (tf.constant(5),)), "b": [6.0]},
    )
    assert isinstance(r["a"], Pair)
    got = value([r["a"].left, r["a"].right[0], r["b"][0]], {p: flag})
    assert got == ([1.0, 2, 3.0] if flag else [4.0, 5, 6.0])


def test_a_single_value_is_unpacked_unless_strict():
    p = tf.constant(True)
    assert isinstance(tf.cond(p, lambda: [1.0], lambda: [2.0]), tf.Tensor)
    assert value(tf.cond(p, lambda: [1.0], lambda: [2.0], strict=True)) == [1.0]


def test_branches_that_return_what_is_around_them():
    p = tf.placeholder(tf.bool, [])
    x, y = tf.constant([1.0]), tf.constant([2.0]) * 2.0
    z = tf.cond(p, lambda: x, lambda: y)
    assert value(z, {p: True}) == [1.0]
    assert value(z, {p: False}) == [4.0]


def test_branches_of_different_shapes():
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.zeros([2, 3]), lambda: tf.zeros([2, 5]))
    assert y.shape.as_list() == [2, None]
    assert value(y, {p: True}).shape == (2, 3)
    assert value(y, {p: False}).shape == (2, 5)
    z = tf.cond(p, lambda: tf.zeros([2]), lambda: tf.zeros([2, 5]))
    assert z.shape.ndims is None
    assert value(z, {p: True}).shape == (2,)


def test_numbers_follow_the_other_branch():
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.constant(1, tf.int64), lambda: 2)
    assert y.dtype == tf.int64
    assert value(y, {p: False}) == 2


@pytest.mark.parametrize(
    ("a", "b", "error", "text"),
    [
        (lambda: tf.constant(1), lambda: tf.constant(1.0), TypeError, "dagrad.cast"),
        (lambda: [1.0], lambda: [1.0, 2.0], ValueError, "differ"),
        (lambda: {"a": 1.0}, lambda: {"b": 1.0}, ValueError, "keys"),
        (lambda: 1.0, lambda: None, ValueError, "returns None"),
    ],
)
def test_branches_that_return_different_things_are_an_error(a, b, error, text):
    with pytest.raises(error, match=text):
        tf.cond(tf.constant(True), a, b)


def test_what_cond_does_not_take():
    with pytest.raises(TypeError, match="Python bool"):
        tf.cond(True, lambda: 1, lambda: 2)
    with pytest.raises(TypeError, match="bool"):
        tf.cond(tf.constant(1), lambda: 1, lambda: 2)
    with pytest.raises(ValueError, match="scalar"):
        tf.cond(tf.constant([True]), lambda: 1, lambda: 2)
    with pytest.raises(TypeError, match="functions"):
        tf.cond(tf.constant(True), 1, 2)


def test_a_predicate_of_unknown_shape():
    p = tf.placeholder(tf.bool)
    y = tf.cond(p, lambda: 1, lambda: 2)
    assert value(y, {p: True}) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="scalar"):
        value(y, {p: [True, False]})


def test_only_the_branch_that_is_taken_runs():
    p = tf.placeholder(tf.bool, [])
    zero = tf.placeholder(tf.int32, [])
    y = tf.cond(p, lambda: tf.constant(1), lambda: 6 // zero)
    assert value(y, {p: True, zero: 0}) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="division by zero"):
        tf.Session().run(y, {p: False, zero: 0})


def test_what_a_branch_reads_runs_before():
    p = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.int32, [])
    y = 6 // x
    z = tf.cond(p, lambda: y, lambda: tf.constant(1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="division by zero"):
        tf.Session().run(z, {p: False, x: 0})
    inside = tf.cond(p, lambda: 6 // x, lambda: tf.constant(1))
    assert value(inside, {p: False, x: 0}) == 1


def test_a_constant_predicate():
    assert value(tf.cond(tf.constant(False), lambda: 1, lambda: 2)) == 2


def test_branches_that_return_nothing_give_the_operation():
    op = tf.cond(tf.constant(True), lambda: None, lambda: None)
    assert isinstance(op, tf.Operation)
    assert value(op) is None


def test_an_operation_is_true_once_it_has_run():
    v = tf.Variable(0)
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.group(v.assign_add(5)), lambda: tf.no_op())
    with tf.Session() as session:
        session.run(v.initializer)
        session.run(y, {p: True})
        assert session.run(v) == 5
        session.run(y, {p: False})
        assert session.run(v) == 5


# -- case and switch_case ----------------------------------------------------


def test_case_takes_the_first_that_holds():
    x = tf.placeholder(tf.int32, [])
    y = tf.case(
        [(x < 0, lambda: -1), (x < 10, lambda: 1), (x < 5, lambda: 7)],
        default=lambda: 2,
    )
    assert [int(value(y, {x: v})) for v in (-5, 3, 30)] == [-1, 1, 2]


def test_case_without_a_default_is_an_error_where_nothing_holds():
    x = tf.placeholder(tf.int32, [])
    y = tf.case([(x < 0, lambda: -1), (x > 0, lambda: 1)])
    assert value(y, {x: 4}) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="no condition holds"):
        tf.Session().run(y, {x: 0})


def test_an_exclusive_case():
    x = tf.placeholder(tf.int32, [])
    y = tf.case({x < 5: lambda: 1, x < 9: lambda: 2}, default=lambda: 3, exclusive=True)
    assert value(y, {x: 7}) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than one"):
        tf.Session().run(y, {x: 0})


def test_what_case_does_not_take():
    with pytest.raises(ValueError, match="at least one"):
        tf.case([])
    with pytest.raises(TypeError, match="pairs"):
        tf.case([(tf.constant(True), 3)])
    with pytest.raises(TypeError, match="default"):
        tf.case([(tf.constant(True), lambda: 3)], default=3)


def test_switch_case():
    i = tf.placeholder(tf.int32, [])
    y = tf.switch_case(i, [lambda: 10, lambda: 11, lambda: 12])
    # As in TensorFlow, an index that names no function takes the last one.
    assert [int(value(y, {i: v})) for v in (0, 1, 2, 3, -1)] == [10, 11, 12, 12, 12]


def test_switch_case_by_number():
    i = tf.placeholder(tf.int64, [])
    y = tf.switch_case(i, {3: lambda: 30, 7: lambda: 70}, default=lambda: -1)
    assert [int(value(y, {i: v})) for v in (3, 7, 0, 1)] == [30, 70, -1, -1]
    z = tf.switch_case(i, {3: lambda: 30, 7: lambda: 70})
    assert [int(value(z, {i: v})) for v in (3, 7, 0, 1)] == [30, 70, 70, 70]


# -- function ------------------------------------------------------------------


def test_a_function_is_built_once_per_kind_of_argument():
    built = []

    @tf.function
    def f(a, b):
        built.append(a.shape)
        return a * b

    x = tf.constant([1.0, 2.0])
    y = f(f(x, x), x)
    np.testing.assert_array_equal(value(y), [1.0, 8.0])
    assert len(built) == 1
    f(tf.constant(1.0), tf.constant(2.0))
    f(x, tf.constant(2.0))
    assert len(built) == 3


def test_a_function_of_nested_arguments():
    @tf.function
    def f(p, k, flag=False):
        total = p["a"] + p["b"][0] * k
        return {"t": total, "u": (total, -total)} if flag else total

    p = {"a": tf.constant(1.0), "b": [tf.constant(2.0)]}
    assert value(f(p, 3.0)) == 7.0
    r = f(p, 4.0, flag=True)
    assert value([r["t"], r["u"][1]]) == [9.0, -9.0]


def test_a_function_in_several_graphs():
    f = tf.function(lambda x: x * 2.0)
    for _ in range(3):
        with tf.Graph().as_default():
            assert tf.Session().run(f(tf.constant(2.0))) == 4.0


def test_a_function_that_captures():
    x = tf.placeholder(tf.float32, [])
    f = tf.function(lambda y: x * y)
    assert value(f(tf.constant(2.0)) + f(tf.constant(3.0)), {x: 2.0}) == 10.0


def test_a_function_cannot_call_itself():
    @tf.function
    def f(x):
        return f(x)

    with pytest.raises(ValueError, match="calls itself"):
        f(tf.constant(1.0))


def test_a_method_may_be_a_function():
    class Model:
        k = 3.0

        @tf.function
        def __call__(self, x):
            return self.k * x

    assert value(Model()(tf.constant(2.0))) == 6.0


def test_a_function_first_called_in_a_body():
    """What was built inside one body is not that of another."""
    f = tf.function(lambda x: x * 2.0)
    p = tf.placeholder(tf.bool, [])
    x = tf.constant(3.0)
    y = tf.cond(p, lambda: f(x), lambda: f(f(x)))
    z = y + f(x)
    assert value(z, {p: True}) == 12.0
    assert value(z, {p: False}) == 18.0


def test_a_function_that_returns_its_argument_or_what_is_around_it():
    x = tf.constant(2.0) * 1.0
    f = tf.function(lambda a: (a, x, a))
    assert value(list(f(tf.constant(1.0)))) == [1.0, 2.0, 1.0]


def test_a_function_that_returns_nothing():
    v = tf.Variable(1.0)

    @tf.function
    def f(x):
        return v.assign_add(x).op

    y = f(tf.constant(2.0))
    with tf.Session() as session:
        session.run(v.initializer)
        session.run(y)
        assert session.run(v) == 3.0


# -- recompute_grad ----------------------------------------------------------


def test_recompute_grad_gives_the_same_derivatives():
    x = tf.placeholder(tf.float64, [3])
    w = tf.placeholder(tf.float64, [3])

    def block(a):
        return tf.tanh(tf.sin(a) * w) + a

    def chain(f):
        y = tf.reduce_sum(f(f(f(x))))
        first = tf.gradients(y, [x, w])
        second = tf.gradients(tf.reduce_sum(first[0] * first[1]), [x, w])
        return [y, *first, *second]

    feeds = {x: [0.3, -1.0, 2.0], w: [1.0, 0.5, -0.7]}
    plain = value(chain(block), feeds)
    again = value(chain(tf.recompute_grad(block)), feeds)
    for a, b in zip(plain, again):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_recompute_grad_refuses_what_cannot_be_run_twice():
    with pytest.raises(ValueError, match="random"):
        tf.recompute_grad(lambda x: x + tf.random_uniform([]))(tf.constant(1.0))


def test_recompute_grad_of_a_part():
    """Arguments without a derivative, and outputs that nobody reads."""
    f = tf.recompute_grad(lambda x, n: (x * tf.cast(n, x.dtype), x + 1.0, n))
    x = tf.constant(2.0)
    y, _, n = f(x, tf.constant(3))
    assert value([*tf.gradients(y, [x]), n]) == [3.0, 3]


def test_recompute_grad_of_variables():
    v = tf.get_variable("v", initializer=tf.constant(2.0))
    f = tf.recompute_grad(lambda x: v * v * x)
    x = tf.constant(3.0)
    dx, dv = tf.gradients(f(x), [x, v])
    with tf.Session() as session:
        session.run(v.initializer)
        assert session.run([dx, dv]) == [4.0, 12.0]


def test_recompute_grad_in_scan():
    xs = tf.placeholder(tf.float64, [None])
    w = tf.constant(0.7, tf.float64)

    def total(step):
        y = tf.reduce_sum(tf.scan(step, xs, initializer=tf.constant(0.1, tf.float64)))
        (g,) = tf.gradients(y, [xs])
        return [y, g, *tf.gradients(y, [w]), *tf.gradients(tf.reduce_sum(g * g), [w])]

    def step(h, x):
        return tf.tanh(h * w + x)

    feeds = {xs: np.linspace(-1, 1, 5)}
    for a, b in zip(
        value(total(step), feeds), value(total(tf.recompute_grad(step)), feeds)
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)
