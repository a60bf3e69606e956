"""Which of TensorFlow's op types can be imported, and what builds each."""

from __future__ import annotations

from collections.abc import Mapping

from . import arithmetic, arrays, images, layers, state
from .nodes import Build

__all__ = ["BUILDERS", "CONTROL_FLOW"]

_FAMILIES = (arithmetic, arrays, images, layers, state)

#: TensorFlow's op type -> what makes dagrad's operation from a node of it.
BUILDERS: Mapping[str, Build] = {
    type: build for family in _FAMILIES for type, build in family.BUILDERS.items()
}

#: Loops and branches as TF1 wrote them: nodes with edges that go back.
# fmt: off
CONTROL_FLOW = frozenset([
    "Enter", "Exit", "LoopCond", "Merge", "NextIteration", "RefEnter", "RefExit",
    "RefMerge", "RefNextIteration", "RefSwitch", "Switch",
])
# fmt: on
