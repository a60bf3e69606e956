"""Several pictures on one sheet, with a title and lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from .theme import FONT_STACK, LIGHT, Theme, clean, short, text_width

__all__ = ["escaped", "label", "stack"]

_SVG = "http://www.w3.org/2000/svg"
_MARGIN = 20.0
_GAP = 16.0
_LINE = 16.0


def stack(
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    desc: str = "",
    lines: Sequence[str] = (),
    theme: Theme = LIGHT,
) -> str:
    """One SVG text of several: rows of pictures, one below the other.

    Args:
        rows: SVG texts with ``width`` and ``height``.
        title: above them.
        desc: what they show, for screen readers.
        lines: text below them, broken to the width of the sheet; tabs set columns.
        theme: the colours.
    """
    ElementTree.register_namespace("", _SVG)
    parts: list[str] = []
    top = _MARGIN + (30.0 if title else 0.0)
    wide = text_width(short(title, 120), 17, True)
    number = 0
    for row in rows:
        left = _MARGIN
        tall = 0.0
        for svg in row:
            root = ElementTree.fromstring(svg)
            width, height = (
                float(root.get("width", "0")),
                float(root.get("height", "0")),
            )
            _rename(root, f"p{number}_")
            inside = "".join(
                ElementTree.tostring(child, encoding="unicode") for child in root
            )
            font = f' font-family="{FONT_STACK}"'
            fill = f' fill="{root.get("fill")}"' if root.get("fill") else ""
            size = (
                f' font-size="{root.get("font-size")}"' if root.get("font-size") else ""
            )
            parts.append(
                f'<g transform="translate({left:g} {top:g})" role="graphics-object"'
                f"{font}{fill}{size}>{inside}</g>"
            )
            number += 1
            left += width + _GAP
            tall = max(tall, height)
        wide = max(wide, left - _GAP - _MARGIN)
        top += tall + _GAP
    said, top, widest = _written(lines, top, wide, theme)
    parts += said
    wide = max(wide, widest)
    width, height = wide + 2 * _MARGIN, top + _MARGIN
    head = [
        f'<svg xmlns="{_SVG}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="graphics-document document" '
        f'font-family="{FONT_STACK}">',
        f"<title>{escaped(short(title, 200) or 'dagrad')}</title>",
    ]
    if desc:
        head.append(f"<desc>{escaped(short(desc, 2000))}</desc>")
    head.append(
        f'<rect width="{width:g}" height="{height:g}" fill="{theme.background}"/>'
    )
    if title:
        words = short(title, 120)
        head.append(label(_MARGIN, _MARGIN + 16, words, theme.text, size=17, bold=True))
    return "\n".join([*head, *parts, "</svg>\n"])


def _written(
    lines: Sequence[str], top: float, wide: float, theme: Theme
) -> tuple[list[str], float, float]:
    """Lines of text from ``top`` on; where they end, and how wide they are."""
    cells = [line.split("\t") for line in lines]
    columns = max((len(row) for row in cells), default=1)
    starts = [0.0]
    for k in range(columns - 1):
        rows = [row for row in cells if len(row) > k + 1]
        starts.append(
            starts[-1] + 18 + max(text_width(row[k].strip(), 12) for row in rows)
        )
    fit = max(40, int(wide / text_width("e", 12)))
    out: list[str] = []
    widest = 0.0
    for line, row in zip(lines, cells):
        indent = len(line) - len(line.lstrip(" "))
        left = _MARGIN + 4.5 * indent
        ink = theme.muted if indent else theme.text
        if len(row) > 1:
            for start, cell in zip(starts, row):
                out.append(label(left + start, top + 12, cell.strip(), ink))
                end = left + start + text_width(cell.strip(), 12)
                widest = max(widest, end - _MARGIN)
            top += _LINE
            continue
        pieces = textwrap.wrap(clean(line), fit, subsequent_indent=" " * (indent + 4))
        for k, piece in enumerate(pieces or [""]):
            # Only a first line can be a heading.
            bold = k == 0 and not indent and line.endswith(":")
            x = _MARGIN + 4.5 * (len(piece) - len(piece.lstrip()))
            out.append(label(x, top + 12, piece.strip(), ink, bold=bold))
            top += _LINE
    return out, top, widest


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Make ids of one picture differ from those of another."""
    for element in root.iter():
        if "id" in element.attrib:
            element.set("id", prefix + element.attrib["id"])
        for key in ("clip-path", "fill", "stroke", "marker-end", "marker-start"):
            value = element.get(key, "")
            if value.startswith("url(#"):
                element.set(key, f"url(#{prefix}{value[5:]}")


def escaped(text: str) -> str:
    """``text`` as it may stand in XML, lines kept."""
    return escape("\n".join(clean(line) for line in text.split("\n")))


def label(
    x: float,
    y: float,
    text: str,
    fill: str,
    anchor: str = "start",
    size: float = 12,
    bold: bool = False,
    tip: str = "",
) -> str:
    """Words on a sheet, as an SVG element; ``tip`` is what hovering says."""
    weight = ' font-weight="bold"' if bold else ""
    title = f"<title>{escaped(tip)}</title>" if tip else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" '
        f'font-size="{size:g}"{weight}>{escaped(text)}{title}</text>'
    )
