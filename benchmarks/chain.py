"""A chain of n operations: build, differentiate, plan, run, free.

Prints microseconds per operation of the forward chain, and the ratio of the
time per operation at the largest size to that at a tenth of it.

    python benchmarks/chain.py [n ...]
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

import numpy as np


def program(tanh: Any, x: Any, n: int) -> Any:
    """About ``n`` operations; the number becomes a node of its own."""
    y = x
    for _ in range(n // 4):
        y = tanh(y)
        y = y * 1.01
        y = y + x
    return y


def chain(n: int) -> dict[str, float]:
    """Seconds of each phase for a chain of ``n`` operations on 10 elements."""
    import dagrad as dg

    seconds = {}
    graph = dg.Graph()
    start = time.perf_counter()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [10])
        y = program(dg.tanh, x, n)
        seconds["build"] = time.perf_counter() - start
        start = time.perf_counter()
        (g,) = dg.gradients(y, x)
        seconds["gradients"] = time.perf_counter() - start
        session = dg.Session()
        feed = {x: np.linspace(-1, 1, 10, dtype=np.float32)}
        start = time.perf_counter()
        session.plan([y, g], feed)
        seconds["plan"] = time.perf_counter() - start
        start = time.perf_counter()
        session.run([y, g], feed)
        seconds["first run"] = time.perf_counter() - start
        start = time.perf_counter()
        session.run([y, g], feed)
        seconds["second run"] = time.perf_counter() - start
    start = time.perf_counter()
    session.close()
    del graph, x, y, g, session, feed
    gc.collect()
    seconds["free"] = time.perf_counter() - start
    return seconds


def main() -> None:
    """Print a table."""
    sizes = [int(a) for a in sys.argv[1:]] or [1_000, 10_000, 100_000]
    totals = {}
    for n in sizes:
        seconds = chain(n)
        totals[n] = sum(seconds.values())
        row = "  ".join(f"{k} {v / n * 1e6:6.2f}" for k, v in seconds.items())
        print(f"{n:8} ops: {totals[n]:7.3f} s   us/op: {row}")
    last = sizes[-1]
    if last // 10 in totals:
        ratio = totals[last] / last / (totals[last // 10] / (last // 10))
        print(f"time per op at {last} / at {last // 10}: {ratio:.2f}")


if __name__ == "__main__":
    main()
