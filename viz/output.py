"""Pictures as files: SVG, Graphviz source, JSON, PNG."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any
from xml.sax.saxutils import quoteattr

from .drawing import Drawing
from .svg import DrawingError
from .theme import FONT_STACK, clean

__all__ = ["kind_of", "png", "save", "to_json", "with_font"]

_KINDS = {".dot": "dot", ".gv": "dot", ".json": "json", ".png": "png"}
_NO_PNG = (
    "a PNG needs a program that draws SVG: pip install resvg_py (or cairosvg, or put "
    "rsvg-convert on the path); .svg, .dot and .json need nothing more"
)


def kind_of(path: Any) -> str:
    """What a file of that name holds: "dot", "json", "png", or "svg"."""
    if path is None:
        return "svg"
    return _KINDS.get(os.path.splitext(os.fspath(path))[1].lower(), "svg")


def save(path: Any, content: str | bytes) -> None:
    """Write text or bytes."""
    if isinstance(content, bytes):
        with open(path, "wb") as raw:
            raw.write(content)
        return
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(content)


def with_font(svg: str, font: str) -> str:
    """A picture with these fonts before its own."""
    chosen = quoteattr(f"{clean(font)}, {FONT_STACK}")
    return svg.replace(f'font-family="{FONT_STACK}"', f"font-family={chosen}")


def to_json(drawing: Drawing) -> str:
    """The picture as JSON: scopes, nodes and edges with all that is drawn of them.

    The same picture gives the same bytes.
    """
    picture = drawing.picture
    scopes = [
        {
            "path": c.path,
            "label": c.label,
            "parent": c.parent,
            "count": c.count,
            "body": c.body,
        }
        for c in picture.clusters
    ]
    nodes = [
        {
            "key": node.key,
            "scope": number,
            "part": node.part,
            "title": node.title,
            "subtitle": node.subtitle,
            "notes": node.notes,
            "tooltip": node.tooltip,
            "folded": node.folded,
            "count": node.count,
            "fill": node.fill,
            "operations": [op.name for op in node.ops],
        }
        for number, cluster in enumerate(picture.clusters)
        for node in cluster.nodes
    ]
    edges = [
        {
            "tail": e.tail,
            "head": e.head,
            "label": e.label,
            "tooltip": e.tooltip,
            "kind": "control" if e.control else "saved" if e.weak else "data",
            "again": e.again,
            "bytes": e.nbytes,
            "state": e.state,
        }
        for e in picture.edges
    ]
    scale = drawing.scale
    about = None
    if scale is not None:
        about = {
            "title": scale.title,
            "ramp": list(scale.ramp),
            "ends": list(scale.ends),
            "classes": [list(pair) for pair in scale.classes],
            "lines": list(scale.lines),
        }
    whole = {
        "format": "dagrad picture 1",
        "title": drawing.title,
        "theme": drawing.theme.name,
        "facts": picture.facts,
        "scale": about,
        "scopes": scopes,
        "nodes": nodes,
        "edges": edges,
        "pairs": [list(pair) for pair in picture.pairs],
    }
    # Lone surrogates in a name would be no UTF-8: ASCII says them all.
    return json.dumps(whole, indent=1) + "\n"


def png(svg: str, scale: float = 2.0) -> bytes:
    """An SVG text as a PNG image, ``scale`` pixels to a unit of it.

    Raises:
        DrawingError: none of the programs that draw SVG is there, or it failed.
    """
    try:
        import resvg_py
    except ImportError:
        pass
    else:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=max(1, round(scale))))
    try:
        import cairosvg
    except (ImportError, OSError):  # without the library that it is made for
        pass
    else:
        return bytes(cairosvg.svg2png(bytestring=svg.encode(), scale=scale))
    program = shutil.which("rsvg-convert")
    if program is None:
        raise DrawingError(_NO_PNG)
    done = subprocess.run(
        [program, "--unlimited", "--zoom", f"{scale:g}", "--format", "png"],
        input=svg.encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[:500]
        raise DrawingError(f"{program} failed ({done.returncode}): {said}")
    return done.stdout
