"""Loops carry and compute only what changes: dead variables, invariant code.

A carry that goes around as it is becomes an input that is the same in every iteration;
carries, rows and stacks that nobody reads go, with what only they need; pure operations
on what is the same in every iteration run once, before the loop (and, where that is a
constant, when the run is planned).

Precondition: a loop without effects that keeps no checkpoints and waits for nothing.
Postcondition: what is read of the loop is the same to the bit.  An operation moves only
if it cannot fail, and makes no more than it reads or 64 kB: it runs once where the
loop makes no iteration too.  Loops whose dead parts check something stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ...graphlib.errors import DagradError
from ...graphlib.operation import Operation
from ...graphlib.subgraph import BODY_VARIABLE
from ...graphlib.tensor import Tensor
from ..program import CONST, VARIABLE, Node, Program, Value, constant_value, outputs_of
from ._loop_parts import LoopParts, itself, last, may_change, needed_for
from ._walk import Budget
from .fold import computed

__all__ = ["simplify_loops"]

_SMALL = 64 * 1024
#: What has no other effect than to fail.
_CHECKS = frozenset(("Ensure", "IndexBelow", "SizedRows", "PyFuncStateless"))
#: Elementwise operations that can fail.
_FAILING = frozenset(("FloorDiv", "FloorMod", "Pow", "TruncateDiv", "TruncateMod"))
#: Others that cannot, once inference has seen the shapes.
_MOVABLE = frozenset(
    (
        "BroadcastTo", "ConcatV2", "Einsum", "ExpandDims", "Fill", "LogSoftmax",
        "LogSumExp", "MatMul", "MatrixTranspose", "Max", "Min", "OnesLike", "Pack",
        "Prod", "Reshape", "Softmax", "Spread", "Squeeze", "Sum", "SumTo", "Transpose",
        "ZerosLike",
    )
)  # fmt: skip


def simplify_loops(program: Program) -> int:
    """Simplify loops; returns how many changes that took."""
    if "Loop" not in program.types:
        return 0
    budget = Budget(len(program.nodes))
    subst: dict[Value, Value] = {}
    kept: list[Node] = []
    changed = 0
    reads = _Reads(program)
    before: list[list[Node]] = [[] for _ in program.nodes]
    # Readers first: what they no longer read may be dead in the loops before them.
    for at in range(len(program.nodes) - 1, -1, -1):
        node = program.nodes[at]
        if not may_change(node):
            continue
        loop = _Loop(node)
        if not budget.spend(len(loop.body.operations())):
            program.notes.add("stopped: its budget is spent", node.op)
            break
        old = list(node.inputs)
        done = loop.settle(subst, reads)
        done += loop.prune(reads)
        moved, nodes = loop.hoist()
        for what, count in (*done, *moved):
            for _ in range(count):
                program.notes.add(what, node.op)
            changed += count
        if done or moved:
            loop.rebuild()
            program.types.update(n.opdef.type for n in nodes)
            before[at] = nodes
            reads.changed(old, node.inputs, nodes)
    if not changed:
        return 0
    for node, nodes in zip(program.nodes, before):
        kept += nodes
        kept.append(node)
    resolved = {v: last(v, subst) for v in subst}
    for node in kept:
        node.redirect(resolved)
    program.nodes = kept
    program.fetches = [resolved.get(v, v) for v in program.fetches]
    return changed


class _Reads:
    """How often values are read, while loops change."""

    def __init__(self, program: Program) -> None:
        self.count: dict[Value, int] = defaultdict(int)
        for node in program.nodes:
            self._add(node.inputs, 1)
        self._add(program.fetches, 1)

    def _add(self, values: Iterable[Value], by: int) -> None:
        for v in values:
            self.count[v] += by

    def changed(
        self, old: Iterable[Value], new: Iterable[Value], nodes: Iterable[Node]
    ) -> None:
        """A node has other inputs, and others stand before it."""
        self._add(old, -1)
        self._add(new, 1)
        for node in nodes:
            self._add(node.inputs, 1)


class _Loop(LoopParts):
    """A loop node, to be made smaller."""

    # -- carries that stay as they are -----------------------------------------------

    def settle(self, subst: dict[Value, Value], reads: _Reads) -> list[tuple[str, int]]:
        """Pass carries that no iteration changes as what is the same in all."""
        stay = [
            i
            for i, (t, v) in enumerate(self.carries)
            if i not in self.unshaped
            and i not in self.histories
            and itself(self.carried[i]) is t
            and v.kind != VARIABLE
            and v.dims == self.finals[i].dims
        ]
        for i in stay:
            final, first = self.finals[i], self.carries[i][1]
            subst[final] = first
            reads.count[first] += reads.count[final]
            self.rest.append(self.carries[i])
        self.keep_carries([i for i in range(len(self.carries)) if i not in set(stay)])
        return [("a carry that does not change", len(stay))] if stay else []

    # -- what nobody reads -----------------------------------------------------------

    def prune(self, reads: _Reads) -> list[tuple[str, int]]:
        """Drop carries, histories, stacks and inputs that nobody reads."""
        count = reads.count
        histories = {i: v for i, v in self.histories.items() if count[v]}
        stacks = [s for s in self.stacks if count[s[1]]]
        live = {i for i, v in enumerate(self.finals) if count[v] or i in histories}
        place = {t: i for i, (t, _) in enumerate(self.carries)}
        known = {t for pairs in (self.carries, self.rows, self.rest) for t, _ in pairs}
        roots = [t for t, _, _ in stacks] + [self.carried[i] for i in live]
        if self.again is not None:
            roots.append(self.again)
        seen: set[Tensor] = set()
        needed = set()
        while roots:
            ops, met = needed_for(roots, known)
            needed |= ops
            fresh = {place[t] for t in met if t in place} - live
            seen |= met
            live |= fresh
            roots = [self.carried[i] for i in fresh]
        gone = [op for op in self.body.operations() if op not in needed]
        if any(op.opdef.type in _CHECKS or op.opdef.effect == "io" for op in gone):
            return []
        done = []
        dead = len(self.carries) - len(live)
        if dead:
            done.append(("a carry that nobody reads", dead))
        dead = len(self.stacks) - len(stacks)
        dead += len([i for i in self.histories if i in live and i not in histories])
        if dead:
            done.append(("a stack that nobody reads", dead))
        self.stacks, self.histories = stacks, histories
        self.loose &= set(histories)
        self.keep_carries(sorted(live))
        done += self._drop_inputs(seen)
        return done

    def _drop_inputs(self, seen: set[Tensor]) -> list[tuple[str, int]]:
        before = len(self.rows) + len(self.rest)
        # An array that is scanned says how often the loop runs.
        lengths = [v.dims[0] if v.dims else None for _, v in self.rows]
        if None not in lengths and len(set(lengths)) == 1:
            used = [pair for pair in self.rows if pair[0] in seen]
            self.rows = used or self.rows[:1]
        self.rest = [pair for pair in self.rest if pair[0] in seen]
        dead = before - len(self.rows) - len(self.rest)
        return [("an input that nothing reads", dead)] if dead else []

    # -- what is the same in every iteration -----------------------------------------

    def hoist(self) -> tuple[list[tuple[str, int]], list[Node]]:
        """Run before the loop what is the same in every iteration."""
        outs = [*self.carried, *[t for t, _, _ in self.stacks]]
        outs += [] if self.again is None else [self.again]
        pairs = (*self.carries, *self.rows, *self.rest)
        needed, _ = needed_for(outs, {t for t, _ in pairs})
        same = _Same(self.rest)
        order = [op for op in self.body.operations() if op in needed]
        moved = [op for op in order if same.take(op)]
        if not moved:
            return [], []
        readers: dict[Tensor, list[Operation]] = defaultdict(list)
        for op in order:
            for t in op.inputs:
                readers[t].append(op)
        ended = set(outs)
        leaving = set(moved)
        passed = []
        for op in reversed(moved):
            t = op.outputs[0]
            if t not in ended and all(r in leaving for r in readers[t]):
                continue
            # A view is cheap there, and not what a plan of a body is fed; constants
            # are folded there.
            if op.opdef.alias is not None or t not in same.moving:
                leaving.discard(op)
            else:
                passed.append(t)
        used = needed_for(passed, set(same.given))[0]
        nodes = [same.nodes[op] for op in moved if op in used and op in same.nodes]
        self.rest += [(t, same.values[t]) for t in reversed(passed)]
        if not passed:
            return [], []
        # What only moved operations read need not come in.
        pairs = (*self.carries, *self.rows, *self.rest)
        _, met = needed_for(outs, {t for t, _ in pairs})
        self.rest = [pair for pair in self.rest if pair[0] in met]
        what = "an operation moved out of the body"
        return [(what, len([op for op in moved if op in leaving]))], nodes


class _Same:
    """What is the same in every iteration, and its value outside."""

    def __init__(self, rest: Iterable[tuple[Tensor, Value]]) -> None:
        self.values: dict[Tensor, Value] = {
            t: v for t, v in rest if t.op.opdef is not BODY_VARIABLE
        }
        self.given = dict(self.values)
        #: Values that are no constants of the body.
        self.moving: set[Tensor] = set(self.values)
        self.nodes: dict[Operation, Node] = {}

    def take(self, op: Operation) -> bool:
        """Whether ``op`` moves out: then its value is known from now on."""
        if op.opdef.effect == "constant":
            t = op.outputs[0]
            self.values[t] = Value(CONST, t.dtype, t.dims, t, value=t.value)
            return False
        if not all(t in self.values for t in op.inputs) or not _is_movable(op):
            return False
        inputs = [self.values[t] for t in op.inputs]
        if any(v.kind == VARIABLE or not v.static for v in inputs):
            return False
        node = Node(op, op.opdef, op._attrs, inputs, [])
        try:
            node.outputs = outputs_of(node, op)
        except DagradError:
            return False  # an error where the body runs, which it may never
        (out,) = node.outputs
        if not out.static or out.nbytes > max(_SMALL, sum(v.nbytes for v in inputs)):
            return False
        t = op.outputs[0]
        arrays = computed(node)
        if arrays is None:
            self.nodes[op] = node
            self.values[t] = out
        else:
            self.values[t] = constant_value(arrays[0], out)
        if any(i in self.moving for i in op.inputs):
            self.moving.add(t)
        return True


def _is_movable(op: Operation) -> bool:
    opdef = op.opdef
    if opdef.effect is not None or opdef.control is not None or op.control_inputs:
        return False
    if len(op.outputs) != 1 or not op.inputs:
        return False
    if opdef.elementwise:
        return opdef.type not in _FAILING
    return opdef.type in _MOVABLE
