"""Arguments that are seldom used, and what happens at run time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave


@case
def variables_through_scopes(tf: Any, feed: Any) -> Any:
    found = []
    init = tf.constant_initializer(3.0)
    with tf.variable_scope("a", initializer=init, dtype=tf.float64) as a:
        w = tf.get_variable("w", [2])
        found += [a.name, str(a.reuse), w.dtype.base_dtype.name]
        with tf.variable_scope("b", initializer=tf.ones_initializer()):
            b = tf.get_variable("w", [2])
        a.reuse_variables()
        found += [str(a.reuse), tf.get_variable("w", [2]) is w]
        with tf.variable_scope("b"):
            found += [str(tf.get_variable_scope().reuse)]
    with tf.variable_scope("a/b", reuse=True):
        found += [tf.get_variable("w", [2], tf.float64) is b]
    with tf.variable_scope(a, reuse=True), tf.variable_scope("b"):
        found += [tf.get_variable("w", [2], tf.float64) is b]
    with tf.variable_scope("c") as c, tf.variable_scope(a):
        found += [tf.get_variable_scope().name, c.name]
    with tf.variable_scope(""):
        found += [tf.get_variable("top", [1]).name]
    return {"found": found, "w": w, "b": b}


@case
def variable_attributes(tf: Any, feed: Any) -> Any:
    v = tf.get_variable("v", [2, 3], initializer=tf.zeros_initializer())
    u = tf.Variable(wave(2), trainable=False, name="u", dtype=tf.float64)
    return {
        "names": [v.name, v.op.name, v.op.type, v.initializer.name],
        "shape": v.get_shape().as_list(),
        "dims": [d.value for d in v.shape],
        "dtype": [v.dtype.base_dtype.name, u.dtype.base_dtype.name],
        "trainable": [x.name for x in tf.trainable_variables()],
        "graph": v.graph is tf.get_default_graph(),
        "plus": (v + 1.0).name,
        "eq": v == u,
        "identity": tf.identity(v).get_shape().as_list(),
        "u": u,
        "rank": tf.rank(v),
        "t": tf.transpose(v),
        "item": v[0, 1:],
        "neg": -v,
        "matmul": tf.matmul(v, v, transpose_b=True),
        "cast": tf.cast(u, tf.float32) * 2,
    }


@case
def random_shapes_and_types(tf: Any, feed: Any) -> Any:
    n = tf.placeholder(tf.int32, [])
    feed[n] = 3
    draws = {
        "normal": tf.random_normal([2, 3]),
        "normal64": tf.random_normal([2], dtype=tf.float64),
        "uniform": tf.random_uniform([n, 2]),
        "uniform_int": tf.random_uniform([4], 0, 10, dtype=tf.int32),
        "truncated": tf.truncated_normal([2], stddev=0.1),
        "multinomial": tf.multinomial([[0.0, 1.0]], 5),
        "gamma": tf.random_gamma([3], [1.0, 2.0]),
        "poisson": tf.random_poisson([1.0, 2.0], [3]),
        "shuffle": tf.random_shuffle(tf.range(4)),
        "crop": tf.random_crop(wave(5, 4), [2, 3]),
    }
    found: dict[str, Any] = {}
    for key, draw in draws.items():
        found[key] = tf.zeros_like(draw)
        shape = draw.get_shape()
        found[f"{key}_static"] = {"static": shape.as_list()}
    low = tf.random_uniform([1000], 2.0, 3.0)
    found["low"] = tf.reduce_all((low >= 2) & (low < 3))
    ints = tf.random_uniform([1000], -2, 2, tf.int32)
    found["ints"] = tf.sort(tf.unique(ints)[0])
    found["sorted"] = tf.sort(tf.random_shuffle([3, 1, 2]))
    cut = tf.truncated_normal([5000], stddev=0.5)
    found["cut"] = tf.reduce_max(tf.abs(cut)) <= 1.0
    found["mean"] = tf.round(tf.reduce_mean(tf.random_normal([10000], 5.0)))
    return found


@case
def feeds_in_the_middle(tf: Any, feed: Any) -> Any:
    x = tf.placeholder_with_default([1.0, 2.0], [None])
    y = x * 3.0
    z = tf.reduce_sum(y)
    v = tf.Variable(5.0)
    w = v * 2.0
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        return {
            "default": s.run(z),
            "fed": s.run(z, {x: [1.0, 1.0, 1.0]}),
            "inner": s.run(z, {y: [10.0]}),
            "constant": s.run(z, {z: 4.0}),
            "variable": s.run(w),
            "int": s.run(z, {x: [1, 2]}),
            "array": s.run(y, {x: np.arange(2)}),
            "empty": s.run(y, {x: []}),
        }


@case
def fetched_types(tf: Any, feed: Any) -> Any:
    x = tf.constant([1.0, 2.0])
    v = tf.Variable(3.0)
    with tf.Session() as s:
        init = s.run(tf.global_variables_initializer())
        nested = s.run({"a": [x, (v, {"b": x[0]})], "c": x.op})
        many = s.run([x, x])
        return {
            "init": init,
            "a": type(nested["a"]).__name__,
            "tuple": type(nested["a"][1]).__name__,
            "v": float(nested["a"][1][0]),
            "op": nested["c"],
            "distinct": many[0] is many[1],
            "scalar": type(s.run(tf.reduce_sum(x))).__name__,
            "int": type(s.run(tf.size(x))).__name__,
            "bool": type(s.run(tf.equal(1, 1))).__name__,
            "string": type(s.run(tf.constant("s"))).__name__,
            "strings": s.run(tf.constant(["s"])).dtype.name,
            "name": s.run(v.name),
            "str": str(s.run(x)),
            "callable": s.make_callable(x)(),
        }


@case
def control_flow_of_writes(tf: Any, feed: Any) -> Any:
    v = tf.Variable(0.0)
    add = tf.assign_add(v, 1.0)
    values = []
    with tf.Session() as s:
        s.run(v.initializer)
        values += [float(s.run(add)), float(s.run(add)), float(v.eval())]
        s.run(tf.group(add))
        s.run([add.op, add])
        values += [float(s.run(v))]
        v.load(10.0, s)
        values += [float(s.run(v))]
        with tf.control_dependencies([add]):
            out = tf.constant(2.0) * 2.0
        values += [float(s.run(out)), float(s.run(v))]
        with tf.control_dependencies([add]), tf.control_dependencies(None):
            free = tf.constant(1.0) + 1.0
        values += [float(s.run(free)), float(s.run(v))]
        (first,) = tf.tuple([v * 1.0], control_inputs=[add])
        s.run(first)
        values += [float(s.run(v))]
    return {"values": values}


@case
def global_steps(tf: Any, feed: Any) -> Any:
    step = tf.train.get_or_create_global_step()
    v = tf.Variable([1.0, 2.0], name="v")
    optimizer = tf.train.GradientDescentOptimizer(0.5)
    train = optimizer.minimize(tf.reduce_sum(v * v) / 2, global_step=step)
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        fetched = s.run([train, step])
        return {
            "none": fetched[0],
            "step": int(s.run(step)),
            "global": tf.train.global_step(s, step),
            "same": tf.train.get_global_step() is step,
            "v": s.run(v),
            "dtype": step.dtype.base_dtype.name,
            "trainable": [x.name for x in tf.trainable_variables()],
            "keys": optimizer.get_name(),
        }


@case
def compute_and_apply(tf: Any, feed: Any) -> Any:
    v = tf.Variable([3.0, 4.0], name="v")
    u = tf.Variable(1.0, name="unused")
    optimizer = tf.train.AdamOptimizer(0.1)
    pairs = optimizer.compute_gradients(tf.reduce_sum(v * v))
    clipped = [(tf.clip_by_norm(g, 1.0), w) for g, w in pairs if g is not None]
    train = optimizer.apply_gradients(clipped)
    slots = optimizer.get_slot_names()
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        for _ in range(3):
            s.run(train)
        return {
            "pairs": [(g is None, w.name)[1] for g, w in pairs],
            "none": [g is None for g, _ in pairs],
            "slots": sorted(slots),
            "slot": optimizer.get_slot(v, "m").name,
            "m": s.run(optimizer.get_slot(v, "m")),
            "v": s.run(v),
            "u": s.run(u),
            "var_list": len(optimizer.compute_gradients(v[0] * u, [u])),
            "variables": sorted(w.name for w in optimizer.variables()),
        }


@case
def sparse_gradients_in_training(tf: Any, feed: Any) -> Any:
    found = {}
    t = tf.train
    makers = {
        "sgd": t.GradientDescentOptimizer(0.1),
        "momentum": t.MomentumOptimizer(0.1, 0.9),
        "adam": t.AdamOptimizer(0.1),
        "adagrad": t.AdagradOptimizer(0.1),
        "rmsprop": t.RMSPropOptimizer(0.1),
    }
    with tf.Session() as s:
        for name, optimizer in makers.items():
            table = tf.Variable(wave(4, 2), name=name)
            rows = tf.nn.embedding_lookup(table, [1, 3, 1])
            train = optimizer.minimize(tf.reduce_sum(rows * rows), var_list=[table])
            s.run(tf.global_variables_initializer())
            s.run(train)
            s.run(train)
            found[name] = s.run(table)
    return found


@case
def seldom_used_arguments(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3))
    return {
        "squeeze_dims": tf.squeeze(x[None], squeeze_dims=[0]),
        "concat_neg": tf.concat([x, x], axis=-1),
        "stack_neg": tf.stack([x, x], -2),
        "split_neg": tf.split(x, 3, -1)[2],
        "unstack_num": tf.unstack(x, num=2)[1],
        "reduce_dims": tf.reduce_sum(x, reduction_indices=-1),
        "reduce_tuple": tf.reduce_sum(x, axis=(0, 1)),
        "reduce_np": tf.reduce_sum(x, np.array([0])),
        "argmax_dim": tf.argmax(x, dimension=0),
        "softmax_dim": tf.nn.softmax(x, dim=0),
        "expand_neg": tf.expand_dims(x, -1),
        "one_hot_default": tf.one_hot(1, 3),
        "range_delta": tf.range(1, 10, delta=4),
        "range_limit": tf.range(limit=3, start=0),
        "zeros_int": tf.zeros(3, tf.int32),
        "zeros_tuple": tf.zeros((2, 1)),
        "ones_shape": tf.ones(x.shape),
        "fill_tuple": tf.fill((1, 2), True),
        "tile_tensor": tf.tile([1, 2], [2]),
        "reverse_neg": tf.reverse(x, [-1]),
        "cumsum_neg": tf.cumsum(x, axis=-1),
        "transpose_name": tf.transpose(x, perm=[1, 0], name="t"),
        "pad_args": tf.pad(x, [[0, 0], [1, 0]], "CONSTANT", None, -1.0),
        "slice_end": tf.slice(x, [0, 1], [2, -1]),
        "where_x": tf.where(condition=x > 0, x=x, y=tf.zeros_like(x)),
        "matmul_list": tf.matmul([[1.0, 2.0]], [[1.0], [2.0]]),
        "add_lists": tf.add([1, 2], [3, 4]),
        "multiply_np": tf.multiply(np.float32(2), x),
        "max_scalar": tf.maximum(x, 0),
        "dot": tf.tensordot(x, x, axes=[[0, 1], [0, 1]]),
        "shape_sum": tf.shape(x)[0] * tf.shape(x)[1],
        "shape_list": tf.shape(x)[1:],
        "moments_all": tf.nn.moments(x, axes=[0, 1])[1],
        "gather_name": tf.gather(params=x, indices=[0]),
        "log_softmax_axis": tf.nn.log_softmax(x, axis=0),
        "bias_nchw": tf.nn.bias_add(
            tf.zeros([1, 2, 1, 1]), [1.0, 2.0], data_format="NCHW"
        ),
        "top_unsorted": tf.sort(tf.nn.top_k(x, 2, sorted=False)[0]),
        "sequence": tf.sequence_mask(2, 4),
        "clip_tensor": tf.clip_by_value(x, tf.reduce_min(x) + 1, 1),
        "eye_rows": tf.eye(2, num_columns=3, dtype=tf.int32),
    }


@case
def operators_on_the_right(tf: Any, feed: Any) -> Any:
    x = tf.constant([2.0, 4.0])
    i = tf.constant([5, -5])
    b = tf.constant([True, False])
    a = np.array([1.0, 2.0], np.float32)
    return {
        "add": 1 + x,
        "sub": 1 - x,
        "mul": 2 * x,
        "div": 1 / x,
        "pow": 2**x,
        "floordiv": 7 // i,
        "mod": 7 % i,
        "and": True & b,
        "or": False | b,
        "xor": True ^ b,
        "array_add": a + x,
        "array_sub": a - x,
        "array_mul": a * x,
        "array_div": a / x,
        "array_pow": a**x,
        "list": [1.0, 2.0] - x,
        "matmul": np.eye(2, dtype=np.float32) @ tf.reshape(x, [2, 1]),
        "less": 3 - x < x,
        "array_less": (a > x),
    }


@case
def variables_with_operators(tf: Any, feed: Any) -> Any:
    v = tf.Variable([2.0, 4.0])
    n = tf.Variable(3, trainable=False)
    return {
        "add": v + v,
        "np": np.float32(2) * v,
        "array": np.array([1.0, 2.0], np.float32) * v,
        "less": v < 3,
        "abs": abs(-v),
        "pow": v**2,
        "index": v[n - 2],
        "int_div": n // 2,
        "true_div": n / 2,
        "sum": tf.reduce_sum(v),
        "stack": tf.stack([v, v]),
        "concat": tf.concat([v, [1.0]], 0),
        "list": tf.reduce_sum([v[0], v[1]]),
        "convert": tf.convert_to_tensor(v),
        "where": tf.where(v > 3, v, -v),
        "grad": tf.gradients(v * v, v)[0],
        "grad_read": tf.gradients(tf.identity(v) * v, [v])[0],
    }
