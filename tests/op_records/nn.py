"""Softmax, losses and normalisation against NumPy and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record
from scipy import special

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

RECORDS = SOFTMAXES
