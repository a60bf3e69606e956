"""What a picture of a plan shows: its steps, with the sizes of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..graphlib.errors import GraphError
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation, input_names
from .bodies import body_note
from .facts import constant_text
from .model import Item, Items, Link, Value
from .parts import classify, gradient_scopes, home_scope, top_of
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
    plan: Plan,
    *,
    focus: Any = None,
    hops: int = 2,
    between: Any = None,
    expand: Any = (),
    inside: int = 200,
) -> Items:
    """The steps of ``plan`` as items; fused ones and bodies open to what they run.

    Constants are text in the steps that read them.  Links carry the sizes that the
    plan was made for.  ``focus``, ``hops``, ``between``, ``expand`` and ``inside`` as
    for a graph; of bodies those open that have a plan before the run.

    Raises:
        GraphError: an element that no step computes.
    """
    graph = graph_of(plan)
    made = Items(graph or Graph(), [], [], operations=len(plan.steps), unit="step")
    if graph is not None:
        whole = _Steps(plan, made, graph, _Shared(set(expand), inside))
        whole.make()
        whole.link()
        made.constants = len(whole.shared.constants)
        _drop_named(made, whole.shared.named)
        made.items.sort(key=lambda item: item.order)
        homes = {item.op: item.key for item in reversed(made.items)}

        def home(op: Operation) -> str:
            if op not in homes:
                raise GraphError(f"no step of the plan computes {op.describe()}")
            return homes[op]

        narrow(made, home, elements(graph, focus), hops, two_sides(graph, between))
    return made


def _drop_named(made: Items, named: set[str]) -> None:
    """Leave out variables that are only text in the steps that change them."""
    ends = {key for link in made.links for key in (link.tail.key, link.head.key)}
    made.items = [i for i in made.items if i.key in ends or i.key not in named]


class _Shared:
    """What is known of a whole picture while it is made."""

    def __init__(self, expand: set[str], room: int) -> None:
        self.expand = expand
        #: How many more steps of bodies may be shown.
        self.room = room
        self.constants: set[tuple[Any, int]] = set()
        #: Variables that are only text in the steps that change them.
        self.named: set[str] = set()


class _Steps:
    """Makes the items and links of one plan: of a run, or of a body in it."""

    def __init__(
        self,
        plan: Plan,
        made: Items,
        graph: Graph,
        shared: _Shared,
        owner: Item | None = None,
        outer: _Steps | None = None,
        around: str = "",
        number: int = 0,
    ) -> None:
        self.plan, self.made, self.shared = plan, made, shared
        self.owner, self.outer, self.around = owner, outer, around
        ops = list(graph.operations)
        self.part = classify(graph, ops)
        if owner is not None and owner.part != "forward":
            forward = {o: owner.part for o, p in self.part.items() if p == "forward"}
            self.part.update(forward)
        self.scopes = gradient_scopes(ops)
        self.top = top_of(graph)
        #: Keys and places of the items: a body's come after what runs it.
        self.key = "" if owner is None else f"{owner.key}b{number}_"
        self.order: tuple[int, ...] = () if owner is None else (*owner.order, number)
        #: The items that make a slot: several for branches.
        self.source: dict[int, list[Item]] = {}
        #: Of what open bodies make: their plans, and the slots there.
        self.ends: dict[int, list[tuple[_Steps, int]]] = {}
        #: The operations of fused steps.
        self.members: dict[Item, list[Item]] = {}
        #: In a body: slots that are slots of the plan around it.
        self.given: dict[int, int] = {}
        self.heads: list[tuple[Any, Item]] = []
        #: Of a step that is shown open: the plans of its bodies.
        self.inner: dict[Item, list[tuple[int, _Steps]]] = {}

    def make(self) -> None:
        """Items for what a run is given and for steps."""
        plan = self.plan
        for number, slot in enumerate((*plan.feeds, *plan.variables)):
            tensor = plan.slots[slot].tensor
            op = tensor.op if tensor is not None else plan.variable_ops.get(slot)
            if op is not None and slot not in self.given:
                self.source[slot] = [self._item(f"in{number}", op, (-1, number, 0))]
        for number, step in enumerate(plan.steps):
            stored = self._stored(step)
            if stored is not None:
                self.source[step.outputs[0]] = stored
                continue
            item = self._item(f"step{number}", step.op, (number, 0))
            item.type = step.what
            for slot in step.outputs:
                self.source[slot] = [item]
            self.heads.append((step, item))
            if step.group is not None and len(step.group.members) > 1:
                self._open_fused(item, step, step.group)
            else:
                self._open(item, step)

    def link(self) -> None:
        """Links and notes for everything that steps read."""
        for step, item in self.heads:
            if item in self.members:
                self._link_fused(item, step, step.group)
                continue
            note = body_note(step.op)
            if note is not None:
                item.notes.append(note)
            names = input_names(step.opdef, len(step.inputs))
            passed = self._link_bodies(item, step)
            for index, slot in enumerate(step.inputs):
                if index not in passed:
                    self._read(item, index, names[index], slot)
        by_op = {item.op: item for _, item in reversed(self.heads)}
        for _, item in self.heads:
            for c in item.op.control_inputs if not item.op.outputs else ():
                if c in by_op:
                    self.made.links.append(Link(by_op[c], item, None))

    # -- bodies ----------------------------------------------------------------

    def _open(self, item: Item, step: Any) -> None:
        """The steps of the bodies of ``step``, where there are plans and room."""
        held = _held(self.plan, step)
        size = sum(len(plan.steps) for _, _, plan in held)
        forced = item.op.name in self.shared.expand
        if not size or not (
            forced or (item.part != "backward" and size <= self.shared.room)
        ):
            return
        self.shared.room -= size
        item.opens = f"{item.scope}/{item.op.name.rpartition('/')[2]}()".lstrip("/")
        self.inner[item] = []
        several = "wires" in step.attrs and len(step.attrs["branches"]) > 1
        for number, body, plan in held:
            name = body.graph.what.rpartition(", ")[2] or str(number)
            steps = _Steps(
                plan,
                self.made,
                body.graph,
                self.shared,
                item,
                self,
                f"{item.opens}/{name}" if several else item.opens,
                number,
            )
            steps.given = _given(step, number, body, plan)
            self.inner[item].append((number, steps))
            steps.make()
            for slot, k in _results(step, body):
                if k < len(plan.fetches):
                    self.ends.setdefault(slot, []).append((steps, plan.fetches[k]))

    def _link_bodies(self, item: Item, step: Any) -> set[int]:
        """Links into bodies and round loops; the inputs that are taken care of."""
        passed: set[int] = set()
        for number, steps in self.inner.get(item, ()):
            steps.link()
            body = _bodies(step)[number]
            wires = _wires(step, number, body)
            passed.update(wires)
            carries = 0 if "wires" in step.attrs else step.attrs["carries"]
            fed = (*steps.plan.feeds, *steps.plan.variables)
            places = {steps.plan.slots[slot].tensor: slot for slot in fed}
            for place, (t, index) in enumerate(zip(body.inputs, wires)):
                slot = places.get(t)
                if slot is None or slot in steps.given:
                    continue
                (start,) = steps.source[slot]
                self._read(start, 0, "start", step.inputs[index])
                if place < carries:
                    about = steps.plan.slots[steps.plan.fetches[place]]
                    for end in steps.tails(steps.plan.fetches[place]):
                        value = Value(end.op, slot, about.dtype, about.dims)
                        again = Link(end, start, value, again="to the next round")
                        self.made.links.append(again)
        return passed

    def tails(self, slot: int) -> list[Item]:
        """The items that make a slot, or that it is a view of."""
        if slot in self.given and self.outer is not None:
            return self.outer.tails(self.given[slot])
        ends = [t for steps, end in self.ends.get(slot, ()) for t in steps.tails(end)]
        if ends:
            return ends
        owner = self.plan.slots[slot].owner
        if slot not in self.source and owner != slot:
            return self.tails(owner)
        return self.source.get(slot, [])

    # -- items -----------------------------------------------------------------

    def _stored(self, step: Any) -> list[Item] | None:
        """The variable of which a step is the plain read, else None."""
        if step.opdef.type != "Identity":
            return None
        tails = self.tails(step.inputs[0])
        return tails if [t.part for t in tails] == ["variable"] else None

    def _item(self, key: str, op: Operation, order: tuple[int, ...]) -> Item:
        part = self.part.get(op, "forward")
        if part == "constant":
            part = "forward"
        scope, name = home_scope(op, self.scopes), op.name
        if self.owner is not None:
            # In a body as if the body were a scope.
            inner = f"{scope}/".removeprefix(self.top)
            scope = f"{self.around}/{inner}".rstrip("/")
            name = f"{self.around}/{name.removeprefix(self.top)}"
        item = Item(self.key + key, op, part, scope, (*self.order, *order), None)
        item.name = name
        self.made.items.append(item)
        return item

    def _open_fused(self, owner: Item, step: Any, group: Any) -> None:
        """The operations of a fused step, in a scope of their own."""
        kind, _, types = step.what.partition(": ")
        owner.type = kind.capitalize()
        owner.opens = f"{owner.scope}/{owner.op.name.rpartition('/')[2]}()".lstrip("/")
        owner.notes.append(f"{len(group.members)} operations in one step")
        owner.notes.append(short(types, 48))
        inner: list[Item] = []
        for number, member in enumerate(group.members):
            key = f"{owner.key.removeprefix(self.key)}m{number}"
            order = (*owner.order[len(self.order) :], number, 0)
            item = self._item(key, member.op, order)
            item.scope = owner.opens
            item.type = member.opdef.type.lstrip("_")
            item.name = f"{owner.opens}/{member.op.name.rpartition('/')[2]}"
            inner.append(item)
        for slot, register in zip(step.outputs, group.results):
            self.source[slot] = [inner[register - len(step.inputs)]]
        self.members[owner] = inner

    def _link_fused(self, owner: Item, step: Any, group: Any) -> None:
        """Links into a fused step, and between its operations."""
        given, inner = len(step.inputs), self.members[owner]
        for item, member in zip(inner, group.members):
            names = input_names(member.opdef, len(member.reads))
            for index, register in enumerate(member.reads):
                if register < given:
                    self._read(item, index, names[index], step.inputs[register])
                    continue
                tail, made = inner[register - given], group.members[register - given]
                self._link(tail, item, self._value(tail.op, made, group), index)

    def _value(self, op: Operation, member: Any, group: Any) -> Value:
        """What a member makes: all of one shape, or of rows and of their numbers."""
        if hasattr(group, "dims"):
            dims = tuple(group.dims)
        else:
            dims = (group.rows, group.length) if member.wide else (group.rows,)
        return Value(op, 0, op.outputs[0].dtype, dims)

    def _read(self, head: Item, index: int, name: str, slot: int) -> None:
        if slot in self.given and self.outer is not None:
            self.outer._read(head, index, name, self.given[slot])
            return
        about = self.plan.slots[slot]
        tails = self.tails(slot)
        stored = [t.part for t in tails] == ["variable"]
        if stored and head.part == "update":
            self.shared.named.add(tails[0].key)
            self._note(head, f"{name}: {short(tails[0].name, 28)}")
        elif tails:
            for tail in tails:
                if tail is not head:
                    value = Value(tail.op, slot, about.dtype, about.dims)
                    self._link(tail, head, value, index)
        elif about.value is not None:
            self.shared.constants.add((id(self.plan), slot))
            self._note(head, f"{name} = {_constant(about)}")

    def _note(self, head: Item, said: str) -> None:
        if len(head.notes) < _MAX_NOTES:
            head.notes.append(said)

    def _link(self, tail: Item, head: Item, value: Value, index: int) -> None:
        weak = head.part == "backward" and tail.part in ("forward", "input")
        self.made.links.append(Link(tail, head, value, weak, index))


def _bodies(step: Any) -> tuple[Any, ...]:
    """The bodies that a step runs."""
    attrs = step.attrs
    return tuple(attrs["branches"]) if "branches" in attrs else (attrs.get("body"),)


def _held(plan: Plan, step: Any) -> list[tuple[int, Any, Plan]]:
    """(number, body, its plan) of the bodies of a step that have a plan."""
    if step.opdef.control is None or step.opdef.type == "_Segments":
        return []
    plans: dict[Any, Plan] = {}
    for key, found in plan.bodies.items():
        plans.setdefault(key.body, found)
    return [
        (number, body, plans[body])
        for number, body in enumerate(_bodies(step))
        if body in plans
    ]


def _wires(step: Any, number: int, body: Any) -> Sequence[int]:
    """For each input of a body, which input of the step is handed in."""
    if "wires" in step.attrs:
        wires: Sequence[int] = step.attrs["wires"][number]
        return wires
    return range(len(step.inputs) - len(body.inputs), len(step.inputs))


def _given(step: Any, number: int, body: Any, plan: Plan) -> dict[int, int]:
    """Slots of a body's plan that are the same in each round -> slots around it."""
    turning = 0
    if "wires" not in step.attrs:
        turning = step.attrs["carries"] + step.attrs["scanned"]
    around = {
        t: step.inputs[index]
        for place, (t, index) in enumerate(zip(body.inputs, _wires(step, number, body)))
        if place >= turning
    }
    return {
        slot: around[plan.slots[slot].tensor]
        for slot in (*plan.feeds, *plan.variables)
        if plan.slots[slot].tensor in around
    }


def _results(step: Any, body: Any) -> list[tuple[int, int]]:
    """(a slot that a step makes, the place of what the body gives for it)."""
    attrs = step.attrs
    if "wires" in attrs:
        there = [k for k, t in enumerate(body.outputs) if t is not None]
        return [(step.outputs[k], place) for place, k in enumerate(there)]
    k, kept = attrs["carries"], attrs["history"]
    rows = range(k + attrs["tested"], len(body.outputs))
    return list(zip(step.outputs[1:], (*range(k), *kept, *rows)))


def _constant(slot: Any) -> str:
    if slot.tensor is not None and slot.tensor.op.opdef.effect == "constant":
        return constant_text(slot.tensor.op)
    value = slot.value
    if getattr(value, "size", 5) == 1 and value.dtype.kind in "fiub":
        return f"{value.reshape(-1)[0]:.6g}"
    return short(spec_text(slot.dtype.name, slot.dims), 24)
