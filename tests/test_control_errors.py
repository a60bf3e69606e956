"""What programs get wrong in loops and branches: errors say where and what to do."""

from __future__ import annotations

import numpy as np
import pytest
from both_executors import value

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


@pytest.mark.parametrize(
    ("build", "who"),
    [
        (lambda f: tf.while_loop(lambda i: i < 3, f, [0]), 'while_loop "while"'),
        (
            lambda f: tf.scan(lambda a, x: f(x), np.arange(2), name="sums"),
            'scan "sums"',
        ),
        (lambda f: tf.foldr(lambda a, x: f(x), np.arange(2)), 'foldr "foldr"'),
        (lambda f: tf.map_fn(f, np.arange(2)), 'map_fn "map"'),
        (lambda f: tf.cond(tf.constant(True), lambda: f(1), lambda: 1), 'cond "cond"'),
    ],
)
def test_a_forgotten_return_is_named_with_the_line(build, who):
    def forgets(x):
        x + 1

    with pytest.raises(ValueError, match="`return` missing") as caught:
        build(forgets)
    assert who in str(caught.value)
    assert "test_control_errors.py:" in str(caught.value)


def _leaked(use):
    found = []

    def body(i, x):
        found.append(use(x))
        return i + 1, 2.0 * x

    tf.while_loop(lambda i, x: i < 3, body, [0, tf.constant(1.0)])
    return found[0]


@pytest.mark.parametrize("derive", [tf.gradients, tf.jvp])
def test_a_tensor_of_a_body_has_no_derivative_outside(derive):
    x = tf.constant(1.0)
    y = _leaked(lambda c: c * x)
    with pytest.raises(tf.DagradError, match=r'body of while_loop "while"'):
        derive([y], [x])


def test_a_placeholder_in_a_body_cannot_be_fed():
    def body(i, x):
        return i + 1, x * tf.placeholder(tf.float32, [])

    result = tf.while_loop(lambda i, x: i < 3, body, [0, 1.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="make it around"):
        value(result)


def test_a_session_inside_a_body_runs_the_graph_around_it():
    known = tf.constant([1, 2])

    def body(i):
        with tf.Session() as session:
            assert session.run(known).tolist() == [1, 2]
            with pytest.raises(
                TypeError, match=r'part of the body of while_loop "while"'
            ):
                session.run(i)
        return i + 1

    assert value(tf.while_loop(lambda i: i < 3, body, [0])) == 3


def test_a_variable_that_starts_from_a_tensor_of_a_body_is_an_error():
    with pytest.raises(ValueError, match=r"Variable at .*function without arg"):
        _leaked(lambda c: tf.Variable(tf.zeros([2])))
    made = _leaked(lambda c: tf.Variable(lambda: tf.zeros([2])))
    with tf.Session() as session:
        session.run(made.initializer)
        assert session.run(made).shape == (2,)


def test_a_python_if_on_a_tensor_names_what_stands_for_it():
    with pytest.raises(TypeError, match=r"dagrad\.cond for `if`"):
        tf.while_loop(lambda i: i < 3, lambda i: i + 1 if i < 1 else i + 2, [0])


def test_a_condition_that_turns_out_to_be_no_scalar_is_an_error():
    start = tf.placeholder(tf.int32, None)
    i = tf.while_loop(lambda i: i < 3, lambda i: i + 1, [start])
    assert value(i, {start: 1}) == 3
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\(2,\).*reduce_all"):
        value(i, {start: [0, 1]})


def test_a_list_is_a_structure_of_arrays_not_an_array():
    with pytest.raises(ValueError, match=r"dagrad.constant\(\[...\]\)"):
        tf.map_fn(lambda x: x, [1, 2])
