"""Solvers of linear systems, for ``custom_linear_solve`` and ``custom_root``.

They take ``(matvec, b)`` and know of the matrix its products only, so they
serve a matrix and its transpose.  Vectors are tensors or any nesting of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.batched import RowOp, Shared
from ..graphlib.dtypes import DType, float16, float32, promote
from ..graphlib.errors import InvalidArgumentError
from ..graphlib.opdef import OpDef
from ..graphlib.shapes import size as element_count
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, shape_tensor
from ._jacobian import forward_columns
from ._nest import flatten, map_structure, pack
from .complexes import conj, real
from .core import cast, ones_like, size, view_kernel, zeros_like
from .decompositions import matrix_solve
from .implicit import check_functions, scope_of
from .joining import concat, split
from .logical import (
    equal,
    greater,
    is_finite,
    logical_and,
    where_v2,
)
from .looping import while_loop
from .reduction import reduce_sum
from .views import reshape

__all__ = [
    "bicgstab",
    "conjugate_gradient",
    "dense_solve",
]


# -- a result that holds only if something holds --------------------------------------


def _ensure_kernel(xp: Any, ok: Any, x: Any, *, message: str, out: Any = None) -> Any:
    if not ok.all():
        raise InvalidArgumentError(message)
    return view_kernel(xp, x, out)


def _ensure_rows(op: RowOp, ok: Tensor | None, x: Tensor | None) -> Any:
    given = [t if b is None else b for t, b in zip(op.inputs, (ok, x))]
    made = create(ENSURE, given, dict(op.attrs))
    return Shared(made) if x is None else made


# Pure, where an assertion has an effect: so loops that hold one can be computed
# again, vectorised and left out where nobody asks for the result.
ENSURE = OpDef(
    "Ensure",
    infer=lambda inputs, attrs: ((inputs[1].dtype, inputs[1].dims),),
    kernel=_ensure_kernel,
    inputs=("ok", "x"),
    vjp=(None, lambda op, g: g),
    jvp=lambda op, _, t: t,
    linear=True,
    alias=1,
    batch=_ensure_rows,
    flops=lambda i, o, a: 0,
    doc="y = x, and an error where ok does not hold",
)


def ensure(ok: Tensor, x: Tensor, message: str) -> Tensor:
    """``x``; an InvalidArgumentError with ``message`` during a run where not ``ok``."""
    return create(ENSURE, (ok, x), {"message": message})


# -- vectors in any structure ---------------------------------------------------------


def real_dtype(tensors: Sequence[Tensor]) -> DType:
    """The real dtype that all of ``tensors`` promote to."""
    parts = [real(t).dtype if t.dtype.is_complex else t.dtype for t in tensors]
    found = parts[0]
    for d in parts[1:]:
        found = promote(found, d)
    return found


def default_tolerance(tensors: Sequence[Tensor]) -> float:
    """What a dtype allows: some 30 rounding errors, for float64 3e-13 or so."""
    eps = float(np.finfo(real_dtype(tensors).dtype).eps)
    return float(eps ** (0.8 if eps < 1e-10 else 0.85))


def dot(a: Any, b: Any) -> Tensor:
    """Re <a, b> of two vectors."""
    left, right = flatten(a), flatten(b)
    dtype = real_dtype(left)
    total = None
    for x, y in zip(left, right):
        part = reduce_sum(real(conj(x) * y) if x.dtype.is_complex else x * y)
        part = cast(part, dtype)
        total = part if total is None else total + part
    assert total is not None
    return total


def inner(a: Any, b: Any) -> Tensor:
    """<a, b> of two vectors: complex where they are."""
    total = None
    for x, y in zip(flatten(a), flatten(b)):
        part = reduce_sum((conj(x) if x.dtype.is_complex else x) * y)
        if total is None:
            total = part
        else:
            dtype = promote(total.dtype, part.dtype)
            total = cast(total, dtype) + cast(part, dtype)
    assert total is not None
    return total


def combined(a: Any, scale: Any, b: Any) -> Any:
    """a + scale b."""
    return map_structure(lambda x, y: x + cast(scale, x.dtype) * y, a, b)


def difference(a: Any, b: Any) -> Any:
    """a - b."""
    return map_structure(lambda x, y: x - y, a, b)


def zeros(structure: Any) -> Any:
    """Zeros in the form of a vector."""
    return map_structure(zeros_like, structure)


def tensors_of(structure: Any) -> Any:
    """A structure of tensors from one of values."""
    return map_structure(as_tensor, structure)


def _most(max_iterations: Any, b: Any) -> Any:
    if max_iterations is not None:
        return max_iterations
    total: Any = 0
    for t in flatten(b):
        known = element_count(t.dims)
        total = total + (size(t) if known is None else known)
    return total * 10


# -- linear systems -------------------------------------------------------------------


def _start(
    matvec: Callable[..., Any], b: Any, x0: Any, tolerance: float | None
) -> tuple[Any, Any, Tensor]:
    """The first x, b - A x, and the ‖b - A x‖² at which to stop."""
    limit = tolerance if tolerance is not None else default_tolerance(flatten(b))
    bound = dot(b, b) * limit**2
    if x0 is None:
        return zeros(b), b, bound
    x = tensors_of(x0)
    return x, difference(b, matvec(x)), bound


def conjugate_gradient(
    matvec: Callable[..., Any],
    b: Any,
    x0: Any = None,
    tolerance: float | None = None,
    max_iterations: Any = None,
    preconditioner: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Any:
    """x with A x = b for a symmetric (Hermitian) positive definite A, in a loop.

    Args:
        matvec: ``f(x) -> A x``.
        b: a tensor, or any nesting of them.
        x0: where to start (default: zeros).
        tolerance: stop at ‖b - A x‖ ≤ tolerance ‖b‖ (default: about 3e-13 in float64,
            1e-6 in float32).
        max_iterations: stop after so many (default: 10 times the size of b).
        preconditioner: ``f(r)``, the product with an approximation of A⁻¹.
        name: the scope of the operations.

    Returns:
        x, in the structure of b: after ``max_iterations`` the last one, converged or
        not.

    Derivatives go through the loop; as the ``solve`` of :func:`custom_linear_solve`
    it is not differentiated, which costs one more solve instead.

    Cost: one product with A for each iteration; n of them, in exact arithmetic.

    Reference:
        Hestenes & Stiefel (1952); Saad, Iterative Methods for Sparse Linear Systems,
        2nd ed., algorithms 6.18 and 9.1.
    """
    check_functions(matvec=matvec)
    b = tensors_of(b)
    precondition = preconditioner or (lambda r: r)
    with _scoped(b, name, "conjugate_gradient"):
        x, r, bound = _start(matvec, b, x0, tolerance)
        z = precondition(r)

        def step(x: Any, r: Any, p: Any, rz: Any, _: Any) -> Any:
            ap = matvec(p)
            alpha = rz / dot(p, ap)
            x = combined(x, alpha, p)
            r = combined(r, -alpha, ap)
            z = precondition(r)
            new = dot(r, z)
            return x, r, combined(z, new / rz, p), new, dot(r, r)

        found = while_loop(
            lambda x, r, p, rz, rr: greater(rr, bound),
            step,
            (x, r, z, dot(r, z), dot(r, r)),
            maximum_iterations=_most(max_iterations, b),
        )
    return found[0]


def bicgstab(
    matvec: Callable[..., Any],
    b: Any,
    x0: Any = None,
    tolerance: float | None = None,
    max_iterations: Any = None,
    preconditioner: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Any:
    """x with A x = b for any invertible A, by stabilised biconjugate gradients.

    Arguments and result: as :func:`conjugate_gradient`.  It may break down or stagnate
    where conjugate gradients do not; then the last x that was finite is returned.

    Cost: two products with A for each iteration; none with its transpose.

    Reference:
        van der Vorst, Bi-CGSTAB (1992); Saad, algorithm 7.7.
    """
    check_functions(matvec=matvec)
    b = tensors_of(b)
    precondition = preconditioner or (lambda r: r)
    with _scoped(b, name, "bicgstab"):
        x, r, bound = _start(matvec, b, x0, tolerance)
        shadow = r

        def step(x: Any, r: Any, p: Any, rho: Any, rr: Any, on: Any) -> Any:
            p_hat = precondition(p)
            ap = matvec(p_hat)
            alpha = rho / inner(shadow, ap)
            s = combined(r, -alpha, ap)
            s_hat = precondition(s)
            t = matvec(s_hat)
            tt = dot(t, t)
            # s = 0: the first half of the step was all that was to do.
            omega = inner(t, s) / cast(_or_one(tt), alpha.dtype)
            new_x = combined(combined(x, alpha, p_hat), omega, s_hat)
            new_r = combined(s, -omega, t)
            new_rho = inner(shadow, new_r)
            beta = new_rho / rho * (alpha / _or_one(omega))
            p = combined(new_r, beta, combined(p, -omega, ap))
            new_rr = dot(new_r, new_r)
            fine = is_finite(new_rr)
            x, r = _chosen(fine, (new_x, new_r), (x, r))
            return x, r, p, new_rho, _chosen(fine, new_rr, rr), fine

        found = while_loop(
            lambda x, r, p, rho, rr, on: logical_and(on, greater(rr, bound)),
            step,
            (x, r, r, inner(shadow, r), dot(r, r), as_tensor(True)),
            maximum_iterations=_most(max_iterations, b),
        )
    return found[0]


def _or_one(t: Tensor) -> Tensor:
    return where_v2(equal(t, cast(0, t.dtype)), cast(1, t.dtype), t)


def _chosen(condition: Tensor, a: Any, b: Any) -> Any:
    """a where a scalar condition holds, else b."""
    return map_structure(lambda x, y: where_v2(condition, x, y), a, b)


def _scoped(vector: Any, name: str | None, default: str) -> Any:
    return scope_of(flatten(vector), name or default)


def flat(structure: Any, dtype: DType) -> Tensor:
    """A structure of tensors as one vector of a dtype."""
    parts = [reshape(cast(t, dtype), [-1]) for t in flatten(structure)]
    return parts[0] if len(parts) == 1 else concat(parts, 0)


def sections(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Along the first axis, as many entries as each of ``like`` has elements."""
    if len(like) == 1:
        return [vector]
    known = [element_count(t.dims) for t in like]
    sizes = [size(t) if n is None else n for t, n in zip(like, known)]
    return list(split(vector, sizes, 0, num=len(like)))


