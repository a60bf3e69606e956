"""The loop operation without its derivatives: roles, inference, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.checkpointing import rows as schedule_rows
from ..graphlib.counted import counted
from ..graphlib.dtypes import int32
from ..graphlib.errors import ShapeError
from ..graphlib.opdef import Spec
from ..graphlib.operation import Operation
from ..graphlib.shapes import Dims, text
from ..graphlib.subgraph import Body, infer_through

__all__ = ["Parts", "body_flops", "flops", "infer", "join", "known_count"]


class Parts:
    """The inputs and outputs of a loop operation, taken apart by their role.

    Attributes:
        bound, test: the most iterations, and whether the first one runs (or None).
        carries, rows, rest: (input of the body, what is passed) pairs; of a row
            the whole scanned array is passed.
        carried: what the body makes of each carry.
        again: the body's output that says whether to go on (or None).
        made: the outputs of the body that are stacked.
        count, finals, histories, stacks: the operation's outputs; histories by
            the position of the carry.
        keep: what the gradient keeps, where that is not all that it reads (see
            ops.checkpoints).
        marks: a schedule (see graphlib.checkpointing) where the histories have only
            the states at the start of its segments, in the first of its rows.
    """

    def __init__(self, op: Operation) -> None:
        attrs = op._attrs
        body: Body = attrs["body"]
        inputs = list(op.inputs)
        self.body = body
        self.bound = inputs.pop(0) if attrs["bounded"] else None
        self.test = inputs.pop(0) if attrs["tested"] else None
        k, n = attrs["carries"], attrs["scanned"]
        pairs = list(zip(body.inputs, inputs))
        self.carries = pairs[:k]
        self.rows = pairs[k : k + n]
        self.rest = pairs[k + n :]
        outputs = list(body.outputs)
        self.carried = outputs[:k]
        self.again = outputs[k] if attrs["tested"] else None
        self.made = outputs[k + 1 :] if attrs["tested"] else outputs[k:]
        out = op.outputs
        self.count = out[0]
        self.finals = out[1 : k + 1]
        kept = attrs["history"]
        self.histories = dict(zip(kept, out[k + 1 : k + 1 + len(kept)]))
        self.stacks = out[k + 1 + len(kept) :]
        self.reverse: bool = attrs["reverse"]
        self.loose: tuple[int, ...] = attrs["loose"]
        self.strict: int = attrs["strict"]
        self.unshaped: tuple[int, ...] = attrs["unshaped"]
        self.keep: Any = attrs["keep"]
        self.marks: Any = attrs["marks"]


# -- inference -----------------------------------------------------------------


def infer(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    body: Body = attrs["body"]
    k, scanned = attrs["carries"], attrs["scanned"]
    first = attrs["bounded"] + attrs["tested"]
    carries = [Spec(t.dtype, t.dims) for t in inputs[first : first + k]]
    arrays = inputs[first + k : first + k + scanned]
    length = _length(inputs, arrays, attrs)
    rows = [Spec(t.dtype, None if t.dims is None else t.dims[1:]) for t in arrays]
    rest = list(inputs[first + k + scanned :])
    while True:
        made = infer_through(body, [*carries, *rows, *rest])
        moved = False
        for c, out in zip(carries, made):
            joined = join(c.dims, out.dims)
            if joined != c.dims:
                c.dims, moved = joined, True
        if not moved:
            break
    if attrs["tested"]:
        for t in (inputs[first - 1], made[k]):
            if t.dims is not None and t.dims != ():
                raise ShapeError(
                    f"the condition has shape {text(t.dims)}, where it must be a "
                    "scalar: use reduce_all or reduce_any"
                )
    outputs: list[tuple[Any, Dims]] = [(int32, ())]
    outputs += [(c.dtype, c.dims) for c in carries]
    after = None if length is None else length + 1
    if after is not None and attrs["marks"] is not None:
        after = schedule_rows(attrs["marks"], length)
    outputs += [
        (carries[i].dtype, _stacked(after, carries[i].dims)) for i in attrs["history"]
    ]
    outputs += [
        (t.dtype, _stacked(length, t.dims)) for t in made[k + attrs["tested"] :]
    ]
    return outputs


def known_count(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    first = attrs["bounded"] + attrs["tested"] + attrs["carries"]
    length = _length(inputs, inputs[first : first + attrs["scanned"]], attrs)
    return None if length is None else np.array(length, np.int32)


def _length(inputs: Sequence[Any], arrays: Sequence[Any], attrs: Any) -> int | None:
    """The number of iterations, where it is known."""
    lengths: set[int] = set()
    for t in arrays:
        if t.dims is not None:
            if not t.dims:
                raise ShapeError("cannot scan over a scalar: it has no first axis")
            if t.dims[0] is not None:
                lengths.add(t.dims[0])
    if len(lengths) > 1:
        shown = ", ".join(text(t.dims) for t in arrays)
        raise ShapeError(f"the scanned arrays differ in their first axis: {shown}")
    if attrs["tested"]:
        return counted(attrs, inputs)
    if attrs["bounded"] and isinstance(inputs[0].value, np.ndarray):
        lengths.add(max(int(inputs[0].value), 0))
    return min(lengths) if lengths else None


def _stacked(length: int | None, dims: Dims) -> Dims:
    return None if dims is None else (length, *dims)


def join(a: Dims, b: Dims) -> Dims:
    """The shapes that both describe: a dimension in which they differ is unknown."""
    if a == b:
        return a
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else None for x, y in zip(a, b))


# -- cost ------------------------------------------------------------------------


def flops(inputs: Sequence[Any], outputs: Sequence[Any], attrs: Any) -> int:
    """The flops of the body times the iterations that are known of (at least 1)."""
    arrays = inputs[attrs["bounded"] + attrs["tested"] + attrs["carries"] :]
    length = _length(inputs, arrays[: attrs["scanned"]], attrs)
    return body_flops(attrs["body"]) * (1 if length is None else length)


def body_flops(body: Body) -> int:
    """The flops of one run of a body."""
    total = 0
    for op in body.operations():
        own = op.opdef.flops
        if own is not None:
            total += own(op.inputs, op.outputs, op._attrs)
        else:
            for t in op.outputs:
                total += int(np.prod([d or 1 for d in t.dims or ()], dtype=np.int64))
    return total
