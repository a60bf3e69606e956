"""What a group of rows is about, and what a node is to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..graphlib.opdef import OpDef
from .program import IN_PLANS_ONLY, Node

__all__ = ["COMPOUND", "Frame", "Part", "frame_of"]


class Frame(NamedTuple):
    """The rows that a group is about: the shape, its last ``k`` axes being a row.

    With ``columns`` the other axes are reduced: what was said of rows holds of columns,
    of which ``rows`` is the number, and ``length`` that of the elements of each.
    """

    dims: tuple[int, ...]
    k: int
    columns: bool = False

    @property
    def lead(self) -> tuple[int, ...]:
        return self.dims[: len(self.dims) - self.k]

    @property
    def tail(self) -> tuple[int, ...]:
        return self.dims[len(self.dims) - self.k :]

    @property
    def rows(self) -> int:
        return math.prod(self.tail if self.columns else self.lead)

    @property
    def length(self) -> int:
        return math.prod(self.lead if self.columns else self.tail)

    def is_row_number(self, dims: Any) -> bool:
        """Whether a shape is that of a reduced array."""
        if self.columns:
            return dims in (self.tail, (*(1,) * len(self.lead), *self.tail))
        return dims in (self.lead, (*self.lead, *(1,) * self.k))

    def is_reduced(self, axes: Any) -> bool:
        """Whether these are the axes that are reduced."""
        rank = len(self.dims)
        gone = range(rank - self.k) if self.columns else range(rank - self.k, rank)
        return axes is not None and sorted(i % rank for i in axes) == list(gone)

    def move(self, dims: tuple[int, ...]) -> str:
        """How an array moves that is broadcast to the elements; "": otherwise."""
        if len(dims) > len(self.dims):
            return "s" if math.prod(dims) == 1 else ""
        full = (*(1,) * (len(self.dims) - len(dims)), *dims)
        if full == self.dims:
            return "1"
        if math.prod(dims) == 1:
            return "s"
        head, tail = full[: len(full) - self.k], full[len(full) - self.k :]
        if math.prod(head) == 1 and tail == self.tail:
            return "0" if self.columns else "c"
        if head == self.lead and math.prod(tail) == 1:
            return "c" if self.columns else "0"
        return ""


class Part(NamedTuple):
    """One operation of a node: what a member is made of."""

    op: Any
    opdef: Any
    attrs: Any
    reads: tuple[Any, ...]  # Values as they are read, or places in a fused node
    made: Any
    dtype: Any
    wide: bool
    reduce: str


def _pointwise(type: str, ufunc: str) -> OpDef:
    return OpDef(type, kernel=ufunc, inputs=("x", "y"), doc=ufunc, **IN_PLANS_ONLY)


_CENTRE, _SQUARE = _pointwise("_Centre", "subtract"), _pointwise("_Square", "multiply")
_PLUS = _pointwise("_Plus", "add")


def _divided(xp: Any, x: Any, *, number: float, out: Any = None) -> Any:
    return xp.true_divide(x, number, out=out)


def _deviation(xp: Any, x: Any, *, number: float, out: Any = None) -> Any:
    """1 / sqrt(x + number)."""
    return xp.reciprocal(xp.sqrt(xp.add(x, number, out=out), out=out), out=out)


_DIVIDED = OpDef(
    "_Divided", kernel=_divided, inputs=("x",), doc="x / number", **IN_PLANS_ONLY
)
_DEVIATION = OpDef(
    "_Deviation", kernel=_deviation, inputs=("x",), doc="a factor", **IN_PLANS_ONLY
)


def _moments(node: Node) -> list[Part]:
    """The mean, the distances to it, their squares and these squares' mean."""
    (x,) = node.inputs
    mean, variance = node.outputs
    centred, squares = (node, 1), (node, 2)
    op, opdef, attrs, dtype = node.op, node.opdef, node.attrs, x.dtype.dtype
    return [
        Part(op, opdef, attrs, (x,), mean, dtype, False, "mean"),
        Part(op, _CENTRE, {}, (x, mean), centred, dtype, True, ""),
        Part(op, _SQUARE, {}, (centred, centred), squares, dtype, True, ""),
        Part(op, opdef, attrs, (squares,), variance, dtype, False, "mean"),
    ]


