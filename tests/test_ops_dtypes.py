"""Every op with every dtype: refused while it is built, or right when it runs.

A dtype that an op does not take is a DTypeError of its builder that says what it
takes, never a NumPy error of a run; where it is taken, what inference says is what
the kernel makes, in every way to call it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import opchecks
import pytest
from evaluate import evaluate
from oprecord import Arg, Record

import dagrad as dg

_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
    *("uint64", "float16", "float32", "float64", "complex64", "complex128", "string"),
)
# What only the values tell.
_VALUES = (
    "negative integer powers",
    "positive definite",
    "singular",
    "zero on its diagonal",
    "division by zero",
    "is not in [",
)


def _records() -> Iterator[Any]:
    for path in sorted((Path(__file__).parent / "op_records").glob("*.py")):
        for record in opchecks.load(path):
            if any(a.dtype is None for a in record.args):
                yield pytest.param(record, id=f"{path.stem}-{record.label}")


def _draw(arg: Arg, rng: np.random.Generator, dtype: str) -> Any:
    """A sample of the argument in a dtype that its record may not know."""
    if arg.dtype is not None:
        return arg.draw(rng, "float64")
    if dtype == "string":
        return np.full(arg.shape, b"text", object)
    if arg.sample is None and np.ceil(max(arg.low, 0)) <= np.floor(arg.high):
        return arg.draw(rng, dtype)
    if arg.sample is None:  # no integers in its range
        return rng.uniform(arg.low, arg.high, arg.shape).astype(dtype)
    wide = np.asarray(arg.sample(rng, arg.shape, np.dtype("float64")))
    if wide.dtype.kind == "c" and dg.as_dtype(dtype).kind < 3:
        wide = wide.real
    return wide.astype(dg.as_dtype(dtype).dtype)


@pytest.mark.parametrize("record", list(_records()))
def test_every_dtype(record: Record) -> None:
    for dtype in _DTYPES:
        if dtype in record.dtypes:
            continue
        rng = np.random.default_rng(zlib.crc32(record.label.encode()))
        with np.errstate(all="ignore"):
            arrays = [_draw(a, rng, dtype) for a in record.args]
            _build_and_run(record, dtype, arrays)


def _build_and_run(record: Record, dtype: str, arrays: list[Any]) -> None:
    with dg.Graph().as_default():
        inputs = [dg.placeholder(dg.as_dtype(a.dtype), a.shape) for a in arrays]
        try:
            built = record.build(*inputs)
        except (dg.errors.DTypeError, dg.errors.InvalidArgumentError) as error:
            assert len(str(error)) > 20, f"{dtype}: say what is taken"
            return
        outputs = list(built) if isinstance(built, (list, tuple)) else [built]
        feeds = dict(zip(inputs, arrays))
        strict = opchecks.StrictCall(record.exact)
        try:
            evaluate(outputs, feeds, call=strict)
            xs = [t for t in inputs if t.dtype.is_inexact]
            ys = [t for t in outputs if t.dtype.is_inexact]
            if record.order and xs and ys:
                pulled = dg.gradients(ys, xs)
                for x, g in zip(xs, pulled, strict=True):
                    assert g is None or (g.dtype is x.dtype), f"{dtype}: {g!r}"
                evaluate([g for g in pulled if g is not None], feeds, call=strict)
        except (dg.errors.InvalidArgumentError, ValueError) as error:
            assert any(v in str(error) for v in _VALUES), f"{dtype}: {error}"


@pytest.mark.parametrize(
    ("build", "dtype", "taken"),
    [
        (lambda x: dg.add_n([x, x]), "bool", "integers, floating, complex"),
        (lambda x: dg.cross(x, x), "bool", "integers, floating, complex"),
        (lambda x: dg.scatter_nd([[0]], x, [4]), "string", "numbers or bool"),
        (dg.reduce_sum, "bool", "integers, floating, complex"),
        (dg.reduce_max, "complex64", "integers, floating"),
        (dg.floor, "int32", "floating"),
        (lambda x: dg.matmul(x, x), "bool", "integers, floating, complex"),
        (dg.sort, "complex64", "order"),
        (dg.logical_not, "int32", "bool"),
        (dg.lgamma, "complex64", "floating"),
    ],
)
def test_a_refused_dtype_says_what_is_taken(build: Any, dtype: str, taken: str) -> None:
    with dg.Graph().as_default():
        x = dg.placeholder(dtype, None)
        with pytest.raises(dg.errors.DTypeError, match=taken) as caught:
            build(x)
        assert dtype in str(caught.value) or "string" in str(caught.value)
