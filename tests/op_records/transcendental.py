"""Records of exponentials, logarithms, trigonometric and hyperbolic functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record
from scipy import special

from dagrad.ops import transcendental as t

BOTH = ("float32", "float64", "complex64", "complex128")


def unary(
    type: str, build: Any, reference: Any, low: float, high: float, **more: Any
) -> Record:
    more = {"dtypes": BOTH, "order": 3} | more
    return Record((type,), build, (Arg((2, 3), low, high),), reference, **more)


def apart(rng: Any, shape: Any, dtype: Any) -> Any:
    """Points around the origin, away from it and from the negative axis."""
    return rng.uniform(0.5, 2, shape)


RECORDS = [
    unary("Exp", t.exp, np.exp, -2, 2),
    Record(("Exp",), t.exp, (Arg((0, 2)),), np.exp, "empty"),
    Record(("Exp",), t.exp, (Arg(()),), np.exp, "0d"),
    Record(("Exp",), t.exp, (Arg((2,), 0, 3),), np.exp, "n", dtypes=("int16",)),
    unary("Expm1", t.expm1, np.expm1, -1, 1),
    unary("Log", t.log, np.log, 0.4, 3),
    unary("Log1p", t.log1p, np.log1p, -0.6, 2),
    unary("Sin", t.sin, np.sin, -2, 2),
    unary("Cos", t.cos, np.cos, -2, 2),
    unary("Tan", t.tan, np.tan, -1, 1),
    unary("Asin", t.asin, np.arcsin, -0.7, 0.7),
    unary("Acos", t.acos, np.arccos, -0.7, 0.7),
    unary("Atan", t.atan, np.arctan, -0.9, 0.9),
    Record(("Atan2",), t.atan2, (Arg((2, 3)), Arg((3,), sample=apart)), np.arctan2),
    unary("Sinh", t.sinh, np.sinh, -2, 2),
    unary("Cosh", t.cosh, np.cosh, -2, 2),
    unary("Tanh", t.tanh, np.tanh, -1.2, 1.2),
    Record(("Tanh", "TanhGrad"), t.tanh, (Arg((2, 3)),), np.tanh, "grad", order=4),
    unary("Asinh", t.asinh, np.arcsinh, -0.9, 0.9),
    unary("Acosh", t.acosh, np.arccosh, 1.3, 3),
    unary("Atanh", t.atanh, np.arctanh, -0.7, 0.7),
    Record(
        ("Xlogy",),
        t.xlogy,
        (Arg((2, 3)), Arg((3,), 0.4, 3)),
        special.xlogy,
        dtypes=BOTH,
    ),
    Record(
        ("Xdivy",), t.xdivy, (Arg((2, 3)), Arg((3,), 0.4, 3)), np.divide, dtypes=BOTH
    ),
]
