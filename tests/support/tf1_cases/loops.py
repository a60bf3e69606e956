"""Loops and branches: the programs of TF1's documentation, and gradients."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from ._case import case, wave

Pair = collections.namedtuple("Pair", "j, k")


@case
def while_counter(tf: Any, feed: Any) -> Any:
    i = tf.constant(0)
    r = tf.while_loop(lambda i: tf.less(i, 10), lambda i: tf.add(i, 1), [i])
    pair = tf.while_loop(
        lambda i, j: i < 10, lambda i, j: [i + 1, j * 2], [i, tf.constant(1)]
    )
    never = tf.while_loop(lambda i: i < 0, lambda i: i + 1, [i])
    return {"r": r, "pair": pair[1], "kind": type(pair).__name__, "never": never}


@case
def while_nested_structure(tf: Any, feed: Any) -> Any:
    start = (tf.constant(0), Pair(tf.constant(1), tf.constant(2)))
    final = tf.while_loop(
        lambda i, p: i < 10, lambda i, p: (i + 1, Pair(p.j + p.k, p.j - p.k)), start
    )
    many = tf.while_loop(
        lambda i, s: i < 3,
        lambda i, s: (i + 1, {"a": s["b"][0], "b": (s["a"] + 1.0, s["b"][1])}),
        (tf.constant(0), {"a": tf.constant(1.0), "b": (tf.constant(2.0), [3.0])}),
    )
    return {
        "i": final[0],
        "j": final[1].j,
        "k": final[1].k,
        "kind": type(final[1]).__name__,
        "a": many[1]["a"],
        "b": many[1]["b"][0],
    }


@case
def while_shape_invariants(tf: Any, feed: Any) -> Any:
    i, m = tf.constant(0), tf.ones([2, 2])
    _, grown = tf.while_loop(
        lambda i, m: i < 4,
        lambda i, m: [i + 1, tf.concat([m, m], axis=0)],
        loop_vars=[i, m],
        shape_invariants=[i.get_shape(), tf.TensorShape([None, 2])],
    )
    return {"grown": tf.reduce_sum(grown), "m": grown[-3:]}


@case
def while_maximum_iterations(tf: Any, feed: Any) -> Any:
    def step(i: Any, x: Any) -> Any:
        return i + 1, x * 2.0

    start = (tf.constant(0), tf.constant(1.5))
    few = tf.while_loop(lambda i, x: i < 10, step, start, maximum_iterations=3)
    most = tf.while_loop(
        lambda i, x: i < 4, step, start, maximum_iterations=tf.constant(7)
    )
    same = tf.while_loop(
        lambda x: x < 3.0, lambda x: [x + 1.0], [0.5], return_same_structure=True
    )
    return {
        "few": few[1],
        "i": few[0],
        "most": most[1],
        "same": type(same).__name__,
        "one": same[0],
    }


@case
def while_gradients(tf: Any, feed: Any) -> Any:
    x, w = tf.constant(wave(3)), tf.constant(wave(3, k=2.0))
    _, power = tf.while_loop(
        lambda i, y: i < 4, lambda i, y: (i + 1, y * x), [0, tf.ones_like(x)]
    )
    root = tf.while_loop(
        lambda y: tf.reduce_any(tf.abs(y * y - 2.0 - tf.abs(x)) > 1e-3),
        lambda y: 0.5 * (y + (2.0 + tf.abs(x)) / y),
        [tf.ones_like(x)],
    )
    _, h = tf.while_loop(
        lambda i, h: i < 5, lambda i, h: (i + 1, tf.tanh(h * w + x)), [0, x]
    )
    return {
        "power": power,
        "root": root,
        "h": h,
        "d_power": tf.gradients(power, x)[0],
        "d_root": tf.gradients(root, x)[0],
        "d_h_x": tf.gradients(h, x)[0],
        "d_h_w": tf.gradients(h, w)[0],
    }


@case
def while_until_the_data_says(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [])
    feed[x] = np.float32(0.3)
    steps, y = tf.while_loop(
        lambda i, y: tf.reduce_sum(y) < 50.0,
        lambda i, y: (i + 1, y * (1.5 + x)),
        [0, tf.stack([x, 1.0])],
    )
    return {"steps": steps, "y": y, "dx": tf.gradients(y, x)[0]}


@case
def while_in_while(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3))

    def outer(i: Any, y: Any) -> Any:
        inner = tf.while_loop(
            lambda j, z: j < i, lambda j, z: (j + 1, tf.sin(z) * x), [0, y]
        )
        return i + 1, inner[1] + x

    _, y = tf.while_loop(lambda i, y: i < 4, outer, [0, x])
    return {"y": y, "dx": tf.gradients(y, x)[0]}


@case
def while_with_cond(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3))

    def step(i: Any, y: Any) -> Any:
        y = tf.cond(i % 2 > 0, lambda: tf.sin(y), lambda: y * x)
        return i + 1, y

    _, y = tf.while_loop(lambda i, y: i < 5, step, [0, x])
    return {"y": y, "dx": tf.gradients(y, x)[0]}


@case
def while_without_gradient(tf: Any, feed: Any) -> Any:
    x = tf.constant(2.0)
    _, y = tf.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, y * x), [0, x], back_prop=False
    )
    return {"y": y, "dx": tf.gradients(y * x, x)[0]}


@case
def map_examples(tf: Any, feed: Any) -> Any:
    elems = np.array([1, 2, 3, 4, 5, 6])
    pairs = (np.array([1, 2, 3]), np.array([-1, 1, -1]))
    x = tf.constant(wave(3, 2))
    mapped = tf.map_fn(lambda row: tf.reduce_sum(tf.sin(row)) * row, x)
    return {
        "squares": tf.map_fn(lambda x: x * x, elems),
        "alternate": tf.map_fn(lambda x: x[0] * x[1], pairs, dtype=tf.int64),
        "first": tf.map_fn(lambda x: (x, -x), pairs[0], (tf.int64, tf.int64))[1],
        "mapped": mapped,
        "dx": tf.gradients(mapped, x)[0],
    }


@case
def scan_examples(tf: Any, feed: Any) -> Any:
    elems = np.array([1, 2, 3, 4, 5, 6])
    start = np.array(0), np.array(1)
    both = elems + 1, elems
    fibonacci = tf.scan(lambda a, _: (a[1], a[0] + a[1]), elems, start)
    x, w = tf.constant(wave(4, 2)), tf.constant(wave(2, k=2.0))
    h = tf.scan(lambda a, row: tf.tanh(a * w + row), x, tf.zeros([2]))
    return {
        "sums": tf.scan(lambda a, x: a + x, elems),
        "backward": tf.scan(lambda a, x: a + x, elems, reverse=True),
        "with_start": tf.scan(lambda a, x: a + x[0] - x[1], both, start[0]),
        "fibonacci": fibonacci[0],
        "h": h,
        "dx": tf.gradients(h, x)[0],
        "dw": tf.gradients(h, w)[0],
    }


@case
def fold_examples(tf: Any, feed: Any) -> Any:
    elems = tf.constant([1, 2, 3, 4, 5, 6])
    x = tf.constant(wave(4, 2))
    left = tf.foldl(lambda a, row: tf.sin(a) * row, x)
    right = tf.foldr(lambda a, row: tf.sin(a) * row, x, tf.ones([2]))
    return {
        "foldl": tf.foldl(lambda a, x: a - x, elems),
        "foldr": tf.foldr(lambda a, x: a - x, elems),
        "left": left,
        "right": right,
        "d_left": tf.gradients(left, x)[0],
        "d_right": tf.gradients(right, x)[0],
    }


@case
def cond_examples(tf: Any, feed: Any) -> Any:
    x, y = tf.constant(2), tf.constant(5)
    a, b = tf.constant(wave(3)), tf.constant(wave(3, k=2.0))
    flag = tf.placeholder(tf.bool, [])
    feed[flag] = False
    picked = tf.cond(flag, lambda: tf.sin(a), lambda: a * b)
    both = tf.cond(flag, lambda: (a, {"s": b}), lambda: (b, {"s": a + b}))
    return {
        "r": tf.cond(tf.less(x, y), lambda: tf.multiply(x, 17), lambda: y + 23),
        "picked": picked,
        "da": tf.gradients(picked, a)[0],
        "db": tf.gradients(picked, b)[0],
        "both": both[1]["s"],
    }


@case
def case_examples(tf: Any, feed: Any) -> Any:
    x, y, z = tf.constant(1), tf.constant(2), tf.constant(1)
    f1, f2, f3 = [lambda n=n: tf.constant(n) for n in (17, 23, -1)]
    v = tf.constant(wave(3))
    branch = tf.placeholder(tf.int32, [])
    feed[branch] = 1
    chosen = tf.switch_case(branch, [lambda: tf.sin(v), lambda: v * v, lambda: v])
    return {
        "first": tf.case([(tf.less(x, y), f1)], default=f2),
        "many": tf.case(
            [(tf.less(x, y), f1), (tf.greater(x, z), f2)], default=f3, exclusive=True
        ),
        "default": tf.case([(tf.greater(x, y), f1)], default=f3),
        "chosen": chosen,
        "dv": tf.gradients(chosen, v)[0],
    }


@case
def error_while_other_structure(tf: Any, feed: Any) -> Any:
    start = [tf.constant(0), tf.constant(0)]
    tf.while_loop(lambda i, j: i < 3, lambda i, j: i, start)


@case
def error_while_shape_invariant(tf: Any, feed: Any) -> Any:
    tf.while_loop(
        lambda i, x: i < 3,
        lambda i, x: (i + 1, tf.concat([x, x], 0)),
        [tf.constant(0), tf.ones([2])],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([2])],
    )


@case
def error_while_no_function(tf: Any, feed: Any) -> Any:
    tf.while_loop(lambda i: i < 3, tf.constant(3), [tf.constant(0)])


@case
def error_while_no_variables(tf: Any, feed: Any) -> Any:
    tf.while_loop(lambda: True, lambda: (), [])
