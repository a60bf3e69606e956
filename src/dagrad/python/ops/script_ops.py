"""``from tensorflow.python.ops import script_ops``: Python functions of arrays."""

from __future__ import annotations

from ...ops.pyfunc import numpy_function, py_func

__all__ = ["numpy_function", "py_func"]
