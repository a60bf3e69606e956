"""Records: solutions of equations, and results that hold on a condition."""

from __future__ import annotations

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import extremes, implicit, linalg, logical, powers, solvers


def _spread(rng, shape, dtype):
    """A well-conditioned matrix that is not symmetric."""
    return 3.0 * np.eye(shape[0]) + rng.uniform(-0.5, 0.5, shape)


def _linear(a, b):
    return implicit.custom_linear_solve(
        lambda x: linalg.matvec(a, x),
        b,
        solvers.dense_solve,
        transpose_solve=solvers.dense_solve,
    )


def _root(a, b):
    """x with a x² = b, found by a formula that no derivative goes through."""
    return implicit.custom_root(
        lambda x: a * x * x - b, b, lambda f, guess: powers.sqrt(b / a)
    )


def _positive(x):
    ok = extremes.reduce_all(logical.greater(x, 0.0))
    return solvers.ensure(ok, x * x, "x must be positive")


RECORDS = [
    Record(
        ("Implicit",),
        _linear,
        (Arg((3, 3), sample=_spread), Arg((3,))),
        np.linalg.solve,
        name="linear",
        dtypes=("float32", "float64", "complex128"),
    ),
    Record(
        ("Implicit",),
        _root,
        (Arg((2,), 1.0, 2.0), Arg((2,), 1.0, 2.0)),
        lambda a, b: np.sqrt(b / a),
        name="root",
    ),
    Record(("Ensure",), _positive, (Arg((2, 3), 0.5, 2.0),), np.square),
]
