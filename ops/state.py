"""Variables: state that lives in a session and outlasts a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graphlib.dtypes import as_dtype
from ..graphlib.errors import CopyError, GraphError, ShapeError
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.keys import GraphKeys
from ..graphlib.operation import Operation
from ..graphlib.shapes import Dims, TensorShape, as_dims, compatible, text
from ..graphlib.source import entry
from ..graphlib.stacks import default_session, graph_stack, home
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create
from .assignment import (
    INITIALIZED_VALUE,
    VARIABLE,
    assign,
    assign_add,
    assign_sub,
    is_variable_initialized,
)
from .core import identity

__all__ = [
    "INITIALIZED_VALUE",
    "Variable",
    "assign",
    "assign_add",
    "assign_sub",
    "is_variable_initialized",
]


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
        if any(g.trial for g in graph_stack()):
            raise GraphError(
                f"{entry()}a gradient function makes a variable each time it is called"
            )
        graph = _graph_of(initial_value)
        self.constraint = constraint
        self.trainable = trainable is None or bool(trainable)
        self._controlled: tuple[Any, Tensor] | None = None
        self._save_slice_info: Any = None
        # Inside the body of a loop too: a variable is one, however often it runs.
        with (
            graph.as_innermost(),
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
            if initial.op.graph is not graph and initial.op.graph.is_inside(graph):
                raise GraphError(
                    f"{entry()}the initial value {initial!r} is made in "
                    f"{initial.op.graph.describe()}: give a function without "
                    "arguments that makes it"
                )
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
        graph = home(self._op.graph)
        controls = graph._local.context.controls
        if not controls and graph.outer is None:
            return self._snapshot
        # A body reads for itself: each of its runs sees what is there then.
        kept = self._controlled
        if kept is None or kept[0] != (graph, controls):
            kept = self._controlled = ((graph, controls), self.read_value())
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

    def scatter_mul(
        self, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """self[i] *= row for the rows of an IndexedSlices."""
        d = sparse_delta
        return self._scatter("scatter_mul", d.indices, d.values, name)

    def scatter_div(
        self, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """self[i] /= row for the rows of an IndexedSlices."""
        d = sparse_delta
        return self._scatter("scatter_div", d.indices, d.values, name)

    def scatter_min(
        self, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """self[i] = min(self[i], row) for the rows of an IndexedSlices."""
        d = sparse_delta
        return self._scatter("scatter_min", d.indices, d.values, name)

    def scatter_max(
        self, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """self[i] = max(self[i], row) for the rows of an IndexedSlices."""
        d = sparse_delta
        return self._scatter("scatter_max", d.indices, d.values, name)

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """The rows of the value at ``indices``."""
        from .gather import gather

        return gather(self, indices, name=name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements or slices of the value at ``indices``."""
        from .scatter import gather_nd

        return gather_nd(self, indices, name=name)

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

    def __copy__(self) -> Variable:
        raise CopyError(
            f"{self!r} cannot be copied: a copy would be the same variable of the "
            "same graph; make a new one from variable.initialized_value()",
            self.op,
        )

    def __deepcopy__(self, memo: Any) -> Variable:
        return self.__copy__()

    def __reduce__(self) -> Any:
        raise CopyError(
            f"{self!r} is a place in a graph and cannot be pickled: pickle "
            "session.run(variable), and load it with variable.load(value, session)",
            self.op,
        )

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
    graph = get_default_graph()
    if isinstance(initial_value, Tensor) or hasattr(initial_value, "_as_tensor"):
        graph = initial_value.graph
    return graph.root


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
