"""Pictures, networkx graphs and printed plans of graphs with bodies."""

from __future__ import annotations

import numpy as np
import pytest
from control_programs import PROGRAMS

import dagrad as tf
from dagrad.viz.drawing import picture_of


@pytest.fixture
def drawn():
    """A graph of a loop over a branch, a scan, a call, and their gradient."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [3], name="x")

        def body(i, y):
            return i + 1, tf.cond(y[0] > 0.0, lambda: y * x, lambda: tf.sin(y))

        _, y = tf.while_loop(lambda i, y: i < 3, body, [0, x])
        z = tf.scan(lambda a, r: a * r, y, name="products")
        f = tf.function(lambda a: tf.tanh(a) + 1.0, name="squash")
        tf.gradients(f(z), [x])
    return graph


def test_labels_say_what_runs(drawn):
    text = drawn.to_dot()
    assert "2 carried, body of" in text
    assert "1 carried and 1 scanned, body of 3, 2 times" in text
    assert "body of 4 operations" in text


def test_tooltips_say_what_bodies_are_made_of(drawn):
    text = drawn.to_dot()
    assert "3 inputs, 3 outputs" in text
    assert "1 Case" in text
    assert "<Body" not in text.replace("\\", "")


def test_a_body_can_be_drawn_itself(drawn):
    op = next(op for op in drawn.operations if op.type == "Loop")
    inside = op.attrs["body"].graph.to_dot()
    assert "branches of" in inside
    assert "<svg" in op.attrs["body"].graph.to_svg()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_every_program_is_drawn(program):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [None])
        tf.gradients(program(tf, x), [x])
    assert graph.to_dot().startswith("digraph")


def test_networkx_nests_the_bodies(drawn):
    found = drawn.to_networkx()
    loop = found.nodes["while/Loop"]
    (body,) = loop["bodies"]
    assert found.nodes["while/Loop_saving"]["bodies"] == (body,)
    (case,) = [n for n, kind in body.nodes(data="type") if kind == "Case"]
    assert len(body.nodes[case]["bodies"]) == 2
    captured = [s for _, s in body.nodes(data="stands_for") if s]
    assert captured == ["x:0"]
    assert "bodies" not in found.nodes["x"]


def test_a_plan_prints_the_plans_of_its_bodies(drawn):
    with drawn.as_default():
        session = tf.Session()
        text = str(session.plan("while/Loop:2", {"x:0": np.ones(3)}))
    assert 'body of while_loop "while":' in text
    assert text.count("plan of") >= 2
    inner = next(line for line in text.splitlines() if "Case(" in line)
    assert inner.startswith("        ")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_every_body_opens(program):
    """Whatever is open, each edge joins two boxes, and no operation is lost."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [None])
        tf.gradients(program(tf, x), [x])
    # A loop that is made again to keep values is drawn as the first of it.
    loops = [op.name for op in graph.operations if op.opdef.control is not None]
    names = [name for name in loops if not name.endswith("_saving")]
    for options in ({"expand": names}, {"depth": 0}, {"repeats": True}, {}):
        picture = picture_of(graph, max_nodes=500, **options)
        keys = [node.key for node in picture.nodes]
        assert len(keys) == len(set(keys))
        ends = {key for e in picture.edges for key in (e.tail, e.head)}
        assert ends <= set(keys)
        shown = {op for node in picture.nodes for op in node.ops}
        inside = {c.path for c in picture.clusters if c.body}
        for op in graph.operations:
            if op.opdef.control is not None and op.forward_op is None:
                path = f"{op.scope}/{op.name.rpartition('/')[2]}()".lstrip("/")
                again = op.name.endswith("_saving")
                assert op in shown or path in inside or again, op.name
