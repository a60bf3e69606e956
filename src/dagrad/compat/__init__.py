"""What TF1 programs look for under ``tf.compat``.

``dagrad.compat.v1`` is dagrad itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._lazy import lazily
from ..scopes import dimension_at_index, dimension_value

if TYPE_CHECKING:
    from . import v1
else:
    __getattr__, __dir__ = lazily(__name__, {"": "v1"})

__all__ = [
    "as_bytes",
    "as_str",
    "as_str_any",
    "as_text",
    "dimension_at_index",
    "dimension_value",
    "v1",
]


def as_bytes(bytes_or_text: str | bytes, encoding: str = "utf-8") -> bytes:
    """A string as bytes.

    Raises:
        TypeError: it is neither text nor bytes.
    """
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, (bytes, bytearray)):
        return bytes(bytes_or_text)
    raise TypeError(f"expected text or bytes, not {bytes_or_text!r}")


def as_text(bytes_or_text: str | bytes, encoding: str = "utf-8") -> str:
    """A string as text.

    Raises:
        TypeError: it is neither text nor bytes.
    """
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, (bytes, bytearray)):
        return bytes(bytes_or_text).decode(encoding)
    raise TypeError(f"expected text or bytes, not {bytes_or_text!r}")


as_str = as_text


def as_str_any(value: Any, encoding: str = "utf-8") -> str:
    """Anything as text: bytes are decoded, all else goes through ``str``."""
    if isinstance(value, (bytes, bytearray)):
        return as_text(bytes(value), encoding)
    return str(value)
