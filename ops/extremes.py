"""Reductions that choose: extremes, logic, positions, log-sum-exp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import as_dtype, int64
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series, scale
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, inexact
from ._jets import difference, step, velocities
from ._later import batch
from .reduction import (
    SUM,
    bind_reduction,
    build,
    expand_kept,
    fixed_axes,
    infer_reduction,
    input_flops,
    legacy,
    numpy_reduction,
    reduced_dims,
    spread,
    spread_as,
)
from .views import reshape

__all__ = [
    "arg_max",
    "arg_min",
    "argmax",
    "argmin",
    "count_nonzero",
    "reduce_all",
    "reduce_any",
    "reduce_logsumexp",
    "reduce_max",
    "reduce_min",
]


# -- extremes --------------------------------------------------------------------------


def least(dtype: Any, highest: bool = False) -> Any:
    """What a maximum (or minimum) of nothing is: -inf, or the type's limit."""
    if dtype.kind == "f":
        return np.inf if highest else -np.inf
    limits = np.iinfo(dtype)
    return limits.max if highest else limits.min


def _extreme_kernel(ufunc: str, highest: bool) -> Callable[..., Any]:
    def kernel(xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None) -> Any:
        reduce = getattr(xp, ufunc).reduce
        if x.size:
            return reduce(x, axis, None, out, keepdims)
        return reduce(x, axis, None, out, keepdims, least(x.dtype, highest))

    return kernel


def _bind_extreme(ufunc: Any) -> Callable[..., Any]:
    plain = bind_reduction(ufunc)

    def bind(attrs: Any, inputs: Any, outputs: Any) -> Callable[..., Any] | None:
        if 0 in inputs[0].dims:
            return None
        return plain(attrs, inputs, outputs)  # type: ignore[no-any-return]

    return bind


def _share_kernel(
    xp: Any, x: Any, y: Any, *, axis: Any, keepdims: bool, out: Any = None
) -> Any:
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    xp.equal(x, expand_kept(xp, y, x.ndim, axis, keepdims), out)
    ties = xp.add.reduce(out, axis, None, None, True)
    with np.errstate(invalid="ignore"):
        return xp.true_divide(out, ties, out)


# Piecewise constant: its own derivative is zero wherever it has one.
TIE_SHARE = OpDef(
    "TieShare",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[0].dims),),
    kernel=_share_kernel,
    inputs=("x", "y"),
    writes_out=True,
    flops=lambda ins, outs, attrs: 3 * input_flops(ins, outs, attrs),
    batch=batch.reduction,
    doc="1/n at the n elements of x that equal the extreme y, 0 elsewhere",
)


def _shares(op: Operation) -> Tensor:
    return create(TIE_SHARE, (op.inputs[0], op.outputs[0]), dict(op.attrs))


def _extreme_vjp(op: Operation, g: Tensor) -> Tensor:
    return TABLE["mul"](spread_as(op, g), _shares(op))  # type: ignore[no-any-return]


def _extreme_jvp(op: Operation, t: Tensor) -> Tensor:
    return create(SUM, (TABLE["mul"](t, _shares(op)),), dict(op.attrs))


def _extreme(type: str, ufunc: str, highest: bool) -> OpDef:
    return OpDef(
        type,
        infer=infer_reduction("if"),
        kernel=_extreme_kernel(ufunc, highest),
        inputs=("x",),
        linear=True,
        vjp=(_extreme_vjp,),
        jvp=_extreme_jvp,
        writes_out=True,
        shape_math=True,
        bind=_bind_extreme(getattr(np, ufunc)),
        flops=input_flops,
        batch=batch.reduction,
        doc=f"the {ufunc} of x over axes",
    )


MAX = _extreme("Max", "maximum", False)
MIN = _extreme("Min", "minimum", True)


