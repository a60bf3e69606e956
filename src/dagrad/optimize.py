"""SciPy's optimizers on variables of a session, with derivatives from the graph.

Every quantity that a method asks for (value and gradient, Hessian times vector,
Jacobian) is one plan of the session.  SciPy sees one float64 vector that holds all
variables; complex numbers are pairs of reals there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .graphlib.forward import jvp
from .graphlib.gradients import _tensors, as_dense, gradients
from .graphlib.stacks import default_session
from .graphlib.tensor import Tensor
from .ops.core import placeholder
from .ops.state import Variable
from .runtime.feeds import expand, feed_key

__all__ = ["least_squares", "minimize", "root"]

# What the methods of scipy.optimize.minimize take.
_NO_GRADIENT = {"cobyla", "cobyqa", "nelder-mead", "powell"}
_PRODUCTS = {"newton-cg", "trust-constr", "trust-krylov", "trust-ncg"}
_HESSIANS = {"dogleg", "trust-exact"}
_CONSTRAINED = {"cobyla", "cobyqa", "slsqp", "trust-constr"}
# Of scipy.optimize.root: the others approximate the Jacobian themselves.
_JACOBIAN_ROOTS = {"hybr", "lm"}

Flat = Any  #: a float64 vector of all variables
Function = Callable[..., Any]


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
) -> Any:
    """Minimise a scalar of the graph over variables, by ``scipy.optimize.minimize``.

    The search starts at the variables' values in ``session``; at its end they hold the
    result, converged or not (an exception leaves the start).  The method gets what it
    can use: gradients, Hessian-vector products (Newton-CG, trust-ncg, trust-krylov,
    trust-constr), Hessians (dogleg, trust-exact; one product per column).

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

    Returns:
        SciPy's OptimizeResult; ``x`` is a list of arrays, one per variable and of
        its dtype, ``x_flat`` the vector that SciPy saw (as is ``jac``).

    Raises:
        ImportError: SciPy is not installed.
        TypeError: something else than variables was given.
        ValueError: the loss is no real scalar or depends on none of the variables,
            or the method cannot handle constraints.

    The loss and derivatives are computed in the dtype of the variables: with
    float32, line searches end once its rounding is reached (about 1e-7 of the
    loss); give ``tol`` accordingly.  Each call adds nodes to the graph.

    Reference:
        Nocedal & Wright, Numerical Optimization, 2nd ed.
    """
    space = _Space(variables, session, feed_dict)
    seen = None if callback is None else space.callback(callback)
    return _minimize(space, loss, method, bounds, constraints, tol, options, seen)


def _minimize(
    space: _Space,
    loss: Any,
    method: str,
    bounds: Any,
    constraints: Any,
    tol: float | None,
    options: Mapping[str, Any] | None,
    callback: Function | None,
    watch: tuple[Sequence[Tensor], Function] | None = None,
) -> Any:
    """:func:`minimize`, with SciPy's own callback.

    ``watch``: tensors, and a function that gets their values at each evaluation of
    value and gradient.
    """
    scipy_optimize = _scipy()
    kind = method.lower()
    functions = _Loss(space, loss)
    given = _constraints(space, constraints, kind)
    arguments: dict[str, Any] = {"tol": tol, "options": dict(options or {})}
    if kind not in _NO_GRADIENT:
        arguments["jac"] = True
    if kind in _PRODUCTS:
        arguments["hessp"] = functions.product()
    if kind in _HESSIANS:
        arguments["hess"] = _hessian(space, functions)
    limits = space.bounds(bounds)
    if limits is not None:
        arguments["bounds"] = scipy_optimize.Bounds(*limits)
    if given:
        arguments["constraints"] = given
    if callback is not None:
        arguments["callback"] = callback
    if kind in _NO_GRADIENT:
        fun = functions.value()
    else:
        fun = functions.value_and_gradient(watch)
    result = scipy_optimize.minimize(fun, space.start, method=method, **arguments)
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

    Returns:
        SciPy's OptimizeResult, ``x`` and ``x_flat`` as in :func:`minimize`; ``fun``
        and ``jac`` are those of all residuals in one vector.

    Raises:
        ImportError, TypeError, ValueError: as for :func:`minimize`.

    Cost: each Jacobian takes one run per variable element, or one per residual where
    these are fewer.
    """
    scipy_optimize = _scipy()
    space = _Space(variables, session, feed_dict)
    arguments: dict[str, Any] = dict(options or {})
    if tol is not None:
        arguments = {"ftol": tol, "xtol": tol, "gtol": tol, **arguments}
    limits = space.bounds(bounds)
    if limits is not None:
        arguments["bounds"] = limits
    fun, jacobian = _vector_function(space, residuals, "least_squares")
    result = scipy_optimize.least_squares(
        fun, space.start, jac=jacobian, method=method, loss=loss, **arguments
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
    scipy_optimize = _scipy()
    space = _Space(variables, session, feed_dict)
    fun, jacobian = _vector_function(space, equations, "root")
    arguments: dict[str, Any] = {"tol": tol, "options": dict(options or {})}
    if method.lower() in _JACOBIAN_ROOTS:
        arguments["jac"] = jacobian
    elif callback is not None:
        arguments["callback"] = space.callback(callback)
    count = fun(space.start).size
    if count != space.start.size and method.lower() != "lm":
        raise ValueError(
            f"root: {count} equations for {space.start.size} unknowns; "
            "least_squares solves such systems"
        )
    return space.finish(
        scipy_optimize.root(fun, space.start, method=method, **arguments)
    )


def _scipy() -> Any:
    try:
        import scipy.optimize
    except ImportError as error:
        raise ImportError(
            'dagrad.optimize needs SciPy: pip install "dagrad[optimize]"'
        ) from error
    return scipy.optimize


# -- variables as one vector -----------------------------------------------------


def _reals(array: Any) -> Flat:
    """The numbers of an array as a float64 vector."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(flat.real.dtype).astype(np.float64)


class _Space:
    """Variables, their session, and what is fed: SciPy's vector and back."""

    def __init__(
        self, variables: Any, session: Any, feed_dict: Mapping[Any, Any] | None
    ) -> None:
        self.single = not isinstance(variables, (list, tuple))
        self.variables: list[Variable] = [variables] if self.single else [*variables]
        for v in self.variables:
            if not isinstance(v, Variable):
                raise TypeError(f"optimize: {v!r} is no variable")
            if not v.dtype.is_inexact:
                raise TypeError(f"optimize: {v!r} holds no floating numbers")
        if not self.variables:
            raise ValueError("optimize: no variables were given")
        self.session = default_session(session, "dagrad.optimize")
        self.graph = self.variables[0].graph
        self.tensors = [v._as_graph_element() for v in self.variables]
        arrays = [np.asarray(a) for a in self.session.run(self.tensors)]
        self.shapes = [a.shape for a in arrays]
        self.dtypes = [a.dtype for a in arrays]
        self.start = np.concatenate([_reals(a) for a in arrays])
        self.ends = np.cumsum([_reals(a).size for a in arrays]).tolist()
        pairs = expand(feed_dict or {})
        self.keys = [feed_key(self.graph, k) for k, _ in pairs]
        self.values = [v for _, v in pairs]

    def unpack(self, x: Flat) -> list[Any]:
        """One array per variable, of its shape and dtype."""
        out = []
        begin = 0
        for end, shape, dtype in zip(self.ends, self.shapes, self.dtypes):
            part = np.asarray(x[begin:end], np.float64)
            begin = end
            if dtype.kind == "c":
                part = part.view(np.complex128)
            out.append(part.astype(dtype).reshape(shape))
        return out

    def directions(self) -> list[Tensor]:
        """Placeholders for a vector in this space."""
        with self.graph.as_default(), self.graph.name_scope("optimize"):
            return [
                placeholder(t.dtype, shape, name="direction")
                for t, shape in zip(self.tensors, self.shapes)
            ]

    def compile(
        self, fetches: Sequence[Tensor], more: Sequence[Tensor] = ()
    ) -> Function:
        """``f(x, *arrays for more)``: the fetches at a point, by one plan."""
        feeds = [*self.tensors, *more, *self.keys]
        call = self.session.make_callable(list(fetches), feeds)
        return lambda x, *arrays: call(*self.unpack(x), *arrays, *self.values)

    def gradients(self, ys: Any, seeds: Any = None) -> list[Tensor | None]:
        """Dense gradients for the variables."""
        grads = gradients(ys, self.tensors, seeds)
        return [None if g is None else as_dense(g) for g in grads]

    def pack(self, found: Iterable[Any], present: Sequence[bool]) -> Flat:
        """One vector from an array per variable that is ``present``, else zeros."""
        given = iter(found)
        return np.concatenate(
            [
                _reals(next(given) if p else np.zeros(shape, dtype))
                for p, shape, dtype in zip(present, self.shapes, self.dtypes)
            ]
        )

    def bounds(self, given: Any) -> tuple[Flat, Flat] | None:
        """The bounds as two vectors."""
        if given is None:
            return None
        if isinstance(given, Mapping):
            unknown = [v for v in given if v not in self.variables]
            if unknown:
                raise ValueError(
                    f"optimize: bounds for {unknown!r}, which is not moved"
                )
            pairs = [given.get(v) for v in self.variables]
        else:
            pairs = [given] if self.single else list(given)
        if len(pairs) != len(self.variables):
            raise ValueError(
                f"optimize: {len(pairs)} pairs of bounds for "
                f"{len(self.variables)} variables"
            )
        sides: tuple[list[Any], list[Any]] = ([], [])
        for v, pair, shape in zip(self.variables, pairs, self.shapes):
            if v.dtype.is_complex and pair is not None:
                raise ValueError(f"optimize: {v!r} is complex and has no bounds")
            low, high = (None, None) if pair is None else pair
            size = (*shape, 2) if v.dtype.is_complex else shape
            for side, limit, free in zip(sides, (low, high), (-np.inf, np.inf)):
                full = np.broadcast_to(free if limit is None else limit, size)
                side.append(np.asarray(full, np.float64).reshape(-1))
        return np.concatenate(sides[0]), np.concatenate(sides[1])

    def callback(self, user: Callable[[list[Any]], Any]) -> Function:
        """A callback of SciPy's that hands arrays to the user's."""
        return lambda x, *state: user(self.unpack(x))

    def finish(self, result: Any) -> Any:
        """Write the result into the session, and shape it."""
        result.x_flat = result.x
        result.x = self.unpack(result.x)
        for v, value in zip(self.variables, result.x):
            v.load(value, self.session)
        return result


# -- what SciPy calls ------------------------------------------------------------


class _Loss:
    """A scalar and its derivatives as functions of a vector."""

    def __init__(self, space: _Space, loss: Any) -> None:
        (t,) = _tensors(loss)
        if t.dims != () or not t.dtype.is_floating:
            raise ValueError(
                f"minimize: the loss must be a real scalar, not {t!r}; "
                "dagrad.reduce_sum or reduce_mean makes one"
            )
        self.space = space
        self.loss = t
        self.grads = space.gradients(t)
        self.present = [g is not None for g in self.grads]
        self.found = [g for g in self.grads if g is not None]
        if not self.found:
            raise ValueError(
                f"minimize: no differentiable path leads from "
                f"{', '.join(v.name for v in space.variables)} to {t.op.describe()}"
            )

    def value(self) -> Function:
        """``f(x)``."""
        run = self.space.compile([self.loss])
        return lambda x: float(run(x)[0])

    def value_and_gradient(
        self, watch: tuple[Sequence[Tensor], Function] | None = None
    ) -> Function:
        """``f(x) -> (value, gradient)``, in one run."""
        tensors, see = ((), None) if watch is None else watch
        run = self.space.compile([self.loss, *self.found, *tensors])
        end = 1 + len(self.found)

        def both(x: Flat) -> tuple[float, Flat]:
            results = run(x)
            if see is not None:
                see(*results[end:])
            return float(results[0]), self.space.pack(results[1:end], self.present)

        return both

    def product(self) -> Function:
        """``f(x, d) -> H d``, forward over reverse."""
        return _along(self.space, self.found, self.present)


def _along(
    space: _Space,
    grads: Sequence[Tensor],
    present: Sequence[bool],
    more: Sequence[Tensor] = (),
) -> Function:
    """``f(x, d, *arrays for more)``: the change of ``grads`` where x moves along d."""
    directions = space.directions()
    moved = iter(jvp(list(grads), space.tensors, directions))
    parts = [next(moved) if p else None for p in present]
    run = space.compile([t for t in parts if t is not None], [*directions, *more])
    depends = [t is not None for t in parts]
    return lambda x, d, *arrays: space.pack(run(x, *space.unpack(d), *arrays), depends)


def _hessian(space: _Space, loss: _Loss) -> Function:
    """``f(x)``: the dense Hessian, column by column."""
    product = loss.product()
    units = np.eye(space.start.size)

    def hessian(x: Flat) -> Any:
        matrix = np.stack([product(x, unit) for unit in units])
        return 0.5 * (matrix + matrix.T)

    return hessian


def _vector_function(space: _Space, ys: Any, who: str) -> tuple[Function, Function]:
    """Tensors as one vector, and its Jacobian."""
    tensors = _tensors(ys)
    for t in tensors:
        if not t.dtype.is_inexact:
            raise ValueError(f"{who}: {t!r} holds no floating numbers")
    if not tensors:
        raise ValueError(f"{who}: no tensors were given")
    run = space.compile(tensors)

    def fun(x: Flat) -> Flat:
        return np.concatenate([_reals(a) for a in run(x)])

    return fun, _jacobian(space, tensors, run)


def _jacobian(space: _Space, ys: Sequence[Tensor], run: Function) -> Function:
    """``f(x)``: the Jacobian of all ys in one vector, (their elements, x's).

    By rows (reverse mode) where ys have fewer elements than x, else by columns.
    """
    values = [np.asarray(a) for a in run(space.start)]
    ends = np.cumsum([_reals(a).size for a in values]).tolist()
    if ends[-1] < space.start.size:
        return _by_rows(space, ys, values)
    directions = space.directions()
    moved = jvp(list(ys), space.tensors, directions)
    columns = space.compile([t for t in moved if t is not None], directions)
    zeros = [np.zeros_like(a) for a in values]
    units = np.eye(space.start.size)

    def jacobian(x: Flat) -> Any:
        matrix = np.empty((ends[-1], space.start.size))
        for j, unit in enumerate(units):
            found = iter(columns(x, *space.unpack(unit)))
            parts = [z if t is None else next(found) for t, z in zip(moved, zeros)]
            matrix[:, j] = np.concatenate([_reals(p) for p in parts])
        return matrix

    return jacobian


def _by_rows(space: _Space, ys: Sequence[Tensor], values: Sequence[Any]) -> Function:
    """The Jacobian of few ys: one gradient per element."""
    parts = []
    for y, value in zip(ys, values):
        seed = _seed(space, y, value)
        grads = space.gradients(y, seed)
        run = space.compile([g for g in grads if g is not None], [seed])
        parts.append((run, [g is not None for g in grads], _units(value)))

    def jacobian(x: Flat) -> Any:
        rows = [space.pack(run(x, u), p) for run, p, units in parts for u in units]
        return np.array(rows)

    return jacobian


def _seed(space: _Space, y: Tensor, value: Any) -> Tensor:
    with space.graph.as_default(), space.graph.name_scope("optimize"):
        return placeholder(y.dtype, value.shape, name="seed")


def _units(like: Any) -> list[Any]:
    """Unit arrays of a shape and dtype: one per real number in it."""
    out = []
    for i in range(_reals(like).size):
        unit = np.zeros(like.shape, like.dtype)
        flat = unit.reshape(-1)
        flat.view(flat.real.dtype)[i] = 1
        out.append(unit)
    return out


def _constraints(space: _Space, given: Any, kind: str) -> list[Any]:
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
        fun, jacobian = _vector_function(space, c["fun"], "minimize: constraint")
        if any(t.dtype.is_complex for t in _tensors(c["fun"])):
            raise ValueError(f"minimize: the constraint {c['fun']!r} is complex")
        if kind == "trust-constr":
            upper = 0.0 if c["type"] == "eq" else np.inf
            made.append(
                _scipy().NonlinearConstraint(
                    fun, 0.0, upper, jac=jacobian, hess=_curvature(space, c["fun"])
                )
            )
        else:
            made.append({"type": c["type"], "fun": fun, "jac": jacobian})
    return made


def _curvature(space: _Space, ys: Any) -> Function:
    """``f(x, v)``: the Hessian of <v, ys> as a linear operator."""
    from scipy.sparse.linalg import LinearOperator

    tensors = _tensors(ys)
    values = [np.asarray(a) for a in space.compile(tensors)(space.start)]
    seeds = [_seed(space, y, a) for y, a in zip(tensors, values)]
    grads = space.gradients(tensors, seeds)
    found = [g for g in grads if g is not None]
    product = _along(space, found, [g is not None for g in grads], seeds)
    ends = np.cumsum([a.size for a in values]).tolist()
    size = space.start.size

    def hessian(x: Flat, v: Flat) -> Any:
        parts = [
            np.asarray(p, a.dtype).reshape(a.shape)
            for p, a in zip(np.split(v, ends[:-1]), values)
        ]
        return LinearOperator((size, size), matvec=lambda d: product(x, d, *parts))

    return hessian
