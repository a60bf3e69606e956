"""Running the bodies of control operations: one plan per body and shapes.

A body is planned like a run of its own: its inputs are fed, its outputs fetched.
A loop then drives one frame of that plan directly: the rows of scanned arrays and
the carries are written where the body reads them, and the body's outputs go
straight into the rows of the stacks or into one of two buffers per carry.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphlib.errors import InvalidArgumentError
from ..graphlib.ragged import Ragged, stack_rows
from ..graphlib.shapes import Dims
from ..graphlib.subgraph import BODY_VARIABLE, Body, empty_stacks
from .compiler import compile_plan
from .executor import Executable, Frame
from .plan import FETCH, Plan
from .program import needed_operations
from .variables import State

__all__ = ["Bodies", "Loop", "plan_body"]

# Plans of bodies that a session keeps: what varying shapes may hold in memory.
_MAX_PLANS = 512
_FIRST_ROWS = 16


def plan_body(body: Body, shapes: Sequence[Dims]) -> Plan:
    """The plan of one run of a body for inputs of these shapes (variables left out)."""
    feeds = fed_inputs(body)
    outputs = [t for t in body.outputs if t is not None]
    operations = needed_operations(outputs, (), feeds)
    return compile_plan(operations, outputs, (), feeds, shapes, whole=True)


def fed_inputs(body: Body) -> list[Any]:
    """The inputs that a run feeds: all but variables."""
    return [t for t in body.inputs if t.op.opdef is not BODY_VARIABLE]


class Bodies:
    """The plans of bodies that one session has run."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._found: dict[Any, tuple[Body, Executable]] = {}
        self._lock = threading.RLock()

    def executable(self, body: Body, arrays: Sequence[Any]) -> Executable:
        """What runs ``body`` for fed arrays of these shapes."""
        # The rank of rows of different shapes is not that of the array of rows.
        key = (id(body), *[None if type(a) is Ragged else a.shape for a in arrays])
        found = self._found.get(key)
        if found is None:
            with self._lock:
                found = self._found.get(key)
                if found is None:
                    plan = plan_body(body, key[1:])
                    found = body, Executable(plan, self.state)
                    if len(self._found) >= _MAX_PLANS:
                        del self._found[next(iter(self._found))]
                    self._found[key] = found
        return found[1]

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
        for a, t in zip(arrays, body.inputs)
        if t.op.opdef is not BODY_VARIABLE
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
        seen: set[int] = set()
        self.direct = []
        for s in outs:
            self.direct.append(slots[s].kind == FETCH and s not in seen)
            seen.add(s)
        self.steady = not plan.writes and all(
            slots[outs[i]].dims == slots[self.carries[i]].dims for i in range(k)
        )
        self.steady = self.steady and all(
            slots[s].dims is not None and None not in slots[s].dims for s in outs
        )
        self.out_dims = [slots[s].dims for s in outs]
        self.out_dtypes = [slots[s].dtype.dtype for s in outs]


