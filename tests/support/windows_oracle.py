"""Convolutions and pools by plain loops over (output, tap, input) triples.

Nothing here is fast, and nothing is shared with the ops: padding is worked out
from TF's documentation, every position is visited one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = [
    "avg_pool",
    "conv",
    "conv_to_filter",
    "conv_to_input",
    "counts",
    "depthwise",
    "depthwise_to_filter",
    "depthwise_to_input",
    "max_pool",
    "max_pool_grad",
    "triples",
]


def before(size: int, reach: int, stride: int, padding: Any) -> tuple[int, int]:
    """(padding before, outputs) along one axis."""
    if padding == "SAME":
        outputs = (size + stride - 1) // stride
        total = max((outputs - 1) * stride + reach - size, 0)
        return total // 2, outputs
    lo, hi = (0, 0) if padding == "VALID" else padding
    return lo, (size + lo + hi - reach) // stride + 1


def axis_triples(
    size: int, taps: int, stride: int, dilation: int, padding: Any
) -> list[tuple[int, int, int]]:
    """(output, tap, input) along one axis, padding left out."""
    lo, outputs = before(size, (taps - 1) * dilation + 1, stride, padding)
    found = []
    for o in range(outputs):
        for k in range(taps):
            i = o * stride + k * dilation - lo
            if 0 <= i < size:
                found.append((o, k, i))
    return found


def _paddings(padding: Any, rank: int) -> list[Any]:
    return [padding] * rank if isinstance(padding, str) else list(padding)


def triples(
    sizes: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Any,
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """(outputs, taps, inputs) over all axes."""
    each = [
        axis_triples(*a)
        for a in zip(sizes, taps, strides, dilations, _paddings(padding, len(taps)))
    ]
    for chosen in itertools.product(*each):
        o, k, i = zip(*chosen)
        yield o, k, i


def counts(
    sizes: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Any,
) -> tuple[int, ...]:
    """Output sizes."""
    return tuple(
        before(s, (k - 1) * d + 1, a, p)[1]
        for s, k, a, d, p in zip(
            sizes, taps, strides, dilations, _paddings(padding, len(taps))
        )
    )


def last(x: Any, first: bool) -> Any:
    """``x`` with channels last."""
    return np.moveaxis(x, 1, -1) if first else x


def back(x: Any, first: bool) -> Any:
    """The inverse of :func:`last`."""
    return np.moveaxis(x, -1, 1) if first else x


def conv(
    x: Any, w: Any, strides: Any, dilations: Any, padding: Any, first: bool = False
) -> Any:
    """The convolution."""
    x = last(x, first)
    how = (x.shape[1:-1], w.shape[:-2], strides, dilations, padding)
    y = np.zeros((x.shape[0], *counts(*how), w.shape[-1]), x.dtype)
    for o, k, i in triples(*how):
        y[(slice(None), *o)] += x[(slice(None), *i)] @ w[k]
    return back(y, first)


def conv_to_input(
    shape: Any, w: Any, g: Any, strides: Any, dilations: Any, padding: Any, first: bool
) -> Any:
    """Its gradient to the input."""
    g = last(g, first)
    dx = last(np.zeros(shape, g.dtype), first)
    how = (dx.shape[1:-1], w.shape[:-2], strides, dilations, padding)
    for o, k, i in triples(*how):
        dx[(slice(None), *i)] += g[(slice(None), *o)] @ w[k].T
    return back(dx, first)


def conv_to_filter(
    x: Any, shape: Any, g: Any, strides: Any, dilations: Any, padding: Any, first: bool
) -> Any:
    """Its gradient to the filter."""
    x, g = last(x, first), last(g, first)
    dw = np.zeros(shape, x.dtype)
    how = (x.shape[1:-1], dw.shape[:-2], strides, dilations, padding)
    for o, k, i in triples(*how):
        dw[k] += x[(slice(None), *i)].T @ g[(slice(None), *o)]
    return dw


def depthwise(
    x: Any, w: Any, strides: Any, dilations: Any, padding: Any, first: bool = False
) -> Any:
    """y[n, o, c*m + j] = sum_k x[n, i, c] w[k, c, j], m the multiplier."""
    x = last(x, first)
    how = (x.shape[1:-1], w.shape[:-2], strides, dilations, padding)
    y = np.zeros((x.shape[0], *counts(*how), *w.shape[-2:]), x.dtype)
    for o, k, i in triples(*how):
        y[(slice(None), *o)] += x[(slice(None), *i)][..., None] * w[k]
    return back(y.reshape(*y.shape[:-2], -1), first)


def depthwise_to_input(
    shape: Any, w: Any, g: Any, strides: Any, dilations: Any, padding: Any, first: bool
) -> Any:
    """Its gradient to the input."""
    g = last(g, first)
    g = g.reshape(*g.shape[:-1], *w.shape[-2:])
    dx = last(np.zeros(shape, g.dtype), first)
    how = (dx.shape[1:-1], w.shape[:-2], strides, dilations, padding)
    for o, k, i in triples(*how):
        dx[(slice(None), *i)] += (g[(slice(None), *o)] * w[k]).sum(-1)
    return back(dx, first)


def depthwise_to_filter(
    x: Any, shape: Any, g: Any, strides: Any, dilations: Any, padding: Any, first: bool
) -> Any:
    """Its gradient to the filter."""
    x, g = last(x, first), last(g, first)
    g = g.reshape(*g.shape[:-1], *shape[-2:])
    dw = np.zeros(shape, x.dtype)
    how = (x.shape[1:-1], dw.shape[:-2], strides, dilations, padding)
    for o, k, i in triples(*how):
        dw[k] += (x[(slice(None), *i)][..., None] * g[(slice(None), *o)]).sum(0)
    return dw


# -- pools: windows over every axis of the array -------------------------------------


def _windows(x: Any, ksize: Any, strides: Any, padding: Any) -> dict[Any, list[Any]]:
    """The inputs of each output, in row-major order of the taps."""
    found: dict[Any, list[Any]] = {}
    for o, _, i in triples(x.shape, ksize, strides, [1] * x.ndim, padding):
        found.setdefault(o, []).append(i)
    return found


def max_pool(x: Any, ksize: Any, strides: Any, padding: Any) -> Any:
    """The largest input of each window."""
    y = np.zeros(counts(x.shape, ksize, strides, [1] * x.ndim, padding), x.dtype)
    for o, inputs in _windows(x, ksize, strides, padding).items():
        y[o] = max(x[i] for i in inputs)
    return y


def max_pool_grad(x: Any, g: Any, ksize: Any, strides: Any, padding: Any) -> Any:
    """The cotangent, given to the first largest input of each window."""
    dx = np.zeros_like(x)
    for o, inputs in _windows(x, ksize, strides, padding).items():
        dx[max(inputs, key=lambda i: x[i])] += g[o]
    return dx


def avg_pool(
    x: Any, ksize: Any, strides: Any, padding: Any, include_padding: bool = False
) -> Any:
    """The mean of each window, of the inputs that are no padding."""
    y = np.zeros(counts(x.shape, ksize, strides, [1] * x.ndim, padding), x.dtype)
    for o, inputs in _windows(x, ksize, strides, padding).items():
        n = int(np.prod(ksize)) if include_padding else len(inputs)
        y[o] = sum(x[i] for i in inputs) / n
    return y
