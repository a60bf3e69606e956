"""What a picture of a graph shows: items, notes inside them, and links.

This step knows operations and their roles; :mod:`.fold` then fits the items to a
number of nodes.  The way of a picture:

- :func:`collect` gives :class:`Items`: an :class:`Item` is one operation, or a copy
  of a constant or a variable that stands beside its reader, so that no long edge
  crosses the picture; a :class:`Link` is a tensor or a control dependency between
  two.  An item has a scope, a path of names with slashes; a loop, a branch or a call
  whose body is shown has the scope ``opens`` with the items of the body.
- :func:`.fold.fold` gives a :class:`~.fold.Picture`: nodes, edges and clusters, as
  plain data, no more than the budget allows.  Each node names the operations that it
  stands for (``ops``).
- An overlay is a function of a picture and a theme that sets ``fill`` of nodes and
  appends to their ``notes``, and returns the rows of its legend
  (:mod:`.overlay` has those there are, and ``numbers`` and ``classes`` to make one).
- :mod:`.dot` writes the picture as Graphviz source, :mod:`.svg` lays it out.  A panel
  beside it (a timeline, a table) is an SVG of its own; ``svg.stack`` puts several on
  one sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graphlib.dtypes import DType
from ..graphlib.errors import GraphError
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation, input_names
from ..graphlib.shapes import Dims
from ..graphlib.subgraph import BODY_INPUT, BODY_VARIABLE, Body, bodies_of
from ..graphlib.tensor import Tensor
from .bodies import body_note, entries, exits, rounds
from .facts import constant_text
from .parts import (
    classify,
    dependents_of,
    gradient_scopes,
    home_scope,
    is_frozen_read,
    top_of,
    unread_constants,
)
from .targets import elements, select
from .theme import short
from .views import narrow, two_sides

__all__ = ["Item", "Items", "Link", "Value", "classify", "collect", "constant_text"]
__all__ += ["select"]

# Sizes of tensors: in the backward part they are shown inside their readers.
_SIZES = {"Rank": "rank", "ReducedSize": "size", "Shape": "shape", "Size": "size"}
_MAX_NOTES = 4
# A variable that more read than this is named in updates, not linked to them.
_SHARED = 3
# Bodies in bodies in bodies: deeper ones stay closed.
_DEEPEST = 12

#: Where an item stands among others; what is inside comes after what is around.
Order = tuple[int, ...]


class Item:
    """One thing to draw."""

    __slots__ = (
        "beside",
        "key",
        "name",
        "notes",
        "op",
        "opens",
        "order",
        "part",
        "scope",
        "type",
    )

    def __init__(
        self,
        key: str,
        op: Operation,
        part: str,
        scope: str,
        order: Order,
        beside: Item | None,
    ) -> None:
        self.key = key
        self.op = op
        self.part = part
        self.scope = scope
        #: The operation's; in a body as if the body were a scope.
        self.name = op.name
        #: Before the items of younger operations; a copy before its reader.
        self.order = order
        #: The reader that it is a copy for, if it is a copy.
        self.beside = beside
        self.notes: list[str] = []
        #: The scope that holds what it runs, where that may be shown; else "".
        self.opens = ""
        #: What it is called: the op type, unless a plan made it of several.
        self.type = op.type

    @property
    def copy(self) -> bool:
        """Whether it is a copy that stands beside its reader."""
        return self.beside is not None


@dataclass(frozen=True)
class Value:
    """What flows along a link where that is no tensor of the graph: of a plan."""

    op: Operation
    index: int
    dtype: DType
    dims: Dims


class Link:
    """An edge between items: a tensor, or a control dependency (no tensor).

    ``index`` says which input of the head it is.
    """

    __slots__ = ("again", "head", "index", "tail", "tensor", "weak")

    def __init__(
        self,
        tail: Item,
        head: Item,
        tensor: Tensor | Value | None,
        weak: bool = False,
        index: int = -1,
        again: str = "",
    ) -> None:
        self.tail = tail
        self.head = head
        self.tensor = tensor
        #: A value of the forward part that the backward part reads.
        self.weak = weak
        self.index = index
        #: Why it goes back to where things began: "to the next round"; else "".
        self.again = again


@dataclass
class Items:
    """All items and links of a picture, and what was left out."""

    graph: Graph
    items: list[Item]
    links: list[Link]
    operations: int
    constants: int = 0
    unread: int = 0
    slots: int = 0
    initializers: int = 0
    beyond_focus: int = 0
    off_paths: int = 0
    #: What is counted: operations, or steps of a plan.
    unit: str = "operation"
    targets: set[Operation] = field(default_factory=set)


# -- items and links -----------------------------------------------------------


def collect(
    target: Any,
    *,
    show_constants: bool = False,
    show_initializers: bool | None = None,
    focus: Any = None,
    hops: int = 2,
    between: Any = None,
    expand: Any = (),
    inside: int = 200,
) -> Items:
    """The items and links of ``target`` (a graph, or tensors and what they need).

    Args:
        target: a Graph, or tensors, operations and variables.
        show_constants: draw constants as nodes beside their readers, not as a
            line of text inside them.
        show_initializers: draw what only initialisers need (default: where
            ``target`` or ``focus`` names an initialiser).
        focus: an element, its name, or a list of them: draw only what lies
            within ``hops`` of it.
        hops: how far to go from ``focus``.
        between: ``(xs, ys)``: draw only what lies on a way from an x to a y.
        expand: names of operations whose bodies are shown in any case.
        inside: how many operations the bodies that are shown may have in all.

    Raises:
        GraphError, MissingNameError: an element of no or of another graph.
    """
    graph, ops, asked = select(target)
    part = classify(graph, ops)
    chosen = elements(graph, focus)
    ends = two_sides(graph, between)
    asked = asked | {e for side in (chosen, *ends) for e in side}
    if show_initializers is None:
        show_initializers = any(part.get(op) == "initializer" for op in asked)
    wanted = _Wanted(asked, show_constants, show_initializers, set(expand), inside)
    if not show_constants:
        wanted.unread = unread_constants(ops, part) - asked
    made = Items(graph, [], [], operations=len(ops), targets=asked)
    maker = _Maker(made, wanted, graph, ops, part)
    maker.make()
    made.constants, made.unread = len(wanted.constants), len(wanted.unread)
    _drop_named(made, wanted)
    narrow(made, wanted.home, chosen, hops, ends)
    made.items.sort(key=lambda item: item.order)
    return made


def _drop_named(made: Items, wanted: _Wanted) -> None:
    """Leave out variables that are only named in their readers: slots."""
    linked = {link.tail.key for link in made.links}
    linked |= {link.head.key for link in made.links}
    gone = {
        key
        for key, op in wanted.named.items()
        if key not in linked and op not in wanted.asked
    }
    made.items = [item for item in made.items if item.key not in gone]
    made.slots = len(gone)


class _Wanted:
    """What was asked for, and what is known of the whole picture while it is made."""

    def __init__(
        self,
        asked: set[Operation],
        show_constants: bool,
        show_initializers: bool,
        expand: set[str],
        inside: int,
    ) -> None:
        self.asked = asked
        self.show_constants = show_constants
        self.show_initializers = show_initializers
        self.expand = expand
        #: How many more operations of bodies may be shown.
        self.room = inside
        self.constants: set[Operation] = set()
        self.unread: set[Operation] = set()
        #: Variables that an update names in a note, by their keys, in order.
        self.named: dict[str, Operation] = {}
        self.makers: list[_Maker] = []

    def home(self, op: Operation) -> str:
        """The key of the item that shows ``op``, or of its first reader's."""
        for maker in self.makers:
            if maker.graph is op.graph:
                return maker.home(op)
        raise GraphError(f"{op.describe()} is not part of what is drawn")

    def opens(
        self, op: Operation, bodies: Sequence[Body], depth: int, plain: bool
    ) -> bool:
        """Whether to show the bodies of ``op``: of the forward part, or as asked."""
        if op.name in self.expand:
            return True
        size = sum(len(body.operations()) for body in bodies)
        if not plain or depth >= _DEEPEST or size > self.room:
            return False
        self.room -= size
        return True


