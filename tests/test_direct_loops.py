"""Loops whose body has run often iterate as straight Python, with the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_programs import PROGRAMS

import dagrad as tf
from dagrad.runtime import direct_loops

pytestmark = pytest.mark.usefixtures("graph")

X = np.array([0.7, -0.4, 1.1])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many iterations each loop made that ran as straight Python."""
    found: list[int] = []
    plain = direct_loops.Iterations.__call__

    def spied(self: Any, *args: Any) -> int:
        found.append(plain(self, *args))
        return found[-1]

    monkeypatch.setattr(direct_loops.Iterations, "__call__", spied)
    return found


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that says whether loops run so from the first iteration, or never."""

    def to(direct: bool) -> None:
        monkeypatch.setattr(direct_loops, "_PATIENCE", 0 if direct else 1 << 60)

    return to


def agree(fetches: Any, feeds: Any, switch: Any, native: str = "off") -> Any:
    """The results, the same to the bit in either way, in several runs."""
    switch(False)
    config = tf.ConfigProto(native=native)
    want = tf.Session(config=config).run(fetches, feeds)
    switch(True)
    session = tf.Session(config=config)
    for _ in range(3):
        got = session.run(fetches, feeds)
        for a, b in zip(got, want):
            assert type(a) is type(b)
            assert a.tobytes() == b.tobytes()
        for value in got:
            if isinstance(value, np.ndarray):
                value[...] = -1  # it is the caller's
    return want


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("dims", [[3], [None]], ids=["known", "unknown"])
def test_programs_give_the_same_bits(program: Any, dims: Any, switch: Any) -> None:
    x = tf.placeholder(tf.float64, dims)
    y = program(tf, x)
    (g,) = tf.gradients(y, [x])
    fetches = [y, g, *tf.jvp([y], [x], [tf.sin(x)]), *tf.gradients(g, [x])]
    agree([f for f in fetches if f is not None], {x: X}, switch)


@pytest.mark.parametrize("native", ["off", "wait"])
def test_every_way_to_keep_results(native: str, switch: Any, calls: list[int]) -> None:
    x = tf.placeholder(tf.float64, [3])
    rows = tf.stack([x, x * 2.0, x + 1.0])
    # Carries: a counter, two that change places, one that stays, one that is a view.
    _, a, b, same, view = tf.while_loop(
        lambda i, *_: i < 7,
        lambda i, a, b, s, v: (i + 1, b + tf.sin(s), a, s, a[::-1]),
        [0, x, x * 3.0, x, x],
    )
    forward = tf.scan(lambda h, r: tf.tanh(h + r), rows, x)
    backward = tf.scan(lambda h, r: (h[1] * 0.5, h[0] + r), rows, (x, x), reverse=True)
    mapped = tf.map_fn(lambda r: (r * x, tf.reduce_sum(r)), rows, (tf.float64,) * 2)
    numbers = tf.foldl(lambda s, n: s + n, tf.constant([1.0, 2.0, 4.0]), 0.0)
    fetches = [a, b, same, view, forward, *backward, *mapped, numbers]
    kept = tf.map_fn(lambda r: r, rows)  # a body without instructions
    total = tf.add_n([tf.reduce_sum(tf.cast(f, tf.float64) ** 2) for f in fetches])
    agree([*fetches, kept, *tf.gradients(total, [x])], {x: X}, switch, native)
    assert len(calls) > 10 and {3, 7} <= set(calls)


@pytest.mark.parametrize("native", ["off", "wait"])
def test_stacks_grow_while_the_loop_runs(
    native: str, switch: Any, calls: list[int]
) -> None:
    x, steps = tf.placeholder(tf.float64, [3]), tf.placeholder(tf.int32, [])
    _, h = tf.while_loop(
        lambda i, h: i < steps,
        lambda i, h: (i + 1, tf.sin(h) + x * 0.1),
        [0, x],
    )
    fetches = [h, *tf.gradients(h, [x])]
    for n in (0, 1, 1000, 3, 1500):
        agree(fetches, {x: X, steps: n}, switch, native)
    assert {1, 1000, 3, 1500} <= set(calls)


def test_they_start_after_enough_iterations(calls: list[int]) -> None:
    x = tf.placeholder(tf.float64, [3])
    y = tf.foldl(lambda h, r: h * 0.5 + r, tf.zeros([direct_loops._PATIENCE]), x)
    session = tf.Session()
    first = session.run(y, {x: X})
    assert not calls
    np.testing.assert_array_equal(session.run(y, {x: X}), first)
    assert calls == [direct_loops._PATIENCE]


def test_a_failing_iteration_tells_the_same(switch: Any, calls: list[int]) -> None:
    x = tf.placeholder(tf.int32, [4])
    table = tf.constant([1.0, 2.0, 3.0])
    y = tf.foldl(lambda s, i: s + tf.gather(table, i, name="picked"), x, 0.0)
    told = []
    for direct in (False, True):
        switch(direct)
        session = tf.Session()
        for _ in range(2):
            assert session.run(y, {x: [0, 1, 2, 0]}) == 7.0
            with pytest.raises(tf.errors.InvalidArgumentError) as error:
                session.run(y, {x: [0, 1, 5, 0]})
            told.append(str(error.value))
    assert '/picked"' in told[0] and len(set(told)) == 1
    assert calls


def test_effects_in_the_body_happen_once_each(switch: Any) -> None:
    seen: list[float] = []

    def note(value: Any) -> Any:
        seen.append(float(value))
        return value

    x = tf.placeholder(tf.float64, [])
    rows = tf.ones([3], tf.float64)
    y = tf.foldl(lambda s, r: tf.py_func(note, [s + r], tf.float64), rows, x)
    switch(True)
    session = tf.Session()
    for _ in range(2):
        assert session.run(y, {x: 1.0}) == 4.0
    assert seen == [2.0, 3.0, 4.0] * 2


# -- iterations in the machine ---------------------------------------------------------


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many iterations the machine made, each time that it was asked to."""
    pytest.importorskip("llvmlite")
    from dagrad.runtime.native.vm_turns import Turns

    found: list[int] = []
    plain = Turns.__call__

    def spied(self: Any, t: int, stop: int) -> int:
        end = plain(self, t, stop)
        found.append(end - t)
        return end

    monkeypatch.setattr(Turns, "__call__", spied)
    return found


