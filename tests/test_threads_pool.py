"""The threads of a session: errors, interrupts, the end of a session, forks, BLAS."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref

import numpy as np
import pytest

import dagrad as dg
from dagrad.runtime import blas, pool
from dagrad.runtime.pool import Pool

SIZE = 1 << 19


def threads(intra=None, inter=None):
    return dg.ConfigProto(
        intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter
    )


def workers():
    """Those of pools: what compiles for tests of native code may still be there."""
    names = re.compile(r"dagrad-\d+")
    return [t for t in threading.enumerate() if names.fullmatch(t.name)]


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def graph():
    gc.collect()
    wait_for(lambda: not workers())
    with dg.Graph().as_default() as g:
        yield g
    gc.collect()
    wait_for(lambda: not workers())


@pytest.fixture
def two():
    made = Pool(2)
    yield made
    made.close()


def forked(x):
    """Two long branches."""
    return dg.tanh(dg.tanh(x)) * dg.exp(dg.exp(-x))


# -- the pool --------------------------------------------------------------------------


def test_calls_run_at_the_same_time(two):
    meet = threading.Barrier(2, timeout=10)
    two.run([meet.wait, meet.wait], 2)  # each waits for the other


def test_no_more_than_asked_run_at_once():
    four = Pool(4)
    now, most, lock = [0], [0], threading.Lock()

    def call():
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1

    for count, limit in ((8, 1), (8, 2), (2, 4)):
        most[0] = 0
        four.run([call] * count, limit)
        assert 1 <= most[0] <= min(count, limit)
    four.close()


def test_a_busy_pool_is_not_waited_for(two):
    begun, end = threading.Event(), threading.Event()

    def occupy():
        begun.set()
        assert end.wait(10)

    other = threading.Thread(target=two.run, args=([lambda: end.wait(10), occupy], 2))
    other.start()
    assert begun.wait(10)
    done = []
    two.run([lambda: done.append(1), lambda: done.append(2)], 2)  # both by this thread
    assert sorted(done) == [1, 2]
    end.set()
    other.join(10)
    assert not other.is_alive()


def test_calls_within_calls_happen_once():
    # A worker that takes its own calls back meets them in the queue later.
    four = Pool(4)
    done, lock = [], threading.Lock()

    def leaf(i):
        with lock:
            done.append(i)

    def inner(i):
        four.run([lambda k=k: leaf((i, k)) for k in range(4)], 4)

    for _ in range(200):
        done.clear()
        four.run([lambda i=i: inner(i) for i in range(4)], 4)
        assert sorted(done) == [(i, k) for i in range(4) for k in range(4)]
    time.sleep(0.02)
    assert len(done) == 16
    four.close()


def test_the_first_error_of_several_is_raised(two):
    meet = threading.Barrier(2, timeout=10)

    def fail(error):
        meet.wait()
        raise error

    calls = [lambda: fail(KeyError("first")), lambda: fail(ValueError("second"))]
    for _ in range(20):
        with pytest.raises(KeyError, match="first"):
            two.run(calls, 2)
    done = []
    two.run([lambda: done.append(1)] * 2, 2)  # it still works
    assert done == [1, 1]


def test_a_closed_pool_runs_in_the_caller(two):
    two.run([int, int], 2)
    assert len(workers()) == 1
    two.close()
    wait_for(lambda: not workers())
    me = []
    two.run([lambda: me.append(threading.current_thread())] * 2, 2)
    assert me == [threading.current_thread()] * 2


def test_workers_end_with_their_pool():
    made = Pool(3)
    made.run([int] * 3, 3)
    assert len(workers()) == 2
    del made
    gc.collect()
    wait_for(lambda: not workers())


def test_workers_keep_nothing_alive(two):
    class Thing:
        pass

    thing = Thing()
    alive = weakref.ref(thing)
    meet = threading.Barrier(2, timeout=10)
    two.run([lambda t=thing: meet.wait(), lambda t=thing: meet.wait()], 2)
    del thing
    wait_for(lambda: gc.collect() is not None and alive() is None)


def test_an_interrupt_waits_for_the_workers_and_is_raised(two):
    finished = []

    def slow():
        time.sleep(0.1)
        finished.append("worker")

    def interrupted():
        time.sleep(0.02)  # a worker has begun the other call
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two.run([interrupted, slow], 2)
    assert finished == ["worker"]


def test_an_interrupt_takes_back_what_nobody_has_begun(two):
    begun, end = threading.Event(), threading.Event()
    other = threading.Thread(
        target=two.run,
        args=([lambda: end.wait(10), lambda: begun.set() or end.wait(10)], 2),
    )
    other.start()
    assert begun.wait(10)
    done = []

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two.run([interrupted, lambda: done.append(1)], 2)
    end.set()
    other.join(10)
    time.sleep(0.02)
    assert done == []


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("sleeper", [0, 1])
def test_a_real_interrupt_does_not_hang(two, sleeper):
    def sleep():
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            time.sleep(0.01)

    calls = [int, int]
    calls[sleeper] = sleep  # the caller's own call, or the one that it waits for
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            two.run(calls, 2)
            time.sleep(1.0)  # taken back before the worker woke: interrupted here
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    two.run([int, int], 2)


def test_an_interrupt_while_workers_start_leaves_none_behind(monkeypatch):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    made = Pool(3)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made.run([int] * 3, 3)
    made.run([int] * 3, 3)
    made.close()
    wait_for(lambda: not workers())


# -- sessions --------------------------------------------------------------------------


def test_sessions_leave_no_threads():
    x = dg.placeholder(dg.float64, [SIZE])
    y = forked(x)
    for close in (True, False):
        s = dg.Session(config=threads(2, 2))
        assert not workers()  # none before there is work
        s.run(y, {x: np.zeros(SIZE)})
        assert len(workers()) == 1
        if close:
            s.close()
            wait_for(lambda: not workers())
        del s
        gc.collect()
        wait_for(lambda: not workers())


def test_no_threads_for_short_work():
    x = dg.placeholder(dg.float64, [100])
    with dg.Session(config=threads(2, 2)) as s:
        s.run(forked(x), {x: np.zeros(100)})
        assert not workers()


@pytest.mark.parametrize("inter", [1, 2, 4])
@pytest.mark.parametrize("swapped", [False, True])
def test_errors_name_the_operation_and_the_line(inter, swapped):
    x = dg.placeholder(dg.float64, [SIZE])
    at = dg.placeholder(dg.int32, [SIZE], name="at")

    def good():
        return dg.reduce_sum(dg.exp(dg.exp(-x)))

    def picked():
        return dg.reduce_sum(dg.gather(dg.tanh(dg.tanh(x)), at, name="picked"))

    y = good() * picked() if swapped else picked() * good()
    where = "test_threads_pool.py"
    feeds = {x: np.zeros(SIZE), at: np.zeros(SIZE, np.int32)}
    with dg.Session(config=threads(None, inter)) as s:
        expected = s.run(y, feeds)
        plan = s.plan(y, feeds)
        assert bool(plan.regions) == (inter > 1)
        held = [
            i
            for r in plan.regions
            for i in range(r.first, r.last + 1)
            if plan.steps[i].name == "picked"
        ]
        assert len(held) == (inter > 1)  # it fails within the region
        for _ in range(3):
            with pytest.raises(dg.errors.OpError) as caught:
                s.run(y, {**feeds, at: np.full(SIZE, SIZE)})
            assert 'GatherV2 "picked"' in str(caught.value)
            assert where in str(caught.value)
            assert caught.value.op.name == "picked"
            np.testing.assert_array_equal(s.run(y, feeds), expected)


def test_of_two_errors_the_earlier_step_counts():
    x = dg.placeholder(dg.float64, [SIZE])
    at = dg.placeholder(dg.int32, [SIZE])
    first = dg.gather(dg.tanh(dg.tanh(x)), at, name="first")
    second = dg.gather(dg.exp(dg.exp(x)), at, name="second")
    y = dg.reduce_sum(first) * dg.reduce_sum(second)
    feeds = {x: np.zeros(SIZE), at: np.full(SIZE, SIZE)}
    names = set()
    for inter in (1, 2):
        with dg.Session(config=threads(None, inter)) as s:
            for _ in range(5):
                with pytest.raises(dg.errors.OpError) as caught:
                    s.run(y, feeds)
                names.add(caught.value.op.name)
    assert len(names) == 1


def test_an_error_in_a_piece_names_the_operation(monkeypatch):
    x = dg.placeholder(dg.float64, [SIZE])
    y = dg.tanh(x, name="shared")

    def full(*args, **keywords):
        raise MemoryError("full")

    with dg.Session(config=threads(2)) as s:
        monkeypatch.setattr(np, "tanh", full)
        with pytest.raises(dg.errors.ResourceExhaustedError, match='Tanh "shared"'):
            s.run(y, {x: np.zeros(SIZE)})


def test_an_interrupted_run_leaves_a_session_that_works(monkeypatch):
    x = dg.placeholder(dg.float64, [SIZE])
    y = forked(x)
    a = np.linspace(0.0, 1.0, SIZE)
    with dg.Session(config=threads(None, 2)) as s:
        expected = s.run(y, {x: a})
        assert s.plan(y, {x: a}).regions
        make = pool._Task.make
        interrupts = iter([KeyboardInterrupt])

        def interrupted(self):
            if threading.current_thread() is threading.main_thread():
                for error in interrupts:
                    self.error = error()
                    return
            make(self)

        monkeypatch.setattr(pool._Task, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            s.run(y, {x: a})
        for _ in range(3):
            np.testing.assert_array_equal(s.run(y, {x: a}), expected)


def test_runs_of_many_threads_share_one_pool():
    x = dg.placeholder(dg.float64, [SIZE])
    y = forked(x)
    with dg.Session() as serial:
        inputs = [np.full(SIZE, i / 4) for i in range(4)]
        expected = [serial.run(y, {x: a}) for a in inputs]
    wrong = []
    with dg.Session(config=threads(2, 2)) as s:

        def work(i):
            for _ in range(5):
                if not np.array_equal(s.run(y, {x: inputs[i]}), expected[i]):
                    wrong.append(i)

        own = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for t in own:
            t.start()
        for t in own:
            t.join(60)
        assert len(workers()) == 1
    assert wrong == []


def test_bodies_of_loops_are_shared_too():
    x = dg.placeholder(dg.float64, [4, SIZE])
    total = dg.foldl(lambda acc, row: acc * 0.5 + forked(row), x)
    a = np.linspace(-1.0, 1.0, 4 * SIZE).reshape(4, SIZE)
    results = []
    for intra, inter in ((1, 1), (2, 2)):
        with dg.Session(config=threads(intra, inter)) as s:
            results.append(s.run(total, {x: a}))
            assert len(workers()) == inter - 1
    np.testing.assert_array_equal(*results)


def test_warnings_of_numpy_stay_silent_in_workers():
    x = dg.placeholder(dg.float64, [SIZE])
    y = dg.log(dg.log(x)) * dg.sqrt(dg.sqrt(x) * -1.0)
    with dg.Session(config=threads(2, 2)) as s, warnings.catch_warnings():
        warnings.simplefilter("error")
        got = s.run(y, {x: np.full(SIZE, -1.0)})
    assert np.isnan(got).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_makes_threads_of_its_own():
    program = """
