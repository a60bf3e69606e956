"""Loops, branches and functionals: structures, shapes, dtypes, gradients."""

from __future__ import annotations

from typing import Any

from ._case import case, wave


@case
def while_loops(tf: Any, feed: Any) -> Any:
    i, x = tf.while_loop(
        lambda i, x: i < 4, lambda i, x: [i + 1, x * 2.0], [tf.constant(0), wave(3)]
    )
    one = tf.while_loop(lambda i: i < 10, lambda i: i + 3, [tf.constant(0)])
    kept = tf.while_loop(
        lambda i: i < 10,
        lambda i: [i + 3],
        [tf.constant(0)],
        return_same_structure=True,
    )
    none = tf.while_loop(lambda i: i < 0, lambda i: i + 3, [tf.constant(5)])
    most = tf.while_loop(
        lambda i: i < 10, lambda i: i + 1, [tf.constant(0)], maximum_iterations=4
    )
    return {
        "i": i,
        "x": x,
        "one": one,
        "kept": kept[0],
        "is_list": isinstance(kept, list),
        "none": none,
        "most": most,
    }


@case
def while_structures(tf: Any, feed: Any) -> Any:
    state = (tf.constant(0), {"b": tf.constant(1.0), "a": [tf.constant(2.0)]})
    i, d = tf.while_loop(
        lambda i, d: i < 3,
        lambda i, d: (i + 1, {"a": [d["a"][0] + d["b"]], "b": d["b"] * 2.0}),
        state,
    )
    return {"i": i, "a": d["a"][0], "b": d["b"]}


@case
def while_invariants(tf: Any, feed: Any) -> Any:
    _, x = tf.while_loop(
        lambda i, x: i < 3,
        lambda i, x: [i + 1, tf.concat([x, x], 0)],
        [tf.constant(0), tf.ones([1, 2])],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 2])],
    )
    return {"x": x}


@case
def while_derivatives(tf: Any, feed: Any) -> Any:
    x, w = tf.constant(wave(3)), tf.constant(wave(3, k=2.0))
    _, y, z = tf.while_loop(
        lambda i, y, z: i < 3,
        lambda i, y, z: [i + 1, tf.sin(y) * w, z + y],
        [tf.constant(0), x, tf.zeros([3])],
    )
    dx, dw = tf.gradients(y * z, [x, w])
    return {"y": y, "z": z, "dx": dx, "dw": dw}


@case
def while_gradients_of_nests(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2))

    def outer(i: Any, y: Any) -> Any:
        _, z = tf.while_loop(
            lambda j, z: j < i,
            lambda j, z: [j + 1, tf.tanh(z) * x],
            [tf.constant(0), y],
        )
        return [i + 1, z]

    _, y = tf.while_loop(lambda i, y: i < 4, outer, [tf.constant(0), x])
    return {"y": y, "dx": tf.gradients(y, [x])[0]}


@case
def conds(tf: Any, feed: Any) -> Any:
    found = {}
    for name, flag in (("yes", True), ("no", False)):
        p = tf.placeholder(tf.bool, [], name=name)
        feed[p] = flag
        x, y = tf.constant(wave(3)), tf.constant(wave(3, k=3.0))
        z = tf.cond(p, lambda x=x, y=y: x * y, lambda x=x: tf.exp(x))
        found[name] = z
        dx, dy = tf.gradients(z, [x, y])
        found[f"{name}_dx"], found[f"{name}_dy"] = dx, dy
        found[f"{name}_list"] = tf.cond(p, lambda: [tf.constant(1)], lambda: [2])
        pair = tf.cond(
            p, lambda: (tf.constant(1), tf.zeros([2])), lambda: (3, tf.ones([2]))
        )
        found[f"{name}_a"], found[f"{name}_b"] = pair
        found[f"{name}_shape"] = tf.cond(
            p, lambda: tf.zeros([2, 3]), lambda: tf.ones([2, 1])
        )
    return found


