"""Jacobians, Hessians, products with them, and vectorised maps.

Oracles: closed forms, differences, and JAX's numbers in ``fixtures``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fresh_session import value as run

import dagrad as dg
from dagrad.graphlib.errors import DTypeError, GradientError, ShapeError
from dagrad.ops.derivatives import (
    batch_jacobian,
    gauss_newton_vector_product,
    hessian,
    hessian_vector_product,
    hessians,
    jacobian,
    linearize,
    per_example_gradients,
    vectorized_map,
    vjp,
)

_JAX = json.loads(
    (Path(__file__).parent / "fixtures" / "dense_derivatives.json").read_text()
)
INPUTS = {k: np.array(v) for k, v in _JAX["inputs"].items()}
MODES = ("forward", "reverse")


pytestmark = pytest.mark.usefixtures("graph")


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def differences(f: Callable[[Any], Any], x: Any, h: float = 1e-5) -> Any:
    """dy/dx by central differences, of shape y.shape + x.shape."""
    columns = []
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        columns.append((f(x + e) - f(x - e)) / (2 * h))
    flat = np.stack(columns, -1)
    return flat.reshape(*flat.shape[:-1], *x.shape)


# -- against JAX ---------------------------------------------------------------


def _network() -> Any:
    x, w, b = (dg.constant(INPUTS[k]) for k in "xwb")
    out = dg.tanh(dg.matmul(x, w) + b)
    labels = np.zeros(3, np.int32)
    entropy = dg.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=out)
    return x, w, b, out, dg.reduce_mean(entropy)


def _convolved() -> Any:
    image, kernel = dg.constant(INPUTS["image"]), dg.constant(INPUTS["filter"])
    y = dg.nn.conv2d(image, kernel, strides=[1, 1, 1, 1], padding="SAME")
    return image, kernel, dg.reduce_sum(dg.nn.softmax(y) ** 2)


def _same_as_jax(got: Any, name: str) -> None:
    np.testing.assert_allclose(got, _JAX["answers"][name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", ["x", "w"])
def test_jacobian_of_a_softmax_layer(by: str, mode: str) -> None:
    x, w, _, out, _ = _network()
    probabilities = dg.nn.softmax(out)
    got = jacobian(probabilities, {"x": x, "w": w}[by], mode)
    _same_as_jax(run(got), f"softmax by {by}")


@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_a_linear_solve(mode: str) -> None:
    p, r = dg.constant(INPUTS["p"]), dg.constant(INPUTS["r"])
    by_p, by_r = jacobian(dg.matrix_solve(p, r), [p, r], mode)
    _same_as_jax(run(by_p), "solve by p")
    _same_as_jax(run(by_r), "solve by r")


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_jacobian_of_a_jacobian(inner: str, outer: str) -> None:
    p, r = dg.constant(INPUTS["p"]), dg.constant(INPUTS["r"][:, :1])
    first = jacobian(dg.matrix_solve(p, r), p, inner)
    _same_as_jax(run(jacobian(first, p, outer)), "solve twice")


def test_hessian_blocks_of_a_cross_entropy() -> None:
    _, w, b, _, loss = _network()
    (ww, wb), (bw, bb) = run(hessian(loss, [w, b]))
    for got, name in ((ww, "ww"), (wb, "wb"), (bw, "bw"), (bb, "bb")):
        _same_as_jax(got, f"loss {name}")


def test_third_derivative_as_the_jacobian_of_a_hessian() -> None:
    _, _, b, _, loss = _network()
    _same_as_jax(run(jacobian(hessian(loss, b), b)), "third")


@pytest.mark.parametrize("by", ["image", "filter"])
def test_hessian_through_a_convolution(by: str) -> None:
    image, kernel, y = _convolved()
    x = image if by == "image" else kernel
    _same_as_jax(run(hessian(y, x)), f"conv by {by}")


def test_hessian_of_a_determinant() -> None:
    p = dg.constant(INPUTS["p"])
    _same_as_jax(run(hessian(dg.matrix_determinant(p), p)), "determinant")


# -- shapes, sizes, dtypes -----------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", *MODES])
@pytest.mark.parametrize("shape", [(3,), (None,), None])
def test_jacobian_of_tanh_with_unknown_sizes(mode: str, shape: Any) -> None:
    w, v = draw(4, 3), draw(3, seed=1)
    x = dg.placeholder(dg.float64, shape)
    y = dg.tanh(dg.matmul(dg.constant(w), dg.reshape(x, [-1, 1])))[:, 0]
    want = (1 - np.tanh(w @ v) ** 2)[:, None] * w
    np.testing.assert_allclose(run(jacobian(y, x, mode), {x: v}), want, rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("y_shape", "x_shape"),
    [
        ((), ()),
        ((2,), ()),
        ((), (3,)),
        ((2, 2), (3,)),
        ((2,), (3, 2)),
        ((2, 1), (1, 2)),
    ],
)
def test_jacobian_has_the_shape_of_y_then_that_of_x(
    y_shape: tuple[int, ...], x_shape: tuple[int, ...], mode: str
) -> None:
    x = dg.constant(draw(*x_shape))
    a = draw(int(np.prod(y_shape)), int(np.prod(x_shape)), seed=2)
    y = dg.reshape(dg.matmul(dg.constant(a), dg.reshape(x, [-1, 1])), y_shape)
    got = jacobian(y, x, mode)
    assert got.shape.as_list() == [*y_shape, *x_shape]
    np.testing.assert_allclose(run(got), a.reshape((*y_shape, *x_shape)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("m", "n"), [(0, 3), (2, 0), (0, 0)])
def test_empty_jacobians(m: int, n: int, mode: str) -> None:
    x = dg.placeholder(dg.float64, [None])
    y = dg.tanh(dg.matmul(dg.zeros([m, n], dg.float64), x[:, None]))[:, 0]
    assert run(jacobian(y, x, mode), {x: np.zeros(n)}).shape == (m, n)


@pytest.mark.parametrize("dtype", [dg.float32, dg.float64])
def test_jacobian_has_the_dtype_of_y(dtype: Any) -> None:
    x = dg.constant([1.0, 2.0], dtype)
    assert jacobian(x * x, x).dtype is dtype


@pytest.mark.parametrize("mode", MODES)
def test_complex_jacobian_is_the_complex_derivative(mode: str) -> None:
    a = draw(2, 2) + 1j * draw(2, 2, seed=1)
    z = dg.constant([0.3 + 0.1j, -0.2 + 0.5j])
    y = dg.exp(dg.matmul(dg.constant(a), z[:, None]))[:, 0]
    want = np.exp(a @ [0.3 + 0.1j, -0.2 + 0.5j])[:, None] * a
    np.testing.assert_allclose(run(jacobian(y, z, mode)), want, rtol=1e-12)


def test_complex_result_of_a_real_argument_keeps_both_parts() -> None:
    t = dg.constant([0.5, 1.5], dg.float64)
    y = dg.exp(dg.complex(t * 0.0, t))
    got = run(jacobian(y, t))
    np.testing.assert_allclose(got, np.diag(1j * np.exp(1j * np.array([0.5, 1.5]))))
    with pytest.raises(DTypeError, match="lose a part"):
        jacobian(y, t, "reverse")


def test_jacobian_by_a_variable() -> None:
    v = dg.Variable(np.array([1.0, 2.0, 3.0]))
    y = v[:2] * v[1:]
    want = [[2.0, 1.0, 0.0], [0.0, 3.0, 2.0]]
    for mode in MODES:
        assert run(jacobian(y, v, mode)).tolist() == want


# -- what does not depend on what ----------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_unconnected_jacobians(mode: str) -> None:
    x, z = dg.constant([1.0, 2.0]), dg.constant([3.0])
    y = x * x
    assert jacobian(y, z, mode) is None
    assert run(jacobian(y, z, mode, "zero")).tolist() == [[0.0], [0.0]]
    with pytest.raises(GradientError, match="no path of data"):
        jacobian(y, z, mode, "raise")


def test_the_error_for_a_derivative_that_is_not_there_says_why() -> None:
    x = dg.constant([1.0, 2.0])
    with pytest.raises(GradientError, match=r"Floor[^\n]*constant by pieces"):
        jacobian(2.0 * dg.floor(x), x, unconnected_gradients="raise")
    with pytest.raises(GradientError, match=r"no path of data"):
        hessian(dg.reduce_sum(3.0 * x), x, unconnected_gradients="raise")


def test_hessian_of_a_linear_function_is_zero() -> None:
    x = dg.constant([1.0, 2.0])
    y = dg.reduce_sum(3.0 * x)
    assert run(hessian(y, x)).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert hessian(y, x, unconnected_gradients="none") is None
    assert run(hessian_vector_product(y, x, [[1.0, 1.0]])[0]).tolist() == [0.0, 0.0]
    assert run(hessians(y, x)[0]).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_hessian_needs_a_scalar() -> None:
    x = dg.constant([1.0, 2.0])
    with pytest.raises(ShapeError, match="must be a scalar"):
        hessian(x * x, x)


def test_mode_is_checked() -> None:
    x = dg.constant([1.0])
    with pytest.raises(ValueError, match="sideways"):
        jacobian(x, x, "sideways")


# -- compositions --------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_gradient_of_a_jacobian(mode: str) -> None:
    """d/dx ||J||^2 / 2 for y = x^2 (so J = diag(2 x)) is 4 x."""
    x = dg.constant([1.0, -2.0, 3.0])
    j = jacobian(x * x, x, mode)
    (g,) = dg.gradients(dg.reduce_sum(j * j) / 2.0, [x])
    assert run(g).tolist() == [4.0, -8.0, 12.0]


@pytest.mark.parametrize("mode", MODES)
def test_jvp_of_a_jacobian(mode: str) -> None:
    x = dg.constant([1.0, 2.0], dg.float64)
    (t,) = dg.jvp([jacobian(dg.sin(x), x, mode)], [x], [[1.0, 0.5]])
    np.testing.assert_allclose(run(t), np.diag(-np.sin([1.0, 2.0]) * [1.0, 0.5]))


def test_hessian_is_symmetric_and_agrees_with_differences_of_the_gradient() -> None:
    a, v = draw(3, 3), draw(3, seed=1)
    x = dg.placeholder(dg.float64, [3])
    y = dg.reduce_logsumexp(dg.matmul(dg.constant(a), x[:, None]))
    (g,) = dg.gradients(y, [x])
    h = hessian(y, x)
    with dg.Session() as session:
        got = session.run(h, {x: v})
        want = differences(lambda at: session.run(g, {x: at}), v)
    np.testing.assert_allclose(got, want, atol=1e-8)
    np.testing.assert_allclose(got, got.T, atol=1e-12)


def test_hessians_have_the_meaning_of_tf1() -> None:
    """The Hessian of the sum of all ys, for each x alone."""
    a, b = dg.constant([1.0, 2.0]), dg.constant([[3.0]])
    ys = [a[0] * a[1] * b, a**3]
    by_a, by_b = run(hessians(ys, [a, b]))
    assert by_a.tolist() == [[6.0, 3.0], [3.0, 12.0]]
    assert by_b.tolist() == [[[[0.0]]]]


def test_products_agree_with_the_matrices() -> None:
    _, w, b, _, loss = _network()
    v, u = dg.constant(draw(4, 2)), dg.constant(draw(2, seed=3))
    (ww, wb), (bw, bb), hv = run(
        [*hessian(loss, [w, b]), hessian_vector_product(loss, [w, b], [v, u])]
    )
    v_, u_ = draw(4, 2), draw(2, seed=3)
    np.testing.assert_allclose(
        hv[0], np.tensordot(ww, v_, 2) + np.tensordot(wb, u_, 1), atol=1e-12
    )
    np.testing.assert_allclose(
        hv[1], np.tensordot(bw, v_, 2) + np.tensordot(bb, u_, 1), atol=1e-12
    )


def test_gauss_newton_of_residuals_is_jt_j() -> None:
    _, w, _, out, _ = _network()
    v = draw(4, 2, seed=5)
    got, j = run([gauss_newton_vector_product(out, w, [v])[0], jacobian(out, w)])
    np.testing.assert_allclose(
        got, np.tensordot(np.tensordot(j, v, 2), j, 2), atol=1e-12
    )


def test_gauss_newton_of_outputs_and_a_loss() -> None:
    _, w, _, out, loss = _network()
    v = draw(4, 2, seed=5)
    product = gauss_newton_vector_product((out, loss), w, [v])[0]
    got, j, h = run([product, jacobian(out, w), hessian(loss, out)])
    want = np.tensordot(np.tensordot(h, np.tensordot(j, v, 2), 2), j, 2)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_linearize_shares_the_primal_operations(graph: dg.Graph) -> None:
    x = dg.constant(draw(3))
    y = dg.tanh(x)
    line = linearize([y, dg.constant(1.0)], [x])
    before = len([op for op in graph.get_operations() if op.type == "Tanh"])
    t, none = line.jvp([np.ones(3)])
    (u,) = line.vjp([np.ones(3), 0.0])
    after = len([op for op in graph.get_operations() if op.type == "Tanh"])
    assert before == after
    slope = 1 - np.tanh(draw(3)) ** 2
    for got, want in zip(run([t, none, u]), (slope, 0.0, slope)):
        np.testing.assert_allclose(got, want)


def test_vjp_is_the_transpose_of_jvp() -> None:
    x = dg.constant(draw(2, 3))
    y = dg.exp(dg.matmul(x, x, transpose_b=True))
    u, t = draw(2, 2, seed=1), draw(2, 3, seed=2)
    (pulled,) = vjp(y, x, u)
    (pushed,) = dg.jvp(y, x, [t])
    a, b = run([pulled, pushed])
    assert np.isclose((a * t).sum(), (b * u).sum(), rtol=1e-12)


def _program(x: Any, rng: Any) -> Any:
    """Eight operations on a matrix, drawn at random."""
    t = x
    for _ in range(8):
        m, n = t.shape.as_list()
        weights = dg.constant(rng.normal(size=(n, 3)) / 2)
        steps: list[Callable[[], Any]] = [
            lambda t=t: dg.tanh(t),
            lambda t=t, w=weights: dg.matmul(t, w),
            lambda t=t: t * dg.reduce_mean(t, 0, keepdims=True),
            lambda t=t: dg.concat([t, dg.sin(t)], 1)[:, 1:],
            lambda t=t: dg.transpose(t),
            lambda t=t: dg.nn.softmax(t),
            lambda t=t: dg.cumsum(t, 1),
            lambda t=t, m=m: dg.gather(t, [0, m - 1, 0]),
            lambda t=t, m=m, n=n: dg.reshape(t, [n, m]),
            lambda t=t: dg.where(t > 0.1, t, t * t),
            lambda t=t: dg.reduce_logsumexp(t, 1, keepdims=True) + t,
            lambda t=t: dg.sort(t, 1),
        ]
        t = steps[rng.integers(len(steps))]()
    return t


@pytest.mark.parametrize("seed", range(10))
def test_both_modes_agree_on_random_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = dg.constant(rng.normal(size=(3, 4)))
    y = _program(x, rng)
    loss = dg.reduce_sum(y**2)
    (g,) = dg.gradients(loss, [x])
    pairs = [
        (jacobian(y, x, "forward"), jacobian(y, x, "reverse")),
        (hessian(loss, x), jacobian(g, x, "reverse", "zero")),
    ]
    for forward, reverse in run(pairs):
        scale = 1 + np.abs(forward).max()
        np.testing.assert_allclose(forward, reverse, rtol=0, atol=1e-12 * scale)


# -- batches -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", *MODES])
@pytest.mark.parametrize("n", [5, None])
def test_batch_jacobian_is_the_jacobian_of_each_example(n: Any, mode: str) -> None:
    w, v = draw(3, 4), draw(5, 3, seed=1)
    x = dg.placeholder(dg.float64, [n, 3])
    y = dg.sin(dg.matmul(x, dg.constant(w)))
    got = batch_jacobian(y, x, mode)
    assert got.shape.as_list() == [n, 4, 3]
    want = np.cos(v @ w)[:, :, None] * w.T
    np.testing.assert_allclose(run(got, {x: v}), want, rtol=1e-12)


def test_batch_jacobian_refuses_batches_that_differ() -> None:
    with pytest.raises(ShapeError, match="2 examples of y, 3 of x"):
        batch_jacobian(dg.zeros([2, 1]), dg.zeros([3, 1]))


def test_per_example_gradients_are_those_of_each_loss() -> None:
    x = dg.constant(draw(5, 3))
    w, b = dg.Variable(draw(3, 2)), dg.Variable(draw(2, seed=1))
    losses = dg.reduce_sum(dg.tanh(dg.matmul(x, w) + b), 1)
    by_w, by_b, total = run(
        [*per_example_gradients(losses, [w, b]), dg.gradients(losses, [w, b])]
    )
    slope = 1 - np.tanh(draw(5, 3) @ draw(3, 2) + draw(2, seed=1)) ** 2
    np.testing.assert_allclose(by_w, draw(5, 3)[:, :, None] * slope[:, None])
    np.testing.assert_allclose(by_b, slope)
    np.testing.assert_allclose(by_w.sum(0), total[0])


def test_per_example_gradients_where_examples_meet() -> None:
    """Row i is the gradient of losses[i], whichever examples it reads."""
    x = dg.constant([1.0, 2.0, 3.0])
    got = per_example_gradients(x * dg.reduce_sum(x), x)
    assert run(got).tolist() == [[7.0, 1.0, 1.0], [2.0, 8.0, 2.0], [3.0, 3.0, 9.0]]
    with pytest.raises(ShapeError, match="one number for each example"):
        per_example_gradients(dg.reduce_sum(x), x)


# -- vectorized_map ------------------------------------------------------------


class Pair(NamedTuple):
    a: Any
    b: Any


def test_vectorized_map_keeps_structures() -> None:
    elems = {"x": dg.constant(draw(4, 2)), "k": [dg.constant([1, 2, 3, 4])]}

    def row(e: Any) -> Any:
        return Pair(e["x"] * 2.0, (dg.reduce_sum(e["x"]), e["k"][0] + 1))

    pair = vectorized_map(row, elems)
    assert isinstance(pair, Pair)
    a, b, k = run([pair.a, *pair.b])
    np.testing.assert_allclose(a, 2 * draw(4, 2))
    np.testing.assert_allclose(b, draw(4, 2).sum(1))
    assert k.tolist() == [2, 3, 4, 5]


def test_vectorized_map_calls_the_function_once() -> None:
    calls = []
    vectorized_map(lambda r: calls.append(r) or r, dg.zeros([100, 2]))
    assert len(calls) == 1


def test_vectorized_map_of_a_gradient_inside() -> None:
    w = dg.Variable(draw(3))

    def slope(row: Any) -> Any:
        return dg.gradients(dg.sigmoid(dg.reduce_sum(row * w)), [w])[0]

    x = draw(5, 3, seed=1)
    s = 1 / (1 + np.exp(-(x @ draw(3))))
    got = run(vectorized_map(slope, dg.constant(x)))
    np.testing.assert_allclose(got, (s * (1 - s))[:, None] * x)


def test_gradient_of_a_vectorized_map() -> None:
    x, w = draw(5, 3, seed=1), dg.Variable(draw(3))
    y = vectorized_map(lambda row: dg.sin(dg.reduce_sum(row * w)), dg.constant(x))
    (g,) = dg.gradients(y, [w])
    np.testing.assert_allclose(run(g), np.cos(x @ draw(3)) @ x)


def test_vectorized_map_of_a_gather_by_the_row() -> None:
    table = draw(6, 2)
    got = vectorized_map(
        lambda i: dg.gather(dg.constant(table), i), dg.constant([5, 0, 3])
    )
    np.testing.assert_allclose(run(got), table[[5, 0, 3]])


def test_vectorized_map_indexes_by_the_row_and_back() -> None:
    t, at = draw(5, 4, 3), [(1, 0), (-1, 1), (0, 2), (4, -3)]
    i, j = (dg.constant([pair[k] for pair in at]) for k in (0, 1))
    x = dg.constant(np.stack([t] * 4))

    def part(row: Any) -> Any:
        read = row[2][row[0], 1:, None, row[1]]
        return read, dg.gradients(dg.reduce_sum(read**2), [row[2]])[0]

    parts, slopes = run(vectorized_map(part, (i, j, x)))
    for (a, b), got, slope in zip(at, parts, slopes):
        want = np.zeros_like(t)
        want[a, 1:, b] = 2 * t[a, 1:, b]
        np.testing.assert_allclose(got, t[a, 1:, None, b])
        np.testing.assert_allclose(slope, want)


@pytest.mark.parametrize("form", ["NHWC", "NCHW"])
def test_vectorized_map_of_a_convolution_with_filters_of_each_row(form: str) -> None:
    """Data, filters and cotangents all differ from row to row."""
    shape = (1, 5, 4, 2) if form == "NHWC" else (1, 2, 5, 4)
    xs, ws = draw(3, *shape), draw(3, 2, 3, 2, 3, seed=1)
    strides = [1, 2, 1, 1] if form == "NHWC" else [1, 1, 2, 1]

    def slopes(x: Any, w: Any) -> Any:
        y = dg.nn.conv2d(x, w, strides=strides, padding="SAME", data_format=form)
        return dg.gradients(dg.reduce_sum(y**3), [x, w])

    got = run(vectorized_map(lambda r: slopes(*r), (dg.constant(xs), dg.constant(ws))))
    for k in range(3):
        want = run(slopes(dg.constant(xs[k]), dg.constant(ws[k])))
        for g, w in zip(got, want):
            np.testing.assert_allclose(g[k], w, atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_vectorized_map_with_an_unknown_number_of_rows(n: int) -> None:
    x = dg.placeholder(dg.float64, [None, 2, 2])
    got = vectorized_map(lambda m: dg.matmul(m, m), x)
    assert got.shape.as_list() == [None, 2, 2]
    v = draw(n, 2, 2)
    np.testing.assert_allclose(run(got, {x: v}), v @ v)


def test_vectorized_map_repeats_what_does_not_depend_on_the_row() -> None:
    got = vectorized_map(lambda _: dg.constant([1.0, 2.0]), dg.zeros([3, 1]))
    assert run(got).tolist() == [[1.0, 2.0]] * 3


def test_vectorized_map_refuses_what_has_no_rows() -> None:
    with pytest.raises(ShapeError, match="it has no rows"):
        vectorized_map(lambda r: r, dg.constant(1.0))
    with pytest.raises(ShapeError, match="different sizes"):
        vectorized_map(lambda r: r[0], [dg.zeros([2]), dg.zeros([3])])


def test_vectorized_map_can_be_nested() -> None:
    x = dg.constant(draw(3, 4))
    got = vectorized_map(lambda r: vectorized_map(lambda s: s * dg.reduce_sum(r), r), x)
    np.testing.assert_allclose(run(got), draw(3, 4) * draw(3, 4).sum(1, keepdims=True))


# -- one pass ------------------------------------------------------------------


def _plan(n: int, mode: str) -> Any:
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [n])
        w = dg.constant(draw(n, n))
        y = dg.tanh(dg.matmul(w, dg.sin(x)[:, None])[:, 0])
        j = jacobian(y, x, mode)
        with dg.Session() as session:
            return session.plan(j, {x: None})


@pytest.mark.parametrize("mode", MODES)
def test_a_jacobian_is_one_pass_over_matrices_of_its_size(mode: str) -> None:
    small, large = _plan(100, mode), _plan(200, mode)
    assert len(large.steps) == len(small.steps) < 20
    # Two matrices that are at work, and the one that is fetched.
    assert large.peak_bytes < 3.1 * 200 * 200 * 8
