"""Running the bodies of control operations: one plan per body and shapes.

A loop drives one frame of that plan directly: the rows of scanned arrays and
the carries are written where the body reads them, and the body's outputs go
straight into the rows of the stacks or into one of two buffers per carry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.checkpointing import at_marks
from ..graphlib.checkpointing import rows as schedule_rows
from ..graphlib.ragged import Ragged, iterations, row_of, stack_made
from ..graphlib.shapes import is_static
from ..graphlib.subgraph import Body, empty_stacks
from .body_plans import BodyKey, donated_carries, numbers, plan_body
from .direct_loops import iterations_of
from .executor import Executable
from .frame import Frame
from .leaving import arrived
from .loop_memory import Made, Marks, Places, Stack, Track
from .plan import Plan
from .variables import State
from .warming import count

__all__ = ["Bodies", "Loop", "bodies_of"]

# Plans of bodies that a session keeps: what varying shapes may hold in memory.
_MAX_PLANS = 512
_MAX_PLACES = 16


class Bodies:
    """The plans of bodies that one session has run."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._found: dict[Any, tuple[Body, Executable]] = {}
        self._planned: dict[BodyKey, Plan] = {}
        self._lock = threading.RLock()

    def executable(
        self, body: Body, arrays: Sequence[Any], donated: tuple[int, ...] = ()
    ) -> Executable:
        """What runs ``body`` for fed arrays of these shapes."""
        # The rank of rows of different shapes is not that of the array of rows.
        shapes = [None if type(a) is Ragged else a.shape for a in arrays]
        values = tuple([(i, numbers(arrays[i])) for i in body.sizes])
        key = (id(body), donated, values, *shapes)
        found = self._found.get(key)
        if found is None:
            with self._lock:
                found = self._found.get(key)
                if found is None:
                    wanted = BodyKey(body, donated, tuple(shapes), values)
                    plan = self._planned.get(wanted) or plan_body(
                        wanted, self.state.settings
                    )
                    found = body, Executable(plan, self.state)
                    # What one program runs in turn must not push itself out.
                    if len(self._found) >= _MAX_PLANS + len(self._planned):
                        del self._found[next(iter(self._found))]
                    self._found[key] = found
        return found[1]

    def know(self, plans: Mapping[BodyKey, Plan]) -> None:
        """Use these plans, made with the plan of the run around the bodies."""
        with self._lock:
            self._planned.update(plans)
            while len(self._planned) > max(_MAX_PLANS, len(plans)):
                del self._planned[next(iter(self._planned))]

    def plan_for(self, body: Body, arrays: Sequence[Any]) -> tuple[Plan, list[Any]]:
        """The plan of ``body`` for these inputs, and those of them that it is fed."""
        feeds = _fed(body, arrays)
        return self.executable(body, feeds).plan, feeds

    def run(self, body: Body, arrays: Sequence[Any]) -> list[Any]:
        """The outputs of ``body``; the run around it holds the session's lock."""
        feeds = _fed(body, arrays)
        results = self.executable(body, feeds).run_inside(feeds)
        return [arrived(r) for r in results]


def _fed(body: Body, arrays: Sequence[Any]) -> list[Any]:
    return [
        a if isinstance(a, np.ndarray) else np.asarray(a)
        for a, fed in zip(arrays, body.fed)
        if fed
    ]


def bodies_of(state: State) -> Bodies:
    """The bodies of a session."""
    found = state.bodies
    if found is None:
        found = state.bodies = Bodies(state)
    return found  # type: ignore[no-any-return]


