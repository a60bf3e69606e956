"""Where some TF1 programs import from; use the names in :mod:`dagrad` itself."""

from __future__ import annotations

from . import framework, ops, platform, util

__all__ = ["framework", "ops", "platform", "util"]
