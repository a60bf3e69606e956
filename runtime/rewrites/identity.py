"""Drop nodes whose outputs equal their inputs for the shapes at hand."""

from __future__ import annotations

from ..program import VARIABLE, Node, Program, Value


def remove_identities(program: Program) -> int:
    """Bypass such nodes; returns how many were dropped.

    A node that waits for others stays: who reads it must wait too.  So does a
    direct read of a variable, whose place in the order has a meaning.
    """
    subst: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in program.nodes:
        node.redirect(subst)
        inputs = node.inputs
        same = node.opdef.identity
        if (
            same is not None
            and not node.after
            and all(v.kind != VARIABLE for v in inputs[: len(node.outputs)])
            and same(inputs, node.outputs, node.attrs)
        ):
            subst.update(zip(node.outputs, inputs))
        else:
            kept.append(node)
    return program.keep(kept, subst)
