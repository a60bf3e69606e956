"""Matrix products as native code, beside NumPy's."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_programs import forget_kernels

import dagrad as dg
from dagrad.ops import _products
from dagrad.runtime import native_flops
from dagrad.runtime.native import engine as engines
from dagrad.runtime.native import product, vm_frames, vm_products, worker
from dagrad.runtime.native.nest import Machine

pytest.importorskip("llvmlite")

WAIT = dg.ConfigProto(native="wait")
OFF = dg.ConfigProto(native="off")


@pytest.fixture(scope="module", autouse=True)
def cached(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGRAD_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield
    forget_kernels()


@pytest.fixture
def of_any_size(monkeypatch):
    """All sizes that are not 0."""

    def pays(sizes, *rest):
        return all(sizes)

    monkeypatch.setattr(_products, "_pays", pays)


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Case:
    """A product of fixed shapes, and operands for it."""

    def __init__(self, a, b, dtype="float32", turned_a=False, turned_b=False):
        self.turned = turned_a, turned_b
        self.dtype = np.dtype(dtype)
        with dg.Graph().as_default() as self.graph:
            self.inputs = [dg.placeholder(dtype, s) for s in (a, b)]
            self.y = dg.matmul(*self.inputs, turned_a, turned_b)
        self.values = [normal(s, dtype, i) for i, s in enumerate((a, b))]

    def run(self, values=None, config=WAIT, **options):
        with dg.Session(graph=self.graph, config=config) as session:
            feeds = dict(zip(self.inputs, values or self.values))
            return session.run(self.y, feeds, **options)

    def product(self, values=None, dtype=None):
        a, b = (
            (x.swapaxes(-1, -2) if t else x).astype(dtype or x.dtype)
            for x, t in zip(values or self.values, self.turned)
        )
        return a @ b

    def check(self, result, values=None):
        """A sum of n products may be wrong by n roundings of its size."""
        values = values or self.values
        exact = self.product(values, np.float64)
        size = self.product([np.abs(x) for x in values], np.float64)
        terms = values[0].shape[-2 if self.turned[0] else -1]
        eps = np.finfo(self.dtype).eps * (1 if self.dtype.itemsize == 4 else 2)
        assert result.dtype == self.dtype
        assert result.shape == exact.shape
        assert (np.abs(result - exact) <= terms * eps * size).all()


def compiled():
    return [k for k in worker._KNOWN.values() if k.code is not None]


# -- numbers ---------------------------------------------------------------------------

SIZE = st.one_of(
    st.integers(1, 60), st.sampled_from([64, 96, 97, 101, 128, 131, 239, 240, 241, 250])
)
TERMS = st.one_of(SIZE, st.sampled_from([511, 512, 513, 1024, 1100]))


@settings(max_examples=60)
@given(
    m=SIZE,
    k=TERMS,
    n=SIZE,
    turned=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from(["float32", "float64"]),
    layout=st.sampled_from(["plain", "fortran", "columns", "reversed"]),
)
@pytest.mark.usefixtures("of_any_size")
def test_products_of_all_sizes_and_layouts(m, k, n, turned, dtype, layout):
    a, b = (k, m) if turned[0] else (m, k), (n, k) if turned[1] else (k, n)
    case = Case(a, b, dtype, *turned)
    values = [_laid_out(x, layout) for x in case.values]
    case.check(case.run(values), values)


def _laid_out(x, layout):
    """The same numbers, otherwise in memory."""
    if layout == "fortran":
        return np.asfortranarray(x)
    if layout == "columns":
        wide = np.full((x.shape[0], x.shape[1] + 5), np.nan, x.dtype)
        wide[:, 2:-3] = x
        return wide[:, 2:-3]
    if layout == "reversed":
        return np.ascontiguousarray(x[::-1])[::-1]
    return x


@pytest.mark.usefixtures("of_any_size")
@pytest.mark.parametrize("machine", [Machine(64, 32), Machine(32, 16)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_of_other_machines(machine, dtype, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(engines.engine(), "vectors", machine)
    forget_kernels()
    for turned_a in (False, True):
        for turned_b in (False, True):
            for m, k, n in ((13, 70, 37), (6, 5, 64), (21, 19, 1)):
                a, b = (k, m) if turned_a else (m, k), (n, k) if turned_b else (k, n)
                case = Case(a, b, dtype, turned_a, turned_b)
                case.check(case.run())
    assert len(compiled()) == 2
    forget_kernels()


@pytest.mark.usefixtures("of_any_size")
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 20, 30), (3, 30, 40)),
        ((3, 20, 30), (30, 40)),
        ((20, 30), (3, 30, 40)),
        ((2, 3, 20, 30), (2, 1, 30, 40)),
        ((2, 1, 20, 30), (1, 3, 30, 40)),
        ((1, 1, 20, 30), (1, 30, 40)),
        ((2, 1, 2, 20, 30), (1, 2, 1, 30, 40)),
    ],
)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True)])
def test_many_matrices(a, b, turned):
    swap = [(*s[:-2], s[-1], s[-2]) if t else s for s, t in zip((a, b), turned)]
    case = Case(*swap, "float32", *turned)
    case.check(case.run())


@pytest.mark.usefixtures("of_any_size")
def test_heads_of_attention():
    """Batches of views: heads lie side by side in rows."""
    with dg.Graph().as_default():
        x = dg.placeholder("float32", [2, 20, 3 * 16])
        heads = dg.transpose(dg.reshape(x, [2, 20, 3, 16]), [0, 2, 1, 3])
        scores = dg.matmul(heads, heads, transpose_b=True)
        mixed = dg.transpose(dg.matmul(scores, heads), [0, 2, 1, 3])
        value = normal((2, 20, 48), "f")
        with dg.Session(config=WAIT) as session:
            result = session.run(mixed, {x: value})
    h = value.reshape(2, 20, 3, 16).transpose(0, 2, 1, 3).astype("d")
    expected = (h @ h.swapaxes(-1, -2) @ h).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)
    assert compiled()


@pytest.mark.usefixtures("of_any_size")
@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_reach_what_reads_them(special, turned_b):
    case = Case((19, 33), (37, 33) if turned_b else (33, 37), turned_b=turned_b)
    for at in (0, 1):
        for place in ((-1, -1), (0, 0), (7, 32)):
            values = [x.copy() for x in case.values]
            values[at][place] = special
            result, expected = case.run(values), case.product(values)
            np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
            for sign in (np.inf, -np.inf):
                np.testing.assert_array_equal(result == sign, expected == sign)


@pytest.mark.parametrize("shape", [(0, 5, 7), (5, 0, 7), (5, 7, 0), (0, 0, 0)])
def test_nothing_to_multiply(shape):
    m, k, n = shape
    result = Case((m, k), (k, n)).run()
    np.testing.assert_array_equal(result, np.zeros((m, n), "f"))


# -- where it is used ------------------------------------------------------------------


def test_what_numpy_does_as_well_stays_with_it():
    for a, b in (
        ((8, 16), (16, 16)),
        ((1, 784), (784, 4096)),
        ((700, 1024), (1024, 700)),
    ):
        case = Case(a, b)
        np.testing.assert_array_equal(case.run(), case.run(config=OFF))
    half = Case((128, 128), (128, 128), "float16")
    np.testing.assert_array_equal(half.run(), half.run(config=OFF))


def test_sizes_of_layers_are_native():
    for m, k, n, turned in (
        (128, 784, 256, (False, False)),
        (784, 128, 256, (True, False)),
        (128, 256, 784, (False, True)),
        (64, 92, 256, (False, False)),
        (1024, 256, 256, (False, True)),
    ):
        assert _products._pays((1, m, k, n), *turned, 4), (m, k, n)
    assert not _products._pays((1, 2048, 512, 512), False, False, 4)


def test_a_processor_without_wide_vectors_leaves_it_to_numpy(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(engines.engine(), "vectors", Machine(16, 32))
    forget_kernels()
    case = Case((128, 128), (128, 128))
    np.testing.assert_array_equal(case.run(), case.run(config=OFF))
    assert not compiled()
    assert not list(tmp_path.iterdir())
    forget_kernels()


def test_numpy_answers_until_the_code_is_there(monkeypatch):
    monkeypatch.setattr(native_flops, "HOT", 1)
    forget_kernels()
    case = Case((128, 100), (100, 128))
    feeds = dict(zip(case.inputs, case.values))
    with dg.Session(graph=case.graph, config=dg.ConfigProto(native="auto")) as session:
        first = session.run(case.y, feeds)
        np.testing.assert_array_equal(first, case.run(config=OFF))
        session.run(case.y, feeds)
        for _ in range(3000):
            if compiled():
                break
            threading.Event().wait(0.01)
        np.testing.assert_array_equal(session.run(case.y, feeds), case.run())


@pytest.mark.parametrize("turned_b", [False, True])
def test_results_do_not_depend_on_threads(turned_b, monkeypatch):
    monkeypatch.setattr(native_flops, "_PIECE", 1 << 16)
    for a, b in (((131, 600), (600, 131)), ((5, 64, 80), (5, 80, 256))):
        case = Case(a, (*b[:-2], b[-1], b[-2]) if turned_b else b, turned_b=turned_b)
        expected = case.run()
        case.check(expected)
        for n in (1, 2, 3):
            how = dg.ConfigProto(native="wait", intra_op_parallelism_threads=n)
            np.testing.assert_array_equal(case.run(config=how), expected)


def test_bits_do_not_depend_on_where_arrays_lie():
    case = Case((128, 300), (300, 100))
    expected = case.run()
    a, b = case.values
    for values in (
        (np.asfortranarray(a), b),
        (a, np.asfortranarray(b)),
        (_laid_out(a, "columns"), _laid_out(b, "columns")),
    ):
        np.testing.assert_array_equal(case.run(list(values)), expected)


def test_the_copy_of_a_panel_is_planned():
    for m, k, n, turned, need in (
        (128, 128, 128, False, 0),
        (128, 128, 100, False, 128 * 192),
        (128, 128, 128, True, 128 * 192),
        (128, 1000, 128, True, 512 * 192),
    ):
        with dg.Graph().as_default() as graph:
            a = dg.placeholder("float32", [m, k])
            b = dg.placeholder("float32", [n, k] if turned else [k, n])
            y = dg.reduce_sum(dg.tanh(dg.matmul(a, b, transpose_b=turned)))
        plans = [
            dg.Session(graph=graph, config=config).plan(y, {a: None, b: None})
            for config in (OFF, WAIT)
        ]
        steps = [next(s for s in p.steps if s.opdef.type == "MatMul") for p in plans]
        room = [
            sum(np.dtype(d).itemsize * np.prod(dims) for _, d, dims in s.work)
            for s in steps
        ]
        assert room == [0, need]


def test_the_predicted_peak_is_what_a_run_takes():
    with dg.Graph().as_default():
        a = dg.placeholder("float32", [512, 700])
        y = dg.matmul(dg.tanh(a), dg.tanh(a * 2.0), transpose_b=True)
        y = dg.reduce_sum(dg.matmul(dg.tanh(y), dg.tanh(a), transpose_a=True))
        feeds = {a: normal((512, 700), "f")}
        dg.Session(config=WAIT).run(y, feeds)  # code is there from now on
        session = dg.Session(config=WAIT)
        plan = session.plan(y, feeds)
        assert any(s.opdef.type == "MatMul" and s.work for s in plan.steps)
        tracemalloc.start()
        session.run(y, feeds)
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert plan.peak_bytes > 3_000_000
    assert taken < 1.02 * plan.peak_bytes + 300_000


def test_a_transposed_feed_without_room_for_a_panel():
    case = Case((128, 128), (128, 128))
    values = [case.values[0], np.asfortranarray(case.values[1])]
    case.check(case.run(values), values)


def test_a_feed_that_is_not_aligned():
    case = Case((128, 128), (128, 128))
    memory = np.zeros(128 * 128 * 4 + 1, np.uint8)
    odd = np.ndarray((128, 128), np.float32, memory, 1)
    odd[...] = case.values[0]
    feeds = [dict(zip(case.inputs, (x, case.values[1]))) for x in (odd, case.values[0])]
    with dg.Session(graph=case.graph, config=WAIT) as session:
        for f in (*feeds, *feeds):
            case.check(session.run(case.y, f))


def test_sessions_in_several_threads():
    case = Case((128, 300), (300, 100))
    expected = case.run()
    wrong = []
    with dg.Session(graph=case.graph, config=WAIT) as session:

        def work():
            for _ in range(20):
                result = session.run(case.y, dict(zip(case.inputs, case.values)))
                if not np.array_equal(result, expected):
                    wrong.append(result)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not wrong


# -- in stretches ----------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    """The templates of products that native stretches got."""
    found = []

    def product_template(*args):
        template = vm_products.product_template(*args)
        if template is not None:
            found.append(template)
        return template

    monkeypatch.setattr(vm_frames, "product_template", product_template)
    return found


def cell(x, w, v):
    """Two products and what is between them; all arrays are small."""
    z = dg.matmul(dg.tanh(dg.matmul(x, w)) + 1.0, v, transpose_b=True)
    return dg.tanh(z * 0.1)


def weights():
    return [dg.constant(normal((92, 256), "f", seed) / 10) for seed in (1, 2)]


@pytest.mark.parametrize("native", ["wait", "auto"])
def test_products_in_stretches_have_the_same_bits(native, made):
    x = normal((64, 92), "f")
    with dg.Graph().as_default():
        given = dg.placeholder("float32", x.shape)
        y = cell(cell(given, *weights()), *weights())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(vm_frames, "product_template", lambda *args: None)
            with dg.Session(config=WAIT) as session:
                expected = session.run(y, {given: x})
        with dg.Session(config=dg.ConfigProto(native=native)) as session:
            for _ in range(400):
                session.run(y, {given: x})
                if made:
                    break
                threading.Event().wait(0.005)
            np.testing.assert_array_equal(session.run(y, {given: x}), expected)
    assert len(made) == 4


def test_stretches_wait_for_code_that_is_asked_for(made, monkeypatch):
    """Otherwise a product would be Python's for good, and cut its stretch in two."""
    monkeypatch.setattr(native_flops, "HOT", 1)
    monkeypatch.setattr(worker.Native, "request", _ask)
    forget_kernels()
    x = normal((64, 92), "f")
    with dg.Graph().as_default():
        given = dg.placeholder("float32", x.shape)
        y = cell(given, *weights())
        with dg.Session(config=dg.ConfigProto(native="auto")) as session:
            for _ in range(200):
                session.run(y, {given: x})
                threading.Event().wait(0.001)
            assert not made
            for item in list(worker._KNOWN.values()):
                item.wait()
            for _ in range(200):
                session.run(y, {given: x})
    assert len(made) == 2


