"""Stable forms in plans: they fire in programs as they are written, with their
gradients, and come nearer to the true value, which wider numbers give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import both, same_bits, whats

import dagrad as dg

PASSES = ["fold", "common", "algebra", "stable", "dead"]
WIDE = np.longdouble


def lse(x):
    # Wide exponents reach far enough for narrow numbers as they are.
    return np.log(np.sum(np.exp(x), -1))


def softmax(x):
    e = np.exp(x)
    return e / np.sum(e, -1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def over_one_and(e):
    return e / (1 + e)


# name: what is written; its value and slope (of the sum) by wide numbers; the range of
# x; what the plan says.
FORMS = {
    "log(1 + x)": (
        lambda x: dg.log(1 + x),
        np.log1p,
        lambda x: 1 / (1 + x),
        (-0.9, 50),
        {"log(1 + x) -> log1p(x)"},
    ),
    "log(1 - x)": (
        lambda x: dg.log(1.0 - x),
        lambda x: np.log1p(-x),
        lambda x: -1 / (1 - x),
        (-50, 0.9),
        {"log(1 - x) -> log1p(-x)"},
    ),
    "exp(x) - 1": (
        lambda x: dg.exp(x) - 1,
        np.expm1,
        np.exp,
        (-30, 30),
        {"exp(x) - 1 -> expm1(x)"},
    ),
    "1 - exp(-x)": (
        lambda x: 1 - dg.exp(-x),
        lambda x: -np.expm1(-x),
        lambda x: np.exp(-x),
        (-30, 30),
        {"1 - exp(x) -> -expm1(x)"},
    ),
    "log(1 + exp(x))": (
        lambda x: dg.log(1.0 + dg.exp(x)),
        lambda x: np.log1p(np.exp(x)),
        sigmoid,
        (-1000, 1000),
        {"log(1 + exp(x)) -> softplus(x)", "the gradient of softplus(x)"},
    ),
    "log1p(exp(x))": (
        lambda x: dg.log1p(dg.exp(x)),
        lambda x: np.log1p(np.exp(x)),
        sigmoid,
        (-1000, 1000),
        {"log1p(exp(x)) -> softplus(x)", "the gradient of softplus(x)"},
    ),
    "log(sigmoid(x))": (
        lambda x: dg.log(dg.sigmoid(x)),
        lambda x: -np.log1p(np.exp(-x)),
        lambda x: sigmoid(-x),
        (-1000, 1000),
        {"log(sigmoid(x))", "the gradient of log(sigmoid(x))"},
    ),
    "log(1 - sigmoid(x))": (
        lambda x: dg.log(1.0 - dg.sigmoid(x)),
        lambda x: -np.log1p(np.exp(x)),
        lambda x: -sigmoid(x),
        (-1000, 1000),
        {"log(1 - sigmoid(x))", "the gradient of log(1 - sigmoid(x))"},
    ),
    "1 / (1 + exp(x))": (
        lambda x: 1 / (1 + dg.exp(x)),
        lambda x: sigmoid(-x),
        lambda x: -sigmoid(x) * sigmoid(-x),
        (-1000, 1000),
        {"the gradient of a / (1 + exp(x))"},
    ),
    "reciprocal(1 + exp(x))": (
        lambda x: dg.reciprocal(1 + dg.exp(x)),
        lambda x: sigmoid(-x),
        lambda x: -sigmoid(x) * sigmoid(-x),
        (-1000, 1000),
        {"the gradient of 1 / (1 + exp(x))"},
    ),
    "reciprocal(1 + exp(-x))": (
        lambda x: dg.reciprocal(1 + dg.exp(-x)),
        sigmoid,
        lambda x: sigmoid(x) * sigmoid(-x),
        (-1000, 1000),
        {"the gradient of 1 / (1 + exp(x))"},
    ),
    "exp(x) / (1 + exp(x))": (
        lambda x: over_one_and(dg.exp(x)),
        sigmoid,
        lambda x: sigmoid(x) * sigmoid(-x),
        (-1000, 1000),
        {
            "exp(x) / (1 + exp(x)) -> sigmoid(x)",
            "the gradient of exp(x) / (1 + exp(x))",
        },
    ),
    "log(1 / (1 + exp(-x)))": (
        lambda x: dg.log(1 / (1 + dg.exp(-x))),
        lambda x: -np.log1p(np.exp(-x)),
        lambda x: sigmoid(-x),
        (-1000, 1000),
        {"log(sigmoid(x))", "the gradient of a / (1 + exp(x))"},
    ),
    "log(exp(x) / (1 + exp(x)))": (
        lambda x: dg.log(over_one_and(dg.exp(x))),
        lambda x: -np.log1p(np.exp(-x)),
        lambda x: sigmoid(-x),
        (-1000, 1000),
        {"log(sigmoid(x))", "the gradient of exp(x) / (1 + exp(x))"},
    ),
    "log(sum(exp(x))), both axes": (
        lambda x: dg.log(dg.reduce_sum(dg.exp(x))),
        lambda x: np.logaddexp.reduce(x, axis=None),
        lambda x: np.exp(x - np.logaddexp.reduce(x, axis=None)),
        (-1000, 1000),
        {"log(sum(exp(x))) -> logsumexp(x)", "the gradient of logsumexp(x)"},
    ),
    "log(softmax(x))": (
        lambda x: dg.log(dg.nn.softmax(x)),
        lambda x: x - lse(x)[..., None],
        lambda x: 1 - softmax(x) * x.shape[-1],
        (-1000, 1000),
        {"log(softmax(x))", "the gradient of log(softmax(x))"},
    ),
    "log(sum(exp(x)))": (
        lambda x: dg.log(dg.reduce_sum(dg.exp(x), -1)),
        lse,
        softmax,
        (-1000, 1000),
        {"log(sum(exp(x))) -> logsumexp(x)", "the gradient of logsumexp(x)"},
    ),
    "log(sum(exp(x))), axis kept": (
        lambda x: dg.log(dg.reduce_sum(dg.exp(x), 1, keepdims=True)),
        lambda x: lse(x)[:, None],
        softmax,
        (-1000, 1000),
        {"log(sum(exp(x))) -> logsumexp(x)", "the gradient of logsumexp(x)"},
    ),
}


def samples(low, high, dtype):
    """Rows of numbers over the range: near 0, and as far as it goes."""
    rng = np.random.default_rng(1)
    near = [1e-8, -1e-8, 3e-5, -3e-5, 1e-3, 0.01, -0.01, 0.4]
    far = rng.uniform(low, high, 16)
    middle = rng.uniform(max(low, -3), min(high, 3), 16)
    return np.array([*near, *far, *middle], dtype).reshape(5, 8)


def error(got, true, least=0.0):
    """In units in the last place of the true value, or of ``least`` if that is more,
    or in least normal numbers; infinite for NaN."""
    dtype = got.dtype
    size = np.maximum(np.abs(true), least)
    unit = np.spacing(size.astype(dtype)).astype(WIDE)
    unit = np.maximum(unit, np.finfo(dtype).tiny)
    found = np.abs(got.astype(WIDE) - true) / unit
    return np.where(np.isfinite(got), found, np.inf)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FORMS)
def test_forms_fire_and_come_nearer_to_the_truth(name, dtype):
    build, value, slope, span, expected = FORMS[name]
    with dg.Graph().as_default():
        x = dg.placeholder(dtype, [5, 8])
        y = build(x)
        (dx,) = dg.gradients(y, x)
    numbers = samples(*span, dtype)
    got, want, plan = both([y, dx], {x: numbers}, PASSES)
    assert expected <= whats(plan)
    wide = numbers.astype(WIDE)
    # Sums over rows have the rounding of their largest terms.
    rows = "softmax" in name or "sum" in name
    for a, b, true in zip(got, want, (value(wide), slope(wide))):
        assert np.isfinite(a).all()
        after, before = (error(r, true, rows * 1.0) for r in (a, b))
        assert after.max() <= 8
        assert after.max() <= max(before.max(), 4)


def test_gradients_without_their_values_fire_too():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [2, 3])
        y = dg.reduce_mean(dg.log(dg.reduce_sum(dg.exp(x), 1)))
        (dx,) = dg.gradients(y, x)
    numbers = np.array([[1000, 999, -1000], [0, 1, 2]], np.float32)
    got, want, plan = both(dx, {x: numbers}, None)
    assert whats(plan) >= {"the gradient of logsumexp(x)"}
    assert np.isnan(want).any()
    np.testing.assert_allclose(got, softmax(numbers.astype(WIDE)) / 2, 1e-6, 1e-38)


def test_cross_entropy_as_tensorflow_programs_write_it():
    with dg.Graph().as_default():
        logits = dg.placeholder(dg.float32, [None, 3])
        labels = dg.placeholder(dg.float32, [None, 3])
        y = dg.nn.softmax(logits)
        loss = dg.reduce_mean(-dg.reduce_sum(labels * dg.log(y), reduction_indices=[1]))
        (slope,) = dg.gradients(loss, logits)
    z = np.array([[300, 0, -300], [1, 2, 3]], np.float32)
    hot = np.array([[0, 0, 1], [1, 0, 0]], np.float32)
    got, want, _ = both([loss, slope], {logits: z, labels: hot}, None)
    assert not np.isfinite(want[0])
    assert np.isnan(want[1]).any()
    np.testing.assert_allclose(got[0], (600 + np.log(1 + np.e + np.e**2)) / 2, 1e-6)
    np.testing.assert_allclose(got[1], (softmax(z.astype(WIDE)) - hot) / 2, atol=1e-7)


def test_losses_of_discriminators():
    with dg.Graph().as_default():
        a = dg.placeholder(dg.float32, [4])
        real, fake = dg.sigmoid(a), dg.sigmoid(-a)
        loss = -dg.reduce_mean(dg.log(real) + dg.log(1.0 - fake))
        (slope,) = dg.gradients(loss, a)
    z = np.array([-200, -1, 1, 200], np.float32)
    got, want, _ = both([loss, slope], {a: z}, None)
    assert not np.isfinite(want[0])
    wide = z.astype(WIDE)
    np.testing.assert_allclose(got[0], 2 * np.mean(np.log1p(np.exp(-wide))), 1e-6)
    np.testing.assert_allclose(got[1], -2 * sigmoid(-wide) / 4, 1e-6, 1e-38)


def test_sigmoid_by_hand_is_the_same_to_the_bit():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [None])
        y = [1 / (1 + dg.exp(-x)), dg.reciprocal(dg.exp(-x) + 1)]
    z = np.array([0, -0.0, 1, -100, 100, np.inf, -np.inf, np.nan], np.float32)
    got, want, plan = both(y, {x: z}, PASSES)
    assert "1 / (1 + exp(-x)) -> sigmoid(x)" in whats(plan)
    for a, b in zip(got, want):
        same_bits(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_x_times_sigmoid_written_out(dtype):
    """Its gradient divides by what overflows, twice, and multiplies by it."""
    with dg.Graph().as_default():
        x = dg.placeholder(dtype, [5, 8])
        y = [x / (1 + dg.exp(-x)), dg.sin(x) / (dg.exp(-x) + 1)]
        slopes = [dg.gradients(v, x)[0] for v in y]
    numbers = samples(-1000, 1000, dtype)
    got, want, plan = both([*y, *slopes], {x: numbers}, PASSES)
    wide = numbers.astype(WIDE)
    s, rest = sigmoid(wide), sigmoid(-wide)
    sin, cos = np.sin(wide), np.cos(wide)
    swish = s + wide * s * rest
    true = [wide * s, sin * s, swish, cos * s + sin * s * rest]
    for a, t in zip(got, true):
        # The slopes have zeros, where terms of size 1 cancel.
        assert error(a, t, 1.0).max() <= 2
    assert np.isnan(want[2]).any()
    assert np.isnan(want[3]).any()
    found = [c for c in plan.changes if c.what == "the gradient of a / (1 + exp(x))"]
    assert [c.count for c in found] == [2]


def test_logsumexp_along_axes_that_follow_each_other_and_others():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [2, 3, 4])
        y = [dg.log(dg.reduce_sum(dg.exp(x), a)) for a in ([1, 2], [-3, 1], [0, 2])]
        slopes = [dg.gradients(v, x)[0] for v in y]
    numbers = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    got, want, plan = both(slopes, {x: numbers}, PASSES)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, 1e-6)
    large, _, _ = both(slopes[:2], {x: numbers * 1000}, PASSES)
    assert np.isfinite(large).all()
    found = [c for c in plan.changes if c.what == "the gradient of logsumexp(x)"]
    assert [c.count for c in found] == [2]


@pytest.mark.parametrize("name", FORMS)
def test_infinities_and_nan_are_those_of_the_limit(name):
    build, value, _, (low, high), _ = FORMS[name]
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [4, 2])
        y = build(x)
    ends = [np.inf if high > 100 else 0.5, -np.inf if low < -100 else -0.5]
    z = np.array([[np.nan, 0], [ends[0], 0.25], [0.25, ends[1]], [-0.0, 0.0]])
    got, want, _ = both(y, {x: z}, PASSES)
    with np.errstate(all="ignore"):
        true = value(z.astype(WIDE))
    rows_are_mixed = "soft" in name
    if not rows_are_mixed:
        kept = np.isfinite(true) | np.isnan(z if true.shape == z.shape else true)
        assert (np.isnan(got) == np.isnan(true))[kept].all()
    settled = ~np.isnan(want)
    np.testing.assert_allclose(got[settled], want[settled], 1e-14)


def test_zeros_keep_their_sign():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [2])
        y = [dg.log(1 + x), dg.exp(x) - 1]
    got, _, _ = both(y, {x: np.array([0.0, -0.0], np.float32)}, PASSES)
    for a in got:
        same_bits(a, np.array([0.0, -0.0], np.float32))


def test_powers_are_rounded_once():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [1000])
        two, half, back = (dg.constant(e) for e in (2.0, 0.5, -1.0))
        y = [dg.pow(x, two), dg.pow(dg.square(x), half), dg.pow(x, back), x**two]
        signed = dg.pow(x, half)
    z = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    z[:4] = 0.0, -0.0, -np.inf, np.inf
    got, want, plan = both([*y, signed], {x: z}, PASSES)
    assert whats(plan) >= {"x^2 -> x²", "x^0.5 -> √x", "x^-1 -> 1 / x"}
    for a, b in zip(got, want):
        same_bits(np.isfinite(a), np.isfinite(b))
        np.testing.assert_array_max_ulp(a[4:], b[4:], 4)
    same_bits(got[0], z * z)
    same_bits(got[-1], want[-1])


def test_what_is_no_stable_form_stays():
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [2, 3])
        c = dg.placeholder(dg.complex64, [2])
        y = [
            dg.log(2.0 + x),
            dg.log(x - 1.0),
            dg.exp(x) - 2.0,
            dg.log(dg.reduce_sum(x, 1)),
            dg.log(1.0 + c),
            dg.exp(c) - 1.0,
            dg.log(dg.ones([4, 2, 3]) + x),
        ]
    _, _, plan = both(y, {x: np.ones((2, 3)), c: np.ones(2)}, ["stable"])
    assert dict(plan.rewrites)["stable"] == 0


FUNCTIONS = [
    dg.exp, dg.sigmoid, dg.negative, dg.nn.softmax, dg.log1p,
    lambda t: dg.log(1 + dg.exp(t)), lambda t: 1 + t, lambda t: 1 - t,
    lambda t: t - 1, lambda t: dg.log(dg.reduce_sum(dg.exp(t), 1, keepdims=True)) + t,
    lambda t: dg.log(dg.sigmoid(t)), lambda t: dg.log(dg.nn.softmax(t)),
    lambda t: 1 / (1 + dg.exp(t)), lambda t: t / (1 + dg.exp(-t)),
    lambda t: dg.reciprocal(1 + dg.exp(t)), lambda t: over_one_and(dg.exp(t)),
    lambda t: dg.exp(t) / (1 + dg.exp(t)), lambda t: dg.log(t),
    lambda t: t + dg.log(dg.reduce_sum(dg.exp(t))),
]  # fmt: skip


@given(
    st.lists(st.sampled_from(FUNCTIONS), min_size=1, max_size=5),
    st.integers(0, 99),
    st.booleans(),
)
@settings(max_examples=150)
def test_random_chains_and_their_gradients_stay_within_rounding(chain, seed, static):
    """In float64, in a range where every form is accurate, the difference is rounding;
    what no longer overflows may only become finite."""
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float64, [4, 3] if static else [None, None])
        y = x
        for f in chain:
            y = f(y)
        (dx,) = dg.gradients(y, x)
    z = np.random.default_rng(seed).uniform(-1, 1, (4, 3))
    got, want, _ = both([y, dx], {x: z}, None)
    for a, b in zip(got, want):
        settled = np.isfinite(b) & (np.abs(b) < 1e100)
        np.testing.assert_allclose(a[settled], b[settled], 1e-9, 1e-9)
