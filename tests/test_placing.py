"""Parts of joins that are made in the join's result: which, the bits, the bytes."""

from __future__ import annotations

import numpy as np
import pytest
from both_executors import value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.runtime.plan import ARENA, FETCH, VIEW
from dagrad.runtime.rewrites import PASSES

pytestmark = pytest.mark.usefixtures("graph")

F64 = dg.float64
#: Every rewrite but placing.
PLAIN = (*PASSES, "fuse")


def joins_of(plan):
    return [s for s in plan.steps if s.opdef.type in ("ConcatV2", "Pack")]


def both(fetches, feeds, **config):
    """Plans with and without placing; their results are the same to the bit."""
    plans, results = [], []
    for rewrites in (None, PLAIN):
        session = dg.Session(rewrites=rewrites, config=dg.ConfigProto(**config))
        session.run(dg.global_variables_initializer())
        plans.append(session.plan(fetches, feeds))
        for _ in range(2):
            found = session.run(fetches, feeds)
        results.append(found)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    assert plans[0].peak_bytes <= plans[1].peak_bytes
    return plans


def test_parts_are_made_in_the_result_which_needs_half_the_memory():
    x = dg.placeholder(F64, [1000])
    parts = dg.stack([dg.sin(x * float(i)) for i in range(1, 9)])
    feeds = {x: np.linspace(0.0, 1.0, 1000)}
    placed, plain = both([dg.reduce_sum(dg.exp(parts), 0)], feeds)
    (step,) = joins_of(placed)
    assert step.placed == tuple(range(8))
    result = placed.slots[step.outputs[0]]
    assert result.kind == ARENA
    for k, i in enumerate(step.inputs):
        part = placed.slots[i]
        assert (part.kind, part.owner, part.offset) == (VIEW, step.outputs[0], 8000 * k)
    # The result and what is fetched; without, the parts too.
    assert placed.live_bytes[placed.steps.index(step)] == 9 * 8000
    assert plain.live_bytes[plain.steps.index(joins_of(plain)[0])] == 17 * 8000
    assert "8 in place" in str(placed)
    assert "in place" not in str(plain)


def test_parts_of_what_is_fetched_are_made_in_the_callers_array():
    x = dg.placeholder(F64, [50, 100])
    wide = dg.concat([dg.sin(x), dg.cos(x), x], 0)
    feeds = {x: np.linspace(0.0, 1.0, 5000).reshape(50, 100)}
    placed, plain = both([wide], feeds)
    (step,) = joins_of(placed)
    assert placed.slots[step.outputs[0]].kind == FETCH
    assert step.placed == (0, 1)  # a feed is copied
    assert placed.arena_bytes == 0
    assert plain.arena_bytes >= 2 * 40_000
    session = dg.Session()
    first, second = (session.run(wide, feeds) for _ in range(2))
    assert not np.may_share_memory(first, second)


@pytest.mark.parametrize("join", [dg.concat, dg.stack])
def test_a_part_may_be_read_by_others_before_and_after(join):
    x = dg.placeholder(F64, [64])
    a, b = dg.exp(x), dg.sin(x)
    c = a * b  # reads a part before the join
    whole = join([a, b, c], 0)
    after = dg.reshape(whole * 2.0, [-1])[:64] - a  # and after it
    both([after, dg.reduce_sum(whole)], {x: np.linspace(-1.0, 1.0, 64)})


def test_what_reads_a_part_does_not_overwrite_the_result():
    x = dg.placeholder(F64, [3, 64])
    rows = [dg.exp(x[i : i + 1]) for i in range(3)]
    whole = dg.concat(rows, 0)
    spread = whole - rows[0]  # in place, it would change row 0 before it is read
    both([dg.reduce_sum(spread, 1)], {x: np.random.default_rng(0).normal(size=(3, 64))})


def test_joins_of_joins_and_one_part_twice():
    x = dg.placeholder(F64, [4, 999])
    a, b, c = dg.exp(x), dg.sin(x), dg.cos(x)
    inner = dg.reshape(dg.stack([a, b]), [8, 999])
    outer = dg.concat([inner, c, a, c], 0)
    placed, _ = both([dg.tanh(outer)], {x: np.ones((4, 999))})
    first, second = joins_of(placed)
    assert first.placed == (0, 1)
    assert second.placed == (0, 1)  # c once; a has its place in the first
    root = second.outputs[0]
    owners = [placed.slots[i].owner for i in first.inputs]
    assert owners == [root, root]


def test_what_is_fetched_or_a_variable_is_copied():
    x = dg.placeholder(F64, [20_000])
    v = dg.Variable(np.ones(20_000))
    a = dg.exp(x)
    whole = dg.concat([a, v, dg.sin(x), dg.constant(np.ones(20_000))], 0)
    placed, _ = both([a, whole, dg.assign_add(v, x)], {x: np.linspace(0, 1, 20_000)})
    (step,) = joins_of(placed)
    assert step.placed == (2,)


def test_a_view_of_all_of_an_array_is_placed_with_it():
    x = dg.placeholder(F64, [40, 50])
    a, b = dg.exp(x), dg.sin(x)
    whole = dg.concat([dg.reshape(a, [-1]), dg.reshape(b, [-1])], 0)
    placed, _ = both([whole * 2.0, dg.reduce_sum(a, 1)], {x: np.ones((40, 50))})
    (step,) = joins_of(placed)
    assert step.placed == (0, 1)


