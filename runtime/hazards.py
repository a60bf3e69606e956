"""The order of reads and writes of variables within one run.

A read sees the variable's value before the run's writes, unless data or control
dependencies order it after a write.  Writes of one variable that nothing orders
happen in the order in which they were created.  Writes are in place, so each
reader must run before the next write; where that is impossible (the reader
itself waits for that write), it reads a snapshot.  Bodies read the variable itself:
two that each read what the other writes have no order, which is an error.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.records import field, record
from ..graphlib.subgraph import BODY_VARIABLE
from .program import COPY, NODE, VARIABLE, Node, Program, Value

__all__ = ["Accesses", "no_order", "order_accesses"]


_WRITES = ("assign", "update")


@record
class Accesses:
    """What a program does to variables.

    Attributes:
        root: value -> the variable whose memory it is (views included).
        version: such a value -> how many of the run's writes it sees.
        writes: variable -> its write nodes, in order.
        assigned: variables that an "assign" may give new memory.
        required: variable -> a node that reads it before any write (or None:
            it is fetched), so it must be initialised.
    """

    root: dict[Value, Value] = field(default_factory=dict)
    version: dict[Value, int] = field(default_factory=dict)
    writes: dict[Value, list[Node]] = field(default_factory=dict)
    assigned: set[Value] = field(default_factory=set)
    required: dict[Value, Node | None] = field(default_factory=dict)


def order_accesses(program: Program, cautious: bool = False) -> Accesses:
    """Add the edges and snapshots that give every read its defined value.

    Args:
        program: changed in place: ``after`` edges, snapshot nodes.
        cautious: take a snapshot for every reader that writes or waits for
            any write; the resort when the precise edges form a cycle.
    """
    found = _writes(program)
    _chain_io(program)
    position = {n: i for i, n in enumerate(program.nodes)}
    ranks: dict[Node, int] = {}
    rank = 0
    for writes in found.writes.values():
        for previous, node in itertools.pairwise(writes):
            if previous is not node:
                node.after = [*node.after, previous]
        for node in writes:
            if node not in ranks:
                ranks[node] = rank
                rank += 1
    before = _writes_before(program, ranks)
    _versions(program, found, ranks, before)
    snapshots = _Snapshots(position)
    for node in program.nodes:
        for i, v in enumerate(node.inputs):
            variable = found.root.get(v)
            view = i == node.opdef.alias and node.opdef.effect is None
            if variable is None:
                if view:  # of a snapshot by now
                    found.root.pop(node.outputs[0], None)
                continue
            probe = i == 0 and node.opdef.effect == "probe"
            if i in node.updates:
                continue
            writes = found.writes.get(variable, [])
            version = _seen(node, v, variable, found, ranks, before)
            # A body asks for itself: it may not run, or write first.
            if version == 0 and not probe and node.opdef.control is None:
                found.required.setdefault(variable, node)
            if version >= len(writes):
                continue
            following = writes[version]
            waits = following is node or before[node] >> ranks[following] & 1
            if cautious and (before[node] or node in ranks):
                waits = 1
            if i in _by_reference(node) and v.kind == VARIABLE:
                waits = 0  # a body reads the variable itself, never a snapshot
            if view and not waits:
                continue  # its readers count
            if not waits:
                following.after = [*following.after, node]
                continue
            if probe:
                continue
            if view:
                found.root.pop(node.outputs[0])
            node.inputs[i] = snapshots.take(v, writes, version)
    _fetched(program, found, snapshots)
    for variable, writes in found.writes.items():
        if writes[0].opdef.effect == "update":
            found.required.setdefault(variable, writes[0])
    found.assigned = {v for v in found.assigned if _may_move(v, found)}
    program.insert(snapshots.inserted)
    return found


def _by_reference(node: Node) -> set[int]:
    """The inputs of a control node that its bodies read as variables."""
    attrs = node.attrs
    if node.opdef.control is None:
        return set()
    if node.opdef.control == "loop":
        first = attrs["bounded"] + attrs["tested"]
        pairs = list(enumerate(attrs["body"].inputs, first))
    else:
        pairs = [
            (i, t)
            for body, wires in zip(attrs["branches"], attrs["wires"])
            for i, t in zip(wires, body.inputs)
        ]
    return {i for i, t in pairs if t.op.opdef is BODY_VARIABLE}


def no_order(program: Program) -> InvalidArgumentError | None:
    """The error of bodies that each read what the other writes, if there are such."""
    writers = [n for n in program.nodes if n.opdef.control is not None and n.updates]
    if not writers:
        return None
    last = writers[-1].op
    others = ", ".join(n.op.describe() for n in writers[:-1]) or "other operations"
    return InvalidArgumentError(
        last.explain(
            f"its body and {others} read variables that the other writes, and nothing "
            "says which comes first: order them by dagrad.control_dependencies, or "
            "take variable.read_value() outside of the body"
        ),
        last,
    )


def _may_move(variable: Value, found: Accesses) -> bool:
    """Whether an assignment in this run can give the variable new memory.

    It cannot where the run needs the old value, so that there is memory, and
    every new value has the variable's known shape.
    """
    if variable not in found.required or not variable.static:
        return True
    return any(
        node.opdef.effect == "body"
        or (node.opdef.effect == "assign" and node.inputs[1].dims != variable.dims)
        for node in found.writes[variable]
    )


def _writes(program: Program) -> Accesses:
    """Roots of all values that are a variable's memory, and its writes in order."""
    found = Accesses()
    root = found.root
    for node in program.nodes:
        for v in node.inputs:
            if v.kind == VARIABLE:
                root[v] = v
        opdef = node.opdef
        if node.updates:
            for i in node.updates:
                variable = root.get(node.inputs[i])
                if variable is None:
                    raise InvalidArgumentError(
                        node.op.explain(
                            f"it writes to a variable, but {node.op.inputs[i].name} "
                            "is fed in this run"
                        ),
                        node.op,
                    )
                found.writes.setdefault(variable, []).append(node)
                if opdef.effect in ("assign", "body"):
                    found.assigned.add(variable)
        if opdef.alias is not None and node.outputs:
            source = root.get(node.inputs[opdef.alias])
            if source is not None:
                root[node.outputs[0]] = source
    for v in program.fetches:
        if v.kind == VARIABLE:
            root[v] = v
    return found


