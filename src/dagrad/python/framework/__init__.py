"""The part of TF1's internal ``framework`` that programs import."""

from __future__ import annotations

from . import function, ops

__all__ = ["function", "ops"]
