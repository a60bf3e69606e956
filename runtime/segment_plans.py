"""The loops of a checkpointed gradient, and the memory that its segments take.

Its operation (see ops.checkpointed) says in a body what it computes.  A plan runs
three loops of that instead, for one segment at a time: forward to the next mark,
forward with all that the backward loop reads, and backward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ..graphlib.checkpointing import Schedule, longest, rows, segments
from ..graphlib.opdef import Spec
from ..graphlib.operation import Operation
from ..graphlib.records import replace
from ..graphlib.shapes import is_static
from ..graphlib.subgraph import Body, infer_through
from .plan import ARENA
from .program import with_arrays

__all__ = ["Loops", "Scratch", "row_spec", "scratch_of", "state_rows"]

#: (NumPy dtype, shape) of arrays.
Scratch = tuple[tuple[Any, tuple[int, ...]], ...]


class Loops:
    """What one operation's segments run.

    Attributes:
        sweep, tape, backward: attributes of loops: forward, forward with what is
            kept, and backward.
        history: the carries whose states the backward loop reads.
        sources: where its kept rows are (see ops.loops.Saved).
        schedule: see graphlib.checkpointing.
        marked: whether the states that come in are those that the schedule marks.
    """

    def __init__(self, attrs: Mapping[str, Any]) -> None:
        (body,) = attrs["branches"]
        forward, backward = (
            op for op in body.operations() if op.opdef.control == "loop"
        )
        self.attrs = attrs
        self.tape = _fed(forward, body)
        self.backward = _fed(backward, body)
        whole: Body = self.tape["body"]
        self.carries: int = self.tape["carries"]
        swept = replace(whole, outputs=whole.outputs[: self.carries])
        self.sweep = {**self.tape, "body": swept, "history": (), "loose": ()}
        self.history: tuple[int, ...] = self.tape["history"]
        self.sources: Sequence[tuple[str, int]] = attrs["sources"]
        self.schedule: Schedule = attrs["schedule"]
        self.marked: bool = attrs["overwritten"] > 0

    def given(self, values: Sequence[Any]) -> Callable[[str], list[Any]]:
        """What is passed, by role."""
        roles = self.attrs["roles"]
        return lambda role: [values[i] for i in roles[role]]

    def known(self, values: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """What is known before the run of the inputs of the two bodies, rows of arrays
        among them: of the one that runs forward, and of the one that runs backward."""
        given = self.given(values)
        carries, arrays = given("carries"), given("rows")
        rows_of = [row_spec(a) for a in arrays]
        forward = [*carries, *rows_of, *given("rest")]
        made = infer_through(self.tape["body"], forward)[self.carries :]
        kept = {"before": carries, "after": carries, "row": rows_of, "made": made}
        scanned = [row_spec(a) for a in given("scanned")]
        backward = [
            *given("inits"),
            *scanned,
            *[kept[kind][i] for kind, i in self.sources],
            *given("same"),
        ]
        return forward, backward

    def iterations(self, values: Sequence[Any]) -> int | None:
        """The number of iterations, where it is known before the run."""
        given = self.given(values)
        lengths = [a.dims[0] for a in given("rows") if a.dims]
        if lengths:
            return lengths[0]  # type: ignore[no-any-return]
        (count,) = given("count")
        return None if count.value is None else int(count.value)


def _fed(loop: Operation, body: Body) -> Mapping[str, Any]:
    """The attributes of a loop in ``body``, which may be fed in place of variables."""
    arrays = [
        i
        for i, t in enumerate(loop.inputs)
        if t.op.opdef.effect != "variable" or t in body.given
    ]
    return with_arrays(loop, arrays)


def row_spec(array: Any) -> Spec:
    """What is known of a row of an array."""
    return Spec(array.dtype, None if array.dims is None else array.dims[1:])


def arena_readers(
    kind: Sequence[str], owner: Sequence[int], reads: Iterable[Sequence[int]]
) -> Callable[[int], int]:
    """How often ``reads`` has a slot of the memory of one that is in the arena, and is
    no view (0 for other slots)."""
    times = Counter(owner[i] for i in chain.from_iterable(reads))
    return lambda i: times[i] if kind[i] == ARENA and owner[i] == i else 0


def spendable(
    attrs: Mapping[str, Any], inputs: Sequence[int], readers: Callable[[int], int]
) -> tuple[int, ...]:
    """Which cotangents and sums that come in nobody else reads, nor this operation in
    another role: one tensor may be the cotangent of two carries.

    Args:
        inputs: the slots of the operation's inputs.
        readers: how many inputs of a plan's steps, and how many of its fetches, are
            in the memory of a slot of the arena (0 for other slots).
    """
    roles = attrs["roles"]
    uses = Counter(i for at in roles.values() for i in at)
    return tuple(
        k
        for k, i in enumerate(roles["inits"])
        if uses[i] == 1 and readers(inputs[i]) == 1
    )


def state_rows(schedule: Schedule, n: int, stacked: bool) -> int:
    """How many states the segments of ``n`` iterations take beside those that come in:
    one segment at a time, where all states do (``stacked``)."""
    if not stacked or n <= 0:
        return rows(schedule, n)
    return max(
        length + 1 if inner is None else rows(inner, length)
        for _, length, inner in segments(schedule, n)
    )


def scratch_of(loops: Loops, values: Sequence[Any], made: Sequence[Any]) -> Scratch:
    """The memory of the segments: the stacks of ``made`` (of what is known of one row
    each), and the states where none come in that can be overwritten."""
    n = loops.iterations(values)
    given = loops.given(values)
    states = [] if loops.marked else given("carries")
    if n is None or not all(is_static(t.dims) for t in (*made, *states)):
        return ()
    length = longest(loops.schedule, n)
    found = [(t.dtype.dtype, (length, *t.dims)) for t in made]
    lasting = state_rows(loops.schedule, n, bool(given("states")))
    found += [(t.dtype.dtype, (lasting, *t.dims)) for t in states]
    return tuple(found)
