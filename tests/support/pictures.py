"""Reading pictures: SVG is parsed, never searched as text."""

from __future__ import annotations

from xml.etree import ElementTree

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
