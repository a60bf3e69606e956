"""Drop nodes whose output equals their input for the shapes at hand."""

from __future__ import annotations

from ..program import NODE, Node, Program, Value


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
            and inputs[0].kind in (NODE, "const", "feed")
            and same(inputs, node.outputs, node.attrs)
        ):
            subst[node.outputs[0]] = inputs[0]
        else:
            kept.append(node)
    return program.keep(kept, subst)
