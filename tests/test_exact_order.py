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
    # Pairs that shrink by different amounts: no order meets the bound of one node.
    size = 12
    wide = Problem(
        reads=[[]] * size + [[i] for i in range(size)] + [list(range(size, 2 * size))],
        writes=[[i] for i in range(2 * size + 1)],
        after=[[]] * (2 * size + 1),
        nbytes=[50 + 7 * i for i in range(size)] + [40 - i for i in range(size)] + [1],
        kept=frozenset(),
        work=[0] * (2 * size + 1),
        inplace=[[]] * (2 * size + 1),
    )
    assert exact_order(wide, most=3) is None
    assert exact_order(wide) is not None


def dags(count, sizes, seed=11):
    """Random DAGs of ops."""
    rng = random.Random(seed)
    return [tangle(rng, rng.choice(sizes)) for _ in range(count)]


def test_the_planner_finds_the_best_order_of_small_programs():
    ratios = []
    for p in dags(80, range(10, 26)):
        best = simulate(p, exact_order(p, most=10**6)).peak
        mine = order(p)
        assert best <= mine.peak == min(mine.tried.values())
        assert simulate(p, mine.nodes).peak == mine.peak
        ratios.append(mine.peak / best)
    assert sum(ratios) / len(ratios) <= 1.001


def test_the_nodes_around_the_peak_find_a_better_order():
    gained = []
    for p in dags(30, [40, 80, 200]):
        mine = order(p)
        assert legal(p, mine.nodes)
        assert simulate(p, mine.nodes).peak == mine.peak == min(mine.tried.values())
        singles = min(v for k, v in mine.tried.items() if k != "windows")
        gained.append(mine.peak / singles)
    assert sum(gained) / len(gained) <= 0.97


def test_larger_programs_are_near_the_best_too():
    ratios = []
    for p in dags(12, range(30, 41), seed=5):
        best = exact_order(p, most=150_000)
        if best is not None:
            ratios.append(order(p).peak / simulate(p, best).peak)
    assert len(ratios) >= 9
    assert sum(ratios) / len(ratios) <= 1.03
