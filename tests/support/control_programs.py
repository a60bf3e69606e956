"""Control flow in plain Python over NumPy, under the names that dagrad gives it.

A test program is a function of a module ``m`` and arrays.  With ``m`` = dagrad it
builds a graph, with ``m`` = Plain() Python itself runs it: the oracle.  Derivatives
of the oracle come from a polynomial through its values along a direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Plain:
    """dagrad's names for control flow, run by Python."""

    float64 = np.float64
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    tanh = staticmethod(np.tanh)
    exp = staticmethod(np.exp)
    sqrt = staticmethod(np.sqrt)
    reduce_sum = staticmethod(np.sum)
    concat = staticmethod(np.concatenate)
    stack = staticmethod(np.stack)
    less = staticmethod(np.less)
    equal = staticmethod(np.equal)
    zeros = staticmethod(np.zeros)
    ones = staticmethod(np.ones)
    shape = staticmethod(np.shape)
    stop_gradient = staticmethod(lambda x: x)
    function = staticmethod(lambda f: f)
    recompute_grad = staticmethod(lambda f: f)

    @staticmethod
    def constant(value: Any, dtype: Any = None) -> Any:
        return np.asarray(value, dtype)

    @staticmethod
    def cast(x: Any, dtype: Any) -> Any:
        return np.asarray(x).astype(dtype)

    @staticmethod
    def tensordot(a: Any, b: Any, axes: int) -> Any:
        return np.tensordot(a, b, axes)

    @staticmethod
    def cond(p: Any, true_fn: Any, false_fn: Any) -> Any:
        return true_fn() if p else false_fn()

    @staticmethod
    def switch_case(i: Any, fns: Any) -> Any:
        return fns[int(i)]()

    @staticmethod
    def while_loop(
        cond: Any, body: Any, loop_vars: Any, maximum_iterations: Any = None, **_: Any
    ) -> Any:
        t = 0
        loop_vars = list(loop_vars)
        while cond(*loop_vars) and (
            maximum_iterations is None or t < maximum_iterations
        ):
            loop_vars = list(body(*loop_vars))
            t += 1
        return loop_vars

    @staticmethod
    def scan(
        fn: Any, elems: Any, initializer: Any, reverse: bool = False, **_: Any
    ) -> Any:
        rows = list(elems)[::-1] if reverse else list(elems)
        made, a = [], initializer
        for row in rows:
            a = fn(a, row)
            made.append(a)
        made = made[::-1] if reverse else made
        if made:
            return np.stack(made)
        return np.zeros((0, *np.shape(initializer)))

    @staticmethod
    def foldl(fn: Any, elems: Any, initializer: Any) -> Any:
        for row in elems:
            initializer = fn(initializer, row)
        return initializer

    @staticmethod
    def foldr(fn: Any, elems: Any, initializer: Any) -> Any:
        return Plain.foldl(fn, elems[::-1], initializer)

    @staticmethod
    def map_fn(fn: Any, elems: Any) -> Any:
        return np.stack([fn(row) for row in elems])


def derivatives(f: Any, order: int, reach: float = 0.05) -> list[float]:
    """f(0) and its derivatives: those of a polynomial through 13 values."""
    p = np.polynomial.Chebyshev.interpolate(
        np.vectorize(lambda t: float(f(t)), otypes=[float]), 12, [-reach, reach]
    )
    return [float(p.deriv(k)(0.0)) if k else float(f(0.0)) for k in range(order + 1)]


# -- programs: scalar functions of a vector of three ---------------------------


def powers(m: Any, x: Any) -> Any:
    """A carry, what is captured, and a counter."""
    return m.reduce_sum(
        m.while_loop(
            lambda i, y: i < 4,
            lambda i, y: (i + 1, x * m.sin(y) + m.cast(i, m.float64)),
            [m.constant(0), x],
        )[1]
    )


def until(m: Any, x: Any) -> Any:
    """The number of iterations depends on x."""
    _, y = m.while_loop(
        lambda i, y: m.reduce_sum(y * y) < 12.0,
        lambda i, y: (i + 1, y * 1.3 + m.sin(x)),
        [m.constant(0), x],
    )
    return m.reduce_sum(m.sin(y))


def bounded(m: Any, x: Any) -> Any:
    return m.reduce_sum(
        m.while_loop(
            lambda y: m.reduce_sum(y) < 1e9,
            lambda y: [y * x + 1.0],
            [x],
            maximum_iterations=3,
            return_same_structure=True,
        )[0]
    )


def swapped(m: Any, x: Any) -> Any:
    """Carries that change places."""
    _, a, b = m.while_loop(
        lambda i, a, b: i < 3,
        lambda i, a, b: (i + 1, b * x, m.sin(a)),
        [m.constant(0), x, x * x],
    )
    return m.reduce_sum(a * a + b)


def growing(m: Any, x: Any) -> Any:
    """A carry whose shape changes: what is kept is ragged."""
    _, y = m.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, m.concat([m.sin(y), y[:2] * x[:2]], 0)),
        [m.constant(0), x],
    )
    return m.reduce_sum(y * y)


def recurrence(m: Any, x: Any) -> Any:
    y = m.scan(lambda h, r: m.tanh(h * x + r), m.stack([x, x * x, x + 1.0]), x)
    return m.reduce_sum(y * y)


def backward_recurrence(m: Any, x: Any) -> Any:
    y = m.scan(
        lambda h, r: m.tanh(h * x + r), m.stack([x, x * x]), x * 2.0, reverse=True
    )
    return m.reduce_sum(y[0] * y[1])


