"""The part of TF1's internal ``util`` that programs import."""

from __future__ import annotations

from . import compat

__all__ = ["compat"]
