"""The comparison with peers: a quick run of two libraries, the page and the chart."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

PLACE = Path(__file__).resolve().parent.parent / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def report():
    """The module that writes; it imports none of its neighbours."""
    sys.path.insert(0, str(PLACE))
    try:
        yield importlib.import_module("report")
    finally:
        sys.path.remove(str(PLACE))
        sys.modules.pop("report", None)


def cell(seconds: float, mib: int = 100) -> dict[str, Any]:
    times = [seconds, seconds * 1.5, seconds * 0.5]
    memory = {"base": 50 << 20, "peak": mib << 20}
    return {"wall": times, "cpu": times, "ready": 2 * seconds, **memory}


def found(base: str = "dagrad-jit") -> dict[str, Any]:
    """A run with a win, a loss, a crash, and everyone."""
    libraries = ["dagrad", "dagrad-jit", "numpy", "tensorflow", "jax", "torch"]
    libraries += ["pytensor", "autograd"]
    rows = []
    for name, label, kind, fast in (
        ("one-op", "one operation & <more>", "steady", 2.0),
        ("deep", "64-layer tanh net, gradient", "steady", 0.25),
        ("first", "new process to first MLP step", "fresh", 30.0),
    ):
        cells = {k: cell(1e-3 * fast**i, 100 + i) for i, k in enumerate(libraries)}
        cells[base] = cell(1e-3)
        cells["pytensor"] = {"why": "no answer within 60 s"}
        rows.append({"name": name, "label": label, "kind": kind, "cells": cells})
    return {
        "date": "2020-02-20 20:20 UTC",
        "machine": "a processor, 2 cores",
        "load": "0.1",
        "threads": 1,
        "rounds": 3,
        "quick": False,
        "base": base,
        "libraries": libraries,
        "versions": {"numpy": "2.0"},
        "missing": {},
        "rows": rows,
    }


def test_page(report):
    page = report.markdown(found(), "benchmarks.svg")
    lines = page.splitlines()
    (one,) = [s for s in lines if s.startswith("| one operation & <more>")][:1]
    assert "**1 ms (x1.00)**" in one
    assert "| 4 ms (x4.00) |" in one  # NumPy, the third
    assert "| – <sup>1</sup> |" in one
    assert "<sup>1</sup> pytensor: no answer within 60 s  " in lines
    assert "dagrad-jit has the least time in 2 rows. It is behind in 1" in page
    (lost,) = [s for s in lines if s.startswith("- ")]
    assert lost.startswith("- 64-layer tanh net, gradient: autograd x6.1e-05, torch x")
    assert "| 101 (+51) |" not in page  # the base's own memory is 100
    assert "| 102 (+52) |" in page
    assert "![Times over those of dagrad-jit, by rows](benchmarks.svg)" in lines
    assert "2020-02-20 20:20 UTC; a processor, 2 cores; load 0.1" in page


def boxes(root: Any) -> dict[str, tuple[float, float, float, float]]:
    """About where each text is: a letter takes 0.55 of the size of the font."""
    sizes = {None: 13, "small": 12, "title": 15}
    placed = {}
    for text in root.findall(f"{SVG}text"):
        size = sizes[text.get("class")]
        x, y = float(text.get("x")), float(text.get("y"))
        wide = 0.55 * size * len(text.text)
        x -= {None: 0, "start": 0, "middle": wide / 2, "end": wide}[
            text.get("text-anchor")
        ]
        assert text.text not in placed
        placed[text.text] = (x, y - 0.75 * size, x + wide, y + 0.2 * size)
    return placed


@pytest.mark.parametrize("base", ["dagrad-jit", "autograd"])
def test_chart(report, base):
    run = found(base)
    root = ElementTree.fromstring(report.chart(run))
    width, height = float(root.get("width")), float(root.get("height"))
    placed = boxes(root)
    for row in run["rows"]:
        assert row["label"] in placed
    assert {"64-layer tanh net, gradient: memory", *run["libraries"]} <= {*placed}
    for left, top, right, bottom in placed.values():
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
    for (a, p), (b, q) in combinations(placed.items(), 2):
        apart = p[2] <= q[0] or q[2] <= p[0] or p[3] <= q[1] or q[3] <= p[1]
        assert apart, f"{a!r} lies on {b!r}"
    said = [t.text for t in root.iter(f"{SVG}title")]
    assert "one operation & <more>, numpy: x4.00" in said
    # A mark for each library in the legend, and for each ratio.
    ratios = sum(len(known) for _, known in report.ratios(run))
    assert len(root.findall(f"{SVG}g")) == len(run["libraries"]) + ratios


def test_labels_of_all_rows(report):
    """Every row has its line in the chart, and its label ends before the marks."""
    program = "from rows import ROWS; import json; print(json.dumps(ROWS, default=str))"
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PLACE,
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [dict(zip(("name", "label"), row)) for row in json.loads(told.stdout)]
    assert len(rows) >= 19
    run = found()
    cells = run["rows"][0]["cells"]
    run["rows"] = [{**row, "kind": "steady", "cells": cells} for row in rows]
    placed = boxes(ElementTree.fromstring(report.chart(run)))
    for row in rows:
        assert placed[row["label"]][2] < report.LEFT


def test_late_and_dead(tmp_path):
    """A library that is late, or dies, costs its cell: the rest is written."""
    command = [sys.executable, str(PLACE / "compare.py"), "--rows", "chain,first"]
    command += ["--peers", "numpy,dagrad", "--patience", "0.01", "--rounds", "1"]
    subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "<sup>1</sup> dagrad: no answer within 0.01 s  " in page.splitlines()
    ElementTree.parse(tmp_path / "benchmarks.svg")
    program = """
