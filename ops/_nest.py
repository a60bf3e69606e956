"""Nested structures of values: taken apart, and put together again.

Lists, tuples, namedtuples and dicts (by sorted key, as in TF1) are structure;
everything else is a leaf, but an object with ``_parts()`` and ``_from_parts(parts)``
(a TensorArray) is taken apart into the tensors that it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["assert_same", "flatten", "map_structure", "pack"]


def _is_part(value: Any) -> bool:
    return hasattr(value, "_parts")


def flatten(structure: Any) -> list[Any]:
    """The leaves of a structure, in order."""
    # Recursion is over the caller's nesting of containers, not the graph.
    if isinstance(structure, Mapping):
        return [x for k in sorted(structure) for x in flatten(structure[k])]
    if isinstance(structure, (list, tuple)):
        return [x for item in structure for x in flatten(item)]
    if _is_part(structure):
        return list(structure._parts())
    return [structure]


def pack(structure: Any, leaves: Sequence[Any]) -> Any:
    """``leaves`` in the form of ``structure``."""
    return _pack(structure, iter(leaves))


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        made = {k: _pack(structure[k], leaves) for k in sorted(structure)}
        return type(structure)((k, made[k]) for k in structure)  # type: ignore[call-arg]
    if isinstance(structure, (list, tuple)):
        items = [_pack(item, leaves) for item in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*items)
        return type(structure)(items)
    if _is_part(structure):
        count = len(structure._parts())
        return structure._from_parts([next(leaves) for _ in range(count)])
    return next(leaves)


def map_structure(f: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """``f`` of each leaf (and of the leaves in its place in ``others``)."""
    columns = [flatten(s) for s in (structure, *others)]
    return pack(structure, [f(*leaves) for leaves in zip(*columns)])


def assert_same(a: Any, b: Any, what: str) -> None:
    """Raise ValueError unless both have the same structure.

    Lists and tuples count as the same kind, as users mix them.
    """
    problem = _difference(a, b)
    if problem:
        raise ValueError(f"{what}: {problem}")


def _difference(a: Any, b: Any) -> str:
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
            return f"{a!r} and {b!r} differ in structure"
        if set(a) != set(b):
            return f"the keys {sorted(a)} and {sorted(b)} differ"
        return next(filter(None, (_difference(a[k], b[k]) for k in a)), "")
    if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
        if not (isinstance(a, (list, tuple)) and isinstance(b, (list, tuple))):
            return f"{a!r} and {b!r} differ in structure"
        if len(a) != len(b):
            return f"{len(a)} and {len(b)} values"
        return next(filter(None, map(_difference, a, b)), "")
    if _is_part(a) != _is_part(b):
        return f"{a!r} and {b!r} differ in structure"
    if _is_part(a) and len(a._parts()) != len(b._parts()):
        return f"{a!r} and {b!r} hold different things"
    return ""
