"""``dagrad.test``: TF1's checker of gradients and its TestCase."""

from __future__ import annotations

import inspect
import os
import unittest

import numpy as np
import pytest

import dagrad as dg
from dagrad import test as tf_test


@pytest.fixture(autouse=True)
def graph():
    dg.reset_default_graph()


def test_the_jacobian_of_a_matrix_product():
    # y_j = sum_i x_i a_ij: entry (i, j) is a_ij.
    a = np.arange(6.0).reshape(2, 3)
    x = dg.placeholder(dg.float64, [1, 2])
    y = dg.matmul(x, dg.constant(a))
    with dg.Session():
        theoretical, numerical = tf_test.compute_gradient(x, (1, 2), y, (1, 3))
        error = tf_test.compute_gradient_error(x, [1, 2], y, [1, 3])
    np.testing.assert_array_equal(theoretical, a)
    np.testing.assert_allclose(numerical, a, rtol=1e-10)
    assert error == pytest.approx(0, abs=1e-10)


def test_a_variable_that_a_loop_reads():
    v = dg.Variable([0.5, -1.0], dtype=dg.float64)
    rows = dg.constant([1.0, 2.0], dg.float64)
    y = dg.scan(lambda a, r: dg.sin(a) * r + v, rows, v)
    with dg.Session() as session:
        session.run(v.initializer)
        assert tf_test.compute_gradient_error(v, [2], y, [2, 2]) < 1e-5


def test_a_given_point_and_further_feeds():
    x = dg.placeholder(dg.float32, [2])
    p = dg.placeholder(dg.float32, [])
    y = x * x * p
    at = np.array([1.0, 3.0], np.float32)
    with dg.Session():
        exact, approximate = tf_test.compute_gradient(
            x, [2], y, [2], x_init_value=at, delta=1e-2, extra_feed_dict={p: 10.0}
        )
    np.testing.assert_allclose(exact, [[20, 0], [0, 60]])
    np.testing.assert_allclose(approximate, [[20, 0], [0, 60]], rtol=1e-3)
    assert exact.dtype == approximate.dtype == np.float32


def test_a_list_of_xs_and_targets_to_run_first():
    v = dg.Variable([2.0, 5.0])
    w = dg.Variable(3.0)
    y = v * w
    with dg.Session():
        pairs = tf_test.compute_gradient(
            [v, w],
            [[2], []],
            y,
            [2],
            x_init_value=[np.array([2.0, 5.0]), np.array(3.0)],
            init_targets=[dg.global_variables_initializer()],
        )
    (v_exact, _), (w_exact, w_numerical) = pairs
    np.testing.assert_array_equal(v_exact, [[3, 0], [0, 3]])
    np.testing.assert_array_equal(w_exact, [[2, 5]])
    np.testing.assert_allclose(w_numerical, [[2, 5]], rtol=1e-3)


def test_complex_numbers_are_pairs_of_reals():
    # z -> i z maps (re, im) to (-im, re).
    z = dg.placeholder(dg.complex128, [1])
    y = z * dg.constant(1j, dg.complex128)
    with dg.Session():
        exact, numerical = tf_test.compute_gradient(z, [1], y, [1])
    np.testing.assert_allclose(numerical, [[0, 1], [-1, 0]], atol=1e-10)
    np.testing.assert_allclose(exact, [[0, 1], [-1, 0]], atol=1e-10)


def test_the_error_is_the_largest_difference():
    x = dg.placeholder(dg.float64, [2])
    y = dg.stop_gradient(x) * x
    with dg.Session():
        error = tf_test.compute_gradient_error(
            x, [2], y, [2], x_init_value=np.array([1.0, -4.0])
        )
    assert error == pytest.approx(4.0)


def test_gathered_rows():
    w = dg.placeholder(dg.float64, [4, 2])
    y = dg.gather(w, [3, 0, 3])
    with dg.Session():
        assert tf_test.compute_gradient_error(w, [4, 2], y, [3, 2]) < 1e-10


