"""Which inputs of a loop, branch or function lead to which of its outputs.

Decided inside the bodies: one sweep over a body, oldest operation first, finds for
each tensor the set of the body's inputs that lead to it, as the bits of an integer.
For a loop the sets of its carries are closed: what one iteration makes, the next
one reads.  Both are kept with the graphs, so that each body is swept once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .cuts import Cut, cut_of
from .operation import Operation, is_control
from .tensor import Tensor

if TYPE_CHECKING:
    from .subgraph import Body

__all__ = ["Flow", "cut_at", "is_control", "passages", "segments"]


class Flow(NamedTuple):
    """Sets of inputs that lead to one output; bit i is input i.

    Attributes:
        any: by data, differentiably or not.
        open: by a path that carries a derivative.
        moving: by one whose derivative is not zero everywhere.
        refused: by one that an operation refuses to differentiate.
        condition: by the condition of a loop (or what chooses a branch) only.
    """

    any: int = 0
    open: int = 0
    moving: int = 0
    refused: int = 0
    condition: int = 0

    @property
    def leads(self) -> int:
        """The inputs that a derivative is asked for, or refused."""
        return self.open | self.refused

    def __or__(self, other: tuple[Any, ...]) -> Flow:
        return Flow(*(a | b for a, b in zip(self, other)))


_NONE = Flow()


def passages(op: Operation) -> tuple[Flow, ...]:
    """Per output of a control operation, which of its inputs lead there."""
    known: dict[Operation, tuple[Flow, ...]]
    known = vars(op.graph).setdefault("_passages", {})
    if op not in known:
        known[op] = tuple(_of_branches(op) if "branches" in op._attrs else _of_loop(op))
    return known[op]


# -- one body -------------------------------------------------------------------------


def through(body: Body) -> list[Flow]:
    """Per output of a body, which of its inputs lead there (none to a missing one)."""
    known: dict[Body, list[Flow]] = vars(body.graph).setdefault("_flows", {})
    if body in known:
        return known[body]
    flows: dict[Tensor, Flow] = {}
    for i, t in enumerate(body.inputs):
        bit = 1 << i
        moves = bit if t.dtype.is_inexact else 0
        flows[t] = Flow(bit, moves, moves)
    for op in body.operations():
        entries = [(i, flows[t]) for i, t in enumerate(op.inputs) if t in flows]
        if not entries:
            continue
        for out in op.outputs:
            flow = _NONE
            for i, before in entries:
                after = _after(op, i, out, before)
                flow = after if flow is _NONE or flow is after else flow | after
            if flow.any:
                flows[out] = flow
    known[body] = [_NONE if t is None else flows.get(t, _NONE) for t in body.outputs]
    return known[body]


def _after(op: Operation, index: int, out: Tensor, before: Flow) -> Flow:
    """What leads to ``out`` by that input, to which ``before`` leads."""
    if is_control(op):
        return _composed(before, passages(op)[out.index], index)
    if not connects(op, index, out):
        return _NONE
    cut = cut_of(op, index, out, False)
    if cut is None:
        return before
    if cut.kind == "zero":
        return Flow(before.any, before.open, 0, before.refused)
    return Flow(before.any, refused=before.leads if cut.refuses else 0)


def connects(op: Operation, index: int, out: Tensor) -> bool:
    """Whether data passes from that input to ``out``."""
    if op.type == "IdentityN":
        return index == out.index
    if is_control(op):
        return bool(passages(op)[out.index].any >> index & 1)
    return True


# -- operations with bodies ------------------------------------------------------------


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _of_branches(op: Operation) -> list[Flow]:
    """An output depends on what it depends on in any branch."""
    found = [_NONE] * len(op.outputs)
    for body, wires in zip(op._attrs["branches"], op._attrs["wires"]):
        for j, flow in enumerate(through(body)):
            sets = (sum({1 << wires[b] for b in _bits(mask)}) for mask in flow)
            found[j] |= tuple(sets)
    chooses = 1 if op.opdef.inputs[0] == "index" else 0
    return [flow | (chooses, 0, 0, 0, chooses) for flow in found]


class _Loop:
    """The roles of a loop's inputs and outputs, as positions."""

    def __init__(self, op: Operation) -> None:
        attrs = op._attrs
        self.body: Body = attrs["body"]
        self.first: int = attrs["bounded"] + attrs["tested"]
        self.carries: int = attrs["carries"]
        self.tested: int = attrs["tested"]
        self.history: tuple[int, ...] = attrs["history"]

    def made_by(self, j: int) -> int | None:
        """The body's output that output ``j`` is made of (None: the count)."""
        k = self.carries
        if j == 0:
            return None
        if j <= k:
            return j - 1
        if j <= k + len(self.history):
            return self.history[j - k - 1]
        return j - len(self.history) - 1 + self.tested