def _batch_norm(node: Node) -> list[Part]:
    """FusedBatchNorm of channels that come last."""
    x, scale, offset = node.inputs
    y, mean, variance, rstd = node.outputs
    op, opdef, attrs, dtype = node.op, node.opdef, node.attrs, x.dtype.dtype
    count = math.prod(x.dims[:-1])  # type: ignore[index,arg-type]
    less, shown = {"number": max(count - 1, 1)}, {"number": attrs["epsilon"]}

    def part(k: int, what: OpDef, attrs: Any, reads: Any, to: Any, wide: bool) -> Part:
        return Part(op, what, attrs, reads, to or (node, k), dtype, wide, "")

    return [
        Part(op, opdef, attrs, (x,), mean, dtype, False, "mean"),
        part(1, _CENTRE, {}, (x, mean), None, True),
        part(2, _SQUARE, {}, ((node, 1), (node, 1)), None, True),
        Part(op, opdef, attrs, ((node, 2),), (node, 3), dtype, False, "sum"),
        part(4, _DIVIDED, {"number": count}, ((node, 3),), None, False),
        part(5, _DEVIATION, shown, ((node, 4),), rstd, False),
        part(6, _DIVIDED, less, ((node, 3),), variance, False),
        part(7, _SQUARE, {}, (scale, rstd), None, False),
        part(8, _SQUARE, {}, ((node, 1), (node, 7)), None, True),
        part(9, _PLUS, {}, ((node, 8), offset), y, True),
    ]


def _batch_norm_grad(node: Node) -> list[Part]:
    """Its gradient: dx = scale rstd (g + (x - mean) pull - doffset / n)."""
    g, x, scale, mean, rstd = node.inputs
    dx, dscale, doffset = node.outputs
    op, opdef, attrs, dtype = node.op, node.opdef, node.attrs, x.dtype.dtype
    count = math.prod(x.dims[:-1])  # type: ignore[index,arg-type]

    def part(k: int, what: OpDef, reads: Any, to: Any, wide: bool, n: int = 0) -> Part:
        own = {"number": n} if n else {}
        return Part(op, what, own, reads, to or (node, k), dtype, wide, "")

    return [
        part(1, _CENTRE, (x, mean), None, True),
        part(2, _SQUARE, (g, (node, 1)), None, True),
        Part(op, opdef, attrs, ((node, 2),), (node, 3), dtype, False, "sum"),
        part(4, _SQUARE, ((node, 3), rstd), dscale, False),
        Part(op, opdef, attrs, (g,), doffset, dtype, False, "sum"),
        part(5, _SQUARE, (rstd, dscale), None, False),
        part(6, _DIVIDED, ((node, 5),), None, False, -count),
        part(7, _DIVIDED, (doffset,), None, False, count),
        part(8, _SQUARE, (scale, rstd), None, False),
        part(9, _SQUARE, ((node, 1), (node, 6)), None, True),
        part(10, _PLUS, ((node, 9), g), None, True),
        part(11, _CENTRE, ((node, 10), (node, 7)), None, True),
        part(12, _SQUARE, ((node, 11), (node, 8)), dx, True),
    ]


#: Operations that are several parts, with statistics of rows or columns between.
COMPOUND: dict[str, Callable[[Node], list[Part]]] = {
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormGrad": _batch_norm_grad,
    "Moments": _moments,
}


def frame_of(node: Node, dims: tuple[int, ...]) -> Frame | None:
    """The rows, or columns, that a node reduces."""
    if node.opdef.type in ("FusedBatchNorm", "FusedBatchNormGrad"):
        first = node.attrs["data_format"][1] == "C"
        return None if first else Frame(dims, 1, True)
    k = _last_axes(node, dims)
    if k:
        return Frame(dims, k)
    k = _first_axes(node, dims)
    return Frame(dims, len(dims) - k, True) if k else None


def _first_axes(node: Node, dims: tuple[int, ...]) -> int:
    """How many first axes a reduction takes away; 0: it takes others."""
    if node.opdef.type == "SumTo":
        out = node.outputs[0].dims or ()
        out = (*(1,) * (len(dims) - len(out)), *out)
        gone = [i for i, (d, o) in enumerate(zip(dims, out)) if d != o]
        return len(gone) if gone == list(range(len(gone))) else 0
    axes = node.attrs["axis"]
    found = sorted(i % len(dims) for i in axes or ())
    return len(found) if found == list(range(len(found))) else 0


def _last_axes(node: Node, dims: tuple[int, ...]) -> int:
    """How many last axes a reduction takes away; 0: it takes others."""
    if node.opdef.type == "SumTo":
        out = node.outputs[0].dims or ()
        out = (*(1,) * (len(dims) - len(out)), *out)
        gone = [i for i, (d, o) in enumerate(zip(dims, out)) if d != o]
        if not gone:
            return 0
        k = len(dims) - gone[0]
        return k if math.prod(out[gone[0] :]) == 1 else 0  # type: ignore[arg-type]
    return _axes_count(node.attrs["axis"], len(dims))


def _axes_count(axes: Any, rank: int) -> int:
    """How many axes, which are the last ones; 0: they are not."""
    if axes is None:
        return rank
    found = sorted(i % rank for i in axes)
    return len(found) if found == list(range(rank - len(found), rank)) else 0
