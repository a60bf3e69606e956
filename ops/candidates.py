"""Candidate sampling: losses over many classes that look at a few of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import float32, int64
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operators import TABLE
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create_many, inexact, scope
from .core import stop_gradient
from .embedding import embedding_lookup
from .extremes import reduce_any
from .joining import concat
from .linalg import matmul
from .logical import equal, where_v2
from .losses_nn import sigmoid_cross_entropy_with_logits
from .random import seed_attr
from .reduction import reduce_sum
from .softmax import softmax_cross_entropy_with_logits_v2
from .transcendental import log
from .views import expand_dims, reshape

__all__ = [
    "log_uniform_candidate_sampler",
    "nce_loss",
    "sampled_softmax_loss",
    "uniform_candidate_sampler",
]

Attrs = Mapping[str, Any]


# -- samplers -------------------------------------------------------------------------


def _log_uniform_draw(rng: Any, n: int, range_max: int) -> Any:
    drawn = np.exp(rng.random(n) * math.log(range_max + 1)).astype(np.int64) - 1
    return np.minimum(drawn, range_max - 1)


def _log_uniform_chance(classes: Any, range_max: int) -> Any:
    return np.log1p(1 / (classes + 1.0)) / math.log(range_max + 1)


def _uniform_draw(rng: Any, n: int, range_max: int) -> Any:
    return rng.integers(0, range_max, n)


def _uniform_chance(classes: Any, range_max: int) -> Any:
    return np.full(classes.shape, 1 / range_max)


def _distinct(draw: Any, rng: Any, n: int, range_max: int) -> tuple[Any, int]:
    """The first n different draws, and how many draws that took."""
    drawn = draw(rng, 2 * n, range_max)
    while True:
        _, first = np.unique(drawn, return_index=True)
        if first.size >= n:
            first = np.sort(first)[:n]
            return drawn[first], int(first[-1]) + 1 if n else 0
        drawn = np.concatenate([drawn, draw(rng, drawn.size, range_max)])


def _sampler(type: str, draw: Callable[..., Any], chance: Callable[..., Any]) -> OpDef:
    def kernel(
        xp: Any,
        rng: Any,
        true_classes: Any,
        *,
        num_sampled: int,
        unique: bool,
        range_max: int,
        seed: Any,
        out: Any = None,
    ) -> Any:
        if true_classes.size and (
            true_classes.min() < 0 or true_classes.max() >= range_max
        ):
            raise InvalidArgumentError(f"a true class is outside [0, {range_max})")
        if unique:
            sampled, tries = _distinct(draw, rng, num_sampled, range_max)
        else:
            sampled, tries = draw(rng, num_sampled, range_max), num_sampled

        def expected(classes: Any) -> Any:
            p = chance(classes, range_max)
            counts = -np.expm1(tries * np.log1p(-p)) if unique else tries * p
            return counts.astype(np.float32)

        return sampled.astype(np.int64), expected(true_classes), expected(sampled)

    def infer(inputs: Sequence[Any], attrs: Attrs) -> Any:
        true = inputs[0]
        if not true.dtype.is_integer:
            raise DTypeError(f"true_classes must be integers, not {true.dtype.name}")
        if true.dims is not None and len(true.dims) != 2:
            raise ShapeError(
                f"true_classes must be (batch, num_true), not {text(true.dims)}"
            )
        n = (attrs["num_sampled"],)
        return ((int64, n), (float32, true.dims or (None, None)), (float32, n))

    return OpDef(
        type,
        infer=infer,
        kernel=kernel,
        inputs=("true_classes",),
        effect="random",
        flops=lambda ins, outs, attrs: 20 * attrs["num_sampled"],
        doc="classes drawn at random, and how often true and drawn ones are expected",
    )


LOG_UNIFORM = _sampler(
    "LogUniformCandidateSampler", _log_uniform_draw, _log_uniform_chance
)
UNIFORM = _sampler("UniformCandidateSampler", _uniform_draw, _uniform_chance)


def _sample(
    opdef: OpDef,
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None,
    name: str | None,
) -> tuple[Tensor, ...]:
    if range_max < 1 or num_sampled < 0 or (unique and num_sampled > range_max):
        raise InvalidArgumentError(
            f"{num_sampled} {'different ' if unique else ''}classes cannot be drawn "
            f"from {range_max}"
        )
    t = as_tensor(true_classes)
    if t.dims is not None and len(t.dims) == 2 and t.dims[1] not in (None, num_true):
        raise ShapeError(f"true_classes {text(t.dims)} does not hold {num_true} a row")
    attrs = {
        "num_sampled": int(num_sampled),
        "unique": bool(unique),
        "range_max": int(range_max),
        "seed": seed_attr(seed),
    }
    return create_many(opdef, (t,), attrs, name)


def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """Classes drawn with P(c) = (log(c + 2) - log(c + 1)) / log(range_max + 1): for
    classes numbered from the most frequent on (Zipf's law).

    Args:
        true_classes: (batch, num_true) integers in [0, range_max).
        num_sampled: how many classes to draw, for the whole batch.
        unique: draw until that many are different.

    Returns:
        The sampled classes (num_sampled,), int64; how often each true class is
        expected among them (batch, num_true), float32; the same for each sampled
        class (num_sampled,).  With ``unique`` this is 1 - (1 - P(c))**tries for the
        number of draws that were needed, as in TF: an approximation.

    Raises:
        InvalidArgumentError: more different classes than there are; at run time, a
            true class out of range.
    """
    return _sample(
        LOG_UNIFORM, true_classes, num_true, num_sampled, unique, range_max, seed, name
    )


def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """As :func:`log_uniform_candidate_sampler`, every class alike."""
    return _sample(
        UNIFORM, true_classes, num_true, num_sampled, unique, range_max, seed, name
    )


# -- losses ---------------------------------------------------------------------------


def _sampled_logits(
    weights: Any,
    biases: Any,
    labels: Tensor,
    inputs: Tensor,
    sampled_values: Any,
    num_true: int,
    remove_accidental_hits: bool,
    strategy: str,
) -> tuple[Tensor, Tensor]:
    """Logits (batch, num_true + num_sampled) and the labels that go with them."""
    sampled, true_count, sampled_count = (stop_gradient(t) for t in sampled_values)
    mul, sub, add = TABLE["mul"], TABLE["sub"], TABLE["add"]
    true = TABLE["cast"](labels, sampled.dtype)
    # Rows of the true and of the sampled classes are looked up on their own: their
    # gradients stay rows.
    true_w = embedding_lookup(weights, true, strategy)
    sampled_w = embedding_lookup(weights, sampled, strategy)
    true_b = embedding_lookup(biases, true, strategy)
    sampled_b = embedding_lookup(biases, sampled, strategy)
    near = add(reduce_sum(mul(expand_dims(inputs, 1), true_w), -1), true_b)
    far = add(matmul(inputs, sampled_w, transpose_b=True), sampled_b)
    near = sub(near, log(TABLE["cast"](true_count, near.dtype)))
    far = sub(far, log(TABLE["cast"](sampled_count, far.dtype)))
    if remove_accidental_hits:
        hits = reduce_any(equal(expand_dims(true, 2), reshape(sampled, [1, 1, -1])), 1)
        far = where_v2(hits, float(np.finfo(far.dtype.dtype).min), far)
    share = mul(TABLE["ones_like"](near), 1.0 / num_true)
    targets = concat([share, TABLE["zeros_like"](far)], 1)
    return concat([near, far], 1), targets


def _labels(labels: Any, num_true: int) -> Tensor:
    t = as_tensor(labels)
    if not t.dtype.is_integer:
        raise DTypeError(f"labels must be integers, not {t.dtype.name}")
    if t.dims is not None and len(t.dims) == 1 and num_true == 1:
        return expand_dims(t, 1)
    return t


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Tensor:
    """Noise-contrastive estimation: the logistic loss of telling each row's true
    classes from classes that were drawn at random.

    Args:
        weights: (num_classes, d), or a list of tables (see embedding_lookup).
        biases: (num_classes,).
        labels: (batch, num_true) integers.
        inputs: (batch, d).
        num_sampled: how many classes to draw for the batch.
        sampled_values: what a candidate sampler returned (default:
            :func:`log_uniform_candidate_sampler`, different classes).
        remove_accidental_hits: leave out drawn classes that are true.

    Returns:
        (batch,).

    Reference:
        Gutmann & Hyvarinen, AISTATS 2010; Mnih & Teh, ICML 2012.
    """
    with scope(name, "nce_loss", inputs, labels):
        x, true = inexact(inputs), _labels(labels, num_true)
        values = sampled_values or log_uniform_candidate_sampler(
            true, num_true, num_sampled, True, num_classes
        )
        logits, targets = _sampled_logits(
            weights,
            biases,
            true,
            x,
            values,
            num_true,
            remove_accidental_hits,
            partition_strategy,
        )
        losses = sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
        return reduce_sum(losses, 1)


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
    seed: int | None = None,
) -> Tensor:
    """Softmax cross entropy over the true classes and some drawn at random; for
    training only.  Arguments are those of :func:`nce_loss`.

    Reference:
        Jean, Cho, Memisevic, Bengio, ACL 2015 (arXiv:1412.2007).
    """
    with scope(name, "sampled_softmax_loss", inputs, labels):
        x, true = inexact(inputs), _labels(labels, num_true)
        values = sampled_values or log_uniform_candidate_sampler(
            true, num_true, num_sampled, True, num_classes, seed
        )
        logits, targets = _sampled_logits(
            weights,
            biases,
            true,
            x,
            values,
            num_true,
            remove_accidental_hits,
            partition_strategy,
        )
        return softmax_cross_entropy_with_logits_v2(stop_gradient(targets), logits)
