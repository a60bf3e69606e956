"""Convolutions and pools as native code, beside NumPy's kernels."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from native_programs import forget_kernels

import dagrad as dg
from dagrad.ops import _nests
from dagrad.runtime import native_flops
from dagrad.runtime.native import engine as engines
from dagrad.runtime.native import worker
from dagrad.runtime.native.nest import Machine, machine

pytest.importorskip("llvmlite")

WAIT = dg.ConfigProto(native="wait")
TRACED = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)


@pytest.fixture(scope="module", autouse=True)
def cached(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGRAD_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    monkeypatch.setattr(_nests, "_LEAST", 1)
    forget_kernels()
    yield
    forget_kernels()


def compiled():
    return [k for k in worker._KNOWN.values() if k.code is not None]


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Case:
    """A convolution of fixed shapes with its gradients, and values for it."""

    def __init__(self, images, sizes, channels, taps, outputs, dtype, **how):
        self.dtype = np.dtype(dtype)
        how = {"padding": "SAME", **how}
        with dg.Graph().as_default() as self.graph:
            x = dg.placeholder(dtype, [images, *sizes, channels])
            w = dg.placeholder(dtype, [*taps, channels, outputs])
            y = dg.nn.convolution(x, w, **how)
            g = dg.placeholder(dtype, y.shape)
            self.fetches = [y, *dg.gradients(y, [x, w], g)]
        self.inputs = [x, w, g]
        self.feeds = {t: normal(t.shape, dtype, i) for i, t in enumerate(self.inputs)}
        count = np.prod(taps) * channels
        positions = images * np.prod([int(d) for d in y.shape[1:-1]])
        #: The terms of each sum.
        self.terms = [count, np.prod(taps) * outputs, positions]

    def session(self, config=WAIT):
        return dg.Session(graph=self.graph, config=config)

    def reference(self, feeds=None):
        return dg.Session(graph=self.graph).run(
            self.fetches, feeds or self.feeds, options=TRACED
        )

    def check(self, results):
        """Sums of n products may each be wrong by n roundings of their size."""
        sizes = {t: np.abs(a) for t, a in self.feeds.items()}
        bounds = self.reference(sizes)
        for a, b, size, n in zip(results, self.reference(), bounds, self.terms):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            limit = 2 * max(n, 1) * np.finfo(self.dtype).eps * size
            assert (np.abs(a - b) <= limit).all()


# -- convolutions ---------------------------------------------------------------------

CHANNELS = [1, 2, 3, 7, 8, 9, 16, 17, 33, 70]
OUTPUTS = [4, 6, 8, 11, 12, 15, 16, 24, 31, 32, 33, 64, 70]


@st.composite
def convolutions(draw):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    size = st.integers(1, (45, 17, 7)[rank - 1])
    sizes = draw(st.tuples(*[size] * rank))
    taps = draw(st.tuples(*[st.integers(1, 5 if rank < 3 else 3)] * rank))
    strides = draw(st.tuples(*[st.integers(1, 3)] * rank))
    steps = (1,) * rank
    if set(strides) == {1}:
        steps = draw(st.tuples(*[st.integers(1, 2)] * rank))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    reach = [(k - 1) * e + 1 for k, e in zip(taps, steps)]
    assume(padding == "SAME" or all(s >= r for s, r in zip(sizes, reach)))
    return Case(
        draw(st.sampled_from([1, 2, 5])),
        sizes,
        draw(st.sampled_from(CHANNELS)),
        taps,
        draw(st.sampled_from(OUTPUTS)),
        draw(st.sampled_from(["float32", "float64"])),
        padding=padding,
        strides=strides,
        dilations=steps,
    )


@settings(max_examples=25)
@given(case=convolutions())
def test_convolutions_agree_within_the_bound_of_their_sums(case):
    forget_kernels()
    session = case.session()
    for _ in range(2):  # memory of the run before must not matter
        case.check(session.run(case.fetches, case.feeds))
    assert compiled()


@pytest.mark.parametrize(
    ("vectors", "dtype"),
    [
        # Of 16, 4 and 2 numbers; of 8, and of 8 and 4 once more.
        (Machine(64, 32), "float32"),
        (Machine(32, 16), "float64"),
        (Machine(16, 16), "float64"),
        pytest.param(Machine(64, 32), "float64", marks=pytest.mark.slow),
        pytest.param(Machine(32, 16), "float32", marks=pytest.mark.slow),
        pytest.param(Machine(16, 16), "float32", marks=pytest.mark.slow),
    ],
)
def test_vectors_of_other_machines(vectors, dtype, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(engines.engine(), "vectors", vectors)
    for case in (
        Case(3, (9, 23), 5, (3, 3), 70, dtype),
        Case(2, (8, 9), 20, (2, 3), 12, dtype, strides=(2, 2)),
    ):
        case.check(case.session().run(case.fetches, case.feeds))
        image = dg.placeholder(dtype, [2, 7, 9, 19])
        pool_like_numpy(dg.nn.max_pool, image, [1, 3, 2, 1], [1, 2, 1, 1], "SAME")
    assert compiled()


def test_what_a_machine_has():
    assert machine("x86_64-linux", {"avx512f": True, "avx": True}) == (64, 32)
    assert machine("x86_64-linux", {"avx512f": False, "avx": True}) == (32, 16)
    assert machine("x86_64-linux", {}) == (16, 16)
    assert machine("aarch64-apple", {"neon": True}) == (16, 32)


def test_no_images_and_what_fills_no_vector_stay_with_numpy():
    for case in (
        Case(0, (5, 5), 8, (3, 3), 16, "float32"),
        Case(2, (5, 5), 8, (3, 3), 17, "float16"),
        Case(2, (5, 5), 3, (3, 3), 3, "float32"),
    ):
        results = case.session().run(case.fetches, case.feeds)
        for a, b in zip(results, case.session(None).run(case.fetches, case.feeds)):
            np.testing.assert_array_equal(a, b)
    assert not compiled()


def test_a_filter_too_large_to_stay_in_cache():
    case = Case(3, (4, 5), 70, (5, 5), 130, "float32")
    case.check(case.session().run(case.fetches, case.feeds))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_reach_what_reads_them(special):
    case = Case(2, (6, 7), 9, (3, 3), 16, "float32", padding="VALID")
    for at, t in enumerate(case.inputs):
        feeds = {k: v.copy() for k, v in case.feeds.items()}
        feeds[t][(0,) * (feeds[t].ndim - 2) + (-1, -1)] = special
        results = case.session().run(case.fetches, feeds)
        for k, (a, b) in enumerate(zip(results, case.reference(feeds))):
            if at == k == 1:
                continue  # the gradient to the input multiplies padding: see below
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
            np.testing.assert_array_equal(a == np.inf, b == np.inf)
            np.testing.assert_array_equal(a == -np.inf, b == -np.inf)


def test_padding_is_left_out_not_multiplied():
    case = Case(1, (4, 6), 8, (3, 3), 16, "float32")
    x, w, _ = case.inputs
    feeds = {**case.feeds, x: np.ones(x.shape, "f"), w: np.zeros(w.shape, "f")}
    feeds[w][0, 0, 0, 0] = np.inf
    y = case.session().run(case.fetches[0], feeds)
    expected = np.zeros(y.shape, "f")
    expected[:, 1:, 1:, 0] = np.inf
    np.testing.assert_array_equal(y, expected)


# -- pools ----------------------------------------------------------------------------


def pool_like_numpy(build, x, size, strides, padding, values=None):
    """Run a pool and its gradient natively and by NumPy; returns both results."""
    with x.graph.as_default():
        y = build(x, size, strides, padding)
        g = dg.placeholder(x.dtype, y.shape)
        fetches = [y, *dg.gradients(y, [x], g)]
    dtype = x.dtype.as_numpy_dtype
    values = normal(x.shape, dtype) if values is None else values
    feeds = {x: values, g: normal(y.shape, dtype, 1)}
    got = dg.Session(graph=x.graph, config=WAIT).run(fetches, feeds)
    expected = dg.Session(graph=x.graph).run(fetches, feeds, options=TRACED)
    for a, b in zip(got, expected):
        if build is dg.nn.max_pool:
            np.testing.assert_array_equal(a, b)
        else:
            eps = 2 * np.prod(size) * np.finfo(dtype).eps
            np.testing.assert_allclose(a, b, rtol=eps, atol=8 * eps)


@settings(max_examples=20)
@given(
    build=st.sampled_from([dg.nn.max_pool, dg.nn.avg_pool]),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    taps=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    images=st.sampled_from([1, 5]),
    channels=st.sampled_from([8, 9, 16, 31, 70]),
    padding=st.sampled_from(["SAME", "VALID"]),
    dtype=st.sampled_from(["float32", "float64"]),
    special=st.booleans(),
)
def test_pools_agree_with_numpy(
    build, sizes, taps, strides, images, channels, padding, dtype, special
):
    assume(padding == "SAME" or all(s >= k for s, k in zip(sizes, taps)))
    forget_kernels()
    shape = (images, *sizes, channels)
    # Of small whole numbers, many are equal: the first of them gets the gradient.
    values = np.random.default_rng(2).integers(-2, 3, shape).astype(dtype)
    if special and build is dg.nn.max_pool:
        places = np.random.default_rng(3).random(shape)
        values[places < 0.05] = np.nan
        values[places > 0.9] = -np.inf
    with dg.Graph().as_default():
        x = dg.placeholder(dtype, shape)
        pool_like_numpy(build, x, (1, *taps, 1), (1, *strides, 1), padding, values)
    assert compiled()


# -- in sessions ----------------------------------------------------------------------


def until(done):
    for _ in range(3000):
        if done():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it takes too long")


def test_numpy_answers_until_the_code_is_there(monkeypatch):
    monkeypatch.setattr(native_flops, "HOT", 1)
    case = Case(2, (9, 9), 12, (3, 3), 24, "float32")
    session = case.session(dg.ConfigProto(native="auto"))
    off = case.session(dg.ConfigProto(native="off"))
    numpys = off.run(case.fetches, case.feeds)
    for a, b in zip(session.run(case.fetches, case.feeds), numpys):
        np.testing.assert_array_equal(a, b)
    session.run(case.fetches, case.feeds)
    until(lambda: len(compiled()) == 3)
    natives = case.session().run(case.fetches, case.feeds)
    for a, b in zip(session.run(case.fetches, case.feeds), natives):
        np.testing.assert_array_equal(a, b)


def test_results_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(native_flops, "_PIECE", 1 << 12)
    case = Case(7, (9, 9), 12, (3, 3), 24, "float32")
    results = [case.session().run(case.fetches, case.feeds)]
    for n in (1, 2, 3):
        config = dg.ConfigProto(native="wait", intra_op_parallelism_threads=n)
        with case.session(config) as session:
            results.append(session.run(case.fetches, case.feeds))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_a_trace_has_the_part_of_each_thread(monkeypatch):
    monkeypatch.setattr(native_flops, "_PIECE", 1 << 12)
    case = Case(7, (9, 9), 12, (3, 3), 24, "float32")
    config = dg.ConfigProto(native="wait", intra_op_parallelism_threads=2)
    options = dg.RunOptions(trace_level=dg.RunOptions.HARDWARE_TRACE)
    metadata = dg.RunMetadata()
    with case.session(config) as session:
        session.run(case.fetches, case.feeds, options, metadata)
    events = [e for e in metadata.report.events if e.type.startswith("Conv2D")]
    assert len(events) > len({e.step for e in events}) == 3


def test_sessions_in_several_threads():
    case = Case(3, (8, 8), 10, (3, 3), 16, "float32")
    session = case.session()
    expected = session.run(case.fetches, case.feeds)
    wrong = []

    def work(seed):
        for _ in range(20):
            for a, b in zip(session.run(case.fetches, case.feeds), expected):
                if not np.array_equal(a, b):
                    wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_feed_with_gaps_is_left_to_numpy():
    case = Case(2, (9, 9), 12, (3, 3), 24, "float32")
    session = case.session()
    session.run(case.fetches, case.feeds)
    gaps = {t: np.repeat(a, 2, axis=-1)[..., ::2] for t, a in case.feeds.items()}
    assert not gaps[case.inputs[0]].flags.c_contiguous
    case.check(session.run(case.fetches, gaps))


def test_the_packed_filter_is_planned():
    case = Case(1, (3, 3), 70, (1, 1), 130, "float32")
    x, w, _ = case.inputs
    shapes = {x: None, w: None}
    off = case.session(dg.ConfigProto(native="off")).plan(case.fetches[0], shapes)
    plan = case.session().plan(case.fetches[0], shapes)
    *before, (_, dtype, dims) = plan.steps[-1].work
    assert len(before) == len(off.steps[-1].work)
    room = np.dtype(dtype).itemsize * np.prod(dims)
    assert room == 70 * 144 * 4  # whole vectors of 16 channels
    assert plan.peak_bytes == off.peak_bytes + room
    case.check(case.session().run(case.fetches, case.feeds))


def test_numpys_columns_have_room_for_the_packed_filter():
    case = Case(8, (14, 14), 8, (5, 5), 16, "float32")
    plans = [
        case.session(dg.ConfigProto(native=native)).plan(case.fetches, case.feeds)
        for native in ("off", "wait")
    ]
    assert plans[0].arena_bytes == plans[1].arena_bytes


def test_a_broken_file_is_left_aside(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(tmp_path))
    case = Case(2, (5, 5), 16, (3, 3), 16, "float32")
    case.session().run(case.fetches, case.feeds)
    files = sorted(tmp_path.glob("*.o"))
    assert len(files) == 3
    for file in files:
        file.write_bytes(file.read_bytes()[:-10])
    forget_kernels()
    with pytest.warns(RuntimeWarning, match="broken"):
        case.check(case.session().run(case.fetches, case.feeds))


def test_where_llvm_fails_numpy_goes_on(monkeypatch, tmp_path):
    def broken(self, text):
        raise RuntimeError("no such processor")

    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(engines.Engine, "compile", broken)
    monkeypatch.setattr(worker, "_warned", False)
    case = Case(2, (5, 5), 16, (3, 3), 16, "float32")
    with pytest.warns(RuntimeWarning, match="no such processor"):
        results = case.session().run(case.fetches, case.feeds)
    for a, b in zip(results, case.session(None).run(case.fetches, case.feeds)):
        np.testing.assert_array_equal(a, b)


def test_training_goes_on_as_before():
    """A small network: the same losses within the bound of its sums."""
    losses = []
    x, labels = normal((8, 12, 12, 3), "f"), np.eye(4, dtype="f")[np.arange(8) % 4]
    for native in ("off", "wait"):
        with dg.Graph().as_default():
            w = dg.Variable(normal((3, 3, 3, 16), "f") / 5)
            b = dg.Variable(np.zeros(16, "f"))
            d = dg.Variable(normal((6 * 6 * 16, 4), "f") / 25)
            h = dg.nn.relu(dg.nn.bias_add(dg.nn.conv2d(x, w, 1, "SAME"), b))
            h = dg.nn.max_pool(h, 2, 2, "SAME")
            logits = dg.reshape(h, [8, -1]) @ d
            loss = dg.reduce_mean(
                dg.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
            )
            step = dg.train.GradientDescentOptimizer(0.1).minimize(loss)
            config = dg.ConfigProto(native=native)
            with dg.Session(config=config) as session:
                session.run(dg.global_variables_initializer())
                losses.append([session.run([loss, step])[0] for _ in range(40)])
    assert losses[0][-1] < 0.5 * losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_long_filters_stay_with_numpy():
    # Each tap of the last axis has code of its own, and each place at a border.
    case = Case(1, (300,), 8, (60,), 16, "float32")
    session = case.session()
    case.check(session.run(case.fetches, case.feeds))
    assert not compiled()
    tall = Case(1, (60, 4), 8, (50, 2), 16, "float32")
    tall.check(tall.session().run(tall.fetches, tall.feeds))
    assert compiled()
