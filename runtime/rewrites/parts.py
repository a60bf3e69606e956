"""Products of which only some rows or columns are read: only those are computed.

``split(A @ B, ...)[1]`` is ``A @ B[:, part]``, as in the gradient of ``concat([x, h]) @
W`` where nothing asks for that of x.  The part of the factor is a view.

Precondition: matrices of static shapes; nothing else reads the product.
Postcondition: each element is the same sum of products.  It may be added in another
order (by BLAS for another shape): in either order with an error of at most k u |A| |B|,
k the inner size and u the unit roundoff.
"""

from __future__ import annotations

from typing import Any

from ..program import VARIABLE, Node, Program, Value
from ._walk import Walk, rewrite_with

__all__ = ["cut_products"]

_WHOLE = (None, None, None)


def cut_products(program: Program) -> int:
    """Compute what is read of products; returns how many became smaller."""
    if "MatMul" not in program.types:
        return 0
    return rewrite_with(program, _RULES)


def _product(w: Walk, v: Value) -> Node | None:
    """The product that makes ``v`` for one reader, where it can be cut."""
    node = w.made_by(v, "MatMul")
    if node is None or w.uses[v] != 1 or not v.static:
        return None
    attrs = node.attrs
    if attrs["adjoint_a"] or attrs["adjoint_b"]:
        return None
    if any(i.kind == VARIABLE or len(i.dims or ()) != 2 for i in node.inputs):
        return None
    return node


def _part(
    w: Walk, node: Node, product: Node, axis: int, low: int, high: int
) -> tuple[list[Value], Any]:
    """The factors of rows or columns ``low`` to ``high`` of a product, and its
    attributes."""
    factors = list(product.inputs)
    flipped = product.attrs["transpose_b" if axis else "transpose_a"]
    spec: tuple[Any, ...] = ((low, high, None),)
    if bool(axis) != bool(flipped):
        spec = (_WHOLE, *spec)
    factors[axis] = w.add(node, "StridedSlice", [factors[axis]], {"spec": spec})
    return factors, product.attrs


def _split(w: Walk, node: Node) -> str | None:
    read = [v for v in node.outputs if w.uses[v]]
    product = _product(w, node.inputs[0])
    if product is None or len(read) != 1 or len(node.outputs) < 2 or node.after:
        return None
    axis = node.attrs["axis"] % 2
    sizes: list[Any] = [v.dims[axis] if v.dims else None for v in node.outputs]
    if None in sizes or not read[0].nbytes:
        return None
    low = sum(sizes[: read[0].index])
    factors, attrs = _part(w, node, product, axis, low, low + sizes[read[0].index])
    made = w.add(node, "MatMul", factors, attrs)
    assert made.dims == read[0].dims
    w.subst[read[0]] = made
    w.gone = True
    return "a part of a product"


def _strided(w: Walk, node: Node) -> str | None:
    if len(node.inputs) > 1:
        return None
    product = _product(w, node.inputs[0])
    spec = [e for e in node.attrs["spec"] if e != "..."]
    out = node.outputs[0]
    if product is None or len(spec) != len(node.attrs["spec"]) or not out.nbytes:
        return None
    cut = [axis for axis, e in enumerate(spec) if e != _WHOLE]
    if len(cut) != 1 or not isinstance(spec[cut[0]], tuple):
        return None
    begin, end, step = spec[cut[0]]
    if step not in (None, 1):
        return None
    dims: Any = node.inputs[0].dims
    low, high, _ = slice(begin, end).indices(dims[cut[0]])
    factors, attrs = _part(w, node, product, cut[0], low, high)
    return "a part of a product" if w.turn(node, "MatMul", factors, attrs) else None


_RULES = {"Split": _split, "SplitV": _split, "StridedSlice": _strided}
