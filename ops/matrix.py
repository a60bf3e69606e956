"""Parts of matrices: diagonals, triangles, transposes, identity, trace, cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import as_dtype, float32
from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import Dims, broadcast, merge, text
from ..graphlib.tensor import Tensor, as_tensor, known_dims
from ._build import create, pair, scope, shape_vector
from ._jets import bilinear
from ._kinds import require, unbroadcast
from ._later import batch
from .core import shape as shape_of
from .joining import concat
from .reduction import reduce_sum
from .views import reshape

__all__ = [
    "adjoint",
    "band_part",
    "cross",
    "diag",
    "diag_part",
    "eye",
    "matrix_band_part",
    "matrix_diag",
    "matrix_diag_part",
    "matrix_set_diag",
    "matrix_transpose",
    "set_diag",
    "trace",
    "tril",
    "triu",
]


def _matrix_dims(x: Any) -> Dims:
    """The shape of a batch of matrices; raises ShapeError for rank below 2."""
    if x.dims is not None and len(x.dims) < 2:
        raise ShapeError(f"{text(x.dims)} is no matrix (nor a batch of them)")
    return x.dims  # type: ignore[no-any-return]


def _diagonal_size(rows: int | None, columns: int | None, k: int) -> int | None:
    """The length of the k-th diagonal of a matrix."""
    if rows is None or columns is None:
        return None
    n = min(rows, columns - k) if k >= 0 else min(rows + k, columns)
    if n < 0:
        raise ShapeError(f"a matrix of {rows} x {columns} has no diagonal {k}")
    return n


def _diagonal(matrix: Any, k: int) -> Any:
    """The k-th diagonal as a writable view."""
    rows, columns = matrix.shape[-2:]
    n = _diagonal_size(rows, columns, k) or 0
    r, c = max(-k, 0), max(k, 0)
    return np.einsum("...ii->...i", matrix[..., r : r + n, c : c + n])


def _single(k: Any, who: str) -> int:
    """A diagonal's number, known before the run."""
    if isinstance(k, Tensor) or hasattr(k, "_as_tensor"):
        k = as_tensor(k).value
    if k is None or np.size(k) != 1:
        raise InvalidArgumentError(f"{who}: k must be one known integer, not {k!r}")
    return int(np.reshape(k, ()))


# -- diagonals -------------------------------------------------------------------------


def _infer_diag_part(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    dims = _matrix_dims(x)
    if dims is None:
        return ((x.dtype, None),)
    return ((x.dtype, (*dims[:-2], _diagonal_size(dims[-2], dims[-1], attrs["k"]))),)


def _no_flops(inputs: Any, outputs: Any, attrs: Any) -> int:
    return 0


MATRIX_DIAG_PART: OpDef = OpDef(
    "MatrixDiagPart",
    infer=_infer_diag_part,
    kernel=lambda xp, x, *, k, out=None: xp.diagonal(x, k, -2, -1),
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: matrix_set_diag(_zeros(op), g, k=op.attrs["k"]),),
    jvp=lambda op, t: create(MATRIX_DIAG_PART, (t,), dict(op.attrs)),
    alias=0,
    flops=_no_flops,
    batch=batch.leading,
    doc="y[..., i] = x[..., i, i + k]",
)


def _zeros(op: Operation) -> Tensor:
    zeros: Tensor = TABLE["zeros_like"](op.inputs[0])
    return zeros


def matrix_diag_part(
    input: Any, name: str | None = "diag_part", k: Any = 0, padding_value: Any = 0
) -> Tensor:
    """y[..., i] = x[..., i, i + k]: a diagonal of each matrix (a view).

    Shapes: (..., m, n) -> (..., size of the diagonal).

    Args:
        input: x, of any dtype.
        name: the name of the operation.
        k: which diagonal: 0 main, positive above, negative below.
        padding_value: accepted for TF1 programs; one diagonal needs none.

    Raises:
        ShapeError: rank below 2, or no such diagonal.
        InvalidArgumentError: a band of diagonals.

    Gradient: the cotangent on the diagonal, 0 elsewhere.
    """
    x = as_tensor(input)
    attrs = {"k": _single(k, "matrix_diag_part")}
    return create(MATRIX_DIAG_PART, (x,), attrs, name)


