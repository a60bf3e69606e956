"""Sparse Jacobians and Hessians: one derivative pass a colour, not one a column.

``sparsity`` finds where entries can be, ``coloring`` which columns (or rows) share a
pass, ``_compressed`` builds the passes, and ``_split_jacobian`` says of what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, promote
from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.gradients import _tensors, as_dense
from ..graphlib.tensor import Tensor
from ._build import scope
from ._compressed import compressed_pass, count, places, taken
from ._known import dims_of, size_of
from ._pattern import Pattern
from ._split_jacobian import jacobian_of
from .coloring import as_pattern, check_star, star_coloring, star_places
from .creation import zeros
from .scatter import scatter_nd
from .sparsity import (
    gradient_of,
    hessian_pattern,
    scipy_sparse,
    to_scipy,
)

__all__ = ["SparseDerivative", "sparse_hessian", "sparse_jacobian"]


class SparseDerivative:
    """A Jacobian or Hessian of which only the entries that can be nonzero exist.

    ``session.run`` takes it and gives a scipy.sparse.csr_matrix; fetched as
    ``.values`` it needs no SciPy.

    Attributes:
        values: (nnz,) the entries, row by row: a tensor of the graph like any
            other, so it can be differentiated.
        rows, cols: (nnz,) int64 arrays: where they stand.
        indptr: (m + 1,) int64: row i has the entries indptr[i] to indptr[i + 1].
        shape: (m, n).
        colors: how many derivative passes compute it.
        mode: "forward", "reverse" or "both".
        split: whether the passes are those by copies of x (see
            :func:`sparse_jacobian`).
    """

    def __init__(
        self,
        pattern: Pattern,
        values: Tensor,
        colors: int,
        mode: str,
        split: bool = False,
    ) -> None:
        self.values = values
        self.rows = pattern.rows()
        self.cols = pattern.indices
        self.indptr = pattern.indptr
        self.shape = pattern.shape
        self.colors = colors
        self.mode = mode
        self.split = split
        self._pattern = pattern
        # SciPy would make these of wider ones at each run.
        narrow = max(*self.shape, pattern.size) <= np.iinfo(np.int32).max
        index = np.int32 if narrow else np.int64
        self._index = self.cols.astype(index), self.indptr.astype(index)
        self._dense: Tensor | None = None

    def __repr__(self) -> str:
        m, n = self.shape
        how = f"{self.mode}, split" if self.split else self.mode
        return (
            f"<dagrad.SparseDerivative {m} x {n}, {self.nnz} entries in {self.colors} "
            f"passes ({how}), dtype={self.dtype.name}>"
        )

    @property
    def nnz(self) -> int:
        """The number of entries."""
        return self._pattern.size

    @property
    def indices(self) -> Any:
        """The columns, under SciPy's name."""
        return self.cols

    @property
    def dtype(self) -> DType:
        """The dtype of the entries."""
        return self.values.dtype

    @property
    def graph(self) -> Any:
        """The graph that computes the entries."""
        return self.values.graph

    @property
    def sparsity(self) -> Any:
        """The pattern, as a scipy.sparse.csr_matrix of bools."""
        return to_scipy(self._pattern)

    def to_scipy(self, values: Any) -> Any:
        """What a run gave for ``.values``, as a scipy.sparse.csr_matrix.

        Raises:
            ImportError: SciPy is not there.
            ShapeError: not one value per entry.
        """
        sparse = scipy_sparse()
        values = np.asarray(values)
        if values.shape != (self.nnz,):
            raise ShapeError(
                f"{self!r} takes {self.nnz} values, not an array of shape "
                f"{values.shape}"
            )
        parts = (values, *(a.copy() for a in self._index))
        return sparse.csr_matrix(parts, shape=self.shape)

    def dense(self) -> Tensor:
        """The whole (m, n) matrix as a tensor (built once)."""
        if self._dense is None:
            with self.graph.as_default():
                where = np.stack([self.rows, self.cols], axis=1)
                self._dense = scatter_nd(where, self.values, self.shape)
        return self._dense

    def _as_fetches(self) -> tuple[Tensor, Callable[[Any], Any]]:
        """What a session runs, and what it makes of the result."""
        scipy_sparse()
        return self.values, self.to_scipy


