"""Training steps against hand-written NumPy.

Three models, each as a dagrad graph and as NumPy written by hand, once plainly
(every expression allocates) and, for the MLP, once with preallocated arrays.
Runs of both sides alternate; the ratio is of their medians (above 1: NumPy is
slower).

    python benchmarks/training.py [mlp|lstm|transformer ...]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dagrad as dg

Run = Callable[[], Any]


def compare(name: str, sides: dict[str, Run], repeats: int = 40) -> None:
    """Alternate the sides and print medians and ratios to the first."""
    times: dict[str, list[float]] = {k: [] for k in sides}
    for run in sides.values():
        for _ in range(3):
            run()
    for _ in range(repeats):
        for k, run in sides.items():
            start = time.perf_counter()
            run()
            times[k].append(time.perf_counter() - start)
    first = next(iter(sides))
    base = statistics.median(times[first])
    best = min(times[first])
    for k, t in times.items():
        median = statistics.median(t)
        print(
            f"{name:24} {k:20} {median * 1e3:8.3f} ms (min {min(t) * 1e3:8.3f})  "
            f"x{median / base:5.2f} (min x{min(t) / best:5.2f})"
        )


# -- multilayer perceptron ---------------------------------------------------

SIZES = (784, 256, 128, 10)
BATCH = 128


def mlp_data() -> tuple[Any, Any, list[Any]]:
    """Inputs, one-hot labels, parameters."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, SIZES[0])).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[rng.integers(0, 10, BATCH)]
    params = []
    for m, n in zip(SIZES, SIZES[1:]):
        params.append((rng.standard_normal((m, n)) / np.sqrt(m)).astype(np.float32))
        params.append(np.zeros(n, np.float32))
    return x, labels, params


def mlp_graph(optimizer: Any) -> Run:
    """One training step of the MLP as a session run."""
    x_value, y_value, start = mlp_data()
    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [None, SIZES[0]])
        y = dg.placeholder(dg.float32, [None, 10])
        params = [dg.Variable(p) for p in start]
        h = x
        for i in range(0, len(params), 2):
            h = dg.matmul(h, params[i]) + params[i + 1]
            if i + 2 < len(params):
                h = dg.nn.relu(h)
        loss = dg.reduce_mean(
            dg.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=h)
        )
        step = optimizer().minimize(loss)
        session = dg.Session()
        session.run(dg.global_variables_initializer())
    run = session.make_callable([step, loss], [x, y])
    return lambda: run(x_value, y_value)


def softmax_grad(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Mean cross entropy and its gradient."""
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    loss = -(labels * (z - np.log(total))).sum() / len(logits)
    return loss, (e / total - labels) / len(logits)


def mlp_numpy(adam: bool) -> Run:
    """The same step, plainly in NumPy."""
    x, y, params = mlp_data()
    m = [np.zeros_like(p) for p in params]
    v = [np.zeros_like(p) for p in params]
    t = [0]

    def step() -> Any:
        hs = [x]
        for i in range(0, len(params), 2):
            h = hs[-1] @ params[i] + params[i + 1]
            hs.append(np.maximum(h, 0) if i + 2 < len(params) else h)
        loss, g = softmax_grad(hs[-1], y)
        grads: list[Any] = [None] * len(params)
        for i in reversed(range(0, len(params), 2)):
            grads[i] = hs[i // 2].T @ g
            grads[i + 1] = g.sum(axis=0)
            if i:
                g = (g @ params[i].T) * (hs[i // 2] > 0)
        t[0] += 1
        if adam:
            rate = np.float32(1e-3 * np.sqrt(1 - 0.999 ** t[0]) / (1 - 0.9 ** t[0]))
            for k, p in enumerate(params):
                m[k] = np.float32(0.9) * m[k] + np.float32(0.1) * grads[k]
                v[k] = np.float32(0.999) * v[k] + np.float32(0.001) * grads[k] ** 2
                params[k] = p - rate * m[k] / (np.sqrt(v[k]) + np.float32(1e-8))
        else:
            for k in range(len(params)):
                params[k] -= np.float32(0.01) * grads[k]
        return loss

    return step


def mlp_numpy_out() -> Run:
    """SGD with every array preallocated: the most that NumPy can do by hand."""
    x, y, params = mlp_data()
    hs = [x] + [np.empty((BATCH, n), np.float32) for n in SIZES[1:]]
    gs = [np.empty_like(h) for h in hs]
    grads = [np.empty_like(p) for p in params]
    masks = [np.empty(h.shape, np.bool_) for h in hs]
    peak = np.empty((BATCH, 1), np.float32)
    total = np.empty((BATCH, 1), np.float32)
    work = np.empty((BATCH, 10), np.float32)

    def step() -> Any:
        for i in range(0, len(params), 2):
            k = i // 2
            np.dot(hs[k], params[i], hs[k + 1])
            np.add(hs[k + 1], params[i + 1], hs[k + 1])
            if i + 2 < len(params):
                np.maximum(hs[k + 1], 0, hs[k + 1])
        z = hs[-1]
        np.maximum.reduce(z, axis=1, keepdims=True, out=peak)
        np.subtract(z, peak, z)
        np.exp(z, work)
        np.add.reduce(work, axis=1, keepdims=True, out=total)
        g = gs[-1]
        np.divide(work, total, g)
        np.log(total, total)
        np.subtract(z, total, z)
        np.multiply(z, y, z)
        loss = -z.sum() / BATCH
        np.subtract(g, y, g)
        np.multiply(g, np.float32(1 / BATCH), g)
        for i in reversed(range(0, len(params), 2)):
            k = i // 2
            np.dot(hs[k].T, gs[k + 1], grads[i])
            np.add.reduce(gs[k + 1], axis=0, out=grads[i + 1])
            if i:
                np.dot(gs[k + 1], params[i].T, gs[k])
                np.greater(hs[k], 0, masks[k])
                np.multiply(gs[k], masks[k], gs[k])
        for p, d in zip(params, grads):
            np.multiply(d, np.float32(0.01), d)
            np.subtract(p, d, p)
        return loss

    return step


# -- unrolled LSTM ---------------------------------------------------------------

STEPS, UNITS, FEATURES, LSTM_BATCH = 28, 64, 28, 64


def lstm_data() -> tuple[Any, Any, Any]:
    """Inputs (steps, batch, features), weights, bias."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((STEPS, LSTM_BATCH, FEATURES)).astype(np.float32)
    w = (rng.standard_normal((FEATURES + UNITS, 4 * UNITS)) * 0.1).astype(np.float32)
    return x, w, np.zeros(4 * UNITS, np.float32)


def lstm_graph() -> Run:
    """Loss and gradients of the unrolled LSTM."""
    x_value, w_value, b_value = lstm_data()
    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [STEPS, LSTM_BATCH, FEATURES])
        w, b = dg.Variable(w_value), dg.Variable(b_value)
        h = c = dg.zeros([LSTM_BATCH, UNITS])
        for t in range(STEPS):
            z = dg.matmul(dg.concat([x[t], h], 1), w) + b
            i, j, f, o = dg.split(z, 4, 1)
            c = dg.sigmoid(f) * c + dg.sigmoid(i) * dg.tanh(j)
            h = dg.sigmoid(o) * dg.tanh(c)
        loss = dg.reduce_sum(dg.square(h))
        grads = dg.gradients(loss, [w, b])
        session = dg.Session()
        session.run(dg.global_variables_initializer())
    run = session.make_callable([loss, *grads], [x])
    return lambda: run(x_value)


