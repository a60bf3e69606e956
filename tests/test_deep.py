"""Depth is no limit: nothing recurses on the graph."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import dagrad as dg


@pytest.mark.parametrize(
    "depth", [10_000, pytest.param(100_000, marks=pytest.mark.slow)]
)
def test_a_chain_builds_differentiates_runs_and_is_freed(depth):
    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [2])
        y = x
        for _ in range(depth):
            y = dg.negative(y)
        (g,) = dg.gradients(y, x, grad_ys=[[3.0, 4.0]])
    assert len(graph) > depth
    with dg.Session(graph=graph) as session:
        got, grad = session.run([y, g], {x: [1.0, 2.0]})
        again = session.run(g, {x: [1.0, 2.0]})
    np.testing.assert_array_equal(got, [1.0, 2.0])
    np.testing.assert_array_equal(grad, [3.0, 4.0])
    np.testing.assert_array_equal(again, grad)
    gone = weakref.ref(graph)
    del graph, x, y, g, session
    gc.collect()
    assert gone() is None


@pytest.fixture
def graph():
    with dg.Graph().as_default() as g:
        yield g


def test_a_deep_chain_that_no_rewrite_shortens(graph):
    x = dg.placeholder(dg.float64, [])
    y = x
    for _ in range(5_000):
        y = dg.sin(y + x)
    (g,) = dg.gradients(y, x)
    session = dg.Session()
    got, grad = session.run([y, g], {x: 0.5})
    value, slope = 0.5, 1.0
    for _ in range(5_000):
        value, slope = np.sin(value + 0.5), np.cos(value + 0.5) * (slope + 1.0)
    assert got == pytest.approx(value)
    assert grad == pytest.approx(slope)
    trace = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    assert session.run(g, {x: 0.5}, options=trace) == grad


def test_deep_control_dependencies(graph):
    v = dg.Variable(0.0)
    last = v.initializer
    for _ in range(3000):
        with graph.control_dependencies([last]):
            last = dg.no_op()
    with graph.control_dependencies([last]):
        read = v.read_value()
    assert dg.Session().run(read) == 0.0


def test_a_deep_constant_chain_folds(graph):
    y = dg.constant(1.0)
    for _ in range(5000):
        y = y + 1.0
    assert dg.Session().run(y) == 5001.0


def test_a_long_chain_of_views(graph):
    x = dg.placeholder(dg.float32, [2, 3])
    y = x
    for _ in range(5001):
        y = dg.transpose(y)
    np.testing.assert_array_equal(
        dg.Session().run(y, {x: np.arange(6.0).reshape(2, 3)}),
        np.arange(6.0).reshape(2, 3).T,
    )


def test_many_writes_of_one_variable(graph):
    v = dg.Variable(0.0)
    writes = [v.assign_add(float(i)) for i in range(1000)]
    session = dg.Session()
    session.run(v.initializer)
    session.run(dg.group(*writes))
    assert session.run(v) == sum(range(1000))


def test_a_wide_graph(graph):
    x = dg.placeholder(dg.float32, [])
    total = dg.add_n([x * float(i) for i in range(5000)])
    (g,) = dg.gradients(total, x)
    assert dg.Session().run([total, g], {x: 1.0}) == [12497500.0, 12497500.0]


def test_an_error_at_the_end_of_a_deep_graph(graph):
    x = dg.placeholder(dg.float32, [None])
    y = x
    for _ in range(20_000):
        y = dg.negative(y)
    y = y + dg.ones([3])
    with pytest.raises(ValueError, match="Add"):
        dg.Session().run(y, {x: np.zeros(2)})
    with pytest.raises(ValueError, match="you must feed"):
        dg.Session().run(y)


def test_deep_nesting_of_fetches(graph):
    fetch = x = dg.constant(1.0)
    for _ in range(100):
        fetch = [fetch, {"x": x}]
    got = dg.Session().run(fetch)
    for _ in range(100):
        got, leaf = got
        assert leaf == {"x": 1.0}
    assert got == 1.0
