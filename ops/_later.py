"""Rules that few programs ask for: their modules load when one is first called.

``batch.scan`` here is ``_batch.scan``, as an op's declaration names it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Rule", "Rules", "batch", "batch_index", "batch_product", "batch_window"]


class Rule:
    """A function of a module that is not loaded yet."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def load(self) -> Any:
        """The function itself."""
        return getattr(import_module(f".{self.module}", __package__), self.name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.load()(*args, **kwargs)


class Rules:
    """The functions of a module, by their names."""

    __slots__ = ("_module",)

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Rule:
        return Rule(self._module, name)


batch = Rules("_batch")
batch_index = Rules("_batch_index")
batch_product = Rules("_batch_product")
batch_window = Rules("_batch_window")
