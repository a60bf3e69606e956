"""The parts of a loop node, for the passes that change loops.

The graph of a body is never changed: a plan of a body may be fed any tensor of it, and
any tensor of it may be among its outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...graphlib.opdef import Spec, lookup
from ...graphlib.operation import Operation
from ...graphlib.records import replace
from ...graphlib.shapes import Dims, is_static
from ...graphlib.subgraph import Body, infer_through
from ...graphlib.tensor import Tensor
from ..program import CONST, NODE, Node, Value, constant_value
from .fold import computed

__all__ = [
    "LoopParts",
    "integer",
    "is_zero",
    "itself",
    "last",
    "may_change",
    "needed_for",
]

#: Constants that are looked through for zeros, in bytes.
_SMALL = 64 * 1024


class LoopParts:
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

    @property
    def length(self) -> int:
        """The number of iterations, 0 where it is not known."""
        if self.node.attrs["tested"]:
            return 0
        lengths = [(v.dims[0] or 0) if v.dims else 0 for _, v in self.rows]
        if self.node.attrs["bounded"]:
            bound = integer(self.head[0].value)
            lengths.append(max(bound or 0, 0))
        # Where the arrays are longer, the loop has not been told for good.
        return lengths[0] if lengths and len(set(lengths)) == 1 else 0

    def body_readers(self) -> dict[Tensor, list[Operation]]:
        """Who reads what in the body, among the operations that its outputs need."""
        readers: dict[Tensor, list[Operation]] = defaultdict(list)
        for op in self.body_operations():
            for t in op.inputs:
                readers[t].append(op)
        return readers

    def body_operations(self) -> list[Operation]:
        """The operations that the outputs need of what comes in, in their order."""
        pairs = (*self.carries, *self.rows, *self.rest)
        again = [] if self.again is None else [self.again]
        outs = [*self.carried, *again, *[t for t, _, _ in self.stacks]]
        needed, _ = needed_for(outs, {t for t, _ in pairs})
        return [op for op in self.body.operations() if op in needed]

    def made(
        self,
        nodes: list[Node],
        kind: str,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any],
        like: Value,
    ) -> Value:
        """The result of a new node, which goes to ``nodes``; a constant where it is
        known.  For messages it stands for ``like``."""
        node = Node(self.node.op, lookup(kind), attrs, list(inputs), [])
        ((dtype, dims),) = node.opdef.infer(node.inputs, attrs)
        out = Value(NODE, dtype, dims, like.tensor, node)
        node.outputs = (out,)
        arrays = computed(node)
        if arrays is not None:
            return constant_value(arrays[0], out)
        nodes.append(node)
        return out

    def dims_of(self, tensors: Sequence[Tensor]) -> list[Dims]:
        """The shapes that tensors of the body have for what this run passes."""
        if all(is_static(t.dims) for t in tensors):
            return [t.dims for t in tensors]
        return [spec.dims for spec in self.specs(tensors)]

    def specs(self, tensors: Sequence[Tensor]) -> list[Any]:
        """What is known of tensors of the body in every iteration."""
        given = [Spec(v.dtype, v.dims) for v in self.finals]
        given += [Spec(v.dtype, v.dims[1:] if v.dims else None) for _, v in self.rows]
        pairs = (*self.carries, *self.rows, *self.rest)
        inputs = tuple(t for t, _ in pairs)
        body = replace(self.body, inputs=inputs, outputs=tuple(tensors))
        return infer_through(body, [*given, *[v for _, v in self.rest]])

    def stacked(self, t: Tensor, dims: Dims, like: Value) -> Value:
        """A new output that stacks ``t`` of each iteration, of shape ``dims``."""
        assert is_static(dims), "rows are planned"
        v = Value(NODE, t.dtype, (self.length, *dims), like.tensor, self.node)
        self.stacks.append((t, v, False))
        return v

    def keep_carries(self, kept: list[int]) -> None:
        """Drop all carries but these."""
        place = {old: new for new, old in enumerate(kept)}
        self.carries = [self.carries[i] for i in kept]
        self.carried = [self.carried[i] for i in kept]
        self.finals = [self.finals[i] for i in kept]
        self.histories = {place[i]: v for i, v in self.histories.items() if i in place}
        self.loose = {place[i] for i in self.loose if i in place}
        self.unshaped = {place[i] for i in self.unshaped if i in place}

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
        specs = node.opdef.infer(node.inputs, node.attrs)
        for i, (v, (_, dims)) in enumerate(zip(node.outputs, specs, strict=True)):
            v.index = i
            if not v.static and is_static(dims):  # sizes that are known by now
                v.learn(dims)


def last(v: Value, subst: Mapping[Value, Value]) -> Value:
    """What has taken the place of ``v``, in the end."""
    while v in subst:
        v = subst[v]
    return v


def may_change(node: Node) -> bool:
    """Whether a node is a loop without effects that keeps no checkpoints and waits for
    nothing."""
    attrs = node.attrs
    return (
        node.opdef.control == "loop"
        and node.opdef.effect is None
        and "schedule" not in attrs
        and attrs["keep"] is None
        and attrs["marks"] is None
        and not node.after
    )


def integer(value: Any) -> int | None:
    """A scalar integer, None where ``value`` is none."""
    if isinstance(value, np.ndarray) and not value.ndim and value.dtype.kind in "iu":
        return int(value)
    return None


def is_zero(v: Value) -> bool:
    """Whether a value is known to be all +0."""
    if v.kind == CONST:
        array = v.value
        if array.dtype.kind not in "fiuc" or array.nbytes > _SMALL:
            return False
        return not array.any() and not np.signbit(array.view(array.real.dtype)).any()
    if v.node is None or v.node.after:
        return False
    if v.node.opdef.type == "Fill":
        return is_zero(v.node.inputs[1])
    return v.node.opdef.type == "ZerosLike"


def itself(t: Tensor) -> Tensor:
    """What ``t`` is under another name."""
    while t.op.type in ("Identity", "StopGradient") and not t.op.control_inputs:
        t = t.op.inputs[0]
    return t


def needed_for(
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
