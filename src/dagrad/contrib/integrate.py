"""``tf.contrib.integrate``: differential equations under TF1's names.

New programs use :func:`dagrad.odeint`, which is the same with more methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..graphlib.tensor import as_tensor

__all__ = ["odeint", "odeint_fixed"]


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    rtol: float = 1e-06,
    atol: float = 1e-12,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    full_output: bool = False,
    name: str | None = None,
) -> Any:
    """:func:`dagrad.odeint` of one tensor: lists are made one.

    The second result with ``full_output`` has ``"num_func_evals"``, as in TF1, and
    counts of steps in place of TF1's lists of them.
    """
    start = as_tensor(y0)
    return ops.odes.odeint(
        func, start, t, rtol, atol, method, options, full_output, name
    )


def odeint_fixed(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    dt: Any = None,
    method: str | None = None,
    name: str | None = None,
) -> Any:
    """y(t_i) for dy/dt = func(y, t), y(t_0) = y0, by fixed steps.

    Args:
        func, y0, t, name: as for :func:`odeint`.
        dt: the longest step, a scalar or one for each interval of t; each interval is
            divided into equal steps (default: one step).
        method: ``"rk4"`` (default), ``"midpoint"`` or ``"euler"``.

    Returns:
        y(t_i), with a leading axis.
    """
    options = {} if dt is None else {"step_size": dt}
    return odeint(func, y0, t, method=method or "rk4", options=options, name=name)
