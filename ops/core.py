"""The ops that graphs, derivatives and plans themselves stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import as_dtype, int32, string
from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operators import TABLE
from ..graphlib.ragged import Ragged, map_rows
from ..graphlib.shapes import as_dims, is_static, merge, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import constant, create, shape_tensor
from ._kinds import _count, infer_same, require
from ._later import batch

__all__ = [
    "add_n",
    "broadcast_to",
    "cast",
    "identity",
    "ones_like",
    "placeholder",
    "placeholder_with_default",
    "rank",
    "shape",
    "size",
    "stop_gradient",
    "zeros_like",
]


def copy_kernel(xp: Any, x: Any, out: Any = None, **attrs: Any) -> Any:
    """A copy of ``x``."""
    if out is None:
        return xp.copy(x)
    xp.copyto(out, x)
    return out


def always(inputs: Sequence[Any], outputs: Sequence[Any], attrs: Any) -> bool:
    return True


def same_shape(inputs: Sequence[Any], outputs: Sequence[Any], attrs: Any) -> bool:
    """Whether output 0 has the (known) shape of input 0."""
    return inputs[0].dims == outputs[0].dims and is_static(inputs[0].dims)


def view_kernel(xp: Any, x: Any, out: Any = None, **attrs: Any) -> Any:
    """``x`` itself."""
    return x


# -- placeholders ------------------------------------------------------------


PLACEHOLDER = OpDef(
    "Placeholder",
    infer=lambda inputs, attrs: ((attrs["dtype"], attrs["shape"]),),
    kernel=None,
    effect="input",
    doc="a value that every run that needs it must feed",
)


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A value that is fed at each run.

    Args:
        dtype: the element type; feeds of another dtype are converted where that
            loses nothing but float precision.
        shape: the static shape: None for any rank, None inside for any size.
        name: the name of the operation.
    """
    attrs = {"dtype": as_dtype(dtype), "shape": as_dims(shape)}
    return create(PLACEHOLDER, (), attrs, name)


def _infer_default(inputs: Sequence[Any], attrs: Any) -> Any:
    merge(inputs[0].dims, attrs["shape"])
    return ((inputs[0].dtype, attrs["shape"]),)


PLACEHOLDER_WITH_DEFAULT = OpDef(
    "PlaceholderWithDefault",
    infer=_infer_default,
    kernel=view_kernel,
    inputs=("input",),
    linear=True,
    vjp=(lambda op, g: g,),
    jvp=lambda op, t: t,
    alias=0,
    identity=always,
    effect="default",
    doc="the input, unless the run feeds another value",
)


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """``input``, unless a run feeds this tensor.

    Raises:
        ShapeError: the default does not fit ``shape``.
    """
    t = as_tensor(input)
    return create(PLACEHOLDER_WITH_DEFAULT, (t,), {"shape": as_dims(shape)}, name)


# -- identity and friends ----------------------------------------------------


IDENTITY = OpDef(
    "Identity",
    infer=infer_same,
    kernel=view_kernel,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: g,),
    jvp=lambda op, t: t,
    alias=0,
    identity=always,
    value=lambda inputs, attrs: inputs[0].value,
    flops=lambda i, o, a: 0,
    batch=batch.same,
    doc="y = x",
)


def identity(input: Any, name: str | None = None) -> Tensor:
    """y = x, as a node of its own."""
    return create(IDENTITY, (as_tensor(input),), None, name)


STOP_GRADIENT = OpDef(
    "StopGradient",
    infer=infer_same,
    kernel=view_kernel,
    inputs=("x",),
    alias=0,
    identity=always,
    flops=lambda i, o, a: 0,
    batch=batch.leading,
    doc="y = x, a constant to derivatives",
)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """y = x; derivatives treat y as a constant."""
    return create(STOP_GRADIENT, (as_tensor(input),), None, name)


def _cast_kernel(xp: Any, x: Any, *, dtype: Any, out: Any = None) -> Any:
    with np.errstate(invalid="ignore", over="ignore"):
        if x.dtype.kind == "c" and dtype.dtype.kind not in "cb":
            x = x.real
        if out is None:
            return xp.asarray(x).astype(dtype.dtype)
        xp.copyto(out, x, casting="unsafe")
        return out


