"""Panels of curves and coloured fields as SVG, for the examples beside it."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

BLUE, ORANGE, GREEN, PURPLE = "#0b6bcb", "#c2410c", "#15803d", "#7e22ce"
INK, GREY, PALE = "#1b1b1b", "#6b7280", "#e5e7eb"
SEQUENTIAL = ("#1b1f5e", "#1f5a9d", "#2b93a8", "#62bf8f", "#c5dc6b", "#fdf3b0")

# Colours at equal distances; between them one goes straight.
DIVERGING = (
    "#123c7c",
    "#3f7fc4",
    "#a9cbe8",
    "#f7f7f5",
    "#f3b79b",
    "#d0583f",
    "#7d1128",
)


def colours(values: Any, low: float, high: float, stops: Sequence[str]) -> Any:
    """The colours (..., 3), 8 bits each, of values between ``low`` and ``high``."""
    table = np.array([[int(s[i : i + 2], 16) for i in (1, 3, 5)] for s in stops])
    places = np.clip((values - low) / (high - low), 0.0, 1.0) * (len(stops) - 1)
    grid = np.arange(len(stops))
    rows = [np.interp(places, grid, table[:, i]) for i in range(3)]
    return np.stack(rows, axis=-1).round().astype(np.uint8)


def png(pixels: Any) -> bytes:
    """A PNG file of an array (rows, columns, 3) of 8 bits."""
    rows, columns, _ = pixels.shape
    plain = np.concatenate(
        [np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(plain.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers between ``low`` and ``high``."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(k * unit for k in (1, 2, 2.5, 5, 10) if k * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def thin(u: Any, v: Any) -> Any:
    """Which points of a curve keep it within a fifth of a pixel of all points
    (Douglas and Peucker)."""
    keep = np.zeros(len(u), bool)
    keep[[0, -1]] = True
    parts = [(0, len(u) - 1)]
    while parts:
        a, b = parts.pop()
        if b - a < 2:
            continue
        x, y = u[a + 1 : b] - u[a], v[a + 1 : b] - v[a]
        dx, dy = u[b] - u[a], v[b] - v[a]
        length = math.hypot(dx, dy)
        away = np.abs(x * dy - y * dx) / length if length else np.hypot(x, y)
        if np.max(away) > 0.2:
            middle = a + 1 + int(np.argmax(away))
            keep[middle] = True
            parts += [(a, middle), (middle, b)]
    return keep


class Panel:
    """A frame with axes; what is drawn in it is given in the units of the axes."""

    def __init__(
        self,
        drawing: Drawing,
        box: tuple[float, float, float, float],
        across: tuple[float, float],
        up: tuple[float, float],
        title: str = "",
        labels: tuple[str, str] = ("", ""),
        marks: tuple[int, int] = (6, 5),
        grid: bool = True,
    ) -> None:
        self.drawing, self.box, self.across, self.up = drawing, box, across, up
        self.entries: list[tuple[str, str, str, str]] = []
        self.key = f"clip{len(drawing.panels)}"
        self.back: list[str] = []
        self.front: list[str] = []
        x, y, w, h = box
        drawing.panels.append(self)
        self.back.append(
            f'<clipPath id="{self.key}"><rect x="{x}" y="{y}" width="{w}" '
            f'height="{h}"/></clipPath>'
        )
        for value in ticks(*across, marks[0]) if marks[0] else ():
            u, _ = self.at(value, up[0])
            if grid:
                self.back.append(segment(u, y, u, y + h, PALE))
            self.front.append(segment(u, y + h, u, y + h + 4, GREY))
            self.front.append(text(u, y + h + 17, f"{value:g}", GREY, "middle"))
        for value in ticks(*up, marks[1]) if marks[1] else ():
            _, v = self.at(across[0], value)
            if grid:
                self.back.append(segment(x, v, x + w, v, PALE))
            self.front.append(segment(x - 4, v, x, v, GREY))
            self.front.append(text(x - 8, v + 4, f"{value:g}", GREY, "end"))
        self.front.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="none" '
            f'stroke="{GREY}"/>'
        )
        if title:
            self.front.append(text(x, y - 9, title, INK, size=14, weight="600"))
        if labels[0]:
            self.front.append(text(x + w / 2, y + h + 35, labels[0], INK, "middle"))
        if labels[1]:
            turn = f'transform="rotate(-90 {x - 42} {y + h / 2})"'
            self.front.append(
                text(x - 42, y + h / 2, labels[1], INK, "middle", more=turn)
            )

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Where a point of the axes lies in the drawing."""
        left, top, w, h = self.box
        u = left + (x - self.across[0]) / (self.across[1] - self.across[0]) * w
        v = top + (self.up[1] - y) / (self.up[1] - self.up[0]) * h
        return u, v

    def points(self, xs: Any, ys: Any) -> str:
        """Points as SVG writes them."""
        u, v = self.at(np.asarray(xs, float), np.asarray(ys, float))
        if len(u) > 2:
            keep = thin(u, v)
            u, v = u[keep], v[keep]
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(u, v))

    def inside(self, element: str) -> None:
        """Add an element that is cut off at the frame."""
        self.back.append(f'<g clip-path="url(#{self.key})">{element}</g>')

    def line(
        self,
        xs: Any,
        ys: Any,
        colour: str,
        label: str = "",
        width: float = 1.8,
        dash: str = "",
        fade: float = 1.0,
    ) -> None:
        """A curve through the points; ``label`` names it in the legend."""
        style = f'stroke="{colour}" stroke-width="{width}" stroke-opacity="{fade}"'
        style += f' stroke-dasharray="{dash}"' if dash else ""
        self.inside(
            f'<polyline points="{self.points(xs, ys)}" fill="none" '
            f'stroke-linejoin="round" {style}/>'
        )
        if label:
            self.entries.append(("line", style, colour, label))

    def dots(
        self, xs: Any, ys: Any, colour: str, label: str = "", radius: float = 2.0
    ) -> None:
        """A dot at each point."""
        u, v = self.at(np.asarray(xs, float), np.asarray(ys, float))
        dots = (
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>' for a, b in zip(u, v)
        )
        self.inside(f'<g fill="{colour}">{"".join(dots)}</g>')
        if label:
            self.entries.append(("dot", f'r="{max(radius, 2.5)}"', colour, label))

    def shape(
        self,
        xs: Any,
        ys: Any,
        fill: str,
        edge: str = "none",
        width: float = 1.2,
        fade: float = 1.0,
    ) -> None:
        """A closed shape."""
        self.inside(
            f'<polygon points="{self.points(xs, ys)}" fill="{fill}" '
            f'fill-opacity="{fade}" stroke="{edge}" stroke-width="{width}" '
            'stroke-linejoin="round"/>'
        )

    def image(self, pixels: Any) -> None:
        """Colours (rows, columns, 3) over the whole frame, the lowest row first."""
        x, y, w, h = self.box
        data = base64.b64encode(png(pixels[::-1])).decode()
        self.back.append(
            f'<image x="{x}" y="{y}" width="{w}" height="{h}" '
            f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
        )

    def note(
        self, x: float, y: float, words: str, colour: str = INK, **more: Any
    ) -> None:
        """Words at a point."""
        self.front.append(text(*self.at(x, y), words, colour, **more))

    def words(self, u: float, v: float, words: str, colour: str) -> None:
        """Words that end at a place of the drawing, such as a row's name."""
        self.front.append(text(u, v, words, colour, "end"))

    def arrow(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        colour: str,
        label: str = "",
        above: bool = True,
    ) -> None:
        """A straight arrow, with words beside its middle."""
        (u1, v1), (u2, v2) = self.at(x1, y1), self.at(x2, y2)
        size = math.hypot(u2 - u1, v2 - v1)
        a, b = (u2 - u1) / size, (v2 - v1) / size
        self.back.append(
            f'<line x1="{u1:.1f}" y1="{v1:.1f}" x2="{u2 - 6 * a:.1f}" '
            f'y2="{v2 - 6 * b:.1f}" stroke="{colour}" stroke-width="1.6"/>'
        )
        head = [(0.0, 0.0), (-9.0, 4.0), (-9.0, -4.0)]
        tip = " ".join(
            f"{u2 + p * a - q * b:.1f},{v2 + p * b + q * a:.1f}" for p, q in head
        )
        self.back.append(f'<polygon points="{tip}" fill="{colour}"/>')
        if label:
            # Beside the line on its upper or lower side, whichever way it points.
            n = math.copysign(1.0, a) * (-1.0 if above else 1.0)
            u, v = (u1 + u2) / 2 - 11 * n * b, (v1 + v2) / 2 + 11 * n * a + 4
            anchor = "middle"
            if abs(b) > 0.2:
                anchor = "start" if (-n * b > 0) else "end"
            self.front.append(text(u, v, label, colour, anchor))

    def card(
        self,
        x: float,
        y: float,
        wide: float,
        tall: float,
        title: str,
        rows: Sequence[tuple[str, str]],
    ) -> None:
        """A box around a point, with a title and rows of (words, colour)."""
        (u1, v1), (u2, v2) = (
            self.at(x - wide / 2, y + tall / 2),
            self.at(x + wide / 2, y - tall / 2),
        )
        self.front.append(
            f'<rect x="{u1:.1f}" y="{v1:.1f}" width="{u2 - u1:.1f}" '
            f'height="{v2 - v1:.1f}" rx="7" fill="#ffffff" stroke="{GREY}"/>'
        )
        middle, gap = (u1 + u2) / 2, (v2 - v1) / (len(rows) + 1.4)
        self.front.append(
            text(middle, v1 + 0.85 * gap, title, INK, "middle", 14, "600")
        )
        for i, (words, colour) in enumerate(rows):
            self.front.append(
                text(middle, v1 + (1.85 + i) * gap, words, colour, "middle", 14)
            )

    def below(self, u: float, words: str) -> None:
        """Words under the frame, at a distance from the drawing's left."""
        self.front.append(
            text(u, self.box[1] + self.box[3] + 17, words, GREY, "middle")
        )

    def legend(self, right: bool = True, row: bool = False) -> None:
        """What the labelled curves and dots are, in a corner, in a column or a row."""
        x, y, w, _ = self.box
        widths = [48 + 6.4 * len(label) for *_, label in self.entries]
        wide = sum(widths) if row else max(widths)
        tall = 26 if row else 18 * len(self.entries) + 8
        left = x + w - wide - 8 if right else x + 8
        top = y + 8
        self.front.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall}" '
            'rx="4" fill="#ffffff" fill-opacity="0.88"/>'
        )
        u, v = left, top + 13
        for (kind, style, colour, label), next_one in zip(self.entries, widths):
            if kind == "line":
                self.front.append(
                    f'<line x1="{u + 8:.1f}" y1="{v:.1f}" x2="{u + 30:.1f}" '
                    f'y2="{v:.1f}" {style}/>'
                )
            else:
                self.front.append(
                    f'<circle cx="{u + 19:.1f}" cy="{v:.1f}" {style} fill="{colour}"/>'
                )
            self.front.append(text(u + 36, v + 4, label, INK))
            u, v = (u + next_one, v) if row else (u, v + 18)

    def bar(self, low: float, high: float, stops: Sequence[str], label: str) -> None:
        """The scale of the colours, right of the frame."""
        x, y, w, h = self.box
        data = colours(np.linspace(low, high, 200)[:, None], low, high, stops)
        scale = Panel(
            self.drawing,
            (x + w + 12, y, 12, h),
            (0, 1),
            (low, high),
            marks=(0, 0),
            grid=False,
        )
        scale.image(np.repeat(data, 12, axis=1))
        for value in ticks(low, high, 4):
            _, v = scale.at(0, value)
            scale.front.append(segment(x + w + 24, v, x + w + 28, v, GREY))
            scale.front.append(text(x + w + 31, v + 4, f"{value:g}", GREY))
        scale.front.append(text(x + w + 36, y - 9, label, INK, "end"))


