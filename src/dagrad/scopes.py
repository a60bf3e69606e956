"""TF1's functions on the default graph: scopes, controls, devices, collections."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from .graphlib.errors import GraphError
from .graphlib.graph import get_default_graph
from .ops._build import graph_of

__all__ = [
    "add_to_collection",
    "add_to_collections",
    "colocate_with",
    "control_dependencies",
    "control_flow_v2_enabled",
    "device",
    "dimension_at_index",
    "dimension_value",
    "disable_control_flow_v2",
    "disable_eager_execution",
    "disable_resource_variables",
    "disable_tensor_equality",
    "disable_v2_behavior",
    "disable_v2_tensorshape",
    "enable_control_flow_v2",
    "enable_resource_variables",
    "executing_eagerly",
    "get_collection",
    "get_collection_ref",
    "name_scope",
    "op_scope",
]


class name_scope:
    """A context in which new operations are named ``name/...``.

    >>> import dagrad as tf
    >>> with tf.name_scope("layer") as scope:
    ...     t = tf.constant(1.0, name="c")
    >>> scope, t.name
    ('layer/', 'layer/c:0')

    Args:
        name: the scope; taken names get a number, a name with a slash at the end
            is entered again, None and "" lead to the top.
        default_name: used where ``name`` is None, as builders need it.
        values: the tensors of a builder: operations go to their graph.

    Raises:
        GraphError: ``values`` are given, but no name.
    """

    def __init__(
        self, name: str | None, default_name: str | None = None, values: Any = None
    ) -> None:
        self._name = default_name if name is None else name
        self._values = values
        self._contexts: list[ExitStack] = []
        if self._name is None and values is not None:
            raise GraphError("name_scope needs a name or a default_name")
        if not isinstance(self._name, (str, type(None))):
            raise TypeError(f"the name of a scope is a string, not {self._name!r}")

    @property
    def name(self) -> str | None:
        """The name of the scope, as it was given."""
        return self._name

    def __enter__(self) -> str:
        context = ExitStack()
        graph = get_default_graph()
        if self._values is not None:
            graph = graph_of(*self._values)
            context.enter_context(graph.as_default())
        full: str = context.enter_context(graph.name_scope(self._name))
        self._contexts.append(context)
        return full

    def __exit__(self, *error: Any) -> None:
        self._contexts.pop().__exit__(*error)


def op_scope(
    values: Any, name: str | None, default_name: str | None = None
) -> name_scope:
    """:class:`name_scope` with the arguments in TF1's older order."""
    return name_scope(name, default_name, values)


def control_dependencies(
    control_inputs: Iterable[Any] | None,
) -> AbstractContextManager[None]:
    """A context whose operations run after ``control_inputs``.

    >>> import dagrad as tf
    >>> v = tf.Variable(1.0)
    >>> with tf.control_dependencies([v.assign(5.0)]):
    ...     after = v + 1.0
    >>> with tf.Session() as session:
    ...     session.run(tf.global_variables_initializer())
    ...     print(session.run(after))
    6.0

    Args:
        control_inputs: operations, tensors or variables; None clears what the
            enclosing contexts say.
    """
    context: AbstractContextManager[None] = get_default_graph().control_dependencies(
        control_inputs
    )
    return context


def device(device_name_or_function: Any) -> AbstractContextManager[None]:
    """A context whose operations record a device; all runs are on the CPU."""
    return get_default_graph().device(device_name_or_function)


def colocate_with(
    op: Any, ignore_existing: bool = False
) -> AbstractContextManager[None]:
    """A context whose operations record the device of ``op``."""
    return get_default_graph().colocate_with(op, ignore_existing)


# -- collections ---------------------------------------------------------------


def add_to_collection(name: Any, value: Any) -> None:
    """Append ``value`` to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Append ``value`` to several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """A copy of a collection of the default graph.

    Args:
        key: the name of the collection, as in :class:`dagrad.GraphKeys`.
        scope: a regular expression that names must match from their start.
    """
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """A collection of the default graph itself, to change it."""
    return get_default_graph().get_collection_ref(key)


# -- shapes --------------------------------------------------------------------


def dimension_value(dimension: Any) -> int | None:
    """The size that a dimension or an int tells; None where it is not known."""
    value: int | None = getattr(dimension, "value", dimension)
    return value


def dimension_at_index(shape: Any, index: int) -> Any:
    """The dimension of a TensorShape at an index (unknown where the rank is)."""
    from .graphlib.shapes import Dimension

    return Dimension(None) if shape.rank is None else shape[index]


# -- what TF1 programs that may run under TF2 switch off -----------------------


def disable_eager_execution() -> None:
    """Nothing: dagrad always builds graphs."""


def disable_v2_behavior() -> None:
    """Nothing: dagrad behaves as TF1."""


def disable_resource_variables() -> None:
    """Nothing: variables have one kind."""


def enable_resource_variables() -> None:
    """Nothing: variables are read whole, as TF1's resource variables are."""


def disable_tensor_equality() -> None:
    """Nothing: ``==`` on tensors is identity, as in TF1."""


def disable_control_flow_v2() -> None:
    """Nothing: there is one kind of control flow."""


def enable_control_flow_v2() -> None:
    """Nothing: there is one kind of control flow."""


def control_flow_v2_enabled() -> bool:
    """True: loops and branches are operations with bodies."""
    return True


def disable_v2_tensorshape() -> None:
    """Nothing: ``shape[i]`` is a Dimension, as in TF1."""


def executing_eagerly() -> bool:
    """False: operations run in sessions only."""
    return False
