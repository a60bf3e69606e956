"""Sparse Jacobians and Hessians: patterns, passes, values, and what they refuse."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from dense import dense_jacobian, run
from work import growth

import dagrad as dg
from dagrad.ops import _pattern
from dagrad.ops.sparse_derivatives import sparse_hessian, sparse_jacobian
from dagrad.ops.sparsity import hessian_sparsity, jacobian_pattern, jacobian_sparsity

F64 = dg.float64


pytestmark = pytest.mark.usefixtures("graph")


def pattern(y, x):
    return jacobian_sparsity(y, x).toarray().astype(int)


def banded(n, low, high):
    offset = np.arange(n) - np.arange(n)[:, None]
    return ((-low <= offset) & (offset <= high)).astype(int)


# -- patterns of common programs -------------------------------------------------------


def test_elementwise_is_diagonal_and_a_sum_is_full():
    x = dg.placeholder(F64, [3])
    np.testing.assert_array_equal(pattern(dg.exp(x) * x + 1.0, x), np.eye(3))
    np.testing.assert_array_equal(pattern(dg.reduce_sum(x), x), [[1, 1, 1]])


def test_rows_are_bool_csr():
    x = dg.placeholder(F64, [3])
    p = jacobian_sparsity(x[1:], x)
    assert (p.format, p.dtype, p.shape, p.nnz) == ("csr", bool, (2, 3), 2)


def test_broadcast_operands_line_up():
    x = dg.placeholder(F64, [2])
    y = dg.placeholder(F64, [3]) * x[:, None]
    np.testing.assert_array_equal(pattern(y, x), np.kron(np.eye(2), np.ones((3, 1))))


def test_a_stencil_by_slices_by_rolling_and_by_convolution():
    x = dg.placeholder(F64, [6])
    sliced = x[:-2] - 2.0 * x[1:-1] + x[2:]
    kernel = dg.reshape(dg.constant([1.0, -2.0, 1.0], F64), [3, 1, 1])
    convolved = dg.nn.conv1d(x[None, :, None], kernel, 1, "VALID")
    ring = dg.roll(x, 1, 0) - 2.0 * x + dg.roll(x, -1, 0)
    np.testing.assert_array_equal(pattern(sliced, x), banded(6, 1, 1)[1:-1])
    np.testing.assert_array_equal(pattern(convolved, x), banded(6, 1, 1)[1:-1])
    corners = np.zeros((6, 6), int)
    corners[0, -1] = corners[-1, 0] = 1
    np.testing.assert_array_equal(pattern(ring, x), banded(6, 1, 1) + corners)


def test_zeros_of_a_convolution_kernel_cut():
    """The five-point stencil: no corners."""
    x = dg.placeholder(F64, [1, 4, 4, 1])
    stencil = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], float)[:, :, None, None]
    y = dg.nn.conv2d(x, stencil, 1, "SAME")
    line = banded(4, 1, 1)
    want = np.kron(line, np.eye(4)) + np.kron(np.eye(4), line) > 0
    np.testing.assert_array_equal(pattern(y, x), want)


def test_zeros_of_a_constant_matrix_cut():
    x = dg.placeholder(F64, [5, 1])
    a = banded(5, 1, 0) * np.random.default_rng(0).uniform(1, 2, (5, 5))
    np.testing.assert_array_equal(pattern(dg.matmul(a, x), x), banded(5, 1, 0))
    np.testing.assert_array_equal(
        pattern(dg.matmul(dg.constant(a) * 2.0, x, transpose_a=True), x),
        banded(5, 0, 1),
    )
    np.testing.assert_array_equal(
        pattern(dg.einsum("ij,jk->ki", a, x), x), banded(5, 1, 0)
    )


def test_zeros_of_a_constant_factor_cut():
    x = dg.placeholder(F64, [4])
    mask = np.array([1.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(pattern(x * mask, x), np.diag(mask))
    chosen = dg.where(mask > 0, x, dg.zeros_like(x))
    np.testing.assert_array_equal(pattern(chosen, x), np.diag(mask))


def test_zeros_of_matrices_that_are_built_in_the_graph_cut():
    """Bands, diagonals and assembled matrices of fed numbers."""
    x = dg.placeholder(F64, [4, 1])
    full, line = dg.placeholder(F64, [4, 4]), dg.placeholder(F64, [4])
    band = dg.matrix_band_part(full, 1, 0)
    assembled = dg.scatter_nd([[0, 0], [1, 2], [1, 2], [3, 1]], line, [4, 4])
    for matrix, want in (
        (band, banded(4, 1, 0)),
        (dg.tanh(band) * full + dg.matrix_diag(line), banded(4, 1, 0)),
        (dg.pad(full[:2, :2], [[0, 2], [0, 2]]), np.pad(np.ones((2, 2)), (0, 2))),
        (assembled, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]),
        (dg.exp(band), np.ones((4, 4))),
        (band + 1.0, np.ones((4, 4))),
    ):
        np.testing.assert_array_equal(pattern(dg.matmul(matrix, x), x), want)


def test_zeros_in_the_value_of_x_are_no_structure():
    x = dg.constant([0.0, 1.0], F64)
    np.testing.assert_array_equal(pattern(x * x, x), np.eye(2))
    y = dg.matrix_diag(x)
    np.testing.assert_array_equal(pattern(y * y, y), np.eye(4))


def test_products_of_unknown_matrices_join_rows_and_columns():
    a = dg.placeholder(F64, [2, 3])
    b = dg.placeholder(F64, [3, 2])
    y = dg.matmul(a, b)
    by_row = np.kron(np.eye(2), np.ones((2, 3)))
    np.testing.assert_array_equal(pattern(y, a), by_row)
    np.testing.assert_array_equal(pattern(y, b), np.kron(np.ones((2, 3)), np.eye(2)))


def test_batches_stay_apart():
    x = dg.placeholder(F64, [3, 2, 2])
    blocks = np.kron(np.eye(3), np.ones((4, 4)))
    for y in (dg.matrix_inverse(x), dg.matmul(x, x), dg.linalg.expm(x)):
        assert not (pattern(y, x) > blocks).any()
    np.testing.assert_array_equal(
        pattern(dg.matrix_determinant(x), x), np.kron(np.eye(3), np.ones((1, 4)))
    )
    np.testing.assert_array_equal(
        pattern(dg.nn.softmax(dg.reshape(x, [3, 4])), x), blocks
    )


def test_running_sums_and_triangular_solves_are_triangles():
    x = dg.placeholder(F64, [5])
    triangle = np.tril(np.ones((5, 5)))
    np.testing.assert_array_equal(pattern(dg.cumsum(x), x), triangle)
    np.testing.assert_array_equal(
        pattern(dg.cumsum(x, reverse=True, exclusive=True), x), np.triu(triangle.T, 1)
    )
    a = dg.placeholder(F64, [5, 5])
    solved = dg.matrix_triangular_solve(a, x[:, None])
    np.testing.assert_array_equal(pattern(solved, x), triangle)
    above = pattern(solved, a).reshape(5, 5, 5)
    want = [np.tril(np.ones((5, 5))) * (np.arange(5) <= i)[:, None] for i in range(5)]
    np.testing.assert_array_equal(above, want)


def test_known_indices_are_followed_and_fed_ones_are_not():
    x = dg.placeholder(F64, [4, 2])
    picked = dg.gather(x, [3, 0])
    want = np.zeros((4, 8), int)
    want[[0, 1, 2, 3], [6, 7, 0, 1]] = 1
    np.testing.assert_array_equal(pattern(picked, x), want)
    fed = dg.gather(x, dg.placeholder(dg.int32, [2]))
    columns = np.tile(np.eye(2, dtype=int), (2, 4))
    np.testing.assert_array_equal(pattern(fed, x), columns)


def test_sums_by_segment():
    x = dg.placeholder(F64, [4])
    y = dg.segment_sum(x, [0, 0, 1, 1])
    np.testing.assert_array_equal(pattern(y, x), [[1, 1, 0, 0], [0, 0, 1, 1]])


@pytest.mark.parametrize("rest", [(), (2,)])
def test_products_by_segment_curve_within_segments(rest):
    x = dg.placeholder(F64, [6, *rest])
    y = dg.unsorted_segment_prod(x, [1, 0, 1, 2, 0, 1], 3)
    got = hessian_sparsity(dg.reduce_sum(y), x).toarray()
    want = np.zeros((6, 6), int)
    for i, j in ((0, 2), (0, 5), (2, 5), (1, 4)):
        want[i, j] = want[j, i] = 1
    np.testing.assert_array_equal(got, np.kron(want, np.eye(*rest * 2 or (1, 1))))


def test_what_cuts_a_gradient_cuts_the_pattern():
    x = dg.placeholder(F64, [2])
    assert jacobian_sparsity(dg.stop_gradient(x) + dg.floor(x), x).nnz == 0
    through_int = dg.cast(dg.cast(x, dg.int32), F64)
    assert jacobian_sparsity(through_int, x).nnz == 0
    assert jacobian_sparsity(dg.sign(x), x).nnz == 0


def test_several_xs_and_ys_stand_side_by_side():
    a, b = dg.placeholder(F64, [2]), dg.placeholder(F64, [])
    want = [[1, 0, 1], [0, 1, 1], [0, 0, 1]]
    np.testing.assert_array_equal(pattern([a * b, b], [a, b]), want)


def test_an_x_that_depends_on_another_one_is_held():
    a = dg.placeholder(F64, [2])
    b = dg.square(a)
    np.testing.assert_array_equal(pattern(b + a, [a, b]), np.tile(np.eye(2), 2))
    np.testing.assert_array_equal(pattern(b * 2.0, a), np.eye(2))


def test_the_pattern_of_a_hessian_is_tight_for_sums_of_small_terms():
    x = dg.placeholder(F64, [6])
    rosenbrock = dg.reduce_sum((x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    separable = dg.reduce_sum(dg.sin(x)) + 3.0 * dg.reduce_sum(x)
    arrow = x[0] * dg.reduce_sum(x[1:] ** 2)
    for y, want in (
        (rosenbrock, banded(6, 1, 1)),
        (separable, np.eye(6)),
        (dg.reduce_sum(x), np.zeros((6, 6))),
        (dg.reduce_sum(x) ** 2, np.ones((6, 6))),
    ):
        got = hessian_sparsity(y, x).toarray()
        np.testing.assert_array_equal(got, want)
    want = np.eye(6, dtype=bool)
    want[0], want[:, 0], want[0, 0] = True, True, False
    np.testing.assert_array_equal(hessian_sparsity(arrow, x).toarray(), want)


def test_a_shape_that_is_not_static_is_named():
    x = dg.placeholder(F64, [None, 3], name="rows")
    with pytest.raises(ValueError, match=r"dimension 0 of \(\?, 3\) is not known"):
        jacobian_sparsity(x * 2.0, x)
    y = dg.placeholder(F64, name="anything") * dg.placeholder(F64, [2])
    with pytest.raises(ValueError, match=r"its rank is not known.*set_shape"):
        jacobian_sparsity(y, y.op.inputs[1])


def test_between_them_a_size_may_be_unknown():
    """What passes through it is taken to depend on everything."""
    x = dg.placeholder(F64, [3])
    kept = dg.boolean_mask(x[:2], dg.placeholder(dg.bool, [2]))
    y = dg.concat([[dg.reduce_sum(kept)], x[2:] * dg.placeholder(F64)], 0)
    y.set_shape([2])
    assert not (np.array([[1, 1, 0], [0, 0, 1]]) > pattern(y, x)).any()
    total = dg.stack([dg.reduce_sum(kept), x[2]])
    np.testing.assert_array_equal(pattern(total, x), [[1, 1, 0], [0, 0, 1]])


# -- values ----------------------------------------------------------------------------


def chain(x):
    """Tridiagonal, nonlinear."""
    middle = x[1:-1] ** 2 * x[2:] - dg.sin(x[1:-1]) * x[:-2]
    return dg.concat([x[:1] * x[1:2], middle, x[-1:] * x[-2:-1]], 0)


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse", "both"])
def test_values_are_those_of_the_dense_jacobian(mode):
    x = dg.placeholder(F64, [7])
    j = sparse_jacobian(chain(x), x, mode)
    feeds = {x: np.random.default_rng(0).normal(size=7)}
    got = run(j, feeds)
    assert got.format == "csr"
    np.testing.assert_allclose(got.toarray(), dense_jacobian(chain(x), x, feeds))
    np.testing.assert_array_equal(run(j.dense(), feeds), got.toarray())


@pytest.mark.parametrize(
    ("mode", "passes", "used"),
    [
        ("auto", 3, "both"),
        ("both", 3, "both"),
        ("forward", 9, "forward"),
        ("reverse", 9, "reverse"),
    ],
)
def test_an_arrow_takes_three_passes(mode, passes, used):
    x = dg.placeholder(F64, [9])
    y = dg.concat([[dg.reduce_sum(x**2)], x[0] * x[1:]], 0)
    j = sparse_jacobian(y, x, mode)
    assert (j.colors, j.mode) == (passes, used)
    feeds = {x: np.arange(1.0, 10.0)}
    np.testing.assert_allclose(run(j, feeds).toarray(), dense_jacobian(y, x, feeds))


def test_auto_takes_the_direction_with_fewer_passes():
    x = dg.placeholder(F64, [12])
    few = dg.reduce_sum(dg.reshape(x, [4, 3]) ** 2, axis=1)
    assert sparse_jacobian(few, x).mode == "reverse"
    assert sparse_jacobian(few, x).colors == 1
    many = dg.reshape(x[:3, None] * dg.ones([3, 4], F64), [12])
    assert sparse_jacobian(many, x).mode == "forward"
    assert sparse_jacobian(many, x).colors == 1


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_one_pass_carries_all_colors(graph, mode):
    """The graph grows by as much for many colours as for two, the seeds by colour."""
    added, seeds = [], []
    for width in (1, 9):
        x = dg.placeholder(F64, [40])
        y = dg.matmul(banded(40, width, 0).astype(float), dg.sin(x)[:, None])
        before = len(graph.get_operations())
        j = sparse_jacobian(y, x, mode)
        new = graph.get_operations()[before:]
        assert j.colors == width + 1
        added.append(len(new))
        seeds.append([op.outputs[0].dims for op in new if op.type == "Const"])
    assert added[0] == added[1]
    assert any(dims[:1] == (10,) for dims in seeds[1])


def test_a_given_pattern_of_a_y_that_does_not_depend_on_x():
    x = dg.placeholder(F64, [2])
    y = dg.constant([1.0, 2.0], F64)
    for mode in ("forward", "reverse"):
        j = sparse_jacobian(y, x, mode, sparsity=np.eye(2))
        assert run(j.values, {x: [1.0, 2.0]}).tolist() == [0.0, 0.0]


def test_the_hessian_of_rosenbrock():
    """SciPy's closed form, in three products."""
    optimize = pytest.importorskip("scipy.optimize")
    x = dg.placeholder(F64, [20])
    y = dg.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    h = sparse_hessian(y, x)
    a = np.random.default_rng(1).normal(size=20)
    np.testing.assert_allclose(run(h, {x: a}).toarray(), optimize.rosen_hess(a))
    assert h.colors == 3
    assert h.nnz == 58


