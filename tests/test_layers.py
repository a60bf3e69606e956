"""tf.layers and tf.losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fresh_session import value

import dagrad as tf

pytestmark = pytest.mark.usefixtures("graph")


RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3)).astype(np.float32)


# -- layers --------------------------------------------------------------------


def test_dense() -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
    y = tf.layers.dense(
        tf.constant(X),
        2,
        activation=tf.nn.relu,
        kernel_initializer=tf.constant_initializer(kernel),
        bias_initializer=tf.constant_initializer(0.5),
    )
    np.testing.assert_allclose(value(y), np.maximum(X @ kernel + 0.5, 0), rtol=1e-6)
    names = [v.name for v in tf.trainable_variables()]
    assert names == ["dense/kernel:0", "dense/bias:0"]


def test_dense_on_more_axes_and_without_bias() -> None:
    x = tf.constant(RNG.normal(size=(2, 5, 3)).astype(np.float32))
    y = tf.layers.dense(x, 4, use_bias=False, name="d")
    assert y.shape.as_list() == [2, 5, 4]
    (kernel,) = tf.trainable_variables()
    found, wanted = value([y, tf.einsum("abi,io->abo", x, kernel)])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_names_are_unique_or_shared() -> None:
    x = tf.constant(X)
    tf.layers.dense(x, 1)
    tf.layers.dense(x, 1)
    tf.layers.dense(x, 1, name="own")
    with pytest.raises(ValueError, match="own/kernel"):
        tf.layers.dense(x, 1, name="own")
    tf.layers.dense(x, 1, name="own", reuse=True)
    scopes = [v.op.name.split("/")[0] for v in tf.trainable_variables()[::2]]
    assert scopes == ["dense", "dense_1", "own"]


def test_penalties_join_the_collection() -> None:
    penalty = lambda v: tf.reduce_sum(v * v)  # noqa: E731
    tf.layers.dense(
        tf.constant(X), 1, kernel_regularizer=penalty, activity_regularizer=penalty
    )
    assert len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == 2
    assert float(value(tf.losses.get_regularization_loss())) > 0


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_conv2d(data_format: str, padding: str) -> None:
    images = RNG.normal(size=(2, 6, 5, 3)).astype(np.float32)
    first = data_format == "channels_first"
    x = tf.constant(images.transpose(0, 3, 1, 2) if first else images)
    y = tf.layers.conv2d(
        x,
        4,
        3,
        strides=2,
        padding=padding,
        data_format=data_format,
        bias_initializer=tf.constant_initializer([1.0, 2.0, 3.0, 4.0]),
    )
    kernel, bias = tf.trainable_variables()
    wanted = tf.nn.conv2d(images, kernel, [1, 2, 2, 1], padding.upper()) + bias
    y = tf.transpose(y, [0, 2, 3, 1]) if first else y
    found, other = value([y, wanted])
    np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-6)


def test_conv1d() -> None:
    x = tf.constant(RNG.normal(size=(2, 7, 3)).astype(np.float32))
    y = tf.layers.conv1d(x, 5, 3, padding="same", activation=tf.nn.tanh)
    kernel, _ = tf.trainable_variables()
    found, wanted = value([y, tf.tanh(tf.nn.conv1d(x, kernel, 1, "SAME"))])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (tf.layers.max_pooling2d, np.max),
        (tf.layers.average_pooling2d, np.mean),
    ],
)
def test_pooling(layer: Callable[..., Any], function: Callable[..., Any]) -> None:
    x = RNG.normal(size=(2, 4, 6, 3)).astype(np.float32)
    wanted = function(x.reshape(2, 2, 2, 3, 2, 3), axis=(2, 4))
    np.testing.assert_allclose(value(layer(x, 2, 2)), wanted, rtol=1e-5, atol=1e-6)


def test_pooling_of_sequences() -> None:
    x = np.array([[[1.0], [3.0], [2.0], [0.0]]], np.float32)
    highest = tf.layers.max_pooling1d(x, 2, 2)
    mean = tf.layers.average_pooling1d(x, [2], [2])
    assert [v.ravel().tolist() for v in value([highest, mean])] == [[3, 2], [2, 1]]


def test_flatten() -> None:
    x = tf.placeholder(tf.float32, [None, 2, 3])
    y = tf.layers.flatten(x)
    assert y.shape.as_list() == [None, 6]
    assert value(y, {x: np.zeros((5, 2, 3))}).shape == (5, 6)
    unknown = tf.placeholder(tf.float32, [None, None, 3])
    assert value(tf.layers.flatten(unknown), {unknown: X[None]}).shape == (1, 12)
    assert tf.layers.flatten(tf.zeros([3])).shape.as_list() == [3, 1]
    first = tf.layers.flatten(
        tf.constant(X.reshape(1, 3, 2, 2)), None, "channels_first"
    )
    assert value(first).tolist() == [X.reshape(3, 4).T.ravel().tolist()]


def test_dropout_only_in_training() -> None:
    x = tf.ones([1000])
    training = tf.placeholder_with_default(False, [])
    assert tf.layers.dropout(x, 0.5) is x
    y = tf.layers.dropout(x, 0.25, training=training)
    assert value(y).tolist() == [1.0] * 1000
    dropped = value(y, {training: True})
    assert 0.15 < np.mean(dropped == 0.0) < 0.35
    np.testing.assert_allclose(dropped[dropped > 0], 1 / 0.75, rtol=1e-6)


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_normalization(fed: bool, axis: int) -> None:
    x = RNG.normal(2.0, 3.0, size=(64, 5, 3)).astype(np.float32)
    training: Any = tf.placeholder(tf.bool, []) if fed else True
    y = tf.layers.batch_normalization(
        x, axis=axis, momentum=0.5, epsilon=0.0, training=training
    )
    update = tf.group(*tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    axes = (0, 1) if axis == -1 else (0, 2)
    mean, variance = tf.global_variables()[-2:]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        feeds = {training: True} if fed else {}
        normal, _ = session.run([y, update], feeds)
        np.testing.assert_allclose(normal.mean(axes), 0, atol=1e-5)
        np.testing.assert_allclose(normal.var(axes), 1, atol=1e-4)
        moved = 0.5 * x.mean(axes), 0.5 * (1 + x.var(axes))
        np.testing.assert_allclose(session.run(mean), moved[0], rtol=1e-4)
        np.testing.assert_allclose(session.run(variance), moved[1], rtol=1e-4)
        if fed:
            still, _ = session.run([y, update], {training: False})
            wide = [m if axis == -1 else m[:, None] for m in moved]
            wanted = (x - wide[0]) / np.sqrt(wide[1])
            np.testing.assert_allclose(still, wanted, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(session.run(mean), moved[0], rtol=1e-4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tf.layers.dense(tf.placeholder(tf.float32, [3, None]), 2),
        lambda: tf.layers.dense(tf.placeholder(tf.float32), 2),
        lambda: tf.layers.conv2d(tf.zeros([2, 3, 4]), 2, 3),
        lambda: tf.layers.conv2d(tf.zeros([2, 3, 4, 1]), 2, [3]),
        lambda: tf.layers.conv2d(tf.zeros([2, 3, 4, 1]), 2, 3, data_format="NHWC"),
        lambda: tf.layers.flatten(tf.placeholder(tf.float32)),
        lambda: tf.layers.batch_normalization(tf.zeros([2, 3]), renorm=True),
    ],
)
def test_misuse_of_a_layer_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError):
        call()


# -- losses --------------------------------------------------------------------

LABELS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.25, -2.0]], np.float32)


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Of softmax, one value per row."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return -np.sum(labels * np.log(shifted / shifted.sum(1, keepdims=True)), axis=1)


def test_losses_are_the_formulas() -> None:
    e = LOGITS - LABELS
    p = 1 / (1 + np.exp(-LOGITS))
    binary = -LABELS * np.log(p) - (1 - LABELS) * np.log(1 - p)
    huber = np.where(abs(e) <= 1, e * e / 2, abs(e) - 0.5)
    hinge = np.maximum(0, 1 - (2 * LABELS - 1) * LOGITS)
    cases = [
        (tf.losses.mean_squared_error, e * e),
        (tf.losses.absolute_difference, abs(e)),
        (tf.losses.huber_loss, huber),
        (tf.losses.hinge_loss, hinge),
        (tf.losses.sigmoid_cross_entropy, binary),
        (tf.losses.softmax_cross_entropy, cross_entropy(LABELS, LOGITS)),
    ]
    losses = [function(LABELS, LOGITS) for function, _ in cases]
    losses.append(tf.losses.log_loss(LABELS, p))
    losses.append(tf.losses.cosine_distance(LABELS, LOGITS, axis=1))
    losses.append(tf.losses.sparse_softmax_cross_entropy([0, 1], LOGITS))
    losses.append(tf.losses.sparse_softmax_cross_entropy([[0], [1]], LOGITS))
    wanted = [np.mean(w) for _, w in cases]
    wanted += [np.mean(binary), np.mean(1 - np.sum(LABELS * LOGITS, 1))]
    wanted += [np.mean(cross_entropy(LABELS, LOGITS))] * 2
    np.testing.assert_allclose(value(losses), wanted, rtol=1e-5)
    assert tf.losses.get_losses() == losses
    np.testing.assert_allclose(
        value(tf.losses.get_total_loss()), sum(wanted), rtol=1e-5
    )


def test_label_smoothing() -> None:
    soft = LABELS * 0.7 + 0.1
    found = tf.losses.softmax_cross_entropy(LABELS, LOGITS, label_smoothing=0.3)
    wanted = np.mean(cross_entropy(soft, LOGITS))
    assert float(value(found)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("reduction", "reduce"),
    [
        ("none", lambda v, w: v * w),
        ("weighted_sum", lambda v, w: (v * w).sum()),
        ("weighted_mean", lambda v, w: (v * w).sum() / (w + 0 * v).sum()),
        ("weighted_sum_over_batch_size", lambda v, w: (v * w).mean()),
        (
            "weighted_sum_by_nonzero_weights",
            lambda v, w: (v * w).sum() / np.count_nonzero(w + 0 * v),
        ),
    ],
)
@pytest.mark.parametrize(
    "weights", [2.0, np.float32([[2.0], [0.0]]), np.float32([[1, 0, 3], [0, 0, 1]])]
)
def test_reductions(reduction: str, reduce: Callable[..., Any], weights: Any) -> None:
    found = tf.losses.compute_weighted_loss(LOGITS, weights, reduction=reduction)
    wanted = reduce(LOGITS, np.asarray(weights))
    np.testing.assert_allclose(value(found), wanted, rtol=1e-5)


def test_weights_of_zero_give_zero() -> None:
    assert float(value(tf.losses.mean_squared_error(LABELS, LOGITS, 0.0))) == 0.0


def test_losses_have_gradients() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    loss = tf.losses.huber_loss(LABELS, x, delta=0.5)
    (slope,) = tf.gradients(loss, [x])
    wanted = np.clip(LOGITS - LABELS, -0.5, 0.5) / 6
    np.testing.assert_allclose(value(slope, {x: LOGITS}), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tf.losses.mean_squared_error(LABELS, LOGITS[:, :2]),
        lambda: tf.losses.mean_squared_error(None, LOGITS),
        lambda: tf.losses.mean_squared_error(LABELS, LOGITS, np.ones(4)),
        lambda: tf.losses.mean_squared_error(LABELS, LOGITS, reduction="other"),
        lambda: tf.losses.cosine_distance(LABELS, LOGITS),
        lambda: tf.losses.get_total_loss(),
    ],
)
def test_misuse_of_a_loss_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError):
        call()


def test_dropout_keeps_the_shape_where_the_rate_has_none() -> None:
    """TF1 programs feed placeholders that were made without a shape."""
    x = tf.placeholder(tf.float32, [None, 8])
    keep, training = tf.placeholder(tf.float32), tf.placeholder(tf.bool)
    y = tf.layers.dropout(tf.nn.dropout(x, keep), 0.5, training=training)
    assert y.shape.as_list() == [None, 8]
    z = tf.layers.dense(y, 2)
    feeds = {x: np.ones((3, 8)), keep: 0.5, training: True}
    assert value(z, feeds).shape == (3, 2)
