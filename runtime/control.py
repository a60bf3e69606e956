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

from ..graphlib.ragged import Ragged, iterations, row_of, stack_made
from ..graphlib.shapes import is_static
from ..graphlib.subgraph import Body, empty_stacks
from .body_plans import BodyKey, donated_carries, numbers, plan_body
from .executor import Executable, Frame
from .plan import FETCH, SAME, Plan
from .variables import State

__all__ = ["Bodies", "Loop", "bodies_of"]

# Plans of bodies that a session keeps: what varying shapes may hold in memory.
_MAX_PLANS = 512
_PAGE = 4096
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
                    plan = self._planned.get(wanted) or plan_body(wanted)
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
        return [np.asanyarray(r) for r in results]


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


class _Places:
    """How one plan of a loop's body is fed and read (the same for each iteration)."""

    def __init__(self, plan: Plan, attrs: Mapping[str, Any]) -> None:
        k, n = attrs["carries"], attrs["scanned"]
        feeds = list(plan.feeds)
        self.carries = feeds[:k]
        self.rows = feeds[k : k + n]
        self.rest = feeds[k + n :]
        slots = plan.slots
        outs = plan.fetches
        # Carries that go around as they are need no memory of their own.
        self.still = [outs[i] == self.carries[i] for i in range(k)]
        #: Carries that an iteration changes in place.
        self.in_place = [slots[outs[i]].kind == SAME for i in range(k)]
        seen: set[int] = set()
        self.direct = []
        for s in outs:
            self.direct.append(slots[s].kind == FETCH and s not in seen)
            seen.add(s)
        self.steady = not plan.writes and all(
            slots[outs[i]].dims == slots[self.carries[i]].dims for i in range(k)
        )
        self.steady = self.steady and all(is_static(slots[s].dims) for s in outs)
        #: Shapes; of steady plans they are known.
        self.out_dims: list[Any] = [slots[s].dims for s in outs]
        self.out_dtypes = [slots[s].dtype.dtype for s in outs]


