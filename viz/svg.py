"""Graphviz source to SVG text, by a layout program that pip installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ..graphlib.errors import DagradError
from .theme import FONT_STACK, PARTS, clean, short, text_width

if TYPE_CHECKING:
    from .drawing import Drawing
    from .fold import Picture

__all__ = ["DrawingError", "draw", "to_svg"]

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_MISSING = (
    "drawing needs the layout program of Graphviz: pip install graphviz-pure "
    "(or install Graphviz, so that `dot` is on the path)"
)


class DrawingError(DagradError, RuntimeError):
    """The layout program is missing or failed."""


def to_svg(
    target: Any,
    path: Any = None,
    *,
    engine: str | None = None,
    timeout: float = 120.0,
    title: str = "",
    **options: Any,
) -> str:
    """The drawing of ``target`` as SVG text, also written to ``path`` if given.

    Options as :func:`dagrad.viz.render`.
    """
    from .drawing import drawing_of

    drawing = drawing_of(target, title=title, **options)
    svg = draw_picture(drawing, engine=engine, timeout=timeout)
    if path is not None:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(svg)
    return svg


def draw_picture(
    drawing: Drawing, *, engine: str | None = None, timeout: float = 120.0
) -> str:
    """SVG text of a drawing (see :func:`draw`)."""
    return draw(
        drawing.dot(),
        title=drawing.title or "dagrad graph",
        desc=description(drawing.picture),
        engine=engine,
        timeout=timeout,
    )


def description(picture: Picture) -> str:
    """What a drawing shows, in a sentence or two, for those who do not see it."""
    nodes = picture.nodes
    parts = Counter(node.part for node in nodes)
    kinds = ", ".join(f"{n} {PARTS[p].label}" for p, n in parts.most_common())
    names = [clean(c.label) for c in picture.clusters[1:] if c.level == 1][:8]
    said = f"{len(nodes)} boxes ({kinds}) and {len(picture.edges)} arrows"
    if names:
        said += f"; open scopes: {', '.join(names)}"
    return f"{said}. {', '.join(picture.facts)}."


def draw(
    dot: str,
    *,
    title: str = "",
    desc: str = "",
    engine: str | None = None,
    timeout: float = 120.0,
) -> str:
    """Lay ``dot`` out and return clean SVG text, fit to stand inside HTML.

    Args:
        dot: Graphviz source.
        title: the title of the drawing, for screen readers and browsers.
        desc: what it shows, for screen readers.
        engine: ``"pure"`` for the program that ``pip install graphviz-pure``
            brings, which gives the same bytes on every machine; ``"system"`` for a
            ``dot`` on the path; None for the first, and the second where it is
            missing.
        timeout: seconds that the layout may take.

    Raises:
        DrawingError: there is no program, or it failed or took too long.
    """
    command = [_program(engine), "-q", "-Tsvg"]
    try:
        done = subprocess.run(
            command,
            input=dot.encode("utf-8"),
            capture_output=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise DrawingError(
            f"the layout took more than {timeout:g} s: give a smaller max_nodes"
        ) from None
    except OSError as error:
        raise DrawingError(f"{command[0]} cannot be run: {error}") from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip()[:500]
        raise DrawingError(f"{command[0]} failed ({done.returncode}): {said}")
    return _tidy(done.stdout.decode("utf-8"), title, desc)


def _program(engine: str | None) -> str:
    """The layout program: what pip installs, unless only a ``dot`` is there."""
    if engine not in (None, "pure", "system"):
        raise DrawingError(f'engine {engine!r} is neither "pure" nor "system"')
    found = None
    if engine != "system":
        found = _pure_program() or shutil.which("graphviz-pure")
    if engine != "pure" and found is None:
        found = shutil.which("dot")
    if found is None:
        if engine == "system":
            raise DrawingError('engine="system" needs a program `dot` on the path')
        raise DrawingError(_MISSING)
    return found


@cache
def _pure_program() -> str | None:
    """The program in the installed wheel: its folder need not be on the path."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        listed = files("graphviz-pure") or []
    except PackageNotFoundError:
        return None
    for file in listed:
        if file.name in ("graphviz-pure", "graphviz-pure.exe"):
            return os.path.realpath(str(file.locate()))
    return None


# -- what the program wrote, made fit to use -----------------------------------


