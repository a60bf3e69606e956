"""Colours, fonts and sizes of all pictures.

The hues are Okabe and Ito's, which stay apart for colour-blind readers; fills
are tints of the same hues, so text on them keeps a contrast above 7:1.  A part
of the graph is also told apart by its outline (and the legend names it), so the
pictures survive a black-and-white printer.

Reference: M. Okabe, K. Ito, Color Universal Design, 2008.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "BAD_CHARACTERS",
    "FONT",
    "PARTS",
    "UNITS",
    "Part",
    "bytes_text",
    "clean",
    "short",
    "spec_text",
]

#: One of the fonts whose widths the layout program knows.
FONT = "Helvetica"
#: The same for SVG that is written here.
FONT_STACK = "Helvetica, Arial, Liberation Sans, sans-serif"

TEXT = "#1b1f24"
MUTED = "#59636e"
LINE = "#6b7682"
GRID = "#e3e6ea"
BACKGROUND = "#ffffff"
# Nested scopes alternate, so that a box is seen on its parent.
SCOPE_FILLS = ("#f6f7f9", "#ffffff")
SCOPE_LINE = "#c4cad1"

PREDICTED = "#0072B2"
PREDICTED_FILL = "#cfe4f2"
WORKSPACE_FILL = "#e3e6ea"
MEASURED = "#D55E00"
PEAK = "#a3261b"


UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Part(NamedTuple):
    """How one kind of node looks."""

    label: str
    fill: str
    line: str
    shape: str
    style: str


#: Kinds of nodes by key, in the order of the legend.
PARTS: dict[str, Part] = {
    "input": Part("placeholder", "#FFF1CC", "#B37700", "box", "filled,bold"),
    "variable": Part("variable", "#E4F3FC", "#2B7FAE", "cylinder", "filled"),
    "constant": Part("constant", "#F1F2F4", "#7A8591", "box", "filled,rounded"),
    "forward": Part("forward", "#DCE9F7", "#0060A0", "box", "filled,rounded"),
    "backward": Part("backward", "#FCE3D4", "#B84A00", "box", "filled,rounded,dashed"),
    "update": Part("update", "#D3EFE4", "#00775A", "box", "filled"),
    "initializer": Part("initialiser", "#F6E3EE", "#A8507F", "box", "filled,dotted"),
}

#: What XML 1.0 cannot hold, and line breaks that a label must not gain.
BAD_CHARACTERS = {
    **dict.fromkeys(range(0x20), " "),
    **dict.fromkeys(range(0x7F, 0xA0), "?"),
    **dict.fromkeys(range(0xD800, 0xE000), "?"),
    0xFFFE: "?",
    0xFFFF: "?",
    0x2028: " ",
    0x2029: " ",
}


def clean(text: str) -> str:
    """``text`` on one line, without characters that XML cannot hold."""
    return text.translate(BAD_CHARACTERS)


def short(text: str, limit: int) -> str:
    """``text`` cleaned, with dots in the middle where it is longer than ``limit``."""
    text = clean(text[: 4 * limit] + text[-limit:] if len(text) > 5 * limit else text)
    if len(text) <= limit:
        return text
    head = (limit - 3) // 2
    return f"{text[:head]}...{text[len(text) - (limit - 3 - head) :]}"


def bytes_text(count: float) -> str:
    """A number of bytes for people: ``512 B``, ``1.5 KiB``, ``96.2 MiB``."""
    size = float(count)
    unit = 0
    while abs(size) >= 1024 and unit < len(UNITS) - 1:
        size /= 1024
        unit += 1
    if unit == 0:
        return f"{size:.0f} B"
    return f"{size:.3g} {UNITS[unit]}" if size < 100 else f"{size:,.0f} {UNITS[unit]}"


def spec_text(dtype: str, dims: tuple[int | None, ...] | None) -> str:
    """``float32[?,784]``; ``float32[...]`` where the rank is unknown."""
    if dims is None:
        return f"{dtype}[...]"
    return f"{dtype}[{','.join('?' if d is None else str(d) for d in dims)}]"
