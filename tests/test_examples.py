"""The examples run, reach their marks, and write what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """An example in an interpreter of its own."""
    program = [sys.executable, str(EXAMPLES / example), *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        program,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )


def is_svg(path: Path) -> bool:
    """Whether a file holds a well-formed drawing."""
    return ElementTree.parse(path).getroot().tag.endswith("svg")


@pytest.mark.slow
def test_digits_are_learnt(tmp_path: Path) -> None:
    """The main job, whole: the convnet reaches 98 %, or the status is 1."""
    done = run("digits.py", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "convnet" in done.stdout
    assert is_svg(tmp_path / "graph.svg")
    assert is_svg(tmp_path / "memory.svg")
    with np.load(tmp_path / "convnet.npz") as weights:
        assert weights["conv1/kernel"].shape == (3, 3, 1, 16)
        assert int(weights["global_step"]) > 0


def test_quick_digits(tmp_path: Path) -> None:
    done = run("digits.py", "--quick", "--out", str(tmp_path / "new"))
    assert done.returncode == 0, done.stdout + done.stderr
    names = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert names == ["convnet.npz", "graph.svg", "memory.svg", "mlp.npz"]


def test_derivatives_are_exact(tmp_path: Path) -> None:
    done = run("derivatives.py", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    drawing = ElementTree.parse(tmp_path / "tanh.svg").getroot()
    curves = [e for e in drawing.iter() if e.get("fill") == "none"]
    assert len(curves) == 7


def test_the_whiteboard_adds_up(tmp_path: Path) -> None:
    """Sums along the edges are the engine's derivatives; the peaks are as said."""
    done = run("whiteboard.py", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v̄₄ = 1·0.9093 + 6.909·1 = 7.819" in done.stdout
    assert is_svg(tmp_path / "whiteboard.svg")


def test_the_gallery_has_every_picture(tmp_path: Path) -> None:
    """Those that docs/gallery.md shows, made anew."""
    done = run("gallery.py", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    shown = {path.name for path in (EXAMPLES.parent / "docs" / "gallery").glob("*.svg")}
    assert {path.name for path in tmp_path.iterdir()} == shown
    assert all(is_svg(path) for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "example", ["hyperparameters", "wing", "simulation", "pendulum"]
)
def test_quick_simulations(example: str, tmp_path: Path) -> None:
    """Each checks itself: slopes, parameters, a pendulum that stands."""
    done = run(f"{example}.py", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [f"{example}.svg"]
    assert is_svg(tmp_path / f"{example}.svg")


@pytest.mark.slow
@pytest.mark.parametrize(
    "example", ["hyperparameters", "wing", "simulation", "pendulum"]
)
def test_whole_simulations(example: str, tmp_path: Path) -> None:
    done = run(f"{example}.py", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_drawing_module_alone_does_nothing(tmp_path: Path) -> None:
    """It lies among the examples, which all are run."""
    done = run("_draw.py", "--quick")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_fashion_mnist(tmp_path: Path) -> None:
    done = run("fashion_mnist.py", "--quick", "--out", str(tmp_path))
    if done.returncode == 77:
        pytest.skip("the data are not on this machine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert is_svg(tmp_path / "fashion_graph.svg")
    assert is_svg(tmp_path / "fashion_memory.svg")
    assert (tmp_path / "fashion.npz").stat().st_size > 100_000


def test_fashion_mnist_says_how_to_get_the_data(tmp_path: Path) -> None:
    done = run("fashion_mnist.py", "--data", str(tmp_path))
    assert done.returncode == 77
    assert "apt-get install dataset-fashion-mnist" in done.stdout


def test_examples_leave_no_files_elsewhere(tmp_path: Path) -> None:
    """What an example writes lies where it is told to."""
    before = {p.name for p in EXAMPLES.iterdir() if p.name != "__pycache__"}
    run("derivatives.py", "--quick", "--out", str(tmp_path))
    assert {p.name for p in EXAMPLES.iterdir() if p.name != "__pycache__"} == before
