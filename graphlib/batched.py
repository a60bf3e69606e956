"""What batch rules take and give (see ``batching``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .graph import Graph
    from .opdef import OpDef
    from .operation import Operation
    from .tensor import Tensor

__all__ = ["RowOp", "Shared", "Uneven"]


class Shared:
    """A result of a batch rule that is the same for every row: no batch axis.

    The shape of a row is one: what is computed from it alone stays unbatched.
    """

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Uneven:
    """A batched result whose rows may differ in shape, as what loops keep for their
    gradients may (see graphlib/ragged): whatever reads it runs row by row.
    """

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class RowOp:
    """What a batch rule sees: an operation, with unbatched inputs brought up to date.

    ``inputs[i]`` is what to read where ``batched[i]`` is None; else it tells the
    dtype and the shape of one row and must not be read.  ``uneven[i]`` says whether
    its rows may differ in shape, which only an operation sees that passes them on.
    """

    __slots__ = ("attrs", "graph", "inputs", "op", "opdef", "outputs", "uneven")

    def __init__(
        self,
        op: Operation,
        inputs: Sequence[Tensor],
        uneven: Sequence[bool] | None = None,
    ) -> None:
        self.op = op
        self.opdef: OpDef = op.opdef
        self.attrs: Mapping[str, Any] = op.attrs
        self.graph: Graph = op.graph
        self.inputs = tuple(inputs)
        self.outputs = op.outputs
        self.uneven = (False,) * len(self.inputs) if uneven is None else uneven
