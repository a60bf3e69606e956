"""What a session asks of its plans and their executors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.records import record, replace
from ..graphlib.sizes import parse_bytes
from .rewrites import PASSES

__all__ = ["Settings"]

_NATIVE = ("auto", "off", "wait")
#: The name of fusion among the rewrites that a session chooses.
_FUSE = "fuse"
#: The name of placing among them: it is no pass over a program, but over a layout.
_PLACE = "place"


@record(frozen=True)
class Settings:
    """Options of one session, which hold for bodies too.

    Attributes:
        rewrites: the passes that a program goes through, in this order.
        native: "auto": fused operations run as native code as soon as the background
            has compiled it, where llvmlite is installed; "wait": it is compiled
            before their first run; "off": NumPy runs them.
        fuse: whether elementwise operations are fused.
        place: whether parts of joins are made where they end up.
        memory_limit: bytes that a run may take beside feeds, constants and variables;
            None: as many as it needs.
        intra: how many threads share one large step; 0: steps stay whole, and BLAS
            is left as it is.
        inter: how many branches of a plan run at the same time; 0 is 1.
    """

    rewrites: tuple[str, ...] = tuple(PASSES)
    native: str = "auto"
    fuse: bool = True
    place: bool = True
    memory_limit: int | None = None
    intra: int = 0
    inter: int = 0

    @staticmethod
    def of(config: Any, rewrites: Iterable[str] | None) -> Settings:
        """The settings that a session is given.

        Raises:
            InvalidArgumentError: there is no such pass, no such value of ``native``, no
                such number of threads, or the memory limit is no number of bytes.
        """
        native = getattr(config, "native", None) or os.environ.get("DAGRAD_NATIVE")
        native = native or "auto"
        if native not in _NATIVE:
            raise InvalidArgumentError(
                f"native is one of {', '.join(map(repr, _NATIVE))}, not {native!r}"
            )
        settings = Settings(
            native=native,
            memory_limit=_bytes(getattr(config, "memory_limit", None)),
            intra=_threads(config, "intra_op_parallelism_threads"),
            inter=_threads(config, "inter_op_parallelism_threads"),
        )
        if rewrites is None:
            return settings
        chosen = [rewrites] if isinstance(rewrites, str) else list(rewrites)
        unknown = sorted(set(chosen) - {*PASSES, _FUSE, _PLACE})
        if unknown:
            raise InvalidArgumentError(
                f"there is no rewrite {', '.join(map(repr, unknown))}: choose from "
                f"{', '.join((*PASSES, _FUSE, _PLACE))}"
            )
        passes = tuple(p for p in PASSES if p in chosen)
        return replace(
            settings, rewrites=passes, fuse=_FUSE in chosen, place=_PLACE in chosen
        )


def _bytes(limit: Any) -> int | None:
    """``memory_limit`` as a number of bytes."""
    if limit is None:
        return None
    found = parse_bytes(limit) if isinstance(limit, str) else limit
    if isinstance(found, bool) or not isinstance(found, (int, np.integer)) or found < 1:
        raise InvalidArgumentError(
            'memory_limit must be a number of bytes above 0, or text such as "200MB" '
            f'or "64MiB", not {limit!r}'
        )
    return int(found)


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
