"""Derivatives against differences: :func:`check_grads`, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .graphlib.collecting import once
from .graphlib.forward import jvp
from .graphlib.gradients import _tensors, as_dense, gradients
from .graphlib.graph import Graph
from .graphlib.stacks import session_stack
from .graphlib.tensor import Tensor
from .ops.core import placeholder
from .runtime.feeds import expand, feed_key
from .runtime.session import Session

__all__ = [
    "central_difference",
    "check_grads",
    "inner_product",
    "random_directions",
]

# By the coarsest dtype involved: step of the differences, and the tolerance that
# their own error leaves (rounding over step, and the fourth power of the step).
_STEPS = {"float16": 2.0**-3, "float32": 2.0**-6, "float64": 2.0**-11}
_TOLERANCES = {"float16": 5e-2, "float32": 2e-3, "float64": 1e-6}
# The transposed identity compares two derivatives: rounding alone separates them.
_ROUNDING = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-10}
_MODES = {"fwd": "forward", "rev": "reverse"}


def inner_product(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Re(sum(conj(a) b)) over lists of arrays: complex numbers as pairs of reals."""
    return float(sum(np.sum(np.conj(x) * y).real for x, y in zip(a, b, strict=True)))


def random_directions(rng: np.random.Generator, like: Sequence[Any]) -> list[Any]:
    """Arrays of the shapes and dtypes of ``like``, uniform in [-1, 1] (both parts)."""
    out = []
    for a in like:
        d = rng.uniform(-1, 1, a.shape)
        if a.dtype.kind == "c":
            d = d + 1j * rng.uniform(-1, 1, a.shape)
        out.append(np.asarray(d, a.dtype))
    return out


def central_difference(at: Callable[[float], Sequence[Any]], step: float) -> list[Any]:
    """d/dh of the arrays ``at(h)`` at h = 0, with an error of order step^4.

    Args:
        at: gives the same number of arrays for any small h.
        step: h is -2, -1, 1 and 2 times this.

    Reference:
        Fornberg, Generation of finite difference formulas, Math. Comp. 51 (1988).
    """
    near = zip(at(step), at(-step))
    far = zip(at(2 * step), at(-2 * step))
    return [
        np.asarray((8 * (a - b) - (c - d)) / (12 * step))
        for (a, b), (c, d) in zip(near, far, strict=True)
    ]


def check_grads(
    f: Any,
    xs: Any,
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    seed: int = 0,
    feed_dict: Mapping[Any, Any] | None = None,
    session: Session | None = None,
) -> None:
    """Check the derivatives of ``f`` at ``xs`` against central differences.

    Along random directions t and v, the jvp J t is compared with differences of
    fourth order, <J^T v, t> of the gradients with <v, J t>, and the two modes with
    each other.  The same is then asked of both derivatives, as functions of xs, t
    and v, until ``order`` is reached: forward over reverse, reverse over forward
    and so on.  Complex numbers count as pairs of reals, in TF1's convention.

    >>> import dagrad as dg
    >>> from dagrad.testing import check_grads
    >>> check_grads(lambda x, y: dg.sin(x) * y, [np.ones(3), np.array(2.0)])

    Args:
        f: a function that takes one tensor per x and returns a tensor or a list of
            them, built in a graph of its own (in the session's, where one is
            given); or tensors of an existing graph.
        xs: arrays, or one; for tensors ``f``: tensors or variables of the same
            graph, checked at the values that they have under ``feed_dict``.
            Integer xs are held fixed.
        order: how many times to differentiate, at least 1.
        modes: "fwd", "rev" or both.
        atol, rtol: how far a derivative may be off: ``atol`` plus ``rtol`` times
            the largest number of the array (default 1e-6 in double, 2e-3 in
            single precision).
        eps: the step of the differences (default 2^-11, in single precision
            2^-6); f is evaluated up to 2 eps from xs.
        seed: of the random directions.
        feed_dict: values of further tensors that f needs.
        session: where variables have their values (default: the default session
            of the tensors' graph, else a new one).

    Raises:
        AssertionError: a derivative is wrong; the message says at which order, in
            which mode, for which output or input, and both numbers.
        ValueError: there is nothing to check, f is not the same in two runs (it
            draws random numbers), or a mode is unknown.

    At a kink (relu at 0) derivatives are what the ops say, and differences are
    not: choose xs at least 2 eps away from it.  The cost is a few runs of f and of
    its derivatives per x; the derivatives are built 2^order times, in the graph of
    ``f``, where a later call for the same tensors finds them.

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., section 3.2 for the
        identity <v, J t> = <J^T v, t>.
    """
    if order < 1:
        raise ValueError(f"check_grads: order {order} leaves nothing to check")
    unknown = [m for m in modes if m not in _MODES]
    if unknown or not modes:
        raise ValueError(f'check_grads: modes are "fwd" and "rev", not {modes!r}')
    case, session = _start(f, xs, feed_dict, session)
    precision = _precision([*case.ys, *case.xs])
    checker = _Checker(
        session,
        tuple(modes),
        _STEPS[precision] if eps is None else eps,
        _TOLERANCES[precision] if rtol is None else rtol,
        _TOLERANCES[precision] if atol is None else atol,
        _ROUNDING[precision],
        np.random.default_rng(seed),
    )
    checker.repeatable(case)
    cases = [case]
    for _ in range(order):
        cases = [derived for case in cases for derived in checker.check(case)]