def test_an_arrow_hessian_takes_two_products():
    x = dg.placeholder(F64, [30])
    y = dg.reduce_sum(dg.sin(x[0] * x[1:])) + dg.reduce_sum(x**3)
    h = sparse_hessian(y, x)
    assert h.colors == 2
    feeds = {x: np.random.default_rng(2).normal(size=30)}
    (g,) = dg.gradients(y, x)
    np.testing.assert_allclose(
        run(h, feeds).toarray(), dense_jacobian(g, x, feeds), atol=1e-12
    )


def test_a_hessian_with_an_x_that_y_does_not_see():
    a, b, c = (dg.placeholder(F64, [2]) for _ in range(3))
    h = sparse_hessian(dg.reduce_sum(a * c), [a, b, c])
    want = np.zeros((6, 6))
    want[[0, 1, 4, 5], [4, 5, 0, 1]] = 1.0
    np.testing.assert_array_equal(run(h, {a: [1, 2], c: [3, 4]}).toarray(), want)


def test_values_are_differentiable():
    """d/dx of the sum of x[i] x[i+1]'s Jacobian is what the terms say."""
    x = dg.placeholder(F64, [4])
    j = sparse_jacobian(x[1:] * x[:-1], x)
    (g,) = dg.gradients(dg.reduce_sum(j.values**2), x)
    np.testing.assert_allclose(run(g, {x: [1.0, 2.0, 3.0, 4.0]}), [2.0, 8.0, 12.0, 8.0])


