"""Which names operations may have (TF1's rule)."""

from __future__ import annotations

import re

from .errors import GraphError

__all__ = ["check_name"]

_VALID_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*\Z")
_VALID_INNER = re.compile(r"[A-Za-z0-9_.\\/>-]*\Z")


#: Names that are right everywhere, as far as they were met: builders' own come again
#: and again.
_known: set[str] = set()
_MOST_KNOWN = 1024


def check_name(name: str, scope: str) -> str:
    """``name`` if TF1 allows it there; raises GraphError."""
    if name in _known:
        return name
    pattern = _VALID_INNER if scope else _VALID_NAME
    if not pattern.match(name):
        raise GraphError(
            f"{name!r} is not a valid name: letters, digits and . _ - / > are "
            "allowed, and at the top the first is a letter, a digit or a dot"
        )
    if len(_known) < _MOST_KNOWN and _VALID_NAME.match(name):
        _known.add(name)
    return name
