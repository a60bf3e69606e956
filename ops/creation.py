"""Tensors made from sizes and numbers, and conversion to tensors."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import (
    DType,
    as_dtype,
    complex64,
    complex128,
    float32,
    float64,
    int32,
    int64,
    string,
)
from ..graphlib.errors import DTypeError, GraphError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, as_dims, is_static, merge, size, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import constant, create, graph_of, scope, shape_tensor, shape_vector
from ._later import batch
from .core import broadcast_to, cast

__all__ = [
    "convert_to_tensor",
    "fill",
    "lin_space",
    "linspace",
    "meshgrid",
    "ones",
    "range",
    "to_complex64",
    "to_complex128",
    "to_double",
    "to_float",
    "to_int32",
    "to_int64",
    "zeros",
]

# Values of at most this many elements are worked out while the graph is built.
_MAX_KNOWN = 64
# Fewer equal elements than this are a constant, as in TF1; more are a Fill.
_SMALL = 1000


def _scalar(t: Any, what: str) -> None:
    if t.dims:
        raise ShapeError(f"{what} must be a scalar, not {text(t.dims)}")


def _known_scalar(t: Any) -> Any:
    """The value of a scalar Tensor or Spec where it is known, else None."""
    value = t.value
    return value.reshape(())[()] if isinstance(value, np.ndarray) else None


# -- fill ----------------------------------------------------------------------


def _infer_fill(inputs: Sequence[Any], attrs: Any) -> Any:
    sizes, value = inputs
    _scalar(value, "the value")
    dims = known_dims(sizes)
    if dims is not None and any(d is not None and d < 0 for d in dims):
        raise ShapeError(f"sizes must be >= 0: {text(dims)}")
    return ((value.dtype, dims),)


def _fill_kernel(xp: Any, sizes: Any, value: Any, out: Any = None) -> Any:
    if out is None:
        return xp.full(tuple(int(n) for n in sizes), value, value.dtype)
    out[...] = value
    return out


def _fill_value(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = known_dims(inputs[0])
    if not is_static(dims) or (size(dims) or 0) > _MAX_KNOWN:
        return None
    value = _known_scalar(inputs[1])
    if value is None or inputs[1].dtype.kind not in (0, 1):
        return None
    return np.full(dims, value, inputs[1].dtype.dtype)


def _fill_rule(op: Operation, g: Tensor) -> Tensor:
    return TABLE["sum_to"](g, op.inputs[1])  # type: ignore[no-any-return]


FILL: OpDef = OpDef(
    "Fill",
    infer=_infer_fill,
    kernel=_fill_kernel,
    inputs=("dims", "value"),
    linear=True,
    vjp=(None, _fill_rule),
    jvp=lambda op, _, t: create(FILL, (op.inputs[0], t)),
    writes_out=True,
    value=_fill_value,
    flops=lambda i, o, a: 0,
    batch=batch.filled,
    doc="an array whose elements all are value",
)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """An array of shape ``dims`` whose elements all are ``value``.

    Args:
        dims: the sizes, an integer vector (rank,) or what becomes one.
        value: a scalar; its dtype is the result's.
        name: the name of the operation.

    Raises:
        ShapeError: ``value`` is no scalar.

    Gradient: the sum of the cotangent goes to ``value``.
    """
    stem = name.rstrip("/") if name else "Fill"
    with graph_of(dims, value).as_default():
        sizes = shape_vector(dims, name=f"{stem}/dims")
        scalar = as_tensor(value, name=f"{stem}/value")
        return create(FILL, (sizes, scalar), None, name)


def _python_sizes(shape: Any) -> Dims:
    """A shape that no tensor is part of; None for any other."""
    try:
        return as_dims(shape)
    except (TypeError, ShapeError):
        return None  # a negative size is reported with the op's name


def _filled(value: int, shape: Any, dtype: Any, name: str | None, who: str) -> Tensor:
    wanted = as_dtype(dtype)
    element: Any = "" if wanted is string else wanted.dtype.type(value)
    if wanted is string and value:
        raise DTypeError(f"{who}: strings have no number one")
    with scope(name, who, shape) as full:
        given = _python_sizes(shape)
        if is_static(given) and 0 < (size(given) or 0) < _SMALL:
            return constant(element, wanted, given, name=full)
        sizes = shape_vector(shape, name="shape_as_tensor")
        dims = known_dims(sizes)
        if dims is not None and any(d is not None and d < 0 for d in dims):
            raise ShapeError(f"{who}: sizes must be >= 0: {text(dims)}")
        scalar = constant(element, wanted, name="Const", graph=sizes.graph)
        return create(FILL, (sizes, scalar), None, full)


def zeros(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """Zeros (False, empty strings) of a shape.

    Args:
        shape: the sizes: ints, a TensorShape, or an integer vector.
        dtype: any dtype.
        name: the name of the operation.

    Raises:
        ShapeError: a negative or unknown size.
    """
    return _filled(0, shape, dtype, name, "zeros")


def ones(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """Ones (True) of a shape.

    Args:
        shape: the sizes: ints, a TensorShape, or an integer vector.
        dtype: any dtype but string.
        name: the name of the operation.

    Raises:
        ShapeError: a negative or unknown size.
        DTypeError: strings.
    """
    return _filled(1, shape, dtype, name, "ones")


# -- sequences -----------------------------------------------------------------


def _range_size(start: Any, limit: Any, delta: Any) -> int:
    """The number of elements, worked out in the dtype of the sequence, as TF does."""
    if delta == 0:
        raise InvalidArgumentError("range: delta must not be 0")
    if (limit - start) * np.sign(delta) < 0:
        way = "<=" if delta > 0 else ">="
        raise InvalidArgumentError(
            f"range: start {way} limit is needed for delta {delta}: "
            f"start is {start}, limit {limit}"
        )
    if isinstance(start, np.floating):
        return int(np.ceil(np.abs((limit - start) / delta)))
    a, b, d = int(start), int(limit), int(delta)
    return -((a - b) // d) if d > 0 else -((b - a) // -d)


def _range_count(inputs: Sequence[Any]) -> int | None:
    a, b, d = map(_known_scalar, inputs)
    return None if a is None or b is None or d is None else _range_size(a, b, d)


def _infer_range(inputs: Sequence[Any], attrs: Any) -> Any:
    first = inputs[0].dtype
    if first.kind not in (1, 2):
        raise DTypeError(f"takes integers or floating numbers, not {first.name}")
    for t, what in zip(inputs, ("start", "limit", "delta")):
        _scalar(t, what)
        if t.dtype is not first:
            raise DTypeError(f"inputs have dtypes {first.name} and {t.dtype.name}")
    return ((first, (_range_count(inputs),)),)


def _range_kernel(xp: Any, start: Any, limit: Any, delta: Any, out: Any = None) -> Any:
    start, limit, delta = start[()], limit[()], delta[()]
    count = _range_size(start, limit, delta)
    result = xp.arange(count, dtype=start.dtype)
    if delta != 1:
        result *= delta
    if start != 0:
        result += start
    return result


def _range_value(inputs: Sequence[Any], attrs: Any) -> Any:
    if not inputs[0].dtype.is_integer:
        return None
    count = _range_count(inputs)
    if count is None or count > _MAX_KNOWN:
        return None
    return _range_kernel(np, *[t.value for t in inputs])


def _positions(op: Operation) -> Tensor:
    """0, 1, 2, ... as many as the op's result has elements, in its dtype."""
    y = op.outputs[0]
    count = TABLE["getitem"](shape_tensor(y), 0)
    return cast(range(0, count), y.dtype)


