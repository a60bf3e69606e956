"""Fixed costs: building a node, one small run, a chain of small operations.

Peers that are installed run the same program in the same process: NumPy (by
hand), TensorFlow 1's sessions (``tensorflow.compat.v1``), JAX, PyTorch,
PyTensor and autograd.  Times are minima over repeats, in microseconds.

    python benchmarks/overhead.py [peer ...]
"""

from __future__ import annotations

import importlib.util
import os
import sys
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import dagrad as dg

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
OPS = 100
SIZE = 10

Measure = dict[str, Callable[[], Any]]


def chain(x: Any) -> Any:
    """100 multiplications and additions."""
    for i in range(OPS):
        x = x * 1.01 if i % 2 else x + 0.5
    return x


def best(run: Callable[[], Any], number: int = 0) -> float:
    """The least time of a call, in microseconds."""
    run()
    timer = timeit.Timer(run)
    if not number:
        number = max(1, int(0.02 / max(timer.timeit(1), 1e-7)))
    return min(timer.repeat(7, number)) / number * 1e6


def array() -> Any:
    """The input."""
    return np.linspace(0.0, 1.0, SIZE, dtype=np.float32)


def with_numpy() -> Measure:
    """Eager NumPy."""
    a = array()
    return {"one op": lambda: a + 1.0, "chain": lambda: chain(a)}


def with_dagrad() -> Measure:
    """Sessions and callables of dagrad."""
    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [SIZE])
        one, many = x + 1.0, chain(x)
        (grad,) = dg.gradients(many, x)
        session = dg.Session()
    feed = {x: array()}
    run = session.make_callable(one, [x])
    a = array()

    def build() -> None:
        with dg.Graph().as_default():
            t = dg.placeholder(dg.float32, [SIZE])
            for _ in range(500):
                t = t + t

    return {
        "build 500 ops": build,
        "one op": lambda: session.run(one, feed),
        "one op, callable": lambda: run(a),
        "chain": lambda: session.run(many, feed),
        "chain and gradient": lambda: session.run([many, grad], feed),
    }


def with_tensorflow() -> Measure:
    """TensorFlow 1's graph and session."""
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [SIZE])
        one, many = x + 1.0, chain(x)
        (grad,) = tf.gradients(many, x)
        session = tf.Session()
    feed = {x: array()}
    run = session.make_callable(one, [x])
    a = array()

    def build() -> None:
        with tf.Graph().as_default():
            t = tf.placeholder(tf.float32, [SIZE])
            for _ in range(500):
                t = t + t

    return {
        "build 500 ops": build,
        "one op": lambda: session.run(one, feed),
        "one op, callable": lambda: run(a),
        "chain": lambda: session.run(many, feed),
        "chain and gradient": lambda: session.run([many, grad], feed),
    }


def with_jax() -> Measure:
    """jax.jit, NumPy in and out."""
    import jax

    one = jax.jit(lambda x: x + 1.0)
    many = jax.jit(chain)
    both = jax.jit(lambda x: (chain(x), jax.grad(lambda v: chain(v).sum())(x)))
    a = array()
    return {
        "one op": lambda: np.asarray(one(a)),
        "chain": lambda: np.asarray(many(a)),
        "chain and gradient": lambda: [np.asarray(r) for r in both(a)],
    }


def with_torch() -> Measure:
    """Eager PyTorch."""
    import torch

    a = torch.from_numpy(array())
    b = torch.from_numpy(array()).requires_grad_(True)

    def both() -> Any:
        y = chain(b)
        return y, torch.autograd.grad(y.sum(), b)

    return {
        "one op": lambda: a + 1.0,
        "chain": lambda: chain(a),
        "chain and gradient": both,
    }


def with_pytensor() -> Measure:
    """PyTensor's default mode."""
    import pytensor
    import pytensor.tensor as pt

    x = pt.vector("x", dtype="float32")
    one = pytensor.function([x], x + np.float32(1.0), trust_input=True)
    y = x
    for i in range(OPS):
        y = y * np.float32(1.01) if i % 2 else y + np.float32(0.5)
    many = pytensor.function([x], y, trust_input=True)
    both = pytensor.function([x], [y, pytensor.grad(y.sum(), x)], trust_input=True)
    a = array()
    return {
        "one op": lambda: one(a),
        "chain": lambda: many(a),
        "chain and gradient": lambda: both(a),
    }


def with_autograd() -> Measure:
    """autograd: the gradient is traced anew in every call."""
    from autograd import grad

    g = grad(lambda x: chain(x).sum())
    a = array()
    return {"chain and gradient": lambda: (chain(a), g(a))}


PEERS: dict[str, tuple[str, Callable[[], Measure]]] = {
    "dagrad": ("dagrad", with_dagrad),
    "numpy": ("numpy", with_numpy),
    "tensorflow": ("tensorflow", with_tensorflow),
    "jax": ("jax", with_jax),
    "torch": ("torch", with_torch),
    "pytensor": ("pytensor", with_pytensor),
    "autograd": ("autograd", with_autograd),
}


def main() -> None:
    """Print a table: microseconds, and the ratio to dagrad."""
    wanted = sys.argv[1:] or list(PEERS)
    base: dict[str, float] = {}
    for peer in wanted:
        module, prepare = PEERS[peer]
        if importlib.util.find_spec(module) is None:
            print(f"{peer:12} not installed")
            continue
        for what, run in prepare().items():
            us = best(run)
            base.setdefault(what, us)
            per = f"  ({us / 500:.2f} us a node)" if what.startswith("build") else ""
            print(f"{peer:12} {what:20} {us:10.2f} us  x{us / base[what]:8.2f}{per}")


if __name__ == "__main__":
    main()
