"""Borders: pad with a constant or a mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import cast_checked, create, numeric_array, shape_tensor
from ._later import batch
from ._static import (
    integers,
    is_symbolic,
)
from .slicing import slice_
from .views import no_flops

__all__ = ["pad"]


def _known_pads(paddings: Any) -> Any:
    """The paddings as a list of (before, after), or None."""
    if not isinstance(paddings.value, np.ndarray):
        return None
    return paddings.value.reshape(-1, 2).tolist()


def _check_pads(dims: Dims, pads: Any, mode: str) -> None:
    if dims is not None and len(pads) != len(dims):
        raise ShapeError(f"{len(pads)} pairs of paddings for shape {text(dims)}")
    least = 1 if mode == "REFLECT" else 0
    for i, (a, b) in enumerate(pads):
        if a < 0 or b < 0:
            raise ShapeError(f"paddings {[a, b]} of axis {i} must be >= 0")
        d = None if dims is None else dims[i]
        if mode != "CONSTANT" and d is not None and max(a, b) > max(d - least, 0):
            raise ShapeError(
                f"mode {mode} cannot pad axis {i} of size {d} by {max(a, b)}: "
                f"at most {max(d - least, 0)}"
            )


def _infer_pad(inputs: Sequence[Any], attrs: Any) -> Any:
    x, paddings = inputs[:2]
    if paddings.dims is not None and (
        len(paddings.dims) != 2 or paddings.dims[1] not in (2, None)
    ):
        raise ShapeError(f"paddings must have shape (n, 2), not {text(paddings.dims)}")
    if len(inputs) > 2 and inputs[2].dtype is not x.dtype:
        raise DTypeError(
            f"the padding value is {inputs[2].dtype.name}, x is {x.dtype.name}"
        )
    pads = _known_pads(paddings)
    if pads is None:
        rank = None if x.dims is None else len(x.dims)
        if rank is None and paddings.dims is not None:
            rank = paddings.dims[0]
        return ((x.dtype, None if rank is None else (None,) * rank),)
    _check_pads(x.dims, pads, attrs["mode"])
    dims = x.dims or (None,) * len(pads)
    padded = tuple(None if d is None else d + a + b for d, (a, b) in zip(dims, pads))
    return ((x.dtype, padded),)


def _checked_pads(paddings: Any, dims: Any, mode: str) -> Any:
    pads = paddings.reshape(-1, 2).tolist()
    try:
        _check_pads(dims, pads, mode)
    except ShapeError as error:
        raise InvalidArgumentError(error.message) from None
    return pads


def _inside(dims: Any, pads: Any) -> Any:
    return (*(slice(a, a + d) for d, (a, _) in zip(dims, pads)), ...)


def _borders(dims: Any, pads: Any) -> list[Any]:
    """Keys of slabs that make up the border."""
    keys: list[Any] = []
    for k, (d, (a, b)) in enumerate(zip(dims, pads)):
        lead = tuple(slice(p, p + n) for n, (p, _) in zip(dims[:k], pads))
        if a:
            keys.append((*lead, slice(0, a), ...))
        if b:
            keys.append((*lead, slice(a + d, a + d + b), ...))
    return keys


def _pad_kernel(
    xp: Any,
    x: Any,
    paddings: Any,
    constant: Any = None,
    *,
    mode: str,
    value: Any,
    out: Any = None,
) -> Any:
    pads = _checked_pads(paddings, x.shape, mode)
    if out is None:
        dims = tuple(a + d + b for d, (a, b) in zip(x.shape, pads))
        out = xp.empty(dims, x.dtype)
    fill = value if constant is None else constant
    for key in _borders(x.shape, pads):
        out[key] = fill
    out[_inside(x.shape, pads)] = x
    return out


def _bind_pad(attrs: Any, inputs: Any, outputs: Any) -> Any:
    pads = _known_pads(inputs[1])
    if pads is None or len(inputs) > 2:
        return None
    dims, value = inputs[0].dims, attrs["value"]
    borders, inside = _borders(dims, pads), _inside(dims, pads)

    def run(x: Any, paddings: Any, out: Any) -> Any:
        for key in borders:
            out[key] = value
        out[inside] = x
        return out

    return run


def _pad_rule(op: Operation, g: Tensor) -> Tensor:
    from .indexing import getitem

    x = op.inputs[0]
    begin = getitem(op.inputs[1], (slice(None), 0))
    y = slice_(g, begin, shape_tensor(x))
    y.set_shape(x.dims)
    return y


def _pad_value_rule(op: Operation, g: Tensor) -> Tensor:
    from .reduction import reduce_sum

    y: Tensor = TABLE["sub"](reduce_sum(g), reduce_sum(_pad_rule(op, g)))
    return y


def _pad_jvp(op: Operation, t: Tensor | None, *more: Tensor | None) -> Tensor:
    x, paddings = op.inputs[:2]
    t = TABLE["zeros_like"](x) if t is None else t
    attrs = dict(op.attrs)
    if len(more) > 1 and more[1] is not None:
        return create(PAD, (t, paddings, more[1]), attrs)
    attrs["value"] = np.zeros((), x.dtype.dtype)
    return create(PAD, (t, paddings), attrs)


PAD: OpDef = OpDef(
    "Pad",
    infer=_infer_pad,
    kernel=_pad_kernel,
    inputs=("tensor", "paddings", "*constant_values"),
    linear=True,
    vjp=lambda op, g: [
        _pad_rule(op, g),
        None,
        *([_pad_value_rule(op, g)] if len(op.inputs) > 2 else []),
    ],
    jvp=_pad_jvp,
    writes_out=True,
    bind=_bind_pad,
    flops=no_flops,
    batch=batch.padded,
    doc="x with borders of a constant",
)


def _mirrors(dims: Any, pads: Any, mode: str) -> list[Any]:
    """(border key, source key) pairs in the order in which they can be copied."""
    skip = 1 if mode == "REFLECT" else 0
    steps: list[Any] = []
    for k, (d, (a, b)) in enumerate(zip(dims, pads)):
        lead = (slice(None),) * k
        rest = tuple(slice(p, p + n) for n, (p, _) in zip(dims[k + 1 :], pads[k + 1 :]))
        end = a + d
        if a:
            first = a + skip
            source = slice(first + a - 1, first - 1 if first else None, -1)
            steps.append(((*lead, slice(0, a), *rest), (*lead, source, *rest)))
        if b:
            last = end - skip
            stop = last - b - 1
            source = slice(last - 1, stop if stop >= 0 else None, -1)
            steps.append(((*lead, slice(end, end + b), *rest), (*lead, source, *rest)))
    return steps


def _mirror_kernel(
    xp: Any, x: Any, paddings: Any, *, mode: str, out: Any = None
) -> Any:
    pads = _checked_pads(paddings, x.shape, mode)
    if out is None:
        out = xp.empty(tuple(a + d + b for d, (a, b) in zip(x.shape, pads)), x.dtype)
    out[_inside(x.shape, pads)] = x
    for border, source in _mirrors(x.shape, pads, mode):
        out[border] = out[source]
    return out


def _mirror_grad_kernel(
    xp: Any, g: Any, paddings: Any, *, mode: str, out: Any = None, work: Any = None
) -> Any:
    pads = paddings.reshape(-1, 2).tolist()
    dims = tuple(n - a - b for n, (a, b) in zip(g.shape, pads))
    folded = xp.empty(g.shape, g.dtype) if work is None else work[0]
    xp.copyto(folded, g)
    for border, source in reversed(_mirrors(dims, pads, mode)):
        target = folded[source]
        xp.add(target, folded[border], target)
    if out is None:
        return folded[_inside(dims, pads)].copy()
    out[...] = folded[_inside(dims, pads)]
    return out


def _infer_mirror_grad(inputs: Sequence[Any], attrs: Any) -> Any:
    g, paddings = inputs
    pads = _known_pads(paddings)
    if g.dims is None or pads is None:
        return ((g.dtype, None if g.dims is None else (None,) * len(g.dims)),)
    dims = tuple(None if n is None else n - a - b for n, (a, b) in zip(g.dims, pads))
    return ((g.dtype, dims),)


def _mirror_rule(op: Operation, g: Tensor) -> Tensor:
    y = create(MIRROR_PAD_GRAD, (g, op.inputs[1]), dict(op.attrs))
    y.set_shape(op.inputs[0].dims)
    return y


MIRROR_PAD: OpDef = OpDef(
    "MirrorPad",
    infer=_infer_pad,
    kernel=_mirror_kernel,
    inputs=("input", "paddings"),
    linear=True,
    vjp=(_mirror_rule, None),
    jvp=lambda op, t, _: create(MIRROR_PAD, (t, op.inputs[1]), dict(op.attrs)),
    writes_out=True,
    flops=no_flops,
    batch=batch.padded,
    doc="x with borders that mirror it",
)
MIRROR_PAD_GRAD: OpDef = OpDef(
    "MirrorPadGrad",
    infer=_infer_mirror_grad,
    kernel=_mirror_grad_kernel,
    inputs=("g", "paddings"),
    linear=True,
    vjp=(
        lambda op, gg: create(MIRROR_PAD, (gg, op.inputs[1]), dict(op.attrs)),
        None,
    ),
    jvp=lambda op, t, _: create(MIRROR_PAD_GRAD, (t, op.inputs[1]), dict(op.attrs)),
    writes_out=True,
    workspace=lambda ins, outs, attrs: [(ins[0].dtype.dtype, ins[0].dims)],
    batch=batch.padded,
    doc="the mirrored borders folded back: the transpose of MirrorPad",
)


def pad(
    tensor: Any,
    paddings: Any,
    mode: str = "CONSTANT",
    name: str | None = None,
    constant_values: Any = 0,
) -> Tensor:
    """``tensor`` with ``paddings[k] = (before, after)`` elements more on axis k.

    Args:
        tensor: any shape (rank n) and dtype.
        paddings: (n, 2) integers >= 0.
        mode: ``"CONSTANT"``, ``"REFLECT"`` (mirrored without the edge: at most
            size - 1) or ``"SYMMETRIC"`` (with the edge: at most size), in any
            case of letters.
        name: the name of the operation.
        constant_values: what CONSTANT fills in: a number or a scalar tensor.

    Raises:
        ShapeError: paddings that do not fit (InvalidArgumentError where only
            the run can tell).

    Gradient: the cotangent without its borders; mirrored borders are added to
    the elements that they show.
    """
    x = as_tensor(tensor)
    p = integers(paddings, "pad: paddings")
    kind = mode.upper()
    if kind not in ("CONSTANT", "REFLECT", "SYMMETRIC"):
        raise ShapeError(
            f"pad: mode {mode!r} is none of 'CONSTANT', 'REFLECT', 'SYMMETRIC'"
        )
    if kind != "CONSTANT":
        return create(MIRROR_PAD, (x, p), {"mode": kind}, name)
    if is_symbolic(constant_values):
        fill = as_tensor(constant_values, x.dtype)
        attrs: dict[str, Any] = {"mode": kind, "value": None}
        return create(PAD, (x, p, fill), attrs, name)
    value = _fill_value(constant_values, x.dtype)
    return create(PAD, (x, p), {"mode": kind, "value": value}, name)


def _fill_value(value: Any, dtype: DType) -> Any:
    if dtype.kind < 0:
        empty = np.empty((), object)
        empty[()] = b"" if value == 0 else value
        return empty
    array = numeric_array(value, None)
    if array.ndim:
        raise ShapeError(f"pad: constant_values must be a scalar, not {value!r}")
    if dtype.is_bool:
        return np.array(bool(array))
    return np.asarray(cast_checked(array, dtype, "pad: constant_values"))
