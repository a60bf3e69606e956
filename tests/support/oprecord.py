"""Records of ops: what the generic op tests run over.

A file ``tests/op_records/<family>.py`` holds ``RECORDS = [Record(...), ...]``.
A record says how to build the op from tensors, what NumPy or SciPy says the
result is, and what inputs to draw:

    from oprecord import Arg, Record

    RECORDS = [
        Record(("Tanh", "TanhGrad"), lambda x: ops.tanh(x), (Arg((2, 3)),), np.tanh),
        Record(("Add",), ops.add, (Arg((2, 3)), Arg((3,))), np.add, name="rows"),
        Record(("Argmax",), ops.argmax, (Arg((5,)),), np.argmax, order=0),
    ]

* Inputs should stay clear of kinks and of the edge of the domain (``low``,
  ``high``, ``sample``): derivatives are compared with differences.
* Integer inputs with a fixed meaning (indices, sizes) get ``dtype="int32"``.
* ``types`` lists every op type that the record covers, in the graph that
  ``build`` makes or in its gradients.
* Shapes are small: a record runs many times.

Run one family, or one op:

    python -m pytest tests/test_ops_generic.py -q -k "elementwise and Tanh"

or, from a script, a file of records that lies anywhere (say /tmp/mine.py):

    PYTHONPATH=tests/support python -c "import opchecks; opchecks.run('/tmp/mine.py')"
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dagrad.graphlib.dtypes import as_dtype

__all__ = ["Arg", "Record"]


@dataclass(frozen=True)
class Arg:
    """One input: uniform samples in [low, high], integers for integer dtypes.

    Attributes:
        shape: its shape.
        low, high: the range of the samples.
        dtype: None for the dtype under test, else a fixed one.
        sample: ``f(rng, shape, numpy dtype) -> ndarray`` for special domains.
        differentiable: whether derivatives with respect to it are checked.
    """

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str | None = None
    sample: Callable[..., Any] | None = None
    differentiable: bool = True

    def draw(self, rng: np.random.Generator, dtype: str) -> Any:
        """A sample, as an array of the argument's dtype."""
        target = as_dtype(self.dtype or dtype).dtype
        if self.sample is not None:
            return np.asarray(self.sample(rng, self.shape, target), target)
        if target.kind == "b":
            return rng.integers(0, 2, self.shape).astype(bool)
        if target.kind in "iu":
            low = max(int(np.ceil(self.low)), 0 if target.kind == "u" else -(2**31))
            high = int(np.floor(self.high))
            return rng.integers(low, high, self.shape, endpoint=True).astype(target)
        array = np.asarray(rng.uniform(self.low, self.high, self.shape))
        if target.kind == "c":
            array = array + 1j * rng.uniform(self.low, self.high, self.shape)
        return np.asarray(array, target)


@dataclass(frozen=True)
class Record:
    """How to test one op; see the module's text.

    Attributes:
        types: the op types that it covers, the one under test first.
        build: takes one Tensor per Arg, returns a Tensor or a list of Tensors.
        args: the inputs.
        reference: the same on arrays; None only where results are random.
        name: distinguishes variants.
        dtypes: the dtypes to test.
        order: derivatives are checked up to this order (0: none exist).
        rtol, atol: tolerance of the forward comparison.
        dynamic: also build with every dimension unknown.
        exact: inference gives the exact shape from exact input shapes (False
            where the shape depends on values that are not small integers).
    """

    types: tuple[str, ...]
    build: Callable[..., Any]
    args: tuple[Arg, ...]
    reference: Callable[..., Any] | None = None
    name: str = ""
    dtypes: tuple[str, ...] = ("float32", "float64")
    order: int = 2
    rtol: float | None = None
    atol: float | None = None
    dynamic: bool = True
    exact: bool = True

    @property
    def label(self) -> str:
        """The op under test and the variant's name."""
        return f"{self.types[0]}-{self.name}" if self.name else self.types[0]

    def draw(self, dtype: str) -> list[Any]:
        """The inputs: the same numbers in every run and (rounded) every dtype."""
        rng = np.random.default_rng(zlib.crc32(self.label.encode()))
        return [a.draw(rng, dtype) for a in self.args]
