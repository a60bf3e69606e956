"""dagrad beside its peers: one command, a table and a chart.

Every library has a process of its own for each row (worker.py), so that none warms
caches or starts threads for another, and its peak memory is its own.  The processes
of a row take turns, block by block, round by round.  What fails or takes too long
costs its cell and no more.  After each row the results are written.

    python benchmarks/compare.py [--peers NAME,...] [--peer-python PATH]
        [--rows NAME,...] [--rounds N] [--block S] [--seconds S] [--patience S]
        [--threads N] [--quick] [--out DIR] [--from FILE]

The peers may live in another interpreter, which need not have dagrad.  Written are
``benchmarks.md``, ``benchmarks.svg`` and ``benchmarks.json``; ``--from`` writes the
first two again from the last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import report
from rows import LIBRARIES, ROWS, Row

HERE = Path(__file__).parent
OWN = ("dagrad", "dagrad-jit", "numpy")  # those of this interpreter
#: Seconds to start and prepare a row, roughly, for the estimate.
START = {"tensorflow": 7, "jax": 5, "torch": 4, "pytensor": 10}
TOLERANCE = 5e-3  # between results, relative

PROBE = """
import importlib.util, json, sys
from importlib.metadata import PackageNotFoundError, version

def found(module):
    if importlib.util.find_spec(module) is None:
        return None
    for name in (module, module + "-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown version"

print(json.dumps({m: found(m) for m in sys.argv[1:]}))
"""


class Failed(Exception):
    """A cell that could not be measured; the text says why."""


class Worker:
    """A library at a row, in its own process."""

    def __init__(
        self, library: str, row: Row, python: str, threads: int, patience: float
    ):
        self.patience = patience
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), LIBRARIES[library], row.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(library, row, threads),
        )
        try:
            self.first = self._answer()
            self.started = time.perf_counter() - start
            if "unable" in self.first:
                raise Failed(self.first["unable"])
        except Failed:
            self.close()
            raise

    def _answer(self) -> dict[str, Any]:
        """The next line, in time."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(self.patience, stop)
        timer.start()
        try:
            line = self.process.stdout.readline()  # type: ignore[union-attr]
        finally:
            timer.cancel()
        if late.is_set():
            raise Failed(f"no answer within {self.patience:g} s")
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            said = [text for text in self.errors.read().splitlines() if text.strip()]
            last = f": {said[-1].strip()[:160]}" if said else ""
            raise Failed(f"ended with status {code}{last}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def block(self, times: int) -> dict[str, Any]:
        """The times of a block of calls."""
        # Where it has died, reading the answer says how.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{times}\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def close(self) -> None:
        """End the process, by force where it does not end by itself."""
        with contextlib.suppress(BrokenPipeError):  # where it has died
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]
        self.errors.close()


def environment(library: str, row: Row, threads: int) -> dict[str, str]:
    """What a worker's process sees: numbers of threads, and native code or not."""
    names = [f"{n}_NUM_THREADS" for n in ("OPENBLAS", "OMP", "MKL", "NUMBA")]
    names += ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]
    names += ["DAGRAD_BENCH_THREADS"]
    native = "off"
    if library == "dagrad-jit":
        native = "auto" if row.kind == "fresh" else "wait"
    given = {name: str(threads) for name in names}
    return {**os.environ, **given, "DAGRAD_NATIVE": native}


def agree(cells: dict[str, dict[str, Any]], base: str) -> None:
    """Take the times from those whose result is not that of the base."""
    names = [base, *cells]
    first = next((n for n in names if "result" in cells.get(n, {})), None)
    if first is None:
        return
    wanted = cells[first]["result"]
    for name in [n for n in cells if "result" in cells[n]]:
        found = cells[name]["result"]
        same = len(found) == len(wanted) and all(
            abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-6)
            for a, b in zip(found, wanted)
        )
        if not same:
            cells[name] = {"why": f"its result is not that of {first}"}


