"""Builders of pools over 1, 2 and 3 spatial axes (ops: ``_pool.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphlib.dtypes import as_dtype, int64
from ..graphlib.errors import ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, inexact
from ._conv import FORMATS
from ._pool import AVG_POOL, MAX_POOL, MAX_POOL_WITH_ARGMAX
from ._windows import normal_padding, per_axis
from .conv import check_format

__all__ = [
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool_with_argmax",
    "pool",
    "pool_op",
]


def _spread(values: Sequence[Any], data_format: str, off: Any) -> tuple[Any, ...]:
    """Values of the spatial axes as values of every axis."""
    if data_format[1] == "C":
        return (off, off, *values)
    return (off, *values, off)


def _every(value: Any, rank: int, form: str, what: str) -> tuple[int, ...]:
    """Window sizes or strides along every axis; batch must have 1."""
    values = [int(v) for v in value] if hasattr(value, "__iter__") else [int(value)]
    if len(values) != rank + 2:
        return _spread(per_axis(values, rank, form, what), form, 1)
    if values[0] != 1 or min(values) < 1:
        raise ShapeError(f"{what} {values} must be positive, and 1 along the batch")
    return tuple(values)


def pool_op(
    opdef: OpDef,
    rank: int,
    value: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    name: str | None,
    dilations: Any = None,
    **more: Any,
) -> Tensor:
    """One pooling op over ``rank`` spatial axes; ``more`` are further attrs."""
    if value is None:
        raise TypeError("needs an input")
    form = check_format(data_format, rank)
    pads = normal_padding(padding, rank, form)
    attrs = {
        "ksize": _every(ksize, rank, form, "ksize"),
        "strides": _every(1 if strides is None else strides, rank, form, "strides"),
        "padding": pads if isinstance(pads, str) else _spread(pads, form, (0, 0)),
        "dilations": _every(
            1 if dilations is None else dilations, rank, form, "dilations"
        ),
        **more,
    }
    x = as_tensor(value) if opdef is MAX_POOL else inexact(value)
    return create(opdef, (x,), attrs, name)


def max_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: Any = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """y[n, p, c] = max_k x[n, p*stride + k - lo, c]; padding never wins.

    Args:
        value: (n, h, w, c), or (n, c, h, w) with data_format "NCHW"; floating
            or integer.  Also by the name ``input``.
        ksize, strides: an int, (h, w), or one per axis of the data format (so
            channels can be pooled too).
        padding: "SAME", "VALID" or (before, after) pairs, as for conv2d.

    Raises:
        ShapeError: the rank does not fit, or the window does not.

    Gradient: to the first largest input of each window, in row-major order; 0
        through a window that holds NaN.  NaN in a window gives NaN.

    Reference:
        Ranzato, Huang, Boureau, LeCun, CVPR 2007.
    """
    x = input if value is None else value
    return pool_op(MAX_POOL, 2, x, ksize, strides, padding, data_format, name)


def max_pool1d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NWC",
    name: str | None = None,
) -> Tensor:
    """As :func:`max_pool` with one spatial axis."""
    return pool_op(MAX_POOL, 1, input, ksize, strides, padding, data_format, name)


def max_pool2d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    name: str | None = None,
) -> Tensor:
    """:func:`max_pool`."""
    return pool_op(MAX_POOL, 2, input, ksize, strides, padding, data_format, name)


def max_pool3d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NDHWC",
    name: str | None = None,
) -> Tensor:
    """As :func:`max_pool` with three spatial axes."""
    return pool_op(MAX_POOL, 3, input, ksize, strides, padding, data_format, name)


def max_pool_with_argmax(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    Targmax: Any = None,
    name: str | None = None,
    output_dtype: Any = None,
    include_batch_in_index: bool = False,
) -> tuple[Tensor, ...]:
    """:func:`max_pool` and where each largest input is: its index in the flattened
    image (the flattened batch with ``include_batch_in_index``), int64.

    Raises:
        ShapeError: as :func:`max_pool`.

    Gradient: as :func:`max_pool`; none through the indices.
    """
    kind = as_dtype(output_dtype or Targmax or int64)
    y = pool_op(
        MAX_POOL_WITH_ARGMAX,
        2,
        input,
        ksize,
        strides,
        padding,
        data_format,
        name,
        output=kind,
        batch=bool(include_batch_in_index),
    )
    return y.op.outputs


def avg_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: Any = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """y[n, p, c] = mean_k x[n, p*stride + k - lo, c]; padding does not count.

    Arguments and errors are those of :func:`max_pool`; the input is floating.
    """
    x = input if value is None else value
    return _avg(2, x, ksize, strides, padding, data_format, name)


def _avg(
    rank: int,
    x: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    form: Any,
    name: str | None,
    dilations: Any = None,
) -> Tensor:
    return pool_op(
        AVG_POOL,
        rank,
        x,
        ksize,
        strides,
        padding,
        form,
        name,
        dilations,
        include_padding=False,
    )


def avg_pool1d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NWC",
    name: str | None = None,
) -> Tensor:
    """As :func:`avg_pool` with one spatial axis."""
    return _avg(1, input, ksize, strides, padding, data_format, name)


avg_pool2d = avg_pool


def avg_pool3d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NDHWC",
    name: str | None = None,
) -> Tensor:
    """As :func:`avg_pool` with three spatial axes."""
    return _avg(3, input, ksize, strides, padding, data_format, name)


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    padding: Any,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: Any = None,
    dilations: Any = None,
) -> Tensor:
    """:func:`max_pool` or :func:`avg_pool` over as many axes as ``window_shape`` has.

    Args:
        pooling_type: "MAX" or "AVG".
        dilation_rate: the distance between taps.

    Raises:
        ShapeError: another pooling type, or windows of no rank from 1 to 3.
    """
    rank = len(window_shape)
    if rank not in FORMATS:
        raise ShapeError(f"window_shape {window_shape} must have 1, 2 or 3 sizes")
    if data_format is not None:
        data_format = FORMATS[rank][data_format.startswith("NC")]
    rate = dilation_rate if dilations is None else dilations
    tail = (rank, input, window_shape, strides, padding, data_format, name, rate)
    if pooling_type.upper() == "MAX":
        return pool_op(MAX_POOL, *tail)
    if pooling_type.upper() == "AVG":
        return _avg(*tail)
    raise ShapeError(f"pooling_type {pooling_type!r} must be 'MAX' or 'AVG'")
