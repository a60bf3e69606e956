"""Records of sums, products, quotients, powers, roots, extrema and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import elementwise as e
from dagrad.ops import powers as p
from dagrad.ops import rounding as r

COMPLEX = ("float32", "float64", "complex64", "complex128")
ALL = ("float16", "int32", "uint8", *COMPLEX)
A, ROW, SCALAR, EMPTY = Arg((2, 3)), Arg((3,)), Arg(()), Arg((0, 3))
POSITIVE = Arg((2, 3), 0.4, 3.0)
COUNT = Arg((2, 3), 1, 9)


def away(gap: float = 0.1, size: float = 2.0) -> Any:
    """Samples of both signs that keep away from 0."""

    def sample(rng: Any, shape: Any, dtype: Any) -> Any:
        signs = rng.choice([-1.0, 1.0], shape)
        values = signs * rng.uniform(gap, size, shape)
        if np.dtype(dtype).kind == "c":
            values = values * np.exp(1j * rng.uniform(0, 3, shape))
        elif np.dtype(dtype).kind in "iu":
            values = np.where(values < 0, -1, 1) * np.ceil(np.abs(values))
        return values

    return sample


def fractional(rng: Any, shape: Any, dtype: Any) -> Any:
    """Samples between -4 and 4 that keep away from integers and halves."""
    return rng.integers(-4, 4, shape) + rng.choice([0.2, 0.3, 0.7, 0.8], shape)


NONZERO = Arg((2, 3), sample=away())
NONZERO_ROW = Arg((3,), sample=away())
NEGATIVE = Arg((2, 3), -9, 9, dtype="int32")
DIVISOR = Arg((2, 3), dtype="int32", sample=away(1, 5))
STEPS = Arg((2, 3), sample=fractional)


def over_shapes(
    type: str, build: Any, reference: Any, dtypes: Any = COMPLEX
) -> list[Record]:
    """One binary op with equal shapes, broadcasting, scalars and nothing."""
    pairs = {
        "": (A, A),
        "rows": (A, ROW),
        "columns": (Arg((2, 1)), A),
        "outer": (Arg((4, 1)), ROW),
        "scalar": (SCALAR, A),
        "0d": (SCALAR, SCALAR),
        "empty": (EMPTY, ROW),
    }
    return [
        Record((type,), build, args, reference, name, dtypes=dtypes)
        for name, args in pairs.items()
    ]


def trunc_div(x: Any, y: Any) -> Any:
    return np.trunc(x / y).astype(x.dtype)


RECORDS = [
    *over_shapes("Add", e.add, np.add, ALL),
    *over_shapes("Sub", e.subtract, np.subtract, ALL),
    *over_shapes("Mul", e.multiply, np.multiply, ALL),
    Record(("Mul",), lambda x: e.multiply(x, x), (A,), np.square, "same"),
    Record(("Mul",), lambda x: x * 2.5, (A,), lambda x: x * 2.5, "number"),
    Record(("Sub",), lambda x: 1 - x, (A,), lambda x: 1 - x, "from number"),
    Record(("Neg",), e.negative, (A,), np.negative, dtypes=("int32", *COMPLEX)),
    Record(("Square",), e.square, (A,), np.square, dtypes=("int32", *COMPLEX)),
    *over_shapes(
        "SquaredDifference",
        e.squared_difference,
        lambda x, y: (x - y) ** 2,
        ("int32", "float32", "float64"),
    ),
    Record(("RealDiv",), e.realdiv, (A, NONZERO), np.divide, dtypes=COMPLEX),
    Record(("RealDiv",), e.realdiv, (Arg((2, 1)), NONZERO_ROW), np.divide, "outer"),
    Record(("RealDiv",), lambda x: 2.0 / x, (NONZERO,), lambda x: 2 / x, "number"),
    Record(("RealDiv",), e.div, (A, NONZERO), np.divide, "div"),
    Record(
        ("RealDiv", "Cast"),
        e.truediv,
        (COUNT, COUNT),
        np.divide,
        "integers",
        dtypes=("int32", "int64"),
    ),
    Record(
        ("RealDiv", "Cast"),
        e.truediv,
        (COUNT, COUNT),
        lambda x, y: np.divide(x, y, dtype=np.float32),
        "small integers",
        dtypes=("int8", "uint16"),
    ),
    Record(
        ("FloorDiv",),
        e.floordiv,
        (NEGATIVE, DIVISOR),
        np.floor_divide,
        "integers",
        dtypes=("int32",),
    ),
    Record(("FloorDiv",), e.floordiv, (STEPS, Arg((), 1, 1)), np.floor_divide),
    Record(
        ("FloorDiv",), e.div, (COUNT, COUNT), np.floor_divide, "div", dtypes=("int32",)
    ),
    Record(
        ("FloorMod",), e.mod, (NEGATIVE, DIVISOR), np.mod, "integers", dtypes=("int32",)
    ),
    Record(("FloorMod",), e.floormod, (STEPS, Arg((), 1, 1)), np.mod),
    Record(("FloorMod",), e.floormod, (A, Arg((3,), 0.9, 1.1)), np.mod, "rows"),
    Record(
        ("TruncateDiv",),
        e.truncatediv,
        (NEGATIVE, DIVISOR),
        trunc_div,
        dtypes=("int32",),
    ),
    Record(
        ("TruncateMod",),
        e.truncatemod,
        (NEGATIVE, DIVISOR),
        np.fmod,
        "integers",
        dtypes=("int32",),
    ),
    Record(("TruncateMod",), e.truncatemod, (STEPS, Arg((), 1, 1)), np.fmod),
    Record(("TruncateMod",), e.truncatemod, (A, Arg((3,), 0.9, 1.1)), np.fmod, "rows"),
    Record(("DivNoNan",), e.div_no_nan, (A, NONZERO), np.divide, dtypes=COMPLEX),
    Record(
        ("DivNoNan",),
        e.div_no_nan,
        (A, Arg((3,), differentiable=False, sample=lambda g, s, d: [2.0, 0.0, -1.0])),
        lambda x, y: np.divide(x, y, out=np.zeros_like(x), where=y != 0),
        "zeros",
    ),
    Record(("DivNoNan",), e.reciprocal_no_nan, (NONZERO,), lambda x: 1 / x, "one"),
    # Powers and roots.
    Record(
        ("Reciprocal", "ReciprocalGrad"),
        p.reciprocal,
        (NONZERO,),
        np.reciprocal,
        order=3,
    ),
    Record(
        ("Reciprocal",),
        p.reciprocal,
        (NONZERO,),
        np.reciprocal,
        "complex",
        dtypes=("complex64", "complex128"),
    ),
    Record(("Sqrt", "SqrtGrad"), p.sqrt, (POSITIVE,), np.sqrt, order=3),
    Record(("Sqrt",), p.sqrt, (POSITIVE,), np.sqrt, "complex", dtypes=("complex128",)),
    Record(("Sqrt",), p.sqrt, (Arg((0,)),), np.sqrt, "empty"),
    Record(
        ("Rsqrt", "RsqrtGrad"), p.rsqrt, (POSITIVE,), lambda x: 1 / np.sqrt(x), order=3
    ),
    Record(
        ("Rsqrt",),
        p.rsqrt,
        (POSITIVE,),
        lambda x: 1 / np.sqrt(x),
        "complex",
        dtypes=("complex128",),
    ),
    *(
        Record(
            ("PowScalar",),
            lambda x, a=a: x**a,
            (POSITIVE,),
            lambda x, a=a: np.power(x, np.asarray(a, x.dtype)),
            str(a),
            dtypes=("float16", *COMPLEX),
            order=3,
        )
        for a in (2, 3, 4, 0.5, 1.5, -1, -2, -0.5, 1.7)
    ),
    Record(("PowScalar",), lambda x: x**3, (A,), lambda x: x**3, "signs", order=4),
    Record(
        ("PowScalar",), lambda x: x**2, (A,), lambda x: x**2, "ints", dtypes=("int32",)
    ),
    Record(("Pow",), p.pow_, (POSITIVE, A), np.power, dtypes=COMPLEX, order=3),
    Record(("Pow",), p.pow_, (Arg((2, 1), 0.5, 2), ROW), np.power, "outer"),
    Record(("Pow",), lambda x: 2.0**x, (A,), lambda x: 2.0**x, "of number"),
    Record(("Pow",), p.pow_, (COUNT, COUNT), np.power, "ints", dtypes=("int64",)),
    # Kinks.
    Record(("Sign",), r.sign, (NONZERO,), np.sign, dtypes=("int32", *COMPLEX)),
    Record(
        ("Abs",), r.abs_, (NONZERO,), np.abs, dtypes=("int32", "float32", "float64")
    ),
    *over_shapes("Maximum", r.maximum, np.maximum, ("int32", "float32", "float64")),
    *over_shapes("Minimum", r.minimum, np.minimum, ("int32", "float32", "float64")),
    Record(("Floor",), r.floor, (STEPS,), np.floor),
    Record(("Ceil",), r.ceil, (STEPS,), np.ceil),
    Record(("Rint",), r.rint, (STEPS,), np.rint),
    Record(("Round",), r.round_, (STEPS,), np.rint),
    Record(("Identity",), r.round_, (COUNT,), np.rint, "round", dtypes=("int32",)),
]