@case
def cases_of_conditions(tf: Any, feed: Any) -> Any:
    found = {}
    for n in (-3, 2, 7):
        x = tf.placeholder(tf.int32, [])
        feed[x] = n
        name = f"n{n}".replace("-", "m")
        found[name] = tf.case(
            [
                (x < 0, lambda: tf.constant(10)),
                (x < 5, lambda: tf.constant(20)),
                (x < 3, lambda: tf.constant(30)),
            ],
            default=lambda: tf.constant(40),
        )
        found[f"{name}_switch"] = tf.switch_case(
            x, [lambda: tf.constant(0), lambda: tf.constant(1), lambda: tf.constant(2)]
        )
        found[f"{name}_keys"] = tf.switch_case(
            x,
            {1: lambda: tf.constant(0), 0: lambda: tf.constant(1)},
            default=lambda: tf.constant(-1),
        )
    return found


@case
def scan_loops(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(4, 3))
    first = tf.scan(lambda a, r: tf.tanh(a) + r, x)
    started = tf.scan(lambda a, r: a * 0.5 + r, x, initializer=tf.ones([3]))
    back = tf.scan(lambda a, r: tf.tanh(a) + r, x, reverse=True)
    back_started = tf.scan(
        lambda a, r: a * 0.5 + r, x, initializer=tf.ones([3]), reverse=True
    )
    a, b = tf.scan(
        lambda s, r: (s[0] + r[0], s[1] * 2 + r[1]),
        (x, tf.constant([1, 2, 3, 4])),
        initializer=(tf.zeros([3]), tf.constant(0)),
    )
    return {
        "first": first,
        "started": started,
        "back": back,
        "back_started": back_started,
        "a": a,
        "b": b,
        "d_first": tf.gradients(first, [x])[0],
        "d_back": tf.gradients(back, [x])[0],
    }


@case
def folds(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(4, 2))
    left = tf.foldl(lambda a, r: tf.sin(a) - r, x)
    right = tf.foldr(lambda a, r: tf.sin(a) - r, x)
    start = tf.foldr(lambda a, r: tf.sin(a) - r, x, initializer=tf.ones([2]))
    return {
        "left": left,
        "right": right,
        "start": start,
        "d_left": tf.gradients(left, [x])[0],
        "d_right": tf.gradients(right, [x])[0],
    }


@case
def maps(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3, 2))
    y = tf.map_fn(lambda r: tf.reduce_sum(r * r), x)
    pair = tf.map_fn(
        lambda e: (e[0] * tf.cast(e[1], tf.float32), e[1] + 1),
        (x, tf.constant([1, 2, 3])),
        dtype=(tf.float32, tf.int32),
    )
    return {
        "y": y,
        "dy": tf.gradients(y, [x])[0],
        "a": pair[0],
        "b": pair[1],
    }


@case
def error_while_structure(tf: Any, feed: Any) -> Any:
    tf.while_loop(
        lambda x, y: x < 3, lambda x, y: x + 1, [tf.constant(0), tf.constant(0)]
    )
    return {}


@case
def error_while_shape(tf: Any, feed: Any) -> Any:
    tf.while_loop(
        lambda x: tf.reduce_sum(x) < 3.0,
        lambda x: tf.concat([x, x], 0),
        [tf.ones([1])],
        shape_invariants=[tf.TensorShape([1])],
    )
    return {}


@case
def error_cond_dtype(tf: Any, feed: Any) -> Any:
    tf.cond(tf.constant(True), lambda: tf.constant(1), lambda: tf.constant(1.0))
    return {}


@case
def error_cond_structure(tf: Any, feed: Any) -> Any:
    tf.cond(tf.constant(True), lambda: [1.0, 2.0], lambda: [1.0])
    return {}


@case
def error_cond_python_bool(tf: Any, feed: Any) -> Any:
    tf.cond(True, lambda: 1, lambda: 2)
    return {}
