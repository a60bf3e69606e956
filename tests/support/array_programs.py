"""Parts of the programs that test TensorArrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagrad as dg


def value(fetches: Any, feeds: Any = None) -> Any:
    return dg.Session().run(fetches, feeds)


def array(size: Any, rows: Any = None, **how: Any) -> dg.TensorArray:
    """A float64 TensorArray, with rows where they are given."""
    made = dg.TensorArray(dg.float64, size, **how)
    return made if rows is None else made.unstack(rows)


def repeat(count: Any, body: Callable[..., Any], *state: Any) -> Any:
    """``body(i, *state)`` for i below ``count``; the last state."""

    def step(i: Any, *s: Any) -> Any:
        return (i + 1, *body(i, *s))

    return dg.while_loop(lambda i, *_: i < count, step, (0, *state))[1:]
