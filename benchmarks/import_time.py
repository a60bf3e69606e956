"""What `import dagrad` costs over `import numpy`, in fresh interpreters.

The two programs alternate, so that a slow spell of the machine meets both. Printed
are the medians in seconds, their ratio, and the difference, which is to stay at or
under 0.15 s.

    python benchmarks/import_time.py [--runs N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

BUDGET = 0.15
PROGRAMS = {"python": "pass", "numpy": "import numpy", "dagrad": "import dagrad"}


def seconds(program: str, cache: str) -> float:
    """Time one fresh interpreter."""
    # As users have it: from byte code, which some environments do not write.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return time.perf_counter() - start


def measure(runs: int) -> dict[str, float]:
    """The median time of each program; one unmeasured round warms the caches."""
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(runs + 1):
            for name, program in PROGRAMS.items():
                taken = seconds(program, cache)
                if turn:
                    times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> int:
    """Print the figures; the exit status is 1 where the budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11, help="runs of each program")
    median = measure(parser.parse_args().runs)
    for name, value in median.items():
        print(f"{name:8s} {value:.3f} s")
    extra = median["dagrad"] - median["numpy"]
    print(f"ratio    {median['dagrad'] / median['numpy']:.2f}")
    print(f"extra    {extra:.3f} s (at most {BUDGET} s)")
    return 0 if extra <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