def reduce_max(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """y = maximum of x over ``axis``; NaN where an element is NaN.

    Arguments and errors as for :func:`reduce_sum`, without complex input.  The
    maximum of nothing is -inf, or the least integer.

    Gradient: divided equally among the elements that equal the maximum.
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(MAX, input_tensor, axis, keepdims, name)


def reduce_min(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """y = minimum of x over ``axis``; NaN where an element is NaN.

    Arguments and errors as for :func:`reduce_sum`, without complex input.  The
    minimum of nothing is inf, or the greatest integer.

    Gradient: divided equally among the elements that equal the minimum.
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(MIN, input_tensor, axis, keepdims, name)


# -- logic -----------------------------------------------------------------------------


def _logic(type: str, ufunc: str, doc: str) -> OpDef:
    def kernel(xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None) -> Any:
        return getattr(xp, ufunc).reduce(x, axis, None, out, keepdims)

    return OpDef(
        type,
        infer=infer_reduction("b"),
        kernel=kernel,
        inputs=("x",),
        writes_out=True,
        bind=bind_reduction(getattr(np, ufunc)),
        flops=input_flops,
        batch=batch.reduction,
        doc=doc,
    )


ALL = _logic("All", "logical_and", "whether all elements of x are true, over axes")
ANY = _logic("Any", "logical_or", "whether any element of x is true, over axes")


def reduce_all(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """Whether all elements of the bool tensor x are true over ``axis`` (none: True).

    Arguments as for :func:`reduce_sum`.

    Raises:
        DTypeError: x is not bool.
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(ALL, input_tensor, axis, keepdims, name)


def reduce_any(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """Whether any element of the bool tensor x is true over ``axis`` (none: False).

    Arguments as for :func:`reduce_sum`.

    Raises:
        DTypeError: x is not bool.
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(ANY, input_tensor, axis, keepdims, name)


# -- logsumexp -------------------------------------------------------------------------


def _lse_workspace(inputs: Any, outputs: Any, attrs: Any) -> Any:
    x = inputs[0]
    kept = reduced_dims(x.dims, attrs["axis"], True)
    return [(x.dtype.dtype, x.dims), (x.dtype.dtype, kept)]


def _lse_kernel(
    xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None, work: Any = None
) -> Any:
    if x.dtype.itemsize == 2:
        wide = _lse_kernel(xp, x.astype(np.float32), axis=axis, keepdims=keepdims)
        if out is None:
            return np.asarray(wide).astype(x.dtype)
        xp.copyto(out, wide, casting="unsafe")
        return out
    shifted, shift = work if work is not None else (xp.empty(x.shape, x.dtype), None)
    if shift is None:
        shift = xp.empty(reduced_dims(x.shape, axis, True), x.dtype)
    xp.maximum.reduce(x, axis, None, shift, True, -np.inf)
    # An infinite maximum shifts by nothing: exp then gives 0 or inf as it should.
    shift[~xp.isfinite(shift)] = 0
    xp.subtract(x, shift, shifted)
    xp.exp(shifted, shifted)
    out = np.asarray(xp.add.reduce(shifted, axis, None, out, keepdims))
    with np.errstate(divide="ignore"):
        out = xp.log(out, out=out)
    return xp.add(out, shift.reshape(out.shape), out=out)


def _weights_kernel(
    xp: Any, x: Any, y: Any, *, axis: Any, keepdims: bool, out: Any = None
) -> Any:
    y = expand_kept(xp, y, x.ndim, axis, keepdims)
    with np.errstate(invalid="ignore"):
        out = xp.subtract(x, xp.where(xp.isneginf(y), 0, y).astype(x.dtype), out)
    return xp.exp(out, out=np.asarray(out))


def _weights_vjp_y(op: Operation, g: Tensor) -> Tensor:
    product = TABLE["mul"](g, op.outputs[0])
    return TABLE["neg"](create(SUM, (product,), dict(op.attrs)))  # type: ignore[no-any-return]


def _weights_jvp(op: Operation, tx: Tensor | None, ty: Tensor | None) -> Tensor:
    w = op.outputs[0]
    if ty is not None:
        ty = spread(ty, op.inputs[0], op.attrs["axis"], op.attrs["keepdims"])
        tx = TABLE["neg"](ty) if tx is None else TABLE["sub"](tx, ty)
    return TABLE["mul"](tx, w)  # type: ignore[no-any-return]


def _weights_jet(op: Operation, series: list[Series]) -> list[Series]:
    """w' = w (x - y)', y repeated along the axes."""
    x, y = series
    axis, keepdims = op.attrs["axis"], op.attrs["keepdims"]
    moved: Series = [None]
    w: Series = [op.outputs[0]]
    for k in range(1, len(x)):
        t = y[k]
        t = None if t is None else spread(t, op.inputs[0], axis, keepdims)
        moved.append(scale(difference(x[k], t), k))
        w.append(step(moved, w, k))
    return [w]


LOG_SUM_EXP_WEIGHTS = OpDef(
    "LogSumExpWeights",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[0].dims),),
    kernel=_weights_kernel,
    inputs=("x", "y"),
    vjp=(lambda op, g: TABLE["mul"](g, op.outputs[0]), _weights_vjp_y),
    jvp=_weights_jvp,
    jet=_weights_jet,
    writes_out=True,
    flops=lambda ins, outs, attrs: 5 * input_flops(ins, outs, attrs),
    batch=batch.reduction,
    doc="exp(x - y), y = logsumexp(x): a softmax; 0 where all x are -inf",
)


