"""TensorArrays: their methods, in loops as TF1 programs use them, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave


@case
def array_written_and_read(tf: Any, feed: Any) -> Any:
    x, y = tf.constant(wave(2, 3)), tf.constant(wave(2, 3, k=2.0))
    ta = tf.TensorArray(tf.float32, size=3, clear_after_read=False)
    ta = ta.write(0, x).write(2, y).write(tf.constant(1), x * y)
    found = {
        "read": ta.read(1),
        "stack": ta.stack(),
        "gather": ta.gather([2, 0]),
        "concat": ta.concat(),
        "size": ta.size(),
        "identity": ta.identity().stack(),
    }
    loss = tf.reduce_sum(tf.sin(ta.stack())) + tf.reduce_sum(ta.read(1))
    found["dx"], found["dy"] = tf.gradients(loss, [x, y])
    return found


@case
def array_of_rows(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(4, 2))
    whole = tf.TensorArray(tf.float32, 4, clear_after_read=False).unstack(x)
    some = tf.TensorArray(tf.float32, 4).scatter([3, 0, 1, 2], x)
    rows, moved = whole.read(1) * whole.read(3), some.stack()
    return {
        "read": rows,
        "stack": whole.stack(),
        "moved": moved,
        "dx": tf.gradients(rows, x)[0],
        "dx_moved": tf.gradients(tf.sin(moved) * x, x)[0],
    }


@case
def array_of_pieces(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(6, 2))
    ta = tf.TensorArray(tf.float32, 3, infer_shape=False, clear_after_read=False)
    ta = ta.split(x, [1, 3, 2])
    even = tf.TensorArray(tf.float32, 3, clear_after_read=False).split(x, [2, 2, 2])
    first, middle = ta.read(0), ta.read(1)
    return {
        "first": first,
        "middle": middle,
        "last": even.read(2),
        "stack": even.stack(),
        "concat": even.concat(),
        "dx": tf.gradients([tf.sin(first), tf.square(middle)], x)[0],
        "dx_even": tf.gradients(tf.square(even.read(1)), x)[0],
    }


@case
def array_joined_again(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(6, 2))
    ta = tf.TensorArray(tf.float32, 3, infer_shape=False).split(x, [1, 3, 2])
    joined = ta.concat()
    return {"concat": joined, "dx": tf.gradients(tf.sin(joined), x)[0]}


@case
def array_of_dynamic_size(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2))
    ta = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
    ta = ta.write(0, x).write(1, x * x).write(4, tf.sin(x))
    kept = tf.TensorArray(tf.float32, size=1, dynamic_size=True, element_shape=[2])
    kept = kept.scatter([0, 1, 2], tf.stack([x, x + 1.0, x * x]))
    stacked = kept.stack()
    return {
        "size": ta.size(),
        "read": ta.read(4),
        "kept": stacked,
        "kept_size": kept.size(),
        "dx": tf.gradients(tf.square(stacked), x)[0],
    }


@case
def array_of_integers(tf: Any, feed: Any) -> Any:
    ta = tf.TensorArray("int32", tf.constant(3), name="numbers")
    _, ta = tf.while_loop(
        lambda i, ta: i < 3, lambda i, ta: (i + 1, ta.write(i, i * i)), (0, ta)
    )
    flags = tf.TensorArray(tf.bool, 2).write(0, True).write(1, False)
    words = tf.TensorArray(tf.string, 2).write(0, "a").write(1, "b")
    return {"stack": ta.stack(), "flags": flags.stack(), "words": words.stack()}


@case
def array_properties(tf: Any, feed: Any) -> Any:
    ta = tf.TensorArray(tf.float64, size=2, element_shape=[None, 3])
    other = tf.TensorArray(tf.int32, size=2).write(0, [1, 2])
    return {
        "dtype": ta.dtype.name,
        "element": ta.write(0, np.zeros((1, 3))).stack().get_shape().as_list(),
        "other": other.dtype.name,
        "read": other.read(0),
    }


@case
def array_never_written(tf: Any, feed: Any) -> Any:
    ta = tf.TensorArray(tf.float32, size=3, element_shape=[2]).write(1, [1.0, 2.0])
    return {"stack": ta.stack()}


@case
def array_of_unknown_shape(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 2])
    feed[x] = wave(3, 2)
    w = tf.constant(wave(2, 2, k=3.0))

    def step(i: Any, h: Any, ta: Any) -> Any:
        h = tf.tanh(tf.matmul(h, w))
        return i + 1, h, ta.write(i, h)

    ta = tf.TensorArray(tf.float32, size=4)
    _, last, ta = tf.while_loop(lambda i, *_: i < 4, step, (0, x, ta))
    y = ta.stack()
    dx, dw = tf.gradients(tf.reduce_sum(y * y), [x, w])
    return {"last": last, "stack": y, "dx": dx, "dw": dw}


@case
def array_recurrent_network(tf: Any, feed: Any) -> Any:
    """dynamic_rnn by hand: masked by length, the time known only in a run."""
    inputs = tf.placeholder(tf.float32, [None, None, 3])
    lengths = tf.placeholder(tf.int32, [None])
    feed[inputs], feed[lengths] = wave(2, 5, 3), np.array([5, 3], np.int32)
    w = tf.constant(0.5 * wave(5, 2, k=2.0))
    b = tf.constant([0.1, -0.2])
    by_time = tf.transpose(inputs, [1, 0, 2])
    steps = tf.shape(by_time)[0]
    batch = tf.shape(by_time)[1]
    ins = tf.TensorArray(tf.float32, steps, element_shape=[None, 3]).unstack(by_time)
    outs = tf.TensorArray(tf.float32, steps, element_shape=[None, 2])

    def step(t: Any, h: Any, outs: Any) -> Any:
        both = tf.concat([ins.read(t), h], 1)
        new = tf.tanh(tf.matmul(both, w) + b)
        live = tf.tile(tf.expand_dims(t < lengths, 1), [1, 2])
        new = tf.where(live, new, h)
        return t + 1, new, outs.write(t, tf.where(live, new, tf.zeros_like(new)))

    start = (0, tf.zeros(tf.stack([batch, 2])), outs)
    _, last, outs = tf.while_loop(
        lambda t, *_: t < steps,
        step,
        start,
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None, 2]),
            tf.TensorShape(None),
        ),
    )
    y = tf.transpose(outs.stack(), [1, 0, 2])
    loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(last)
    dx, dw, db = tf.gradients(loss, [inputs, w, b])
    return {"y": y, "last": last, "dx": dx, "dw": dw, "db": db}


@case
def array_as_loop_variable(tf: Any, feed: Any) -> Any:
    """Inputs and outputs both go around; a step reads what an earlier one wrote."""
    x = tf.constant(wave(5, 2))
    ins = tf.TensorArray(tf.float32, 5).unstack(x)
    outs = tf.TensorArray(tf.float32, 5, clear_after_read=False).write(0, x[0])

    def step(i: Any, state: Any) -> Any:
        before = state["outs"].read(i - 1)
        row = tf.sin(before) + state["ins"].read(i)
        return i + 1, {"ins": state["ins"], "outs": state["outs"].write(i, row)}

    state = {"ins": ins, "outs": outs}
    _, state = tf.while_loop(lambda i, s: i < s["outs"].size(), step, (1, state))
    y = state["outs"].stack()
    return {"y": y, "dx": tf.gradients(tf.square(y), x)[0]}


@case
def array_in_nested_loops(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3))
    ta = tf.TensorArray(tf.float32, 6)

    def outer(i: Any, ta: Any) -> Any:
        def inner(j: Any, ta: Any) -> Any:
            return j + 1, ta.write(2 * i + j, x * tf.cast(i - j, tf.float32))

        return i + 1, tf.while_loop(lambda j, ta: j < 2, inner, (0, ta))[1]

    _, ta = tf.while_loop(lambda i, ta: i < 3, outer, (0, ta))
    y = ta.stack()
    return {"y": y, "dx": tf.gradients(tf.square(y), x)[0]}


@case
def array_written_in_a_branch(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(4))
    ta = tf.TensorArray(tf.float32, 4)

    def step(i: Any, ta: Any) -> Any:
        row = tf.cond(i % 2 > 0, lambda: tf.sin(x[i]), lambda: x[i] * x[i])
        return i + 1, ta.write(i, row)

    _, ta = tf.while_loop(lambda i, ta: i < 4, step, (0, ta))
    y = ta.stack()
    return {"y": y, "dx": tf.gradients(y, x)[0]}


def running(tf: Any, build: Any) -> None:
    with tf.Session() as session:
        session.run(build())


@case
def error_array_read_beyond(tf: Any, feed: Any) -> Any:
    ta = tf.TensorArray(tf.float32, 2).unstack([1.0, 2.0])
    running(tf, lambda: ta.read(2))


@case
def error_array_write_beyond(tf: Any, feed: Any) -> Any:
    ta = tf.TensorArray(tf.float32, 2)
    running(tf, lambda: ta.write(2, 1.0).flow)


@case
def error_array_write_before(tf: Any, feed: Any) -> Any:
    ta = tf.TensorArray(tf.float32, 2)
    running(tf, lambda: ta.write(-1, 1.0).flow)


@case
def error_array_other_dtype(tf: Any, feed: Any) -> Any:
    running(tf, lambda: tf.TensorArray(tf.float32, 2).write(0, tf.constant(1)).flow)


@case
def error_array_other_shape(tf: Any, feed: Any) -> Any:
    tf.TensorArray(tf.float32, 2).write(0, [1.0]).write(1, [1.0, 2.0])


@case
def error_array_not_its_element_shape(tf: Any, feed: Any) -> Any:
    tf.TensorArray(tf.float32, 2, element_shape=[3]).write(0, [1.0])


@case
def error_array_without_size(tf: Any, feed: Any) -> Any:
    tf.TensorArray(tf.float32)


@case
def error_array_split_wrongly(tf: Any, feed: Any) -> Any:
    ta = tf.TensorArray(tf.float32, 2, infer_shape=False)
    lengths = tf.placeholder_with_default([1, 1], [2])
    running(tf, lambda: ta.split([1.0, 2.0, 3.0], lengths).flow)
