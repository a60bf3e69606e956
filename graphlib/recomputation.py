"""What a gradient asks for: ``gradients(..., checkpoints=)``.

A wish says which forward operations the backward ones of one call may have computed
again, and what is to be kept.  It is a note on the graph: plans follow it, and the
graph's operations, their derivatives and all results stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import GradientError
from .tensor import Tensor

if TYPE_CHECKING:
    from .graph import Graph
    from .operation import Operation

__all__ = ["Wish", "check_checkpoints", "wish"]

_KINDS = ("memory", "speed")


class Wish(NamedTuple):
    """What is kept between the forward and the backward operations of a gradient.

    Attributes:
        keep: "memory", "speed", or the tensors to keep.
        forward: the operations whose results may be dropped and computed again.
        first, last: the backward operations have ids from ``first`` to before ``last``.
    """

    keep: str | frozenset[Tensor]
    forward: frozenset[Operation]
    first: int
    last: int


def check_checkpoints(checkpoints: Any) -> str | frozenset[Tensor]:
    """The argument ``checkpoints`` as what a wish keeps.

    Raises:
        GradientError: neither "memory" nor "speed" nor tensors.
    """
    if isinstance(checkpoints, str):
        if checkpoints in _KINDS:
            return checkpoints
    elif not isinstance(checkpoints, Tensor):
        tensors = [
            t._as_graph_element() if hasattr(t, "_as_graph_element") else t
            for t in checkpoints
        ]
        if all(isinstance(t, Tensor) for t in tensors):
            return frozenset(tensors)
    raise GradientError(
        'checkpoints must be "memory", "speed", or a collection of tensors, not '
        f"{checkpoints!r}"
    )


def wish(
    graph: Graph,
    keep: str | frozenset[Tensor],
    forward: Sequence[Operation],
    first: int,
) -> None:
    """Note that the operations of ``graph`` from number ``first`` on are backward."""
    found = Wish(keep, frozenset(forward), first, len(graph._operations))
    if found.last > first:
        graph.wishes.append(found)
