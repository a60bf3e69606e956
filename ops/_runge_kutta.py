"""Explicit Runge-Kutta methods: their coefficients, a step, control of its size.

Reference:
    Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, 2nd ed.,
    sections II.4 to II.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graphlib.graph import get_default_graph
from ..graphlib.tensor import Tensor, as_tensor
from ._build import constant
from ._loop import Parts
from ._tracing import Carries, trace
from .clipping import clip_by_value
from .core import cast, size, stop_gradient, zeros_like
from .einsum import tensordot
from .elementwise import square
from .joining import stack
from .logical import (
    equal,
    greater,
    is_finite,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    where_v2,
)
from .looping import while_loop
from .loops import loop
from .powers import pow_, sqrt
from .reduction import reduce_sum
from .rounding import abs_, ceil, maximum, minimum, sign
from .solvers import ensure

__all__ = ["EMBEDDED", "FIXED", "Control", "adaptive", "fixed"]

Field = Callable[[Tensor, Tensor], Tensor]


# -- methods --------------------------------------------------------------------------


class Tableau(NamedTuple):
    """A method: k_i = f(y + h Σ_j a_ij k_j, t + c_i h).

    Attributes:
        order: of the result, y + h Σ b_i k_i.
        a: the rows of the stages from the second on.  For an adaptive method the
            last row is b, so that its last stage is the first one of the next step.
        b: the weights of the result.
        e: the weights of the estimated error, of an adaptive method.
        p: (stages, powers) weights of the dense output: inside a step
            y(t + θ h) = y + h Σ_i k_i Σ_j p_ij θ^(j+1).
    """

    order: int
    a: Sequence[Sequence[float]]
    b: Sequence[float]
    e: Sequence[float] = ()
    p: Any = None

    @property
    def c(self) -> list[float]:
        """Where in a step the stages from the second on are."""
        return [sum(row) for row in self.a]


def _dopri5() -> Tableau:
    b = (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
    a = (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        b,
    )
    e = (
        71 / 57600,
        0,
        -71 / 16695,
        71 / 1920,
        -17253 / 339200,
        22 / 525,
        -1 / 40,
    )
    # Shampine's, of fourth order: rcont5 of Hairer, Nørsett & Wanner's dopri5.
    d = np.array(
        [
            -12715105075 / 11282082432,
            0,
            87487479700 / 32700410799,
            -10690763975 / 1880347072,
            701980252875 / 199316789632,
            -1453857185 / 822651844,
            69997945 / 29380423,
        ]
    )
    first, last, whole = np.eye(7)[0], np.eye(7)[6], np.array([*b, 0.0])
    # θ whole + θ(1-θ) bend + θ²(1-θ) turn + θ²(1-θ)² d, by powers of θ.
    bend, turn = first - whole, 2.0 * whole - last - first
    p = np.stack([whole + bend, turn + d - bend, -turn - 2.0 * d, d], axis=1)
    return Tableau(5, a, (*b, 0.0), e, p)


def _tsit5() -> Tableau:
    b = (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    )
    a = (
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (
            5.325864828439257,
            -11.748883564062828,
            7.4955393428898365,
            -0.09249506636175525,
        ),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
        b,
    )
    e = (
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        1 / 66,
    )

    def quartic(scale: float, square: Sequence[float]) -> list[float]:
        """scale θ² (θ² + s_1 θ + s_0), by powers of θ from the first on."""
        return [0.0, scale * square[1], scale * square[0], scale]

    def roots(r: float, s: float) -> tuple[float, float]:
        return -(r + s), r * s

    u, v, w = -1.3299890189751412, -1.4364028541716351, 0.7139816917074209
    lead = -1.0530884977290216
    p = np.array(
        [
            [lead * u * w, lead * (w + u * v), lead * (u + v), lead],
            quartic(0.1017, (-2.1966568338249754, 1.2949852507374631)),
            quartic(2.490627285651252793, (-2.38535645472061657, 1.57803468208092486)),
            quartic(
                -16.54810288924490272, roots(1.21712927295533244, 0.61620406037800089)
            ),
            quartic(
                47.37952196281928122, roots(1.203071208372362603, 0.658047292653547382)
            ),
            quartic(-34.87065786149660974, roots(1.2, 0.666666666666666667)),
            quartic(2.5, roots(1.0, 0.6)),
        ]
    )
    return Tableau(5, a, (*b, 0.0), e, p)


class Attempt(NamedTuple):
    """What one step makes.

    Attributes:
        y: the result.
        error: the estimated error of it.
        kept: what the dense output reads.
        slope: f at the end.
    """

    y: Tensor
    error: Tensor
    kept: Sequence[Tensor]
    slope: Tensor


class Embedded:
    """An explicit method with an estimate of its error and a dense output."""

    flat = False  # whether y must be a vector

    def __init__(self, tableau: Tableau) -> None:
        self.tableau = tableau
        self.order = tableau.order
        self.kept = len(tableau.b)

    def attempt(
        self, f: Field, y: Tensor, t: Tensor, h: Tensor, slope: Tensor
    ) -> Attempt:
        """A step from y at t, where f is ``slope``."""
        tableau = self.tableau
        ks = _stages(f, y, t, h, slope, tableau)
        step = cast(h, y.dtype)
        new = y + step * _weighted(ks, tableau.b)
        return Attempt(new, step * _weighted(ks, tableau.e), ks, ks[-1])

    def between(self, theta: Tensor, y: Tensor, h: Tensor, kept: Tensor) -> Tensor:
        """y(t + theta h) inside of a step from y at t."""
        powers = cast(stack([theta, theta**2, theta**3, theta**4]), y.dtype)
        weights = constant(self.tableau.p, np.dtype(y.dtype.dtype))
        slopes = tensordot(tensordot(weights, powers, 1), kept, 1)
        return y + cast(h, y.dtype) * slopes


EMBEDDED = {"dopri5": Embedded(_dopri5()), "tsit5": Embedded(_tsit5())}
FIXED = {
    "euler": Tableau(1, (), (1.0,)),
    "midpoint": Tableau(2, ((0.5,),), (0.0, 1.0)),
    "rk4": Tableau(
        4, ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)
    ),
}


# -- a step ---------------------------------------------------------------------------


def _weighted(ks: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ w_i k_i."""
    total: Tensor | None = None
    for k, w in zip(ks, weights):
        if w == 0:
            continue
        term = k * w
        total = term if total is None else total + term
    assert total is not None
    return total


