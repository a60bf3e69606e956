"""Whether a kernel could look at elements behind the back of a tape.

An array of a class of its own (``vm_trace.Traced``) tells of all that is done with it,
until it is made a plain array again: what a kernel then decides by its elements would
be taken for a fact.  Kernels whose code names something that does so stay in Python.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

__all__ = ["keeps_class"]

# Functions and attributes that make plain arrays, iterators or bytes of any array.
_LOSING = frozenset(
    [
        "__array_interface__",
        "array",
        "asarray",
        "asarray_chkfinite",
        "ascontiguousarray",
        "asfortranarray",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "base",
        "ctypes",
        "data",
        "flat",
        "frombuffer",
        "fromiter",
        "memoryview",
        "ndenumerate",
        "nditer",
        "require",
        "vectorize",
    ]
)
_CODE = types.FunctionType, types.MethodType


def keeps_class(function: Any) -> bool:
    """Whether nothing that ``function`` can reach makes plain arrays of others."""
    seen: set[int] = set()
    pending = [function]
    while pending:
        f = pending.pop()
        if isinstance(f, partial):
            pending += [f.func, *f.args, *f.keywords.values()]
        elif isinstance(f, types.MethodType):
            pending += [f.__func__, f.__self__]
        elif isinstance(f, types.FunctionType) and id(f) not in seen:
            seen.add(id(f))
            names = set(_names(f.__code__))
            if names & _LOSING:
                return False
            pending += _reached(f, names)
    return True


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in _inner(code):
        yield from _names(inner)


def _globals(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for inner in _inner(code):
        yield from _globals(inner)


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [c for c in code.co_consts if isinstance(c, types.CodeType)]


def _reached(f: types.FunctionType, names: set[str]) -> Iterator[Any]:
    """What a function of this package may call; NumPy's tell the tape themselves."""
    for cell in f.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is given later, and by none of ours
            continue
    yield from f.__defaults__ or ()
    yield from (f.__kwdefaults__ or {}).values()
    for name in set(_globals(f.__code__)):
        found = f.__globals__.get(name)
        if isinstance(found, types.ModuleType) and _is_ours(found.__name__):
            yield from (getattr(found, n) for n in names if hasattr(found, n))
        elif isinstance(found, (*_CODE, partial)) and _is_ours(found_in(found)):
            yield found


def found_in(function: Any) -> str:
    """The module of a function or of what a partial calls."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__module__", None) or ""


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]
