"""Plans that have run a few times run as straight Python: the same in every respect."""

from __future__ import annotations

import dataclasses
import gc
import threading
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.graphlib.errors import (
    FailedPreconditionError,
    FeedError,
    SessionClosedError,
)
from dagrad.runtime import executor, quiet
from dagrad.runtime.executor import miss

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans get their functions after one run."""
    monkeypatch.setattr(executor, "_PATIENCE", 1)


def executables(session: Any) -> list[Any]:
    """Every plan that a session has run."""
    return [e for r in session._runners.values() for e in r._plans.values()]


def is_direct(session: Any) -> bool:
    """Whether the plan of the session's last fetches has a function of its own."""
    return list(session._runners.values())[-1].recent.hot is not miss


def count_slow(session: Any) -> list[int]:
    """A list that gets an element for each run from now on that is not direct."""
    slow: list[int] = []
    for runner in session._runners.values():
        kind = type(runner)
        if not hasattr(kind, "counted"):
            counted = type("Counted", (kind,), {"counted": True, "__slots__": ()})

            def call(self: Any, values: Any, kind: Any = kind) -> Any:
                slow.append(1)
                return kind.__call__(self, values)

            counted.__call__ = call  # type: ignore[method-assign]
            runner.__class__ = counted
    return slow


# -- results -------------------------------------------------------------------------

UNARY = [dg.negative, dg.exp, dg.log, dg.tanh, dg.square, dg.identity]
STRUCTURES: list[Any] = [
    lambda ts: ts[-1],
    lambda ts: list(ts),
    lambda ts: tuple(ts),
    lambda ts: {"last": ts[-1], "all": (ts, ts[0].op)},
    lambda ts: [ts[-1], ts[-1], ts[0]],
]


@st.composite
def programs(draw: Any) -> Any:
    """(shapes of two feeds, operations, structure of the fetches, native)."""
    shape = draw(st.sampled_from([(), (3,), (2, 3)]))
    other = draw(st.sampled_from([shape, ()]))
    lines = draw(
        st.lists(
            st.tuples(st.integers(0, 8), st.integers(0, 40), st.integers(0, 40)),
            min_size=1,
            max_size=24,
        )
    )
    structure = draw(st.integers(0, len(STRUCTURES) - 1))
    return shape, other, lines, structure, draw(st.sampled_from(["off", "wait"]))


@settings(max_examples=60)
@given(programs())
def test_random_programs_give_the_same_bits_in_every_run(program: Any) -> None:
    shape, other, lines, structure, native = program
    rng = np.random.default_rng(0)
    with dg.Graph().as_default():
        feeds = [dg.placeholder(dg.float32, s) for s in (shape, other)]
        w = dg.Variable(rng.standard_normal(shape).astype(np.float32))
        made = [*feeds, w.read_value()]
        for what, i, j in lines:
            a, b = made[i % len(made)], made[j % len(made)]
            if what < len(UNARY):
                made.append(UNARY[what](a))
            elif what == len(UNARY):
                made.append(a + b)
            elif what == len(UNARY) + 1:
                made.append(dg.reshape(a, [-1]) if a.shape.rank else a * 2.0)
            else:
                made.append(dg.reduce_sum(a))
        fetches = STRUCTURES[structure](made)
        with dg.Session(config=dg.ConfigProto(native=native)) as session:
            session.run(w.initializer)
            call = session.make_callable(fetches, feeds)
            for _ in range(3):
                values = [
                    rng.standard_normal(s).astype(np.float32) for s in (shape, other)
                ]
                feed = dict(zip(feeds, map(np.asarray, values)))
                # Traced runs are the reference interpreter's.
                traced = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
                wanted = session.run(fetches, feed, options=traced)
                for got in (session.run(fetches, feed), call(*feed.values())):
                    assert repr(type(got)) == repr(type(wanted))
                    for a, b in zip(leaves(got), leaves(wanted)):
                        assert type(a) is type(b)
                        assert a is None or a.tobytes() == b.tobytes()
            assert is_direct(session)


