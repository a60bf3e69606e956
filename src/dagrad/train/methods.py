"""The methods of gradient descent, with TF1's arguments, defaults and slots.

The gradient of a variable that is read by gathers only arrives as rows: rows that
a step did not read stay as they are, and so do their slots.  Adam alone treats
them as rows with a zero gradient, as TF1 does: its averages go on decaying.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import GraphError
from ..graphlib.gradients import IndexedSlices
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor
from ..ops import training
from ..ops.elementwise import multiply
from ..ops.grouping import group
from ..ops.state import assign
from .optimizer import Optimizer

__all__ = [
    "AdadeltaOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "RMSPropOptimizer",
]


class GradientDescentOptimizer(Optimizer):
    """var -= learning_rate * grad.

    Args:
        learning_rate: a number, a scalar tensor, or a function that returns one.
        use_locking: accepted for TF1 programs.
        name: the scope of the updates.
    """

    _adds_repeated_rows = True

    def __init__(
        self,
        learning_rate: Any,
        use_locking: bool = False,
        name: str = "GradientDescent",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        lr = self._scalar("learning_rate", self._learning_rate, var.dtype)
        return training.apply_gradient_descent(var, lr, grad)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        lr = self._scalar("learning_rate", self._learning_rate, var.dtype)
        from ..ops.scatter_state import scatter_sub

        return scatter_sub(var, grad.indices, multiply(grad.values, lr))


class MomentumOptimizer(Optimizer):
    """accum = momentum * accum + grad; var -= learning_rate * accum.

    With ``use_nesterov``, var -= learning_rate * (grad + momentum * accum).
    Slot: ``"momentum"``, zero at first.

    Args:
        learning_rate: a number, a scalar tensor, or a function that returns one.
        momentum: the share of the last step that is kept, likewise.
        use_locking: accepted for TF1 programs.
        name: the scope of the updates.
        use_nesterov: look ahead, as Nesterov does.

    Reference:
        Sutskever et al., On the importance of initialization and momentum in
        deep learning, ICML 2013.
    """

    _adds_repeated_rows = True

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._use_nesterov = use_nesterov

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._zeros_slot(v, "momentum", self._name)

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        return training.apply_momentum(
            var,
            self.get_slot(var, "momentum"),
            self._scalar("learning_rate", self._learning_rate, var.dtype),
            grad,
            self._scalar("momentum", self._momentum, var.dtype),
            use_nesterov=self._use_nesterov,
        )

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        from ..ops import sparse_training

        return sparse_training.sparse_apply_momentum(
            var,
            self.get_slot(var, "momentum"),
            self._scalar("learning_rate", self._learning_rate, var.dtype),
            grad.values,
            grad.indices,
            self._scalar("momentum", self._momentum, var.dtype),
            use_nesterov=self._use_nesterov,
        )


class AdamOptimizer(Optimizer):
    """m, v: moving averages of grad and grad**2; var -= a * m / (sqrt(v) + epsilon).

    a = learning_rate * sqrt(1 - beta2**t) / (1 - beta1**t) in step t; epsilon is
    the paper's "epsilon hat".  Slots: ``"m"`` and ``"v"``, zero at first; the
    variables ``beta1_power`` and ``beta2_power`` are shared.

    Args:
        learning_rate: a number, a scalar tensor, or a function that returns one.
        beta1: the decay of m per step, likewise.
        beta2: the decay of v per step, likewise.
        epsilon: keeps the denominator from zero, likewise.
        use_locking: accepted for TF1 programs.
        name: the scope of the updates.

    Reference:
        Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-08,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        # One pair of powers serves all variables: in the widest of their dtypes.
        first = max(var_list, key=lambda v: v.dtype.size)
        for name, beta in (("beta1_power", self._beta1), ("beta2_power", self._beta2)):
            value = self._call_if_callable(beta)
            if not isinstance(value, Tensor):
                value = np.asarray(value, first.dtype.dtype)
            self._create_non_slot_variable(value, name, first)
        for v in var_list:
            self._zeros_slot(v, "m", self._name)
            self._zeros_slot(v, "v", self._name)

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        dtype = var.dtype
        return training.apply_adam(
            var,
            self.get_slot(var, "m"),
            self.get_slot(var, "v"),
            self._scalar(
                "beta1_power", self._get_non_slot_variable("beta1_power"), dtype
            ),
            self._scalar(
                "beta2_power", self._get_non_slot_variable("beta2_power"), dtype
            ),
            self._scalar("learning_rate", self._lr, dtype),
            self._scalar("beta1", self._beta1, dtype),
            self._scalar("beta2", self._beta2, dtype),
            self._scalar("epsilon", self._epsilon, dtype),
            grad,
        )

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Operation:
        # No order is asked for: reads of a variable come before a run's writes.
        writes = list(update_ops)
        for name, beta in (("beta1", self._beta1), ("beta2", self._beta2)):
            power = self._get_non_slot_variable(f"{name}_power")
            assert power is not None
            factor = self._scalar(name, beta, power.dtype)
            writes.append(assign(power, power * factor))
        return group(*writes, name=name_scope)