def sparse_jacobian(
    y: Any,
    x: Any,
    mode: str = "auto",
    sparsity: Any = None,
    coloring: Any = None,
    name: str | None = None,
) -> SparseDerivative:
    """The Jacobian dy/dx by its sparsity, in as many passes as it needs colours.

    Columns that no row joins are computed in one forward pass, rows that no
    column joins in one reverse pass; a banded Jacobian of any size takes as many
    passes as its band is wide.

    Args:
        y: a tensor or a list of them, real, of static shapes: the rows (elements
            in C order, one tensor after the other).
        x: a tensor, a variable or a list of them: the columns, likewise.
        mode: "forward", "reverse", "both" (dense rows in reverse, the others
            forward, or dense columns forward and the others in reverse), "split"
            (see below), or "auto": what takes the fewest passes, or "split" where
            that takes five or more and the split seems to cost less than half.
        sparsity: the pattern, an (m, n) SciPy matrix or array, if it is known
            better than :func:`jacobian_sparsity` finds it; an entry outside of it
            that is not zero makes wrong values.
        coloring: the colour of each column (``mode="forward"``) or of each row
            (``mode="reverse"``), if it is known; checked.
        name: the scope of the nodes.

    Returns:
        A :class:`SparseDerivative`; its dtype is that of xs and ys together.

    Raises:
        ShapeError: a shape is not static, or ``sparsity`` is not (m, n).
        DTypeError: complex or integer xs, complex ys.
        InvalidArgumentError: an unknown mode, or a colouring that is none.

    Several xs are independent of each other, as in :func:`jvp`.

    Split: where y = A h(g) and g = S x, S being copies (gathers with known indices,
    slices, transposes, joins) and A copies and sums by known indices, dy/dx =
    A (dh/dg) S.  The passes are those of dh/dg, in which an element of x that many
    rows see has a column for each copy; A and S only place its entries, adding those
    that meet.  A model's camera of many observations, a node of many edges or finite
    elements so takes passes for what one observation or element sees.  What is
    computed from x once and copied four times or more, t(x), has its own Jacobian
    multiplied: dy/dt dt/dx.  Where nothing copies, or an x is given twice, "split"
    is the "auto" of the whole.

    Example:
        >>> import dagrad as tf
        >>> x = tf.placeholder(tf.float64, [5])
        >>> j = tf.sparse_jacobian(x[1:] * x[:-1], x)
        >>> j.shape, j.nnz, j.colors
        ((4, 5), 8, 2)
        >>> with tf.Session() as session:
        ...     print(session.run(j.values, {x: [1.0, 2.0, 3.0, 4.0, 5.0]}))
        [2. 1. 3. 2. 4. 3. 5. 4.]

    Cost: the pattern takes a few vectorized passes for each op between x and y,
    the colouring about a microsecond per entry; both happen once, when the
    graph is built, and twice or three times where a split is looked for.  At a run
    a split costs its passes, one move for each entry of dh/dg, and about four for
    each term of dy/dt dt/dx.

    Reference:
        Curtis, Powell & Reid, On the estimation of sparse Jacobian matrices,
        J. Inst. Maths Applics 13 (1974); Gebremedhin, Manne & Pothen, SIAM
        Review 47 (2005).
    """
    ys, xs = _tensors(y), _tensors(x)
    dtype = _real(ys, xs)
    m, n = _sizes(ys), _sizes(xs)
    given = None if sparsity is None else _given(sparsity, m, n)
    with scope(name, "sparse_jacobian", *ys, *xs):
        assembly = jacobian_of(ys, xs, mode, given, coloring)
        pattern, values = assembly.assembled(dtype)
    forward, reverse = assembly.forward, assembly.reverse
    used = "both" if forward and reverse else "reverse" if reverse else "forward"
    return SparseDerivative(pattern, values, forward + reverse, used, assembly.split)


