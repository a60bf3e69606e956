"""Taylor rules that families share: recurrences for coefficients of series.

A series is ``[x_0, x_1, ..., x_K]``, the Taylor coefficients of a path, None where
zero (see ``graphlib/taylor.py``).  Every rule takes ``(op, series)`` and returns one
series per output, O(K²) nodes.  Most are one of two ideas: the coefficients of a
product (Cauchy's), and y' = w x' with w known from y, solved order by order.

Reference:
    Griewank & Walther, Evaluating Derivatives, 2nd ed., tables 13.1 and 13.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series, scale
from ..graphlib.tensor import Tensor

__all__ = [
    "Coefficient",
    "bilinear",
    "by_factor",
    "by_output",
    "cauchy",
    "conjugates",
    "difference",
    "multiplied",
    "quadratic",
    "quotient",
    "squared",
    "squares",
    "step",
    "total",
    "velocities",
]

Coefficient = Tensor | None


# -- sums and products ---------------------------------------------------------------


def total(terms: Sequence[Coefficient]) -> Coefficient:
    """The sum of the terms that are there, as one node."""
    present = [t for t in terms if t is not None]
    return TABLE["add_n"](present) if present else None


def difference(a: Coefficient, b: Coefficient) -> Coefficient:
    """a - b."""
    if b is None:
        return a
    return TABLE["neg"](b) if a is None else TABLE["sub"](a, b)  # type: ignore[no-any-return]


def cauchy(
    multiply: Callable[[Tensor, Tensor], Tensor], a: Series, b: Series, k: int
) -> Coefficient:
    """Coefficient k of a product: Σ a_i b_(k-i)."""
    pairs = [(a[i], b[k - i]) for i in range(k + 1)]
    return total([multiply(s, t) for s, t in pairs if s is not None and t is not None])


def multiplied(a: Series, b: Series) -> Series:
    """The series of a product, element by element."""
    return [cauchy(TABLE["mul"], a, b, k) for k in range(len(a))]


def squared(a: Series, k: int, first: int = 0) -> Coefficient:
    """Coefficient k of a²; with ``first``, without the terms of a_0, ..."""
    terms: list[Coefficient] = []
    for i in range(first, (k + 1) // 2):
        s, t = a[i], a[k - i]
        if s is not None and t is not None:
            terms.append(TABLE["mul"](s, t))
    twice = scale(total(terms), 2.0)
    middle = a[k // 2] if k % 2 == 0 and k // 2 >= first else None
    return total([twice, None if middle is None else TABLE["mul"](middle, middle)])


def squares(a: Series, start: int = 0) -> Series:
    """The series of a², from coefficient ``start`` on."""
    return [squared(a, k) for k in range(start, len(a))]


def quotient(
    z_0: Coefficient,
    a: Series,
    b: Series,
    divide: Callable[[Tensor, Tensor], Tensor],
) -> Series:
    """The series of z = a / b: z_k = (a_k - Σ b_j z_(k-j)) / b_0 over j >= 1."""
    z: Series = [z_0]
    b_0 = b[0]
    assert b_0 is not None
    rest = [None, *b[1:]]
    for k in range(1, len(b)):
        top = difference(a[k], cauchy(TABLE["mul"], rest, [*z, None], k))
        z.append(None if top is None else divide(top, b_0))
    return z


def bilinear(i: int, j: int) -> Callable[..., list[Series]]:
    """The rule of an op that is linear in input i and linear in input j."""

    def rule(op: Operation, series: list[Series]) -> list[Series]:
        def multiply(a: Tensor, b: Tensor) -> Tensor:
            inputs = list(op.inputs)
            inputs[i], inputs[j] = a, b
            return op.graph.create_op(op.opdef, inputs, dict(op.attrs)).outputs[0]

        a, b = series[i], series[j]
        rest = [cauchy(multiply, a, b, k) for k in range(1, len(a))]
        return [[op.outputs[0], *rest]]

    return rule


# -- y' = w x' -------------------------------------------------------------------------


def velocities(x: Series) -> Series:
    """``[0, x_1, 2 x_2, 3 x_3, ...]``: the coefficients of t x'(t)."""
    return [None, *[scale(c, k) for k, c in enumerate(x[1:], 1)]]


def step(moved: Series, w: Series, k: int) -> Coefficient:
    """y_k = 1/k Σ j x_j w_(k-j), for y' = w x' and ``moved`` = velocities(x)."""
    return scale(cauchy(TABLE["mul"], moved[: k + 1], [*w, None], k), 1.0 / k)


def by_output(slope: Callable[[Series], Coefficient]) -> Callable[..., list[Series]]:
    """The rule of a function with y' = w(y) x'.

    Args:
        slope: takes ``[y_0, ..., y_k]``, returns w_k.
    """

    def rule(op: Operation, series: list[Series]) -> list[Series]:
        moved = velocities(series[0])
        y: Series = [op.outputs[0]]
        w: Series = []
        for k in range(1, len(moved)):
            w.append(slope(y))
            y.append(step(moved, w, k))
        return [y]

    return rule


def quadratic(c0: float, c1: float, c2: float) -> Callable[[Series], Coefficient]:
    """The slope w = c0 + c1 y + c2 y²."""

    def slope(y: Series) -> Coefficient:
        k = len(y) - 1
        first = scale(y[k], c1) if c1 else None
        second = scale(squared(y, k), abs(c2)) if c2 else None
        w = difference(first, second) if c2 < 0 else total([first, second])
        if k or not c0:
            return w
        return TABLE["add"](w, c0)  # type: ignore[no-any-return]

    return slope


def conjugates(
    companion: Callable[[Tensor], Tensor], forth: float, back: float
) -> Callable[..., list[Series]]:
    """The rule of y with y' = forth w x', w' = back y x', as sine and cosine have.

    Args:
        companion: builds w_0 from x_0.
    """

    def rule(op: Operation, series: list[Series]) -> list[Series]:
        moved = velocities(series[0])
        order = len(moved) - 1
        y: Series = [op.outputs[0]]
        w: Series = [companion(op.inputs[0])]
        for k in range(1, order + 1):
            y.append(scale(step(moved, w, k), forth))
            if k < order:
                w.append(scale(step(moved, y[:k], k), back))
        return [y]

    return rule


def by_factor(
    factor: Callable[[Operation, Series], Series],
) -> Callable[..., list[Series]]:
    """The rule of F(a, g) = g f(a), the fused backward op of a function.

    Args:
        factor: takes the series of a, returns that of f(a); its entry 0 is not
            read (F itself multiplies by f(a_0)).
    """

    def rule(op: Operation, series: list[Series]) -> list[Series]:
        a, g = series
        w = [None, *factor(op, a)[1:]]
        found: Series = [op.outputs[0]]
        for k in range(1, len(a)):
            t = g[k]
            if t is not None:
                inputs = (op.inputs[0], t)
                t = op.graph.create_op(op.opdef, inputs, dict(op.attrs)).outputs[0]
            found.append(total([t, cauchy(TABLE["mul"], w, g, k)]))
        return [found]

    return rule
