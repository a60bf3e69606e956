"""Fit items to a number of nodes: fold name scopes, then cut long runs.

Scopes open from the top, small ones first, as long as the nodes stay within the
budget.  Where one scope alone holds too many operations, consecutive ones are
drawn as one node.  Nothing here recurses: scopes may nest as deep as they like.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..graphlib.operation import Operation
from .model import Item, Items, Link, constant_text, tooltip
from .theme import PARTS, clean, short, spec_text

__all__ = ["Cluster", "Edge", "Node", "Picture", "fold"]

#: Edges per node of the budget that the layout is handed at most.
_EDGES_PER_NODE = 3
#: Above this, values that the backward part keeps are named in their readers:
#: each would be a curve across the whole picture.
_KEPT_EDGES = 16
#: Boxes with more readers (or inputs) than this are named in most of them.
_FAN = 12
_FAN_DRAWN = 3
#: How many nodes a run of loose operations is cut into.
_RUNS = 24


@dataclass
class Node:
    """A box: one item, or several folded into one."""

    key: str
    part: str
    title: str
    subtitle: str
    notes: list[str]
    tooltip: str
    folded: bool = False


@dataclass
class Edge:
    """All links from one box to another; ``origin`` names the first tensor's op."""

    tail: str
    head: str
    label: str
    tooltip: str
    control: bool
    weak: bool
    width: float
    origin: str = ""


@dataclass
class Cluster:
    """A scope that is drawn open."""

    key: str
    label: str
    tooltip: str
    level: int
    parent: int
    nodes: list[Node] = field(default_factory=list)
    children: list[int] = field(default_factory=list)


@dataclass
class Picture:
    """What the layout draws; ``clusters[0]`` is the sheet itself."""

    clusters: list[Cluster]
    edges: list[Edge]
    facts: list[str]

    @property
    def nodes(self) -> list[Node]:
        """All boxes."""
        return [node for cluster in self.clusters for node in cluster.nodes]


class _Scope:
    """A name scope: its items, its scopes, and how many items lie in it."""

    __slots__ = ("children", "first", "items", "path", "total")

    def __init__(self, path: str, first: tuple[int, int]) -> None:
        self.path = path
        self.first = first
        self.children: dict[str, _Scope] = {}
        self.items: list[Item] = []
        self.total = 0

    def members(self) -> int:
        """How many boxes it holds when it is open and its scopes are not."""
        return len(self.children) + len(self.items)


def fold(found: Items, depth: int | None = None, max_nodes: int = 200) -> Picture:
    """The picture of ``found`` with at most ``max_nodes`` boxes.

    Args:
        found: what there is to draw.
        depth: how many levels of scopes may open (None: as the budget allows).
        max_nodes: the budget; links are bounded in proportion.
    """
    budget = max(1, max_nodes)
    while True:
        picture = _Fold(found, depth, budget).make()
        if len(picture.edges) <= _EDGES_PER_NODE * max_nodes + 40 or budget <= 8:
            return picture
        budget //= 2