def test_the_machine_makes_the_iterations(switch: Any, turns: list[int]) -> None:
    x, n = tf.placeholder(tf.float64, [3]), tf.placeholder(tf.int32, [])
    rows = tf.placeholder(tf.float64, [None, 3])

    def cell(h: Any, r: Any) -> Any:
        return tf.tanh(h * r) + x * 0.5

    forward = tf.scan(cell, rows, x)
    backward = tf.foldr(cell, rows, x)
    _, tested = tf.while_loop(
        lambda i, h: tf.logical_and(i < n, tf.reduce_sum(h) < 2.5),
        lambda i, h: (i + 1, tf.sin(h) + x * 0.25),
        [0, x],
    )
    fetches = [forward, backward, tested, *tf.gradients(tested, [x])]
    values = np.random.default_rng(0).standard_normal((9, 3))
    agree(fetches, {x: X, rows: values, n: 20}, switch, "wait")
    assert turns.count(9) >= 6  # two loops, three runs
    turns.clear()
    # Rows that no table can have: Python makes all iterations.
    agree(fetches[:2], {x: X, rows: values[::2], n: 0}, switch, "wait")
    assert not turns
    agree(fetches[:2], {x: X, rows: np.asfortranarray(values), n: 0}, switch, "wait")
    agree(fetches[2:], {x: X * 0.5, rows: values, n: 7}, switch, "wait")
    agree(fetches[:2], {x: X, rows: values[:1], n: 1}, switch, "wait")


def test_the_first_turn_reads_what_comes_in(switch: Any, turns: list[int]) -> None:
    """A carry that alternates between two buffers starts from somebody else's array."""
    x, w = tf.placeholder(tf.float64, [2, 3]), tf.placeholder(tf.float64, [3, 3])
    rows = tf.placeholder(tf.float64, [None, 2, 3])
    y = tf.foldl(lambda h, r: tf.matmul(h, w) + r * h[:1], rows, x)
    rng = np.random.default_rng(0)
    w_value, values = rng.standard_normal((3, 3)), rng.standard_normal((9, 2, 3))
    agree([y], {x: np.ones((2, 3)), w: w_value, rows: values}, switch, "wait")
    assert turns.count(1) >= 3
    assert turns.count(8) >= 3
    turns.clear()
    # A first state that no table can have: Python makes one iteration.
    odd = np.asfortranarray(np.ones((2, 3)))
    agree([y], {x: odd, w: w_value, rows: values}, switch, "wait")
    assert turns.count(8) >= 3


def test_long_loops_let_python_look_now_and_then(
    switch: Any, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagrad.runtime.native import vm_turns

    monkeypatch.setattr(vm_turns, "_AT_ONCE", 64)
    x = tf.placeholder(tf.float64, [3])
    y = tf.foldl(lambda h, r: tf.sin(h) * r + x, tf.ones([40], tf.float64), x)
    agree([y, *tf.gradients(y, [x])], {x: X}, switch, "wait")
    assert len(turns) > 6 and max(turns) < 20