def checkpointed(m: Any, x: Any) -> Any:
    """The backward pass runs parts of the loop again."""
    rows = m.stack([x, x * x, x + 1.0, m.sin(x), x * 0.5])
    y = m.scan(lambda h, r: m.tanh(h * x + r), rows, x, checkpoint_every=2)
    return m.reduce_sum(y * y)


def folds(m: Any, x: Any) -> Any:
    a = m.foldl(lambda a, r: m.sin(a) + r * a, x, m.constant(0.3, m.float64))
    return a * m.foldr(lambda a, r: m.sin(a * r) + r, x, a)


def mapped(m: Any, x: Any) -> Any:
    return m.reduce_sum(m.map_fn(lambda r: m.exp(m.sin(r) * x[0]), x))


def branches(m: Any, x: Any) -> Any:
    y = m.cond(x[0] > 0.0, lambda: m.sin(x) * x, lambda: x + 1.0)
    z = m.cond(x[1] > 0.0, lambda: y * 2.0, lambda: m.exp(y) * y)
    return m.reduce_sum(z)


def one_sided(m: Any, x: Any) -> Any:
    """A branch that does not read x at all."""
    y = m.cond(x[0] < 0.0, lambda: x * x, lambda: m.ones([3], m.float64) * 2.0)
    return m.reduce_sum(y * x)


def switched(m: Any, x: Any) -> Any:
    fns = [lambda: x, lambda: m.sin(x) * x, lambda: m.exp(x)]
    return m.reduce_sum(m.switch_case(m.constant(1), fns) * x)


def cond_in_while(m: Any, x: Any) -> Any:
    """Branches that keep different things in different iterations."""

    def body(i, y):
        z = m.cond(
            m.equal(i % 2, 0),
            lambda: m.sin(y) * m.exp(-y * y) * x,
            lambda: m.tanh(y) * y + x,
        )
        return i + 1, z

    return m.reduce_sum(m.while_loop(lambda i, y: i < 5, body, [m.constant(0), x])[1])


def while_in_while(m: Any, x: Any) -> Any:
    """An inner loop of another length in each iteration."""

    def body(i, y):
        _, z = m.while_loop(
            lambda j, z: j < i,
            lambda j, z: (j + 1, m.sin(z) * x + 0.1 * y),
            [m.constant(0), y],
        )
        return i + 1, z

    return m.reduce_sum(m.while_loop(lambda i, y: i < 4, body, [m.constant(0), x])[1])


def while_in_cond_in_scan(m: Any, x: Any) -> Any:
    def step(h, r):
        return m.cond(
            r > 0.0,
            lambda: m.while_loop(
                lambda i, y: i < 2,
                lambda i, y: (i + 1, m.sin(y) * r),
                [m.constant(0), h],
            )[1],
            lambda: h * r + x,
        )

    return m.reduce_sum(m.scan(step, x, x))


def functions(m: Any, x: Any) -> Any:
    f = m.function(lambda a, b: m.sin(a) * b + a)
    return m.reduce_sum(f(f(x, x), f(x * x, x)))


def recomputed(m: Any, x: Any) -> Any:
    f = m.recompute_grad(lambda a: m.tanh(m.sin(a) * x) + a)
    return m.reduce_sum(f(f(x)))


def recomputed_in_scan(m: Any, x: Any) -> Any:
    f = m.recompute_grad(lambda h, r: m.tanh(h * r + m.sin(x)))
    return m.reduce_sum(m.scan(f, m.stack([x, x * x]), x))


def five_deep(m: Any, x: Any) -> Any:
    f = m.function(lambda a, b: m.sin(a) * b)

    def inner(i, y):
        return i + 1, m.cond(m.equal(i, 0), lambda: f(y, x) + y, lambda: f(y, y) - x)

    def step(h, r):
        return m.while_loop(lambda i, y: i < 2, inner, [m.constant(0), 0.3 * (h + r)])[
            1
        ]

    outer = m.map_fn(lambda r: m.foldl(step, x, x * r), x)
    return m.reduce_sum(outer * outer)


def constants(m: Any, x: Any) -> Any:
    """A loop whose result does not depend on x, beside one that does."""
    _, a, b = m.while_loop(
        lambda i, a, b: i < 3,
        lambda i, a, b: (i + 1, a * 2.0, m.sin(b)),
        [m.constant(0), m.constant(1.0, m.float64), x],
    )
    return a * m.reduce_sum(b)


def no_iteration(m: Any, x: Any) -> Any:
    _, y = m.while_loop(
        lambda i, y: i < 0, lambda i, y: (i + 1, y * x), [m.constant(0), m.sin(x)]
    )
    return m.reduce_sum(y * x)


def integer_carry_scales(m: Any, x: Any) -> Any:
    """An integer carry between iterations carries no derivative."""
    _, _, y = m.while_loop(
        lambda i, k, y: i < 3,
        lambda i, k, y: (i + 1, k * 2, y * m.cast(k, m.float64) * m.sin(x)),
        [m.constant(0), m.constant(1), x],
    )
    return m.reduce_sum(y)


PROGRAMS = [
    powers,
    until,
    bounded,
    swapped,
    growing,
    recurrence,
    backward_recurrence,
    checkpointed,
    folds,
    mapped,
    branches,
    one_sided,
    switched,
    cond_in_while,
    while_in_while,
    while_in_cond_in_scan,
    functions,
    recomputed,
    recomputed_in_scan,
    five_deep,
    constants,
    no_iteration,
    integer_carry_scales,
]
