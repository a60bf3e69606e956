"""The array family under one name: what its parts offer."""

from __future__ import annotations

from .blocks import (
    batch_to_space,
    batch_to_space_nd,
    depth_to_space,
    space_to_batch,
    space_to_batch_nd,
    space_to_depth,
)
from .joining import concat, split, stack, unstack
from .padding import pad
from .rearrange import repeat, reverse, roll, tile
from .views import expand_dims, reshape, shape_n, squeeze, transpose

__all__ = [
    "batch_to_space",
    "batch_to_space_nd",
    "concat",
    "depth_to_space",
    "expand_dims",
    "pad",
    "repeat",
    "reshape",
    "reverse",
    "roll",
    "shape_n",
    "space_to_batch",
    "space_to_batch_nd",
    "space_to_depth",
    "split",
    "squeeze",
    "stack",
    "tile",
    "transpose",
    "unstack",
]
