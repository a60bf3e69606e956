"""Static shapes: what is known of unknown dimensions, and how one reads it."""

from __future__ import annotations

from typing import Any

from ._case import case


def dims(**tensors: Any) -> Any:
    """as_list() of each shape, None for an unknown rank."""
    found = {}
    for key, tensor in tensors.items():
        shape = tensor.get_shape()
        found[key] = {"static": shape.as_list() if shape.ndims is not None else None}
    return found


@case
def shape_of_elementwise(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.placeholder(tf.float32, [4, None])
    one = tf.placeholder(tf.float32, [1, 3])
    z = tf.placeholder(tf.float32)
    return dims(
        xy=x + y,
        xone=x + one,
        xx=x * x,
        xz=x + z,
        scalar=x + 1.0,
        row=x + tf.zeros([3]),
        none1=tf.placeholder(tf.float32, [None, 1]) + one,
        rank=x + tf.placeholder(tf.float32, [5, None, None]),
        where=tf.where(x > 0, x, x),
        add_n=tf.add_n([x, y]),
        relu=tf.nn.relu(z),
        maximum=tf.maximum(x, y),
        cast=tf.cast(y, tf.int32),
    )


@case
def shape_of_reductions(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3, None])
    z = tf.placeholder(tf.float32)
    return dims(
        all=tf.reduce_sum(x),
        one=tf.reduce_sum(x, 1),
        keep=tf.reduce_sum(x, 0, keepdims=True),
        z=tf.reduce_sum(z),
        z1=tf.reduce_sum(z, 1),
        argmax=tf.argmax(x, 1),
        argmax_z=tf.argmax(z, 0),
        cumsum=tf.cumsum(x),
        l2=tf.nn.l2_loss(z),
        norm=tf.norm(x, axis=-1),
        mean=tf.nn.moments(x, [0, 1])[0],
    )


@case
def shape_of_products(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3])
    w = tf.placeholder(tf.float32, [3, None])
    z = tf.placeholder(tf.float32)
    b = tf.placeholder(tf.float32, [None, None, 3])
    return dims(
        xw=tf.matmul(x, w),
        t=tf.matmul(w, x, transpose_a=True, transpose_b=True),
        xz=tf.matmul(x, z),
        bw=tf.matmul(b, b, transpose_b=True),
        dot=tf.tensordot(b, w, 1),
        einsum=tf.einsum("bij,jk->bik", b, w),
        bias=tf.nn.bias_add(tf.matmul(x, w), tf.zeros([5])),
        transpose=tf.transpose(b),
        transpose_z=tf.transpose(z),
        diag=tf.matrix_diag(x),
        inverse=tf.matrix_inverse(b),
    )


@case
def shape_of_arrays(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3])
    z = tf.placeholder(tf.float32)
    s = tf.placeholder(tf.int32, [2])
    n = tf.placeholder(tf.int32, [])
    return dims(
        reshape=tf.reshape(x, [-1, 3]),
        minus=tf.reshape(tf.zeros([4, 6]), [-1, 8]),
        partly=tf.reshape(x, [tf.shape(x)[0], 1, 3]),
        by_tensor=tf.reshape(x, s),
        zero=tf.reshape(z, [2, -1]),
        expand=tf.expand_dims(x, 0),
        expand_z=tf.expand_dims(z, 0),
        squeeze=tf.squeeze(x),
        squeeze_axis=tf.squeeze(tf.placeholder(tf.float32, [None, 1]), 1),
        concat=tf.concat([x, tf.zeros([2, 3])], 0),
        concat1=tf.concat([x, tf.zeros([2, 1])], 1),
        concat_z=tf.concat([x, z], 0),
        stack=tf.stack([x, tf.zeros([2, 3])]),
        unstack=tf.unstack(x, axis=1)[0],
        split=tf.split(x, 3, 1)[0],
        split0=tf.split(x, 2)[0],
        tile=tf.tile(x, [1, 2]),
        tile_t=tf.tile(x, s),
        pad=tf.pad(x, [[1, 1], [0, 2]]),
        slice=tf.slice(x, [0, 1], [-1, 2]),
        slice_n=tf.slice(x, [0, 0], [n, 3]),
        item=x[0],
        item_n=x[n],
        part=x[:n, 1:],
        part_z=z[0],
        full=x[:, :2],
        negative=x[-1:],
        fill=tf.fill([n, 3], 0.0),
        zeros=tf.zeros(s),
        zeros_shape=tf.zeros(tf.shape(x)),
        range=tf.range(n),
        broadcast=tf.broadcast_to(x, [4, 3]),
    )


