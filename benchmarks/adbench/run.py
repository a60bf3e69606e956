"""ADBench: what a derivative costs, in times of its function.

    python benchmarks/adbench/run.py [gmm] [ba] [lstm] [hand] [colours] [--peer jax]

For each problem: milliseconds of the objective, of the objective with its gradient
or Jacobian in one run, and their ratio with its target.  Random instances of the
published sizes; float64, one thread; the least processor time of many runs, which
the machine's other users disturb least.  Exits with 1 where a target is missed.
``colours`` is bundle adjustment's Jacobian by ``sparse_jacobian``, which finds the
structure by itself and gives a SciPy matrix.  With a peer its times, in turn with
dagrad's, and how many times dagrad's they are.

Reference:
    Srajer, Kukelova & Fitzgibbon, A benchmark of selected algorithmic
    differentiation tools on some problems in computer vision and machine learning,
    Optimization Methods and Software 33 (2018).
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _common  # before NumPy
import numpy as np
import objectives
import problems

import dagrad as dg


class Case(NamedTuple):
    """One instance; no target where the Jacobian is mostly the writing of it.

    With 25,600 points that is 16 MB for an objective of 0.6 MB: filling so much memory
    with zeros takes 0.62 ms, a gather of rows 0.75, and a hand's simple objective 0.2
    to 0.25.  The complicated one has a product of 24 MB and a gather of 17 MB: 1.5 and
    1.6 ms.
    """

    name: str
    kind: str  #: the function of ``objectives`` and of a peer
    problem: tuple[Any, ...]
    target: float | None


def cases(names: list[str]) -> Iterator[Case]:
    """The instances of the problems named."""
    if "gmm" in names:
        for n in (1_000, 10_000):
            yield Case(f"GMM d10 K25 n{n}", "mixture", (problems.mixture(n),), 3.0)
    if "ba" in names:
        yield Case("BA n49 m7776 p31843", "bundle", (problems.bundle(),), 4.0)
    if "colours" in names:
        made = problems.bundle()
        yield Case("BA by sparse_jacobian", "bundle_by_colours", (made,), 4.0)
    if "lstm" in names:
        for layers in (2, 4):
            text = problems.sequence(layers)
            yield Case(f"LSTM l{layers} c1024", "sequence", (text,), 4.0)
    if "hand" in names:
        for p, target in ((100, 4.0), (400, 4.0), (25_600, None)):
            for complicated in (False, True):
                pose = problems.hand(p, complicated=complicated)
                kind = "complicated" if complicated else "simple"
                yield Case(f"Hand {kind} c{p}", "hand", (pose, complicated), target)


def ours(case: Case) -> list[Callable[[], Any]]:
    """The objective, and with its derivatives, by dagrad."""
    with dg.Graph().as_default():
        built = getattr(objectives, case.kind)(*case.problem)
        session = dg.Session()
        keys, values = list(built.feeds), list(built.feeds.values())
        calls = [session.make_callable(f, keys) for f in (built.objective, built.both)]
        return [lambda call=call: call(*values) for call in calls]


def measure(sides: list[Callable[[], Any]]) -> list[float]:
    """Least processor seconds of calls, by turns."""
    for _ in range(3):
        for run in sides:
            run()
    times: list[list[float]] = [[] for _ in sides]
    begin = time.perf_counter()
    while len(times[0]) < 7 or time.perf_counter() - begin < 0.5 * len(sides):
        for run, seen in zip(sides, times):
            start = time.process_time()
            run()
            seen.append(time.process_time() - start)
    return [min(seen) for seen in times]


def check(found: Any, want: Any) -> None:
    """Two libraries' values and derivatives agree."""
    for a, b in zip(_leaves(found), _leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())


def _leaves(values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)):
        return [np.asarray(values)]
    return [leaf for v in values for leaf in _leaves(v)]


def main() -> int:
    """Print the table; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description="ADBench: derivatives over functions")
    known = ["gmm", "ba", "lstm", "hand", "colours"]
    parser.add_argument("problems", nargs="*", choices=[[], *known])
    parser.add_argument("--peer", choices=["jax"])
    arguments = parser.parse_args()
    peer = None
    if arguments.peer and _common.installed(arguments.peer):
        peer = importlib.import_module(f"peer_{arguments.peer}")
    missed = 0
    print(
        f"{'':26}{'objective ms':>13}{'with derivatives':>18}{'ratio':>8}{'target':>8}"
    )
    for case in cases(arguments.problems or known):
        sides = ours(case)
        theirs = getattr(peer, case.kind, None)
        if theirs is not None:
            sides += theirs(*case.problem)
            check(sides[1](), sides[3]())
        function, both, *other = measure(sides)
        ratio = both / function
        late = case.target is not None and ratio > case.target
        missed += late
        print(
            f"{case.name:26}{function * 1e3:13.3f}{both * 1e3:18.3f}{ratio:8.2f}"
            f"{case.target or '-':>8}{'  missed' if late else ''}",
            flush=True,
        )
        if other:
            f, d = other
            print(
                f"{'  ' + arguments.peer:26}{f * 1e3:13.3f}{d * 1e3:18.3f}{d / f:8.2f}"
                f"   {f / function:.2f} and {d / both:.2f} times dagrad's",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
