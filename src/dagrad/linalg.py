"""Matrices and their factorisations (``tf.linalg``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily

if TYPE_CHECKING:
    from .ops.clipping import global_norm
    from .ops.decompositions import cholesky, cholesky_solve, logdet, slogdet
    from .ops.decompositions import matrix_determinant as det
    from .ops.decompositions import matrix_inverse as inv
    from .ops.decompositions import matrix_solve as solve
    from .ops.decompositions import matrix_triangular_solve as triangular_solve
    from .ops.einsum import einsum, tensordot
    from .ops.exponential import expm
    from .ops.linalg import matmul, matvec
    from .ops.matrix import adjoint, cross, eye, matrix_transpose, trace
    from .ops.matrix import diag as tensor_diag
    from .ops.matrix import diag_part as tensor_diag_part
    from .ops.matrix import matrix_band_part as band_part
    from .ops.matrix import matrix_diag as diag
    from .ops.matrix import matrix_diag_part as diag_part
    from .ops.matrix import matrix_set_diag as set_diag
    from .ops.matrix import matrix_transpose as transpose
    from .ops.normalization import l2_normalize
    from .ops.spectral import matrix_solve_ls as lstsq
    from .ops.spectral import pinv, qr, svd
    from .ops.spectral import self_adjoint_eig as eigh
    from .ops.spectral import self_adjoint_eigvals as eigvalsh
    from .ops.statistics import norm
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "ops.clipping": "global_norm",
            "ops.decompositions": (
                "cholesky cholesky_solve det=matrix_determinant inv=matrix_inverse "
                "logdet slogdet solve=matrix_solve "
                "triangular_solve=matrix_triangular_solve"
            ),
            "ops.einsum": "einsum tensordot",
            "ops.exponential": "expm",
            "ops.linalg": "matmul matvec",
            "ops.matrix": (
                "adjoint band_part=matrix_band_part cross diag=matrix_diag "
                "diag_part=matrix_diag_part eye matrix_transpose "
                "set_diag=matrix_set_diag tensor_diag=diag tensor_diag_part=diag_part "
                "trace transpose=matrix_transpose"
            ),
            "ops.normalization": "l2_normalize",
            "ops.spectral": (
                "eigh=self_adjoint_eig eigvalsh=self_adjoint_eigvals "
                "lstsq=matrix_solve_ls pinv qr svd"
            ),
            "ops.statistics": "norm",
        },
    )

# fmt: off
__all__ = [
    "adjoint", "band_part", "cholesky", "cholesky_solve", "cross", "det", "diag",
    "diag_part", "eigh", "eigvalsh", "einsum", "expm", "eye", "global_norm", "inv",
    "l2_normalize", "logdet", "lstsq", "matmul", "matrix_transpose", "matvec", "norm",
    "pinv", "qr", "set_diag", "slogdet", "solve", "svd", "tensor_diag",
    "tensor_diag_part", "tensordot", "trace", "transpose", "triangular_solve",
]
# fmt: on
