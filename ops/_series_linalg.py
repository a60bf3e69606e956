"""Taylor rules of matrix functions; see ``_jets``."""

from __future__ import annotations

from collections.abc import Callable

from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series, scale
from ..graphlib.tensor import Tensor
from ._jets import cauchy, difference

__all__ = ["inverse_jet", "solve_jet"]


def solve_jet(
    part: Callable[[Operation, Tensor], Tensor] | None = None,
) -> Callable[..., list[Series]]:
    """The rule of x with A x = b: A_0 x_k = b_k - Σ A_j x_(k-j) over j >= 1.

    Args:
        part: builds what counts of A_j, where the op reads a part of A only.
    """

    def rule(op: Operation, series: list[Series]) -> list[Series]:
        a, b = series
        rest: Series = [None]
        for t in a[1:]:
            rest.append(t if t is None or part is None else part(op, t))
        x: Series = [op.outputs[0]]
        for k in range(1, len(a)):
            top = difference(b[k], cauchy(_applied(op), rest, [*x, None], k))
            if top is not None:
                inputs = (op.inputs[0], top)
                top = op.graph.create_op(op.opdef, inputs, dict(op.attrs)).outputs[0]
            x.append(top)
        return [x]

    return rule


def inverse_jet(op: Operation, series: list[Series]) -> list[Series]:
    """Y = A^-1: Y_k = -Y_0 Σ A_j Y_(k-j) over j >= 1."""
    rest: Series = [None, *series[0][1:]]
    y_0 = op.outputs[0]
    y: Series = [y_0]
    for k in range(1, len(rest)):
        change = cauchy(_applied(op), rest, [*y, None], k)
        y.append(None if change is None else scale(TABLE["matmul"](y_0, change), -1))
    return [y]


def _applied(op: Operation) -> Callable[[Tensor, Tensor], Tensor]:
    """A x, or A^H x for an op with ``adjoint``."""
    adjoint = op.attrs["adjoint"]
    return lambda a, x: TABLE["matmul"](a, x, adjoint_a=adjoint)
