"""What every op builder needs: making nodes, operands of one dtype, sizes.

Builders are plain functions over :func:`create`.  Values that users pass
(numbers, arrays, lists, variables, tensors) become tensors here, with NumPy's
promotion and weak Python scalars.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import (
    DType,
    as_dtype,
    convert_exactly,
    float32,
    int32,
    int64,
    promote,
    promote_weak,
    string,
)
from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import Dims, as_dims, is_static, text
from ..graphlib.source import entry
from ..graphlib.stacks import home
from ..graphlib.tensor import Tensor, _holds_tensor, as_tensor

__all__ = [
    "as_tensor",
    "common_dtype",
    "constant",
    "create",
    "create_many",
    "create_op",
    "graph_of",
    "inexact",
    "numeric_array",
    "pair",
    "scope",
    "shape_tensor",
    "shape_vector",
]

_PYTHON_NUMBERS = (float, int, bool, complex)


def graph_of(*values: Any) -> Graph:
    """The graph of the first tensor among ``values``, else the default graph.

    Inside a body that lies in that graph it is the body.
    """
    for v in values:
        if isinstance(v, Tensor):
            return home(v.op.graph)
        if hasattr(v, "_as_graph_element"):
            return home(v.graph)
    return get_default_graph()


def create_op(
    opdef: OpDef,
    inputs: Sequence[Tensor] = (),
    attrs: dict[str, Any] | None = None,
    name: str | None = None,
) -> Operation:
    """Append an operation to the graph of its inputs (or the default graph)."""
    graph = inputs[0].op.graph if inputs else get_default_graph()
    return graph.create_op(opdef, inputs, attrs, name)


def create(
    opdef: OpDef,
    inputs: Sequence[Tensor] = (),
    attrs: dict[str, Any] | None = None,
    name: str | None = None,
) -> Tensor:
    """Append an operation with one output and return that output."""
    graph = inputs[0].op.graph if inputs else get_default_graph()
    return graph.create_op(opdef, inputs, attrs, name).outputs[0]


def create_many(
    opdef: OpDef,
    inputs: Sequence[Tensor] = (),
    attrs: dict[str, Any] | None = None,
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """Append an operation and return all its outputs."""
    return create_op(opdef, inputs, attrs, name).outputs


def scope(
    name: str | None, default: str, *values: Any
) -> contextlib.AbstractContextManager[str]:
    """A name scope for a builder that makes several nodes.

    Nodes inside are made in the graph of ``values``.
    """
    return _in_graph(graph_of(*values), name or default)


@contextlib.contextmanager
def _in_graph(graph: Graph, name: str) -> Any:
    with graph.as_default(), graph.name_scope(name) as full:
        yield full


# -- constants ---------------------------------------------------------------


def numeric_array(value: Any, dtype: DType | None, who: str = "constant") -> Any:
    """``value`` as an ndarray of a dtype that dagrad has, by TF1's rules.

    Python floats become float32 and ints int32 (int64 where they do not fit);
    arrays keep their dtype; a given ``dtype`` is checked, not forced: a value
    that it cannot hold raises.

    Raises:
        DTypeError: no dtype fits, or the lists are ragged.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
    else:
        try:
            array = np.asarray(value)
        except UnicodeDecodeError:  # bytes beside text
            array = np.asarray(value, dtype=object)
        except (ValueError, TypeError) as error:
            raise DTypeError(f"{who}: {error}") from None
        if array.dtype == object:
            if value is None:
                raise DTypeError(
                    f"{entry()}None is no value: is a `return` missing? (A gradient "
                    "that is None means that no differentiable path leads from its x "
                    "to the ys: see explain_gradient.)"
                )
            return _string_array(value, array, dtype, who)
        if dtype is None and array.dtype.kind in "iuf" and array.dtype.itemsize == 8:
            if array.dtype.kind == "f":
                if not _numpy_leaf(value):
                    with np.errstate(over="ignore"):  # 1e300 is inf in float32
                        array = array.astype(np.float32)
            elif not _numpy_leaf(value):
                small = array.astype(np.int32)
                array = small if np.array_equal(small, array) else array
    if array.dtype.kind in "SU":
        return _string_array(value, array, dtype, who)
    if dtype is None:
        as_dtype(array.dtype)
        return array
    return cast_checked(array, dtype, who)


def cast_checked(array: Any, dtype: DType, who: str) -> Any:
    """:func:`convert_exactly`, with ``who`` in the message."""
    try:
        return convert_exactly(array, dtype)
    except DTypeError as error:
        raise DTypeError(f"{who}: {error}") from None


def _numpy_leaf(value: Any) -> bool:
    """Whether nested lists hold NumPy scalars or arrays (which keep their dtype)."""
    stack = [value]
    while stack:
        v = stack.pop()
        if isinstance(v, (np.ndarray, np.generic)):
            return True
        if isinstance(v, (list, tuple)):
            stack.extend(v[:8])
    return False


