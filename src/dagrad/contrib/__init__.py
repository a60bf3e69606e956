"""What TF1 programs use of ``tf.contrib``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from . import integrate, opt
else:
    __getattr__, __dir__ = lazily(__name__, {"": "integrate opt"})

__all__ = ["integrate", "opt"]
