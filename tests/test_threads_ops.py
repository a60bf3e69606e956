"""Every op, cut and shared by threads however small it is: the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import opchecks
import pytest
from oprecord import Record

import dagrad as dg
from dagrad.ops import linalg
from dagrad.runtime import pieces, regions

_TRACE = dg.RunOptions(trace_level=dg.RunOptions.FULL_TRACE)


def _records() -> Iterator[Any]:
    for path in sorted((Path(__file__).parent / "op_records").glob("*.py")):
        for record in opchecks.load(path):
            yield pytest.param(record, id=f"{path.stem}-{record.label}")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_LARGE", 4)
    monkeypatch.setattr(pieces, "_PIECE", 2)
    monkeypatch.setattr(pieces, "_ALIGN", 1)
    monkeypatch.setattr(linalg, "_CUT", (1, 100))
    monkeypatch.setattr(linalg, "_TILE", 1)
    for name in ("_LEAST", "_HEAVY", "_OVERHEAD", "_WIDTH"):
        monkeypatch.setattr(regions, name, 0.0)


def _results(fetches: Any, feeds: Any, graph: Any, threads: int, options: Any) -> Any:
    config = dg.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
    )
    with dg.Session(graph=graph, config=config) as session:
        return session.run(fetches, feeds, options=options)


@pytest.mark.parametrize("record", list(_records()))
def test_any_number_of_threads_gives_the_same_bits(record: Record) -> None:
    dtype = record.dtypes[-1]
    with dg.Graph().as_default() as graph, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dg.set_random_seed(1)
        arrays = record.draw(dtype)
        inputs = [dg.placeholder(a.dtype, a.shape) for a in arrays]
        built = record.build(*inputs)
        outputs = list(built) if isinstance(built, (list, tuple)) else [built]
        if record.order:
            xs = [
                t
                for t, a in zip(inputs, record.args)
                if a.differentiable and t.dtype.is_inexact
            ]
            ys = [t for t in outputs if t.dtype.is_inexact]
            outputs += [g for g in dg.gradients(ys, xs) if g is not None]
        feeds = dict(zip(inputs, arrays))
        expected = _results(outputs, feeds, graph, 1, None)
        for threads, options in ((1, _TRACE), (4, None)):
            got = _results(outputs, feeds, graph, threads, options)
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a, b)
