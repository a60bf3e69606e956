"""What the benchmarks share: thread counts, interleaved timing, tables of ratios.

Import it before NumPy: BLAS reads its thread count when it is loaded.  Every
library gets the same number of threads, ``DAGRAD_BENCH_THREADS`` (default 1: on
a shared machine two spinning thread pools measure each other).
"""

from __future__ import annotations

import importlib.util
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

THREADS = int(os.environ.get("DAGRAD_BENCH_THREADS", "1"))
for _name in ("OPENBLAS", "OMP", "MKL", "NUMBA"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", str(THREADS))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if THREADS == 1:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

Run = Callable[[], Any]


class Times(NamedTuple):
    """Seconds of one side: least and median on the clock, median on the processor.

    Processor time counts all threads of the process; on a machine that others
    use it is the steadiest of the three.
    """

    least: float
    median: float
    cpu: float


def installed(module: str) -> bool:
    """Whether a peer can be imported; says so where it cannot."""
    if importlib.util.find_spec(module) is not None:
        return True
    print(f"  {module}: not installed")
    return False


def interleave(
    sides: dict[str, Run], seconds: float = 2.0, rounds: int = 60
) -> dict[str, Times]:
    """Run the sides by turns, so that a slow spell of the machine meets each.

    The order changes from round to round: who runs before whom decides what is
    left in the caches.

    Short runs are timed in groups, so that the clock does not count; at least
    seven rounds, at most ``rounds``, about ``seconds`` for each side.
    """
    once = {}
    for name, run in sides.items():
        for _ in range(3):
            run()
        start = time.perf_counter()
        run()
        once[name] = time.perf_counter() - start
    group = {name: max(1, int(3e-4 / t)) for name, t in once.items()}
    slowest = max(t * group[name] for name, t in once.items())
    turns = random.Random(0)
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(max(7, min(rounds, int(seconds / slowest)))):
        for name in turns.sample(list(sides), len(sides)):
            n, run = group[name], sides[name]
            start, used = time.perf_counter(), time.process_time()
            for _ in range(n):
                run()
            cpu[name].append((time.process_time() - used) / n)
            wall[name].append((time.perf_counter() - start) / n)
    middle = statistics.median
    return {k: Times(min(wall[k]), middle(wall[k]), middle(cpu[k])) for k in sides}


def table(title: str, times: dict[str, Times], target: str = "") -> None:
    """Print each side's times and its ratio to the first (above 1: slower)."""
    print(f"{title}{f'   [target: {target}]' if target else ''}")
    base = next(iter(times.values()))
    unit, scale = ("ms", 1e3) if base.least > 1e-3 else ("us", 1e6)
    print(f"  {unit:20}   least         median       processor, median")
    for name, t in times.items():
        print(
            f"  {name:16}"
            f"{t.least * scale:10.3f} x{t.least / base.least:5.2f}"
            f"{t.median * scale:10.3f} x{t.median / base.median:5.2f}"
            f"{t.cpu * scale:10.3f} x{t.cpu / base.cpu:5.2f}",
            flush=True,
        )


def compare(
    title: str, sides: dict[str, Run], target: str = "", seconds: float = 2.0
) -> dict[str, Times]:
    """Time the sides against each other and print the table."""
    times = interleave(sides, seconds)
    table(title, times, target)
    return times
