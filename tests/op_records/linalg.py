"""Matrix products, einsum, and parts of matrices."""

from __future__ import annotations

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import einsum, linalg, matrix

NUMBERS = ("int32", "float32", "float64", "complex64", "complex128")
PRODUCT = {"dtypes": NUMBERS, "order": 3}


def _shape(m, n, flag):
    return (n, m) if flag else (m, n)


def _letters(x, letter):
    if letter == "n":
        return x
    x = np.swapaxes(x, -1, -2)
    return x.conj() if letter == "h" else x


def _flags(a, b):
    return {
        "transpose_a": a == "t",
        "transpose_b": b == "t",
        "adjoint_a": a == "h",
        "adjoint_b": b == "h",
    }


def _matmul(name, a, b, batch_a=(), batch_b=(), **more):
    return Record(
        ("MatMul",),
        lambda x, y: linalg.matmul(x, y, **_flags(a, b)),
        (
            Arg((*batch_a, *_shape(2, 3, a != "n"))),
            Arg((*batch_b, *_shape(3, 4, b != "n"))),
        ),
        lambda x, y: _letters(x, a) @ _letters(y, b),
        name=name,
        **{**PRODUCT, **more},
    )


def _gram(a, b, batch=()):
    """A matrix times itself: where one of the two is flipped, a rule of its own."""
    return Record(
        ("MatMul",),
        lambda x: linalg.matmul(x, x, **_flags(a, b)),
        (Arg((*batch, 3, 3 if (a == "n") == (b == "n") else 2)),),
        lambda x: _letters(x, a) @ _letters(x, b),
        name=f"{a}{b} itself{' batch' if batch else ''}",
        **PRODUCT,
    )


def _einsum(equation, *shapes, **more):
    types = ("Einsum",) if len(shapes) > 1 else ("Sum",)
    if more.pop("none", False):
        types = ()
    return Record(
        (*more.pop("types", types),),
        lambda *xs: einsum.einsum(equation, *xs),
        tuple(Arg(s) for s in shapes),
        lambda *xs: np.einsum(equation, *xs),
        name=equation,
        **{"dtypes": NUMBERS, "rtol": 1e-5, **more},
    )


