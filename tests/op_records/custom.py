"""Records: derivatives that the program gives, and Python functions."""

from __future__ import annotations

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import custom, elementwise, pyfunc, transcendental

_X = Arg((2, 3))


def _logistic(x):
    """A gradient that differs in form, not in value, from the ops' own."""

    @custom.custom_gradient
    def f(x):
        y = 1.0 / (1.0 + transcendental.exp(-x))
        return y, lambda g: g * y * (1.0 - y)

    return f(x)


def _product(x, y):
    @custom.custom_gradient
    def f(x, y):
        return [x * y, x + y], lambda g, h: (g * y + h, g * x + h)

    @f.def_jvp
    def moved(primals, tangents):
        (x, y), (a, b) = primals, tangents
        return [a * y + x * b, a + b]

    return f(x, y)


def _kept(f):
    """``f`` with a result of its argument's dtype; strings as they are."""
    return lambda a: a if a.dtype == object else np.asarray(f(a)).astype(a.dtype)


def _sine(x):
    """First derivatives only: what they build is no function of dagrad."""
    return pyfunc.py_func(
        _kept(np.sin),
        [x],
        x.dtype,
        shape=x.shape,
        vjp=lambda xs, ys, gs: [gs[0] * np.cos(xs[0])],
        jvp=lambda xs, ys, ts: [ts[0] * np.cos(xs[0])],
    )


RECORDS = [
    Record(
        ("IdentityN",),
        lambda x, y: custom.identity_n([x, y]),
        (_X, Arg((4,))),
        lambda x, y: [x, y],
        dtypes=("float32", "float64", "complex128"),
    ),
    Record(
        ("CustomGradient",),
        _logistic,
        (_X,),
        lambda x: 1 / (1 + np.exp(-x)),
    ),
    Record(
        ("CustomGradient",),
        _product,
        (_X, _X),
        lambda x, y: [x * y, x + y],
        name="jvp",
    ),
    Record(
        ("PreventGradient",),
        lambda x: custom.prevent_gradient(elementwise.square(x), "no"),
        (_X,),
        np.square,
        order=0,
    ),
    Record(
        ("PyFunc", "PyFuncDerivative"),
        _sine,
        (_X,),
        np.sin,
        order=1,
        exact=False,
    ),
    Record(
        ("PyFuncStateless",),
        lambda x: pyfunc.py_func(_kept(np.cos), [x], x.dtype, stateful=False),
        (_X,),
        np.cos,
        order=0,
        exact=False,
    ),
]
