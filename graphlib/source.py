"""Where in the user's program an operation was created.

Taking a full traceback costs 50 us at a usual depth; walking to the first frame
outside dagrad and keeping its code object costs about 1 us, and the line number
is worked out only when somebody asks.
"""

from __future__ import annotations

import linecache
import sys
import warnings
from types import CodeType, FrameType
from typing import Any, NamedTuple

__all__ = ["Mark", "Source", "at_caller", "caller", "entry", "resolve", "warn"]

#: What is kept per operation: a code object and the offset of the instruction,
#: or (after loading a file) the place as text; None where there is none.
Mark = tuple[CodeType, int] | tuple[str, int, str] | None

# What Python notes so that it shows a warning once per place.
_shown: dict[Any, Any] = {}

_PREFIX = __name__.partition(".")[0] + "."
_ROOT = _PREFIX[:-1]
#: Modules of dagrad that were met: looking here is faster than at their names.
_ours: set[str] = set()


class Source(NamedTuple):
    """A line of the user's program."""

    filename: str
    lineno: int
    function: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.lineno}"

    @property
    def text(self) -> str:
        """The source line, stripped; empty where the file cannot be read."""
        return linecache.getline(self.filename, self.lineno).strip()


def caller(depth: int = 1) -> Mark:
    """The nearest frame outside dagrad, as a mark to resolve later.

    ``depth`` of the frames nearest to here need no look: they are dagrad's.
    """
    frame: FrameType | None = sys._getframe(depth)
    assert frame is not None, "whoever calls this has a frame"
    last = frame
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module not in _ours:
            if not module.startswith(_PREFIX) and module != _ROOT:
                return frame.f_code, frame.f_lasti
            _ours.add(module)
        last = frame
        frame = frame.f_back
    return last.f_code, last.f_lasti


def entry() -> str:
    """What the program called and where, to begin a builder's error with:
    ``reduce_sum at user.py:12: ``.

    Empty inside ``create_op``, which names the operation and its line itself.
    """
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if not module.startswith(_PREFIX) and module != _ROOT:
            code = frame.f_code
            return f"{name} at {code.co_filename}:{frame.f_lineno}: " if name else ""
        name = frame.f_code.co_name
        if name in ("__init__", "__call__"):  # what the program knows is the class
            name = type(frame.f_locals.get("self")).__name__
        if name == "create_op":
            return ""
        frame = frame.f_back
    return ""


def at_caller() -> str:
    """`` at user.py:12``, the nearest line outside dagrad."""
    return f" at {resolve(caller())}"


def resolve(mark: Mark) -> Source | None:
    """The :class:`Source` of a mark."""
    if mark is None:
        return None
    if len(mark) == 3:
        return Source(*mark)
    code, offset = mark
    line = code.co_firstlineno
    for start, end, lineno in code.co_lines():
        if start <= offset < end and lineno is not None:
            line = lineno
            break
    return Source(code.co_filename, line, code.co_name)


def warn(message: str, category: type[Warning], mark: Mark = None) -> None:
    """A warning that points at a line of the user's program (default: the caller)."""
    where = resolve(mark or caller())
    filename, lineno = (where.filename, where.lineno) if where else ("dagrad", 0)
    warnings.warn_explicit(message, category, filename, lineno, registry=_shown)
