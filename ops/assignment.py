"""Writing variables, and looking at those that may have no value.

A variable is one ``VariableV2`` operation.  Reading it gives its value before
the run's writes, unless data or control dependencies order the read after one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphlib.dtypes import bool_
from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.shapes import Dims, compatible, merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create
from .core import copy_kernel

__all__ = [
    "assign",
    "assign_add",
    "assign_sub",
    "is_variable_initialized",
]

_NO_GRADIENT = (
    "it writes a variable; differentiate the value that is written, or read the "
    "variable inside control_dependencies([write])"
)

VARIABLE = OpDef(
    "VariableV2",
    infer=lambda inputs, attrs: ((attrs["dtype"], attrs["shape"]),),
    kernel=None,
    effect="variable",
    flops=lambda i, o, a: 0,
    doc="an array that the session keeps",
)


# -- writing -------------------------------------------------------------------


def same_dtype(inputs: Sequence[Any]) -> None:
    """Raises DTypeError unless all inputs have the dtype of the first."""
    for t in inputs[1:]:
        if t.dtype is not inputs[0].dtype:
            raise DTypeError(
                f"the variable has dtype {inputs[0].dtype.name}, the value "
                f"{t.dtype.name}: use dagrad.cast"
            )


def require_numeric(inputs: Sequence[Any]) -> None:
    """Raises DTypeError for bool and string variables, which have no arithmetic."""
    if inputs[0].dtype.kind < 1:
        raise DTypeError(f"a {inputs[0].dtype.name} variable has no arithmetic")


def _infer_assign(inputs: Sequence[Any], attrs: Any) -> Any:
    ref, value = inputs
    same_dtype(inputs)
    if not attrs["validate_shape"]:
        return ((ref.dtype, value.dims),)
    if not compatible(ref.dims, value.dims):
        raise ShapeError(
            f"a value of shape {text(value.dims)} cannot be assigned to a variable "
            f"of shape {text(ref.dims)}; validate_shape=False allows it"
        )
    return ((ref.dtype, merge(ref.dims, value.dims)),)


def _assign_kernel(
    xp: Any,
    cell: Any,
    value: Any,
    *,
    validate_shape: bool,
    shape: Dims,
    out: Any = None,
) -> Any:
    if validate_shape and not compatible(shape, value.shape):
        raise ShapeError(
            f"a value of shape {text(value.shape)} cannot be assigned to a variable "
            f"of shape {text(shape)}"
        )
    cell.assign(value)
    return cell.array


ASSIGN = OpDef(
    "Assign",
    infer=_infer_assign,
    kernel=_assign_kernel,
    inputs=("ref", "value"),
    no_gradient=_NO_GRADIENT,
    alias=0,
    effect="assign",
    updates=(0,),
    doc="ref = value",
)


def infer_update(inputs: Sequence[Any], attrs: Any) -> Any:
    """Inference of an update: the variable's dtype and shape, like the value's."""
    require_numeric(inputs)
    same_dtype(inputs)
    ref, value = inputs[0], inputs[-1]
    if not compatible(ref.dims, value.dims):
        raise ShapeError(
            f"the variable has shape {text(ref.dims)}, the value {text(value.dims)}: "
            "an update does not broadcast"
        )
    return ((ref.dtype, merge(ref.dims, value.dims)),)


def check_shape(array: Any, value: Any) -> None:
    """Raises ShapeError unless an update's value has the variable's shape."""
    if array.shape != value.shape:
        raise ShapeError(
            f"the variable has shape {text(array.shape)}, the value "
            f"{text(value.shape)}: an update does not broadcast"
        )


def _update(type: str, ufunc: str, doc: str) -> OpDef:
    def kernel(xp: Any, array: Any, value: Any, out: Any = None) -> Any:
        check_shape(array, value)
        getattr(xp, ufunc)(array, value, out=array)
        return array

    return OpDef(
        type,
        infer=infer_update,
        kernel=kernel,
        inputs=("ref", "value"),
        no_gradient=_NO_GRADIENT,
        alias=0,
        effect="update",
        updates=(0,),
        doc=doc,
    )


ASSIGN_ADD = _update("AssignAdd", "add", "ref += value")
ASSIGN_SUB = _update("AssignSub", "subtract", "ref -= value")


def variable_tensor(ref: Any, who: str) -> Tensor:
    """``v:0`` of a variable, or the result of a write (writes can be chained).

    Raises:
        DTypeError: ``ref`` is no variable.
    """
    found = ref._as_graph_element() if hasattr(ref, "_as_graph_element") else ref
    if isinstance(found, Tensor):
        opdef = found.op.opdef
        if opdef.effect == "variable" or (opdef.updates and found.index == 0):
            return found
    raise DTypeError(f"{who}: {ref!r} is not a variable, so nothing can write to it")


def assign(
    ref: Any,
    value: Any,
    validate_shape: bool | None = None,
    use_locking: bool | None = None,
    name: str | None = None,
) -> Tensor:
    """ref = value; the result is the variable's value after the write.

    Args:
        ref: a variable.
        value: a tensor, or what becomes one, of the variable's dtype.
        validate_shape: whether the shapes must fit (default True); with False
            a variable that was created so takes the value's shape.
        use_locking: accepted for TF1 programs; runs never see half a write.
        name: the name of the operation.

    Raises:
        ShapeError, DTypeError: the value does not fit the variable.

    Gradient: asking for one is an error; differentiate ``value``.
    """
    t = variable_tensor(ref, "assign")
    with t.op.graph.as_default():
        v = as_tensor(value, _wanted(value, t))
    attrs = {"validate_shape": validate_shape is not False, "shape": t.dims}
    return create(ASSIGN, (t, v), attrs, name)


def _wanted(value: Any, ref: Tensor) -> Any:
    """The dtype to give plain values; tensors keep theirs, for a better message."""
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        return None
    return ref.dtype


def update_op(
    opdef: OpDef,
    ref: Any,
    value: Any,
    name: str | None,
    attrs: dict[str, Any] | None = None,
) -> Tensor:
    """An update of ``ref`` by one value of the variable's dtype."""
    t = variable_tensor(ref, opdef.type)
    with t.op.graph.as_default():
        v = as_tensor(value, _wanted(value, t))
    return create(opdef, (t, v), attrs, name)


