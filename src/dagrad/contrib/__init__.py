"""What TF1 programs use of ``tf.contrib``."""

from __future__ import annotations

from . import integrate, opt

__all__ = ["integrate", "opt"]
