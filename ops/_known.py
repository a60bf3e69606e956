"""What the graph knows of tensors before a run: values, and where zeros are.

A value is known where nothing that a run brings (feeds, variables, random draws)
reaches it.  Zeros are known in more places: off the diagonal of a matrix that is
built from its diagonal, around a padded array, wherever a factor is zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from ..graphlib.errors import ShapeError
from ..graphlib.operation import Operation
from ..graphlib.shapes import is_static, text
from ..graphlib.tensor import Tensor

__all__ = ["MOVING", "Known", "dims_of", "moving_attrs", "size_of"]

#: Ops whose kernel only moves elements (or fills in zeros), whatever they are.
MOVING = (
    "AdvancedIndex", "ConcatV2", "Delay", "Fill", "GatherNd", "GatherNdLast",
    "MatrixBandPart", "MatrixDiag", "MatrixDiagPart", "MatrixSetDiag",
    "MatrixTranspose", "MirrorPad", "Pack", "Pad", "ReverseSequence", "ReverseV2",
    "Roll", "SegmentGather", "Slice", "SliceGrad", "Split", "SplitV", "Spread",
    "StridedSlice", "StridedSliceGrad", "TensorScatterUpdate", "Tile", "Transpose",
    "TransposeBy", "Unpack",
)  # fmt: skip

# Ops whose result depends on the shape of their input only.
_SHAPE_ONLY = frozenset(
    ("Shape", "Size", "Rank", "ReducedSize", "ZerosLike", "OnesLike")
)

# Ops that may put zeros where no input has one.
_MAKES_ZEROS = frozenset(
    (*MOVING, "GatherGrad", "ScatterNd", "ScatterRows", "SegmentSum",
     "UnsortedSegmentSum")
)  # fmt: skip

# Ops whose kernel, run on ones and zeros, shows where zeros stay.
_KEEPS_ZEROS = _MAKES_ZEROS | frozenset(
    ("Add", "AddN", "BroadcastTo", "ExpandDims", "GatherV2", "Identity", "Neg",
     "Reshape", "Squeeze", "Sub", "Sum", "SumTo")
)  # fmt: skip

# f(0) = 0, element by element.
_FIXES_ZERO = frozenset(
    ("Abs", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Conj", "Elu", "Erf", "Expm1",
     "LeakyRelu", "Log1p", "Relu", "Relu6", "Selu", "Sign", "Sin", "Sinh", "Softsign",
     "Sqrt", "Square", "Tan", "Tanh")
)  # fmt: skip

# How many of the first inputs make zero where one of them is.
_FACTORS = {"Mul": 2, "RealDiv": 1, "DivNoNan": 1}


def dims_of(t: Tensor) -> tuple[int, ...]:
    """The static shape of a tensor.

    Raises:
        ShapeError: a dimension is not known.
    """
    if is_static(t.dims):
        return t.dims
    if t.dims is None:
        missing = "its rank is not known"
    else:
        at = [i for i, d in enumerate(t.dims) if d is None]
        missing = f"dimension {', '.join(map(str, at))} of {text(t.dims)} is not known"
    raise ShapeError(
        t.op.explain(
            f"a sparsity pattern counts elements, so shapes must be static, but of "
            f"{t.name!r} {missing}: give the placeholders full shapes, or call "
            "set_shape on this tensor"
        ),
        t.op,
    )


def size_of(t: Tensor) -> int:
    """The number of elements of a tensor of static shape."""
    return prod(dims_of(t))


def moving_attrs(op: Operation) -> dict[str, Any]:
    """The attrs of a moving op for a run on numbers: what it fills in is 0."""
    attrs = dict(op.attrs)
    if op.type == "Pad":
        attrs["value"] = 0
    return attrs


class Known:
    """What is known of the tensors of one graph, found on demand and kept.

    Args:
        free: tensors that are taken to have any value, constants or not.

    Attributes:
        read: the tensors whose values were asked for, or went into others.
    """

    def __init__(self, free: Iterable[Tensor] = ()) -> None:
        self._values: dict[Tensor, Any] = dict.fromkeys(free)
        self._nonzero: dict[Tensor, Any] = dict.fromkeys(self._values)
        self.read: set[Tensor] = set()

    def learn(self, t: Tensor, value: Any) -> None:
        """Take ``t`` to have this value."""
        self._values[t] = value
        self._nonzero.pop(t, None)

    def value(self, t: Tensor) -> Any:
        """The value as an ndarray, or None where it depends on anything."""
        self.read.add(t)
        if t in self._values:
            return self._values[t]
        stack = [t]
        while stack:
            top = stack[-1]
            if top in self._values:
                stack.pop()
                continue
            if isinstance(top.value, np.ndarray):
                self._values[top] = top.value
                continue
            missing = self._needs(top.op)
            if missing is None:
                self._values.update(dict.fromkeys(top.op.outputs))
            elif missing:
                stack.extend(missing)
            else:
                self._run(top.op)
        return self._values[t]

    def _needs(self, op: Operation) -> list[Tensor] | None:
        """Inputs to look at first; None where the op is no constant."""
        opdef = op.opdef
        if opdef.kernel is None or opdef.effect not in (None, "constant"):
            return None
        if op.type in _SHAPE_ONLY:
            return [] if is_static(op.inputs[0].dims) else None
        values = self._values
        if any(t in values and values[t] is None for t in op.inputs):
            return None
        return [t for t in op.inputs if t not in values]

    def _run(self, op: Operation) -> None:
        if op.type in _SHAPE_ONLY:
            x = op.inputs[0]
            arrays = [np.broadcast_to(np.zeros((), x.dtype.dtype), dims_of(x))]
        else:
            arrays = [self._values[t] for t in op.inputs]
            self.read.update(op.inputs)
        kernel = op.opdef.kernel
        with np.errstate(all="ignore"):
            if isinstance(kernel, str):
                results = getattr(np, kernel)(*arrays)
            else:
                results = kernel(np, *arrays, **op.attrs)  # type: ignore[misc]
        if len(op.outputs) == 1 and not isinstance(results, (tuple, list)):
            results = (results,)
        for t, r in zip(op.outputs, results):
            self._values[t] = np.asarray(r)

    def nonzero(self, t: Tensor) -> Any:
        """A bool for each element: False where it is always 0; None: all may be not.

        NaN and infinities do not count: a factor 0 is taken to make 0.
        """
        found = self._nonzero
        stack = [t]
        while stack:
            top = stack[-1]
            if top in found:
                stack.pop()
                continue
            value = self.value(top)
            if value is not None:
                found[top] = value != 0
                continue
            op = top.op
            tensors = (*op.inputs, *op.outputs)
            if not _keeps_zeros(op) or any(not is_static(u.dims) for u in tensors):
                found.update(dict.fromkeys(op.outputs))
                continue
            missing = [u for u in op.inputs if u not in found and u.dtype.is_inexact]
            if missing:
                stack.extend(missing)
            else:
                self._mark(op)
        return found[t]

    def _mark(self, op: Operation) -> None:
        """The marks of the outputs, from those of the inputs."""
        found = self._nonzero
        marks = [found[u] if u.dtype.is_inexact else None for u in op.inputs]
        results: Any = [None] * len(op.outputs)
        if op.type in _FACTORS:
            factors = [m for m in marks[: _FACTORS[op.type]] if m is not None]
            if factors:
                out = dims_of(op.outputs[0])
                spread = [np.broadcast_to(m, out) for m in factors]
                results = [np.logical_and.reduce(spread)]
        elif op.type in _FIXES_ZERO:
            results = marks[:1]
        elif op.type in _MAKES_ZEROS or any(m is not None for m in marks):
            results = self._moved(op, marks)
        found.update(zip(op.outputs, results))

    def _moved(self, op: Operation, marks: list[Any]) -> Any:
        """Zeros and ones through the op's kernel, in place of numbers."""
        arrays = []
        for u, m in zip(op.inputs, marks):
            if not u.dtype.is_inexact:
                arrays.append(self.value(u))
            elif m is None:
                arrays.append(np.ones(dims_of(u)))
            else:
                arrays.append(np.asarray(m, np.float64))
        if any(a is None for a in arrays):
            return [None] * len(op.outputs)
        kernel = op.opdef.kernel
        if op.type in ("Add", "Sub", "Neg"):
            results = sum(arrays)
        elif op.type == "Pad" and op.attrs["value"]:
            return [None]
        else:
            results = kernel(np, *arrays, **op.attrs)  # type: ignore[operator, misc]
        if not isinstance(results, (tuple, list)):
            results = (results,)
        return [np.asarray(r) != 0 for r in results]


def _keeps_zeros(op: Operation) -> bool:
    """Whether zeros of the inputs say anything about zeros of the outputs."""
    return op.type in _KEEPS_ZEROS or op.type in _FIXES_ZERO or op.type in _FACTORS
