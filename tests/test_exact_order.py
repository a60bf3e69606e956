"""The best order of small programs, and how near the planner comes to it."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from dagrad.runtime.exact_order import exact_order
from dagrad.runtime.schedule import Problem, order, simulate

#: Sizes are multiples of this: large enough that the planner searches.
UNIT = 256 * 1024


def tangle(rng, size, after=True):
    """A random DAG of ops with up to three inputs, some of which may be overwritten."""
    reads, nbytes, inplace = [], [], []
    for i in range(size):
        count = rng.choice([0, 1, 1, 2, 2, 3])
        read = rng.sample(range(max(0, i - 8), i), min(i, 8, count))
        nbytes.append(UNIT * rng.choice([1, 2, 4, 8, 8, 16]))
        reads.append(read)
        inplace.append([(i, j) for j in read if nbytes[j] == nbytes[i]])
    unread = set(range(size)).difference(*reads)
    waits = [[] for _ in range(size)]
    for i in range(1, size):
        if after and rng.random() < 0.1:
            waits[i].append(rng.randrange(i))
    return Problem(
        reads=reads,
        writes=[[i] for i in range(size)],
        after=waits,
        nbytes=nbytes,
        kept=frozenset(unread if rng.random() < 0.5 else ()),
        work=[UNIT * rng.choice([0, 0, 0, 3]) for _ in range(size)],
        inplace=inplace,
    )


def legal(p, nodes):
    seen = set()
    for n in nodes:
        if not seen.issuperset([*p.reads[n], *p.after[n]]):
            return False
        seen.add(n)
    return True


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_best_of_all_orders(seed):
    rng = random.Random(seed)
    p = tangle(rng, rng.randint(1, 7))
    best = min(
        simulate(p, nodes).peak
        for nodes in permutations(range(len(p.reads)))
        if legal(p, nodes)
    )
    nodes = exact_order(p)
    assert simulate(p, nodes).peak == best
    assert exact_order(p, below=best) is None
    assert exact_order(p, below=best + 1) is not None


def test_nothing_to_run():
    empty = Problem([], [], [], [], frozenset(), [], [])
    assert exact_order(empty) == []


def test_it_gives_up_in_time():
    wide = Problem(
        reads=[[]] * 20 + [list(range(20))],
        writes=[[i] for i in range(21)],
        after=[[]] * 21,
        nbytes=[2**i for i in range(21)],
        kept=frozenset(),
        work=[2 ** (20 - i) for i in range(21)],
        inplace=[[]] * 21,
    )
    assert exact_order(wide, most=50) is None


def test_the_planner_is_within_three_per_cent_of_the_best():
    rng = random.Random(11)
    ratios = []
    for _ in range(60):
        p = tangle(rng, rng.randint(10, 25))
        best = simulate(p, exact_order(p, most=10**6)).peak
        mine = order(p)
        assert best <= mine.peak == min(mine.tried.values())
        assert simulate(p, mine.nodes).peak == mine.peak
        ratios.append(mine.peak / best)
    assert sum(ratios) / len(ratios) <= 1.03
