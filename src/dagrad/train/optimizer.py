"""The optimizer's frame: gradients, slots, and updates in one operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, float16, float32, float64
from ..graphlib.errors import DTypeError, GraphError
from ..graphlib.gradients import IndexedSlices, as_dense, gradients_or_rows
from ..graphlib.graph import Graph, get_default_graph
from ..graphlib.keys import GraphKeys
from ..graphlib.operation import Operation
from ..graphlib.stacks import home
from ..graphlib.tensor import Tensor, as_tensor
from ..ops.core import cast, size, zeros_like
from ..ops.grouping import group
from ..ops.initialization import trainable_variables
from ..ops.state import Variable, assign_add

__all__ = ["Optimizer"]

GradsAndVars = list[tuple[Any, Any]]


class Optimizer:
    """Base of the optimizers: ``minimize`` adds the nodes of one training step.

    A method of one's own defines ``_apply_dense(grad, var)``, which returns the
    update of one variable, and, where it keeps state, ``_create_slots(var_list)``.
    Where it should leave rows alone that a step did not read, it defines
    ``_apply_sparse(grad, var)`` too, with ``grad.values`` for the rows
    ``grad.indices``.

    Args:
        use_locking: accepted for TF1 programs; runs never see half a write.
        name: the scope of the update operations, and the name of the slots.

    Raises:
        GraphError: no name.
    """

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    # Whether _apply_sparse itself adds up the values of one row.
    _adds_repeated_rows = False

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise GraphError("an optimizer needs a name")
        self._use_locking = use_locking
        self._name = name
        self._slots: dict[str, dict[Operation, Variable]] = {}
        self._non_slots: dict[tuple[str, Graph], Variable] = {}
        self._scope: str | None = None
        self._scalars: dict[tuple[str, DType | None], Any] = {}

    def get_name(self) -> str:
        """The name given at construction."""
        return self._name

    # -- what programs call ----------------------------------------------------

    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """An operation that takes one step down the gradient of ``loss``.

        Args:
            loss: a floating tensor; one that is no scalar is summed.
            global_step: a variable that the step increments.
            var_list: the variables to change (default: the trainable ones).
            gate_gradients: accepted for TF1 programs.
            aggregation_method: accepted for TF1 programs.
            colocate_gradients_with_ops: see :func:`dagrad.gradients`.
            name: the name of the operation (default: the optimizer's).
            grad_loss: the cotangent of ``loss`` (default: ones).

        Raises:
            GraphError: there are no variables, or ``loss`` depends on none.
        """
        pairs = self.compute_gradients(
            loss,
            var_list,
            gate_gradients,
            aggregation_method,
            colocate_gradients_with_ops,
            grad_loss,
        )
        if all(g is None for g, _ in pairs):
            raise GraphError(
                f"no gradient leads from the loss {as_tensor(loss)!r} to any of the "
                f"variables {[v.name for _, v in pairs]}: the loss does not depend on "
                "them through differentiable operations"
            )
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> GradsAndVars:
        """Pairs (gradient, variable); the gradient is None where there is none.

        The gradient of a variable that is read by gathers only is an
        :class:`dagrad.IndexedSlices`, the rows that were read.
        Arguments as in :meth:`minimize`.

        Raises:
            GraphError: there are no variables, or an unknown ``gate_gradients``.
            DTypeError: the loss or a variable is not floating.
        """
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise GraphError(f"gate_gradients must be 0, 1 or 2, not {gate_gradients}")
        loss = as_tensor(loss() if callable(loss) else loss)
        self._check_dtypes([loss])
        with loss.graph.as_default():
            variables = trainable_variables() if var_list is None else _flat(var_list)
            if not variables:
                raise GraphError(f"there are no variables to optimize {loss!r}")
            for v in variables:
                _check_variable(v)
            self._check_dtypes(variables)
            found = gradients_or_rows(loss, variables, grad_loss)
        return list(zip(found, variables))

    def apply_gradients(
        self,
        grads_and_vars: Iterable[tuple[Any, Any]],
        global_step: Any = None,
        name: str | None = None,
    ) -> Operation:
        """An operation that updates the variables by their gradients.

        Args:
            grads_and_vars: as :meth:`compute_gradients` returns them; pairs
                without a gradient are passed over.
            global_step: a variable to increment, after the updates.
            name: the name of the operation (default: the optimizer's).

        Raises:
            GraphError: no pair has a gradient.
            DTypeError: a variable or gradient is not floating.
        """
        pairs = list(grads_and_vars)
        for _, v in pairs:
            _check_variable(v)
        used = [(g, v) for g, v in pairs if g is not None]
        if not used:
            names = [v.name for _, v in pairs]
            raise GraphError(f"there are no gradients for the variables {names}")
        graph: Graph = home(used[0][1].graph)
        with graph.as_default():
            grads = [_gradient(g, v) for g, v in used]
            self._check_dtypes(grads)
            with graph.control_dependencies(None):
                self._create_slots([v for _, v in used])
            with graph.name_scope(name or self._name) as scope:
                self._scope, self._scalars = scope, {}
                self._prepare()
                updates = [self._update(g, v) for g, (_, v) in zip(grads, used)]
                if global_step is None:
                    done = self._finish(updates, scope)
                else:
                    with graph.control_dependencies([self._finish(updates, "update")]):
                        done = assign_add(global_step, 1, name=scope).op
        graph.get_collection_ref(GraphKeys.TRAIN_OP).append(done)
        return done

    def get_slot(self, var: Any, name: str) -> Variable | None:
        """The variable that holds state ``name`` for ``var``, None before a step."""
        return self._slots.get(name, {}).get(var.op)

    def get_slot_names(self) -> list[str]:
        """The names of the slots, sorted."""
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """All state of this optimizer in the default graph, sorted by name."""
        graph = get_default_graph().root
        kept = [v for (_, g), v in self._non_slots.items() if g is graph]
        for slots in self._slots.values():
            kept += [v for v in slots.values() if v.graph is graph]
        return sorted(kept, key=lambda v: v.name)

    # -- what a method defines -------------------------------------------------

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        """Make the state for ``var_list``: most methods call ``_zeros_slot``."""

    def _prepare(self) -> None:
        """Called once per step, inside the optimizer's scope."""

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        """The operation that updates ``var``: each method defines it."""
        raise GraphError(f"{type(self).__name__} defines no _apply_dense")

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        """The operation that updates rows of ``var``, each named once; by default
        the whole variable makes a step, with zeros for the other rows."""
        return self._apply_dense(as_dense(grad), var)

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        """:meth:`_apply_sparse` for rows of which some may be named repeatedly."""
        own = type(self)._apply_sparse is not Optimizer._apply_sparse
        if own and not self._adds_repeated_rows:
            grad = _summed(grad)
        return self._apply_sparse(grad, var)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Operation:
        """What runs after all updates; by default it only waits for them."""
        return group(*update_ops, name=name_scope)

    def _valid_dtypes(self) -> set[DType]:
        """The dtypes of variables and losses that this method takes."""
        return {float16, float32, float64}

    # -- help for methods ------------------------------------------------------

    def _call_if_callable(self, param: Any) -> Any:
        return param() if callable(param) else param

    def _scalar(self, name: str, value: Any, dtype: DType) -> Tensor:
        """A hyperparameter in the dtype of a variable: one node for all variables.

        A Python number is rounded once, to that dtype; a function is called once
        for each step that is built.
        """
        key = name, dtype
        found = self._scalars.get(key)
        if found is None:
            if callable(value):
                if (name, None) not in self._scalars:
                    self._scalars[name, None] = value()
                value = self._scalars[name, None]
            with get_default_graph().name_scope(self._scope):
                if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
                    found = cast(value, dtype)
                else:
                    found = as_tensor(value, dtype, name=name)
            self._scalars[key] = found
        return found

    def _zeros_slot(self, var: Any, slot_name: str, op_name: str) -> Variable:
        """The slot ``slot_name`` of ``var``, zero at first."""
        return self._filled_slot(var, 0.0, slot_name, op_name)

    def _filled_slot(
        self, var: Any, value: Any, slot_name: str, op_name: str
    ) -> Variable:
        """The slot ``slot_name`` of ``var``, which starts as ``value`` everywhere."""
        dims = var._as_graph_element().dims
        scalar = np.asarray(value, var.dtype.dtype)

        def initial() -> Tensor:
            if dims is None or None in dims:
                like = zeros_like(var.initialized_value())
                return like + scalar if value else like
            from ..ops.creation import fill

            return fill(dims, scalar)

        return self._get_or_make_slot(var, initial, slot_name, op_name)

    def _get_or_make_slot(
        self, var: Any, val: Any, slot_name: str, op_name: str
    ) -> Variable:
        """The slot ``slot_name`` of ``var``, with the initial value ``val``."""
        slots = self._slots.setdefault(slot_name, {})
        found = slots.get(var.op)
        if found is None:
            dims = var._as_graph_element().dims
            static = dims is not None and None not in dims
            found = slots[var.op] = make_slot(var, val, op_name, static)
        return found

    def _create_non_slot_variable(
        self, initial_value: Any, name: str, colocate_with: Any
    ) -> Variable:
        """State that all variables share, such as a power of beta."""
        graph = colocate_with.graph.root
        found = self._non_slots.get((name, graph))
        if found is None:
            found = Variable(initial_value, trainable=False, name=name)
            self._non_slots[name, graph] = found
        return found

    def _get_non_slot_variable(self, name: str, graph: Any = None) -> Variable | None:
        return self._non_slots.get((name, (graph or get_default_graph()).root))

    def _update(self, grad: Tensor | IndexedSlices, var: Any) -> Any:
        """The update of one variable, followed by its constraint."""
        graph = get_default_graph()
        with graph.name_scope(f"update_{var.op.name}"), graph.colocate_with(var):
            if isinstance(grad, IndexedSlices):
                update = self._apply_sparse_duplicate_indices(grad, var)
            else:
                update = self._apply_dense(grad, var)
            constraint: Callable[[Any], Any] | None = var.constraint
            if constraint is None:
                return update
            with graph.control_dependencies([update]):
                return var.assign(constraint(var))

    def _check_dtypes(self, tensors: Iterable[Any]) -> None:
        valid = self._valid_dtypes()
        for t in tensors:
            if t is not None and t.dtype not in valid:
                names = sorted(d.name for d in valid)
                raise DTypeError(
                    f"{type(self).__name__} takes {', '.join(names)}, not "
                    f"{t.dtype.name}: {t!r}"
                )


def make_slot(primary: Any, value: Any, name: str, validate: bool) -> Variable:
    """State that goes with ``primary`` and is named after it (``"w/Adam"``)."""
    graph = primary.op.graph
    with (
        graph.as_default(),
        graph.name_scope(None),
        graph.control_dependencies(None),
        graph.device(primary.device),
    ):
        return Variable(
            value,
            trainable=False,
            validate_shape=validate,
            name=f"{primary.op.name}/{name}",
            dtype=primary.dtype,
        )


def _flat(values: Any) -> list[Any]:
    """The variables in nested lists, tuples, dicts, sets and iterators."""
    flat: list[Any] = []
    stack = [values]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(reversed(item.values()))
        elif isinstance(item, Iterable) and not isinstance(
            item, (str, Tensor, Variable, np.ndarray)
        ):
            stack.extend(reversed(list(item)))
        else:
            flat.append(item)
    return flat


def _check_variable(v: Any) -> None:
    if not isinstance(v, Variable):
        raise DTypeError(f"{v!r} is not a variable: an optimizer cannot change it")


def _gradient(g: Any, v: Any) -> Tensor | IndexedSlices:
    """A gradient as a tensor, or as rows of the variable."""
    if isinstance(g, IndexedSlices):
        values, indices = as_tensor(g.values), as_tensor(g.indices)
        return IndexedSlices(values, indices, v._as_graph_element())
    return as_tensor(g, None if isinstance(g, Tensor) else v.dtype)


def _summed(grad: IndexedSlices) -> IndexedSlices:
    """The same rows, each named once."""
    from ..ops.segments import unsorted_segment_sum
    from ..ops.sorting import unique

    rows = unique(grad.indices)
    values = unsorted_segment_sum(grad.values, rows.idx, size(rows.y))
    return IndexedSlices(values, rows.y, grad.like)
