"""Elementwise ops where values are odd: kinks, NaN, infinities, signed zeros, ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluate import evaluate

from dagrad.graphlib.dtypes import DTYPES
from dagrad.graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.graphlib.tensor import Tensor
from dagrad.ops import (
    activations,
    clipping,
    complexes,
    elementwise,
    logical,
    powers,
    rounding,
    special,
    transcendental,
)
from dagrad.ops.core import placeholder

INF, NAN = np.inf, np.nan


def tensor(dtype: str = "float64", shape: Any = None) -> Tensor:
    return placeholder(dtype, shape)


def value(build: Any, *arrays: Any) -> Any:
    """The result of ``build`` on arrays."""
    arrays = tuple(np.asarray(a) for a in arrays)
    with Graph().as_default(), np.errstate(all="ignore"):
        inputs = [tensor(a.dtype, a.shape) for a in arrays]
        return evaluate(build(*inputs), dict(zip(inputs, arrays)))


def slopes(build: Any, *arrays: Any, seed: Any = None) -> Any:
    """The gradients of the sum of ``build`` with respect to each array."""
    arrays = tuple(np.asarray(a) for a in arrays)
    with Graph().as_default(), np.errstate(all="ignore"):
        inputs = [tensor(a.dtype, a.shape) for a in arrays]
        seeds = None if seed is None else [np.asarray(seed)]
        found = gradients(build(*inputs), inputs, seeds)
        results = evaluate(
            [g for g in found if g is not None], dict(zip(inputs, arrays))
        )
        by_place = iter(results)
        out = [None if g is None else next(by_place) for g in found]
        return out[0] if len(out) == 1 else out


def same(got: Any, want: Any) -> None:
    """Equal numbers, NaN equal to NaN, zeros of one sign."""
    got, want = np.asarray(got), np.asarray(want, np.asarray(got).dtype)
    np.testing.assert_array_equal(got, want)
    number = want == want
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))


def near(got: Any, want: Any) -> None:
    """Equal up to the last digits."""
    np.testing.assert_allclose(got, want, rtol=1e-15)


# -- kinks and ties ------------------------------------------------------------------


def test_abs_has_slope_0_at_0() -> None:
    same(slopes(rounding.abs_, [-2.0, 0.0, 3.0]), [-1, 0, 1])


def test_complex_abs_has_slope_0_at_0() -> None:
    same(slopes(rounding.abs_, [0j, 3 + 4j]).real, [0, 0.6])


@pytest.mark.parametrize("build", [rounding.maximum, rounding.minimum])
def test_at_ties_the_gradient_goes_to_the_first_operand(build: Any) -> None:
    x, y = slopes(build, [1.0, 2.0], [1.0, 2.0])
    same(x, [1, 1])
    same(y, [0, 0])


def test_maximum_keeps_nan() -> None:
    same(value(rounding.maximum, [NAN, 1.0], [1.0, NAN]), [NAN, NAN])


@pytest.mark.parametrize(
    ("build", "at_zero"),
    [
        (activations.relu, 0),
        (activations.relu6, 0),
        (activations.leaky_relu, 0.2),
        (activations.elu, 1),
        (activations.selu, 1.0507009873554805),
        (activations.softsign, 1),
    ],
)
def test_slope_of_a_rectifier_at_0(build: Any, at_zero: float) -> None:
    same(slopes(build, [0.0]), [at_zero])


def test_relu6_is_flat_at_and_beyond_6() -> None:
    same(slopes(activations.relu6, [5.9, 6.0, 7.0]), [1, 0, 0])


def test_relu_blocks_infinite_cotangents_where_it_is_flat() -> None:
    same(slopes(activations.relu, [-1.0, 1.0], seed=[INF, INF]), [0, INF])


def test_relu_keeps_nan_and_gives_it_no_gradient() -> None:
    same(value(activations.relu, [NAN, INF, -INF]), [NAN, INF, 0])
    same(slopes(activations.relu, [NAN]), [0])


def test_clip_by_value_passes_the_gradient_on_its_bounds() -> None:
    def clip(x: Any) -> Any:
        return clipping.clip_by_value(x, -1.0, 1.0)

    same(slopes(clip, [-2.0, -1.0, 0.0, 1.0, 2.0]), [0, 1, 1, 1, 0])
    same(value(clip, [NAN, INF, -INF]), [NAN, 1, -1])


def test_clip_by_norm_at_the_origin_is_the_identity() -> None:
    def clip(x: Any) -> Any:
        return clipping.clip_by_norm(x, 2.0)

    same(value(clip, np.zeros(3)), np.zeros(3))
    same(slopes(clip, np.zeros(3)), np.ones(3))


def test_clip_by_global_norm_spoils_everything_after_an_overflow() -> None:
    def clip(x: Any, y: Any) -> Any:
        return clipping.clip_by_global_norm([x, y], 1.0)[0]

    a, b = value(clip, [INF, 1.0], [2.0])
    assert np.isnan(a).all() and np.isnan(b).all()


def test_clip_by_global_norm_of_zeros_is_zero() -> None:
    def clip(x: Any) -> Any:
        return clipping.clip_by_global_norm([x], 1.0)[0]

    same(value(clip, [0.0, 0.0])[0], [0, 0])


# -- powers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exponent", "slope"), [(0, 0), (1, 1), (2, 0), (3, 0), (2.0, 0), (0.5, INF)]
)
def test_slope_at_0_of_a_fixed_power(exponent: float, slope: float) -> None:
    found = slopes(lambda x: x**exponent, [0.0])
    same(0.0 if found is None else found[0], slope)


@pytest.mark.parametrize("exponent", [np.float32(2), np.int64(2), np.array(2.0)])
def test_slope_at_0_of_a_fixed_power_of_numpy(exponent: Any) -> None:
    same(slopes(lambda x: x**exponent, [0.0, 3.0]), [0, 6])


def test_second_derivative_of_a_square_at_0() -> None:
    def slope(x: Any) -> Any:
        return gradients(x**2, x)[0]

    same(slopes(slope, [0.0, -3.0]), [2, 2])


def test_powers_of_zero_and_nan() -> None:
    same(value(powers.pow_, [0.0, NAN, 1.0], [0.0, 0.0, NAN]), [1, 1, 1])


def test_gradient_of_a_power_at_the_origin_is_finite() -> None:
    base, exponent = slopes(powers.pow_, [0.0, 0.0], [0.0, 2.0])
    same(base, [0, 0])
    same(exponent, [0, 0])


def test_the_exponent_gets_no_gradient_from_a_negative_base() -> None:
    base, exponent = slopes(powers.pow_, [-2.0], [3.0])
    same(base, [12])
    same(exponent, [0])


def test_a_negative_base_with_a_fraction_gives_nan() -> None:
    assert np.isnan(value(powers.pow_, [-2.0], [0.5])).all()


def test_square_root_keeps_the_sign_of_zero() -> None:
    same(value(powers.sqrt, [-0.0, 0.0, INF]), [-0.0, 0.0, INF])
    assert np.isnan(value(powers.sqrt, [-1.0])).all()


def test_reciprocals_of_signed_zeros() -> None:
    same(value(powers.reciprocal, [0.0, -0.0, INF, -INF]), [INF, -INF, 0.0, -0.0])
    same(value(powers.rsqrt, [0.0, INF, 4.0]), [INF, 0, 0.5])


def test_integers_to_negative_powers_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="negative integer power"):
        value(powers.pow_, np.array([2], np.int32), np.array([-1], np.int32))


# -- division ------------------------------------------------------------------------


def test_floating_division_by_zero_follows_ieee() -> None:
    same(
        value(elementwise.truediv, [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]), [INF, -INF, NAN]
    )


@pytest.mark.parametrize(
    "build",
    [
        elementwise.floordiv,
        elementwise.floormod,
        elementwise.truncatediv,
        elementwise.truncatemod,
        elementwise.div,
    ],
)
def test_integer_division_by_zero_raises(build: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="division by zero"):
        value(build, np.array([1, 2]), np.array([1, 0]))


@pytest.mark.parametrize(
    ("build", "want"),
    [
        (elementwise.floordiv, [-4, -4, 3, 3]),
        (elementwise.truncatediv, [-3, -3, 3, 3]),
        (elementwise.floormod, [1, -1, 1, -1]),
        (elementwise.truncatemod, [-1, 1, 1, -1]),
    ],
)
def test_rounding_of_integer_quotients(build: Any, want: list[int]) -> None:
    x, y = np.array([-7, 7, 7, -7]), np.array([2, -2, 2, -2])
    same(value(build, x, y), want)


@pytest.mark.parametrize(
    ("dtype", "want"),
    [
        ("int8", "float32"),
        ("uint16", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
    ],
)
def test_true_division_of_integers_is_floating(dtype: str, want: str) -> None:
    x = np.array([1, 2], dtype)
    result = value(lambda a, b: a / b, x, x + np.array(1, dtype))
    assert result.dtype == want
    np.testing.assert_allclose(result, [0.5, 2 / 3], rtol=1e-6)


def test_zero_safe_quotients_and_logarithms() -> None:
    same(value(elementwise.div_no_nan, [1.0, 0.0, NAN], [0.0, 0.0, 0.0]), [0, 0, 0])
    same(value(transcendental.xlogy, [0.0, 0.0, 2.0], [0.0, NAN, 1.0]), [0, 0, 0])
    same(value(transcendental.xdivy, [0.0, 0.0, 2.0], [0.0, NAN, 4.0]), [0, 0, 0.5])


def test_gradients_of_zero_safe_functions_are_zero_there() -> None:
    for build in (elementwise.div_no_nan, transcendental.xlogy, transcendental.xdivy):
        x, y = slopes(build, [0.0], [0.0])
        same(np.abs(x), [0])
        same(np.abs(y), [0])


# -- tails ---------------------------------------------------------------------------

FAR = [-1e4, -800.0, -40.0, 40.0, 800.0, 1e4, -INF, INF]


def test_sigmoid_in_its_tails() -> None:
    small = np.exp(-40.0)
    near(value(activations.sigmoid, FAR), [0, 0, small, 1, 1, 1, 0, 1])


def test_softplus_in_its_tails() -> None:
    small = np.exp(-40.0)
    near(value(activations.softplus, FAR), [0, 0, small, 40, 800, 1e4, 0, INF])
    near(slopes(activations.softplus, FAR), [0, 0, small, 1, 1, 1, 0, 1])


def test_log_sigmoid_in_its_tails() -> None:
    got = value(activations.log_sigmoid, FAR)
    np.testing.assert_allclose(
        got, [-1e4, -800, -40, -np.exp(-40.0), 0, 0, -INF, 0], rtol=1e-15
    )


def test_tanh_saturates_with_slope_0() -> None:
    same(value(transcendental.tanh, [-INF, -800.0, 800.0, INF]), [-1, -1, 1, 1])
    same(slopes(transcendental.tanh, [-800.0, 800.0]), [0, 0])


def test_gelu_keeps_relative_precision_in_the_left_tail() -> None:
    from scipy.special import ndtr

    np.testing.assert_allclose(
        value(activations.gelu, [-30.0, -8.0, 8.0]),
        [-30 * ndtr(-30.0), -8 * ndtr(-8.0), 8.0],
        rtol=1e-13,
    )


@pytest.mark.parametrize(
    "build",
    [
        activations.sigmoid,
        activations.softplus,
        activations.log_sigmoid,
        activations.elu,
        activations.selu,
        activations.softsign,
        activations.gelu,
        activations.leaky_relu,
        activations.relu6,
        transcendental.tanh,
        special.erf,
        special.erfc,
        special.lgamma,
        special.digamma,
        special.erfinv,
        special.ndtri,
    ],
)
def test_nan_stays_nan(build: Any) -> None:
    assert np.isnan(value(build, [NAN])).all()


# -- rounding ------------------------------------------------------------------------


def test_halves_round_to_even() -> None:
    same(
        value(rounding.round_, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]),
        [-2, -2, -0.0, 0, 2, 2],
    )


def test_floor_and_ceil_keep_infinities_and_signs() -> None:
    same(value(rounding.floor, [-0.0, INF, -INF, -0.5]), [-0.0, INF, -INF, -1])
    same(value(rounding.ceil, [-0.5, 0.5]), [-0.0, 1])


def test_rounding_cuts_the_gradient() -> None:
    assert slopes(rounding.floor, [1.5]) is None
    assert slopes(rounding.round_, [1.5]) is None


def test_sign_has_a_zero_gradient() -> None:
    same(slopes(rounding.sign, [-2.0, 0.0, 3.0]), [0, 0, 0])


# -- selection -----------------------------------------------------------------------


def test_what_is_not_chosen_gets_no_gradient_even_where_it_is_nan() -> None:
    x, y = slopes(
        lambda a, b: logical.where_v2(logical.less(a, b), a, b), [NAN, 1.0], [2.0, 3.0]
    )
    same(x, [0, 1])
    same(y, [1, 0])


def test_a_vector_condition_chooses_rows() -> None:
    x, y = np.ones((2, 2)), np.zeros((2, 2))
    mask = np.array([True, False])
    same(value(logical.where, mask, x, y), [[1, 1], [0, 0]])
    same(value(logical.where_v2, mask, x, y), [[1, 0], [1, 0]])


def test_a_vector_condition_of_unknown_rank_chooses_rows() -> None:
    with Graph().as_default():
        mask, x = tensor("bool"), tensor()
        chosen = logical.where(mask, x, x * 0.0)
        feeds = {mask: np.array([True, False]), x: np.ones((2, 2))}
        same(evaluate(chosen, feeds), [[1, 1], [0, 0]])
        same(evaluate(gradients(chosen, x)[0], feeds), [[1, 1], [0, 0]])


def test_a_vector_condition_must_fit_the_rows() -> None:
    with Graph().as_default(), pytest.raises(ShapeError, match="first dimension"):
        logical.where(tensor("bool", (3,)), tensor("float64", (2, 2)), 0.0)


def test_where_wants_both_values_or_neither() -> None:
    with Graph().as_default(), pytest.raises(ShapeError, match="both"):
        logical.where(tensor("bool", (3,)), 1.0)


def test_comparisons_with_nan_are_false() -> None:
    same(value(logical.less_equal, [NAN, 1.0], [1.0, NAN]), [False, False])
    same(value(logical.not_equal, [NAN], [NAN]), [True])


def test_strings_compare() -> None:
    a = np.array([b"x", b"y"], object)
    same(value(logical.equal, a, np.array([b"x", b"z"], object)), [True, False])


# -- dtypes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x + x,
        lambda x: x * x,
        lambda x: x / x,
        lambda x: -x,
        lambda x: x < x,
        lambda x: x**x,
        rounding.abs_,
        rounding.floor,
        lambda x: logical.bitwise_and(x, x),
    ],
)
def test_bools_do_no_arithmetic(build: Any) -> None:
    with Graph().as_default(), pytest.raises(DTypeError):
        build(tensor("bool", (2,)))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "float32", "complex64"])
def test_python_numbers_follow_the_tensor(dtype: str) -> None:
    with Graph().as_default():
        x = tensor(dtype, (2,))
        for y in (x + 1, 1 - x, x * 2, x**2, x - 1):
            assert y.dtype is DTYPES[dtype]


def test_a_python_float_makes_an_integer_tensor_floating() -> None:
    with Graph().as_default():
        assert (tensor("int32", (2,)) * 0.5).dtype.name == "float32"


def test_operands_of_two_dtypes_promote_as_numpy_does() -> None:
    with Graph().as_default():
        mixed = tensor("float32", (2,)) + tensor("float64", (2,))
        assert mixed.dtype.name == "float64"


def test_shapes_that_do_not_broadcast_are_named() -> None:
    with Graph().as_default(), pytest.raises(ShapeError, match=r"\(2,\) and \(3,\)"):
        tensor("float32", (2,)) + tensor("float32", (3,))


def test_operators_on_bools_are_logic_and_on_integers_bits() -> None:
    with Graph().as_default():
        b, i = tensor("bool", (2,)), tensor("int32", (2,))
        assert [t.op.type for t in (b & b, ~b, i | i, ~i, b ^ True)] == [
            "LogicalAnd",
            "LogicalNot",
            "BitwiseOr",
            "Invert",
            "LogicalXor",
        ]


def test_operators_are_named_as_in_tf1() -> None:
    with Graph().as_default():
        x = tensor("float32", (2,))
        made = [x + x, x - x, x * x, x / x, x // x, x % x, x**x, x**2, -x]
        assert [t.op.name for t in made] == [
            "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "pow_1", "Neg",
        ]  # fmt: skip


# -- NumPy's functions build nodes ---------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "exp",
        "log",
        "log1p",
        "expm1",
        "sin",
        "cos",
        "tan",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "arcsinh",
        "arctanh",
        "sqrt",
        "square",
        "abs",
        "negative",
        "sign",
        "floor",
        "ceil",
        "rint",
        "reciprocal",
        "isnan",
        "isfinite",
        "real",
        "imag",
        "conjugate",
        "angle",
    ],
)
def test_numpy_function_of_a_tensor(name: str) -> None:
    x = np.array([0.3, 0.7])
    f = getattr(np, name)
    np.testing.assert_allclose(value(f, x), f(x), rtol=1e-15)


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "floor_divide",
        "remainder",
        "power",
        "maximum",
        "minimum",
        "arctan2",
        "less",
        "greater_equal",
        "equal",
        "not_equal",
        "fmod",
    ],
)
def test_numpy_function_of_an_array_and_a_tensor(name: str) -> None:
    x, y = np.array([0.3, 2.7]), np.array([1.3, 0.7])
    f = getattr(np, name)
    np.testing.assert_allclose(value(lambda t: f(x, t), y), f(x, y), rtol=1e-15)


def test_numpy_where_clip_and_round() -> None:
    x = np.array([-1.0, 0.5, 3.0])
    same(value(lambda t: np.round(t, 1), x + 0.04), [-1, 0.5, 3])
    same(value(np.round, x), [-1, 0, 3])
    same(value(lambda t: np.where(t > 0, t, 0.0), x), [0, 0.5, 3])
    same(value(lambda t: np.clip(t, 0, 1), x), [0, 0.5, 1])


# -- complex numbers -----------------------------------------------------------------


def test_angle_of_negative_reals_is_pi() -> None:
    same(value(complexes.angle, [-2.0, 3.0]), [np.pi, 0])


def test_complex_modulus_does_not_overflow() -> None:
    np.testing.assert_allclose(value(rounding.abs_, [3e300 + 4e300j]), [5e300])


def test_gradient_of_a_modulus_follows_tf1() -> None:
    z = np.array([3 + 4j])
    np.testing.assert_allclose(slopes(rounding.abs_, z), z / 5)