RECORDS = [
    *[_matmul(f"{a}{b}", a, b) for a in "nth" for b in "nth"],
    *[
        _matmul(f"{a}{b} batch", a, b, (2, 1), (3,), order=2)
        for a in "nth"
        for b in "nth"
    ],
    *[_gram(a, b) for a in "nth" for b in "nth"],
    _gram("n", "h", (2, 1)),
    _gram("t", "n", (4,)),
    _matmul("rows", "n", "n", (5, 2), ()),
    _matmul("rows, transposed", "n", "t", (5,), ()),
    _matmul("columns", "n", "n", (), (5,)),
    _matmul("half", "n", "n", dtypes=("float16",), rtol=1e-2, atol=1e-2),
    Record(
        ("MatMul",),
        linalg.matmul,
        (Arg((40, 30), -9, 9), Arg((30, 40), -9, 9)),
        np.matmul,
        name="large integers",
        dtypes=("int8", "int32", "int64", "uint8"),
        order=0,
    ),
    Record(
        ("MatMul",),
        linalg.matvec,
        (Arg((5, 2, 3)), Arg((3,))),
        lambda a, b: a @ b,
        name="matvec",
        **PRODUCT,
    ),
    Record(("Mul",), linalg.outer, (Arg((3,)), Arg((4,))), np.outer, "outer"),
    Record(
        ("Einsum",),
        linalg.dot,
        (Arg((2, 3)), Arg((4, 3, 2))),
        np.dot,
        name="dot",
        **PRODUCT,
    ),
    Record(("Einsum",), linalg.dot, (Arg((3,)), Arg((3,))), np.dot, name="dot, inner"),
    Record(("Mul",), linalg.dot, (Arg(()), Arg((3,))), np.dot, name="dot, scalar"),
    Record(("MatMul",), linalg.dot, (Arg((2, 3)), Arg((3, 2))), np.dot, name="dot"),
    _einsum("ij,jk->ik", (2, 3), (3, 4), order=3),
    _einsum("ij,jk->ki", (2, 3), (3, 4)),
    _einsum("bij,bkj->bik", (2, 3, 4), (2, 5, 4)),
    _einsum("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
    _einsum("i,j->ij", (2,), (3,)),
    _einsum("i,j->ji", (2,), (3,)),
    _einsum("ij,ij->ij", (2, 3), (2, 3)),
    _einsum("ij,ji->", (2, 3), (3, 2)),
    _einsum("ij,i", (2, 3), (2,)),
    _einsum("ijk,j->i", (2, 3, 4), (3,)),
    _einsum("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    _einsum("...i,...i->...", (4, 1, 3), (2, 3)),
    _einsum("i...,i...->...", (3, 1), (3, 2)),
    _einsum("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    _einsum("i,ij,j->", (2,), (2, 3), (3,)),
    _einsum("ii->i", (3, 3), types=("MatrixDiagPart",)),
    _einsum("ii", (3, 3), types=("MatrixDiagPart", "Sum")),
    _einsum("iij,jk->ik", (2, 2, 3), (3, 2)),
    _einsum("ijk->kj", (2, 3, 4)),
    Record(
        ("Einsum",),
        lambda a, b: einsum.tensordot(a, b, [[0, 2], [1, 0]]),
        (Arg((2, 3, 4)), Arg((4, 2, 5))),
        lambda a, b: np.tensordot(a, b, [[0, 2], [1, 0]]),
        name="tensordot lists",
        **PRODUCT,
    ),
    *[
        Record(
            ("Einsum",),
            lambda a, b, n=n: einsum.tensordot(a, b, n),
            (Arg((2, 3, 3)), Arg((3, 3, 2))),
            lambda a, b, n=n: np.tensordot(a, b, n),
            name=f"tensordot {n}",
            **PRODUCT,
        )
        for n in (0, 1, 2)
    ],
    *[
        Record(
            ("MatrixDiagPart",),
            lambda x, k=k: matrix.matrix_diag_part(x, k=k),
            (Arg((2, 3, 4)),),
            lambda x, k=k: np.diagonal(x, k, -2, -1),
            name=f"k={k}",
            dtypes=NUMBERS,
        )
        for k in (0, 2, -1, -3)
    ],
    *[
        Record(
            ("MatrixSetDiag",),
            lambda x, d, k=k: matrix.matrix_set_diag(x, d, k=k),
            (Arg((2, 3, 4)), Arg((2, n))),
            lambda x, d, k=k: _set_diagonal(x, d, k),
            name=f"k={k}",
            dtypes=NUMBERS,
        )
        for k, n in ((0, 3), (2, 2), (-1, 2))
    ],
    *[
        Record(
            ("MatrixDiag",),
            lambda x, k=k: matrix.matrix_diag(x, k=k),
            (Arg((2, 3)),),
            lambda x, k=k: np.stack([np.diag(r, k) for r in x]),
            name=f"k={k}",
            dtypes=NUMBERS,
        )
        for k in (0, 1, -2)
    ],
    Record(
        ("MatrixDiag",),
        lambda x: matrix.matrix_diag(x, k=1, num_rows=5, num_cols=4),
        (Arg((3,)),),
        lambda x: np.pad(np.diag(x, 1), ((0, 1), (0, 0))),
        name="sized",
    ),
    Record(("MatrixDiag",), matrix.diag, (Arg((3,)),), np.diag, name="vector"),
    Record(
        ("MatrixDiag",),
        matrix.diag,
        (Arg((2, 3)),),
        lambda x: np.diag(x.reshape(-1)).reshape(2, 3, 2, 3),
        name="tensor",
    ),
    Record(
        ("MatrixDiagPart",),
        matrix.diag_part,
        (Arg((2, 3, 2, 3)),),
        lambda x: np.diag(x.reshape(6, 6)).reshape(2, 3),
        name="tensor",
    ),
    Record(
        ("MatrixDiagPart", "Sum"),
        matrix.trace,
        (Arg((2, 3, 4)),),
        lambda x: np.trace(x, axis1=-2, axis2=-1, dtype=x.dtype),
        name="trace",
        dtypes=NUMBERS,
    ),
    *[
        Record(
            ("MatrixBandPart",),
            lambda x, a=a, b=b: matrix.matrix_band_part(x, a, b),
            (Arg((2, 4, 3)),),
            lambda x, a=a, b=b: np.triu(
                np.tril(x, b if b >= 0 else 9), -a if a >= 0 else -9
            ),
            name=f"{a} {b}",
            dtypes=NUMBERS,
        )
        for a, b in ((0, -1), (-1, 0), (1, 1), (-1, -1))
    ],
    Record(
        ("MatrixBandPart",),
        lambda x: matrix.tril(x, 1),
        (Arg((3, 3)),),
        lambda x: np.tril(x, 1),
        name="tril",
    ),
    Record(
        ("MatrixBandPart",),
        lambda x: matrix.triu(x, 1),
        (Arg((3, 3)),),
        lambda x: np.triu(x, 1),
        name="triu",
    ),
    Record(
        ("MatrixTranspose",),
        matrix.matrix_transpose,
        (Arg((2, 3, 4)),),
        lambda x: np.swapaxes(x, -1, -2),
        dtypes=NUMBERS,
    ),
    Record(
        ("MatrixTranspose",),
        matrix.adjoint,
        (Arg((2, 3, 4)),),
        lambda x: np.swapaxes(x, -1, -2).conj(),
        name="adjoint",
        dtypes=NUMBERS,
    ),
    Record(
        ("Eye",),
        lambda: matrix.eye(2, 3, [4]),
        (),
        lambda: np.broadcast_to(np.eye(2, 3, dtype=np.float32), (4, 2, 3)),
        dtypes=("float32",),
        order=0,
    ),
    Record(
        ("Cross",),
        matrix.cross,
        (Arg((2, 3)), Arg((2, 3))),
        np.cross,
        **PRODUCT,
    ),
    Record(
        ("Cross",),
        matrix.cross,
        (Arg((2, 1, 3)), Arg((3,))),
        np.cross,
        name="broadcast",
        **PRODUCT,
    ),
]


def _set_diagonal(x, d, k):
    x = x.copy()
    rows, columns = max(-k, 0), max(k, 0)
    for i in range(d.shape[-1]):
        x[..., rows + i, columns + i] = d[..., i]
    return x
