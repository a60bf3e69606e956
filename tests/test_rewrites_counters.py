"""Loops in plans that count: rows are scanned, what is set row by row is stacked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import both, same_bits, whats

import dagrad as dg

PASSES = ["fold", "identity", "bodies", "counters", "loops", "dead"]
SCANNED = "an array that is read row by row"
SET = "rows that are set one by one"
HISTORY = "the history of a counter"
SHARED = "a stack of rows that are scanned"


def compare(fetches, feeds, passes=PASSES):
    got, want, plan = both(fetches, feeds, passes)
    for a, b in zip(got, want):
        same_bits(a, b)
    return plan


def bodies(plan):
    """The types of the steps of each body."""
    return [[s.opdef.type for s in p.steps] for p in plan.bodies.values()]


def rows(n, m=3, dtype=np.float32, seed=0):
    values = np.random.default_rng(seed).standard_normal((n, m)).astype(dtype)
    values[:, 0] = np.where(np.arange(n) % 2, -0.0, values[:, 0])
    return values


READS = {
    "x[i]": lambda x, i: x[i],
    "x[i, :]": lambda x, i: x[i, :],
    "x[i, ...]": lambda x, i: x[i, ...],
    "gather": dg.gather,
}


@pytest.mark.parametrize("read", READS)
def test_rows_that_a_counter_reads_are_scanned(read):
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [6, 3])
        _, y = dg.while_loop(
            lambda i, y: i < 6,
            lambda i, y: (i + 1, dg.tanh(y + READS[read](x, i))),
            [0, dg.zeros([3])],
        )
        dx = dg.gradients(y, x)[0]
    plan = compare([y, dx], {x: rows(6)})
    assert {SCANNED, HISTORY, SET} <= whats(plan)
    types = {t for b in bodies(plan) for t in b}
    assert types == {"Add", "Tanh", "TanhGrad"}


def test_arrays_of_tensors_are_stacks():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [5, 3])
        source = dg.TensorArray(dg.float32, 5).unstack(x)
        target = dg.TensorArray(dg.float32, 5)
        _, made = dg.while_loop(
            lambda i, a: i < 5,
            lambda i, a: (i + 1, a.write(i, source.read(4 - i) * 2.0)),
            [dg.constant(0), target],
        )
        y = made.stack()
        dx = dg.gradients(dg.reduce_sum(y * y), x)[0]
    plan = compare([y, dx], {x: rows(5)})
    assert bodies(plan) == [["Mul"], ["Mul"]]


def test_a_stack_of_rows_is_the_array_itself():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, 3])
        _, y, a = dg.while_loop(
            lambda i, *_: i < 4,
            lambda i, y, a: (i + 1, y * x[i], a.write(i, x[i])),
            [0, dg.ones([3]), dg.TensorArray(dg.float32, 4)],
        )
        copy = a.stack()
        dx = dg.gradients([y, copy], x)[0]
    plan = compare([y, copy, dx], {x: rows(4)})
    assert SHARED in whats(plan)


@pytest.mark.parametrize(
    "start, step, n, size",
    [
        (0, 1, 0, 4),
        (0, 1, 1, 4),
        (0, 1, 4, 4),
        (3, -1, 4, 4),
        (1, 2, 3, 9),
        (5, -2, 2, 7),
    ],
)
def test_counters_of_any_step(start, step, n, size):
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [size, 2])
        end = start + n * step
        test = (lambda i, *_: i < end) if step > 0 else (lambda i, *_: i > end)
        i, y, out = dg.while_loop(
            test,
            lambda i, y, out: (i + step, y + x[i], out.write(i, y)),
            [
                start,
                dg.zeros([2], dg.float64),
                dg.TensorArray(dg.float64, size).unstack(x),
            ],
        )
        stacked = out.stack()
        dx = dg.gradients([y, stacked], x)[0]
    plan = compare([i, y, stacked, dx], {x: rows(size, 2, np.float64)})
    assert (SCANNED in whats(plan)) == (n > 0)
    assert (SET in whats(plan)) == (n > 0)


def refused(body, inits, n=4):
    """Check that a loop over ``x`` stays as it is."""
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, 3])
        outs = dg.while_loop(
            lambda i, *_: i < n, lambda i, *s: body(x, i, *s), inits(x)
        )
        outs = [t.stack() if isinstance(t, dg.TensorArray) else t for t in outs]
    plan = compare(outs, {x: rows(4)})
    return whats(plan)


def test_what_stays():
    """Other rows are read too, the step changes, or the row that was just set."""
    grows = refused(
        lambda x, i, y: (i + i + 1, y + x[i]), lambda x: [0, dg.zeros([3])], 2
    )
    assert SCANNED not in grows
    twice = refused(
        lambda x, i, a: (i + 1, a.write(i, a.read(3 - i) + 1.0)),
        lambda x: [0, dg.TensorArray(dg.float32, 4, clear_after_read=False).unstack(x)],
    )
    assert SET not in twice
    after = refused(
        lambda x, i, a, s: (i + 1, b := a.write(i, x[i]), s + b.read(i)),
        lambda x: [0, dg.TensorArray(dg.float32, 4).unstack(x), dg.zeros([3])],
    )
    assert SET not in after
    squared = refused(
        lambda x, i, y: (i + 1, y + x[i * i]), lambda x: [0, dg.zeros([3])], 2
    )
    assert SCANNED not in squared


def test_an_index_out_of_range_still_fails():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, 3])
        _, y = dg.while_loop(
            lambda i, y: i < 6, lambda i, y: (i + 1, y + x[i]), [0, dg.zeros([3])]
        )
    for passes in (None, []):
        with pytest.raises(dg.errors.OpError):
            dg.Session(graph=x.graph, rewrites=passes).run(y, {x: rows(4)})


def test_sizes_that_no_iteration_changes_are_known():
    """With an unknown batch the backward body is planned before the run."""
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, None, 3])
        w = dg.placeholder(dg.float32, [3, 3])
        _, y = dg.while_loop(
            lambda i, y: i < 4,
            lambda i, y: (i + 1, dg.tanh(dg.matmul(y + x[i], w))),
            [0, x[0] * 2.0],
        )
        grads = dg.gradients(y, [x, w])
    feeds = {x: rows(24).reshape(4, 6, 3)[:, :5], w: rows(3)}
    plan = compare([y, *grads], feeds)
    assert {"a stack of known sizes", "rows that are all the same", SET} <= whats(plan)
    assert len(bodies(plan)) == 2
    assert all(None not in s.dims for p in plan.bodies.values() for s in p.slots)


def test_a_row_is_read_before_it_is_set():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, 3])
        _, a = dg.while_loop(
            lambda i, a: i < 4,
            lambda i, a: (i + 1, a.write(i, dg.exp(a.read(i)))),
            [0, dg.TensorArray(dg.float32, 4, clear_after_read=False).unstack(x)],
        )
        y = a.stack()
        dx = dg.gradients(y, x)[0]
        ddx = dg.gradients(dx, x)[0]
    plan = compare([y, dx, ddx], {x: rows(4)})
    assert SET in whats(plan)


def test_scans_that_read_captured_arrays():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, 3])
        z = dg.placeholder(dg.float32, [9, 3])
        (_, s), d = dg.scan(
            lambda a, r: ((a[0][0] + 2, dg.sin(a[0][1] + r * z[a[0][0]])), a[1] - 1),
            x,
            ((dg.constant(1), dg.zeros([3])), dg.constant(7)),
            reverse=True,
        )
        dz, dx = dg.gradients(s, [z, x])
    plan = compare([s, d, dz, dx], {x: rows(4), z: rows(9, seed=1)})
    assert SCANNED in whats(plan)


@st.composite
def loops(draw):
    """A loop over rows of two arrays, its inputs and what is fetched."""
    dtype = draw(st.sampled_from([dg.float32, dg.float64]))
    n = draw(st.integers(0, 6))
    size = n + draw(st.integers(0, 2)) or 1
    scale, back = draw(st.sampled_from([(1, 0), (1, 1), (-1, 0), (2, 0)]))
    read = draw(st.sampled_from(sorted(READS)))
    known = draw(st.booleans())
    maximum = draw(st.sampled_from([None, 3, 9]))
    shapes = [[2], [2, 1]] if read == "x[i, :]" else [[], [2], [2, 1]]
    shape = draw(st.sampled_from(shapes))
    order = draw(st.integers(0, 2))
    told = shape if draw(st.booleans()) else [None] * len(shape)
    with dg.Graph().as_default():
        x = dg.placeholder(dtype, [2 * size, *told])
        w = dg.placeholder(dtype, told)
        bound = n if known else dg.placeholder(dg.int32, [])

        def body(i, h, out):
            at = scale * i + back if scale > 0 else 2 * size - 1 - i
            h = dg.tanh(h * w + READS[read](x, at))
            return i + 1, h, out.write(i, h)

        i, h, out = dg.while_loop(
            lambda i, *_: i < bound,
            body,
            [0, w * 0.5, dg.TensorArray(dtype, 2 * size, element_shape=told)],
            maximum_iterations=maximum,
        )
        fetched = [i, h, out.stack()]
        loss = dg.reduce_sum(h) + dg.reduce_sum(fetched[-1] ** 2)
        for _ in range(order):
            grads = dg.gradients(loss, [x, w])
            fetched += grads
            loss = dg.add_n([dg.reduce_sum(g * g) for g in grads])
    rng = np.random.default_rng(n)
    feeds = {x: rng.standard_normal([2 * size, *shape]), w: rng.standard_normal(shape)}
    feeds = {t: v.astype(dtype.as_numpy_dtype) for t, v in feeds.items()}
    if not known:
        feeds[bound] = n
    return fetched, feeds


@settings(max_examples=40, deadline=None)
@given(loops(), st.sampled_from([PASSES, ["counters"], ["fold", "counters", "loops"]]))
def test_random_loops_are_the_same_to_the_bit(made, passes):
    compare(*made, passes)


@settings(max_examples=15, deadline=None)
@given(loops())
def test_random_loops_run_by_all_ways(made):
    """Interpreter, many runs, a callable, threads, and native code agree."""
    fetched, feeds = made
    graph = fetched[0].graph
    want = dg.Session(graph=graph, rewrites=[]).run(fetched, feeds)
    for native in ("off", "wait"):
        for threads in (0, 2):
            config = dg.ConfigProto(native=native, inter_op_parallelism_threads=threads)
            session = dg.Session(graph=graph, config=config)
            call = session.make_callable(fetched, list(feeds))
            for _ in range(3):
                for got in (session.run(fetched, feeds), call(*feeds.values())):
                    for a, b in zip(got, want):
                        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
