"""The four objectives in JAX, jitted, in double precision.

Each function takes an instance of ``problems`` and returns two calls without
arguments: the objective, and the objective with its derivatives.  They are written as
JAX is written, by the published definitions: one observation or point, mapped.
Derivatives are arranged as those of ``objectives`` are, so that both can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, multigammaln
from problems import Bundle, Hand, Mixture, Sequence

jax.config.update("jax_enable_x64", True)

Calls = tuple[Callable[[], Any], Callable[[], Any]]


def _calls(objective: Any, both: Any, *arrays: Any) -> Calls:
    """Jitted calls that wait for their results."""
    placed = [jnp.asarray(a) for a in arrays]
    runs = [jax.jit(f) for f in (objective, both)]
    alone, together = (lambda r=r: jax.block_until_ready(r(*placed)) for r in runs)
    return alone, together


def mixture(p: Mixture) -> Calls:
    """Value, and gradients for alphas, means and icf."""
    n, d = p.x.shape
    k = len(p.alphas)
    columns, rows = np.triu_indices(d, 1)
    free = d + p.m + 1
    normal = free * d * (math.log(p.gamma) - 0.5 * math.log(2.0))
    normal -= float(multigammaln(0.5 * free, d))
    x = jnp.asarray(p.x)

    def objective(alphas: Any, means: Any, icf: Any) -> Any:
        logs = icf[:, :d]
        q = jnp.zeros((k, d, d)).at[:, rows, columns].set(icf[:, d:])
        q += jax.vmap(jnp.diag)(jnp.exp(logs))
        z = jnp.einsum("kij,nkj->nki", q, x[:, None, :] - means)
        inner = alphas + logs.sum(1) - 0.5 * jnp.sum(z**2, 2)
        value = logsumexp(inner, axis=1).sum() - n * logsumexp(alphas)
        prior = 0.5 * p.gamma**2 * (jnp.sum(q**2)) - p.m * logs.sum()
        return value + prior - n * d * 0.5 * math.log(2 * math.pi) - k * normal

    both = jax.value_and_grad(objective, (0, 1, 2))
    return _calls(objective, both, p.alphas, p.means, p.icf)


def bundle(p: Bundle) -> Calls:
    """Errors and weights' errors, and their blocks (2, 15, p) and (p,)."""

    def error(camera: Any, point: Any, w: Any, feature: Any) -> Any:
        axis, x = camera[:3], point - camera[3:6]
        square = jnp.sum(axis**2)
        angle = jnp.sqrt(square)
        turn = axis / angle
        seen = x * jnp.cos(angle) + jnp.cross(turn, x) * jnp.sin(angle)
        seen += turn * jnp.dot(turn, x) * (1 - jnp.cos(angle))
        flat = seen[:2] / seen[2]
        r = jnp.sum(flat**2)
        flat = flat * (1 + camera[9] * r + camera[10] * r * r)
        return w * (flat * camera[6] + camera[7:9] - feature)

    features = jnp.asarray(p.features)

    def split(cameras: Any, points: Any, weights: Any) -> Any:
        return cameras[p.seen_by], points[p.seen], weights, features

    def objective(*xs: Any) -> Any:
        return jax.vmap(error)(*split(*xs)).T, 1.0 - xs[2] ** 2

    def both(*xs: Any) -> Any:
        c, x, w = jax.vmap(jax.jacrev(error, (0, 1, 2)))(*split(*xs))
        blocks = jnp.concatenate([c, x, w[:, :, None]], 2).transpose(1, 2, 0)
        return objective(*xs), (blocks, -2.0 * xs[2])

    return _calls(objective, both, p.cameras, p.points, p.weights)


