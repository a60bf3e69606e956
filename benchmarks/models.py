"""The models of the training benchmarks, written once for every library.

A loss is a function of ``ops`` (a library's functions under common names, see
peers.py), parameters and inputs; parameters and inputs are NumPy arrays here.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np


class Model(NamedTuple):
    """A loss ``f(ops, params, *inputs)``, and where it starts."""

    name: str
    loss: Any
    params: list[Any]
    inputs: list[Any]


# -- multilayer perceptron ---------------------------------------------------

SIZES = (784, 256, 128, 10)
BATCH = 128


def mlp_logits(ops: Any, params: Any, x: Any) -> Any:
    """An MLP with relu."""
    h = x
    for i in range(0, len(params), 2):
        h = h @ params[i] + params[i + 1]
        if i + 2 < len(params):
            h = ops.relu(h)
    return h


def mlp_loss(ops: Any, params: Any, x: Any, labels: Any) -> Any:
    """Mean cross entropy of an MLP with relu."""
    return ops.cross_entropy(mlp_logits(ops, params, x), labels)


def mlp() -> Model:
    """784-256-128-10, batch 128."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, SIZES[0])).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[rng.integers(0, 10, BATCH)]
    params = []
    for m, n in itertools.pairwise(SIZES):
        params.append((rng.standard_normal((m, n)) / math.sqrt(m)).astype(np.float32))
        params.append(np.zeros(n, np.float32))
    return Model("MLP step", mlp_loss, params, [x, labels])


def inference() -> Model:
    """The logits of that network for one example."""
    _, _, params, (x, _) = mlp()
    return Model("MLP, batch 1", mlp_logits, params, [x[:1]])


# -- unrolled LSTM ------------------------------------------------------------

STEPS, UNITS, FEATURES, LSTM_BATCH = 28, 64, 28, 64


def lstm_cell(ops: Any, params: Any, state: Any, x: Any) -> Any:
    """The next (h, c)."""
    (h, c), (w, b) = state, params
    z = ops.concat([x, h], 1) @ w + b
    i, j, f, o = ops.split4(z)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(j)
    return ops.sigmoid(o) * ops.tanh(c), c


def lstm_loss(ops: Any, params: Any, x: Any) -> Any:
    """Sum of squares of the last state; ``x``: (steps, batch, features)."""
    h = c = ops.constant(np.zeros((LSTM_BATCH, UNITS), np.float32))
    for t in range(STEPS):
        h, c = lstm_cell(ops, params, (h, c), x[t])
    return ops.sum(h * h)


def looped_lstm_loss(ops: Any, params: Any, x: Any) -> Any:
    """The same by the library's loop."""
    start = ops.constant(np.zeros((LSTM_BATCH, UNITS), np.float32))
    h, _ = ops.fold(lambda s, v: lstm_cell(ops, params, s, v), x, (start, start))
    return ops.sum(h * h)