class _Case(NamedTuple):
    """A function to check: ys of xs, at the values in ``feeds``."""

    ys: list[Tensor]
    xs: list[Tensor]
    feeds: dict[Tensor, Any]
    #: The modes that led here, the first one first.
    history: tuple[str, ...]


def _start(
    f: Any, xs: Any, feed_dict: Mapping[Any, Any] | None, session: Session | None
) -> tuple[_Case, Session]:
    """The first case, and the session that runs it."""
    xs = list(xs) if isinstance(xs, (list, tuple)) else [xs]
    if callable(f):
        arrays = [np.asarray(x) for x in xs]
        graph = Graph() if session is None else session.graph
        with graph.as_default():
            tensors = [placeholder(a.dtype, a.shape) for a in arrays]
            ys = _tensors(f(*tensors))
        session = Session(graph=graph) if session is None else session
        feeds = dict(zip(tensors, arrays))
    else:
        ys, tensors = _tensors(f), _tensors(xs)
        if not ys or not tensors:
            raise ValueError("check_grads: no ys or no xs were given")
        graph = ys[0].graph
        session = _session_of(graph) if session is None else session
        feeds = dict(zip(tensors, session.run(tensors, feed_dict)))
    for key, value in expand(feed_dict or {}):
        feeds.setdefault(feed_key(graph, key), value)
    floating = [t for t in tensors if t.dtype.is_inexact]
    results = [y for y in ys if y.dtype.is_inexact]
    if not floating or not results:
        raise ValueError(
            f"check_grads: nothing to differentiate: xs have dtypes "
            f"{[t.dtype.name for t in tensors]}, ys {[y.dtype.name for y in ys]}"
        )
    return _Case(results, floating, feeds, ()), session


def _session_of(graph: Graph) -> Session:
    """The default session, where it runs that graph, else a new one."""
    stack = session_stack()
    if stack and stack[-1].graph is graph:
        return stack[-1]  # type: ignore[no-any-return]
    return Session(graph=graph)


def _precision(tensors: Sequence[Tensor]) -> str:
    """The real dtype of the coarsest of ``tensors``."""
    reals = [np.finfo(t.dtype.dtype).dtype for t in tensors]
    return min(reals, key=lambda dtype: dtype.itemsize).name


