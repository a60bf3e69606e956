"""What a session asks of its plans and their executors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..graphlib.errors import InvalidArgumentError
from .rewrites import PASSES

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Options of one session, which hold for bodies too.

    Attributes:
        rewrites: the passes that a program goes through, in this order.
        native: whether native code may take the place of NumPy's calls: "auto",
            "off", or "wait", which compiles before the first run.
    """

    rewrites: tuple[str, ...] = tuple(PASSES)
    native: str = "auto"

    @staticmethod
    def of(config: Any, rewrites: Iterable[str] | None) -> Settings:
        """The settings that a session is given.

        Raises:
            InvalidArgumentError: there is no such pass, or no such choice.
        """
        native = getattr(config, "native", None) or "auto"
        if native not in ("auto", "off", "wait"):
            raise InvalidArgumentError(
                f"native must be 'auto', 'off' or 'wait', not {native!r}"
            )
        if rewrites is None:
            return Settings(native=native)
        chosen = [rewrites] if isinstance(rewrites, str) else list(rewrites)
        unknown = sorted(set(chosen) - set(PASSES))
        if unknown:
            raise InvalidArgumentError(
                f"there is no rewrite {', '.join(map(repr, unknown))}: choose from "
                f"{', '.join(PASSES)}"
            )
        return Settings(tuple(p for p in PASSES if p in chosen), native)
