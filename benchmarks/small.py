"""Small graphs, where Python costs more than arithmetic: native stretches on and off.

A chain of 1000 operations on 100 elements (of arrays, so that no compiler folds it)
and a step of an MLP, 8-16-16-4 at batch 16, by SGD and Adam.  "off" is dagrad without
native code, "numpy" the same by hand.  Needs the extra ``dagrad[jit]``.
Targets: at most PyTensor's time after it has compiled.

    python benchmarks/small.py [pytensor]
"""

from __future__ import annotations

from _common import Run, compare, installed  # before NumPy: thread counts

# isort: split

import itertools
import sys
import time
from typing import Any

import numpy as np
import peers
from models import Model

OPS, SIZE = 1000, 100
SIZES, BATCH = (8, 16, 16, 4), 16


def chain(x: Any, u: Any, v: Any) -> Any:
    """1000 multiplications and additions."""
    for i in range(OPS):
        x = x * u if i % 2 else x + v
    return x


def operands() -> list[Any]:
    """x, u, v."""
    a = np.linspace(0, 1, SIZE, dtype=np.float32)
    return [a, 1 + a * np.float32(0.01), a * np.float32(0.5)]


def chain_model() -> Model:
    """The chain as a model without parameters."""
    return Model("chain", lambda _, __, *uv: chain(*uv), [], operands())


def dagrad_chain(native: str) -> Run:
    """Through ``make_callable``."""
    import dagrad as dg

    with dg.Graph().as_default():
        feeds = [dg.placeholder(dg.float32, [SIZE]) for _ in range(3)]
        session = dg.Session(config=dg.ConfigProto(native=native))
        run = session.make_callable(chain(*feeds), feeds)
    args = operands()
    return lambda: run(*args)


def pytensor_chain() -> Run:
    """PyTensor's default mode."""
    import pytensor
    import pytensor.tensor as pt

    feeds = [pt.vector(name, dtype="float32") for name in "xuv"]
    start = time.perf_counter()
    run = pytensor.function(feeds, chain(*feeds), trust_input=True)
    print(f"  pytensor compiled the chain in {time.perf_counter() - start:.1f} s")
    args = operands()
    return lambda: run(*args)


def loss(ops: Any, params: Any, x: Any, wanted: Any) -> Any:
    """Mean square error of an MLP with tanh."""
    h = x
    for i in range(0, len(params), 2):
        h = h @ params[i] + params[i + 1]
        if i + 2 < len(params):
            h = ops.tanh(h)
    d = h - wanted
    return ops.sum(d * d) * (1.0 / (BATCH * SIZES[-1]))


def network() -> Model:
    """8-16-16-4, batch 16."""
    rng = np.random.default_rng(0)
    params = []
    for m, n in itertools.pairwise(SIZES):
        params.append((rng.standard_normal((m, n)) * 0.3).astype(np.float32))
        params.append(np.zeros(n, np.float32))
    data = [rng.standard_normal((BATCH, n)).astype(np.float32) for n in (8, 4)]
    return Model("small MLP", loss, params, data)


def dagrad_step(optimizer: str, native: str) -> Run:
    """A step of training through ``make_callable``."""
    import dagrad as dg

    model = network()
    rate = peers.RATES[optimizer]
    with dg.Graph().as_default():
        feeds = [dg.placeholder(a.dtype, a.shape) for a in model.inputs]
        params = [dg.Variable(p) for p in model.params]
        value = model.loss(peers.graph_ops(dg), params, *feeds)
        kinds = {
            "sgd": dg.train.GradientDescentOptimizer,
            "adam": dg.train.AdamOptimizer,
        }
        step = kinds[optimizer](rate).minimize(value)
        session = dg.Session(config=dg.ConfigProto(native=native))
        session.run(dg.global_variables_initializer())
        run = session.make_callable([value, step], feeds)
    return lambda: run(*model.inputs)[0]


def main() -> None:
    """Print tables, the native side first."""
    with_pytensor = "pytensor" in sys.argv[1:] and installed("pytensor")
    if not installed("llvmlite"):
        return
    args = operands()
    sides: dict[str, Run] = {
        "dagrad": dagrad_chain("wait"),
        "off": dagrad_chain("off"),
        "numpy": lambda: chain(*args),
    }
    if with_pytensor:
        sides["pytensor"] = pytensor_chain()
    wanted = sides["numpy"]()
    for name, run in sides.items():
        np.testing.assert_allclose(run(), wanted, rtol=1e-4, err_msg=name)
    compare(f"chain of {OPS} operations on {SIZE} elements", sides)
    for optimizer in ("sgd", "adam"):
        sides = {
            "dagrad": dagrad_step(optimizer, "wait"),
            "off": dagrad_step(optimizer, "off"),
        }
        if with_pytensor:
            sides["pytensor"] = peers.pytensor().training(network(), optimizer)
        first = [np.asarray(run()) for run in sides.values()]
        np.testing.assert_allclose(first, first[0], rtol=1e-4)
        compare(f"step of a small MLP, {optimizer}", sides)


if __name__ == "__main__":
    main()
