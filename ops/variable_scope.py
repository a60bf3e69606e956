"""Variables shared by name: ``get_variable`` and ``variable_scope``, as in TF1.

Each graph has one store of variables by full name; each thread has its own
current scope in it.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import Any

from ..graphlib.dtypes import as_dtype, float32
from ..graphlib.errors import DTypeError, GraphError, ShapeError
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.keys import GraphKeys
from ..graphlib.shapes import as_dims, compatible, is_static, text
from ..graphlib.source import caller, resolve
from ..graphlib.tensor import Tensor
from ._build import common_dtype, graph_of
from .initializers import GlorotUniform, Zeros
from .state import Variable

__all__ = [
    "AUTO_REUSE",
    "VariableScope",
    "get_local_variable",
    "get_variable",
    "get_variable_scope",
    "no_regularizer",
    "variable_op_scope",
    "variable_scope",
]


class _ReuseMode(Enum):
    """What ``reuse`` can be beside True and False."""

    AUTO_REUSE = 1


#: Take the variable where it exists, create it where it does not.
AUTO_REUSE = _ReuseMode.AUTO_REUSE


def no_regularizer(_: Any) -> None:
    """A regularizer that adds no loss, to undo a scope's one."""
    return None


class _Current(threading.local):
    """One thread's place in a graph's scopes."""

    def __init__(self) -> None:
        self.scope = VariableScope(False)
        # How often each full name was opened, for default_name.
        self.opened: dict[str, int] = {}


