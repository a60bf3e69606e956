"""Layers' functions: convolutions, pooling, activations, losses (``tf.nn``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily

if TYPE_CHECKING:
    from .ops.activations import (
        crelu,
        elu,
        gelu,
        leaky_relu,
        relu,
        relu6,
        selu,
        sigmoid,
        softplus,
        softsign,
        swish,
    )
    from .ops.activations import swish as silu
    from .ops.blocks import depth_to_space, space_to_batch, space_to_depth
    from .ops.candidates import (
        log_uniform_candidate_sampler,
        nce_loss,
        sampled_softmax_loss,
        uniform_candidate_sampler,
    )
    from .ops.conv import (
        atrous_conv2d,
        atrous_conv2d_transpose,
        conv1d,
        conv1d_transpose,
        conv2d,
        conv2d_backprop_filter,
        conv2d_backprop_input,
        conv2d_transpose,
        conv3d,
        conv3d_backprop_filter,
        conv3d_transpose,
        convolution,
        depthwise_conv2d,
        depthwise_conv2d_native,
        depthwise_conv2d_native_backprop_filter,
        depthwise_conv2d_native_backprop_input,
        separable_conv2d,
    )
    from .ops.embedding import embedding_lookup
    from .ops.losses_nn import (
        l2_loss,
        log_poisson_loss,
        sigmoid_cross_entropy_with_logits,
        weighted_cross_entropy_with_logits,
    )
    from .ops.nn import (
        bias_add,
        dropout,
        in_top_k,
        relu_layer,
        xw_plus_b,
        zero_fraction,
    )
    from .ops.normalization import (
        batch_norm_with_global_normalization,
        batch_normalization,
        fused_batch_norm,
        l2_normalize,
        local_response_normalization,
        lrn,
    )
    from .ops.pool import (
        avg_pool,
        avg_pool1d,
        avg_pool2d,
        avg_pool3d,
        max_pool,
        max_pool1d,
        max_pool2d,
        max_pool3d,
        max_pool_with_argmax,
        pool,
    )
    from .ops.softmax import (
        log_softmax,
        softmax,
        softmax_cross_entropy_with_logits,
        softmax_cross_entropy_with_logits_v2,
        sparse_softmax_cross_entropy_with_logits,
    )
    from .ops.sorting import top_k
    from .ops.statistics import moments, weighted_moments
    from .ops.transcendental import tanh
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "ops.activations": (
                "crelu elu gelu leaky_relu relu relu6 selu sigmoid silu=swish softplus "
                "softsign swish"
            ),
            "ops.blocks": "depth_to_space space_to_batch space_to_depth",
            "ops.candidates": (
                "log_uniform_candidate_sampler nce_loss sampled_softmax_loss "
                "uniform_candidate_sampler"
            ),
            "ops.conv": (
                "atrous_conv2d atrous_conv2d_transpose conv1d conv1d_transpose conv2d "
                "conv2d_backprop_filter conv2d_backprop_input conv2d_transpose conv3d "
                "conv3d_backprop_filter conv3d_transpose convolution depthwise_conv2d "
                "depthwise_conv2d_native depthwise_conv2d_native_backprop_filter "
                "depthwise_conv2d_native_backprop_input separable_conv2d"
            ),
            "ops.embedding": "embedding_lookup",
            "ops.losses_nn": (
                "l2_loss log_poisson_loss sigmoid_cross_entropy_with_logits "
                "weighted_cross_entropy_with_logits"
            ),
            "ops.nn": "bias_add dropout in_top_k relu_layer xw_plus_b zero_fraction",
            "ops.normalization": (
                "batch_norm_with_global_normalization batch_normalization "
                "fused_batch_norm l2_normalize local_response_normalization lrn"
            ),
            "ops.pool": (
                "avg_pool avg_pool1d avg_pool2d avg_pool3d max_pool max_pool1d "
                "max_pool2d max_pool3d max_pool_with_argmax pool"
            ),
            "ops.softmax": (
                "log_softmax softmax softmax_cross_entropy_with_logits "
                "softmax_cross_entropy_with_logits_v2 "
                "sparse_softmax_cross_entropy_with_logits"
            ),
            "ops.sorting": "top_k",
            "ops.statistics": "moments weighted_moments",
            "ops.transcendental": "tanh",
        },
    )

# fmt: off
__all__ = [
    "atrous_conv2d", "atrous_conv2d_transpose", "avg_pool", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "batch_norm_with_global_normalization", "batch_normalization",
    "bias_add", "conv1d", "conv1d_transpose", "conv2d", "conv2d_backprop_filter",
    "conv2d_backprop_input", "conv2d_transpose", "conv3d", "conv3d_backprop_filter",
    "conv3d_transpose", "convolution", "crelu", "depth_to_space", "depthwise_conv2d",
    "depthwise_conv2d_native", "depthwise_conv2d_native_backprop_filter",
    "depthwise_conv2d_native_backprop_input", "dropout", "elu", "embedding_lookup",
    "fused_batch_norm", "gelu", "in_top_k", "l2_loss", "l2_normalize", "leaky_relu",
    "local_response_normalization", "log_poisson_loss", "log_softmax",
    "log_uniform_candidate_sampler", "lrn", "max_pool", "max_pool1d", "max_pool2d",
    "max_pool3d", "max_pool_with_argmax", "moments", "nce_loss", "pool", "relu",
    "relu6", "relu_layer", "sampled_softmax_loss", "selu", "separable_conv2d",
    "sigmoid", "sigmoid_cross_entropy_with_logits", "silu", "softmax",
    "softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits_v2",
    "softplus", "softsign", "space_to_batch", "space_to_depth",
    "sparse_softmax_cross_entropy_with_logits", "swish", "tanh", "top_k",
    "uniform_candidate_sampler", "weighted_cross_entropy_with_logits",
    "weighted_moments", "xw_plus_b", "zero_fraction",
]
# fmt: on