def _range_delta_rule(op: Operation, g: Tensor) -> Tensor:
    product = TABLE["mul"](g, _positions(op))
    return TABLE["sum_to"](product, op.inputs[2])  # type: ignore[no-any-return]


RANGE = OpDef(
    "Range",
    infer=_infer_range,
    kernel=_range_kernel,
    inputs=("start", "limit", "delta"),
    linear=True,
    vjp=(
        lambda op, g: TABLE["sum_to"](g, op.inputs[0]),
        None,
        _range_delta_rule,
    ),
    value=_range_value,
    doc="start, start + delta, ... up to limit, without it",
)

_RANGE_DTYPES = (int32, int64, float32, float64)


def range(
    start: Any,
    limit: Any = None,
    delta: Any = 1,
    dtype: Any = None,
    name: str | None = "range",
) -> Tensor:
    """start, start + delta, start + 2 delta, ... up to ``limit``, without it.

    ``range(limit)`` starts at 0.

    Args:
        start, limit, delta: scalars.
        dtype: the element type (default: the widest of the three, in the order
            int32, int64, float32, float64).
        name: the name of the operation.

    Returns:
        A vector; its length is known where the three are.

    Raises:
        DTypeError: strings, booleans or complex numbers.
        InvalidArgumentError: ``delta`` is 0 or leads away from ``limit``.

    Gradient: with respect to ``start`` and ``delta``; the length is constant.
    """
    if limit is None:
        start, limit = 0, start
    with scope(name, "range", start, limit, delta) as full:
        wanted = None if dtype is None else as_dtype(dtype)
        named = ((start, "start"), (limit, "limit"), (delta, "delta"))
        plain = [_range_operand(v, wanted, n) for v, n in named]
        if wanted is None:
            order = [_range_rank(t.dtype) for t in plain]
            wanted = max(zip(order, plain), key=lambda p: p[0])[1].dtype
        return create(RANGE, [cast(t, wanted) for t in plain], None, full)


