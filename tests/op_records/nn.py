"""Softmax, losses and normalisation against NumPy and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record
from scipy import special

from dagrad.graphlib.gradients import gradients
from dagrad.ops import candidates, embedding, losses_nn, nn, normalization
from dagrad.ops import softmax as soft


def entropy(labels: Any, logits: Any, axis: int = -1) -> Any:
    return -np.sum(labels * special.log_softmax(logits, axis), axis)


def sparse(logits: Any, labels: Any) -> Any:
    rows = special.log_softmax(logits, -1)
    return -np.take_along_axis(rows, labels[..., None], -1)[..., 0]


def soft_grad(y: Any, g: Any) -> Any:
    return y * (g - np.sum(g * y, -1, keepdims=True))


ENTROPY = "SoftmaxCrossEntropyWithLogits"
SPARSE = "SparseSoftmaxCrossEntropyWithLogits"


def with_backprop(labels: Any, logits: Any) -> Any:
    return soft.softmax_cross_entropy_with_logits_v2(labels, logits).op.outputs


def both(labels: Any, logits: Any) -> Any:
    mass = labels.sum(-1, keepdims=True)
    back = mass * special.softmax(logits, -1) - labels
    return entropy(labels, logits), back


SOFTMAXES = [
    Record(
        ("Softmax", "SoftmaxGrad"),
        lambda x: soft.softmax(x),
        (Arg((3, 4)),),
        lambda x: special.softmax(x, -1),
        order=3,
    ),
    Record(
        ("Softmax", "SoftmaxGrad"),
        lambda x: soft.softmax(x, 1),
        (Arg((2, 3, 2)),),
        lambda x: special.softmax(x, 1),
        "middle",
    ),
    Record(
        ("SoftmaxGrad",),
        lambda y, g: soft._soft_grad(y, g, -1),
        (Arg((2, 3)), Arg((2, 3))),
        soft_grad,
    ),
    Record(
        ("LogSoftmax",),
        lambda x: soft.log_softmax(x, dim=-1),
        (Arg((3, 4)),),
        lambda x: special.log_softmax(x, -1),
        order=3,
    ),
    Record(
        ("LogSoftmax",),
        lambda x: soft.log_softmax(x, 0),
        (Arg((3, 2)),),
        lambda x: special.log_softmax(x, 0),
        "front",
    ),
    Record(
        (ENTROPY, "LogSoftmax", "Softmax", "SoftmaxGrad"),
        with_backprop,
        (Arg((3, 4), 0.1, 1.0), Arg((3, 4))),
        both,
        order=3,
    ),
    Record(
        (ENTROPY,),
        lambda t, x: soft.softmax_cross_entropy_with_logits(labels=t, logits=x, dim=1),
        (Arg((2, 3, 2), 0.1, 1.0, differentiable=False), Arg((2, 3, 2))),
        lambda t, x: entropy(t, x, 1),
        "middle",
        dynamic=False,
    ),
    Record(
        (SPARSE, "SoftmaxGrad"),
        lambda x, t: soft.sparse_softmax_cross_entropy_with_logits(labels=t, logits=x),
        (Arg((2, 3, 4)), Arg((2, 3), 0, 3, dtype="int32")),
        sparse,
        order=3,
    ),
    Record(
        (SPARSE, "SoftmaxGrad"),
        lambda x, t: (
            soft.sparse_softmax_cross_entropy_with_logits(labels=t, logits=x).op.outputs
        ),
        (Arg((3, 4)), Arg((3,), 0, 3, dtype="int64")),
        lambda x, t: (
            sparse(x, t),
            special.softmax(x, -1) - np.eye(4, dtype=x.dtype)[t],
        ),
        "backprop",
    ),
    Record(
        (ENTROPY, SPARSE),
        lambda t, x, i: [
            soft.softmax_cross_entropy_with_logits_v2(t, x),
            soft.sparse_softmax_cross_entropy_with_logits(labels=i, logits=x),
        ],
        (Arg((3, 4), 0.1, 1.0), Arg((3, 4)), Arg((3,), 0, 3, dtype="int32")),
        lambda t, x, i: (entropy(t, x), sparse(x, i)),
        "half",
        dtypes=("float16",),
    ),
]


def sigmoid_entropy(labels: Any, logits: Any) -> Any:
    return np.logaddexp(0, logits) - logits * labels


def weighted(labels: Any, logits: Any, weight: Any) -> Any:
    hit = weight * labels * np.logaddexp(0, -logits)
    return hit + (1 - labels) * np.logaddexp(0, logits)


def poisson(targets: Any, rates: Any) -> Any:
    z = np.where(targets > 1, targets, 1)
    stirling = z * np.log(z) - z + np.log(2 * np.pi * z) / 2
    loss = np.exp(rates) - rates * targets
    return loss + np.where(targets > 1, stirling, 0).astype(loss.dtype)


def bias_first(x: Any, b: Any) -> Any:
    return x + b.reshape(-1, 1, 1)


LOSSES = [
    Record(
        ("BiasAdd", "BiasAddGrad"),
        lambda x, b: nn.bias_add(x, b),
        (Arg((2, 3, 4)), Arg((4,))),
        lambda x, b: x + b,
    ),
    Record(
        ("BiasAdd", "BiasAddGrad"),
        lambda x, b: nn.bias_add(x, b, "NCHW"),
        (Arg((2, 3, 4, 2)), Arg((3,))),
        bias_first,
        "first",
    ),
    Record(
        ("BiasAdd",),
        nn.bias_add,
        (Arg((2, 3), dtype="int32"), Arg((3,), dtype="int32")),
        lambda x, b: x + b,
        "integers",
        dtypes=("float32",),
        order=0,
    ),
    Record(
        ("BiasAddGrad", "BiasAdd"),
        lambda g: nn.bias_add_grad(g),
        (Arg((4, 6, 3)),),
        lambda g: g.sum((0, 1)),
    ),
    Record(
        ("BiasAddGrad", "BiasAdd"),
        lambda g: nn.bias_add_grad(g),
        (Arg((24, 12, 3)),),
        lambda g: g.sum((0, 1)),
        "long",
        order=1,
    ),
    Record(
        ("BiasAddGrad", "BiasAdd"),
        lambda g: nn.bias_add_grad(g, "NCHW"),
        (Arg((2, 3, 2, 2)),),
        lambda g: g.sum((0, 2, 3)),
        "first",
    ),
    Record(
        ("BiasAdd",),
        lambda x, w, b: nn.relu_layer(x, w, b),
        (Arg((2, 3), 0.5, 1), Arg((3, 2), 0.5, 1), Arg((2,), 0, 1)),
        lambda x, w, b: np.maximum(x @ w + b, 0),
        "relu-layer",
    ),
    Record(
        ("L2Loss",),
        lambda t: losses_nn.l2_loss(t),
        (Arg((3, 4)),),
        lambda t: np.asarray(np.sum(t * t) / 2),
        order=3,
    ),
    Record(
        ("SigmoidCrossEntropyWithLogits",),
        lambda z, x: losses_nn.sigmoid_cross_entropy_with_logits(labels=z, logits=x),
        (Arg((3, 2), 0, 1), Arg((3, 2), -5, 5)),
        sigmoid_entropy,
        order=3,
    ),
    Record(
        ("Softplus",),
        losses_nn.weighted_cross_entropy_with_logits,
        (Arg((3, 2), 0, 1), Arg((3, 2), -5, 5), Arg((2,), 0.5, 3)),
        weighted,
        "weighted-entropy",
        order=3,
    ),
    Record(
        ("Exp", "Log"),
        lambda z, x: losses_nn.log_poisson_loss(z, x, True),
        (
            Arg((4,), sample=lambda rng, s, d: [0.2, 0.5, 1.7, 4.0]),
            Arg((4,)),
        ),
        poisson,
        "log-poisson",
    ),
    Record(
        ("Exp",),
        lambda z, x: losses_nn.log_poisson_loss(z, x),
        (Arg((4,), 0, 4), Arg((4,))),
        lambda z, x: np.exp(x) - x * z,
        "log-poisson-short",
    ),
]


# -- normalisation -------------------------------------------------------------------


def statistics(x: Any, first: bool) -> tuple[Any, Any]:
    axes = tuple(i for i in range(x.ndim) if i != (1 if first else x.ndim - 1))
    return x.mean(axes), x.var(axes)


def normal(x: Any, scale: Any, offset: Any, first: bool, epsilon: float = 1e-3) -> Any:
    wide = np.asarray(x, np.float64)
    m, v = statistics(wide, first)
    n = x.size // m.size
    spread = (lambda p: p.reshape(-1, *(1,) * (x.ndim - 2))) if first else (lambda p: p)
    y = (wide - spread(m)) / np.sqrt(spread(v) + epsilon)
    y = spread(scale) * y + spread(offset)
    return tuple(np.asarray(a, x.dtype) for a in (y, m, v * n / (n - 1)))


def fixed(x: Any, s: Any, b: Any, m: Any, v: Any) -> Any:
    wide = [p.reshape(-1, 1, 1) for p in (s, b, m, v)]
    y = wide[0] * (x - wide[2]) / np.sqrt(wide[3] + 1e-3) + wide[1]
    return y.astype(x.dtype), m, v


def all_four(x: Any, s: Any, b: Any) -> Any:
    return normalization.fused_batch_norm(x, s, b)[0].op.outputs


def with_deviation(x: Any, s: Any, b: Any) -> Any:
    _, v = statistics(np.asarray(x, np.float64), False)
    return (*normal(x, s, b, False), (1 / np.sqrt(v + 1e-3)).astype(x.dtype))


def norm_grad(g: Any, x: Any, s: Any, m: Any, r: Any) -> Any:
    attrs = {"epsilon": 1e-3, "data_format": "NHWC"}
    return normalization.create_many(normalization.NORM_GRAD, (g, x, s, m, r), attrs)


def norm_grad_formula(g: Any, x: Any, s: Any, m: Any, r: Any) -> Any:
    axes = (0, 1, 2)
    n = x.size // s.size
    away = (x - m) * r
    dscale = np.sum(g * away, axes)
    doffset = np.sum(g, axes)
    return s * r * (g - doffset / n - away * dscale / n), dscale, doffset


def neighbours(x: Any) -> Any:
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        near = x[..., max(0, c - 2) : c + 3]
        y[..., c] = x[..., c] / (1.5 + 0.3 * np.sum(near**2, -1)) ** 0.75
    return y


MAP = Arg((2, 2, 3, 2))
NORMS = [
    Record(
        ("FusedBatchNorm", "FusedBatchNormGrad"),
        lambda x, s, b: normalization.fused_batch_norm(x, s, b)[0],
        (MAP, Arg((2,)), Arg((2,))),
        lambda x, s, b: normal(x, s, b, False)[0],
        rtol=1e-5,
    ),
    Record(
        ("FusedBatchNorm", "FusedBatchNormGrad"),
        all_four,
        (MAP, Arg((2,)), Arg((2,))),
        with_deviation,
        "statistics",
        rtol=1e-5,
    ),
    Record(
        ("FusedBatchNorm", "FusedBatchNormGrad"),
        lambda x, s, b: normalization.fused_batch_norm(x, s, b, data_format="NCHW"),
        (Arg((2, 3, 2, 2)), Arg((3,)), Arg((3,))),
        lambda x, s, b: normal(x, s, b, True),
        "first",
        rtol=1e-5,
    ),
    Record(
        ("FusedBatchNormGrad",),
        norm_grad,
        (MAP, MAP, Arg((2,)), Arg((2,)), Arg((2,), 0.5, 2)),
        norm_grad_formula,
        rtol=1e-5,
    ),
    Record(
        ("Mul", "Add"),
        lambda x, s, b, m, v: normalization.fused_batch_norm(
            x, s, b, m, v, data_format="NCHW", is_training=False
        ),
        (
            Arg((2, 3, 2, 2)),
            Arg((3,)),
            Arg((3,)),
            Arg((3,)),
            Arg((3,), 0.5, 2),
        ),
        fixed,
        "batch-norm-inference",
        rtol=1e-5,
    ),
    Record(
        ("Mul",),
        lambda x, m, v, b, s: normalization.batch_normalization(x, m, v, b, s, 0.01),
        (Arg((3, 2)), Arg((2,)), Arg((2,), 0.5, 2), Arg((2,)), Arg((2,))),
        lambda x, m, v, b, s: s * (x - m) / np.sqrt(v + x.dtype.type(0.01)) + b,
        "batch-normalization",
        rtol=1e-5,
    ),
    Record(
        ("Mul",),
        lambda x, m, v: normalization.batch_norm_with_global_normalization(
            x, m, v, None, None, 0.01, False
        ),
        (Arg((3, 2)), Arg((2,)), Arg((2,), 0.5, 2)),
        lambda x, m, v: (x - m) / np.sqrt(v + x.dtype.type(0.01)),
        "global-normalization",
        rtol=1e-5,
    ),
    Record(
        ("Rsqrt", "Maximum"),
        lambda x: normalization.l2_normalize(x, 1),
        (Arg((3, 2, 2)),),
        lambda x: x / np.sqrt(np.sum(x * x, 1, keepdims=True)),
        "l2-normalize",
    ),
    Record(
        ("AvgPool", "AvgPoolGrad"),
        lambda x: normalization.lrn(x, 2, 1.5, 0.3, 0.75),
        (Arg((1, 2, 1, 7)),),
        neighbours,
        "local-response",
    ),
]


# -- counting, dropout, tables -------------------------------------------------------


def in_top(p: Any, t: Any, k: Any) -> Any:
    order = np.argsort(-p, axis=1, kind="stable")[:, : int(k)]
    return np.any(order == t[:, None], axis=1)


def kept_or_not(x: Any) -> Any:
    """Dropout's result over its input: the same whatever is drawn."""
    y = nn.dropout(x, rate=0.25)
    (slope,) = gradients(y, x)
    return y - slope * x


