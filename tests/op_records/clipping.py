"""Records of clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import clipping as c

A, ROW = Arg((3, 4), -3, 3), Arg((4,), -3, 3)


def by_norm(x: Any, bound: float, axis: Any = None) -> Any:
    norm = np.sqrt(np.sum(x**2, axis=axis, keepdims=True))
    return x * bound / np.maximum(norm, bound)


def by_global_norm(x: Any, y: Any) -> list[Any]:
    norm = np.sqrt(np.sum(x**2) + np.sum(y**2))
    return [x * 2 / max(norm, 2), y * 2 / max(norm, 2), norm]


def clipped(x: Any, y: Any) -> list[Any]:
    (a, _, b), norm = c.clip_by_global_norm([x, None, y], 2.0)
    return [a, b, norm]


RECORDS = [
    Record(
        ("Maximum", "Minimum"),
        lambda x: c.clip_by_value(x, -1.0, 2.0),
        (A,),
        lambda x: np.clip(x, -1, 2),
        "value",
    ),
    Record(
        ("Maximum", "Minimum"),
        c.clip_by_value,
        (A, Arg((4,), -2, -1), Arg((), 1, 2)),
        np.clip,
        "bounds",
    ),
    Record(
        ("Maximum",), lambda x: np.clip(x, 0, None), (A,), lambda x: x * (x > 0), "np"
    ),
    Record(
        ("Maximum",),
        lambda x: c.clip_by_norm(x, 2.0),
        (A,),
        lambda x: by_norm(x, 2),
        "n",
    ),
    Record(
        ("Maximum",),
        lambda x: c.clip_by_norm(x, 100.0),
        (A,),
        lambda x: x,
        "short",
    ),
    Record(
        ("Maximum",),
        lambda x: c.clip_by_norm(x, 2.0, axes=[1]),
        (A,),
        lambda x: by_norm(x, 2, 1),
        "rows",
    ),
    Record(
        ("Maximum",),
        lambda x: c.clip_by_average_norm(x, 0.1),
        (A,),
        lambda x: x * 0.1 / max(np.sqrt(np.sum(x**2)) / 12, 0.1),
        "average",
    ),
    Record(
        ("Sqrt",),
        lambda x, y: c.global_norm([x, None, y]),
        (A, ROW),
        lambda x, y: np.sqrt(np.sum(x**2) + np.sum(y**2)),
        "global norm",
    ),
    Record(("SelectV2",), clipped, (A, ROW), by_global_norm, "global"),
]