def _range_operand(value: Any, dtype: DType | None, name: str) -> Tensor:
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        t = as_tensor(value)
        return t if dtype is None else cast(t, dtype)
    if hasattr(value, "value") and not hasattr(value, "dtype"):
        value = value.value  # a Dimension
    return as_tensor(value, dtype, name)


def _range_rank(dtype: DType) -> int:
    if dtype.kind not in (1, 2):
        raise DTypeError(f"range: takes integers or floating numbers, not {dtype.name}")
    return _RANGE_DTYPES.index(dtype) if dtype in _RANGE_DTYPES else 4


def _infer_linspace(inputs: Sequence[Any], attrs: Any) -> Any:
    start, stop, num = inputs
    for t, what in zip(inputs, ("start", "stop", "num")):
        _scalar(t, what)
    if not start.dtype.is_floating or stop.dtype is not start.dtype:
        raise DTypeError(
            f"start and stop must be floating and alike, not {start.dtype.name} and "
            f"{stop.dtype.name}"
        )
    if not num.dtype.is_integer:
        raise DTypeError(f"num must be an integer, not {num.dtype.name}")
    count = _known_scalar(num)
    if count is not None:
        _check_count(count)
    return ((start.dtype, (None if count is None else int(count),)),)


def _check_count(count: Any) -> None:
    if count < 1:
        raise InvalidArgumentError(f"linspace: num must be at least 1, not {count}")


def _linspace_kernel(xp: Any, start: Any, stop: Any, num: Any, out: Any = None) -> Any:
    count = int(num)
    _check_count(count)
    if out is None:
        out = xp.empty(count, start.dtype)
    out[:] = xp.arange(count, dtype=start.dtype)
    if count > 1:
        xp.multiply(out, (stop - start) / start.dtype.type(count - 1), out=out)
    xp.add(out, start, out=out)
    if count > 1:
        out[-1] = stop
    return out


def _linspace_rule(index: int) -> Any:
    def rule(op: Operation, g: Tensor) -> Tensor:
        # y = (1 - w) start + w stop, with w from 0 to 1 (0 where num is 1).
        num = op.inputs[2]
        zero, one = constant(0, g.dtype), constant(1, g.dtype)
        ends = (zero, one) if index else (one, zero)
        weights = create(LINSPACE, (*ends, num))
        product = TABLE["mul"](g, weights)
        return TABLE["sum_to"](product, op.inputs[index])  # type: ignore[no-any-return]

    return rule


