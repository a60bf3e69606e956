"""Where some TF1 programs import from; use the names in :mod:`dagrad` itself."""

from __future__ import annotations

from . import client, framework, ops, platform, util

__all__ = ["client", "framework", "ops", "platform", "util"]
