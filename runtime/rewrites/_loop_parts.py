"""The parts of a loop node, for the passes that change loops.

The graph of a body is never changed: a plan of a body may be fed any tensor of it, and
any tensor of it may be among its outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...graphlib.operation import Operation
from ...graphlib.subgraph import Body
from ...graphlib.tensor import Tensor
from ..program import Node, Value

__all__ = ["LoopParts", "itself", "last", "may_change", "needed_for"]


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
        for i, v in enumerate(node.outputs):
            v.index = i


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
