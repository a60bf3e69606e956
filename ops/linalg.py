"""Matrix products: one op with transpose flags, and what is built on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError, ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import broadcast, is_static, text
from ..graphlib.tensor import Tensor
from ._build import create, pair, scope
from ._jets import bilinear
from ._kinds import require
from ._later import batch_product
from ._products import product_nest
from .views import expand_dims, reshape, squeeze

__all__ = ["dot", "matmul", "matvec", "outer"]


# -- matmul ----------------------------------------------------------------------------

# How an operand enters the product: "n" as it is, "t" transposed, "h" conjugate
# transposed, "c" conjugated.  In the op's attrs: transpose_* and adjoint_*.
_CONJUGATE = {"n": "c", "t": "h", "h": "t", "c": "n"}
_ADJOINT = {"n": "h", "t": "c", "h": "n", "c": "t"}
_REAL = {"n": "n", "t": "t", "h": "t", "c": "n"}


def _letters(attrs: Any) -> tuple[str, str]:
    a = "h" if attrs["adjoint_a"] else "t" if attrs["transpose_a"] else "n"
    b = "h" if attrs["adjoint_b"] else "t" if attrs["transpose_b"] else "n"
    return a, b


def _infer_matmul(inputs: Sequence[Any], attrs: Any) -> Any:
    a, b = inputs
    if a.dtype is not b.dtype or a.dtype.kind < 1:
        require(inputs, "ifc")
    if a.dims is None or b.dims is None:
        return ((a.dtype, None),)
    if len(a.dims) < 2 or len(b.dims) < 2:
        raise ShapeError(
            f"shapes {text(a.dims)} and {text(b.dims)}: both operands must be "
            "matrices or batches of them (dagrad.linalg.matvec takes a vector, "
            "dagrad.dot follows np.dot)"
        )
    m, k = a.dims[-2:]
    j, n = b.dims[-2:]
    if attrs["transpose_a"] or attrs["adjoint_a"]:
        m, k = k, m
    if attrs["transpose_b"] or attrs["adjoint_b"]:
        j, n = n, j
    if k != j and k is not None and j is not None:
        flags = ", ".join(name for name, on in attrs.items() if on)
        raise ShapeError(
            f"the inner dimensions of {text(a.dims)} and {text(b.dims)}"
            f"{f' with {flags}' if flags else ''} are {k} and {j}: they must be equal"
        )
    batch = a.dims[:-2]
    if batch or len(b.dims) > 2:
        batch = broadcast(batch, b.dims[:-2]) or ()
    return ((a.dtype, (*batch, m, n)),)


def _product(xp: Any, a: Any, b: Any, out: Any = None) -> Any:
    """a @ b for arrays of one dtype, through BLAS wherever that is exact."""
    kind = a.dtype.kind
    if kind == "f" and a.dtype.itemsize == 2:
        return _store(xp, xp.matmul(a.astype(np.float32), b.astype(np.float32)), a, out)
    if kind in "iu":
        return _integer_product(xp, a, b, out)
    if b.ndim == 2:
        if a.ndim == 2:
            # np.dot costs 0.3 us less than np.matmul and has no slow loop for k=1.
            return xp.dot(a, b, out)
        together = a.flags.c_contiguous and (out is None or out.flags.c_contiguous)
        if together and a.size and b.size:
            # One large product in place of one for each matrix of the batch.
            rows = a.reshape(-1, a.shape[-1])
            flat = None if out is None else out.reshape(-1, b.shape[-1])
            return xp.dot(rows, b, flat).reshape(*a.shape[:-1], b.shape[-1])
    return xp.matmul(a, b) if out is None else xp.matmul(a, b, out)


def _store(xp: Any, result: Any, like: Any, out: Any) -> Any:
    if out is None:
        return result.astype(like.dtype)
    xp.copyto(out, result, casting="unsafe")
    return out


def _integer_product(xp: Any, a: Any, b: Any, out: Any) -> Any:
    """NumPy's integer product is a plain loop: large ones go through float64
    where every partial sum is exact there."""
    k = a.shape[-1]
    if a.size * b.shape[-1] >= 1 << 15 and b.size:
        bound = k * _magnitude(a) * _magnitude(b)
        if bound < 1 << 53:
            wide = xp.matmul(a.astype(np.float64), b.astype(np.float64))
            return _store(xp, wide.astype(np.int64), a, out)
    return xp.matmul(a, b) if out is None else xp.matmul(a, b, out)


def _magnitude(x: Any) -> int:
    return max(abs(int(x.max())), abs(int(x.min())))


def _flip(x: Any, transpose: bool, adjoint: bool) -> Any:
    if adjoint:
        return x.conj().swapaxes(-1, -2)
    return x.swapaxes(-1, -2) if transpose else x


def _is_low(kind: Any, a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether a b^T is a few rows times a large matrix.

    OpenBLAS is a third slower there than at b a^T, whose transpose it is, and
    which costs a copy of the result.  (One row is a product with a vector.)
    """
    if len(a) != 2 or len(b) != 2 or kind.kind != "f" or kind.itemsize < 4:
        return False
    return 2 <= a[0] <= 48 and b[0] >= 4 * a[0] and b[0] * b[1] >= 1 << 16