def test_a_jacobian_of_jacobian_values_is_sparse_too():
    x = dg.placeholder(F64, [8])
    j = sparse_jacobian(chain(x), x)
    k = sparse_jacobian(j.values, x)
    feeds = {x: np.random.default_rng(3).normal(size=8)}
    np.testing.assert_allclose(
        run(k, feeds).toarray(), dense_jacobian(j.values, x, feeds), atol=1e-12
    )


def test_several_xs_and_ys():
    a = dg.placeholder(F64, [2, 2])
    b = dg.placeholder(F64, [])
    ys = [a * b, dg.reduce_sum(a, axis=0), b**2]
    feeds = {a: [[1.0, 2.0], [3.0, 4.0]], b: 5.0}
    for mode in ("forward", "reverse", "both"):
        j = sparse_jacobian(ys, [a, b], mode)
        want = np.block([[dense_jacobian(y, x, feeds) for x in (a, b)] for y in ys])
        np.testing.assert_allclose(run(j, feeds).toarray(), want)
    h = sparse_hessian(dg.reduce_sum(a**2 * b), [a, b])
    want = np.diag([10.0] * 4 + [0.0])
    want[4, :4] = want[:4, 4] = [2.0, 4.0, 6.0, 8.0]
    np.testing.assert_allclose(run(h, feeds).toarray(), want)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_the_same_x_twice_and_an_x_of_another(mode):
    x = dg.placeholder(F64, [2])
    b = dg.square(x)
    j = sparse_jacobian(b * x, [x, x, b], mode)
    got = run(j, {x: [3.0, 4.0]}).toarray()
    held = np.diag([9.0, 16.0])
    np.testing.assert_allclose(got, np.hstack([held, held, np.diag([3.0, 4.0])]))


