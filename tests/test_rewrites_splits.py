"""Splits whose parts elementwise operations read at once are views."""

from __future__ import annotations

import numpy as np
import pytest
from rewriting import both, same_bits, whats

import dagrad as dg

VIEWS = "a split as views"


def gates(x, w, sizes=4, axis=1):
    i, j, f, *_ = dg.split(dg.matmul(x, w), sizes, axis=axis)
    return dg.sigmoid(i) * dg.tanh(j) + f


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("sizes", [4, [40, 40, 40, 8]])
def test_gates_are_views(rows, sizes):
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [rows, 6])
        w = dg.placeholder(dg.float32, [6, 128])
        y = gates(x, w, sizes)
        grads = dg.gradients(dg.reduce_sum(y * y), [x, w])
    rng = np.random.default_rng(0)
    feeds = {
        t: rng.standard_normal(t.shape.as_list()).astype(np.float32) for t in (x, w)
    }
    got, want, plan = both([y, *grads], feeds, ["splits"])
    for a, b in zip(got, want):
        same_bits(a, b)
    long = rows == 1 or sizes == 4
    assert (VIEWS in whats(plan)) == long
    types = {s.opdef.type for s in plan.steps}
    assert types.isdisjoint(("Split", "SplitV")) == long


def test_what_is_copied():
    """Fetched parts, parts of feeds, short rows, other readers, much between."""
    with dg.Graph().as_default():
        x, w = (dg.placeholder(dg.float32, [64, 64]) for _ in "xw")
        xw = dg.matmul(x, w)
        a, b = dg.split(xw, 2, axis=1)
        fetched = [dg.sin(a), b]
        fed = [dg.sin(t) for t in dg.split(x, 2, axis=1)]
        short = [dg.sin(t) for t in dg.split(xw, 8, axis=1)]
        c, d = dg.split(xw, 2, axis=1)
        others = [dg.sin(c), dg.matmul(d, d, transpose_b=True)]
        e, f = dg.split(xw, 2, axis=1)
        far = [dg.matmul(dg.exp(e), dg.exp(e), transpose_a=True) + dg.exp(f[:32])]
    rng = np.random.default_rng(0)
    feeds = {t: rng.standard_normal((64, 64)).astype(np.float32) for t in (x, w)}
    for fetches in (fetched, fed, short, others, far):
        got, want, plan = both(fetches, feeds, ["splits", "dead"])
        assert VIEWS not in whats(plan)
        for p, q in zip(got, want):
            same_bits(p, q)


def test_a_split_of_rows_is_views():
    with dg.Graph().as_default():
        x, w = (dg.placeholder(dg.float64, [8, 8]) for _ in "xw")
        y = gates(x, w, axis=0)
    feeds = {t: np.arange(64.0).reshape(8, 8) / 50 for t in (x, w)}
    got, want, plan = both([y], feeds, None)
    same_bits(got[0], want[0])
    assert VIEWS in whats(plan)
