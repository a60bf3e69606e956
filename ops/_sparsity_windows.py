"""Dependence through sliding windows and channels: convolutions, pools, biases.

Output position o and input position i meet where the window's geometry pairs
them (``_windows.tap_views``); the same pairs, read the other way, serve the
transposed ops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from ..graphlib.operation import Operation
from ._known import Known, dims_of
from ._pattern import Pattern, unite
from ._sparsity_rules import MOST_ENTRIES, Deps, Rule, labelled
from ._windows import Axis, make_axes, tap_views

__all__ = ["RULES"]


def _pairs(axes: Sequence[Axis]) -> Iterator[tuple[tuple[int, ...], Any, Any]]:
    """(tap, output positions, input positions), flattened, for every tap."""
    sizes = [a.size for a in axes]
    counts = [a.outputs for a in axes]
    inputs = np.arange(prod(sizes)).reshape(sizes)
    outputs = np.arange(prod(counts)).reshape(counts)
    for tap, outs, ins in tap_views(axes):
        yield tap, outputs[outs].reshape(-1), inputs[ins].reshape(-1)


# -- pools -----------------------------------------------------------------------------


def _pool(data: int, back: bool) -> Rule:
    def rule(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
        p = deps[data]
        image = op.outputs[0] if back else op.inputs[0]
        dims, attrs = dims_of(image), op.attrs
        padding = attrs["padding"]
        axes = make_axes(
            dims[1:],
            attrs["ksize"][1:],
            attrs["strides"][1:],
            attrs["dilations"][1:],
            padding if isinstance(padding, str) else padding[1:],
        )
        pairs = [(outs, ins) for _, outs, ins in _pairs(axes)]
        outs = np.concatenate([o for o, _ in pairs] or [np.zeros(0, np.int64)])
        ins = np.concatenate([i for _, i in pairs] or [np.zeros(0, np.int64)])
        images = np.arange(dims[0])[:, None]
        windows = (images * prod(a.outputs for a in axes) + outs).reshape(-1)
        places = (images * prod(dims[1:]) + ins).reshape(-1)
        assert p is not None
        if back:
            return [p.after(places, windows, prod(dims))]
        m = dims[0] * prod(a.outputs for a in axes)
        return [p.after(windows, places, m)] * len(op.outputs)

    return rule


# -- channels --------------------------------------------------------------------------


def _channel_labels(dims: Sequence[int], data_format: str) -> Any:
    """The channel of each element; a vector has one element per channel."""
    if len(dims) == 1:
        return np.arange(dims[0])
    first = data_format[1] == "C"
    shape = [1] * len(dims)
    axis = 1 if first else len(dims) - 1
    shape[axis] = dims[axis]
    return np.broadcast_to(np.arange(dims[axis]).reshape(shape), dims).reshape(-1)


def _by_channel(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Outputs depend on everything in their channel."""
    form = op.attrs["data_format"]
    labels = [_channel_labels(dims_of(t), form) for t in op.inputs]
    outs = [_channel_labels(dims_of(t), form) for t in op.outputs]
    count = 1 + max((int(a.max(initial=0)) for a in labels), default=0)
    return labelled(deps, labels, outs, count)


