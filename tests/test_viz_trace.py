"""The whiteboard: every number of it is the engine's, and sums along edges agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_programs import PROGRAMS
from pictures import drawn, parse, words

import dagrad as tf
from dagrad import viz
from dagrad.graphlib.errors import GraphError


@pytest.fixture
def lecture() -> Any:
    """y = (x1 x2 + sin x1) sin x1 at (2, 3)."""
    with tf.Graph().as_default():
        x1 = tf.placeholder(tf.float64, [], name="x1")
        x2 = tf.placeholder(tf.float64, [], name="x2")
        s = tf.sin(x1)
        y = tf.multiply(x1 * x2 + s, s, name="y")
    return y, {x1: 2.0, x2: 3.0}


def check_sums(trace: Any) -> None:
    """What flows into a line is its tangent, and what comes back its adjoint."""
    for n, line in enumerate(trace.lines):
        if line.tangent is not None and line.terms and n not in trace.inputs:
            flows = sum(t.tangent for t in line.terms if t.tangent is not None)
            np.testing.assert_allclose(flows, line.tangent, rtol=1e-12, atol=1e-12)
        back = [
            t.adjoint
            for child in trace.lines
            for t in child.terms
            if t.parent == n and t.adjoint is not None
        ]
        if line.adjoint is not None and n not in trace.results:
            np.testing.assert_allclose(sum(back), line.adjoint, rtol=1e-12, atol=1e-12)


def test_the_lecture(lecture: Any) -> None:
    y, feeds = lecture
    trace = viz.trace(y, feeds)
    check_sums(trace)
    last = trace.lines[trace.results[0]]
    s, c = np.sin(2.0), np.cos(2.0)
    assert last.value == pytest.approx((6 + s) * s)
    slope = (3 + c) * s + (6 + s) * c
    assert float(last.tangent) == pytest.approx(slope)
    assert float(trace.lines[trace.inputs[0]].adjoint) == pytest.approx(slope)
    assert float(trace.lines[trace.inputs[1]].adjoint) == pytest.approx(2 * s)


def test_the_graph_is_left_as_it_was(lecture: Any) -> None:
    y, feeds = lecture
    before = len(y.graph.operations)
    y.graph.finalize()
    viz.trace(y, feeds)
    assert len(y.graph.operations) == before


def test_the_text_has_every_step(lecture: Any) -> None:
    y, feeds = lecture
    lines = str(viz.trace(y, feeds, direction=(0.0, 1.0))).splitlines()
    assert lines[0] == "forward, along (0, 1)"
    assert lines[4].split("v̇₄")[1] == " = 3·0 + 2·1 = 2"
    assert lines[7:9] == ["reverse", "  v̄₆ = 1"]
    assert lines[-1] == "  v̄₁ = −0.4161·7.819 + 3·0.9093 = −0.5258"


def test_arrays_variables_and_a_session() -> None:
    with tf.Graph().as_default():
        w = tf.Variable(np.full((2, 3), 0.5), name="w")
        x = tf.placeholder(tf.float64, [None, 2], name="x")
        loss = tf.reduce_mean(tf.square(tf.nn.relu(tf.matmul(x, w) - 0.2)))
        with tf.Session() as session:
            session.run(w.initializer)
            trace = viz.trace(loss, {x: [[1.0, 2.0], [3.0, -5.0]]}, wrt=[w])
            slope = session.run(
                tf.gradients(loss, w)[0], {x: [[1.0, 2.0], [3.0, -5.0]]}
            )
    check_sums(trace)
    np.testing.assert_allclose(trace.lines[trace.inputs[0]].adjoint, slope)
    assert [line.tensor.op.type for line in trace.lines].count("Identity") == 0
    said = words(parse(trace.to_svg()))
    assert "v₃ − 0.2" in said and "mean v₆" in said


def test_integers_and_stops_carry_nothing() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [], name="x")
        n = tf.placeholder(tf.int32, [], name="n")
        y = tf.cast(n, tf.float64) * x + tf.stop_gradient(tf.exp(x))
    trace = viz.trace(y, {x: 1.5, n: 3})
    check_sums(trace)
    kinds = {line.tensor.op.type: line for line in trace.lines}
    assert float(kinds["Add"].tangent) == 3.0
    assert kinds["Exp"].adjoint is None
    svg = trace.to_svg()
    flows = [g.get("class", "").split()[-1] for g in drawn(svg, "edge")]
    assert "data" in flows and "flow" in flows


def test_several_outputs_and_a_random_leaf() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [4], name="x")
        a, b = tf.split(x, 2)
        noise = tf.random_normal([2], dtype=tf.float64, seed=1)
        y = tf.reduce_sum(a * b + noise)
    trace = viz.trace(y, {x: [1.0, 2.0, 3.0, 4.0]}, wrt=[x])
    check_sums(trace)
    np.testing.assert_allclose(trace.lines[trace.inputs[0]].adjoint, [3, 4, 1, 2])


def test_any_tensor_may_be_fed(lecture: Any) -> None:
    y, feeds = lecture
    inner = y.op.inputs[1]
    trace = viz.trace(y, {**feeds, inner: 0.5}, wrt=[inner])
    check_sums(trace)
    assert [t.op.type for t in (trace.lines[i].tensor for i in trace.inputs)] == ["Sin"]
    assert trace.lines[trace.inputs[0]].value == 0.5


def test_one_output_of_several_may_be_fed() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [4], name="x")
        a, b = tf.split(x, 2)
        y = tf.reduce_sum(a * b)
        trace = viz.trace(y, {x: [1.0, 2.0, 3.0, 4.0], b: [5.0, 6.0]}, wrt=[x, b])
        alone = viz.trace(tf.reduce_sum(b), {b: [1.0, 2.0]})
    check_sums(trace)
    np.testing.assert_allclose(trace.lines[trace.inputs[0]].adjoint, [5, 6, 0, 0])
    np.testing.assert_allclose(trace.lines[trace.inputs[1]].adjoint, [1, 2])
    assert [line.tensor.op.type for line in alone.lines] == ["Split", "Sum"]


def test_the_picture_has_both_modes(lecture: Any) -> None:
    y, feeds = lecture
    trace = viz.trace(y, feeds)
    svg = viz.render(trace, title="On the whiteboard")
    said = words(parse(svg))
    # On a line of its own: renderers drop gaps between two colours.
    assert " | value | tangent, and what flows" in said
    for text in ("On the whiteboard", "v₆ = v₅ · v₃", "v̇₆ = −0.5258", "∂v₆/∂x2"):
        assert text in said
    assert len(drawn(svg)) == 12
    assert len(drawn(viz.render(trace, modes=["reverse"]))) == 6
    assert trace.to_svg() == trace._repr_svg_() == trace.to_svg()
    with pytest.raises(GraphError, match="modes"):
        viz.render(trace, modes=["sideways"])


def test_what_cannot_be_traced_says_so(lecture: Any) -> None:
    y, feeds = lecture
    with pytest.raises(GraphError, match="2 inputs, which are x1:0, x2:0"):
        viz.trace(y, feeds, direction=[1.0])
    with pytest.raises(GraphError, match="nothing to trace"):
        viz.trace([], feeds)
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [], name="x")
        z = x
        for _ in range(100):
            z = tf.sin(z)
        with pytest.raises(GraphError, match="at most 60 steps, and here are 101"):
            viz.trace(z, {x: 1.0})
        assert len(viz.trace(z, {x: 1.0}, max_steps=101).lines) == 101
        with pytest.raises(GraphError, match="is not part of what is traced"):
            viz.trace(tf.sin(x), {x: 1.0}, wrt=[z])


# -- loops, branches, calls ----------------------------------------------------------


def check_slopes(trace: Any, y: Any, feeds: dict[Any, Any]) -> None:
    """Sums along edges agree, and so does the whole with the engine's gradients."""
    check_sums(trace)
    xs = list(feeds)
    with tf.Session(graph=y.graph) as session:
        slopes = tf.gradients(y, xs, unconnected_gradients="zero")
        expected, value = session.run([slopes, y], feeds)
    last = trace.lines[trace.results[0]]
    np.testing.assert_allclose(last.value, value, rtol=1e-12)
    names = {trace.lines[n].tensor.op.name: trace.lines[n] for n in trace.inputs}
    for x, slope in zip(xs, expected):
        # What the result does not depend on has no line.
        adjoint = names[x.op.name].adjoint if x.op.name in names else None
        found = np.zeros_like(slope) if adjoint is None else adjoint
        np.testing.assert_allclose(found, slope, rtol=1e-12, atol=1e-14)