def leaves(result: Any) -> list[Any]:
    """The values of a structure of results."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [x for item in result for x in leaves(item)]
    return [result]


def test_it_is_used_for_runs_and_callables() -> None:
    x = dg.placeholder(dg.float32, [3])
    y = x + 1.0
    with dg.Session() as session:
        call = session.make_callable(y, [x])
        a = np.ones(3, np.float32)
        call(a)
        slow = count_slow(session)
        np.testing.assert_array_equal(call(a), [2, 2, 2])
        np.testing.assert_array_equal(session.run(y, {x: a + 1}), [3, 3, 3])
        assert not slow


def test_many_instructions_are_a_loop() -> None:
    x = dg.placeholder(dg.float32, [3])
    y = x
    for _ in range(60):
        y = dg.sin(y) * 1.1
    with dg.Session(rewrites=["fold"]) as session:
        call = session.make_callable([y, x], [x])
        a = np.ones(3, np.float32)
        wanted = call(a)
        assert is_direct(session)
        np.testing.assert_array_equal(call(a), wanted)


def test_other_shapes_and_dtypes_take_the_long_way() -> None:
    x = dg.placeholder(dg.float32, [None])
    y = x * 2.0
    with dg.Session() as session:
        call = session.make_callable(y, [x])
        for n in (2, 3, 2, 3, 2):
            np.testing.assert_array_equal(call(np.ones(n, np.float32)), [2.0] * n)
        np.testing.assert_array_equal(call([1, 2]), [2, 4])
        np.testing.assert_array_equal(call(np.array([1.0, 2.0])), [2, 4])
        odd = np.arange(6, dtype=np.float32)[::3]
        np.testing.assert_array_equal(call(odd), [0, 6])
        swapped = np.array([1, 2], ">f4")
        np.testing.assert_array_equal(call(swapped), [2, 4])
        with pytest.raises(FeedError, match="1 values are needed"):
            call()
        with pytest.raises(FeedError, match="shape"):
            call(np.ones((2, 2), np.float32))


def test_feeds_in_parts_and_strings_are_taken_apart_in_every_run() -> None:
    x, y = dg.placeholder(dg.float32, []), dg.placeholder(dg.float32, [])
    text = dg.placeholder(dg.string, [])
    z, same = x - y, dg.identity(text)
    with dg.Session() as session:
        for k in range(4):
            assert session.run(z, {(x, y): (k, 1)}) == k - 1
            assert session.run(same, {text: "a"}) == b"a"


def test_fetched_arrays_belong_to_the_caller() -> None:
    x = dg.placeholder(dg.float32, [3])
    w = dg.Variable(np.zeros(3, np.float32))
    total = dg.reduce_sum(x)
    fetches = [x, w, x + w, dg.reshape(x + w, [3, 1]), total, total]
    with dg.Session() as session:
        session.run(w.initializer)
        call = session.make_callable(fetches, [x])
        kept = []
        for k in range(4):
            a = np.full(3, k, np.float32)
            kept.append(call(a))
            assert not np.may_share_memory(kept[-1][0], a)
            for value in kept[-1][:4]:
                value += 100  # changes nobody else's
        for k, (a, b, c, d, *sums) in enumerate(kept):
            assert a.tolist() == [100 + k] * 3
            assert b.tolist() == [100.0] * 3
            assert c.tolist() == [100 + k] * 3 and d.tolist() == [[100 + k]] * 3
            assert sums == [3 * k, 3 * k]


def test_of_one_array_only_a_reshape_is_given_as_it_is() -> None:
    x = dg.placeholder(dg.float32, [128, 256])
    y = dg.tanh(x)
    repeated = dg.broadcast_to(y[:1], [128, 256])
    flipped, flat = dg.reverse(y, [0]), dg.reshape(y, [-1])
    a = np.random.default_rng(0).standard_normal((128, 256)).astype(np.float32)
    wanted = np.tanh(a)
    with dg.Session() as session:
        for fetches in ([repeated, flat, flipped], [flipped, repeated, flat]):
            for _ in range(3):
                results = dict(zip(fetches, session.run(fetches, {x: a})))
                for v in results.values():
                    assert v.flags.c_contiguous and v.flags.writeable
                results[repeated][0] += 1
                assert (results[repeated][1:] == wanted[0]).all()
                assert (results[flipped] == wanted[::-1]).all()
                assert (results[flat] == wanted.ravel()).all()
            assert is_direct(session)


def test_the_structure_is_made_when_the_run_is_over() -> None:
    w = dg.Variable(0.0)
    bump = w.assign_add(1.0)

    @dataclasses.dataclass
    class Checked:
        value: Any

        def __post_init__(self) -> None:
            if not isinstance(self.value, dg.Tensor):
                session.run(bump)  # a write, which no run that reads may start
                if self.value == 4:
                    raise ValueError("not four")

    with dg.Session() as session:
        session.run(w.initializer)
        fetches = Checked(w + 0.0)
        for k in range(4):
            assert session.run(fetches).value == k
        assert is_direct(session)
        with pytest.raises(ValueError, match=r"^not four$"):
            session.run(fetches)
        assert session.run(fetches).value == 5


def test_nothing_of_a_run_is_kept() -> None:
    x = dg.placeholder(dg.float32, [1000])
    fetches = [x * 2.0, dg.cumsum(x), dg.boolean_mask(x, x > 0.5), dg.unique(x)[0]]
    with dg.Session() as session:
        for _ in range(3):
            a = np.ones(1000, np.float32)
            results = session.run(fetches, {x: a})
            gone = [weakref.ref(v) for v in (a, *results)]
            del a, results
            gc.collect()
            assert [r() for r in gone] == [None] * 5
        assert is_direct(session)


# -- what happens between runs -------------------------------------------------------


def test_variables_may_get_new_memory() -> None:
    w = dg.Variable(np.zeros(2), validate_shape=False)
    size = dg.placeholder(dg.int32, [])
    grow = dg.assign(w, dg.zeros([size], dg.float64), validate_shape=False)
    total = dg.reduce_sum(w + 1.0)
    with dg.Session() as session:
        session.run(w.initializer)
        for n in (2, 2, 2, 5, 5, 5, 3, 3, 3):
            assert session.run(grow, {size: n}).shape == (n,)
            assert session.run(total) == n
        again = session.make_callable(total)
        assert [again() for _ in range(4)] == [3.0] * 4
        assert is_direct(session)


def test_a_larger_plan_may_take_the_arena_away() -> None:
    x = dg.placeholder(dg.float32, [None])
    y = dg.reduce_sum(dg.cumsum(x) * 2.0)
    with dg.Session() as session:
        small = {x: np.ones(4, np.float32)}
        for n in (100, 10_000, 1_000_000):
            for _ in range(3):
                assert session.run(y, small) == 20
            (wide,) = session.run([y], {x: np.ones(n, np.float32)})
            assert wide == pytest.approx(n * (n + 1), rel=1e-3)
        assert len(session._state.arenas._arenas) == 1


def test_effects_happen_once_in_each_run() -> None:
    count = dg.Variable(0.0)
    drawn = dg.random_uniform([2], seed=3)
    step = [count.assign_add(1.0), drawn]
    with dg.Session() as session:
        session.run(count.initializer)
        seen = [session.run(step) for _ in range(6)]
        assert [v for v, _ in seen] == [1, 2, 3, 4, 5, 6]
        assert len({u.tobytes() for _, u in seen}) == 6
        assert is_direct(session)
        session.reset_random()
        _, first = session.run(step)
        assert first.tobytes() == seen[0][1].tobytes()


def test_a_session_that_is_closed_says_so() -> None:
    y = dg.constant(1.0) + 1.0
    session = dg.Session(rewrites=[])
    call = session.make_callable(y)
    assert [call(), call()] == [2.0, 2.0]
    session.close()
    with pytest.raises(SessionClosedError):
        call()
    with pytest.raises(SessionClosedError):
        session.run(y)


# -- errors and warnings -------------------------------------------------------------


@pytest.mark.parametrize("more", [0, 40])
def test_errors_name_the_operation_and_the_arrays(more: int) -> None:
    x = dg.placeholder(dg.int32, [2])
    y = dg.gather(dg.constant([1.0, 2.0]), x, name="picked")
    for _ in range(more):
        y = dg.sin(y)
    with dg.Session(rewrites=["fold"]) as session:
        call = session.make_callable(y, [x])
        for _ in range(3):
            texts = []
            for k in (0, 1, 0):
                call(np.array([k, 1], np.int32))
                with pytest.raises(dg.errors.InvalidArgumentError) as told:
                    call(np.array([5, 1], np.int32))
                texts.append(str(told.value))
            assert len(set(texts)) == 1
            assert '"picked"' in texts[0] and "int32(2,)" in texts[0]


def test_a_failed_run_leaves_the_variables_as_its_steps_left_them() -> None:
    def fail(value: Any) -> Any:
        if value > 2:
            raise ValueError("too much")
        return value

    count = dg.Variable(0.0)
    add = count.assign_add(1.0)
    with dg.control_dependencies([add]):
        y = dg.py_func(fail, [count.read_value()], dg.float32)
    with dg.Session() as session:
        session.run(count.initializer)
        assert [session.run(y), session.run(y)] == [1.0, 2.0]
        assert is_direct(session)
        with pytest.raises(dg.errors.InvalidArgumentError, match="too much"):
            session.run(y)
        assert session.run(count) == 3.0  # it ran once


def test_ending_a_program_in_a_run_gives_everything_back() -> None:
    stop = [False]

    def work(value: Any) -> Any:
        if stop[0]:
            raise KeyboardInterrupt
        return value

    w = dg.Variable(1.0)
    y = dg.py_func(work, [w.read_value()], dg.float32)
    with dg.Session() as session:
        session.run(w.initializer)
        call = session.make_callable(y)
        assert [call(), call()] == [1.0, 1.0]
        stop[0] = True
        with pytest.raises(KeyboardInterrupt):
            call()
        stop[0] = False
        assert [call(), call()] == [1.0, 1.0]
        session.run(w.assign(2.0))  # nobody holds the variables
        assert call() == 2.0


@pytest.mark.parametrize("native", ["off", "wait"])
def test_warnings_are_off_inside_and_as_they_were_outside(native: str) -> None:
    x = dg.placeholder(dg.float32, [3])
    y = dg.log(x) / 0.0 + dg.sqrt(x)
    with dg.Session(config=dg.ConfigProto(native=native)) as session:
        with warnings.catch_warnings(), np.errstate(all="raise"):
            warnings.simplefilter("error")
            before = np.geterr()
            for _ in range(4):
                # A feed that is not contiguous runs in Python in any case.
                session.run(y, {x: np.full(3, -1.0, np.float32)})
                session.run(y, {x: np.full(6, -1.0, np.float32)[::2]})
            assert np.geterr() == before
        assert is_direct(session)


def test_warnings_can_be_turned_off_in_both_ways() -> None:
    before = np.geterr()
    for begin, end in ((quiet.hush, quiet.unhush), (quiet._enter, quiet._leave)):
        token = begin()
        assert set(np.geterr().values()) == {"ignore"}
        end(token)
        assert np.geterr() == before


# -- threads, and runs inside runs ---------------------------------------------------


def test_threads_share_one_callable() -> None:
    x = dg.placeholder(dg.float32, [50])
    w = dg.Variable(np.ones(50, np.float32))
    y = dg.reduce_sum(dg.tanh(x * w) * 2.0)
    with dg.Session() as session:
        session.run(w.initializer)
        call = session.make_callable([y, x + w], [x])
        feeds = [np.full(50, k / 10, np.float32) for k in range(8)]
        wanted = [call(a) for a in feeds]
        wrong: list[Any] = []

        def work(k: int) -> None:
            for _ in range(300):
                got = call(feeds[k])
                if got[0] != wanted[k][0] or (got[1] != wanted[k][1]).any():
                    wrong.append(got)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong


def test_a_run_inside_the_same_run() -> None:
    x = dg.placeholder(dg.float32, [])
    with dg.Session() as session:

        def less(value: Any) -> Any:
            return value if value < 1 else session.run(y, {x: value - 1})

        y = dg.py_func(less, [x * 1.0], dg.float32) + 1.0
        for _ in range(4):
            assert session.run(y, {x: 4.0}) == pytest.approx(5.0)
            assert session.run(y, {x: np.array(4.0, np.float32)}) == pytest.approx(5.0)


def test_a_variable_without_a_value_is_told() -> None:
    w = dg.Variable(1.0)
    with dg.Session() as session:
        for _ in range(3):
            with pytest.raises(FailedPreconditionError, match="initialised"):
                session.run(w)
