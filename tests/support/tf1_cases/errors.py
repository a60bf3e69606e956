"""What the errors of TF1 programs are caught by."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave


@case
def error_missing_feed(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2])
    tf.Session().run(x + 1.0)


@case
def error_uninitialised_variable(tf: Any, feed: Any) -> Any:
    v = tf.Variable(1.0)
    tf.Session().run(v + 1.0)


@case
def error_uninitialised_fetch(tf: Any, feed: Any) -> Any:
    v = tf.Variable(1.0)
    tf.Session().run(v)


@case
def error_gather_out_of_range(tf: Any, feed: Any) -> Any:
    i = tf.placeholder(tf.int32, [1])
    tf.Session().run(tf.gather([1.0, 2.0], i), {i: [5]})


@case
def error_gather_nd_out_of_range(tf: Any, feed: Any) -> Any:
    i = tf.placeholder(tf.int32, [1, 1])
    tf.Session().run(tf.gather_nd([1.0, 2.0], i), {i: [[5]]})


@case
def error_lookup_out_of_range(tf: Any, feed: Any) -> Any:
    i = tf.placeholder(tf.int32, [1])
    tf.Session().run(tf.nn.embedding_lookup(wave(3, 2), i), {i: [-1]})


@case
def error_sparse_label_out_of_range(tf: Any, feed: Any) -> Any:
    y = tf.placeholder(tf.int32, [1])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=wave(1, 2))
    (d,) = tf.gradients(loss, [loss.op.inputs[0]])
    value = tf.Session().run([loss, d], {y: [7]})
    if np.isnan(value[0]).all():  # TF1 gives NaN where it does not check
        raise tf.errors.InvalidArgumentError(None, None, "nan")


@case
def error_fed_shape(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2])
    tf.Session().run(x + 1.0, {x: [1.0, 2.0, 3.0]})


@case
def error_fed_value(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2])
    tf.Session().run(x + 1.0, {x: ["a", "b"]})


@case
def error_fed_tensor(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [])
    tf.Session().run(x + 1.0, {x: tf.constant(1.0)})


@case
def error_fed_key(tf: Any, feed: Any) -> Any:
    tf.Session().run(tf.constant(1.0), {"nothing:0": 1.0})


@case
def error_fed_key_type(tf: Any, feed: Any) -> Any:
    tf.Session().run(tf.constant(1.0), {3: 1.0})


@case
def error_fetch_none(tf: Any, feed: Any) -> Any:
    tf.constant(1.0)
    tf.Session().run(None)


@case
def error_fetch_none_in_list(tf: Any, feed: Any) -> Any:
    tf.Session().run([tf.constant(1.0), None])


@case
def error_fetch_number(tf: Any, feed: Any) -> Any:
    tf.constant(1.0)
    tf.Session().run(3.5)


@case
def error_fetch_name(tf: Any, feed: Any) -> Any:
    tf.constant(1.0)
    tf.Session().run("nothing:0")


@case
def error_fetch_other_graph(tf: Any, feed: Any) -> Any:
    x = tf.constant(1.0)
    with tf.Graph().as_default(), tf.Session() as s:
        tf.constant(2.0)
        s.run(x)


@case
def error_empty_graph(tf: Any, feed: Any) -> Any:
    x = tf.constant(1.0)
    tf.Session(graph=tf.Graph()).run(x)


@case
def error_closed_session(tf: Any, feed: Any) -> Any:
    s = tf.Session()
    s.close()
    s.run(tf.constant(1.0))


@case
def error_no_default_session(tf: Any, feed: Any) -> Any:
    tf.constant(1.0).eval()


@case
def error_shapes_clash(tf: Any, feed: Any) -> Any:
    return {"y": tf.zeros([2]) + tf.zeros([3])}


@case
def error_shapes_clash_at_run_time(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None])
    tf.Session().run(x + tf.zeros([3]), {x: [1.0, 2.0]})


@case
def error_matmul_shapes(tf: Any, feed: Any) -> Any:
    return {"y": tf.matmul(tf.zeros([2, 3]), tf.zeros([2, 3]))}


@case
def error_matmul_at_run_time(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32)
    tf.Session().run(tf.matmul(x, tf.zeros([3, 2])), {x: wave(2, 2)})


@case
def error_reshape(tf: Any, feed: Any) -> Any:
    return {"y": tf.reshape(tf.zeros([6]), [4, 2])}


@case
def error_reshape_at_run_time(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32)
    tf.Session().run(tf.reshape(x, [4]), {x: wave(3)})


@case
def error_concat_shapes(tf: Any, feed: Any) -> Any:
    return {"y": tf.concat([tf.zeros([2, 2]), tf.zeros([3, 3])], 0)}


@case
def error_set_shape(tf: Any, feed: Any) -> Any:
    tf.zeros([2, 3]).set_shape([2, 4])


@case
def error_bool_of_tensor(tf: Any, feed: Any) -> Any:
    if tf.constant(1.0) > 0:
        return {}


@case
def error_iterate(tf: Any, feed: Any) -> Any:
    return {"all": list(tf.placeholder(tf.float32, [None]))}


@case
def error_strings_and_numbers(tf: Any, feed: Any) -> Any:
    return {"y": tf.constant("a") + 1}


@case
def error_constant_dtype(tf: Any, feed: Any) -> Any:
    return {"y": tf.constant([1.5], tf.int32)}


@case
def error_ragged_constant(tf: Any, feed: Any) -> Any:
    return {"y": tf.constant([[1, 2], [3]])}


@case
def error_constant_shape(tf: Any, feed: Any) -> Any:
    return {"y": tf.constant([1, 2, 3], shape=[2])}


@case
def error_variable_exists(tf: Any, feed: Any) -> Any:
    tf.get_variable("w", [1])
    tf.get_variable("w", [1])


@case
def error_variable_missing(tf: Any, feed: Any) -> Any:
    with tf.variable_scope("s", reuse=True):
        tf.get_variable("w", [1])


@case
def error_variable_other_shape(tf: Any, feed: Any) -> Any:
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
        tf.get_variable("w", [1])
        tf.get_variable("w", [2])


@case
def error_variable_other_dtype(tf: Any, feed: Any) -> Any:
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
        tf.get_variable("w", [1])
        tf.get_variable("w", [1], tf.int32)


@case
def error_assign_shape(tf: Any, feed: Any) -> Any:
    tf.Variable([1.0, 2.0]).assign([1.0, 2.0, 3.0])


@case
def error_no_trainable_variables(tf: Any, feed: Any) -> Any:
    tf.train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0))


@case
def error_no_gradients(tf: Any, feed: Any) -> Any:
    tf.Variable(1.0)
    tf.train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0))


@case
def error_finalized_graph(tf: Any, feed: Any) -> Any:
    tf.get_default_graph().finalize()
    tf.constant(1.0)


@case
def error_name(tf: Any, feed: Any) -> Any:
    tf.constant(1.0, name="a b")


@case
def error_scope_name(tf: Any, feed: Any) -> Any:
    with tf.name_scope("a b"):
        tf.constant(1.0)


@case
def error_get_tensor(tf: Any, feed: Any) -> Any:
    tf.get_default_graph().get_tensor_by_name("nothing:0")


@case
def error_get_tensor_without_index(tf: Any, feed: Any) -> Any:
    tf.constant(1.0, name="x")
    tf.get_default_graph().get_tensor_by_name("x")


@case
def error_get_operation(tf: Any, feed: Any) -> Any:
    tf.get_default_graph().get_operation_by_name("nothing")


@case
def error_two_graphs(tf: Any, feed: Any) -> Any:
    x = tf.constant(1.0)
    with tf.Graph().as_default():
        y = tf.constant(2.0)
    return {"y": tf.add(x, y)}


@case
def error_conv_channels(tf: Any, feed: Any) -> Any:
    x, w = tf.zeros([1, 4, 4, 3]), tf.zeros([2, 2, 2, 1])
    return {"y": tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")}


@case
def error_conv_padding(tf: Any, feed: Any) -> Any:
    x, w = tf.zeros([1, 4, 4, 2]), tf.zeros([2, 2, 2, 1])
    return {"y": tf.nn.conv2d(x, w, [1, 1, 1, 1], "SOME")}


@case
def error_singular(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [2, 2])
    tf.Session().run(tf.matrix_inverse(x), {x: np.zeros((2, 2))})


@case
def error_integer_division_by_zero(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.int32, [])
    tf.Session().run(tf.constant(1) // x, {x: 0})


@case
def error_slice_index(tf: Any, feed: Any) -> Any:
    return {"y": tf.zeros([2])[5]}


@case
def error_slice_index_at_run_time(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None])
    tf.Session().run(x[5], {x: [1.0]})


@case
def error_axis(tf: Any, feed: Any) -> Any:
    return {"y": tf.reduce_sum(tf.zeros([2]), 3)}


@case
def error_squeeze(tf: Any, feed: Any) -> Any:
    return {"y": tf.squeeze(tf.zeros([2, 1]), [0])}


@case
def error_split(tf: Any, feed: Any) -> Any:
    return {"y": tf.split(tf.zeros([5]), 2)[0]}


@case
def error_unstack(tf: Any, feed: Any) -> Any:
    return {"y": tf.unstack(tf.placeholder(tf.float32, [None, 2]))[0]}


@case
def error_sentinel(tf: Any, feed: Any) -> Any:
    tf.nn.sparse_softmax_cross_entropy_with_logits(logits=wave(2, 3))


@case
def error_top_k(tf: Any, feed: Any) -> Any:
    return {"y": tf.nn.top_k([1.0, 2.0], 3)[0]}


@case
def error_gradient_of_integers(tf: Any, feed: Any) -> Any:
    x = tf.constant([1, 2])
    return {"none": tf.gradients(x * x, [x])[0]}


@case
def error_grad_ys_shape(tf: Any, feed: Any) -> Any:
    x = tf.constant([1.0, 2.0])
    return {"d": tf.gradients(x * x, [x], grad_ys=[tf.zeros([3])])[0]}


@case
def error_stack_of_nothing(tf: Any, feed: Any) -> Any:
    return {"y": tf.add_n([])}


@case
def error_dropout_keep(tf: Any, feed: Any) -> Any:
    return {"y": tf.nn.dropout(tf.zeros([2]), 1.5)}


@case
def error_invalid_axis_type(tf: Any, feed: Any) -> Any:
    return {"y": tf.zeros([2])["a"]}


@case
def error_placeholder_dtype(tf: Any, feed: Any) -> Any:
    tf.placeholder("no_dtype")
