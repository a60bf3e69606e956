"""Clipping by value, by norm, and by the norm of many tensors together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.tensor import Tensor, as_tensor
from ._build import inexact, scope
from .core import add_n, cast, ones_like
from .elementwise import multiply, realdiv, square
from .logical import greater, is_finite, where_v2
from .powers import sqrt
from .reduction import reduce_sum
from .rounding import maximum, minimum

__all__ = [
    "clip_by_average_norm",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "global_norm",
]


def clip_by_value(
    t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None
) -> Tensor:
    """max(min(t, clip_value_max), clip_value_min), with broadcasting; NaN stays.

    Where the bounds cross, the lower one wins, as in TF1.
    Gradient: g to t inside the bounds and on them, else g to the bound.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: bools, complex, or no common dtype.
    """
    t = as_tensor(t)
    with scope(name, "clip_by_value", t) as full:
        return maximum(minimum(t, clip_value_max), clip_value_min, name=full)


def _clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    out: None = None,
    *,
    min: Any = None,
    max: Any = None,
) -> Tensor:
    """``np.clip`` on a tensor: a bound that is None does not bound."""
    if out is not None:
        raise TypeError("np.clip on a tensor builds a node: there is no out")
    low = min if a_min is None else a_min
    high = max if a_max is None else a_max
    t = as_tensor(a)
    if low is not None:
        t = maximum(t, low)
    return t if high is None else minimum(t, high)


def _shrink(t: Tensor, norm: Tensor, clip_norm: Any, name: str) -> Tensor:
    """t clip_norm / max(norm, clip_norm)."""
    return realdiv(multiply(t, clip_norm), maximum(norm, clip_norm), name=name)


def clip_by_norm(
    t: Any, clip_norm: Any, axes: Any = None, name: str | None = None
) -> Tensor:
    """t clip_norm / max(‖t‖₂, clip_norm): t, made no longer than clip_norm.

    Args:
        t: the tensor; integers become float32.
        clip_norm: the greatest norm, a positive scalar.
        axes: the axes of the norm (default: all).
        name: the name of the operation.

    Gradient: through the norm too; at t = 0 it is g.
    """
    t = inexact(t)
    with scope(name, "clip_by_norm", t) as full:
        total = reduce_sum(square(t), axes, keepdims=True)
        # The root of 0 has an infinite slope: keep it off the path.
        positive = greater(total, 0)
        safe = where_v2(positive, total, ones_like(total))
        norm = where_v2(positive, sqrt(safe), total)
        return _shrink(t, norm, clip_norm, full)


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """t clip_norm / max(‖t‖₂ / n, clip_norm) for t of n elements, as in TF1.

    Gradient: through the norm too; NaN at t = 0.
    """
    t = inexact(t)
    with scope(name, "clip_by_average_norm", t) as full:
        norm = realdiv(sqrt(reduce_sum(square(t))), reduce_sum(ones_like(t)))
        return _shrink(t, norm, clip_norm, full)


def _present(t_list: Any) -> list[Tensor]:
    if isinstance(t_list, (Tensor, np.ndarray)) or not isinstance(t_list, Sequence):
        raise TypeError("t_list must be a list of tensors")
    tensors = [inexact(t) for t in t_list if t is not None]
    if not tensors:
        raise ShapeError("t_list holds no tensors")
    return tensors


def global_norm(t_list: Any, name: str | None = None) -> Tensor:
    """√(Σ ‖t‖₂²) over the tensors of a list (None is left out): a scalar.

    Gradient: g t / norm; NaN where all are 0.

    Raises:
        TypeError: t_list is no list.
        ShapeError: it holds no tensors.
    """
    tensors = _present(t_list)
    with scope(name, "global_norm", *tensors) as full:
        return sqrt(add_n([reduce_sum(square(t)) for t in tensors]), name=full)


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Tensor | None], Tensor]:
    """Each t clip_norm / max(norm, clip_norm), with the norm of all of them.

    Args:
        t_list: tensors; None stays None.
        clip_norm: the greatest norm, a positive scalar.
        use_norm: the norm, where it is known already (:func:`global_norm`).
        name: the scope of the nodes.

    Returns:
        The clipped tensors and the norm.  A norm that is not finite makes every
        result NaN: an overflow must not pass as a direction.

    Reference: Pascanu, Mikolov & Bengio, arXiv:1211.5063.
    """
    tensors = _present(t_list)
    norm = global_norm(tensors) if use_norm is None else inexact(use_norm)
    with scope(name, "clip_by_global_norm", *tensors):
        bound = minimum(realdiv(1.0, norm), realdiv(1.0, _like(clip_norm, norm)))
        scale = where_v2(is_finite(norm), multiply(bound, clip_norm), np.nan)
        clipped = iter([multiply(t, _cast(scale, t)) for t in tensors])
        return [None if t is None else next(clipped) for t in t_list], norm


def _like(value: Any, like: Tensor) -> Tensor:
    """A number or tensor as a tensor of ``like``'s dtype."""
    return _cast(value if isinstance(value, Tensor) else inexact(value), like)


def _cast(t: Tensor, like: Tensor) -> Tensor:
    return cast(t, like.dtype)


NUMPY = {np.clip: _clip}