def _bias_add(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    value, bias = deps
    parts = [] if value is None else [value]
    if bias is not None:
        dims = dims_of(op.outputs[0])
        parts.append(bias.take(_channel_labels(dims, op.attrs["data_format"])))
    return [unite(parts)]


# -- convolutions ----------------------------------------------------------------------


class _Geometry:
    """Positions and channels of one convolution.

    Attributes:
        filter: (taps..., channels in, channels out of each).
        depthwise: whether each channel has its own outputs.
        form: the data format.
        axes: the window along each spatial axis.
    """

    def __init__(self, op: Operation, image: Any, taps: Sequence[int]) -> None:
        self.depthwise = op.type.startswith("Depthwise")
        self.form = op.attrs["data_format"]
        self.filter = tuple(taps)
        first = self.form[1] == "C"
        dims = dims_of(image)
        self.batch = dims[0]
        sizes = dims[2:] if first else dims[1:-1]
        attrs = op.attrs
        self.axes = make_axes(
            tuple(sizes),
            self.filter[:-2],
            attrs["strides"],
            attrs["dilations"],
            attrs["padding"],
        )
        self.channels_in = self.filter[-2]
        self.channels_out = self.filter[-1]
        if self.depthwise:
            self.channels_out *= self.channels_in

    def image(self) -> Any:
        """(batch, input position, channel) -> element number."""
        return self._numbers([a.size for a in self.axes], self.channels_in)

    def windows(self) -> Any:
        """(batch, output position, channel) -> element number."""
        return self._numbers([a.outputs for a in self.axes], self.channels_out)

    def _numbers(self, sizes: Sequence[int], channels: int) -> Any:
        if self.form[1] == "C":
            numbers = np.arange(self.batch * channels * prod(sizes))
            numbers = numbers.reshape(self.batch, channels, *sizes)
            numbers = np.moveaxis(numbers, 1, -1)
        else:
            numbers = np.arange(self.batch * prod(sizes) * channels)
        return numbers.reshape(self.batch, prod(sizes), channels)

    def connect(self, p: Pattern, weights: Any, back: bool) -> Pattern:
        """From the image to the windows, or ``back``."""
        rows, cols = self.windows(), self.image()
        if back:
            rows, cols = cols, rows
        exact = None
        if weights is not None and not np.all(weights):
            exact = self._exact(weights)
        if exact is not None:
            outs, ins = exact
            return p.after(*((ins, outs) if back else (outs, ins)), rows.size)
        # All channels (of one group) behave alike: join them, connect, spread.
        groups = self.channels_in if self.depthwise else 1
        joined, count = _grouped(cols, groups)
        spread, m = _grouped(rows, groups)
        pairs = list(_pairs(self.axes))
        outs = np.concatenate([o for _, o, _ in pairs] or [np.zeros(0, np.int64)])
        ins = np.concatenate([i for _, _, i in pairs] or [np.zeros(0, np.int64)])
        if back:
            outs, ins = ins, outs
        n = np.arange(self.batch)[:, None, None]
        g = np.arange(groups)
        to = (n * rows.shape[1] + outs[:, None]) * groups + g
        source = (n * cols.shape[1] + ins[:, None]) * groups + g
        part = p.grouped(joined, count).after(to.reshape(-1), source.reshape(-1), m)
        return part.take(spread)

    def _exact(self, weights: Any) -> tuple[Any, Any] | None:
        """(output element, input element) for each nonzero weight."""
        image, windows = self.image(), self.windows()
        nonzero = np.count_nonzero(weights)
        if nonzero * self.batch * windows.shape[1] > MOST_ENTRIES:
            return None
        outs, ins = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for tap, o, i in _pairs(self.axes):
            source, to = np.nonzero(weights[tap])
            if self.depthwise:
                to = source * self.filter[-1] + to
            outs.append(windows[:, o[:, None], to].reshape(-1))
            ins.append(image[:, i[:, None], source].reshape(-1))
        return np.concatenate(outs), np.concatenate(ins)

    def by_output(self, numbers: Any) -> Any:
        """The output channel of each element of the filter or of the windows."""
        return numbers % max(self.channels_out, 1)

    def filter_inputs(self) -> Any:
        """The input channel of each element of the filter."""
        return (
            np.arange(prod(self.filter))
            // max(self.filter[-1], 1)
            % max(self.channels_in, 1)
        )

    def filter_outputs(self) -> Any:
        """The output channel of each element of the filter."""
        return np.arange(prod(self.filter)) % max(self.channels_out, 1)


def _grouped(numbers: Any, groups: int) -> tuple[Any, int]:
    """Labels of elements by (batch, position, group), and how many there are."""
    batch, positions, channels = numbers.shape
    labels = np.empty(numbers.size, np.int64)
    group = np.arange(channels) // max(1, channels // max(groups, 1))
    place = np.arange(batch * positions).reshape(batch, positions, 1)
    labels[numbers] = place * groups + group
    return labels, batch * positions * groups


def _convolve(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    x, w = op.inputs
    geometry = _Geometry(op, x, dims_of(w))
    parts = []
    if deps[0] is not None:
        parts.append(geometry.connect(deps[0], known.nonzero(w), back=False))
    if deps[1] is not None:
        own = geometry.filter_outputs()
        out = _channel_labels(dims_of(op.outputs[0]), geometry.form)
        parts += labelled(deps[1:], [own], [out], geometry.channels_out)  # type: ignore[arg-type]
    return [unite(parts)]


def _to_input(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    w = op.inputs[1]
    geometry = _Geometry(op, op.outputs[0], dims_of(w))
    parts = []
    if deps[2] is not None:
        parts.append(geometry.connect(deps[2], known.nonzero(w), back=True))
    if deps[1] is not None:
        own = geometry.filter_inputs()
        out = _channel_labels(dims_of(op.outputs[0]), geometry.form)
        parts += labelled(deps[1:2], [own], [out], geometry.channels_in)  # type: ignore[arg-type]
    return [unite(parts)]


def _to_filter(op: Operation, deps: Deps, known: Known) -> list[Pattern | None]:
    """Each weight's cotangent sees its two channels, at all positions."""
    x, _, g = op.inputs
    geometry = _Geometry(op, x, dims_of(op.outputs[0]))
    parts = []
    if deps[0] is not None:
        own = _channel_labels(dims_of(x), geometry.form)
        out = geometry.filter_inputs()
        parts += labelled(deps[:1], [own], [out], geometry.channels_in)
    if deps[2] is not None:
        own = _channel_labels(dims_of(g), geometry.form)
        out = geometry.filter_outputs()
        parts += labelled(deps[2:], [own], [out], geometry.channels_out)
    return [unite([p for p in parts if p is not None])]


RULES: dict[str, Rule] = {
    "AvgPool": _pool(0, back=False),
    "AvgPoolGrad": _pool(1, back=True),
    "MaxPool": _pool(0, back=False),
    "MaxPoolGrad": _pool(2, back=True),
    "MaxPoolGradGrad": _pool(2, back=False),
    "MaxPoolWithArgmax": _pool(0, back=False),
    "BiasAdd": _bias_add,
    "BiasAddGrad": _by_channel,
    "FusedBatchNorm": _by_channel,
    "FusedBatchNormGrad": _by_channel,
    **{
        name: rule
        for kind, version in (
            ("Conv1D", ""),
            ("Conv2D", ""),
            ("Conv3D", "V2"),
            ("DepthwiseConv2dNative", ""),
        )
        for name, rule in (
            (kind, _convolve),
            (f"{kind}BackpropInput{version}", _to_input),
            (f"{kind}BackpropFilter{version}", _to_filter),
        )
    },
}