class Loop:
    """A loop step, ready to run: ``loop(*arrays, out=None)``."""

    def __init__(
        self, bodies: Bodies, attrs: Mapping[str, Any], spare: Sequence[Any] = ()
    ) -> None:
        self.bodies = bodies
        self.attrs = attrs
        # Planned memory: a second buffer for each carry that moves.
        self.spare = spare
        # How many iterations the last two runs made, where only a run tells: of
        # blocks that run in turn the last is often shorter than the others.
        self._before = 0, 0
        self.body: Body = attrs["body"]
        self.k: int = attrs["carries"]
        self.n: int = attrs["scanned"]
        self.bounded: bool = attrs["bounded"]
        self.tested: bool = attrs["tested"]
        self.reverse: bool = attrs["reverse"]
        #: Carries of which all states are kept, or some.
        self.kept: tuple[int, ...] = attrs["history"]
        self.marks = attrs["marks"]
        self.history = self.kept if self.marks is None else ()
        self.donated = donated_carries(attrs)
        self.sized_rows = [i for i in self.body.sizes if self.k <= i < self.k + self.n]
        self.fed = self.body.fed
        self._places: dict[Executable, Places] = {}

    def __call__(self, *arrays: Any, out: Any = None, spare: Any = None) -> Any:
        """Run the loop.

        Args:
            arrays: its inputs.
            out: where its outputs go; None for one that nobody wants.
            spare: a second buffer for each carry that moves, instead of the planned
                ones.
        """
        if out is not None and not isinstance(out, tuple):
            out = (out,)
        given = list(arrays)
        bound = int(given.pop(0)) if self.bounded else None
        go_on = bool(given.pop(0)) if self.tested else True
        k, n = self.k, self.n
        carries, scans = given[:k], given[k : k + n]
        rest = [
            a for a, fed in zip(given[k + n :], self.fed[k + n :], strict=True) if fed
        ]
        limit = iterations(scans, bound)
        runs = go_on and (limit is None or limit > 0)
        if runs and self._uniform(scans):
            rows = [row_of(a, 0) for a in scans]
            executable = self.bodies.executable(
                self.body, [*carries, *rows, *rest], self.donated
            )
            places = self._places_of(executable)
            if self._settle(carries, places):
                executable = self.bodies.executable(
                    self.body, [*carries, *rows, *rest], self.donated
                )
                places = self._places_of(executable)
            if places.steady:
                frame = executable.take()
                try:
                    made = self._steady(
                        frame, places, carries, scans, rest, limit, out, spare
                    )
                except BaseException:
                    frame.arena.lock.release()  # what failed is not used again
                    raise
                executable.give_back(frame)
                return made
        return self._freely(carries, scans, given[k + n :], limit, go_on, out)

    def _uniform(self, scans: Sequence[Any]) -> bool:
        """Whether one plan serves for all rows: they have one shape, and where they
        are sizes, one value."""
        return not any(type(a) is Ragged for a in scans) and all(
            len(a) < 2 or bool((a[1:] == a[0]).all())
            for a in [scans[i - self.k] for i in self.sized_rows]
        )

    def _settle(self, carries: list[Any], places: Places) -> bool:
        """Give carries with empty rows the shape that an iteration makes of them, so
        that it is the same from the start; whether any changed."""
        changed = False
        for i in self.attrs["unshaped"]:
            dims = places.out_dims[i]
            if dims != carries[i].shape and is_static(dims):
                dtype = places.out_dtypes[i]
                carries[i] = np.full(dims, b"" if dtype.hasobject else 0, dtype)
                changed = True
        return changed

    def places_for(self, arrays: Sequence[Any]) -> Places:
        """How the plan for the inputs of an iteration is fed and read."""
        fed = [a for a, is_fed in zip(arrays, self.fed, strict=True) if is_fed]
        return self._places_of(self.bodies.executable(self.body, fed, self.donated))

    def _places_of(self, executable: Executable) -> Places:
        found = self._places.get(executable)
        if found is None:
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            found = Places(executable.plan, self.attrs)
            self._places[executable] = found
        return found

    # -- shapes that stay ------------------------------------------------------

    def _steady(
        self,
        frame: Frame,
        places: Places,
        carries: list[Any],
        scans: list[Any],
        rest: list[Any],
        limit: int | None,
        out: Any,
        spare: Any,
    ) -> Any:
        k, tested = self.k, self.tested
        fetches = frame.plan.fetches
        for slot, array in zip(places.rest, rest):
            frame.put(slot, array)
        rows = [(frame.sites_of(s), a) for s, a in zip(places.rows, scans)]
        length = None if tested else limit
        histories = self._histories(places, carries, length, limit, out)
        after = dict(zip(self.history, histories))
        marks = None
        if self.marks is not None:
            marks = Marks(self.marks, length, list(zip(self.kept, histories)))
        stacks = self._stacks(places, length, limit, out)
        made = [
            Made(j, stack, frame.sites_of(fetches[j]) if places.direct[j] else None)
            for j, stack in enumerate(stacks, k + tested)
        ]
        tracks = []
        spares = iter(self.spare if spare is None else spare)
        still = []
        now = list(carries)
        for i in range(k):
            given = None if out is None else out[1 + i]
            if places.still[i]:
                frame.put(places.carries[i], carries[i])
                still.append(i)
            elif places.in_place[i]:
                now[i] = given
                if given is None:  # in the order that kernels' outputs have
                    now[i] = np.array(carries[i], order="C")
                elif given is not carries[i]:
                    np.copyto(given, carries[i])
                frame.put(places.carries[i], now[i])
            else:
                track = Track(i, frame, places, after.get(i))
                if track.past is None:
                    track.take_buffers(given, next(spares, None), length)
                tracks.append(track)
        flag, go_on = self._flag(frame, places)
        kept = [(i, after[i]) for i in still if i in after]
        reverse = self.reverse and limit is not None
        quick = None
        if marks is None and not kept:
            quick = iterations_of(frame, places, tracks, made, reverse, tested)
        if quick is not None:
            t = quick(tracks, made, scans, rest, now, limit, flag, go_on)
        else:
            t = self._iterate(frame, tracks, made, kept, rows, now, marks, limit, go_on)
        count(frame, t)
        frame.forget()
        # Spare buffers go before marks get the rows that going backward needs.
        while tracks:
            track = tracks.pop()
            now[track.position] = track.result(now[track.position], out)
            del track
        if out is None:
            for i in still:
                now[i] = now[i].copy()
        self._before = self._before[1], t
        results = [np.array(t, np.int32), *now]
        if marks is None:
            results += [h.done(t + 1) for h in histories]
        else:
            results += marks.done(t)
        results += [s.done(t) for s in stacks]
        return _delivered(results, out)

    def _iterate(
        self,
        frame: Frame,
        tracks: Sequence[Track],
        made: Sequence[Made],
        kept: Sequence[tuple[int, Stack]],
        rows: Sequence[tuple[Any, Any]],
        now: list[Any],
        marks: Marks | None,
        limit: int | None,
        go_on: Callable[[], Any] | None,
    ) -> int:
        """Run the iterations; returns how many.

        ``kept`` are histories of carries that do not move; ``now`` are the carries,
        and becomes the last of them.
        """
        execute, value_of = frame.execute, frame.value_of
        reverse = self.reverse and limit is not None
        t = 0
        while limit is None or t < limit:
            at = limit - 1 - t if reverse else t  # type: ignore[operator]
            if marks is not None and t == marks.next:
                marks.take(now)
            for sites, scan in rows:
                row = scan[at, ...]
                for target, place in sites:
                    target[place] = row
            for track in tracks:
                past = track.past
                if past is None:
                    fresh = track.buffers[t & 1]
                    array = now[track.position]
                else:
                    fresh = past.row(t + 1)
                    array = past.row(t)
                for target, place in track.reads:
                    target[place] = array
                for target, place in track.writes:
                    target[place] = fresh
                now[track.position] = fresh
            for m in made:
                m.row = m.stack.row(at)
                for target, place in m.writes:
                    target[place] = m.row
            execute()
            for m in made:
                if not m.direct:
                    m.row[...] = value_of(m.position)
            for track in tracks:
                if not track.direct:
                    track.copied = value_of(track.position)
            for track in tracks:
                if not track.direct:
                    now[track.position][...] = track.copied
            for i, past in kept:
                past.row(t + 1)[...] = now[i]
            t += 1
            if go_on is not None and not go_on():
                break
        return t

    def _flag(self, frame: Frame, places: Places) -> tuple[Any, Any]:
        """Where the body writes whether to go on, if it does, and what says so after
        an iteration (None: nothing does)."""
        if not self.tested:
            return None, None
        k = self.k
        if not places.direct[k]:
            return None, lambda: frame.value_of(k)
        flag = np.empty((), np.bool_)
        frame.put(frame.plan.fetches[k], flag)
        return flag, flag.item

    def _stacks(
        self, places: Places, length: int | None, most: int | None, out: Any
    ) -> list[Stack]:
        first = self.k + self.tested
        given = _given(out, 1 + self.k + len(self.kept))
        return [
            self._stack(places, j, 0, length, most, given[n] if given else None)
            for n, j in enumerate(range(first, len(places.out_dims)))
        ]

    def _histories(
        self,
        places: Places,
        carries: list[Any],
        length: int | None,
        most: int | None,
        out: Any,
    ) -> list[Stack]:
        given = _given(out, 1 + self.k)
        found = []
        for n, i in enumerate(self.kept):
            memory = given[n] if given else None
            stack = self._stack(places, i, 1, length, most, memory)
            if self.marks is None:
                stack.row(0)[...] = carries[i]
            found.append(stack)
        return found

    def _stack(
        self,
        places: Places,
        output: int,
        more: int,
        length: int | None,
        most: int | None,
        memory: Any,
    ) -> Stack:
        """Rows for one output of the body, and ``more`` of them than iterations."""
        dims, dtype = places.out_dims[output], places.out_dtypes[output]
        rows = None if length is None else length + more
        marked = more and self.marks is not None
        if marked and length is not None:
            rows = schedule_rows(self.marks, length)
        if memory is None:
            expected = rows or self._expected(most, more)
            if marked and length is None:
                before = max(self._before)
                expected = before and schedule_rows(self.marks, before)
            if expected:
                memory = self.bodies.state.lender.lend((expected, *dims), dtype)
        return Stack(dims, dtype, rows, None if most is None else most + more, memory)

    def _expected(self, most: int | None, more: int) -> int:
        """How many rows a loop that tests is likely to make: as many as before, or as
        it may at most, where that is not far (a short last block, then whole ones);
        0 where nothing is known."""
        before = max(self._before)
        if before and most is not None and most <= 2 * before:
            return most + more
        return before and before + more

    # -- shapes that change, variables that are written --------------------------

    def _freely(
        self,
        carries: list[Any],
        scans: list[Any],
        rest: list[Any],
        limit: int | None,
        go_on: bool,
        out: Any,
    ) -> Any:
        k, tested = self.k, self.tested
        state = [np.asarray(c) for c in carries]
        kept: list[list[Any]] = [[state[i]] for i in self.kept]
        stacks: list[list[Any]] = [[] for _ in self.body.outputs[k + tested :]]
        t = 0
        while go_on and (limit is None or t < limit):
            at = t if limit is None or not self.reverse else limit - 1 - t
            results = self.bodies.run(
                self.body, [*state, *[row_of(a, at) for a in scans], *rest]
            )
            state = results[:k]
            if tested:
                go_on = bool(results[k])
            for rows, i in zip(kept, self.kept):
                rows.append(state[i])
            for rows, row in zip(stacks, results[k + tested :]):
                rows.append(row)
            t += 1
        if self.reverse:
            stacks = [rows[::-1] for rows in stacks]
        results = [np.array(t, np.int32)]
        results += [s if t else np.array(s) for s in state]
        loose, strict = self.attrs["loose"], self.attrs["strict"]
        if self.marks is not None:
            kept = [at_marks(states, self.marks) for states in kept]
        for rows, i in zip(kept, self.kept):
            results.append(stack_made(rows, i not in loose))
        if t:
            results += [stack_made(rows, k < strict) for k, rows in enumerate(stacks)]
        else:
            given = [*carries, *scans, *rest]
            results += empty_stacks(self.body, k, self.n, k + tested, given)
        return _delivered(results, out)


def _given(out: Any, first: int) -> list[Any]:
    return [] if out is None else list(out[first:])


def _delivered(results: list[Any], out: Any) -> Any:
    if out is None:
        return tuple(results)
    for target, array in zip(out, results):
        if target is not None and target is not array:
            np.copyto(target, array)
    return out
