"""The operator table: how ``a + b`` and friends reach the op builders.

graphlib may not import ops, so the front door fills this table once, and
Tensor's methods, gradients and conversion call through it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["NUMPY", "TABLE"]

#: Name -> builder.  Filled by ``dagrad/__init__.py`` (see ``ops.OPERATORS``).
TABLE: dict[str, Callable[..., Any]] = {}

#: NumPy ufunc or function -> builder, for ``np.exp(tensor)``.
NUMPY: dict[Any, Callable[..., Any]] = {}
