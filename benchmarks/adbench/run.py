"""ADBench: what a derivative costs, in times of its function.

    python benchmarks/adbench/run.py [gmm] [ba] [lstm] [hand]

For each problem: milliseconds of the objective, of the objective with its gradient
or Jacobian in one run, and their ratio with its target.  Random instances of the
published sizes; float64, one thread; the least processor time of many runs, which
the machine's other users disturb least.  Exits with 1 where a target is missed.

Reference:
    Srajer, Kukelova & Fitzgibbon, A benchmark of selected algorithmic
    differentiation tools on some problems in computer vision and machine learning,
    Optimization Methods and Software 33 (2018).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _common  # noqa: F401  (before NumPy)
import objectives
import problems

import dagrad as dg


class Case(NamedTuple):
    """One instance; no target where the Jacobian is mostly the writing of it."""

    name: str
    build: Callable[[], objectives.Built]
    target: float | None


def cases(names: list[str]) -> Iterator[Case]:
    """The instances of the problems named."""
    if "gmm" in names:
        for n in (1_000, 10_000):
            made = problems.mixture(n)
            yield Case(f"GMM d10 K25 n{n}", lambda m=made: objectives.mixture(m), 3.0)
    if "ba" in names:
        made = problems.bundle()
        yield Case("BA n49 m7776 p31843", lambda: objectives.bundle(made), 4.0)
    if "lstm" in names:
        for layers in (2, 4):
            text = problems.sequence(layers)
            yield Case(
                f"LSTM l{layers} c1024", lambda t=text: objectives.sequence(t), 4.0
            )
    if "hand" in names:
        for p, target in ((100, 4.0), (400, 4.0), (25_600, None)):
            for complicated in (False, True):
                pose = problems.hand(p, complicated=complicated)
                yield Case(
                    f"Hand {'complicated' if complicated else 'simple'} c{p}",
                    lambda h=pose, c=complicated: objectives.hand(h, c),
                    target,
                )


def measure(built: objectives.Built) -> tuple[float, float]:
    """Least processor seconds of the objective, and with its derivatives, by turns."""
    session = dg.Session()
    keys, values = list(built.feeds), list(built.feeds.values())
    sides = [session.make_callable(f, keys) for f in (built.objective, built.both)]
    for _ in range(3):
        for run in sides:
            run(*values)
    times: list[list[float]] = [[], []]
    begin = time.perf_counter()
    while len(times[0]) < 7 or time.perf_counter() - begin < 1.0:
        for run, seen in zip(sides, times):
            start = time.process_time()
            run(*values)
            seen.append(time.process_time() - start)
    return min(times[0]), min(times[1])


def main() -> int:
    """Print the table; 1 where a target is missed."""
    missed = 0
    print(
        f"{'':26}{'objective ms':>13}{'with derivatives':>18}{'ratio':>8}{'target':>8}"
    )
    for case in cases(sys.argv[1:] or ["gmm", "ba", "lstm", "hand"]):
        with dg.Graph().as_default():
            function, both = measure(case.build())
        ratio = both / function
        late = case.target is not None and ratio > case.target
        missed += late
        print(
            f"{case.name:26}{function * 1e3:13.3f}{both * 1e3:18.3f}{ratio:8.2f}"
            f"{case.target or '-':>8}{'  missed' if late else ''}",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