def steady(
    row: Row, libraries: dict[str, str], given: argparse.Namespace, base: str
) -> dict[str, dict[str, Any]]:
    """The cells of a row whose call is repeated in a process that stays."""
    workers: dict[str, Worker] = {}
    cells: dict[str, dict[str, Any]] = {}
    try:
        for name, python in libraries.items():
            try:
                worker = Worker(name, row, python, given.threads, given.patience)
            except Failed as failure:
                cells[name] = {"why": str(failure)}
                continue
            workers[name] = worker
            cells[name] = {**worker.first, "wall": [], "cpu": []}
        agree(cells, base)
        turns, start = random.Random(0), time.perf_counter()
        least = 1 if row.kind == "once" else 3  # rounds, however long they take
        for done in range(given.rounds):
            going = [n for n in workers if "why" not in cells[n]]
            spent = time.perf_counter() - start
            if done >= least and spent > given.seconds * len(going):
                break
            for name in turns.sample(going, len(going)):
                cell = cells[name]
                times = max(1, int(given.block / max(cell["once"], 1e-7)))
                try:
                    answer = workers[name].block(times)
                except Failed as failure:
                    cells[name] = {"why": f"in round {done + 1}: {failure}"}
                    continue
                cell["peak"] = answer["peak"]
                for clock in ("wall", "cpu"):
                    cell[clock].append(answer[clock])
    finally:
        for worker in workers.values():
            worker.close()
    return cells


def fresh(
    row: Row, libraries: dict[str, str], given: argparse.Namespace, base: str
) -> dict[str, dict[str, Any]]:
    """The cells of a row that starts a process each time.

    The first of each does not count: it fills the caches on disk.
    """
    cells: dict[str, dict[str, Any]] = {n: {"wall": [], "cpu": []} for n in libraries}
    turns = random.Random(0)
    for done in range(1 + min(given.rounds, 7)):
        going = [n for n in libraries if "why" not in cells[n]]
        for name in turns.sample(going, len(going)):
            try:
                worker = Worker(
                    name, row, libraries[name], given.threads, given.patience
                )
            except Failed as failure:
                cells[name] = {"why": str(failure)}
                continue
            worker.close()
            if done == 0:
                cells[name]["result"] = worker.first["result"]
            else:
                cells[name]["wall"].append(worker.started)
                cells[name]["cpu"].append(worker.first["cpu"])
        if done == 0:
            agree(cells, base)
    return cells


# -- where, when, who -----------------------------------------------------------------


def machine() -> str:
    """The processor, how many of it, and the system."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{name}, {os.cpu_count()} cores, {system}"


def probe(python: str, modules: list[str]) -> dict[str, str | None]:
    """The versions of modules in an interpreter; None where one is missing."""
    program = [python, "-c", PROBE, *modules]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


def libraries(given: argparse.Namespace) -> tuple[dict[str, str], dict[str, Any]]:
    """The interpreter of each library to measure; versions, and what is missing."""
    wanted = {n: sys.executable if n in OWN else given.peer_python for n in given.peers}
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    chosen = {}
    for name, python in wanted.items():
        modules = [LIBRARIES[name]] + ["llvmlite"] * (name == "dagrad-jit")
        found = probe(python, modules)
        gone = [m for m, v in found.items() if v is None]
        if gone:
            missing[name] = f"{', '.join(gone)} not installed"
            continue
        chosen[name] = python
        versions.update({m: v for m, v in found.items() if v is not None})
    return chosen, {"versions": versions, "missing": missing}


def estimate(rows: list[Row], names: list[str], given: argparse.Namespace) -> float:
    """Seconds that all rows take, roughly."""
    total = 0.0
    for row in rows:
        for name in names:
            start = START.get(name, 2)
            if row.kind == "fresh":
                total += start * (1 + min(given.rounds, 7))
            else:
                total += start + min(given.rounds * given.block * 1.5, given.seconds)
    return total


def write(run: dict[str, Any], out: Path) -> None:
    """The three files."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmarks.json").write_text(json.dumps(run, indent=1) + "\n")
    (out / "benchmarks.svg").write_text(report.chart(run), encoding="utf-8")
    page = report.markdown(run, "benchmarks.svg")
    (out / "benchmarks.md").write_text(page, encoding="utf-8")