def lstm() -> Model:
    """28 steps, 64 units, batch 64."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((STEPS, LSTM_BATCH, FEATURES)).astype(np.float32)
    w = (rng.standard_normal((FEATURES + UNITS, 4 * UNITS)) * 0.1).astype(np.float32)
    return Model("LSTM", lstm_loss, [w, np.zeros(4 * UNITS, np.float32)], [x])


def looped_lstm() -> Model:
    """The same network in a loop."""
    return lstm()._replace(name="LSTM in a loop", loss=looped_lstm_loss)


# -- transformer block -----------------------------------------------------------

T_BATCH, TOKENS, WIDTH, HEADS = 8, 64, 128, 4


def block_loss(ops: Any, params: Any, x: Any) -> Any:
    """Mean square of one block's output: attention and MLP, with layer norms."""
    wq, wk, wv, wo, w1, w2 = params

    def norm(v: Any) -> Any:
        centred = v - ops.mean(v)
        return centred * ops.rsqrt(ops.mean(centred * centred) + 1e-5)

    def linear(v: Any, w: Any, width: int) -> Any:
        flat = ops.reshape(v, (T_BATCH * TOKENS, -1)) @ w
        return ops.reshape(flat, (T_BATCH, TOKENS, width))

    def heads(v: Any) -> Any:
        v = ops.reshape(v, (T_BATCH, TOKENS, HEADS, WIDTH // HEADS))
        return ops.transpose(v, (0, 2, 1, 3))

    n = norm(x)
    q, k, v = (heads(linear(n, w, WIDTH)) for w in (wq, wk, wv))
    scores = q @ ops.transpose(k, (0, 1, 3, 2)) * (WIDTH // HEADS) ** -0.5
    mixed = ops.transpose(ops.softmax(scores) @ v, (0, 2, 1, 3))
    y = x + linear(ops.reshape(mixed, (T_BATCH, TOKENS, WIDTH)), wo, WIDTH)
    y = y + linear(ops.relu(linear(norm(y), w1, 4 * WIDTH)), w2, WIDTH)
    return ops.sum(y * y) * (1.0 / (T_BATCH * TOKENS * WIDTH))


def block() -> Model:
    """Batch 8, 64 tokens, width 128, 4 heads."""
    rng = np.random.default_rng(2)

    def w(*shape: int) -> Any:
        return (rng.standard_normal(shape) / math.sqrt(shape[0])).astype(np.float32)

    x = rng.standard_normal((T_BATCH, TOKENS, WIDTH)).astype(np.float32)
    weights = [w(WIDTH, WIDTH) for _ in range(4)]
    weights += [w(WIDTH, 4 * WIDTH), w(4 * WIDTH, WIDTH)]
    return Model("transformer block", block_loss, weights, [x])


# -- elementwise: memory traffic and allocation, next to no arithmetic --------------

ROUNDS = 10


def wide_loss(ops: Any, params: Any, x: Any) -> Any:
    """30 elementwise operations and a sum."""
    (v,) = params
    for _ in range(ROUNDS):
        v = (v * x + 0.25) * 0.9
    return ops.sum(v)


def wide(n: int) -> Model:
    """30 elementwise operations on ``n`` elements."""
    rng = np.random.default_rng(3)
    v, x = (rng.random(n, np.float32) for _ in range(2))
    return Model(f"30 elementwise ops on {n:,}", wide_loss, [v], [x])


def formula_loss(ops: Any, params: Any, x: Any) -> Any:
    """The sum of tanh(a x + b) sigmoid(x) - exp(-x x)."""
    # The gradient is that of an array: a, b are numbers.
    (shift,) = params
    v = x + shift
    return ops.sum(ops.tanh(v * 1.5 + 0.5) * ops.sigmoid(v) - ops.exp(-v * v))


def formula(n: int) -> Model:
    """Transcendental functions of ``n`` elements."""
    rng = np.random.default_rng(6)
    x, shift = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
    return Model(f"formula on {n:,}", formula_loss, [shift], [x])


# -- deep network: many activations to keep ------------------------------------------

LAYERS, DEEP_WIDTH, DEEP_BATCH = 64, 256, 1024


def deep_loss(ops: Any, params: Any, x: Any) -> Any:
    """Mean square of the output of a tanh network."""
    for w in params:
        x = ops.tanh(x @ w)
    return ops.sum(x * x) * (1.0 / (DEEP_BATCH * DEEP_WIDTH))


def deep() -> Model:
    """64 layers of width 256, batch 1024."""
    rng = np.random.default_rng(7)

    def w() -> Any:
        scale = 1.5 / math.sqrt(DEEP_WIDTH)
        return (rng.standard_normal((DEEP_WIDTH, DEEP_WIDTH)) * scale).astype("float32")

    x = rng.standard_normal((DEEP_BATCH, DEEP_WIDTH)).astype(np.float32)
    return Model("deep net", deep_loss, [w() for _ in range(LAYERS)], [x])


# -- convolutional network (for memory.py) ----------------------------------------


def convnet_loss(ops: Any, params: Any, x: Any, labels: Any) -> Any:
    """Two 5x5 convolutions with pools, one dense layer."""
    w1, b1, w2, b2, w3, b3 = params
    h = ops.pool(ops.relu(ops.conv(x, w1) + b1))
    h = ops.pool(ops.relu(ops.conv(h, w2) + b2))
    return ops.cross_entropy(ops.reshape(h, (len(CONV_LABELS), -1)) @ w3 + b3, labels)


CONV_LABELS = np.arange(32) % 10


def convnet() -> Model:
    """Batch 32 of 28x28x1, 32 and 64 filters."""
    rng = np.random.default_rng(4)

    def w(*shape: int) -> Any:
        scale = 1 / math.sqrt(math.prod(shape[:-1]))
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    def b(n: int) -> Any:
        return np.zeros(n, np.float32)

    params = [w(5, 5, 1, 32), b(32), w(5, 5, 32, 64), b(64), w(7 * 7 * 64, 10), b(10)]
    x = rng.random((len(CONV_LABELS), 28, 28, 1), np.float32)
    labels = np.eye(10, dtype=np.float32)[CONV_LABELS]
    return Model("convnet", convnet_loss, params, [x, labels])