LINSPACE = OpDef(
    "LinSpace",
    infer=_infer_linspace,
    kernel=_linspace_kernel,
    inputs=("start", "stop", "num"),
    linear=True,
    vjp=(_linspace_rule(0), _linspace_rule(1), None),
    writes_out=True,
    flops=lambda ins, outs, attrs: 2 * ((outs[0].dims or (0,))[0] or 0),
    batch=batch.lin_space,
    doc="num numbers from start to stop, evenly spaced",
)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, both included.

    Args:
        start, stop: floating scalars (Python numbers become float32).
        num: how many, at least 1; one number is ``start``.
        name: the name of the operation.

    Raises:
        DTypeError: ``start`` and ``stop`` are not floating, or differ.
        InvalidArgumentError: ``num`` is less than 1.
    """
    from ._build import common_dtype

    with scope(name, "LinSpace", start, stop, num) as full:
        dtype = common_dtype((start, stop))
        dtype = dtype if dtype.is_inexact else float32
        ends = [
            cast(as_tensor(v, name=n), dtype)
            for v, n in ((start, "start"), (stop, "stop"))
        ]
        count = as_tensor(num, name="num")
        return create(LINSPACE, (*ends, count), None, full)


lin_space = linspace


# -- grids ---------------------------------------------------------------------


def meshgrid(*args: Any, **kwargs: Any) -> list[Tensor]:
    """Coordinates of a grid: one array per axis, views of the vectors.

    Args:
        args: vectors of lengths n_1, ..., n_k (other ranks are flattened).
        indexing: "xy" (default) swaps the first two axes, "ij" does not.
        name: the name scope.

    Returns:
        k tensors of shape (n_1, ..., n_k), or (n_2, n_1, ...) for "xy".

    Raises:
        GraphError: another ``indexing``.
    """
    from .core import size as size_of
    from .views import reshape

    indexing = kwargs.pop("indexing", "xy")
    name = kwargs.pop("name", "meshgrid")
    if kwargs:
        raise TypeError(f"meshgrid() got unexpected arguments {sorted(kwargs)}")
    if indexing not in ("xy", "ij"):
        raise GraphError(f"meshgrid: indexing must be 'xy' or 'ij', not {indexing!r}")
    with scope(name, "meshgrid", *args):
        vectors = [as_tensor(a) for a in args]
        rank = len(vectors)
        order = list(builtins.range(rank))
        if indexing == "xy" and rank > 1:
            order[:2] = [1, 0]
        sizes = [size(t.dims) if is_static(t.dims) else None for t in vectors]
        lengths: list[Any] = [
            size_of(vectors[i]) if sizes[i] is None else sizes[i] for i in order
        ]
        result = []
        for i, t in enumerate(vectors):
            column = [1] * rank
            column[order.index(i)] = -1
            result.append(broadcast_to(reshape(t, column), lengths))
        return result


# -- conversion ----------------------------------------------------------------


def convert_to_tensor(
    value: Any,
    dtype: Any = None,
    name: str | None = None,
    preferred_dtype: Any = None,
    dtype_hint: Any = None,
) -> Tensor:
    """``value`` as a tensor: tensors pass, variables are read, the rest is constant.

    Args:
        value: a tensor, a variable, a number, an array or nested lists of these.
        dtype: the dtype to have.
        name: the name of a new constant.
        preferred_dtype, dtype_hint: a dtype to use where the value allows it.

    Raises:
        DTypeError: a tensor of another dtype, or values that ``dtype`` cannot hold.
    """
    hint = dtype_hint if preferred_dtype is None else preferred_dtype
    if dtype is None and hint is not None:
        try:
            return as_tensor(value, as_dtype(hint), name)
        except DTypeError:
            return as_tensor(value, None, name)
    return as_tensor(value, None if dtype is None else as_dtype(dtype), name)


def to_float(x: Any, name: str | None = "ToFloat") -> Tensor:
    """``x`` as float32."""
    return cast(x, float32, name)


def to_double(x: Any, name: str | None = "ToDouble") -> Tensor:
    """``x`` as float64."""
    return cast(x, float64, name)


def to_int32(x: Any, name: str | None = "ToInt32") -> Tensor:
    """``x`` as int32; fractions are cut off."""
    return cast(x, int32, name)


def to_int64(x: Any, name: str | None = "ToInt64") -> Tensor:
    """``x`` as int64; fractions are cut off."""
    return cast(x, int64, name)


def to_complex64(x: Any, name: str | None = "ToComplex64") -> Tensor:
    """``x`` as complex64."""
    return cast(x, complex64, name)


def to_complex128(x: Any, name: str | None = "ToComplex128") -> Tensor:
    """``x`` as complex128."""
    return cast(x, complex128, name)


OPERATORS = {"fill": fill}


# -- a shape without content ------------------------------------------------------


def _infer_of_shape(inputs: Sequence[Any], attrs: Any) -> Any:
    return ((attrs["dtype"], merge(attrs["shape"], known_dims(inputs[0]))),)


def _of_shape_kernel(
    xp: Any, sizes: Any, *, dtype: Any, shape: Any, out: Any = None
) -> Any:
    return xp.broadcast_to(xp.zeros((), dtype.dtype), sizes.tolist())


# Stands for a tensor whose content nobody reads; it takes no memory.
OF_SHAPE = OpDef(
    "OfShape",
    infer=_infer_of_shape,
    kernel=_of_shape_kernel,
    inputs=("sizes",),
    flops=lambda i, o, a: 0,
    doc="an array of a given shape, one zero seen everywhere",
)


def of_shape(sizes: Tensor, like: Tensor) -> Tensor:
    """A tensor with the dtype of ``like`` and a shape, for ops that read no more."""
    attrs = {"dtype": like.dtype, "shape": like.dims}
    return create(OF_SHAPE, (sizes,), attrs)
