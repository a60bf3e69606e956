"""Every op with inputs of unknown rank, against the same op with known shapes.

A builder that needs a rank must say so in a ShapeError: those records are listed
here with what is missing, so that none joins them unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import opchecks
import pytest
from evaluate import evaluate, plain_call
from oprecord import Record

from dagrad.graphlib.errors import GradientError, ShapeError
from dagrad.graphlib.forward import jvp
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.graphlib.tensor import Tensor
from dagrad.ops.core import placeholder
from dagrad.testing import random_directions

_BLOCKS = "which axes are cut into blocks depends on the rank"
_LETTERS = "'...' stands for as many letters as the rank leaves"
_CONTRACT = "which axes are summed depends on both ranks"
_MASK = "a mask replaces as many axes as it has by one"
_KEYS = "which axes a key means depends on the rank"

# Records whose builder needs a rank, with the reason.
_REFUSED = {
    "array-Reshape-space_to_depth": _BLOCKS,
    "array-Reshape-space_to_depth NCHW": _BLOCKS,
    "array-Reshape-depth_to_space": _BLOCKS,
    "array-Reshape-depth_to_space NCHW": _BLOCKS,
    "array-Reshape-space_to_batch_nd": _BLOCKS,
    "array-Reshape-space_to_batch": _BLOCKS,
    "array-Reshape-batch_to_space_nd": _BLOCKS,
    "array-Reshape-batch_to_space": _BLOCKS,
    "core-PlaceholderWithDefault": "the record itself lists the sizes",
    "decompositions-Cholesky-least squares 4x2 0.0 True": "tall and wide differ",
    "decompositions-Cholesky-least squares 4x2 0.5 True": "tall and wide differ",
    "decompositions-Cholesky-least squares 2x4 0.0 True": "tall and wide differ",
    "decompositions-Cholesky-least squares 2x4 0.5 True": "tall and wide differ",
    "indexing-GatherV2-key last": _KEYS,
    "indexing-MaskIndices-key": _MASK,
    "indexing-MaskIndices": _MASK,
    "indexing-PartitionIndices-two axes": _MASK,
    "indexing-StitchSize": _KEYS,
    "linalg-Einsum-dot": _CONTRACT,
    "linalg-Einsum-dot, inner": _CONTRACT,
    "linalg-Mul-dot, scalar": _CONTRACT,
    "linalg-MatMul-dot": _CONTRACT,
    "linalg-Einsum-...ij,...jk->...ik": _LETTERS,
    "linalg-Einsum-...i,...i->...": _LETTERS,
    "linalg-Einsum-i...,i...->...": _LETTERS,
    "linalg-Einsum-tensordot lists": _CONTRACT,
    "linalg-Einsum-tensordot 0": _CONTRACT,
    "linalg-Einsum-tensordot 1": _CONTRACT,
    "linalg-Einsum-tensordot 2": _CONTRACT,
    "linalg-MatrixDiagPart-tensor": "half the rank is the result's",
    "nn-SoftmaxCrossEntropyWithLogits-middle": "the class axis is moved to the end",
    "nn-GatherV2-embedding-mod": _KEYS,
    "nn-GatherV2-embedding-div": "rows are split by the tables' sizes",
    "nn-GatherV2-embedding-norm": _KEYS,
    "reduction-Svd-norm {'ord': 2, 'axis': (1, 0), 'keepdims': True}": (
        "the matrix axes are moved to the end"
    ),
}
# More of them where the ranks of indices, masks and bounds are unknown too.
_REFUSED_INTEGERS = {
    "indexing-StridedSlice-tensors": "a bound that is no scalar is an array key",
    "indexing-StridedSlice-vectors": "their length is the number of axes cut",
    "indexing-GatherV2-batch_gather": "all axes but the last are batch axes",
    "indexing-MaskIndices-axis": _MASK,
    "indexing-PartitionIndices": _MASK,
}
# Builders that take an unknown rank and gradients that do not.
_NO_GRADIENT = {
    "decompositions-Qr-full, wide": "only wide matrices have one",
    "segments-SegmentProd": "as many axes are labelled as the ids have",
    "segments-SegmentProd-zeros": "as many axes are labelled as the ids have",
    "segments-UnsortedSegmentProd-prod 4": "as SegmentProd",
    "segments-UnsortedSegmentProd-prod 3": "as SegmentProd",
    "segments-UnsortedSegmentProd-zeros": "as SegmentProd",
    "sorting-Sort-axis": "the axis is swapped with the last one",
    "sorting-Sort-descending": "the axis is swapped with the last one",
}


def _records() -> Iterator[Any]:
    for path in sorted((Path(__file__).parent / "op_records").glob("*.py")):
        for record in opchecks.load(path):
            label = f"{path.stem}-{record.label}"
            yield pytest.param(label, record, id=label)


_RECORDS = list(_records())


class _Loose:
    """A record's op on placeholders of unknown rank."""

    def __init__(self, record: Record, dtype: str, integers: bool) -> None:
        arrays = record.draw(dtype)
        integers = integers or all(a.dtype.kind not in "fc" for a in arrays)
        self.graph = Graph()
        with self.graph.as_default():
            self.inputs = [
                placeholder(
                    a.dtype, None if integers or a.dtype.kind in "fc" else a.shape
                )
                for a in arrays
            ]
            built = record.build(*self.inputs)
        self.outputs: list[Tensor] = (
            list(built) if isinstance(built, (list, tuple)) else [built]
        )
        self.feeds = dict(zip(self.inputs, arrays))
        self.xs = [
            t
            for t, a in zip(self.inputs, record.args)
            if t.dtype.is_inexact and a.differentiable
        ]
        self.ys = [t for t in self.outputs if t.dtype.is_inexact]


