"""``from tensorflow.python.ops import gradient_checker``: see ``dagrad.test``."""

from __future__ import annotations

from ...test import compute_gradient, compute_gradient_error

__all__ = ["compute_gradient", "compute_gradient_error"]
