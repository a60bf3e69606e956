"""Solving, inverting and factoring matrices: triangular and LU based.

Every op takes batches of matrices, float32, float64, complex64 or complex128.
A matrix that is singular (or not positive definite, for Cholesky) raises
InvalidArgumentError in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import DTypeError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, broadcast, text
from ..graphlib.tensor import Tensor
from ._build import create, create_many, inexact, pair, scope
from ._later import batch, batch_product
from ._series_linalg import inverse_jet, solve_jet
from .complexes import imag, real
from .linalg import _unbatch, matmul
from .matrix import (
    adjoint,
    matrix_band_part,
    matrix_diag_part,
    matrix_set_diag,
    matrix_transpose,
)
from .reduction import reduce_sum
from .transcendental import log
from .views import expand_dims

__all__ = [
    "cholesky",
    "cholesky_solve",
    "log_matrix_determinant",
    "logdet",
    "matrix_determinant",
    "matrix_inverse",
    "matrix_solve",
    "matrix_triangular_solve",
    "slogdet",
]

_BLOCK = 64


def matrices(inputs: Sequence[Any], square: bool = False) -> Dims:
    """The shape of the first input; all must be batches of matrices of one dtype.

    Raises:
        ShapeError: a rank below 2, or (with ``square``) a first input that is
            not square.
        DTypeError: integers, float16, or dtypes that differ.
    """
    first = inputs[0].dtype
    for x in inputs:
        if x.dtype is not first:
            raise DTypeError(f"inputs have dtypes {first.name} and {x.dtype.name}")
        if x.dims is not None and len(x.dims) < 2:
            raise ShapeError(f"{text(x.dims)} is no matrix (nor a batch of them)")
    if not first.is_inexact or first.name == "float16":
        raise DTypeError(
            f"takes float32, float64, complex64 or complex128, not {first.name}"
        )
    dims: Dims = inputs[0].dims
    if square and dims is not None:
        m, n = dims[-2:]
        if m != n and None not in (m, n):
            raise ShapeError(f"{text(dims)} is not square")
        if m != n:
            known = n if m is None else m
            dims = (*dims[:-2], known, known)
    return dims


def guarded(f: Callable[..., Any], why: str, *arrays: Any) -> Any:
    """``f(*arrays)``, with LinAlgError as an error of dagrad."""
    try:
        return f(*arrays)
    except np.linalg.LinAlgError as error:
        raise InvalidArgumentError(f"{why} ({error})") from None


def stored(xp: Any, result: Any, out: Any) -> Any:
    """``result``, in ``out`` where that is given."""
    if out is None:
        return xp.asarray(result)
    xp.copyto(out, result)
    return out


def dagger(x: Any) -> Any:
    """The conjugate transpose of each matrix, for kernels (a view for real x)."""
    x = x.swapaxes(-1, -2)
    return x.conj() if x.dtype.kind == "c" else x


def infer_square(inputs: Sequence[Any], attrs: Any) -> Any:
    """One output, like the square input."""
    return ((inputs[0].dtype, matrices(inputs, square=True)),)


def _cubic(inputs: Any, outputs: Any, attrs: Any) -> int:
    n = inputs[0].dims[-1] or 0
    for d in inputs[0].dims:
        n *= d or 0
    return n


def _infer_solve(inputs: Sequence[Any], attrs: Any) -> Any:
    a, b = inputs
    dims = matrices(inputs, square=True)
    if dims is None or b.dims is None:
        return ((a.dtype, None),)
    m, k = dims[-1], b.dims[-2]
    if m != k and m is not None and k is not None:
        raise ShapeError(
            f"the matrix {text(a.dims)} and the right-hand side {text(b.dims)} have "
            f"{m} and {k} rows"
        )
    batch = broadcast(dims[:-2], b.dims[:-2])
    if batch is None:
        return ((a.dtype, None),)
    return ((a.dtype, (*batch, k if m is None else m, b.dims[-1])),)


# -- general solve ---------------------------------------------------------------------


def _solve_kernel(xp: Any, a: Any, b: Any, *, adjoint: bool, out: Any = None) -> Any:
    solve = xp.linalg.solve
    x = guarded(solve, "the matrix is singular", dagger(a) if adjoint else a, b)
    return stored(xp, x, out)


def _negated(x: Tensor) -> Tensor:
    return TABLE["neg"](x)  # type: ignore[no-any-return]


def _solve_rhs(op: Operation, g: Tensor) -> Tensor:
    a = op.inputs[0]
    attrs = dict(op.attrs)
    attrs["adjoint"] = not attrs["adjoint"]
    return create(op.opdef, (a, g), attrs)


def _outer_of_solve(op: Operation, g: Tensor) -> Tensor:
    """-A^-H g x^H, or its mirror for an adjoint solve."""
    u, x = _solve_rhs(op, g), op.outputs[0]
    if op.attrs["adjoint"]:
        return _negated(matmul(x, u, adjoint_b=True))
    return _negated(matmul(u, x, adjoint_b=True))


def _solve_vjp_a(op: Operation, g: Tensor) -> Tensor:
    return _unbatch(_outer_of_solve(op, g), *op.inputs)


def _solve_vjp_b(op: Operation, g: Tensor) -> Tensor:
    return _unbatch(_solve_rhs(op, g), op.inputs[1], op.inputs[0])


def _solve_jvp(op: Operation, ta: Tensor | None, tb: Tensor | None) -> Tensor:
    # A x = b gives A dx = db - dA x.
    if ta is not None:
        change = matmul(ta, op.outputs[0], adjoint_a=op.attrs["adjoint"])
        tb = _negated(change) if tb is None else TABLE["sub"](tb, change)
    assert tb is not None
    return create(op.opdef, (op.inputs[0], tb), dict(op.attrs))


MATRIX_SOLVE = OpDef(
    "MatrixSolve",
    infer=_infer_solve,
    kernel=_solve_kernel,
    inputs=("matrix", "rhs"),
    vjp=(_solve_vjp_a, _solve_vjp_b),
    jvp=_solve_jvp,
    jet=solve_jet(),
    writes_out=True,
    flops=_cubic,
    batch=batch_product.solve,
    doc="x with A x = b",
)


def matrix_solve(
    matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """x with A x = b (``adjoint``: A^H x = b), by LU with partial pivoting.

    Shapes: A (..., n, n), b (..., n, k) -> (..., n, k); batch axes broadcast.

    Raises:
        ShapeError: a matrix that is not square, or other rows than b.
        DTypeError: integers, float16.
        InvalidArgumentError: at run time, A is singular.

    Gradient: u = A^-H g for b, -u x^H for A.

    Reference:
        Giles (2008), section 2.3.1.
    """
    a, b = pair(inexact(matrix), rhs)
    return create(MATRIX_SOLVE, (a, b), {"adjoint": bool(adjoint)}, name)


# -- triangular solve -----------------------------------------------------------------


def _upper(xp: Any, a: Any, b: Any) -> Any:
    """x with A x = b for upper triangular A, block by block from below.

    A diagonal block goes to LAPACK's general solver: on an upper triangular
    matrix its elimination changes nothing and the rest is back substitution.
    """
    n = a.shape[-1]
    x = xp.array(xp.broadcast_to(b, (*_batch_dims(a, b), *b.shape[-2:])))
    for start in range((n - 1) // _BLOCK * _BLOCK, -1, -_BLOCK):
        stop = min(start + _BLOCK, n)
        rows = x[..., start:stop, :]
        if stop < n:
            rows -= xp.matmul(a[..., start:stop, stop:], x[..., stop:, :])
        block = xp.triu(a[..., start:stop, start:stop])
        rows[...] = xp.linalg.solve(block, rows)
    return x


def _batch_dims(a: Any, b: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(a.shape[:-2], b.shape[:-2])


def _triangular_kernel(
    xp: Any, a: Any, b: Any, *, lower: bool, adjoint: bool, out: Any = None
) -> Any:
    if xp.any(xp.diagonal(a, 0, -2, -1) == 0):
        raise InvalidArgumentError("the triangular matrix has a zero on its diagonal")
    if adjoint:
        a, lower = dagger(a), not lower
    if lower:
        # Both axes reversed, a lower triangle is an upper one.
        x = _upper(xp, a[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]
    else:
        x = _upper(xp, a, b)
    return stored(xp, x, out)


def _triangle(op: Operation, x: Tensor) -> Tensor:
    lower = op.attrs["lower"]
    return matrix_band_part(x, -1, 0) if lower else matrix_band_part(x, 0, -1)


def _triangular_vjp_a(op: Operation, g: Tensor) -> Tensor:
    return _unbatch(_triangle(op, _outer_of_solve(op, g)), *op.inputs)


def _triangular_jvp(op: Operation, ta: Tensor | None, tb: Tensor | None) -> Tensor:
    return _solve_jvp(op, None if ta is None else _triangle(op, ta), tb)


MATRIX_TRIANGULAR_SOLVE = OpDef(
    "MatrixTriangularSolve",
    infer=_infer_solve,
    kernel=_triangular_kernel,
    inputs=("matrix", "rhs"),
    vjp=(_triangular_vjp_a, _solve_vjp_b),
    jvp=_triangular_jvp,
    jet=solve_jet(_triangle),
    writes_out=True,
    flops=_cubic,
    batch=batch_product.solve,
    doc="x with A x = b, A triangular",
)


def matrix_triangular_solve(
    matrix: Any,
    rhs: Any,
    lower: bool = True,
    adjoint: bool = False,
    name: str | None = None,
) -> Tensor:
    """x with A x = b (``adjoint``: A^H x = b), A triangular.

    Shapes: A (..., n, n), b (..., n, k) -> (..., n, k); batch axes broadcast.

    Args:
        matrix: A; only its lower (or upper) triangle is read.
        rhs: b.
        lower: whether A is the lower triangle.
        adjoint: solve with A^H.
        name: the name of the operation.

    Raises:
        ShapeError: a matrix that is not square, or other rows than b.
        DTypeError: integers, float16.
        InvalidArgumentError: at run time, a zero on the diagonal.

    Gradient: as for :func:`matrix_solve`, within the triangle.
    """
    a, b = pair(inexact(matrix), rhs)
    attrs = {"lower": bool(lower), "adjoint": bool(adjoint)}
    return create(MATRIX_TRIANGULAR_SOLVE, (a, b), attrs, name)


# -- cholesky --------------------------------------------------------------------------


def _cholesky_kernel(xp: Any, a: Any, out: Any = None) -> Any:
    why = "the matrix is not positive definite"
    return stored(xp, guarded(xp.linalg.cholesky, why, a), out)


def _lower_half(x: Tensor) -> Tensor:
    """The lower triangle with half the diagonal."""
    x = matrix_band_part(x, -1, 0)
    half = TABLE["mul"](matrix_diag_part(x), 0.5)
    return matrix_set_diag(x, half)


def hermitian(x: Tensor) -> Tensor:
    """(X + X^H) / 2."""
    return TABLE["mul"](TABLE["add"](x, adjoint(x)), 0.5)  # type: ignore[no-any-return]


def _cholesky_vjp(op: Operation, g: Tensor) -> Tensor:
    l = op.outputs[0]  # noqa: E741
    middle = _lower_half(matmul(l, g, adjoint_a=True))
    # S = L^-H middle L^-1, by two triangular solves.
    s = matrix_triangular_solve(l, middle, adjoint=True)
    s = adjoint(matrix_triangular_solve(l, adjoint(s), adjoint=True))
    return hermitian(s)


def _cholesky_jvp(op: Operation, t: Tensor) -> Tensor:
    l = op.outputs[0]  # noqa: E741
    s = matrix_triangular_solve(l, hermitian(t))
    s = adjoint(matrix_triangular_solve(l, adjoint(s)))
    return matmul(l, _lower_half(s))


CHOLESKY = OpDef(
    "Cholesky",
    infer=infer_square,
    kernel=_cholesky_kernel,
    inputs=("input",),
    vjp=(_cholesky_vjp,),
    jvp=_cholesky_jvp,
    writes_out=True,
    flops=_cubic,
    batch=batch.leading,
    doc="lower triangular L with A = L L^H",
)


def cholesky(input: Any, name: str | None = None) -> Tensor:
    """The lower triangular L with A = L L^H and a positive diagonal.

    Shapes: (..., n, n) -> (..., n, n).

    Args:
        input: A, symmetric (Hermitian) positive definite; only its lower
            triangle is read.
        name: the name of the operation.

    Raises:
        ShapeError: A is not square.
        InvalidArgumentError: at run time, A is not positive definite.

    Gradient: that of a function of Hermitian matrices (a Hermitian matrix).

    Reference:
        Murray, Differentiation of the Cholesky decomposition (2016).
    """
    return create(CHOLESKY, (inexact(input),), None, name)


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """x with A x = b, given the Cholesky factor L of A: L L^H x = b.

    Shapes: L (..., n, n), b (..., n, k) -> (..., n, k).
    """
    l, b = pair(inexact(chol), rhs)  # noqa: E741
    with scope(name, "cholesky_solve", l):
        return matrix_triangular_solve(l, matrix_triangular_solve(l, b), adjoint=True)


# -- inverse and determinants ----------------------------------------------------------


def _inverse_kernel(xp: Any, a: Any, *, adjoint: bool, out: Any = None) -> Any:
    a = dagger(a) if adjoint else a
    return stored(xp, guarded(xp.linalg.inv, "the matrix is singular", a), out)


def _inverse_vjp(op: Operation, g: Tensor) -> Tensor:
    y = op.outputs[0]
    if op.attrs["adjoint"]:
        g = adjoint(g)
        inner = matmul(g, y)
        return _negated(matmul(y, inner))
    inner = matmul(g, y, adjoint_b=True)
    return _negated(matmul(y, inner, adjoint_a=True))


def _inverse_jvp(op: Operation, t: Tensor) -> Tensor:
    y = op.outputs[0]
    return _negated(matmul(matmul(y, t, adjoint_b=op.attrs["adjoint"]), y))


MATRIX_INVERSE = OpDef(
    "MatrixInverse",
    infer=infer_square,
    kernel=_inverse_kernel,
    inputs=("input",),
    vjp=(_inverse_vjp,),
    jvp=_inverse_jvp,
    jet=inverse_jet,
    writes_out=True,
    flops=lambda ins, outs, attrs: 2 * _cubic(ins, outs, attrs),
    batch=batch.leading,
    doc="y = A^-1",
)


def matrix_inverse(
    input: Any, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """y = A^-1 (``adjoint``: A^-H).  To solve a system, matrix_solve is better.

    Shapes: (..., n, n) -> (..., n, n).

    Raises:
        ShapeError: A is not square.
        InvalidArgumentError: at run time, A is singular.

    Gradient: -y^H g y^H.
    """
    attrs = {"adjoint": bool(adjoint)}
    return create(MATRIX_INVERSE, (inexact(input),), attrs, name)


def _infer_batch(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = matrices(inputs, square=True)
    return ((inputs[0].dtype, None if dims is None else dims[:-2]),)


def _det_kernel(xp: Any, a: Any, out: Any = None) -> Any:
    return stored(xp, xp.linalg.det(a), out)


def _as_matrices(x: Tensor) -> Tensor:
    return expand_dims(expand_dims(x, -1), -1)


def _det_vjp(op: Operation, g: Tensor) -> Tensor:
    y = op.outputs[0]
    if y.dtype.is_complex:
        y = TABLE["conj"](y)
    inverse = matrix_inverse(op.inputs[0], adjoint=True)
    return TABLE["mul"](_as_matrices(TABLE["mul"](g, y)), inverse)  # type: ignore[no-any-return]


def _trace_of_solved(op: Operation, t: Tensor) -> Tensor:
    """tr(A^-1 dA)."""
    return reduce_sum(matrix_diag_part(matrix_solve(op.inputs[0], t)), -1)


MATRIX_DETERMINANT = OpDef(
    "MatrixDeterminant",
    infer=_infer_batch,
    kernel=_det_kernel,
    inputs=("input",),
    vjp=(_det_vjp,),
    jvp=lambda op, t: TABLE["mul"](op.outputs[0], _trace_of_solved(op, t)),
    writes_out=True,
    flops=_cubic,
    batch=batch.leading,
    doc="y = det A",
)


def matrix_determinant(input: Any, name: str | None = None) -> Tensor:
    """y = det A.

    Shapes: (..., n, n) -> (...).

    Raises:
        ShapeError: A is not square.
        InvalidArgumentError: at run time, in the gradient, A is singular.

    Gradient: g conj(y) A^-H.
    """
    return create(MATRIX_DETERMINANT, (inexact(input),), None, name)


def _infer_slogdet(inputs: Sequence[Any], attrs: Any) -> Any:
    ((dtype, dims),) = _infer_batch(inputs, attrs)
    return ((dtype, dims), (dtype.real_dtype, dims))


def _slogdet_kernel(xp: Any, a: Any, out: Any = None) -> Any:
    sign, log = xp.linalg.slogdet(a)
    if out is None:
        return xp.asarray(sign), xp.asarray(log)
    return stored(xp, sign, out[0]), stored(xp, log, out[1])


def _slogdet_vjp(op: Operation, gs: Tensor | None, gl: Tensor | None) -> list[Any]:
    a, sign = op.inputs[0], op.outputs[0]
    cotangent = None if gl is None else TABLE["cast"](gl, a.dtype)
    if gs is not None and a.dtype.is_complex:
        # d sign = i sign Im tr(A^-1 dA): sign turns on the unit circle.
        turn = imag(TABLE["mul"](TABLE["conj"](sign), gs))
        turn = TABLE["mul"](TABLE["cast"](turn, a.dtype), 1j)
        cotangent = turn if cotangent is None else TABLE["add"](cotangent, turn)
    if cotangent is None:
        return [None]
    inverse = matrix_inverse(a, adjoint=True)
    return [TABLE["mul"](_as_matrices(cotangent), inverse)]


def _slogdet_jvp(op: Operation, t: Tensor) -> list[Tensor | None]:
    d = _trace_of_solved(op, t)
    if not d.dtype.is_complex:
        return [None, d]
    turn = TABLE["mul"](TABLE["cast"](imag(d), d.dtype), 1j)
    return [TABLE["mul"](op.outputs[0], turn), real(d)]


LOG_MATRIX_DETERMINANT = OpDef(
    "LogMatrixDeterminant",
    infer=_infer_slogdet,
    kernel=_slogdet_kernel,
    inputs=("input",),
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
    writes_out=True,
    flops=_cubic,
    batch=batch.leading,
    doc="sign and log|det A|",
)


def log_matrix_determinant(
    input: Any, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(sign, log|det A|) with det A = sign exp(log|det A|): no overflow.

    Shapes: (..., n, n) -> (...), (...).  A singular A gives 0 and -inf.

    Raises:
        ShapeError: A is not square.
        InvalidArgumentError: at run time, in the gradient, A is singular.

    Gradient: A^-H for the logarithm; 0 for the sign of a real matrix.
    """
    sign, log = create_many(LOG_MATRIX_DETERMINANT, (inexact(input),), None, name)
    return sign, log


slogdet = log_matrix_determinant


def logdet(matrix: Any, name: str | None = None) -> Tensor:
    """log det A for Hermitian positive definite A: 2 sum log diag(cholesky(A)).

    Shapes: (..., n, n) -> (...).

    Raises:
        InvalidArgumentError: at run time, A is not positive definite.
    """
    a = inexact(matrix)
    with scope(name, "logdet", a):
        diagonal = matrix_diag_part(cholesky(a))
        if diagonal.dtype.is_complex:
            diagonal = real(diagonal)
        return TABLE["mul"](reduce_sum(log(diagonal), -1), 2.0)  # type: ignore[no-any-return]


OPERATORS = {"matrix_solve": matrix_solve}
NUMPY = {
    np.linalg.cholesky: cholesky,
    np.linalg.det: matrix_determinant,
    np.linalg.inv: matrix_inverse,
    np.linalg.slogdet: log_matrix_determinant,
    np.linalg.solve: matrix_solve,
    np.linalg.matrix_transpose: matrix_transpose,
}
