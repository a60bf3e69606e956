"""A run as bars per thread, with its live bytes aligned below, as SVG; and the same
as a trace for ``chrome://tracing`` and Perfetto.

References: PyTorch's memory snapshots; Trace Event Format (Google, 2016).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from ..graphlib.errors import GraphError
from ..graphlib.shapes import is_static
from .bands import draw_bands, draw_loops, draw_table, role_legend
from .chart import Canvas, ink_of, time_ticks, write
from .memory import MemoryTrace
from .theme import bytes_text, clean, short

if TYPE_CHECKING:
    from ..runtime.plan import Plan, Step
    from ..runtime.report import Event, RunReport

__all__ = ["FAMILIES", "chrome_trace", "family", "timeline_svg"]

_WIDTH = 1200
_LEFT, _RIGHT = 108, 28
_PLOT = _WIDTH - _LEFT - _RIGHT
_LANE = 34
#: Bars narrower than this, in pixels, are drawn as one.
_LEAST = 1.2
_ROWS = 12

#: Family of a step -> (label, colour).
FAMILIES = {
    "product": ("matrix products, convolutions", "#5aa4d8"),
    "elementwise": ("elementwise", "#f2d97c"),
    "reduction": ("reductions", "#5cc3a0"),
    "move": ("other", "#c3c9d0"),
    "loop": ("loops and branches", "#cf9bdd"),
    "update": ("updates of variables", "#f0a273"),
    "random": ("random numbers", "#ee9fc4"),
}


def family(plan: Plan, step: Step) -> str:
    """What kind of work a step is, as the legend has it."""
    opdef = step.opdef
    if opdef.control is not None:
        return "loop"
    if opdef.effect in ("assign", "update"):
        return "update"
    if opdef.effect == "random":
        return "random"
    if opdef.elementwise or opdef.type == "_Fused":
        return "elementwise"
    ins = [plan.slots[s] for s in step.inputs]
    outs = [plan.slots[s] for s in step.outputs]
    if not all(is_static(s.dims) for s in (*ins, *outs)):
        return "product" if opdef.blas else "move"
    read, made = _elements(ins), _elements(outs)
    if opdef.blas or (opdef.flops and _flops(step, ins, outs) > 16 * (read + made)):
        return "product"
    return "reduction" if made * 2 <= read or opdef.type == "_Rows" else "move"


def _elements(slots: Sequence[Any]) -> int:
    return sum(prod(s.dims) for s in slots)


def _flops(step: Step, ins: Sequence[Any], outs: Sequence[Any]) -> int:
    assert step.opdef.flops is not None
    return step.opdef.flops(ins, outs, step.attrs)


# -- the picture ---------------------------------------------------------------


class _Bar(NamedTuple):
    """Events of one lane that are drawn as one bar."""

    x: float
    right: float
    events: Sequence[Event]


def timeline_svg(
    report: RunReport, path: Any = None, title: str = "", theme: str = "light"
) -> str:
    """A run: what each thread did, and under it, on the same axis of time, the
    bytes that were alive, predicted and measured; then the live set of the peak and
    the slowest types of operations.

    The text is returned, and written to ``path`` where given.

    Raises:
        GraphError: the report has no plan.
    """
    plan: Plan = report.plan
    if plan is None:
        raise GraphError("the report has no plan: there is no run to draw")
    ink = ink_of(theme)
    canvas = Canvas(_WIDTH, ink)
    trace = MemoryTrace.of_report(report)
    families = [family(plan, step) for step in plan.steps]
    lanes = _lanes(report.events)
    head = title or "A run"
    canvas.text(_LEFT, 32, short(head, 90), size=17, bold=True)
    said = (
        f"{len(report.steps):,} steps in {_seconds(report.seconds)}, "
        f"{len(lanes)} thread{'' if len(lanes) == 1 else 's'}, "
        f"peak {bytes_text(report.peak_bytes)}"
    )
    canvas.text(_LEFT, 53, said, fill=ink.muted, size=13)
    seen = {families[e.step] for e in report.events}
    y = canvas.legend(
        _LEFT,
        78,
        [(label, fill, "fill") for k, (label, fill) in FAMILIES.items() if k in seen],
    )
    whole = max(
        [report.seconds, *(e.start + e.seconds for e in report.events)], default=0.0
    )

    def at(seconds: float) -> float:
        return _LEFT + _PLOT * seconds / whole if whole else _LEFT

    top = y + 18
    for number, (thread, events) in enumerate(lanes.items()):
        lane = top + number * _LANE
        name = "main thread" if thread == "MainThread" else short(thread, 14)
        canvas.text(_LEFT - 8, lane + 19, name, "end", ink.muted, tip=thread)
        canvas.box(_LEFT, lane + 3, _PLOT, _LANE - 6, ink.grid)
        _lane(canvas, events, families, at, lane)
    y = top + len(lanes) * _LANE + 6
    _time_axis(canvas, whole, at, y)
    y = canvas.legend(_LEFT, y + 62, role_legend(trace, ink))
    starts = [s.start for s in report.steps] + [whole]
    draw_bands(canvas, trace, lambda i: at(starts[i] if i else 0.0), y + 48, 240)
    y += 48 + 240
    _time_axis(canvas, whole, at, y)
    y = draw_table(canvas, trace, _LEFT, y + 92)
    y = draw_loops(canvas, trace, _LEFT, y + 40)
    y = _slowest(canvas, report, families, y + 56)
    return write(canvas.svg(y + 24, head, said + "."), path)


def _lanes(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Thread -> its events by start; the thread that ran the plan first."""
    found: dict[str, list[Event]] = {}
    for e in sorted(events, key=lambda e: e.start):
        found.setdefault(e.thread, []).append(e)
    first = next(iter(found), None)
    return dict(sorted(found.items(), key=lambda item: (item[0] != first, item[0])))


