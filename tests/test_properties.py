"""Random graphs: the fast executor, the interpreter and an evaluator that shares
no code with either give the same results, whatever is rewritten, fetched or fed."""

from __future__ import annotations

import evaluate
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.runtime.rewrites import PASSES

SHAPES = [(2, 3), (3,), (1, 3), (2, 1), (), (3, 2), (2, 0)]
COMMON = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def broadcasts(a, b):
    return all(x == y or 1 in (x, y) for x, y in zip(a[::-1], b[::-1]))


class Builder:
    """Draws a graph node by node; knows every tensor's concrete shape."""

    def __init__(self, draw):
        self.draw = draw
        self.tensors = []  # (tensor, concrete shape)
        self.feeds = {}
        self.variables = []
        self.writes = []
        self.rng = np.random.default_rng(draw(st.integers(0, 99)))

    def pick(self, items):
        return items[self.draw(st.integers(0, len(items) - 1))]

    def array(self, shape):
        # Small integers: sums are exact in any order.
        return self.rng.integers(-3, 4, shape).astype(np.float64)

    def keep(self, tensor, shape):
        assert dg.TensorShape(shape).is_compatible_with(tensor.shape)
        self.tensors.append((tensor, tuple(shape)))

    def source(self):
        shape = self.pick(SHAPES)
        kind = self.pick(
            ["static", "unknown dims", "unknown rank", "const", "variable"]
        )
        if kind == "const":
            self.keep(dg.constant(self.array(shape)), shape)
        elif kind == "variable":
            v = dg.Variable(self.array(shape))
            self.variables.append((v, shape))
            self.keep(v.value(), shape)
        else:
            known = {"static": shape, "unknown dims": [None] * len(shape)}
            x = dg.placeholder(dg.float64, known.get(kind))
            self.feeds[x] = self.array(shape)
            self.keep(x, shape)

    def node(self):
        x, shape = self.pick(self.tensors)
        kind = self.pick(
            ["unary", "binary", "binary", "binary", "reduce", "reshape", "transpose",
             "slice", "expand", "add_n", "concat", "unstack", "where", "write", "twice",
             "broadcast", "matmul", "shape math"]
        )  # fmt: skip
        getattr(self, kind.replace(" ", "_"))(x, shape)

    def unary(self, x, shape):
        ops = [
            dg.negative,
            dg.identity,
            dg.stop_gradient,
            dg.sign,
            dg.abs,
            dg.ones_like,
        ]
        ops += [lambda t: dg.placeholder_with_default(t, None), lambda t: t * 2.0]
        self.keep(self.pick(ops)(x), shape)

    def binary(self, x, shape):
        others = [(t, s) for t, s in self.tensors if broadcasts(s, shape)]
        y, other = self.pick(others)
        op = self.pick([dg.add, dg.subtract, dg.maximum, dg.minimum])
        self.keep(op(x, y), np.broadcast_shapes(shape, other))

    def twice(self, x, shape):
        sign = dg.sign(x)
        self.keep(sign + sign, shape)

    def reduce(self, x, shape):
        axis = self.pick([None, *range(len(shape))])
        keep = self.pick([False, True])
        if axis is None and x.shape.ndims is None:
            keep = False
        got = dg.reduce_sum(x, axis=axis, keepdims=keep)
        self.keep(got, np.zeros(shape).sum(axis=axis, keepdims=keep).shape)

    def reshape(self, x, shape):
        size = int(np.prod(shape))
        shapes = [s for s in [*SHAPES, (6,), (1, 1), (3, 1, 2)] if np.prod(s) == size]
        new = self.pick([*shapes, shape])
        asked = [-1, *new[1:]] if new and size and self.pick([0, 1]) else list(new)
        self.keep(dg.reshape(x, asked), new)

    def transpose(self, x, shape):
        self.keep(dg.transpose(x), shape[::-1])

    def slice(self, x, shape):
        if not shape or x.shape.ndims is None:
            return
        key = self.pick(
            [np.s_[::-1], np.s_[1:], np.s_[:1], np.s_[..., ::2], np.s_[None]]
        )
        self.keep(x[key], np.zeros(shape)[key].shape)

    def expand(self, x, shape):
        axis = self.pick(list(range(len(shape) + 1)))
        self.keep(dg.expand_dims(x, axis), np.expand_dims(np.zeros(shape), axis).shape)

    def broadcast(self, x, shape):
        self.keep(dg.broadcast_to(x, [2, *shape]), (2, *shape))

    def add_n(self, x, shape):
        same = [t for t, s in self.tensors if s == shape]
        terms = [self.pick(same) for _ in range(self.pick([2, 3, 4]))]
        self.keep(dg.add_n([x, *terms]), shape)

    def concat(self, x, shape):
        if shape and x.shape.ndims is not None:
            self.keep(dg.concat([x, x], 0), (2 * shape[0], *shape[1:]))

    def unstack(self, x, shape):
        if shape and shape[0]:
            self.keep(self.pick(dg.unstack(x, shape[0])), shape[1:])

    def where(self, x, shape):
        others = [(t, s) for t, s in self.tensors if s == shape]
        y, _ = self.pick(others)
        self.keep(dg.where(dg.greater(x, y), x, dg.negative(y)), shape)

    def matmul(self, x, shape):
        if len(shape) == 2 and x.shape.ndims == 2:
            self.keep(dg.sign(dg.matmul(x, x, transpose_b=True)), (shape[0], shape[0]))

    def shape_math(self, x, shape):
        self.keep(dg.ones(dg.shape(x), dg.float64), shape)

    def write(self, x, shape):
        mine = [v for v, s in self.variables if s == shape]
        if not mine:
            return
        v = self.pick(mine)
        write = self.pick([v.assign, v.assign_add, v.assign_sub])(dg.sign(x))
        self.writes.append(write)
        self.keep(write, shape)


