"""Broadcasts sunk below elementwise operations, and reductions of broadcasts.

f(broadcast(x)) is broadcast(f(x)), at the cost of the small x; the maximum of copies is
one of them, and their sum is n times one.

Precondition: static shapes; every operand of the elementwise operation is a broadcast,
or as small as one.
Postcondition: elementwise results, maxima and minima are the same to the bit (NumPy's
loops give one value one result, wherever it stands).  Sums, means and products with
a count are rounded once where adding n copies rounds up to n - 1 times: they differ by
at most n units in the last place, and come nearer to the true value.  Infinities and
NaN are the same; a sum that overflowed on its way need not; n copies of -0.0 may give
-0.0 where their sum was 0.0.  Integers wrap around to the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..program import Node, Program, Value
from ._walk import Walk, constant, rewrite_with

__all__ = ["sink_broadcasts"]

_BROADCASTS = ("BroadcastTo", "Fill", "Spread")
# How much smaller it must be to pay.
_LESS = 2
# Up to here every whole number is one of the dtype, by its bytes.
_COUNTS = {2: 1 << 11, 4: 1 << 24, 8: 1 << 53}


def sink_broadcasts(program: Program) -> int:
    """Sink broadcasts; returns how many nodes changed."""
    if program.types.isdisjoint(_BROADCASTS):
        return 0
    rules: dict[str, Any] = {
        n.opdef.type: _elementwise for n in program.nodes if n.opdef.elementwise
    }
    rules.pop("Select", None)  # its condition broadcasts the other way
    return rewrite_with(program, {**rules, **_RULES})


def _source(w: Walk, v: Value) -> tuple[Node, tuple[int, ...]] | None:
    """What makes ``v`` by repeating, and the shape of what it repeats, with as many
    axes as ``v`` has."""
    node = w.made_by(v, *_BROADCASTS) if v.static else None
    if node is None or v.dims is None:
        return None
    x = node.inputs[node.opdef.type == "Fill"]
    if not x.static or x.dims is None:
        return None
    rank = len(v.dims)
    if node.opdef.type == "Spread" and not node.attrs["keepdims"]:
        axis = node.attrs["axis"]
        gone = set(range(rank)) if axis is None else {i % rank for i in axis}
        rest: Any = iter(x.dims)
        dims: Any = tuple(1 if i in gone else next(rest) for i in range(rank))
    else:
        dims = (1,) * (rank - len(x.dims)) + x.dims
    return node, dims


def _taken(w: Walk, at: Node, node: Node, dims: tuple[int, ...]) -> Value:
    """What ``node`` repeats, under the shape ``dims``."""
    x = node.inputs[node.opdef.type == "Fill"]
    if x.dims == dims:
        return x
    sizes = constant(np.array(dims, np.int32), at.outputs[0])
    return w.add(at, "Reshape", [x, sizes])


# -- elementwise ---------------------------------------------------------------------


def _elementwise(w: Walk, node: Node) -> str | None:
    out = node.outputs[0]
    if not out.static or len(node.outputs) > 1 or out.dims is None:
        return None
    sources = [_source(w, v) for v in node.inputs]
    if not any(sources):
        return None
    shapes: list[Any] = [
        v.dims if s is None else s[1] for v, s in zip(node.inputs, sources)
    ]
    if not all(v.static for v in node.inputs):
        return None
    small = np.broadcast_shapes(*shapes)
    if math.prod(small) * out.dtype.size * _LESS > out.nbytes:
        return None
    if not isinstance(node.opdef.kernel, str) and len(set(shapes)) > 1:
        return None  # not every kernel broadcasts
    taken = [
        v if s is None else _taken(w, node, *s) for v, s in zip(node.inputs, sources)
    ]
    result = w.add(node, node.opdef.type, taken, node.attrs)
    sizes = constant(np.array(out.dims, np.int32), out)
    turned = w.turn(node, "BroadcastTo", [result, sizes])
    return "a broadcast after an elementwise operation" if turned else None


# -- reductions ----------------------------------------------------------------------


def _repeated(v: Value, dims: tuple[int, ...], axes: Any) -> int:
    """How often each element is among what is reduced along ``axes``."""
    whole: Any = v.dims
    return math.prod(whole[i] for i in axes if dims[i] == 1)


def _axes(node: Node) -> list[int]:
    rank = len(node.inputs[0].dims or ())
    axis = node.attrs["axis"]
    return list(range(rank)) if axis is None else [i % rank for i in axis]


def _same(w: Walk, node: Node) -> str | None:
    """Extremes and means: of one copy."""
    v = node.inputs[0]
    found = _source(w, v)
    if found is None or _repeated(v, found[1], _axes(node)) < _LESS:
        return None
    x = _taken(w, node, *found)
    _result(w, node, node.opdef.type, [x], node.attrs)
    return "a reduction of a broadcast"


def _result(
    w: Walk, node: Node, type: str, inputs: list[Value], attrs: Mapping[str, Any]
) -> None:
    """Let ``node`` make that, repeated where it is smaller than the result."""
    if w.turn(node, type, inputs, attrs):
        return
    out = node.outputs[0]
    sizes = constant(np.array(out.dims, np.int32), out)
    w.turn(node, "BroadcastTo", [w.add(node, type, inputs, attrs), sizes])


def _sum(w: Walk, node: Node) -> str | None:
    v = node.inputs[0]
    found = _source(w, v)
    if found is None:
        return None
    n = _repeated(v, found[1], _axes(node))
    if not _countable(n, v):
        return None
    x = _taken(w, node, *found)
    total = w.add(node, "Sum", [x], node.attrs)
    _result(w, node, "Mul", [total, _number(n, v)], {})
    return "the sum of a broadcast"


def _sum_to(w: Walk, node: Node) -> str | None:
    v, out = node.inputs[0], node.outputs[0]
    found = _source(w, v)
    if found is None or out.dims is None or v.dims is None or not out.static:
        return None
    maker, dims = found
    kept = (1,) * (len(v.dims) - len(out.dims)) + out.dims
    axes = [i for i, (d, k) in enumerate(zip(v.dims, kept)) if d != k]
    n = _repeated(v, dims, axes)
    # Only where nothing but copies is added up.
    if any(dims[i] != 1 for i in axes) or dims != kept or not _countable(n, v):
        return None
    x = _taken(w, node, maker, out.dims)  # type: ignore[arg-type]
    w.turn(node, "Mul", [x, _number(n, v)])
    return "the sum of a broadcast"


def _countable(n: int, v: Value) -> bool:
    if v.dtype.is_floating:
        return _LESS <= n <= _COUNTS.get(v.dtype.size, 0)
    return v.dtype.is_integer and n >= _LESS


def _number(n: int, v: Value) -> Value:
    return constant(np.array(n, np.int64).astype(v.dtype.dtype), v)


_RULES = {
    "All": _same,
    "Any": _same,
    "Max": _same,
    "Mean": _same,
    "Min": _same,
    "Sum": _sum,
    "SumTo": _sum_to,
}
