"""The matrix exponential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series
from ..graphlib.shapes import compatible, merge, text
from ..graphlib.tensor import Tensor
from ._build import create, inexact
from ._later import batch
from .core import shape as shape_of
from .decompositions import infer_square, matrices, stored
from .joining import concat
from .matrix import adjoint

__all__ = ["expm"]

# Higham's [13/13] Pade coefficients, and the 1-norm up to which it is exact enough.
_PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)
_THETA = 4.74  # of the derivative, which is a little less than the exponential's


def _scaled(xp: Any, a: Any) -> tuple[Any, int]:
    """A in double precision over 2^squarings, and squarings; -1: not finite."""
    norm = float(xp.max(xp.sum(xp.abs(a), axis=-2)))
    if not np.isfinite(norm):
        return a, -1
    squarings = max(0, int(np.ceil(np.log2(norm / _THETA)))) if norm > _THETA else 0
    wide = a.astype(np.result_type(a.dtype, np.float64))
    return wide / 2.0**squarings, squarings


def _odd_even(powers: Sequence[Any], one: Any) -> list[Any]:
    """Four polynomials in (A^2, A^4, A^6), of which A^6 multiplies every other one.

    Linear in the powers, so that their derivatives are the same with ``one`` = 0.
    """
    b, (x2, x4, x6) = _PADE, powers
    return [
        b[13] * x6 + b[11] * x4 + b[9] * x2,
        b[7] * x6 + b[5] * x4 + b[3] * x2 + b[1] * one,
        b[12] * x6 + b[10] * x4 + b[8] * x2,
        b[6] * x6 + b[4] * x4 + b[2] * x2 + b[0] * one,
    ]


def _expm_kernel(xp: Any, a: Any, out: Any = None) -> Any:
    if not a.size:
        return stored(xp, a, out)
    wide, squarings = _scaled(xp, a)
    if squarings < 0:
        return stored(xp, xp.full(a.shape, np.nan, a.dtype), out)
    a2 = wide @ wide
    a4 = a2 @ a2
    a6 = a4 @ a2
    high, low, even_high, even_low = _odd_even(
        (a2, a4, a6), xp.eye(a.shape[-1], dtype=wide.dtype)
    )
    odd = wide @ (a6 @ high + low)
    even = a6 @ even_high + even_low
    y = xp.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        y = y @ y
    return stored(xp, y.astype(a.dtype), out)


def _move_kernel(xp: Any, a: Any, e: Any, out: Any = None) -> Any:
    """The derivative of every step of the exponential, beside the step."""
    if not a.size:
        return stored(xp, a, out)
    wide, squarings = _scaled(xp, a)
    if squarings < 0:
        return stored(xp, xp.full(a.shape, np.nan, a.dtype), out)
    move = e.astype(wide.dtype) / 2.0**squarings
    a2 = wide @ wide
    a4 = a2 @ a2
    a6 = a4 @ a2
    m2 = wide @ move + move @ wide
    m4 = a2 @ m2 + m2 @ a2
    m6 = a4 @ m2 + m4 @ a2
    high, low, even_high, even_low = _odd_even(
        (a2, a4, a6), xp.eye(a.shape[-1], dtype=wide.dtype)
    )
    m_high, m_low, m_even_high, m_even_low = _odd_even((m2, m4, m6), 0.0)
    inner = a6 @ high + low
    m_inner = a6 @ m_high + m6 @ high + m_low
    odd = wide @ inner
    m_odd = wide @ m_inner + move @ inner
    even = a6 @ even_high + even_low
    m_even = a6 @ m_even_high + m6 @ even_high + m_even_low
    below = even - odd
    y = xp.linalg.solve(below, even + odd)
    m = xp.linalg.solve(below, m_even + m_odd + (m_odd - m_even) @ y)
    for _ in range(squarings):
        m = y @ m + m @ y
        y = y @ y
    return stored(xp, m.astype(a.dtype), out)


def _cubes(count: int) -> Any:
    """``count`` n^3 flops."""

    def flops(inputs: Any, outputs: Any, attrs: Any) -> int:
        dims = inputs[0].dims
        n = count * (dims[-1] or 0)
        for d in dims:
            n *= d or 0
        return n

    return flops


def _infer_move(inputs: Sequence[Any], attrs: Any) -> Any:
    a, e = inputs
    dims = matrices(inputs, square=True)
    if not compatible(dims, e.dims):
        raise ShapeError(
            f"the matrix {text(a.dims)} and its direction {text(e.dims)} differ"
        )
    return ((a.dtype, merge(dims, e.dims)),)


def _frechet(a: Tensor, e: Tensor) -> Tensor:
    """L(A, E): d/dt expm(A + t E) at 0."""
    return create(MOVE, (a, e))


def _frechet_of(a: Tensor, e: Tensor, direction: Tensor) -> Tensor:
    """d/dt L(A + t D, E) at 0: a corner of L([[A, E], [0, A]], [[D, 0], [0, D]])."""
    zero = TABLE["zeros_like"](a)
    block = concat([concat([a, e], -1), concat([zero, a], -1)], -2)
    along = concat([concat([direction, zero], -1), concat([zero, direction], -1)], -2)
    n = _size(a)
    return TABLE["getitem"](  # type: ignore[no-any-return]
        _frechet(block, along), (..., slice(None, n), slice(n, None))
    )


def _move_vjp(op: Operation, g: Tensor) -> list[Tensor]:
    # <G, L(A, E)> = <L(A^H, G), E>, and what A gives is how that moves with E.
    a, e = (adjoint(t) for t in op.inputs)
    return [_frechet_of(a, g, e), _frechet(a, g)]


def _move_jvp(op: Operation, ta: Tensor | None, te: Tensor | None) -> Tensor | None:
    a, e = op.inputs
    parts = []
    if ta is not None:
        parts.append(_frechet_of(a, e, ta))
    if te is not None:
        parts.append(_frechet(a, te))
    return TABLE["add_n"](parts) if len(parts) > 1 else parts[0]


def _size(a: Tensor) -> Any:
    """n, a number where it is known, else a scalar tensor."""
    known = (a.dims or (None,))[-1]
    return TABLE["getitem"](shape_of(a), -1) if known is None else known


def _exponential_series(blocks: Series, n: Any) -> list[Tensor]:
    """The coefficients of exp(A(t)) from those of A(t), by one exponential.

    Truncated series multiply as block triangular Toeplitz matrices [[A_0, A_1,
    ...], [0, A_0, ...], ...] do, so the exponential of that matrix is the Toeplitz
    matrix of the coefficients of exp(A(t)).
    """
    zero = TABLE["zeros_like"](blocks[0])
    filled = [zero if c is None else c for c in blocks]
    count = len(filled)
    rows = [concat([*[zero] * i, *filled[: count - i]], -1) for i in range(count)]
    top = TABLE["getitem"](
        create(EXPM, (concat(rows, -2),)), (..., slice(None, n), slice(None))
    )
    return [
        TABLE["getitem"](top, (..., slice(n * k, n * (k + 1)))) for k in range(count)
    ]


def _expm_jet(op: Operation, series: list[Series]) -> list[Series]:
    rest = _exponential_series(series[0], _size(op.inputs[0]))[1:]
    return [[op.outputs[0], *rest]]


def _move_jet(op: Operation, series: list[Series]) -> list[Series]:
    """L(A(t), E(t)) is a corner of exp([[A(t), E(t)], [0, A(t)]])."""
    zero, n = TABLE["zeros_like"](op.inputs[0]), _size(op.inputs[0])
    blocks: Series = []
    for a, e in zip(*series):
        if a is None and e is None:
            blocks.append(None)
            continue
        a, e = (zero if c is None else c for c in (a, e))
        blocks.append(concat([concat([a, e], -1), concat([zero, a], -1)], -2))
    whole = _exponential_series(blocks, 2 * n)[1:]
    corner = (..., slice(None, n), slice(n, None))
    return [[op.outputs[0], *[TABLE["getitem"](c, corner) for c in whole]]]


EXPM = OpDef(
    "MatrixExponential",
    infer=infer_square,
    kernel=_expm_kernel,
    inputs=("input",),
    vjp=(lambda op, g: _frechet(adjoint(op.inputs[0]), g),),
    jvp=lambda op, t: _frechet(op.inputs[0], t),
    jet=_expm_jet,
    writes_out=True,
    flops=_cubes(16),
    batch=batch.leading,
    doc="y = I + A + A^2/2 + A^3/6 + ...",
)

# Three exponentials' worth, where the corner of expm([[A, E], [0, A]]) takes eight.
MOVE = OpDef(
    "MatrixExponentialMove",
    infer=_infer_move,
    kernel=_move_kernel,
    inputs=("input", "direction"),
    vjp=_move_vjp,
    jvp=_move_jvp,
    jet=_move_jet,
    writes_out=True,
    flops=_cubes(48),
    batch=batch.leading,
    doc="d/dt expm(A + t E) at t = 0",
)


def expm(input: Any, name: str | None = None) -> Tensor:
    """The matrix exponential I + A + A^2/2 + A^3/6 + ... (computed in float64).

    Shapes: (..., n, n) -> (..., n, n).

    Raises:
        ShapeError: A is not square.

    Gradient: the Frechet derivative at A^H, computed beside the exponential.

    Reference:
        Higham, SIAM J. Matrix Anal. Appl. 26 (2005); Al-Mohy & Higham, ibid. 30
        (2009), for the derivative.
    """
    return create(EXPM, (inexact(input),), None, name)
