"""TensorFlow's op types that make, join, cut and move arrays, and what builds each.

An axis, a permutation or a depth is an input in TensorFlow; dagrad wants it known
while the graph is built, as it is where the file has a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagrad as tf

from ..graphlib.dtypes import DType
from ..graphlib.errors import GraphError
from ..ops.core import ones_like, zeros_like
from .nodes import Build, Node

__all__ = ["BUILDERS"]


def _fixed(count: int, build: Callable[..., Any]) -> Build:
    """A node of ``count`` inputs and no attributes that matter."""
    return lambda node: build(*node.take(count), name=node.name)


# -- making ----------------------------------------------------------------------------


def _const(node: Node) -> Any:
    node.take(0)
    value = node.array("value")
    return tf.constant(value, node.need("dtype", DType), name=node.name)


def _placeholder(node: Node) -> Any:
    node.take(0)
    shape = node.shape("shape")
    # Old files wrote () for a shape that is not known (array_ops.cc).
    if shape == () and node.producer <= 21:
        shape = None
    return tf.placeholder(node.need("dtype", DType), shape, name=node.name)


def _placeholder_with_default(node: Node) -> Any:
    (x,) = node.take(1)
    node.attr("dtype", x.dtype)
    return tf.placeholder_with_default(x, node.shape("shape"), name=node.name)


def _no_op(node: Node) -> Any:
    node.take(0)
    return tf.no_op(name=node.name)


def _prevent_gradient(node: Node) -> Any:
    (x,) = node.take(1)
    return tf.prevent_gradient(x, node.attr("message", ""), name=node.name)


def _range(node: Node) -> Any:
    start, limit, delta = node.take(3)
    return tf.range(start, limit, delta, name=node.name)


def _one_hot(node: Node) -> Any:
    indices, depth, on, off = node.take(4)
    axis = node.attr("axis", -1)
    return tf.one_hot(indices, depth, on, off, axis, on.dtype, name=node.name)


def _like(build: Callable[..., Any]) -> Build:
    def like(node: Node) -> Any:
        (x,) = node.take(1)
        return build(x, name=node.name, optimize=False)

    return like


# -- sizes -----------------------------------------------------------------------------


def _sized(build: Callable[..., Any]) -> Build:
    def sized(node: Node) -> Any:
        (x,) = node.take(1)
        return build(x, out_type=node.attr("out_type", tf.int32), name=node.name)

    return sized


def _shape_n(node: Node) -> Any:
    kind = node.attr("out_type", tf.int32)
    return tf.shape_n(list(node.inputs), out_type=kind, name=node.name)


def _squeeze(node: Node) -> Any:
    (x,) = node.take(1)
    axes = node.attr("squeeze_dims", [])
    return tf.squeeze(x, axes or None, name=node.name)


# -- joining and cutting ---------------------------------------------------------------


def _concat(node: Node) -> Any:
    *values, axis = node.inputs
    return tf.concat(values, axis, name=node.name)


def _concat_v1(node: Node) -> Any:
    axis, *values = node.inputs
    return tf.concat(values, axis, name=node.name)


def _pack(node: Node) -> Any:
    return tf.stack(list(node.inputs), node.attr("axis", 0), name=node.name)


def _unpack(node: Node) -> Any:
    (x,) = node.take(1)
    count, axis = node.attr("num", 0), node.attr("axis", 0)
    return tf.unstack(x, count, axis, name=node.name)


def _split(node: Node) -> Any:
    axis, x = node.take(2)
    return tf.split(x, node.attr("num_split", 0), axis, name=node.name)


def _split_v(node: Node) -> Any:
    x, sizes, axis = node.take(3)
    count = node.attr("num_split", 0)
    return tf.split(x, sizes, axis, num=count, name=node.name)


def _strided_slice(node: Node) -> Any:
    x, begin, end, strides = node.take(4)
    kinds = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    masks = {f"{kind}_mask": node.attr(f"{kind}_mask", 0) for kind in kinds}
    return tf.strided_slice(x, begin, end, strides, **masks, name=node.name)


def _pad_with(node: Node) -> Any:
    x, paddings, value = node.take(3)
    return tf.pad(x, paddings, constant_values=value, name=node.name)


def _mirror_pad(node: Node) -> Any:
    x, paddings = node.take(2)
    return tf.pad(x, paddings, node.need("mode", str), name=node.name)


# -- picking ---------------------------------------------------------------------------


def _gather(node: Node) -> Any:
    x, indices = node.take(2)
    return tf.gather(x, indices, name=node.name)


def _gather_v2(node: Node) -> Any:
    x, indices, axis = node.take(3)
    batch_dims = node.attr("batch_dims", 0)
    return tf.gather(x, indices, axis=axis, batch_dims=batch_dims, name=node.name)


def _gather_nd(node: Node) -> Any:
    x, indices = node.take(2)
    node.expect("bad_indices_policy", "")
    return tf.gather_nd(x, indices, name=node.name)


def _top_k(node: Node) -> Any:
    _int32(node, "index_type")
    x, k = node.take(2)
    node.attr("sorted", True)  # the result always is
    return tf.nn.top_k(x, k, name=node.name)


def _in_top_k(node: Node) -> Any:
    predictions, targets, k = node.take(3)
    return tf.nn.in_top_k(predictions, targets, k, name=node.name)


def _unique(node: Node) -> Any:
    (x,) = node.take(1)
    return tf.unique(x, node.attr("out_idx", tf.int32), name=node.name)


def _scatter(build: Callable[..., Any]) -> Build:
    def scatter(node: Node) -> Any:
        node.expect("bad_indices_policy", "")
        return build(*node.take(3), name=node.name)

    return scatter


def _dynamic_partition(node: Node) -> Any:
    data, parts = node.take(2)
    count = node.need("num_partitions", int)
    return tf.dynamic_partition(data, parts, count, name=node.name)


def _dynamic_stitch(node: Node) -> Any:
    half = len(node.inputs) // 2
    indices, data = list(node.inputs[:half]), list(node.inputs[half:])
    return tf.dynamic_stitch(indices, data, name=node.name)


def _difference(node: Node) -> Any:
    x, y = node.take(2)
    return tf.setdiff1d(x, y, node.attr("out_idx", tf.int32), name=node.name)


def _int32(node: Node, name: str) -> None:
    found: DType = node.attr(name, tf.int32)
    if found is not tf.int32:
        raise GraphError(f"attribute {name!r} is {found.name}, not int32")


# -- rearranging -----------------------------------------------------------------------


def _conjugate_transpose(node: Node) -> Any:
    x, permutation = node.take(2)
    with tf.name_scope(node.name):
        moved = tf.transpose(x, permutation)
    return tf.conj(moved, name=node.name)


def _reverse_sequence(node: Node) -> Any:
    x, lengths = node.take(2)
    axis, batch = node.need("seq_dim", int), node.attr("batch_dim", 0)
    return tf.reverse_sequence(x, lengths, axis, batch, name=node.name)


def _square_blocks(build: Callable[..., Any]) -> Build:
    """Blocks of the batch, in the first spelling: as high as wide."""

    def blocks(node: Node) -> Any:
        x, borders = node.take(2)
        size = node.need("block_size", int)
        return build(x, [size, size], borders, name=node.name)

    return blocks


def _blocks(build: Callable[..., Any]) -> Build:
    def blocks(node: Node) -> Any:
        (x,) = node.take(1)
        size, form = node.need("block_size", int), node.attr("data_format", "NHWC")
        return build(x, size, data_format=form, name=node.name)

    return blocks


BUILDERS: dict[str, Build] = {
    "BatchToSpace": _square_blocks(tf.batch_to_space_nd),
    "BatchToSpaceND": _fixed(3, tf.batch_to_space_nd),
    "BroadcastTo": _fixed(2, tf.broadcast_to),
    "Concat": _concat_v1,
    "ConcatV2": _concat,
    "ConjugateTranspose": _conjugate_transpose,
    "Const": _const,
    "DepthToSpace": _blocks(tf.depth_to_space),
    "DynamicPartition": _dynamic_partition,
    "DynamicStitch": _dynamic_stitch,
    "ExpandDims": _fixed(2, tf.expand_dims),
    "Fill": _fixed(2, tf.fill),
    "Gather": _gather,
    "GatherNd": _gather_nd,
    "GatherV2": _gather_v2,
    "Identity": _fixed(1, tf.identity),
    "IdentityN": lambda node: tf.identity_n(list(node.inputs), name=node.name),
    "InTopKV2": _in_top_k,
    "InvertPermutation": _fixed(1, tf.invert_permutation),
    "LinSpace": _fixed(3, tf.linspace),
    "ListDiff": _difference,
    "MatrixBandPart": _fixed(3, tf.matrix_band_part),
    "MatrixDiag": _fixed(1, tf.matrix_diag),
    "MatrixDiagPart": _fixed(1, tf.matrix_diag_part),
    "MatrixSetDiag": _fixed(2, tf.matrix_set_diag),
    "MirrorPad": _mirror_pad,
    "NoOp": _no_op,
    "OneHot": _one_hot,
    "OnesLike": _like(ones_like),
    "Pack": _pack,
    "Pad": _fixed(2, tf.pad),
    "PadV2": _pad_with,
    "Placeholder": _placeholder,
    "PlaceholderV2": _placeholder,
    "PlaceholderWithDefault": _placeholder_with_default,
    "PreventGradient": _prevent_gradient,
    "Range": _range,
    "Rank": _fixed(1, tf.rank),
    "Reshape": _fixed(2, tf.reshape),
    "ReverseSequence": _reverse_sequence,
    "ReverseV2": _fixed(2, tf.reverse),
    "Roll": _fixed(3, tf.roll),
    "ScatterNd": _scatter(tf.scatter_nd),
    "SegmentMax": _fixed(2, tf.segment_max),
    "SegmentMean": _fixed(2, tf.segment_mean),
    "SegmentMin": _fixed(2, tf.segment_min),
    "SegmentProd": _fixed(2, tf.segment_prod),
    "SegmentSum": _fixed(2, tf.segment_sum),
    "Select": _fixed(3, tf.where),
    "SelectV2": _fixed(3, tf.where_v2),
    "Shape": _sized(tf.shape),
    "ShapeN": _shape_n,
    "Size": _sized(tf.size),
    "Slice": _fixed(3, tf.slice),
    "Snapshot": _fixed(1, tf.identity),
    "SpaceToBatch": _square_blocks(tf.space_to_batch_nd),
    "SpaceToBatchND": _fixed(3, tf.space_to_batch_nd),
    "SpaceToDepth": _blocks(tf.space_to_depth),
    "Split": _split,
    "SplitV": _split_v,
    "Squeeze": _squeeze,
    "StopGradient": _fixed(1, tf.stop_gradient),
    "StridedSlice": _strided_slice,
    "TensorScatterAdd": _scatter(tf.tensor_scatter_add),
    "TensorScatterSub": _scatter(tf.tensor_scatter_sub),
    "TensorScatterUpdate": _scatter(tf.tensor_scatter_update),
    "Tile": _fixed(2, tf.tile),
    "TopKV2": _top_k,
    "Transpose": _fixed(2, tf.transpose),
    "Unique": _unique,
    "Unpack": _unpack,
    "UnsortedSegmentMax": _fixed(3, tf.unsorted_segment_max),
    "UnsortedSegmentMin": _fixed(3, tf.unsorted_segment_min),
    "UnsortedSegmentProd": _fixed(3, tf.unsorted_segment_prod),
    "UnsortedSegmentSum": _fixed(3, tf.unsorted_segment_sum),
    "Where": _fixed(1, tf.where),
    "ZerosLike": _like(zeros_like),
}
