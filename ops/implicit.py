"""Solutions of equations, whose derivatives do not ask how they were found.

Where f(x, a) = 0 defines x as a function of a, the implicit function theorem says

    (∂f/∂x) dx = -(∂f/∂a) da,

so a derivative of x is one more linear solve: with ∂f/∂x in forward mode, with its
transpose in reverse mode.  The solver's own steps are never differentiated, and
nothing of them is kept.

A solution is marked by one node, Implicit, which is an identity that a plan drops.
It holds the equation as a body.  Its rules build the body again at the operation's
own outputs and inputs, not at what some Python function remembers: so the node may
be copied into loops and functions, and what the rules build depends on x and a
again, which makes derivatives of every order right.  Each linear solve in there is
marked by such a node too.

Reference:
    Griewank & Walther, Evaluating Derivatives, 2nd ed., chapter 15 (Implicit and
    iterative differentiation); Blondel et al., Efficient and modular implicit
    differentiation, NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graphlib.batched import RowOp
from ..graphlib.batching import vectorize
from ..graphlib.errors import DTypeError, GradientError, GraphError, ShapeError
from ..graphlib.forward import push_through
from ..graphlib.gradients import as_dense, pull_back
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.shapes import compatible, text
from ..graphlib.source import entry
from ..graphlib.stacks import home
from ..graphlib.subgraph import BODY_VARIABLE, Body, Subgraph, captures_of
from ..graphlib.tensor import Tensor, as_tensor
from ._bodies import copy_into
from ._build import create_many, create_op, graph_of, scope
from ._nest import assert_same, flatten, pack
from .core import (
    PLACEHOLDER,
    always,
    copy_kernel,
    identity,
    stop_gradient,
    zeros_like,
)
from .reduction import reduce_sum

__all__ = ["custom_linear_solve", "custom_root"]


# -- the node ------------------------------------------------------------------------


def _copies(xp: Any, *arrays: Any, n: int, out: Any = None, **attrs: Any) -> Any:
    # Runs only where the node must wait for others: else a plan drops it.
    outs = out if isinstance(out, tuple) else (out,) * n
    made = tuple(copy_kernel(xp, a, o) for a, o in zip(arrays[:n], outs))
    return made[0] if n == 1 else made


IMPLICIT = OpDef(
    "Implicit",
    infer=lambda inputs, attrs: [(t.dtype, t.dims) for t in inputs[: attrs["n"]]],
    kernel=_copies,
    inputs=("*input",),
    vjp=lambda op, *gs: op._attrs["rule"].vjp(op, gs),
    jvp=lambda op, *ts: op._attrs["rule"].jvp(op, ts),
    identity=always,
    batch=lambda op, *batched: _for_rows(op, batched),
    flops=lambda i, o, a: 0,
    doc="y_i = x_i for the first n inputs, which solve an equation in the others",
)


class Rule:
    """The derivatives of an Implicit node; its equation is a body."""

    def __init__(self, body: Body) -> None:
        self.body = body

    def vjp(self, op: Operation, gs: Sequence[Tensor | None]) -> list[Any]:
        """Cotangents of all inputs of ``op`` from those of its outputs."""
        raise NotImplementedError

    def jvp(
        self, op: Operation, ts: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Tangents of the outputs of ``op`` from those of all its inputs."""
        raise NotImplementedError


