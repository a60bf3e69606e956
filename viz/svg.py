"""Graphviz source to SVG text, by a layout program that pip installs."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from .labels import box_of, place_labels
from .layout import DrawingError, laid_out
from .theme import FONT_STACK, PARTS, clean, short, text_width

if TYPE_CHECKING:
    from .drawing import Drawing
    from .fold import Picture

__all__ = ["DrawingError", "draw", "to_svg"]

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"


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
    text, left_out = laid_out(dot, engine, timeout)
    return _tidy(text, title, desc, left_out)


# -- what the program wrote, made fit to use -----------------------------------


def _tidy(
    text: str, title: str, desc: str, left_out: list[tuple[str, str, str]]
) -> str:
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
    middles = _middles(root)
    for group in root.iter(f"{{{_SVG}}}g"):
        _unwrap(group)
        kind = (group.get("class") or "").partition(" ")[0]
        if kind in _ROLES:
            group.set("role", _ROLES[kind])
        if kind == "node":
            _centre(group)
        elif kind == "edge":
            _set_labels(group, paper)
    _draw_straight(root, middles, left_out)
    _raise_scope_labels(root)
    place_labels(root)
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


def _middles(root: ElementTree.Element) -> dict[str, str]:
    """The middles of boxes by their keys, before tooltips take the place of those."""
    found = {}
    for node in root.iter(f"{{{_SVG}}}g"):
        box = box_of(node) if node.get("class", "").startswith("node") else None
        if box is not None:
            middle = f"{(box[0] + box[2]) / 2:.2f},{(box[1] + box[3]) / 2:.2f}"
            found[node.findtext(f"{{{_SVG}}}title", "")] = middle
    return found


def _draw_straight(
    root: ElementTree.Element,
    middles: dict[str, str],
    lines: list[tuple[str, str, str]],
) -> None:
    """Dotted lines below the boxes, middle to middle (see :func:`.layout.laid_out`)."""
    sheet = root.find(f"{{{_SVG}}}g")
    if sheet is None or not lines:
        return
    kinds = [child.get("class", "").partition(" ")[0] for child in sheet]
    first = kinds.index("node")
    for number, (tail, head, colour) in enumerate(lines):
        about = {"class": "edge mirror", "role": _ROLES["edge"]}
        group = ElementTree.Element(f"{{{_SVG}}}g", about)
        title = ElementTree.SubElement(group, f"{{{_SVG}}}title")
        title.text = "and its gradient"
        look = {"fill": "none", "stroke": colour, "stroke-dasharray": "1,5"}
        way = {"d": f"M{middles[tail]} L{middles[head]}"}
        ElementTree.SubElement(group, f"{{{_SVG}}}path", look | way)
        sheet.insert(first + number, group)


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
    box = box_of(node)
    if box is None:
        return
    middle = f"{(box[0] + box[2]) / 2:g}"
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