def lstm_numpy() -> Run:
    """The same by hand."""
    x, w, b = lstm_data()

    def sigmoid(v: Any) -> Any:
        return 1 / (1 + np.exp(-v))

    def run() -> Any:
        h = c = np.zeros((LSTM_BATCH, UNITS), np.float32)
        tape = []
        for t in range(STEPS):
            xh = np.concatenate([x[t], h], 1)
            z = xh @ w + b
            i, j, f, o = np.split(z, 4, 1)
            i, j, f, o = sigmoid(i), np.tanh(j), sigmoid(f), sigmoid(o)
            before, c = c, f * c + i * j
            tc = np.tanh(c)
            h = o * tc
            tape.append((xh, i, j, f, o, before, tc))
        loss = np.square(h).sum()
        dh, dc = 2 * h, np.zeros_like(c)
        dw, db = np.zeros_like(w), np.zeros_like(b)
        for xh, i, j, f, o, before, tc in reversed(tape):
            do = dh * tc
            dc = dc + dh * o * (1 - tc * tc)
            dz = np.concatenate(
                [
                    dc * j * i * (1 - i),
                    dc * i * (1 - j * j),
                    dc * before * f * (1 - f),
                    do * o * (1 - o),
                ],
                1,
            )
            dw += xh.T @ dz
            db += dz.sum(0)
            dh = (dz @ w.T)[:, FEATURES:]
            dc = dc * f
        return loss, dw, db

    return run


# -- transformer block -----------------------------------------------------------------

T_BATCH, TOKENS, WIDTH, HEADS = 8, 64, 128, 4


def block_data() -> tuple[Any, list[Any]]:
    """Input (batch, tokens, width) and the block's weights."""
    rng = np.random.default_rng(2)

    def w(*shape: int) -> Any:
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    x = rng.standard_normal((T_BATCH, TOKENS, WIDTH)).astype(np.float32)
    weights = [w(WIDTH, WIDTH) for _ in range(4)]
    weights += [w(WIDTH, 4 * WIDTH), w(4 * WIDTH, WIDTH)]
    return x, weights


