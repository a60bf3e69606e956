"""Taylor mode: closed forms to high order, shapes, composition, cost, errors.

``fixtures/taylor.json`` holds coefficients from mpmath (``make_taylor.py``); every
op's rule is compared with nested jvp in ``test_taylor_records.py``.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.errors import (
    DTypeError,
    GradientError,
    InvalidArgumentError,
    ShapeError,
)
from dagrad.graphlib.forward import jvp
from dagrad.graphlib.taylor import derivatives, jet, taylor_coefficients

f64 = dg.float64
KNOWN = json.loads((Path(__file__).parent / "fixtures" / "taylor.json").read_text())
# The derivatives at 0 of the path of the fixture: x + t/2 - t²/4 + 3 t³/10.
PATH = [0.5, -0.5, 1.8, *[None] * 7]


pytestmark = pytest.mark.usefixtures("graph")


def value(fetches, feeds=None):
    return dg.Session().run(fetches, feeds)


def size():
    return len(dg.get_default_graph().get_operations())


def nested(y, x, order):
    """The derivatives by jvp of jvp of ..."""
    found, level = [], y
    for _ in range(order):
        (level,) = [None] if level is None else jvp([level], [x])
        found.append(dg.zeros_like(y) if level is None else level)
    return found


# -- closed forms --------------------------------------------------------------------


def build(name, x):
    if name.startswith("x**"):
        return x**x if name[3:] == "x" else x ** float(name[3:])
    if name == "1/(1+x*x)":
        return 1.0 / (1.0 + x * x)
    if name == "exp(sin(x))/x":
        return dg.exp(dg.sin(x)) / x
    place = next(p for p in (dg, dg.math, dg.nn) if hasattr(p, name))
    return getattr(place, name)(x)


@pytest.mark.parametrize("name", KNOWN)
def test_order_ten_along_a_curved_path(name):
    x = dg.constant(KNOWN[name]["at"], f64)
    (found,) = jet([build(name, x)], [x], [PATH])
    got = [d / math.factorial(k) for k, d in enumerate(value(found), 1)]
    want = KNOWN[name]["coefficients"][1:]
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13 * max(map(abs, want)))


def test_the_series_of_exp_is_one_over_factorials():
    x = dg.constant(0.0, f64)
    got = value(taylor_coefficients(dg.exp(x), x, 12))
    np.testing.assert_allclose(got, [1 / math.factorial(k) for k in range(13)], 1e-15)


def test_the_series_of_tan_has_the_zigzag_numbers():
    x = dg.constant(0.0, f64)
    got = value(derivatives(dg.tan(x), x, 11))
    want = [1, 0, 2, 0, 16, 0, 272, 0, 7936, 0, 353792]
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_the_series_of_runges_function_is_geometric():
    x = dg.constant(0.0, f64)
    got = value(taylor_coefficients(1.0 / (1.0 + x * x), x, 10))
    assert got == [1, 0, -1, 0, 1, 0, -1, 0, 1, 0, -1]


def test_the_series_of_sqrt_has_binomials():
    x = dg.constant(1.0, f64)
    got = value(taylor_coefficients(dg.sqrt(x), x, 10))
    want, c = [], Fraction(1)
    for k in range(11):
        want.append(float(c))
        c *= (Fraction(1, 2) - k) / (k + 1)
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_a_polynomial_ends():
    x = dg.constant([0.0, 2.0], f64)
    got = value(derivatives(x**3, x, 5))
    np.testing.assert_array_equal(got, [[0, 12], [0, 12], [6, 6], [0, 0], [0, 0]])


def test_whole_powers_have_all_derivatives_at_zero():
    x = dg.constant(0.0, f64)
    got = value(taylor_coefficients(x**4 + x**2.0, x, 6))
    assert got == [0, 0, 1, 0, 1, 0, 0]


def test_a_fractional_power_at_zero_is_right_as_far_as_it_is_finite():
    x = dg.constant(0.0, f64)
    assert value(derivatives(x**3.5, x, 3)) == [0, 0, 0]


def test_a_power_with_a_base_below_zero_holds_the_exponent():
    x, y = dg.constant(-2.0, f64), dg.constant(3.0, f64)
    ((first, second),) = jet([dg.pow(x, y)], [x, y], [[1.0, None], [1.0, None]])
    assert value([first, second]) == [12.0, -12.0]


def test_products_of_nothing_and_of_zeros():
    x = dg.constant([0.0, 0.0, 3.0], f64)
    ((one, two, three),) = jet(
        [dg.reduce_prod(x)], [x], [[[1.0, 2.0, 0.5], None, None]]
    )
    # (t)(2t)(3 + t/2) = 6 t² + t³
    assert value([one, two, three]) == [0.0, 12.0, 6.0]


def test_xlogy_is_zero_where_x_is():
    x = dg.constant(0.0, f64)
    y = dg.constant(0.0, f64)
    (found,) = jet([dg.math.xlogy(x, y)], [x, y], [[1.0, None], [1.0, None]])
    assert value(found) == [0.0, 0.0]


def test_a_division_by_zero_that_is_zero_stays_zero():
    x, y = dg.constant([1.0, 1.0], f64), dg.constant([0.0, 2.0], f64)
    (found,) = jet([dg.div_no_nan(x, y)], [y], [[[1.0, 1.0], None, None]])
    np.testing.assert_allclose(value(found), [[0, -0.25], [0, 0.25], [0, -0.375]])


# -- kinks ---------------------------------------------------------------------------


def test_pieces_are_expanded_each_by_itself():
    x = dg.constant([-1.0, 2.0], f64)
    y = dg.where_v2(dg.greater(x, 0.0), x**2, dg.exp(x))
    got = value(derivatives(y, x, 3))
    e = math.exp(-1)
    np.testing.assert_allclose(got, [[e, 4], [e, 2], [e, 0]], rtol=1e-15)


def test_relu_keeps_the_curvature_of_its_input():
    x = dg.constant([-3.0, 3.0], f64)
    (found,) = jet([dg.nn.relu(x)], [x], [[[1.0, 1.0], [5.0, 5.0]]])
    np.testing.assert_array_equal(value(found), [[0, 1], [0, 5]])


def test_max_follows_the_largest_element():
    x = dg.constant([1.0, 4.0, 2.0], f64)
    (found,) = jet([dg.reduce_max(x)], [x], [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    assert value(found) == [2.0, 5.0]


# -- shapes and dtypes ---------------------------------------------------------------


def test_a_path_may_be_broadcast():
    x = dg.constant([[1.0], [2.0]], f64)
    y = dg.constant([3.0, 5.0, 7.0], f64)
    outputs = [x + y, x * y, x / y, dg.maximum(x, y), dg.squared_difference(x, y)]
    found = jet(outputs, [x], [[[[1.0], [1.0]], None, None]])
    for series in value(found):
        assert {d.shape for d in series} == {(2, 3)}
    np.testing.assert_array_equal(value(found[4][1]), np.full((2, 3), 2.0))


def test_a_chain_of_matrix_products():
    a, b, c = (np.random.default_rng(i).normal(size=(3, 3)) for i in range(3))
    x = dg.constant(a)
    y = x @ dg.constant(b) @ x @ x
    ((d1, d2, d3, d4),) = jet([y], [x], [[c, None, None, None]])
    np.testing.assert_allclose(value(d1), c @ b @ a @ a + a @ b @ c @ a + a @ b @ a @ c)
    want = 2 * (c @ b @ c @ a + c @ b @ a @ c + a @ b @ c @ c)
    np.testing.assert_allclose(value(d2), want)
    np.testing.assert_allclose(value(d3), 6 * c @ b @ c @ c)
    np.testing.assert_array_equal(value(d4), np.zeros((3, 3)))


def test_the_matrix_exponential_from_one_block_matrix():
    a = np.array([[0.0, 1.0], [-1.0, 0.0]])
    t = dg.placeholder(f64, [])
    found = derivatives(dg.linalg.expm(t * a), t, 4)
    c, s = math.cos(0.7), math.sin(0.7)
    rotation = np.array([[c, s], [-s, c]])
    for k, got in enumerate(value(found, {t: 0.7}), 1):
        np.testing.assert_allclose(got, np.linalg.matrix_power(a, k) @ rotation, 1e-13)


def test_unknown_dimensions():
    x = dg.placeholder(f64, [None, None])
    w = dg.placeholder(f64, None)
    y = dg.reduce_sum(dg.tanh(x @ w), axis=1, keepdims=True) / dg.exp(x)
    found = derivatives(y, x, 4)
    a, b = np.random.default_rng(0).normal(size=(2, 3, 3)) / 2
    got = value(found, {x: a, w: b})
    for g, want in zip(got, value(nested(y, x, 4), {x: a, w: b}), strict=True):
        np.testing.assert_allclose(g, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 1)])
def test_scalars_and_empty_arrays(shape):
    x = dg.constant(np.full(shape, 0.5))
    for y in (
        dg.sin(x) * x,
        dg.sqrt(x) / x,
        dg.reduce_sum(x) * x,
        dg.cumprod(x * x, 0) if shape else dg.tanh(x),
    ):
        for d, want in zip(derivatives(y, x, 3), nested(y, x, 3), strict=True):
            got = value(d)
            assert got.shape == shape
            np.testing.assert_allclose(got, value(want), rtol=1e-13)


def test_float32_stays_float32():
    x = dg.constant([0.5, 1.5])
    found = derivatives(dg.log(x) * dg.sigmoid(x), x, 6)
    assert {d.dtype for d in found} == {dg.float32}
    wide = dg.constant([0.5, 1.5], f64)
    want = value(derivatives(dg.log(wide) * dg.sigmoid(wide), wide, 6))
    np.testing.assert_allclose(value(found), want, rtol=1e-4)


def test_complex_paths():
    z = dg.constant(0.3 + 0.4j, dg.complex128)
    got = value(taylor_coefficients(dg.exp(z) * dg.sin(z) / z, z, 5))
    # numpy.fft of samples on a circle around z (Lyness & Moler).
    points = 0.3 + 0.4j + 0.25 * np.exp(2j * np.pi * np.arange(64) / 64)
    samples = np.exp(points) * np.sin(points) / points
    want = (np.fft.fft(samples) / 64)[:6] / 0.25 ** np.arange(6)
    np.testing.assert_allclose(got, want, rtol=1e-11)


# -- several ys, several xs ----------------------------------------------------------


def test_two_paths_meet():
    x, y = dg.constant(2.0, f64), dg.constant(3.0, f64)
    # (2 + t + t²)(3 - t) = 6 + t + 2 t² - t³
    (found,) = jet([x * y], [x, y], [[1.0, 2.0, None], [-1.0, None, None]])
    assert value(found) == [1.0, 4.0, -6.0]


def test_an_x_downstream_of_another_keeps_its_own_path():
    x = dg.constant(2.0, f64)
    h = x * x
    ((first,),) = jet([h * x], [x, h], [[1.0], [0.0]])
    assert value(first) == 4.0


def test_a_tangent_may_be_the_tensor_itself():
    x = dg.constant(0.5, f64)
    # x(t) = x e^t, so y = arsinh(x e^t).
    (found,) = jet([dg.asinh(x)], [x], [[x, x, x]])
    t = dg.constant(0.0, f64)
    want = nested(dg.asinh(0.5 * dg.exp(t)), t, 3)
    np.testing.assert_allclose(value(found), value(want), rtol=1e-13)


def test_the_path_may_begin_with_a_zero():
    x = dg.constant(0.5, f64)
    (found,) = jet([dg.atan(x)], [x], [[None, 2.0, None, None]])
    t = dg.constant(0.0, f64)
    want = nested(dg.atan(0.5 + t * t), t, 4)
    np.testing.assert_allclose(value(found), value(want), rtol=1e-13, atol=1e-15)


def test_a_y_that_depends_on_no_x_has_no_series():
    x, y = dg.constant(1.0), dg.constant(2.0)
    constant, own = jet([y * 2.0, x], [x], [[1.0, None]])
    assert constant == [None, None]
    assert value(own) == [1.0, 0.0]


def test_stop_gradient_and_integers_cut_the_path():
    x = dg.constant(1.5)
    ys = [dg.stop_gradient(x) * 2.0, dg.cast(x, dg.int32)]
    assert jet(ys, [x], [[1.0]]) == [[None], [None]]


def test_a_single_x_with_its_list_alone():
    x = dg.Variable(2.0)
    ((first, second),) = jet(x * x, x, [1.0, None])
    with dg.Session() as session:
        session.run(dg.global_variables_initializer())
        assert session.run([first, second]) == [4.0, 2.0]


def test_order_zero():
    x = dg.constant(1.0, f64)
    assert jet([x * x], [x], [[]]) == [[]]
    assert derivatives(x * x, x, 0) == []
    assert value(taylor_coefficients(x * x, x, 0)) == [1.0]


# -- with the other modes ------------------------------------------------------------


def test_the_gradient_of_a_jet():
    x = dg.placeholder(f64, [])
    (third,) = derivatives(dg.sin(x) * dg.exp(x), x, 3)[2:]
    (fourth,) = dg.gradients(third, x)
    # d⁴/dx⁴ e^x sin x = -4 e^x sin x.
    np.testing.assert_allclose(
        value(fourth, {x: 0.7}), -4 * math.exp(0.7) * math.sin(0.7), rtol=1e-13
    )


def test_the_jet_of_a_gradient():
    x = dg.placeholder(f64, [])
    (slope,) = dg.gradients(dg.tanh(x), x)
    got = value(derivatives(slope, x, 5), {x: 0.4})
    want = value(derivatives(dg.tanh(x), x, 6)[1:], {x: 0.4})
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_the_jet_of_a_jet():
    x = dg.placeholder(f64, [])
    y = dg.log(x) * x
    second = derivatives(y, x, 2)[1]
    got = value(derivatives(second, x, 3), {x: 1.7})
    np.testing.assert_allclose(got, value(derivatives(y, x, 5)[2:], {x: 1.7}), 1e-13)


def test_a_network_against_nested_jvp():
    rng = np.random.default_rng(5)
    x = dg.placeholder(f64, [None, 3])
    h = x
    for n, m in ((3, 8), (8, 8), (8, 2)):
        h = dg.tanh(h @ dg.constant(rng.normal(size=(n, m)) / 2) + rng.normal(size=m))
    y = dg.nn.softmax(h)
    v = rng.normal(size=(4, 3))
    (found,) = jet([y], [x], [[v, None, None, None]])
    want, level = [], y
    for _ in range(4):
        (level,) = jvp([level], [x], [v])
        want.append(level)
    feeds = {x: rng.normal(size=(4, 3))}
    for g, w in zip(value(found, feeds), value(want, feeds), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-10)


def test_a_networks_weights_learn_from_a_second_derivative():
    """The gradient of (y'' + y)², as a physics-informed loss takes it."""
    rng = np.random.default_rng(1)
    w = dg.placeholder(f64, [1, 5])
    v = dg.constant(rng.normal(size=(5, 1)))
    x = dg.constant(rng.normal(size=(6, 1)))
    y = dg.tanh(x @ w) @ v
    loss = dg.reduce_sum((derivatives(y, x, 2)[1] + y) ** 2)
    (g,) = dg.gradients(loss, w)
    at, step = rng.normal(size=(1, 5)), 1e-5
    for i in range(5):
        e = step * np.eye(5)[i : i + 1]
        up, down = value(loss, {w: at + e}), value(loss, {w: at - e})
        np.testing.assert_allclose(
            value(g, {w: at})[0, i], (up - down) / (2 * step), rtol=1e-6, atol=1e-7
        )


# -- cost ----------------------------------------------------------------------------


def nodes(f, order):
    """How many nodes the derivatives of f(sin x) take."""
    with dg.Graph().as_default():
        x = dg.placeholder(f64, [])
        y = f(dg.sin(x))
        before = size()
        derivatives(y, x, order)
        return size() - before


@pytest.mark.parametrize(
    "f",
    [
        dg.exp,
        dg.tanh,
        dg.sqrt,
        lambda h: h / (1.0 + h),
        lambda h: dg.log(2.0 + h),
        lambda h: dg.cos(h) * dg.sin(h),
        lambda h: dg.atan(h) + dg.erf(h),
        lambda h: dg.nn.softmax(dg.stack([h, 2.0 * h])),
        lambda h: dg.matrix_inverse(dg.eye(2, dtype=f64) * (h + 2.0)),
    ],
)
def test_twice_the_order_takes_less_than_four_times_the_nodes(f):
    assert nodes(f, 16) < 4 * nodes(f, 8) < 16 * nodes(f, 4)


def test_nested_jvp_explodes_where_the_jet_does_not():
    def by_jvp(order):
        with dg.Graph().as_default():
            x = dg.placeholder(f64, [])
            y = dg.tanh(x)
            before = size()
            nested(y, x, order)
            return size() - before

    def by_jet(order):
        with dg.Graph().as_default():
            x = dg.placeholder(f64, [])
            y = dg.tanh(x)
            before = size()
            derivatives(y, x, order)
            return size() - before

    assert by_jet(8) < 3 * by_jet(4)
    assert by_jvp(8) > 10 * by_jvp(4)
    assert by_jvp(8) > 10 * by_jet(8)


@pytest.mark.parametrize(
    "f", [dg.lgamma, lambda h: dg.norm(dg.stack([h, h * h, h + 2.0]))]
)
def test_ops_without_a_recurrence_stay_polynomial(f):
    assert nodes(f, 8) < 10 * nodes(f, 4)


def test_a_linear_chain_costs_one_node_per_coefficient():
    x = dg.placeholder(f64, [3, 4])
    y = dg.transpose(dg.reshape(x, [4, 3]))
    entries = [dg.constant(np.full((3, 4), float(k))) for k in range(1, 6)]
    before = size()
    jet([y], [x], [entries])
    made = [op.type for op in dg.get_default_graph().get_operations()[before:]]
    assert made.count("Reshape") == made.count("Transpose") == 5


def test_a_deep_chain():
    x = dg.placeholder(f64, [])
    y = x
    for _ in range(700):
        y = y + 0.001 * dg.sin(y)
    (first, second) = derivatives(y, x, 2)
    up, mid, down = (value([y, first], {x: 0.5 + h}) for h in (1e-5, 0.0, -1e-5))
    np.testing.assert_allclose(mid[1], (up[0] - down[0]) / 2e-5, rtol=1e-7)
    np.testing.assert_allclose(
        value(second, {x: 0.5}), (up[1] - down[1]) / 2e-5, rtol=1e-6
    )


def test_nodes_know_their_forward_op():
    x = dg.placeholder(f64, [])
    with dg.name_scope("model"):
        y = dg.tanh(x)
    before = size()
    jet([y], [x], [[1.0, None]], name="series")
    made = dg.get_default_graph().get_operations()[before:]
    inside = [op for op in made if op.name.startswith("series/model/Tanh_jet/")]
    assert inside and all(op.forward_op is y.op for op in inside)


# -- errors --------------------------------------------------------------------------


def test_as_many_series_as_xs():
    x = dg.constant(1.0)
    with pytest.raises(ShapeError, match="2 series were given for 1 xs"):
        jet([x * x], [x], [[1.0], [1.0]])


def test_all_series_of_one_order():
    x, y = dg.constant(1.0), dg.constant(1.0)
    with pytest.raises(ShapeError, match=r"\[1, 2\] entries.*None is zero"):
        jet([x * y], [x, y], [[1.0], [1.0, 2.0]])


def test_an_entry_of_another_shape_or_dtype():
    x = dg.constant([1.0, 2.0])
    with pytest.raises(ShapeError, match=r"shape \(3,\), not \(2,\)"):
        jet([x * x], [x], [[[1.0, 2.0, 3.0]]])
    with pytest.raises(DTypeError, match="float64, not float32"):
        jet([x * x], [x], [[dg.constant([1.0, 2.0], f64)]])


def test_a_negative_order():
    x = dg.constant(1.0)
    with pytest.raises(InvalidArgumentError, match="-1"):
        derivatives(x * x, x, -1)


def test_an_op_without_derivatives_is_named():
    alpha = dg.constant([2.0])
    (g,) = jvp([dg.random_gamma([], alpha)], [alpha])
    with pytest.raises(GradientError, match="differentiated"):
        jet([g], [alpha], [[[1.0]]])