def _bars(events: Sequence[Event], at: Callable[[float], float]) -> list[_Bar]:
    """Bars of one lane: what is too narrow to be seen joins its neighbours."""
    bars: list[_Bar] = []
    for e in events:
        x, right = at(e.start), at(e.start + e.seconds)
        last = bars[-1] if bars else None
        narrow = right - x < _LEAST
        if last and last.right - last.x < _LEAST and narrow and right - last.x < 4:
            bars[-1] = _Bar(last.x, right, [*last.events, e])
        else:
            bars.append(_Bar(x, right, [e]))
    return bars


def _lane(
    canvas: Canvas,
    events: Sequence[Event],
    families: Sequence[str],
    at: Callable[[float], float],
    top: float,
) -> None:
    for bar in _bars(events, at):
        longest = max(bar.events, key=lambda e: e.seconds)
        fill = FAMILIES[families[longest.step]][1]
        width = max(bar.right - bar.x, 0.6)
        canvas.box(
            bar.x,
            top + 3,
            width,
            _LANE - 6,
            fill,
            _told(bar.events),
            stroke=canvas.ink.page if width > 2.5 else "",
        )
        letters = int((width - 8) / 6.2)
        name = longest.type.rpartition(": ")[2]
        if len(bar.events) == 1 and letters >= min(len(name), 6):
            canvas.text(
                bar.x + 5,
                top + 21,
                short(name, letters),
                fill=canvas.ink.on_fill,
                size=11,
            )


def _told(events: Sequence[Event]) -> str:
    e = max(events, key=lambda e: e.seconds)
    said = (
        f"step {e.step:,}: {short(e.type, 90)}, {short(e.name, 100)}\n"
        f"{_seconds(e.seconds)} from {_seconds(e.start)}"
    )
    if len(events) > 1:
        total = sum(e.seconds for e in events)
        said = f"{len(events):,} calls, {_seconds(total)}; the longest:\n{said}"
    return said


def _time_axis(
    canvas: Canvas, whole: float, at: Callable[[float], float], y: float
) -> None:
    ink = canvas.ink
    unit, marks = time_ticks(whole)
    for seconds, said in marks:
        canvas.rule(at(seconds), y, at(seconds), y + 5, ink.line)
        canvas.text(at(seconds), y + 19, said, "middle", ink.muted)
    canvas.rule(_LEFT, y, _LEFT + _PLOT, y, ink.line)
    canvas.text(_LEFT - 8, y + 19, unit, "end", ink.muted)


