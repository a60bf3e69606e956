"""Records of random ops: dtypes, shapes and writing into memory.

The distributions themselves are tested in ``test_random.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record
from scipy import special

from dagrad.ops import random as r
from dagrad.ops import sampling as s
from dagrad.ops.core import shape
from dagrad.ops.creation import zeros

HALVES = ("float16", "float32", "float64")


def zero(x: Any) -> Any:
    """What does not depend on the draws."""
    return np.zeros_like(x)


def drawn(build: Any) -> Any:
    """A draw of the shape of x, times zero: its dtype and shape stay."""
    return lambda x: build(shape(x), dtype=x.dtype) * 0


def quantile_slope(a: Any, z: Any) -> Any:
    """The derivative of the quantile function of Gamma(a, 1) by a, at P(a, z)."""
    a, z = a.astype(np.float64), z.astype(np.float64)
    below, h = special.gammainc(a, z), 1e-5
    ends = [special.gammaincinv(a + d, below) for d in (-h, h)]
    return (ends[1] - ends[0]) / (2 * h)


RECORDS = [
    *(
        Record((type,), drawn(build), (Arg((2, 3)),), zero, dtypes=HALVES, order=0)
        for type, build in (
            ("RandomStandardNormal", r.random_normal),
            ("TruncatedNormal", r.truncated_normal),
            ("RandomUniform", r.random_uniform),
            ("RandomOrthogonal", r.random_orthogonal),
        )
    ),
    Record(
        ("RandomUniformInt",),
        lambda x: r.random_uniform(shape(x), 0, 9, x.dtype) // 9,
        (Arg((2, 3)),),
        zero,
        dtypes=("int32", "int64"),
        order=0,
    ),
    Record(
        ("RandomPermutation",),
        lambda x: r.random_shuffle(x) * 0,
        (Arg((4, 2)),),
        zero,
        order=1,
    ),
    Record(
        ("Multinomial",),
        lambda x: s.multinomial(x, 3) * 0,
        (Arg((2, 4)),),
        lambda x: np.zeros((2, 3), np.int64),
        order=0,
    ),
    Record(
        ("RandomGamma",),
        lambda a: s.random_gamma([2], a, dtype=a.dtype) * 0,
        (Arg((3,), 0.5, 2),),
        lambda a: np.zeros((2, 3), a.dtype),
        order=0,
    ),
    Record(
        ("RandomGammaGrad",),
        lambda a, z: s.create(s.GAMMA_GRAD, (a, z)),
        (Arg((3, 2), 0.5, 4), Arg((2,), 0.5, 4)),
        quantile_slope,
        order=0,
        rtol=1e-6,
    ),
    Record(
        ("RandomPoisson",),
        lambda a: s.random_poisson(a, [2], dtype=a.dtype) * 0,
        (Arg((3,), 0.5, 2),),
        lambda a: np.zeros((2, 3), a.dtype),
        order=0,
    ),
    Record(
        ("RandomStandardNormal",),
        lambda m, d: r.random_normal([4, 3], m, d, m.dtype, seed=1),
        (Arg((3,)), Arg((4, 3), 0.5, 2)),
        name="location-and-scale",
        dtypes=("float64",),
    ),
    Record(
        ("RandomUniform",),
        lambda a, b: r.random_uniform([4, 3], a, b, a.dtype, seed=1),
        (Arg((3,)), Arg((4, 3), 3, 4)),
        name="ends",
        dtypes=("float64",),
    ),
    Record(
        ("RandomUniformInt",),
        lambda x: r.random_crop(x + zeros([4, 5], x.dtype), [2, 5]) * 0,
        (Arg((4, 5)),),
        lambda x: np.zeros((2, 5), x.dtype),
        name="random_crop",
        order=1,
    ),
]
