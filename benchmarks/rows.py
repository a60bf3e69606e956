"""The rows of compare.py, and what each library does for them.

A row's ``prepare`` takes a library's name and gives the call that is timed; it
raises ``Unable`` with the reason where the library has no such thing.
"""

from __future__ import annotations

from _common import Run  # before NumPy: thread counts

# isort: split

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import chain
import lenet
import models
import models_numpy as by_hand
import numpy as np
import overhead
import peers
import small
from models import Model

#: The libraries, by the names that a table shows; native code tells dagrad's two apart.
LIBRARIES = {
    "dagrad": "dagrad",
    "dagrad-jit": "dagrad",
    "numpy": "numpy",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "pytensor": "pytensor",
    "autograd": "autograd",
}


class Unable(Exception):
    """A library cannot do a row; the text says why."""


class Row(NamedTuple):
    """One line of the table.

    ``kind`` is "steady" for a call that is warmed up and repeated in blocks, "once"
    for one that takes long and is not warmed up, "fresh" for one that is timed from
    the start of a new process to the first result.  ``long`` rows are left out of
    a quick run.
    """

    name: str
    label: str
    prepare: Callable[[str], Run]
    kind: str = "steady"
    long: bool = False


# -- rows that run a model -----------------------------------------------------------


def modelled(
    make: Callable[[], Model],
    what: str,
    hand: Callable[[Model], Run] | None = None,
    unable: dict[str, str] | None = None,
) -> Callable[[str], Run]:
    """Run a model: ``what`` is "gradients", "value", "products", "sgd" or "adam"."""

    def prepare(library: str) -> Run:
        if unable and library in unable:
            raise Unable(unable[library])
        model = make()
        if library == "numpy":
            if hand is None:
                raise Unable("not written by hand")
            return hand(model)
        peer = peers.PEERS[library]()
        if what in peers.RATES:
            return peer.training(model, what)
        run: Run = getattr(peer, what)(model)
        return run

    return prepare


def plainly(model: Model) -> Run:
    """The model's loss in NumPy's own functions."""
    ops = peers.array_ops(np)
    return lambda: model.loss(ops, model.params, *model.inputs)


# -- fixed costs ----------------------------------------------------------------------


def overheads(*names: str) -> Callable[[str], Run]:
    """The first of overhead.py's measures that the library has."""

    def prepare(library: str) -> Run:
        if library == "autograd":
            raise Unable("without a gradient it is NumPy")
        found = overhead.PEERS[library][1]()
        return next(found[name] for name in names if name in found)

    return prepare


# -- building and differentiating ------------------------------------------------------


def building(n: int) -> Callable[[str], Run]:
    """Build a chain of ``n`` operations and its gradient, and drop them again."""

    def prepare(library: str) -> Run:
        if library == "numpy":
            raise Unable("no gradients")
        return BUILDERS[library](n)

    return prepare


def graph_building(tf: Any, n: int) -> Run:
    def run() -> None:
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [10])
            tf.gradients(chain.program(tf.tanh, x, n), x)

    return run


def build_dagrad(n: int) -> Run:
    import dagrad as tf

    return graph_building(tf, n)


def build_tensorflow(n: int) -> Run:
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    return graph_building(tf, n)


def build_jax(n: int) -> Run:
    import jax
    import jax.numpy as jnp

    x = np.zeros(10, np.float32)

    def run() -> None:
        # A new function each time: JAX remembers what it traced.
        jax.make_jaxpr(jax.grad(lambda v: chain.program(jnp.tanh, v, n).sum()))(x)

    return run


def build_torch(n: int) -> Run:
    import torch as th

    x = th.zeros(10, requires_grad=True)

    def run() -> None:
        th.autograd.grad(chain.program(th.tanh, x, n).sum(), x)

    return run


def build_pytensor(n: int) -> Run:
    import pytensor
    import pytensor.tensor as pt

    sys.setrecursionlimit(20 * n)  # its gradient is recursive

    def run() -> None:
        x = pt.vector("x", dtype="float32")
        pytensor.grad(chain.program(pt.tanh, x, n).sum(), x)

    return run


def build_autograd(n: int) -> Run:
    import autograd.numpy as anp
    from autograd import grad

    x = np.zeros(10, np.float32)

    def run() -> None:
        grad(lambda v: chain.program(anp.tanh, v, n).sum())(x)

    return run


BUILDERS = {
    "dagrad": build_dagrad,
    "tensorflow": build_tensorflow,
    "jax": build_jax,
    "torch": build_torch,
    "pytensor": build_pytensor,
    "autograd": build_autograd,
}

# -- the rows -------------------------------------------------------------------------

EAGER = {
    "torch": "its loops are Python's: the row above",
    "autograd": "its loops are Python's: the row above",
}
NO_CONVOLUTION = {
    "pytensor": "no convolution of images with channels, no pooling",
    "autograd": "no convolution of images with channels",
}


def formula(n: int) -> Callable[[str], Run]:
    """Elementwise with gradient."""
    return modelled(lambda: models.formula(n), "gradients", by_hand.formula)


ROWS = [
    Row("one-op", "one operation, session.run", overheads("one op")),
    Row(
        "callable",
        "one operation, callable",
        overheads("one op, callable", "one op"),
    ),
    Row(
        "chain",
        "chain of 1000 operations on 100 elements",
        modelled(
            small.chain_model,
            "value",
            plainly,
            {"autograd": "without a gradient it is NumPy"},
        ),
    ),
    Row("small-mlp", "small MLP 8-16-16-4, SGD step", modelled(small.network, "sgd")),
    Row(
        "mlp-sgd",
        "MLP 784-256-128-10, SGD step",
        modelled(models.mlp, "sgd", lambda m: by_hand.mlp(m, False)),
    ),
    Row(
        "mlp-adam",
        "MLP 784-256-128-10, Adam step",
        modelled(models.mlp, "adam", lambda m: by_hand.mlp(m, True)),
    ),
    Row(
        "inference",
        "the same MLP, inference at batch 1",
        modelled(
            models.inference,
            "value",
            plainly,
            {"autograd": "without a gradient it is NumPy"},
        ),
    ),
    Row("formula-1e4", "elementwise and gradient, 1e4", formula(10**4)),
    Row("formula-1e6", "elementwise and gradient, 1e6", formula(10**6)),
    Row("formula-1e7", "elementwise and gradient, 1e7", formula(10**7), long=True),
    Row(
        "lenet",
        "LeNet, batch 32, SGD step",
        modelled(lenet.lenet, "sgd", None, NO_CONVOLUTION),
    ),
    Row(
        "lstm",
        "LSTM written out, 28 steps, gradient",
        modelled(models.lstm, "gradients", by_hand.lstm),
    ),
    Row(
        "lstm-loop",
        "LSTM in a while loop, gradient",
        modelled(models.looped_lstm, "gradients", None, EAGER),
    ),
    Row(
        "transformer",
        "transformer block, gradient",
        modelled(models.block, "gradients", by_hand.block),
    ),
    Row("hvp", "Hessian-vector product of the MLP", modelled(models.mlp, "products")),
    Row("deep", "64-layer tanh net, gradient", modelled(models.deep, "gradients")),
    Row(
        "build-1e4",
        "build and differentiate 10,000 ops",
        building(10_000),
        "once",
    ),
    Row(
        "build-1e5",
        "build and differentiate 100,000 ops",
        building(100_000),
        "once",
        long=True,
    ),
    Row(
        "first",
        "new process to first MLP step",
        modelled(models.mlp, "sgd", lambda m: by_hand.mlp(m, False)),
        "fresh",
    ),
]
