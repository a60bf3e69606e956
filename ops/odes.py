"""Ordinary differential equations: odeint, and its two kinds of derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.dtypes import DType, float64, promote
from ..graphlib.errors import (
    DTypeError,
    InvalidArgumentError,
    ShapeError,
)
from ..graphlib.operation import Operation
from ..graphlib.shapes import compatible, text
from ..graphlib.source import entry
from ..graphlib.stacks import home
from ..graphlib.subgraph import Body
from ..graphlib.tensor import Tensor, as_tensor
from ._bodies import copy_into
from ._build import shape_tensor
from ._nest import assert_same, flatten, pack
from ._rosenbrock import Rodas
from ._runge_kutta import EMBEDDED, FIXED, Control, Found, adaptive, fixed, over_rows
from .complexes import conj, real
from .core import cast, identity, ones_like, stop_gradient, zeros_like
from .extremes import reduce_all
from .implicit import (
    Rule,
    check_functions,
    pulled,
    pushed,
    scope_of,
    solution,
    traced,
)
from .joining import concat, stack
from .logical import greater_equal
from .looping import map_rows
from .reduction import reduce_sum
from .rounding import sign
from .solvers import ensure, flat, real_dtype, sections, unflat
from .views import reshape, transpose

__all__ = ["odeint"]

_ADAPTIVE: dict[str, Any] = {**EMBEDDED, "rodas": Rodas()}
_OPTIONS = {
    "adaptive": (
        "checkpoint_every",
        "dfactor",
        "first_step",
        "ifactor",
        "max_num_steps",
        "safety",
    ),
    "fixed": ("checkpoint_every", "step_size"),
}


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    rtol: float = 1e-6,
    atol: float = 1e-12,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    full_output: bool = False,
    name: str | None = None,
    gradient: str = "auto",
) -> Any:
    """y(t_i) for dy/dt = func(y, t), y(t_0) = y0.

    Args:
        func: ``f(y, t) -> dy/dt``, of the structure, shapes and dtypes of y; t is a
            scalar.  It may read any tensor or variable around it.
        y0: a floating or complex tensor, or any nesting of them.
        t: (n,), n > 0, floating: t_0 and the times at which y is wanted, increasing
            or decreasing.
        rtol, atol: of the local error, for adaptive methods: a step is accepted where
            the root mean square of error / (atol + rtol |y|) is 1 at most.
        method: ``"dopri5"`` (default) or ``"tsit5"``: of order 5, with steps of
            controlled size and an interpolant of order 4; ``"rodas"``: of order 4
            (interpolant 3), linearly implicit, for stiff equations; ``"rk4"``,
            ``"midpoint"`` or ``"euler"``: with fixed steps.
        options: for adaptive methods ``first_step`` (default: estimated), ``safety``
            (0.9), ``dfactor`` and ``ifactor`` (a step is between 0.2 and 10 times the
            last one), ``max_num_steps`` (100,000); for fixed steps ``step_size``, a
            scalar or one for each interval of t: the interval is divided into equal
            steps that are no longer (default: one step); for all
            ``checkpoint_every``: see below.
        full_output: return (y, info) too, where info has the integers
            ``"num_func_evals"``, ``"num_steps"`` and ``"num_rejected"`` (adaptive
            methods only).
        name: the scope of the operations.
        gradient: ``"discrete"`` (``"auto"``): the derivatives of what is computed, by
            going through the loop, with respect to y0, t and all that func reads, to
            any order, in both modes.  The sizes of steps count as constants (they are
            no smooth functions).  Reverse mode keeps what it reads of each step, or,
            with the option ``checkpoint_every`` (see ``while_loop``), of some steps,
            for one more forward pass.
            ``"adjoint"``: the derivatives of the exact solution, themselves the
            solutions of differential equations that are solved to the same tolerances:
            in reverse mode backward in time for y and its adjoint at once, from one
            y(t_i) to the one before, with nothing kept but the y(t_i); in forward
            mode together with y.  They agree with differences of the result only up
            to the tolerances, and y is integrated backward: where the equation damps
            strongly (is stiff), that loses accuracy or is impossible.

    Returns:
        y(t_i), with a leading axis n, in the structure of y0.

    Raises:
        ShapeError, DTypeError, ValueError: func returns something that is not as y.
        InvalidArgumentError: an unknown method or option; during a run: t is not
            monotone, too many steps, or a step that became too small.
        GraphError: with ``"adjoint"``, func draws random numbers or has an effect.

    Cost: 6 evaluations of func for each step (dopri5, tsit5), 4 (rk4), 2, 1; for
    rodas 6, one Jacobian (not counted by ``full_output``) and one inverse of it.

    Example:
        >>> import dagrad as tf
        >>> rate = tf.constant(0.5, tf.float64)
        >>> y = tf.odeint(
        ...     lambda y, t: -rate * y, tf.constant(1.0, tf.float64), [0.0, 1.0, 2.0])
        >>> slope = tf.gradients(y[2], rate)[0]  # of exp(-2 rate): -2 / e
        >>> with tf.Session() as session:
        ...     print(*np.round(session.run([y[2], slope]), 5))
        0.36788 -0.73576

    Reference:
        Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (methods,
        control of steps) and II (rodas); Tsitouras (2011) for tsit5; Chen, Rubanova,
        Bettencourt & Duvenaud, Neural ordinary differential equations (2018) for the
        adjoint; Eberhard & Bischof, Automatic differentiation of numerical integration
        algorithms (1999) for steps as constants.
    """
    check_functions(func=func)
    leaves = [as_tensor(v) for v in flatten(y0)]
    times = _times(t, leaves)
    with scope_of([*leaves, times], name or "odeint") as scope:
        who = f'odeint "{scope[:-1]}"'
        vector = method in _ADAPTIVE and _ADAPTIVE[method].flat
        problem = _Problem(func, pack(y0, leaves), who, vector)
        solver = _solver(method or "dopri5", rtol, atol, dict(options or {}), who)
        if gradient in ("auto", "discrete"):
            found = solver(problem.field, problem.start, times)
        elif gradient == "adjoint":
            found = _with_adjoint(problem.field, problem.start, times, solver)
        else:
            raise InvalidArgumentError(
                f"{entry()}gradient must be 'auto', 'discrete' or 'adjoint', not "
                f"{gradient!r}"
            )
        ys = problem.unpacked(found.ys)
        if not full_output:
            return ys
        if found.tried is None:
            raise InvalidArgumentError(
                f"{entry()}{who}: full_output is for adaptive methods"
            )
        info = {
            "num_func_evals": found.tried * 6 + 2,
            "num_steps": found.accepted,
            "num_rejected": found.tried - found.accepted,
        }
        return ys, info


def _times(t: Any, leaves: Sequence[Tensor]) -> Tensor:
    """The times, in the precision of y where they are plain numbers."""
    for leaf in leaves:
        if not leaf.dtype.is_inexact:
            raise DTypeError(
                f"{entry()}y0 must be floating or complex, not {leaf.dtype.name} "
                f"({leaf.op.defined_at()})"
            )
    if not leaves:
        raise ValueError(f"{entry()}y0 holds no tensor")
    plain = not (
        isinstance(t, (Tensor, np.ndarray, np.generic)) or hasattr(t, "_as_tensor")
    )
    times = as_tensor(t, real_dtype(leaves) if plain else None)
    if times.dtype.is_integer:
        times = cast(times, float64)
    if not times.dtype.is_floating:
        raise DTypeError(f"{entry()}t must be floating, not {times!r}")
    if times.dims is not None and (len(times.dims) != 1 or times.dims[0] == 0):
        raise ShapeError(
            f"{entry()}t must be a vector of one time or more, not of shape "
            f"{text(times.dims)}"
        )
    return times


class _Problem:
    """An equation for a structure as one for a single tensor."""

    def __init__(
        self, func: Callable[..., Any], y0: Any, who: str, vector: bool
    ) -> None:
        self.func = func
        self.structure = y0
        self.leaves: list[Tensor] = flatten(y0)
        self.who = who
        # One tensor of known rank stays as it is, where the method does not mind; else
        # all are one vector.
        known = self.leaves[0].dims
        self.single = len(self.leaves) == 1 and known is not None
        if vector and known is not None and len(known) != 1:
            self.single = False
        self.dtype: DType = self.leaves[0].dtype
        for t in self.leaves[1:]:
            self.dtype = promote(self.dtype, t.dtype)
        self.start = self.leaves[0] if self.single else flat(y0, self.dtype)

    def field(self, y: Tensor, t: Tensor) -> Tensor:
        """dy/dt."""
        single = self.single
        state = pack(self.structure, [y]) if single else unflat(y, self.structure)
        made = self.func(state, t)
        assert_same(
            self.structure, made, f"{entry()}{self.who}: func(y, t) and y differ"
        )
        parts = []
        for value, like in zip(flatten(made), self.leaves):
            plain = not (isinstance(value, Tensor) or hasattr(value, "_as_tensor"))
            k = as_tensor(value, like.dtype if plain else None)
            if k.dtype is not like.dtype:
                raise DTypeError(
                    f"{entry()}{self.who}: func(y, t) is {k.dtype.name} "
                    f"({k.op.defined_at()}), but y is {like.dtype.name}: use "
                    "dagrad.cast"
                )
            if not compatible(k.dims, like.dims):
                raise ShapeError(
                    f"{entry()}{self.who}: func(y, t) has shape {text(k.dims)} "
                    f"({k.op.defined_at()}), but y has {text(like.dims)}"
                )
            parts.append(k)
        if self.single:
            return parts[0]
        return flat(pack(self.structure, parts), self.dtype)

    def unpacked(self, ys: Tensor) -> Any:
        """(n, ...) as the structure of y."""
        if self.single:
            return pack(self.structure, [ys])
        rows = []
        for part, like in zip(_columns(ys, self.leaves), self.leaves):
            rows.append(cast(_shaped(part, like), like.dtype))
        return pack(self.structure, rows)


def _columns(ys: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The columns of ys that belong to each leaf."""
    return [transpose(part) for part in sections(transpose(ys), leaves)]


