"""Where some TF1 programs import from; use the names in :mod:`dagrad` itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from . import client, framework, ops, platform, util
else:
    __getattr__, __dir__ = lazily(__name__, {"": "client framework ops platform util"})

__all__ = ["client", "framework", "ops", "platform", "util"]