def test_float32_and_mixed_dtypes():
    x = dg.placeholder(dg.float32, [3])
    assert sparse_jacobian(x * x, x).dtype is dg.float32
    wide = dg.cast(x, F64) ** 2
    for mode in ("forward", "reverse"):
        j = sparse_jacobian(wide, x, mode)
        assert j.dtype is F64
        np.testing.assert_allclose(run(j, {x: [1, 2, 3]}).toarray(), np.diag([2, 4, 6]))


@pytest.mark.parametrize("mode", ["forward", "reverse", "both"])
def test_an_integer_y_among_others_has_empty_rows(mode):
    x = dg.placeholder(F64, [2])
    j = sparse_jacobian([dg.cast(x, dg.int32), x[0] * x], x, mode)
    got = run(j, {x: [2.0, 3.0]}).toarray()
    np.testing.assert_allclose(got, [[0, 0], [0, 0], [4, 0], [3, 2]])


def test_variables_and_scalars():
    v = dg.Variable(np.array([1.0, 2.0]))
    s = dg.placeholder(F64, [])
    j = sparse_jacobian(v**2 * s, [v, s])
    with dg.Session() as session:
        session.run(dg.global_variables_initializer())
        got = session.run(j, {s: 3.0}).toarray()
    np.testing.assert_allclose(got, [[6.0, 0.0, 1.0], [0.0, 12.0, 4.0]])
    assert sparse_jacobian(s**2, s).shape == (1, 1)


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse", "both"])
def test_nothing_to_differentiate(mode):
    x = dg.placeholder(F64, [3])
    empty = dg.placeholder(F64, [0])
    for y, t, shape in (
        (dg.constant([1.0, 2.0], F64), x, (2, 3)),
        (dg.cast(x, dg.int32), x, (3, 3)),
        (empty * 2.0, empty, (0, 0)),
        (x * 2.0, empty, (3, 0)),
    ):
        j = sparse_jacobian(y, t, mode)
        assert (j.shape, j.nnz, j.colors) == (shape, 0, 0)
        feeds = {x: np.zeros(3), empty: np.zeros(0)}
        assert run(j, feeds).shape == shape
        assert run(j.dense(), feeds).shape == shape
    h = sparse_hessian(dg.reduce_sum(x), x)
    assert (h.nnz, h.colors) == (0, 0)


