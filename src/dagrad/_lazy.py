"""Names of a namespace that load when they are first used (PEP 562).

A namespace such as ``dagrad`` or ``dagrad.nn`` offers hundreds of functions out of
dozens of modules, of which a program uses few.  So each has three lists, which a test
compares: imports that only type checkers read, ``__all__``, and a table of where the
names are, from which :func:`lazily` makes the module's ``__getattr__``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

from .graphlib.pauses import collector_paused

__all__ = ["lazily"]


def lazily(
    namespace: str, where: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a module.

    Args:
        namespace: the module's name.
        where: module -> the names that it has, with blanks between; ``a=b`` is its
            ``b`` under the name ``a``.  Modules are named as seen from dagrad; what
            stands under "" are modules themselves, of the namespace.
    """
    places: dict[str, tuple[str, str]] = {}
    for module, entries in where.items():
        for entry in entries.split():
            name, _, own = entry.partition("=")
            places[name] = (module, own or name)

    def get(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {namespace!r} has no attribute {name!r}")
        place, own = places[name]
        value: object
        with collector_paused():  # modules are no garbage
            if place:
                value = getattr(import_module(f"dagrad.{place}"), own)
            else:
                value = import_module(f"{namespace}.{own}")
        setattr(sys.modules[namespace], name, value)  # found there from now on
        return value

    def names() -> list[str]:
        known = vars(sys.modules[namespace])
        return sorted({*known["__all__"], *(n for n in known if n.startswith("_"))})

    return get, names
