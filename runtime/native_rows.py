"""Softmax and its kin as native loops: a row is worked on while it is cached.

The formulas stand here once more, as tapes: those of NumPy's kernels are several passes
over whole arrays.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .native.emit import known
from .native.engine import available
from .native.rows import RowKernel
from .native.trace import Tape, Untraceable
from .native.worker import Native, native
from .plan import Slot, Step

__all__ = ["ROW_FORMULAS", "bind_rows"]

_LEAST = 2048
#: Sums of longer rows are left to NumPy, which adds in pairs.
_LONGEST = 1 << 16
#: Rows up to here are worked on in masked vectors.
_SHORT = 256
_LONG = 1 << 14


def _softmax(t: Tape, x: int) -> tuple[int, ...]:
    e = t.ufunc(np.exp, (t.ufunc(np.subtract, (x, t.reduce("max", x))),))
    return (t.ufunc(np.divide, (e, t.reduce("sum", e))),)


def _log_softmax(t: Tape, x: int) -> tuple[int, ...]:
    d = t.ufunc(np.subtract, (x, t.reduce("max", x)))
    total = t.reduce("sum", t.ufunc(np.exp, (d,)))
    return (t.ufunc(np.subtract, (d, t.ufunc(np.log, (total,)))),)


def _softmax_grad(t: Tape, y: int, g: int) -> tuple[int, ...]:
    total = t.reduce("sum", t.ufunc(np.multiply, (y, g)))
    return (t.ufunc(np.multiply, (t.ufunc(np.subtract, (g, total)), y)),)


def _entropy(t: Tape, x: int, labels: int) -> tuple[int, ...]:
    d = t.ufunc(np.subtract, (x, t.reduce("max", x)))
    inner = t.reduce("sum", t.ufunc(np.multiply, (labels, d)))
    mass = t.reduce("sum", labels)
    e = t.ufunc(np.exp, (d,))
    total = t.reduce("sum", e)
    whole = t.ufunc(np.multiply, (t.ufunc(np.log, (total,)), mass))
    scaled = t.ufunc(np.multiply, (e, t.ufunc(np.divide, (mass, total))))
    loss = t.ufunc(np.subtract, (whole, inner))
    return loss, t.ufunc(np.subtract, (scaled, labels))


def _sparse_entropy(t: Tape, x: int, label: int) -> tuple[int, ...]:
    dtype = t.code[x][1]
    d = t.ufunc(np.subtract, (x, t.reduce("max", x)))
    chosen = t.ufunc(np.equal, (t.index(), t.cast(label, np.int64)))
    zero, one = t.const(0, dtype), t.const(1, dtype)
    inner = t.reduce("sum", t.add("select", dtype, chosen, d, zero))
    e = t.ufunc(np.exp, (d,))
    total = t.reduce("sum", e)
    loss = t.ufunc(np.subtract, (t.ufunc(np.log, (total,)), inner))
    part = t.ufunc(np.divide, (e, total))
    return loss, t.ufunc(np.subtract, (part, t.add("select", dtype, chosen, one, zero)))


#: Its second input is a number of each row.
_SPARSE = "SparseSoftmaxCrossEntropyWithLogits"

ROW_FORMULAS: Mapping[str, Callable[..., tuple[int, ...]]] = {
    "LogSoftmax": _log_softmax,
    "Softmax": _softmax,
    "SoftmaxCrossEntropyWithLogits": _entropy,
    "SoftmaxGrad": _softmax_grad,
    _SPARSE: _sparse_entropy,
}


def bind_rows(step: Step, slots: Sequence[Slot], numpy: Any, mode: str) -> Any:
    """A function of the step's inputs and outputs: ``numpy``, or what runs natively as
    soon as it can."""
    formula = ROW_FORMULAS.get(step.opdef.type)
    if formula is None or mode == "off" or not available():
        return numpy
    ins = [slots[s] for s in step.inputs]
    dims = ins[0].dims or ()
    sparse = step.opdef.type == _SPARSE
    if None in dims or not dims:
        return numpy
    if not sparse and any(s.dims != dims for s in ins):
        return numpy
    if step.attrs.get("axis", -1) not in (-1, len(dims) - 1):
        return numpy
    if math.prod(dims) < _LEAST or not 8 <= dims[-1] <= _LONGEST:  # type: ignore
        return numpy
    arrays = [*ins, *(slots[s] for s in step.outputs)]
    try:
        kernel = _kernel(formula, len(ins), arrays, dims)
    except Untraceable:
        return numpy
    kind = _SparseRows if sparse else _Rows
    return kind(native(kernel), numpy, mode, len(ins), dims)


def _kernel(formula: Any, inputs: int, arrays: Sequence[Slot], dims: Any) -> RowKernel:
    tape = Tape(known)
    given = [tape.input(k, s.dtype.dtype) for k, s in enumerate(arrays[:inputs])]
    results = formula(tape, *given)
    moves = "".join("1" if s.dims == dims else "0" for s in arrays)
    dtypes = tuple(s.dtype.dtype.str for s in arrays)
    short = dims[-1] <= _SHORT
    return RowKernel(tuple(tape.code), results, dtypes, 1, moves, short)


class _Rows:
    """A step over rows of one frame."""

    __slots__ = (
        "_args",
        "_calls",
        "_native",
        "_numpy",
        "_rows",
        "_size",
        "_unsafe",
        "_wait",
    )

    def __init__(
        self, found: Native, numpy: Any, mode: str, inputs: int, dims: Any
    ) -> None:
        self._native = found
        self._numpy = numpy
        self._wait = mode == "wait"
        self._rows = math.prod(dims[:-1])
        self._size = math.prod(dims)
        self._calls = 0
        kernel: Any = found.kernel
        self._unsafe = [(i, inputs + k) for i, k in kernel.schedule.unsafe()]
        self._args = (ctypes.c_int64 * (len(kernel.dtypes) + 1))()
        self._args[len(kernel.dtypes)] = dims[-1]

    def __call__(self, *arrays: Any) -> None:
        found = self._native
        code = found.code
        if code is None:
            self._calls += 1
            code = found.asked(self._wait, self._calls, self._size)
        if code is None or not all(
            a.flags.c_contiguous and a.flags.aligned for a in arrays
        ):
            self._numpy(*arrays)
            return
        addresses = [a.ctypes.data for a in arrays]
        if any(addresses[i] == addresses[k] for i, k in self._unsafe):
            self._numpy(*arrays)
            return
        for k, address in enumerate(addresses):
            self._args[k] = address
        call = code.call if self._size >= _LONG else code.call_short
        call(ctypes.addressof(self._args), 0, self._rows)


class _SparseRows(_Rows):
    """The same with labels of rows, which are looked at first."""

    __slots__ = ("_classes",)

    def __init__(
        self, found: Native, numpy: Any, mode: str, inputs: int, dims: Any
    ) -> None:
        super().__init__(found, numpy, mode, inputs, dims)
        self._classes = dims[-1]

    def __call__(self, *arrays: Any) -> None:
        codes = arrays[1].reshape(-1)
        # Seen as unsigned, a negative label is beyond every class.
        if np.maximum.reduce(codes.view(f"u{codes.itemsize}")) >= self._classes:
            self._numpy(*arrays)  # its error names the label
            return
        super().__call__(*arrays)