def names(known: list[str]) -> Any:
    """Read a list with commas of known names."""

    def read(text: str) -> list[str]:
        unknown = sorted(set(text.split(",")) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(
                f"there is no {', '.join(unknown)}: choose from {','.join(known)}"
            )
        return [n for n in known if n in text.split(",")]

    return read


def arguments() -> argparse.Namespace:
    """The command line."""
    known = [r.name for r in ROWS]
    parser = argparse.ArgumentParser(description="dagrad beside its peers")
    add = parser.add_argument
    add("--peers", type=names(list(LIBRARIES)), default=list(LIBRARIES))
    add("--peer-python", default=sys.executable, help="the peers' interpreter")
    add("--rows", type=names(known), default=None, help=",".join(known))
    add("--rounds", type=int, default=None, help="blocks of each library (21)")
    add("--block", type=float, default=None, help="seconds of a block (0.1)")
    add("--seconds", type=float, default=20.0, help="a library at a row (20)")
    add(
        "--patience",
        type=float,
        default=240.0,
        help="seconds to wait for an answer (240)",
    )
    add("--threads", type=int, default=1, help="of every library")
    add("--quick", action="store_true", help="2 short rounds, without the long rows")
    add(
        "--out", type=Path, default=Path("benchmark-results"), help="folder to write to"
    )
    add("--from", dest="source", type=Path, help="a benchmarks.json to write again")
    given = parser.parse_args()
    if given.rows is None:
        given.rows = [r.name for r in ROWS if not (given.quick and r.long)]
    if given.rounds is None:
        given.rounds = 2 if given.quick else 21
    if given.block is None:
        given.block = 0.02 if given.quick else 0.1
    return given


def main() -> int:
    """Measure and write; 1 where there is nothing to measure."""
    given = arguments()
    if given.source:
        write(json.loads(given.source.read_text()), given.out)
        return 0
    chosen, about = libraries(given)
    for name, why in about["missing"].items():
        print(f"{name}: left out, {why}")
    if not chosen:
        print("nothing to measure")
        return 1
    order = ("dagrad-jit", "dagrad", *chosen)
    base = next(n for n in order if n in chosen)
    rows = [r for r in ROWS if r.name in given.rows]
    run: dict[str, Any] = {
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "machine": machine(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "threads": given.threads,
        "rounds": given.rounds,
        "quick": given.quick,
        "base": base,
        "libraries": list(chosen),
        **about,
        "rows": [],
    }
    print(f"{', '.join(chosen)}; {len(rows)} rows")
    about_minutes = estimate(rows, list(chosen), given) / 60
    print(
        f"about {about_minutes:.0f} minutes, more where compilers are slow", flush=True
    )
    start = time.perf_counter()
    for done, row in enumerate(rows, 1):
        measure = fresh if row.kind == "fresh" else steady
        cells = measure(row, chosen, given, base)
        cells = {n: cells[n] for n in chosen}
        run["rows"].append(
            {"name": row.name, "label": row.label, "kind": row.kind, "cells": cells}
        )
        write(run, given.out)
        spent = time.perf_counter() - start
        left = spent / done * (len(rows) - done)
        print(f"{row.label}   [{spent:.0f} s, about {left:.0f} s left]")
        for name, cell in cells.items():
            middle = report.median(cell)
            text = cell["why"] if middle is None else report.seconds(middle)
            print(f"    {name:12} {text}", flush=True)
    print(
        f"written: {', '.join(str(p) for p in sorted(given.out.glob('benchmarks.*')))}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