class _Rows(Rule):
    """The derivatives of a node for many rows: those for one row, vectorised.

    ``batched`` says of each input whether it has an axis of rows.
    """

    def __init__(self, rule: Rule, batched: Sequence[bool]) -> None:
        super().__init__(rule.body)
        self.rule = rule
        self.batched = batched

    def vjp(self, op: Operation, gs: Sequence[Tensor | None]) -> list[Any]:
        """What all rows share gets the sum over the rows."""
        one, known = self._one_row(op)
        seeds = [None if g is None else _row_of(g) for g in gs]
        known.update((s, g) for s, g in zip(seeds, gs) if s is not None)
        found = self.rule.vjp(one, seeds)
        made = iter(vectorize([t for t in found if t is not None], known, "rows"))
        return [
            None if t is None else next(made) if rows else reduce_sum(next(made), 0)
            for t, rows in zip(found, self.batched)
        ]

    def jvp(
        self, op: Operation, ts: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """A tangent of what all rows share is the same for each of them."""
        one, known = self._one_row(op)
        seeds = [
            _row_of(t) if t is not None and rows else t
            for t, rows in zip(ts, self.batched)
        ]
        known.update((s, t) for s, t in zip(seeds, ts) if s is not None and s is not t)
        found = self.rule.jvp(one, seeds)
        made = iter(vectorize([t for t in found if t is not None], known, "rows"))
        return [None if t is None else next(made) for t in found]

    def _one_row(self, op: Operation) -> tuple[Operation, dict[Any, Any]]:
        """The node for one row, and what its tensors are for all rows."""
        inputs = [_row_of(t) if b else t for t, b in zip(op.inputs, self.batched)]
        attrs = {"n": op._attrs["n"], "rule": self.rule}
        one = create_op(IMPLICIT, inputs, attrs)
        known: dict[Any, Any] = {
            row: t for row, t, b in zip(inputs, op.inputs, self.batched) if b
        }
        known.update(zip(one.outputs, op.outputs))
        return one, known


def _row_of(t: Tensor) -> Tensor:
    """What stands for a row of ``t`` while one row is built; it is never run."""
    attrs = {"dtype": t.dtype, "shape": None if t.dims is None else t.dims[1:]}
    return create_op(PLACEHOLDER, (), attrs, "row").outputs[0]


def _for_rows(op: RowOp, batched: Sequence[Tensor | None]) -> Sequence[Tensor]:
    n = op.attrs["n"]
    given = [t if b is None else b for t, b in zip(op.inputs, batched)]
    rows = [b is not None for b in batched]
    like = next(b for b in batched if b is not None)
    for i in range(n):
        if not rows[i]:
            given[i], rows[i] = TABLE["repeat_rows"](given[i], like), True
    attrs = {"n": n, "rule": _Rows(op.attrs["rule"], rows)}
    return create_many(IMPLICIT, given, attrs)


def solution(values: Sequence[Tensor], given: Sequence[Tensor], rule: Rule) -> Any:
    """``values`` as outputs of an Implicit node that depend on ``given``."""
    held = [stop_gradient(t) for t in values]
    attrs = {"n": len(held), "rule": rule}
    return create_many(IMPLICIT, [*held, *given], attrs)


def traced(
    f: Callable[[list[Tensor]], Sequence[Tensor]], like: Sequence[Tensor], what: str
) -> tuple[Body, list[Tensor]]:
    """``f`` as a body with inputs as ``like``, and what else the body reads.

    A variable that it reads is passed as its value.
    """
    outer = graph_of(*like)
    scope = f"{outer._local.context.scope}{what}/"
    graph = Subgraph(outer, scope, f'the equation of {what} "{scope[:-1]}"')
    ins = [graph.add_input(t.dtype, t.dims, "x") for t in like]
    with graph.as_innermost():
        outputs = [graph.capture(t) for t in f(ins)]
    rest = captures_of(outputs, ins)
    body = Body(graph, (*ins, *rest), tuple(outputs))
    if body.stateful:
        raise GraphError(
            f"{entry()}{what}: the function draws random numbers or has an effect, so "
            "it cannot be evaluated again for a derivative: do that outside of it"
        )
    given = []
    with outer.control_dependencies(list(graph.outer_controls)):
        for t in rest:
            source = graph.source_of(t)
            assert source is not None
            given.append(identity(source) if t.op.opdef is BODY_VARIABLE else source)
    return body, given


def again(
    body: Body, op: Operation, n: int
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The body built again at the outputs of ``op`` and its inputs from ``n`` on.

    Returns what it makes, and the tensors that stand for x and for the rest: nodes of
    their own, so that no path leads from the rest to x.
    """
    xs = [identity(t) for t in op.outputs]
    rest = [identity(t) if t.dtype.is_inexact else t for t in op.inputs[n:]]
    graph = home(op.graph)
    scope = graph._local.context.scope
    return copy_into(graph, body, [*xs, *rest], scope), xs, rest


def pushed(
    ys: Sequence[Tensor], xs: Sequence[Tensor], tangents: Sequence[Tensor | None]
) -> list[Tensor]:
    """Tangents of ``ys``, with zeros where nothing moves."""
    moving = [(x, t) for x, t in zip(xs, tangents) if t is not None]
    if not moving:
        return [zeros_like(y) for y in ys]
    found = push_through(ys, [x for x, _ in moving], [t for _, t in moving])
    return [zeros_like(y) if t is None else t for y, t in zip(ys, found)]


def pulled(
    ys: Sequence[Tensor], cotangents: Sequence[Tensor], xs: Sequence[Tensor]
) -> list[Tensor]:
    """Cotangents of ``xs``, with zeros where no y depends on one."""
    found = pull_back(ys, cotangents, xs)
    return [zeros_like(x) if g is None else as_dense(g) for x, g in zip(xs, found)]


def negated(t: Tensor) -> Tensor:
    """-t."""
    return TABLE["neg"](t)  # type: ignore[no-any-return]


# -- equations -----------------------------------------------------------------------


class _Equation(Rule):
    """f(x, a) = 0 by a linear solve with ∂f/∂x, or with its transpose."""

    def __init__(
        self,
        body: Body,
        structure: Any,
        solve: Callable[..., Any],
        transpose_solve: Callable[..., Any] | None,
    ) -> None:
        super().__init__(body)
        self.structure = structure
        self.solve = solve
        self.transpose_solve = transpose_solve

    def vjp(self, op: Operation, gs: Sequence[Tensor | None]) -> list[Any]:
        """a̅ = (∂f/∂a)ᵀ w, where (∂f/∂x)ᵀ w = -x̅."""
        n: int = op._attrs["n"]
        if self.transpose_solve is None:
            raise GradientError(
                op.explain(
                    "reverse mode needs a solve with the transposed matrix: pass "
                    "transpose_solve= (the same function, if all that it knows of the "
                    "matrix is matvec), or symmetric=True"
                ),
                op,
            )
        fs, xs, rest = again(self.body, op, n)
        right = [
            zeros_like(y) if g is None else negated(g) for y, g in zip(op.outputs, gs)
        ]
        w = _solved(
            lambda v: pulled(fs, v, xs),
            right,
            self.structure,
            self.transpose_solve,
            self.solve,
        )
        targets = [t for t in rest if t.dtype.is_inexact]
        by_input = dict(zip(targets, pull_back(fs, w, targets) if targets else ()))
        found = [by_input.get(t) for t in rest]
        return [None] * n + [None if g is None else as_dense(g) for g in found]

    def jvp(
        self, op: Operation, ts: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """ẋ = -(∂f/∂x)⁻¹ (∂f/∂a) ȧ."""
        n: int = op._attrs["n"]
        moving = ts[n:]
        if all(t is None for t in moving):
            return [None] * n
        fs, xs, rest = again(self.body, op, n)
        right = [negated(t) for t in pushed(fs, rest, moving)]
        return _solved(
            lambda v: pushed(fs, xs, v),
            right,
            self.structure,
            self.solve,
            self.transpose_solve,
        )


def _solved(
    product: Callable[[Sequence[Tensor]], list[Tensor]],
    right: Sequence[Tensor],
    structure: Any,
    solve: Callable[..., Any],
    transpose_solve: Callable[..., Any] | None,
) -> list[Tensor]:
    """:func:`custom_linear_solve` of lists, for users who see a structure."""
    made = custom_linear_solve(
        lambda v: pack(structure, product(flatten(v))),
        pack(structure, right),
        solve,
        transpose_solve,
    )
    return flatten(made)


def _checked(
    made: Any, structure: Any, like: Sequence[Tensor], who: str
) -> list[Tensor]:
    """What a function made of x, which must be as x is, as tensors."""
    assert_same(structure, made, f"{entry()}{who} and x differ")
    tensors = []
    for value, x in zip(flatten(made), like):
        plain = not (isinstance(value, Tensor) or hasattr(value, "_as_tensor"))
        t = as_tensor(value, x.dtype if plain else None)
        if t.dtype is not x.dtype:
            raise DTypeError(
                f"{entry()}{who} is {t.dtype.name} ({t.op.defined_at()}), but x is "
                f"{x.dtype.name} ({x.op.defined_at()})"
            )
        if not compatible(t.dims, x.dims):
            raise ShapeError(
                f"{entry()}{who} has shape {text(t.dims)} ({t.op.defined_at()}), but x "
                f"has {text(x.dims)} ({x.op.defined_at()})"
            )
        tensors.append(t)
    return tensors


def _inexact(tensors: Sequence[Tensor], who: str) -> None:
    for t in tensors:
        if not t.dtype.is_inexact:
            raise DTypeError(
                f"{entry()}{who} must be floating or complex, not {t.dtype.name} "
                f"({t.op.defined_at()})"
            )


def custom_linear_solve(
    matvec: Callable[..., Any],
    b: Any,
    solve: Callable[..., Any],
    transpose_solve: Callable[..., Any] | None = None,
    symmetric: bool = False,
    name: str | None = None,
) -> Any:
    """x = A⁻¹ b by ``solve``, with derivatives by one more solve each.

    dx = A⁻¹ (db - dA x); in reverse mode w = A⁻ᵀ x̅ gives b̅ = w and A̅ = -w xᵀ, where
    A stands for all that ``matvec`` reads.

    Args:
        matvec: ``f(x) -> A x``, linear in x; it may read tensors and variables around
            it, with respect to which the result can be differentiated.
        b: a tensor, or any nesting of them: the right-hand side; x has the same
            structure and shapes.
        solve: ``f(matvec, b) -> x``: :func:`conjugate_gradient`, :func:`bicgstab`,
            :func:`dense_solve` or another.  It is called again for derivatives, with
            another b.  Its own operations are never differentiated.
        transpose_solve: ``f(matvec, b) -> x`` for the transposed matrix, whose product
            it gets as ``matvec``: the same function as ``solve`` if that knows the
            matrix by ``matvec`` only.  Without it there is no reverse mode.
        symmetric: A = Aᵀ (complex: Hermitian), so that ``solve`` serves both.
        name: the scope of the operations.

    Returns:
        x, in the structure of b.  Derivatives of any order, in both modes.

    Raises:
        ShapeError, DTypeError, ValueError: A x is not shaped as b.
        GradientError: in reverse mode, without ``transpose_solve``.

    A derivative is as exact as ``solve`` is.

    Example:
        >>> import dagrad as tf
        >>> a = tf.constant([[4.0, 1.0], [1.0, 3.0]])
        >>> matvec = lambda v: tf.linalg.matvec(a, v)
        >>> b = tf.constant([1.0, 2.0])
        >>> x = tf.custom_linear_solve(
        ...     matvec, b, tf.conjugate_gradient, symmetric=True)
        >>> with tf.Session() as session:
        ...     print(session.run([11.0 * x, 11.0 * tf.gradients(x[0], b)[0]]))
        [array([1., 7.], dtype=float32), array([ 3., -1.], dtype=float32)]

    Reference:
        Giles, Collected matrix derivative results for forward and reverse mode
        algorithmic differentiation (2008); JAX's ``lax.custom_linear_solve``.
    """
    check_functions(matvec=matvec, solve=solve)
    rights = [as_tensor(t) for t in flatten(b)]
    _inexact(rights, "custom_linear_solve: b")
    with scope_of(rights, name or "linear_solve"):
        held = pack(b, [stop_gradient(t) for t in rights])
        who = "custom_linear_solve: "
        found = _checked(solve(matvec, held), b, rights, who + "what solve returns")

        def residual(xs: list[Tensor]) -> list[Tensor]:
            products = _checked(matvec(pack(b, xs)), b, rights, who + "matvec(x)")
            return [TABLE["sub"](p, t) for p, t in zip(products, rights)]

        body, given = traced(residual, rights, "linear_solve")
        rule = _Equation(body, b, solve, solve if symmetric else transpose_solve)
        return pack(b, solution(found, given, rule))


def custom_root(
    f: Callable[..., Any],
    initial_guess: Any,
    solve: Callable[..., Any],
    tangent_solve: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Any:
    """x with f(x) = 0 by ``solve``, with the derivatives of the implicit function.

    dx = -(∂f/∂x)⁻¹ df, where df is what f changes by at a fixed x when the tensors
    and variables change that f reads.  How ``solve`` came to x does not matter, and
    nothing of that is kept.

    Args:
        f: ``f(x)``, of the structure, shapes and dtypes of x.  It may read any tensor
            or variable around it.
        initial_guess: a tensor, or any nesting of them; the result has no derivative
            with respect to it.
        solve: ``g(f, initial_guess) -> x``, in any way; it is never differentiated.
        tangent_solve: ``h(matvec, b) -> x``, which solves the linear system with
            ``matvec``, the product with ∂f/∂x or with its transpose, and uses nothing
            else of it (default: :func:`dense_solve`, which forms the matrix; for a
            scalar x, ``lambda matvec, b: b / matvec(tf.ones_like(b))``).
        name: the scope of the operations.

    Returns:
        x, in the structure of ``initial_guess``.  Derivatives of any order, in both
        modes; at a root where ∂f/∂x is singular there is none (inf or NaN).

    Raises:
        ShapeError, DTypeError, ValueError: f(x) is not shaped as x.
        GraphError: f draws random numbers or has an effect.

    Where f(x) is not quite 0 the result is treated as if it were: a first derivative
    then has an error of the order of that of x.

    Cost: that of ``solve``; for each derivative one linear solve.

    Example:
        >>> import dagrad as tf
        >>> a = tf.constant(2.0, tf.float64)
        >>> def bisect(f, guess):  # finds it without any derivative
        ...     low, high = tf.while_loop(
        ...         lambda lo, hi: hi - lo > 1e-12,
        ...         lambda lo, hi: tf.cond(f((lo + hi) / 2) < 0,
        ...             lambda: ((lo + hi) / 2, hi), lambda: (lo, (lo + hi) / 2)),
        ...         (guess - 2.0, guess + 2.0))
        ...     return (low + high) / 2
        >>> root = tf.custom_root(
        ...     lambda x: x**2 - a, tf.constant(2.0, tf.float64), bisect)
        >>> with tf.Session() as session:
        ...     print([round(float(v), 6) for v in
        ...         session.run([root, *tf.gradients(root, a)])])  # √2, 1 / (2 √2)
        [1.414214, 0.353553]

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., chapter 15; Blondel et
        al., Efficient and modular implicit differentiation (2022); JAX's
        ``lax.custom_root``.
    """
    from .solvers import dense_solve

    check_functions(f=f, solve=solve)
    guesses = [as_tensor(t) for t in flatten(initial_guess)]
    _inexact(guesses, "custom_root: initial_guess")
    with scope_of(guesses, name or "root"):

        def residual(xs: list[Tensor]) -> list[Tensor]:
            made = f(pack(initial_guess, xs))
            return _checked(made, initial_guess, guesses, "custom_root: f(x)")

        # Before it is solved, so that an f that does not fit is told as such.
        body, given = traced(residual, guesses, "root")
        held = pack(initial_guess, [stop_gradient(t) for t in guesses])
        found = _checked(
            solve(f, held), initial_guess, guesses, "custom_root: what solve returns"
        )
        solver = tangent_solve or dense_solve
        rule = _Equation(body, initial_guess, solver, solver)
        return pack(initial_guess, solution(found, given, rule))


def check_functions(**named: Any) -> None:
    """Raise TypeError for one that is no function."""
    for name, f in named.items():
        if not callable(f):
            raise TypeError(f"{entry()}{name} must be a function, not {f!r}")


def scope_of(values: Sequence[Tensor], name: str) -> Any:
    """The scope of a builder for unknowns ``values``."""
    if not values:
        raise ValueError(f"{entry()}{name}: there is no unknown")
    return scope(name, name, *values)
