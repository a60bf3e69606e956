"""The matrix exponential."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.opdef import OpDef
from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.taylor import Series
from ..graphlib.tensor import Tensor
from ._build import create, inexact
from .core import shape as shape_of
from .decompositions import infer_square, stored
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
_THETA = 5.371920351148152


def _expm_kernel(xp: Any, a: Any, out: Any = None) -> Any:
    if not a.size:
        return stored(xp, a, out)
    norm = float(xp.max(xp.sum(xp.abs(a), axis=-2)))
    if not np.isfinite(norm):
        return stored(xp, xp.full(a.shape, np.nan, a.dtype), out)
    squarings = max(0, int(np.ceil(np.log2(norm / _THETA)))) if norm > _THETA else 0
    wide = a.astype(np.result_type(a.dtype, np.float64)) / 2.0**squarings
    b = _PADE
    one = xp.eye(a.shape[-1], dtype=wide.dtype)
    a2 = wide @ wide
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2)
    odd = wide @ (odd + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2)
    even = even + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    y = xp.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        y = y @ y
    return stored(xp, y.astype(a.dtype), out)


def _flops(inputs: Any, outputs: Any, attrs: Any) -> int:
    dims = inputs[0].dims
    n = 16 * (dims[-1] or 0)
    for d in dims:
        n *= d or 0
    return n


def _frechet(a: Tensor, e: Tensor) -> Tensor:
    """d/dt expm(A + t E) at 0: the corner of expm([[A, E], [0, A]])."""
    zero = TABLE["zeros_like"](a)
    block = concat([concat([a, e], -1), concat([zero, a], -1)], -2)
    n = _size(a)
    whole = create(EXPM, (block,))
    return TABLE["getitem"](  # type: ignore[no-any-return]
        whole, (..., slice(None, n), slice(n, None))
    )


def _size(a: Tensor) -> Any:
    """n, a number where it is known, else a scalar tensor."""
    known = (a.dims or (None,))[-1]
    return TABLE["getitem"](shape_of(a), -1) if known is None else known


def _expm_jet(op: Operation, series: list[Series]) -> list[Series]:
    """All coefficients from one exponential.

    Truncated series multiply as block triangular Toeplitz matrices [[A_0, A_1,
    ...], [0, A_0, ...], ...] do, so the exponential of that matrix is the Toeplitz
    matrix of the coefficients of exp(A(t)).
    """
    a_0 = op.inputs[0]
    zero, n = TABLE["zeros_like"](a_0), _size(a_0)
    blocks = [zero if c is None else c for c in series[0]]
    order = len(blocks) - 1
    rows = [
        concat([*[zero] * i, *blocks[: order + 1 - i]], -1) for i in range(order + 1)
    ]
    top = TABLE["getitem"](
        create(EXPM, (concat(rows, -2),)), (..., slice(None, n), slice(None))
    )
    rest: Series = [
        TABLE["getitem"](top, (..., slice(n * k, n * (k + 1))))
        for k in range(1, order + 1)
    ]
    return [[op.outputs[0], *rest]]


EXPM = OpDef(
    "MatrixExponential",
    infer=infer_square,
    kernel=_expm_kernel,
    inputs=("input",),
    vjp=(lambda op, g: _frechet(adjoint(op.inputs[0]), g),),
    jvp=lambda op, t: _frechet(op.inputs[0], t),
    jet=_expm_jet,
    writes_out=True,
    flops=_flops,
    doc="y = I + A + A^2/2 + A^3/6 + ...",
)


def expm(input: Any, name: str | None = None) -> Tensor:
    """The matrix exponential I + A + A^2/2 + A^3/6 + ... (computed in float64).

    Shapes: (..., n, n) -> (..., n, n).

    Raises:
        ShapeError: A is not square.

    Gradient: the Frechet derivative at A^H, as a block of one larger
    exponential.

    Reference:
        Higham, SIAM J. Matrix Anal. Appl. 26 (2005); Al-Mohy & Higham (2009).
    """
    return create(EXPM, (inexact(input),), None, name)
