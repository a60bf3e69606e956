"""Least cuts of a network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

__all__ = ["near_side"]


def near_side(
    edges: Mapping[tuple[Hashable, Hashable], int | None],
    start: Hashable,
    end: Hashable,
) -> set[Hashable]:
    """The nodes on the side of ``start`` of a least cut between it and ``end``.

    Args:
        edges: (from, to) -> capacity; None is not to be cut.
        start, end: nodes of ``edges``; some way between them can be cut.
    """
    import networkx as nx
    from networkx.algorithms.flow import dinitz

    net = nx.DiGraph()
    for (a, b), capacity in edges.items():
        if capacity is None:
            net.add_edge(a, b)
        else:
            net.add_edge(a, b, capacity=capacity)
    _, (near, _) = nx.minimum_cut(net, start, end, flow_func=dinitz)
    return set(near)