def lookup(strategy: str, **more: Any) -> Any:
    def build(a: Any, b: Any, ids: Any) -> Any:
        return embedding.embedding_lookup([a, b], ids, strategy, **more)

    return build


def two_tables(strategy: str) -> Any:
    def reference(a: Any, b: Any, ids: Any) -> Any:
        whole = np.concatenate([a, b])
        if strategy == "mod":
            whole = np.stack([a, np.concatenate([b, a[:1]])], 1).reshape(-1, 2)
        return whole[ids]

    return reference


def within(table: Any, ids: Any) -> Any:
    rows = table[ids]
    norms = np.sqrt(np.sum(rows**2, -1, keepdims=True))
    return rows * np.minimum(1, 1.5 / norms).astype(rows.dtype)


OTHERS = [
    Record(
        ("InTopKV2",),
        nn.in_top_k,
        (
            Arg((5, 4)),
            Arg((5,), -1, 4, dtype="int32"),
            Arg((), 2, 2, dtype="int32"),
        ),
        in_top,
        order=0,
    ),
    Record(
        ("Equal", "Mean"),
        nn.zero_fraction,
        (Arg((3, 4), 0, 1, dtype="int32"),),
        lambda x: np.float32(np.mean(x == 0)),
        "zero-fraction",
        dtypes=("float32",),
        order=0,
    ),
    Record(
        ("RandomUniform", "GreaterEqual"),
        kept_or_not,
        (Arg((4, 5)),),
        np.zeros_like,
        "dropout",
        order=0,
    ),
    Record(
        ("GatherV2",),
        lookup("mod"),
        (Arg((4, 2)), Arg((3, 2)), Arg((2, 3), 0, 6, dtype="int32")),
        two_tables("mod"),
        "embedding-mod",
        dynamic=False,
    ),
    Record(
        ("GatherV2",),
        lookup("div"),
        (Arg((4, 2)), Arg((3, 2)), Arg((5,), 0, 6, dtype="int64")),
        two_tables("div"),
        "embedding-div",
        dynamic=False,
    ),
    Record(
        ("GatherV2", "ScatterRows"),
        lambda t, i: embedding.embedding_lookup(t, i, max_norm=1.5),
        (Arg((4, 2)), Arg((5,), 0, 3, dtype="int32")),
        within,
        "embedding-norm",
    ),
]

