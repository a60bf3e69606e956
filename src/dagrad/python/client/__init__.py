"""The part of TF1's internal ``client`` that programs import."""

from __future__ import annotations

from . import timeline

__all__ = ["timeline"]
