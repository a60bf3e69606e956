"""Parts of pictures of memory: bands over the steps, the table of the peak, loops."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from .chart import POINTED, Canvas, Column, Ink, columns, scale, tick_text
from .theme import bytes_text, short

if TYPE_CHECKING:
    from .memory import Life, MemoryTrace

__all__ = ["ROLES", "draw_bands", "draw_loops", "draw_table", "role_legend"]

#: Role -> (label, two tints: neighbours in a stack differ).
ROLES = {
    "forward": ("forward", ("#9cc6e8", "#bcd9f0")),
    "backward": ("backward", ("#f3b48d", "#f8cdb1")),
    "update": ("update", ("#8fd3ba", "#b5e2d2")),
    "tape": ("kept for gradients by loops", ("#cfa9dc", "#e0c6e8")),
    "fetched": ("fetched", ("#f2d97c", "#f7e6a8")),
    "scratch": ("scratch", ("#c3c9d0", "#d6dade")),
}
_BESIDE = "#dfe3e8"
# More bands than this cannot be told apart; the smallest become one.
_BANDS = 72
# Pixels that a column of steps takes.
_COLUMN = 2.4
# Nor are bands thinner than this, in pixels.
_THIN = 0.7
_ROWS = 16
_KEPT = 8
_ROW = 21
_BAR = 90


def role_legend(trace: MemoryTrace, ink: Ink) -> list[tuple[str, str, str]]:
    """The legend of the roles that are there, and of the lines."""
    roles = {t.role for t in trace.tensors}
    entries = [
        (label, tints[0], "fill")
        for role, (label, tints) in ROLES.items()
        if role in roles
    ]
    if trace.workspace is not None:
        entries.append(("scratch beside the tensors", _BESIDE, "fill"))
    entries.append(("predicted", ink.predicted, "line"))
    if trace.measured is not None:
        entries.append(("measured", ink.measured, "dash"))
    return entries


def draw_bands(
    canvas: Canvas,
    trace: MemoryTrace,
    x: Callable[[int], float],
    top: float,
    height: float,
    highest: float = 0.0,
) -> None:
    """The plot: step ``i`` from ``x(i)`` to ``x(i + 1)``, bytes upwards."""
    ink = canvas.ink
    count = len(trace.steps)
    at, most = trace.peak()
    unit, step, most_shown = scale(max([most, highest, *(trace.measured or [0])]))
    bottom = top + height
    left, right = x(0), x(count)

    def y(size: float) -> float:
        return bottom - height * size / most_shown

    for k in range(round(most_shown / step) + 1):
        canvas.rule(left, y(k * step), right, y(k * step))
        said = tick_text(k * step, unit)
        canvas.text(left - 8, y(k * step) + 4, said, "end", ink.muted)
    if not count:
        return
    cols = columns(count, x, _COLUMN)
    totals = trace.totals()
    # Of a column's steps that with the most bytes stands for all: no peak is lost.
    shown = [max(range(c.first, c.end), key=lambda i: (totals[i], -i)) for c in cols]
    _stack(canvas, trace, cols, shown, y)
    _stairs(canvas, [(c, totals[i]) for c, i in zip(cols, shown)], y, ink.predicted)
    if trace.measured is not None:
        most_of = [(c, max(trace.measured[c.first : c.end])) for c in cols]
        _stairs(canvas, most_of, y, ink.measured, "6 3")
    canvas.rule(left, bottom, right, bottom, ink.line)
    _steps_under_pointer(canvas, trace, x, bottom)
    if at >= 0:
        _peak(canvas, trace, at, most, (left, right), (x(at) + x(at + 1)) / 2, y, top)


def _stack(
    canvas: Canvas,
    trace: MemoryTrace,
    cols: Sequence[Column],
    shown: Sequence[int],
    y: Callable[[float], float],
) -> None:
    """The bands, older memory below younger."""
    weigh = {id(t): t.nbytes * (t.last - t.first + 1) for t in trace.tensors}
    seen = [t for t in trace.tensors if y(0) - y(t.nbytes) >= _THIN]
    chosen = sorted(seen, key=lambda t: -weigh[id(t)])[:_BANDS]
    chosen.sort(key=lambda t: (t.first, -t.last, t.name))
    kept = {id(t) for t in chosen}
    # What each role gains and loses, column by column, by memory that is too small to
    # have a band.
    rest: dict[str, list[int]] = {}
    for t in trace.tensors:
        if id(t) not in kept:
            change = rest.setdefault(t.role, [0] * (len(cols) + 1))
            change[bisect_left(shown, t.first)] += t.nbytes
            change[bisect_right(shown, t.last)] -= t.nbytes
    base = [0] * len(cols)
    for role in ROLES:
        if role in rest:
            few = sum(t.role == role and id(t) not in kept for t in trace.tensors)
            label, tints = ROLES[role]
            tip = f"{label}: {few:,} small pieces of memory"
            sizes = list(accumulate(rest[role][:-1]))
            _band(canvas, cols, base, sizes, y, tints[0], tip)
            base = [b + n for b, n in zip(base, sizes)]
    turns: dict[str, int] = {}
    for t in chosen:
        sizes = [t.nbytes if t.first <= i <= t.last else 0 for i in shown]
        tints = ROLES[t.role][1]
        turn = turns[t.role] = turns.get(t.role, 1) ^ 1
        _band(canvas, cols, base, sizes, y, tints[turn], _told(t), t.name)
        base = [b + n for b, n in zip(base, sizes)]
    if trace.workspace is not None:
        sizes = [trace.workspace[i] for i in shown]
        _band(canvas, cols, base, sizes, y, _BESIDE, "scratch memory")


def _told(t: Life) -> str:
    said = (
        f"{short(t.name, 200)}  {short(t.spec, 60)}\n{bytes_text(t.nbytes)}, "
        f"alive in steps {t.first:,} to {t.last:,}"
    )
    if t.then:
        more = f" and {len(t.then) - 4:,} more" if len(t.then) > 4 else ""
        names = ", ".join(short(n, 60) for n in t.then[:4])
        said += f"\ntaken over by {names}{more}"
    return said


def _band(
    canvas: Canvas,
    cols: Sequence[Column],
    base: Sequence[int],
    sizes: Sequence[int],
    y: Callable[[float], float],
    fill: str,
    tip: str,
    name: str = "",
) -> None:
    """One band where it has bytes: along its top, back along its bottom."""
    runs: list[tuple[int, int]] = []
    for k, size in enumerate(sizes):
        if size and runs and runs[-1][1] == k:
            runs[-1] = runs[-1][0], k + 1
        elif size:
            runs.append((k, k + 1))
    path = ""
    for a, b in runs:
        tops = _stair((y(base[k] + sizes[k]), cols[k].right) for k in range(a, b))
        under = _stair((y(base[k]), cols[k].x) for k in reversed(range(a, b)))
        path += f"M{cols[a].x:.1f},{y(base[a]):.1f}{tops}{under}Z"
    if not path:
        return
    # A line between bands, unless it would hide thin ones.
    thick = y(0) - y(max(sizes)) > 4
    canvas.path(path, fill, canvas.ink.page if thick else "", tip=tip, thick=0.5)
    # A name where a stretch of the band has room for it.
    for a, b in runs:
        start = a
        for k in range(a + 1, b + 1):
            if k < b and base[k] == base[start] and sizes[k] == sizes[start]:
                continue
            width = cols[k - 1].right - cols[start].x
            high = y(base[start]) - y(base[start] + sizes[start])
            letters = int((width - 10) / 5.6)
            if high >= 12 and letters >= min(len(name), 14) and letters >= 3 and name:
                canvas.text(
                    cols[start].x + 5,
                    (y(base[start]) + y(base[start] + sizes[start])) / 2 + 3.5,
                    short(name, letters),
                    fill=canvas.ink.on_fill,
                    size=10,
                )
                return
            start = k


def _stairs(
    canvas: Canvas,
    values: Sequence[tuple[Column, int]],
    y: Callable[[float], float],
    stroke: str,
    dashes: str = "",
) -> None:
    path = _stair((y(size), c.right) for c, size in values)
    first, size = values[0]
    canvas.path(
        f"M{first.x:.1f},{y(size):.1f}{path}", stroke=stroke, dashes=dashes, thick=1.4
    )


def _stair(steps: Iterable[tuple[float, float]]) -> str:
    """To each level and along it; a level that stays is said once."""
    path: list[str] = []
    before = ""
    for level, end in steps:
        up, along = f"V{level:.1f}", f"H{end:.1f}"
        if up == before:
            path[-1] = along
        else:
            path += (up, along)
        before = up
    return "".join(path)


def _steps_under_pointer(
    canvas: Canvas, trace: MemoryTrace, x: Callable[[int], float], bottom: float
) -> None:
    """A strip under the plot whose titles tell the steps; of those that share a place,
    the one with the most bytes."""
    totals = trace.totals()
    for c in columns(len(trace.steps), x, POINTED):
        i = max(range(c.first, c.end), key=lambda i: (totals[i], -i))
        said = f"step {i:,}: {short(trace.steps[i], 100)}\n{bytes_text(totals[i])}"
        if trace.measured is not None:
            said += f" predicted, {bytes_text(trace.measured[i])} measured"
        canvas.box(c.x, bottom, c.right - c.x, 6, "none", said)


def _peak(
    canvas: Canvas,
    trace: MemoryTrace,
    at: int,
    most: int,
    sides: tuple[float, float],
    x: float,
    y: Callable[[float], float],
    top: float,
) -> None:
    said = f"peak {bytes_text(most)} at step {at:,}, {short(trace.steps[at], 56)}"
    half = 3.2 * len(said)
    left, right = sides
    anchor, place = "middle", x
    if x - half < left:
        anchor, place = "start", max(left, x - 4)
    elif x + half > right:
        anchor, place = "end", min(right, x + 4)
    colour = canvas.ink.peak
    canvas.rule(x, top - 4, x, y(0), colour, "2 3")
    canvas.raw(
        f'<circle cx="{x:.1f}" cy="{y(most):.1f}" r="4" fill="{colour}" '
        f'stroke="{canvas.ink.page}"/>'
    )
    canvas.text(place, top - 9, said, anchor, colour, bold=True)


# -- tables --------------------------------------------------------------------


def draw_table(canvas: Canvas, trace: MemoryTrace, left: float, top: float) -> float:
    """What is alive at the peak; returns where the table ends."""
    ink = canvas.ink
    right = canvas.width - 28
    at, most = trace.peak()
    if at < 0:
        canvas.text(left, top - 22, "no steps", fill=ink.muted)
        return top
    live = trace.live_at(at)
    rows = live[:_ROWS]
    said = f"Alive at the peak: {len(live):,} tensor{'' if len(live) == 1 else 's'}"
    scratch = trace.workspace[at] if trace.workspace is not None else 0
    if scratch:
        said += f", and {bytes_text(scratch)} of scratch memory"
    canvas.text(left, top - 26, said, size=13, bold=True)
    size, share = right - 330, right - 314
    for x, anchor, name in (
        (left, "start", "tensor"),
        (left + 350, "start", "type"),
        (size, "end", "size"),
        (share, "start", "share of the peak"),
        (right, "end", "alive in steps"),
    ):
        canvas.text(x, top - 6, name, anchor, ink.muted, size=11)
    canvas.rule(left, top, right, top, ink.line)
    y = top
    biggest = max((t.nbytes for t in rows), default=0)
    for t in rows:
        y += _ROW
        tint = ROLES[t.role][1][0]
        canvas.box(left, y - 15, 5, 11, tint)
        canvas.text(left + 10, y - 6, short(t.name, 50), tip=t.name)
        canvas.text(left + 350, y - 6, short(t.spec, 30), fill=ink.muted, tip=t.spec)
        canvas.text(size, y - 6, bytes_text(t.nbytes), "end")
        bar = _BAR * t.nbytes / max(1, biggest)
        canvas.box(share, y - 16, bar, 11, tint)
        part = t.nbytes / most if most else 0.0
        canvas.text(share + 96, y - 6, f"{part:.0%}", fill=ink.muted, size=11)
        canvas.text(right, y - 6, f"{t.first:,} to {t.last:,}", "end", ink.muted)
        canvas.rule(left, y, right, y)
    if len(live) > len(rows):
        rest = sum(t.nbytes for t in live[len(rows) :])
        said = f"and {len(live) - len(rows):,} more, {bytes_text(rest)}"
        y += _ROW
        canvas.text(left, y - 6, said, fill=ink.muted)
    return y


def draw_loops(canvas: Canvas, trace: MemoryTrace, left: float, top: float) -> float:
    """What loops keep and need; returns where the list ends."""
    ink = canvas.ink
    if not trace.loops:
        return top - 40
    canvas.text(left, top, "Loops", size=13, bold=True)
    y = top + 4
    for loop in trace.loops[:_ROWS]:
        said = f"step {loop.step:,}, {short(loop.name, 48)}: "
        if loop.steps is None or loop.peak_bytes is None:
            said += "its body is planned when it runs"
        else:
            said += (
                f"{loop.steps:,} step{'' if loop.steps == 1 else 's'} an iteration, "
                f"{bytes_text(loop.peak_bytes)} at the peak of one"
            )
        y += _ROW
        canvas.text(left, y - 6, said, tip=loop.name)
        kept = sorted(loop.tape, key=lambda entry: -entry[2])
        for name, spec, nbytes in kept[:_KEPT]:
            size = bytes_text(nbytes) if nbytes else "as many as the run makes"
            y += _ROW
            canvas.box(left + 18, y - 15, 5, 11, ROLES["tape"][1][0])
            said = f"keeps {short(spec, 40)} for its gradient ({size})"
            canvas.text(left + 28, y - 6, said, fill=ink.muted, tip=name)
        if len(kept) > _KEPT:
            y += _ROW
            rest = bytes_text(sum(entry[2] for entry in kept[_KEPT:]))
            said = f"and {len(kept) - _KEPT:,} more ({rest})"
            canvas.text(left + 28, y - 6, said, fill=ink.muted)
    if len(trace.loops) > _ROWS:
        y += _ROW
        said = f"and {len(trace.loops) - _ROWS:,} more loops"
        canvas.text(left, y - 6, said, fill=ink.muted)
    return y
