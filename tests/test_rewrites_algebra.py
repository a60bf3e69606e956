"""Exact algebra in plans: each rule fires, and nothing changes by a bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import SPECIAL, both, same_bits, whats

import dagrad as dg

PASSES = ["algebra", "dead"]
TYPES = ["float16", "float32", "float64", "int8", "int32", "uint8", "complex64"]


FIRING = {
    "x * 1": (lambda x: x * 1, "x * 1 -> x"),
    "1 * x": (lambda x: 1 * x, "x * 1 -> x"),
    "x * ones": (lambda x: x * dg.ones_like(x), "x * 1 -> x"),
    "x * -1": (lambda x: x * -1, "x * -1 -> -x"),
    "x x": (lambda x: x * x, "x x -> x²"),
    "(-x)(-y)": (lambda x: -x * -(x + 1), "-x * -y -> x y"),
    "x - 0": (lambda x: x - 0, "x - 0 -> x"),
    "|x| + 0": (lambda x: dg.abs(x) + 0, "x + 0 -> x"),
    "--x": (lambda x: dg.negative(-x), "--x -> x"),
    "x + -y": (lambda x: x + -(x + 1), "x + -y -> x - y"),
    "-y + x": (lambda x: -(x + 1) + x, "x + -y -> x - y"),
    "x - -y": (lambda x: x - -(x + 1), "x - -y -> x + y"),
    "x / 1": (lambda x: x / 1.0, "x / 1 -> x"),
    "x / 8": (lambda x: x / 8.0, "x / 2^n -> x 2^-n"),
    "1 / sqrt x": (lambda x: 1.0 / dg.sqrt(x), "1 / √x"),
    "reciprocal sqrt": (lambda x: dg.reciprocal(dg.sqrt(x)), "1 / √x"),
    "x ** 2": (lambda x: x**2, "x^2, x^0.5, x^-1"),
    "x ** 0.5": (lambda x: x**0.5, "x^2, x^0.5, x^-1"),
    "x ** -1": (lambda x: x**-1.0, "x^2, x^0.5, x^-1"),
    "x ^ 1": (lambda x: dg.pow(x, dg.ones([], x.dtype)), "x^1 -> x"),
    "x ^ 0": (lambda x: dg.pow(x, dg.zeros([], x.dtype)), "x^0 -> 1"),
    "|-x|": (lambda x: dg.abs(-x), "|-x| -> |x|"),
    "||x||": (lambda x: dg.abs(dg.abs(x)), "|x| -> x"),
    "max(x, x)": (lambda x: dg.maximum(x, x), "f(x, x) -> x"),
    "where(c, x, x)": (lambda x: dg.where(x > 0, x, x), "where(c, x, x) -> x"),
    "where(true)": (
        lambda x: dg.where(dg.constant(np.full([4, 11], True)), x, -x),
        "where with a constant condition",
    ),
    "a cast back": (
        lambda x: dg.cast(dg.cast(x, dg.float64), dg.float32),
        "a cast back",
    ),
    "max over 1": (
        lambda x: dg.reduce_max(x[None], 0),
        "a reduction of axes of size 1",
    ),
    "prod over 1, kept": (
        lambda x: dg.reduce_prod(x[:, None], 1, keepdims=True),
        "a reduction of axes of size 1",
    ),
    "sum of squares over 1": (
        lambda x: dg.reduce_sum(dg.square(dg.reshape(x, [44, 1])), 1),
        "a reduction of axes of size 1",
    ),
}


def special(dtype):
    with np.errstate(over="ignore"):
        return np.array([*SPECIAL, *SPECIAL], dtype).reshape(4, 11)


@pytest.mark.parametrize("name", FIRING)
@pytest.mark.parametrize("static", [True, False])
def test_each_rule_fires_and_is_exact(name, static):
    build, what = FIRING[name]
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, 11] if static else None)
        y = build(x)
    got, want, plan = both(y, {x: special(np.float32)}, PASSES)
    assert what in whats(plan)
    same_bits(got, want)


LEFT_ALONE = {
    "x + 0.0 may be -0.0": lambda x: x + 0.0,
    "x - -0.0": lambda x: x - dg.constant(np.float32(-0.0)),
    "0.0 - x is not -x": lambda x: 0.0 - x,
    "x - x may be NaN": lambda x: x - x,
    "x * 0 may be NaN": lambda x: x * 0.0,
    "x / 3": lambda x: x / 3.0,
    "x / 2^-140 has no inverse": lambda x: x / dg.constant(np.float32(2.0**-140)),
    "x * ones of a larger shape": lambda x: x[:1] * dg.ones([4, 11]),
    "x + 0 of a higher rank": lambda x: dg.abs(x) + dg.zeros([1, 1, 1]),
    "float16 and back": lambda x: dg.cast(dg.cast(x, dg.float16), dg.float32),
    "the sum of one -0.0 is 0.0": lambda x: dg.reduce_sum(x[None], 0),
    "pow 0.5 of -0.0 and -inf": lambda x: dg.pow(x, dg.constant(0.5)),
    "-(x - y) of equals": lambda x: -(x - dg.abs(x)),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_only_looks_the_same_stays(name):
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [4, 11])
        y = LEFT_ALONE[name](x)
    got, want, plan = both(y, {x: special(np.float32)}, PASSES)
    assert dict(plan.rewrites)["algebra"] == 0
    same_bits(got, want)


def test_complex_products_stay():
    # (inf + 0i) (1 + 0i) has a NaN.
    with dg.Graph().as_default():
        x = dg.placeholder(dg.complex64, [2])
        y = [x * 1.0, x * x, dg.negative(-x)]
    values = np.array([complex(np.inf, 0), complex(-0.0, 2)], np.complex64)
    got, want, plan = both(y, {x: values}, PASSES)
    assert whats(plan) == {"--x -> x", "removed"}
    for a, b in zip(got, want):
        same_bits(a.view(np.float32), b.view(np.float32))


def test_integers_wrap_around():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.int8, [4])
        y = [
            x - x,
            x * 0,
            x + 0,
            x * -1,
            dg.negative(-x),
            dg.pow(x, dg.constant(2, dg.int8)),
        ]
    values = np.array([-128, 127, 0, 5], np.int8)
    got, want, plan = both(y, {x: values}, PASSES)
    assert dict(plan.rewrites)["algebra"] == 4
    for a, b in zip(got, want):
        same_bits(a, b)


def test_a_read_of_a_variable_keeps_its_place():
    with dg.Graph().as_default() as graph:
        v = dg.Variable([1.0, 2.0])
        before = v * 1.0
        with dg.control_dependencies([before]):
            write = v.assign_add([10.0, 10.0])
        with dg.control_dependencies([write]):
            after = dg.negative(-(before * 1.0)) + 0.5
    session = dg.Session(graph=graph)
    session.run(v.initializer)
    a, b = session.run([before, after])
    np.testing.assert_array_equal(a, [1, 2])
    np.testing.assert_array_equal(b, [1.5, 2.5])


def test_control_edges_to_what_goes_are_kept():
    with dg.Graph().as_default() as graph:
        x = dg.placeholder(dg.float32, [])
        v = dg.Variable(0.0)
        with dg.control_dependencies([v.assign(x)]):
            held = dg.identity(x) * 1.0
        with dg.control_dependencies([held * 1.0]):
            read = v + 0.0
    session = dg.Session(graph=graph)
    session.run(v.initializer)
    assert session.run(read, {x: 3.0}) == 3.0


NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.125, 3.0, -4.0]


def operations(kind):
    """What a program of numbers of that kind is made of: f(x, y, constant)."""
    ops = [
        lambda x, y, c: x * c,
        lambda x, y, c: x + c,
        lambda x, y, c: x - c,
        lambda x, y, c: c - x,
        lambda x, y, c: -x,
        lambda x, y, c: x + y,
        lambda x, y, c: x - y,
        lambda x, y, c: x * y,
        lambda x, y, c: dg.square(x),
    ]
    if kind != "c":
        ops += [
            lambda x, y, c: dg.abs(x),
            lambda x, y, c: dg.maximum(x, y),
            lambda x, y, c: dg.cast(dg.cast(x, dg.float64), x.dtype),
        ]
    if kind in "fc":
        ops += [
            lambda x, y, c: x / c,
            lambda x, y, c: x / y,
            lambda x, y, c: dg.sqrt(x),
        ]
    return ops


@st.composite
def programs(draw):
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    kind = dtype.kind
    shapes = [(3, 4), (4,), (3, 1), (1, 4), (1, 1), ()]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    with dg.Graph().as_default():
        feeds, pool = {}, []
        for _ in range(2):
            shape = draw(st.sampled_from(shapes))
            x = dg.placeholder(
                dtype, draw(st.sampled_from([shape, [None] * len(shape), None]))
            )
            source = SPECIAL if kind != "u" and kind != "i" else (0, 1, 2, 7, 100)
            with np.errstate(all="ignore"):
                feeds[x] = rng.choice(np.array(source), shape).astype(dtype)
            pool.append(x)
        for _ in range(draw(st.integers(2, 10))):
            x = draw(st.sampled_from(pool[-4:]))
            y = draw(st.sampled_from(pool))
            n = draw(st.sampled_from(NUMBERS))
            shape = draw(st.sampled_from([(), (1,), (1, 1)]))
            with np.errstate(all="ignore"):
                c = dg.constant(np.full(shape, n).astype(dtype))
            pool.append(draw(st.sampled_from(operations(kind)))(x, y, c))
    return pool, feeds


@given(programs(), st.data())
@settings(max_examples=150)
def test_results_of_random_programs_stay_to_the_bit(program, data):
    pool, feeds = program
    fetches = [pool[-1], data.draw(st.sampled_from(pool[2:]))]
    got, want, _ = both(fetches, feeds, PASSES)
    for a, b in zip(got, want):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype.kind == "c":
            a, b = a.reshape(-1).view(np.float32), b.reshape(-1).view(np.float32)
        same_bits(a, b)


def test_a_sum_with_a_negative_for_it_alone_is_a_difference():
    x, y, z = (dg.placeholder(dg.float64, [4]) for _ in range(3))
    minus = -y
    sums = [
        dg.add_n([x, -z]),  # x - z
        dg.add_n([-x * 2.0, -dg.sin(z), y]),  # y - sin(z), and what comes before
        dg.add_n([x, minus]),  # -y is fetched, so it is added
    ]
    rng = np.random.default_rng(0)
    feeds = {t: rng.normal(size=4) for t in (x, y, z)}
    feeds[x][:2] = 0.0, np.inf
    feeds[z][:2] = -0.0, np.inf
    results = []
    for rewrites in (None, ()):
        session = dg.Session(rewrites=rewrites)
        results.append(session.run([*sums, minus], feeds))
        kinds = [s.opdef.type for s in session.plan([*sums, minus], feeds).steps]
        if rewrites is None:
            assert kinds.count("Sub") == 2
            assert kinds.count("Neg") == 2  # of x, and of y
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
        there = ~np.isnan(a)
        np.testing.assert_array_equal(np.signbit(a)[there], np.signbit(b)[there])
