"""Norms, moments, variances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import float16, float32
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import as_dims, compatible, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, create_many, inexact, scope
from ._later import batch
from .complexes import real
from .core import add_n, cast
from .elementwise import div_no_nan, square
from .extremes import reduce_max
from .powers import sqrt
from .reduction import (
    SUM,
    fixed_axes,
    infer_reduction,
    input_flops,
    legacy,
    numpy_reduction,
    reduce_mean,
    reduce_sum,
    reduced_dims,
    reduced_size,
    spread,
    spread_as,
)

__all__ = [
    "accumulate_n",
    "moments",
    "norm",
    "reduce_euclidean_norm",
    "reduce_std",
    "reduce_variance",
    "weighted_moments",
]


def _mul(x: Any, y: Any) -> Tensor:
    return TABLE["mul"](x, y)  # type: ignore[no-any-return]


# -- Euclidean norm --------------------------------------------------------------------


def _infer_norm(inputs: Sequence[Any], attrs: Any) -> Any:
    ((dtype, dims),) = infer_reduction("fc")(inputs, attrs)
    return ((dtype.real_dtype, dims),)


def _norm_kernel(
    xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None, work: Any = None
) -> Any:
    real_type = xp.empty(0, x.dtype).real.dtype
    accumulator = np.float32 if x.dtype.itemsize == 2 else real_type
    squares = xp.empty(x.shape, accumulator) if work is None else work[0]
    if x.dtype.kind == "c":
        xp.multiply(x.real, x.real, squares)
        squares += x.imag * x.imag
    else:
        xp.multiply(x, x, squares, dtype=accumulator)
    total = np.asarray(xp.add.reduce(squares, axis, accumulator, None, keepdims))
    if out is None:
        return xp.sqrt(total).astype(real_type)
    return xp.sqrt(total, out, casting="same_kind")


def _norm_vjp(op: Operation, g: Tensor) -> Tensor:
    x, y = op.inputs[0], op.outputs[0]
    scale = spread_as(op, div_no_nan(g, y))
    return _mul(cast(scale, x.dtype), x)


def _norm_jvp(op: Operation, t: Tensor) -> Tensor:
    x = op.inputs[0]
    if x.dtype.is_complex:
        product = real(_mul(TABLE["conj"](x), t))
    else:
        product = _mul(x, t)
    return div_no_nan(create(SUM, (product,), dict(op.attrs)), op.outputs[0])


def _norm_workspace(inputs: Any, outputs: Any, attrs: Any) -> Any:
    x = inputs[0]
    real_type = float32 if x.dtype is float16 else x.dtype.real_dtype
    return [(real_type.dtype, x.dims)]


EUCLIDEAN_NORM = OpDef(
    "EuclideanNorm",
    infer=_infer_norm,
    kernel=_norm_kernel,
    inputs=("x",),
    vjp=(_norm_vjp,),
    jvp=_norm_jvp,
    writes_out=True,
    workspace=_norm_workspace,
    flops=lambda ins, outs, attrs: 2 * input_flops(ins, outs, attrs),
    batch=batch.reduction,
    doc="the square root of the sum of |x|^2 over axes",
)


def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """y = sqrt(sum of |x|^2) over ``axis``.

    Arguments and errors as for :func:`reduce_sum`; integers become float32, the
    norm of complex numbers is real.

    Gradient: x / y, and 0 where y is 0 (the subgradient of least norm).
    """
    x = inexact(input_tensor)
    attrs = {"axis": fixed_axes(axis, x.dims, "norm"), "keepdims": bool(keepdims)}
    return create(EUCLIDEAN_NORM, (x,), attrs, name)


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    keep_dims: Any = None,
) -> Tensor:
    """The norm of vectors or (``axis`` of two) of matrices.

    Args:
        tensor: x, floating or complex; integers become float32.
        ord: for vectors ``"euclidean"``, 1, 2, np.inf, or any p > 0:
            (sum |x|^p)^(1/p).  For matrices ``"fro"`` or ``"euclidean"`` (the root
            of the sum of squares), 1 (greatest column sum), 2 (greatest singular
            value), np.inf (greatest row sum).
        axis: None: all of x as one vector; an int: vectors; two ints: matrices.
        keepdims: keep the reduced axes, with size 1.
        name: the name of the operation.
        keep_dims: former name of keepdims.

    Returns:
        x's dtype; the norm of complex numbers is real.

    Raises:
        InvalidArgumentError: an ord that is not offered for this axis.
        ShapeError: an axis out of range, or more than two.

    Gradient: 0 at a zero vector for the Euclidean norm; ties of a greatest
    element share equally.
    """
    _, keep = legacy(axis, None, keepdims, keep_dims)
    x = inexact(tensor)
    matrix = isinstance(axis, (list, tuple)) and len(axis) == 2
    if isinstance(axis, (list, tuple)) and len(axis) not in (1, 2):
        raise ShapeError(f"norm: axis {axis} must be one axis, or two for matrices")
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        axis = axis[0]
    if matrix and axis[0] == axis[1]:
        raise ShapeError(f"norm: axis {axis} names an axis twice")
    if isinstance(ord, str) and ord not in ("euclidean", "fro"):
        raise InvalidArgumentError(f"norm: no norm {ord!r}")
    if ord == "fro" and axis is not None and not matrix:
        raise InvalidArgumentError("norm: 'fro' is a norm of matrices: give two axes")
    if not isinstance(ord, str) and (not ord > 0 or (matrix and ord not in _MATRIX)):
        kind = "matrices" if matrix else "vectors"
        raise InvalidArgumentError(f"norm: no norm of order {ord} for {kind}")
    if isinstance(ord, str) or (ord == 2 and not matrix):
        return reduce_euclidean_norm(x, axis, keep, name or "norm")
    with scope(name, "norm", x):
        if matrix:
            return _matrix_norm(x, ord, axis, keep)
        size = TABLE["abs"](x)
        if ord == 1:
            return reduce_sum(size, axis, keep)
        if ord == np.inf:
            return reduce_max(size, axis, keep)
        power = TABLE["pow"](size, float(ord))
        return TABLE["pow"](reduce_sum(power, axis, keep), 1.0 / ord)  # type: ignore[no-any-return]


_MATRIX = (1, 2, np.inf)


def _matrix_norm(x: Tensor, ord: Any, axis: Sequence[int], keep: bool) -> Tensor:
    """The matrix norms that are no root of a sum of squares."""
    from .spectral import norm_2
    from .views import expand_dims, transpose

    if ord == 2:
        if x.dims is None:
            raise ShapeError(f"norm: the rank of {x!r} must be known for ord=2")
        rank = len(x.dims)
        rows, columns = (i % rank for i in axis)
        others = [i for i in range(rank) if i not in (rows, columns)]
        y = norm_2(transpose(x, [*others, rows, columns]))
        if keep:
            for i in sorted((rows, columns)):
                y = expand_dims(y, i)
        return y
    first, second = (axis[0], axis[1]) if ord == 1 else (axis[1], axis[0])
    sums = reduce_sum(TABLE["abs"](x), first, True)
    y = reduce_max(sums, second, True)
    if keep:
        return y
    return reduce_sum(y, list(axis))


# -- moments ---------------------------------------------------------------------------


def _infer_moments(inputs: Sequence[Any], attrs: Any) -> Any:
    (pair,) = infer_reduction("f")(inputs, attrs)
    return (pair, pair)


def _moments_kernel(
    xp: Any, x: Any, *, axis: Any, keepdims: bool, out: Any = None, work: Any = None
) -> Any:
    wide = np.float32 if x.dtype.itemsize == 2 else x.dtype
    if work is None:
        kept = reduced_dims(x.shape, axis, True)
        work = (xp.empty(x.shape, wide), xp.empty(kept, wide))
    centred, mean = work
    n = x.size // mean.size if mean.size else 0
    with np.errstate(invalid="ignore", divide="ignore"):
        xp.add.reduce(x, axis, wide, mean, True)
        xp.true_divide(mean, n, mean)
        xp.subtract(x, mean, centred)
        xp.multiply(centred, centred, centred)
        variance = np.asarray(xp.add.reduce(centred, axis, wide, None, keepdims))
        variance = xp.true_divide(variance, n)
    mean = mean.reshape(variance.shape)
    if out is None:
        return mean.astype(x.dtype), np.asarray(variance).astype(x.dtype)
    xp.copyto(out[0], mean, casting="same_kind")
    xp.copyto(out[1], variance, casting="same_kind")
    return out


def _moments_workspace(inputs: Any, outputs: Any, attrs: Any) -> Any:
    x = inputs[0]
    wide = (float32 if x.dtype is float16 else x.dtype).dtype
    return [(wide, x.dims), (wide, reduced_dims(x.dims, attrs["axis"], True))]


def _centred(op: Operation) -> Tensor:
    return TABLE["sub"](op.inputs[0], spread_as(op, op.outputs[0]))  # type: ignore[no-any-return]


def _moments_vjp(op: Operation, gm: Tensor | None, gv: Tensor | None) -> list[Any]:
    x, axis = op.inputs[0], op.attrs["axis"]
    n = reduced_size(x, axis, x.dtype)
    total = None
    if gm is not None:
        total = spread_as(op, TABLE["truediv"](gm, n))
    if gv is not None:
        scale = TABLE["truediv"](_mul(gv, 2.0), n)
        part = _mul(spread_as(op, scale), _centred(op))
        total = part if total is None else TABLE["add"](total, part)
    return [total]


def _moments_jvp(op: Operation, t: Tensor) -> list[Tensor]:
    axis, keepdims = op.attrs["axis"], op.attrs["keepdims"]
    mean = reduce_mean(t, axis, keepdims)
    # The mean's own change drops out: the centred values sum to 0.
    change = reduce_mean(_mul(_centred(op), t), axis, keepdims)
    return [mean, _mul(change, 2.0)]


MOMENTS = OpDef(
    "Moments",
    infer=_infer_moments,
    kernel=_moments_kernel,
    inputs=("x",),
    vjp=_moments_vjp,
    jvp=_moments_jvp,
    writes_out=True,
    workspace=_moments_workspace,
    flops=lambda ins, outs, attrs: 4 * input_flops(ins, outs, attrs),
    batch=batch.reduction,
    doc="mean and variance of x over axes",
)


def moments(
    x: Any,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: Any = None,
    keepdims: Any = None,
) -> tuple[Tensor, Tensor]:
    """(mean, variance) of x over ``axes``: variance = mean of (x - mean)^2.

    Args:
        x: floating (float16 accumulates in float32); integers become float32.
        axes: as for :func:`reduce_sum`.
        shift: accepted for TF1 programs; two passes need none.
        name: the name of the operation.
        keep_dims, keepdims: keep the reduced axes, with size 1.

    Raises:
        ShapeError: an axis out of range, or named twice.
        DTypeError: complex input.

    Gradient: g_mean / n + 2 g_variance (x - mean) / n.
    """
    _, keep = legacy(axes, None, keepdims, keep_dims)
    t = inexact(x)
    attrs = {"axis": fixed_axes(axes, t.dims, "moments"), "keepdims": keep}
    mean, variance = create_many(MOMENTS, (t,), attrs, name or "moments")
    return mean, variance


def weighted_moments(
    x: Any,
    axes: Any,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: Any = None,
    keepdims: Any = None,
) -> tuple[Tensor, Tensor]:
    """(mean, variance) of x over ``axes``, each element counted by its weight.

    mean = sum(w x) / sum(w), variance = sum(w (x - mean)^2) / sum(w); the weights
    broadcast against x.  Arguments as for :func:`moments`.
    """
    axes, keep = legacy(axes, None, keepdims, keep_dims)
    t = inexact(x)
    w = as_tensor(frequency_weights)
    w = w if w.dtype is t.dtype else cast(w, t.dtype)
    with scope(name, "weighted_moments", t):
        w = TABLE["broadcast_like"](w, t)
        axes = fixed_axes(axes, t.dims, "weighted_moments")
        total = reduce_sum(w, axes, keep)
        mean = TABLE["truediv"](reduce_sum(_mul(w, t), axes, keep), total)
        centred = TABLE["sub"](t, spread(mean, t, axes, keep))
        squares = reduce_sum(_mul(w, square(centred)), axes, keep)
        return mean, TABLE["truediv"](squares, total)


def reduce_variance(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """y = mean of (x - mean(x))^2 over ``axis``; arguments as for :func:`moments`."""
    return moments(input_tensor, axis, name=name, keepdims=keepdims)[1]


def reduce_std(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """y = sqrt(mean of (x - mean(x))^2) over ``axis``.

    Arguments as for :func:`moments`.  Gradient: 0 where all elements are equal.
    """
    x = inexact(input_tensor)
    if x.dtype.is_complex:
        raise DTypeError(f"reduce_std: takes floating, not {x.dtype.name}")
    axes = fixed_axes(axis, x.dims, "reduce_std")
    with scope(name, "reduce_std", x):
        centred = TABLE["sub"](x, spread(reduce_mean(x, axes), x, axes, False))
        n = reduced_size(x, axes, x.dtype)
        distance = reduce_euclidean_norm(centred, axes, keepdims)
        return TABLE["truediv"](distance, sqrt(n))  # type: ignore[no-any-return]


# -- sums of many ----------------------------------------------------------------------


def accumulate_n(
    inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None
) -> Tensor:
    """The sum of a list of tensors of one shape and dtype, as :func:`add_n`.

    Args:
        inputs: the tensors.
        shape: a shape that each must fit.
        tensor_dtype: the dtype that each must have.
        name: the name of the operation.

    Raises:
        ShapeError, DTypeError: shapes or dtypes differ, or the list is empty.
    """
    wanted = as_dims(shape)
    tensors = [as_tensor(t, tensor_dtype) for t in inputs]
    for t in tensors:
        if not compatible(t.dims, wanted):
            raise ShapeError(f"accumulate_n: {t!r} does not have shape {text(wanted)}")
    total = add_n(tensors, name)
    if wanted is not None and total.dims is None:
        total.set_shape(wanted)
    return total


def _numpy_norm(
    x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False
) -> Tensor:
    if axis is None and ord is not None and as_tensor(x).ndim == 2:
        axis = (0, 1)
    return norm(x, "euclidean" if ord is None else ord, axis, keepdims)


OPERATORS: dict[str, Any] = {}
NUMPY = {
    np.linalg.norm: _numpy_norm,
    np.std: numpy_reduction(reduce_std),
    np.var: numpy_reduction(reduce_variance),
}
