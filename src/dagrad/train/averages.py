"""Exponential moving averages of variables and tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..graphlib.dtypes import float16, float32, float64
from ..graphlib.errors import DTypeError, GraphError
from ..graphlib.keys import GraphKeys
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor, as_tensor
from ..ops._build import scope
from ..ops.core import cast, zeros_like
from ..ops.creation import fill
from ..ops.grouping import group
from ..ops.initialization import (
    global_variables,
    moving_average_variables,
    trainable_variables,
)
from ..ops.rounding import minimum
from ..ops.state import Variable, assign, assign_add, assign_sub
from .optimizer import make_slot

__all__ = ["ExponentialMovingAverage"]


class ExponentialMovingAverage:
    """average -= (1 - decay) * (average - value), in each run of ``apply``.

    >>> import dagrad as tf
    >>> v = tf.Variable(0.0)
    >>> ema = tf.train.ExponentialMovingAverage(decay=0.9)
    >>> update = ema.apply([v])
    >>> with tf.Session() as session:
    ...     session.run(tf.global_variables_initializer())
    ...     v.load(1.0, session)
    ...     session.run(update)
    ...     print(round(float(session.run(ema.average(v))), 3))
    0.1

    Args:
        decay: the share of the old average that is kept; a number or a scalar.
        num_updates: a count of updates; the decay is then at most
            (1 + num_updates) / (10 + num_updates), so that early steps move fast.
        zero_debias: divide the averages of tensors, which start as zero, by
            1 - decay**t.  (Averages of variables start as the variable.)
        name: the name of the averages (``"w/ExponentialMovingAverage"``).
    """

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        """The name given at construction."""
        return self._name

    def apply(self, var_list: Any = None) -> Operation:
        """An operation that moves the averages towards the current values.

        Args:
            var_list: variables and tensors (default: the trainable variables).

        Raises:
            DTypeError: one is not floating.
        """
        items = trainable_variables() if var_list is None else list(var_list)
        for item in items:
            if item.dtype not in (float16, float32, float64):
                raise DTypeError(f"only floating values have averages, not {item!r}")
            if item not in self._averages:
                self._averages[item] = self._make_average(item)
        with scope(None, self._name, *items) as full:
            decay = as_tensor(self._decay)
            if self._num_updates is not None:
                count = cast(self._num_updates, decay.dtype)
                decay = minimum(decay, (1.0 + count) / (10.0 + count))
            updates = [self._move(item, decay) for item in items]
            return group(*updates, name=full)

    def _make_average(self, item: Any) -> Variable:
        if isinstance(item, Variable):
            graph = item.graph
            dims = item._as_graph_element().dims
            static = dims is not None and None not in dims
            average = make_slot(item, item.initialized_value, self._name, static)
            graph.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, item)
            return average
        return _zeros(item, item, self._name)

    def _move(self, item: Any, decay: Tensor) -> Any:
        average = self._averages[item]
        rate = cast(1.0 - decay, average.dtype)
        value = as_tensor(item)
        if isinstance(item, Variable) or not self._zero_debias:
            return assign_sub(average, (average - value) * rate)
        biased = _zeros(average, value, "biased")
        none = np.zeros((), average.dtype.dtype)
        step = make_slot(average, none, "local_step", True)
        moved = assign_sub(biased, (biased - value) * rate)
        count = assign_add(step, 1.0)
        return assign(average, moved / (1.0 - (1.0 - rate) ** count))

    def average(self, var: Any) -> Variable | None:
        """The variable that holds the average of ``var``; None before ``apply``."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name that the average of ``var`` has or would have."""
        found = self._averages.get(var)
        if found is not None:
            return found.op.name
        return f"{var.op.name}/{self._name}"

    def variables_to_restore(
        self, moving_avg_variables: Iterable[Any] | None = None
    ) -> dict[str, Any]:
        """Names to look up -> variables to fill: averages in place of values.

        Args:
            moving_avg_variables: the variables that have averages (default: the
                trainable ones and those of the collection).

        Raises:
            GraphError: two variables would be filled from one name.
        """
        if moving_avg_variables is None:
            moving_avg_variables = trainable_variables() + moving_average_variables()
        averaged = set(moving_avg_variables)
        names: dict[str, Any] = {}
        shadows = {f"{v.op.name}/{self._name}" for v in averaged}
        for v in [*averaged, *global_variables()]:
            if v in averaged:
                name = self.average_name(v)
            elif v.op.name in shadows:
                continue
            else:
                name = v.op.name
            if names.setdefault(name, v) is not v:
                raise GraphError(f"two variables would be filled from {name!r}")
        return names


def _zeros(primary: Any, like: Tensor, name: str) -> Variable:
    """State of the shape of ``like``, zero at first, named after ``primary``."""
    dims = like.dims
    if dims is None or None in dims:
        return make_slot(primary, lambda: zeros_like(like), name, False)
    zero = np.zeros((), like.dtype.dtype)
    return make_slot(primary, lambda: fill(dims, zero), name, True)
