"""What TF1 programs use of ``tf.contrib``."""

from __future__ import annotations

from . import opt

__all__ = ["opt"]
