"""Variables, assignments, learning-rate decays, averages, collections."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave


@case
def decays(tf: Any, feed: Any) -> Any:
    step = tf.placeholder(tf.int32, [])
    feed[step] = 17
    t = tf.train
    return {
        "exponential": t.exponential_decay(0.1, step, 10, 0.5),
        "staircase": t.exponential_decay(0.1, step, 10, 0.5, staircase=True),
        "inverse": t.inverse_time_decay(0.1, step, 10, 0.5),
        "inverse_stairs": t.inverse_time_decay(0.1, step, 10, 0.5, True),
        "natural": t.natural_exp_decay(0.1, step, 10, 0.5),
        "polynomial": t.polynomial_decay(0.1, step, 40, 0.01, power=2.0),
        "ended": t.polynomial_decay(0.1, step, 10, 0.01),
        "cycle": t.polynomial_decay(0.1, step, 10, 0.01, cycle=True),
        "piecewise": t.piecewise_constant(step, [10, 17], [1.0, 0.5, 0.1]),
        "piecewise_2": t.piecewise_constant(step, [10, 16], [1.0, 0.5, 0.1]),
        "cosine": t.cosine_decay(0.1, step, 40, alpha=0.1),
        "restarts": t.cosine_decay_restarts(0.1, step, 6),
        "linear_cosine": t.linear_cosine_decay(0.1, step, 40),
    }


@case
def variables(tf: Any, feed: Any) -> Any:
    v = tf.Variable(wave(2), name="v")
    w = tf.Variable([1, 2], trainable=False)
    return {
        "v": v,
        "read": v.read_value(),
        "dtype": w.dtype.base_dtype.name,
        "shape": v.shape.as_list(),
        "operator": v * 2,
        "item": v[1],
        "w": w + 1,
        "initial": v.initial_value,
        "trainable": [x.name for x in tf.trainable_variables()],
        "globals": [x.name for x in tf.global_variables()],
    }


@case
def variables_from_one_another(tf: Any, feed: Any) -> Any:
    v = tf.Variable(3.0)
    w = tf.Variable(v.initialized_value() * 2)
    return {"w": w}


@case
def initializers(tf: Any, feed: Any) -> Any:
    def get(name: str, **more: Any) -> Any:
        return tf.get_variable(name, **more)

    return {
        "zeros": get("a", shape=[2], initializer=tf.zeros_initializer()),
        "class": get("b", shape=[2], initializer=tf.zeros_initializer),
        "ones": get("c", shape=[2], initializer=tf.ones_initializer()),
        "constant": get("d", shape=[3], initializer=tf.constant_initializer(2.5)),
        "values": get("e", shape=[3], initializer=tf.constant_initializer([1, 2, 3])),
        "tensor": get("f", initializer=tf.constant([1.0, 2.0])),
        "array": get("g", initializer=np.array([1.0, 2.0], np.float32)),
        "int": get("h", shape=[2], dtype=tf.int32),
        "number": get("i", initializer=3.0),
        "eye": get("j", shape=[2, 3], initializer=tf.initializers.identity()),
    }


@case
def initializers_draw_in_bounds(tf: Any, feed: Any) -> Any:
    def limit(initializer: Any, shape: Any = (50, 50)) -> Any:
        x = initializer(list(shape))
        return tf.round(20 * tf.reduce_max(tf.abs(x)))

    def spread(initializer: Any) -> Any:
        x = initializer([100, 100])
        return tf.round(10 * tf.math.reduce_std(x))

    return {
        "glorot": limit(tf.glorot_uniform_initializer(seed=1)),
        "uniform": limit(tf.random_uniform_initializer(-0.5, 0.5, seed=1)),
        "normal": spread(tf.random_normal_initializer(0.0, 1.0, seed=1)),
        "truncated": limit(tf.truncated_normal_initializer(seed=1), (300, 300)),
        "he": spread(tf.initializers.variance_scaling(2.0, seed=1)),
    }


@case
def assignments(tf: Any, feed: Any) -> Any:
    v = tf.Variable([1.0, 2.0])
    u = tf.Variable([1.0, 2.0])
    w = tf.Variable([0.0, 0.0])
    table = tf.Variable(wave(3, 2))
    other = tf.Variable(wave(3, 2))
    return {
        "assign": tf.assign(v, [5.0, 6.0]),
        "add": tf.assign_add(u, [1.0, 1.0]),
        "sub": w.assign_sub([1.0, 2.0]),
        "scatter": tf.scatter_update(table, [0, 2], [[1.0, 1.0], [2.0, 2.0]]),
        "scatter_add": tf.scatter_add(other, [1, 1], [[1.0, 1.0], [2.0, 2.0]]),
    }


@case
def steps_in_order(tf: Any, feed: Any) -> Any:
    v = tf.Variable(1.0)
    with tf.control_dependencies([v.assign(10.0)]):
        after = v.read_value() + 1.0
        same = tf.identity(v)
    return {"after": after, "same": same}


@case
def optimizer_steps(tf: Any, feed: Any) -> Any:
    t = tf.train
    makers = {
        "sgd": t.GradientDescentOptimizer(0.1),
        "momentum": t.MomentumOptimizer(0.1, 0.9),
        "nesterov": t.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
        "adam": t.AdamOptimizer(0.1),
        "rmsprop": t.RMSPropOptimizer(0.1),
        "centered": t.RMSPropOptimizer(0.1, centered=True, momentum=0.5),
        "adagrad": t.AdagradOptimizer(0.1),
        "adadelta": t.AdadeltaOptimizer(0.1),
        "ftrl": t.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
    }
    found = {}
    for name, optimizer in makers.items():
        v = tf.Variable(wave(3), name=name)
        loss = tf.reduce_sum(tf.square(v))
        pairs = optimizer.compute_gradients(loss, [v])
        first = optimizer.apply_gradients(pairs)
        with tf.control_dependencies([first]):
            second = tf.gradients(tf.reduce_sum(tf.square(v.read_value())), v)
            with tf.control_dependencies([first]):
                found[name] = v.read_value()
        found[f"{name}_slots"] = optimizer.get_slot_names()
        del second
    return found


@case
def moving_averages(tf: Any, feed: Any) -> Any:
    v = tf.Variable(2.0, name="v")
    ema = tf.train.ExponentialMovingAverage(0.9)
    limited = tf.train.ExponentialMovingAverage(0.99, num_updates=1)
    with tf.control_dependencies([v.assign(5.0)]):
        update = ema.apply([v])
        update2 = limited.apply([v])
    with tf.control_dependencies([update, update2]):
        found = {
            "average": ema.average(v).read_value(),
            "limited": limited.average(v).read_value(),
        }
    found["names"] = [ema.average(v).name, ema.average_name(v)]
    return found


@case
def collections(tf: Any, feed: Any) -> Any:
    g = tf.get_default_graph()
    tf.add_to_collection("mine", 1)
    tf.add_to_collection("mine", 2)
    with tf.variable_scope("s"):
        tf.get_variable("w", [1], regularizer=lambda v: tf.reduce_sum(v))
    v = tf.Variable(1.0, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    return {
        "mine": tf.get_collection("mine"),
        "nothing": tf.get_collection("nothing"),
        "penalties": [t.name for t in tf.losses.get_regularization_losses()],
        "local": [x.name for x in tf.local_variables()],
        "filtered": [x.name for x in tf.get_collection("variables", "s")],
        "keys": sorted(str(k) for k in g.get_all_collection_keys()),
        "name": v.name,
    }


@case
def feeding_and_fetching(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None], name="x")
    y = x * 2.0
    z = y + 1.0
    found: dict[str, Any] = {}
    with tf.Session() as s:
        found["list"] = str(type(s.run([y, z], {x: [1]})).__name__)
        found["dict"] = sorted(s.run({"a": y, "b": {"c": z}}, {x: [1]}))
        found["inner"] = s.run(z, {y: [5.0]})
        found["name"] = s.run("x:0", {"x:0": [2.0]})
        found["op"] = s.run(z.op, {x: [1.0]})
        found["eval"] = z.eval({x: [1.0, 2]})
        found["tuple"] = type(s.run((y, z), {x: [1]})).__name__
        found["scalar"] = type(s.run(tf.constant(1.0))).__name__
        found["fed"] = s.run(x, {x: np.array([1.0, 2.0])}).dtype.name
        found["string"] = s.run(tf.constant("a")).decode()
        found["default"] = tf.get_default_session() is s
        found["empty"] = s.run([])
    return found
