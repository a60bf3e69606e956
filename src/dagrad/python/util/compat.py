"""Text and bytes: the names of :mod:`dagrad.compat`."""

from __future__ import annotations

from ...compat import as_bytes, as_str, as_str_any, as_text

__all__ = ["as_bytes", "as_str", "as_str_any", "as_text"]
