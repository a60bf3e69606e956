"""Colourings: valid, and never with more colours than CasADi's (frozen counts)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrad.ops._pattern import from_pairs
from dagrad.ops.coloring import (
    as_pattern,
    check_columns,
    check_star,
    column_coloring,
    passes,
    row_coloring,
    star_coloring,
    two_way_coloring,
)

_FIXTURES = Path(__file__).parent / "fixtures"


def _maker():
    spec = importlib.util.spec_from_file_location(
        "casadi_colors", _FIXTURES / "make_casadi_colors.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PATTERNS = _maker().PATTERNS
CASADI = json.loads((_FIXTURES / "casadi_colors.json").read_text())
SYMMETRIC = [name for name, counts in CASADI.items() if "star" in counts]


def count(colors):
    return int(colors.max(initial=-1)) + 1


def columns_are_apart(mask, colors):
    """No row has two entries of one colour, by the definition."""
    return all(
        (mask[:, colors == c].sum(axis=1) <= 1).all() for c in range(count(colors))
    )


def entries_stand_alone(mask, colors):
    """Each entry is the only one under one of its two colours, by the definition."""
    compressed = mask.astype(int) @ np.eye(count(colors), dtype=int)[colors]
    return all(
        compressed[i, colors[j]] == 1 or compressed[j, colors[i]] == 1
        for i, j in zip(*np.nonzero(mask))
    )


@pytest.mark.parametrize("name", PATTERNS)
def test_columns_need_no_more_colors_than_in_casadi(name):
    colors = column_coloring(PATTERNS[name])
    assert columns_are_apart(PATTERNS[name], colors)
    assert count(colors) <= CASADI[name]["columns"]


@pytest.mark.parametrize("name", PATTERNS)
def test_rows_need_no_more_colors_than_in_casadi(name):
    colors = row_coloring(PATTERNS[name])
    assert columns_are_apart(PATTERNS[name].T, colors)
    assert count(colors) <= CASADI[name]["rows"]


@pytest.mark.parametrize("name", SYMMETRIC)
def test_stars_need_no_more_colors_than_in_casadi(name):
    colors = star_coloring(PATTERNS[name])
    assert entries_stand_alone(PATTERNS[name], colors)
    assert count(colors) <= CASADI[name]["star"]


@pytest.mark.parametrize("head", ["first", "last", "inside"])
def test_a_symmetric_arrow_takes_two_colors(head):
    assert count(star_coloring(PATTERNS[f"arrow, head {head}"])) == 2


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_band_takes_as_many_colors_as_it_is_wide(width):
    mask = PATTERNS[f"banded {width}"]
    found = [f(mask) for f in (column_coloring, row_coloring, star_coloring)]
    assert [count(c) for c in found] == [2 * width + 1] * 3


@pytest.mark.parametrize("head", ["first", "last", "inside"])
def test_an_arrow_takes_three_passes_in_both_directions(head):
    """One direction alone, as in CasADi, needs as many as there are columns."""
    name = f"arrow, head {head}"
    assert CASADI[name]["columns"] == CASADI[name]["rows"] == 20
    assert passes(two_way_coloring(PATTERNS[name])) == 3


def recovered(mask, two):
    """Which entries the passes of a two-way colouring give, by its definition."""
    p = as_pattern(mask)
    by_row = np.zeros(mask.shape, bool)
    by_row[p.rows(), p.indices] = two.by_row
    for part, colors in (
        (mask & by_row, two.rows),
        ((mask & ~by_row).T, two.columns),
    ):
        # Entries outside of a part must not stand under a colour in use there.
        full = mask if part.shape == mask.shape and colors is two.rows else mask.T
        for i, j in zip(*np.nonzero(part)):
            same = (colors == colors[i]) & full[:, j]
            assert colors[i] >= 0
            assert same.sum() == 1
    return True


@pytest.mark.parametrize("name", PATTERNS)
def test_two_ways_together_give_every_entry(name):
    two = two_way_coloring(PATTERNS[name])
    assert two is None or recovered(PATTERNS[name], two)


masks = st.builds(
    lambda seed, m, n, density: np.random.default_rng(seed).random((m, n)) < density,
    st.integers(0, 9999),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]),
)


@settings(max_examples=150)
@given(masks)
def test_colorings_of_random_patterns(mask):
    assert columns_are_apart(mask, column_coloring(mask))
    assert columns_are_apart(mask.T, row_coloring(mask))
    two = two_way_coloring(mask)
    assert two is None or recovered(mask, two)


@settings(max_examples=150)
@given(masks)
def test_stars_of_random_patterns(mask):
    n = min(mask.shape)
    square = mask[:n, :n] | mask[:n, :n].T
    colors = star_coloring(square)
    assert entries_stand_alone(square | np.eye(n, dtype=bool), colors)
    assert (check_star(as_pattern(square), colors) == colors).all()


def test_a_large_band_and_a_large_arrow_are_quick():
    n = 10_000
    i = np.arange(n)
    band = from_pairs(
        np.concatenate([i, i[1:], i[:-1]]), np.concatenate([i, i[:-1], i[1:]]), (n, n)
    )
    zero = np.zeros(n, int)
    arrow = from_pairs(
        np.concatenate([i, zero, i]), np.concatenate([i, i, zero]), (n, n)
    )
    assert count(column_coloring(band)) == count(star_coloring(band)) == 3
    assert count(star_coloring(arrow)) == 2
    assert passes(two_way_coloring(arrow)) == 3


def test_patterns_come_from_scipy_and_from_arrays():
    sparse = pytest.importorskip("scipy.sparse")
    mask = np.array([[1, 0, 1], [0, 1, 0]])
    stored_zero = sparse.csr_matrix((np.array([1.0, 0.0]), ([0, 1], [2, 0])))
    assert as_pattern(sparse.csc_matrix(mask)).indices.tolist() == [0, 2, 1]
    assert as_pattern(mask).indptr.tolist() == [0, 2, 3]
    assert as_pattern(stored_zero).indices.tolist() == [2]
    with pytest.raises(ValueError, match=r"is a matrix, not \(3,\)"):
        as_pattern(np.ones(3))


def test_what_is_no_coloring_is_refused():
    p = as_pattern(np.ones((2, 3)))
    with pytest.raises(ValueError, match="two entries that meet have one colour"):
        check_columns(p, [0, 1, 0])
    with pytest.raises(ValueError, match="is 3 integers, 0 or more"):
        check_columns(p, [0, 1])
    with pytest.raises(ValueError, match="is 3 integers, 0 or more"):
        check_columns(p, [0, 1, -1])
    with pytest.raises(ValueError, match="needs a symmetric pattern"):
        star_coloring(p)
    path = as_pattern(np.abs(np.subtract.outer(range(4), range(4))) <= 1)
    with pytest.raises(ValueError, match="no star colouring"):
        check_star(path, [0, 1, 0, 1])
