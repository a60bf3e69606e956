"""Sums of many terms add each term when it arrives.

As one step, a sum keeps all of its terms alive until the last one is there (the
gradients of a weight that 28 time steps share, say).  As a chain of sums of two
it keeps one; the terms are added in the same order, so the result is the same to
the bit.
"""

from __future__ import annotations

from collections import defaultdict

from ..program import NODE, Node, Program, Value


def split_sums(program: Program) -> int:
    """Turn sums of more than two terms into chains; returns how many.

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
    return split
