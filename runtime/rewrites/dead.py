"""Dead code: drop nodes that neither a fetch, a target nor an effect needs."""

from __future__ import annotations

from ..program import Node, Program


def remove_dead(program: Program) -> int:
    """Drop unneeded nodes; returns how many.

    Everything in a program was needed by the graph; nodes die when a rewrite
    has found their readers a shorter way.
    """
    alive: set[Node] = set(program.targets)
    alive.update(v.node for v in program.fetches if v.node is not None)
    for node in reversed(program.nodes):
        if node in alive:
            for v in node.inputs:
                if v.node is not None:
                    alive.add(v.node)
            alive.update(node.after)
    kept = [n for n in program.nodes if n in alive]
    dropped = len(program.nodes) - len(kept)
    program.nodes = kept
    left = set(kept)
    program.targets = [n for n in program.targets if n in left]
    for node in kept:
        if node.after:
            node.after = [n for n in node.after if n in left]
    return dropped
