"""Loops: an iteration against the same written out, and what a gradient keeps.

Time: an LSTM over 50 steps by ``scan``, by ``while_loop`` and written out, forward
and with gradients; target: at most 1.3 times the graph that is written out.

Memory: the gradient of h <- tanh(h W) over 300 steps, in states (what tracemalloc
says that the first run allocates at most, over the bytes of a state) for each step;
targets: 1.05, and 0.13 with ``checkpoint_every=17``.  The state has 256 KiB, the
weights a sixteenth of it.

    python benchmarks/loops.py [time] [memory] [JAX's own figure: jax]
"""

from __future__ import annotations

from _common import compare, installed  # before NumPy: thread counts

# isort: split

import gc
import sys
import tracemalloc
from functools import partial
from typing import Any

import numpy as np

import dagrad as dg

STEPS = 50
SIZES = ((1, 8, 16), (16, 32, 64), (64, 128, 256))
LENGTH, ROWS, UNITS = 300, 1024, 64


def lstm(batch: int, inputs: int, units: int) -> tuple[Any, dict[str, Any]]:
    """The input, and per way of looping (loss, gradients)."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.1, (inputs + units, 4 * units)).astype(np.float32)
    xs = dg.placeholder(dg.float32, [STEPS, batch, inputs])
    w, b = dg.Variable(weights), dg.Variable(np.zeros(4 * units, np.float32))

    def cell(state: Any, x: Any) -> Any:
        h, c = state
        z = dg.matmul(dg.concat([x, h], 1), w) + b
        i, j, f, o = dg.split(z, 4, 1)
        c = c * dg.sigmoid(f + 1.0) + dg.sigmoid(i) * dg.tanh(j)
        return dg.tanh(c) * dg.sigmoid(o), c

    start = (dg.zeros([batch, units]), dg.zeros([batch, units]))
    state = start
    for x in dg.unstack(xs):
        state = cell(state, x)
    ends = {
        "written out": state[0],
        "foldl": dg.foldl(cell, xs, start)[0],
        "scan": dg.scan(cell, xs, start)[0][-1],
        "while_loop": dg.while_loop(
            lambda i, h, c: i < STEPS,
            lambda i, h, c: (i + 1, *cell((h, c), xs[i])),
            [0, *start],
        )[1],
    }
    built = {}
    for name, h in ends.items():
        loss = dg.reduce_sum(h * h)
        built[name] = loss, dg.gradients(loss, [w, b])
    return xs, built


def times() -> bool:
    """Compare the ways to loop; whether none is slower than the target."""
    good = True
    for sizes in SIZES:
        dg.reset_default_graph()
        xs, built = lstm(*sizes)
        value = np.random.default_rng(1).normal(size=(STEPS, *sizes[:2]))
        feeds = {xs: value.astype(np.float32)}
        with dg.Session() as session:
            session.run(dg.global_variables_initializer())
            want = session.run(built["written out"], feeds)
            for name, fetches in built.items():
                for a, b in zip(want[1], session.run(fetches, feeds)[1]):
                    np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5, err_msg=name)
            for what, part in (("forward", 0), ("with gradients", slice(None))):
                sides = {}
                for name, fetches in built.items():
                    run = session.make_callable(fetches[part], [xs])
                    sides[name] = partial(run, feeds[xs])
                title = f"LSTM batch {sizes[0]}, {sizes[1]} -> {sizes[2]}, {what}"
                found = compare(title, sides, "1.3")
                base = found["written out"].cpu
                good &= all(t.cpu <= 1.3 * base for t in found.values())
    return good


def states(fetches: Any, feeds: Any) -> float:
    """States for each step that the first run allocates at most."""
    with dg.Session() as session:
        gc.collect()
        tracemalloc.start()
        session.run(fetches, feeds)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak / (4 * ROWS * UNITS) / LENGTH


def memory() -> bool:
    """Print what gradients keep; whether it is within the targets."""
    start = dg.placeholder(dg.float32, [ROWS, UNITS])
    w = dg.placeholder(dg.float32, [UNITS, UNITS])
    steps = dg.placeholder(dg.int32, [])
    rng = np.random.default_rng(0)
    feeds = {
        start: rng.normal(0, 0.1, (ROWS, UNITS)).astype(np.float32),
        w: np.eye(UNITS, dtype=np.float32),
        steps: LENGTH,
    }

    def by_fold(every: Any) -> Any:
        return dg.foldl(
            lambda h, _: dg.tanh(dg.matmul(h, w)),
            dg.zeros([LENGTH]),
            start,
            checkpoint_every=every,
        )

    def by_while(every: Any) -> Any:
        return dg.while_loop(
            lambda i, h: i < steps,
            lambda i, h: (i + 1, dg.tanh(dg.matmul(h, w))),
            [0, start],
            checkpoint_every=every,
        )[1]

    def by_scan(every: Any) -> Any:
        step = lambda h, _: dg.tanh(dg.matmul(h, w))  # noqa: E731
        return dg.scan(step, dg.zeros([LENGTH]), start)[-1]

    # What a process imports once, llvmlite among it, is no state.
    h = by_fold(17)
    with dg.Session() as session:
        session.run(dg.gradients(h, [w]), feeds)
    good = True
    blocks = ((None, 1.05), (17, 0.13), ("least", 0.13), ([42, 7], None))
    ways = (
        ("foldl", by_fold, blocks),
        ("while_loop", by_while, blocks),
        ("scan(...)[-1]", by_scan, blocks[:1]),
    )
    for name, build, asked in ways:
        for every, target in asked:
            h = build(every)
            loss = dg.reduce_sum(h * h)
            found = states([loss, dg.gradients(loss, [w, start])], feeds)
            aim = "" if target is None else f"   [target: {target}]"
            print(f"  {name}, checkpoint_every={every}: {found:.3f} states a step{aim}")
            good &= target is None or found <= target
    return good


def peer() -> None:
    """What JAX's compiler says that the gradient of its scan takes."""
    if not installed("jax"):
        return
    import jax
    import jax.numpy as jnp

    def loss(w: Any, h: Any) -> Any:
        h, _ = jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), h, length=LENGTH)
        return jnp.sum(h * h)

    shapes = [
        jax.ShapeDtypeStruct(s, jnp.float32) for s in ((UNITS, UNITS), (ROWS, UNITS))
    ]
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(*shapes).compile()
    found = compiled.memory_analysis().temp_size_in_bytes
    print(f"  jax.lax.scan: {found / (4 * ROWS * UNITS) / LENGTH:.3f} states a step")


def main() -> int:
    """Run the parts that are named, or all; 1 where a target is missed."""
    parts = sys.argv[1:] or ["time", "memory", "jax"]
    good = True
    if "time" in parts:
        good &= times()
    if "memory" in parts:
        good &= memory()
    if "jax" in parts:
        peer()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