class _Fold:
    """One attempt at a budget."""

    def __init__(self, found: Items, depth: int | None, budget: int) -> None:
        self.found = found
        self.depth = math.inf if depth is None else depth
        self.budget = budget
        self.root = _tree(found.items)
        self.open: set[str] = set()
        self.runs: dict[str, int] = {}
        self.place: dict[str, str] = {}
        self.clusters: list[Cluster] = []
        self.folded_scopes = 0
        self.folded_items = 0

    def make(self) -> Picture:
        self._choose()
        self._lay_out()
        edges = _edges(self.found.links, self.place)
        facts = self._facts()
        kept = [edge for edge in edges if edge.weak]
        if len(kept) <= _KEPT_EDGES:
            kept = []
        named = [*self._name(kept, "keeps"), *self._name(_fans(edges), "reads")]
        gone = {id(edge) for edge in named}
        edges = [edge for edge in edges if id(edge) not in gone]
        crowd = _crowds(edges)
        named += self._point(crowd)
        if named:
            gone |= {id(edge) for edge in crowd}
            edges = [edge for edge in edges if id(edge) not in gone]
            facts.append(f"{len(named):,} edges written as text")
        return Picture(self.clusters, edges, facts)

    def _name(self, edges: Sequence[Edge], verb: str) -> Sequence[Edge]:
        """A line of text in each head instead of an edge across the picture."""
        boxes = {node.key: node for c in self.clusters for node in c.nodes}
        sources: dict[str, list[str]] = {}
        for edge in edges:
            sources.setdefault(edge.head, []).append(edge.origin)
        for key, names in sources.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            boxes[key].notes.append(f"{verb} {short(names[0], 28)}{more}")
        return edges

    def _point(self, edges: Sequence[Edge]) -> Sequence[Edge]:
        """A line of text in each tail: where the edge would go."""
        boxes = {node.key: node for c in self.clusters for node in c.nodes}
        for edge in edges:
            head = boxes[edge.head]
            name = head.subtitle if edge.control and head.subtitle else head.title
            boxes[edge.tail].notes.append(f"to {short(name, 30)}")
        return edges

    # -- which scopes open -----------------------------------------------------

    def _choose(self) -> None:
        """Open scopes while the budget lasts, from the top, the smallest first."""
        root = self.root
        if root.members() > self.budget:
            self._cut(root, self.budget)
            return
        count = root.members()
        self.open.add(root.path)
        waiting = _alike(root, 1)
        heapq.heapify(waiting)
        closed: list[_Scope] = []
        while waiting:
            level, members, _, scopes = heapq.heappop(waiting)
            if level > self.depth and scopes[0].total > 1:
                continue
            if count - len(scopes) + members > self.budget:
                closed += scopes
                continue
            count += members - len(scopes)
            for scope in scopes:
                self.open.add(scope.path)
                # A scope that only holds another one is no level of its own.
                deeper = level + (scope.members() > 1)
                for group in _alike(scope, deeper):
                    heapq.heappush(waiting, group)
        if closed and count <= self.budget // 8:
            largest = max(closed, key=lambda s: s.total)
            self._cut(largest, self.budget - count)

    def _cut(self, scope: _Scope, room: int) -> None:
        """Open a scope that is too big: runs of what lies loose in it."""
        scopes = len(scope.children)
        if scopes > room // 2:
            self.runs[scope.path] = -max(1, min(_RUNS, room))
        else:
            self.runs[scope.path] = max(1, min(_RUNS, room - scopes))
        self.open.add(scope.path)

    # -- boxes -----------------------------------------------------------------

    def _lay_out(self) -> None:
        """Clusters for open scopes and nodes for the rest, without recursion."""
        stack = [(self.root, -1, "")]
        while stack:
            scope, parent, prefix = stack.pop()
            only = scope.members() == 1 and parent >= 0 and not scope.items
            if only or (scope.total == 1 and parent >= 0):
                # A box around one thing says no more than the thing's name.
                index = parent
            else:
                index = self._cluster(scope, parent, prefix)
                prefix = f"{scope.path}/" if scope.path else ""
            loose: list[Item] = list(scope.items)
            closed: list[_Scope] = []
            opened: list[_Scope] = []
            runs = self.runs.get(scope.path, 0)
            for s in scope.children.values():
                (opened if s.path in self.open else closed).append(s)
            if runs:
                bundles: list[Item | _Scope] = list(loose)
                if runs < 0:
                    bundles = sorted([*loose, *closed], key=_order)
                    closed = []
                loose = []
                self._runs(self.clusters[index], bundles, abs(runs), prefix)
            nodes = [(item.order, self._single(item, prefix)) for item in loose]
            nodes += [(s.first, self._closed(s, prefix)) for s in closed]
            self.clusters[index].nodes += [n for _, n in sorted(nodes, key=_first)]
            for s in sorted(opened, key=_order, reverse=True):
                stack.append((s, index, prefix))

    def _cluster(self, scope: _Scope, parent: int, prefix: str) -> int:
        index = len(self.clusters)
        level = 0
        if parent >= 0:
            level = self.clusters[parent].level + 1
            self.clusters[parent].children.append(index)
        self.clusters.append(
            Cluster(
                key=f"cluster_{index}",
                label=short(scope.path[len(prefix) :], 48),
                tooltip=f"{clean(scope.path[:2000])}\n{_count(scope.total)}",
                level=level,
                parent=parent,
            )
        )
        return index

    def _single(self, item: Item, prefix: str) -> Node:
        self.place[item.key] = item.key
        op = item.op
        name = op.name
        if item.part == "backward" and op.forward_op is not None:
            subtitle = f"grad of {short(_tail(op.forward_op.name), 26)}"
        else:
            name = name[len(prefix) :] if name.startswith(prefix) else name
            subtitle = "" if name.lower() == op.type.lower() else short(name, 34)
        title = short(op.type, 34)
        notes = list(item.notes)
        if item.part in ("input", "variable"):
            title = subtitle or title
            t = op.outputs[0]
            subtitle = spec_text(t.dtype.name, t.dims)
        elif item.part == "constant":
            t = op.outputs[0]
            title, subtitle = short(_tail(name), 34), spec_text(t.dtype.name, t.dims)
            said = constant_text(op)
            if said != subtitle:
                notes.append(said)
        return Node(item.key, item.part, title, subtitle, notes, tooltip(op))

    def _closed(self, scope: _Scope, prefix: str) -> Node:
        """A scope as one box."""
        items = _items_of(scope)
        if len(items) == 1:
            return self._single(items[0], prefix)
        self.folded_scopes += 1
        return self._bundle(items, short(scope.path[len(prefix) :], 34), scope.path)

    def _runs(
        self,
        cluster: Cluster,
        bundles: Sequence[Item | _Scope],
        runs: int,
        prefix: str,
    ) -> None:
        """Consecutive things as one box each; no box spans two parts."""
        segments: list[list[Item | _Scope]] = []
        last = ""
        for b in bundles:
            part = _part_of(b)
            if not segments or part != last:
                segments.append([])
            segments[-1].append(b)
            last = part
        if len(segments) > runs:
            segments = [list(bundles)]
        spare = runs - len(segments)
        for segment in segments:
            count = 1 + spare * len(segment) // max(1, len(bundles))
            size = max(1, math.ceil(len(segment) / count))
            for start in range(0, len(segment), size):
                cluster.nodes.append(self._run(segment[start : start + size], prefix))

    def _run(self, things: Sequence[Item | _Scope], prefix: str) -> Node:
        if len(things) == 1:
            only = things[0]
            if isinstance(only, Item):
                return self._single(only, prefix)
            return self._closed(only, prefix)
        items: list[Item] = []
        for thing in things:
            items += _items_of(thing) if isinstance(thing, _Scope) else [thing]
        first, last = _name_of(things[0]), _name_of(things[-1])
        title = f"{short(_tail(first), 20)} ... {short(_tail(last), 20)}"
        where = f"from {first[:1000]} to {last[:1000]}"
        return self._bundle(items, title, where)

    def _bundle(self, items: Sequence[Item], title: str, where: str) -> Node:
        key = f"of{len(items)}_{items[0].key}"
        for item in items:
            self.place[item.key] = key
        self.folded_items += len(items)
        own = [item for item in items if not item.copy]
        types = Counter(item.op.type for item in own).most_common()
        parts = Counter(i.part for i in own if i.part in _COMPUTED)
        part = parts.most_common(1)[0][0] if parts else items[0].part
        notes = [short(_kinds(types[:3]), 40)]
        if len(types) > 3:
            notes.append(f"and {_plural(len(types) - 3, 'more type')}")
        lines = [clean(where[:2000]), _count(len(own)), *_kind_lines(types)]
        lines += [f"part: {PARTS[p].label} ({n})" for p, n in parts.most_common()]
        text = "\n".join(lines)
        return Node(key, part, title, _count(len(own)), notes, text, folded=True)

    def _facts(self) -> list[str]:
        found = self.found
        facts = [_count(found.operations)]
        if self.folded_scopes:
            facts.append(_plural(self.folded_scopes, "scope") + " folded")
        elif self.folded_items:
            facts.append(f"{self.folded_items:,} drawn as runs")
        if found.constants:
            facts.append(_plural(found.constants, "constant") + " inside their readers")
        if found.initializers:
            facts.append(f"{found.initializers:,} of initialisers not drawn")
        if found.beyond_focus:
            facts.append(f"{found.beyond_focus:,} beyond the focus not drawn")
        return facts


