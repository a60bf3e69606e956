"""The operator table: how ``a + b`` and friends reach the op builders.

graphlib may not import ops, so Tensor's methods, gradients and conversion call
builders through :data:`TABLE`.  Families of ops load when the first of their builders,
ops or NumPy functions is asked for; where that is, ``ops`` says in :data:`PLACES`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["NUMPY", "PLACES", "TABLE", "Places", "load", "numpy_builder"]


class Places:
    """Which module has what; filled by ``ops`` and by the front door.

    Attributes:
        builders: name in :data:`TABLE` -> module.
        functions: ``__name__`` of a NumPy function -> module.
        types: op type -> the module that declares it.
    """

    def __init__(self) -> None:
        self.builders: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        own = f"{__package__}.subgraph"
        self.types: dict[str, str] = {"BodyInput": own, "BodyVariable": own}


PLACES = Places()


class _Table(dict[str, Callable[..., Any]]):
    """Builders by name; one that is missing comes with its family."""

    def __missing__(self, name: str) -> Callable[..., Any]:
        load(PLACES.builders[name])
        return dict.__getitem__(self, name)


#: Name -> builder: what the families offer as ``OPERATORS``.
TABLE: dict[str, Callable[..., Any]] = _Table()

#: NumPy ufunc or function -> builder, for ``np.exp(tensor)``: the families' ``NUMPY``.
NUMPY: dict[Any, Callable[..., Any]] = {}


def load(place: str) -> None:
    """Import a family and enter what it offers into the tables."""
    family = import_module(place)
    TABLE.update(getattr(family, "OPERATORS", {}))
    NUMPY.update(getattr(family, "NUMPY", {}))


def numpy_builder(function: Any) -> Callable[..., Any] | None:
    """The builder that stands for a NumPy function; None where there is none."""
    builder = NUMPY.get(function)
    if builder is None:
        place = PLACES.functions.get(getattr(function, "__name__", ""))
        if place is not None:
            load(place)
            builder = NUMPY.get(function)
    return builder
