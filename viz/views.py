"""Parts of a picture: what lies near something, or between two sides.

Each function takes :class:`~.model.Items`, leaves out the rest, and says how many
items that were.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Items

__all__ = ["inside_of", "near", "on_paths"]


def inside_of(found: Items, keys: set[str]) -> set[str]:
    """``keys``, and the items in the bodies of those that are shown open."""
    opened = tuple(i.opens + "/" for i in found.items if i.key in keys and i.opens)
    if not opened:
        return keys
    return keys | {i.key for i in found.items if f"{i.scope}/".startswith(opened)}


def near(found: Items, start: set[str], hops: int) -> int:
    """Keep what lies within ``hops`` links of ``start``, in either direction."""
    both: dict[str, set[str]] = {item.key: set() for item in found.items}
    for link in found.links:
        both[link.tail.key].add(link.head.key)
        both[link.head.key].add(link.tail.key)
    return _keep(found, _reached(start, both, max(0, hops)))


def on_paths(found: Items, starts: set[str], ends: set[str]) -> int:
    """Keep what lies on a way of data from ``starts`` to ``ends``."""
    down: dict[str, set[str]] = {item.key: set() for item in found.items}
    up: dict[str, set[str]] = {item.key: set() for item in found.items}
    for link in found.links:
        if link.tensor is not None:
            down[link.tail.key].add(link.head.key)
            up[link.head.key].add(link.tail.key)
    return _keep(found, _reached(starts, down) & _reached(ends, up))


def _reached(
    start: Iterable[str], steps: dict[str, set[str]], hops: int | None = None
) -> set[str]:
    kept = set(start)
    edge = set(kept)
    while edge and hops != 0:
        edge = {n for key in edge for n in steps[key]} - kept
        kept |= edge
        hops = None if hops is None else hops - 1
    return kept


def _keep(found: Items, keys: set[str]) -> int:
    """Leave out all other items; an item whose body has some left stays."""
    scopes = {item.scope for item in found.items if item.key in keys}
    around = {s[:end] for s in scopes for end in _ends(s)}
    keys = keys | {i.key for i in found.items if i.opens and i.opens in around}
    before = len(found.items)
    found.items = [item for item in found.items if item.key in keys]
    found.links = [
        link for link in found.links if link.tail.key in keys and link.head.key in keys
    ]
    return before - len(found.items)


def _ends(scope: str) -> list[int]:
    """Where the scopes around a scope end, with itself; only those of bodies."""
    return [i + 2 for i in range(len(scope)) if scope.startswith("()", i)]