def sparse_hessian(
    y: Any,
    x: Any,
    sparsity: Any = None,
    coloring: Any = None,
    name: str | None = None,
) -> SparseDerivative:
    """The Hessian of y by its sparsity: one Hessian-vector product a colour.

    The symmetry is used: the colours are those of a star colouring, so that an
    arrow takes 2 products and a tridiagonal Hessian 3, of any size.

    Args:
        y: a real tensor; of several elements their sum counts, as for
            ``gradients``.
        x: a tensor, a variable or a list of them, real, of static shapes.
        sparsity: the symmetric pattern, an (n, n) SciPy matrix or array, if it is
            known better than :func:`hessian_sparsity` finds it.
        coloring: the colour of each element of x, if it is known; checked.
        name: the scope of the nodes.

    Returns:
        A :class:`SparseDerivative` that holds both triangles.

    Raises:
        ShapeError: a shape is not static, or ``sparsity`` is not (n, n).
        DTypeError: complex or integer xs, a complex y.
        InvalidArgumentError: a pattern that is not symmetric, or a colouring that
            is none.

    Example:
        >>> import dagrad as tf
        >>> x = tf.placeholder(tf.float64, [100])
        >>> rosenbrock = tf.reduce_sum(
        ...     100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2
        ... )
        >>> h = tf.sparse_hessian(rosenbrock, x)
        >>> h.shape, h.nnz, h.colors
        ((100, 100), 298, 3)

    Reference:
        Coleman & Moré, Estimation of sparse Hessian matrices and graph coloring
        problems, Math. Programming 28 (1984); Gebremedhin et al., SIAM J. Sci.
        Comput. 29 (2007).
    """
    ys, xs = _tensors(y), _tensors(x)
    dtype = _real(ys, xs)
    n = _sizes(xs)
    with scope(name, "sparse_hessian", *ys, *xs):
        grads = [None if g is None else as_dense(g) for g in gradient_of(ys, xs)]
        if sparsity is None:
            pattern = hessian_pattern(grads, xs)
        else:
            pattern = _given(sparsity, n, n)
        if coloring is None:
            colors = star_coloring(pattern)
        else:
            colors = check_star(pattern, coloring)
        color, place = star_places(pattern, colors)
        # Rows without entries would only add a colour.
        filled = np.diff(pattern.indptr) > 0
        colors = np.where(filled, colors, -1)
        parts: list[Tensor] = []
        if pattern.size:
            with_zeros = [
                zeros(dims_of(x), x.dtype) if g is None else g
                for g, x in zip(grads, xs)
            ]
            parts = compressed_pass(with_zeros, xs, colors, True, dtype)
        where = places(colors, color, place, [size_of(x) for x in xs])
        values = taken(parts, where, dtype, "values")
    return SparseDerivative(pattern, values, count(colors), "forward")


def _real(ys: Sequence[Tensor], xs: Sequence[Tensor]) -> DType:
    """The dtype of the derivative.

    Raises:
        DTypeError: an x is no floating tensor, or a y is complex.
        InvalidArgumentError: there is no x or no y.
    """
    if not xs or not ys:
        raise InvalidArgumentError("a sparse derivative takes at least one x and one y")
    for t in xs:
        if not t.dtype.is_floating:
            raise DTypeError(
                t.op.explain(
                    f"sparse derivatives are taken with respect to floating tensors, "
                    f"not {t.dtype.name}"
                ),
                t.op,
            )
    dtype = xs[0].dtype
    for t in (*xs[1:], *ys):
        if t.dtype.is_complex:
            raise DTypeError(
                t.op.explain(
                    "sparse derivatives are taken of real tensors, not "
                    f"{t.dtype.name}: take those of its real and imaginary part"
                ),
                t.op,
            )
        if t.dtype.is_floating:
            dtype = promote(dtype, t.dtype)
    return dtype


def _sizes(tensors: Sequence[Tensor]) -> int:
    return sum(size_of(t) for t in tensors)


def _given(sparsity: Any, m: int, n: int) -> Pattern:
    pattern = as_pattern(sparsity)
    if pattern.shape != (m, n):
        raise ShapeError(
            f"the sparsity pattern has shape {pattern.shape}, the derivative ({m}, {n})"
        )
    return pattern