_COMPUTED = ("forward", "backward", "update", "initializer")


def _tree(items: Sequence[Item]) -> _Scope:
    """The scopes that hold ``items``."""
    root = _Scope("", (-1, 0))
    by_path = {"": root}
    for item in items:
        scope = by_path.get(item.scope)
        if scope is None:
            scope = root
            at = 0
            while at < len(item.scope):
                end = item.scope.find("/", at)
                end = len(item.scope) if end < 0 else end
                name = item.scope[at:end]
                child = scope.children.get(name)
                if child is None:
                    child = _Scope(item.scope[:end], item.order)
                    scope.children[name] = child
                scope = child
                at = end + 1
            by_path[item.scope] = scope
        scope.items.append(item)
    # Totals from the leaves up: children come after parents in this list.
    every = [root]
    for scope in every:
        every.extend(scope.children.values())
    for scope in reversed(every):
        scope.total = len(scope.items) + sum(s.total for s in scope.children.values())
    return root


_Group = tuple[int, int, tuple[int, int], list[_Scope]]


def _alike(parent: _Scope, level: int) -> list[_Group]:
    """The scopes in ``parent`` in groups of one size, which open all or none:
    the layers of a network look alike in a picture too."""
    groups: dict[tuple[int, int], list[_Scope]] = {}
    for s in parent.children.values():
        groups.setdefault((s.members(), s.total), []).append(s)
    return [
        (level, members * len(scopes), scopes[0].first, scopes)
        for (members, _), scopes in groups.items()
    ]