def _stages(
    f: Field, y: Tensor, t: Tensor, h: Tensor, first: Tensor, method: Tableau
) -> list[Tensor]:
    step = cast(h, y.dtype)
    ks = [first]
    for row, c in zip(method.a, method.c):
        at = y + step * _weighted(ks, row)
        ks.append(f(at, t + h * c if c != 1.0 else t + h))
    return ks


def fixed_step(f: Field, y: Tensor, t: Tensor, h: Tensor, method: Tableau) -> Tensor:
    """y(t + h) by one step."""
    ks = _stages(f, y, t, h, f(y, t), method)
    return y + cast(h, y.dtype) * _weighted(ks, method.b)


# -- over the times that are asked for ------------------------------------------------


def over_rows(
    rows: Sequence[Tensor],
    start: Sequence[Tensor],
    build: Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], Tensor]],
    who: str,
) -> tuple[list[Tensor], Tensor]:
    """A scan that stacks one result only: (the last state, what was stacked).

    ``build(state, rows) -> (new state, result)``.
    """
    outer = get_default_graph()
    with outer.name_scope("times") as scope:
        carries = Carries(list(start), who)
        specs = [(r.dtype, None if r.dims is None else r.dims[1:]) for r in rows]

        def body(
            graph: Any, ins: list[Tensor], given: list[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            state, made = build(ins, given)
            return carries.tensors(state), [made]

        traced = trace(outer, scope, who, carries, specs, body)
        with outer.control_dependencies(traced.controls):
            op = loop(traced.body, carries.inits, list(rows), traced.rest)
        parts = Parts(op)
        return list(parts.finals), parts.stacks[0]


def fixed(
    f: Field,
    y: Tensor,
    t: Tensor,
    method: Tableau,
    step_size: Any,
    checkpoint_every: Any,
    who: str,
) -> Tensor:
    """y at the times t[1:], by steps of one size between two of them."""

    rows = [t[:-1], t[1:]]
    if step_size is not None:
        rows.append(cast(as_tensor(step_size), t.dtype) + zeros_like(t[1:]))

    def build(state: list[Tensor], rows: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        (y,), (t0, t1) = state, rows[:2]
        if len(rows) == 2:
            y = fixed_step(f, y, t0, t1 - t0, method)
            return [y], y
        # A little less, so that rounding does not add a step.
        count = maximum(ceil(abs_((t1 - t0) / rows[2]) * (1.0 - 1e-5)), 1.0)
        count = stop_gradient(count)
        h = (t1 - t0) / count

        def step(i: Tensor, y: Tensor) -> Any:
            return i + 1.0, fixed_step(f, y, t0 + i * h, h, method)

        _, y = while_loop(
            lambda i, y: less(i, count),
            step,
            (zeros_like(count), y),
            checkpoint_every=checkpoint_every,
        )
        return [y], y

    _, ys = over_rows(rows, [y], build, who)
    return ys


class Control(NamedTuple):
    """How steps are chosen.

    Attributes:
        rtol, atol: a step is accepted where the estimated error, divided by
            atol + rtol |y| for each element, has a root mean square of 1 at most.
        first_step: its size (None: it is estimated).
        safety, shrink, grow: the next step is this times what would be just good
            enough, and between ``shrink`` and ``grow`` times the last one.
        max_num_steps: an error after so many, rejected ones among them.
        checkpoint_every: see ``while_loop``.
    """

    rtol: Any
    atol: Any
    first_step: Any = None
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 10.0
    max_num_steps: int = 100_000
    checkpoint_every: Any = None


def _rms(e: Tensor, scale: Tensor) -> Tensor:
    """The root mean square of e / scale; 0 for an empty e."""
    ratio = abs_(e) / scale
    count = maximum(cast(size(e), ratio.dtype), 1.0)
    return sqrt(reduce_sum(square(ratio)) / count)


def _first_step(
    f: Field, y: Tensor, t: Tensor, k: Tensor, direction: Tensor, control: Control
) -> Tensor:
    """Hairer, Nørsett & Wanner, section II.4: a guess from two slopes."""
    if control.first_step is not None:
        return abs_(cast(as_tensor(control.first_step), t.dtype))
    scale = control.atol + abs_(y) * control.rtol
    d0, d1 = _rms(y, scale), _rms(k, scale)
    small = logical_or(less(d0, 1e-5), less(d1, 1e-5))
    one = where_v2(equal(d1, 0.0), 1.0, d1)
    h0 = where_v2(small, 1e-6, 0.01 * d0 / one)
    at = y + cast(direction, y.dtype) * cast(h0, y.dtype) * k
    d2 = _rms(f(at, t + direction * cast(h0, t.dtype)) - k, scale) / h0
    most = maximum(d1, d2)
    flat = less_equal(most, 1e-15)
    h1 = where_v2(
        flat, maximum(1e-6, h0 * 1e-3), pow_(0.01 / where_v2(flat, 1.0, most), 0.2)
    )
    h = minimum(100.0 * h0, h1)
    return cast(where_v2(is_finite(h), h, 1e-6), t.dtype)


class _State(NamedTuple):
    """Where an integration is.

    The last step went from ``t0`` by ``dt`` to ``t1``, from ``y0`` to ``y1``; ``kept``
    (rows, ...) is what its dense output reads, and ``slope`` is f at its end.
    """

    t0: Tensor
    dt: Tensor
    y0: Tensor
    kept: Tensor
    t1: Tensor
    y1: Tensor
    slope: Tensor
    h: Tensor  # what to try next
    error: Tensor  # of the last accepted step
    fresh: Tensor  # the last step was accepted
    stuck: Tensor  # h does not change t any more
    tried: Tensor
    accepted: Tensor


class Found(NamedTuple):
    """The result of :func:`adaptive`."""

    ys: Tensor
    tried: Tensor | None = None
    accepted: Tensor | None = None


def adaptive(
    f: Field, y: Tensor, t: Tensor, method: Any, control: Control, who: str
) -> Found:
    """y at the times t[1:], by steps of sizes that follow the estimated error."""
    eps = float(np.finfo(t.dtype.dtype).eps)
    last = stop_gradient(t[-1])
    direction = sign(last - stop_gradient(t[0]))
    slope = f(y, t[0])
    first = stop_gradient(
        _first_step(
            lambda y, t: stop_gradient(f(y, t)),
            stop_gradient(y),
            stop_gradient(t[0]),
            stop_gradient(slope),
            direction,
            control,
        )
    )

    def tiny(now: Tensor) -> Tensor:
        """A step that leads nowhere."""
        return eps * maximum(4.0 * abs_(now), eps * abs_(last))

    def step(*given: Any) -> Any:
        s = _State(*given)
        now = stop_gradient(s.t1)
        left = direction * (last - now)
        size = minimum(s.h, left)
        dt = direction * size
        made = method.attempt(f, s.y1, s.t1, dt, s.slope)
        e, a, b = (stop_gradient(x) for x in (made.error, s.y1, made.y))
        scale = control.atol + maximum(abs_(a), abs_(b)) * control.rtol
        error = cast(_rms(e, scale), t.dtype)
        ok = less_equal(error, 1.0)
        factor = _factor(error, s.error, s.fresh, ok, float(method.order), control)

        def chosen(a: Tensor, b: Tensor) -> Tensor:
            return where_v2(ok, a, b)

        return _State(
            chosen(s.t1, s.t0),
            chosen(dt, s.dt),
            chosen(s.y1, s.y0),
            chosen(stack(made.kept), s.kept),
            chosen(s.t1 + dt, s.t1),
            chosen(made.y, s.y1),
            chosen(made.slope, s.slope),
            size * factor,
            chosen(maximum(error, 1e-4), s.error),
            ok,
            logical_and(logical_not(ok), less_equal(size * factor, tiny(now))),
            s.tried + 1,
            s.accepted + cast(ok, s.accepted.dtype),
        )

    def build(state: list[Tensor], rows: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        (target,) = rows
        goal = stop_gradient(target)

        def before(*given: Any) -> Tensor:
            s = _State(*given)
            now = stop_gradient(s.t1)
            slack = 4.0 * eps * maximum(abs_(now), abs_(goal))
            on = logical_and(logical_not(s.stuck), less(s.tried, limit))
            return logical_and(on, greater(direction * (goal - now), slack))

        done = while_loop(
            before, step, tuple(state), checkpoint_every=control.checkpoint_every
        )
        s = _State(*done)
        theta = (target - s.t0) / s.dt
        return list(s), method.between(theta, s.y0, s.dt, s.kept)

    limit = constant(control.max_num_steps)
    start = _State(
        t[0],
        constant(1.0, t.dtype),
        y,
        zeros_like(stack([slope] * method.kept)),
        t[0],
        y,
        slope,
        first,
        constant(1.0, t.dtype),
        constant(True),
        constant(False),
        constant(0),
        constant(0),
    )
    finals, ys = over_rows([t[1:]], list(start), build, who)
    s = _State(*finals)
    ys = ensure(
        logical_not(s.stuck),
        ys,
        f"{who}: the step became too small to change t: the solution is singular or "
        "not a number there, or the tolerances are too tight for the dtype",
    )
    left = direction * (last - stop_gradient(s.t1))
    ys = ensure(
        less_equal(left, 4.0 * eps * abs_(last)),
        ys,
        f"{who}: {control.max_num_steps} steps are not enough: allow more "
        "(options={'max_num_steps': ...}), ask for less (rtol=, atol=), or, if the "
        "equation is stiff, take method='rodas'",
    )
    return Found(ys, s.tried, s.accepted)


def _factor(
    error: Tensor,
    before: Tensor,
    fresh: Tensor,
    ok: Tensor,
    order: float,
    control: Control,
) -> Tensor:
    """By how much to change a step: PI control (Hairer & Wanner II, section IV.2)."""
    beta = 0.04
    alpha = 1.0 / order - 0.75 * beta
    floor = maximum(error, 1e-10)
    good = control.safety * pow_(floor, -alpha) * pow_(before, beta)
    good = clip_by_value(good, control.shrink, control.grow)
    # No growth right after a rejected step.
    good = where_v2(fresh, good, minimum(good, 1.0))
    bad = maximum(control.safety * pow_(floor, -1.0 / order), control.shrink)
    bad = where_v2(is_finite(bad), bad, control.shrink)
    return where_v2(ok, good, minimum(bad, 1.0))