class _Stack:
    """Rows that a loop makes: in memory that is given, lent, or that grows.

    Args:
        dims, dtype: of a row.
        length: how many rows there will be, None where only the run tells.
        most: more than so many there will not be (None: any number).
        memory: where the rows go, if that is known: planned memory, or lent memory
            for as many rows as the last runs made.
    """

    __slots__ = ("array", "fixed", "least", "most", "owned")

    def __init__(
        self,
        dims: tuple[int, ...],
        dtype: Any,
        length: int | None,
        most: int | None,
        memory: Any,
    ) -> None:
        self.fixed = length is not None
        self.most = most
        self.owned = memory is None
        # Small rows come by the page, large ones one by one.
        self.least = max(1, _PAGE // max(1, int(np.prod(dims)) * dtype.itemsize))
        if memory is None:
            rows = self._at_most(self.least) if length is None else length
            memory = np.empty((rows, *dims), dtype)
        self.array = memory

    def _at_most(self, rows: int) -> int:
        return rows if self.most is None else min(rows, self.most)

    def row(self, t: int) -> Any:
        """Row ``t`` as an array to write into; earlier rows may move."""
        array = self.array
        if t >= len(array):
            # Memory of its own grows in place where it is large: by a part of its
            # size, so that little is taken in advance.
            rows = self._at_most(len(array) + max(self.least, len(array) // 32))
            if self.owned:
                array.resize((rows, *array.shape[1:]), refcheck=False)
            else:
                grown = np.empty((rows, *array.shape[1:]), array.dtype)
                grown[: len(array)] = array
                self.array = array = grown
                self.owned = True
        return array[t, ...]

    def done(self, count: int) -> Any:
        """The rows that were made."""
        array = self.array
        if len(array) == count:
            return array
        if self.fixed or not self.owned:
            return array[:count]
        array.resize((count, *array.shape[1:]), refcheck=False)
        return array


class _Track:
    """A carry that moves: where an iteration reads it and where it writes.

    Attributes:
        position: among the carries.
        past: its history, whose rows it lives in; or None, and it alternates
            between two buffers.
        direct: whether the body writes straight into what is given to it.
    """

    __slots__ = (
        "buffers",
        "copied",
        "dims",
        "direct",
        "dtype",
        "past",
        "position",
        "reads",
        "writes",
    )

    def __init__(
        self, position: int, frame: Frame, places: _Places, past: _Stack | None
    ) -> None:
        self.position = position
        self.past = past
        self.direct: bool = places.direct[position]
        self.reads = frame.sites_of(places.carries[position])
        self.writes: Sequence[Any] = ()
        if self.direct:
            self.writes = frame.sites_of(frame.plan.fetches[position])
        self.dims = places.out_dims[position]
        self.dtype = places.out_dtypes[position]
        self.buffers: list[Any] = []
        self.copied: Any = None

    def take_buffers(self, given: Any, spare: Any, length: int | None) -> None:
        """Two arrays: what the caller gave and a spare one, or new ones.

        Where the number of iterations is known, the last one writes into the
        first of the two.
        """
        pair = [
            np.empty(self.dims, self.dtype) if a is None else a for a in (given, spare)
        ]
        self.buffers = pair if length is None or length % 2 else pair[::-1]

    def result(self, last: Any, out: Any) -> Any:
        """The last value, as the caller may keep it."""
        if out is None and self.past is not None:
            return last.copy()
        return last


class _Made:
    """An output of the body that is stacked."""

    __slots__ = ("direct", "position", "row", "stack", "writes")

    def __init__(self, position: int, stack: _Stack, writes: Any) -> None:
        self.position = position
        self.stack = stack
        self.direct = writes is not None
        self.writes = writes or ()
        self.row: Any = None


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
        self.history: tuple[int, ...] = attrs["history"]
        self.donated = donated_carries(attrs)
        self.sized_rows = [i for i in self.body.sizes if self.k <= i < self.k + self.n]
        self.fed = self.body.fed
        self._places: dict[Executable, _Places] = {}

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
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
                    made = self._steady(frame, places, carries, scans, rest, limit, out)
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

    def _settle(self, carries: list[Any], places: _Places) -> bool:
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

    def _places_of(self, executable: Executable) -> _Places:
        found = self._places.get(executable)
        if found is None:
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            found = _Places(executable.plan, self.attrs)
            self._places[executable] = found
        return found

    # -- shapes that stay ------------------------------------------------------

    def _steady(
        self,
        frame: Frame,
        places: _Places,
        carries: list[Any],
        scans: list[Any],
        rest: list[Any],
        limit: int | None,
        out: Any,
    ) -> Any:
        k, tested = self.k, self.tested
        fetches = frame.plan.fetches
        for slot, array in zip(places.rest, rest):
            frame.put(slot, array)
        rows = [(frame.sites_of(s), a) for s, a in zip(places.rows, scans)]
        length = None if tested else limit
        histories = self._histories(places, carries, length, limit, out)
        after = dict(zip(self.history, histories))
        stacks = self._stacks(places, length, limit, out)
        made = [
            _Made(j, stack, frame.sites_of(fetches[j]) if places.direct[j] else None)
            for j, stack in enumerate(stacks, k + tested)
        ]
        tracks = []
        spares = iter(self.spare)
        still = []
        now = list(carries)
        for i in range(k):
            given = None if out is None else out[1 + i]
            if places.still[i]:
                frame.put(places.carries[i], carries[i])
                still.append(i)
            elif places.in_place[i]:
                now[i] = given
                if given is None:
                    now[i] = np.array(carries[i])
                else:
                    np.copyto(given, carries[i])
                frame.put(places.carries[i], now[i])
            else:
                track = _Track(i, frame, places, after.get(i))
                if track.past is None:
                    spare = next(spares, None)
                    track.take_buffers(given, spare, length)
                tracks.append(track)
        go_on = self._flag(frame, places)
        execute, value_of = frame.execute, frame.value_of
        reverse = self.reverse and limit is not None
        t = 0
        while limit is None or t < limit:
            at = limit - 1 - t if reverse else t  # type: ignore[operator]
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
            for i in still:
                if i in after:
                    after[i].row(t + 1)[...] = now[i]
            t += 1
            if go_on is not None and not go_on():
                break
        frame.forget()
        for track in tracks:
            now[track.position] = track.result(now[track.position], out)
        if out is None:
            for i in still:
                now[i] = now[i].copy()
        self._before = self._before[1], t
        results = [np.array(t, np.int32), *now]
        results += [h.done(t + 1) for h in histories]
        results += [s.done(t) for s in stacks]
        return _delivered(results, out)

    def _flag(self, frame: Frame, places: _Places) -> Callable[[], Any] | None:
        """What says, after an iteration, whether to go on (None: nothing does)."""
        if not self.tested:
            return None
        k = self.k
        if not places.direct[k]:
            return lambda: frame.value_of(k)
        flag = np.empty((), np.bool_)
        frame.put(frame.plan.fetches[k], flag)
        return flag.item

    def _stacks(
        self, places: _Places, length: int | None, most: int | None, out: Any
    ) -> list[_Stack]:
        first = self.k + self.tested
        given = _given(out, 1 + self.k + len(self.history))
        return [
            self._stack(places, j, 0, length, most, given[n] if given else None)
            for n, j in enumerate(range(first, len(places.out_dims)))
        ]

    def _histories(
        self,
        places: _Places,
        carries: list[Any],
        length: int | None,
        most: int | None,
        out: Any,
    ) -> list[_Stack]:
        given = _given(out, 1 + self.k)
        found = []
        for n, i in enumerate(self.history):
            memory = given[n] if given else None
            stack = self._stack(places, i, 1, length, most, memory)
            stack.row(0)[...] = carries[i]
            found.append(stack)
        return found

    def _stack(
        self,
        places: _Places,
        output: int,
        more: int,
        length: int | None,
        most: int | None,
        memory: Any,
    ) -> _Stack:
        """Rows for one output of the body, and ``more`` of them than iterations."""
        dims, dtype = places.out_dims[output], places.out_dtypes[output]
        rows = None if length is None else length + more
        if memory is None:
            expected = rows or self._expected(most, more)
            if expected:
                memory = self.bodies.state.lender.lend((expected, *dims), dtype)
        return _Stack(dims, dtype, rows, None if most is None else most + more, memory)

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
        kept: list[list[Any]] = [[state[i]] for i in self.history]
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
            for rows, i in zip(kept, self.history):
                rows.append(state[i])
            for rows, row in zip(stacks, results[k + tested :]):
                rows.append(row)
            t += 1
        if self.reverse:
            stacks = [rows[::-1] for rows in stacks]
        results = [np.array(t, np.int32)]
        results += [s if t else np.array(s) for s in state]
        loose, strict = self.attrs["loose"], self.attrs["strict"]
        for rows, i in zip(kept, self.history):
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
        if target is not array:
            np.copyto(target, array)
    return out
