"""Checks of fused reductions, for tests."""

from __future__ import annotations

import numpy as np
from native_programs import reference

import dagrad as dg
from dagrad.runtime.native import worker

__all__ = ["check", "close", "row_steps", "rows_run_natively", "session", "values"]


def session(native):
    return dg.Session(config=dg.ConfigProto(native=native))


def row_steps(plan):
    return [s for s in plan.steps if s.opdef.type == "_Rows"]


def rows_run_natively():
    texts = [t for t, k in worker._KNOWN.items() if k.code is not None]
    return any(t.startswith(("rows", "columns")) for t in texts)


def check(fetches, feeds):
    """Natively, and by NumPy's tiles: within the bound of sums."""
    graph = fetches[0].graph
    expected = reference(graph, fetches, feeds)
    found = row_steps(session("wait").plan(fetches, feeds))
    assert found
    natively = session("wait").run(fetches, feeds)
    assert rows_run_natively()
    waiting = session("auto")
    for results in (natively, waiting.run(fetches, feeds)):
        close(results, expected, feeds)
    off = session("off")
    assert not row_steps(off.plan(fetches, feeds))
    close(off.run(fetches, feeds), expected, feeds)


def close(results, expected, feeds):
    size = max(np.size(a) for a in feeds.values())
    for a, b in zip(results, expected):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        bound = 8 * (np.log2(size + 2) + 64) * np.finfo(a.dtype).eps
        finite = np.abs(b[np.isfinite(b)])
        scale = max(1.0, float(np.max(finite, initial=0.0)))
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound * scale)


def values(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
