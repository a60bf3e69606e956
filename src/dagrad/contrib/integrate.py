"""``tf.contrib.integrate``: differential equations under TF1's names.

New programs use :func:`dagrad.odeint`, which is the same with more methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.odes import odeint

__all__ = ["odeint", "odeint_fixed"]


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
        y(t_i), with a leading axis, in the structure of y0.
    """
    options = {} if dt is None else {"step_size": dt}
    return odeint(func, y0, t, method=method or "rk4", options=options, name=name)