def _ask(self):
    """Remember that code is wanted; nobody makes it."""
    self.queued = True


def test_products_in_loops_have_the_same_bits(made):
    x = normal((64, 92), "f")
    with dg.Graph().as_default():
        given = dg.placeholder("float32", x.shape)
        w, v = weights()
        plain = given
        for _ in range(6):
            plain = cell(plain, w, v)
        _, looped = dg.while_loop(
            lambda i, _: i < 6, lambda i, s: (i + 1, cell(s, w, v)), (0, given)
        )
        with dg.Session(config=WAIT) as session:
            for _ in range(3):
                one, two = session.run([plain, looped], {given: x})
                np.testing.assert_array_equal(one, two)
    assert len(made) > 12


def test_training_goes_on_as_before():
    x = normal((128, 100), "f")
    labels = np.eye(10, dtype="f")[np.arange(128) % 10]
    losses = []
    for config in (OFF, WAIT):
        with dg.Graph().as_default():
            h = dg.nn.relu(dg.matmul(x, dg.Variable(normal((100, 128), "f", 1) / 10)))
            h = dg.nn.relu(dg.matmul(h, dg.Variable(normal((128, 128), "f", 2) / 11)))
            logits = dg.matmul(h, dg.Variable(normal((128, 10), "f", 3) / 11))
            loss = dg.reduce_mean(
                dg.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
            )
            step = dg.train.GradientDescentOptimizer(0.5).minimize(loss)
            with dg.Session(config=config) as session:
                session.run(dg.global_variables_initializer())
                losses.append([session.run([loss, step])[0] for _ in range(40)])
    assert losses[0][-1] < 0.2 * losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_panels_have_room_on_every_machine():
    for machine in (Machine(64, 32), Machine(32, 16)):
        rows, vectors = product._tile(machine)
        assert product.TILE % rows == 0
        for item in (4, 8):
            width = vectors * machine.vector // item
            assert product.panel_elements(100, item) >= 100 * width
