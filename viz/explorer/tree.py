"""The boxes of the explorer: operations in scopes in scopes, and links between them.

Everything in the graph has a place: what is too much for one scope is put into runs,
bodies of loops, branches and functions are boxes inside their operation, and what
only clutters (a constant, the plain read of a variable, the size that a gradient
asks for) is noted in its reader and found through it.  Nothing here recurses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...graphlib.operation import Operation, input_names
from ...graphlib.subgraph import Body, Subgraph, bodies_of
from ...graphlib.tensor import Tensor
from ..model import classify, constant_text
from ..parts import is_frozen_read, unread_constants
from ..theme import short

__all__ = ["BODY", "CONTROL", "DATA", "KEPT", "OP", "RUN", "SCOPE", "STATE"]
__all__ += ["INITIALIZERS", "Box", "Link", "Tree", "build", "stands_for"]

# Kinds of boxes.
OP, SCOPE, RUN, BODY = range(4)
# Kinds of links: all but data are drawn faintly and have no say in the layout.
DATA, KEPT, CONTROL, STATE = range(4)

#: Boxes that one scope shows; more are put into runs of consecutive ones.
MOST_CHILDREN = 60
#: About how many boxes a run holds, and stands beside: a column that can be read.
_RUN = 12
#: Operations in bodies that are shown once more for each operation that runs them.
MOST_COPIES = 20_000

_SIZES = ("Rank", "ReducedSize", "Shape", "Size")
#: The scope that holds all that only initialisers need.
INITIALIZERS = "initialisers"


class Box:
    """One box: an operation, a scope, a run of siblings, or a body."""

    __slots__ = (
        "children",
        "kind",
        "label",
        "named",
        "notes",
        "number",
        "op",
        "parent",
    )

    def __init__(
        self, kind: int, label: str, parent: Box | None, op: Operation | None = None
    ) -> None:
        self.kind = kind
        self.label = label
        self.parent = parent
        self.op = op
        self.children: list[Box] = []
        #: Scopes among the children, by name.
        self.named: dict[str, Box] = {}
        self.notes: list[str] = []
        #: Its place in the final order, parents before children.
        self.number = -1
        if parent is not None:
            parent.children.append(self)


class Link(NamedTuple):
    """A tensor (None: a control dependency) that one box hands to another."""

    tail: Box
    head: Box
    kind: int
    tensor: Tensor | None


@dataclass
class Tree:
    """All boxes, parents first, and all links.

    Attributes:
        boxes: in order; ``boxes[0]`` is the sheet.
        links: between boxes of operations.
        home: for each operation, the first box that shows it.
        part: for each operation, its part (see :func:`~dagrad.viz.model.classify`).
    """

    boxes: list[Box]
    links: list[Link]
    home: dict[Operation, Box] = field(default_factory=dict)
    part: dict[Operation, str] = field(default_factory=dict)


def build(ops: Sequence[Operation], asked: Iterable[Operation] = ()) -> Tree:
    """The tree of ``ops`` (of one graph, in order) and of the bodies that they run.

    Args:
        ops: what to show.
        asked: operations that get a box of their own whatever they are.
    """
    maker = _Maker(set(asked))
    root = Box(SCOPE, "", None)
    maker.waiting.append((list(ops), root, ""))
    while maker.waiting:
        maker.level(*maker.waiting.pop())
    maker.connect()
    _tidy(root, maker.part)
    boxes = _number(root)
    links = [k for k in maker.links if k.tail.number >= 0 and k.head.number >= 0]
    return Tree(boxes, links, maker.home, maker.part)


class _Level:
    """The operations of a graph, or of one copy of a body, and their boxes."""

    def __init__(self, ops: Sequence[Operation], part: Mapping[Operation, str]) -> None:
        self.ops = ops
        self.part = part
        self.box: dict[Operation, Box] = {}
        self.readers: dict[Operation, list[Operation]] = {op: [] for op in ops}
        self.waits: set[Operation] = set()
        for op in ops:
            for t in op.inputs:
                if t.op in self.readers:
                    self.readers[t.op].append(op)
            self.waits.update(op.control_inputs)

    def stored(self, op: Operation) -> Operation:
        """The variable (or what it was frozen to) of which ``op`` is the plain read,
        else ``op``."""
        if op.type == "Identity" and not op.control_inputs:
            source = op.inputs[0].op
            if is_frozen_read(op) and self.readers.get(op):
                return source
            # Inside a body a variable goes by another name than its reads.
            reads = op.name.rpartition("/")[2].startswith("read")
            if source.opdef.effect == "variable" and (
                op.name.startswith(source.name + "/") or reads
            ):
                return source
        return op

    def final_readers(self, op: Operation) -> list[Operation]:
        """Who reads ``op``: of a variable, by way of its plain reads or not."""
        found: list[Operation] = []
        for reader in self.readers[op]:
            plain = self.stored(reader) is op
            found += self.readers[reader] if plain else [reader]
        return found


class _Maker:
    """Makes boxes level by level, then links."""

    def __init__(self, asked: set[Operation]) -> None:
        self.asked = asked
        self.waiting: list[tuple[list[Operation], Box, str]] = []
        self.levels: list[_Level] = []
        self.home: dict[Operation, Box] = {}
        self.part: dict[Operation, str] = {}
        self.links: list[Link] = []
        self.copies = 0
        #: What a control operation runs: bodies, their wires, where each is shown.
        self.inside: dict[Box, list[tuple[Body, Sequence[int], Box]]] = {}
        self.level_of: dict[Box, _Level] = {}

    # -- boxes -----------------------------------------------------------------

    def level(self, ops: list[Operation], root: Box, prefix: str) -> None:
        """Boxes of ``ops`` inside ``root``; ``prefix`` of names is left out."""
        if not ops:
            return
        part = classify(ops[0].graph, ops)
        around = root.op or (root.parent.op if root.parent is not None else None)
        if around is not None and self.part.get(around) == "backward":
            part = {o: "backward" if p == "forward" else p for o, p in part.items()}
        level = _Level(ops, part)
        self.levels.append(level)
        self.level_of[root] = level
        unread = unread_constants(ops, part) - self.asked if around is None else ()
        for op in ops:
            self.part.setdefault(op, part[op])
            if op in unread or self._inside_readers(level, op):
                continue
            scope = self._scope(level, op)
            if prefix and f"{scope}/".startswith(prefix):
                scope = scope[len(prefix) :]
            parent = _scope_box(root, scope)
            box = Box(OP, op.name.rpartition("/")[2], parent, op)
            level.box[op] = box
            self.home.setdefault(op, box)
            self._open(box, op)
        for op in ops:
            if op not in level.box:
                self._find_home(level, op)

    def _inside_readers(self, level: _Level, op: Operation) -> bool:
        """Whether ``op`` is noted in those that read it instead of having a box."""
        if op in self.asked or op in level.waits:
            return False
        if level.stored(op) is not op:
            return True
        readers = level.readers[op]
        if not readers:
            return False
        part = level.part[op]
        if part == "constant":
            return True
        if part == "variable":
            # The slots of an optimizer.
            kinds = {level.part[r] for r in level.final_readers(op)}
            return "update" in kinds and kinds <= {"update", "initializer"}
        if part == "backward" and op.type in _SIZES and not op.control_inputs:
            return all(level.part[r] == "backward" for r in readers)
        return False

    def _scope(self, level: _Level, op: Operation) -> str:
        """A backward node goes with its forward op's scope, initialisers apart."""
        if level.part[op] == "initializer":
            return f"{INITIALIZERS}/{op.scope}".rstrip("/")
        if op.forward_op is not None:
            return _beside_forward(op)
        if level.part[op] == "backward":
            # A sum of what several readers send back goes where it is needed.
            for reader in level.readers[op]:
                if reader.forward_op is not None:
                    return _beside_forward(reader)
        return op.scope

    def _open(self, box: Box, op: Operation) -> None:
        """The bodies of a control operation as boxes inside it."""
        bodies = bodies_of(op)
        if not bodies:
            return
        count = sum(len(b.operations()) for b in bodies)
        if self.copies + count > MOST_COPIES:
            box.notes.append(f"its bodies ({count:,} operations) are not shown here")
            return
        self.copies += count
        held = []
        for i, body in enumerate(bodies):
            inner = box
            if len(bodies) > 1:
                side = body.graph.what.rpartition(", ")[2]
                which = f"if {side}" if side in ("true", "false") else f"branch {i}"
                inner = Box(BODY, which, box)
            self.waiting.append((body.operations(), inner, body.graph.top_scope))
            held.append((body, _wires(op, body, i), inner))
        self.inside[box] = held

    def _find_home(self, level: _Level, op: Operation) -> None:
        """The box of the first reader, by way of others that have none."""
        seen = set()
        at = op
        while at not in level.box and at not in seen:
            seen.add(at)
            stored = level.stored(at)
            readers = level.final_readers(at)
            if stored is not at:
                at = stored
            elif readers:
                used = (r for r in readers if level.part[r] != "initializer")
                at = next(used, readers[0])
        if at in level.box:
            self.home.setdefault(op, level.box[at])

    # -- links -----------------------------------------------------------------

    def connect(self) -> None:
        """Links, and notes for what has no box of its own."""
        for level in self.levels:
            for op, box in level.box.items():
                names = input_names(op.opdef, len(op.inputs))
                heads = self._heads(box)
                for index, name in enumerate(names[: len(op.inputs)]):
                    self._input(level, op, box, index, name, heads)
                for c in op.control_inputs:
                    tail = level.box.get(level.stored(c))
                    if tail is not None:
                        self.links.append(Link(tail, box, CONTROL, None))

    def _input(
        self,
        level: _Level,
        op: Operation,
        box: Box,
        index: int,
        name: str,
        heads: Mapping[int, list[Box]],
    ) -> None:
        t = op.inputs[index]
        source = level.stored(t.op)
        if source not in level.readers:
            return
        tail = level.box.get(source)
        if tail is None:
            box.notes.append(f"{name}{_said(source, t)}")
            return
        kind = DATA
        mine, theirs = level.part[op], level.part[source]
        if theirs == "variable" and mine != "forward":
            kind = STATE
        elif mine == "backward" and theirs in ("forward", "input"):
            kind = KEPT
        for head in heads.get(index, [box]):
            for end in self._tails(tail, t):
                self.links.append(Link(end, head, kind, t))

    def _heads(self, box: Box) -> dict[int, list[Box]]:
        """For each input of a control operation, the body's inputs that get it."""
        found: dict[int, list[Box]] = {}
        for body, wires, inner in self.inside.get(box, ()):
            level = self.level_of.get(inner)
            if level is None:
                continue
            for t, at in zip(body.inputs, wires):
                end = level.box.get(t.op)
                if end is not None:
                    found.setdefault(at, []).append(end)
        return found

    def _tails(self, tail: Box, t: Tensor) -> list[Box]:
        """What makes ``t`` in the bodies of a control operation, if it is seen."""
        found: list[Box] = []
        for body, _, inner in self.inside.get(tail, ()):
            level = self.level_of.get(inner)
            made = _made(body, tail.op, t)
            if level is not None and made is not None and made.op in level.box:
                found.append(level.box[made.op])
        return found or [tail]


