"""Fused elementwise operations: which are fused, and that nothing else changes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_programs import programs, reference

import dagrad as dg
from dagrad.runtime import fused, fusion

SHAPES = [(), (1,), (7,), (1, 1), (3, 5), (1, 6, 1), (2, 3, 4), (33, 17), (400,)]


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch):
    """Groups of any size, and tiles so small that there are many."""
    monkeypatch.setattr(fusion, "NATIVE_SIZE", 1)
    monkeypatch.setattr(fusion, "TILED_BYTES", 1)
    monkeypatch.setattr(fused, "TILE_BYTES", 256)


def fused_steps(plan):
    return [s for s in plan.steps if s.opdef.type == "_Fused"]


def same(results, expected):
    for a, b in zip(results, expected):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# -- results --------------------------------------------------------


@settings(max_examples=200)
@given(programs(SHAPES))
def test_tiles_give_the_bits_of_single_operations(program):
    graph, fetches, feeds = program
    session = dg.Session(graph=graph, config=dg.ConfigProto(native="off"))
    expected = reference(graph, fetches, feeds)
    for _ in range(2):
        same(session.run(fetches, feeds), expected)
    traced = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)
    same(session.run(fetches, feeds, options=traced), expected)


def test_a_tail_that_fills_no_tile():
    x = dg.placeholder(dg.float32, [None])
    y = dg.sigmoid(x) * x - dg.tanh(x)
    for n in (1, 63, 64, 65, 127, 128, 130):
        a = np.linspace(-3, 3, n, dtype=np.float32)
        (step,) = fused_steps(dg.Session().plan(y, {x: a}))
        assert step.what == "fused: Sigmoid, Mul, Tanh, Sub"
        same([dg.Session().run(y, {x: a})], [reference(x.graph, y, {x: a})])


@pytest.mark.parametrize("shape", [(1000,), (50, 20), (1, 1000), (10, 1, 100)])
def test_gradients_of_means_take_no_copies_of_what_is_repeated(shape, monkeypatch):
    x = dg.placeholder(dg.float32, shape)
    (slope,) = dg.gradients(dg.reduce_mean(dg.tanh(x) * dg.sigmoid(x)), [x])
    a = np.linspace(-3, 3, 1000, dtype=np.float32).reshape(shape)
    seen = []
    old = fused._line
    monkeypatch.setattr(
        fused, "_line", lambda a: seen.append((a, old(a))) or seen[-1][1]
    )
    session = dg.Session(config=dg.ConfigProto(native="off"))
    (step,) = fused_steps(session.plan(slope, {x: a}))
    assert len(step.inputs) == 2  # x, and 1/1000 repeated
    same([session.run(slope, {x: a})], [reference(x.graph, slope, {x: a})])
    repeated = [pair for pair in seen if not any(pair[0].strides)]
    assert repeated
    for whole, line in repeated:
        assert line.shape == (1000,)
        assert np.shares_memory(whole, line)


def test_arrays_with_gaps_are_read_in_order():
    x = dg.placeholder(dg.float32, [20, 50])
    y = dg.tanh(x) * x + 1.0
    whole = np.arange(4000, dtype=np.float32).reshape(40, 100)[::2, ::2] / 4000
    for a in (whole, whole[:, ::-1], np.broadcast_to(whole[:1], (20, 50))):
        same([dg.Session().run(y, {x: a})], [reference(x.graph, y, {x: a})])


def test_scratch_of_a_kernel_that_reads_one_row():
    x = dg.placeholder(dg.float32, [40, 30])
    row = dg.placeholder(dg.float32, [30])
    y = dg.math.divide_no_nan(x * 2.0, row) + 1.0
    a = np.linspace(-3, 3, 1200, dtype=np.float32).reshape(40, 30)
    feeds = {x: a, row: np.arange(30, dtype=np.float32)}
    assert fused_steps(dg.Session().plan(y, feeds))
    same([dg.Session().run(y, feeds)], [reference(x.graph, y, feeds)])


def test_an_output_may_take_over_an_input_of_its_group():
    x = dg.placeholder(dg.float32, [16, 16])
    y = dg.matmul(x, x)
    z = dg.matmul(dg.nn.relu(y) * 2.0 + dg.square(y), x)
    plan = dg.Session().plan(z, {x: None})
    (step,) = fused_steps(plan)
    assert step.takes_over
    a = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    same([dg.Session().run(z, {x: a})], [reference(x.graph, z, {x: a})])


def test_intermediate_results_need_no_memory():
    x = dg.placeholder(dg.float32, [1000, 1000])
    y = x
    for _ in range(10):
        y = y * x + 1.0
    plan = dg.Session().plan(y, {x: None})
    assert plan.peak_bytes < plan.fetch_bytes + 64 * 1024
    assert dg.Session(rewrites=()).plan(y, {x: None}).peak_bytes > 1.9e6


# -- groups ------------------------------------------------------


def test_no_path_leads_out_of_a_group_and_back():
    x = dg.placeholder(dg.float32, [8, 8])
    a = x * 2.0 + 1.0
    b = dg.matmul(a, x)
    y = a * b - x
    plan = dg.Session().plan(y, {x: None})
    kinds = [s.what for s in plan.steps]
    assert kinds == ["fused: Mul, Add", "MatMul", "fused: Mul, Sub"]


def test_fetched_intermediates_are_outputs():
    x = dg.placeholder(dg.float32, [64])
    a = x * 2.0
    b = dg.exp(a)
    c = b - x
    (step,) = fused_steps(dg.Session().plan([c, a], {x: None}))
    assert len(step.outputs) == 2


def test_effects_and_control_edges_are_not_crossed():
    v = dg.Variable(np.ones(64, np.float32))
    before = v * 2.0 + 1.0
    with dg.control_dependencies([before]):
        write = dg.assign_add(v, np.ones(64, np.float32))
    after = write * 3.0 - before
    with dg.Session() as session:
        session.run(dg.global_variables_initializer())
        got = session.run([before, after])
        same(got, [np.full(64, 3, np.float32), np.full(64, 3, np.float32)])
        same([session.run(before)], [np.full(64, 5, np.float32)])


def test_a_sum_on_arrival_holds_two_terms_only():
    x = dg.placeholder(dg.float32, [64, 64])
    total = dg.matmul(x, x)
    for k in range(6):
        total = total + dg.matmul(x, x * float(k + 2))
    plans = [
        dg.Session(rewrites=r).plan(total, {x: None}) for r in (None, ("fuse",), ())
    ]
    assert plans[0].peak_bytes <= plans[2].peak_bytes + 8192
    assert plans[1].peak_bytes <= plans[2].peak_bytes + 8192


def test_masks_are_kept_for_the_backward_pass_not_what_they_are_of():
    x = dg.placeholder(dg.float32, [64, 64])
    h = x
    for i in range(40):
        h = dg.matmul(h, x) if i % 5 == 4 else dg.maximum(h, x) * 0.5
    fetches = [h, *dg.gradients(h, [x])]
    fused_plan, plain = (
        dg.Session(rewrites=r).plan(fetches, {x: None})
        for r in (None, ("fold", "sums"))
    )
    assert len(fused_plan.steps) < 0.5 * len(plain.steps)
    assert fused_plan.peak_bytes <= 1.1 * plain.peak_bytes
    a = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    same(dg.Session().run(fetches, {x: a}), reference(x.graph, fetches, {x: a}))


@pytest.mark.parametrize("native", ["off", "auto"])
def test_forward_mode_keeps_the_same_few_arrays_for_any_length(native):
    """The values of a chain are made first, their tangents read them one by one: a
    group of values only would hold all of them until it ends."""
    size = 2**21  # float32: 8 MiB
    peaks = []
    for length in (30, 90):
        with dg.Graph().as_default():
            x, t = (dg.placeholder(dg.float32, [size]) for _ in range(2))
            y = x
            for _ in range(length):
                y = dg.sin(y)
            session = dg.Session(config=dg.ConfigProto(native=native))
            feeds = {v: np.empty(size, np.float32) for v in (x, t)}
            plan = session.plan(dg.jvp([y], [x], [t]), feeds)
        peaks.append(plan.peak_bytes / (4 * size))
    assert max(peaks) < 5


def test_groups_do_not_wait_for_each_other():
    # b1 needs a1, a2 needs b2: {a1, a2} and {b1, b2} would each be convex.
    x = dg.placeholder(dg.float32, [8, 8])
    c = dg.placeholder(dg.float32, [8, 8])
    a1 = x * 2.0
    b2 = c * 3.0
    a2 = dg.reshape(dg.reverse(b2, [0]), [8, 8]) - a1
    b1 = dg.reshape(dg.reverse(a1, [0]), [8, 8]) + b2
    rng = np.random.default_rng(0)
    feeds = {t: rng.standard_normal((8, 8)).astype(np.float32) for t in (x, c)}
    for fetches in ([a2, b1], [b1, a2], [dg.add(a2, b1)]):
        same(dg.Session().run(fetches, feeds), reference(x.graph, fetches, feeds))


def test_fusion_can_be_switched_off():
    x = dg.placeholder(dg.float32, [64])
    y = dg.exp(x * 2.0 + 1.0)
    assert not fused_steps(dg.Session(rewrites=("fold",)).plan(y, {x: None}))
    assert fused_steps(dg.Session(rewrites=("fold", "fuse")).plan(y, {x: None}))


def test_small_arrays_are_left_alone(monkeypatch):
    monkeypatch.undo()
    x = dg.placeholder(dg.float32, [1000])
    plan = dg.Session().plan(dg.exp(x * 2.0 + 1.0), {x: None})
    assert not fused_steps(plan)


def test_the_plan_shows_what_is_inside():
    x = dg.placeholder(dg.float32, [64])
    plan = dg.Session().plan(dg.exp(x * 2.0 + 1.0), {x: None})
    assert "fused: Mul, Add, Exp" in str(plan)
    assert dict(plan.rewrites)["fuse"] == 2


def test_an_error_inside_names_the_operation(monkeypatch):
    x = dg.placeholder(dg.float32, [64])
    y = dg.nn.sigmoid(x * 2.0, name="culprit") + 1.0
    session = dg.Session()
    plan = session.plan(y, {x: None})
    (step,) = fused_steps(plan)
    member = step.attrs["group"].members[1]

    def broken(*args, **kwargs):
        raise ValueError("no such thing")

    group = step.attrs["group"]
    bad = member._replace(opdef=_replaced(member.opdef, broken))
    group.members = (group.members[0], bad, *group.members[2:])
    with pytest.raises(dg.errors.ExecutionError, match="culprit") as caught:
        session.run(y, {x: np.zeros(64, np.float32)})
    assert __file__ in str(caught.value)


def _replaced(opdef, kernel):
    import copy

    other = copy.copy(opdef)
    object.__setattr__(other, "kernel", kernel)
    return other


def test_many_threads_run_one_fused_plan():
    x = dg.placeholder(dg.float32, [400])
    y = dg.exp(x * 2.0) - dg.sigmoid(x)
    session = dg.Session()
    call = session.make_callable(y, [x])
    inputs = [np.full(400, k / 10, np.float32) for k in range(8)]
    expected = [reference(x.graph, y, {x: a}) for a in inputs]
    wrong = []

    def work(a, b):
        for _ in range(50):
            if not np.array_equal(call(a), b):
                wrong.append(a[0])

    threads = [threading.Thread(target=work, args=p) for p in zip(inputs, expected)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_path_through_another_group():
    """What the second sum needs was made by a group of which a later member reads the
    product: the group of both would be before and behind the other one."""
    x = dg.placeholder(dg.float32, [8, 8])
    row = dg.placeholder(dg.float32, [8])
    first = x + 1.0
    total = dg.reduce_sum(first, 0)
    double = row * 2.0
    second = first * double
    y = double + total
    feeds = {x: np.eye(8, dtype=np.float32), row: np.arange(8, dtype=np.float32)}
    fetches = [second, y]
    same(dg.Session().run(fetches, feeds), reference(x.graph, fetches, feeds))


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(10, 80))
def test_groups_in_the_way_of_each_other(seed, near):
    """Random programs whose members of groups lie far apart."""
    rng = np.random.default_rng(seed)
    graph = dg.Graph()
    with graph.as_default():
        x = dg.placeholder(dg.float32, [8, 8])
        tensors = [x]
        for i in range(300):
            a, b = (
                tensors[-rng.integers(1, min(near, len(tensors) + 1))] for _ in range(2)
            )
            make = [dg.multiply, dg.add, dg.subtract, lambda a, b: dg.tanh(a)][i % 4]
            tensors.append(make(a, b))
    feeds = {x: rng.standard_normal((8, 8)).astype(np.float32)}
    expected = reference(graph, tensors[-1], feeds)
    np.testing.assert_array_equal(
        dg.Session(graph=graph).run(tensors[-1], feeds), expected
    )


@pytest.mark.parametrize("native", ["off", "auto"])
def test_large_arrays_that_wait_for_each_other_are_one_step(native, monkeypatch):
    """Two by two, forward results would wait for the gradients that read them."""
    monkeypatch.setattr(fusion, "_SLACK", 0)
    x = dg.placeholder(dg.float32, [200])
    a, b = dg.placeholder(dg.float32, []), dg.placeholder(dg.float32, [])
    y = dg.tanh(a * x + b) * dg.sigmoid(x) - dg.exp(-x * x)
    fetches = [y, *dg.gradients(y, [x])]
    feeds = {x: np.linspace(-3, 3, 200, dtype=np.float32), a: 1.5, b: 0.5}
    session = dg.Session(config=dg.ConfigProto(native=native))
    plan = session.plan(fetches, feeds)
    assert len(fused_steps(plan)) == 1
    plain = dg.Session(rewrites=("fold", "sums")).plan(fetches, feeds)
    assert plan.live_bytes[-1] <= max(plain.live_bytes)
    expected = reference(x.graph, fetches, feeds)
    for got, wanted in zip(session.run(fetches, feeds), expected):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_masks_that_could_be_made_early_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(fusion, "_SLACK", 0)
    test_masks_are_kept_for_the_backward_pass_not_what_they_are_of()


def test_swish_with_its_gradient_is_one_step_with_one_sigmoid():
    x = dg.placeholder(dg.float32, [500])
    y = dg.nn.swish(x)
    fetches = [y, *dg.gradients(y, [x])]
    (step,) = dg.Session().plan(fetches, {x: None}).steps
    assert step.what == "fused: Sigmoid, Mul, SigmoidGrad, AddN"
    a = np.concatenate([np.linspace(-80, 80, 496), [0.0, -0.0, 3e38, -3e38]])
    a = a.astype(np.float32)
    wide = a.astype(np.longdouble)
    with np.errstate(over="ignore"):
        s = 1 / (1 + np.exp(-wide))
    found, slope = dg.Session().run(fetches, {x: a})
    np.testing.assert_allclose(found, (wide * s).astype(np.float64), rtol=1e-6)
    exact = (s + wide * s * (1 - s)).astype(np.float64)
    np.testing.assert_allclose(slope, exact, rtol=1e-5, atol=1e-6)


def test_a_bias_of_the_last_axis_is_fused_where_there_is_native_code():
    pytest.importorskip("llvmlite")
    for form, shape, what in (
        ("NHWC", [2, 3, 5], "fused: BiasAdd, Relu"),
        ("NCHW", [2, 5, 3], "BiasAdd"),
    ):
        x, b = dg.placeholder(dg.float32, shape), dg.placeholder(dg.float32, [5])
        y = dg.nn.relu(dg.nn.bias_add(x, b, data_format=form))
        values = np.random.default_rng(0).standard_normal(shape).astype("f")
        feeds = {x: values, b: np.arange(-2, 3, dtype="f")}
        session = dg.Session(config=dg.ConfigProto(native="wait"))
        assert session.plan(y, feeds).steps[0].what == what
        same([session.run(y, feeds)], [reference(x.graph, y, feeds)])
        off = dg.Session(config=dg.ConfigProto(native="off"))
        assert off.plan(y, feeds).steps[0].what == "BiasAdd"
