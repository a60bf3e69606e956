"""Reductions over axes: sums, means, products, and what all reductions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, as_dtype
from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, normalize_axis
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import constant, create, shape_tensor
from ._kinds import require
from ._later import batch
from ._static import as_vector, merged, sizes

__all__ = ["reduce_mean", "reduce_prod", "reduce_sum"]


# -- arguments -------------------------------------------------------------------------


def fixed_axes(axis: Any, dims: Dims, who: str) -> Any:
    """An axis argument as a sorted tuple, or None for all axes.

    Axes are counted from the front where the rank is known.

    Raises:
        InvalidArgumentError: a tensor whose value is not known before the run.
        ShapeError: an axis that the shape does not have, or twice the same.
    """
    if axis is None:
        return None
    if type(axis) is int:
        axes: tuple[int, ...] = (axis,)
    elif isinstance(axis, Tensor) or hasattr(axis, "_as_tensor"):
        value = as_tensor(axis).value
        if not isinstance(value, np.ndarray):
            raise InvalidArgumentError(
                f"{who}: the axis {axis!r} is not known before the run; a plan needs "
                "it: give a Python int, a list, or a constant"
            )
        axes = tuple(int(i) for i in value.reshape(-1))
    else:
        axes = tuple(_axis(i) for i in np.reshape(np.asarray(axis), -1).tolist())
    if dims is None:
        return axes
    rank = len(dims)
    if len(axes) == 1:
        return (normalize_axis(axes[0], rank),)
    axes = tuple(sorted(normalize_axis(i, rank) for i in axes))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axis {axis} names an axis twice")
    return axes


def _axis(i: Any) -> int:
    return int(i.__index__())


def legacy(axis: Any, reduction_indices: Any, keepdims: Any, keep_dims: Any) -> Any:
    """``(axis, keepdims)`` from TF1's present and former argument names.

    Raises:
        InvalidArgumentError: both names of one argument are given.
    """
    if reduction_indices is not None:
        if axis is not None:
            raise InvalidArgumentError("give axis or reduction_indices, not both")
        axis = reduction_indices
    if keep_dims is not None:
        if keepdims is not None:
            raise InvalidArgumentError("give keepdims or keep_dims, not both")
        keepdims = keep_dims
    return axis, bool(keepdims)


def reduced_dims(dims: Dims, axis: Any, keepdims: bool) -> Dims:
    """The shape after reducing ``axis``."""
    if axis is None:
        if not keepdims:
            return ()
        return None if dims is None else (1,) * len(dims)
    if dims is None:
        return None
    rank = len(dims)
    gone = {normalize_axis(i, rank) for i in axis}
    if len(gone) != len(axis):
        raise ShapeError(f"axes {axis} name an axis twice")
    if keepdims:
        return tuple(1 if i in gone else d for i, d in enumerate(dims))
    return tuple(d for i, d in enumerate(dims) if i not in gone)


def infer_reduction(kinds: str, result: DType | None = None) -> Any:
    allowed = frozenset("bifcs".index(k) for k in kinds)

    def infer(inputs: Sequence[Any], attrs: Any) -> Any:
        x = inputs[0]
        if x.dtype.kind not in allowed:
            require(inputs[:1], kinds)
        dims = reduced_dims(x.dims, attrs["axis"], attrs["keepdims"])
        return ((result or x.dtype, dims),)

    return infer


def input_flops(inputs: Any, outputs: Any, attrs: Any) -> int:
    n = 1
    for d in inputs[0].dims or ():
        n *= d or 0
    return n


def build(opdef: OpDef, x: Any, axis: Any, keepdims: bool, name: str | None) -> Tensor:
    t = as_tensor(x)
    attrs = {"axis": fixed_axes(axis, t.dims, opdef.type), "keepdims": keepdims}
    return create(opdef, (t,), attrs, name)


# -- spreading: the transpose of a sum -------------------------------------------------


def expand_kept(xp: Any, y: Any, rank: int, axis: Any, keepdims: bool) -> Any:
    """A reduced array with its reduced axes back, as axes of size 1 (a view)."""
    if keepdims:
        return y
    if axis is None:
        return y[(None,) * rank]
    gone = {i % rank for i in axis}
    return y[tuple(None if i in gone else slice(None) for i in range(rank))]


def _infer_spread(inputs: Sequence[Any], attrs: Any) -> Any:
    return ((inputs[0].dtype, known_dims(inputs[1])),)


def _spread_kernel(
    xp: Any, y: Any, sizes: Any, *, axis: Any, keepdims: bool, out: Any = None
) -> Any:
    dims = tuple(int(n) for n in sizes)
    return xp.broadcast_to(expand_kept(xp, y, len(dims), axis, keepdims), dims)


def _spread_vjp(op: Operation, g: Tensor) -> Tensor:
    return create(SUM, (g,), dict(op.attrs))


SPREAD: OpDef = OpDef(
    "Spread",
    infer=_infer_spread,
    kernel=_spread_kernel,
    inputs=("y", "shape"),
    linear=True,
    vjp=(_spread_vjp, None),
    jvp=lambda op, t, _: create(SPREAD, (t, op.inputs[1]), dict(op.attrs)),
    alias=0,
    flops=lambda i, o, a: 0,
    batch=batch.spread,
    doc="a reduced y repeated along the axes that a reduction took away",
)


def spread(y: Tensor, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """``y``, shaped as a reduction of ``x``, repeated to ``x``'s shape (a view)."""
    attrs = {"axis": axis, "keepdims": keepdims}
    return create(SPREAD, (y, shape_tensor(x)), attrs)


