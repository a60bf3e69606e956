"""What a picture of a graph shows: items, notes inside them, and edges.

This step knows operations and their roles; :mod:`.fold` then fits the items to a
number of nodes.  An item is one operation, or a copy of a constant or a variable
that stands beside its reader, so that no long edge crosses the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graphlib.errors import GraphError
from ..graphlib.export import summary
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation, input_names
from ..graphlib.tensor import Tensor
from ..graphlib.traversal import ancestors
from .bodies import body_facts, body_note
from .theme import clean, short, spec_text

__all__ = ["Item", "Items", "Link", "classify", "collect", "constant_text", "select"]

# Sizes of tensors: in the backward part they are shown inside their readers.
_SIZES = {"Rank": "rank", "ReducedSize": "size", "Shape": "shape", "Size": "size"}
_MAX_NOTES = 4


class Item:
    """One thing to draw."""

    __slots__ = ("copy", "key", "notes", "op", "order", "part", "scope")

    def __init__(
        self,
        key: str,
        op: Operation,
        part: str,
        scope: str,
        order: tuple[int, int],
        copy: bool,
    ) -> None:
        self.key = key
        self.op = op
        self.part = part
        self.scope = scope
        #: Before the items of younger operations; a copy before its reader.
        self.order = order
        #: Whether it is a copy that stands beside its reader.
        self.copy = copy
        self.notes: list[str] = []


class Link:
    """An edge between items: a tensor, or a control dependency (no tensor)."""

    __slots__ = ("head", "tail", "tensor", "weak")

    def __init__(
        self, tail: Item, head: Item, tensor: Tensor | None, weak: bool = False
    ) -> None:
        self.tail = tail
        self.head = head
        self.tensor = tensor
        #: A value of the forward part that the backward part reads.
        self.weak = weak


@dataclass
class Items:
    """All items and links of a picture, and what was left out."""

    graph: Graph
    items: list[Item]
    links: list[Link]
    operations: int
    constants: int = 0
    initializers: int = 0
    beyond_focus: int = 0
    targets: set[Operation] = field(default_factory=set)


# -- which operations ----------------------------------------------------------


def select(target: Any) -> tuple[Graph, list[Operation], set[Operation]]:
    """The graph, the operations to draw in order, and those asked for by name.

    Raises:
        GraphError: no tensors, or tensors of several graphs.
    """
    if isinstance(target, Graph):
        return target, list(target.operations), set()
    flat = list(_flatten(target))
    if not flat:
        raise GraphError("nothing to draw: give a graph, tensors or operations")
    graph = flat[0].graph
    asked = {_operation(graph, e) for e in flat}
    return graph, ancestors(asked), asked


def _flatten(target: Any) -> Iterable[Any]:
    stack = [target]
    while stack:
        value = stack.pop()
        if isinstance(value, (list, tuple)):
            stack.extend(reversed(value))
        elif value is not None:
            if not hasattr(value, "graph"):
                raise GraphError(
                    f"{value!r} cannot be drawn: give a graph, tensors, operations "
                    "or variables"
                )
            yield value


def _operation(graph: Graph, element: Any) -> Operation:
    found = graph.as_graph_element(element)
    return found.op if isinstance(found, Tensor) else found


# -- roles ---------------------------------------------------------------------


def _dependents(ops: Sequence[Operation]) -> dict[Operation, list[Operation]]:
    found: dict[Operation, list[Operation]] = {op: [] for op in ops}
    for op in ops:
        for t in op.inputs:
            if t.op in found:
                found[t.op].append(op)
        for c in op.control_inputs:
            if c in found:
                found[c].append(op)
    return found


def classify(graph: Graph, ops: Sequence[Operation]) -> dict[Operation, str]:
    """The part of the graph that each operation belongs to.

    ``input``, ``variable`` and ``constant`` follow from the op.  ``backward`` is
    what ``gradients`` made; ``initializer`` is what only initialisers need, with
    them; ``update`` changes variables, or lies between the gradients and such
    changes; the rest is ``forward``.
    """
    dependents = _dependents(ops)
    starts = {v.initializer for v in graph._variables.values()}
    scopes = _gradient_scopes(ops)
    part: dict[Operation, str] = {}
    after_gradients: set[Operation] = set()
    for op in ops:
        effect = op.opdef.effect
        needs = [t.op for t in op.inputs] + list(op.control_inputs)
        if effect in ("input", "variable", "constant"):
            part[op] = effect
        elif op in starts or (
            not op.outputs
            and op.control_inputs
            and all(part.get(c) == "initializer" for c in op.control_inputs)
        ):
            part[op] = "initializer"
        elif op.forward_op is not None or _scope_in(op.name, scopes):
            part[op] = "backward"
            after_gradients.add(op)
        elif effect in ("assign", "update"):
            part[op] = "update"
            after_gradients.add(op)
        elif not op.outputs and any(part.get(n) == "update" for n in needs):
            part[op] = "update"
        else:
            part[op] = "forward"
            if any(n in after_gradients for n in needs):
                after_gradients.add(op)
    for op in reversed(ops):
        if part[op] not in ("forward", "constant"):
            continue
        readers = dependents[op]
        if readers and all(part[r] == "initializer" for r in readers):
            part[op] = "initializer"
        elif (
            part[op] == "forward"
            and op in after_gradients
            and readers
            and all(part[r] == "update" for r in readers)
        ):
            part[op] = "update"
    return part


def _gradient_scopes(ops: Sequence[Operation]) -> set[str]:
    """The scopes of calls of ``gradients``, read off the nodes that they made."""
    found: set[str] = set()
    for op in ops:
        if op.forward_op is not None:
            scope, match, _ = op.name.partition(f"{op.forward_op.name}_grad/")
            if match and scope.endswith("/"):
                found.add(scope)
    return found


def _scope_in(name: str, scopes: set[str]) -> str:
    """The shortest of ``scopes`` that ``name`` lies in, or "" for none."""
    if not scopes:
        return ""
    end = name.find("/")
    while end >= 0:
        if name[: end + 1] in scopes:
            return name[: end + 1]
        end = name.find("/", end + 1)
    return ""


# -- items and links -----------------------------------------------------------


def collect(
    target: Any,
    *,
    show_constants: bool = False,
    show_initializers: bool | None = None,
    focus: Any = None,
    hops: int = 2,
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

    Raises:
        GraphError, MissingNameError: an element of no or of another graph.
    """
    graph, ops, asked = select(target)
    part = classify(graph, ops)
    if focus is not None:
        many = focus if isinstance(focus, (list, tuple)) else [focus]
        asked = asked | {_operation(graph, f) for f in many}
    if show_initializers is None:
        show_initializers = any(part.get(op) == "initializer" for op in asked)
    maker = _Maker(graph, ops, part, asked, show_constants, show_initializers)
    found = maker.make()
    if focus is not None:
        near = {_operation(graph, f) for f in many}
        _focus(found, {maker.home(op) for op in near}, hops)
    return found


