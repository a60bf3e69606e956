"""Whether two graphs are equal in everything that a file keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from dagrad.graphlib.graph import Graph
from dagrad.graphlib.subgraph import Body, Subgraph, graphs_in

__all__ = ["same_graph", "same_value"]


def same_graph(first: Graph, second: Graph) -> None:
    """Everything that a file keeps is equal, of the bodies too."""
    graphs, others = graphs_in(first), graphs_in(second)
    assert len(graphs) == len(others)
    pairs = dict(zip(graphs, others))
    for a, b in pairs.items():
        same_operations(a, b)
        assert a._names == b._names
        if not isinstance(a, Subgraph):
            continue
        assert isinstance(b, Subgraph)
        assert pairs[a.outer] is b.outer
        assert (a.what, a.top_scope, a.sites) == (b.what, b.top_scope, b.sites)
        for mine, theirs in ((a._captures, b._captures), (a._sources, b._sources)):
            assert [(k.name, v.name) for k, v in mine.items()] == [
                (k.name, v.name) for k, v in theirs.items()
            ]
            for (k, v), (x, y) in zip(mine.items(), theirs.items()):
                assert pairs[k.graph] is x.graph
                assert pairs[v.graph] is y.graph
    for a, b in pairs.items():
        for x, y in zip(a.operations, b.operations):
            for key in x.attrs:
                same_bodies(x.attrs[key], y.attrs[key], pairs)


def same_bodies(a: Any, b: Any, pairs: dict[Graph, Graph]) -> None:
    """Bodies of one operation share graphs as those of the other do."""
    if isinstance(a, tuple):
        for x, y in zip(a, b):
            same_bodies(x, y, pairs)
    elif isinstance(a, Body):
        assert pairs[a.graph] is b.graph


def same_operations(first: Graph, second: Graph) -> None:
    """The operations of one graph."""
    assert len(first) == len(second)
    for a, b in zip(first.operations, second.operations):
        assert (a.name, a.type, a.device) == (b.name, b.type, b.device)
        assert [t.name for t in a.inputs] == [t.name for t in b.inputs]
        assert [c.name for c in a.control_inputs] == [c.name for c in b.control_inputs]
        assert [(t.dtype, t.dims) for t in a.outputs] == [
            (t.dtype, t.dims) for t in b.outputs
        ]
        assert str(a.source) == str(b.source)
        assert (a.forward_op and a.forward_op.name) == (
            b.forward_op and b.forward_op.name
        )
        assert list(a.attrs) == list(b.attrs)
        for key, value in a.attrs.items():
            same_value(value, b.attrs[key])


def names(tensors: Any) -> list[str | None]:
    """The names of outputs of a body, of which some may be missing."""
    return [None if t is None else t.name for t in tensors]


def same_value(a: Any, b: Any) -> None:
    """Equal in type, dtype and content; NaN equals NaN."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.dtype == object:
            assert a.tolist() == b.tolist()
        else:
            assert a.tobytes() == b.tobytes()
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same_value(x, y)
    elif isinstance(a, Body):
        assert [t.name for t in a.inputs] == [t.name for t in b.inputs]
        assert names(a.outputs) == names(b.outputs)
    elif isinstance(a, (float, complex)):
        assert repr(a) == repr(b)
    else:
        assert a == b