def _beside_forward(op: Operation) -> str:
    """The forward operation's scope, within that of the call of ``gradients``."""
    forward = op.forward_op
    assert forward is not None
    before, match, _ = op.name.partition(f"{forward.name}_grad/")
    if not match or (before and not before.endswith("/")):
        before = f"{op.scope}/" if op.scope else ""
    return f"{before}{forward.scope}".rstrip("/")


def _said(source: Operation, t: Tensor) -> str:
    """What a note says of an input that has no box."""
    effect = source.opdef.effect
    if effect == "constant":
        return f" = {constant_text(source)}"
    if effect == "variable":
        return f": {short(source.name, 40)}"
    if source.type in _SIZES and source.inputs:
        return f": {source.type} of {short(source.inputs[0].op.name, 40)}"
    return f": {short(t.name, 40)}"


def _wires(op: Operation, body: Body, number: int) -> Sequence[int]:
    """For each input of ``body``, which input of ``op`` is handed in."""
    attrs = op.attrs
    if "wires" in attrs:
        wires: Sequence[int] = attrs["wires"][number]
        return wires
    first = len(op.inputs) - len(body.inputs)
    return range(first, len(op.inputs))


def _made(body: Body, op: Operation | None, t: Tensor) -> Tensor | None:
    """The output of ``body`` that output ``t`` of the operation comes from."""
    if op is None:
        return None
    at = t.index
    if op.opdef.control == "loop":
        # A loop gives its count, its carries, their histories, then stacks; its body
        # the carries, whether to go on, then rows of the stacks.
        attrs = op.attrs
        carries, histories = attrs["carries"], len(attrs["history"])
        at -= 1
        if carries <= at < carries + histories:
            at = attrs["history"][at - carries]
        elif at >= carries:
            at += int(attrs["tested"]) - histories
    if not 0 <= at < len(body.outputs):
        return None
    made: Tensor | None = body.outputs[at]
    return made


