"""``from tensorflow.python.ops import gradients_impl``: derivatives."""

from __future__ import annotations

from ...composites import AggregationMethod
from ...graphlib.gradients import UnconnectedGradients, gradients
from ...ops.derivatives import hessians

__all__ = ["AggregationMethod", "UnconnectedGradients", "gradients", "hessians"]
