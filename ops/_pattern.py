"""Boolean matrices in compressed rows: which elements depend on which.

NumPy only, so that sparse derivatives need no SciPy.  Every function is a few
vectorized passes over the entries, and makes no dense matrix where those are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "Pattern",
    "empty",
    "from_dense",
    "from_pairs",
    "identity",
    "stacked",
    "unite",
]


class Pattern:
    """An (m, n) matrix of bools: row i has ``indices[indptr[i]:indptr[i + 1]]``.

    Attributes:
        shape: (m, n).
        indptr: (m + 1,) int64.
        indices: the columns, rising within a row.
    """

    __slots__ = ("indices", "indptr", "shape")

    def __init__(self, shape: tuple[int, int], indptr: Any, indices: Any) -> None:
        self.shape = shape
        self.indptr = indptr
        self.indices = indices

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self.indices)

    def rows(self) -> Any:
        """The row of each entry."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def take(self, index: Any) -> Pattern:
        """The rows that ``index`` names; -1 gives an empty row."""
        m, n = self.shape
        if len(index) == m and np.array_equal(index, np.arange(m)):
            return self
        there = index >= 0
        if there.all():
            starts, counts = self.indptr[index], np.diff(self.indptr)[index]
        else:
            at = index[there]
            starts = np.zeros(len(index), np.int64)
            counts = np.zeros(len(index), np.int64)
            starts[there] = self.indptr[at]
            counts[there] = self.indptr[at + 1] - self.indptr[at]
        indptr = _pointers(counts)
        return Pattern(
            (len(index), n), indptr, self.indices[_spans(starts, counts, indptr)]
        )

    def part(self, start: int, stop: int) -> Pattern:
        """The rows from ``start`` to ``stop``."""
        indptr = self.indptr[start : stop + 1]
        indices = self.indices[indptr[0] : indptr[-1]]
        return Pattern((stop - start, self.shape[1]), indptr - indptr[0], indices)

    def grouped(self, labels: Any, m: int) -> Pattern:
        """Row k of the result is the union of all rows with label k (-1: none)."""
        rows = np.repeat(labels, np.diff(self.indptr))
        cols = self.indices
        if len(labels) and labels.min() < 0:
            keep = rows >= 0
            rows, cols = rows[keep], cols[keep]
        return from_pairs(rows, cols, (m, self.shape[1]))

    def after(self, rows: Any, cols: Any, m: int) -> Pattern:
        """The product L P of boolean matrices, L given by its entries.

        Args:
            rows, cols: row ``rows[k]`` of the result includes row ``cols[k]``.
            m: the number of rows of the result.
        """
        k, n = self.shape
        counts = np.diff(self.indptr)[cols]
        result = empty(m, n)
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        if total > _PIECE and m * k + k * n + m * n <= 8 * _PIECE:
            return from_dense(self._dense_product(rows, cols, m))
        # A long product goes in pieces, so that its terms never are all there.
        pieces = max(1, -(-total // _PIECE))
        cuts = np.searchsorted(ends, np.arange(1, pieces) * _PIECE, "right")
        for part in np.split(np.arange(len(cols)), cuts):
            picked = self.take(cols[part])
            at = np.repeat(rows[part], np.diff(picked.indptr))
            result = unite([result, from_pairs(at, picked.indices, (m, n))])
        return result

    def _dense_product(self, rows: Any, cols: Any, m: int) -> Any:
        """The same by BLAS, on matrices of zeros and ones."""
        k, n = self.shape
        left, right = np.zeros((m, k), np.float32), np.zeros((k, n), np.float32)
        left[rows, cols] = 1
        right[self.rows(), self.indices] = 1
        return left @ right > 0

    def transposed(self) -> Pattern:
        """The transpose."""
        m, n = self.shape
        return from_pairs(self.indices, self.rows(), (n, m))


#: Terms of a product that are held at once.
_PIECE = 1 << 23


def _pointers(counts: Any) -> Any:
    indptr = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    return indptr


def _spans(starts: Any, counts: Any, indptr: Any) -> Any:
    """starts[0], starts[0] + 1, ... (counts[0] of them), starts[1], ..."""
    total = int(indptr[-1])
    return np.repeat(starts - indptr[:-1], counts) + np.arange(total)


def empty(m: int, n: int) -> Pattern:
    """No entries."""
    return Pattern((m, n), np.zeros(m + 1, np.int64), np.zeros(0, np.int64))


def identity(m: int, n: int, offset: int = 0) -> Pattern:
    """Row i has column i + offset."""
    return Pattern((m, n), np.arange(m + 1), np.arange(offset, offset + m))


def from_pairs(rows: Any, cols: Any, shape: tuple[int, int]) -> Pattern:
    """The matrix with these entries, in any order, repeats allowed."""
    m, n = shape
    keys = np.asarray(rows) * n + cols
    if len(keys) > 1 and not (keys[1:] > keys[:-1]).all():
        if m * n <= 4 * len(keys):
            # Marking every place costs less than sorting.
            marks = np.zeros(m * n, np.bool_)
            marks[keys] = True
            keys = np.flatnonzero(marks)
        else:
            keys = np.sort(keys, kind="stable")
            keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    rows, cols = np.divmod(keys, max(n, 1))
    return Pattern(shape, _pointers(np.bincount(rows, minlength=m)), cols)


def from_dense(marks: Any) -> Pattern:
    """The entries of a dense matrix that are not zero."""
    rows, cols = np.nonzero(marks)
    counts = np.bincount(rows, minlength=marks.shape[0])
    return Pattern(marks.shape, _pointers(counts), cols)


def unite(patterns: Sequence[Pattern]) -> Pattern:
    """The union of matrices of one shape."""
    distinct = list({id(p): p for p in patterns}.values())
    filled = [p for p in distinct if p.size] or distinct[:1]
    if len(filled) == 1:
        return filled[0]
    first = filled[0]
    if all(
        p.size == first.size
        and np.array_equal(p.indices, first.indices)
        and np.array_equal(p.indptr, first.indptr)
        for p in filled[1:]
    ):
        return first
    rows = np.concatenate([p.rows() for p in filled])
    cols = np.concatenate([p.indices for p in filled])
    return from_pairs(rows, cols, first.shape)


def stacked(patterns: Sequence[Pattern]) -> Pattern:
    """Matrices with the same columns, one below the other."""
    if len(patterns) == 1:
        return patterns[0]
    counts = np.concatenate([np.diff(p.indptr) for p in patterns])
    indices = np.concatenate([p.indices for p in patterns])
    m = sum(p.shape[0] for p in patterns)
    return Pattern((m, patterns[0].shape[1]), _pointers(counts), indices)
