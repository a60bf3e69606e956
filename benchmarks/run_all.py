"""Every benchmark, one after the other, as text on stdout.

python benchmarks/run_all.py [program ...]
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = ("import_time", "overhead", "chain", "planner", "memory", "training", "conv")
PROGRAMS += ("small", "lenet", "loops", "threads", "adbench/run")
PACKAGES = ("numpy", "tensorflow", "tensorflow-cpu", "jax", "torch", "pytensor")
PACKAGES += ("autograd",)


def versions() -> str:
    """The packages that are installed."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> int:
    """Run the programs named on the command line, or all; 1 where one failed."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors")
    print(versions())
    failed = []
    for name in sys.argv[1:] or PROGRAMS:
        print(f"\n== {name} ==  load {os.getloadavg()[0]:.1f}", flush=True)
        program = [sys.executable, str(HERE / f"{name}.py")]
        if subprocess.run(program, stderr=subprocess.STDOUT, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed, or missed a target: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
