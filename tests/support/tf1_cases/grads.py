"""Gradients at kinks, ties and zeros; what the arguments of gradients do."""

from __future__ import annotations

from typing import Any

from ._case import case, wave


def slope(tf: Any, build: Any, *values: Any) -> Any:
    """Gradients of build(*constants) by each of them."""
    xs = [tf.constant(v) for v in values]
    grads = tf.gradients(build(*xs), xs)
    return {f"d{i}": g for i, g in enumerate(grads)}


@case
def gradients_at_kinks(tf: Any, feed: Any) -> Any:
    x = tf.constant([-1.0, 0.0, 1.0])
    found = {}
    for name in [
        "abs",
        "sign",
        "square",
        "sqrt",
        "relu",
        "relu6",
        "elu",
        "floor",
        "round",
    ]:
        f = getattr(tf, name, None) or getattr(tf.nn, name)
        found[name] = tf.gradients(f(x), [x])[0]
    found["clip"] = tf.gradients(tf.clip_by_value(x, 0.0, 1.0), [x])[0]
    found["norm"] = tf.gradients(tf.norm(x[1:2] * 0.0 + x), [x])[0]
    return found


@case
def gradients_of_ties(tf: Any, feed: Any) -> Any:
    x, y = tf.constant([1.0, 2.0, 3.0]), tf.constant([1.0, 3.0, 2.0])
    found = {}
    found["max_x"], found["max_y"] = tf.gradients(tf.maximum(x, y), [x, y])
    found["min_x"], found["min_y"] = tf.gradients(tf.minimum(x, y), [x, y])
    z = tf.constant([[2.0, 2.0, 1.0], [0.0, 3.0, 3.0]])
    found["reduce_max"] = tf.gradients(tf.reduce_max(z, 1), [z])[0]
    found["reduce_min"] = tf.gradients(tf.reduce_min(z), [z])[0]
    found["top_k"] = tf.gradients(tf.nn.top_k(z, 2)[0], [z])[0]
    found["segment_max"] = tf.gradients(tf.segment_max(z[:, 0], [0, 0]), [z])[0]
    return found


@case
def gradients_of_powers_at_zero(tf: Any, feed: Any) -> Any:
    return {
        **slope(tf, tf.pow, [0.0, 0.0, 2.0, -2.0], [2.0, 1.0, 0.0, 2.0]),
        "square": slope(tf, lambda x: x**2.0, [0.0, 3.0])["d0"],
        "one": slope(tf, lambda x: x**1.0, [0.0, 3.0])["d0"],
        "zero": slope(tf, lambda x: x**0.0, [0.0, 3.0])["d0"],
        "sqrt": slope(tf, tf.sqrt, [0.0, 4.0])["d0"],
        "base": slope(tf, lambda x: 2.0**x, [0.0, 3.0])["d0"],
    }


@case
def gradients_of_products_with_zeros(tf: Any, feed: Any) -> Any:
    x = [[1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 0.0, 3.0]]
    return {
        "rows": slope(tf, lambda v: tf.reduce_prod(v, 1), x)["d0"],
        "all": slope(tf, tf.reduce_prod, x)["d0"],
        "cumprod": slope(tf, lambda v: tf.cumprod(v, 1), [[1.0, 2.0, 3.0]])["d0"],
    }


@case
def gradients_of_broadcasts(tf: Any, feed: Any) -> Any:
    x, y = wave(2, 1, 3), wave(4, 1, k=2)
    return {
        "add": slope(tf, lambda a, b: a + b, x, y)["d0"],
        "mul0": slope(tf, lambda a, b: a * b, x, y)["d0"],
        "mul1": slope(tf, lambda a, b: a * b, x, y)["d1"],
        "sub1": slope(tf, lambda a, b: a - b, x, y)["d1"],
        "div1": slope(tf, lambda a, b: a / b, x, y)["d1"],
        "pow1": slope(tf, lambda a, b: tf.abs(a) ** b, x, y)["d1"],
        "sqdiff": slope(tf, tf.squared_difference, x, y)["d1"],
        "mod0": slope(tf, tf.floormod, x, y)["d0"],
        "mod1": slope(tf, tf.floormod, x, y)["d1"],
        "broadcast": slope(tf, lambda a: tf.broadcast_to(a, [2, 4, 3]), x)["d0"],
    }


