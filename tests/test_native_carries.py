"""Carries of loops in whose memory fused steps write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_programs import fresh_kernels

import dagrad as dg
from dagrad.runtime import fused, fusion

pytest.importorskip("llvmlite")


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch, tmp_path):
    monkeypatch.setattr(fusion, "NATIVE_SIZE", 1)
    monkeypatch.setattr(fusion, "TILED_BYTES", 1)
    monkeypatch.setattr(fused, "TILE_BYTES", 256)
    with fresh_kernels(monkeypatch, tmp_path):
        yield


def session(native, **options):
    return dg.Session(config=dg.ConfigProto(native=native), **options)


def steps_of_body(plan):
    (body,) = (
        p
        for p in plan.bodies.values()
        if any(s.opdef.type == "_Fused" for s in p.steps)
    )
    return [
        [body.slots[o].kind for o in s.outputs]
        for s in body.steps
        if s.opdef.type == "_Fused"
    ]


@pytest.mark.parametrize("native", ["off", "auto", "wait"])
def test_two_carries_of_one_step_stay_where_they_are(native):
    x, v = (dg.placeholder(dg.float32, [1000]) for _ in range(2))

    def body(i, h, u):
        u = u * 0.5 - h * 0.25
        return i + 1, h + u * 0.125, u

    _, h, u = dg.while_loop(lambda i, h, u: i < 7, body, [0, x, v])
    rng = np.random.default_rng(0)
    feeds = {t: rng.standard_normal(1000).astype(np.float32) for t in (x, v)}
    s = session(native)
    assert ["same", "same"] in steps_of_body(s.plan([h, u], feeds))
    expected = session("off", rewrites=[]).run([h, u], feeds)
    for _ in range(3):
        for a, b in zip(s.run([h, u], feeds), expected):
            np.testing.assert_array_equal(a, b)


def test_what_is_read_after_it_was_written_is_not_overwritten():
    x, v = (dg.placeholder(dg.float32, [1000]) for _ in range(2))
    _, h, u = dg.while_loop(
        lambda i, h, u: i < 5,
        lambda i, h, u: (i + 1, u * 0.5 + 1.0, h * 0.5 - u),  # they change places
        [0, x, v],
    )
    rng = np.random.default_rng(0)
    feeds = {t: rng.standard_normal(1000).astype(np.float32) for t in (x, v)}
    expected = session("off", rewrites=[]).run([h, u], feeds)
    for native in ("off", "auto", "wait"):
        for a, b in zip(session(native).run([h, u], feeds), expected):
            np.testing.assert_array_equal(a, b)


_STEPS = [
    lambda a, b: a * 0.5 + b,
    lambda a, b: (a - b) * 0.25,
    lambda a, b: dg.maximum(a, b * 0.5) - 1.0,
    lambda a, b: a * b,
    lambda a, b: dg.sqrt(dg.abs(a)) + b,
    lambda a, b: a,
]


@settings(max_examples=60)
@given(st.data(), st.integers(2, 4), st.integers(0, 1000))
def test_random_bodies(data, count, seed):
    rng = np.random.default_rng(seed)
    plan = [
        [
            (data.draw(st.sampled_from(_STEPS)), data.draw(st.integers(0, 9)))
            for _ in range(data.draw(st.integers(1, 3)))
        ]
        for _ in range(count)
    ]

    def body(i, *carries):
        made = list(carries)
        new = []
        for start, steps in zip(carries, plan):
            value = start
            for f, k in steps:
                value = f(value, made[k % len(made)])
                made.append(value)
            new.append(value)
        return (i + 1, *new)

    with dg.Graph().as_default() as graph:
        xs = [dg.placeholder(dg.float64, [130]) for _ in range(count)]
        _, *out = dg.while_loop(lambda i, *_: i < 4, body, [0, *xs])
        loss = dg.add_n([dg.reduce_sum(y) for y in out])
        fetches = [*out, *(g for g in dg.gradients(loss, xs) if g is not None)]
        feeds = {x: rng.standard_normal(130) for x in xs}
        expected = session("off", graph=graph, rewrites=[]).run(fetches, feeds)
        for native in ("off", "wait"):
            found = session(native, graph=graph).run(fetches, feeds)
            for a, b in zip(found, expected):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
