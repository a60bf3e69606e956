"""What a picture of a plan shows: its steps, with the sizes of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graphlib.errors import GraphError
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation, input_names
from .bodies import body_note
from .facts import constant_text
from .model import Item, Items, Link, Value
from .parts import classify, gradient_scopes, home_scope
from .targets import elements
from .theme import short, spec_text
from .views import narrow, two_sides

if TYPE_CHECKING:
    from ..runtime.plan import Plan

__all__ = ["collect_plan", "graph_of"]

_MAX_NOTES = 4


def graph_of(plan: Plan) -> Graph | None:
    """The graph that a plan runs (None for a plan of nothing)."""
    for step in plan.steps:
        return step.op.graph
    for slot in plan.slots:
        if slot.tensor is not None:
            return slot.tensor.graph
    return None


def collect_plan(
    plan: Plan, *, focus: Any = None, hops: int = 2, between: Any = None
) -> Items:
    """The steps of ``plan`` as items; a fused one opens to what it is made of.

    Constants are text in the steps that read them.  Links carry the sizes that the
    plan was made for.  ``focus``, ``hops`` and ``between`` as for a graph.

    Raises:
        GraphError: an element that no step computes.
    """
    graph = graph_of(plan)
    made = Items(graph or Graph(), [], [], operations=len(plan.steps), unit="step")
    if graph is not None:
        _Steps(plan, made, graph).make()
        homes = {item.op: item.key for item in reversed(made.items)}

        def home(op: Operation) -> str:
            if op not in homes:
                raise GraphError(f"no step of the plan computes {op.describe()}")
            return homes[op]

        narrow(made, home, elements(graph, focus), hops, two_sides(graph, between))
    return made


class _Steps:
    """Makes the items and links of one plan."""

    def __init__(self, plan: Plan, made: Items, graph: Graph) -> None:
        self.plan = plan
        self.made = made
        ops = list(graph.operations)
        self.part = classify(graph, ops)
        self.scopes = gradient_scopes(ops)
        #: The item that makes a slot.
        self.source: dict[int, Item] = {}
        self.constants: set[int] = set()
        #: Variables that are only text in the steps that change them.
        self.named: set[str] = set()

    def make(self) -> None:
        """Items for what a run is given and for steps, then links."""
        plan = self.plan
        for number, slot in enumerate((*plan.feeds, *plan.variables)):
            tensor = plan.slots[slot].tensor
            op = tensor.op if tensor is not None else plan.variable_ops.get(slot)
            if op is not None:
                self.source[slot] = self._item(f"in{number}", op, (-1, number, 0))
        heads: list[Item] = []
        drawn: list[Any] = []
        for number, step in enumerate(plan.steps):
            stored = self._stored(step)
            if stored is not None:
                self.source[step.outputs[0]] = stored
                continue
            item = self._item(f"step{number}", step.op, (number, 0))
            item.type = step.what
            for slot in step.outputs:
                self.source[slot] = item
            heads.append(item)
            drawn.append(step)
        for step, item in zip(drawn, heads):
            if step.group is not None and len(step.group.members) > 1:
                self._fused(item, step, step.group)
                continue
            note = body_note(step.op)
            if note is not None:
                item.notes.append(note)
            names = input_names(step.opdef, len(step.inputs))
            for index, slot in enumerate(step.inputs):
                self._read(item, index, names[index], slot)
        for item in self.made.items:
            for c in item.op.control_inputs if not item.op.outputs else ():
                tail = next((h for h in heads if h.op is c), None)
                if tail is not None:
                    self.made.links.append(Link(tail, item, None))
        self.made.constants = len(self.constants)
        ends = {
            key for link in self.made.links for key in (link.tail.key, link.head.key)
        }
        self.made.items = [
            item
            for item in self.made.items
            if item.key in ends or item.key not in self.named
        ]

    def _stored(self, step: Any) -> Item | None:
        """The variable of which a step is the plain read, else None."""
        if step.opdef.type != "Identity":
            return None
        tail = self.source.get(step.inputs[0])
        return tail if tail is not None and tail.part == "variable" else None

    def _item(self, key: str, op: Operation, order: tuple[int, ...]) -> Item:
        part = self.part.get(op, "forward")
        if part == "constant":
            part = "forward"
        item = Item(key, op, part, home_scope(op, self.scopes), order, None)
        self.made.items.append(item)
        return item

    def _fused(self, owner: Item, step: Any, group: Any) -> None:
        """The operations of a fused step, in a scope of their own."""
        kind, _, types = step.what.partition(": ")
        owner.type = kind.capitalize()
        owner.opens = f"{owner.scope}/{owner.op.name.rpartition('/')[2]}()".lstrip("/")
        owner.notes.append(f"{len(group.members)} operations in one step")
        owner.notes.append(short(types, 48))
        inner: list[Item] = []
        given = len(step.inputs)
        for number, member in enumerate(group.members):
            key, order = f"{owner.key}m{number}", (*owner.order, number, 0)
            item = self._item(key, member.op, order)
            item.scope = owner.opens
            item.type = member.opdef.type.lstrip("_")
            item.name = f"{owner.opens}/{member.op.name.rpartition('/')[2]}"
            names = input_names(member.opdef, len(member.reads))
            for index, register in enumerate(member.reads):
                if register < given:
                    self._read(item, index, names[index], step.inputs[register])
                else:
                    tail = inner[register - given]
                    self._link(
                        tail,
                        item,
                        self._value(tail.op, group.members[register - given], group),
                        index,
                    )
            inner.append(item)
        for slot, register in zip(step.outputs, group.results):
            self.source[slot] = inner[register - given]

    def _value(self, op: Operation, member: Any, group: Any) -> Value:
        """What a member makes: all of one shape, or of rows and of their numbers."""
        if hasattr(group, "dims"):
            dims = tuple(group.dims)
        else:
            dims = (group.rows, group.length) if member.wide else (group.rows,)
        return Value(op, 0, op.outputs[0].dtype, dims)

    def _read(self, head: Item, index: int, name: str, slot: int) -> None:
        about = self.plan.slots[slot]
        tail = self.source.get(slot)
        if tail is None and about.owner != slot:
            tail = self.source.get(about.owner)
        stored = tail is not None and tail.part == "variable"
        if tail is not None and stored and head.part == "update":
            self.named.add(tail.key)
            self._note(head, f"{name}: {short(tail.name, 28)}")
        elif tail is not None and tail is not head:
            value = Value(tail.op, slot, about.dtype, about.dims)
            self._link(tail, head, value, index)
        elif about.value is not None:
            self.constants.add(slot)
            self._note(head, f"{name} = {_constant(about)}")

    def _note(self, head: Item, said: str) -> None:
        if len(head.notes) < _MAX_NOTES:
            head.notes.append(said)

    def _link(self, tail: Item, head: Item, value: Value, index: int) -> None:
        weak = head.part == "backward" and tail.part in ("forward", "input")
        self.made.links.append(Link(tail, head, value, weak, index))


def _constant(slot: Any) -> str:
    if slot.tensor is not None and slot.tensor.op.opdef.effect == "constant":
        return constant_text(slot.tensor.op)
    value = slot.value
    if getattr(value, "size", 5) == 1 and value.dtype.kind in "fiub":
        return f"{value.reshape(-1)[0]:.6g}"
    return short(spec_text(slot.dtype.name, slot.dims), 24)
