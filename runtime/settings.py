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
    """

    rewrites: tuple[str, ...] = tuple(PASSES)

    @staticmethod
    def of(config: Any, rewrites: Iterable[str] | None) -> Settings:
        """The settings that a session is given.

        Raises:
            InvalidArgumentError: there is no such pass.
        """
        if rewrites is None:
            return Settings()
        chosen = [rewrites] if isinstance(rewrites, str) else list(rewrites)
        unknown = sorted(set(chosen) - set(PASSES))
        if unknown:
            raise InvalidArgumentError(
                f"there is no rewrite {', '.join(map(repr, unknown))}: choose from "
                f"{', '.join(PASSES)}"
            )
        return Settings(rewrites=tuple(p for p in PASSES if p in chosen))
