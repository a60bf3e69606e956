"""Threads change no bit of a result, and no two of them share memory that is reused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.graphlib.errors import InvalidArgumentError
from dagrad.ops import linalg
from dagrad.runtime import pieces, regions
from dagrad.runtime.plan import ARENA, Region
from dagrad.runtime.regions import find_regions, live_apart, place_apart
from dagrad.runtime.schedule import Problem

NUMBERS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 4)]
TRACE = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)


def threads(intra=None, inter=None):
    return dg.ConfigProto(
        intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter
    )


@pytest.fixture(autouse=True)
def graph():
    with dg.Graph().as_default() as g:
        yield g


@pytest.fixture
def small():
    """Cut and share everything, however small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_LARGE", 4)
        patch.setattr(pieces, "_PIECE", 3)
        patch.setattr(pieces, "_ALIGN", 1)
        patch.setattr(linalg, "_CUT", (1, 400))
        patch.setattr(linalg, "_TILE", 2)
        for name in ("_LEAST", "_HEAVY", "_OVERHEAD", "_WIDTH"):
            patch.setattr(regions, name, 0.0)
        yield


# -- random programs -------------------------------------------------------------------

SIDE = 9


@st.composite
def programs(draw):
    """(graph, fetches, feeds, variables) of random operations on square matrices."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def array():
        return rng.normal(size=(SIDE, SIDE))

    def pick():
        return made[draw(st.integers(0, len(made) - 1))]

    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float64, [SIDE, SIDE])
        y = dg.placeholder(dg.float64, None)  # what it meets is known in the run only
        v = dg.Variable(array())
        made = [x, v.value(), dg.constant(array())]
        makers = [
            lambda: dg.tanh(pick()),
            lambda: dg.sigmoid(pick()),
            lambda: dg.nn.relu(pick()),
            lambda: dg.nn.softplus(pick()),
            lambda: dg.nn.softmax(pick()),
            lambda: dg.cast(dg.cast(pick(), dg.float32), dg.float64) / 3.0,
            lambda: dg.matmul(pick(), pick()) / 3.0,
            lambda: dg.matmul(pick(), pick(), transpose_a=True) / 3.0,
            lambda: pick() * pick(),
            lambda: dg.maximum(pick(), pick()),
            lambda: pick() + dg.reduce_mean(pick(), 0),
            lambda: pick() - dg.reduce_max(pick(), 1, keepdims=True),
            lambda: dg.add_n([pick(), pick(), pick()]),
            lambda: dg.where(pick() > pick(), pick(), pick()),
            lambda: dg.transpose(pick()),
            lambda: pick()[::-1] * 0.5,
            lambda: dg.concat([pick()[:4], pick()[4:]], 0),
            lambda: dg.reshape(dg.reshape(pick(), [-1]) * 0.9, [SIDE, SIDE]),
            lambda: v.assign(pick()),
            lambda: v.assign_add(dg.sin(pick())),
            lambda: pick() * dg.reduce_sum(y),
        ]
        for _ in range(draw(st.integers(3, 25))):
            made.append(makers[draw(st.integers(0, len(makers) - 1))]())
        fetches = [pick() for _ in range(draw(st.integers(1, 3)))] + made[-1:]
        if draw(st.booleans()):
            try:
                slopes = dg.gradients(pick(), [x, made[2]])
            except LookupError as error:
                assert "writes a variable" in str(error)
            else:
                fetches += [t for t in slopes if t is not None]
    return graph, fetches, {x: array(), y: array()}, v


@given(programs())
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
def test_results_are_the_same_to_the_bit_for_every_number(small, program):
    graph, fetches, feeds, v = program
    expected = None
    for intra, inter in NUMBERS:
        for options in (None, TRACE) if inter == 1 else (None,):
            with dg.Session(graph=graph, config=threads(intra, inter)) as s:
                s.run(v.initializer)
                got = []
                for _ in range(2):  # the variable changes, frames are used again
                    got += s.run([*fetches, v], feeds, options=options)
                if inter > 1:
                    check_apart(s.plan(fetches, feeds))
            expected = got if expected is None else expected
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a, b)


def ranges(plan, slots, work=()):
    """(first byte, end) in the arena of slots and scratch arrays."""
    found = []
    for s in slots:
        owner = plan.slots[plan.slots[s].owner]
        if owner.kind == ARENA and owner.nbytes:
            found.append((owner.offset, owner.offset + owner.nbytes))
    for offset, dtype, dims in work:
        found.append((offset, offset + int(np.prod(dims)) * np.dtype(dtype).itemsize))
    return found


def check_apart(plan):
    """What a branch writes, no other branch of its region reads or writes."""
    for region in plan.regions:
        assert sorted(itertools.chain(*region.branches)) == list(
            range(region.first, region.last + 1)
        )
        used, written = [], []
        for branch in region.branches:
            steps = [plan.steps[i] for i in branch if plan.steps[i].mode != "view"]
            used.append([r for s in steps for r in ranges(plan, s.inputs)])
            written.append([r for s in steps for r in ranges(plan, s.outputs, s.work)])
        for i, j in itertools.permutations(range(len(region.branches)), 2):
            for a, b in itertools.product(written[i], used[j] + written[j]):
                assert a[1] <= b[0] or b[1] <= a[0], (region, a, b)


def test_plans_of_random_programs_have_regions(small):
    """The property above would hold of plans without any."""
    x = dg.placeholder(dg.float64, [SIDE, SIDE])
    a, b = dg.tanh(dg.tanh(x)), dg.sin(dg.sin(x))
    with dg.Session(config=threads(1, 2)) as s:
        plan = s.plan(a * b, {x: np.ones((SIDE, SIDE))})
    assert [sorted(map(len, r.branches)) for r in plan.regions] == [[2, 2]]
    check_apart(plan)
    assert "side by side, in branches of 2, 2" in str(plan)


# -- which steps run side by side ------------------------------------------------------


def problem(waits, nbytes=64, inplace=()):
    """A problem in which node i makes buffer i and reads those of ``waits[i]``."""
    n = len(waits)
    return Problem(
        reads=waits,
        writes=[[i] for i in range(n)],
        after=[[] for _ in range(n)],
        nbytes=[nbytes] * n,
        kept=frozenset({n - 1}),
        work=[0] * n,
        inplace=inplace or [[] for _ in range(n)],
    )


#: A stem, two branches of two steps each, and where they meet.
FORK = [[], [0], [0], [1], [2], [3, 4]]


def found(waits, costs, count=2, allowed=None):
    n = len(waits)
    order = list(range(n))
    return find_regions(problem(waits), order, costs, allowed or [True] * n, count)


def test_two_long_branches_are_a_region():
    assert found(FORK, [500.0] * 6) == (Region(1, 4, ((1, 3), (2, 4))),)


def test_short_branches_are_none():
    assert found(FORK, [500, 500, 80, 500, 80, 500]) == ()
    assert found(FORK, [90.0] * 6) == ()


def test_a_chain_has_no_branches():
    assert found([[], [0], [1], [2], [3]], [1e4] * 5) == ()


def test_what_must_not_be_run_elsewhere_bounds_regions():
    assert found(FORK, [500.0] * 6, allowed=[1, 1, 1, 0, 1, 1]) == (
        Region(1, 2, ((1,), (2,))),
    )


def test_an_edge_of_order_counts_like_data():
    waits = problem(FORK)
    waits.after[4].append(3)
    order = list(range(6))
    (region,) = find_regions(waits, order, [500.0] * 6, [True] * 6, 2)
    assert region == Region(1, 2, ((1,), (2,)))


def test_branches_are_dealt_out_evenly_and_few():
    waits = [[], [0], [0], [0], [0], [1, 2, 3, 4]]
    costs = [9.0, 800, 500, 400, 300, 9]
    ((first, last, branches),) = found(waits, costs)
    assert (first, last) == (1, 4)
    assert sorted(branches) == [(1, 4), (2, 3)]
    # The third thread would have 100 us to do: two are enough.
    ((_, _, branches),) = found([[], [0], [0], [0]], [9, 900, 100, 900], 3)
    assert sorted(map(len, branches)) == [1, 2]


def test_regions_follow_each_other():
    waits = [*FORK, [5], [5], [6, 7]]
    assert [(r.first, r.last) for r in found(waits, [500.0] * 9)] == [(1, 4), (6, 7)]


def test_a_long_order_is_searched_in_time():
    n = 3000
    waits = [[] if i < 2 else [i - 2] for i in range(n)]
    regions_found = found(waits, [100.0] * n)
    assert len(regions_found) >= n // 64
    assert all(len(r.branches) == 2 for r in regions_found)


# -- memory ----------------------------------------------------------------------------


def test_what_reaches_beyond_a_branch_lives_through_the_region():
    region = Region(1, 4, ((1, 3), (2, 4)))
    # Read in the region, within a branch each, made there, and of one moment.
    intervals = [(0, 1, 64), (1, 3, 64), (2, 4, 64), (3, 5, 64), (4, 4, 64)]
    placed = place_apart(intervals, [region])
    assert len(set(placed.offsets)) == 5  # all alive at once: 4 was dead, alone
    assert live_apart(intervals, [region], 6) == [64, 320, 320, 320, 320, 64]
    alone = place_apart(intervals, [])
    assert alone.total < placed.total


def test_within_a_branch_memory_is_used_again():
    region = Region(0, 5, ((0, 1, 2), (3, 4, 5)))
    intervals = [(0, 0, 64), (1, 1, 64), (2, 2, 64), (3, 3, 64), (4, 5, 64)]
    placed = place_apart(intervals, [region])
    assert placed.total == 128
    assert len(set(placed.offsets[:3])) == 1
    assert not set(placed.offsets[:3]) & set(placed.offsets[3:])


def test_predicted_peaks_cover_the_arena():
    x = dg.placeholder(dg.float32, [256, 1024])
    a = b = x
    for _ in range(3):
        a, b = dg.tanh(a) + 1.0, dg.exp(-b)
    y = dg.reduce_sum(a * b)
    feeds = {x: np.zeros((256, 1024), np.float32)}
    with dg.Session(config=threads(1, 2)) as s, dg.Session() as serial:
        plan, one = s.plan(y, feeds), serial.plan(y, feeds)
    assert plan.regions
    assert not one.regions
    check_apart(plan)
    assert plan.peak_bytes <= plan.arena_bytes <= 1.05 * plan.peak_bytes + 4096
    assert one.arena_bytes <= plan.arena_bytes


# -- what is cut -----------------------------------------------------------------------


def count_pieces(session, fetches, feeds):
    """Per op type, into how many pieces its steps are cut."""
    plan = session.plan(fetches, feeds)
    return {
        s.opdef.type: len(pieces.cut(s, plan.slots, ()))
        for s in plan.steps
        if not s.work or s.opdef.pieces
    }


def test_large_steps_are_cut_small_ones_stay_whole():
    x = dg.placeholder(dg.float32, [None, 512])
    y = dg.reduce_sum(dg.tanh(dg.matmul(x, dg.transpose(x) * 2.0)))
    with dg.Session(config=threads(2)) as s:
        large = count_pieces(s, y, {x: np.ones((512, 512), np.float32)})
        small = count_pieces(s, y, {x: np.ones((64, 512), np.float32)})
    assert large["MatMul"] == 2
    assert large["Tanh"] == 2
    assert large["Sum"] == 0
    assert set(small.values()) == {0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("flags", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("sizes", [(400, 300, 200), (30, 900, 1000), (2000, 50, 300)])
def test_products_in_pieces(dtype, flags, sizes):
    m, k, n = sizes
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    if dtype == np.complex64:
        b = b * (1 + 2j)
    ta, tb = flags
    fed = [x.T.copy() if t else x for x, t in zip((a, b), flags)]
    p, q = (dg.placeholder(x.dtype, x.shape) for x in fed)
    y = dg.matmul(p, q, transpose_a=bool(ta), transpose_b=bool(tb))
    results = []
    for intra in (1, 2, 4):
        with dg.Session(config=threads(intra)) as s:
            feeds = dict(zip((p, q), fed))
            assert count_pieces(s, y, feeds)["MatMul"] == 2
            results.append(s.run(y, feeds))
            results.append(s.run(y, feeds, options=TRACE))
    for r in results:
        np.testing.assert_array_equal(r, results[0])
    np.testing.assert_allclose(results[0], a @ b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(4, 128, 256), (1, 256, 1024), (128, 256)])
def test_products_of_batches_in_pieces(shape):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 256, 128)), rng.normal(size=shape)
    if shape[-2] == 256:
        a = a.transpose(0, 2, 1).copy()
    if len(shape) == 2:
        b, a = b.copy(), np.concatenate([a] * 3, 1)
    p, q = dg.placeholder(dg.float64, a.shape), dg.placeholder(dg.float64, b.shape)
    y = dg.matmul(p, q)
    with dg.Session(config=threads(2)) as s:
        assert count_pieces(s, y, {p: a, q: b})["MatMul"] >= 2
        fast = s.run(y, {p: a, q: b})
        np.testing.assert_array_equal(fast, s.run(y, {p: a, q: b}, options=TRACE))
    np.testing.assert_allclose(fast, a @ b, rtol=1e-10, atol=1e-10)


def test_a_product_with_itself_stays_whole():
    # BLAS computes half of it.
    x = dg.placeholder(dg.float64, [600, 600])
    y = dg.matmul(x, x, transpose_b=True)
    with dg.Session(config=threads(2)) as s:
        assert count_pieces(s, y, {x: np.ones((600, 600))})["MatMul"] == 0


# -- what may be asked -----------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, 1.5, "2", True])
def test_a_number_that_is_none(bad):
    for given_ in (threads(bad), threads(None, bad)):
        with pytest.raises(InvalidArgumentError, match="parallelism_threads must be"):
            dg.Session(config=given_)


def test_no_number_changes_nothing():
    x = dg.placeholder(dg.float64, [1024, 1024])
    y = dg.tanh(x) * dg.exp(x)
    for config in (None, dg.ConfigProto(), threads(0, 0)):
        with dg.Session(config=config) as s:
            plan = s.plan(y, {x: np.zeros((1024, 1024))})
            assert plan.regions == ()
            assert s._state.settings.intra == s._state.settings.inter == 0
            assert s._state.pool.threads == 1