def stands_for(op: Operation) -> Tensor | None:
    """The tensor around a body that its input ``op`` was captured from."""
    if isinstance(op.graph, Subgraph) and op.outputs:
        return op.graph.source_of(op.outputs[0])
    return None


# -- scopes --------------------------------------------------------------------


def _scope_box(root: Box, path: str) -> Box:
    at = root
    if path:
        for name in path.split("/"):
            found = at.named.get(name)
            if found is None:
                found = at.named[name] = Box(SCOPE, name, at)
            at = found
    return at


def _tidy(root: Box, part: Mapping[Operation, str]) -> None:
    """No scope around a single box, and none with more boxes than can be seen."""
    order = [root]
    for box in order:
        order.extend(box.children)
    for box in reversed(order):
        box.children = [_itself_or_only(child) for child in box.children]
        for child in box.children:
            child.parent = box
    order = [root]
    for box in order:
        if len(box.children) > MOST_CHILDREN:
            _into_runs(box, part)
        order.extend(box.children)


def _itself_or_only(box: Box) -> Box:
    """A box, or what is alone in it, named with it."""
    if box.kind != SCOPE or len(box.children) != 1:
        return box
    (only,) = box.children
    only.label = f"{box.label}/{only.label}"
    return only


def _into_runs(box: Box, part: Mapping[Operation, str]) -> None:
    """Consecutive children together: those of one part, scopes of like names."""
    segments: list[list[Box]] = []
    last: tuple[str, ...] = ()
    for child in box.children:
        kind = _likeness(child, part)
        if kind != last:
            segments.append([])
        segments[-1].append(child)
        last = kind
    if len(segments) > MOST_CHILDREN // 2:
        segments = [box.children]
    box.children = []
    for segment in segments:
        few = len(segment) <= _RUN and len(segments) > 1
        box.children += segment if few else _runs(segment)
    for child in box.children:
        child.parent = box


