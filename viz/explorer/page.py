"""One HTML file of the explorer's parts, with the data inside.

The parts are our own files beside this one and the layout library in ``vendor/``;
the page loads nothing from anywhere, and its security policy forbids it to.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from ..theme import PARTS

__all__ = ["LAYOUT", "VIEW", "embed", "whole_page"]

_HERE = Path(__file__).parent

#: Scripts of the page, in the order in which they stand in it.
VIEW = (
    "theme.js",
    "model.js",
    "layout.js",
    "camera.js",
    "draw.js",
    "overlay.js",
    "timeline.js",
    "panel.js",
    "search.js",
    "main.js",
)
#: Scripts that lay out: in a worker, so that the page stays responsive.
LAYOUT = ("vendor/dagre.min.js", "model.js", "layout.js", "worker.js")

#: Data beyond this many characters is compressed.
_PLAIN = 400_000


def whole_page(data: dict[str, Any], title: str) -> str:
    """The text of the file."""
    parts = {key: list(part[:3]) for key, part in PARTS.items()}
    holes = {
        "TITLE": _text(title),
        "STYLE": _read("style.css"),
        "DATA": embed({**data, "looks": parts}),
        # The worker's source is data to the page, so it is escaped like data.
        "LAYOUT": _json("\n".join(_read(name) for name in LAYOUT)),
        "VIEW": "\n".join(_read(name) for name in VIEW),
    }
    text = _read("page.html")
    pieces = text.split("@@")
    # What is filled in is never searched for holes again.
    pieces[1::2] = [holes[name] for name in pieces[1::2]]
    return "".join(pieces)


def embed(data: Any) -> str:
    """``data`` as the content of a script element: JSON, or base64 of deflated JSON.

    Neither can hold ``<``, so nothing in it ends the element or begins a comment.
    """
    text = _json(data)
    if len(text) <= _PLAIN:
        return text
    packed = zlib.compress(text.encode("ascii"), 6)
    return base64.b64encode(packed).decode("ascii")


def _json(value: Any) -> str:
    """JSON in ASCII without ``<``, ``>`` and ``&``, which HTML knows."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
