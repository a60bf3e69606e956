"""What charts share: ink for light and dark pages, text, rules, axes, columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

from .output import save
from .sheet import escaped
from .theme import (
    FONT_STACK,
    LIGHT,
    MEASURED,
    PEAK,
    UNITS,
    Theme,
    clean,
    short,
    theme_of,
)

__all__ = [
    "POINTED",
    "Canvas",
    "Column",
    "Ink",
    "columns",
    "ink_of",
    "scale",
    "tick_text",
    "ticks",
    "write",
]


class Ink(NamedTuple):
    """Colours of a chart: those of a theme, and of the lines over every chart."""

    page: str
    text: str
    muted: str
    line: str
    grid: str
    predicted: str
    measured: str
    peak: str
    #: Text on a coloured band.
    on_fill: str


def ink_of(theme: str | Theme) -> Ink:
    """The ink of a theme, ``"light"`` or ``"dark"``.

    Raises:
        GraphError: there is no such theme.
    """
    t = theme_of(theme)
    measured, peak = (MEASURED, PEAK) if t is LIGHT else ("#ffa057", t.cut)
    on_fill = LIGHT.text
    return Ink(
        t.background, t.text, t.muted, t.line, t.grid, t.text, measured, peak, on_fill
    )


class Canvas:
    """SVG text that grows element by element.

    Texts may hold anything: they are cleaned and escaped here.
    """

    def __init__(self, width: float, ink: Ink) -> None:
        self.width = width
        self.ink = ink
        self._parts: list[str] = []

    def raw(self, element: str) -> None:
        """An element whose text is safe already."""
        self._parts.append(element)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str = "start",
        fill: str = "",
        *,
        size: float = 12,
        bold: bool = False,
        tip: str = "",
    ) -> None:
        """A line of text; ``tip`` shows in full where the text is cut."""
        weight = ' font-weight="bold"' if bold else ""
        title = ""
        if tip and short(tip, 10_000) != text:
            title = f"<title>{escaped(tip[:10_000])}</title>"
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'fill="{fill or self.ink.text}" font-size="{size:g}"{weight}>'
            f"{escaped(text)}{title}</text>"
        )

    def rule(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        stroke: str = "",
        dashes: str = "",
    ) -> None:
        """A straight line."""
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke or self.ink.grid}"{dash}/>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        tip: str = "",
        *,
        stroke: str = "",
    ) -> None:
        """A filled rectangle, with a tooltip; fill "none" only feels the pointer."""
        paint = f'fill="{fill}"'
        if fill == "none":
            paint = f'fill="{self.ink.page}" fill-opacity="0"'
        edge = f' stroke="{stroke}" stroke-width="0.6"' if stroke else ""
        head = (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" {paint}{edge}'
        )
        if tip:
            self._parts.append(f"{head}><title>{escaped(tip)}</title></rect>")
        else:
            self._parts.append(f"{head}/>")

    def path(
        self,
        path: str,
        fill: str = "none",
        stroke: str = "",
        *,
        dashes: str = "",
        tip: str = "",
        thick: float = 1.6,
    ) -> None:
        """A path, filled or drawn."""
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        line = (
            f' stroke="{stroke}" stroke-width="{thick:g}" stroke-linejoin="round"{dash}'
            if stroke
            else ""
        )
        head = f'<path d="{path}" fill="{fill}"{line}'
        if tip:
            self._parts.append(f"{head}><title>{escaped(tip)}</title></path>")
        else:
            self._parts.append(f"{head}/>")

    def legend(
        self, x: float, y: float, entries: Sequence[tuple[str, str, str]]
    ) -> float:
        """Swatches in rows from ``x``: (label, colour, "fill", "line" or "dash").

        Returns where the last row is.
        """
        left = x
        for label, colour, kind in entries:
            width = 28 + 6.3 * len(label) + 20
            if x + width > self.width - 8 and x > left:
                x, y = left, y + 18
            if kind == "fill":
                self.box(x, y - 10, 20, 11, colour)
            else:
                self.path(
                    f"M{x:.1f},{y - 4:.1f}h20",
                    stroke=colour,
                    dashes="6 3" if kind == "dash" else "",
                )
            self.text(x + 26, y, label, fill=self.ink.muted, size=11.5)
            x += width
        return y

    def svg(self, height: float, title: str, description: str) -> str:
        """The whole document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" '
            f'height="{height:.0f}" viewBox="0 0 {self.width:.0f} {height:.0f}" '
            f'role="img" aria-label={quoteattr(clean(short(title, 200)))} '
            f'font-family="{FONT_STACK}" font-size="12">'
        )
        return "\n".join(
            [
                head,
                f"<title>{escaped(short(title, 200))}</title>",
                f"<desc>{escaped(description)}</desc>",
                f'<rect width="{self.width:.0f}" height="{height:.0f}" '
                f'fill="{self.ink.page}"/>',
                *self._parts,
                "</svg>\n",
            ]
        )


def write(svg: str, path: Any) -> str:
    """``svg``, written to ``path`` unless that is None."""
    if path is not None:
        save(path, svg)
    return svg


# -- axes ----------------------------------------------------------------------


def scale(highest: float) -> tuple[str, float, float]:
    """Of an axis of bytes: its unit, the bytes between ticks, those at the top."""
    size = 1.0
    unit = "B"
    for name in UNITS[1:]:
        if highest < size * 1024:
            break
        size *= 1024
        unit = name
    step = _round_step(max(highest, 1) / size / 5)
    if unit == "B":
        step = max(1.0, math.ceil(step))
    count = max(1, math.ceil(highest / (step * size)))
    return unit, step * size, count * step * size


def _round_step(wanted: float) -> float:
    """The least of 1, 2, 2.5, 5, 10 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= wanted * 0.9999)


def tick_text(size: float, unit: str) -> str:
    """Bytes at a tick of an axis in ``unit``."""
    return f"{size / 1024.0 ** UNITS.index(unit):g} {unit}"


def ticks(count: int) -> list[int]:
    """Round step numbers, about ten."""
    if count <= 12:
        return list(range(count))
    power = 10 ** math.floor(math.log10(count / 10))
    step = next(m * power for m in (1, 2, 5, 10, 20) if count / (m * power) <= 12)
    return list(range(0, count, step))


def time_ticks(seconds: float) -> tuple[str, list[tuple[float, str]]]:
    """The unit of an axis of time, and (seconds, text) of its ticks."""
    unit, size = next(
        (u, s)
        for u, s in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
        if seconds >= 2 * s or s == 1e-9
    )
    step = _round_step(max(seconds, 1e-9) / size / 9)
    count = int(seconds / size / step + 1e-9)
    return unit, [(k * step * size, f"{k * step:g}") for k in range(count + 1)]


# -- columns -------------------------------------------------------------------


class Column(NamedTuple):
    """Consecutive steps that are too narrow to be told apart: a column of pixels."""

    first: int
    end: int
    x: float
    right: float


#: How wide a place is that tells something to a pointer.
POINTED = 8.0


def columns(count: int, x: Callable[[int], float], least: float = 1.8) -> list[Column]:
    """Steps ``0 .. count - 1`` in columns at least ``least`` wide; step i is drawn
    from ``x(i)`` to ``x(i + 1)``."""
    found = []
    first = 0
    left = x(0)
    for i in range(1, count + 1):
        right = x(i)
        if right - left >= least or i == count:
            found.append(Column(first, i, left, right))
            first, left = i, right
    return found
