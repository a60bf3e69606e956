"""Bits of integers (``tf.bitwise``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily

if TYPE_CHECKING:
    from .ops.logical import (
        bitwise_and,
        bitwise_or,
        bitwise_xor,
        invert,
        left_shift,
        right_shift,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "ops.logical": (
                "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift"
            ),
        },
    )

# fmt: off
__all__ = [
    "bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift",
]
# fmt: on
