"""Loops in plans: dead variables, carries that stay, and invariant code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import both, same_bits, whats

import dagrad as dg

PASSES = ["bodies", "loops", "dead"]
MOVED = "an operation moved out of the body"
DEAD = "a carry that nobody reads"
STILL = "a carry that does not change"


def compare(fetches, feeds, passes=PASSES):
    got, want, plan = both(fetches, feeds, passes)
    for a, b in zip(got, want):
        same_bits(a, b)
    return plan


def bodies(plan):
    return [[s.opdef.type for s in p.steps] for p in plan.bodies.values()]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_invariant_code_runs_before_the_loop(n):
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [3])
        w = dg.placeholder(dg.float64, [3, 3])
        count = dg.placeholder(dg.int32, [])

        def body(i, y):
            mixed = dg.tanh(dg.matmul(w, w))
            return i + 1, y + dg.reduce_sum(mixed * 2.0, 0)

        _, y = dg.while_loop(lambda i, y: i < count, body, [0, x])
    feeds = {x: np.arange(3.0), w: np.arange(9.0).reshape(3, 3) / 9, count: n}
    plan = compare([y], feeds)
    assert MOVED in whats(plan)
    assert all("MatMul" not in b and "Tanh" not in b for b in bodies(plan))
    assert [s.opdef.type for s in plan.steps].count("MatMul") == 1


def test_constants_go_through_loops():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [])
        c = dg.constant(np.array([1.0, 2.0]))
        y = dg.while_loop(
            lambda i, y: i < 3,
            lambda i, y: (i + 1, y + dg.reduce_sum(dg.exp(c) * c)),
            [0, x],
        )[1]
    plan = compare([y], {x: 0.5}, ["fold", *PASSES])
    assert all("Exp" not in b and "Sum" not in b for b in bodies(plan))
    assert "Exp" not in [s.opdef.type for s in plan.steps]


def test_carries_that_nobody_reads_go():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [3])
        _, y, z, _ = dg.while_loop(
            lambda i, y, z, w: i < 4,
            # w reads z, and z itself: alive, dead.
            lambda i, y, z, w: (i + 1, y * 0.5, z + 1.0, dg.sin(w) * z),
            [0, x, x, x],
        )
    plan = compare([y], {x: np.arange(3.0)})
    # With the counter, as nothing is tested any more.
    assert any(c.what == DEAD and c.count == 3 for c in plan.changes)
    assert all("Sin" not in b for b in bodies(plan))
    plan = compare([y, z], {x: np.arange(3.0)})
    assert any(c.what == DEAD and c.count == 2 for c in plan.changes)


def test_a_carry_that_stays_is_no_carry():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [3])
        _, y, w = dg.while_loop(
            lambda i, y, w: i < 4,
            lambda i, y, w: (i + 1, y * dg.exp(w), dg.identity(w)),
            [0, x, x * 0.1],
        )
    plan = compare([y, w], {x: np.arange(3.0)})
    assert {STILL, MOVED} <= whats(plan)
    (step,) = [s for s in plan.steps if s.opdef.type == "Loop"]
    assert step.attrs["carries"] == 1  # the counter is none: nothing is tested
    assert all("Exp" not in b for b in bodies(plan))


def test_what_a_carry_that_stays_comes_from_is_read():
    """Through a loop that only hands it on, and drops it."""
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [3])
        _, y = dg.while_loop(lambda i, y: i < 4, lambda i, y: (i + 1, y * 0.5), [0, x])
        n, z = dg.while_loop(lambda i, z: i < 4, lambda i, z: (i + 2, z), [0, y])
    plan = compare([n, z + 1.0], {x: np.arange(3.0)})
    assert STILL in whats(plan)


def test_stacks_and_rows_that_nobody_reads_go():
    with dg.Graph().as_default():
        rows = dg.placeholder(dg.float64, [5, 3])
        other = dg.placeholder(dg.float64, [5, 2])
        a, b = dg.scan(
            lambda s, r: (s[0] + r[0], s[1] + r[1]),
            (rows, other),
            initializer=(dg.zeros([3], dg.float64), dg.zeros([2], dg.float64)),
        )
    feeds = {rows: np.ones((5, 3)), other: np.ones((5, 2))}
    plan = compare([a], feeds)
    assert "an input that nothing reads" in whats(plan)
    compare([a, b], feeds)


def test_what_can_fail_or_has_an_effect_stays():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.int32, [])
        zero = dg.placeholder(dg.int32, [])
        y = dg.while_loop(
            lambda i, y: i < x, lambda i, y: (i + 1, y + x // zero), [0, x]
        )[1]
        t = dg.placeholder(dg.float64, [])
        z = dg.while_loop(
            lambda i, y: i < 3,
            lambda i, y: (i + 1, y + dg.random_uniform([], dtype=dg.float64)),
            [0, t],
        )[1]
    # No iteration: nothing is divided by 0.
    plan = compare([y], {x: 0, zero: 0})
    assert dict(plan.rewrites)["loops"] == 0
    plan = dg.Session(graph=t.graph, rewrites=PASSES).plan(z, {t: 0.0})
    assert MOVED not in whats(plan)


def test_a_check_in_a_dead_part_still_checks():
    with dg.Graph().as_default() as graph:
        x = dg.placeholder(dg.float64, [])

        def check(z):
            assert z < 2.0
            return z

        def body(i, y, z):
            held = dg.py_func(check, [z], dg.float64, stateful=False)
            held.set_shape([])
            return i + 1, y + 1.0, held + 1.0

        _, y, _ = dg.while_loop(lambda i, y, z: i < 5, body, [0, x, x])
    with pytest.raises(dg.errors.DagradError):
        dg.Session(graph=graph, rewrites=PASSES).run(y, {x: 0.0})


def test_an_operation_that_grows_stays():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [])
        y = dg.while_loop(
            lambda i, y: i < 2,
            lambda i, y: (i + 1, y + dg.reduce_sum(dg.fill([200, 200], x) * y)),
            [0, x],
        )[1]
    plan = compare([y], {x: 0.5})
    assert all(s.nbytes <= 64 * 1024 for s in plan.slots)


def test_derivatives_of_loops_that_change():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [3])
        w = dg.placeholder(dg.float64, [3])
        _, y, _, _ = dg.while_loop(
            lambda i, y, c, d: i < 4,
            lambda i, y, c, d: (i + 1, y * dg.sin(c * w) + d, c, d + 1.0),
            [0, x, w, x],
        )
        dx, dw = dg.gradients(y, [x, w])
        (ddx,) = dg.gradients(dg.reduce_sum(dw * dw), [x])
        (push,) = dg.jvp([y], [x], [w])
    feeds = {x: np.arange(3.0), w: np.array([0.5, -1.0, 2.0])}
    for passes in (PASSES, None):
        got, want, _ = both([y, dx, dw, ddx, push], feeds, passes)
        for a, b in zip(got, want):
            np.testing.assert_allclose(a, b, 1e-12)


PARTS = [
    lambda a, b, k: a + b,
    lambda a, b, k: a * 0.5,
    lambda a, b, k: dg.maximum(a, b),
    lambda a, b, k: a,
    lambda a, b, k: b,
    lambda a, b, k: dg.identity(a),
    lambda a, b, k: k * 2.0 + a,
    lambda a, b, k: dg.abs(k),
    lambda a, b, k: dg.reshape(dg.transpose(dg.reshape(k, [3, 1])), [3]) - a,
    lambda a, b, k: dg.reduce_sum(k) + dg.zeros_like(a),
]


@given(
    st.lists(st.sampled_from(PARTS), min_size=3, max_size=3),
    st.lists(st.sampled_from(range(3)), min_size=3, max_size=3),
    st.integers(0, 4),
    st.sets(st.sampled_from(range(5)), min_size=1),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_random_loops_stay_to_the_bit(parts, wires, n, wanted, scans, slopes):
    """Small whole numbers: exact whatever the order."""
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [3])
        k = dg.placeholder(dg.float64, [3])
        rows = dg.placeholder(dg.float64, [n, 3])

        def step(s, r):
            return tuple(
                f(s[i], s[w], k) + r for i, (f, w) in enumerate(zip(parts, wires))
            )

        if scans:
            found = dg.scan(step, rows, initializer=(x, x + 1.0, x - 1.0)) if n else ()
            outs = [*found, *[t[-1] for t in found]]
        else:
            found = dg.while_loop(
                lambda i, *s: i < n,
                lambda i, *s: (
                    i + 1,
                    *[f(s[j], s[w], k) for j, (f, w) in enumerate(zip(parts, wires))],
                ),
                [0, x, x + 1.0, x - 1.0],
            )
            outs = list(found)
        fetches = [outs[i] for i in wanted if i < len(outs)]
        if slopes and fetches and fetches[0].dtype.is_floating:
            fetches += [g for g in dg.gradients(fetches[0], [x, k]) if g is not None]
    if not fetches:
        return
    rng = np.random.default_rng(0)
    feeds = {x: rng.integers(-3, 4, 3), k: rng.integers(-3, 4, 3)}
    feeds = {t: v.astype(float) for t, v in feeds.items()}
    if scans:
        feeds[rows] = rng.integers(-3, 4, (n, 3)).astype(float)
    for passes in (PASSES, None):
        got, want, _ = both(fetches, feeds, passes)
        for a, b in zip(got, want):
            np.testing.assert_array_equal(a, b, strict=True)
