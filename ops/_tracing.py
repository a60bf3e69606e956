"""Tracing the bodies of loops: what is carried, and the shapes it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graphlib.errors import DTypeError, ShapeError
from ..graphlib.graph import Graph
from ..graphlib.shapes import Dims, as_dims, compatible, text
from ..graphlib.source import at_caller, entry
from ..graphlib.subgraph import Body, Subgraph, captures_of, source_in
from ..graphlib.tensor import Tensor, as_tensor
from ._loop import join
from ._nest import assert_same, flatten
from .rows import UNSHAPED

__all__ = ["Carries", "Traced", "trace"]

# How often a body is traced again because a carry's shape changed in it: each
# time at least one dimension becomes unknown, or a rank.
_MOST_TRACES = 64


class Carries:
    """Loop variables: their structure, dtypes and what is known of their shapes."""

    def __init__(self, structure: Any, who: str, invariants: Any = None) -> None:
        self.structure = structure
        self.who = who
        self.inits = [as_tensor(v) for v in flatten(structure)]
        self.dims: list[Dims] = [t.dims for t in self.inits]
        self.fixed = [False] * len(self.inits)
        if invariants is not None:
            self._take_invariants(invariants)

    def _take_invariants(self, invariants: Any) -> None:
        shapes = _flat_shapes(self.structure, invariants)
        for i, (t, shape) in enumerate(zip(self.inits, shapes)):
            if shape is None:
                continue
            dims = as_dims(shape)
            if not compatible(dims, t.dims):
                raise ShapeError(
                    f"{entry()}the shape invariant {text(dims)} does not fit the "
                    f"initial value {t!r}"
                )
            self.dims[i] = dims
            self.fixed[i] = True

    def tensors(self, given: Any) -> list[Tensor]:
        """What a body returned, as one tensor per carry.

        Raises:
            ValueError: another structure.
            DTypeError: another dtype.
        """
        if given is None:
            raise ValueError(
                f"{self.who}{at_caller()}: the body returns None, not the loop "
                "variables: is a `return` missing?"
            )
        bare = not isinstance(given, (list, tuple, dict))
        if bare and isinstance(self.structure, (list, tuple)):
            given = type(self.structure)([given])
        assert_same(
            self.structure,
            given,
            f"{self.who}{at_caller()}: the loop variables and what the body returns "
            "differ",
        )
        made = []
        for i, (value, init) in enumerate(zip(flatten(given), self.inits)):
            plain = not (isinstance(value, Tensor) or hasattr(value, "_as_tensor"))
            t = as_tensor(value, init.dtype if plain else None)
            if t.dtype is not init.dtype:
                raise DTypeError(
                    f"{self.who}: loop variable {i} is {init.dtype.name} "
                    f"({init.op.defined_at()}), but the body makes {t.dtype.name} of "
                    f"it ({t.op.defined_at()}): use dagrad.cast, "
                    f"or start with {t.dtype.name}"
                )
            made.append(t)
        return made

    def settle(self) -> bool:
        """Take arrays whose rows the body has given a shape; whether any has."""
        changed = False
        for i, t in enumerate(flatten(self.structure)):
            if self.inits[i].op.opdef is UNSHAPED and t is not self.inits[i]:
                self.inits[i], self.dims[i], changed = t, t.dims, True
        return changed

    def widen(self, made: Sequence[Tensor]) -> bool:
        """Take into account the shapes that the body makes; whether any changed."""
        changed = False
        for i, (dims, t) in enumerate(zip(self.dims, made)):
            if self.fixed[i]:
                if not _within(t.dims, dims):
                    raise ShapeError(
                        f"{self.who}: the body makes {text(t.dims)} of loop variable "
                        f"{i} ({t.op.defined_at()}), which its shape invariant "
                        f"{text(dims)} does not allow"
                    )
                continue
            joined = join(dims, t.dims)
            if joined != dims:
                self.dims[i] = joined
                changed = True
        return changed


def _within(dims: Dims, allowed: Dims) -> bool:
    if allowed is None:
        return True
    if dims is None or len(dims) != len(allowed):
        return False
    return all(a is None or a == d for d, a in zip(dims, allowed))


def _flat_shapes(structure: Any, shapes: Any) -> list[Any]:
    """The shapes of a structure of shapes, which are lists themselves."""
    if hasattr(structure, "_parts"):
        return [None] * len(structure._parts())
    if isinstance(structure, dict):
        return [
            s for k in sorted(structure) for s in _flat_shapes(structure[k], shapes[k])
        ]
    if isinstance(structure, (list, tuple)):
        if len(structure) != len(shapes):
            raise ValueError(
                f"{len(shapes)} shape invariants for {len(structure)} loop variables"
            )
        return [s for a, b in zip(structure, shapes) for s in _flat_shapes(a, b)]
    return [shapes]


class Traced:
    """A body as traced, and what it captured."""

    def __init__(
        self, graph: Subgraph, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        rest = captures_of(outputs, inputs)
        self.body = Body(graph, (*inputs, *rest), tuple(outputs))
        self.rest = [source_in(graph, t) for t in rest]
        self.controls = list(graph.outer_controls)


def trace(
    outer: Graph,
    scope: str,
    what: str,
    carries: Carries,
    rows: Sequence[tuple[Any, Dims]],
    build: Callable[
        [Subgraph, list[Tensor], list[Tensor]], tuple[list[Tensor], list[Any]]
    ],
) -> Traced:
    """Trace ``build(graph, carries, rows) -> (new carries, other outputs)`` until the
    shapes of the carries are those of every iteration."""
    for _ in range(_MOST_TRACES):
        graph = Subgraph(outer, f"{scope}body", what)
        ins = [
            graph.add_input(t.dtype, dims, "carry")
            for t, dims in zip(carries.inits, carries.dims)
        ]
        row_ins = [graph.add_input(dtype, dims, "row") for dtype, dims in rows]
        with graph.as_innermost():
            made, others = build(graph, ins, row_ins)
            # What is around the body may be returned as it is.
            made = [graph.capture(t) for t in made]
            others = [graph.capture(t) for t in others]
        if not (carries.widen(made) or carries.settle()):
            return Traced(graph, [*ins, *row_ins], [*made, *others])
    raise ShapeError(f"{what}: the shapes of the loop variables never settle")
