"""TensorArrays: in and around loops, and their derivatives.

What the methods give is compared with TensorFlow in ``test_tf1_values``; here, loops
are compared with the same program written out, and their plans are looked at.
"""

from __future__ import annotations

import numpy as np
import pytest
from array_programs import array, repeat, value
from hypothesis import given, settings
from hypothesis import strategies as st

import dagrad as dg
from dagrad.runtime.body_plans import BodyKey, donated_carries, plan_body
from dagrad.runtime.plan import SAME
from dagrad.runtime.settings import Settings

pytestmark = pytest.mark.usefixtures("graph")


def derivatives(y, x, order):
    """d^k/dx^k of a weighted sum, for k up to ``order``, in both modes."""
    found = []
    for k in range(order):
        weights = np.cos(np.arange(1.0, 1 + np.prod(y.shape.as_list() or [1])) + k)
        weighed = dg.reduce_sum(dg.reshape(y, [-1]) * weights)
        (pushed,) = dg.jvp([weighed], [x], [dg.ones_like(x)])
        (y,) = dg.gradients(weighed, x)
        found += [y, pushed]
    return found


def agree(build, x, order=3):
    """``build(loop, x)`` gives the same with a loop as without: values, derivatives."""
    t = dg.constant(x)
    a, b = build(True, t), build(False, t)
    mine = [a, *derivatives(a, t, order)]
    wanted = [b, *derivatives(b, t, order)]
    for got, want in zip(*value([mine, wanted]), strict=True):
        np.testing.assert_allclose(got, want, 1e-9, 1e-9)


X = np.array([0.3, -0.8, 1.1])


# -- derivatives ----------------------------------------------------------------


def test_writes_in_a_loop():
    def build(loop, x):
        if loop:

            def step(i, h, ta):
                return (dg.sin(h * x), ta.write(i, h * h))

            return repeat(4, step, x, array(4))[1].stack()
        rows, h = [], x
        for _ in range(4):
            rows.append(h * h)
            h = dg.sin(h * x)
        return dg.stack(rows)

    agree(build, X)


def test_reads_of_an_array_around_the_loop():
    def build(loop, x):
        if loop:
            rows = array(3, x)

            def step(i, h):
                return (dg.sin(h) * rows.read(i) + rows.read(0),)

            return repeat(3, step, dg.constant(1.0, dg.float64))[0]
        h = dg.constant(1.0, dg.float64)
        for i in range(3):
            h = dg.sin(h) * x[i] + x[0]
        return h

    agree(build, X)


def test_reads_of_what_earlier_iterations_wrote():
    def build(loop, x):
        if loop:
            start = array(5).write(0, x).write(1, x * x)

            def step(i, ta):
                return (ta.write(i + 2, dg.sin(ta.read(i)) * ta.read(i + 1)),)

            return repeat(3, step, start)[0].stack()
        rows = [x, x * x]
        for i in range(3):
            rows.append(dg.sin(rows[i]) * rows[i + 1])
        return dg.stack(rows)

    agree(build, X)


def test_an_element_that_is_written_again():
    def build(loop, x):
        if loop:

            def step(i, ta):
                return (ta.write(0, dg.sin(ta.read(0)) * x),)

            return repeat(3, step, array(2).write(0, x).write(1, x))[0].stack()
        h = x
        for _ in range(3):
            h = dg.sin(h) * x
        return dg.stack([h, x])

    agree(build, X)


def test_a_whole_array_that_is_read_in_the_loop():
    def build(loop, x):
        if loop:

            def step(i, ta):
                return (ta.write(i, x * (1.0 + dg.reduce_sum(dg.square(ta.stack())))),)

            return repeat(3, step, array(3, element_shape=[3]))[0].stack()
        rows = []
        for _ in range(3):
            total = dg.add_n([dg.reduce_sum(dg.square(r)) for r in rows] or [x[0] * 0])
            rows.append(x * (1.0 + total))
        return dg.stack(rows)

    agree(build, 0.3 * X, order=2)


