"""Where the labels of edges stand: beside their edge, clear of outlines and of text.

Graphviz keeps labels apart from boxes and from each other, but it knows nothing of the
outlines of scopes, and lines may pass below any label.  So labels that something
crosses move after the layout: along their edge and to either side of it, to the place
with the fewest crossings nearest to where they were.  Where an outline leaves no room
at all, it stops around the label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import numpy as np

from .theme import text_width

__all__ = ["box_of", "place_labels", "text_box"]

_SVG = "{http://www.w3.org/2000/svg}"
_PAIR = re.compile(r"(-?[\d.]+(?:e-?\d+)?)[ ,]+(-?[\d.]+(?:e-?\d+)?)")

#: left, top, right, bottom.
Box = tuple[float, float, float, float]

#: Room around a label, and half of what an outline takes.
_ROOM = 1.2
_LINE = 1.0
#: What a crossing costs, in units of way from where a label was: of a text, a node or
#: the end of the sheet; of an outline; of a line.
_TEXT, _OUTLINE, _CROSSED = 100_000.0, 2_000.0, 300.0
_PLACES = np.linspace(0.06, 0.94, 23)
_GAPS = (3.0, 8.0, 15.0, 24.0)
#: Distance of the points that stand for a line.
_STEP = 3.0


@dataclass
class _Label:
    """The text of one edge, and the line that it belongs to."""

    edge: ElementTree.Element
    texts: list[ElementTree.Element]
    box: Box
    line: Any


@dataclass
class _Sheet:
    """What is on a drawing beside the labels of its edges."""

    bounds: Box
    #: Boxes that no label may touch: nodes and texts.
    taken: list[Box] = field(default_factory=list)
    #: Sides of scopes.
    outlines: list[Box] = field(default_factory=list)
    #: Points of the lines of all edges.
    lines: list[Any] = field(default_factory=list)
    #: (box, colour) of scopes, outer ones first.
    scopes: list[tuple[Box, str]] = field(default_factory=list)


def place_labels(root: ElementTree.Element) -> None:
    """Move the labels of edges that something crosses; change nothing else.

    ``root`` is a drawing with its groups of nodes, edges and clusters, as
    :func:`.svg.draw` has it.  The same drawing gives the same places.
    """
    group = root.find(f"{_SVG}g")
    if group is None:
        return
    sheet, labels = _read(root, group)
    around = _Around(sheet, len(labels))
    crossed = []
    for label in labels:
        if around.cost(np.array([label.box]))[0]:
            crossed.append(label)
        else:
            around.take(label.box)
    for label in crossed:
        _move(label, _best(label, around))
        around.take(label.box)
    for label in labels:
        fill = _fill_below(label, sheet.scopes)
        if fill is not None:
            for text in label.texts:
                text.set("stroke", fill)
        if around.on_outline(label.box):
            _clear(label)


def text_box(text: ElementTree.Element) -> Box:
    """The box that a text fills in the fonts of the pictures, about."""
    size = float(text.get("font-size", "14"))
    bold = text.get("font-weight") == "bold"
    width = text_width(text.text or "", size, bold)
    x, y = float(text.get("x", "0")), float(text.get("y", "0"))
    left = x - {"middle": width / 2, "end": width}.get(text.get("text-anchor", ""), 0.0)
    return left, y - 0.76 * size, left + width, y + 0.22 * size


def box_of(group: ElementTree.Element) -> Box | None:
    """What the shapes of a group fill, texts apart; None for no shapes."""
    found: list[tuple[float, float]] = []
    for shape in group.iter():
        if shape.tag == f"{_SVG}ellipse":
            x, y = float(shape.get("cx", "0")), float(shape.get("cy", "0"))
            a, b = float(shape.get("rx", "0")), float(shape.get("ry", "0"))
            found += [(x - a, y - b), (x + a, y + b)]
        said = shape.get("points") or shape.get("d") or ""
        found += [(float(x), float(y)) for x, y in _PAIR.findall(said)]
    if not found:
        return None
    xs, ys = zip(*found)
    return min(xs), min(ys), max(xs), max(ys)


# -- reading -------------------------------------------------------------------


def _read(
    root: ElementTree.Element, group: ElementTree.Element
) -> tuple[_Sheet, list[_Label]]:
    """What stands where: everything, and the labels that may move."""
    _, _, width, height = (float(v) for v in root.attrib["viewBox"].split())
    moved = re.search(
        r"translate\((-?[\d.]+)[ ,]+(-?[\d.]+)\)", group.get("transform", "")
    )
    dx, dy = (float(moved[1]), float(moved[2])) if moved else (0.0, 0.0)
    sheet = _Sheet((-dx, -dy, width - dx, height - dy))
    labels = []
    for child in group:
        kind = child.get("class", "").partition(" ")[0]
        if child.tag == f"{_SVG}text":
            sheet.taken.append(text_box(child))
        elif kind == "edge":
            line = _line(child)
            sheet.lines += [line]
            texts = list(child.iter(f"{_SVG}text"))
            if texts:
                box = _union([text_box(t) for t in texts])
                labels.append(_Label(child, texts, box, line))
        elif kind in ("node", "cluster"):
            shape = box_of(child)
            if shape is not None and kind == "node":
                sheet.taken.append(shape)
            elif shape is not None:
                sheet.outlines += _sides(shape)
                fill = next((c.get("fill") for c in child if c.get("fill")), None)
                sheet.scopes.append((shape, fill or "none"))
            sheet.taken += [text_box(t) for t in child.iter(f"{_SVG}text")]
        elif child.tag == f"{_SVG}g":
            sheet.taken += [text_box(t) for t in child.iter(f"{_SVG}text")]
    return sheet, labels


def _line(edge: ElementTree.Element) -> Any:
    """Points of the line of an edge at about equal distances, without the arrow."""
    parts = []
    for path in edge.iter(f"{_SVG}path"):
        said = path.get("d", "")
        corners = np.array([(float(x), float(y)) for x, y in _PAIR.findall(said)])
        if "C" not in said:
            pieces = [corners[i : i + 2] for i in range(len(corners) - 1)]
            parts += [_between(a, b) for a, b in pieces]
            continue
        for i in range(0, len(corners) - 3, 3):
            parts.append(_curve(corners[i : i + 4]))
    return np.concatenate(parts) if parts else np.zeros((0, 2))


def _between(a: Any, b: Any) -> Any:
    count = max(2, int(np.hypot(*(b - a)) / _STEP) + 1)
    return a + (b - a) * np.linspace(0, 1, count)[:, None]


def _curve(corners: Any) -> Any:
    """Points of a Bezier curve."""
    length = np.hypot(*np.diff(corners, axis=0).T).sum()
    t = np.linspace(0, 1, max(2, int(length / _STEP) + 1))[:, None]
    a, b, c, d = corners
    return (
        (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
    )


def _sides(box: Box) -> list[Box]:
    """The four sides of an outline."""
    left, top, right, bottom = box
    return [
        (left - _LINE, top - _LINE, right + _LINE, top + _LINE),
        (left - _LINE, bottom - _LINE, right + _LINE, bottom + _LINE),
        (left - _LINE, top - _LINE, left + _LINE, bottom + _LINE),
        (right - _LINE, top - _LINE, right + _LINE, bottom + _LINE),
    ]


def _union(boxes: list[Box]) -> Box:
    ends = np.array(boxes)
    return (*ends[:, :2].min(axis=0), *ends[:, 2:].max(axis=0))


# -- moving --------------------------------------------------------------------


class _Around:
    """What a label may meet, and what each meeting costs."""

    def __init__(self, sheet: _Sheet, count: int) -> None:
        self.bounds = sheet.bounds
        self.outlines = np.array(sheet.outlines).reshape(-1, 4)
        self.lines = np.concatenate([*sheet.lines, np.zeros((0, 2))])
        fixed = np.array(sheet.taken).reshape(-1, 4)
        #: Labels that have their places come after what cannot move.
        self._taken = np.concatenate([fixed, np.zeros((count, 4))])
        self._count = len(fixed)

    def take(self, box: Box) -> None:
        """A label stays here."""
        self._taken[self._count] = box
        self._count += 1

    def cost(self, boxes: Any) -> Any:
        """What crosses each of the boxes: nothing costs 0."""
        left, top, right, bottom = (boxes[:, k, None] for k in range(4))
        out = (left < self.bounds[0]) | (top < self.bounds[1])
        out |= (right > self.bounds[2]) | (bottom > self.bounds[3])
        cost = _TEXT * (_hits(boxes, self._taken[: self._count]) + out.sum(axis=1))
        cost += _OUTLINE * _hits(boxes, self.outlines)
        x, y = self.lines.T
        near = (x > left.min()) & (x < right.max())
        near &= (y > top.min() - _ROOM) & (y < bottom.max() + _ROOM)
        x, y = self.lines[near].T
        below = (x > left) & (x < right) & (y > top - _ROOM) & (y < bottom + _ROOM)
        count = below.sum(axis=1)
        return cost + np.where(count, _CROSSED + 20.0 * np.minimum(count, 20), 0.0)

    def on_outline(self, box: Box) -> bool:
        """Whether the side of a scope crosses a box."""
        return bool(_hits(np.array([box]), self.outlines)[0])


def _hits(boxes: Any, taken: Any) -> Any:
    """How many of ``taken`` each box comes too near to."""
    left, top, right, bottom = (boxes[:, k, None] for k in range(4))
    x, y, end, floor = taken.T
    hit = (left - _ROOM < end) & (right + _ROOM > x)
    hit &= (top - _ROOM < floor) & (bottom + _ROOM > y)
    return hit.sum(axis=1)


def _best(label: _Label, around: _Around) -> Box:
    """The place with the least cost; where it is, if there is none better."""
    here = np.array(label.box)
    size = here[2:] - here[:2]
    middles = [(here[:2] + here[2:]) / 2]
    line = label.line
    for share in _PLACES if len(line) > 1 else ():
        at = min(len(line) - 2, int(share * (len(line) - 1)))
        along = line[min(len(line) - 1, at + 3)] - line[max(0, at - 3)]
        across = np.array([-along[1], along[0]]) / (np.hypot(*along) or 1.0)
        clear = abs(across) @ size / 2
        for gap in _GAPS:
            way = (clear + gap) * across
            middles += [line[at] + way, line[at] - way]
    places = np.array(middles)
    boxes = np.concatenate([places - size / 2, places + size / 2], axis=1)
    cost = around.cost(boxes) + np.hypot(*(places - places[0]).T)
    # Of one cost the first: the last digits of a sum must not decide it.
    left, top, right, bottom = boxes[int(np.argmin(np.round(cost, 3)))].tolist()
    return left, top, right, bottom


def _move(label: _Label, box: Box) -> None:
    dx, dy = box[0] - label.box[0], box[1] - label.box[1]
    for text in label.texts:
        text.set("x", f"{float(text.get('x', '0')) + dx:.2f}")
        text.set("y", f"{float(text.get('y', '0')) + dy:.2f}")
    label.box = box


def _fill_below(label: _Label, scopes: list[tuple[Box, str]]) -> str | None:
    """The colour of the innermost scope below the middle of a label."""
    x = (label.box[0] + label.box[2]) / 2
    y = (label.box[1] + label.box[3]) / 2
    found = None
    for (left, top, right, bottom), fill in scopes:
        if left < x < right and top < y < bottom and fill != "none":
            found = fill
    return found


def _clear(label: _Label) -> None:
    """A patch below a label, where the outline of a scope stops."""
    left, top, right, bottom = label.box
    patch = ElementTree.Element(f"{_SVG}rect")
    patch.attrib.update(
        {
            "x": f"{left - 1.5:.2f}",
            "y": f"{top - 0.5:.2f}",
            "width": f"{right - left + 3:.2f}",
            "height": f"{bottom - top + 1:.2f}",
            "fill": label.texts[0].get("stroke", "none"),
        }
    )
    label.edge.insert(list(label.edge).index(label.texts[0]), patch)
