"""Result types of operators with numbers and arrays; integer arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case


@case
def constants_take_tf1_dtypes(tf: Any, feed: Any) -> Any:
    return {
        "float": tf.constant(1.5),
        "int": tf.constant(3),
        "big": tf.constant(2**40, tf.int64),
        "bool": tf.constant(True),
        "list": tf.constant([1, 2.5]),
        "float64": tf.constant(np.array([1.0])),
        "int64": tf.constant(np.array([1])),
        "np_float64": tf.constant(np.float64(1.0)),
        "forced": tf.constant([1, 2], tf.float32),
        "filled": tf.constant(7, shape=[2, 2]),
        "short": tf.constant([1, 2], shape=[2, 2]),
        "complex": tf.constant(1 + 2j),
        "string": tf.constant(["a", "bc"]),
        "empty": tf.constant([]),
    }


@case
def scalars_follow_the_tensor(tf: Any, feed: Any) -> Any:
    f = tf.constant([1.5, -2.5])
    d = tf.constant([1.5, -2.5], tf.float64)
    i = tf.constant([7, -7])
    n = tf.constant([7, -7], tf.int64)
    h = tf.constant([1.5], tf.float16)
    return {
        "f_int": f + 1,
        "f_rint": 1 - f,
        "f_np64": f * np.float64(2),
        "f_array64": f * np.array([2.0, 3.0]),
        "f_list": f - [1, 2],
        "d_float": d * 2.5,
        "d_int": 3 * d,
        "i_int": i + 2,
        "n_int": n * 2,
        "h": h + 1,
        "i_array": i * np.array([2, 3], np.int32),
    }


@case
def integer_division_and_mod(tf: Any, feed: Any) -> Any:
    x = tf.constant([7, -7, 7, -7, 6])
    y = tf.constant([2, 2, -2, -2, 3])
    return {
        "slash": x / y,
        "floordiv": x // y,
        "mod": x % y,
        "tf_div": tf.div(x, y),
        "divide": tf.divide(x, y),
        "truediv": tf.truediv(x, y),
        "tf_floordiv": tf.floordiv(x, y),
        "floormod": tf.floormod(x, y),
        "truncatediv": tf.truncatediv(x, y),
        "truncatemod": tf.truncatemod(x, y),
        "tf_mod": tf.mod(x, y),
        "floor_div": tf.floor_div(x, y),
    }


@case
def float_division_and_mod(tf: Any, feed: Any) -> Any:
    x = tf.constant([7.5, -7.5, 7.5, -7.5, 1.0, 0.0])
    y = tf.constant([2.0, 2.0, -2.0, -2.0, 0.0, 0.0])
    return {
        "floordiv": (x // y)[:4],
        "mod": (x % y)[:4],
        "div": tf.div(x, y),
        "truncatemod": tf.truncatemod(x, y)[:4],
        "no_nan": tf.div_no_nan(x, y),
        "realdiv": tf.realdiv(x, y)[:5],
    }


@case
def true_division_of_integers(tf: Any, feed: Any) -> Any:
    found = {}
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16"):
        x = tf.constant([5], getattr(tf, name))
        found[name] = x / x
        found[f"{name}_divide"] = tf.divide(x, 2)
    return found


@case
def integers_wrap(tf: Any, feed: Any) -> Any:
    x = tf.constant([200, 100], tf.uint8)
    return {
        "sum": x + x,
        "product": x * x,
        "int32": tf.constant([2**31 - 1]) + 1,
        "square": tf.square(tf.constant([-3], tf.int32)),
        "pow": tf.constant([2, 3]) ** 5,
        "abs": tf.abs(tf.constant([-4, 4])),
        "sign": tf.sign(tf.constant([-4, 0, 4])),
    }


@case
def casts(tf: Any, feed: Any) -> Any:
    x = tf.constant([-1.9, -0.5, 0.0, 0.5, 1.9])
    return {
        "int": tf.cast(x, tf.int32),
        "bool": tf.cast(x, tf.bool),
        "from_bool": tf.cast([True, False], tf.float32),
        "half": tf.cast(x, tf.float16),
        "double": tf.to_double(x),
        "wrap": tf.cast([300, -1], tf.uint8),
        "complex": tf.cast(x, tf.complex64),
        "real": tf.cast(tf.constant([1 + 2j]), tf.float32),
        "name": tf.cast([1, 2], "float64"),
        "python": tf.cast([1], float),
    }


@case
def default_integer_types(tf: Any, feed: Any) -> Any:
    x = tf.constant([[3.0, 1.0, 2.0], [1.0, 5.0, 5.0]])
    return {
        "argmax": tf.argmax(x, 1),
        "argmin": tf.argmin(x),
        "arg32": tf.argmax(x, 1, output_type=tf.int32),
        "shape": tf.shape(x),
        "shape64": tf.shape(x, out_type=tf.int64),
        "size": tf.size(x),
        "rank": tf.rank(x),
        "where": tf.where(x > 2),
        "top_k": tf.nn.top_k(x)[1],
        "range": tf.range(4),
        "range_f": tf.range(0.0, 1.0, 0.25),
        "range_mixed": tf.range(0, 1, 0.5),
        "range_down": tf.range(5, 0, -2),
        "unique": tf.unique([3, 3, 1])[1],
        "count": tf.count_nonzero(x),
        "one_hot": tf.one_hot([0, 1], 2),
        "bincount": tf.bincount([1, 1, 2]),
        "argsort": tf.argsort(x),
        "zeros": tf.zeros([2]),
        "mask": tf.sequence_mask([1, 2]),
    }


@case
def reductions_keep_integer_types(tf: Any, feed: Any) -> Any:
    x = tf.constant([[1, 2], [3, 5]])
    return {
        "sum": tf.reduce_sum(x),
        "mean": tf.reduce_mean(x),
        "mean0": tf.reduce_mean(x, 0),
        "mean_negative": tf.reduce_mean(tf.constant([-1, -2])),
        "prod": tf.reduce_prod(x),
        "max": tf.reduce_max(x, 1),
        "cumsum": tf.cumsum(x),
    }


@case
def comparisons(tf: Any, feed: Any) -> Any:
    x = tf.constant([1.0, float("nan"), 2.0])
    return {
        "equal": tf.equal(x, x),
        "not_equal": tf.not_equal(x, x),
        "less": x < 2,
        "greater_equal": x >= x,
        "strings": tf.equal(tf.constant(["a", "b"]), "a"),
        "bools": tf.equal([True, False], True),
        "python": bool(x == x),
        "python_not": bool(x == 1.0),
    }


@case
def selecting(tf: Any, feed: Any) -> Any:
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    return {
        "full": tf.where(x > 2, x, -x),
        "rows": tf.where([True, False], x, -x),
        "scalar": tf.where(tf.constant(True), x, -x),
        "indices": tf.where([[True, False], [True, True]]),
        "maximum": tf.maximum(x, 2),
        "minimum": tf.minimum(2.5, x),
        "nan": tf.maximum(tf.constant([float("nan"), 1.0]), [1.0, float("nan")]),
    }


@case
def dtype_objects(tf: Any, feed: Any) -> Any:
    kinds = [
        "float16",
        "float32",
        "float64",
        "int8",
        "uint8",
        "int32",
        "int64",
        "bool",
        "string",
        "complex64",
        "complex128",
    ]
    found: dict[str, Any] = {}
    for name in kinds:
        t = getattr(tf, name)
        found[name] = [
            t.name,
            t.is_floating,
            t.is_integer,
            t.is_complex,
            t.is_bool if hasattr(t, "is_bool") else t == tf.bool,
            np.dtype(t.as_numpy_dtype).name,
            str(t),
            t.base_dtype == t,
            t.real_dtype.name,
        ]
    found["limits"] = [tf.int8.min, tf.int8.max, tf.uint8.max, tf.int32.min]
    found["equal"] = [
        tf.float32 == np.float32,
        tf.float32 == "float32",
        tf.as_dtype(np.int64) == tf.int64,
        tf.float32 != tf.int32,
        tf.as_dtype(float).name,
        tf.as_dtype(bool).name,
    ]
    return found


@case
def literals_and_lists_with_tensors(tf: Any, feed: Any) -> Any:
    x, v = tf.constant(1.5), tf.constant([1.0, 2.0])
    return {
        "stack": tf.stack([1, 2.5]),
        "ones": tf.ones_like([1, 2]),
        "times": v * [x, 2.0],
        "reversed": [x, 2.0] - v,
        "maximum": tf.maximum([x, 3.0], x),
        "packed": tf.reduce_sum([[x, 1.0], [x * 2, 0.5]], 0),
        "sizes": tf.zeros([tf.size(v), 2]),
        "fill": tf.fill([tf.size(v), 1], x),
    }


@case
def shapes_that_must_agree(tf: Any, feed: Any) -> Any:
    found = []
    for check in (
        lambda: tf.Dimension(3).assert_is_compatible_with(4),
        lambda: tf.TensorShape([1]).assert_same_rank([1, 2]),
        lambda: tf.TensorShape([1]).assert_is_compatible_with([2]),
        lambda: tf.TensorShape([None]).assert_is_fully_defined(),
        lambda: tf.TensorShape([None, 2]).with_rank(3),
        lambda: tf.TensorShape([2]).merge_with([3]),
        lambda: tf.Dimension(3).assert_is_compatible_with(None),
    ):
        try:
            check()
            found.append("fine")
        except ValueError:
            found.append("ValueError")
    return {"found": found}
