"""Convolutions, pools, normalisations, losses, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave


def with_gradients(tf: Any, y: Any, *xs: Any) -> Any:
    """y and the gradients of sum(y * wave) by each x."""
    shape = tuple(y.get_shape().as_list())
    grads = tf.gradients(y, list(xs), grad_ys=[tf.constant(wave(*shape, k=5))])
    return {"y": y, **{f"d{i}": g for i, g in enumerate(grads)}}


def window(tf: Any, build: Any, *shapes: Any) -> Any:
    """A case of an op on waves of the given shapes."""
    xs = [tf.constant(wave(*s, k=i + 1)) for i, s in enumerate(shapes)]
    return with_gradients(tf, build(*xs), *xs)


@case
def conv_same_stride_1(tf: Any, feed: Any) -> Any:
    def build(x: Any, w: Any) -> Any:
        return tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")

    return window(tf, build, (1, 4, 5, 2), (2, 3, 2, 2))


@case
def conv_same_stride_2_is_asymmetric(tf: Any, feed: Any) -> Any:
    def build(x: Any, w: Any) -> Any:
        return tf.nn.conv2d(x, w, [1, 2, 2, 1], "SAME")

    return window(tf, build, (1, 6, 5, 1), (3, 2, 1, 2))


@case
def conv_same_stride_over_kernel(tf: Any, feed: Any) -> Any:
    def build(x: Any, w: Any) -> Any:
        return tf.nn.conv2d(x, w, strides=[1, 3, 2, 1], padding="SAME")

    return window(tf, build, (1, 7, 6, 1), (2, 1, 1, 2))


@case
def conv_valid(tf: Any, feed: Any) -> Any:
    def build(x: Any, w: Any) -> Any:
        return tf.nn.conv2d(x, w, [1, 2, 1, 1], "VALID")

    return window(tf, build, (2, 5, 4, 1), (2, 3, 1, 2))


@case
def conv_dilated(tf: Any, feed: Any) -> Any:
    x, w = tf.constant(wave(1, 6, 6, 1)), tf.constant(wave(2, 2, 1, 2))
    return {
        "dilations": tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME", dilations=[1, 2, 3, 1]),
        "atrous": tf.nn.atrous_conv2d(x, w, 2, "VALID"),
        "convolution": tf.nn.convolution(x, w, "SAME", dilation_rate=[2, 2]),
        "strides": tf.nn.convolution(x, w, "VALID", strides=[2, 1]),
    }


@case
def conv_explicit_padding(tf: Any, feed: Any) -> Any:
    def build(x: Any, w: Any) -> Any:
        pads = [[0, 0], [2, 0], [1, 1], [0, 0]]
        return tf.nn.conv2d(x, w, [1, 1, 2, 1], pads)

    return window(tf, build, (1, 4, 4, 1), (2, 3, 1, 1))


@case
def conv_1d_and_3d(tf: Any, feed: Any) -> Any:
    one = window(tf, lambda x, w: tf.nn.conv1d(x, w, 2, "SAME"), (2, 6, 2), (3, 2, 2))
    three = window(
        tf,
        lambda x, w: tf.nn.conv3d(x, w, [1, 2, 1, 1, 1], "SAME"),
        (1, 4, 3, 2, 1),
        (3, 2, 2, 1, 1),
    )
    return {**one, **{f"three_{k}": v for k, v in three.items()}}


@case
def conv_transposed(tf: Any, feed: Any) -> Any:
    def same(x: Any, w: Any) -> Any:
        return tf.nn.conv2d_transpose(x, w, [1, 5, 6, 2], [1, 2, 2, 1])

    def valid(x: Any, w: Any) -> Any:
        return tf.nn.conv2d_transpose(x, w, [1, 7, 8, 2], [1, 2, 2, 1], "VALID")

    a = window(tf, same, (1, 3, 3, 1), (3, 3, 2, 1))
    b = window(tf, valid, (1, 3, 3, 1), (3, 3, 2, 1))
    return {**a, **{f"valid_{k}": v for k, v in b.items()}}


@case
def conv_depthwise(tf: Any, feed: Any) -> Any:
    def build(x: Any, w: Any) -> Any:
        return tf.nn.depthwise_conv2d(x, w, [1, 2, 2, 1], "SAME")

    return window(tf, build, (1, 5, 4, 2), (3, 2, 2, 2))


@case
def conv_separable(tf: Any, feed: Any) -> Any:
    def build(x: Any, d: Any, p: Any) -> Any:
        return tf.nn.separable_conv2d(x, d, p, [1, 1, 1, 1], "VALID")

    return window(tf, build, (1, 4, 4, 2), (2, 2, 2, 1), (1, 1, 2, 3))


@case
def pool_max_same(tf: Any, feed: Any) -> Any:
    def build(x: Any) -> Any:
        return tf.nn.max_pool(x, [1, 3, 2, 1], [1, 2, 2, 1], "SAME")

    return window(tf, build, (1, 6, 5, 2))


@case
def pool_average_same(tf: Any, feed: Any) -> Any:
    def build(x: Any) -> Any:
        return tf.nn.avg_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], "SAME")

    return window(tf, build, (1, 6, 5, 2))


@case
def pool_valid(tf: Any, feed: Any) -> Any:
    a = window(
        tf,
        lambda x: tf.nn.avg_pool(x, [1, 2, 2, 1], [1, 2, 1, 1], "VALID"),
        (1, 5, 4, 1),
    )
    b = window(
        tf,
        lambda x: tf.nn.max_pool(x, [1, 2, 2, 1], [1, 1, 2, 1], "VALID"),
        (1, 5, 4, 1),
    )
    return {**a, **{f"max_{k}": v for k, v in b.items()}}


@case
def pool_max_ties(tf: Any, feed: Any) -> Any:
    x = tf.constant(
        np.array([1, 1, 1, 1, 0, 2, 2, 0, 1], np.float32).reshape(1, 3, 3, 1)
    )
    y = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 1, 1, 1], "VALID")
    values, where = tf.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    found = with_gradients(tf, y, x)
    return {**found, "values": values, "where": where}


@case
def lrn_and_gradient(tf: Any, feed: Any) -> Any:
    def build(x: Any) -> Any:
        return tf.nn.lrn(x, 2, bias=1.5, alpha=0.3, beta=0.75)

    found = window(tf, build, (1, 2, 2, 6))
    found["default"] = tf.nn.local_response_normalization(wave(1, 1, 1, 12))
    return found


@case
def fused_batch_norm_training(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3, 2, 2))
    scale, offset = tf.constant([1.5, 0.5]), tf.constant([0.1, -0.2])
    y, mean, var = tf.nn.fused_batch_norm(x, scale, offset, epsilon=0.01)
    return {**with_gradients(tf, y, x, scale, offset), "mean": mean, "var": var}


@case
def fused_batch_norm_inference(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3, 2, 2))
    scale, offset = tf.constant([1.5, 0.5]), tf.constant([0.1, -0.2])
    mean, var = tf.constant([0.3, 0.2]), tf.constant([1.1, 0.4])
    y, m, v = tf.nn.fused_batch_norm(
        x, scale, offset, mean, var, epsilon=0.01, is_training=False
    )
    return {**with_gradients(tf, y, x, scale, offset), "mean": m, "var": v}


@case
def batch_normalization(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(4, 3))
    mean, var = tf.nn.moments(x, [0])
    y = tf.nn.batch_normalization(x, mean, var, tf.ones([3]), 2 * tf.ones([3]), 1e-3)
    plain = tf.nn.batch_normalization(x, mean, var, None, None, 1e-3)
    return {**with_gradients(tf, y, x), "plain": plain}


@case
def softmax_family(tf: Any, feed: Any) -> Any:
    x = tf.constant(np.concatenate([wave(2, 4), [[1e4, 0, -1e4, 1e4]]]).astype("f"))
    return {
        "softmax": tf.nn.softmax(x),
        "axis": tf.nn.softmax(x, 0),
        "dim": tf.nn.softmax(x, dim=0),
        "log": tf.nn.log_softmax(x),
        "vector": tf.nn.softmax(x[0]),
        "three": tf.nn.softmax(tf.reshape(x, [3, 2, 2]), axis=1),
    }


@case
def softmax_cross_entropy(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3, 4))
    labels = tf.nn.softmax(tf.constant(wave(3, 4, k=2)))
    loss = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=x)
    old = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=x)
    found = with_gradients(tf, loss, x, labels)
    found["old"] = old
    found["old_x"], found["old_labels"] = tf.gradients(old, [x, labels])
    return found


@case
def softmax_cross_entropy_unnormalised(tf: Any, feed: Any) -> Any:
    x, labels = tf.constant(wave(2, 3)), tf.constant([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    loss = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=x)
    return with_gradients(tf, loss, x)


@case
def sparse_softmax_cross_entropy(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3, 4))
    y = tf.placeholder(tf.int64, [None])
    feed[y] = [0, 3, 1]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x)
    (d,) = tf.gradients(loss, [x])
    (dd,) = tf.gradients(tf.reduce_sum(d * wave(3, 4, k=3)), [x])
    return {"y": loss, "d": d, "dd": dd}


@case
def sigmoid_cross_entropy(tf: Any, feed: Any) -> Any:
    x = tf.constant([-200.0, -1.0, 0.0, 1.0, 200.0])
    z = tf.constant([0.0, 1.0, 0.5, 0.2, 1.0])
    nn = tf.nn
    loss = nn.sigmoid_cross_entropy_with_logits(labels=z, logits=x)
    weighted = nn.weighted_cross_entropy_with_logits(z, x, 3.0)
    found = with_gradients(tf, loss, x, z)
    found["weighted"] = weighted
    found["poisson"] = nn.log_poisson_loss(z + 2, x / 100, True)
    return found


@case
def dropout_scales(tf: Any, feed: Any) -> Any:
    x = tf.ones([2000])
    kept = tf.nn.dropout(x, keep_prob=0.25, seed=3)
    rated = tf.nn.dropout(x, rate=0.25, seed=3)
    same = tf.nn.dropout(x, 1.0)
    return {
        "kept": tf.unique(tf.sort(kept))[0],
        "rated": tf.unique(tf.sort(rated))[0],
        "share": tf.round(10 * tf.reduce_mean(tf.cast(kept > 0, tf.float32))),
        "same": same[:3],
        "gradient": tf.reduce_sum(tf.gradients(kept, [x])[0] - kept),
    }


@case
def losses_module(tf: Any, feed: Any) -> Any:
    y, p = tf.constant(wave(3, 2)), tf.constant(wave(3, 2, k=2))
    w = tf.constant([[1.0], [0.0], [2.0]])
    one = tf.constant([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    mod = tf.losses
    return {
        "mse": mod.mean_squared_error(y, p),
        "weighted": mod.mean_squared_error(y, p, w),
        "scalar": mod.mean_squared_error(y, p, 0.5),
        "sum": mod.mean_squared_error(y, p, w, reduction=mod.Reduction.SUM),
        "none": mod.mean_squared_error(y, p, w, reduction="none", loss_collection=None),
        "mean": mod.mean_squared_error(y, p, w, reduction=mod.Reduction.MEAN),
        "batch": mod.absolute_difference(
            y, p, w, reduction=mod.Reduction.SUM_OVER_BATCH_SIZE
        ),
        "hinge": mod.hinge_loss(one, p),
        "huber": mod.huber_loss(y, p, delta=0.7),
        "log": mod.log_loss(one, tf.sigmoid(p)),
        "cosine": mod.cosine_distance(y, p, axis=1),
        "softmax": mod.softmax_cross_entropy(one, p, label_smoothing=0.1),
        "sparse": mod.sparse_softmax_cross_entropy([1, 0, 1], p, [1.0, 0.0, 1.0]),
        "sigmoid": mod.sigmoid_cross_entropy(one, p, label_smoothing=0.2),
        "total": mod.get_total_loss(),
        "nothing": mod.absolute_difference(y, p, tf.zeros([3, 1])),
    }


@case
def activations(tf: Any, feed: Any) -> Any:
    x = tf.constant([-3.0, -1.0, 0.0, 0.5, 6.0, 7.0])
    names = "relu relu6 elu selu softplus softsign leaky_relu swish tanh sigmoid"
    found = {}
    for name in names.split():
        y = getattr(tf.nn, name)(x)
        found[name] = y
        (found[f"{name}_d"],) = tf.gradients(y, [x])
    found["leak"] = tf.nn.leaky_relu(x, 0.5)
    return found
