"""LeNet training: dagrad beside TensorFlow 1's sessions and PyTorch.

Batch 32 of 28x28x1; 5x5 convolutions of 32 and 64 filters, each with bias, relu and a
2x2 pool; dense layers of 512 and 10; softmax cross entropy; float32; one thread.
Every library runs in a process of its own, and the processes take turns: blocks of
steps, round by round.  The first losses are compared.  The peers may live in
another interpreter:

    python benchmarks/lenet.py [sgd] [adam] [--peers PYTHON] [--rounds N]

Printed are milliseconds a step: the least and the median on the clock, and of
processor time, which other users of the machine disturb least.
"""

from __future__ import annotations

from _common import THREADS  # before NumPy: thread counts

# isort: split

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import peers
from models import Model

LIBRARIES = ("dagrad", "tensorflow", "torch")
#: Of TensorFlow's time at most, with the extra dagrad[jit] and without.
TARGET = 1.0 if importlib.util.find_spec("llvmlite") else 1.4
if os.environ.get("DAGRAD_NATIVE") == "off":
    TARGET = 1.4
STEPS = 10  # in a block


def lenet_loss(ops: Any, params: Any, x: Any, labels: Any) -> Any:
    w1, b1, w2, b2, w3, b3, w4, b4 = params
    h = ops.pool(ops.relu(ops.bias(ops.conv(x, w1), b1)))
    h = ops.pool(ops.relu(ops.bias(ops.conv(h, w2), b2)))
    h = ops.relu(ops.reshape(h, (32, 7 * 7 * 64)) @ w3 + b3)
    return ops.cross_entropy(h @ w4 + b4, labels)


def lenet() -> Model:
    """The network, its parameters and one batch."""
    rng = np.random.default_rng(0)
    params = []
    for shape in ((5, 5, 1, 32), (5, 5, 32, 64), (7 * 7 * 64, 512), (512, 10)):
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        params.append((rng.standard_normal(shape) * scale).astype(np.float32))
        params.append(np.full(shape[-1], 0.1, np.float32))
    x = rng.random((32, 28, 28, 1), np.float32)
    labels = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 32)]
    return Model("LeNet", lenet_loss, params, [x, labels])


def work(library: str, optimizer: str) -> None:
    """Answer each line on stdin with the times of a block of steps."""
    if importlib.util.find_spec(library) is None:
        print("null", flush=True)
        return
    run = peers.PEERS[library]().training(lenet(), optimizer)  # type: ignore[misc]
    print(json.dumps([float(run()) for _ in range(5)]), flush=True)
    for _ in sys.stdin:
        wall, used = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            run()
        wall, used = time.perf_counter() - wall, time.process_time() - used
        print(json.dumps([wall / STEPS, used / STEPS]), flush=True)


class Worker:
    """A library in its own process."""

    def __init__(self, library: str, optimizer: str, python: str) -> None:
        # TensorFlow has much to say there; it counts where the process dies.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, __file__, "--work", library, optimizer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.losses = self._answer()
        self.times: list[tuple[float, float]] = []

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            sys.exit(f"{self.process.args}:\n{self.errors.read()[-2000:]}")
        return json.loads(line)

    def block(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(self._answer())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def compare(optimizer: str, python: str, rounds: int) -> float:
    """Print a table; dagrad's processor time over TensorFlow's, or 0."""
    workers = {}
    for library in LIBRARIES:
        mine = sys.executable if library == "dagrad" else python
        worker = Worker(library, optimizer, mine)
        if worker.losses is None:
            print(f"  {library}: not installed")
        else:
            workers[library] = worker
    first = workers["dagrad"].losses
    for library, worker in workers.items():
        if not np.allclose(worker.losses, first, rtol=1e-3):
            sys.exit(f"{library}: losses {worker.losses}, dagrad's {first}")
    turns = random.Random(0)
    for _ in range(rounds):
        for library in turns.sample(list(workers), len(workers)):
            workers[library].block()
    print(f"LeNet, {optimizer}, {THREADS} thread(s), ms a step")
    print(
        f"{'':12}{'clock: least':>14}{'median':>9}{'processor: least':>19}{'median':>9}"
    )
    for library, worker in workers.items():
        worker.close()
        row = []
        for side in zip(*worker.times):
            row += [min(side) * 1e3, statistics.median(side) * 1e3]
        print(f"{library:12}{row[0]:14.2f}{row[1]:9.2f}{row[2]:19.2f}{row[3]:9.2f}")
    if "tensorflow" not in workers:
        return 0.0
    ours, theirs = (
        statistics.median(used for _, used in workers[name].times)
        for name in ("dagrad", "tensorflow")
    )
    ratio = ours / theirs
    print(f"dagrad / TensorFlow: {ratio:.2f}   [target: at most {TARGET}]", flush=True)
    return ratio


def main() -> int:
    """The tables; 1 where the target is missed."""
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("optimizers", nargs="*", default=["sgd", "adam"])
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    ratios = [compare(o, given.peers, given.rounds) for o in given.optimizers]
    return int(max(ratios) > TARGET)


if __name__ == "__main__":
    sys.exit(main())