def test_a_loop_is_written_round_by_round() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float64, [], name="x")
        a = tf.placeholder(tf.float64, [], name="a")
        _, y = tf.while_loop(
            lambda i, v: i < 3, lambda i, v: (i + 1, tf.sin(a * v)), [0, x]
        )
    before = len(graph.operations)
    trace = viz.trace(y, {x: 0.5, a: 2.0})
    assert len(graph.operations) == before
    check_slopes(trace, y, {x: 0.5, a: 2.0})
    # Neither the counter nor the test is part of what the result is made of.
    assert [line.tensor.op.type for line in trace.lines[2:]] == ["Mul", "Sin"] * 3
    rounds = [line.where for line in trace.lines]
    assert rounds == [(), ()] + [(f"while, round {k}",) for k in (1, 1, 2, 2, 3, 3)]
    text = str(trace).splitlines()
    assert text[3:5] == [
        "  while, round 1",
        "    v₃ = v₂ · v₁ = 1       v̇₃ = 0.5·0 + 2·1 = 2",
    ]
    assert text[12:15] == ["reverse", "  while, round 3", "    v̄₈ = 1"]
    svg = trace.to_svg()
    boxes = [words(g) for g in drawn(svg, "cluster")]
    assert len(boxes) == 6
    said = words(parse(svg))
    assert said.count("while, round 2") == 4  # in each mode: a box, and its steps


