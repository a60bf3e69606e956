"""Sums of many terms add each term when it arrives.

As one step, a sum keeps all of its terms alive until the last one is there (the
gradients of a weight that 28 time steps share, say).  As a chain of sums of two
it keeps one; the terms are added in the same order, so the result is the same to
the bit.  A term that is made by a negation for the sum alone is subtracted: so are
most derivatives of differences.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from ...graphlib.opdef import lookup
from ..program import NODE, VARIABLE, Node, Program, Value


def split_sums(program: Program) -> int:
    """Turn sums of more than two terms into chains, and sums of negatives into
    differences; returns how many.

    Each partial sum stands right after the younger of its two terms, so that
    orders which follow creation add on arrival too.  Where the shape is not
    known before the run nothing changes: there the kernel adds in place itself.
    """
    position = {node: i for i, node in enumerate(program.nodes)}
    inserted: dict[int, list[Node]] = defaultdict(list)
    split = 0
    for at, node in enumerate(program.nodes):
        if not node.opdef.chainable or len(node.inputs) < 3:
            continue
        if not node.outputs[0].static:
            continue
        split += 1
        program.notes.add("terms added on arrival", node.op)
        total = node.inputs[0]
        where = -1 if total.node is None else position[total.node]
        for term in node.inputs[1:-1]:
            if term.node is not None:
                where = max(where, position[term.node])
            partial = Node(node.op, node.opdef, node.attrs, [total, term], [])
            out = node.outputs[0]
            total = Value(NODE, out.dtype, out.dims, out.tensor, partial)
            partial.outputs = (total,)
            position[partial] = where
            inserted[min(where, at - 1)].append(partial)
        node.inputs = [total, node.inputs[-1]]
    program.insert(inserted)
    return split + _subtract(program)


def _subtract(program: Program) -> int:
    """x + -y is x - y, to the bit, where nobody else reads -y; returns how many."""
    readers = Counter(v for node in program.nodes for v in node.inputs)
    readers.update(program.fetches)
    pinned = {*program.targets, *(n for node in program.nodes for n in node.after)}
    gone: set[Node] = set()
    for node in program.nodes:
        if not node.opdef.chainable or len(node.inputs) != 2:
            continue
        for x, y in (node.inputs, node.inputs[::-1]):
            minus = y.node
            if minus is None or minus.opdef.type != "Neg" or readers[y] > 1:
                continue
            # The direct read of a variable stays where it is.
            if minus in pinned or minus.after or minus.inputs[0].kind == VARIABLE:
                continue
            program.notes.add("x + -y -> x - y", node.op)
            node.opdef, node.attrs = lookup("Sub"), {}
            node.inputs = [x, minus.inputs[0]]
            gone.add(minus)
            break
    if gone:
        program.nodes = [n for n in program.nodes if n not in gone]
    return len(gone)
