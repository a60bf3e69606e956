"""The part of TF1's internal ``util`` that programs import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazily

if TYPE_CHECKING:
    from . import compat
else:
    __getattr__, __dir__ = lazily(__name__, {"": "compat"})

__all__ = ["compat"]
