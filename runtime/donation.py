"""Carries that an iteration changes in place.

A loop's body often makes the new value of a carry by an op on the old one: a row
written, a term added.  Where nothing else needs the old value afterwards, the op
may write into the carry's own memory, so that an iteration costs what it changes
and not the size of the carry.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from .plan import GROUP_TYPES
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
    order = _Order(program)
    fetched = Counter(memory_of(v) for v in program.fetches)
    for node in program.nodes:
        # Making a view reads nothing; who reads the view counts.
        view = node.opdef.alias if node.opdef.effect is None else None
        for k, v in enumerate(node.inputs):
            if k != view:
                readers[memory_of(v)].append(node)
    for feed, fetch in donated:
        old, new = program.feeds[feed], program.fetches[fetch]
        steps = _chain(fetched, old, new)
        if steps and _make_way(order, steps, readers):
            for made, _ in steps:
                same[made] = old
    return same


def memory_of(v: Value) -> Value:
    """The value whose memory ``v`` is, through views."""
    while v.node is not None:
        opdef = v.node.opdef
        if opdef.alias is None or opdef.effect is not None:
            break
        v = v.node.inputs[opdef.alias]
    return v


def _chain(
    fetched: Counter[Value], old: Value, new: Value
) -> list[tuple[Value, Value]]:
    """(result, input) of the ops that make ``new`` from ``old``, the last one first;
    each may write over its input.

    ``fetched`` counts how often the memory of a value is fetched.
    """
    steps: list[tuple[Value, Value]] = []
    if fetched[new] != 1 or old in fetched:
        return []
    v = new
    while v is not old:
        node = v.node
        if node is None or (v is not new and v in fetched):
            return []
        target = _overwritten(node, v, old)
        if target is None:
            return []
        steps.append((v, target))
        v = target
    return steps


def _overwritten(node: Node, out: Value, old: Value) -> Value | None:
    """The input whose memory the output of ``node`` may take over."""
    opdef = node.opdef
    if opdef.type in GROUP_TYPES:
        return _overwritten_by_group(node, out, old)
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


def _overwritten_by_group(node: Node, out: Value, old: Value) -> Value | None:
    """The same of a step of several operations."""
    group = node.attrs["group"]
    at = node.outputs.index(out)
    memory = [memory_of(v) for v in node.inputs]
    fitting = [
        v
        for k, v in enumerate(node.inputs)
        if v.dims == out.dims
        and v.dtype is out.dtype
        and (v is old or v.kind == "node")
        and memory[k] is v
        and memory.count(v) == 1
        and group.may_overwrite(at, k)
    ]
    return min(fitting, key=lambda v: v is not old, default=None)


class _Order:
    """What waits for what, by data or order."""

    def __init__(self, program: Program) -> None:
        self._waiting: dict[Node, list[Node]] = defaultdict(list)
        for node in program.nodes:
            for v in node.inputs:
                if v.node is not None:
                    self._waiting[v.node].append(node)
            for other in node.after:
                self._waiting[other].append(node)

    def add(self, first: Node, then: Node) -> None:
        """Let ``then`` wait for ``first``."""
        then.after = [*then.after, first]
        self._waiting[first].append(then)

    def remove(self, first: Node, then: Node) -> None:
        """Undo :meth:`add`."""
        then.after = [n for n in then.after if n is not first]
        self._waiting[first].remove(then)

    def any_waits(self, nodes: Iterable[Node], first: Node) -> bool:
        """Whether any of ``nodes`` waits for ``first``, itself or through others."""
        wanted = set(nodes)
        found: set[Node] = set()
        stack = list(self._waiting[first])
        while stack:
            node = stack.pop()
            if node in wanted:
                return True
            if node not in found:
                found.add(node)
                stack.extend(self._waiting[node])
        return False


def _make_way(
    order: _Order,
    steps: Sequence[tuple[Value, Value]],
    readers: dict[Value, list[Node]],
) -> bool:
    """Let whoever else reads what a step overwrites run before it, if it can."""
    added: list[tuple[Node, Node]] = []
    for made, target in steps:
        node = made.node
        assert node is not None
        others = dict.fromkeys(r for r in readers[target] if r is not node)
        if not others:
            continue
        # The edges of earlier steps and carries may order two the other way.
        if order.any_waits(others, node):
            for reader, then in added:
                order.remove(reader, then)
            return False
        for reader in others:
            if reader not in node.after:
                order.add(reader, node)
                added.append((reader, node))
    return True