def _slowest(
    canvas: Canvas, report: RunReport, families: Sequence[str], top: float
) -> float:
    """Where the time went, by type of operation; returns where the table ends."""
    totals: dict[str, list[Any]] = {}
    for e in report.events:
        entry = totals.setdefault(e.type, [0, 0.0, families[e.step]])
        entry[0] += 1
        entry[1] += e.seconds
    rows = sorted(totals.items(), key=lambda item: (-item[1][1], item[0]))
    if not rows:
        return top - 56
    ink = canvas.ink
    right = canvas.width - _RIGHT
    canvas.text(_LEFT, top - 26, "Time by type of operation", size=13, bold=True)
    canvas.text(_LEFT, top - 6, "type", fill=ink.muted, size=11)
    canvas.text(right - 330, top - 6, "calls", "end", ink.muted, size=11)
    canvas.text(right - 240, top - 6, "time", "end", ink.muted, size=11)
    canvas.text(right - 224, top - 6, "share of all calls", fill=ink.muted, size=11)
    canvas.rule(_LEFT, top, right, top, ink.line)
    whole = sum(seconds for _, (_, seconds, _) in rows)
    most = rows[0][1][1]
    y = top
    for name, (count, seconds, kind) in rows[:_ROWS]:
        y += 21
        canvas.text(_LEFT, y - 6, short(name, 90), tip=name)
        canvas.text(right - 330, y - 6, f"{count:,}", "end")
        canvas.text(right - 240, y - 6, _seconds(seconds), "end")
        bar = 160 * seconds / most if most else 0.0
        canvas.box(right - 224, y - 16, bar, 11, FAMILIES[kind][1])
        share = seconds / whole if whole else 0.0
        canvas.text(right, y - 6, f"{share:.0%}", "end", ink.muted, size=11)
        canvas.rule(_LEFT, y, right, y)
    if len(rows) > _ROWS:
        y += 21
        rest = sum(seconds for _, (_, seconds, _) in rows[_ROWS:])
        said = f"and {len(rows) - _ROWS:,} more types, {_seconds(rest)}"
        canvas.text(_LEFT, y - 6, said, fill=ink.muted)
    return y


def _seconds(seconds: float) -> str:
    """``12.3 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


# -- traces for other programs -------------------------------------------------


def chrome_trace(report: RunReport, path: Any = None, show_memory: bool = True) -> str:
    """A run as JSON in the Trace Event Format, written to ``path`` where given.

    Open it in ``chrome://tracing`` or https://ui.perfetto.dev: a row for each
    thread, a bar for each call with its step, source line, shapes and bytes, and
    with ``show_memory`` a counter of the live bytes.  Times are in microseconds.
    """
    lanes = _lanes(report.events)
    events: list[dict[str, Any]] = [
        _named("process_name", 0, "dagrad"),
        *(_named("thread_name", k, thread) for k, thread in enumerate(lanes)),
    ]
    for number, calls in enumerate(lanes.values()):
        for e in calls:
            step = report.steps[e.step]
            events.append(
                {
                    "name": clean(e.type),
                    "cat": "op",
                    "ph": "X",
                    "pid": 0,
                    "tid": number,
                    "ts": round(e.start * 1e6, 3),
                    "dur": round(e.seconds * 1e6, 3),
                    "args": {
                        "step": e.step,
                        "name": clean(e.name),
                        "source": clean(step.source),
                        "shapes": [clean(s) for s in step.shapes],
                        "output_bytes": step.output_bytes,
                    },
                }
            )
    if show_memory:
        events.extend(
            {
                "name": "live bytes",
                "ph": "C",
                "pid": 0,
                "ts": round(step.start * 1e6, 3),
                "args": {"bytes": step.live_bytes},
            }
            for step in report.steps
        )
    document = {"traceEvents": events, "displayTimeUnit": "ns"}
    return write(json.dumps(document, separators=(",", ":")) + "\n", path)


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {
        "name": what,
        "ph": "M",
        "pid": 0,
        "tid": thread,
        "args": {"name": clean(name)},
    }