class RMSPropOptimizer(Optimizer):
    """ms: moving average of grad**2; mom = momentum * mom + learning_rate * grad /
    sqrt(ms + epsilon); var -= mom.

    With ``centered``, ms - mg**2 stands for ms, where mg is the moving average of
    grad.  Slots: ``"rms"`` (one at first), ``"momentum"``, ``"mg"``.

    Args:
        learning_rate: a number, a scalar tensor, or a function that returns one.
        decay: the decay of the averages per step, likewise.
        momentum: the share of the last step that is kept, likewise.
        epsilon: keeps the denominator from zero, likewise.
        use_locking: accepted for TF1 programs.
        centered: divide by an estimate of the variance.
        name: the scope of the updates.

    Reference:
        Hinton, Neural networks for machine learning, lecture 6; Graves,
        arXiv:1308.0850.
    """

    _adds_repeated_rows = True

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._decay = decay
        self._momentum = momentum
        self._epsilon = epsilon
        self._centered = centered

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._filled_slot(v, 1.0, "rms", self._name)
            if self._centered:
                self._zeros_slot(v, "mg", self._name)
            self._zeros_slot(v, "momentum", self._name)

    def _arguments(self, var: Any) -> tuple[Any, ...]:
        """What the update takes before the gradient."""
        slots = ("mg", "rms", "momentum") if self._centered else ("rms", "momentum")
        return (
            var,
            *[self.get_slot(var, name) for name in slots],
            self._scalar("learning_rate", self._learning_rate, var.dtype),
            self._scalar("decay", self._decay, var.dtype),
            self._scalar("momentum", self._momentum, var.dtype),
            self._scalar("epsilon", self._epsilon, var.dtype),
        )

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        arguments = (*self._arguments(var), grad)
        if self._centered:
            return training.apply_centered_rms_prop(*arguments)
        return training.apply_rms_prop(*arguments)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        from ..ops import sparse_training

        arguments = (*self._arguments(var), grad.values, grad.indices)
        if self._centered:
            return sparse_training.sparse_apply_centered_rms_prop(*arguments)
        return sparse_training.sparse_apply_rms_prop(*arguments)


class AdagradOptimizer(Optimizer):
    """accum += grad**2; var -= learning_rate * grad / sqrt(accum).

    Slot: ``"accumulator"``.

    Args:
        learning_rate: a number, a scalar tensor, or a function that returns one.
        initial_accumulator_value: what ``accum`` starts as; positive.
        use_locking: accepted for TF1 programs.
        name: the scope of the updates.

    Raises:
        GraphError: ``initial_accumulator_value`` is not positive.

    Reference:
        Duchi, Hazan & Singer, Adaptive subgradient methods, JMLR 12, 2011.
    """

    _adds_repeated_rows = True

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        if initial_accumulator_value <= 0.0:
            raise GraphError(
                "initial_accumulator_value must be positive, not "
                f"{initial_accumulator_value}"
            )
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        start = self._initial_accumulator_value
        for v in var_list:
            self._filled_slot(v, start, "accumulator", self._name)

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        lr = self._scalar("learning_rate", self._learning_rate, var.dtype)
        accum = self.get_slot(var, "accumulator")
        return training.apply_adagrad(var, accum, lr, grad)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        from ..ops import sparse_training

        lr = self._scalar("learning_rate", self._learning_rate, var.dtype)
        return sparse_training.sparse_apply_adagrad(
            var, self.get_slot(var, "accumulator"), lr, grad.values, grad.indices
        )


