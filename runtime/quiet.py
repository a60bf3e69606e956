"""NumPy's warnings off for a run, at a tenth of what ``np.errstate`` costs.

``np.errstate`` sets a context variable to an object that it makes anew each time, in
1 us.  Which variable, and to what, is found once by looking at a context inside of it;
where that finds nothing, ``np.errstate`` itself is used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

import numpy as np

__all__ = ["hush", "unhush"]


def _enter() -> Any:
    state = np.errstate(all="ignore")
    state.__enter__()
    return state


def _leave(state: Any) -> None:
    state.__exit__(None, None, None)


def _found() -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """The two functions of this module."""
    before = copy_context()
    with np.errstate(all="ignore"):
        wanted = np.geterr()
        inside = copy_context()
    changed = [(v, x) for v, x in inside.items() if before.get(v) is not x]
    if len(changed) == 1:
        ((variable, value),) = changed
        token = variable.set(value)
        works = np.geterr() == wanted
        variable.reset(token)
        if works:
            return partial(variable.set, value), variable.reset
    return _enter, _leave


#: ``token = hush()`` turns warnings off in this thread, ``unhush(token)`` ends that.
hush, unhush = _found()
