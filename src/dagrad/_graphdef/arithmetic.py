"""TensorFlow's op types that compute numbers from numbers, and what builds each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagrad as tf

from ..graphlib.dtypes import DType
from ..ops import activations, logical, rounding
from ..ops.core import identity
from .nodes import Build, Node

__all__ = ["BUILDERS"]


def _fixed(count: int, build: Callable[..., Any]) -> Build:
    """A node of ``count`` inputs and no attributes that matter."""
    return lambda node: build(*node.take(count), name=node.name)


_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": tf.abs,
    "Acos": tf.acos,
    "Acosh": tf.acosh,
    "Asin": tf.asin,
    "Asinh": tf.asinh,
    "Atan": tf.atan,
    "Atanh": tf.atanh,
    "Ceil": tf.ceil,
    "Conj": tf.conj,
    "Cos": tf.cos,
    "Cosh": tf.cosh,
    "Digamma": tf.digamma,
    "Elu": tf.nn.elu,
    "Erf": tf.erf,
    "Erfc": tf.erfc,
    "Exp": tf.exp,
    "Expm1": tf.expm1,
    "Floor": tf.floor,
    "Inv": tf.reciprocal,
    "Invert": logical.invert,
    "IsFinite": tf.is_finite,
    "IsInf": tf.is_inf,
    "IsNan": tf.is_nan,
    "L2Loss": tf.nn.l2_loss,
    "Lgamma": tf.lgamma,
    "Log": tf.log,
    "Log1p": tf.log1p,
    "LogSoftmax": tf.nn.log_softmax,
    "LogicalNot": tf.logical_not,
    "Neg": tf.negative,
    "Reciprocal": tf.reciprocal,
    "Relu": tf.nn.relu,
    "Relu6": tf.nn.relu6,
    "Rint": rounding.rint,
    "Round": rounding.round_,
    "Rsqrt": tf.rsqrt,
    "Selu": tf.nn.selu,
    "Sigmoid": tf.sigmoid,
    "Sign": tf.sign,
    "Sin": tf.sin,
    "Sinh": tf.sinh,
    "Softmax": tf.nn.softmax,
    "Softplus": tf.nn.softplus,
    "Softsign": tf.nn.softsign,
    "Sqrt": tf.sqrt,
    "Square": tf.square,
    "Tan": tf.tan,
    "Tanh": tf.tanh,
}
_BINARY: dict[str, Callable[..., Any]] = {
    "Add": tf.add,
    "AddV2": tf.add,
    "Atan2": tf.atan2,
    "BitwiseAnd": tf.bitwise.bitwise_and,
    "BitwiseOr": tf.bitwise.bitwise_or,
    "BitwiseXor": tf.bitwise.bitwise_xor,
    "DivNoNan": tf.div_no_nan,
    "FloorDiv": tf.floordiv,
    "FloorMod": tf.floormod,
    "Greater": tf.greater,
    "GreaterEqual": tf.greater_equal,
    "LeftShift": tf.bitwise.left_shift,
    "Less": tf.less,
    "LessEqual": tf.less_equal,
    "LogicalAnd": tf.logical_and,
    "LogicalOr": tf.logical_or,
    "Maximum": tf.maximum,
    "Minimum": tf.minimum,
    "Mod": tf.truncatemod,
    "Mul": tf.multiply,
    "Polygamma": tf.polygamma,
    "Pow": tf.pow,
    "RealDiv": tf.realdiv,
    "RightShift": tf.bitwise.right_shift,
    "SquaredDifference": tf.squared_difference,
    "Sub": tf.subtract,
    "TruncateDiv": tf.truncatediv,
    "TruncateMod": tf.truncatemod,
    "Zeta": tf.zeta,
}
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "All": tf.reduce_all,
    "Any": tf.reduce_any,
    "Max": tf.reduce_max,
    "Mean": tf.reduce_mean,
    "Min": tf.reduce_min,
    "Prod": tf.reduce_prod,
    "Sum": tf.reduce_sum,
}


def _reduction(build: Callable[..., Any]) -> Build:
    def reduced(node: Node) -> Any:
        x, axes = node.take(2)
        kept = node.attr("keep_dims", False)
        return build(x, axes, keepdims=kept, name=node.name)

    return reduced


def _extreme_index(build: Callable[..., Any]) -> Build:
    def index(node: Node) -> Any:
        x, axis = node.take(2)
        kind = node.attr("output_type", tf.int64)
        return build(x, axis, output_type=kind, name=node.name)

    return index


def _running(build: Callable[..., Any]) -> Build:
    def running(node: Node) -> Any:
        x, axis = node.take(2)
        first, backwards = node.attr("exclusive", False), node.attr("reverse", False)
        return build(x, axis, first, backwards, name=node.name)

    return running


def _equality(build: Callable[..., Any]) -> Build:
    def compared(node: Node) -> Any:
        node.expect("incompatible_shape_error", True)
        return build(*node.take(2), name=node.name)

    return compared


def _div(node: Node) -> Any:
    x, y = node.take(2)
    build = tf.realdiv if x.dtype.is_inexact else tf.truncatediv
    return build(x, y, name=node.name)


def _matmul(node: Node) -> Any:
    a, b = node.take(2)
    first, second = node.attr("transpose_a", False), node.attr("transpose_b", False)
    return tf.matmul(a, b, first, second, name=node.name)


def _batch_matmul(node: Node) -> Any:
    a, b = node.take(2)
    first, second = node.attr("adj_x", False), node.attr("adj_y", False)
    return tf.matmul(a, b, adjoint_a=first, adjoint_b=second, name=node.name)


def _cast(node: Node) -> Any:
    (x,) = node.take(1)
    node.expect("Truncate", False)
    return tf.cast(x, node.need("DstT", DType), name=node.name)


def _complex(node: Node) -> Any:
    real, imaginary = node.take(2)
    node.attr("Tout", tf.complex64)
    return tf.complex(real, imaginary, name=node.name)


def _part_of_complex(build: Callable[..., Any]) -> Build:
    def part(node: Node) -> Any:
        (z,) = node.take(1)
        node.attr("Tout", tf.float32)
        return build(z, name=node.name)

    return part


def _leaky_relu(node: Node) -> Any:
    (x,) = node.take(1)
    return activations.leaky_relu(x, node.attr("alpha", 0.2), name=node.name)


def _einsum(node: Node) -> Any:
    return tf.einsum(node.need("equation", str), *node.inputs, name=node.name)


def _clip(node: Node) -> Any:
    x, low, high = node.take(3)
    return tf.clip_by_value(x, low, high, name=node.name)


def _add_n(node: Node) -> Any:
    # The sum of one number is that number: dagrad builds no node for it.
    if len(node.inputs) == 1:
        return identity(node.inputs[0], node.name)
    return tf.add_n(list(node.inputs), name=node.name)


def _inverse(node: Node) -> Any:
    (x,) = node.take(1)
    return tf.matrix_inverse(x, node.attr("adjoint", False), name=node.name)


def _triangular_solve(node: Node) -> Any:
    a, b = node.take(2)
    lower, adjoint = node.attr("lower", True), node.attr("adjoint", False)
    return tf.matrix_triangular_solve(a, b, lower, adjoint, name=node.name)


def _solve(node: Node) -> Any:
    a, b = node.take(2)
    return tf.matrix_solve(a, b, node.attr("adjoint", False), name=node.name)


BUILDERS: dict[str, Build] = {
    **{type: _fixed(1, build) for type, build in _UNARY.items()},
    **{type: _fixed(2, build) for type, build in _BINARY.items()},
    **{type: _reduction(build) for type, build in _REDUCTIONS.items()},
    "AddN": _add_n,
    "Angle": _part_of_complex(tf.angle),
    "ArgMax": _extreme_index(tf.argmax),
    "ArgMin": _extreme_index(tf.argmin),
    "BatchMatMul": _batch_matmul,
    "BatchMatMulV2": _batch_matmul,
    "Cast": _cast,
    "Cholesky": _fixed(1, tf.cholesky),
    "ClipByValue": _clip,
    "Complex": _complex,
    "ComplexAbs": _part_of_complex(tf.abs),
    "Cross": _fixed(2, tf.cross),
    "Cumprod": _running(tf.cumprod),
    "Cumsum": _running(tf.cumsum),
    "Div": _div,
    "Einsum": _einsum,
    "Equal": _equality(tf.equal),
    "Imag": _part_of_complex(tf.imag),
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "MatrixDeterminant": _fixed(1, tf.matrix_determinant),
    "MatrixInverse": _inverse,
    "MatrixSolve": _solve,
    "MatrixTriangularSolve": _triangular_solve,
    "NotEqual": _equality(tf.not_equal),
    "Real": _part_of_complex(tf.real),
}
