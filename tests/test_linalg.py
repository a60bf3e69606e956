"""Linear algebra at its edges: singular, empty, wide, unknown, integer."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from allocated import traced_peak
from evaluate import evaluate

import dagrad as dg
from dagrad.graphlib.errors import GradientError, InvalidArgumentError, ShapeError
from dagrad.graphlib.gradients import gradients
from dagrad.ops import decompositions, einsum, linalg, matrix, spectral
from dagrad.ops._build import constant
from dagrad.ops.core import placeholder
from dagrad.ops.reduction import reduce_sum

pytestmark = pytest.mark.usefixtures("graph")


def _random(*shape):
    return np.random.default_rng(3).standard_normal(shape)


def test_gradients_of_a_product_need_no_transposes():
    a, b = constant(_random(2, 3)), constant(_random(3, 4))
    gradients(linalg.matmul(a, b), [a, b])
    types = {op.type for op in a.graph.get_operations()}
    assert not types & {"Transpose", "MatrixTranspose"}


def test_a_shared_matrix_gets_its_gradient_by_one_product():
    a, b = constant(_random(5, 2, 3)), constant(_random(3, 4))
    (g,) = gradients(linalg.matmul(a, b), [b])
    assert g.op.type == "MatMul" and g.dims == (3, 4)
    np.testing.assert_allclose(
        evaluate(g), np.einsum("bij,bik->jk", evaluate(a), np.ones((5, 2, 4)))
    )


def test_an_inner_dimension_of_zero_gives_zeros():
    y = linalg.matmul(constant(np.ones((2, 0))), constant(np.ones((0, 3))))
    np.testing.assert_array_equal(evaluate(y), np.zeros((2, 3)))


def test_large_integer_products_wrap_as_numpy():
    big = np.full((64, 64), 2**20, np.int32)
    got = evaluate(linalg.matmul(constant(big), constant(big)))
    np.testing.assert_array_equal(got, big @ big)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((3,), (3, 2))])
def test_shapes_that_do_not_multiply_are_refused(a, b):
    with pytest.raises(ShapeError, match="must be"):
        linalg.matmul(placeholder("float32", a), placeholder("float32", b))


def test_transpose_and_adjoint_together_are_refused():
    a = constant(np.eye(2))
    with pytest.raises(InvalidArgumentError):
        linalg.matmul(a, a, transpose_a=True, adjoint_a=True)


@pytest.mark.parametrize(
    "build",
    [
        lambda a: decompositions.matrix_solve(a, a),
        decompositions.matrix_inverse,
        decompositions.cholesky,
        lambda a: decompositions.matrix_triangular_solve(a, a),
    ],
)
def test_singular_matrices_raise_our_error(build):
    with pytest.raises(InvalidArgumentError):
        evaluate(build(constant(np.zeros((2, 2)))))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("n", [1, 63, 65, 200])
def test_blocked_substitution(lower, n):
    a = _random(n, n) / n + 2 * np.eye(n)
    b = _random(n, 2)
    y = decompositions.matrix_triangular_solve(constant(a), constant(b), lower)
    want = scipy.linalg.solve_triangular(a, b, lower=lower)
    np.testing.assert_allclose(evaluate(y), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_factors_multiply_back(shape):
    x = _random(*shape)
    s, u, v = evaluate(list(spectral.svd(constant(x))))
    np.testing.assert_allclose(u * s @ v.T, x, atol=1e-12)
    q, r = evaluate(list(spectral.qr(constant(x))))
    np.testing.assert_allclose(q @ r, x, atol=1e-12)


def test_singular_values_have_a_gradient_where_they_are_equal():
    x = constant(np.eye(3))
    (g,) = gradients(reduce_sum(spectral.svd(x, compute_uv=False)), [x])
    np.testing.assert_allclose(evaluate(g), np.eye(3), atol=1e-12)


def test_full_factors_of_a_tall_matrix_have_no_gradient():
    x = constant(_random(3, 2))
    with pytest.raises(GradientError, match="full_matrices"):
        gradients(spectral.qr(x, full_matrices=True)[0], [x])
    s, _, _ = spectral.svd(x, full_matrices=True)
    assert gradients(s, [x])[0].dims == (3, 2)


def test_inverse_has_the_gradient_of_its_closed_form():
    x = constant(np.array([[2.0]]))
    (g,) = gradients(decompositions.matrix_inverse(x), [x])
    np.testing.assert_allclose(evaluate(g), [[-0.25]])


def test_einsum_names_the_axis_that_clashes():
    a, b = constant(_random(2, 3)), constant(_random(4, 5))
    with pytest.raises(ShapeError, match="sizes 3 and 4"):
        einsum.einsum("ij,jk->ik", a, b)


@pytest.mark.parametrize("equation", ["ij->ik", "ij->ii", "i,j->ij", "i1->i"])
def test_malformed_equations_are_refused(equation):
    with pytest.raises(InvalidArgumentError):
        einsum.einsum(equation, constant(_random(2, 2)))


EQUATIONS = [
    "ij,jk->ik", "ij,jk->ki", "ij,ik->jk", "ij,ik->kj", "ij,kj->ik", "bqhd,bkhd->bhqk",
    "bhqk,bkhd->bqhd", "bij,bjk->bki", "bij,bjk->ijbk", "ijk,jl->ikl", "ijk,jl->lik",
    "ijkl,ljm->mik", "bi,bj->ijb", "ij,j->i", "j,jk->k", "ij,ij->", "ijk,kj->i",
    "ijb,bjk->kbi", "ijk,ikl->lji",
]  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_takes_the_memory_that_its_plan_says(equation):
    """In any order of axes, also in that of a gradient: no array is made in a run."""
    sizes = dict(zip("bhijklmqd", (3, 5, 40, 30, 20, 10, 7, 11, 16)))
    rng = np.random.default_rng(0)
    left, _, _ = equation.partition("->")
    factor = {1: 10, 2: 10, 3: 2, 4: 1}[max(map(len, left.split(",")))]
    shapes = [[factor * sizes[c] for c in term] for term in left.split(",")]
    arrays = [rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes]
    x = [dg.placeholder(dg.float32, a.shape) for a in arrays]
    y = [einsum.einsum(equation, *x)]
    y += dg.gradients(y[0], x, grad_ys=dg.cos(y[0]))
    fetches = [dg.reduce_sum(t * 2, list(range(len(t.shape)))) for t in y]
    feeds = dict(zip(x, arrays))
    session = dg.Session(rewrites=["dead"])
    right = np.einsum(equation, *arrays)
    np.testing.assert_array_equal(session.run(y[0], feeds), right)
    plan = session.plan(fetches, feeds)
    runner = session._runner(fetches, feeds)
    executable = runner.executable(runner.convert(feeds.values()))
    first = traced_peak(lambda: executable(runner.convert(feeds.values())))
    small = 12 * 1024 + 3 * 8192 * 4  # objects, and buffers in which ufuncs broadcast
    assert abs(first - plan.peak_bytes) <= 0.02 * plan.peak_bytes + small
    for _ in range(3):
        session.run(fetches, feeds)
    assert traced_peak(lambda: session.run(fetches, feeds)) <= small


def test_einsum_is_one_product():
    a, b = constant(_random(2, 3, 4)), constant(_random(2, 5, 4))
    y = einsum.einsum("bik,bjk->bij", a, b)
    assert y.op.type == "Einsum" and y.op.inputs == (a, b)


def test_eye_with_sizes_known_only_in_the_run():
    n = placeholder("int32", ())
    y = matrix.eye(n, 2, [3])
    assert evaluate(y, {n: np.int32(4)}).shape == (3, 4, 2)


def test_least_squares_against_scipy():
    a, b = _random(6, 3), _random(6, 2)
    want = scipy.linalg.lstsq(a, b)[0]
    for fast in (True, False):
        y = spectral.matrix_solve_ls(constant(a), constant(b), fast=fast)
        np.testing.assert_allclose(evaluate(y), want, rtol=1e-8)


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_how_a_matrix_exponential_moves(scale, kind):
    rng = np.random.default_rng(5)
    a, e = rng.normal(size=(2, 4, 4)).astype(kind)
    if kind == "complex128":
        a, e = a + 1j * rng.normal(size=(4, 4)), e * (1 + 2j)
    a *= scale
    x = dg.constant(a)
    y = dg.linalg.expm(x)
    (along,) = dg.jvp(y, x, dg.constant(e))
    (back,) = dg.gradients(y, x, dg.constant(e))
    got, turned = dg.Session().run([along, back])
    want = scipy.linalg.expm_frechet(a, e, compute_expm=False)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11 * np.abs(want).max())
    want = scipy.linalg.expm_frechet(a.conj().T, e, compute_expm=False)
    np.testing.assert_allclose(turned, want, rtol=1e-9, atol=1e-11 * np.abs(want).max())