class _Store:
    """The variables of one graph by full name."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.current = _Current()


def _store(graph: Graph | None = None) -> _Store:
    graph = (graph or get_default_graph()).root
    kept: _Store = vars(graph).setdefault("_variable_store", None) or _Store()
    vars(graph)["_variable_store"] = kept
    return kept


class VariableScope:
    """What ``get_variable`` takes from its surroundings: a prefix and defaults.

    Attributes:
        name: the prefix of names, without a last slash.
        original_name_scope: the name scope that was opened with it.
        reuse: False, True or AUTO_REUSE.
        initializer, regularizer, dtype, constraint, caching_device,
            custom_getter, use_resource: defaults for variables.
    """

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = float32,
        use_resource: bool | None = None,
        constraint: Any = None,
    ) -> None:
        _no_partitions(partitioner)
        self.name = name
        self.reuse = reuse
        self.initializer = initializer
        self.regularizer = regularizer
        self.caching_device = caching_device
        self.partitioner = None
        self.custom_getter = custom_getter
        self.original_name_scope = name_scope
        self.dtype = as_dtype(dtype)
        self.use_resource = use_resource
        self.constraint = constraint

    def reuse_variables(self) -> None:
        """From here on, ``get_variable`` in this scope takes existing variables."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Set the default initializer."""
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        """Set the default regularizer."""
        self.regularizer = regularizer

    def set_dtype(self, dtype: Any) -> None:
        """Set the default dtype."""
        self.dtype = as_dtype(dtype)

    def set_custom_getter(self, custom_getter: Any) -> None:
        """Set the function through which variables are got."""
        self.custom_getter = custom_getter

    def set_caching_device(self, caching_device: Any) -> None:
        """Accepted for TF1 programs."""
        self.caching_device = caching_device

    def set_use_resource(self, use_resource: bool) -> None:
        """Accepted for TF1 programs."""
        self.use_resource = use_resource

    def get_collection(self, name: Any) -> list[Any]:
        """The items of a collection whose names lie in this scope."""
        prefix = f"{self.name}/" if self.name else ""
        items = get_default_graph().get_collection(name)
        return [i for i in items if getattr(i, "name", "").startswith(prefix)]

    def global_variables(self) -> list[Any]:
        """The global variables of this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        """The local variables of this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        """The trainable variables of this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def _derived(self, name: str, reuse: Any, name_scope: str) -> VariableScope:
        """A scope with the same defaults."""
        return VariableScope(
            reuse,
            name,
            self.initializer,
            self.regularizer,
            self.caching_device,
            None,
            self.custom_getter,
            name_scope,
            self.dtype,
            self.use_resource,
            self.constraint,
        )

    def __repr__(self) -> str:
        return f"<dagrad.VariableScope {self.name!r} reuse={self.reuse}>"


def _no_partitions(partitioner: Any) -> None:
    if partitioner is not None:
        raise GraphError(
            "partitioned variables are not offered: a variable is one array"
        )


def get_variable_scope() -> VariableScope:
    """The current variable scope."""
    return _store().current.scope


# -- getting a variable -------------------------------------------------------------


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Any:
    """The variable of that name in the current scope: an existing or a new one.

    Args:
        name: the name; the scope's name goes before it.
        shape: the shape of a new variable (or what an existing one must fit);
            not with a constant ``initializer``.
        dtype: the dtype (default: the scope's, float32).
        initializer: ``f(shape, dtype=dtype) -> tensor``, a class of those, a
            function without arguments, or a value. Default: the scope's, else
            Glorot's uniform one (zeros for integers and bool).
        regularizer: ``f(variable) -> loss`` (default: the scope's); a new
            variable's loss joins REGULARIZATION_LOSSES.
        trainable: whether it joins TRAINABLE_VARIABLES (default True).
        collections: see :class:`Variable`.
        partitioner: not offered.
        custom_getter: ``f(getter, name, **arguments) -> variable``, called in
            place of the getter.
        constraint: see :class:`Variable`.
        caching_device, use_resource, synchronization, aggregation, validate_shape:
            see :class:`Variable`.

    Raises:
        GraphError: it exists and the scope does not reuse, or the other way
            round.
        ShapeError, DTypeError: an existing variable does not fit; the shape of
            a new one is not known.
    """
    scope = get_variable_scope()
    _no_partitions(partitioner)
    arguments: dict[str, Any] = {
        "name": f"{scope.name}/{name}" if scope.name else name,
        "shape": shape,
        "dtype": dtype if dtype is not None else _dtype_of(initializer, scope.dtype),
        "initializer": scope.initializer if initializer is None else initializer,
        "regularizer": scope.regularizer if regularizer is None else regularizer,
        "reuse": scope.reuse,
        "trainable": trainable,
        "collections": collections,
        "caching_device": caching_device or scope.caching_device,
        "partitioner": None,
        "validate_shape": validate_shape,
        "use_resource": use_resource,
        "constraint": scope.constraint if constraint is None else constraint,
        "synchronization": synchronization,
        "aggregation": aggregation,
    }
    if dtype is not None:
        _check_value_dtype(arguments["name"], initializer, dtype)
    getter: Callable[..., Any] = _get
    for wrap in (scope.custom_getter, custom_getter):
        if wrap is not None:
            getter = partial(wrap, getter)
    graph = get_default_graph().root
    with graph.as_innermost(), graph.name_scope(None):
        return getter(**arguments)


def _dtype_of(initializer: Any, default: Any) -> Any:
    """The dtype that a value has as a tensor; else the default."""
    if initializer is None or callable(initializer):
        return default
    dtype = getattr(initializer, "dtype", None)
    if dtype is None:
        dtype = common_dtype([initializer])
    return as_dtype(dtype)


def _check_value_dtype(name: str, initializer: Any, dtype: Any) -> None:
    own = getattr(initializer, "dtype", None)
    if callable(initializer) or own is None:
        return
    if as_dtype(own) is not as_dtype(dtype):
        raise DTypeError(
            f"get_variable: {name!r} has an initializer of dtype "
            f"{as_dtype(own).name}, but dtype {as_dtype(dtype).name} is given"
        )


def get_local_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = False,
    collections: Any = None,
    **more: Any,
) -> Any:
    """:func:`get_variable` for the collection LOCAL_VARIABLES, never trainable."""
    joined = list(collections or [])
    if GraphKeys.LOCAL_VARIABLES not in joined:
        joined.append(GraphKeys.LOCAL_VARIABLES)
    return get_variable(
        name, shape, dtype, initializer, regularizer, False, joined, **more
    )


def _get(
    name: str,
    shape: Any = None,
    dtype: Any = float32,
    initializer: Any = None,
    regularizer: Any = None,
    reuse: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
    **more: Any,
) -> Any:
    """The getter that custom getters end in; ``name`` is the full name."""
    if more:
        raise TypeError(f"get_variable() got unexpected arguments {sorted(more)}")
    store = _store()
    is_value = initializer is not None and not callable(initializer)
    if is_value and shape is not None:
        raise GraphError(
            f"get_variable: {name!r} has a value as initializer, which gives the "
            "shape: leave shape out"
        )
    found = store.variables.get(name)
    if found is not None:
        _check_found(found, name, reuse, shape, dtype)
        return found
    if reuse is True:
        raise GraphError(
            f"get_variable at {_here()}: variable {name!r} does not exist (or was "
            "not made by get_variable), and this scope only reuses; "
            "reuse=dagrad.AUTO_REUSE would create it"
        )
    wanted = as_dtype(dtype)
    initial = initializer if is_value else _initial(name, shape, wanted, initializer)
    variable = Variable(
        initial,
        trainable=trainable,
        collections=collections,
        validate_shape=validate_shape,
        name=name,
        dtype=wanted if is_value and not _has_dtype(initializer) else None,
        constraint=constraint,
    )
    store.variables[name] = variable
    if regularizer is not None:
        _regularize(variable, name, regularizer)
    return variable


def _has_dtype(value: Any) -> bool:
    return getattr(value, "dtype", None) is not None


def _here() -> str:
    return str(resolve(caller()) or "an unknown place")


def _check_found(found: Any, name: str, reuse: Any, shape: Any, dtype: Any) -> None:
    where = found.op.defined_at()
    if reuse is False or reuse is None:
        raise GraphError(
            f"get_variable at {_here()}: variable {name!r} exists already, {where}; "
            "to share it, set reuse=True or reuse=dagrad.AUTO_REUSE in the scope"
        )
    dims = as_dims(shape)
    if not compatible(dims, found._variable.dims):
        raise ShapeError(
            f"get_variable at {_here()}: variable {name!r}, {where}, has shape "
            f"{text(found._variable.dims)}, not {text(dims)}"
        )
    if as_dtype(dtype) is not found.dtype:
        raise DTypeError(
            f"get_variable at {_here()}: variable {name!r}, {where}, has dtype "
            f"{found.dtype.name}, not {as_dtype(dtype).name}"
        )


def _initial(name: str, shape: Any, dtype: Any, initializer: Any) -> Callable[[], Any]:
    """A function without arguments that makes the initial value."""
    dims = as_dims(shape)
    if initializer is None:
        if dtype.is_floating:
            initializer = GlorotUniform()
        elif dtype.is_integer or dtype.is_bool:
            initializer = Zeros()
        else:
            raise DTypeError(
                f"get_variable: {name!r} of dtype {dtype.name} needs an initializer"
            )
    if inspect.isclass(initializer):
        initializer = initializer()
    if dims is not None and is_static(dims):
        return partial(initializer, list(dims), dtype=dtype)
    if shape is None and _takes_nothing(initializer):
        return initializer  # type: ignore[no-any-return]
    raise ShapeError(
        f"get_variable: the shape of the new variable {name!r} must be fully known, "
        f"not {text(dims)}; or give a value, or a function without arguments, as "
        "initializer"
    )


def _takes_nothing(function: Any) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in parameters
    )


def _regularize(variable: Any, name: str, regularizer: Any) -> None:
    graph = variable.graph
    with graph.control_dependencies(None), graph.name_scope(f"{name}/Regularizer/"):
        loss = regularizer(variable)
    if loss is not None:
        graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)


# -- scopes -------------------------------------------------------------------------


@contextmanager
def variable_scope(
    name_or_scope: Any = None,
    default_name: str | None = None,
    values: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Any = None,
    dtype: Any = None,
    use_resource: bool | None = None,
    constraint: Any = None,
    auxiliary_name_scope: bool = True,
) -> Iterator[VariableScope]:
    """Put the variables that ``get_variable`` gets under a name.

    A name scope of the same name is opened too (made unique where taken); a
    :class:`VariableScope` re-enters that scope, wherever this is.

    Args:
        name_or_scope: a name under the current scope, or a VariableScope.
        default_name: the name to use, made unique, where ``name_or_scope`` is
            None.
        values: tensors whose graph to use.
        initializer, regularizer, caching_device, custom_getter, dtype,
            use_resource, constraint: defaults for ``get_variable`` inside;
            inherited by scopes within.
        partitioner: not offered.
        reuse: True to take existing variables only, ``AUTO_REUSE`` to create
            those that do not exist; inherited by scopes within.
        auxiliary_name_scope: whether to open the name scope.

    Raises:
        GraphError: no name at all, or ``reuse=True`` with a default name.
    """
    _no_partitions(partitioner)
    if name_or_scope is None and default_name is None:
        raise GraphError("variable_scope: give name_or_scope or default_name")
    if name_or_scope is None and reuse:
        raise GraphError("variable_scope: reuse needs a name_or_scope")
    if not isinstance(name_or_scope, (str, VariableScope, type(None))):
        raise TypeError(
            f"variable_scope: {name_or_scope!r} is neither a name nor a VariableScope"
        )
    graph = _graph_of(values)
    current = _store(graph).current
    old, opened = current.scope, dict(current.opened)
    entered = isinstance(name_or_scope, VariableScope)
    if isinstance(name_or_scope, VariableScope):
        short = name_or_scope.name.rpartition("/")[2]
        full = name_or_scope.name
    else:
        short = name_or_scope or default_name or ""
        if name_or_scope is None:
            inner = _unique(current, old, short)
        else:
            inner = short
        full = f"{old.name}/{inner}" if old.name else inner
    here = graph.get_name_scope()
    name_scope: str | None = f"{here}/" if here else None
    if auxiliary_name_scope and short:
        name_scope = short
    with graph.as_default(), graph.name_scope(name_scope) as opened_scope:
        if isinstance(name_or_scope, VariableScope):
            parent, where = name_or_scope, name_or_scope.original_name_scope
        else:
            parent, where = old, opened_scope
        scope = parent._derived(full, reuse or parent.reuse, where)
        if initializer is not None:
            scope.initializer = initializer
        if regularizer is not None:
            scope.regularizer = regularizer
        if constraint is not None:
            scope.constraint = constraint
        if caching_device is not None:
            scope.caching_device = caching_device
        if dtype is not None:
            scope.dtype = as_dtype(dtype)
        if use_resource is not None:
            scope.use_resource = use_resource
        if custom_getter is not None:
            scope.custom_getter = _chain(custom_getter, parent.custom_getter)
        current.opened[full] = current.opened.get(full, 0) + 1
        current.scope = scope
        try:
            yield scope
        finally:
            current.scope = old
            if entered:
                current.opened = opened
            else:
                inside = f"{full}/"
                for key in [k for k in current.opened if k.startswith(inside)]:
                    del current.opened[key]


def _graph_of(values: Any) -> Graph:
    if values is None:
        return get_default_graph()
    items = values if isinstance(values, (list, tuple)) else [values]
    return graph_of(*[v for v in items if isinstance(v, Tensor) or hasattr(v, "graph")])


def _unique(current: _Current, scope: VariableScope, name: str) -> str:
    """``name``, or ``name_1`` and so on where the scope was opened before."""
    prefix = f"{scope.name}/" if scope.name else ""
    candidate, i = name, 0
    while current.opened.get(prefix + candidate):
        i += 1
        candidate = f"{name}_{i}"
    return candidate


def _chain(outer: Any, inner: Any) -> Any:
    """A scope's getter around that of the scope outside it."""
    if inner is None:
        return outer

    def getter(base: Any, *args: Any, **kwargs: Any) -> Any:
        return outer(partial(inner, base), *args, **kwargs)

    return getter


@contextmanager
def variable_op_scope(
    values: Any,
    name_or_scope: Any,
    default_name: str | None = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Any = None,
    dtype: Any = None,
    use_resource: bool | None = None,
    constraint: Any = None,
) -> Iterator[VariableScope]:
    """:func:`variable_scope` with TF1's older order of arguments."""
    with variable_scope(
        name_or_scope,
        default_name,
        values,
        initializer,
        regularizer,
        caching_device,
        partitioner,
        custom_getter,
        reuse,
        dtype,
        use_resource,
        constraint,
    ) as scope:
        yield scope