def test_an_array_in_nested_loops():
    def build(loop, x):
        if loop:

            def outer(i, ta):
                def inner(j, ta):
                    return (ta.write(2 * i + j, dg.sin(x * dg.to_double(i + 2 * j))),)

                return repeat(2, inner, ta)

            return repeat(3, outer, array(6))[0].stack()
        return dg.stack([dg.sin(x * (i + 2.0 * j)) for i in range(3) for j in range(2)])

    agree(build, X)


def test_an_array_of_its_own_in_each_iteration():
    def build(loop, x):
        if loop:

            def outer(i, h):
                def inner(j, ta):
                    return (ta.write(j, h * dg.to_double(j)),)

                (ta,) = repeat(i + 1, inner, array(i + 1))
                return (dg.sin(dg.reduce_sum(ta.stack(), 0) + x),)

            return repeat(3, outer, x)[0]
        h = x
        for i in range(3):
            h = dg.sin(h * sum(range(i + 1)) + x)
        return h

    agree(build, X)


def test_an_array_that_grows():
    def build(loop, x):
        if loop:
            ta = array(0, dynamic_size=True)

            def step(i, h, ta):
                return (dg.sin(h * x), ta.write(i, h))

            y = repeat(5, step, x, ta)[1].stack()
            y.set_shape([5, 3])
            return y
        rows, h = [], x
        for _ in range(5):
            rows.append(h)
            h = dg.sin(h * x)
        return dg.stack(rows)

    agree(build, X, order=2)


def test_pieces_of_different_lengths():
    def build(loop, x):
        if loop:
            ta = array(3, infer_shape=False).split(x, [2, 0, 4])

            def step(i, s):
                return (s + dg.reduce_sum(dg.sin(ta.read(i))) * dg.to_double(i + 1),)

            total = repeat(3, step, dg.constant(0.0, dg.float64))[0]
            return total + dg.reduce_sum(ta.concat() ** 3.0)
        weights = np.array([1.0, 1.0, 3.0, 3.0, 3.0, 3.0])
        return dg.reduce_sum(dg.sin(x) * weights + x**3.0)

    agree(build, np.array([0.3, -0.8, 1.1, 0.2, -0.4, 0.9]))


@pytest.mark.parametrize("every", [2, [4, 2]])
def test_checkpoints(every):
    x = dg.constant(X)
    found = []
    for k in (None, every):
        _, _, ta = dg.while_loop(
            lambda i, *_: i < 7,
            lambda i, h, ta: (i + 1, dg.sin(h * x), ta.write(i, h)),
            (0, x, array(7)),
            checkpoint_every=k,
        )
        found.append(dg.gradients(dg.square(ta.stack()), x)[0])
    a, b = value(found)
    np.testing.assert_allclose(a, b, 1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=12))
def test_any_order_of_writes_and_reads(program):
    with dg.Graph().as_default():
        x = dg.constant(0.7, dg.float64)
        ta, rows, h = array(4, np.ones(4)), [dg.ones([], dg.float64)] * 4, x
        mine = x
        for write, i in program:
            if write:
                ta, rows[i] = ta.write(i, mine), h
            else:
                mine, h = dg.sin(mine) * ta.read(i), dg.sin(h) * rows[i]
        y, want = [dg.reduce_sum(r) + t for r, t in ((ta.stack(), mine), (rows, h))]
        a, b = value([[v, *dg.gradients(v, x)] for v in (y, want)])
        np.testing.assert_allclose(a, b, 1e-12)


STEPS = st.tuples(
    st.sampled_from(["write", "read", "read_in", "both"]), st.integers(-2, 2)
)


