"""Builders of convolutions over 1, 2 and 3 spatial axes (ops: ``_conv.py``)."""

from __future__ import annotations

from typing import Any

from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.operators import TABLE
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor
from ._build import common_dtype, create, inexact, scope, shape_vector
from ._conv import DEPTHWISE, FAMILIES, FORMATS
from ._windows import normal_padding, per_axis

__all__ = [
    "atrous_conv2d",
    "atrous_conv2d_transpose",
    "conv1d",
    "conv1d_transpose",
    "conv2d",
    "conv2d_backprop_filter",
    "conv2d_backprop_input",
    "conv2d_transpose",
    "conv3d",
    "conv3d_backprop_filter",
    "conv3d_transpose",
    "convolution",
    "depthwise_conv2d",
    "depthwise_conv2d_native",
    "depthwise_conv2d_native_backprop_filter",
    "depthwise_conv2d_native_backprop_input",
    "separable_conv2d",
]


def check_format(data_format: Any, rank: int) -> str:
    """The data format's name (None: channels last).

    Raises:
        ShapeError: it is not one of the rank's two.
    """
    last, first = FORMATS[rank]
    if data_format is None:
        return last
    if isinstance(data_format, bytes):
        data_format = data_format.decode()
    if data_format not in (last, first):
        # conv1d takes the names of the 2-D formats too, as TF1 does.
        if rank == 1 and data_format in FORMATS[2]:
            return first if data_format[1] == "C" else last
        raise ShapeError(f"data_format {data_format!r} must be {last!r} or {first!r}")
    return data_format  # type: ignore[no-any-return]


def conv_attrs(
    rank: int, strides: Any, padding: Any, data_format: Any, dilations: Any
) -> dict[str, Any]:
    """The attrs of a convolution from TF1's arguments."""
    form = check_format(data_format, rank)
    return {
        "strides": per_axis(strides, rank, form, "strides"),
        "padding": normal_padding(padding, rank, form),
        "data_format": form,
        "dilations": per_axis(dilations, rank, form, "dilations"),
    }


def operands(*values: Any) -> list[Tensor]:
    """Tensors of one floating dtype.

    Raises:
        DTypeError: no floating dtype is common to them.
    """
    tensors = [v for v in values if isinstance(v, Tensor)]
    if len(tensors) == len(values) and all(
        t.dtype is tensors[0].dtype and t.dtype.is_inexact for t in tensors
    ):
        return tensors
    dtype = common_dtype(values)
    out = [inexact(v) for v in values]
    if dtype.is_inexact:
        out = [TABLE["cast"](t, dtype) for t in out]
    if any(t.dtype is not out[0].dtype for t in out):
        raise DTypeError("operands " + ", ".join(map(repr, out)) + " differ in dtype")
    return out


def _forward(
    rank: int,
    x: Any,
    w: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    dilations: Any,
    name: str | None,
) -> Tensor:
    if x is None or w is None:
        raise TypeError("needs both an input and filters")
    attrs = conv_attrs(rank, strides, padding, data_format, dilations)
    return create(FAMILIES[rank].forward, operands(x, w), attrs, name)


def conv1d(
    value: Any = None,
    filters: Any = None,
    stride: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = None,
    data_format: Any = None,
    name: str | None = None,
    input: Any = None,
    dilations: Any = None,
) -> Tensor:
    """y[n, p, o] = sum_{k,c} x[n, p*stride + k*dilation - lo, c] w[k, c, o].

    As :func:`conv2d` with one spatial axis: value (n, w, c), filters (k, c, o),
    data_format "NWC" or "NCW".
    """
    value = input if value is None else value
    return _forward(
        1, value, filters, stride, padding, data_format, dilations, name or "conv1d"
    )


def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = True,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """y[n, p, o] = sum_{k,c} x[n, p*stride + k*dilation - lo, c] w[k, c, o].

    A cross-correlation, as TF computes it (the filter is not flipped).

    Args:
        input: (n, h, w, c), or (n, c, h, w) with data_format "NCHW"; floating.
        filter: (kh, kw, c, o), also by the name ``filters``.
        strides: an int, (sh, sw), or one per axis of the data format.
        padding: "SAME" (ceil(h / sh) rows of output; zeros around, the odd one
            after), "VALID" (none), or (before, after) pairs, one per axis of
            the data format or per spatial axis.
        use_cudnn_on_gpu: accepted for TF1 programs.
        dilations: distance between taps, as ``strides``.

    Raises:
        ShapeError: ranks or channels do not fit, or the window does not.

    Gradient: Conv2DBackpropInput and Conv2DBackpropFilter; all orders exist.

    Reference:
        Dumoulin & Visin, arXiv:1603.07285.
    """
    w = filter if filters is None else filters
    return _forward(2, input, w, strides, padding, data_format, dilations, name)


