"""Threads: what numbers of threads save in one session, and two sessions side by side.

One session: the same program with no number asked, with 1, and with 2 threads for
large steps (intra), for branches (inter), or both.  Two sessions: each in a thread of
its own, both make as many runs as one alone; target: at most 1.2 times its time.
A bare NumPy call of the same kind, in two threads, shows what the machine allows.

    python benchmarks/threads.py [one] [two]
"""

from __future__ import annotations

from _common import Run, compare  # before NumPy: thread counts

# isort: split

import queue
import sys
import threading
import time
import timeit
from collections.abc import Callable
from typing import Any

import models
import numpy as np
from peers import dagrad

import dagrad as dg

Program = Callable[[], tuple[Any, dict[Any, Any]]]  # fetches, feeds


def elementwise() -> tuple[Any, dict[Any, Any]]:
    """tanh(a*x+b)*sigmoid(x) - exp(-x*x) and its gradient, a million elements."""
    x = dg.placeholder(dg.float32, [1_000_000])
    y = dg.tanh(2.0 * x + 1.0) * dg.sigmoid(x) - dg.exp(-x * x)
    a = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    return [y, dg.gradients(y, x)[0]], {x: a}


def towers() -> tuple[Any, dict[Any, Any]]:
    """Two chains of products and tanh, which meet, and the gradient."""
    rng = np.random.default_rng(1)
    x = dg.placeholder(dg.float32, [256, 512])
    ends, weights = [], []
    for _ in range(2):
        h = x
        for _ in range(4):
            w = rng.standard_normal((512, 512)) / 22.6
            weights.append(dg.Variable(w.astype(np.float32)))
            h = dg.tanh(dg.matmul(h, weights[-1]))
        ends.append(h)
    y = dg.reduce_sum(ends[0] * ends[1])
    a = rng.standard_normal((256, 512)).astype(np.float32)
    return dg.gradients(y, weights), {x: a}


def product() -> tuple[Any, dict[Any, Any]]:
    """One product of 1024 by 1024 matrices."""
    x = dg.placeholder(dg.float32, [1024, 1024])
    y = dg.placeholder(dg.float32, [1024, 1024])
    a = np.random.default_rng(2).standard_normal((1024, 1024)).astype(np.float32)
    return dg.matmul(x, y), {x: a, y: a + 1}


def session(program: Program, intra: int = 0, inter: int = 0) -> Run:
    """The program in a session of its own, ready to run."""
    config = dg.ConfigProto(
        intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter
    )
    with dg.Graph().as_default():
        fetches, feeds = program()
        s = dg.Session(config=config)
        s.run(dg.global_variables_initializer())
    run = s.make_callable(fetches, list(feeds))
    values = list(feeds.values())
    return lambda: run(*values)


def one_session() -> None:
    """Numbers of threads in one session."""
    for program in (elementwise, towers, product):
        sides = {"no number": session(program)}
        for intra, inter in ((1, 1), (2, 1), (1, 2), (2, 2)):
            sides[f"intra {intra} inter {inter}"] = session(program, intra, inter)
        compare(f"one session: {program.__doc__}", sides)


class Second:
    """Another thread, which makes a call when it is asked to."""

    def __init__(self, call: Run) -> None:
        self._call = call
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._asked.get()
            self._call()
            self._done.put(None)

    def with_mine(self, call: Run) -> Run:
        """A function that makes both calls at once."""

        def both() -> None:
            self._asked.put(None)
            call()
            self._done.get()

        return both


def repeated(call: Run, seconds: float = 0.03) -> Run:
    """So many calls that the start of a thread does not count."""
    call()
    once = min(timeit.repeat(call, number=1, repeat=5))
    count = max(1, int(seconds / once))

    def calls() -> None:
        for _ in range(count):
            call()

    return calls


def step(model: models.Model) -> Run:
    """A model's value and gradients, in a session of its own."""
    return dagrad().gradients(model)


def warm(run: Run) -> Run:
    """``run`` once its session has what it gets in time: native code, direct runs."""
    for _ in range(2):
        for _ in range(60):
            run()
        time.sleep(1)
    return run


def two_sessions() -> None:
    """Two sessions in two threads."""
    a = np.random.default_rng(3).standard_normal(1 << 16).astype(np.float32)

    def bare() -> Run:
        out = np.empty_like(a)
        return lambda: np.tanh(a, out)

    sides: dict[str, Callable[[], Run]] = {
        "NumPy, tanh of 65,536 numbers": bare,
        "MLP step": lambda: step(models.mlp()),
        "elementwise": lambda: session(elementwise),
        "LSTM": lambda: step(models.lstm()),
    }
    for name, make in sides.items():
        mine = repeated(warm(make()))
        pair = Second(repeated(warm(make()))).with_mine(mine)
        compare(name, {"one": mine, "two threads": pair}, "at most 1.2")


if __name__ == "__main__":
    asked = sys.argv[1:] or ["one", "two"]
    if "one" in asked:
        one_session()
    if "two" in asked:
        two_sessions()
