"""The choice of rewrites, and what a plan tells about them."""

from __future__ import annotations

import numpy as np
import pytest
from rewriting import both, same_bits, whats

import dagrad as dg
from dagrad.runtime.rewrites import PASSES


@pytest.mark.parametrize("passes", [[], ["dead"], None], ids=str)
def test_effects_of_a_loop_happen_once_whatever_is_chosen(passes):
    with dg.Graph().as_default() as graph:
        count = dg.Variable(0.0, dtype=dg.float64)
        x = dg.placeholder(dg.float64, [])

        def body(i, y):
            with dg.control_dependencies([count.assign_add(1.0)]):
                return i + 1, dg.sin(y)

        _, y = dg.while_loop(lambda i, y: i < 3, body, [0, x])
        (slope,) = dg.gradients(y, x)
    session = dg.Session(graph=graph, rewrites=passes)
    session.run(count.initializer)
    got, dy = session.run([y, slope], {x: 0.5})
    a = np.sin(0.5)
    b = np.sin(a)
    np.testing.assert_allclose(got, np.sin(b))
    np.testing.assert_allclose(dy, np.cos(0.5) * np.cos(a) * np.cos(b))
    assert session.run(count) == 3.0


def test_draws_of_a_loop_are_the_same_for_value_and_gradient():
    with dg.Graph().as_default() as graph:
        x = dg.placeholder(dg.float64, [])

        def step(y):
            return y * dg.random_uniform([], dtype=dg.float64, seed=3)

        _, y = dg.while_loop(lambda i, y: i < 4, lambda i, y: (i + 1, step(y)), [0, x])
        (slope,) = dg.gradients(y, x)
    for passes in ([], list(PASSES)):
        value, dy = dg.Session(graph=graph, rewrites=passes).run([y, slope], {x: 2.0})
        np.testing.assert_allclose(value, 2.0 * dy)


def test_explain_names_passes_counts_and_lines():
    with dg.Graph().as_default() as graph:
        x = dg.placeholder(dg.float32, [3])
        y = dg.add_n([dg.identity(x), x, x]) + dg.tanh(x) * dg.tanh(x)
    plan = dg.Session(graph=graph).plan(y, {x: None})
    told = plan.explain()
    assert dict(plan.rewrites)["common"] == 1
    assert "identity: 1\n  removed, 1: " in told
    assert "common: 1\n  removed, 1: " in told
    assert "sums: 1\n  terms added on arrival, 1: " in told
    assert f"{__file__}:" in told
    assert dg.Session(graph=graph, rewrites=[]).plan(y, {x: None}).explain() == (
        "nothing to rewrite"
    )


def test_explain_tells_about_bodies_too():
    with dg.Graph().as_default() as graph:
        x = dg.placeholder(dg.float32, [3])
        y = dg.scan(lambda a, b: dg.identity(a) + b, x, initializer=0.0)
    told = dg.Session(graph=graph).plan(y, {x: None}).explain()
    assert "body of " in told
    assert "\n  identity: 1\n    removed, 1: " in told


@pytest.mark.parametrize("n", [3, 50_000])
def test_gradients_of_a_fed_shape_are_planned_as_those_of_a_known_one(n):
    """What a gradient begins with, ones like y, waits for y only if it must."""
    plans = []
    for dim in (n, None):
        with dg.Graph().as_default() as graph:
            x = dg.placeholder(dg.float32, [dim])
            y = dg.tanh(x * 3.0) - dg.exp(-x * x)
            fetches = [y, *dg.gradients(y, [x])]
        session = dg.Session(graph=graph, config=dg.ConfigProto(native="off"))
        plans.append(session.plan(fetches, {x: np.zeros(n, np.float32)}))
    known, fed = ([step.opdef.type for step in p.steps] for p in plans)
    assert known == fed
    assert plans[0].peak_bytes == plans[1].peak_bytes
    assert "ones or zeros of a known shape, 1: " in plans[1].explain()


@pytest.mark.parametrize("shape", [(), (0,), (4, 3), (200, 300)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "complex64"])
def test_ones_and_zeros_of_a_fed_shape_stay_to_the_bit(shape, dtype):
    numbers = np.ones(shape, np.float32)
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32)
        # Read by others, which may see through them, and fetched.
        made = [dg.ones_like(x, dtype), dg.zeros_like(x, dtype)]
        y = [dg.cast(t, dg.float32) * x + x for t in made]
    got, want, plan = both([*made, *y], {x: numbers}, ["fold", "broadcasts", "dead"])
    for a, b in zip(got, want):
        same_bits(a, b)
        assert a.flags.writeable == b.flags.writeable
    assert "ones or zeros of a known shape" in whats(plan)
    assert not {"OnesLike", "ZerosLike"} & {step.opdef.type for step in plan.steps}


@pytest.mark.parametrize("name", ["algebra", "stable", "views", "loops", "chains"])
def test_a_pass_stops_where_its_budget_is_spent_and_says_so(name, monkeypatch):
    monkeypatch.setattr(
        "dagrad.runtime.rewrites._walk.Budget.__init__",
        lambda self, nodes: setattr(self, "left", 2),
    )
    with dg.Graph().as_default() as graph:
        x = dg.placeholder(dg.float64, [4, 4])
        v = dg.placeholder(dg.float64, [4, 1])
        y = x
        for _ in range(5):
            y = dg.log(1.0 + dg.transpose(dg.transpose(y * 1.0)))
        for _ in range(3):
            y = dg.while_loop(
                lambda i, y: i < 2, lambda i, y: (i + 1, y + dg.sin(x)), [0, y]
            )[1]
        z = dg.matmul(dg.matmul(dg.matmul(y, y), x), v)
    rng = np.random.default_rng(0)
    feeds = {x: rng.uniform(0.5, 1, (4, 4)), v: rng.normal(size=(4, 1))}
    session = dg.Session(graph=graph, rewrites=[name])
    want = dg.Session(graph=graph, rewrites=[]).run(z, feeds)
    np.testing.assert_allclose(session.run(z, feeds), want, 1e-12)
    told = session.plan(z, feeds).explain()
    assert f"{name}: " in told
    assert "stopped: its budget is spent, 1: " in told


def test_the_plan_of_a_long_chain_takes_about_as_long_as_it_is():
    """Steps of the passes, which are counted: no pass is more than linear."""
    from dagrad.runtime.rewrites import _walk

    spent = []
    for n in (500, 1000):
        with dg.Graph().as_default() as graph:
            x = dg.placeholder(dg.float32, [2, 2])
            y = x
            for i in range(n):
                y = dg.matmul(y * 1.0, x) if i % 3 else dg.log(1.0 + dg.transpose(y))
        used = []
        begin = _walk.Budget.__init__

        class Counted(_walk.Budget):
            def __init__(self, nodes, used=used):
                super().__init__(nodes)
                used.append((self, self.left))

        with pytest.MonkeyPatch.context() as patch:
            for module in ("_walk", "loops", "chains"):
                patch.setattr(f"dagrad.runtime.rewrites.{module}.Budget", Counted)
            dg.Session(graph=graph).plan(y, {x: None})
        assert begin is _walk.Budget.__init__
        spent.append(sum(most - budget.left for budget, most in used))
    assert spent[1] < 2.3 * spent[0]