def spread_as(op: Operation, y: Tensor) -> Tensor:
    """:func:`spread` back to the input of a reduction."""
    return spread(y, op.inputs[0], op.attrs["axis"], op.attrs["keepdims"])


# -- sum -------------------------------------------------------------------------------


def _sum_kernel(xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None) -> Any:
    return xp.add.reduce(x, axis, x.dtype, out, keepdims)


def bind_reduction(ufunc: Any) -> Callable[..., Any]:
    """A bound reduction: one call of ``ufunc.reduce`` into ``out``."""

    def bind(attrs: Any, inputs: Any, outputs: Any) -> Callable[..., Any]:
        reduce = ufunc.reduce
        dtype = None if outputs[0].dtype.kind >= 2 else outputs[0].dtype.dtype
        axis, keepdims = attrs["axis"], attrs["keepdims"]
        if axis is not None and len(axis) == len(inputs[0].dims):
            axis = None
        elif axis is not None and len(axis) == 1:
            axis = axis[0]
        if keepdims:
            return lambda x, out: reduce(x, axis, dtype, out, True)
        return lambda x, out: reduce(x, axis, dtype, out)

    return bind


def _linear_jvp(op: Operation, t: Tensor) -> Tensor:
    return create(op.opdef, (t,), dict(op.attrs))


SUM = OpDef(
    "Sum",
    infer=infer_reduction("ifc"),
    kernel=_sum_kernel,
    inputs=("x",),
    linear=True,
    vjp=(spread_as,),
    jvp=_linear_jvp,
    writes_out=True,
    shape_math=True,
    bind=bind_reduction(np.add),
    flops=input_flops,
    batch=batch.reduction,
    doc="the sum of x over axes",
)


