"""What the tests of rewrites share: runs with and without a pass, compared."""

from __future__ import annotations

from typing import Any

import numpy as np

import dagrad as dg

#: Numbers at which formulas differ that look the same.
SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -3.0, 1e-3, 7.25, 1e-30, -1e-30, 3e38, -3e38,
    1.2e-38, 1e-45, 88.0, -104.0, 700.0, -800.0, np.inf, -np.inf, np.nan,
)  # fmt: skip


def both(fetches: Any, feeds: Any, passes: Any) -> tuple[Any, Any, Any]:
    """Results with ``passes`` and with none, and the plan with them."""
    graph = next(iter(feeds)).graph
    with_them = dg.Session(graph=graph, rewrites=passes)
    without = dg.Session(graph=graph, rewrites=[])
    results = with_them.run(fetches, feeds), without.run(fetches, feeds)
    return *results, with_them.plan(fetches, feeds)


def same_bits(got: Any, want: Any) -> None:
    """Check equality to the bit; a NaN is a NaN."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want, strict=True)
    if got.dtype.kind == "f":
        real = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got)[real], np.signbit(want)[real])


def whats(plan: Any) -> set[str]:
    """The changes that a plan tells about."""
    return {change.what for change in plan.changes}
