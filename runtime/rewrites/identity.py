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
        inputs = node.inputs
        if subst:
            for i, v in enumerate(inputs):
                new = subst.get(v)
                if new is not None:
                    inputs[i] = new
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
    dropped = len(program.nodes) - len(kept)
    # Targets and control edges may name a dropped node: it has no effect, but
    # what it reads must still run.
    if dropped:
        keep_order(program, kept)
    program.nodes = kept
    program.substitute(subst)
    return dropped


def keep_order(program: Program, kept: list[Node]) -> None:
    """Point edges to dropped nodes at the nodes that made their inputs."""
    alive = set(kept)
    for node in kept:
        if node.after:
            node.after = _resolve(node.after, alive)
    program.targets = _resolve(program.targets, alive)


def _resolve(nodes: list[Node], alive: set[Node]) -> list[Node]:
    found: dict[Node, None] = {}
    stack = list(reversed(nodes))
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in alive:
            found[node] = None
        elif node not in seen:
            seen.add(node)
            stack.extend(node.after)
            stack.extend(v.node for v in node.inputs if v.node is not None)
    return list(found)
