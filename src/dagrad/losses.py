"""Losses: a value per element, weighted and reduced, kept in a collection."""

from __future__ import annotations

from typing import Any

from .graphlib.dtypes import float32
from .graphlib.errors import GraphError, ShapeError
from .graphlib.graph import get_default_graph
from .graphlib.keys import GraphKeys
from .graphlib.shapes import compatible, text
from .graphlib.tensor import Tensor, as_tensor
from .ops._build import constant, scope
from .ops.activations import relu
from .ops.core import add_n, broadcast_to, cast, shape, size, stop_gradient
from .ops.elementwise import div_no_nan, square, squared_difference
from .ops.logical import not_equal
from .ops.losses_nn import sigmoid_cross_entropy_with_logits
from .ops.reduction import reduce_sum
from .ops.rounding import abs_, minimum
from .ops.softmax import (
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
)
from .ops.transcendental import log
from .ops.views import expand_dims, squeeze

__all__ = [
    "Reduction",
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "huber_loss",
    "log_loss",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]


class Reduction:
    """How a loss is reduced to a scalar."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_OVER_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """The reductions."""
        return (
            cls.NONE,
            cls.SUM,
            cls.MEAN,
            cls.SUM_OVER_BATCH_SIZE,
            cls.SUM_BY_NONZERO_WEIGHTS,
        )

    @classmethod
    def validate(cls, key: str) -> None:
        """Raises GraphError unless ``key`` is a reduction."""
        if key not in cls.all():
            raise GraphError(f"{key!r} is no reduction: {', '.join(cls.all())}")


_DEFAULT = Reduction.SUM_BY_NONZERO_WEIGHTS


# -- the collection ------------------------------------------------------------


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Put ``loss`` in a collection (in none where that is None)."""
    if loss_collection:
        get_default_graph().add_to_collection(loss_collection, loss)


def get_losses(
    scope: str | None = None, loss_collection: str = GraphKeys.LOSSES
) -> list[Any]:
    """The losses of the default graph (whose name matches ``scope``)."""
    return get_default_graph().get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """The penalties of the default graph (whose name matches ``scope``)."""
    return get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> Tensor:
    """The sum of the penalties; 0 where there are none."""
    found = get_regularization_losses(scope)
    return add_n(found, name=name) if found else constant(0.0, name=name)


def get_total_loss(
    add_regularization_losses: bool = True,
    name: str = "total_loss",
    scope: str | None = None,
) -> Tensor:
    """The sum of the losses (and penalties) of the default graph.

    Raises:
        GraphError: there are none.
    """
    found = get_losses(scope)
    if add_regularization_losses:
        found = found + get_regularization_losses(scope)
    if not found:
        raise GraphError("the default graph has no losses to add up")
    return add_n(found, name=name)


# -- weighting -----------------------------------------------------------------


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """losses * weights, reduced.

    Args:
        losses: (...), numbers.
        weights: a scalar, or of the rank of ``losses`` with every size 1 or equal.
        scope: the name of the operations.
        loss_collection: where the result is put; None: nowhere.
        reduction: one of :class:`Reduction`.  The default divides the sum by the
            number of elements with a weight other than zero (no such: 0).

    Raises:
        GraphError: an unknown reduction.
        ShapeError: the weights do not fit.
    """
    Reduction.validate(reduction)
    with _scope(scope, "weighted_loss", losses, weights):
        values = as_tensor(losses)
        dtype = values.dtype
        values = values if dtype.is_inexact else cast(values, float32)
        scale = cast(_ranked(as_tensor(weights), values), values.dtype)
        _check_weights(scale, values)
        result = values if _is_one(scale) else values * scale
        if reduction != Reduction.NONE:
            total = reduce_sum(result)
            if reduction == Reduction.MEAN:
                everywhere = broadcast_to(scale, shape(values))
                total = div_no_nan(total, reduce_sum(everywhere), "value")
            elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
                total = div_no_nan(total, cast(size(values), values.dtype), "value")
            elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
                total = div_no_nan(total, _count(scale, values), "value")
            result = total
        result = cast(result, dtype)
    add_loss(result, loss_collection)
    return result


def _scope(name: str | None, default: str, *values: Any) -> Any:
    return scope(name, default, *values)


def _is_one(t: Tensor) -> bool:
    return t.dims == () and t.value is not None and t.value.item() == 1.0


def _ranked(weights: Tensor, values: Tensor) -> Tensor:
    """``weights`` with the rank of ``values`` where they differ by one axis of 1."""
    if weights.dims is None or values.dims is None or not weights.dims:
        return weights
    extra = len(weights.dims) - len(values.dims)
    if extra == 1 and weights.dims[-1] == 1:
        return squeeze(weights, [-1])
    return expand_dims(weights, -1) if extra == -1 else weights


def _check_weights(weights: Tensor, values: Tensor) -> None:
    w, v = weights.dims, values.dims
    if w is None or v is None or not w:
        return
    if len(w) != len(v) or any(a not in (None, 1, b) and b for a, b in zip(w, v)):
        raise ShapeError(
            f"weights of shape {text(w)} do not fit losses of shape {text(v)}: they "
            "must be a scalar, or of the same rank with every size 1 or equal"
        )


def _count(weights: Tensor, values: Tensor) -> Tensor:
    """The number of elements of ``values`` whose weight is not zero."""
    if weights.dims == () and weights.value is not None:
        count = cast(size(values), values.dtype)
        return count if weights.value.item() else count * 0.0
    nonzero = cast(not_equal(weights, 0.0), values.dtype)
    return stop_gradient(reduce_sum(broadcast_to(nonzero, shape(values))))