@settings(max_examples=12)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=5),
    count=st.integers(1, 4),
    element=st.sampled_from([(), (2,)]),
    dynamic=st.booleans(),
    around=st.booleans(),
)
def test_random_loops(steps, count, element, dynamic, around):
    """Any writes and reads of two arrays in an iteration; ``around``: the array that is
    only read is a loop variable."""
    m = count + 2

    def iteration(i, h, read_in, read, write):
        for what, k in steps:
            if what == "write":
                write(i + k, h)
            elif what == "read":
                h = dg.sin(h) + read(i + k) * h
            elif what == "read_in":
                h = h * read_in(i + k)
            else:
                h = h + read(i + k) * read_in(i)
        return h

    def written_out(x):
        rows, h = [0.5 * x[k] for k in range(m)], x[0]

        def at(k):
            return min(max(k, 0), m - 1)

        for i in range(count):
            h = iteration(
                i,
                h,
                lambda k: x[at(k)],
                lambda k: rows[at(k)],
                lambda k, v: rows.__setitem__(at(k), v),
            )
        return dg.sin(dg.stack(rows)) + dg.sin(h)

    def looped(x):
        fixed = array(m, x)
        start = array(0, dynamic_size=True) if dynamic else array(m)
        for k in range(m):
            start = start.write(k, 0.5 * x[k])

        def at(k):
            return dg.minimum(dg.maximum(k, 0), m - 1)

        def body(i, h, given, outs):
            kept = [outs]
            ins = given if around else fixed
            h = iteration(
                i,
                h,
                lambda k: ins.read(at(k)),
                lambda k: kept[-1].read(at(k)),
                lambda k, v: kept.append(kept[-1].write(at(k), v)),
            )
            return h, given, kept[-1]

        h, _, outs = repeat(count, body, x[0], fixed, start)
        y = dg.sin(outs.stack()) + dg.sin(h)
        y.set_shape((m, *element))
        return y

    numbers = np.sin(np.arange(m * np.prod(element, initial=1.0)))
    with dg.Graph().as_default():
        agree(
            lambda loop, x: looped(x) if loop else written_out(x),
            numbers.reshape(m, *element),
            order=2,
        )


# -- shapes that are known late, or never ------------------------------------------


@pytest.mark.parametrize("dims", [[None], None])
@pytest.mark.parametrize("dynamic", [False, True])
def test_rows_whose_shape_a_run_tells(dims, dynamic):
    x = dg.placeholder(dg.float64, dims)
    n = dg.placeholder(dg.int32, [])
    ta = array(0, dynamic_size=True) if dynamic else array(n)
    _, ta = repeat(n, lambda i, h, ta: (dg.sin(h), ta.write(i, h)), x, ta)
    y = ta.stack()
    (g,) = dg.gradients(y, x)
    (g2,) = dg.gradients(g, x)
    session = dg.Session()
    for size in (3, 2, 5):
        got = session.run([y, g, g2], {x: np.full(size, 0.5), n: 3})
        s = np.sin(0.5)
        np.testing.assert_allclose(got[0], np.tile([[0.5], [s], [np.sin(s)]], size))
        first, second = np.cos(0.5), np.cos(s) * np.cos(0.5)
        np.testing.assert_allclose(got[1], np.full(size, 1 + first + second))
        want = -s - np.sin(s) * np.cos(0.5) ** 2 - np.cos(s) * s
        np.testing.assert_allclose(got[2], np.full(size, want))


def test_no_iteration_at_all():
    x = dg.placeholder(dg.float64, [None, 2])
    h, ta = repeat(0, lambda i, h, ta: (dg.sin(h), ta.write(i, h)), x, array(3))
    y, (g,) = ta.stack(), dg.gradients([ta.stack(), h], x)
    rows, slope = value([y, g], {x: np.ones((1, 2))})
    assert rows.size == 0
    np.testing.assert_array_equal(slope, np.ones((1, 2)))


def test_static_shapes():
    x = dg.constant(X)
    (ta,) = repeat(4, lambda i, ta: (ta.write(i, x),), array(4))
    assert ta.stack().shape == [4, 3]
    assert ta.read(0).shape == [3]
    assert ta.element_shape == [3]
    assert ta.gather([0, 1]).shape == [2, 3]
    assert ta.concat().shape == [12]
    assert ta.size().value == 4
    partly = dg.placeholder(dg.float64, [None, 2])
    (ta,) = repeat(4, lambda i, ta: (ta.write(i, partly),), array(4))
    assert ta.stack().shape.as_list() == [4, None, 2]


def test_rows_that_turn_out_to_vary():
    """The first trace sees rows of shape (1,), the second learns that they vary."""
    x = dg.ones([1], dg.float64)

    def step(i, h, ta):
        return (
            dg.concat([h, h], 0),
            ta.write(i, dg.reduce_sum(h, keepdims=True)),
        )

    h, ta = repeat(3, step, x, array(3))
    np.testing.assert_array_equal(value(ta.stack()), [[1.0], [2.0], [4.0]])
    np.testing.assert_array_equal(value(dg.shape(h)), [8])


