"""Loops carry and compute only what changes: dead variables, invariant code.

A carry that goes around as it is becomes an input that is the same in every iteration;
carries, rows and stacks that nobody reads go, with what only they need; pure operations
on what is the same in every iteration run once, before the loop (and, where that is a
constant, when the run is planned).

Precondition: a loop without effects that keeps no checkpoints and waits for nothing.
Postcondition: what is read of the loop is the same to the bit.  An operation moves only
if it cannot fail, and makes no more than it reads or 64 kB: it runs once where the
loop makes no iteration too.  Loops whose dead parts check something stay.

The graph of the body is never changed: a plan of a body may be fed any tensor of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ...graphlib.errors import DagradError
from ...graphlib.operation import Operation
from ...graphlib.subgraph import BODY_VARIABLE, Body
from ...graphlib.tensor import Tensor
from ..program import CONST, VARIABLE, Node, Program, Value, constant_value, outputs_of
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
        if not _may_change(node):
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
    resolved = {v: _last(v, subst) for v in subst}
    for node in kept:
        node.redirect(resolved)
    program.nodes = kept
    program.fetches = [resolved.get(v, v) for v in program.fetches]
    return changed


def _last(v: Value, subst: Mapping[Value, Value]) -> Value:
    while v in subst:
        v = subst[v]
    return v


def _may_change(node: Node) -> bool:
    attrs = node.attrs
    return (
        node.opdef.control == "loop"
        and node.opdef.effect is None
        and "schedule" not in attrs
        and attrs["keep"] is None
        and attrs["marks"] is None
        and not node.after
    )


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


class _Loop:
    """The parts of a loop node, to be changed and put together again."""

    def __init__(self, node: Node) -> None:
        attrs = node.attrs
        body: Body = attrs["body"]
        self.node, self.body = node, body
        k, n = attrs["carries"], attrs["scanned"]
        first = attrs["bounded"] + attrs["tested"]
        self.head = node.inputs[:first]
        pairs = list(zip(body.inputs, node.inputs[first:]))
        #: (input of the body, what is passed); of a row the whole array.
        self.carries, self.rows = pairs[:k], pairs[k : k + n]
        self.rest = pairs[k + n :]
        self.carried: list[Any] = list(body.outputs[:k])
        self.again = body.outputs[k] if attrs["tested"] else None
        made = body.outputs[k + attrs["tested"] :]
        out = node.outputs
        self.count = out[0]
        self.finals = list(out[1 : k + 1])
        kept = attrs["history"]
        #: position of a carry -> the output that has its history.
        self.histories = dict(zip(kept, out[k + 1 : k + 1 + len(kept)]))
        #: (output of the body, the output that stacks it, whether rows must agree).
        self.stacks = [
            (t, v, j < attrs["strict"])
            for j, (t, v) in enumerate(zip(made, out[k + 1 + len(kept) :]))
        ]
        self.loose, self.unshaped = set(attrs["loose"]), set(attrs["unshaped"])

    # -- carries that stay as they are -----------------------------------------------

    def settle(self, subst: dict[Value, Value], reads: _Reads) -> list[tuple[str, int]]:
        """Pass carries that no iteration changes as what is the same in all."""
        stay = [
            i
            for i, (t, v) in enumerate(self.carries)
            if i not in self.unshaped
            and i not in self.histories
            and _itself(self.carried[i]) is t
            and v.kind != VARIABLE
            and v.dims == self.finals[i].dims
        ]
        for i in stay:
            final, first = self.finals[i], self.carries[i][1]
            subst[final] = first
            reads.count[first] += reads.count[final]
            self.rest.append(self.carries[i])
        self._keep_carries([i for i in range(len(self.carries)) if i not in set(stay)])
        return [("a carry that does not change", len(stay))] if stay else []

    def _keep_carries(self, kept: list[int]) -> None:
        place = {old: new for new, old in enumerate(kept)}
        self.carries = [self.carries[i] for i in kept]
        self.carried = [self.carried[i] for i in kept]
        self.finals = [self.finals[i] for i in kept]
        self.histories = {place[i]: v for i, v in self.histories.items() if i in place}
        self.loose = {place[i] for i in self.loose if i in place}
        self.unshaped = {place[i] for i in self.unshaped if i in place}

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
            ops, met = _needed(roots, known)
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
        self._keep_carries(sorted(live))
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
        needed, _ = _needed(outs, {t for t, _ in pairs})
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
        used = _needed(passed, set(same.given))[0]
        nodes = [same.nodes[op] for op in moved if op in used and op in same.nodes]
        self.rest += [(t, same.values[t]) for t in reversed(passed)]
        if not passed:
            return [], []
        # What only moved operations read need not come in.
        pairs = (*self.carries, *self.rows, *self.rest)
        _, met = _needed(outs, {t for t, _ in pairs})
        self.rest = [pair for pair in self.rest if pair[0] in met]
        what = "an operation moved out of the body"
        return [(what, len([op for op in moved if op in leaving]))], nodes

    # -- together again --------------------------------------------------------------

    def rebuild(self) -> None:
        """Give the node what has become of its parts."""
        node = self.node
        again = [] if self.again is None else [self.again]
        pairs = (*self.carries, *self.rows, *self.rest)
        stacks = sorted(self.stacks, key=lambda s: not s[2])
        body = Body(
            self.body.graph,
            tuple(t for t, _ in pairs),
            (*self.carried, *again, *[t for t, _, _ in stacks]),
            self.body.given,
        )
        node.attrs = {
            **node.attrs,
            "body": body,
            "carries": len(self.carries),
            "scanned": len(self.rows),
            "history": tuple(self.histories),
            "loose": tuple(sorted(self.loose)),
            "unshaped": tuple(sorted(self.unshaped)),
            "strict": sum(strict for _, _, strict in stacks),
        }
        node.inputs = [*self.head, *[v for _, v in pairs]]
        node.outputs = (
            self.count,
            *self.finals,
            *self.histories.values(),
            *[v for _, v, _ in stacks],
        )
        for i, v in enumerate(node.outputs):
            v.index = i


def _itself(t: Tensor) -> Tensor:
    """What ``t`` is under another name."""
    while t.op.type in ("Identity", "StopGradient") and not t.op.control_inputs:
        t = t.op.inputs[0]
    return t


def _needed(
    roots: Iterable[Tensor], known: set[Tensor]
) -> tuple[set[Operation], set[Tensor]]:
    """The operations that ``roots`` need, and which of the ``known`` tensors those
    read."""
    ops: set[Operation] = set()
    met: set[Tensor] = set()
    stack: list[Operation] = []

    def visit(t: Tensor) -> None:
        if t in known:
            met.add(t)
        elif t.op not in ops:
            ops.add(t.op)
            stack.append(t.op)

    for t in roots:
        visit(t)
    while stack:
        op = stack.pop()
        for t in op.inputs:
            visit(t)
        for control in op.control_inputs:
            if control not in ops:
                ops.add(control)
                stack.append(control)
    return ops, met


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
