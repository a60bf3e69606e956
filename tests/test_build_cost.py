"""What a node costs while a graph is built and differentiated."""

from __future__ import annotations

import gc

import pytest

import dagrad as dg


@pytest.mark.parametrize("enabled", [True, False])
def test_differentiating_pauses_the_collector_and_leaves_it_as_it_was(
    graph: dg.Graph, enabled: bool
) -> None:
    seen = []

    @dg.custom_gradient
    def watched(x):
        def grad(dy):
            seen.append(gc.isenabled())
            return dy

        return dg.identity(x), grad

    x = dg.placeholder(dg.float32)
    y = watched(x)
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        dg.gradients(y, x)
        assert gc.isenabled() is enabled
        with pytest.raises(dg.errors.ShapeError):
            dg.gradients(y, x, grad_ys=[y, y])
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert seen[-1] is False  # in the backward pass, not where it was traced


def test_readers_are_listed_in_order_whatever_their_number(graph: dg.Graph) -> None:
    x = dg.placeholder(dg.float32, [2])
    assert x.consumers() == []
    ops = [dg.tanh(x).op]
    assert x.consumers() == ops
    ops.append((x * x).op)
    assert x.consumers() == [ops[0], ops[1], ops[1]]
    x.consumers().clear()
    assert len(x.consumers()) == 3
    graph.validate()


def objects_of(n: int) -> int:
    """Objects that the collector has to look at, of a chain of n operations."""
    with dg.Graph().as_default():
        x = dg.placeholder(dg.float32, [2])
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(n):
            x = dg.tanh(x)
        gc.collect()
        return len(gc.get_objects()) - before


def test_a_node_is_few_objects() -> None:
    """The operation, its output and two tuples: each is gone over many times."""
    objects_of(10)
    assert objects_of(500) <= 500 * 4 + 50
