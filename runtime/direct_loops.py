"""The iterations of a loop as straight Python, once its body has run often.

``Loop._iterate`` writes rows and carries into argument lists by loops over sites.
What these loops do is the same in every iteration, so it is written down as the source
of one function, as :mod:`direct` does it for whole runs::

    def run(t, stop, ...):
        while t < stop:
            r0 = s0[t]           # a row that is scanned
            y1 = h1[t + 1]       # where the next state of a carry goes
            m0 = g0[t]           # a row that is made
            f0(r0, x1, y1, m0)
            x1 = y1
            t += 1
        return t, True, (x0, x1)

Stacks whose length is not known beforehand grow between two calls.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .frame import Frame
from .written import Text, indented

if TYPE_CHECKING:
    from .loop_memory import Made, Places, Track
    from .native.vm_turns import Turns

__all__ = ["Iterations", "iterations_of"]

#: Iterations after which a frame gets the function, which costs about as much as a few
#: hundred of them save.
_PATIENCE = 400
#: Instructions that are written out, and lines at most.
_MOST_INSTRUCTIONS, _MOST_LINES = 32, 400
#: Functions of one frame: one for each loop step that runs it, and way of doing so.
_MOST_FUNCTIONS = 16


class Iterations:
    """Runs the iterations of one frame.

    Args:
        frame: it keeps its instructions from now on.
        places: how the body is fed and read.
        tracks, made: the carries that move, and what is stacked.
        tested: whether the body says when to end.
    """

    def __init__(
        self,
        frame: Frame,
        places: Places,
        tracks: Sequence[Track],
        made: Sequence[Made],
        reverse: bool,
        tested: bool,
    ) -> None:
        self.run = _written(frame, places, tracks, made, reverse, tested)
        self.turns: Turns | None = None
        if any(hasattr(function, "table") for function, _ in frame.instructions):
            from .native.vm_turns import turns_of

            self.turns = turns_of(frame, places, tracks, made, reverse, tested)

    def __call__(
        self,
        tracks: Sequence[Track],
        made: Sequence[Made],
        scans: Sequence[Any],
        rest: Sequence[Any],
        now: list[Any],
        limit: int | None,
        flag: Any,
        go_on: Callable[[], Any] | None,
    ) -> int:
        """Run; ``now`` becomes the last carries.  Returns how many iterations.

        Args:
            flag: where the body writes whether to go on; ``go_on`` reads it.
        """
        run = self.run
        assert run is not None, "asked where there is no function"
        stacks = [(m.stack, 0) for m in made]
        stacks += [(track.past, 1) for track in tracks if track.past is not None]
        fresh: Any = [b for track in tracks for b in track.buffers]
        turns = self.turns
        # The first turn reads what came from elsewhere.
        firsts = [now[track.position] for track in tracks if track.past is None]
        t, going = 0, True
        while going and (limit is None or t < limit):
            stop = 1 << 62 if limit is None else limit
            for stack, more in stacks:
                stack.row(t + more)
                stop = min(stop, len(stack.array) - more)
            pasts = [track.past.array for track in tracks if track.past is not None]
            rows = [m.stack.array for m in made]
            if turns is not None:
                fixed = [*now, *rest, *([] if flag is None else [flag])]
                pairs = [track.buffers for track in tracks if track.past is None]
                arrays = fixed, scans, rows, pasts, pairs
                if turns.prepare(limit, *arrays, firsts, flag):
                    if firsts:
                        stop, firsts = t + 1, []
                    while going and t < stop:
                        t = turns(t, stop)
                        going = go_on is None or go_on()
                    continue
                if t:
                    turns = None
                    fresh = [b for pair in pairs for b in (pair[t & 1], pair[~t & 1])]
            if t:  # growing stacks move
                self._look_up(tracks, now, t)
            stop = stop if turns is None else min(stop, t + 1)
            firsts = []
            t, going, now[:], fresh = run(
                t, stop, limit, scans, rest, now, fresh, pasts, rows, go_on
            )
        if t:
            self._look_up(tracks, now, t)
        return t

    def _look_up(self, tracks: Sequence[Track], now: list[Any], t: int) -> None:
        """The states after ``t`` iterations."""
        for track in tracks:
            if track.past is not None:
                now[track.position] = track.past.row(t)
            else:
                now[track.position] = track.buffers[~t & 1]


def iterations_of(
    frame: Frame,
    places: Places,
    tracks: Sequence[Track],
    made: Sequence[Made],
    reverse: bool,
    tested: bool,
) -> Iterations | None:
    """The iterations of a frame as a function, after enough of them."""
    if frame.waiting or frame.turns < _PATIENCE:
        return None
    # Whether a carry has a history depends on the loop, not on the frame alone.
    key = (places, reverse, *[track.past is None for track in tracks])
    found = frame.loops.get(key)
    if found is None:
        if len(frame.loops) >= _MOST_FUNCTIONS:
            frame.loops.clear()
        found = frame.loops[key] = Iterations(
            frame, places, tracks, made, reverse, tested
        )
    return found if found.run is not None else None


def _written(
    frame: Frame,
    places: Places,
    tracks: Sequence[Track],
    made: Sequence[Made],
    reverse: bool,
    tested: bool,
) -> Callable[..., Any] | None:
    """The function of a frame; None where it would be too long."""
    text = Text(frame)
    head, carries, fresh = _unpacked(text, places, tracks, made)
    turn, moved = _moves(text, places, tracks, made, reverse)
    calls, _ = text.calls(_MOST_INSTRUCTIONS)
    direct = [track.position for track in tracks if track.direct]
    direct += [m.position for m in made if m.direct]
    for i in direct:  # it is where it belongs; nobody collects it
        text.given.pop((id(frame.outs), i), None)
    turn += [f"{place} = {name}" for place, name in text.places()]
    after = _copies(text, tracks, made)
    end = ["if not go_on():", "    going = False", "    break"] if tested else []
    arguments = "t, stop, limit, scans, rest, now, fresh, pasts, made, go_on"
    body = [
        "going = True",
        *head,
        "try:",
        "    while t < stop:",
        *indented(indented(["at = -1", *turn, *calls, *after, *moved, "t += 1", *end])),
        "except Exception as error:",
        "    failed(at, error, locals())",
        "    raise",
        f"return t, going, ({_listed(carries)}), ({_listed(fresh)})",
    ]
    if len(body) > _MOST_LINES:
        return None
    # The frame keeps the function, which must not keep the frame.
    whole = weakref.ref(frame)
    if "execute" in text.names:
        text.names["execute"] = lambda: whole().execute()  # type: ignore[union-attr]
    text.names["failed"] = _Failed(whole, text.inlined)
    return text.function([f"def run({arguments}):", *indented(body)])


def _unpacked(
    text: Text, places: Places, tracks: Sequence[Track], made: Sequence[Made]
) -> tuple[list[str], list[str], list[str]]:
    """The lines before the loop, and the names of the carries and of free buffers."""
    carries = [f"x{i}" for i in range(len(places.carries))]
    rest = [f"w{i}" for i in range(len(places.rest))]
    fresh = [
        f"{side}{track.position}"
        for track in tracks
        if track.past is None
        for side in "yz"
    ]
    arguments = {
        "now": carries,
        "rest": rest,
        "scans": [f"s{i}" for i in range(len(places.rows))],
        "pasts": [f"h{track.position}" for track in tracks if track.past is not None],
        "made": [f"g{m.position}" for m in made],
        "fresh": fresh,
    }
    for name, slot in (*zip(carries, places.carries), *zip(rest, places.rest)):
        text.put(name, text.frame.sites_of(slot))
    head = [f"{_listed(names)}= {whole}" for whole, names in arguments.items() if names]
    return head, carries, fresh


def _moves(
    text: Text,
    places: Places,
    tracks: Sequence[Track],
    made: Sequence[Made],
    reverse: bool,
) -> tuple[list[str], list[str]]:
    """The lines that look up an iteration's arrays, and those that go on from them."""
    frame = text.frame
    at = "u" if reverse else "t"
    turn = ["u = limit - 1 - t"] if reverse else []
    moved = []
    for i, slot in enumerate(places.rows):
        turn.append(f"r{i} = s{i}[{_row(at, frame.plan.slots[slot].dims)}]")
        text.put(f"r{i}", frame.sites_of(slot))
    for track in tracks:
        i = track.position
        if track.past is not None:
            turn.append(f"y{i} = h{i}[{_row('t + 1', track.dims)}]")
            moved.append(f"x{i} = y{i}")
        else:
            # Two buffers by turns; the first state may be somebody else's array.
            moved.append(f"x{i}, y{i}, z{i} = y{i}, z{i}, y{i}")
        text.put(f"y{i}", track.writes)
    for m in made:
        i = m.position
        turn.append(f"m{i} = g{i}[{_row(at, places.out_dims[i])}]")
        text.put(f"m{i}", m.writes)
    return turn, moved