def _matmul_workspace(inputs: Any, outputs: Any, attrs: Any) -> Any:
    a, b = inputs
    if attrs["transpose_a"] or not attrs["transpose_b"]:
        return ()
    item = a.dtype.dtype
    return [(item, (b.dims[0], a.dims[0]))] if _is_low(item, a.dims, b.dims) else ()


def _matmul_kernel(
    xp: Any,
    a: Any,
    b: Any,
    *,
    transpose_a: bool,
    transpose_b: bool,
    adjoint_a: bool,
    adjoint_b: bool,
    out: Any = None,
    work: Any = None,
) -> Any:
    if transpose_b and not transpose_a and _is_low(a.dtype, a.shape, b.shape):
        turned = work[0] if work else xp.empty((b.shape[0], a.shape[0]), a.dtype)
        xp.dot(b, a.T, turned)
        if out is None:
            out = xp.empty(turned.shape[::-1], a.dtype)
        xp.copyto(out, turned.T)
        return out
    a = _flip(a, transpose_a, adjoint_a)
    b = _flip(b, transpose_b, adjoint_b)
    return _product(xp, a, b, out)


def _bind_matmul(attrs: Any, inputs: Any, outputs: Any) -> Callable[..., Any] | None:
    a, b = inputs
    if len(a.dims) != 2 or len(b.dims) != 2 or a.dtype.size < 4:
        return None
    if not a.dtype.is_inexact or attrs["adjoint_a"] or attrs["adjoint_b"]:
        return None
    if _matmul_workspace(inputs, outputs, attrs):
        return None
    dot = np.dot
    ta, tb = attrs["transpose_a"], attrs["transpose_b"]
    if not ta and not tb:
        return dot
    if ta and tb:
        return lambda a, b, out: dot(a.T, b.T, out)
    if ta:
        return lambda a, b, out: dot(a.T, b, out)
    return lambda a, b, out: dot(a, b.T, out)


#: Multiplications from which a product is cut in two, and in four; rows of a tile.
_CUT = 20_000_000, 4_000_000_000
_TILE = 64


