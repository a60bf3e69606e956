"""Solving and factoring matrices, on well conditioned inputs."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from oprecord import Arg, Record

from dagrad.ops import decompositions as d
from dagrad.ops import exponential, linalg, matrix, spectral
from dagrad.ops.array import expand_dims
from dagrad.ops.core import cast
from dagrad.ops.transcendental import exp

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


def _np_svd(a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return s, u, _h(vh)


def _svd_function(a):
    """Of U, s and V, what their phases do not change: the polar factor, ..."""
    s, u, v = spectral.svd(a)
    return [
        linalg.matmul(u, v, adjoint_b=True),
        linalg.matmul(u[..., :1], u[..., :1], adjoint_b=True),
        linalg.matmul(v[..., :1], v[..., :1], adjoint_b=True),
        s,
    ]


def _np_svd_function(a):
    s, u, v = _np_svd(a)
    first, second = u[..., :1], v[..., :1]
    return u @ _h(v), first @ _h(first), second @ _h(second), s


def _eig_function(a):
    e, v = spectral.self_adjoint_eig(hermitian(a) * 0.25)
    powers = cast(exp(e), v.dtype)
    return linalg.matmul(v * expand_dims(powers, -2), v, adjoint_b=True)


def _least_squares(a, b, r):
    gram = _h(a) @ a + r * np.eye(a.shape[-1])
    return np.linalg.pinv(gram, rcond=1e-5, hermitian=True) @ (_h(a) @ b)


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
    *[
        Record(
            ("Qr",),
            lambda a: list(spectral.qr(a)),
            (Arg((2, m, n), sample=_regular),),
            np.linalg.qr,
            name=f"{m}x{n}",
            **MORE,
        )
        for m, n in ((3, 3), (4, 2), (2, 4))
    ],
    Record(
        ("Qr",),
        lambda a: list(spectral.qr(a, full_matrices=True)),
        (Arg((3, 2), sample=_regular),),
        lambda a: np.linalg.qr(a, "complete"),
        name="full",
        **{**MORE, "order": 0},
    ),
    Record(
        ("Qr",),
        lambda a: list(spectral.qr(a, full_matrices=True)),
        (Arg((2, 3), sample=_regular),),
        lambda a: np.linalg.qr(a, "complete"),
        name="full, wide",
        **{**MORE, "dynamic": False},
    ),
    *[
        Record(
            ("Svd",),
            lambda a: spectral.svd(a, compute_uv=False),
            (Arg((2, m, n), sample=_regular),),
            lambda a: np.linalg.svd(a, compute_uv=False),
            name=f"values {m}x{n}",
            **MORE,
        )
        for m, n in ((3, 3), (4, 2), (2, 4))
    ],
    *[
        Record(
            ("Svd",),
            lambda a: list(spectral.svd(a)),
            (Arg((2, m, n), sample=_regular),),
            _np_svd,
            name=f"factors {m}x{n}",
            **{**MORE, "dtypes": ("float32", "float64"), "atol": 1e-5},
        )
        for m, n in ((3, 3), (4, 2), (2, 4))
    ],
    *[
        Record(
            ("Svd",),
            _svd_function,
            (Arg((2, m, n), sample=_regular),),
            _np_svd_function,
            name=f"invariant {m}x{n}",
            **{**MORE, "atol": 1e-4},
        )
        for m, n in ((3, 3), (4, 2), (2, 4))
    ],
    Record(
        ("Svd",),
        lambda a: spectral.svd(a, full_matrices=True)[0],
        (Arg((3, 2), sample=_regular),),
        lambda a: np.linalg.svd(a)[1],
        name="full",
        **{**MORE, "order": 0},
    ),
    Record(
        ("SelfAdjointEigV2",),
        lambda a: list(spectral.self_adjoint_eig(hermitian(a))),
        (Arg((2, 3, 3), sample=_definite),),
        lambda a: tuple(np.linalg.eigh(_hermitian(a))),
        name="factors",
        **{**MORE, "dtypes": ("float32", "float64"), "atol": 1e-5},
    ),
    Record(
        ("SelfAdjointEigV2",),
        lambda a: spectral.self_adjoint_eigvals(hermitian(a)),
        (Arg((2, 3, 3), sample=_definite),),
        lambda a: np.linalg.eigvalsh(_hermitian(a)),
        name="values",
        **MORE,
    ),
    Record(
        ("SelfAdjointEigV2",),
        _eig_function,
        (Arg((2, 3, 3), sample=_definite),),
        lambda a: scipy.linalg.expm(_hermitian(a) / 4),
        name="exponential",
        **MORE,
    ),
    *[
        Record(
            ("PseudoInverse",),
            spectral.pinv,
            (Arg((2, m, n), sample=_regular),),
            np.linalg.pinv,
            name=f"{m}x{n}",
            **MORE,
        )
        for m, n in ((3, 3), (4, 2), (2, 4))
    ],
    *[
        Record(
            ("Cholesky",) if fast else ("PseudoInverse",),
            lambda a, b, r=r, fast=fast: spectral.matrix_solve_ls(a, b, r, fast),
            (Arg((2, m, n), sample=_regular), Arg((2, m, 2))),
            lambda a, b, r=r: _least_squares(a, b, r),
            name=f"least squares {m}x{n} {r} {fast}",
            **{**MORE, "dynamic": not fast},
        )
        for m, n in ((4, 2), (2, 4))
        for r, fast in ((0.0, True), (0.5, True), (0.0, False))
    ],
    Record(
        ("MatrixExponential", "MatrixExponentialMove"),
        exponential.expm,
        (Arg((2, 3, 3)),),
        scipy.linalg.expm,
        **MORE,
    ),
    Record(
        ("MatrixExponential", "MatrixExponentialMove"),
        exponential.expm,
        (Arg((3, 3), -9, 9),),
        scipy.linalg.expm,
        name="scaled",
        **{**MORE, "order": 1, "rtol": 1e-3},
    ),
]
