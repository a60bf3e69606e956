"""Matrix products as data from which native code is made, where that pays.

Measured on one core of an Intel Xeon of 2023 (AVX-512) against NumPy's OpenBLAS:
random sizes from 2 to 2500, both dtypes, operands plain and transposed (see
``docs/native.md``).  What is chosen here mostly took less than 0.95 of
the time, in the median 0.65.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ..graphlib.products import Product
from ..graphlib.windows import Nest

__all__ = ["product_nest"]

#: Multiplications of one matrix: below, OpenBLAS has code for small matrices that is as
#: fast; above, what it does to large ones has paid, sooner where a is given transposed.
_LEAST, _MOST, _MOST_TURNED = 1 << 20, 1 << 28, 1 << 26
#: Columns that are so few that OpenBLAS is slow however many rows there are.
_NARROW = 128
#: Where b is given transposed, it has no such code for small matrices: multiplications
#: of all matrices and of each; rows and columns, terms, so that vectors are used.
_LEAST_TURNED, _LEAST_EACH, _SIDE, _TERMS = 1 << 17, 1 << 15, 32, 16
#: Bytes of a result, and of an a that is given transposed, and a result with it.
_RESULT, _TURNED = 1 << 23, 1 << 21
#: Bytes of b, by those of an element, that come from memory for so few rows.
_FAR, _FEW = {4: 1 << 22, 8: 1 << 20}, 64
#: Columns at least, the same where a is given transposed, and rows: fewer are much
#: like a product with a vector.
_COLUMNS, _COLUMNS_TURNED, _ROWS = 8, 32, 8


def product_nest(
    inputs: Sequence[Any], outputs: Sequence[Any], attrs: Mapping[str, Any]
) -> Nest | None:
    """The product of two matrices, or of many; None where NumPy's is as fast."""
    a = inputs[0]
    dtype: np.dtype[Any] = a.dtype.dtype
    if dtype.str[1:] not in ("f4", "f8"):
        return None
    turned_a = attrs["transpose_a"] or attrs["adjoint_a"]
    turned_b = attrs["transpose_b"] or attrs["adjoint_b"]
    *batch, rows, columns = outputs[0].dims
    terms = a.dims[-2 if turned_a else -1]
    matrices = prod(batch)
    sizes = matrices, rows, terms, columns
    if not _pays(sizes, turned_a, turned_b, dtype.itemsize):
        return None
    part = Product(rows, terms, columns, turned_a, turned_b, matrices)
    flops = 2 * matrices * rows * terms * columns
    return Nest((0, 1), (part,), matrices, dtype.str, flops)


def _pays(
    sizes: tuple[int, int, int, int], turned_a: bool, turned_b: bool, item: int
) -> bool:
    """Whether (matrices, rows, terms, columns) take at most 0.95 of NumPy's time."""
    matrices, rows, terms, columns = sizes
    work = rows * terms * columns
    if not matrices or rows < _ROWS or rows * columns * item > _RESULT:
        return False
    if terms * columns * item > _FAR[item] and rows < _FEW:
        return False
    if work < _LEAST:
        small = (
            turned_b
            and not turned_a
            and min(rows, columns) >= _SIDE
            and terms >= _TERMS
        )
        return small and work >= _LEAST_EACH and matrices * work >= _LEAST_TURNED
    if turned_a:
        large = rows * max(terms, columns) * item > _TURNED or work > _MOST_TURNED
        return columns >= _COLUMNS_TURNED and not large
    return columns >= _COLUMNS and (work <= _MOST or columns <= _NARROW)
