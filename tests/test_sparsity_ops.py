"""Sparsity patterns of every op, against what its outputs do when an input moves.

Runs over the records of ``op_records/``.  The pattern of the op, and of its
gradient (to the inputs and to the cotangents), must hold every element that
moves; integer inputs are tried as constants and as placeholders.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import opchecks
import pytest
from evaluate import evaluate

from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.ops._build import constant
from dagrad.ops.core import placeholder
from dagrad.ops.sparsity import jacobian_pattern

_CASES = [
    pytest.param(
        record, known, id=f"{path.stem}-{record.label}{'' if known else '-fed'}"
    )
    for path in sorted((Path(__file__).parent / "op_records").glob("*.py"))
    for record in opchecks.load(path)
    if record.order and "float64" in record.dtypes
    for known, how in ((True, "known"), (False, "fed"))
    if known or any("int" in (a.dtype or "") for a in record.args)
]


def dense(pattern):
    out = np.zeros(pattern.shape, bool)
    out[pattern.rows(), pattern.indices] = True
    return out


def moves(ys, xs, feeds):
    """(size of y, size of x) bools: whether an element of y follows one of x."""
    still = [np.ravel(v) for v in evaluate(ys, feeds)]
    columns = []
    for x in xs:
        for i in range(feeds[x].size):
            step = np.zeros(feeds[x].size)
            step[i] = 1e-3
            moved = feeds[x] + step.reshape(feeds[x].shape)
            there = [np.ravel(v) for v in evaluate(ys, {**feeds, x: moved})]
            columns.append(
                np.concatenate(
                    [
                        np.abs(a - b) > 1e-12 * (np.abs(a) + np.abs(b) + 1e-3)
                        for a, b in zip(there, still)
                    ]
                )
            )
    n = sum(v.size for v in still)
    return np.array(columns, bool).reshape(len(columns), n).T


def build(record, known):
    arrays = record.draw("float64")
    inputs, xs, feeds = [], [], {}
    for argument, a in zip(record.args, arrays):
        if a.dtype.kind not in "fc" and known:
            inputs.append(constant(a))
            continue
        x = placeholder(a.dtype, a.shape)
        inputs.append(x)
        feeds[x] = a
        if a.dtype.kind == "f" and argument.differentiable:
            xs.append(x)
    built = record.build(*inputs)
    ys = [*built] if isinstance(built, (list, tuple)) else [built]
    return [y for y in ys if y.dtype.is_inexact], xs, feeds


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("record", "known"), _CASES)
def test_every_element_that_moves_is_in_the_pattern(record, known):
    with Graph().as_default():
        ys, xs, feeds = build(record, known)
        if not xs or not ys or any(y.dims is None or None in y.dims for y in ys):
            pytest.skip("no real input, or a shape that depends on values")
        got = dense(jacobian_pattern(ys, xs))
        want = moves(ys, xs, feeds)
        assert got.shape == want.shape
        assert not (want & ~got).any()
        seeds = [placeholder(y.dtype, y.dims) for y in ys]
        rng = np.random.default_rng(1)
        feeds |= {s: rng.uniform(0.5, 1.5, s.dims).astype(s.dtype.dtype) for s in seeds}
        pulled = [g for g in gradients(ys, xs, seeds) if g is not None]
        if not pulled:
            return
        seeds = [s for s in seeds if not s.dtype.is_complex]
        got = dense(jacobian_pattern(pulled, xs + seeds))
        assert not (moves(pulled, xs + seeds, feeds) & ~got).any()
