"""Kernels as lists of calls on views: made once where the arrays' memory stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

__all__ = ["Call", "Calls", "Now", "ready", "run"]

#: A function without result (a ufunc that gets ``out`` by place, say), its arguments.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Calls(Protocol):
    """Where calls go: a list, for later, or :class:`Now`."""

    def append(self, call: Call, /) -> None: ...


class Now:
    """Makes each call at once, so that its views are gone before the next."""

    def append(self, call: Call, /) -> None:
        call[0](*call[1])


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
