"""Records of tensors made from sizes and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import creation as c
from dagrad.ops.core import shape

SCALAR = Arg(())


def ends(start: Any, delta: Any) -> Any:
    """A sequence whose length does not change when its ends move a little."""
    return c.range(start, start + 4.5 * delta, delta)


def ends_reference(start: Any, delta: Any) -> Any:
    return start + delta * np.arange(5, dtype=start.dtype)


def like_integers(x: Any) -> Any:
    """Sizes that the graph works out."""
    return c.fill(shape(x), 7)


RECORDS = [
    Record(
        ("Fill",), lambda x: c.fill([2, 3], x), (SCALAR,), lambda x: np.full((2, 3), x)
    ),
    Record(
        ("Fill",),
        like_integers,
        (Arg((2, 3)),),
        lambda x: np.full(x.shape, 7, np.int32),
        name="shape",
        order=0,
    ),
    Record(
        ("Range",),
        ends,
        (SCALAR, Arg((), 0.5, 1.0)),
        ends_reference,
        name="ends",
        exact=False,
        rtol=1e-5,
    ),
    *(
        Record(
            ("Range",),
            lambda x, how=how: c.range(*[x + h for h in how]),
            (Arg((), 3, 5),),
            lambda x, how=how: np.arange(*[x + h for h in how], dtype=x.dtype),
            name=f"{len(how)}{'down' if len(how) == 3 else ''}",
            dtypes=("int32", "int64"),
            order=0,
            exact=False,
        )
        for how in ((0,), (-3, 4), (9, -2, -7))
    ),
    Record(
        ("LinSpace",),
        lambda a, b: c.linspace(a, b, 5),
        (SCALAR, SCALAR),
        lambda a, b: np.linspace(a, b, 5, dtype=a.dtype),
    ),
    Record(
        ("LinSpace",),
        lambda a, b: c.linspace(a, b, 1),
        (SCALAR, SCALAR),
        lambda a, b: a.reshape(1),
        name="one",
    ),
    *(
        Record(
            ("BroadcastTo",),
            lambda x, y, z, i=i: c.meshgrid(x, y, z, indexing=i),
            (Arg((2,)), Arg((3,)), Arg((2, 2))),
            lambda x, y, z, i=i: np.meshgrid(x, y, z, indexing=i),
            name=f"meshgrid-{i}",
        )
        for i in ("xy", "ij")
    ),
]
