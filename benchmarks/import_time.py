"""What `import dagrad` and a first result cost over `import numpy`.

In fresh interpreters, whose programs alternate, so that a slow spell of the machine
meets all. Printed are the medians in seconds and what each takes beyond NumPy, which
is to stay at or under 0.02 s for the import, and 0.1 s for the result: names load when
they are first used, so that an import alone says little.

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

BUDGETS = {"dagrad": 0.02, "result": 0.1}
RESULT = """
import dagrad as tf
x = tf.placeholder(tf.float32, [3])
(g,) = tf.gradients(tf.reduce_sum(tf.tanh(x) * 2.0), [x])
tf.Session().run(g, {x: [1.0, 2.0, 3.0]})
"""
PROGRAMS = {
    "python": "pass",
    "numpy": "import numpy",
    "dagrad": "import numpy, dagrad",
    "result": RESULT,
}


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
    """Print the figures; the exit status is 1 where a budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11, help="runs of each program")
    median = measure(parser.parse_args().runs)
    for name, value in median.items():
        print(f"{name:8s} {value:.3f} s")
    over = False
    for name, budget in BUDGETS.items():
        extra = median[name] - median["numpy"]
        print(f"{name:8s} {extra:.3f} s beyond NumPy (at most {budget} s)")
        over = over or extra > budget
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
