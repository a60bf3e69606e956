"""Small TF1 programs give here what they give in TensorFlow.

``support/tf1_cases`` holds the programs, ``fixtures/make_tf1_values.py`` froze
TensorFlow's results.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tf1_cases import CASES, measure

import dagrad

FROZEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "fixtures" / "tf1_values.json").read_text("utf-8")
)
TOLERANCE = {"float16": 2e-3, "float32": 2e-5, "complex64": 2e-5}

ONE_NODE = "one node, or the last of a group, where TF1 has a group of its own"
FOLDED = "TF1 runs constant operations while it builds to know a shape"
# What differs on purpose, and why.
DIFFERENCES = {
    ("default_integer_types", "mask"): FOLDED,
    ("default_integer_types", "range_mixed"): FOLDED,
    ("error_array_other_dtype", "catches"): "an error while the graph is built",
    ("error_empty_graph", "catches"): "names the fetch, which is of another graph",
    ("gradients_of_powers_at_zero", "zero"): "x**0 is constant: 0, not 0 / 0, at 0",
    ("name_array_ops", "n15"): "an operation before it read its input's shape",
    ("name_array_ops", "n19"): ONE_NODE,
    ("name_array_ops", "n21"): ONE_NODE,
    ("name_array_ops", "n22"): ONE_NODE,
    ("name_losses", "n0"): ONE_NODE,
    ("name_losses", "n1"): ONE_NODE,
    ("name_nn", "n11"): ONE_NODE,
    ("name_nn", "n17"): ONE_NODE,
    ("name_operators", "y"): "a number's constant is named before its operation",
    ("name_reductions", "n12"): ONE_NODE,
    ("name_reductions", "n13"): ONE_NODE,
    ("partitions", "back"): FOLDED,
    ("softmax_cross_entropy_unnormalised", "d0"): (
        "the derivative also where labels do not sum to 1; TF1 takes that they do"
    ),
}


def difference(mine: Any, frozen: Any) -> str:
    """How a result differs from TensorFlow's; nothing where it does not."""
    if not isinstance(frozen, dict):
        return "" if mine == frozen else f"{mine!r}, not {frozen!r}"
    if "dtype" not in frozen:
        good = knows(mine["static"], frozen["static"])
        return "" if good else f"{mine['static']}, not {frozen['static']}"
    for key in ("dtype", "shape"):
        if mine[key] != frozen[key]:
            return f"{key} {mine[key]!r}, not {frozen[key]!r}"
    known = mine.get("static", mine["shape"])
    wanted = frozen.get("static", frozen["shape"])
    if not knows(known, wanted):
        return f"static shape {known!r}, not {wanted!r}"
    if frozen["dtype"] in ("bool", "string") or "int" in frozen["dtype"]:
        same = mine["value"] == frozen["value"]
        return "" if same else f"{mine['value']!r}, not {frozen['value']!r}"
    a, b = (np.array(r["value"], dtype=np.float64) for r in (mine, frozen))
    tolerance = TOLERANCE.get(frozen["dtype"], 1e-9)
    scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0))
    if np.allclose(a, b, tolerance, tolerance * scale, equal_nan=True):
        return ""
    return f"{mine['value']!r}, not {frozen['value']!r}"


def knows(mine: Any, wanted: Any) -> bool:
    """Whether a static shape tells at least what TensorFlow's tells."""
    if wanted is None:
        return True
    if mine is None or len(mine) != len(wanted):
        return False
    return all(w is None or m == w for m, w in zip(mine, wanted, strict=True))


def differences(name: str) -> dict[str, str]:
    """The results of a case that differ from TensorFlow's."""
    mine, frozen = measure(name, dagrad), FROZEN[name]
    if "catches" in frozen:
        missed = sorted(set(frozen["catches"]) - set(mine.get("catches", ())))
        return {"catches": f"not caught as {missed}"} if missed else {}
    assert mine.keys() == frozen.keys()
    found = {k: difference(mine[k], frozen[k]) for k in frozen}
    return {k: v for k, v in found.items() if v}


def test_every_case_is_frozen() -> None:
    """The table and the frozen results are of one age."""
    assert list(FROZEN) == list(CASES)


@pytest.mark.parametrize("name", list(FROZEN))
def test_case_gives_what_tensorflow_gives(name: str) -> None:
    """All results of a case, but for the differences listed."""
    listed = {key for case, key in DIFFERENCES if case == name}
    found = differences(name)
    assert {k: v for k, v in found.items() if k not in listed} == {}
    assert listed <= found.keys(), "no longer a difference"
