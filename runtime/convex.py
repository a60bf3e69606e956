"""Which nodes may become one: those from which no path leads out and back.

Nodes that are joined already count as one unit. Every unit has a rank above the ranks
of all that it needs, so a path out of some units and back can only go through ranks
between theirs; where there are none nothing needs to be searched. A unit that takes a
higher rank lifts those behind it that it passes (D. J. Pearce and P. H. J. Kelly, A
Dynamic Topological Sort Algorithm, JEA 11, 2006).
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from .program import Node, Program, Value

__all__ = ["Joint", "Unit", "Units", "sort"]

#: Nodes that are looked at, and units that are lifted, before two are left apart.
_LOOKED = 128
#: Between the ranks of two nodes at first.
_GAP = 1 << 20


class Unit:
    """Nodes that are one, or will be.

    Attributes:
        nodes: one or several.
        needs: the values that they need of others.
        rank: above that of every unit that makes one of these.
    """

    __slots__ = ("needs", "nodes", "rank")

    def __init__(self, nodes: list[Node], needs: Collection[Value], rank: int) -> None:
        self.nodes = nodes
        self.needs = needs
        self.rank = rank


class Joint(NamedTuple):
    """How units may become one: its rank, and the new ranks of others."""

    rank: int
    lifted: Mapping[Unit, int]


class Units:
    """The units of a program, each node one at first.

    Attributes:
        of: the unit of a node.
        position: of a node in the program.
        readers: of a value, in the program's order (twice where they read it twice).
    """

    def __init__(self, program: Program, previous: Mapping[Node, Node]) -> None:
        self.position = {node: i for i, node in enumerate(program.nodes)}
        self.of = {
            node: Unit([node], node.inputs, i * _GAP)
            for node, i in self.position.items()
        }
        self.readers: dict[Value, list[Node]] = defaultdict(list)
        self._previous = previous
        #: What waits for a node without reading of it.
        self._then: dict[Node, list[Node]] = defaultdict(list)
        for node in program.nodes:
            for v in node.inputs:
                self.readers[v].append(node)
            for n in node.after:
                self._then[n].append(node)
        for node, n in previous.items():
            self._then[n].append(node)

    def joint(
        self, units: Collection[Unit], given: Iterable[Value], left: Iterable[Value]
    ) -> Joint | None:
        """How units may become one; None: a path leads out of them and back, or there
        is too much to look at.

        Args:
            units: whose nodes have no effects.
            given: what they read that none of them makes.
            left: what they make and others read.
        """
        of, readers = self.of, self.readers
        low = -1
        for v in given:
            if v.node is not None and of[v.node].rank > low:
                low = of[v.node].rank
        high = math.inf
        for v in left:
            for reader in readers[v]:
                unit = of[reader]
                if unit.rank < high and unit not in units:
                    high = unit.rank
        for unit in units:
            if low < unit.rank < high:
                return Joint(unit.rank, {})
        if low + 1 < high:
            return Joint(low + 1, {})
        if self._leads_back(units, given, high):
            return None
        lifted = self._lifted(units, low + 1)
        return None if lifted is None else Joint(low + 1, lifted)

    def join(self, unit: Unit, more: Iterable[Node], joint: Joint) -> None:
        """Make ``unit`` that of more nodes."""
        unit.rank = joint.rank
        for node in more:
            self.of[node] = unit
        for other, rank in joint.lifted.items():
            other.rank = rank

    def _leads_back(
        self, units: Collection[Unit], given: Iterable[Value], high: float
    ) -> bool:
        """Whether what is given needs one of the units, or may."""
        of = self.of
        stack = [of[v.node] for v in given if v.node is not None]
        seen: set[Unit] = set()
        looked = 0
        while stack:
            unit = stack.pop()
            if unit in units:
                return True
            if unit.rank < high or unit in seen:
                continue
            seen.add(unit)
            looked += len(unit.nodes)
            if looked > _LOOKED:
                return True
            stack.extend([of[v.node] for v in unit.needs if v.node is not None])
            for node in unit.nodes:
                if node.after:
                    stack.extend([of[n] for n in node.after])
                if node in self._previous:
                    stack.append(of[self._previous[node]])
        return False

    def _behind(self, unit: Unit) -> Iterator[Unit]:
        """What needs a unit."""
        of = self.of
        for node in unit.nodes:
            for v in node.outputs:
                for reader in self.readers[v]:
                    if v in of[reader].needs:
                        yield of[reader]
            for n in self._then.get(node, ()):
                yield of[n]

    def _lifted(self, units: Collection[Unit], rank: int) -> dict[Unit, int] | None:
        """The new ranks of what is behind units that get a rank; None: of many."""
        lifted: dict[Unit, int] = {}
        # In the order of old ranks: each is looked at when all before it are.
        heap: list[tuple[int, int, Unit]] = []

        def lift(unit: Unit, least: int) -> None:
            if unit in units or unit.rank >= least:
                return
            if unit not in lifted:
                heapq.heappush(heap, (unit.rank, id(unit), unit))
            lifted[unit] = max(lifted.get(unit, 0), least)

        for unit in units:
            for behind in self._behind(unit):
                lift(behind, rank + 1)
        while heap:
            if len(lifted) > _LOOKED:
                return None
            unit = heapq.heappop(heap)[2]
            for behind in self._behind(unit):
                lift(behind, lifted[unit] + 1)
        return lifted


def sort(
    nodes: list[Node], fused: Mapping[Node, Node], previous: Mapping[Node, Node]
) -> list[Node]:
    """Nodes, and those that take the place of several, in topological order: each at
    its old place or as soon after as can be.

    ``previous`` says which effect comes before that of a node.
    """
    place: dict[Node, int] = {}
    for i, node in enumerate(nodes):
        place.setdefault(fused.get(node, node), i)
    left: dict[Node, int] = {}
    then: dict[Node, list[Node]] = defaultdict(list)
    for node in place:
        needed = {v.node for v in node.inputs if v.node is not None}
        needed.update(node.after)
        if node in previous:
            needed.add(previous[node])
        left[node] = len(needed)
        for n in needed:
            then[n].append(node)
    nodes_at = {at: node for node, at in place.items()}
    ready = [place[n] for n, count in left.items() if not count]
    heapq.heapify(ready)
    result = []
    while ready:
        node = nodes_at[heapq.heappop(ready)]
        result.append(node)
        for n in then[node]:
            left[n] -= 1
            if not left[n]:
                heapq.heappush(ready, place[n])
    assert len(result) == len(place), "groups are convex: there is no cycle"
    return result