# -- candidate sampling --------------------------------------------------------------


SAMPLED = (np.array([4, 0, 2]), np.float32([[0.7], [0.9]]), np.float32([0.2, 0.9, 0.5]))


def candidate_logits(w: Any, b: Any, x: Any, labels: Any, hits: bool) -> Any:
    ids, true_count, counts = SAMPLED
    near = np.sum(x * w[labels[:, 0]], -1, keepdims=True) + b[labels]
    far = x @ w[ids].T + b[ids] - np.log(counts).astype(x.dtype)
    if hits:
        far[labels == ids] = np.finfo(x.dtype).min
    return np.concatenate([near - np.log(true_count).astype(x.dtype), far], 1)


def nce(w: Any, b: Any, x: Any, labels: Any) -> Any:
    logits = candidate_logits(w, b, x, labels, False)
    return np.sum(np.logaddexp(0, logits), 1) - logits[:, 0]


def sampled_softmax(w: Any, b: Any, x: Any, labels: Any) -> Any:
    logits = candidate_logits(w, b, x, labels, True)
    return -special.log_softmax(logits, 1)[:, 0]


def draws(sampler: Any, unique: bool) -> Any:
    def build(true: Any) -> Any:
        ids, expected, counts = sampler(true, 2, 4, unique, 6)
        return [ids // 6, expected * 0, counts * 0]

    return build


def no_draws(true: Any) -> Any:
    nothing = np.zeros(4, np.float32)
    return np.zeros(4, np.int64), np.zeros(true.shape, np.float32), nothing


CANDIDATES = [
    *(
        Record(
            (kind,),
            draws(sampler, unique),
            (Arg((3, 2), 0, 5, dtype="int64"),),
            no_draws,
            "unique" if unique else "free",
            dtypes=("float32",),
            order=0,
        )
        for kind, sampler in (
            ("LogUniformCandidateSampler", candidates.log_uniform_candidate_sampler),
            ("UniformCandidateSampler", candidates.uniform_candidate_sampler),
        )
        for unique in (False, True)
    ),
    *(
        Record(
            ("GatherV2",),
            lambda w, b, x, t, loss=loss: loss(w, b, t, x, 3, 5, 1, SAMPLED),
            (
                Arg((5, 3)),
                Arg((5,)),
                Arg((2, 3)),
                Arg((2, 1), 0, 4, dtype="int32"),
            ),
            reference,
            reference.__name__,
            rtol=1e-5,
        )
        for loss, reference in (
            (candidates.nce_loss, nce),
            (candidates.sampled_softmax_loss, sampled_softmax),
        )
    ),
]

RECORDS = [*SOFTMAXES, *LOSSES, *NORMS, *OTHERS, *CANDIDATES]