def _both(labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    """The predictions, and the labels in their dtype; the shapes must fit."""
    if labels is None or predictions is None:
        raise GraphError("labels and predictions are both needed")
    p = as_tensor(predictions)
    p = p if p.dtype.is_inexact else cast(p, float32)
    y = cast(labels, p.dtype)
    if not compatible(p.dims, y.dims):
        raise ShapeError(
            f"labels of shape {text(y.dims)} do not fit predictions of shape "
            f"{text(p.dims)}"
        )
    return y, p


# -- regression ----------------------------------------------------------------


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """(predictions - labels)**2, weighted and reduced.

    Args:
        labels: (...), numbers.
        predictions: (...), of the same shape.
        weights, scope, loss_collection, reduction: see
            :func:`compute_weighted_loss`.

    Raises:
        ShapeError: the shapes do not fit.
    """
    with _scope(scope, "mean_squared_error", predictions, labels, weights) as scope:
        y, p = _both(labels, predictions)
        values = squared_difference(p, y)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """|predictions - labels|, weighted and reduced.

    Arguments as in :func:`mean_squared_error`.
    """
    with _scope(scope, "absolute_difference", predictions, labels, weights) as scope:
        y, p = _both(labels, predictions)
        values = abs_(p - y)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """e**2 / 2 where |e| <= delta, else delta * |e| - delta**2 / 2; e the difference.

    Arguments as in :func:`mean_squared_error`.

    Reference:
        Huber, Robust estimation of a location parameter, 1964.
    """
    with _scope(scope, "huber_loss", predictions, labels, weights) as scope:
        y, p = _both(labels, predictions)
        error = abs_(p - y)
        near = minimum(error, delta)
        values = 0.5 * square(near) + delta * (error - near)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
    dim: int | None = None,
) -> Tensor:
    """1 - sum(labels * predictions) along ``axis``; both must have unit length.

    Other arguments as in :func:`mean_squared_error`; ``dim`` is an older name of
    ``axis``.

    Raises:
        GraphError: neither ``axis`` nor ``dim`` is given.
    """
    axis = dim if axis is None else axis
    if axis is None:
        raise GraphError("cosine_distance needs an axis")
    with _scope(scope, "cosine_distance_loss", predictions, labels, weights) as scope:
        y, p = _both(labels, predictions)
        values = 1.0 - reduce_sum(p * y, axis=axis, keepdims=True)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


# -- classification ------------------------------------------------------------


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-07,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """-labels * log(p + epsilon) - (1 - labels) * log(1 - p + epsilon).

    Other arguments as in :func:`mean_squared_error`; p are probabilities.
    """
    with _scope(scope, "log_loss", predictions, labels, weights) as scope:
        y, p = _both(labels, predictions)
        values = -y * log(p + epsilon) - (1.0 - y) * log(1.0 - p + epsilon)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """max(0, 1 - s * logits), s = 2 * labels - 1 for labels 0 and 1.

    Other arguments as in :func:`mean_squared_error`.
    """
    with _scope(scope, "hinge_loss", logits, labels, weights) as scope:
        y, p = _both(labels, logits)
        values = relu(1.0 - (2.0 * y - 1.0) * p)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """Cross entropy of sigmoid(logits), element by element.

    Args:
        multi_class_labels: (batch, classes), in 0..1.
        logits: (batch, classes).
        label_smoothing: the share by which labels are moved towards 1/2.
        weights, scope, loss_collection, reduction: see
            :func:`compute_weighted_loss`.

    Raises:
        ShapeError: the shapes do not fit.
    """
    with _scope(
        scope, "sigmoid_cross_entropy_loss", logits, multi_class_labels, weights
    ) as scope:
        y, p = _both(multi_class_labels, logits)
        if label_smoothing > 0:
            y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
        values = sigmoid_cross_entropy_with_logits(labels=y, logits=p)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """Cross entropy of softmax(logits), one value per row.

    Args:
        onehot_labels: (batch, classes), rows of probabilities; held constant.
        logits: (batch, classes).
        label_smoothing: the share by which labels are moved towards 1 / classes.
        weights: a scalar or (batch,).
        scope, loss_collection, reduction: see :func:`compute_weighted_loss`.

    Raises:
        ShapeError: the shapes do not fit.
    """
    with _scope(
        scope, "softmax_cross_entropy_loss", logits, onehot_labels, weights
    ) as scope:
        y, p = _both(onehot_labels, logits)
        if label_smoothing > 0:
            classes = cast(shape(y)[1], p.dtype)
            y = y * (1.0 - label_smoothing) + label_smoothing / classes
        values = softmax_cross_entropy_with_logits_v2(labels=stop_gradient(y), logits=p)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """Cross entropy of softmax(logits) with the classes' numbers as labels.

    Args:
        labels: (batch,) or (batch, 1), integers in 0..classes-1.
        logits: (batch, classes).
        weights: a scalar or (batch,).
        scope, loss_collection, reduction: see :func:`compute_weighted_loss`.

    Raises:
        ShapeError: the shapes do not fit.
    """
    with _scope(
        scope, "sparse_softmax_cross_entropy_loss", logits, labels, weights
    ) as scope:
        p, y = as_tensor(logits), as_tensor(labels)
        if p.dims is not None and y.dims is not None and len(y.dims) == len(p.dims):
            y = squeeze(y, [-1])
        values = sparse_softmax_cross_entropy_with_logits(labels=y, logits=p)
        return compute_weighted_loss(values, weights, scope, loss_collection, reduction)
