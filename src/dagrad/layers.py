"""Layers: variables and the operations on them in one call (``tf.layers``).

Variables are named and shared as ``variable_scope`` does: the second call with one
name needs ``reuse=True``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graphlib.errors import GraphError, InvalidArgumentError, ShapeError
from .graphlib.graph import get_default_graph
from .graphlib.keys import GraphKeys
from .graphlib.tensor import Tensor, as_tensor
from .ops import nn as ops_nn
from .ops._build import scope as op_scope
from .ops.conv import convolution
from .ops.core import broadcast_to, cast, shape
from .ops.einsum import tensordot
from .ops.initializers import Ones, Zeros
from .ops.linalg import matmul
from .ops.logical import where
from .ops.normalization import batch_normalization as normalize
from .ops.pool import pool
from .ops.state import assign_sub
from .ops.statistics import moments
from .ops.variable_scope import get_variable, variable_scope
from .ops.views import expand_dims, reshape, transpose

__all__ = [
    "average_pooling1d",
    "average_pooling2d",
    "batch_normalization",
    "conv1d",
    "conv2d",
    "dense",
    "dropout",
    "flatten",
    "max_pooling1d",
    "max_pooling2d",
]

Function = Callable[[Any], Any]
_CHANNELS = {
    "channels_last": {1: "NWC", 2: "NHWC"},
    "channels_first": {1: "NCW", 2: "NCHW"},
}


def _format(data_format: str, rank: int) -> str:
    try:
        return _CHANNELS[data_format][rank]
    except KeyError:
        raise GraphError(
            f"data_format must be channels_last or channels_first, not {data_format!r}"
        ) from None


def _per_axis(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """One number for all axes, or one for each."""
    if isinstance(value, (list, tuple)):
        if len(value) != rank:
            raise ShapeError(f"{what} {value} must have {rank} entries")
        return tuple(int(v) for v in value)
    return (int(value),) * rank


def _size(x: Tensor, axis: int, who: str) -> int:
    """A size that variables depend on."""
    size = None if x.dims is None else x.dims[axis]
    if size is None:
        raise ShapeError(f"{who}: axis {axis} of {x!r} must be known")
    return size


def _ranked(inputs: Any, rank: int, who: str) -> Tensor:
    x = as_tensor(inputs)
    if x.dims is None or len(x.dims) != rank:
        raise ShapeError(f"{who}: inputs of rank {rank} are needed, not {x!r}")
    return x


def _finish(y: Any, activation: Any, activity_regularizer: Any) -> Any:
    """The activation, and the penalty on what the layer gives."""
    y = y if activation is None else activation(y)
    if activity_regularizer is not None:
        get_default_graph().add_to_collection(
            GraphKeys.REGULARIZATION_LOSSES, activity_regularizer(y)
        )
    return y


# -- with weights --------------------------------------------------------------


def dense(
    inputs: Any,
    units: int,
    activation: Function | None = None,
    use_bias: bool = True,
    kernel_initializer: Any = None,
    bias_initializer: Any = Zeros(),  # noqa: B008
    kernel_regularizer: Function | None = None,
    bias_regularizer: Function | None = None,
    activity_regularizer: Function | None = None,
    kernel_constraint: Function | None = None,
    bias_constraint: Function | None = None,
    trainable: bool = True,
    name: str | None = None,
    reuse: Any = None,
) -> Any:
    """activation(inputs @ kernel + bias).

    Args:
        inputs: (..., m), floating; m must be known.
        units: n.
        activation: a function (default: none).
        use_bias: whether there is a bias (n,).
        kernel_initializer: of the kernel (m, n) (default: Glorot's uniform).
        bias_initializer: of the bias.
        kernel_regularizer, bias_regularizer, activity_regularizer: functions to
            penalties, which join REGULARIZATION_LOSSES.
        kernel_constraint, bias_constraint: applied after each training step.
        trainable: whether the variables are trained.
        name: the scope (default "dense", made unique).
        reuse: see :func:`variable_scope`.

    Returns:
        (..., n), of the dtype of ``inputs``.

    Raises:
        ShapeError: m is not known.
    """
    x = as_tensor(inputs)
    m = _size(x, -1, "dense")
    with variable_scope(name, "dense", [x], reuse=reuse):
        kernel = get_variable(
            "kernel",
            [m, units],
            x.dtype,
            kernel_initializer,
            kernel_regularizer,
            trainable,
            constraint=kernel_constraint,
        )
        if len(x.dims or ()) == 2:
            y = matmul(x, kernel)
        else:
            y = tensordot(x, kernel, [[len(x.dims or ()) - 1], [0]])
        if use_bias:
            bias = get_variable(
                "bias",
                [units],
                x.dtype,
                bias_initializer,
                bias_regularizer,
                trainable,
                constraint=bias_constraint,
            )
            y = ops_nn.bias_add(y, bias) if len(x.dims or ()) > 1 else y + bias
        return _finish(y, activation, activity_regularizer)


def _conv(
    who: str,
    rank: int,
    inputs: Any,
    filters: int,
    kernel_size: Any,
    strides: Any,
    padding: str,
    data_format: str,
    dilation_rate: Any,
    options: dict[str, Any],
) -> Any:
    x = _ranked(inputs, rank + 2, who)
    layout = _format(data_format, rank)
    channels = _size(x, layout.index("C"), who)
    sizes = _per_axis(kernel_size, rank, "kernel_size")
    with variable_scope(options["name"], who, [x], reuse=options["reuse"]):
        kernel = get_variable(
            "kernel",
            [*sizes, channels, filters],
            x.dtype,
            options["kernel_initializer"],
            options["kernel_regularizer"],
            options["trainable"],
            constraint=options["kernel_constraint"],
        )
        y = convolution(
            x,
            kernel,
            padding.upper(),
            _per_axis(strides, rank, "strides"),
            _per_axis(dilation_rate, rank, "dilation_rate"),
            data_format=layout,
        )
        if options["use_bias"]:
            bias = get_variable(
                "bias",
                [filters],
                x.dtype,
                options["bias_initializer"],
                options["bias_regularizer"],
                options["trainable"],
                constraint=options["bias_constraint"],
            )
            if layout.endswith("C"):
                y = ops_nn.bias_add(y, bias)
            else:
                y = y + reshape(bias, [filters] + [1] * rank)
        return _finish(y, options["activation"], options["activity_regularizer"])


def conv1d(
    inputs: Any,
    filters: int,
    kernel_size: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = 1,
    activation: Function | None = None,
    use_bias: bool = True,
    kernel_initializer: Any = None,
    bias_initializer: Any = Zeros(),  # noqa: B008
    kernel_regularizer: Function | None = None,
    bias_regularizer: Function | None = None,
    activity_regularizer: Function | None = None,
    kernel_constraint: Function | None = None,
    bias_constraint: Function | None = None,
    trainable: bool = True,
    name: str | None = None,
    reuse: Any = None,
) -> Any:
    """A convolution of sequences: inputs (batch, width, channels).

    Arguments as in :func:`conv2d`.
    """
    options = dict(locals())
    return _conv(
        "conv1d",
        1,
        inputs,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        options,
    )


def conv2d(
    inputs: Any,
    filters: int,
    kernel_size: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = (1, 1),
    activation: Function | None = None,
    use_bias: bool = True,
    kernel_initializer: Any = None,
    bias_initializer: Any = Zeros(),  # noqa: B008
    kernel_regularizer: Function | None = None,
    bias_regularizer: Function | None = None,
    activity_regularizer: Function | None = None,
    kernel_constraint: Function | None = None,
    bias_constraint: Function | None = None,
    trainable: bool = True,
    name: str | None = None,
    reuse: Any = None,
) -> Any:
    """activation(convolution of inputs with a kernel + bias).

    Args:
        inputs: (batch, height, width, channels), or (batch, channels, height,
            width) with ``data_format="channels_first"``; channels must be known.
        filters: the channels of the result.
        kernel_size: height and width of the kernel, or one number for both.
        strides: likewise.
        padding: ``"valid"`` or ``"same"``.
        data_format: see ``inputs``.
        dilation_rate: as ``strides``; the distance of neighbours under the kernel.
        activation, use_bias, kernel_initializer, bias_initializer,
            kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, trainable, name, reuse: see
            :func:`dense`.

    Raises:
        ShapeError: another rank, or the channels are not known.
    """
    options = dict(locals())
    return _conv(
        "conv2d",
        2,
        inputs,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        options,
    )


def batch_normalization(
    inputs: Any,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 0.001,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Any = Zeros(),  # noqa: B008
    gamma_initializer: Any = Ones(),  # noqa: B008
    moving_mean_initializer: Any = Zeros(),  # noqa: B008
    moving_variance_initializer: Any = Ones(),  # noqa: B008
    beta_regularizer: Function | None = None,
    gamma_regularizer: Function | None = None,
    beta_constraint: Function | None = None,
    gamma_constraint: Function | None = None,
    training: Any = False,
    trainable: bool = True,
    name: str | None = None,
    reuse: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_momentum: float = 0.99,
    fused: bool | None = None,
    virtual_batch_size: int | None = None,
    adjustment: Any = None,
) -> Any:
    """gamma * (inputs - mean) / sqrt(variance + epsilon) + beta, per channel.

    In training the mean and variance are the batch's, and their moving averages
    follow when the operations in the collection UPDATE_OPS run; else they are the
    moving averages.

    Args:
        inputs: (..., channels), floating; channels must be known.
        axis: where the channels lie.
        momentum: the share of the moving averages that is kept.
        epsilon: added to the variance.
        center: whether there is beta.
        scale: whether there is gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer,
            moving_variance_initializer: initial values.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: see
            :func:`dense`.
        training: a bool, or a bool scalar tensor.
        trainable: whether beta and gamma are trained.
        name: the scope (default "batch_normalization", made unique).
        reuse: see :func:`variable_scope`.
        renorm, renorm_clipping, renorm_momentum, virtual_batch_size, adjustment:
            not offered; only their defaults are taken.
        fused: accepted for TF1 programs.

    Raises:
        ShapeError: the channels are not known.
        InvalidArgumentError: an argument that is not offered.

    Reference:
        Ioffe & Szegedy, Batch normalization, ICML 2015.
    """
    if renorm or virtual_batch_size is not None or adjustment is not None:
        raise InvalidArgumentError(
            "batch_normalization: renorm, virtual_batch_size and adjustment are not "
            "offered"
        )
    x = as_tensor(inputs)
    if x.dims is None:
        raise ShapeError(f"batch_normalization: the rank of {x!r} must be known")
    rank = len(x.dims)
    channels = _size(x, axis, "batch_normalization")
    at = axis % rank
    others = [i for i in range(rank) if i != at]

    def spread(v: Any) -> Any:
        return v if at == rank - 1 else reshape(v, [channels] + [1] * (rank - 1 - at))

    with variable_scope(name, "batch_normalization", [x], reuse=reuse):

        def variable(name: str, initial: Any, trained: bool, *more: Any) -> Any:
            regularizer, constraint = more or (None, None)
            return get_variable(
                name,
                [channels],
                x.dtype,
                initial,
                regularizer,
                trained,
                constraint=constraint,
            )

        gamma = beta = None
        if scale:
            more = (gamma_regularizer, gamma_constraint)
            gamma = variable("gamma", gamma_initializer, trainable, *more)
        if center:
            more = (beta_regularizer, beta_constraint)
            beta = variable("beta", beta_initializer, trainable, *more)
        moving = [
            variable("moving_mean", moving_mean_initializer, False),
            variable("moving_variance", moving_variance_initializer, False),
        ]
        fixed = training if isinstance(training, (bool, int)) else None
        used: list[Any] = [as_tensor(v) for v in moving]
        if fixed is None or fixed:
            batch = moments(x, others)
            rate: Any = 1.0 - momentum
            if fixed is None:
                flag = as_tensor(training)
                rate = cast(flag, x.dtype) * rate
                used = [where(_like(flag, b), b, u) for b, u in zip(batch, used)]
            else:
                used = list(batch)
            for v, b in zip(moving, batch):
                step = assign_sub(v, (v - b) * rate)
                get_default_graph().add_to_collection(GraphKeys.UPDATE_OPS, step)
        return normalize(
            x,
            spread(used[0]),
            spread(used[1]),
            None if beta is None else spread(beta),
            None if gamma is None else spread(gamma),
            epsilon,
        )


def _like(flag: Tensor, value: Tensor) -> Any:
    """A scalar condition in the shape of ``value``, as TF1's ``where`` needs it."""
    return broadcast_to(flag, shape(value))


# -- without weights -----------------------------------------------------------


def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: int | None = None,
    training: Any = False,
    name: str | None = None,
) -> Any:
    """In training, inputs / (1 - rate) with probability 1 - rate, else 0.

    Args:
        inputs: floating.
        rate: the share that is dropped; a number or a scalar tensor.
        noise_shape: see :func:`dagrad.nn.dropout`.
        seed: of the draws.
        training: a bool, or a bool scalar tensor; outside training the result is
            ``inputs``.
        name: the scope of the operations.
    """
    x = as_tensor(inputs)
    with op_scope(name, "dropout", x):
        if isinstance(training, (bool, int)):
            if not training:
                return x
        else:
            rate = cast(rate, x.dtype) * cast(training, x.dtype)
        return ops_nn.dropout(x, noise_shape=noise_shape, seed=seed, rate=rate)


