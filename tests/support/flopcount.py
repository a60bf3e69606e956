"""Flops of a plan, counted by rules of its own: the oracle of the cheap-gradient tests.

``plan_flops(plan)`` adds up what the steps of a plan cost, from the types of the
operations and the shapes of arrays alone.  A type without a rule is an error, so
that nothing is counted as free by accident.

The rules are those of Griewank & Walther's model: an arithmetic operation on one
number is one flop, moving or selecting a number is none, and a transcendental
function is ``TRANSCENDENTAL`` flops, wherever it stands.
"""

from __future__ import annotations

import math
from typing import Any

TRANSCENDENTAL = 4

# Nothing is computed, numbers are moved at most.
_MOVES = {
    "BroadcastTo", "ConcatV2", "Delay", "ExpandDims", "Fill", "Identity",
    "MatrixBandPart", "MatrixDiag", "MatrixDiagPart", "MatrixSetDiag",
    "MatrixTranspose", "Pack", "Pad", "Reshape", "SegmentGather", "SegmentOrder",
    "SelectV2", "Shape", "Split", "Spread", "Squeeze", "StridedSlice",
    "StridedSliceGrad", "Transpose", "Unpack", "ZerosLike",
}  # fmt: skip

# Flops per element of the result.
_EACH = {
    "Add": 1, "Cos": TRANSCENDENTAL, "Exp": TRANSCENDENTAL, "Log": TRANSCENDENTAL,
    "Mul": 1, "Neg": 1, "RealDiv": 1, "Relu": 1, "ReluGrad": 1,
    "Sigmoid": TRANSCENDENTAL, "SigmoidGrad": 3, "Sin": TRANSCENDENTAL, "Square": 1,
    "Sub": 1, "Tanh": TRANSCENDENTAL, "TanhGrad": 3,
}  # fmt: skip


def plan_flops(plan: Any) -> int:
    """The flops of all steps of a plan."""
    return sum(
        step_flops(
            step.opdef.type,
            [plan.slots[i].dims for i in step.inputs],
            [plan.slots[i].dims for i in step.outputs],
            step.attrs,
        )
        for step in plan.steps
    )


def step_flops(type: str, ins: list[Any], outs: list[Any], attrs: Any) -> int:
    """The flops of one operation on arrays of these shapes."""
    if type in _MOVES:
        return 0
    if type in _EACH:
        return _EACH[type] * math.prod(outs[0])
    rule = _RULES.get(type)
    assert rule is not None, f"no rule says what {type} costs"
    count: int = rule(ins, outs, attrs)
    return count


def _add_n(ins: list[Any], outs: list[Any], attrs: Any) -> int:
    return (len(ins) - 1) * math.prod(outs[0])


def _reduce(ins: list[Any], outs: list[Any], attrs: Any) -> int:
    """One operation per element that goes in: sums, products, running ones."""
    return math.prod(ins[0])


def _log_sum_exp(ins: list[Any], outs: list[Any], attrs: Any) -> int:
    """Maximum, subtract, exp, add; then log and add for each result."""
    return (3 + TRANSCENDENTAL) * math.prod(ins[0]) + (1 + TRANSCENDENTAL) * math.prod(
        outs[0]
    )


def _softmax(ins: list[Any], outs: list[Any], attrs: Any) -> int:
    """Maximum, subtract, exp, add, divide."""
    return (4 + TRANSCENDENTAL) * math.prod(ins[0])


def _matmul(ins: list[Any], outs: list[Any], attrs: Any) -> int:
    """A product and a sum for each of m n k."""
    inner = ins[0][-2 if attrs.get("transpose_a") or attrs.get("adjoint_a") else -1]
    return 2 * inner * math.prod(outs[0])


def _cholesky(ins: list[Any], outs: list[Any], attrs: Any) -> int:
    n = ins[0][-1]
    return math.prod(ins[0]) * n // 3


def _triangular_solve(ins: list[Any], outs: list[Any], attrs: Any) -> int:
    return ins[0][-1] * math.prod(outs[0])  # type: ignore[no-any-return]


def _cubes(count: float) -> Any:
    """``count`` times n^3 for matrices n x n."""
    return lambda ins, outs, attrs: int(count * math.prod(ins[0]) * ins[0][-1])


def _conv(out: Any, kernel: Any) -> int:
    """Each number of the result is an inner product over window and channels."""
    return 2 * math.prod(out) * math.prod(kernel[:3])


def _window(array: Any, attrs: Any) -> int:
    """One comparison per number in each window."""
    return math.prod(array) * math.prod(attrs["ksize"])


_RULES: dict[str, Any] = {
    "AddN": _add_n,
    "Cholesky": _cholesky,
    "Conv2D": lambda ins, outs, attrs: _conv(outs[0], ins[1]),
    "Conv2DBackpropFilter": lambda ins, outs, attrs: _conv(ins[2], outs[0]),
    "Conv2DBackpropInput": lambda ins, outs, attrs: _conv(ins[2], ins[1]),
    "Cumprod": _reduce,
    "LinearRecurrence": lambda ins, outs, attrs: 2 * math.prod(outs[0]),
    "LogMatrixDeterminant": _cubes(2 / 3),
    "LogSumExp": _log_sum_exp,
    "LogSumExpWeights": _softmax,
    "MatMul": _matmul,
    # Pade [13/13] without squarings: 6 products and a solution, and with the
    # derivative of each step 19 and two.
    "MatrixExponential": _cubes(6 * 2 + 8 / 3),
    "MatrixExponentialMove": _cubes(19 * 2 + 2 * 8 / 3),
    "MatrixInverse": _cubes(8 / 3),  # as NumPy does it: a solution for n right sides
    "MatrixTriangularSolve": _triangular_solve,
    "MaxPool": lambda ins, outs, attrs: _window(outs[0], attrs),
    "MaxPoolGrad": lambda ins, outs, attrs: _window(ins[1], attrs),
    "MaxPoolGradGrad": lambda ins, outs, attrs: _window(outs[0], attrs),
    "Mean": _reduce,
    "Prod": _reduce,
    "ScatterRows": lambda ins, outs, attrs: math.prod(ins[-1]),
    "SegmentCumprod": _reduce,
    "SegmentProd": _reduce,
    "Softmax": _softmax,
    "SoftmaxGrad": lambda ins, outs, attrs: 4 * math.prod(outs[0]),
    "SparseSoftmaxCrossEntropyWithLogits": lambda ins, outs, attrs: (
        _softmax(ins, outs, attrs) + 2 * math.prod(outs[0])
    ),
    "Sum": _reduce,
    "SumTo": _reduce,
    "UnsortedSegmentProd": _reduce,
    "UnsortedSegmentSum": _reduce,
}
