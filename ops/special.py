"""Error, gamma and zeta functions, element by element; floating tensors only.

Integers become float32.  The numbers are right to a few units in the last place in
float64; narrower dtypes are computed in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series, scale
from ..graphlib.tensor import Tensor
from . import _special
from ._jets import squared, step, velocities
from ._kinds import elementwise
from ._pointwise import binary, chunked, floating
from .elementwise import add, multiply, negative, square
from .transcendental import exp

__all__ = ["digamma", "erf", "erfc", "erfinv", "lgamma", "ndtri", "polygamma", "zeta"]


def _bell(op: Operation, value: Tensor, factor: float) -> Tensor:
    """factor e^(-value²)."""
    return multiply(exp(negative(square(value))), factor)


ERF = elementwise(
    "Erf",
    chunked(_special.erf, 12.2),
    1,
    (lambda op: _bell(op, op.inputs[0], 2.0 / math.sqrt(math.pi)),),
    kinds="f",
    flops=30,
    doc="y = 2/√π ∫ e^(-t²) dt from 0 to x",
)
ERFC = elementwise(
    "Erfc",
    chunked(_special.erfc, 12.2),
    1,
    (lambda op: _bell(op, op.inputs[0], -2.0 / math.sqrt(math.pi)),),
    kinds="f",
    flops=30,
    doc="y = 1 - erf x",
)


def erf(x: Any, name: str | None = None) -> Tensor:
    """The error function 2/√π ∫ e^(-t²) dt from 0 to x.  Gradient: g 2/√π e^(-x²).

    Reference: DLMF 7.2.1.
    """
    return floating(ERF, x, name)


def erfc(x: Any, name: str | None = None) -> Tensor:
    """1 - erf(x), exact in relative terms for large x.  Gradient: -g 2/√π e^(-x²).

    Reference: DLMF 7.2.2.
    """
    return floating(ERFC, x, name)


def _inverse_bell(op: Operation) -> Tensor:
    return multiply(exp(square(op.outputs[0])), math.sqrt(math.pi) / 2.0)


def _inverse_density(op: Operation) -> Tensor:
    half = multiply(square(op.outputs[0]), 0.5)
    return multiply(exp(half), math.sqrt(2.0 * math.pi))


def _inverse_jet(
    slope: Callable[[Operation], Tensor], factor: float
) -> Callable[..., list[Series]]:
    """The rule of y' = w x' with w' = w q', q = factor y²."""

    def rule(op: Operation, series: list[Series]) -> list[Series]:
        moved = velocities(series[0])
        y: Series = [op.outputs[0]]
        w: Series = [slope(op)]
        turned: Series = [None]
        for k in range(1, len(moved)):
            y.append(step(moved, w, k))
            if k + 1 < len(moved):
                turned.append(scale(squared(y, k), factor * k))
                w.append(step(turned, w, k))
        return [y]

    return rule


ERFINV = elementwise(
    "Erfinv",
    chunked(_special.erfinv, 10.3),
    1,
    (_inverse_bell,),
    jet=_inverse_jet(_inverse_bell, 1.0),
    kinds="f",
    flops=40,
    singular=(0,),
    doc="y such that erf y = x",
)
NDTRI = elementwise(
    "Ndtri",
    chunked(_special.ndtri, 10.3),
    1,
    (_inverse_density,),
    jet=_inverse_jet(_inverse_density, 0.5),
    kinds="f",
    flops=40,
    singular=(0,),
    doc="the quantile of the standard normal distribution",
)


def erfinv(x: Any, name: str | None = None) -> Tensor:
    """y such that erf(y) = x; ±inf at ±1, NaN beyond.  Gradient: g √π/2 e^(y²).

    Reference: Wichura, Algorithm AS 241, 1988.
    """
    return floating(ERFINV, x, name)


def ndtri(x: Any, name: str | None = None) -> Tensor:
    """The standard normal quantile of x in [0, 1]; NaN outside.

    Gradient: g √(2π) e^(y²/2).  Reference: Wichura, Algorithm AS 241, 1988.
    """
    return floating(NDTRI, x, name)


LGAMMA = elementwise(
    "Lgamma",
    chunked(_special.lgamma, 7.2),
    1,
    (lambda op: digamma(op.inputs[0]),),
    kinds="f",
    flops=40,
    singular=(0,),
    doc="y = ln |Γ(x)|",
)
DIGAMMA = elementwise(
    "Digamma",
    chunked(_special.digamma, 7.7),
    1,
    (lambda op: polygamma(1.0, op.inputs[0]),),
    kinds="f",
    flops=40,
    singular=(0,),
    doc="y = Γ'(x) / Γ(x)",
)


def lgamma(x: Any, name: str | None = None) -> Tensor:
    """ln |Γ(x)|; infinite at 0, -1, -2, ...  Gradient: g ψ(x) (:func:`digamma`).

    Reference: DLMF 5.2.1.
    """
    return floating(LGAMMA, x, name)


def digamma(x: Any, name: str | None = None) -> Tensor:
    """ψ(x) = Γ'(x) / Γ(x); NaN at negative integers.  Gradient: g ψ₁(x).

    Reference: DLMF 5.2.2.
    """
    return floating(DIGAMMA, x, name)


POLYGAMMA = elementwise(
    "Polygamma",
    chunked(_special.polygamma, 21.7),
    2,
    (None, lambda op: polygamma(TABLE["add"](op.inputs[0], 1.0), op.inputs[1])),
    kinds="f",
    inputs=("a", "x"),
    flops=80,
    doc="the a-th derivative of ψ at x",
)
ZETA = elementwise(
    "Zeta",
    chunked(_special.zeta, 9.2),
    2,
    (
        None,
        lambda op: negative(
            multiply(op.inputs[0], zeta(TABLE["add"](op.inputs[0], 1.0), op.inputs[1]))
        ),
    ),
    kinds="f",
    inputs=("x", "q"),
    flops=80,
    doc="z = Σ (q + k)^-x over k = 0, 1, ...",
)


def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """ψ⁽ᵃ⁾(x), the a-th derivative of :func:`digamma`, with broadcasting.

    NaN where a is not one of 0, 1, 2, ...
    Gradient: g ψ⁽ᵃ⁺¹⁾(x) to x; none to a.  Reference: DLMF 5.15.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: operands that are not floating, or no common dtype.
    """
    return binary(POLYGAMMA, a, x, name)


def zeta(x: Any, q: Any, name: str | None = None) -> Tensor:
    """Hurwitz's ζ(x, q) = Σ (q + k)^-x, k = 0, 1, ..., with broadcasting.

    x > 1 (infinite at 1, NaN below); a negative q needs a whole x.
    Gradient: -g x ζ(x + 1, q) to q; none to x.  Reference: DLMF 25.11.

    Raises:
        ShapeError, DTypeError: as :func:`polygamma`.
    """
    return binary(ZETA, x, q, name)


# -- an activation that needs erfc --------------------------------------------------


def _gelu(x: Any) -> Any:
    return 0.5 * x * _special.erfc(x * -math.sqrt(0.5))


def _gelu_partial(op: Operation) -> Tensor:
    """Φ(x) + x φ(x)."""
    x = op.inputs[0]
    below = multiply(erfc(multiply(x, -math.sqrt(0.5))), 0.5)
    density = multiply(exp(multiply(square(x), -0.5)), 1.0 / math.sqrt(2.0 * math.pi))
    return add(below, multiply(x, density))


GELU = elementwise(
    "Gelu",
    chunked(_gelu, 13.9),
    1,
    (_gelu_partial,),
    kinds="f",
    flops=40,
    doc="y = x Φ(x)",
)
