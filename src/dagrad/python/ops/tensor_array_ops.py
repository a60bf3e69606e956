"""``from tensorflow.python.ops import tensor_array_ops``."""

from __future__ import annotations

from ...ops.tensor_array import TensorArray

__all__ = ["TensorArray"]