class AdadeltaOptimizer(Optimizer):
    """accum, accum_update: moving averages of grad**2 and of the squared steps
    d = grad * sqrt(accum_update + epsilon) / sqrt(accum + epsilon);
    var -= learning_rate * d.

    Slots: ``"accum"`` and ``"accum_update"``, zero at first.

    Args:
        learning_rate: a number, a scalar tensor, or a function that returns one;
            the paper has 1.
        rho: the decay of the averages per step, likewise.
        epsilon: keeps the roots from zero, likewise.
        use_locking: accepted for TF1 programs.
        name: the scope of the updates.

    Reference:
        Zeiler, ADADELTA, arXiv:1212.5701, algorithm 1.
    """

    _adds_repeated_rows = True

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-08,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._rho = rho
        self._epsilon = epsilon

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._zeros_slot(v, "accum", self._name)
            self._zeros_slot(v, "accum_update", self._name)

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        return training.apply_adadelta(
            var,
            self.get_slot(var, "accum"),
            self.get_slot(var, "accum_update"),
            self._scalar("lr", self._lr, var.dtype),
            self._scalar("rho", self._rho, var.dtype),
            self._scalar("epsilon", self._epsilon, var.dtype),
            grad,
        )

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        from ..ops import sparse_training

        return sparse_training.sparse_apply_adadelta(
            var,
            self.get_slot(var, "accum"),
            self.get_slot(var, "accum_update"),
            self._scalar("lr", self._lr, var.dtype),
            self._scalar("rho", self._rho, var.dtype),
            self._scalar("epsilon", self._epsilon, var.dtype),
            grad.values,
            grad.indices,
        )


class FtrlOptimizer(Optimizer):
    """Follow the regularised leader: sparse weights through an l1 penalty.

    For the formula see :func:`dagrad.ops.training.apply_ftrl`.  Slots:
    ``"accum"`` and ``"linear"``.

    Args:
        learning_rate: a number, a scalar tensor, or a function that returns one.
        learning_rate_power: at most 0; the rate falls as accum**power.
        initial_accumulator_value: what ``accum`` starts as; at least 0.
        l1_regularization_strength: at least 0.
        l2_regularization_strength: at least 0.
        use_locking: accepted for TF1 programs.
        name: the scope of the updates.
        accum_name: the name of the slot ``accum``.
        linear_name: the name of the slot ``linear``.
        l2_shrinkage_regularization_strength: at least 0; a penalty on the
            weights' size that does not enter ``accum``.

    Raises:
        GraphError: a value outside its range.

    Reference:
        McMahan et al., Ad click prediction: a view from the trenches, KDD 2013.
    """

    _adds_repeated_rows = True

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        super().__init__(use_locking, name)
        if learning_rate_power > 0.0:
            raise GraphError(
                f"learning_rate_power must be at most 0, not {learning_rate_power}"
            )
        for what, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            (
                "l2_shrinkage_regularization_strength",
                l2_shrinkage_regularization_strength,
            ),
        ):
            if value < 0.0:
                raise GraphError(f"{what} must be at least 0, not {value}")
        self._learning_rate = learning_rate
        self._learning_rate_power = learning_rate_power
        self._initial_accumulator_value = initial_accumulator_value
        self._l1 = l1_regularization_strength
        self._l2 = l2_regularization_strength
        self._shrinkage = l2_shrinkage_regularization_strength
        self._accum_name = accum_name
        self._linear_name = linear_name

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        start = self._initial_accumulator_value
        for v in var_list:
            self._filled_slot(v, start, "accum", self._accum_name or self._name)
            self._zeros_slot(v, "linear", self._linear_name or self._name)

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        return self._apply(training.apply_ftrl, (grad,), var)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        from ..ops import sparse_training

        rows = (grad.values, grad.indices)
        return self._apply(sparse_training.sparse_apply_ftrl, rows, var)

    def _apply(self, build: Any, grad: tuple[Tensor, ...], var: Any) -> Any:
        dtype = var.dtype
        power = self._learning_rate_power
        return build(
            var,
            self.get_slot(var, "accum"),
            self.get_slot(var, "linear"),
            *grad,
            self._scalar("learning_rate", self._learning_rate, dtype),
            self._scalar("l1_regularization_strength", self._l1, dtype),
            self._scalar("l2_regularization_strength", self._l2, dtype),
            self._scalar("learning_rate_power", power, dtype),
            l2_shrinkage=self._scalar(
                "l2_shrinkage_regularization_strength", self._shrinkage, dtype
            ),
        )
