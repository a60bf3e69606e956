"""Reductions along last axes with the elementwise operations around them: one step.

A group grows from a reduction, after elementwise operations have been fused: by what
makes its operands, by what reads its results, and by reductions along the same axes. It
is convex, crosses no effects, and nothing large is made between its members, so that it
holds no more memory than they do. A reduction of all elements takes in only what makes
its operand (and what that needs): its result is there when all has been read.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .convex import Joint, Unit, Units
from .fused import FUSED
from .native.rows import RowKernel
from .native.trace import Untraceable
from .one_step import holds_no_more
from .program import NODE, Node, Program, Value
from .row_groups import ROWS, RowGroup, RowMember
from .row_parts import COMPOUND, Frame, Part, frame_of

__all__ = ["Around", "join_rows"]

#: Longer rows are left to NumPy: it adds in pairs, a row's code in lanes of vectors.
_LONGEST = 4096
_SHORTEST = 8
#: Bounds of a group: members, arrays, and nodes between the first and the last.
_MEMBERS, _ARRAYS, _SPREAD = 64, 24, 128

_REDUCTIONS = {"Max": "max", "Mean": "mean", "Min": "min", "Sum": "sum"}
_REDUCTIONS["SumTo"] = "sum"
#: Views that hand on the numbers of rows, in order, or repeat them along rows.
_RESHAPES = frozenset(["ExpandDims", "Identity", "Reshape", "Squeeze"])
_REPEATS = frozenset(["BroadcastTo", "Spread"])


#: Large arrays that go through NumPy's kernels of several passes.
_STREAMS = {"Moments": 6, "FusedBatchNorm": 6, "FusedBatchNormGrad": 8}


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


class _Grown:
    """A group while it grows.

    Attributes:
        nodes: its nodes, of ``count`` operations, from place ``first`` to ``last``.
        wide: per result, whether it has a number for each element.
        given: per value that is read, how it moves.
        reduced: results of reductions.
        item: bytes of the largest element.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.nodes: set[Node] = set()
        self.count = 0
        self.first, self.last = sys.maxsize, -1
        self.wide: dict[Any, bool] = {}
        self.given: dict[Value, str] = {}
        self.reduced: set[Any] = set()
        self.item = 0

    def add(
        self, node: Node, parts: list[Part], reads: list[tuple[Value, str]], place: int
    ) -> None:
        """Take a node in."""
        self.nodes.add(node)
        self.count += len(parts)
        self.first, self.last = min(self.first, place), max(self.last, place)
        self.wide.update({p.made: p.wide for p in parts})
        self.given.update(reads)
        self.reduced.update([p.made for p in parts if p.reduce])
        self.item = max(self.item, *(np.dtype(p.dtype).itemsize for p in parts))

    def agrees(self, parts: list[Part], reads: list[tuple[Value, str]]) -> bool:
        """Whether what is read moves as it was made.

        A member's result may be read otherwise: numbers of rows as one row, where
        there are as many.
        """
        wide = {p.made: p.wide for p in parts}
        for v, move in reads:
            made = wide.get(v, self.wide.get(v))
            if not move or (made is not None and move != "01"[made]):
                return False
        for made, is_wide in wide.items():
            if self.given.get(made, "01"[is_wide]) != "01"[is_wide]:
                return False
        if self.frame.rows > 1:
            return True
        # A reduction of all elements is there when they have been read.
        return self.reduced.isdisjoint([v for v, _ in reads]) and not any(
            p.reduce and p.made in self.given for p in parts
        )