def conv3d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: Any = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """As :func:`conv2d` with three spatial axes: input (n, d, h, w, c), filter
    (kd, kh, kw, c, o), data_format "NDHWC" or "NCDHW"."""
    w = filter if filters is None else filters
    return _forward(3, input, w, strides, padding, data_format, dilations, name)


def _sizes(value: Any) -> Tensor:
    return shape_vector(value)


def _to_filter(
    rank: int, x: Any, sizes: Any, g: Any, attrs: dict[str, Any], name: str | None
) -> Tensor:
    x, g = operands(x, g)
    return create(FAMILIES[rank].to_filter, (x, _sizes(sizes), g), attrs, name)


def _to_input(
    rank: int, sizes: Any, w: Any, g: Any, attrs: dict[str, Any], name: str | None
) -> Tensor:
    w, g = operands(w, g)
    return create(FAMILIES[rank].to_input, (_sizes(sizes), w, g), attrs, name)


def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    use_cudnn_on_gpu: Any = True,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of :func:`conv2d` to a filter of shape ``filter_sizes``:
    dw[k, c, o] = sum_{n,p} x[n, p*stride + k*dilation - lo, c] g[n, p, o]."""
    attrs = conv_attrs(2, strides, padding, data_format, dilations)
    return _to_filter(2, input, filter_sizes, out_backprop, attrs, name)


def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any = None,
    out_backprop: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = True,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """The gradient of :func:`conv2d` to an input of shape ``input_sizes``:
    dx[n, p*stride + k*dilation - lo, c] += sum_o g[n, p, o] w[k, c, o]."""
    w = filter if filters is None else filters
    attrs = conv_attrs(2, strides, padding, data_format, dilations)
    return _to_input(2, input_sizes, w, out_backprop, attrs, name)


def conv3d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of :func:`conv3d` to a filter of shape ``filter_sizes``."""
    attrs = conv_attrs(3, strides, padding, data_format, dilations)
    return _to_filter(3, input, filter_sizes, out_backprop, attrs, name)


def _transpose(
    rank: int,
    x: Any,
    w: Any,
    sizes: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    dilations: Any,
    name: str | None,
) -> Tensor:
    if x is None or w is None or sizes is None:
        raise TypeError("needs an input, filters and an output shape")
    attrs = conv_attrs(rank, strides, padding, data_format, dilations)
    default = f"conv{rank}d_transpose"
    return _to_input(rank, sizes, w, x, attrs, name or default)


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: Any = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """As :func:`conv2d_transpose` with one spatial axis."""
    return _transpose(
        1, input, filters, output_shape, strides, padding, data_format, dilations, name
    )


