"""When a frame gets native stretches: between two uses, after enough of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frame import Frame

__all__ = ["PATIENCE", "count", "warm"]

#: In how many uses a frame gets native stretches, 0 for never.  Making them costs about
#: as much as a hundred uses (for a kind of step that is new, more).
PATIENCE = {"off": 0, "auto": 32, "wait": 1}


def warm(frame: Frame) -> None:
    """Count a use of a frame that waits and that nobody runs."""
    frame.waiting -= 1
    if not frame.waiting:
        from .native.vm_frames import install

        native = frame.state.settings.native
        if not install(frame, native == "wait"):
            frame.waiting = PATIENCE[native]


def count(frame: Frame, times: int) -> None:
    """Count uses of a frame that go on; it gets its stretches before the next."""
    frame.turns += times
    if frame.waiting:
        frame.waiting = max(1, frame.waiting - times)