def _infer_set_diag(inputs: Sequence[Any], attrs: Any) -> Any:
    x, d = inputs
    if x.dtype is not d.dtype:
        raise ShapeError(f"dtypes {x.dtype.name} and {d.dtype.name} differ")
    dims = _matrix_dims(x)
    if dims is not None:
        merge((*dims[:-2], _diagonal_size(dims[-2], dims[-1], attrs["k"])), d.dims)
    return ((x.dtype, dims),)


def _set_diag_kernel(xp: Any, x: Any, d: Any, *, k: int, out: Any = None) -> Any:
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    xp.copyto(out, x)
    _diagonal(out, k)[...] = d
    return out


def _set_diag_jvp(op: Operation, tx: Tensor | None, td: Tensor | None) -> Tensor:
    x, d = op.inputs
    tx = TABLE["zeros_like"](x) if tx is None else tx
    td = TABLE["zeros_like"](d) if td is None else td
    return create(MATRIX_SET_DIAG, (tx, td), dict(op.attrs))


MATRIX_SET_DIAG: OpDef = OpDef(
    "MatrixSetDiag",
    infer=_infer_set_diag,
    kernel=_set_diag_kernel,
    inputs=("input", "diagonal"),
    linear=True,
    vjp=(
        lambda op, g: create(
            MATRIX_SET_DIAG,
            (g, TABLE["zeros_like"](op.inputs[1])),
            dict(op.attrs),
        ),
        lambda op, g: matrix_diag_part(g, k=op.attrs["k"]),
    ),
    jvp=_set_diag_jvp,
    writes_out=True,
    batch=batch.leading,
    doc="x with a diagonal replaced",
)


def matrix_set_diag(
    input: Any, diagonal: Any, name: str | None = "set_diag", k: Any = 0
) -> Tensor:
    """``input`` with the k-th diagonal of each matrix replaced by ``diagonal``.

    Shapes: (..., m, n) and (..., size of the diagonal) -> (..., m, n).

    Raises:
        ShapeError: the diagonal does not fit.
    """
    x, d = pair(input, diagonal)
    return create(MATRIX_SET_DIAG, (x, d), {"k": _single(k, "set_diag")}, name)


def _infer_diag(inputs: Sequence[Any], attrs: Any) -> Any:
    d = inputs[0]
    if d.dims is None:
        return ((d.dtype, None),)
    if not d.dims:
        raise ShapeError("a scalar is no diagonal")
    k, rows, columns = attrs["k"], attrs["rows"], attrs["columns"]
    if d.dims[-1] is None:
        return ((d.dtype, (*d.dims[:-1], rows, columns)),)
    dims = _embedded(d.dims[-1], k, rows, columns)
    return ((d.dtype, (*d.dims[:-1], *dims)),)


def _embedded(n: int, k: int, rows: int | None, columns: int | None) -> Any:
    """The size of the matrix whose k-th diagonal has n elements."""
    if rows is None and columns is None:
        return n + abs(k), n + abs(k)
    rows = n + max(-k, 0) if rows is None else rows
    columns = n + max(k, 0) if columns is None else columns
    if _diagonal_size(rows, columns, k) != n:
        raise ShapeError(
            f"diagonal {k} of a matrix of {rows} x {columns} does not have {n} elements"
        )
    return rows, columns


def _diag_kernel(
    xp: Any, d: Any, *, k: int, rows: Any, columns: Any, out: Any = None
) -> Any:
    if out is None:
        dims = _embedded(d.shape[-1], k, rows, columns)
        out = xp.empty((*d.shape[:-1], *dims), d.dtype)
    out[...] = 0
    _diagonal(out, k)[...] = d
    return out


