"""Shapes and axes: reshape, transpose, expand_dims, squeeze.

Reshape, transpose, expand_dims and squeeze are views: they move no data unless
a reshape of a transposed array has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import int32
from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, is_static, merge, size, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import create, scope, shape_tensor, shape_vector
from ._later import batch
from ._static import (
    integers,
    is_symbolic,
    known_int,
    known_ints,
    normal_axes,
    normal_axis,
    same_dims,
    try_ints,
)

__all__ = [
    "expand_dims",
    "reshape",
    "shape_n",
    "squeeze",
    "transpose",
]


def no_flops(inputs: Any, outputs: Any, attrs: Any) -> int:
    """Views and copies compute nothing."""
    return 0


# -- reshape -------------------------------------------------------------------


def reshaped_dims(dims: Dims, target: Dims) -> Dims:
    """The dims of a reshape; ``target`` may hold -1 and unknown sizes.

    Raises:
        ShapeError: the number of elements cannot be the same.
    """
    if target is None:
        return None
    wild = sum(d == -1 for d in target)
    if wild > 1 or any(d is not None and d < -1 for d in target):
        raise ShapeError(
            f"shape {list(target)} may hold one -1 and no other negative size"
        )
    known = 1
    for d in target:
        if d is not None and d != -1:
            known *= d
    total = size(dims)
    open_ = sum(d is None or d == -1 for d in target)
    clash = f"{text(dims)} cannot be reshaped to {list(target)}"
    if not open_:
        if total is not None and total != known:
            raise ShapeError(f"{clash}: {total} elements are not {known}")
        if total is None and dims is not None and known:
            least = size(tuple(d for d in dims if d is not None)) or 0
            if least == 0 or known % least:
                raise ShapeError(f"{clash}: {known} is no multiple of {least}")
        return target
    if open_ > 1 or total is None:
        return tuple(None if d == -1 else d for d in target)
    if known == 0:
        if total or wild:
            raise ShapeError(
                f"{clash}: {total} elements do not tell the open size beside a 0"
            )
        return target
    if total % known:
        raise ShapeError(f"{clash}: {total} is no multiple of {known}")
    rest = total // known
    return tuple(rest if d is None or d == -1 else d for d in target)


def _infer_reshape(inputs: Sequence[Any], attrs: Any) -> Any:
    x, sizes = inputs
    if sizes.dims is not None and len(sizes.dims) != 1:
        raise ShapeError(f"the shape must be a vector, not {text(sizes.dims)}")
    return ((x.dtype, reshaped_dims(x.dims, known_dims(sizes))),)


def _reshape_kernel(xp: Any, x: Any, sizes: Any, out: Any = None) -> Any:
    target = tuple(sizes.tolist())
    if out is not None and out.flags.c_contiguous and out.size == x.size:
        # The same elements in the same order: no copy in between.
        np.copyto(out.reshape(x.shape), x)
        return out
    try:
        result = x.reshape(target)
        if out is None:
            return result
        np.copyto(out, result)
        return out
    except ValueError:
        raise InvalidArgumentError(
            f"an array of shape {x.shape} cannot be reshaped to {target}"
        ) from None


def _bind_reshape(attrs: Any, inputs: Any, outputs: Any) -> Any:
    target = outputs[0].dims
    return lambda x, sizes, out=None: x.reshape(target)


def _reshape_value(inputs: Sequence[Any], attrs: Any) -> Any:
    value, target = inputs[0].value, known_dims(inputs[1])
    if isinstance(value, tuple) and target is not None and len(target) == 1:
        return value
    return None


RESHAPE: OpDef = OpDef(
    "Reshape",
    infer=_infer_reshape,
    kernel=_reshape_kernel,
    inputs=("tensor", "shape"),
    linear=True,
    vjp=(lambda op, g: like_shape(g, op.inputs[0]), None),
    jvp=lambda op, t, _: create(RESHAPE, (t, op.inputs[1])),
    alias=0,
    writes_out=True,
    bind=_bind_reshape,
    shape_math=True,
    value=_reshape_value,
    flops=no_flops,
    batch=batch.reshape,
    doc="the elements of x, in row-major order, under another shape",
)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The elements of ``tensor`` in row-major order under ``shape``.

    Args:
        tensor: any shape and dtype.
        shape: a vector of sizes (ints, a tensor, or a list holding scalar
            tensors); one -1 takes what the others leave.
        name: the name of the operation.

    Raises:
        ShapeError: the number of elements differs (InvalidArgumentError where
            only the run can tell).

    Gradient: the cotangent, reshaped back.
    """
    x = as_tensor(tensor)
    if isinstance(shape, (list, tuple)) and any(isinstance(d, Tensor) for d in shape):
        shape = _without_open_size(x, shape)
    return create(RESHAPE, (x, shape_vector(shape)), None, name or "Reshape")


