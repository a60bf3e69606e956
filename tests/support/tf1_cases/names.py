"""Names of operations, scopes, variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave


@case
def name_placeholders(tf: Any, feed: Any) -> Any:
    a = tf.placeholder(tf.float32)
    b = tf.placeholder(tf.float32, [2])
    c = tf.placeholder(tf.int32, name="ids")
    d = tf.placeholder(tf.int32, name="ids")
    e = tf.placeholder_with_default(1.0, [])
    return {k: v.name for k, v in {"a": a, "b": b, "c": c, "d": d, "e": e}.items()}


@case
def name_constants(tf: Any, feed: Any) -> Any:
    ts = [
        tf.constant(1.0),
        tf.constant(2),
        tf.constant(3, name="c"),
        tf.constant(3, name="c"),
        tf.zeros([2]),
        tf.ones([2]),
        tf.zeros([2]),
        tf.fill([2], 1.0),
        tf.range(3),
        tf.convert_to_tensor([1.0]),
    ]
    return {f"n{i}": t.name for i, t in enumerate(ts)}


@case
def name_operators(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2, 2], name="x")
    i = tf.placeholder(tf.int32, [2], name="i")
    b = tf.placeholder(tf.bool, [2], name="b")
    ts = {
        "add": x + x,
        "sub": x - x,
        "mul": x * x,
        "div": x / x,
        "floordiv": x // x,
        "mod": i % i,
        "pow": x**x,
        "neg": -x,
        "abs": abs(x),
        "less": x < x,
        "le": x <= x,
        "gt": x > x,
        "ge": x >= x,
        "and_": b & b,
        "or_": b | b,
        "xor": b ^ b,
        "not_": ~b,
        "matmul": x @ x,
        "item": x[0],
        "radd": 1.0 + x,
        "rsub": 1.0 - x,
    }
    found = {k: v.name for k, v in ts.items()}
    found["y"] = (x + 2.0).op.inputs[1].name
    return found


@case
def name_functions(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2, 2], name="x")
    ts = [
        tf.add(x, x),
        tf.subtract(x, x),
        tf.multiply(x, x),
        tf.div(x, x),
        tf.divide(x, x),
        tf.truediv(x, x),
        tf.floordiv(x, x),
        tf.pow(x, x),
        tf.negative(x),
        tf.abs(x),
        tf.square(x),
        tf.sqrt(x),
        tf.rsqrt(x),
        tf.exp(x),
        tf.log(x),
        tf.tanh(x),
        tf.sigmoid(x),
        tf.sin(x),
        tf.sign(x),
        tf.floor(x),
        tf.ceil(x),
        tf.round(x),
        tf.maximum(x, x),
        tf.minimum(x, x),
        tf.squared_difference(x, x),
        tf.cast(x, tf.int32),
        tf.to_int32(x),
        tf.identity(x),
        tf.stop_gradient(x),
        tf.add_n([x, x]),
        tf.matmul(x, x),
        tf.equal(x, x),
        tf.not_equal(x, x),
        tf.less(x, x),
        tf.greater_equal(x, x),
        tf.where(x > x, x, x),
        tf.clip_by_value(x, 0.0, 1.0),
    ]
    return {f"n{i}": t.name for i, t in enumerate(ts)}


@case
def name_reductions(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2, 2], name="x")
    ts = [
        tf.reduce_sum(x),
        tf.reduce_mean(x),
        tf.reduce_mean(x, 1),
        tf.reduce_max(x),
        tf.reduce_min(x),
        tf.reduce_prod(x),
        tf.reduce_all(x > x),
        tf.reduce_any(x > x),
        tf.reduce_logsumexp(x),
        tf.argmax(x, 1),
        tf.argmin(x, 1),
        tf.cumsum(x),
        tf.norm(x),
        tf.global_norm([x]),
    ]
    return {f"n{i}": t.name for i, t in enumerate(ts)}


@case
def name_array_ops(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2, None], name="x")
    i = tf.constant([0, 1], name="i")
    ts = [
        tf.reshape(x, [-1]),
        tf.transpose(x),
        tf.expand_dims(x, 0),
        tf.squeeze(tf.expand_dims(x, 0)),
        tf.concat([x, x], 0),
        tf.stack([x, x]),
        tf.unstack(x)[1],
        tf.split(x, 2)[1],
        tf.tile(x, [1, 2]),
        tf.pad(x, [[1, 1], [0, 0]]),
        tf.reverse(x, [0]),
        tf.slice(x, [0, 0], [1, 1]),
        tf.gather(x, i),
        tf.gather_nd(x, [[0, 0]]),
        tf.one_hot(i, 3),
        tf.shape(x),
        tf.size(x),
        tf.rank(x),
        tf.boolean_mask(x, [True, False]),
        tf.sequence_mask(i),
        tf.where(x > 0),
        tf.dynamic_partition(x, i, 2)[0],
        tf.unique(i)[0],
        tf.zeros_like(x),
    ]
    return {f"n{n}": t.name for n, t in enumerate(ts)}


@case
def name_nn(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2, 6, 6, 2], name="x")
    w = tf.placeholder(tf.float32, [3, 3, 2, 4], name="w")
    v = tf.placeholder(tf.float32, [2, 3], name="v")
    labels = tf.placeholder(tf.int32, [2], name="labels")
    ts = [
        tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME"),
        tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
        tf.nn.avg_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
        tf.nn.bias_add(v, tf.zeros([3])),
        tf.nn.relu(x),
        tf.nn.elu(x),
        tf.nn.softplus(x),
        tf.nn.softmax(v),
        tf.nn.log_softmax(v),
        tf.nn.l2_loss(v),
        tf.nn.lrn(x),
        tf.nn.in_top_k(v, labels, 1),
        tf.nn.top_k(v)[0],
        tf.nn.l2_normalize(v, 1),
        tf.nn.sigmoid_cross_entropy_with_logits(labels=v, logits=v),
        tf.nn.leaky_relu(v),
        tf.nn.xw_plus_b(v, tf.zeros([3, 3]), tf.zeros([3])),
        tf.nn.embedding_lookup(v, labels),
    ]
    return {f"n{n}": t.name for n, t in enumerate(ts)}


@case
def name_losses(tf: Any, feed: Any) -> Any:
    v = tf.placeholder(tf.float32, [2, 3], name="v")
    labels = tf.placeholder(tf.int32, [2], name="labels")
    nn = tf.nn
    ts = [
        nn.softmax_cross_entropy_with_logits_v2(labels=v, logits=v),
        nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=v),
        tf.losses.mean_squared_error(v, v),
        tf.losses.softmax_cross_entropy(v, v),
        tf.losses.sparse_softmax_cross_entropy(labels, v),
        tf.losses.sigmoid_cross_entropy(v, v),
        tf.losses.get_total_loss(),
    ]
    return {f"n{n}": t.op.name for n, t in enumerate(ts)}


@case
def name_scopes(tf: Any, feed: Any) -> Any:
    found = []
    with tf.name_scope("a") as a:
        found += [a, tf.constant(1.0).name]
        with tf.name_scope("b") as b:
            found += [b, tf.constant(1.0).name]
        with tf.name_scope("b") as b:
            found += [b, tf.constant(1.0).name]
    with tf.name_scope("a") as again:
        found += [again, tf.constant(1.0, name="x").name]
    with tf.name_scope(a):
        found += [tf.constant(1.0).name]
        with tf.name_scope("b"):
            found += [tf.constant(1.0).name]
    with tf.name_scope("c"), tf.name_scope(None):
        found += [tf.constant(1.0, name="top").name]
    with tf.name_scope(None, "fallback", [1.0]) as s:
        found += [s, tf.constant(1.0).name]
    with tf.name_scope("a/d") as s:
        found += [s, tf.constant(1.0).name]
    return {"found": found}


@case
def name_case_does_not_tell_apart(tf: Any, feed: Any) -> Any:
    ts = [tf.constant(1, name=n) for n in ("Total", "total", "TOTAL", "total_1")]
    return {"found": [t.name for t in ts]}


@case
def name_unique(tf: Any, feed: Any) -> Any:
    g = tf.get_default_graph()
    found = [g.unique_name("w"), g.unique_name("w"), g.unique_name("w_1")]
    found += [g.unique_name("q", mark_as_used=False), g.unique_name("q")]
    with g.name_scope("s"):
        found += [g.unique_name("w"), g.get_name_scope()]
    return {"found": found}


@case
def name_scope_of_an_op_blocks_it(tf: Any, feed: Any) -> Any:
    first = tf.constant(1.0, name="layer")
    with tf.name_scope("layer") as s:
        second = tf.constant(1.0, name="w")
    return {"found": [first.name, s, second.name]}


@case
def name_variables(tf: Any, feed: Any) -> Any:
    v = tf.Variable(1.0)
    w = tf.Variable([1.0, 2.0])
    with tf.name_scope("s"):
        u = tf.Variable(1.0, name="u")
    found = [v.name, v.op.name, w.name, u.name, v.initializer.name]
    found += [tf.assign(v, 2.0).name, v.assign_add(1.0).name]
    found += [tf.global_variables_initializer().name, tf.no_op().name]
    found += [tf.group(v.initializer).name, tf.global_variables_initializer().name]
    return {"found": found}


@case
def name_variable_scopes(tf: Any, feed: Any) -> Any:
    found = []
    with tf.variable_scope("net") as net:
        found += [tf.get_variable("w", [1]).name, tf.constant(1.0).name]
        with tf.variable_scope("in"):
            found += [tf.get_variable("w", [1]).name]
        with tf.name_scope("only_ops"):
            found += [tf.get_variable("v", [1]).name, tf.constant(1.0).name]
            found += [tf.Variable(1.0, name="made").name]
    with tf.variable_scope(net, reuse=True):
        found += [tf.get_variable("w", [1]).name, tf.constant(1.0).name]
    with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
        found += [tf.get_variable("w", [1]).name, tf.get_variable("z", [1]).name]
    with tf.variable_scope(None, default_name="layer") as s:
        found += [s.name, s.original_name_scope]
    with tf.variable_scope(None, default_name="layer") as s:
        found += [s.name]
    found += [v.name for v in tf.trainable_variables()]
    return {"found": found}


@case
def name_optimizers(tf: Any, feed: Any) -> Any:
    v = tf.Variable(wave(2), name="v")
    loss = tf.reduce_sum(tf.square(v))
    step = tf.train.get_or_create_global_step()
    found = [step.name]
    found += [tf.train.GradientDescentOptimizer(0.1).minimize(loss).name]
    found += [tf.train.AdamOptimizer().minimize(loss, global_step=step).name]
    found += [tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, name="go").name]
    found += sorted(w.name for w in tf.global_variables())
    return {"found": found}


@case
def name_gradients_scope(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.tanh(x) * x
    (d,) = tf.gradients(y, [x])
    (e,) = tf.gradients(y, [x], name="mine")
    (f,) = tf.gradients(y, [x])
    return {"found": [t.name.split("/")[0] for t in (d, e, f)]}


@case
def name_lookup(tf: Any, feed: Any) -> Any:
    g = tf.get_default_graph()
    x = tf.constant(np.float32(2), name="x")
    y = tf.multiply(x, x, name="s/y")
    return {
        "same": g.get_tensor_by_name("s/y:0") is y,
        "op": g.get_operation_by_name("x") is x.op,
        "element": g.as_graph_element("x:0") is x,
        "type": y.op.type,
        "inputs": [t.name for t in y.op.inputs],
        "consumers": sorted(o.name for o in x.consumers()),
        "ops": [o.name for o in g.get_operations()],
        "index": y.value_index,
    }


@case
def names_that_are_asked_for(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [4, 4], name="x")
    v = tf.placeholder(tf.float32, [4], name="v")
    i = tf.placeholder(tf.int32, [4], name="i")
    image = tf.placeholder(tf.float32, [2, 6, 6, 3], name="image")
    filters = tf.zeros([3, 3, 3, 2])
    nn = tf.nn
    entropy = nn.sigmoid_cross_entropy_with_logits
    found = {
        "scores": nn.xw_plus_b(x, x, v, name="scores"),
        "relu_layer": nn.relu_layer(x, x, v, name="relu_layer"),
        "unit": nn.l2_normalize(x, 1, name="unit"),
        "lrn": nn.lrn(image, name="lrn"),
        "conv": nn.conv2d(image, filters, [1, 1, 1, 1], "SAME", name="conv"),
        "loss": entropy(labels=x, logits=x, name="loss"),
        "weighted": nn.weighted_cross_entropy_with_logits(x, x, 2.0, name="weighted"),
        "mean": tf.reduce_mean(x, name="mean"),
        "best": tf.argmax(x, 1, name="best"),
        "stitched": tf.dynamic_stitch([i], [x], name="stitched"),
        "decay": tf.train.exponential_decay(0.1, i[0], 1, 0.5, name="decay"),
        "norm": tf.clip_by_norm(x, 1.0, name="norm"),
        "diag": tf.diag(v, name="diag"),
        "same": tf.cast(x, tf.float32, name="same"),
        "one": tf.identity(x, name="one"),
    }
    return {k: t.name for k, t in found.items()}
