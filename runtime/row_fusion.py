"""Reductions along last axes with the elementwise operations around them: one step.

A group grows from a reduction, after elementwise operations have been fused: by what
makes its operands, by what reads its results, and by reductions along the same axes. It
is convex, crosses no effects, and nothing large is made between its members, so that it
holds no more memory than they do. A reduction of all elements takes in only what makes
its operand (and what that needs): its result is there when all has been read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.opdef import OpDef
from .fused import FUSED
from .native.trace import Untraceable
from .program import IN_PLANS_ONLY, NODE, Node, Program, Value
from .row_groups import ROWS, RowGroup, RowMember

__all__ = ["Around", "join_rows"]

#: Longer rows are left to NumPy: it adds in pairs, a row's code in lanes of vectors.
_LONGEST = 4096
_SHORTEST = 8
#: Bounds of a group: members, arrays, and nodes looked at to see that it is convex.
_MEMBERS, _ARRAYS, _LOOKED = 64, 24, 128

_REDUCTIONS = {"Max": "max", "Mean": "mean", "Sum": "sum", "SumTo": "sum"}
#: The two means of moments, with the squares between.
_MOMENTS = "Moments"
#: Views that hand on the numbers of rows, in order, or repeat them along rows.
_RESHAPES = frozenset(["ExpandDims", "Identity", "Reshape", "Squeeze"])
_REPEATS = frozenset(["BroadcastTo", "Spread"])


class Around(NamedTuple):
    """What elementwise fusion knows of a program.

    Attributes:
        least: elements from which native code pays.
        native: "auto" or "wait".
        pinned: nodes that stay as they are.
        previous: per node with an effect, the one whose effect comes before.
        traceable: whether there is native code for an elementwise node.
        written: whether a value is a variable that this run has written.
    """

    least: int
    native: str
    pinned: set[Node]
    previous: dict[Node, Node]
    traceable: Any
    written: Any


def join_rows(program: Program, around: Around) -> dict[Node, Node]:
    """The node of its group for each node that is in one."""
    return _Rows(program, around).groups()


class _Frame(NamedTuple):
    """The rows that a group is about: the shape, its last ``k`` axes being a row."""

    dims: tuple[int, ...]
    k: int

    @property
    def lead(self) -> tuple[int, ...]:
        return self.dims[: len(self.dims) - self.k]

    @property
    def tail(self) -> tuple[int, ...]:
        return self.dims[len(self.dims) - self.k :]

    @property
    def rows(self) -> int:
        return math.prod(self.lead)

    @property
    def length(self) -> int:
        return math.prod(self.tail)

    def is_row_number(self, dims: Any) -> bool:
        """Whether a shape is that of a reduced array."""
        return dims in (self.lead, (*self.lead, *(1,) * self.k))

    def move(self, dims: tuple[int, ...]) -> str:
        """How an array moves that is broadcast to the elements; "": otherwise."""
        if dims == self.dims:
            return "1"
        if math.prod(dims) == 1:
            return "s"
        if len(dims) > len(self.dims):
            return ""
        full = (*(1,) * (len(self.dims) - len(dims)), *dims)
        head, tail = full[: len(full) - self.k], full[len(full) - self.k :]
        if math.prod(head) == 1 and tail == self.tail:
            return "c"
        return "0" if head == self.lead and math.prod(tail) == 1 else ""


class _Part(NamedTuple):
    """One operation of a node: what a member is made of."""

    op: Any
    opdef: Any
    attrs: Any
    reads: tuple[Any, ...]  # Values as they are read, or places in a fused node
    made: Any
    dtype: Any
    wide: bool
    reduce: str


class _Rows:
    """Finds groups of one program."""

    def __init__(self, program: Program, around: Around) -> None:
        self.program = program
        self.around = around
        self.position = {node: i for i, node in enumerate(program.nodes)}
        self.readers: dict[Value, list[Node]] = defaultdict(list)
        for node in program.nodes:
            for v in node.inputs:
                self.readers[v].append(node)
        self.fetched = set(program.fetches)
        self.group_of: dict[Node, list[Node]] = {}
        self.last: dict[int, int] = {}
        self._known: dict[tuple[Node, _Frame], list[_Part]] = {}
        self._read: dict[tuple[Node, _Frame], list[tuple[Value, str]]] = {}

    def groups(self) -> dict[Node, Node]:
        joined: dict[Node, Node] = {}
        for node in self.program.nodes:
            if node in self.group_of:
                continue
            frame = self._frame(node)
            if frame is None:
                continue
            group = self._grow(node, frame, False)
            made = self._join(group, frame)
            if made is None and len(group) > 2:
                group = self._grow(node, frame, True)
                made = self._join(group, frame)
            if made is not None:
                for n in group:
                    joined[n] = made
                    self.group_of[n] = group
                self.last[id(group)] = self.position[group[-1]]
        # Until all groups are found, values are of the nodes that they came from.
        for made in joined.values():
            for k, v in enumerate(made.outputs):
                v.node = made
                v.index = k
        return joined

    # -- which nodes -----------------------------------------------------------

    def _frame(self, node: Node) -> _Frame | None:
        """What a reduction along last axes is about."""
        reduces = node.opdef.type in _REDUCTIONS or node.opdef.type == _MOMENTS
        if not reduces or not self._is_free(node):
            return None
        v = node.inputs[0]
        dims = v.dims
        dtype = v.dtype.dtype
        if not v.static or not dims or dtype.kind != "f" or dtype.itemsize < 4:
            return None
        frame = _Frame(dims, _last_axes(node, dims))  # type: ignore[arg-type]
        if not frame.k or frame.rows * frame.length < self.around.least:
            return None
        if frame.rows > 1 and not _SHORTEST <= frame.length <= _LONGEST:
            return None
        if frame.move(dims) != "1" or frame.length < _SHORTEST:  # type: ignore[arg-type]
            return None
        return frame

    def _is_free(self, node: Node) -> bool:
        opdef = node.opdef
        if opdef.effect is not None or opdef.control is not None or node.after:
            return False
        if opdef.alias is not None or node in self.around.pinned:
            return False
        return node not in self.group_of and all(
            v.static and v.value is None for v in node.outputs
        )

    def _parts(self, node: Node, frame: _Frame) -> list[_Part]:
        """A node's operations; none: it cannot be of a group."""
        if node in self.group_of:
            return []
        key = node, frame
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._operations(node, frame)
        return found

    def _operations(self, node: Node, frame: _Frame) -> list[_Part]:
        if not self._is_free(node):
            return []
        if node.opdef is FUSED:
            group = node.attrs["group"]
            wide = group.dims == frame.dims
            rows = frame.is_row_number(group.dims) and frame.rows > 1
            if group.native == "off" or not (wide or rows):
                return []
            n = len(group.inputs)
            names: list[Any] = [*node.inputs, *((node, k) for k in range(64))]
            for v, r in zip(node.outputs, group.results):
                names[r] = v
            return [
                _Part(m.op, m.opdef, m.attrs, tuple(names[r] for r in m.reads),
                      names[n + k], m.dtype, wide, "")
                for k, m in enumerate(group.members)
            ]  # fmt: skip
        if node.opdef.type == _MOMENTS:
            # Of all elements the mean is there when they have been read.
            right = frame.rows > 1 and self._frame(node) == frame
            return _moments(node) if right else []
        (out, *more) = node.outputs
        reduce = ""
        reads: tuple[Any, ...] = tuple(node.inputs)
        if node.opdef.type in _REDUCTIONS:
            if self._frame(node) != frame:
                return []
            reduce, reads, wide = _REDUCTIONS[node.opdef.type], reads[:1], False
        elif more or not node.opdef.elementwise or not self.around.traceable(node):
            return []
        elif out.dims == frame.dims:
            wide = True
        elif frame.is_row_number(out.dims) and frame.rows > 1:
            wide = False
        else:
            return []
        if node.opdef.type == "Select" and any(v.dims != out.dims for v in reads):
            return []
        dtype = out.dtype.dtype
        return [_Part(node.op, node.opdef, node.attrs, reads, out, dtype, wide, reduce)]

    def _source(self, v: Value, wide: bool, frame: _Frame) -> tuple[Value, str] | None:
        """The contiguous array that is read where ``v`` is, and how it moves."""
        if not v.static or v.dtype.kind < 0 or self.around.written(v):
            return None
        dims: tuple[int, ...] = v.dims  # type: ignore[assignment]
        if wide:
            move = frame.move(dims)
        elif math.prod(dims) == 1:
            move = "s"
        else:
            move = "0" if frame.is_row_number(dims) else ""
        if move == "1":
            base = v
            while (
                base.node is not None
                and base.node.opdef.type in _RESHAPES
                and not base.node.after
            ):
                base = base.node.inputs[0]
            if base.node is not None and base.node.opdef.type in _REPEATS:
                given = base.node.inputs[0]
                if base.dims != dims or base.node.after:
                    return None
                shape: Any = given.dims
                if base.node.opdef.type == "Spread":
                    axes = base.node.attrs["axis"]
                    if math.prod(shape or ()) == 1 and given.static:
                        return given, "s"
                    if _axes_count(axes, len(dims)) != frame.k:
                        return None
                    move = "0"
                else:
                    move = frame.move(shape) if given.static else ""
                    if move == "1":
                        return None
                v = given
        if move == "0":
            while (
                v.node is not None
                and v.node.opdef.type in _RESHAPES
                and not v.node.after
                and v.node.inputs[0].static
            ):
                v = v.node.inputs[0]
        a = v.value
        if move and isinstance(a, np.ndarray) and not a.flags.c_contiguous:
            return None if any(a.strides) else (v, "s")  # one number, repeated
        base = v
        while base.node is not None and base.node.opdef.alias is not None:
            if base.node.opdef.type not in _RESHAPES:
                return None  # its elements lie elsewhere
            base = base.node.inputs[0]
        return (v, move) if move else None

    # -- growing ---------------------------------------------------------------

    def _grow(self, seed: Node, frame: _Frame, strict: bool) -> list[Node]:
        """The nodes of a group in order; ``strict``: no step on the way to it may be
        one that does not pay."""
        members = {seed: self._parts(seed, frame)}
        if not members[seed]:
            return []
        changed = True
        while changed:
            changed = False
            for node in sorted(self._next(members, frame), key=self.position.get):  # type: ignore[arg-type]
                parts = self._parts(node, frame)
                if not parts or not self._fits(members, node, parts, frame):
                    continue
                more = sorted((*members, node), key=self.position.__getitem__)
                if strict and self._join(more, frame) is None:
                    continue
                members[node] = parts
                changed = True
        return sorted(members, key=self.position.__getitem__)

    def _next(self, members: dict[Node, list[_Part]], frame: _Frame) -> set[Node]:
        """What is next to a group: what it reads is made by, and what reads it."""
        found: set[Node] = set()
        for node in members:
            for v, _ in self._reads(node, frame):
                if v.node is not None:
                    found.add(v.node)
            if frame.rows == 1:
                continue
            stack = list(node.outputs)
            while stack:
                for reader in self.readers[stack.pop()]:
                    if reader.opdef.type in _RESHAPES | _REPEATS:
                        stack.extend(reader.outputs)
                    else:
                        found.add(reader)
        return found - members.keys()

    def _reads(self, node: Node, frame: _Frame) -> list[tuple[Value, str]]:
        """What a node's operations read from outside, as it lies in memory."""
        key = node, frame
        found = self._read.get(key)
        if found is None:
            parts = self._parts(node, frame)
            found = self._read[key] = list(self._sources(parts, frame))
        return found

    def _sources(
        self, parts: list[_Part], frame: _Frame
    ) -> Iterator[tuple[Value, str]]:
        own = {p.made for p in parts}
        for p in parts:
            for v in p.reads:
                if v not in own:
                    found = self._source(v, p.wide or bool(p.reduce), frame)
                    yield (v, "") if found is None else found

    def _fits(
        self,
        members: dict[Node, list[_Part]],
        node: Node,
        parts: list[_Part],
        frame: _Frame,
    ) -> bool:
        nodes = {*members, node}
        members = {**members, node: parts}
        every = [p for ps in members.values() for p in ps]
        if len(every) > _MEMBERS:
            return False
        wide = {p.made: p.wide for p in every}
        given = set()
        for n in members:
            for v, move in self._reads(n, frame):
                # A member's result may be read otherwise than it was made: numbers
                # of rows as one row, where there are as many.
                if not move or (v in wide and move != "01"[wide[v]]):
                    return False
                given.add(v)
        if frame.rows == 1:
            made = {p.made for p in every if p.reduce}
            if made & given:
                return False
        given = {v for v in given if v.node not in nodes}
        # What a later member reads may be no output in the end.
        outputs = sum(
            v.dims == frame.dims and self._leaves(v, nodes)
            for n in nodes
            for v in n.outputs
        )
        if len(given) + outputs > _ARRAYS:
            return False
        item = max(np.dtype(p.dtype).itemsize for p in every)
        size = frame.rows * frame.length * item // 2
        places = [self.position[n] for n in nodes]
        between = self.program.nodes[min(places) + 1 : max(places)]
        if len(between) > _LOOKED or any(
            n not in nodes and _makes(n, size) for n in between
        ):
            return False
        return self._is_convex(nodes, given)

    def _is_convex(self, members: set[Node], given: set[Value]) -> bool:
        """Whether no path leads from a member to what the members read."""
        first = min(self.position[n] for n in members)
        stack = [v.node for v in given if v.node is not None]
        seen: set[Node] = set()
        while stack:
            node = stack.pop()
            if node in members:
                return False
            if node in seen:
                continue
            whole = self.group_of.get(node) or [node]
            if self.position[node] < first and self.last.get(id(whole), -1) < first:
                continue
            seen.update(whole)
            if len(seen) > _LOOKED:
                return False
            for n in whole:
                stack.extend(n.after)
                stack.extend(v.node for v in n.inputs if v.node is not None)
                if n in self.around.previous:
                    stack.append(self.around.previous[n])
        return True

    # -- the new node ------------------------------------------------------------

    def _join(self, group: list[Node], frame: _Frame) -> Node | None:
        """The node that does the work of a group, where that pays."""
        parts = [(n, p) for n in group for p in self._parts(n, frame)]
        if sum(p.wide or bool(p.reduce) for _, p in parts) < 2:
            return None
        made = {p.made: k for k, (_, p) in enumerate(parts)}
        inputs: dict[Value, tuple[int, str]] = {}
        sources: list[list[tuple[Any, str]]] = []
        for _, p in parts:
            found = []
            for v in p.reads:
                if v in made:
                    found.append((v, ""))
                    continue
                source = self._source(v, p.wide or bool(p.reduce), frame)
                assert source is not None
                if source[0] in made:
                    found.append((source[0], ""))
                    continue
                place = inputs.setdefault(source[0], (len(inputs), source[1]))
                if place[1] != source[1]:
                    return None  # read in two ways
                found.append(source)
            sources.append(found)
        n = len(inputs)
        register = {v: place for v, (place, _) in inputs.items()}
        register.update({v: n + k for v, k in made.items()})
        moves = {v: move for v, (_, move) in inputs.items()}
        members = []
        for (_, p), found in zip(parts, sources):
            spread = () if isinstance(p.opdef.kernel, str) or p.reduce else tuple(
                i for i, (given, (v, _)) in enumerate(zip(p.reads, found))
                if isinstance(given, Value) and given.dims == frame.dims
                and not self._is_wide(v, made, parts, moves)
            )  # fmt: skip
            reads = tuple(register[v] for v, _ in found)
            members.append(RowMember(p.op, p.opdef, p.attrs, reads, p.dtype, p.wide,
                                     p.reduce, spread))  # fmt: skip
        nodes = set(group)
        outputs = [v for m in group for v in m.outputs if self._leaves(v, nodes)]
        made_group = RowGroup(
            tuple(members),
            tuple((v.dtype, move) for v, (_, move) in inputs.items()),
            tuple(register[v] for v in outputs),
            tuple(v.dims or () for v in outputs),  # type: ignore[misc]
            frame.rows,
            frame.length,
            self.around.native,
        )
        try:
            made_group.kernel  # noqa: B018
        except Untraceable:
            return None
        last = group[-1]
        node = Node(last.op, ROWS, {"group": made_group}, list(inputs), [])
        node.outputs = tuple(outputs)
        return node if self._holds_no_more(group, frame, node) else None

    def _holds_no_more(self, group: list[Node], frame: _Frame, made: Node) -> bool:
        """Whether one step, with all its arrays alive, keeps no more memory alive
        than its nodes one after the other; each may write where an operand dies."""
        nodes = set(group)
        until: dict[Value, int] = {}
        for k, node in enumerate(group):
            for v, _ in self._reads(node, frame):
                until[v] = k
        leaving = set(made.outputs)
        given = [v for v in made.inputs if v.kind == NODE and v not in self.fetched]
        for v in given:
            if self._leaves(v, nodes):
                until[v] = len(group)
        outputs = [v for v in made.outputs if v not in self.fetched]
        rows: RowGroup = made.attrs["group"]
        together: int = sum(v.nbytes for v in (*given, *outputs))
        dying = [v for v in given if until[v] < len(group)]
        for out in outputs:
            k = made.outputs.index(out)
            for v in dying:
                if v.dims == out.dims and v.dtype is out.dtype and rows.may_overwrite(
                    k, made.inputs.index(v)
                ):  # fmt: skip
                    together -= out.nbytes
                    dying.remove(v)
                    break
        alive = set(given)
        most = 0
        for k, node in enumerate(group):
            alive.update(v for v in node.outputs if v not in self.fetched)
            spent = [v for v in alive if v not in leaving and until.get(v, -1) <= k]
            saved = 0
            if node.opdef.elementwise:
                own = [v.nbytes for v in node.outputs if v in alive]
                ends = [v.nbytes for v in spent if v not in node.outputs]
                if own and ends and max(ends) >= max(own):
                    saved = min(len(own), len(ends)) * max(own)
            most = max(most, sum(v.nbytes for v in alive) - saved)
            alive.difference_update(spent)
        return together <= most

    def _is_wide(self, v: Any, made: Any, parts: Any, moves: Any) -> bool:
        return bool(parts[made[v]][1].wide if v in made else moves[v] == "1")

    def _leaves(self, v: Value, members: set[Node]) -> bool:
        """Whether others read a value than members, which look through views."""
        stack = [v]
        while stack:
            given = stack.pop()
            if given in self.fetched:
                return True
            for reader in self.readers[given]:
                if reader in members:
                    continue
                if reader.opdef.type not in _RESHAPES | _REPEATS:
                    return True
                if reader in self.around.pinned:
                    return True
                stack.extend(reader.outputs)
        return False