def flatten(
    inputs: Any, name: str | None = None, data_format: str = "channels_last"
) -> Any:
    """inputs (batch, ...) as (batch, product of the rest).

    Args:
        inputs: of known rank, at least 1.
        name: the scope of the operations.
        data_format: with ``"channels_first"`` the channels are put last first.

    Raises:
        ShapeError: the rank is not known.
    """
    x = as_tensor(inputs)
    if not x.dims:
        raise ShapeError(f"flatten: a batch of known rank is needed, not {x!r}")
    with op_scope(name, "flatten", x):
        if data_format == "channels_first" and len(x.dims) > 2:
            x = transpose(x, [0, *range(2, len(x.dims)), 1])
        dims = x.dims or ()
        if len(dims) == 1:
            return expand_dims(x, 1)
        if None in dims[1:]:
            if dims[0] is None:
                return reshape(x, [shape(x)[0], -1])
            return reshape(x, [dims[0], -1])
        size = 1
        for d in dims[1:]:
            size *= d or 0
        # Of two unknown sizes the batch's is the one to leave open; 0 / 0 is not.
        first: Any = -1 if size and dims[0] is None else dims[0]
        return reshape(x, [shape(x)[0] if first is None else first, size])


def _pooled(
    who: str,
    kind: str,
    rank: int,
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str,
    data_format: str,
    name: str | None,
) -> Any:
    x = _ranked(inputs, rank + 2, who)
    layout = _format(data_format, rank)
    with op_scope(name, who, x):
        return pool(
            x,
            _per_axis(pool_size, rank, "pool_size"),
            kind,
            padding.upper(),
            strides=_per_axis(strides, rank, "strides"),
            data_format=layout,
        )


