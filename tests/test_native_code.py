"""Fused operations as native code: results, the switch, the cache, and failures."""

from __future__ import annotations

import sys
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from native_programs import forget_kernels, fresh_kernels, programs, reference

import dagrad as dg
from dagrad.runtime import fusion
from dagrad.runtime.native import cache, engine, worker

pytest.importorskip("llvmlite")

SHAPES = [(1,), (7,), (3, 5), (1, 6, 1), (2, 3, 4), (33, 17), (400,)]
WAIT = dg.ConfigProto(native="wait")


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Groups of any size, an empty cache on disk and none in the process."""
    monkeypatch.setattr(fusion, "NATIVE_SIZE", 1)
    with fresh_kernels(monkeypatch, tmp_path):
        yield


def same(results, expected):
    for a, b in zip(results, expected):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def arithmetic(n=64, config=WAIT):
    """A session, a fetch and its feed: one fused step without functions."""
    x = dg.placeholder(dg.float32, [n])
    y = x * 2.0 + 1.0 - dg.square(x)
    a = np.linspace(-3, 3, n, dtype=np.float32)
    return dg.Session(config=config), y, {x: a}


def kernels():
    return list(worker._KNOWN.values())


# -- results --------------------------------------------------------


@settings(max_examples=150)
@given(programs(SHAPES))
def test_native_arithmetic_gives_numpys_bits(program):
    graph, fetches, feeds = program
    expected = reference(graph, fetches, feeds)
    session = dg.Session(graph=graph, config=WAIT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # LLVM takes every kernel
        same(session.run(fetches, feeds), expected)
    same(session.run(fetches, feeds), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signed_zeros_and_infinities(dtype):
    x = dg.placeholder(dtype, [6])
    fetches = [
        -x * 1.0,
        dg.abs(x) + x,
        dg.sign(x) * x,
        dg.ceil(x * 0.5),
        dg.rint(x * 0.1),
        dg.reciprocal(x) + 1.0,
        dg.cast(x, dg.int32) * 2,
        dg.cast(dg.cast(x, dg.bool), dtype) * x,
    ]
    a = np.array([0.0, -0.0, np.inf, -np.inf, -1.0, 3.7], dtype)
    got = dg.Session(config=WAIT).run(fetches, {x: a})
    expected = reference(x.graph, fetches, {x: a})
    same(got, expected)
    for g, e in zip(got, expected):
        numbers = ~np.isnan(e)
        assert (np.signbit(g) == np.signbit(e))[numbers].all()


def test_layouts_of_feeds_get_code_of_their_own():
    x, y = (dg.placeholder(dg.float64, [12, 20]) for _ in range(2))
    z = x * y + dg.square(x) - y
    session = dg.Session(config=WAIT)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((24, 40))
    for p in (a[:12, :20], a[::2, ::2], np.asfortranarray(a)[12:, 20:], a[::-2, ::-2]):
        for q in (a[12:, 20:].copy(), np.broadcast_to(a[0, 0], (12, 20))):
            feeds = {x: p, y: q}
            same([session.run(z, feeds)], [reference(x.graph, z, feeds)])
    assert len(kernels()) > 3
    assert all(k.code is not None for k in kernels())


def test_misaligned_feeds_are_left_to_numpy():
    session, y, feeds = arithmetic()
    ((x, a),) = feeds.items()
    raw = np.empty(a.nbytes + 1, np.uint8)
    odd = raw[1:].view(np.float32)
    odd[...] = a
    assert not odd.flags.aligned
    same([session.run(y, {x: odd})], [reference(x.graph, y, feeds)])


def test_broadcast_rows_and_columns():
    x = dg.placeholder(dg.float32, [6, 10])
    row, column = dg.placeholder(dg.float32, [10]), dg.placeholder(dg.float32, [6, 1])
    scalar = dg.placeholder(dg.float32, [])
    y = (x * row + column) * scalar - row
    rng = np.random.default_rng(0)
    feeds = {t: rng.random(t.shape.as_list(), np.float32) for t in (x, row, column)}
    feeds[scalar] = np.float32(3.5)
    same([dg.Session(config=WAIT).run(y, feeds)], [reference(x.graph, y, feeds)])
    assert all(k.code is not None for k in kernels())


def test_functions_agree_with_numpy():
    x = dg.placeholder(dg.float32, [5000])
    y = dg.exp(x * 0.5) - dg.tanh(x)
    a = np.linspace(-20, 20, 5000, dtype=np.float32)
    got = dg.Session(config=WAIT).run(y, {x: a})
    exact = np.exp(a.astype(np.float64) * 0.5) - np.tanh(a.astype(np.float64))
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-6)


# -- the switch -----------------------------------------------------


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_numpy_answers_until_the_code_is_there():
    session, y, feeds = arithmetic(70000, dg.ConfigProto(native="auto"))
    expected = reference(y.graph, y, feeds)
    same([session.run(y, feeds)], [expected])
    (kernel,) = kernels()
    assert kernel.code is None
    assert not kernel.queued  # one run is not worth a compilation
    same([session.run(y, feeds)], [expected])
    assert kernel.queued
    until(lambda: kernel.code is not None)
    same([session.run(y, feeds)], [expected])


def test_threads_run_while_the_code_arrives():
    session, y, feeds = arithmetic(70000, dg.ConfigProto(native="auto"))
    ((x, a),) = feeds.items()
    expected = reference(y.graph, y, feeds)
    call = session.make_callable(y, [x])
    call(a)
    (kernel,) = kernels()
    wrong, late = [], []

    def work():
        end = time.monotonic() + 30
        after = 0
        while after < 20 and time.monotonic() < end:
            after += kernel.code is not None
            if not np.array_equal(call(a), expected):
                wrong.append(1)
        late.append(after)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert late == [20] * 4


def test_threads_compile_at_once():
    runs = [arithmetic(64 + k) for k in range(4)]
    made = [(s, y + float(k), f) for k, (s, y, f) in enumerate(runs)]
    expected = [reference(y.graph, y, f) for _, y, f in made]
    results = [None] * 4

    def work(k):
        session, y, feeds = made[k]
        results[k] = session.run(y, feeds)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same(results, expected)
    assert all(k.code is not None for k in kernels())


def test_sessions_share_kernels():
    one, y, feeds = arithmetic()
    same([one.run(y, feeds)], [reference(y.graph, y, feeds)])
    other, z, more = arithmetic()
    same([other.run(z, more)], [reference(z.graph, z, more)])
    assert len(kernels()) == 1


def test_off_means_off():
    session, y, feeds = arithmetic(config=dg.ConfigProto(native="off"))
    session.run(y, feeds)
    assert not kernels()
    with pytest.raises(dg.errors.InvalidArgumentError, match="native is one of"):
        dg.Session(config=dg.ConfigProto(native="maybe"))


# -- the cache on disk ----------------------------------------------


def files(tmp_path):
    return sorted(tmp_path.glob("*.o"))


def run_anew():
    forget_kernels()
    session, y, feeds = arithmetic()
    same([session.run(y, feeds)], [reference(y.graph, y, feeds)])


def test_code_is_read_from_the_cache(tmp_path, monkeypatch):
    run_anew()
    (file,) = files(tmp_path)
    assert file.stat().st_size > 500

    def compile_again(*args):
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(engine.Engine, "compile", compile_again)
    run_anew()
    assert kernels()[0].code is not None


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign"])
def test_a_broken_file_is_left_aside_and_written_anew(tmp_path, damage):
    run_anew()
    (file,) = files(tmp_path)
    good = file.read_bytes()
    broken = {
        "cut": good[:-10],
        "changed": good[:-1] + bytes([good[-1] ^ 1]),
        "empty": b"",
        "foreign": b"something else altogether",
    }[damage]
    file.write_bytes(broken)
    with pytest.warns(RuntimeWarning, match="broken") as seen:
        run_anew()
    assert len(seen) == 1
    assert file.read_bytes() == good


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_directory_that_others_may_write_is_not_trusted(tmp_path):
    run_anew()
    tmp_path.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others than this user"):
        run_anew()
    tmp_path.chmod(0o700)


def test_no_directory_for_the_cache(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    monkeypatch.setenv("DAGRAD_CACHE_DIR", str(blocked))
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        run_anew()
    monkeypatch.setenv("DAGRAD_CACHE_DIR", "")
    assert cache.directory() is None
    run_anew()


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_LIMIT", 10_000)
    for k in range(20):
        cache.write(str(k), bytes(1000))
    assert sum(f.stat().st_size for f in files(tmp_path)) <= 10_000
    assert cache.read("19") == bytes(1000)
    assert not list(tmp_path.glob("*.tmp"))


PROGRAM = """
import numpy as np, dagrad as dg
from dagrad.runtime.native.engine import Engine
count = [0]
old = Engine.compile
def compile(self, text):
    count[0] += 1
    return old(self, text)
