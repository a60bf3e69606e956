"""Name scopes as a tree, and scopes that repeat: drawn once, with their number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..graphlib.errors import GraphError
from .model import Item, Link, Order
from .theme import clean, short

__all__ = ["Repeats", "Scope", "forced", "items_of", "order_of", "tree"]

#: Fewer scopes than this that are alike are drawn one by one.
_MANY = 3
#: Levels of scopes in which repeated ones are looked for.
_LEVELS = 10
#: Operations without a scope: how long a period may be, how many operations must
#: repeat to be drawn once, and how often that is looked for in a scope.
_PERIOD = 48
_WORTH = 12
_STRETCHES = 4
_NUMBER = re.compile(r"_?[0-9]+")


class Scope:
    """A scope: its items, its scopes, and how many items lie in it.

    Attributes:
        path, first: its path and the order of its first item.
        owner: the loop, branch or call whose body this is.
        count, last: how many scopes this one stands for, and the path of the last.
    """

    __slots__ = (
        "children",
        "count",
        "first",
        "items",
        "last",
        "owner",
        "path",
        "total",
    )

    def __init__(self, path: str, first: Order) -> None:
        self.path = path
        self.first = first
        self.children: dict[str, Scope] = {}
        self.items: list[Item] = []
        self.total = 0
        self.owner: Item | None = None
        self.count = 1
        self.last = path

    def members(self) -> int:
        """How many boxes it holds when it is open and its scopes are not."""
        return len(self.children) + len(self.items)


def tree(items: Sequence[Item]) -> Scope:
    """The scopes that hold ``items``."""
    root = Scope("", (-1, 0))
    by_path = {"": root}
    owners = {item.opens: item for item in items if item.opens}
    held = {item.scope for item in items}
    shown = {
        path
        for path in owners
        if any(s == path or s.startswith(path + "/") for s in held)
    }
    for item in items:
        if item.opens in shown and item.opens:
            continue
        scope = by_path.get(item.scope)
        if scope is None:
            scope = _grow(root, item, by_path)
        scope.items.append(item)
    for path in shown:
        by_path[path].owner = owners[path]
        by_path[path].first = owners[path].order
    # Totals from the leaves up: children come after parents in this list.
    every = [root]
    for scope in every:
        every.extend(scope.children.values())
    for scope in reversed(every):
        scope.total = len(scope.items) + sum(s.total for s in scope.children.values())
    return root


def _grow(root: Scope, item: Item, by_path: dict[str, Scope]) -> Scope:
    scope = root
    at = 0
    while at < len(item.scope):
        end = item.scope.find("/", at)
        end = len(item.scope) if end < 0 else end
        name = item.scope[at:end]
        child = scope.children.get(name)
        if child is None:
            child = Scope(item.scope[:end], item.order)
            scope.children[name] = child
            if name.endswith("()"):
                by_path[child.path] = child
        scope = child
        at = end + 1
    by_path[item.scope] = scope
    return scope


def items_of(scope: Scope) -> list[Item]:
    """All items in a scope, with those whose bodies are in it, in order."""
    found: list[Item] = []
    stack = [scope]
    while stack:
        s = stack.pop()
        found += s.items
        if s.owner is not None:
            found.append(s.owner)
        stack.extend(s.children.values())
    return sorted(found, key=order_of)


def order_of(thing: Item | Scope) -> Order:
    """Where a thing stands among others."""
    return thing.order if isinstance(thing, Item) else thing.first


def forced(root: Scope, expand: Iterable[str], items: Sequence[Item]) -> set[str]:
    """The paths that must be open for ``expand``: scopes, or names of operations.

    Raises:
        GraphError: there is no such scope.
    """
    found: set[str] = set()
    bodies = {item.op.name: item.opens for item in reversed(items) if item.opens}
    for name in expand:
        wanted = bodies.get(str(name)) or str(name).strip("/")
        scope = root
        at = 0
        while at < len(wanted):
            end = wanted.find("/", at)
            end = len(wanted) if end < 0 else end
            part = wanted[at:end]
            child = scope.children.get(part) or scope.children.get(part + "()")
            if child is None:
                known = ", ".join(repr(short(s, 40)) for s in list(scope.children)[:8])
                where = repr(short(scope.path, 80)) if scope.path else "the graph"
                raise GraphError(
                    f"expand: {clean(wanted)!r} cannot be opened: {where} has "
                    f"{'the scopes ' + known if known else 'no scopes'}"
                )
            scope = child
            found.add(scope.path)
            at = end + 1
    return found


class Repeats:
    """Scopes of one kind, of which only the first stays in the tree; then operations
    of one kind that read nothing but such.

    ``root`` is changed.  Attributes:

        twin: keys of items that are not drawn -> that which is drawn for them.
        scopes: how many scopes are drawn once for several; ``left_out``: how many
            are not drawn.
        count: keys of single items that are drawn for several -> how many.
    """

    def __init__(self, root: Scope, keep: set[str], links: Sequence[Link]) -> None:
        self.twin: dict[str, str] = {}
        self.scopes = 0
        self.left_out = 0
        self.count: dict[str, int] = {}
        self._groups = 0
        self._reads: dict[str, list[tuple[int, str]]] = {}
        self._readers: dict[str, list[tuple[int, str]]] = {}
        for link in links:
            if not link.again:
                tail, head = link.tail.key, link.head.key
                self._reads.setdefault(head, []).append((link.index, tail))
                self._readers.setdefault(tail, []).append((link.index, head))
        #: (group, number in it) of an item, outermost first.
        self._member: dict[str, list[tuple[int, int]]] = {}
        stack = [(root, 0)]
        while stack:
            scope, level = stack.pop()
            if level <= _LEVELS:
                self._group(scope, keep)
                self._rhythm(scope)
                stack += [(s, level + 1) for s in scope.children.values()]
        if self.twin:
            self._group_items(root)
        _count(root)

    def _group(self, parent: Scope, keep: set[str]) -> None:
        """Keep one of the scopes in ``parent`` that hold the same and whose names are
        a series: ``layer1``, ``layer2``."""
        series: dict[str, list[tuple[str, Scope]]] = {}
        for name, s in parent.children.items():
            if s.path not in keep:
                series.setdefault(_NUMBER.sub("", name), []).append((name, s))
        for named in series.values():
            if len(named) < _MANY:
                continue
            alike: dict[object, list[tuple[str, Scope]]] = {}
            for name, s in named:
                alike.setdefault(_signature(s), []).append((name, s))
            for group in alike.values():
                if len(group) >= _MANY:
                    self._draw_once(parent, group)

    def _rhythm(self, parent: Scope) -> None:
        """Loose operations that come again in the same order, as scopes of their own:
        the layers of a program that names no scopes."""
        for _ in range(_STRETCHES):
            loose = [item for item in parent.items if not item.copy]
            loose.sort(key=order_of)
            kinds: dict[object, int] = {}
            places = [kinds.setdefault(_kind(item), len(kinds)) for item in loose]
            start, period, count = _stretch(places)
            if count < _MANY or period * count < _WORTH:
                return
            copies: dict[str, list[Item]] = {}
            for item in parent.items:
                if item.beside is not None:
                    copies.setdefault(item.beside.key, []).append(item)
            alike: dict[object, list[tuple[str, Scope]]] = {}
            for k in range(count):
                begin = start + k * period
                items = loose[begin : begin + period]
                s = _gathered(parent, items, copies)
                alike.setdefault(_signature(s), []).append((f"{s.path}~{k}", s))
            group = max(alike.values(), key=len)
            if len(group) < _MANY:
                return
            first = group[0][1]
            while any(s.path == first.path for s in parent.children.values()):
                first.path += "'"
            taken = {item.key for _, s in group for item in s.items}
            parent.items = [item for item in parent.items if item.key not in taken]
            parent.children.update(group)
            self._draw_once(parent, group)

    def _draw_once(self, parent: Scope, group: list[tuple[str, Scope]]) -> None:
        self.scopes += 1
        self._groups += 1
        self.left_out += len(group) - 1
        first = group[0][1]
        first.count = len(group)
        first.last = group[-1][1].path
        drawn = items_of(first)
        for number, (name, s) in enumerate(group):
            place = (self._groups, number)
            if number:
                del parent.children[name]
            for item, one in zip(items_of(s), drawn):
                self._member.setdefault(item.key, []).append(place)
                if number:
                    self.twin[item.key] = one.key

    def _group_items(self, root: Scope) -> None:
        """Group loose items that do the same to what is drawn once."""
        homes: list[tuple[Item, Scope]] = []
        every = [root]
        for scope in every:
            every.extend(scope.children.values())
            homes += [(item, scope) for item in scope.items if not item.copy]
        homes.sort(key=lambda home: home[0].order)
        kinds: dict[object, str] = {}
        kind: dict[str, str] = {}
        alike: dict[str, list[tuple[Item, Scope]]] = {}
        for item, scope in homes:
            reads = [
                (i, kind.get(self.drawn(k), self.drawn(k)))
                for i, k in self._reads.get(item.key, ())
            ]
            readers: list[tuple[int, str]] = []
            if not reads:
                # What is stored is alike where its readers are.
                found = self._readers.get(item.key, ())
                if not found or any(k not in self._member for _, k in found):
                    continue
                readers = [(i, self.drawn(k)) for i, k in found]
            same = (
                scope.path,
                item.type,
                item.part,
                item.opens,
                _specs(item),
                tuple(sorted(reads)),
                tuple(sorted(readers)),
            )
            kind[item.key] = kinds.setdefault(same, item.key)
            alike.setdefault(kind[item.key], []).append((item, scope))
        for group in alike.values():
            if len(group) >= _MANY:
                self._draw_item_once(group)

    def _draw_item_once(self, group: list[tuple[Item, Scope]]) -> None:
        self._groups += 1
        first, scope = group[0]
        self.count[first.key] = len(group)
        gone = {item.key for item, _ in group[1:]}
        scope.items = [item for item in scope.items if item.key not in gone]
        for number, (item, _) in enumerate(group):
            self._member.setdefault(item.key, []).append((self._groups, number))
            if number:
                self.twin[item.key] = first.key

    def drawn(self, key: str) -> str:
        """The key of the item that is drawn for one."""
        while key in self.twin:
            key = self.twin[key]
        return key

    def link(self, link: Link) -> str | None:
        """None for a link that the drawn scopes show already; else what is said of
        it: where it goes to another one of the same kind, or what it said itself."""
        tails, heads = self._places(link.tail.key), self._places(link.head.key)
        for a, b in zip(tails, heads):
            if a == b:
                if a[1]:
                    return None
                continue
            if a[0] == b[0]:
                return "to the next" if b[1] == a[1] + 1 else "to another"
            if link.tail.part == link.head.part and b[1] == a[1] + 1:
                # From what follows one scope to the next scope.
                return "to the next"
            break
        return link.again

    def _places(self, key: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        while True:
            own = self._member.get(key, [])
            found += own[len(found) :] if found else own
            if key not in self.twin:
                return found
            key = self.twin[key]


def _kind(item: Item) -> object:
    return item.type, item.part, bool(item.opens), _specs(item)


def _stretch(kinds: Sequence[int]) -> tuple[int, int, int]:
    """(start, period, times) of the longest stretch that repeats itself."""
    best = (0, 1, 0)
    longest = 0
    for period in range(1, min(_PERIOD, len(kinds) // _MANY) + 1):
        same = 0
        for i in range(period, len(kinds) + 1):
            if i < len(kinds) and kinds[i] == kinds[i - period]:
                same += 1
                continue
            times = same // period + 1
            if times >= _MANY and times * period > longest:
                longest = times * period
                best = (i - same - period, period, times)
            same = 0
    return best


def _gathered(
    parent: Scope, items: Sequence[Item], copies: dict[str, list[Item]]
) -> Scope:
    """A scope for loose items of ``parent``, with their copies."""
    first, last = (item.name.rpartition("/")[2] for item in (items[0], items[-1]))
    name = first if first == last else f"{first} to {last}"
    scope = Scope(f"{parent.path}/{name}".lstrip("/"), items[0].order)
    scope.items = [*items, *(c for item in items for c in copies.get(item.key, ()))]
    scope.items.sort(key=order_of)
    scope.total = len(scope.items)
    return scope


def _signature(scope: Scope) -> object:
    """Equal for scopes with the same operations, shapes and edges inside."""
    items = items_of(scope)
    place = {item.op: n for n, item in enumerate(items) if not item.copy}
    return tuple(
        (
            item.type,
            item.part,
            item.copy,
            bool(item.opens),
            _specs(item),
            tuple(place.get(t.op, -1) for t in item.op.inputs),
        )
        for item in items
    )


def _specs(item: Item) -> tuple[object, ...]:
    return tuple((t.dtype, t.dims) for t in item.op.outputs)


def _count(root: Scope) -> None:
    every = [root]
    for scope in every:
        every.extend(scope.children.values())
    for scope in reversed(every):
        scope.total = len(scope.items) + sum(s.total for s in scope.children.values())
