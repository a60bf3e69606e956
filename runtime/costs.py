"""How long a step will take, roughly: from the flops and bytes of its op.

The rates are of one core, measured over the ops that fill most plans (2^20 float32
numbers: add 0.46 ms, tanh 0.38, exp 0.49, sum 0.24, a row's softmax 1.8, a product
of 1024 by 1024 matrices 27, a 5 by 5 convolution 25 to 54).  They decide what is
worth handing to another thread, never what is computed, so a factor of two either
way does no harm; a few special functions take ten times what is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..graphlib.opdef import OpDef

__all__ = ["microseconds"]

#: Bytes a microsecond through memory.
_BYTES = 25_000.0
#: Flops a microsecond of NumPy's loops; an op counts 10 or more for a tanh.
_FLOPS = 20_000.0
#: Flops a microsecond of BLAS, in 4-byte numbers; wider ones are slower by their size.
_BLAS_FLOPS = 60_000.0
#: Flops for each number read or written from which an op must be matrix products.
_DENSE = 64


def microseconds(
    opdef: OpDef,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    attrs: Mapping[str, Any],
) -> float:
    """The predicted time of one step; 0 where a shape is not known.

    The longer of what its arithmetic and its memory traffic take.
    """
    numbers = moved = 0
    for v in (*inputs, *outputs):
        if v.dims is None:
            return 0.0
        n = 1
        for d in v.dims:
            if d is None:
                return 0.0
            n *= d
        numbers += n
        moved += n * v.dtype.size
    if opdef.flops is None or not numbers:
        return moved / _BYTES
    flops = opdef.flops(inputs, outputs, attrs)
    rate = _FLOPS
    if flops > _DENSE * numbers:
        rate = _BLAS_FLOPS * 4.0 * numbers / moved
    return max(moved / _BYTES, flops / rate)
