"""The examples in docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import dagrad

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "dagrad": ROOT / "src" / "dagrad",
    "dagrad.graphlib": ROOT / "graphlib",
    "dagrad.ops": ROOT / "ops",
    "dagrad.runtime": ROOT / "runtime",
    "dagrad.viz": ROOT / "viz",
}


def modules() -> list[str]:
    """The names of all modules whose text holds an example."""
    names = []
    for package, place in PLACES.items():
        for path in sorted(place.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                inside = path.relative_to(place).with_suffix("").parts
                names.append(".".join((package, *inside)).removesuffix(".__init__"))
    return names


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    """Each docstring sees `tf` (dagrad) and `np`, and has a graph of its own."""
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        test.globs.update(tf=dagrad, dagrad=dagrad, np=np)
        with dagrad.Graph().as_default():
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
