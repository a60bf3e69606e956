"""Elementwise functions at their edges, reductions, scans, matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave

INF, NAN = float("inf"), float("nan")


@case
def rounding(tf: Any, feed: Any) -> Any:
    x = tf.constant([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.49])
    return {
        "round": tf.round(x),
        "rint": tf.rint(x),
        "floor": tf.floor(x),
        "ceil": tf.ceil(x),
        "int": tf.round(tf.constant([3, -3])),
        "sign": tf.sign(x),
    }


@case
def edges_of_functions(tf: Any, feed: Any) -> Any:
    x = tf.constant([-INF, -90.0, -1.0, 0.0, 1.0, 90.0, INF, NAN])
    found = {}
    for name in ("exp", "tanh", "sigmoid", "atan", "sinh", "cosh", "erf", "asinh"):
        found[name] = getattr(tf, name)(x)
    for name in ("relu", "relu6", "elu", "selu", "softplus", "softsign", "leaky_relu"):
        found[name] = getattr(tf.nn, name)(x)
    for name in ("log", "sqrt", "rsqrt", "log1p", "reciprocal", "lgamma", "expm1"):
        found[name] = getattr(tf.math, name)(x)
    found["log_sigmoid"] = tf.log_sigmoid(x)
    return found


@case
def powers(tf: Any, feed: Any) -> Any:
    x = tf.constant([-2.0, -0.0, 0.0, 2.0, INF])
    return {
        "zero": x**0,
        "half": x**0.5,
        "minus": x**-1,
        "cube": x**3,
        "tensor": tf.pow(x, tf.constant([2.0, 0.0, 0.0, -2.0, -1.0])),
        "base": 2.0**x,
        "int": tf.constant([2, -3]) ** 3,
    }


@case
def two_arguments(tf: Any, feed: Any) -> Any:
    x, y = tf.constant([0.0, 1.0, -1.0, -1.0]), tf.constant([0.0, -1.0, 0.0, -0.0])
    return {
        "atan2": tf.atan2(x, y),
        "sqdiff": tf.squared_difference(x, y),
        "xlogy": tf.math.xlogy(x[:3], [0.0, 2.0, 3.0]),
        "xdivy": tf.math.xdivy(x[:3], [0.0, 2.0, 3.0]),
        "zeta": tf.zeta([2.0, 3.0], [1.0, 2.5]),
        "polygamma": tf.polygamma([1.0, 2.0], [1.0, 2.5]),
        "digamma": tf.digamma([0.5, 1.0, 3.0]),
    }


@case
def predicates(tf: Any, feed: Any) -> Any:
    x = tf.constant([1.0, INF, -INF, NAN])
    return {
        "nan": tf.is_nan(x),
        "inf": tf.is_inf(x),
        "finite": tf.is_finite(x),
        "xor": tf.logical_xor([True, False], [True, True]),
        "bits": tf.bitwise.bitwise_and([6, 5], [3, 12]),
        "shift": tf.bitwise.right_shift([-8, 8], [1, 2]),
        "invert": tf.bitwise.invert(tf.constant([0, 5], tf.uint8)),
    }


@case
def clips(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3))
    zero = tf.zeros([2])
    listed, norm = tf.clip_by_global_norm([x, None, tf.constant([3.0, 4.0])], 2.0)
    return {
        "value": tf.clip_by_value(x, -1.0, 0.5),
        "broadcast": tf.clip_by_value(x, [-1.0, 0.0, 0.0], 1.0),
        "norm": tf.clip_by_norm(x, 1.0),
        "norm_small": tf.clip_by_norm(x, 100.0),
        "norm_axes": tf.clip_by_norm(x, 1.0, axes=[1]),
        "norm_zero": tf.clip_by_norm(zero, 1.0),
        "average": tf.clip_by_average_norm(x, 0.1),
        "global0": listed[0],
        "global2": listed[2],
        "none": listed[1],
        "global_norm": norm,
        "of_none": tf.global_norm([x, None]),
    }


@case
def reductions(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 2, None])
    feed[x] = wave(3, 2, 2)
    found = {}
    for name in ["sum", "mean", "prod", "max", "min", "logsumexp"]:
        f = getattr(tf, f"reduce_{name}")
        found[name] = f(x)
        found[f"{name}_0"] = f(x, 0)
        found[f"{name}_last"] = f(x, -1, keepdims=True)
        found[f"{name}_two"] = f(x, [0, 2])
        found[f"{name}_none"] = f(x, [])
        found[f"{name}_old"] = f(x, reduction_indices=[1], keep_dims=True)
    found["all"] = tf.reduce_all(x > -1, 1)
    found["any"] = tf.reduce_any(x > 1.5, [1, 2])
    found["std"] = tf.math.reduce_std(x, 0)
    found["variance"] = tf.math.reduce_variance(x)
    return found


@case
def reductions_of_nothing(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 2])
    feed[x] = np.zeros((0, 2), np.float32)
    return {
        "sum": tf.reduce_sum(x, 0),
        "mean": tf.reduce_mean(x, 0),
        "prod": tf.reduce_prod(x),
        "max": tf.reduce_max(x, 0),
        "min": tf.reduce_min(x),
        "all": tf.reduce_all(x > 0),
        "any": tf.reduce_any(x > 0),
        "logsumexp": tf.reduce_logsumexp(x, 0),
        "kept": tf.reduce_sum(x, 1),
        "cumsum": tf.cumsum(x),
        "int_max": tf.reduce_max(tf.cast(x, tf.int32)),
    }


@case
def logsumexp_of_infinities(tf: Any, feed: Any) -> Any:
    x = tf.constant([[-INF, -INF], [INF, 1.0], [1000.0, 1000.0], [-INF, 2.0]])
    return {"rows": tf.reduce_logsumexp(x, 1), "softmax": tf.nn.softmax(x[2:])}


@case
def argmax_ties_and_nan(tf: Any, feed: Any) -> Any:
    x = tf.constant([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]])
    return {
        "max": tf.argmax(x, 1),
        "min": tf.argmin(x, 1),
        "default": tf.argmax(x),
        "negative": tf.argmax(x, axis=-1),
        "dimension": tf.argmax(x, dimension=1),
        "bool": tf.argmax(tf.constant([0, 1, 1])),
    }


@case
def scans(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 4))
    return {
        "sum": tf.cumsum(x, 1),
        "exclusive": tf.cumsum(x, 1, exclusive=True),
        "reverse": tf.cumsum(x, 1, reverse=True),
        "both": tf.cumsum(x, -1, exclusive=True, reverse=True),
        "prod": tf.cumprod(x, 0),
        "prod_both": tf.cumprod(x, 1, exclusive=True, reverse=True),
    }


@case
def norms(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3))
    return {
        "default": tf.norm(x),
        "rows": tf.norm(x, axis=1),
        "one": tf.norm(x, 1, axis=1),
        "inf": tf.norm(x, np.inf, axis=0),
        "three": tf.norm(x, 3, axis=1, keepdims=True),
        "frobenius": tf.norm(x, "fro", axis=[0, 1]),
        "matrix_one": tf.norm(x, 1, axis=[0, 1]),
        "matrix_inf": tf.norm(x, np.inf, axis=[-2, -1]),
        "keep": tf.norm(x, keepdims=True),
    }


@case
def statistics(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3, 4))
    mean, var = tf.nn.moments(x, [0, 1])
    mean2, var2 = tf.nn.moments(x, [0], keep_dims=True)
    return {
        "mean": mean,
        "var": var,
        "mean2": mean2,
        "var2": var2,
        "l2": tf.nn.l2_loss(x),
        "normal": tf.nn.l2_normalize(x, -1),
        "normal_dim": tf.nn.l2_normalize(x, dim=0),
        "normal_zero": tf.nn.l2_normalize(tf.zeros([2]), 0),
        "zero_fraction": tf.nn.zero_fraction([0.0, 1.0, 0.0, 2.0]),
        "histogram": tf.histogram_fixed_width([-1.0, 0.1, 0.9, 5.0], [0.0, 1.0], 4),
    }


@case
def products(tf: Any, feed: Any) -> Any:
    a, b = tf.constant(wave(2, 3)), tf.constant(wave(3, 2, k=2))
    c = tf.constant(wave(2, 3, 4, k=3))
    return {
        "plain": tf.matmul(a, b),
        "ta": tf.matmul(a, a, transpose_a=True),
        "tb": tf.matmul(a, a, transpose_b=True),
        "batch": tf.matmul(c, c, transpose_b=True),
        "wide": tf.matmul(c, tf.constant(wave(4, 2))),
        "tensordot": tf.tensordot(a, c, [[1], [1]]),
        "tensordot_n": tf.tensordot(a, b, 1),
        "outer": tf.tensordot(a, b, 0),
        "einsum": tf.einsum("ij,kjl->ikl", a, c),
        "trace": tf.einsum("ii", tf.matmul(a, b)),
        "adjoint": tf.linalg.adjoint(tf.cast(a, tf.complex64) * 1j),
    }


@case
def matrices(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3, 3))
    s = tf.matmul(x, x, transpose_b=True) + tf.eye(3)
    v = tf.constant(wave(2, 3, k=2))
    return {
        "band": tf.matrix_band_part(x, 1, 0),
        "lower": tf.matrix_band_part(x, -1, 0),
        "diag_part": tf.matrix_diag_part(x),
        "diag": tf.matrix_diag(v),
        "set": tf.matrix_set_diag(x, v),
        "old_diag": tf.diag([1.0, 2.0]),
        "old_part": tf.diag_part(x[0]),
        "trace": tf.trace(x),
        "eye": tf.eye(2, 3, batch_shape=[2]),
        "cholesky": tf.cholesky(s),
        "det": tf.matrix_determinant(x),
        "inverse": tf.matrix_inverse(s),
        "solve": tf.matrix_solve(s, v[..., None]),
        "adjoint": tf.matrix_solve(s, x, adjoint=True),
        "triangular": tf.matrix_triangular_solve(tf.cholesky(s), x),
        "lstsq": tf.matrix_solve_ls(x[:, :, :2], v[..., None]),
        "eigvals": tf.self_adjoint_eigvals(s),
        "singular": tf.svd(x, compute_uv=False),
        "cross": tf.cross(v, x[0, :2]),
        "transpose": tf.matrix_transpose(x[:, :2]),
        "logdet": tf.linalg.logdet(s),
    }


@case
def segments(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(4, 2))
    ids, loose = [0, 0, 2, 2], [2, 0, 2, -1]
    found = {}
    for name in ["sum", "mean", "prod", "max", "min"]:
        found[name] = getattr(tf, f"segment_{name}")(x, ids)
        found[f"un_{name}"] = getattr(tf, f"unsorted_segment_{name}")(x, loose, 4)
    found["sqrt_n"] = tf.unsorted_segment_sqrt_n(x, [2, 0, 2, 1], 3)
    return found


@case
def complex_numbers(tf: Any, feed: Any) -> Any:
    z = tf.complex(tf.constant([1.0, -2.0, 0.0]), tf.constant([2.0, 0.0, -1.0]))
    return {
        "z": z,
        "abs": tf.abs(z),
        "angle": tf.angle(z),
        "conj": tf.conj(z),
        "real": tf.real(z),
        "imag": tf.imag(z),
        "exp": tf.exp(z),
        "square": tf.square(z),
        "sign": tf.sign(z),
        "mean": tf.reduce_mean(z),
        "real_of_real": tf.real(tf.constant([1.0])),
    }
