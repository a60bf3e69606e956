"""Fetches: any nesting of tensors, operations, variables and names.

The structure is taken apart once per plan; after a run the results are put back
into the same structure (lists, tuples, namedtuples, dicts, dataclasses).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from ..graphlib.errors import DagradError, FetchError
from ..graphlib.graph import Graph
from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor

__all__ = ["Fetches"]

# Puts the results of the distinct tensors back into the caller's structure.
Rebuild = Callable[[Sequence[Any]], Any]


class Fetches:
    """A fetch structure, taken apart.

    Attributes:
        tensors: distinct tensors, in order of first appearance.
        targets: distinct operations to run for their effect.
        rebuild: results of ``tensors`` -> the structure.
    """

    __slots__ = ("rebuild", "targets", "tensors")

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self.tensors: list[Tensor] = []
        self.targets: list[Operation] = []
        index: dict[Tensor, int] = {}
        self.rebuild = self._take(graph, fetches, index)

    def _take(self, graph: Graph, item: Any, index: dict[Tensor, int]) -> Rebuild:
        # Recursion is over the caller's nesting of containers, not the graph.
        if isinstance(item, (Tensor, Operation, str)) or hasattr(
            item, "_as_graph_element"
        ):
            return self._leaf(graph, item, index)
        if hasattr(item, "_as_fetches"):
            # A value in parts (a sparse matrix): what to run, and how to join it.
            inner, join = item._as_fetches()
            part = self._take(graph, inner, index)
            return lambda r: join(part(r))
        if isinstance(item, (list, tuple)):
            parts = [self._take(graph, x, index) for x in item]
            if hasattr(item, "_fields"):
                make = type(item)
                return lambda r: make(*[p(r) for p in parts])
            if len(item) > 1 and all(type(x) is Tensor for x in item):
                pick = itemgetter(*[index[x] for x in item])
                return pick if isinstance(item, tuple) else lambda r: list(pick(r))
            if isinstance(item, tuple):
                return lambda r: tuple([p(r) for p in parts])
            return lambda r: [p(r) for p in parts]
        if isinstance(item, Mapping):
            pairs = [(k, self._take(graph, v, index)) for k, v in item.items()]
            kind = type(item)
            if kind is OrderedDict:
                return lambda r: OrderedDict([(k, p(r)) for k, p in pairs])
            # Other mappings differ in how they are made: they give a dict.
            return lambda r: {k: p(r) for k, p in pairs}
        if hasattr(type(item), "__dataclass_fields__"):
            from dataclasses import fields  # whoever has one has loaded it

            picks = [
                (f.name, self._take(graph, getattr(item, f.name), index))
                for f in fields(item)
                if f.init
            ]
            make_one = type(item)
            return lambda r: make_one(**{k: p(r) for k, p in picks})
        if item is None:
            raise FetchError(
                "cannot fetch None: a gradient that is None means that no "
                "differentiable path leads from its x to the ys"
            )
        raise FetchError(
            f"cannot fetch {item!r} (a {type(item).__name__}): fetch tensors, "
            "operations, variables, names, or lists, tuples, dicts and dataclasses "
            "of them"
        )

    def _leaf(self, graph: Graph, item: Any, index: dict[Tensor, int]) -> Rebuild:
        try:
            element = graph.as_graph_element(item)
        except DagradError as error:
            raise FetchError(f"cannot fetch {item!r}: {error}") from None
        if isinstance(element, Operation):
            if element not in self.targets:
                self.targets.append(element)
            return lambda r: None
        k = index.get(element)
        if k is None:
            k = index[element] = len(self.tensors)
            self.tensors.append(element)
        return itemgetter(k)
