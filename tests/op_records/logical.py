"""Records of comparisons, logic, bits, selection and complex parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import complexes as c
from dagrad.ops import logical as g

NUMBERS = ("int32", "float32", "float64")
FEW = Arg((3, 4), 0, 2, sample=lambda rng, s, d: rng.integers(0, 3, s))
FEW_ROW = Arg((4,), 0, 2, sample=lambda rng, s, d: rng.integers(0, 3, s))
BOOLS, BOOL_ROW = Arg((3, 4), dtype="bool"), Arg((4,), dtype="bool")
BITS, SHIFT = Arg((3, 4), -99, 99), Arg((4,), 0, 7)
A, B = Arg((3, 4)), Arg((4,))
Z = Arg((2, 3))


def odd(rng: Any, shape: Any, dtype: Any) -> Any:
    """Samples with infinities and NaN among them."""
    return rng.choice([0.0, 1.5, -np.inf, np.inf, np.nan], shape)


def compare(type: str, build: Any, reference: Any, dtypes: Any = NUMBERS) -> Record:
    return Record((type,), build, (FEW, FEW_ROW), reference, dtypes=dtypes, order=0)


def bits(type: str, build: Any, reference: Any, other: Arg = BITS) -> Record:
    kinds = ("int8", "int32", "int64", "uint8")
    return Record((type,), build, (BITS, other), reference, dtypes=kinds)


def rows(mask: Any, x: Any, y: Any) -> Any:
    return np.where(mask[:, None], x, y)


EVERY = ("bool", "complex64", "complex128", *NUMBERS)
COMPLEX = ("complex64", "complex128")

RECORDS = [
    compare("Equal", g.equal, np.equal, EVERY),
    compare("NotEqual", g.not_equal, np.not_equal, EVERY),
    compare("Less", g.less, np.less),
    compare("LessEqual", g.less_equal, np.less_equal),
    compare("Greater", g.greater, np.greater),
    compare("GreaterEqual", g.greater_equal, np.greater_equal),
    *(
        Record((type,), build, (Arg((3, 4), sample=odd),), reference, order=0)
        for type, build, reference in (
            ("IsNan", g.is_nan, np.isnan),
            ("IsInf", g.is_inf, np.isinf),
            ("IsFinite", g.is_finite, np.isfinite),
        )
    ),
    *(
        Record((type,), build, (BOOLS, BOOL_ROW), reference, dtypes=("bool",))
        for type, build, reference in (
            ("LogicalAnd", g.logical_and, np.logical_and),
            ("LogicalOr", g.logical_or, np.logical_or),
            ("LogicalXor", g.logical_xor, np.logical_xor),
        )
    ),
    Record(("LogicalNot",), g.logical_not, (BOOLS,), np.logical_not, dtypes=("bool",)),
    Record(
        ("LogicalAnd",),
        lambda x, y: (x & y) | (x ^ ~y),
        (BOOLS, BOOLS),
        lambda x, y: (x & y) | (x ^ ~y),
        "operators",
        dtypes=("bool",),
    ),
    Record(
        ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "Invert"),
        lambda x, y: (x & y) | (x ^ ~y),
        (BITS, BITS),
        lambda x, y: (x & y) | (x ^ ~y),
        "operators",
        dtypes=("int32",),
    ),
    bits("BitwiseAnd", g.bitwise_and, np.bitwise_and),
    bits("BitwiseOr", g.bitwise_or, np.bitwise_or),
    bits("BitwiseXor", g.bitwise_xor, np.bitwise_xor),
    bits("LeftShift", g.left_shift, np.left_shift, SHIFT),
    bits("RightShift", g.right_shift, np.right_shift, SHIFT),
    Record(("Invert",), g.invert, (BITS,), np.invert, dtypes=("int32", "uint8")),
    # Selection.
    *(
        Record(("SelectV2",), build, args, np.where, name, dtypes=dtypes)
        for build, args, name, dtypes in (
            (g.where_v2, (BOOLS, A, A), "", ("int32", "float32", *COMPLEX, "float64")),
            (g.where_v2, (BOOL_ROW, A, B), "row", ("float64",)),
            (g.where_v2, (BOOLS, Arg(()), B), "scalar", ("float64",)),
            (g.where_v2, (Arg((), dtype="bool"), A, A), "one", ("float64",)),
            (g.where, (BOOLS, A, A), "v1", ("float64", "bool")),
        )
    ),
    Record(
        ("SelectV2",),
        lambda m, x: g.where_v2(m, x, 0),
        (BOOLS, A),
        lambda m, x: np.where(m, x, 0),
        "number",
    ),
    Record(("Select",), g.where, (Arg((3,), dtype="bool"), A, A), rows),
    Record(("Where",), g.where, (BOOLS,), np.argwhere, dtypes=("int64",), exact=False),
    Record(("Where",), g.where, (FEW,), np.argwhere, "n", dtypes=NUMBERS, exact=False),
    Record(("Where",), g.where, (Arg((0,)),), np.argwhere, "empty", exact=False),
    # Complex parts.
    Record(("Real",), c.real, (Z,), np.real, dtypes=COMPLEX),
    Record(("Imag",), c.imag, (Z,), np.imag, dtypes=COMPLEX),
    Record(("Conj",), c.conj, (Z,), np.conj, dtypes=COMPLEX),
    Record(("ComplexAbs", "Sign"), c.complex_abs, (Z,), np.abs, dtypes=COMPLEX),
    Record(("Angle",), c.angle, (Z,), np.angle, dtypes=COMPLEX),
    Record(("Complex",), c.complex_, (Z, Z), lambda a, b: a + 1j * b),
    Record(("Complex",), c.complex_, (Z, Arg((3,))), lambda a, b: a + 1j * b, "row"),
]