@case
def shape_of_indexing(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3])
    i = tf.placeholder(tf.int32, [None, 2])
    n = tf.placeholder(tf.int32, [])
    return dims(
        gather=tf.gather(x, i),
        gather1=tf.gather(x, i, axis=1),
        scalar=tf.gather(x, n),
        nd=tf.gather_nd(x, i),
        lookup=tf.nn.embedding_lookup(tf.zeros([9, 4]), i),
        one_hot=tf.one_hot(i, 5),
        one_hot_n=tf.one_hot(i, n),
        one_hot0=tf.one_hot(i, 5, axis=0),
        where=tf.where(x > 0),
        mask=tf.boolean_mask(x, x[:, 0] > 0),
        mask_full=tf.boolean_mask(x, x > 0),
        unique=tf.unique(tf.reshape(i, [-1]))[0],
        top_k=tf.nn.top_k(x, 2)[0],
        top_n=tf.nn.top_k(x, n)[0],
        partition=tf.dynamic_partition(x, i[:, 0], 2)[0],
        sequence=tf.sequence_mask(i[:, 0], 5),
        sequence_n=tf.sequence_mask(i[:, 0]),
        segment=tf.segment_sum(x, i[:, 0]),
        unsorted=tf.unsorted_segment_sum(x, i[:, 0], 7),
        scatter=tf.scatter_nd(i[:, :1], x, [8, 3]),
        shape=tf.shape(x),
        shape_z=tf.shape(tf.placeholder(tf.float32)),
        reverse=tf.reverse(x, [1]),
    )


@case
def shape_of_nn(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 7, None, 2])
    w = tf.zeros([3, 3, 2, 4])
    z = tf.placeholder(tf.float32)
    v = tf.placeholder(tf.float32, [None, 5])
    y = tf.placeholder(tf.int64, [None])
    nn = tf.nn
    return dims(
        same=nn.conv2d(x, w, [1, 2, 2, 1], "SAME"),
        valid=nn.conv2d(x, w, [1, 2, 2, 1], "VALID"),
        unknown=nn.conv2d(z, w, [1, 1, 1, 1], "SAME"),
        pool=nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
        pool_valid=nn.avg_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], "VALID"),
        depthwise=nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "VALID"),
        softmax=nn.softmax(v),
        entropy=nn.softmax_cross_entropy_with_logits_v2(labels=v, logits=v),
        sparse=nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=v),
        dropout=nn.dropout(v, 0.5),
        lrn=nn.lrn(x),
        in_top_k=nn.in_top_k(v, y, 1),
        norm=nn.l2_normalize(v, 1),
        loss=tf.losses.mean_squared_error(v, v),
        transposed=nn.conv2d_transpose(
            x, tf.zeros([3, 3, 5, 2]), [4, 14, 8, 5], [1, 2, 2, 1]
        ),
    )


@case
def shape_habits(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3])
    z = tf.placeholder(tf.float32)
    s = x.shape
    merged = tf.placeholder(tf.float32, [None, None])
    merged.set_shape([5, None])
    merged.set_shape([None, 2])
    z2 = tf.placeholder(tf.float32)
    z2.set_shape([None, 1])
    return {
        "value": s[1].value,
        "none": s[0].value,
        "int": int(x.shape[1]),
        "ndims": s.ndims,
        "len": len(s),
        "as_list": s.as_list(),
        "str": str(s),
        "repr_dim": repr(s[0]) + repr(s[1]),
        "str_dim": str(s[0]) + str(s[1]),
        "str_z": str(z.shape),
        "ndims_z": z.shape.ndims,
        "known_z": z.shape.is_fully_defined(),
        "known": tf.zeros([2, 3]).shape.is_fully_defined(),
        "elements": tf.zeros([2, 3]).shape.num_elements(),
        "elements_none": s.num_elements(),
        "slice": s[1:].as_list(),
        "merged": merged.shape.as_list(),
        "set": z2.shape.as_list(),
        "concat": s.concatenate([7]).as_list(),
        "merge": s.merge_with([4, None]).as_list(),
        "compatible": s.is_compatible_with([9, 3]),
        "incompatible": s.is_compatible_with([9, 4]),
        "rank": s.with_rank(2).as_list(),
        "dim_sum": str(s[1] + 2) + str(s[0] + 2) + str(s[1] * 2) + str(s[1] // 2),
        "dims_equal": s[1] == 3,
        "dim_none": (s[0] == 3) is None,
        "tuple": [d.value for d in s],
        "iter": [d.value for d in s.dims],
        "constructed": tf.TensorShape([None, 2]).as_list(),
        "scalar": tf.TensorShape([]).as_list(),
        "op_type": x.op.type,
        "static_list": [x.get_shape()[1].value, x.shape.dims[1].value],
    }
