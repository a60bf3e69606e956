"""The edges of a picture: links between the same two boxes, merged and labelled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..graphlib.operation import Operation
from ..graphlib.tensor import Tensor
from .model import Link, Value
from .theme import bytes_text, short, spec_text

__all__ = ["Edge", "crowds", "fans", "merged"]

#: Boxes with more readers (or inputs) than this are named in most of them.
_FAN = 12
_FAN_DRAWN = 3


@dataclass
class Edge:
    """All links from one box to another; ``origin`` names the first tensor's op.

    ``again`` says why it goes back, for an edge to the next round of a loop or to the
    next of repeated scopes.  ``nbytes`` are of all its tensors, an unknown dimension
    counting as one.
    """

    tail: str
    head: str
    label: str
    tooltip: str
    control: bool
    weak: bool
    width: float
    origin: str = ""
    again: str = ""
    nbytes: int = 0
    #: Of a gradient: "open" where a derivative passes, "cut" where none does, or "".
    state: str = ""


def fans(edges: Sequence[Edge]) -> list[Edge]:
    """Data edges of boxes with very many readers, all but the first few."""
    found = []
    by_tail: dict[str, list[Edge]] = {}
    for edge in edges:
        if not (edge.control or edge.weak or edge.again):
            by_tail.setdefault(edge.tail, []).append(edge)
    for fan in by_tail.values():
        if len(fan) > _FAN:
            found += fan[_FAN_DRAWN:]
    return found


def crowds(edges: Sequence[Edge]) -> list[Edge]:
    """Edges into boxes that read very many others, all but the last few."""
    found = []
    by_head: dict[str, list[Edge]] = {}
    for edge in edges:
        by_head.setdefault(edge.head, []).append(edge)
    for crowd in by_head.values():
        if len(crowd) > _FAN:
            found += crowd[:-_FAN_DRAWN]
    return found


class _Bundle:
    """The links between two boxes."""

    __slots__ = ("again", "controls", "tensors", "weak")

    def __init__(self) -> None:
        self.tensors: dict[tuple[Tensor | Value, str, int], Link] = {}
        self.controls: list[Link] = []
        self.weak = True
        self.again = ""


def merged(
    links: Sequence[Link],
    place: dict[str, str],
    again: Callable[[Link], str | None],
) -> list[Edge]:
    """One edge for all links between two boxes; ``place`` says where items are.

    ``again`` gives None for links to leave out, else why a link goes back ("" for
    those that do not).
    """
    bundles: dict[tuple[str, str, bool], _Bundle] = {}
    for link in links:
        why = again(link)
        if why is None:
            continue
        tail, head = place[link.tail.key], place[link.head.key]
        # A loop on a box is drawn where it leads to the next box of its kind.
        if tail == head and not why:
            continue
        bundle = bundles.setdefault((tail, head, bool(why)), _Bundle())
        bundle.again = bundle.again or why
        if link.tensor is None:
            bundle.controls.append(link)
        else:
            bundle.tensors[link.tensor, link.head.key, link.index] = link
            bundle.weak &= link.weak
    return [_edge(tail, head, bundle) for (tail, head, _), bundle in bundles.items()]


def _edge(tail: str, head: str, bundle: _Bundle) -> Edge:
    if not bundle.tensors:
        pairs = dict.fromkeys((link.tail.op, link.head.op) for link in bundle.controls)
        lines = [f"{_brief(b)} waits for {_brief(a)}" for a, b in list(pairs)[:8]]
        if len(pairs) > 8:
            lines.append(f"and {len(pairs) - 8} more")
        label = f"{len(pairs):,} waits" if len(pairs) > 1 else ""
        text = "\n".join(lines)
        return Edge(tail, head, label, text, True, False, 1.0, again=bundle.again)
    tensors = list(dict.fromkeys(t for t, _, _ in bundle.tensors))
    size, exact = _bytes(tensors)
    width = min(3.2, 0.8 + 0.12 * math.log2(1 + size / 256))
    label = bundle.again or _label(bundle, tensors)
    lines = [
        f"{_brief(t.op)}:{t.index} {spec_text(t.dtype.name, t.dims)}"
        for t in tensors[:8]
    ]
    if len(tensors) > 8:
        lines.append(f"and {len(tensors) - 8:,} more")
    if size:
        lines.append(bytes_text(size) + ("" if exact else " for each unit of '?'"))
    first = next(iter(bundle.tensors.values()))
    # In a plan, the step that runs it is no part of its name.
    origin = first.tail.op.name if isinstance(first.tensor, Value) else first.tail.name
    return Edge(
        tail,
        head,
        label,
        "\n".join(lines),
        False,
        bundle.weak and not bundle.again,
        round(width, 2),
        origin,
        bundle.again,
        size,
    )


def _label(bundle: _Bundle, tensors: Sequence[Tensor | Value]) -> str:
    specs = list(dict.fromkeys(spec_text(t.dtype.name, t.dims) for t in tensors))
    if len(tensors) == 1:
        if bundle.weak and len(bundle.tensors) == 1:
            # The forward edge of the same tensor says it already.
            return ""
        label = short(specs[0], 36)
        if (
            len(bundle.tensors) > 1
            and len({head for _, head, _ in bundle.tensors}) == 1
        ):
            label += f" x{len(bundle.tensors)}"
        return label
    if len(specs) == 1:
        return f"{len(tensors):,} x {short(specs[0], 36)}"
    return f"{len(tensors):,} tensors"


def _bytes(tensors: Sequence[Tensor | Value]) -> tuple[int, bool]:
    """Bytes of all, and whether every dimension is known."""
    total = 0
    exact = True
    for t in tensors:
        exact &= t.dims is not None and None not in t.dims
        total += t.dtype.size * math.prod(
            d if d is not None else 1 for d in t.dims or ()
        )
    return total, exact


def _brief(op: Operation) -> str:
    return short(op.name, 80)