class _Rows:
    """Finds groups of one program."""

    def __init__(self, program: Program, around: Around) -> None:
        self.program = program
        self.around = around
        self.units = Units(program, around.previous)
        self.position = self.units.position
        self.readers = self.units.readers
        self.fetched = set(program.fetches)
        self.joined: dict[Node, Node] = {}
        self._known: dict[tuple[Node, Frame], list[Part]] = {}
        self._read: dict[tuple[Node, Frame], list[tuple[Value, str]]] = {}

    def groups(self) -> dict[Node, Node]:
        for node in self.program.nodes:
            frame = self._frame(node)
            if frame is None:
                continue
            group = self._grow(node, frame, False)
            made = self._join(group, frame)
            if made is None and len(group) > 2:
                group = self._grow(node, frame, True)
                made = self._join(group, frame)
            if made is None:
                continue
            joint = self._joint(group, made.inputs)
            assert joint is not None, "no group grows across a path"
            self.units.join(Unit(group, made.inputs, joint.rank), group, joint)
            self.joined.update(dict.fromkeys(group, made))
        # Until all groups are found, values are of the nodes that they came from.
        for made in self.joined.values():
            for k, v in enumerate(made.outputs):
                v.node = made
                v.index = k
        return self.joined

    # -- which nodes -----------------------------------------------------------

    def _frame(self, node: Node) -> Frame | None:
        """What a reduction along last axes, or first ones, is about."""
        reduces = node.opdef.type in _REDUCTIONS or node.opdef.type in COMPOUND
        if not reduces or not self._is_free(node):
            return None
        v = node.inputs[0]
        dims = v.dims
        dtype = v.dtype.dtype
        if not v.static or not dims or dtype.kind != "f" or dtype.itemsize < 4:
            return None
        frame = frame_of(node, dims)  # type: ignore[arg-type]
        if frame is None or frame.rows * frame.length < self.around.least:
            return None
        line = frame.rows if frame.columns else frame.length
        if line < _SHORTEST or frame.length < _SHORTEST:
            return None
        return None if frame.rows > 1 and line > _LONGEST else frame

    def _is_free(self, node: Node) -> bool:
        opdef = node.opdef
        if opdef.effect is not None or opdef.control is not None or node.after:
            return False
        if opdef.alias is not None or node in self.around.pinned:
            return False
        return node not in self.joined and all(
            v.static and v.value is None for v in node.outputs
        )

    def _parts(self, node: Node, frame: Frame) -> list[Part]:
        """A node's operations; none: it cannot be of a group."""
        if node in self.joined:
            return []
        key = node, frame
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._operations(node, frame)
        return found

    def _operations(self, node: Node, frame: Frame) -> list[Part]:
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
                Part(m.op, m.opdef, m.attrs, tuple(names[r] for r in m.reads),
                      names[n + k], m.dtype, wide, "")
                for k, m in enumerate(group.members)
            ]  # fmt: skip
        compound = COMPOUND.get(node.opdef.type)
        if compound is not None:
            # Of all elements the mean is there when they have been read.
            right = frame.rows > 1 and self._frame(node) == frame
            return compound(node) if right else []
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
        return [Part(node.op, node.opdef, node.attrs, reads, out, dtype, wide, reduce)]

    def _source(self, v: Value, wide: bool, frame: Frame) -> tuple[Value, str] | None:
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
                    if not frame.is_reduced(axes):
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

    def _grow(self, seed: Node, frame: Frame, strict: bool) -> list[Node]:
        """The nodes of a group in order; ``strict``: no step on the way to it may be
        one that does not pay."""
        grown = _Grown(frame)
        parts = self._parts(seed, frame)
        if not parts:
            return []
        grown.add(seed, parts, self._reads(seed, frame), self.position[seed])
        changed = True
        while changed:
            changed = False
            for node in sorted(self._next(grown, frame), key=self.position.get):  # type: ignore[arg-type]
                parts = self._parts(node, frame)
                if not parts or not self._fits(grown, node, parts):
                    continue
                if strict and self._join(self._inorder(grown, node), frame) is None:
                    continue
                grown.add(node, parts, self._reads(node, frame), self.position[node])
                changed = True
        return self._inorder(grown)

    def _inorder(self, grown: _Grown, *more: Node) -> list[Node]:
        return sorted((*grown.nodes, *more), key=self.position.__getitem__)

    def _next(self, grown: _Grown, frame: Frame) -> set[Node]:
        """What is next to a group: what it reads is made by, and what reads it."""
        found: set[Node] = set()
        for node in grown.nodes:
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
        return found - grown.nodes

    def _reads(self, node: Node, frame: Frame) -> list[tuple[Value, str]]:
        """What a node's operations read from outside, as it lies in memory."""
        key = node, frame
        found = self._read.get(key)
        if found is None:
            parts = self._parts(node, frame)
            found = self._read[key] = list(self._sources(parts, frame))
        return found

    def _sources(self, parts: list[Part], frame: Frame) -> Iterator[tuple[Value, str]]:
        own = {p.made for p in parts}
        for p in parts:
            for v in p.reads:
                if v not in own:
                    found = self._source(v, p.wide or bool(p.reduce), frame)
                    yield (v, "") if found is None else found

    def _fits(self, grown: _Grown, node: Node, parts: list[Part]) -> bool:
        """Whether a node can be one more of a group."""
        frame, place = grown.frame, self.position[node]
        first, last = min(grown.first, place), max(grown.last, place)
        if last - first - 1 > _SPREAD or grown.count + len(parts) > _MEMBERS:
            return False
        reads = self._reads(node, frame)
        if not grown.agrees(parts, reads):
            return False
        nodes = {*grown.nodes, node}
        given = {
            v for v in (*grown.given, *(v for v, _ in reads)) if v.node not in nodes
        }
        # What a later member reads may be no output in the end.
        outputs = sum(
            v.dims == frame.dims and self._leaves(v, nodes)
            for n in nodes
            for v in n.outputs
        )
        if len(given) + outputs > _ARRAYS:
            return False
        item = max(grown.item, *(np.dtype(p.dtype).itemsize for p in parts))
        size = frame.rows * frame.length * item // 2
        if any(
            n not in nodes and _makes(n, size)
            for n in self.program.nodes[first + 1 : last]
        ):
            return False
        return self._joint(nodes, given) is not None

    def _joint(self, nodes: Collection[Node], given: Iterable[Value]) -> Joint | None:
        """How nodes may be one; None: a path leads out of them and back."""
        of = self.units.of
        made = [v for n in nodes for v in n.outputs]
        return self.units.joint({of[n] for n in nodes}, given, made)

    # -- the new node ------------------------------------------------------------

    def _join(self, group: list[Node], frame: Frame) -> Node | None:
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
            frame.columns,
        )
        try:
            kernel = made_group.kernel
        except Untraceable:
            return None
        if frame.columns and _traffic(kernel) > sum(map(self._streams, group)):
            return None
        last = group[-1]
        node = Node(last.op, ROWS, {"group": made_group}, list(inputs), [])
        node.outputs = tuple(outputs)
        right = holds_no_more(
            group,
            [[v for v, _ in self._reads(n, frame)] for n in group],
            node.inputs,
            node.outputs,
            self.fetched,
            lambda v: self._leaves(v, nodes),
            made_group.may_overwrite,
        )
        return node if right else None

    def _streams(self, node: Node) -> int:
        """How many large arrays a node of its own reads and writes."""
        size = node.inputs[0].nbytes
        own = _STREAMS.get(node.opdef.type)
        return own or sum(2 * v.nbytes > size for v in (*node.inputs, *node.outputs))

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


def _traffic(kernel: RowKernel) -> int:
    """How many large arrays the passes of a kernel read and write."""
    schedule = kernel.schedule
    streams: int = sum(schedule.wide[r] for r in kernel.results)
    for p, needed in enumerate(schedule.passes):
        for r in needed:
            kept = r in schedule.kept and schedule.level[r] < p
            streams += kept or kernel.code[r][0] == "input"
    return streams


def _makes(node: Node, size: int) -> bool:
    """Whether a node makes something large."""
    if node.opdef.alias is not None or node.opdef.type == "Fill":
        return False
    return any(v.kind == NODE and v.nbytes >= size for v in node.outputs)