def test_a_fed_index_and_size():
    i, n = (dg.placeholder(dg.int64, []) for _ in range(2))
    y = array(n).write(i, X).stack()
    for size, at in ((2, 1), (4, 0)):
        want = np.zeros((size, 3))
        want[at] = X
        np.testing.assert_array_equal(value(y, {i: at, n: size}), want)


def test_unstack_of_unknown_length():
    x = dg.placeholder(dg.float64, [None])
    ta = array(dg.shape(x)[0], x)
    y = ta.stack() * dg.to_double(ta.size())
    (g,) = dg.gradients(y, x)
    np.testing.assert_array_equal(value([y, g], {x: [1.0, 2.0]}), [[2, 4], [2, 2]])
    fixed = array(3, x).stack()
    with pytest.raises(dg.errors.InvalidArgumentError, match=r"2 rows .* of size 3"):
        value(fixed, {x: [1.0, 2.0]})


def test_fewer_rows_than_elements():
    ta = array(3, element_shape=[])
    np.testing.assert_array_equal(value(ta.unstack([1.0, 2.0]).stack()), [1, 2, 0])


# -- what it costs -----------------------------------------------------------------


def loops(graph):
    return [op for op in graph.get_operations() if op.type == "Loop"]


def touched(op, count):
    """Of each step of a loop's body that makes an array of that many rows: its type,
    and whether in memory that is there."""
    body = op._attrs["body"]
    key = BodyKey(body, donated_carries(op._attrs), tuple(t.dims for t in body.inputs))
    plan = plan_body(key, Settings())
    found = []
    for step in plan.steps:
        for slot in (plan.slots[s] for s in step.outputs):
            if slot.dims and slot.dims[0] == count:
                found.append((step.opdef.type, slot.kind == SAME))
    return found


N = 1000


@pytest.mark.parametrize("order", [1, 2])
def test_an_iteration_never_copies_the_array(graph, order):
    """Reads and writes, forward and backward, work on rows of memory that is there."""
    x = dg.constant(np.ones((N, 3)))
    ins = array(N, x)
    start = (x[0], ins, array(N).write(0, x[0]))

    def step(i, h, carried, outs):
        before = outs.read(dg.maximum(i - 1, 0))
        h = dg.sin(h) * ins.read(i) + carried.read(i) + before
        return h, carried, outs.write(i, h)

    y = repeat(N, step, *start)[2].stack()
    for _ in range(order):
        (y,) = dg.gradients(dg.square(y), x)
    steps = [touched(op, N) for op in loops(graph)]
    assert len(steps) >= 2 * order
    assert {step for each in steps for step in each} == {
        ("SetRows", True),
        ("AddRows", True),
    }


def test_the_gradient_keeps_rows_only(graph):
    """No output of a loop is an array for each iteration."""
    x = dg.constant(np.ones((N, 3)))

    def step(i, h, ta):
        return (dg.sin(h) + x[i], ta.write(i, h * h))

    y = repeat(N, step, x[0], array(N))[1].stack()
    dg.gradients(dg.square(y), x)
    kept = [t.dims for op in loops(graph) for t in op.outputs]
    assert len(kept) > 8
    assert all(len(dims) <= 2 for dims in kept)


def test_arrays_with_late_shapes_are_written_in_place_too(monkeypatch):
    """The shape is settled before the first iteration: no iteration is planned anew."""
    from dagrad.runtime import control

    def fail(*args):
        raise AssertionError("an iteration was run on its own")

    monkeypatch.setattr(control.Loop, "_freely", fail)
    x = dg.placeholder(dg.float64, [None])
    y = repeat(5, lambda i, h, ta: (h * x, ta.write(i, h)), x, array(5))[1].stack()
    (g,) = dg.gradients(y, x)
    (t,) = dg.jvp([y], [x], [x])
    rows, slope, tangent = value([y, g, t], {x: [2.0]})
    np.testing.assert_array_equal(rows, [[2], [4], [8], [16], [32]])
    np.testing.assert_array_equal(slope, [1 + 4 + 12 + 32 + 80])
    np.testing.assert_array_equal(tangent, [[2], [8], [24], [64], [160]])