def _of_loop(op: Operation) -> list[Flow]:
    loop = _Loop(op)
    k = loop.carries
    flows = through(loop.body)
    closed = _closure(flows[:k])
    every = [*closed, *(_iterated(flow, closed) for flow in flows[k:])]
    again = every[k].any if loop.tested else 0
    decides = (again << loop.first) | ((1 << loop.first) - 1)
    found = []
    for j, out in enumerate(op.outputs):
        at = loop.made_by(j)
        flow = _NONE if at is None else every[at]
        if at is not None and at < k:
            # No iteration may run: then the result is what came in.
            bit = 1 << at
            moves = bit if out.dtype.is_inexact else 0
            flow |= (bit, moves, moves if j > k else 0, 0, 0)
        outside = Flow(*(mask << loop.first for mask in flow))
        only = decides & ~outside.any
        found.append(outside | (decides, 0, 0, 0, only))
    return found


def _closure(flows: list[Flow]) -> list[Flow]:
    """What leads to each carry in one iteration or in several (Warshall)."""
    every, opened, moving, refused = (
        [getattr(flow, kind) for flow in flows]
        for kind in ("any", "open", "moving", "refused")
    )
    for m in range(len(flows)):
        bit = 1 << m
        for i in range(len(flows)):
            if not every[i] & bit:
                continue
            every[i] |= every[m]
            if opened[i] & bit:
                opened[i] |= opened[m]
                refused[i] |= refused[m]
            if moving[i] & bit:
                moving[i] |= moving[m]
            if refused[i] & bit:
                refused[i] |= opened[m] | refused[m]
    return [Flow(*masks) for masks in zip(every, opened, moving, refused)]


def _composed(first: Flow, then: Flow, index: int) -> Flow:
    """What leads by ``first`` to something, and from it on to a result to which
    ``then`` leads, where it is input ``index``."""
    bit = 1 << index
    return Flow(
        first.any if then.any & bit else 0,
        first.open if then.open & bit else 0,
        first.moving if then.moving & bit else 0,
        (first.refused if then.leads & bit else 0)
        | (first.leads if then.refused & bit else 0),
    )


def _iterated(flow: Flow, closed: list[Flow]) -> Flow:
    """``flow`` to an output of a body, through the carries that it reads."""
    found = flow
    for m in _bits(flow.any & ((1 << len(closed)) - 1)):
        found |= _composed(closed[m], flow, m)
    return found


# -- for explanations ------------------------------------------------------------------


def cut_at(op: Operation, index: int, out: Tensor, stopped: bool) -> Cut | None:
    """:func:`cut_of`, which knows the bodies of control operations."""
    cut = cut_of(op, index, out, stopped)
    if cut is not None or not is_control(op):
        return cut
    t = op.inputs[index]
    flow, bit = passages(op)[out.index], 1 << index
    if flow.moving & bit:
        return None
    if flow.open & bit:
        if through_bodies(flow, op, index, out):
            return Cut(op, t, "zero", "every path through its body has derivative 0")
        return Cut(
            op,
            t,
            "zero",
            "each iteration makes this loop variable anew, so the derivative by its "
            "first value is 0 where any iteration runs",
        )
    if flow.refused & bit:
        return Cut(op, t, "refuses", "an operation in its body refuses")
    if flow.condition & bit:
        return Cut(
            op,
            t,
            "condition",
            "only its condition reads it, which decides how often the body runs",
        )
    return Cut(op, t, "body", "no path through its body carries a derivative")


