"""Records of activation functions and special functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record
from scipy import special as sp

from dagrad.ops import activations as a
from dagrad.ops import special as s

HALVES = ("float16", "float32", "float64")


def off_kinks(rng: Any, shape: Any, dtype: Any) -> Any:
    """Samples that keep away from 0 and from 6."""
    return rng.choice([-3.0, -1.5, -0.4, 0.5, 2.0, 5.0, 7.0], shape) + rng.uniform(
        -0.2, 0.2, shape
    )


KINKED = Arg((3, 4), sample=off_kinks)
SMOOTH = Arg((2, 3), -3, 3)
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772


def elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(x))


def selu(x: Any) -> Any:
    return SCALE * np.where(x > 0, x, ALPHA * np.expm1(x))


def gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def smooth(types: tuple[str, ...], build: Any, reference: Any, **more: Any) -> Record:
    return Record(types, build, (SMOOTH,), reference, order=3, dtypes=HALVES, **more)


def special(
    type: str, build: Any, reference: Any, low: float, high: float, name: str = ""
) -> Record:
    args = (Arg((3, 4), low, high),)
    return Record((type,), build, args, reference, name, order=3)


RECORDS = [
    smooth(("Sigmoid", "SigmoidGrad"), a.sigmoid, sp.expit),
    Record(("Sigmoid",), a.sigmoid, (Arg((0, 2)),), sp.expit, "empty"),
    Record(("Sigmoid",), a.sigmoid, (Arg(()),), sp.expit, "0d"),
    Record(
        ("Sigmoid",),
        a.sigmoid,
        (SMOOTH,),
        lambda x: 1 / (1 + np.exp(-x)),
        "complex",
        dtypes=("complex64", "complex128"),
    ),
    smooth(("Softplus", "SoftplusGrad"), a.softplus, lambda x: np.log1p(np.exp(x))),
    smooth(("LogSigmoid",), a.log_sigmoid, sp.log_expit),
    smooth(("Sigmoid", "Mul"), a.swish, lambda x: x * sp.expit(x), name="swish"),
    Record(
        ("Relu", "ReluGrad"), a.relu, (KINKED,), lambda x: x * (x > 0), dtypes=HALVES
    ),
    Record(
        ("Relu",), a.relu, (KINKED,), lambda x: np.maximum(x, 0), "n", dtypes=("int32",)
    ),
    Record(("Relu",), a.relu, (Arg(()),), lambda x: np.maximum(x, 0), "0d"),
    Record(
        ("Relu",),
        lambda x: a.crelu(x, axis=0),
        (KINKED,),
        lambda x: np.maximum(np.concatenate([x, -x]), 0),
        "both signs",
    ),
    Record(("Relu6", "Relu6Grad"), a.relu6, (KINKED,), lambda x: np.clip(x, 0, 6)),
    *(
        Record(
            ("LeakyRelu", "LeakyReluGrad"),
            lambda x, alpha=alpha: a.leaky_relu(x, alpha),
            (KINKED,),
            lambda x, alpha=alpha: np.where(x > 0, x, alpha * x),
            f"{alpha}",
        )
        for alpha in (0.2, 1.5, -0.5)
    ),
    Record(("Elu", "EluGrad"), a.elu, (KINKED,), elu, order=3),
    Record(("Selu", "SeluGrad"), a.selu, (KINKED,), selu, order=3),
    Record(("Softsign",), a.softsign, (KINKED,), lambda x: x / (1 + abs(x)), order=3),
    smooth(("Gelu",), a.gelu, lambda x: x * sp.ndtr(x)),
    Record(
        ("Tanh",),
        lambda x: a.gelu(x, approximate=True),
        (SMOOTH,),
        gelu_tanh,
        "gelu",
    ),
    special("Erf", s.erf, sp.erf, -3, 3),
    special("Erfc", s.erfc, sp.erfc, -3, 3),
    special("Erfinv", s.erfinv, sp.erfinv, -0.8, 0.8),
    special("Ndtri", s.ndtri, sp.ndtri, 0.1, 0.9),
    special("Lgamma", s.lgamma, sp.gammaln, 0.5, 5),
    special("Lgamma", s.lgamma, sp.gammaln, -1.8, -1.2, "negative"),
    special("Digamma", s.digamma, sp.digamma, 0.5, 5),
    special("Digamma", s.digamma, sp.digamma, -1.7, -1.3, "negative"),
    Record(
        ("Polygamma",),
        s.polygamma,
        (
            Arg((3, 1), sample=lambda g, n, d: [[0], [1], [2]], differentiable=False),
            Arg((4,), 0.7, 4),
        ),
        sp.polygamma,
    ),
    Record(
        ("Zeta",),
        s.zeta,
        (Arg((3, 1), 2, 6, differentiable=False), Arg((4,), 0.7, 4)),
        sp.zeta,
    ),
]