def _string_array(value: Any, array: Any, dtype: DType | None, who: str) -> Any:
    out = np.asarray(value, dtype=object)
    if not all(isinstance(v, (str, bytes)) for v in out.reshape(-1)):
        raise DTypeError(
            f"{who}: {value!r} is no array: nested lists must be regular and hold "
            "numbers, strings or booleans"
        )
    if dtype is not None and dtype is not string:
        raise DTypeError(f"{who}: strings cannot become {dtype.name}")
    flat = [v.encode() if isinstance(v, str) else v for v in out.reshape(-1)]
    result = np.empty(out.shape, dtype=object)
    result.reshape(-1)[:] = flat
    return result


def _infer_const(inputs: Sequence[Any], attrs: Any) -> Any:
    value = attrs["value"]
    return ((as_dtype(value.dtype), value.shape),)


CONST = OpDef(
    "Const",
    infer=_infer_const,
    kernel=lambda xp, *, value, out=None: value,
    effect="constant",
    value=lambda inputs, attrs: attrs["value"],
    doc="a fixed array",
)


def constant(
    value: Any,
    dtype: Any = None,
    shape: Any = None,
    name: str | None = "Const",
    verify_shape: bool = False,
    graph: Graph | None = None,
) -> Tensor:
    """A fixed array: the same ``value`` in every run.

    Args:
        value: a number, string, array or nested list; it is copied.
        dtype: the element type (default: float32 for Python floats, int32 for
            ints, an array's own dtype).
        shape: a full shape to give it; where there are fewer values, the last
            one fills the rest, as in TF1.
        name: the name of the operation.
        verify_shape: raise instead of filling.
        graph: the graph to add to (default: the default graph).

    Raises:
        DTypeError: the values cannot be of ``dtype``.
        ShapeError: ``shape`` holds fewer elements than ``value``.
    """
    if isinstance(value, Tensor):
        raise DTypeError(f"constant: {value!r} is a tensor; use it as it is")
    wanted = None if dtype is None else as_dtype(dtype)
    if type(value) in _PYTHON_NUMBERS and shape is None and wanted is not None:
        array = _scalar(value, wanted)
    else:
        array = numeric_array(value, wanted)
        if shape is not None:
            array = _fill(array, as_dims(shape), verify_shape)
        if array is value or array.base is not None or not array.flags.owndata:
            array = array.copy()
    # A view, so that a kernel can look at it as NumPy wants it (see ``gather.lent``).
    array = array.view()
    array.setflags(write=False)
    graph = graph or get_default_graph()
    return graph.create_op(CONST, (), {"value": array}, name).outputs[0]


def _scalar(value: Any, dtype: DType) -> Any:
    """A Python number as a 0-d array, refusing what does not fit."""
    if dtype.kind >= 2 and not isinstance(value, complex):
        with np.errstate(over="ignore"):
            return np.array(value, dtype.dtype)
    return np.array(cast_checked(np.asarray(value), dtype, "constant"))


def _fill(array: Any, dims: Dims, verify: bool) -> Any:
    if not is_static(dims) or dims is None:
        raise ShapeError(f"constant: shape {text(dims)} must be fully known")
    if array.shape == dims:
        return array
    count = int(np.prod(dims, dtype=np.int64))
    if verify or array.size > count or (array.size == 0 and count):
        raise ShapeError(
            f"constant: values of shape {text(array.shape)} do not make {text(dims)}"
        )
    flat = array.reshape(-1)
    if flat.size < count:
        flat = np.concatenate([flat, np.full(count - flat.size, flat[-1], flat.dtype)])
    return flat.reshape(dims).copy()


# -- operands ----------------------------------------------------------------


def _weak_dtype(strong: DType, value: Any) -> DType:
    """The dtype of (tensor of ``strong``) op ``value``, for a value that is no tensor.

    Python numbers, NumPy scalars and floating arrays follow the tensor, as in
    TF1, unless their kind is higher; integer arrays promote by NumPy's rules.
    """
    kind = type(value)
    if kind in _PYTHON_NUMBERS:
        return promote_weak(strong, kind)
    if isinstance(value, (list, tuple)):
        array = np.asarray(value)
        if array.dtype.kind in "bifc" and not _numpy_leaf(value):
            python = {"b": bool, "i": int, "f": float, "c": complex}[array.dtype.kind]
            return promote_weak(strong, python)
    else:
        array = value
    array = np.asarray(array)
    own = as_dtype(array.dtype)
    if (own.kind >= 2 or array.ndim == 0) and 0 <= own.kind <= strong.kind:
        return strong
    return promote(strong, own)


def common_dtype(values: Sequence[Any]) -> DType:
    """The dtype that operands (tensors and plain values) have in common."""
    strong: DType | None = None
    for v in values:
        if isinstance(v, Tensor) or hasattr(v, "_as_tensor"):
            strong = v.dtype if strong is None else promote(strong, v.dtype)
    if strong is None:
        return _plain_dtype(values)
    for v in values:
        if not (isinstance(v, Tensor) or hasattr(v, "_as_tensor")):
            strong = _weak_dtype(strong, v)
    return strong


