"""The models of models.py by hand in NumPy, gradients included.

Plainly: every expression allocates, as one writes it.  For the MLP also with
every array preallocated, the most that NumPy can do by hand.
"""

from __future__ import annotations

from _common import Run  # before NumPy: thread counts

# isort: split

from typing import Any

import numpy as np
from models import (
    FEATURES,
    HEADS,
    LSTM_BATCH,
    ROUNDS,
    SIZES,
    STEPS,
    T_BATCH,
    TOKENS,
    UNITS,
    WIDTH,
    Model,
)


def softmax_grad(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Mean cross entropy and its gradient."""
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    loss = -(labels * (z - np.log(total))).sum() / len(logits)
    return loss, (e / total - labels) / len(logits)


def mlp(model: Model, adam: bool) -> Run:
    """A training step: SGD or Adam."""
    x, y = model.inputs
    params = [p.copy() for p in model.params]
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


def mlp_out(model: Model) -> Run:
    """SGD with every array preallocated: the most that NumPy can do by hand."""
    x, y = model.inputs
    params = [p.copy() for p in model.params]
    batch = len(x)
    hs = [x] + [np.empty((batch, n), np.float32) for n in SIZES[1:]]
    gs = [np.empty_like(h) for h in hs]
    grads = [np.empty_like(p) for p in params]
    masks = [np.empty(h.shape, np.bool_) for h in hs]
    peak = np.empty((batch, 1), np.float32)
    total = np.empty((batch, 1), np.float32)
    work = np.empty((batch, 10), np.float32)

    def step() -> Any:
        for i in range(0, len(params), 2):
            k = i // 2
            np.dot(hs[k], params[i], hs[k + 1])
            np.add(hs[k + 1], params[i + 1], hs[k + 1])
            if i + 2 < len(params):
                np.maximum(hs[k + 1], 0, out=hs[k + 1])
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
        loss = -z.sum() / batch
        np.subtract(g, y, g)
        np.multiply(g, np.float32(1 / batch), g)
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


def lstm(model: Model) -> Run:
    """Loss and gradients."""
    (x,), (w, b) = model.inputs, model.params

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


def block(model: Model) -> Run:
    """Loss and gradients."""
    (x,), (wq, wk, wv, wo, w1, w2) = model.inputs, model.params
    d = WIDTH // HEADS

    def norm(v: Any) -> tuple[Any, Any, Any]:
        centred = v - v.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
        return centred * scale, centred, scale

    def norm_grad(g: Any, out: Any, scale: Any) -> Any:
        return scale * (
            g - g.mean(-1, keepdims=True) - out * (g * out).mean(-1, keepdims=True)
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
        n, _, _ = norm(x)
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


def formula(model: Model) -> Run:
    """Loss and gradient."""
    (x,), (shift,) = model.inputs, model.params

    def run() -> Any:
        v = x + shift
        t, s, e = np.tanh(v * 1.5 + 0.5), 1 / (1 + np.exp(-v)), np.exp(-v * v)
        return (t * s - e).sum(), 1.5 * (1 - t * t) * s + t * s * (1 - s) + 2 * v * e

    return run


def wide(model: Model) -> Run:
    """Loss and gradient."""
    (x,), (start,) = model.inputs, model.params

    def run() -> Any:
        v = start
        for _ in range(ROUNDS):
            v = (v * x + 0.25) * 0.9
        loss = v.sum()
        g = np.ones_like(v)
        for _ in range(ROUNDS):
            g = (g * 0.9) * x
        return loss, g

    return run
