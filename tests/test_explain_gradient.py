"""explain_gradient: paths, cuts, and the words for them."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.explain import explain_gradient
from dagrad.ops.custom import custom_gradient, prevent_gradient
from dagrad.ops.pyfunc import py_func

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def x():
    return dg.placeholder(dg.float32, [3], name="x")


def agrees(why, y, x, **more):
    """The verdict is what ``gradients`` does; returns the explanation."""
    if why.status == "refused":
        with pytest.raises(dg.errors.GradientError):
            dg.gradients(y, x, **more)
    else:
        (g,) = dg.gradients(y, x, **more)
        assert why.connected == (g is not None)
        if why.status == "zero":
            got = dg.Session().run(g, {x: [0.5, 1.5, 2.5]})
            np.testing.assert_array_equal(got, np.zeros(3))
    return why


def kinds(why):
    return [(c.op.type, c.kind) for c in why.cuts]


# -- verdicts -------------------------------------------------------------------------


CUTS = {
    "integers": (
        lambda x: dg.cast(dg.cast(x, dg.int32), dg.float32),
        [("Cast", "dtype")],
    ),
    "comparison": (
        lambda x: dg.cast(x > 0.0, dg.float32),
        [("Greater", "comparison")],
    ),
    "argmax": (
        lambda x: dg.cast(dg.argmax(x), dg.float32),
        [("ArgMax", "dtype")],
    ),
    "stop_gradient": (dg.stop_gradient, [("StopGradient", "stop_gradient")]),
    "floor": (lambda x: dg.floor(x) * 2.0, [("Floor", "constant")]),
    "shape": (
        lambda x: dg.cast(dg.shape(x), dg.float32) * 2.0,
        [("Shape", "shape")],
    ),
    "indices": (
        lambda x: dg.gather(dg.constant([1.0, 2.0, 3.0, 4.0]), dg.cast(x, dg.int32)),
        [("Cast", "dtype")],
    ),
    "py_func": (
        lambda x: py_func(np.sin, [x], dg.float32) * 2.0,
        [("PyFunc", "py_func")],
    ),
    "two in a row": (
        lambda x: dg.stop_gradient(dg.floor(x)),
        [("Floor", "constant"), ("StopGradient", "stop_gradient")],
    ),
}


@pytest.mark.parametrize("case", CUTS)
def test_where_and_why_it_is_none(x, case):
    build, expected = CUTS[case]
    y = build(x)
    why = agrees(explain_gradient(y, x), y, x)
    assert why.status == "unconnected"
    assert kinds(why) == expected
    assert why.differentiable == 0
    assert why.total >= 1
    for cut in why.cuts:
        assert cut.op.describe() in str(why)
        assert cut.source.filename == __file__


def test_a_gradient_of_zeros(x):
    for y in (dg.sign(x) * 2.0, dg.pow(x, 0.0)):
        why = agrees(explain_gradient(y, x), y, x)
        assert why.status == "zero"
        assert [c.kind for c in why.cuts] == ["zero"]
        assert "tensor of zeros" in str(why)


def test_a_refusal(x):
    y = dg.reduce_sum(prevent_gradient(x, "labels are data") * x)
    why = agrees(explain_gradient(y, x), y, x)
    assert why.status == "refused"
    assert "labels are data" in str(why)
    # Behind a stop it is never asked.
    y = dg.stop_gradient(prevent_gradient(x, "no")) * x
    assert agrees(explain_gradient(y, x), y, x).status == "connected"


def test_a_write_refuses():
    v = dg.get_variable("v", [3])
    w = dg.get_variable("w", [3])
    y = dg.assign_add(v, w * 2.0) * 3.0
    why = agrees(explain_gradient(y, w), y, w)
    assert why.status == "refused"
    assert kinds(why) == [("AssignAdd", "refuses")]


def test_connected(x):
    y = dg.reduce_sum(dg.exp(x) * x)
    why = agrees(explain_gradient(y, x), y, x)
    assert why.status == "connected"
    assert (why.differentiable, why.total) == (2, 2)
    assert [[op.type for op in p.operations] for p in why.paths] == [
        ["Placeholder", "Mul", "Sum"],
        ["Placeholder", "Exp", "Mul", "Sum"],
    ]
    assert not why.cuts
    assert "2 paths carry it" in str(why)


def test_a_side_path_that_is_cut_is_named(x):
    y = dg.exp(x) + dg.floor(x)
    why = agrees(explain_gradient(y, x), y, x)
    assert (why.differentiable, why.total) == (1, 2)
    assert kinds(why) == [("Floor", "constant")]
    assert "1 path carries it, 1 other is cut" in str(why)


def test_stop_gradients_and_feeds(x):
    h = dg.exp(x)
    y = h * 2.0
    why = agrees(explain_gradient(y, x, stop_gradients=[h]), y, x, stop_gradients=[h])
    assert kinds(why) == [("Mul", "stop_gradients")]
    why = agrees(explain_gradient(y, x, [y]), y, x, stop_gradients=[y])
    assert "Mul" in why.hints[0]
    assert "stop_gradients" in why.hints[0]
    assert explain_gradient(y, x, feeds=["Exp:0"]).status == "unconnected"
    why = explain_gradient(y, x, feeds={h: np.zeros(3)})
    assert [c.kind for c in why.cuts] == ["fed"]
    assert "Exp:0" in str(why)


def test_y_is_x(x):
    why = agrees(explain_gradient(x, x), x, x)
    assert why.connected
    assert "y is x" in str(why)


def test_an_integer_x():
    n = dg.constant([1, 2])
    y = dg.cast(n, dg.float32)
    why = agrees(explain_gradient(y, n), y, n)
    assert "x is int32" in str(why)


# -- no path of data ------------------------------------------------------------------


def hints(y, x):
    why = agrees(explain_gradient(y, x), y, x)
    assert why.total == 0
    assert "no path of data" in str(why)
    return " ".join(why.hints)


def test_x_is_younger_than_y(x):
    y = x * 2.0
    assert "x was made after y" in hints(y, dg.identity(dg.constant(1.0)))


def test_x_is_another_read_of_the_variable(x):
    v = dg.get_variable("v", [3])
    read = v.read_value()
    assert "one read of the variable 'v'" in hints(v * x, read)


def test_x_is_a_copy_or_a_side_branch(x):
    h = dg.exp(x)
    copy, side = dg.identity(h), dg.sin(h)
    y = h * 2.0
    assert "x is a copy of" in hints(y, copy)
    assert "x is a side branch" in hints(y, side)


def test_x_is_written_to_a_variable_that_y_reads(x):
    v = dg.get_variable("v", [3])
    dg.assign(v, x * 2.0)
    assert "the state of a session" in hints(v * 3.0, x)


def test_only_control_dependencies(x):
    with dg.control_dependencies([x * 2.0]):
        y = dg.constant(1.0) * 3.0
    assert "Only control dependencies" in hints(y, x)


def test_another_graph(x):
    with dg.Graph().as_default():
        y = dg.constant(1.0)
    why = explain_gradient(y, x)
    assert why.status == "unconnected"
    assert "two graphs" in str(why)


def test_hidden_inside_a_custom_gradient(x):
    y = custom_gradient(lambda a: (a * x, lambda g: g))(dg.constant([1.0, 2.0, 3.0]))
    why = agrees(explain_gradient(y, x), y, x)
    assert [c.kind for c in why.cuts] == ["custom"]
    assert "Make x an argument" in str(why)


# -- paths and words ------------------------------------------------------------------


def test_the_number_of_paths_is_counted_not_walked(x):
    y = x
    for _ in range(20):
        y = y * y
    why = explain_gradient(y, x, limit=2)
    assert why.differentiable == 2**20
    assert len(why.paths) == 1  # they all go by the same operations
    for _ in range(200):
        y = y * y
    assert "over a billion paths" in str(explain_gradient(y, x))


def test_the_shortest_paths_come_first(x):
    y = x
    for _ in range(5):
        y = dg.sin(y) + x
    lengths = [len(p.steps) for p in explain_gradient(y, x, limit=4).paths]
    assert lengths == [1, 3, 5, 7]


def test_edges_for_a_drawing(x):
    h = dg.floor(x)
    y = h * 2.0
    (path,) = explain_gradient(y, x).paths
    assert path.edges == ((x.op, x, h.op, False), (h.op, h, y.op, True))


def test_the_text(x):
    n = dg.cast(x, dg.int32, name="rounded")
    y = dg.reduce_sum(dg.cast(n, dg.float32), name="loss")
    lines = str(explain_gradient(y, x)).splitlines()
    assert lines[0] == (
        'The gradient of Sum "loss" with respect to Placeholder "x" is None: the only '
        "path from x to y is cut."
    )
    marked = [line for line in lines if line.startswith("  ✗")]
    assert len(marked) == 1
    # The operation, what it makes, and the line of the program with its text.
    for part in ('Cast "rounded"', "int32(3,)", __file__, "n = dg.cast(x, dg.int32"):
        assert part in marked[0]
    assert lines[-2].startswith(f'  1. Cast "rounded" ({__file__}:')
    assert "grad_pass_through" in lines[-1]


def test_gradients_raise_with_the_same_text(x):
    y = dg.floor(x) * 2.0
    with pytest.raises(dg.errors.GradientError) as error:
        dg.gradients(y, x, unconnected_gradients="raise")
    assert str(error.value) == str(explain_gradient(y, x))


def test_several_ys_and_one_x(x):
    ys = [dg.floor(x), dg.exp(x)]
    why = explain_gradient(ys, x)
    assert (why.differentiable, why.total) == (1, 2)
    with pytest.raises(dg.errors.GradientError, match="one x"):
        explain_gradient(ys, [x, x])


def test_nothing_is_added_to_the_graph(x, graph):
    y = dg.floor(x) * 2.0
    before = len(graph)
    str(explain_gradient(y, x))
    assert len(graph) == before


def test_a_long_chain(x):
    y = x
    for _ in range(20_000):
        y = y + 1.0
    why = explain_gradient(dg.stop_gradient(y), x)
    assert len(why.paths[0].steps) == 20_001
    text = str(why)
    assert "operations more" in text
    assert len(text.splitlines()) < 40
