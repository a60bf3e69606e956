"""Kernels as lists of calls on views: made once where the arrays' memory stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

__all__ = ["Call", "ready", "run"]

#: A function without result (a ufunc that gets ``out`` by place, say), its arguments.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def run(calls: Sequence[Call]) -> None:
    for call, arrays in calls:
        call(*arrays)


def ready(calls: Callable[..., Sequence[Call]]) -> Callable[..., Any]:
    """The ``settle`` of an op from ``calls``, f(*arrays, out, work, attrs).

    Only where all arrays are contiguous: elsewhere a reshape may copy, and the
    copy would not follow its array.
    """

    def settle(
        arrays: Sequence[Any], out: Any, work: Any, attrs: Mapping[str, Any]
    ) -> Callable[[], None] | None:
        if not all(a.flags.c_contiguous for a in (*arrays, out)):
            return None
        return partial(run, calls(*arrays, out, work, attrs))

    return settle
