"""What the rewrites of a program did: how often, and to which of the user's lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..graphlib.operation import Operation
from ..graphlib.records import field, record

__all__ = ["Change", "Notes", "told"]

#: Of how many operations a note keeps the line.
_KEPT = 1000
_SHOWN = 6


@record
class Change:
    """One kind of change that a pass made.

    Attributes:
        rewrite: the pass; ``what``: the change ("x * 1 -> x").
        count: how often.
        ops: the operations that it changed or removed, the first 1000 of them.
    """

    rewrite: str
    what: str
    count: int = 0
    ops: list[Operation] = field(default_factory=list, repr=False)

    def lines(self) -> list[tuple[str, int]]:
        """The user's lines, and how many operations of each changed, in order."""
        found = Counter(str(op.source or "an unknown place") for op in self.ops)
        return list(found.items())


class Notes:
    """The changes of a program, pass by pass."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Change] = {}
        self._now = ""

    def begin(self, rewrite: str) -> None:
        """What is noted from now on was done by that pass."""
        self._now = rewrite

    def add(self, what: str, op: Operation) -> None:
        """Note one change."""
        key = self._now, what
        change = self._found.get(key)
        if change is None:
            change = self._found[key] = Change(*key)
        change.count += 1
        if change.count <= _KEPT:
            change.ops.append(op)

    def removed(self, ops: Iterable[Operation], what: str = "removed") -> None:
        """Note operations that are gone."""
        for op in ops:
            self.add(what, op)

    def of(self, rewrite: str) -> list[Change]:
        """The changes that a pass has made."""
        return [c for c in self._found.values() if c.rewrite == rewrite]

    def all(self) -> tuple[Change, ...]:
        """All changes, in the order in which they were first made."""
        return tuple(self._found.values())


def told(changes: Sequence[Change], counts: Sequence[tuple[str, int]]) -> list[str]:
    """The lines of ``Plan.explain``: each pass, its changes, and where they are.

    Args:
        changes: see :class:`Notes`.
        counts: (pass, its count), in the order of the passes.
    """
    lines = []
    for name, count in counts:
        mine = [c for c in changes if c.rewrite == name]
        if not count and not mine:
            continue
        lines.append(f"{name}: {count}")
        for change in mine:
            places = change.lines()
            shown = ", ".join(
                place if n == 1 else f"{place} (x{n})" for place, n in places[:_SHOWN]
            )
            more = f", and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            lines.append(f"  {change.what}, {change.count}: {shown}{more}")
    return lines or ["nothing to rewrite"]
