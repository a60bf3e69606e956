"""Basic and advanced indexing: ``t[...]``, slice, strided_slice.

Keys become views where they can (see ``slicing``); arrays and masks copy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import bool_
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.shapes import broadcast_all, is_static, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import constant, create, scope, shape_tensor
from ._later import batch_index
from ._static import is_symbolic, known_int, try_ints
from .slicing import Entry, infer_into_shape, slice_, strided, zeroed
from .views import no_flops

__all__ = ["getitem", "slice_", "strided_slice"]

# -- the keys of __getitem__ ---------------------------------------------------


class _Bounds:
    """Collects the scalar tensors of a key as inputs of the op."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    def scalar(self, value: Any, what: str) -> Any:
        """An int, or the entry of a scalar tensor."""
        if value is None or type(value) is int:
            return value
        array = try_ints(value, what)
        if array is not None:
            if array.ndim:
                raise DTypeError(f"{what} must be one integer, not {value!r}")
            return int(array)
        t = as_tensor(value)
        if t.dims != ():
            raise ShapeError(
                f"{what} must be a scalar, not of shape {text(t.dims)}: {t!r}"
            )
        self.tensors.append(t)
        return f"@{len(self.tensors) - 1}"


def _is_array_key(k: Any) -> bool:
    """Whether one part of a key selects by an array or mask."""
    if isinstance(k, (list, np.ndarray)):
        return True
    if is_symbolic(k):
        t = as_tensor(k)
        return t.dtype is bool_ or t.dims != ()
    return isinstance(k, tuple)


def getitem(x: Any, key: Any, name: str | None = "strided_slice") -> Tensor:
    """``x[key]`` by NumPy's rules.

    Args:
        x: any shape and dtype.
        key: ints (negative ones count from the end), slices with any step,
            None (a new axis), Ellipsis, scalar integer tensors (also as bounds
            of slices), integer lists, arrays or tensors (which select elements
            and broadcast against each other), or one boolean mask.
        name: the name of the operation.

    Raises:
        ShapeError: too many indices, or one out of range (InvalidArgumentError
            where only the run can tell).
        DTypeError: a part of the key is of another kind.

    Gradient: the cotangent in zeros of the shape of ``x``; where an index
    repeats, contributions add up.
    """
    x = as_tensor(x)
    parts = key if isinstance(key, tuple) else (key,)
    if any(_is_array_key(k) for k in parts):
        return _advanced(x, parts, name)
    bounds = _Bounds()
    spec = tuple(_entry(k, bounds) for k in parts)
    if spec.count("...") > 1:
        raise ShapeError("an index can have one Ellipsis only")
    return strided(x, spec, bounds.tensors, name)


def _entry(k: Any, bounds: _Bounds) -> Entry:
    if type(k) is int:
        return k
    if k is None:
        return "new"
    if k is Ellipsis:
        return "..."
    if isinstance(k, slice):
        begin = bounds.scalar(k.start, "a slice bound")
        end = bounds.scalar(k.stop, "a slice bound")
        step = bounds.scalar(k.step, "a slice step")
        if step == 0:
            raise ShapeError("a slice step must not be 0")
        return (begin, end, step)
    if isinstance(k, (bool, np.bool_)):
        raise DTypeError(
            f"a tensor cannot be indexed by {k!r}: use [None] or dagrad.boolean_mask"
        )
    if isinstance(k, (str, bytes, float, dict, set)):
        raise DTypeError(
            f"{k!r} is no index: use ints, slices, None, Ellipsis, integer tensors "
            "or a boolean mask"
        )
    return bounds.scalar(k, "an index")


def _advanced(x: Tensor, parts: Sequence[Any], name: str | None) -> Tensor:
    """Indexing by arrays or by a mask, after the basic parts of the key."""
    arrays = [
        as_tensor(np.asarray(k) if isinstance(k, (list, tuple)) and not _held(k) else k)
        if _is_array_key(k)
        else None
        for k in parts
    ]
    for k, a in zip(parts, arrays):
        if a is None:
            continue
        if not (a.dtype.is_integer or a.dtype is bool_) and a.dims != (0,):
            raise DTypeError(f"indices must be integers or bool: {k!r}")
    masks = [a for a in arrays if a is not None and a.dtype is bool_]
    if masks and (len(masks) > 1 or sum(a is not None for a in arrays) > 1):
        raise DTypeError(
            "one boolean mask, and no other array beside it, can index a tensor"
        )
    with scope(name, "getitem", x, *[a for a in arrays if a is not None]):
        return _select(x, parts, arrays, bool(masks))


def _held(k: Any) -> bool:
    from ..graphlib.tensor import _holds_tensor

    return _holds_tensor(k)