def test_an_empty_y():
    x = dg.placeholder(dg.float64, [2])
    with dg.Session():
        exact, numerical = tf_test.compute_gradient(x, [2], x[:0], [0])
    assert exact.shape == numerical.shape == (2, 0)


def test_the_shape_of_the_start_is_checked():
    x = dg.placeholder(dg.float64, [2])
    with dg.Session(), pytest.raises(AssertionError, match="x_shape"):
        tf_test.compute_gradient(x, [2], x * x, [2], x_init_value=np.ones(3))


def run(case):
    """The result of all tests of a TestCase."""
    return unittest.defaultTestLoader.loadTestsFromTestCase(case).run(
        unittest.TestResult()
    )


def test_a_tf1_test_case():
    class Squares(tf_test.TestCase):
        def test_square(self):
            with self.test_session():
                x = dg.constant([1.0, 2.0])
                self.assertAllEqual(dg.square(x).eval(), [1, 4])
                self.assertAllClose(dg.square(x), [1.0, 4.0 + 1e-7])
                self.assertShapeEqual(np.zeros(2), x)

        def test_the_cached_session_keeps_variables(self):
            v = dg.Variable(1.0)
            with self.cached_session() as session:
                session.run(v.initializer)
            with self.cached_session():
                self.assertEqual(v.eval(), 1.0)

        def test_a_session_of_another_graph(self):
            with dg.Graph().as_default() as g:
                x = dg.constant(2.0)
            with self.session(graph=g) as session:
                self.assertEqual(session.run(x), 2.0)

        def test_nested_values(self):
            self.assertAllClose(
                {"a": [np.ones(2), np.ones(3)]}, {"a": [[1, 1], [1] * 3]}
            )
            self.assertNotAllClose([1.0], [1.1])
            self.assertNear(1.0, 1.1, 0.2)
            self.assertArrayNear([1.0, 2.0], [1.1, 2.1], 0.2)

        def test_errors(self):
            with self.assertRaisesWithPredicateMatch(ValueError, "[Dd]imension"):
                dg.matmul(dg.ones([2, 3]), dg.ones([2, 3]))

        def test_wrong_value(self):
            self.assertAllClose([1.0], [1.1])

        def test_wrong_shape(self):
            self.assertAllEqual([1.0], [[1.0]])

    result = run(Squares)
    assert result.testsRun == 7
    assert result.errors == []
    failed = {test.id().rpartition(".")[2] for test, _ in result.failures}
    assert failed == {"test_wrong_value", "test_wrong_shape"}


def test_each_test_has_a_graph_and_the_same_random_numbers():
    graphs, draws = [], []

    class Draws(tf_test.TestCase):
        def test_one(self):
            graphs.append(dg.get_default_graph())
            with self.cached_session() as session:
                draws.append((np.random.rand(), session.run(dg.random_normal([]))))

        test_two = test_one

    assert run(Draws).wasSuccessful()
    assert graphs[0] is not graphs[1]
    assert draws[0] == draws[1]


def test_devices_and_directories():
    assert not tf_test.is_built_with_cuda()
    assert not tf_test.is_gpu_available()
    assert tf_test.gpu_device_name() == ""
    assert os.path.isdir(tf_test.get_temp_dir())
    assert tf_test.get_temp_dir() == tf_test.get_temp_dir()


def test_the_signatures_are_tf1s():
    want = (
        "(x, x_shape, y, y_shape, x_init_value=None, delta=0.001, init_targets=None, "
        "extra_feed_dict=None)"
    )
    for f in (tf_test.compute_gradient, tf_test.compute_gradient_error):
        plain = [p.replace(annotation=p.empty) for p in parameters(f)]
        assert str(inspect.Signature(plain)) == want


def parameters(f):
    return inspect.signature(f).parameters.values()