def unflat(vector: Tensor, like: Any) -> Any:
    """A vector as a structure of tensors: the inverse of :func:`flat`."""
    leaves = flatten(like)
    made = []
    for part, t in zip(sections(vector, leaves), leaves):
        if t.dims is None or len(t.dims) != 1:
            part = reshape(part, shape_tensor(t))
        part.set_shape(t.dims)
        made.append(cast(part, t.dtype))
    return pack(like, made)


def dense_solve(matvec: Callable[..., Any], b: Any, name: str | None = None) -> Any:
    """x with A x = b, by forming A and factorising it.

    Args:
        matvec: ``f(x) -> A x``.
        b: a tensor, or any nesting of them, of n numbers in all.
        name: the scope of the operations.

    Returns:
        x, in the structure of b.

    Raises:
        InvalidArgumentError: during a run, where A is singular.

    Cost: ``matvec`` of n unit vectors at once, n² numbers, 2 n³ / 3 flops.
    """
    check_functions(matvec=matvec)
    b = tensors_of(b)
    leaves = flatten(b)
    with _scoped(b, name, "dense_solve"):
        dtype = leaves[0].dtype
        for t in leaves[1:]:
            dtype = promote(dtype, t.dtype)
        if dtype is float16:  # LAPACK has none
            dtype = float32
        right = flat(b, dtype)
        if element_count(right.dims) == 1:
            slope = flat(matvec(map_structure(ones_like, b)), dtype)
            return unflat(right / slope, b)
        at = zeros_like(right)
        (matrix,) = forward_columns([flat(matvec(unflat(at, b)), dtype)], at)
        if matrix is None:  # A = 0
            return map_structure(lambda t: t / zeros_like(t), b)
        return unflat(matrix_solve(matrix, right[:, None])[:, 0], b)
