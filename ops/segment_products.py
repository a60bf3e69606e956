"""Running products within segments, and the products of the others in each.

Rows that are in the order of their labels fall into segments; ``edge`` marks the
row where a segment begins, in the direction of the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..graphlib.dtypes import bool_, int64
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import merge, size, text
from ..graphlib.tensor import Tensor
from ._build import constant, create, shape_tensor
from ._kinds import require
from ._later import batch_index
from .joining import concat
from .reduction import input_flops
from .scan import delay, linear_recurrence
from .views import reshape

__all__ = ["SEGMENT_CUMPROD", "SEGMENT_ORDER", "other_factors"]


# -- the order of labels ---------------------------------------------------------------


def _order_kernel(xp: Any, ids: Any, out: Any = None) -> Any:
    flat = ids.reshape(-1)
    order = xp.argsort(flat, kind="stable").astype(np.int64)
    back = xp.empty_like(order)
    back[order] = xp.arange(order.size)
    labels = flat[order]
    edge = xp.ones(labels.size + 1, bool)
    xp.not_equal(labels[1:], labels[:-1], edge[1:-1])
    return order, back, edge[:-1].copy(), edge[1:].copy()


def _infer_order(inputs: Sequence[Any], attrs: Any) -> Any:
    n = (size(inputs[0].dims),)
    return ((int64, n), (int64, n), (bool_, n), (bool_, n))


SEGMENT_ORDER = OpDef(
    "SegmentOrder",
    infer=_infer_order,
    kernel=_order_kernel,
    inputs=("ids",),
    doc="a stable order by label, its inverse, and where labels begin and end",
)


# -- running products ------------------------------------------------------------------


def _infer_running(inputs: Sequence[Any], attrs: Any) -> Any:
    x, edge = inputs
    require(inputs[:1], "fc")
    if edge.dtype is not bool_:
        raise DTypeError(f"edges must be bool, not {edge.dtype.name}")
    if x.dims == () or (edge.dims is not None and len(edge.dims) != 1):
        raise ShapeError(
            f"edges {text(edge.dims)} do not mark the rows of {text(x.dims)}"
        )
    if x.dims is not None and edge.dims is not None:
        merge(x.dims[:1], edge.dims)
    return ((x.dtype, x.dims),)


# A segment up to so long goes step by step, all such at once; a longer one by itself.
_SHORT = 32


def _running_kernel(
    xp: Any, x: Any, edge: Any, *, reverse: bool, out: Any = None
) -> Any:
    if edge.shape != x.shape[:1]:
        raise InvalidArgumentError(f"{edge.shape} edges for rows of {x.shape}")
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    if reverse:
        _running_products(xp, x[::-1], edge[::-1], out[::-1])
    else:
        _running_products(xp, x, edge, out)
    return out


def _running_products(xp: Any, x: Any, edge: Any, out: Any) -> None:
    """Segments of about one length at a time, padded by ones to the longest."""
    n = x.shape[0]
    inner = xp.flatnonzero(edge[1:]) + 1
    starts = xp.concatenate(([0], inner)) if n else inner
    lengths = xp.diff(starts, append=n)
    out[starts] = 1
    # Lengths 2, 3-4, 5-8, ...: less than half of a block is padding.
    classes = xp.frexp(lengths - 1.0)[1]
    for k in range(1, int(classes.max(initial=0)) + 1):
        chosen = classes == k
        if not chosen.any():
            continue
        first, count = starts[chosen], lengths[chosen]
        step = xp.arange(1, count.max())
        if len(step) < _SHORT:
            at, inside = step[:, None] + first, step[:, None] < count
        else:
            at, inside = step + first[:, None], step < count[:, None]
        block = x.take(at - 1, 0, mode="clip")
        block[~inside] = 1
        if len(step) < _SHORT:
            for i in range(1, len(step)):
                xp.multiply(block[i - 1], block[i], block[i])
        else:
            xp.multiply.accumulate(block, 1, x.dtype, block)
        out[at[inside]] = block[inside]


def _cut(op: Operation, t: Tensor) -> Tensor:
    """``t``, and 0 where a segment begins."""
    x, edge = op.inputs
    if x.dims is not None:
        column: Any = [-1] + [1] * (len(x.dims) - 1)
    else:
        rest = TABLE["getitem"](shape_tensor(x), slice(1, None))
        column = concat([constant([-1], rest.dtype), TABLE["ones_like"](rest)], 0)
    zero = constant(0, t.dtype)
    return TABLE["where"](reshape(edge, column), zero, t)  # type: ignore[no-any-return]


def _running_pull(op: Operation, g: Tensor) -> Tensor:
    """y[k] u[k], where u[k] = g[k+1] + x[k+1] u[k+1] within the segment."""
    x, y, reverse = op.inputs[0], op.outputs[0], op.attrs["reverse"]
    if x.dtype.is_complex:
        x, y = TABLE["conj"](x), TABLE["conj"](y)
    factor = delay(_cut(op, x), 0, not reverse)
    u = linear_recurrence(factor, delay(_cut(op, g), 0, not reverse), 0, not reverse)
    return TABLE["mul"](y, u)  # type: ignore[no-any-return]


def _running_jvp(op: Operation, t: Tensor, *rest: Any) -> Tensor:
    """dy[i+1] = x[i] dy[i] + y[i] dx[i] within the segment."""
    x, y, reverse = op.inputs[0], op.outputs[0], op.attrs["reverse"]
    after = linear_recurrence(_cut(op, x), TABLE["mul"](y, t), 0, reverse)
    return _cut(op, delay(after, 0, reverse))


SEGMENT_CUMPROD = OpDef(
    "SegmentCumprod",
    infer=_infer_running,
    kernel=_running_kernel,
    inputs=("x", "edge"),
    vjp=(_running_pull, None),
    jvp=_running_jvp,
    writes_out=True,
    flops=input_flops,
    # Where one class holds all: the padded block twice, and its places.
    transient=lambda inputs, outputs, attrs: (
        2 * (outputs[0].dtype.size or 0) * prod(outputs[0].dims)
        + 26 * outputs[0].dims[0]
    ),
    batch=batch_index.segment_scan,
    doc="y[i] = x[i-1] y[i-1], 1 where a segment begins",
)


def other_factors(rows: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """For each element the product of the others in its column of its segment.

    Shapes: rows (n, ...), ``first`` and ``last`` (n,): where segments begin and end.
    No division: right at zeros, and beside infinities.
    """
    before = create(SEGMENT_CUMPROD, (rows, first), {"reverse": False})
    after = create(SEGMENT_CUMPROD, (rows, last), {"reverse": True})
    return TABLE["mul"](before, after)  # type: ignore[no-any-return]
