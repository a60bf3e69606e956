"""Transposes and reshapes cancelled, merged, or folded into the flags of products.

Precondition: known ranks for transposes, static shapes for reshapes.
Postcondition: every value is the same to the bit: a product reads the same memory by
the same strides, whether a view or a flag says so.
"""

from __future__ import annotations

import numpy as np

from ..program import CONST, VARIABLE, Node, Program, Value
from ._walk import Walk, constant, rewrite_with

__all__ = ["merge_views"]

_RESHAPES = ("ExpandDims", "Reshape", "Squeeze")
_TRANSPOSES = ("MatrixTranspose", "Transpose")


def merge_views(program: Program) -> int:
    """Merge views; returns how many nodes changed or went."""
    return rewrite_with(program, _RULES)


# -- transposes ----------------------------------------------------------------------


def _order(node: Node) -> tuple[int, ...] | None:
    """The permutation of a transpose, where its rank is known."""
    dims = node.inputs[0].dims
    if dims is None:
        return None
    axes = range(len(dims))
    if node.opdef.type == "MatrixTranspose":
        return (*axes[:-2], axes[-1], axes[-2])
    perm = node.attrs["perm"]
    return tuple(reversed(axes)) if perm is None else tuple(perm)


def _transpose(w: Walk, node: Node) -> str | None:
    perm = _order(node)
    if perm is None:
        return None
    straight = tuple(range(len(perm)))
    if perm == straight and w.bypass(node, node.inputs[0]):
        return "a transpose that moves nothing"
    inner = w.made_by(node.inputs[0], *_TRANSPOSES)
    first = None if inner is None else _order(inner)
    if inner is None or first is None:
        return None
    both = tuple(first[i] for i in perm)
    if both == straight:
        cancelled = w.bypass(node, inner.inputs[0])
        return "two transposes cancel" if cancelled else None
    turned = w.turn(node, "Transpose", inner.inputs, {"perm": both})
    return "two transposes are one" if turned else None


def _swaps_matrices(node: Node) -> bool:
    perm = _order(node)
    if perm is None or len(perm) < 2:
        return False
    n = len(perm)
    return perm == (*range(n - 2), n - 1, n - 2)


def _matmul(w: Walk, node: Node) -> str | None:
    done = None
    for i, side in enumerate("ab"):
        inner = w.made_by(node.inputs[i], *_TRANSPOSES)
        if inner is None or node.attrs[f"adjoint_{side}"]:
            continue
        if not _swaps_matrices(inner):
            continue
        flag = f"transpose_{side}"
        inputs = list(node.inputs)
        inputs[i] = inner.inputs[0]
        attrs = {**node.attrs, flag: not node.attrs[flag]}
        if w.turn(node, "MatMul", inputs, attrs):
            done = "a transpose is a flag of a product"
    return done


# -- reshapes ------------------------------------------------------------------------


def _reshape(w: Walk, node: Node) -> str | None:
    v, out = node.inputs[0], node.outputs[0]
    if not (v.static and out.static):
        return None
    if v.dims == out.dims and v.kind != VARIABLE and w.bypass(node, v):
        return "a reshape to the same shape"
    inner = w.made_by(v, *_RESHAPES)
    if inner is None:
        return None
    x = inner.inputs[0]
    if not x.static or (_may_copy(x) and w.uses[v] > 1):
        return None  # one copy for all who read it
    if x.dims == out.dims and w.bypass(node, x):
        return "two reshapes cancel"
    sizes = node.inputs[1] if node.opdef.type == "Reshape" else None
    if sizes is None or sizes.kind != CONST or -1 in sizes.value:
        sizes = constant(np.array(out.dims, np.int32), out)
    turned = w.turn(node, "Reshape", [x, sizes])
    return "two reshapes are one" if turned else None


def _may_copy(x: Value) -> bool:
    """Whether a reshape of ``x`` may have to move its elements."""
    node = x.node
    return (
        node is not None
        and node.opdef.alias is not None
        and node.opdef.type not in _RESHAPES
    )


_RULES = {
    "ExpandDims": _reshape,
    "MatMul": _matmul,
    "MatrixTranspose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Transpose": _transpose,
}