def assign_add(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Tensor:
    """ref += value, of the same shape; the result is the value after the write.

    Raises:
        ShapeError, DTypeError: the value does not fit (it is not broadcast).
    """
    return update_op(ASSIGN_ADD, ref, value, name)


def assign_sub(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Tensor:
    """ref -= value, of the same shape; the result is the value after the write.

    Raises:
        ShapeError, DTypeError: the value does not fit (it is not broadcast).
    """
    return update_op(ASSIGN_SUB, ref, value, name)


# -- looking at a variable that may not be initialised -------------------------


IS_INITIALIZED = OpDef(
    "IsVariableInitialized",
    infer=lambda inputs, attrs: ((bool_, ()),),
    kernel=lambda xp, cell, out=None: xp.array(cell.array is not None),
    inputs=("ref",),
    effect="probe",
    flops=lambda i, o, a: 0,
    doc="whether the variable has a value",
)


def is_variable_initialized(variable: Any, name: str | None = None) -> Tensor:
    """Whether ``variable`` has a value in the session: a bool scalar."""
    return create(
        IS_INITIALIZED,
        (variable_tensor(variable, "is_variable_initialized"),),
        None,
        name,
    )


def _initialized_kernel(xp: Any, cell: Any, default: Any, out: Any = None) -> Any:
    value = default if cell.array is None else cell.array
    return copy_kernel(xp, value, out)


INITIALIZED_VALUE = OpDef(
    "InitializedValue",
    infer=lambda inputs, attrs: ((inputs[0].dtype, inputs[0].dims),),
    kernel=_initialized_kernel,
    inputs=("ref", "initial_value"),
    no_gradient="it is for initial values; differentiate a read of the variable",
    writes_out=True,
    effect="probe",
    flops=lambda i, o, a: 0,
    doc="the variable's value, or its initial value where it has none yet",
)
