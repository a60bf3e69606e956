"""Reductions of rows by label: segments, sorted and not.

Rows are put in the order of their labels (sorted ids are in it already) and
each run is reduced at once; gradients are gathers of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import compatible, merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import constant, create, create_many, inexact, scope, shape_tensor
from ._kinds import require
from ._later import batch_index
from ._static import as_vector, merged, sizes
from .core import cast
from .elementwise import div_no_nan, truncatediv
from .gather import lent
from .joining import concat
from .logical import equal
from .powers import sqrt
from .reduction import input_flops
from .segment_products import SEGMENT_ORDER, other_factors
from .views import reshape

__all__ = [
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_prod",
    "segment_sum",
    "unsorted_segment_max",
    "unsorted_segment_mean",
    "unsorted_segment_min",
    "unsorted_segment_prod",
    "unsorted_segment_sqrt_n",
    "unsorted_segment_sum",
]

_UFUNC = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}


def _mul(x: Any, y: Any) -> Tensor:
    return TABLE["mul"](x, y)  # type: ignore[no-any-return]


def _labels(ids: Any) -> None:
    if not ids.dtype.is_integer:
        raise DTypeError(f"segment ids must be integers, not {ids.dtype.name}")


def _reduced(
    xp: Any, how: str, rows: Any, ids: Any, count: int, fill: Any, out: Any
) -> Any:
    """Rows reduced by their labels, which are sorted and not negative."""
    if out is None:
        out = xp.empty((count, *rows.shape[1:]), rows.dtype)
    out[...] = fill
    if not ids.size:
        return out
    if how == "sum" and rows.ndim == 1 and rows.dtype.kind == "f":
        out[...] = xp.bincount(ids, rows, count)
        return out
    starts = xp.flatnonzero(xp.concatenate(([True], ids[1:] != ids[:-1])))
    # reduceat widens small integers: `dtype` keeps theirs.
    ufunc = getattr(xp, _UFUNC[how])
    out[ids[starts]] = ufunc.reduceat(rows, starts, 0, rows.dtype)
    return out


# -- sorted ids ------------------------------------------------------------------------


def _infer_sorted(kinds: str) -> Callable[..., Any]:
    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        x, ids = inputs
        require(inputs[:1], kinds)
        _labels(ids)
        if ids.dims is not None and len(ids.dims) != 1:
            raise ShapeError(f"segment ids must be a vector, not {text(ids.dims)}")
        if x.dims is None:
            return ((x.dtype, None),)
        if not x.dims:
            raise ShapeError("a scalar has no rows")
        if ids.dims is not None:
            merge(x.dims[:1], ids.dims)
        known = ids.value
        count: int | None = None
        if isinstance(known, np.ndarray):
            count = int(known[-1]) + 1 if known.size else 0
        return ((x.dtype, (count, *x.dims[1:])),)

    return infer


def _sorted_kernel(how: str, fill: int) -> Callable[..., Any]:
    def kernel(xp: Any, x: Any, ids: Any, out: Any = None) -> Any:
        if ids.shape != x.shape[:1]:
            raise InvalidArgumentError(f"{ids.shape} ids for rows of {x.shape}")
        if ids.size and (ids[0] < 0 or bool(xp.any(ids[1:] < ids[:-1]))):
            raise InvalidArgumentError(
                "segment ids must be sorted and not negative: see unsorted_segment_*"
            )
        count = int(ids[-1]) + 1 if ids.size else 0
        return _reduced(xp, how, x, ids, count, fill, out)

    return kernel


def _infer_gather(inputs: Sequence[Any], attrs: Any) -> Any:
    rows, ids = inputs
    if rows.dims is None or ids.dims is None:
        return ((rows.dtype, None),)
    return ((rows.dtype, (*ids.dims, *rows.dims[1:])),)


def _gather_kernel(xp: Any, rows: Any, ids: Any, out: Any = None) -> Any:
    if not rows.shape[0]:
        if out is None:
            out = xp.empty((*ids.shape, *rows.shape[1:]), rows.dtype)
        out[...] = 0
        return out
    if out is not None and not out.flags.c_contiguous:
        out[...] = rows.take(ids, 0, mode="clip")
    else:
        out = rows.take(lent(ids), 0, out, "clip")
    outside = (ids < 0) | (ids >= rows.shape[0])
    if outside.any():
        out[outside] = 0
    return out


def _gather_rule(op: Operation, g: Tensor) -> Tensor:
    rows, ids = op.inputs
    return _unsorted("sum", g, ids, _height(rows), strict=False)


SEGMENT_GATHER: OpDef = OpDef(
    "SegmentGather",
    infer=_infer_gather,
    kernel=_gather_kernel,
    inputs=("rows", "ids"),
    linear=True,
    vjp=(_gather_rule, None),
    jvp=lambda op, t, _: create(SEGMENT_GATHER, (t, op.inputs[1])),
    writes_out=True,
    flops=lambda i, o, a: 0,
    batch=batch_index.segment_gather,
    doc="y[i] = rows[ids[i]], 0 where there is no such row",
)


def _height(x: Tensor) -> Tensor:
    """The number of rows, an int32 scalar."""
    if x.dims and x.dims[0] is not None:
        return constant(np.array(x.dims[0], np.int32), graph=x.op.graph)
    return TABLE["getitem"](shape_tensor(x), 0)  # type: ignore[no-any-return]


def segment_gather(rows: Tensor, ids: Tensor) -> Tensor:
    """The row of each id; 0 for an id that is negative or too large."""
    return create(SEGMENT_GATHER, (rows, ids))


def _again(op: Operation, t: Tensor) -> Tensor:
    """The same (linear) reduction of a tangent."""
    return create(op.opdef, (t, *op.inputs[1:]), dict(op.attrs))


# What max and min choose: every extreme element gets an equal share.
def _shares(op: Operation) -> Tensor:
    x, ids = op.inputs[:2]
    chosen = cast(equal(x, segment_gather(op.outputs[0], ids)), x.dtype)
    ties = _unsorted("sum", chosen, ids, _height(op.outputs[0]))
    return div_no_nan(chosen, segment_gather(ties, ids))


def _extreme_vjp(op: Operation, g: Tensor) -> Tensor:
    return _mul(segment_gather(g, op.inputs[1]), _shares(op))


def _extreme_jvp(op: Operation, t: Tensor, *rest: Any) -> Tensor:
    ids = op.inputs[1]
    return _unsorted("sum", _mul(_shares(op), t), ids, _height(op.outputs[0]))


def _other_factors(op: Operation) -> Tensor:
    """For each element the product of the others with its label."""
    x, ids = op.inputs[:2]
    if x.dims is None or ids.dims is None:
        raise ShapeError(op.explain("its gradient needs known ranks: use set_shape"))
    nested = len(ids.dims)
    order, back, first, last = create_many(SEGMENT_ORDER, (ids,))
    rows = segment_gather(x if nested == 1 else _flat_rows(x, nested), order)
    others = segment_gather(other_factors(rows, first, last), back)
    return others if nested == 1 else reshape(others, shape_tensor(x))


def _flat_rows(x: Tensor, nested: int) -> Tensor:
    """The axes that the ids label, as one."""
    shape = sizes(x)
    rest = shape[nested:]
    return reshape(x, as_vector([merged(shape[:nested], rest), *rest], x.op.graph))


def _prod_vjp(op: Operation, g: Tensor) -> Tensor:
    others = _other_factors(op)
    if others.dtype.is_complex:
        others = TABLE["conj"](others)
    return _mul(segment_gather(g, op.inputs[1]), others)


def _prod_jvp(op: Operation, t: Tensor, *rest: Any) -> Tensor:
    ids = op.inputs[1]
    return _unsorted("sum", _mul(_other_factors(op), t), ids, _height(op.outputs[0]))


def _segment(type: str, how: str, fill: int, kinds: str, vjp: Any, jvp: Any) -> OpDef:
    return OpDef(
        type,
        infer=_infer_sorted(kinds),
        kernel=_sorted_kernel(how, fill),
        inputs=("data", "segment_ids"),
        linear=how != "prod",
        vjp=(vjp, None),
        jvp=jvp,
        writes_out=True,
        flops=input_flops,
        batch=batch_index.segment_sorted,
        doc=f"the {how} of the rows of each segment",
    )


def _gather_vjp(op: Operation, g: Tensor) -> Tensor:
    return segment_gather(g, op.inputs[1])


def _linear_jvp(op: Operation, t: Tensor, *rest: Any) -> Tensor:
    return _again(op, t)


SEGMENT_SUM = _segment("SegmentSum", "sum", 0, "ifc", _gather_vjp, _linear_jvp)
SEGMENT_PROD = _segment("SegmentProd", "prod", 1, "ifc", _prod_vjp, _prod_jvp)
SEGMENT_MAX = _segment("SegmentMax", "max", 0, "if", _extreme_vjp, _extreme_jvp)
SEGMENT_MIN = _segment("SegmentMin", "min", 0, "if", _extreme_vjp, _extreme_jvp)


def _sorted(opdef: OpDef, data: Any, segment_ids: Any, name: str | None) -> Tensor:
    return create(opdef, (as_tensor(data), as_tensor(segment_ids)), None, name)


def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """y[s] = sum of the rows x[i] with segment_ids[i] = s; no rows: 0.

    Shapes: x (n, ...), ids (n,) -> (last id + 1, ...).

    Args:
        data: x, integers, floating or complex.
        segment_ids: integers, sorted and not negative.
        name: the name of the operation.

    Raises:
        ShapeError: ids that are no vector, or not one per row.
        InvalidArgumentError: at run time, ids that are not sorted, or negative.

    Gradient: each row gets its segment's cotangent.
    """
    return _sorted(SEGMENT_SUM, data, segment_ids, name)


def segment_prod(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """y[s] = product of the rows of segment s; no rows: 1.  See segment_sum.

    Gradient: the product of the segment's other rows (right at zeros).
    """
    return _sorted(SEGMENT_PROD, data, segment_ids, name)


def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """y[s] = maximum of the rows of segment s; no rows: 0.  See segment_sum.

    Gradient: divided equally among the elements that equal the maximum.
    """
    return _sorted(SEGMENT_MAX, data, segment_ids, name)


def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """y[s] = minimum of the rows of segment s; no rows: 0.  See segment_sum.

    Gradient: divided equally among the elements that equal the minimum.
    """
    return _sorted(SEGMENT_MIN, data, segment_ids, name)


def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """y[s] = mean of the rows of segment s; no rows: 0.  See segment_sum.

    The mean of integers is rounded towards 0, as in TF1.
    """
    x, ids = as_tensor(data), as_tensor(segment_ids)
    with scope(name, "SegmentMean", x):
        total = segment_sum(x, ids)
        divide = truncatediv if x.dtype.is_integer else TABLE["truediv"]
        return divide(total, _counts(total, ids, x))


def _counts(total: Tensor, ids: Tensor, x: Tensor) -> Tensor:
    """How many rows each segment has, at least 1, shaped to divide ``total``."""
    n = _height(total)
    found = create(SEGMENT_COUNTS, (ids, n), {"dtype": x.dtype.real_dtype})
    found = cast(found, x.dtype)
    if x.dims is not None and ids.dims is not None:
        return reshape(found, [-1] + [1] * (len(x.dims) - len(ids.dims)))
    rest = TABLE["getitem"](shape_tensor(total), slice(1, None))
    first = TABLE["stack"]([n])
    return reshape(found, concat([first, TABLE["ones_like"](rest)], 0))


def _label_counts(xp: Any, ids: Any, n: Any, *, dtype: Any, out: Any = None) -> Any:
    flat = ids.reshape(-1)
    counts = xp.bincount(flat[(flat >= 0) & (flat < n)], minlength=int(n))
    return xp.maximum(counts, 1).astype(dtype.dtype)


SEGMENT_COUNTS = OpDef(
    "SegmentCounts",
    infer=lambda inputs, attrs: ((attrs["dtype"], (_known(inputs[1]),)),),
    kernel=_label_counts,
    inputs=("ids", "count"),
    flops=input_flops,
    doc="how many ids are i, at least 1",
)


def _known(n: Any) -> int | None:
    return int(np.reshape(n.value, ())) if isinstance(n.value, np.ndarray) else None


# -- unsorted ids ----------------------------------------------------------------------


def _infer_unsorted(kinds: str) -> Callable[..., Any]:
    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        x, ids, n = inputs
        require(inputs[:1], kinds)
        _labels(ids)
        if not n.dtype.is_integer or not compatible(n.dims, ()):
            raise ShapeError(f"num_segments must be an integer, not {n!r}")
        if x.dims is None or ids.dims is None:
            return ((x.dtype, None),)
        rank = len(ids.dims)
        if not compatible(x.dims[:rank], ids.dims):
            raise ShapeError(
                f"ids of shape {text(ids.dims)} do not label data of {text(x.dims)}"
            )
        return ((x.dtype, (_known(n), *x.dims[rank:])),)

    return infer


def _limit(dtype: Any, highest: bool) -> Any:
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return info.max if highest else info.min


def _unsorted_kernel(how: str) -> Callable[..., Any]:
    def kernel(
        xp: Any, x: Any, ids: Any, n: Any, *, strict: bool, out: Any = None
    ) -> Any:
        count = int(n)
        if x.shape[: ids.ndim] != ids.shape:
            raise InvalidArgumentError(f"ids of {ids.shape} for data of {x.shape}")
        fill: Any = {"sum": 0, "prod": 1}.get(how)
        if fill is None:
            fill = _limit(x.dtype, how == "min")
        flat = ids.reshape(-1)
        rows = x.reshape(flat.size, *x.shape[ids.ndim :])
        if strict and flat.size and int(flat.max()) >= count:
            raise InvalidArgumentError(
                f"segment id {int(flat.max())} is not below num_segments {count}"
            )
        if flat.size and (flat[0] < 0 or bool(xp.any(flat[1:] < flat[:-1]))):
            order = xp.argsort(flat, kind="stable")
            order = order[int(xp.count_nonzero(flat < 0)) :]
            flat, rows = flat[order], rows[order]
        if not strict:
            end = int(xp.searchsorted(flat, count))
            flat, rows = flat[:end], rows[:end]
        return _reduced(xp, how, rows, flat, count, fill, out)

    return kernel


def _unsorted_def(type: str, how: str, kinds: str, vjp: Any, jvp: Any) -> OpDef:
    return OpDef(
        type,
        infer=_infer_unsorted(kinds),
        kernel=_unsorted_kernel(how),
        inputs=("data", "segment_ids", "num_segments"),
        linear=how != "prod",
        vjp=(vjp, None, None),
        jvp=jvp,
        writes_out=True,
        flops=input_flops,
        batch=batch_index.segment_unsorted,
        doc=f"the {how} of the elements with each label",
    )


UNSORTED = {
    "sum": _unsorted_def("UnsortedSegmentSum", "sum", "ifc", _gather_vjp, _linear_jvp),
    "prod": _unsorted_def("UnsortedSegmentProd", "prod", "ifc", _prod_vjp, _prod_jvp),
    "max": _unsorted_def("UnsortedSegmentMax", "max", "if", _extreme_vjp, _extreme_jvp),
    "min": _unsorted_def("UnsortedSegmentMin", "min", "if", _extreme_vjp, _extreme_jvp),
}


def _unsorted(
    how: str,
    data: Any,
    segment_ids: Any,
    num_segments: Any,
    name: str | None = None,
    strict: bool = True,
) -> Tensor:
    x, ids = as_tensor(data), as_tensor(segment_ids)
    if not isinstance(num_segments, Tensor):
        num_segments = as_tensor(num_segments)
    attrs = {"strict": strict}
    return create(UNSORTED[how], (x, ids, num_segments), attrs, name)


def unsorted_segment_sum(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """y[s] = sum of the elements x[i...] with segment_ids[i...] = s; none: 0.

    Shapes: x (i..., j...), ids (i...) -> (num_segments, j...).

    Args:
        data: x, integers, floating or complex.
        segment_ids: integers below ``num_segments``, in any order; elements with
            negative ids are left out.
        num_segments: an int or an integer scalar.
        name: the name of the operation.

    Raises:
        ShapeError: ids whose shape does not begin x's.
        InvalidArgumentError: at run time, an id that is too large.

    Gradient: each element gets its segment's cotangent (0 for negative ids).
    """
    return _unsorted("sum", data, segment_ids, num_segments, name)


def unsorted_segment_prod(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """y[s] = product of the elements labelled s; none: 1.

    Arguments as for :func:`unsorted_segment_sum`.

    Gradient: the product of the segment's other elements (right at zeros).
    """
    return _unsorted("prod", data, segment_ids, num_segments, name)


def unsorted_segment_max(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """y[s] = maximum of the elements labelled s; none: the least finite number.

    Arguments as for :func:`unsorted_segment_sum`.

    Gradient: divided equally among the elements that equal the maximum.
    """
    return _unsorted("max", data, segment_ids, num_segments, name)


def unsorted_segment_min(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """y[s] = minimum of the elements labelled s; none: the greatest finite number.

    Arguments as for :func:`unsorted_segment_sum`.

    Gradient: divided equally among the elements that equal the minimum.
    """
    return _unsorted("min", data, segment_ids, num_segments, name)


def unsorted_segment_mean(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """y[s] = mean of the elements labelled s; none: 0.  Integers become float32.

    Arguments as for :func:`unsorted_segment_sum`.
    """
    x, ids = inexact(data), as_tensor(segment_ids)
    with scope(name, "UnsortedSegmentMean", x):
        total = _unsorted("sum", x, ids, num_segments)
        return TABLE["truediv"](total, _counts(total, ids, x))  # type: ignore[no-any-return]


def unsorted_segment_sqrt_n(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """y[s] = sum of the n elements labelled s, over sqrt(n); none: 0.

    Arguments as for :func:`unsorted_segment_sum`; integers become float32.
    """
    x, ids = inexact(data), as_tensor(segment_ids)
    with scope(name, "UnsortedSegmentSqrtN", x):
        total = _unsorted("sum", x, ids, num_segments)
        return TABLE["truediv"](total, sqrt(_counts(total, ids, x)))  # type: ignore[no-any-return]


OPERATORS: dict[str, Any] = {}
NUMPY: dict[Any, Any] = {}
