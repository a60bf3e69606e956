"""Splits whose parts elementwise operations read at once: views instead of copies.

The gates of a recurrent cell are parts of one product; each is read by a function or
two, right away.

Precondition: static shapes; an array that a node makes; parts that are not fetched and
of long rows, whose readers are elementwise, with nothing but such operations and views
between.
Postcondition: the same to the bit.  The whole stays until its last part is read, where
the copies stood beside it.
"""

from __future__ import annotations

import math
from collections import defaultdict

from ...graphlib.opdef import lookup
from ..program import NODE, Node, Program, Value

__all__ = ["view_splits"]

#: Bytes of a row of a part from which reading with gaps costs no more than a copy.
_RUN = 128
_WHOLE = (None, None, None)


def view_splits(program: Program) -> int:
    """Make views of splits; returns how many splits went."""
    if program.types.isdisjoint(("Split", "SplitV")):
        return 0
    readers: dict[Value, list[int]] = defaultdict(list)
    for i, node in enumerate(program.nodes):
        for v in node.inputs:
            readers[v].append(i)
    fetched = set(program.fetches)
    waited = {n for node in program.nodes for n in node.after} | set(program.targets)
    kept: list[Node] = []
    changed = 0
    for i, node in enumerate(program.nodes):
        if (
            node.opdef.type not in ("Split", "SplitV")
            or node in waited
            or not fetched.isdisjoint(node.outputs)
            or not _reads_at_once(program.nodes, i, readers)
            or not _has_long_rows(node)
        ):
            kept.append(node)
            continue
        kept += _views(node)
        changed += 1
        program.notes.add("a split as views", node.op)
    if changed:
        program.types.add("StridedSlice")
        program.nodes = kept
    return changed


def _plain(node: Node) -> bool:
    """Whether a node is elementwise, or makes a view."""
    opdef = node.opdef
    if opdef.effect is not None or opdef.control is not None or node.after:
        return False
    return opdef.elementwise or opdef.alias is not None


def _reads_at_once(nodes: list[Node], at: int, readers: dict[Value, list[int]]) -> bool:
    node = nodes[at]
    places = [i for v in node.outputs for i in readers[v]]
    if not places or node.after:
        return False
    if not all(nodes[i].opdef.elementwise for i in places):
        return False
    return all(map(_plain, nodes[at + 1 : max(places) + 1]))


def _has_long_rows(node: Node) -> bool:
    whole = node.inputs[0]
    maker = whole.node
    if whole.kind != NODE or maker is None or maker.opdef.alias is not None:
        return False
    if not all(v.nbytes for v in (whole, *node.outputs)):
        return False
    axis = _axis(node)
    dims: tuple[int, ...] = whole.dims  # type: ignore[assignment]
    rows = math.prod(dims[:axis])
    return rows == 1 or all(v.nbytes // rows >= _RUN for v in node.outputs)


def _axis(node: Node) -> int:
    return int(node.attrs["axis"]) % len(node.inputs[0].dims or ())


def _views(node: Node) -> list[Node]:
    axis = _axis(node)
    made = []
    low = 0
    for v in node.outputs:
        assert v.dims is not None
        high = low + v.dims[axis]  # type: ignore[operator]
        spec = (*(_WHOLE,) * axis, (low, high, None))
        low = high
        view = Node(
            node.op, lookup("StridedSlice"), {"spec": spec}, [node.inputs[0]], []
        )
        v.node, v.index = view, 0
        view.outputs = (v,)
        made.append(view)
    return made
