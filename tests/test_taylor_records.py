"""Every op's Taylor rule, and those of its gradient's ops, against nested jvp.

The records of ``op_records/`` are built on paths x(t) = x + x' t + x'' t²/2 + ...;
their derivatives by t must be the entries of the jet.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import opchecks
import pytest
from evaluate import evaluate
from oprecord import Record

from dagrad.graphlib.forward import jvp
from dagrad.graphlib.gradients import gradients
from dagrad.graphlib.graph import Graph
from dagrad.graphlib.taylor import jet
from dagrad.graphlib.tensor import Tensor
from dagrad.ops.core import add_n, cast, constant, placeholder, zeros_like
from dagrad.ops.elementwise import multiply

ORDER = 3
CASES = [
    pytest.param(record, dtype, id=f"{path.stem}-{record.label}-{dtype}")
    for path in sorted((Path(__file__).parent / "op_records").glob("*.py"))
    for record in opchecks.load(path)
    for dtype in record.dtypes
    if record.order and dtype in ("float64", "complex128")
]


def moving(x: Any, series: list[Any], t: Tensor) -> Tensor:
    """The path as a tensor that depends on t."""
    t = cast(t, series[0].dtype)
    terms, power = [constant(x)], None
    for k, entry in enumerate(series, 1):
        power = t if power is None else multiply(power, t)
        terms.append(multiply(constant(entry / math.factorial(k)), power))
    return add_n(terms)


def built(record: Record, inputs: list[Tensor]) -> list[Tensor]:
    """The differentiable outputs of a record."""
    made = record.build(*inputs)
    made = list(made) if isinstance(made, (list, tuple)) else [made]
    return [y for y in made if y.dtype.is_inexact]


def pulled(ys: list[Tensor], xs: list[Tensor], seeds: list[Tensor]) -> list[Tensor]:
    """The gradients that there are."""
    return [g for g in gradients(ys, xs, seeds) if g is not None]


def by_jvp(ys: list[Tensor], t: Tensor, order: int) -> list[Any]:
    """``[[y', y'', ...], ...]`` as values at t = 0."""
    found: list[list[Any]] = [[] for _ in ys]
    level: list[Tensor | None] = list(ys)
    for _ in range(order):
        live = iter(jvp([y for y in level if y is not None], [t]))
        level = [y if y is None else next(live) for y in level]
        for y, d, entries in zip(ys, level, found, strict=True):
            entries.append(zeros_like(y) if d is None else d)
    return [evaluate(entries, {t: np.array(0.0)}) for entries in found]


def by_jet(ys: list[Tensor], xs: list[Tensor], series: list[Any]) -> list[Any]:
    """The same as values of a jet."""
    found = []
    for y, entries in zip(ys, jet(ys, xs, series), strict=True):
        filled = [zeros_like(y) if d is None else d for d in entries]
        found.append(evaluate(filled))
    return found


def compare(got: list[Any], want: list[Any], what: str) -> None:
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        for k, (a, b) in enumerate(zip(g, w, strict=True), 1):
            opchecks.close(a, b, f"{what} {i}, derivative {k}", 1e-8, 1e-9)


@pytest.mark.parametrize(("record", "dtype"), CASES)
def test_jet(record: Record, dtype: str) -> None:
    rng = np.random.default_rng(3)
    probe = opchecks.Built(record, dtype, dynamic=False)
    if not probe.xs or not probe.ys:
        pytest.skip("nothing here is differentiable")
    arrays = [probe.feeds[x] for x in probe.xs]
    paths = directions(rng, arrays, ORDER)
    with np.errstate(all="ignore"):
        cotangents = opchecks._directions(rng, evaluate(probe.ys, probe.feeds))
        turns = directions(rng, cotangents, ORDER)
        with Graph().as_default():
            t = placeholder("float64", ())
            inputs = place(probe, [moving(a, p, t) for a, p in zip(arrays, paths)])
            ys = built(record, inputs)
            want = by_jvp(ys, t, ORDER)
            xs = [inputs[i] for i in differentiable(probe)]
            seeds = [moving(c, s, t) for c, s in zip(cotangents, turns)]
            want_back = by_jvp(pulled(ys, xs, seeds), t, ORDER - 1)
        with Graph().as_default():
            inputs = place(probe, [constant(a) for a in arrays])
            ys = built(record, inputs)
            xs = [inputs[i] for i in differentiable(probe)]
            compare(by_jet(ys, xs, paths), want, "output")
            seeds = [constant(c) for c in cotangents]
            back = [s[: ORDER - 1] for s in [*paths, *turns]]
            got = by_jet(pulled(ys, xs, seeds), [*xs, *seeds], back)
            compare(got, want_back, "gradient")


def directions(rng: Any, arrays: list[Any], order: int) -> list[list[Any]]:
    """Derivatives of a path through each array, small enough to stay near it."""
    return [[0.3 * d for d in opchecks._directions(rng, [a] * order)] for a in arrays]


def differentiable(probe: opchecks.Built) -> list[int]:
    return [i for i, x in enumerate(probe.inputs) if x in probe.xs]


def place(probe: opchecks.Built, xs: list[Tensor]) -> list[Tensor]:
    """All inputs of a record, the differentiable ones given."""
    rest = iter(xs)
    return [
        next(rest) if x in probe.xs else constant(a)
        for x, a in zip(probe.inputs, probe.arrays, strict=True)
    ]