def sequence(p: Sequence) -> Calls:
    """Value, and gradients for main and extra."""
    layers, b = len(p.state) // 2, p.text.shape[1]
    text = jnp.asarray(p.text)

    def objective(main: Any, extra: Any) -> Any:
        weights = main[::2].reshape(layers, 4, b)
        biases = main[1::2].reshape(layers, 4, b)

        def step(state: Any, pair: Any) -> Any:
            now, following = pair
            x, after = now * extra[0], []
            for w, bias, h, c in zip(weights, biases, state[::2], state[1::2]):
                forget = jax.nn.sigmoid(x * w[0] + bias[0])
                ingate = jax.nn.sigmoid(h * w[1] + bias[1])
                outgate = jax.nn.sigmoid(x * w[2] + bias[2])
                c = c * forget + ingate * jnp.tanh(h * w[3] + bias[3])
                x = outgate * jnp.tanh(c)
                after += [x, c]
            y = x * extra[1] + extra[2]
            normal = y - jnp.log(jnp.sum(jnp.exp(y)) + 2)
            return jnp.stack(after), jnp.sum(following * normal)

        _, losses = jax.lax.scan(step, jnp.asarray(p.state), (text[:-1], text[1:]))
        return -losses.sum() / (len(losses) * b)

    return _calls(objective, jax.value_and_grad(objective, (0, 1)), p.main, p.extra)


def hand(p: Hand, complicated: bool = False) -> Calls:
    """Errors (p, 3) and the Jacobian; own us first where complicated."""

    def joint(a: Any) -> Any:
        """The rotation about x, then z."""
        (cx, cz), (sx, sz) = jnp.cos(a), jnp.sin(a)
        zero, one = jnp.zeros(()), jnp.ones(())
        rows = [[cz, -sz * cx, sz * sx], [sz, cz * cx, -cz * sx], [zero, sx, cx]]
        upper = jnp.stack([jnp.stack([*row, zero]) for row in rows])
        return jnp.concatenate([upper, jnp.stack([zero, zero, zero, one])[None]])

    def rotation(v: Any) -> Any:
        n = jnp.sqrt(jnp.sum(v**2))
        x, y, z = v / n
        zero = jnp.zeros(())
        skew = jnp.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]])
        return jnp.eye(3) + jnp.sin(n) * skew + (1 - jnp.cos(n)) * skew @ skew

    def vertices(theta: Any) -> Any:
        absolute = [p.relatives[0], p.relatives[0] @ p.relatives[1]]
        for finger in range(5):
            a = theta[6 + 4 * finger : 10 + 4 * finger]
            turns = [joint(a[:2]), *(joint(jnp.stack([t, 0.0 * t])) for t in a[2:])]
            last = absolute[0]
            for k in range(4):
                last = last @ p.relatives[2 + 4 * finger + k]
                last = last @ turns[k] if k < 3 else last
                absolute.append(last)
        bones = jnp.stack([a @ i for a, i in zip(absolute, p.inverses)])
        moved = jnp.einsum("bij,vj->bvi", bones[:, :3], p.vertices)
        total = jnp.einsum("bv,bvi->vi", p.weights, moved)
        return total @ rotation(theta[:3]).T + theta[3:6]

    def objective(theta: Any, us: Any) -> Any:
        v = vertices(theta)
        if not complicated:
            return p.points - v[p.at]
        a, b, c = (v[p.triangles[p.at][:, i]] for i in range(3))
        u, w = us[:, :1], us[:, 1:]
        return p.points - (u * a + w * b + (1 - u - w) * c)

    def both(theta: Any, us: Any) -> Any:
        jacobian = jax.jacfwd(objective)(theta, us)
        if complicated:
            units = [jnp.zeros_like(us).at[:, k].set(1.0) for k in range(2)]
            own = [
                jax.jvp(lambda u: objective(theta, u), (us,), (e,))[1] for e in units
            ]
            jacobian = jnp.concatenate([jnp.stack(own, 2), jacobian], 2)
        return objective(theta, us), jacobian.reshape(3 * len(p.at), -1)

    return _calls(objective, both, p.theta, p.us)
