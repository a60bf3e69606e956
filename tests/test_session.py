"""Sessions: life, defaults, caching, traced runs, randomness."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.errors import SessionClosedError

pytestmark = pytest.mark.usefixtures("graph")


# -- defaults and life ---------------------------------------------------------


def test_the_default_session_of_a_with_block():
    x = dg.constant([1.0, 2.0])
    v = dg.Variable(3.0)
    assert dg.get_default_session() is None
    with dg.Session() as s:
        assert dg.get_default_session() is s
        v.initializer.run()
        np.testing.assert_array_equal((x * v).eval(), [3.0, 6.0])
        assert v.eval() == 3.0
    assert dg.get_default_session() is None


def test_a_with_block_makes_its_graph_the_default():
    other = dg.Graph()
    with dg.Session(graph=other):
        assert dg.get_default_graph() is other
        c = dg.constant(1.0)
    assert c.graph is other
    assert dg.get_default_graph() is not other


def test_as_default_does_not_close():
    x = dg.constant(2.0)
    s = dg.Session()
    with s.as_default() as same:
        assert same is s
        assert x.eval() == 2.0
        with dg.Session() as inner:
            assert dg.get_default_session() is inner
        assert dg.get_default_session() is s
    assert s.run(x) == 2.0


def test_a_with_block_closes_even_when_it_fails(graph):
    x = dg.constant(2.0)
    with pytest.raises(ZeroDivisionError), dg.Session() as s:
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="closed"):
        s.run(x)
    assert dg.get_default_session() is None
    assert dg.get_default_graph() is graph


def test_interactive_session():
    s = dg.InteractiveSession()
    x = dg.constant(2.0)
    assert x.eval() == 2.0
    s.close()
    assert dg.get_default_session() is None
    with pytest.raises(RuntimeError, match="closed"):
        s.run(x)


def test_a_session_knows_its_graph(graph):
    other = dg.Graph()
    assert dg.Session().graph is graph
    assert dg.Session("", other).graph is other
    with pytest.raises(TypeError, match="target"):
        dg.Session(5)


def test_an_operation_runs():
    v = dg.Variable([1.0])
    with dg.Session():
        v.initializer.run()
        v.assign_add([1.0]).op.run()
        assert v.eval() == [2.0]


# -- plans and the growing graph -----------------------------------------------


def test_the_graph_may_grow_between_runs():
    x = dg.constant([1.0, 2.0])
    with dg.Session() as s:
        y = x
        for i in range(5):
            y = y + 1.0
            np.testing.assert_array_equal(s.run(y), [2.0 + i, 3.0 + i])


def test_only_what_a_fetch_needs_runs():
    x = dg.placeholder(dg.float32, [])
    v = dg.Variable([0.0])
    v.assign_add([1.0])
    dg.reciprocal(x)
    with dg.Session() as s:
        s.run(v.initializer)
        assert s.run(dg.constant(1.0)) == 1.0
        assert s.run(v) == [0.0]


def test_a_run_with_ever_new_fetches_stays_correct():
    # More than the session keeps ready.
    x = dg.placeholder(dg.float32, [2])
    tensors = [x * float(i) for i in range(300)]
    with dg.Session() as s:
        for _ in range(2):
            for i, t in enumerate(tensors):
                np.testing.assert_array_equal(s.run(t, {x: [1, 2]}), [i, 2 * i])
        assert len(s._runners) <= 256


def test_shapes_may_change_from_run_to_run():
    x = dg.placeholder(dg.float32, None)
    y = dg.reduce_sum(x * 2.0)
    with dg.Session() as s:
        for shape in [(), (3,), (2, 2), (), (0,), (1, 2, 3)] * 2:
            assert s.run(y, {x: np.ones(shape)}) == 2 * np.prod(shape)


def test_arrays_of_no_elements():
    x = dg.placeholder(dg.float32, [None, 3])
    y = dg.matmul(dg.transpose(x), x)
    with dg.Session() as s:
        got, view, total = s.run(
            [y, dg.reshape(x, [3, -1]), dg.reduce_sum(x, 1)], {x: np.zeros((0, 3))}
        )
    np.testing.assert_array_equal(got, np.zeros((3, 3)))
    assert view.shape == (3, 0)
    assert total.shape == (0,)


def test_control_dependencies_run_what_nothing_reads(graph):
    v = dg.Variable([0.0])
    add = v.assign_add([1.0])
    with graph.control_dependencies([add]):
        done = dg.no_op()
        constant = dg.constant(5.0) * 1.0
    with dg.Session() as s:
        s.run(v.initializer)
        assert s.run(done) is None
        assert s.run(v) == [1.0]
        assert s.run(constant) == 5.0
        assert s.run(v) == [2.0]


def test_an_operation_that_rewrites_drop_still_waits(graph):
    # An identity is a target: it has no effect, but its control input has.
    v = dg.Variable([0.0])
    x = dg.placeholder(dg.float32, [])
    with graph.control_dependencies([v.assign_add([1.0])]):
        y = dg.exp(x)
    target = dg.identity(y).op
    with dg.Session() as s:
        s.run(v.initializer)
        s.run(target, {x: 0.0})
        assert s.run(v) == [1.0]


def test_group_and_tuple():
    v, w = dg.Variable([0.0]), dg.Variable([0.0])
    both = dg.group(v.assign_add([1.0]), w.assign_add([2.0]))
    with dg.Session() as s:
        s.run(dg.global_variables_initializer())
        s.run(both)
        assert s.run([v, w]) == [[1.0], [2.0]]
        a, b = s.run(dg.tuple([v.value() * 1.0, w.assign([9.0])]))
        assert (a, b) == ([1.0], [9.0])


# -- traced runs -------------------------------------------------------------------


def test_a_traced_run_reports_steps_bytes_and_peak():
    x = dg.placeholder(dg.float32, [100, 100])
    y = dg.matmul(x, x, name="product")
    z = dg.reduce_sum(dg.matmul(y, x))
    metadata = dg.RunMetadata()
    options = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    with dg.Session() as s:
        got = s.run(z, {x: np.ones((100, 100))}, options, metadata)
    report = metadata.report
    assert got == 100.0**4
    assert [r.type for r in report.steps] == ["MatMul", "MatMul", "Sum"]
    assert [r.output_bytes for r in report.steps] == [40000, 40000, 4]
    assert [r.live_bytes for r in report.steps] == [40000, 80000, 40004]
    assert report.peak_bytes == 80000
    assert report.peak_set["product:0"] == ("float32(100, 100)", 40000)
    assert report.seconds >= sum(r.seconds for r in report.steps)
    assert report.by_type()["MatMul"][0] == 2
    assert all(__file__ in r.source for r in report.steps)
    assert "product" in str(report)


def test_a_run_past_its_time_limit():
    x = dg.placeholder(dg.float32, [1000, 1000])
    y = x
    for _ in range(5):
        y = dg.matmul(y, x)
    with dg.Session() as s:
        with pytest.raises(dg.errors.DeadlineExceededError, match="1 ms"):
            s.run(y, {x: np.ones((1000, 1000))}, dg.RunOptions(timeout_in_ms=1))
        assert s.run(x[0, 0], {x: np.ones((1000, 1000))}) == 1.0


# -- randomness --------------------------------------------------------------------


def test_draws_differ_from_run_to_run_and_repeat_with_a_seed(graph):
    graph.seed = 7
    x = dg.random_normal([5])
    one, two = dg.Session(), dg.Session()
    a, b = one.run(x), one.run(x)
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(two.run(x), a)
    np.testing.assert_array_equal(two.run(x), b)
    one.reset_random()
    np.testing.assert_array_equal(one.run(x), a)


def test_draws_do_not_depend_on_how_many_ops_there_are():
    def draw(extra):
        with dg.Graph().as_default() as g:
            g.seed = 3
            for _ in range(extra):
                dg.constant(1.0) + 1.0
            return dg.Session().run(dg.random_uniform([4], name="u"))

    np.testing.assert_array_equal(draw(0), draw(5))


def test_without_a_seed_sessions_differ():
    x = dg.random_normal([5])
    assert not np.array_equal(dg.Session().run(x), dg.Session().run(x))


def test_traced_and_fast_runs_draw_from_one_stream(graph):
    graph.seed = 1
    x = dg.random_normal([3])
    options = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    one, two = dg.Session(), dg.Session()
    plain = [one.run(x) for _ in range(3)]
    mixed = [two.run(x), two.run(x, options=options), two.run(x)]
    np.testing.assert_array_equal(plain, mixed)


def test_an_op_with_scratch_memory_of_a_size_that_only_the_run_tells():
    x = dg.placeholder(dg.float64, [3, 4])
    pads = dg.placeholder(dg.int32, [2, 2])
    slope = dg.gradients(dg.pad(x, pads, "SYMMETRIC"), x)[0]
    with dg.Session() as s:
        got = s.run(slope, {x: np.ones((3, 4)), pads: [[1, 0], [0, 0]]})
    np.testing.assert_array_equal(got, [[2.0] * 4, [1.0] * 4, [1.0] * 4])


@pytest.mark.parametrize("native", ["off", "wait"])
@pytest.mark.parametrize("runs", [1, 60])
@pytest.mark.parametrize("end", ["close", "del"])
def test_memory_goes_at_once(end, runs, native):
    """Not when the collector comes by: a program may have turned it off."""
    x = dg.placeholder(dg.float32, [4])
    v = dg.Variable(np.zeros(1000, np.float32))
    looped = dg.while_loop(lambda i, a: i < 500, lambda i, a: (i + 1, a + x), [0, x])
    fetches = [dg.reduce_sum(v) * x, v.assign_add(dg.ones([1000])), looped[1]]
    gc.collect()
    gc.disable()
    try:
        session = dg.Session(config=dg.ConfigProto(native=native))
        session.run(v.initializer)
        for _ in range(runs):
            session.run(fetches, {x: np.ones(4, np.float32)})
        state = session._state
        (cell,) = state.cells.values()
        (*_, arena) = state.arenas._arenas
        gone = [weakref.ref(found) for found in (state, cell.array, arena)]
        del state, cell, arena
        if end == "close":
            session.close()
        else:
            del session
        assert [found() for found in gone] == [None] * 3
    finally:
        gc.enable()


def test_closing_a_session_inside_of_its_run():
    v = dg.Variable(np.ones(3))
    session = dg.Session()
    session.run(v.initializer)
    inside = dg.py_func(lambda a: (session.close(), a)[1], [v + 1.0], dg.float64)
    with dg.control_dependencies([inside]):
        after = v.read_value() + inside
    np.testing.assert_array_equal(session.run(after), [3.0, 3.0, 3.0])
    with pytest.raises(SessionClosedError):
        session.run(v)
