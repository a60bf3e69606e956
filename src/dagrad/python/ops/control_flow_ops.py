"""``from tensorflow.python.ops import control_flow_ops``: loops and branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...graphlib.tensor import Tensor
from ...ops.branching import case, cond, switch_case
from ...ops.core import identity
from ...ops.grouping import group, no_op
from ...ops.grouping import tuple_ as tuple
from ...ops.looping import while_loop
from ...scopes import control_dependencies

__all__ = [
    "case",
    "cond",
    "group",
    "no_op",
    "switch_case",
    "tuple",
    "while_loop",
    "with_dependencies",
]


def with_dependencies(
    dependencies: Sequence[Any], output_tensor: Any, name: str | None = None
) -> Tensor:
    """``output_tensor``, once all ``dependencies`` have run."""
    with control_dependencies(dependencies):
        return identity(output_tensor, name=name or "control_dependency")
