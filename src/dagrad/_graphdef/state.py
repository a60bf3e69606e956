"""TensorFlow's op types of variables and random draws, and what builds each.

Frozen graphs have no variables any more; graphs that were written before training do.
A resource variable's handle is the variable itself here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagrad as tf

from ..graphlib.dtypes import DType
from ..ops._build import create
from ..ops.assignment import VARIABLE
from .nodes import Build, Node

__all__ = ["BUILDERS"]


def _variable(node: Node) -> Any:
    node.take(0)
    attrs = {"dtype": node.need("dtype", DType), "shape": node.shape("shape")}
    return create(VARIABLE, (), attrs, node.name)


def _read(node: Node) -> Any:
    (handle,) = node.take(1)
    node.attr("dtype", handle.dtype)
    return tf.identity(handle, name=node.name)


def _assign(node: Node) -> Any:
    ref, value = node.take(2)
    checked = node.attr("validate_shape", True)
    return tf.assign(ref, value, validate_shape=checked, name=node.name)


def _update(build: Callable[..., Any]) -> Build:
    def update(node: Node) -> Any:
        ref, value = node.take(2)
        return build(ref, value, name=node.name)

    return update


def _update_resource(build: Callable[..., Any]) -> Build:
    """As for references, but the node has no output."""

    def update(node: Node) -> Any:
        handle, value = node.take(2)
        node.attr("dtype", handle.dtype)
        node.expect("validate_shape", False)
        return build(handle, value, name=node.name).op

    return update


def _is_initialized(node: Node) -> Any:
    (ref,) = node.take(1)
    node.attr("dtype", ref.dtype)
    return tf.is_variable_initialized(ref, name=node.name)


def _gather(node: Node) -> Any:
    handle, indices = node.take(2)
    node.attr("dtype", handle.dtype)
    count = node.attr("batch_dims", 0)
    return tf.gather(handle, indices, batch_dims=count, name=node.name)


def _random_int(node: Node) -> Any:
    shape, low, high = node.take(3)
    node.attr("Tout", low.dtype)
    seeds = node.attr("seed", 0), node.attr("seed2", 0)
    given = None if seeds == (0, 0) else seeds[1] or seeds[0]
    return tf.random_uniform(
        shape, low, high, dtype=low.dtype, seed=given, name=node.name
    )


def _random(build: Callable[..., Any]) -> Build:
    """Draws of the same distribution: dagrad's numbers are its own."""

    def draw(node: Node) -> Any:
        (shape,) = node.take(1)
        seeds = node.attr("seed", 0), node.attr("seed2", 0)
        kind = node.need("dtype", DType)
        given = None if seeds == (0, 0) else seeds[1] or seeds[0]
        return build(shape, dtype=kind, seed=given, name=node.name)

    return draw


BUILDERS: dict[str, Build] = {
    "Assign": _assign,
    "AssignAdd": _update(tf.assign_add),
    "AssignAddVariableOp": _update_resource(tf.assign_add),
    "AssignSub": _update(tf.assign_sub),
    "AssignSubVariableOp": _update_resource(tf.assign_sub),
    "AssignVariableOp": _update_resource(tf.assign),
    "IsVariableInitialized": _is_initialized,
    "RandomStandardNormal": _random(tf.random_normal),
    "RandomUniform": _random(tf.random_uniform),
    "RandomUniformInt": _random_int,
    "ReadVariableOp": _read,
    "ResourceGather": _gather,
    "TruncatedNormal": _random(tf.truncated_normal),
    "VarHandleOp": _variable,
    "VarIsInitializedOp": _is_initialized,
    "Variable": _variable,
    "VariableV2": _variable,
}
