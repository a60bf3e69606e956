"""Orthogonal and spectral factors: QR, SVD, eigh, and what is built on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import GradientError, InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import text
from ..graphlib.tensor import Tensor
from ._build import create, create_many, inexact, pair, scope
from ._later import batch
from .complexes import imag
from .core import shape as shape_of
from .decompositions import (
    cholesky,
    cholesky_solve,
    guarded,
    hermitian,
    matrices,
    matrix_triangular_solve,
    stored,
)
from .joining import concat
from .linalg import matmul
from .matrix import (
    adjoint,
    eye,
    matrix_band_part,
    matrix_diag,
    matrix_diag_part,
    matrix_set_diag,
)
from .views import expand_dims

__all__ = [
    "lstsq",
    "matrix_solve_ls",
    "norm_2",
    "pinv",
    "qr",
    "self_adjoint_eig",
    "self_adjoint_eigvals",
    "svd",
]


def _mul(x: Any, y: Any) -> Tensor:
    return TABLE["mul"](x, y)  # type: ignore[no-any-return]


def _sub(x: Any, y: Any) -> Tensor:
    return TABLE["sub"](x, y)  # type: ignore[no-any-return]


def _add(x: Tensor | None, y: Tensor | None) -> Tensor | None:
    """The sum of two cotangents, either of which may be missing."""
    if x is None or y is None:
        return y if x is None else x
    return TABLE["add"](x, y)  # type: ignore[no-any-return]


def _columns(s: Tensor, like: Tensor) -> Tensor:
    """Numbers per column, of the matrices' dtype: (..., n) -> (..., 1, n)."""
    return expand_dims(TABLE["cast"](s, like.dtype), -2)


def _flops(inputs: Any, outputs: Any, attrs: Any) -> int:
    dims = inputs[0].dims
    n = 8 * min(dims[-1] or 0, dims[-2] or 0)
    for d in dims:
        n *= d or 0
    return n


def _least(m: int | None, n: int | None) -> int | None:
    if m is None or n is None:
        return 0 if 0 in (m, n) else None
    return min(m, n)


# -- QR --------------------------------------------------------------------------------


def _infer_qr(inputs: Sequence[Any], attrs: Any) -> Any:
    dims, dtype = matrices(inputs), inputs[0].dtype
    if dims is None:
        return ((dtype, None), (dtype, None))
    *batch, m, n = dims
    k = m if attrs["full_matrices"] else _least(m, n)
    return ((dtype, (*batch, m, k)), (dtype, (*batch, k, n)))


def _qr_kernel(xp: Any, a: Any, *, full_matrices: bool, out: Any = None) -> Any:
    q, r = xp.linalg.qr(a, "complete" if full_matrices else "reduced")
    if out is None:
        return q, r
    return stored(xp, q, out[0]), stored(xp, r, out[1])


def _qr_square(q: Tensor, r: Tensor, gq: Any, gr: Any) -> Tensor:
    """The cotangent of A = QR for r square (A not wide)."""
    gq = TABLE["zeros_like"](q) if gq is None else gq
    m = matmul(q, gq, adjoint_a=True)
    # Only the part of Q's cotangent that turns Q counts; R stays triangular.
    skew = _sub(m, adjoint(m))
    if gr is not None:
        rr = matmul(r, gr, adjoint_b=True)
        skew = TABLE["add"](skew, _sub(rr, adjoint(rr)))
    low = matrix_band_part(skew, -1, 0)
    if skew.dtype.is_complex:
        # R's diagonal is real: the diagonal of the skew part counts once.
        low = matrix_set_diag(low, _mul(matrix_diag_part(low), 0.5))
    inner = TABLE["add"](matmul(q, low), _sub(gq, matmul(q, m)))
    grad = adjoint(matrix_triangular_solve(r, adjoint(inner), lower=False))
    if gr is None:
        return grad
    return TABLE["add"](grad, matmul(q, gr))  # type: ignore[no-any-return]