def max_pooling1d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Any:
    """The maximum in each window of (batch, width, channels).

    Arguments as in :func:`max_pooling2d`.
    """
    arguments = (inputs, pool_size, strides, padding, data_format, name)
    return _pooled("max_pooling1d", "MAX", 1, *arguments)


def max_pooling2d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Any:
    """The maximum in each window of (batch, height, width, channels).

    Args:
        inputs: of rank 4; see :func:`conv2d` for ``data_format``.
        pool_size: height and width of the windows, or one number for both.
        strides: likewise.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        name: the scope of the operation.

    Raises:
        ShapeError: another rank.
    """
    arguments = (inputs, pool_size, strides, padding, data_format, name)
    return _pooled("max_pooling2d", "MAX", 2, *arguments)


def average_pooling1d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Any:
    """The mean of each window of (batch, width, channels).

    Arguments as in :func:`max_pooling2d`.
    """
    arguments = (inputs, pool_size, strides, padding, data_format, name)
    return _pooled("average_pooling1d", "AVG", 1, *arguments)


def average_pooling2d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Any:
    """The mean of each window of (batch, height, width, channels).

    Arguments as in :func:`max_pooling2d`.
    """
    arguments = (inputs, pool_size, strides, padding, data_format, name)
    return _pooled("average_pooling2d", "AVG", 2, *arguments)
