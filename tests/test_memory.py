"""Placement: never two live intervals on one byte, and little waste."""

from __future__ import annotations

import random
from bisect import bisect_left, insort

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrad.runtime.memory import _sweep, place


def rounded(nbytes, alignment):
    return -(-nbytes // alignment) * alignment


def check(intervals, placement, alignment=64):
    """Sweeps over time with the sorted blocks in use; neighbours must not meet."""
    events = []
    for i, (first, last, nbytes) in enumerate(intervals):
        assert placement.offsets[i] % alignment == 0
        if nbytes:
            assert placement.offsets[i] >= 0
            assert placement.offsets[i] + nbytes <= placement.total
            events += [(first, 1, i), (last + 1, 0, i)]
        else:
            assert placement.offsets[i] == 0
    used, live, peak = [], 0, 0
    for _, born, i in sorted(events):
        low = placement.offsets[i]
        size = rounded(intervals[i][2], alignment)
        if born:
            k = bisect_left(used, (low,))
            assert k == 0 or used[k - 1][1] <= low
            assert k == len(used) or used[k][0] >= low + size
            insort(used, (low, low + size))
            live += size
            peak = max(peak, live)
        else:
            used.remove((low, low + size))
            live -= size
    assert placement.peak == peak
    assert placement.total >= peak
    assert len(placement.offsets) == len(intervals)


spans = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 2000)).map(
    lambda t: (min(t[:2]), max(t[:2]), t[2])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(spans, max_size=40), st.sampled_from([1, 16, 64]))
def test_live_intervals_never_overlap(intervals, alignment):
    placement = place(intervals, alignment)
    check(intervals, placement, alignment)
    for i, (a, b, nbytes) in enumerate(intervals):
        for j, (c, d, other) in enumerate(intervals[:i]):
            if nbytes and other and a <= d and c <= b:
                x, y = placement.offsets[i], placement.offsets[j]
                assert x + nbytes <= y or y + other <= x


def random_program(count, life, seed):
    """Intervals of a random program: log-uniform sizes, lives of up to `life`."""
    rng = random.Random(seed)
    return [
        (i, i + rng.randrange(1, life), int(10 ** rng.uniform(1, 5)))
        for i in range(count)
    ]


def layered_program(layers, seed):
    """Saved activations, short-lived products, gradients on the way back."""
    rng = random.Random(seed)
    widths = [rng.choice((256, 400, 512, 1200, 2048)) * 64 for _ in range(layers)]
    result = []
    for k, width in enumerate(widths):
        back = 4 * layers - 2 * k
        result.append((2 * k, 2 * k + 1, width))
        result.append((2 * k + 1, back + 1, width))
        result.append((back, back + 2, width))
        result.append((back + 1, back + 1, width * 3))
    return result


def test_empty_and_zero_bytes():
    assert place([]).total == place([]).peak == 0
    placement = place([(0, 5, 0), (0, 5, 10), (2, 3, 0)])
    assert placement.offsets == [0, 0, 0]
    assert (placement.total, placement.peak) == (64, 64)


def test_last_step_is_inclusive():
    assert place([(0, 1, 64), (1, 2, 64)]).total == 128
    assert place([(0, 1, 64), (2, 3, 64)]).total == 64


def test_sizes_are_rounded_up_to_the_alignment():
    placement = place([(0, 1, 1), (0, 1, 65)], alignment=64)
    assert placement.total == placement.peak == 192


@pytest.mark.parametrize("ends", [(1, 2), (2, 1), (1, 1)])
def test_freed_neighbours_join_for_a_larger_block(ends):
    # Blocks of 64 and 64 below one that stays: then a block of 128 fits there.
    starts, stops, sizes = [0, 0, 0, 3], [*ends, 9, 4], [64, 64, 64, 128]
    offsets = _sweep(np.array(starts), np.array(stops), np.array(sizes))
    assert offsets.tolist() == [0, 64, 128, 0]


def test_the_last_free_block_grows():
    offsets = _sweep(np.array([0, 0, 2]), np.array([9, 1, 3]), np.array([64, 64, 128]))
    assert offsets.tolist() == [0, 64, 64]


def test_gap_that_best_fit_wastes_is_won_back():
    # Growing blocks: best fit in order of time leaves every gap too small.
    intervals = [(k, k + 1, 64 * (k + 1)) for k in range(40)]
    placement = place(intervals)
    check(intervals, placement)
    assert placement.total <= 1.02 * placement.peak


@pytest.mark.parametrize("layers", [1, 2, 10, 100, 1000])
def test_layered_programs_waste_two_percent_at_most(layers):
    intervals = layered_program(layers, seed=layers)
    placement = place(intervals)
    check(intervals, placement)
    assert placement.total <= 1.02 * placement.peak


@pytest.mark.parametrize("count", [30, 300, 3000, 20_000])
@pytest.mark.parametrize("life", [4, 30])
def test_random_programs_waste_five_percent_at_most(count, life):
    intervals = random_program(count, life, seed=count)
    placement = place(intervals)
    check(intervals, placement)
    assert placement.total <= 1.05 * placement.peak


def test_long_random_lives_stay_legal_and_tolerable():
    # Hundreds of blocks of mixed sizes are alive at once: the hard case.
    intervals = random_program(2000, 400, seed=0)
    placement = place(intervals)
    check(intervals, placement)
    assert placement.total <= 1.15 * placement.peak


def test_placement_is_the_same_every_time():
    intervals = random_program(500, 40, seed=3)
    assert place(intervals) == place(intervals)


def test_a_chain_of_100_000_needs_two_blocks():
    placement = place([(i, i + 1, 256) for i in range(100_000)])
    assert placement.total == placement.peak == 512


def test_malformed_intervals_are_refused():
    with pytest.raises(ValueError, match=r"interval 1 is malformed: \(3, 2, 8\)"):
        place([(0, 1, 8), (3, 2, 8)])
    with pytest.raises(ValueError, match="interval 0 is malformed"):
        place([(-1, 2, 8)])
    with pytest.raises(ValueError, match="interval 0 is malformed"):
        place([(0, 2, -8)])
    with pytest.raises(ValueError, match="alignment must be at least 1"):
        place([(0, 1, 8)], alignment=0)