class _Checker:
    """Checks one case after another in one session."""

    def __init__(
        self,
        session: Session,
        modes: tuple[str, ...],
        step: float,
        rtol: float,
        atol: float,
        rounding: float,
        rng: np.random.Generator,
    ) -> None:
        self.session = session
        self.modes = modes
        self.step = step
        self.rtol = rtol
        self.atol = atol
        self.rounding = rounding
        self.rng = rng

    def repeatable(self, case: _Case) -> None:
        """Raise unless two runs agree: differences of noise say nothing."""
        first = self.session.run(case.ys, case.feeds)
        second = self.session.run(case.ys, case.feeds)
        for y, a, b in zip(case.ys, first, second):
            if not np.array_equal(a, b, equal_nan=True):
                raise ValueError(
                    f"check_grads: two runs of {y.op.describe()} differ: it depends "
                    "on random draws or on state that the run changes; feed them"
                )

    def check(self, case: _Case) -> list[_Case]:
        """Check the first derivatives of a case; they are the next cases."""
        y_values = [np.asarray(v) for v in self.session.run(case.ys, case.feeds)]
        x_values = [np.asarray(case.feeds[x]) for x in case.xs]
        ts = random_directions(self.rng, x_values)
        vs = random_directions(self.rng, y_values)
        # One row per x: how each y moves when x alone goes along its direction.
        moves = [self.difference(case, x, t) for x, t in zip(case.xs, ts)]
        derived = []
        pushed: list[Any] | None = None
        if "fwd" in self.modes:
            after, pushed = self.forward(case, ts, y_values, moves)
            derived.append(after)
        if "rev" in self.modes:
            derived.append(self.reverse(case, ts, vs, moves, pushed))
        return [d for d in derived if d.ys]

    def difference(self, case: _Case, x: Tensor, t: Any) -> list[Any]:
        """dy/dh of every y where x moves along t, by differences."""

        def at(h: float) -> list[Any]:
            moved = np.asarray(case.feeds[x] + h * t, t.dtype)
            return list(self.session.run(case.ys, {**case.feeds, x: moved}))

        found = central_difference(at, self.step)
        for y, d in zip(case.ys, found):
            if not np.all(np.isfinite(d)):
                raise AssertionError(
                    f"check_grads: {y.name} is not finite within 2 * {self.step} of "
                    f"{x.name}: choose another point or a smaller eps"
                )
        return found

    def forward(
        self, case: _Case, ts: list[Any], y_values: list[Any], moves: list[list[Any]]
    ) -> tuple[_Case, list[Any]]:
        """Compare the jvp with differences; the jvp as the next case, its values."""

        def build() -> tuple[list[Tensor], list[Tensor | None]]:
            tangents = _placeholders(case.xs, ts)
            return tangents, jvp(case.ys, case.xs, tangents)

        tangents, pushed = _once("pushed", case, ts, build)
        feeds = {**case.feeds, **dict(zip(tangents, ts))}
        values = self.values(pushed, feeds, y_values)
        for i, (y, got) in enumerate(zip(case.ys, values)):
            want = sum(row[i] for row in moves)
            self.compare(
                got, want, f"{_where(case, 'fwd')}: jvp of output {i} ({y.name})"
            )
        found = [t for t in pushed if t is not None]
        history = (*case.history, "fwd")
        return _Case(found, case.xs + tangents, feeds, history), values

    def reverse(
        self,
        case: _Case,
        ts: list[Any],
        vs: list[Any],
        moves: list[list[Any]],
        pushed: list[Any] | None,
    ) -> _Case:
        """Compare gradients with differences; the gradients as the next case."""

        def build() -> tuple[list[Tensor], list[Tensor | None], list[Any]]:
            seeds = _placeholders(case.ys, vs)
            pulled = _dense(gradients(case.ys, case.xs, seeds))
            if len(seeds) == 1:
                return seeds, pulled, [pulled]
            each = [_dense(gradients(y, case.xs, s)) for y, s in zip(case.ys, seeds)]
            return seeds, pulled, each

        seeds, pulled, each = _once("pulled", case, vs, build)
        feeds = {**case.feeds, **dict(zip(seeds, vs))}
        for i, (y, v, alone) in enumerate(zip(case.ys, vs, each)):
            values = self.values(alone, feeds, ts)
            for j, (x, t, g, row) in enumerate(zip(case.xs, ts, values, moves)):
                what = (
                    f"{_where(case, 'rev')}: <J^T v, t> of output {i} ({y.name}) "
                    f"for input {j} ({x.name})"
                )
                if g.shape != t.shape:
                    raise AssertionError(
                        f"{what}: the gradient has shape {g.shape}, x {t.shape}"
                    )
                # The scale is that of the terms: their sum may cancel.
                scale = inner_product([np.abs(v)], [np.abs(row[i])])
                want = inner_product([v], [row[i]])
                self.compare(inner_product([g], [t]), want, what, scale)
            if pushed is not None:
                left = inner_product([v], [pushed[i]])
                right = inner_product(values, ts)
                scale = inner_product([np.abs(v)], [np.abs(pushed[i])])
                scale += inner_product([*map(np.abs, values)], [*map(np.abs, ts)])
                if not abs(left - right) <= self.rounding * (scale + 1.0):
                    raise AssertionError(
                        f"check_grads: order {len(case.history) + 1}, output {i} "
                        f"({y.name}): <v, J t> is {left} by the jvp, <J^T v, t> is "
                        f"{right} by the gradients"
                    )
        found = [g for g in pulled if g is not None]
        return _Case(found, case.xs + seeds, feeds, (*case.history, "rev"))

    def values(
        self, tensors: Sequence[Tensor | None], feeds: Any, like: Sequence[Any]
    ) -> list[Any]:
        """The values, with zeros where a derivative is None."""
        wanted = [t for t in tensors if t is not None]
        found = iter(self.session.run(wanted, feeds) if wanted else ())
        return [
            np.zeros_like(a) if t is None else np.asarray(next(found))
            for t, a in zip(tensors, like)
        ]

    def compare(
        self, got: Any, want: Any, what: str, scale: float | None = None
    ) -> None:
        """Raise AssertionError unless two derivatives agree."""
        got, want = np.asarray(got), np.asarray(want)
        if got.shape != want.shape:
            raise AssertionError(
                f"check_grads: {what} has shape {got.shape}, the output {want.shape}"
            )
        if not got.size:
            return
        if scale is None:
            scale = float(np.max(np.abs(want)))
        allowed = self.atol + self.rtol * scale
        off = np.abs(got - want)
        if np.all(off <= allowed):  # not so where one is NaN
            return
        worst = np.argmax(np.where(np.isnan(off), np.inf, off))
        at = np.unravel_index(int(worst), off.shape)
        place = f" at {tuple(map(int, at))}" if at else ""
        raise AssertionError(
            f"check_grads: {what} is wrong{place}: expected {want[at]} by central "
            f"differences, got {got[at]}; they differ by {off[at]:.3g}, allowed are "
            f"{allowed:.3g}"
        )


def _where(case: _Case, mode: str) -> str:
    """``order 2, reverse mode over forward mode``."""
    chain = [_MODES[m] + " mode" for m in (mode, *reversed(case.history))]
    return f"order {len(chain)}, " + " over ".join(chain)


def _placeholders(tensors: Sequence[Tensor], arrays: Sequence[Any]) -> list[Tensor]:
    """Of the tensors' dtypes and the arrays' shapes."""
    with tensors[0].graph.as_default():
        return [placeholder(t.dtype, a.shape) for t, a in zip(tensors, arrays)]


def _once(
    what: str, case: _Case, along: Sequence[Any], build: Callable[[], Any]
) -> Any:
    """The derivatives of a case along arrays of these shapes, built once."""
    shapes = tuple(a.shape for a in along)
    key = ("check_grads", what, tuple(case.ys), tuple(case.xs), shapes)
    return once(case.ys[0].graph, key, build)


def _dense(grads: Sequence[Any]) -> list[Tensor | None]:
    return [None if g is None else as_dense(g) for g in grads]
