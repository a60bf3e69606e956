"""SciPy's optimizers on variables of a session, with derivatives from the graph.

Every quantity that a method asks for (value and gradient, Hessian times vector,
Jacobian) is one plan of the session.  SciPy sees one float64 vector that holds all
variables; complex numbers are pairs of reals there.  Large Jacobians and Hessians of
which few entries can be nonzero go to SciPy as sparse matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._flat import Function, Space, scipy_optimize
from ._flat_derivatives import Loss, VectorFunction, check_choice
from .graphlib.tensor import Tensor

__all__ = ["least_squares", "minimize", "root"]

# What the methods of scipy.optimize.minimize take.
_NO_GRADIENT = {"cobyla", "cobyqa", "nelder-mead", "powell"}
_PRODUCTS = {"newton-cg", "trust-constr", "trust-krylov", "trust-ncg"}
_HESSIANS = {"dogleg", "trust-exact"}
_CONSTRAINED = {"cobyla", "cobyqa", "slsqp", "trust-constr"}
# Those that take a sparse Hessian.
_SPARSE = {"newton-cg", "trust-constr"}
# Of scipy.optimize.root: the others approximate the Jacobian themselves.
_JACOBIAN_ROOTS = {"hybr", "lm"}


def minimize(
    loss: Tensor,
    variables: Any,
    method: str = "L-BFGS-B",
    bounds: Any = None,
    constraints: Any = (),
    session: Any = None,
    feed_dict: Mapping[Any, Any] | None = None,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[[list[Any]], Any] | None = None,
    hessian: str = "auto",
) -> Any:
    """Minimise a scalar of the graph over variables, by ``scipy.optimize.minimize``.

    The search starts at the variables' values in ``session``; at its end they hold the
    result, converged or not (an exception leaves the start).  The method gets what it
    can use: gradients, Hessian-vector products (Newton-CG, trust-ncg, trust-krylov,
    trust-constr) or sparse Hessians (Newton-CG, trust-constr), dense Hessians
    (dogleg, trust-exact).

    >>> import dagrad as dg
    >>> from dagrad.optimize import minimize
    >>> v = dg.Variable([-1.2, 1.0], dtype=dg.float64)
    >>> banana = 100.0 * (v[1] - v[0] ** 2) ** 2 + (1.0 - v[0]) ** 2
    >>> with dg.Session() as session:
    ...     session.run(v.initializer)
    ...     result = minimize(banana, v, method="trust-ncg")
    ...     print(session.run(v).round(3))
    [1. 1.]

    Args:
        loss: a real scalar.
        variables: a variable or a list of them, floating or complex.
        method: a method of ``scipy.optimize.minimize``.
        bounds: (low, high) for each variable, None for none: numbers, None or
            arrays that broadcast to its shape; for one variable (not in a list)
            one such pair; or a dict from variables to pairs.
        constraints: ``{"type": "eq", "fun": tensor}`` for tensor = 0,
            ``"ineq"`` for tensor >= 0, elementwise; one or a list.  For COBYLA,
            COBYQA, SLSQP and trust-constr.
        session: where the variables have their values (default: the default
            session).
        feed_dict: values of placeholders, the same in all runs.
        tol, options: handed to SciPy.
        callback: called after each iteration with the list of arrays.
        hessian: for Newton-CG and trust-constr: "products" along vectors, a
            "sparse" matrix at each point, or "auto": the matrix where there are 200
            numbers or more and about 5 % of its entries or fewer can be nonzero.
            trust-constr gets the Jacobians of constraints by the same choice.

    Returns:
        SciPy's OptimizeResult; ``x`` is a list of arrays, one per variable and of
        its dtype, ``x_flat`` the vector that SciPy saw (as is ``jac``).

    Raises:
        ImportError: SciPy is not installed.
        TypeError: something else than variables was given.
        ValueError: the loss is no real scalar or depends on none of the variables,
            or the method cannot handle constraints or a sparse Hessian.

    The loss and derivatives are computed in the dtype of the variables: with
    float32, line searches end once its rounding is reached (about 1e-7 of the
    loss); give ``tol`` accordingly.  A call adds nodes to the graph; later calls for
    the same loss and variables find them.

    Reference:
        Nocedal & Wright, Numerical Optimization, 2nd ed.
    """
    space = Space(variables, session, feed_dict)
    seen = None if callback is None else space.callback(callback)
    return _minimize(
        space, loss, method, bounds, constraints, tol, options, seen, hessian=hessian
    )


def _minimize(
    space: Space,
    loss: Any,
    method: str,
    bounds: Any,
    constraints: Any,
    tol: float | None,
    options: Mapping[str, Any] | None,
    callback: Function | None,
    watch: tuple[Sequence[Tensor], Function] | None = None,
    hessian: str = "auto",
) -> Any:
    """:func:`minimize`, with SciPy's own callback.

    ``watch``: tensors, and a function that gets their values at each evaluation of
    value and gradient.
    """
    optimizers = scipy_optimize()
    kind = method.lower()
    check_choice("minimize", "hessian", hessian, ("auto", "sparse", "products"))
    if hessian == "sparse" and kind not in _SPARSE:
        raise ValueError(
            f"minimize: method {method!r} takes no sparse Hessian; Newton-CG and "
            "trust-constr do"
        )
    functions = Loss(space, loss)
    given = _constraints(space, constraints, kind, hessian)
    arguments: dict[str, Any] = {"tol": tol, "options": dict(options or {})}
    if kind not in _NO_GRADIENT:
        arguments["jac"] = True
    matrix = functions.sparse(hessian) if kind in _SPARSE else None
    if matrix is not None:
        arguments["hess"] = matrix
    elif kind in _PRODUCTS:
        arguments["hessp"] = functions.product()
    elif kind in _HESSIANS:
        arguments["hess"] = functions.dense()
    limits = space.bounds(bounds)
    if limits is not None:
        arguments["bounds"] = optimizers.Bounds(*limits)
    if given:
        arguments["constraints"] = given
    if kind == "trust-constr" and _any_sparse(given, space.start):
        # It wants all of one kind, and makes them so where it is told which.
        arguments["options"].setdefault("sparse_jacobian", True)
    if callback is not None:
        arguments["callback"] = callback
    if kind in _NO_GRADIENT:
        fun = functions.value()
    else:
        fun = functions.value_and_gradient(watch)
    result = optimizers.minimize(fun, space.start, method=method, **arguments)
    return space.finish(result)


def least_squares(
    residuals: Any,
    variables: Any,
    method: str = "trf",
    bounds: Any = None,
    loss: str = "linear",
    session: Any = None,
    feed_dict: Mapping[Any, Any] | None = None,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    jacobian: str = "auto",
) -> Any:
    """Minimise half the sum of squares, by ``scipy.optimize.least_squares``.

    >>> import dagrad as dg
    >>> from dagrad.optimize import least_squares
    >>> t = np.linspace(0.0, 1.0, 20)
    >>> a, b = dg.Variable(1.0, dtype=dg.float64), dg.Variable(1.0, dtype=dg.float64)
    >>> with dg.Session() as session:
    ...     session.run(dg.global_variables_initializer())
    ...     result = least_squares(a * dg.exp(b * t) - 2.0 * np.exp(-3.0 * t), [a, b])
    >>> print(*(round(float(v), 6) for v in result.x))
    2.0 -3.0

    Args:
        residuals: a tensor or a list of them, of any shape.
        variables, session, feed_dict: as for :func:`minimize`.
        method: "trf", "dogbox" or "lm".
        bounds: as for :func:`minimize`; not for "lm".
        loss: "linear", or a robust loss of SciPy's ("soft_l1", "huber", ...).
        tol: sets ftol, xtol and gtol.
        options: further keywords (``f_scale``, ``x_scale``, ``max_nfev``,
            ``tr_solver``, ...).
        jacobian: "dense", "sparse" (then SciPy solves by LSMR, not for "lm"), or
            "auto": sparse where there are 200 numbers or more, about 5 % of the
            entries or fewer can be nonzero, and the method can use it.

    Returns:
        SciPy's OptimizeResult, ``x`` and ``x_flat`` as in :func:`minimize`; ``fun``
        and ``jac`` are those of all residuals in one vector.

    Raises:
        ImportError, TypeError, ValueError: as for :func:`minimize`.

    Cost: a dense Jacobian takes one batched pass over as many unit vectors as there are
    variable elements, or residuals where these are fewer (in parts where they are
    many); a sparse one takes a pass per colour of its pattern, which is found once.
    """
    optimizers = scipy_optimize()
    space = Space(variables, session, feed_dict)
    arguments: dict[str, Any] = dict(options or {})
    if tol is not None:
        arguments = {"ftol": tol, "xtol": tol, "gtol": tol, **arguments}
    limits = space.bounds(bounds)
    if limits is not None:
        arguments["bounds"] = limits
    check_choice("least_squares", "jacobian", jacobian, ("auto", "dense", "sparse"))
    exact = method == "lm" or arguments.get("tr_solver") == "exact"
    if exact and jacobian == "sparse":
        raise ValueError(
            'least_squares: a sparse Jacobian needs method "trf" or "dogbox" and not '
            'tr_solver "exact"'
        )
    fun = VectorFunction(space, residuals, "least_squares")
    jac = fun.jacobian("dense" if exact else jacobian)
    result = optimizers.least_squares(
        fun, space.start, jac=jac, method=method, loss=loss, **arguments
    )
    return space.finish(result)


def root(
    equations: Any,
    variables: Any,
    method: str = "hybr",
    session: Any = None,
    feed_dict: Mapping[Any, Any] | None = None,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[[list[Any]], Any] | None = None,
) -> Any:
    """Solve equations = 0 for the variables, by ``scipy.optimize.root``.

    Args:
        equations: a tensor or a list of them, with as many elements as the
            variables have together.
        variables, session, feed_dict, tol, options: as for :func:`minimize`.
        method: a method of ``scipy.optimize.root``; "hybr" and "lm" get the
            Jacobian.
        callback: called with the list of arrays, by methods that take one (not
            "hybr" and "lm").

    Returns:
        SciPy's OptimizeResult, ``x`` and ``x_flat`` as in :func:`minimize`.

    Raises:
        ImportError, TypeError, ValueError: as for :func:`minimize`; also where
            there are more or fewer equations than unknowns (except for "lm").
    """
    optimizers = scipy_optimize()
    space = Space(variables, session, feed_dict)
    fun = VectorFunction(space, equations, "root")
    arguments: dict[str, Any] = {"tol": tol, "options": dict(options or {})}
    if method.lower() in _JACOBIAN_ROOTS:
        arguments["jac"] = fun.jacobian()
    elif callback is not None:
        arguments["callback"] = space.callback(callback)
    if fun.size != space.start.size and method.lower() != "lm":
        raise ValueError(
            f"root: {fun.size} equations for {space.start.size} unknowns; "
            "least_squares solves such systems"
        )
    return space.finish(optimizers.root(fun, space.start, method=method, **arguments))


def _constraints(space: Space, given: Any, kind: str, hessian: str) -> list[Any]:
    """Constraints on tensors as SciPy takes them."""
    listed = [given] if isinstance(given, Mapping) else list(given)
    if not listed:
        return []
    if kind not in _CONSTRAINED:
        raise ValueError(
            f"minimize: method {kind!r} takes no constraints; SLSQP and trust-constr do"
        )
    made = []
    for c in listed:
        if set(c) != {"type", "fun"} or c["type"] not in ("eq", "ineq"):
            raise ValueError(
                'minimize: a constraint is {"type": "eq" or "ineq", "fun": tensor}, '
                f"not {c!r}"
            )
        fun = VectorFunction(space, c["fun"], "minimize: constraint")
        if any(t.dtype.is_complex for t in fun.tensors):
            raise ValueError(f"minimize: the constraint {c['fun']!r} is complex")
        if kind == "trust-constr":
            upper = 0.0 if c["type"] == "eq" else np.inf
            jac = fun.jacobian("dense" if hessian == "products" else hessian)
            made.append(
                scipy_optimize().NonlinearConstraint(
                    fun, 0.0, upper, jac=jac, hess=fun.curvature()
                )
            )
        else:
            made.append({"type": c["type"], "fun": fun, "jac": fun.jacobian()})
    return made


def _any_sparse(constraints: Sequence[Any], start: Any) -> bool:
    """Whether the Jacobian of a constraint comes as a sparse matrix."""
    return any(not isinstance(c.jac(start), np.ndarray) for c in constraints)