def _select(
    x: Tensor, parts: Sequence[Any], arrays: Sequence[Tensor | None], mask: bool
) -> Tensor:
    """The basic entries as one view, then the arrays at their axes."""
    bounds = _Bounds()
    basic: list[Entry] = []
    at: list[tuple[int, Tensor]] = []  # position in `basic`, index
    for k, a in zip(parts, arrays):
        if a is not None:
            at.append((len(basic), a))
            width = 1
            if mask:
                if not a.dims:
                    raise ShapeError(f"the rank of the mask {a!r} must be known, >= 1")
                width = len(a.dims)
            basic.extend([(None, None, None)] * width)
        else:
            scalar = not (k is None or k is Ellipsis or isinstance(k, slice))
            if scalar and not mask:  # beside arrays an int is an array, as in NumPy
                entry = _entry(k, _Bounds())
                index = as_tensor(k if is_symbolic(k) else np.array(entry))
                at.append((len(basic), index))
                basic.append((None, None, None))
            else:
                basic.append(_entry(k, bounds))
    if basic.count("...") > 1:
        raise ShapeError("an index can have one Ellipsis only")
    kept = [e for e in basic if isinstance(e, tuple) or e in ("new", "...")]
    if any(e != (None, None, None) for e in basic):
        x = strided(x, tuple(basic), bounds.tensors, None)
    # After the basic view every kept entry is one axis of x.
    if "..." in kept and x.dims is None:
        raise ShapeError("Ellipsis beside an array needs a tensor of known rank")
    axes = []
    for position, _ in at:
        before = [
            e for e in basic[:position] if isinstance(e, tuple) or e in ("new", "...")
        ]
        axis = len(before)
        if "..." in before:
            axis += len(x.dims or ()) - len(kept)
        axes.append(axis)
    if mask:
        from .partition import boolean_mask

        return boolean_mask(x, at[0][1], axis=axes[0])
    indices = [_as_index(a) for _, a in at]
    if len(at) == 1 and x.dims is not None:
        plain = _wrapped(indices[0], x.dims[axes[0]] if axes[0] < len(x.dims) else None)
        if plain is not None:
            from .gather import gather

            return gather(x, plain, axis=axes[0])
    return create(ADVANCED_INDEX, (x, *indices), {"axes": tuple(axes)})


def _as_index(a: Tensor) -> Tensor:
    if a.dtype.is_integer:
        return a
    return constant(np.zeros(0, np.int32))


def _wrapped(index: Tensor, n: int | None) -> Tensor | None:
    """Known indices counted from the front, or None where that is not known."""
    if not isinstance(index.value, np.ndarray):
        return None
    v = index.value
    if v.size == 0 or v.min() >= 0:
        return index
    if n is None or v.min() < -n:
        return None
    return constant(np.where(v < 0, v + n, v).astype(v.dtype))


# -- selection by integer arrays -----------------------------------------------


def _array_key(axes: Sequence[int], indices: Sequence[Any]) -> Any:
    key: list[Any] = [slice(None)] * (max(axes) + 1)
    for a, i in zip(axes, indices):
        key[a] = i
    return tuple(key)


def _infer_advanced(inputs: Sequence[Any], attrs: Any) -> Any:
    x, axes = inputs[0], attrs["axes"]
    for t in inputs[1:]:
        if not t.dtype.is_integer:
            raise DTypeError(f"indices must be integers, not {t.dtype.name}")
    if x.dims is None:
        return ((x.dtype, None),)
    if max(axes) >= len(x.dims):
        raise ShapeError(f"{max(axes) + 1} indices are too many for {text(x.dims)}")
    chosen = broadcast_all([t.dims for t in inputs[1:]])
    if chosen is None:
        return ((x.dtype, None),)
    rest = [d for i, d in enumerate(x.dims) if i not in axes]
    first = axes[0] if _adjacent(axes) else 0
    return ((x.dtype, (*rest[:first], *chosen, *rest[first:])),)


def _adjacent(axes: Sequence[int]) -> bool:
    return all(b == a + 1 for a, b in itertools.pairwise(axes))


def _advanced_kernel(
    xp: Any, x: Any, *indices: Any, axes: tuple[int, ...], out: Any = None
) -> Any:
    try:
        result = x[_array_key(axes, indices)]
    except IndexError as error:
        raise InvalidArgumentError(f"{error} (an array of shape {x.shape})") from None
    return xp.asarray(result)


def _advanced_grad_kernel(
    xp: Any, g: Any, sizes: Any, *indices: Any, axes: Any, out: Any = None
) -> Any:
    out = zeroed(xp, sizes, g, out)
    xp.add.at(out, _array_key(axes, indices), g)
    return out