MATRIX_DIAG: OpDef = OpDef(
    "MatrixDiag",
    infer=_infer_diag,
    kernel=_diag_kernel,
    inputs=("diagonal",),
    linear=True,
    vjp=(lambda op, g: matrix_diag_part(g, k=op.attrs["k"]),),
    jvp=lambda op, t: create(MATRIX_DIAG, (t,), dict(op.attrs)),
    writes_out=True,
    batch=batch.leading,
    doc="y[..., i, i + k] = d[..., i], 0 elsewhere",
)


def matrix_diag(
    diagonal: Any,
    name: str | None = "diag",
    k: Any = 0,
    num_rows: int = -1,
    num_cols: int = -1,
    padding_value: Any = 0,
) -> Tensor:
    """y[..., i, i + k] = d[..., i], 0 elsewhere.

    Shapes: (..., n) -> (..., rows, columns), by default square.

    Args:
        diagonal: d, of any numeric dtype.
        name: the name of the operation.
        k: which diagonal: 0 main, positive above, negative below.
        num_rows, num_cols: the size of the matrix (-1: the least; both: square).
        padding_value: only 0.

    Raises:
        ShapeError: a scalar, or a size that does not fit.
        InvalidArgumentError: a band of diagonals, or another padding.

    Gradient: the cotangent's k-th diagonal.
    """
    if np.any(padding_value):
        raise InvalidArgumentError(f"matrix_diag: padding_value {padding_value} != 0")
    attrs = {
        "k": _single(k, "matrix_diag"),
        "rows": None if num_rows == -1 else int(num_rows),
        "columns": None if num_cols == -1 else int(num_cols),
    }
    return create(MATRIX_DIAG, (as_tensor(diagonal),), attrs, name)


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """The diagonal tensor: y[i..., i...] = x[i...], 0 elsewhere.

    Shapes: (d1, ..., dk) -> (d1, ..., dk, d1, ..., dk).
    """
    x = as_tensor(diagonal)
    with scope(name, "Diag", x) as whole:
        if x.dims is not None and len(x.dims) == 1:
            return matrix_diag(x, whole)
        sizes = shape_of(x)
        matrix = matrix_diag(reshape(x, [-1]))
        return reshape(matrix, concat([sizes, sizes], 0), name=whole)


def diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonal of a tensor: y[i...] = x[i..., i...].

    Shapes: (d1, ..., dk, d1, ..., dk) -> (d1, ..., dk).

    Raises:
        ShapeError: an unknown or odd rank, or halves that differ.
    """
    x = as_tensor(input)
    if x.dims is None or len(x.dims) % 2 or not x.dims:
        raise ShapeError(f"diag_part: {text(x.dims)} does not have an even, known rank")
    half = len(x.dims) // 2
    merge(x.dims[:half], x.dims[half:])
    with scope(name, "DiagPart", x):
        if half == 1:
            return matrix_diag_part(x)
        sizes = shape_of(x)[:half]
        n = TABLE["reduce_prod"](sizes)
        return reshape(matrix_diag_part(reshape(x, [n, n])), sizes)


def trace(x: Any, name: str | None = None) -> Tensor:
    """y[...] = sum_i x[..., i, i].

    Shapes: (..., m, n) -> (...).

    Raises:
        ShapeError: rank below 2.
    """
    x = as_tensor(x)
    with scope(name, "Trace", x) as whole:
        return reduce_sum(matrix_diag_part(x), -1, name=whole)


# -- triangles -------------------------------------------------------------------------


def _band_kernel(xp: Any, x: Any, *, low: Any, high: Any, out: Any = None) -> Any:
    rows, columns = x.shape[-2:]
    offset = np.arange(columns) - np.arange(rows)[:, None]
    keep = xp.ones((rows, columns), bool)
    if low is not None:
        keep &= offset >= low
    if high is not None:
        keep &= offset <= high
    if out is None:
        out = xp.empty(x.shape, x.dtype)
    out[...] = 0
    xp.copyto(out, x, where=keep)
    return out


def _infer_matrices(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    return ((x.dtype, _matrix_dims(x)),)


BAND_PART: OpDef = OpDef(
    "MatrixBandPart",
    infer=_infer_matrices,
    kernel=_band_kernel,
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: create(BAND_PART, (g,), dict(op.attrs)),),
    jvp=lambda op, t: create(BAND_PART, (t,), dict(op.attrs)),
    writes_out=True,
    batch=batch.leading,
    doc="y[..., i, j] = x[..., i, j] where low <= j - i <= high, else 0",
)


def matrix_band_part(
    input: Any, num_lower: Any, num_upper: Any, name: str | None = None
) -> Tensor:
    """x with everything outside a central band set to 0.

    Shapes: (..., m, n) -> (..., m, n).

    Args:
        input: x, of any numeric dtype.
        num_lower, num_upper: how many diagonals to keep below and above the
            main one; negative: all.
        name: the name of the operation.

    Raises:
        ShapeError: rank below 2.
        InvalidArgumentError: a number that is not known before the run.

    Gradient: the cotangent within the band.
    """
    lower, upper = _single(num_lower, "band_part"), _single(num_upper, "band_part")
    attrs = {
        "low": None if lower < 0 else -lower,
        "high": None if upper < 0 else upper,
    }
    return create(BAND_PART, (as_tensor(input),), attrs, name)


band_part = matrix_band_part
set_diag = matrix_set_diag


def tril(x: Any, k: int = 0, name: str | None = None) -> Tensor:
    """The lower triangle: x[..., i, j] where j - i <= k, else 0, as np.tril."""
    attrs = {"low": None, "high": int(k)}
    return create(BAND_PART, (as_tensor(x),), attrs, name or "tril")


def triu(x: Any, k: int = 0, name: str | None = None) -> Tensor:
    """The upper triangle: x[..., i, j] where j - i >= k, else 0, as np.triu."""
    attrs = {"low": int(k), "high": None}
    return create(BAND_PART, (as_tensor(x),), attrs, name or "triu")


# -- transposes ------------------------------------------------------------------------


def _infer_swapped(inputs: Sequence[Any], attrs: Any) -> Any:
    x = inputs[0]
    dims = _matrix_dims(x)
    if dims is None:
        return ((x.dtype, None),)
    return ((x.dtype, (*dims[:-2], dims[-1], dims[-2])),)


MATRIX_TRANSPOSE: OpDef = OpDef(
    "MatrixTranspose",
    infer=_infer_swapped,
    kernel=lambda xp, x, out=None: x.swapaxes(-1, -2),
    inputs=("x",),
    linear=True,
    vjp=(lambda op, g: create(MATRIX_TRANSPOSE, (g,)),),
    jvp=lambda op, t: create(MATRIX_TRANSPOSE, (t,)),
    alias=0,
    flops=_no_flops,
    batch=batch.leading,
    doc="y[..., i, j] = x[..., j, i]",
)


def matrix_transpose(
    a: Any, name: str | None = "matrix_transpose", conjugate: bool = False
) -> Tensor:
    """y[..., i, j] = x[..., j, i] (a view), with ``conjugate`` its conjugate.

    Shapes: (..., m, n) -> (..., n, m).

    Raises:
        ShapeError: rank below 2.
    """
    x = as_tensor(a)
    if conjugate and x.dtype.is_complex:
        x = TABLE["conj"](x)
    return create(MATRIX_TRANSPOSE, (x,), None, name)


def adjoint(matrix: Any, name: str | None = None) -> Tensor:
    """The conjugate transpose of each matrix: y[..., i, j] = conj(x[..., j, i])."""
    return matrix_transpose(matrix, name or "adjoint", conjugate=True)


# -- identity --------------------------------------------------------------------------


def _eye_kernel(xp: Any, sizes: Any, *, dtype: Any, out: Any = None) -> Any:
    if out is None:
        out = xp.empty(tuple(int(n) for n in sizes), dtype.dtype)
    out[...] = 0
    _diagonal(out, 0)[...] = 1
    return out


EYE = OpDef(
    "Eye",
    infer=lambda inputs, attrs: ((attrs["dtype"], known_dims(inputs[0])),),
    kernel=_eye_kernel,
    inputs=("shape",),
    writes_out=True,
    doc="identity matrices of a shape",
)


def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = float32,
    name: str | None = None,
) -> Tensor:
    """Identity matrices: y[..., i, j] = 1 where i = j, else 0.

    Args:
        num_rows, num_columns: ints or scalar tensors (columns default to rows).
        batch_shape: a shape to put before (default: one matrix).
        dtype: the element type.
        name: the name of the operation.
    """
    columns = num_rows if num_columns is None else num_columns
    sizes: Any = shape_vector([num_rows, columns])
    if batch_shape is not None:
        batch = shape_vector(batch_shape)
        if sizes.dtype is not batch.dtype:
            sizes = TABLE["cast"](sizes, batch.dtype)
        if batch.dims != (0,):
            sizes = concat([batch, sizes], 0)
    return create(EYE, (sizes,), {"dtype": as_dtype(dtype)}, name or "eye")


# -- cross product ---------------------------------------------------------------------


def _infer_cross(inputs: Sequence[Any], attrs: Any) -> Any:
    a, b = inputs
    require(inputs, "ifc")
    dims = broadcast(a.dims, b.dims)
    if dims is not None and (not dims or dims[-1] not in (3, None)):
        raise ShapeError(
            f"the last axes of {text(a.dims)} and {text(b.dims)} must have 3 elements"
        )
    return ((a.dtype, None if dims is None else (*dims[:-1], 3)),)


def _cross_kernel(xp: Any, a: Any, b: Any, out: Any = None) -> Any:
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise InvalidArgumentError(f"shapes {a.shape} and {b.shape} do not end in 3")
    if out is None:
        out = xp.empty(np.broadcast_shapes(a.shape, b.shape), a.dtype)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        xp.multiply(a[..., j], b[..., k], out[..., i])
        out[..., i] -= a[..., k] * b[..., j]
    return out


def _conj(x: Tensor) -> Tensor:
    return TABLE["conj"](x) if x.dtype.is_complex else x


def _cross_jvp(op: Operation, ta: Tensor | None, tb: Tensor | None) -> Tensor:
    a, b = op.inputs
    if tb is None:
        return create(CROSS, (ta, b))  # type: ignore[arg-type]
    if ta is None:
        return create(CROSS, (a, tb))
    return TABLE["add"](  # type: ignore[no-any-return]
        create(CROSS, (ta, b)), create(CROSS, (a, tb))
    )


CROSS: OpDef = OpDef(
    "Cross",
    infer=_infer_cross,
    kernel=_cross_kernel,
    inputs=("a", "b"),
    vjp=(
        lambda op, g: unbroadcast(op, 0, create(CROSS, (_conj(op.inputs[1]), g))),
        lambda op, g: unbroadcast(op, 1, create(CROSS, (g, _conj(op.inputs[0])))),
    ),
    jvp=_cross_jvp,
    jet=bilinear(0, 1),
    writes_out=True,
    batch=batch.elementwise,
    doc="y = a x b, for the last axis",
)


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """y = a x b: the cross product along the last axis.

    Shapes: (..., 3) and (..., 3) -> (..., 3); batch axes broadcast.

    Raises:
        ShapeError: a last axis that has not 3 elements.
        DTypeError: bool or strings.
    """
    a, b = pair(a, b)
    return create(CROSS, (a, b), None, name)


def _numpy_trace(a: Any, offset: int = 0) -> Tensor:
    return reduce_sum(matrix_diag_part(a, k=offset), -1)


def _numpy_diag(v: Any, k: int = 0) -> Tensor:
    x = as_tensor(v)
    if x.dims is not None and len(x.dims) == 1:
        return matrix_diag(x, k=k)
    return matrix_diag_part(x, k=k)


OPERATORS = {"band_part": matrix_band_part, "eye": eye}
NUMPY = {
    np.cross: cross,
    np.diag: _numpy_diag,
    np.diagonal: matrix_diag_part,
    np.trace: _numpy_trace,
    np.tril: tril,
    np.triu: triu,
}