def _pointwise(type: str, ufunc: str) -> OpDef:
    return OpDef(type, kernel=ufunc, inputs=("x", "y"), doc=ufunc, **IN_PLANS_ONLY)


_CENTRE, _SQUARE = _pointwise("_Centre", "subtract"), _pointwise("_Square", "multiply")


def _moments(node: Node) -> list[_Part]:
    """The mean, the distances to it, their squares and these squares' mean."""
    (x,) = node.inputs
    mean, variance = node.outputs
    centred, squares = (node, 1), (node, 2)
    op, opdef, attrs, dtype = node.op, node.opdef, node.attrs, x.dtype.dtype
    return [
        _Part(op, opdef, attrs, (x,), mean, dtype, False, "mean"),
        _Part(op, _CENTRE, {}, (x, mean), centred, dtype, True, ""),
        _Part(op, _SQUARE, {}, (centred, centred), squares, dtype, True, ""),
        _Part(op, opdef, attrs, (squares,), variance, dtype, False, "mean"),
    ]


def _last_axes(node: Node, dims: tuple[int, ...]) -> int:
    """How many last axes a reduction takes away; 0: it takes others."""
    if node.opdef.type == "SumTo":
        out = node.outputs[0].dims or ()
        out = (*(1,) * (len(dims) - len(out)), *out)
        gone = [i for i, (d, o) in enumerate(zip(dims, out)) if d != o]
        if not gone:
            return 0
        k = len(dims) - gone[0]
        return k if math.prod(out[gone[0] :]) == 1 else 0  # type: ignore[arg-type]
    return _axes_count(node.attrs["axis"], len(dims))


def _axes_count(axes: Any, rank: int) -> int:
    """How many axes, which are the last ones; 0: they are not."""
    if axes is None:
        return rank
    found = sorted(i % rank for i in axes)
    return len(found) if found == list(range(rank - len(found), rank)) else 0


def _makes(node: Node, size: int) -> bool:
    """Whether a node makes something large."""
    if node.opdef.alias is not None or node.opdef.type == "Fill":
        return False
    return any(v.kind == NODE and v.nbytes >= size for v in node.outputs)