def _matmul_pieces(
    attrs: Any, inputs: Any, outputs: Any
) -> list[Callable[..., Any]] | None:
    """A large product by matrices of a batch, rows or columns, whichever there are
    more of: never by terms of its sums, which would round differently."""
    a, b = inputs
    y = outputs[0].dims
    count = sum(_matmul_flops(inputs, outputs, attrs) // 2 >= n for n in _CUT) * 2
    if not count or a is b or not a.dtype.is_inexact or a.dtype.size < 4:
        return None  # of one operand BLAS computes half; others are not BLAS's
    flags = {
        k: attrs[k] for k in ("transpose_a", "transpose_b", "adjoint_a", "adjoint_b")
    }
    bounds: list[tuple[slice | None, slice | None, slice | None]] = []
    if len(y) > 2:
        count = min(count, y[0])
        cuts = [y[0] * i // count for i in range(count + 1)]
        bounds = [(slice(*pair), None, None) for pair in pairwise(cuts)]
    else:
        long = 0 if y[0] >= y[1] else 1
        rows = -(-y[long] // count // _TILE) * _TILE
        for start in range(0, y[long], rows):
            part = slice(start, start + rows)
            bounds.append((None, None, part) if long else (None, part, None))
    if len(bounds) < 2:
        return None
    return [partial(_matmul_part, flags, len(y), *which) for which in bounds]


def _matmul_part(
    flags: Any, rank: int, batch: Any, rows: Any, columns: Any, a: Any, b: Any, out: Any
) -> None:
    """Some matrices, rows or columns of a product, written where they belong."""
    if batch is not None:
        a, b = (x[batch] if x.ndim == rank and x.shape[0] != 1 else x for x in (a, b))
        _matmul_kernel(np, a, b, **flags, out=out[batch])
        return
    a = _flip(a, flags["transpose_a"], flags["adjoint_a"])
    b = _flip(b, flags["transpose_b"], flags["adjoint_b"])
    if rows is not None:
        np.matmul(a[rows], b, out[rows])
    else:
        np.matmul(a, b[:, columns], out[:, columns])


def _matmul_flops(inputs: Any, outputs: Any, attrs: Any) -> int:
    k = inputs[0].dims[-2 if attrs["transpose_a"] or attrs["adjoint_a"] else -1]
    n = 2 * (k or 0)
    for d in outputs[0].dims:
        n *= d or 0
    return n


def _mm(a: Tensor, op_a: str, b: Tensor, op_b: str) -> Tensor:
    """The product of two operands, each entering by its letter."""
    if not a.dtype.is_complex:
        op_a, op_b = _REAL[op_a], _REAL[op_b]
    if op_a == "c":
        a, op_a = TABLE["conj"](a), "n"
    if op_b == "c":
        b, op_b = TABLE["conj"](b), "n"
    return create(MATMUL, (a, b), _flags(op_a, op_b))


def _flags(op_a: str, op_b: str) -> dict[str, bool]:
    return {
        "transpose_a": op_a == "t",
        "transpose_b": op_b == "t",
        "adjoint_a": op_a == "h",
        "adjoint_b": op_b == "h",
    }


def _unbatch(g: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """``g`` summed over the batch axes along which ``x`` was broadcast."""
    if x.dims is not None and other.dims is not None:
        if len(x.dims) == 2 == len(other.dims):
            return g
        batch = x.dims[:-2]
        if batch == other.dims[:-2] and is_static(batch):
            return g
    if g.dims == x.dims and is_static(g.dims):
        return g
    return TABLE["sum_to"](g, x)  # type: ignore[no-any-return]


def _is_gram(op: Operation) -> bool:
    """Whether y is x x^H or x^H x (or with ^T): one operand, once flipped.

    Its derivative is a sum of two products of which one is the other's transpose,
    so that one product and the sum with its transpose do.
    """
    a, b = op.inputs
    op_a, op_b = _letters(op.attrs)
    return a is b and (op_a == "n") != (op_b == "n")


def _with_flipped(op: Operation, x: Tensor) -> Tensor:
    """x + x^T, or x + x^H where the operation takes an adjoint."""
    conjugate = "h" in _letters(op.attrs)
    from .matrix import matrix_transpose

    flipped = matrix_transpose(x, conjugate=conjugate)
    return TABLE["add"](x, flipped)  # type: ignore[no-any-return]


def _matmul_vjp_a(op: Operation, g: Tensor) -> Tensor:
    a, b = op.inputs
    op_a, op_b = _letters(op.attrs)
    if _is_gram(op):
        g = _with_flipped(op, g)  # what comes to b is in it
    # y = A' B' gives dA' = g B'^H; then undo what made A' of a.
    if op_a == "n":
        grad = _mm(g, "n", b, _ADJOINT[op_b])
    elif op_a == "t":
        grad = _mm(b, _CONJUGATE[op_b], g, "t")
    else:
        grad = _mm(b, op_b, g, "h")
    return _unbatch(grad, a, b)


def _matmul_vjp_b(op: Operation, g: Tensor) -> Tensor | None:
    if _is_gram(op):
        return None  # it is in what comes to a
    a, b = op.inputs
    op_a, op_b = _letters(op.attrs)
    rows = _as_rows(a, b, g, op_a)
    if rows is not None:
        a, g = rows
    if op_b == "n":
        grad = _mm(a, _ADJOINT[op_a], g, "n")
    elif op_b == "t":
        grad = _mm(g, "t", a, _CONJUGATE[op_a])
    else:
        grad = _mm(g, "h", a, op_a)
    return grad if rows is not None else _unbatch(grad, b, a)


def _as_rows(
    a: Tensor, b: Tensor, g: Tensor, op_a: str
) -> tuple[Tensor, Tensor] | None:
    """A batch of matrices times one matrix, as one tall product.

    The gradient with respect to the one matrix is then a single product, not a
    sum of one for each matrix of the batch.
    """
    if op_a != "n" or a.dims is None or g.dims is None:
        return None
    if len(a.dims) <= 2 or b.dims is None or len(b.dims) != 2:
        return None
    k, n = a.dims[-1], g.dims[-1]
    if not k or not n:
        return None
    return reshape(a, [-1, k]), reshape(g, [-1, n])


def _matmul_jvp(op: Operation, ta: Tensor | None, tb: Tensor | None) -> Tensor:
    a, b = op.inputs
    op_a, op_b = _letters(op.attrs)
    if tb is None:
        assert ta is not None
        return _mm(ta, op_a, b, op_b)
    if ta is None:
        return _mm(a, op_a, tb, op_b)
    if ta is tb and _is_gram(op):
        return _with_flipped(op, _mm(ta, op_a, b, op_b))
    return TABLE["add"](  # type: ignore[no-any-return]
        _mm(ta, op_a, b, op_b), _mm(a, op_a, tb, op_b)
    )


MATMUL = OpDef(
    "MatMul",
    infer=_infer_matmul,
    kernel=_matmul_kernel,
    inputs=("a", "b"),
    vjp=(_matmul_vjp_a, _matmul_vjp_b),
    jvp=_matmul_jvp,
    jet=bilinear(0, 1),
    writes_out=True,
    workspace=_matmul_workspace,
    bind=_bind_matmul,
    pieces=_matmul_pieces,
    nest=product_nest,
    blas=(0, 1),
    flops=_matmul_flops,
    batch=batch_product.matmul,
    doc="y = a @ b, for the last two axes",
)


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """y[..., i, j] = sum_k a[..., i, k] b[..., k, j].

    Shapes: a (..., m, k), b (..., k, n) -> (..., m, n); batch axes broadcast.

    Args:
        a, b: integers, floating or complex; promoted to their common dtype.
        transpose_a, transpose_b: take the operand's last two axes swapped.
        adjoint_a, adjoint_b: swapped and conjugated.
        a_is_sparse, b_is_sparse: accepted for TF1 programs; the result is the
            same.
        name: the name of the operation.

    Raises:
        ShapeError: an operand of rank below 2, or inner dimensions that differ.
        DTypeError: bool or string operands.
        InvalidArgumentError: transpose and adjoint of one operand.

    Gradient: g b^H and a^H g, summed over broadcast batch axes.

    Reference:
        Giles, An extended collection of matrix derivative results (2008), 2.2.1.
    """
    a, b = pair(a, b, name=name)
    if (transpose_a and adjoint_a) or (transpose_b and adjoint_b):
        raise InvalidArgumentError(
            "matmul: an operand is transposed or adjoint, not both"
        )
    if (adjoint_a or adjoint_b) and not a.dtype.is_complex:
        transpose_a, adjoint_a = transpose_a or adjoint_a, False
        transpose_b, adjoint_b = transpose_b or adjoint_b, False
    attrs = {
        "transpose_a": bool(transpose_a),
        "transpose_b": bool(transpose_b),
        "adjoint_a": bool(adjoint_a),
        "adjoint_b": bool(adjoint_b),
    }
    return create(MATMUL, (a, b), attrs, name)


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """y[..., i] = sum_k a[..., i, k] b[..., k].

    Shapes: a (..., m, k), b (..., k) -> (..., m); batch axes broadcast.
    Arguments, errors and gradient as for :func:`matmul`.
    """
    a, b = pair(a, b)
    with scope(name, "matvec", a):
        column = expand_dims(b, -1)
        y = matmul(a, column, transpose_a=transpose_a, adjoint_a=adjoint_a)
        return squeeze(y, [-1])


def outer(a: Any, b: Any, name: str | None = None) -> Tensor:
    """y[i, j] = a[i] b[j], over all elements in C order, as np.outer.

    Shapes: a of m elements, b of n -> (m, n).
    """
    a, b = pair(a, b)
    with scope(name, "outer", a):
        y: Tensor = TABLE["mul"](reshape(a, [-1, 1]), reshape(b, [1, -1]))
        return y


def dot(a: Any, b: Any, name: str | None = None) -> Tensor:
    """np.dot: the sum over a's last axis and b's last but one (or only) axis.

    Shapes: (..., k) and (k,) -> (...); (..., k) and (..., k, n) ->
    (a's ..., b's ..., n); a scalar multiplies.

    Raises:
        ShapeError: an operand of unknown rank, or sizes that differ.
    """
    a, b = pair(a, b)
    if a.dims is None or b.dims is None:
        raise ShapeError(
            f"dot: {a!r} and {b!r}: both ranks must be known (set_shape, or matmul)"
        )
    if not a.dims or not b.dims:
        return TABLE["mul"](a, b)  # type: ignore[no-any-return]
    if len(a.dims) == 2 and len(b.dims) == 2:
        return matmul(a, b, name=name)
    from .einsum import tensordot

    axis = -1 if len(b.dims) == 1 else -2
    return tensordot(a, b, ([-1], [axis]), name=name or "dot")


OPERATORS = {"matmul": matmul}
NUMPY = {np.dot: dot, np.matmul: matmul, np.outer: outer}
