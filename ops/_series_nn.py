"""Taylor rules of softmax and of the cross entropies; see ``_jets``.

With s = log Σ exp(x), the softmax p obeys s' = Σ p x' and p' = p (x' - s'), which
gives both series together, order by order, from p_0 alone.
"""

from __future__ import annotations

from ..graphlib.operation import Operation
from ..graphlib.operators import TABLE
from ..graphlib.series import Series, scale
from ..graphlib.tensor import Tensor
from ._jets import Coefficient, cauchy, difference, multiplied, step, velocities

__all__ = [
    "entropy_jet",
    "log_softmax_jet",
    "softmax_grad_jet",
    "softmax_jet",
    "sparse_entropy_jet",
]


def _total(t: Coefficient, axis: int, keep: bool = True) -> Coefficient:
    return None if t is None else TABLE["reduce_sum"](t, axis, keep)


def _normalised(x: Series, p_0: Tensor, axis: int) -> tuple[Series, Series]:
    """The series of log p = x - s (entry 0 is left as None) and of p."""
    moved = velocities(x)
    logs: Series = [None]
    slopes: Series = [None]
    p: Series = [p_0]
    for k in range(1, len(x)):
        logs.append(difference(x[k], _total(step(moved, p, k), axis)))
        slopes.append(scale(logs[k], k))
        p.append(step(slopes, p, k))
    return logs, p


def softmax_jet(op: Operation, series: list[Series]) -> list[Series]:
    """The rule of Softmax."""
    return [_normalised(series[0], op.outputs[0], op.attrs["axis"])[1]]


def log_softmax_jet(op: Operation, series: list[Series]) -> list[Series]:
    """The rule of LogSoftmax."""
    y = op.outputs[0]
    p_0 = TABLE["softmax"](op.inputs[0], op.attrs["axis"])
    logs, _ = _normalised(series[0], p_0, op.attrs["axis"])
    return [[y, *logs[1:]]]


def softmax_grad_jet(op: Operation, series: list[Series]) -> list[Series]:
    """The rule of SoftmaxGrad: y (g - Σ g y)."""
    y, g = series
    axis = op.attrs["axis"]
    inner = [difference(t, _total(s, axis)) for t, s in zip(g, multiplied(g, y))]
    return [[op.outputs[0], *multiplied(y, inner)[1:]]]


def entropy_jet(op: Operation, series: list[Series]) -> list[Series]:
    """The rule of the dense cross entropy: -Σ labels log p, and p Σ labels - labels."""
    x, labels = series
    logs, p = _normalised(x, TABLE["softmax"](op.inputs[0]), -1)
    mass = [_total(t, -1) for t in labels]
    moving = any(t is not None for t in labels[1:])
    logs[0] = TABLE["log_softmax"](op.inputs[0]) if moving else None
    loss: Series = [op.outputs[0]]
    back: Series = [op.outputs[1]]
    mul = TABLE["mul"]
    for k in range(1, len(x)):
        loss.append(scale(_total(cauchy(mul, labels, logs, k), -1, False), -1))
        back.append(difference(cauchy(mul, mass, p, k), labels[k]))
    return [loss, back]


def sparse_entropy_jet(op: Operation, series: list[Series]) -> list[Series]:
    """The rule of the sparse one: loss' = Σ (p - one_hot) x'."""
    x = series[0]
    _, p = _normalised(x, TABLE["softmax"](op.inputs[0]), -1)
    back = [op.outputs[1], *p[1:]]
    moved = velocities(x)
    loss: Series = [op.outputs[0]]
    for k in range(1, len(x)):
        loss.append(_total(step(moved, back[:k], k), -1, False))
    return [loss, back]
