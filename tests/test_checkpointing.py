"""Schedules of checkpoints: what they keep, and how often they compute a state."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagrad.graphlib.checkpointing import longest, rows, runs, segments

ANY = 2**31 - 1


def go_backward(schedule, n):
    """Go backward over n iterations of s -> s + 1 as a schedule says.

    Returns the rows of states that it took, the iterations that it ran again, and the
    most of one segment.
    """
    states: dict[int, int] = {}
    went, again, most = [], 0, 0

    def mark(parts, start, row):
        for k, part in enumerate(parts):
            if k:
                states[row + k] = states[row + k - 1] + parts[k - 1].length
                assert states[row + k] == start + part.start
        return parts[-1].start

    def back(start, length, inner, row):
        nonlocal again, most
        assert states[row] == start
        if inner is None:
            for k in range(length):
                states[row + k + 1] = states[row + k] + 1
            again += length
            most = max(most, length)
            went.extend(states[row + k] for k in reversed(range(length)))
            return
        parts = segments(inner, length)
        again += mark(parts, start, row)
        for k in reversed(range(len(parts))):
            part = parts[k]
            back(start + part.start, part.length, part.inner, row + k)

    states[0] = 0
    parts = segments(schedule, n)
    mark(parts, 0, 0)
    for k in reversed(range(len(parts))):
        back(parts[k].start, parts[k].length, parts[k].inner, k)
    assert went == list(reversed(range(n)))
    return len(states), again, most


schedules = st.one_of(
    st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True).map(
        lambda sizes: ("blocks", *sorted(sizes, reverse=True))
    ),
    st.tuples(st.just("tree"), st.integers(1, 6), st.integers(1, 30)),
)


@given(schedules, st.integers(1, 200))
def test_a_schedule_visits_every_iteration_in_the_rows_and_runs_that_it_says(
    schedule, n
):
    taken, again, most = go_backward(schedule, n)
    assert taken == rows(schedule, n)
    assert again == runs(schedule, n)
    assert most == longest(schedule, n)


@pytest.mark.parametrize("repeats", [1, 2, 3, 5])
@pytest.mark.parametrize("s", [2, 3, 10, 24])
def test_a_tree_is_as_long_as_the_binomial_says(s, repeats):
    """N(s, r) = C(s + r, r + 1): one iteration more needs one more row."""
    n = math.comb(s + repeats, repeats + 1)
    tree = ("tree", repeats, ANY)
    assert rows(tree, n) == s + 1
    assert rows(tree, n + 1) == s + 2
    assert runs(tree, n) <= repeats * n


@cache
def fewest_runs(n, free):
    """The fewest runs that take n iterations backward in ``free`` rows after the
    first: all at once, or the last ones from a state that a run leaves behind."""
    if n <= free:
        return n
    if free < 2:
        return math.inf
    return min(
        m + fewest_runs(n - m, free - 1) + fewest_runs(m, free) for m in range(1, n)
    )


@pytest.mark.parametrize("repeats", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [7, 30, 45, 60, 84, 100])
def test_a_tree_runs_few_iterations_often(n, repeats):
    """However many rows are left over by an n between two binomials."""
    tree = ("tree", repeats, ANY)
    marking = segments(tree, n)[-1].start
    best = fewest_runs(n, rows(tree, n) - 1)
    assert best <= marking + runs(tree, n) <= 1.015 * best


def test_three_hundred_iterations():
    assert rows(("tree", 1, ANY), 300) == 25
    assert rows(("tree", 3, ANY), 300) == 9
    assert rows(("blocks", 17), 300) == 34
    assert rows(("blocks", 42, 7), 300) == 19
    assert [s.length for s in segments(("tree", 1, ANY), 300)] == [*range(24, 0, -1)]


def test_no_iterations_have_one_state():
    assert (rows(("tree", 1, ANY), 0), longest(("blocks", 3), 0)) == (1, 0)
    assert runs(("blocks", 3), 0) == 0


def test_a_million_iterations_need_a_thousand_rows():
    assert rows(("tree", 1, ANY), 10**6) == 1415
