"""Kernels as functions of the arrays alone, as a frame calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["into", "settled_call"]


def into(kernel: Callable[..., Any], count: int, outputs: int) -> Callable[..., Any]:
    """A kernel as a function of its inputs, then its outputs."""
    if outputs == 1:
        return lambda *arrays: kernel(*arrays[:count], out=arrays[count])
    return lambda *arrays: kernel(*arrays[:count], out=arrays[count:])


def settled_call(settled: Callable[[], Any], *arrays: Any) -> None:
    """A call whose arrays are in their places for good."""
    settled()