def test_a_copy_is_made_with_gaps_where_it_belongs():
    x = dg.placeholder(F64, [30, 5, 4])
    turned = dg.reshape(dg.transpose(x * 2.0, [1, 0, 2]), [5, 120])
    wide = dg.concat([dg.exp(x[:5, :, 0]), turned], 1)
    feeds = {x: np.random.default_rng(1).normal(size=(30, 5, 4))}
    placed, _ = both([dg.tanh(wide)], feeds)
    (step,) = joins_of(placed)
    assert step.placed == (1,)
    part = placed.slots[step.inputs[1]]
    assert part.strides == (125 * 8, 8)
    value([dg.tanh(wide)], feeds)


def test_early_parts_are_copied_where_the_result_would_wait_for_late_ones():
    x = dg.placeholder(F64, [1000])
    early = dg.sin(x)
    y = dg.add_n([dg.exp(x + float(i)) for i in range(2)])
    square = dg.reduce_sum(dg.expand_dims(y, 0) * dg.expand_dims(early, 1), 0)
    late = [dg.cos(square * float(i)) for i in range(1, 20)]
    feeds = {x: np.linspace(0.0, 1.0, 1000)}
    placed, _ = both([dg.reduce_sum(dg.exp(dg.stack([early, *late])), 0)], feeds)
    (step,) = joins_of(placed)
    assert step.placed


def test_branches_side_by_side_share_no_result_of_a_join():
    x = dg.placeholder(F64, [512, 512])
    halves = [dg.tanh(dg.matmul(dg.tanh(x + float(i)), x)) for i in range(2)]
    total = dg.exp(dg.concat(halves, 0))
    feeds = {x: np.random.default_rng(2).normal(size=(512, 512)) / 30.0}
    placed, _ = both([dg.reduce_sum(total, 1)], feeds, inter_op_parallelism_threads=2)
    assert placed.regions
    assert all(not s.placed for s in joins_of(placed))
    fetched, _ = both([dg.concat(halves, 0)], feeds, inter_op_parallelism_threads=2)
    assert [len(s.placed) for s in joins_of(fetched)] == [2]


def test_in_loops():
    x = dg.placeholder(F64, [8, 16])

    def body(i, h):
        wide = dg.concat([dg.sin(h), dg.cos(h)], 0)
        return i + 1, dg.matmul(dg.tanh(wide), dg.eye(16, dtype=F64))[4:12] + h

    _, last = dg.while_loop(lambda i, h: i < 5, body, [0, x])
    (g,) = dg.gradients(dg.reduce_sum(last), x)
    feeds = {x: np.random.default_rng(3).normal(size=(8, 16))}
    both([last, g], feeds)
    value([last, g], feeds)


def test_a_traced_run_counts_parts_as_arrays_of_their_own():
    x = dg.placeholder(F64, [1000])
    y = dg.exp(dg.stack([dg.sin(x), dg.cos(x)]))
    options = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    told = dg.RunMetadata()
    dg.Session().run(
        dg.reduce_sum(y), {x: np.zeros(1000)}, options=options, run_metadata=told
    )
    made = [s.output_bytes for s in told.report.steps]
    assert made[:4] == [8000, 8000, 16000, 16000]


class Joins:
    """Draws graphs of elementwise ops, products, views and joins over rows of 16."""

    WIDTH = 16

    def __init__(self, draw):
        self.draw = draw
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        rows = [1, 2, 3, 150]
        self.feeds = {
            dg.placeholder(F64, [n, self.WIDTH]): rng.normal(size=(n, self.WIDTH))
            for n in rows
        }
        self.tensors = list(self.feeds)
        self.square = dg.constant(rng.normal(size=(self.WIDTH, self.WIDTH)) / 4.0)

    def pick(self, items):
        return items[self.draw(st.integers(0, len(items) - 1))]

    def node(self):
        x = self.pick(self.tensors)
        n = x.shape[0].value
        alike = [t for t in self.tensors if t.shape[0].value in (1, n)]
        kind = self.draw(st.integers(0, 9))
        if kind < 2:
            y = self.pick([dg.sin, dg.tanh, dg.negative, dg.square])(x)
        elif kind < 4:
            y = self.pick([dg.add, dg.multiply, dg.subtract])(x, self.pick(alike))
        elif kind == 4:
            y = dg.matmul(x, self.square)
        elif kind == 5:
            y = dg.reshape(dg.transpose(x), [n, self.WIDTH])
        elif kind == 6:
            wide = dg.concat([x, dg.sin(x)], 1)
            y = dg.matmul(wide, dg.concat([self.square, self.square], 0))
        elif kind == 7:
            y = dg.reduce_sum(dg.stack([x, dg.cos(x), x + 1.0], self.pick([0, 1])), 0)
            y = dg.reshape(y, [-1, self.WIDTH])
        else:
            parts = [
                self.pick(self.tensors) for _ in range(self.draw(st.integers(2, 4)))
            ]
            y = dg.concat(parts, 0)
            if y.shape[0].value > 2000:
                return
        self.tensors.append(y)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_random_graphs_have_the_same_bits_with_and_without(data):
    with dg.Graph().as_default():
        drawn = Joins(data.draw)
        for _ in range(data.draw(st.integers(4, 25))):
            drawn.node()
        count = data.draw(st.integers(1, 3))
        fetches = [drawn.pick(drawn.tensors) for _ in range(count)]
        fetches.append(dg.exp(dg.concat([drawn.pick(drawn.tensors), fetches[0]], 0)))
        both(fetches, drawn.feeds)
        value(fetches, drawn.feeds)