def _items_of(scope: _Scope) -> list[Item]:
    found = []
    stack = [scope]
    while stack:
        s = stack.pop()
        found += s.items
        stack.extend(s.children.values())
    return sorted(found, key=_order)


def _order(thing: Item | _Scope) -> tuple[int, int]:
    return thing.order if isinstance(thing, Item) else thing.first


def _name_of(thing: Item | _Scope) -> str:
    return thing.op.name if isinstance(thing, Item) else thing.path


def _part_of(thing: Item | _Scope) -> str:
    """The part of most of what ``thing`` computes; sources go with the forward."""
    if isinstance(thing, Item):
        return thing.part if thing.part in _COMPUTED else "forward"
    parts = Counter(i.part for i in _items_of(thing) if i.part in _COMPUTED)
    return parts.most_common(1)[0][0] if parts else "forward"


def _first(pair: tuple[tuple[int, int], Node]) -> tuple[int, int]:
    return pair[0]


# -- edges ---------------------------------------------------------------------


def _fans(edges: Sequence[Edge]) -> list[Edge]:
    """Data edges of boxes with very many readers, all but the first few."""
    fans: dict[str, list[Edge]] = {}
    for edge in edges:
        if not edge.control and not edge.weak:
            fans.setdefault(edge.tail, []).append(edge)
    found = []
    for fan in fans.values():
        if len(fan) > _FAN:
            found += fan[_FAN_DRAWN:]
    return found