@pytest.mark.parametrize("at", [(2.0, 3.0), (-2.0, 3.0)])
def test_of_a_branch_there_is_what_runs(at: tuple[float, float]) -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [], name="x")
        z = tf.placeholder(tf.float64, [], name="z")
        y = tf.cond(x > 0.0, lambda: x * x * z, lambda: tf.exp(x) + z)
        feeds = {x: at[0], z: at[1]}
        trace = viz.trace(y, feeds)
        check_slopes(trace, y, feeds)
    kinds = {line.tensor.op.type for line in trace.lines}
    assert kinds == ({"Placeholder", "Mul"} if at[0] > 0 else {*kinds, "Exp"})
    assert {line.where for line in trace.lines} == {
        (),
        ("cond, true" if at[0] > 0 else "cond, false",),
    }


def test_scans_folds_and_calls() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [3], name="x")
        z = tf.placeholder(tf.float64, [], name="z")
        scanned = tf.scan(lambda a, r: tf.sin(a) * r, x, z, reverse=True)
        mapped = tf.map_fn(lambda r: r * r + z, x)
        folded = tf.foldl(lambda a, r: a * r, x, z)
        called = tf.function(lambda v: v * tf.exp(v))(z)
        y = tf.reduce_sum(scanned * mapped) + folded * called
        feeds = {x: [0.5, 2.0, -1.0], z: 0.7}
        trace = viz.trace(y, feeds, max_steps=80)
        check_slopes(trace, y, feeds)
    texts = str(trace)
    assert "v₁[2]" in texts and "v₁[0]" in texts


def test_loops_in_loops_and_their_gradients() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [], name="x")

        def outer(i: Any, v: Any) -> Any:
            _, w = tf.while_loop(
                lambda j, w: j < 2, lambda j, w: (j + 1, tf.sin(w) * x), [0, v]
            )
            return i + 1, w + v

        _, y = tf.while_loop(lambda i, v: i < 2, outer, [0, x])
        trace = viz.trace(y, {x: 0.8})
        check_slopes(trace, y, {x: 0.8})
        paths = {line.where for line in trace.lines}
        assert ("while, round 2", "while, round 1") in paths
        (slope,) = tf.gradients(y, x)
        again = viz.trace(slope, {x: 0.8}, max_steps=200)
        check_slopes(again, slope, {x: 0.8})


def test_what_is_fed_or_stored_is_not_run() -> None:
    with tf.Graph().as_default():
        w = tf.Variable(np.float64(1.5), name="w")
        x = tf.placeholder(tf.float64, [], name="x")
        _, y = tf.while_loop(lambda i, v: i < 2, lambda i, v: (i + 1, v * w), [0, x])
        z = tf.square(y)
        with tf.Session() as session:
            session.run(w.initializer)
            trace = viz.trace(z, {x: 3.0}, wrt=[w])
            (slope,) = session.run(tf.gradients(z, [w]), {x: 3.0})
        check_sums(trace)
        np.testing.assert_allclose(trace.lines[trace.inputs[0]].adjoint, slope)
        fed = viz.trace(z, {y: 2.0})
    assert [line.where for line in fed.lines] == [(), ()]
    assert float(fed.lines[0].adjoint) == 4.0


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_programs_with_loops_and_branches(program: Any) -> None:
    """Every kind of loop and branch, and its gradient traced once more."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [3], name="x")
        y = program(tf, x)
        feeds = {x: np.array([0.7, -0.4, 1.1])}
        check_slopes(viz.trace(y, feeds, max_steps=100), y, feeds)
        slope = tf.reduce_sum(tf.gradients(y, x)[0])
        if program.__name__ in ("growing", "while_in_while"):
            with pytest.raises(GraphError, match="rows of different shapes"):
                viz.trace(slope, feeds)
            return
        again = viz.trace(slope, feeds, max_steps=1000)
        check_slopes(again, slope, feeds)


def test_what_is_too_long_or_random_says_so() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [], name="x")
        n = tf.placeholder(tf.int32, [], name="n")
        _, y = tf.while_loop(lambda i, v: i < n, lambda i, v: (i + 1, v * x), [0, x])
        assert len(viz.trace(y, {x: 1.5, n: 20}).lines) == 21
        with pytest.raises(GraphError, match=r"at most 60 steps.*while, round"):
            viz.trace(y, {x: 1.5, n: 10**9})
        _, noisy = tf.while_loop(
            lambda i, v: i < 2,
            lambda i, v: (i + 1, v * tf.random_uniform([], dtype=tf.float64)),
            [0, x],
        )
        with pytest.raises(GraphError, match="draws random numbers or writes"):
            viz.trace(noisy, {x: 1.0})
        with pytest.raises(GraphError, match="is not part of what is traced"):
            viz.trace(y, {x: 1.0, n: 2}, wrt=[noisy])