@st.composite
def graphs(draw, nodes=14):
    """(graph, builder) of a random program."""
    graph = dg.Graph()
    with graph.as_default():
        b = Builder(draw)
        for _ in range(draw(st.integers(1, 4))):
            b.source()
        for _ in range(draw(st.integers(1, nodes))):
            b.node()
    return graph, b


def draw_fetches(data, b):
    count = data.draw(st.integers(1, min(4, len(b.tensors))))
    picked = [b.pick(b.tensors)[0] for _ in range(count)]
    return [*picked, b.tensors[-1][0]]


def start(graph, b, session):
    """Initialise the session's variables; the same for the oracle, as cells."""
    cells = {}
    for v, _ in b.variables:
        session.run(v.initializer)
        cells[v.op] = evaluate.Cell(np.array(v.initial_value.value))
    return cells


def check(results, expected):
    for got, want in zip(results, expected, strict=True):
        got = np.asarray(got)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, strict=True)


@given(graphs(), st.data())
@COMMON
def test_both_executors_agree_with_the_evaluator(program, data):
    graph, b = program
    fetches = draw_fetches(data, b)
    fast, slow = dg.Session(graph=graph), dg.Session(graph=graph)
    cells = start(graph, b, fast)
    start(graph, b, slow)
    trace = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    # Run after run: variables go on changing, frames are used again.
    for _ in range(3):
        expected = evaluate.evaluate(fetches, b.feeds, cells)
        check(fast.run(fetches, b.feeds), expected)
        check(slow.run(fetches, b.feeds, options=trace), expected)
    for v, _ in b.variables:
        np.testing.assert_array_equal(fast.run(v), cells[v.op].array)
        np.testing.assert_array_equal(slow.run(v), cells[v.op].array)


EACH = [[name] for name in PASSES]
ALL_BUT_ONE = [[other for other in PASSES if other != name] for name in PASSES]


def check_choice(passes, program, data):
    """That a session which chooses ``passes`` computes the program to the bit."""
    graph, b = program
    fetches = draw_fetches(data, b)
    session = dg.Session(graph=graph, rewrites=passes)
    cells = start(graph, b, session)
    for _ in range(2):
        expected = evaluate.evaluate(fetches, b.feeds, cells)
        check(session.run(fetches, b.feeds), expected)
    for v, _ in b.variables:
        np.testing.assert_array_equal(session.run(v), cells[v.op].array)


