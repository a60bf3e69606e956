"""Stretches of plans that run as tables of NumPy's inner loops."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.graphlib.errors import InvalidArgumentError
from dagrad.runtime.executor import Executable
from dagrad.runtime.interpreter import interpret

pytest.importorskip("llvmlite")

from dagrad.runtime.native import vm, vm_frames, vm_loops, vm_sources

WAIT = dg.ConfigProto(native="wait")


def executables(session: Any) -> list[Executable]:
    """Every plan that a session has run."""
    return [e for r in session._runners.values() for e in r._plans.values()]


def stretches(session: Any) -> int:
    """How many stretches of a session's frames run in the machine."""
    count = 0
    for executable in executables(session):
        for frame in executable._frames:
            for function, _ in frame.instructions:
                if isinstance(function, vm_frames._Stretch):
                    count += 1
            count += len(frame.kept)
    return count


def same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal to the bit."""
    a, b = np.asarray(a), np.asarray(b)
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def agree(
    build: Callable[[], tuple[Any, list[Any]]], values: list[Any], native: bool = True
) -> list[Any]:
    """Run a program in the machine, and hold the results against the interpreter.

    ``build`` returns what is fetched, and the placeholders of ``values``.
    """
    with dg.Graph().as_default():
        fetches, feeds = build()
        session = dg.Session(config=WAIT)
        feed = dict(zip(feeds, values))
        results = session.run(fetches, feed)
        again = session.run(fetches, feed)
        (executable,) = executables(session)
        arrays = [np.asarray(v) for v in values]
        with np.errstate(all="ignore"):
            wanted = interpret(executable.plan, session._state, arrays)
    assert bool(stretches(session)) == native
    for a, b, c in zip(results, again, wanted):
        assert same(a, c)
        assert same(b, c)
    return list(results)


# -- random programs -----------------------------------------------------------------

UNARY = {
    "f": ["neg", "exp", "tanh", "square", "abs", "sqrt", "log", "sigmoid", "relu"],
    "i": ["neg", "square", "abs"],
}
BINARY = {
    "f": ["add", "sub", "mul", "div", "maximum", "minimum", "pow"],
    "i": ["add", "sub", "mul", "maximum", "minimum"],
}
OPS: dict[str, Any] = {
    "neg": dg.negative,
    "exp": dg.exp,
    "tanh": dg.tanh,
    "square": dg.square,
    "abs": dg.abs,
    "sqrt": dg.sqrt,
    "log": dg.log,
    "sigmoid": dg.sigmoid,
    "relu": dg.nn.relu,
    "add": dg.add,
    "sub": dg.subtract,
    "mul": dg.multiply,
    "div": lambda a, b: a / b,
    "maximum": dg.maximum,
    "minimum": dg.minimum,
    "pow": dg.pow,
}
SHAPES = [(), (1,), (3,), (4, 3), (1, 3), (4, 1), (2, 4, 3), (0, 3)]


@st.composite
def programs(draw: Any) -> tuple[str, list[tuple[int, ...]], list[Any], int]:
    """(dtype, shapes of the feeds, operations, seed)."""
    dtype = draw(st.sampled_from(["float32", "float64", "int32", "int64"]))
    kind = dtype[0]
    shapes = draw(st.lists(st.sampled_from(SHAPES[:-1]), min_size=1, max_size=3))
    if draw(st.integers(0, 9)) == 0:
        shapes = [(0, 3)]
    names = [*UNARY[kind], *BINARY[kind], "select", "sum", "max", "transpose", "cast"]
    lines = draw(
        st.lists(
            st.tuples(
                st.sampled_from(names),
                st.integers(0, 50),
                st.integers(0, 50),
                st.integers(0, 3),
            ),
            min_size=3,
            max_size=14,
        )
    )
    return dtype, shapes, lines, draw(st.integers(0, 1 << 16))


def tensor_of(line: Any, made: list[Any]) -> Any:
    """The tensor of one line of a program, None where the shapes do not fit."""
    name, i, j, axis = line
    a, b = made[i % len(made)], made[j % len(made)]
    if name == "transpose":
        return dg.transpose(a)
    if name == "cast":
        return dg.cast(dg.cast(a, dg.float64) * 0.5, a.dtype)
    if name in ("sum", "max"):
        if not a.shape.rank or 0 in a.shape.as_list():
            return None
        reduce = dg.reduce_sum if name == "sum" else dg.reduce_max
        return reduce(a, axis % a.shape.rank)
    if name in ("select", *BINARY["f"], *BINARY["i"]):
        try:
            shape = np.broadcast_shapes(a.shape.as_list(), b.shape.as_list())
        except ValueError:
            return None
        if name == "select":
            a, b = (dg.broadcast_to(t, list(shape)) for t in (a, b))
            return dg.where(a > b, a, b * 2)
        return OPS[name](a, b)
    return OPS[name](a)


@settings(max_examples=60, deadline=None)
@given(programs())
def test_random_programs_give_the_interpreters_bits(program: Any) -> None:
    dtype, shapes, lines, seed = program
    rng = np.random.default_rng(seed)
    values = []
    for shape in shapes:
        value = rng.standard_normal(shape) * 3
        if dtype[0] == "f":
            odd = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42], shape)
            value = np.where(rng.random(shape) < 0.1, odd, value)
        values.append(np.asarray(value).astype(dtype))
    with dg.Graph().as_default():
        feeds = [dg.placeholder(dtype, s) for s in shapes]
        made = list(feeds)
        for line in lines:
            t = tensor_of(line, made)
            if t is not None:
                made.append(t)
        fetches = made[len(feeds) :]
        session = dg.Session(config=WAIT)
        feed = dict(zip(feeds, values))
        results = [session.run(fetches, feed) for _ in range(2)]
        if not fetches:
            return
        (executable,) = executables(session)
        with np.errstate(all="ignore"):
            wanted = interpret(executable.plan, session._state, values)
    for given_back in results:
        for t, a, b in zip(fetches, given_back, wanted):
            assert same(a, b), t


# -- kinds of steps ------------------------------------------------------------------


def test_a_chain_is_one_stretch() -> None:
    def build() -> Any:
        x = dg.placeholder(dg.float32, [100])
        y = x
        for i in range(50):
            y = y * 1.01 if i % 2 else y + 0.5
        return [y], [x]

    agree(build, [np.linspace(0, 1, 100, dtype=np.float32)])


def test_what_reads_a_view_that_python_makes_is_no_reason_for_python() -> None:
    x, i = dg.placeholder(dg.float64, [5, 4]), dg.placeholder(dg.int32, [])
    y = dg.concat([x[i] * 2.0, dg.tanh(x[i] + 1.0)], 0) * 3.0
    with dg.Session(config=WAIT) as session:
        for k in (0, 3, -1, 3):
            value = np.arange(20.0).reshape(5, 4)
            row = value[k]
            wanted = np.concatenate([row * 2, np.tanh(row + 1)]) * 3
            got = session.run(y, {x: value, i: k})
            np.testing.assert_array_equal(got, wanted)
            # The view is dropped with the run that made it.
            gone = weakref.ref(value)
            del value, row
            assert gone() is None
        assert stretches(session) == 1
        with pytest.raises(InvalidArgumentError, match="index 7"):
            session.run(y, {x: np.zeros((5, 4)), i: 7})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("flags", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products(dtype: str, flags: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((8, 5)[:: -1 if flags[0] else 1]).astype(dtype)
    b = rng.standard_normal((5, 6)[:: -1 if flags[1] else 1]).astype(dtype)

    def build() -> Any:
        x, y = (dg.placeholder(dtype, v.shape) for v in (a, b))
        z = dg.matmul(x, y, transpose_a=bool(flags[0]), transpose_b=bool(flags[1]))
        return [dg.tanh(z) + 1], [x, y]

    agree(build, [a, b])


def test_batched_products_and_outer_axes() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((3, 2, 4, 5))
    b = rng.standard_normal((2, 5, 6))

    def build() -> Any:
        x, y = (dg.placeholder(dg.float64, v.shape) for v in (a, b))
        z = dg.matmul(x, y)
        row = dg.transpose(z, [3, 1, 0, 2]) + dg.reduce_sum(z)
        return [row, row * 2 - dg.reduce_max(row, 1, keepdims=True)], [x, y]

    agree(build, [a, b])


@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_reductions(axis: Any, dtype: str) -> None:
    value = (np.random.default_rng(0).standard_normal((7, 9, 33)) * 9).astype(dtype)

    def build() -> Any:
        x = dg.placeholder(dtype, value.shape)
        y = x * 2
        kinds = (dg.reduce_sum, dg.reduce_max, dg.reduce_min, dg.reduce_prod)
        return [f(y, axis) + 1 for f in kinds], [x]

    agree(build, [value])


def test_views_of_feeds_do_not_end_a_stretch() -> None:
    value = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)

    def build() -> Any:
        x = dg.placeholder(dg.float32, value.shape)
        h = dg.zeros([5, 4])
        for t in range(3):
            h = dg.tanh(h * 0.5 + dg.transpose(x[t])) + dg.reduce_sum(x[t, 1:, ::2])
        return [h, dg.gradients(dg.reduce_sum(h), x)[0]], [x]

    agree(build, [value])
    with dg.Graph().as_default():
        (h, _), (x,) = build()
        session = dg.Session(config=WAIT)
        layouts = [value, value[::-1], value.copy(order="F"), value * 2]
        for a in layouts:
            wanted = dg.Session(config=dg.ConfigProto(native="off")).run(h, {x: a})
            assert same(session.run(h, {x: a}), wanted)
        (frame,) = executables(session)[0]._frames
        assert len(frame.instructions) == 1


def test_views_that_python_reads_are_made() -> None:
    value = np.arange(12, dtype=np.float32).reshape(3, 4)

    def build() -> Any:
        x = dg.placeholder(dg.float32, value.shape)
        row = x[1]
        y = dg.tanh(row * 2) + 1
        return [dg.cumsum(row), y, row, dg.gather(row, [0, 2])], [x]

    agree(build, [value])


def training(optimizer: Any, config: Any) -> tuple[list[Any], list[Any], int]:
    """(losses, parameters, stretches) of a few steps of a small network."""
    rng = np.random.default_rng(0)
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [16, 8])
        t = dg.placeholder(dg.float32, [16, 4])
        h, params = x, []
        for m, n in ((8, 16), (16, 16), (16, 4)):
            w = dg.Variable(rng.standard_normal((m, n)).astype(np.float32) * 0.3)
            b = dg.Variable(np.zeros(n, np.float32))
            params += [w, b]
            h = dg.tanh(dg.matmul(h, w) + b)
        loss = dg.reduce_mean(dg.square(h - t))
        step = optimizer().minimize(loss)
        session = dg.Session(config=config)
        session.run(dg.global_variables_initializer())
        feed = {
            x: rng.standard_normal((16, 8)).astype(np.float32),
            t: rng.standard_normal((16, 4)).astype(np.float32),
        }
        losses = [session.run([loss, step], feed)[0] for _ in range(60)]
        return losses, session.run(params), stretches(session)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: dg.train.GradientDescentOptimizer(0.1),
        lambda: dg.train.MomentumOptimizer(0.1, 0.9),
        lambda: dg.train.AdamOptimizer(0.01),
        lambda: dg.train.RMSPropOptimizer(0.01),
    ],
    ids=["sgd", "momentum", "adam", "rmsprop"],
)
def test_training_is_the_same_to_the_bit(optimizer: Any) -> None:
    losses, params, count = training(optimizer, WAIT)
    wanted, others, none = training(optimizer, dg.ConfigProto(native="off"))
    assert count > 0
    assert none == 0
    assert losses == wanted
    assert all(same(a, b) for a, b in zip(params, others))


def test_auto_starts_after_some_runs() -> None:
    assert vm.machine() is not None
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [5])
        y = dg.tanh(x * 2) + 1
        session = dg.Session(config=dg.ConfigProto(native="auto"))
        a = np.arange(5, dtype=np.float32)
        first = session.run(y, {x: a})
        assert not stretches(session)
        for _ in range(200):
            assert same(session.run(y, {x: a}), first)
        assert stretches(session)


def test_loops() -> None:
    def build() -> Any:
        x = dg.placeholder(dg.float32, [6, 4])
        total = dg.scan(lambda h, row: dg.tanh(h * 0.9 + row) * 1.5, x, dg.zeros([4]))
        return [total, dg.gradients(dg.reduce_sum(total), x)[0]], [x]

    value = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    with dg.Graph().as_default():
        fetches, (x,) = build()
        off = dg.Session(config=dg.ConfigProto(native="off"))
        wanted = off.run(fetches, {x: value})
        session = dg.Session(config=WAIT)
        for _ in range(3):
            results = session.run(fetches, {x: value})
            assert all(same(a, b) for a, b in zip(results, wanted))


# -- what changes between runs -------------------------------------------------------


def test_feeds_of_every_layout() -> None:
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [4, 6])
        fetches = [x * 2 + 1, dg.reduce_sum(dg.tanh(x), 0)]
        session = dg.Session(config=WAIT)
        whole = np.random.default_rng(0).standard_normal((8, 12))
        raw = np.zeros(4 * 6 * 8 + 1, np.uint8)
        unaligned = raw[1:].view(np.float64).reshape(4, 6)
        unaligned[...] = whole[:4, :6]
        layouts = [
            whole[:4, :6].copy(),
            whole[::2, ::2],
            whole[4:, :6][::-1],
            whole[:4, :6].copy(order="F"),
            unaligned,
            whole[:1, :1] + np.zeros((4, 6)),
            np.broadcast_to(whole[:1, :6], (4, 6)),
        ]
        for a in [*layouts, *layouts]:
            results = session.run(fetches, {x: a})
            tanh = np.tanh(np.ascontiguousarray(a))
            np.testing.assert_array_equal(results[0], a * 2 + 1)
            np.testing.assert_allclose(results[1], tanh.sum(0), rtol=1e-14)
        assert stretches(session)


def test_feeds_of_every_layout_seen_through_views_that_python_makes() -> None:
    x = dg.placeholder(dg.float32, [4, 5])
    first = dg.broadcast_to(x[:1], [4, 5])  # handed out, so that Python makes it
    total = dg.reduce_sum(dg.square(dg.reduce_sum(first, 1)))
    a = np.arange(20, dtype=np.float32).reshape(4, 5)
    with dg.Session(config=dg.ConfigProto(native="wait")) as session:
        for given in (a, a + 1, np.asfortranarray(a), a[::-1], np.tile(a, 2)[:, ::2]):
            result = session.run([first, total], {x: given})[1]
            assert result == 4 * given[0].sum() ** 2


def test_fetched_arrays_are_the_callers() -> None:
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [5])
        y = x * 2 + 1
        session = dg.Session(config=WAIT)
        kept = [session.run(y, {x: np.full(5, k, np.float32)}) for k in range(5)]
    for k, a in enumerate(kept):
        assert same(a, np.full(5, 2 * k + 1, np.float32))


def test_variables_change_and_move() -> None:
    with dg.Graph().as_default():
        v = dg.Variable(np.ones(3, np.float32), validate_shape=False)
        w = dg.Variable(np.ones(3, np.float32))
        new = dg.placeholder(dg.float32, None)
        move = dg.assign(v, new, validate_shape=False)
        put = dg.assign(w, w * 2 + 1)
        y = dg.tanh(v) * 2 + 1
        z = dg.tanh(w) * 2 + 1
        session = dg.Session(config=WAIT)
        session.run(dg.global_variables_initializer())
        expected = np.ones(3, np.float32)
        for n in (3, 3, 5, 2, 3):
            value = np.arange(n, dtype=np.float32)
            session.run(move, {new: value})
            for _ in range(3):
                # NumPy's tanh may depend on where an element stands in its array.
                assert same(session.run(y), np.tanh(value) * 2 + 1)
                session.run(put)
                expected = expected * 2 + 1
                assert same(session.run(z), np.tanh(expected) * 2 + 1)


def test_steps_that_threads_share_are_tried_too() -> None:
    x = dg.placeholder(dg.float32, [8, 600])
    y = dg.square(x) * x + x
    config = dg.ConfigProto(native="wait", intra_op_parallelism_threads=2)
    a = np.random.default_rng(0).standard_normal((8, 600)).astype(np.float32)
    with dg.Session(config=config) as session:
        for _ in range(3):
            np.testing.assert_array_equal(session.run(y, {x: a}), a * a * a + a)


def test_threads_and_sessions_side_by_side() -> None:
    with dg.Graph().as_default() as graph:
        x = dg.placeholder(dg.float32, [50])
        y = x
        for i in range(30):
            y = dg.tanh(y) + x if i % 2 else y * 1.5
        sessions = [dg.Session(graph, config=WAIT) for _ in range(2)]
        rng = np.random.default_rng(0)
        values = rng.standard_normal((8, 50)).astype(np.float32)
        off = dg.Session(graph, config=dg.ConfigProto(native="off"))
        wanted = [off.run(y, {x: a}) for a in values]
    wrong: list[Any] = []

    def work(k: int) -> None:
        for n in range(100):
            i = (k + n) % 8
            result = sessions[k % 2].run(y, {x: values[i]})
            if not same(result, wanted[i]):
                wrong.append((k, n))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert all(stretches(s) for s in sessions)


def test_floating_point_flags_do_not_reach_later_calls() -> None:
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [5])
        y = dg.log(x) / x * 1e38
        session = dg.Session(config=WAIT)
        session.run(y, {x: np.zeros(5, np.float32)})
        assert stretches(session)
        with np.errstate(all="raise"):
            session.run(y, {x: np.zeros(5, np.float32)})
            assert (np.ones(5) + 1).sum() == 10
            assert np.ones((2, 2)).dot(np.ones((2, 2))).sum() == 8
            assert np.ones(3, np.float32).astype(np.float64).sum() == 3


def test_errors_name_the_operation_where_arrays_do_not_fit() -> None:
    with dg.Graph().as_default():
        v = dg.Variable(np.ones(3, np.float32))
        x = dg.placeholder(dg.float32, [3])
        y = dg.tanh(x + v) * 2
        session = dg.Session(config=WAIT)
        session.run(dg.global_variables_initializer())
        session.run(y, {x: np.ones(3, np.float32)})
        (frame,) = executables(session)[-1]._frames
        (stretch,) = (
            f for f, _ in frame.instructions if isinstance(f, vm_frames._Stretch)
        )

        def fail(*arrays: Any) -> None:
            raise ValueError("no luck")

        stretch.instructions[1] = fail, stretch.instructions[1][1]
        with pytest.raises(dg.errors.DagradError, match="no luck") as caught:
            session.run(y, {x: np.ones(6, np.float32)[::2]})
        assert caught.value.op is not None
        assert caught.value.op.type == "Tanh"


# -- what is left to Python ---------------------------------------------------------


def test_kernels_that_look_at_values_stay_in_python() -> None:
    calls = []

    def mine(a: Any) -> Any:
        calls.append(1)
        return a + 1

    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [3])
        y = dg.py_func(mine, [x * 2], dg.float32, stateful=False)
        z = dg.gather(dg.tanh(x) * 2, [2, 0]) + 1
        session = dg.Session(config=WAIT)
        a = np.arange(3, dtype=np.float32)
        for _ in range(4):
            assert same(session.run(y, {x: a}), a * 2 + 1)
            expected = (np.tanh(a) * 2)[[2, 0]] + 1
            assert same(session.run(z, {x: a}), expected.astype(np.float32))
        assert len(calls) == 4


@pytest.mark.parametrize("size", [1, 5])
def test_kernels_that_choose_by_values_stay_in_python(size: int) -> None:
    # Which formula polygamma takes depends on its first argument.
    def build() -> Any:
        n, x = (dg.placeholder(dg.float32, [size]) for _ in "nx")
        return [dg.polygamma(n, x) + n * 2 - x], [n, x]

    for n in (0, 1, 3):
        order = np.full(size, n, np.float32)
        x = np.linspace(0.5, 2, size).astype(np.float32)
        agree(build, [order, x])


def test_code_that_makes_plain_arrays_is_known() -> None:
    def harmless(x: Any) -> Any:
        return np.tanh(x)

    def losing(x: Any) -> Any:
        return [np.asarray(part) for part in x]

    assert vm_sources.keeps_class(np.add)
    assert vm_sources.keeps_class(partial(harmless, out=3))
    assert not vm_sources.keeps_class(partial(losing, out=3))
    assert not vm_sources.keeps_class(lambda x: losing(harmless(x)))


def test_errors_of_values_are_raised() -> None:
    with dg.Graph().as_default():
        x = dg.placeholder(dg.int32, [3])
        y = (x * 2) // (x - 1) + x * 3
        session = dg.Session(config=WAIT)
        for _ in range(3):
            session.run(y, {x: np.arange(3, 6, dtype=np.int32)})
            with pytest.raises(InvalidArgumentError, match="division by zero"):
                session.run(y, {x: np.arange(3, dtype=np.int32)})


def test_random_numbers_go_on() -> None:
    with dg.Graph().as_default():
        dg.set_random_seed(3)
        y = dg.tanh(dg.random_normal([4]) * 2) + 1
        runs = []
        for native in ("off", "wait"):
            session = dg.Session(config=dg.ConfigProto(native=native))
            runs.append([session.run(y) for _ in range(5)])
    assert all(same(a, b) for a, b in zip(*runs))
    assert not same(runs[0][0], runs[0][1])


def test_loops_are_those_of_the_ufunc() -> None:
    f4, i4 = np.dtype("f4"), np.dtype("i4")
    assert vm.machine() is not None
    assert vm_loops.ufunc_loop(np.add, (f4, f4, f4)) is not None
    assert vm_loops.ufunc_loop(np.add, (f4, f4, i4)) is None
    assert vm_loops.ufunc_loop(np.power, (i4, i4, i4)) is None  # it raises
    assert vm_loops.ufunc_loop(np.add, (np.dtype("O"),) * 3) is None
    assert vm_loops.cast_loop(f4, i4) is None  # C leaves overflow undefined


def test_a_table_that_differs_from_the_ufunc_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subtract = vm_loops.ufunc_loop(np.subtract, (np.dtype("f4"),) * 3)
    found = vm_loops.ufunc_loop

    def wrong(ufunc: Any, dtypes: Any) -> Any:
        return subtract if ufunc is np.add else found(ufunc, dtypes)

    monkeypatch.setattr("dagrad.runtime.native.vm_calls.ufunc_loop", wrong)
    monkeypatch.setattr(vm_frames, "_templates", {})

    def build() -> Any:
        x = dg.placeholder(dg.float32, [7])
        return [x + x * 3 + x], [x]

    agree(build, [np.arange(7, dtype=np.float32)], native=False)


def test_the_choice_is_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="'auto', 'off', 'wait'"):
        dg.Session(config=dg.ConfigProto(native="maybe"))


@pytest.fixture
def no_llvmlite(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which llvmlite cannot be imported."""
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise ImportError('none')\n")
    import os

    yield {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_without_llvmlite_plans_run_in_python(no_llvmlite: dict[str, str]) -> None:
    program = """
import numpy as np, dagrad as dg
x = dg.placeholder(dg.float32, [3])
y = dg.tanh(x * 2) + 1
for native in ("auto", "wait"):
    session = dg.Session(config=dg.ConfigProto(native=native))
    for _ in range(100):
        y_now = session.run(y, {x: np.ones(3, np.float32)})
from dagrad.runtime.native import vm
assert vm.machine() is None
print(y_now.sum() > 5)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=no_llvmlite,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
