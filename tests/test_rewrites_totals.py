"""Sums that loops add up are taken out of them; of products what is read is made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import both, whats

import dagrad as dg
from dagrad.runtime.native.engine import available

PRODUCTS = "a sum of products, after the loop"
TERMS = "a sum of terms, after the loop"
PART = "a part of a product"

native = pytest.mark.skipif(not available(), reason="needs llvmlite")


def normal(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wait(graph, **options):
    return dg.Session(graph=graph, config=dg.ConfigProto(native="wait", **options))


def recurrent(n, batch, units, dtype=dg.float64, bias=True, known=True):
    """A loss of ``h = tanh([x, h] w + b)``, with its gradients, and the feeds."""
    with dg.Graph().as_default():
        x = dg.placeholder(dtype, [n if known else None, batch, 3])
        w = dg.placeholder(dtype, [3 + units, units])
        b = dg.placeholder(dtype, [units])
        start = dg.zeros([batch, units], dtype)

        def cell(h, v):
            z = dg.matmul(dg.concat([v, h], 1), w)
            return dg.tanh(z + b if bias else z)

        h = dg.foldl(cell, x, start)
        loss = dg.reduce_sum(h * h)
        grads = dg.gradients(loss, [w, b] if bias else [w])
    kind = dtype.as_numpy_dtype
    feeds = {
        x: normal(n, batch, 3, dtype=kind),
        w: normal(3 + units, units, dtype=kind, seed=1) * kind(0.4),
        b: normal(units, dtype=kind, seed=2),
    }
    return [loss, *grads], feeds


@native
def test_the_gradient_of_weights_is_one_product():
    fetched, feeds = recurrent(9, 2, 5)
    graph = fetched[0].graph
    plan = wait(graph).plan(fetched, feeds)
    assert {PRODUCTS, TERMS} <= whats(plan)
    backward = max(plan.bodies.values(), key=lambda p: len(p.feeds))
    assert [s.opdef.type for s in backward.steps].count("MatMul") == 1
    assert [s.opdef.type for s in plan.steps].count("MatMul") == 1
    want = dg.Session(graph=graph, rewrites=[]).run(fetched, feeds)
    for got in (
        wait(graph).run(fetched, feeds),
        dg.Session(graph=graph).run(fetched, feeds),
    ):
        for a, b in zip(got, want):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_without_native_code_loops_add_up_as_they_are_written():
    fetched, feeds = recurrent(9, 2, 5)
    assert not {PRODUCTS, TERMS} & whats(
        dg.Session(graph=fetched[0].graph).plan(fetched, feeds)
    )


@native
def test_a_memory_limit_takes_no_stacks():
    fetched, feeds = recurrent(9, 2, 5)
    session = wait(fetched[0].graph, memory_limit=100_000)
    assert not {PRODUCTS, TERMS} & whats(session.plan(fetched, feeds))


@native
def test_large_stacks_stay_away():
    """They would hold much more than the products that they save."""
    fetched, feeds = recurrent(40, 64, 64, bias=False)
    session = wait(fetched[0].graph)
    assert PRODUCTS not in whats(session.plan(fetched, feeds))


@native
@pytest.mark.parametrize("flags", [(a, b) for a in (0, 1) for b in (0, 1)])
@pytest.mark.parametrize("start", [0.0, 1.5])
@pytest.mark.parametrize("reverse", [False, True])
def test_products_of_rows(flags, start, reverse):
    """Vectors may be either way round; matrices must be summed over their rows."""
    left, right = flags
    with dg.Graph().as_default():
        xs = dg.placeholder(dg.float64, [7, 1, 4] if left else [7, 4, 1])
        ys = dg.placeholder(dg.float64, [7, 3, 1] if right else [7, 1, 3])

        def step(total, row):
            x, y = row
            return total + dg.matmul(
                dg.sin(x), y, transpose_a=bool(left), transpose_b=bool(right)
            )

        total = dg.foldl(
            step, (xs, ys), dg.fill([4, 3], dg.constant(start, dg.float64))
        )
        if reverse:
            total = dg.foldr(step, (xs, ys), total)
    feeds = {xs: normal(*xs.shape.as_list()), ys: normal(*ys.shape.as_list(), seed=1)}
    session = wait(xs.graph)
    assert PRODUCTS in whats(session.plan(total, feeds))
    x, y = np.sin(feeds[xs]).reshape(7, 4), feeds[ys].reshape(7, 3)
    want = start + (1 + reverse) * np.einsum("ti,tj->ij", x, y)
    np.testing.assert_allclose(session.run(total, feeds), want, rtol=1e-12, atol=1e-14)


@native
def test_what_is_added_up_in_the_loop():
    """The total is read, kept, or what is added is the same each time."""

    def changes(step, read=lambda r: r):
        with dg.Graph().as_default():
            x = dg.placeholder(dg.float64, [5, 3])
            w = dg.placeholder(dg.float64, [3])
            out = read(step(x, w))
        feeds = {x: normal(5, 3), w: normal(3, seed=1)}
        session = wait(x.graph)
        want = dg.Session(graph=x.graph, rewrites=[]).run(out, feeds)
        np.testing.assert_allclose(session.run(out, feeds), want, rtol=1e-12)
        return whats(session.plan(out, feeds))

    zeros = np.zeros(3)
    plain = changes(lambda x, w: dg.foldl(lambda s, v: s + v, x, zeros))
    assert TERMS in plain
    made = changes(lambda x, w: dg.foldl(lambda s, v: s + v * w, x, zeros))
    read = changes(lambda x, w: dg.foldl(lambda s, v: s + dg.sin(s) * w, x, zeros))
    kept = changes(lambda x, w: dg.scan(lambda s, v: s + v, x, zeros))
    same = changes(lambda x, w: dg.foldl(lambda s, v: s + w, x, zeros))
    twice = changes(lambda x, w: dg.foldl(lambda s, v: s + v + w * s, x, zeros))
    few = changes(lambda x, w: dg.foldl(lambda s, v: s + v, x[:2], zeros))
    for found in (made, read, kept, same, twice, few):
        assert not {TERMS, PRODUCTS} & found


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 8),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from([dg.float32, dg.float64]),
    st.booleans(),
    st.booleans(),
)
@native
def test_random_cells_agree(n, batch, units, dtype, bias, known):
    fetched, feeds = recurrent(n, batch, units, dtype, bias, known)
    graph = fetched[0].graph
    second = dg.gradients([dg.reduce_sum(g * g) for g in fetched[1:]], list(feeds)[1:2])
    fetched = [*fetched, *second]
    want = dg.Session(graph=graph, rewrites=[]).run(fetched, feeds)
    within = {"rtol": 1e-3, "atol": 1e-3 if dtype is dg.float32 else 1e-9}
    for options in ({}, {"inter_op_parallelism_threads": 2}, {"memory_limit": 1 << 20}):
        session = wait(graph, **options)
        call = session.make_callable(fetched, list(feeds))
        for got in (session.run(fetched, feeds), call(*feeds.values())):
            for a, b in zip(got, want):
                np.testing.assert_allclose(a, b, **within)


# -- parts of products -----------------------------------------------------------------


@pytest.mark.parametrize("flags", [(a, b) for a in (0, 1) for b in (0, 1)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("how", ["split", "slice"])
def test_parts_of_products(flags, axis, how):
    left, right = map(bool, flags)
    with dg.Graph().as_default():
        a = dg.placeholder(dg.float64, [5, 7] if left else [7, 5])
        b = dg.placeholder(dg.float64, [9, 5] if right else [5, 9])
        ab = dg.matmul(a, b, transpose_a=left, transpose_b=right)
        if how == "split":
            sizes = [2, 4, (7, 9)[axis] - 6]
            part = dg.split(ab, sizes, axis=axis)[1]
        else:
            part = ab[:, 2:6] if axis else ab[2:6]
        y = dg.sin(part)
    feeds = {a: normal(*a.shape.as_list()), b: normal(*b.shape.as_list(), seed=1)}
    got, want, plan = both([y], feeds, ["parts", "dead"])
    assert PART in whats(plan)
    (product,) = [s for s in plan.steps if s.opdef.type == "MatMul"]
    assert plan.slots[product.outputs[0]].dims == ((7, 4) if axis else (4, 9))
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12, atol=1e-14)


def test_whole_products_that_others_read():
    with dg.Graph().as_default():
        a, b = (dg.placeholder(dg.float64, [6, 6]) for _ in "ab")
        ab = dg.matmul(a, b)
        first, second = dg.split(ab, 2)
        many = dg.split(dg.matmul(b, a), 3)
        rows = dg.matmul(b, b)[1:3, 2:4]
    feeds = {a: normal(6, 6), b: normal(6, 6, seed=1)}
    for fetched in ([ab, second], [first, second], many[:2], [rows]):
        got, want, plan = both(fetched, feeds, ["parts"])
        assert PART not in whats(plan)
        for x, y in zip(got, want):
            np.testing.assert_array_equal(x, y)
