"""What is known of an operation's result while the graph is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .opdef import OpDef
from .shapes import size

__all__ = ["MAX_KNOWN", "known_value"]

# Shape arithmetic is worked out at build time on arrays of at most this size.
MAX_KNOWN = 64


def known_value(
    opdef: OpDef, inputs: Sequence[Any], attrs: dict[str, Any], specs: Any
) -> Any:
    """What is known of output 0 before a run (see ``opdef.Spec.value``)."""
    if opdef.value is not None:
        value = opdef.value(inputs, attrs)
        if value is not None:
            return value
    if not opdef.shape_math or specs[0][0].kind > 1:
        return None
    count = size(specs[0][1])
    if count is not None and count > MAX_KNOWN:
        return None  # before anything as large is made
    arrays = []
    for t in inputs:
        value = t.value
        if not isinstance(value, np.ndarray) or value.size > MAX_KNOWN:
            return None
        arrays.append(value)
    if not arrays:
        return None
    kernel = opdef.kernel
    assert kernel is not None
    try:
        with np.errstate(all="ignore"):
            if isinstance(kernel, str):
                result = getattr(np, kernel)(*arrays)
            else:
                result = kernel(np, *arrays, **attrs)
    except (ArithmeticError, ValueError):
        # The run will compute it and report the error with the user's lines.
        return None
    result = np.asarray(result, dtype=specs[0][0].dtype)
    return result if result.size <= MAX_KNOWN else None
