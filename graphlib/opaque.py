"""Operations that dagrad does not have: something to draw, nothing to run.

A graph of another program may hold op types that are not declared here.  Its picture
shows them by type, name and attributes; what needs one cannot be planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .dtypes import DType
from .errors import GraphError
from .opdef import OpDef
from .records import fields
from .shapes import Dims

__all__ = ["UNKNOWN", "opaque"]

#: The dtype of a result of which not even that is known.
UNKNOWN = DType("unknown", np.dtype(object))


def _run_nothing(xp: Any, *arrays: Any, out: Any = None, **attrs: Any) -> Any:
    raise GraphError("dagrad does not have this operation: it can only be drawn")


_TEMPLATE = OpDef(
    "_Opaque",
    infer=lambda inputs, attrs: (),
    kernel=_run_nothing,
    no_gradient="dagrad does not have this operation: it can only be drawn",
    effect="opaque",
    doc="an operation of another program",
)


def opaque(type: str, outputs: Sequence[tuple[DType, Dims]]) -> OpDef:
    """What stands for one operation of a type that dagrad does not have.

    Args:
        type: the other program's name of it.
        outputs: what is known of its results.
    """
    changed: dict[str, Any] = {
        "type": type,
        "inputs": ("*input",),
        "infer": lambda inputs, attrs: tuple(outputs),
    }
    # Not by the constructor: that would declare the type.
    made = object.__new__(OpDef)
    for f in fields(OpDef):
        own = getattr(_TEMPLATE, f.name)
        object.__setattr__(made, f.name, changed.get(f.name, own))
    return made