@case
def gradients_of_indexing(tf: Any, feed: Any) -> Any:
    x = wave(4, 3)

    def loss(build: Any) -> Any:
        return slope(tf, lambda v: tf.reduce_sum(tf.square(build(v))), x)["d0"]

    return {
        "gather": loss(lambda v: tf.gather(v, [0, 2, 2])),
        "axis": loss(lambda v: tf.gather(v, [1, 1], axis=1)),
        "nd": loss(lambda v: tf.gather_nd(v, [[0, 1], [3, 2], [0, 1]])),
        "slice": loss(lambda v: v[1:, ::2]),
        "negative": loss(lambda v: v[::-2, 0]),
        "concat": loss(lambda v: tf.concat([v, v[:2]], 0)),
        "stack": loss(lambda v: tf.stack([v, 2.0 * v], 1)),
        "split": loss(lambda v: tf.split(v, 2)[1]),
        "pad": loss(lambda v: tf.pad(v, [[1, 0], [0, 2]])),
        "reflect": loss(lambda v: tf.pad(v, [[1, 1], [2, 1]], "REFLECT")),
        "tile": loss(lambda v: tf.tile(v, [2, 3])),
        "mask": loss(lambda v: tf.boolean_mask(v, v > 0)),
        "reverse": loss(lambda v: tf.reverse(v, [0]) * v),
        "lookup": loss(lambda v: tf.nn.embedding_lookup(v, [1, 1, 0])),
        "scatter": loss(lambda v: tf.scatter_nd([[0], [2], [0], [1]], v, [3, 3])),
        "where": loss(lambda v: tf.where(v > 0, v, 3 * v)),
        "cumsum": loss(lambda v: tf.cumsum(v, 1, exclusive=True)),
        "sort": loss(lambda v: tf.sort(v, axis=0) * x),
        "partition": loss(lambda v: tf.dynamic_partition(v, [1, 0, 1, 0], 2)[1]),
        "segment": loss(lambda v: tf.segment_mean(v, [0, 0, 1, 1])),
    }


@case
def gradients_of_matrices(tf: Any, feed: Any) -> Any:
    x = wave(3, 3)

    def weighted(build: Any) -> Any:
        w = wave(3, 3, k=3)
        return slope(tf, lambda v: tf.reduce_sum(w * build(v)), x)["d0"]

    def spd(v: Any) -> Any:
        return tf.matmul(v, v, transpose_b=True) + tf.eye(3)

    return {
        "inverse": weighted(tf.matrix_inverse),
        "det": slope(tf, tf.matrix_determinant, x)["d0"],
        "cholesky": weighted(lambda v: tf.cholesky(spd(v))),
        "raw_cholesky": slope(tf, tf.cholesky, [[4.0, 1.0], [1.0, 3.0]])["d0"],
        "solve": weighted(lambda v: tf.matrix_solve(spd(v), v)),
        "triangular": weighted(lambda v: tf.matrix_triangular_solve(spd(v), v)),
        "eigvals": slope(tf, lambda v: tf.self_adjoint_eigvals(spd(v))[1], x)["d0"],
        "singular": slope(tf, lambda v: tf.svd(v, compute_uv=False)[0], x)["d0"],
        "band": weighted(lambda v: tf.matrix_band_part(v, 0, -1)),
        "trace": slope(tf, tf.trace, x)["d0"],
        "norm": slope(tf, tf.norm, x)["d0"],
        "einsum": weighted(lambda v: tf.einsum("ij,kj->ik", v, v)),
    }


@case
def gradients_of_several(tf: Any, feed: Any) -> Any:
    x, y = tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])
    a, b = x * y, x + 2 * y
    weights = [tf.constant([1.0, 0.5]), tf.constant([2.0, -1.0])]
    h = x * x
    return {
        "sum_x": tf.gradients([a, b], [x, y])[0],
        "sum_y": tf.gradients([a, b], [x, y])[1],
        "weighted": tf.gradients([a, b], [x, y], grad_ys=weights)[0],
        "half": tf.gradients([a, b], x, grad_ys=[weights[0], None])[0],
        "inner": tf.gradients(h * x, [h])[0],
        "both": tf.gradients(h * x, [h, x])[1],
        "stopped": tf.gradients(h * x, [x], stop_gradients=[h])[0],
        "stop": tf.gradients(tf.stop_gradient(h) * x, [x])[0],
        "self": tf.gradients(x, [x])[0],
        "none": tf.gradients(a, [tf.constant(1.0)])[0],
        "zero": tf.gradients(
            a, [h], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )[0],
        "twice": tf.gradients(tf.gradients(x**3.0, [x])[0], [x])[0],
        "thrice": tf.gradients(
            tf.gradients(tf.gradients(tf.exp(2 * x), [x])[0], [x])[0], [x]
        )[0],
        "count": len(tf.gradients([a, b], [x, y, h])),
    }


