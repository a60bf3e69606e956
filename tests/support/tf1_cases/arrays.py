"""Shape and indexing operations: values and static shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._case import case, wave


@case
def top_k_with_ties(tf: Any, feed: Any) -> Any:
    x = tf.constant([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    values, indices = tf.nn.top_k(x, 2)
    every = tf.nn.top_k(x, k=4)
    return {"values": values, "indices": indices, "all": every.indices}


@case
def in_top_k_ties(tf: Any, feed: Any) -> Any:
    x = tf.constant([[1.0, 3.0, 3.0], [1.0, 3.0, 3.0], [1.0, float("nan"), 2.0]])
    return {
        "one": tf.nn.in_top_k(x, [1, 0, 2], 1),
        "two": tf.nn.in_top_k(x, [2, 0, 0], 2),
        "keywords": tf.nn.in_top_k(predictions=x, targets=[1, 1, 0], k=1),
    }


@case
def sorting(tf: Any, feed: Any) -> Any:
    x = tf.constant([3.0, 1.0, 2.0, 1.0])
    return {
        "sort": tf.sort(x),
        "down": tf.sort(x, direction="DESCENDING"),
        "argsort": tf.argsort(x, stable=True),
        "left": tf.searchsorted([1.0, 2.0, 2.0], [2.0, 0.0, 3.0]),
        "right": tf.searchsorted([1.0, 2.0, 2.0], [2.0], side="right"),
        "inverse": tf.invert_permutation([2, 0, 1]),
    }


@case
def uniques(tf: Any, feed: Any) -> Any:
    y, idx = tf.unique([4, 1, 4, 2, 1])
    y2, idx2, count = tf.unique_with_counts(tf.constant([4.0, 1.0, 4.0]))
    out, where = tf.setdiff1d([1, 2, 3, 4, 2], [2, 5])
    return {
        "y": y,
        "idx": idx,
        "y2": y2,
        "idx2": idx2,
        "count": count,
        "out": out,
        "where": where,
    }


@case
def one_hots(tf: Any, feed: Any) -> Any:
    i = tf.constant([[0, 2], [-1, 5]])
    ids = tf.placeholder(tf.int64, [None])
    feed[ids] = [1, 0]
    return {
        "last": tf.one_hot(i, 3),
        "first": tf.one_hot(i, 3, axis=0),
        "middle": tf.one_hot(i, 3, axis=1),
        "values": tf.one_hot(i, 3, on_value=5, off_value=-1),
        "floats": tf.one_hot(i, 3, on_value=0.5),
        "bool": tf.one_hot(i, 3, on_value=True, off_value=False),
        "dtype": tf.one_hot(ids, 2, dtype=tf.int64),
    }


@case
def pads(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(2, 3))
    p = [[1, 1], [2, 1]]
    dynamic = tf.placeholder(tf.int32, [2, 2])
    feed[dynamic] = p
    return {
        "zero": tf.pad(x, p),
        "value": tf.pad(x, p, constant_values=7),
        "reflect": tf.pad(x, p, "REFLECT"),
        "symmetric": tf.pad(x, p, mode="symmetric"),
        "dynamic": tf.pad(x, dynamic),
    }


@case
def slices(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 4, None])
    n = tf.placeholder(tf.int32, [])
    feed[x], feed[n] = wave(3, 4, 5), 2
    return {
        "int": x[0],
        "last": x[-1, -2],
        "range": x[1:, :2],
        "step": x[:, ::2, ::-1],
        "newaxis": x[:, tf.newaxis, 1],
        "ellipsis": x[..., 0],
        "both": x[None, ..., 1:3],
        "dynamic": x[:n],
        "dynamic_int": x[n],
        "beyond": x[:, 1:100],
        "empty": x[:, 3:1],
        "negative": x[:, -3:-1],
        "reverse_part": x[:, 3:0:-1],
    }


@case
def slices_with_masks(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3, 4, 2))
    return {
        "plain": tf.strided_slice(x, [0, 1, 0], [2, 3, 2], [1, 1, 1]),
        "begin": tf.strided_slice(x, [1, 1], [2, 3], begin_mask=1),
        "end": tf.strided_slice(x, [1, 1], [2, 3], end_mask=3),
        "ellipsis": tf.strided_slice(x, [0, 1], [0, 2], ellipsis_mask=1),
        "new": tf.strided_slice(x, [0, 1], [0, 2], new_axis_mask=1),
        "shrink": tf.strided_slice(x, [1, 2], [2, 3], shrink_axis_mask=3),
        "negative": tf.strided_slice(x, [-1, -1], [-3, -4], [-1, -2]),
        "slice": tf.slice(x, [1, 0, 1], [-1, 2, 1]),
    }


@case
def gathers(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3, 4))
    i = tf.placeholder(tf.int32, [None, 2])
    feed[i] = [[0, 2], [1, 1]]
    return {
        "rows": tf.gather(x, i),
        "axis": tf.gather(x, i, axis=1),
        "last": tf.gather(x, [3, 0], axis=-1),
        "scalar": tf.gather(x, 1),
        "batch": tf.gather(x, [[0], [1], [3]], batch_dims=1),
        "nd": tf.gather_nd(x, i),
        "nd_rows": tf.gather_nd(x, [[2], [0]]),
        "nd_batch": tf.gather_nd(x, [[0], [1], [3]], batch_dims=1),
        "batch_gather": tf.batch_gather(x, [[0, 0], [1, 1], [3, 2]]),
    }


@case
def scatters(tf: Any, feed: Any) -> Any:
    i, u = [[1], [3], [1]], tf.constant(wave(3, 2))
    x = tf.constant(wave(4, 2, k=2))
    return {
        "nd": tf.scatter_nd(i, u, [5, 2]),
        "add": tf.tensor_scatter_add(x, i, u),
        "sub": tf.tensor_scatter_sub(x, i, u),
        "update": tf.tensor_scatter_update(x, [[0], [2]], u[:2]),
    }


@case
def partitions(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(4, 2))
    parts = tf.dynamic_partition(x, [1, 0, 1, 3], 4)
    places = tf.dynamic_partition(tf.range(4), [1, 0, 1, 3], 4)
    found = {f"part{i}": p for i, p in enumerate(parts)}
    found["back"] = tf.dynamic_stitch(places, parts)
    found["later"] = tf.dynamic_stitch([[0, 1], [1, 2]], [[1.0, 2.0], [3.0, 4.0]])
    return found


@case
def masks(tf: Any, feed: Any) -> Any:
    x = tf.constant(wave(3, 2))
    lengths = tf.placeholder(tf.int32, [None])
    feed[lengths] = [1, 3, 0]
    return {
        "sequence": tf.sequence_mask(lengths, 4),
        "longest": tf.sequence_mask(lengths),
        "float": tf.sequence_mask([[1], [2]], 3, dtype=tf.float32),
        "rows": tf.boolean_mask(x, [True, False, True]),
        "full": tf.boolean_mask(x, x > 0),
        "axis": tf.boolean_mask(x, [False, True], axis=1),
        "reverse": tf.reverse_sequence(x, [1, 2, 0], seq_axis=1, batch_axis=0),
    }


@case
def joins(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.placeholder(tf.float32, [2, None])
    feed[x], feed[y] = wave(2, 3), wave(2, 3, k=2)
    a, b, c = tf.split(x, 3, axis=1)
    d, e = tf.split(x, [1, -1], 1)
    u = tf.unstack(x, axis=1)
    return {
        "concat": tf.concat([x, y], 0),
        "concat1": tf.concat([x, y], 1),
        "single": tf.concat([x], 0),
        "stack": tf.stack([x, y]),
        "stack_last": tf.stack([x, y], axis=-1),
        "split": b,
        "split_first": a,
        "split_last": c,
        "sizes": d,
        "rest": e,
        "unstack": u[2],
        "tile": tf.tile(x, [2, 1]),
        "numbers": tf.stack([1, 2]),
        "mixed": tf.stack([tf.shape(x)[0], 4]),
    }


@case
def moves(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 1, 3])
    feed[x] = wave(2, 1, 3)
    return {
        "transpose": tf.transpose(x),
        "perm": tf.transpose(x, [2, 0, 1]),
        "squeeze": tf.squeeze(x, [1]),
        "expand": tf.expand_dims(x, -1),
        "expand_old": tf.expand_dims(x, dim=1),
        "reshape": tf.reshape(x, [-1, 3]),
        "flat": tf.reshape(x, [-1]),
        "tensor": tf.reshape(x, [tf.shape(x)[0], 3]),
        "stacked": tf.reshape(x, tf.stack([tf.shape(x)[0], 3, 1])),
        "reverse": tf.reverse(x, [0, -1]),
        "roll": tf.roll(x, [1, -1], [0, 2]),
        "broadcast": tf.broadcast_to(x, [2, 2, 3]),
        "depth": tf.space_to_depth(tf.constant(wave(1, 2, 4, 2)), 2),
        "space": tf.depth_to_space(tf.constant(wave(1, 1, 2, 8)), 2),
        "to_batch": tf.space_to_batch_nd(
            tf.constant(wave(1, 2, 3, 1)), [2, 2], [[0, 0], [1, 0]]
        ),
        "from_batch": tf.batch_to_space_nd(
            tf.constant(wave(4, 1, 2, 1)), [2, 2], [[0, 0], [1, 0]]
        ),
        "x": tf.meshgrid([1, 2], [3, 4, 5])[0],
        "y": tf.meshgrid([1, 2], [3, 4, 5])[1],
        "ij": tf.meshgrid([1, 2], [3, 4, 5], indexing="ij")[0],
    }


@case
def lookups(tf: Any, feed: Any) -> Any:
    table = tf.constant(wave(5, 2))
    a, b = tf.constant(wave(3, 2)), tf.constant(wave(2, 2, k=2))
    ids = tf.constant([[0, 3], [4, 1]])
    return {
        "one": tf.nn.embedding_lookup(table, ids),
        "mod": tf.nn.embedding_lookup([a, b], ids),
        "div": tf.nn.embedding_lookup([a, b], ids, partition_strategy="div"),
        "norm": tf.nn.embedding_lookup(table, ids, max_norm=1.0),
    }


@case
def sizes_at_run_time(tf: Any, feed: Any) -> Any:
    x = tf.placeholder(tf.float32)
    feed[x] = wave(2, 3)
    return {
        "shape": tf.shape(x),
        "rank": tf.rank(x),
        "size": tf.size(x),
        "product": tf.reduce_prod(tf.shape(x)),
        "zeros": tf.zeros(tf.shape(x)),
        "ones": tf.ones([tf.shape(x)[0], 2], tf.int32),
        "like": tf.zeros_like(x, dtype=tf.int32),
        "fill": tf.fill(tf.shape(x), 3.0),
        "range": tf.range(tf.shape(x)[0]),
        "eye": tf.eye(tf.shape(x)[1]),
        "tile": tf.tile(x, tf.shape(x)),
    }


@case
def strings(tf: Any, feed: Any) -> Any:
    x = tf.constant([["a", "bb"], ["c", "d"]])
    return {
        "x": x,
        "reshape": tf.reshape(x, [4]),
        "concat": tf.concat([x, x], 1),
        "gather": tf.gather(x, [1]),
        "np": tf.constant(np.array(["x", "yz"])),
    }