class _Maker:
    """Makes the items and links of one picture."""

    def __init__(
        self,
        graph: Graph,
        ops: Sequence[Operation],
        part: Mapping[Operation, str],
        asked: set[Operation],
        show_constants: bool,
        show_initializers: bool,
    ) -> None:
        self.graph = graph
        self.ops = ops
        self.part = part
        self.asked = asked
        self.show_constants = show_constants
        self.show_initializers = show_initializers
        self.dependents = _dependents(ops)
        self.gradient_scopes = _gradient_scopes(ops)
        self.own: dict[Operation, Item] = {}
        self.items: list[Item] = []
        self.links: list[Link] = []
        self.constants: set[Operation] = set()
        # Variables that an update names in a note, in order.
        self.named: dict[Operation, None] = {}

    def make(self) -> Items:
        """Items for operations that stand alone, then links, copies and notes."""
        hidden = 0
        for op in self.ops:
            if self.part[op] == "initializer" and not self.show_initializers:
                hidden += 1
            elif not self._inside_readers(op) and self._stored(op) is None:
                self.own[op] = self._item(op)
        for head in list(self.own.values()):
            self._connect(head)
        self._drop_named()
        self.items.sort(key=lambda item: item.order)
        return Items(
            self.graph,
            self.items,
            self.links,
            operations=len(self.ops),
            constants=len(self.constants),
            initializers=hidden,
            targets=self.asked,
        )

    def _drop_named(self) -> None:
        """Leave out variables that are only named in their readers: slots."""
        linked = {link.tail.key for link in self.links}
        linked |= {link.head.key for link in self.links}
        gone = {
            self.own[op].key
            for op in self.named
            if self.own[op].key not in linked and op not in self.asked
        }
        self.items = [item for item in self.items if item.key not in gone]

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
        if op in self.asked or not self.dependents[op]:
            return False
        if self.part[op] == "constant":
            return True
        if op.control_inputs:
            return False
        if self.part[op] == "backward" and op.type in _SIZES:
            return all(self.part[r] == "backward" for r in self.dependents[op])
        return False

    def _stored(self, op: Operation) -> Operation | None:
        """The variable of which ``op`` is the plain read, else None."""
        if op.type != "Identity" or op.control_inputs or op in self.asked:
            return None
        source = op.inputs[0].op
        if source.opdef.effect == "variable" and op.name.startswith(source.name + "/"):
            return source
        return None

    # -- items -----------------------------------------------------------------

    def _item(self, op: Operation, beside: Item | None = None, copy: int = 0) -> Item:
        if beside is None:
            key, scope, order = f"op{op.id}", self._scope(op), (op.id, 0)
        else:
            key = f"{beside.key}_{copy}"
            scope, order = beside.scope, (beside.order[0], -copy)
        item = Item(key, op, self.part[op], scope, order, beside is not None)
        self.items.append(item)
        return item

    def _scope(self, op: Operation) -> str:
        """Where it stands: a backward node goes with its forward op's scope."""
        forward = op.forward_op
        if forward is not None:
            scope = _scope_in(op.name, self.gradient_scopes)
            if op.name.startswith(f"{scope}{forward.name}_grad/"):
                return f"{scope}{forward.scope}".rstrip("/")
        return op.scope

    # -- links -----------------------------------------------------------------

    def _connect(self, head: Item) -> None:
        """Links, notes and copies for everything that ``head`` reads."""
        op = head.op
        names = input_names(op.opdef, len(op.inputs))
        more = 0
        runs = body_note(op)
        if runs is not None:
            head.notes.append(runs)
        for index, t in enumerate(op.inputs):
            note = self._note(head, index, names[index], t)
            if note is None:
                continue
            if len(head.notes) < _MAX_NOTES:
                head.notes.append(note)
            else:
                more += 1
        if more:
            head.notes.append(f"and {more} more")
        for c in op.control_inputs:
            tail = self.own.get(self._stored(c) or c)
            if tail is not None:
                self.links.append(Link(tail, head, None))

    def _note(self, head: Item, index: int, name: str, t: Tensor) -> str | None:
        """Link input ``index`` of ``head``, or return the text that stands for it."""
        source = self._stored(t.op) or t.op
        if source not in self.part:
            return None
        if source not in self.own:
            return self._inside(head, index, name, t)
        tail = self.own[source]
        weak = False
        if tail.part == "variable":
            if index in head.op.opdef.updates and (index or self._is_read(source)):
                self.named[source] = None
                return f"{name}: {short(source.name, 28)}"
            if head.part == "backward" and self._is_read(source):
                tail = self._item(source, head, index + 1)
        elif head.part == "backward" and tail.part in ("forward", "input"):
            weak = True
        self.links.append(Link(tail, head, t, weak))
        return None

    def _is_read(self, variable: Operation) -> bool:
        """Whether the forward part reads ``variable``."""
        for reader in self.dependents[variable]:
            readers = [reader]
            if self._stored(reader) is not None:
                readers = self.dependents[reader]
            if any(self.part[r] == "forward" for r in readers):
                return True
        return False

    def _inside(self, head: Item, index: int, name: str, t: Tensor) -> str | None:
        source = t.op
        if self.part[source] == "constant":
            if self.show_constants:
                tail = self._item(source, head, index + 1)
                self.links.append(Link(tail, head, t))
                return None
            self.constants.add(source)
            return f"{name} = {constant_text(source)}"
        if source.type in _SIZES:
            of = source.inputs[0].op.name
            return f"{name}: {_SIZES[source.type]} of {short(of, 24)}"
        return None