class _Maker:
    """Makes the items and links of one graph: of the whole, or of a body in it."""

    def __init__(
        self,
        made: Items,
        wanted: _Wanted,
        graph: Graph,
        ops: Sequence[Operation],
        part: Mapping[Operation, str],
        owner: Item | None = None,
        outer: _Maker | None = None,
        scope: str = "",
    ) -> None:
        self.made, self.wanted = made, wanted
        self.graph = graph
        self.ops = ops
        self.part = part
        self.owner, self.outer = owner, outer
        self.around = scope
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.dependents = dependents_of(ops)
        self.gradient_scopes = gradient_scopes(ops)
        self.own: dict[Operation, Item] = {}
        #: In a body: inputs of it that stand for a tensor around it.
        self.given: dict[Tensor, Tensor] = {}
        #: Loops, branches and calls that are made again to keep values for a gradient
        #: -> the first of them, which is drawn for both.
        self.again = _made_again(ops)
        #: The makers of the bodies of an operation.
        self.inner: dict[Operation, list[_Maker]] = {}
        self.outputs: Sequence[Tensor | None] = ()
        wanted.makers.append(self)

    def make(self) -> None:
        """Items for operations that stand alone, then links, copies and notes."""
        self._items()
        makers = [self]
        for maker in makers:
            for inner in maker.inner.values():
                makers += inner
        for maker in makers:
            for head in list(maker.own.values()):
                maker._connect(head)

    def _items(self) -> None:
        for op in self.ops:
            initial = self.part[op] == "initializer"
            if initial and not self.wanted.show_initializers:
                self.made.initializers += 1
            elif op in self.wanted.unread or any(t in self.given for t in op.outputs):
                continue
            elif not self._inside_readers(op) and self._stored(op) is None:
                self.own[op] = self._item(op)
        for op, item in self.own.items():
            bodies = bodies_of(op)
            plain = self.part[op] != "backward"
            if bodies and self.wanted.opens(op, bodies, self.depth, plain):
                self._open(item, bodies)

    def _open(self, item: Item, bodies: Sequence[Body]) -> None:
        """Items for the bodies of a loop, a branch or a call, in a scope of its own."""
        op = item.op
        item.opens = f"{item.scope}/{op.name.rpartition('/')[2]}()".lstrip("/")
        self.inner[op] = []
        for number, body in enumerate(bodies):
            name = body.graph.what.rpartition(", ")[2] if len(bodies) > 1 else ""
            ops = body.operations()
            part = classify(body.graph, ops)
            if item.part != "forward":
                part.update({o: item.part for o, p in part.items() if p == "forward"})
            maker = _Maker(
                self.made,
                self.wanted,
                body.graph,
                ops,
                part,
                item,
                self,
                f"{item.opens}/{name or number}" if len(bodies) > 1 else item.opens,
            )
            maker.outputs = body.outputs
            for index, t in entries(op, number):
                if not rounds(op, index):
                    maker.given[t] = op.inputs[index]
            self.inner[op].append(maker)
            maker._items()

    def home(self, op: Operation) -> str:
        """The key of the item that shows ``op``, or of its first reader's."""
        seen: set[Operation] = set()
        while op not in self.own and op not in seen:
            seen.add(op)
            stored = self._stored(op)
            if stored is not None:
                op = stored
            elif self.dependents.get(op):
                op = self.dependents[op][0]
        if op not in self.own:
            raise GraphError(f"{op.describe()} is not part of what is drawn")
        return self.own[op].key

    # -- what is not drawn on its own ------------------------------------------

    def _inside_readers(self, op: Operation) -> bool:
        """Whether ``op`` is shown inside or beside those that read it."""
        if op in self.wanted.asked or not self.dependents[op]:
            return False
        if self.part[op] == "constant":
            return True
        if op.control_inputs:
            return False
        if self.part[op] == "backward" and op.type in _SIZES:
            return all(self.part[r] == "backward" for r in self.dependents[op])
        return False

    def _stored(self, op: Operation) -> Operation | None:
        """What is drawn for ``op``: the variable (or what it was frozen to) of which it
        is the plain read, or the same loop without what it keeps; else None."""
        if op in self.wanted.asked:
            return None
        if op in self.again:
            return self.again[op]
        if op.type != "Identity" or op.control_inputs:
            return None
        source = op.inputs[0].op
        if is_frozen_read(op) and self.dependents[op]:
            return source
        if source.opdef.effect != "variable":
            return None
        if source.opdef is BODY_VARIABLE or op.name.startswith(source.name + "/"):
            return source
        return None

    # -- items -----------------------------------------------------------------

    def _item(self, op: Operation, beside: Item | None = None, copy: int = 0) -> Item:
        if beside is not None:
            key, scope = f"{beside.key}_{copy}", beside.scope
            order: Order = (*beside.order[:-1], beside.order[-1] - copy)
        elif self.owner is not None:
            number = len(self.outer.inner[self.owner.op]) if self.outer else 0
            key = f"{self.owner.key}b{number}_{op.id}"
            scope = self._scope(op)
            order = (*self.owner.order, number, op.id, 0)
        else:
            key, scope, order = f"op{op.id}", self._scope(op), (op.id, 0)
        item = Item(key, op, self.part[op], scope, order, beside)
        if self.owner is not None and beside is None:
            item.name = f"{scope}/{op.name.rpartition('/')[2]}"
        self.made.items.append(item)
        return item

    def _scope(self, op: Operation) -> str:
        """Where it stands: in a body as if the body were a scope."""
        scope = home_scope(op, self.gradient_scopes)
        if self.owner is None:
            return scope
        start = top_of(self.graph)
        inner = f"{scope}/"[len(start) :] if f"{scope}/".startswith(start) else scope
        return f"{self.around}/{inner}".rstrip("/")

    # -- links -----------------------------------------------------------------

    def _connect(self, head: Item) -> None:
        """Links, notes and copies for everything that ``head`` reads."""
        op = head.op
        names = input_names(op.opdef, len(op.inputs))
        runs = body_note(op)
        if runs is not None:
            head.notes.append(runs)
        if op in self.inner:
            self._connect_bodies(head, names)
        else:
            for index, t in enumerate(op.inputs):
                self._read(head, index, names[index], t)
        for c in op.control_inputs:
            tail = self.own.get(self._stored(c) or c)
            if tail is not None:
                self.made.links.append(Link(tail, head, None))

    def _connect_bodies(self, head: Item, names: Sequence[str]) -> None:
        """Links into the bodies: to what goes round, else to the operation itself."""
        op = head.op
        passed: set[int] = set()
        for number, maker in enumerate(self.inner[op]):
            for index, t in entries(op, number):
                passed.add(index)
                item = maker.own.get(t.op)
                if item is not None and rounds(op, index):
                    self._read(item, 0, "start", op.inputs[index])
            for inner, out in exits(op):
                # What a round makes, the next one begins with.
                start = maker.own.get(inner.op)
                if start is not None:
                    self.made.links += [
                        Link(end, start, out, again="to the next round")
                        for end in maker.tails(out)
                    ]
        for index, t in enumerate(op.inputs):
            if index not in passed:
                self._read(head, index, names[index], t)

    def _read(self, head: Item, index: int, name: str, t: Tensor) -> None:
        note = self._note(head, index, name, t)
        if note is None:
            return
        if len(head.notes) < _MAX_NOTES:
            head.notes.append(note)
        else:
            *first, last = head.notes
            count = int(last.split()[1]) if last.startswith("and ") else 1
            head.notes[:] = [*first, f"and {count + 1} more"]

    def _note(self, head: Item, index: int, name: str, t: Tensor) -> str | None:
        """Link input ``index`` of ``head``, or return the text that stands for it."""
        source = self._stored(t.op) or t.op
        if self.outer is not None and source.outputs[0] in self.given:
            return self.outer._note(head, index, name, self.given[source.outputs[0]])
        if source not in self.part:
            return None
        if source in self.inner:
            tails = self.tails(t)
            for tail in tails or [self.own[source]]:
                self._link(tail, head, t, index)
            return None
        if source not in self.own:
            return self._inside(head, index, name, t)
        tail = self.own[source]
        if tail.part == "variable":
            updated = index in head.op.opdef.updates
            shared = head.part == "update" and len(self._readers(source)) > _SHARED
            if shared or (updated and (index or self._is_read(source))):
                self.wanted.named[tail.key] = source
                return f"{name}: {short(source.name, 28)}"
            if head.part == "backward" and self._is_read(source):
                tail = self._item(source, head, index + 1)
        self._link(tail, head, t, index)
        return None

    def _link(self, tail: Item, head: Item, t: Tensor, index: int) -> None:
        weak = head.part == "backward" and tail.part in ("forward", "input")
        weak = weak and tail.op.opdef is not BODY_INPUT
        self.made.links.append(Link(tail, head, t, weak, index))

    def tails(self, t: Tensor) -> list[Item]:
        """The items that make ``t``: in bodies that are shown, those that end them."""
        found: list[Item] = []
        stack: list[tuple[_Maker, Tensor]] = [(self, t)]
        while stack:
            maker, t = stack.pop()
            source = maker._stored(t.op) or t.op
            if maker.outer is not None and source.outputs[0] in maker.given:
                stack.append((maker.outer, maker.given[source.outputs[0]]))
                continue
            ends = [
                (inner, end)
                for number, inner in enumerate(maker.inner.get(source, ()))
                for end in _ends(t, bodies_of(t.op)[number])
            ]
            if ends:
                stack += reversed(ends)
            elif source in maker.own:
                found.append(maker.own[source])
        return list(dict.fromkeys(found))

    def _readers(self, variable: Operation) -> list[Operation]:
        """What reads ``variable``, itself or by a plain read of it."""
        found: list[Operation] = []
        for reader in self.dependents[variable]:
            plain = self._stored(reader) is not None
            found += self.dependents[reader] if plain else [reader]
        return found

    def _is_read(self, variable: Operation) -> bool:
        """Whether the forward part reads ``variable``."""
        return any(self.part[r] == "forward" for r in self._readers(variable))

    def _inside(self, head: Item, index: int, name: str, t: Tensor) -> str | None:
        source = self._stored(t.op) or t.op
        if self.part[source] == "constant":
            if self.wanted.show_constants:
                tail = self._item(source, head, index + 1)
                self.made.links.append(Link(tail, head, t, index=index))
                return None
            self.wanted.constants.add(source)
            return f"{name} = {constant_text(source)}"
        if source.type in _SIZES:
            of = source.inputs[0].op.name
            return f"{name}: {_SIZES[source.type]} of {short(of, 24)}"
        return None


def _ends(t: Tensor, body: Body) -> list[Tensor]:
    """What ``body`` makes for ``t``, an output of the operation that runs it."""
    op = t.op
    index = t.index
    if op.opdef.control == "loop":
        carries = op.attrs["carries"]
        index -= 1
        if index >= carries:  # a stack: the last outputs of both
            index = len(body.outputs) - (len(op.outputs) - t.index)
            if index < carries:
                return []
    end = body.outputs[index] if index >= 0 else None
    return [] if end is None else [end]


def _made_again(ops: Sequence[Operation]) -> dict[Operation, Operation]:
    """Operations with the inputs and the body graphs of an older one -> that."""
    first: dict[Any, Operation] = {}
    found: dict[Operation, Operation] = {}
    for op in ops:
        bodies = bodies_of(op)
        if bodies:
            same = (op.type, op.inputs, *(body.graph for body in bodies))
            older = first.setdefault(same, op)
            if older is not op:
                found[op] = older
    return found