def through_bodies(flow: Flow, op: Operation, index: int, out: Tensor) -> bool:
    """Whether a path with a derivative, if of 0, runs in the body itself."""
    return bool(segments(op, index, out, open_only=True))


def segments(
    op: Operation, index: int, out: Tensor, open_only: bool
) -> list[tuple[Body, Tensor, Tensor]]:
    """The shortest way through the bodies, as (body, from its input, to its output).

    A way through a loop may take several iterations, one segment each.
    """
    kinds = ("open", "refused") if open_only else ("any",)
    if "branches" in op._attrs:
        for body, wires in zip(op._attrs["branches"], op._attrs["wires"]):
            flow = through(body)[out.index]
            for b, at in enumerate(wires):
                if at == index and any(getattr(flow, k) >> b & 1 for k in kinds):
                    return [(body, body.inputs[b], body.outputs[out.index])]
        return []
    loop = _Loop(op)
    start = index - loop.first
    at = loop.made_by(out.index)
    if start < 0:
        return []
    flows = through(loop.body)
    masks = [flow.any if not open_only else flow.leads for flow in flows]
    ends = [] if at is None else [at]
    if not open_only and loop.tested:
        ends.append(loop.carries)
    body = loop.body
    for end in ends:
        chain = _chain(masks, start, end, loop.carries)
        if chain:
            return [(body, body.inputs[a], body.outputs[b]) for a, b in chain]
    return []


def _chain(masks: list[int], start: int, end: int, k: int) -> list[tuple[int, int]]:
    """From an input of a body to an output, over carries: the fewest iterations."""
    carries = (1 << k) - 1
    after: dict[int, int] = {}  # output -> the output that reads it as a carry
    seen = 0
    front = [end]
    while front:
        following = []
        for made in front:
            if masks[made] >> start & 1:
                chain = [(start, made)]
                while made in after and made != end:
                    chain.append((made, after[made]))
                    made = after[made]
                return chain
            for m in _bits(masks[made] & carries & ~seen):
                seen |= 1 << m
                if m != end:
                    after[m] = made
                    following.append(m)
        front = following
    return []


def relevant(
    op: Operation, indices: list[int], outs: list[Tensor]
) -> list[tuple[Body, list[Tensor], list[Tensor]]]:
    """Per body, the inputs that ``indices`` reach and the outputs that ``outs`` need.

    What decides how often a loop runs counts among the latter.
    """
    if "branches" in op._attrs:
        wanted = set(indices)
        columns = [t.index for t in outs]
        return [
            (
                body,
                [t for t, i in zip(body.inputs, wires) if i in wanted],
                [body.outputs[j] for j in columns if body.outputs[j] is not None],
            )
            for body, wires in zip(op._attrs["branches"], op._attrs["wires"])
        ]
    loop = _Loop(op)
    k, body = loop.carries, loop.body
    flows = through(body)
    reach = sum({1 << (i - loop.first) for i in indices if i >= loop.first})
    closed = _closure(flows[:k])
    for m, flow in enumerate(closed):
        if flow.any & reach:
            reach |= 1 << m
    ends = {at for t in outs if (at := loop.made_by(t.index)) is not None}
    if loop.tested:
        ends.add(k)
    for at in list(ends):
        ends.update(_bits(_iterated(flows[at], closed).any & ((1 << k) - 1)))
    return [
        (
            body,
            [body.inputs[b] for b in _bits(reach)],
            [body.outputs[at] for at in sorted(ends)],
        )
    ]