import sys
from argparse import Namespace
from compare import Row, steady
row = Row("no such row", "", lambda library: None)
given = Namespace(threads=1, patience=60, rounds=1, seconds=1, block=0.01)
print(steady(row, {"numpy": sys.executable}, given, "numpy"))
"""
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PLACE,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout == "{'numpy': {'why': 'ended with status 1: StopIteration'}}\n"


@pytest.mark.slow
def test_quick_run(tmp_path):
    """Two libraries at three rows, with one that NumPy cannot do; written again."""
    rows = {
        "chain": "chain of 1000 operations on 100 elements",
        "hvp": "Hessian-vector product of the MLP",
        "first": "new process to first MLP step",
    }
    command = [sys.executable, str(PLACE / "compare.py"), "--quick", "--rounds", "1"]
    command += ["--peers", "numpy,dagrad", "--rows", ",".join(rows)]
    subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True)
    run = json.loads((tmp_path / "benchmarks.json").read_text())
    assert run["base"] == "dagrad" and run["libraries"] == ["dagrad", "numpy"]
    cells = {r["name"]: r["cells"] for r in run["rows"]}
    assert list(cells) == list(rows)
    for name in rows:
        for library in run["libraries"]:
            if (name, library) == ("hvp", "numpy"):
                assert cells[name][library] == {"why": "not written by hand"}
            else:
                assert len(cells[name][library]["wall"]) == 1
                assert cells[name][library]["wall"][0] > 0
    assert cells["chain"]["dagrad"]["peak"] > cells["chain"]["dagrad"]["base"] > 1e7
    page = (tmp_path / "benchmarks.md").read_text()
    chart = (tmp_path / "benchmarks.svg").read_text()
    texts = [t.text for t in ElementTree.fromstring(chart).iter(f"{SVG}text")]
    for label in rows.values():
        assert f"| {label} |" in page and label in texts
    again = tmp_path / "again"
    source = str(tmp_path / "benchmarks.json")
    command = [sys.executable, str(PLACE / "compare.py"), "--from", source]
    subprocess.run([*command, "--out", str(again)], check=True)
    assert (again / "benchmarks.svg").read_text() == chart
    assert (again / "benchmarks.md").read_text() == page
