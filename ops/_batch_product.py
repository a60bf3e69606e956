"""Batch rules of matrix products, einsum and solves.

Where only one operand differs from row to row, the rows become columns (or rows) of
one large product: a matrix that all rows share is read, or factored, once.
"""

from __future__ import annotations

from typing import Any

from ..graphlib.batched import RowOp
from ..graphlib.tensor import Tensor
from ._batch import again, elementwise, make, moved, reshaped, row_rank, rows_of
from ._static import sizes

__all__ = ["einsum", "matmul", "solve"]


def matmul(op: RowOp, a: Tensor | None, b: Tensor | None) -> Any:
    """MatMul: one large product where only b is batched, else batched ones."""
    one, row = op.inputs
    single = one.dims is not None and len(one.dims) == 2
    if a is None and b is not None and single and row_rank(row, b) == 2:
        real = not one.dtype.is_complex
        flags = op.attrs
        if real or not (flags["adjoint_a"] or flags["adjoint_b"]):
            turned_a = flags["transpose_a"] or flags["adjoint_a"]
            turned_b = flags["transpose_b"] or flags["adjoint_b"]
            return _columns_times(one, b, turned_a, turned_b, op)
    return elementwise(op, a, b)


def _columns_times(a: Tensor, b: Tensor, ta: bool, tb: bool, op: RowOp) -> Tensor:
    """A' B_i' for one matrix and many, as one product."""
    columns = op.outputs[0].dims[-1] if op.outputs[0].dims else None
    if columns == 1:
        # (A x_i)^T = x_i^T A^T: the columns are the rows of one matrix.
        n = rows_of(b)
        k = sizes(b)[2 if tb else 1]
        rows = make(
            "MatMul",
            reshaped(b, [n, k]),
            a,
            transpose_a=False,
            transpose_b=not ta,
            adjoint_a=False,
            adjoint_b=False,
        )
        return make("ExpandDims", rows, axis=2)
    equation = f"{'km' if ta else 'mk'},{'npk' if tb else 'nkp'}->nmp"
    return make("Einsum", a, b, equation=equation, loose="")


def einsum(op: RowOp, a: Tensor | None, b: Tensor | None) -> Any:
    """Einsum: one label more."""
    equation = op.attrs["equation"]
    import string  # slow to load

    free = next((c for c in string.ascii_letters if c not in equation), None)
    if free is None:
        return NotImplemented
    left, out = equation.split("->")
    la, lb = left.split(",")
    la = la if a is None else free + la
    lb = lb if b is None else free + lb
    operands = [t if x is None else x for t, x in zip(op.inputs, (a, b))]
    return again(op, operands, equation=f"{la},{lb}->{free}{out}")


def solve(op: RowOp, a: Tensor | None, b: Tensor | None) -> Any:
    """Solves: all right-hand sides of one matrix together, so it is factored once."""
    one, rhs = op.inputs
    single = one.dims is not None and len(one.dims) == 2
    if a is None and b is not None and single and row_rank(rhs, b) == 2:
        n, k, p = sizes(b)
        wide = reshaped(moved(b, 0, 1), [k, n * p])
        x = again(op, (one, wide))[0]
        return moved(reshaped(x, [k, n, p]), 1, 0)
    return elementwise(op, a, b)
