"""What a session asks of its plans and their executors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from ..graphlib.errors import InvalidArgumentError
from .rewrites import PASSES

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Options of one session, which hold for bodies too.

    Attributes:
        rewrites: the passes that a program goes through, in this order.
        intra: how many threads share one large step; 0: steps stay whole, and BLAS
            is left as it is.
        inter: how many branches of a plan run at the same time; 0 is 1.
    """

    rewrites: tuple[str, ...] = tuple(PASSES)
    intra: int = 0
    inter: int = 0

    @staticmethod
    def of(config: Any, rewrites: Iterable[str] | None) -> Settings:
        """The settings that a session is given.

        Raises:
            InvalidArgumentError: there is no such pass, or no such number of threads.
        """
        intra = _threads(config, "intra_op_parallelism_threads")
        inter = _threads(config, "inter_op_parallelism_threads")
        if rewrites is None:
            return Settings(intra=intra, inter=inter)
        chosen = [rewrites] if isinstance(rewrites, str) else list(rewrites)
        unknown = sorted(set(chosen) - set(PASSES))
        if unknown:
            raise InvalidArgumentError(
                f"there is no rewrite {', '.join(map(repr, unknown))}: choose from "
                f"{', '.join(PASSES)}"
            )
        passes = tuple(p for p in PASSES if p in chosen)
        return Settings(rewrites=passes, intra=intra, inter=inter)


def _threads(config: Any, name: str) -> int:
    """A number of threads of a ConfigProto; 0 where it says nothing."""
    asked = getattr(config, name, None)
    if asked is None:
        return 0
    if isinstance(asked, bool) or not isinstance(asked, Integral) or asked < 0:
        raise InvalidArgumentError(
            f"{name} must be a number of threads, or 0 for the default, not {asked!r}"
        )
    return int(asked)
