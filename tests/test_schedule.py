"""Order and lifetimes, against oracles that follow the definitions step by step."""

from __future__ import annotations

import random
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrad.runtime.liveness import lifetimes
from dagrad.runtime.schedule import Problem, order, simulate


def problem(reads, writes, nbytes, *, after=None, kept=(), work=None, inplace=None):
    size = len(reads)
    return Problem(
        reads=reads,
        writes=writes,
        after=after or [[] for _ in range(size)],
        nbytes=nbytes,
        kept=frozenset(kept),
        work=work or [0] * size,
        inplace=inplace or [[] for _ in range(size)],
    )


def chain(size, nbytes=8, inplace=False):
    """Node i reads buffer i and defines buffer i + 1; buffer 0 is external."""
    return problem(
        [[i] for i in range(size)],
        [[i + 1] for i in range(size)],
        [nbytes] * (size + 1),
        inplace=[[(i + 1, i)] if inplace else [] for i in range(size)],
    )


@st.composite
def problems(draw, max_nodes=7, orders=True):
    """Random programs; `after` edges follow a hidden order, so may point back."""
    size = draw(st.integers(0, max_nodes))
    small = st.integers(0, 9)
    nbytes = draw(st.lists(small, min_size=1, max_size=2))  # external
    reads, writes, inplace = [], [], []
    for _ in range(size):
        known = st.integers(0, len(nbytes) - 1)
        reads.append(draw(st.lists(known, max_size=3)))
        new = []
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
            new.append(len(nbytes))
            nbytes.append(draw(small))
        writes.append(new)
        pairs = [(o, i) for o in new for i in dict.fromkeys(reads[-1])]
        if pairs and draw(st.booleans()):
            # Callers propose pairs of equal size, so make some equal.
            nbytes[pairs[0][0]] = nbytes[pairs[0][1]]
            pairs = [(o, i) for o, i in pairs if nbytes[o] == nbytes[i]]
            inplace.append(draw(st.permutations(pairs)))
        else:
            inplace.append([])
    after = [[] for _ in range(size)]
    if size > 1 and draw(st.booleans()):
        hidden = draw(st.permutations(range(size)))
        rank = topological(reads, writes, hidden)
        for _ in range(draw(st.integers(0, 3))):
            a, b = draw(st.lists(st.sampled_from(range(size)), min_size=2, max_size=2))
            if rank.index(a) < rank.index(b):
                after[b].append(a)
    kept = draw(st.frozensets(st.integers(0, len(nbytes) - 1), max_size=3))
    work = draw(st.lists(small, min_size=size, max_size=size))
    return problem(
        reads, writes, nbytes, after=after, kept=kept, work=work, inplace=inplace
    )


def topological(reads, writes, priority):
    """A topological order by the data edges that follows `priority`."""
    maker = {b: i for i, row in enumerate(writes) for b in row}
    left, nodes = list(priority), []
    while left:
        for i in left:
            if all(maker.get(b, -1) in (-1, *nodes) for b in reads[i]):
                nodes.append(i)
                left.remove(i)
                break
    return nodes


def legal(p, nodes):
    maker = {b: i for i, row in enumerate(p.writes) for b in row}
    place = {node: step for step, node in enumerate(nodes)}
    return sorted(nodes) == list(range(len(p.reads))) and all(
        place[j] < place[i]
        for i in range(len(nodes))
        for j in [*(maker[b] for b in p.reads[i] if b in maker), *p.after[i]]
    )


def live_by_definition(p, nodes):
    """Live bytes by running the program on sets: memories, not names, are counted."""
    memory, live = {}, []  # memory: live buffer -> the buffer that began its memory
    for step, node in enumerate(nodes):
        needed = {b for later in nodes[step + 1 :] for b in p.reads[later]}
        taken = {}
        for out, into in p.inplace[node]:
            last_use = into in p.reads[node] and into not in needed | p.kept
            free = into in memory and into not in taken.values() and out not in taken
            if last_use and free and p.nbytes[out] == p.nbytes[into]:
                taken[out] = into
        for out in p.writes[node]:
            memory[out] = memory[taken[out]] if out in taken else out
        live.append(p.work[node] + sum(p.nbytes[m] for m in set(memory.values())))
        memory = {b: m for b, m in memory.items() if b in needed | p.kept}
    return live


