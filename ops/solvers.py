"""Solvers for ``custom_linear_solve`` and ``custom_root``, and ready ones on top.

Linear solvers take ``(matvec, b)`` and know of the matrix its products only, so they
serve a matrix and its transpose.  Vectors are tensors or any nesting of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graphlib.batching import RowOp, Shared
from ..graphlib.dtypes import DType, promote
from ..graphlib.errors import InvalidArgumentError
from ..graphlib.opdef import OpDef
from ..graphlib.shapes import size as element_count
from ..graphlib.source import entry
from ..graphlib.tensor import Tensor, as_tensor
from ._build import create, create_op, shape_tensor
from ._jacobian import forward_columns
from ._nest import flatten, map_structure, pack
from .complexes import conj, real
from .core import cast, ones_like, size, stop_gradient, view_kernel, zeros_like
from .decompositions import matrix_solve
from .implicit import check_functions, custom_root, pushed, scope_of
from .joining import concat, split
from .logical import (
    equal,
    greater,
    is_finite,
    less,
    less_equal,
    logical_and,
    logical_not,
    where_v2,
)
from .looping import while_loop
from .powers import sqrt
from .reduction import reduce_sum
from .views import reshape

__all__ = [
    "bicgstab",
    "conjugate_gradient",
    "dense_solve",
    "fixed_point",
    "newton",
]


# -- a result that holds only if something holds --------------------------------------


def _ensure_kernel(xp: Any, ok: Any, x: Any, *, message: str, out: Any = None) -> Any:
    if not ok.all():
        raise InvalidArgumentError(message)
    return view_kernel(xp, x, out)


def _ensure_rows(op: RowOp, ok: Tensor | None, x: Tensor | None) -> Any:
    """All rows hold, or it is an error, as it is where they run one by one."""
    given = [t if b is None else b for t, b in zip(op.inputs, (ok, x))]
    (y,) = create_op(op.opdef, given, dict(op.attrs)).outputs
    return Shared(y) if x is None else y


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


def _tensors(structure: Any) -> Any:
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
    b = _tensors(b)
    limit = tolerance if tolerance is not None else default_tolerance(flatten(b))
    precondition = preconditioner or (lambda r: r)
    with _scoped(b, name, "conjugate_gradient"):
        bound = dot(b, b) * limit**2
        x = zeros(b) if x0 is None else _tensors(x0)
        r = b if x0 is None else difference(b, matvec(x))
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
    b = _tensors(b)
    limit = tolerance if tolerance is not None else default_tolerance(flatten(b))
    precondition = preconditioner or (lambda r: r)
    with _scoped(b, name, "bicgstab"):
        bound = dot(b, b) * limit**2
        x = zeros(b) if x0 is None else _tensors(x0)
        shadow = r = b if x0 is None else difference(b, matvec(x))

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
    b = _tensors(b)
    leaves = flatten(b)
    with _scoped(b, name, "dense_solve"):
        dtype = leaves[0].dtype
        for t in leaves[1:]:
            dtype = promote(dtype, t.dtype)
        right = flat(b, dtype)
        if element_count(right.dims) == 1:
            slope = flat(matvec(map_structure(ones_like, b)), dtype)
            return unflat(right / slope, b)
        at = zeros_like(right)
        (matrix,) = forward_columns([flat(matvec(unflat(at, b)), dtype)], at)
        if matrix is None:  # A = 0
            return map_structure(lambda t: t / zeros_like(t), b)
        return unflat(matrix_solve(matrix, right[:, None])[:, 0], b)


# -- nonlinear systems ----------------------------------------------------------------


def _norm(structure: Any) -> Tensor:
    return sqrt(dot(structure, structure))


def newton(
    f: Callable[..., Any],
    x0: Any,
    tolerance: float | None = None,
    max_iterations: int = 50,
    linear_solve: Callable[..., Any] | None = None,
    backtrack: bool = True,
    name: str | None = None,
) -> Any:
    """x with f(x) = 0 by Newton's method from x0, with implicit derivatives.

    x ← x - s (∂f/∂x)⁻¹ f(x), where s is 1, or is halved (ten times at most) until
    ‖f‖ does not grow.

    Args:
        f: ``f(x)``, of the structure, shapes and dtypes of x; it may read tensors and
            variables around it.
        x0: a tensor, or any nesting of them.
        tolerance: stop at a step of ‖dx‖ ≤ tolerance (1 + ‖x‖) (default: about
            3e-13 in float64, 1e-6 in float32).
        max_iterations: an error after so many.
        linear_solve: ``g(matvec, b)`` for the steps and the derivatives (default:
            :func:`dense_solve`).
        backtrack: with False s is always 1.
        name: the scope of the operations.

    Returns:
        x, in the structure of x0; derivatives as for :func:`custom_root`.

    Raises:
        InvalidArgumentError: during a run, where it does not converge.

    Cost: for each iteration one evaluation of f, one linear solve, and with
    ``backtrack`` another evaluation of f, and one for each halving.

    Example:
        >>> import dagrad as tf
        >>> a = tf.constant(2.0, tf.float64)
        >>> x = tf.newton(lambda x: x**2 - a, tf.constant(1.0, tf.float64))
        >>> with tf.Session() as session:
        ...     print([round(float(v), 6) for v in
        ...         session.run([x, *tf.gradients(x, a)])])
        [1.414214, 0.353553]

    Reference:
        Nocedal & Wright, Numerical Optimization, 2nd ed., section 11.1.
    """
    solver = linear_solve or dense_solve
    _positive(max_iterations, "max_iterations")

    def solve(f: Callable[..., Any], guess: Any) -> Any:
        limit = tolerance
        if limit is None:
            limit = default_tolerance(flatten(guess))
        return _newton(f, guess, limit, max_iterations, solver, backtrack)

    return custom_root(f, _tensors(x0), solve, solver, name or "newton")


def _newton(
    f: Callable[..., Any],
    x0: Any,
    limit: float,
    most: int,
    solver: Callable[..., Any],
    backtrack: bool,
) -> Any:
    def step(x: Any, _: Any) -> Any:
        xs = flatten(map_structure(stop_gradient, x))
        fx = f(pack(x, xs))
        at = flatten(fx)

        def matvec(v: Any) -> Any:
            return pack(x, pushed(at, xs, flatten(v)))

        dx = solver(matvec, fx)
        new = difference(x, dx)
        if backtrack:
            before = dot(fx, fx)

            def longer(new: Any) -> Tensor:
                there = f(new)
                return logical_not(less_equal(dot(there, there), before))

            def shorter(s: Any, new: Any, on: Any) -> Any:
                new = combined(x, -s / 2, dx)
                return s / 2, new, longer(new)

            _, new, _ = while_loop(
                lambda s, new, on: on,
                shorter,
                (cast(1.0, before.dtype), new, longer(new)),
                maximum_iterations=10,
            )
        moved = _norm(difference(new, x))
        return new, less(moved, (1.0 + _norm(new)) * limit)

    return _iterated(step, (x0,), most, "newton")


def _iterated(
    step: Callable[..., Any], start: tuple[Any, ...], most: int, who: str
) -> Any:
    """The first part of what ``step`` makes until it says that it is done."""
    found = while_loop(
        lambda *state: logical_not(state[-1]),
        step,
        (*start, as_tensor(False)),
        maximum_iterations=most,
    )
    message = (
        f"{who} has not converged after {most} iterations: start closer, allow more "
        "(max_iterations=), or ask for less (tolerance=)"
    )
    return map_structure(lambda t: ensure(found[-1], t, message), found[0])


def fixed_point(
    f: Callable[..., Any],
    x0: Any,
    tolerance: float | None = None,
    max_iterations: int = 1000,
    damping: float = 1.0,
    tangent_solve: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Any:
    """x with x = f(x) by iteration from x0, with implicit derivatives.

    x ← x + damping (f(x) - x) until ‖f(x) - x‖ ≤ tolerance (1 + ‖x‖).

    Args:
        f: ``f(x)``, of the structure, shapes and dtypes of x, a contraction around
            the fixed point; it may read tensors and variables around it.
        x0: a tensor, or any nesting of them.
        tolerance: see above (default: about 3e-13 in float64, 1e-6 in float32).
        max_iterations: an error after so many.
        damping: in (0, 1].
        tangent_solve: ``g(matvec, b)`` for derivatives, where ``matvec`` is the product
            with ∂f/∂x - 1 or its transpose (default: the same iteration,
            v ← v + damping (matvec(v) - b), which converges at the rate of the first
            one; :func:`dense_solve` or :func:`bicgstab` may be faster).
        name: the scope of the operations.

    Returns:
        x, in the structure of x0; derivatives as for :func:`custom_root`.

    Raises:
        InvalidArgumentError: during a run, where it does not converge.

    Cost: one evaluation of f for each iteration; for each derivative as many products
    with ∂f/∂x.

    Example:
        >>> import dagrad as tf
        >>> a = tf.constant(1.0, tf.float64)
        >>> x = tf.fixed_point(lambda x: tf.cos(a * x), tf.constant(0.0, tf.float64))
        >>> with tf.Session() as session:
        ...     print(round(float(session.run(x)), 6))
        0.739085

    Reference:
        Christianson, Reverse accumulation and attractive fixed points (1994); Griewank
        & Walther, Evaluating Derivatives, 2nd ed., section 15.3.
    """
    _positive(max_iterations, "max_iterations")
    if not 0.0 < damping <= 1.0:
        raise InvalidArgumentError(f"{entry()}damping must be in (0, 1], not {damping}")

    def residual(x: Any) -> Any:
        return difference(f(x), x)

    def iterate(g: Callable[..., Any], x: Any, who: str) -> Any:
        limit = tolerance
        if limit is None:
            limit = default_tolerance(flatten(x))

        def step(x: Any, r: Any, _: Any) -> Any:
            x = combined(x, as_tensor(damping, real_dtype(flatten(x))), r)
            r = g(x)
            return x, r, less(_norm(r), (1.0 + _norm(x)) * limit)

        return _iterated(step, (x, g(x)), max_iterations, who)

    def solve(g: Callable[..., Any], x: Any) -> Any:
        return iterate(g, x, "fixed_point")

    def linear(matvec: Callable[..., Any], b: Any) -> Any:
        return iterate(
            lambda v: difference(matvec(v), b),
            zeros(b),
            "the derivative of fixed_point",
        )

    return custom_root(
        residual, _tensors(x0), solve, tangent_solve or linear, name or "fixed_point"
    )


def _positive(n: Any, what: str) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InvalidArgumentError(f"{entry()}{what} must be an integer above 0: {n!r}")