def _chain_io(program: Program) -> None:
    """Side effects outside the graph keep the order of creation."""
    last: Node | None = None
    for node in program.nodes:
        if node.opdef.effect == "io":
            if last is not None:
                node.after = [*node.after, last]
            last = node


def _writes_before(program: Program, ranks: dict[Node, int]) -> dict[Node, int]:
    """Per node, the set of writes that it waits for, as a bit mask by rank."""
    before: dict[Node, int] = {}
    for node in program.nodes:
        mask = 0
        for v in node.inputs:
            if v.node is not None:
                mask |= before[v.node]
                if v.node in ranks:
                    mask |= 1 << ranks[v.node]
        for other in node.after:
            mask |= before[other]
            if other in ranks:
                mask |= 1 << ranks[other]
        before[node] = mask
    return before


def _versions(
    program: Program, found: Accesses, ranks: dict[Node, int], before: dict[Node, int]
) -> None:
    """How many writes each value in a variable's memory sees."""
    version = found.version
    for node in program.nodes:
        opdef = node.opdef
        if not node.outputs or node.outputs[0] not in found.root:
            continue
        out = node.outputs[0]
        variable = found.root[out]
        if opdef.effect in _WRITES:
            version[out] = found.writes[variable].index(node) + 1
        elif opdef.alias is not None:
            source = node.inputs[opdef.alias]
            version[out] = _seen(node, source, variable, found, ranks, before)


def _seen(
    node: Node,
    v: Value,
    variable: Value,
    found: Accesses,
    ranks: dict[Node, int],
    before: dict[Node, int],
) -> int:
    """How many writes ``node`` sees when it reads ``v``.

    Reading the variable itself sees the writes that the reader waits for; any
    other value is fixed where it was read.
    """
    if v.kind != VARIABLE:
        return found.version[v]
    seen = 0
    mask = before[node]
    if mask:
        for i, write in enumerate(found.writes.get(variable, ())):
            if mask >> ranks[write] & 1:
                seen = i + 1
    return seen


class _Snapshots:
    """Copies of variables' values, each taken before the write that overwrites it.

    Attributes:
        inserted: the copies, by the position of the node that each stands behind.
    """

    def __init__(self, position: dict[Node, int]) -> None:
        self._position = position
        self._taken: dict[tuple[Value, int], Value] = {}
        self.inserted: dict[int, list[Node]] = defaultdict(list)

    def take(self, v: Value, writes: list[Node], version: int) -> Value:
        """What ``v`` holds after ``version`` of the writes."""
        taken = self._taken.get((v, version))
        if taken is not None:
            return taken
        assert v.tensor is not None
        node = Node(v.tensor.op, COPY, {}, [v], [])
        taken = self._taken[v, version] = Value(NODE, v.dtype, v.dims, v.tensor, node)
        node.outputs = (taken,)
        following = writes[version]
        following.after = [*following.after, node]
        where = -1 if v.node is None else self._position[v.node]
        if version:
            node.after = [writes[version - 1]]
            where = max(where, self._position[writes[version - 1]])
        self.inserted[where].append(node)
        return taken


def _fetched(program: Program, found: Accesses, snapshots: _Snapshots) -> None:
    """Fetched values that a later write of the run would overwrite."""
    for k, v in enumerate(program.fetches):
        variable = found.root.get(v)
        if variable is None:
            continue
        version = 0 if v.kind == VARIABLE else found.version[v]
        if version == 0:
            found.required.setdefault(variable, None)
        writes = found.writes.get(variable, [])
        if version >= len(writes):
            continue
        program.fetches[k] = snapshots.take(v, writes, version)
