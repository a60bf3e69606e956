"""A loop's gradient, segment by segment, from the last to the first.

The states at the start of segments stand in the first rows of one array for each
carry.  A segment runs forward from the last of them into the rows after it, and the
backward loop reads it there.  Then these rows are free: the segment before it may be
longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.checkpointing import Segment, longest, segments
from ..graphlib.ragged import Ragged
from .body_plans import moving_carries
from .branch import Branch
from .control import Bodies, Loop
from .loop_memory import Places
from .segment_plans import Loops, state_rows

__all__ = ["CheckpointedGradient"]


class CheckpointedGradient:
    """``gradient(*arrays, out=None)``.

    Args:
        scratch: planned memory (see segment_plans.scratch_of), then a second buffer
            for each cotangent or sum that moves; empty where shapes are not known.
        exclusive: whether nobody else reads the states that come in, so that their
            rows may be overwritten.
        spendable: the cotangents and sums that come in and that nobody else reads:
            the memory of each is its second buffer, and none is planned for it.
    """

    def __init__(
        self,
        bodies: Bodies,
        attrs: Mapping[str, Any],
        scratch: Sequence[Any] = (),
        exclusive: bool = False,
        spendable: Collection[int] = (),
    ) -> None:
        self.bodies = bodies
        self.loops = Loops(attrs)
        self.scratch = scratch
        self.exclusive = exclusive
        self.spendable = spendable
        self.reverse: bool = self.loops.tape["reverse"]
        self.sweep = Loop(bodies, self.loops.sweep)
        self.tape = Loop(bodies, self.loops.tape)
        self.backward = Loop(bodies, self.loops.backward)
        # What shapes that change ask for.
        self.whole = Branch(bodies, attrs, False)

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
        if out is not None and not isinstance(out, tuple):
            out = (out,)
        given = self.loops.given(arrays)
        n = self._iterations(given)
        tape = self._regular(given) if n > 0 else None
        if tape is not None:
            try:
                return _Run(self, given, n, tape, out).results()
            except _UnknownShapes:
                pass  # the states that came in may be overwritten, which it never reads
        return self.whole(*arrays, out=out)

    def _iterations(self, given: Any) -> int:
        found = given("rows")
        return len(found[0]) if found else int(given("count")[0])

    def _regular(self, given: Any) -> Places | None:
        """How an iteration of the tape is fed and read, where all iterations have the
        same shapes."""
        arrays = [*given("rows"), *given("scanned")]
        states = [a for a in given("states") if type(a) is not Ragged and len(a)]
        if len(states) < len(given("states")):
            return None
        if any(type(a) is Ragged for a in arrays):
            return None
        carries = given("carries")
        rows = [a[0, ...] for a in given("rows")]
        places = self.tape.places_for([*carries, *rows, *given("rest")])
        dims = places.out_dims[: self.tape.k]
        steady = places.steady and dims == [np.shape(c) for c in carries]
        return places if steady else None


class _UnknownShapes(Exception):
    """Only the run of the backward loop tells the shapes of its results."""


class _Run:
    """One run of a checkpointed gradient.

    Attributes:
        states: for each carry, the rows of kept states.
        made: for each stack of the forward loop, the rows of one segment.
    """

    def __init__(
        self, owner: CheckpointedGradient, given: Any, n: int, tape: Places, out: Any
    ) -> None:
        self.owner = owner
        self.loops = owner.loops
        self.given = given
        self.n = n
        self.arrays = given("rows")
        self.rest = given("rest")
        self.scanned = given("scanned")
        self.same = given("same")
        self.scratch = deque(owner.scratch)
        self.segments = segments(self.loops.schedule, n)
        #: The carries of a forward loop that take a second buffer.
        self.moving = {owner.tape: moving_carries(tape.plan, owner.tape.donated)}
        self._take_memory(tape, out)

    # -- memory --------------------------------------------------------------------

    def _take_memory(self, tape: Places, out: Any) -> None:
        loops = self.loops
        longest_one = longest(loops.schedule, self.n)
        self.made = [
            self._memory((longest_one, *tape.out_dims[j]), tape.out_dtypes[j])
            for j in range(loops.carries, len(tape.out_dims))
        ]
        came = self.given("states")
        #: Whether the states before all iterations are there.
        self.stacked = bool(came) and not loops.marked
        self.states = []
        for i, carry in enumerate(self.given("carries")):
            if loops.marked:
                self.states.append(self._overwritten(came[i], i, out))
            else:
                count = state_rows(loops.schedule, self.n, self.stacked)
                dtype = tape.out_dtypes[i]
                self.states.append(self._memory((count, *np.shape(carry)), dtype))
        self.out = out
        #: What the next segment begins with.
        self.now = self.given("inits")
        self.finals: list[Any] = []
        self.stacks: list[Any] = []
        self.spares: dict[int, Any] = {}

    def _memory(self, dims: tuple[int, ...], dtype: Any) -> Any:
        if self.scratch:
            return self.scratch.popleft()
        return self.owner.bodies.state.lender.lend(dims, dtype)

    def _overwritten(self, came: Any, i: int, out: Any) -> Any:
        """The states that come in, or a copy of them where they must stay."""
        if out is None:
            return came if self.owner.exclusive else came.copy()
        target = out[len(out) - self.loops.carries + i]
        if not np.may_share_memory(target, came):
            kept = len(self.segments)
            target[:kept] = came[:kept]
        return target

    def _take_results(self, rows: Sequence[Any]) -> None:
        """Where the backward loop writes, now that there are rows for it to read: the
        results, and a second buffer for each carry that moves.  Where the choice is
        free, the last segment is to write into the first of the two."""
        loop = self.owner.backward
        places = loop.places_for([*self.now, *[r[0, ...] for r in rows], *self.same])
        if not places.steady:
            raise _UnknownShapes
        k, count = len(self.now), len(places.out_dims)
        if self.out is None:
            made = [np.empty(np.shape(c), c.dtype) for c in self.now]
            for dims, dtype in zip(places.out_dims[k:], places.out_dtypes[k:]):
                made.append(np.empty((self.n, *dims), dtype))
            self.out = (*made, *(self.states if self.loops.marked else ()))
        self.finals, self.stacks = list(self.out[:k]), list(self.out[k:count])
        for i in moving_carries(places.plan, loop.donated):
            now = self.now[i]
            if i in self.owner.spendable:
                self.finals[i], self.spares[i] = now, self.finals[i]
                continue
            if self.scratch:
                spare = self.scratch.popleft()
            else:
                spare = np.empty(now.shape, now.dtype)  # contiguous, if now is not
            self.spares[i] = spare
            if self.n % 2:
                self.finals[i], self.spares[i] = spare, self.finals[i]

    # -- the segments --------------------------------------------------------------

    def results(self) -> Any:
        """Run all segments."""
        if self.stacked:
            came = self.given("states")
            for segment in reversed(self.segments):
                for state, whole in zip(self.states, came):
                    state[0, ...] = whole[segment.start]
                self._back(segment.start, segment, 0)
        else:
            if not self.loops.marked:
                for state, first in zip(self.states, self.given("carries")):
                    state[0, ...] = first
                self._mark(0, self.segments, 0)
            for row, segment in reversed(list(enumerate(self.segments))):
                self._back(segment.start, segment, row)
        for target, last in zip(self.out, self.now):
            if target is not last:
                np.copyto(target, last)
        return self.out if len(self.out) > 1 else self.out[0]

    def _back(self, start: int, segment: Segment, row: int) -> None:
        """Run a segment backward, whose iterations begin at ``start``, and before the
        first of which the states are in ``row``."""
        _, length, inner = segment
        if inner is None:
            self._tape(start, length, row)
            self._backward(start, length, row)
            return
        parts = segments(inner, length)
        self._mark(start, parts, row)
        for k, part in reversed(list(enumerate(parts))):
            self._back(start + part.start, part, row + k)

    def _mark(self, start: int, parts: Sequence[Segment], row: int) -> None:
        """Find the states at the start of all parts but the first, in the rows after
        ``row``."""
        for part in parts[:-1]:
            self._forward(self.owner.sweep, start + part.start, part.length, row, ())
            row += 1

    def _tape(self, start: int, length: int, row: int) -> None:
        """Run forward and keep all that the backward loop reads."""
        kept = [self.states[i][row : row + length + 1] for i in self.loops.history]
        kept += [m[:length] for m in self.made]
        self._forward(self.owner.tape, start, length, row, kept)

    def _forward(
        self, loop: Loop, start: int, length: int, row: int, kept: Sequence[Any]
    ) -> None:
        """Run forward from ``row``; the last states go into the row after it."""
        finals: list[Any] = []
        spares: list[Any] = []
        for i, states in enumerate(self.states):
            if i in loop.history:
                finals.append(None)
                continue
            finals.append(states[row + 1, ...])
            # One iteration needs no second buffer.
            spares.append(states[min(row + 2, len(states) - 1), ...])
        free = [i for i in range(loop.k) if i not in loop.history]
        by_carry = dict(zip(free, spares))
        loop(
            *([np.int32(length)] if loop.bounded else []),
            *[s[row, ...] for s in self.states],
            *[self._part(a, start, length) for a in self.arrays],
            *self.rest,
            out=(None, *finals, *kept),
            spare=[by_carry[i] for i in self._moving(loop)],
        )

    def _moving(self, loop: Loop) -> Sequence[int]:
        found = self.moving.get(loop)
        if found is None:
            rows = [a[0, ...] for a in self.arrays]
            arrays = [*self.given("carries"), *rows, *self.rest]
            plan = loop.places_for(arrays).plan
            found = self.moving[loop] = moving_carries(plan, loop.donated)
        return found

    def _backward(self, start: int, length: int, row: int) -> None:
        """Run backward over what the segment has kept."""
        back = -1 if self.owner.reverse else 1
        kept = {
            "before": [s[row : row + length][::back] for s in self.states],
            "after": [s[row + 1 : row + length + 1][::back] for s in self.states],
            "row": [self._part(a, start, length) for a in self.arrays],
            "made": [m[:length] for m in self.made],
        }
        rows = [self._part(a, start, length) for a in self.scanned]
        rows += [kept[kind][i] for kind, i in self.loops.sources]
        if not self.finals:
            self._take_results(rows)
        odd = length % 2
        finals, spares = [], []
        for i, now in enumerate(self.finals):
            other = self.spares.get(i)
            if other is None:
                finals.append(now)
                continue
            spares.append(now if odd else other)
            finals.append(other if odd else now)
            if odd:
                self.finals[i], self.spares[i] = other, now
        self.owner.backward(
            np.int32(length),
            *self.now,
            *rows,
            *self.same,
            out=(None, *finals, *[self._part(a, start, length) for a in self.stacks]),
            spare=spares,
        )
        self.now = finals

    def _part(self, array: Any, start: int, length: int) -> Any:
        """The rows of iterations ``start`` and on, in the order of the scan."""
        if self.owner.reverse:
            return array[self.n - start - length : self.n - start]
        return array[start : start + length]
