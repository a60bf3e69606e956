"""Chains of products in plans: in the order that costs least, within rounding."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import both, whats

import dagrad as dg

PASSES = ["chains", "dead"]


def flops(plan):
    return sum(
        s.opdef.flops(
            [plan.slots[i] for i in s.inputs],
            [plan.slots[i] for i in s.outputs],
            s.attrs,
        )
        for s in plan.steps
        if s.opdef.type in ("MatMul", "Einsum")
    )


def least(sizes):
    """The least multiplications of a chain, by trying every order."""
    if len(sizes) == 2:
        return 0
    return min(
        sizes[i - 1] * sizes[i] * sizes[i + 1] + least(sizes[:i] + sizes[i + 1 :])
        for i in range(1, len(sizes) - 1)
    )


def close(got, want, factors):
    """Within the bound that the pass states."""
    u = np.finfo(want.dtype).eps / 2
    size = np.abs(factors[0])
    for f in factors[1:]:
        size = size @ np.abs(f)
    inner = sum(f.shape[0] for f in factors[1:]) + len(factors)
    assert (np.abs(got - want) <= 2 * inner * u * size).all()


@given(st.lists(st.sampled_from([1, 2, 5, 20, 60]), min_size=4, max_size=8), st.data())
@settings(max_examples=100)
def test_random_chains_cost_least_and_stay_within_the_bound(sizes, data):
    rng = np.random.default_rng(0)
    with dg.Graph().as_default():
        feeds, parts = {}, []
        for m, n in itertools.pairwise(sizes):
            flip = data.draw(st.booleans())
            x = dg.placeholder(dg.float64, [n, m] if flip else [m, n])
            feeds[x] = rng.normal(size=(n, m) if flip else (m, n))
            parts.append((x, flip))
        factors = [feeds[x].T if flip else feeds[x] for x, flip in parts]
        while len(parts) > 1:
            i = data.draw(st.integers(0, len(parts) - 2))
            (a, flip_a), (b, flip_b) = parts[i : i + 2]
            parts[i : i + 2] = [(dg.matmul(a, b, flip_a, flip_b), False)]
        y = parts[0][0]
    got, want, plan = both(y, feeds, PASSES)
    first = dg.Session(graph=y.graph, rewrites=["dead"]).plan(y, feeds)
    best = 2 * least(tuple(sizes))
    if best <= 0.75 * flops(first):
        assert flops(plan) == best
    else:
        assert flops(plan) == flops(first)
    close(got, want, factors)


def test_a_chain_on_a_vector_never_makes_a_matrix():
    with dg.Graph().as_default():
        a, b = (dg.placeholder(dg.float32, [300, 300]) for _ in "ab")
        v = dg.placeholder(dg.float32, [300, 1])
        y = a @ b @ a @ b @ v
    rng = np.random.default_rng(0)
    feeds = {
        t: rng.normal(size=t.shape.as_list()).astype(np.float32) for t in (a, b, v)
    }
    got, want, plan = both(y, feeds, PASSES)
    assert flops(plan) == 4 * 2 * 300 * 300
    assert max(s.nbytes for s in plan.slots if s.kind == "arena") == 1200
    close(got, want, [feeds[a], feeds[b], feeds[a], feeds[b], feeds[v]])


def test_integers_wrap_around_the_same():
    with dg.Graph().as_default():
        a = dg.placeholder(dg.int32, [40, 40])
        v = dg.placeholder(dg.int32, [40, 1])
        y = dg.matmul(dg.matmul(a, a), v)
    rng = np.random.default_rng(0)
    feeds = {
        a: rng.integers(-(2**30), 2**30, (40, 40)).astype(np.int32),
        v: rng.integers(-(2**30), 2**30, (40, 1)).astype(np.int32),
    }
    got, want, plan = both(y, feeds, PASSES)
    assert "products of matrices in another order" in whats(plan)
    np.testing.assert_array_equal(got, want, strict=True)


def test_what_others_read_is_no_link_of_a_chain():
    with dg.Graph().as_default():
        a = dg.placeholder(dg.float64, [40, 40])
        v = dg.placeholder(dg.float64, [40, 1])
        square = dg.matmul(a, a)
        y = dg.matmul(square, v)
    feeds = {a: np.ones((40, 40)), v: np.ones((40, 1))}
    for fetches in ([y, square], [y, dg.reduce_sum(square)]):
        _, _, plan = both(fetches, feeds, PASSES)
        assert dict(plan.rewrites)["chains"] == 0


def test_long_chains_are_taken_in_pieces():
    with dg.Graph().as_default():
        a = dg.placeholder(dg.float64, [4, 4])
        v = dg.placeholder(dg.float64, [4, 1])
        y = a
        for _ in range(200):
            y = dg.matmul(y, a)
        y = dg.matmul(y, v)
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    got, want, plan = both(y, {a: q, v: rng.normal(size=(4, 1))}, PASSES)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)
    assert flops(plan) < 201 * 2 * 64


@pytest.fixture(params=["opt_einsum", "numpy"])
def planner(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setitem(sys.modules, "opt_einsum", None)
    else:
        pytest.importorskip("opt_einsum")


@pytest.mark.usefixtures("planner")
@pytest.mark.parametrize(
    "equation, sizes",
    [
        ("ab,bc,cd->ad", {"a": 2, "b": 50, "c": 50, "d": 50}),
        ("ab,bc,cd,de->ae", {"a": 50, "b": 50, "c": 50, "d": 50, "e": 1}),
        ("nij,njk,nkl->nil", {"n": 3, "i": 30, "j": 30, "k": 30, "l": 1}),
        ("abc,cd,de,b->ea", {"a": 9, "b": 8, "c": 40, "d": 40, "e": 1}),
        ("i,ij,j->", {"i": 30, "j": 40}),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_einsums_take_their_path_from_the_sizes_of_the_run(equation, sizes, known):
    rng = np.random.default_rng(0)
    terms = equation.split("->")[0].split(",")
    with dg.Graph().as_default():
        feeds = {}
        for term in terms:
            dims = [sizes[c] for c in term]
            x = dg.placeholder(dg.float64, dims if known else [None] * len(dims))
            feeds[x] = rng.normal(size=dims)
        y = dg.einsum(equation, *feeds)
    got, want, plan = both(y, feeds, PASSES)
    true = np.einsum(equation, *feeds.values(), optimize=True)
    size = np.einsum(equation, *map(np.abs, feeds.values()), optimize=True)
    for r in (got, want):
        assert (np.abs(r - true) <= 1e-13 * size + 1e-300).all()
    first = dg.Session(graph=y.graph, rewrites=["dead"]).plan(y, feeds)
    assert flops(plan) <= flops(first)


@pytest.mark.usefixtures("planner")
def test_an_einsum_of_unknown_sizes_is_ordered_when_it_runs():
    with dg.Graph().as_default():
        a, b, c = (dg.placeholder(dg.float64, [None, None]) for _ in "abc")
        y = dg.einsum("ab,bc,cd->ad", a, b, c)
    rng = np.random.default_rng(0)
    counts = []
    for shapes in ([(2, 60), (60, 60), (60, 60)], [(60, 60), (60, 60), (60, 2)]):
        feeds = {t: rng.normal(size=s) for t, s in zip((a, b, c), shapes)}
        got, want, plan = both(y, feeds, PASSES)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)
        counts.append(flops(plan))
    assert counts == [2 * 2 * (2 * 60 * 60)] * 2


def test_gradients_through_chains():
    with dg.Graph().as_default():
        a = dg.placeholder(dg.float64, [30, 30])
        v = dg.placeholder(dg.float64, [30, 1])
        y = dg.reduce_sum(dg.matmul(dg.matmul(dg.matmul(a, a), a), v))
        da, dv = dg.gradients(y, [a, v])
    rng = np.random.default_rng(0)
    feeds = {a: rng.normal(size=(30, 30)), v: rng.normal(size=(30, 1))}
    got, want, _ = both([y, da, dv], feeds, None)
    for g, w in zip(got, want):
        np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-10)
