"""What TF1 computes, one small program per case, for TensorFlow and for dagrad.

A case is a function ``case(tf, feed)`` of a module that reads as TF1.  It builds a
graph, may put feeds into ``feed``, and returns a dict of what is compared: tensors
(their value, dtype and static shape) and plain values (names, lists, None).
"""

from __future__ import annotations

from . import (
    arrays,
    control,  # last, as its results stand last in the file
    dtypes,
    errors,
    grads,
    loops,
    maths,
    more,
    names,
    neural,
    shapes,
    tensor_arrays,
    training,
)
from ._case import CASES, measure

__all__ = [
    "CASES",
    "arrays",
    "control",
    "dtypes",
    "errors",
    "grads",
    "loops",
    "maths",
    "measure",
    "more",
    "names",
    "neural",
    "shapes",
    "tensor_arrays",
    "training",
]