def _infer_cast(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    if (x.dtype is string) != (attrs["dtype"] is string):
        raise DTypeError(f"{x.dtype.name} cannot be cast to {attrs['dtype'].name}")
    return ((attrs["dtype"], x.dims),)


def _cast_value(inputs: Sequence[Any], attrs: Any) -> Any:
    value = inputs[0].value
    if isinstance(value, tuple) and attrs["dtype"].is_integer:
        return value
    return None


CAST = OpDef(
    "Cast",
    infer=_infer_cast,
    kernel=_cast_kernel,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: cast(g, op.inputs[0].dtype),),
    jvp=lambda op, t: (
        cast(t, op.outputs[0].dtype) if op.outputs[0].dtype.is_inexact else None
    ),
    writes_out=True,
    elementwise=True,
    shape_math=True,
    value=_cast_value,
    batch=batch.elementwise,
    doc="y = x as another dtype",
)


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """``x`` as ``dtype``: floats to integers truncate toward zero, complex to real
    drops the imaginary part; NaN and out-of-range floats give unspecified integers.

    Gradient: the cotangent, cast back; integer results cut the path.

    Raises:
        DTypeError: between strings and numbers.
    """
    wanted = as_dtype(dtype)
    t = as_tensor(x)
    if t.dtype is wanted:
        return t
    return create(CAST, (t,), {"dtype": wanted}, name or "Cast")


# -- sizes -------------------------------------------------------------------


def _shape_kernel(xp: Any, x: Any, *, out_type: Any, out: Any = None) -> Any:
    return xp.array(x.shape, dtype=out_type.dtype)


