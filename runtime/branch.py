"""A branch, ready to run: the chosen body runs in its own frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.subgraph import Body
from .body_plans import numbers
from .control import Bodies
from .executor import Executable
from .leaving import arrived
from .plan import FETCH

__all__ = ["Branch"]


class _Side:
    """One body of a branch operation.

    Attributes:
        wires: which arrays of the step it is fed.
        present: for each output of the step, its place among the body's, or None.
        direct: for each output of the body, whether it writes where it is told to.
    """

    def __init__(self, body: Body, wires: Sequence[int], first: int) -> None:
        self.body = body
        self.wires = [i - first for i, fed in zip(wires, body.fed) if fed]
        place = iter(range(len(body.outputs)))
        self.present = [None if t is None else next(place) for t in body.outputs]
        self.sized = body.sizes
        # What the executable is for: shapes, and the values of sizes.
        self.shapes: Any = None
        self.executable: Executable | None = None
        self.direct: list[bool] = []

    def prepare(self, bodies: Bodies, feeds: Sequence[Any]) -> Executable:
        """What runs the body for arrays of these shapes."""
        shapes: list[Any] = [a.shape for a in feeds]
        shapes += [numbers(feeds[i]) for i in self.sized]
        found = self.executable
        if found is None or shapes != self.shapes:
            found = self.executable = bodies.executable(self.body, feeds)
            self.shapes = shapes
            plan = found.plan
            self.direct = [
                plan.slots[s].kind == FETCH and s not in plan.fetches[:k]
                for k, s in enumerate(plan.fetches)
            ]
        return found


class Branch:
    """``branch(*arrays, out=None)``: a Case (the first array is the index) or Call."""

    def __init__(self, bodies: Bodies, attrs: Mapping[str, Any], indexed: bool) -> None:
        self.bodies = bodies
        self.indexed = indexed
        self.outputs = list(zip(*[b.outputs for b in attrs["branches"]]))
        self.sides = [
            _Side(body, wires, int(indexed))
            for body, wires in zip(attrs["branches"], attrs["wires"])
        ]

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
        side = self.sides[0]
        if self.indexed:
            index, *given = arrays
            if index.ndim:
                raise InvalidArgumentError(
                    "what chooses a branch must be a scalar, not an array of shape "
                    f"{index.shape}"
                )
            chosen = int(index)
            last = len(self.sides) - 1
            side = self.sides[chosen if 0 <= chosen <= last else last]
        else:
            given = list(arrays)
        feeds = [
            a if isinstance(a, np.ndarray) else np.asarray(a)
            for a in [given[i] for i in side.wires]
        ]
        executable = side.prepare(self.bodies, feeds)
        frame = executable.take()
        try:
            if out is None:
                results = [arrived(r) for r in frame.run(feeds)]
            else:
                targets = out if isinstance(out, tuple) else (out,)
                wanted = [t for t, k in zip(targets, side.present) if k is not None]
                frame.run_into(feeds, wanted, side.direct)
        except BaseException:
            frame.arena.lock.release()  # a frame that failed is not used again
            raise
        executable.give_back(frame)
        if out is not None:
            return out
        made = [
            self._absent(k) if place is None else results[place]
            for k, place in enumerate(side.present)
        ]
        return made[0] if len(made) == 1 else tuple(made)

    def _absent(self, k: int) -> Any:
        """What stands for an output that the chosen body lacks (see ops.branches)."""
        like = next(t for t in self.outputs[k] if t is not None)
        dims = like.dims
        if dims is None or None in dims:
            dims = (0,) * len(dims or ())
        return np.broadcast_to(np.zeros((), like.dtype.dtype), dims)
