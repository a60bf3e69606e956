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
    def scan(fn: Any, elems: Any, initializer: Any, reverse: bool = False) -> Any:
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
