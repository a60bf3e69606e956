"""`check_grads` passes what is right and names what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as dg
from dagrad.testing import central_difference, check_grads

pytestmark = pytest.mark.usefixtures("graph")


def normal(*shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.normal(size=shape)
    return a.astype(dtype)


def test_central_differences_are_exact_for_polynomials_of_degree_four():
    (got,) = central_difference(lambda h: [5 + 3 * h - h**2 + 7 * h**4], 0.25)
    assert got == pytest.approx(3.0, rel=1e-13)


def test_the_error_of_central_differences_falls_with_the_fourth_power():
    errors = [central_difference(lambda h: [np.exp(h)], s)[0] - 1 for s in (0.2, 0.1)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.02)


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (lambda x: dg.nn.softmax(x), [(2, 3)]),
        (lambda x, y: [dg.sin(x) * y, dg.reduce_sum(dg.exp(x))], [(3,), ()]),
        (
            lambda a, b: dg.linalg.solve(dg.matmul(a, a, transpose_b=True), b),
            [(2, 2)] * 2,
        ),
        (lambda x: dg.reshape(x, [6])[::-2], [(2, 3)]),
        (lambda x: dg.cumsum(x * x, axis=1), [(2, 3)]),
    ],
)
def test_right_derivatives_pass(f, shapes):
    check_grads(f, [normal(*s, seed=i) for i, s in enumerate(shapes)])


def test_single_and_half_precision():
    check_grads(lambda x: dg.exp(dg.sin(x)), normal(5, dtype=np.float32))
    check_grads(dg.tanh, normal(5, dtype=np.float16))


def test_complex_numbers():
    z = normal(3, dtype=np.complex128)
    check_grads(lambda z: z * z * dg.conj(z), z)
    check_grads(lambda z: dg.reduce_sum(dg.abs(z)), z)
    check_grads(dg.exp, normal(3, dtype=np.complex64))


def test_integers_are_held_fixed():
    w = normal(4, 3)
    check_grads(lambda w, i: dg.gather(w, i), [w, np.array([0, 2, 2])])


def test_third_order():
    check_grads(lambda x: dg.tanh(x) * x, normal(2), order=3)


def test_empty_arrays():
    check_grads(lambda x: dg.exp(x), np.zeros((0, 3)))


def test_an_output_that_depends_on_one_input_only():
    check_grads(lambda x, y: [dg.sin(x), dg.cos(y)], [normal(2), normal(3)])


def test_tensors_of_an_existing_graph_with_variables():
    v = dg.Variable(normal(3))
    p = dg.placeholder(dg.float64, [None])
    y = dg.reduce_sum(dg.square(v) * dg.tanh(p))
    with dg.Session() as session:
        session.run(v.initializer)
        check_grads(y, [v, p], feed_dict={p: normal(3, seed=1)})
        check_grads(y, v, feed_dict={p: normal(3, seed=1)}, session=session)
        np.testing.assert_array_equal(session.run(v), normal(3))


def test_a_function_may_read_the_sessions_variables():
    v = dg.Variable(2.0, dtype=dg.float64)
    session = dg.Session()
    session.run(v.initializer)
    check_grads(lambda x: x * x * v, normal(2), session=session)


# -- what is wrong is found ----------------------------------------------------


def half(x):
    """x^2, with half of the derivative."""
    return dg.stop_gradient(x) * x


def test_a_wrong_jvp_is_named():
    with pytest.raises(
        AssertionError,
        match=r"order 1, forward mode: jvp of output 0 \(mul:0\) is wrong at \(\d,\): "
        r"expected .* by central differences, got ",
    ):
        check_grads(half, normal(2))


def test_a_wrong_gradient_is_named():
    with pytest.raises(
        AssertionError, match=r"order 1, reverse mode: .* output 0 .* for input 0 "
    ):
        check_grads(half, normal(2), modes=["rev"])


def test_the_output_and_the_input_that_are_wrong_are_named():
    with pytest.raises(AssertionError, match=r"output 1 .* for input 2 "):
        check_grads(
            lambda x, y, z: [x * y * z, x * y + half(z)],
            [normal(2), normal(2), normal(2)],
            modes=["rev"],
        )


def test_a_wrong_second_derivative_is_named():
    def f(x):
        # Right to first order: d/dx x^2 = 2x, but held constant.
        return dg.stop_gradient(x * x) + dg.stop_gradient(2 * x) * (
            x - dg.stop_gradient(x)
        )

    check_grads(f, normal(2), order=1)
    with pytest.raises(AssertionError, match=r"order 2, .* mode over .* mode"):
        check_grads(f, normal(2))


def test_a_small_error_is_found_in_double_but_is_noise_in_single_precision():
    def f(x):
        return dg.sin(x) + 1e-4 * dg.stop_gradient(x)

    check_grads(f, normal(3, dtype=np.float32))
    with pytest.raises(AssertionError, match="they differ by"):
        check_grads(f, normal(3))
    check_grads(f, normal(3), rtol=1e-3, atol=1e-3)


def test_nan_is_no_derivative():
    # sqrt(0) * 0: the value is 0, the derivative 0 * inf.
    with pytest.raises(AssertionError, match="not finite"):
        check_grads(lambda x: dg.sqrt(x), np.zeros(2))
    with pytest.raises(AssertionError, match="nan"):
        check_grads(lambda x: dg.sqrt(x * x) * 0.0 + x, np.zeros(2))


# -- nothing to check ------------------------------------------------------------


def test_nothing_to_differentiate():
    with pytest.raises(ValueError, match="int32"):
        check_grads(lambda x: x * 2, np.array([1, 2], np.int32))
    with pytest.raises(ValueError, match="bool"):
        check_grads(lambda x: x > 0.0, normal(2))


def test_noise_is_refused():
    with pytest.raises(ValueError, match=r"two runs of .* differ"):
        check_grads(lambda x: x * dg.random_normal([2], dtype=dg.float64), normal(2))


def test_bad_arguments():
    with pytest.raises(ValueError, match="order 0"):
        check_grads(dg.sin, normal(2), order=0)
    with pytest.raises(ValueError, match='"fwd" and "rev"'):
        check_grads(dg.sin, normal(2), modes=["forward"])


def test_a_second_check_of_the_same_tensors_adds_nothing():
    with dg.Graph().as_default() as graph, dg.Session():
        x = dg.constant([0.3, 0.7], dg.float64)
        ys = [dg.sin(x) * x, dg.exp(x)]
        check_grads(ys, [x])
        size = len(graph.get_operations())
        check_grads(ys, [x], seed=1)
        assert len(graph.get_operations()) == size
