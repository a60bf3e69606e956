"""Reading pictures: SVG is parsed, never searched as text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from dagrad.viz.theme import text_width

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str, links: bool = False) -> ElementTree.Element:
    """The root of well-formed SVG that runs nothing and loads nothing.

    ``links`` says whether it may have links to click.
    """
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    for element in root.iter():
        tag = element.tag.removeprefix(SVG)
        assert tag not in ("script", "foreignObject", "image", "use", "iframe", "style")
        assert links or tag != "a"
        for key, value in element.attrib.items():
            assert not key.lower().startswith("on")
            assert "href" not in key or (links and tag == "a")
            assert "javascript:" not in value.lower()
            assert "url(" not in value or value.startswith("url(#")
    return root


def drawn(svg: str, kind: str = "node") -> list[ElementTree.Element]:
    """The groups of one kind: node, edge or cluster."""
    return [
        g
        for g in parse(svg).iter(f"{SVG}g")
        if g.get("class", "").split(" ")[0] == kind
    ]


def by_title(svg: str, title: str) -> ElementTree.Element:
    """The one box whose first line is ``title``."""
    (found,) = [g for g in drawn(svg) if words(g).split(" | ")[0] == title]
    return found


def words(element: ElementTree.Element) -> str:
    """All text that is drawn in an element."""
    return " | ".join(t.text or "" for t in element.iter(f"{SVG}text"))


def hints(element: ElementTree.Element) -> str:
    """What hovering says."""
    return element.findtext(f"{SVG}title", "")


# -- where things stand ------------------------------------------------------------

#: left, top, right, bottom.
Box = tuple[float, float, float, float]


def text_box(text: ElementTree.Element) -> Box:
    """What a text fills, from its place, its anchor and the widths of its letters."""
    size = float(text.get("font-size", "14"))
    width = text_width(text.text or "", size, text.get("font-weight") == "bold")
    x, y = float(text.get("x", "0")), float(text.get("y", "0"))
    before = {"start": 0.0, "middle": width / 2, "end": width}
    left = x - before[text.get("text-anchor", "start")]
    return left, y - 0.74 * size, left + width, y + 0.2 * size


def sides(scope: ElementTree.Element) -> list[Box]:
    """The four sides of the outline of a scope, half a unit wide."""
    corners = scope.find(f"{SVG}path")
    if corners is None:
        corners = scope.find(f"{SVG}polygon")
    assert corners is not None
    text = corners.get("d") or corners.get("points") or ""
    pairs = re.findall(r"(-?[\d.]+),(-?[\d.]+)", text)
    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    left, top, right, bottom = min(x), min(y), max(x), max(y)
    return [
        (left, top - 0.25, right, top + 0.25),
        (left, bottom - 0.25, right, bottom + 0.25),
        (left - 0.25, top, left + 0.25, bottom),
        (right - 0.25, top, right + 0.25, bottom),
    ]


def meet(a: Box, b: Box) -> bool:
    """Whether two boxes have more than an edge in common."""
    apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    return not apart


def sheets(root: ElementTree.Element) -> list[ElementTree.Element]:
    """The groups of a file that hold a graph each, nodes and edges in one frame."""
    return [
        g
        for g in root.iter(f"{SVG}g")
        if any(c.get("class", "").split(" ")[0] == "node" for c in g)
    ]


def crossed_texts(sheet: ElementTree.Element) -> tuple[list[str], int]:
    """What crosses texts on one sheet, and how many patches keep outlines off them.

    Texts cross texts anywhere; sides of scopes cross labels of edges, unless a patch
    lies between the two.
    """
    found = []
    texts = [
        (t, text_box(t)) for t in sheet.iter(f"{SVG}text") if (t.text or "").strip()
    ]
    for i, (one, a) in enumerate(texts):
        for other, b in texts[:i]:
            if meet(a, b):
                found.append(f"{one.text!r} on {other.text!r}: {a} {b}")
    outlines = [
        side
        for g in sheet
        if g.get("class", "").startswith("cluster")
        for side in sides(g)
    ]
    patches = 0
    for edge in sheet:
        if not edge.get("class", "").startswith("edge"):
            continue
        for label in edge.iter(f"{SVG}text"):
            box = text_box(label)
            hit = [side for side in outlines if meet(box, side)]
            patch = edge.find(f"{SVG}rect")
            patches += patch is not None
            if hit and (patch is None or not _covers(patch, box)):
                found.append(f"an outline crosses {label.text!r}: {box} {hit[0]}")
    return found, patches


def _covers(patch: ElementTree.Element, box: Box) -> bool:
    x, y, w, h = (float(patch.get(k, "0")) for k in ("x", "y", "width", "height"))
    return x <= box[0] and y <= box[1] and x + w >= box[2] and y + h >= box[3]