def test_it_is_fetched_beside_others_and_in_containers():
    x = dg.placeholder(F64, [2])
    j = sparse_jacobian(x**2, x)
    got, (again,), named = run([x, (j,), {"j": j}], {x: [1.0, 2.0]})
    assert got.tolist() == [1.0, 2.0]
    assert (again - named["j"]).nnz == 0
    assert again is not named["j"]
    with dg.Session() as session:
        step = session.make_callable(j, [x])
        first, second = step([1.0, 2.0]), step([5.0, 6.0])
    first.data[:] = 0.0
    first.indices[:] = 0
    np.testing.assert_allclose(second.toarray(), np.diag([10.0, 12.0]))
    np.testing.assert_allclose(j.to_scipy([1.0, 2.0]).toarray(), np.diag([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"takes 2 values, not .* \(3,\)"):
        j.to_scipy(np.ones(3))


def test_values_need_no_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    x = dg.placeholder(F64, [3])
    j = sparse_jacobian(x[1:] * x[:-1], x)
    assert run(j.values, {x: [1.0, 2.0, 3.0]}).tolist() == [2.0, 1.0, 3.0, 2.0]
    assert (j.rows.tolist(), j.cols.tolist()) == ([0, 0, 1, 1], [0, 1, 1, 2])
    assert (j.indptr.tolist(), j.indices.tolist()) == ([0, 2, 4], [0, 1, 1, 2])
    with pytest.raises(ImportError, match="pip install scipy"):
        run(j, {x: [1.0, 2.0, 3.0]})
    with pytest.raises(ImportError, match="pip install scipy"):
        jacobian_sparsity(x, x)


def test_a_given_pattern_and_a_given_coloring():
    x = dg.placeholder(F64, [6])
    y = dg.matmul(dg.placeholder_with_default(np.eye(6), [6, 6]), x[:, None] ** 2)
    assert sparse_jacobian(y, x).colors == 6
    j = sparse_jacobian(y, x, sparsity=np.eye(6))
    assert (j.colors, j.nnz) == (1, 6)
    np.testing.assert_allclose(run(j.values, {x: np.arange(6.0)}), 2 * np.arange(6.0))
    colors = np.arange(6) // 2
    for mode in ("forward", "reverse"):
        j = sparse_jacobian(y, x, mode, sparsity=np.eye(6), coloring=colors)
        assert j.colors == 3
    h = sparse_hessian(dg.reduce_sum(x**3), x, sparsity=np.eye(6), coloring=colors)
    assert h.colors == 3
    np.testing.assert_allclose(run(h.values, {x: np.ones(6)}), np.full(6, 6.0))


def test_what_is_refused():
    x = dg.placeholder(F64, [3])
    z = dg.placeholder(dg.complex128, [3])
    n = dg.placeholder(dg.int32, [3])
    with pytest.raises(ValueError, match="mode must be 'auto'"):
        sparse_jacobian(x, x, "sideways")
    with pytest.raises(ValueError, match="give mode='forward'"):
        sparse_jacobian(x, x, coloring=[0, 0, 0])
    with pytest.raises(ValueError, match="no column colouring"):
        sparse_jacobian(dg.cumsum(x), x, "forward", coloring=[0, 1, 0])
    with pytest.raises(ValueError, match=r"\(2, 2\), the derivative \(3, 3\)"):
        sparse_jacobian(x, x, sparsity=np.eye(2))
    with pytest.raises(ValueError, match="symmetric"):
        sparse_hessian(x, x, sparsity=np.tri(3))
    with pytest.raises(TypeError, match="not int32"):
        sparse_jacobian(x, n)
    with pytest.raises(TypeError, match="real tensors, not complex128"):
        sparse_jacobian(z, x)
    with pytest.raises(ValueError, match="at least one x"):
        sparse_jacobian(x, [])


# -- size ------------------------------------------------------------------------------


def test_work_and_memory_are_in_proportion_to_the_unknowns():
    def both(x):
        h = sparse_hessian(dg.reduce_sum((x[1:] - x[:-1] ** 2) ** 2), x)
        return sparse_jacobian(chain(x), x), h

    def prepared(n):
        x = dg.placeholder(F64, [n])
        return lambda: both(x)

    assert growth(prepared, 4000) < 2.2
    n = 10_000
    x = dg.placeholder(F64, [n])
    tracemalloc.start()
    j, h = both(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (j.colors, h.colors) == (3, 3)
    assert peak < n * n / 5  # no dense pattern, of a byte for each entry
    a = np.random.default_rng(4).normal(size=n)
    got = run(j, {x: a})
    t = np.random.default_rng(5).normal(size=n)
    (want,) = dg.jvp(chain(x), x, [dg.constant(t)])
    np.testing.assert_allclose(got @ t, run(want, {x: a}), rtol=1e-10, atol=1e-10)


def test_the_pattern_of_a_long_chain_of_operations():
    def prepared(n):
        x = dg.placeholder(F64, [4])
        y = x
        for _ in range(n):
            y = dg.sin(y) * x
        return lambda: sparse_jacobian(y, x)

    assert prepared(5000)().colors == 1
    assert growth(prepared, 300) < 2.2


def test_patterns_of_dense_layers_are_not_kept():
    """Twenty dense layers in sequence: one pattern at a time."""
    x = dg.placeholder(F64, [200, 1])
    weights = np.random.default_rng(0).normal(size=(200, 200))
    y = x
    for _ in range(20):
        y = dg.tanh(dg.matmul(weights, y))
    assert jacobian_pattern([y], [x]).size == 200 * 200


@pytest.mark.parametrize("most", [1, 7, 100])
def test_long_products_of_patterns_go_in_pieces(monkeypatch, most):
    rng = np.random.default_rng(most)
    left, right = rng.random((30, 20)) < 0.2, rng.random((20, 400)) < 0.3
    monkeypatch.setattr(_pattern, "_PIECE", most)
    got = _pattern.from_dense(right).after(*np.nonzero(left), 30)
    dense = np.zeros((30, 400), bool)
    dense[got.rows(), got.indices] = True
    np.testing.assert_array_equal(dense, left @ right)
    assert got.size == dense.sum()


def test_long_products_of_small_matrices_go_through_blas(monkeypatch):
    rng = np.random.default_rng(0)
    left, right = rng.random((30, 20)) < 0.2, rng.random((20, 10)) < 0.3
    monkeypatch.setattr(_pattern, "_PIECE", 200)
    got = _pattern.from_dense(right).after(*np.nonzero(left), 30)
    dense = np.zeros((30, 10), bool)
    dense[got.rows(), got.indices] = True
    np.testing.assert_array_equal(dense, left @ right)
