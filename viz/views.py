"""Parts of a picture: what lies near something, or between two sides.

Each function takes :class:`~.model.Items`, leaves out the rest, and says how many
items that were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..graphlib.errors import GraphError
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation
from .targets import elements

if TYPE_CHECKING:
    from .model import Items

__all__ = ["narrow", "two_sides"]


def two_sides(graph: Graph, between: Any) -> list[list[Operation]]:
    """Where ways begin and where they end, as operations; nothing for None.

    Raises:
        GraphError: not two sides, or one that is empty.
    """
    if between is None:
        return []
    sides = [elements(graph, side) for side in between]
    if len(sides) != 2 or not all(sides):
        raise GraphError(
            "between takes two lists: where ways begin, and where they end"
        )
    return sides


def narrow(
    found: Items,
    home: Callable[[Operation], str],
    focus: Sequence[Operation],
    hops: int,
    ends: Sequence[Sequence[Operation]],
) -> None:
    """Keep what lies between two sides, and what is near ``focus`` (empty: all).

    ``home`` gives the key of the item that shows an operation.
    """
    if ends:
        sides = [inside_of(found, {home(op) for op in side}) for side in ends]
        found.off_paths = on_paths(found, sides[0], sides[1])
    if focus:
        middle = inside_of(found, {home(op) for op in focus})
        found.beyond_focus = near(found, middle, hops)


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
