"""How often values occur: bincount and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import as_dtype, int32
from ..graphlib.errors import DTypeError, InvalidArgumentError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import merge
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, pair
from ._later import batch_index
from .reduction import input_flops
from .segments import segment_gather

__all__ = ["bincount", "histogram_fixed_width"]


def _infer_bincount(inputs: Sequence[Any], attrs: Any) -> Any:
    values = inputs[0]
    if not values.dtype.is_integer:
        raise DTypeError(f"takes integers, not {values.dtype.name}")
    if len(inputs) > 1:
        merge(values.dims, inputs[1].dims)
    least, most = attrs["minlength"], attrs["maxlength"]
    n = None
    if least is not None and least == most:
        n = least
    elif isinstance(values.value, np.ndarray):
        n = _length(values.value, least, most)
    return ((attrs["dtype"], (n,)),)


def _length(values: Any, least: int | None, most: int | None) -> int:
    n = int(values.max()) + 1 if values.size else 0
    n = max(n, least or 0)
    return n if most is None else min(n, most)


def _bincount_kernel(
    xp: Any,
    values: Any,
    *weights: Any,
    minlength: int | None,
    maxlength: int | None,
    dtype: Any,
    out: Any = None,
) -> Any:
    flat = values.reshape(-1)
    if flat.size and int(flat.min()) < 0:
        raise InvalidArgumentError(f"bincount: {int(flat.min())} is negative")
    n = _length(flat, minlength, maxlength)
    keep = flat < n
    w = weights[0].reshape(-1)[keep] if weights else None
    counts = xp.bincount(flat[keep], w, n)[:n]
    if out is None:
        return counts.astype(dtype.dtype)
    xp.copyto(out, counts, casting="unsafe")
    return out


def _bincount_vjp_weights(op: Operation, g: Tensor) -> Tensor:
    return segment_gather(g, op.inputs[0])


def _bincount_jvp(op: Operation, _: Any, t: Tensor) -> Tensor:
    values, y = op.inputs[0], op.outputs[0]
    attrs = dict(op.attrs)
    attrs["dtype"] = y.dtype
    return create(BINCOUNT, (values, t), attrs)


BINCOUNT = OpDef(
    "Bincount",
    infer=_infer_bincount,
    kernel=_bincount_kernel,
    inputs=("values", "*weights"),
    linear=True,
    vjp=(None, _bincount_vjp_weights),
    jvp=_bincount_jvp,
    writes_out=True,
    flops=input_flops,
    batch=batch_index.bincount,
    doc="y[i] = how many values are i, or the sum of their weights",
)


def _size(value: Any, what: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        value = as_tensor(value).value
        if value is None:
            raise InvalidArgumentError(f"{what} must be known before the run")
    return int(value)


def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = int32,
    name: str | None = None,
) -> Tensor:
    """y[i] = how many elements of ``arr`` are i, or the sum of their weights.

    Shapes: any -> (max(arr) + 1,), at least ``minlength``, at most ``maxlength``.

    Args:
        arr: integers, not negative.
        weights: numbers of the same shape; the result has their dtype.
        minlength, maxlength: bounds of the length; larger values are left out.
        dtype: of the counts, without weights.
        name: the name of the operation.

    Raises:
        DTypeError: ``arr`` holds no integers.
        InvalidArgumentError: at run time, a negative value.

    Gradient: each weight gets the cotangent of its bin.
    """
    values = as_tensor(arr)
    inputs = [values]
    if weights is not None:
        w = as_tensor(weights)
        if w.dtype.is_complex or w.dtype.kind < 1:
            raise DTypeError(f"bincount: weights of {w.dtype.name}; numbers are needed")
        inputs.append(w)
    attrs = {
        "minlength": _size(minlength, "minlength"),
        "maxlength": _size(maxlength, "maxlength"),
        "dtype": inputs[1].dtype if len(inputs) > 1 else as_dtype(dtype),
    }
    return create(BINCOUNT, inputs, attrs, name or "bincount")


def _infer_histogram(inputs: Sequence[Any], attrs: Any) -> Any:
    if inputs[0].dtype.kind not in (1, 2):
        raise DTypeError(f"takes integers or floating, not {inputs[0].dtype.name}")
    merge(inputs[1].dims, (2,))
    return ((attrs["dtype"], (attrs["nbins"],)),)


def _histogram_kernel(
    xp: Any, values: Any, bounds: Any, *, nbins: int, dtype: Any, out: Any = None
) -> Any:
    low, high = float(bounds[0]), float(bounds[1])
    if not low < high:
        raise InvalidArgumentError(f"value_range [{low}, {high}] is empty")
    scaled = (values.reshape(-1).astype(np.float64) - low) / (high - low)
    if bool(xp.isnan(scaled).any()):
        raise InvalidArgumentError("a NaN belongs to no bin")
    bins = xp.clip(xp.floor(scaled * nbins), 0, nbins - 1).astype(np.int64)
    counts = xp.bincount(bins, minlength=nbins)
    if out is None:
        return counts.astype(dtype.dtype)
    xp.copyto(out, counts, casting="unsafe")
    return out


HISTOGRAM = OpDef(
    "HistogramFixedWidth",
    infer=_infer_histogram,
    kernel=_histogram_kernel,
    inputs=("values", "value_range"),
    writes_out=True,
    flops=lambda ins, outs, attrs: 4 * input_flops(ins, outs, attrs),
    doc="how many values are in each of n equal bins",
)


def histogram_fixed_width(
    values: Any,
    value_range: Any,
    nbins: Any = 100,
    dtype: Any = int32,
    name: str | None = None,
) -> Tensor:
    """How many values lie in each of ``nbins`` equal bins of ``value_range``.

    Shapes: any, (2,) -> (nbins,).  Values below the range count in the first
    bin, values above it in the last.

    Raises:
        InvalidArgumentError: fewer than one bin; at run time, an empty range or
            a NaN.
    """
    n = _size(nbins, "nbins")
    if n is None or n < 1:
        raise InvalidArgumentError(f"histogram_fixed_width: nbins {n} must be >= 1")
    x = as_tensor(values)
    _, bounds = pair(x, value_range)
    attrs = {"nbins": n, "dtype": as_dtype(dtype)}
    return create(HISTOGRAM, (x, bounds), attrs, name or "histogram_fixed_width")


def _numpy_bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    return bincount(x, weights, minlength)


OPERATORS: dict[str, Any] = {}
NUMPY = {np.bincount: _numpy_bincount}