def _lse_weights(op: Operation) -> Tensor:
    inputs = (op.inputs[0], op.outputs[0])
    return create(LOG_SUM_EXP_WEIGHTS, inputs, dict(op.attrs))


def _lse_jet(op: Operation, series: list[Series]) -> list[Series]:
    """y' = Σ w x' and w' = w (x' - y') together, w the softmax."""
    x = series[0]
    moved = velocities(x)
    slopes: Series = [None]
    w: Series = [_lse_weights(op)]
    y: Series = [op.outputs[0]]
    for k in range(1, len(x)):
        part = step(moved, w, k)
        y.append(None if part is None else create(SUM, (part,), dict(op.attrs)))
        t = y[k]
        slopes.append(
            scale(difference(x[k], None if t is None else spread_as(op, t)), k)
        )
        w.append(step(slopes, w, k))
    return [y]


LOG_SUM_EXP = OpDef(
    "LogSumExp",
    infer=infer_reduction("f"),
    kernel=_lse_kernel,
    inputs=("x",),
    vjp=(lambda op, g: TABLE["mul"](spread_as(op, g), _lse_weights(op)),),
    jvp=lambda op, t: create(SUM, (TABLE["mul"](t, _lse_weights(op)),), dict(op.attrs)),
    jet=_lse_jet,
    writes_out=True,
    workspace=_lse_workspace,
    flops=lambda ins, outs, attrs: 6 * input_flops(ins, outs, attrs),
    batch=batch.reduction,
    doc="log sum exp(x) over axes",
)


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """y = log(sum of exp(x)) over ``axis``, shifted by the maximum: no overflow.

    Arguments and errors as for :func:`reduce_sum`; integers become float32.
    Where all elements are -inf, or there are none, y is -inf; where one is
    inf, y is inf.

    Gradient: softmax(x), and 0 where all elements are -inf.

    Reference:
        Blanchard, Higham & Higham, Accurately computing the log-sum-exp and
        softmax functions, IMA J. Numer. Anal. 41 (2021).
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    return build(
        LOG_SUM_EXP,
        inexact(input_tensor),
        axis,
        keepdims,
        name or "ReduceLogSumExp",
    )


# -- positions -------------------------------------------------------------------------


def _infer_arg(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    if x.dtype.kind not in (0, 1, 2):
        raise DTypeError(f"takes numbers that have an order, not {x.dtype.name}")
    dims = reduced_dims(x.dims, (attrs["axis"],), False)
    if x.dims is not None and x.dims[attrs["axis"]] == 0:
        raise ShapeError(f"axis {attrs['axis']} of {x.dims} is empty: no extreme")
    return ((attrs["output_type"], dims),)


def _arg_kernel(find: str) -> Callable[..., Any]:
    def kernel(xp: Any, x: Any, *, axis: int, output_type: Any, out: Any = None) -> Any:
        if x.shape[axis] == 0:
            raise InvalidArgumentError(f"axis {axis} of {x.shape} is empty: no extreme")
        f = getattr(xp, find)
        if out is not None and out.dtype == np.intp:
            return f(x, axis, out)
        found = np.asarray(f(x, axis))
        if out is None:
            return found.astype(output_type.dtype)
        xp.copyto(out, found, casting="unsafe")
        return out

    return kernel


def _arg(type: str, find: str, doc: str) -> OpDef:
    return OpDef(
        type,
        infer=_infer_arg,
        kernel=_arg_kernel(find),
        inputs=("x",),
        writes_out=True,
        flops=input_flops,
        batch=batch.along_axis,
        doc=doc,
    )


ARG_MAX = _arg("ArgMax", "argmax", "the index of the first maximum along an axis")
ARG_MIN = _arg("ArgMin", "argmin", "the index of the first minimum along an axis")


def _position(
    opdef: OpDef, x: Any, axis: Any, dimension: Any, output_type: Any, name: str | None
) -> Tensor:
    if dimension is not None:
        if axis is not None:
            raise InvalidArgumentError("give axis or dimension, not both")
        axis = dimension
    t = as_tensor(x)
    axes = fixed_axes(0 if axis is None else axis, t.dims, opdef.type)
    if len(axes) != 1:
        raise InvalidArgumentError(f"{opdef.type}: takes one axis, not {axis}")
    wanted = as_dtype(output_type)
    if not wanted.is_integer:
        raise DTypeError(f"{opdef.type}: output_type {wanted.name} is no integer type")
    return create(opdef, (t,), {"axis": axes[0], "output_type": wanted}, name)


def argmax(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = int64,
) -> Tensor:
    """The index of the first maximum of x along ``axis`` (default 0, as in TF1).

    Args:
        input: x, bool, integers or floating; a NaN counts as the maximum.
        axis: one axis, an int (negative: from the end) or a known tensor.
        name: the name of the operation.
        dimension: former name of axis.
        output_type: the integer dtype of the result.

    Raises:
        ShapeError: an axis out of range, or of size 0.
        DTypeError: complex or string input.
    """
    return _position(ARG_MAX, input, axis, dimension, output_type, name)


def argmin(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = int64,
) -> Tensor:
    """The index of the first minimum of x along ``axis`` (default 0, as in TF1).

    Arguments and errors as for :func:`argmax`; a NaN counts as the minimum.
    """
    return _position(ARG_MIN, input, axis, dimension, output_type, name)


def arg_max(
    input: Any, dimension: Any, output_type: Any = int64, name: str | None = None
) -> Tensor:
    """:func:`argmax` along ``dimension``: its former name."""
    return _position(ARG_MAX, input, dimension, None, output_type, name)


def arg_min(
    input: Any, dimension: Any, output_type: Any = int64, name: str | None = None
) -> Tensor:
    """:func:`argmin` along ``dimension``: its former name."""
    return _position(ARG_MIN, input, dimension, None, output_type, name)


def _numpy_position(builder: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def position(a: Any, axis: Any = None) -> Tensor:
        if axis is None:
            a, axis = reshape(a, [-1]), 0
        return builder(a, axis)

    return position


# -- counts ----------------------------------------------------------------------------


def _infer_nonzero(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = reduced_dims(inputs[0].dims, attrs["axis"], attrs["keepdims"])
    return ((attrs["dtype"], dims),)


def _nonzero_kernel(
    xp: Any, x: Any, *, axis: Any, keepdims: bool, dtype: Any, out: Any = None
) -> Any:
    if x.dtype.kind == "O":
        present = np.asarray(x != b"", dtype=bool)
    else:
        present = x if x.dtype.kind == "b" else xp.not_equal(x, 0)
    return xp.add.reduce(present, axis, dtype.dtype, out, keepdims)


COUNT_NONZERO = OpDef(
    "CountNonzero",
    infer=_infer_nonzero,
    kernel=_nonzero_kernel,
    inputs=("x",),
    writes_out=True,
    flops=input_flops,
    batch=batch.reduction,
    doc="how many elements of x are not zero, over axes",
)


def count_nonzero(
    input_tensor: Any = None,
    axis: Any = None,
    keepdims: Any = None,
    dtype: Any = int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
    input: Any = None,
) -> Tensor:
    """How many elements of x are not zero (strings: not empty) over ``axis``.

    Axis and keepdims as for :func:`reduce_sum`; the result is of ``dtype``.
    NaN is not zero.
    """
    axis, keepdims = legacy(axis, reduction_indices, keepdims, keep_dims)
    t = as_tensor(input if input_tensor is None else input_tensor)
    attrs = {
        "axis": fixed_axes(axis, t.dims, "count_nonzero"),
        "keepdims": keepdims,
        "dtype": as_dtype(dtype),
    }
    return create(COUNT_NONZERO, (t,), attrs, name or "count_nonzero")


OPERATORS = {
    "argmax": argmax,
    "argmin": argmin,
    "count_nonzero": count_nonzero,
    "reduce_all": reduce_all,
    "reduce_any": reduce_any,
    "reduce_logsumexp": reduce_logsumexp,
    "reduce_max": reduce_max,
    "reduce_min": reduce_min,
}
NUMPY = {
    np.all: numpy_reduction(reduce_all),
    np.amax: numpy_reduction(reduce_max),
    np.amin: numpy_reduction(reduce_min),
    np.any: numpy_reduction(reduce_any),
    np.argmax: _numpy_position(argmax),
    np.argmin: _numpy_position(argmin),
    np.count_nonzero: numpy_reduction(count_nonzero),
    np.max: numpy_reduction(reduce_max),
    np.min: numpy_reduction(reduce_min),
}
