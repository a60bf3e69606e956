"""Time and quality of the memory planner on synthetic programs.

Run as `python benchmarks/planner.py [nodes ...]`. For each program: the seconds
to order and to place, the peak of each order tried relative to the best, and
the arena relative to the peak of live (aligned) bytes.
"""

from __future__ import annotations

import random
import sys
import time
from itertools import pairwise

from dagrad.runtime.liveness import lifetimes
from dagrad.runtime.memory import place
from dagrad.runtime.schedule import Problem, order


class Program:
    """A problem in the making."""

    def __init__(self) -> None:
        self.reads: list[list[int]] = []
        self.writes: list[list[int]] = []
        self.inplace: list[list[tuple[int, int]]] = []
        self.work: list[int] = []
        self.nbytes: list[int] = []
        self.kept: set[int] = set()

    def external(self, nbytes: int) -> int:
        """A new buffer that no node defines."""
        self.nbytes.append(nbytes)
        return len(self.nbytes) - 1

    def node(
        self, reads: list[int], nbytes: int | None, into: int = -1, work: int = 0
    ) -> int:
        """A new node and its output (None: no output); `into` may be taken over."""
        out = -1 if nbytes is None else self.external(nbytes)
        self.reads.append(reads)
        self.writes.append([] if nbytes is None else [out])
        self.inplace.append([(out, into)] if into >= 0 else [])
        self.work.append(work)
        return out

    def problem(self) -> Problem:
        """The finished problem, without anti-dependencies."""
        return Problem(
            reads=self.reads,
            writes=self.writes,
            after=[()] * len(self.reads),
            nbytes=self.nbytes,
            kept=frozenset(self.kept),
            work=self.work,
            inplace=self.inplace,
        )


def layered(nodes: int, mixed: bool = False) -> Problem:
    """Forward, backward and, last of all, the updates of a deep network.

    A layer has eight nodes; with `mixed` its width changes from layer to layer.
    """
    rng = random.Random(nodes)
    program = Program()
    batch, layers = 64, max(1, nodes // 8)
    choices = (64, 100, 128, 300, 512) if mixed else (128,)
    widths = [rng.choice(choices) for _ in range(layers + 1)]
    x = program.external(4 * batch * widths[0])
    weights = [program.external(4 * a * b) for a, b in pairwise(widths)]
    inputs = []
    for weight, width in zip(weights, widths[1:], strict=True):
        inputs.append(x)
        size = 4 * batch * width
        product = program.node([x, weight], size)
        biased = program.node([product], size, into=product)
        x = program.node([biased], size, into=biased)
    loss = program.node([x], 4, work=4 * batch)
    program.kept.add(loss)
    grad = program.node([x, loss], 4 * batch * widths[-1])
    updates = []
    for k in range(layers - 1, -1, -1):
        size = 4 * batch * widths[k + 1]
        grad = program.node([grad, x], size, into=grad)
        bias = program.node([grad], 4 * widths[k + 1])
        weight = program.node([inputs[k], grad], 4 * widths[k] * widths[k + 1])
        grad = program.node([grad, weights[k]], 4 * batch * widths[k])
        updates.append((weight, weights[k], bias))
        x = inputs[k]
    for weight, variable, bias in updates:
        program.node([weight, variable, bias], None)
    return program.problem()


def branching(nodes: int, window: int = 60) -> Problem:
    """Random nodes of one to three recent inputs and sizes from 4 B to 400 kB."""
    rng = random.Random(nodes)
    program = Program()
    buffers = [program.external(4096)]
    for _ in range(nodes):
        low = max(0, len(buffers) - window)
        reads = [rng.randrange(low, len(buffers)) for _ in range(rng.randint(1, 3))]
        size = int(4 * 10 ** rng.uniform(0, 5))
        buffers.append(program.node([buffers[i] for i in reads], size))
    return program.problem()


def wide(nodes: int) -> Problem:
    """A random graph with no locality: any earlier buffer may be read."""
    return branching(nodes, window=nodes)


def measure(name: str, problem: Problem) -> None:
    """Prints one line for one problem."""
    start = time.perf_counter()
    plan = order(problem)
    ordered = time.perf_counter()
    life = lifetimes(problem, plan.nodes)
    lived = time.perf_counter()
    placed = place(life.groups)
    end = time.perf_counter()
    tried = " ".join(
        f"{kind} {peak / max(plan.peak, 1):.3f}" for kind, peak in plan.tried.items()
    )
    print(
        f"{name:<10}{len(problem.reads):>8} nodes  order {ordered - start:6.3f} s  "
        f"lifetimes {lived - ordered:6.3f} s  place {end - lived:6.3f} s  "
        f"arena/peak {placed.total / max(placed.peak, 1):.4f}  [{tried}]"
    )


def main() -> None:
    """Measures every kind of program at the sizes given."""
    for nodes in [int(a) for a in sys.argv[1:]] or [1_000, 10_000, 100_000, 300_000]:
        measure("layered", layered(nodes))
        measure("mixed", layered(nodes, mixed=True))
        measure("branching", branching(nodes))
        if nodes <= 30_000:
            measure("wide", wide(nodes))


if __name__ == "__main__":
    main()