Engine.compile = compile
x = dg.placeholder(dg.float32, [5000])
y = x * 2.0 + 1.0 - dg.square(x)
session = dg.Session(config=dg.ConfigProto(native="wait"))
print(session.run(y, {x: np.ones(5000, np.float32)}).sum(), count[0])
"""


@pytest.mark.slow
def test_a_second_process_starts_warm(run_python, tmp_path):
    assert run_python(PROGRAM, cwd=tmp_path).split() == ["10000.0", "1"]
    assert run_python(PROGRAM, cwd=tmp_path).split() == ["10000.0", "0"]


ABRUPT = """
import numpy as np, dagrad as dg
x = dg.placeholder(dg.float32, [70000])
y = x * 2.0 + 1.0 - dg.square(x)
session = dg.Session(config=dg.ConfigProto(native="auto"))
for _ in range(3):
    session.run(y, {x: np.ones(70000, np.float32)})
print("done")
"""


@pytest.mark.slow
def test_a_process_ends_while_something_is_compiled(run_python, tmp_path):
    for _ in range(5):
        assert run_python(ABRUPT, cwd=tmp_path).split() == ["done"]


# -- where native code cannot be had --------------------------------


def test_without_llvmlite_there_are_tiles(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    engine.available.cache_clear()
    try:
        assert not engine.available()
        session, y, feeds = arithmetic(300_000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            same([session.run(y, feeds)], [reference(y.graph, y, feeds)])
        assert not kernels()
    finally:
        engine.available.cache_clear()


def test_where_llvm_fails_numpy_goes_on(monkeypatch):
    def broken(self, text):
        raise RuntimeError("no such processor")

    monkeypatch.setattr(engine.Engine, "compile", broken)
    with pytest.warns(RuntimeWarning, match="no such processor") as seen:
        session, y, feeds = arithmetic()
        for _ in range(3):
            same([session.run(y, feeds)], [reference(y.graph, y, feeds)])
        other, z, more = arithmetic(65)
        same([other.run(z + 1.0, more)], [reference(z.graph, z + 1.0, more)])
    assert len(seen) == 1


UNFIT = """
import time, warnings
import numpy as np, dagrad as dg
import llvmlite.binding as llvm
{damage}
x = dg.placeholder(dg.float32, [70000])
y = dg.tanh(x * 2.0 + 1.0) - dg.square(x)
small = dg.placeholder(dg.float32, [10])
z = dg.tanh(small * 2.0) + 1.0
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    with dg.Session(config=dg.ConfigProto(native="{native}")) as session:
        for _ in range(40):
            a = session.run(y, {{x: np.ones(70000, np.float32)}})
            b = session.run(z, {{small: np.ones(10, np.float32)}})
        deadline = time.monotonic() + 60
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
print(round(float(a[0]), 4), round(float(b[0]), 4), [str(w.message) for w in seen])
"""
DAMAGES = {
    "no target": "llvm.Target.from_triple = staticmethod(lambda *a: 1 / 0)",
    "an older version": "del llvm.JITLibraryBuilder",
    "a newer version": "del llvm.get_host_cpu_features",
}


@pytest.mark.slow
@pytest.mark.parametrize("native", ["auto", "wait"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unfit_llvmlite_is_left_aside_with_one_warning(
    run_python, tmp_path, damage, native
):
    """One for kernels and tables together: both need it."""
    program = UNFIT.format(damage=DAMAGES[damage], native=native)
    a, b, told = run_python(program, cwd=tmp_path).split(maxsplit=2)
    assert (a, b) == ("-0.0049", "1.964")
    assert told.count("NumPy goes on") == 1
    assert told.count("', '") == 0


def test_a_forked_child_compiles_for_itself():
    worker._after_fork()
    session, y, feeds = arithmetic(70000, dg.ConfigProto(native="auto"))
    for _ in range(3):
        session.run(y, feeds)
    until(lambda: kernels()[0].code is not None)