def _crowds(edges: Sequence[Edge]) -> list[Edge]:
    """Edges into boxes that read very many others, all but the last few."""
    crowds: dict[str, list[Edge]] = {}
    for edge in edges:
        crowds.setdefault(edge.head, []).append(edge)
    found = []
    for crowd in crowds.values():
        if len(crowd) > _FAN:
            found += crowd[:-_FAN_DRAWN]
    return found


class _Bundle:
    """The links between two boxes."""

    __slots__ = ("controls", "tensors", "weak")

    def __init__(self) -> None:
        self.tensors: list[Link] = []
        self.controls: list[Link] = []
        self.weak = True


def _edges(links: Sequence[Link], place: dict[str, str]) -> list[Edge]:
    bundles: dict[tuple[str, str], _Bundle] = {}
    for link in links:
        tail, head = place[link.tail.key], place[link.head.key]
        # A loop on a box of one item cannot be: it has been folded in.
        if tail == head:
            continue
        bundle = bundles.get((tail, head))
        if bundle is None:
            bundle = bundles[tail, head] = _Bundle()
        if link.tensor is None:
            bundle.controls.append(link)
        else:
            bundle.tensors.append(link)
            bundle.weak &= link.weak
    return [_edge(tail, head, bundle) for (tail, head), bundle in bundles.items()]


def _edge(tail: str, head: str, bundle: _Bundle) -> Edge:
    if not bundle.tensors:
        pairs = dict.fromkeys((link.tail.op, link.head.op) for link in bundle.controls)
        lines = [f"{_brief(b)} waits for {_brief(a)}" for a, b in list(pairs)[:8]]
        if len(pairs) > 8:
            lines.append(f"and {len(pairs) - 8} more")
        label = f"{len(pairs)} waits" if len(pairs) > 1 else ""
        return Edge(tail, head, label, "\n".join(lines), True, False, 1.0)
    found = [link.tensor for link in bundle.tensors if link.tensor is not None]
    tensors = list(dict.fromkeys(found))
    specs = list(dict.fromkeys(spec_text(t.dtype.name, t.dims) for t in tensors))
    if len(tensors) == 1:
        label = short(specs[0], 36)
        if len(bundle.tensors) > 1 and len({x.head for x in bundle.tensors}) == 1:
            label += f" x{len(bundle.tensors)}"
        if bundle.weak and len(bundle.tensors) == 1:
            # The forward edge of the same tensor says it already.
            label = ""
    elif len(specs) == 1:
        label = f"{len(tensors)} x {short(specs[0], 36)}"
    else:
        label = f"{len(tensors)} tensors"
    lines = [
        f"{_brief(t.op)}:{t.index} {spec_text(t.dtype.name, t.dims)}"
        for t in tensors[:8]
    ]
    if len(tensors) > 8:
        lines.append(f"and {len(tensors) - 8} more")
    elements = 0
    for t in tensors:
        elements += t.dtype.size * math.prod(d or 1 for d in t.dims or ())
    width = min(3.2, 0.8 + 0.12 * math.log2(1 + elements / 64))
    text = "\n".join(lines)
    name = tensors[0].op.name
    return Edge(tail, head, label, text, False, bundle.weak, round(width, 2), name)


# -- words ---------------------------------------------------------------------


def _brief(op: Operation) -> str:
    return short(op.name, 80)


def _tail(name: str) -> str:
    return name.rpartition("/")[2]


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _count(n: int) -> str:
    return _plural(n, "operation")


def _kinds(types: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{n:,} {t}" if n > 1 else t for t, n in types)


def _kind_lines(types: Sequence[tuple[str, int]]) -> list[str]:
    lines = [f"{n:,} {clean(t)}" for t, n in types[:10]]
    if len(types) > 10:
        lines.append(f"and {len(types) - 10} more types")
    return lines
