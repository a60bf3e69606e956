"""Views of parts: the ops behind ``t[...]``, strided_slice and slice.

A key of ints, slices, None and Ellipsis is one view op; its normal form is an
attribute, so that a run does ``x[key]`` and nothing else.  Bounds that are
tensors are further inputs of the same op.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.gradients import IndexedSlices
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import Dims, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import constant, create, shape_tensor
from ._later import batch_index
from ._static import integers
from .views import no_flops

__all__ = ["slice_"]

# One entry of a spec: an int (one element), "new" (an axis of size 1), "...",
# "@0" (the element that scalar input 0 tells), or (begin, end, step) where each
# is an int, None or "@0".
Entry = Any
Spec = tuple[Entry, ...]


# -- strided slices ------------------------------------------------------------


@lru_cache(maxsize=4096)
def _static_key(spec: Spec) -> Any:
    """The NumPy key of a spec without tensors."""
    return _key(spec, ())


def _key(spec: Spec, bounds: Sequence[Any]) -> Any:
    """The NumPy key of a spec; always a view, also of one element."""

    def at(entry: Any) -> Any:
        return int(bounds[int(entry[1:])]) if isinstance(entry, str) else entry

    key: list[Any] = []
    for e in spec:
        if e == "new":
            key.append(None)
        elif e == "...":
            key.append(Ellipsis)
        elif isinstance(e, tuple):
            key.append(slice(at(e[0]), at(e[1]), at(e[2])))
        else:
            key.append(at(e))
    if "..." not in spec:
        key.append(Ellipsis)
    return tuple(key)


def _with_values(spec: Spec, bounds: Sequence[Any]) -> Spec:
    """The spec with known bounds put in; "?" where a bound is not known."""

    def at(entry: Any) -> Any:
        if not isinstance(entry, str):
            return entry
        value = bounds[int(entry[1:])].value
        return int(value) if isinstance(value, np.ndarray) else "?"

    out: list[Any] = []
    for e in spec:
        if isinstance(e, tuple):
            out.append((at(e[0]), at(e[1]), at(e[2])))
        else:
            out.append(at(e) if isinstance(e, str) and e[0] == "@" else e)
    return tuple(out)


def _slice_size(d: int | None, begin: Any, end: Any, step: Any) -> int | None:
    """The length of ``range(d)[begin:end:step]``, or None where it is not known."""
    if step == 0:
        raise ShapeError("a slice step must not be 0")
    if begin == 0:
        begin = None if step != "?" and (step is None or step > 0) else 0
    if "?" in (begin, end, step):
        return 0 if d == 0 else None
    if d is not None:
        return len(range(*slice(begin, end, step).indices(d)))
    forward = step is None or step > 0
    if begin is not None and end is not None and (begin < 0) == (end < 0):
        if (end <= begin) if forward else (begin <= end):
            return 0
    elif forward and end == 0:
        return 0
    return None


def _sliced_dims(dims: Dims, spec: Spec) -> Dims:
    """The dims of ``x[spec]``.

    Raises:
        ShapeError: more entries than axes, or an index out of range.
    """
    used = sum(e not in ("new", "...") for e in spec)
    if dims is None:
        return None
    if used > len(dims):
        raise ShapeError(f"{used} indices are too many for shape {text(dims)}")
    if "..." not in spec:
        spec = (*spec, "...")
    out: list[int | None] = []
    axis = 0
    for e in spec:
        if e == "new":
            out.append(1)
        elif e == "...":
            stop = axis + len(dims) - used
            out.extend(dims[axis:stop])
            axis = stop
        elif isinstance(e, tuple):
            out.append(_slice_size(dims[axis], *e))
            axis += 1
        else:
            d = dims[axis]
            if isinstance(e, int) and d is not None and not -d <= e < d:
                raise ShapeError(
                    f"index {e} is out of range for axis {axis} of {text(dims)}"
                )
            axis += 1
    return tuple(out)


def sliced_dims(dims: Dims, spec: Spec, bounds: Sequence[Any]) -> Dims:
    """The dims of ``x[spec]``, as far as the bounds are known."""
    return _sliced_dims(dims, _with_values(spec, bounds))


def _infer_strided(inputs: Sequence[Any], attrs: Any) -> Any:
    x, spec = inputs[0], attrs["spec"]
    if len(inputs) > 1:
        spec = _with_values(spec, inputs[1:])
    return ((x.dtype, _sliced_dims(x.dims, spec)),)


def _strided_kernel(xp: Any, x: Any, *bounds: Any, spec: Spec, out: Any = None) -> Any:
    key = _key(spec, bounds) if bounds else _static_key(spec)
    try:
        return x[key]
    except (IndexError, ValueError) as error:
        raise InvalidArgumentError(f"{error} (an array of shape {x.shape})") from None


def _bind_strided(attrs: Any, inputs: Any, outputs: Any) -> Any:
    if len(inputs) > 1:
        return None
    key = _static_key(attrs["spec"])
    return lambda x, out=None: x[key]


def _strided_value(inputs: Sequence[Any], attrs: Any) -> Any:
    value = inputs[0].value
    if not isinstance(value, tuple):
        return None
    spec = _with_values(attrs["spec"], inputs[1:])
    spec = tuple(e for e in spec if e != "...")
    if spec == ():
        return value
    if len(spec) != 1 or "?" in spec or (isinstance(spec[0], tuple) and "?" in spec[0]):
        return None
    e = spec[0]
    if isinstance(e, tuple):
        part = value[slice(*e)]
        if None in part:
            return part if any(p is not None for p in part) else None
        return np.array(part, inputs[0].dtype.dtype)
    if not isinstance(e, int) or value[e] is None:
        return None
    return np.array(value[e], inputs[0].dtype.dtype)


def _strided_rule(op: Operation, g: Tensor) -> Any:
    x, spec = op.inputs[0], op.attrs["spec"]
    rest = [None] * (len(op.inputs) - 1)
    if len(spec) == 1 and isinstance(spec[0], int) and x.dims:
        # One row: contributions of all rows become one scatter.
        i, n = spec[0], x.dims[0]
        if i >= 0 or n is not None:
            from .views import expand_dims

            row = constant(np.array([i if i >= 0 else i + (n or 0)], np.int32))
            return [IndexedSlices(expand_dims(g, 0), row, x), *rest]
    inputs = (g, shape_tensor(x), *op.inputs[1:])
    return [create(STRIDED_SLICE_GRAD, inputs, dict(op.attrs)), *rest]


STRIDED_SLICE: OpDef = OpDef(
    "StridedSlice",
    infer=_infer_strided,
    kernel=_strided_kernel,
    inputs=("input", "*bounds"),
    linear=True,
    vjp=_strided_rule,
    jvp=lambda op, t, *_: create(STRIDED_SLICE, (t, *op.inputs[1:]), dict(op.attrs)),
    alias=0,
    bind=_bind_strided,
    shape_math=True,
    value=_strided_value,
    flops=no_flops,
    batch=batch_index.strided,
    doc="x[key] for a key of ints, slices, None and Ellipsis",
)


def infer_into_shape(inputs: Sequence[Any], attrs: Any) -> Any:
    return ((inputs[0].dtype, known_dims(inputs[1])),)


def zeroed(xp: Any, sizes: Any, like: Any, out: Any) -> Any:
    """An array of zeros of the dtype of ``like``: ``out`` where it is given."""
    if out is None:
        return xp.zeros(tuple(sizes.tolist()), like.dtype)
    out.fill(0)
    return out


def _strided_grad_kernel(
    xp: Any, g: Any, sizes: Any, *bounds: Any, spec: Spec, out: Any = None
) -> Any:
    out = zeroed(xp, sizes, g, out)
    out[_key(spec, bounds) if bounds else _static_key(spec)] = g
    return out


def _bind_strided_grad(attrs: Any, inputs: Any, outputs: Any) -> Any:
    if len(inputs) > 2:
        return None
    key = _static_key(attrs["spec"])
    whole = outputs[0].dims == inputs[0].dims

    def run(g: Any, sizes: Any, out: Any) -> Any:
        if not whole:
            out.fill(0)
        out[key] = g
        return out

    return run


STRIDED_SLICE_GRAD: OpDef = OpDef(
    "StridedSliceGrad",
    infer=infer_into_shape,
    kernel=_strided_grad_kernel,
    inputs=("g", "shape", "*bounds"),
    linear=True,
    vjp=lambda op, gg: [
        create(STRIDED_SLICE, (gg, *op.inputs[2:]), dict(op.attrs)),
        *[None] * (len(op.inputs) - 1),
    ],
    jvp=lambda op, t, *_: create(
        STRIDED_SLICE_GRAD, (t, *op.inputs[1:]), dict(op.attrs)
    ),
    writes_out=True,
    bind=_bind_strided_grad,
    flops=no_flops,
    batch=batch_index.strided_grad,
    doc="zeros with g at [key]: the transpose of StridedSlice",
)


def strided(x: Tensor, spec: Spec, bounds: Sequence[Tensor], name: Any) -> Tensor:
    return create(STRIDED_SLICE, (x, *bounds), {"spec": spec}, name)


# -- slice ---------------------------------------------------------------------


def _slice_dims(dims: Dims, begin: Dims, lengths: Dims) -> Dims:
    """The dims of a slice; every part must lie inside the axis."""
    rank = next((len(d) for d in (dims, begin, lengths) if d is not None), None)
    if rank is None:
        return None
    for what, given in (("begin", begin), ("size", lengths), ("shape", dims)):
        if given is not None and len(given) != rank:
            raise ShapeError(f"{what} has {len(given)} entries, not {rank}")
    unknown: tuple[int | None, ...] = (None,) * rank
    out: list[int | None] = []
    for i, (d, b, n) in enumerate(
        zip(dims or unknown, begin or unknown, lengths or unknown)
    ):
        if (b is not None and b < 0) or (n is not None and n < -1):
            raise ShapeError(f"begin {b} and size {n} of axis {i} must be >= 0")
        if d is not None and b is not None and b + max(n or 0, 0) > d:
            raise ShapeError(
                f"begin {b} and size {n} leave axis {i}, which has size {d}"
            )
        if n == -1:
            n = None if d is None or b is None else d - b
        out.append(n)
    return tuple(out)


def _infer_slice(inputs: Sequence[Any], attrs: Any) -> Any:
    x, begin, lengths = inputs
    return ((x.dtype, _slice_dims(x.dims, known_dims(begin), known_dims(lengths))),)


def _slice_kernel(xp: Any, x: Any, begin: Any, lengths: Any, out: Any = None) -> Any:
    first = begin.tolist()
    try:
        dims = _slice_dims(x.shape, tuple(first), tuple(lengths.tolist()))
    except ShapeError as error:
        raise InvalidArgumentError(error.message) from None
    assert dims is not None
    return x[(*(slice(b, b + (n or 0)) for b, n in zip(first, dims)), ...)]


def _known_key(begin: Any, dims: Dims) -> Any:
    """The key of a slice whose begin is known, or None."""
    if not isinstance(begin.value, np.ndarray) or dims is None:
        return None
    first = begin.value.tolist()
    return (*(slice(b, b + (n or 0)) for b, n in zip(first, dims)), ...)


def _bind_slice(attrs: Any, inputs: Any, outputs: Any) -> Any:
    if not isinstance(inputs[2].value, np.ndarray):
        return None
    key = _known_key(inputs[1], outputs[0].dims)
    return None if key is None else lambda x, b, n, out=None: x[key]


def _slice_value(inputs: Sequence[Any], attrs: Any) -> Any:
    value, begin = inputs[0].value, inputs[1].value
    if not (isinstance(value, tuple) and isinstance(begin, np.ndarray)):
        return None
    dims = _slice_dims((len(value),), known_dims(inputs[1]), known_dims(inputs[2]))
    if dims is None or dims[0] is None:
        return None
    part = value[int(begin[0]) : int(begin[0]) + dims[0]]
    if None not in part:
        return np.array(part, inputs[0].dtype.dtype)
    return part if any(p is not None for p in part) else None


SLICE: OpDef = OpDef(
    "Slice",
    infer=_infer_slice,
    kernel=_slice_kernel,
    inputs=("input", "begin", "size"),
    linear=True,
    vjp=(
        lambda op, g: create(SLICE_GRAD, (g, op.inputs[1], shape_tensor(op.inputs[0]))),
        None,
        None,
    ),
    jvp=lambda op, t, *_: create(SLICE, (t, *op.inputs[1:])),
    alias=0,
    bind=_bind_slice,
    shape_math=True,
    value=_slice_value,
    flops=no_flops,
    batch=batch_index.sliced,
    doc="x[begin : begin + size]",
)


def _slice_grad_kernel(xp: Any, g: Any, begin: Any, sizes: Any, out: Any = None) -> Any:
    out = zeroed(xp, sizes, g, out)
    out[(*(slice(b, b + n) for b, n in zip(begin.tolist(), g.shape)), ...)] = g
    return out


def _bind_slice_grad(attrs: Any, inputs: Any, outputs: Any) -> Any:
    key = _known_key(inputs[1], inputs[0].dims)
    if key is None:
        return None

    def run(g: Any, begin: Any, sizes: Any, out: Any) -> Any:
        out.fill(0)
        out[key] = g
        return out

    return run


SLICE_GRAD: OpDef = OpDef(
    "SliceGrad",
    infer=lambda inputs, attrs: ((inputs[0].dtype, known_dims(inputs[2])),),
    kernel=_slice_grad_kernel,
    inputs=("g", "begin", "shape"),
    linear=True,
    vjp=(
        lambda op, gg: slice_(gg, op.inputs[1], shape_tensor(op.inputs[0])),
        None,
        None,
    ),
    jvp=lambda op, t, *_: create(SLICE_GRAD, (t, *op.inputs[1:])),
    writes_out=True,
    bind=_bind_slice_grad,
    flops=no_flops,
    batch=batch_index.slice_grad,
    doc="zeros with g at [begin : begin + size]: the transpose of Slice",
)


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """``input_[begin[0] : begin[0] + size[0], ...]`` (a view).

    Args:
        input_: any shape (rank n) and dtype.
        begin: (n,) integers >= 0.
        size: (n,) integers; -1 means up to the end of the axis.
        name: the name of the operation.

    Raises:
        ShapeError: a part leaves its axis (InvalidArgumentError where only the
            run can tell); nothing is clipped, as in TF1.

    Gradient: the cotangent in zeros of the shape of ``input_``.
    """
    x = as_tensor(input_)
    first = integers(begin, "slice: begin")
    lengths = integers(size, "slice: size")
    return create(SLICE, (x, first, lengths), None, name or "Slice")
