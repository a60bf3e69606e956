"""Variables: state that lives in a session and outlasts a run.

A variable is one ``VariableV2`` operation.  Reading it gives its value before
the run's writes, unless data or control dependencies order the read after one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graphlib.dtypes import as_dtype, bool_
from ..graphlib.errors import DTypeError, GraphError, ShapeError
from ..graphlib.graph import Graph, default_session, get_default_graph
from ..graphlib.keys import GraphKeys
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.shapes import Dims, TensorShape, as_dims, compatible, merge, text
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create
from .core import copy_kernel, identity

__all__ = [
    "Variable",
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
            the variable takes the value's shape.
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


def is_variable_initialized(ref: Any, name: str | None = None) -> Tensor:
    """Whether ``ref`` has a value in the session: a bool scalar."""
    return create(
        IS_INITIALIZED, (variable_tensor(ref, "is_variable_initialized"),), None, name
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


# -- the variable --------------------------------------------------------------


class Variable:
    """State of a session, with TF1's interface.

    Args:
        initial_value: a tensor, what becomes one, or a function without
            arguments that returns one.
        trainable: whether it joins TRAINABLE_VARIABLES (default True).
        collections: the collections that it joins (default GLOBAL_VARIABLES).
        validate_shape: whether the shape is fixed by the initial value; with
            False it is unknown, and any shape can be assigned.
        caching_device: accepted for TF1 programs.
        name: its name (default "Variable"), made unique.
        variable_def: not offered: use ``Graph.load``.
        dtype: the dtype to convert the initial value to.
        expected_shape: accepted for TF1 programs.
        import_scope: accepted for TF1 programs.
        constraint: ``f(value) -> value`` that optimizers apply after a step.
        use_resource, synchronization, aggregation: accepted for TF1 programs;
            reads always see a whole value, as resource variables do.
        shape: a static shape that the initial value must fit, which may have
            unknown dimensions.

    Raises:
        GraphError: no initial value.
        ShapeError: the shape of the initial value is not fully known (give
            ``validate_shape=False``), or does not fit ``shape``.
    """

    __array_priority__ = 100

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        if initial_value is None:
            raise GraphError("Variable: an initial_value is needed")
        if constraint is not None and not callable(constraint):
            raise GraphError(f"Variable: constraint {constraint!r} is not callable")
        graph = _graph_of(initial_value)
        self.constraint = constraint
        self.trainable = trainable is None or bool(trainable)
        self._controlled: tuple[tuple[Operation, ...], Tensor] | None = None
        self._save_slice_info: Any = None
        with (
            graph.as_default(),
            graph.control_dependencies(None),
            graph.name_scope(name or "Variable") as scope,
        ):
            wanted = None if dtype is None else as_dtype(dtype)
            if callable(initial_value):
                with graph.name_scope("Initializer"):
                    made = initial_value()
                    initial = as_tensor(made, wanted, name="initial_value")
            else:
                initial = as_tensor(initial_value, wanted, name="initial_value")
            dims = _variable_dims(initial, shape, validate_shape)
            attrs = {"dtype": initial.dtype, "shape": dims}
            self._op = graph.create_op(VARIABLE, (), attrs, scope)
            self._variable = self._op.outputs[0]
            self._initial_value = initial
            from .initialization import guarded

            self._guarded_initial = guarded(initial)
            self._initializer = assign(
                self._variable,
                self._guarded_initial,
                validate_shape=validate_shape,
                name="Assign",
            ).op
            self._snapshot = identity(self._variable, name="read")
            graph._variables[self._op] = self
        if collections is None:
            collections = [GraphKeys.GLOBAL_VARIABLES]
        collections = list(collections)
        if self.trainable and GraphKeys.TRAINABLE_VARIABLES not in collections:
            collections.append(GraphKeys.TRAINABLE_VARIABLES)
        graph.add_to_collections(collections, self)

    # -- what it is ------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the tensor (``"v:0"``)."""
        return self._variable.name

    @property
    def op(self) -> Operation:
        """The VariableV2 operation."""
        return self._op

    @property
    def graph(self) -> Graph:
        """The graph that holds it."""
        return self._op.graph

    @property
    def dtype(self) -> Any:
        """The element type."""
        return self._variable.dtype

    @property
    def device(self) -> str:
        """The device recorded for it."""
        return self._op.device

    @property
    def shape(self) -> TensorShape:
        """The static shape."""
        return self._variable.shape

    def get_shape(self) -> TensorShape:
        """The static shape (TF1's spelling)."""
        return self._variable.shape

    def set_shape(self, shape: Any) -> None:
        """Merge what is known of the shape with ``shape``; raises ShapeError."""
        self._variable.set_shape(shape)
        self._snapshot.set_shape(shape)

    @property
    def initializer(self) -> Operation:
        """The operation that writes the initial value."""
        return self._initializer

    @property
    def initial_value(self) -> Tensor:
        """The tensor of the initial value."""
        return self._initial_value

    # -- reading ---------------------------------------------------------------

    def value(self) -> Tensor:
        """The value at the start of the run (``v/read``)."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """The value, read by a new operation that takes the control dependencies
        of the place where this is called."""
        with self.graph.as_default():
            return identity(self._variable, name="read")

    def _as_tensor(self) -> Tensor:
        controls = self.graph._local.context.controls
        if not controls:
            return self._snapshot
        kept = self._controlled
        if kept is None or kept[0] != controls:
            kept = self._controlled = (controls, self.read_value())
        return kept[1]

    def _as_graph_element(self) -> Tensor:
        return self._variable

    def initialized_value(self) -> Tensor:
        """The value, or the initial value where the variable has none yet."""
        inputs = (self._variable, self._guarded_initial)
        with self.graph.control_dependencies(None):
            return create(INITIALIZED_VALUE, inputs, None, "initialized_value")

    def eval(self, session: Any = None) -> Any:
        """The value in ``session`` (default: the default session)."""
        return default_session(session, "Variable.eval").run(self._variable)

    # -- writing ---------------------------------------------------------------

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """self = value: the value after the write (the operation with
        ``read_value=False``)."""
        t = assign(self, value, name=name)
        return t if read_value else t.op

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """self += delta: the value after the write."""
        t = assign_add(self, delta, name=name)
        return t if read_value else t.op

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """self -= delta: the value after the write."""
        t = assign_sub(self, delta, name=name)
        return t if read_value else t.op

    def load(self, value: Any, session: Any = None) -> None:
        """Write ``value`` in ``session``, without a new operation."""
        target = self._initializer.inputs[1]
        default_session(session, "Variable.load").run(
            self._initializer, {target: value}
        )

    def _scatter(self, type: str, indices: Any, updates: Any, name: Any) -> Tensor:
        from . import scatter_state

        builder: Callable[..., Tensor] = getattr(scatter_state, type)
        return builder(self, indices, updates, name=name)

    def scatter_update(
        self, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """self[i] = row for the rows of an IndexedSlices."""
        d = sparse_delta
        return self._scatter("scatter_update", d.indices, d.values, name)

    def scatter_add(
        self, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """self[i] += row for the rows of an IndexedSlices."""
        d = sparse_delta
        return self._scatter("scatter_add", d.indices, d.values, name)

    def scatter_sub(
        self, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """self[i] -= row for the rows of an IndexedSlices."""
        d = sparse_delta
        return self._scatter("scatter_sub", d.indices, d.values, name)

    def scatter_nd_update(
        self, indices: Any, updates: Any, name: str | None = None
    ) -> Tensor:
        """self[indices] = updates, elements or slices."""
        return self._scatter("scatter_nd_update", indices, updates, name)

    def scatter_nd_add(
        self, indices: Any, updates: Any, name: str | None = None
    ) -> Tensor:
        """self[indices] += updates, elements or slices."""
        return self._scatter("scatter_nd_add", indices, updates, name)

    def scatter_nd_sub(
        self, indices: Any, updates: Any, name: str | None = None
    ) -> Tensor:
        """self[indices] -= updates, elements or slices."""
        return self._scatter("scatter_nd_sub", indices, updates, name)

    # -- as Python sees it -----------------------------------------------------

    def __iter__(self) -> Any:
        raise TypeError(
            f"{self!r} cannot be iterated over: use dagrad.unstack(variable)"
        )

    def __repr__(self) -> str:
        return (
            f"<dagrad.Variable {self.name!r} shape={text(self._variable.dims)} "
            f"dtype={self.dtype.name}>"
        )


def _graph_of(initial_value: Any) -> Graph:
    if isinstance(initial_value, Tensor) or hasattr(initial_value, "_as_tensor"):
        return initial_value.graph  # type: ignore[no-any-return]
    return get_default_graph()


def _variable_dims(initial: Tensor, shape: Any, validate_shape: bool) -> Dims:
    if shape is not None:
        dims = as_dims(shape)
        if not compatible(dims, initial.dims):
            raise ShapeError(
                f"Variable: the initial value {initial!r} does not fit "
                f"shape {text(dims)}"
            )
        return dims
    if not validate_shape:
        return None
    if initial.dims is None or None in initial.dims:
        raise ShapeError(
            f"Variable: the shape of the initial value {initial!r} must be fully "
            "known; give validate_shape=False for a variable of any shape"
        )
    return initial.dims


def _delegate(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    def operator(self: Variable, *args: Any, **kwargs: Any) -> Any:
        return method(self._as_tensor(), *args, **kwargs)

    operator.__name__ = name
    operator.__doc__ = f"``Tensor.{name}`` of the value."
    return operator


# Every operator of a tensor works on the value of a variable; `==` and hash stay
# identity, and __iter__ raises.
for _name in vars(Tensor):
    if not _name.startswith("__") or _name in vars(Variable):
        continue
    if callable(getattr(Tensor, _name)):
        setattr(Variable, _name, _delegate(_name))