def _shape_value(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = inputs[0].dims
    if dims is None:
        return None
    if None in dims:
        return dims
    return np.array(dims, dtype=attrs["out_type"].dtype)


def _infer_shape(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = inputs[0].dims
    return ((attrs["out_type"], (None if dims is None else len(dims),)),)


SHAPE = OpDef(
    "Shape",
    infer=_infer_shape,
    kernel=_shape_kernel,
    inputs=("x",),
    shape_only=(0,),
    value=_shape_value,
    flops=lambda i, o, a: 0,
    batch=batch.row_shape,
    doc="the sizes of x as a vector",
)


def shape(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The shape of ``input`` as a vector (rank,) of ``out_type``."""
    return create(SHAPE, (as_tensor(input),), {"out_type": as_dtype(out_type)}, name)


def _size_value(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = inputs[0].dims
    if dims is None or None in dims:
        return None
    return np.array(np.prod(dims, dtype=np.int64), dtype=attrs["out_type"].dtype)


SIZE = OpDef(
    "Size",
    infer=lambda inputs, attrs: ((attrs["out_type"], ()),),
    kernel=lambda xp, x, *, out_type, out=None: xp.array(x.size, out_type.dtype),
    inputs=("x",),
    shape_only=(0,),
    value=_size_value,
    flops=lambda i, o, a: 0,
    batch=batch.row_size,
    doc="the number of elements of x",
)


def size(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The number of elements of ``input``, a scalar of ``out_type``."""
    return create(SIZE, (as_tensor(input),), {"out_type": as_dtype(out_type)}, name)


def _rank_value(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = inputs[0].dims
    return None if dims is None else np.array(len(dims), dtype=np.int32)


RANK = OpDef(
    "Rank",
    infer=lambda inputs, attrs: ((int32, ()),),
    kernel=lambda xp, x, out=None: xp.array(x.ndim, np.int32),
    inputs=("x",),
    shape_only=(0,),
    value=_rank_value,
    flops=lambda i, o, a: 0,
    batch=batch.row_rank_rule,
    doc="the number of axes of x",
)


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of axes of ``input``, an int32 scalar."""
    return create(RANK, (as_tensor(input),), None, name)


# -- broadcasting and its transpose ------------------------------------------


def _infer_to_shape(inputs: Sequence[Any], attrs: Any) -> Any:
    x, sizes = inputs
    return ((x.dtype, known_dims(sizes)),)


def _sum_to_kernel(xp: Any, x: Any, sizes: Any, out: Any = None) -> Any:
    target = tuple(int(n) for n in sizes)
    if x.shape == target:
        return copy_kernel(xp, x, out)
    lead, axes = _summed_axes(x.shape, target)
    if out is None:
        out = xp.empty(target, x.dtype)
    full = out.reshape((1,) * lead + target)
    xp.add.reduce(x, axis=axes, keepdims=True, out=full)
    return out


def _summed_axes(
    shape: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, tuple[int, ...]]:
    """How many leading axes ``target`` lacks, and all axes that are summed."""
    lead = len(shape) - len(target)
    axes = range(len(shape))
    return lead, tuple(
        i for i in axes if i < lead or (target[i - lead] == 1 != shape[i])
    )


def _bind_sum_to(attrs: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    shape, target = inputs[0].dims, outputs[0].dims
    lead, axes = _summed_axes(shape, target)
    if shape == target or len(axes) != lead:
        return None
    add = np.add.reduce

    def sum_leading(x: Any, sizes: Any, out: Any) -> Any:
        return add(x, axis=axes, out=out)

    return sum_leading


SUM_TO: OpDef = OpDef(
    "SumTo",
    infer=_infer_to_shape,
    kernel=_sum_to_kernel,
    inputs=("x", "shape"),
    linear=True,
    vjp=(lambda op, g: broadcast_like(g, op.inputs[0]), None),
    jvp=lambda op, t, _: create(SUM_TO, (t, op.inputs[1])),
    writes_out=True,
    bind=_bind_sum_to,
    identity=same_shape,
    flops=lambda ins, outs, attrs: int(np.prod([d or 0 for d in ins[0].dims or ()])),
    batch=batch.sum_to,
    doc="x summed over the axes along which the shape was broadcast",
)


def sum_to(x: Tensor, like: Tensor) -> Tensor:
    """``x`` summed to the shape of ``like``: the transpose of broadcasting."""
    return create(SUM_TO, (x, shape_tensor(like)), None, "SumTo")


def _infer_broadcast_to(inputs: Sequence[Any], attrs: Any) -> Any:
    x, sizes = inputs
    dims = known_dims(sizes)
    if dims is not None and x.dims is not None:
        if len(x.dims) > len(dims):
            raise ShapeError(f"{text(x.dims)} does not broadcast to {text(dims)}")
        for mine, theirs in zip(reversed(x.dims), reversed(dims)):
            if mine not in (1, None) and theirs is not None and mine != theirs:
                raise ShapeError(f"{text(x.dims)} does not broadcast to {text(dims)}")
    return ((x.dtype, dims),)


BROADCAST_TO: OpDef = OpDef(
    "BroadcastTo",
    infer=_infer_broadcast_to,
    kernel=lambda xp, x, sizes, out=None: xp.broadcast_to(
        x, tuple(int(n) for n in sizes)
    ),
    inputs=("x", "shape"),
    linear=True,
    vjp=(lambda op, g: sum_to(g, op.inputs[0]), None),
    jvp=lambda op, t, _: create(BROADCAST_TO, (t, op.inputs[1])),
    alias=0,
    identity=same_shape,
    flops=lambda i, o, a: 0,
    batch=batch.broadcast_to,
    doc="x repeated along new axes and axes of size 1",
)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """``input`` broadcast to ``shape`` by NumPy's rules (a view: no copy).

    Raises:
        ShapeError: the shapes do not broadcast.
    """
    from ._build import shape_vector

    return create(BROADCAST_TO, (as_tensor(input), shape_vector(shape)), None, name)


def broadcast_like(x: Tensor, like: Tensor) -> Tensor:
    """``x`` broadcast to the shape of ``like``."""
    return broadcast_to(x, shape_tensor(like))


# -- filled like another tensor ----------------------------------------------


def _like(type: str, value: int, doc: str) -> OpDef:
    def kernel(xp: Any, x: Any, *, dtype: Any, out: Any = None) -> Any:
        if isinstance(x, Ragged):
            return map_rows(lambda row: kernel(xp, row, dtype=dtype), x)
        if out is None:
            return xp.full(x.shape, value, dtype.dtype)
        out[...] = value
        return out

    return OpDef(
        type,
        infer=lambda inputs, attrs: ((attrs["dtype"], inputs[0].dims),),
        kernel=kernel,
        inputs=("x",),
        writes_out=True,
        shape_only=(0,),
        shape_math=True,
        flops=lambda i, o, a: 0,
        batch=batch.leading,
        doc=doc,
    )


ZEROS_LIKE = _like("ZerosLike", 0, "zeros of the shape of x")
ONES_LIKE = _like("OnesLike", 1, "ones of the shape of x")


def _filled_like(
    opdef: OpDef, value: int, x: Any, dtype: Any, name: str | None, optimize: bool
) -> Tensor:
    t = as_tensor(x)
    wanted = t.dtype if dtype is None else as_dtype(dtype)
    if optimize and is_static(t.dims) and wanted is not string:
        # A known shape needs no operand: nothing has to be kept alive for it.
        array = np.broadcast_to(np.array(value, wanted.dtype), t.dims or ())
        if array.size <= 1:
            return constant(array, wanted, name=name, graph=t.op.graph)
        with t.op.graph.as_default():
            fill: Tensor = TABLE["fill"](list(t.dims or ()), array.flat[0], name=name)
        return fill
    return create(opdef, (t,), {"dtype": wanted}, name)


def zeros_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Zeros of the shape of ``tensor``, of its dtype or ``dtype``."""
    return _filled_like(ZEROS_LIKE, 0, tensor, dtype, name or "zeros_like", optimize)


def ones_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Ones of the shape of ``tensor``, of its dtype or ``dtype``."""
    return _filled_like(ONES_LIKE, 1, tensor, dtype, name or "ones_like", optimize)


# -- sums of many ------------------------------------------------------------


def _infer_add_n(inputs: Sequence[Any], attrs: Any) -> Any:
    first = inputs[0]
    dims = first.dims
    require(inputs, "ifc")
    for t in inputs[1:]:
        dims = dims if dims == t.dims else merge(dims, t.dims)
    return ((first.dtype, dims),)


def _add_n_kernel(xp: Any, *arrays: Any, out: Any = None) -> Any:
    if len(arrays) == 1:
        return copy_kernel(xp, arrays[0], out)
    if out is not None and len(arrays) > 2:
        # The output may be in the memory of a tensor that is given twice.
        mine = [a for a in arrays if np.may_share_memory(a, out)]
        if len(mine) > 1:
            others = [a for a in arrays if not np.may_share_memory(a, out)]
            arrays = (xp.multiply(mine[0], len(mine), out), *others)
            if not others:
                return out
    out = xp.add(arrays[0], arrays[1], out)
    for a in arrays[2:]:
        out = xp.add(out, a, out) if isinstance(out, np.ndarray) else out + a
    return out


ADD_N = OpDef(
    "AddN",
    infer=_infer_add_n,
    kernel=_add_n_kernel,
    inputs=("*inputs",),
    linear=True,
    vjp=lambda op, g: [g] * len(op.inputs),
    jvp=lambda op, *ts: add_n([t for t in ts if t is not None]),
    bind=lambda attrs, inputs, outputs: np.add if len(inputs) == 2 else None,
    # Only the first two are read before the output is written.
    inplace=(0, 1),
    writes_out=True,
    elementwise=True,
    chainable=True,
    flops=lambda ins, outs, attrs: (len(ins) - 1) * _count(outs[0].dims),
    batch=batch.added,
    doc="the sum of tensors of one shape",
)


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of tensors of one shape and dtype, as one node.

    Raises:
        ShapeError, DTypeError: shapes or dtypes differ, or the list is empty.
    """
    if not isinstance(inputs, (list, tuple)):
        inputs = [inputs]
    tensors = [as_tensor(t) for t in inputs]
    if not tensors:
        raise ShapeError("add_n: needs at least one tensor")
    if len(tensors) == 1:
        return identity(tensors[0], name) if name else tensors[0]
    return create(ADD_N, tensors, None, name)


OPERATORS = {
    "add_n": add_n,
    "broadcast_like": broadcast_like,
    "cast": cast,
    "constant": constant,
    "identity": identity,
    "ones_like": ones_like,
    "sum_to": sum_to,
    "zeros_like": zeros_like,
}
