"""The part of TF1's internal ``framework`` that programs import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazily

if TYPE_CHECKING:
    from . import function, ops
else:
    __getattr__, __dir__ = lazily(__name__, {"": "function ops"})

__all__ = ["function", "ops"]
