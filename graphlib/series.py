"""Taylor coefficients of a path, as the rules of ops see them (see ``taylor``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .operators import TABLE

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["Series", "is_constant", "scale"]

#: ``[x_0, x_1, ..., x_K]``, with None for zero.
Series = list["Tensor | None"]


def is_constant(series: Series) -> bool:
    """Whether every coefficient but the value is zero."""
    return all(c is None for c in series[1:])


def scale(coefficient: Tensor | None, factor: float) -> Tensor | None:
    """``factor`` times a coefficient; nothing is built for zero or a factor of 1."""
    if coefficient is None or factor == 1:
        return coefficient
    return TABLE["mul"](coefficient, float(factor))  # type: ignore[no-any-return]