@case
def gradients_are_none_where_cut(tf: Any, feed: Any) -> Any:
    x = tf.constant([1.0, 2.5, 2.0])
    i = tf.constant([0, 1])
    cut = {
        "argmax": tf.cast(tf.argmax(x), tf.float32) * 2.0,
        "cast": tf.cast(tf.cast(x, tf.int32), tf.float32),
        "compare": tf.cast(x > 1, tf.float32),
        "shape": tf.cast(tf.shape(x), tf.float32),
        "stop": tf.stop_gradient(x),
        "zeros_like": tf.zeros_like(x),
        "one_hot": tf.one_hot(tf.cast(x, tf.int32), 3),
    }
    found = {k: tf.gradients(y, [x])[0] is None for k, y in cut.items()}
    found["indices"] = tf.gradients(tf.gather(x, i), [i])[0] is None
    return found


@case
def gradients_of_casts_keep_dtype(tf: Any, feed: Any) -> Any:
    x = tf.constant([1.0, 2.0])
    d = tf.constant([1.0, 2.0], tf.float64)
    return {
        "down": tf.gradients(tf.cast(d, tf.float32) * x, [d])[0],
        "up": tf.gradients(tf.cast(x, tf.float64) * d, [x])[0],
        "half": tf.gradients(tf.cast(x, tf.float16) ** 2, [x])[0],
    }


@case
def gradients_of_complex(tf: Any, feed: Any) -> Any:
    x, y = tf.constant([1.0, -2.0]), tf.constant([0.5, 3.0])
    z = tf.complex(x, y)
    found = {}
    for name in ["abs", "real", "imag", "angle"]:
        f = getattr(tf, name)(z)
        found[f"{name}_x"], found[f"{name}_y"] = tf.gradients(f, [x, y])
    norm = tf.real(z * tf.conj(z))
    found["norm_x"], found["norm_y"] = tf.gradients(norm, [x, y])
    found["by_z"] = tf.gradients(tf.abs(z), [z])[0]
    found["square"] = tf.gradients(tf.real(tf.square(z)), [z])[0]
    found["exp"] = tf.gradients(tf.imag(tf.exp(z)), [z])[0]
    return found


@case
def gradients_of_functions(tf: Any, feed: Any) -> Any:
    x = tf.constant([0.3, 0.7])
    names = (
        "exp log log1p expm1 sin cos tan asin acos atan sinh cosh asinh atanh erf "
        "erfc lgamma digamma rsqrt reciprocal sigmoid softplus tanh"
    )
    found = {}
    for name in names.split():
        y = getattr(tf.math, name)(x)
        (d,) = tf.gradients(y, [x])
        found[name] = d
        found[f"{name}_2"] = tf.gradients(d, [x])[0]
    return found


@case
def gradients_of_reductions(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3])
    feed[x] = wave(2, 3)
    w = tf.constant(wave(3, k=2))
    found = {}
    for name in ["sum", "mean", "logsumexp"]:
        y = getattr(tf, f"reduce_{name}")(x * w, 0) * w
        found[name] = tf.gradients(y, [x])[0]
    mean, var = tf.nn.moments(x, [0])
    found["mean_1"] = tf.gradients(mean * w, [x])[0]
    found["var"] = tf.gradients(var * w, [x])[0]
    found["l2"] = tf.gradients(tf.nn.l2_normalize(x, 1) * w, [x])[0]
    found["std"] = tf.gradients(tf.math.reduce_std(x), [x])[0]
    found["clip"] = tf.gradients(tf.clip_by_norm(x, 1.0) * w, [x])[0]
    found["global"] = tf.gradients(tf.global_norm([x, w]), [x])[0]
    return found