def _shaped(columns: Tensor, like: Tensor) -> Tensor:
    """(n, size) as (n, ...), the shapes of ``like``."""
    sizes = concat([shape_tensor(columns)[:1], shape_tensor(like)], 0)
    shaped = reshape(columns, sizes)
    if like.dims is not None:
        shaped.set_shape((None, *like.dims))
    return shaped


Solver = Callable[[Callable[..., Tensor], Tensor, Tensor], Found]


def _solver(
    method: str, rtol: Any, atol: Any, options: dict[str, Any], who: str
) -> Solver:
    """``solve(field, y0, t) -> Found``, with y at all t."""
    if method not in _ADAPTIVE and method not in FIXED:
        known = ", ".join([*_ADAPTIVE, *FIXED])
        raise InvalidArgumentError(
            f"{entry()}{who}: method {method!r} is none of {known}"
        )
    allowed = _OPTIONS["adaptive" if method in _ADAPTIVE else "fixed"]
    for key in options:
        if key not in allowed:
            raise InvalidArgumentError(
                f"{entry()}{who}: {method} has no option {key!r}; it has "
                f"{', '.join(allowed)}"
            )
    every = options.get("checkpoint_every")

    def solve(field: Callable[..., Tensor], y0: Tensor, t: Tensor) -> Found:
        now = stop_gradient(t)
        steps = now[1:] - now[:-1]
        t = ensure(
            reduce_all(greater_equal(steps * sign(now[-1] - now[0]), 0.0)),
            t,
            f"{who}: t must be increasing or decreasing",
        )
        if method in FIXED:
            size = options.get("step_size")
            ys = fixed(field, y0, t, FIXED[method], size, every, who)
            found = Found(ys, None, None)
        else:
            control = Control(
                rtol,
                atol,
                options.get("first_step"),
                options.get("safety", 0.9),
                options.get("dfactor", 0.2),
                options.get("ifactor", 10.0),
                options.get("max_num_steps", 100_000),
                every,
            )
            found = adaptive(field, y0, t, _ADAPTIVE[method], control, who)
        ys = concat([y0[None], found.ys], 0)
        if t.dims is not None and y0.dims is not None:
            ys.set_shape((t.dims[0], *y0.dims))
        return found._replace(ys=ys)

    return solve


