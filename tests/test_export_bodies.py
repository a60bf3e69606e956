"""Saved graphs with loops, branches and functions: bodies come back whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from control_programs import PROGRAMS
from same_graphs import same_graph

import dagrad as tf
from dagrad.graphlib.subgraph import bodies_of, graphs_in

X = np.array([0.7, -0.4, 1.1])


def through_a_file(graph, folder):
    """The loaded graph; it must be equal, and give the same file again."""
    first, second = folder / "first.json", folder / "second.json"
    graph.save(first)
    loaded = tf.Graph.load(first)
    graph.validate()
    loaded.validate()
    same_graph(graph, loaded)
    loaded.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".npz").read_bytes() == (
        second.with_suffix(".npz").read_bytes()
    )
    return loaded


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_programs_come_back_run_and_differentiate_again(program, tmp_path):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [None], name="x")
        y = program(tf, x)
        (g,) = tf.gradients(y, [x])
        (h,) = tf.gradients(tf.reduce_sum(g * [1.0, 2.0, 3.0]), [x])
        (t,) = tf.jvp([y], [x], [tf.ones_like(x)])
        names = [v.name for v in (y, g, h, t) if v is not None]
        want = tf.Session().run(names, {x: X})
    loaded = through_a_file(graph, tmp_path)
    with loaded.as_default():
        session = tf.Session()
        for a, b in zip(session.run(names, {"x:0": X}), want):
            np.testing.assert_array_equal(a, b)
        y, x = loaded.get_tensor_by_name(y.name), loaded.get_tensor_by_name("x:0")
        (g2,) = tf.gradients(y, [x])
        (h2,) = tf.gradients(tf.reduce_sum(g2 * [1.0, 2.0, 3.0]), [x])
        loaded.validate()
        again = session.run([t for t in (g2, h2) if t is not None], {x: X})
        for a, b in zip(again, want[1:]):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_derivatives_of_loaded_derivatives(tmp_path):
    """What was saved is a gradient; what is differentiated after loading is that."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [3], name="x")
        y = tf.reduce_sum(tf.scan(lambda a, r: tf.sin(a * x) + r, tf.stack([x, x])))
        g = tf.identity(tf.gradients(y, [x])[0], name="g")
        (h,) = tf.gradients(g, [x])
        want = tf.Session().run(h, {x: X})
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [3], name="x")
        y = tf.reduce_sum(tf.scan(lambda a, r: tf.sin(a * x) + r, tf.stack([x, x])))
        tf.identity(tf.gradients(y, [x])[0], name="g")
    loaded = through_a_file(graph, tmp_path)
    with loaded.as_default():
        x, g = (loaded.get_tensor_by_name(n) for n in ("x:0", "g:0"))
        (h,) = tf.gradients(g, [x])
        np.testing.assert_allclose(tf.Session().run(h, {x: X}), want, rtol=1e-13)


def test_variables_draws_and_calls_come_back(tmp_path):
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(3)
        v = tf.get_variable("v", initializer=tf.constant(1.0))
        add = tf.function(lambda k: v.assign_add(k * tf.random_uniform([])))
        calls = [add(tf.constant(2.0)), add(tf.constant(2.0))]

        def body(i):
            with tf.control_dependencies([v.assign_add(10.0)]):
                w = tf.get_variable("w", [], initializer=tf.ones_initializer())
                return i + 1 + tf.cast(w, tf.int32)

        with tf.variable_scope("s"):
            i = tf.while_loop(lambda i: i < 6, body, [0])
        run = tf.group(*calls, i, name="run")
        init = tf.global_variables_initializer()

    def play(graph, init, run):
        with tf.Session(graph=graph) as session:
            session.run(init)
            session.run(run)
            return session.run("v:0")

    loaded = through_a_file(graph, tmp_path)
    want = play(graph, init.name, run.name)
    assert want > 31.0
    assert play(loaded, init.name, run.name) == want
    with loaded.as_default():
        with tf.variable_scope("s", reuse=True):
            assert tf.get_variable("w", []).op.graph is loaded
        assert [u.name for u in tf.trainable_variables()] == ["v:0", "s/w:0"]