import os, sys, threading, numpy as np, dagrad as dg
x = dg.placeholder(dg.float64, [1 << 19])
y = dg.tanh(dg.tanh(x)) * dg.exp(dg.exp(-x))
s = dg.Session(config=dg.ConfigProto(inter_op_parallelism_threads=2))
a = np.linspace(0.0, 1.0, 1 << 19)
expected = s.run(y, {x: a})
pid = os.fork()
if pid == 0:
    same = np.array_equal(s.run(y, {x: a}), expected)
    os._exit(0 if same and threading.active_count() == 2 else 3)
_, status = os.waitpid(pid, 0)
same = np.array_equal(s.run(y, {x: a}), expected)
print(os.waitstatus_to_exitcode(status), same)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.stdout.split() == ["0", "True"], run.stderr


def test_a_program_ends_with_its_session_open():
    program = """
import numpy as np, dagrad as dg
x = dg.placeholder(dg.float64, [1 << 19])
s = dg.Session(config=dg.ConfigProto(intra_op_parallelism_threads=2))
s.run(dg.tanh(x), {x: np.zeros(1 << 19)})
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


# -- BLAS ------------------------------------------------------------------------------


def blas_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    return {
        lib["num_threads"]
        for lib in threadpoolctl.threadpool_info()
        if lib["user_api"] == "blas"
    }


@pytest.fixture
def two_blas_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS has one thread only")
        yield


def test_blas_has_one_thread_while_a_session_asks(two_blas_threads):
    with dg.Session(), dg.Session(config=threads(None, 2)):
        assert blas_threads() == {2}
    with dg.Session(config=threads(2)) as s:
        assert blas_threads() == {1}
        other = dg.Session(config=threads(4))
        s.close()
        assert blas_threads() == {1}
        other.close()
        other.close()
        assert blas_threads() == {2}
    assert blas_threads() == {2}


def test_a_forgotten_session_frees_blas(two_blas_threads):
    s = dg.Session(config=threads(2))
    assert blas_threads() == {1}
    del s
    gc.collect()
    assert blas_threads() == {2}


@pytest.fixture
def no_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(blas, "_warned", False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for name in blas._ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def test_without_threadpoolctl_one_warning_says_what_to_install(no_threadpoolctl):
    with pytest.warns(UserWarning, match=r"pip install .dagrad\[threads\]") as seen:
        dg.Session(config=threads(2)).close()
        dg.Session(config=threads(1)).close()
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_without_threadpoolctl_nobody_who_does_not_ask_is_warned(
    no_threadpoolctl, monkeypatch
):
    # pytest makes errors of warnings.
    dg.Session().close()
    dg.Session(config=threads(None, 2)).close()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    dg.Session(config=threads(2)).close()