@pytest.mark.parametrize("passes", [[], *EACH, *ALL_BUT_ONE], ids="+".join)
@given(program=graphs(), data=st.data())
@settings(COMMON, max_examples=12)
def test_no_rewrite_changes_a_result(passes, program, data):
    check_choice(passes, program, data)


@given(program=graphs(), data=st.data())
@settings(COMMON, max_examples=120)
def test_no_choice_of_rewrites_changes_a_result(program, data):
    chosen = data.draw(st.sets(st.sampled_from(sorted(PASSES))))
    check_choice(chosen, program, data)


@given(graphs(), st.data())
@COMMON
def test_any_tensor_can_be_fed(program, data):
    graph, b = program
    fetches = draw_fetches(data, b)
    feeds = dict(b.feeds)
    written = set(b.writes)
    for _ in range(data.draw(st.integers(1, 3))):
        t, shape = b.pick(b.tensors)
        if t not in written:
            feeds[t] = b.array(shape)
    session = dg.Session(graph=graph)
    cells = start(graph, b, session)
    for _ in range(2):
        expected = evaluate.evaluate(fetches, feeds, cells)
        check(session.run(fetches, feeds), expected)


@given(graphs(), st.data())
@COMMON
def test_results_belong_to_the_caller(program, data):
    graph, b = program
    fetches = draw_fetches(data, b)
    session = dg.Session(graph=graph)
    cells = start(graph, b, session)
    distinct = list(dict.fromkeys(fetches))
    for _ in range(2):
        before = {v: session.run(v) for v, _ in b.variables}
        expected = evaluate.evaluate(distinct, b.feeds, cells)
        held = list(b.feeds.values()) + [
            session._state.cell(v.op).array for v, _ in b.variables
        ]
        results = session.run(distinct, b.feeds)
        check(results, expected)
        arrays = [r for r in results if isinstance(r, np.ndarray)]
        for i, r in enumerate(arrays):
            assert r.flags.writeable
            for other in [*held, *arrays[:i]]:
                assert not np.shares_memory(r, other)
        for r in arrays:
            r[...] = 77.0
        for v, value in before.items():
            cells[v.op].assign(value)
            v.load(value, session)
        check(session.run(distinct, b.feeds), expected)
        for v, _ in b.variables:
            cells[v.op].assign(session.run(v))


@given(graphs(), st.data())
@settings(COMMON, max_examples=30)
def test_feeds_of_changing_shapes(program, data):
    """Whatever the order in which shapes come, each run is as if it were alone."""
    graph, b = program
    with graph.as_default():
        x = dg.placeholder(dg.float64, [None, 3])
        y = dg.reduce_sum(dg.transpose(x) * 2.0, axis=1)
        z = dg.reshape(x, [-1]) + dg.reshape(x[::-1], [-1])
    session = dg.Session(graph=graph)
    for n in data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6)):
        feeds = {x: b.array((n, 3))}
        check(session.run([y, z], feeds), evaluate.evaluate([y, z], feeds))


@given(graphs(), st.data())
@settings(COMMON, max_examples=40)
def test_gradients_agree_with_the_evaluator_and_touch_no_old_operation(program, data):
    graph, b = program
    xs = [t for t, _ in b.tensors]
    y = b.tensors[-1][0]
    before = graph.get_operations()
    inputs = {op: (op.inputs, op.control_inputs, op.name) for op in before}
    with graph.as_default():
        try:
            grads = dg.gradients(y, xs)
        except LookupError as error:
            # Only a path through a write has no gradient here.
            assert "writes a variable" in str(error)
            return
    assert inputs == {op: (op.inputs, op.control_inputs, op.name) for op in before}
    fetches = [g for g in grads if g is not None]
    for (t, shape), g in zip(b.tensors, grads, strict=True):
        if g is not None:
            assert g.dtype is t.dtype
            assert g.shape.is_compatible_with(shape)
    session = dg.Session(graph=graph)
    cells = start(graph, b, session)
    results = session.run(fetches, b.feeds)
    check(results, evaluate.evaluate(fetches, b.feeds, cells))
    shapes = [s for (_, s), g in zip(b.tensors, grads, strict=True) if g is not None]
    assert [np.shape(r) for r in results] == shapes