def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: Any = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The transpose of :func:`conv2d` ("deconvolution"):
    y[n, p*stride + k*dilation - lo, c] += sum_o x[n, p, o] w[k, c, o].

    Args:
        value: (n, h, w, o), also by the name ``input``.
        filter: (kh, kw, c, o): output channels come before input channels.
        output_shape: (n, h', w', c); conv2d of that shape must give value's.
        strides, padding, data_format, dilations: those of that conv2d.

    Raises:
        ShapeError: ``output_shape`` does not fit the rest.
    """
    x = input if value is None else value
    w = filter if filters is None else filters
    return _transpose(
        2, x, w, output_shape, strides, padding, data_format, dilations, name
    )


def conv3d_transpose(
    value: Any,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: Any = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """As :func:`conv2d_transpose` with three spatial axes."""
    x = input if value is None else value
    w = filter if filters is None else filters
    return _transpose(
        3, x, w, output_shape, strides, padding, data_format, dilations, name
    )


def atrous_conv2d(
    value: Any, filters: Any, rate: int, padding: Any, name: str | None = None
) -> Tensor:
    """:func:`conv2d` with stride 1 and ``rate`` between taps; value (n, h, w, c).

    Reference:
        Yu & Koltun, Multi-scale context aggregation by dilated convolutions, 2016.
    """
    return _forward(2, value, filters, 1, padding, "NHWC", rate, name or "convolution")


def atrous_conv2d_transpose(
    value: Any,
    filters: Any,
    output_shape: Any,
    rate: int,
    padding: Any,
    name: str | None = None,
) -> Tensor:
    """The transpose of :func:`atrous_conv2d`."""
    return _transpose(
        2,
        value,
        filters,
        output_shape,
        1,
        padding,
        "NHWC",
        rate,
        name or "atrous_conv2d_transpose",
    )


def convolution(
    input: Any,
    filter: Any = None,
    padding: Any = None,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """A convolution of the rank that the shapes say: see :func:`conv2d`.

    Args:
        input: rank 3, 4 or 5.
        strides, dilation_rate: an int or one per spatial axis.
        data_format: channels last unless it starts with "NC".

    Raises:
        ShapeError: neither rank is known, or not 3, 4 or 5.
    """
    w = filter if filters is None else filters
    x, w = operands(input, w)
    rate = dilation_rate if dilations is None else dilations
    known = x.dims if x.dims is not None else w.dims
    if known is None or len(known) - 2 not in FAMILIES:
        raise ShapeError(
            f"convolution: needs an input of rank 3, 4 or 5, not {text(x.dims)}"
        )
    rank = len(known) - 2
    if data_format is not None:
        data_format = FORMATS[rank][data_format.startswith("NC")]
    return _forward(
        rank, x, w, strides, padding, data_format, rate, name or "convolution"
    )


# -- depthwise ------------------------------------------------------------------------


def depthwise_conv2d_native(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """y[n, p, c*m + j] = sum_k x[n, p*stride + k*dilation - lo, c] w[k, c, j].

    Args:
        input: (n, h, w, c); floating.
        filter: (kh, kw, c, m): m filters for each channel.
        strides, padding, data_format, dilations: as for :func:`conv2d`.

    Raises:
        ShapeError: ranks or channels do not fit, or the window does not.
    """
    attrs = conv_attrs(2, strides, padding, data_format, dilations)
    return create(
        DEPTHWISE.forward, operands(input, filter), attrs, name or "depthwise"
    )


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: Any = None,
    dilations: Any = None,
) -> Tensor:
    """:func:`depthwise_conv2d_native` with TF1's argument order; ``rate`` is the
    dilation, an int or (rh, rw)."""
    rate = rate if dilations is None else dilations
    return depthwise_conv2d_native(
        input, filter, strides, padding, data_format, rate, name
    )


def depthwise_conv2d_native_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of :func:`depthwise_conv2d_native` to an input of that shape."""
    attrs = conv_attrs(2, strides, padding, data_format, dilations)
    w, g = operands(filter, out_backprop)
    return create(DEPTHWISE.to_input, (_sizes(input_sizes), w, g), attrs, name)


def depthwise_conv2d_native_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of :func:`depthwise_conv2d_native` to a filter of that shape."""
    attrs = conv_attrs(2, strides, padding, data_format, dilations)
    x, g = operands(input, out_backprop)
    return create(DEPTHWISE.to_filter, (x, _sizes(filter_sizes), g), attrs, name)


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: Any = None,
    dilations: Any = None,
) -> Tensor:
    """:func:`depthwise_conv2d`, then a 1x1 :func:`conv2d` that mixes the channels.

    Args:
        depthwise_filter: (kh, kw, c, m).
        pointwise_filter: (1, 1, c * m, o).

    Raises:
        ShapeError: the filters do not fit each other or the input.
    """
    x, deep, point = operands(input, depthwise_filter, pointwise_filter)
    if point.dims is not None and (
        len(point.dims) != 4 or any(d not in (1, None) for d in point.dims[:2])
    ):
        raise ShapeError(
            f"separable_conv2d: the pointwise filter must be (1, 1, c * m, o), "
            f"not {text(point.dims)}"
        )
    with scope(name, "separable_conv2d", x) as whole:
        y = depthwise_conv2d(
            x, deep, strides, padding, rate, "depthwise", data_format, dilations
        )
        return conv2d(y, point, 1, "VALID", data_format=data_format, name=whole)