@settings(max_examples=200, deadline=None)
@given(problems(), st.data())
def test_simulate_equals_the_definition(p, data):
    base = data.draw(st.permutations(range(len(p.reads))))
    nodes = base if legal(p, base) else order(p).nodes
    live = simulate(p, nodes)
    assert live.bytes == live_by_definition(p, nodes)
    assert live.peak == max(live.bytes, default=0)
    assert live.peak_step == (live.bytes.index(live.peak) if live.bytes else -1)


@settings(max_examples=150, deadline=None)
@given(problems(max_nodes=12))
def test_order_is_topological_and_the_least_tried(p):
    plan = order(p)
    assert legal(p, plan.nodes)
    assert plan.peak == simulate(p, plan.nodes).peak == min(plan.tried.values())
    if plan.tried["creation"] == plan.peak and not any(p.after):
        assert plan.nodes == list(range(len(p.reads)))


@settings(max_examples=60, deadline=None)
@given(problems(max_nodes=6))
def test_order_stops_early_only_at_the_optimum(p):
    plan = order(p)
    best = min(
        max(live_by_definition(p, nodes), default=0)
        for nodes in permutations(range(len(p.reads)))
        if legal(p, nodes)
    )
    assert plan.peak >= best
    if plan.tried.keys() == {"creation"}:
        assert plan.peak == best


@settings(max_examples=150, deadline=None)
@given(problems())
def test_lifetimes_equal_the_definition(p):
    nodes = order(p).nodes
    life = lifetimes(p, nodes)
    step = {node: at for at, node in enumerate(nodes)}
    for i, row in enumerate(p.writes):
        for b in row:
            uses = [step[j] for j in range(len(nodes)) if b in p.reads[j]]
            last = len(nodes) - 1 if b in p.kept else max(uses, default=step[i])
            assert (life.first[b], life.last[b]) == (step[i], last)
    internal = {b for row in p.writes for b in row}
    for b in set(range(len(p.nbytes))) - internal:
        assert (life.first[b], life.last[b], life.group[b]) == (-1, -1, -1)
    assert life.freed == [
        sorted(b for b in internal - p.kept if life.last[b] == at)
        for at in range(len(nodes))
    ]


@settings(max_examples=150, deadline=None)
@given(problems())
def test_storage_groups_cover_their_members_and_add_up_to_the_live_bytes(p):
    nodes = order(p).nodes
    life = lifetimes(p, nodes)
    members = {}
    for b, g in enumerate(life.group):
        if g >= 0:
            members.setdefault(g, []).append(b)
    assert sorted(members) == list(range(len(life.groups)))
    for g, row in members.items():
        row.sort(key=life.first.__getitem__)
        assert life.groups[g] == (
            life.first[row[0]],
            max(life.last[b] for b in row),
            p.nbytes[row[0]],
        )
        for before, out in pairwise(row):
            assert life.shares[out] == before
            assert life.last[before] == life.first[out]
    assert len(set(life.shares.values())) == len(life.shares)
    live = [p.work[node] for node in nodes]
    for first, last, nbytes in life.groups:
        for at in range(first, last + 1):
            live[at] += nbytes
    assert live == simulate(p, nodes).bytes


def test_empty_problem():
    p = problem([], [], [4])
    assert order(p).nodes == []
    assert order(p).peak == 0
    assert simulate(p, []).bytes == []
    assert lifetimes(p, []).groups == []


def test_workspace_counts_in_its_own_step_only():
    p = problem([[], [0], [1]], [[0], [1], [2]], [8, 8, 8], work=[0, 100, 0])
    assert simulate(p, [0, 1, 2]).bytes == [8, 116, 16]


