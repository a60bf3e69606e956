"""``tf.contrib.opt``: SciPy's optimizers under TF1's interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._flat import Space
from ..graphlib.keys import GraphKeys
from ..graphlib.tensor import Tensor
from ..optimize import _minimize

__all__ = ["ScipyOptimizerInterface"]


class ScipyOptimizerInterface:
    """Minimises a loss over variables by ``scipy.optimize.minimize``.

    New programs use :func:`dagrad.optimize.minimize`, which offers more and says how
    the search ended.

    Args:
        loss: a real scalar.
        var_list: the variables (default: those of TRAINABLE_VARIABLES).
        equalities: tensors to hold at 0.
        inequalities: tensors to keep at least 0.
        var_to_bounds: variable -> (low, high), numbers or arrays.
        **optimizer_kwargs: ``method`` (default L-BFGS-B; SLSQP with constraints),
            ``options``, ``tol``.

    Raises:
        TypeError: another keyword.
    """

    def __init__(
        self,
        loss: Tensor,
        var_list: Sequence[Any] | None = None,
        equalities: Sequence[Any] | None = None,
        inequalities: Sequence[Any] | None = None,
        var_to_bounds: Mapping[Any, Any] | None = None,
        **optimizer_kwargs: Any,
    ) -> None:
        unknown = set(optimizer_kwargs) - {"method", "options", "tol"}
        if unknown:
            raise TypeError(f"ScipyOptimizerInterface: no keyword {unknown!r}")
        self.optimizer_kwargs = optimizer_kwargs
        self._loss = loss
        if var_list is None:
            var_list = loss.graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)
        self._vars = list(var_list)
        self._bounds = None if var_to_bounds is None else dict(var_to_bounds)
        self._constraints = [{"type": "eq", "fun": t} for t in equalities or ()]
        self._constraints += [{"type": "ineq", "fun": t} for t in inequalities or ()]

    def minimize(
        self,
        session: Any = None,
        feed_dict: Mapping[Any, Any] | None = None,
        fetches: Sequence[Any] | None = None,
        step_callback: Callable[..., Any] | None = None,
        loss_callback: Callable[..., Any] | None = None,
        **run_kwargs: Any,
    ) -> None:
        """Search, and leave the result in the variables.

        Args:
            session: a session (default: the default session).
            feed_dict: values of placeholders.
            fetches: tensors whose values ``loss_callback`` gets.
            step_callback: called after each step with one vector of all variables.
            loss_callback: called at each evaluation of loss and gradient with the
                values of ``fetches`` there.
            **run_kwargs: accepted for TF1 programs.
        """
        settings = self.optimizer_kwargs
        method = settings.get("method", "SLSQP" if self._constraints else "L-BFGS-B")
        _minimize(
            Space(self._vars, session, feed_dict),
            self._loss,
            method,
            self._bounds,
            self._constraints,
            settings.get("tol"),
            settings.get("options"),
            None if step_callback is None else lambda x, *state: step_callback(x),
            None if loss_callback is None else (fetches or (), loss_callback),
        )
