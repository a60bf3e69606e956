"""One library at one row of compare.py, in a process of its own.

    python benchmarks/worker.py LIBRARY ROW

Answers are lines of JSON on stdout.  The first says what was prepared: ``result``
(the sums of the absolute values of what the call returns, for comparison),
``once`` (seconds of a warm call; of the first where the row is not warmed up),
``ready`` (seconds to build, compile and run once), ``base`` (bytes that the process
had taken at most before that) and ``peak`` (bytes since it started); or ``unable``,
the reason why there is nothing to time.  Then each line on stdin, a number of calls,
is answered with ``wall`` and ``cpu``, seconds of a call, and ``peak``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

SCALE = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB here


def peak() -> int:
    """The most bytes of memory that this process has had.

    Linux counts in ru_maxrss what the process held that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * SCALE


def stay(cores: int) -> None:
    """Keep to as many cores as threads were asked for, where the system can (Linux).

    Not every library heeds the number it is given: XLA's pools take what they find.
    """
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[-cores:])


def sums(result: Any) -> list[float]:
    """What a call returned, each array as the sum of its absolute values."""
    import numpy as np

    if result is None:
        return []
    parts = result if isinstance(result, (list, tuple)) else [result]
    return [float(np.abs(np.asarray(p, np.float64)).sum()) for p in parts]


def timed(run: Callable[[], Any], times: int) -> tuple[float, float]:
    """Seconds of a call: on the clock, and on the processor."""
    start, used = time.perf_counter(), time.process_time()
    for _ in range(times):
        run()
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    return wall / times, cpu / times


def main(library: str, name: str) -> None:
    """Prepare, say so, and answer."""
    stay(int(os.environ.get("DAGRAD_BENCH_THREADS", "1")))
    # Some libraries print; what they print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    from rows import ROWS, Unable

    row = next(r for r in ROWS if r.name == name)
    if library != "numpy":
        import_module(library)
    base, start = peak(), time.perf_counter()
    try:
        run = row.prepare(library)
    except Unable as reason:
        answer(unable=str(reason))
        return
    first = time.perf_counter()
    result = sums(run())
    ready = time.perf_counter() - start
    once = time.perf_counter() - first
    if row.kind == "steady":
        timed(run, 3)
        once, _ = timed(run, 1)
    answer(
        result=result,
        ready=ready,
        once=once,
        base=base,
        peak=peak(),
        cpu=time.process_time(),
    )
    for line in sys.stdin:
        wall, cpu = timed(run, int(line))
        answer(wall=wall, cpu=cpu, peak=peak())


if __name__ == "__main__":
    main(*sys.argv[1:])
