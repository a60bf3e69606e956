"""TensorFlow's op types of neural networks, and what builds each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagrad as tf

from ..graphlib.errors import GraphError
from ..graphlib.tensor import Tensor
from .nodes import Build, Node

__all__ = ["BUILDERS"]


# -- windows ---------------------------------------------------------------------------


def _padding(node: Node) -> Any:
    """What a convolution or pool pads: a word, or pairs in the order of the axes."""
    word = node.need("padding", str)
    explicit = node.attr("explicit_paddings", [])
    if word != "EXPLICIT":
        return word
    return [tuple(explicit[i : i + 2]) for i in range(0, len(explicit), 2)]


def _window(node: Node, rank: int) -> dict[str, Any]:
    """The attributes that convolutions share."""
    forms = {2: "NHWC", 3: "NDHWC"}
    return {
        "strides": node.need("strides", list),
        "padding": _padding(node),
        "data_format": node.attr("data_format", forms[rank]),
        "dilations": node.attr("dilations", [1] * (rank + 2)),
        "name": node.name,
    }


def _conv(build: Callable[..., Any], rank: int) -> Build:
    def conv(node: Node) -> Any:
        x, w = node.take(2)
        return build(x, w, **_window(node, rank))

    return conv


def _conv_to_input(node: Node) -> Any:
    """The gradient of a convolution to its input: what ``conv2d_transpose`` makes."""
    sizes, w, g = node.take(3)
    return tf.nn.conv2d_backprop_input(sizes, w, g, **_window(node, 2))


def _pool(build: Callable[..., Any], rank: int) -> Build:
    def pool(node: Node) -> Any:
        (x,) = node.take(1)
        form = node.attr("data_format", {2: "NHWC", 3: "NDHWC"}[rank])
        ksize, strides = node.need("ksize", list), node.need("strides", list)
        return build(x, ksize, strides, _padding(node), form, name=node.name)

    return pool


def _max_pool_v2(node: Node) -> Any:
    x, ksize, strides = node.take(3)
    if ksize.value is None or strides.value is None:
        raise GraphError("its windows are known only in a run")
    form = node.attr("data_format", "NHWC")
    window, step = ksize.value.tolist(), strides.value.tolist()
    return tf.nn.max_pool(x, window, step, _padding(node), form, name=node.name)


def _max_pool_with_argmax(node: Node) -> Any:
    (x,) = node.take(1)
    return tf.nn.max_pool_with_argmax(
        x,
        node.need("ksize", list),
        node.need("strides", list),
        _padding(node),
        Targmax=node.attr("Targmax", tf.int64),
        include_batch_in_index=node.attr("include_batch_in_index", False),
        name=node.name,
    )


# -- biases and normalisation ----------------------------------------------------------


def _bias_add(node: Node) -> Any:
    x, b = node.take(2)
    return tf.nn.bias_add(x, b, node.attr("data_format", "NHWC"), name=node.name)


def _fused_batch_norm(node: Node) -> Any:
    """y, mean and variance; outputs that only gradients read are not made here.

    Of a frozen one y alone is made where nothing reads the others.
    """
    x, scale, offset, mean, variance = node.take(5)
    epsilon = node.attr("epsilon", 1e-4)
    form = node.attr("data_format", "NHWC")
    node.expect("exponential_avg_factor", 1.0)
    if max(node.used, default=0) > 2:
        raise GraphError("outputs are read that only gradients have a use for")
    if node.attr("is_training", True):
        return tf.nn.fused_batch_norm(
            x, scale, offset, None, None, epsilon, form, name=node.name
        )
    if node.used <= {0} and x.dtype is scale.dtype and form in ("NHWC", "NDHWC"):
        return _normalized(x, mean, variance, offset, scale, epsilon, node.name)
    with tf.name_scope(node.name):
        return tf.nn.fused_batch_norm(
            x, scale, offset, mean, variance, epsilon, form, is_training=False
        )


def _global_norm(node: Node) -> Any:
    x, mean, variance, offset, scale = node.take(5)
    epsilon = node.need("variance_epsilon", float)
    scaled = node.need("scale_after_normalization", bool)
    return _normalized(
        x, mean, variance, offset, scale if scaled else None, epsilon, node.name
    )


def _normalized(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    offset: Tensor,
    scale: Tensor | None,
    epsilon: float,
    name: str,
) -> Tensor:
    """x * f + (offset - mean * f), f = scale / sqrt(variance + epsilon).

    What does not depend on x is constant in a frozen graph, and folded in its plans.
    """
    with tf.name_scope(name):
        factor = tf.rsqrt(variance + epsilon)
        if scale is not None:
            factor = factor * scale
        shift = offset - mean * factor
        return tf.add(x * factor, shift, name=name)


def _lrn(node: Node) -> Any:
    (x,) = node.take(1)
    return tf.nn.lrn(
        x,
        node.attr("depth_radius", 5),
        node.attr("bias", 1.0),
        node.attr("alpha", 1.0),
        node.attr("beta", 0.5),
        name=node.name,
    )


# -- losses: their second output is a gradient -----------------------------------------


def _cross_entropy(build: Callable[..., Any]) -> Build:
    def loss(node: Node) -> Any:
        logits, labels = node.take(2)
        if max(node.used, default=0) > 0:
            raise GraphError("its gradient is read: use dagrad.gradients")
        return build(labels=labels, logits=logits, name=node.name)

    return loss


BUILDERS: dict[str, Build] = {
    "AvgPool": _pool(tf.nn.avg_pool, 2),
    "AvgPool3D": _pool(tf.nn.avg_pool3d, 3),
    "BatchNormWithGlobalNormalization": _global_norm,
    "BiasAdd": _bias_add,
    "BiasAddV1": _bias_add,
    "Conv2D": _conv(tf.nn.conv2d, 2),
    "Conv2DBackpropInput": _conv_to_input,
    "Conv3D": _conv(tf.nn.conv3d, 3),
    "DepthwiseConv2dNative": _conv(tf.nn.depthwise_conv2d_native, 2),
    "FusedBatchNorm": _fused_batch_norm,
    "FusedBatchNormV2": _fused_batch_norm,
    "FusedBatchNormV3": _fused_batch_norm,
    "LRN": _lrn,
    "MaxPool": _pool(tf.nn.max_pool, 2),
    "MaxPool3D": _pool(tf.nn.max_pool3d, 3),
    "MaxPoolV2": _max_pool_v2,
    "MaxPoolWithArgmax": _max_pool_with_argmax,
    "SoftmaxCrossEntropyWithLogits": _cross_entropy(
        tf.nn.softmax_cross_entropy_with_logits_v2
    ),
    "SparseSoftmaxCrossEntropyWithLogits": _cross_entropy(
        tf.nn.sparse_softmax_cross_entropy_with_logits
    ),
}
