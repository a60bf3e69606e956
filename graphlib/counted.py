"""Loops that count: how many iterations a loop makes is known where it only counts.

``while_loop(lambda i, h: i < n, lambda i, h: (i + 1, f(h)), [0, h])`` tests after each
iteration whether to go on.  Where the counter's start, its step and its bound are known
when a run is planned, so is the number of iterations: the plan has a loop of that many
instead.  What it stacks has a known shape then, so it is planned, counted, and subject
to a memory limit; and nothing is tested.

Precondition: the test compares a carry, to which every iteration adds the same integer,
with an integer; all three are known.
Postcondition: the same iterations in the same order.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .opdef import Spec
from .records import replace
from .subgraph import Body, infer_through
from .tensor import Tensor

__all__ = ["counted", "untested"]

_FLIPPED = {
    "Less": "Greater",
    "LessEqual": "GreaterEqual",
    "Greater": "Less",
    "GreaterEqual": "LessEqual",
    "NotEqual": "NotEqual",
}
_HOLDS: Mapping[str, Callable[[int, int], bool]] = {
    "Less": operator.lt,
    "LessEqual": operator.le,
    "Greater": operator.gt,
    "GreaterEqual": operator.ge,
    "NotEqual": operator.ne,
}


def counted(attrs: Mapping[str, Any], inputs: Sequence[Any]) -> int | None:
    """The number of iterations of a loop that tests; None where it is not known.

    Args:
        attrs: those of the loop.
        inputs: its inputs, as tensors, or what is known of them.
    """
    body: Body = attrs["body"]
    k, n = attrs["carries"], attrs["scanned"]
    first = attrs["bounded"] + 1
    bound = _integer(inputs[0]) if attrs["bounded"] else None
    go_on = _truth(inputs[first - 1])
    if go_on is None or (attrs["bounded"] and bound is None):
        return None
    count: int | None = 0
    if go_on:
        # Of what changes nothing is known but the first value.
        moving = [Spec(t.dtype, t.dims) for t in body.inputs[: k + n]]
        same = [*moving, *inputs[first + k + n :]]
        count = _until_false(body, k, inputs[first : first + k], same)
    if count is None or bound is None:
        return count
    return min(count, max(bound, 0))


def untested(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a loop that tests, as one of a number of iterations."""
    body: Body = attrs["body"]
    k = attrs["carries"]
    outputs = (*body.outputs[:k], *body.outputs[k + 1 :])
    inner = Body(body.graph, body.inputs, outputs, body.given)
    return {**attrs, "body": inner, "bounded": True, "tested": False}


def _truth(test: Any) -> bool | None:
    """Whether the first iteration runs."""
    if isinstance(test.value, np.ndarray):
        return bool(test.value) if not test.value.ndim else None
    # A tensor's operation, or the node of a plan's value.
    made = test.op if isinstance(test, Tensor) else getattr(test, "node", None)
    if made is None or made.opdef.type not in _HOLDS:
        return None
    a, b = map(_integer, made.inputs)
    return None if a is None or b is None else _HOLDS[made.opdef.type](a, b)


def _until_false(
    body: Body, carries: int, starts: Sequence[Any], same: Sequence[Any]
) -> int | None:
    """How many iterations, at least one, run until the test is false.

    Args:
        starts: the carries before the first iteration.
        same: what is known of the body's inputs in every iteration.
    """
    again = _itself(body.outputs[carries])
    kind = again.op.type
    if kind not in _FLIPPED or again.op.control_inputs:
        return None
    left, right = map(_itself, again.op.inputs)
    carried = [_itself(t) for t in body.outputs[:carries]]
    if left not in carried:
        kind, left, right = _FLIPPED[kind], right, left
    if left not in carried:
        return None
    at = carried.index(left)
    counter = body.inputs[at]
    start, end = _integer(starts[at]), _known(right, body, same)
    step = _step(left, counter, body, same)
    if start is None or end is None or not step:
        return None
    count = _length(kind, start, step, end)
    limits = np.iinfo(counter.dtype.as_numpy_dtype)
    if count is None or not limits.min <= start + count * step <= limits.max:
        return None  # it goes on until the counter overflows
    return count


def _step(new: Tensor, counter: Tensor, body: Body, same: Sequence[Any]) -> int | None:
    """What an iteration adds to the counter."""
    if not counter.dtype.is_integer or new.op.control_inputs:
        return None
    if new.op.type not in ("Add", "Sub"):
        return None
    a, b = map(_itself, new.op.inputs)
    if b is counter and new.op.type == "Add":
        a, b = b, a
    step = _known(b, body, same) if a is counter else None
    return -step if step is not None and new.op.type == "Sub" else step


def _length(kind: str, start: int, step: int, end: int) -> int | None:
    """The least count of at least 1 where ``start + count * step`` is not ``kind`` than
    ``end``."""
    if kind in ("Greater", "GreaterEqual"):
        kind, start, step, end = _FLIPPED[kind], -start, -step, -end
    if kind == "NotEqual":
        count, rest = divmod(end - start, step)
        return count if count >= 1 and not rest else None
    if kind == "LessEqual":
        end += 1
    if start + step >= end:
        return 1
    return -((start - end) // step) if step > 0 else None


def _known(t: Tensor, body: Body, same: Sequence[Any]) -> int | None:
    """The integer that ``t`` of the body is in every iteration."""
    if t.op.opdef.effect == "constant":
        return _integer(t)
    return _integer(infer_through(replace(body, outputs=(t,)), same)[0])


def _integer(t: Any) -> int | None:
    value = t.value
    if isinstance(value, np.ndarray) and not value.ndim and value.dtype.kind in "iu":
        return int(value)
    return None


def _itself(t: Tensor) -> Tensor:
    """What ``t`` is under another name."""
    while t.op.type in ("Identity", "StopGradient") and not t.op.control_inputs:
        t = t.op.inputs[0]
    return t
