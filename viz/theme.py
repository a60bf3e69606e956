"""Colours, fonts and sizes of all pictures.

The hues are Okabe and Ito's, which stay apart for colour-blind readers; fills
are tints of the same hues, so text on them keeps a contrast above 7:1.  A part
of the graph is also told apart by its outline (and the legend names it), so the
pictures survive a black-and-white printer.  Numbers are shown in viridis, which
rises evenly in lightness.

``theme_of("light")`` and ``theme_of("dark")`` give a :class:`Theme`; the constants
of this module are those of the light one.

References: M. Okabe, K. Ito, Color Universal Design, 2008.  S. van der Walt,
N. Smith, viridis, 2015 (CC0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..graphlib.errors import GraphError

__all__ = [
    "BAD_CHARACTERS",
    "CATEGORIES",
    "DARK",
    "FONT",
    "LIGHT",
    "PARTS",
    "UNITS",
    "Part",
    "Theme",
    "bytes_text",
    "clean",
    "count_text",
    "ink_on",
    "ramp",
    "short",
    "spec_text",
    "text_width",
    "theme_of",
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


#: Operations of other programs that dagrad does not have.
_OPAQUE = "cannot be planned"

#: Kinds of nodes by key, in the order of the legend.
PARTS: dict[str, Part] = {
    "input": Part("placeholder", "#FFF1CC", "#B37700", "box", "filled,bold"),
    "variable": Part("variable", "#E4F3FC", "#2B7FAE", "cylinder", "filled"),
    "constant": Part("constant", "#F1F2F4", "#7A8591", "box", "filled,rounded"),
    "forward": Part("forward", "#DCE9F7", "#0060A0", "box", "filled,rounded"),
    "backward": Part("backward", "#FCE3D4", "#B84A00", "box", "filled,rounded,dashed"),
    "update": Part("update", "#D3EFE4", "#00775A", "box", "filled"),
    "initializer": Part("initialiser", "#F6E3EE", "#A8507F", "box", "filled,dotted"),
    "opaque": Part(_OPAQUE, "#FFFFFF", "#59636E", "box", "filled,rounded,dashed"),
}

_DARK_PARTS: dict[str, Part] = {
    "input": Part("placeholder", "#4A3A10", "#E6A91F", "box", "filled,bold"),
    "variable": Part("variable", "#143A52", "#56B4E9", "cylinder", "filled"),
    "constant": Part("constant", "#2B3138", "#98A4B0", "box", "filled,rounded"),
    "forward": Part("forward", "#16324F", "#5AA2E0", "box", "filled,rounded"),
    "backward": Part("backward", "#4F2A14", "#F08A4B", "box", "filled,rounded,dashed"),
    "update": Part("update", "#0F3D33", "#35C29D", "box", "filled"),
    "initializer": Part("initialiser", "#45263A", "#DB8DB9", "box", "filled,dotted"),
    "opaque": Part(_OPAQUE, "#14171B", "#98A4B0", "box", "filled,rounded,dashed"),
}


@dataclass(frozen=True)
class Theme:
    """The colours of a picture; see :func:`theme_of`."""

    name: str
    text: str
    muted: str
    line: str
    grid: str
    background: str
    scope_fills: tuple[str, str]
    scope_line: str
    #: Edges of values that the backward part keeps alive.
    saved: str
    #: Edges from one round to the next: of a loop, or of repeated scopes.
    again: str
    #: From a forward operation to its gradient.
    mirror: str
    #: What a gradient passes through, and where it is cut.
    open: str
    cut: str
    #: Nodes that an overlay says nothing of.
    blank: str
    parts: dict[str, Part]


LIGHT = Theme(
    name="light",
    text=TEXT,
    muted=MUTED,
    line=LINE,
    grid=GRID,
    background=BACKGROUND,
    scope_fills=SCOPE_FILLS,
    scope_line=SCOPE_LINE,
    saved="#B07A4E",
    again="#7A5AA6",
    mirror="#B84A00",
    open="#00775A",
    cut="#B3261E",
    blank="#F1F2F4",
    parts=PARTS,
)
DARK = Theme(
    name="dark",
    text="#E6EAEF",
    muted="#A9B4C0",
    line="#8996A3",
    grid="#2B3138",
    background="#14181D",
    scope_fills=("#1B2027", "#222830"),
    scope_line="#3D4651",
    saved="#C79A72",
    again="#B79BE0",
    mirror="#F08A4B",
    open="#35C29D",
    cut="#FF8A80",
    blank="#2B3138",
    parts=_DARK_PARTS,
)


def theme_of(name: str | Theme) -> Theme:
    """The theme of that name.

    Raises:
        GraphError: it is neither "light" nor "dark".
    """
    if isinstance(name, Theme):
        return name
    for theme in (LIGHT, DARK):
        if theme.name == name:
            return theme
    raise GraphError(f'theme {name!r} is neither "light" nor "dark"')


#: Viridis at equal distances.
_VIRIDIS = (
    "#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c",
    "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725",
)  # fmt: skip
#: For things without an order, Okabe and Ito's.
CATEGORIES = (
    "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00",
    "#BBBBBB",
)  # fmt: skip


def ramp(share: float) -> str:
    """The colour of a share between 0 and 1, from dark violet to yellow."""
    place = min(1.0, max(0.0, share)) * (len(_VIRIDIS) - 1)
    low = min(int(place), len(_VIRIDIS) - 2)
    part = place - low
    one, two = _rgb(_VIRIDIS[low]), _rgb(_VIRIDIS[low + 1])
    mixed = (round(a + (b - a) * part) for a, b in zip(one, two))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def ink_on(fill: str) -> str:
    """Black or white, whichever is easier to read on ``fill`` (WCAG's contrast)."""
    red, green, blue = (
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (v / 255 for v in _rgb(fill))
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if luminance > 0.179 else "#ffffff"


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


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


# Helvetica's widths of the characters from the space to "~", in thousandths.
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip


def text_width(text: str, size: float, bold: bool = False) -> float:
    """How wide ``text`` is in the fonts of the pictures, about."""
    total = 0
    for character in text:
        code = ord(character)
        if 0x20 <= code < 0x7F:
            total += _WIDTHS[code - 0x20]
        else:
            total += 1000 if code >= 0x1100 else 600
    return total * size * (1.06 if bold else 1.0) / 1000


def count_text(count: float) -> str:
    """A number for people: ``17``, ``4.19 M``, ``1.2 G``."""
    size = float(count)
    if abs(size) < 10_000:
        whole = size == int(size) or abs(size) >= 100
        return f"{size:,.0f}" if whole else f"{size:.3g}"
    for unit in ("k", "M", "G", "T"):
        size /= 1000
        if abs(size) < 999.5 or unit == "T":
            break
    return f"{size:.3g} {unit}"


def spec_text(dtype: str, dims: tuple[int | None, ...] | None) -> str:
    """``float32[?,784]``; ``float32[...]`` where the rank is unknown."""
    if dims is None:
        return f"{dtype}[...]"
    return f"{dtype}[{','.join('?' if d is None else str(d) for d in dims)}]"
