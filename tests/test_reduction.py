"""Reductions at their edges: empty, infinite, tied, integer, dynamic axes."""

from __future__ import annotations

import numpy as np
import pytest
from evaluate import evaluate
from scipy.special import softmax

from dagrad.graphlib.errors import InvalidArgumentError, ShapeError
from dagrad.graphlib.gradients import gradients
from dagrad.ops import extremes, reduction, scan, segments, statistics
from dagrad.ops._build import constant
from dagrad.ops.core import placeholder

EMPTY = np.zeros((0, 3), np.float32)


pytestmark = pytest.mark.usefixtures("graph")


@pytest.mark.parametrize(
    ("builder", "expected"),
    [
        (reduction.reduce_sum, 0),
        (reduction.reduce_prod, 1),
        (extremes.reduce_max, -np.inf),
        (extremes.reduce_min, np.inf),
        (extremes.reduce_logsumexp, -np.inf),
        (reduction.reduce_mean, np.nan),
        (statistics.reduce_euclidean_norm, 0),
    ],
)
def test_reducing_nothing_gives_the_identity(builder, expected):
    got = evaluate(builder(constant(EMPTY), 0))
    np.testing.assert_array_equal(got, np.full(3, expected, np.float32))


def test_maximum_of_no_integers_is_the_least_one():
    got = evaluate(extremes.reduce_max(constant(np.zeros(0, np.int32))))
    assert got == np.iinfo(np.int32).min


def test_mean_of_integers_truncates_toward_zero():
    x = constant(np.array([[-3, 0], [7, 0]], np.int32))
    assert evaluate(reduction.reduce_mean(x, 1)).tolist() == [-1, 3]


def test_mean_of_no_integers_raises():
    with pytest.raises(InvalidArgumentError, match="mean of no integers"):
        evaluate(reduction.reduce_mean(constant(np.zeros(0, np.int32))))


def test_float16_mean_does_not_overflow():
    x = np.full(4096, 100, np.float16)
    assert evaluate(reduction.reduce_mean(constant(x))) == 100


def test_ties_share_the_gradient_of_a_maximum():
    x = constant(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]))
    (g,) = gradients(extremes.reduce_max(x, 1), [x])
    np.testing.assert_allclose(evaluate(g), [[0, 0.5, 0.5], [1 / 3] * 3])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([-np.inf, -np.inf], -np.inf),
        ([np.inf, 1.0], np.inf),
        ([1000.0, 1000.0], 1000 + np.log(2)),
        ([-np.inf, 2.0], 2.0),
        ([np.nan, 1.0], np.nan),
    ],
)
def test_logsumexp_of_extremes(row, expected):
    got = evaluate(extremes.reduce_logsumexp(constant(np.array(row))))
    np.testing.assert_allclose(got, expected)


def test_gradient_of_logsumexp_is_softmax_and_zero_where_all_is_masked():
    x = np.array([[0.0, 1.0, -np.inf], [-np.inf] * 3])
    t = constant(x)
    (g,) = gradients(extremes.reduce_logsumexp(t, 1), [t])
    np.testing.assert_allclose(evaluate(g), [softmax(x[0]), [0, 0, 0]])


def test_gradient_of_a_norm_at_zero_is_zero():
    x = constant(np.zeros(3))
    (g,) = gradients(statistics.norm(x), [x])
    assert evaluate(g).tolist() == [0, 0, 0]


def test_gradient_of_std_of_equal_numbers_is_zero():
    x = constant(np.full(3, 2.0))
    (g,) = gradients(statistics.reduce_std(x), [x])
    assert evaluate(g).tolist() == [0, 0, 0]


def test_gradient_of_a_product_with_one_and_two_zeros():
    x = constant(np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]]))
    (g,) = gradients(reduction.reduce_prod(x, 1), [x])
    np.testing.assert_allclose(evaluate(g), [[6, 0, 0], [0, 0, 0]])


def test_empty_axes_change_nothing():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(evaluate(reduction.reduce_sum(constant(x), [])), x)


def test_a_constant_axis_tensor_is_taken():
    x = np.arange(6.0).reshape(2, 3)
    y = reduction.reduce_sum(constant(x), constant([1]))
    np.testing.assert_array_equal(evaluate(y), x.sum(1))


def test_an_axis_known_only_in_the_run_is_refused():
    with pytest.raises(InvalidArgumentError, match="not known before the run"):
        reduction.reduce_sum(constant(np.ones(3)), placeholder("int32", ()))


