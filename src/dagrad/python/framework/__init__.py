"""The part of TF1's internal ``framework`` that programs import."""

from __future__ import annotations

from . import ops

__all__ = ["ops"]