def _qr_vjp(op: Operation, gq: Tensor | None, gr: Tensor | None) -> list[Tensor]:
    a, (q, r) = op.inputs[0], op.outputs
    dims = a.dims or (None, None)
    m, n = dims[-2:]
    if op.attrs["full_matrices"] and (m is None or n is None or m > n):
        raise GradientError(
            op.explain(
                "Q's last columns are not determined by the matrix: no gradient "
                "with full_matrices=True unless the matrix is square or wide"
            ),
            op,
        )
    if m is not None and n is not None and m >= n:
        return [_qr_square(q, r, gq, gr)]
    # A = [X Y], R = [U V], V = Q^H Y: X = QU is the square case, with k columns.
    k = TABLE["getitem"](shape_of(r), -2) if m is None or n is None else m
    at = TABLE["getitem"]
    rest, u = at(a, (..., slice(k, None))), at(r, (..., slice(None, k)))
    gu = gv = None
    if gr is not None:
        gu = at(gr, (..., slice(None, k)))
        gv = at(gr, (..., slice(k, None)))
        gq = _add(gq, matmul(rest, gv, adjoint_b=True))
    gx = _qr_square(q, u, gq, gu)
    gy = TABLE["zeros_like"](rest) if gv is None else matmul(q, gv)
    return [concat([gx, gy], -1)]


QR = OpDef(
    "Qr",
    infer=_infer_qr,
    kernel=_qr_kernel,
    inputs=("input",),
    vjp=_qr_vjp,
    writes_out=True,
    flops=_flops,
    batch=batch.leading,
    doc="A = Q R, Q with orthonormal columns, R upper triangular",
)