def block_graph() -> Run:
    """Loss and gradients of one block: attention and MLP, with layer norms."""
    x_value, start = block_data()
    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [T_BATCH, TOKENS, WIDTH])
        wq, wk, wv, wo, w1, w2 = ws = [dg.Variable(w) for w in start]

        def norm(v: Any) -> Any:
            mean = dg.reduce_mean(v, -1, keepdims=True)
            centred = v - mean
            var = dg.reduce_mean(dg.square(centred), -1, keepdims=True)
            return centred * dg.rsqrt(var + 1e-5)

        def linear(v: Any, w: Any) -> Any:
            flat = dg.matmul(dg.reshape(v, [-1, v.shape[-1].value]), w)
            return dg.reshape(flat, [T_BATCH, TOKENS, -1])

        def heads(v: Any) -> Any:
            v = dg.reshape(v, [T_BATCH, TOKENS, HEADS, WIDTH // HEADS])
            return dg.transpose(v, [0, 2, 1, 3])

        n = norm(x)
        q, k, v = heads(linear(n, wq)), heads(linear(n, wk)), heads(linear(n, wv))
        scores = dg.matmul(q, k, transpose_b=True) * (WIDTH // HEADS) ** -0.5
        mixed = dg.matmul(dg.nn.softmax(scores), v)
        mixed = dg.reshape(
            dg.transpose(mixed, [0, 2, 1, 3]), [T_BATCH, TOKENS, WIDTH]
        )
        y = x + linear(mixed, wo)
        y = y + linear(dg.nn.relu(linear(norm(y), w1)), w2)
        loss = dg.reduce_mean(dg.square(y))
        grads = dg.gradients(loss, ws)
        session = dg.Session()
        session.run(dg.global_variables_initializer())
    run = session.make_callable([loss, *grads], [x])
    return lambda: run(x_value)


def block_numpy() -> Run:
    """The same by hand."""
    x, (wq, wk, wv, wo, w1, w2) = block_data()
    d = WIDTH // HEADS

    def norm(v: Any) -> tuple[Any, Any, Any]:
        centred = v - v.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
        return centred * scale, centred, scale

    def norm_grad(g: Any, out: Any, scale: Any) -> Any:
        return scale * (
            g
            - g.mean(-1, keepdims=True)
            - out * (g * out).mean(-1, keepdims=True)
        )

    def heads(v: Any) -> Any:
        return v.reshape(T_BATCH, TOKENS, HEADS, d).transpose(0, 2, 1, 3)

    def join(v: Any) -> Any:
        return v.transpose(0, 2, 1, 3).reshape(T_BATCH, TOKENS, WIDTH)

    def flat(v: Any) -> Any:
        return v.reshape(-1, v.shape[-1])

    def linear(v: Any, w: Any) -> Any:
        return (flat(v) @ w).reshape(T_BATCH, TOKENS, -1)

    def run() -> Any:
        n, _, ns = norm(x)
        q, k, v = heads(linear(n, wq)), heads(linear(n, wk)), heads(linear(n, wv))
        s = (q @ k.swapaxes(-1, -2)) * np.float32(d**-0.5)
        e = np.exp(s - s.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        mixed = join(p @ v)
        y1 = x + linear(mixed, wo)
        n2, _, n2s = norm(y1)
        a = np.maximum(linear(n2, w1), 0)
        y = y1 + linear(a, w2)
        loss = (y * y).mean()
        g = y * np.float32(2 / y.size)
        dw2 = flat(a).T @ flat(g)
        ga = linear(g, w2.T) * (a > 0)
        dw1 = flat(n2).T @ flat(ga)
        g = g + norm_grad(linear(ga, w1.T), n2, n2s)
        dwo = flat(mixed).T @ flat(g)
        gm = heads(linear(g, wo.T))
        gv = p.swapaxes(-1, -2) @ gm
        gp = gm @ v.swapaxes(-1, -2)
        gs = p * (gp - (gp * p).sum(-1, keepdims=True)) * np.float32(d**-0.5)
        gq, gk = join(gs @ k), join(gs.swapaxes(-1, -2) @ q)
        gv = join(gv)
        return (
            loss,
            flat(n).T @ flat(gq),
            flat(n).T @ flat(gk),
            flat(n).T @ flat(gv),
            dwo,
            dw1,
            dw2,
        )

    return run


def main() -> None:
    """Run the models named on the command line, or all."""
    which = sys.argv[1:] or ["mlp", "lstm", "transformer"]
    if "mlp" in which:
        sgd = mlp_graph(lambda: dg.train.GradientDescentOptimizer(0.01))
        compare(
            "MLP step, SGD",
            {"dagrad": sgd, "numpy": mlp_numpy(False), "numpy, out=": mlp_numpy_out()},
        )
        adam = mlp_graph(lambda: dg.train.AdamOptimizer(1e-3))
        compare("MLP step, Adam", {"dagrad": adam, "numpy": mlp_numpy(True)})
    if "lstm" in which:
        ours, theirs = lstm_graph(), lstm_numpy()
        for a, b in zip(ours(), theirs()):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)
        compare("LSTM, 28 steps", {"dagrad": ours, "numpy": theirs})
    if "transformer" in which:
        ours, theirs = block_graph(), block_numpy()
        for a, b in zip(ours(), theirs()):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5)
        compare("transformer block", {"dagrad": ours, "numpy": theirs})


if __name__ == "__main__":
    main()
