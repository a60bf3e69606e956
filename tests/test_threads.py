"""One session, many threads: runs are atomic and results are right."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.errors import FailedPreconditionError
from dagrad.runtime.variables import ReadWriteLock

THREADS = 8


pytestmark = pytest.mark.usefixtures("graph")


def together(work, count=THREADS):
    """Call ``work(i)`` in ``count`` threads that start at once; the results."""
    barrier = threading.Barrier(count)

    def begin(i):
        barrier.wait()
        return work(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_every_increment_counts():
    v = dg.Variable(0.0)
    add = v.assign_add(1.0)
    with dg.Session() as s:
        s.run(v.initializer)
        seen = together(lambda i: [s.run(add) for _ in range(200)])
        assert s.run(v) == 200.0 * THREADS
    # No two runs saw the same value: each is whole.
    flat = [x for values in seen for x in values]
    assert sorted(flat) == list(range(1, 200 * THREADS + 1))


def test_readers_see_whole_runs_only():
    # Two variables change together; no reader may see one without the other.
    v, w = dg.Variable(np.zeros(1000)), dg.Variable(np.zeros(1000))
    step = dg.group(v.assign_add(np.ones(1000)), w.assign_sub(np.ones(1000)))
    read = [v, w, v + w]
    with dg.Session() as s:
        s.run(dg.global_variables_initializer())

        def work(i):
            for _ in range(150):
                if i % 2:
                    s.run(step)
                else:
                    a, b, total = s.run(read)
                    assert (a == a[0]).all()
                    np.testing.assert_array_equal(a, -b)
                    np.testing.assert_array_equal(total, 0.0)

        together(work)
        assert s.run(v)[0] == 150 * THREADS / 2


def test_results_of_threads_do_not_mix():
    x = dg.placeholder(dg.float32, [None, 20])
    y = dg.matmul(dg.tanh(dg.matmul(x, dg.transpose(x))), x)
    total = dg.reduce_sum(dg.sin(x), 1)
    with dg.Session() as s:

        def work(i):
            rng = np.random.default_rng(i)
            for n in rng.integers(1, 30, 60):
                a = rng.normal(size=(n, 20)).astype(np.float32)
                got, sums = s.run([y, total], {x: a})
                np.testing.assert_allclose(
                    got, np.tanh(a @ a.T) @ a, rtol=1e-4, atol=1e-4
                )
                np.testing.assert_allclose(sums, np.sin(a).sum(1), rtol=1e-4, atol=1e-4)

        together(work)


def test_one_callable_in_many_threads():
    x = dg.placeholder(dg.float64, [50])
    y = x
    for _ in range(10):
        y = dg.sin(y) + x
    with dg.Session() as s:
        call = s.make_callable(y, [x])

        def work(i):
            a = np.full(50, i / 10)
            expected = a
            for _ in range(10):
                expected = np.sin(expected) + a
            for _ in range(100):
                np.testing.assert_allclose(call(a), expected, rtol=1e-12)

        together(work)


def test_running_while_the_graph_grows(graph):
    x = dg.placeholder(dg.float32, [2])
    v = dg.Variable([1.0, 1.0])
    with dg.Session() as s:
        s.run(v.initializer)

        def work(i):
            # The default graph is a thread's own matter.
            with graph.as_default():
                y = x
                for n in range(40):
                    y = y + v if n % 2 else y * 2.0
                    g = dg.gradients(y, x)[0] if n % 10 == 9 else y
                    s.run([y, g], {x: [i, i]})
                got, grad = s.run([y, dg.gradients(y, x)[0]], {x: [i, i]})
            value = float(i)
            for n in range(40):
                value = value + 1.0 if n % 2 else value * 2.0
            np.testing.assert_array_equal(got, [value, value])
            np.testing.assert_array_equal(grad, [2.0**20, 2.0**20])

        together(work)
    graph.validate()
    names = [op.name for op in graph.get_operations()]
    assert len(set(names)) == len(names)


def test_building_in_threads_keeps_scopes_apart(graph):
    def work(i):
        with graph.as_default(), dg.name_scope(f"thread{i}") as scope:
            made = [dg.constant(1.0, name="c") for _ in range(100)]
            return all(t.op.name.startswith(scope) for t in made)

    assert together(work) == [True] * THREADS
    assert len(graph) == 100 * THREADS
    assert [op.id for op in graph.get_operations()] == list(range(100 * THREADS))


def test_default_graphs_and_sessions_are_per_thread(graph):
    def work(i):
        assert dg.get_default_graph() is not graph
        assert dg.get_default_session() is None
        with dg.Graph().as_default(), dg.Session() as s:
            c = dg.constant(float(i))
            assert dg.get_default_session() is s
            return c.eval()

    with dg.Session():
        assert together(work) == [float(i) for i in range(THREADS)]


def test_initialising_and_reading_at_once():
    v = dg.Variable(np.arange(100.0))
    with dg.Session() as s:

        def work(i):
            if i == 0:
                s.run(v.initializer)
                return True
            try:
                got = s.run(v)
            except dg.errors.FailedPreconditionError:
                return False
            np.testing.assert_array_equal(got, np.arange(100.0))
            return True

        assert together(work)[0]
        np.testing.assert_array_equal(s.run(v), np.arange(100.0))


def test_an_error_in_one_thread_leaves_the_others_alone():
    x = dg.placeholder(dg.int32, [])
    v = dg.Variable(0)
    y = dg.constant(12) // x
    with dg.control_dependencies([y]):
        add = v.assign_add(1)
    with dg.Session() as s:
        s.run(v.initializer)

        def work(i):
            for _ in range(50):
                if i % 2:
                    with pytest.raises(dg.errors.OpError):
                        s.run(add, {x: 0})
                else:
                    s.run(add, {x: 3})

        together(work)
        assert s.run(v) == 50 * THREADS // 2


def test_a_variable_that_changes_shape_under_readers():
    v = dg.Variable(np.zeros(1), validate_shape=False)
    x = dg.placeholder(dg.float64, [None])
    write = dg.assign(v, x, validate_shape=False)
    doubled = v * 2.0
    with dg.Session() as s:
        s.run(v.initializer)

        def work(i):
            for n in range(1, 60):
                if i % 2:
                    s.run(write, {x: np.full(n + i, float(n + i))})
                else:
                    got = s.run(doubled)
                    if got.size > 1:
                        np.testing.assert_array_equal(got, 2.0 * got.size)

        together(work)


def test_a_write_inside_a_read_of_one_thread_is_refused_not_awaited():
    lock = ReadWriteLock()
    reading = lock.acquire_read()
    with pytest.raises(FailedPreconditionError, match="inside a run"):
        lock.acquire_write()
    lock.release_read(reading)
    writing = lock.acquire_write()
    reading = lock.acquire_read()  # a writer may read
    lock.release_read(reading)
    lock.release_write(writing)