def constant_text(op: Operation) -> str:
    """A constant on one line: its value where it is small."""
    value = op.attrs.get("value")
    t = op.outputs[0]
    if value is None or value.size > 4 or value.dtype.kind == "O":
        return spec_text(t.dtype.name, t.dims)
    if value.dtype.kind in "fc" and value.size == 1:
        return f"{value.reshape(-1)[0]:.6g}"
    return short(summary(value), 24)


def _focus(found: Items, start: set[str], hops: int) -> None:
    """Keep what lies within ``hops`` links of ``start``."""
    near: dict[str, set[str]] = {item.key: set() for item in found.items}
    for link in found.links:
        near[link.tail.key].add(link.head.key)
        near[link.head.key].add(link.tail.key)
    kept = set(start)
    edge = set(start)
    for _ in range(max(0, hops)):
        edge = {n for key in edge for n in near[key]} - kept
        if not edge:
            break
        kept |= edge
    found.beyond_focus = len(found.items) - len(kept)
    found.items = [item for item in found.items if item.key in kept]
    found.links = [
        link for link in found.links if link.tail.key in kept and link.head.key in kept
    ]


# -- texts ---------------------------------------------------------------------


def tooltip(op: Operation) -> str:
    """Everything that a label has no room for, one fact a line."""
    lines = [f"{op.type} {clean(op.name[:2000])}"]
    for t in op.outputs[:8]:
        lines.append(f"output {t.index}: {spec_text(t.dtype.name, t.dims)}")
    if len(op.outputs) > 8:
        lines.append(f"and {len(op.outputs) - 8} more outputs")
    facts = body_facts(op)
    lines += facts
    for name, value in sorted(op.attrs.items()) if not facts else ():
        lines.append(f"{clean(name)} = {short(summary(value, 400), 120)}")
    if op.device:
        lines.append(f"device {clean(op.device[:200])}")
    if op.forward_op is not None:
        forward = op.forward_op
        lines.append(
            f"gradient of {clean(forward.name[:2000])} "
            f"({clean(str(forward.source or 'unknown place'))})"
        )
    if op.source is not None:
        lines.append(clean(str(op.source)))
    return "\n".join(lines)
