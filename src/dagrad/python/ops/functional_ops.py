"""``from tensorflow.python.ops import functional_ops``: functions over rows."""

from __future__ import annotations

from ...ops.looping import foldl, foldr, map_fn, scan

__all__ = ["foldl", "foldr", "map_fn", "scan"]