def reduce_sum(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """y = sum of x over ``axis``.

    Args:
        input_tensor: x, integers, floating or complex.
        axis: an int, a list of ints (negative: from the end; empty: none), or
            None for all axes; a tensor must be known before the run.
        keepdims: keep the reduced axes, with size 1.
        name: the name of the operation.
        reduction_indices, keep_dims: former names of axis and keepdims.

    Returns:
        x's dtype; an empty sum is 0; integers wrap around.

    Raises:
        ShapeError: an axis out of range, or named twice.
        DTypeError: bool or string input.

    Gradient: the cotangent, repeated along the reduced axes (a view).
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(SUM, input_tensor, axis, keepdims, name)


# -- mean ------------------------------------------------------------------------------


def _count(x_shape: Sequence[int], axis: Any) -> int:
    n = 1
    for i in range(len(x_shape)) if axis is None else axis:
        n *= x_shape[i]
    return n


def _mean_kernel(xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None) -> Any:
    n = _count(x.shape, axis)
    kind = x.dtype.kind
    if kind in "iu":
        return _integer_mean(xp, x, n, axis, keepdims, out)
    if x.dtype.itemsize == 2:
        # In float16 the sum of a batch overflows long before the mean does.
        total = xp.add.reduce(x, axis, np.float32, None, keepdims)
        with np.errstate(all="ignore"):
            mean = np.asarray(total / np.float32(n))
        if out is None:
            return mean.astype(x.dtype)
        xp.copyto(out, mean, casting="unsafe")
        return out
    if out is None:
        out = np.asarray(xp.add.reduce(x, axis, x.dtype, None, keepdims))
    else:
        xp.add.reduce(x, axis, None, out, keepdims)
    if n:
        return xp.true_divide(out, n, out)
    out[...] = np.nan
    return out


def _integer_mean(xp: Any, x: Any, n: int, axis: Any, keepdims: bool, out: Any) -> Any:
    """Sum over count, truncated toward zero as C and TF1 divide."""
    if n == 0:
        raise InvalidArgumentError("the mean of no integers is not a number")
    wide = np.uint64 if x.dtype.kind == "u" else np.int64
    total = np.asarray(xp.add.reduce(x, axis, wide, None, keepdims))
    mean = xp.abs(total) // wide(n)
    if x.dtype.kind == "i":
        mean = xp.where(total < 0, -mean, mean)
    if out is None:
        return np.asarray(mean).astype(x.dtype)
    xp.copyto(out, mean, casting="unsafe")
    return out


def _bind_mean(attrs: Any, inputs: Any, outputs: Any) -> Callable[..., Any] | None:
    x = inputs[0]
    n = _count(x.dims, attrs["axis"])
    if x.dtype.kind < 2 or x.dtype.size < 4 or n == 0:
        return None
    total = bind_reduction(np.add)(attrs, inputs, outputs)
    count = np.array(n, x.dtype.dtype)
    divide = np.true_divide

    def mean(x: Any, out: Any) -> Any:
        total(x, out)
        return divide(out, count, out)

    return mean


def _infer_count(inputs: Sequence[Any], attrs: Any) -> Any:
    return ((attrs["dtype"], ()),)


def _count_value(inputs: Sequence[Any], attrs: Any) -> Any:
    dims, axis = inputs[0].dims, attrs["axis"]
    if dims is None or any(
        dims[i] is None for i in (range(len(dims)) if axis is None else axis)
    ):
        return None
    return np.array(_count(dims, axis), attrs["dtype"].dtype)


# How many elements each result of a reduction comes from; reads only the shape.
REDUCED_SIZE = OpDef(
    "ReducedSize",
    infer=_infer_count,
    kernel=lambda xp, x, *, axis, dtype, out=None: np.array(
        _count(x.shape, axis), dtype.dtype
    ),
    inputs=("x",),
    value=_count_value,
    flops=lambda i, o, a: 0,
    batch=batch.reduced_size,
    doc="the number of elements of x along axes",
)


def reduced_size(x: Tensor, axis: Any, dtype: Any) -> Tensor:
    """The number of elements of ``x`` along ``axis``, a scalar of ``dtype``."""
    attrs = {"axis": axis, "dtype": as_dtype(dtype)}
    known = _count_value((x,), attrs)
    if known is not None:
        return constant(known, graph=x.op.graph)
    return create(REDUCED_SIZE, (x,), attrs)


def _mean_vjp(op: Operation, g: Tensor) -> Tensor:
    x = op.inputs[0]
    n = reduced_size(x, op.attrs["axis"], x.dtype)
    # Divide before spreading: the reduced tensor is the smaller one.
    return spread_as(op, TABLE["truediv"](g, n))


MEAN = OpDef(
    "Mean",
    infer=infer_reduction("ifc"),
    kernel=_mean_kernel,
    inputs=("x",),
    linear=True,
    vjp=(_mean_vjp,),
    jvp=_linear_jvp,
    writes_out=True,
    bind=_bind_mean,
    flops=input_flops,
    batch=batch.reduction,
    doc="the mean of x over axes",
)


def reduce_mean(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """y = (1/n) sum of x over ``axis``, n elements each.

    Arguments as for :func:`reduce_sum`.

    Returns:
        x's dtype: the mean of integers is an integer, truncated toward zero, as
        in TF1 (cast first for a fraction).  float16 accumulates in float32.
        The mean of nothing is NaN.

    Raises:
        ShapeError: an axis out of range, or named twice.
        DTypeError: bool or string input.
        InvalidArgumentError: at run time, the mean of no integers.

    Gradient: the cotangent over n, repeated along the reduced axes.
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(MEAN, input_tensor, axis, keepdims, name)


# -- product ---------------------------------------------------------------------------


def _prod_kernel(xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None) -> Any:
    return xp.multiply.reduce(x, axis, x.dtype, out, keepdims)


def _prod_vjp(op: Operation, g: Tensor) -> Tensor:
    from .scan import exclusive_product
    from .views import reshape

    x, y = op.inputs[0], op.outputs[0]
    axis, keepdims = op.attrs["axis"], op.attrs["keepdims"]
    mul, conj = TABLE["mul"], TABLE["conj"]
    if axis is not None and x.dims is not None and len(axis) == len(x.dims):
        axis = None
    one = None if axis is None else _as_one_axis(x, axis)
    if axis is None or one is not None:
        others = exclusive_product(*((x, None) if one is None else one))
        if x.dtype.is_complex:
            others = conj(others)
        if axis is not None and len(axis) > 1:
            others = reshape(others, shape_tensor(x))
        return mul(spread_as(op, g), others)  # type: ignore[no-any-return]
    # Several axes: one axis after the other, so that no transpose is needed.
    parts = [x]
    for i in axis[:-1]:
        parts.append(create(PROD, (parts[-1],), {"axis": (i,), "keepdims": True}))
    g = spread(g, parts[-1], axis, keepdims)  # the least of them: grown by products
    for i, part in zip(reversed(axis), reversed(parts)):
        others = exclusive_product(part, i)
        if y.dtype.is_complex:
            others = conj(others)
        g = mul(g, others)
    return g


def _as_one_axis(x: Tensor, axes: Sequence[int]) -> tuple[Tensor, int] | None:
    """``x`` with axes that follow each other as one, and that axis; else None."""
    from .views import reshape

    if len(axes) == 1:
        return x, axes[0]
    if not axes or x.dims is None:
        return None
    found = sorted(a % len(x.dims) for a in axes)
    first, last = found[0], found[-1] + 1
    if last - first != len(axes):
        return None
    shape = sizes(x)
    left, right = shape[:first], shape[last:]
    middle = merged(shape[first:last], [*left, *right])
    dims = as_vector([*left, middle, *right], x.op.graph)
    return reshape(x, dims), first


PROD = OpDef(
    "Prod",
    infer=infer_reduction("ifc"),
    kernel=_prod_kernel,
    inputs=("x",),
    vjp=(_prod_vjp,),
    writes_out=True,
    shape_math=True,
    bind=bind_reduction(np.multiply),
    flops=input_flops,
    batch=batch.reduction,
    doc="the product of x over axes",
)


def reduce_prod(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """y = product of x over ``axis``; an empty product is 1.

    Arguments and errors as for :func:`reduce_sum`; integers wrap around.

    Gradient: the product of all other elements (by exclusive products from both
    sides, so it is right where elements are zero, to every order).
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(PROD, input_tensor, axis, keepdims, name)


OPERATORS = {
    "reduce_mean": reduce_mean,
    "reduce_prod": reduce_prod,
    "reduce_sum": reduce_sum,
}


def numpy_reduction(builder: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The builder under NumPy's signature: ``f(a, axis, keepdims=...)``."""

    def reduction(a: Any, axis: Any = None, *, keepdims: Any = None) -> Tensor:
        return builder(a, axis, keepdims)

    return reduction


NUMPY = {
    np.mean: numpy_reduction(reduce_mean),
    np.prod: numpy_reduction(reduce_prod),
    np.sum: numpy_reduction(reduce_sum),
}