def _runs(members: list[Box]) -> list[Box]:
    """Runs in runs, all about as long."""
    levels = max(1, math.ceil(math.log(len(members), _RUN) - 0.25) - 1)
    size = math.ceil(len(members) ** (1 / (levels + 1)))
    for _ in range(levels):
        above: list[Box] = []
        for start in range(0, len(members), size):
            chunk = members[start : start + size]
            if len(chunk) == 1:
                above += chunk
                continue
            run = Box(RUN, f"{_first(chunk[0])} … {_last(chunk[-1])}", None)
            run.children = chunk
            for m in chunk:
                m.parent = run
            above.append(run)
        members = above
    return members


def _likeness(box: Box, part: Mapping[Operation, str]) -> tuple[str, ...]:
    """What neighbours in a run share."""
    inner = box
    while inner.op is None:
        inner = inner.children[0]
    mine = part.get(inner.op, "forward")
    mine = "forward" if mine in ("input", "variable", "constant") else mine
    if box.kind == OP:
        return (mine,)
    return mine, re.sub(r"[0-9]+", "#", box.label[:200])


def _first(box: Box) -> str:
    return short(box.label.split(" … ")[0], 40)


def _last(box: Box) -> str:
    return short(box.label.split(" … ")[-1], 40)


def _number(root: Box) -> list[Box]:
    found: list[Box] = []
    stack = [root]
    while stack:
        box = stack.pop()
        box.number = len(found)
        found.append(box)
        stack.extend(reversed(box.children))
    return found
