"""``from tensorflow.python.framework import ops``: names of the graph."""

from __future__ import annotations

from ...graphlib.gradients import IndexedSlices
from ...graphlib.graph import Graph, get_default_graph, reset_default_graph
from ...graphlib.keys import GraphKeys
from ...graphlib.operation import Operation
from ...graphlib.overrides import NoGradient, NotDifferentiable, RegisterGradient
from ...graphlib.tensor import Tensor
from ...ops.creation import convert_to_tensor
from ...runtime.session import get_default_session
from ...scopes import (
    add_to_collection,
    add_to_collections,
    colocate_with,
    control_dependencies,
    device,
    get_collection,
    get_collection_ref,
    name_scope,
)

__all__ = [
    "Graph",
    "GraphKeys",
    "IndexedSlices",
    "NoGradient",
    "NotDifferentiable",
    "Operation",
    "RegisterGradient",
    "Tensor",
    "add_to_collection",
    "add_to_collections",
    "colocate_with",
    "control_dependencies",
    "convert_to_tensor",
    "device",
    "get_collection",
    "get_collection_ref",
    "get_default_graph",
    "get_default_session",
    "name_scope",
    "reset_default_graph",
]
