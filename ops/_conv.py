"""The convolution ops of 1, 2 and 3 spatial axes, and their gradients as ops.

Conv, ConvBackpropInput and ConvBackpropFilter are bilinear, and each one's
derivative is made of the other two, so derivatives of every order exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from ..graphlib.errors import ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import Dims, merge, text
from ..graphlib.tensor import Tensor, known_dims
from . import _depthwise, _im2col, _nests
from ._build import create, shape_tensor
from ._calls import Call, ready
from ._jets import bilinear
from ._kinds import iterator_buffers, require
from ._later import batch_window
from ._windows import output_size
from .core import add_n

__all__ = [
    "DEPTHWISE",
    "FAMILIES",
    "FORMATS",
    "geometry",
    "joined",
    "split",
    "window_sizes",
]

#: Data formats by spatial rank: channels last (the default), channels first.
FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}

Attrs = Mapping[str, Any]


def geometry(attrs: Attrs) -> _im2col.Geometry:
    """The attrs as the kernels take them."""
    return _im2col.Geometry(
        attrs["strides"],
        attrs["dilations"],
        attrs["padding"],
        attrs["data_format"][1] == "C",
    )


def split(dims: Dims, data_format: str, rank: int) -> tuple[Any, tuple[Any, ...], Any]:
    """(batch, spatial sizes, channels) of a shape, unknown where it is.

    Raises:
        ShapeError: the rank is known and not that of ``data_format``.
    """
    if dims is None:
        return None, (None,) * rank, None
    if len(dims) != rank + 2:
        raise ShapeError(
            f"takes tensors of rank {rank + 2} ({data_format}), not of shape "
            f"{text(dims)}"
        )
    if data_format[1] == "C":
        return dims[0], dims[2:], dims[1]
    return dims[0], dims[1:-1], dims[-1]


def joined(batch: Any, spatial: Sequence[Any], channels: Any, data_format: str) -> Dims:
    """The inverse of :func:`split`."""
    if data_format[1] == "C":
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)


def window_sizes(
    sizes: Sequence[int | None], taps: Sequence[int | None], attrs: Attrs
) -> tuple[int | None, ...]:
    """Output sizes of windows over ``sizes``."""
    padding = attrs["padding"]
    return tuple(
        output_size(s, k, a, b, padding if isinstance(padding, str) else padding[i])
        for i, (s, k, a, b) in enumerate(
            zip(sizes, taps, attrs["strides"], attrs["dilations"])
        )
    )


def filter_dims(w: Any, rank: int) -> tuple[int | None, ...]:
    """The filter's shape.

    Raises:
        ShapeError: its rank is known and wrong.
    """
    dims = w.dims if w.dims is not None else (None,) * (rank + 2)
    if len(dims) != rank + 2:
        raise ShapeError(
            f"takes a filter of rank {rank + 2} (sizes, in, out), not of shape "
            f"{text(dims)}"
        )
    return dims


class Family(NamedTuple):
    """The three ops of one spatial rank."""

    rank: int
    forward: OpDef
    to_input: OpDef
    to_filter: OpDef


def _family(rank: int, types: tuple[str, str, str], kernels: Any) -> Family:
    """The ops of one rank; ``kernels`` is ``_im2col`` or ``_depthwise``."""
    depthwise = kernels is _depthwise

    def outputs_of(own: Sequence[int | None]) -> int | None:
        """The channels that a filter gives."""
        if not depthwise or own[-1] is None:
            return own[-1]
        return None if own[-2] is None else own[-2] * own[-1]

    def infer(inputs: Sequence[Any], attrs: Attrs) -> Any:
        x, w = inputs
        require(inputs, "f")
        form = attrs["data_format"]
        batch, sizes, channels = split(x.dims, form, rank)
        own = filter_dims(w, rank)
        if channels is not None and own[-2] is not None and channels != own[-2]:
            raise ShapeError(
                f"the input has {channels} channels ({form} {text(x.dims)}), "
                f"the filter takes {own[-2]} ({text(own)})"
            )
        counts = window_sizes(sizes, own[:-2], attrs)
        return ((x.dtype, joined(batch, counts, outputs_of(own), form)),)

    def infer_input(inputs: Sequence[Any], attrs: Attrs) -> Any:
        sizes, w, g = inputs
        require((w, g), "f")
        form = attrs["data_format"]
        own = filter_dims(w, rank)
        batch, counts, channels = split(g.dims, form, rank)
        given = outputs_of(own)
        if channels is not None and given is not None and channels != given:
            raise ShapeError(
                f"the cotangent {text(g.dims)} has {channels} channels, the filter "
                f"{text(own)} gives {given}"
            )
        dims = merge(known_dims(sizes), joined(batch, (None,) * rank, own[-2], form))
        _check_counts(dims, own, counts, attrs, rank)
        return ((g.dtype, dims),)

    def infer_filter(inputs: Sequence[Any], attrs: Attrs) -> Any:
        x, sizes, g = inputs
        require((x, g), "f")
        form = attrs["data_format"]
        batch, _, channels = split(x.dims, form, rank)
        other, counts, outputs = split(g.dims, form, rank)
        if batch is not None and other is not None and batch != other:
            raise ShapeError(f"batches differ: {text(x.dims)}, {text(g.dims)}")
        if depthwise:
            outputs = outputs // channels if channels and outputs is not None else None
        dims = merge(known_dims(sizes), ((None,) * rank + (channels, outputs)))
        if dims is not None:
            _check_counts(x.dims, dims, counts, attrs, rank)
        return ((g.dtype, dims),)

    def kernel(
        xp: Any, x: Any, w: Any, out: Any = None, work: Any = None, **attrs: Any
    ) -> Any:
        return kernels.convolve(x, w, geometry(attrs), out, work)

    def input_kernel(
        xp: Any,
        sizes: Any,
        w: Any,
        g: Any,
        out: Any = None,
        work: Any = None,
        **attrs: Any,
    ) -> Any:
        return kernels.input_gradient(
            tuple(map(int, sizes)), w, g, geometry(attrs), out, work
        )

    def filter_kernel(
        xp: Any,
        x: Any,
        sizes: Any,
        g: Any,
        out: Any = None,
        work: Any = None,
        **attrs: Any,
    ) -> Any:
        shape = tuple(map(int, sizes))
        return kernels.filter_gradient(x, shape, g, geometry(attrs), out, work)

    def workspace(ins: Any, outs: Any, attrs: Attrs) -> Any:
        x, w = ins
        item = x.dtype.dtype
        need = kernels.convolve_workspace(
            x.dims, w.dims, geometry(attrs), item.itemsize
        )
        return [(item, (n,)) for n in need]

    def input_workspace(ins: Any, outs: Any, attrs: Attrs) -> Any:
        item = ins[2].dtype.dtype
        need = kernels.input_workspace(
            outs[0].dims, ins[1].dims, geometry(attrs), item.itemsize
        )
        return [(item, (n,)) for n in need]

    def filter_workspace(ins: Any, outs: Any, attrs: Attrs) -> Any:
        item = ins[2].dtype.dtype
        need = kernels.filter_workspace(
            ins[0].dims, outs[0].dims, geometry(attrs), item.itemsize
        )
        return [(item, (n,)) for n in need]

    def settled(build: Any, unread: int | None = None) -> Any:
        """The calls of a kernel, ready; input ``unread`` holds sizes only."""
        if depthwise:
            return None

        def calls(*given: Any) -> list[Call]:
            *arrays, out, work, attrs = given
            if unread is not None:
                del arrays[unread]
            found: list[Call] = []
            build(*arrays, geometry(attrs), out, work, found)
            return found

        return ready(calls)

    def nest(found: Any, at: tuple[int, int]) -> Any:
        """What native code computes, from the shapes of two inputs or outputs."""
        if depthwise:
            return None

        def of(ins: Any, outs: Any, attrs: Attrs) -> Any:
            both = (*ins, *outs)
            x, w = (both[i] for i in at)
            return found(x.dims, w.dims, geometry(attrs), outs[0].dtype.dtype)

        return of

    deep = -2 if depthwise else -1
    forward = OpDef(
        types[0],
        infer=infer,
        kernel=kernel,
        inputs=("input", "filter"),
        vjp=(
            lambda op, g: build_input(shape_tensor(op.inputs[0]), op.inputs[1], g, op),
            lambda op, g: build_filter(op.inputs[0], shape_tensor(op.inputs[1]), g, op),
        ),
        jvp=lambda op, tx, tw: _add(
            tx is not None and build(tx, op.inputs[1], op),
            tw is not None and build(op.inputs[0], tw, op),
        ),
        jet=bilinear(0, 1),
        writes_out=True,
        workspace=workspace,
        settle=settled(_im2col.convolve_calls),
        nest=nest(_nests.correlation_nest, (0, 1)),
        flops=lambda ins, outs, attrs: _flops(outs[0].dims, ins[1].dims, deep),
        batch=batch_window.depthwise("forward")
        if depthwise
        else batch_window.convolution,
        doc=kernels.convolve.__doc__.splitlines()[0],
    )
    backward = OpDef(
        types[1],
        infer=infer_input,
        kernel=input_kernel,
        inputs=("input_sizes", "filter", "out_backprop"),
        vjp=(
            None,
            lambda op, h: build_filter(h, shape_tensor(op.inputs[1]), op.inputs[2], op),
            lambda op, h: build(h, op.inputs[1], op),
        ),
        jvp=lambda op, _, tw, tg: _add(
            tw is not None and build_input(op.inputs[0], tw, op.inputs[2], op),
            tg is not None and build_input(op.inputs[0], op.inputs[1], tg, op),
        ),
        jet=bilinear(1, 2),
        writes_out=True,
        transient=iterator_buffers(2),
        workspace=input_workspace,
        settle=settled(_im2col.input_calls, 0),
        nest=nest(_nests.input_nest, (3, 1)),
        flops=lambda ins, outs, attrs: _flops(ins[2].dims, ins[1].dims, deep),
        batch=batch_window.depthwise("input")
        if depthwise
        else batch_window.convolution_to_input,
        doc="the transpose of the convolution in its input",
    )
    weights = OpDef(
        types[2],
        infer=infer_filter,
        kernel=filter_kernel,
        inputs=("input", "filter_sizes", "out_backprop"),
        vjp=(
            lambda op, h: build_input(shape_tensor(op.inputs[0]), h, op.inputs[2], op),
            None,
            lambda op, h: build(op.inputs[0], h, op),
        ),
        jvp=lambda op, tx, _, tg: _add(
            tx is not None and build_filter(tx, op.inputs[1], op.inputs[2], op),
            tg is not None and build_filter(op.inputs[0], op.inputs[1], tg, op),
        ),
        jet=bilinear(0, 2),
        writes_out=True,
        workspace=filter_workspace,
        settle=settled(_im2col.filter_calls, 1),
        nest=nest(_nests.filter_nest, (0, 3)),
        flops=lambda ins, outs, attrs: _flops(ins[2].dims, outs[0].dims, deep),
        batch=batch_window.depthwise("filter")
        if depthwise
        else batch_window.convolution_to_filter,
        doc="the transpose of the convolution in its filter",
    )

    def build(x: Tensor, w: Tensor, like: Operation) -> Tensor:
        return create(forward, (x, w), dict(like.attrs))

    def build_input(sizes: Tensor, w: Tensor, g: Tensor, like: Operation) -> Tensor:
        return create(backward, (sizes, w, g), dict(like.attrs))

    def build_filter(x: Tensor, sizes: Tensor, g: Tensor, like: Operation) -> Tensor:
        return create(weights, (x, sizes, g), dict(like.attrs))

    return Family(rank, forward, backward, weights)


def _add(*terms: Any) -> Tensor:
    """The sum of the tangents' terms; those of zero tangents are False."""
    return add_n([t for t in terms if t is not False])