def _tidy(text: str, title: str, desc: str = "") -> str:
    """One ``<svg>`` element: sized, titled, with roles, tooltips as titles."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text[text.index("<svg") :])
    box = [float(v) for v in root.attrib["viewBox"].split()]
    root.attrib.update(
        {
            "width": f"{box[2]:g}",
            "height": f"{box[3]:g}",
            "viewBox": " ".join(f"{v:g}" for v in box),
            "role": "graphics-document document",
        }
    )
    paper = next(
        (p.get("fill", "none") for p in root.iter(f"{{{_SVG}}}polygon")), "none"
    )
    for group in root.iter(f"{{{_SVG}}}g"):
        _unwrap(group)
        kind = (group.get("class") or "").partition(" ")[0]
        if kind in _ROLES:
            group.set("role", _ROLES[kind])
        if kind == "node":
            _centre(group)
        elif kind == "edge":
            _set_labels(group, paper)
    _raise_scope_labels(root)
    # Fonts of the layout's widths, said once.
    root.set("font-family", FONT_STACK)
    for text_element in root.iter(f"{{{_SVG}}}text"):
        text_element.attrib.pop("font-family", None)
        text_element.attrib.pop(_SPACE, None)
    for tag, words in (("desc", short(desc, 2000)), ("title", short(title, 200))):
        if words or tag == "title":
            own = ElementTree.Element(f"{{{_SVG}}}{tag}")
            own.text = words or "dagrad graph"
            root.insert(0, own)
    out: str = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s*\n\s*<", ">\n<", out).strip() + "\n"


#: What screen readers are told of the groups of a drawing.
_ROLES = {
    "graph": "graphics-object",
    "cluster": "graphics-object",
    "node": "graphics-symbol",
    "edge": "graphics-symbol",
}


def _unwrap(group: ElementTree.Element) -> None:
    """Move a link's content up; what it said on hovering becomes the title.

    A link to the line of a program stays, as a plain ``href``.
    """
    title = group.find(f"{{{_SVG}}}title")
    tip = ""
    index = 0
    while index < len(group):
        child = group[index]
        inner = child.tag == f"{{{_SVG}}}a"
        if inner or (child.get("id") or "").startswith("a_"):
            tip = tip or child.get(f"{{{_XLINK}}}title", "")
            address = child.get(f"{{{_XLINK}}}href", "")
            if address:
                child.attrib.clear()
                child.attrib.update({"href": address, "target": "_blank"})
                index += 1
                continue
            group.remove(child)
            for offset, grandchild in enumerate(list(child)):
                group.insert(index + offset, grandchild)
        else:
            index += 1
    tip = "\n".join(clean(line) for line in tip.split("\n")).strip()
    if title is not None and tip:
        title.text = tip
    elif title is not None:
        group.remove(title)


def _centre(node: ElementTree.Element) -> None:
    """Hang labels from their middle: they stay in place with any other font."""
    xs: list[float] = []
    for shape in node.iter():
        if shape.tag == f"{{{_SVG}}}ellipse":
            xs.append(float(shape.get("cx", "0")))
        points = shape.get("points") or shape.get("d") or ""
        xs += [float(x) for x in re.findall(r"(-?[\d.]+),", points)]
    if not xs:
        return
    middle = f"{(min(xs) + max(xs)) / 2:g}"
    for text in node.iter(f"{{{_SVG}}}text"):
        text.set("x", middle)
        text.set("text-anchor", "middle")


def _set_labels(edge: ElementTree.Element, paper: str) -> None:
    """Labels of an edge, a little off it; lines that pass below them make way."""
    for label in edge.iter(f"{{{_SVG}}}text"):
        # Some renderers drop the spaces around a text: it stays where they put it.
        said = label.text or ""
        size = float(label.get("font-size", "0"))
        before = len(said) - len(said.lstrip())
        after = len(said) - len(said.rstrip())
        shift = 3 + (before - after) * text_width(" ", size) / 2
        label.text = said.strip()
        label.set("x", f"{float(label.get('x', '0')) + shift:.2f}")
        label.attrib.update(
            {
                "stroke": paper,
                "stroke-width": "2.5",
                "stroke-linejoin": "round",
                "paint-order": "stroke",
            }
        )


def _raise_scope_labels(root: ElementTree.Element) -> None:
    """Scope names last, on a patch of their scope's colour: no edge crosses them."""
    sheet = root.find(f"{{{_SVG}}}g")
    if sheet is None:
        return
    for group in [g for g in sheet if g.get("class", "").startswith("cluster")]:
        fill = next((c.get("fill") for c in group if c.get("fill")), "none")
        for text in group.findall(f"{{{_SVG}}}text"):
            group.remove(text)
            patch = ElementTree.SubElement(sheet, f"{{{_SVG}}}rect")
            width = text_width(text.text or "", 10) + 4
            left, base = float(text.get("x", "0")), float(text.get("y", "0"))
            if text.get("text-anchor") == "middle":
                left -= width / 2 - 2
            patch.attrib.update(
                {
                    "x": f"{left - 2:g}",
                    "y": f"{base - 9:g}",
                    "width": f"{width:g}",
                    "height": "12",
                    "fill": fill or "none",
                    "fill-opacity": "0.85",
                }
            )
            sheet.append(text)
