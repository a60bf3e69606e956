"""Carries that an iteration changes in place.

A loop's body often makes the new value of a carry by an op on the old one: a row
written, a term added.  Where nothing else needs the old value afterwards, the op
may write into the carry's own memory, so that an iteration costs what it changes
and not the size of the carry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .program import Node, Program, Value

__all__ = ["in_place"]


def in_place(
    program: Program, donated: Sequence[tuple[int, int]]
) -> dict[Value, Value]:
    """Values that may live in the memory of a feed: value -> that feed.

    Args:
        program: gets ``after`` edges: who reads the old value runs first.
        donated: (feed, fetch) positions: the feed's memory may be overwritten, and
            the fetched value is wanted there.
    """
    same: dict[Value, Value] = {}
    if not donated:
        return same
    readers: dict[Value, list[Node]] = defaultdict(list)
    for node in program.nodes:
        # Making a view reads nothing; who reads the view counts.
        view = node.opdef.alias if node.opdef.effect is None else None
        for k, v in enumerate(node.inputs):
            if k != view:
                readers[memory_of(v)].append(node)
    for feed, fetch in donated:
        old, new = program.feeds[feed], program.fetches[fetch]
        steps = _chain(program, old, new)
        if steps and _make_way(program, steps, readers):
            for node, _ in steps:
                same[node.outputs[0]] = old
    return same


def memory_of(v: Value) -> Value:
    """The value whose memory ``v`` is, through views."""
    while v.node is not None:
        opdef = v.node.opdef
        if opdef.alias is None or opdef.effect is not None:
            break
        v = v.node.inputs[opdef.alias]
    return v


def _chain(program: Program, old: Value, new: Value) -> list[tuple[Node, Value]]:
    """The ops that make ``new`` from ``old``, each able to write over its input."""
    steps: list[tuple[Node, Value]] = []
    fetched = [memory_of(v) for v in program.fetches]
    if fetched.count(new) != 1 or old in fetched:
        return []
    v = new
    while v is not old:
        node = v.node
        if node is None or (v is not new and v in fetched):
            return []
        target = _overwritten(node, v, old)
        if target is None:
            return []
        steps.append((node, target))
        v = target
    return steps


def _overwritten(node: Node, out: Value, old: Value) -> Value | None:
    """The input whose memory the output of ``node`` may take over."""
    opdef = node.opdef
    if len(node.outputs) != 1 or opdef.effect is not None or opdef.alias is not None:
        return None
    if opdef.control is not None or not out.static:
        return None
    if not all(v.static for v in node.inputs):
        return None
    one_pass = isinstance(opdef.kernel, str)
    if not one_pass and not opdef.writes_out:
        return None
    fitting = [
        node.inputs[k]
        for k in opdef.inplace
        if k < len(node.inputs)
        and node.inputs[k].dims == out.dims
        and node.inputs[k].dtype is out.dtype
        and (node.inputs[k] is old or node.inputs[k].kind == "node")
    ]
    # The carry itself first: it is what the chain is to end at.
    for v in sorted(fitting, key=lambda v: v is not old):
        others = [u for u in node.inputs if memory_of(u) is memory_of(v)]
        if memory_of(v) is v and (
            len(others) == 1 or (one_pass and all(u is v for u in others))
        ):
            return v
    return None


def _make_way(
    program: Program,
    steps: Sequence[tuple[Node, Value]],
    readers: dict[Value, list[Node]],
) -> bool:
    """Let whoever else reads what a step overwrites run before it, if it can."""
    waiting: list[tuple[Node, Node]] = []
    for node, target in steps:
        others = [r for r in readers[target] if r is not node]
        if not others:
            continue
        later = _descendants(program, node)
        if any(r in later for r in others):
            return False
        waiting += [(node, r) for r in others if r not in node.after]
    added: list[tuple[Node, Node]] = []
    for node, reader in waiting:
        node.after = [*node.after, reader]
        added.append((node, reader))
        # An earlier carry's edges may already order the two the other way.
        if reader in _descendants(program, node):
            for n, r in added:
                n.after = [x for x in n.after if x is not r]
            return False
    return True


def _descendants(program: Program, node: Node) -> set[Node]:
    """What depends on ``node``, by data or order."""
    readers: dict[Node, list[Node]] = defaultdict(list)
    for n in program.nodes:
        for v in n.inputs:
            if v.node is not None:
                readers[v.node].append(n)
        for other in n.after:
            readers[other].append(n)
    found: set[Node] = set()
    stack = list(readers[node])
    while stack:
        n = stack.pop()
        if n not in found:
            found.add(n)
            stack.extend(readers[n])
    return found
