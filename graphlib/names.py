"""Which names operations may have (TF1's rule)."""

from __future__ import annotations

from .errors import GraphError

__all__ = ["check_name"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FIRST = frozenset(f"{_LETTERS}{_LETTERS.upper()}0123456789.")
_ALL = _FIRST | frozenset("_\\/>-")

#: Names that are right everywhere, as far as they were met: builders' own come again
#: and again.
_known: set[str] = set()
_MOST_KNOWN = 1024


def check_name(name: str, scope: str) -> str:
    """``name`` if TF1 allows it there; raises GraphError."""
    if name in _known:
        return name
    right = name[:1] in _FIRST and _ALL.issuperset(name)
    if not right and not (scope and _ALL.issuperset(name)):
        raise GraphError(
            f"{name!r} is not a valid name: letters, digits and . _ - / > are "
            "allowed, and at the top the first is a letter, a digit or a dot"
        )
    if right and len(_known) < _MOST_KNOWN:
        _known.add(name)
    return name
