"""Fit items to a number of nodes: fold name scopes, then cut long runs.

Scopes of one kind are drawn once where not everything has room.  Then scopes open
from the top, small ones first, as long as the nodes stay within the budget.  Where
one scope alone holds too many operations, consecutive ones are drawn as one node.
Nothing here recurses: scopes may nest as deep as they like.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..graphlib.operation import Operation
from .edges import Edge, crowds, fans, merged
from .facts import constant_text, tooltip
from .model import Item, Items, Order
from .scopes import Repeats, Scope, forced, items_of, order_of, tree
from .theme import PARTS, clean, short, spec_text

__all__ = ["Cluster", "Edge", "Node", "Picture", "fold"]

#: Edges per node of the budget that the layout is handed at most.
_EDGES_PER_NODE = 3
#: Above this, values that the backward part keeps are named in their readers:
#: each would be a curve across the whole picture.
_KEPT_EDGES = 6
#: How many nodes a run of loose operations is cut into.
_RUNS = 24
_COMPUTED = ("forward", "backward", "update", "initializer")


@dataclass
class Node:
    """A box: one item, or several folded into one.

    Attributes:
        key: unique in the picture, fit for an XML id.
        part: see :func:`~.parts.classify`.
        title, subtitle, notes: its lines of text.
        tooltip: what hovering says.
        folded: whether it stands for several operations.
        ops: the operations that it stands for, without copies.
        count: how many boxes of its kind it stands for.
        fill: a colour that an overlay gave it, or None.
    """

    key: str
    part: str
    title: str
    subtitle: str
    notes: list[str]
    tooltip: str
    folded: bool = False
    ops: list[Operation] = field(default_factory=list)
    count: int = 1
    fill: str | None = None


@dataclass
class Cluster:
    """A scope that is drawn open; ``path`` is that of the scope.

    ``count`` scopes of its kind are drawn as this one.  ``body`` says what runs it,
    where it is the body of a loop, a branch or a call, or a fused kernel.
    """

    key: str
    label: str
    tooltip: str
    level: int
    parent: int
    nodes: list[Node] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    path: str = ""
    count: int = 1
    body: str = ""


@dataclass
class Picture:
    """What the layout draws; ``clusters[0]`` is the sheet itself.

    ``pairs`` are the keys of nodes and of their gradients, in a mirrored picture.
    """

    clusters: list[Cluster]
    edges: list[Edge]
    facts: list[str]
    pairs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """All boxes."""
        return [node for cluster in self.clusters for node in cluster.nodes]


def fold(
    found: Items,
    depth: int | None = None,
    max_nodes: int = 60,
    *,
    expand: Iterable[str] = (),
    repeats: bool | None = None,
    mirror: bool = False,
) -> Picture:
    """The picture of ``found`` with at most ``max_nodes`` boxes.

    Args:
        found: what there is to draw.
        depth: how many levels of scopes may open (None: as the budget allows).
        max_nodes: the budget; links are bounded in proportion.
        expand: scopes to open first, whatever ``depth`` says.
        repeats: whether scopes of one kind are drawn once (None: where not
            everything has room).
        mirror: whether all that is the gradient of one operation is one box.

    Raises:
        GraphError: ``expand`` names what is no scope.
    """
    budget = max(1, max_nodes)
    expand = list(expand)
    while True:
        picture = _Fold(found, depth, budget, expand, repeats, mirror).make()
        if len(picture.edges) <= _EDGES_PER_NODE * max_nodes + 40 or budget <= 8:
            return picture
        budget //= 2


class _Fold:
    """One attempt at a budget."""

    def __init__(
        self,
        found: Items,
        depth: int | None,
        budget: int,
        expand: list[str],
        repeats: bool | None,
        mirror: bool,
    ) -> None:
        self.found = found
        self.depth = math.inf if depth is None else depth
        self.budget = budget
        self.mirror = mirror
        self.root = tree(found.items)
        self.forced = forced(self.root, expand, found.items)
        self.repeats: Repeats | None = None
        if repeats or (repeats is None and len(found.items) > budget):
            self.repeats = Repeats(self.root, self.forced, found.links)
        self.open: set[str] = set()
        self.runs: dict[str, int] = {}
        self.place: dict[str, str] = {}
        self.clusters: list[Cluster] = []
        self.folded_scopes = 0
        self.folded_items = 0
        #: Items with a link of their own: an owner of an open body needs a box then.
        self.linked = {link.tail.key for link in found.links}
        self.linked |= {link.head.key for link in found.links}

    def make(self) -> Picture:
        self._choose()
        self._lay_out()
        if self.repeats is not None:
            for key in self.repeats.twin:
                self.place[key] = self.place[self.repeats.drawn(key)]
            edges = merged(self.found.links, self.place, self.repeats.link)
        else:
            edges = merged(self.found.links, self.place, lambda link: link.again)
        facts = self._facts()
        kept = [edge for edge in edges if edge.weak]
        if len(kept) <= _KEPT_EDGES and not self.mirror:
            kept = []
        named = [*self._name(kept, "keeps"), *self._name(fans(edges), "reads")]
        gone = {id(edge) for edge in named}
        edges = [edge for edge in edges if id(edge) not in gone]
        crowd = crowds(edges)
        named += self._name([e for e in crowd if e.weak], "keeps")
        named += self._point([e for e in crowd if not e.weak])
        if named:
            gone |= {id(edge) for edge in crowd}
            edges = [edge for edge in edges if id(edge) not in gone]
            facts.append(f"{len(named):,} edges written as text")
        pairs = self._pairs() if self.mirror else []
        return Picture(self.clusters, edges, facts, pairs)

    def _name(self, edges: Sequence[Edge], verb: str) -> list[Edge]:
        """A line of text in each head instead of an edge across the picture."""
        boxes = {node.key: node for c in self.clusters for node in c.nodes}
        sources: dict[str, list[str]] = {}
        for edge in edges:
            sources.setdefault(edge.head, []).append(edge.origin)
        for key, names in sources.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            boxes[key].notes.append(f"{verb} {short(names[0], 28)}{more}")
        return list(edges)

    def _point(self, edges: Sequence[Edge]) -> list[Edge]:
        """A line of text in each tail: where the edge would go."""
        boxes = {node.key: node for c in self.clusters for node in c.nodes}
        for edge in edges:
            head = boxes[edge.head]
            name = head.subtitle if edge.control and head.subtitle else head.title
            boxes[edge.tail].notes.append(f"to {short(name, 30)}")
        return list(edges)

    def _pairs(self) -> list[tuple[str, str]]:
        """Each box of gradients with the box of what most of it differentiates."""
        home = {
            item.op: self.place[item.key] for item in self.found.items if not item.copy
        }
        votes: dict[str, Counter[str]] = {}
        for item in self.found.items:
            forward = item.op.forward_op
            if item.part == "backward" and forward in home and not item.copy:
                key = self.place[item.key]
                votes.setdefault(key, Counter())[home[forward]] += 1
        pairs = []
        for key, found in votes.items():
            forward_key = found.most_common(1)[0][0]
            if forward_key != key:
                pairs.append((forward_key, key))
        return pairs

    # -- which scopes open -----------------------------------------------------

    def _choose(self) -> None:
        """Open scopes while the budget lasts, from the top, the smallest first."""
        root = self.root
        if root.members() > self.budget:
            self._cut(root, self.budget)
            return
        count = root.members()
        self.open.add(root.path)
        waiting = _alike(root, 1, self.forced)
        heapq.heapify(waiting)
        closed: list[Scope] = []
        while waiting:
            rank, level, members, _, scopes = heapq.heappop(waiting)
            if level > self.depth and scopes[0].total > 1 and rank >= 0:
                continue
            if count - len(scopes) + members > self.budget:
                if rank < 0:
                    self._cut(scopes[0], self.budget - count + 1)
                    count = self.budget
                else:
                    closed += scopes
                continue
            count += members - len(scopes)
            for scope in scopes:
                self.open.add(scope.path)
                # A scope that only holds another one is no level of its own.
                deeper = level + (scope.members() > 1)
                for group in _alike(scope, deeper, self.forced):
                    heapq.heappush(waiting, group)
        if closed and count <= self.budget // 8:
            largest = max(closed, key=lambda s: s.total)
            self._cut(largest, self.budget - count)

    def _cut(self, scope: Scope, room: int) -> None:
        """Open a scope that is too big: runs of what lies loose in it."""
        room = max(1, room)
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
            # A body has a box in any case, and so has each branch.
            plain = parent >= 0 and scope.count == 1 and scope.owner is None
            plain = plain and not scope.path.rpartition("/")[0].endswith("()")
            if plain and (
                scope.total == 1 or (scope.members() == 1 and not scope.items)
            ):
                # A box around one thing says no more than the thing's name.
                index = parent
            else:
                index = self._cluster(scope, parent, prefix)
                if scope.owner is not None:
                    self._runs_body(scope.owner, index, prefix)
                prefix = f"{scope.path}/" if scope.path else ""
            loose: list[Item] = list(scope.items)
            closed: list[Scope] = []
            opened: list[Scope] = []
            runs = self.runs.get(scope.path, 0)
            for s in scope.children.values():
                (opened if s.path in self.open else closed).append(s)
            if runs:
                bundles: list[Item | Scope] = list(loose)
                if runs < 0:
                    bundles = sorted([*loose, *closed], key=order_of)
                    closed = []
                loose = []
                self._runs(self.clusters[index], bundles, abs(runs), prefix)
            nodes = self._gradients(loose, prefix) if self.mirror else []
            nodes += [(item.order, self._single(item, prefix)) for item in loose]
            nodes += [(s.first, self._closed(s, prefix)) for s in closed]
            self.clusters[index].nodes += [n for _, n in sorted(nodes, key=_first)]
            for s in sorted(opened, key=order_of, reverse=True):
                stack.append((s, index, prefix))

    def _runs_body(self, owner: Item, index: int, prefix: str) -> None:
        """A box in an open body for what runs it, where something leads to that."""
        self.place[owner.key] = owner.key
        if owner.key in self.linked:
            node = self._single(owner, prefix)
            # The label of the body says the rest.
            node.notes = node.notes[1:]
            self.clusters[index].nodes.append(node)

    def _gradients(self, loose: list[Item], prefix: str) -> list[tuple[Order, Node]]:
        """One box for all that is the gradient of one operation; ``loose`` loses
        what is in it."""
        groups: dict[Operation, list[Item]] = {}
        for item in loose:
            of = (item.beside or item).op.forward_op
            if of is not None and (item.beside or item).part == "backward":
                groups.setdefault(of, []).append(item)
        nodes = []
        for of, items in groups.items():
            if len(items) < 2:
                continue
            items.sort(key=order_of)
            title = f"grad of {short(_tail(of.name), 26)}"
            box = self._bundle(items, title, f"gradient of {of.name}")
            self.folded_items -= len(items)
            nodes.append((items[0].order, box))
            gone = {item.key for item in items}
            loose[:] = [item for item in loose if item.key not in gone]
        return nodes

    def _cluster(self, scope: Scope, parent: int, prefix: str) -> int:
        index = len(self.clusters)
        level = 0
        if parent >= 0:
            level = self.clusters[parent].level + 1
            self.clusters[parent].children.append(index)
        label = short(scope.path[len(prefix) :], 48)
        tooltip_lines = [clean(scope.path[:2000]), _count(scope.total)]
        body = ""
        if scope.owner is not None:
            body = scope.owner.type
            label = ": ".join([label.removesuffix("()"), *scope.owner.notes[:1]])
            tooltip_lines = [tooltip(scope.owner.op)]
        if scope.count > 1:
            label = f"{label} ... {short(_tail(scope.last), 24)}: {scope.count:,} alike"
            tooltip_lines.append(
                f"drawn once for {scope.count:,}, up to {clean(scope.last[:2000])}"
            )
        self.clusters.append(
            Cluster(
                key=f"cluster_{index}",
                label=short(label, 96),
                tooltip="\n".join(tooltip_lines),
                level=level,
                parent=parent,
                path=scope.path,
                count=scope.count,
                body=body,
            )
        )
        return index

    def _single(self, item: Item, prefix: str) -> Node:
        self.place[item.key] = item.key
        op = item.op
        name = item.name
        if item.part == "backward" and op.forward_op is not None:
            subtitle = f"grad of {short(_tail(op.forward_op.name), 26)}"
        else:
            name = name[len(prefix) :] if name.startswith(prefix) else name
            subtitle = "" if name.lower() == op.type.lower() else short(name, 34)
        title = short(item.type, 34)
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
        count = 1 if self.repeats is None else self.repeats.count.get(item.key, 1)
        if count > 1:
            notes.append(f"{count:,} alike")
        ops = [] if item.copy else [op]
        text = tooltip(op)
        kind = item.part
        return Node(item.key, kind, title, subtitle, notes, text, ops=ops, count=count)

    def _closed(self, scope: Scope, prefix: str) -> Node:
        """A scope as one box; a body that is closed as what runs it."""
        items = items_of(scope)
        if scope.owner is not None:
            node = self._single(scope.owner, prefix)
            for item in items:
                self.place[item.key] = node.key
        elif len(items) == 1:
            node = self._single(items[0], prefix)
        else:
            self.folded_scopes += 1
            name = short(scope.path[len(prefix) :], 34)
            node = self._bundle(items, name, scope.path)
        if scope.count > 1:
            node.count = scope.count
            node.notes.insert(0, f"to {short(_tail(scope.last), 24)}")
            node.notes.insert(0, f"{scope.count:,} alike")
            node.tooltip += f"\ndrawn once for {scope.count:,}"
        return node

    def _runs(
        self,
        cluster: Cluster,
        bundles: Sequence[Item | Scope],
        runs: int,
        prefix: str,
    ) -> None:
        """Consecutive things as one box each; no box spans two parts."""
        segments: list[list[Item | Scope]] = []
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

    def _run(self, things: Sequence[Item | Scope], prefix: str) -> Node:
        if len(things) == 1:
            only = things[0]
            if isinstance(only, Item):
                return self._single(only, prefix)
            return self._closed(only, prefix)
        items: list[Item] = []
        for thing in things:
            items += items_of(thing) if isinstance(thing, Scope) else [thing]
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
        ops = [item.op for item in own]
        return Node(
            key, part, title, _count(len(own)), notes, text, folded=True, ops=ops
        )

    def _facts(self) -> list[str]:
        found = self.found
        facts = [_plural(found.operations, found.unit)]
        if self.folded_scopes:
            facts.append(_plural(self.folded_scopes, "scope") + " folded")
        elif self.folded_items:
            facts.append(f"{self.folded_items:,} drawn as runs")
        if self.repeats is not None and self.repeats.left_out:
            said = _plural(self.repeats.scopes + self.repeats.left_out, "like scope")
            facts.append(f"{said} drawn as {self.repeats.scopes:,}")
        if found.constants:
            facts.append(_plural(found.constants, "constant") + " inside their readers")
        if found.unread:
            said = _plural(found.unread, "constant")
            facts.append(f"{said} that nothing reads not drawn")
        if found.slots:
            facts.append(_plural(found.slots, "slot") + " named in updates")
        if found.initializers:
            facts.append(f"{found.initializers:,} of initialisers not drawn")
        if found.beyond_focus:
            facts.append(f"{found.beyond_focus:,} beyond the focus not drawn")
        if found.off_paths:
            facts.append(f"{found.off_paths:,} on no path not drawn")
        return facts


#: When it opens, its level, how many boxes it makes, and where it stands.
_Group = tuple[int, int, int, Order, list[Scope]]


def _alike(parent: Scope, level: int, first: set[str]) -> list[_Group]:
    """The scopes in ``parent`` in groups of one size, which open all or none:
    the layers of a network look alike in a picture too.  Those in ``first`` come
    before all others, each by itself."""
    groups: dict[tuple[int, int], list[Scope]] = {}
    found: list[_Group] = []
    for s in parent.children.values():
        if s.path in first:
            found.append((-1, level, s.members(), s.first, [s]))
        else:
            groups.setdefault((s.members(), s.total), []).append(s)
    for (members, _), scopes in groups.items():
        # At the same depth the forward part opens before the others.
        rank = level + (_part_of(scopes[0]) != "forward")
        found.append((rank, level, members * len(scopes), scopes[0].first, scopes))
    return found


def _name_of(thing: Item | Scope) -> str:
    return thing.name if isinstance(thing, Item) else thing.path


def _part_of(thing: Item | Scope) -> str:
    """The part of most of what ``thing`` computes; sources go with the forward."""
    if isinstance(thing, Item):
        return thing.part if thing.part in _COMPUTED else "forward"
    parts = Counter(i.part for i in items_of(thing) if i.part in _COMPUTED)
    return parts.most_common(1)[0][0] if parts else "forward"


def _first(pair: tuple[Order, Node]) -> Order:
    return pair[0]


# -- words ---------------------------------------------------------------------


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