ADVANCED_INDEX: OpDef = OpDef(
    "AdvancedIndex",
    infer=_infer_advanced,
    kernel=_advanced_kernel,
    inputs=("input", "*indices"),
    linear=True,
    vjp=lambda op, g: [
        create(
            ADVANCED_INDEX_GRAD,
            (g, shape_tensor(op.inputs[0]), *op.inputs[1:]),
            dict(op.attrs),
        ),
        *[None] * (len(op.inputs) - 1),
    ],
    jvp=lambda op, t, *_: create(ADVANCED_INDEX, (t, *op.inputs[1:]), dict(op.attrs)),
    flops=no_flops,
    batch=batch_index.advanced_index,
    doc="x[i, j, ...] by integer arrays that broadcast against each other",
)
ADVANCED_INDEX_GRAD: OpDef = OpDef(
    "AdvancedIndexGrad",
    infer=infer_into_shape,
    kernel=_advanced_grad_kernel,
    inputs=("g", "shape", "*indices"),
    linear=True,
    vjp=lambda op, gg: [
        create(ADVANCED_INDEX, (gg, *op.inputs[2:]), dict(op.attrs)),
        *[None] * (len(op.inputs) - 1),
    ],
    jvp=lambda op, t, *_: create(
        ADVANCED_INDEX_GRAD, (t, *op.inputs[1:]), dict(op.attrs)
    ),
    writes_out=True,
    batch=batch_index.advanced_index_grad,
    doc="zeros with g added at [i, j, ...]: the transpose of AdvancedIndex",
)


# -- strided_slice -------------------------------------------------------------


def _elements(value: Any, n: int, what: str) -> list[Any]:
    """The entries of a vector: ints where known, else scalar tensors."""
    array = try_ints(value, what)
    if array is not None:
        return [int(v) for v in array.reshape(-1)]
    if isinstance(value, (list, tuple)):
        return list(value)
    t = as_tensor(value)
    known = t.value if isinstance(t.value, tuple) else (None,) * n
    return [getitem(t, i) if v is None else v for i, v in enumerate(known)]


def _length(values: Sequence[Any]) -> int:
    for v in values:
        if isinstance(v, (list, tuple, np.ndarray)):
            return len(v)
        if is_symbolic(v):
            dims = as_tensor(v).dims
            if dims and is_static(dims):
                return dims[0] or 0
    raise ShapeError("strided_slice: the length of begin, end or strides must be known")


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """``input_[begin[0]:end[0]:strides[0], ...]``; out-of-range bounds are clipped.

    Args:
        input_: any shape and dtype.
        begin, end: vectors of integers, of known length; negative ones count
            from the end.
        strides: a vector of integers other than 0 (default: ones).
        begin_mask, end_mask: bit i set: ignore that bound.
        ellipsis_mask: bit i set: entry i stands for as many axes as are left.
        new_axis_mask: bit i set: entry i is a new axis of size 1.
        shrink_axis_mask: bit i set: entry i takes the element ``begin[i]``.
        var: must be None (assignment to slices is not offered).
        name: the name of the operation.

    Raises:
        ShapeError: lengths differ, a stride of 0, an index out of range.

    Gradient: the cotangent in zeros of the shape of ``input_``.
    """
    if var is not None:
        raise DTypeError("strided_slice: var is not offered; use scatter_nd_update")
    x = as_tensor(input_)
    n = _length((begin, end, *(() if strides is None else (strides,))))
    firsts = _elements(begin, n, "strided_slice: begin")
    lasts = _elements(end, n, "strided_slice: end")
    steps = [1] * n if strides is None else _elements(strides, n, "strides")
    if not len(firsts) == len(lasts) == len(steps):
        raise ShapeError(
            f"strided_slice: begin, end and strides have {len(firsts)}, "
            f"{len(lasts)} and {len(steps)} entries"
        )
    if bin(ellipsis_mask).count("1") > 1:
        raise ShapeError("strided_slice: ellipsis_mask may have one bit only")
    bounds = _Bounds()
    spec: list[Entry] = []
    for i, (b, e, s) in enumerate(zip(firsts, lasts, steps)):
        bit = 1 << i
        if ellipsis_mask & bit:
            spec.append("...")
        elif new_axis_mask & bit:
            spec.append("new")
        elif shrink_axis_mask & bit:
            spec.append(bounds.scalar(b, "an index"))
        else:
            b = None if begin_mask & bit else b
            e = None if end_mask & bit else e
            spec.append(_entry(slice(b, e, _known_step(s)), bounds))
    return strided(x, tuple(spec), bounds.tensors, name)


def _known_step(value: Any) -> Any:
    """An int where it is known, else the tensor."""
    array = try_ints(value, "strides")
    return value if array is None else known_int(array, "strides")


OPERATORS = {"getitem": getitem}
