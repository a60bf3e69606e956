"""Matrix products as plain data, from which native code knows what to compute."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Product"]


class Product(NamedTuple):
    """result[i, j] = sum over p of a[i, p] b[p, j], for a number of matrices.

    Attributes:
        rows, terms, columns: how many i, p and j there are.
        turned_a, turned_b: whether the operands are given transposed.
        matrices: how many products there are.
    """

    rows: int
    terms: int
    columns: int
    turned_a: bool
    turned_b: bool
    matrices: int
