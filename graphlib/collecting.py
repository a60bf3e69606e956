"""What belongs to a graph beside operations: collections, feeds, what is built once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recomputation import Wish
    from .tensor import Tensor

__all__ = ["Collections", "once"]


class Collections:
    """The collections of a graph: named lists of things (TF1's habit); and which of its
    tensors may be fed."""

    def __init__(self) -> None:
        self._collections: dict[Any, list[Any]] = {}
        self._built: dict[Any, Any] = {}
        self._unfeedable: set[Tensor] = set()
        #: What gradients may have computed again (see graphlib.recomputation).
        self.wishes: list[Wish] = []

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Append ``value`` to the collection ``name``."""
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Append ``value`` to each of the collections ``names`` (or to one)."""
        names = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
        for name in names:
            self.add_to_collection(name, value)

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of a collection; ``scope`` keeps items whose name it matches."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        match = re.compile(scope).match
        return [i for i in items if hasattr(i, "name") and match(i.name)]

    def get_collection_ref(self, name: Any) -> list[Any]:
        """The collection itself: changes to the list change the collection."""
        return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[Any]:
        """The names of collections that hold something."""
        return [k for k, v in self._collections.items() if v]

    def clear_collection(self, name: Any) -> None:
        """Empty a collection."""
        self._collections.pop(name, None)

    def is_feedable(self, tensor: Any) -> bool:
        """Whether a run may feed ``tensor``."""
        return tensor not in self._unfeedable

    def prevent_feeding(self, tensor: Tensor) -> None:
        """Refuse feeds of ``tensor``."""
        self._unfeedable.add(tensor)

    def is_fetchable(self, tensor_or_op: Any) -> bool:
        """True: everything can be fetched."""
        return True


def once(graph: Collections, key: Any, build: Callable[[], Any]) -> Any:
    """What ``build`` adds to a graph, added at the first call with this key.

    It lives and dies with the graph, and is not saved with it.

    Args:
        graph: the graph.
        key: hashable; names what is built, and the tensors that it is built of.
        build: takes nothing; its result is returned by later calls too.
    """
    found = graph._built
    if key not in found:
        found[key] = build()
    return found[key]