def test_external_buffers_are_free_even_when_kept():
    p = problem([[0], [0, 1]], [[1], [2]], [1000, 8, 8], kept=[0, 2])
    assert simulate(p, [0, 1]).bytes == [8, 16]
    assert lifetimes(p, [0, 1]).freed == [[], [1]]


def test_kept_buffers_live_to_the_end():
    p = problem([[], [], []], [[0], [1], [2]], [4, 2, 1], kept=[0])
    assert simulate(p, [0, 1, 2]).bytes == [4, 6, 5]


def test_a_repeated_read_is_one_use():
    p = problem([[], [0, 0], [1]], [[0], [1], []], [4, 4], inplace=[[], [(1, 0)], []])
    assert lifetimes(p, [0, 1, 2]).shares == {1: 0}
    assert simulate(p, [0, 1, 2]).bytes == [4, 4, 4]


def test_takeovers_chain_into_one_group():
    life = lifetimes(chain(5, nbytes=8, inplace=True), range(5))
    assert life.shares == {2: 1, 3: 2, 4: 3, 5: 4}
    assert life.groups == [(0, 4, 8)]
    assert life.freed == [[], [1], [2], [3], [4, 5]]


def test_no_takeover_of_a_kept_or_later_read_or_unequal_buffer():
    pair = [[], [(1, 0)], []]
    late = problem([[], [0], [0]], [[0], [1], []], [4, 4], inplace=pair)
    kept = problem([[], [0], []], [[0], [1], []], [4, 4], inplace=pair, kept=[0])
    size = problem([[], [0], []], [[0], [1], []], [4, 2], inplace=pair)
    for p in (late, kept, size):
        assert lifetimes(p, [0, 1, 2]).shares == {}


def test_one_buffer_is_taken_by_one_output_and_one_output_takes_one():
    p = problem(
        [[], [], [0, 1]],
        [[0], [1], [2, 3]],
        [4, 4, 4, 4],
        inplace=[[], [], [(2, 0), (3, 0), (2, 1), (3, 1)]],
    )
    assert lifetimes(p, [0, 1, 2]).shares == {2: 0, 3: 1}


def test_anti_dependency_on_a_later_node():
    p = problem([[], [], []], [[0], [1], [2]], [1, 1, 1], after=[[2], [], []])
    assert order(p).nodes == [1, 2, 0]


def test_updates_at_the_end_of_creation_order_are_pulled_forward():
    # Ten gradients, then ten updates: in creation order all gradients are alive.
    p = problem(
        [[]] * 10 + [[i] for i in range(10)],
        [[i] for i in range(10)] + [[]] * 10,
        [8] * 10,
    )
    plan = order(p)
    assert plan.tried["creation"] == 80
    assert plan.peak == 8


def test_depth_first_beats_greedy_where_small_leaves_tempt():
    # Two trees whose leaves shrink into small results: never open both at once.
    reads = [[], [], [], [], [0, 1], [2, 3], [4, 5]]
    p = problem(reads, [[i] for i in range(7)], [50, 50, 50, 50, 1, 1, 1])
    assert order(p).peak == 102


def test_a_cycle_names_one_of_its_nodes():
    after = [[], [3], [1], [2], [3]]
    p = problem([[]] * 5, [[]] * 5, [], after=after)
    with pytest.raises(ValueError, match=r"cycle through node [123]$"):
        order(p)


def test_a_node_that_reads_its_own_output_is_a_cycle():
    with pytest.raises(ValueError, match="cycle through node 1"):
        order(problem([[], [1]], [[0], [1]], [1, 1]))


def test_malformed_problems_are_refused():
    with pytest.raises(ValueError, match="buffer 0 is defined more than once"):
        order(problem([[], []], [[0], [0]], [1]))
    with pytest.raises(ValueError, match="buffer 3 is out of range"):
        order(problem([[3]], [[]], [1]))
    with pytest.raises(ValueError, match="node -1 is out of range"):
        order(problem([[]], [[]], [], after=[[-1]]))
    with pytest.raises(ValueError, match="negative bytes"):
        order(problem([[]], [[0]], [-1]))
    with pytest.raises(ValueError, match="work has 2 entries for 1 nodes"):
        order(problem([[]], [[]], [], work=[1, 2]))


