"""The part of TF1's internal ``client`` that programs import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazily

if TYPE_CHECKING:
    from . import timeline
else:
    __getattr__, __dir__ = lazily(__name__, {"": "timeline"})

__all__ = ["timeline"]