def test_unknown_rank_with_a_negative_axis():
    x = placeholder("float64")
    y = reduction.reduce_mean(x, -1)
    (g,) = gradients(y, [x])
    value = np.arange(6.0).reshape(2, 3)
    got, gradient = evaluate([y, g], {x: value})
    np.testing.assert_allclose(got, value.mean(-1))
    np.testing.assert_allclose(gradient, np.full((2, 3), 1 / 3))


@pytest.mark.parametrize("axis", [2, -3, [0, 0], [1, -1]])
def test_bad_axes_are_refused(axis):
    with pytest.raises(ShapeError):
        reduction.reduce_sum(constant(np.ones((2, 3))), axis)


def test_former_argument_names():
    x = np.arange(6.0).reshape(2, 3)
    y = reduction.reduce_sum(constant(x), reduction_indices=1, keep_dims=True)
    np.testing.assert_array_equal(evaluate(y), x.sum(1, keepdims=True))


def test_argmax_takes_axis_0_by_default():
    x = np.array([[1, 5], [7, 2]])
    assert evaluate(extremes.argmax(constant(x))).tolist() == [1, 0]


def test_exclusive_cumprod_of_nothing():
    got = evaluate(scan.cumprod(constant(EMPTY), 0, exclusive=True))
    assert got.shape == (0, 3)


def test_long_recurrence_of_numbers():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 1000))
    s, want = 0.0, []
    for i in range(1000):
        s = a[i] * s + b[i]
        want.append(s)
    got = evaluate(scan.linear_recurrence(constant(a), constant(b)))
    np.testing.assert_allclose(got, want, rtol=1e-10)


@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_zero_factor_cuts_a_recurrence(n, reverse):
    # What comes before it does not count, not even infinity.
    a, b = np.ones((2, n))
    a[n // 2], b[n // 2 + (1 if reverse else -1)] = 0.0, np.inf
    got = evaluate(scan.linear_recurrence(constant(a), constant(b), 0, reverse))
    after = got[n // 2 :: -1] if reverse else got[n // 2 :]
    np.testing.assert_array_equal(after, np.arange(1.0, len(after) + 1))


@pytest.mark.parametrize("count", [2, 30])
def test_an_infinite_segment_leaves_the_gradients_of_others_alone(count):
    x = np.tile([2.0, 3.0, np.inf, 5.0, 7.0], count)
    ids = np.arange(len(x)) // 2
    y = segments.segment_prod(constant(x), ids)
    (g,) = gradients(y, y.op.inputs[0])
    pairs = x.reshape(-1, 2)
    np.testing.assert_array_equal(evaluate(g), pairs[:, ::-1].reshape(-1))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("rest", [(), (3,)])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_products_of_others_in_segments_of_all_lengths(dtype, rest):
    # Zeros, infinities and NaN reach their own segment and column, and no other.
    rng = np.random.default_rng(5)
    lengths = [1, 2, 3, 4, 5, 8, 9, 31, 32, 33, 34, 35, 64, 65, 90, 1]
    ids = np.repeat(rng.permutation(len(lengths)), lengths)
    x = rng.choice([0.5, -1.0, 2.0, 1.5], (len(ids), *rest)).astype(dtype)
    at = rng.choice(len(ids), 12, replace=False)
    x[at] = rng.choice([0.0, np.inf, np.nan], x[at].shape)
    y = segments.unsorted_segment_prod(constant(x), ids, len(lengths))
    (g,) = gradients(y, y.op.inputs[0])
    want = np.empty_like(x)
    with np.errstate(all="ignore"):
        for s in range(len(lengths)):
            (rows,) = np.nonzero(ids == s)
            for k, i in enumerate(rows):
                after = np.multiply.reduce(x[rows[:k:-1]], 0)
                want[i] = np.multiply.reduce(x[rows[:k]], 0) * after
    np.testing.assert_array_equal(evaluate(g), want.conj())


def test_unsorted_ids_are_refused_by_the_sorted_op():
    y = segments.segment_sum(constant([1.0, 2.0]), placeholder("int32", (2,)))
    ids = y.op.inputs[1]
    with pytest.raises(InvalidArgumentError, match="sorted"):
        evaluate(y, {ids: np.array([1, 0], np.int32)})


def test_too_large_a_segment_id_is_refused():
    with pytest.raises(InvalidArgumentError, match="not below"):
        evaluate(segments.unsorted_segment_sum(constant([1.0]), constant([3]), 2))


def test_numpy_functions_build_nodes():
    x = np.arange(6.0).reshape(2, 3)
    got = evaluate(np.sum(constant(x), axis=1, keepdims=True))
    np.testing.assert_array_equal(got, x.sum(1, keepdims=True))
