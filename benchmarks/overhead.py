"""Fixed costs: building a node, one small run, a chain of small operations.

Targets: a node in 15 us through each public builder, source recorded; a run of
one operation in 8 us, in 4 us through a callable; 0.6 us per small operation.

Peers that are installed run the same program in the same process: NumPy (by
hand), TensorFlow 1's sessions (``tensorflow.compat.v1``), JAX, PyTorch,
PyTensor and autograd.  Times are minima over repeats, in microseconds.

    python benchmarks/overhead.py [peer ...]
"""

from __future__ import annotations

from _common import installed  # before NumPy: thread counts

# isort: split

import sys
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

OPS = 100
NODES = 200  # per graph, when builders are timed
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


def building(tf: Any) -> Measure:
    """Graphs of NODES calls of one public builder, with TF1's names."""
    builders: dict[str, Callable[[Any], Any]] = {
        "x + x": lambda x: x + x,
        "x * 2.0 (2 nodes)": lambda x: x * 2.0,
        "tanh": tf.tanh,
        "matmul": lambda x: tf.matmul(x, x),
        "reduce_sum": lambda x: tf.reduce_sum(x, 1, keepdims=True),
    }

    def build(builder: Callable[[Any], Any]) -> None:
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [SIZE, SIZE])
            for _ in range(NODES):
                builder(x)

    return {f"build {k}": partial(build, b) for k, b in builders.items()}


def with_numpy() -> Measure:
    """Eager NumPy."""
    a = array()
    return {"one op": lambda: a + 1.0, "chain": lambda: chain(a)}


def with_dagrad() -> Measure:
    """Sessions and callables of dagrad."""
    import dagrad as dg

    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [SIZE])
        one, many = x + 1.0, chain(x)
        (grad,) = dg.gradients(many, x)
        session = dg.Session()
    feed = {x: array()}
    run = session.make_callable(one, [x])
    a = array()

    return {
        **building(dg),
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

    return {
        **building(tf),
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


#: Microseconds, by the start of what is measured; the first that fits.
TARGETS = [
    ("build", 15.0),
    ("one op, callable", 4.0),
    ("one op", 8.0),
    ("chain and gradient", 8.0 + 0.6 * 2 * OPS),
    ("chain", 8.0 + 0.6 * OPS),
]


def main() -> None:
    """Print a table: microseconds, and the ratio to dagrad."""
    wanted = sys.argv[1:] or list(PEERS)
    base: dict[str, float] = {}
    for peer in wanted:
        module, prepare = PEERS[peer]
        if not installed(module):
            continue
        for what, run in prepare().items():
            us = best(run)
            if what.startswith("build"):
                us /= NODES  # per call of the builder
            base.setdefault(what, us)
            target = ""
            if peer == "dagrad":
                for start, most in TARGETS:
                    if what.startswith(start):
                        limit = most * (2 if "2 nodes" in what else 1)
                        verdict = "ok" if us <= limit else "MISSED"
                        target = f"  target {limit:g}: {verdict}"
                        break
            print(
                f"{peer:12} {what:24} {us:10.2f} us  x{us / base[what]:8.2f}{target}",
                flush=True,
            )


if __name__ == "__main__":
    main()
