"""What stands above a drawing: title, facts, and what the colours mean."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .fold import Picture
from .theme import Theme, short, text_width

__all__ = ["Scale", "heading"]

#: How wide a scale of colours is.
_STRIP = 320
#: How tall a row of swatches is.
_TALL = 13
#: Stands for a width that is known when all cells are; no text can hold it.
_WIDTH = "\0"


@dataclass
class Scale:
    """The legend of an overlay: what is shown, and which colour means what.

    Attributes:
        title: what the colours say ("time, measured").
        ramp: colours from the least to the most, for numbers; ``ends`` are the
            texts below it, evenly spread.
        classes: (colour, text), for kinds.
        blank: whether some boxes have no colour, and what that means.
    """

    title: str
    ramp: Sequence[str] = ()
    ends: Sequence[str] = ()
    classes: Sequence[tuple[str, str]] = ()
    blank: str = ""
    lines: Sequence[str] = field(default=())


def heading(
    picture: Picture,
    theme: Theme,
    title: str = "",
    legend: bool = True,
    scale: Scale | None = None,
) -> str:
    """Title, facts and legend as one table: the label of the whole drawing."""
    rows = []
    if title:
        text = html.escape(short(title, 120))
        rows.append(f'<FONT POINT-SIZE="15"><B>{text}</B></FONT>')
    for line in _wrapped(picture.facts) if legend else ():
        text = html.escape(line)
        rows.append(f'<FONT POINT-SIZE="10" COLOR="{theme.muted}">{text}</FONT>')
    table = [f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows]
    if legend:
        if scale is not None:
            table += _scale(scale, theme)
        table += _swatches(picture, theme, scale is None)
    if not table:
        return ""
    inside = "".join(table)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="2">{inside}</TABLE>>'


def _wrapped(facts: list[str], width: int = 80) -> list[str]:
    """The facts in lines, broken between facts only."""
    lines: list[str] = []
    for i, fact in enumerate(facts):
        part = fact + ("," if i + 1 < len(facts) else "")
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _swatches(picture: Picture, theme: Theme, parts: bool) -> list[str]:
    """Rows of swatches for what occurs in the picture."""
    nodes = picture.nodes
    used = {node.part for node in nodes}
    cells: list[_Cell] = []
    for key, look in theme.parts.items():
        if key in used and parts:
            style = "DASHED" if "dashed" in look.style else ""
            style = "DOTTED" if "dotted" in look.style else style
            cells.append(_swatch(look.fill, look.line, look.label, style))
    if any(node.folded for node in nodes):
        cells.append(_swatch(theme.background, theme.muted, "folded (double outline)"))
    bodies = {cluster.body for cluster in picture.clusters if cluster.body}
    fill, line = theme.scope_fills[0], theme.again
    if any(not body.startswith("Fused") for body in bodies):
        cells.append(_swatch(fill, line, "body of a loop, branch or call", "DASHED"))
    if any(body.startswith("Fused") for body in bodies):
        cells.append(_swatch(fill, line, "done in one step", "DASHED"))
    if any(cluster.count > 1 for cluster in picture.clusters):
        cells.append(
            _swatch(theme.scope_fills[0], theme.text, "drawn once for several")
        )
    if any(edge.weak for edge in picture.edges):
        cells.append(_stroke(theme.saved, "---", "kept for backward"))
    if any(edge.again for edge in picture.edges):
        cells.append(_stroke(theme.again, "- -", "to the next round or scope"))
    states = {edge.state for edge in picture.edges}
    if "open" in states:
        cells.append(_stroke(theme.open, "---", "a derivative passes"))
    if "cut" in states:
        cells.append(_stroke(theme.cut, "- -", "no derivative passes"))
    if picture.pairs:
        cells.append(_stroke(theme.mirror, "...", "to its gradient"))
    if any(edge.control for edge in picture.edges):
        cells.append(_stroke(theme.line, "- -", "control dependency"))
    return _rows(cells)


#: A swatch or an arrow with its words; and how wide the words are.
_Cell = tuple[str, float]


def _rows(cells: Sequence[_Cell], wide: int = 4) -> list[str]:
    """The cells in rows, in columns as wide as their words: else the layout program
    would spread them over the width of the whole heading."""
    if not cells:
        return []
    columns = min(wide, len(cells))
    widths = [math.ceil(max(w for _, w in cells[i::wide])) for i in range(columns)]
    rows = []
    for start in range(0, len(cells), wide):
        row = "".join(
            mark.replace(_WIDTH, str(width))
            for (mark, _), width in zip(cells[start : start + wide], widths)
        )
        rows.append(f"<TR>{row}</TR>")
    total = sum(widths) + 24 * columns + 6
    tall = len(rows) * (_TALL + 3) + 3
    return [
        '<TR><TD ALIGN="LEFT"><TABLE ALIGN="LEFT" BORDER="0" CELLBORDER="0" '
        'CELLSPACING="3" CELLPADDING="0" FIXEDSIZE="TRUE" '
        f'WIDTH="{total}" HEIGHT="{tall}">{"".join(rows)}</TABLE></TD></TR>'
    ]


def _scale(scale: Scale, theme: Theme) -> list[str]:
    """The overlay's title, its colours, and what they mean."""
    title = html.escape(short(scale.title, 120))
    rows = [
        f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="11"><B>{title}</B></FONT></TD></TR>'
    ]
    if scale.ramp:
        strip = "".join(
            f'<TD BGCOLOR="{c}" WIDTH="{_STRIP // len(scale.ramp)}" HEIGHT="10" '
            'FIXEDSIZE="TRUE"></TD>'
            for c in scale.ramp
        )
        span = max(1, len(scale.ramp) // max(1, len(scale.ends)))
        ends = "".join(
            f'<TD COLSPAN="{span}" ALIGN="{_side(i, len(scale.ends))}">'
            f'<FONT POINT-SIZE="9">{html.escape(short(end, 24))}</FONT></TD>'
            for i, end in enumerate(scale.ends)
        )
        # Of a fixed size: else the colours would be spread apart.
        rows.append(
            '<TR><TD ALIGN="LEFT"><TABLE ALIGN="LEFT" BORDER="0" CELLBORDER="0" '
            'CELLSPACING="0" CELLPADDING="0" FIXEDSIZE="TRUE" '
            f'WIDTH="{_STRIP}" HEIGHT="25"><TR>{strip}</TR><TR>{ends}</TR></TABLE>'
            "</TD></TR>"
        )
    cells = [_swatch(colour, theme.muted, text) for colour, text in scale.classes]
    if scale.blank:
        cells.append(_swatch(theme.blank, theme.muted, scale.blank))
    rows += _rows(cells)
    for line in scale.lines:
        text = html.escape(short(line, 160))
        rows.append(
            f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="10">{text}</FONT></TD></TR>'
        )
    return rows


def _side(i: int, count: int) -> str:
    if i == 0:
        return "LEFT"
    return "RIGHT" if i == count - 1 else "CENTER"


def _swatch(fill: str, line: str, label: str, style: str = "") -> _Cell:
    look = f' STYLE="{style}"' if style else ""
    return _cell(
        f'<TD BORDER="1" BGCOLOR="{fill}" COLOR="{line}"{look} WIDTH="18" HEIGHT="11" '
        'FIXEDSIZE="TRUE"></TD>',
        label,
    )


def _stroke(color: str, line: str, label: str) -> _Cell:
    return _cell(
        f'<TD WIDTH="18" HEIGHT="{_TALL}" FIXEDSIZE="TRUE"><FONT POINT-SIZE="10" '
        f'COLOR="{color}">{line}&gt;</FONT></TD>',
        label,
    )


def _cell(mark: str, label: str) -> _Cell:
    words = short(label, 80)
    cell = (
        f'{mark}<TD ALIGN="LEFT" WIDTH="{_WIDTH}" HEIGHT="{_TALL}" FIXEDSIZE="TRUE">'
        f'<FONT POINT-SIZE="10">{html.escape(words)}</FONT></TD>'
    )
    return cell, 1.08 * text_width(words, 10) + 10