class _Stack:
    """Rows that a loop makes: in memory that is given, or that grows."""

    __slots__ = ("array", "fixed")

    def __init__(
        self, dims: tuple[int, ...], dtype: Any, length: int | None, given: Any
    ) -> None:
        self.fixed = length is not None
        rows = _FIRST_ROWS if length is None else length
        self.array = np.empty((rows, *dims), dtype) if given is None else given

    def row(self, t: int) -> Any:
        """Row ``t`` as an array to write into; earlier rows may move."""
        array = self.array
        if t >= len(array):
            # Memory grows in place where it is large: by a part of its size, so
            # that little is taken in advance.
            rows = len(array) + max(_FIRST_ROWS, len(array) // 32)
            array.resize((rows, *array.shape[1:]), refcheck=False)
        return array[t, ...]

    def done(self, count: int) -> Any:
        """The rows that were made."""
        array = self.array
        if len(array) != count:
            if self.fixed:
                return array[:count].copy()
            array.resize((count, *array.shape[1:]), refcheck=False)
        return array


class Loop:
    """A loop step, ready to run: ``loop(*arrays, out=None)``."""

    def __init__(self, bodies: Bodies, attrs: Mapping[str, Any]) -> None:
        self.bodies = bodies
        self.attrs = attrs
        self.body: Body = attrs["body"]
        self.k: int = attrs["carries"]
        self.n: int = attrs["scanned"]
        self.bounded: bool = attrs["bounded"]
        self.tested: bool = attrs["tested"]
        self.reverse: bool = attrs["reverse"]
        self.history: tuple[int, ...] = attrs["history"]
        self.fed = [t.op.opdef is not BODY_VARIABLE for t in self.body.inputs]
        self._places: dict[Executable, _Places] = {}

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
        given = list(arrays)
        bound = int(given.pop(0)) if self.bounded else None
        go_on = bool(given.pop(0)) if self.tested else True
        k, n = self.k, self.n
        carries, scans = given[:k], given[k : k + n]
        rest = [
            a for a, fed in zip(given[k + n :], self.fed[k + n :], strict=True) if fed
        ]
        limit = _limit(scans, bound)
        if go_on and (limit is None or limit > 0):
            rows = [_row_of(a, 0) for a in scans]
            executable = self.bodies.executable(self.body, [*carries, *rows, *rest])
            places = self._places_of(executable)
            if places.steady and not any(type(a) is Ragged for a in scans):
                frame = executable.take()
                try:
                    return self._steady(frame, places, carries, scans, rest, limit, out)
                finally:
                    executable.give_back(frame)
        return self._freely(carries, scans, given[k + n :], limit, go_on, out)

    def _places_of(self, executable: Executable) -> _Places:
        found = self._places.get(executable)
        if found is None:
            if len(self._places) >= _FIRST_ROWS:
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
        sites_of = frame.sites_of
        for slot, array in zip(places.rest, rest):
            frame.put(slot, array)
        row_sites = [sites_of(s) for s in places.rows]
        length = None if tested else limit
        stacks = self._stacks(places, length, out)
        histories = self._histories(places, carries, length, out)
        after = dict(zip(self.history, histories))
        moving = [i for i in range(k) if not places.still[i]]
        spare = frame.buffers(
            self, [(places.out_dims[i], places.out_dtypes[i]) for i in moving]
        )
        # Where each carry is read and written: (position, read sites, write sites,
        # two buffers, history).
        plan = frame.plan
        tracks = []
        for i, pair in zip(moving, spare):
            direct = places.direct[i]
            tracks.append(
                (
                    i,
                    sites_of(places.carries[i]),
                    sites_of(plan.fetches[i]) if direct else (),
                    pair,
                    after.get(i),
                    direct,
                )
            )
        still = [i for i in range(k) if places.still[i]]
        for i in still:
            frame.put(places.carries[i], carries[i])
        made = [
            (
                j,
                sites_of(plan.fetches[j]) if places.direct[j] else (),
                stack,
                places.direct[j],
            )
            for j, stack in enumerate(stacks, k + tested)
        ]
        flag = np.empty((), np.bool_)
        flag_direct = False
        if tested:
            flag_direct = places.direct[k]
            if flag_direct:
                for target, at in sites_of(plan.fetches[k]):
                    target[at] = flag
        now = list(carries)
        execute = frame.execute
        value_of = frame.value_of
        reverse = self.reverse and limit is not None
        t = 0
        while limit is None or t < limit:
            at = limit - 1 - t if reverse else t  # type: ignore[operator]
            for sites, scan in zip(row_sites, scans):
                row = scan[at, ...]
                for target, place in sites:
                    target[place] = row
            for i, reads, writes, pair, past, _ in tracks:
                if past is None:
                    fresh = pair[t & 1]
                else:
                    fresh = past.row(t + 1)
                    now[i] = past.row(t)
                array = now[i]
                for target, place in reads:
                    target[place] = array
                for target, place in writes:
                    target[place] = fresh
                pair[2] = fresh
            for _, writes, stack, _ in made:
                row = stack.row(at)
                for target, place in writes:
                    target[place] = row
            execute()
            for j, _, stack, direct in made:
                if not direct:
                    stack.row(at)[...] = value_of(j)
            for i, _, _, pair, _, direct in tracks:
                if not direct:
                    pair[2][...] = value_of(i)
            for i, _, _, pair, _, _ in tracks:
                now[i] = pair[2]
            for i in still:
                if i in after:
                    after[i].row(t + 1)[...] = now[i]
            t += 1
            if tested and not (flag if flag_direct else value_of(k)):
                break
        frame.forget()
        results = [np.array(t, np.int32), *now]
        if out is None:
            for i in range(k):
                results[1 + i] = now[i].copy()
        results += [h.done(t + 1) for h in histories]
        results += [s.done(t) for s in stacks]
        return _delivered(results, out)

    def _stacks(self, places: _Places, length: int | None, out: Any) -> list[_Stack]:
        first = self.k + self.tested
        given = self._given(out, 1 + self.k + len(self.history))
        return [
            _Stack(dims, dtype, length, memory)
            for dims, dtype, memory in zip(
                places.out_dims[first:],
                places.out_dtypes[first:],
                given or [None] * len(places.out_dims),
            )
        ]

    def _histories(
        self, places: _Places, carries: list[Any], length: int | None, out: Any
    ) -> list[_Stack]:
        given = self._given(out, 1 + self.k)
        found = []
        for h, i in enumerate(self.history):
            rows = None if length is None else length + 1
            memory = given[h] if given else None
            stack = _Stack(places.out_dims[i], places.out_dtypes[i], rows, memory)
            stack.row(0)[...] = carries[i]
            found.append(stack)
        return found

    def _given(self, out: Any, first: int) -> list[Any]:
        return [] if out is None else list(out[first:])

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
                self.body, [*state, *[_row_of(a, at) for a in scans], *rest]
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
            results.append(_stacked(rows, i not in loose))
        if t:
            results += [_stacked(rows, k < strict) for k, rows in enumerate(stacks)]
        else:
            given = [*carries, *scans, *rest]
            results += empty_stacks(self.body, k, self.n, k + tested, given)
        return _delivered(results, out)


def _row_of(array: Any, t: int) -> Any:
    return array[t] if type(array) is Ragged else array[t, ...]


def _stacked(rows: Sequence[Any], strict: bool) -> Any:
    made = stack_rows(rows)
    if strict and type(made) is Ragged:
        shapes = sorted({r.shape for r in rows})
        raise InvalidArgumentError(
            f"the iterations make rows of different shapes, {shapes}, which cannot "
            "be stacked"
        )
    return made


def _limit(scans: Sequence[Any], bound: int | None) -> int | None:
    """How many iterations the scanned arrays and the bound allow (None: any)."""
    lengths = {len(a) for a in scans}
    if len(lengths) > 1:
        raise InvalidArgumentError(
            f"the scanned arrays differ in their first axis: {sorted(lengths)}"
        )
    found = min(lengths) if lengths else None
    if bound is not None:
        found = max(bound, 0) if found is None else min(found, max(bound, 0))
    return found


def _delivered(results: list[Any], out: Any) -> Any:
    if out is None:
        return tuple(results)
    for target, array in zip(out, results):
        if target is not array:
            np.copyto(target, array)
    return out
