"""What a session asks of its plans and their executors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..graphlib.errors import InvalidArgumentError
from .rewrites import PASSES

__all__ = ["Settings"]

_NATIVE = ("auto", "wait", "off")
#: The last rewrite, which depends on the settings too.
_FUSE = "fuse"


@dataclass(frozen=True)
class Settings:
    """Options of one session, which hold for bodies too.

    Attributes:
        rewrites: the passes that a program goes through, in this order.
        native: "auto": fused operations run as native code as soon as the background
            has compiled it, where llvmlite is installed; "wait": it is compiled
            before their first run; "off": NumPy runs them.
        fuse: whether elementwise operations are fused.
    """

    rewrites: tuple[str, ...] = tuple(PASSES)
    native: str = "auto"
    fuse: bool = True

    @staticmethod
    def of(config: Any, rewrites: Iterable[str] | None) -> Settings:
        """The settings that a session is given.

        Raises:
            InvalidArgumentError: there is no such pass, or no such value of ``native``.
        """
        native = getattr(config, "native", None) or os.environ.get("DAGRAD_NATIVE")
        native = native or "auto"
        if native not in _NATIVE:
            raise InvalidArgumentError(
                f"native is one of {', '.join(map(repr, _NATIVE))}, not {native!r}"
            )
        if rewrites is None:
            return Settings(native=native)
        chosen = [rewrites] if isinstance(rewrites, str) else list(rewrites)
        unknown = sorted(set(chosen) - {*PASSES, _FUSE})
        if unknown:
            raise InvalidArgumentError(
                f"there is no rewrite {', '.join(map(repr, unknown))}: choose from "
                f"{', '.join((*PASSES, _FUSE))}"
            )
        passes = tuple(p for p in PASSES if p in chosen)
        return Settings(passes, native, _FUSE in chosen)
