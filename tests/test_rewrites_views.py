"""Views and broadcasts in plans: what goes, what is merged, and that results stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import SPECIAL, both, same_bits, whats

import dagrad as dg

VIEWS = ["views", "dead"]
BROADCASTS = ["broadcasts", "dead"]


def types(plan):
    return [step.opdef.type for step in plan.steps]


FIRING = {
    "two transposes": (lambda x: dg.transpose(dg.transpose(x)), []),
    "by axes": (
        lambda x: dg.transpose(dg.transpose(x, [1, 2, 0]), [2, 0, 1]),
        [],
    ),
    "one of two": (
        lambda x: dg.transpose(dg.transpose(x, [1, 2, 0]), [1, 2, 0]),
        ["Transpose"],
    ),
    "of matrices": (
        lambda x: dg.matrix_transpose(dg.transpose(x, [0, 2, 1])),
        [],
    ),
    "straight": (lambda x: dg.transpose(x, [0, 1, 2]), []),
    "reshapes": (lambda x: dg.reshape(dg.reshape(x, [6, 4]), [-1]), ["Reshape"]),
    "and back": (lambda x: dg.reshape(dg.reshape(x, [-1]), [2, 3, 4]), []),
    "squeeze of expand": (lambda x: dg.squeeze(dg.expand_dims(x, 1), 1), []),
    "a copy in between": (
        lambda x: dg.reshape(dg.reshape(dg.transpose(x), [-1]), [3, 8]),
        ["Transpose", "Reshape"],
    ),
}


@pytest.mark.parametrize("name", FIRING)
def test_views_are_merged(name):
    build, expected = FIRING[name]
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [2, 3, 4])
        y = build(x)
    z = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    got, want, plan = both(y, {x: z}, VIEWS)
    same_bits(got, want)
    assert types(plan) == expected


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_transposes_become_flags_to_the_bit(first, second):
    rng = np.random.default_rng(0)
    with dg.Graph().as_default():
        a = dg.placeholder(dg.float32, [5, 7] if first else [7, 5])
        b = dg.placeholder(dg.float32, [7, 5] if second else [5, 7])
        y = dg.matmul(dg.transpose(a), dg.transpose(b), not first, not second)
        flags = [
            dg.matmul(dg.transpose(a), b, not first, second),
            dg.matmul(a, dg.matrix_transpose(b), first, not second),
            dg.matmul(dg.transpose(a), a),
        ]
    feeds = {t: rng.normal(size=t.shape.as_list()).astype(np.float32) for t in (a, b)}
    got, want, plan = both([y, *flags], feeds, VIEWS)
    for g, w in zip(got, want):
        np.testing.assert_array_equal(g, w, strict=True)
    assert set(types(plan)) == {"MatMul"}


def test_an_adjoint_of_a_transpose_has_no_flag():
    with dg.Graph().as_default():
        c = dg.placeholder(dg.complex64, [2, 5, 5])
        y = dg.matmul(dg.transpose(c, [0, 2, 1]), c, adjoint_a=True)
    z = (np.random.default_rng(0).normal(size=(2, 5, 5)) + 1j).astype(np.complex64)
    got, want, plan = both(y, {c: z}, VIEWS)
    np.testing.assert_array_equal(got, want, strict=True)
    assert types(plan) == ["Transpose", "MatMul"]


@st.composite
def view_programs(draw):
    with dg.Graph().as_default():
        shape = (2, 3, 4)
        x = dg.placeholder(dg.float64, draw(st.sampled_from([shape, [None] * 3])))
        pool = [(x, shape)]
        for _ in range(draw(st.integers(2, 9))):
            t, s = draw(st.sampled_from(pool[-3:]))
            kind = draw(
                st.sampled_from(
                    ["transpose", "reshape", "expand", "squeeze", "product", "plus"]
                )
            )
            if kind == "transpose":
                perm = draw(st.permutations(range(len(s))))
                t, s = dg.transpose(t, perm), tuple(s[i] for i in perm)
            elif kind == "reshape":
                s = draw(
                    st.sampled_from(
                        [(24,), (6, 4), (4, 6), (2, 3, 4), (3, 1, 8), (4, 3, 2)]
                    )
                )
                t = dg.reshape(t, s)
            elif kind == "expand":
                i = draw(st.integers(0, len(s)))
                t, s = dg.expand_dims(t, i), (*s[:i], 1, *s[i:])
            elif kind == "squeeze" and 1 in s:
                t = dg.squeeze(t, s.index(1))
                s = tuple(d for i, d in enumerate(s) if i != s.index(1))
            elif kind == "plus":
                t = t + 0.5
            elif kind == "product" and len(s) == 2:
                pool.append((dg.matmul(t, t, transpose_a=True), (s[1], s[1])))
                pool.append((dg.matmul(dg.transpose(t), t), (s[1], s[1])))
                continue
            if np.prod(s) == 24:
                pool.append((t, s))
    return [t for t, _ in pool[1:] or pool], x


@given(view_programs(), st.data())
@settings(max_examples=150)
def test_random_views_stay_to_the_bit(program, data):
    tensors, x = program
    fetches = data.draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=3))
    z = np.random.default_rng(0).normal(size=(2, 3, 4))
    got, want, _ = both(fetches, {x: z}, VIEWS)
    for a, b in zip(got, want):
        same_bits(a, b)


# -- broadcasts ----------------------------------------------------------------------


def test_elementwise_work_is_done_on_what_is_repeated():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [1, 11])
        y = dg.exp(dg.tanh(dg.broadcast_to(x, [100, 11])) * 2.0) + 1.0
    got, want, plan = both(y, {x: np.array([SPECIAL[:11]], np.float32)}, BROADCASTS)
    same_bits(got, want)
    assert types(plan)[-1] == "BroadcastTo"
    assert sum(s.nbytes for s in plan.slots if s.kind == "arena") < 11 * 4 * 10


REDUCTIONS = {
    "sum": (lambda x, a: dg.reduce_sum(x, a), False),
    "mean": (lambda x, a: dg.reduce_mean(x, a), False),
    "max": (lambda x, a: dg.reduce_max(x, a), True),
    "min": (lambda x, a: dg.reduce_min(x, a, keepdims=True), True),
}


@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 1), (0, 2)], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_broadcasts(name, axis):
    build, exact = REDUCTIONS[name]
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [11, 1])
        y = build(dg.broadcast_to(x, [7, 11, 50]), axis)
    for numbers in (SPECIAL[:11], SPECIAL[11:], np.linspace(0.1, 1, 11)):
        z = np.array(numbers, np.float32)[:, None]
        got, want, plan = both(y, {x: z}, BROADCASTS)
        if axis != 1:
            assert any("of a broadcast" in what for what in whats(plan))
        if exact:
            same_bits(got, want)
            continue
        with np.errstate(all="ignore"):
            wide = np.broadcast_to(z.astype(np.longdouble), (7, 11, 50))
            true = np.asarray(getattr(np, name)(wide, axis=axis))
            narrow = true.astype(np.float32)
            size = np.sum(np.abs(np.where(np.isfinite(wide), wide, 0)), axis=axis)
            size = np.asarray(size) / (wide.size / true.size if name == "mean" else 1)
            gap = np.abs(got.astype(np.longdouble) - true)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(narrow))
        finite = np.isfinite(got)
        # What does not overflow by the sum itself may on its way there.
        assert (finite | ~np.isfinite(want) | ~np.isfinite(narrow)).all()
        bound = 12 * np.finfo(np.float32).eps * size + 1e-44
        assert (gap <= bound)[finite].all()


def test_sums_of_integers_wrap_around_the_same():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.int8, [3, 1])
        y = dg.reduce_sum(dg.broadcast_to(x, [3, 1000]), 1)
    z = np.array([[3], [-128], [127]], np.int8)
    got, want, plan = both(y, {x: z}, BROADCASTS)
    assert whats(plan) >= {"the sum of a broadcast"}
    same_bits(got, want)


def test_a_broadcast_to_nothing_stays():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [1, 3])
        y = [
            dg.reduce_sum(dg.broadcast_to(x, [0, 3]), 0),
            dg.reduce_max(dg.broadcast_to(x, [0, 3]), 0),
        ]
    got, want, _ = both(y, {x: np.full((1, 3), np.nan, np.float32)}, BROADCASTS)
    for a, b in zip(got, want):
        same_bits(a, b)


@st.composite
def broadcast_programs(draw):
    shapes = [(3, 4), (1, 4), (3, 1), (1, 1), (4,), ()]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    with dg.Graph().as_default():
        feeds, pool = {}, []
        for _ in range(3):
            s = draw(st.sampled_from(shapes))
            x = dg.placeholder(dg.float64, s)
            feeds[x] = rng.integers(-3, 4, s).astype(np.float64)
            pool.append((x, s))
        for _ in range(draw(st.integers(2, 10))):
            t, s = draw(st.sampled_from(pool[-4:]))
            u, r = draw(st.sampled_from(pool))
            kind = draw(
                st.sampled_from(
                    ["to", "unary", "binary", "sum", "max", "slope", "where"]
                )
            )
            if kind == "to":
                new = (2, *s) if len(s) < 3 else s
                if len(s) == 2 and 1 in s:
                    new = (3, 4)
                t, s = dg.broadcast_to(t, new), new
            elif kind == "unary":
                t = draw(st.sampled_from([dg.negative, dg.abs, dg.sign, dg.nn.relu]))(t)
            elif kind in ("binary", "where"):
                try:
                    new = np.broadcast_shapes(s, r)
                except ValueError:
                    continue
                t = t + u if kind == "binary" else dg.where_v2(t > u, t, u)
                s = new
            elif kind == "slope":
                (t,) = dg.gradients(dg.reduce_sum(t * t * 0.5), t)
            elif s:
                axis = draw(st.integers(0, len(s) - 1))
                reduce = dg.reduce_sum if kind == "sum" else dg.reduce_max
                keep = draw(st.booleans())
                t = reduce(t, axis, keepdims=keep)
                s = np.zeros(s).sum(axis, keepdims=keep).shape
            pool.append((t, tuple(s)))
        total = sum(dg.reduce_sum(t) for t, _ in pool[-3:])
        slopes = [g for g in dg.gradients(total, list(feeds)) if g is not None]
    return [t for t, _ in pool[3:]] + slopes, feeds


@given(broadcast_programs())
@settings(max_examples=150)
def test_random_broadcasts_of_whole_numbers_stay_exactly(program):
    """Sums of small whole numbers are exact in any order."""
    tensors, feeds = program
    for passes in (BROADCASTS, None):
        got, want, _ = both(tensors, feeds, passes)
        for a, b in zip(got, want):
            np.testing.assert_array_equal(a, b, strict=True)
