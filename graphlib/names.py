"""Which names operations may have (TF1's rule)."""

from __future__ import annotations

import re

from .errors import GraphError

__all__ = ["check_name"]

_VALID_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*\Z")
_VALID_INNER = re.compile(r"[A-Za-z0-9_.\\/>-]*\Z")


def check_name(name: str, scope: str) -> str:
    """``name`` if TF1 allows it there; raises GraphError."""
    pattern = _VALID_INNER if scope else _VALID_NAME
    if not pattern.match(name):
        raise GraphError(
            f"{name!r} is not a valid name: letters, digits and . _ - / > are "
            "allowed, and at the top the first is a letter, a digit or a dot"
        )
    return name
