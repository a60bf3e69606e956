"""What a group of rows is about, and what a node is to it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..graphlib.opdef import OpDef
from .program import IN_PLANS_ONLY, Node

__all__ = ["Frame", "Part", "axes_count", "last_axes", "moments"]


class Frame(NamedTuple):
    """The rows that a group is about: the shape, its last ``k`` axes being a row."""

    dims: tuple[int, ...]
    k: int

    @property
    def lead(self) -> tuple[int, ...]:
        return self.dims[: len(self.dims) - self.k]

    @property
    def tail(self) -> tuple[int, ...]:
        return self.dims[len(self.dims) - self.k :]

    @property
    def rows(self) -> int:
        return math.prod(self.lead)

    @property
    def length(self) -> int:
        return math.prod(self.tail)

    def is_row_number(self, dims: Any) -> bool:
        """Whether a shape is that of a reduced array."""
        return dims in (self.lead, (*self.lead, *(1,) * self.k))

    def move(self, dims: tuple[int, ...]) -> str:
        """How an array moves that is broadcast to the elements; "": otherwise."""
        if dims == self.dims:
            return "1"
        if math.prod(dims) == 1:
            return "s"
        if len(dims) > len(self.dims):
            return ""
        full = (*(1,) * (len(self.dims) - len(dims)), *dims)
        head, tail = full[: len(full) - self.k], full[len(full) - self.k :]
        if math.prod(head) == 1 and tail == self.tail:
            return "c"
        return "0" if head == self.lead and math.prod(tail) == 1 else ""


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


def moments(node: Node) -> list[Part]:
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


def last_axes(node: Node, dims: tuple[int, ...]) -> int:
    """How many last axes a reduction takes away; 0: it takes others."""
    if node.opdef.type == "SumTo":
        out = node.outputs[0].dims or ()
        out = (*(1,) * (len(dims) - len(out)), *out)
        gone = [i for i, (d, o) in enumerate(zip(dims, out)) if d != o]
        if not gone:
            return 0
        k = len(dims) - gone[0]
        return k if math.prod(out[gone[0] :]) == 1 else 0  # type: ignore[arg-type]
    return axes_count(node.attrs["axis"], len(dims))


def axes_count(axes: Any, rank: int) -> int:
    """How many axes, which are the last ones; 0: they are not."""
    if axes is None:
        return rank
    found = sorted(i % rank for i in axes)
    return len(found) if found == list(range(rank - len(found), rank)) else 0
