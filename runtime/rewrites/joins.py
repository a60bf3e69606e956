"""Parts of what was just joined: the part itself, without the join.

stack then unstack or index, concat then split, slice or gather: as loops that were
unrolled, gates of cells, and heads of attention write them.

Precondition: static shapes; positions that are known before the run, all in one part.
Postcondition: the same to the bit; indices that are out of range still fail.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..program import CONST, VARIABLE, Node, Program, Value
from ._walk import Walk, constant, rewrite_with

__all__ = ["cut_joins"]


def cut_joins(program: Program) -> int:
    """Read parts directly; returns how many nodes changed or went."""
    if program.types.isdisjoint(("ConcatV2", "Pack")):
        return 0
    return rewrite_with(program, _RULES)


def _joined(w: Walk, v: Value) -> tuple[Node, int] | None:
    """What joins ``v``, and along which axis."""
    node = w.made_by(v, "ConcatV2", "Pack")
    if node is None or not v.static or v.dims is None:
        return None
    return node, node.attrs["axis"] % len(v.dims)


def _part(node: Node, axis: int, low: int, high: int) -> tuple[Value, int] | None:
    """The part that has the positions from ``low`` to ``high`` (not included) of the
    axis, and where it begins."""
    if node.opdef.type == "Pack":
        there = 0 <= low == high - 1 < len(node.inputs)
        return (node.inputs[low], low) if there else None
    begin = 0
    for v in node.inputs:
        size: Any = None if v.dims is None else v.dims[axis]
        if size is None or not v.static:
            return None
        if begin <= low < high <= begin + size:
            return v, begin
        begin += size
    return None


def _all(w: Walk, node: Node, parts: list[Value]) -> bool:
    """Let the readers of each output read a part."""
    same = len(parts) == len(node.outputs) and all(
        p.dims == v.dims and p.dtype is v.dtype and p.kind != VARIABLE
        for p, v in zip(parts, node.outputs)
    )
    if not same or node.after:
        return False
    w.subst.update(zip(node.outputs, parts))
    w.gone = True
    return True


def _unpack(w: Walk, node: Node) -> str | None:
    found = _joined(w, node.inputs[0])
    if found is None or found[0].opdef.type != "Pack":
        return None
    if node.attrs["axis"] % len(node.inputs[0].dims or ()) != found[1]:
        return None
    return "unstack of stack" if _all(w, node, found[0].inputs) else None


def _split(w: Walk, node: Node) -> str | None:
    found = _joined(w, node.inputs[0])
    if found is None or found[0].opdef.type != "ConcatV2":
        return None
    if node.attrs["axis"] % len(node.inputs[0].dims or ()) != found[1]:
        return None
    return "split of concat" if _all(w, node, found[0].inputs) else None


def _slice(w: Walk, node: Node) -> str | None:
    x, begin, size = node.inputs
    found = _joined(w, x)
    if found is None or found[0].opdef.type != "ConcatV2":
        return None
    if begin.kind != CONST or size.kind != CONST:
        return None
    join, axis = found
    starts, sizes = begin.value.tolist(), size.value.tolist()
    dims: Any = x.dims
    low = starts[axis]
    high = dims[axis] if sizes[axis] == -1 else low + sizes[axis]
    part = _part(join, axis, low, high)
    if part is None:
        return None
    v, offset = part
    if v.dims == node.outputs[0].dims and not any(
        s for i, s in enumerate(starts) if i != axis
    ):
        return "a slice of concat" if w.bypass(node, v) else None
    starts[axis], sizes[axis] = low - offset, high - low
    new = [
        constant(np.array(a, b.value.dtype), b)
        for a, b in ((starts, begin), (sizes, size))
    ]
    return "a slice of concat" if w.turn(node, "Slice", [v, *new]) else None


def _strided(w: Walk, node: Node) -> str | None:
    if len(node.inputs) > 1:
        return None
    found = _joined(w, node.inputs[0])
    spec = node.attrs["spec"]
    if found is None or len(spec) <= found[1]:
        return None
    join, axis = found
    whole = (None, None, None)
    if any(e != whole for e in spec[:axis]):
        return None
    dims: Any = node.inputs[0].dims
    n, e = dims[axis], spec[axis]
    if isinstance(e, int) and -n <= e < n:
        low, high = e % n, e % n + 1
    elif isinstance(e, tuple) and e[2] in (None, 1) and join.opdef.type == "ConcatV2":
        low, high, _ = slice(*e).indices(n)
    else:
        return None
    part = _part(join, axis, low, high)
    if part is None or low >= high:
        return None
    v, offset = part
    if join.opdef.type == "Pack":
        rest = (*spec[:axis], *spec[axis + 1 :])
    else:
        at: Any = low - offset
        entry = at if isinstance(e, int) else (at, high - offset, None)
        rest = (*spec[:axis], entry, *spec[axis + 1 :])
    plain = all(e in (whole, "...") for e in rest if not isinstance(e, int))
    if plain and v.dims == node.outputs[0].dims and w.bypass(node, v):
        return "an index of stack or concat"
    turned = w.turn(node, "StridedSlice", [v], {"spec": rest})
    return "an index of stack or concat" if turned else None


def _gather(w: Walk, node: Node) -> str | None:
    x, indices = node.inputs
    if indices.kind != CONST or not indices.value.size or node.attrs["batch_dims"]:
        return None
    found = _joined(w, x)
    if found is None or node.attrs["axis"] % len(x.dims or ()) != found[1]:
        return None
    join, axis = found
    low, high = int(indices.value.min()), int(indices.value.max()) + 1
    part = _part(join, axis, low, high)
    if part is None or low < 0:
        return None
    v, offset = part
    if join.opdef.type == "Pack":
        bypassed = not indices.value.ndim and w.bypass(node, v)
        return "a gather of stack" if bypassed else None
    moved = constant(indices.value - indices.value.dtype.type(offset), indices)
    turned = w.turn(node, "GatherV2", [v, moved], node.attrs)
    return "a gather of concat" if turned else None


def _concat(w: Walk, node: Node) -> str | None:
    """concat(split(x)) is x; concat of concat is one."""
    first = w.made_by(node.inputs[0], "Split", "SplitV", "Unpack")
    if first is not None and first.outputs == tuple(node.inputs):
        cut = first.opdef.type.startswith("Split")
        rank = len(first.inputs[0].dims or ())
        along = rank and (first.attrs["axis"] - node.attrs["axis"]) % rank == 0
        if along and cut == (node.opdef.type == "ConcatV2"):
            return "a join of all parts" if w.bypass(node, first.inputs[0]) else None
    if node.opdef.type != "ConcatV2":
        return None
    inner = [w.made_by(v, "ConcatV2") for v in node.inputs]
    out = node.outputs[0]
    if not any(inner) or out.dims is None or not out.static:
        return None
    rank = len(out.dims)
    parts = [
        [v]
        if n is None or (n.attrs["axis"] - node.attrs["axis"]) % rank or w.uses[v] > 1
        else n.inputs
        for v, n in zip(node.inputs, inner)
    ]
    flat = list(itertools.chain.from_iterable(parts))
    if len(flat) == len(node.inputs):
        return None
    turned = w.turn(node, "ConcatV2", flat, node.attrs)
    return "a concat of concats" if turned else None


_RULES = {
    "ConcatV2": _concat,
    "GatherV2": _gather,
    "Pack": _concat,
    "Slice": _slice,
    "Split": _split,
    "SplitV": _split,
    "StridedSlice": _strided,
    "Unpack": _unpack,
}