def _copies(text: Text, tracks: Sequence[Track], made: Sequence[Made]) -> list[str]:
    """The lines that copy what the body does not write where it belongs."""
    lines = [
        f"m{m.position}[...] = {_value(text, m.position)}" for m in made if not m.direct
    ]
    # All are read before any is written: they may change places.
    copied = [track.position for track in tracks if not track.direct]
    lines += [f"c{i} = {_value(text, i)}" for i in copied]
    return lines + [f"y{i}[...] = c{i}" for i in copied]


def _row(at: str, dims: Any) -> str:
    """An index that gives an array where rows are single elements too."""
    return at if dims else f"{at}, ..."


def _listed(names: Sequence[str]) -> str:
    return "".join(f"{name}, " for name in names)


def _value(text: Text, k: int) -> str:
    """The ``k``-th output of the body."""
    array = text.frame.collect[k][1]
    return text.place(text.frame.outs, k) if array is None else text.name("b", array)


class _Failed:
    """Says what went wrong in an iteration."""

    def __init__(
        self, frame: Callable[[], Any], inlined: Sequence[tuple[list[Any], int, str]]
    ) -> None:
        self.frame = frame
        self.inlined = inlined

    def __call__(self, at: int, error: Exception, found: Mapping[str, Any]) -> None:
        """Raise what the user is told, with the arrays of this iteration."""
        if at < 0:
            return
        for target, k, name in self.inlined:
            target[k] = found.get(name)
        self.frame().explain(at, error)
