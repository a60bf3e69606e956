"""nn ops against TensorFlow's numbers; what they refuse; what they allocate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluate import evaluate

from dagrad.graphlib.errors import (
    DTypeError,
    InvalidArgumentError,
    ShapeError,
)
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.ops import (
    candidates,
    conv,
    embedding,
    losses_nn,
    nn,
    normalization,
    pool,
    softmax,
)
from dagrad.ops._build import constant
from dagrad.ops.core import placeholder

TENSORFLOW = np.load(Path(__file__).parent / "fixtures" / "nn_tensorflow.npz")

PAIRS = [[0, 0], [1, 0], [2, 1], [0, 0]]
#: The calls that ``fixtures/make_nn.py`` makes, on dagrad's functions.
CALLS: dict[str, Callable[..., Any]] = {
    "same": lambda x, w: conv.conv2d(x, w, 2, "SAME"),
    "valid": lambda x, w: conv.conv2d(x, w, 1, "VALID", dilations=[1, 2, 1, 1]),
    "pairs": lambda x, w: conv.conv2d(x, w, [1, 2, 1, 1], PAIRS),
    "one": lambda x, w: conv.conv1d(x, w, 2, "SAME"),
    "three": lambda x, w: conv.conv3d(x, w, [1, 1, 2, 1, 1], "SAME"),
    "transpose": lambda x, w: conv.conv2d_transpose(x, w, [2, 5, 6, 2], 2, "SAME"),
    "depthwise": lambda x, w: conv.depthwise_conv2d(x, w, [1, 2, 2, 1], "SAME"),
    "separable": lambda x, d, p: conv.separable_conv2d(x, d, p, [1] * 4, "VALID"),
    "max": lambda x: pool.max_pool(x, [1, 3, 2, 1], [1, 2, 2, 1], "SAME"),
    "ties": lambda x: pool.max_pool(x, [1, 3, 3, 1], [1, 2, 1, 1], "VALID"),
    "avg": lambda x: pool.avg_pool(x, [1, 3, 2, 1], [1, 2, 2, 1], "SAME"),
    "norm": lambda x, s, b: normalization.fused_batch_norm(x, s, b, epsilon=0.01),
    "lrn": lambda x: normalization.lrn(x, 2, 1.5, 0.3, 0.75),
    "entropy": softmax.softmax_cross_entropy_with_logits_v2,
    "sigmoid": lambda z, x: losses_nn.sigmoid_cross_entropy_with_logits(
        labels=z, logits=x
    ),
    "weighted": lambda z, x: losses_nn.weighted_cross_entropy_with_logits(z, x, 3.0),
    "log_softmax": lambda x: softmax.log_softmax(x, 1),
    "l2_normalize": lambda x: normalization.l2_normalize(x, 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_tensorflow(name: str) -> None:
    """Results and gradients, in single precision."""
    arrays = []
    while f"{name}.x{len(arrays)}" in TENSORFLOW:
        arrays.append(TENSORFLOW[f"{name}.x{len(arrays)}"])
    with Graph().as_default():
        xs = [constant(a) for a in arrays]
        results = CALLS[name](*xs)
        results = list(results) if isinstance(results, tuple) else [results]
        slopes = gradients(results[0], xs, constant(TENSORFLOW[f"{name}.g"]))
        got = evaluate(results + [s for s in slopes if s is not None])
    want = [TENSORFLOW[f"{name}.y{i}"] for i in range(len(results))]
    want += [TENSORFLOW[f"{name}.d{i}"] for i in range(len(slopes))]
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, 2e-4, 2e-5)


def numbers(*shape: int) -> Any:
    return np.random.default_rng(1).normal(size=shape)


def test_softmax_does_not_overflow() -> None:
    with Graph().as_default():
        x = constant(np.array([[1e4, 0.0, -1e4]]))
        y = evaluate([softmax.softmax(x), softmax.log_softmax(x)])
    np.testing.assert_allclose(y[0], [[1, 0, 0]])
    np.testing.assert_allclose(y[1], [[0, -1e4, -2e4]])


def test_sigmoid_entropy_keeps_small_losses() -> None:
    x, z = np.array([40.0, -40.0]), np.array([1.0, 0.0])
    with Graph().as_default():
        loss = losses_nn.sigmoid_cross_entropy_with_logits(labels=z, logits=constant(x))
        weighted = losses_nn.weighted_cross_entropy_with_logits(z, constant(x), 2.0)
        got, heavy = evaluate([loss, weighted])
    np.testing.assert_allclose(got, np.exp(-40.0), 1e-12)
    np.testing.assert_allclose(heavy, np.exp(-40.0) * np.array([2, 1]), 1e-12)


def test_labels_are_held_constant_in_version_one() -> None:
    with Graph().as_default():
        t, x = placeholder("float64", (2, 3)), placeholder("float64", (2, 3))
        first = softmax.softmax_cross_entropy_with_logits(labels=t, logits=x)
        second = softmax.softmax_cross_entropy_with_logits_v2(t, x)
        assert gradients(first, t) == [None]
        assert gradients(second, t) != [None]


def test_masked_rows_have_no_gradient() -> None:
    """Labels of zeros weigh nothing (TensorFlow's op gives softmax here)."""
    with Graph().as_default():
        x = constant(numbers(2, 3))
        loss = softmax.softmax_cross_entropy_with_logits_v2(np.zeros((2, 3)), x)
        assert not evaluate(gradients(loss, x)[0]).any()


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_refused(label: int) -> None:
    with Graph().as_default():
        loss = softmax.sparse_softmax_cross_entropy_with_logits(
            labels=np.array([0, label]), logits=constant(numbers(2, 3))
        )
        with pytest.raises(InvalidArgumentError, match=f"label {label} is outside"):
            evaluate(loss)


def test_a_training_step_takes_exp_once() -> None:
    with Graph().as_default() as graph:
        x = placeholder("float32", (4, 3))
        loss = softmax.softmax_cross_entropy_with_logits_v2(np.eye(4, 3), x)
        gradients(loss, x)
        types = [op.type for op in graph.get_operations()]
    assert types.count("SoftmaxCrossEntropyWithLogits") == 1
    assert not {"Exp", "Softmax", "LogSoftmax"} & set(types)


def test_max_pool_passes_infinities_and_refuses_nan() -> None:
    x = np.array([[1.0, -np.inf, 2.0, np.nan]]).reshape(1, 4, 1)
    with Graph().as_default():
        t = constant(x)
        y = pool.max_pool1d(t, 2, 2, "VALID")
        slope = gradients(y, t, constant(np.full((1, 2, 1), np.inf)))[0]
        got, dx = evaluate([y, slope])
    np.testing.assert_array_equal(got.ravel(), [1, np.nan])
    np.testing.assert_array_equal(dx.ravel(), [np.inf, 0, 0, 0])


def test_integers_are_pooled() -> None:
    with Graph().as_default():
        y = pool.max_pool2d(constant(np.arange(16).reshape(1, 4, 4, 1)), 3, 2, "SAME")
        np.testing.assert_array_equal(evaluate(y).ravel(), [10, 11, 14, 15])


def test_dropout_keeps_the_mean_and_its_share() -> None:
    with Graph().as_default():
        y = nn.dropout(constant(np.ones((200, 200))), keep_prob=0.8, seed=3)
        got = evaluate(y)
    kept = got != 0
    assert abs(kept.mean() - 0.8) < 0.01
    np.testing.assert_allclose(got[kept], 1.25)


def test_dropout_of_whole_channels() -> None:
    with Graph().as_default():
        x = placeholder("float32", (None, 5, 5, 8))
        y = nn.dropout(x, noise_shape=[None, 1, 1, 8], rate=0.5)
        got = evaluate(y, {x: np.ones((6, 5, 5, 8))})
    assert y.dims == (None, 5, 5, 8)
    assert (got.reshape(6, 25, 8).std(1) == 0).all()
    assert set(np.unique(got)) == {0.0, 2.0}


def test_a_rate_of_zero_is_the_identity() -> None:
    with Graph().as_default():
        x = constant(numbers(3))
        assert nn.dropout(x, rate=0.0) is x
        assert nn.dropout(x, 1.0) is x


def test_a_fed_keep_probability_of_one_keeps_everything() -> None:
    with Graph().as_default():
        keep = placeholder("float32", ())
        x = constant(numbers(50, 4).astype(np.float32))
        got = evaluate(nn.dropout(x, keep), {keep: 1.0})
    np.testing.assert_array_equal(got, evaluate(x))


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_an_id_beyond_the_tables_is_refused(strategy: str) -> None:
    with Graph().as_default():
        tables = [constant(numbers(3, 2)), constant(numbers(2, 2))]
        for wrong in (-1, 6):
            rows = embedding.embedding_lookup(tables, [0, wrong], strategy)
            with pytest.raises(InvalidArgumentError):
                evaluate(rows)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("uniform", [False, True])
def test_candidates_come_as_often_as_expected(uniform: bool, unique: bool) -> None:
    """The expected counts of 4 draws from 6 classes, against 3000 samples.

    Those of different draws are approximate: they take the tries as given.
    """
    draw = (
        candidates.uniform_candidate_sampler
        if uniform
        else candidates.log_uniform_candidate_sampler
    )
    rng = np.random.default_rng(0)
    true = np.arange(6)[:, None]
    seen, expected = np.zeros(6), np.zeros(6)
    with Graph().as_default():
        op = draw(true, 1, 4, unique, 6)[0].op
    for _ in range(3000):
        ids, often, _ = op.opdef.kernel(np, rng, true, **op.attrs)
        assert not unique or len(set(ids.tolist())) == 4
        seen += np.bincount(ids, minlength=6)
        expected += often[:, 0]
    np.testing.assert_allclose(seen / 3000, expected / 3000, atol=0.08)


def test_nce_loss_draws_its_own_candidates() -> None:
    with Graph().as_default():
        w, b = constant(numbers(50, 3)), constant(numbers(50))
        loss = candidates.nce_loss(w, b, [[1], [2]], constant(numbers(2, 3)), 8, 50)
        slopes = gradients(loss, [w, b])
        got = evaluate([loss, *slopes])
    assert [g.shape for g in got] == [(2,), (50, 3), (50,)]
    assert np.count_nonzero(got[1].any(1)) <= 10


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: nn.bias_add(numbers(2, 3), numbers(2)), ShapeError, "2 elements"),
    (lambda: nn.bias_add(numbers(3), numbers(3)), ShapeError, "rank >= 2"),
    (lambda: nn.bias_add(numbers(2, 3), numbers(3), "CHWN"), ShapeError, "format"),
    (lambda: nn.dropout(numbers(2), rate=1.0), InvalidArgumentError, "rate"),
    (lambda: nn.dropout(numbers(2)), InvalidArgumentError, "one of them"),
    (lambda: nn.dropout(np.arange(3), 0.5), DTypeError, "floating"),
    (lambda: softmax.softmax(numbers(2, 3), 2), ShapeError, "out of range"),
    (lambda: softmax.softmax(numbers(2), 0, dim=0), InvalidArgumentError, "not both"),
    (
        lambda: softmax.softmax_cross_entropy_with_logits(numbers(2), numbers(2)),
        InvalidArgumentError,
        "labels=",
    ),
    (
        lambda: softmax.softmax_cross_entropy_with_logits_v2(
            numbers(2, 3), numbers(3, 3)
        ),
        ShapeError,
        "the same",
    ),
    (
        lambda: softmax.sparse_softmax_cross_entropy_with_logits(
            labels=[[1]], logits=numbers(1, 3)
        ),
        ShapeError,
        "need labels",
    ),
    (
        lambda: softmax.sparse_softmax_cross_entropy_with_logits(
            labels=[1.0], logits=numbers(1, 3)
        ),
        DTypeError,
        "integers",
    ),
    (
        lambda: normalization.fused_batch_norm(numbers(1, 2, 2, 3), [1.0], [1.0]),
        ShapeError,
        "channels",
    ),
    (
        lambda: normalization.fused_batch_norm(
            numbers(1, 2, 2, 1), [1.0], [1.0], is_training=False
        ),
        ShapeError,
        "mean and variance",
    ),
    (lambda: pool.max_pool(numbers(2, 3, 3), 2, 2, "SAME"), ShapeError, "rank 4"),
    (
        lambda: pool.avg_pool(numbers(1, 3, 3, 1), 5, 1, "VALID"),
        ShapeError,
        "does not fit",
    ),
    (
        lambda: pool.pool(numbers(1, 3, 1), [2], "MEDIAN", "VALID"),
        ShapeError,
        "pooling_type",
    ),
    (
        lambda: candidates.uniform_candidate_sampler([[0]], 1, 7, True, 6),
        InvalidArgumentError,
        "cannot be drawn",
    ),
    (lambda: embedding.embedding_lookup([], [0]), InvalidArgumentError, "table"),
    (
        lambda: embedding.embedding_lookup([numbers(2, 1)] * 2, [0], "hash"),
        InvalidArgumentError,
        "strategy",
    ),
]


@pytest.mark.parametrize("case", range(len(REFUSALS)))
def test_refusals(case: int) -> None:
    call, error, message = REFUSALS[case]
    with Graph().as_default(), pytest.raises(error, match=message):
        call()
