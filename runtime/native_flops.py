"""Native code whose work is counted in flops: when it is made, and how it is called.

Convolutions, pools and matrix products share this.
"""

from __future__ import annotations

__all__ = ["HOT", "is_long", "pieces"]

#: Code is made for a step that has run twice, over this many flops in all.
HOT = 1 << 22
#: Flops from which a call lets other threads run meanwhile.
_LONG = 1 << 20
#: Flops of a piece at least, and the most pieces, where threads share a step.
_PIECE = 1 << 24
_MOST = 8


def is_long(flops: int) -> bool:
    """Whether a call lets other threads run meanwhile."""
    return flops >= _LONG


def pieces(flops: int, shared: bool) -> int:
    """How many pieces there may be.

    It depends on the size alone, so that the bits do not depend on the threads.
    """
    return max(1, min(_MOST, flops // _PIECE)) if shared else 1