def test_a_loop_and_its_saving_twin_share_one_body(tmp_path):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [], name="x")
        _, y = tf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y) * x), [0, x]
        )
        tf.gradients(y, [x])
    loaded = through_a_file(graph, tmp_path)
    loops = [op for op in loaded.operations if op.type == "Loop"]
    assert len(loops) == 3  # the loop, its twin, the backward loop
    assert len({body.graph for op in loops for body in bodies_of(op)}) == 2
    backward = bodies_of(loops[2])[0].graph
    assert backward.outer is bodies_of(loops[0])[0].graph
    assert len(graphs_in(loaded)) == 3


def test_names_go_on_in_bodies(tmp_path):
    """Differentiating after loading gives the names that it gave before."""

    def build(graph):
        with graph.as_default():
            x = graph.get_tensor_by_name("x:0")
            y = graph.get_tensor_by_name("while/Loop:2")
            tf.gradients(y, [x])
        return [[op.name for op in g.operations] for g in graphs_in(graph)]

    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [None], name="x")
        tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y) * x), [0, x])
    loaded = through_a_file(graph, tmp_path)
    assert build(graph) == build(loaded)


def test_a_graph_without_bodies_is_a_file_of_the_first_version(tmp_path):
    with tf.Graph().as_default() as graph:
        tf.constant(1.0)
        graph.save(tmp_path / "a.json")
        tf.cond(tf.constant(True), lambda: 1, lambda: 2)
        graph.save(tmp_path / "b.json")
    heads = [json.loads((tmp_path / f"{n}.json").read_text()) for n in "ab"]
    assert [h["version"] for h in heads] == [1, 2]
    assert "bodies" not in heads[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["bodies"][0].update(outer=7), "behind"),
        (lambda f: f["bodies"][0].update(outer=1), "behind"),
        (lambda f: f["bodies"][0]["operations"].pop(), "no operation"),
        (lambda f: f["bodies"].clear(), "restored"),
        (lambda f: f["bodies"][0].update(captures=[["nothing:0", "x:0"]]), "nothing"),
        (lambda f: f["bodies"][0].update(sites="many"), "well-formed"),
        (
            lambda f: f["operations"][-1]["attrs"]["branches"][0]["body"].__setitem__(
                0, 0
            ),
            "no operation",
        ),
        (
            lambda f: f["bodies"][0]["operations"][0].update(
                type="Case", attrs=f["operations"][-1]["attrs"]
            ),
            "restored",
        ),
    ],
)
def test_a_damaged_body_is_an_error(tmp_path, change, message):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [], name="x")
        tf.cond(tf.constant(True), lambda: x * 2.0, lambda: x)
    path = tmp_path / "g.json"
    graph.save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        tf.Graph.load(path)


# -- what validate() finds --------------------------------------------------------


def looped():
    with tf.Graph().as_default() as graph:
        x = tf.constant(2.0)
        v = tf.Variable(1.0)
        tf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, v.assign_add(y * x)), [0, x]
        )
    graph.validate()
    (op,) = [op for op in graph.operations if op.type == "StatefulLoop"]
    return graph, op


def unpassed(op):
    body = op._attrs["body"]
    op._attrs["body"] = type(body)(body.graph, body.inputs[:-1], body.outputs)


def foreign(op):
    body = op._attrs["body"]
    outputs = (op.inputs[1], *body.outputs[1:])
    op._attrs["body"] = type(body)(body.graph, body.inputs, outputs)


def reordered(op):
    body = op._attrs["body"]
    a, b, *rest = body.inputs
    op._attrs["body"] = type(body)(body.graph, (b, a, *rest), body.outputs)


def unsaid(op):
    op._attrs["updates"] = ()


def mistaken(op):
    graph = op._attrs["body"].graph
    inner = next(t for t in graph._sources if t.op.type == "BodyInput")
    graph._sources[inner] = op.graph.operations[-1].outputs[0]


@pytest.mark.parametrize("breach", [unpassed, foreign, reordered, unsaid, mistaken])
def test_a_broken_body_is_found(breach):
    graph, op = looped()
    breach(op)
    with pytest.raises(ValueError, match=r"^(StatefulLoop|BodyInput) "):
        graph.validate()
