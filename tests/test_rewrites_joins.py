"""Parts of joins in plans: read directly, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import both, same_bits, whats

import dagrad as dg

PASSES = ["fold", "joins", "dead"]


def types(plan):
    return {step.opdef.type for step in plan.steps}


A = [2, 3]
FIRING = {
    "unstack(stack)": lambda a, b: dg.unstack(dg.stack([a, b], 1), axis=1),
    "stack[i]": lambda a, b: [dg.stack([a, b])[1], dg.stack([a, b])[-2]],
    "stack[i, j:]": lambda a, b: [dg.stack([a, b])[1, 1:], dg.stack([a, b])[0, :, 2]],
    "split(concat)": lambda a, b: dg.split(dg.concat([a, b], 1), 2, 1),
    "uneven": lambda a, b: dg.split(dg.concat([a, b[:, :1]], 1), [3, 1], 1),
    "concat[:n]": lambda a, b: [
        dg.concat([a, b], 1)[:, :3],
        dg.concat([a, b], 1)[:, 3:],
        dg.concat([a, b], 1)[:, 4:5],
        dg.concat([a, b], 1)[:, -1],
        dg.concat([a, b], 0)[3],
    ],
    "slice": lambda a, b: [
        dg.slice(dg.concat([a, b], 0), [2, 0], [2, 3]),
        dg.slice(dg.concat([a, b], 0), [2, 1], [-1, 2]),
    ],
    "gather": lambda a, b: [
        dg.gather(dg.concat([a, b], 0), [3, 2, 3]),
        dg.gather(dg.concat([a, b], 1), [0, 2], axis=1),
        dg.gather(dg.stack([a, b]), 1),
    ],
}


@pytest.mark.parametrize("name", FIRING)
def test_parts_are_read_directly(name):
    with dg.Graph().as_default():
        a, b = dg.placeholder(dg.float32, A), dg.placeholder(dg.float32, A)
        y = FIRING[name](a, b)
    feeds = {a: np.arange(6.0).reshape(A), b: -np.arange(6.0).reshape(A)}
    got, want, plan = both(y, feeds, PASSES)
    assert not types(plan) & {"ConcatV2", "Pack"}
    for g, w in zip(got, want):
        same_bits(g, w)


def test_joins_of_all_parts_and_of_joins():
    with dg.Graph().as_default():
        a, b = dg.placeholder(dg.float32, A), dg.placeholder(dg.float32, A)
        y = [
            dg.concat(dg.split(a, 3, 1), 1),
            dg.stack(dg.unstack(a, axis=1), 1),
            dg.concat([dg.concat([a, b], 0), a], 0),
        ]
    feeds = {a: np.arange(6.0).reshape(A), b: -np.arange(6.0).reshape(A)}
    got, want, plan = both(y, feeds, PASSES)
    assert whats(plan) >= {"a join of all parts", "a concat of concats"}
    assert types(plan) == {"ConcatV2"}
    for g, w in zip(got, want):
        same_bits(g, w)


LEFT_ALONE = {
    "across": lambda a, b: dg.concat([a, b], 1)[:, 2:4],
    "steps": lambda a, b: dg.concat([a, b], 1)[:, ::2],
    "another axis": lambda a, b: dg.concat([a, b], 1)[:1],
    "other sizes": lambda a, b: dg.split(dg.concat([a, b], 1), [2, 4], 1)[1],
    "stack along another axis": lambda a, b: dg.unstack(dg.stack([a, b], 1), axis=0)[0],
    "parts in another order": lambda a, b: dg.concat(dg.split(a, 3, 1)[::-1], 1),
    "joined along another axis": lambda a, b: dg.concat(dg.split(a, 3, 1), 0),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_no_part_stays(name):
    with dg.Graph().as_default():
        a, b = dg.placeholder(dg.float32, A), dg.placeholder(dg.float32, A)
        y = LEFT_ALONE[name](a, b)
    feeds = {a: np.arange(6.0).reshape(A), b: -np.arange(6.0).reshape(A)}
    got, want, plan = both(y, feeds, PASSES)
    assert dict(plan.rewrites)["joins"] == 0
    same_bits(got, want)


def test_an_index_out_of_range_still_fails():
    with dg.Graph().as_default() as graph:
        a = dg.placeholder(dg.float32, A)
        y = dg.gather(dg.concat([a, a], 0), [4])
    with pytest.raises(dg.errors.InvalidArgumentError):
        dg.Session(graph=graph).run(y, {a: np.zeros(A)})


@st.composite
def programs(draw):
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [2, 3])
        pool = [(x, (2, 3)), (x * 2.0, (2, 3)), (-x, (2, 3))]
        for _ in range(draw(st.integers(2, 9))):
            t, s = draw(st.sampled_from(pool))
            kind = draw(
                st.sampled_from(
                    ["concat", "stack", "split", "unstack", "key", "gather"]
                )
            )
            axis = draw(st.integers(0, len(s) - 1))
            n = s[axis]
            if kind in ("concat", "stack"):
                others = [u for u, r in pool if r == s]
                parts = draw(st.lists(st.sampled_from(others), min_size=1, max_size=3))
                if kind == "stack":
                    new = (*s[:axis], len(parts), *s[axis:])
                    pool.append((dg.stack(parts, axis), new))
                else:
                    new = (*s[:axis], n * len(parts), *s[axis + 1 :])
                    pool.append((dg.concat(parts, axis), new))
                continue
            rest = (*s[:axis], *s[axis + 1 :])
            if kind == "split":
                cut = draw(st.integers(0, n))
                for part, m in zip(dg.split(t, [cut, n - cut], axis), (cut, n - cut)):
                    if m:
                        pool.append((part, (*s[:axis], m, *s[axis + 1 :])))
            elif kind == "unstack" and rest:
                pool += [(u, rest) for u in dg.unstack(t, axis=axis)]
            elif kind == "key":
                low = draw(st.integers(0, n - 1))
                high = draw(st.integers(low + 1, n))
                key = (*[slice(None)] * axis, slice(low, high))
                pool.append((t[key], (*s[:axis], high - low, *s[axis + 1 :])))
                if rest:
                    pool.append((t[(*key[:-1], low - n)], rest))
            elif kind == "gather":
                at = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3))
                new = (*s[:axis], len(at), *s[axis + 1 :])
                pool.append((dg.gather(t, at, axis=axis), new))
    return pool, x


@given(programs(), st.data())
@settings(max_examples=200)
def test_random_joins_and_parts_stay_to_the_bit(program, data):
    pool, x = program
    fetches = data.draw(st.lists(st.sampled_from([t for t, _ in pool]), min_size=1))
    z = np.random.default_rng(0).normal(size=(2, 3))
    for passes in (PASSES, None):
        got, want, _ = both(fetches, {x: z}, passes)
        for a, b in zip(got, want):
            same_bits(a, b)