def qr(
    input: Any, full_matrices: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(Q, R) with A = QR, Q^H Q = I and R upper triangular (real diagonal).

    Shapes: (..., m, n) -> (..., m, k), (..., k, n), k = min(m, n) or, with
    ``full_matrices``, m.

    Raises:
        ShapeError: rank below 2.
        GradientError: in gradients, a tall matrix with ``full_matrices``.
        InvalidArgumentError: at run time, in the gradient, A lacks full rank.

    Reference:
        Walter & Lehmann, Algorithmic differentiation of linear algebra functions
        (2018); wide matrices: Roberts & Roberts (2020).
    """
    attrs = {"full_matrices": bool(full_matrices)}
    q, r = create_many(QR, (inexact(input),), attrs, name)
    return q, r


# -- SVD -------------------------------------------------------------------------------


def _infer_svd(inputs: Sequence[Any], attrs: Any) -> Any:
    dims, dtype = matrices(inputs), inputs[0].dtype
    real = dtype.real_dtype
    uv = attrs["compute_uv"]
    if dims is None:
        return ((real, None), (dtype, None), (dtype, None))[: 3 if uv else 1]
    *batch, m, n = dims
    k = _least(m, n)
    s = (real, (*batch, k))
    if not uv:
        return (s,)
    if attrs["full_matrices"]:
        return (s, (dtype, (*batch, m, m)), (dtype, (*batch, n, n)))
    return (s, (dtype, (*batch, m, k)), (dtype, (*batch, n, k)))


def _svd_kernel(
    xp: Any, a: Any, *, full_matrices: bool, compute_uv: bool, out: Any = None
) -> Any:
    why = "the singular values do not converge"
    if not compute_uv:
        return stored(xp, guarded(xp.linalg.svd, why, a, False, False), out)
    u, s, vh = guarded(xp.linalg.svd, why, a, full_matrices)
    v = vh.swapaxes(-1, -2)
    v = v.conj() if v.dtype.kind == "c" else v
    if out is None:
        return s, u, v
    return tuple(stored(xp, x, o) for x, o in zip((s, u, v), out))


def _gaps(s: Tensor, like: Tensor) -> Tensor:
    """F with F_ij = 1 / (s_j - s_i), 0 on the diagonal."""
    differences = _sub(expand_dims(s, -2), expand_dims(s, -1))
    one = TABLE["ones_like"](s)
    f = TABLE["truediv"](1.0, matrix_set_diag(differences, one))
    f = matrix_set_diag(f, TABLE["zeros_like"](s))
    return TABLE["cast"](f, like.dtype)  # type: ignore[no-any-return]


def _svd_vjp(op: Operation, *cotangents: Tensor | None) -> list[Tensor]:
    gs, gu, gv = (*cotangents, None, None)[:3]
    a = op.inputs[0]
    if not op.attrs["compute_uv"] or op.attrs["full_matrices"]:
        m, n = (a.dims or (None, None))[-2:]
        if (gu is not None or gv is not None) and (m != n or m is None):
            raise GradientError(
                op.explain(
                    "the last columns of U or V are not determined by the matrix: "
                    "no gradient through them with full_matrices=True"
                ),
                op,
            )
        if gu is None and gv is None:
            _, u, v = svd(a)
        else:
            u, v = op.outputs[1], op.outputs[2]
        s = op.outputs[0]
    else:
        s, u, v = op.outputs
    total: Tensor | None = None
    if gs is not None:
        # A function of the singular values alone needs no gaps between them.
        total = matmul(_mul(u, _columns(gs, u)), v, adjoint_b=True)
    if gu is None and gv is None:
        assert total is not None
        return [total]
    f = _gaps(TABLE["mul"](s, s), u)
    scale = _columns(s, u)
    middle: Tensor | None = None
    if gu is not None:
        m_u = matmul(u, gu, adjoint_a=True)
        middle = _mul(_mul(f, _sub(m_u, adjoint(m_u))), scale)
        # What U's cotangent has outside the span of U.
        outside = TABLE["truediv"](_sub(gu, matmul(u, m_u)), scale)
        total = _add(total, matmul(outside, v, adjoint_b=True))
        if u.dtype.is_complex:
            phase = _mul(TABLE["cast"](imag(matrix_diag_part(m_u)), u.dtype), 1j)
            phase = TABLE["truediv"](phase, TABLE["cast"](s, u.dtype))
            middle = _add(middle, matrix_diag(phase))
    if gv is not None:
        m_v = matmul(v, gv, adjoint_a=True)
        turned = _mul(_mul(f, _sub(m_v, adjoint(m_v))), expand_dims(_cast(s, u), -1))
        middle = _add(middle, turned)
        outside = TABLE["truediv"](_sub(gv, matmul(v, m_v)), scale)
        total = _add(total, matmul(u, outside, adjoint_b=True))
    assert middle is not None
    inner = matmul(matmul(u, middle), v, adjoint_b=True)
    result = _add(total, inner)
    assert result is not None
    return [result]


def _cast(s: Tensor, like: Tensor) -> Tensor:
    return TABLE["cast"](s, like.dtype)  # type: ignore[no-any-return]


SVD = OpDef(
    "Svd",
    infer=_infer_svd,
    kernel=_svd_kernel,
    inputs=("input",),
    vjp=_svd_vjp,
    writes_out=True,
    flops=_flops,
    batch=batch.leading,
    doc="A = U diag(s) V^H",
)


def svd(
    tensor: Any,
    full_matrices: bool = False,
    compute_uv: bool = True,
    name: str | None = None,
) -> Any:
    """(s, U, V) with A = U diag(s) V^H, s descending; TF1's order, V not V^H.

    Shapes: (..., m, n) -> (..., k), (..., m, k), (..., n, k), k = min(m, n);
    with ``full_matrices`` U is (..., m, m) and V (..., n, n).

    Args:
        tensor: A.
        full_matrices: complete U and V to square matrices.
        compute_uv: False gives s alone.
        name: the name of the operation.

    Raises:
        ShapeError: rank below 2.
        GradientError: in gradients, U or V of a matrix that is not square with
            ``full_matrices``.

    Gradient: through s always; through U and V it needs distinct, non-zero
    singular values (else it is infinite or NaN), and a complex function that
    does not depend on the phases of the columns.

    Reference:
        Townsend, Differentiating the singular value decomposition (2016); Wan &
        Zhang (2019) for complex matrices.
    """
    attrs = {"full_matrices": bool(full_matrices), "compute_uv": bool(compute_uv)}
    outputs = create_many(SVD, (inexact(tensor),), attrs, name)
    return outputs if compute_uv else outputs[0]


def norm_2(matrix: Tensor) -> Tensor:
    """The largest singular value of each matrix: (..., m, n) -> (...)."""
    from .extremes import reduce_max

    return reduce_max(svd(matrix, compute_uv=False), -1)


# -- self-adjoint eigenvalues ----------------------------------------------------------


def _infer_eig(inputs: Sequence[Any], attrs: Any) -> Any:
    dims, dtype = matrices(inputs, square=True), inputs[0].dtype
    values = (dtype.real_dtype, None if dims is None else dims[:-1])
    return (values, (dtype, dims)) if attrs["compute_v"] else (values,)


def _eig_kernel(xp: Any, a: Any, *, compute_v: bool, out: Any = None) -> Any:
    why = "the eigenvalues do not converge"
    if not compute_v:
        return stored(xp, guarded(xp.linalg.eigvalsh, why, a), out)
    e, v = guarded(xp.linalg.eigh, why, a)
    if out is None:
        return e, v
    return stored(xp, e, out[0]), stored(xp, v, out[1])


def _eig_vjp(op: Operation, *cotangents: Tensor | None) -> list[Tensor]:
    ge, gv = (*cotangents, None)[:2]
    if op.attrs["compute_v"]:
        e, v = op.outputs
    else:
        e, v = self_adjoint_eig(op.inputs[0])
    middle: Tensor | None = None
    if gv is not None:
        middle = _mul(_gaps(e, v), matmul(v, gv, adjoint_a=True))
        if ge is not None:
            middle = matrix_set_diag(middle, _cast(ge, v))
        middle = matmul(v, middle)
    else:
        assert ge is not None
        middle = _mul(v, _columns(ge, v))
    return [hermitian(matmul(middle, v, adjoint_b=True))]


SELF_ADJOINT_EIG = OpDef(
    "SelfAdjointEigV2",
    infer=_infer_eig,
    kernel=_eig_kernel,
    inputs=("input",),
    vjp=_eig_vjp,
    writes_out=True,
    flops=_flops,
    batch=batch.leading,
    doc="A = V diag(e) V^H",
)


def self_adjoint_eig(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(e, V) with A = V diag(e) V^H, e ascending, V unitary.

    Shapes: (..., n, n) -> (..., n), (..., n, n).

    Args:
        tensor: A, symmetric or Hermitian; only its lower triangle is read.
        name: the name of the operation.

    Raises:
        ShapeError: A is not square.

    Gradient: that of a function of Hermitian matrices; through V it needs
    distinct eigenvalues, and a function that does not depend on the signs or
    phases of the columns.

    Reference:
        Giles (2008), section 3.1.
    """
    attrs = {"compute_v": True}
    e, v = create_many(SELF_ADJOINT_EIG, (inexact(tensor),), attrs, name)
    return e, v


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues of a symmetric or Hermitian matrix, ascending.

    Shapes: (..., n, n) -> (..., n).  See :func:`self_adjoint_eig`.
    """
    return create(SELF_ADJOINT_EIG, (inexact(tensor),), {"compute_v": False}, name)


# -- pseudoinverse and least squares ---------------------------------------------------


def _infer_pinv(inputs: Sequence[Any], attrs: Any) -> Any:
    dims = matrices(inputs)
    if dims is not None:
        dims = (*dims[:-2], dims[-1], dims[-2])
    return ((inputs[0].dtype, dims),)


def _pinv_kernel(xp: Any, a: Any, *, rcond: Any, out: Any = None) -> Any:
    if rcond is None:
        rcond = 10 * max(a.shape[-2:]) * np.finfo(a.dtype).eps
    why = "the singular values do not converge"
    p = guarded(lambda x: xp.linalg.pinv(x, rcond=rcond), why, a)
    return stored(xp, p, out)


def _pinv_vjp(op: Operation, g: Tensor) -> Tensor:
    a, p = op.inputs[0], op.outputs[0]
    # dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P.
    inner = matmul(matmul(p, g, adjoint_a=True), p, adjoint_b=True)
    gh = adjoint(g)
    first = matmul(matmul(gh, p), p, adjoint_b=True)
    first = _sub(first, matmul(a, matmul(p, first)))
    second = matmul(matmul(p, p, adjoint_a=True), gh)
    second = _sub(second, matmul(matmul(second, p), a))
    return _sub(TABLE["add"](first, second), inner)


PINV = OpDef(
    "PseudoInverse",
    infer=_infer_pinv,
    kernel=_pinv_kernel,
    inputs=("input",),
    vjp=(_pinv_vjp,),
    writes_out=True,
    flops=_flops,
    batch=batch.leading,
    doc="the Moore-Penrose inverse of A",
)


def pinv(
    a: Any, rcond: float | None = None, validate_args: bool = False, name: Any = None
) -> Tensor:
    """The Moore-Penrose inverse of A.

    Shapes: (..., m, n) -> (..., n, m).

    Args:
        a: the matrices A.
        rcond: singular values below ``rcond`` times the largest count as 0
            (default: 10 max(m, n) eps).
        validate_args: accepted for TF1 programs.
        name: the name of the operation.

    Raises:
        ShapeError: rank below 2.

    Gradient: where the rank does not change nearby.

    Reference:
        Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973), theorem 4.1.
    """
    attrs = {"rcond": None if rcond is None else float(rcond)}
    return create(PINV, (inexact(a),), attrs, name or "pinv")


def matrix_solve_ls(
    matrix: Any,
    rhs: Any,
    l2_regularizer: Any = 0.0,
    fast: bool = True,
    name: str | None = None,
) -> Tensor:
    """x that minimises |A x - b|^2 + r |x|^2, r >= 0; where many do, the least x.

    Shapes: A (..., m, n), b (..., m, k) -> (..., n, k).

    Args:
        matrix: A.
        rhs: b.
        l2_regularizer: r, a number.
        fast: by Cholesky of the normal equations, which needs full rank (or
            r > 0) and squares the condition number; False: by the pseudoinverse,
            for any rank (r must be 0, as TF1 ignores it).
        name: the scope of the operations.

    Raises:
        ShapeError: m or n is not known before the run (with ``fast``).
        InvalidArgumentError: at run time, A lacks full rank (with ``fast``); a
            regularizer without ``fast``.
    """
    a, b = pair(inexact(matrix), rhs)
    if not fast:
        if l2_regularizer:
            raise InvalidArgumentError(
                "matrix_solve_ls: l2_regularizer needs fast=True"
            )
        with scope(name, "matrix_solve_ls", a):
            return matmul(pinv(a), b)
    m, n = (a.dims or (None, None))[-2:]
    if m is None or n is None:
        raise ShapeError(
            f"matrix_solve_ls: rows and columns of {text(a.dims)} must be known "
            "(or fast=False)"
        )
    with scope(name, "matrix_solve_ls", a):
        tall = m >= n
        gram = matmul(a, a, adjoint_a=tall, adjoint_b=not tall)
        if l2_regularizer:
            identity = eye(min(m, n), dtype=a.dtype)
            gram = TABLE["add"](gram, _mul(identity, l2_regularizer))
        factor = cholesky(gram)
        if tall:
            return cholesky_solve(factor, matmul(a, b, adjoint_a=True))
        return matmul(a, cholesky_solve(factor, b), adjoint_a=True)


def lstsq(
    matrix: Any,
    rhs: Any,
    l2_regularizer: Any = 0.0,
    fast: bool = True,
    name: str | None = None,
) -> Tensor:
    """:func:`matrix_solve_ls` under its later name."""
    return matrix_solve_ls(matrix, rhs, l2_regularizer, fast, name)


OPERATORS: dict[str, Any] = {}
NUMPY = {
    np.linalg.eigh: self_adjoint_eig,
    np.linalg.eigvalsh: self_adjoint_eigvals,
    np.linalg.pinv: pinv,
    np.linalg.qr: qr,
}