class Drawing:
    """A page of panels."""

    def __init__(self, width: int, height: int, title: str, under: str = "") -> None:
        self.width, self.height, self.title, self.under = width, height, title, under
        self.panels: list[Panel] = []

    def panel(self, *arguments: Any, **more: Any) -> Panel:
        """A new :class:`Panel`."""
        return Panel(self, *arguments, **more)

    def save(self, path: Path) -> None:
        """Write the page."""
        path.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The page as SVG."""
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" '
            f'height="{self.height}" viewBox="0 0 {self.width} '
            f'{self.height}" font-family="Helvetica, Arial, sans-serif" '
            'font-size="12" role="img">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>',
            text(24, 32, self.title, INK, size=19, weight="700"),
        ]
        if self.under:
            out.append(text(24, 52, self.under, GREY, size=13))
        for panel in self.panels:
            out += panel.back + panel.front
        out.append("</svg>\n")
        return "\n".join(out)


def segment(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """A straight line of one pixel."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}"/>'
    )


def text(
    x: float,
    y: float,
    words: str,
    colour: str,
    anchor: str = "start",
    size: float = 12,
    weight: str = "400",
    more: str = "",
) -> str:
    """Words in the drawing."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" '
        f'font-size="{size}" font-weight="{weight}" {more}>{escape(words)}</text>'
    )
