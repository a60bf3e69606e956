"""Work counted in steps of Python, which a busy machine does not change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from dagrad.graphlib.operation import Operation
from dagrad.graphlib.tensor import Tensor
from dagrad.runtime.program import Node, Value


def work(f: Callable[[], Any]) -> int:
    """How many lines of Python ``f`` runs in this thread, a loop's once a turn.

    Nodes of graphs and programs are compared in Python meanwhile, so that a search of
    a list, which is one line, counts for as many as it looks at.  What else C does in
    one call, a copy or a search for a string, is not seen.
    """
    count = 0

    def note(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return note

    def equal(a: Any, b: Any) -> Any:
        return True if a is b else NotImplemented

    with pytest.MonkeyPatch.context() as patch:
        for nodes in (Tensor, Operation, Node, Value):
            patch.setattr(nodes, "__eq__", equal)
        before = sys.gettrace()
        sys.settrace(note)
        try:
            f()
        finally:
            sys.settrace(before)
    return count


def growth(prepare: Callable[[int], Callable[[], Any]], n: int) -> float:
    """How many times as much work twice the size takes: 2 if it is linear, 4 if it is
    quadratic.

    Args:
        prepare: ``prepare(n)`` makes a problem of size n, and returns what to count.
        n: the smaller of the two sizes.
    """
    prepare(n)()  # what is imported and cached for all sizes
    return work(prepare(2 * n)) / work(prepare(n))
