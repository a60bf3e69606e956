"""Solving and factoring matrices, on well conditioned inputs."""

from __future__ import annotations

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import decompositions as d
from dagrad.ops import linalg, matrix

FLOATS = ("float32", "float64", "complex64", "complex128")
MORE = {"dtypes": FLOATS, "order": 2, "rtol": 1e-4}


def _regular(rng, shape, dtype):
    """Matrices with singular values well apart and away from zero."""
    m, n = shape[-2:]
    k = min(m, n)

    def orthogonal(size):
        z = rng.standard_normal((*shape[:-2], size, size))
        if dtype.kind == "c":
            z = z + 1j * rng.standard_normal(z.shape)
        return np.linalg.qr(z)[0]

    u, v = orthogonal(m)[..., :k], orthogonal(n)[..., :k]
    s = 0.7 + np.arange(k)[::-1] * 0.8
    return (u * s) @ np.swapaxes(v, -1, -2).conj()


def _definite(rng, shape, dtype):
    z = _regular(rng, shape, dtype)
    return z @ np.swapaxes(z, -1, -2).conj()


def _hermitian(x):
    return (x + np.swapaxes(x, -1, -2).conj()) / 2


def hermitian(x):
    """The same in the graph: derivatives then stay among Hermitian matrices."""
    return d.hermitian(x)


def _h(x):
    return np.swapaxes(x, -1, -2).conj()


def _triangle(a, lower):
    return np.tril(a) if lower else np.triu(a)


RECORDS = [
    *[
        Record(
            ("MatrixSolve",),
            lambda a, b, adjoint=adjoint: d.matrix_solve(a, b, adjoint),
            (Arg((*batch_a, 3, 3), sample=_regular), Arg((*batch_b, 3, 2))),
            lambda a, b, adjoint=adjoint: np.linalg.solve(_h(a) if adjoint else a, b),
            name=f"{batch_a} {batch_b} adjoint {adjoint}",
            **MORE,
        )
        for batch_a, batch_b in (((), ()), ((2, 1), (3,)))
        for adjoint in (False, True)
    ],
    *[
        Record(
            ("MatrixTriangularSolve",),
            lambda a, b, lo=lower, h=adjoint: d.matrix_triangular_solve(a, b, lo, h),
            (Arg((*batch, 3, 3), sample=_definite), Arg((3, 2))),
            lambda a, b, lo=lower, h=adjoint: np.linalg.solve(
                _h(_triangle(a, lo)) if h else _triangle(a, lo),
                np.broadcast_to(b, (*a.shape[:-2], 3, 2)),
            ),
            name=f"{batch} lower {lower} adjoint {adjoint}",
            **MORE,
        )
        for batch in ((), (2,))
        for lower in (False, True)
        for adjoint in (False, True)
    ],
    Record(
        ("Cholesky",),
        lambda a: d.cholesky(hermitian(a)),
        (Arg((2, 3, 3), sample=_definite),),
        lambda a: np.linalg.cholesky(_hermitian(a)),
        **MORE,
    ),
    Record(
        ("MatrixTriangularSolve",),
        lambda a, b: d.cholesky_solve(matrix.tril(a), b),
        (Arg((3, 3), sample=_definite), Arg((3, 2))),
        lambda a, b: np.linalg.solve(np.tril(a) @ _h(np.tril(a)), b),
        name="cholesky_solve",
        **MORE,
    ),
    *[
        Record(
            ("MatrixInverse",),
            lambda a, h=adjoint: d.matrix_inverse(a, h),
            (Arg((2, 3, 3), sample=_regular),),
            lambda a, h=adjoint: np.linalg.inv(_h(a) if h else a),
            name=f"adjoint {adjoint}",
            **MORE,
        )
        for adjoint in (False, True)
    ],
    Record(
        ("MatrixDeterminant",),
        d.matrix_determinant,
        (Arg((2, 3, 3), sample=_regular),),
        np.linalg.det,
        **MORE,
    ),
    Record(
        ("LogMatrixDeterminant",),
        lambda a: list(d.log_matrix_determinant(a)),
        (Arg((2, 3, 3), sample=_regular),),
        np.linalg.slogdet,
        **MORE,
    ),
    Record(
        ("Cholesky",),
        lambda a: d.logdet(linalg.matmul(a, a, adjoint_b=True)),
        (Arg((2, 3, 3), sample=_regular),),
        lambda a: np.linalg.slogdet(a @ _h(a))[1],
        name="logdet",
        **MORE,
    ),
]