def _flops(y: Dims, w: Dims, deep: int) -> int:
    w = w or (0,)
    return 2 * prod(d or 0 for d in y or ()) * prod(d or 0 for d in w[:deep])


def _check_counts(
    x: Dims, w: Dims, counts: Sequence[int | None], attrs: Attrs, rank: int
) -> None:
    """The cotangent must have the sizes that the convolution gives."""
    _, sizes, _ = split(x, attrs["data_format"], rank)
    taps = (None,) * rank if w is None else w[:-2]
    expected = window_sizes(sizes, taps, attrs)
    for e, c in zip(expected, counts):
        if e is not None and c is not None and e != c:
            raise ShapeError(
                f"the cotangent has spatial sizes {text(tuple(counts))}, but the "
                f"convolution of sizes {text(tuple(sizes))} gives {text(expected)}"
            )


def _types(name: str, backprop: str, version: str = "") -> tuple[str, str, str]:
    return name, f"{backprop}Input{version}", f"{backprop}Filter{version}"


FAMILIES = {
    1: _family(1, _types("Conv1D", "Conv1DBackprop"), _im2col),
    2: _family(2, _types("Conv2D", "Conv2DBackprop"), _im2col),
    3: _family(3, _types("Conv3D", "Conv3DBackprop", "V2"), _im2col),
}

_NATIVE = "DepthwiseConv2dNative"
DEPTHWISE = _family(2, _types(_NATIVE, f"{_NATIVE}Backprop"), _depthwise)
