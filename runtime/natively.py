"""The way from a frame or a layout to native code, whose modules load where it may run.

Each function is that of the same name in ``native_copies``, ``native_nests``,
``native_rows`` or ``native_updates``; without native code it says so at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .native import available

if TYPE_CHECKING:
    from ..graphlib.opdef import OpDef
    from ..graphlib.windows import Nest
    from .plan import Slot, Step
    from .program import Node

__all__ = [
    "ROW_TYPES",
    "bind_parts",
    "bind_rows",
    "bind_turned",
    "bind_update",
    "nest_between",
    "with_panel",
]

#: The ops that ``native_rows`` has formulas for.
ROW_TYPES = frozenset(
    (
        "LogSoftmax",
        "Softmax",
        "SoftmaxCrossEntropyWithLogits",
        "SoftmaxGrad",
        "SparseSoftmaxCrossEntropyWithLogits",
    )
)


def _never(mode: str) -> bool:
    return mode == "off" or not available()


def bind_parts(
    step: Step,
    slots: Sequence[Slot],
    parts: Sequence[int],
    args: Sequence[Any],
    numpy: Any,
    mode: str,
) -> Any:
    """Copies of a join's parts."""
    if _never(mode):
        return numpy
    from .native_copies import bind_parts

    return bind_parts(step, slots, parts, args, numpy, mode)


def bind_turned(
    step: Step, slots: Sequence[Slot], args: Sequence[Any], numpy: Any, mode: str
) -> Any:
    """A view op that copies."""
    if _never(mode):
        return numpy
    from .native_copies import bind_turned

    return bind_turned(step, slots, args, numpy, mode)


def bind_rows(step: Step, slots: Sequence[Slot], numpy: Any, mode: str) -> Any:
    """Softmax and its kin."""
    if _never(mode):
        return numpy
    from .native_rows import bind_rows

    return bind_rows(step, slots, numpy, mode)


def bind_update(
    step: Step, args: Sequence[Any], settled: Callable[[], Any], mode: str
) -> Callable[[], Any]:
    """An optimizer's update, or another call that needs no arguments."""
    if _never(mode) or not hasattr(step.opdef.kernel, "update"):
        return settled
    from .native_updates import bind_update

    return bind_update(step, args, settled, mode)


def nest_between(
    opdef: OpDef,
    attrs: Mapping[str, Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    mode: str,
) -> Nest | None:
    """What native code is to compute in the place of a convolution's kernel."""
    if opdef.nest is None or _never(mode):
        return None
    from .native_nests import nest_between

    return nest_between(opdef, attrs, inputs, outputs, mode)


def with_panel(node: Node, scratch: Any, mode: str, shared: bool) -> Any:
    """A node's scratch arrays, with room for the filter that native code packs, or for
    the panels of a product (``shared``: of threads)."""
    nest = nest_between(node.opdef, node.attrs, node.inputs, node.outputs, mode)
    if nest is None:
        return scratch
    from .native_nests import with_panel

    return with_panel(scratch, nest, shared)
