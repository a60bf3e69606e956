"""Python source for a frame: names for its arrays, and its instructions one by one.

What a run gives a frame (feeds, memory for results) is written into argument lists,
from which the calls are made.  In source text it is a local variable instead::

    at = 0
    f0(v0, a1, o0)

The text holds numbered names only, so that frames of one form share compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .frame import Frame

__all__ = ["Text", "indented"]


def indented(lines: Sequence[str]) -> list[str]:
    """Lines one level deeper."""
    return [f"    {line}" for line in lines]


@lru_cache(maxsize=256)
def _compiled(source: str) -> Callable[..., Any]:
    space: dict[str, Any] = {}
    exec(compile(source, "<a run of dagrad>", "exec"), space)
    made: Callable[..., Any] = space["make"]
    return made


class Text:
    """What the source of one frame's function needs.

    Attributes:
        names: what the text's names stand for.
        given: (id of an argument list, position) -> the name of what each run puts
            there, and the list; once :meth:`calls` is done, those that have to be
            written there.
        inlined: those that need not be.
    """

    def __init__(self, frame: Frame, /, **names: Any) -> None:
        self.frame = frame
        self.names = names
        self.given: dict[tuple[int, int], tuple[str, list[Any]]] = {}
        self.inlined: list[tuple[list[Any], int, str]] = []
        self._lists: dict[int, str] = {}

    def function(self, lines: Sequence[str]) -> Callable[..., Any]:
        """The function ``run`` that the lines define."""
        source = f"def make({', '.join(self.names)}):\n"
        source += "".join(f"    {line}\n" for line in lines)
        made: Callable[..., Any] = _compiled(source + "    return run\n")(**self.names)
        return made

    def name(self, prefix: str, value: Any) -> str:
        """A new name for a value."""
        found = f"{prefix}{len(self.names)}"
        self.names[found] = value
        return found

    def place(self, target: list[Any], k: int) -> str:
        """The name of a place in an argument list."""
        return f"{self._list(target)}[{k}]"

    def _list(self, target: Any) -> str:
        name = self._lists.get(id(target))
        if name is None:
            name = self._lists[id(target)] = self.name("l", target)
        return name

    def put(self, name: str, sites: Sequence[tuple[list[Any], int]]) -> None:
        """Note where an array of this run is read."""
        for target, k in sites:
            self.given[id(target), k] = name, target

    def places(self) -> list[tuple[str, str]]:
        """(place, name) of what has to be written before the calls."""
        return [(self.place(t, k), name) for (_, k), (name, t) in self.given.items()]

    def calls(self, most: int) -> tuple[list[str], bool]:
        """The frame's instructions, and whether any of them may warn.

        More than ``most`` run as a loop.
        """
        frame = self.frame
        if len(frame.instructions) > most:
            self.names["execute"] = frame.execute
            return ["execute()"], True
        written = {(id(t), k) for sites in frame._sites.values() for t, k in sites}
        machine = {id(stretch.run) for stretch in frame.kept}
        lines, loud = [], False
        for at, (function, args) in enumerate(frame.instructions):
            lines.append(f"at = {at}")
            if hasattr(function, "in_python"):
                lines += self._stretch(function)
                continue
            texts = self._arguments(args, written)
            lines.append(f"{self.name('f', function)}({', '.join(texts)})")
            loud |= id(function) not in machine
        return lines, loud

    def _arguments(self, args: Sequence[Any], written: set[Any]) -> list[str]:
        places = [(id(args), k) for k in range(len(args))]
        mine = [p in written for p in places]
        if not all(p in self.given for p, is_mine in zip(places, mine) if is_mine):
            return ["*" + self._list(args)]
        texts = []
        for p, is_mine, a in zip(places, mine, args):
            if is_mine:
                name, target = self.given.pop(p)
                self.inlined.append((target, p[1], name))
                texts.append(name)
            else:
                texts.append(self.name("a", a))
        return texts

    def _stretch(self, stretch: Any) -> list[str]:
        """A native stretch, which may find arrays that it cannot work on."""
        run, address = self.name("f", stretch.run), self.name("a", stretch.address)
        instead = self.name("f", stretch.in_python)
        return [f"if {run}({address}):", f"    {instead}()"]
