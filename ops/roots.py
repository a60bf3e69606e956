"""Roots and fixed points: ready solvers with the derivatives of ``custom_root``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graphlib.dtypes import promote
from ..graphlib.errors import InvalidArgumentError
from ..graphlib.source import entry
from ..graphlib.tensor import Tensor, as_tensor
from ._build import shape_tensor
from ._nest import flatten, map_structure, pack
from .complexes import conj
from .core import cast, stop_gradient, zeros_like
from .decompositions import matrix_solve
from .einsum import tensordot
from .elementwise import square
from .implicit import custom_root, pushed
from .joining import concat, stack
from .linalg import matmul, matvec
from .logical import equal, less, less_equal, logical_not, where_v2
from .looping import while_loop
from .matrix import eye, matrix_transpose
from .powers import sqrt
from .reduction import reduce_sum
from .rounding import abs_
from .solvers import (
    combined,
    default_tolerance,
    dense_solve,
    difference,
    dot,
    ensure,
    flat,
    real_dtype,
    tensors_of,
    unflat,
    zeros,
)

__all__ = ["fixed_point", "newton"]


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

    return custom_root(f, tensors_of(x0), solve, solver, name or "newton")


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
    anderson: int = 0,
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
        anderson: how many past steps to extrapolate from (Anderson acceleration): 3 to
            10 where the iteration converges slowly, at the cost of keeping twice as
            many vectors.
        tangent_solve: ``g(matvec, b)`` for derivatives, where ``matvec`` is the product
            with ∂f/∂x - 1 or its transpose (default: the same iteration,
            v ← v + damping (matvec(v) - b), accelerated alike, which converges at the
            rate of the first one; :func:`dense_solve` or :func:`bicgstab` may be
            faster).
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
        & Walther, Evaluating Derivatives, 2nd ed., section 15.3; Walker & Ni, Anderson
        acceleration for fixed-point iterations (2011).
    """
    _positive(max_iterations, "max_iterations")
    if isinstance(anderson, bool) or not isinstance(anderson, int) or anderson < 0:
        raise InvalidArgumentError(
            f"{entry()}anderson must be an integer, 0 or more: {anderson!r}"
        )
    if not 0.0 < damping <= 1.0:
        raise InvalidArgumentError(f"{entry()}damping must be in (0, 1], not {damping}")

    def residual(x: Any) -> Any:
        return difference(f(x), x)

    def iterate(g: Callable[..., Any], x: Any, who: str) -> Any:
        limit = tolerance
        if limit is None:
            limit = default_tolerance(flatten(x))

        beta = as_tensor(damping, real_dtype(flatten(x)))

        def done(x: Any, r: Any) -> Tensor:
            return less(_norm(r), (1.0 + _norm(x)) * limit)

        def step(x: Any, r: Any, _: Any) -> Any:
            x = combined(x, beta, r)
            r = g(x)
            return x, r, done(x, r)

        def faster(x: Any, r: Any, xs: Tensor, rs: Tensor, _: Any) -> Any:
            vector = _flat(r)
            gamma = _least_squares(rs, vector)
            move = cast(beta, vector.dtype) * vector
            back = tensordot(gamma, xs + cast(beta, rs.dtype) * rs, 1)
            moved = map_structure(lambda a, b: a + b, x, unflat(move - back, x))
            new = g(moved)
            xs = concat([xs[1:], _flat(difference(moved, x))[None]], 0)
            rs = concat([rs[1:], _flat(difference(new, r))[None]], 0)
            return moved, new, xs, rs, done(moved, new)

        r = g(x)
        if not anderson:
            return _iterated(step, (x, r), max_iterations, who)
        past = stack([zeros_like(_flat(r))] * anderson)
        return _iterated(faster, (x, r, past, past), max_iterations, who)

    def solve(g: Callable[..., Any], x: Any) -> Any:
        return iterate(g, x, "fixed_point")

    def linear(matvec: Callable[..., Any], b: Any) -> Any:
        return iterate(
            lambda v: difference(matvec(v), b),
            zeros(b),
            "the derivative of fixed_point",
        )

    return custom_root(
        residual, tensors_of(x0), solve, tangent_solve or linear, name or "fixed_point"
    )


def _flat(structure: Any) -> Tensor:
    leaves = flatten(structure)
    dtype = leaves[0].dtype
    for t in leaves[1:]:
        dtype = promote(dtype, t.dtype)
    return flat(structure, dtype)


def _least_squares(rows: Tensor, right: Tensor) -> Tensor:
    """γ with Σ γ_i rows_i ≈ right, where rows may be zero or alike."""
    norms = sqrt(reduce_sum(square(abs_(rows)), 1))
    # Rows from late iterations are small, and count as much as the others.
    scale = cast(1.0 / where_v2(equal(norms, 0.0), 1.0, norms), rows.dtype)
    unit = rows * scale[:, None]
    dual = conj(unit) if rows.dtype.is_complex else unit
    eps = float(np.finfo(norms.dtype.dtype).eps)
    ridge = eye(shape_tensor(rows)[0], dtype=rows.dtype) * (10.0 * eps)
    system = matmul(dual, matrix_transpose(unit)) + ridge
    return scale * matrix_solve(system, matvec(dual, right)[:, None])[:, 0]


def _positive(n: Any, what: str) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InvalidArgumentError(f"{entry()}{what} must be an integer above 0: {n!r}")