def test_an_illegal_order_is_refused():
    p = chain(3)
    with pytest.raises(ValueError, match="node 1 comes before node 0"):
        simulate(p, [1, 0, 2])
    with pytest.raises(ValueError, match="no permutation"):
        lifetimes(p, [0, 1])
    with pytest.raises(ValueError, match="no permutation"):
        lifetimes(p, [0, 1, 1])


@pytest.mark.parametrize("seed", range(4))
def test_every_order_tried_heeds_anti_dependencies(seed):
    # Simulation refuses an illegal order, so each one tried was legal.
    rng = random.Random(seed)
    size = 400
    reads = [[rng.randrange(i) for _ in range(min(i, 2))] for i in range(size)]
    writes = [[i] for i in range(size)]
    nbytes = [rng.randrange(100) for _ in range(size)]
    hidden = topological(reads, writes, rng.sample(range(size), size))
    after = [[] for _ in range(size)]
    for _ in range(200):
        a, b = sorted(rng.sample(range(size), 2))
        after[hidden[b]].append(hidden[a])
    p = problem(reads, writes, nbytes, after=after)
    plan = order(p)
    assert len(plan.tried) == 8
    assert legal(p, plan.nodes)
    assert plan == order(p)


def random_dag(size, window, seed):
    """One to three inputs out of the last `window` buffers, sizes over decades."""
    rng = random.Random(seed)
    reads = [
        [rng.randrange(max(0, i - window), i) for _ in range(rng.randint(1, 3)) if i]
        for i in range(size)
    ]
    nbytes = [int(4 * 10 ** rng.uniform(0, 5)) for _ in range(size)]
    return problem(reads, [[i] for i in range(size)], nbytes)


@pytest.mark.parametrize(
    ("window", "name", "ratio"),
    [
        (3000, "list", 0.65),
        (40, "list", 1.2),
        (40, "near 8", 0.9),
        (40, "near 32", 0.9),
    ],
)
def test_greedy_orders_against_creation_order_on_random_graphs(window, name, ratio):
    tried = [order(random_dag(3000, window, seed)).tried for seed in range(5)]
    assert sum(peaks[name] / peaks["creation"] for peaks in tried) <= 5 * ratio


def backpropagation(depth):
    """A chain, its gradient that reads every activation, and updates at the end."""
    reads = [[i - 1] if i else [] for i in range(depth)]
    writes = [[i] for i in range(depth)]
    nbytes = [4] * depth
    grad, updates = depth - 1, []
    for i in reversed(range(depth)):
        reads += [[grad, i], [grad, i]]
        writes += [[len(nbytes)], [len(nbytes) + 1]]
        nbytes += [4, 12]
        grad, weight = len(nbytes) - 2, len(nbytes) - 1
        updates.append([weight])
    return problem(reads + updates, writes + [[]] * depth, nbytes)


def test_list_and_depth_orders_run_updates_early():
    tried = order(backpropagation(100)).tried
    assert tried["list"] <= 0.4 * tried["creation"]
    assert tried["depth"] <= 0.4 * tried["creation"]


def test_depth_first_computes_the_hungrier_input_first():
    # Of x (needs 100, leaves 1) and y (needs 20, leaves 10), x goes first.
    reads = [[], [0], [], [2], [1, 3]]
    p = problem(reads, [[i] for i in range(5)], [20, 10, 100, 1, 1])
    assert order(p).tried["depth"] == 101


def test_a_chain_of_100_000_nodes():
    size = 100_000
    p = chain(size, inplace=True)
    assert order(p).peak == 8
    assert lifetimes(p, range(size)).groups == [(0, size - 1, 8)]


def test_a_deep_program_needs_no_recursion():
    plan = order(backpropagation(30_000))
    assert plan.peak <= 0.4 * plan.tried["creation"]