def _without_open_size(x: Tensor, shape: Sequence[Any]) -> Sequence[Any]:
    """``shape`` with its -1 worked out where unknown sizes of ``x`` cancel.

    In ``reshape(x, [shape(x)[0], -1])`` with x (?, 3, 5) the -1 is 15: known
    before the run, and right for an empty batch too.
    """
    left: list[int | None] = list(x.dims or ())
    known, at = 1, None
    for k, d in enumerate(shape):
        if isinstance(d, Tensor) and not isinstance(d.value, np.ndarray):
            axis = _size_of(d, x)
            if axis is None or left[axis] is not None:
                return shape
            left[axis] = 1
        elif is_symbolic(d) and not isinstance(d, Tensor):
            return shape
        else:
            n = known_int(d, "reshape: size")
            if n == -1:
                at = k
            else:
                known *= n
    total = size(tuple(left))
    if at is None or total is None or known < 1 or total % known:
        return shape
    return [*shape[:at], total // known, *shape[at + 1 :]]


def _size_of(d: Tensor, x: Tensor) -> int | None:
    """The axis of ``x`` of which ``d`` is the size, where that can be seen."""
    if d.op.type != "StridedSlice" or x.dims is None:
        return None
    source, spec = d.op.inputs[0].op, d.op.attrs["spec"]
    if source.type != "Shape" or source.inputs[0] is not x or len(spec) != 1:
        return None
    i = spec[0]
    return i % len(x.dims) if isinstance(i, int) else None


def like_shape(g: Tensor, like: Tensor) -> Tensor:
    """``g`` reshaped to the shape of ``like`` (no node where it has it)."""
    if same_dims(g, like):
        return g
    return create(RESHAPE, (g, shape_tensor(like)))


# -- expand_dims and squeeze ---------------------------------------------------


def _infer_expand(inputs: Sequence[Any], attrs: Any) -> Any:
    x, axis = inputs[0], attrs["axis"]
    if x.dims is None:
        return ((x.dtype, None),)
    at = normal_axis(axis, x.dims, extra=1)
    return ((x.dtype, (*x.dims[:at], 1, *x.dims[at:])),)


def _bind_view(attrs: Any, inputs: Any, outputs: Any) -> Any:
    dims = outputs[0].dims
    return lambda x, out=None: x.reshape(dims)


EXPAND_DIMS: OpDef = OpDef(
    "ExpandDims",
    infer=_infer_expand,
    kernel=lambda xp, x, *, axis, out=None: xp.expand_dims(x, axis),
    inputs=("input",),
    linear=True,
    vjp=(lambda op, g: like_shape(g, op.inputs[0]),),
    jvp=lambda op, t: create(EXPAND_DIMS, (t,), dict(op.attrs)),
    alias=0,
    bind=_bind_view,
    shape_math=True,
    flops=no_flops,
    batch=batch.along_axis,
    doc="x with an axis of size 1 more",
)


def expand_dims(
    input: Any, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """``input`` with a new axis of size 1 at ``axis``.

    Args:
        input: any shape (rank n) and dtype.
        axis: in [-n - 1, n]; a negative one counts from the end of the result.
        name: the name of the operation.
        dim: TF1's old name of ``axis``.

    Raises:
        ShapeError: ``axis`` is out of range, missing, or known only in a run.

    Gradient: the cotangent, without that axis.
    """
    axis = _one_of(axis, dim, "expand_dims", "axis", "dim")
    x = as_tensor(input)
    at = normal_axis(known_int(axis, "expand_dims: axis"), x.dims, extra=1)
    return create(EXPAND_DIMS, (x,), {"axis": at}, name)


def _one_of(new: Any, old: Any, who: str, new_name: str, old_name: str) -> Any:
    """An argument under its present or its deprecated name."""
    if old is not None:
        if new is not None:
            raise ShapeError(f"{who}: give {new_name} or {old_name}, not both")
        return old
    if new is None:
        raise ShapeError(f"{who}: {new_name} is missing")
    return new


def _infer_squeeze(inputs: Sequence[Any], attrs: Any) -> Any:
    x, axes = inputs[0], attrs["axis"]
    if x.dims is None:
        return ((x.dtype, None),)
    if axes is None:
        if not is_static(x.dims):
            return ((x.dtype, None),)
        return ((x.dtype, tuple(d for d in x.dims if d != 1)),)
    gone = normal_axes(axes, x.dims)
    for a in gone:
        if x.dims[a] not in (1, None):
            raise ShapeError(f"axis {a} of {text(x.dims)} is not of size 1")
    return ((x.dtype, tuple(d for i, d in enumerate(x.dims) if i not in gone)),)


def _squeeze_kernel(xp: Any, x: Any, *, axis: Any, out: Any = None) -> Any:
    try:
        return xp.squeeze(x, axis)
    except ValueError:
        raise InvalidArgumentError(
            f"axes {axis} of an array of shape {x.shape} are not all of size 1"
        ) from None


def _squeeze_value(inputs: Sequence[Any], attrs: Any) -> Any:
    value = inputs[0].value
    if isinstance(value, tuple) and len(value) != 1:
        return value
    return None


SQUEEZE: OpDef = OpDef(
    "Squeeze",
    infer=_infer_squeeze,
    kernel=_squeeze_kernel,
    inputs=("input",),
    linear=True,
    vjp=(lambda op, g: like_shape(g, op.inputs[0]),),
    jvp=lambda op, t: like_shape(t, op.outputs[0]),
    alias=0,
    bind=_bind_view,
    shape_math=True,
    value=_squeeze_value,
    flops=no_flops,
    batch=batch.squeeze,
    doc="x without axes of size 1",
)


def squeeze(
    input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None
) -> Tensor:
    """``input`` without axes of size 1.

    Args:
        input: any shape and dtype.
        axis: the axes to drop (an int or a list); default: all of size 1.
        name: the name of the operation.
        squeeze_dims: TF1's old name of ``axis``.

    Raises:
        ShapeError: an axis is out of range or not of size 1
            (InvalidArgumentError where only the run can tell).

    Gradient: the cotangent, reshaped back.
    """
    if squeeze_dims is not None:
        axis = _one_of(axis, squeeze_dims, "squeeze", "axis", "squeeze_dims")
    x = as_tensor(input)
    axes = None if axis is None else known_ints(axis, "squeeze: axis")
    if not axes:
        axes = None  # TF1: an empty list means all
    else:
        axes = normal_axes(axes, x.dims, "squeeze: axis")
    return create(SQUEEZE, (x,), {"axis": axes}, name)


# -- transpose -----------------------------------------------------------------


def _permuted(dims: Dims, perm: Any) -> Dims:
    if dims is None:
        return None if perm is None else (None,) * len(perm)
    if perm is None:
        return dims[::-1]
    if sorted(perm) != list(range(len(dims))):
        raise ShapeError(f"perm {list(perm)} is no permutation for shape {text(dims)}")
    return tuple(dims[p] for p in perm)


def _transpose_rule(op: Operation, g: Tensor) -> Tensor:
    perm = op.attrs["perm"]
    back = None if perm is None else tuple(int(i) for i in np.argsort(perm))
    return create(TRANSPOSE, (g,), {"perm": back})


def _bind_transpose(attrs: Any, inputs: Any, outputs: Any) -> Any:
    perm = attrs["perm"]
    if perm is None:
        return lambda x, out=None: x.T
    return lambda x, out=None: x.transpose(perm)


TRANSPOSE: OpDef = OpDef(
    "Transpose",
    infer=lambda inputs, attrs: (
        (inputs[0].dtype, _permuted(inputs[0].dims, attrs["perm"])),
    ),
    kernel=lambda xp, x, *, perm, out=None: xp.transpose(x, perm),
    inputs=("x",),
    linear=True,
    vjp=(_transpose_rule,),
    jvp=lambda op, t: create(TRANSPOSE, (t,), dict(op.attrs)),
    alias=0,
    bind=_bind_transpose,
    flops=no_flops,
    batch=batch.transpose,
    doc="x with its axes in the order perm",
)


def _infer_transpose_by(inputs: Sequence[Any], attrs: Any) -> Any:
    x, perm = inputs
    if isinstance(perm.value, np.ndarray):
        return ((x.dtype, _permuted(x.dims, tuple(perm.value.tolist()))),)
    if x.dims is not None:
        merge(perm.dims, (len(x.dims),))
        return ((x.dtype, (None,) * len(x.dims)),)
    return ((x.dtype, known_dims(perm)),)


def _transpose_by_kernel(xp: Any, x: Any, perm: Any, out: Any = None) -> Any:
    try:
        return x.transpose(perm.tolist())
    except ValueError:
        raise InvalidArgumentError(
            f"perm {perm.tolist()} is no permutation for an array of shape {x.shape}"
        ) from None


def _transpose_by_rule(op: Operation, g: Tensor) -> Tensor:
    from .sorting import invert_permutation

    return create(TRANSPOSE_BY, (g, invert_permutation(op.inputs[1])))


TRANSPOSE_BY: OpDef = OpDef(
    "TransposeBy",
    infer=_infer_transpose_by,
    kernel=_transpose_by_kernel,
    inputs=("x", "perm"),
    linear=True,
    vjp=(_transpose_by_rule, None),
    jvp=lambda op, t, _: create(TRANSPOSE_BY, (t, op.inputs[1])),
    alias=0,
    flops=no_flops,
    batch=batch.transpose_by,
    doc="x with its axes in an order that the run computes",
)


def transpose(
    a: Any, perm: Any = None, name: str | None = "transpose", conjugate: bool = False
) -> Tensor:
    """y[i_0, ..., i_n] = a[...]: axis k of y is axis ``perm[k]`` of ``a`` (a view).

    Args:
        a: any shape and dtype.
        perm: a permutation of the axes (a list, or an integer tensor); default:
            all axes reversed.
        name: the name of the operation.
        conjugate: take complex conjugates as well.

    Raises:
        ShapeError: ``perm`` is no permutation of the axes of ``a``.

    Gradient: the cotangent, transposed back.
    """
    x = as_tensor(a)
    order = None if perm is None else try_ints(perm, "transpose: perm")
    if perm is not None and order is None:
        y = create(TRANSPOSE_BY, (x, integers(perm, "transpose: perm")), None, name)
    else:
        axes = None
        if order is not None:
            rank = order.size
            axes = tuple(p + rank if p < 0 else p for p in order.reshape(-1).tolist())
        y = create(TRANSPOSE, (x,), {"perm": axes}, name)
    if conjugate and x.dtype.is_complex:
        conj: Tensor = TABLE["conj"](y)
        return conj
    return y


def shape_n(input: Any, out_type: Any = int32, name: str | None = None) -> list[Tensor]:
    """The shapes of several tensors, each as a vector of ``out_type``."""
    from .core import shape

    tensors = [as_tensor(t) for t in input]
    with scope(name, "ShapeN", *tensors):
        return [shape(t, out_type=out_type) for t in tensors]


# What graphlib calls by name.
OPERATORS = {"transpose": transpose}