def _plain_dtype(values: Sequence[Any]) -> DType:
    """The common dtype of values of which none is a tensor.

    Arrays promote as NumPy does; Python numbers, also in lists, follow them, and
    among themselves are int32 or float32: [1] and [2.5] make float32.
    """
    result: DType | None = None
    literals = []
    for v in values:
        own = as_dtype(numeric_array(v, None).dtype)
        if own.kind >= 0 and not _numpy_leaf(v):
            literals.append((own, v))
        else:
            result = own if result is None else promote(result, own)
    firm = result is not None
    for own, v in literals:
        if result is None or (own.kind == result.kind and not firm):
            result = own if result is None else promote(result, own)
        else:
            result = _weak_dtype(result, v)
    return result or float32


def _operand(value: Any, dtype: DType, name: str | None, graph: Graph) -> Tensor:
    """``value`` as a tensor of ``dtype``, cast where it is a tensor of another."""
    if type(value) is Tensor or isinstance(value, Tensor):
        tensor = value
    elif hasattr(value, "_as_tensor"):
        tensor = value._as_tensor()
    elif type(value) in _PYTHON_NUMBERS:
        return constant(value, dtype, name=name, graph=graph)
    elif isinstance(value, (list, tuple)) or value is None:
        with graph.as_default():
            tensor = as_tensor(value, name=name)
    else:
        array = numeric_array(value, None)
        if array.dtype != dtype.dtype:
            array = cast_checked(array, dtype, "operand")
        return constant(array, dtype, name=name, graph=graph)
    if tensor.dtype is not dtype:
        from .core import cast

        tensor = cast(tensor, dtype)
    return tensor


def _packed(value: Any) -> Any:
    """``value``, stacked where it is a list that holds tensors."""
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        return as_tensor(value)
    return value


def pair(
    x: Any, y: Any, graph: Graph | None = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """Both operands of a binary op as tensors of their common dtype.

    Raises:
        DTypeError: they have none (a string and a number).
    """
    if type(x) is Tensor and type(y) is Tensor and x.dtype is y.dtype:
        return x, y
    x, y = _packed(x), _packed(y)
    graph = graph or graph_of(x, y)
    dtype = common_dtype((x, y))
    prefix = f"{name}/" if name else ""
    # With a trailing slash-less prefix the graph makes "mul/x" unique itself.
    return (
        _operand(x, dtype, f"{prefix}x", graph),
        _operand(y, dtype, f"{prefix}y", graph),
    )


def inexact(x: Any, name: str | None = None) -> Tensor:
    """``x`` as a floating or complex tensor: integers become float32.

    Raises:
        DTypeError: ``x`` is a string.
    """
    t = as_tensor(x, name=name)
    if t.dtype.is_inexact:
        return t
    if t.dtype.kind < 0:
        raise DTypeError(f"{t!r} holds strings; a number is needed")
    from .core import cast

    return cast(t, float32)


# -- sizes -------------------------------------------------------------------


def shape_vector(shape: Any, name: str | None = "shape") -> Tensor:
    """A shape argument as a 1-D integer tensor.

    Takes a tensor, a TensorShape, an int, or a list of ints, Dimensions and
    scalar tensors.

    Raises:
        ShapeError: an unknown dimension.
        DTypeError: a tensor that holds no integers.
    """
    if isinstance(shape, Tensor) or hasattr(shape, "_as_tensor"):
        t = as_tensor(shape)
        if not t.dtype.is_integer:
            raise DTypeError(f"a shape must hold integers, not {t.dtype.name}: {t!r}")
        return t
    if isinstance(shape, (list, tuple)) and any(
        isinstance(d, Tensor) or hasattr(d, "_as_tensor") for d in shape
    ):
        sizes = [
            as_tensor(d)
            if isinstance(d, Tensor) or hasattr(d, "_as_tensor")
            else _int(d)
            for d in shape
        ]
        wide = any(isinstance(d, Tensor) and d.dtype is int64 for d in sizes)
        dtype = int64 if wide else int32
        return as_tensor(sizes, dtype, name=name)
    if isinstance(shape, np.ndarray):
        shape = shape.tolist()
    if not isinstance(shape, (list, tuple)) and not hasattr(shape, "as_list"):
        shape = [shape]
    sizes = shape.as_list() if hasattr(shape, "as_list") else [_int(d) for d in shape]
    if None in sizes:
        raise ShapeError(f"shape {sizes} has unknown dimensions: use dagrad.shape(t)")
    big = any(d > 2**31 - 1 for d in sizes)
    array = np.array(sizes, dtype=np.int64 if big else np.int32).reshape(-1)
    return constant(array, name=name)


def _int(d: Any) -> Any:
    value = getattr(d, "value", d)  # a Dimension
    if value is None:
        return None
    try:
        return int(value.__index__())
    except (AttributeError, TypeError):
        raise DTypeError(f"a size must be an integer, not {d!r}") from None


def shape_tensor(t: Tensor) -> Tensor:
    """The sizes of ``t`` as an int32 vector: a constant where they are known."""
    if is_static(t.dims):
        return constant(np.array(t.dims, dtype=np.int32), graph=t.op.graph)
    from .core import shape

    return shape(t)
