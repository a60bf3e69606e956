"""Which elements of y depend on which elements of x, read off the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.gradients import _tensors, gradients
from ..graphlib.tensor import Tensor
from . import _sparsity_bodies, _sparsity_matrices, _sparsity_windows
from ._known import Known, size_of
from ._pattern import Pattern, empty, from_pairs, identity, stacked, unite
from ._sparsity_rules import RULES, TooManyEntries, propagate

__all__ = [
    "hessian_pattern",
    "hessian_sparsity",
    "is_sparse",
    "jacobian_pattern",
    "jacobian_sparsity",
]

RULES.update(_sparsity_bodies.RULES)
RULES.update(_sparsity_matrices.RULES)
RULES.update(_sparsity_windows.RULES)


def jacobian_sparsity(y: Any, x: Any) -> Any:
    """The places where dy/dx can be nonzero, as a SciPy matrix of bools.

    Nothing is run: the dependence of every element on the elements of x goes
    from op to op.  Broadcasts, slices, gathers and scatters with known indices,
    reductions, products with constant matrices (their zeros cut dependence),
    convolutions, running sums and triangular solves are followed element by
    element; an op without a rule is taken to depend on everything.

    Args:
        y: a tensor or a list of them, of static shapes: the rows, in C order.
        x: a tensor, a variable or a list of them: the columns, in C order.

    Returns:
        scipy.sparse.csr_matrix (size of y, size of x) of bool.  It holds every
        entry that is nonzero for some value of x (and of anything fed), and may
        hold more.  Feeding a tensor that the graph knows as a constant makes it
        void.

    Raises:
        ShapeError: the shape of an x or a y is not static (a tensor between them
            whose shape is not is taken to depend on all that its inputs do).
        ImportError: SciPy is not there.

    Several xs are independent of each other, as in :func:`jvp`: an x that
    depends on another one is held.

    Example:
        >>> import dagrad as tf
        >>> x = tf.placeholder(tf.float64, [4])
        >>> tf.jacobian_sparsity(x[1:] * x[:-1], x).toarray().astype(int)
        array([[1, 1, 0, 0],
               [0, 1, 1, 0],
               [0, 0, 1, 1]])

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., section 7.1.
    """
    return to_scipy(jacobian_pattern(_tensors(y), _tensors(x)))


def hessian_sparsity(y: Any, x: Any) -> Any:
    """The places where the Hessian of y can be nonzero, as a SciPy matrix.

    The pattern of the Jacobian of y's gradient, made symmetric.  Gradient
    operations are added to the graph; nothing is run.

    Args:
        y: a tensor; of several elements their sum counts, as for ``gradients``.
        x: a tensor, a variable or a list of them.

    Returns:
        scipy.sparse.csr_matrix (size of x, size of x) of bool, as for
        :func:`jacobian_sparsity`.

    Raises:
        ShapeError: the shape of an x is not static.
        ImportError: SciPy is not there.

    Example:
        >>> import dagrad as tf
        >>> x = tf.placeholder(tf.float64, [3])
        >>> y = tf.reduce_sum((x[1:] - x[:-1] ** 2) ** 2)
        >>> tf.hessian_sparsity(y, x).toarray().astype(int)
        array([[1, 1, 0],
               [1, 1, 1],
               [0, 1, 1]])
    """
    xs = _tensors(x)
    return to_scipy(hessian_pattern(gradient_of(_tensors(y), xs), xs))


def to_scipy(p: Pattern) -> Any:
    """A pattern as scipy.sparse.csr_matrix.

    Raises:
        ImportError: SciPy is not there.
    """
    sparse = scipy_sparse()
    ones = np.ones(p.size, np.bool_)
    return sparse.csr_matrix((ones, p.indices, p.indptr), shape=p.shape)


def scipy_sparse() -> Any:
    """The module scipy.sparse.

    Raises:
        ImportError: it is not there; says how to get it.
    """
    try:
        import scipy.sparse
    except ImportError:
        raise ImportError(
            "sparse matrices are SciPy's: pip install scipy (the values, rows and "
            "columns of a sparse derivative need NumPy only)"
        ) from None
    return scipy.sparse


def gradient_of(ys: Sequence[Tensor], xs: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of the sum of ``ys``, each x held independent of the others."""
    return gradients(list(ys), list(xs), stop_gradients=list(xs))


def hessian_pattern(grads: Sequence[Tensor | None], xs: Sequence[Tensor]) -> Pattern:
    """The symmetric pattern of the Jacobian of a gradient (None: zero)."""
    filled = jacobian_pattern([g for g in grads if g is not None], xs)
    rows = []
    start = 0
    for g, x in zip(grads, xs):
        own = np.arange(start, start + size_of(x))
        rows.append(np.full(len(own), -1) if g is None else own)
        start += 0 if g is None else len(own)
    half = filled.take(np.concatenate(rows))
    return unite([half, half.transposed()])


def jacobian_pattern(
    ys: Sequence[Tensor], xs: Sequence[Tensor], known: Known | None = None
) -> Pattern:
    """The pattern of dy/dx, rows over all ys, columns over all xs.

    ``known``: what is known of the tensors, if it is more than where the xs may have
    any value.
    """
    n = sum(size_of(x) for x in xs)
    sizes = [size_of(y) for y in ys]
    found: dict[Tensor, Pattern] = {}
    offset = 0
    for x in xs:
        own = identity(size_of(x), n, offset)
        found[x] = unite([found[x], own]) if x in found else own
        offset += size_of(x)
    rows = propagate(ys, found, known or Known(xs))
    filled = [empty(m, n) if p is None else p for m, p in zip(sizes, rows)]
    return stacked(filled) if filled else empty(0, n)


#: Columns that stand for all, and the most entries that all of them may have.
_SAMPLE, _LARGEST = 64, 1 << 24


def is_sparse(ys: Sequence[Tensor], xs: Sequence[Tensor], density: float) -> bool:
    """Whether about this share of the entries of dy/dx, or less, can be nonzero.

    A guess from a sample of columns, for less time and memory than the pattern
    takes.  Also False where tensors between xs and ys depend on so much that the
    pattern would not fit in memory.
    """
    n = sum(size_of(x) for x in xs)
    taken = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64))
    found: dict[Tensor, Pattern] = {}
    offset = 0
    for x in xs:
        size = size_of(x)
        columns = np.flatnonzero((offset <= taken) & (taken < offset + size))
        own = from_pairs(taken[columns] - offset, columns, (size, len(taken)))
        found[x] = unite([found[x], own]) if x in found else own
        offset += size
    most = max(_LARGEST * len(taken) // max(n, 1), 1)
    try:
        rows = propagate(ys, found, Known(xs), most)
    except TooManyEntries:
        return False
    entries = sum(p.size for p in rows if p is not None)
    return entries <= density * len(taken) * sum(size_of(y) for y in ys)
