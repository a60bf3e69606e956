"""Live bytes of a plan, step by step, and what is alive at the peak, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ..graphlib.errors import GraphError
from .theme import (
    BACKGROUND,
    FONT_STACK,
    GRID,
    LINE,
    MEASURED,
    MUTED,
    PEAK,
    PREDICTED,
    PREDICTED_FILL,
    TEXT,
    UNITS,
    WORKSPACE_FILL,
    bytes_text,
    clean,
    short,
    spec_text,
)

if TYPE_CHECKING:
    from ..runtime.plan import Plan
    from ..runtime.report import RunReport

__all__ = ["MemoryTrace", "memory_svg"]

_WIDTH = 960
_LEFT, _RIGHT = 92, 28
_TOP, _HEIGHT = 104, 260
_PLOT = _WIDTH - _LEFT - _RIGHT
_ROW = 21
_BAR = 90
_ROWS = 16
# More columns than this are no more than a pixel apart.
_COLUMNS = 420


@dataclass
class MemoryTrace:
    """What memory a plan needs, as plain data.

    Attributes:
        steps: the name of each step.
        live_bytes: bytes of the tensors alive during each step.
        tensors: ``(name, spec, nbytes, first, last)``: text such as
            ``float32[3,4]`` and the first and last step during which it lives.
        measured: bytes that were measured at each step, or None.
        workspace: scratch bytes during each step, beside ``live_bytes``, or None.
    """

    steps: list[str]
    live_bytes: list[int]
    tensors: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    measured: list[int] | None = None
    workspace: list[int] | None = None

    def __post_init__(self) -> None:
        for name in ("live_bytes", "measured", "workspace"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.steps):
                raise GraphError(
                    f"MemoryTrace: {len(values)} {name} for {len(self.steps)} steps"
                )

    @classmethod
    def of_plan(cls, plan: Plan, measured: Sequence[int] | None = None) -> MemoryTrace:
        """What ``plan`` predicts, with the bytes that a run measured if given.

        ``live_bytes`` of a plan hold its scratch memory too.
        """
        from ..runtime.plan import ARENA, CALL, FETCH

        own = (ARENA, CALL, FETCH)
        return cls(
            steps=[step.name for step in plan.steps],
            live_bytes=list(plan.live_bytes),
            tensors=[
                (
                    s.name or "scratch",
                    spec_text(s.dtype.name, s.dims),
                    s.nbytes,
                    s.first,
                    s.last,
                )
                for s in plan.slots
                if s.kind in own and s.nbytes
            ],
            measured=None if measured is None else list(measured),
        )

    @classmethod
    def of_report(cls, report: RunReport) -> MemoryTrace:
        """What the plan of a run predicted, and what the run measured.

        Raises:
            GraphError: the report has no plan.
        """
        if report.plan is None:
            raise GraphError("the report has no plan: there is no memory to draw")
        measured = [step.live_bytes for step in report.steps]
        fits = len(measured) == len(report.plan.steps)
        return cls.of_plan(report.plan, measured if fits else None)

    def totals(self) -> list[int]:
        """Live and scratch bytes of each step."""
        if self.workspace is None:
            return list(self.live_bytes)
        return [a + b for a, b in zip(self.live_bytes, self.workspace)]

    def peak(self) -> tuple[int, int]:
        """The first step with the most bytes, and those bytes; (-1, 0) for none."""
        totals = self.totals()
        if not totals:
            return -1, 0
        most = max(totals)
        return totals.index(most), most

    def live_at(self, step: int) -> list[tuple[str, str, int, int, int]]:
        """The tensors alive during ``step``, the biggest first."""
        live = [t for t in self.tensors if t[3] <= step <= t[4]]
        return sorted(live, key=lambda t: (-t[2], t[3], t[0]))


def memory_svg(trace: MemoryTrace, path: Any = None, title: str = "") -> str:
    """``trace`` as a chart over its steps, with the live set of the peak below.

    The text is returned, and written to ``path`` where given.
    """
    at, most = trace.peak()
    live = trace.live_at(at)
    shown = live[:_ROWS]
    table = _TOP + _HEIGHT + 96
    height = table + _ROW * (len(shown) + (len(live) > len(shown))) + 24
    head = title or "Memory of a run"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" font-family="{FONT_STACK}" '
        f'font-size="12" fill="{TEXT}">',
        f"<title>{_text(short(head, 200))}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="{BACKGROUND}"/>',
        _label(_LEFT, 32, short(head, 90), size=17, bold=True),
    ]
    out += _chart(trace, at, most)
    out += _table(trace, shown, len(live), at, most, table)
    out.append("</svg>\n")
    svg = "\n".join(out)
    if path is not None:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(svg)
    return svg


# -- the chart -----------------------------------------------------------------


def _chart(trace: MemoryTrace, at: int, most: int) -> list[str]:
    count = len(trace.steps)
    highest = max([most, *(trace.measured or [0])])
    unit, step, top = _scale(highest)
    bottom = _TOP + _HEIGHT

    def x(i: float) -> float:
        return _LEFT + _PLOT * i / max(1, count)

    def y(size: float) -> float:
        return bottom - _HEIGHT * size / top

    out = []
    for k in range(round(top / step) + 1):
        out.append(_rule(_LEFT, y(k * step), _LEFT + _PLOT, y(k * step), GRID))
        said = _tick(k * step, unit)
        out.append(_label(_LEFT - 8, y(k * step) + 4, said, "end", MUTED))
    for i in _ticks(count):
        middle = x(i + 0.5)
        out.append(_rule(middle, bottom, middle, bottom + 5, LINE))
        out.append(_label(middle, bottom + 19, f"{i:,}", "middle", MUTED))
    out.append(_rule(_LEFT, bottom, _LEFT + _PLOT, bottom, LINE))
    out.append(_label(_LEFT + _PLOT / 2, bottom + 38, "step", "middle", MUTED))
    totals = trace.totals()
    columns = _columns(totals)
    if trace.workspace is not None:
        out.append(_area(columns, totals, x, y, WORKSPACE_FILL))
    live = trace.live_bytes
    out.append(_area(columns, live, x, y, PREDICTED_FILL))
    out.append(_stairs(columns, totals, x, y, PREDICTED, ""))
    if trace.measured is not None:
        out.append(_stairs(columns, trace.measured, x, y, MEASURED, "6 3"))
    out += _hover(trace, columns, x)
    if at >= 0:
        out += _peak(trace, at, most, x(at + 0.5), y(most))
    return out + _legend(trace)


def _columns(values: Sequence[int]) -> list[tuple[int, int]]:
    """Steps in groups that a column of pixels can hold."""
    size = max(1, math.ceil(len(values) / _COLUMNS))
    return [(i, min(i + size, len(values))) for i in range(0, len(values), size)]


def _points(
    columns: Sequence[tuple[int, int]], values: Sequence[int], x: Any, y: Any
) -> str:
    """A staircase through the most that each column holds, so no peak is lost."""
    parts = []
    for start, end in columns:
        parts.append(f"V{y(max(values[start:end])):.1f}H{x(end):.1f}")
    return "".join(parts)


def _area(
    columns: Sequence[tuple[int, int]],
    values: Sequence[int],
    x: Any,
    y: Any,
    fill: str,
) -> str:
    path = f"M{x(0):.1f},{y(0):.1f}{_points(columns, values, x, y)}V{y(0):.1f}Z"
    return f'<path d="{path}" fill="{fill}"/>'


def _stairs(
    columns: Sequence[tuple[int, int]],
    values: Sequence[int],
    x: Any,
    y: Any,
    stroke: str,
    dashes: str,
) -> str:
    if not columns:
        return ""
    first = max(values[slice(*columns[0])])
    path = f"M{x(0):.1f},{y(first):.1f}{_points(columns, values, x, y)}"
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="1.6" '
        f'stroke-linejoin="round"{dash}/>'
    )


def _hover(trace: MemoryTrace, columns: Sequence[tuple[int, int]], x: Any) -> list[str]:
    """Invisible columns whose title tells the step under the pointer."""
    totals = trace.totals()
    out = []
    for start, end in columns:
        i = max(range(start, end), key=lambda k: (totals[k], -k))
        said = f"step {i:,}: {short(trace.steps[i], 100)}\n{bytes_text(totals[i])}"
        if trace.measured is not None:
            said += f" predicted, {bytes_text(trace.measured[i])} measured"
        out.append(
            f'<rect x="{x(start):.1f}" y="{_TOP}" width="{x(end) - x(start):.1f}" '
            f'height="{_HEIGHT}" fill="{BACKGROUND}" fill-opacity="0">'
            f"<title>{_text(said)}</title></rect>"
        )
    return out


def _peak(trace: MemoryTrace, at: int, most: int, x: float, y: float) -> list[str]:
    said = f"peak {bytes_text(most)} at step {at:,}, {short(trace.steps[at], 56)}"
    half = 3.2 * len(said)
    anchor, place = "middle", x
    if x - half < _LEFT:
        anchor, place = "start", max(_LEFT, x - 4)
    elif x + half > _LEFT + _PLOT:
        anchor, place = "end", min(_LEFT + _PLOT, x + 4)
    return [
        f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{_TOP + _HEIGHT}" '
        f'stroke="{PEAK}" stroke-dasharray="2 3"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{PEAK}" '
        f'stroke="{BACKGROUND}"/>',
        _label(place, _TOP - 14, said, anchor, PEAK, bold=True),
    ]


def _legend(trace: MemoryTrace) -> list[str]:
    """Swatches in a row under the title."""
    entries = [("predicted, live tensors", PREDICTED, PREDICTED_FILL, "")]
    if trace.workspace is not None:
        entries.append(("scratch memory", PREDICTED, WORKSPACE_FILL, ""))
    if trace.measured is not None:
        entries.append(("measured", MEASURED, "none", "6 3"))
    out = []
    x = float(_LEFT)
    for label, stroke, fill, dashes in entries:
        if fill != "none":
            out.append(
                f'<rect x="{x:.0f}" y="47" width="22" height="11" fill="{fill}"/>'
            )
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        line = 47.5 if fill != "none" else 52.5
        out.append(
            f'<line x1="{x:.0f}" y1="{line}" x2="{x + 22:.0f}" y2="{line}" '
            f'stroke="{stroke}" stroke-width="1.6"{dash}/>'
        )
        out.append(_label(x + 28, 57, label, fill=MUTED))
        x += 28 + 6.4 * len(label) + 26
    return out


def _scale(highest: int) -> tuple[str, float, float]:
    """The unit of the axis, the bytes between ticks, and the bytes at the top."""
    size = 1.0
    unit = "B"
    for name in UNITS[1:]:
        if highest < size * 1024:
            break
        size *= 1024
        unit = name
    wanted = max(highest, 1) / size / 5
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= wanted)
    if unit == "B":
        step = max(1.0, math.ceil(step))
    count = max(1, math.ceil(highest / (step * size)))
    return unit, step * size, count * step * size


def _tick(size: float, unit: str) -> str:
    return f"{size / 1024.0 ** UNITS.index(unit):g} {unit}"


def _ticks(count: int) -> list[int]:
    """Round step numbers, about ten."""
    if count <= 12:
        return list(range(count))
    power = 10 ** math.floor(math.log10(count / 10))
    step = next(m * power for m in (1, 2, 5, 10, 20) if count / (m * power) <= 12)
    return list(range(0, count, step))


# -- the table -----------------------------------------------------------------


def _table(
    trace: MemoryTrace,
    shown: Sequence[tuple[str, str, int, int, int]],
    live: int,
    at: int,
    most: int,
    top: int,
) -> list[str]:
    if at < 0:
        return [_label(_LEFT, top - 22, "no steps", fill=MUTED)]
    scratch = trace.workspace[at] if trace.workspace is not None else 0
    said = f"Alive at the peak: {live:,} tensor{'' if live == 1 else 's'}"
    if scratch:
        said += f", and {bytes_text(scratch)} of scratch memory"
    out = [_label(_LEFT, top - 26, said, size=13, bold=True)]
    for x, anchor, name in (
        (_LEFT, "start", "tensor"),
        (430, "start", "type"),
        (690, "end", "size"),
        (706, "start", "share of the peak"),
        (_WIDTH - _RIGHT, "end", "alive in steps"),
    ):
        out.append(_label(x, top - 6, name, anchor, MUTED, size=11))
    out.append(_rule(_LEFT, top, _LEFT + _PLOT, top, LINE))
    y = float(top)
    biggest = max((t[2] for t in shown), default=0)
    for name, spec, size, first, last in shown:
        y += _ROW
        share = size / most if most else 0.0
        out.append(_label(_LEFT, y - 6, short(name, 48), tip=name))
        out.append(_label(430, y - 6, short(spec, 28), fill=MUTED, tip=spec))
        out.append(_label(690, y - 6, bytes_text(size), "end"))
        bar = _BAR * size / max(1, biggest)
        out.append(
            f'<rect x="706" y="{y - 16:.0f}" width="{bar:.1f}" height="11" '
            f'fill="{PREDICTED}"/>'
        )
        out.append(_label(802, y - 6, f"{share:.0%}", fill=MUTED, size=11))
        span = f"{first:,} to {last:,}"
        out.append(_label(_WIDTH - _RIGHT, y - 6, span, "end", MUTED))
        out.append(_rule(_LEFT, y, _LEFT + _PLOT, y, GRID))
    if live > len(shown):
        rest = sum(t[2] for t in trace.live_at(at)[len(shown) :])
        said = f"and {live - len(shown):,} more, {bytes_text(rest)}"
        out.append(_label(_LEFT, y + _ROW - 6, said, fill=MUTED))
    return out


# -- elements ------------------------------------------------------------------


def _text(text: str) -> str:
    return escape("\n".join(clean(line) for line in text.split("\n")))


def _label(
    x: float,
    y: float,
    text: str,
    anchor: str = "start",
    fill: str = TEXT,
    *,
    size: int = 12,
    bold: bool = False,
    tip: str = "",
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    title = ""
    if tip and short(tip, 10_000) != text:
        title = f"<title>{_text(tip[:10_000])}</title>"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" '
        f'font-size="{size}"{weight}>{_text(text)}{title}</text>'
    )


def _rule(x1: float, y1: float, x2: float, y2: float, stroke: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{stroke}"/>'
    )
