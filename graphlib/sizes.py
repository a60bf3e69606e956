"""Bytes as text: ``"200MB"`` and ``"64MiB"``, read and written."""

from __future__ import annotations

import re

__all__ = ["parse_bytes", "sized"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str) -> int | None:
    """The bytes that ``"200MB"``, ``"1.5 GiB"`` or ``"64KiB"`` say; None for others."""
    found = re.fullmatch(
        r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([kmgt]?i?)b\s*", text.lower()
    )
    if found is None or found[2] not in _UNITS:
        return None
    return int(float(found[1]) * _UNITS[found[2]])


def sized(count: int) -> str:
    """``count`` bytes for people: ``"12.0 MiB"``, and bytes below a KiB."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{count} bytes" if unit == "bytes" else f"{size:,.1f} {unit} ({count:,})"