def _derivatives(made: Any) -> tuple[list[Any], list[Any]]:
    """Gradients and jvps for cotangents and tangents that depend on shapes only."""
    rng = np.random.default_rng(3)
    y_values = evaluate(made.ys, made.feeds)
    x_values = [made.feeds[x] for x in made.xs]
    vs, ts = (random_directions(rng, a) for a in (y_values, x_values))
    with made.graph.as_default():
        seeds = [placeholder(y.dtype, y.dims) for y in made.ys]
        tangents = [placeholder(x.dtype, x.dims) for x in made.xs]
    feeds = {**made.feeds, **dict(zip(seeds, vs)), **dict(zip(tangents, ts))}
    pulled = gradients(made.ys, made.xs, seeds)
    pushed = jvp(made.ys, made.xs, tangents)
    zeros = opchecks._zeros_for_none
    return (
        zeros(pulled, feeds, x_values, plain_call),
        zeros(pushed, feeds, y_values, plain_call),
    )


def _same(got: list[Any], want: list[Any], what: str) -> None:
    for g, w in zip(got, want, strict=True):
        opchecks.close(g, w, what, 1e-9 if w.itemsize > 4 else 1e-4)
        assert g.dtype == w.dtype


def _refuses(action: Any, errors: Any) -> None:
    with pytest.raises(errors) as caught:
        action()
    assert len(str(caught.value)) > 20, "the message must say what is missing"


@pytest.mark.parametrize("integers", [False, True], ids=["floating", "all"])
@pytest.mark.parametrize(("label", "record"), _RECORDS)
def test_unknown_rank(label: str, record: Record, integers: bool) -> None:
    double = [d for d in record.dtypes if d in ("float64", "complex128")]
    dtype = double[0] if double else record.dtypes[-1]
    with np.errstate(all="ignore"):
        if label in _REFUSED or (integers and label in _REFUSED_INTEGERS):
            _refuses(lambda: _Loose(record, dtype, integers), ShapeError)
            return
        fixed = opchecks.Built(record, dtype, dynamic=False)
        loose = _Loose(record, dtype, integers)
        want = evaluate(fixed.outputs, fixed.feeds)
        _same(evaluate(loose.outputs, loose.feeds), want, "values")
        if not (record.order and loose.xs and loose.ys):
            return
        if label in _NO_GRADIENT:
            _refuses(lambda: gradients(loose.ys, loose.xs), (ShapeError, GradientError))
            return
        for got, expected in zip(_derivatives(loose), _derivatives(fixed)):
            _same(got, expected, "derivatives")


def test_the_table_lists_records() -> None:
    labels = {p.values[0] for p in _RECORDS}
    listed = {*_REFUSED, *_REFUSED_INTEGERS, *_NO_GRADIENT}
    assert sorted(listed - labels) == []
