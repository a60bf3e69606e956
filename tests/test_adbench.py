"""ADBench's problems: values and derivatives as JAX has them, by the published measure.

``fixtures/make_adbench.py`` froze JAX's; the graphs are those of the benchmark.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dagrad as dg

HERE = Path(__file__).resolve().parent
FROZEN = np.load(HERE / "fixtures" / "adbench.npz")


@pytest.fixture(scope="module")
def adbench():
    """The modules of the benchmark (they import each other by their names)."""
    place = str(HERE.parent / "benchmarks" / "adbench")
    sys.path.insert(0, place)
    names = ("problems", "objectives")
    try:
        yield tuple(importlib.import_module(name) for name in names)
    finally:
        sys.path.remove(place)
        for name in names:
            sys.modules.pop(name, None)


def difference(a: Any, b: Any) -> float:
    """The published comparer's: relative to |a| + |b|, absolute where that is small."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(a) + np.abs(b), 1.0)))


def computed(built: Any) -> list[Any]:
    """The objective by itself, then objective and derivatives together."""
    session = dg.Session()
    alone = session.run(built.objective, built.feeds)
    return [alone, session.run(built.both, built.feeds)]


def frozen(name: str) -> list[Any]:
    return [FROZEN[k] for k in sorted(FROZEN) if k.rpartition("_")[0] == name]


pytestmark = pytest.mark.usefixtures("graph")


def test_mixture_of_gaussians(adbench):
    problems, objectives = adbench
    built = objectives.mixture(problems.mixture(8, 3, 4))
    alone, (value, grads) = computed(built)
    want, *slopes = frozen("mixture")
    assert difference(alone, want) < 1e-10
    assert difference(value, want) < 1e-10
    for g, w in zip(grads, slopes, strict=True):
        assert difference(g, w) < 1e-8


def test_bundle_adjustment(adbench):
    problems, objectives = adbench
    problem = problems.small_bundle()
    alone, (value, blocks) = computed(objectives.bundle(problem))
    errors, jacobian, of_weights = frozen("bundle")
    for v in (alone, value):
        assert difference(v[0].T, errors) < 1e-10
        assert difference(v[1], of_weights) < 1e-10
    matrix = objectives.bundle_matrix(problem, *blocks)
    assert matrix.nnz == 31 * len(problem.weights)
    assert difference(matrix.toarray(), jacobian) < 1e-8


def by_kind(problem: Any) -> tuple[Any, Any]:
    """The frozen errors and Jacobian: first errors, second errors, weights' errors."""
    errors, jacobian, of_weights = frozen("bundle")
    n = len(problem.weights)
    order = np.concatenate(
        [np.arange(2 * n).reshape(n, 2).T.reshape(-1), 2 * n + np.arange(n)]
    )
    return [errors.T, of_weights], jacobian[order]


def test_bundle_adjustment_by_colours(adbench):
    """From gathers on; and the program of the blocks, with tables of rotations."""
    problems, objectives = adbench
    problem = problems.small_bundle()
    errors, jacobian = by_kind(problem)
    _, (value, matrix) = computed(objectives.bundle_by_colours(problem))
    for v, w in zip(value, errors, strict=True):
        assert difference(v, w) < 1e-10
    assert difference(matrix.toarray(), jacobian) < 1e-8
    built = objectives.bundle(problem)
    again = dg.sparse_jacobian(built.objective, list(built.feeds), "split")
    assert again.split
    matrix = dg.Session().run(again, built.feeds)
    assert difference(matrix.toarray(), jacobian) < 1e-8


def test_bundle_adjustment_takes_a_pass_for_each_kind_of_row(adbench):
    problems, objectives = adbench
    problem = problems.bundle(6, 40, 300)
    built = objectives.bundle_by_colours(problem)
    j = built.both[1]
    assert (j.split, j.colors, j.nnz) == (True, 3, 29 * 300)
    built = objectives.bundle(problem)
    j = dg.sparse_jacobian(built.objective, list(built.feeds))
    # Three more along the axes of the rotations.
    assert (j.split, j.colors, j.nnz) == (True, 6, 29 * 300)


def test_lstm(adbench):
    problems, objectives = adbench
    alone, (value, grads) = computed(objectives.sequence(problems.sequence(2, 6, 4)))
    want, *slopes = frozen("sequence")
    assert difference(alone, want) < 1e-10
    assert difference(value, want) < 1e-10
    for g, w in zip(grads, slopes, strict=True):
        assert difference(g, w) < 1e-8


@pytest.mark.parametrize("complicated", [False, True])
def test_hand_tracking(adbench, complicated):
    problems, objectives = adbench
    problem = problems.hand(6, 30, complicated)
    alone, (value, matrix) = computed(objectives.hand(problem, complicated))
    want, jacobian = frozen("hand_complicated" if complicated else "hand")
    assert difference(alone, want) < 1e-10
    assert difference(value, want) < 1e-10
    assert difference(matrix, jacobian) < 1e-8


@pytest.mark.parametrize("points", [6, 90])
def test_hand_tracking_by_triangles(adbench, points, monkeypatch):
    """One product for each triangle is what the sum of gathers is."""
    problems, objectives = adbench
    problem = problems.hand(points, 30, True)
    results = []
    for many in (np.inf, 0):
        monkeypatch.setattr(objectives, "MANY", many)
        results.append(computed(objectives.hand(problem, True)))
    (want, (_, jacobian)), (alone, (value, matrix)) = results
    assert difference(alone, want) < 1e-10
    assert difference(value, want) < 1e-10
    assert difference(matrix, jacobian) < 1e-10