# -- the continuous adjoint ------------------------------------------------------------


def _with_adjoint(
    field: Callable[..., Tensor], y0: Tensor, t: Tensor, solver: Solver
) -> Found:
    """The solution as a node whose derivatives are solutions again."""
    body, given = traced(lambda ins: [field(*ins)], [y0, t[0]], "odeint")
    found = solver(field, stop_gradient(y0), stop_gradient(t))
    (ys,) = solution([found.ys], [y0, t, *given], _Adjoint(body, solver))
    return found._replace(ys=ys)


class _Adjoint(Rule):
    """The derivatives of the solution, as functions of time.

    The inputs of the node are y(t_i), y0, t and what the equation reads.
    """

    def __init__(self, body: Body, solver: Solver) -> None:
        super().__init__(body)
        self.solver = solver

    def slope(
        self, y: Tensor, t: Tensor, given: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """f(y, t), and y, t and the inexact of what f reads as it depends on them."""
        mine = [identity(x) if x.dtype.is_inexact else x for x in (y, t, *given)]
        graph = home(y.op.graph)
        (made,) = copy_into(graph, self.body, mine, graph._local.context.scope)
        return made, [x for x in mine if x.dtype.is_inexact]

    def vjp(self, op: Operation, gs: Sequence[Tensor | None]) -> list[Any]:
        """Backward from each t_i to t_(i-1), where y̅(t_i) is added to the adjoint a:

        da/dt = -(∂f/∂y)ᵀ a, dp̅/dt = -(∂f/∂p)ᵀ a; t̅_i = y̅(t_i)ᵀ f, t̅_0 = -a(t_0)ᵀ f.
        """
        (g,) = gs
        if g is None:
            return [None] * len(op.inputs)
        (ys,), t, given = op.outputs, op.inputs[2], op.inputs[3:]
        wanted = [x for x in given if x.dtype.is_inexact]

        def back(
            state: list[Tensor], rows: list[Tensor]
        ) -> tuple[list[Tensor], Tensor]:
            adjoint, *sums = state
            y, g, now, before = rows
            adjoint = adjoint + g
            whole = [y, adjoint, *[zeros_like(x) for x in wanted]]

            def field(packed: Tensor, at: Tensor) -> Tensor:
                y, a, *_ = unflat(packed, whole)
                made, sources = self.slope(y, at, given)
                by_y, _, *by_given = pulled([made], [a], sources)
                moved = [made, *[-x for x in (by_y, *by_given)]]
                return flat(moved, packed.dtype)

            start = flat(whole, _widest(whole))
            end = _solved_to(self.solver, field, start, now, before)
            _, adjoint, *parts = unflat(end, whole)
            sums = [s + p for s, p in zip(sums, parts)]
            made, _ = self.slope(y, now, given)
            return [adjoint, *sums], _inner(g, made, t.dtype)

        start = [zeros_like(op.inputs[1]), *[zeros_like(x) for x in wanted]]
        rows = [x[::-1] for x in (ys[1:], g[1:], t[1:], t[:-1])]
        (adjoint, *sums), slopes = over_rows(rows, start, back, op.describe())
        made, _ = self.slope(ys[0], t[0], given)
        first = -_inner(adjoint, made, t.dtype)
        by_t = concat([first[None], slopes[::-1]], 0)
        found = iter(sums)
        by_given = [next(found) if x.dtype.is_inexact else None for x in given]
        return [None, adjoint + g[0], by_t, *by_given]

    def jvp(
        self, op: Operation, ts: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """dẏ/dt = ∂f/∂y ẏ + ∂f/∂p ṗ beside y, and f ṫ_i where times move."""
        _, d_y0, d_t, *d_given = ts
        if all(x is None for x in (d_y0, d_t, *d_given)):
            return [None]
        (ys,), y0, t, given = op.outputs, *op.inputs[1:3], op.inputs[3:]
        moved = zeros_like(y0) if d_y0 is None else d_y0
        if d_t is not None:
            at_start, _ = self.slope(y0, t[0], given)
            moved = moved - at_start * cast(d_t[0], y0.dtype)
        both = [y0, moved]
        still = [x for x, d in zip(given, d_given) if x.dtype.is_inexact]
        tangents = [d for x, d in zip(given, d_given) if x.dtype.is_inexact]

        def field(packed: Tensor, at: Tensor) -> Tensor:
            y, d = unflat(packed, both)
            made, (y, _, *sources) = self.slope(y, at, given)
            assert len(sources) == len(still)
            (change,) = pushed([made], [y, *sources], [d, *tangents])
            return flat([made, change], packed.dtype)

        found = _with_adjoint(field, flat(both, _widest(both)), t, self.solver)
        _, change = _columns(found.ys, both)
        result = _shaped(change, y0)
        if d_t is not None:
            (slopes,) = map_rows(lambda y, at: self.slope(y, at, given)[0], [ys, t])
            ones = concat([shape_tensor(t), ones_like(shape_tensor(y0))], 0)
            result = result + slopes * reshape(cast(d_t, ys.dtype), ones)
        result.set_shape(ys.dims)
        return [result]


def _widest(tensors: Sequence[Tensor]) -> DType:
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        dtype = promote(dtype, t.dtype)
    return dtype


def _solved_to(
    solver: Solver,
    field: Callable[..., Tensor],
    start: Tensor,
    now: Tensor,
    then: Tensor,
) -> Tensor:
    """The solution at ``then``, which starts at ``now``."""
    found = _with_adjoint(field, start, stack([now, then]), solver)
    return found.ys[1]


def _inner(g: Tensor, slope: Tensor, dtype: DType) -> Tensor:
    """Re <g, slope>: the cotangent of a time."""
    if g.dtype.is_complex:
        return cast(reduce_sum(real(conj(g) * slope)), dtype)
    return cast(reduce_sum(g * slope), dtype)
